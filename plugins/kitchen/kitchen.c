/* kitchen.c - a bit of everything: each type of the SDK as a column and as an argument, each column
 * attribute, each way to change a table. Tests of the host, the wire and the clients are built on it. */
#include "spacetimedb.h"

ST_MODULE(kitchen, "1.0.0");

/* ---- types of its own ---- */

ST_ENUM(color, RED, GREEN, BLUE);
ST_STRUCT(point, (int32_t, x), (int32_t, y));
ST_SUM(filling, (st_unit, nothing), (int64_t, number), (st_str, words), (point, place), (arr_st_str, lines));

ST_OPTION(point);
ST_OPTION(color);
ST_OPTION(opt_st_str);                      /* none, some(none), some(some(text)) are three values */
ST_OPTION(arr_st_str);
ST_ARRAY(point);
ST_ARRAY(color);
ST_ARRAY(filling);
ST_ARRAY(opt_st_str);
ST_ARRAY(arr_uint32_t);
ST_RESULT(uint64_t, st_str);

ST_STRUCT(recipe, (st_str, title), (arr_point, steps), (opt_color, garnish), (filling, inside));

/* ---- every type as a column ---- */

ST_TABLE(everything, PUBLIC,
    (uint64_t,            id, PK_AUTO),
    (bool,                flag),
    (int8_t,              i8),
    (int16_t,             i16),
    (int32_t,             i32),
    (int64_t,             i64),
    (st_i128,             i128),
    (st_i256,             i256),
    (uint8_t,             u8),
    (uint16_t,            u16),
    (uint32_t,            u32),
    (uint64_t,            u64),
    (st_u128,             u128),
    (st_u256,             u256),
    (float,               f32),
    (double,              f64),
    (st_str,              text),
    (st_bytes,            bytes),
    (st_identity,         who),
    (st_connection_id,    via),
    (st_uuid,             uuid),
    (st_timestamp,        at),
    (st_duration,         took),
    (st_schedule_at,      due),
    (st_unit,             unit),
    (color,               shade),
    (point,               spot),
    (recipe,              dish),
    (filling,             stuff),
    (opt_uint32_t,        maybe_number),
    (opt_st_str,          maybe_text),
    (opt_point,           maybe_spot),
    (opt_opt_st_str,      maybe_maybe_text),
    (opt_arr_st_str,      maybe_lines),
    (arr_bool,            flags),
    (arr_int64_t,         numbers),
    (arr_double,          doubles),
    (arr_st_str,          texts),
    (arr_st_bytes,        blobs),
    (arr_st_identity,     people),
    (arr_point,           spots),
    (arr_color,           shades),
    (arr_filling,         stuffs),
    (arr_opt_st_str,      maybe_texts),
    (arr_arr_uint32_t,    grid),
    (res_uint64_t_st_str, outcome));

/* The row arrives as one argument; id 0 asks for the next number. */
ST_REDUCER(insert_everything, (everything, row)) {
    return everything_insert(ctx->db, &row);
}

ST_REDUCER(update_everything, (everything, row)) {
    return everything_update_by_id(ctx->db, &row);
}

ST_REDUCER(delete_everything, (uint64_t, id)) {
    return everything_delete_by_id(ctx->db, id) ? ST_OK : st_fail(ctx, "no row %llu", (unsigned long long)id);
}

ST_REDUCER(clear_everything) {
    everything_clear(ctx->db);
    return ST_OK;
}

/* The three below take every type as an argument of its own. */
ST_REDUCER(insert_numbers, (bool, flag), (int8_t, i8), (int16_t, i16), (int32_t, i32), (int64_t, i64),
           (st_i128, i128), (st_i256, i256), (uint8_t, u8), (uint16_t, u16), (uint32_t, u32), (uint64_t, u64),
           (st_u128, u128), (st_u256, u256), (float, f32), (double, f64)) {
    everything e = { .flag = flag, .i8 = i8, .i16 = i16, .i32 = i32, .i64 = i64, .i128 = i128, .i256 = i256,
                     .u8 = u8, .u16 = u16, .u32 = u32, .u64 = u64, .u128 = u128, .u256 = u256,
                     .f32 = f32, .f64 = f64 };
    return everything_insert(ctx->db, &e);
}

ST_REDUCER(insert_simple, (st_str, text), (st_bytes, bytes), (st_identity, who), (st_connection_id, via),
           (st_uuid, uuid), (st_timestamp, at), (st_duration, took), (st_schedule_at, due), (st_unit, unit)) {
    everything e = { .text = text, .bytes = bytes, .who = who, .via = via, .uuid = uuid, .at = at,
                     .took = took, .due = due, .unit = unit };
    return everything_insert(ctx->db, &e);
}

