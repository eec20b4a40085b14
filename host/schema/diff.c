/* diff.c - from one definition to the next: steps, or reasons.
 *
 * How to read it: a rule compares one aspect of two definitions and either adds steps or forbids. Rules stand in two lists near
 * the end (table_rules for a table present on both sides, module_rules for the rest); what a step means to clients stands in one
 * list (step_infos). Every rule runs, whatever the others found: the publisher sees all reasons at once.
 * The old side is an OldTable: the old definition under the names that the pending migrations give it (diff_old.c). What an operation
 * of theirs permits, a rule permits.
 * Source: schema-and-migration.md 3.4, 3.5, profile `seed`. */
#include "host/schema/diff_int.h"

#include <stdio.h>

static const struct StepInfo {
    const char *name;
    StepClass class_;
} step_infos[STEP_KIND_COUNT] = {
    [STEP_REMOVE_INDEX] = {"RemoveIndex", CLASS_MAY_BREAK}, /* joins over it are refused afterwards */
    [STEP_REMOVE_CONSTRAINT] = {"RemoveConstraint", CLASS_SAFE},
    [STEP_REMOVE_SEQUENCE] = {"RemoveSequence", CLASS_SAFE},
    [STEP_REMOVE_VIEW] = {"RemoveView", CLASS_BREAKS},
    [STEP_REMOVE_RLS] = {"RemoveRowLevelSecurity", CLASS_BREAKS},
    [STEP_REMOVE_TABLE] = {"RemoveTable", CLASS_BREAKS},
    [STEP_RENAME_TABLE] = {"RenameTable", CLASS_BREAKS},
    [STEP_REMOVE_COLUMN] = {"RemoveColumn", CLASS_BREAKS},
    [STEP_RENAME_COLUMN] = {"RenameColumn", CLASS_MAY_BREAK}, /* rows travel without names; queries and bindings have them */
    [STEP_CONVERT_COLUMN] = {"ConvertColumn", CLASS_BREAKS},
    [STEP_CHANGE_COLUMNS] = {"ChangeColumns", CLASS_MAY_BREAK}, /* bindings do not know the new variants */
    [STEP_RESCHEMA_EVENT_TABLE] = {"ReschemaEventTable", CLASS_BREAKS},
    [STEP_ADD_COLUMNS] = {"AddColumns", CLASS_MAY_BREAK}, /* connected clients keep the old prefix */
    [STEP_CHANGE_INDEX_SOURCE] = {"ChangeIndexSourceName", CLASS_SAFE},
    [STEP_CHANGE_TABLE_ACCESSOR] = {"ChangeTableAccessorName", CLASS_SAFE},
    [STEP_CHANGE_COLUMN_ACCESSOR] = {"ChangeColumnAccessorName", CLASS_SAFE},
    [STEP_ADD_TABLE] = {"AddTable", CLASS_SAFE},
    [STEP_REPLACE_ROWS] = {"ReplaceRows", CLASS_BREAKS},
    [STEP_ADD_INDEX] = {"AddIndex", CLASS_SAFE},
    [STEP_ADD_CONSTRAINT] = {"AddConstraint", CLASS_SAFE},
    [STEP_ADD_SEQUENCE] = {"AddSequence", CLASS_SAFE},
    [STEP_ADD_VIEW] = {"AddView", CLASS_SAFE},
    [STEP_CHANGE_ACCESS] = {"ChangeAccess", CLASS_SAFE}, /* MAY_BREAK when it narrows */
    [STEP_ADD_RLS] = {"AddRowLevelSecurity", CLASS_BREAKS},
    [STEP_CHANGE_PRIMARY_KEY] = {"ChangePrimaryKey", CLASS_MAY_BREAK}, /* bindings keep the old key */
    [STEP_UPDATE_VIEW] = {"UpdateView", CLASS_SAFE},
    [STEP_RUN_MIGRATION] = {"RunMigration", CLASS_SAFE},
    [STEP_ADD_FUNCTION] = {"AddFunction", CLASS_SAFE},
    [STEP_CHANGE_FUNCTION] = {"ChangeFunction", CLASS_MAY_BREAK},
    [STEP_REMOVE_FUNCTION] = {"RemoveFunction", CLASS_MAY_BREAK},
    [STEP_DISCONNECT_ALL] = {"DisconnectAllUsers", CLASS_BREAKS},
};

