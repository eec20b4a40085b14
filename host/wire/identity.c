#include "host/wire/identity.h"

/* ---- BLAKE3 (hash mode, 256 bits) ------------------------------------------------------------- */

enum { BLAKE3_CHUNK_BYTES = 1024, BLAKE3_BLOCK_BYTES = 64 };
enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8 };

static const uint32_t blake3_iv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
static const uint8_t blake3_permutation[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};

static inline uint32_t ror32(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

static void blake3_mix(uint32_t *s, int a, int b, int c, int d, uint32_t x, uint32_t y)
{
    s[a] += s[b] + x;
    s[d] = ror32(s[d] ^ s[a], 16);
    s[c] += s[d];
    s[b] = ror32(s[b] ^ s[c], 12);
    s[a] += s[b] + y;
    s[d] = ror32(s[d] ^ s[a], 8);
    s[c] += s[d];
    s[b] = ror32(s[b] ^ s[c], 7);
}

/* The first eight words of the compression of one block; `cv` is replaced by them. */
static void blake3_compress(uint32_t cv[8], const uint8_t block[BLAKE3_BLOCK_BYTES], uint64_t counter, uint32_t len, uint32_t flags)
{
    uint32_t m[16], s[16];
    memcpy(m, block, sizeof m);
    memcpy(s, cv, 32);
    memcpy(s + 8, blake3_iv, 16);
    s[12] = (uint32_t)counter;
    s[13] = (uint32_t)(counter >> 32);
    s[14] = len;
    s[15] = flags;
    for (int round = 0; round < 7; round++) {
        for (int i = 0; i < 4; i++)
            blake3_mix(s, i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1]);
        for (int i = 0; i < 4; i++)
            blake3_mix(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[8 + 2 * i], m[9 + 2 * i]);
        uint32_t p[16];
        for (int i = 0; i < 16; i++)
            p[i] = m[blake3_permutation[i]];
        memcpy(m, p, sizeof m);
    }
    for (int i = 0; i < 8; i++)
        cv[i] = s[i] ^ s[i + 8];
}

/* The chaining value of one chunk; `root` when it is the only one. */
static void blake3_chunk(uint32_t cv[8], Bytes in, uint64_t counter, uint32_t root)
{
    memcpy(cv, blake3_iv, 32);
    uint32_t start = CHUNK_START;
    do {
        uint8_t block[BLAKE3_BLOCK_BYTES] = {0};
        size_t n = MIN(in.len, (size_t)BLAKE3_BLOCK_BYTES);
        if (n)
            memcpy(block, in.ptr, n);
        in.ptr = n ? in.ptr + n : in.ptr;
        in.len -= n;
        blake3_compress(cv, block, counter, (uint32_t)n, start | (in.len ? 0 : CHUNK_END | root));
        start = 0;
    } while (in.len);
}

/* A tree whose left side is always the largest full power of two of chunks: recursion depth is at most 54. */
static void blake3_tree(uint32_t cv[8], Bytes in, uint64_t counter, uint32_t root)
{
    if (in.len <= BLAKE3_CHUNK_BYTES) {
        blake3_chunk(cv, in, counter, root);
        return;
    }
    size_t left = BLAKE3_CHUNK_BYTES;
    while (left * 2 < in.len)
        left *= 2;
    uint32_t pair[16];
    blake3_tree(pair, (Bytes){in.ptr, left}, counter, 0);
    blake3_tree(pair + 8, (Bytes){in.ptr + left, in.len - left}, counter + left / BLAKE3_CHUNK_BYTES, 0);
    uint8_t block[BLAKE3_BLOCK_BYTES];
    memcpy(block, pair, sizeof block);
    memcpy(cv, blake3_iv, 32);
    blake3_compress(cv, block, 0, BLAKE3_BLOCK_BYTES, PARENT | root);
}

void blake3_256(uint8_t out[32], Bytes input)
{
    uint32_t cv[8];
    blake3_tree(cv, input, 0, ROOT);
    memcpy(out, cv, 32);
}

/* ---- Keccak-256 (rate 1088, padding 0x01) ------------------------------------------------------ */

enum { KECCAK_RATE_BYTES = 136, KECCAK_ROUNDS = 24 };

static inline uint64_t rol64(uint64_t x, unsigned n) { return n ? x << n | x >> (64 - n) : x; }

/* The round constants are the output of the degree-8 LFSR of the Keccak reference, section 1.2. */
static uint64_t keccak_round_constant(uint8_t *lfsr)
{
    uint64_t rc = 0;
    for (int j = 0; j < 7; j++) {
        if (*lfsr & 1)
            rc |= 1ull << ((1u << j) - 1);
        *lfsr = (uint8_t)(*lfsr << 1 ^ (*lfsr & 0x80 ? 0x71 : 0));
    }
    return rc;
}

