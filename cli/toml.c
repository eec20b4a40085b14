/* toml.c - reading and editing cli.toml. Grammar: TOML 1.0.0, without dotted keys and dates as values of interest. */
#include "cli/toml.h"

#include <ctype.h>

typedef struct Scan {
    const char *p, *end, *start;
    Arena *arena;
    Error *err;
} Scan;

static Status scan_fail(Scan *s, const char *what)
{
    unsigned line = 1;
    for (const char *p = s->start; p < s->p; p++)
        line += *p == '\n';
    return FAIL(s->err, S_INVALID, "line %u: %s", line, what);
}

static bool at(const Scan *s, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(s->end - s->p) >= n && memcmp(s->p, text, n) == 0;
}
static void skip_blanks(Scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t'))
        s->p++;
}
/* Behind a value or header: blanks, a comment, the end of the line (taken). */
static Status line_end(Scan *s)
{
    skip_blanks(s);
    if (s->p < s->end && *s->p == '#') {
        while (s->p < s->end && *s->p != '\n')
            s->p++;
    }
    if (at(s, "\r\n"))
        s->p++;
    if (s->p < s->end && *s->p != '\n')
        return scan_fail(s, "expected the end of the line");
    if (s->p < s->end)
        s->p++;
    return S_OK;
}

static void put_utf8(Buf *b, uint32_t c)
{
    uint8_t u[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    if (n == 1)
        u[0] = (uint8_t)c;
    else
        u[0] = (uint8_t)((0xf00 >> n) | (c >> (6 * (n - 1))));
    for (size_t i = 1; i < n; i++)
        u[i] = (uint8_t)(0x80 | ((c >> (6 * (n - 1 - i))) & 0x3f));
    buf_put(b, u, n);
}

static Status escape(Scan *s, Buf *out)
{ /* behind the backslash */
    char c = s->p < s->end ? *s->p++ : 0;
    static const char from[] = "btnfre\"\\", to[] = "\b\t\n\f\r\033\"\\";
    const char *hit = c ? strchr(from, c) : NULL;
    if (hit) {
        buf_put(out, &to[hit - from], 1);
        return S_OK;
    }
    int digits = c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t code = 0;
    for (int i = 0; i < digits; i++) {
        if (s->p == s->end || !isxdigit((unsigned char)*s->p))
            return scan_fail(s, "expected hex digits after \\u");
        char d = (char)tolower((unsigned char)*s->p++);
        code = code * 16 + (uint32_t)(d <= '9' ? d - '0' : d - 'a' + 10);
    }
    if (!digits || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return scan_fail(s, "unknown escape in a string");
    put_utf8(out, code);
    return S_OK;
}

static Status string(Scan *s, Str *ret)
{
    OWN(buf) Buf out = {0};
    char quote = *s->p;
    const char *triple = quote == '"' ? "\"\"\"" : "'''";
    bool multi = at(s, triple);
    s->p += multi ? 3 : 1;
    if (multi && at(s, "\r\n"))
        s->p += 2;
    else if (multi && at(s, "\n"))
        s->p++;
    for (;;) {
        if (s->p == s->end || (!multi && *s->p == '\n'))
            return scan_fail(s, "a string without its closing quote");
        if (multi ? at(s, triple) : *s->p == quote)
            break;
        if (*s->p != '\\' || quote == '\'') {
            buf_put(&out, s->p++, 1);
            continue;
        }
        s->p++;
        const char *q = s->p;
        while (q < s->end && (*q == ' ' || *q == '\t' || *q == '\r'))
            q++;
        if (multi && q < s->end && *q == '\n') { /* a line that goes on */
            while (q < s->end && isspace((unsigned char)*q))
                q++;
            s->p = q;
        } else {
            TRY(escape(s, &out));
        }
    }
    s->p += multi ? 3 : 1;
    for (int extra = 0; multi && extra < 2 && s->p < s->end && *s->p == quote; extra++) /* """a"""" ends in a quote */
        buf_put(&out, s->p++, 1);
    *ret = arena_str(s->arena, buf_str(&out));
    return S_OK;
}

/* Anything but a string: kept as it stands, arrays and inline tables over several lines included. */
static Status raw_value(Scan *s, Str *ret)
{
    const char *begin = s->p;
    int depth = 0;
    while (s->p < s->end && (depth > 0 || (*s->p != '\n' && *s->p != '#' && !at(s, "\r\n")))) {
        if (*s->p == '"' || *s->p == '\'') {
            Str skipped;
            TRY(string(s, &skipped));
            continue;
        }
        if (*s->p == '#') {
            while (s->p < s->end && *s->p != '\n')
                s->p++;
            continue;
        }
        depth += *s->p == '[' || *s->p == '{';
        depth -= *s->p == ']' || *s->p == '}';
        s->p++;
    }
    if (depth != 0)
        return scan_fail(s, "a bracket is not closed");
    const char *end = s->p;
    while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (end == begin)
        return scan_fail(s, "expected a value after `=`");
    *ret = (Str){begin, (size_t)(end - begin)};
    return S_OK;
}

static Status key(Scan *s, Str *ret)
{
    if (s->p < s->end && (*s->p == '"' || *s->p == '\''))
        return string(s, ret);
    const char *begin = s->p;
    while (s->p < s->end && (isalnum((unsigned char)*s->p) || *s->p == '_' || *s->p == '-' || *s->p == '.'))
        s->p++;
    if (s->p == begin)
        return scan_fail(s, "expected a key");
    *ret = (Str){begin, (size_t)(s->p - begin)};
    return S_OK;
}

static TomlLine *line_insert(Toml *t, size_t at_index)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 32;
        TomlLine *bigger = ARENA_ARRAY(t->arena, TomlLine, t->cap);
        if (t->n)
            memcpy(bigger, t->lines, t->n * sizeof *bigger);
        t->lines = bigger;
    }
    memmove(&t->lines[at_index + 1], &t->lines[at_index], (t->n - at_index) * sizeof *t->lines);
    t->n++;
    t->lines[at_index] = (TomlLine){0};
    return &t->lines[at_index];
}

