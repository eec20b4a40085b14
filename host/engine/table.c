/* table.c - the rows of one table: checks, insert, update, delete, finds, cursors, loading.
 *
 * Every write goes: check the row -> give out sequence values -> look for conflicts -> reserve undo and index
 * memory -> mutate. Only the last step changes anything that a failure would have to take back. */
#include "host/engine/engine_int.h"

/* ---- life cycle ---- */

Table *table_new(Engine *e, TableShape *shape, uint32_t id)
{
    Table *t = NEW(Table);
    t->engine = e;
    t->shape = shape;
    t->id = id;
    t->next_number = 1;
    t->uniques = x_alloc(MAX(shape->nuniques, 1) * sizeof *t->uniques);
    t->btrees = x_alloc(MAX(shape->nbtrees, 1) * sizeof *t->btrees);
    t->sequences = x_alloc(MAX(shape->def->nsequences, 1) * sizeof *t->sequences);
    for (uint32_t i = 0; i < shape->nuniques; i++)
        t->uniques[i].key = &shape->uniques[i];
    for (uint32_t i = 0; i < shape->nbtrees; i++)
        t->btrees[i].key = &shape->btrees[i];
    return t;
}

void table_free(Table *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; i < t->shape->nuniques; i++)
        hash_done(t->engine, &t->uniques[i]);
    for (uint32_t i = 0; i < t->shape->nbtrees; i++)
        btree_done(t->engine, &t->btrees[i]);
    hash_done(t->engine, &t->numbers);
    page_free_all(t);
    free(t->uniques);
    free(t->btrees);
    free(t->sequences);
    shape_free(t->shape);
    free(t);
}

const TableDef *table_def(const Table *t) { return t->shape->def; }
uint32_t table_id(const Table *t) { return t->id; }
uint64_t table_count(const Table *t) { return t->count; }
uint64_t row_number(const void *row) { return header_of(row)->number; }
bool row_is_alive(const void *row) { return header_of(row)->death == STAMP_ALIVE; }
bool row_is_new(const void *row) { return header_of(row)->birth != 0; }

/* ---- failures ---- */

Status conflict(Error *err, const TableShape *s, const KeyShape *k, const void *row)
{
    OWN(buf) Buf text = buf_with_max(800);
    key_print_columns(&text, s, k);
    buf_put_text(&text, ": value ");
    key_print_values(&text, k, row);
    return FAIL(err, S_CONFLICT, "table %.*s, %.*s is already present", STR_FMT(s->def->name), (int)text.len, (const char *)text.ptr);
}

Status engine_check_room(const Engine *e, uint64_t more, Error *err)
{
    if (UNLIKELY(e->limits.database_bytes_max && e->bytes + more > e->limits.database_bytes_max))
        return FAIL(err, S_TOO_LARGE,
                    "the database needs %llu bytes more than the %llu in use; its limit is %llu bytes (--database-memory)",
                    (unsigned long long)more, (unsigned long long)e->bytes, (unsigned long long)e->limits.database_bytes_max);
    return S_OK;
}

/* ---- sequences ---- */

i128 integer_load(const Type *t, const void *v)
{
    switch (t->kind) {
    case TYPE_I8: return (int8_t)load_u8(v);
    case TYPE_U8: return load_u8(v);
    case TYPE_I16: return (int16_t)load_u16(v);
    case TYPE_U16: return load_u16(v);
    case TYPE_I32: return (int32_t)load_u32(v);
    case TYPE_U32: return load_u32(v);
    case TYPE_I64: return load_i64(v);
    case TYPE_U64: return load_u64(v);
    default: break;
    }
    const i128 max = (i128)(~(u128)0 >> 1), min = -max - 1;
    u128 low;
    memcpy(&low, v, 16);
    if (t->kind == TYPE_I128)
        return (i128)low;
    if (t->kind == TYPE_U128)
        return low >> 127 ? max : (i128)low;
    u128 high; /* 256 bits */
    memcpy(&high, (const uint8_t *)v + 16, 16);
    if (t->kind == TYPE_I256 && high >> 127)
        return high == ~(u128)0 && low >> 127 ? (i128)low : min;
    return high || low >> 127 ? max : (i128)low;
}

