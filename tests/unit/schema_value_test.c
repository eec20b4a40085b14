/* Values: the published BSATN vectors, random types and values through every function, error texts, order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "host/schema/value.h"

static Field field(const char *name, const Type *t) { return (Field){.name = str_of(name), .type = t}; }

/* ---- vectors ---------------------------------------------------------------------------------- */

static const Type *type_of_json(Arena *a, const json_t *j)
{
    static const char *const scalars[] = {
        [TYPE_BOOL] = "Bool", "I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "I128", "U128", "I256", "U256", "F32", "F64", "String"};
    const char *kind = json_object_iter_key(json_object_iter((json_t *)j));
    const json_t *body = json_object_get(j, kind);
    for (size_t i = 0; i < COUNT_OF(scalars); i++)
        if (strcmp(kind, scalars[i]) == 0)
            return type_scalar((TypeKind)i);
    if (strcmp(kind, "Array") == 0)
        return type_array(a, type_of_json(a, body));
    const json_t *list = json_object_get(body, kind[0] == 'P' ? "elements" : "variants");
    uint32_t n = (uint32_t)json_array_size(list);
    Field *f = ARENA_ARRAY(a, Field, n);
    for (uint32_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(list, i);
        f[i] = field(json_string_value(json_object_get(json_object_get(e, "name"), "some")),
                     type_of_json(a, json_object_get(e, "algebraic_type")));
    }
    return kind[0] == 'P' ? type_product(a, n, f) : type_sum(a, n, f);
}

static void every_published_vector_survives_decoding_and_encoding(void **state)
{
    (void)state;
    json_error_t why;
    json_t *all = json_load_file("tests/vectors/bsatn.json", JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &why);
    if (!all)
        fail_msg("tests/vectors/bsatn.json: %s (run from the repository's root)", why.text);
    size_t i, tried = 0;
    json_t *v;
    json_array_foreach(all, i, v)
    {
        if (json_object_get(v, "typespace"))
            continue; /* recursive types: we refuse those */
        const char *name = json_string_value(json_object_get(v, "name")), *hex = json_string_value(json_object_get(v, "hex"));
        Arena a = {0};
        Error err;
        size_t len = strlen(hex) / 2;
        uint8_t *bytes = arena_alloc(&a, len + 1);
        if (!hex_decode(bytes, len, str_of(hex)))
            fail_msg("%s: bad hex", name);
        const Type *t = type_of_json(&a, json_object_get(v, "type"));
        void *value = arena_alloc(&a, t->size);
        Reader r = reader_of(bytes_of(bytes, len)), again = r;
        if (value_decode(&r, t, value, &a, &err) != S_OK || bsatn_skip(&again, t, &err) != S_OK || value_check(t, value, &err) != S_OK)
            fail_msg("%s: %s", name, err.text);
        Buf out = {0};
        value_encode(&out, t, value);
        if (reader_left(&r) || reader_left(&again) || !bytes_eq(buf_bytes(&out), bytes_of(bytes, len)))
            fail_msg("%s: encodes differently", name);
        assert_int_equal(value_encoded_size(t, value), len);
        buf_done(&out);
        arena_done(&a);
        tried++;
    }
    assert_true(tried > 80);
    json_decref(all);
}

/* ---- random types and values ------------------------------------------------------------------ */

static uint64_t rng_state;
static uint64_t rnd(void) { return hash_u64(rng_state += 0x9e3779b97f4a7c15u); }
static uint32_t below(uint32_t n) { return (uint32_t)(rnd() % n); }

static const Type *random_type(Arena *a, int depth)
{
    static const TypeKind leaves[] = {TYPE_BOOL,          TYPE_I8,        TYPE_U8,       TYPE_I16,    TYPE_U16,        TYPE_I32,
                                      TYPE_U32,           TYPE_I64,       TYPE_U64,      TYPE_I128,   TYPE_U128,       TYPE_I256,
                                      TYPE_U256,          TYPE_F32,       TYPE_F64,      TYPE_STRING, TYPE_BYTES,      TYPE_IDENTITY,
                                      TYPE_CONNECTION_ID, TYPE_TIMESTAMP, TYPE_DURATION, TYPE_UUID,   TYPE_SCHEDULE_AT};
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    Field f[6];
    uint32_t n = below(7);
    switch (depth > 0 ? below(8) : 0) {
    case 1: return type_array(a, random_type(a, depth - 1));
    case 2: return type_option(a, random_type(a, depth - 1));
    case 3:
        f[0] = field("ok", random_type(a, depth - 1));
        f[1] = field("err", random_type(a, depth - 1));
        return type_sum(a, 2, f);
    case 4:
    case 5:
    case 6:
    case 7: {
        bool sum = n && below(3) == 0, plain = below(3) == 0;
        for (uint32_t i = 0; i < n; i++)
            f[i] = field(names[i], sum && (plain || below(3) == 0) ? &type_unit : random_type(a, depth - 1));
        return sum ? type_sum(a, n, f) : type_product(a, n, f);
    }
    default: return type_scalar(leaves[below(COUNT_OF(leaves))]);
    }
}

typedef struct Slice {
    const void *ptr;
    size_t len;
} Slice;

/* Fills zeroed memory; padding is left as garbage on request, as a module's stack would have it. */
static void random_value(Arena *a, const Type *t, uint8_t *v, bool garbage)
{
    if (garbage)
        for (uint32_t i = 0; i < t->size; i++)
            v[i] = (uint8_t)rnd();
    uint32_t n = below(5);
    switch (t->kind) {
    case TYPE_BOOL: *v = below(2); break;
    case TYPE_STRING: {
        static const char *const texts[] = {"", "a", "hello", "h\xc3\xa9llo \xe2\x82\xac\xf0\x9f\x98\x80", "longer than sixteen bytes"};
        memcpy(v, &(Slice){n ? texts[n] : NULL, strlen(texts[n])}, 16);
        break;
    }
    case TYPE_BYTES: {
        uint8_t *p = arena_alloc(a, n);
        for (uint32_t i = 0; i < n; i++)
            p[i] = (uint8_t)rnd();
        memcpy(v, &(Slice){p, n}, 16);
        break;
    }
    case TYPE_ARRAY: {
        uint8_t *p = arena_alloc(a, (size_t)n * t->elem->size);
        for (uint32_t i = 0; i < n; i++)
            random_value(a, t->elem, p + i * t->elem->size, garbage);
        memcpy(v, &(Slice){p, n}, 16);
        break;
    }
    case TYPE_PRODUCT:
        for (uint32_t i = 0; i < t->nfields; i++)
            random_value(a, t->fields[i].type, v + t->fields[i].offset, garbage);
        break;
    case TYPE_ENUM: *v = below(t->nfields); break;
    case TYPE_SUM:
    case TYPE_RESULT:
        *v = below(t->nfields);
        random_value(a, t->fields[*v].type, v + t->payload_offset, garbage);
        break;
    case TYPE_OPTION:
        *v = below(2);
        if (*v)
            random_value(a, t->elem, v + t->payload_offset, garbage);
        break;
    case TYPE_SCHEDULE_AT:
        *v = below(2);
        store_u64(v + 8, rnd());
        break;
    default:
        for (uint32_t i = 0; i < t->size; i++)
            v[i] = below(3) ? (uint8_t)rnd() : 0;
    }
}

static bool has_float(const Type *t)
{
    if (t->kind == TYPE_F32 || t->kind == TYPE_F64 || (t->elem && has_float(t->elem)))
        return true;
    for (uint32_t i = 0; i < t->nfields; i++)
        if (has_float(t->fields[i].type))
            return true;
    return false;
}

static int sign(int x) { return (x > 0) - (x < 0); }

static void check_round_trip(Arena *a, const Type *t, const uint8_t *v, uint64_t seed)
{
    Buf out = {0}, again = {0};
    Error err;
    uint8_t *back = arena_alloc(a, t->size), *copy = arena_alloc(a, t->size);
    memset(back, 0xee, t->size);
    if (value_check(t, v, &err) != S_OK)
        fail_msg("seed %llu: check: %s", (unsigned long long)seed, err.text);
    value_encode(&out, t, v);
    if (out.len != value_encoded_size(t, v) || (t->bsatn_size >= 0 && out.len != (size_t)t->bsatn_size))
        fail_msg("seed %llu: encoded size", (unsigned long long)seed);
    Reader r = reader_of(buf_bytes(&out)), s = r;
    if (value_decode(&r, t, back, a, &err) != S_OK || bsatn_skip(&s, t, &err) != S_OK)
        fail_msg("seed %llu: decode: %s", (unsigned long long)seed, err.text);
    value_encode(&again, t, back);
    size_t heap_size = value_heap_size(t, v);
    uint8_t *heap = arena_alloc(a, heap_size), *end = heap;
    value_copy(t, copy, v, &end);
    if (reader_left(&r) || reader_left(&s) || !bytes_eq(buf_bytes(&out), buf_bytes(&again)) || (size_t)(end - heap) != heap_size ||
        !value_equal(t, v, back) || !value_equal(t, v, copy) || value_compare(t, v, copy) != 0 ||
        value_hash(t, v, 7) != value_hash(t, back, 7) || value_hash(t, v, 7) != value_hash(t, copy, 7))
        fail_msg("seed %llu: round trip", (unsigned long long)seed);
    for (size_t cut = 0; cut < out.len; cut++) { /* every prefix is refused, with words, by both readers alike */
        Reader x = reader_of(bytes_of(out.ptr, cut)), y = x;
        Error e2;
        uint8_t *trash = arena_alloc(a, t->size);
        if (value_decode(&x, t, trash, a, &err) != S_INVALID || bsatn_skip(&y, t, &e2) != S_INVALID || strcmp(err.text, e2.text) != 0)
            fail_msg("seed %llu: prefix of %zu bytes: %s / %s", (unsigned long long)seed, cut, err.text, e2.text);
    }
    buf_done(&out);
    buf_done(&again);
}

static void random_values_of_random_types_round_trip(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    uint64_t first = given ? strtoull(given, NULL, 10) : (uint64_t)clock_wall_us();
    printf("first seed %llu (set SEED to repeat)\n", (unsigned long long)first);
    for (uint64_t seed = first; seed < first + 3000; seed++) {
        rng_state = seed * 0x2545f4914f6cdd1du;
        Arena a = {0};
        const Type *t = random_type(&a, 4);
        uint8_t *v[3];
        for (int i = 0; i < 3; i++) {
            v[i] = arena_alloc(&a, t->size);
            random_value(&a, t, v[i], i == 1);
            check_round_trip(&a, t, v[i], seed);
        }
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 3; k++) {
                int c = value_compare(t, v[i], v[k]);
                bool same = value_equal(t, v[i], v[k]);
                if (sign(c) != -sign(value_compare(t, v[k], v[i])) || (same && c) || (!has_float(t) && same != (c == 0)) ||
                    (same && value_hash(t, v[i], seed) != value_hash(t, v[k], seed)))
                    fail_msg("seed %llu: relations disagree", (unsigned long long)seed);
            }
        if (value_compare(t, v[0], v[1]) <= 0 && value_compare(t, v[1], v[2]) <= 0 && value_compare(t, v[0], v[2]) > 0)
            fail_msg("seed %llu: order is not transitive", (unsigned long long)seed);
        arena_done(&a);
    }
}

