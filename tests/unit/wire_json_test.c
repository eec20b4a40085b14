/* SATS-JSON both ways: the tables of wire.md section 2, and every vector of tests/vectors/sats_json.tsv in both value forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "host/wire/sats_json.h"
#include "host/schema/type_read.h"

#define TEST(name) static void name(void **state __attribute__((unused)))

static Arena arena;

static Str hex_text(Bytes b)
{
    char *p = arena_alloc(&arena, b.len * 2 + 1);
    hex_encode(p, b.ptr, b.len);
    return (Str){p, b.len * 2};
}

static const char *read_json(const Type *t, const char *json)
{ /* BSATN as hex, or the error text */
    OWN(buf) Buf out = {0};
    Error err = {0};
    if (json_to_bsatn(&out, str_of(json), t, &err) != S_OK)
        return arena_str(&arena, str_of(err.text)).ptr;
    return hex_text(buf_bytes(&out)).ptr;
}

static const char *write_json(const Type *t, Bytes bsatn, JsonMode mode)
{
    OWN(buf) Buf out = {0};
    Error err = {0};
    Reader in = reader_of(bsatn);
    if (json_from_bsatn(&out, &in, t, mode, &err) != S_OK)
        return arena_str(&arena, str_of(err.text)).ptr;
    return arena_str(&arena, buf_str(&out)).ptr;
}

static const char *f64_text(double v) { return write_json(type_scalar(TYPE_F64), bytes_of(&v, 8), JSON_UNTYPED); }
static const char *f32_text(float v) { return write_json(type_scalar(TYPE_F32), bytes_of(&v, 4), JSON_UNTYPED); }

static void check(const Type *t, const char *json, const char *expected) { assert_string_equal(read_json(t, json), expected); }

static Bytes unhex(Str hex)
{
    uint8_t *p = arena_alloc(&arena, hex.len / 2 + 1);
    assert_true(hex_decode(p, hex.len / 2, hex));
    return (Bytes){p, hex.len / 2};
}

static Str next_column(char **line)
{
    char *start = *line, *tab = strpbrk(start, "\t\n");
    assert_non_null(tab);
    *line = tab + 1;
    return (Str){start, (size_t)(tab - start)};
}

TEST(every_vector_reads_and_writes_in_both_forms)
{
    const char *path = getenv("VECTORS");
    FILE *f = fopen(path ? path : "tests/vectors/sats_json.tsv", "r");
    assert_non_null(f);
    static char line[1 << 16];
    int n = 0;
    while (fgets(line, sizeof line, f)) {
        char *at = line;
        Str name = next_column(&at), type_hex = next_column(&at), value = next_column(&at), named = next_column(&at),
            hex = next_column(&at);
        const Type *t = NULL;
        Error err = {0};
        Reader in = reader_of(unhex(type_hex));
        if (type_from_bsatn(&t, &in, &arena, &err) != S_OK)
            fail_msg("%.*s: %s", STR_FMT(name), err.text);
        assert_int_equal(reader_left(&in), 0);
        value = arena_str(&arena, value), named = arena_str(&arena, named), hex = arena_str(&arena, hex);
        bool unnamed_fields = str_is(name, "type/unnamed-element");
        Bytes bsatn = unhex(hex);
        if (strcmp(write_json(t, bsatn, JSON_UNTYPED), value.ptr) != 0)
            fail_msg("%.*s: wrote %s, not %s", STR_FMT(name), write_json(t, bsatn, JSON_UNTYPED), value.ptr);
        if (!str_is(named, "-") && !unnamed_fields && strcmp(write_json(t, bsatn, JSON_DECLARED), named.ptr) != 0)
            fail_msg("%.*s: wrote %s, not %s", STR_FMT(name), write_json(t, bsatn, JSON_DECLARED), named.ptr);
        if (str_is(value, "null"))
            continue; /* a float that JSON cannot hold */
        if (strcmp(read_json(t, value.ptr), hex.ptr) != 0)
            fail_msg("%.*s: %s read as %s", STR_FMT(name), value.ptr, read_json(t, value.ptr));
        if (!str_is(named, "-") && strcmp(read_json(t, named.ptr), hex.ptr) != 0)
            fail_msg("%.*s: %s read as %s", STR_FMT(name), named.ptr, read_json(t, named.ptr));
        n++;
    }
    fclose(f);
    assert_true(n > 80);
}