static void integer_store(const Type *t, void *v, i128 value)
{
    uint8_t wide[32];
    memcpy(wide, &value, 16);
    memset(wide + 16, value < 0 ? 0xff : 0, 16);
    memcpy(v, wide, t->size);
}

static bool all_zero(const uint8_t *v, uint32_t bytes)
{
    uint8_t any = 0;
    for (uint32_t i = 0; i < bytes; i++)
        any |= v[i];
    return any == 0;
}

bool sequence_after(const SequenceDef *d, i128 allocated, i128 *ret_next)
{
    return !__builtin_add_overflow(allocated, d->increment, ret_next) && *ret_next <= d->max && *ret_next >= d->min;
}

/* Take the next block: from the end of the last one, or from the start. False: the bound is reached. What a block holds is lost by a
 * restart, so a narrow range is taken in small ones. */
static bool sequence_refill(Sequence *s, const SequenceDef *d)
{
    i128 first = d->start;
    if (s->started && !sequence_after(d, s->allocated, &first))
        return false;
    u128 step = d->increment > 0 ? (u128)d->increment : -(u128)d->increment;
    u128 room = d->increment > 0 ? (u128)d->max - (u128)first : (u128)first - (u128)d->min;
    u128 whole = ((u128)d->max - (u128)d->min) / step / SEQUENCE_BLOCKS_MIN;
    u128 more = MIN(room / step, MIN(whole, (u128)(SEQUENCE_BLOCK - 1)));
    s->next = first;
    s->left = (uint32_t)more + 1;
    s->allocated = (i128)((u128)first + more * (u128)d->increment);
    s->started = s->dirty = true;
    s->written = false;
    return true;
}

static bool sequence_next(Sequence *s, const SequenceDef *d, i128 *ret)
{
    if (s->left == 0 && !sequence_refill(s, d))
        return false;
    *ret = s->next;
    if (--s->left)
        s->next += d->increment;
    return true;
}

/* Fill the zeros; `filled` remembers which, for a write that fails later. */
static Status sequences_fill(Table *t, void *row, bool *filled, Error *err)
{
    const TableDef *d = t->shape->def;
    for (uint16_t i = 0; i < d->nsequences; i++) {
        const ColumnDef *c = &d->cols[d->sequences[i].col];
        uint8_t *v = (uint8_t *)row + c->offset;
        i128 next;
        filled[i] = all_zero(v, c->type->size);
        if (!filled[i])
            continue;
        if (UNLIKELY(!sequence_next(&t->sequences[i], &d->sequences[i], &next))) {
            filled[i] = false;
            for (uint16_t k = i; k-- > 0;)
                if (filled[k])
                    memset((uint8_t *)row + d->cols[d->sequences[k].col].offset, 0, d->cols[d->sequences[k].col].type->size);
            Status status = FAIL(err, S_TOO_LARGE, "table %.*s, column %.*s: its sequence has given out its last number", STR_FMT(d->name),
                                 STR_FMT(c->name));
            memcpy(err->sqlstate, SQLSTATE_SEQUENCE, sizeof SQLSTATE_SEQUENCE);
            return status;
        }
        integer_store(c->type, v, next);
    }
    return S_OK;
}
static void sequences_unfill(Table *t, void *row, const bool *filled)
{
    const TableDef *d = t->shape->def;
    for (uint16_t i = 0; i < d->nsequences; i++)
        if (filled[i]) {
            const ColumnDef *c = &d->cols[d->sequences[i].col];
            memset((uint8_t *)row + c->offset, 0, c->type->size);
        }
}

/* ---- the steps of a write ---- */

/* When a row is due (functions.md 4.2): an interval of 0 would run without a pause, and neither may lie too far ahead. */
static Status check_interval(const TableShape *s, const void *row, Error *err)
{
    const ColumnDef *col = &s->def->cols[s->def->schedule->at_col];
    const uint8_t *at = (const uint8_t *)row + col->offset;
    int64_t us = load_i64(at + col->type->payload_offset);
    if (*at != 0)
        return S_OK;
    if (us == 0)
        return FAIL(err, S_INVALID, "table %.*s, column %.*s: an interval of 0 would run without a pause; for one call at once give a time",
                    STR_FMT(s->def->name), STR_FMT(col->name));
    if (us >= SCHEDULE_DELAY_US_MAX || us <= -SCHEDULE_DELAY_US_MAX) {
        Status status = FAIL(err, S_TOO_LARGE, "table %.*s, column %.*s: an interval of two years (2^36 ms) or more", STR_FMT(s->def->name),
                             STR_FMT(col->name));
        memcpy(err->sqlstate, SQLSTATE_DELAY, sizeof SQLSTATE_DELAY);
        return status;
    }
    return S_OK;
}

