/* courier - procedures of every kind, for tests/integration/procedures_test.mjs. */
#include "spacetimedb.h"
#include <string.h>

ST_MODULE(courier, "1.0.0");

ST_TABLE(parcel, PUBLIC, (uint64_t, id, PK_AUTO), (st_str, what));
ST_TABLE(slot, PUBLIC, (uint32_t, id, PK), (st_str, what));
ST_STRUCT(receipt, (st_str, text), (uint64_t, count), (st_identity, who));

ST_REDUCER(put, (st_str, what)) { parcel p = { .what = what }; return parcel_insert(ctx->db, &p); }
ST_REDUCER(empty) { parcel_clear(ctx->db); slot_clear(ctx->db); return ST_OK; }
ST_REDUCER(die) { *(volatile int *)8 = 1; return ST_OK; }
ST_REDUCER(spin, (uint64_t, n)) { volatile uint64_t x = 0; while (x < n) x++; return ST_OK; }

/* 65: a struct with text */
ST_PROCEDURE(count, receipt, (st_str, text)) {
    ST_WITH_TX(ctx, tx) ret->count = parcel_count(tx->db);
    if (ctx->tx_status) return ctx->tx_status;
    ret->text = st_format(ctx, "%.*s!", ST_FMT(text));
    ret->who = ctx->sender;
    return ST_OK;
}
ST_PROCEDURE(nothing, st_unit) { return ST_OK; }
ST_PROCEDURE(context, st_str) {
    bool same = false;
    int64_t begun = ctx->timestamp.us;
    ST_WITH_TX(ctx, tx)
        same = !memcmp(&tx->sender, &ctx->sender, 32) && tx->connection.some == ctx->connection.some && tx->timestamp.us >= begun &&
               tx->origin == ctx->origin && st_random_u64(tx) != st_random_u64(ctx);
    *ret = st_format(ctx, "%s %d %d", same ? "same" : "other", (int)ctx->origin, (int)ctx->connection.some);
    return ST_OK;
}

/* 66: two transactions, the second fails */
ST_PROCEDURE(two, st_unit) {
    ST_WITH_TX(ctx, tx) {
        slot s = { .id = 1, .what = ST_S("first") };
        if (slot_insert(tx->db, &s)) break;
    }
    if (ctx->tx_status) return ctx->tx_status;
    ST_WITH_TX(ctx, tx) {
        slot s = { .id = 2, .what = ST_S("second") }, again = { .id = 1, .what = ST_S("taken") };
        if (slot_insert(tx->db, &s) || slot_insert(tx->db, &again)) break;
    }
    return ctx->tx_status == ST_OK ? ST_OK : ctx->tx_status;
}

/* 67: how often the body ran, and what is left of it */
ST_PROCEDURE(retried, uint64_t) {
    ST_WITH_TX(ctx, tx) {
        ++*ret;
        parcel p = { .what = ST_S("once") };
        if (parcel_insert(tx->db, &p)) break;
    }
    return ctx->tx_status;
}

/* 68: what cannot be done inside */
ST_PROCEDURE(inside, st_str) {
    st_http_request q = { .url = ST_S("http://127.0.0.1:1/") };
    st_http_response r;
    int http = 0, nested = 0, sleep = 0;
    ST_WITH_TX(ctx, tx) {
        http = st_http(ctx, &q, &r);
        ST_WITH_TX(ctx, other) { nested = -1; (void)other; }
        if (nested == 0) nested = ctx->tx_status;
        sleep = st_sleep_until(ctx, (st_timestamp){ ctx->timestamp.us + 1000000 });
        (void)tx;
    }
    *ret = st_format(ctx, "%d %d %d %d", http, nested, sleep, (int)ctx->tx_status);
    return ST_OK;
}

