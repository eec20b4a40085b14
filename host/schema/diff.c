/* diff.c - from one definition to the next: steps, or reasons.
 *
 * How to read it: a rule compares one aspect of two definitions and either adds steps or forbids. Rules
 * stand in two lists near the end (table_rules for a table present on both sides, module_rules for the
 * rest); what a step means to clients and how it prints stands in one list (step_infos).
 * Every rule runs, whatever the others found: the publisher sees all reasons at once.
 * Source: schema-and-migration.md 3.4, 3.5, profile `seed`. */
#include "host/schema/diff.h"

#include <stdio.h>

typedef struct Diff {
    Plan *plan;
    const ModuleDef *from, *to;
    uint32_t cap;
} Diff;

static const struct StepInfo {
    StepClass class_;
    const char *verb;
    char colour; /* g(reen) created, r(ed) removed, y(ellow) changed */
} step_infos[STEP_KIND_COUNT] = {
    [STEP_REMOVE_INDEX] = {CLASS_MAY_BREAK, "Removed index", 'r'}, /* joins over it are refused afterwards */
    [STEP_REMOVE_CONSTRAINT] = {CLASS_SAFE, "Removed unique constraint", 'r'},
    [STEP_REMOVE_SEQUENCE] = {CLASS_SAFE, "Removed auto-increment", 'r'},
    [STEP_ADD_COLUMNS] = {CLASS_MAY_BREAK, "Added columns", 'g'}, /* connected clients keep the old prefix */
    [STEP_ADD_TABLE] = {CLASS_SAFE, "Created table", 'g'},
    [STEP_ADD_INDEX] = {CLASS_SAFE, "Created index", 'g'},
    [STEP_ADD_SEQUENCE] = {CLASS_SAFE, "Added auto-increment", 'g'},
    [STEP_CHANGE_ACCESS] = {CLASS_SAFE, "Changed access", 'y'}, /* MAY_BREAK when it narrows */
    [STEP_ADD_FUNCTION] = {CLASS_SAFE, "Added", 'g'},
    [STEP_CHANGE_FUNCTION] = {CLASS_MAY_BREAK, "Changed", 'y'},
    [STEP_REMOVE_FUNCTION] = {CLASS_MAY_BREAK, "Removed", 'r'},
};

/* ---- recording -------------------------------------------------------------------------------- */

static Step *add_step(Diff *d, StepKind kind, const TableDef *old, const TableDef *new)
{
    Plan *p = d->plan;
    if (p->nsteps == d->cap) {
        uint32_t cap = d->cap ? d->cap * 2 : 16;
        Step *steps = ARENA_ARRAY(&p->arena, Step, cap);
        if (p->nsteps)
            memcpy(steps, p->steps, p->nsteps * sizeof *steps);
        p->steps = steps;
        d->cap = cap;
    }
    Step *s = &p->steps[p->nsteps++];
    *s = (Step){.kind = kind, .class_ = step_infos[kind].class_, .old_table = old, .new_table = new};
    return s;
}

