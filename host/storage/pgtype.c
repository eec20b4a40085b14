/* pgtype.c - the two forms of a value: BSATN (ours) and PostgreSQL's binary send/receive form. The table of
 * README.md in code. Every BSATN value that pgtype_storable lets pass comes back bit by bit. */
#include "host/storage/storage_int.h"

#include <stdio.h>

/* Microseconds between 1970 and PostgreSQL's epoch 2000-01-01, and its first moment (4714-11-24 BC). */
#define PG_EPOCH_US INT64_C(946684800000000)
#define PG_FIRST_US (INT64_C(-211813488000000000) + PG_EPOCH_US)

static const PgType scalars[] = {
    [TYPE_BOOL] = {.kind = PG_BOOL, .width = 1, .oid = 16, .array_oid = 1000, .sql = "boolean", .wrap = "a_bool"},
    [TYPE_I8] = {.kind = PG_INT2, .width = 1, .is_signed = true, .oid = 21, .array_oid = 1005, .sql = "smallint", .wrap = "a_int2"},
    [TYPE_U8] = {.kind = PG_INT2, .width = 1, .oid = 21, .array_oid = 1005, .sql = "smallint", .wrap = "a_int2"},
    [TYPE_I16] = {.kind = PG_INT2, .width = 2, .is_signed = true, .oid = 21, .array_oid = 1005, .sql = "smallint", .wrap = "a_int2"},
    [TYPE_U16] = {.kind = PG_INT4, .width = 2, .oid = 23, .array_oid = 1007, .sql = "integer", .wrap = "a_int4"},
    [TYPE_I32] = {.kind = PG_INT4, .width = 4, .is_signed = true, .oid = 23, .array_oid = 1007, .sql = "integer", .wrap = "a_int4"},
    [TYPE_U32] = {.kind = PG_INT8, .width = 4, .oid = 20, .array_oid = 1016, .sql = "bigint", .wrap = "a_int8"},
    [TYPE_I64] = {.kind = PG_INT8, .width = 8, .is_signed = true, .oid = 20, .array_oid = 1016, .sql = "bigint", .wrap = "a_int8"},
    [TYPE_U64] = {.kind = PG_NUMERIC, .width = 8, .oid = 1700, .array_oid = 1231, .sql = "numeric(20,0)", .wrap = "a_numeric"},
    [TYPE_I128] =
        {.kind = PG_NUMERIC, .width = 16, .is_signed = true, .oid = 1700, .array_oid = 1231, .sql = "numeric(39,0)", .wrap = "a_numeric"},
    [TYPE_U128] = {.kind = PG_NUMERIC, .width = 16, .oid = 1700, .array_oid = 1231, .sql = "numeric(39,0)", .wrap = "a_numeric"},
    [TYPE_I256] =
        {.kind = PG_NUMERIC, .width = 32, .is_signed = true, .oid = 1700, .array_oid = 1231, .sql = "numeric(78,0)", .wrap = "a_numeric"},
    [TYPE_U256] = {.kind = PG_NUMERIC, .width = 32, .oid = 1700, .array_oid = 1231, .sql = "numeric(78,0)", .wrap = "a_numeric"},
    [TYPE_F32] = {.kind = PG_FLOAT4, .width = 4, .oid = 700, .array_oid = 1021, .sql = "real", .wrap = "a_float4"},
    [TYPE_F64] = {.kind = PG_FLOAT8, .width = 8, .oid = 701, .array_oid = 1022, .sql = "double precision", .wrap = "a_float8"},
    [TYPE_STRING] = {.kind = PG_TEXT, .oid = 25, .array_oid = 1009, .sql = "text", .wrap = "a_text"},
    [TYPE_BYTES] = {.kind = PG_BYTEA, .oid = 17, .array_oid = 1001, .sql = "bytea", .wrap = "a_bytea"},
    [TYPE_ENUM] = {.kind = PG_ENUM, .width = 1, .oid = 25, .array_oid = 1009, .sql = "text", .wrap = "a_text"},
    [TYPE_IDENTITY] = {.kind = PG_FIXED, .width = 32, .oid = 17, .array_oid = 1001, .sql = "bytea", .wrap = "a_bytea"},
    [TYPE_CONNECTION_ID] = {.kind = PG_FIXED, .width = 16, .oid = 17, .array_oid = 1001, .sql = "bytea", .wrap = "a_bytea"},
    [TYPE_TIMESTAMP] = {.kind = PG_TIMESTAMPTZ,
                        .width = 8,
                        .is_signed = true,
                        .oid = 1184,
                        .array_oid = 1185,
                        .sql = "timestamptz",
                        .wrap = "a_timestamptz"},
    [TYPE_DURATION] = {.kind = PG_INT8, .width = 8, .is_signed = true, .oid = 20, .array_oid = 1016, .sql = "bigint", .wrap = "a_int8"},
    [TYPE_UUID] = {.kind = PG_UUID, .width = 16, .oid = 2950, .array_oid = 2951, .sql = "uuid", .wrap = "a_uuid"},
};