/* ---- words ------------------------------------------------------------------------------------ */

static void expect_decode_error(const Type *t, const char *hex, const char *want)
{
    Arena a = {0};
    Error err;
    uint8_t bytes[64];
    size_t len = strlen(hex) / 2;
    assert_true(hex_decode(bytes, len, str_of(hex)));
    Reader r = reader_of(bytes_of(bytes, len));
    assert_int_equal(value_decode(&r, t, arena_alloc(&a, t->size), &a, &err), S_INVALID);
    assert_string_equal(err.text, want);
    arena_done(&a);
}

static void decode_errors_use_the_words_of_the_reference(void **state)
{
    (void)state;
    Arena a = {0};
    Field v[] = {field("A", type_scalar(TYPE_U8)), field("B", &type_unit)};
    Type shape = *type_sum(&a, 2, v);
    shape.name = STR("Shape");
    Field f[] = {field("x", type_scalar(TYPE_U32)), field("y", type_scalar(TYPE_U32))};
    expect_decode_error(type_scalar(TYPE_U32), "0102", "data too short for u32: Expected 4, given 2");
    expect_decode_error(type_product(&a, 2, f), "010000000203", "data too short for u32: Expected 4, given 2");
    expect_decode_error(type_scalar(TYPE_STRING), "05000000616263", "data too short for [u8]: Expected 5, given 3");
    expect_decode_error(type_scalar(TYPE_STRING), "02000000c328", "invalid utf8");
    expect_decode_error(type_scalar(TYPE_IDENTITY), "00", "data too short for u256: Expected 32, given 1");
    expect_decode_error(&shape, "07", "unknown tag 0x7 for sum type Shape");
    expect_decode_error(type_scalar(TYPE_BOOL), "02", "byte 2 is not a bool: Expected 0 or 1");
    arena_done(&a);
}

