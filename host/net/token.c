#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/net/net_int.h"
#include "host/wire/identity.h"
#include "host/wire/sats_json.h"

/* Texts and order of checks: http-api.md 3.3 and 3.4. */

enum { CACHE_SETS = 256, CACHE_WAYS = 4, LEEWAY_S = 60, WEBSOCKET_TOKEN_S = 60, CLAIM_BYTES_MAX = 128, KEY_FILE_BYTES_MAX = 16 << 10 };
#define LOCAL_ISSUER "localhost"

typedef struct CacheEntry {
    uint64_t hash, used;
    char *token;
    size_t len;
    TokenInfo info;
} CacheEntry;
struct Tokens {
    EVP_PKEY *private_key, *public_key;
    Buf pem;
    uint64_t clock;
    CacheEntry cache[CACHE_SETS][CACHE_WAYS];
};

/* ---- base64url, without padding -------------------------------------------------------------------- */

static void base64url_encode(Buf *out, Bytes in)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = MIN(in.len - i, (size_t)3);
        uint32_t v = (uint32_t)in.ptr[i] << 16 | (n > 1 ? (uint32_t)in.ptr[i + 1] << 8 : 0) | (n > 2 ? in.ptr[i + 2] : 0u);
        for (size_t k = 0; k <= n; k++)
            buf_put_u8(out, (uint8_t)digits[v >> (18 - 6 * k) & 63]);
    }
}

static int base64url_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

static bool base64url_decode(Buf *out, Str in)
{
    if (in.len % 4 == 1)
        return false;
    uint32_t v = 0;
    int bits = 0;
    for (size_t i = 0; i < in.len; i++) {
        int d = base64url_digit(in.ptr[i]);
        if (d < 0)
            return false;
        v = v << 6 | (uint32_t)d;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buf_put_u8(out, (uint8_t)(v >> bits));
        }
    }
    return (v & ((1u << bits) - 1)) == 0; /* no stray bits behind the last byte */
}

/* ---- keys --------------------------------------------------------------------------------------------- */

static const char *ssl_reason(void)
{
    unsigned long e = ERR_get_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return text ? text : "unknown reason";
}

static Status read_key_file(Buf *out, const char *path, const char *what, Error *err)
{
    OWN(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FAIL(err, S_IO, "%s: %s: %s", what, path, strerror(errno));
    char chunk[4096];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0 && out->len <= KEY_FILE_BYTES_MAX)
        buf_put(out, chunk, (size_t)n);
    if (n < 0)
        return FAIL(err, S_IO, "%s: %s: %s", what, path, strerror(errno));
    if (out->len == 0 || out->len > KEY_FILE_BYTES_MAX)
        return FAIL(err, S_INVALID, "%s: %s: not a PEM file", what, path);
    return S_OK;
}

static Status write_key_file(const char *path, Bytes content, Error *err)
{
    OWN(fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return FAIL(err, S_IO, "cannot create the key file %s: %s", path, strerror(errno));
    if (write(fd, content.ptr, content.len) != (ssize_t)content.len || fsync(fd) < 0)
        return FAIL(err, S_IO, "cannot write the key file %s: %s", path, strerror(errno));
    return S_OK;
}

static Status generate_keys(const char *private_path, const char *public_path, Error *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *secret = BIO_new(BIO_s_mem()), *open_ = BIO_new(BIO_s_mem());
    Status s = S_OK;
    char *p;
    if (!key || !secret || !open_ || PEM_write_bio_PKCS8PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) != 1 ||
        PEM_write_bio_PUBKEY(open_, key) != 1)
        s = FAIL(err, S_INTERNAL, "cannot generate a key pair: %s", ssl_reason());
    if (s == S_OK) {
        long n = BIO_get_mem_data(secret, &p);
        s = write_key_file(private_path, bytes_of(p, (size_t)n), err);
    }
    if (s == S_OK) {
        long n = BIO_get_mem_data(open_, &p);
        s = write_key_file(public_path, bytes_of(p, (size_t)n), err);
        if (s != S_OK)
            unlink(private_path); /* both or none */
    }
    BIO_free(secret);
    BIO_free(open_);
    EVP_PKEY_free(key);
    return s;
}

