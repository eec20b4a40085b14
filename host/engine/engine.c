/* engine.c - life cycle and lookups, replay of commit records, and the walk that checks every invariant. */
#include "host/engine/engine_int.h"

Engine *engine_new(const EngineLimits *limits)
{
    Engine *e = NEW(Engine);
    if (limits)
        e->limits = *limits;
    return e;
}

uint64_t engine_bytes_used(const Engine *e) { return e->bytes; }
const SchemaImage *engine_schema(const Engine *e) { return &e->schema; }

Table *engine_table(Engine *e, uint32_t position)
{
    ASSERT(position < e->ntables);
    return e->tables[position];
}

Table *engine_table_by_id(Engine *e, uint32_t id)
{
    uint32_t lo = 0, hi = e->ntables;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (e->by_id[mid]->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < e->ntables && e->by_id[lo]->id == id ? e->by_id[lo] : NULL;
}

Table *engine_table_by_name(Engine *e, Str name)
{
    const TableDef *d = e->schema.def ? module_def_table(e->schema.def, name) : NULL;
    return d ? e->tables[d - e->schema.def->tables] : NULL;
}

/* ---- replay ---- */

void engine_load_sequence(Engine *e, const CommitSequence *c)
{
    Table *t = engine_table_by_id(e, c->table_id);
    if (!t)
        return;
    const TableDef *d = t->shape->def;
    for (uint16_t i = 0; i < d->nsequences; i++)
        if (d->sequences[i].col == c->column)
            t->sequences[i] = (Sequence){.started = true, .allocated = c->allocated};
}

/* A keyless row is named by its number: index the numbers for as long as replay goes on. */
static void index_numbers(Table *t)
{
    if (t->has_numbers)
        return;
    t->has_numbers = true;
    hash_reserve(t->engine, &t->numbers, t->count + 1);
    RowHeader *h;
    for (RowWalk w = {0}; (h = walk_next(t, &w));)
        hash_add(&t->numbers, h->number, h);
}

static Status find_for_delete(Table *t, Bytes key, uint64_t number, RowHeader **ret, Error *err)
{
    const TableDef *d = t->shape->def;
    RowHeader *h;
    if (d->pk < 0) {
        index_numbers(t);
        h = hash_find_exact(&t->numbers, number);
        if (!h)
            return FAIL(err, S_INVALID, "table %.*s: the record deletes row number %llu, which is not there", STR_FMT(d->name),
                        (unsigned long long)number);
    } else {
        const ColumnDef *pk = &d->cols[d->pk];
        Reader r = reader_of(key);
        void *v = arena_alloc(&t->engine->scratch, pk->type->size);
        Status s = value_decode(&r, pk->type, v, &t->engine->scratch, err);
        const void *values[] = {v};
        h = s == S_OK ? hash_find_values(&t->uniques[t->shape->find_by_col[d->pk]], values) : NULL;
        arena_reset(&t->engine->scratch);
        if (s != S_OK)
            return CONTEXT(err, "table %.*s, a deleted key", STR_FMT(d->name));
        if (!h)
            return FAIL(err, S_INVALID, "table %.*s: the record deletes a key that is not there", STR_FMT(d->name));
    }
    *ret = h;
    return S_OK;
}

static Status apply_table(Engine *e, const CommitTable *c, Error *err)
{
    Table *t = engine_table_by_id(e, c->table_id);
    if (!t)
        return FAIL(err, S_INVALID, "commit record: no table has id %u", c->table_id);
    const TableDef *d = t->shape->def;
    if (d->is_event)
        return FAIL(err, S_INVALID, "commit record: table %.*s is an event table", STR_FMT(d->name));
    Reader r = reader_of(c->payload);
    for (uint32_t i = 0; i < c->ndeletes; i++) {
        Bytes key;
        uint64_t number = 0;
        RowHeader *h = NULL;
        TRY(commit_next_key(&r, d, &key, &number, err));
        TRY(find_for_delete(t, key, number, &h, err));
        table_remove_committed(t, h);
    }
    for (uint32_t i = 0; i < c->ninserts; i++)
        TRY(table_load_row(t, &r, err));
    if (reader_left(&r))
        return FAIL(err, S_INVALID, "commit record: %zu bytes too many for table %.*s", reader_left(&r), STR_FMT(d->name));
    return S_OK;
}

Status engine_apply_record(Engine *e, Bytes record, Error *err)
{
    ASSERT(!e->open);
    Reader r = reader_of(record);
    CommitHeader head;
    TRY(commit_read_header(&r, &head, err));
    for (uint32_t i = 0; i < head.nclients; i++) {
        CommitClient client;
        TRY(commit_read_client(&r, &client, err));
    }
    for (uint32_t i = 0; i < head.nsequences; i++) {
        CommitSequence s;
        TRY(commit_read_sequence(&r, &s, err));
        engine_load_sequence(e, &s);
    }
    for (uint32_t i = 0; i < head.ntables; i++) {
        CommitTable c;
        TRY(commit_read_table(&r, &c, err));
        if (apply_table(e, &c, err) != S_OK)
            return CONTEXT(err, "commit record at offset %llu", (unsigned long long)head.offset);
    }
    return S_OK;
}

/* ---- checking ---- */

static Status check_table(Engine *e, Table *t, uint64_t *bytes, Error *err)
{
    const TableShape *s = t->shape;
    uint64_t alive = 0, dead = 0, used = 0, slots = 0;
    *bytes += t->npages * s->page_bytes + t->pages_cap * sizeof *t->pages;
    for (uint32_t p = 0; p < t->npages; p++)
        for (uint32_t n = page_used(t, p), i = 0; i < n; i++) {
            RowHeader *h = page_slot(t, p, i);
            slots++;
            if (h->birth == STAMP_FREE)
                continue;
            used++;
            if (h->heap)
                *bytes += h->heap->bytes;
            if (h->heap && !s->def->row->has_pointers)
                return FAIL(err, S_INTERNAL, "row %llu has a heap block", (unsigned long long)h->number);
            if (h->birth > e->stamp || (h->death != STAMP_ALIVE && (h->death > e->stamp || h->death <= h->birth)))
                return FAIL(err, S_INTERNAL, "row %llu: stamps %u to %u at %u", (unsigned long long)h->number, h->birth, h->death,
                            e->stamp);
            if (h->number == 0 || h->number >= t->next_number)
                return FAIL(err, S_INTERNAL, "row number %llu, next is %llu", (unsigned long long)h->number,
                            (unsigned long long)t->next_number);
            bool lives = h->death == STAMP_ALIVE;
            alive += lives;
            dead += !lives;
            Error inner;
            if (value_check(s->def->row, row_of(h), &inner) != S_OK)
                return FAIL(err, S_INTERNAL, "row %llu: %s", (unsigned long long)h->number, inner.text);
            for (uint32_t u = 0; u < s->nuniques; u++) {
                RowHeader *found = hash_find_row(&t->uniques[u], hash_key_of_row(&t->uniques[u], row_of(h)), row_of(h));
                if (lives ? found != h : found == h)
                    return FAIL(err, S_INTERNAL, "row %llu: unique index %u finds another row or none", (unsigned long long)h->number, u);
            }
            if (t->has_numbers && hash_find_exact(&t->numbers, h->number) != h)
                return FAIL(err, S_INTERNAL, "row %llu: not found by its number", (unsigned long long)h->number);
            for (uint32_t b = 0; b < s->nbtrees; b++)
                if (!btree_contains(&t->btrees[b], h))
                    return FAIL(err, S_INTERNAL, "row %llu: not in btree %u", (unsigned long long)h->number, b);
        }
    if (alive != t->count || dead != t->dead)
        return FAIL(err, S_INTERNAL, "%llu rows alive and %llu dead, counted %llu and %llu", (unsigned long long)alive,
                    (unsigned long long)dead, (unsigned long long)t->count, (unsigned long long)t->dead);
    uint64_t nfree = 0;
    for (RowHeader *f = t->free; f && nfree <= slots; f = f->next_free) {
        if (f->birth != STAMP_FREE)
            return FAIL(err, S_INTERNAL, "a used slot is in the free list");
        nfree++;
    }
    if (nfree + used != slots)
        return FAIL(err, S_INTERNAL, "%llu slots free and %llu used of %llu", (unsigned long long)nfree, (unsigned long long)used,
                    (unsigned long long)slots);
    for (uint32_t u = 0; u < s->nuniques; u++) {
        if (t->uniques[u].count != alive || t->uniques[u].key != &s->uniques[u])
            return FAIL(err, S_INTERNAL, "unique index %u holds %llu of %llu rows", u, (unsigned long long)t->uniques[u].count,
                        (unsigned long long)alive);
        *bytes += t->uniques[u].entries ? (t->uniques[u].mask + 1) * sizeof(HashEntry) : 0;
    }
    if (t->has_numbers && t->numbers.count != alive)
        return FAIL(err, S_INTERNAL, "the number index holds %llu of %llu rows", (unsigned long long)t->numbers.count,
                    (unsigned long long)alive);
    *bytes += t->numbers.entries ? (t->numbers.mask + 1) * sizeof(HashEntry) : 0;
    for (uint32_t b = 0; b < s->nbtrees; b++) {
        TRY(btree_check(&t->btrees[b], err));
        if (t->btrees[b].count != used || t->btrees[b].key != &s->btrees[b])
            return FAIL(err, S_INTERNAL, "btree %u holds %llu of %llu versions", b, (unsigned long long)t->btrees[b].count,
                        (unsigned long long)used);
        *bytes += btree_bytes(&t->btrees[b]);
    }
    return S_OK;
}

Status engine_check(Engine *e, Error *err)
{
    uint64_t bytes = 0;
    while (engine_reap(e, UINT32_MAX))
        ;
    if (!e->open && (e->nundo || e->stamp || e->txn_bytes))
        return FAIL(err, S_INTERNAL, "no transaction is open, but %llu undo entries are there", (unsigned long long)e->nundo);
    for (uint32_t i = 0; i < e->ntables; i++) {
        Table *t = e->tables[i];
        if (t->id != e->schema.ids[i] || t->shape->def != &e->schema.def->tables[i] || engine_table_by_id(e, t->id) != t)
            return FAIL(err, S_INTERNAL, "table %u is not where the schema says", t->id);
        if (check_table(e, t, &bytes, err) != S_OK)
            return CONTEXT(err, "table %.*s", STR_FMT(t->shape->def->name));
        if (!e->open && t->dead)
            return FAIL(err, S_INTERNAL, "table %.*s: dead rows outside a transaction", STR_FMT(t->shape->def->name));
    }
    if (bytes != e->bytes && !e->preparing)
        return FAIL(err, S_INTERNAL, "%llu bytes in use, counted %llu", (unsigned long long)bytes, (unsigned long long)e->bytes);
    return S_OK;
}