static void array_lengths_are_not_trusted(void **state)
{
    (void)state;
    Arena a = {0};
    expect_decode_error(type_array(&a, type_scalar(TYPE_U64)), "ffffffff", "array of 4294967295 elements, at most 16777216 are allowed");
    expect_decode_error(type_array(&a, type_scalar(TYPE_STRING)), "00000001", "data too short for u32: Expected 4, given 0");
    expect_decode_error(type_array(&a, &type_unit), "01000100", "array of 65537 empty elements, at most 65536 are allowed");
    Field v[] = {field("Big", type_scalar(TYPE_U256)), field("Small", &type_unit)};
    Field many[200]; /* a variant with a large payload: one byte on the wire, much in memory */
    for (int i = 0; i < 200; i++)
        many[i] = field(arena_sprintf(&a, "f%d", i), type_scalar(TYPE_U256));
    v[0].type = type_product(&a, 200, many);
    const Type *t = type_array(&a, type_sum(&a, 2, v));
    uint32_t n = 100000;
    uint8_t *bytes = arena_alloc(&a, 4 + n);
    store_u32(bytes, n);
    memset(bytes + 4, 1, n);
    Reader r = reader_of(bytes_of(bytes, 4 + n));
    uint8_t out[16];
    Error err;
    assert_int_equal(value_decode(&r, t, out, &a, &err), S_INVALID);
    assert_string_equal(err.text, "value takes more than 268435456 bytes in memory");
    arena_done(&a);
}