static Status check_keys(const Tokens *t, Error *err)
{
    char group[64] = "";
    size_t n = 0;
    if (!EVP_PKEY_is_a(t->private_key, "EC") ||
        EVP_PKEY_get_utf8_string_param(t->private_key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, &n) != 1 ||
        strcmp(group, "prime256v1") != 0)
        return FAIL(err, S_INVALID, "the private key for tokens is not a P-256 key");
    if (EVP_PKEY_eq(t->private_key, t->public_key) != 1)
        return FAIL(err, S_INVALID, "the private and the public key for tokens do not belong together");
    return S_OK;
}

static Status load_keys(Tokens *t, const char *private_path, const char *public_path, Error *err)
{
    OWN(buf) Buf pem = {0};
    TRY(read_key_file(&t->pem, public_path, "Unable to read public key for JWT token verification", err));
    TRY(read_key_file(&pem, private_path, "Unable to read private key for JWT token signing", err));
    BIO *secret = BIO_new_mem_buf(pem.ptr, (int)pem.len), *open_ = BIO_new_mem_buf(t->pem.ptr, (int)t->pem.len);
    if (secret && open_) {
        t->private_key = PEM_read_bio_PrivateKey(secret, NULL, NULL, (void *)"");
        t->public_key = PEM_read_bio_PUBKEY(open_, NULL, NULL, NULL);
    }
    BIO_free(secret);
    BIO_free(open_);
    OPENSSL_cleanse(pem.ptr, pem.len);
    if (!t->private_key)
        return FAIL(err, S_INVALID, "Unable to read private key for JWT token signing: %s: %s", private_path, ssl_reason());
    if (!t->public_key)
        return FAIL(err, S_INVALID, "Unable to read public key for JWT token verification: %s: %s", public_path, ssl_reason());
    return check_keys(t, err);
}

Status tokens_open(Tokens **ret, const char *key_dir, Error *err)
{
    OWN(free) char *private_path = x_sprintf("%s/id_ecdsa", key_dir);
    OWN(free) char *public_path = x_sprintf("%s/id_ecdsa.pub", key_dir);
    if (access(private_path, F_OK) < 0 && access(public_path, F_OK) < 0)
        TRY(generate_keys(private_path, public_path, err));
    Tokens *t = NEW(Tokens);
    Status s = load_keys(t, private_path, public_path, err);
    if (s != S_OK) {
        tokens_free(t);
        return s;
    }
    *ret = t;
    return S_OK;
}

void tokens_free(Tokens *t)
{
    if (!t)
        return;
    for (int i = 0; i < CACHE_SETS; i++)
        for (int k = 0; k < CACHE_WAYS; k++)
            free(t->cache[i][k].token);
    EVP_PKEY_free(t->private_key);
    EVP_PKEY_free(t->public_key);
    buf_done(&t->pem);
    free(t);
}

Str tokens_public_pem(const Tokens *t) { return buf_str(&t->pem); }

/* ---- signing -------------------------------------------------------------------------------------------- */

/* `out` holds "HEADER.PAYLOAD" from `start` on; appends ".SIGNATURE". */
static Status sign(const Tokens *t, Buf *out, size_t start, Error *err)
{
    uint8_t der[128], raw[64];
    size_t n = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, t->private_key) == 1 &&
              EVP_DigestSign(ctx, der, &n, out->ptr + start, out->len - start) == 1;
    EVP_MD_CTX_free(ctx);
    const uint8_t *p = der;
    ECDSA_SIG *sig = ok ? d2i_ECDSA_SIG(NULL, &p, (long)n) : NULL;
    ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32) == 32 && BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32) == 32;
    ECDSA_SIG_free(sig);
    if (!ok)
        return FAIL(err, S_INTERNAL, "cannot sign a token: %s", ssl_reason());
    buf_put_u8(out, '.');
    base64url_encode(out, bytes_of(raw, sizeof raw));
    return S_OK;
}

