/* module_def.c - from raw records to a ModuleDef, and looking things up in one.
 *
 * A part that is broken is reported and left out; what depends on it is not checked, so one mistake
 * yields one line. Rules about single tables and about the module as a whole are in module_rules.c. */
#include "host/schema/module_int.h"

#include <stdatomic.h>

/* ---- life ------------------------------------------------------------------------------------- */

static ModuleDef *def_new(void)
{
    ModuleDef *def = NEW(ModuleDef);
    atomic_init(&def->refs, 1);
    return def;
}

ModuleDef *module_def_empty(void) { return def_new(); }

ModuleDef *module_def_ref(ModuleDef *def)
{
    atomic_fetch_add_explicit(&def->refs, 1, memory_order_relaxed);
    return def;
}

void module_def_unref(ModuleDef *def)
{
    if (def && atomic_fetch_sub_explicit(&def->refs, 1, memory_order_acq_rel) == 1) {
        arena_done(&def->arena);
        free(def);
    }
}

/* ---- names ------------------------------------------------------------------------------------ */

static int explicit_order(const void *x, const void *y)
{
    const RawName *a = x, *b = y;
    return a->kind != b->kind ? (int)a->kind - (int)b->kind : str_cmp(a->source, b->source);
}

static const RawName *explicit_name(const Reading *rd, NameKind kind, Str source)
{
    RawName key = {kind, source, {0}};
    if (rd->raw->nexplicit == 0)
        return NULL;
    return bsearch(&key, rd->raw->explicit_names, rd->raw->nexplicit, sizeof key, explicit_order);
}

/* The explicit name, else the source name under the case policy. */
static Str canonical(Reading *rd, NameKind kind, Str source)
{
    const RawName *given = explicit_name(rd, kind, source);
    return given ? given->canonical : rd->raw->snake_case ? name_convert(rd->a, source, CASE_SNAKE) : source;
}

/* ---- tables ----------------------------------------------------------------------------------- */

static const ColumnDef *read_columns(Reading *rd, TableDef *t, const RawTable *raw)
{
    ColumnDef *cols = ARENA_ARRAY(rd->a, ColumnDef, t->ncols);
    const Str *written = rd->slots[raw->type_ref].column_names;
    for (uint32_t i = 0; i < t->ncols; i++) {
        const Field *f = &t->row->fields[i];
        Str source = written ? written[i] : f->name;
        cols[i] = (ColumnDef){.name = f->name, .source_name = source, .type = f->type, .offset = f->offset};
    }
    for (uint32_t i = 0; i < raw->ndefaults; i++)
        if (raw->defaults[i].col < t->ncols) { /* the last one of a column wins; a second one is a problem anyway */
            cols[raw->defaults[i].col].has_default = true;
            cols[raw->defaults[i].col].default_bsatn = raw->defaults[i].value;
        }
    return cols;
}

/* Positions exist, none twice, at least one, not too many. Names what is wrong otherwise. */
static bool columns_ok(Reading *rd, const TableDef *t, const char *what, ColList list)
{
    uint64_t seen[(DEF_COLUMNS_MAX + 63) / 64] = {0};
    if (list.n == 0 || list.n > DEF_INDEX_COLUMNS_MAX) {
        problem(&rd->problems, "table `%.*s`: %s over %u columns; between 1 and %d are allowed", STR_FMT(t->name), what, list.n,
                DEF_INDEX_COLUMNS_MAX);
        return false;
    }
    for (uint32_t i = 0; i < list.n; i++) {
        uint16_t c = list.cols[i];
        if (c >= t->ncols) {
            problem(&rd->problems, "table `%.*s`: %s names column %u, but the table has %u columns", STR_FMT(t->name), what, c, t->ncols);
            return false;
        }
        if (seen[c / 64] >> c % 64 & 1) {
            problem(&rd->problems, "table `%.*s`, column `%.*s`: %s names it twice; name it once", STR_FMT(t->name),
                    STR_FMT(t->cols[c].name), what);
            return false;
        }
        seen[c / 64] |= (uint64_t)1 << c % 64;
    }
    return true;
}

static int col_order(const void *x, const void *y) { return *(const uint16_t *)x - *(const uint16_t *)y; }
static int constraint_order(const void *x, const void *y)
{
    return str_cmp(((const ConstraintDef *)x)->name, ((const ConstraintDef *)y)->name);
}
static int index_order(const void *x, const void *y) { return str_cmp(((const IndexDef *)x)->name, ((const IndexDef *)y)->name); }
static int sequence_order(const void *x, const void *y) { return str_cmp(((const SequenceDef *)x)->name, ((const SequenceDef *)y)->name); }
static void sort(void *items, size_t n, size_t size, int (*order)(const void *, const void *))
{
    if (n)
        qsort(items, n, size, order);
}