/* 69: returning with an open transaction, past the macro */
ST_PROCEDURE(leaves_open, st_unit) {
    st_reducer_ctx *tx = ctx->api->tx_begin(ctx);
    if (!tx) return ctx->tx_status;
    parcel p = { .what = ST_S("never") };
    return parcel_insert(tx->db, &p);
}
/* the handle is kept beyond its transaction */
ST_PROCEDURE(stale, st_str) {
    st_reducer_ctx *kept = 0;
    ST_WITH_TX(ctx, tx) kept = tx;
    parcel p = { .what = ST_S("late") };
    st_status s = parcel_try_insert(kept->db, &p);
    *ret = st_format(ctx, "%d %d", (int)s, (int)parcel_count(kept->db));
    return ST_OK;
}
ST_PROCEDURE(gives_up, st_str) {
    ST_WITH_TX(ctx, tx) {
        parcel p = { .what = ST_S("never") };
        if (parcel_insert(tx->db, &p)) return ST_OK;
        break;
    }
    *ret = st_format(ctx, "%d", (int)ctx->tx_status);
    return ST_OK;
}
ST_PROCEDURE(refuses, st_unit, (st_str, why)) { return st_fail(ctx, "%.*s", ST_FMT(why)); }
ST_PROCEDURE(crash, st_unit) { *(volatile int *)8 = 1; return ST_OK; }
ST_PROCEDURE(crash_in_tx, st_unit) {
    ST_WITH_TX(ctx, tx) { parcel p = { .what = ST_S("never") }; if (!parcel_insert(tx->db, &p)) *(volatile int *)8 = 1; }
    return ST_OK;
}
ST_PROCEDURE(holds, st_unit) { ST_WITH_TX(ctx, tx) { for (volatile int i = 0; tx; i++) { } } return ST_OK; }
ST_PROCEDURE(computes, uint64_t, (uint64_t, n)) { for (volatile uint64_t i = 0; i < n; i++) *ret = i; return ST_OK; }
ST_PROCEDURE(recurses, uint64_t, (uint64_t, n)) {
    volatile char big[4096];
    big[n % 4096] = 1;
    if (n && recurses(ctx, ret, n - 1)) return ST_E_USER;
    *ret += (uint64_t)big[n % 4096];
    return ST_OK;
}

/* sleeping, and a transaction afterwards */
ST_PROCEDURE(nap, int64_t, (uint32_t, ms)) {
    int64_t begun = ctx->timestamp.us;
    st_status s = st_sleep_until(ctx, (st_timestamp){ begun + ms * 1000LL });
    if (s) return s;
    *ret = (ctx->timestamp.us - begun) / 1000;
    ST_WITH_TX(ctx, tx) { parcel p = { .what = ST_S("rested") }; if (parcel_insert(tx->db, &p)) break; }
    return ctx->tx_status;
}

/* the outside world */
ST_STRUCT(answer, (uint32_t, status), (st_str, body), (st_str, headers), (st_str, error));
static st_status ask(st_proc_ctx *ctx, answer *ret, const st_http_request *q)
{
    st_http_response r;
    st_status s = st_http(ctx, q, &r);
    if (s) {
        ret->error = st_format(ctx, "%d %.*s", (int)s, ST_FMT(r.error));
        return ST_OK;
    }
    ret->status = r.status;
    ret->body = (st_str){ (const char *)r.body.ptr, r.body.len };
    st_str all = { 0 };
    for (size_t i = 0; i < r.header_count; i++)
        all = st_format(ctx, "%.*s%.*s=%.*s;", ST_FMT(all), ST_FMT(r.headers[i].name), (int)r.headers[i].value.len, (const char *)r.headers[i].value.ptr);
    ret->headers = all;
    return ST_OK;
}
ST_PROCEDURE(fetch, answer, (st_str, method), (st_str, url), (st_str, body), (uint32_t, timeout_ms)) {
    st_http_header headers[] = { { ST_S("X-One"), { (const uint8_t *)"1", 1 } }, { ST_S("X-Two"), { (const uint8_t *)"2", 1 } },
                                 { ST_S("X-One"), { (const uint8_t *)"3", 1 } }, { ST_S("Authorization"), { (const uint8_t *)"s3cret", 6 } } };
    st_http_request q = { .method = method, .url = url, .headers = headers, .header_count = 4, .body = { (const uint8_t *)body.ptr, body.len },
                          .timeout = { timeout_ms * 1000LL } };
    return ask(ctx, ret, &q);
}
ST_PROCEDURE(fetch_size, answer, (st_str, url), (uint32_t, bytes)) {
    uint8_t *body = (uint8_t *)st_alloc(ctx, bytes + 1u);
    for (uint32_t i = 0; i < bytes; i++) body[i] = (uint8_t)i;
    st_http_request q = { .method = ST_S("POST"), .url = url, .body = { body, bytes } };
    st_status s = ask(ctx, ret, &q);
    if (ret->body.len > 100) ret->body = st_format(ctx, "%llu bytes", (unsigned long long)ret->body.len);
    return s;
}
/* writes, asks, writes */
ST_PROCEDURE(order, uint32_t, (st_str, url)) {
    ST_WITH_TX(ctx, tx) { parcel p = { .what = ST_S("ordered") }; if (parcel_insert(tx->db, &p)) break; }
    if (ctx->tx_status) return ctx->tx_status;
    st_http_request q = { .url = url };
    st_http_response r;
    if (st_http(ctx, &q, &r)) return st_fail(ctx, "%.*s", ST_FMT(r.error));
    ST_WITH_TX(ctx, tx) { parcel p = { .what = { (const char *)r.body.ptr, r.body.len } }; if (parcel_insert(tx->db, &p)) break; }
    *ret = r.status;
    return ctx->tx_status;
}

