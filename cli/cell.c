/* cell.c - see cell.h. */
#include "cli/cell.h"

#include <ctype.h>
#include <stdio.h>
#include <time.h>

bool u128_parse(cli_u128 *ret, Str digits)
{
    cli_u128 v = 0;
    if (digits.len == 0 || digits.len > 39)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        unsigned d = (unsigned)(digits.ptr[i] - '0');
        if (d > 9 || v > (~(cli_u128)0 - d) / 10)
            return false;
        v = v * 10 + d;
    }
    *ret = v;
    return true;
}

void u128_print(Buf *out, cli_u128 v)
{
    char digits[40], *p = digits + sizeof digits;
    do
        *--p = (char)('0' + (int)(v % 10));
    while ((v /= 10) != 0);
    buf_put(out, p, (size_t)(digits + sizeof digits - p));
}

bool uuid_parse(cli_u128 *ret, Str text)
{
    cli_u128 v = 0;
    if (text.len != 36)
        return false;
    for (size_t i = 0; i < 36; i++) {
        char c = text.ptr[i];
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (c != '-')
                return false;
            continue;
        }
        if (!isxdigit((unsigned char)c))
            return false;
        v = v << 4 | (unsigned)(c <= '9' ? c - '0' : tolower((unsigned char)c) - 'a' + 10);
    }
    *ret = v;
    return true;
}

void timestamp_format(Buf *out, int64_t us, const char *zone)
{
    int64_t seconds = us / 1000000, fraction = us % 1000000;
    if (fraction < 0) {
        fraction += 1000000;
        seconds--;
    }
    struct tm tm;
    time_t t = (time_t)seconds;
    char text[64];
    if (!gmtime_r(&t, &tm) || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
        buf_printf(out, "%lld us", (long long)us);
        return;
    }
    buf_put_text(out, text);
    if (fraction % 1000 != 0)
        buf_printf(out, ".%06d", (int)fraction);
    else if (fraction != 0)
        buf_printf(out, ".%03d", (int)(fraction / 1000));
    buf_put_text(out, zone);
}

static void duration_format(Buf *out, int64_t us)
{
    uint64_t magnitude = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    buf_printf(out, "%c%llu.%06u", us < 0 ? '-' : '+', (unsigned long long)(magnitude / 1000000), (unsigned)(magnitude % 1000000));
}

/* "0x2a" -> "42", "-0x1" -> "-1": schoolbook, on decimal digits. */
static bool hex_to_decimal(Buf *out, Str s)
{
    bool negative = s.len && s.ptr[0] == '-';
    size_t i = negative ? 1 : 0;
    if (s.len < i + 3 || s.len > i + 66 || s.ptr[i] != '0' || s.ptr[i + 1] != 'x')
        return false;
    uint8_t digits[80] = {0}; /* least significant first */
    size_t n = 1;
    for (i += 2; i < s.len; i++) {
        char c = s.ptr[i];
        if (!isxdigit((unsigned char)c))
            return false;
        unsigned carry = (unsigned)(c <= '9' ? c - '0' : tolower((unsigned char)c) - 'a' + 10);
        for (size_t k = 0; k < n || carry; k++) {
            unsigned v = digits[k] * 16u + carry;
            digits[k] = (uint8_t)(v % 10);
            carry = v / 10;
            n = MAX(n, k + 1);
        }
    }
    if (negative)
        buf_put_text(out, "-");
    while (n) {
        char c = (char)('0' + digits[--n]);
        buf_put(out, &c, 1);
    }
    return true;
}

static bool identity_format(Buf *out, const Js *v)
{
    Str hex = js_str(js_at(v, 0));
    if (hex.len < 3 || hex.len > 66 || memcmp(hex.ptr, "0x", 2) != 0)
        return false;
    buf_put_text(out, "0x");
    for (size_t i = hex.len - 2; i < 64; i++)
        buf_put_text(out, "0");
    buf_put(out, hex.ptr + 2, hex.len - 2);
    return true;
}

static bool id128_format(Buf *out, const Js *v, bool uuid)
{
    cli_u128 n;
    const Js *number = js_at(v, 0);
    if (!js_is(number, JS_NUMBER) || !u128_parse(&n, number->text))
        return false;
    if (!uuid) {
        buf_printf(out, "0x%016llx%016llx", (unsigned long long)(n >> 64), (unsigned long long)n);
        return true;
    }
    uint64_t hi = (uint64_t)(n >> 64), lo = (uint64_t)n;
    buf_printf(out, "\"%08x-%04x-%04x-%04x-%012llx\"", (unsigned)(hi >> 32), (unsigned)(hi >> 16 & 0xffff), (unsigned)(hi & 0xffff),
               (unsigned)(lo >> 48), (unsigned long long)(lo & 0xffffffffffffu));
    return true;
}