static void read_constraints(Reading *rd, TableDef *t, const RawTable *raw)
{
    ConstraintDef *out = ARENA_ARRAY(rd->a, ConstraintDef, raw->nconstraints);
    for (uint32_t i = 0; i < raw->nconstraints; i++) {
        if (!columns_ok(rd, t, "a unique constraint", raw->constraints[i]))
            continue;
        ConstraintDef *c = &out[t->nconstraints++];
        c->ncols = (uint16_t)raw->constraints[i].n;
        uint16_t *cols = arena_copy(rd->a, raw->constraints[i].cols, c->ncols * sizeof *cols);
        /* The name keeps the declared order of columns, the set does not. */
        c->name = generated_name(rd->a, t->name, t->cols, c->ncols, cols, "_key");
        qsort(cols, c->ncols, sizeof *cols, col_order);
        c->cols = cols;
    }
    sort(out, t->nconstraints, sizeof *out, constraint_order);
    t->constraints = out;
}

static bool same_set(const IndexDef *ix, const ConstraintDef *c)
{
    if (ix->ncols != c->ncols)
        return false;
    for (uint16_t i = 0; i < ix->ncols; i++) {
        bool found = false;
        for (uint16_t k = 0; k < c->ncols; k++)
            found |= ix->cols[i] == c->cols[k];
        if (!found)
            return false;
    }
    return true;
}

static bool is_unique(const TableDef *t, const IndexDef *ix)
{
    for (uint16_t i = 0; i < t->nconstraints; i++)
        if (same_set(ix, &t->constraints[i]))
            return true;
    return false;
}

static void read_indexes(Reading *rd, TableDef *t, const RawTable *raw)
{
    static const char *const suffixes[] = {"_idx_btree", "_idx_hash", "_idx_direct"};
    IndexDef *out = ARENA_ARRAY(rd->a, IndexDef, raw->nindexes);
    for (uint32_t i = 0; i < raw->nindexes; i++) {
        const RawIndex *in = &raw->indexes[i];
        if (!columns_ok(rd, t, "an index", in->cols))
            continue;
        IndexDef *ix = &out[t->nindexes++];
        const RawName *given = explicit_name(rd, NAME_INDEX, in->source_name);
        *ix = (IndexDef){.source_name = in->source_name,
                         .accessor = in->accessor,
                         .algorithm = in->algorithm,
                         .ncols = (uint16_t)in->cols.n,
                         .cols = in->cols.cols};
        ix->name = given ? given->canonical : generated_name(rd->a, t->name, t->cols, ix->ncols, ix->cols, suffixes[in->algorithm]);
        ix->unique = is_unique(t, ix);
    }
    sort(out, t->nindexes, sizeof *out, index_order);
    t->indexes = out;
}

/* The largest value of an integer column, as far as an i128 can say it. */
static i128 integer_max(TypeKind kind)
{
    const i128 top = (i128)(~(u128)0 >> 1);
    switch (kind) {
    case TYPE_I8: return INT8_MAX;
    case TYPE_U8: return UINT8_MAX;
    case TYPE_I16: return INT16_MAX;
    case TYPE_U16: return UINT16_MAX;
    case TYPE_I32: return INT32_MAX;
    case TYPE_U32: return UINT32_MAX;
    case TYPE_I64: return INT64_MAX;
    case TYPE_U64: return UINT64_MAX;
    default: return top;
    }
}

static void read_sequences(Reading *rd, TableDef *t, const RawTable *raw)
{
    SequenceDef *out = ARENA_ARRAY(rd->a, SequenceDef, raw->nsequences);
    for (uint32_t i = 0; i < raw->nsequences; i++) {
        const RawSequence *in = &raw->sequences[i];
        if (in->col >= t->ncols) {
            problem(&rd->problems, "table `%.*s`: auto-increment names column %u, but the table has %u columns", STR_FMT(t->name), in->col,
                    t->ncols);
            continue;
        }
        SequenceDef *s = &out[t->nsequences++];
        s->col = in->col;
        s->name = in->source_name.len ? in->source_name : generated_name(rd->a, t->name, t->cols, 1, &in->col, "_seq");
        s->min = in->has_min ? in->min : 1;
        s->max = in->has_max ? in->max : integer_max(t->cols[in->col].type->kind);
        s->start = in->has_start ? in->start : MAX(s->min, 1);
        s->increment = in->increment;
        s->start_given = in->has_start;
        s->min_given = in->has_min;
        s->max_given = in->has_max;
    }
    sort(out, t->nsequences, sizeof *out, sequence_order);
    t->sequences = out;
}

