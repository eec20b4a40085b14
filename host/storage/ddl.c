/* ddl.c - the DDL of a database: pure text. What changes between two versions is read off the physical tables
 * themselves (columns, indexes, keys), not off the plan: whatever the plan's wording, PostgreSQL ends up with
 * exactly the tables that the new definition describes. */
#include "host/storage/storage_int.h"

#include <stdio.h>

static void put_guard(Buf *out, const char *qname)
{
    buf_printf(out,
               "CREATE TRIGGER st_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s FOR EACH STATEMENT " ST_GUARD_WHEN
               " EXECUTE FUNCTION spacetime.guard();\n",
               qname);
}

void ddl_create_database(Buf *out, const char *qschema, const char *name)
{
    buf_printf(out, "CREATE SCHEMA %s;\n", qschema);
    buf_printf(out, "COMMENT ON SCHEMA %s IS ", qschema);
    OWN(buf) Buf text = {0};
    buf_printf(&text, "spacetime-pg: database %s", name);
    put_literal(out, buf_str(&text));
    buf_put_text(out, ";\n");
    for (int i = 0; i < LOG_SEGMENTS; i++) {
        buf_printf(
            out,
            "CREATE TABLE %s.st_log_%d (first_offset bigint PRIMARY KEY, last_offset bigint NOT NULL, schema_version integer NOT NULL, "
            "checksum bigint NOT NULL, payload bytea NOT NULL) WITH (autovacuum_enabled = off);\n",
            qschema, i);
        buf_printf(out, "ALTER TABLE %s.st_log_%d ALTER payload SET STORAGE EXTERNAL;\n", qschema, i);
        OWN(buf) Buf name_ = {0};
        buf_printf(&name_, "%s.st_log_%d", qschema, i);
        put_guard(out, buf_cstr(&name_));
    }
    static const char *const own[] = {
        "st_state (materialised bigint NOT NULL, schema_version integer NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp()) WITH "
        "(fillfactor = 50)",
        "st_client (identity bytea NOT NULL, connection_id bytea NOT NULL, claims text, PRIMARY KEY (identity, connection_id))",
        "st_sequence (table_id bigint NOT NULL, col integer NOT NULL, allocated numeric NOT NULL, PRIMARY KEY (table_id, col)) WITH "
        "(fillfactor = 50)"};
    for (size_t i = 0; i < COUNT_OF(own); i++) {
        buf_printf(out, "CREATE TABLE %s.%s;\n", qschema, own[i]);
        OWN(buf) Buf name_ = {0};
        buf_printf(&name_, "%s.%.*s", qschema, (int)strcspn(own[i], " "), own[i]);
        put_guard(out, buf_cstr(&name_));
    }
}

/* "NAME type [COLLATE] [NOT NULL]" */
static void put_column_type(Buf *out, const PgType *p)
{
    buf_put_text(out, p->sql);
    const PgType *e = p->kind == PG_ARRAY ? p->elem : p;
    if (e->kind == PG_TEXT || e->kind == PG_ENUM)
        buf_put_text(out, " COLLATE \"C\"");
}

static void put_column(Buf *out, const PgType *p, const char *column)
{
    buf_printf(out, "%s ", column);
    put_column_type(out, p);
    if (!p->nullable)
        buf_put_text(out, " NOT NULL");
}

/* The name of a column's CHECK: as PostgreSQL itself would call it, unless that is too long. */
static void put_check_name(Buf *out, const TableLayout *t, uint16_t column)
{
    OWN(arena) Arena a = {0};
    const char *c = t->columns[column];
    Str name = str_of(arena_sprintf(&a, "%.*s_%.*s_check", STR_FMT(t->name), (int)strlen(c) - 2, c + 1)); /* without its quotes */
    put_ident(out, physical_name(&a, name, false));
}

