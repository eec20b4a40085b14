/* views.c - results of views: made, changed, thrown away. */
#include "host/query/views_int.h"

#define SENDER_COLUMN STR("(sender)") /* no identifier: nobody can name it */

/* ---- the definition of our tables ---- */

/* A view's rows as a table: its columns, and for whom they are. Without a key of its own the whole row is the key: a result is a set. */
static TableDef view_table_def(Arena *a, const ViewDef *view)
{
    const Type *row = view->row;
    bool sender = !view->is_anonymous;
    uint16_t n = (uint16_t)row->nfields, ncols = (uint16_t)(n + sender);
    TableDef def = {.name = view->name,
                    .source_name = view->source_name,
                    .row = row,
                    .ncols = ncols,
                    .pk = -1,
                    .access = view->is_public ? ACCESS_PUBLIC : ACCESS_PRIVATE};
    if (sender) {
        Field *fields = ARENA_ARRAY(a, Field, ncols);
        memcpy(fields, row->fields, n * sizeof *fields);
        fields[n] = (Field){.name = SENDER_COLUMN, .type = type_scalar(TYPE_IDENTITY)};
        def.row = type_product(a, ncols, fields);
    }
    ColumnDef *cols = ARENA_ARRAY(a, ColumnDef, ncols + 1);
    for (uint16_t i = 0; i < ncols; i++) {
        const Field *f = &def.row->fields[i];
        ASSERT(i >= n || f->offset == row->fields[i].offset);
        cols[i] = (ColumnDef){.name = f->name, .source_name = f->name, .type = f->type, .offset = f->offset};
    }
    def.cols = cols;
    uint16_t *key = ARENA_ARRAY(a, uint16_t, 2), *whose = ARENA_ARRAY(a, uint16_t, 1);
    key[0] = (uint16_t)MAX(view->pk, 0);
    key[1] = whose[0] = n;
    if (view->pk >= 0 && !sender)
        def.pk = view->pk;
    ConstraintDef *constraints = ARENA_ARRAY(a, ConstraintDef, 1);
    *constraints = (ConstraintDef){.name = STR("key"), .ncols = (uint16_t)(1 + sender), .cols = key};
    def.constraints = constraints;
    def.nconstraints = view->pk >= 0;
    IndexDef *index = ARENA_ARRAY(a, IndexDef, 1);
    *index = (IndexDef){.name = SENDER_COLUMN, .algorithm = INDEX_BTREE, .ncols = 1, .cols = whose};
    def.indexes = index;
    def.nindexes = sender;
    return def;
}

static int by_view_name(const void *x, const void *y) { return str_cmp(((const TableDef *)x)->name, ((const TableDef *)y)->name); }

static const ViewDef *view_of(const ModuleDef *def, Str name, uint32_t *ret_at)
{
    for (uint32_t i = 0; i < def->nviews; i++)
        if (str_eq(def->views[i].name, name)) {
            *ret_at = i;
            return &def->views[i];
        }
    return NULL;
}

static bool goes_on(const ViewTable *was, const ViewDef *view)
{
    return was->def->is_anonymous == view->is_anonymous && was->def->pk == view->pk && type_equal(was->def->row, view->row);
}

static const ViewTable *view_table(const Views *v, uint32_t id)
{
    for (uint32_t i = 0; i < v->nviews; i++)
        if (v->views[i].id == id)
            return &v->views[i];
    return NULL;
}

const ViewTable *views_find(const Views *v, Str name)
{
    for (uint32_t i = 0; v && i < v->nviews; i++)
        if (str_eq(v->views[i].def->name, name) || str_eq(v->views[i].def->source_name, name))
            return &v->views[i];
    return NULL;
}

/* ---- instances ---- */

static uint64_t instance_hash(const Views *v, uint32_t view, const uint8_t sender[32])
{
    return hash_bytes(sender, 32, v->seed ^ hash_u64(view + 1));
}

static Instance *instance_find(const Views *v, uint32_t view, const uint8_t sender[32])
{
    uint64_t hash = instance_hash(v, view, sender);
    for (Instance *i = v->nbuckets ? v->buckets[hash & (v->nbuckets - 1)] : NULL; i; i = i->hash_next)
        if (i->hash == hash && i->view == view && memcmp(i->sender, sender, 32) == 0)
            return i;
    return NULL;
}

