/* herald - a module that talks to the outside world: it takes in news by HTTP, passes them on, and asks other servers. */
#include "spacetimedb.h"

ST_MODULE(herald, "1.0.0");

ST_TABLE(news, PUBLIC,
    (uint64_t,     id, PK_AUTO),
    (st_timestamp, heard),
    (st_str,       text));
ST_TABLE(listener, PRIVATE, (st_str, url, PK));

ST_REDUCER(listen, (st_str, url)) {
    listener l = { .url = url };
    return listener_insert(ctx->db, &l);
}

ST_STRUCT(delivery, (uint32_t, reached), (uint32_t, missed));

/* Send a text to all listeners. Their addresses are read in a transaction of their own: nothing is held while servers answer. */
ST_PROCEDURE(proclaim, delivery, (st_str, text)) {
    st_str *urls = NULL;
    uint64_t n = 0;
    ST_WITH_TX(ctx, tx) {
        n = 0;                                                      /* the body may run twice */
        urls = (st_str *)st_alloc(tx, listener_count(tx->db) * sizeof *urls);
        ST_FOR(listener, l, listener_all(tx->db))
            urls[n++] = st_format(tx, "%.*s", ST_FMT(l->url));      /* rows are gone when the transaction ends */
    }
    if (ctx->tx_status) return ctx->tx_status;
    for (uint64_t i = 0; i < n; i++) {
        st_http_request q = { .method = ST_S("POST"), .url = urls[i], .body = { (const uint8_t *)text.ptr, text.len }, .timeout = { 5000000 } };
        st_http_response r;
        if (st_http(ctx, &q, &r) == ST_OK && r.status < 300)
            ret->reached++;
        else {
            st_log_warn(ctx, "%.*s: status %u %.*s", ST_FMT(urls[i]), (unsigned)r.status, ST_FMT(r.error));
            ret->missed++;
        }
    }
    return ST_OK;
}

/* Fetch a page every so often, and keep what it says: three tries, a second apart. */
ST_PROCEDURE(inquire, bool, (st_str, url)) {
    st_http_response r = { 0 };
    st_http_request q = { .url = url };
    for (int tries = 0; tries < 3; tries++) {
        if (st_http(ctx, &q, &r) == ST_OK && r.status == 200) break;
        if (st_sleep_until(ctx, (st_timestamp){ ctx->timestamp.us + 1000000 })) return ST_E_CANCELLED;
    }
    if (r.status != 200) return st_fail(ctx, "no answer worth keeping: status %u %.*s", (unsigned)r.status, ST_FMT(r.error));
    ST_WITH_TX(ctx, tx) {
        news item = { .heard = tx->timestamp, .text = { (const char *)r.body.ptr, r.body.len } };
        if (news_insert(tx->db, &item)) break;
    }
    *ret = ctx->tx_status == ST_OK;
    return ctx->tx_status;
}

/* POST /v1/database/herald/route/hear, with a text as its body. Anybody may: look at a header if that is not what you want. */
ST_HTTP_HANDLER(on_hear) {
    if (request->body.len == 0) {
        response->status = 400;
        response->body = (st_bytes)ST_BYTES("a body is missing\n");
        return ST_OK;
    }
    ST_WITH_TX(ctx, tx) {
        news item = { .heard = tx->timestamp, .text = { (const char *)request->body.ptr, request->body.len } };
        if (news_insert(tx->db, &item)) break;
        st_str body = st_format(tx, "%llu\n", (unsigned long long)item.id);
        response->body = (st_bytes){ (const uint8_t *)body.ptr, body.len };
    }
    response->status = ctx->tx_status ? 422 : 201;
    return ST_OK;
}
ST_ROUTE(POST, "/hear", on_hear);
