/* literal.c - a literal as a native value of a column's type (spec sql-and-subscriptions.md 1.6): exact integers of
 * every width, correctly rounded floats, hexadecimal bytes and identities, RFC 3339 timestamps, uuids. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strtod_l */
#endif
#include "host/query/query_int.h"

#include <locale.h>
#include <stdio.h>

const char *sql_type_text(Arena *a, const Type *t)
{
    OWN(buf) Buf b = {0};
    type_name(&b, t);
    return arena_str(a, sql_clip(buf_str(&b), SQL_FRAGMENT_BYTES_MAX)).ptr;
}

const char *sql_literal_text(Arena *a, const Literal *l)
{
    Str s = sql_clip(l->text, SQL_FRAGMENT_BYTES_MAX);
    switch (l->kind) {
    case LIT_NUMBER: return arena_sprintf(a, "%s%.*s", l->negative ? "-" : "", STR_FMT(s));
    case LIT_STRING: return arena_sprintf(a, "'%.*s'", STR_FMT(s));
    case LIT_HEX: return arena_sprintf(a, "0x%.*s", STR_FMT(s));
    case LIT_BOOL: return l->truth ? "true" : "false";
    }
    return "";
}

static Status literal_error(Arena *a, const Literal *l, const Type *t, Error *err)
{
    return FAIL(err, S_INVALID, "the literal expression `%s` cannot be parsed as type `%s`", sql_literal_text(a, l), sql_type_text(a, t));
}
static Status kind_error(Arena *a, const Literal *l, const Type *t, Error *err)
{
    static const char *const kinds[] = {"number", "String", "bytes", "bool"};
    return FAIL(err, S_INVALID, "type mismatch: the literal `%s` is of type `%s`, the column is of type `%s`", sql_literal_text(a, l),
                kinds[l->kind], sql_type_text(a, t));
}

/* ---- numbers ---- */

/* [sign] digits [. digits] [e [sign] digits], digits on one side of the point at least. */
typedef struct Decimal {
    bool negative;
    Str whole, fraction;
    int64_t exponent; /* capped at +-10^9 */
} Decimal;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static size_t digits_at(Str s, size_t at, bool underscores)
{
    size_t n = at;
    while (n < s.len && (is_digit(s.ptr[n]) || (underscores && n > at && s.ptr[n] == '_')))
        n++;
    return n;
}

static bool decimal_parse(Str s, bool negative, bool is_string, Decimal *ret)
{
    size_t at = 0;
    *ret = (Decimal){.negative = negative};
    if (is_string && s.len && (s.ptr[0] == '-' || s.ptr[0] == '+'))
        ret->negative = s.ptr[at++] == '-';
    size_t end = digits_at(s, at, is_string);
    ret->whole = (Str){s.ptr + at, end - at};
    at = end;
    if (at < s.len && s.ptr[at] == '.') {
        end = digits_at(s, at + 1, is_string);
        ret->fraction = (Str){s.ptr + at + 1, end - at - 1};
        at = end;
    }
    if (!ret->whole.len && !ret->fraction.len)
        return false;
    if (at < s.len && (s.ptr[at] == 'e' || s.ptr[at] == 'E')) {
        at++;
        bool down = at < s.len && s.ptr[at] == '-';
        if (at < s.len && (s.ptr[at] == '-' || s.ptr[at] == '+'))
            at++;
        end = digits_at(s, at, false);
        if (end == at)
            return false;
        for (; at < end; at++)
            ret->exponent = MIN(ret->exponent * 10 + (s.ptr[at] - '0'), 1000000000);
        if (down)
            ret->exponent = -ret->exponent;
    }
    return at == s.len;
}

/* The n-th digit of whole and fraction together, or -1 for an underscore. */
static int digit_of(const Decimal *d, size_t i)
{
    char c = i < d->whole.len ? d->whole.ptr[i] : d->fraction.ptr[i - d->whole.len];
    return c == '_' ? -1 : c - '0';
}

