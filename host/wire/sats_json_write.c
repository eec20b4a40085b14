#include "host/wire/sats_json.h"

#include <math.h>
#include <stdio.h>

#include "host/schema/value.h"

/* ---- scalars ----------------------------------------------------------------------------------- */

void json_put_string(Buf *out, Str s)
{
    static const char shorts[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\'};
    buf_put_u8(out, '"');
    size_t plain = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.ptr[i];
        if (LIKELY(c >= 0x20 && c != '"' && c != '\\'))
            continue;
        buf_put(out, s.ptr + plain, i - plain);
        plain = i + 1;
        if (shorts[c])
            buf_put(out, (char[]){'\\', shorts[c]}, 2);
        else
            buf_printf(out, "\\u%04x", c);
    }
    buf_put(out, s.ptr + plain, s.len - plain);
    buf_put_u8(out, '"');
}

static void put_u128(Buf *out, unsigned __int128 v, bool negative)
{
    char text[41], *p = text + sizeof text;
    do {
        *--p = (char)('0' + (unsigned)(v % 10));
        v /= 10;
    } while (v);
    if (negative)
        *--p = '-';
    buf_put(out, p, (size_t)(text + sizeof text - p));
}

/* `size` little-endian bytes, at most 16, as a decimal number. */
static void put_integer(Buf *out, const uint8_t *p, size_t size, bool is_signed)
{
    bool negative = is_signed && (p[size - 1] & 0x80);
    unsigned __int128 v = negative ? ~(unsigned __int128)0 : 0;
    memcpy(&v, p, size);
    put_u128(out, negative ? -v : v, negative);
}

/* 32 little-endian bytes as "0x..." without leading zeros. */
static void put_hex256(Buf *out, const uint8_t *p, bool is_signed)
{
    uint8_t v[32];
    memcpy(v, p, 32);
    bool negative = is_signed && (v[31] & 0x80);
    if (negative) {
        unsigned carry = 1;
        for (int i = 0; i < 32; i++) {
            carry += (uint8_t)~v[i];
            v[i] = (uint8_t)carry;
            carry >>= 8;
        }
    }
    int digit = 63;
    while (digit > 0 && (v[digit / 2] >> (digit % 2 * 4) & 15) == 0)
        digit--;
    buf_put_text(out, negative ? "\"-0x" : "\"0x");
    for (; digit >= 0; digit--)
        buf_put_u8(out, (uint8_t) "0123456789abcdef"[v[digit / 2] >> (digit % 2 * 4) & 15]);
    buf_put_u8(out, '"');
}

/* The fewest digits that read back as the same value. Up to DIG digits survive a trip through the binary form, so the search starts
 * there and trailing zeros are cut; only subnormals, which have fewer, are searched from one digit on. Text: "-d.ddde-XX". */
static int shortest_digits(char text[40], double v, bool single)
{
    double tiny = single ? 1.17549435e-38 : 2.2250738585072014e-308;
    int n = fabs(v) < tiny ? 1 : (single ? 6 : 15);
    for (;; n++) {
        snprintf(text, 40, "%.*e", n - 1, v);
        bool same = single ? strtof(text, NULL) == (float)v : strtod(text, NULL) == v;
        if (same || n == (single ? 9 : 17))
            return n;
    }
}

