/* module_rules.c - what a definition must keep to: rules of one table, rules between parts.
 *
 * A rule is one function in one of the two lists at the end (table_rules, module_rules); it reports
 * through `problem`, naming table, column and remedy, and trusts nothing but what read_table guarantees:
 * every column position in pk, indexes, constraints and sequences exists.
 * R numbers: schema-and-migration.md section 2. */
#include "host/schema/module_int.h"

#define AT_TABLE "table `%.*s`: "
#define AT_COLUMN "table `%.*s`, column `%.*s`: "
#define TABLE_ARGS(t) STR_FMT((t)->name)
#define COLUMN_ARGS(t, c) STR_FMT((t)->name), STR_FMT((t)->cols[c].name)

/* ---- one table -------------------------------------------------------------------------------- */

static void rule_table_name(Reading *rd, const TableDef *t, const RawTable *raw)
{ /* R1, R34 */
    const char *flaw = name_flaw(t->name);
    if (flaw)
        problem(&rd->problems, AT_TABLE "the name %s; rename it", TABLE_ARGS(t), flaw);
    if (raw->is_system)
        problem(&rd->problems, AT_TABLE "a module cannot declare system tables", TABLE_ARGS(t));
    else if (t->name.len >= 3 && memcmp(t->name.ptr, "st_", 3) == 0)
        problem(&rd->problems, AT_TABLE "names that start with `st_` are reserved; rename it", TABLE_ARGS(t));
}

static bool unique_alone(const TableDef *t, uint16_t col)
{
    for (uint16_t i = 0; i < t->nconstraints; i++)
        if (t->constraints[i].ncols == 1 && t->constraints[i].cols[0] == col)
            return true;
    return false;
}

static void rule_primary_key(Reading *rd, const TableDef *t, const RawTable *raw)
{ /* R13 */
    (void)raw;
    if (t->pk >= 0 && !unique_alone(t, (uint16_t)t->pk))
        problem(&rd->problems, AT_COLUMN "a primary key needs a unique constraint on the same column", COLUMN_ARGS(t, t->pk));
}

static void rule_constraints_have_indexes(Reading *rd, const TableDef *t, const RawTable *raw)
{ /* R14 */
    (void)raw;
    for (uint16_t i = 0; i < t->nconstraints; i++) {
        bool backed = false;
        for (uint16_t k = 0; k < t->nindexes && !backed; k++) {
            const IndexDef *ix = &t->indexes[k];
            backed = ix->unique && ix->ncols == t->constraints[i].ncols;
            for (uint16_t c = 0; backed && c < ix->ncols; c++) {
                bool found = false;
                for (uint16_t d = 0; d < ix->ncols; d++)
                    found |= t->constraints[i].cols[d] == ix->cols[c];
                backed = found;
            }
        }
        if (!backed)
            problem(&rd->problems, AT_TABLE "unique constraint `%.*s` has no index over its columns; declare one", TABLE_ARGS(t),
                    STR_FMT(t->constraints[i].name));
    }
}

static void key_column(Reading *rd, const TableDef *t, uint16_t col, const char *use)
{
    if (type_is_key(t->cols[col].type))
        return;
    OWN(buf) Buf name = buf_with_max(200);
    type_name(&name, t->cols[col].type);
    problem(&rd->problems, AT_COLUMN "%.*s cannot be %s; use an integer, bool, string, bytes, identity, uuid, timestamp or plain enum",
            COLUMN_ARGS(t, col), STR_FMT(buf_str(&name)), use);
}

static void rule_key_types(Reading *rd, const TableDef *t, const RawTable *raw)
{
    (void)raw;
    for (uint16_t i = 0; i < t->nconstraints; i++)
        for (uint16_t c = 0; c < t->constraints[i].ncols; c++)
            key_column(rd, t, t->constraints[i].cols[c], t->pk == t->constraints[i].cols[c] ? "a primary key" : "unique");
    for (uint16_t i = 0; i < t->nindexes; i++)
        for (uint16_t c = 0; !t->indexes[i].unique && c < t->indexes[i].ncols; c++)
            key_column(rd, t, t->indexes[i].cols[c], "indexed");
}

