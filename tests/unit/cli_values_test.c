/* Values on their way through the CLI: JSON with exact numbers, SQL cells, tables, arguments, log lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/clean.c"
#include "cli/json_scan.c"
#include "cli/cell.c"
#include "cli/schema.c"
#include "cli/table.c"
#include "cli/arguments.c"
#include "cli/log_format.c"

#define TEST(name) static void name(void **state __attribute__((unused)))

static Arena arena;

static const Js *json(const char *text)
{
    const Js *v;
    Error err = {0};
    if (js_parse(&v, str_of(text), false, &arena, &err) != S_OK)
        fail_msg("%s: %s", text, err.text);
    return v;
}
static const char *json_refusal(const char *text, bool json5)
{
    const Js *v;
    Error err = {0};
    assert_int_equal(js_parse(&v, str_of(text), json5, &arena, &err), S_INVALID);
    return arena_str(&arena, str_of(err.text)).ptr;
}
static const Type *type(const char *text)
{
    const Type *t;
    Error err = {0};
    if (type_from_json(&t, json(text), NULL, &arena, &err) != S_OK)
        fail_msg("%s: %s", text, err.text);
    return t;
}
static const char *cell(const Type *t, const char *value_text)
{
    OWN(buf) Buf out = {0};
    cell_format(&out, json(value_text), t);
    return arena_str(&arena, buf_str(&out)).ptr;
}
static const char *argument(const Type *t, const char *word_text)
{
    OWN(buf) Buf out = {0};
    Error err = {0};
    Field f = {.name = STR("x"), .type = t};
    Status code = argument_to_json(&out, 1, str_of(word_text), &f, &err);
    return arena_str(&arena, code == S_OK ? buf_str(&out) : str_of(err.text)).ptr;
}
static const char *log_text(const char *line, bool color)
{
    OWN(buf) Buf out = {0};
    log_record_format(&out, str_of(line), color);
    return arena_str(&arena, buf_str(&out)).ptr;
}

TEST(numbers_keep_their_text)
{
    const Js *v = json(" [18446744073709551615, -170141183460469231731687303715884105728, 1.50, "
                       "{\"a\":\"\\u00e9\\ud83d\\ude00\\n\"}] ");
    OWN(buf) Buf out = {0};
    js_compact(&out, v);
    assert_string_equal(buf_cstr(&out), "[18446744073709551615,-170141183460469231731687303715884105728,1.50,{\"a\":\"é😀\\n\"}]");
    assert_int_equal(js_int(js_at(v, 2), -7), -7);
    buf_reset(&out);
    js_pretty(&out, json("{\"a\":[1,2],\"b\":{},\"c\":[]}"), 0);
    assert_string_equal(buf_cstr(&out), "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {},\n  \"c\": []\n}");
}

TEST(broken_json_is_refused_with_its_place)
{
    assert_string_equal(json_refusal("[1,\n 2,]", false), "line 2, column 4: expected a value");
    assert_string_equal(json_refusal("{a:1}", false), "line 1, column 2: expected a member's name in double quotes");
    assert_string_equal(json_refusal("[1] x", false), "line 1, column 5: unexpected text after the value");
    assert_string_equal(json_refusal("01", false), "line 1, column 1: expected a value");
    assert_string_equal(json_refusal("\"\\ud800\"", false), "line 1, column 8: half of a surrogate pair");
    assert_string_equal(json_refusal("", false), "line 1, column 1: expected a value");
    assert_string_equal(json_refusal("/* x", true), "line 1, column 1: a comment without its end");
    char deep[1000];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    assert_non_null(strstr(json_refusal(deep, false), "nested too deeply"));
}

TEST(project_files_may_have_comments_and_trailing_commas)
{
    const Js *v;
    Error err = {0};
    assert_int_equal(js_parse(&v, STR("// hi\n{ database: 'x', /* y */ \"list\": [1,], }"), true, &arena, &err), S_OK);
    assert_true(str_is(js_str(js_get(v, "database")), "x"));
    assert_int_equal(js_get(v, "list")->n, 1);
}