/* Laid out as the reference does (ryu's pretty form): plain within 1e-5 .. 1e16 (1e-6 .. 1e13 for f32), else with exponent. */
static void put_float(Buf *out, double v, bool single)
{
    if (!isfinite(v)) {
        buf_put_text(out, "null");
        return;
    }
    if (signbit(v)) {
        buf_put_u8(out, '-');
        v = -v;
    }
    if (v == 0) {
        buf_put_text(out, "0.0");
        return;
    }
    char text[40], digits[20] = "";
    int n = shortest_digits(text, v, single), have = 0;
    const char *e = strchr(text, 'e');
    for (const char *p = text; p < e && have < n; p++)
        if (*p >= '0' && *p <= '9')
            digits[have++] = *p;
    while (have > 1 && digits[have - 1] == '0')
        have--;
    int point = atoi(e + 1) + 1; /* value = 0.DIGITS * 10^point */
    if (have <= point && point <= (single ? 13 : 16)) {
        buf_put(out, digits, (size_t)have);
        buf_put(out, "0000000000000000", (size_t)(point - have));
        buf_put_text(out, ".0");
    } else if (point > 0 && point <= (single ? 13 : 16)) {
        buf_printf(out, "%.*s.%.*s", point, digits, have - point, digits + point);
    } else if (point <= 0 && point > (single ? -6 : -5)) {
        buf_printf(out, "0.%.*s%.*s", -point, "000000", have, digits);
    } else if (have == 1) {
        buf_printf(out, "%ce%d", digits[0], point - 1);
    } else {
        buf_printf(out, "%c.%.*se%d", digits[0], have - 1, digits + 1, point - 1);
    }
}

static void put_hex_bytes(Buf *out, Bytes b)
{
    buf_put_u8(out, '"');
    if (buf_reserve(out, b.len * 2 + 1)) {
        hex_encode((char *)out->ptr + out->len, b.ptr, b.len);
        out->len += b.len * 2;
    }
    buf_put_u8(out, '"');
}

/* ---- values ------------------------------------------------------------------------------------ */

typedef struct Writing {
    Buf *out;
    Reader *in;
    JsonMode mode;
    Error *err;
} Writing;

static Status write_value(Writing *w, const Type *t, int depth);

static Status need(Writing *w, size_t bytes, const Type *t, const uint8_t **ret)
{
    if (reader_left(w->in) < bytes || w->in->bad) {
        OWN(buf) Buf name = buf_with_max(200);
        type_name(&name, t);
        return FAIL(w->err, S_INVALID, "data too short for %.*s: Expected %zu, given %zu", STR_FMT(buf_str(&name)), bytes,
                    reader_left(w->in));
    }
    *ret = read_raw(w->in, bytes);
    return S_OK;
}

static Status need_length(Writing *w, const Type *t, uint32_t *ret)
{
    const uint8_t *p;
    TRY(need(w, 4, t, &p));
    *ret = load_u32(p);
    return S_OK;
}

static Status write_array(Writing *w, const Type *t, int depth)
{
    uint32_t n;
    TRY(need_length(w, t, &n));
    if (n > VALUE_ARRAY_ELEMENTS_MAX || (t->elem->bsatn_size == 0 && n > VALUE_EMPTY_ELEMENTS_MAX))
        return FAIL(w->err, S_TOO_LARGE, "an array of %u elements exceeds the limit", n);
    buf_put_u8(w->out, '[');
    for (uint32_t i = 0; i < n; i++) {
        if (i)
            buf_put_u8(w->out, ',');
        TRY(write_value(w, t->elem, depth + 1));
    }
    buf_put_u8(w->out, ']');
    return S_OK;
}

static Status write_product(Writing *w, const Type *t, int depth)
{
    bool named = w->mode == JSON_DECLARED && t->nfields > 0;
    buf_put_u8(w->out, named ? '{' : '[');
    for (uint32_t i = 0; i < t->nfields; i++) {
        if (i)
            buf_put_u8(w->out, ',');
        if (named) {
            json_put_string(w->out, t->fields[i].name);
            buf_put_u8(w->out, ':');
        }
        TRY(write_value(w, t->fields[i].type, depth + 1));
    }
    buf_put_u8(w->out, named ? '}' : ']');
    return S_OK;
}

static Status write_variant(Writing *w, uint8_t tag, Str name, const Type *payload, int depth)
{
    if (w->mode == JSON_DECLARED) {
        buf_put_u8(w->out, '{');
        json_put_string(w->out, name);
        buf_put_u8(w->out, ':');
    } else {
        buf_printf(w->out, "[%u,", tag);
    }
    TRY(write_value(w, payload, depth + 1));
    buf_put_u8(w->out, w->mode == JSON_DECLARED ? '}' : ']');
    return S_OK;
}

