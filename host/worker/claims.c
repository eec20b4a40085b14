/* claims.c - see claims.h. Nothing is built: the text is walked once. */
#include "host/worker/claims.h"

typedef struct Walk {
    const char *at, *end;
} Walk;

static void skip_space(Walk *w)
{
    while (w->at < w->end && memchr(" \t\r\n", *w->at, 4))
        w->at++;
}

static bool take(Walk *w, char c)
{
    skip_space(w);
    if (w->at == w->end || *w->at != c)
        return false;
    w->at++;
    return true;
}

/* The text between the quotes, escapes and all. */
static bool take_string(Walk *w, Str *ret)
{
    if (!take(w, '"'))
        return false;
    const char *from = w->at;
    for (; w->at < w->end && *w->at != '"'; w->at++)
        if (*w->at == '\\' && ++w->at == w->end)
            return false;
    if (w->at == w->end)
        return false;
    *ret = (Str){from, (size_t)(w->at++ - from)};
    return true;
}

/* One value of any kind: brackets are counted, not matched by kind, since a walk over text that is no JSON only has to end. */
static bool skip_value(Walk *w)
{
    Str text;
    size_t depth = 0;
    do {
        skip_space(w);
        if (w->at == w->end)
            return false;
        if (*w->at == '"') {
            if (!take_string(w, &text))
                return false;
        } else if (*w->at == '{' || *w->at == '[') {
            depth++;
            w->at++;
        } else if (*w->at == '}' || *w->at == ']') {
            if (depth == 0)
                return false;
            depth--;
            w->at++;
        } else if (depth && (*w->at == ',' || *w->at == ':')) {
            w->at++;
        } else {
            const char *from = w->at;
            while (w->at < w->end && !memchr(" \t\r\n,:{}[]\"", *w->at, 11))
                w->at++;
            if (w->at == from)
                return false;
        }
    } while (depth);
    return true;
}

static int hex4(const char *p, const char *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

static void put_code_point(Buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_put_u8(out, (uint8_t)c);
    } else if (c < 0x800) {
        buf_put_u8(out, (uint8_t)(0xc0 | c >> 6));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 63)));
    } else if (c < 0x10000) {
        buf_put_u8(out, (uint8_t)(0xe0 | c >> 12));
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 6 & 63)));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 63)));
    } else {
        buf_put_u8(out, (uint8_t)(0xf0 | c >> 18));
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 12 & 63)));
        buf_put_u8(out, (uint8_t)(0x80 | (c >> 6 & 63)));
        buf_put_u8(out, (uint8_t)(0x80 | (c & 63)));
    }
}

/* What is no escape is taken as it stands; half a surrogate becomes U+FFFD. */
static void put_unescaped(Buf *out, Str s)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *end = s.ptr + s.len;
    for (const char *p = s.ptr; p < end; p++) {
        if (*p != '\\' || p + 1 == end) {
            buf_put_u8(out, (uint8_t)*p);
            continue;
        }
        const char *known = p[1] ? strchr(from, p[1]) : NULL;
        int unit = p[1] == 'u' ? hex4(p + 2, end) : -1, low = -1;
        if (known) {
            buf_put_u8(out, (uint8_t)to[known - from]);
            p++;
        } else if (unit < 0) {
            buf_put_u8(out, '\\');
        } else {
            p += 5;
            if (unit >= 0xd800 && unit < 0xdc00 && end - p > 6 && p[1] == '\\' && p[2] == 'u')
                low = hex4(p + 3, end);
            if (low >= 0xdc00 && low < 0xe000) {
                p += 6;
                put_code_point(out, 0x10000 + ((uint32_t)(unit - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
            } else {
                put_code_point(out, unit >= 0xd800 && unit < 0xe000 ? 0xfffd : (uint32_t)unit);
            }
        }
    }
}

/* The `index`-th text of the value that begins here. */
static bool value_text(Walk *w, uint32_t index, Buf *out)
{
    Str text;
    skip_space(w);
    if (w->at < w->end && *w->at == '"') {
        if (index || !take_string(w, &text))
            return false;
        put_unescaped(out, text);
        return true;
    }
    if (!take(w, '['))
        return false;
    do {
        skip_space(w);
        bool is_text = w->at < w->end && *w->at == '"';
        if (!is_text ? !skip_value(w) : !take_string(w, &text))
            return false;
        if (is_text && index-- == 0) {
            put_unescaped(out, text);
            return true;
        }
    } while (take(w, ','));
    return false;
}

bool claim_text(Str json, Str name, uint32_t index, Buf *out)
{
    Walk w = {json.ptr, json.ptr + json.len};
    Str key;
    if (!take(&w, '{'))
        return false;
    do {
        if (!take_string(&w, &key) || !take(&w, ':'))
            return false;
        if (str_eq(key, name))
            return value_text(&w, index, out);
        if (!skip_value(&w))
            return false;
    } while (take(&w, ','));
    return false;
}
