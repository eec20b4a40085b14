/* txn.c - the undo log, net changes, the parts of a commit record, commit and rollback.
 *
 * An undo entry is (table, old version, new version). Each version appears at most once as `new_` and at
 * most once, later, as `old`. Dead versions keep their slot, their heap block and their B+tree entries until
 * the end; only then are they given back. So rollback and commit remove entries and never add any, except
 * for hash entries of revived rows, whose room is there because hash tables never shrink inside a transaction. */
#include "host/engine/engine_int.h"

void txn_begin(Engine *e)
{
    ASSERT(!e->open && e->nundo == 0 && e->stamp == 0);
    e->open = true;
    for (uint32_t i = 0; i < e->ntables; i++) {
        Table *t = e->tables[i];
        if (UNLIKELY(t->has_numbers)) {
            hash_done(e, &t->numbers);
            t->has_numbers = false;
        }
    }
}

bool txn_active(const Engine *e) { return e->open; }

void txn_reserve(Engine *e)
{
    if (LIKELY(e->nundo < e->undo_cap))
        return;
    e->undo_cap = e->undo_cap ? e->undo_cap * 2 : 64;
    e->undo = x_realloc(e->undo, e->undo_cap * sizeof *e->undo);
}

void txn_push(Engine *e, Table *t, RowHeader *old, RowHeader *new_)
{
    ASSERT(e->open && e->nundo < e->undo_cap);
    e->stamp++;
    e->changes_known = false;
    e->undo[e->nundo++] = (Undo){t, old, new_};
}

void txn_done(Engine *e)
{
    free(e->undo);
    arena_done(&e->txn);
}

/* Both ends of a transaction. */
static void forget(Engine *e)
{
    e->open = false;
    e->stamp = 0;
    e->nundo = 0;
    e->txn_bytes = 0;
    e->changes_known = e->changes_stored = false;
    e->nchanges = 0;
    e->changes = NULL;
    e->ncancelled = 0;
    e->cancelled = NULL;
    arena_reset(&e->txn);
    if (UNLIKELY(e->undo_cap > 1 << 16)) { /* after a huge transaction */
        free(e->undo);
        e->undo = NULL;
        e->undo_cap = 0;
    }
}

static void unlink_uniques(Table *t, RowHeader *h)
{
    for (uint32_t i = 0; i < t->shape->nuniques; i++)
        hash_remove(&t->uniques[i], hash_key_of_row(&t->uniques[i], row_of(h)), h);
}

/* Where keys agree the entry only changes its row. */
static void exchange_uniques(Table *t, RowHeader *from, RowHeader *to)
{
    for (uint32_t i = 0; i < t->shape->nuniques; i++) {
        HashIndex *ix = &t->uniques[i];
        uint64_t from_key = hash_key_of_row(ix, row_of(from)), to_key = hash_key_of_row(ix, row_of(to));
        if (from_key == to_key) {
            hash_replace(ix, from_key, from, to);
        } else {
            hash_remove(ix, from_key, from);
            hash_add(ix, to_key, to);
        }
    }
}

static void sequences_end(Engine *e, bool committed)
{
    for (uint32_t i = 0; i < e->ntables; i++) {
        Table *t = e->tables[i];
        for (uint16_t q = 0; q < t->shape->def->nsequences; q++) {
            Sequence *s = &t->sequences[q];
            if (s->written && committed)
                s->dirty = false;
            s->written = false;
        }
    }
}

void txn_rollback(Engine *e)
{
    ASSERT(e->open);
    for (uint64_t i = e->nundo; i-- > 0;) {
        Undo u = e->undo[i];
        Table *t = u.table;
        if (u.old && u.new_) {
            exchange_uniques(t, u.new_, u.old);
        } else if (u.new_) {
            unlink_uniques(t, u.new_);
            t->count--;
        } else {
            for (uint32_t x = 0; x < t->shape->nuniques; x++)
                hash_add(&t->uniques[x], hash_key_of_row(&t->uniques[x], row_of(u.old)), u.old);
            t->count++;
        }
        if (u.new_) {
            table_unlink_btrees(t, u.new_);
            page_give_slot(t, u.new_);
        }
        if (u.old) {
            u.old->death = STAMP_ALIVE;
            t->dead--;
        }
    }
    sequences_end(e, false);
    forget(e);
}

/* ---- net changes ---- */

