#include "cli/clean.h"

/* The length of "ESC [ 1 ; 36 m" at `p`, 0: it is none. */
static size_t colour_length(Str s)
{
    if (s.len < 3 || s.ptr[0] != '\033' || s.ptr[1] != '[')
        return 0;
    for (size_t i = 2; i < s.len && i < 16; i++) {
        if (s.ptr[i] == 'm')
            return i + 1;
        if ((s.ptr[i] < '0' || s.ptr[i] > '9') && s.ptr[i] != ';')
            return 0;
    }
    return 0;
}

static size_t character_length(Str s)
{
    uint8_t b = (uint8_t)s.ptr[0];
    size_t n = b < 0x80 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
    return n <= s.len && utf8_valid((Str){s.ptr, n}) ? n : 0;
}

void put_clean(Buf *out, Str text, bool colours)
{
    while (text.len) {
        size_t n = colours ? colour_length(text) : 0;
        uint8_t c = (uint8_t)text.ptr[0];
        if (!n && ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)) {
            buf_printf(out, "\\x%02x", c);
            n = 1;
        } else if (!n && !(n = character_length(text))) {
            buf_put_text(out, "\xef\xbf\xbd");
            n = 1;
        } else if (n == 2 && c == 0xc2 && (uint8_t)text.ptr[1] < 0xa0) { /* C1 controls */
            buf_printf(out, "\\x%02x", (uint8_t)text.ptr[1]);
        } else {
            buf_put(out, text.ptr, n);
        }
        text = (Str){text.ptr + n, text.len - n};
    }
}
