/* diff_old.c - the old definition under the names that the pending migrations give its parts.
 *
 * Operations are applied in order: each names tables and columns as the ones before have left them. A wrong operation is a
 * reason of kind "Migration" and changes nothing. */
#include "host/schema/diff_int.h"

#define AT_OP "migration %u (%.*s), %s: "

static OldTable *table_now(Diff *d, Str name)
{
    for (uint32_t i = 0; i < d->from->ntables; i++)
        if (!d->tables[i].dropped && str_eq(d->tables[i].name, name))
            return &d->tables[i];
    return NULL;
}

int32_t old_column(const OldTable *t, Str name)
{
    for (uint16_t i = 0; i < t->def->ncols; i++)
        if (!t->columns[i].dropped && str_eq(t->columns[i].name, name))
            return i;
    return -1;
}

static const TableDef *new_table(const Diff *d, Str name)
{
    const TableDef *t = module_def_table(d->to, name);
    return t && str_eq(t->name, name) ? t : NULL;
}

static void rename_table(Diff *d, const Migration *m, OldTable *t, const MigrationOp *op)
{
    if (table_now(d, op->a)) {
        forbid(d, "Migration", t->name, STR(""), AT_OP "there is a table `%.*s` already; rename or drop that one first", m->version,
               STR_FMT(m->title), migration_op_name(op->kind), STR_FMT(op->a));
        return;
    }
    t->name = op->a;
    t->renamed = op;
}

static void on_column(Diff *d, const Migration *m, OldTable *t, const MigrationOp *op)
{
    int32_t at = old_column(t, op->a);
    if (at < 0) {
        forbid(d, "Migration", t->name, op->a, AT_OP "table `%.*s` has no column `%.*s` at that point", m->version, STR_FMT(m->title),
               migration_op_name(op->kind), STR_FMT(t->name), STR_FMT(op->a));
        return;
    }
    OldColumn *c = &t->columns[at];
    const Type *type = t->def->cols[at].type;
    switch (op->kind) {
    case MIGRATE_RENAME_COLUMN:
        if (old_column(t, op->b) >= 0) {
            forbid(d, "Migration", t->name, op->a, AT_OP "table `%.*s` has a column `%.*s` already", m->version, STR_FMT(m->title),
                   migration_op_name(op->kind), STR_FMT(t->name), STR_FMT(op->b));
            return;
        }
        c->name = op->b;
        c->renamed = op;
        t->columns_renamed = true;
        return;
    case MIGRATE_DROP_COLUMN: c->dropped = op; return;
    case MIGRATE_CONVERT_COLUMN:
        if (!type_equal(op->type, type))
            forbid(d, "Migration", t->name, op->a,
                   AT_OP
                   "column `%.*s` of table `%.*s` is stored as %s, the conversion takes %s; correct its old type, or publish the versions "
                   "in between first",
                   m->version, STR_FMT(m->title), migration_op_name(op->kind), STR_FMT(op->a), STR_FMT(t->name), type_text(d, type, true),
                   type_text(d, op->type, true));
        c->converted = op;
        return;
    case MIGRATE_ADD_PRIMARY_KEY:
        t->primary_key = op;
        t->primary_key_column = (uint16_t)at;
        return;
    default: return; /* ADD_UNIQUE: looked up by unique_permitted */
    }
}

static void apply(Diff *d, const Migration *m, const MigrationOp *op)
{
    if (op->kind == MIGRATE_RUN)
        return;
    OldTable *t = table_now(d, op->table);
    if (!t) {
        forbid(d, "Migration", op->table, STR(""), AT_OP "there is no table `%.*s` at that point", m->version, STR_FMT(m->title),
               migration_op_name(op->kind), STR_FMT(op->table));
        return;
    }
    if (op->kind == MIGRATE_RENAME_TABLE)
        rename_table(d, m, t, op);
    else if (op->kind == MIGRATE_DROP_TABLE)
        t->dropped = op;
    else if (op->kind == MIGRATE_REPLACE_ROWS)
        t->replaced = op;
    else
        on_column(d, m, t, op);
}

static const Migration *migration_of(const Diff *d, const MigrationOp *op)
{
    for (uint32_t i = 0; i < d->pending->n; i++)
        if (d->pending->list[i].version == op->version)
            return &d->pending->list[i];
    BUG("an operation of no pending migration");
}

static void wrong(Diff *d, const MigrationOp *op, const OldTable *t, const char *what)
{
    const Migration *m = migration_of(d, op);
    forbid(d, "Migration", t->name, op->a, AT_OP "table `%.*s`%s%.*s%s %s", m->version, STR_FMT(m->title), migration_op_name(op->kind),
           STR_FMT(t->name), op->a.len ? ", column `" : "", STR_FMT(op->a), op->a.len ? "`:" : ":", what);
}