static bool is_pg_scalar(const Type *t) { return (size_t)t->kind < COUNT_OF(scalars) && scalars[t->kind].sql; }

const PgType *pgtype_of(Arena *a, const Type *t)
{
    PgType *p = ARENA_NEW(a, PgType);
    bool nullable = t->kind == TYPE_OPTION && t->elem->kind != TYPE_OPTION;
    const Type *inner = nullable ? t->elem : t;
    if (is_pg_scalar(inner)) {
        *p = scalars[inner->kind];
        p->wrap = NULL;
    } else if (inner->kind == TYPE_ARRAY && is_pg_scalar(inner->elem)) {
        const PgType *elem = &scalars[inner->elem->kind];
        PgType *own = ARENA_NEW(a, PgType);
        *own = *elem;
        own->type = inner->elem;
        *p = (PgType){.kind = PG_ARRAY, .oid = elem->array_oid, .elem = own, .wrap = elem->wrap};
        p->sql = arena_sprintf(a, "%s[]", elem->sql);
    } else {
        *p = (PgType){.kind = PG_JSONB, .oid = 3802, .array_oid = 3807, .sql = "jsonb"};
    }
    p->type = inner;
    p->nullable = nullable;
    return p;
}

void put_literal(Buf *out, Str text)
{
    buf_put_u8(out, '\'');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'')
            buf_put_u8(out, '\'');
        buf_put_u8(out, (uint8_t)text.ptr[i]);
    }
    buf_put_u8(out, '\'');
}

void put_ident(Buf *out, Str name)
{
    buf_put_u8(out, '"');
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '"')
            buf_put_u8(out, '"');
        buf_put_u8(out, (uint8_t)name.ptr[i]);
    }
    buf_put_u8(out, '"');
}

/* ---- numbers of up to 256 bits ------------------------------------------------------------- */

Wide pgwide_load(const uint8_t *p, uint8_t width, bool is_signed)
{
    Wide v = {{0}, false};
    memcpy(v.w, p, width);
    if (is_signed && (p[width - 1] & 0x80)) {
        v.negative = true;
        memset((uint8_t *)v.w + width, 0xff, sizeof v.w - width);
        unsigned __int128 carry = 1;
        for (int i = 0; i < 4; i++) {
            carry += (uint64_t)~v.w[i];
            v.w[i] = (uint64_t)carry;
            carry >>= 64;
        }
    }
    return v;
}

/* Appends `width` BSATN bytes; false when the number does not fit. */
bool pgwide_store(Buf *out, const Wide *v, uint8_t width, bool is_signed)
{
    uint8_t b[32];
    Wide x = *v;
    bool zero = !(x.w[0] | x.w[1] | x.w[2] | x.w[3]);
    if (x.negative && !zero) {
        if (!is_signed)
            return false;
        unsigned __int128 carry = 1;
        for (int i = 0; i < 4; i++) {
            carry += (uint64_t)~x.w[i];
            x.w[i] = (uint64_t)carry;
            carry >>= 64;
        }
        if (!(x.w[3] >> 63))
            return false; /* below -2^255 */
    } else if (is_signed && x.w[3] >> 63) {
        return false;
    }
    memcpy(b, x.w, 32);
    uint8_t fill = x.negative && !zero ? 0xff : 0;
    for (int i = width; i < 32; i++)
        if (b[i] != fill)
            return false;
    if (is_signed && width < 32 && (b[width - 1] >> 7) != (fill >> 7))
        return false;
    buf_put(out, b, width);
    return true;
}

static uint32_t wide_divide(Wide *v, uint32_t by) /* returns the remainder */
{
    unsigned __int128 rest = 0;
    for (int i = 3; i >= 0; i--) {
        rest = rest << 64 | v->w[i];
        v->w[i] = (uint64_t)(rest / by);
        rest %= by;
    }
    return (uint32_t)rest;
}

