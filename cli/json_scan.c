/* json_scan.c - see json_scan.h. */
#include "cli/json_scan.h"
#include "host/wire/sats_json.h"

#include <ctype.h>

enum { DEPTH_MAX = 256 };

typedef struct Scan {
    const char *p, *end, *start;
    bool json5;
    Arena *arena;
    Error *err;
} Scan;

static Status scan_fail(Scan *s, const char *what)
{
    unsigned line = 1, column = 1;
    for (const char *p = s->start; p < s->p; p++) {
        column++;
        if (*p == '\n') {
            line++;
            column = 1;
        }
    }
    return FAIL(s->err, S_INVALID, "line %u, column %u: %s", line, column, what);
}

static Status skip_space(Scan *s)
{
    for (;;) {
        while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
            s->p++;
        if (!s->json5 || s->end - s->p < 2 || s->p[0] != '/')
            return S_OK;
        if (s->p[1] == '/') {
            while (s->p < s->end && *s->p != '\n')
                s->p++;
        } else if (s->p[1] == '*') {
            const char *close = memmem(s->p + 2, (size_t)(s->end - s->p - 2), "*/", 2);
            if (!close)
                return scan_fail(s, "a comment without its end");
            s->p = close + 2;
        } else {
            return S_OK;
        }
    }
}

static bool hex4(Scan *s, uint32_t *ret)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        if (s->p == s->end || !isxdigit((unsigned char)*s->p))
            return false;
        char d = (char)tolower((unsigned char)*s->p++);
        v = v * 16 + (uint32_t)(d <= '9' ? d - '0' : d - 'a' + 10);
    }
    *ret = v;
    return true;
}

