/* full.c - what the plugins do not use: views, procedures, schedules, event tables, defaults of all shapes. */
#include "spacetimedb.h"
ST_MODULE(full, "1.0.0");
ST_ENUM(room_kind, OPEN, INVITE, ARCHIVED);
ST_STRUCT(point, (double, x), (double, y));
ST_SUM(attachment, (st_unit, none), (st_str, link), (point, place));

ST_TABLE(user, PUBLIC,
    (st_identity, identity, PK),
    (opt_st_str,  name),
    (bool,        online));
ST_TABLE(message, PUBLIC,
    (uint64_t,     id, PK_AUTO),
    (uint32_t,     room),
    (st_identity,  sender, INDEX),
    (st_timestamp, sent),
    (st_str,       text),
    (attachment,   extra),
    (arr_st_str,   tags));
ST_INDEX(message, by_room_sent, room, sent);              /* two-column btree */
ST_TABLE(profile, PRIVATE, (uint32_t, id, PK_AUTO), (st_str, email, UNIQUE), (room_kind, kind), (uint32_t, score));
ST_DEFAULT(profile, score, 100);
ST_EVENT_TABLE(joined, PUBLIC, (st_identity, who));
ST_TABLE(reminder, PRIVATE, (uint64_t, id, PK_AUTO), (st_schedule_at, at), (st_str, text));

ST_REDUCER(send_reminder, (reminder, row)) {
    message m = { .sender = ctx->database, .sent = ctx->timestamp, .text = row.text };
    return message_insert(ctx->db, &m);
}
ST_SCHEDULE(reminder, at, send_reminder);

ST_INIT(on_init) {
    reminder r = { .at = st_every(st_seconds(60)), .text = ST_S("still there?") };
    return reminder_insert(ctx->db, &r);
}
ST_CLIENT_CONNECTED(on_connect) {
    const user *u = user_find_by_identity(ctx->db, ctx->sender);
    joined j = { ctx->sender };
    st_status st = joined_insert(ctx->db, &j);
    if (st) return st;
    if (!u) {
        user fresh = { .identity = ctx->sender, .online = true };
        return user_insert(ctx->db, &fresh);
    }
    user copy = *u;                                       /* read in place, change by copy */
    copy.online = true;
    return user_update_by_identity(ctx->db, &copy);
}
ST_CLIENT_DISCONNECTED(on_disconnect) {
    const user *u = user_find_by_identity(ctx->db, ctx->sender);
    if (!u) { st_log_warn(ctx, "disconnect of an unknown user"); return ST_OK; }
    user copy = *u;
    copy.online = false;
    return user_update_by_identity(ctx->db, &copy);
}
ST_REDUCER(set_name, (st_str, name)) {
    if (name.len == 0) return st_fail(ctx, "names must not be empty");
    const user *u = user_find_by_identity(ctx->db, ctx->sender);
    if (!u) return st_fail(ctx, "cannot set the name of an unknown user");
    user copy = *u;
    copy.name = some_st_str(name);
    st_log_info(ctx, "renamed to %.*s", ST_FMT(name));
    return user_update_by_identity(ctx->db, &copy);
}
ST_REDUCER(send_message, (uint32_t, room), (st_str, text), (arr_st_str, tags)) {
    if (text.len == 0) return st_fail(ctx, "messages must not be empty");
    message m = { .room = room, .sender = ctx->sender, .sent = ctx->timestamp, .text = text, .tags = tags,
                  .extra = { attachment_place, { .place = { 1.5, 2.5 } } } };
    st_status st = message_insert(ctx->db, &m);           /* fills m.id */
    if (!st) st_log_info(ctx, "message %llu", (unsigned long long)m.id);
    return st;
}
ST_REDUCER(forget_room, (uint32_t, room), (st_timestamp, before)) {
    ST_FOR(message, m, message_by_room_sent_range(ctx->db, room, NULL, &before)) message_delete_by_id(ctx->db, m->id);
    return ST_OK;
}
ST_REDUCER(recount) {
    uint64_t n = 0;
    ST_FOR(message, m, message_all(ctx->db)) if (m->text.len) n++;
    return n == message_count(ctx->db) ? ST_OK : st_fail(ctx, "count mismatch");
}
ST_REDUCER(add_profile, (st_str, email), (room_kind, kind)) {
    profile p = { .email = email, .kind = kind, .score = 1 };
    st_status st = profile_try_insert(ctx->db, &p);
    return st == ST_E_UNIQUE ? st_fail(ctx, "email taken") : st;
}
ST_REDUCER(careless, (st_str, email)) {                   /* swallows a failure: the host still refuses to commit */
    profile a = { .email = email }, b = { .email = email };
    st_status x = profile_insert(ctx->db, &a), y = profile_insert(ctx->db, &b);
    return x && y ? x : ST_OK;
}
ST_VIEW(me, PUBLIC, user) {
    const user *u = user_find_by_identity(ctx->db, ctx->sender);
    return u ? user_emit(out, u) : ST_OK;
}
ST_STRUCT(total, (uint64_t, messages));
ST_ANON_VIEW(totals, PUBLIC, total) {
    total t = { message_count(ctx->db) };
    return total_emit(out, &t);
}
ST_STRUCT(called, (uint32_t, id), (st_str, name));
ST_OPTION_VIEW(my_name, PUBLIC, called) {
    const user *u = user_find_by_identity(ctx->db, ctx->sender);
    called c = { .id = 1, .name = u ? u->name.some ? u->name.v : ST_S("") : ST_S("nobody") };
    return called_emit(out, &c);
}
ST_VIEW_KEY(my_name, id);
ST_ANON_QUERY_VIEW(lobby, PUBLIC, message) { return message_query(out, "SELECT * FROM message WHERE room = 0"); }
ST_PROCEDURE(import_text, uint64_t, (st_str, url), (uint32_t, room)) {
    st_http_request q = { .url = url };
    st_http_response r;
    if (st_http(ctx, &q, &r)) return ST_E_HTTP;
    ST_WITH_TX(ctx, tx) {
        message m = { .room = room, .sender = tx->sender, .sent = tx->timestamp, .text = { (const char *)r.body.ptr, r.body.len } };
        if (message_insert(tx->db, &m)) break;
        *ret = m.id;
    }
    return ctx->tx_status;
}

