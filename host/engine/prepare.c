/* prepare.c - the next schema beside the old one, while the old one works: begin, step, follow, swap, discard, reap.
 *
 * A table of the next schema is one of three: new (empty); a conversion (a table of its own, filled row by row from the old one);
 * or the old one carried over (its rows stay where they are, and only indexes that it did not have are built). Walking the old rows goes
 * in slices. Meanwhile transactions change them: at each commit `follow` does to the next table what the transaction did
 * to the old one, found by row number in a conversion and by row pointer in a new index. The walk may come to a row that
 * was followed already, so it looks before it adds.
 *
 * Nothing that the running version sees is touched before engine_swap, and engine_swap only assigns pointers; what is left over goes into
 * graves, which engine_reap empties in slices. */
#include "host/engine/engine_int.h"

typedef struct ColumnMove {
    int32_t from; /* column of the old table; -1: the default */
    bool recode;  /* the type differs: through BSATN (variants were appended) */
    Status (*convert)(void *user, const void *from, void *to, Arena *arena, Error *err);
    void *user;
    const void *fill; /* the default, decoded */
} ColumnMove;

typedef struct NextTable {
    Table *table; /* new or converted; NULL: `kept` is carried over */
    Table *kept;
    Table *origin; /* the old table that it goes on from; NULL: new */
    Table *from;   /* the same where its rows are walked; NULL: nothing to walk */
    RowWalk walk;
    bool followed; /* rows have come in by following: the walk may meet them */
    /* of a conversion */
    Arena arena; /* moves, defaults, the row being made */
    ColumnMove *moves;
    uint8_t *row;
    bool checks; /* converted values must be looked at: PostgreSQL may not hold them */
    /* of a carried-over table */
    TableShape *shape;
    HashIndex *uniques;    /* built here, or (from >= 0) moved from the old ones */
    int32_t *uniques_from; /* position of the old one, -1: built */
    BTree *btrees;
    int32_t *btrees_from;
    /* of all */
    Sequence *sequences;
    bool *scans; /* per sequence: it begins behind the values that are there */
} NextTable;

struct EngineNext {
    Engine *engine;
    SchemaImage image; /* one reference, our ids */
    NextTable *tables; /* image.def->ntables */
    uint32_t at;       /* the table being walked; ntables: done */
    Engine *lent;
    bool sequences_used; /* by a migration: they stand where it left them */
    bool failed;
    Error err;
};

struct Grave {
    Grave *next;
    Table *table; /* or */
    HashIndex hash;
    BTree tree;
    ModuleDef *def; /* what the table's shape borrows */
    uint32_t page;
};

/* ---- graves ---- */

static Grave *dig(Engine *e)
{
    Grave *g = NEW(Grave);
    g->next = e->graves;
    e->graves = g;
    return g;
}

static void bury_table(Engine *e, Table *t, ModuleDef *def)
{
    if (!t)
        return;
    Grave *g = dig(e);
    g->table = t;
    g->def = module_def_ref(def);
}

static void bury_hash(Engine *e, HashIndex *ix)
{
    if (ix->entries)
        dig(e)->hash = *ix;
    *ix = (HashIndex){0};
}

static void bury_tree(Engine *e, BTree *t)
{
    if (t->root)
        dig(e)->tree = *t;
    *t = (BTree){0};
}

/* Pages and heap blocks a few at a time, then the rest of the table at once. */
static void reap_table(Engine *e, Grave *g, uint32_t *left)
{
    Table *t = g->table;
    for (; g->page < t->npages && *left; g->page++) {
        page_free_one(t, g->page);
        *left -= MIN(*left, t->shape->slots_per_page);
    }
    if (g->page < t->npages)
        return;
    t->npages = t->fresh_page = t->fresh_slot = 0;
    for (uint32_t i = 0; i < t->shape->nuniques; i++)
        bury_hash(e, &t->uniques[i]);
    for (uint32_t i = 0; i < t->shape->nbtrees; i++)
        bury_tree(e, &t->btrees[i]);
    bury_hash(e, &t->numbers);
    table_free(t);
    g->table = NULL;
}

bool engine_reap(Engine *e, uint32_t rows_max)
{
    for (uint32_t left = MAX(rows_max, 1u); e->graves && left;) {
        Grave **first = &e->graves;
        while ((*first)->next) /* the oldest: what a table leaves behind is dug in front of it */
            first = &(*first)->next;
        Grave *g = *first;
        if (g->table) {
            reap_table(e, g, &left);
            if (g->table)
                break;
            first = &e->graves;
            while (*first != g)
                first = &(*first)->next;
        } else { /* one array, or one tree: as much as a slice */
            left = 0;
            hash_done(e, &g->hash);
            btree_done(e, &g->tree);
        }
        *first = g->next;
        module_def_unref(g->def);
        free(g);
    }
    return e->graves != NULL;
}

/* ---- what may stay where it is ---- */