static Status sign_payload(const Tokens *t, Buf *out, Bytes payload, Error *err)
{
    static const char header[] = "{\"typ\":\"JWT\",\"alg\":\"ES256\"}";
    size_t start = out->len;
    base64url_encode(out, bytes_of(header, sizeof header - 1));
    buf_put_u8(out, '.');
    base64url_encode(out, payload);
    return sign(t, out, start, err);
}

static Status random_uuid(char out[37], Error *err)
{
    uint8_t b[16];
    char hex[33];
    TRY(random_fill(b, sizeof b, err));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    hex_encode(hex, b, 16);
    snprintf(out, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return S_OK;
}

Status token_mint(const Tokens *t, uint8_t ret_identity[32], char *ret_token, size_t size, Error *err)
{
    char subject[37], hex[65];
    uint8_t identity[32];
    OWN(buf) Buf payload = {0}, token = {0};
    TRY(random_uuid(subject, err));
    identity_from_claims(identity, STR(LOCAL_ISSUER), str_of(subject));
    identity_to_hex(hex, identity);
    buf_printf(&payload,
               "{\"hex_identity\":\"%s\",\"sub\":\"%s\",\"iss\":\"" LOCAL_ISSUER "\",\"aud\":[\"spacetimedb\"],\"iat\":%lld,\"exp\":null}",
               hex, subject, (long long)(clock_wall_us() / 1000000));
    TRY(sign_payload(t, &token, buf_bytes(&payload), err));
    if (token.len >= size)
        return FAIL(err, S_TOO_LARGE, "a token of %zu bytes does not fit into %zu", token.len, size);
    memcpy(ret_token, buf_cstr(&token), token.len + 1);
    memcpy(ret_identity, identity, 32);
    return S_OK;
}

/* ---- verifying -------------------------------------------------------------------------------------------- */

typedef struct Parts {
    Str header, payload, signature, signed_text;
} Parts;

static bool split(Str token, Parts *ret)
{
    const char *first = token.len ? memchr(token.ptr, '.', token.len) : NULL;
    const char *end = token.ptr + token.len;
    const char *second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (!second || memchr(second + 1, '.', (size_t)(end - second - 1)))
        return false;
    *ret = (Parts){{token.ptr, (size_t)(first - token.ptr)},
                   {first + 1, (size_t)(second - first - 1)},
                   {second + 1, (size_t)(end - second - 1)},
                   {token.ptr, (size_t)(second - token.ptr)}};
    return true;
}

static Status decode_json(Str part, json_t **ret, Error *err)
{
    OWN(buf) Buf text = {0};
    if (!base64url_decode(&text, part))
        return FAIL(err, S_DENIED, "Invalid token: Base64 error: Invalid input");
    json_error_t e;
    *ret = json_loadb((const char *)buf_cstr(&text), text.len, JSON_REJECT_DUPLICATES, &e);
    if (!*ret)
        return FAIL(err, S_DENIED, "Invalid token: JSON error: %s", e.text);
    if (json_is_object(*ret))
        return S_OK;
    json_decref(*ret);
    return FAIL(err, S_DENIED, "Invalid token: JSON error: expected an object");
}

void token_claims(Str token, Buf *out)
{
    Parts p;
    size_t before = out->len;
    if (!split(token, &p) || !base64url_decode(out, p.payload))
        out->len = before;
}

static bool signature_is_ours(const Tokens *t, const Parts *p)
{
    OWN(buf) Buf raw = {0};
    if (!base64url_decode(&raw, p->signature) || raw.len != 64)
        return false;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw.ptr, 32, NULL), *s = BN_bin2bn(raw.ptr + 32, 32, NULL);
    uint8_t *der = NULL;
    int n = -1;
    if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
        n = i2d_ECDSA_SIG(sig, &der);
    } else {
        BN_free(r);
        BN_free(s);
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = n > 0 && ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, t->public_key) == 1 &&
              EVP_DigestVerify(ctx, der, (size_t)n, (const uint8_t *)p->signed_text.ptr, p->signed_text.len) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    ERR_clear_error();
    return ok;
}