static void rule_direct_indexes(Reading *rd, const TableDef *t, const RawTable *raw)
{ /* R20; direct without unique as the SDKs refuse it */
    (void)raw;
    for (uint16_t i = 0; i < t->nindexes; i++) {
        const IndexDef *ix = &t->indexes[i];
        if (ix->algorithm != INDEX_DIRECT)
            continue;
        TypeKind k = t->cols[ix->cols[0]].type->kind;
        if (k != TYPE_U8 && k != TYPE_U16 && k != TYPE_U32 && k != TYPE_U64 && k != TYPE_ENUM)
            problem(&rd->problems, AT_COLUMN "a direct index needs u8, u16, u32, u64 or a plain enum; use a btree index",
                    COLUMN_ARGS(t, ix->cols[0]));
        if (!ix->unique)
            problem(&rd->problems, AT_COLUMN "a direct index needs a unique column; use a btree index", COLUMN_ARGS(t, ix->cols[0]));
    }
}

static i128 narrow_min(TypeKind k)
{
    switch (k) {
    case TYPE_I8: return INT8_MIN;
    case TYPE_I16: return INT16_MIN;
    case TYPE_I32: return INT32_MIN;
    case TYPE_I64: return INT64_MIN;
    case TYPE_I128:
    case TYPE_I256: return (i128)((u128)1 << 127);
    default: return 0;
    }
}

static i128 narrow_max(TypeKind k)
{
    switch (k) {
    case TYPE_I8:
    case TYPE_I16:
    case TYPE_I32:
    case TYPE_I64: return -(narrow_min(k) + 1);
    case TYPE_U8: return UINT8_MAX;
    case TYPE_U16: return UINT16_MAX;
    case TYPE_U32: return UINT32_MAX;
    case TYPE_U64: return UINT64_MAX;
    default: return (i128)(~(u128)0 >> 1);
    }
}

static void check_sequence(Reading *rd, const TableDef *t, const SequenceDef *s)
{ /* R17, R19, increment */
    const Type *type = t->cols[s->col].type;
    if (!type_is_integer(type)) {
        problem(&rd->problems, AT_COLUMN "auto-increment needs an integer column", COLUMN_ARGS(t, s->col));
        return;
    }
    if (s->min > s->start || s->start > s->max)
        problem(&rd->problems, AT_COLUMN "the sequence must keep min <= start <= max", COLUMN_ARGS(t, s->col));
    else if (s->min < narrow_min(type->kind) || s->max > narrow_max(type->kind))
        problem(&rd->problems, AT_COLUMN "the sequence leaves the range of the column's type", COLUMN_ARGS(t, s->col));
    u128 range = (u128)s->max - (u128)s->min;
    u128 step = s->increment < 0 ? -(u128)s->increment : (u128)s->increment;
    if (s->increment == 0 || (s->max >= s->min && step > range))
        problem(&rd->problems, AT_COLUMN "the sequence's increment must not be 0 nor exceed its range", COLUMN_ARGS(t, s->col));
}

static void rule_sequences(Reading *rd, const TableDef *t, const RawTable *raw)
{ /* R18 */
    (void)raw;
    uint8_t seen[DEF_COLUMNS_MAX] = {0};
    for (uint16_t i = 0; i < t->nsequences; i++) {
        check_sequence(rd, t, &t->sequences[i]);
        if (seen[t->sequences[i].col]++ == 1)
            problem(&rd->problems, AT_COLUMN "two sequences; declare one", COLUMN_ARGS(t, t->sequences[i].col));
    }
}

/* Is a default together with this column's other properties without meaning? */
static const char *default_clash(const TableDef *t, uint16_t col)
{
    if (unique_alone(t, col))
        return t->pk == col ? "a primary key" : "unique";
    for (uint16_t i = 0; i < t->nsequences; i++)
        if (t->sequences[i].col == col)
            return "auto-increment";
    return NULL;
}