/* A constraint that the rows which are there keep already, and so need not be read for: new rows are checked like any other. */
static void put_check(Buf *out, const TableLayout *t, uint16_t column)
{
    OWN(buf) Buf check = {0};
    pgtype_check_clause(&check, t->types[column], t->columns[column]);
    if (!check.len)
        return;
    buf_printf(out, "ALTER TABLE %s ADD CONSTRAINT ", t->qname);
    put_check_name(out, t, column);
    buf_printf(out, " CHECK (%s) NOT VALID;\n", buf_cstr(&check));
}

/* Ours on this column, whatever an earlier edition called it. */
static void put_drop_checks(Buf *out, const TableLayout *t, uint16_t column)
{
    buf_printf(out, "DO $st$ DECLARE c name; BEGIN FOR c IN SELECT conname FROM pg_catalog.pg_constraint JOIN pg_catalog.pg_attribute ON "
                    "attrelid = conrelid AND conkey = ARRAY[attnum] WHERE contype = 'c' AND conname ~ '_check[0-9]*$' AND conrelid = ");
    put_literal(out, str_of(t->qname));
    buf_put_text(out, "::regclass AND pg_catalog.quote_ident(attname) IN (");
    put_literal(out, str_of(t->columns[column]));
    buf_printf(out, ", trim(both '\"' from ");
    put_literal(out, str_of(t->columns[column]));
    buf_printf(out, ")) LOOP EXECUTE pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %%I', c); END LOOP; END $st$;\n", t->qname);
}

static void put_index(Buf *out, const TableLayout *t, const PhysIndex *x)
{
    OWN(buf) Buf name = {0};
    put_ident(&name, x->name);
    if (x->constraint)
        buf_printf(out, "ALTER TABLE %s ADD CONSTRAINT %s UNIQUE (", t->qname, buf_cstr(&name));
    else
        buf_printf(out, "CREATE INDEX %s ON %s (", buf_cstr(&name), t->qname);
    for (uint16_t i = 0; i < x->ncols; i++)
        buf_printf(out, "%s%s", i ? ", " : "", t->columns[x->cols[i] + t->keyless]);
    buf_put_text(out, ");\n");
}

void ddl_create_table(Buf *out, const TableLayout *t)
{
    buf_printf(out, "CREATE TABLE %s (", t->qname);
    for (uint16_t i = 0; i < t->ncols; i++) {
        buf_put_text(out, i ? ", " : "");
        put_column(out, t->types[i], t->columns[i]);
        OWN(buf) Buf check = {0};
        pgtype_check_clause(&check, t->types[i], t->columns[i]);
        if (!check.len)
            continue;
        buf_put_text(out, " CONSTRAINT ");
        put_check_name(out, t, i);
        buf_printf(out, " CHECK (%s)", buf_cstr(&check));
    }
    buf_printf(out, ", PRIMARY KEY (%s));\n", t->columns[t->key]);
    OWN(buf) Buf comment = {0};
    buf_printf(&comment, "spacetime-pg: table %.*s, id %u", STR_FMT(t->def->name), t->id);
    buf_printf(out, "COMMENT ON TABLE %s IS ", t->qname);
    put_literal(out, buf_str(&comment));
    buf_put_text(out, ";\n");
    put_guard(out, t->qname);
    OWN(arena) Arena a = {0};
    PhysIndex *x;
    uint32_t n = layout_indexes(&a, t->def, &x);
    for (uint32_t i = 0; i < n; i++)
        put_index(out, t, &x[i]);
}

/* ---- changing a table -------------------------------------------------------------------------- */

/* Where physical column `at` of `to` comes from; -1: it is new. */
static int32_t source_of(const TableChangeDdl *c, uint16_t at)
{
    if (at < c->to->keyless)
        return c->from->keyless ? 0 : -1;
    uint16_t column = (uint16_t)(at - c->to->keyless);
    int32_t from = c->columns ? c->columns[column].from : table_def_column(c->from->def, c->to->def->cols[column].name);
    return from < 0 ? -1 : from + c->from->keyless;
}

static bool goes_on(const TableChangeDdl *c, uint16_t old)
{
    for (uint16_t i = 0; i < c->to->ncols; i++)
        if (source_of(c, i) == old)
            return true;
    return false;
}