bool pgwide_multiply_add(Wide *v, uint32_t by, uint32_t add) /* false: more than 256 bits */
{
    unsigned __int128 carry = add;
    for (int i = 0; i < 4; i++) {
        carry += (unsigned __int128)v->w[i] * by;
        v->w[i] = (uint64_t)carry;
        carry >>= 64;
    }
    return carry == 0;
}

static bool wide_is_zero(const Wide *v) { return !(v->w[0] | v->w[1] | v->w[2] | v->w[3]); }

void pgwide_put_decimal(Buf *out, Wide v)
{
    char text[80];
    int at = sizeof text;
    bool negative = v.negative && !wide_is_zero(&v);
    do {
        uint32_t part = wide_divide(&v, 1000000000);
        for (int i = 0; i < 9 && (part || !wide_is_zero(&v) || i == 0); i++, part /= 10)
            text[--at] = (char)('0' + part % 10);
    } while (!wide_is_zero(&v));
    if (negative)
        text[--at] = '-';
    buf_put(out, text + at, sizeof text - (size_t)at);
}

static void numeric_encode(Buf *out, const uint8_t *p, const PgType *t)
{
    uint16_t digits[20];
    int n = 0;
    bool negative = false;
    if (t->width == 8) {
        uint64_t v = load_u64(p);
        for (; v; v /= 10000)
            digits[n++] = (uint16_t)(v % 10000);
    } else {
        Wide v = pgwide_load(p, t->width, t->is_signed);
        negative = v.negative;
        while (!wide_is_zero(&v))
            digits[n++] = (uint16_t)wide_divide(&v, 10000);
    }
    int weight = n ? n - 1 : 0, low = 0;
    while (low < n && digits[low] == 0) /* trailing zeros are not sent */
        low++;
    be_put_u32(out, (uint32_t)(8 + 2 * (n - low)));
    be_put_u16(out, (uint16_t)(n - low));
    be_put_u16(out, (uint16_t)weight);
    be_put_u16(out, negative ? 0x4000 : 0);
    be_put_u16(out, 0);
    for (int i = n - 1; i >= low; i--)
        be_put_u16(out, digits[i]);
}

static Status numeric_decode(Buf *out, const PgType *t, const uint8_t *d, int32_t len, Error *err)
{
    int ndigits = len >= 8 ? (int16_t)be_u16(d) : -1, weight = len >= 8 ? (int16_t)be_u16(d + 2) : 0;
    if (ndigits < 0 || len != 8 + 2 * ndigits || weight > 19)
        return FAIL(err, S_INVALID, "numeric out of range");
    uint16_t sign = be_u16(d + 4);
    if (sign != 0 && sign != 0x4000)
        return FAIL(err, S_INVALID, "numeric is not a finite number");
    Wide v = {{0}, sign != 0};
    bool ok = ndigits == 0 || weight >= ndigits - 1;
    for (int i = 0; ok && ndigits && i <= weight; i++)
        ok = pgwide_multiply_add(&v, 10000, i < ndigits ? be_u16(d + 8 + 2 * i) : 0);
    if (!ok || !pgwide_store(out, &v, t->width, t->is_signed)) {
        OWN(buf) Buf name = {0};
        type_name(&name, t->type);
        return FAIL(err, S_INVALID, "numeric does not fit %s", buf_cstr(&name));
    }
    return S_OK;
}

/* ---- one value ------------------------------------------------------------------------------ */

static void put_reversed(Buf *out, const uint8_t *p, uint32_t n)
{
    if (!buf_reserve(out, n))
        return;
    for (uint32_t i = 0; i < n; i++)
        out->ptr[out->len + i] = p[n - 1 - i];
    out->len += n;
}

static int64_t integer_load(const uint8_t *p, const PgType *t)
{
    switch (t->width) {
    case 1: return t->is_signed ? (int8_t)*p : *p;
    case 2: return t->is_signed ? (int16_t)load_u16(p) : load_u16(p);
    case 4: return t->is_signed ? (int32_t)load_u32(p) : (int64_t)load_u32(p);
    default: return load_i64(p);
    }
}

void pgtype_array_header(Buf *out, uint32_t elem_oid, bool has_nulls, uint32_t n)
{
    be_put_u32(out, n ? 1 : 0);
    be_put_u32(out, has_nulls);
    be_put_u32(out, elem_oid);
    if (n) {
        be_put_u32(out, n);
        be_put_u32(out, 1);
    }
}

