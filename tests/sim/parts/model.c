/* model.c - tables as bags of BSATN rows, and queries evaluated by looking at every row. */
#include "tests/sim/sim.h"

static Bytes bytes_dup(Bytes b)
{
    uint8_t *p = x_alloc(b.len + 1);
    if (b.len)
        memcpy(p, b.ptr, b.len);
    return bytes_of(p, b.len);
}

void bag_add(RowBag *b, uint32_t tag, Bytes row)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 16;
        b->rows = x_realloc(b->rows, b->cap * sizeof *b->rows);
        b->tags = x_realloc(b->tags, b->cap * sizeof *b->tags);
    }
    b->tags[b->n] = tag;
    b->rows[b->n++] = bytes_dup(row);
}

static void bag_drop(RowBag *b, uint32_t at)
{
    free((void *)b->rows[at].ptr);
    b->n--;
    b->rows[at] = b->rows[b->n];
    b->tags[at] = b->tags[b->n];
}

bool bag_remove(RowBag *b, uint32_t tag, Bytes row)
{
    for (uint32_t i = b->n; i-- > 0;) {
        if (b->tags[i] == tag && bytes_eq(b->rows[i], row)) {
            bag_drop(b, i);
            return true;
        }
    }
    return false;
}

void bag_clear(RowBag *b)
{
    for (uint32_t i = 0; i < b->n; i++)
        free((void *)b->rows[i].ptr);
    free(b->rows);
    free(b->tags);
    *b = (RowBag){0};
}

static int bag_order(const RowBag *b, uint32_t x, uint32_t y)
{
    if (b->tags[x] != b->tags[y])
        return b->tags[x] < b->tags[y] ? -1 : 1;
    size_t n = MIN(b->rows[x].len, b->rows[y].len);
    int d = n ? memcmp(b->rows[x].ptr, b->rows[y].ptr, n) : 0;
    return d ? d : (b->rows[x].len > b->rows[y].len) - (b->rows[x].len < b->rows[y].len);
}

static void bag_swap(RowBag *b, uint32_t x, uint32_t y)
{
    Bytes r = b->rows[x];
    uint32_t t = b->tags[x];
    b->rows[x] = b->rows[y], b->tags[x] = b->tags[y];
    b->rows[y] = r, b->tags[y] = t;
}

static void bag_sort(RowBag *b)
{
    for (uint32_t gap = b->n / 2; gap; gap /= 2) /* Shell sort */
        for (uint32_t i = gap; i < b->n; i++)
            for (uint32_t j = i; j >= gap && bag_order(b, j - gap, j) > 0; j -= gap)
                bag_swap(b, j, j - gap);
}

bool bag_equal(RowBag *x, RowBag *y)
{
    if (x->n != y->n)
        return false;
    bag_sort(x);
    bag_sort(y);
    for (uint32_t i = 0; i < x->n; i++)
        if (x->tags[i] != y->tags[i] || !bytes_eq(x->rows[i], y->rows[i]))
            return false;
    return true;
}

/* ---- tables with a journal ------------------------------------------------------------------- */

static void journal(World *w, uint32_t table, bool added, Bytes row)
{
    if (w->njournal == w->journal_cap) {
        w->journal_cap = w->journal_cap ? 2 * w->journal_cap : 64;
        w->journal = x_realloc(w->journal, w->journal_cap * sizeof *w->journal);
    }
    w->journal[w->njournal++] = (JournalEntry){0, table, added, bytes_dup(row)};
}

void model_add(World *w, uint32_t table, Bytes row)
{
    journal(w, table, true, row);
    bag_add(&w->tables[table], 0, row);
}

void model_remove(World *w, uint32_t table, uint32_t at)
{
    journal(w, table, false, w->tables[table].rows[at]);
    bag_drop(&w->tables[table], at);
}

int32_t model_find_row(World *w, uint32_t table, Bytes row)
{
    for (uint32_t i = 0; i < w->tables[table].n; i++)
        if (bytes_eq(w->tables[table].rows[i], row))
            return (int32_t)i;
    return -1;
}

static size_t skip_columns(const World *w, uint32_t table, Bytes row, uint32_t ncols)
{
    const TableDef *t = &w->def->tables[table];
    Reader r = reader_of(row);
    Error err;
    for (uint32_t i = 0; i < ncols; i++)
        SIM_CHECK(w, bsatn_skip(&r, t->cols[i].type, &err) == S_OK, "row of %.*s: %s", STR_FMT(t->name), err.text);
    return (size_t)(r.ptr - row.ptr);
}

Bytes model_column(const World *w, uint32_t table, Bytes row, uint32_t col)
{
    size_t from = skip_columns(w, table, row, col), to = skip_columns(w, table, row, col + 1);
    return bytes_of(row.ptr + from, to - from);
}

size_t row_prefix(const World *w, uint32_t table, Bytes row, uint32_t ncols) { return skip_columns(w, table, row, ncols); }

int32_t model_find(World *w, uint32_t table, uint32_t col, Bytes key)
{
    for (uint32_t i = 0; i < w->tables[table].n; i++)
        if (bytes_eq(model_column(w, table, w->tables[table].rows[i], col), key))
            return (int32_t)i;
    return -1;
}

static void undo_last(World *w)
{
    JournalEntry *e = &w->journal[--w->njournal];
    if (e->added)
        SIM_CHECK(w, bag_remove(&w->tables[e->table], 0, e->row), "undo finds no row");
    else
        bag_add(&w->tables[e->table], 0, e->row);
    free((void *)e->row.ptr);
}