static Status unknown_tag(Writing *w, uint8_t tag, const Type *t)
{
    OWN(buf) Buf name = buf_with_max(200);
    type_name(&name, t);
    return FAIL(w->err, S_INVALID, "unknown tag 0x%x for sum type %.*s", tag, STR_FMT(buf_str(&name)));
}

static Status write_sum(Writing *w, const Type *t, int depth)
{
    const uint8_t *p;
    TRY(need(w, 1, t, &p));
    if (t->kind == TYPE_OPTION) {
        if (*p > 1)
            return unknown_tag(w, *p, t);
        return write_variant(w, *p, *p ? STR("none") : STR("some"), *p ? &type_unit : t->elem, depth);
    }
    if (t->kind == TYPE_SCHEDULE_AT) {
        if (*p > 1)
            return unknown_tag(w, *p, t);
        return write_variant(w, *p, *p ? STR("Time") : STR("Interval"), type_scalar(*p ? TYPE_TIMESTAMP : TYPE_DURATION), depth);
    }
    if (*p >= t->nfields)
        return unknown_tag(w, *p, t);
    return write_variant(w, *p, t->fields[*p].name, t->fields[*p].type, depth);
}

/* Identity and its like: a product of one scalar. */
static Status write_special(Writing *w, const Type *t, const char *field, TypeKind scalar, int depth)
{
    if (w->mode == JSON_DECLARED)
        buf_printf(w->out, "{\"%s\":", field);
    else
        buf_put_u8(w->out, '[');
    TRY(write_value(w, type_scalar(scalar), depth + 1));
    buf_put_u8(w->out, w->mode == JSON_DECLARED ? '}' : ']');
    (void)t;
    return S_OK;
}

static Status write_value(Writing *w, const Type *t, int depth)
{
    const uint8_t *p;
    uint32_t n;
    TypeKind scalar;
    if (depth > 2 * TYPE_DEPTH_MAX)
        return FAIL(w->err, S_TOO_LARGE, "a value is nested more than %d levels deep", 2 * TYPE_DEPTH_MAX);
    switch (t->kind) {
    case TYPE_BOOL:
        TRY(need(w, 1, t, &p));
        if (*p > 1)
            return FAIL(w->err, S_INVALID, "byte 0x%x is not a bool", *p);
        buf_put_text(w->out, *p ? "true" : "false");
        return S_OK;
    case TYPE_I8:
    case TYPE_U8:
    case TYPE_I16:
    case TYPE_U16:
    case TYPE_I32:
    case TYPE_U32:
    case TYPE_I64:
    case TYPE_U64:
    case TYPE_I128:
    case TYPE_U128:
        TRY(need(w, t->size, t, &p));
        put_integer(w->out, p, t->size, type_is_signed(t));
        return S_OK;
    case TYPE_I256:
    case TYPE_U256:
        TRY(need(w, 32, t, &p));
        put_hex256(w->out, p, t->kind == TYPE_I256);
        return S_OK;
    case TYPE_F32: {
        float f;
        TRY(need(w, 4, t, &p));
        memcpy(&f, p, 4);
        put_float(w->out, (double)f, true);
        return S_OK;
    }
    case TYPE_F64: {
        double d;
        TRY(need(w, 8, t, &p));
        memcpy(&d, p, 8);
        put_float(w->out, d, false);
        return S_OK;
    }
    case TYPE_STRING:
        TRY(need_length(w, t, &n));
        TRY(need(w, n, t, &p));
        if (!utf8_valid((Str){(const char *)p, n}))
            return FAIL(w->err, S_INVALID, "invalid utf8");
        json_put_string(w->out, (Str){(const char *)p, n});
        return S_OK;
    case TYPE_BYTES:
        TRY(need_length(w, t, &n));
        TRY(need(w, n, t, &p));
        put_hex_bytes(w->out, (Bytes){p, n});
        return S_OK;
    case TYPE_ARRAY: return write_array(w, t, depth);
    case TYPE_PRODUCT: return write_product(w, t, depth);
    case TYPE_SUM:
    case TYPE_ENUM:
    case TYPE_RESULT:
    case TYPE_OPTION:
    case TYPE_SCHEDULE_AT: return write_sum(w, t, depth);
    case TYPE_IDENTITY:
    case TYPE_CONNECTION_ID:
    case TYPE_TIMESTAMP:
    case TYPE_DURATION:
    case TYPE_UUID: {
        const char *field = type_special_field(t->kind, &scalar);
        return write_special(w, t, field, scalar, depth);
    }
    }
    BUG("a type of kind %d", (int)t->kind);
}