/* Are the native values of the old type, unchanged, values of the new one? The plan has compared names. */
static bool same_form(const Type *a, const Type *b)
{
    if (a->kind != b->kind || a->size != b->size || a->align != b->align || a->payload_offset != b->payload_offset)
        return false;
    switch (a->kind) {
    case TYPE_ARRAY:
    case TYPE_OPTION: return same_form(a->elem, b->elem);
    case TYPE_ENUM: return a->nfields <= b->nfields;
    case TYPE_SUM:
    case TYPE_RESULT:
    case TYPE_PRODUCT:
        if (a->kind == TYPE_SUM ? a->nfields > b->nfields : a->nfields != b->nfields)
            return false;
        for (uint32_t i = 0; i < a->nfields; i++)
            if (a->fields[i].offset != b->fields[i].offset || !same_form(a->fields[i].type, b->fields[i].type))
                return false;
        return true;
    default: return true;
    }
}

static int32_t source_of(const EngineTableSource *s, const TableDef *from, const TableDef *to, uint16_t col)
{
    return s->columns ? s->columns[col].from : table_def_column(from, to->cols[col].name);
}

static bool may_stay(const EngineTableSource *s, const TableDef *from, const TableDef *to)
{
    if (s->copy || from->ncols != to->ncols || from->row->size != to->row->size || from->row->align != to->row->align ||
        from->is_event != to->is_event)
        return false;
    for (uint16_t i = 0; i < to->ncols; i++)
        if (source_of(s, from, to, i) != i || (s->columns && s->columns[i].convert) || from->cols[i].offset != to->cols[i].offset ||
            !same_form(from->cols[i].type, to->cols[i].type))
            return false;
    return true;
}

/* ---- failing ---- */

static Status failed(EngineNext *n, Status code, const Error *err)
{
    n->failed = true;
    n->err = *err;
    n->err.code = code;
    return code;
}

Status engine_next_status(const EngineNext *n, Error *err)
{
    if (!n->failed)
        return S_OK;
    if (err)
        *err = n->err;
    return n->err.code;
}

enum { GROUPS_TOLD = 10 };

/* Every value that stands more than once under `k`, which reads rows of `t`: the first few with their number of rows. */
static Status duplicates(Table *t, const TableDef *def, const KeyShape *k, const TableShape *names, const KeyShape *named, Error *err)
{
    Engine *e = t->engine;
    HashIndex seen = {.key = k}, twice = {.key = k};
    const RowHeader *groups[GROUPS_TOLD];
    uint64_t rows[GROUPS_TOLD];
    uint32_t ngroups = 0;
    RowHeader *h;
    hash_reserve(e, &seen, t->count + 1);
    for (RowWalk w = {0}; (h = walk_next(t, &w));) {
        uint64_t key = hash_key_of_row(&seen, row_of(h));
        RowHeader *first = hash_find_row(&seen, key, row_of(h));
        if (!first) {
            hash_add(&seen, key, h);
            continue;
        }
        if (!hash_find_row(&twice, key, row_of(h))) {
            hash_reserve(e, &twice, 1);
            hash_add(&twice, key, first);
            if (ngroups < GROUPS_TOLD) {
                groups[ngroups] = first;
                rows[ngroups++] = 1;
            }
        }
        for (uint32_t i = 0; i < ngroups; i++)
            rows[i] += groups[i] == first;
    }
    OWN(buf) Buf text = buf_with_max(900);
    key_print_columns(&text, names, named);
    buf_printf(&text, " cannot become unique: %llu value%s there more than once: ", (unsigned long long)twice.count,
               twice.count == 1 ? " is" : "s are");
    for (uint32_t i = 0; i < ngroups; i++) {
        buf_put_text(&text, i ? ", " : "");
        key_print_values(&text, k, row_of(groups[i]));
        buf_printf(&text, " (%llu rows)", (unsigned long long)rows[i]);
    }
    if (twice.count > ngroups)
        buf_put_text(&text, ", ...");
    hash_done(e, &seen);
    hash_done(e, &twice);
    return FAIL(err, S_CONFLICT, "table %.*s, %.*s", STR_FMT(def->name), STR_FMT(buf_str(&text)));
}

/* ---- beginning: carried-over tables ---- */

static bool builds_indexes(const NextTable *x)
{
    for (uint32_t i = 0; i < x->shape->nuniques; i++)
        if (x->uniques_from[i] < 0)
            return true;
    for (uint32_t i = 0; i < x->shape->nbtrees; i++)
        if (x->btrees_from[i] < 0)
            return true;
    return false;
}

static uint64_t with_room(uint64_t rows) { return rows + rows / 4 + 16; } /* for those that come while we prepare */

