/* owners.h - who may create databases, when the operator lists them (--publish-owners).
 *
 * Format:  identities (64 hex digits) separated by commas, blanks or line ends; `#` begins a comment. `@FILE`: that file's text, read anew at
 *          each question, so that an edit counts at once.
 * Thread:  any. */
#ifndef HOST_OWNERS_H
#define HOST_OWNERS_H

#include "host/base/base.h"

enum { OWNERS_BYTES_MAX = 1 << 20 };

/* Is every word of it an identity? S_INVALID names the one that is none; S_IO: the file cannot be read. */
MUST_CHECK Status owners_check(const char *list, Error *err);
/* S_DENIED: it is not listed. Other failures as owners_check; nobody is let in then. */
MUST_CHECK Status owners_allow(const char *list, const uint8_t identity[32], Error *err);

#endif