TEST(cells_are_those_of_the_sheet)
{
    assert_string_equal(cell(type("{\"U64\":[]}"), "18446744073709551615"), "18446744073709551615");
    assert_string_equal(cell(type("{\"String\":[]}"), "\"Ty\\\"ler\""), "\"Ty\"ler\"");
    assert_string_equal(cell(type("{\"Array\":{\"U8\":[]}}"), "\"c0ff\""), "0xc0ff");
    assert_string_equal(cell(type("{\"Array\":{\"U16\":[]}}"), "[1,2]"), "[1, 2]");
    assert_string_equal(cell(type("{\"U256\":[]}"), "\"0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\""),
                        "115792089237316195423570985008687907853269984665640564039457584007913129639935");
    assert_string_equal(cell(type("{\"I256\":[]}"), "\"-0x10\""), "-16");
    assert_string_equal(cell(type_scalar(TYPE_IDENTITY), "[\"0xc2\"]"),
                        "0x00000000000000000000000000000000000000000000000000000000000000c2");
    assert_string_equal(cell(type_scalar(TYPE_CONNECTION_ID), "[340282366920938463463374607431768211455]"),
                        "0xffffffffffffffffffffffffffffffff");
    assert_string_equal(cell(type_scalar(TYPE_UUID), "[1]"), "\"00000000-0000-0000-0000-000000000001\"");
    assert_string_equal(cell(type_scalar(TYPE_TIMESTAMP), "[1723372800123456]"), "2024-08-11T10:40:00.123456+00:00");
    assert_string_equal(cell(type_scalar(TYPE_TIMESTAMP), "[-1]"), "1969-12-31T23:59:59.999999+00:00");
    assert_string_equal(cell(type_scalar(TYPE_DURATION), "[-1500000]"), "-1.500000");
    const char *option = "{\"Sum\":{\"variants\":[{\"name\":{\"some\":\"some\"},\"algebraic_type\":{\"Bool\":[]}},"
                         "{\"name\":{\"some\":\"none\"},\"algebraic_type\":{\"Product\":{\"elements\":[]}}}]}}";
    assert_string_equal(cell(type(option), "[0,true]"), "(some = true)");
    assert_string_equal(cell(type(option), "[1,[]]"), "(none = ())");
    const char *point = "{\"Product\":{\"elements\":[{\"name\":{\"some\":\"x\"},\"algebraic_type\":{\"F64\":[]}},{"
                        "\"name\":{\"none\":[]},\"algebraic_type\":{\"I8\":[]}}]}}";
    assert_string_equal(cell(type(point), "[1.5,-2]"), "(x = 1.5, col_1 = -2)");
    assert_string_equal(cell(type(point), "[1.5]"), "[1.5]"); /* does not fit: as it came */
}

TEST(tables_are_laid_out_like_psql)
{
    TextTable t = text_table_new(&arena, 3);
    static const char *const cells[] = {"id", "name", "online", "1", "\"Tyler\"", "true", "2", "\"世\n\"", "false"};
    for (size_t i = 0; i < COUNT_OF(cells); i++)
        text_table_cell(&t, str_of(cells[i]));
    OWN(buf) Buf out = {0};
    text_table_print(&out, &t);
    assert_string_equal(buf_cstr(&out),
                        " id | name    | online \n----+---------+--------\n 1  | \"Tyler\" | true   \n 2  | \"世\\n\"  | false  \n");
    TextTable none = text_table_new(&arena, 0);
    buf_reset(&out);
    text_table_print(&out, &none);
    assert_string_equal(buf_cstr(&out), "\n");
    TextTable plain = text_table_new(&arena, 2);
    text_table_cell(&plain, STR("DEFAULT"));
    text_table_cell(&plain, STR("HOST"));
    text_table_cell(&plain, STR("***"));
    text_table_cell(&plain, STR("h"));
    buf_reset(&out);
    text_table_print_plain(&out, &plain, 0);
    assert_string_equal(buf_cstr(&out), " DEFAULT  HOST \n     ***  h    \n");
}

