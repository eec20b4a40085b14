/* value.c - the codecs and relations over native values.
 *
 * Fast paths and explanations are apart: the walkers that run on every row (check, encode, decode, skip)
 * answer yes or no and carry no error text; when one says no, an `explain_` walker goes over the same
 * value again, field by field, and words the reason. An explain walker must refuse whatever the fast one
 * refuses, which the fuzzer asserts.
 *
 * Recursion goes as deep as the type, and types are at most TYPE_DEPTH_MAX deep. */
#include "host/schema/value.h"

#include <stdio.h>

/* The native forms with a pointer. */
typedef struct Slice {
    const uint8_t *ptr;
    size_t len; /* bytes, or elements of an array */
} Slice;

static inline Slice slice_of(const void *v)
{
    Slice s;
    memcpy(&s, v, sizeof s);
    return s;
}
static inline const uint8_t *at(const void *v, size_t offset) { return (const uint8_t *)v + offset; }
static inline size_t round16(size_t n) { return (n + 15) & ~(size_t)15; }
static inline bool is_tagged(const Type *t) { return t->kind == TYPE_SUM || t->kind == TYPE_RESULT; }

static inline void reverse16(uint8_t *dst, const uint8_t *src)
{
    uint64_t lo = load_u64(src), hi = load_u64(src + 8);
    store_u64(dst, __builtin_bswap64(hi));
    store_u64(dst + 8, __builtin_bswap64(lo));
}

/* May an array have so many elements, and does what it needs fit the budget? Takes it from the budget. */
static inline bool array_fits(const Type *elem, uint64_t count, size_t *budget)
{
    if (count > (elem->bsatn_size == 0 ? (uint64_t)VALUE_EMPTY_ELEMENTS_MAX : (uint64_t)VALUE_ARRAY_ELEMENTS_MAX))
        return false;
    uint64_t bytes = round16(count * elem->size); /* both factors are below 2^25: no overflow */
    if (bytes > *budget)
        return false;
    *budget -= bytes;
    return true;
}
static inline bool text_fits(uint64_t len, size_t *budget)
{
    if (len > *budget || round16(len) > *budget)
        return false;
    *budget -= round16(len);
    return true;
}

static Status fail_too_many(const Type *elem, uint64_t count, Error *err)
{
    if (elem->bsatn_size == 0 && count > VALUE_EMPTY_ELEMENTS_MAX)
        return FAIL(err, S_INVALID, "array of %llu empty elements, at most %d are allowed", (unsigned long long)count,
                    VALUE_EMPTY_ELEMENTS_MAX);
    if (count > VALUE_ARRAY_ELEMENTS_MAX)
        return FAIL(err, S_INVALID, "array of %llu elements, at most %d are allowed", (unsigned long long)count, VALUE_ARRAY_ELEMENTS_MAX);
    return FAIL(err, S_INVALID, "value takes more than %d bytes in memory", VALUE_HEAP_BYTES_MAX);
}

/* ---- value_check ----------------------------------------------------------------------------- */

static bool check(const Type *t, const void *v, size_t *budget);

static bool check_text(const void *v, bool utf8, size_t *budget)
{
    Slice s = slice_of(v);
    return s.len == 0 ||
           (s.ptr && s.len <= UINT32_MAX && text_fits(s.len, budget) && (!utf8 || utf8_valid((Str){(const char *)s.ptr, s.len})));
}

static bool check_array(const Type *t, const void *v, size_t *budget)
{
    Slice s = slice_of(v);
    if (s.len == 0)
        return true;
    if (!s.ptr || !array_fits(t->elem, s.len, budget))
        return false;
    if (t->elem->flat)
        return true;
    for (size_t i = 0; i < s.len; i++)
        if (!check(t->elem, s.ptr + i * t->elem->size, budget))
            return false;
    return true;
}

static bool check_product(const Type *t, const void *v, size_t *budget)
{
    for (uint32_t i = 0; i < t->nops; i++) {
        const TypeOp *op = &t->ops[i];
        const uint8_t *p = at(v, op->offset);
        switch (op->kind) {
        case OP_COPY: break;
        case OP_BOOL:
            if (*p > 1)
                return false;
            break;
        case OP_STRING:
            if (!check_text(p, true, budget))
                return false;
            break;
        case OP_BYTES:
            if (!check_text(p, false, budget))
                return false;
            break;
        case OP_VALUE:
            if (!check(op->type, p, budget))
                return false;
            break;
        }
    }
    return true;
}

static bool check(const Type *t, const void *v, size_t *budget)
{
    uint8_t first;
    switch (t->kind) {
    case TYPE_PRODUCT: return check_product(t, v, budget);
    case TYPE_STRING: return check_text(v, true, budget);
    case TYPE_BYTES: return check_text(v, false, budget);
    case TYPE_ARRAY: return check_array(t, v, budget);
    case TYPE_BOOL:
    case TYPE_SCHEDULE_AT: return load_u8(v) <= 1;
    case TYPE_ENUM: return load_u8(v) < t->nfields;
    case TYPE_OPTION: first = load_u8(v); return first == 0 || (first == 1 && check(t->elem, at(v, t->payload_offset), budget));
    case TYPE_SUM:
    case TYPE_RESULT: first = load_u8(v); return first < t->nfields && check(t->fields[first].type, at(v, t->payload_offset), budget);
    default: return true;
    }
}

