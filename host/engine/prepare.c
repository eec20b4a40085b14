/* prepare.c - the next schema beside the old one: nothing that the running version sees is touched
 * before engine_swap, and engine_swap only assigns pointers and frees. */
#include "host/engine/engine_int.h"

typedef struct NextTable {
    Table *table; /* new or converted; NULL: `kept` is carried over */
    Table *kept;
    TableShape *shape;  /* for `kept` */
    HashIndex *uniques; /* for `kept`: built here, or (entries NULL, from >= 0) moved from the old ones */
    int32_t *uniques_from;
    BTree *btrees;
    int32_t *btrees_from;
    Sequence *sequences; /* for both */
} NextTable;

struct EngineNext {
    Engine *engine;
    SchemaImage image;     /* one reference, our ids */
    uint64_t changes_made; /* of the engine at preparation */
    NextTable *tables;     /* image.def->ntables */
};

/* ---- sequences ---- */

static bool same_sequence(const SequenceDef *a, const SequenceDef *b)
{
    return a->start == b->start && a->min == b->min && a->max == b->max && a->increment == b->increment;
}

/* The cursor of a kept sequence goes on; a new or changed one starts behind every value in its range. */
static void next_sequence(Sequence *ret, const SequenceDef *d, const TableDef *def, Table *old)
{
    if (!old)
        return;
    const TableDef *od = old->shape->def;
    int32_t oc = table_def_column(od, def->cols[d->col].name);
    if (oc < 0)
        return;
    for (uint16_t i = 0; i < od->nsequences; i++)
        if (od->sequences[i].col == oc) {
            *ret = old->sequences[i];
            if (same_sequence(&od->sequences[i], d))
                return;
            ret->left = 0;
        }
    RowHeader *h;
    for (RowWalk w = {0}; (h = walk_next(old, &w));) {
        i128 v = integer_load(od->cols[oc].type, (const uint8_t *)row_of(h) + od->cols[oc].offset);
        if (v < d->min || v > d->max)
            continue;
        if (!ret->started || (d->increment > 0 ? v > ret->allocated : v < ret->allocated))
            ret->allocated = v;
        ret->started = ret->dirty = true;
    }
}

/* ---- carrying over ---- */

static bool same_layout(const TableDef *a, const TableDef *b)
{
    if (a->ncols != b->ncols || a->row->size != b->row->size || a->is_event != b->is_event || !type_equal(a->row, b->row))
        return false;
    for (uint16_t i = 0; i < a->ncols; i++)
        if (a->cols[i].offset != b->cols[i].offset)
            return false;
    return true;
}

static Status build_unique(HashIndex *ix, Table *t, const TableShape *shape, Error *err)
{
    TRY(engine_check_room(t->engine, t->count ? hash_growth(ix, t->count) : 0, err));
    if (t->count)
        hash_reserve(t->engine, ix, t->count);
    RowHeader *h;
    for (RowWalk w = {0}; (h = walk_next(t, &w));) {
        uint64_t key = hash_key_of_row(ix, row_of(h));
        if (hash_find_row(ix, key, row_of(h))) {
            OWN(buf) Buf text = buf_with_max(800);
            key_print_columns(&text, shape, ix->key);
            buf_put_text(&text, ": value ");
            key_print_values(&text, ix->key, row_of(h));
            return FAIL(err, S_CONFLICT, "table %.*s, %.*s is there more than once, so the column cannot become unique",
                        STR_FMT(shape->def->name), (int)text.len, (const char *)text.ptr);
        }
        hash_add(ix, key, h);
    }
    return S_OK;
}

static Status build_btree(BTree *b, Table *t, Error *err)
{
    TRY(engine_check_room(t->engine, t->count * 2 * sizeof(TreeEntry), err));
    RowHeader *h;
    for (RowWalk w = {0}; (h = walk_next(t, &w));)
        btree_insert(t->engine, b, h);
    return S_OK;
}