static void put_utf8(Buf *b, uint32_t c)
{
    uint8_t u[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    u[0] = (uint8_t)(n == 1 ? c : (0xf00 >> n) | (c >> (6 * (n - 1))));
    for (size_t i = 1; i < n; i++)
        u[i] = (uint8_t)(0x80 | ((c >> (6 * (n - 1 - i))) & 0x3f));
    buf_put(b, u, n);
}

static Status string(Scan *s, Str *ret)
{
    OWN(buf) Buf out = {0};
    char quote = *s->p++;
    for (;;) {
        const char *run = s->p;
        while (s->p < s->end && *s->p != quote && *s->p != '\\' && (unsigned char)*s->p >= 0x20)
            s->p++;
        buf_put(&out, run, (size_t)(s->p - run));
        if (s->p == s->end)
            return scan_fail(s, "a string without its closing quote");
        if (*s->p == quote)
            break;
        if (*s->p != '\\')
            return scan_fail(s, "a control character in a string");
        s->p++;
        char c = s->p < s->end ? *s->p++ : 0;
        static const char from[] = "bfnrt\"\\/", to[] = "\b\f\n\r\t\"\\/";
        const char *hit = c ? strchr(from, c) : NULL;
        uint32_t code, low;
        if (hit) {
            buf_put(&out, &to[hit - from], 1);
        } else if (c == '\'' && s->json5) {
            buf_put(&out, "'", 1);
        } else if (c == 'u' && hex4(s, &code)) {
            if (code >= 0xd800 && code < 0xdc00) {
                if (s->end - s->p < 6 || s->p[0] != '\\' || s->p[1] != 'u' || (s->p += 2, !hex4(s, &low)) || low < 0xdc00 || low > 0xdfff)
                    return scan_fail(s, "half of a surrogate pair");
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            } else if (code >= 0xdc00 && code < 0xe000) {
                return scan_fail(s, "half of a surrogate pair");
            }
            put_utf8(&out, code);
        } else {
            return scan_fail(s, "unknown escape in a string");
        }
    }
    s->p++;
    *ret = arena_str(s->arena, buf_str(&out));
    return S_OK;
}

static Status number(Scan *s)
{ /* RFC 8259: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
    const char *p = s->p, *end = s->end;
    if (p < end && *p == '-')
        p++;
    const char *digits = p;
    while (p < end && isdigit((unsigned char)*p))
        p++;
    bool good = p > digits && (p == digits + 1 || *digits != '0');
    if (good && p < end && *p == '.') {
        digits = ++p;
        while (p < end && isdigit((unsigned char)*p))
            p++;
        good = p > digits;
    }
    if (good && p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        digits = p;
        while (p < end && isdigit((unsigned char)*p))
            p++;
        good = p > digits;
    }
    if (!good)
        return scan_fail(s, "expected a value");
    s->p = p;
    return S_OK;
}

static bool word(Scan *s, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, text, n) != 0 || (s->p + n < s->end && isalnum((unsigned char)s->p[n])))
        return false;
    s->p += n;
    return true;
}

static Status value(Scan *s, Js *ret, int depth);

static Status member_key(Scan *s, Str *ret)
{
    if (s->p < s->end && (*s->p == '"' || (s->json5 && *s->p == '\'')))
        return string(s, ret);
    const char *begin = s->p;
    while (s->json5 && s->p < s->end && (isalnum((unsigned char)*s->p) || *s->p == '_' || *s->p == '$'))
        s->p++;
    if (s->p == begin)
        return scan_fail(s, "expected a member's name in double quotes");
    *ret = (Str){begin, (size_t)(s->p - begin)};
    return S_OK;
}

static Status container(Scan *s, Js *v, int depth)
{
    if (depth > DEPTH_MAX)
        return scan_fail(s, "nested too deeply");
    char close = *s->p == '[' ? ']' : '}';
    v->kind = *s->p++ == '[' ? JS_ARRAY : JS_OBJECT;
    const Js **link = &v->first;
    TRY(skip_space(s));
    if (s->p < s->end && *s->p == close) {
        s->p++;
        return S_OK;
    }
    for (;;) {
        Js *item = ARENA_NEW(s->arena, Js);
        if (v->kind == JS_OBJECT) {
            Str name;
            TRY(member_key(s, &name));
            TRY(skip_space(s));
            if (s->p == s->end || *s->p != ':')
                return scan_fail(s, "expected `:`");
            s->p++;
            TRY(skip_space(s));
            item->key = name;
        }
        TRY(value(s, item, depth + 1));
        *link = item;
        link = &item->next;
        v->n++;
        TRY(skip_space(s));
        bool comma = s->p < s->end && *s->p == ',';
        if (comma) {
            s->p++;
            TRY(skip_space(s));
        }
        if (s->p < s->end && *s->p == close && (!comma || s->json5)) {
            s->p++;
            return S_OK;
        }
        if (!comma)
            return scan_fail(s, close == ']' ? "expected `,` or `]`" : "expected `,` or `}`");
    }
}

static Status value(Scan *s, Js *v, int depth)
{
    const char *begin = s->p;
    char c = s->p < s->end ? *s->p : 0;
    if (c == '[' || c == '{') {
        TRY(container(s, v, depth));
    } else if (c == '"' || (c == '\'' && s->json5)) {
        v->kind = JS_STRING;
        TRY(string(s, &v->string));
    } else if (word(s, "true") || word(s, "false")) {
        v->kind = JS_BOOL;
        v->truth = c == 't';
    } else if (word(s, "null")) {
        v->kind = JS_NULL;
    } else {
        v->kind = JS_NUMBER;
        TRY(number(s));
    }
    v->text = (Str){begin, (size_t)(s->p - begin)};
    return S_OK;
}

Status js_parse(const Js **ret, Str text, bool json5, Arena *a, Error *err)
{
    if (!utf8_valid(text))
        return FAIL(err, S_INVALID, "the text is not UTF-8");
    text = arena_str(a, text);
    Scan s = {text.ptr, text.ptr + text.len, text.ptr, json5, a, err};
    Js *v = ARENA_NEW(a, Js);
    TRY(skip_space(&s));
    TRY(value(&s, v, 0));
    TRY(skip_space(&s));
    if (s.p < s.end)
        return scan_fail(&s, "unexpected text after the value");
    *ret = v;
    return S_OK;
}

bool js_is(const Js *v, JsKind kind) { return v && v->kind == kind; }
Str js_str(const Js *v) { return js_is(v, JS_STRING) ? v->string : (Str){"", 0}; }

const Js *js_get(const Js *object, const char *key)
{
    if (!js_is(object, JS_OBJECT))
        return NULL;
    for (const Js *m = object->first; m; m = m->next) {
        if (str_is(m->key, key))
            return m;
    }
    return NULL;
}

const Js *js_at(const Js *array, size_t i)
{
    const Js *item = js_is(array, JS_ARRAY) ? array->first : NULL;
    while (item && i--)
        item = item->next;
    return item;
}

int64_t js_int(const Js *v, int64_t otherwise)
{
    char digits[24], *end;
    if (!js_is(v, JS_NUMBER) || v->text.len >= sizeof digits)
        return otherwise;
    memcpy(digits, v->text.ptr, v->text.len);
    digits[v->text.len] = 0;
    long long n = strtoll(digits, &end, 10);
    return *end ? otherwise : n;
}

const Js *js_option(const Js *v)
{
    if (js_is(v, JS_OBJECT) && v->n == 1 && str_is(v->first->key, "some"))
        return v->first;
    if (js_is(v, JS_NULL) || (js_is(v, JS_OBJECT) && v->n == 1 && str_is(v->first->key, "none")))
        return NULL;
    return v;
}

static void layout(Buf *out, const Js *v, int indent, bool pretty)
{
    if (v->kind != JS_ARRAY && v->kind != JS_OBJECT) {
        if (v->kind == JS_STRING) /* also when it came in single quotes */
            json_string(out, v->string);
        else
            buf_put_str_raw(out, v->text);
        return;
    }
    buf_put_text(out, v->kind == JS_ARRAY ? "[" : "{");
    for (const Js *i = v->first; i; i = i->next) {
        if (i != v->first)
            buf_put_text(out, ",");
        if (pretty)
            buf_printf(out, "\n%*s", indent + 2, "");
        if (v->kind == JS_OBJECT) {
            json_string(out, i->key);
            buf_put_text(out, pretty ? ": " : ":");
        }
        layout(out, i, indent + 2, pretty);
    }
    if (pretty && v->first)
        buf_printf(out, "\n%*s", indent, "");
    buf_put_text(out, v->kind == JS_ARRAY ? "]" : "}");
}
void js_pretty(Buf *out, const Js *v, int indent) { layout(out, v, indent, true); }
void js_compact(Buf *out, const Js *v) { layout(out, v, 0, false); }
