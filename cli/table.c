/* table.c - see table.h. */
#include "cli/table.h"

#include <stdio.h>

TextTable text_table_new(Arena *a, size_t ncols) { return (TextTable){.arena = a, .ncols = ncols}; }

/* A cell stays on its line, and cannot talk to the terminal. */
static Str printable(Arena *a, Str s)
{
    OWN(buf) Buf out = {0};
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '\n' || c == '\t' || c == '\r')
            buf_printf(&out, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
        else if (c < 0x20 || c == 0x7f)
            buf_printf(&out, "\\x%02x", c);
        else
            buf_put(&out, &c, 1);
    }
    return arena_str(a, buf_str(&out));
}

void text_table_cell(TextTable *t, Str cell)
{
    if (t->ncells == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        Str *bigger = ARENA_ARRAY(t->arena, Str, t->cap);
        if (t->ncells)
            memcpy(bigger, t->cells, t->ncells * sizeof *bigger);
        t->cells = bigger;
    }
    t->cells[t->ncells++] = printable(t->arena, cell);
}

size_t text_width(Str s)
{
    size_t w = 0;
    for (size_t i = 0; i < s.len;) {
        uint32_t c = (unsigned char)s.ptr[i];
        size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        n = MIN(n, s.len - i);
        c &= n == 1 ? 0x7f : 0xffu >> (n + 1);
        for (size_t k = 1; k < n; k++)
            c = c << 6 | (s.ptr[i + k] & 0x3f);
        i += n;
        bool combining = (c >= 0x300 && c < 0x370) || (c >= 0xfe00 && c < 0xfe10) || c == 0x200d;
        bool wide = (c >= 0x1100 && c < 0x1160) || (c >= 0x2e80 && c < 0xa4d0) || (c >= 0xac00 && c < 0xd7a4) ||
                    (c >= 0xf900 && c < 0xfb00) || (c >= 0xfe30 && c < 0xfe70) || (c >= 0xff00 && c < 0xff61) ||
                    (c >= 0x1f300 && c < 0x1fb00) || (c >= 0x20000 && c < 0x3fffe);
        w += combining ? 0 : wide ? 2 : 1;
    }
    return w;
}

static size_t *column_widths(const TextTable *t)
{
    size_t *widths = ARENA_ARRAY(t->arena, size_t, t->ncols + 1);
    for (size_t i = 0; i < t->ncells; i++)
        widths[i % t->ncols] = MAX(widths[i % t->ncols], text_width(t->cells[i]));
    return widths;
}

static void print(Buf *out, const TextTable *t, const char *separator, bool rule, int right)
{
    if (t->ncols == 0) {
        buf_put_text(out, "\n");
        return;
    }
    size_t *widths = column_widths(t);
    for (size_t i = 0; i < t->ncells; i++) {
        size_t col = i % t->ncols;
        int pad = (int)(widths[col] - text_width(t->cells[i]));
        bool to_right = right >= 0 && (size_t)right == col;
        buf_printf(out, "%s %*s%.*s%*s ", col ? separator : "", to_right ? pad : 0, "", STR_FMT(t->cells[i]), to_right ? 0 : pad, "");
        if (col + 1 < t->ncols)
            continue;
        buf_put_text(out, "\n");
        if (rule && i + 1 == t->ncols) {
            for (size_t c = 0; c < t->ncols; c++) {
                buf_put_text(out, c ? "+" : "");
                for (size_t k = 0; k < widths[c] + 2; k++)
                    buf_put_text(out, "-");
            }
            buf_put_text(out, "\n");
        }
    }
}
void text_table_print(Buf *out, const TextTable *t) { print(out, t, "|", true, -1); }
void text_table_print_plain(Buf *out, const TextTable *t, int right) { print(out, t, "", false, right); }