static void rule_defaults(Reading *rd, const TableDef *t, const RawTable *raw)
{ /* R15, R32, R33 */
    uint8_t seen[DEF_COLUMNS_MAX] = {0};
    for (uint32_t i = 0; i < raw->ndefaults; i++) {
        uint16_t col = raw->defaults[i].col;
        if (col >= t->ncols) {
            problem(&rd->problems, AT_TABLE "a default names column %u, but the table has %u columns", TABLE_ARGS(t), col, t->ncols);
            continue;
        }
        if (seen[col] < 2 && seen[col]++ == 1)
            problem(&rd->problems, AT_COLUMN "two defaults; declare one", COLUMN_ARGS(t, col));
        Reader r = reader_of(raw->defaults[i].value);
        Error err;
        if (bsatn_skip(&r, t->cols[col].type, &err) != S_OK)
            problem(&rd->problems, AT_COLUMN "its default is not a value of the column's type: %s", COLUMN_ARGS(t, col), err.text);
        else if (reader_left(&r))
            problem(&rd->problems, AT_COLUMN "%zu bytes follow its default value", COLUMN_ARGS(t, col), reader_left(&r));
        const char *clash = default_clash(t, col);
        if (clash)
            problem(&rd->problems, AT_COLUMN "a default makes no sense on a column that is %s; remove one of the two", COLUMN_ARGS(t, col),
                    clash);
    }
}

/* Bytes that a value takes at least to keep inside PostgreSQL's row, with everything movable moved out
 * (a pointer of 18 bytes). Rule 33. */
static uint32_t pg_column_bytes(const Type *t)
{
    switch (t->kind) {
    case TYPE_BOOL: return 1;
    case TYPE_I8:
    case TYPE_U8:
    case TYPE_I16: return 2;
    case TYPE_I32:
    case TYPE_U16:
    case TYPE_F32: return 4;
    case TYPE_I64:
    case TYPE_U32:
    case TYPE_F64:
    case TYPE_TIMESTAMP:
    case TYPE_DURATION: return 8;
    case TYPE_UUID:
    case TYPE_U64: return 16;
    default: return 18;
    }
}

static void rule_row_fits_a_page(Reading *rd, const TableDef *t, const RawTable *raw)
{
    (void)raw;
    uint32_t bytes = 24 + t->ncols / 8 + 1;
    for (uint16_t i = 0; i < t->ncols; i++)
        bytes += pg_column_bytes(t->cols[i].type);
    if (bytes > DEF_PG_ROW_BYTES_MAX)
        problem(&rd->problems, AT_TABLE "a row of %u columns can need %u bytes, PostgreSQL holds %d; put columns into a struct",
                TABLE_ARGS(t), t->ncols, bytes, DEF_PG_ROW_BYTES_MAX);
}

static void (*const table_rules[])(Reading *, const TableDef *, const RawTable *) = {
    rule_table_name, rule_primary_key, rule_constraints_have_indexes, rule_key_types, rule_direct_indexes,
    rule_sequences,  rule_defaults,    rule_row_fits_a_page,
};

void rules_table(Reading *rd, const TableDef *t, const RawTable *raw)
{
    for (size_t i = 0; i < COUNT_OF(table_rules); i++)
        table_rules[i](rd, t, raw);
}

/* ---- between parts ---------------------------------------------------------------------------- */

/* R2: one name space for everything that becomes a relation or is found by name in SQL. */
static void rule_relation_names(Reading *rd)
{
    const ModuleDef *def = rd->def;
    size_t max = def->nviews;
    for (uint32_t i = 0; i < def->ntables; i++)
        max += 3u + def->tables[i].nindexes + def->tables[i].nconstraints + def->tables[i].nsequences;
    NameUse *uses = ARENA_ARRAY(rd->problems.arena, NameUse, max);
    uint32_t n = 0;
    for (uint32_t i = 0; i < def->ntables; i++) {
        const TableDef *t = &def->tables[i];
        uses[n++] = (NameUse){t->name, "a table", {0}};
        if (!str_eq(t->name, t->source_name))
            uses[n++] = (NameUse){t->source_name, "the accessor", t->name};
        for (uint16_t k = 0; k < t->nindexes; k++)
            uses[n++] = (NameUse){t->indexes[k].name, "an index", t->name};
        for (uint16_t k = 0; k < t->nconstraints; k++)
            uses[n++] = (NameUse){t->constraints[k].name, "a unique constraint", t->name};
        for (uint16_t k = 0; k < t->nsequences; k++)
            uses[n++] = (NameUse){t->sequences[k].name, "a sequence", t->name};
        if (t->schedule)
            uses[n++] = (NameUse){t->schedule->name, "a schedule", t->name};
    }
    for (uint32_t i = 0; i < def->nviews; i++)
        uses[n++] = (NameUse){def->views[i].name, "a view", {0}};
    names_unique(&rd->problems, n, uses, "rename one, or declare it once");
}