static void check_names_the_path(void **state)
{
    (void)state;
    Arena a = {0};
    Error err;
    Field f[] = {field("id", type_scalar(TYPE_U32)), field("name", type_scalar(TYPE_STRING)), field("on", type_scalar(TYPE_BOOL))};
    const Type *p = type_product(&a, 3, f), *t = type_array(&a, p);
    struct Row {
        uint32_t id;
        Slice name;
        uint8_t on;
    } rows[3] = {{1, {"a", 1}, 0}, {2, {NULL, 0}, 1}, {3, {"\xc3(", 2}, 1}};
    Slice list = {rows, 3};
    assert_int_equal(value_check(t, &list, &err), S_INVALID);
    assert_string_equal(err.text, "[2].name: invalid UTF-8");
    rows[2].name = (Slice){NULL, 5};
    assert_int_equal(value_check(p, &rows[2], &err), S_INVALID);
    assert_string_equal(err.text, "name: pointer is NULL but the length is 5");
    rows[2] = (struct Row){3, {NULL, 0}, 2};
    assert_int_equal(value_check(t, &list, &err), S_INVALID);
    assert_string_equal(err.text, "[2].on: bool is 2, must be 0 or 1");
    assert_int_equal(value_check(type_scalar(TYPE_BOOL), &rows[2].on, &err), S_INVALID);
    assert_string_equal(err.text, "bool is 2, must be 0 or 1");
    rows[2].on = 1;
    assert_int_equal(value_check(t, &list, &err), S_OK);
    arena_done(&a);
}

