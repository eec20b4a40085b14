/* pgjson.c - values that have no PostgreSQL type of their own, as SATS-JSON in jsonb: written so that jsonb changes
 * nothing, read by the type. Integers keep every digit; floats that jsonb would change travel as strings. */
#include "host/storage/storage_int.h"

#include <stdio.h>

static void json_put_string(Buf *out, Str s)
{
    buf_put_u8(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_put(out, s.ptr + from, i - from);
        from = i + 1;
        if (c == '"' || c == '\\') {
            buf_put_u8(out, '\\');
            buf_put_u8(out, c);
        } else {
            buf_printf(out, "\\u%04x", c);
        }
    }
    buf_put(out, s.ptr + from, s.len - from);
    buf_put_u8(out, '"');
}

/* Numbers that jsonb would change travel as strings: -0, infinities, NaN (with its bits unless it is the usual one). */
static void json_put_float(Buf *out, uint64_t bits, bool single)
{
    double v;
    uint64_t usual = single ? 0x7fc00000u : UINT64_C(0x7ff8000000000000);
    if (single) {
        float f;
        uint32_t b = (uint32_t)bits;
        memcpy(&f, &b, 4);
        v = (double)f;
    } else {
        memcpy(&v, &bits, 8);
    }
    if (__builtin_isnan(v)) {
        if (bits == usual)
            buf_put_text(out, "\"NaN\"");
        else
            buf_printf(out, "\"NaN:%llx\"", (unsigned long long)bits);
    } else if (__builtin_isinf(v)) {
        buf_put_text(out, v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    } else if (v == 0 && __builtin_signbit(v)) {
        buf_put_text(out, "\"-0.0\"");
    } else {
        pgtext_put_float(out, v, single);
    }
}

void pgjson_put(Buf *out, const Type *t, Reader *r)
{
    TypeKind scalar;
    const char *special = type_special_field(t->kind, &scalar);
    if (special) {
        buf_printf(out, "{\"%s\":", special);
        pgjson_put(out, type_scalar(scalar), r);
        buf_put_u8(out, '}');
        return;
    }
    switch (t->kind) {
    case TYPE_BOOL: buf_put_text(out, read_u8(r) ? "true" : "false"); return;
    case TYPE_I8:
    case TYPE_U8:
    case TYPE_I16:
    case TYPE_U16:
    case TYPE_I32:
    case TYPE_U32:
    case TYPE_I64:
    case TYPE_U64:
    case TYPE_I128:
    case TYPE_U128: {
        const uint8_t *p = read_raw(r, (size_t)t->bsatn_size);
        if (p)
            pgwide_put_decimal(out, pgwide_load(p, (uint8_t)t->bsatn_size, type_is_signed(t)));
        return;
    }
    case TYPE_I256:
    case TYPE_U256: {
        const uint8_t *p = read_raw(r, 32);
        if (!p)
            return;
        Wide v = pgwide_load(p, 32, t->kind == TYPE_I256);
        int top = 3;
        while (top > 0 && !v.w[top])
            top--;
        buf_printf(out, "\"%s0x%llx", v.negative ? "-" : "", (unsigned long long)v.w[top]);
        while (top-- > 0)
            buf_printf(out, "%016llx", (unsigned long long)v.w[top]);
        buf_put_u8(out, '"');
        return;
    }
    case TYPE_F32: json_put_float(out, read_u32(r), true); return;
    case TYPE_F64: json_put_float(out, read_u64(r), false); return;
    case TYPE_STRING: json_put_string(out, read_str(r)); return;
    case TYPE_BYTES: {
        Bytes b = read_blob(r);
        buf_put_u8(out, '"');
        pgtext_put_hex(out, b.ptr, b.len);
        buf_put_u8(out, '"');
        return;
    }
    case TYPE_ARRAY: {
        uint32_t n = read_u32(r);
        buf_put_u8(out, '[');
        for (uint32_t i = 0; i < n && !r->bad && !out->overflow; i++) {
            if (i)
                buf_put_u8(out, ',');
            pgjson_put(out, t->elem, r);
        }
        buf_put_u8(out, ']');
        return;
    }
    case TYPE_PRODUCT:
        if (!t->nfields) {
            buf_put_text(out, "[]");
            return;
        }
        for (uint32_t i = 0; i < t->nfields; i++) {
            buf_put_u8(out, i ? ',' : '{');
            json_put_string(out, t->fields[i].name);
            buf_put_u8(out, ':');
            pgjson_put(out, t->fields[i].type, r);
        }
        buf_put_u8(out, '}');
        return;
    case TYPE_SUM:
    case TYPE_ENUM:
    case TYPE_RESULT: {
        uint8_t tag = read_u8(r);
        buf_put_u8(out, '{');
        if (t->kind == TYPE_RESULT && !t->nfields)
            return; /* cannot be: makers fill the variants */
        if (tag < t->nfields) {
            json_put_string(out, t->fields[tag].name);
            buf_put_u8(out, ':');
            if (t->fields[tag].type)
                pgjson_put(out, t->fields[tag].type, r);
            else
                buf_put_text(out, "[]");
        }
        buf_put_u8(out, '}');
        return;
    }
    case TYPE_OPTION:
        if (read_u8(r) != 0) {
            buf_put_text(out, "{\"none\":[]}");
            return;
        }
        buf_put_text(out, "{\"some\":");
        pgjson_put(out, t->elem, r);
        buf_put_u8(out, '}');
        return;
    case TYPE_SCHEDULE_AT:
        if (read_u8(r) == 0) {
            buf_put_text(out, "{\"Interval\":");
            pgjson_put(out, type_scalar(TYPE_DURATION), r);
        } else {
            buf_put_text(out, "{\"Time\":");
            pgjson_put(out, type_scalar(TYPE_TIMESTAMP), r);
        }
        buf_put_u8(out, '}');
        return;
    default: BUG("type %d has no JSON form", (int)t->kind);
    }
}

typedef struct Json {
    const char *p, *end;
} Json;

static void json_space(Json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\t' || *j->p == '\r'))
        j->p++;
}

static bool json_char(Json *j, char c)
{
    json_space(j);
    if (j->p >= j->end || *j->p != c)
        return false;
    j->p++;
    return true;
}

#define JSON_WRONG(err, what) FAIL(err, S_INVALID, "jsonb value is not %s", what)

static int json_hex4(Json *j)
{
    int v = 0;
    if (j->end - j->p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = *j->p++;
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

/* Appends the text without its length. */
static Status json_string(Json *j, Buf *out, Error *err)
{
    if (!json_char(j, '"'))
        return JSON_WRONG(err, "a string");
    for (;;) {
        const char *from = j->p;
        while (j->p < j->end && *j->p != '"' && *j->p != '\\')
            j->p++;
        buf_put(out, from, (size_t)(j->p - from));
        if (j->p >= j->end)
            return JSON_WRONG(err, "a complete string");
        if (*j->p++ == '"')
            return S_OK;
        if (j->p >= j->end)
            return JSON_WRONG(err, "a complete string");
        char c = *j->p++;
        static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
        const char *at = c ? strchr(plain, c) : NULL;
        if (at) {
            buf_put_u8(out, (uint8_t)meant[at - plain]);
            continue;
        }
        int u = c == 'u' ? json_hex4(j) : -1;
        if (u >= 0xd800 && u < 0xdc00 && j->end - j->p >= 6 && j->p[0] == '\\' && j->p[1] == 'u') {
            j->p += 2;
            int low = json_hex4(j);
            u = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00) : -1;
        }
        if (u < 0 || (u >= 0xd800 && u < 0xe000))
            return JSON_WRONG(err, "a valid string");
        if (u < 0x80) {
            buf_put_u8(out, (uint8_t)u);
        } else if (u < 0x800) {
            buf_put_u8(out, (uint8_t)(0xc0 | u >> 6));
            buf_put_u8(out, (uint8_t)(0x80 | (u & 63)));
        } else if (u < 0x10000) {
            buf_put_u8(out, (uint8_t)(0xe0 | u >> 12));
            buf_put_u8(out, (uint8_t)(0x80 | (u >> 6 & 63)));
            buf_put_u8(out, (uint8_t)(0x80 | (u & 63)));
        } else {
            buf_put_u8(out, (uint8_t)(0xf0 | u >> 18));
            buf_put_u8(out, (uint8_t)(0x80 | (u >> 12 & 63)));
            buf_put_u8(out, (uint8_t)(0x80 | (u >> 6 & 63)));
            buf_put_u8(out, (uint8_t)(0x80 | (u & 63)));
        }
    }
}

static Str json_number(Json *j)
{
    json_space(j);
    const char *from = j->p;
    while (j->p < j->end && (strchr("+-.eE", *j->p) ? *j->p != 0 : *j->p >= '0' && *j->p <= '9'))
        j->p++;
    return (Str){from, (size_t)(j->p - from)};
}

/* Step over any value: brackets and strings balance in what jsonb sends. */
static bool json_skip(Json *j)
{
    json_space(j);
    int depth = 0;
    do {
        if (j->p >= j->end)
            return false;
        char c = *j->p;
        if (c == '"') {
            for (j->p++; j->p < j->end && *j->p != '"'; j->p++)
                if (*j->p == '\\')
                    j->p++;
            if (j->p >= j->end)
                return false;
            j->p++;
        } else if (c == '{' || c == '[') {
            depth++;
            j->p++;
        } else if (c == '}' || c == ']') {
            depth--;
            j->p++;
        } else if (c == ',' || c == ':' || c == ' ') {
            if (!depth)
                return false;
            j->p++;
        } else {
            while (j->p < j->end && !strchr(",:]} ", *j->p))
                j->p++;
        }
    } while (depth > 0);
    return true;
}

static Status json_value(Json *j, Buf *out, const Type *t, Error *err);

/* {"key": VALUE}: the key goes to `key`; the cursor stands before VALUE. */
static Status json_single_key(Json *j, Buf *key, Error *err)
{
    if (!json_char(j, '{'))
        return JSON_WRONG(err, "an object");
    TRY(json_string(j, key, err));
    return json_char(j, ':') ? S_OK : JSON_WRONG(err, "an object");
}

static Status json_float(Json *j, Buf *out, bool single, Error *err)
{
    json_space(j);
    char text[1200]; /* the smallest double has 1,075 digits at most; jsonb expands exponents */
    uint64_t bits = 0;
    if (j->p < j->end && *j->p == '"') {
        OWN(buf) Buf s = {0};
        TRY(json_string(j, &s, err));
        const char *name = buf_cstr(&s);
        uint64_t sign = single ? UINT64_C(1) << 31 : UINT64_C(1) << 63;
        uint64_t inf = single ? 0x7f800000u : UINT64_C(0x7ff0000000000000);
        if (!strcmp(name, "NaN"))
            bits = single ? 0x7fc00000u : UINT64_C(0x7ff8000000000000);
        else if (!strncmp(name, "NaN:", 4))
            bits = strtoull(name + 4, NULL, 16);
        else if (!strcmp(name, "Infinity"))
            bits = inf;
        else if (!strcmp(name, "-Infinity"))
            bits = inf | sign;
        else if (!strcmp(name, "-0.0"))
            bits = sign;
        else
            return JSON_WRONG(err, "a float");
    } else {
        Str n = json_number(j);
        if (!n.len || n.len >= sizeof text)
            return JSON_WRONG(err, "a float");
        memcpy(text, n.ptr, n.len);
        text[n.len] = 0;
        if (single) {
            float f = strtof(text, NULL);
            uint32_t b;
            memcpy(&b, &f, 4);
            bits = b;
        } else {
            double d = strtod(text, NULL);
            memcpy(&bits, &d, 8);
        }
    }
    buf_put(out, &bits, single ? 4 : 8);
    return S_OK;
}

static Status json_integer(Json *j, Buf *out, const Type *t, Error *err)
{
    Wide v = {{0}, false};
    if (t->kind == TYPE_I256 || t->kind == TYPE_U256) {
        OWN(buf) Buf s = {0};
        TRY(json_string(j, &s, err));
        const char *p = buf_cstr(&s);
        if (*p == '-') {
            v.negative = true;
            p++;
        }
        if (p[0] != '0' || p[1] != 'x' || !p[2] || strlen(p) > 66)
            return JSON_WRONG(err, "a 256-bit integer");
        for (p += 2; *p; p++) {
            int d = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : -1;
            if (d < 0 || !pgwide_multiply_add(&v, 16, (uint32_t)d))
                return JSON_WRONG(err, "a 256-bit integer");
        }
    } else {
        Str n = json_number(j);
        if (n.len && *n.ptr == '-') {
            v.negative = true;
            n.ptr++;
            n.len--;
        }
        if (!n.len)
            return JSON_WRONG(err, "an integer");
        for (size_t i = 0; i < n.len; i++)
            if (n.ptr[i] < '0' || n.ptr[i] > '9' || !pgwide_multiply_add(&v, 10, (uint32_t)(n.ptr[i] - '0')))
                return JSON_WRONG(err, "an integer of this size");
    }
    return pgwide_store(out, &v, (uint8_t)t->bsatn_size, type_is_signed(t)) ? S_OK : JSON_WRONG(err, "an integer of this size");
}

static Status json_product(Json *j, Buf *out, const Type *t, Error *err)
{
    if (!t->nfields)
        return json_char(j, '[') && json_char(j, ']') ? S_OK : JSON_WRONG(err, "a unit");
    if (!json_char(j, '{'))
        return JSON_WRONG(err, "an object");
    const char *few[32] = {0};
    OWN(free) const char **many = t->nfields > COUNT_OF(few) ? x_alloc(t->nfields * sizeof *many) : NULL;
    const char **at = many ? many : few; /* jsonb orders keys in its own way: note where each field's value begins */
    OWN(buf) Buf key = {0};
    uint32_t found = 0;
    do {
        buf_reset(&key);
        TRY(json_string(j, &key, err));
        uint32_t i = 0;
        while (i < t->nfields && !str_eq(t->fields[i].name, buf_str(&key)))
            i++;
        if (i == t->nfields || at[i] || !json_char(j, ':'))
            return FAIL(err, S_INVALID, "jsonb object has an unexpected member \"%s\"", buf_cstr(&key));
        at[i] = j->p;
        found++;
        if (!json_skip(j))
            return JSON_WRONG(err, "complete");
    } while (json_char(j, ','));
    if (!json_char(j, '}') || found != t->nfields)
        return FAIL(err, S_INVALID, "jsonb object has %u of %u members", found, t->nfields);
    for (uint32_t i = 0; i < t->nfields; i++) {
        Json field = {at[i], j->end};
        if (json_value(&field, out, t->fields[i].type, err) != S_OK)
            return CONTEXT(err, ".%.*s", STR_FMT(t->fields[i].name));
    }
    return S_OK;
}

static Status json_sum(Json *j, Buf *out, const Type *t, Error *err)
{
    OWN(buf) Buf key = {0};
    TRY(json_single_key(j, &key, err));
    Str name = buf_str(&key);
    const Type *payload = NULL;
    uint32_t tag = 0;
    if (t->kind == TYPE_OPTION) {
        tag = str_is(name, "none");
        payload = tag ? &type_unit : t->elem;
    } else if (t->kind == TYPE_SCHEDULE_AT) {
        tag = str_is(name, "Time");
        payload = type_scalar(tag ? TYPE_TIMESTAMP : TYPE_DURATION);
    } else {
        while (tag < t->nfields && !str_eq(t->fields[tag].name, name))
            tag++;
        if (tag == t->nfields)
            return FAIL(err, S_INVALID, "jsonb: \"%s\" is no variant", buf_cstr(&key));
        payload = t->fields[tag].type ? t->fields[tag].type : &type_unit;
    }
    buf_put_u8(out, (uint8_t)tag);
    TRY(json_value(j, out, payload, err));
    return json_char(j, '}') ? S_OK : JSON_WRONG(err, "an object with one member");
}

static Status json_value(Json *j, Buf *out, const Type *t, Error *err)
{
    TypeKind scalar;
    if (type_special_field(t->kind, &scalar)) {
        OWN(buf) Buf key = {0};
        TRY(json_single_key(j, &key, err));
        TRY(json_value(j, out, type_scalar(scalar), err));
        return json_char(j, '}') ? S_OK : JSON_WRONG(err, "an object with one member");
    }
    switch (t->kind) {
    case TYPE_BOOL: {
        json_space(j);
        bool yes = j->end - j->p >= 4 && !memcmp(j->p, "true", 4);
        if (!yes && !(j->end - j->p >= 5 && !memcmp(j->p, "false", 5)))
            return JSON_WRONG(err, "a boolean");
        j->p += yes ? 4 : 5;
        buf_put_u8(out, yes);
        return S_OK;
    }
    case TYPE_F32: return json_float(j, out, true, err);
    case TYPE_F64: return json_float(j, out, false, err);
    case TYPE_STRING: {
        size_t at = out->len;
        buf_put_u32(out, 0);
        TRY(json_string(j, out, err));
        store_u32(out->ptr + at, (uint32_t)(out->len - at - 4));
        return S_OK;
    }
    case TYPE_BYTES: {
        OWN(buf) Buf hex = {0};
        TRY(json_string(j, &hex, err));
        buf_put_u32(out, (uint32_t)(hex.len / 2));
        if (!buf_reserve(out, hex.len / 2 + 1) || hex.len % 2 || !hex_decode(out->ptr + out->len, hex.len / 2, buf_str(&hex)))
            return JSON_WRONG(err, "hexadecimal");
        out->len += hex.len / 2;
        return S_OK;
    }
    case TYPE_ARRAY: {
        size_t at = out->len;
        uint32_t n = 0;
        buf_put_u32(out, 0);
        if (!json_char(j, '['))
            return JSON_WRONG(err, "an array");
        if (!json_char(j, ']')) {
            do {
                if (json_value(j, out, t->elem, err) != S_OK)
                    return CONTEXT(err, "[%u]", n);
                n++;
            } while (json_char(j, ','));
            if (!json_char(j, ']'))
                return JSON_WRONG(err, "a complete array");
        }
        store_u32(out->ptr + at, n);
        return S_OK;
    }
    case TYPE_PRODUCT: return json_product(j, out, t, err);
    case TYPE_SUM:
    case TYPE_ENUM:
    case TYPE_RESULT:
    case TYPE_OPTION:
    case TYPE_SCHEDULE_AT: return json_sum(j, out, t, err);
    default: return json_integer(j, out, t, err);
    }
}

Status pgjson_get(Buf *out, const Type *t, Str json, Error *err)
{
    Json j = {json.ptr, json.ptr + json.len};
    TRY(json_value(&j, out, t, err));
    json_space(&j);
    return j.p == j.end ? S_OK : JSON_WRONG(err, "a single value");
}