static Status carry_over(NextTable *n, Table *old, const TableDef *def, Error *err)
{
    n->kept = old;
    n->shape = shape_new(def);
    TableShape *s = n->shape, *os = old->shape;
    n->uniques = x_alloc(s->nuniques * sizeof *n->uniques);
    n->uniques_from = x_alloc(s->nuniques * sizeof *n->uniques_from);
    n->btrees = x_alloc(MAX(s->nbtrees, 1) * sizeof *n->btrees);
    n->btrees_from = x_alloc(MAX(s->nbtrees, 1) * sizeof *n->btrees_from);
    for (uint32_t i = 0; i < s->nuniques; i++) {
        n->uniques[i].key = &s->uniques[i];
        n->uniques_from[i] = -1;
        for (uint32_t j = 0; j < os->nuniques && n->uniques_from[i] < 0; j++)
            if (key_shape_same(&s->uniques[i], &os->uniques[j]))
                n->uniques_from[i] = (int32_t)j;
    }
    for (uint32_t i = 0; i < s->nbtrees; i++) {
        n->btrees[i].key = &s->btrees[i];
        n->btrees_from[i] = -1;
        for (uint32_t j = 0; j < os->nbtrees && n->btrees_from[i] < 0; j++) {
            bool taken = false; /* two equal indexes are two trees */
            for (uint32_t x = 0; x < i; x++)
                taken |= n->btrees_from[x] == (int32_t)j;
            if (!taken && key_shape_same(&s->btrees[i], &os->btrees[j]))
                n->btrees_from[i] = (int32_t)j;
        }
    }
    if (s->variable_keys) { /* a new index may meet values that PostgreSQL cannot index */
        RowHeader *h;
        for (RowWalk w = {0}; (h = walk_next(old, &w));)
            TRY(shape_check_keys(s, row_of(h), err));
    }
    for (uint32_t i = 0; i < s->nuniques; i++)
        if (n->uniques_from[i] < 0)
            TRY(build_unique(&n->uniques[i], old, s, err));
    for (uint32_t i = 0; i < s->nbtrees; i++)
        if (n->btrees_from[i] < 0)
            TRY(build_btree(&n->btrees[i], old, err));
    return S_OK;
}

/* ---- converting ---- */

typedef struct ColumnMove {
    int32_t from;     /* column of the old table; -1: the default */
    bool recode;      /* the type differs: through BSATN (variants were appended) */
    const void *fill; /* the default, decoded */
} ColumnMove;

static Status plan_moves(ColumnMove *moves, const TableDef *from, const TableDef *to, Arena *a, Error *err)
{
    for (uint16_t i = 0; i < to->ncols; i++) {
        const ColumnDef *c = &to->cols[i];
        moves[i].from = table_def_column(from, c->name);
        if (moves[i].from >= 0) {
            moves[i].recode = !type_equal(from->cols[moves[i].from].type, c->type);
            continue;
        }
        if (!c->has_default)
            return FAIL(err, S_INVALID, "table %.*s, new column %.*s: has no default for the rows that exist", STR_FMT(to->name),
                        STR_FMT(c->name));
        Reader r = reader_of(c->default_bsatn);
        void *fill = arena_alloc(a, MAX(c->type->size, 1));
        if (value_decode(&r, c->type, fill, a, err) != S_OK)
            return CONTEXT(err, "table %.*s, default of column %.*s", STR_FMT(to->name), STR_FMT(c->name));
        moves[i].fill = fill;
    }
    return S_OK;
}

static Status convert_rows(Table *to, const Table *from, Error *err)
{
    const TableDef *td = to->shape->def, *fd = from->shape->def;
    OWN(arena) Arena moves_arena = {0};
    OWN(arena) Arena row_arena = {0};
    OWN(buf) Buf bsatn = {0};
    ColumnMove *moves = ARENA_ARRAY(&moves_arena, ColumnMove, MAX(td->ncols, 1));
    if (from->count)
        TRY(plan_moves(moves, fd, td, &moves_arena, err));
    uint8_t *row = arena_alloc(&moves_arena, MAX(to->shape->row_bytes, 1));
    table_load_expect(to, from->count);
    RowHeader *h;
    for (RowWalk w = {0}; (h = walk_next(from, &w));) {
        const uint8_t *old = row_of(h);
        memset(row, 0, to->shape->row_bytes);
        for (uint16_t i = 0; i < td->ncols; i++) {
            const ColumnDef *c = &td->cols[i];
            if (moves[i].from < 0) {
                memcpy(row + c->offset, moves[i].fill, c->type->size);
                continue;
            }
            const ColumnDef *oc = &fd->cols[moves[i].from];
            if (!moves[i].recode) {
                memcpy(row + c->offset, old + oc->offset, c->type->size); /* text is copied by table_place */
                continue;
            }
            buf_reset(&bsatn);
            value_encode(&bsatn, oc->type, old + oc->offset);
            Reader r = reader_of(buf_bytes(&bsatn));
            if (value_decode(&r, c->type, row + c->offset, &row_arena, err) != S_OK)
                return CONTEXT(err, "table %.*s, column %.*s: a row does not fit the new type", STR_FMT(td->name), STR_FMT(c->name));
            if (reader_left(&r))
                return FAIL(err, S_INVALID, "table %.*s, column %.*s: a row does not fit the new type", STR_FMT(td->name),
                            STR_FMT(c->name));
        }
        if (to->shape->variable_keys)
            TRY(shape_check_keys(to->shape, row, err));
        TRY(table_place(to, h->number, row, err));
        arena_reset(&row_arena);
    }
    to->next_number = MAX(to->next_number, from->next_number);
    return S_OK;
}

