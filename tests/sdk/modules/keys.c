/* keys.c - index kinds, unique sets, sequences, names of one's own, defaults of every shape. */
#include "spacetimedb.h"
ST_MODULE(keys, "1.0.0");

ST_ENUM(hue, RED, GREEN, BLUE);
ST_STRUCT(point, (double, x), (double, y));
ST_SUM(shape, (st_unit, none), (st_str, text), (point, dot));
ST_OPTION(point); ST_ARRAY(point); ST_OPTION(arr_uint32_t); ST_ARRAY(arr_uint32_t); ST_ARRAY(opt_st_str); ST_ARRAY(shape); ST_ARRAY(hue);
ST_RESULT(uint32_t, st_str); ST_OPTION(hue); ST_OPTION(shape);

ST_TABLE(seat, PUBLIC,
    (uint64_t,    id, PK_HASH),
    (uint8_t,     slot, UNIQUE_DIRECT),
    (uint32_t,    row),
    (uint16_t,    number),
    (st_identity, guest, HASH),
    (st_str,      label, UNIQUE_HASH));
ST_UNIQUE(seat, by_place, row, number);
ST_HASH_INDEX(seat, by_row_guest, row, guest);
ST_INDEX(seat, by_number_id, number, id);

ST_TABLE(paint, PRIVATE, (hue, color, PK_DIRECT), (uint32_t, litres), (uint32_t, stock, INDEX));
ST_UNIQUE(paint, by_three, color, litres, stock);
ST_TABLE(corner, PRIVATE, (int32_t, a), (int32_t, b), (int32_t, c), (st_str, d));
ST_UNIQUE(corner, whole, a, b, c, d);
ST_HASH_INDEX(corner, three, a, b, c);
ST_HASH_INDEX(corner, four, d, c, b, a);

ST_TABLE(ticket, PUBLIC, (uint64_t, number, PK_AUTO), (int32_t, down, AUTO), (st_u128, wide, UNIQUE_AUTO));
ST_SEQUENCE(ticket, number, 1000, 1000, 18446744073709551615u, 10);
ST_SEQUENCE(ticket, down, -1, -2147483647 - 1, -1, -1);
ST_SEQUENCE(ticket, wide, (st_i128)1 << 100, 1, (st_i128)1 << 120, 1);

ST_TABLE(odd, PUBLIC, (uint64_t, id, PK), (uint32_t, int_, INDEX), (st_str, register_));
ST_TABLE_NAME(odd, "\u00fcberTable");
ST_COLUMN_NAME(odd, int_, "int");
ST_COLUMN_NAME(odd, register_, "register");
ST_INDEX(odd, by_both, int_, id);
ST_INDEX_NAME(odd, by_both, "odd_by_both");
ST_INDEX_NAME(odd, int_, "odd_ints");

ST_REDUCER(count_odd) { return odd_count(ctx->db) ? ST_OK : st_fail(ctx, "none"); }
ST_FUNCTION_NAME(count_odd, "countOdd");
ST_ANON_VIEW(odd_ones, PUBLIC, odd) { ST_FOR(odd, o, odd_by_int_(ctx->db, 1)) if (odd_emit(out, o)) return ST_E_USER; return ST_OK; }
ST_FUNCTION_NAME(odd_ones, "oddOnes");

ST_REDUCER(take, (uint64_t, id), (uint8_t, slot), (uint32_t, row), (uint16_t, number), (st_str, label)) {
    seat s = { id, slot, row, number, ctx->sender, label };
    return seat_insert(ctx->db, &s);
}
ST_REDUCER(check, (uint32_t, row), (uint16_t, number)) {
    const seat *s = seat_find_by_place(ctx->db, row, number);
    if (!s)
        return st_fail(ctx, "no seat");
    if (seat_find_by_id(ctx->db, s->id) != s || seat_find_by_slot(ctx->db, s->slot) != s || seat_find_by_label(ctx->db, s->label) != s)
        return st_fail(ctx, "another seat");
    uint64_t n = 0;
    ST_FOR(seat, o, seat_by_row_guest(ctx->db, row, ctx->sender)) n++;
    ST_FOR(seat, o, seat_by_guest(ctx->db, ctx->sender)) n += 100;
    ST_FOR(seat, o, seat_by_number_id(ctx->db, number)) n += 10000;
    seat copy = *s;
    copy.label = ST_S("found");
    st_status status = seat_update_by_id(ctx->db, &copy);
    return status ? status : n == 10202 ? ST_OK : st_fail(ctx, "counted %d", (int)n);
}
ST_REDUCER(leave, (uint32_t, row), (uint16_t, number)) {
    if (!seat_delete_by_place(ctx->db, row, number))
        return st_fail(ctx, "no seat");
    return seat_delete_by_guest(ctx->db, ctx->sender) == 1 ? ST_OK : st_fail(ctx, "not one left");
}
ST_REDUCER(three_and_four) {
    corner c = { 1, 2, 3, ST_S("d") };
    st_status status = corner_insert(ctx->db, &c);
    if (status)
        return status;
    int n = 0;
    ST_FOR(corner, x, corner_three(ctx->db, 1, 2, 3)) n++;
    ST_FOR(corner, x, corner_four(ctx->db, ST_S("d"), 3, 2, 1)) n++;
    const paint *p = paint_find_by_three(ctx->db, hue_RED, 1, 2);
    return n == 2 && !p && corner_find_whole(ctx->db, 1, 2, 3, ST_S("d")) ? ST_OK : st_fail(ctx, "found %d", n);
}