static Status begin_kept(NextTable *x, Table *old, const TableDef *def, Error *err)
{
    x->kept = x->origin = old;
    x->shape = shape_new(def);
    TableShape *s = x->shape, *os = old->shape;
    x->uniques = x_alloc(s->nuniques * sizeof *x->uniques);
    x->uniques_from = x_alloc(s->nuniques * sizeof *x->uniques_from);
    x->btrees = x_alloc(MAX(s->nbtrees, 1) * sizeof *x->btrees);
    x->btrees_from = x_alloc(MAX(s->nbtrees, 1) * sizeof *x->btrees_from);
    for (uint32_t i = 0; i < s->nuniques; i++) {
        x->uniques[i].key = &s->uniques[i];
        x->uniques_from[i] = -1;
        for (uint32_t j = 0; j < os->nuniques && x->uniques_from[i] < 0; j++)
            if (key_shape_same(&s->uniques[i], &os->uniques[j]))
                x->uniques_from[i] = (int32_t)j;
    }
    for (uint32_t i = 0; i < s->nbtrees; i++) {
        x->btrees[i].key = &s->btrees[i];
        x->btrees_from[i] = -1;
        for (uint32_t j = 0; j < os->nbtrees && x->btrees_from[i] < 0; j++) {
            bool taken = false; /* two equal indexes are two trees */
            for (uint32_t k = 0; k < i; k++)
                taken |= x->btrees_from[k] == (int32_t)j;
            if (!taken && key_shape_same(&s->btrees[i], &os->btrees[j]))
                x->btrees_from[i] = (int32_t)j;
        }
    }
    if (!builds_indexes(x))
        return S_OK;
    x->from = old;
    uint64_t need = 0;
    for (uint32_t i = 0; i < s->nuniques; i++)
        need += x->uniques_from[i] < 0 ? hash_growth(&x->uniques[i], with_room(old->count)) : 0;
    for (uint32_t i = 0; i < s->nbtrees; i++)
        need += x->btrees_from[i] < 0 ? old->count * 2 * sizeof(TreeEntry) : 0;
    TRY(engine_check_room(old->engine, old->count ? need : 0, err));
    for (uint32_t i = 0; i < s->nuniques && old->count; i++)
        if (x->uniques_from[i] < 0)
            hash_reserve(old->engine, &x->uniques[i], with_room(old->count));
    return S_OK;
}

/* ---- beginning: conversions ---- */

static Status begin_moves(NextTable *x, const EngineTableSource *s, const TableDef *from, const TableDef *to, Error *err)
{
    x->moves = ARENA_ARRAY(&x->arena, ColumnMove, MAX(to->ncols, 1));
    x->row = arena_alloc(&x->arena, MAX(x->table->shape->row_bytes, 1));
    for (uint16_t i = 0; i < to->ncols; i++) {
        const ColumnDef *c = &to->cols[i];
        ColumnMove *m = &x->moves[i];
        m->from = source_of(s, from, to, i);
        if (m->from >= 0) {
            m->convert = s->columns ? s->columns[i].convert : NULL;
            m->user = s->columns ? s->columns[i].user : NULL;
            m->recode = !m->convert && !same_form(from->cols[m->from].type, c->type);
            x->checks |= m->convert != NULL;
            continue;
        }
        if (!c->has_default) {
            if (x->origin->count)
                return FAIL(err, S_INVALID, "table %.*s, new column %.*s: has no default for the rows that exist", STR_FMT(to->name),
                            STR_FMT(c->name));
            continue; /* one that comes while we prepare is refused then */
        }
        Reader r = reader_of(c->default_bsatn);
        void *fill = arena_alloc(&x->arena, MAX(c->type->size, 1));
        if (value_decode(&r, c->type, fill, &x->arena, err) != S_OK)
            return CONTEXT(err, "table %.*s, default of column %.*s", STR_FMT(to->name), STR_FMT(c->name));
        m->fill = fill;
    }
    return S_OK;
}

static Status begin_conversion(NextTable *x, Engine *e, const EngineTableSource *s, Table *old, const TableDef *def, uint32_t id,
                               Error *err)
{
    x->table = table_new(e, shape_new(def), id);
    if (!old)
        return S_OK;
    x->origin = old;
    TRY(begin_moves(x, s, old->shape->def, def, err));
    if (old->shape->def->is_event || def->is_event)
        return S_OK;
    x->from = old;
    uint64_t rows = old->count, need = rows * x->table->shape->stride;
    HashIndex numbers = {0};
    for (uint32_t i = 0; i < x->table->shape->nuniques; i++)
        need += hash_growth(&x->table->uniques[i], with_room(rows));
    need += hash_growth(&numbers, with_room(rows)) + rows * x->table->shape->nbtrees * 2 * sizeof(TreeEntry);
    TRY(engine_check_room(e, rows ? need : 0, err));
    table_load_expect(x->table, with_room(rows));
    x->table->has_numbers = true;
    hash_reserve(e, &x->table->numbers, with_room(rows));
    return S_OK;
}

/* ---- beginning: sequences ---- */

static bool same_sequence(const SequenceDef *a, const SequenceDef *b)
{
    return a->start == b->start && a->min == b->min && a->max == b->max && a->increment == b->increment;
}