/* ---- prepare, swap, discard ---- */

static SchemaImage image_copy(const SchemaImage *from)
{
    uint32_t n = from->def->ntables;
    uint32_t *ids = x_alloc(MAX(n, 1) * sizeof *ids);
    if (n)
        memcpy(ids, from->ids, n * sizeof *ids);
    return (SchemaImage){module_def_ref(from->def), from->version, ids};
}

static void image_done(SchemaImage *image)
{
    module_def_unref(image->def);
    free((void *)(uintptr_t)image->ids);
    *image = (SchemaImage){0};
}

static Status prepare_table(NextTable *n, Engine *e, const TableDef *def, uint32_t id, Error *err)
{
    Table *old = engine_table_by_id(e, id);
    if (old && same_layout(old->shape->def, def)) {
        TRY(carry_over(n, old, def, err));
    } else {
        n->table = table_new(e, shape_new(def), id);
        if (old)
            TRY(convert_rows(n->table, old, err));
    }
    n->sequences = x_alloc(MAX(def->nsequences, 1) * sizeof *n->sequences);
    for (uint16_t i = 0; i < def->nsequences; i++)
        next_sequence(&n->sequences[i], &def->sequences[i], def, old);
    return S_OK;
}

Status engine_prepare(EngineNext **ret, Engine *e, const SchemaImage *next, Error *err)
{
    ASSERT(!e->open);
    EngineNext *n = NEW(EngineNext);
    n->engine = e;
    n->image = image_copy(next);
    n->tables = x_alloc(MAX(next->def->ntables, 1) * sizeof *n->tables);
    Status s = S_OK;
    uint64_t made = e->changes_made; /* table_place counts into it, but nothing that exists changed */
    for (uint32_t i = 0; i < next->def->ntables && s == S_OK; i++)
        s = prepare_table(&n->tables[i], e, &n->image.def->tables[i], n->image.ids[i], err);
    e->changes_made = made;
    n->changes_made = made;
    if (s != S_OK) {
        engine_discard(n);
        return s;
    }
    *ret = n;
    return S_OK;
}

bool engine_next_is_current(const EngineNext *n) { return n->changes_made == n->engine->changes_made; }

void engine_next_sequences(const EngineNext *n, Buf *out, uint16_t *ret_nsequences)
{
    uint16_t count = 0;
    for (uint32_t i = 0; i < n->image.def->ntables; i++) {
        const TableDef *d = &n->image.def->tables[i];
        for (uint16_t q = 0; q < d->nsequences; q++)
            if (n->tables[i].sequences[q].started && count < UINT16_MAX) {
                commit_put_sequence(out, &(CommitSequence){n->image.ids[i], d->sequences[q].col, n->tables[i].sequences[q].allocated});
                count++;
            }
    }
    *ret_nsequences = count;
}

void engine_discard(EngineNext *n)
{
    if (!n)
        return;
    for (uint32_t i = 0; i < n->image.def->ntables; i++) {
        NextTable *x = &n->tables[i];
        table_free(x->table);
        if (x->kept) {
            for (uint32_t u = 0; u < x->shape->nuniques; u++)
                hash_done(n->engine, &x->uniques[u]);
            for (uint32_t b = 0; b < x->shape->nbtrees; b++)
                btree_done(n->engine, &x->btrees[b]);
            shape_free(x->shape);
        }
        free(x->uniques);
        free(x->uniques_from);
        free(x->btrees);
        free(x->btrees_from);
        free(x->sequences);
    }
    free(n->tables);
    image_done(&n->image);
    free(n);
}

