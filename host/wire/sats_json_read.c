#include "host/wire/sats_json.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "host/schema/value.h"

enum { JSON_DEPTH_MAX = 128, PATH_BYTES_MAX = 200, NUMBER_BYTES_MAX = 400, FIELDS_ON_STACK = 32 };

/* Where we are, as a chain through the stack: printed only when something is wrong. */
typedef struct Place {
    const struct Place *up;
    Str field; /* or */
    uint32_t index;
} Place;

typedef struct Json {
    const char *start, *p, *end;
    Buf *out;
    int depth;
    const Place *place;
    Error *err;
} Json;

static Status read_value(Json *j, const Type *t);

/* ---- errors ------------------------------------------------------------------------------------ */

static void put_path(Buf *out, const Place *place)
{
    if (!place)
        return;
    put_path(out, place->up);
    if (place->field.ptr)
        buf_printf(out, ".%.*s", STR_FMT(place->field));
    else
        buf_printf(out, "[%u]", place->index);
}

static Status PRINTF_LIKE(2, 3) wrong(Json *j, const char *fmt, ...)
{
    char detail[ERROR_TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    OWN(buf) Buf path = {0};
    put_path(&path, j->place);
    unsigned line = 1;
    const char *line_start = j->start;
    for (const char *q = j->start; q < j->p; q++)
        if (*q == '\n')
            line++, line_start = q + 1;
    Str shown = path.len ? buf_str(&path) : STR(".");
    if (shown.len > PATH_BYTES_MAX)
        shown.len = PATH_BYTES_MAX;
    return FAIL(j->err, S_INVALID, "%.*s: %.600s at line %u column %zu", STR_FMT(shown), detail, line, (size_t)(j->p - line_start));
}

static const char *token_name(char c)
{
    switch (c) {
    case '{': return "an object";
    case '[': return "an array";
    case '"': return "a string";
    case 't':
    case 'f': return "a bool";
    case 'n': return "null";
    default: return c == '-' || (c >= '0' && c <= '9') ? "a number" : "something that is not JSON";
    }
}

static Status mismatch(Json *j, const char *expected)
{
    if (j->p == j->end)
        return wrong(j, "the text ends where %s was expected", expected);
    return wrong(j, "invalid type: %s, expected %s", token_name(*j->p), expected);
}

/* ---- tokens ------------------------------------------------------------------------------------ */

static void skip_space(Json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\t' || *j->p == '\r'))
        j->p++;
}

static char peek(Json *j)
{
    skip_space(j);
    return j->p < j->end ? *j->p : 0;
}

static bool accept(Json *j, char c)
{
    if (peek(j) != c || j->p == j->end)
        return false;
    j->p++;
    return true;
}

static Status expect(Json *j, char c)
{
    if (accept(j, c))
        return S_OK;
    if (j->p == j->end)
        return wrong(j, "the text ends where `%c` was expected", c);
    return wrong(j, "expected `%c`", c);
}

static bool accept_word(Json *j, const char *word)
{
    size_t n = strlen(word);
    skip_space(j);
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0)
        return false;
    j->p += n;
    return true;
}

static Status enter(Json *j)
{
    return ++j->depth > JSON_DEPTH_MAX ? wrong(j, "recursion limit exceeded: more than %d levels", JSON_DEPTH_MAX) : S_OK;
}

/* RFC 8259 section 6. `ret_integer`: neither fraction nor exponent. */
static Status read_number(Json *j, Str *ret, bool *ret_integer)
{
    const char *start = j->p, *end = j->end, *p = start;
    bool integer = true;
    if (p < end && *p == '-')
        p++;
    const char *digits = p;
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    if (p == digits || (*digits == '0' && p - digits > 1))
        return wrong(j, "invalid number");
    for (int part = 0; part < 2; part++) {
        if (p == end || !(part ? *p == 'e' || *p == 'E' : *p == '.'))
            continue;
        integer = false;
        p++;
        if (part && p < end && (*p == '+' || *p == '-'))
            p++;
        digits = p;
        while (p < end && *p >= '0' && *p <= '9')
            p++;
        if (p == digits)
            return wrong(j, "invalid number");
    }
    *ret = (Str){start, (size_t)(p - start)};
    *ret_integer = integer;
    j->p = p;
    return S_OK;
}