/* Is this a row that module and PostgreSQL can hold? */
static Status admit(const Table *t, const void *row, Error *err)
{
    const TableShape *s = t->shape;
    ASSERT(t->engine->open);
    if (s->needs_check && value_check(s->def->row, row, err) != S_OK)
        return CONTEXT(err, "table %.*s", STR_FMT(s->def->name));
    if (s->needs_storable)
        TRY(shape_check_storable(s, row, err));
    if (s->variable_keys)
        TRY(shape_check_keys(s, row, err));
    if (UNLIKELY(s->def->schedule))
        TRY(check_interval(s, row, err));
    return S_OK;
}

static Status check_txn_room(const Table *t, uint64_t more, Error *err)
{
    const Engine *e = t->engine;
    if (UNLIKELY(e->limits.txn_rows_max && e->nundo >= e->limits.txn_rows_max))
        return FAIL(err, S_TOO_LARGE, "table %.*s: the transaction writes more than %llu rows (--transaction-rows)",
                    STR_FMT(t->shape->def->name), (unsigned long long)e->limits.txn_rows_max);
    if (UNLIKELY(e->limits.txn_bytes_max && more && e->txn_bytes + more > e->limits.txn_bytes_max))
        return FAIL(err, S_TOO_LARGE, "table %.*s: the transaction writes more than %llu bytes of rows (--transaction-bytes)",
                    STR_FMT(t->shape->def->name), (unsigned long long)e->limits.txn_bytes_max);
    if (UNLIKELY(e->stamp >= STAMP_MAX))
        return FAIL(err, S_TOO_LARGE, "a transaction writes at most %u rows", STAMP_MAX);
    return S_OK;
}

/* Room for one more version: limits first, then undo and index memory. Changes nothing that anybody sees. */
static Status reserve(Table *t, const void *row, uint64_t *ret_heap, Error *err)
{
    Engine *e = t->engine;
    const TableShape *s = t->shape;
    uint64_t heap = s->def->row->has_pointers ? value_heap_size(s->def->row, row) : 0;
    if (UNLIKELY(heap > ROW_BYTES_MAX))
        return FAIL(err, S_TOO_LARGE, "table %.*s: a row with %llu bytes of text and arrays; the limit is %d", STR_FMT(s->def->name),
                    (unsigned long long)heap, ROW_BYTES_MAX);
    if (e->open)
        TRY(check_txn_room(t, s->stride + heap, err));
    if (e->limits.database_bytes_max) {
        uint64_t more = page_growth(t) + heap + (heap ? sizeof(HeapBlock) : 0);
        for (uint32_t i = 0; i < s->nuniques; i++)
            more += hash_growth(&t->uniques[i], 1);
        if (engine_check_room(e, more, err) != S_OK)
            return CONTEXT(err, "table %.*s", STR_FMT(s->def->name));
    }
    if (e->open)
        txn_reserve(e);
    for (uint32_t i = 0; i < s->nuniques; i++)
        hash_reserve(e, &t->uniques[i], 1);
    *ret_heap = heap;
    return S_OK;
}

static RowHeader *new_version(Table *t, uint64_t number, uint32_t birth, const void *row, uint64_t heap)
{
    RowHeader *h = page_take_slot(t);
    h->number = number;
    h->birth = birth;
    h->death = STAMP_ALIVE;
    if (heap)
        h->heap = heap_new(t->engine, heap);
    shape_copy_row(t->shape, row_of(h), row, h->heap);
    return h;
}

static void wrote(Table *t, RowHeader *old, RowHeader *new_)
{
    Engine *e = t->engine;
    txn_push(e, t, old, new_);
    if (old) {
        old->death = e->stamp;
        t->dead++;
    }
    if (new_)
        e->txn_bytes += t->shape->stride + (new_->heap ? new_->heap->bytes : 0);
}