TEST(words_become_arguments)
{
    const Type *text = type_scalar(TYPE_STRING);
    assert_string_equal(argument(text, "Ada"), "\"Ada\"");
    assert_string_equal(argument(text, "a \"b\" \\"), "\"a \\\"b\\\" \\\\\"");
    assert_string_equal(argument(text, "\"quoted\""), "\"quoted\"");
    assert_string_equal(argument(text, "7"), "\"7\"");
    assert_string_equal(argument(type_scalar(TYPE_U64), "18446744073709551615"), "18446744073709551615");
    assert_non_null(strstr(argument(type_scalar(TYPE_U8), "256"), "argument 1, `x: u8`: `256` does not fit"));
    assert_non_null(strstr(argument(type_scalar(TYPE_U8), "abc"), "line 1, column 1: expected a value"));
    assert_string_equal(argument(type_scalar(TYPE_IDENTITY), "0xc2"), "[\"0xc2\"]");
    assert_string_equal(argument(type_scalar(TYPE_IDENTITY), "c200000000000000000000000000000000000000000000000000000000000001"),
                        "[\"0xc200000000000000000000000000000000000000000000000000000000000001\"]");
    assert_string_equal(argument(type_scalar(TYPE_TIMESTAMP), "-5"), "[-5]");
    assert_string_equal(argument(type_scalar(TYPE_TIMESTAMP), "[5]"), "[5]");
    assert_string_equal(argument(type_scalar(TYPE_UUID), "00000000-0000-0000-0000-0000000000ff"), "[255]");
    const Type *color = type("{\"Sum\":{\"variants\":[{\"name\":{\"some\":\"Red\"},\"algebraic_type\":{\"Product\":{\"elements\":[]}}},"
                             "{\"name\":{\"some\":\"Blue\"},\"algebraic_type\":{\"Product\":{\"elements\":[]}}}]}}");
    assert_string_equal(argument(color, "Blue"), "{\"Blue\":[]}");
}

TEST(arguments_are_counted_first)
{
    Field fields[] = {{.name = STR("a"), .type = type_scalar(TYPE_U8)}, {.name = STR("b"), .type = type_scalar(TYPE_STRING)}};
    const Type *params = type_product(&arena, 2, fields);
    const char *words[] = {"1", "x"};
    OWN(buf) Buf out = {0};
    Error err = {0};
    assert_int_equal(arguments_to_json(&out, 1, words, params, &err), S_INVALID);
    assert_string_equal(err.text, "expected 2 arguments, got 1");
    assert_int_equal(arguments_to_json(&out, 2, words, params, &err), S_OK);
    assert_string_equal(buf_cstr(&out), "[1,\"x\"]");
}

TEST(log_lines_are_those_of_the_sheet)
{
    assert_string_equal(log_text("{\"level\":\"Info\",\"ts\":1723372800123456,\"filename\":\"m.c\",\"line_number\":12,"
                                 "\"function\":\"add\",\"message\":\"hi\"}",
                                 false),
                        "2024-08-11T10:40:00.123456Z  INFO: add m.c:12: hi\n");
    assert_string_equal(log_text("{\"level\":\"Warn\",\"ts\":1723372800123000,\"target\":\"__spacetimedb__\","
                                 "\"filename\":\"__spacetimedb__\","
                                 "\"function\":\"__spacetimedb__\",\"message\":\"new\"}",
                                 false),
                        "2024-08-11T10:40:00.123Z  WARN: new\n");
    assert_string_equal(log_text("{\"level\":\"Panic\",\"ts\":0,\"message\":\"boom\",\"trace\":[{\"module_name\":\"m\","
                                 "\"func_name\":\"f\"}]}",
                                 false),
                        "1970-01-01T00:00:00Z PANIC: boom\n    in m :: f\n");
    assert_non_null(strstr(log_text("{\"level\":\"Error\",\"ts\":0,\"message\":\"x\"}", true), "\033[31mERROR\033[0m"));
    assert_string_equal(log_text("not json", false), "not json\n");
    CliLogLevel level;
    assert_true(log_record_level(&level, STR("{\"level\":\"Strange\"}")));
    assert_int_equal(level, CLI_DEBUG);
    assert_false(log_level_parse(&level, STR("warning")));
}

