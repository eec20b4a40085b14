/* Every value of every type comes back from PostgreSQL bit by bit: through the statements of the materialiser and COPY. */
#include "tests/unit/storage_test.h"

static uint64_t seed_ = 1;
static uint64_t rnd(void) { return hash_u64(seed_ += 0x9e3779b97f4a7c15u); }

static const Type *random_type(Arena *a, int depth)
{
    static const TypeKind scalars[] = {TYPE_BOOL,          TYPE_I8,        TYPE_U8,       TYPE_I16,    TYPE_U16,        TYPE_I32,
                                       TYPE_U32,           TYPE_I64,       TYPE_U64,      TYPE_I128,   TYPE_U128,       TYPE_I256,
                                       TYPE_U256,          TYPE_F32,       TYPE_F64,      TYPE_STRING, TYPE_BYTES,      TYPE_IDENTITY,
                                       TYPE_CONNECTION_ID, TYPE_TIMESTAMP, TYPE_DURATION, TYPE_UUID,   TYPE_SCHEDULE_AT};
    unsigned pick = (unsigned)(rnd() % (depth > 3 ? 6 : 11));
    char *names[] = {"alpha", "b", "with_quote", "naive", "z9", "same_len1", "same_len2"};
    switch (pick) {
    default: return type_scalar(scalars[rnd() % COUNT_OF(scalars)]);
    case 6: return type_array(a, random_type(a, depth + 1));
    case 7: return type_option(a, random_type(a, depth + 1));
    case 8:
    case 9:
    case 10: {
        uint32_t n = (uint32_t)(rnd() % 5) + (pick != 8);
        Field *f = ARENA_ARRAY(a, Field, n + 1);
        bool plain = pick == 9;
        for (uint32_t i = 0; i < n; i++)
            f[i] = (Field){.name = str_of(names[i]), .type = plain ? &type_unit : random_type(a, depth + 1)};
        return pick == 8 ? type_product(a, n, f) : type_sum(a, n, f);
    }
    }
}

static uint64_t edge(void)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
                                     127,
                                     128,
                                     255,
                                     256,
                                     32767,
                                     32768,
                                     65535,
                                     65536,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     UINT64_C(1) << 32,
                                     INT64_MAX,
                                     UINT64_C(1) << 63,
                                     UINT64_MAX,
                                     9999,
                                     10000,
                                     100000000,
                                     UINT64_C(10000000000000000)};
    return rnd() % 3 ? edges[rnd() % COUNT_OF(edges)] : rnd();
}

static void random_value(Buf *b, const Type *t)
{
    switch (t->kind) {
    case TYPE_BOOL: buf_put_u8(b, rnd() & 1); return;
    case TYPE_F32: {
        static const uint32_t f[] = {0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7fc00001,
                                     0xffc00000, 1,          0x807fffff, 0x7f7fffff, 0x3dcccccd};
        buf_put_u32(b, rnd() % 2 ? f[rnd() % COUNT_OF(f)] : (uint32_t)rnd());
        return;
    }
    case TYPE_F64: {
        static const uint64_t f[] = {0,
                                     UINT64_C(1) << 63,
                                     UINT64_C(0x7ff0000000000000),
                                     UINT64_C(0xfff0000000000000),
                                     UINT64_C(0x7ff8000000000000),
                                     UINT64_C(0x7ff8000000000123),
                                     UINT64_C(0xfff8000000000000),
                                     1,
                                     UINT64_C(0x7fefffffffffffff),
                                     UINT64_C(0x3fb999999999999a),
                                     UINT64_C(0x0010000000000000)};
        buf_put_u64(b, rnd() % 2 ? f[rnd() % COUNT_OF(f)] : rnd());
        return;
    }
    case TYPE_STRING: {
        static const char *const parts[] = {"", "a", "'", "\"", "\\", "\n", "\x01", "ä", "€", "😀", "{", "}", ",", "NULL", "\x7f", "/"};
        Buf s = {0};
        for (uint64_t n = rnd() % 6; n; n--)
            buf_put_text(&s, parts[rnd() % COUNT_OF(parts)]);
        buf_put_str(b, buf_str(&s));
        buf_done(&s);
        return;
    }
    case TYPE_BYTES: {
        uint32_t n = (uint32_t)(rnd() % 9);
        buf_put_u32(b, n);
        while (n--)
            buf_put_u8(b, (uint8_t)rnd());
        return;
    }
    case TYPE_ARRAY: {
        uint32_t n = (uint32_t)(rnd() % 4);
        buf_put_u32(b, n);
        while (n--)
            random_value(b, t->elem);
        return;
    }
    case TYPE_PRODUCT:
        for (uint32_t i = 0; i < t->nfields; i++)
            random_value(b, t->fields[i].type);
        return;
    case TYPE_SUM:
    case TYPE_RESULT: {
        uint8_t tag = (uint8_t)(rnd() % t->nfields);
        buf_put_u8(b, tag);
        random_value(b, t->fields[tag].type);
        return;
    }
    case TYPE_ENUM: buf_put_u8(b, (uint8_t)(rnd() % t->nfields)); return;
    case TYPE_OPTION: {
        uint8_t none = rnd() & 1;
        buf_put_u8(b, none);
        if (!none)
            random_value(b, t->elem);
        return;
    }
    case TYPE_TIMESTAMP: {
        int64_t v = (int64_t)edge();
        if (v < INT64_C(-210866803200000000))
            v = INT64_C(-210866803200000000);
        buf_put_i64(b, v);
        return;
    }
    case TYPE_SCHEDULE_AT:
        buf_put_u8(b, rnd() & 1);
        buf_put_u64(b, edge());
        return;
    default:
        for (int32_t left = t->bsatn_size; left > 0; left -= 8) {
            uint64_t v = edge();
            buf_put(b, &v, (size_t)MIN(left, 8));
        }
    }
}