/* ---- order ------------------------------------------------------------------------------------ */

static void floats_are_totally_ordered(void **state)
{
    (void)state;
    const double up[] = {-INFINITY, -1.5, -0.0, 0.5, INFINITY, NAN};
    const Type *t = type_scalar(TYPE_F64);
    for (size_t i = 0; i < COUNT_OF(up); i++)
        for (size_t k = 0; k < COUNT_OF(up); k++)
            assert_int_equal(sign(value_compare(t, &up[i], &up[k])), (i > k) - (i < k));
    double zero = 0.0, minus = -0.0;
    assert_int_equal(value_compare(t, &zero, &minus), 0);
    assert_false(value_equal(t, &zero, &minus));
}

static void wide_integers_and_ids_order_by_number(void **state)
{
    (void)state;
    __int128 a = -1, b = 1;
    assert_true(value_compare(type_scalar(TYPE_I128), &a, &b) < 0);
    assert_true(value_compare(type_scalar(TYPE_U128), &a, &b) > 0);
    uint8_t low[32] = {[0] = 0xff}, high[32] = {[31] = 0x80};
    assert_true(value_compare(type_scalar(TYPE_IDENTITY), low, high) < 0);
    assert_true(value_compare(type_scalar(TYPE_U256), low, high) < 0);
    assert_true(value_compare(type_scalar(TYPE_I256), low, high) > 0);
    assert_true(value_compare(type_scalar(TYPE_UUID), low, high) > 0); /* first byte counts most */
}

/* ---- figures ---------------------------------------------------------------------------------- */

static void figures_for_a_two_column_row(void **state)
{
    (void)state;
    if (!getenv("BENCH"))
        skip();
    Arena a = {0}, rows = {0};
    Field f[] = {field("id", type_scalar(TYPE_U64)), field("n", type_scalar(TYPE_I64))},
          g[] = {f[0], field("name", type_scalar(TYPE_STRING))};
    struct {
        uint64_t id;
        Slice name;
    } text = {7, {"somebody", 8}};
    uint64_t flat[2] = {7, 9};
    struct {
        const char *label;
        const Type *t;
        const void *v;
    } cases[] = {{"u64+i64", type_product(&a, 2, f), flat}, {"u64+string", type_product(&a, 2, g), &text}};
    for (size_t c = 0; c < 2; c++) {
        const Type *t = cases[c].t;
        Buf out = {0};
        uint8_t value[64];
        enum { N = 5000000 };
        uint64_t sum = 0, t0 = clock_monotonic_ns();
        for (int i = 0; i < N; i++) {
            buf_reset(&out);
            value_encode(&out, t, cases[c].v);
        }
        uint64_t t1 = clock_monotonic_ns();
        for (int i = 0; i < N; i++) {
            Reader r = reader_of(buf_bytes(&out));
            sum += value_decode(&r, t, value, &rows, NULL);
            if (i % 1000 == 0)
                arena_reset(&rows);
        }
        uint64_t t2 = clock_monotonic_ns();
        for (int i = 0; i < N; i++)
            sum += value_hash(t, cases[c].v, sum);
        uint64_t t3 = clock_monotonic_ns();
        printf("%s: encode %.1f ns, decode %.1f ns, hash %.1f ns (%d)\n", cases[c].label, (double)(t1 - t0) / N, (double)(t2 - t1) / N,
               (double)(t3 - t2) / N, (int)(sum & 1));
        buf_done(&out);
    }
    arena_done(&a);
    arena_done(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_published_vector_survives_decoding_and_encoding),
        cmocka_unit_test(random_values_of_random_types_round_trip),
        cmocka_unit_test(decode_errors_use_the_words_of_the_reference),
        cmocka_unit_test(array_lengths_are_not_trusted),
        cmocka_unit_test(check_names_the_path),
        cmocka_unit_test(floats_are_totally_ordered),
        cmocka_unit_test(wide_integers_and_ids_order_by_number),
        cmocka_unit_test(figures_for_a_two_column_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
