/* shape.c - what follows from a table's definition: slot layout, plans for copying and decoding, keys;
 * and the checks of a row against what PostgreSQL can hold. */
#include "host/engine/engine_int.h"

static uint8_t int_bytes_of(const Type *t)
{
    switch (t->kind) {
    case TYPE_BOOL:
    case TYPE_I8:
    case TYPE_U8:
    case TYPE_ENUM: return 1;
    case TYPE_I16:
    case TYPE_U16: return 2;
    case TYPE_I32:
    case TYPE_U32: return 4;
    case TYPE_I64:
    case TYPE_U64:
    case TYPE_TIMESTAMP:
    case TYPE_DURATION: return 8;
    default: return 0;
    }
}

static bool needs_check(const Type *t)
{
    switch (t->kind) {
    case TYPE_BOOL:
    case TYPE_STRING:
    case TYPE_BYTES:
    case TYPE_ARRAY:
    case TYPE_SUM:
    case TYPE_ENUM:
    case TYPE_OPTION:
    case TYPE_RESULT:
    case TYPE_SCHEDULE_AT: return true;
    case TYPE_PRODUCT:
        for (uint32_t i = 0; i < t->nfields; i++)
            if (needs_check(t->fields[i].type))
                return true;
        return t->nfields == 0;
    default: return false;
    }
}

static bool needs_storable(const Type *t)
{
    switch (t->kind) {
    case TYPE_STRING:
    case TYPE_TIMESTAMP: return true;
    case TYPE_ARRAY:
    case TYPE_OPTION: return needs_storable(t->elem);
    case TYPE_PRODUCT:
    case TYPE_SUM:
    case TYPE_RESULT:
        for (uint32_t i = 0; i < t->nfields; i++)
            if (needs_storable(t->fields[i].type))
                return true;
        return false;
    default: return false;
    }
}

/* ---- plans ---- */

typedef struct PlanState {
    Buf segments, ops; /* of Segment, DecodeOp */
    uint32_t from;     /* BSATN offset */
} PlanState;

static void plan_segment(PlanState *p, uint32_t offset, uint32_t bytes)
{
    Segment *last = p->segments.len ? (Segment *)(void *)(p->segments.ptr + p->segments.len - sizeof(Segment)) : NULL;
    if (last && last->offset + last->bytes == offset)
        last->bytes += bytes;
    else
        buf_put(&p->segments, &(Segment){offset, bytes}, sizeof(Segment));
}

static void plan_op(PlanState *p, DecodeKind kind, uint32_t to, uint32_t encoded, uint32_t bytes)
{
    DecodeOp *last = p->ops.len ? (DecodeOp *)(void *)(p->ops.ptr + p->ops.len - sizeof(DecodeOp)) : NULL;
    if (kind == DECODE_COPY && last && last->kind == DECODE_COPY && last->to + last->bytes == to && last->from + last->bytes == p->from)
        last->bytes += bytes;
    else
        buf_put(&p->ops, &(DecodeOp){kind, to, p->from, bytes}, sizeof(DecodeOp));
    p->from += encoded;
}

/* False when the type is not flat. */
static bool plan_type(PlanState *p, const Type *t, uint32_t offset)
{
    switch (t->kind) {
    case TYPE_PRODUCT:
        for (uint32_t i = 0; i < t->nfields; i++)
            if (!plan_type(p, t->fields[i].type, offset + t->fields[i].offset))
                return false;
        return true;
    case TYPE_STRING:
    case TYPE_BYTES:
    case TYPE_ARRAY:
    case TYPE_SUM:
    case TYPE_OPTION:
    case TYPE_RESULT: return false;
    case TYPE_SCHEDULE_AT:
        plan_segment(p, offset, 1);
        plan_segment(p, offset + t->payload_offset, 8);
        plan_op(p, DECODE_ENUM, offset, 1, 2);
        plan_op(p, DECODE_COPY, offset + t->payload_offset, 8, 8);
        return true;
    case TYPE_BOOL:
        plan_segment(p, offset, 1);
        plan_op(p, DECODE_BOOL, offset, 1, 1);
        return true;
    case TYPE_ENUM:
        plan_segment(p, offset, 1);
        plan_op(p, DECODE_ENUM, offset, 1, t->nfields);
        return true;
    case TYPE_UUID:
        plan_segment(p, offset, 16);
        plan_op(p, DECODE_UUID, offset, 16, 16);
        return true;
    default:
        plan_segment(p, offset, t->size);
        plan_op(p, DECODE_COPY, offset, t->size, t->size);
        return true;
    }
}

