/* egress_test.c - the egress policy and the records of requests; what happens on the wire is in tests/integration/procedures_test.mjs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/egress.h"
#include "host/worker/records.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

static bool permits(const EgressPolicy *p, const char *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return egress_permits(p, (const struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return egress_permits(p, (const struct sockaddr *)&v6);
}

static void special_addresses_are_refused_to_their_last_one(void **state)
{
    (void)state;
    static const char *const refused[] = {"0.0.0.0",
                                          "0.255.255.255",
                                          "10.0.0.1",
                                          "10.255.255.255",
                                          "100.64.0.0",
                                          "100.127.255.255",
                                          "127.0.0.1",
                                          "127.9.9.9",
                                          "169.254.169.254",
                                          "172.16.0.1",
                                          "172.31.255.255",
                                          "192.0.0.9",
                                          "192.0.2.1",
                                          "192.31.196.1",
                                          "192.52.193.1",
                                          "192.88.99.1",
                                          "192.168.0.1",
                                          "192.168.255.255",
                                          "192.175.48.1",
                                          "198.18.0.1",
                                          "198.19.255.255",
                                          "198.51.100.7",
                                          "203.0.113.7",
                                          "240.0.0.1",
                                          "255.255.255.255",
                                          "::",
                                          "::1",
                                          "::ffff:8.8.8.8",
                                          "64:ff9b::1",
                                          "64:ff9b:1::1",
                                          "100::1",
                                          "100:0:0:1::1",
                                          "2001::1",
                                          "2001:1ff:ffff::1",
                                          "2001:db8::1",
                                          "2002::1",
                                          "2620:4f:8000::1",
                                          "3fff:fff::1",
                                          "5f00::1",
                                          "fc00::1",
                                          "fdff::1",
                                          "fe80::1",
                                          "febf::1",
                                          "224.0.0.1",
                                          "ff02::1"};
    static const char *const permitted[] = {
        "1.0.0.0",     "9.255.255.255", "11.0.0.0",        "100.63.255.255", "100.128.0.0",  "126.255.255.255", "128.0.0.1",
        "169.253.0.1", "172.15.0.1",    "172.32.0.0",      "192.0.1.1",      "192.167.0.1",  "192.169.0.1",     "198.17.255.255",
        "198.20.0.0",  "203.0.114.0",   "223.255.255.1",   "8.8.8.8",        "2001:200::1",  "2001:4860::1",    "2003::1",
        "3ffe::1",     "4000::1",       "2620:4f:8001::1", "100:0:0:2::1",   "64:ff9b:2::1", "2606:4700::1"};
    EgressPolicy p = {0};
    for (size_t i = 0; i < COUNT_OF(refused); i++)
        if (permits(&p, refused[i]))
            fail_msg("%s", refused[i]);
    for (size_t i = 0; i < COUNT_OF(permitted); i++)
        if (!permits(&p, permitted[i]))
            fail_msg("%s", permitted[i]);
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    assert_false(egress_permits(&p, (const struct sockaddr *)&local));
    p.off = true;
    assert_false(permits(&p, "8.8.8.8"));
}

static void the_operator_allows_ranges(void **state)
{
    (void)state;
    EgressPolicy p = {0};
    Error err;
    assert_int_equal(egress_allow(&p, "127.0.0.2/32,10.1.2.3/12,fd00::/8,192.168.1.7,::1", &err), S_OK);
    assert_true(permits(&p, "127.0.0.2") && permits(&p, "10.15.255.255") && permits(&p, "fdff::1") && permits(&p, "192.168.1.7"));
    assert_true(permits(&p, "::1") && permits(&p, "8.8.8.8"));
    assert_false(permits(&p, "127.0.0.1") || permits(&p, "10.16.0.0") || permits(&p, "fc00::1") || permits(&p, "192.168.1.6"));
    assert_false(permits(&p, "::ffff:127.0.0.2"));
    static const char *const wrong[] = {"",         "x",           "10.0.0.0/33", "::/129",     "10.0.0.0/",
                                        "10.0.0/8", "10.0.0.0/8,", "10.0.0.0/-1", "1.2.3.4/8x", "localhost"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        EgressPolicy q = {0};
        if (egress_allow(&q, wrong[i], &err) != S_INVALID)
            fail_msg("%s", wrong[i]);
    }
    EgressPolicy all = {0};
    assert_int_equal(egress_allow(&all, "0.0.0.0/0,::/0", &err), S_OK);
    assert_true(permits(&all, "127.0.0.1") && permits(&all, "::1"));
    assert_int_equal(egress_timeout_ms(0), 30000);
    assert_int_equal(egress_timeout_ms(100), 100);
    assert_int_equal(egress_timeout_ms(3600000), 180000);
}

static void a_request_is_checked_before_anything_believes_it(void **state)
{
    (void)state;
    Buf b = {0};
    Arena arena = {0};
    EgressRequest r;
    Error err;
#define REQUEST(method, url, name, value)                                                                                                  \
    (buf_reset(&b), buf_put_u32(&b, 5), buf_put_str(&b, STR(method)), buf_put_str(&b, STR(url)), buf_put_u32(&b, 1),                       \
     buf_put_str(&b, STR(name)), buf_put_blob(&b, str_bytes(STR(value))), buf_put_blob(&b, str_bytes(STR("body"))),                        \
     egress_request_read(&r, buf_bytes(&b), &arena, &err))
    assert_int_equal(REQUEST("GET", "http://x/", "A-b", "v\t\xff"), S_OK);
    assert_true(r.timeout_ms == 5 && r.nheaders == 1 && str_is(r.headers[0].name, "A-b") && r.body.len == 4);
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(egress_request_read(&r, bytes_of(b.ptr, i), &arena, &err), S_INVALID);
    assert_int_equal(REQUEST("G T", "http://x/", "A", "v"), S_INVALID);
    assert_int_equal(REQUEST("", "http://x/", "A", "v"), S_INVALID);
    assert_int_equal(REQUEST("GET", "http://x/\n", "A", "v"), S_INVALID);
    assert_int_equal(REQUEST("GET", "", "A", "v"), S_INVALID);
    assert_int_equal(REQUEST("GET", "http://x/", "A:", "v"), S_INVALID);
    assert_int_equal(REQUEST("GET", "http://x/", "A", "v\r\nB: c"), S_INVALID);
    assert_int_equal(REQUEST("GET", "http://x/", "", "v"), S_INVALID);
    assert_int_equal(REQUEST("GET", "http://x/", "A", "v"), S_OK);
    store_u32(b.ptr + 4 + 4 + 3 + 4 + 9, 0x40000000); /* a count that is not there */
    assert_int_equal(egress_request_read(&r, buf_bytes(&b), &arena, &err), S_INVALID);
    arena_done(&arena);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(special_addresses_are_refused_to_their_last_one),
        cmocka_unit_test(the_operator_allows_ranges),
        cmocka_unit_test(a_request_is_checked_before_anything_believes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