static void patch_length(Buf *out, size_t at)
{
    if (out->overflow)
        return;
    uint32_t len = __builtin_bswap32((uint32_t)(out->len - at - 4));
    memcpy(out->ptr + at, &len, 4);
}

void pgtype_encode(Buf *out, const PgType *t, Reader *r)
{
    if (t->nullable && read_u8(r) != 0) {
        be_put_u32(out, UINT32_MAX);
        return;
    }
    switch (t->kind) {
    case PG_INT2: {
        const uint8_t *p = read_raw(r, t->width);
        be_put_u32(out, 2);
        be_put_u16(out, p ? (uint16_t)integer_load(p, t) : 0);
        return;
    }
    case PG_INT4: {
        const uint8_t *p = read_raw(r, t->width);
        be_put_u32(out, 4);
        be_put_u32(out, p ? (uint32_t)integer_load(p, t) : 0);
        return;
    }
    case PG_INT8: {
        const uint8_t *p = read_raw(r, t->width);
        be_put_u32(out, 8);
        be_put_u64(out, p ? (uint64_t)integer_load(p, t) : 0);
        return;
    }
    case PG_BOOL:
        be_put_u32(out, 1);
        buf_put_u8(out, read_u8(r));
        return;
    case PG_FLOAT4:
        be_put_u32(out, 4);
        be_put_u32(out, read_u32(r));
        return;
    case PG_FLOAT8:
        be_put_u32(out, 8);
        be_put_u64(out, read_u64(r));
        return;
    case PG_TIMESTAMPTZ:
        be_put_u32(out, 8);
        be_put_u64(out, read_u64(r) - (uint64_t)PG_EPOCH_US);
        return;
    case PG_NUMERIC: {
        static const uint8_t zero[32];
        const uint8_t *p = read_raw(r, t->width);
        numeric_encode(out, p ? p : zero, t);
        return;
    }
    case PG_TEXT:
    case PG_BYTEA: {
        Bytes b = read_blob(r);
        be_put_u32(out, (uint32_t)b.len);
        buf_put_bytes(out, b);
        return;
    }
    case PG_FIXED:
    case PG_UUID: {
        const uint8_t *p = read_raw(r, t->width);
        be_put_u32(out, t->width);
        if (p)
            put_reversed(out, p, t->width);
        return;
    }
    case PG_ENUM: {
        uint8_t tag = read_u8(r);
        Str name = tag < t->type->nfields ? t->type->fields[tag].name : STR("");
        be_put_u32(out, (uint32_t)name.len);
        buf_put_str_raw(out, name);
        return;
    }
    case PG_ARRAY: {
        size_t at = out->len;
        uint32_t n = read_u32(r);
        be_put_u32(out, 0);
        pgtype_array_header(out, t->elem->oid, false, n);
        for (uint32_t i = 0; i < n && !r->bad && !out->overflow; i++)
            pgtype_encode(out, t->elem, r);
        patch_length(out, at);
        return;
    }
    case PG_JSONB: {
        size_t at = out->len;
        be_put_u32(out, 0);
        buf_put_u8(out, 1);
        pgjson_put(out, t->type, r);
        patch_length(out, at);
        return;
    }
    }
}

static Status wrong_size(const PgType *t, int32_t len, Error *err)
{
    return FAIL(err, S_INVALID, "unexpected length %d of a %s", (int)len, t->sql);
}

static Status integer_decode(Buf *out, const PgType *t, int64_t v, Error *err)
{
    if (t->width < 8) {
        int bits = t->width * 8;
        int64_t low = t->is_signed ? -(INT64_C(1) << (bits - 1)) : 0;
        int64_t high = (INT64_C(1) << (t->is_signed ? bits - 1 : bits)) - 1;
        if (v < low || v > high)
            return FAIL(err, S_INVALID, "%lld is not in the range %lld to %lld", (long long)v, (long long)low, (long long)high);
    }
    buf_put(out, &v, t->width);
    return S_OK;
}