const char *step_kind_name(StepKind kind) { return step_infos[kind].name; }

/* ---- recording -------------------------------------------------------------------------------- */

#define ROOM_FOR_ONE(arena, T, list, n, cap)                                                                                               \
    do {                                                                                                                                   \
        if ((n) == (cap)) {                                                                                                                \
            (cap) = (cap) ? (cap)*2 : 16;                                                                                                  \
            T *more_ = ARENA_ARRAY(arena, T, cap);                                                                                         \
            if (n)                                                                                                                         \
                memcpy(more_, list, (n) * sizeof *more_);                                                                                  \
            (list) = more_;                                                                                                                \
        }                                                                                                                                  \
    } while (0)

Step *add_step(Diff *d, StepKind kind, const TableDef *old, const TableDef *new)
{
    Plan *p = d->plan;
    ROOM_FOR_ONE(&p->arena, Step, p->steps, p->nsteps, d->steps_cap);
    Step *s = &p->steps[p->nsteps++];
    *s = (Step){.kind = kind, .class_ = step_infos[kind].class_, .old_table = old, .new_table = new};
    return s;
}

/* A step about one part of a table: an index, a column, ... */
static Step *add_part(Diff *d, StepKind kind, const TableDef *old, const TableDef *new, uint32_t first)
{
    Step *s = add_step(d, kind, old, new);
    s->first = first;
    s->count = 1;
    return s;
}