static Str member(const json_t *o, const char *name)
{
    const json_t *v = json_object_get(o, name);
    return json_is_string(v) ? (Str){json_string_value(v), json_string_length(v)} : (Str){0};
}

static Status check_claim(Str v, const char *claim, const char *name, Error *err)
{
    if (!v.ptr)
        return FAIL(err, S_DENIED, "Invalid token: Missing required claim: %s", claim);
    if (v.len == 0)
        return FAIL(err, S_DENIED, "%s empty", name);
    if (v.len > CLAIM_BYTES_MAX)
        return FAIL(err, S_DENIED, "%s too long: %.*s", name, (int)MIN(v.len, (size_t)300), v.ptr);
    return S_OK;
}

static Status check_claims(const json_t *claims, TokenInfo *ret, Error *err)
{
    Str issuer = member(claims, "iss"), subject = member(claims, "sub"), hex = member(claims, "hex_identity");
    const json_t *exp = json_object_get(claims, "exp"), *iat = json_object_get(claims, "iat"), *aud = json_object_get(claims, "aud");
    if (exp && !json_is_null(exp) && !json_is_integer(exp))
        return FAIL(err, S_DENIED, "Invalid token: JSON error: invalid type for claim exp, expected an integer");
    ret->exp = json_is_integer(exp) ? json_integer_value(exp) : INT64_MAX;
    if (ret->exp != INT64_MAX && ret->exp < clock_wall_us() / 1000000 - LEEWAY_S)
        return FAIL(err, S_DENIED, "Invalid token: ExpiredSignature");
    TRY(check_claim(issuer, "iss", "Issuer", err));
    TRY(check_claim(subject, "sub", "Subject", err));
    if (!json_is_integer(iat))
        return FAIL(err, S_DENIED,
                    iat ? "Invalid token: JSON error: invalid type for claim iat, expected an integer"
                        : "Invalid token: Missing required claim: iat");
    if (aud && !json_is_null(aud) && !json_is_string(aud) && !json_is_array(aud))
        return FAIL(err, S_DENIED, "Invalid token: JSON error: invalid type for claim aud, expected a string or an array");
    identity_from_claims(ret->identity, issuer, subject);
    char computed[65];
    identity_to_hex(computed, ret->identity);
    if (hex.ptr && !str_is(hex, computed))
        return FAIL(err, S_DENIED, "Identity mismatch: the token says %.*s, its issuer and subject give %s", (int)MIN(hex.len, (size_t)64),
                    hex.ptr, computed);
    return S_OK;
}

/* Not signed by our key: an issuer of our own name is wrong; another one would have to be asked. */
static Status refuse_foreign(const Parts *p, Error *err)
{
    json_t *claims;
    TRY(decode_json(p->payload, &claims, err));
    Str issuer = member(claims, "iss");
    Status s;
    if (!issuer.ptr || str_is(issuer, LOCAL_ISSUER))
        s = FAIL(err, S_DENIED, issuer.ptr ? "Invalid token: InvalidSignature" : "Invalid token: Missing required claim: iss");
    else
        s = FAIL(err, S_DENIED, "Error fetching public key for issuer %.*s: this host accepts only tokens that it signed itself",
                 (int)MIN(issuer.len, (size_t)CLAIM_BYTES_MAX), issuer.ptr);
    json_decref(claims);
    return s;
}

