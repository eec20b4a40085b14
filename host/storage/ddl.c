/* ddl.c - the DDL of a database: pure text. What changes between two versions is read off the physical tables
 * themselves (columns, indexes, keys), not off the plan: whatever the plan's wording, PostgreSQL ends up with
 * exactly the tables that the new definition describes. */
#include "host/storage/storage_int.h"

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
        "st_client (identity bytea NOT NULL, connection_id bytea NOT NULL, PRIMARY KEY (identity, connection_id))",
        "st_sequence (table_id bigint NOT NULL, col integer NOT NULL, allocated numeric NOT NULL, PRIMARY KEY (table_id, col)) WITH "
        "(fillfactor = 50)"};
    for (size_t i = 0; i < COUNT_OF(own); i++) {
        buf_printf(out, "CREATE TABLE %s.%s;\n", qschema, own[i]);
        OWN(buf) Buf name_ = {0};
        buf_printf(&name_, "%s.%.*s", qschema, (int)strcspn(own[i], " "), own[i]);
        put_guard(out, buf_cstr(&name_));
    }
}

static void put_column(Buf *out, const PgType *p, const char *column)
{
    buf_printf(out, "%s %s", column, p->sql);
    const PgType *e = p->kind == PG_ARRAY ? p->elem : p;
    if (e->kind == PG_TEXT || e->kind == PG_ENUM)
        buf_put_text(out, " COLLATE \"C\"");
    if (!p->nullable)
        buf_put_text(out, " NOT NULL");
    OWN(buf) Buf check = {0};
    pgtype_check_clause(&check, p, column);
    if (check.len)
        buf_printf(out, " CHECK (%s)", buf_cstr(&check));
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

void ddl_create_table(Buf *out, const DbLayout *l, const TableLayout *t)
{
    (void)l;
    buf_printf(out, "CREATE TABLE %s (", t->qname);
    for (uint16_t i = 0; i < t->ncols; i++) {
        buf_put_text(out, i ? ", " : "");
        put_column(out, t->types[i], t->columns[i]);
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

static bool same_index(const PhysIndex *x, const PhysIndex *y)
{
    return str_eq(x->name, y->name) && x->constraint == y->constraint && x->ncols == y->ncols &&
           !memcmp(x->cols, y->cols, x->ncols * sizeof *x->cols);
}

static bool has_index(const PhysIndex *list, uint32_t n, const PhysIndex *x)
{
    for (uint32_t i = 0; i < n; i++)
        if (same_index(&list[i], x))
            return true;
    return false;
}

void ddl_alter_table(Buf *out, const TableLayout *from, const DbLayout *l, const TableLayout *to)
{
    OWN(arena) Arena a = {0};
    PhysIndex *old, *new;
    uint32_t nold = layout_indexes(&a, from->def, &old), nnew = layout_indexes(&a, to->def, &new);
    for (uint32_t i = 0; i < nold; i++) {
        if (has_index(new, nnew, &old[i]))
            continue;
        OWN(buf) Buf name = {0};
        put_ident(&name, old[i].name);
        if (old[i].constraint)
            buf_printf(out, "ALTER TABLE %s DROP CONSTRAINT %s;\n", to->qname, buf_cstr(&name));
        else
            buf_printf(out, "DROP INDEX %s.%s;\n", l->qschema, buf_cstr(&name));
    }
    if (!from->keyless && to->keyless) { /* the rows are numbered 1.. in the order of the old key */
        OWN(buf) Buf name = {0};
        Str key_name = str_of(arena_sprintf(&a, "%.*s_pkey", STR_FMT(from->name)));
        put_ident(&name, key_name.len > PG_NAME_BYTES_MAX ? STR("st_pkey") : key_name);
        buf_printf(out, "DO $st$ DECLARE c name; BEGIN SELECT conname INTO STRICT c FROM pg_catalog.pg_constraint WHERE conrelid = ");
        put_literal(out, str_of(to->qname));
        buf_printf(out, "::regclass AND contype = 'p'; EXECUTE pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %%I', c); END $st$;\n",
                   to->qname);
        buf_printf(out, "ALTER TABLE %s ADD COLUMN \"st_row\" bigint;\n", to->qname);
        buf_printf(out,
                   "UPDATE %s AS t SET \"st_row\" = n.n FROM (SELECT ctid, row_number() OVER (ORDER BY %s) AS n FROM %s) n WHERE t.ctid = "
                   "n.ctid;\n",
                   to->qname, from->columns[from->key], to->qname);
        buf_printf(out, "ALTER TABLE %s ADD PRIMARY KEY (\"st_row\");\n", to->qname);
    }
    for (uint16_t i = from->def->ncols; i < to->def->ncols; i++) {
        const ColumnDef *c = &to->def->cols[i];
        uint16_t at = (uint16_t)(i + to->keyless);
        buf_printf(out, "ALTER TABLE %s ADD COLUMN ", to->qname);
        put_column(out, to->types[at], to->columns[at]);
        if (c->has_default) {
            Reader r = reader_of(c->default_bsatn);
            buf_put_text(out, " DEFAULT ");
            pgtype_literal(out, to->types[at], &r);
            buf_printf(out, ";\nALTER TABLE %s ALTER COLUMN %s DROP DEFAULT", to->qname, to->columns[at]);
        }
        buf_put_text(out, ";\n");
    }
    for (uint32_t i = 0; i < nnew; i++)
        if (!has_index(old, nold, &new[i]))
            put_index(out, to, &new[i]);
}

void ddl_drop_table(Buf *out, const TableLayout *t) { buf_printf(out, "DROP TABLE %s;\n", t->qname); }

void storage_plan_ddl(Buf *out, Str schema, const Publish *p)
{
    OWN(free) char *name = x_sprintf("%.*s", STR_FMT(schema));
    DbLayout *to = layout_new(p->new_image, name), *from = p->old_image ? layout_new(p->old_image, name) : NULL;
    for (uint32_t i = 0; from && p->reset && i < from->ntables; i++)
        ddl_drop_table(out, &from->tables[i]);
    if (!from)
        buf_printf(out, "CREATE SCHEMA %s;\n", to->qschema);
    for (uint32_t i = 0; i < to->ntables; i++) {
        const TableLayout *old = from && !p->reset ? layout_table(from, to->tables[i].id) : NULL;
        if (old)
            ddl_alter_table(out, old, to, &to->tables[i]);
        else
            ddl_create_table(out, to, &to->tables[i]);
    }
    layout_unref(from);
    layout_unref(to);
}