/* The magnitude as 256 bits, low word first. False: not integral, or too large. Bounded: at most 78 digits count. */
static bool decimal_magnitude(const Decimal *d, uint64_t m[4])
{
    size_t total = d->whole.len + d->fraction.len, point = 0, count = 0, first = SIZE_MAX, last = 0;
    /* In digits without underscores: position of the first and last non-zero digit, and of the point. */
    for (size_t i = 0; i < total; i++) {
        if (i == d->whole.len)
            point = count;
        int digit = digit_of(d, i);
        if (digit < 0)
            continue;
        if (digit > 0) {
            if (first == SIZE_MAX)
                first = count;
            last = count;
        }
        count++;
    }
    if (d->fraction.len == 0)
        point = count;
    memset(m, 0, 32);
    if (first == SIZE_MAX)
        return true;
    int64_t places = (int64_t)point + d->exponent; /* digits left of the point */
    if (places < (int64_t)last + 1 || places - (int64_t)first > SQL_INTEGER_DIGITS_MAX)
        return false;
    size_t n = 0;
    int64_t written = (int64_t)first;
    for (size_t i = 0; written < places; i++) {
        int digit = i < total ? digit_of(d, i) : 0;
        if (digit < 0 || (i < total && n++ < first))
            continue;
        u128 carry = (u128)digit;
        for (int w = 0; w < 4; w++) {
            carry += (u128)m[w] * 10;
            m[w] = (uint64_t)carry;
            carry >>= 64;
        }
        if (carry)
            return false;
        written++;
    }
    return true;
}

/* Two's complement of `bits` bits; false when the value does not fit. */
static bool decimal_to_integer(const Decimal *d, bool is_signed, uint32_t bits, void *v)
{
    uint64_t m[4];
    if (!decimal_magnitude(d, m))
        return false;
    bool zero = !(m[0] | m[1] | m[2] | m[3]);
    bool negative = d->negative && !zero;
    if (negative && !is_signed)
        return false;
    if (negative) { /* m - 1 must fit into bits - 1 */
        for (int w = 0; w < 4 && m[w]-- == 0; w++)
            ;
    }
    uint32_t room = is_signed ? bits - 1 : bits;
    for (uint32_t w = 0; w < 4; w++) {
        uint32_t from = w * 64;
        if (room <= from ? m[w] != 0 : room < from + 64 && m[w] >> (room - from) != 0)
            return false;
    }
    if (negative)
        for (int w = 0; w < 4; w++)
            m[w] = ~m[w];
    memcpy(v, m, bits / 8);
    return true;
}

static bool float_convert(Arena *a, Str text, bool negative, bool is_string, bool wide, void *v)
{
    static locale_t c_locale; /* made once; engine's thread */
    Decimal d;
    if (!decimal_parse(text, negative, is_string, &d))
        return false;
    if (!c_locale)
        c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    char *plain = arena_alloc_raw(a, text.len + 32);
    size_t n = 0;
    for (size_t i = 0; i < d.whole.len + d.fraction.len; i++) {
        if (i == d.whole.len)
            plain[n++] = '.';
        int digit = digit_of(&d, i);
        if (digit >= 0)
            plain[n++] = (char)('0' + digit);
    }
    snprintf(plain + n, 32, "e%lld", (long long)d.exponent);
    double sign = d.negative ? -1.0 : 1.0; /* + 0.0 turns -0 into 0 */
    if (wide) {
        double x = sign * strtod_l(plain, NULL, c_locale) + 0.0;
        memcpy(v, &x, sizeof x);
    } else {
        float x = (float)sign * strtof_l(plain, NULL, c_locale) + 0.0f;
        memcpy(v, &x, sizeof x);
    }
    return true;
}