/* Stable merge sort by row number; `tmp` has room for n. (qsort calls sysinfo, which the sandbox refuses.) */
static void sort_by_number(const void **rows, const void **tmp, uint32_t n)
{
    bool sorted = true;
    for (uint32_t i = 1; i < n && sorted; i++)
        sorted = row_number(rows[i - 1]) < row_number(rows[i]);
    if (sorted)
        return;
    uint32_t half = n / 2;
    sort_by_number(rows, tmp, half);
    sort_by_number(rows + half, tmp, n - half);
    memcpy(tmp, rows, half * sizeof *rows);
    for (uint32_t a = 0, b = half, out = 0; a < half;)
        rows[out++] = b < n && row_number(rows[b]) < row_number(tmp[a]) ? rows[b++] : tmp[a++];
}

/* Is the committed row `old`, dead now, there again as a new version? */
static RowHeader *reborn(const Table *t, const RowHeader *old)
{
    const HashIndex *ix = &t->uniques[0];
    RowHeader *h = hash_find_row(ix, hash_key_of_row(ix, row_of(old)), row_of(old));
    return h && h->birth != 0 && shape_rows_equal(t->shape, row_of(h), row_of(old)) ? h : NULL;
}

/* Drop from both lists what was deleted and inserted again unchanged; remember the pairs for the commit. */
static void cancel_pairs(Engine *e, TableChange *c)
{
    const void **deleted = (const void **)(uintptr_t)c->deleted, **inserted = (const void **)(uintptr_t)c->inserted;
    const void **gone = NULL;
    uint32_t kept = 0, ngone = 0;
    if (!c->ndeleted || !c->ninserted)
        return;
    for (uint32_t i = 0; i < c->ndeleted; i++) {
        RowHeader *h = reborn(c->table, header_of(deleted[i]));
        if (LIKELY(!h)) {
            deleted[kept++] = deleted[i];
            continue;
        }
        if (!gone)
            gone = arena_alloc_raw(&e->txn, 2 * (size_t)c->ndeleted * sizeof *gone);
        e->cancelled[e->ncancelled++] = (Cancelled){c->table, header_of(deleted[i]), h};
        gone[ngone++] = row_of(h);
    }
    c->ndeleted = kept;
    if (!ngone)
        return;
    sort_by_number(gone, gone + ngone, ngone);
    kept = 0;
    for (uint32_t i = 0, g = 0; i < c->ninserted; i++) {
        if (g < ngone && inserted[i] == gone[g])
            g++;
        else
            inserted[kept++] = inserted[i];
    }
    c->ninserted = kept;
}

static void find_changes(Engine *e)
{
    uint64_t total_deleted = 0;
    uint32_t ntables = 0;
    for (uint64_t i = 0; i < e->nundo; i++) {
        const Undo *u = &e->undo[i];
        if (!u->table->touched) {
            u->table->touched = true;
            u->table->ndeleted = u->table->ninserted = 0;
            ntables++;
        }
        if (u->old && u->old->birth == 0)
            u->table->ndeleted++, total_deleted++;
        if (u->new_ && u->new_->death == STAMP_ALIVE)
            u->table->ninserted++;
    }
    TableChange *list = arena_alloc(&e->txn, MAX(ntables, 1) * sizeof *list);
    uint32_t n = 0;
    if (ntables)
        for (uint32_t i = 0; i < e->ntables; i++) { /* ascending by id */
            Table *t = e->by_id[i];
            if (!t->touched)
                continue;
            list[n].table = t;
            list[n].deleted = arena_alloc_raw(&e->txn, MAX(t->ndeleted, 1) * sizeof(void *));
            list[n].inserted = arena_alloc_raw(&e->txn, MAX(t->ninserted, 1) * sizeof(void *));
            t->ndeleted = t->ninserted = 0;
            t->touched = false;
            t->change = &list[n++];
        }
    for (uint64_t i = 0; i < e->nundo; i++) {
        const Undo *u = &e->undo[i];
        TableChange *c = u->table->change;
        if (u->old && u->old->birth == 0)
            ((const void **)(uintptr_t)c->deleted)[c->ndeleted++] = row_of(u->old);
        if (u->new_ && u->new_->death == STAMP_ALIVE)
            ((const void **)(uintptr_t)c->inserted)[c->ninserted++] = row_of(u->new_);
    }
    e->ncancelled = 0;
    e->cancelled = total_deleted ? arena_alloc_raw(&e->txn, total_deleted * sizeof *e->cancelled) : NULL;
    e->nchanges = 0;
    e->changes = list;
    e->changes_stored = false;
    for (uint32_t i = 0; i < n; i++) {
        TableChange *c = &list[i];
        bool is_event = c->table->shape->def->is_event;
        ASSERT(!is_event || c->ndeleted == 0);
        cancel_pairs(e, c); /* numbers of new versions ascend with the undo log, those of old ones need not */
        if (c->ndeleted > 1)
            sort_by_number((const void **)(uintptr_t)c->deleted, arena_alloc_raw(&e->txn, c->ndeleted * sizeof(void *)), c->ndeleted);
        if (c->ndeleted || c->ninserted) {
            e->changes_stored |= !is_event;
            list[e->nchanges++] = *c;
        }
    }
    e->changes_known = true;
}