ST_REDUCER(insert_composed, (color, shade), (point, spot), (recipe, dish), (filling, stuff),
           (opt_uint32_t, maybe_number), (opt_st_str, maybe_text), (opt_point, maybe_spot),
           (opt_opt_st_str, maybe_maybe_text), (opt_arr_st_str, maybe_lines), (arr_bool, flags),
           (arr_int64_t, numbers), (arr_double, doubles), (arr_st_str, texts), (arr_st_bytes, blobs),
           (arr_st_identity, people), (arr_point, spots), (arr_color, shades), (arr_filling, stuffs),
           (arr_opt_st_str, maybe_texts), (arr_arr_uint32_t, grid), (res_uint64_t_st_str, outcome)) {
    everything e = { .shade = shade, .spot = spot, .dish = dish, .stuff = stuff,
                     .maybe_number = maybe_number, .maybe_text = maybe_text, .maybe_spot = maybe_spot,
                     .maybe_maybe_text = maybe_maybe_text, .maybe_lines = maybe_lines, .flags = flags,
                     .numbers = numbers, .doubles = doubles, .texts = texts, .blobs = blobs,
                     .people = people, .spots = spots, .shades = shades, .stuffs = stuffs,
                     .maybe_texts = maybe_texts, .grid = grid, .outcome = outcome };
    return everything_insert(ctx->db, &e);
}

/* Rows whose values a test can know: all zero, the largest and the smallest numbers, one of each shape. */
ST_REDUCER(insert_zeroes) {
    everything e = { .id = 0 };
    return everything_insert(ctx->db, &e);
}

ST_REDUCER(insert_largest) {
    everything e = { .flag = true,
                     .i8 = INT8_MAX, .i16 = INT16_MAX, .i32 = INT32_MAX, .i64 = INT64_MAX,
                     .i128 = (st_i128)(~(st_u128)0 >> 1),
                     .i256 = { { UINT64_MAX, UINT64_MAX, UINT64_MAX, INT64_MAX } },
                     .u8 = UINT8_MAX, .u16 = UINT16_MAX, .u32 = UINT32_MAX, .u64 = UINT64_MAX,
                     .u128 = ~(st_u128)0,
                     .u256 = { { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX } },
                     .f32 = 3.40282347e38f, .f64 = 1.7976931348623157e308, .shade = color_BLUE };
    memset(e.who.b, 255, sizeof e.who.b);
    memset(e.via.b, 255, sizeof e.via.b);
    memset(e.uuid.b, 255, sizeof e.uuid.b);
    return everything_insert(ctx->db, &e);
}

ST_REDUCER(insert_smallest) {
    everything e = { .i8 = INT8_MIN, .i16 = INT16_MIN, .i32 = INT32_MIN, .i64 = INT64_MIN,
                     .i128 = (st_i128)1 << 126, .i256 = { { 0, 0, 0, (uint64_t)1 << 63 } },
                     .f32 = -3.40282347e38f, .f64 = -1.7976931348623157e308,
                     .took = { INT64_MIN }, .at = { -1 } };
    e.i128 = -e.i128 - e.i128;              /* -2^127 */
    return everything_insert(ctx->db, &e);
}