static void rule_function_names(Reading *rd)
{ /* R4 */
    const ModuleDef *def = rd->def;
    NameUse *uses = ARENA_ARRAY(rd->problems.arena, NameUse, def->nreducers + def->nprocedures + def->nviews);
    uint32_t n = 0;
    for (uint32_t i = 0; i < def->nreducers; i++)
        uses[n++] = (NameUse){def->reducers[i].name, "a reducer", {0}};
    for (uint32_t i = 0; i < def->nprocedures; i++)
        uses[n++] = (NameUse){def->procedures[i].name, "a procedure", {0}};
    for (uint32_t i = 0; i < def->nviews; i++)
        uses[n++] = (NameUse){def->views[i].name, "a view", {0}};
    names_unique(&rd->problems, n, uses, "rename one");
}

/* A function by its source or canonical name: its parameters, and its reducer when it is one. */
static const Type *function_by_name(Reading *rd, Str name, ReducerDef **ret_reducer, ProcedureDef **ret_procedure)
{
    const ModuleDef *def = rd->def;
    for (uint32_t i = 0; i < def->nreducers; i++)
        if (str_eq(rd->raw->reducers[i].source_name, name)) {
            *ret_reducer = (ReducerDef *)&def->reducers[i];
            return def->reducers[i].params;
        }
    for (uint32_t i = 0; i < def->nprocedures; i++)
        if (str_eq(rd->raw->procedures[i].source_name, name)) {
            *ret_procedure = (ProcedureDef *)&def->procedures[i];
            return def->procedures[i].params;
        }
    return NULL;
}

static void rule_lifecycles(Reading *rd)
{ /* R25, R26; lifecycle reducers are private and take nothing */
    static const char *const names[] = {"init", "client_connected", "client_disconnected"};
    bool seen[LIFECYCLE_NONE] = {0};
    for (uint32_t i = 0; i < rd->raw->nlifecycles; i++) {
        const RawLifecycle *in = &rd->raw->lifecycles[i];
        ReducerDef *r = NULL;
        ProcedureDef *p = NULL;
        (void)function_by_name(rd, in->function, &r, &p);
        if (!r) {
            problem(&rd->problems, "%s: there is no reducer `%.*s`; declare it", names[in->which], STR_FMT(in->function));
            continue;
        }
        if (seen[in->which])
            problem(&rd->problems, "%s: several reducers are declared for it; keep one", names[in->which]);
        if (r->lifecycle != LIFECYCLE_NONE)
            problem(&rd->problems, "reducer `%.*s`: declared for two lifecycle events; write one for each", STR_FMT(r->name));
        if (r->params->nfields)
            problem(&rd->problems, "reducer `%.*s`: a lifecycle reducer takes no parameters; remove them", STR_FMT(r->name));
        seen[in->which] = true;
        r->lifecycle = in->which;
        r->is_private = true;
    }
}

static TableDef *table_by_source(Reading *rd, Str source)
{
    for (uint32_t i = 0; i < rd->def->ntables; i++)
        if (str_eq(rd->def->tables[i].source_name, source))
            return (TableDef *)&rd->def->tables[i];
    return NULL;
}

/* R21: the at-column holds a ScheduleAt and the primary key is u64. */
static bool schedule_columns_ok(Reading *rd, const TableDef *t, const RawSchedule *in)
{
    if (in->at_col >= t->ncols || t->cols[in->at_col].type->kind != TYPE_SCHEDULE_AT) {
        problem(&rd->problems, AT_TABLE "a scheduled table needs a column of type ScheduleAt", TABLE_ARGS(t));
        return false;
    }
    if (t->pk < 0 || t->cols[t->pk].type->kind != TYPE_U64) {
        problem(&rd->problems, AT_TABLE "a scheduled table needs a primary key of type u64", TABLE_ARGS(t));
        return false;
    }
    return true;
}