bool shape_decode(const TableShape *s, uint8_t *dst, const uint8_t *src)
{
    for (uint32_t i = 0; i < s->nops; i++) {
        const DecodeOp *op = &s->ops[i];
        const uint8_t *from = src + op->from;
        uint8_t *to = dst + op->to;
        switch (op->kind) {
        case DECODE_COPY:
            if (op->bytes == 8)
                memcpy(to, from, 8);
            else if (op->bytes == 4)
                memcpy(to, from, 4);
            else
                memcpy(to, from, op->bytes);
            break;
        case DECODE_BOOL:
            if (*from > 1)
                return false;
            *to = *from;
            break;
        case DECODE_ENUM:
            if (*from >= op->bytes)
                return false;
            *to = *from;
            break;
        case DECODE_UUID:
            for (int b = 0; b < 16; b++)
                to[b] = from[15 - b];
            break;
        }
    }
    return true;
}

void shape_copy_row(const TableShape *s, void *dst, const void *src, HeapBlock *heap)
{
    if (LIKELY(s->flat)) {
        for (uint32_t i = 0; i < s->nsegments; i++) {
            uint8_t *to = (uint8_t *)dst + s->segments[i].offset;
            const uint8_t *from = (const uint8_t *)src + s->segments[i].offset;
            uint32_t n = s->segments[i].bytes;
            if (n == 8)
                memcpy(to, from, 8);
            else if (n == 4)
                memcpy(to, from, 4);
            else
                memcpy(to, from, n);
        }
        return;
    }
    uint8_t *at = heap ? heap->data : NULL;
    memset(dst, 0, s->row_bytes);
    value_copy(s->def->row, dst, src, &at);
    ASSERT(!heap || (size_t)(at - heap->data) <= heap->bytes - sizeof *heap);
}

bool shape_rows_equal(const TableShape *s, const void *x, const void *y)
{
    if (!s->flat)
        return value_equal(s->def->row, x, y);
    for (uint32_t i = 0; i < s->nsegments; i++) {
        const uint8_t *a = (const uint8_t *)x + s->segments[i].offset, *b = (const uint8_t *)y + s->segments[i].offset;
        uint32_t n = s->segments[i].bytes;
        if (n == 8 ? load_u64(a) != load_u64(b) : n == 4 ? load_u32(a) != load_u32(b) : memcmp(a, b, n) != 0)
            return false;
    }
    return true;
}

/* ---- keys ---- */

static KeyShape key_shape(Arena *a, const TableDef *def, uint16_t ncols, const uint16_t *cols)
{
    KeyColumn *kc = ARENA_ARRAY(a, KeyColumn, ncols);
    KeyShape k = {.ncols = ncols, .cols = kc};
    for (uint16_t i = 0; i < ncols; i++) {
        const ColumnDef *c = &def->cols[cols[i]];
        kc[i] = (KeyColumn){c->type, c->offset, cols[i]};
        k.variable |= c->type->kind == TYPE_STRING || c->type->kind == TYPE_BYTES;
    }
    k.int_bytes = ncols == 1 ? int_bytes_of(kc[0].type) : 0;
    k.prefix_exact = int_bytes_of(kc[0].type) != 0;
    return k;
}

bool key_shape_same(const KeyShape *a, const KeyShape *b)
{
    if (a->ncols != b->ncols || a->whole_row != b->whole_row)
        return false;
    for (uint16_t i = 0; i < a->ncols && !a->whole_row; i++)
        if (a->cols[i].col != b->cols[i].col)
            return false;
    return true;
}

static bool same_columns(const KeyShape *k, uint16_t ncols, const uint16_t *cols)
{ /* as sets */
    if (k->ncols != ncols || k->whole_row)
        return false;
    for (uint16_t i = 0; i < ncols; i++) {
        bool found = false;
        for (uint16_t j = 0; j < ncols; j++)
            found |= k->cols[j].col == cols[i];
        if (!found)
            return false;
    }
    return true;
}

static uint32_t add_unique(TableShape *s, KeyShape *list, uint16_t ncols, const uint16_t *cols)
{
    for (uint32_t i = 0; i < s->nuniques; i++)
        if (same_columns(&list[i], ncols, cols))
            return i;
    list[s->nuniques] = key_shape(&s->arena, s->def, ncols, cols);
    return s->nuniques++;
}