Status json_from_bsatn(Buf *out, Reader *in, const Type *t, JsonMode mode, Error *err)
{
    Writing w = {out, in, mode, err};
    return write_value(&w, t, 1);
}

/* ---- types as JSON ----------------------------------------------------------------------------- */

static void put_type(Buf *out, const Type *t, bool use_refs, bool top);

static void put_type_elements(Buf *out, const char *list, uint32_t n, const Field *fields, bool use_refs)
{
    buf_printf(out, "{\"%s\":[", list);
    for (uint32_t i = 0; i < n; i++) {
        buf_put_text(out, i ? ",{\"name\":{\"some\":" : "{\"name\":{\"some\":");
        json_put_string(out, fields[i].name);
        buf_put_text(out, "},\"algebraic_type\":");
        put_type(out, fields[i].type, use_refs, false);
        buf_put_u8(out, '}');
    }
    buf_put_text(out, "]}");
}

static void put_type(Buf *out, const Type *t, bool use_refs, bool top)
{
    static const char *const scalars[] = {"Bool", "I8",   "U8",   "I16",  "U16",  "I32", "U32", "I64",
                                          "U64",  "I128", "U128", "I256", "U256", "F32", "F64", "String"};
    TypeKind scalar;
    const char *special = type_special_field(t->kind, &scalar);
    if (use_refs && !top && t->ref >= 0) {
        buf_printf(out, "{\"Ref\":%d}", t->ref);
        return;
    }
    if (t->kind <= TYPE_STRING) {
        buf_printf(out, "{\"%s\":[]}", scalars[t->kind]);
        return;
    }
    if (t->kind == TYPE_BYTES || t->kind == TYPE_ARRAY) {
        buf_put_text(out, "{\"Array\":");
        put_type(out, t->kind == TYPE_BYTES ? type_scalar(TYPE_U8) : t->elem, use_refs, false);
    } else if (t->kind == TYPE_PRODUCT || special) {
        buf_put_text(out, "{\"Product\":");
        Field f = {.name = str_of(special), .type = special ? type_scalar(scalar) : NULL};
        put_type_elements(out, "elements", special ? 1 : t->nfields, special ? &f : t->fields, use_refs);
    } else {
        buf_put_text(out, "{\"Sum\":");
        if (t->kind == TYPE_OPTION) {
            Field v[] = {{.name = STR("some"), .type = t->elem}, {.name = STR("none"), .type = &type_unit}};
            put_type_elements(out, "variants", 2, v, use_refs);
        } else if (t->kind == TYPE_SCHEDULE_AT) {
            Field v[] = {{.name = STR("Interval"), .type = type_scalar(TYPE_DURATION)},
                         {.name = STR("Time"), .type = type_scalar(TYPE_TIMESTAMP)}};
            put_type_elements(out, "variants", 2, v, use_refs);
        } else {
            put_type_elements(out, "variants", t->nfields, t->fields, use_refs);
        }
    }
    buf_put_u8(out, '}');
}

void json_put_type(Buf *out, const Type *t, bool use_refs) { put_type(out, t, use_refs, true); }

void json_put_product_type(Buf *out, const Type *t, bool use_refs)
{
    ASSERT(t->kind == TYPE_PRODUCT);
    put_type_elements(out, "elements", t->nfields, t->fields, use_refs);
}