/* The old sequence that one of the next schema goes on from, or changes; NULL: there is none. */
static const SequenceDef *old_sequence(const NextTable *x, const SequenceDef *d, Table **ret_old, uint16_t *ret_at)
{
    Table *old = x->origin;
    if (!old)
        return NULL;
    const TableDef *od = old->shape->def;
    int32_t col = x->kept ? d->col : x->moves[d->col].from;
    for (uint16_t i = 0; i < od->nsequences; i++)
        if (od->sequences[i].col == col) {
            *ret_old = old;
            *ret_at = i;
            return &od->sequences[i];
        }
    return NULL;
}

/* A kept sequence goes on, wherever it stands at the swap; a new or changed one begins behind every value in its range. */
static void begin_sequences(NextTable *x, const TableDef *def)
{
    x->sequences = x_alloc(MAX(def->nsequences, 1) * sizeof *x->sequences);
    x->scans = x_alloc(MAX(def->nsequences, 1) * sizeof *x->scans);
    for (uint16_t i = 0; i < def->nsequences; i++) {
        Table *old;
        uint16_t at;
        const SequenceDef *was = old_sequence(x, &def->sequences[i], &old, &at);
        x->scans[i] = !was || !same_sequence(was, &def->sequences[i]);
        if (x->scans[i] && x->kept)
            x->from = x->kept;
    }
}

static void scan_value(NextTable *x, const TableDef *def, const void *row)
{
    for (uint16_t i = 0; i < def->nsequences; i++) {
        const SequenceDef *d = &def->sequences[i];
        Sequence *s = &x->sequences[i];
        if (!x->scans[i])
            continue;
        i128 v = integer_load(def->cols[d->col].type, (const uint8_t *)row + def->cols[d->col].offset);
        if (v < d->min || v > d->max)
            continue;
        if (!s->started || (d->increment > 0 ? v > s->allocated : v < s->allocated))
            s->allocated = v;
        s->started = true;
    }
}

