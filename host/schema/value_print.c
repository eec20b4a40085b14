/* value_print.c - a value in messages and plans: short, one line, valid UTF-8. */
#include "host/schema/module_def.h"

static void print_i128(Buf *out, i128 v)
{
    char digits[48];
    int at = sizeof digits;
    u128 u = v < 0 ? -(u128)v : (u128)v;
    do {
        digits[--at] = (char)('0' + (int)(u % 10));
        u /= 10;
    } while (u);
    if (v < 0)
        digits[--at] = '-';
    buf_put(out, digits + at, sizeof digits - (size_t)at);
}

/* Words of 64 bits, low one first, as one number in hexadecimal. */
static void print_wide(Buf *out, const uint8_t *b, int words)
{
    buf_put_text(out, "0x");
    for (int i = words; i-- > 0;)
        buf_printf(out, "%016llx", (unsigned long long)load_u64(b + 8 * i));
}

static void print_text(Buf *out, const Str *s)
{
    enum { SHOWN = 60 };
    size_t n = MIN(s->len, (size_t)SHOWN);
    while (n < s->len && n > 0 && ((uint8_t)s->ptr[n] & 0xc0) == 0x80)
        n--; /* not inside a character */
    buf_printf(out, "\"%.*s%s\"", (int)n, s->ptr ? s->ptr : "", n < s->len ? "..." : "");
}

static void print_bytes(Buf *out, const Bytes *s)
{
    char hex[65];
    hex_encode(hex, s->ptr, MIN(s->len, (size_t)32));
    buf_printf(out, "0x%s%s", hex, s->len > 32 ? "..." : "");
}

static void print_fields(Buf *out, const Type *t, const uint8_t *b)
{
    enum { SHOWN = 8 };
    buf_put_text(out, "{");
    for (uint32_t i = 0; i < t->nfields && i < SHOWN; i++) {
        buf_printf(out, "%s%.*s: ", i ? ", " : "", STR_FMT(t->fields[i].name));
        value_print(out, t->fields[i].type, b + t->fields[i].offset);
    }
    buf_put_text(out, t->nfields > SHOWN ? ", ...}" : "}");
}

static void print_array(Buf *out, const Type *t, const Bytes *a)
{
    enum { SHOWN = 4 };
    buf_put_text(out, "[");
    for (size_t i = 0; i < a->len && i < SHOWN; i++) {
        buf_put_text(out, i ? ", " : "");
        value_print(out, t->elem, a->ptr + i * t->elem->size);
    }
    buf_put_text(out, a->len > SHOWN ? ", ...]" : "]");
}

void value_print(Buf *out, const Type *t, const void *v)
{
    const uint8_t *b = v;
    char hex[33];
    i128 wide;
    float single;
    double number;
    switch (t->kind) {
    case TYPE_BOOL: buf_put_text(out, *b ? "true" : "false"); return;
    case TYPE_I8: buf_printf(out, "%d", (int8_t)*b); return;
    case TYPE_U8: buf_printf(out, "%u", *b); return;
    case TYPE_I16: buf_printf(out, "%d", (int16_t)load_u16(v)); return;
    case TYPE_U16: buf_printf(out, "%u", load_u16(v)); return;
    case TYPE_I32: buf_printf(out, "%d", (int32_t)load_u32(v)); return;
    case TYPE_U32: buf_printf(out, "%u", load_u32(v)); return;
    case TYPE_I64:
    case TYPE_TIMESTAMP:
    case TYPE_DURATION: buf_printf(out, "%lld", (long long)load_i64(v)); return;
    case TYPE_U64: buf_printf(out, "%llu", (unsigned long long)load_u64(v)); return;
    case TYPE_I128:
        memcpy(&wide, v, sizeof wide);
        print_i128(out, wide);
        return;
    case TYPE_U128:
    case TYPE_CONNECTION_ID: print_wide(out, b, 2); return;
    case TYPE_U256:
    case TYPE_I256:
    case TYPE_IDENTITY: print_wide(out, b, 4); return;
    case TYPE_F32:
        memcpy(&single, v, sizeof single);
        buf_printf(out, "%.9g", (double)single);
        return;
    case TYPE_F64:
        memcpy(&number, v, sizeof number);
        buf_printf(out, "%.17g", number);
        return;
    case TYPE_UUID:
        hex_encode(hex, v, 16);
        buf_put_text(out, hex);
        return;
    case TYPE_STRING: print_text(out, v); return;
    case TYPE_BYTES: print_bytes(out, v); return;
    case TYPE_ARRAY: print_array(out, t, v); return;
    case TYPE_OPTION:
        if (*b)
            value_print(out, t->elem, b + t->payload_offset);
        else
            buf_put_text(out, "none");
        return;
    case TYPE_PRODUCT: print_fields(out, t, b); return;
    case TYPE_ENUM:
    case TYPE_SUM:
    case TYPE_RESULT:
        buf_put_str_raw(out, t->fields[*b].name);
        if (t->fields[*b].type->nfields || t->fields[*b].type->kind != TYPE_PRODUCT) {
            buf_put_text(out, "(");
            value_print(out, t->fields[*b].type, b + t->payload_offset);
            buf_put_text(out, ")");
        }
        return;
    case TYPE_SCHEDULE_AT: buf_printf(out, "%s %lld us", *b ? "at" : "every", (long long)load_i64(b + t->payload_offset)); return;
    }
}