/* ---- routes ---- */
ST_HTTP_HANDLER(echo) {
    st_str all = st_format(ctx, "%.*s %.*s", ST_FMT(request->method), ST_FMT(request->url));
    for (size_t i = 0; i < request->header_count; i++)
        all = st_format(ctx, "%.*s\n%.*s: %.*s", ST_FMT(all), ST_FMT(request->headers[i].name), (int)request->headers[i].value.len,
            (const char *)request->headers[i].value.ptr);
    st_http_header *out = (st_http_header *)st_alloc(ctx, 3 * sizeof *out);
    out[0] = (st_http_header){ ST_S("X-Seen"), { (const uint8_t *)all.ptr, 0 } };
    out[1] = (st_http_header){ ST_S("Set-Cookie"), ST_BYTES("a=1") };
    out[2] = (st_http_header){ ST_S("Set-Cookie"), ST_BYTES("b=2") };
    response->headers = out;
    response->header_count = 3;
    response->status = 207;
    response->body = request->body.len ? request->body : (st_bytes){ (const uint8_t *)all.ptr, all.len };
    return ST_OK;
}
ST_ROUTE(ANY, "/echo", echo);
ST_ROUTE(GET, "", echo);
ST_ROUTE(POST, "/echo/", echo);

/* what a transaction of a handler looks like */
ST_HTTP_HANDLER(note) {
    st_identity nobody;
    memset(&nobody, 0, sizeof nobody);
    ST_WITH_TX(ctx, tx) {
        bool none = !memcmp(&tx->sender, &nobody, sizeof nobody) && !tx->connection.some;
        parcel p = { .what = st_format(tx, "%s %d", none ? "nobody" : "somebody", (int)tx->origin) };
        if (parcel_insert(tx->db, &p)) break;
    }
    response->status = ctx->tx_status ? 500 : 201;
    return ST_OK;
}
ST_ROUTE(PUT, "/note", note);

/* what cannot be sent, and what fails */
ST_HTTP_HANDLER(wrong) {
    st_str q = request->url;
    char what = q.len ? q.ptr[q.len - 1] : 0;
    if (what == '0') response->status = 99;
    if (what == '1') response->status = 700;
    st_http_header *h = (st_http_header *)st_alloc(ctx, sizeof *h);
    *h = (st_http_header){ ST_S("X"), ST_BYTES("y") };
    if (what == '2') h->name = ST_S("X Y");
    if (what == '3') h->value = (st_bytes)ST_BYTES("a\r\nSet-Cookie: b");
    response->headers = h;
    response->header_count = 1;
    if (what == '4') return st_fail(ctx, "a secret reason");
    if (what == '5') *(volatile int *)8 = 1;
    if (what == '6') response->status = 204;
    return ST_OK;
}
ST_ROUTE(GET, "/wrong", wrong);
ST_HTTP_HANDLER(slow) {
    if (st_sleep_until(ctx, (st_timestamp){ ctx->timestamp.us + 400000 })) return ST_E_USER;
    response->body = (st_bytes)ST_BYTES("slow");
    return ST_OK;
}
ST_ROUTE(GET, "/slow", slow);
