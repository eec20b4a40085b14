/* rowlist.c - BsatnRowList (wire.md 5.2): FixedSize(n) iff there are rows and all are n bytes with 1 <= n <= 65535,
 * else RowOffsets. */
#include "host/query/query_int.h"

enum { ROW_FIXED_MAX = 65535, FIXED_HEADER_BYTES = 1 + 2 + 4, EMPTY_HEADER_BYTES = 1 + 4 + 4 };

void row_prefix_encode(Buf *out, const TableDef *def, uint16_t ncols, const void *row)
{
    if (ncols >= def->ncols) {
        value_encode(out, def->row, row);
        return;
    }
    for (uint16_t c = 0; c < ncols; c++)
        value_encode(out, def->cols[c].type, (const char *)row + def->cols[c].offset);
}

void row_list_begin(RowList *l, Buf *out, const TableDef *def, uint16_t ncols)
{
    uint64_t width = 0;
    bool fixed = true;
    for (uint16_t c = 0; c < MIN(ncols, def->ncols); c++) {
        fixed = fixed && def->cols[c].type->bsatn_size >= 0;
        width += fixed ? (uint64_t)def->cols[c].type->bsatn_size : 0;
    }
    fixed = fixed && width >= 1 && width <= ROW_FIXED_MAX;
    *l = (RowList){.out = out, .def = def, .ncols = ncols, .fixed = fixed, .width = (uint32_t)width, .start = out->len, .same = true};
    if (fixed) {
        buf_put_u8(out, 0);
        buf_put_u16(out, (uint16_t)width);
        buf_put_u32(out, 0);
    }
    l->data = out->len;
}

void row_list_add(RowList *l, const void *row)
{
    size_t at = l->out->len;
    row_prefix_encode(l->out, l->def, l->ncols, row);
    l->nrows++;
    if (l->fixed)
        return;
    size_t len = l->out->len - at;
    if (l->nrows == 1)
        l->first_len = len;
    l->same = l->same && len == l->first_len;
    buf_put_u64(&l->offsets, at - l->data);
}

/* Rows whose lengths vary by type are written first and the header moved in before them. */
void row_list_end(RowList *l)
{
    Buf *out = l->out;
    if (!buf_ok(out)) {
        buf_done(&l->offsets);
        return;
    }
    size_t len = out->len - l->data;
    if (len > UINT32_MAX) {
        out->overflow = true;
    } else if (l->nrows == 0) {
        out->len = l->start;
        buf_put(out, "\1\0\0\0\0\0\0\0", EMPTY_HEADER_BYTES);
    } else if (l->fixed) {
        store_u32(out->ptr + l->start + 3, (uint32_t)len);
    } else {
        bool fixed = l->same && l->first_len >= 1 && l->first_len <= ROW_FIXED_MAX;
        size_t header = fixed ? (size_t)FIXED_HEADER_BYTES : EMPTY_HEADER_BYTES + l->offsets.len;
        if (buf_reserve(out, header)) {
            uint8_t *p = out->ptr + l->start;
            memmove(p + header, p, len);
            out->len += header;
            *p++ = !fixed;
            if (fixed) {
                store_u16(p, (uint16_t)l->first_len);
                p += 2;
            } else {
                store_u32(p, l->nrows);
                memcpy(p + 4, l->offsets.ptr, l->offsets.len);
                p += 4 + l->offsets.len;
            }
            store_u32(p, (uint32_t)len);
        }
    }
    buf_done(&l->offsets);
}

void row_list_encode(Buf *out, const TableDef *t, uint16_t ncols, const void *const *rows, uint32_t nrows)
{
    RowList l;
    row_list_begin(&l, out, t, ncols);
    for (uint32_t i = 0; i < nrows; i++)
        row_list_add(&l, rows[i]);
    row_list_end(&l);
}
