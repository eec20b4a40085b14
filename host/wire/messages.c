#include "host/wire/messages.h"

/* Error texts are those of the reference's BSATN decoder: they reach the client as the close reason. */

enum { TAG_NONE = 1, TAG_SOME = 0 };
enum {
    SERVER_INITIAL_CONNECTION = 0,
    SERVER_SUBSCRIPTION_ERROR = 3,
    SERVER_ONE_OFF_RESULT = 5,
    SERVER_REDUCER_RESULT = 6,
    SERVER_PROCEDURE_RESULT = 7
};
enum { OUTCOME_INTERNAL_ERROR = 3, PROCEDURE_INTERNAL_ERROR = 1, RESULT_ERR = 1 };

static Status too_short(const Reader *in, const char *what, size_t want, Error *err)
{
    return FAIL(err, S_INVALID, "data too short for %s: Expected %zu, given %zu", what, want, reader_left(in));
}

static Status get_u8(Reader *in, uint8_t *ret, Error *err)
{
    if (reader_left(in) < 1)
        return too_short(in, "u8", 1, err);
    *ret = read_u8(in);
    return S_OK;
}

static Status get_u32(Reader *in, uint32_t *ret, Error *err)
{
    if (reader_left(in) < 4)
        return too_short(in, "u32", 4, err);
    *ret = read_u32(in);
    return S_OK;
}

static Status get_bytes(Reader *in, Bytes *ret, Error *err)
{
    uint32_t len = 0;
    TRY(get_u32(in, &len, err));
    if (reader_left(in) < len)
        return too_short(in, "[u8]", len, err);
    *ret = read_bytes(in, len);
    return S_OK;
}

static Status get_str(Reader *in, Str *ret, Error *err)
{
    Bytes b;
    TRY(get_bytes(in, &b, err));
    *ret = (Str){(const char *)b.ptr, b.len};
    return utf8_valid(*ret) ? S_OK : FAIL(err, S_INVALID, "invalid utf8");
}

static Status get_queries(Reader *in, ClientMessage *m, Error *err)
{
    const uint8_t *start;
    TRY(get_u32(in, &m->nqueries, err));
    if (m->nqueries > MESSAGE_QUERIES_MAX)
        return FAIL(err, S_INVALID, "a query set of %u queries exceeds the limit of %d", m->nqueries, MESSAGE_QUERIES_MAX);
    start = in->ptr;
    for (uint32_t i = 0; i < m->nqueries; i++) {
        Str query;
        TRY(get_str(in, &query, err));
    }
    m->queries = (Bytes){start, (size_t)(in->ptr - start)};
    return S_OK;
}

static Status get_call(Reader *in, ClientMessage *m, const char *flags_type, Error *err)
{
    uint8_t flags;
    TRY(get_u32(in, &m->request_id, err));
    TRY(get_u8(in, &flags, err));
    if (flags != 0)
        return FAIL(err, S_INVALID, "unknown tag 0x%x for sum type %s", flags, flags_type);
    TRY(get_str(in, &m->name, err));
    return get_bytes(in, &m->args, err);
}

static Status get_unsubscribe(Reader *in, ClientMessage *m, Error *err)
{
    uint8_t flags;
    TRY(get_u32(in, &m->request_id, err));
    TRY(get_u32(in, &m->query_set_id, err));
    TRY(get_u8(in, &flags, err));
    if (flags > 1)
        return FAIL(err, S_INVALID, "unknown tag 0x%x for sum type UnsubscribeFlags", flags);
    m->dropped_rows = flags == 1;
    return S_OK;
}

Status client_message_read(ClientMessage *ret, Reader *in, Error *err)
{
    ClientMessage m = {0};
    uint8_t tag;
    TRY(get_u8(in, &tag, err));
    m.kind = (ClientMessageKind)tag;
    switch (tag) {
    case MSG_SUBSCRIBE:
        TRY(get_u32(in, &m.request_id, err));
        TRY(get_u32(in, &m.query_set_id, err));
        TRY(get_queries(in, &m, err));
        break;
    case MSG_UNSUBSCRIBE: TRY(get_unsubscribe(in, &m, err)); break;
    case MSG_ONE_OFF:
        TRY(get_u32(in, &m.request_id, err));
        TRY(get_str(in, &m.name, err));
        break;
    case MSG_CALL_REDUCER: TRY(get_call(in, &m, "CallReducerFlags", err)); break;
    case MSG_CALL_PROCEDURE: TRY(get_call(in, &m, "CallProcedureFlags", err)); break;
    default: return FAIL(err, S_INVALID, "unknown tag 0x%x for sum type ClientMessage", tag);
    }
    *ret = m;
    return S_OK;
}

void server_initial_connection(Buf *out, const uint8_t identity[32], const uint8_t connection_id[16], Str token)
{
    buf_put_u8(out, SERVER_INITIAL_CONNECTION);
    buf_put(out, identity, 32);
    buf_put(out, connection_id, 16);
    buf_put_str(out, token);
}

void server_reducer_internal_error(Buf *out, uint32_t request_id, int64_t timestamp_us, Str text)
{
    buf_put_u8(out, SERVER_REDUCER_RESULT);
    buf_put_u32(out, request_id);
    buf_put_i64(out, timestamp_us);
    buf_put_u8(out, OUTCOME_INTERNAL_ERROR);
    buf_put_str(out, text);
}

void server_procedure_internal_error(Buf *out, uint32_t request_id, Str text)
{
    buf_put_u8(out, SERVER_PROCEDURE_RESULT);
    buf_put_u8(out, PROCEDURE_INTERNAL_ERROR);
    buf_put_str(out, text);
    buf_put_i64(out, 0); /* timestamp and duration of a procedure that did not run */
    buf_put_i64(out, 0);
    buf_put_u32(out, request_id);
}

void server_subscription_error(Buf *out, const uint32_t *request_id, uint32_t query_set_id, Str text)
{
    buf_put_u8(out, SERVER_SUBSCRIPTION_ERROR);
    buf_put_u8(out, request_id ? TAG_SOME : TAG_NONE);
    if (request_id)
        buf_put_u32(out, *request_id);
    buf_put_u32(out, query_set_id);
    buf_put_str(out, text);
}

void server_one_off_error(Buf *out, uint32_t request_id, Str text)
{
    buf_put_u8(out, SERVER_ONE_OFF_RESULT);
    buf_put_u32(out, request_id);
    buf_put_u8(out, RESULT_ERR);
    buf_put_str(out, text);
}