/* What is said of a table must lead to the new definition. */
static void check_table(Diff *d, const OldTable *t)
{
    const TableDef *new = t->successor;
    if (t->dropped) {
        if (new_table(d, t->name))
            wrong(d, t->dropped, t, "the module still declares it; remove its declaration, or the operation");
        return;
    }
    if (t->renamed && !new)
        wrong(d, t->renamed, t, "the module does not declare it under its new name");
    if (t->replaced && !new)
        wrong(d, t->replaced, t, "the module does not declare it");
    for (uint16_t i = 0; new &&i < t->def->ncols; i++) {
        const OldColumn *c = &t->columns[i];
        int32_t at = table_def_column(new, c->name);
        if (c->dropped && at >= 0)
            wrong(d, c->dropped, t, "the module still declares it; remove its declaration, or the operation");
        if (c->renamed && !c->dropped && at < 0)
            wrong(d, c->renamed, t, "the module does not declare it under its new name");
        if (c->converted && !c->dropped && at >= 0 && type_equal(t->def->cols[i].type, new->cols[at].type))
            wrong(d, c->converted, t, "its type does not change; remove the operation");
    }
    if (t->primary_key && new && (new->pk < 0 || !str_eq(new->cols[new->pk].name, t->columns[t->primary_key_column].name)))
        wrong(d, t->primary_key, t, "the module does not declare it as the primary key");
}

static void check_runs(Diff *d)
{
    const MigrationOp *replaced = NULL;
    bool runs = false;
    for (uint32_t i = 0; i < d->from->ntables; i++)
        replaced = d->tables[i].replaced ? d->tables[i].replaced : replaced;
    for (uint32_t i = 0; i < d->pending->n; i++)
        for (uint32_t k = 0; k < d->pending->list[i].nops; k++)
            runs |= d->pending->list[i].ops[k].kind == MIGRATE_RUN;
    if (replaced && !runs)
        for (uint32_t i = 0; i < d->from->ntables; i++)
            if (d->tables[i].replaced)
                wrong(d, d->tables[i].replaced, &d->tables[i], "no function of the migration fills it; add ST_RUN(function)");
}

static void check_uniques(Diff *d)
{
    for (uint32_t i = 0; i < d->pending->n; i++)
        for (uint32_t k = 0; k < d->pending->list[i].nops; k++) {
            const MigrationOp *op = &d->pending->list[i].ops[k];
            OldTable *t = op->kind == MIGRATE_ADD_UNIQUE ? table_now(d, op->table) : NULL;
            if (!t || !t->successor)
                continue;
            bool declared = false;
            for (uint16_t c = 0; c < t->successor->nconstraints; c++)
                for (uint16_t j = 0; j < t->successor->constraints[c].ncols; j++)
                    declared |= str_eq(t->successor->cols[t->successor->constraints[c].cols[j]].name, op->a);
            if (!declared)
                wrong(d, op, t, "the module does not declare it as unique");
        }
}

void read_old(Diff *d)
{
    Arena *a = &d->plan->arena;
    d->tables = ARENA_ARRAY(a, OldTable, d->from->ntables + 1);
    for (uint32_t i = 0; i < d->from->ntables; i++) {
        const TableDef *def = &d->from->tables[i];
        OldTable *t = &d->tables[i];
        t->def = def;
        t->name = def->name;
        t->columns = ARENA_ARRAY(a, OldColumn, def->ncols + 1);
        for (uint16_t c = 0; c < def->ncols; c++)
            t->columns[c].name = def->cols[c].name;
    }
    for (uint32_t i = 0; i < d->pending->n; i++)
        for (uint32_t k = 0; k < d->pending->list[i].nops; k++)
            apply(d, &d->pending->list[i], &d->pending->list[i].ops[k]);
    for (uint32_t i = 0; i < d->from->ntables; i++)
        if (!d->tables[i].dropped)
            d->tables[i].successor = new_table(d, d->tables[i].name);
    for (uint32_t i = 0; i < d->from->ntables; i++)
        check_table(d, &d->tables[i]);
    check_runs(d);
    check_uniques(d);
}

bool columns_kept(const OldTable *t, uint16_t n, const uint16_t *old, const TableDef *new, uint16_t m, const uint16_t *cols)
{
    if (n != m)
        return false;
    for (uint16_t i = 0; i < n; i++)
        if (t->columns[old[i]].dropped || !str_eq(t->columns[old[i]].name, new->cols[cols[i]].name))
            return false;
    return true;
}

const MigrationOp *unique_permitted(const Diff *d, const OldTable *t, const ConstraintDef *c)
{
    const TableDef *new = t->successor;
    if (t->primary_key && c->ncols == 1 && c->cols[0] == new->pk)
        return t->primary_key;
    for (uint32_t i = 0; i < d->pending->n; i++)
        for (uint32_t k = 0; k < d->pending->list[i].nops; k++) {
            const MigrationOp *op = &d->pending->list[i].ops[k];
            if (op->kind != MIGRATE_ADD_UNIQUE || !str_eq(op->table, t->name))
                continue;
            for (uint16_t j = 0; j < c->ncols; j++)
                if (str_eq(op->a, new->cols[c->cols[j]].name))
                    return op;
        }
    return NULL;
}