/* What becomes of an old index: the new one over the same columns, or NULL. */
static const PhysIndex *successor(const TableChangeDdl *c, const PhysIndex *old, const PhysIndex *list, uint32_t n, const bool *taken)
{
    const PhysIndex *found = NULL;
    for (uint32_t i = 0; i < n; i++) {
        bool same = !taken[i] && list[i].constraint == old->constraint && list[i].ncols == old->ncols;
        for (uint16_t k = 0; same && k < old->ncols; k++)
            same = source_of(c, (uint16_t)(list[i].cols[k] + c->to->keyless)) == old->cols[k] + c->from->keyless;
        if (same && (!found || str_eq(list[i].name, old->name)))
            found = &list[i];
    }
    return found;
}

static void put_quoted(Buf *out, Str name)
{
    OWN(buf) Buf b = {0};
    put_ident(&b, name);
    buf_put_bytes(out, buf_bytes(&b));
}

/* Indexes that go are dropped, those that go on get their new names; `taken` tells which of the new ones are there already. */
static void alter_old_indexes(Buf *out, const TableChangeDdl *c, const PhysIndex *new, uint32_t nnew, bool *taken)
{
    OWN(arena) Arena a = {0};
    PhysIndex *old;
    uint32_t nold = layout_indexes(&a, c->from->def, &old);
    for (uint32_t i = 0; i < nold; i++) {
        const PhysIndex *next = successor(c, &old[i], new, nnew, taken);
        if (next) {
            taken[next - new] = true;
            if (str_eq(next->name, old[i].name))
                continue;
        }
        if (old[i].constraint)
            buf_printf(out, "ALTER TABLE %s %s CONSTRAINT ", c->to->qname, next ? "RENAME" : "DROP");
        else
            buf_printf(out, "%s INDEX %s.", next ? "ALTER" : "DROP", c->qschema);
        put_quoted(out, old[i].name);
        if (next) {
            buf_printf(out, old[i].constraint ? " TO " : " RENAME TO ");
            put_quoted(out, next->name);
        }
        buf_put_text(out, ";\n");
    }
}

static void drop_primary_key(Buf *out, const TableLayout *t)
{
    buf_printf(out, "DO $st$ DECLARE c name; BEGIN SELECT conname INTO STRICT c FROM pg_catalog.pg_constraint WHERE conrelid = ");
    put_literal(out, str_of(t->qname));
    buf_printf(out, "::regclass AND contype = 'p'; EXECUTE pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %%I', c); END $st$;\n",
               t->qname);
}

static void rename_column(Buf *out, const TableLayout *t, const char *from, const char *to)
{
    buf_printf(out, "ALTER TABLE %s RENAME COLUMN %s TO %s;\n", t->qname, from, to);
}

/* Columns change names all at once: one whose new name is still in use steps aside first. */
static void rename_columns(Buf *out, const TableChangeDdl *c)
{
    for (int pass = 0; pass < 2; pass++)
        for (uint16_t i = c->to->keyless; i < c->to->ncols; i++) {
            int32_t from = source_of(c, i);
            if (from < 0 || strcmp(c->from->columns[from], c->to->columns[i]) == 0)
                continue;
            bool in_use = false;
            for (uint16_t k = 0; k < c->from->ncols; k++)
                in_use |= goes_on(c, k) && strcmp(c->from->columns[k], c->to->columns[i]) == 0;
            char aside[32];
            snprintf(aside, sizeof aside, "\"st_aside_%u\"", i);
            if (pass == 0 && in_use)
                rename_column(out, c->to, c->from->columns[from], aside);
            else if (pass == 1)
                rename_column(out, c->to, in_use ? aside : c->from->columns[from], c->to->columns[i]);
        }
}