static Status insert_checked(Table *t, const void *row, const void **ret_row, Error *err)
{
    const TableShape *s = t->shape;
    Engine *e = t->engine;
    uint64_t keys[s->nuniques];
    for (uint32_t i = 0; i < s->nuniques; i++) {
        keys[i] = hash_key_of_row(&t->uniques[i], row);
        RowHeader *found = hash_find_row(&t->uniques[i], keys[i], row);
        if (found) {
            if (i == 0 && (s->uniques[0].whole_row || shape_rows_equal(s, row_of(found), row))) {
                if (ret_row)
                    *ret_row = row_of(found);
                return S_OK; /* a table is a set */
            }
            return conflict(err, s, &s->uniques[i], row);
        }
    }
    uint64_t heap;
    TRY(reserve(t, row, &heap, err));
    RowHeader *h = new_version(t, t->next_number++, e->stamp + 1, row, heap);
    wrote(t, NULL, h);
    for (uint32_t i = 0; i < s->nuniques; i++)
        hash_add(&t->uniques[i], keys[i], h);
    for (uint32_t i = 0; i < s->nbtrees; i++)
        btree_insert(e, &t->btrees[i], h);
    t->count++;
    if (ret_row)
        *ret_row = row_of(h);
    return S_OK;
}

static void delete_checked(Table *t, RowHeader *h)
{
    txn_reserve(t->engine);
    wrote(t, h, NULL);
    for (uint32_t i = 0; i < t->shape->nuniques; i++)
        hash_remove(&t->uniques[i], hash_key_of_row(&t->uniques[i], row_of(h)), h);
    t->count--;
}

static Status replace_checked(Table *t, RowHeader *old, const void *row, const void **ret_row, Error *err)
{
    const TableShape *s = t->shape;
    Engine *e = t->engine;
    if (shape_rows_equal(s, row_of(old), row)) {
        if (ret_row)
            *ret_row = row_of(old);
        return S_OK;
    }
    uint64_t keys[s->nuniques], old_keys[s->nuniques];
    bool same[s->nuniques]; /* the entry only gets another row */
    for (uint32_t i = 0; i < s->nuniques; i++) {
        keys[i] = hash_key_of_row(&t->uniques[i], row);
        old_keys[i] = hash_key_of_row(&t->uniques[i], row_of(old));
        RowHeader *found = hash_find_row(&t->uniques[i], keys[i], row);
        same[i] = found == old;
        if (found && found != old) {
            if (i > 0 || !(s->uniques[0].whole_row || shape_rows_equal(s, row_of(found), row)))
                return conflict(err, s, &s->uniques[i], row);
            TRY(check_txn_room(t, 0, err)); /* becomes equal to another row: a table is a set */
            delete_checked(t, old);
            if (ret_row)
                *ret_row = row_of(found);
            return S_OK;
        }
    }
    uint64_t heap;
    TRY(reserve(t, row, &heap, err));
    RowHeader *h = new_version(t, t->next_number++, e->stamp + 1, row, heap);
    wrote(t, old, h);
    for (uint32_t i = 0; i < s->nuniques; i++) {
        if (same[i]) {
            hash_replace(&t->uniques[i], keys[i], old, h);
        } else {
            hash_remove(&t->uniques[i], old_keys[i], old);
            hash_add(&t->uniques[i], keys[i], h);
        }
    }
    for (uint32_t i = 0; i < s->nbtrees; i++)
        btree_insert(e, &t->btrees[i], h);
    if (ret_row)
        *ret_row = row_of(h);
    return S_OK;
}

/* ---- writes ---- */

Status table_insert(Table *t, void *row, const void **ret_row, Error *err)
{
    uint16_t nsequences = t->shape->def->nsequences;
    bool filled[MAX(nsequences, 1)];
    SEEN_FILLED(filled);
    TRY(admit(t, row, err));
    if (nsequences)
        TRY(sequences_fill(t, row, filled, err));
    Status s = insert_checked(t, row, ret_row, err);
    if (UNLIKELY(s != S_OK) && nsequences)
        sequences_unfill(t, row, filled);
    return s;
}