Status toml_parse(Toml *ret, Str text, Arena *a, Error *err)
{
    Toml t = {.arena = a};
    text = arena_str(a, text);
    if (!utf8_valid(text))
        return FAIL(err, S_INVALID, "the file is not UTF-8");
    Scan s = {text.ptr, text.ptr + text.len, text.ptr, a, err};
    for (; s.p < s.end; s.p++) {
        unsigned char c = (unsigned char)*s.p;
        if ((c < 0x20 && c != '\t' && c != '\n' && !at(&s, "\r\n")) || c == 0x7f)
            return scan_fail(&s, "a control character");
    }
    s.p = s.start;
    while (s.p < s.end) {
        TomlLine line = {0};
        const char *begin = s.p;
        skip_blanks(&s);
        if (s.p < s.end && *s.p == '[') {
            line.kind = TOML_HEADER;
            line.array = at(&s, "[[");
            s.p += line.array ? 2 : 1;
            skip_blanks(&s);
            TRY(key(&s, &line.key));
            skip_blanks(&s);
            if (!at(&s, line.array ? "]]" : "]"))
                return scan_fail(&s, "expected `]` after the table's name");
            s.p += line.array ? 2 : 1;
        } else if (s.p < s.end && *s.p != '#' && *s.p != '\n' && !at(&s, "\r\n")) {
            line.kind = TOML_KEY;
            TRY(key(&s, &line.key));
            skip_blanks(&s);
            if (s.p == s.end || *s.p != '=')
                return scan_fail(&s, "expected `=` after the key");
            s.p++;
            skip_blanks(&s);
            line.is_string = s.p < s.end && (*s.p == '"' || *s.p == '\'');
            TRY(line.is_string ? string(&s, &line.value) : raw_value(&s, &line.value));
        }
        TRY(line_end(&s));
        line.text = (Str){begin, (size_t)(s.p - begin)};
        *line_insert(&t, t.n) = line;
    }
    *ret = t;
    return S_OK;
}