/* Another form in PostgreSQL: only ever on a table that was emptied. */
static void retype_column(Buf *out, const TableChangeDdl *c, uint16_t at, const PgType *was)
{
    const PgType *is = c->to->types[at];
    const char *column = c->to->columns[at];
    if (strcmp(was->sql, is->sql) != 0) {
        buf_printf(out, "ALTER TABLE %s ALTER COLUMN %s TYPE ", c->to->qname, column);
        put_column_type(out, is);
        buf_printf(out, " USING NULL::%s;\n", is->sql);
    }
    if (was->nullable != is->nullable)
        buf_printf(out, "ALTER TABLE %s ALTER COLUMN %s %s NOT NULL;\n", c->to->qname, column, is->nullable ? "DROP" : "SET");
}

static void alter_columns(Buf *out, const TableChangeDdl *c)
{
    for (uint16_t i = 0; i < c->from->ncols; i++)
        if (!goes_on(c, i))
            buf_printf(out, "ALTER TABLE %s DROP COLUMN %s;\n", c->to->qname, c->from->columns[i]);
    rename_columns(out, c);
    for (uint16_t i = 0; i < c->to->ncols; i++) {
        int32_t from = source_of(c, i);
        if (from < 0)
            continue;
        OWN(buf) Buf was = {0};
        OWN(buf) Buf is = {0};
        pgtype_check_clause(&was, c->from->types[from], c->to->columns[i]);
        pgtype_check_clause(&is, c->to->types[i], c->to->columns[i]);
        bool same = str_eq(buf_str(&was), buf_str(&is));
        if (!same && was.len)
            put_drop_checks(out, c->to, i);
        retype_column(out, c, i, c->from->types[from]);
        if (!same)
            put_check(out, c->to, i);
    }
    for (uint16_t i = 0; i < c->to->ncols; i++) {
        if (source_of(c, i) >= 0 || (i < c->to->keyless && !c->rewrite))
            continue;
        buf_printf(out, "ALTER TABLE %s ADD COLUMN ", c->to->qname);
        put_column(out, c->to->types[i], c->to->columns[i]);
        const ColumnDef *d = i < c->to->keyless ? NULL : &c->to->def->cols[i - c->to->keyless];
        if (d && d->has_default) { /* a constant: no row is written, no row is read */
            Reader r = reader_of(d->default_bsatn);
            buf_put_text(out, " DEFAULT ");
            pgtype_literal(out, c->to->types[i], &r);
            buf_printf(out, ";\nALTER TABLE %s ALTER COLUMN %s DROP DEFAULT", c->to->qname, c->to->columns[i]);
        }
        buf_put_text(out, ";\n");
        put_check(out, c->to, i);
    }
}

static bool key_changes(const TableChangeDdl *c) { return source_of(c, c->to->key) != c->from->key; }

/* A table without a key whose rows are not written again: they are numbered 1.. in the order of the old key. */
static void number_rows(Buf *out, const TableChangeDdl *c)
{
    buf_printf(out, "ALTER TABLE %s ADD COLUMN \"st_row\" bigint;\n", c->to->qname);
    buf_printf(
        out,
        "UPDATE %s AS t SET \"st_row\" = n.n FROM (SELECT ctid, row_number() OVER (ORDER BY %s) AS n FROM %s) n WHERE t.ctid = n.ctid;\n",
        c->to->qname, c->from->columns[c->from->key], c->to->qname);
}

void ddl_alter_before_rows(Buf *out, const TableChangeDdl *c)
{
    OWN(arena) Arena a = {0};
    PhysIndex *new;
    uint32_t nnew = layout_indexes(&a, c->to->def, &new);
    bool *taken = ARENA_ARRAY(&a, bool, nnew + 1);
    if (c->rewrite)
        buf_printf(out, "TRUNCATE %s;\n", c->to->qname);
    alter_old_indexes(out, c, new, nnew, taken);
    if (key_changes(c)) {
        drop_primary_key(out, c->to);
        if (!c->rewrite && c->to->keyless && !c->from->keyless)
            number_rows(out, c);
    }
    alter_columns(out, c);
}