static void read_primary_key(Reading *rd, TableDef *t, const RawTable *raw)
{
    t->pk = -1;
    if (raw->pk.n > 1)
        problem(&rd->problems,
                "table `%.*s`: the primary key has %u columns; name one, and declare a multi-column unique index for the others",
                STR_FMT(t->name), raw->pk.n);
    else if (raw->pk.n == 1 && raw->pk.cols[0] >= t->ncols)
        problem(&rd->problems, "table `%.*s`: the primary key names column %u, but the table has %u columns", STR_FMT(t->name),
                raw->pk.cols[0], t->ncols);
    else if (raw->pk.n == 1)
        t->pk = raw->pk.cols[0];
}

static const Type *row_type(Reading *rd, Str table, uint32_t ref)
{
    const Type *row = ref < rd->def->ntypes ? rd->def->types[ref] : NULL;
    if (ref >= rd->raw->ntypes)
        problem(&rd->problems, "table `%.*s`: its row is type %u, but the typespace has %u types", STR_FMT(table), ref, rd->raw->ntypes);
    else if (row && (row->kind != TYPE_PRODUCT || row->nfields == 0))
        problem(&rd->problems, "table `%.*s`: its row must be a struct with at least one column", STR_FMT(table));
    else if (row && row->nfields > DEF_COLUMNS_MAX)
        problem(&rd->problems, "table `%.*s`: %u columns, at most %d are allowed; split the table or put columns into a struct",
                STR_FMT(table), row->nfields, DEF_COLUMNS_MAX);
    else
        return row;
    return NULL;
}

static bool read_table(Reading *rd, TableDef *t, const RawTable *raw)
{
    t->source_name = raw->source_name;
    t->name = canonical(rd, NAME_TABLE, raw->source_name);
    t->row = row_type(rd, t->name, raw->type_ref);
    if (!t->row)
        return false;
    t->ncols = (uint16_t)t->row->nfields;
    t->access = raw->access;
    t->is_event = raw->is_event;
    t->cols = read_columns(rd, t, raw);
    read_primary_key(rd, t, raw);
    read_constraints(rd, t, raw);
    read_indexes(rd, t, raw);
    read_sequences(rd, t, raw);
    rules_table(rd, t, raw);
    return true;
}

static int table_order(const void *x, const void *y) { return str_cmp(((const TableDef *)x)->name, ((const TableDef *)y)->name); }

static void read_tables(Reading *rd)
{
    TableDef *tables = ARENA_ARRAY(rd->a, TableDef, rd->raw->ntables);
    uint32_t n = 0;
    for (uint32_t i = 0; i < rd->raw->ntables; i++)
        n += read_table(rd, &tables[n], &rd->raw->tables[i]);
    sort(tables, n, sizeof *tables, table_order);
    rd->def->ntables = n;
    rd->def->tables = tables;
}

/* ---- functions -------------------------------------------------------------------------------- */

static const char *function_label(Reading *rd, const char *what, Str name)
{
    const char *flaw = name_flaw(name);
    if (flaw)
        problem(&rd->problems, "%s `%.*s`: the name %s; rename it", what, STR_FMT(name), flaw);
    return arena_sprintf(rd->a, "%s `%.*s`", what, STR_FMT(name));
}

static const Type *function_return(Reading *rd, Bytes type, const char *label)
{
    const Type *t = read_type(rd, type, arena_sprintf(rd->a, "%s, return value", label));
    return t && check_use(rd, t, label) ? t : &type_unit;
}

static const Type *function_params(Reading *rd, Bytes params, const char *label)
{
    const Type *t = read_params(rd, params, label);
    return t ? t : &type_unit;
}

/* Rule R28: `()` on success, String on error. */
static void check_reducer_returns(Reading *rd, const RawFunction *f, const char *label)
{
    static const uint8_t unit[] = {AT_PRODUCT, 0, 0, 0, 0}, string[] = {AT_STRING};
    if (!bytes_eq(f->ok, bytes_of(unit, sizeof unit)) || !bytes_eq(f->err, bytes_of(string, sizeof string)))
        problem(&rd->problems, "%s: a reducer returns () or the error String; return data by inserting rows", label);
}