static Status update_filled(Table *t, int32_t unique, uint16_t col, const void *row, const void **ret_row, Error *err)
{
    const HashIndex *ix = &t->uniques[unique];
    RowHeader *old = hash_find_row(ix, hash_key_of_row(ix, row), row);
    if (UNLIKELY(!old)) {
        OWN(buf) Buf text = buf_with_max(400);
        key_print_values(&text, ix->key, row);
        return FAIL(err, S_NOT_FOUND, "table %.*s, column %.*s: no row with value %.*s", STR_FMT(t->shape->def->name),
                    STR_FMT(t->shape->def->cols[col].name), (int)text.len, (const char *)text.ptr);
    }
    return replace_checked(t, old, row, ret_row, err);
}

Status table_update(Table *t, uint16_t col, void *row, const void **ret_row, Error *err)
{
    const TableDef *d = t->shape->def;
    if (UNLIKELY(col >= d->ncols || t->shape->find_by_col[col] < 0))
        return FAIL(err, S_INVALID, "table %.*s: update by column %u, which is not unique", STR_FMT(d->name), col);
    bool filled[MAX(d->nsequences, 1)];
    SEEN_FILLED(filled);
    TRY(admit(t, row, err));
    if (d->nsequences)
        TRY(sequences_fill(t, row, filled, err));
    Status s = update_filled(t, t->shape->find_by_col[col], col, row, ret_row, err);
    if (UNLIKELY(s != S_OK) && d->nsequences)
        sequences_unfill(t, row, filled);
    return s;
}

static Status check_alive(const Table *t, const void *row, Error *err)
{
    if (UNLIKELY(!row_is_alive(row)))
        return FAIL(err, S_NOT_FOUND, "table %.*s: the row was deleted or updated before in this transaction",
                    STR_FMT(t->shape->def->name));
    return S_OK;
}

Status table_replace(Table *t, const void *old, void *row, const void **ret_row, Error *err)
{
    uint16_t nsequences = t->shape->def->nsequences;
    bool filled[MAX(nsequences, 1)];
    SEEN_FILLED(filled);
    TRY(admit(t, row, err));
    TRY(check_alive(t, old, err));
    if (nsequences)
        TRY(sequences_fill(t, row, filled, err));
    Status s = replace_checked(t, header_of(old), row, ret_row, err);
    if (UNLIKELY(s != S_OK) && nsequences)
        sequences_unfill(t, row, filled);
    return s;
}

Status table_delete(Table *t, const void *row, Error *err)
{
    ASSERT(t->engine->open);
    TRY(check_alive(t, row, err));
    TRY(check_txn_room(t, 0, err));
    delete_checked(t, header_of(row));
    return S_OK;
}

/* ---- reads ---- */

const void *table_find(const Table *t, uint16_t col, const void *key)
{
    ASSERT(col < t->shape->def->ncols && t->shape->find_by_col[col] >= 0);
    RowHeader *h = hash_find_values(&t->uniques[t->shape->find_by_col[col]], &key);
    return h ? row_of(h) : NULL;
}

int32_t table_find_index(const Table *t, uint32_t ncols, const uint16_t *cols)
{
    const TableDef *d = t->shape->def;
    int32_t best = -1;
    if (ncols == 0 || ncols > CURSOR_EQ_MAX + 1)
        return -1;
    for (uint16_t i = 0; i < d->nindexes; i++) {
        const IndexDef *ix = &d->indexes[i];
        if (ix->ncols < ncols || (ix->unique && (ix->ncols != ncols || ncols > CURSOR_EQ_MAX)) ||
            memcmp(ix->cols, cols, ncols * sizeof *cols) != 0)
            continue;
        if (ix->unique)
            return i;
        if (best < 0 || ix->ncols < d->indexes[best].ncols)
            best = i;
    }
    return best;
}

/* Cursor: a = page, b = slot (full scan) | a = the row, then 0 (unique) | a = last row, b = leaf, c = position in it,
 * d = version of the tree (range). A tree that changed since is entered again behind the last row: its entry
 * is still there, since entries leave only when the transaction ends. */
void cursor_all(Cursor *c, Table *t) { *c = (Cursor){.table = t, .snapshot = t->engine->stamp, .index = -1}; }