static void forbid(Diff *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void forbid(Diff *d, const char *fmt, ...)
{
    char text[ERROR_TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (d->plan->forbidden.len)
        buf_put_text(&d->plan->forbidden, "\n");
    buf_put_text(&d->plan->forbidden, text);
}

#define AT_TABLE "table `%.*s`: "
#define AT_COLUMN "table `%.*s`, column `%.*s`: "
#define AT_COLUMN_OF "table `%.*s`, column `%.*s` (%s): " /* with its type */

/* The type's name for messages; with its parts when only those tell two types apart. */
static const char *type_text(Diff *d, const Type *t, bool in_full)
{
    OWN(buf) Buf b = buf_with_max(300);
    Type open = *t;
    if (in_full)
        open.name = (Str){0};
    type_name(&b, &open);
    Str text = buf_str(&b);
    if (in_full && t->name.len)
        return arena_sprintf(&d->plan->arena, "%.*s = %.*s", STR_FMT(t->name), STR_FMT(text));
    return arena_str(&d->plan->arena, text).ptr;
}

/* ---- rules: columns --------------------------------------------------------------------------- */

static void rule_columns_removed(Diff *d, const TableDef *old, const TableDef *new)
{
    for (uint16_t i = 0; i < old->ncols; i++) {
        Str name = old->cols[i].name;
        if (table_def_column(new, name) >= 0)
            continue;
        const ColumnDef *here = i < new->ncols ? &new->cols[i] : NULL;
        if (here && table_def_column(old, here->name) < 0 && type_equal(here->type, old->cols[i].type))
            forbid(d, AT_COLUMN_OF "was renamed to `%.*s` or removed; keep the old name", STR_FMT(old->name), STR_FMT(name),
                   type_text(d, old->cols[i].type, false), STR_FMT(here->name));
        else
            forbid(d, AT_COLUMN_OF "was removed; keep it, even unused", STR_FMT(old->name), STR_FMT(name),
                   type_text(d, old->cols[i].type, false));
    }
}

static void rule_columns_moved(Diff *d, const TableDef *old, const TableDef *new)
{
    for (uint16_t i = 0; i < old->ncols; i++) {
        int32_t at = table_def_column(new, old->cols[i].name);
        if (at >= 0 && at != i)
            forbid(d, AT_COLUMN "moved from position %u to %d; keep existing columns where they are and append new ones at the end",
                   STR_FMT(old->name), STR_FMT(old->cols[i].name), i, at);
    }
}

static void rule_column_types(Diff *d, const TableDef *old, const TableDef *new)
{
    for (uint16_t i = 0; i < old->ncols; i++) {
        int32_t at = table_def_column(new, old->cols[i].name);
        if (at < 0 || type_equal(old->cols[i].type, new->cols[at].type))
            continue;
        const Type *was = old->cols[i].type, *is = new->cols[at].type;
        const char *a = type_text(d, was, false), *b = type_text(d, is, false);
        if (strcmp(a, b) == 0) {
            a = type_text(d, was, true);
            b = type_text(d, is, true);
        }
        forbid(d, AT_COLUMN "type changed from %s to %s; keep the type, and append a new column with a default for the new one",
               STR_FMT(old->name), STR_FMT(old->cols[i].name), a, b);
    }
}

static void rule_columns_added(Diff *d, const TableDef *old, const TableDef *new)
{
    uint32_t appended = 0;
    for (uint16_t i = 0; i < new->ncols; i++) {
        const ColumnDef *c = &new->cols[i];
        if (table_def_column(old, c->name) >= 0)
            continue;
        if (!c->has_default)
            forbid(d, AT_COLUMN_OF "was added without a default, and existing rows need a value; give it one", STR_FMT(old->name),
                   STR_FMT(c->name), type_text(d, c->type, false));
        if (i < old->ncols) /* in the place of an old one; where it came between, the others have moved */
            forbid(d, AT_COLUMN_OF "was added at position %u, before the end of the old columns; append it at the end", STR_FMT(old->name),
                   STR_FMT(c->name), type_text(d, c->type, false), i);
        else
            appended++;
    }
    if (appended) {
        Step *s = add_step(d, STEP_ADD_COLUMNS, old, new);
        s->first = old->ncols;
        s->count = appended;
    }
}

/* ---- rules: keys, indexes, sequences ---------------------------------------------------------- */

/* The same columns by name: positions may differ where columns were moved (which is refused elsewhere). */
static bool same_columns(const TableDef *old, uint16_t n, const uint16_t *a, const TableDef *new, uint16_t m, const uint16_t *b)
{
    if (n != m)
        return false;
    for (uint16_t i = 0; i < n; i++)
        if (!str_eq(old->cols[a[i]].name, new->cols[b[i]].name))
            return false;
    return true;
}

static void rule_primary_key(Diff *d, const TableDef *old, const TableDef *new)
{
    if (old->pk < 0 && new->pk >= 0)
        forbid(d, AT_COLUMN "became the primary key; a table that exists cannot get one, declare a new table and copy the rows",
               STR_FMT(old->name), STR_FMT(new->cols[new->pk].name));
    else if (old->pk >= 0 && new->pk < 0)
        forbid(d,
               AT_COLUMN "is no longer the primary key; this edition keeps the rows of a table under the key that it began with, keep it",
               STR_FMT(old->name), STR_FMT(old->cols[old->pk].name));
    else if (old->pk >= 0 && !str_eq(old->cols[old->pk].name, new->cols[new->pk].name))
        forbid(d, AT_COLUMN "is the primary key instead of `%.*s`; keep the primary key where it is", STR_FMT(old->name),
               STR_FMT(new->cols[new->pk].name), STR_FMT(old->cols[old->pk].name));
}

static bool has_constraint(const TableDef *t, const TableDef *other, const ConstraintDef *c)
{
    for (uint16_t i = 0; i < t->nconstraints; i++)
        if (same_columns(t, t->constraints[i].ncols, t->constraints[i].cols, other, c->ncols, c->cols))
            return true;
    return false;
}

static void rule_constraints(Diff *d, const TableDef *old, const TableDef *new)
{
    for (uint16_t i = 0; i < old->nconstraints; i++)
        if (!has_constraint(new, old, &old->constraints[i])) {
            Step *s = add_step(d, STEP_REMOVE_CONSTRAINT, old, new);
            s->first = i;
            s->count = 1;
        }
    for (uint16_t i = 0; i < new->nconstraints; i++) {
        const ConstraintDef *c = &new->constraints[i];
        if (has_constraint(old, new, c) || (c->ncols == 1 && new->pk == c->cols[0]))
            continue; /* a new primary key has its own reason */
        forbid(d, AT_COLUMN "%s became unique; existing rows may repeat values, declare a new table and copy the rows", STR_FMT(old->name),
               STR_FMT(new->cols[c->cols[0]].name), c->ncols > 1 ? "together with others, it" : "it");
    }
}

static const IndexDef *index_by_name(const TableDef *t, Str name)
{
    for (uint16_t i = 0; i < t->nindexes; i++)
        if (str_eq(t->indexes[i].name, name))
            return &t->indexes[i];
    return NULL;
}

static bool index_kept(const TableDef *t, const IndexDef *ix, const TableDef *other)
{
    const IndexDef *same = index_by_name(other, ix->name);
    return same && same->algorithm == ix->algorithm && same_columns(t, ix->ncols, ix->cols, other, same->ncols, same->cols);
}

static void rule_indexes(Diff *d, const TableDef *old, const TableDef *new)
{
    for (uint16_t i = 0; i < old->nindexes; i++) {
        const IndexDef *ix = &old->indexes[i];
        if (!index_kept(old, ix, new)) {
            Step *s = add_step(d, STEP_REMOVE_INDEX, old, new);
            s->first = i;
            s->count = 1;
            continue;
        }
        Str accessor = index_by_name(new, ix->name)->accessor;
        if (!str_eq(accessor, ix->accessor))
            forbid(d, AT_TABLE "accessor of index `%.*s` changed from `%.*s` to `%.*s`; keep the old one", STR_FMT(old->name),
                   STR_FMT(ix->name), STR_FMT(ix->accessor), STR_FMT(accessor));
    }
    for (uint16_t i = 0; i < new->nindexes; i++)
        if (!index_kept(new, &new->indexes[i], old)) {
            Step *s = add_step(d, STEP_ADD_INDEX, old, new);
            s->first = i;
            s->count = 1;
        }
}

static bool sequence_kept(const TableDef *t, const SequenceDef *s, const TableDef *other)
{
    for (uint16_t i = 0; i < other->nsequences; i++) {
        const SequenceDef *o = &other->sequences[i];
        if (str_eq(o->name, s->name))
            return same_columns(t, 1, &s->col, other, 1, &o->col) && o->start == s->start && o->min == s->min && o->max == s->max &&
                   o->increment == s->increment;
    }
    return false;
}

static void rule_sequences(Diff *d, const TableDef *old, const TableDef *new)
{
    for (uint16_t i = 0; i < old->nsequences; i++)
        if (!sequence_kept(old, &old->sequences[i], new)) {
            Step *s = add_step(d, STEP_REMOVE_SEQUENCE, old, new);
            s->first = i;
            s->count = 1;
        }
    for (uint16_t i = 0; i < new->nsequences; i++)
        if (!sequence_kept(new, &new->sequences[i], old)) {
            Step *s = add_step(d, STEP_ADD_SEQUENCE, old, new);
            s->first = i;
            s->count = 1;
        }
}

/* ---- rules: the table itself ------------------------------------------------------------------ */

static void rule_access(Diff *d, const TableDef *old, const TableDef *new)
{
    if (old->access != new->access) {
        Step *s = add_step(d, STEP_CHANGE_ACCESS, old, new);
        s->class_ = new->access == ACCESS_PRIVATE ? CLASS_MAY_BREAK : CLASS_SAFE;
    }
}

static void rule_event_flag(Diff *d, const TableDef *old, const TableDef *new)
{
    if (old->is_event != new->is_event)
        forbid(d, AT_TABLE "%s an event table; declare a new table under another name", STR_FMT(old->name),
               new->is_event ? "became" : "is no longer");
}

static void rule_schedule(Diff *d, const TableDef *old, const TableDef *new)
{
    const ScheduleDef *a = old->schedule, *b = new->schedule;
    if (!a && b)
        forbid(d, AT_TABLE "became scheduled (function `%.*s`); declare a new scheduled table", STR_FMT(old->name), STR_FMT(b->function));
    else if (a && !b)
        forbid(d, AT_TABLE "is no longer scheduled (function `%.*s`); keep the schedule", STR_FMT(old->name), STR_FMT(a->function));
    else if (a && !str_eq(a->function, b->function))
        forbid(d, AT_TABLE "schedule changed from function `%.*s` to `%.*s`; keep the function's name", STR_FMT(old->name),
               STR_FMT(a->function), STR_FMT(b->function));
    else if (a && !str_eq(old->cols[a->at_col].name, new->cols[b->at_col].name))
        forbid(d, AT_COLUMN "holds the schedule's time instead of `%.*s`; keep the old column", STR_FMT(old->name),
               STR_FMT(new->cols[b->at_col].name), STR_FMT(old->cols[a->at_col].name));
}

/* ---- rules: the module ------------------------------------------------------------------------ */

static const TableDef *table_named(const ModuleDef *def, Str name)
{
    const TableDef *t = module_def_table(def, name);
    return t && str_eq(t->name, name) ? t : NULL;
}

static char fold(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

/* Equal but for case and underscores? */
static bool same_but_case(Str a, Str b)
{
    size_t i = 0, k = 0;
    for (;;) {
        while (i < a.len && a.ptr[i] == '_')
            i++;
        while (k < b.len && b.ptr[k] == '_')
            k++;
        if (i == a.len || k == b.len)
            return i == a.len && k == b.len;
        if (fold(a.ptr[i++]) != fold(b.ptr[k++]))
            return false;
    }
}

/* A table of the new definition whose name differs only in case: an accident of the case policy. */
static const TableDef *case_twin(Diff *d, const TableDef *gone)
{
    for (uint32_t i = 0; i < d->to->ntables; i++)
        if (same_but_case(d->to->tables[i].name, gone->name) && !table_named(d->from, d->to->tables[i].name))
            return &d->to->tables[i];
    return NULL;
}

static void rule_tables_removed(Diff *d)
{
    for (uint32_t i = 0; i < d->from->ntables; i++) {
        const TableDef *gone = &d->from->tables[i];
        if (table_named(d->to, gone->name))
            continue;
        const TableDef *twin = case_twin(d, gone);
        if (twin)
            forbid(d, AT_TABLE "was removed, and `%.*s` added, which differs only in case; keep the old spelling", STR_FMT(gone->name),
                   STR_FMT(twin->name));
        else
            forbid(d, AT_TABLE "was removed; keep it, even unused, or publish with --delete-data to start afresh", STR_FMT(gone->name));
    }
}

static void rule_tables_added(Diff *d)
{
    for (uint32_t i = 0; i < d->to->ntables; i++)
        if (!table_named(d->from, d->to->tables[i].name))
            add_step(d, STEP_ADD_TABLE, NULL, &d->to->tables[i]);
}

/* Reducers, procedures and views under one form, so that one rule compares them. */
typedef struct FunctionView {
    Str name;
    const Type *params, *ret;
    bool hidden;     /* from clients */
    uint8_t flavour; /* lifecycle; anonymous or not */
} FunctionView;
typedef FunctionView (*FunctionAt)(const ModuleDef *def, uint32_t i);

static FunctionView reducer_at(const ModuleDef *def, uint32_t i)
{
    const ReducerDef *r = &def->reducers[i];
    return (FunctionView){r->name, r->params, &type_unit, r->is_private, r->lifecycle};
}
static FunctionView procedure_at(const ModuleDef *def, uint32_t i)
{
    const ProcedureDef *p = &def->procedures[i];
    return (FunctionView){p->name, p->params, p->ret, p->is_private, 0};
}
static FunctionView view_at(const ModuleDef *def, uint32_t i)
{
    const ViewDef *v = &def->views[i];
    return (FunctionView){v->name, v->params, v->ret, !v->is_public, v->is_anonymous};
}

static bool find_function(const ModuleDef *def, uint32_t n, FunctionAt get, Str name, FunctionView *ret)
{
    for (uint32_t i = 0; i < n; i++) {
        *ret = get(def, i);
        if (str_eq(ret->name, name))
            return true;
    }
    return false;
}

static void function_step(Diff *d, StepKind kind, const char *what, Str name, StepClass worst)
{
    Step *s = add_step(d, kind, NULL, NULL);
    s->name = name;
    s->function_kind = what;
    s->class_ = kind == STEP_ADD_FUNCTION ? CLASS_SAFE : worst;
}

static void compare_functions(Diff *d, const char *what, uint32_t nold, uint32_t nnew, FunctionAt get, StepClass worst)
{
    FunctionView a, b;
    for (uint32_t i = 0; i < nold; i++) {
        a = get(d->from, i);
        if (!find_function(d->to, nnew, get, a.name, &b))
            function_step(d, STEP_REMOVE_FUNCTION, what, a.name, worst);
        else if (a.hidden != b.hidden || a.flavour != b.flavour || !type_equal(a.params, b.params) || !type_equal(a.ret, b.ret))
            function_step(d, STEP_CHANGE_FUNCTION, what, a.name, worst);
    }
    for (uint32_t i = 0; i < nnew; i++) {
        b = get(d->to, i);
        if (!find_function(d->from, nold, get, b.name, &a))
            function_step(d, STEP_ADD_FUNCTION, what, b.name, worst);
    }
}

static void rule_reducers(Diff *d) { compare_functions(d, "reducer", d->from->nreducers, d->to->nreducers, reducer_at, CLASS_MAY_BREAK); }
static void rule_procedures(Diff *d)
{
    compare_functions(d, "procedure", d->from->nprocedures, d->to->nprocedures, procedure_at, CLASS_MAY_BREAK);
}
static void rule_views(Diff *d)
{ /* subscriptions on a view that goes or changes shape cannot go on */
    compare_functions(d, "view", d->from->nviews, d->to->nviews, view_at, CLASS_BREAKS);
}

/* ---- the rules -------------------------------------------------------------------------------- */

static void (*const table_rules[])(Diff *d, const TableDef *old, const TableDef *new) = {
    rule_columns_removed, rule_columns_moved, rule_column_types, rule_columns_added, rule_primary_key, rule_constraints,
    rule_indexes,         rule_sequences,     rule_access,       rule_event_flag,    rule_schedule,
};

static void (*const module_rules[])(Diff *d) = {
    rule_tables_removed, rule_tables_added, rule_reducers, rule_procedures, rule_views,
};

static Str step_name(const Step *s) { return s->name.len ? s->name : (s->new_table ? s->new_table : s->old_table)->name; }

static int step_order(const void *x, const void *y)
{
    const Step *a = x, *b = y;
    if (a->kind != b->kind)
        return (int)a->kind - (int)b->kind;
    int c = str_cmp(step_name(a), step_name(b));
    return c ? c : (a->first > b->first) - (a->first < b->first);
}

static void find_sources(Diff *d)
{
    TableSource *sources = ARENA_ARRAY(&d->plan->arena, TableSource, d->to->ntables + 1);
    for (uint32_t i = 0; i < d->to->ntables; i++) {
        const TableDef *new = &d->to->tables[i], *old = table_named(d->from, new->name);
        if (!old)
            continue;
        ColumnSource *columns = ARENA_ARRAY(&d->plan->arena, ColumnSource, new->ncols);
        for (uint16_t c = 0; c < new->ncols; c++)
            columns[c].from = table_def_column(old, new->cols[c].name);
        sources[i] = (TableSource){.old = old, .columns = columns};
    }
    d->plan->sources = sources;
}

void plan_make(Plan *ret_plan, const ModuleDef *from, const ModuleDef *to, const Migrations *pending)
{
    (void)pending;
    *ret_plan = (Plan){0};
    Diff d = {ret_plan, from, to, 0};
    for (size_t r = 0; r < COUNT_OF(module_rules); r++)
        module_rules[r](&d);
    for (uint32_t i = 0; i < from->ntables; i++) {
        const TableDef *new = table_named(to, from->tables[i].name);
        for (size_t r = 0; new &&r < COUNT_OF(table_rules); r++)
            table_rules[r](&d, &from->tables[i], new);
    }
    if (ret_plan->forbidden.len) {
        ret_plan->nsteps = 0;
        return;
    }
    find_sources(&d);
    if (ret_plan->nsteps)
        qsort(ret_plan->steps, ret_plan->nsteps, sizeof *ret_plan->steps, step_order);
    for (uint32_t i = 0; i < ret_plan->nsteps; i++)
        ret_plan->breaks_clients |= ret_plan->steps[i].class_ == CLASS_BREAKS;
}

void plan_done(Plan *plan)
{
    buf_done(&plan->forbidden);
    arena_done(&plan->arena);
    *plan = (Plan){0};
}

/* ---- for people ------------------------------------------------------------------------------- */

static void put_table_name(Buf *out, const TableDef *t, bool colour)
{
    buf_printf(out, "%s%.*s%s", colour ? "\033[1;36m" : "", STR_FMT(t->name), colour ? "\033[0m" : "");
}

static void put_columns(Buf *out, const TableDef *t, uint16_t n, const uint16_t *cols)
{
    for (uint16_t i = 0; i < n; i++)
        buf_printf(out, "%s%.*s", i ? ", " : "[", STR_FMT(t->cols[cols[i]].name));
    buf_put_text(out, "]");
}

static void put_new_columns(Buf *out, const Step *s)
{
    for (uint32_t i = s->first; i < s->first + s->count; i++) {
        buf_printf(out, "%s%.*s: ", i > s->first ? ", " : ": ", STR_FMT(s->new_table->cols[i].name));
        type_name(out, s->new_table->cols[i].type);
    }
}

/* "NAME on TABLE [a, b]" */
static void put_part(Buf *out, const TableDef *t, Str name, uint16_t n, const uint16_t *cols, bool colour)
{
    buf_printf(out, "%.*s on ", STR_FMT(name));
    put_table_name(out, t, colour);
    buf_put_text(out, " ");
    put_columns(out, t, n, cols);
}

static void put_step(Buf *out, const Step *s, bool colour)
{
    static const char *const access[] = {"public", "private"};
    const TableDef *old = s->old_table, *new = s->new_table;
    switch (s->kind) {
    case STEP_REMOVE_INDEX:
    case STEP_ADD_INDEX: {
        const TableDef *t = s->kind == STEP_ADD_INDEX ? new : old;
        const IndexDef *ix = &t->indexes[s->first];
        put_part(out, t, ix->name, ix->ncols, ix->cols, colour);
        break;
    }
    case STEP_REMOVE_CONSTRAINT:
        put_part(out, old, old->constraints[s->first].name, old->constraints[s->first].ncols, old->constraints[s->first].cols, colour);
        break;
    case STEP_REMOVE_SEQUENCE:
    case STEP_ADD_SEQUENCE: {
        const TableDef *t = s->kind == STEP_ADD_SEQUENCE ? new : old;
        put_part(out, t, t->sequences[s->first].name, 1, &t->sequences[s->first].col, colour);
        break;
    }
    case STEP_ADD_COLUMNS:
        put_table_name(out, new, colour);
        put_new_columns(out, s);
        break;
    case STEP_ADD_TABLE:
        put_table_name(out, new, colour);
        buf_printf(out, " (%s%s%s)", access[new->access], new->is_event ? ", event" : "", new->schedule ? ", scheduled" : "");
        break;
    case STEP_CHANGE_ACCESS:
        put_table_name(out, new, colour);
        buf_printf(out, " (%s -> %s)", access[old->access], access[new->access]);
        break;
    default: buf_put_str_raw(out, s->name);
    }
}

void plan_print(Buf *out, const Plan *plan, bool colour)
{
    static const char *const remarks[] = {"", " (may break clients)", " (breaks clients)"};
    if (plan->forbidden.len) {
        buf_put_str_raw(out, buf_str(&plan->forbidden));
        buf_put_text(out, "\n");
        return;
    }
    if (plan->nsteps == 0)
        buf_put_text(out, "No changes to tables or functions\n");
    for (uint32_t i = 0; i < plan->nsteps; i++) {
        const Step *s = &plan->steps[i];
        const struct StepInfo *info = &step_infos[s->kind];
        const char *start = info->colour == 'g' ? "\033[1;32m" : info->colour == 'r' ? "\033[1;31m" : "\033[1;33m";
        buf_printf(out, "%s%s%s%s%s: ", colour ? start : "", info->verb, s->name.len ? " " : "", s->name.len ? s->function_kind : "",
                   colour ? "\033[0m" : "");
        put_step(out, s, colour);
        if (s->class_ != CLASS_SAFE)
            buf_printf(out, "%s%s%s", colour ? "\033[33m" : "", remarks[s->class_], colour ? "\033[0m" : "");
        buf_put_text(out, "\n");
    }
}