static void instances_rehash(Views *v, size_t n)
{
    Instance **old = v->buckets;
    size_t nold = v->nbuckets;
    v->buckets = x_alloc(n * sizeof(Instance *));
    v->nbuckets = n;
    for (size_t i = 0; i < nold; i++)
        for (Instance *inst = old[i], *next; inst; inst = next) {
            next = inst->hash_next;
            inst->hash = instance_hash(v, inst->view, inst->sender);
            inst->hash_next = v->buckets[inst->hash & (n - 1)];
            v->buckets[inst->hash & (n - 1)] = inst;
        }
    free(old);
}

/* Those that nobody holds stand in a list, oldest use first. */
static void unheld_put(Views *v, Instance *inst)
{
    inst->older = v->newest;
    inst->newer = NULL;
    *(v->newest ? &v->newest->newer : &v->oldest) = inst;
    v->newest = inst;
    v->nunheld++;
}

static void unheld_take(Views *v, Instance *inst)
{
    *(inst->older ? &inst->older->newer : &v->oldest) = inst->newer;
    *(inst->newer ? &inst->newer->older : &v->newest) = inst->older;
    v->nunheld--;
}

static Instance *instance_new(Views *v, uint32_t view, const uint8_t sender[32])
{
    if (v->ninstances >= v->nbuckets)
        instances_rehash(v, v->nbuckets ? 2 * v->nbuckets : 64);
    Instance *inst = NEW(Instance);
    *inst = (Instance){.id = ++v->next_instance, .view = view, .hash = instance_hash(v, view, sender)};
    memcpy(inst->sender, sender, 32);
    inst->hash_next = v->buckets[inst->hash & (v->nbuckets - 1)];
    v->buckets[inst->hash & (v->nbuckets - 1)] = inst;
    v->ninstances++;
    unheld_put(v, inst);
    return inst;
}

static void instance_free(Views *v, Instance *inst)
{
    ASSERT(!inst->holds);
    reads_drop(v, inst);
    unheld_take(v, inst);
    Instance **at = &v->buckets[inst->hash & (v->nbuckets - 1)];
    while (*at != inst)
        at = &(*at)->hash_next;
    *at = inst->hash_next;
    v->ninstances--;
    free(inst);
}

/* ---- the rows of one instance ---- */

static void open_transaction(Views *v)
{
    if (!v->open)
        txn_begin(v->engine);
    v->open = true;
}

void views_commit(Views *v)
{
    if (v && v->open)
        txn_commit(v->engine);
    if (v)
        v->open = false;
}

static void rows_open(const Views *v, const Instance *inst, const void **whose, Cursor *cursor)
{
    const ViewTable *vt = &v->views[inst->view];
    *whose = inst->sender;
    if (vt->per_sender)
        cursor_index(cursor, vt->table, 0, 1, whose, NULL, NULL);
    else
        cursor_all(cursor, vt->table);
}

static void delete_row(const ViewTable *vt, const void *row)
{
    Error err;
    if (table_delete(vt->table, row, &err) != S_OK)
        BUG("a row of view %.*s cannot be deleted: %s", STR_FMT(vt->def->name), err.text);
}

/* At most `max` rows; false: there may be more. */
static bool clear_rows(Views *v, const Instance *inst, uint32_t max)
{
    Cursor cursor;
    const void *whose;
    const void *row = NULL;
    rows_open(v, inst, &whose, &cursor);
    for (uint32_t n = 0; n < max; n++) {
        if (!(row = cursor_next(&cursor)))
            return true;
        delete_row(&v->views[inst->view], row);
    }
    return false;
}

/* The emitted rows by their contents. */
typedef struct RowSet {
    const void **slots;
    size_t mask;
} RowSet;

static const void **rowset_slot(const RowSet *s, const Type *t, const void *row, uint64_t seed)
{
    for (uint64_t i = value_hash(t, row, seed);; i++) {
        const void **slot = &s->slots[i & s->mask];
        if (!*slot || value_equal(t, *slot, row))
            return slot;
    }
}

static size_t nemitted(const Views *v) { return v->emitted.len / sizeof(void *); }
static void *emitted_row(const Views *v, size_t i)
{
    void *row;
    memcpy(&row, v->emitted.ptr + i * sizeof row, sizeof row);
    return row;
}