static Status array_decode(Buf *out, const PgType *t, const uint8_t *d, int32_t len, Error *err)
{
    if (len < 12)
        return wrong_size(t, len, err);
    uint32_t dims = be_u32(d), n = 0;
    const uint8_t *end = d + len;
    if (dims > 1 || be_u32(d + 8) != t->elem->oid)
        return FAIL(err, S_INVALID, "an array of %u dimensions", dims);
    d += 12;
    if (dims) {
        if (end - d < 8)
            return wrong_size(t, len, err);
        n = be_u32(d);
        d += 8;
    }
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        if (end - d < 4)
            return wrong_size(t, len, err);
        int32_t size = (int32_t)be_u32(d);
        d += 4;
        if (size > end - d)
            return wrong_size(t, len, err);
        if (pgtype_decode(out, t->elem, d, size, err) != S_OK)
            return CONTEXT(err, "element %u", i + 1);
        d += size > 0 ? size : 0;
    }
    return S_OK;
}

Status pgtype_decode(Buf *out, const PgType *t, const uint8_t *d, int32_t len, Error *err)
{
    if (len < 0) {
        if (!t->nullable)
            return FAIL(err, S_INVALID, "unexpected NULL");
        buf_put_u8(out, 1);
        return S_OK;
    }
    if (t->nullable)
        buf_put_u8(out, 0);
    switch (t->kind) {
    case PG_INT8:
        if (len != 8)
            return wrong_size(t, len, err);
        return integer_decode(out, t, (int64_t)be_u64(d), err);
    case PG_INT4:
        if (len != 4)
            return wrong_size(t, len, err);
        return integer_decode(out, t, (int32_t)be_u32(d), err);
    case PG_INT2:
        if (len != 2)
            return wrong_size(t, len, err);
        return integer_decode(out, t, (int16_t)be_u16(d), err);
    case PG_BOOL:
        if (len != 1 || *d > 1)
            return wrong_size(t, len, err);
        buf_put_u8(out, *d);
        return S_OK;
    case PG_FLOAT4:
        if (len != 4)
            return wrong_size(t, len, err);
        buf_put_u32(out, be_u32(d));
        return S_OK;
    case PG_FLOAT8:
        if (len != 8)
            return wrong_size(t, len, err);
        buf_put_u64(out, be_u64(d));
        return S_OK;
    case PG_TIMESTAMPTZ: {
        if (len != 8)
            return wrong_size(t, len, err);
        int64_t v = (int64_t)be_u64(d), us;
        if (v == INT64_MIN || v == INT64_MAX || __builtin_add_overflow(v, PG_EPOCH_US, &us))
            return FAIL(err, S_INVALID, "timestamp out of range");
        buf_put_i64(out, us);
        return S_OK;
    }
    case PG_NUMERIC: return numeric_decode(out, t, d, len, err);
    case PG_TEXT:
        if (!utf8_valid((Str){(const char *)d, (size_t)len}))
            return FAIL(err, S_INVALID, "invalid UTF-8");
        /* fallthrough */
    case PG_BYTEA: buf_put_blob(out, bytes_of(d, (size_t)len)); return S_OK;
    case PG_FIXED:
    case PG_UUID:
        if (len != t->width)
            return wrong_size(t, len, err);
        put_reversed(out, d, t->width);
        return S_OK;
    case PG_ENUM:
        for (uint32_t i = 0; i < t->type->nfields; i++)
            if (str_eq(t->type->fields[i].name, (Str){(const char *)d, (size_t)len})) {
                buf_put_u8(out, (uint8_t)i);
                return S_OK;
            }
        return FAIL(err, S_INVALID, "\"%.*s\" is no variant of the enum", (int)MIN(len, 100), (const char *)d);
    case PG_ARRAY: return array_decode(out, t, d, len, err);
    case PG_JSONB:
        if (len < 1 || *d != 1)
            return wrong_size(t, len, err);
        return pgjson_get(out, t->type, (Str){(const char *)d + 1, (size_t)len - 1}, err);
    }
    return FAIL(err, S_INTERNAL, "unknown type");
}

/* ---- storable ------------------------------------------------------------------------------- */

bool pgtype_needs_check(const Type *t)
{
    switch (t->kind) {
    case TYPE_STRING:
    case TYPE_TIMESTAMP: return true;
    case TYPE_ARRAY:
    case TYPE_OPTION: return pgtype_needs_check(t->elem);
    case TYPE_PRODUCT:
    case TYPE_SUM:
    case TYPE_RESULT:
        for (uint32_t i = 0; i < t->nfields; i++)
            if (pgtype_needs_check(t->fields[i].type))
                return true;
        return false;
    default: return false; /* ScheduleAt lives in jsonb as a number */
    }
}

