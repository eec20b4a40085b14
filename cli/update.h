/* update.h - what a host sends to a subscriber (wire.md 5.2), as lines of JSON. Pure functions over untrusted bytes. */
#ifndef CLI_UPDATE_H
#define CLI_UPDATE_H
#include "cli/schema.h"
typedef enum UpdateKind {
    UPDATE_OTHER,
    UPDATE_INITIAL /* SubscribeApplied */,
    UPDATE_ROWS /* TransactionUpdate */,
    UPDATE_REFUSED /* SubscriptionError */
} UpdateKind;
/* Reads one server message. For INITIAL and ROWS one line {"table":{"deletes":[...],"inserts":[...]},...}\n is
 * appended to `out`; for REFUSED the reason. */
MUST_CHECK Status update_read(UpdateKind *ret, Buf *out, Reader *in, const Schema *s, Error *err);
#endif