/* One column for each kind of default. */
ST_TABLE(plain, PRIVATE, (uint64_t, id, PK), (bool, b), (int8_t, i8), (uint8_t, u8), (int16_t, i16), (uint16_t, u16), (int32_t, i32),
    (uint32_t, u32), (int64_t, i64), (uint64_t, u64), (st_i128, i128), (st_u128, u128), (st_i256, i256), (st_u256, u256),
    (float, f32), (double, f64), (st_str, text), (st_str, no_text), (st_bytes, bytes), (st_identity, identity),
    (st_connection_id, connection), (st_uuid, uuid), (st_timestamp, at), (st_duration, pause), (st_schedule_at, due),
    (st_unit, nothing), (hue, color));
ST_DEFAULT(plain, b, true);
ST_DEFAULT(plain, i8, -128);
ST_DEFAULT(plain, u8, 255);
ST_DEFAULT(plain, i16, -300);
ST_DEFAULT(plain, u16, 65535);
ST_DEFAULT(plain, i32, -70000);
ST_DEFAULT(plain, u32, 4000000000u);
ST_DEFAULT(plain, i64, -5000000000);
ST_DEFAULT(plain, u64, 18446744073709551615u);
ST_DEFAULT(plain, i128, -((st_i128)1 << 100));
ST_DEFAULT(plain, u128, (st_u128)0xfeed << 100);
ST_DEFAULT(plain, i256, { { 1, 2, 3, 0x8000000000000000u } });
ST_DEFAULT(plain, u256, { { 1, 2, 3, 4 } });
ST_DEFAULT(plain, f32, 1.5f);
ST_DEFAULT(plain, f64, -0.25);
ST_DEFAULT(plain, text, ST_S("h\u00e9llo"));
ST_DEFAULT(plain, no_text, ST_S(""));
ST_DEFAULT(plain, bytes, ST_BYTES("\x00\xff\x01"));
ST_DEFAULT(plain, identity, { { 1, 2, 3 } });
ST_DEFAULT(plain, connection, { { 9 } });
ST_DEFAULT(plain, uuid, { { 0xaa, 0xbb } });
ST_DEFAULT(plain, at, { 1700000000000000 });
ST_DEFAULT(plain, pause, { -5 });
ST_DEFAULT(plain, due, { 1, 77 });
ST_DEFAULT(plain, nothing, { 0 });
ST_DEFAULT(plain, color, hue_BLUE);

ST_TABLE(composed, PRIVATE, (uint64_t, id, PK), (point, p), (shape, s), (shape, s0), (opt_st_str, some_text), (opt_uint32_t, none),
    (opt_point, some_point), (opt_hue, some_hue), (opt_arr_uint32_t, some_list), (opt_shape, some_shape), (res_uint32_t_st_str, ok),
    (res_uint32_t_st_str, err), (arr_uint32_t, list), (arr_uint32_t, empty), (arr_st_str, words), (arr_st_bytes, blobs),
    (arr_point, points), (arr_arr_uint32_t, lists), (arr_opt_st_str, maybe), (arr_shape, shapes), (arr_hue, hues), (arr_st_u128, wide));
ST_DEFAULT(composed, p, { 1.5, -2.5 });
ST_DEFAULT(composed, s, { shape_dot, { .dot = { 1, 2 } } });
ST_DEFAULT(composed, s0, { shape_text, { .text = ST_S("t") } });
ST_DEFAULT(composed, some_text, ST_SOME(ST_S("x")));
ST_DEFAULT(composed, none, ST_NONE);
ST_DEFAULT(composed, some_point, ST_SOME({ 3, 4 }));
ST_DEFAULT(composed, some_hue, ST_SOME(hue_GREEN));
ST_DEFAULT(composed, some_list, ST_SOME(ST_ARR(uint32_t, 1, 2)));
ST_DEFAULT(composed, some_shape, ST_SOME({ shape_none, { .none = { 0 } } }));
ST_DEFAULT(composed, ok, { 0, { .ok = 5 } });
ST_DEFAULT(composed, err, { 1, { .err = ST_S("no") } });
ST_DEFAULT(composed, list, ST_ARR(uint32_t, 1, 2, 3));
ST_DEFAULT(composed, empty, { 0 });
ST_DEFAULT(composed, words, ST_ARR(st_str, ST_STR("a"), ST_STR("bc")));
ST_DEFAULT(composed, blobs, ST_ARR(st_bytes, ST_BYTES("\x01"), ST_BYTES("")));
ST_DEFAULT(composed, points, ST_ARR(point, { 1, 2 }, { 3, 4 }));
ST_DEFAULT(composed, lists, ST_ARR(arr_uint32_t, ST_ARR(uint32_t, 1), { 0 }, ST_ARR(uint32_t, 2, 3)));
ST_DEFAULT(composed, maybe, ST_ARR(opt_st_str, ST_SOME(ST_STR("m")), ST_NONE));
ST_DEFAULT(composed, shapes, ST_ARR(shape, { shape_text, { .text = ST_STR("s") } }, { shape_dot, { .dot = { 5, 6 } } }));
ST_DEFAULT(composed, hues, ST_ARR(hue, hue_RED, hue_BLUE));
ST_DEFAULT(composed, wide, ST_ARR(st_u128, 1, (st_u128)1 << 127));