void cursor_index(Cursor *c, Table *t, int32_t index, uint32_t neq, const void *const *eq, const void *lo, const void *hi)
{
    const TableDef *d = t->shape->def;
    ASSERT(index >= 0 && index < d->nindexes && neq <= CURSOR_EQ_MAX && neq <= d->indexes[index].ncols);
    ASSERT(neq < d->indexes[index].ncols || (!lo && !hi));
    *c = (Cursor){.table = t, .snapshot = t->engine->stamp, .index = index, .neq = neq, .lo = lo, .hi = hi, .d = UINT64_MAX};
    for (uint32_t i = 0; i < neq; i++)
        c->eq[i] = eq[i];
    IndexRef ref = t->shape->indexes[index];
    if (!ref.unique)
        return;
    const IndexDef *ix = &d->indexes[index];
    const HashIndex *hash = &t->uniques[ref.position];
    const void *values[CURSOR_EQ_MAX] = {0};
    ASSERT(neq == ix->ncols);
    for (uint32_t i = 0; i < neq; i++) /* the constraint has its own order of columns */
        for (uint32_t j = 0; j < neq; j++)
            if (hash->key->cols[i].col == ix->cols[j])
                values[i] = eq[j];
    c->a = (uint64_t)(uintptr_t)hash_find_values(hash, values);
}

static bool in_bounds(const Cursor *c, const KeyShape *k, const void *row)
{
    for (uint32_t i = 0; i < c->neq; i++)
        if (column_compare(k->cols[i].type, (const uint8_t *)row + k->cols[i].offset, c->eq[i]) != 0)
            return false;
    if (!c->hi)
        return true;
    int cmp = column_compare(k->cols[c->neq].type, (const uint8_t *)row + k->cols[c->neq].offset, c->hi);
    return c->hi_inclusive ? cmp <= 0 : cmp < 0;
}

static const void *next_in_tree(Cursor *c, const BTree *t)
{
    TreePos p = {(TreeNode *)(uintptr_t)c->b, (uint32_t)c->c};
    if (UNLIKELY(c->d != t->version)) {
        if (c->a) {
            p = btree_seek_after(t, (const RowHeader *)(uintptr_t)c->a);
        } else {
            const void *values[CURSOR_EQ_MAX + 1];
            uint32_t n = c->neq;
            memcpy(values, c->eq, n * sizeof *values);
            if (c->lo)
                values[n++] = c->lo;
            p = btree_seek(t, n, values, c->lo && c->lo_exclusive);
        }
        c->d = t->version;
    }
    for (; p.leaf; p = (TreePos){p.leaf->next, 0})
        for (; p.at < p.leaf->n; p.at++) {
            RowHeader *h = p.leaf->e[p.at].row;
            if (!in_bounds(c, t->key, row_of(h))) {
                c->b = 0;
                c->index = -2;
                return NULL;
            }
            if (row_visible(h, c->snapshot)) {
                c->a = (uint64_t)(uintptr_t)h;
                c->b = (uint64_t)(uintptr_t)p.leaf;
                c->c = p.at + 1;
                return row_of(h);
            }
        }
    c->index = -2; /* done */
    return NULL;
}

const void *cursor_next(Cursor *c)
{
    Table *t = c->table;
    if (c->index == -1) {
        for (; c->a < t->npages; c->a++, c->b = 0)
            for (uint32_t n = page_used(t, (uint32_t)c->a); c->b < n;) {
                RowHeader *h = page_slot(t, (uint32_t)c->a, (uint32_t)c->b++);
                if (row_visible(h, c->snapshot))
                    return row_of(h);
            }
        return NULL;
    }
    if (c->index < 0)
        return NULL;
    IndexRef ref = t->shape->indexes[c->index];
    if (!ref.unique)
        return next_in_tree(c, &t->btrees[ref.position]);
    RowHeader *h = (RowHeader *)(uintptr_t)c->a;
    c->a = 0;
    return h ? row_of(h) : NULL;
}

/* ---- loading ---- */

static Status check_uniques(Table *t, const void *row, uint64_t *keys, Error *err)
{
    for (uint32_t i = 0; i < t->shape->nuniques; i++) {
        keys[i] = hash_key_of_row(&t->uniques[i], row);
        if (UNLIKELY(hash_find_row(&t->uniques[i], keys[i], row) != NULL))
            return conflict(err, t->shape, &t->shape->uniques[i], row);
    }
    return S_OK;
}

