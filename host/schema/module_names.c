/* module_names.c - identifiers, case conversion, generated names, and the list of problems.
 * Source: schema-and-migration.md 1.5. Case conversion concerns ASCII letters; others stay as they are. */
#include "host/schema/module_int.h"

#include <stdio.h>

/* ---- identifiers ------------------------------------------------------------------------------ */

static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_lower(char c) { return (c >= 'a' && c <= 'z') || (c & 0x80); } /* no case of its own: like lower */
static char to_upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 32) : c; }
static char to_lower(char c) { return is_upper(c) ? (char)(c + 32) : c; }

/* Unicode tables for XID_Start and XID_Continue would outweigh the rest of this folder. Refused instead are
 * the blocks that hold no letters: controls and Latin-1 signs, punctuation and arrows, private use,
 * specials; combining marks may not come first. */
static bool code_point_ok(uint32_t c, bool first)
{
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
    if (c < 0xc0)
        return c == 0xaa || c == 0xb5 || c == 0xba || (!first && c == 0xb7);
    if (c == 0xd7 || c == 0xf7 || (c >= 0x2000 && c <= 0x2070) || (c >= 0x20a0 && c <= 0x20cf) || (c >= 0x2190 && c <= 0x2bff) ||
        (c >= 0x3000 && c <= 0x3004) || (c >= 0xe000 && c <= 0xf8ff) || (c >= 0xfe00 && c <= 0xfe0f && first) || c >= 0xfff0)
        return c >= 0x10000 && c < 0x30000 && (c & 0xfffe) != 0xfffe;
    return !(first && c >= 0x300 && c <= 0x36f);
}

const char *name_flaw(Str name)
{
    if (name.len == 0)
        return "is empty";
    if (name.len > DEF_NAME_BYTES_MAX)
        return "is longer than 255 bytes";
    if (!utf8_valid(name))
        return "is not valid UTF-8";
    const uint8_t *p = (const uint8_t *)name.ptr, *end = p + name.len;
    for (bool first = true; p < end; first = false) {
        uint32_t c = *p++;
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
        c = more ? c & (0x3fu >> more) : c;
        while (more--)
            c = c << 6 | (*p++ & 0x3f);
        if (!code_point_ok(c, first))
            return first ? "must start with a letter or `_`" : "must consist of letters, digits and `_`";
    }
    return NULL;
}

/* ---- case conversion -------------------------------------------------------------------------- */

/* Does a new word start at s[i]? Boundaries: aA, letter/digit both ways, the end of an acronym (HTTPReq). */
static bool word_starts(Str s, size_t i)
{
    char before = s.ptr[i - 1], c = s.ptr[i];
    if (is_digit(before) != is_digit(c))
        return true;
    if (is_lower(before) && is_upper(c))
        return true;
    return is_upper(before) && is_upper(c) && i + 1 < s.len && is_lower(s.ptr[i + 1]);
}

static bool is_separator(char c) { return c == '_' || c == '-' || c == ' '; }

Str name_convert(Arena *a, Str name, NameCase to)
{
    char *out = arena_alloc_raw(a, name.len * 2 + 1);
    size_t n = 0;
    bool word = true; /* the next character begins a word */
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (is_separator(c)) {
            word = true;
            continue;
        }
        if (i > 0 && !is_separator(name.ptr[i - 1]) && word_starts(name, i))
            word = true;
        if (word && n && to == CASE_SNAKE)
            out[n++] = '_';
        bool capital = word && (to == CASE_PASCAL || (to == CASE_LOWER_CAMEL && n));
        out[n++] = capital ? to_upper(c) : to_lower(c);
        word = false;
    }
    out[n] = 0;
    return (Str){out, n};
}

Str generated_name(Arena *a, Str table, const ColumnDef *cols, uint16_t ncols, const uint16_t *which, const char *suffix)
{
    OWN(buf) Buf b = {0};
    buf_put_str_raw(&b, table);
    for (uint16_t i = 0; i < ncols; i++) {
        buf_put_text(&b, "_");
        buf_put_str_raw(&b, cols[which[i]].name);
    }
    buf_put_text(&b, suffix);
    return arena_str(a, buf_str(&b));
}

/* ---- problems --------------------------------------------------------------------------------- */

void problem(Problems *p, const char *fmt, ...)
{
    if (p->n == PROBLEMS_MAX) {
        p->dropped++;
        return;
    }
    char text[ERROR_TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (p->n == p->cap) {
        uint32_t cap = p->cap ? p->cap * 2 : 16;
        Str *lines = ARENA_ARRAY(p->arena, Str, cap);
        if (p->n)
            memcpy(lines, p->lines, p->n * sizeof *lines);
        p->lines = lines;
        p->cap = cap;
    }
    p->lines[p->n++] = arena_str(p->arena, str_of(text));
}

static int line_order(const void *x, const void *y) { return str_cmp(*(const Str *)x, *(const Str *)y); }

static void problems_sort(Problems *p)
{
    if (p->n == 0)
        return;
    qsort(p->lines, p->n, sizeof *p->lines, line_order);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < p->n; i++)
        if (!str_eq(p->lines[i], p->lines[kept - 1]))
            p->lines[kept++] = p->lines[i];
    p->n = kept;
}

static void problems_write(Problems *p, Buf *out, size_t room)
{
    uint32_t total = p->n + p->dropped;
    size_t start = out->len;
    problems_sort(p);
    total = p->n + p->dropped;
    buf_printf(out, "module definition has %u problem%s:", total, total == 1 ? "" : "s");
    for (uint32_t i = 0; i < p->n; i++) {
        size_t reserve = i + 1 < p->n || p->dropped ? 24 : 0; /* for "\n... and 1000 more" */
        if (out->len - start + 3 + p->lines[i].len + reserve > room) {
            buf_printf(out, "\n... and %u more", total - i);
            return;
        }
        buf_printf(out, "\n- %.*s", STR_FMT(p->lines[i]));
    }
    if (p->dropped)
        buf_printf(out, "\n... and %u more", p->dropped);
}

void problems_print(Problems *p, Buf *out) { problems_write(p, out, SIZE_MAX); }

Status problems_fail(Problems *p, Error *err)
{
    OWN(buf) Buf text = {0};
    problems_write(p, &text, ERROR_TEXT_BYTES - 1);
    return FAIL(err, S_INVALID, "%s", buf_cstr(&text));
}

/* ---- name spaces ------------------------------------------------------------------------------ */

static int use_order(const void *x, const void *y)
{
    const NameUse *a = x, *b = y;
    int c = str_cmp(a->name, b->name);
    c = c ? c : strcmp(a->what, b->what);
    return c ? c : str_cmp(a->owner, b->owner);
}

void names_unique(Problems *p, uint32_t n, NameUse *uses, const char *remedy)
{
    if (n == 0)
        return;
    qsort(uses, n, sizeof *uses, use_order);
    for (uint32_t i = 1; i < n; i++) {
        const NameUse *a = &uses[i - 1], *b = &uses[i];
        if (str_eq(a->name, b->name))
            problem(p, "name `%.*s` is used by %s%s%.*s and %s%s%.*s: %s", STR_FMT(a->name), a->what, a->owner.len ? " of " : "",
                    STR_FMT(a->owner), b->what, b->owner.len ? " of " : "", STR_FMT(b->owner), remedy);
    }
}