/* The result becomes what was emitted; rows that stay are not touched. */
static Status replace_rows(Views *v, const Instance *inst, Error *err)
{
    const ViewTable *vt = &v->views[inst->view];
    const Type *t = vt->table_def->row;
    RowSet set = {.mask = 15};
    while (set.mask < 2 * nemitted(v))
        set.mask = 2 * set.mask + 1;
    set.slots = x_alloc((set.mask + 1) * sizeof(void *));
    for (size_t i = 0; i < nemitted(v); i++)
        *rowset_slot(&set, t, emitted_row(v, i), v->seed) = emitted_row(v, i);
    Cursor cursor;
    const void *whose;
    rows_open(v, inst, &whose, &cursor);
    for (const void *row; (row = cursor_next(&cursor)) != NULL;) /* a cursor sees what was there when it was made */
        if (!*rowset_slot(&set, t, row, v->seed))
            delete_row(vt, row);
    free(set.slots);
    for (size_t i = 0; i < nemitted(v); i++) {
        const void *stored;
        Status s = table_insert(vt->table, emitted_row(v, i), &stored, err);
        if (s == S_CONFLICT)
            return FAIL(err, S_CONFLICT, "two rows of its result have the same primary key `%.*s`",
                        STR_FMT(vt->table_def->cols[vt->def->pk].name));
        TRY(s);
    }
    return S_OK;
}

/* ---- running ---- */

Status views_emit(Views *v, const void *row, Error *err)
{
    const ViewTable *vt = &v->views[v->running->view];
    if (vt->def->result == VIEW_QUERY)
        return FAIL(err, S_INVALID, "a query view returns a query, not rows");
    if (vt->def->result == VIEW_OPTION && nemitted(v))
        return FAIL(err, S_INVALID, "the view returns one row at most");
    TRY(value_check(vt->def->row, row, err));
    size_t heap_bytes = vt->def->row->has_pointers ? value_heap_size(vt->def->row, row) : 0;
    v->rows_bytes += vt->table_def->row->size + heap_bytes;
    if (v->rows_bytes > VIEW_ROWS_BYTES_MAX)
        return FAIL(err, S_TOO_LARGE, "its result takes more than %d bytes", VIEW_ROWS_BYTES_MAX);
    uint8_t *copy = arena_alloc(&v->rows, vt->table_def->row->size), *heap = heap_bytes ? arena_alloc_raw(&v->rows, heap_bytes) : NULL;
    value_copy(vt->def->row, copy, row, &heap);
    if (vt->per_sender)
        memcpy(copy + vt->table_def->cols[vt->ncols].offset, v->running->sender, 32);
    buf_put(&v->emitted, &copy, sizeof copy);
    return S_OK;
}

Status views_query(Views *v, Str sql, Error *err)
{
    if (v->views[v->running->view].def->result != VIEW_QUERY)
        return FAIL(err, S_INVALID, "only a query view returns a query");
    if (v->query.ptr)
        return FAIL(err, S_INVALID, "a query view returns one query");
    if (sql.len > SQL_TEXT_BYTES_MAX)
        return FAIL(err, S_TOO_LARGE, "its query is longer than %d bytes", SQL_TEXT_BYTES_MAX);
    v->query = arena_str(&v->rows, sql);
    return S_OK;
}

/* A row of a query's table is one of the view. */
static void *row_of_query(Views *v, const Instance *inst, const void *row)
{
    const ViewTable *vt = &v->views[inst->view];
    uint8_t *copy = arena_alloc(&v->rows, vt->table_def->row->size);
    memcpy(copy, row, vt->def->row->size); /* its text stays where it is until the transaction ends */
    if (vt->per_sender)
        memcpy(copy + vt->table_def->cols[vt->ncols].offset, inst->sender, 32);
    return copy;
}

static Status adopt_query(Views *v, Instance *inst, Error *err)
{
    const ViewTable *vt = &v->views[inst->view];
    OWN(arena) Arena a = {0};
    Plan *p;
    void *tail;
    Caller caller = {.is_owner = true};
    memcpy(caller.identity, inst->sender, 32);
    if (!v->query.ptr)
        return FAIL(err, S_INVALID, "it returned no query");
    if (query_compile(&p, &a, v->tables, v->query, &caller, err) != S_OK)
        return CONTEXT(err, "its query `%.*s`", (int)MIN(v->query.len, (size_t)200), v->query.ptr);
    const PlanRef *ref = &p->refs[p->side];
    if (ref->def->is_event || !type_equal(ref->def->row, vt->def->row)) {
        OWN(buf) Buf want = {0};
        type_name(&want, vt->def->row);
        return FAIL(err, S_INVALID, "its query returns rows of table `%.*s`, but the view's rows are `%.*s`", STR_FMT(ref->def->name),
                    STR_FMT(buf_str(&want)));
    }
    const Pred *key = pred_equality(ref);
    if (key)
        views_read_key(v, ref->table, 1, &key->col, &key->literal);
    else
        views_read_table(v, ref->table);
    inst->plan = query_plan_clone(p, NULL, 0, &tail);
    Scan scan;
    query_scan_open(&scan, &inst->plan->refs[inst->plan->side]);
    for (const void *row; (row = query_scan_next(&scan)) != NULL;) {
        v->rows_bytes += vt->table_def->row->size;
        if (v->rows_bytes > VIEW_ROWS_BYTES_MAX)
            return FAIL(err, S_TOO_LARGE, "its result takes more than %d bytes", VIEW_ROWS_BYTES_MAX);
        void *copy = row_of_query(v, inst, row);
        buf_put(&v->emitted, &copy, sizeof copy);
    }
    return S_OK;
}

