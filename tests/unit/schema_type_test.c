/* Types: recognising special shapes, layout as the C compiler has it, names, AlgebraicType bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "host/schema/type.h"

typedef struct Text {
    const char *ptr;
    size_t len;
} Text;

static Field field(const char *name, const Type *t) { return (Field){.name = str_of(name), .type = t}; }

static void a_struct_is_laid_out_as_the_compiler_does(void **state)
{
    (void)state;
    struct Row {
        uint8_t a;
        uint64_t b;
        bool c;
        __int128 d;
        Text e;
        uint16_t f;
        uint8_t id[32];
    };
    Arena a = {0};
    Field f[] = {field("a", type_scalar(TYPE_U8)),       field("b", type_scalar(TYPE_U64)),    field("c", type_scalar(TYPE_BOOL)),
                 field("d", type_scalar(TYPE_I128)),     field("e", type_scalar(TYPE_STRING)), field("f", type_scalar(TYPE_U16)),
                 field("id", type_scalar(TYPE_IDENTITY))};
    const Type *t = type_product(&a, 7, f);
    assert_int_equal(t->size, sizeof(struct Row));
    assert_int_equal(t->align, _Alignof(struct Row));
    assert_int_equal(t->fields[1].offset, offsetof(struct Row, b));
    assert_int_equal(t->fields[3].offset, offsetof(struct Row, d));
    assert_int_equal(t->fields[4].offset, offsetof(struct Row, e));
    assert_int_equal(t->fields[6].offset, offsetof(struct Row, id));
    assert_int_equal(t->bsatn_size, -1);
    assert_true(t->has_pointers);
    arena_done(&a);
}

static void options_sums_and_results_are_laid_out_as_the_compiler_does(void **state)
{
    (void)state;
    Arena a = {0};
    struct OptText {
        bool some;
        Text v;
    };
    struct OptId {
        bool some;
        uint8_t v[32];
    };
    struct Sum {
        uint8_t tag;
        union {
            uint16_t x;
            __int128 y;
        } u;
    };
    const Type *text = type_option(&a, type_scalar(TYPE_STRING)), *id = type_option(&a, type_scalar(TYPE_IDENTITY));
    Field v[] = {field("X", type_scalar(TYPE_U16)), field("Y", type_scalar(TYPE_U128)), field("Z", &type_unit)};
    const Type *sum = type_sum(&a, 3, v);
    assert_int_equal(text->size, sizeof(struct OptText));
    assert_int_equal(text->payload_offset, offsetof(struct OptText, v));
    assert_int_equal(id->size, sizeof(struct OptId));
    assert_int_equal(sum->size, sizeof(struct Sum));
    assert_int_equal(sum->payload_offset, offsetof(struct Sum, u));
    assert_int_equal(sum->kind, TYPE_SUM);
    assert_int_equal(type_scalar(TYPE_SCHEDULE_AT)->size, 16);
    assert_int_equal(type_unit.size, 1);
    arena_done(&a);
}

static void special_shapes_are_recognised(void **state)
{
    (void)state;
    Arena a = {0};
    struct {
        const char *name;
        TypeKind scalar, kind;
    } products[] = {{"__identity__", TYPE_U256, TYPE_IDENTITY},
                    {"__connection_id__", TYPE_U128, TYPE_CONNECTION_ID},
                    {"__timestamp_micros_since_unix_epoch__", TYPE_I64, TYPE_TIMESTAMP},
                    {"__time_duration_micros__", TYPE_I64, TYPE_DURATION},
                    {"__uuid__", TYPE_U128, TYPE_UUID},
                    {"__identity__", TYPE_U128, TYPE_PRODUCT},
                    {"identity", TYPE_U256, TYPE_PRODUCT}};
    for (size_t i = 0; i < COUNT_OF(products); i++) {
        Field f = field(products[i].name, type_scalar(products[i].scalar));
        assert_int_equal(type_product(&a, 1, &f)->kind, products[i].kind);
    }
    Field option[] = {field("some", type_scalar(TYPE_U8)), field("none", &type_unit)};
    Field result[] = {field("ok", &type_unit), field("err", type_scalar(TYPE_STRING))};
    Field at[] = {field("Interval", type_scalar(TYPE_DURATION)), field("Time", type_scalar(TYPE_TIMESTAMP))};
    Field plain[] = {field("A", &type_unit), field("B", &type_unit)};
    Field upper[] = {field("Some", type_scalar(TYPE_U8)), field("None", &type_unit)};
    assert_int_equal(type_sum(&a, 2, option)->kind, TYPE_OPTION);
    assert_int_equal(type_sum(&a, 2, result)->kind, TYPE_RESULT);
    assert_int_equal(type_sum(&a, 2, at)->kind, TYPE_SCHEDULE_AT);
    assert_int_equal(type_sum(&a, 2, plain)->kind, TYPE_ENUM);
    assert_int_equal(type_sum(&a, 2, upper)->kind, TYPE_SUM);
    assert_int_equal(type_array(&a, type_scalar(TYPE_U8))->kind, TYPE_BYTES);
    arena_done(&a);
}

static void neighbouring_plain_fields_become_one_run(void **state)
{
    (void)state;
    Arena a = {0};
    Field f[] = {field("a", type_scalar(TYPE_U64)), field("b", type_scalar(TYPE_U32)), field("c", type_scalar(TYPE_I32))};
    const Type *flat = type_product(&a, 3, f);
    assert_true(flat->flat);
    assert_int_equal(flat->nops, 1);
    Field g[] = {field("in", flat), field("d", type_scalar(TYPE_U8)), field("e", type_scalar(TYPE_STRING)),
                 field("f", type_scalar(TYPE_U8))};
    const Type *outer = type_product(&a, 4, g);
    assert_false(outer->flat);
    assert_int_equal(outer->nops, 3);
    assert_int_equal(outer->ops[0].len, 17);
    Field padded[] = {field("a", type_scalar(TYPE_U64)), field("b", type_scalar(TYPE_U32))};
    assert_false(type_product(&a, 2, padded)->flat);
    assert_int_equal(type_product(&a, 2, padded)->bsatn_size, 12);
    arena_done(&a);
}

static void expect_name(const char *want, const Type *t)
{
    Buf b = {0};
    type_name(&b, t);
    assert_string_equal(buf_cstr(&b), want);
    buf_done(&b);
}

static void names_read_like_rust(void **state)
{
    (void)state;
    Arena a = {0};
    Field f = field("x", type_scalar(TYPE_F64));
    Field v[] = {field("A", &type_unit), field("B", type_scalar(TYPE_U8))};
    expect_name("u64", type_scalar(TYPE_U64));
    expect_name("String", type_scalar(TYPE_STRING));
    expect_name("Option<Vec<i32>>", type_option(&a, type_array(&a, type_scalar(TYPE_I32))));
    expect_name("{ x: f64 }", type_product(&a, 1, &f));
    expect_name("enum { A, B(u8) }", type_sum(&a, 2, v));
    expect_name("()", &type_unit);
    expect_name("ScheduleAt", type_scalar(TYPE_SCHEDULE_AT));
    arena_done(&a);
}

static void a_type_is_written_structurally(void **state)
{
    (void)state;
    Arena a = {0};
    Buf b = {0};
    char hex[200];
    type_to_bsatn(&b, type_option(&a, type_scalar(TYPE_BYTES)), true);
    hex_encode(hex, b.ptr, b.len);
    assert_string_equal(hex, "0102000000"
                             "0004000000736f6d65"
                             "0307"
                             "00040000006e6f6e65"
                             "0200000000");
    arena_done(&a);
    buf_done(&b);
}

static void too_deep_too_wide_and_too_large_types_are_refused_by_name(void **state)
{
    (void)state;
    Arena a = {0};
    Error err;
    const Type *t = type_scalar(TYPE_STRING);
    for (int i = 0; i < TYPE_DEPTH_MAX; i++)
        t = type_array(&a, t);
    assert_int_equal(type_check_limits(t, &err), S_TOO_LARGE);
    assert_string_equal(err.text, "a type is nested more than 64 levels deep");
    t = type_scalar(TYPE_STRING);
    for (int i = 0; i < 40; i++) { /* doubles each time: sizes saturate instead of wrapping */
        Field f[] = {field("a", t), field("b", t)};
        t = type_product(&a, 2, f);
    }
    assert_int_equal(type_check_limits(t, &err), S_TOO_LARGE);
    assert_string_equal(err.text, "a value of the type takes more than 1048576 bytes");
    t = type_scalar(TYPE_STRING);
    for (int i = 0; i < 20; i++) { /* small values, yet a tree of a million leaves */
        const Type *v = type_array(&a, t);
        Field f[] = {field("a", v), field("b", v)};
        t = type_product(&a, 2, f);
    }
    assert_int_equal(type_check_limits(t, &err), S_TOO_LARGE);
    assert_string_equal(err.text, "a type written out in full has more than 65536 parts");
    arena_done(&a);
}

static void keys_are_what_an_index_can_order_exactly(void **state)
{
    (void)state;
    Arena a = {0};
    assert_true(type_is_key(type_scalar(TYPE_U256)));
    assert_true(type_is_key(type_scalar(TYPE_UUID)));
    assert_true(type_is_key(type_scalar(TYPE_DURATION)));
    assert_false(type_is_key(type_scalar(TYPE_F64)));
    assert_false(type_is_key(type_scalar(TYPE_SCHEDULE_AT)));
    assert_false(type_is_key(type_option(&a, type_scalar(TYPE_U8))));
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_struct_is_laid_out_as_the_compiler_does),
        cmocka_unit_test(options_sums_and_results_are_laid_out_as_the_compiler_does),
        cmocka_unit_test(special_shapes_are_recognised),
        cmocka_unit_test(neighbouring_plain_fields_become_one_run),
        cmocka_unit_test(names_read_like_rust),
        cmocka_unit_test(a_type_is_written_structurally),
        cmocka_unit_test(too_deep_too_wide_and_too_large_types_are_refused_by_name),
        cmocka_unit_test(keys_are_what_an_index_can_order_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