void ddl_alter_after_rows(Buf *out, const TableChangeDdl *c)
{
    OWN(arena) Arena a = {0};
    OWN(buf) Buf ignored = {0};
    PhysIndex *new;
    uint32_t nnew = layout_indexes(&a, c->to->def, &new);
    bool *taken = ARENA_ARRAY(&a, bool, nnew + 1);
    alter_old_indexes(&ignored, c, new, nnew, taken);
    if (key_changes(c))
        buf_printf(out, "ALTER TABLE %s ADD PRIMARY KEY (%s);\n", c->to->qname, c->to->columns[c->to->key]);
    for (uint32_t i = 0; i < nnew; i++)
        if (!taken[i])
            put_index(out, c->to, &new[i]);
}

void ddl_drop_table(Buf *out, const TableLayout *t) { buf_printf(out, "DROP TABLE %s;\n", t->qname); }

/* Tables change names all at once: one whose new name is still in use steps aside first. `out` gets both passes. */
void ddl_rename_tables(Buf *out, const DbLayout *from, const DbLayout *to)
{
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < to->ntables; i++) {
            const TableLayout *new = &to->tables[i], *old = layout_table(from, new->id);
            if (!old || str_eq(old->name, new->name))
                continue;
            bool in_use = false;
            for (uint32_t k = 0; k < from->ntables; k++)
                in_use |= layout_table(to, from->tables[k].id) && str_eq(from->tables[k].name, new->name);
            if (pass == 0 && in_use)
                buf_printf(out, "ALTER TABLE %s RENAME TO \"st_aside_%u\";\n", old->qname, new->id);
            if (pass == 0)
                continue;
            if (in_use)
                buf_printf(out, "ALTER TABLE %s.\"st_aside_%u\" RENAME TO ", to->qschema, new->id);
            else
                buf_printf(out, "ALTER TABLE %s RENAME TO ", old->qname);
            put_quoted(out, new->name);
            buf_put_text(out, ";\n");
        }
}

/* By table id: which change a table that goes on goes through. */
bool ddl_change_of(TableChangeDdl *ret, const DbLayout *from, const DbLayout *to, const TableLayout *t, const Plan *plan)
{
    const TableLayout *old = from ? layout_table(from, t->id) : NULL;
    if (!old)
        return false;
    *ret = (TableChangeDdl){.from = old, .to = t, .qschema = to->qschema};
    const TableSource *source = plan && plan->sources ? &plan->sources[t->def - to->image.def->tables] : NULL;
    if (source && source->old) {
        ret->columns = source->columns;
        ret->rewrite = source->rewrite;
    }
    return true;
}

void storage_plan_ddl(Buf *out, Str schema, const Publish *p)
{
    OWN(free) char *name = x_sprintf("%.*s", STR_FMT(schema));
    DbLayout *to = layout_new(p->new_image, name), *from = p->old_image && !p->reset ? layout_new(p->old_image, name) : NULL;
    DbLayout *gone = p->old_image && p->reset ? layout_new(p->old_image, name) : NULL;
    for (uint32_t i = 0; gone && i < gone->ntables; i++)
        ddl_drop_table(out, &gone->tables[i]);
    for (uint32_t i = 0; from && i < from->ntables; i++)
        if (!layout_table(to, from->tables[i].id))
            ddl_drop_table(out, &from->tables[i]);
    if (!p->old_image)
        buf_printf(out, "CREATE SCHEMA %s;\n", to->qschema);
    if (from)
        ddl_rename_tables(out, from, to);
    for (uint32_t i = 0; i < to->ntables; i++) {
        TableChangeDdl c;
        if (!ddl_change_of(&c, from, to, &to->tables[i], p->plan)) {
            ddl_create_table(out, &to->tables[i]);
            continue;
        }
        ddl_alter_before_rows(out, &c);
        if (c.rewrite)
            buf_printf(out, "-- rows of %s are written again from memory\n", c.to->qname);
        ddl_alter_after_rows(out, &c);
    }
    layout_unref(gone);
    layout_unref(from);
    layout_unref(to);
}