/* Compute the instance, in our open transaction. On failure it holds nothing. */
static Status refresh(Views *v, Instance *inst, Error *err)
{
    const ViewTable *vt = &v->views[inst->view];
    reads_drop(v, inst);
    arena_reset(&v->rows);
    buf_reset(&v->emitted);
    v->rows_bytes = 0;
    v->query = (Str){0};
    v->running = inst;
    v->runs++;
    Status s = v->env.run(v->env.user, inst->view, inst->sender, err);
    if (s == S_OK && vt->def->result == VIEW_QUERY)
        s = adopt_query(v, inst, err);
    v->running = NULL;
    if (s == S_OK)
        s = replace_rows(v, inst, err);
    if (s != S_OK) {
        reads_drop(v, inst);
        (void)clear_rows(v, inst, UINT32_MAX);
        return CONTEXT(err, "view `%.*s`", STR_FMT(vt->def->name)), s;
    }
    inst->fresh = true;
    return S_OK;
}

/* A query's result follows its table: no function runs. What goes leaves before what comes, so that keys may move. */
static Status follow_query(Views *v, Instance *inst, Error *err)
{
    const ViewTable *vt = &v->views[inst->view];
    arena_reset(&v->rows);
    Status s = S_OK;
    for (int pass = 0; pass < 2; pass++)
        for (const Touch *t = pass ? inst->inserted : inst->deleted; t && s == S_OK; t = t->next) {
            const void *stored;
            s = table_insert(vt->table, row_of_query(v, inst, t->row), &stored, err); /* an equal one is found by it */
            if (s == S_OK && pass == 0)
                delete_row(vt, stored);
        }
    if (s == S_OK)
        return S_OK;
    reads_drop(v, inst);
    (void)clear_rows(v, inst, UINT32_MAX);
    return CONTEXT(err, "view `%.*s`", STR_FMT(vt->def->name)), s;
}

/* ---- who wants it ---- */

Status views_need(Views *v, const ViewTable *vt, const uint8_t sender[32], Error *err)
{
    static const uint8_t nobody[32];
    uint32_t at = (uint32_t)(vt - v->views);
    const uint8_t *whose = vt->per_sender ? sender : nobody;
    ASSERT(!v->open && !v->running);
    Instance *inst = instance_find(v, at, whose);
    if (!inst)
        inst = instance_new(v, at, whose);
    inst->used_us = v->env.clock_us(v->env.user);
    if (!inst->holds) { /* the latest use */
        unheld_take(v, inst);
        unheld_put(v, inst);
    }
    if (inst->fresh || v->resolving)
        return S_OK;
    open_transaction(v);
    Status s = refresh(v, inst, err);
    views_commit(v);
    if (s != S_OK && !inst->holds)
        instance_free(v, inst);
    return s;
}

static Instance *held_instance(Views *v, uint32_t table_id, const uint8_t sender[32])
{
    static const uint8_t nobody[32];
    const ViewTable *vt = view_table(v, table_id);
    return vt ? instance_find(v, (uint32_t)(vt - v->views), vt->per_sender ? sender : nobody) : NULL;
}

void views_hold(Views *v, uint32_t table_id, const uint8_t sender[32])
{
    Instance *inst = held_instance(v, table_id, sender);
    ASSERT(inst); /* its query was compiled just now */
    if (!inst->holds++)
        unheld_take(v, inst);
}

void views_unhold(Views *v, uint32_t table_id, const uint8_t sender[32])
{
    Instance *inst = held_instance(v, table_id, sender);
    if (!inst) /* its view has gone by a publish */
        return;
    ASSERT(inst->holds);
    if (--inst->holds == 0)
        unheld_put(v, inst);
}

/* ---- transactions ---- */