static bool read_hex4(Json *j, uint32_t *ret)
{
    uint8_t b[2];
    if (j->end - j->p < 4 || !hex_decode(b, 2, (Str){j->p, 4}))
        return false;
    *ret = (uint32_t)b[0] << 8 | b[1];
    j->p += 4;
    return true;
}

static void put_utf8(Buf *out, uint32_t c)
{
    uint8_t b[4];
    size_t n = 0;
    if (c < 0x80) {
        b[n++] = (uint8_t)c;
    } else if (c < 0x800) {
        b[n++] = (uint8_t)(0xc0 | c >> 6);
        b[n++] = (uint8_t)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        b[n++] = (uint8_t)(0xe0 | c >> 12);
        b[n++] = (uint8_t)(0x80 | (c >> 6 & 63));
        b[n++] = (uint8_t)(0x80 | (c & 63));
    } else {
        b[n++] = (uint8_t)(0xf0 | c >> 18);
        b[n++] = (uint8_t)(0x80 | (c >> 12 & 63));
        b[n++] = (uint8_t)(0x80 | (c >> 6 & 63));
        b[n++] = (uint8_t)(0x80 | (c & 63));
    }
    buf_put(out, b, n);
}

static Status read_escape(Json *j, Buf *out)
{
    static const char plain[] = {
        ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    uint8_t c = j->p < j->end ? (uint8_t)*j->p++ : 0;
    uint32_t hi, lo;
    if (c == 'u') {
        if (!read_hex4(j, &hi))
            return wrong(j, "invalid escape");
        if (hi >= 0xd800 && hi < 0xdc00) {
            if (j->end - j->p < 2 || j->p[0] != '\\' || j->p[1] != 'u')
                return wrong(j, "lone leading surrogate in hex escape");
            j->p += 2;
            if (!read_hex4(j, &lo) || lo < 0xdc00 || lo > 0xdfff)
                return wrong(j, "lone leading surrogate in hex escape");
            hi = 0x10000 + ((hi - 0xd800) << 10) + (lo - 0xdc00);
        } else if (hi >= 0xdc00 && hi < 0xe000) {
            return wrong(j, "lone trailing surrogate in hex escape");
        }
        put_utf8(out, hi);
        return S_OK;
    }
    if (c >= sizeof plain || !plain[c])
        return wrong(j, "invalid escape");
    buf_put_u8(out, (uint8_t)plain[c]);
    return S_OK;
}

/* A string, at its opening quote; unescaped bytes are appended to `out`. */
static Status read_string(Json *j, Buf *out)
{
    j->p++;
    for (;;) {
        const char *start = j->p;
        while (j->p < j->end && *j->p != '"' && *j->p != '\\' && (uint8_t)*j->p >= 0x20)
            j->p++;
        buf_put(out, start, (size_t)(j->p - start));
        if (j->p == j->end)
            return wrong(j, "EOF while parsing a string");
        if (*j->p == '"') {
            j->p++;
            return S_OK;
        }
        if (*j->p != '\\')
            return wrong(j, "control character (\\u0000-\\u001F) found while parsing a string");
        j->p++;
        TRY(read_escape(j, out));
    }
}

/* ---- scalars ----------------------------------------------------------------------------------- */

static Status read_integer(Json *j, const Type *t)
{
    static const char *const names[] = {
        [TYPE_I8] = "i8",   [TYPE_U8] = "u8",   [TYPE_I16] = "i16", [TYPE_U16] = "u16",   [TYPE_I32] = "i32",
        [TYPE_U32] = "u32", [TYPE_I64] = "i64", [TYPE_U64] = "u64", [TYPE_I128] = "i128", [TYPE_U128] = "u128"};
    char c = peek(j);
    Str text;
    bool integer;
    if (c != '-' && !(c >= '0' && c <= '9'))
        return mismatch(j, names[t->kind]);
    TRY(read_number(j, &text, &integer));
    if (!integer)
        return wrong(j, "invalid type: floating point `%.*s`, expected %s", (int)MIN(text.len, (size_t)50), text.ptr, names[t->kind]);
    bool negative = text.ptr[0] == '-', fits = true;
    unsigned __int128 v = 0, max = ~(unsigned __int128)0;
    for (size_t i = negative; i < text.len && fits; i++) {
        unsigned digit = (unsigned)(text.ptr[i] - '0');
        fits = v <= (max - digit) / 10;
        v = v * 10 + digit;
    }
    unsigned bits = t->size * 8;
    if (type_is_signed(t))
        fits = fits && v <= ((unsigned __int128)1 << (bits - 1)) - !negative;
    else
        fits = fits && (!negative || v == 0) && (bits == 128 || v >> bits == 0);
    if (!fits)
        return wrong(j, "invalid value: integer `%.*s`, expected %s", (int)MIN(text.len, (size_t)50), text.ptr, names[t->kind]);
    if (negative)
        v = -v;
    buf_put(j->out, &v, t->size);
    return S_OK;
}

/* "0x..." with an optional sign -> 32 little-endian bytes. */
static Status read_int256(Json *j, bool is_signed)
{
    OWN(buf) Buf text = buf_with_max(4096);
    const char *name = is_signed ? "i256" : "u256";
    if (peek(j) != '"')
        return mismatch(j, is_signed ? "a string with an i256 in hexadecimal" : "a string with a u256 in hexadecimal");
    TRY(read_string(j, &text));
    Str s = buf_str(&text);
    bool negative = is_signed && s.len && s.ptr[0] == '-';
    if (s.len && (negative || s.ptr[0] == '+'))
        s = (Str){s.ptr + 1, s.len - 1};
    if (!buf_ok(&text) || s.len < 3 || s.ptr[0] != '0' || s.ptr[1] != 'x')
        return wrong(j, "invalid %s: expected \"0x\" and hexadecimal digits", name);
    uint8_t v[32] = {0};
    bool fits = true;
    for (size_t i = 0; i + 2 < s.len; i++) {
        uint8_t digit;
        char pair[2] = {'0', s.ptr[s.len - 1 - i]};
        if (!hex_decode(&digit, 1, (Str){pair, 2}))
            return wrong(j, "invalid %s: expected \"0x\" and hexadecimal digits", name);
        if (i < 64)
            v[i / 2] |= (uint8_t)(digit << (i % 2 * 4));
        else
            fits = fits && digit == 0;
    }
    if (is_signed && v[31] & 0x80) { /* only -2^255 has this bit */
        bool least = negative && v[31] == 0x80;
        for (int i = 0; i < 31; i++)
            least = least && v[i] == 0;
        fits = fits && least;
    }
    if (!fits)
        return wrong(j, "number out of range for %s", name);
    unsigned carry = 1;
    for (int i = 0; negative && i < 32; i++) {
        carry += (uint8_t)~v[i];
        v[i] = (uint8_t)carry;
        carry >>= 8;
    }
    buf_put(j->out, v, 32);
    return S_OK;
}

static Status read_float(Json *j, const Type *t)
{
    char c = peek(j);
    Str text;
    bool integer;
    if (c != '-' && !(c >= '0' && c <= '9'))
        return mismatch(j, t->kind == TYPE_F32 ? "f32" : "f64");
    TRY(read_number(j, &text, &integer));
    if (text.len > NUMBER_BYTES_MAX)
        return wrong(j, "a number of %zu characters is too long", text.len);
    char z[NUMBER_BYTES_MAX + 1];
    memcpy(z, text.ptr, text.len);
    z[text.len] = 0;
    if (t->kind == TYPE_F32) {
        float f = strtof(z, NULL);
        if (!isfinite(f))
            return wrong(j, "number out of range");
        buf_put(j->out, &f, 4);
    } else {
        double d = strtod(z, NULL);
        if (!isfinite(d))
            return wrong(j, "number out of range");
        buf_put(j->out, &d, 8);
    }
    return S_OK;
}

/* A u32 count in front of what follows: room now, patched later. */
static size_t begin_count(Json *j)
{
    buf_put_u32(j->out, 0);
    return j->out->len;
}
static void end_count(Json *j, size_t at, size_t count)
{
    if (buf_ok(j->out))
        store_u32(j->out->ptr + at - 4, (uint32_t)count);
}

static Status read_text(Json *j)
{
    if (peek(j) != '"')
        return mismatch(j, "a string");
    size_t at = begin_count(j);
    TRY(read_string(j, j->out));
    end_count(j, at, j->out->len - at);
    return S_OK;
}

static Status read_array(Json *j, const Type *elem)
{
    if (peek(j) != '[')
        return mismatch(j, "an array");
    TRY(enter(j));
    j->p++;
    size_t at = begin_count(j);
    Place place = {j->place, {0}, 0};
    uint32_t n = 0;
    j->place = &place;
    if (!accept(j, ']')) {
        do {
            if (n == VALUE_ARRAY_ELEMENTS_MAX || (elem->bsatn_size == 0 && n == VALUE_EMPTY_ELEMENTS_MAX))
                return wrong(j, "an array has too many elements");
            place.index = n++;
            TRY(read_value(j, elem));
        } while (accept(j, ','));
        TRY(expect(j, ']'));
    }
    j->place = place.up;
    j->depth--;
    end_count(j, at, n);
    return S_OK;
}

static Status read_bytes_value(Json *j)
{
    if (peek(j) == '[')
        return read_array(j, type_scalar(TYPE_U8));
    if (peek(j) != '"')
        return mismatch(j, "a string of hexadecimal digits or an array of u8");
    OWN(buf) Buf hex = {0};
    TRY(read_string(j, &hex));
    if (hex.len % 2)
        return wrong(j, "Odd number of digits");
    buf_put_u32(j->out, (uint32_t)(hex.len / 2));
    if (!buf_reserve(j->out, hex.len / 2) || hex.len == 0)
        return S_OK;
    if (!hex_decode(j->out->ptr + j->out->len, hex.len / 2, buf_str(&hex)))
        return wrong(j, "invalid hexadecimal digits");
    j->out->len += hex.len / 2;
    return S_OK;
}

/* ---- products ---------------------------------------------------------------------------------- */

/* How a product is spoken of in errors. */
typedef struct Speech {
    const char *what;
    const char *field;
    Str function;
} Speech;

static void put_names(Buf *out, uint32_t n, const Field *fields)
{
    for (uint32_t i = 0; i < n && out->len < 300; i++)
        buf_printf(out, "%s`%.*s`", i == 0 ? "" : (i + 1 == n ? " or " : ", "), STR_FMT(fields[i].name));
}

static Status wrong_length(Json *j, size_t given, uint32_t expected, const Speech *speech)
{
    if (speech->function.ptr)
        return wrong(j, "invalid length %zu, expected %s for %.*s with %u elements", given, speech->what, STR_FMT(speech->function),
                     expected);
    return wrong(j, "invalid length %zu, expected %s with %u elements", given, speech->what, expected);
}

static Status product_from_array(Json *j, uint32_t n, const Field *fields, const Speech *speech)
{
    TRY(enter(j));
    j->p++;
    Place place = {j->place, {0}, 0};
    for (uint32_t i = 0; i < n; i++) {
        if (peek(j) == ']')
            return wrong_length(j, i, n, speech);
        if (i)
            TRY(expect(j, ','));
        place.index = i;
        j->place = &place;
        TRY(read_value(j, fields[i].type));
        j->place = place.up;
    }
    if (peek(j) == ',')
        return wrong(j, "trailing characters");
    j->depth--;
    if (n == 0 && peek(j) != ']')
        return wrong(j, "trailing characters");
    return expect(j, ']');
}

typedef struct Slice {
    size_t at, len;
    bool seen;
} Slice;

/* Members may come in any order; the encoding has declaration order: what came out of order is put right at the end. */
static void reorder(Buf *out, size_t start, uint32_t n, const Slice *slices)
{
    bool sorted = true;
    for (uint32_t i = 1; i < n; i++)
        sorted = sorted && slices[i].at >= slices[i - 1].at + slices[i - 1].len;
    if (sorted || !buf_ok(out) || out->len == start)
        return;
    size_t len = out->len - start;
    OWN(buf) Buf copy = {0};
    buf_put(&copy, out->ptr + start, len);
    ASSERT(copy.ptr);
    out->len = start;
    for (uint32_t i = 0; i < n; i++)
        buf_put(out, copy.ptr + (slices[i].at - start), slices[i].len);
}

static Status read_members(Json *j, uint32_t n, const Field *fields, Slice *slices, const Speech *speech)
{
    Place place = {j->place, {0}, 0};
    OWN(buf) Buf key = buf_with_max(4096), names = {0};
    do {
        if (peek(j) != '"')
            return mismatch(j, "a member name");
        buf_reset(&key);
        TRY(read_string(j, &key));
        uint32_t i = 0;
        while (i < n && !str_eq(fields[i].name, buf_str(&key)))
            i++;
        if (i == n) {
            put_names(&names, n, fields);
            return wrong(j, "unknown %s `%.*s`, %s%.*s", speech->field, (int)MIN(key.len, (size_t)100), (char *)key.ptr,
                         n ? "expected " : "there are no fields", STR_FMT(buf_str(&names)));
        }
        if (slices[i].seen)
            return wrong(j, "duplicate %s `%.*s`", speech->field, STR_FMT(fields[i].name));
        TRY(expect(j, ':'));
        slices[i] = (Slice){j->out->len, 0, true};
        place.field = fields[i].name;
        j->place = &place;
        TRY(read_value(j, fields[i].type));
        j->place = place.up;
        slices[i].len = j->out->len - slices[i].at;
    } while (accept(j, ','));
    return S_OK;
}

static Status product_from_object(Json *j, uint32_t n, const Field *fields, const Speech *speech)
{
    TRY(enter(j));
    j->p++;
    Slice few[FIELDS_ON_STACK];
    OWN(free) Slice *many = n > FIELDS_ON_STACK ? x_alloc(n * sizeof *many) : NULL;
    Slice *slices = many ? many : few;
    memset(slices, 0, n * sizeof *slices);
    size_t start = j->out->len;
    if (peek(j) != '}')
        TRY(read_members(j, n, fields, slices, speech));
    TRY(expect(j, '}'));
    for (uint32_t i = 0; i < n; i++)
        if (!slices[i].seen)
            return wrong(j, "missing %s `%.*s`", speech->field, STR_FMT(fields[i].name));
    reorder(j->out, start, n, slices);
    j->depth--;
    return S_OK;
}

static Status read_product(Json *j, uint32_t n, const Field *fields, const Speech *speech)
{
    switch (peek(j)) {
    case '[': return product_from_array(j, n, fields, speech);
    case '{': return product_from_object(j, n, fields, speech);
    default: return mismatch(j, speech->what);
    }
}

static const Speech plain_speech = {.what = "a product", .field = "field"};

/* ---- sums -------------------------------------------------------------------------------------- */

typedef struct Variants {
    uint32_t n;
    const Field *fields;
    Field own[2];
} Variants;

static void variants_of(Variants *v, const Type *t)
{
    *v = (Variants){.n = t->nfields, .fields = t->fields};
    if (t->kind != TYPE_OPTION && t->kind != TYPE_SCHEDULE_AT)
        return;
    v->n = 2;
    v->fields = v->own;
    bool option = t->kind == TYPE_OPTION;
    v->own[0] = (Field){.name = option ? STR("some") : STR("Interval"), .type = option ? t->elem : type_scalar(TYPE_DURATION)};
    v->own[1] = (Field){.name = option ? STR("none") : STR("Time"), .type = option ? &type_unit : type_scalar(TYPE_TIMESTAMP)};
}

/* A string key: a decimal tag first, else a variant's name. */
static Status find_variant(Json *j, Str key, const Variants *v, uint32_t *ret)
{
    uint32_t tag = 0;
    bool number = key.len > 0 && key.len <= 3;
    for (size_t i = 0; i < key.len && number; i++) {
        number = key.ptr[i] >= '0' && key.ptr[i] <= '9';
        tag = tag * 10 + (uint32_t)(key.ptr[i] - '0');
    }
    if (number && tag <= UINT8_MAX) {
        *ret = tag;
        if (tag < v->n)
            return S_OK;
    } else {
        for (uint32_t i = 0; i < v->n; i++)
            if (str_eq(v->fields[i].name, key)) {
                *ret = i;
                return S_OK;
            }
    }
    OWN(buf) Buf names = {0};
    put_names(&names, v->n, v->fields);
    return wrong(j, "unknown variant `%.*s`, expected %.*s", (int)MIN(key.len, (size_t)100), key.ptr, STR_FMT(buf_str(&names)));
}

static Status read_payload(Json *j, const Variants *v, uint32_t tag)
{
    Place place = {j->place, v->fields[tag].name, 0};
    buf_put_u8(j->out, (uint8_t)tag);
    j->place = &place;
    TRY(read_value(j, v->fields[tag].type));
    j->place = place.up;
    return S_OK;
}

static Status read_key(Json *j, const Variants *v, uint32_t *ret)
{
    OWN(buf) Buf key = buf_with_max(4096);
    TRY(read_string(j, &key));
    return find_variant(j, buf_str(&key), v, ret);
}

static Status read_sum(Json *j, const Type *t)
{
    Variants v;
    variants_of(&v, t);
    uint32_t tag = 0;
    Str text;
    bool integer;
    char c = peek(j);
    if (t->kind == TYPE_OPTION && accept_word(j, "null")) {
        buf_put_u8(j->out, 1);
        return S_OK;
    }
    if (c != '{' && c != '[')
        return mismatch(j, "a sum: an object with one member or an array of tag and payload");
    TRY(enter(j));
    j->p++;
    if (c == '{') {
        if (peek(j) != '"')
            return wrong(j, "a sum needs exactly one member");
        TRY(read_key(j, &v, &tag));
        TRY(expect(j, ':'));
    } else {
        if (peek(j) == '"') {
            TRY(read_key(j, &v, &tag));
        } else if (peek(j) >= '0' && peek(j) <= '9') {
            TRY(read_number(j, &text, &integer));
            if (!integer)
                return wrong(j, "a tag is an integer");
            TRY(find_variant(j, text, &v, &tag));
        } else {
            return mismatch(j, "a tag or a variant name");
        }
        TRY(expect(j, ','));
    }
    TRY(read_payload(j, &v, tag));
    if (peek(j) == ',')
        return wrong(j, c == '{' ? "a sum needs exactly one member" : "a sum needs exactly two elements");
    j->depth--;
    return expect(j, c == '{' ? '}' : ']');
}

/* ---- the value --------------------------------------------------------------------------------- */

static Status read_value(Json *j, const Type *t)
{
    TypeKind scalar;
    switch (t->kind) {
    case TYPE_BOOL:
        if (accept_word(j, "true"))
            buf_put_u8(j->out, 1);
        else if (accept_word(j, "false"))
            buf_put_u8(j->out, 0);
        else
            return mismatch(j, "a bool");
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
    case TYPE_U128: return read_integer(j, t);
    case TYPE_I256:
    case TYPE_U256: return read_int256(j, t->kind == TYPE_I256);
    case TYPE_F32:
    case TYPE_F64: return read_float(j, t);
    case TYPE_STRING: return read_text(j);
    case TYPE_BYTES: return read_bytes_value(j);
    case TYPE_ARRAY: return read_array(j, t->elem);
    case TYPE_PRODUCT: return read_product(j, t->nfields, t->fields, &plain_speech);
    case TYPE_SUM:
    case TYPE_ENUM:
    case TYPE_RESULT:
    case TYPE_OPTION:
    case TYPE_SCHEDULE_AT: return read_sum(j, t);
    case TYPE_IDENTITY:
    case TYPE_CONNECTION_ID:
    case TYPE_TIMESTAMP:
    case TYPE_DURATION:
    case TYPE_UUID: {
        const char *name = type_special_field(t->kind, &scalar);
        Field f = {.name = str_of(name), .type = type_scalar(scalar)};
        return read_product(j, 1, &f, &plain_speech);
    }
    }
    BUG("a type of kind %d", (int)t->kind);
}

static Status read_whole(Buf *out, Str json, const Type *t, const Speech *speech, Error *err)
{
    Json j = {json.ptr, json.ptr, json.ptr + json.len, out, 0, NULL, err};
    if (!utf8_valid(json))
        return wrong(&j, "invalid utf8");
    size_t was = out->len;
    Status s = speech ? read_product(&j, t->nfields, t->fields, speech) : read_value(&j, t);
    if (s == S_OK && (skip_space(&j), j.p != j.end))
        s = wrong(&j, "trailing characters");
    if (s == S_OK && !buf_ok(out))
        s = FAIL(err, S_TOO_LARGE, ".: the value exceeds %zu bytes", out->max);
    if (s != S_OK)
        out->len = was;
    return s;
}

Status json_to_bsatn(Buf *out, Str json, const Type *t, Error *err) { return read_whole(out, json, t, NULL, err); }

Status json_args_to_bsatn(Buf *out, Str json, const Type *params, Str function, Error *err)
{
    Speech speech = {.what = "reducer args", .field = "reducer argument", .function = function};
    return read_whole(out, json, params, &speech, err);
}
