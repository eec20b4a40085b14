// guest.cc - a module in C++: every word of the header once. C++17, so no designated initialisers.
#include "spacetimedb.h"

ST_MODULE(guest, "1.0.0");
ST_CASE(NONE);

ST_ENUM(mood, HAPPY, SAD);
ST_STRUCT(point, (double, x), (double, y));
ST_STRUCT(corner, (int32_t, x), (int32_t, y));
ST_SUM(thing, (st_unit, none), (st_str, link), (point, place));
ST_OPTION(point); ST_ARRAY(point); ST_RESULT(point, st_str);

ST_TABLE(entry, PUBLIC,
    (uint64_t,     id, PK_AUTO),
    (st_identity,  author, INDEX),
    (st_timestamp, written),
    (st_str,       text),
    (mood,         feeling, HASH),
    (uint32_t,     page),
    (uint16_t,     line));
ST_SEQUENCE(entry, id, 100, 100, 1000, 1);
ST_UNIQUE(entry, by_place, page, line);
ST_HASH_INDEX(entry, by_author_page, author, page);
ST_INDEX(entry, by_page_id, page, id);
ST_INDEX_NAME(entry, by_page_id, "entry_pages");

ST_TABLE(keyed, PRIVATE, (uint8_t, slot, PK_DIRECT), (st_str, name, UNIQUE_HASH), (int32_t, class_));
ST_COLUMN_NAME(keyed, class_, "class");
ST_TABLE_NAME(keyed, "keyed_ones");
ST_EVENT_TABLE(shot, PUBLIC, (st_identity, who));

static const uint32_t some_numbers[] = { 1, 2, 3 };
static const uint8_t some_bytes[] = { 0, 255 };
ST_TABLE(settings, PRIVATE, (uint64_t, id, PK), (bool, on), (int32_t, n), (st_u128, wide), (double, ratio), (st_str, motto), (st_bytes, blob),
    (opt_st_str, nick), (opt_uint32_t, quota), (point, home), (mood, feeling), (thing, extra), (arr_uint32_t, numbers), (st_i256, big));
ST_DEFAULT(settings, on, true);
ST_DEFAULT(settings, n, -3);
ST_DEFAULT(settings, wide, (st_u128)1 << 100);
ST_DEFAULT(settings, ratio, 0.5);
ST_DEFAULT(settings, motto, ST_S("carpe diem"));
ST_DEFAULT(settings, blob, { some_bytes, 2 });
ST_DEFAULT(settings, nick, ST_SOME(ST_S("x")));
ST_DEFAULT(settings, quota, ST_NONE);
ST_DEFAULT(settings, home, { 1.5, -2.5 });
ST_DEFAULT(settings, feeling, mood_SAD);
ST_DEFAULT(settings, extra, { thing_none, {} });
ST_DEFAULT(settings, numbers, { some_numbers, 3 });
ST_DEFAULT(settings, big, { { 1, 2, 3, 4 } });

ST_REDUCER(sign, (st_str, text), (uint32_t, page), (uint16_t, line))
{
    if (text.len == 0)
        return st_fail(ctx, "please write something");
    entry e{};
    e.author = ctx->sender;
    e.written = ctx->timestamp;
    e.text = st_format(ctx, "%.*s!", ST_FMT(text));
    e.page = page;
    e.line = line;
    st_status status = entry_insert(ctx->db, &e);
    if (status == ST_OK)
        st_log_info(ctx, "entry %llu", (unsigned long long)e.id);
    return status;
}
ST_REDUCER(check, (uint32_t, page), (uint16_t, line))
{
    const entry *e = entry_find_by_place(ctx->db, page, line);
    if (!e || entry_find_by_id(ctx->db, e->id) != e)
        return st_fail(ctx, "no entry");
    int n = 0;
    ST_FOR(entry, x, entry_by_author(ctx->db, ctx->sender)) n += x->text.len ? 1 : 0;
    ST_FOR(entry, x, entry_by_author_page(ctx->db, ctx->sender, page)) n += 10;
    ST_FOR(entry, x, entry_by_page_id(ctx->db, page)) n += 100;
    ST_FOR(entry, x, entry_by_feeling(ctx->db, mood_HAPPY)) n += 1000;
    uint64_t lo = e->id;
    ST_FOR(entry, x, entry_by_page_id_range(ctx->db, page, &lo, nullptr)) n += 10000;
    entry copy = *e;
    copy.feeling = mood_SAD;
    st_status status = entry_update_by_id(ctx->db, &copy);
    return status ? status : n == 11111 ? ST_OK : st_fail(ctx, "counted %d", n);
}
ST_REDUCER(random) { return st_random_u64(ctx) || st_uuid_v4(ctx).b[0] || st_uuid_v7(ctx).b[0] ? ST_OK : st_fail(ctx, "no luck"); }
ST_REDUCER(wrap, (opt_st_str, text), (res_point_st_str, place), (arr_point, points))
{
    opt_point p = points.len ? some_point(points.ptr[0]) : none_point();
    res_point_st_str r = p.some ? ok_point_st_str(p.v) : err_point_st_str(ST_S("none"));
    return text.some && place.tag == r.tag ? ST_OK : st_fail(ctx, "%s", "different");
}
ST_FUNCTION_NAME(wrap, "wrapAll");