Status token_verify(const Tokens *t, Str token, TokenInfo *ret, Error *err)
{
    Parts p;
    json_t *header = NULL, *claims = NULL;
    if (!split(token, &p))
        return FAIL(err, S_DENIED, "Invalid token: InvalidToken");
    TRY(decode_json(p.header, &header, err));
    bool es256 = str_is(member(header, "alg"), "ES256"); /* the algorithm that fits our key; no other may pick how it is used */
    json_decref(header);
    if (!es256 || !signature_is_ours(t, &p))
        return refuse_foreign(&p, err);
    TRY(decode_json(p.payload, &claims, err));
    TokenInfo info;
    Status s = check_claims(claims, &info, err);
    json_decref(claims);
    if (s == S_OK)
        *ret = info;
    return s;
}

Status token_resign(const Tokens *t, Str verified, Buf *out, Error *err)
{
    Parts p;
    json_t *claims, *v;
    const char *name;
    if (!split(verified, &p))
        return FAIL(err, S_DENIED, "Invalid token: InvalidToken");
    TRY(decode_json(p.payload, &claims, err));
    Str issuer = member(claims, "iss"), subject = member(claims, "sub");
    uint8_t identity[32];
    char hex[65];
    identity_from_claims(identity, issuer, subject);
    identity_to_hex(hex, identity);
    OWN(buf) Buf payload = {0};
    long long now = (long long)(clock_wall_us() / 1000000);
    buf_printf(&payload, "{\"hex_identity\":\"%s\",\"sub\":", hex);
    json_put_string(&payload, subject);
    buf_put_text(&payload, ",\"iss\":");
    json_put_string(&payload, issuer);
    char *aud = json_object_get(claims, "aud") ? json_dumps(json_object_get(claims, "aud"), JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    buf_printf(&payload, ",\"aud\":%s,\"iat\":%lld,\"exp\":%lld", aud ? aud : "[]", now, now + WEBSOCKET_TOKEN_S);
    free(aud);
    json_object_foreach(claims, name, v)
    {
        static const char *const known[] = {"hex_identity", "sub", "iss", "aud", "iat", "exp"};
        bool skip = false;
        for (size_t i = 0; i < COUNT_OF(known); i++)
            skip = skip || strcmp(name, known[i]) == 0;
        char *text = skip ? NULL : json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
        if (!text)
            continue;
        buf_put_u8(&payload, ',');
        json_put_string(&payload, str_of(name));
        buf_printf(&payload, ":%s", text);
        free(text);
    }
    buf_put_u8(&payload, '}');
    json_decref(claims);
    return sign_payload(t, out, buf_bytes(&payload), err);
}

/* ---- cache: sets of four, the least recently used one goes --------------------------------------------------- */

static CacheEntry *cache_set(Tokens *t, Str token, uint64_t *hash)
{
    *hash = hash_bytes(token.ptr, token.len, hash_process_seed);
    return t->cache[*hash % CACHE_SETS];
}

bool token_cache_get(Tokens *t, Str token, TokenInfo *ret)
{
    uint64_t hash;
    CacheEntry *set = cache_set(t, token, &hash);
    for (int i = 0; i < CACHE_WAYS; i++) {
        CacheEntry *e = &set[i];
        if (!e->token || e->hash != hash || e->len != token.len || memcmp(e->token, token.ptr, token.len) != 0)
            continue;
        if (e->info.exp != INT64_MAX && e->info.exp < clock_wall_us() / 1000000 - LEEWAY_S)
            return false; /* verified again for the text */
        e->used = ++t->clock;
        *ret = e->info;
        return true;
    }
    return false;
}

void token_cache_put(Tokens *t, Str token, const TokenInfo *info)
{
    uint64_t hash;
    CacheEntry *set = cache_set(t, token, &hash), *e = &set[0];
    for (int i = 1; i < CACHE_WAYS; i++)
        if (set[i].used < e->used)
            e = &set[i];
    free(e->token);
    *e = (CacheEntry){.hash = hash, .used = ++t->clock, .token = x_alloc(token.len + 1), .len = token.len, .info = *info};
    memcpy(e->token, token.ptr, token.len);
}