/* The path of the explanation grows from the inside out: each level puts its part in front. A text that
 * still starts with ':' has no path yet. */
static Status prefix_path(Error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
static Status prefix_path(Error *err, const char *fmt, ...)
{
    if (!err)
        return S_INVALID;
    char part[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(part, sizeof part, fmt, ap);
    va_end(ap);
    size_t add = strlen(part), have = strlen(err->text);
    have = MIN(have, sizeof err->text - 1 - add);
    memmove(err->text + add, err->text, have);
    memcpy(err->text, part, add);
    err->text[add + have] = 0;
    return S_INVALID;
}

static Status explain_check(const Type *t, const void *v, size_t *budget, Error *err);

static Status explain_slice(const Type *t, const void *v, size_t *budget, Error *err)
{
    Slice s = slice_of(v);
    if (s.len == 0)
        return S_OK;
    if (!s.ptr)
        return FAIL(err, S_INVALID, ": pointer is NULL but the length is %zu", s.len);
    if (s.len > UINT32_MAX)
        return FAIL(err, S_INVALID, ": length %zu does not fit 32 bits", s.len);
    if (t->kind == TYPE_ARRAY) {
        if (!array_fits(t->elem, s.len, budget)) {
            (void)fail_too_many(t->elem, s.len, err);
            return prefix_path(err, ": ");
        }
        for (size_t i = 0; i < s.len; i++)
            if (explain_check(t->elem, s.ptr + i * t->elem->size, budget, err) != S_OK)
                return prefix_path(err, "[%zu]", i);
        return S_OK;
    }
    if (!text_fits(s.len, budget))
        return FAIL(err, S_INVALID, ": value takes more than %d bytes in memory", VALUE_HEAP_BYTES_MAX);
    if (t->kind == TYPE_STRING && !utf8_valid((Str){(const char *)s.ptr, s.len}))
        return FAIL(err, S_INVALID, ": invalid UTF-8");
    return S_OK;
}

static Status explain_check(const Type *t, const void *v, size_t *budget, Error *err)
{
    uint8_t first = load_u8(v);
    if (t->kind == TYPE_PRODUCT) {
        for (uint32_t i = 0; i < t->nfields; i++)
            if (explain_check(t->fields[i].type, at(v, t->fields[i].offset), budget, err) != S_OK)
                return prefix_path(err, ".%.*s", STR_FMT(t->fields[i].name));
    } else if (t->kind == TYPE_STRING || t->kind == TYPE_BYTES || t->kind == TYPE_ARRAY) {
        return explain_slice(t, v, budget, err);
    } else if (t->kind == TYPE_BOOL || t->kind == TYPE_SCHEDULE_AT || t->kind == TYPE_OPTION) {
        if (first > 1)
            return FAIL(err, S_INVALID, ": %s is %u, must be 0 or 1",
                        t->kind == TYPE_BOOL     ? "bool"
                        : t->kind == TYPE_OPTION ? "`some` of an option"
                                                 : "tag of a ScheduleAt",
                        first);
        if (t->kind == TYPE_OPTION && first && explain_check(t->elem, at(v, t->payload_offset), budget, err) != S_OK)
            return prefix_path(err, ".some");
    } else if (t->kind == TYPE_ENUM || is_tagged(t)) {
        if (first >= t->nfields)
            return FAIL(err, S_INVALID, ": tag %u, but the type has %u variants", first, t->nfields);
        if (t->kind != TYPE_ENUM && explain_check(t->fields[first].type, at(v, t->payload_offset), budget, err) != S_OK)
            return prefix_path(err, ".%.*s", STR_FMT(t->fields[first].name));
    }
    return S_OK;
}

Status value_check(const Type *t, const void *v, Error *err)
{
    size_t budget = VALUE_HEAP_BYTES_MAX;
    if (LIKELY(t->flat || check(t, v, &budget)))
        return S_OK;
    budget = VALUE_HEAP_BYTES_MAX;
    if (explain_check(t, v, &budget, err) == S_OK)
        BUG("value_check refused a value that its explanation accepts");
    if (err) { /* ".name: text" -> "name: text"; ": text" -> "text" */
        size_t cut = err->text[0] == '.' ? 1 : err->text[0] == ':' ? 2 : 0;
        memmove(err->text, err->text + cut, strlen(err->text + cut) + 1);
    }
    return S_INVALID;
}

/* ---- encode ---------------------------------------------------------------------------------- */

static void encode_slice(Buf *out, Slice s)
{
    if (LIKELY(buf_reserve(out, 4 + s.len))) {
        store_u32(out->ptr + out->len, (uint32_t)s.len);
        if (s.len)
            memcpy(out->ptr + out->len + 4, s.ptr, s.len);
        out->len += 4 + s.len;
    }
}

static void encode_product(Buf *out, const Type *t, const void *v)
{
    for (uint32_t i = 0; i < t->nops; i++) {
        const TypeOp *op = &t->ops[i];
        const uint8_t *p = at(v, op->offset);
        switch (op->kind) {
        case OP_COPY: buf_put(out, p, op->len); break;
        case OP_BOOL: buf_put_u8(out, *p); break;
        case OP_STRING:
        case OP_BYTES: encode_slice(out, slice_of(p)); break;
        case OP_VALUE: value_encode(out, op->type, p); break;
        }
    }
}

static void encode_array(Buf *out, const Type *elem, Slice s)
{
    buf_put_u32(out, (uint32_t)s.len);
    if (elem->flat)
        buf_put(out, s.ptr, s.len * elem->size);
    else if (elem->bsatn_size != 0)
        for (size_t i = 0; i < s.len; i++)
            value_encode(out, elem, s.ptr + i * elem->size);
}

void value_encode(Buf *out, const Type *t, const void *v)
{
    uint8_t first, reversed[16];
    if (t->flat) {
        buf_put(out, v, t->size);
        return;
    }
    switch (t->kind) {
    case TYPE_PRODUCT: encode_product(out, t, v); break;
    case TYPE_BOOL:
    case TYPE_ENUM: buf_put_u8(out, load_u8(v)); break;
    case TYPE_STRING:
    case TYPE_BYTES: encode_slice(out, slice_of(v)); break;
    case TYPE_ARRAY: encode_array(out, t->elem, slice_of(v)); break;
    case TYPE_OPTION:
        first = load_u8(v);
        buf_put_u8(out, !first);
        if (first)
            value_encode(out, t->elem, at(v, t->payload_offset));
        break;
    case TYPE_SUM:
    case TYPE_RESULT:
        first = load_u8(v);
        buf_put_u8(out, first);
        value_encode(out, t->fields[first].type, at(v, t->payload_offset));
        break;
    case TYPE_UUID:
        reverse16(reversed, v);
        buf_put(out, reversed, 16);
        break;
    case TYPE_SCHEDULE_AT:
        buf_put_u8(out, load_u8(v));
        buf_put(out, at(v, t->payload_offset), 8);
        break;
    default: BUG("value_encode: kind %d", t->kind);
    }
}

static size_t product_encoded_size(const Type *t, const void *v)
{
    size_t n = 0;
    for (uint32_t i = 0; i < t->nops; i++) {
        const TypeOp *op = &t->ops[i];
        const uint8_t *p = at(v, op->offset);
        switch (op->kind) {
        case OP_COPY: n += op->len; break;
        case OP_BOOL: n += 1; break;
        case OP_STRING:
        case OP_BYTES: n += 4 + slice_of(p).len; break;
        case OP_VALUE: n += value_encoded_size(op->type, p); break;
        }
    }
    return n;
}

size_t value_encoded_size(const Type *t, const void *v)
{
    if (t->bsatn_size >= 0)
        return (size_t)t->bsatn_size;
    switch (t->kind) {
    case TYPE_PRODUCT: return product_encoded_size(t, v);
    case TYPE_STRING:
    case TYPE_BYTES: return 4 + slice_of(v).len;
    case TYPE_ARRAY: {
        Slice s = slice_of(v);
        if (t->elem->bsatn_size >= 0)
            return 4 + s.len * (size_t)t->elem->bsatn_size;
        size_t n = 4;
        for (size_t i = 0; i < s.len; i++)
            n += value_encoded_size(t->elem, s.ptr + i * t->elem->size);
        return n;
    }
    case TYPE_OPTION: return 1 + (load_u8(v) ? value_encoded_size(t->elem, at(v, t->payload_offset)) : 0);
    case TYPE_SUM:
    case TYPE_RESULT: return 1 + value_encoded_size(t->fields[load_u8(v)].type, at(v, t->payload_offset));
    default: BUG("value_encoded_size: kind %d", t->kind);
    }
}

/* ---- decode ---------------------------------------------------------------------------------- */

/* All decode_ functions write into memory that is already zero, so padding and absent parts need nothing. */
typedef struct Decode {
    Reader *in;
    Arena *arena;
    size_t budget;
} Decode;

static bool decode(Decode *d, const Type *t, uint8_t *v);

static bool decode_text(Decode *d, uint8_t *v, bool utf8)
{
    Str s = read_str(d->in);
    if (d->in->bad || !text_fits(s.len, &d->budget) || (utf8 && !utf8_valid(s)))
        return false;
    if (s.len)
        memcpy(v, &(Slice){arena_copy(d->arena, s.ptr, s.len), s.len}, sizeof(Slice));
    return true;
}

static bool decode_array(Decode *d, const Type *elem, uint8_t *v)
{
    uint32_t count = read_u32(d->in);
    size_t least = elem->bsatn_size >= 0 ? (size_t)elem->bsatn_size : 1;
    /* An element takes at least `least` bytes, so a count that the input cannot hold is refused before
     * anything is allocated. */
    if (d->in->bad || count * least > reader_left(d->in) || !array_fits(elem, count, &d->budget))
        return false;
    if (count == 0)
        return true;
    uint8_t *items;
    if (elem->flat) {
        items = arena_copy(d->arena, read_raw(d->in, (size_t)count * elem->size), (size_t)count * elem->size);
    } else {
        items = arena_alloc(d->arena, (size_t)count * elem->size);
        for (uint32_t i = 0; elem->bsatn_size != 0 && i < count; i++)
            if (!decode(d, elem, items + (size_t)i * elem->size))
                return false;
    }
    memcpy(v, &(Slice){items, count}, sizeof(Slice));
    return true;
}

static bool decode_bool(Decode *d, uint8_t *v)
{
    *v = read_u8(d->in);
    return !d->in->bad && *v <= 1;
}

static bool decode_raw(Decode *d, uint8_t *v, size_t len)
{
    const uint8_t *p = read_raw(d->in, len);
    if (LIKELY(p))
        memcpy(v, p, len);
    return p;
}

static bool decode_product(Decode *d, const Type *t, uint8_t *v)
{
    for (uint32_t i = 0; i < t->nops; i++) {
        const TypeOp *op = &t->ops[i];
        uint8_t *p = v + op->offset;
        bool good = false;
        switch (op->kind) {
        case OP_COPY: good = decode_raw(d, p, op->len); break;
        case OP_BOOL: good = decode_bool(d, p); break;
        case OP_STRING: good = decode_text(d, p, true); break;
        case OP_BYTES: good = decode_text(d, p, false); break;
        case OP_VALUE: good = decode(d, op->type, p); break;
        }
        if (UNLIKELY(!good))
            return false;
    }
    return true;
}

static bool decode_sum(Decode *d, const Type *t, uint8_t *v)
{
    *v = read_u8(d->in);
    return !d->in->bad && *v < t->nfields && decode(d, t->fields[*v].type, v + t->payload_offset);
}

static bool decode(Decode *d, const Type *t, uint8_t *v)
{
    if (t->flat)
        return decode_raw(d, v, t->size);
    switch (t->kind) {
    case TYPE_PRODUCT: return decode_product(d, t, v);
    case TYPE_BOOL: return decode_bool(d, v);
    case TYPE_STRING: return decode_text(d, v, true);
    case TYPE_BYTES: return decode_text(d, v, false);
    case TYPE_ARRAY: return decode_array(d, t->elem, v);
    case TYPE_ENUM: *v = read_u8(d->in); return !d->in->bad && *v < t->nfields;
    case TYPE_OPTION:
        if (!decode_bool(d, v))
            return false;
        *v = !*v; /* tag 0 is `some` */
        return !*v || decode(d, t->elem, v + t->payload_offset);
    case TYPE_SUM:
    case TYPE_RESULT: return decode_sum(d, t, v);
    case TYPE_UUID: {
        const uint8_t *p = read_raw(d->in, 16);
        if (p)
            reverse16(v, p);
        return p;
    }
    case TYPE_SCHEDULE_AT: return decode_bool(d, v) && decode_raw(d, v + t->payload_offset, 8);
    default: BUG("value_decode: kind %d", t->kind);
    }
}

static Status explain_decode(Reader start, const Type *t, Error *err);

Status value_decode(Reader *in, const Type *t, void *v, Arena *a, Error *err)
{
    Reader start = *in;
    Decode d = {in, a, VALUE_HEAP_BYTES_MAX};
    if (!t->flat)
        memset(v, 0, t->size);
    if (LIKELY(decode(&d, t, v)))
        return S_OK;
    in->bad = true;
    return explain_decode(start, t, err);
}

/* ---- skip ------------------------------------------------------------------------------------ */

static bool skip(Reader *in, const Type *t, size_t *budget);

static bool skip_text(Reader *in, bool utf8, size_t *budget)
{
    Str s = read_str(in);
    return !in->bad && text_fits(s.len, budget) && (!utf8 || utf8_valid(s));
}

static bool skip_array(Reader *in, const Type *elem, size_t *budget)
{
    uint32_t count = read_u32(in);
    size_t least = elem->bsatn_size >= 0 ? (size_t)elem->bsatn_size : 1;
    if (in->bad || count * least > reader_left(in) || !array_fits(elem, count, budget))
        return false;
    if (elem->flat)
        return read_raw(in, (size_t)count * elem->size);
    for (uint32_t i = 0; elem->bsatn_size != 0 && i < count; i++)
        if (!skip(in, elem, budget))
            return false;
    return true;
}

static bool skip_bool(Reader *in) { return read_u8(in) <= 1 && !in->bad; }

static bool skip_product(Reader *in, const Type *t, size_t *budget)
{
    for (uint32_t i = 0; i < t->nops; i++) {
        const TypeOp *op = &t->ops[i];
        bool good = false;
        switch (op->kind) {
        case OP_COPY: good = read_raw(in, op->len); break;
        case OP_BOOL: good = skip_bool(in); break;
        case OP_STRING: good = skip_text(in, true, budget); break;
        case OP_BYTES: good = skip_text(in, false, budget); break;
        case OP_VALUE: good = skip(in, op->type, budget); break;
        }
        if (UNLIKELY(!good))
            return false;
    }
    return true;
}

static bool skip(Reader *in, const Type *t, size_t *budget)
{
    uint8_t tag;
    if (t->flat)
        return read_raw(in, t->size);
    switch (t->kind) {
    case TYPE_PRODUCT: return skip_product(in, t, budget);
    case TYPE_BOOL: return skip_bool(in);
    case TYPE_STRING: return skip_text(in, true, budget);
    case TYPE_BYTES: return skip_text(in, false, budget);
    case TYPE_ARRAY: return skip_array(in, t->elem, budget);
    case TYPE_UUID: return read_raw(in, 16);
    case TYPE_SCHEDULE_AT: return skip_bool(in) && read_raw(in, 8);
    default: break;
    }
    tag = read_u8(in);
    if (in->bad)
        return false;
    switch (t->kind) {
    case TYPE_ENUM: return tag < t->nfields;
    case TYPE_OPTION: return tag == 1 || (tag == 0 && skip(in, t->elem, budget));
    case TYPE_SUM:
    case TYPE_RESULT: return tag < t->nfields && skip(in, t->fields[tag].type, budget);
    default: BUG("bsatn_skip: kind %d", t->kind);
    }
}

Status bsatn_skip(Reader *in, const Type *t, Error *err)
{
    Reader start = *in;
    size_t budget = VALUE_HEAP_BYTES_MAX;
    if (LIKELY(skip(in, t, &budget)))
        return S_OK;
    in->bad = true;
    return explain_decode(start, t, err);
}

/* ---- the words for a decode that failed ------------------------------------------------------- */

static Status explain(Reader *in, const Type *t, size_t *budget, Error *err);

static Status need(Reader *in, size_t len, const char *what, Error *err)
{
    size_t left = in->bad ? 0 : reader_left(in);
    if (left < len)
        return FAIL(err, S_INVALID, "data too short for %s: Expected %zu, given %zu", what, len, left);
    (void)read_raw(in, len);
    return S_OK;
}

static Status explain_bool(Reader *in, Error *err)
{
    uint8_t b = reader_left(in) ? *in->ptr : 0;
    TRY(need(in, 1, "bool", err));
    return b <= 1 ? S_OK : FAIL(err, S_INVALID, "byte %u is not a bool: Expected 0 or 1", b);
}

static Status explain_length(Reader *in, uint32_t *ret_n, Error *err)
{
    uint32_t n = reader_left(in) >= 4 ? load_u32(in->ptr) : 0;
    TRY(need(in, 4, "u32", err));
    *ret_n = n;
    return S_OK;
}

static Status explain_text(Reader *in, bool utf8, size_t *budget, Error *err)
{
    uint32_t n;
    TRY(explain_length(in, &n, err));
    const char *p = (const char *)in->ptr;
    TRY(need(in, n, "[u8]", err));
    if (!text_fits(n, budget))
        return FAIL(err, S_INVALID, "value takes more than %d bytes in memory", VALUE_HEAP_BYTES_MAX);
    return !utf8 || utf8_valid((Str){p, n}) ? S_OK : FAIL(err, S_INVALID, "invalid utf8");
}

static Status explain_array(Reader *in, const Type *elem, size_t *budget, Error *err)
{
    uint32_t n;
    TRY(explain_length(in, &n, err));
    if (!array_fits(elem, n, budget))
        return fail_too_many(elem, n, err);
    size_t least = elem->bsatn_size >= 0 ? (size_t)elem->bsatn_size : 1;
    for (uint32_t i = 0; elem->bsatn_size != 0 && i < n; i++) {
        if ((n - i) * least > reader_left(in) && elem->flat) { /* no need to walk what is there: words as if we had */
            (void)read_raw(in, reader_left(in) / least * least);
        }
        TRY(explain(in, elem, budget, err));
    }
    return S_OK;
}

static Status explain_tag(Reader *in, const Type *t, uint32_t nvariants, uint8_t *ret_tag, Error *err)
{
    uint8_t tag = reader_left(in) ? *in->ptr : 0;
    TRY(need(in, 1, "u8", err));
    if (tag >= nvariants) {
        OWN(buf) Buf name = buf_with_max(200);
        type_name(&name, t);
        return FAIL(err, S_INVALID, "unknown tag 0x%x for sum type %.*s", tag, STR_FMT(buf_str(&name)));
    }
    *ret_tag = tag;
    return S_OK;
}

static Status explain(Reader *in, const Type *t, size_t *budget, Error *err)
{
    uint8_t tag;
    TypeKind scalar;
    switch (t->kind) {
    case TYPE_PRODUCT:
        for (uint32_t i = 0; i < t->nfields; i++)
            TRY(explain(in, t->fields[i].type, budget, err));
        return S_OK;
    case TYPE_BOOL: return explain_bool(in, err);
    case TYPE_STRING: return explain_text(in, true, budget, err);
    case TYPE_BYTES: return explain_text(in, false, budget, err);
    case TYPE_ARRAY: return explain_array(in, t->elem, budget, err);
    case TYPE_SCHEDULE_AT: TRY(explain_tag(in, t, 2, &tag, err)); return need(in, 8, "i64", err);
    case TYPE_OPTION: TRY(explain_tag(in, t, 2, &tag, err)); return tag == 0 ? explain(in, t->elem, budget, err) : S_OK;
    case TYPE_ENUM: return explain_tag(in, t, t->nfields, &tag, err);
    case TYPE_SUM:
    case TYPE_RESULT: TRY(explain_tag(in, t, t->nfields, &tag, err)); return explain(in, t->fields[tag].type, budget, err);
    default: { /* a scalar, under its own name or, for a special product, its scalar's */
        const Type *named = type_special_field(t->kind, &scalar) ? type_scalar(scalar) : type_scalar(t->kind);
        OWN(buf) Buf name = buf_with_max(64);
        type_name(&name, named);
        return need(in, (size_t)t->bsatn_size, buf_cstr(&name), err);
    }
    }
}

static Status explain_decode(Reader start, const Type *t, Error *err)
{
    size_t budget = VALUE_HEAP_BYTES_MAX;
    if (start.bad)
        return FAIL(err, S_INVALID, "data too short");
    if (explain(&start, t, &budget, err) == S_OK)
        BUG("value_decode refused bytes that its explanation accepts");
    return S_INVALID;
}

/* ---- copy ------------------------------------------------------------------------------------ */

size_t value_heap_size(const Type *t, const void *v)
{
    if (!t->has_pointers)
        return 0;
    switch (t->kind) {
    case TYPE_STRING:
    case TYPE_BYTES: return round16(slice_of(v).len);
    case TYPE_ARRAY: {
        Slice s = slice_of(v);
        size_t n = round16(s.len * t->elem->size);
        for (size_t i = 0; t->elem->has_pointers && i < s.len; i++)
            n += value_heap_size(t->elem, s.ptr + i * t->elem->size);
        return n;
    }
    case TYPE_PRODUCT: {
        size_t n = 0;
        for (uint32_t i = 0; i < t->nops; i++) {
            const TypeOp *op = &t->ops[i];
            if (op->kind == OP_STRING || op->kind == OP_BYTES)
                n += round16(slice_of(at(v, op->offset)).len);
            else if (op->kind == OP_VALUE)
                n += value_heap_size(op->type, at(v, op->offset));
        }
        return n;
    }
    case TYPE_OPTION: return load_u8(v) ? value_heap_size(t->elem, at(v, t->payload_offset)) : 0;
    case TYPE_SUM:
    case TYPE_RESULT: return value_heap_size(t->fields[load_u8(v)].type, at(v, t->payload_offset));
    default: BUG("value_heap_size: kind %d", t->kind);
    }
}

static void copy_text(uint8_t *dst, const void *src, uint8_t **heap)
{
    Slice s = slice_of(src);
    if (s.len == 0)
        return;
    memcpy(*heap, s.ptr, s.len);
    memcpy(dst, &(Slice){*heap, s.len}, sizeof(Slice));
    *heap += round16(s.len);
}

static void copy_array(const Type *elem, uint8_t *dst, const void *src, uint8_t **heap)
{
    Slice s = slice_of(src);
    if (s.len == 0)
        return;
    uint8_t *items = *heap;
    size_t bytes = s.len * elem->size;
    *heap += round16(bytes);
    memcpy(dst, &(Slice){items, s.len}, sizeof(Slice));
    if (elem->flat) {
        memcpy(items, s.ptr, bytes);
        return;
    }
    memset(items, 0, bytes);
    for (size_t i = 0; i < s.len; i++)
        value_copy(elem, items + i * elem->size, s.ptr + i * elem->size, heap);
}

static void copy_product(const Type *t, uint8_t *dst, const void *src, uint8_t **heap)
{
    for (uint32_t i = 0; i < t->nops; i++) {
        const TypeOp *op = &t->ops[i];
        const uint8_t *p = at(src, op->offset);
        uint8_t *q = dst + op->offset;
        switch (op->kind) {
        case OP_COPY: memcpy(q, p, op->len); break;
        case OP_BOOL: *q = *p; break;
        case OP_STRING:
        case OP_BYTES: copy_text(q, p, heap); break;
        case OP_VALUE: value_copy(op->type, q, p, heap); break;
        }
    }
}

void value_copy(const Type *t, void *dst, const void *src, uint8_t **heap)
{
    if (t->flat) {
        memcpy(dst, src, t->size);
        return;
    }
    uint8_t first = load_u8(src);
    switch (t->kind) {
    case TYPE_PRODUCT: copy_product(t, dst, src, heap); break;
    case TYPE_STRING:
    case TYPE_BYTES: copy_text(dst, src, heap); break;
    case TYPE_ARRAY: copy_array(t->elem, dst, src, heap); break;
    case TYPE_BOOL:
    case TYPE_ENUM: store_u8(dst, first); break;
    case TYPE_UUID: memcpy(dst, src, 16); break;
    case TYPE_SCHEDULE_AT:
        store_u8(dst, first);
        memcpy((uint8_t *)dst + t->payload_offset, at(src, t->payload_offset), 8);
        break;
    case TYPE_OPTION:
    case TYPE_SUM:
    case TYPE_RESULT:
        store_u8(dst, first);
        if (t->kind != TYPE_OPTION || first)
            value_copy(t->kind == TYPE_OPTION ? t->elem : t->fields[first].type, (uint8_t *)dst + t->payload_offset,
                       at(src, t->payload_offset), heap);
        break;
    default: BUG("value_copy: kind %d", t->kind);
    }
}

/* ---- order ----------------------------------------------------------------------------------- */

#define ORDER(a, b) (((a) > (b)) - ((a) < (b)))
#define ORDER_AS(T, x, y)                                                                                                                  \
    ({                                                                                                                                     \
        T a_, b_;                                                                                                                          \
        memcpy(&a_, (x), sizeof a_);                                                                                                       \
        memcpy(&b_, (y), sizeof b_);                                                                                                       \
        ORDER(a_, b_);                                                                                                                     \
    })
/* NaN equals NaN and is above everything. */
#define ORDER_FLOAT(T, x, y)                                                                                                               \
    ({                                                                                                                                     \
        T a_, b_;                                                                                                                          \
        memcpy(&a_, (x), sizeof a_);                                                                                                       \
        memcpy(&b_, (y), sizeof b_);                                                                                                       \
        a_ != a_ || b_ != b_ ? (int)(a_ != a_) - (int)(b_ != b_) : ORDER(a_, b_);                                                          \
    })

/* Little-endian words, most significant one last; `is_signed` concerns that one only. */
static int order_words(const void *x, const void *y, int words, bool is_signed)
{
    uint64_t flip = is_signed ? (uint64_t)1 << 63 : 0;
    for (int i = words - 1; i >= 0; i--, flip = 0) {
        uint64_t a = load_u64(at(x, (size_t)i * 8)) ^ flip, b = load_u64(at(y, (size_t)i * 8)) ^ flip;
        if (a != b)
            return a < b ? -1 : 1;
    }
    return 0;
}

static int order_text(const void *x, const void *y)
{
    Slice a = slice_of(x), b = slice_of(y);
    size_t n = MIN(a.len, b.len);
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : ORDER(a.len, b.len);
}

static int order_array(const Type *elem, const void *x, const void *y)
{
    Slice a = slice_of(x), b = slice_of(y);
    for (size_t i = 0; i < MIN(a.len, b.len); i++) {
        int c = value_compare(elem, a.ptr + i * elem->size, b.ptr + i * elem->size);
        if (c)
            return c;
    }
    return ORDER(a.len, b.len);
}

static int order_product(const Type *t, const void *x, const void *y)
{
    for (uint32_t i = 0; i < t->nfields; i++) {
        const Field *f = &t->fields[i];
        int c = value_compare(f->type, at(x, f->offset), at(y, f->offset));
        if (c)
            return c;
    }
    return 0;
}

/* Sums order by tag as on the wire: so some(v) comes before none, as NULLS LAST does. */
static int order_sum(const Type *t, const void *x, const void *y)
{
    uint8_t a = load_u8(x), b = load_u8(y);
    const Type *payload = t->kind == TYPE_OPTION ? t->elem : NULL;
    if (payload) {
        if (!a || !b)
            return (int)b - (int)a;
    } else {
        if (a != b)
            return (int)a - (int)b;
        payload = t->fields[a].type;
    }
    return value_compare(payload, at(x, t->payload_offset), at(y, t->payload_offset));
}

int value_compare(const Type *t, const void *x, const void *y)
{
    switch (t->kind) {
    case TYPE_U64: return ORDER_AS(uint64_t, x, y);
    case TYPE_I64:
    case TYPE_TIMESTAMP:
    case TYPE_DURATION: return ORDER_AS(int64_t, x, y);
    case TYPE_U32: return ORDER_AS(uint32_t, x, y);
    case TYPE_I32: return ORDER_AS(int32_t, x, y);
    case TYPE_STRING:
    case TYPE_BYTES: return order_text(x, y);
    case TYPE_BOOL:
    case TYPE_U8:
    case TYPE_ENUM: return ORDER_AS(uint8_t, x, y);
    case TYPE_I8: return ORDER_AS(int8_t, x, y);
    case TYPE_U16: return ORDER_AS(uint16_t, x, y);
    case TYPE_I16: return ORDER_AS(int16_t, x, y);
    case TYPE_I128: return order_words(x, y, 2, true);
    case TYPE_U128:
    case TYPE_CONNECTION_ID: return order_words(x, y, 2, false);
    case TYPE_I256: return order_words(x, y, 4, true);
    case TYPE_U256:
    case TYPE_IDENTITY: return order_words(x, y, 4, false);
    case TYPE_UUID: return memcmp(x, y, 16);
    case TYPE_F32: return ORDER_FLOAT(float, x, y);
    case TYPE_F64: return ORDER_FLOAT(double, x, y);
    case TYPE_ARRAY: return order_array(t->elem, x, y);
    case TYPE_PRODUCT: return order_product(t, x, y);
    case TYPE_OPTION:
    case TYPE_SUM:
    case TYPE_RESULT: return order_sum(t, x, y);
    case TYPE_SCHEDULE_AT: {
        int c = ORDER_AS(uint8_t, x, y);
        return c ? c : ORDER_AS(int64_t, at(x, t->payload_offset), at(y, t->payload_offset));
    }
    }
    BUG("value_compare: kind %d", t->kind);
}

/* ---- equality and hash ----------------------------------------------------------------------- */

static bool equal_text(const void *x, const void *y)
{
    Slice a = slice_of(x), b = slice_of(y);
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static bool equal_array(const Type *elem, const void *x, const void *y)
{
    Slice a = slice_of(x), b = slice_of(y);
    if (a.len != b.len)
        return false;
    if (elem->flat)
        return a.len == 0 || memcmp(a.ptr, b.ptr, a.len * elem->size) == 0;
    for (size_t i = 0; i < a.len; i++)
        if (!value_equal(elem, a.ptr + i * elem->size, b.ptr + i * elem->size))
            return false;
    return true;
}

static bool equal_product(const Type *t, const void *x, const void *y)
{
    for (uint32_t i = 0; i < t->nops; i++) {
        const TypeOp *op = &t->ops[i];
        const uint8_t *p = at(x, op->offset), *q = at(y, op->offset);
        bool same = false;
        switch (op->kind) {
        case OP_COPY: same = memcmp(p, q, op->len) == 0; break;
        case OP_BOOL: same = *p == *q; break;
        case OP_STRING:
        case OP_BYTES: same = equal_text(p, q); break;
        case OP_VALUE: same = value_equal(op->type, p, q); break;
        }
        if (!same)
            return false;
    }
    return true;
}

bool value_equal(const Type *t, const void *x, const void *y)
{
    if (t->flat)
        return memcmp(x, y, t->size) == 0;
    switch (t->kind) {
    case TYPE_PRODUCT: return equal_product(t, x, y);
    case TYPE_STRING:
    case TYPE_BYTES: return equal_text(x, y);
    case TYPE_ARRAY: return equal_array(t->elem, x, y);
    case TYPE_BOOL:
    case TYPE_ENUM: return load_u8(x) == load_u8(y);
    case TYPE_UUID: return memcmp(x, y, 16) == 0;
    default: break;
    }
    if (load_u8(x) != load_u8(y))
        return false;
    const uint8_t *p = at(x, t->payload_offset), *q = at(y, t->payload_offset);
    switch (t->kind) {
    case TYPE_SCHEDULE_AT: return load_u64(p) == load_u64(q);
    case TYPE_OPTION: return load_u8(x) == 0 || value_equal(t->elem, p, q);
    case TYPE_SUM:
    case TYPE_RESULT: return value_equal(t->fields[load_u8(x)].type, p, q);
    default: BUG("value_equal: kind %d", t->kind);
    }
}

static uint64_t hash_product(const Type *t, const void *v, uint64_t seed)
{
    for (uint32_t i = 0; i < t->nops; i++) {
        const TypeOp *op = &t->ops[i];
        const uint8_t *p = at(v, op->offset);
        switch (op->kind) {
        case OP_COPY: seed = hash_bytes(p, op->len, seed); break;
        case OP_BOOL: seed = hash_u64(seed + 1 + *p); break;
        case OP_STRING:
        case OP_BYTES: {
            Slice s = slice_of(p);
            seed = hash_bytes(s.ptr, s.len, seed);
            break;
        }
        case OP_VALUE: seed = value_hash(op->type, p, seed); break;
        }
    }
    return seed;
}

static uint64_t hash_array(const Type *elem, Slice s, uint64_t seed)
{
    seed = hash_u64(seed ^ s.len);
    if (elem->flat)
        return hash_bytes(s.ptr, s.len * elem->size, seed);
    for (size_t i = 0; elem->bsatn_size != 0 && i < s.len; i++)
        seed = value_hash(elem, s.ptr + i * elem->size, seed);
    return seed;
}

/* For keys of 4 and 8 bytes, the usual ones: two multiplications. The odd constant keeps seed and value
 * from cancelling out. */
static inline uint64_t hash_word(uint64_t word, uint64_t seed) { return hash_u64(word ^ (seed * 0x9e3779b97f4a7c15u)); }

uint64_t value_hash(const Type *t, const void *v, uint64_t seed)
{
    if (t->flat)
        return t->size == 8 ? hash_word(load_u64(v), seed) : t->size == 4 ? hash_word(load_u32(v), seed) : hash_bytes(v, t->size, seed);
    uint8_t first;
    switch (t->kind) {
    case TYPE_PRODUCT: return hash_product(t, v, seed);
    case TYPE_STRING:
    case TYPE_BYTES: {
        Slice s = slice_of(v);
        return hash_bytes(s.ptr, s.len, seed);
    }
    case TYPE_ARRAY: return hash_array(t->elem, slice_of(v), seed);
    case TYPE_UUID: return hash_bytes(v, 16, seed);
    default: break;
    }
    first = load_u8(v);
    seed = hash_word(first, seed);
    const uint8_t *payload = at(v, t->payload_offset);
    switch (t->kind) {
    case TYPE_BOOL:
    case TYPE_ENUM: return seed;
    case TYPE_SCHEDULE_AT: return hash_word(load_u64(payload), seed);
    case TYPE_OPTION: return first ? value_hash(t->elem, payload, seed) : seed;
    case TYPE_SUM:
    case TYPE_RESULT: return value_hash(t->fields[first].type, payload, seed);
    default: BUG("value_hash: kind %d", t->kind);
    }
}