static void rule_schedules(Reading *rd)
{ /* R21-R24 */
    for (uint32_t i = 0; i < rd->raw->nschedules; i++) {
        const RawSchedule *in = &rd->raw->schedules[i];
        TableDef *t = table_by_source(rd, in->table);
        ReducerDef *reducer = NULL;
        ProcedureDef *procedure = NULL;
        const Type *params = function_by_name(rd, in->function, &reducer, &procedure);
        if (!t) {
            bool declared = false; /* a broken table has been reported */
            for (uint32_t k = 0; k < rd->raw->ntables; k++)
                declared |= str_eq(rd->raw->tables[k].source_name, in->table);
            if (!declared)
                problem(&rd->problems, "schedule: there is no table `%.*s`; declare it", STR_FMT(in->table));
            continue;
        }
        if (t->schedule)
            problem(&rd->problems, AT_TABLE "two schedules; a table has at most one", TABLE_ARGS(t));
        if (t->is_event)
            problem(&rd->problems, AT_TABLE "an event table keeps no rows and cannot be scheduled", TABLE_ARGS(t));
        if (!schedule_columns_ok(rd, t, in))
            continue;
        if (!params) {
            problem(&rd->problems, AT_TABLE "there is no reducer or procedure `%.*s` to schedule; declare it", TABLE_ARGS(t),
                    STR_FMT(in->function));
            continue;
        }
        if (params->nfields != 1 || params->fields[0].type->ref != t->row->ref)
            problem(&rd->problems, AT_TABLE "scheduled function `%.*s` must take exactly one parameter, the table's row", TABLE_ARGS(t),
                    STR_FMT(in->function));
        if (reducer)
            reducer->is_private = true;
        if (procedure)
            procedure->is_private = true;
        ScheduleDef *s = ARENA_NEW(rd->a, ScheduleDef);
        *s = (ScheduleDef){generated_name(rd->a, t->name, NULL, 0, NULL, "_sched"), in->at_col,
                           reducer     ? reducer->name
                           : procedure ? procedure->name
                                       : in->function};
        t->schedule = s;
    }
}

/* R31: by the names that the module wrote, as the reference does. */
static void rule_view_keys(Reading *rd)
{
    for (uint32_t i = 0; i < rd->raw->nview_keys; i++) {
        const RawViewKey *in = &rd->raw->view_keys[i];
        ViewDef *v = NULL;
        for (uint32_t k = 0; k < rd->def->nviews; k++)
            if (str_eq(rd->def->views[k].source_name, in->view))
                v = (ViewDef *)&rd->def->views[k];
        bool again = false;
        for (uint32_t k = 0; k < i; k++)
            again |= str_eq(rd->raw->view_keys[k].view, in->view);
        if (!v) {
            problem(&rd->problems, "view primary key: there is no view `%.*s`; declare it", STR_FMT(in->view));
        } else if (again) {
            problem(&rd->problems, "view `%.*s`: two primary keys; keep one", STR_FMT(v->name));
        } else if (in->ncols != 1) {
            problem(&rd->problems, "view `%.*s`: its primary key has %u columns; name one", STR_FMT(v->name), in->ncols);
        } else {
            const Str *written = v->row->ref >= 0 ? rd->slots[v->row->ref].column_names : NULL;
            for (uint32_t c = 0; c < v->row->nfields; c++)
                if (str_eq(written ? written[c] : v->row->fields[c].name, in->cols[0]))
                    v->pk = (int32_t)c;
            if (v->pk < 0)
                problem(&rd->problems, "view `%.*s`: its primary key names column `%.*s`, which its rows do not have", STR_FMT(v->name),
                        STR_FMT(in->cols[0]));
            else if (!type_is_key(v->row->fields[v->pk].type))
                problem(&rd->problems, "view `%.*s`, column `%.*s`: its type cannot be a key", STR_FMT(v->name), STR_FMT(in->cols[0]));
        }
    }
    /* A query returns rows of a table: it has that table's key, when only one table has such rows. */
    for (uint32_t i = 0; i < rd->def->nviews; i++) {
        ViewDef *v = (ViewDef *)&rd->def->views[i];
        const TableDef *from = NULL;
        uint32_t found = 0;
        for (uint32_t k = 0; v->result == VIEW_QUERY && v->pk < 0 && k < rd->def->ntables; k++)
            if (rd->def->tables[k].row->ref == v->row->ref)
                from = &rd->def->tables[k], found++;
        if (found == 1)
            v->pk = from->pk;
    }
}