ST_REDUCER(insert_sample) {
    const point corners[] = { { 1, 2 }, { -3, 4 } };
    const st_str lines[] = { ST_S("one"), ST_S(""), ST_S("zw\xc3\xb6lf") };
    const opt_st_str maybes[] = { none_st_str(), some_st_str(ST_S("here")) };
    const uint32_t row0[] = { 1, 2, 3 }, row2[] = { 4 };
    const arr_uint32_t grid[] = { { row0, 3 }, { NULL, 0 }, { row2, 1 } };
    const filling stuffs[] = {
        { .tag = filling_nothing },
        { filling_number, { .number = -7 } },
        { filling_words, { .words = ST_S("salt") } },
        { filling_place, { .place = { 5, 6 } } },
        { filling_lines, { .lines = { lines, 3 } } },
    };
    const bool flags[] = { true, false, true };
    const int64_t numbers[] = { INT64_MIN, -1, 0, 1, INT64_MAX };
    const double doubles[] = { -0.5, 0.0, 1e300 };
    const color shades[] = { color_GREEN, color_RED };
    const uint8_t blob[] = { 0, 1, 254, 255 };
    const st_bytes blobs[] = { { blob, sizeof blob }, { NULL, 0 } };
    const st_identity people[] = { ctx->sender, ctx->database };

    everything e = {
        .flag = true, .i8 = -8, .i16 = -16, .i32 = -32, .i64 = -64, .i128 = -128,
        .i256 = { { (uint64_t)-256, UINT64_MAX, UINT64_MAX, UINT64_MAX } },
        .u8 = 8, .u16 = 16, .u32 = 32, .u64 = 64, .u128 = 128, .u256 = { { 256, 0, 0, 0 } },
        .f32 = 1.5f, .f64 = -2.25, .text = ST_S("caf\xc3\xa9"), .bytes = { blob, sizeof blob },
        .who = ctx->sender, .via = ctx->connection.v,
        .uuid = { { 0, 17, 34, 51, 68, 85, 70, 119, 136, 153, 170, 187, 204, 221, 238, 255 } },
        .at = ctx->timestamp, .took = st_seconds(90), .due = st_every(st_millis(250)),
        .shade = color_GREEN, .spot = { 10, -20 },
        .dish = { ST_S("soup"), { corners, 2 }, some_color(color_BLUE),
                  { filling_words, { .words = ST_S("leek") } } },
        .stuff = { filling_place, { .place = { 7, 8 } } },
        .maybe_number = some_uint32_t(42), .maybe_text = some_st_str(ST_S("")),
        .maybe_spot = some_point((point){ 9, 9 }), .maybe_maybe_text = some_opt_st_str(none_st_str()),
        .maybe_lines = some_arr_st_str((arr_st_str){ lines, 3 }),
        .flags = { flags, 3 }, .numbers = { numbers, 5 }, .doubles = { doubles, 3 }, .texts = { lines, 3 },
        .blobs = { blobs, 2 }, .people = { people, 2 }, .spots = { corners, 2 }, .shades = { shades, 2 },
        .stuffs = { stuffs, 5 }, .maybe_texts = { maybes, 2 }, .grid = { grid, 3 },
        .outcome = err_uint64_t_st_str(ST_S("burnt")),
    };
    return everything_insert(ctx->db, &e);
}

/* ---- a table without a key: the whole row is what it is known by ---- */

ST_TABLE(pair, PUBLIC,
    (int32_t, a),
    (st_str,  b));

ST_REDUCER(insert_pair, (int32_t, a), (st_str, b)) {
    pair p = { a, b };
    return pair_insert(ctx->db, &p);        /* the same pair twice is no change */
}

ST_REDUCER(delete_pair, (int32_t, a), (st_str, b)) {
    pair p = { a, b };
    return pair_delete(ctx->db, &p) ? ST_OK : st_fail(ctx, "no such pair");
}

ST_REDUCER(update_pair, (pair, old_row), (pair, new_row)) {
    if (!pair_delete(ctx->db, &old_row))
        return st_fail(ctx, "no such pair");
    return pair_insert(ctx->db, &new_row);
}

/* Deletes, and inserts, while it iterates: the loop sees the rows that were there when it began. */
ST_REDUCER(replace_pairs_below, (int32_t, limit), (st_str, b)) {
    ST_FOR(pair, p, pair_all(ctx->db)) {
        if (p->a >= limit)
            continue;
        pair moved = { p->a, b };
        pair_delete(ctx->db, p);
        st_status status = pair_insert(ctx->db, &moved);
        if (status)
            return status;
    }
    return ST_OK;
}

ST_REDUCER(clear_pairs) {
    st_log_info(ctx, "%llu pairs cleared", (unsigned long long)pair_clear(ctx->db));
    return ST_OK;
}

/* ---- every attribute, and an index over several columns ---- */

ST_TABLE(desk, PUBLIC,
    (uint32_t, id, PK_AUTO),
    (st_str,   code, UNIQUE),
    (uint16_t, badge, UNIQUE_AUTO),
    (int32_t,  serial, AUTO),
    (uint16_t, floor),
    (uint16_t, room),
    (color,    paint, INDEX));
ST_INDEX(desk, by_place, floor, room);
ST_INDEX(desk, by_paint_place, paint, floor, room);

ST_TABLE(secret, PRIVATE,
    (st_identity, owner, PK),
    (st_str,      text));

ST_REDUCER(insert_desk, (st_str, code), (uint16_t, floor), (uint16_t, room), (color, paint)) {
    desk d = { .code = code, .floor = floor, .room = room, .paint = paint };
    return desk_insert(ctx->db, &d);
}

ST_REDUCER(move_desk, (st_str, code), (uint16_t, floor), (uint16_t, room)) {
    const desk *d = desk_find_by_code(ctx->db, code);
    if (!d)
        return st_fail(ctx, "no desk %.*s", ST_FMT(code));
    desk moved = *d;
    moved.floor = floor;
    moved.room = room;
    return desk_update_by_code(ctx->db, &moved);
}

ST_REDUCER(rename_desk, (uint32_t, id), (st_str, code)) {
    const desk *d = desk_find_by_id(ctx->db, id);
    if (!d)
        return st_fail(ctx, "no desk %u", (unsigned)id);
    desk renamed = *d;
    renamed.code = code;
    return desk_update_by_id(ctx->db, &renamed);
}