const TableChange *txn_changes(Engine *e, uint32_t *ret_count)
{
    ASSERT(e->open);
    if (!e->changes_known)
        find_changes(e);
    *ret_count = e->nchanges;
    return e->changes;
}

bool txn_has_stored_changes(Engine *e)
{
    uint32_t n;
    txn_changes(e, &n);
    return e->changes_stored;
}

/* ---- the commit record ---- */

void txn_write_sequences(Engine *e, Buf *out, uint16_t *ret_nsequences)
{
    uint16_t n = 0;
    for (uint32_t i = 0; i < e->ntables; i++) {
        Table *t = e->by_id[i];
        const TableDef *d = t->shape->def;
        for (uint16_t q = 0; q < d->nsequences; q++)
            if (t->sequences[q].dirty && n < UINT16_MAX) {
                commit_put_sequence(out, &(CommitSequence){t->id, d->sequences[q].col, t->sequences[q].allocated});
                t->sequences[q].written = true;
                n++;
            }
    }
    *ret_nsequences = n;
}

void txn_write_tables(Engine *e, Buf *out, uint32_t *ret_ntables)
{
    uint32_t nchanges, n = 0;
    const TableChange *changes = txn_changes(e, &nchanges);
    for (uint32_t i = 0; i < nchanges; i++) {
        const TableChange *c = &changes[i];
        const TableDef *d = c->table->shape->def;
        if (d->is_event)
            continue;
        const ColumnDef *pk = d->pk >= 0 ? &d->cols[d->pk] : NULL;
        size_t at = commit_begin_table(out, c->table->id);
        for (uint32_t r = 0; r < c->ndeleted; r++) {
            if (pk)
                value_encode(out, pk->type, (const uint8_t *)c->deleted[r] + pk->offset);
            else
                buf_put_u64(out, row_number(c->deleted[r]));
        }
        for (uint32_t r = 0; r < c->ninserted; r++) {
            if (!pk)
                buf_put_u64(out, row_number(c->inserted[r]));
            value_encode(out, d->row, c->inserted[r]);
        }
        commit_end_table(out, at, c->ndeleted, c->ninserted);
        n++;
    }
    *ret_ntables = n;
}

/* ---- commit ---- */

void txn_commit(Engine *e)
{
    ASSERT(e->open);
    if (UNLIKELY(!e->changes_known && e->nundo))
        find_changes(e);
    for (uint64_t i = 0; i < e->ncancelled; i++) { /* the version that PostgreSQL knows lives on */
        Cancelled *c = &e->cancelled[i];
        exchange_uniques(c->table, c->new_, c->old);
        c->old->death = STAMP_ALIVE;
        c->new_->death = 0; /* no undo entry ends it: freed below where it was born */
        c->table->dead--;
    }
    if (UNLIKELY(e->preparing != NULL))
        prepare_follow(e->preparing);
    for (uint64_t i = 0; i < e->nundo; i++) {
        Undo u = e->undo[i];
        Table *t = u.table;
        if (u.new_) {
            if (u.new_->death == 0) {
                table_unlink_btrees(t, u.new_);
                page_give_slot(t, u.new_);
            } else if (u.new_->death == STAMP_ALIVE) {
                u.new_->birth = 0;
                if (UNLIKELY(t->shape->def->is_event)) {
                    unlink_uniques(t, u.new_);
                    table_unlink_btrees(t, u.new_);
                    page_give_slot(t, u.new_);
                    t->count--;
                }
            }
        }
        if (u.old && u.old->death != STAMP_ALIVE) {
            table_unlink_btrees(t, u.old);
            page_give_slot(t, u.old);
            t->dead--;
        }
    }
    for (uint32_t i = 0; i < e->nchanges; i++) {
        Table *t = e->changes[i].table;
        if (t->count == 0) {
            ASSERT(t->dead == 0);
            page_reset(t);
        }
    }
    sequences_end(e, true);
    forget(e);
}