size_t toml_next_section(const Toml *t, const char *name, size_t after)
{
    for (size_t i = after == TOML_TOP ? 0 : after + 1; i < t->n; i++) {
        if (t->lines[i].kind == TOML_HEADER && t->lines[i].array && !t->lines[i].removed && str_is(t->lines[i].key, name))
            return i;
    }
    return TOML_TOP;
}

static size_t section_begin(size_t section) { return section == TOML_TOP ? 0 : section + 1; }
static size_t section_end(const Toml *t, size_t section)
{
    size_t i = section_begin(section);
    while (i < t->n && t->lines[i].kind != TOML_HEADER)
        i++;
    return i;
}

static TomlLine *find(const Toml *t, size_t section, const char *name)
{
    ASSERT(name);
    for (size_t i = section_begin(section), end = section_end(t, section); i < end; i++) {
        if (t->lines[i].kind == TOML_KEY && !t->lines[i].removed && str_is(t->lines[i].key, name))
            return &t->lines[i];
    }
    return NULL;
}
const TomlLine *toml_find(const Toml *t, size_t section, const char *name) { return find(t, section, name); }

static Str write_line(Toml *t, const char *name, Str value)
{
    OWN(buf) Buf out = {0};
    bool multi = memchr(value.ptr ? value.ptr : "", '\n', value.len) != NULL;
    buf_printf(&out, "%s = %s", name, multi ? "\"\"\"\n" : "\"");
    for (size_t i = 0; value.ptr && i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c == '"' || c == '\\')
            buf_printf(&out, "\\%c", c);
        else if ((c < 0x20 && !(multi && c == '\n')) || c == 0x7f)
            buf_printf(&out, "\\u%04x", c);
        else
            buf_put(&out, &c, 1);
    }
    buf_put_text(&out, multi ? "\"\"\"\n" : "\"\n");
    return arena_str(t->arena, buf_str(&out));
}

/* The file's last line may lack its newline: whatever follows needs one. */
static void close_last_line(Toml *t, size_t before)
{
    if (before == 0)
        return;
    TomlLine *l = &t->lines[before - 1];
    if (l->text.len && l->text.ptr[l->text.len - 1] != '\n') {
        char *p = arena_sprintf(t->arena, "%.*s\n", STR_FMT(l->text));
        l->text = str_of(p);
    }
}

void toml_set(Toml *t, size_t section, const char *name, Str value)
{
    TomlLine *l = find(t, section, name);
    if (!l) {
        size_t i = section_end(t, section), begin = section_begin(section);
        while (i > begin && t->lines[i - 1].kind == TOML_OTHER) /* behind the section's last key, before what separates it */
            i--;
        if (i == begin && section == TOML_TOP)
            i = section_end(t, section); /* a file that begins with comments keeps them first */
        close_last_line(t, i);
        l = line_insert(t, i);
    }
    l->kind = TOML_KEY;
    l->key = arena_str(t->arena, str_of(name));
    l->is_string = true;
    l->value = arena_str(t->arena, value);
    l->text = write_line(t, name, value);
}

void toml_unset(Toml *t, size_t section, const char *name)
{
    for (TomlLine *l; (l = find(t, section, name));) /* twice in a file that somebody wrote by hand */
        l->removed = true;
}

size_t toml_add_section(Toml *t, const char *name)
{
    close_last_line(t, t->n);
    TomlLine *l = line_insert(t, t->n);
    *l = (TomlLine){.kind = TOML_HEADER, .array = true, .key = arena_str(t->arena, str_of(name))};
    l->text = str_of(arena_sprintf(t->arena, "%s[[%s]]\n", t->n > 1 ? "\n" : "", name));
    return t->n - 1;
}

void toml_remove_section(Toml *t, size_t section)
{
    for (size_t i = section, end = section_end(t, section); i < end; i++) {
        if (i == section || t->lines[i].kind == TOML_KEY)
            t->lines[i].removed = true;
    }
}

void toml_write(Buf *out, const Toml *t)
{
    for (size_t i = 0; i < t->n; i++) {
        if (!t->lines[i].removed)
            buf_put_str_raw(out, t->lines[i].text);
    }
}
