/* messages.h - client messages of the WebSocket protocols v2 and v3, read from untrusted bytes; small server messages, written.
 * Source: wire.md section 5. Pure functions; results point into the input. */
#ifndef HOST_WIRE_MESSAGES_H
#define HOST_WIRE_MESSAGES_H
#include "host/base/base.h"
typedef enum ClientMessageKind {
    MSG_SUBSCRIBE,
    MSG_UNSUBSCRIBE,
    MSG_ONE_OFF,
    MSG_CALL_REDUCER,
    MSG_CALL_PROCEDURE
} ClientMessageKind; /* = the tags */
enum { MESSAGE_QUERIES_MAX = 1024 };
typedef struct ClientMessage {
    ClientMessageKind kind;
    uint32_t request_id, query_set_id;
    bool dropped_rows; /* UNSUBSCRIBE */
    Str name;          /* reducer, procedure; ONE_OFF: the query */
    Bytes args;
    uint32_t nqueries;
    Bytes queries; /* nqueries x str, checked */
} ClientMessage;
/* Reads one message from `in`. S_INVALID with the reference's close reason. */
MUST_CHECK Status client_message_read(ClientMessage *ret, Reader *in, Error *err);
void server_initial_connection(Buf *out, const uint8_t identity[32], const uint8_t connection_id[16], Str token);
void server_reducer_internal_error(Buf *out, uint32_t request_id, int64_t timestamp_us, Str text);
void server_procedure_internal_error(Buf *out, uint32_t request_id, Str text);
void server_subscription_error(Buf *out, const uint32_t *request_id /* NULL: none */, uint32_t query_set_id, Str text);
void server_one_off_error(Buf *out, uint32_t request_id, Str text);
/* Frame compression of one body (gzip level 1, brotli quality 1): byte 1 or 2 + stream; used only when asked by configuration. */
#endif