TableShape *shape_new(const TableDef *def)
{
    TableShape *s = NEW(TableShape);
    const Type *row = def->row;
    s->def = def;
    s->row_bytes = row->size;
    uint32_t unit = row->align > 8 ? 16 : 8;
    s->stride = (uint32_t)((sizeof(RowHeader) + row->size + unit - 1) / unit * unit);
    s->page_bytes = MAX((uint64_t)PAGE_BYTES, (uint64_t)s->stride + 8);
    s->slots_per_page = (uint32_t)((s->page_bytes - 8) / s->stride);
    s->needs_check = needs_check(row);
    s->needs_storable = needs_storable(row);

    PlanState p = {0};
    s->flat = !row->has_pointers && plan_type(&p, row, 0);
    if (s->flat) {
        s->nsegments = (uint32_t)(p.segments.len / sizeof(Segment));
        s->segments = arena_copy(&s->arena, p.segments.ptr, p.segments.len);
        s->nops = (uint32_t)(p.ops.len / sizeof(DecodeOp));
        s->ops = arena_copy(&s->arena, p.ops.ptr, p.ops.len);
        s->bsatn_bytes = p.from;
    }
    buf_done(&p.segments);
    buf_done(&p.ops);

    KeyShape *uniques = ARENA_ARRAY(&s->arena, KeyShape, def->nconstraints + def->nindexes + 2u);
    KeyShape *btrees = ARENA_ARRAY(&s->arena, KeyShape, def->nindexes + 1u);
    IndexRef *indexes = ARENA_ARRAY(&s->arena, IndexRef, def->nindexes + 1u);
    int32_t *find = ARENA_ARRAY(&s->arena, int32_t, def->ncols + 1u);
    if (def->pk >= 0)
        add_unique(s, uniques, 1, &(uint16_t){(uint16_t)def->pk});
    for (uint16_t i = 0; i < def->nconstraints; i++)
        add_unique(s, uniques, def->constraints[i].ncols, def->constraints[i].cols);
    for (uint16_t i = 0; i < def->nindexes; i++) {
        const IndexDef *ix = &def->indexes[i];
        if (ix->unique) {
            indexes[i] = (IndexRef){true, add_unique(s, uniques, ix->ncols, ix->cols)};
        } else {
            btrees[s->nbtrees] = key_shape(&s->arena, def, ix->ncols, ix->cols);
            indexes[i] = (IndexRef){false, s->nbtrees++};
        }
    }
    if (s->nuniques == 0) {
        KeyColumn *kc = ARENA_NEW(&s->arena, KeyColumn);
        kc->type = row;
        uniques[s->nuniques++] = (KeyShape){.ncols = 1, .whole_row = true, .cols = kc};
    }
    for (uint16_t c = 0; c < def->ncols; c++) {
        find[c] = -1;
        for (uint32_t u = 0; u < s->nuniques && find[c] < 0; u++)
            if (uniques[u].ncols == 1 && !uniques[u].whole_row && uniques[u].cols[0].col == c)
                find[c] = (int32_t)u;
    }
    for (uint32_t i = 0; i < s->nuniques; i++)
        s->variable_keys |= uniques[i].variable;
    for (uint32_t i = 0; i < s->nbtrees; i++)
        s->variable_keys |= btrees[i].variable;
    if (s->flat && uniques[0].int_bytes && def->pk >= 0) /* the columns in front of it say where it begins */
        for (uint16_t c = 0; c <= def->pk; c++) {
            s->key_ahead = c == def->pk;
            s->key_at += s->key_ahead ? 0 : (uint32_t)def->cols[c].type->bsatn_size;
        }
    s->uniques = uniques;
    s->btrees = btrees;
    s->indexes = indexes;
    s->find_by_col = find;
    return s;
}

void shape_free(TableShape *s)
{
    if (!s)
        return;
    arena_done(&s->arena);
    free(s);
}

/* ---- messages ---- */

void key_print_columns(Buf *out, const TableShape *s, const KeyShape *k)
{
    if (k->whole_row) {
        buf_put_text(out, "the whole row");
        return;
    }
    buf_printf(out, k->ncols == 1 ? "column " : "columns (");
    for (uint16_t i = 0; i < k->ncols; i++)
        buf_printf(out, "%s%.*s", i ? ", " : "", STR_FMT(s->def->cols[k->cols[i].col].name));
    if (k->ncols > 1)
        buf_put_text(out, ")");
}