ST_TABLE(reminder, PRIVATE, (uint64_t, id, PK_AUTO), (st_schedule_at, at), (st_str, text));
ST_REDUCER(remind, (reminder, row)) { return row.id == 7 ? ST_E_NO_ROW : ST_OK; }
ST_SCHEDULE(reminder, at, remind);
ST_INIT(on_init)
{
    reminder r{};
    r.at = st_every(st_seconds(60));
    return reminder_insert(ctx->db, &r);
}
ST_CLIENT_CONNECTED(on_connect)
{
    shot s{};
    s.who = ctx->sender;
    return shot_insert(ctx->db, &s);
}
ST_CLIENT_DISCONNECTED(on_disconnect) { return keyed_count(ctx->db) ? ST_E_USER : ST_OK; }
ST_VIEW(mine, PUBLIC, entry)
{
    ST_FOR(entry, e, entry_by_author(ctx->db, ctx->sender))
        if (entry_emit(out, e))
            return ST_E_USER;
    return ST_OK;
}
ST_QUERY_VIEW(written, PUBLIC, entry) { return entry_query(out, "SELECT * FROM entry WHERE author = :sender"); }
ST_ANON_OPTION_VIEW(origin_of, PUBLIC, corner)
{
    corner p{};
    return corner_emit(out, &p);
}
ST_VIEW_KEY(origin_of, x);
ST_ANON_VIEW(origin, PUBLIC, point)
{
    point p{};
    return point_emit(out, &p);
}
ST_PROCEDURE(import_text, uint64_t, (st_str, url))
{
    st_http_request q{};
    q.url = url;
    st_http_response r;
    if (st_http(ctx, &q, &r))
        return ST_E_HTTP;
    ST_WITH_TX(ctx, tx) {
        reminder m{};
        m.text = st_str{ (const char *)r.body.ptr, r.body.len };
        if (reminder_insert(tx->db, &m))
            break;
        *ret = m.id;
    }
    return ctx->tx_status;
}

static st_status to_n(st_reducer_ctx *ctx, const st_str *from, int32_t *to)
{
    if (from->len > 9)
        return st_fail(ctx, "too long");
    *to = (int32_t)from->len;
    return ST_OK;
}
ST_OLD_TABLE(2, old_settings, settings, (uint64_t, id, PK), (st_str, n, INDEX));
static st_status look(st_reducer_ctx *ctx)
{
    uint64_t n = old_settings_count(ctx->db);
    ST_FOR(old_settings, o, old_settings_by_n(ctx->db, ST_S("a"))) n += o->id;
    return n && old_settings_find_by_id(ctx->db, 1) ? ST_OK : st_fail(ctx, "nothing");
}
ST_MIGRATION(1, "numbers", ST_RENAME_TABLE(options, settings), ST_DROP_COLUMN(settings, bool));
ST_MIGRATION(2, "more", ST_CONVERT_COLUMN(settings, n, st_str, to_n), ST_RUN(look));

ST_HTTP_HANDLER(on_push)
{
    response->status = request->body.len ? 200 : 400;
    return ST_OK;
}
ST_ROUTE(POST, "/push", on_push);