static Status storable(const Type *t, Reader *r, bool in_json, Error *err)
{
    switch (t->kind) {
    case TYPE_STRING: {
        Str s = read_str(r);
        if (s.len && memchr(s.ptr, 0, s.len))
            return FAIL(err, S_INVALID, "text contains a NUL character, which PostgreSQL cannot store");
        return S_OK;
    }
    case TYPE_TIMESTAMP:
        if (read_i64(r) < PG_FIRST_US && !in_json)
            return FAIL(err, S_INVALID, "timestamp is before 4714-11-24 BC, the first that PostgreSQL can store");
        return S_OK;
    case TYPE_ARRAY: {
        uint32_t n = read_u32(r);
        bool json = in_json || !is_pg_scalar(t->elem);
        if (!pgtype_needs_check(t->elem) && t->elem->bsatn_size >= 0) {
            (void)read_raw(r, (size_t)n * (size_t)t->elem->bsatn_size);
            return S_OK;
        }
        for (uint32_t i = 0; i < n && !r->bad; i++)
            TRY(storable(t->elem, r, json, err));
        return S_OK;
    }
    case TYPE_OPTION: return read_u8(r) == 0 ? storable(t->elem, r, in_json || t->elem->kind == TYPE_OPTION, err) : S_OK;
    case TYPE_PRODUCT:
        for (uint32_t i = 0; i < t->nfields; i++)
            TRY(storable(t->fields[i].type, r, true, err));
        return S_OK;
    case TYPE_SUM:
    case TYPE_RESULT: {
        uint8_t tag = read_u8(r);
        return tag < t->nfields ? storable(t->fields[tag].type, r, true, err) : S_OK;
    }
    default: return bsatn_skip(r, t, err);
    }
}

Status pgtype_storable(const Type *t, Reader *value, Error *err) { return storable(t, value, false, err); }

/* ---- DDL ------------------------------------------------------------------------------------ */

static const char *range_of(const Type *t, const char **high)
{
    switch (t->kind) {
    case TYPE_I8: *high = "127"; return "-128";
    case TYPE_U8: *high = "255"; return "0";
    case TYPE_U16: *high = "65535"; return "0";
    case TYPE_U32: *high = "4294967295"; return "0";
    case TYPE_U64: *high = "18446744073709551615"; return "0";
    case TYPE_U128: *high = "340282366920938463463374607431768211455"; return "0";
    case TYPE_I128: *high = "170141183460469231731687303715884105727"; return "-170141183460469231731687303715884105728";
    case TYPE_U256: *high = "115792089237316195423570985008687907853269984665640564039457584007913129639935"; return "0";
    case TYPE_I256:
        *high = "57896044618658097711785492504343953926634992332820282019728792003956564819967";
        return "-57896044618658097711785492504343953926634992332820282019728792003956564819968";
    default: return NULL;
    }
}

void pgtype_check_clause(Buf *out, const PgType *p, const char *column)
{
    const PgType *e = p->kind == PG_ARRAY ? p->elem : p;
    const char *high = NULL, *low = range_of(e->type, &high);
    if (low && p->kind == PG_ARRAY)
        buf_printf(out, "%s <= ALL (%s) AND %s >= ALL (%s)", low, column, high, column);
    else if (low)
        buf_printf(out, "%s BETWEEN %s AND %s", column, low, high);
    else if (e->kind == PG_FIXED && p->kind != PG_ARRAY)
        buf_printf(out, "octet_length(%s) = %u", column, e->width);
    else if (e->kind == PG_TIMESTAMPTZ && p->kind != PG_ARRAY)
        buf_printf(out, "isfinite(%s)", column);
    else if (p->kind == PG_ENUM) {
        buf_printf(out, "%s IN (", column);
        for (uint32_t i = 0; i < p->type->nfields; i++) {
            buf_put_text(out, i ? ", " : "");
            put_literal(out, p->type->fields[i].name);
        }
        buf_put_text(out, ")");
    }
}

static void put_timestamp(Buf *out, int64_t us)
{ /* days -> civil date: H. Hinnant, "chrono-compatible low-level date algorithms", 2013 */
    int64_t day = us / 86400000000, rest = us % 86400000000;
    if (rest < 0) {
        day--;
        rest += 86400000000;
    }
    int64_t z = day + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153, d = doy - (153 * mp + 2) / 5 + 1, m = mp < 10 ? mp + 3 : mp - 9;
    int64_t y = yoe + era * 400 + (m <= 2);
    buf_printf(out, "%04lld-%02lld-%02lld %02lld:%02lld:%02lld.%06lld+00%s", (long long)(y > 0 ? y : 1 - y), (long long)m, (long long)d,
               (long long)(rest / 3600000000), (long long)(rest / 60000000 % 60), (long long)(rest / 1000000 % 60),
               (long long)(rest % 1000000), y > 0 ? "" : " BC");
}