static int by_birth(const void *x, const void *y)
{
    const Instance *a = *(Instance *const *)x, *b = *(Instance *const *)y;
    return (a->id > b->id) - (a->id < b->id);
}

static void evaluation_begin(Views *v)
{
    ASSERT(!v->open && !v->running);
    arena_reset(&v->arena);
    buf_reset(&v->touched);
    buf_reset(&v->failures);
    v->evaluation++;
}

static void note_failure(Views *v, const Instance *inst, const Error *err)
{
    const ViewTable *vt = &v->views[inst->view];
    ViewFailure f = {.table_id = vt->id, .for_all = !vt->per_sender, .text = arena_str(&v->arena, str_of(err->text))};
    memcpy(f.sender, inst->sender, 32);
    buf_put(&v->failures, &f, sizeof f);
}

static ViewsEvaluation evaluation_end(Views *v)
{
    ViewsEvaluation e = {.nfailures = (uint32_t)(v->failures.len / sizeof(ViewFailure))};
    e.failures = e.nfailures ? (const ViewFailure *)(const void *)v->failures.ptr : NULL;
    if (v->open)
        e.changes = txn_changes(v->engine, &e.nchanges);
    return e;
}

static Instance *touched_at(const Views *v, size_t i)
{
    Instance *inst;
    memcpy(&inst, v->touched.ptr + i * sizeof inst, sizeof inst);
    return inst;
}

/* All of `touched`, in the order of their births. */
static ViewsEvaluation refresh_touched(Views *v)
{
    size_t n = v->touched.len / sizeof(Instance *);
    if (n > 1)
        qsort(v->touched.ptr, n, sizeof(Instance *), by_birth);
    for (size_t i = 0; i < n; i++) {
        Instance *inst = touched_at(v, i);
        if (!inst->holds) { /* whoever asks next has it computed */
            reads_drop(v, inst);
            continue;
        }
        Error err = {0};
        open_transaction(v);
        if ((inst->plan ? follow_query(v, inst, &err) : refresh(v, inst, &err)) != S_OK)
            note_failure(v, inst, &err);
    }
    return evaluation_end(v);
}

ViewsEvaluation views_evaluate(Views *v, uint32_t nchanges, const TableChange *changes)
{
    evaluation_begin(v);
    reads_touch(v, nchanges, changes);
    return refresh_touched(v);
}

ViewsEvaluation views_refresh_held(Views *v)
{
    evaluation_begin(v);
    v->resolving = false;
    for (size_t i = 0; i < v->nbuckets; i++)
        for (Instance *inst = v->buckets[i]; inst; inst = inst->hash_next)
            if (inst->holds && !inst->fresh)
                buf_put(&v->touched, &inst, sizeof(Instance *));
    return refresh_touched(v);
}

bool views_follow(const Views *v) { return v && v->nreads; }

/* ---- life ---- */

Views *views_new(Engine *tables, const EngineLimits *limits, const ViewsEnv *env)
{
    Views *v = NEW(Views);
    EngineLimits own = {.database_bytes_max = limits ? limits->database_bytes_max / 4 : 0}; /* beside the tables' */
    v->tables = tables;
    v->engine = engine_new(&own);
    v->env = *env;
    v->seed = hash_process_seed;
    v->next_id = VIEW_TABLE_ID_FIRST;
    return v;
}

void views_free(Views *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->nbuckets; i++)
        for (Instance *inst = v->buckets[i], *next; inst; inst = next) {
            next = inst->hash_next;
            reads_drop(v, inst);
            free(inst);
        }
    reads_free(v);
    engine_free(v->engine);
    module_def_unref(v->def);
    module_def_unref(v->base);
    arena_done(&v->rows);
    arena_done(&v->arena);
    buf_done(&v->emitted);
    buf_done(&v->touched);
    buf_done(&v->failures);
    free(v->views);
    free(v->buckets);
    free(v);
}

Engine *views_engine(Views *v) { return v->engine; }
uint64_t views_instances(const Views *v) { return v->ninstances; }
uint64_t views_runs(const Views *v) { return v->runs; }