static const Type *named(ModuleBuilder *b, const Type *t, int *n)
{ /* sums and products need names in a definition */
    char name[32];
    Arena *a = module_builder_arena(b);
    switch (t->kind) {
    case TYPE_ARRAY: return type_array(a, named(b, t->elem, n));
    case TYPE_OPTION: return type_option(a, named(b, t->elem, n));
    case TYPE_PRODUCT:
    case TYPE_SUM:
    case TYPE_ENUM: {
        Field *f = ARENA_ARRAY(a, Field, t->nfields + 1);
        for (uint32_t i = 0; i < t->nfields; i++)
            f[i] =
                (Field){.name = t->fields[i].name, .type = t->fields[i].type == &type_unit ? &type_unit : named(b, t->fields[i].type, n)};
        snprintf(name, sizeof name, "T%d", (*n)++);
        const Type *made = t->kind == TYPE_PRODUCT ? type_product(a, t->nfields, f) : type_sum(a, t->nfields, f);
        return made->kind == t->kind ? module_builder_named(b, arena_str(a, str_of(name)), made) : made;
    }
    default: return t;
    }
}

static void every_value_survives_the_round_trip(void **state)
{
    (void)state;
    enum { COLUMNS = 60, ROWS = 200, PASSES = 3 };
    for (int pass = 0; pass < PASSES; pass++) {
        seed_ = (uint64_t)pass * 1000 + 5;
        World w;
        memset(&w, 0, sizeof w);
        storage_up(&w);
        ModuleBuilder *b = module_builder_new();
        Arena a = {0};
        BuilderColumn cols[COLUMNS] = {{.name = STR("id"), .type = type_scalar(pass == 1 ? TYPE_STRING : TYPE_U64), .flags = COLUMN_PK}};
        char names[COLUMNS][8];
        int n = 0;
        for (int i = 1; i < COLUMNS; i++) {
            snprintf(names[i], sizeof names[i], "c%d", i);
            const Type *t = i < 24
                                ? type_scalar((TypeKind[]){TYPE_BOOL,     TYPE_I8,    TYPE_U8,         TYPE_I16,           TYPE_U16,
                                                           TYPE_I32,      TYPE_U32,   TYPE_I64,        TYPE_U64,           TYPE_I128,
                                                           TYPE_U128,     TYPE_I256,  TYPE_U256,       TYPE_F32,           TYPE_F64,
                                                           TYPE_STRING,   TYPE_BYTES, TYPE_IDENTITY,   TYPE_CONNECTION_ID, TYPE_TIMESTAMP,
                                                           TYPE_DURATION, TYPE_UUID,  TYPE_SCHEDULE_AT}[i - 1])
                                : named(b, random_type(&a, pass == 0 ? 3 : 0), &n);
            if (pass == 0 && i < 24)
                t = type_array(&a, t);
            if (pass == 2 && i < 24)
                t = type_option(&a, i % 2 ? t : type_array(&a, t));
            cols[i] = (BuilderColumn){.name = str_of(names[i]), .type = t};
        }
        module_builder_table(b, STR("everything"), ACCESS_PUBLIC, false, COLUMNS, cols);
        module_builder_table(b, STR("keyless"), ACCESS_PUBLIC, false, COLUMNS - 1, cols + 1);
        module_finish(&w.module, b, 1);
        char name[16];
        snprintf(name, sizeof name, "types%d", pass);
        publish_first(&w, name);
        OK(storage_acquire(w.s, w.id, &w.lease, &err_));
        attach(&w);
        Buf expected[ROWS] = {0};
        for (int step = 0; step < 2; step++) /* insert, then update every row */
            for (uint32_t i = 0; i < ROWS; i++) {
                Rec r;
                rec_begin(&r);
                Buf key = {0}, rest = {0};
                if (pass == 1) {
                    char text[32];
                    snprintf(text, sizeof text, "key '%u'\\", i);
                    buf_put_str(&key, str_of(text));
                } else {
                    buf_put_u64(&key, UINT64_MAX - i);
                }
                for (int c = 1; c < COLUMNS; c++) {
                    Reader probe;
                    size_t at = rest.len;
                    const ColumnDef *d = &module_def_table(w.module.image.def, STR("everything"))->cols[c];
                    random_value(&rest, d->type);
                    probe = reader_of(bytes_of(rest.ptr + at, rest.len - at));
                    OK(pgtype_storable(d->type, &probe, &err_));
                    assert_int_equal(reader_left(&probe), 0);
                }
                for (int t = 0; t < 2; t++) {
                    rec_table(&r, module_id(&w.module, t ? "keyless" : "everything"));
                    if (step) {
                        if (t)
                            buf_put_u64(&r.b, i + 1);
                        else
                            buf_put_bytes(&r.b, buf_bytes(&key));
                        r.nd = 1;
                    }
                    if (t)
                        buf_put_u64(&r.b, i + 1);
                    else
                        buf_put_bytes(&r.b, buf_bytes(&key));
                    buf_put_bytes(&r.b, buf_bytes(&rest));
                    r.ni = 1;
                    rec_table_end(&r);
                }
                rec_send(&w, &r);
                buf_reset(&expected[i]);
                buf_put_bytes(&expected[i], buf_bytes(&rest));
                buf_done(&key);
                buf_done(&rest);
            }
        assert_true(wait_durable(&w, w.offset, 10000));
        if (storage_settle(w.s, w.id, 10000, &err_) != S_OK)
            fail_msg("pass %d: %s", pass, err_.text);
        storage_detach(w.s, w.id);
        TestSink k;
        LoadSink sink = sink_of(&k);
        uint64_t offset;
        OK(storage_load(w.s, &w.lease, &sink, &offset, &err_));
        for (int t = 0; t < 2; t++) {
            const TableDef *def = &w.module.image.def->tables[t];
            assert_int_equal(k.nrows[t], ROWS);
            Reader in = reader_of(buf_bytes(&k.rows[t]));
            for (int i = 0; i < ROWS; i++) {
                uint32_t index;
                if (t)
                    index = (uint32_t)read_u64(&in) - 1;
                else if (pass == 1) {
                    Str s = read_str(&in);
                    index = (uint32_t)strtoul(s.ptr + 5, NULL, 10);
                } else
                    index = (uint32_t)(UINT64_MAX - read_u64(&in));
                assert_true(index < ROWS);
                Reader want = reader_of(buf_bytes(&expected[index]));
                for (int c = t ? 0 : 1; c < def->ncols; c++) {
                    const uint8_t *x = in.ptr, *y = want.ptr;
                    OK(bsatn_skip(&in, def->cols[c].type, &err_));
                    OK(bsatn_skip(&want, def->cols[c].type, &err_));
                    if (in.ptr - x != want.ptr - y || memcmp(x, y, (size_t)(in.ptr - x))) {
                        Buf tn = {0};
                        type_name(&tn, def->cols[c].type);
                        char hx[200] = "", hy[200] = "";
                        hex_encode(hx, x, MIN((size_t)(in.ptr - x), 90u));
                        hex_encode(hy, y, MIN((size_t)(want.ptr - y), 90u));
                        fail_msg("pass %d table %d column %d of type %s: stored %s, loaded %s", pass, t, c, buf_cstr(&tn), hy, hx);
                    }
                }
            }
        }
        for (int i = 0; i < ROWS; i++)
            buf_done(&expected[i]);
        sink_done(&k);
        arena_done(&a);
        world_down(&w);
    }
}