void forbid(Diff *d, const char *kind, Str table, Str column, const char *fmt, ...)
{
    char text[ERROR_TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    Arena *a = &d->plan->arena;
    ROOM_FOR_ONE(a, Reason, d->reasons, d->nreasons, d->reasons_cap);
    d->reasons[d->nreasons++] = (Reason){kind, table, column, arena_str(a, str_of(text))};
}

const char *type_text(Diff *d, const Type *t, bool in_full)
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

static char fold(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

bool same_but_case(Str a, Str b)
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

/* ---- rules: columns --------------------------------------------------------------------------- */

/* Rows that a function of the module makes anew, or that nobody keeps, may have any shape. Where a table becomes an event table or the
 * reverse, which is refused, the rest is compared as well: the publisher sees all reasons at once. */
static bool any_shape(const OldTable *old) { return old->replaced || (old->def->is_event && old->successor->is_event); }

static void rule_columns_removed(Diff *d, const OldTable *old, const TableDef *new)
{
    for (uint16_t i = 0; i < old->def->ncols; i++) {
        const OldColumn *c = &old->columns[i];
        const char *type = type_text(d, old->def->cols[i].type, false);
        if (c->dropped) {
            add_part(d, STEP_REMOVE_COLUMN, old->def, new, i)->op = c->dropped;
            continue;
        }
        if (any_shape(old) || table_def_column(new, c->name) >= 0)
            continue;
        const ColumnDef *here = i < new->ncols &&old_column(old, new->cols[i].name) < 0 ? &new->cols[i] : NULL;
        if (here && same_but_case(here->name, c->name))
            forbid(d, "RemoveColumn", old->name, c->name,
                   AT_COLUMN_OF "was removed, and `%.*s` added, which differs only in case; keep the old spelling (is it the case policy? "
                                "ST_CASE(NONE) keeps names as written)",
                   STR_FMT(old->name), STR_FMT(c->name), type, STR_FMT(here->name));
        else if (here && type_equal(here->type, old->def->cols[i].type))
            forbid(d, "RemoveColumn", old->name, c->name,
                   AT_COLUMN_OF "was renamed to `%.*s` or removed; keep the old name, or say ST_RENAME_COLUMN(%.*s, %.*s, %.*s) in an "
                                "ST_MIGRATION",
                   STR_FMT(old->name), STR_FMT(c->name), type, STR_FMT(here->name), STR_FMT(old->name), STR_FMT(c->name),
                   STR_FMT(here->name));
        else
            forbid(d, "RemoveColumn", old->name, c->name,
                   AT_COLUMN_OF "was removed; keep it, even unused, or say ST_DROP_COLUMN(%.*s, %.*s) in an ST_MIGRATION",
                   STR_FMT(old->name), STR_FMT(c->name), type, STR_FMT(old->name), STR_FMT(c->name));
    }
}

static uint16_t columns_left(const OldTable *old)
{
    uint16_t n = 0;
    for (uint16_t i = 0; i < old->def->ncols; i++)
        n += !old->columns[i].dropped;
    return n;
}

static void rule_columns_moved(Diff *d, const OldTable *old, const TableDef *new)
{
    uint16_t place = 0;
    for (uint16_t i = 0; i < old->def->ncols && !any_shape(old); i++) {
        if (old->columns[i].dropped)
            continue;
        int32_t at = table_def_column(new, old->columns[i].name);
        if (at >= 0 && at != place)
            forbid(d, "ReorderTable", old->name, old->columns[i].name,
                   AT_COLUMN "moved from position %u to %d; keep existing columns where they are and append new ones at the end",
                   STR_FMT(old->name), STR_FMT(old->columns[i].name), place, at);
        place++;
    }
}

static void rule_column_types(Diff *d, const OldTable *old, const TableDef *new)
{
    bool grown = false;
    for (uint16_t i = 0; i < old->def->ncols && !any_shape(old); i++) {
        const OldColumn *c = &old->columns[i];
        int32_t at = c->dropped ? -1 : table_def_column(new, c->name);
        if (at < 0)
            continue;
        if (c->converted)
            add_part(d, STEP_CONVERT_COLUMN, old->def, new, (uint32_t)at)->op = c->converted;
        else
            compare_types(d, old, c, old->def->cols[i].type, new->cols[at].type, &grown);
        if (c->renamed)
            add_part(d, STEP_RENAME_COLUMN, old->def, new, (uint32_t)at)->op = c->renamed;
    }
    if (grown && new->ncols <= columns_left(old)) { /* appended columns tell of both */
        Step *s = add_step(d, STEP_CHANGE_COLUMNS, old->def, new);
        s->count = new->ncols;
    }
}

static void rule_columns_added(Diff *d, const OldTable *old, const TableDef *new)
{
    uint16_t kept = columns_left(old);
    uint32_t appended = 0;
    for (uint16_t i = 0; i < new->ncols && !any_shape(old); i++) {
        const ColumnDef *c = &new->cols[i];
        if (old_column(old, c->name) >= 0)
            continue;
        const char *type = type_text(d, c->type, false);
        if (!c->has_default)
            forbid(d, "AddColumn", old->name, c->name,
                   AT_COLUMN_OF "was added without a default, and existing rows need a value; give it one: ST_DEFAULT(%.*s, %.*s, ...)",
                   STR_FMT(old->name), STR_FMT(c->name), type, STR_FMT(old->name), STR_FMT(c->name));
        bool replaces = i < old->def->ncols && table_def_column(new, old->columns[i].name) < 0; /* one that is reported as removed */
        if (i < kept && !replaces) /* where it came between, the others have moved */
            forbid(d, "ReorderTable", old->name, c->name,
                   AT_COLUMN_OF "was added at position %u, before the end of the old columns; append it at the end", STR_FMT(old->name),
                   STR_FMT(c->name), type, i);
        else
            appended += i >= kept;
    }
    if (appended) {
        Step *s = add_step(d, STEP_ADD_COLUMNS, old->def, new);
        s->first = kept;
        s->count = appended;
    }
}

static void rule_event_columns(Diff *d, const OldTable *old, const TableDef *new)
{
    bool same = old->def->ncols == new->ncols;
    for (uint16_t i = 0; same && i < new->ncols; i++)
        same = str_eq(old->def->cols[i].name, new->cols[i].name) && type_equal(old->def->cols[i].type, new->cols[i].type);
    if (old->def->is_event && new->is_event && !same)
        add_step(d, STEP_RESCHEMA_EVENT_TABLE, old->def, new);
}

static void rule_column_accessors(Diff *d, const OldTable *old, const TableDef *new)
{
    for (uint16_t i = 0; i < old->def->ncols && !any_shape(old); i++) {
        int32_t at = old->columns[i].dropped || old->columns[i].renamed ? -1 : table_def_column(new, old->columns[i].name);
        if (at >= 0 && !str_eq(old->def->cols[i].source_name, new->cols[at].source_name))
            add_part(d, STEP_CHANGE_COLUMN_ACCESSOR, old->def, new, (uint32_t)at);
    }
}

/* ---- rules: keys, indexes, sequences ---------------------------------------------------------- */

static bool same_key(const OldTable *old, const TableDef *new)
{
    return old->def->pk < 0
               ? new->pk < 0
               : new->pk >= 0 && !old->columns[old->def->pk].dropped &&str_eq(old->columns[old->def->pk].name, new->cols[new->pk].name);
}

static void rule_primary_key(Diff *d, const OldTable *old, const TableDef *new)
{
    if (same_key(old, new))
        return;
    bool permitted = new->pk < 0 || old->replaced || old->primary_key || any_shape(old);
    if (permitted) {
        add_step(d, STEP_CHANGE_PRIMARY_KEY, old->def, new)->op = old->primary_key;
        return;
    }
    Str column = new->cols[new->pk].name;
    if (old->def->pk < 0)
        forbid(d, "AddPrimaryKey", old->name, column,
               AT_COLUMN
               "became the primary key; existing rows may repeat values: say ST_ADD_PRIMARY_KEY(%.*s, %.*s) in an ST_MIGRATION, which "
               "checks them",
               STR_FMT(old->name), STR_FMT(column), STR_FMT(old->name), STR_FMT(column));
    else
        forbid(d, "AddPrimaryKey", old->name, column,
               AT_COLUMN
               "is the primary key instead of `%.*s`; keep the primary key where it is, or say ST_ADD_PRIMARY_KEY(%.*s, %.*s) in an "
               "ST_MIGRATION",
               STR_FMT(old->name), STR_FMT(column), STR_FMT(old->columns[old->def->pk].name), STR_FMT(old->name), STR_FMT(column));
}

/* The same set of columns? */
static bool same_set(const OldTable *old, const ConstraintDef *a, const TableDef *new, const ConstraintDef *b)
{
    if (a->ncols != b->ncols)
        return false;
    for (uint16_t i = 0; i < a->ncols; i++) {
        bool found = false;
        for (uint16_t k = 0; k < b->ncols; k++)
            found |= columns_kept(old, 1, &a->cols[i], new, 1, &b->cols[k]);
        if (!found)
            return false;
    }
    return true;
}

static void rule_constraints(Diff *d, const OldTable *old, const TableDef *new)
{
    for (uint16_t i = 0; i < old->def->nconstraints; i++) {
        bool kept = false;
        for (uint16_t k = 0; k < new->nconstraints && !kept; k++)
            kept = same_set(old, &old->def->constraints[i], new, &new->constraints[k]);
        if (!kept)
            add_part(d, STEP_REMOVE_CONSTRAINT, old->def, new, i);
    }
    for (uint16_t i = 0; i < new->nconstraints; i++) {
        const ConstraintDef *c = &new->constraints[i];
        bool known = false;
        for (uint16_t k = 0; k < old->def->nconstraints && !known; k++)
            known = same_set(old, &old->def->constraints[k], new, c);
        if (known)
            continue;
        const MigrationOp *op = unique_permitted(d, old, c);
        if (op || any_shape(old)) {
            add_part(d, STEP_ADD_CONSTRAINT, old->def, new, i)->op = op;
            continue;
        }
        if (c->ncols == 1 && new->pk == c->cols[0] && !same_key(old, new))
            continue; /* the primary key has its own reason */
        Str column = new->cols[c->cols[0]].name;
        forbid(d, "AddUniqueConstraint", old->name, column,
               AT_COLUMN
               "%s became unique; existing rows may repeat values: say ST_ADD_UNIQUE(%.*s, %.*s) in an ST_MIGRATION, which checks them",
               STR_FMT(old->name), STR_FMT(column), c->ncols > 1 ? "together with others, it" : "it", STR_FMT(old->name), STR_FMT(column));
    }
}

/* The index that goes on as this one: of the same name with the same algorithm and columns. Names follow from tables and columns, so where
 * those are renamed algorithm and columns alone decide. */
static const IndexDef *index_kept(const OldTable *old, const IndexDef *ix, const TableDef *new)
{
    for (uint16_t i = 0; i < new->nindexes; i++) {
        const IndexDef *b = &new->indexes[i];
        if ((old->renamed || old->columns_renamed || str_eq(b->name, ix->name)) && b->algorithm == ix->algorithm &&
            columns_kept(old, ix->ncols, ix->cols, new, b->ncols, b->cols))
            return b;
    }
    return NULL;
}

/* Does another index of the new version serve every query that the old one did? A hash index has no order. */
static bool index_served(const OldTable *old, const IndexDef *ix, const TableDef *new)
{
    for (uint16_t i = 0; i < new->nindexes; i++) {
        const IndexDef *b = &new->indexes[i];
        if ((b->algorithm == ix->algorithm || b->algorithm != INDEX_HASH) && columns_kept(old, ix->ncols, ix->cols, new, b->ncols, b->cols))
            return true;
    }
    return false;
}

static void rule_indexes(Diff *d, const OldTable *old, const TableDef *new)
{
    for (uint16_t i = 0; i < old->def->nindexes; i++) {
        const IndexDef *ix = &old->def->indexes[i], *b = index_kept(old, ix, new);
        if (!b) {
            Step *s = add_part(d, STEP_REMOVE_INDEX, old->def, new, i);
            if (index_served(old, ix, new))
                s->class_ = CLASS_SAFE;
            continue;
        }
        bool renamed = old->renamed || old->columns_renamed;
        if (!str_eq(b->accessor, ix->accessor) && !renamed)
            forbid(d, "ChangeIndexAccessor", old->name, STR(""),
                   AT_TABLE "accessor of index `%.*s` changed from `%.*s` to `%.*s`; keep the old one", STR_FMT(old->name),
                   STR_FMT(ix->name), STR_FMT(ix->accessor), STR_FMT(b->accessor));
        if (!str_eq(b->source_name, ix->source_name) && !renamed)
            add_part(d, STEP_CHANGE_INDEX_SOURCE, old->def, new, (uint32_t)(b - new->indexes));
    }
    for (uint16_t i = 0; i < new->nindexes; i++) {
        bool known = false;
        for (uint16_t k = 0; k < old->def->nindexes && !known; k++)
            known = index_kept(old, &old->def->indexes[k], new) == &new->indexes[i];
        if (!known)
            add_part(d, STEP_ADD_INDEX, old->def, new, i);
    }
}

static bool same_sequence(const OldTable *old, const SequenceDef *a, const TableDef *new, const SequenceDef *b)
{
    bool named = old->renamed || old->columns_renamed || str_eq(a->name, b->name);
    return named && columns_kept(old, 1, &a->col, new, 1, &b->col) && a->start == b->start && a->min == b->min && a->max == b->max &&
           a->increment == b->increment;
}

static void rule_sequences(Diff *d, const OldTable *old, const TableDef *new)
{
    for (uint16_t i = 0; i < old->def->nsequences; i++) {
        bool kept = false;
        for (uint16_t k = 0; k < new->nsequences && !kept; k++)
            kept = same_sequence(old, &old->def->sequences[i], new, &new->sequences[k]);
        if (!kept)
            add_part(d, STEP_REMOVE_SEQUENCE, old->def, new, i);
    }
    for (uint16_t i = 0; i < new->nsequences; i++) {
        bool known = false;
        for (uint16_t k = 0; k < old->def->nsequences && !known; k++)
            known = same_sequence(old, &old->def->sequences[k], new, &new->sequences[i]);
        if (!known)
            add_part(d, STEP_ADD_SEQUENCE, old->def, new, i);
    }
}

/* ---- rules: the table itself ------------------------------------------------------------------ */

static void rule_renamed(Diff *d, const OldTable *old, const TableDef *new)
{
    if (old->renamed)
        add_step(d, STEP_RENAME_TABLE, old->def, new)->op = old->renamed;
    else if (!str_eq(old->def->source_name, new->source_name))
        add_step(d, STEP_CHANGE_TABLE_ACCESSOR, old->def, new);
}

static void rule_replaced(Diff *d, const OldTable *old, const TableDef *new)
{
    if (old->replaced)
        add_step(d, STEP_REPLACE_ROWS, old->def, new)->op = old->replaced;
}

static void rule_access(Diff *d, const OldTable *old, const TableDef *new)
{
    if (old->def->access != new->access)
        add_step(d, STEP_CHANGE_ACCESS, old->def, new)->class_ = new->access == ACCESS_PRIVATE ? CLASS_MAY_BREAK : CLASS_SAFE;
}

static void rule_event_flag(Diff *d, const OldTable *old, const TableDef *new)
{
    if (old->def->is_event != new->is_event)
        forbid(d, "ChangeTableEventFlag", old->name, STR(""), AT_TABLE "%s an event table; declare a new table under another name",
               STR_FMT(old->name), new->is_event ? "became" : "is no longer");
}

static void rule_schedule(Diff *d, const OldTable *old, const TableDef *new)
{
    const ScheduleDef *a = old->def->schedule, *b = new->schedule;
    Str none = {0};
    if (!a && b)
        forbid(d, "ChangeSchedule", old->name, none, AT_TABLE "became scheduled (function `%.*s`); declare a new scheduled table",
               STR_FMT(old->name), STR_FMT(b->function));
    else if (a && !b)
        forbid(d, "ChangeSchedule", old->name, none, AT_TABLE "is no longer scheduled (function `%.*s`); keep the schedule",
               STR_FMT(old->name), STR_FMT(a->function));
    else if (a && !str_eq(a->function, b->function))
        forbid(d, "ChangeSchedule", old->name, none, AT_TABLE "schedule changed from function `%.*s` to `%.*s`; keep the function's name",
               STR_FMT(old->name), STR_FMT(a->function), STR_FMT(b->function));
    else if (a && !columns_kept(old, 1, &a->at_col, new, 1, &b->at_col))
        forbid(d, "ChangeSchedule", old->name, new->cols[b->at_col].name,
               AT_COLUMN "holds the schedule's time instead of `%.*s`; keep the old column", STR_FMT(old->name),
               STR_FMT(new->cols[b->at_col].name), STR_FMT(old->columns[a->at_col].name));
}

/* ---- rules: the module ------------------------------------------------------------------------ */

static const OldTable *predecessor(const Diff *d, const TableDef *new)
{
    for (uint32_t i = 0; i < d->from->ntables; i++)
        if (d->tables[i].successor == new)
            return &d->tables[i];
    return NULL;
}

/* A table of the new definition whose name differs only in case: an accident of the case policy. */
static const TableDef *case_twin(Diff *d, const OldTable *gone)
{
    for (uint32_t i = 0; i < d->to->ntables; i++)
        if (same_but_case(d->to->tables[i].name, gone->name) && !predecessor(d, &d->to->tables[i]))
            return &d->to->tables[i];
    return NULL;
}

static void rule_tables_removed(Diff *d)
{
    for (uint32_t i = 0; i < d->from->ntables; i++) {
        const OldTable *gone = &d->tables[i];
        if (gone->successor)
            continue;
        if (gone->dropped) {
            add_step(d, STEP_REMOVE_TABLE, gone->def, NULL)->op = gone->dropped;
            continue;
        }
        const TableDef *twin = case_twin(d, gone);
        if (twin)
            forbid(d, "RemoveTable", gone->name, STR(""),
                   AT_TABLE
                   "was removed, and `%.*s` added, which differs only in case; keep the old spelling: ST_TABLE_NAME(table, \"%.*s\"), or "
                   "ST_CASE(NONE) if it is the case policy",
                   STR_FMT(gone->name), STR_FMT(twin->name), STR_FMT(gone->name));
        else
            forbid(d, "RemoveTable", gone->name, STR(""),
                   AT_TABLE
                   "was removed; keep it, even unused, say ST_DROP_TABLE(%.*s) or ST_RENAME_TABLE(%.*s, ...) in an ST_MIGRATION, or "
                   "publish with --delete-data to start afresh",
                   STR_FMT(gone->name), STR_FMT(gone->name), STR_FMT(gone->name));
    }
}

static void rule_tables_added(Diff *d)
{
    for (uint32_t i = 0; i < d->to->ntables; i++)
        if (!predecessor(d, &d->to->tables[i]))
            add_step(d, STEP_ADD_TABLE, NULL, &d->to->tables[i]);
}

/* Reducers and procedures under one form, so that one rule compares them. */
typedef struct FunctionView {
    Str name;
    const Type *params, *ret;
    bool hidden; /* from clients */
    Lifecycle lifecycle;
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
    return (FunctionView){p->name, p->params, p->ret, p->is_private, LIFECYCLE_NONE};
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

/* `hidden`: no client could call it, before (lifecycle reducers, scheduled functions): whatever becomes of it disturbs none. */
static void function_step(Diff *d, StepKind kind, const char *what, Str name, bool hidden)
{
    Step *s = add_step(d, kind, NULL, NULL);
    s->name = name;
    s->function_kind = what;
    if (hidden)
        s->class_ = CLASS_SAFE;
}

static void compare_functions(Diff *d, const char *what, uint32_t nold, uint32_t nnew, FunctionAt get)
{
    FunctionView a, b;
    for (uint32_t i = 0; i < nold; i++) {
        a = get(d->from, i);
        if (!find_function(d->to, nnew, get, a.name, &b))
            function_step(d, STEP_REMOVE_FUNCTION, what, a.name, a.hidden);
        else if (a.hidden != b.hidden || a.lifecycle != b.lifecycle || !type_equal(a.params, b.params) || !type_equal(a.ret, b.ret))
            function_step(d, STEP_CHANGE_FUNCTION, what, a.name, a.hidden);
    }
    for (uint32_t i = 0; i < nnew; i++) {
        b = get(d->to, i);
        if (!find_function(d->from, nold, get, b.name, &a))
            function_step(d, STEP_ADD_FUNCTION, what, b.name, true);
    }
}

static void rule_reducers(Diff *d) { compare_functions(d, "reducer", d->from->nreducers, d->to->nreducers, reducer_at); }
static void rule_procedures(Diff *d) { compare_functions(d, "procedure", d->from->nprocedures, d->to->nprocedures, procedure_at); }

static const ViewDef *view_named(const ModuleDef *def, Str name)
{
    for (uint32_t i = 0; i < def->nviews; i++)
        if (str_eq(def->views[i].name, name))
            return &def->views[i];
    return NULL;
}

/* Option and array may stand for each other; any other difference makes a view anew, and its subscriptions end. */
static bool same_view(const ViewDef *a, const ViewDef *b)
{
    return a->is_anonymous == b->is_anonymous && type_equal(a->params, b->params) && type_equal(a->row, b->row) && a->pk == b->pk &&
           (a->result == VIEW_QUERY) == (b->result == VIEW_QUERY);
}

static void view_step(Diff *d, StepKind kind, Str name) { add_step(d, kind, NULL, NULL)->name = name; }

static void rule_views(Diff *d)
{
    for (uint32_t i = 0; i < d->from->nviews; i++) {
        const ViewDef *a = &d->from->views[i], *b = view_named(d->to, a->name);
        if (b && same_view(a, b)) {
            view_step(d, STEP_UPDATE_VIEW, a->name);
            if (a->is_public != b->is_public) {
                Step *s = add_step(d, STEP_CHANGE_ACCESS, NULL, NULL);
                s->name = a->name;
                s->class_ = b->is_public ? CLASS_SAFE : CLASS_MAY_BREAK;
            }
            continue;
        }
        view_step(d, STEP_REMOVE_VIEW, a->name);
        if (b)
            view_step(d, STEP_ADD_VIEW, b->name);
    }
    for (uint32_t i = 0; i < d->to->nviews; i++)
        if (!view_named(d->from, d->to->views[i].name))
            view_step(d, STEP_ADD_VIEW, d->to->views[i].name);
}

static bool has_rule(const ModuleDef *def, Str sql)
{
    for (uint32_t i = 0; i < def->nrls; i++)
        if (str_eq(def->rls[i].sql, sql))
            return true;
    return false;
}

static void rule_row_level_security(Diff *d)
{
    for (uint32_t i = 0; i < d->from->nrls; i++)
        if (!has_rule(d->to, d->from->rls[i].sql))
            view_step(d, STEP_REMOVE_RLS, d->from->rls[i].sql);
    for (uint32_t i = 0; i < d->to->nrls; i++)
        if (!has_rule(d->from, d->to->rls[i].sql))
            view_step(d, STEP_ADD_RLS, d->to->rls[i].sql);
}

static void rule_migrations(Diff *d)
{
    for (uint32_t i = 0; i < d->pending->n; i++)
        for (uint32_t k = 0; k < d->pending->list[i].nops; k++) {
            const MigrationOp *op = &d->pending->list[i].ops[k];
            if (op->kind != MIGRATE_RUN)
                continue;
            Step *s = add_step(d, STEP_RUN_MIGRATION, NULL, NULL);
            s->name = op->a;
            s->first = op->version;
            s->op = op;
            d->plan->runs = true;
        }
}

/* ---- the rules -------------------------------------------------------------------------------- */

static void (*const table_rules[])(Diff *d, const OldTable *old, const TableDef *new) = {
    rule_renamed,       rule_replaced,      rule_columns_removed,  rule_columns_moved, rule_column_types,
    rule_columns_added, rule_event_columns, rule_column_accessors, rule_primary_key,   rule_constraints,
    rule_indexes,       rule_sequences,     rule_access,           rule_event_flag,    rule_schedule,
};

static void (*const module_rules[])(Diff *d) = {
    rule_tables_removed, rule_tables_added, rule_reducers, rule_procedures, rule_views, rule_row_level_security, rule_migrations,
};

/* ---- where rows come from --------------------------------------------------------------------- */

static void find_sources(Diff *d)
{
    Arena *a = &d->plan->arena;
    TableSource *sources = ARENA_ARRAY(a, TableSource, d->to->ntables + 1);
    for (uint32_t i = 0; i < d->to->ntables; i++) {
        const TableDef *new = &d->to->tables[i];
        const OldTable *old = predecessor(d, new);
        if (!old)
            continue;
        sources[i] = (TableSource){.old = old->def, .rewrite = old->replaced || !same_key(old, new)};
        if (old->replaced)
            continue;
        ColumnSource *columns = ARENA_ARRAY(a, ColumnSource, new->ncols);
        for (uint16_t c = 0; c < new->ncols; c++) {
            columns[c].from = old_column(old, new->cols[c].name);
            columns[c].op = columns[c].from >= 0 ? old->columns[columns[c].from].converted : NULL;
            sources[i].rewrite |= columns[c].op != NULL;
        }
        sources[i].columns = columns;
    }
    d->plan->sources = sources;
}

/* ---- the whole -------------------------------------------------------------------------------- */

static Str step_name(const Step *s)
{
    const TableDef *t = s->new_table ? s->new_table : s->old_table;
    return t ? t->name : s->name;
}

static int step_order(const void *x, const void *y)
{
    const Step *a = x, *b = y;
    if (a->kind != b->kind)
        return (int)a->kind - (int)b->kind;
    if (a->kind == STEP_RUN_MIGRATION) /* as they run */
        return a->op->version != b->op->version ? (a->op->version > b->op->version) - (a->op->version < b->op->version)
                                                : (a->op->position > b->op->position) - (a->op->position < b->op->position);
    int c = str_cmp(step_name(a), step_name(b));
    return c ? c : (a->first > b->first) - (a->first < b->first);
}

static int reason_order(const void *x, const void *y) { return str_cmp(((const Reason *)x)->text, ((const Reason *)y)->text); }

static void take_reasons(Diff *d)
{
    Plan *p = d->plan;
    qsort(d->reasons, d->nreasons, sizeof *d->reasons, reason_order);
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->nreasons; i++) {
        if (n && str_eq(d->reasons[n - 1].text, d->reasons[i].text))
            continue;
        d->reasons[n++] = d->reasons[i];
        buf_put_text(&p->forbidden, n > 1 ? "\n" : "");
        buf_put_str_raw(&p->forbidden, d->reasons[i].text);
    }
    p->nreasons = n;
    p->reasons = d->reasons;
    p->nsteps = 0;
    p->runs = false;
}

void plan_make(Plan *ret_plan, const ModuleDef *from, const ModuleDef *to, const Migrations *pending)
{
    static const Migrations none;
    *ret_plan = (Plan){0};
    Diff d = {.plan = ret_plan, .from = from, .to = to, .pending = pending ? pending : &none};
    read_old(&d);
    for (size_t r = 0; r < COUNT_OF(module_rules); r++)
        module_rules[r](&d);
    for (uint32_t i = 0; i < from->ntables; i++)
        for (size_t r = 0; d.tables[i].successor && r < COUNT_OF(table_rules); r++)
            table_rules[r](&d, &d.tables[i], d.tables[i].successor);
    if (d.nreasons) {
        take_reasons(&d);
        return;
    }
    for (uint32_t i = 0; i < ret_plan->nsteps; i++)
        ret_plan->breaks_clients |= ret_plan->steps[i].class_ == CLASS_BREAKS;
    if (ret_plan->breaks_clients)
        add_step(&d, STEP_DISCONNECT_ALL, NULL, NULL);
    if (ret_plan->nsteps)
        qsort(ret_plan->steps, ret_plan->nsteps, sizeof *ret_plan->steps, step_order);
    find_sources(&d);
}

void plan_done(Plan *plan)
{
    buf_done(&plan->forbidden);
    arena_done(&plan->arena);
    *plan = (Plan){0};
}