Status literal_limit(const Literal *l, uint64_t *ret, Error *err)
{
    Decimal d;
    if (!decimal_parse(l->text, l->negative, false, &d) || !decimal_to_integer(&d, false, 64, ret)) {
        Str s = sql_clip(l->text, SQL_FRAGMENT_BYTES_MAX);
        return FAIL(err, S_INVALID, "the literal expression `%.*s` cannot be parsed as type `u64` (LIMIT)", STR_FMT(s));
    }
    return S_OK;
}

/* ---- bytes, identities, uuids ---- */

static bool hex_text(const Literal *l, Str *ret)
{
    *ret = l->text;
    if (l->kind == LIT_BOOL || l->negative)
        return false;
    if (l->kind == LIT_STRING && l->text.len >= 2 && l->text.ptr[0] == '0' && l->text.ptr[1] == 'x')
        *ret = (Str){l->text.ptr + 2, l->text.len - 2};
    return true;
}

static bool bytes_convert(Arena *a, const Literal *l, void *v)
{
    Str hex;
    if (!hex_text(l, &hex) || hex.len % 2)
        return false;
    Bytes b = {arena_alloc_raw(a, hex.len / 2), hex.len / 2};
    if (hex.len && !hex_decode((void *)b.ptr, b.len, hex))
        return false;
    memcpy(v, &b, sizeof b); /* {pointer, length}: the native layout */
    return true;
}

static void reverse(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        uint8_t t = p[i];
        p[i] = p[n - 1 - i];
        p[n - 1 - i] = t;
    }
}

/* Written most significant digit first, kept least significant byte first. */
static bool wide_hex_convert(const Literal *l, size_t size, uint8_t *v)
{
    Str hex;
    if (!hex_text(l, &hex) || !hex_decode(v, size, hex))
        return false;
    reverse(v, size);
    return true;
}

/* 32 digits, hyphenated, braced, or a URN. */
static bool uuid_convert(const Literal *l, uint8_t *v)
{
    Str s = l->text;
    char plain[32];
    if (l->kind == LIT_HEX)
        return hex_decode(v, 16, s);
    if (l->kind != LIT_STRING)
        return false;
    if (s.len == 45 && memcmp(s.ptr, "urn:uuid:", 9) == 0)
        s = (Str){s.ptr + 9, 36};
    else if (s.len == 38 && s.ptr[0] == '{' && s.ptr[37] == '}')
        s = (Str){s.ptr + 1, 36};
    if (s.len == 36) {
        size_t n = 0;
        for (size_t i = 0; i < 36; i++) {
            bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
            if (hyphen != (s.ptr[i] == '-'))
                return false;
            if (!hyphen)
                plain[n++] = s.ptr[i];
        }
        s = (Str){plain, 32};
    }
    return hex_decode(v, 16, s);
}

/* ---- timestamps ---- */

static bool take_number(Str s, size_t *at, size_t digits, int32_t *ret)
{
    *ret = 0;
    if (s.len - *at < digits)
        return false;
    for (size_t end = *at + digits; *at < end; ++*at) {
        if (!is_digit(s.ptr[*at]))
            return false;
        *ret = *ret * 10 + (s.ptr[*at] - '0');
    }
    return true;
}
static bool take_char(Str s, size_t *at, const char *any)
{
    return *at < s.len && s.ptr[*at] && strchr(any, s.ptr[*at]) ? ++*at, true : false;
}

/* Days since 1970-01-01 of a Gregorian date: eras of 400 years, years that begin in March. */
static int64_t days_of_date(int32_t year, int32_t month, int32_t day)
{
    year -= month <= 2;
    int32_t era = (year >= 0 ? year : year - 399) / 400;
    int32_t year_of_era = year - era * 400;
    int32_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int32_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return (int64_t)era * 146097 + day_of_era - 719468;
}