/* Our tables in the engine: by name, as every definition has them. */
static void adopt_definition(Views *v, const SchemaImage *image, ViewTable *views, uint32_t n)
{
    ModuleDef *def = module_def_empty();
    TableDef *tables = ARENA_ARRAY(&def->arena, TableDef, n + 1);
    uint32_t *ids = ARENA_ARRAY(&def->arena, uint32_t, n + 1);
    for (uint32_t i = 0; i < n; i++)
        tables[i] = view_table_def(&def->arena, &image->def->views[i]);
    qsort(tables, n, sizeof *tables, by_view_name);
    def->tables = tables;
    def->ntables = n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = 0;
        (void)view_of(image->def, tables[i].name, &at);
        ids[i] = views[at].id;
        views[at].table_def = &tables[i];
    }
    const SchemaImage ours = {def, image->version, ids};
    if (!v->def) {
        engine_set_schema(v->engine, &ours);
    } else {
        EngineNext *next;
        Error err;
        if (engine_prepare(&next, v->engine, &ours, &err) != S_OK) /* what goes on is carried over, the rest begins empty */
            BUG("the tables of views cannot be carried over: %s", err.text);
        engine_swap(v->engine, next);
        while (engine_reap(v->engine, UINT32_MAX))
            ;
    }
    for (uint32_t i = 0; i < n; i++)
        views[i].table = engine_table_by_id(v->engine, views[i].id);
    module_def_unref(v->def);
    v->def = def;
}

void views_set_schema(Views *v, const SchemaImage *image)
{
    uint32_t n = image->def->nviews;
    ViewTable *views = x_alloc((n + 1) * sizeof *views);
    ASSERT(!v->open);
    for (uint32_t i = 0; i < n; i++) {
        const ViewDef *def = &image->def->views[i];
        views[i] = (ViewTable){.def = def, .ncols = (uint16_t)def->row->nfields, .per_sender = !def->is_anonymous};
        for (uint32_t k = 0; k < v->nviews; k++)
            if (str_eq(v->views[k].def->name, def->name) && goes_on(&v->views[k], def))
                views[i].id = v->views[k].id;
        if (!views[i].id)
            views[i].id = v->next_id++;
    }
    for (size_t i = 0; i < v->nbuckets; i++) /* what they have read is of the old tables */
        for (Instance *inst = v->buckets[i]; inst; inst = inst->hash_next)
            reads_drop(v, inst);
    reads_forget_tables(v);
    for (size_t i = 0; i < v->nbuckets; i++)
        for (Instance *inst = v->buckets[i], *next; inst; inst = next) {
            next = inst->hash_next;
            uint32_t id = v->views[inst->view].id, at = 0;
            while (at < n && views[at].id != id)
                at++;
            if (at < n) {
                inst->view = at;
                continue;
            }
            if (inst->holds) { /* the queries that hold it end by subs_schema_changed */
                inst->holds = 0;
                unheld_put(v, inst);
            }
            instance_free(v, inst);
        }
    adopt_definition(v, image, views, n);
    free(v->views);
    v->views = views;
    v->nviews = n;
    if (v->nbuckets)
        instances_rehash(v, v->nbuckets);
    ModuleDef *base = module_def_ref((ModuleDef *)image->def);
    module_def_unref(v->base);
    v->resolving = v->base != NULL;
    v->base = base;
}

bool views_evict(Views *v)
{
    enum { ROWS_PER_SLICE = 4096 };
    Instance *inst = v ? v->oldest : NULL;
    if (!inst || v->open || v->resolving ||
        (v->nunheld <= VIEW_UNHELD_MAX && v->env.clock_us(v->env.user) - inst->used_us < VIEW_UNHELD_US))
        return false;
    reads_drop(v, inst);
    open_transaction(v);
    bool empty = clear_rows(v, inst, ROWS_PER_SLICE);
    views_commit(v);
    if (empty)
        instance_free(v, inst);
    return true;
}

Status views_try(Views *v, const ModuleDef *next, Status (*run)(void *user, uint32_t view, const uint8_t sender[32], Error *err),
                 void *user, Error *err)
{
    enum { TRIED_OF_EACH = 16 };
    uint32_t *tried = x_alloc((next->nviews + 1) * sizeof *tried);
    Status s = S_OK;
    for (size_t i = 0; i < v->nbuckets && s == S_OK; i++)
        for (const Instance *inst = v->buckets[i]; inst && s == S_OK; inst = inst->hash_next) {
            uint32_t at;
            const ViewTable *vt = &v->views[inst->view];
            const ViewDef *view = inst->holds || inst->fresh ? view_of(next, vt->def->name, &at) : NULL;
            if (!view || !goes_on(vt, view) || tried[at]++ >= TRIED_OF_EACH)
                continue;
            s = run(user, at, inst->sender, err);
            if (s != S_OK)
                (void)CONTEXT(err, "view `%.*s`", STR_FMT(vt->def->name));
        }
    free(tried);
    return s;
}