/* Give the kept table its new shape and index lists. */
static void adopt(NextTable *x)
{
    Table *t = x->kept;
    for (uint32_t i = 0; i < x->shape->nuniques; i++)
        if (x->uniques_from[i] >= 0) {
            HashIndex *from = &t->uniques[x->uniques_from[i]];
            x->uniques[i] = *from;
            *from = (HashIndex){0};
            x->uniques[i].key = &x->shape->uniques[i];
        }
    for (uint32_t i = 0; i < x->shape->nbtrees; i++)
        if (x->btrees_from[i] >= 0) {
            BTree *from = &t->btrees[x->btrees_from[i]];
            x->btrees[i] = *from;
            *from = (BTree){0};
            x->btrees[i].key = &x->shape->btrees[i];
        }
    for (uint32_t i = 0; i < t->shape->nuniques; i++)
        hash_done(t->engine, &t->uniques[i]);
    for (uint32_t i = 0; i < t->shape->nbtrees; i++)
        btree_done(t->engine, &t->btrees[i]);
    free(t->uniques);
    free(t->btrees);
    t->uniques = TAKE(x->uniques);
    t->btrees = TAKE(x->btrees);
    shape_free(t->shape);
    t->shape = TAKE(x->shape);
    hash_done(t->engine, &t->numbers); /* replay makes it again when it needs it */
    t->has_numbers = false;
}

/* The list by id, without allocating: `by_id` has room for n. Insertion sort: definitions are sorted by name
 * and ids mostly ascend with time. */
static void index_by_id(Engine *e)
{
    for (uint32_t i = 0; i < e->ntables; i++) {
        uint32_t at = i;
        for (; at > 0 && e->by_id[at - 1]->id > e->tables[i]->id; at--)
            e->by_id[at] = e->by_id[at - 1];
        e->by_id[at] = e->tables[i];
    }
}

void engine_swap(Engine *e, EngineNext *n)
{
    ASSERT(!e->open && n->engine == e && engine_next_is_current(n));
    uint32_t ntables = n->image.def->ntables;
    Table **tables = x_alloc(MAX(ntables, 1) * sizeof *tables), **by_id = x_alloc(MAX(ntables, 1) * sizeof *by_id);
    for (uint32_t i = 0; i < ntables; i++) {
        NextTable *x = &n->tables[i];
        if (x->kept)
            adopt(x);
        Table *t = x->kept ? x->kept : x->table;
        free(t->sequences);
        t->sequences = TAKE(x->sequences);
        t->touched = true; /* = goes on */
        tables[i] = t;
        free(x->uniques_from);
        free(x->btrees_from);
    }
    for (uint32_t i = 0; i < e->ntables; i++)
        if (!e->tables[i]->touched)
            table_free(e->tables[i]);
    for (uint32_t i = 0; i < ntables; i++)
        tables[i]->touched = false;
    free(e->tables);
    free(e->by_id);
    e->tables = tables;
    e->by_id = by_id;
    e->ntables = ntables;
    index_by_id(e);
    image_done(&e->schema);
    e->schema = n->image;
    e->changes_made++;
    free(n->tables);
    free(n);
}

void engine_set_schema(Engine *e, const SchemaImage *image)
{
    ASSERT(!e->open);
    for (uint32_t i = 0; i < e->ntables; i++)
        table_free(e->tables[i]);
    free(e->tables);
    free(e->by_id);
    SchemaImage copy = image_copy(image);
    image_done(&e->schema);
    e->schema = copy;
    e->ntables = copy.def->ntables;
    e->tables = x_alloc(MAX(e->ntables, 1) * sizeof *e->tables);
    e->by_id = x_alloc(MAX(e->ntables, 1) * sizeof *e->by_id);
    for (uint32_t i = 0; i < e->ntables; i++)
        e->tables[i] = table_new(e, shape_new(&copy.def->tables[i]), copy.ids[i]);
    index_by_id(e);
    e->changes_made++;
}

void engine_free(Engine *e)
{
    if (!e)
        return;
    if (e->open)
        txn_rollback(e);
    for (uint32_t i = 0; i < e->ntables; i++)
        table_free(e->tables[i]);
    free(e->tables);
    free(e->by_id);
    image_done(&e->schema);
    arena_done(&e->scratch);
    txn_done(e);
    ASSERT(e->bytes == 0);
    free(e);
}