static Sequence sequence_now(const NextTable *x, const SequenceDef *d, uint16_t i)
{
    Table *old;
    uint16_t at;
    const SequenceDef *was = old_sequence(x, d, &old, &at);
    Sequence s = x->sequences[i];
    if (was && !x->scans[i])
        s = old->sequences[at];
    else if (was && old->sequences[at].started) { /* changed: behind what the old one has given out, too */
        i128 allocated = old->sequences[at].allocated;
        if (!s.started || (d->increment > 0 ? allocated > s.allocated : allocated < s.allocated))
            s.allocated = allocated;
        s.started = true;
    }
    i128 next;
    if (s.started && (!was || x->scans[i]) && !sequence_after(d, s.allocated, &next))
        s.started = false;       /* new, and the largest number is taken already: from the start, where there may be gaps */
    s.dirty = s.written = false; /* the catalog row of the publish tells of it */
    return s;
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

/* ---- begin ---- */

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

static Status begin_table(NextTable *x, Engine *e, const EngineTableSource *s, const TableDef *def, uint32_t id, Error *err)
{
    Table *old = s->old_id ? engine_table_by_id(e, s->old_id) : NULL;
    if (old && may_stay(s, old->shape->def, def))
        TRY(begin_kept(x, old, def, err));
    else
        TRY(begin_conversion(x, e, s, old, def, id, err));
    begin_sequences(x, def);
    return S_OK;
}

Status engine_prepare_begin(EngineNext **ret, Engine *e, const SchemaImage *next, const EngineTableSource *sources, Error *err)
{
    ASSERT(!e->open && !e->preparing);
    EngineNext *n = NEW(EngineNext);
    n->engine = e;
    n->image = image_copy(next);
    n->tables = x_alloc(MAX(next->def->ntables, 1) * sizeof *n->tables);
    e->preparing = n;
    Status s = S_OK;
    for (uint32_t i = 0; i < next->def->ntables && s == S_OK; i++) {
        EngineTableSource by_id = {.old_id = n->image.ids[i]};
        s = begin_table(&n->tables[i], e, sources ? &sources[i] : &by_id, &n->image.def->tables[i], n->image.ids[i], err);
    }
    if (s != S_OK) {
        engine_discard(n);
        return s;
    }
    *ret = n;
    return S_OK;
}

/* ---- one row ---- */

/* Which row is it? Its primary key tells, else all of it. */
static void put_row_name(Buf *out, const TableDef *def, const uint8_t *row)
{
    enum { ROW_TEXT_MAX = 200 };
    OWN(buf) Buf text = {0};
    if (def->pk >= 0) {
        const ColumnDef *key = &def->cols[def->pk];
        buf_printf(&text, "%.*s = ", STR_FMT(key->name));
        value_print(&text, key->type, row + key->offset);
    } else {
        value_print(&text, def->row, row);
    }
    buf_printf(out, "%.*s", (int)MIN(text.len, (size_t)ROW_TEXT_MAX), buf_cstr(&text));
}

/* The conversion of a column failed for one row: the author wants to hear of all of them, or of the first few. */
static Status conversion_failed(NextTable *x, uint16_t col, const uint8_t *old, Error *err)
{
    enum { TOLD = 10 };
    const TableDef *td = x->table->shape->def, *fd = x->from->shape->def;
    const ColumnMove *m = &x->moves[col];
    const ColumnDef *c = &td->cols[col], *oc = &fd->cols[m->from];
    OWN(buf) Buf name = {0}, list = buf_with_max(900);
    put_row_name(&name, fd, old);
    uint32_t n = 0;
    RowHeader *h;
    for (RowWalk w = {0}; n <= TOLD && (h = walk_next(x->from, &w));) {
        Error why = {0};
        if (m->convert(m->user, (const uint8_t *)row_of(h) + oc->offset, x->row + c->offset, &x->table->engine->scratch, &why) == S_OK)
            continue;
        if (n++ == TOLD) {
            buf_put_text(&list, "; ...");
            break;
        }
        buf_put_text(&list, n > 1 ? "; " : "");
        put_row_name(&list, fd, row_of(h));
        buf_printf(&list, ": %s", why.text);
    }
    if (n <= 1) /* or none: a function that does not answer the same twice */
        return CONTEXT(err, "table %.*s, column %.*s, row %.*s", STR_FMT(td->name), STR_FMT(c->name), STR_FMT(buf_str(&name)));
    return FAIL(err, S_INVALID, "table %.*s, column %.*s: %s%u rows cannot be converted: %.*s", STR_FMT(td->name), STR_FMT(c->name),
                n > TOLD ? "more than " : "", MIN(n, (uint32_t)TOLD), STR_FMT(buf_str(&list)));
}

static Status make_row(NextTable *x, const uint8_t *old, Error *err)
{
    const TableDef *td = x->table->shape->def, *fd = x->from->shape->def;
    Arena *scratch = &x->table->engine->scratch;
    memset(x->row, 0, x->table->shape->row_bytes);
    for (uint16_t i = 0; i < td->ncols; i++) {
        const ColumnDef *c = &td->cols[i];
        const ColumnMove *m = &x->moves[i];
        if (m->from < 0 && !m->fill)
            return FAIL(err, S_INVALID, "table %.*s, new column %.*s: has no default for the rows that exist", STR_FMT(td->name),
                        STR_FMT(c->name));
        if (m->from < 0) {
            memcpy(x->row + c->offset, m->fill, c->type->size);
            continue;
        }
        const ColumnDef *oc = &fd->cols[m->from];
        if (m->convert) {
            if (m->convert(m->user, old + oc->offset, x->row + c->offset, scratch, err) != S_OK)
                return conversion_failed(x, i, old, err);
            continue;
        }
        if (!m->recode) {
            memcpy(x->row + c->offset, old + oc->offset, c->type->size); /* text is copied by table_place */
            continue;
        }
        OWN(buf) Buf bsatn = {0};
        value_encode(&bsatn, oc->type, old + oc->offset);
        Reader r = reader_of(buf_bytes(&bsatn));
        if (value_decode(&r, c->type, x->row + c->offset, scratch, err) != S_OK)
            return CONTEXT(err, "table %.*s, column %.*s: a row does not fit the new type", STR_FMT(td->name), STR_FMT(c->name));
        if (reader_left(&r))
            return FAIL(err, S_INVALID, "table %.*s, column %.*s: a row does not fit the new type", STR_FMT(td->name), STR_FMT(c->name));
    }
    return S_OK;
}

/* Two rows have become equal under a unique key, or altogether. All of them are listed where the old rows tell. */
static Status list_conflict(NextTable *x, Status conflict_, Error *err)
{
    const TableShape *s = x->table->shape;
    const TableDef *fd = x->from->shape->def;
    for (uint32_t u = 0; u < s->nuniques; u++) {
        const KeyShape *k = &s->uniques[u];
        RowHeader *found = hash_find_row(&x->table->uniques[u], hash_key_of_row(&x->table->uniques[u], x->row), x->row);
        if (!found)
            continue;
        if (k->whole_row)
            return FAIL(err, S_CONFLICT,
                        "table %.*s: rows that differ only in what is dropped or converted would become one; give it a key first",
                        STR_FMT(s->def->name));
        OWN(arena) Arena a = {0};
        KeyColumn *cols = ARENA_ARRAY(&a, KeyColumn, k->ncols);
        for (uint16_t i = 0; i < k->ncols; i++) {
            const ColumnMove *m = &x->moves[k->cols[i].col];
            if (m->from < 0 || m->convert || m->recode)
                return conflict_;
            cols[i] = (KeyColumn){fd->cols[m->from].type, fd->cols[m->from].offset, (uint16_t)m->from};
        }
        KeyShape old_key = *k;
        old_key.cols = cols;
        return duplicates(x->from, s->def, &old_key, s, k, err);
    }
    return conflict_;
}

static Status convert_row(NextTable *x, const RowHeader *h, Error *err)
{
    const TableShape *s = x->table->shape;
    Status status = make_row(x, row_of(h), err);
    if (status == S_OK && x->checks && s->needs_storable)
        status = shape_check_storable(s, x->row, err);
    if (status == S_OK && s->variable_keys)
        status = shape_check_keys(s, x->row, err);
    if (status == S_OK) {
        status = table_place(x->table, h->number, x->row, err);
        if (status == S_CONFLICT)
            status = list_conflict(x, status, err);
    }
    arena_reset(&x->table->engine->scratch);
    return status;
}

static Status index_row(NextTable *x, RowHeader *h, bool look, Error *err)
{
    const TableShape *s = x->shape;
    Engine *e = x->kept->engine;
    if (s->variable_keys) /* a new index may meet values that PostgreSQL cannot index */
        TRY(shape_check_keys(s, row_of(h), err));
    for (uint32_t i = 0; i < s->nuniques; i++) {
        HashIndex *ix = &x->uniques[i];
        if (x->uniques_from[i] >= 0)
            continue;
        uint64_t key = hash_key_of_row(ix, row_of(h));
        RowHeader *found = hash_find_row(ix, key, row_of(h));
        if (found == h && look)
            continue;
        if (found)
            return duplicates(x->kept, s->def, ix->key, s, ix->key, err);
        TRY(engine_check_room(e, hash_growth(ix, 1), err));
        hash_reserve(e, ix, 1);
        hash_add(ix, key, h);
    }
    for (uint32_t i = 0; i < s->nbtrees; i++) {
        if (x->btrees_from[i] >= 0 || (look && btree_contains(&x->btrees[i], h)))
            continue;
        TRY(engine_check_room(e, sizeof(TreeNode), err));
        btree_insert(e, &x->btrees[i], h);
    }
    return S_OK;
}

/* ---- stepping ---- */

static Status step_table(EngineNext *n, NextTable *x, const TableDef *def, uint32_t *left, bool *ret_done, Error *err)
{
    RowHeader *h = NULL;
    while (*left && x->from && (h = walk_next(x->from, &x->walk))) {
        --*left;
        if (x->kept) {
            TRY(index_row(x, h, x->followed, err));
            scan_value(x, def, row_of(h));
        } else if (!x->followed || !hash_find_exact(&x->table->numbers, h->number)) {
            TRY(convert_row(x, h, err));
            scan_value(x, def, x->row);
        }
    }
    *ret_done = !x->from || (*left && !h);
    if (*ret_done && x->table && x->from)
        x->table->next_number = MAX(x->table->next_number, x->from->next_number);
    (void)n;
    return S_OK;
}

Status engine_prepare_step(EngineNext *n, uint32_t rows_max, bool *ret_done, Error *err)
{
    ASSERT(!n->engine->open && !n->lent);
    TRY(engine_next_status(n, err));
    uint32_t left = MAX(rows_max, 1u);
    while (n->at < n->image.def->ntables && left) {
        bool done;
        Error why = {0};
        Status s = step_table(n, &n->tables[n->at], &n->image.def->tables[n->at], &left, &done, &why);
        if (s != S_OK) {
            failed(n, s, &why);
            return engine_next_status(n, err);
        }
        n->at += done;
    }
    *ret_done = n->at == n->image.def->ntables;
    return S_OK;
}

Status engine_prepare(EngineNext **ret, Engine *e, const SchemaImage *next, Error *err)
{
    EngineNext *n;
    TRY(engine_prepare_begin(&n, e, next, NULL, err));
    for (bool done = false; !done;) {
        Status s = engine_prepare_step(n, UINT32_MAX, &done, err);
        if (s != S_OK) {
            engine_discard(n);
            return s;
        }
    }
    *ret = n;
    return S_OK;
}

/* ---- following ---- */

static void forget_converted(NextTable *x, const RowHeader *old)
{
    RowHeader *h = hash_find_exact(&x->table->numbers, old->number);
    if (h)
        table_remove_committed(x->table, h);
}

static void forget_indexed(NextTable *x, RowHeader *old)
{
    for (uint32_t i = 0; i < x->shape->nuniques; i++) {
        uint64_t key = x->uniques_from[i] < 0 ? hash_key_of_row(&x->uniques[i], row_of(old)) : 0;
        if (x->uniques_from[i] < 0 && hash_find_row(&x->uniques[i], key, row_of(old)) == old)
            hash_remove(&x->uniques[i], key, old);
    }
    for (uint32_t i = 0; i < x->shape->nbtrees; i++)
        if (x->btrees_from[i] < 0 && btree_contains(&x->btrees[i], old))
            btree_remove(x->kept->engine, &x->btrees[i], old);
}

static Status follow_change(NextTable *x, const TableDef *def, const TableChange *c, Error *err)
{
    x->followed = true;
    for (uint32_t i = 0; i < c->ndeleted; i++) {
        if (x->kept)
            forget_indexed(x, header_of(c->deleted[i]));
        else
            forget_converted(x, header_of(c->deleted[i]));
    }
    for (uint32_t i = 0; i < c->ninserted; i++) {
        RowHeader *h = header_of(c->inserted[i]);
        if (x->kept) {
            TRY(index_row(x, h, false, err));
            scan_value(x, def, row_of(h));
        } else {
            TRY(convert_row(x, h, err));
            scan_value(x, def, x->row);
        }
    }
    if (x->table)
        x->table->next_number = MAX(x->table->next_number, x->from->next_number);
    return S_OK;
}

/* In txn_commit: the changes are known, old versions still there. The transaction never hears of a failure. */
void prepare_follow(EngineNext *n)
{
    Engine *e = n->engine;
    ASSERT(!n->lent);
    bool open = e->open;
    e->open = false; /* placing a converted row is no part of the transaction: neither its limits nor its undo log count it */
    for (uint32_t i = 0; i < e->nchanges && !n->failed; i++)
        for (uint32_t t = 0; t < n->image.def->ntables && !n->failed; t++) {
            NextTable *x = &n->tables[t];
            if (x->from != e->changes[i].table || x->from->shape->def->is_event)
                continue;
            Error why = {0};
            Status s = follow_change(x, &n->image.def->tables[t], &e->changes[i], &why);
            if (s != S_OK)
                failed(n, s, &why);
        }
    e->open = open;
}

/* ---- reading ahead ---- */

/* A carried-over table is still the old one: what reads it by the next definition gets a table of its own, with the old rows and the next
 * indexes, some of which are the old ones. */
Table *engine_next_table(EngineNext *n, uint32_t position)
{
    ASSERT(!n->failed && n->at == n->image.def->ntables && position < n->at);
    NextTable *x = &n->tables[position];
    if (x->table)
        return x->table;
    Table *t = ARENA_NEW(&x->arena, Table);
    *t = *x->kept;
    t->shape = x->shape;
    t->uniques = ARENA_ARRAY(&x->arena, HashIndex, x->shape->nuniques);
    t->btrees = ARENA_ARRAY(&x->arena, BTree, MAX(x->shape->nbtrees, 1u));
    for (uint32_t i = 0; i < x->shape->nuniques; i++) {
        t->uniques[i] = x->uniques_from[i] >= 0 ? x->kept->uniques[x->uniques_from[i]] : x->uniques[i];
        t->uniques[i].key = &x->shape->uniques[i];
    }
    for (uint32_t i = 0; i < x->shape->nbtrees; i++) {
        t->btrees[i] = x->btrees_from[i] >= 0 ? x->kept->btrees[x->btrees_from[i]] : x->btrees[i];
        t->btrees[i].key = &x->shape->btrees[i];
    }
    return t;
}

/* ---- what storage takes from us ---- */

void engine_next_sequences(const EngineNext *n, Buf *out, uint16_t *ret_nsequences)
{
    uint16_t count = 0;
    for (uint32_t i = 0; i < n->image.def->ntables; i++) {
        const TableDef *d = &n->image.def->tables[i];
        for (uint16_t q = 0; q < d->nsequences; q++) {
            Sequence s = n->sequences_used ? n->tables[i].sequences[q] : sequence_now(&n->tables[i], &d->sequences[q], q);
            if (s.started && count < UINT16_MAX) {
                commit_put_sequence(out, &(CommitSequence){n->image.ids[i], d->sequences[q].col, s.allocated});
                count++;
            }
        }
    }
    *ret_nsequences = count;
}

bool engine_next_is_copy(const EngineNext *n, uint32_t position) { return n->tables[position].table != NULL; }

void engine_next_export(const EngineNext *n, uint32_t position, uint64_t *cursor, size_t bytes_max, Buf *out, uint32_t *ret_nrows)
{
    const NextTable *x = &n->tables[position];
    const Table *t = x->table ? x->table : x->kept;
    const TableDef *d = &n->image.def->tables[position];
    RowWalk w = {(uint32_t)(*cursor >> 32), (uint32_t)*cursor};
    size_t from = out->len;
    RowHeader *h = NULL;
    *ret_nrows = 0;
    while (out->len - from < bytes_max && (h = walk_next(t, &w))) {
        if (d->pk < 0)
            buf_put_u64(out, h->number);
        value_encode(out, d->row, row_of(h));
        ++*ret_nrows;
    }
    *cursor = h || out->len - from >= bytes_max ? (uint64_t)w.page << 32 | w.slot : UINT64_MAX;
}

/* ---- lending the next tables to a migration ---- */

Engine *engine_next_lend(EngineNext *n)
{
    Engine *e = n->engine, *lent = NEW(Engine);
    ASSERT(!e->open && !n->lent && !n->failed && n->at == n->image.def->ntables);
    uint32_t ntables = n->image.def->ntables;
    lent->limits.database_bytes_max = e->limits.database_bytes_max;
    lent->bytes = e->bytes;
    lent->schema = image_copy(&n->image);
    lent->ntables = ntables;
    lent->tables = x_alloc(MAX(ntables, 1) * sizeof *lent->tables);
    lent->by_id = x_alloc(MAX(ntables, 1) * sizeof *lent->by_id);
    for (uint32_t i = 0; i < ntables; i++) {
        Table *t = n->tables[i].table;
        ASSERT(t); /* every table was asked to be a copy */
        const TableDef *d = &n->image.def->tables[i];
        for (uint16_t q = 0; q < d->nsequences; q++)
            t->sequences[q] = n->sequences_used ? n->tables[i].sequences[q] : sequence_now(&n->tables[i], &d->sequences[q], q);
        t->engine = lent;
        lent->tables[i] = t;
    }
    index_by_id(lent);
    n->lent = lent;
    return lent;
}

void engine_next_unlend(EngineNext *n)
{
    Engine *lent = n->lent;
    ASSERT(lent && !lent->open);
    n->lent = NULL;
    n->sequences_used = true;
    n->engine->bytes = lent->bytes;
    for (uint32_t i = 0; i < lent->ntables; i++) {
        Table *t = lent->tables[i];
        t->engine = n->engine;
        for (uint16_t q = 0; q < t->shape->def->nsequences; q++) {
            n->tables[i].sequences[q] = t->sequences[q];
            n->tables[i].sequences[q].dirty = n->tables[i].sequences[q].written = false;
        }
    }
    free(lent->tables);
    free(lent->by_id);
    image_done(&lent->schema);
    arena_done(&lent->scratch);
    txn_done(lent);
    free(lent);
}

/* ---- the end: discard or swap ---- */

static void next_table_done(NextTable *x)
{
    arena_done(&x->arena);
    free(x->uniques_from);
    free(x->btrees_from);
    free(x->scans);
}

void engine_discard(EngineNext *n)
{
    if (!n)
        return;
    ASSERT(!n->lent);
    for (uint32_t i = 0; i < n->image.def->ntables; i++) {
        NextTable *x = &n->tables[i];
        bury_table(n->engine, x->table, n->image.def);
        if (x->kept) {
            for (uint32_t u = 0; u < x->shape->nuniques; u++)
                bury_hash(n->engine, &x->uniques[u]);
            for (uint32_t b = 0; b < x->shape->nbtrees; b++)
                bury_tree(n->engine, &x->btrees[b]);
            shape_free(x->shape);
        }
        free(x->uniques);
        free(x->btrees);
        free(x->sequences);
        next_table_done(x);
    }
    n->engine->preparing = NULL;
    free(n->tables);
    image_done(&n->image);
    free(n);
}

/* Give the kept table its new shape and index lists. */
static void adopt(Engine *e, NextTable *x)
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
        bury_hash(e, &t->uniques[i]);
    for (uint32_t i = 0; i < t->shape->nbtrees; i++)
        bury_tree(e, &t->btrees[i]);
    bury_hash(e, &t->numbers); /* replay makes it again when it needs it */
    t->has_numbers = false;
    free(t->uniques);
    free(t->btrees);
    t->uniques = TAKE(x->uniques);
    t->btrees = TAKE(x->btrees);
    shape_free(t->shape);
    t->shape = TAKE(x->shape);
}