ST_REDUCER(delete_desk, (st_str, code)) {
    return desk_delete_by_code(ctx->db, code) ? ST_OK : st_fail(ctx, "no desk %.*s", ST_FMT(code));
}

ST_REDUCER(delete_desks_painted, (color, paint)) {
    desk_delete_by_paint(ctx->db, paint);
    return ST_OK;
}

/* Rooms from_room <= room < to_room of one floor. */
ST_REDUCER(clear_rooms, (uint16_t, floor), (uint16_t, from_room), (uint16_t, to_room)) {
    uint32_t n = 0;
    ST_FOR(desk, d, desk_by_place_range(ctx->db, floor, &from_room, &to_room))
        n += desk_delete_by_id(ctx->db, d->id);
    st_log_info(ctx, "%u desks removed", (unsigned)n);
    return ST_OK;
}

/* Paints over what each index finds; fails if two indexes disagree. */
ST_REDUCER(repaint_floor, (uint16_t, floor), (color, paint)) {
    uint32_t found = 0, painted = 0;
    ST_FOR(desk, d, desk_by_place_range(ctx->db, floor, NULL, NULL)) {
        desk fresh = *d;
        fresh.paint = paint;
        st_status status = desk_update_by_id(ctx->db, &fresh);
        if (status)
            return status;
        found++;
    }
    ST_FOR(desk, d, desk_by_paint(ctx->db, paint))
        painted += d->floor == floor;
    return found == painted ? ST_OK : st_fail(ctx, "painted %u of %u", (unsigned)painted, (unsigned)found);
}

ST_REDUCER(keep_secret, (st_str, text)) {
    secret s = { .owner = ctx->sender, .text = text };
    return secret_find_by_owner(ctx->db, ctx->sender) ? secret_update_by_owner(ctx->db, &s)
                                                      : secret_insert(ctx->db, &s);
}

/* ---- failures ---- */

/* None of this may be seen by anybody. */
ST_REDUCER(fail_after_writing, (st_str, code)) {
    desk d = { .code = code };
    pair p = { 1, code };
    st_status status = desk_insert(ctx->db, &d);
    if (status || (status = pair_insert(ctx->db, &p)))
        return status;
    desk_clear(ctx->db);
    return st_fail(ctx, "failed after writing %.*s", ST_FMT(code));
}

/* Returns ST_OK although a plain insert failed: the host must not commit. */
ST_REDUCER(swallow_unique_violation, (st_str, code)) {
    desk first = { .code = code }, second = { .code = code };
    st_status a = desk_insert(ctx->db, &first), b = desk_insert(ctx->db, &second);
    if (a || b)
        st_log_warn(ctx, "ignoring failures %d and %d", (int)a, (int)b);
    return ST_OK;
}

/* The same with the try form, which leaves the transaction whole: one desk is committed. */
ST_REDUCER(try_unique_violation, (st_str, code)) {
    desk first = { .code = code }, second = { .code = code };
    st_status status = desk_insert(ctx->db, &first);
    if (status)
        return status;
    return desk_try_insert(ctx->db, &second) == ST_E_UNIQUE ? ST_OK : st_fail(ctx, "no violation");
}

ST_REDUCER(fail_with, (st_str, text)) {
    return st_fail(ctx, "%.*s", ST_FMT(text));
}

/* ---- context ---- */

ST_REDUCER(log_everything, (st_str, text)) {
    st_log_error(ctx, "error: %.*s", ST_FMT(text));
    st_log_warn(ctx, "warn: %.*s", ST_FMT(text));
    st_log_info(ctx, "info: %.*s", ST_FMT(text));
    st_log_debug(ctx, "debug: %.*s", ST_FMT(text));
    st_log_trace(ctx, "trace: %.*s", ST_FMT(text));
    return ST_OK;
}

/* What the host said about this call, as rows: text is "client", "random" or "format". */
ST_REDUCER(note_context) {
    everything caller = { .text = ST_S("client"), .who = ctx->sender, .via = ctx->connection.v,
                          .flag = ctx->connection.some, .at = ctx->timestamp, .u8 = (uint8_t)ctx->origin };
    everything random = { .text = ST_S("random"), .u64 = st_random_u64(ctx), .uuid = st_uuid_v4(ctx) };
    everything later = { .text = st_format(ctx, "format %d %.*s", 42, ST_FMT(st_identity_hex(ctx, ctx->database))),
                         .who = ctx->database, .uuid = st_uuid_v7(ctx) };
    st_status status = everything_insert(ctx->db, &caller);
    if (!status)
        status = everything_insert(ctx->db, &random);
    return status ? status : everything_insert(ctx->db, &later);
}