void pgtext_put_float(Buf *out, double v, bool single)
{ /* fewest digits that read back as the same value */
    char text[40];
    for (int digits = single ? 6 : 15;; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (digits >= (single ? 9 : 17) || (single ? strtof(text, NULL) == (float)v : strtod(text, NULL) == v))
            break;
    }
    buf_put_text(out, text);
}

void pgtext_put_hex(Buf *out, const uint8_t *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    if (!buf_reserve(out, n * 2))
        return;
    for (size_t i = 0; i < n; i++) {
        out->ptr[out->len++] = (uint8_t)digits[p[i] >> 4];
        out->ptr[out->len++] = (uint8_t)digits[p[i] & 15];
    }
}

/* The type's input text, as inside quotes. */
static void put_value_text(Buf *out, const PgType *p, Reader *r)
{
    switch (p->kind) {
    case PG_BOOL: buf_put_text(out, read_u8(r) ? "true" : "false"); return;
    case PG_INT2:
    case PG_INT4:
    case PG_INT8:
    case PG_NUMERIC: {
        const uint8_t *v = read_raw(r, p->width);
        if (v)
            pgwide_put_decimal(out, pgwide_load(v, p->width, p->is_signed));
        return;
    }
    case PG_FLOAT4:
    case PG_FLOAT8: {
        double v;
        if (p->kind == PG_FLOAT4) {
            uint32_t bits = read_u32(r);
            float f;
            memcpy(&f, &bits, 4);
            v = (double)f;
        } else {
            uint64_t bits = read_u64(r);
            memcpy(&v, &bits, 8);
        }
        if (__builtin_isnan(v))
            buf_put_text(out, "NaN");
        else if (__builtin_isinf(v))
            buf_put_text(out, v > 0 ? "Infinity" : "-Infinity");
        else
            pgtext_put_float(out, v, p->kind == PG_FLOAT4);
        return;
    }
    case PG_TEXT: {
        Str s = read_str(r);
        buf_put_str_raw(out, s);
        return;
    }
    case PG_BYTEA: {
        Bytes b = read_blob(r);
        buf_put_text(out, "\\x");
        pgtext_put_hex(out, b.ptr, b.len);
        return;
    }
    case PG_FIXED:
    case PG_UUID: {
        OWN(buf) Buf text = {0};
        const uint8_t *v = read_raw(r, p->width);
        if (v)
            put_reversed(&text, v, p->width);
        buf_put_text(out, p->kind == PG_FIXED ? "\\x" : "");
        pgtext_put_hex(out, text.ptr, text.len);
        return;
    }
    case PG_TIMESTAMPTZ: put_timestamp(out, read_i64(r)); return;
    case PG_ENUM: {
        uint8_t tag = read_u8(r);
        if (tag < p->type->nfields)
            buf_put_str_raw(out, p->type->fields[tag].name);
        return;
    }
    case PG_ARRAY: {
        uint32_t n = read_u32(r);
        buf_put_u8(out, '{');
        for (uint32_t i = 0; i < n && !r->bad; i++) {
            OWN(buf) Buf one = {0};
            put_value_text(&one, p->elem, r);
            buf_put_text(out, i ? ",\"" : "\"");
            for (size_t k = 0; k < one.len; k++) {
                if (one.ptr[k] == '"' || one.ptr[k] == '\\')
                    buf_put_u8(out, '\\');
                buf_put_u8(out, one.ptr[k]);
            }
            buf_put_u8(out, '"');
        }
        buf_put_u8(out, '}');
        return;
    }
    case PG_JSONB: pgjson_put(out, p->type, r); return;
    }
}

void pgtype_literal(Buf *out, const PgType *p, Reader *r)
{
    if (p->nullable && read_u8(r) != 0) {
        buf_printf(out, "NULL::%s", p->sql);
        return;
    }
    OWN(buf) Buf text = {0};
    put_value_text(&text, p, r);
    put_literal(out, buf_str(&text));
    buf_printf(out, "::%s", p->sql);
}