void engine_swap(Engine *e, EngineNext *n)
{
    ASSERT(!e->open && n->engine == e && !n->failed && !n->lent && n->at == n->image.def->ntables);
    uint32_t ntables = n->image.def->ntables;
    Table **tables = x_alloc(MAX(ntables, 1) * sizeof *tables), **by_id = x_alloc(MAX(ntables, 1) * sizeof *by_id);
    for (uint32_t i = 0; i < ntables; i++) { /* before anything moves: they look at the old tables */
        NextTable *x = &n->tables[i];
        const TableDef *d = &n->image.def->tables[i];
        for (uint16_t q = 0; q < d->nsequences && !n->sequences_used; q++)
            x->sequences[q] = sequence_now(x, &d->sequences[q], q);
    }
    for (uint32_t i = 0; i < ntables; i++) {
        NextTable *x = &n->tables[i];
        if (x->kept) {
            adopt(e, x);
        } else {
            bury_hash(e, &x->table->numbers);
            x->table->has_numbers = false;
        }
        Table *t = x->kept ? x->kept : x->table;
        free(t->sequences);
        t->sequences = TAKE(x->sequences);
        t->id = n->image.ids[i];
        t->touched = true; /* = goes on */
        tables[i] = t;
        next_table_done(x);
    }
    for (uint32_t i = 0; i < e->ntables; i++)
        if (!e->tables[i]->touched)
            bury_table(e, e->tables[i], e->schema.def);
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
    e->preparing = NULL;
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
}

void engine_free(Engine *e)
{
    if (!e)
        return;
    if (e->open)
        txn_rollback(e);
    engine_discard(e->preparing);
    while (engine_reap(e, UINT32_MAX))
        ;
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