void model_end(World *w, bool commit, uint64_t offset)
{
    if (!commit)
        while (w->njournal > w->journal_open)
            undo_last(w);
    for (uint32_t t = 0; t < TABLES_MAX; t++) {
        for (uint32_t c = 0; c < COLUMNS_MAX; c++) {
            if (commit)
                w->generated_new[t][c] = MAX(w->generated_new[t][c], w->generated_run[t][c]);
            w->generated_run[t][c] = 0;
        }
    }
    for (uint32_t t = 0; commit && t < w->schema.ntables; t++) /* event rows live no longer than their transaction */
        while (w->schema.tables[t].is_event && w->tables[t].n)
            model_remove(w, t, 0);
    for (uint32_t i = w->journal_open; i < w->njournal; i++)
        w->journal[i].offset = offset;
    w->journal_open = w->njournal;
}

void model_forget(World *w, uint64_t offset)
{
    uint32_t keep = 0;
    for (uint32_t i = 0; i < w->njournal; i++) {
        if (w->journal[i].offset > offset)
            w->journal[keep++] = w->journal[i];
        else
            free((void *)w->journal[i].row.ptr);
    }
    w->njournal = w->journal_open = keep;
}

void model_undo(World *w, uint64_t offset)
{
    while (w->njournal && w->journal[w->njournal - 1].offset > offset)
        undo_last(w);
    w->journal_open = w->njournal;
}

void model_append_columns(World *w, uint32_t table, Bytes defaults)
{
    RowBag *b = &w->tables[table];
    for (uint32_t i = 0; i < b->n; i++) {
        uint8_t *p = x_alloc(b->rows[i].len + defaults.len + 1);
        memcpy(p, b->rows[i].ptr, b->rows[i].len);
        memcpy(p + b->rows[i].len, defaults.ptr, defaults.len);
        free((void *)b->rows[i].ptr);
        b->rows[i] = bytes_of(p, b->rows[i].len + defaults.len);
    }
}

uint64_t model_rows(const World *w)
{
    uint64_t n = 0;
    for (uint32_t t = 0; t < w->schema.ntables; t++)
        n += w->tables[t].n;
    return n;
}

/* ---- queries --------------------------------------------------------------------------------- */

void query_random(World *w, Rng *r, Query *q, uint32_t ntables, bool owner, const SimSchema *known)
{
    static const char *const words[] = {"", "a", "ab", "b", "zebra", "it's"};
    *q = (Query){0};
    do
        q->table = rng_below(r, ntables);
    while (!owner && w->schema.tables[q->table].is_private);
    const SimTable *t = &known->tables[q->table];
    q->filtered = rng_chance(r, 60);
    if (q->filtered) {
        q->col = rng_below(r, t->ncols);
        ColumnKind kind = t->cols[q->col].kind;
        q->op = "=<>!"[rng_below(r, 4)];
        q->number = rng_below(r, 8);
        const char *op = q->op == '=' ? "=" : q->op == '<' ? "<" : q->op == '>' ? ">" : "<>";
        if (kind == COL_STRING) {
            q->word = str_of(words[rng_below(r, COUNT_OF(words))]);
            snprintf(q->text, sizeof q->text, "SELECT * FROM %s WHERE %s.%s %s '%s'", t->name, t->name, t->cols[q->col].name, op,
                     str_is(q->word, "it's") ? "it''s" : q->word.ptr);
        } else if (kind == COL_BOOL) {
            q->op = '=', q->number &= 1;
            snprintf(q->text, sizeof q->text, "SELECT * FROM %s WHERE %s = %s", t->name, t->cols[q->col].name,
                     q->number ? "true" : "false");
        } else if (kind == COL_IDENTITY) {
            q->op = '=', q->sender = true;
            snprintf(q->text, sizeof q->text, "SELECT * FROM %s WHERE %s = :sender", t->name, t->cols[q->col].name);
        } else if (kind == COL_U64 || kind == COL_U32 || kind == COL_U8 || kind == COL_I32) {
            if (kind == COL_I32)
                q->number -= 4;
            snprintf(q->text, sizeof q->text, "SELECT * FROM %s WHERE %s %s %lld", t->name, t->cols[q->col].name, op, (long long)q->number);
        } else {
            q->filtered = false;
        }
    }
    if (!q->filtered)
        snprintf(q->text, sizeof q->text, "SELECT * FROM %s", t->name);
}

bool query_matches(const World *w, const Query *q, Bytes row, const uint8_t *sender)
{
    if (!q->filtered)
        return true;
    Bytes v = model_column(w, q->table, row, q->col);
    int d = 0;
    int64_t n = 0;
    switch (w->schema.tables[q->table].cols[q->col].kind) {
    case COL_STRING: {
        Str s = {(const char *)v.ptr + 4, v.len - 4};
        d = str_cmp(s, q->word);
        break;
    }
    case COL_IDENTITY: return memcmp(v.ptr, sender, 32) == 0;
    case COL_U64: d = load_u64(v.ptr) < (uint64_t)q->number ? -1 : load_u64(v.ptr) > (uint64_t)q->number; break;
    case COL_U32:
        n = load_u32(v.ptr);
        d = n < q->number ? -1 : n > q->number;
        break;
    case COL_I32:
        n = (int32_t)load_u32(v.ptr);
        d = n < q->number ? -1 : n > q->number;
        break;
    default:
        n = v.ptr[0];
        d = n < q->number ? -1 : n > q->number;
        break; /* bool, u8 */
    }
    return q->op == '=' ? d == 0 : q->op == '<' ? d < 0 : q->op == '>' ? d > 0 : d != 0;
}