static void link_loaded(Table *t, RowHeader *h, const uint64_t *keys)
{
    for (uint32_t i = 0; i < t->shape->nuniques; i++)
        hash_add(&t->uniques[i], keys[i], h);
    for (uint32_t i = 0; i < t->shape->nbtrees; i++)
        btree_insert(t->engine, &t->btrees[i], h);
    if (t->has_numbers) {
        hash_reserve(t->engine, &t->numbers, 1);
        hash_add(&t->numbers, h->number, h);
    }
    t->next_number = MAX(t->next_number, h->number + 1);
    t->count++;
}

Status table_place(Table *t, uint64_t number, const void *row, Error *err)
{
    uint64_t heap = 0, keys[MAX(t->shape->nuniques, 1)];
    SEEN_FILLED(keys);
    TRY(check_uniques(t, row, keys, err));
    TRY(reserve(t, row, &heap, err));
    link_loaded(t, new_version(t, number, 0, row, heap), keys);
    return S_OK;
}

/* Decode where the row will lie; give the slot back when it cannot stay. */
static Status load_flat(Table *t, uint64_t number, const uint8_t *src, Error *err)
{
    uint64_t heap = 0, keys[MAX(t->shape->nuniques, 1)];
    SEEN_FILLED(keys);
    TRY(reserve(t, NULL, &heap, err));
    RowHeader *h = page_take_slot(t);
    h->number = number;
    h->birth = 0;
    h->death = STAMP_ALIVE;
    Status s = S_OK;
    if (!shape_decode(t->shape, row_of(h), src))
        s = S_INVALID; /* the caller finds the words */
    else
        s = check_uniques(t, row_of(h), keys, err);
    if (UNLIKELY(s != S_OK)) {
        page_give_slot(t, h);
        return s;
    }
    link_loaded(t, h, keys);
    return S_OK;
}

Status table_load_row(Table *t, Reader *in, Error *err)
{
    const TableShape *s = t->shape;
    Engine *e = t->engine;
    uint64_t number = t->next_number;
    ASSERT(!e->open);
    if (s->def->pk < 0) {
        number = read_u64(in);
        if (UNLIKELY(in->bad || number == 0 || number == UINT64_MAX))
            return FAIL(err, S_INVALID, "table %.*s: a row without a valid row number", STR_FMT(s->def->name));
    }
    if (LIKELY(s->nops && reader_left(in) >= s->bsatn_bytes)) {
        if (s->key_ahead && reader_left(in) >= (LOAD_AHEAD + 1u) * s->bsatn_bytes) /* when rows follow each other */
            hash_prefetch(&t->uniques[0], int_key(s->uniques[0].int_bytes, in->ptr + LOAD_AHEAD * s->bsatn_bytes + s->key_at));
        Status done = load_flat(t, number, in->ptr, err);
        if (LIKELY(done != S_INVALID)) {
            if (done == S_OK)
                in->ptr += s->bsatn_bytes;
            return done;
        }
    }
    void *row = arena_alloc(&e->scratch, MAX(s->row_bytes, 1));
    Status st = value_decode(in, s->def->row, row, &e->scratch, err);
    if (st != S_OK)
        CONTEXT(err, "table %.*s", STR_FMT(s->def->name));
    else
        st = table_place(t, number, row, err);
    arena_reset(&e->scratch);
    return st;
}

void table_load_expect(Table *t, uint64_t rows)
{
    for (uint32_t i = 0; i < t->shape->nuniques; i++) {
        uint64_t more = hash_growth(&t->uniques[i], rows);
        if (more && engine_check_room(t->engine, more, NULL) == S_OK)
            hash_reserve(t->engine, &t->uniques[i], rows);
    }
}

void table_unlink_btrees(Table *t, RowHeader *h)
{
    for (uint32_t i = 0; i < t->shape->nbtrees; i++)
        btree_remove(t->engine, &t->btrees[i], h);
}

Status table_remove_committed(Table *t, RowHeader *h)
{
    for (uint32_t i = 0; i < t->shape->nuniques; i++)
        hash_remove(&t->uniques[i], hash_key_of_row(&t->uniques[i], row_of(h)), h);
    table_unlink_btrees(t, h);
    if (t->has_numbers)
        hash_remove(&t->numbers, h->number, h);
    page_give_slot(t, h);
    t->count--;
    return S_OK;
}
