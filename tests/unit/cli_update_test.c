/* What a subscriber prints, from the host's bytes; and that no cut of them does harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/json_scan.c"
#include "cli/schema.c"
#include "cli/update.c"

#define TEST(name) static void name(void **state __attribute__((unused)))

static Arena arena;
static Schema schema;

static void put_row_list(Buf *b, uint16_t size, const char *rows)
{
    buf_put_u8(b, 0);
    buf_put_u16(b, size);
    buf_put_str(b, str_of(rows));
}

/* TransactionUpdate: one query set, one table, rows AB and CD inserted, row X deleted (u8 columns). */
static void put_update(Buf *b)
{
    buf_put_u8(b, 4);
    buf_put_u32(b, 1);
    buf_put_u32(b, 1);
    buf_put_u32(b, 1);
    buf_put_str(b, STR("pair"));
    buf_put_u32(b, 1);
    buf_put_u8(b, 0);
    put_row_list(b, 2, "ABCD");
    put_row_list(b, 2, "XY");
}

static int setup(void **state)
{
    Error err = {0};
    (void)state;
    return schema_read(&schema,
                       STR("{\"sections\":[{\"Typespace\":{\"types\":[{\"Product\":{\"elements\":["
                           "{\"name\":{\"some\":\"a\"},\"algebraic_type\":{\"U8\":[]}},{\"name\":{\"some\":\"b\"},"
                           "\"algebraic_type\":{\"U8\":[]}}]}}]}},"
                           "{\"Tables\":[{\"source_name\":\"pair\",\"product_type_ref\":0,\"primary_key\":[],\"table_"
                           "access\":{\"Public\":[]}}]}]}"),
                       false, &arena, &err) == S_OK
               ? 0
               : -1;
}

TEST(an_update_is_one_line)
{
    OWN(buf) Buf in = {0};
    OWN(buf) Buf out = {0};
    Error err = {0};
    UpdateKind kind;
    put_update(&in);
    Reader r = reader_of(buf_bytes(&in));
    assert_int_equal(update_read(&kind, &out, &r, &schema, &err), S_OK);
    assert_int_equal(kind, UPDATE_ROWS);
    assert_int_equal(reader_left(&r), 0);
    assert_string_equal(buf_cstr(&out),
                        "{\"pair\":{\"deletes\":[{\"a\":88,\"b\":89}],\"inserts\":[{\"a\":65,\"b\":66},{\"a\":67,\"b\":68}]}}\n");
}

TEST(a_refusal_is_its_text)
{
    OWN(buf) Buf in = {0};
    OWN(buf) Buf out = {0};
    Error err = {0};
    UpdateKind kind;
    buf_put_u8(&in, 3);
    buf_put_u8(&in, 1);
    buf_put_u32(&in, 1);
    buf_put_str(&in, STR("no such table"));
    Reader r = reader_of(buf_bytes(&in));
    assert_int_equal(update_read(&kind, &out, &r, &schema, &err), S_OK);
    assert_int_equal(kind, UPDATE_REFUSED);
    assert_string_equal(buf_cstr(&out), "no such table");
}

TEST(every_cut_and_every_changed_byte_is_survived)
{
    OWN(buf) Buf in = {0};
    OWN(buf) Buf out = {0};
    put_update(&in);
    for (size_t n = 0; n < in.len; n++) {
        Error err = {0};
        UpdateKind kind;
        uint8_t *exact = x_alloc(n + 1);
        memcpy(exact, in.ptr, n);
        Reader r = reader_of(bytes_of(exact, n));
        assert_int_equal(update_read(&kind, &out, &r, &schema, &err), S_INVALID);
        free(exact);
    }
    for (size_t i = 0; i < in.len; i++) {
        for (int v = 0; v < 256; v++) {
            Error err = {0};
            UpdateKind kind;
            uint8_t was = in.ptr[i];
            in.ptr[i] = (uint8_t)v;
            buf_reset(&out);
            Reader r = reader_of(buf_bytes(&in));
            Status code = update_read(&kind, &out, &r, &schema, &err);
            assert_true(code == S_OK || (code == S_INVALID && err.text[0]));
            in.ptr[i] = was;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_update_is_one_line),
        cmocka_unit_test(a_refusal_is_its_text),
        cmocka_unit_test(every_cut_and_every_changed_byte_is_survived),
    };
    int failed = cmocka_run_group_tests(tests, setup, NULL);
    arena_done(&arena);
    return failed;
}