static void literals_are_what_the_binary_form_is(void **state)
{
    (void)state;
    seed_ = 77;
    PGconn *pg = psql_open();
    PQclear(PQexec(pg, "SET TimeZone = 'UTC'"));
    Arena a = {0};
    for (int i = 0; i < 3000; i++) {
        const Type *t = random_type(&a, i % 4);
        const PgType *p = pgtype_of(&a, t);
        Buf v = {0}, sql = {0}, back = {0};
        random_value(&v, t);
        Reader r = reader_of(buf_bytes(&v));
        buf_put_text(&sql, "SELECT ");
        pgtype_literal(&sql, p, &r);
        PGresult *res = PQexecParams(pg, buf_cstr(&sql), 0, NULL, NULL, NULL, NULL, 1);
        if (PQresultStatus(res) != PGRES_TUPLES_OK)
            fail_msg("%s: %s", buf_cstr(&sql), PQerrorMessage(pg));
        OK(pgtype_decode(&back, p, (uint8_t *)PQgetvalue(res, 0, 0), PQgetisnull(res, 0, 0) ? -1 : PQgetlength(res, 0, 0), &err_));
        bool floats = (t->kind == TYPE_OPTION || t->kind == TYPE_ARRAY || t->kind == TYPE_F32 ||
                       t->kind == TYPE_F64); /* text forgets which NaN it was */
        if (!floats && !bytes_eq(buf_bytes(&v), buf_bytes(&back)))
            fail_msg("differs: %s", buf_cstr(&sql));
        PQclear(res);
        buf_done(&v);
        buf_done(&sql);
        buf_done(&back);
    }
    arena_done(&a);
    PQfinish(pg);
}