void key_print_values(Buf *out, const KeyShape *k, const void *row)
{
    if (k->whole_row) {
        buf_put_text(out, "...");
        return;
    }
    if (k->ncols > 1)
        buf_put_text(out, "(");
    for (uint16_t i = 0; i < k->ncols; i++) {
        if (i)
            buf_put_text(out, ", ");
        value_print(out, k->cols[i].type, (const uint8_t *)row + k->cols[i].offset);
    }
    if (k->ncols > 1)
        buf_put_text(out, ")");
}

/* ---- what PostgreSQL cannot hold ---- */

static Status check_storable(const Type *t, const void *v, Error *err)
{
    const uint8_t *b = v;
    switch (t->kind) {
    case TYPE_STRING: {
        const Str *s = v;
        const char *nul = s->len ? memchr(s->ptr, 0, s->len) : NULL;
        if (nul)
            return FAIL(err, S_INVALID, "NUL byte in text at byte %zu; PostgreSQL cannot store it", (size_t)(nul - s->ptr));
        return S_OK;
    }
    case TYPE_TIMESTAMP: {
        int64_t us = (int64_t)load_u64(v);
        if (us < TIMESTAMP_US_MIN || us >= TIMESTAMP_US_LIMIT)
            return FAIL(err, S_INVALID, "timestamp %lld us is outside PostgreSQL's range (4713 BC to 294276 AD: %lld to %lld)",
                        (long long)us, (long long)TIMESTAMP_US_MIN, (long long)(TIMESTAMP_US_LIMIT - 1));
        return S_OK;
    }
    case TYPE_ARRAY: {
        const Bytes *a = v; /* {pointer, count} */
        if (needs_storable(t->elem))
            for (size_t i = 0; i < a->len; i++)
                TRY(check_storable(t->elem, a->ptr + i * t->elem->size, err));
        return S_OK;
    }
    case TYPE_OPTION: return *b ? check_storable(t->elem, b + t->payload_offset, err) : S_OK;
    case TYPE_SUM:
    case TYPE_RESULT: return check_storable(t->fields[*b].type, b + t->payload_offset, err);
    case TYPE_PRODUCT:
        for (uint32_t i = 0; i < t->nfields; i++)
            TRY(check_storable(t->fields[i].type, b + t->fields[i].offset, err));
        return S_OK;
    default: return S_OK;
    }
}

static Status check_indexed(const TableShape *s, const KeyShape *k, const void *row, Error *err)
{
    size_t bytes = 0;
    uint16_t widest = 0;
    size_t widest_bytes = 0;
    for (uint16_t i = 0; i < k->ncols; i++) {
        const KeyColumn *c = &k->cols[i];
        const Bytes *v = (const void *)((const uint8_t *)row + c->offset);
        size_t n = c->type->kind == TYPE_STRING || c->type->kind == TYPE_BYTES ? v->len : c->type->size;
        bytes += n;
        if (n > widest_bytes)
            widest_bytes = n, widest = c->col;
    }
    if (bytes > INDEXED_BYTES_MAX)
        return FAIL(err, S_TOO_LARGE, "table %.*s, column %.*s: an indexed value of %zu bytes; the limit is %d", STR_FMT(s->def->name),
                    STR_FMT(s->def->cols[widest].name), bytes, INDEXED_BYTES_MAX);
    return S_OK;
}

Status shape_check_storable(const TableShape *s, const void *row, Error *err)
{
    for (uint16_t c = 0; c < s->def->ncols; c++)
        if (check_storable(s->def->cols[c].type, (const uint8_t *)row + s->def->cols[c].offset, err) != S_OK)
            return CONTEXT(err, "table %.*s, column %.*s", STR_FMT(s->def->name), STR_FMT(s->def->cols[c].name));
    return S_OK;
}

Status shape_check_keys(const TableShape *s, const void *row, Error *err)
{
    for (uint32_t i = 0; i < s->nuniques; i++)
        if (s->uniques[i].variable)
            TRY(check_indexed(s, &s->uniques[i], row, err));
    for (uint32_t i = 0; i < s->nbtrees; i++)
        if (s->btrees[i].variable)
            TRY(check_indexed(s, &s->btrees[i], row, err));
    return S_OK;
}
