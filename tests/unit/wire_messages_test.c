/* Client messages from byte vectors (wire.md section 9), damaged ones, and the small server messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "host/wire/identity.h"
#include "host/wire/messages.h"

#define TEST(name) static void name(void **state __attribute__((unused)))

static uint8_t bytes[4096];

static Reader of_hex(const char *hex)
{
    size_t n = strlen(hex) / 2;
    assert_true(hex_decode(bytes, n, str_of(hex)));
    return reader_of(bytes_of(bytes, n));
}

static ClientMessage read_good(Reader *in)
{
    ClientMessage m = {0};
    Error err = {0};
    if (client_message_read(&m, in, &err) != S_OK)
        fail_msg("%s", err.text);
    return m;
}

TEST(subscribe_is_read)
{
    Reader in = of_hex("000201000003000000020000002600000053454c454354202a2046524f4d2075736572205748455245206f6e6c696e65203d207472756513000"
                       "00053454c454354202a2046524f4d2073636f7265");
    ClientMessage m = read_good(&in);
    assert_int_equal(m.kind, MSG_SUBSCRIBE);
    assert_int_equal(m.request_id, 258);
    assert_int_equal(m.query_set_id, 3);
    assert_int_equal(m.nqueries, 2);
    Reader q = reader_of(m.queries);
    assert_int_equal(read_str(&q).len, 38);
    assert_true(str_is(read_str(&q), "SELECT * FROM score"));
    assert_int_equal(reader_left(&q), 0);
    assert_int_equal(reader_left(&in), 0);
}

TEST(unsubscribe_is_read_with_both_flags)
{
    Reader in = of_hex("01020000000000000000");
    assert_false(read_good(&in).dropped_rows);
    in = of_hex("01020000000000000001");
    ClientMessage m = read_good(&in);
    assert_true(m.dropped_rows);
    assert_int_equal(m.request_id, 2);
}

TEST(one_off_queries_and_calls_are_read)
{
    Reader in = of_hex("02030000001300000053454c454354202a2046524f4d2073636f7265");
    ClientMessage m = read_good(&in);
    assert_int_equal(m.kind, MSG_ONE_OFF);
    assert_true(str_is(m.name, "SELECT * FROM score"));
    in = of_hex("030400000000080000006164645f757365720b00000003000000616e6e1e000000");
    m = read_good(&in);
    assert_int_equal(m.kind, MSG_CALL_REDUCER);
    assert_int_equal(m.request_id, 4);
    assert_true(str_is(m.name, "add_user"));
    assert_int_equal(m.args.len, 11);
    in = of_hex("0406000000000800000066657463685f69740400000001000000");
    m = read_good(&in);
    assert_int_equal(m.kind, MSG_CALL_PROCEDURE);
    assert_true(str_is(m.name, "fetch_it"));
}

TEST(two_messages_of_a_v3_frame_follow_each_other)
{
    Reader in = of_hex("000100000000000000010000001200000053454c454354202a2046524f4d2075736572030400000000080000006164645f757365720b0000000"
                       "3000000616e6e1e000000");
    assert_int_equal(read_good(&in).kind, MSG_SUBSCRIBE);
    assert_int_equal(read_good(&in).kind, MSG_CALL_REDUCER);
    assert_int_equal(reader_left(&in), 0);
}

TEST(damaged_messages_are_named)
{
    static const struct {
        const char *hex, *text;
    } cases[] = {
        {"", "data too short for u8: Expected 1, given 0"},
        {"05", "unknown tag 0x5 for sum type ClientMessage"},
        {"03040000", "data too short for u32: Expected 4, given 3"},
        {"030400000001", "unknown tag 0x1 for sum type CallReducerFlags"},
        {"040400000007", "unknown tag 0x7 for sum type CallProcedureFlags"},
        {"030400000000ffffffff61", "data too short for [u8]: Expected 4294967295, given 1"},
        {"03040000000001000000ff", "invalid utf8"},
        {"0300000000000100000061", "data too short for u32: Expected 4, given 0"},
        {"01020000000000000002", "unknown tag 0x2 for sum type UnsubscribeFlags"},
        {"00010000000000000001040000", "a query set of 1025 queries exceeds the limit of 1024"},
        {"000100000000000000020000000000", "data too short for u32: Expected 4, given 2"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Reader in = of_hex(cases[i].hex);
        ClientMessage m;
        Error err = {0};
        assert_int_equal(client_message_read(&m, &in, &err), S_INVALID);
        assert_string_equal(err.text, cases[i].text);
    }
}

TEST(every_prefix_of_a_message_is_refused_without_reading_past_it)
{
    const char *hex = "030400000000080000006164645f757365720b00000003000000616e6e1e000000";
    size_t n = strlen(hex) / 2;
    for (size_t len = 0; len < n; len++) {
        uint8_t *copy = malloc(len + 1);
        hex_decode(copy, len, (Str){hex, len * 2});
        copy = realloc(copy, len ? len : 1);
        Reader in = reader_of(bytes_of(copy, len));
        ClientMessage m;
        assert_int_equal(client_message_read(&m, &in, NULL), S_INVALID);
        free(copy);
    }
}

static void check_bytes(Buf *out, const char *expected)
{
    char hex[1024];
    assert_true(out->len < 500);
    hex_encode(hex, out->ptr, out->len);
    assert_string_equal(hex, expected);
    buf_reset(out);
}

TEST(small_server_messages_match_the_vectors)
{
    OWN(buf) Buf out = {0};
    uint8_t identity[32], connection[16];
    uint32_t request = 1;
    assert_true(identity_from_hex(identity, STR("c200000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d")));
    assert_true(connection_id_from_hex(connection, STR("00112233445566778899aabbccddeeff")));
    server_initial_connection(&out, identity, connection, STR("tok.en.x"));
    check_bytes(
        &out, "001d1c1b1a191817161514131211100f0e0d0c0b0a0908070605040302010000c2ffeeddccbbaa9988776655443322110008000000746f6b2e656e2e78");
    server_subscription_error(&out, &request, 0, STR("no such table"));
    check_bytes(&out, "030001000000000000000d0000006e6f2073756368207461626c65");
    server_subscription_error(&out, NULL, 0, STR("boom"));
    check_bytes(&out, "03010000000004000000626f6f6d");
    server_one_off_error(&out, 3, STR("bad query"));
    check_bytes(&out, "05030000000109000000626164207175657279");
    server_reducer_internal_error(&out, 4, 1700000000123456, STR("no such reducer"));
    check_bytes(&out, "060400000040222018240a0600030f0000006e6f20737563682072656475636572");
    server_procedure_internal_error(&out, 6, STR("No such procedure"));
    check_bytes(&out, "0701110000004e6f20737563682070726f6365647572650000000000000000000000000000000006000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subscribe_is_read),
        cmocka_unit_test(unsubscribe_is_read_with_both_flags),
        cmocka_unit_test(one_off_queries_and_calls_are_read),
        cmocka_unit_test(two_messages_of_a_v3_frame_follow_each_other),
        cmocka_unit_test(damaged_messages_are_named),
        cmocka_unit_test(every_prefix_of_a_message_is_refused_without_reading_past_it),
        cmocka_unit_test(small_server_messages_match_the_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