static void rule_handlers(Reading *rd)
{ /* R35 */
    const ModuleDef *def = rd->def;
    NameUse *uses = ARENA_ARRAY(rd->problems.arena, NameUse, def->nhttp_handlers);
    for (uint32_t i = 0; i < def->nhttp_handlers; i++)
        uses[i] = (NameUse){def->http_handlers[i], "an HTTP handler", {0}};
    names_unique(&rd->problems, def->nhttp_handlers, uses, "rename one");
    for (uint32_t i = 0; i < def->nhttp_routes; i++) {
        bool found = false;
        for (uint32_t k = 0; k < def->nhttp_handlers && !found; k++)
            found = str_eq(def->http_handlers[k], def->http_routes[i].handler);
        if (!found)
            problem(&rd->problems, "route `%.*s`: there is no HTTP handler `%.*s`; declare it", STR_FMT(def->http_routes[i].path),
                    STR_FMT(def->http_routes[i].handler));
    }
}

static bool path_ok(Str path)
{
    if (path.len && path.ptr[0] != '/')
        return false;
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '~' || c == '/'))
            return false;
    }
    return true;
}

static bool method_ok(Str method)
{ /* a token of RFC 9110, 5.6.2 */
    for (size_t i = 0; i < method.len; i++) {
        char c = method.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c <= ' ' || c > '~' || strchr("()<>@,;:\\\"/[]?={}", c)))
            return false;
    }
    return method.len > 0;
}

static int route_order(const void *x, const void *y)
{
    return str_cmp((*(const HttpRouteDef *const *)x)->path, (*(const HttpRouteDef *const *)y)->path);
}

static void rule_routes(Reading *rd)
{ /* R36, R37 */
    const ModuleDef *def = rd->def;
    const HttpRouteDef **sorted = ARENA_ARRAY(rd->problems.arena, const HttpRouteDef *, def->nhttp_routes + 1);
    for (uint32_t i = 0; i < def->nhttp_routes; i++) {
        const HttpRouteDef *r = sorted[i] = &def->http_routes[i];
        if (!path_ok(r->path))
            problem(&rd->problems, "route `%.*s`: a path is empty or begins with `/`, and holds a-z, 0-9, -, _, ~ and / only",
                    STR_FMT(r->path));
        if (!method_ok(r->method))
            problem(&rd->problems, "route `%.*s`: `%.*s` is no HTTP method", STR_FMT(r->path), STR_FMT(r->method));
    }
    if (def->nhttp_routes)
        qsort(sorted, def->nhttp_routes, sizeof *sorted, route_order);
    for (uint32_t i = 0; i < def->nhttp_routes; i++)
        for (uint32_t k = i + 1; k < def->nhttp_routes && str_eq(sorted[i]->path, sorted[k]->path); k++)
            if (str_eq(sorted[i]->method, sorted[k]->method) || str_is(sorted[i]->method, "ANY") || str_is(sorted[k]->method, "ANY")) {
                problem(&rd->problems, "route `%.*s`: two handlers for %.*s; keep one", STR_FMT(sorted[i]->path),
                        STR_FMT(sorted[k]->method));
                break;
            }
}

static int explicit_same(const RawName *a, const RawName *b) { return a->kind == b->kind && str_eq(a->source, b->source); }

static void rule_explicit_names(Reading *rd)
{ /* sorted by module_def.c */
    for (uint32_t i = 1; i < rd->raw->nexplicit; i++)
        if (explicit_same(&rd->raw->explicit_names[i - 1], &rd->raw->explicit_names[i]))
            problem(&rd->problems, "explicit names: `%.*s` is named twice; name it once", STR_FMT(rd->raw->explicit_names[i].source));
}

static void rule_relation_count(Reading *rd)
{ /* rule 33: a table is up to three relations (with its TOAST table and that one's index) */
    uint32_t n = 0;
    for (uint32_t i = 0; i < rd->def->ntables; i++)
        n += 3u + rd->def->tables[i].nindexes + (rd->def->tables[i].pk < 0);
    if (n > DEF_RELATIONS_MAX)
        problem(&rd->problems,
                "the module needs %u relations in PostgreSQL, one transaction can create %d; declare fewer tables or indexes", n,
                DEF_RELATIONS_MAX);
}

static void (*const module_rules[])(Reading *) = {
    rule_lifecycles, rule_schedules,      rule_explicit_names, rule_view_keys,      rule_handlers,
    rule_routes,     rule_function_names, rule_relation_count, rule_relation_names, /* after the schedules, which are names too */
};

void rules_module(Reading *rd)
{
    for (size_t i = 0; i < COUNT_OF(module_rules); i++)
        module_rules[i](rd);
}