/* RFC 3339 with an offset, T or a blank between date and time; cut to microseconds. A leap second counts as :59. */
static bool timestamp_convert(Str s, int64_t *ret)
{
    static const int32_t month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    size_t at = 0;
    int32_t year, month, day, hour, minute, second, offset_hour = 0, offset_minute = 0;
    bool ok = take_number(s, &at, 4, &year) && take_char(s, &at, "-") && take_number(s, &at, 2, &month) && take_char(s, &at, "-") &&
              take_number(s, &at, 2, &day) && take_char(s, &at, "Tt ") && take_number(s, &at, 2, &hour) && take_char(s, &at, ":") &&
              take_number(s, &at, 2, &minute) && take_char(s, &at, ":") && take_number(s, &at, 2, &second);
    if (!ok || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60)
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > month_days[month - 1] + (month == 2 && leap))
        return false;
    int64_t micros = 0;
    if (take_char(s, &at, ".")) {
        size_t digits = 0;
        for (; at < s.len && is_digit(s.ptr[at]); at++, digits++)
            if (digits < 6)
                micros = micros * 10 + (s.ptr[at] - '0');
        if (digits == 0)
            return false;
        for (; digits < 6; digits++)
            micros *= 10;
    }
    int64_t sign = 0;
    if (!take_char(s, &at, "Zz")) {
        if (at >= s.len)
            return false;
        sign = s.ptr[at] == '+' ? 1 : s.ptr[at] == '-' ? -1 : 0;
        at++;
        if (!sign || !take_number(s, &at, 2, &offset_hour) || !take_char(s, &at, ":") || !take_number(s, &at, 2, &offset_minute) ||
            offset_hour > 23 || offset_minute > 59)
            return false;
    }
    if (at != s.len)
        return false;
    int64_t seconds = days_of_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + MIN(second, 59) -
                      sign * (offset_hour * 3600 + offset_minute * 60);
    *ret = seconds * 1000000 + micros;
    return true;
}

/* ---- the door ---- */

Status literal_convert(Arena *a, const Literal *l, const Type *t, LiteralUse use, void *v, Error *err)
{
    bool in_row = use == LITERAL_IN_ROW, ok = false;
    memset(v, 0, t->size);
    if (t->kind == TYPE_BOOL) {
        if (l->kind != LIT_BOOL)
            return literal_error(a, l, t, err);
        *(bool *)v = l->truth;
        return S_OK;
    }
    if (l->kind == LIT_BOOL)
        return kind_error(a, l, t, err);
    if (type_is_integer(t) || t->kind == TYPE_F32 || t->kind == TYPE_F64) {
        Decimal d;
        bool is_string = l->kind == LIT_STRING;
        if (is_string && in_row)
            return kind_error(a, l, t, err);
        if (l->kind == LIT_HEX)
            ok = false; /* the reference reads the digits as decimal; refused instead of misunderstood */
        else if (type_is_integer(t))
            ok = decimal_parse(l->text, l->negative, is_string, &d) && decimal_to_integer(&d, type_is_signed(t), t->size * 8, v);
        else
            ok = float_convert(a, l->text, l->negative, is_string, t->kind == TYPE_F64, v);
        return ok ? S_OK : literal_error(a, l, t, err);
    }
    switch (t->kind) {
    case TYPE_STRING: {
        Str s = l->negative ? str_of(arena_sprintf(a, "-%.*s", STR_FMT(l->text))) : l->text;
        memcpy(v, &s, sizeof s);
        return S_OK;
    }
    case TYPE_BYTES:
        if (in_row && l->kind == LIT_STRING)
            return kind_error(a, l, t, err);
        ok = bytes_convert(a, l, v);
        break;
    case TYPE_IDENTITY:
    case TYPE_CONNECTION_ID:
        if (in_row && l->kind == LIT_STRING)
            return kind_error(a, l, t, err);
        ok = wide_hex_convert(l, t->size, v);
        break;
    case TYPE_TIMESTAMP: ok = l->kind == LIT_STRING && timestamp_convert(l->text, v); break;
    case TYPE_UUID: ok = uuid_convert(l, v); break;
    default: break;
    }
    return ok ? S_OK : literal_error(a, l, t, err);
}