static void keccak_permute(uint64_t a[25])
{
    uint8_t lfsr = 1;
    for (int round = 0; round < KECCAK_ROUNDS; round++) {
        uint64_t c[5], b[25];
        for (int x = 0; x < 5; x++)
            c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
        for (int x = 0; x < 5; x++)
            for (int y = 0; y < 25; y += 5)
                a[x + y] ^= c[(x + 4) % 5] ^ rol64(c[(x + 1) % 5], 1);
        memcpy(b, a, sizeof b);
        int x = 1, y = 0;
        for (unsigned t = 0; t < 24; t++) { /* rho and pi: lane (x,y) goes to (y, 2x+3y) */
            int nx = y, ny = (2 * x + 3 * y) % 5;
            b[nx + 5 * ny] = rol64(a[x + 5 * y], (t + 1) * (t + 2) / 2 % 64);
            x = nx, y = ny;
        }
        for (y = 0; y < 25; y += 5)
            for (x = 0; x < 5; x++)
                a[x + y] = b[x + y] ^ (~b[(x + 1) % 5 + y] & b[(x + 2) % 5 + y]);
        a[0] ^= keccak_round_constant(&lfsr);
    }
}

static void keccak_absorb(uint64_t a[25], const uint8_t block[KECCAK_RATE_BYTES])
{
    for (int i = 0; i < KECCAK_RATE_BYTES / 8; i++)
        a[i] ^= load_u64(block + 8 * i);
    keccak_permute(a);
}

void keccak_256(uint8_t out[32], Bytes in)
{
    uint64_t a[25] = {0};
    for (; in.len >= KECCAK_RATE_BYTES; in.ptr += KECCAK_RATE_BYTES, in.len -= KECCAK_RATE_BYTES)
        keccak_absorb(a, in.ptr);
    uint8_t last[KECCAK_RATE_BYTES] = {0};
    if (in.len)
        memcpy(last, in.ptr, in.len);
    last[in.len] ^= 0x01;
    last[KECCAK_RATE_BYTES - 1] ^= 0x80;
    keccak_absorb(a, last);
    memcpy(out, a, 32);
}

/* ---- identities -------------------------------------------------------------------------------- */

static void reverse(uint8_t *out, const uint8_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = in[n - 1 - i];
}

void identity_from_claims(uint8_t out[32], Str issuer, Str subject)
{
    OWN(buf) Buf text = {0};
    buf_put_str_raw(&text, issuer);
    buf_put_u8(&text, '|');
    buf_put_str_raw(&text, subject);
    uint8_t claims[32], check[32], tail[28] = {0xc2, 0x00}, be[32] = {0xc2, 0x00};
    blake3_256(claims, buf_bytes(&text));
    memcpy(tail + 2, claims, 26);
    blake3_256(check, bytes_of(tail, sizeof tail));
    memcpy(be + 2, check, 4);
    memcpy(be + 6, claims, 26);
    reverse(out, be, 32);
}

void identity_to_hex(char out[65], const uint8_t identity[32])
{
    uint8_t be[32];
    reverse(be, identity, 32);
    hex_encode(out, be, 32);
}

bool identity_from_hex(uint8_t out[32], Str hex)
{
    if (hex.len >= 2 && hex.ptr[0] == '0' && hex.ptr[1] == 'x') {
        hex = (Str){hex.ptr + 2, hex.len - 2};
    } else if (hex.len >= 2 && hex.ptr[0] == 'X' && hex.ptr[1] == '\'') {
        hex = (Str){hex.ptr + 2, hex.len - 2};
        if (hex.len == 65 && hex.ptr[64] == '\'')
            hex.len--;
    }
    uint8_t be[32];
    if (!hex_decode(be, 32, hex))
        return false;
    reverse(out, be, 32);
    return true;
}

void connection_id_to_hex(char out[33], const uint8_t id[16])
{
    uint8_t be[16];
    reverse(be, id, 16);
    hex_encode(out, be, 16);
}

bool connection_id_from_hex(uint8_t out[16], Str hex)
{
    uint8_t be[16];
    if (!hex_decode(be, 16, hex))
        return false;
    reverse(out, be, 16);
    return true;
}

enum { DATABASE_NAME_BYTES_MAX = 64 };

Status database_name_check(Str name, Error *err)
{
    uint8_t identity[32];
    if (identity_from_hex(identity, name))
        return FAIL(err, S_INVALID, "database names cannot be identities");
    if (name.len == 0)
        return FAIL(err, S_INVALID, "database names cannot be empty");
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == '-') {
            if (i == 0 || i + 1 == name.len || name.ptr[i - 1] == '-')
                return FAIL(err, S_INVALID, "invalid hyphen in database name");
        } else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) {
            return FAIL(err, S_INVALID, "invalid characters in database name");
        }
    }
    if (name.len > DATABASE_NAME_BYTES_MAX)
        return FAIL(err, S_INVALID, "database names cannot be longer than %d characters", DATABASE_NAME_BYTES_MAX);
    return S_OK;
}