static void what_postgresql_cannot_hold_is_refused(void **state)
{
    (void)state;
    Buf b = {0};
    buf_put_str(&b, (Str){"a\0", 2});
    Reader r = reader_of(buf_bytes(&b));
    assert_int_equal(pgtype_storable(type_scalar(TYPE_STRING), &r, &err_), S_INVALID);
    buf_reset(&b);
    buf_put_i64(&b, INT64_MIN);
    r = reader_of(buf_bytes(&b));
    assert_int_equal(pgtype_storable(type_scalar(TYPE_TIMESTAMP), &r, &err_), S_INVALID);
    buf_done(&b);
}

static void names_are_mapped_only_when_they_must_be(void **state)
{
    (void)state;
    Arena a = {0};
    assert_true(str_is(physical_name(&a, STR("select"), false), "select"));
    assert_true(str_is(physical_name(&a, STR("xmin"), false), "xmin"));
    assert_false(str_is(physical_name(&a, STR("xmin"), true), "xmin"));
    assert_false(str_is(physical_name(&a, STR("pg_x"), false), "pg_x"));
    char text[200];
    memset(text, 'a', sizeof text);
    Str s1 = physical_name(&a, (Str){text, 100}, false), s2 = physical_name(&a, (Str){text, 101}, false);
    assert_int_equal(s1.len, 63);
    assert_false(str_eq(s1, s2));
    for (int i = 0; i < 66; i++)
        memcpy(text + 3 * i, "€", 3);
    Str s3 = physical_name(&a, (Str){text, 120}, true);
    assert_true(s3.len <= 63 && utf8_valid(s3));
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_mapped_only_when_they_must_be),
        cmocka_unit_test(what_postgresql_cannot_hold_is_refused),
        cmocka_unit_test(literals_are_what_the_binary_form_is),
        cmocka_unit_test(every_value_survives_the_round_trip),
    };
    return cmocka_run_group_tests(tests, cluster_up, cluster_down);
}