TEST(integers_of_every_width_are_exact_and_bounded)
{
    check(type_scalar(TYPE_U8), "255", "ff");
    check(type_scalar(TYPE_U8), "256", ".: invalid value: integer `256`, expected u8 at line 1 column 3");
    check(type_scalar(TYPE_U8), "-1", ".: invalid value: integer `-1`, expected u8 at line 1 column 2");
    check(type_scalar(TYPE_I8), "-128", "80");
    check(type_scalar(TYPE_I8), "128", ".: invalid value: integer `128`, expected i8 at line 1 column 3");
    check(type_scalar(TYPE_U64), "18446744073709551615", "ffffffffffffffff");
    check(type_scalar(TYPE_U64), "18446744073709551616",
          ".: invalid value: integer `18446744073709551616`, expected u64 at line 1 column 20");
    check(type_scalar(TYPE_I128), "-170141183460469231731687303715884105728", "00000000000000000000000000000080");
    check(type_scalar(TYPE_I128), "170141183460469231731687303715884105728",
          ".: invalid value: integer `170141183460469231731687303715884105728`, expected i128 at line 1 column 39");
    check(type_scalar(TYPE_U128), "340282366920938463463374607431768211455", "ffffffffffffffffffffffffffffffff");
    check(type_scalar(TYPE_U128), "340282366920938463463374607431768211456",
          ".: invalid value: integer `340282366920938463463374607431768211456`, expected u128 at line 1 column 39");
    check(type_scalar(TYPE_U32), "1.0", ".: invalid type: floating point `1.0`, expected u32 at line 1 column 3");
    check(type_scalar(TYPE_U32), "1e3", ".: invalid type: floating point `1e3`, expected u32 at line 1 column 3");
    check(type_scalar(TYPE_U32), "\"1\"", ".: invalid type: a string, expected u32 at line 1 column 0");
    check(type_scalar(TYPE_U32), "01", ".: invalid number at line 1 column 0");
}