static bool format(Buf *out, const Js *v, const Type *t);

static bool variant(Buf *out, const Js *tag_and_payload, const Type *t)
{
    int64_t tag = js_int(js_at(tag_and_payload, 0), -1);
    const Js *payload = js_at(tag_and_payload, 1);
    Str name;
    const Type *type = &type_unit;
    switch (t->kind) {
    case TYPE_OPTION:
        if (tag < 0 || tag > 1)
            return false;
        name = tag == 0 ? STR("some") : STR("none");
        type = tag == 0 ? t->elem : &type_unit;
        break;
    case TYPE_SCHEDULE_AT:
        if (tag < 0 || tag > 1)
            return false;
        name = tag == 0 ? STR("Interval") : STR("Time");
        type = type_scalar(tag == 0 ? TYPE_DURATION : TYPE_TIMESTAMP);
        break;
    default:
        if (tag < 0 || (uint64_t)tag >= t->nfields)
            return false;
        name = t->fields[tag].name;
        type = t->fields[tag].type;
    }
    buf_printf(out, "(%.*s = ", STR_FMT(name));
    if (!payload || !format(out, payload, type))
        return false;
    buf_put_text(out, ")");
    return true;
}

static bool format(Buf *out, const Js *v, const Type *t)
{
    switch (t->kind) {
    case TYPE_STRING:
        if (v->kind != JS_STRING)
            return false;
        buf_printf(out, "\"%.*s\"", STR_FMT(v->string));
        return true;
    case TYPE_BYTES:
        if (v->kind != JS_STRING)
            return false;
        buf_printf(out, "0x%.*s", STR_FMT(v->string));
        return true;
    case TYPE_I256:
    case TYPE_U256: return hex_to_decimal(out, js_str(v));
    case TYPE_IDENTITY: return identity_format(out, v);
    case TYPE_CONNECTION_ID: return id128_format(out, v, false);
    case TYPE_UUID: return id128_format(out, v, true);
    case TYPE_TIMESTAMP:
    case TYPE_DURATION: {
        const Js *us = js_at(v, 0);
        if (!js_is(us, JS_NUMBER))
            return false;
        if (t->kind == TYPE_TIMESTAMP)
            timestamp_format(out, js_int(us, 0), "+00:00");
        else
            duration_format(out, js_int(us, 0));
        return true;
    }
    case TYPE_ARRAY:
        if (v->kind != JS_ARRAY)
            return false;
        buf_put_text(out, "[");
        for (const Js *i = v->first; i; i = i->next) {
            buf_put_text(out, i == v->first ? "" : ", ");
            if (!format(out, i, t->elem))
                return false;
        }
        buf_put_text(out, "]");
        return true;
    case TYPE_PRODUCT: {
        if (v->kind != JS_ARRAY || v->n != t->nfields)
            return false;
        buf_put_text(out, "(");
        const Js *item = v->first;
        for (uint32_t i = 0; i < t->nfields; i++, item = item->next) {
            Str name = t->fields[i].name;
            bool unnamed = name.len == 0 || isdigit((unsigned char)name.ptr[0]);
            buf_printf(out, "%s%s%.*s = ", i ? ", " : "", unnamed ? "col_" : "", STR_FMT(name));
            if (!format(out, item, t->fields[i].type))
                return false;
        }
        buf_put_text(out, ")");
        return true;
    }
    case TYPE_SUM:
    case TYPE_ENUM:
    case TYPE_RESULT:
    case TYPE_OPTION:
    case TYPE_SCHEDULE_AT: return variant(out, v, t);
    default: /* numbers and booleans as they came */
        if (v->kind == JS_ARRAY || v->kind == JS_OBJECT || v->kind == JS_STRING)
            return false;
        buf_put_str_raw(out, v->text);
        return true;
    }
}

void cell_format(Buf *out, const Js *v, const Type *t)
{
    size_t before = out->len;
    if (!format(out, v, t)) {
        out->len = before;
        buf_put_str_raw(out, v->text);
    }
}