static void read_reducers(Reading *rd)
{
    ReducerDef *out = ARENA_ARRAY(rd->a, ReducerDef, rd->raw->nreducers);
    for (uint32_t i = 0; i < rd->raw->nreducers; i++) {
        const RawFunction *f = &rd->raw->reducers[i];
        Str name = canonical(rd, NAME_FUNCTION, f->source_name);
        const char *label = function_label(rd, "reducer", name);
        check_reducer_returns(rd, f, label);
        out[i] = (ReducerDef){name, f->source_name, function_params(rd, f->params, label), f->is_private, LIFECYCLE_NONE};
    }
    rd->def->nreducers = rd->raw->nreducers;
    rd->def->reducers = out;
}

static void read_procedures(Reading *rd)
{
    ProcedureDef *out = ARENA_ARRAY(rd->a, ProcedureDef, rd->raw->nprocedures);
    for (uint32_t i = 0; i < rd->raw->nprocedures; i++) {
        const RawFunction *f = &rd->raw->procedures[i];
        Str name = canonical(rd, NAME_FUNCTION, f->source_name);
        const char *label = function_label(rd, "procedure", name);
        out[i] =
            (ProcedureDef){name, f->source_name, function_params(rd, f->params, label), function_return(rd, f->ok, label), f->is_private};
    }
    rd->def->nprocedures = rd->raw->nprocedures;
    rd->def->procedures = out;
}

/* Rule R30: Option<Row>, Array<Row> or `{ __query__: Row }`. The row, or NULL. */
static const Type *view_row(const Type *t, ViewResult *ret)
{
    const Type *row = t->kind == TYPE_OPTION || t->kind == TYPE_ARRAY ? t->elem : NULL;
    *ret = t->kind == TYPE_OPTION ? VIEW_OPTION : VIEW_ARRAY;
    if (t->kind == TYPE_PRODUCT && t->ref < 0 && t->nfields == 1 && str_is(t->fields[0].name, "__query__")) {
        row = t->fields[0].type;
        *ret = VIEW_QUERY;
    }
    return row && row->kind == TYPE_PRODUCT && row->ref >= 0 ? row : NULL;
}

static void read_views(Reading *rd)
{
    ViewDef *out = ARENA_ARRAY(rd->a, ViewDef, rd->raw->nviews);
    for (uint32_t i = 0; i < rd->raw->nviews; i++) {
        const RawFunction *f = &rd->raw->views[i];
        Str name = canonical(rd, NAME_FUNCTION, f->source_name);
        const char *label = function_label(rd, "view", name);
        const Type *ret = read_type(rd, f->ok, arena_sprintf(rd->a, "%s, return value", label));
        ViewResult result = VIEW_ARRAY;
        const Type *row = ret ? view_row(ret, &result) : NULL;
        if (ret && !row)
            problem(&rd->problems, "%s: must return Option or Array of a named row type", label);
        out[i] = (ViewDef){.name = name,
                           .source_name = f->source_name,
                           .index = f->view_index,
                           .is_public = f->is_public,
                           .is_anonymous = f->is_anonymous,
                           .params = function_params(rd, f->params, label),
                           .ret = ret ? ret : &type_unit,
                           .result = result,
                           .row = row ? row : &type_unit,
                           .pk = -1};
        if (out[i].params->nfields)
            problem(&rd->problems, "%s: a view takes no parameters; read them from a table", label);
    }
    rd->def->nviews = rd->raw->nviews;
    rd->def->views = out;
}

/* ---- rules, handlers, keys of views ----------------------------------------------------------- */

static int rls_order(const void *x, const void *y) { return str_cmp(((const RlsDef *)x)->sql, ((const RlsDef *)y)->sql); }

static void read_rls(Reading *rd)
{
    RlsDef *out = ARENA_ARRAY(rd->a, RlsDef, rd->raw->nrls);
    uint32_t n = 0;
    for (uint32_t i = 0; i < rd->raw->nrls; i++)
        out[i].sql = rd->raw->rls[i];
    sort(out, rd->raw->nrls, sizeof *out, rls_order);
    for (uint32_t i = 0; i < rd->raw->nrls; i++) /* the text is the key: twice is once */
        if (!n || !str_eq(out[n - 1].sql, out[i].sql))
            out[n++] = out[i];
    rd->def->nrls = n;
    rd->def->rls = out;
}