TEST(wide_integers_are_hexadecimal_strings)
{
    const Type *u = type_scalar(TYPE_U256), *i = type_scalar(TYPE_I256);
    check(u, "\"0x0\"", "0000000000000000000000000000000000000000000000000000000000000000");
    check(u, "\"+0xFf\"", "ff00000000000000000000000000000000000000000000000000000000000000");
    check(i, "\"-0x1\"", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff");
    check(i, "\"-0x8000000000000000000000000000000000000000000000000000000000000000\"",
          "0000000000000000000000000000000000000000000000000000000000000080");
    check(i, "\"0x8000000000000000000000000000000000000000000000000000000000000000\"",
          ".: number out of range for i256 at line 1 column 68");
    check(u, "\"0x10000000000000000000000000000000000000000000000000000000000000000\"",
          ".: number out of range for u256 at line 1 column 69");
    check(u, "\"-0x1\"", ".: invalid u256: expected \"0x\" and hexadecimal digits at line 1 column 6");
    check(u, "\"0x\"", ".: invalid u256: expected \"0x\" and hexadecimal digits at line 1 column 4");
    check(u, "\"12\"", ".: invalid u256: expected \"0x\" and hexadecimal digits at line 1 column 4");
    check(u, "1", ".: invalid type: a number, expected a string with a u256 in hexadecimal at line 1 column 0");
    uint8_t v[32] = {[31] = 0x80};
    assert_string_equal(write_json(i, bytes_of(v, 32), JSON_UNTYPED),
                        "\"-0x8000000000000000000000000000000000000000000000000000000000000000\"");
    v[31] = 0;
    assert_string_equal(write_json(u, bytes_of(v, 32), JSON_UNTYPED), "\"0x0\"");
}

TEST(floats_are_written_as_short_as_they_read_back)
{
    assert_string_equal(f64_text(1), "1.0");
    assert_string_equal(f64_text(-0.0), "-0.0");
    assert_string_equal(f64_text(0.1), "0.1");
    assert_string_equal(f64_text(1e16), "1e16");
    assert_string_equal(f64_text(1e15), "1000000000000000.0");
    assert_string_equal(f64_text(1234567890123456.7), "1234567890123456.8");
    assert_string_equal(f64_text(1.5e300), "1.5e300");
    assert_string_equal(f64_text(1e-5), "0.00001");
    assert_string_equal(f64_text(1.25e-6), "1.25e-6");
    assert_string_equal(f64_text(5e-324), "5e-324");
    assert_string_equal(f64_text(1.7976931348623157e308), "1.7976931348623157e308");
    assert_string_equal(f64_text(NAN), "null");
    assert_string_equal(f64_text(-INFINITY), "null");
    assert_string_equal(f32_text(0.1f), "0.1");
    assert_string_equal(f32_text(16777216.0f), "16777216.0");
    assert_string_equal(f32_text(3.4028235e38f), "3.4028235e38");
    assert_string_equal(f32_text(1e-45f), "1e-45");
    check(type_scalar(TYPE_F64), "1", "000000000000f03f");
    check(type_scalar(TYPE_F32), "1e0", "0000803f");
    check(type_scalar(TYPE_F64), "null", ".: invalid type: null, expected f64 at line 1 column 0");
    check(type_scalar(TYPE_F64), "1e999", ".: number out of range at line 1 column 5");
}

TEST(random_floats_survive_the_round_trip)
{
    uint64_t x = 42;
    OWN(buf) Buf text = {0}, back = {0};
    Error err = {0};
    for (int i = 0; i < 100000; i++) {
        x = hash_u64(x + 0x9e3779b97f4a7c15u);
        bool single = i & 1;
        const Type *t = type_scalar(single ? TYPE_F32 : TYPE_F64);
        double d;
        memcpy(&d, &x, 8);
        float f;
        memcpy(&f, &x, 4);
        if (single ? !isfinite(f) : !isfinite(d))
            continue;
        buf_reset(&text), buf_reset(&back);
        Reader in = reader_of(bytes_of(&x, single ? 4 : 8));
        assert_int_equal(json_from_bsatn(&text, &in, t, JSON_UNTYPED, &err), S_OK);
        assert_int_equal(json_to_bsatn(&back, buf_str(&text), t, &err), S_OK);
        assert_memory_equal(back.ptr, &x, single ? 4 : 8);
    }
}

TEST(strings_are_escaped_and_unescaped)
{
    const Type *s = type_scalar(TYPE_STRING);
    check(s, "\"a\\u0000\\n\\\"\\\\\\/\\u00e9\\ud83d\\ude00\"", "0c00000061000a225c2fc3a9f09f9880");
    check(s, "\"\\ud83d\"", ".: lone leading surrogate in hex escape at line 1 column 7");
    check(s, "\"\\udc00\"", ".: lone trailing surrogate in hex escape at line 1 column 7");
    check(s, "\"\\x\"", ".: invalid escape at line 1 column 3");
    check(s, "\"a\nb\"", ".: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 2");
    check(s, "\"abc", ".: EOF while parsing a string at line 1 column 4");
    check(s, "\"\xff\"", ".: invalid utf8 at line 1 column 0");
    uint8_t v[] = {6, 0, 0, 0, 'a', 0, '\n', '"', '\\', 0x1f};
    assert_string_equal(write_json(s, bytes_of(v, sizeof v), JSON_UNTYPED), "\"a\\u0000\\n\\\"\\\\\\u001f\"");
    v[9] = 0xff;
    assert_string_equal(write_json(s, bytes_of(v, sizeof v), JSON_UNTYPED), "invalid utf8");
}

static const Type *point_type(void)
{
    Field f[] = {{.name = STR("x"), .type = type_scalar(TYPE_I32)}, {.name = STR("y"), .type = type_scalar(TYPE_U8)}};
    return type_product(&arena, 2, f);
}

TEST(products_are_arrays_or_objects_in_any_order)
{
    const Type *t = point_type();
    check(t, "[1,2]", "0100000002");
    check(t, " { \"y\" : 2 , \"x\" : 1 } ", "0100000002");
    check(t, "[1]", ".: invalid length 1, expected a product with 2 elements at line 1 column 2");
    check(t, "[1,2,3]", ".: trailing characters at line 1 column 4");
    check(t, "{\"x\":1}", ".: missing field `y` at line 1 column 7");
    check(t, "{\"x\":1,\"x\":1}", ".: duplicate field `x` at line 1 column 10");
    check(t, "{\"x\":1,\"z\":1}", ".: unknown field `z`, expected `x` or `y` at line 1 column 10");
    check(t, "{\"x\":1,\"y\":\"2\"}", ".y: invalid type: a string, expected u8 at line 1 column 11");
    check(t, "null", ".: invalid type: null, expected a product at line 1 column 0");
    check(t, "[1,2]x", ".: trailing characters at line 1 column 5");
    check(t, "[1,2", ".: the text ends where `]` was expected at line 1 column 4");
    check(&type_unit, "[]", "");
    check(&type_unit, "{}", "");
    check(&type_unit, "[1]", ".: trailing characters at line 1 column 1");
}

TEST(nested_products_out_of_order_are_put_right)
{
    const Type *p = point_type();
    Field f[] = {{.name = STR("a"), .type = p},
                 {.name = STR("s"), .type = type_scalar(TYPE_STRING)},
                 {.name = STR("l"), .type = type_array(&arena, p)}};
    const Type *t = type_product(&arena, 3, f);
    check(t, "{\"l\":[{\"y\":3,\"x\":4},[5,6]],\"s\":\"q\",\"a\":{\"y\":1,\"x\":2}}",
          "02000000010100000071020000000400000003"
          "0500000006");
    check(t, "{\"l\":[[5,6],{\"x\":1}],\"s\":\"q\",\"a\":[0,0]}", ".l[1]: missing field `y` at line 1 column 19");
}

TEST(sums_take_names_and_tags)
{
    Field f[] = {{.name = STR("Circle"), .type = type_scalar(TYPE_U8)},
                 {.name = STR("Empty"), .type = &type_unit},
                 {.name = STR("7"), .type = type_scalar(TYPE_U8)}};
    const Type *t = type_sum(&arena, 3, f);
    check(t, "{\"Circle\":9}", "0009");
    check(t, "{\"0\":9}", "0009");
    check(t, "[0,9]", "0009");
    check(t, "[\"0\",9]", "0009");
    check(t, "[\"Circle\",9]", "0009");
    check(t, "[1,[]]", "01");
    check(t, "{\"Empty\":{}}", "01");
    check(t, "{\"7\":1}", ".: unknown variant `7`, expected `Circle`, `Empty` or `7` at line 1 column 4");
    check(t, "[3,1]", ".: unknown variant `3`, expected `Circle`, `Empty` or `7` at line 1 column 2");
    check(t, "\"Empty\"",
          ".: invalid type: a string, expected a sum: an object with one member or an array of tag and payload at line 1 column 0");
    check(t, "{\"Circle\":9,\"Empty\":[]}", ".: a sum needs exactly one member at line 1 column 11");
    check(t, "[0,9,9]", ".: a sum needs exactly two elements at line 1 column 4");
    check(t, "{}", ".: a sum needs exactly one member at line 1 column 1");
}

TEST(options_take_null_for_none)
{
    const Type *t = type_option(&arena, type_scalar(TYPE_U8)), *tt = type_option(&arena, t);
    check(t, "null", "01");
    check(t, "{\"none\":[]}", "01");
    check(t, "{\"some\":5}", "0005");
    check(t, "[0,5]", "0005");
    check(t, "5", ".: invalid type: a number, expected a sum: an object with one member or an array of tag and payload at line 1 column 0");
    check(tt, "{\"some\":null}", "0001");
    uint8_t v[] = {0, 5};
    assert_string_equal(write_json(t, bytes_of(v, 2), JSON_UNTYPED), "[0,5]");
    assert_string_equal(write_json(t, bytes_of(v, 2), JSON_DECLARED), "{\"some\":5}");
    v[0] = 1;
    assert_string_equal(write_json(t, bytes_of(v, 1), JSON_DECLARED), "{\"none\":[]}");
    v[0] = 2;
    assert_string_equal(write_json(t, bytes_of(v, 1), JSON_DECLARED), "unknown tag 0x2 for sum type Option<u8>");
}

TEST(byte_arrays_are_hex_or_arrays_of_numbers)
{
    const Type *t = type_scalar(TYPE_BYTES);
    check(t, "\"dEad\"", "02000000dead");
    check(t, "\"\"", "00000000");
    check(t, "[222,173]", "02000000dead");
    check(t, "\"abc\"", ".: Odd number of digits at line 1 column 5");
    check(t, "\"zz\"", ".: invalid hexadecimal digits at line 1 column 4");
    check(t, "[256]", "[0]: invalid value: integer `256`, expected u8 at line 1 column 4");
}

TEST(nesting_beyond_128_levels_is_refused)
{
    const Type *t = type_array(&arena, &type_unit);
    for (int i = 0; i < 140; i++)
        t = type_array(&arena, t);
    char json[400] = {0};
    memset(json, '[', 130), memset(json + 130, ']', 130);
    assert_non_null(strstr(read_json(t, json), "recursion limit exceeded: more than 128 levels"));
}

TEST(arguments_are_spoken_of_as_arguments)
{
    const Type *t = point_type();
    Error err = {0};
    OWN(buf) Buf out = {0};
    assert_int_equal(json_args_to_bsatn(&out, STR("[1]"), t, STR("add"), &err), S_INVALID);
    assert_string_equal(err.text, ".: invalid length 1, expected reducer args for add with 2 elements at line 1 column 2");
    assert_int_equal(json_args_to_bsatn(&out, STR("{\"x\":1}"), t, STR("add"), &err), S_INVALID);
    assert_string_equal(err.text, ".: missing reducer argument `y` at line 1 column 7");
    assert_int_equal(json_args_to_bsatn(&out, STR("{\"q\":1}"), t, STR("add"), &err), S_INVALID);
    assert_string_equal(err.text, ".: unknown reducer argument `q`, expected `x` or `y` at line 1 column 4");
    assert_int_equal(json_args_to_bsatn(&out, STR("[1,300]"), t, STR("add"), &err), S_INVALID);
    assert_string_equal(err.text, "[1]: invalid value: integer `300`, expected u8 at line 1 column 6");
    assert_int_equal(out.len, 0);
    assert_int_equal(json_args_to_bsatn(&out, STR("{\"y\":1,\"x\":0}"), t, STR("add"), &err), S_OK);
    assert_int_equal(out.len, 5);
}

TEST(a_buffer_with_a_maximum_bounds_the_result)
{
    OWN(buf) Buf out = buf_with_max(8);
    Error err = {0};
    assert_int_equal(json_to_bsatn(&out, STR("\"0123456789012345678901234567890123456789012345678901234567890123456789\""),
                                   type_scalar(TYPE_STRING), &err),
                     S_TOO_LARGE);
    assert_string_equal(err.text, ".: the value exceeds 8 bytes");
}

TEST(types_are_written_as_json)
{
    OWN(buf) Buf out = {0};
    Field f[] = {{.name = STR("id"), .type = type_scalar(TYPE_U64)},
                 {.name = STR("who"), .type = type_option(&arena, type_scalar(TYPE_IDENTITY))},
                 {.name = STR("b"), .type = type_scalar(TYPE_BYTES)}};
    json_put_product_type(&out, type_product(&arena, 3, f), false);
    assert_string_equal(
        buf_cstr(&out),
        "{\"elements\":[{\"name\":{\"some\":\"id\"},\"algebraic_type\":{\"U64\":[]}},{\"name\":{\"some\":\"who\"},\"algebraic_type\":"
        "{\"Sum\":{\"variants\":[{\"name\":{\"some\":\"some\"},\"algebraic_type\":{\"Product\":{\"elements\":[{\"name\":{\"some\":\"__"
        "identity__\"},"
        "\"algebraic_type\":{\"U256\":[]}}]}}},{\"name\":{\"some\":\"none\"},\"algebraic_type\":{\"Product\":{\"elements\":[]}}}]}}},"
        "{\"name\":{\"some\":\"b\"},\"algebraic_type\":{\"Array\":{\"U8\":[]}}}]}");
}

TEST(type_bytes_are_bounded_and_checked)
{
    static const struct {
        const char *hex, *text;
    } cases[] = {
        {"", "data too short for a type: Expected 1, given 0"},
        {"14", "unknown tag 0x14 for sum type AlgebraicType"},
        {"0005000000", "a reference to another type is not allowed here"},
        {"0100000000", "a sum type without variants has no values"},
        {"02ffffffff", "a product type has 4294967295 fields; the limit is 4096"},
        {"0200100000", "data too short for a type of 4096 elements: given 0 bytes"},
        {"02010000000200", "unknown tag 0x2 for sum type Option"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const Type *t;
        Error err = {0};
        Reader in = reader_of(unhex(str_of(cases[i].hex)));
        assert_int_not_equal(type_from_bsatn(&t, &in, &arena, &err), S_OK);
        assert_string_equal(err.text, cases[i].text);
    }
    uint8_t deep[100000];
    memset(deep, 3, sizeof deep);
    const Type *t;
    Error err = {0};
    Reader in = reader_of(bytes_of(deep, sizeof deep));
    assert_int_equal(type_from_bsatn(&t, &in, &arena, &err), S_TOO_LARGE);
}

TEST(truncated_values_are_errors)
{
    const Type *t = point_type();
    uint8_t v[] = {1, 0, 0, 0};
    assert_string_equal(write_json(t, bytes_of(v, 4), JSON_UNTYPED), "data too short for u8: Expected 1, given 0");
    assert_string_equal(write_json(t, bytes_of(v, 3), JSON_UNTYPED), "data too short for i32: Expected 4, given 3");
    v[0] = 2;
    assert_string_equal(write_json(type_scalar(TYPE_BOOL), bytes_of(v, 1), JSON_UNTYPED), "byte 0x2 is not a bool");
    uint8_t many[] = {0xff, 0xff, 0xff, 0x7f};
    assert_string_equal(write_json(type_array(&arena, &type_unit), bytes_of(many, 4), JSON_UNTYPED),
                        "an array of 2147483647 elements exceeds the limit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_reads_and_writes_in_both_forms),
        cmocka_unit_test(integers_of_every_width_are_exact_and_bounded),
        cmocka_unit_test(wide_integers_are_hexadecimal_strings),
        cmocka_unit_test(floats_are_written_as_short_as_they_read_back),
        cmocka_unit_test(random_floats_survive_the_round_trip),
        cmocka_unit_test(strings_are_escaped_and_unescaped),
        cmocka_unit_test(products_are_arrays_or_objects_in_any_order),
        cmocka_unit_test(nested_products_out_of_order_are_put_right),
        cmocka_unit_test(sums_take_names_and_tags),
        cmocka_unit_test(options_take_null_for_none),
        cmocka_unit_test(byte_arrays_are_hex_or_arrays_of_numbers),
        cmocka_unit_test(nesting_beyond_128_levels_is_refused),
        cmocka_unit_test(arguments_are_spoken_of_as_arguments),
        cmocka_unit_test(a_buffer_with_a_maximum_bounds_the_result),
        cmocka_unit_test(types_are_written_as_json),
        cmocka_unit_test(type_bytes_are_bounded_and_checked),
        cmocka_unit_test(truncated_values_are_errors),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_done(&arena);
    return failed;
}