ST_TABLE(settings, PRIVATE, (uint64_t, id, PK), (st_str, motto), (opt_st_str, nick), (opt_uint32_t, quota), (point, home),
    (room_kind, kind), (st_duration, pause), (arr_st_str, words), (bool, on), (attachment, extra), (double, ratio), (st_i256, big));
ST_DEFAULT(settings, motto, ST_S("carpe diem"));
ST_DEFAULT(settings, nick, ST_SOME(ST_S("x")));
ST_DEFAULT(settings, quota, ST_NONE);
ST_DEFAULT(settings, home, { 1.5, -2.5 });
ST_DEFAULT(settings, kind, room_kind_INVITE);
ST_DEFAULT(settings, pause, { 5 * 1000000 });
ST_DEFAULT(settings, words, { 0 });
ST_DEFAULT(settings, on, true);
ST_DEFAULT(settings, extra, { attachment_link, { .link = ST_S("http://x") } });
ST_DEFAULT(settings, ratio, 0.5);
ST_DEFAULT(settings, big, { { 1 } });

ST_PROCEDURE(no_arguments, uint64_t) { *ret = 7; return ST_OK; }

ST_PROCEDURE(leave, st_unit, (uint32_t, way)) {
    ST_WITH_TX(ctx, tx) {
        message m = { .sender = tx->sender };
        if (message_insert(tx->db, &m) || way == 1) break;
        if (way == 2) return ST_OK;
        if (way == 3) goto out;
    }
out:
    return ST_OK;
}

ST_TABLE(wake, PRIVATE, (uint64_t, id, PK_AUTO), (st_schedule_at, at));
ST_PROCEDURE(on_wake, st_unit, (wake, row)) { st_log_debug(ctx, "wake %llu", (unsigned long long)row.id); return ST_OK; }
ST_SCHEDULE(wake, at, on_wake);

ST_TABLE(grid, PRIVATE, (int32_t, x), (int32_t, y), (int32_t, z), (int32_t, w));
ST_INDEX(grid, by_xyz, x, y, z);
ST_INDEX(grid, by_xyzw, x, y, z, w);
ST_ANON_VIEW(origin, PUBLIC, grid) {
    int32_t lo = 0, hi = 1;
    ST_FOR(grid, g, grid_by_xyz(ctx->db, 0, 0)) if (grid_emit(out, g)) return ST_E_USER;
    ST_FOR(grid, g, grid_by_xyzw_range(ctx->db, 0, 0, 0, &lo, &hi)) if (grid_emit(out, g)) return ST_E_USER;
    return ST_OK;
}

/* A column named like the parameters of the generated functions, and arguments beyond nine. */
ST_TABLE(awkward, PRIVATE, (uint32_t, key, PK), (uint32_t, db, INDEX), (uint32_t, lo), (uint32_t, hi));
ST_INDEX(awkward, by_lo_hi, lo, hi);
ST_REDUCER(twelve, (bool, a1), (bool, a2), (bool, a3), (bool, a4), (bool, a5), (bool, a6), (bool, a7), (bool, a8), (bool, a9),
           (bool, a10), (bool, a11), (bool, a12)) {
    return a1 && a2 && a3 && a4 && a5 && a6 && a7 && a8 && a9 && a10 && a11 && a12 ? ST_OK : st_fail(ctx, "not all");
}

ST_HTTP_HANDLER(on_push) {
    if (request->body.len == 0) { response->status = 400; return ST_OK; }
    if (st_sleep_until(ctx, ctx->timestamp)) return ST_E_USER;
    ST_WITH_TX(ctx, tx) {
        message m = { .sender = tx->sender, .text = { (const char *)request->body.ptr, request->body.len } };
        if (message_insert(tx->db, &m)) break;
    }
    response->body = (st_bytes)ST_BYTES("thank you");
    return ctx->tx_status;
}
ST_ROUTE(POST, "/hooks/push", on_push);
ST_ROUTE(ANY, "", on_push);