static void read_handlers(Reading *rd)
{
    Str *handlers = ARENA_ARRAY(rd->a, Str, rd->raw->nhandlers);
    for (uint32_t i = 0; i < rd->raw->nhandlers; i++) {
        handlers[i] = canonical(rd, NAME_FUNCTION, rd->raw->handlers[i]);
        (void)function_label(rd, "HTTP handler", handlers[i]);
    }
    HttpRouteDef *routes = ARENA_ARRAY(rd->a, HttpRouteDef, rd->raw->nroutes);
    for (uint32_t i = 0; i < rd->raw->nroutes; i++) {
        const RawRoute *in = &rd->raw->routes[i];
        routes[i] = (HttpRouteDef){canonical(rd, NAME_FUNCTION, in->handler), in->method, in->path};
    }
    rd->def->nhttp_handlers = rd->raw->nhandlers;
    rd->def->http_handlers = handlers;
    rd->def->nhttp_routes = rd->raw->nroutes;
    rd->def->http_routes = routes;
}

/* ---- the whole -------------------------------------------------------------------------------- */

Status module_def_from_bsatn_full(ModuleDef **ret_def, Bytes bsatn, Buf *ret_problems, Error *err)
{
    if (bsatn.len > DEF_BYTES_MAX)
        return FAIL(err, S_INVALID, "module definition has %zu bytes, at most %d are allowed", bsatn.len, DEF_BYTES_MAX);
    ModuleDef *def = def_new();
    RawModule raw;
    OWN(arena) Arena scratch = {0};
    bsatn.ptr = arena_copy(&def->arena, bsatn.ptr, bsatn.len); /* names and defaults point into the copy */
    def->bsatn = bsatn;
    Status status = module_raw_read(&raw, bsatn, &def->arena, err);
    if (status != S_OK) {
        module_def_unref(def);
        return S_INVALID;
    }
    sort(raw.explicit_names, raw.nexplicit, sizeof *raw.explicit_names, explicit_order);
    Reading rd = {.def = def, .a = &def->arena, .raw = &raw, .problems = {.arena = &scratch}};
    read_typespace(&rd);
    read_tables(&rd);
    read_reducers(&rd);
    read_procedures(&rd);
    read_views(&rd);
    read_rls(&rd);
    read_handlers(&rd);
    rules_module(&rd);
    if (rd.problems.n == 0) {
        *ret_def = def;
        return S_OK;
    }
    if (ret_problems)
        problems_print(&rd.problems, ret_problems);
    (void)problems_fail(&rd.problems, err);
    module_def_unref(def);
    return S_INVALID;
}

Status module_def_from_bsatn(ModuleDef **ret_def, Bytes bsatn, Error *err) { return module_def_from_bsatn_full(ret_def, bsatn, NULL, err); }

/* ---- looking up ------------------------------------------------------------------------------- */

static int table_by_name(const void *key, const void *t) { return str_cmp(*(const Str *)key, ((const TableDef *)t)->name); }

const TableDef *module_def_table(const ModuleDef *def, Str name)
{
    if (def->ntables == 0)
        return NULL;
    const TableDef *t = bsearch(&name, def->tables, def->ntables, sizeof *t, table_by_name);
    for (uint32_t i = 0; !t && i < def->ntables; i++)
        if (str_eq(def->tables[i].source_name, name))
            t = &def->tables[i];
    return t;
}

int32_t table_def_column(const TableDef *t, Str name)
{
    for (uint16_t i = 0; i < t->ncols; i++)
        if (str_eq(t->cols[i].name, name))
            return i;
    return -1;
}

const ReducerDef *module_def_reducer(const ModuleDef *def, Str name)
{
    for (uint32_t i = 0; i < def->nreducers; i++)
        if (str_eq(def->reducers[i].name, name))
            return &def->reducers[i];
    return NULL;
}

bool module_def_has_schedules(const ModuleDef *def)
{
    for (uint32_t i = 0; i < def->ntables; i++)
        if (def->tables[i].schedule)
            return true;
    return false;
}

int32_t module_def_lifecycle(const ModuleDef *def, Lifecycle which)
{
    for (uint32_t i = 0; which != LIFECYCLE_NONE && i < def->nreducers; i++)
        if (def->reducers[i].lifecycle == which)
            return (int32_t)i;
    return -1;
}