TEST(a_schema_is_read)
{
    Schema s;
    Error err = {0};
    Str text = STR("{\"sections\":[{\"Typespace\":{\"types\":[{\"Product\":{\"elements\":[{\"name\":{\"some\":\"id\"},\"algebraic_"
                   "type\":{\"U64\":[]}}]}}]}},"
                   "{\"Tables\":[{\"source_name\":\"Person\",\"product_type_ref\":0,\"primary_key\":[0],\"table_access\":{"
                   "\"Public\":[]},\"is_event\":false}]},"
                   "{\"Reducers\":[{\"source_name\":\"start\",\"params\":{\"elements\":[{\"name\":{\"some\":\"p\"},\"algebraic_"
                   "type\":{\"Ref\":0}}]},\"visibility\":{\"Private\":[]}}]},"
                   "{\"LifeCycleReducers\":[{\"lifecycle_spec\":{\"Init\":[]},\"function_name\":\"start\"}]},"
                   "{\"ExplicitNames\":{\"entries\":[{\"Table\":{\"source_name\":\"Person\",\"canonical_name\":\"person\"}}]}}]}");
    assert_int_equal(schema_read(&s, text, false, &arena, &err), S_OK);
    assert_int_equal(s.ntables, 1);
    assert_string_equal(s.tables[0].name, "person");
    assert_ptr_equal(schema_table(&s, STR("Person")), &s.tables[0]);
    assert_int_equal(s.tables[0].pk, 0);
    assert_string_equal(schema_reducer(&s, "start")->lifecycle, "Init");
    OWN(buf) Buf out = {0};
    function_signature(&out, &s.reducers[0]);
    assert_string_equal(buf_cstr(&out), "start(p: { id: u64 })");
    const Type *t;
    assert_int_equal(type_from_json(&t, json("{\"Ref\":9}"), NULL, &arena, &err), S_INVALID);
    assert_int_equal(type_from_json(&t, json("{\"Array\":{\"Ref\":0}}"), json("[{\"Array\":{\"Ref\":0}}]"), &arena, &err),
                     S_INVALID); /* no end */
}

static void text_of_a_server_cannot_drive_the_terminal(void **state)
{
    (void)state;
    static const struct {
        const char *in, *plain, *coloured;
    } cases[] = {
        {"a\tb\n", "a\tb\n", "a\tb\n"},
        {"\033[1;31mred\033[0m", "\\x1b[1;31mred\\x1b[0m", "\033[1;31mred\033[0m"},
        {"\033]0;title\007", "\\x1b]0;title\\x07", "\\x1b]0;title\\x07"},
        {"\033[2J", "\\x1b[2J", "\\x1b[2J"},
        {"\033[1;", "\\x1b[1;", "\\x1b[1;"},
        {"\r\x7f", "\\x0d\\x7f", "\\x0d\\x7f"},
        {"\xc2\x9b"
         "31m",
         "\\x9b31m", "\\x9b31m"},
        {"\xff"
         "a\xe2\x82",
         "\xef\xbf\xbd"
         "a\xef\xbf\xbd\xef\xbf\xbd",
         "\xef\xbf\xbd"
         "a\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe2\x96\xb8 \xc3\xbc", "\xe2\x96\xb8 \xc3\xbc", "\xe2\x96\xb8 \xc3\xbc"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        OWN(buf) Buf plain = {0};
        OWN(buf) Buf coloured = {0};
        put_clean(&plain, str_of(cases[i].in), false);
        put_clean(&coloured, str_of(cases[i].in), true);
        assert_string_equal(buf_cstr(&plain), cases[i].plain);
        assert_string_equal(buf_cstr(&coloured), cases[i].coloured);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_their_text),
        cmocka_unit_test(broken_json_is_refused_with_its_place),
        cmocka_unit_test(project_files_may_have_comments_and_trailing_commas),
        cmocka_unit_test(cells_are_those_of_the_sheet),
        cmocka_unit_test(tables_are_laid_out_like_psql),
        cmocka_unit_test(words_become_arguments),
        cmocka_unit_test(arguments_are_counted_first),
        cmocka_unit_test(log_lines_are_those_of_the_sheet),
        cmocka_unit_test(a_schema_is_read),
        cmocka_unit_test(text_of_a_server_cannot_drive_the_terminal),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_done(&arena);
    return failed;
}
