/* Hashes, identities and database names against published vectors (http-api.md 3.1, 3.2, 5.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "host/wire/identity.h"

#define TEST(name) static void name(void **state __attribute__((unused)))

static Bytes counting(Buf *b, size_t n)
{ /* the input of the official BLAKE3 vectors: 0, 1, .. 250, 0, 1, .. */
    buf_reset(b);
    for (size_t i = 0; i < n; i++)
        buf_put_u8(b, (uint8_t)(i % 251));
    return buf_bytes(b);
}

TEST(blake3_agrees_with_the_official_vectors)
{
    static const struct {
        size_t n;
        const char *hex;
    } cases[] = {
        {0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"},
        {1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"},
        {1023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11"},
        {1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"},
        {1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"},
        {2048, "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a"},
        {2049, "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030"},
        {5120, "9cadc15fed8b5d854562b26a9536d9707cadeda9b143978f319ab34230535833"},
        {31744, "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47"},
    };
    OWN(buf) Buf in = {0};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t out[32];
        char hex[65];
        blake3_256(out, counting(&in, cases[i].n));
        hex_encode(hex, out, 32);
        assert_string_equal(hex, cases[i].hex);
    }
}

TEST(keccak_agrees_with_known_digests)
{
    static const struct {
        const char *in, *hex;
    } cases[] = {
        {"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"},
        {"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"},
        {"The quick brown fox jumps over the lazy dog", "4d741b6f1eb29cb2a9b9911c82f56fa8d73b04959d3d9d222895df6c0b28aa15"},
    };
    uint8_t out[32];
    char hex[65];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        keccak_256(out, str_bytes(str_of(cases[i].in)));
        hex_encode(hex, out, 32);
        assert_string_equal(hex, cases[i].hex);
    }
}

TEST(keccak_pads_blocks_of_every_length)
{ /* no crash, and no two neighbours alike, around the rate of 136 bytes */
    OWN(buf) Buf in = {0};
    uint8_t last[32] = {0}, out[32];
    for (size_t n = 130; n < 280; n++) {
        keccak_256(out, counting(&in, n));
        assert_memory_not_equal(out, last, 32);
        memcpy(last, out, 32);
    }
}

TEST(identities_come_from_issuer_and_subject)
{
    uint8_t id[32], again[32];
    char hex[65];
    identity_from_claims(id, STR("localhost"), STR("6d4b5430-00cf-4a99-932c-ad2d07bab841"));
    identity_to_hex(hex, id);
    assert_string_equal(hex, "c200483152d642c7d402de06cacc36dcb0c2a1f2bbeb8e7d5a673f2435cca975");
    assert_true(identity_from_hex(again, str_of(hex)));
    assert_memory_equal(id, again, 32);
    assert_int_equal(id[31], 0xc2);
    identity_from_claims(id, STR("localhost"), STR("alice"));
    identity_to_hex(hex, id);
    assert_string_equal(hex, "c20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265d");
}

TEST(identity_text_is_accepted_with_its_prefixes_only)
{
    const char *hex = "c20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265D";
    uint8_t plain[32], other[32];
    char text[100];
    assert_true(identity_from_hex(plain, str_of(hex)));
    strcpy(text, "0x"), strcat(text, hex);
    assert_true(identity_from_hex(other, str_of(text)));
    assert_memory_equal(plain, other, 32);
    strcpy(text, "X'"), strcat(text, hex);
    assert_true(identity_from_hex(other, str_of(text)));
    strcat(text, "'");
    assert_true(identity_from_hex(other, str_of(text)));
    assert_false(identity_from_hex(other, (Str){hex, 63}));
    assert_false(identity_from_hex(other, STR("0x")));
    assert_false(identity_from_hex(other, STR("")));
}

TEST(connection_ids_are_exactly_32_digits_big_endian)
{
    uint8_t id[16];
    char hex[33];
    assert_true(connection_id_from_hex(id, STR("00112233445566778899AABBCCDDEEFF")));
    assert_int_equal(id[0], 0xff);
    assert_int_equal(id[15], 0x00);
    connection_id_to_hex(hex, id);
    assert_string_equal(hex, "00112233445566778899aabbccddeeff");
    assert_false(connection_id_from_hex(id, STR("0x112233445566778899AABBCCDDEEFF")));
    assert_false(connection_id_from_hex(id, STR("0011")));
}

static void check_name(const char *name, const char *text)
{
    Error err = {0};
    Status s = database_name_check(str_of(name), &err);
    assert_int_equal(s, text ? S_INVALID : S_OK);
    if (text)
        assert_string_equal(err.text, text);
}

TEST(database_names_follow_their_grammar)
{
    check_name("a", NULL);
    check_name("my-db-2", NULL);
    check_name("0", NULL);
    check_name("", "database names cannot be empty");
    check_name("-a", "invalid hyphen in database name");
    check_name("a-", "invalid hyphen in database name");
    check_name("a--b", "invalid hyphen in database name");
    check_name("A", "invalid characters in database name");
    check_name("a_b", "invalid characters in database name");
    check_name("a/b", "invalid characters in database name");
    check_name("c20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265d", "database names cannot be identities");
    char name[66];
    memset(name, 'a', 65);
    name[65] = 0;
    check_name(name, "database names cannot be longer than 64 characters");
    name[0] = 'z', name[64] = 0;
    check_name(name, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blake3_agrees_with_the_official_vectors),
        cmocka_unit_test(keccak_agrees_with_known_digests),
        cmocka_unit_test(keccak_pads_blocks_of_every_length),
        cmocka_unit_test(identities_come_from_issuer_and_subject),
        cmocka_unit_test(identity_text_is_accepted_with_its_prefixes_only),
        cmocka_unit_test(connection_ids_are_exactly_32_digits_big_endian),
        cmocka_unit_test(database_names_follow_their_grammar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
