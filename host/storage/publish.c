/* publish.c - the publish transaction: fence, DDL, backfill, catalog, first log row, COMMIT; all of it or nothing.
 *
 *   prepared ──run──▶ committed ──▶ layout swapped, database resumes with the new version
 *       │                 ▲
 *       │ COMMIT lost ──▶ unknown ──(catalog asked under the publishers' lock)──▶ committed or rolled back
 *       └─ any failure ──▶ rolled back, old version resumes
 *
 * The advisory lock is held by the transaction itself, so whoever gets it afterwards knows that the old backend has
 * ended, one way or the other (rules 37, 40). */
#include "host/storage/storage_int.h"

#include "host/base/fault.h"

#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <zlib.h>

enum { PUBLISH_LOCK = 1398032456, ROWS_BYTES = 1 << 20 };

static void reversed(uint8_t out[32], const uint8_t in[32])
{
    for (int i = 0; i < 32; i++)
        out[i] = in[31 - i];
}

static void put_lock_key(Buf *sql, const uint8_t identity[32]) { buf_printf(sql, "%d, %d", PUBLISH_LOCK, (int)load_u32(identity)); }

/* A schema name that is free: the database's own, or mapped when PostgreSQL or somebody has it already. */
static Status choose_schema(PGconn *pg, const Publish *p, char out[64], Error *err)
{
    char hex[65];
    uint8_t id[32];
    reversed(id, p->identity);
    hex_encode(hex, id, 32);
    OWN(arena) Arena a = {0};
    Str plain = p->name.len ? physical_name(&a, p->name, false) : str_of(arena_sprintf(&a, "db_%.16s", hex));
    for (int attempt = 0; attempt < 2; attempt++) {
        if (attempt == 0)
            snprintf(out, 64, "%.*s", STR_FMT(plain));
        else
            snprintf(out, 64, "%.*s_%.12s", (int)MIN(plain.len, (size_t)48), plain.ptr, hex);
        Params q = {0};
        params_text(&q, str_of(out));
        OWN(result) PGresult *r = NULL;
        TRY(pg_query(pg, &r, err,
                     "SELECT 1 FROM pg_namespace WHERE nspname = $1 UNION ALL SELECT 1 FROM spacetime.databases WHERE schema_name = $1", &q,
                     false));
        if (!PQntuples(r))
            return S_OK;
    }
    return FAIL(err, S_CONFLICT, "PostgreSQL has a schema \"%s\" already, and we adopt none", out);
}

static Status exec_buf(PGconn *pg, Buf *sql, Error *err)
{
    if (!sql->len)
        return S_OK;
    Status code = pg_exec(pg, NULL, err, buf_cstr(sql));
    buf_reset(sql);
    return code;
}

/* A test rig's fault point: the step fails, or the connection breaks here. */
static Status fault_on(PGconn *pg, const char *name, Error *err)
{
    const char *action = fault_at(name);
    if (strcmp(action, "disconnect") == 0)
        shutdown(PQsocket(pg), SHUT_RDWR);
    return strcmp(action, "error") == 0 ? FAIL(err, S_INTERNAL, "fault %s", name) : S_OK;
}

/* Those that are gone leave, and names that others take over are free for them. */
static Status catalog_forget_tables(PGconn *pg, uint64_t id, const DbLayout *l, Error *err)
{
    const ModuleDef *def = l->image.def;
    OWN(buf) Buf sql = {0};
    buf_printf(&sql, "DELETE FROM spacetime.tables WHERE database_id = %llu AND id <> ALL (ARRAY[", (unsigned long long)id);
    for (uint32_t i = 0; i < def->ntables; i++)
        buf_printf(&sql, "%s%u", i ? "," : "", l->image.ids[i]);
    buf_printf(&sql, "]::bigint[]); UPDATE spacetime.tables SET name = '#' || id WHERE database_id = %llu", (unsigned long long)id);
    return pg_exec(pg, NULL, err, buf_cstr(&sql));
}

static Status catalog_tables(PGconn *pg, uint64_t id, const DbLayout *l, Error *err)
{
    const ModuleDef *def = l->image.def;
    TRY(catalog_forget_tables(pg, id, l, err));
    for (uint32_t i = 0; i < def->ntables; i++) {
        const TableDef *d = &def->tables[i];
        const TableLayout *t = layout_table(l, l->image.ids[i]);
        OWN(buf) Buf columns = {0};
        OWN(arena) Arena a = {0};
        buf_put_u8(&columns, '{');
        for (uint16_t c = 0; c < d->ncols; c++) { /* identifiers need no escapes in JSON; quotes are doubled by put_ident only */
            buf_printf(&columns, "%s\"%.*s\": \"%.*s\"", c ? ", " : "", STR_FMT(d->cols[c].name),
                       STR_FMT(physical_name(&a, d->cols[c].name, true)));
        }
        buf_put_u8(&columns, '}');
        Params p = {0};
        params_i64(&p, l->image.ids[i]);
        params_i64(&p, (int64_t)id);
        params_text(&p, d->name);
        if (t)
            params_text(&p, t->name);
        else
            params_null(&p, 25);
        if (t)
            params_text(&p, str_of(t->qname));
        else
            params_null(&p, 25);
        if (t)
            params_text(&p, t->keyless ? STR("st_row") : physical_name(&a, d->cols[d->pk].name, true));
        else
            params_null(&p, 25);
        params_text(&p, buf_str(&columns));
        params_text(&p, d->access == ACCESS_PUBLIC ? STR("t") : STR("f"));
        if (pg_query(pg, NULL, err,
                     "INSERT INTO spacetime.tables (id, database_id, name, physical_name, relation, physical_key, columns, is_public)"
                     " VALUES ($1, $2, $3, $4, $5::regclass, $6, $7::jsonb, $8::boolean)"
                     " ON CONFLICT (id) DO UPDATE SET name = excluded.name, physical_name = excluded.physical_name, relation = "
                     "excluded.relation, physical_key = excluded.physical_key, columns = excluded.columns, is_public = excluded.is_public",
                     &p, false) != S_OK)
            return CONTEXT(err, "catalog entry of table %.*s", STR_FMT(d->name));
    }
    return S_OK;
}

static Status create_database(PGconn *pg, const Publish *p, uint64_t *ret_id, char schema[64], Error *err)
{
    uint8_t id[32], owner[32];
    reversed(id, p->identity);
    reversed(owner, p->owner);
    Params same = {0};
    params_bytes(&same, bytes_of(id, 32));
    OWN(result) PGresult *taken = NULL, *r = NULL;
    TRY(pg_query(pg, &taken, err, "SELECT 1 FROM spacetime.databases WHERE identity = $1", &same, false));
    if (PQntuples(taken))
        return FAIL(err, S_CONFLICT, "a database with this identity exists already");
    TRY(choose_schema(pg, p, schema, err));
    OWN(buf) Buf sql = {0};
    OWN(buf) Buf q = {0};
    put_ident(&q, str_of(schema));
    ddl_create_database(&sql, buf_cstr(&q), schema);
    if (exec_buf(pg, &sql, err) != S_OK)
        return CONTEXT(err, "creating schema \"%s\"", schema);
    Params d = {0};
    params_bytes(&d, bytes_of(id, 32));
    params_bytes(&d, bytes_of(owner, 32));
    params_text(&d, str_of(schema));
    params_i64(&d, p->new_image->version);
    TRY(pg_query(pg, &r, err,
                 "INSERT INTO spacetime.databases (identity, owner, schema_name, schema_oid, schema_version)"
                 " SELECT $1, $2, $3, n.oid, $4 FROM pg_namespace n WHERE n.nspname = $3 RETURNING id",
                 &d, false));
    *ret_id = (uint64_t)pg_i64(r, 0, 0);
    Params f = {0};
    params_i64(&f, (int64_t)*ret_id);
    TRY(pg_query(pg, NULL, err, "INSERT INTO spacetime.fence (database_id, epoch) VALUES ($1, 0)", &f, false));
    return p->name.len ? catalog_name_insert(pg, *ret_id, p->name, p->owner, err) : S_OK;
}

static Status first_record(PGconn *pg, const DbLayout *l, Bytes record, Error *err)
{
    TRY(commit_validate(record, &l->image, err));
    OWN(buf) Buf payload = {0};
    buf_put_blob(&payload, record);
    Params p = {0};
    params_i64(&p, 1);
    params_i64(&p, 1);
    params_i64(&p, l->image.version);
    params_i64(&p, (int64_t)crc32(0, payload.ptr, (uInt)payload.len));
    params_bytes(&p, buf_bytes(&payload));
    OWN(buf) Buf sql = {0};
    buf_printf(&sql, "INSERT INTO %s.st_log_0 VALUES ($1, $2, $3, $4, $5)", l->qschema);
    return pg_query(pg, NULL, err, buf_cstr(&sql), &p, false);
}

typedef struct Attempt {
    uint64_t id;
    char schema[64];
    DbLayout *next;
    Buf ddl; /* all of it, for the history */
    bool commit_sent;
} Attempt;

/* ---- rows from memory ---- */

static Status put_copy_row(Buf *out, const TableLayout *t, Reader *rows, Error *err)
{
    Bytes row;
    uint64_t number;
    TRY(commit_next_row(rows, t->def, &row, &number, err));
    TRY(layout_row_storable(t, row, err));
    Reader r = reader_of(row);
    be_put_u16(out, t->ncols);
    for (uint16_t i = 0; i < t->ncols; i++)
        pgtype_encode(out, t->types[i], &r);
    return S_OK;
}

static Status copy_data(PGconn *pg, const Buf *data, Error *err)
{
    if (PQputCopyData(pg, (const char *)data->ptr, (int)data->len) == 1)
        return S_OK;
    return FAIL(err, S_UNAVAILABLE, "COPY: %s", PQerrorMessage(pg));
}

static Status copy_pieces(PGconn *pg, const Publish *p, const TableLayout *t, Error *err)
{
    static const char head[19] = "PGCOPY\n\377\r\n"; /* signature, flags, no extension */
    OWN(buf) Buf data = {0};
    OWN(buf) Buf rows = {0};
    buf_put(&data, head, sizeof head);
    for (uint64_t cursor = 0; cursor != UINT64_MAX;) {
        uint32_t n;
        buf_reset(&rows);
        TRY(fault_on(pg, "publish.rewrite", err));
        TRY(p->rows(p->user, t->id, &cursor, &rows, &n, err));
        Reader r = reader_of(buf_bytes(&rows));
        for (uint32_t i = 0; i < n; i++)
            TRY(put_copy_row(&data, t, &r, err));
        if (reader_left(&r))
            return FAIL(err, S_INTERNAL, "a piece of rows is longer than its %u rows", n);
        TRY(copy_data(pg, &data, err));
        buf_reset(&data);
    }
    be_put_u16(&data, 0xffff);
    return copy_data(pg, &data, err);
}

static Status fill_table(PGconn *pg, const Publish *p, const TableLayout *t, Error *err)
{
    if (!p->rows)
        return FAIL(err, S_INTERNAL, "table %.*s is to be written from memory, and nobody gives its rows", STR_FMT(t->def->name));
    OWN(buf) Buf sql = {0};
    buf_printf(&sql, "COPY %s (", t->qname);
    for (uint16_t i = 0; i < t->ncols; i++)
        buf_printf(&sql, "%s%s", i ? ", " : "", t->columns[i]);
    buf_put_text(&sql, ") FROM STDIN (FORMAT binary)");
    OWN(result) PGresult *begin = PQexec(pg, buf_cstr(&sql));
    if (PQresultStatus(begin) != PGRES_COPY_IN)
        return PG_FAIL(err, pg, begin, t->qname);
    Status status = copy_pieces(pg, p, t, err);
    if (PQputCopyEnd(pg, status == S_OK ? NULL : "given up") != 1 && status == S_OK)
        status = FAIL(err, S_UNAVAILABLE, "COPY: %s", PQerrorMessage(pg));
    for (PGresult *r; (r = PQgetResult(pg)) != NULL; PQclear(r)) /* all of them, or the connection is good for nothing */
        if (PQresultStatus(r) != PGRES_COMMAND_OK && status == S_OK)
            status = PG_FAIL(err, pg, r, t->qname);
    return status;
}

/* ---- DDL ---- */

static Status run_ddl(PGconn *pg, Attempt *t, Buf *sql, const char *what, Str table, Error *err)
{
    if (!sql->len)
        return S_OK;
    TRY(fault_on(pg, "publish.ddl", err));
    buf_put_bytes(&t->ddl, buf_bytes(sql));
    if (exec_buf(pg, sql, err) != S_OK)
        return CONTEXT(err, "%s table %.*s", what, STR_FMT(table));
    return S_OK;
}

static bool is_rewritten(const Publish *p, uint32_t id)
{
    for (uint32_t i = 0; i < p->nrewrite; i++)
        if (p->rewrite[i] == id)
            return true;
    return false;
}

static bool change_of(TableChangeDdl *ret, const Publish *p, const DbLayout *old, const DbLayout *next, const TableLayout *to)
{
    if (p->reset || !ddl_change_of(ret, old, next, to, p->plan))
        return false;
    ret->rewrite = is_rewritten(p, to->id);
    return true;
}

/* All tables that change or go, in one statement and one order, before anything is done to any of them. */
static Status lock_tables(PGconn *pg, const Publish *p, const DbLayout *old, const DbLayout *next, Error *err)
{
    OWN(buf) Buf sql = {0};
    for (uint32_t i = 0; i < old->ntables; i++) {
        const TableLayout *from = &old->tables[i], *to = layout_table(next, from->id);
        OWN(buf) Buf ddl = {0};
        TableChangeDdl c;
        if (to && change_of(&c, p, old, next, to)) {
            ddl_alter_before_rows(&ddl, &c);
            ddl_alter_after_rows(&ddl, &c);
            if (!ddl.len && str_eq(from->name, to->name) && !c.rewrite)
                continue;
        }
        buf_printf(&sql, "%s%s", sql.len ? ", " : "LOCK TABLE ", from->qname);
    }
    if (!sql.len)
        return S_OK;
    buf_put_text(&sql, " IN ACCESS EXCLUSIVE MODE");
    TRY(fault_on(pg, "publish.lock", err));
    return pg_exec(pg, NULL, err, buf_cstr(&sql));
}

static Status write_ddl(PGconn *pg, const Publish *p, const DbLayout *old, Attempt *t, Error *err)
{
    OWN(buf) Buf sql = {0};
    const DbLayout *next = t->next;
    if (old)
        TRY(lock_tables(pg, p, old, next, err));
    for (uint32_t i = 0; old && i < old->ntables; i++)
        if (p->reset || !layout_table(next, old->tables[i].id)) {
            ddl_drop_table(&sql, &old->tables[i]);
            TRY(run_ddl(pg, t, &sql, "dropping", old->tables[i].def->name, err));
        }
    if (old && !p->reset)
        ddl_rename_tables(&sql, old, next);
    TRY(run_ddl(pg, t, &sql, "renaming", STR(""), err));
    for (uint32_t i = 0; i < next->ntables; i++) {
        const TableLayout *to = &next->tables[i];
        TableChangeDdl c;
        if (!change_of(&c, p, old, next, to)) {
            ddl_create_table(&sql, to);
            TRY(run_ddl(pg, t, &sql, "creating", to->def->name, err));
            if (!is_rewritten(p, to->id)) /* a migration has put rows into a new table */
                continue;
            if (fill_table(pg, p, to, err) != S_OK)
                return CONTEXT(err, "filling table %.*s", STR_FMT(to->def->name));
            continue;
        }
        ddl_alter_before_rows(&sql, &c);
        TRY(run_ddl(pg, t, &sql, "changing", to->def->name, err));
        if (c.rewrite && fill_table(pg, p, to, err) != S_OK)
            return CONTEXT(err, "filling table %.*s", STR_FMT(to->def->name));
        ddl_alter_after_rows(&sql, &c);
        TRY(run_ddl(pg, t, &sql, "changing", to->def->name, err));
    }
    return S_OK;
}

/* ---- the catalog ---- */

/* Where auto-increment columns stand: those of the new version, and no others. */
static Status write_sequences(PGconn *pg, const Publish *p, const DbLayout *next, Error *err)
{
    OWN(buf) Buf sql = {0};
    buf_printf(&sql, "DELETE FROM %s.st_sequence;", next->qschema);
    Reader r = reader_of(p->sequences);
    for (uint16_t i = 0; i < p->nsequences; i++) {
        CommitSequence s;
        TRY(commit_read_sequence(&r, &s, err));
        const TableLayout *t = layout_table(next, s.table_id);
        if (!t || s.column >= t->def->ncols)
            return FAIL(err, S_INVALID, "a sequence of table %u, column %u, which the new version does not have", s.table_id, s.column);
        buf_printf(&sql, "INSERT INTO %s.st_sequence (table_id, col, allocated) VALUES (%u, %u, ", next->qschema, s.table_id, s.column);
        uint8_t wide[16];
        memcpy(wide, &s.allocated, sizeof wide);
        pgwide_put_decimal(&sql, pgwide_load(wide, 16, true));
        buf_put_text(&sql, ");");
    }
    return pg_exec(pg, NULL, err, buf_cstr(&sql));
}

static Status begin(PGconn *pg, const Publish *p, Error *err)
{
    TRY(pg_exec(pg, NULL, err, "BEGIN; SET LOCAL lock_timeout = '700ms'; SET LOCAL maintenance_work_mem = '256MB'"));
    TRY(fault_on(pg, "publish.begin", err));
    OWN(buf) Buf sql = {0};
    buf_put_text(&sql, "SELECT pg_try_advisory_xact_lock(");
    put_lock_key(&sql, p->identity);
    buf_put_text(&sql, ")");
    OWN(result) PGresult *lock = NULL;
    TRY(pg_exec(pg, &lock, err, buf_cstr(&sql)));
    if (*PQgetvalue(lock, 0, 0) != 't')
        return FAIL(err, S_BUSY, "another publish of this database is at work");
    return S_OK;
}

/* Log, state and tables of the database itself. */
static Status write_state(PGconn *pg, const Publish *p, Attempt *t, Error *err)
{
    OWN(buf) Buf sql = {0};
    const char *q = t->next->qschema;
    if (p->lease && p->reset)
        buf_printf(&sql,
                   "TRUNCATE %s.st_log_0, %s.st_log_1, %s.st_log_2, %s.st_client, %s.st_sequence; DELETE FROM %s.st_state;"
                   "DELETE FROM spacetime.tables WHERE database_id = %llu;",
                   q, q, q, q, q, q, (unsigned long long)t->id);
    if (!p->lease || p->reset)
        buf_printf(&sql, "INSERT INTO %s.st_state (materialised, schema_version) VALUES (0, %u);", q, t->next->image.version);
    else
        buf_printf(&sql, "UPDATE %s.st_state SET schema_version = %u;", q, t->next->image.version);
    TRY(exec_buf(pg, &sql, err));
    if (p->lease && !p->reset)
        TRY(write_sequences(pg, p, t->next, err));
    if ((!p->lease || p->reset) && p->first_record.len && first_record(pg, t->next, p->first_record, err) != S_OK)
        return CONTEXT(err, "commit record of init");
    return S_OK;
}

static Status write_version(PGconn *pg, const Publish *p, Attempt *t, uint64_t began_ns, Error *err)
{
    TRY(fault_on(pg, "publish.catalog", err));
    TRY(catalog_tables(pg, t->id, t->next, err));
    Params g = {0};
    params_bytes(&g, bytes_of(p->program_hash, 32));
    params_bytes(&g, p->program);
    TRY(pg_query(pg, NULL, err, "INSERT INTO spacetime.programs (hash, program) VALUES ($1, $2) ON CONFLICT DO NOTHING", &g, false));
    Params v = {0};
    params_i64(&v, (int64_t)t->id);
    params_i64(&v, p->new_image->version);
    params_bytes(&v, bytes_of(p->program_hash, 32));
    params_bytes(&v, p->new_image->def->bsatn);
    params_bytes(&v, bytes_of(p->publisher, 32));
    params_i64(&v, (int64_t)((clock_monotonic_ns() - began_ns) / 1000));
    params_text(&v, p->reset ? STR("t") : STR("f"));
    params_text(&v, p->plan_text.ptr ? p->plan_text : STR(""));
    params_text(&v, t->ddl.len ? buf_str(&t->ddl) : STR(""));
    params_i64(&v, p->migration);
    if (p->plan_json.len)
        params_text(&v, p->plan_json);
    else
        params_null(&v, 25);
    params_text(&v, module_def_has_schedules(p->new_image->def) ? STR("t") : STR("f"));
    TRY(pg_query(
        pg, NULL, err,
        "INSERT INTO spacetime.versions (database_id, schema_version, program_hash, definition, publisher, duration, reset, plan, ddl,"
        " migration, plan_json, scheduled)"
        " VALUES ($1, $2, $3, $4, $5, $6 * interval '1 us', $7::boolean, $8, $9, $10, $11::jsonb, $12::boolean)",
        &v, false));
    Params d = {0};
    params_i64(&d, (int64_t)t->id);
    params_i64(&d, p->new_image->version);
    OWN(result) PGresult *u = NULL;
    TRY(pg_query(pg, &u, err,
                 "UPDATE spacetime.databases SET schema_version = $2 WHERE id = $1 AND (schema_version = $2 - 1 OR schema_version = $2)",
                 &d, false));
    if (*PQcmdTuples(u) != '1')
        return FAIL(err, S_CONFLICT, "the catalog's schema version is not %u", p->new_image->version - 1);
    return pg_exec(pg, NULL, err, "SET CONSTRAINTS ALL IMMEDIATE");
}

static Status commit(PGconn *pg, Attempt *t, Error *err)
{
    TRY(fault_on(pg, "publish.before_commit", err));
    const char *cut = fault_at("publish.commit");
    if (strcmp(cut, "error") == 0)
        return FAIL(err, S_INTERNAL, "fault publish.commit");
    t->commit_sent = true;
    if (strcmp(cut, "disconnect") == 0) { /* the server has COMMIT, we never hear of it */
        PQsendQuery(pg, "COMMIT");
        PQflush(pg);
        shutdown(PQsocket(pg), SHUT_RDWR);
        return FAIL(err, S_UNAVAILABLE, "fault publish.commit");
    }
    OWN(result) PGresult *c = PQexec(pg, "COMMIT");
    if (PQresultStatus(c) != PGRES_COMMAND_OK) {
        if (PQstatus(pg) == CONNECTION_OK)
            t->commit_sent = false; /* an answer, and it was no */
        return PG_FAIL(err, pg, c, "COMMIT");
    }
    if (strcmp(PQcmdStatus(c), "COMMIT")) {
        t->commit_sent = false;
        return FAIL(err, S_IO, "PostgreSQL answered COMMIT with %s", PQcmdStatus(c));
    }
    (void)fault_at("publish.after_commit");
    return S_OK;
}

static Status publish_once(PGconn *pg, const Publish *p, const DbLayout *old, Attempt *t, Error *err)
{
    uint64_t began = clock_monotonic_ns();
    TRY(begin(pg, p, err));
    if (p->lease) {
        TRY(fence_check(pg, p->lease, err));
        TRY(fault_on(pg, "publish.check", err));
        if (layout_check_shape(pg, old, err) != S_OK || layout_check_indexes(pg, old, err) != S_OK) {
            if (err->code == S_CONFLICT) /* not somebody else's doing now: to be mended by hand */
                err->code = S_INVALID;
            return CONTEXT(err, "the tables were changed by hand");
        }
        t->id = p->lease->database_id;
        snprintf(t->schema, sizeof t->schema, "%s", old->schema);
    } else {
        TRY(create_database(pg, p, &t->id, t->schema, err));
    }
    t->next = layout_new(p->new_image, t->schema);
    TRY(write_ddl(pg, p, old, t, err));
    TRY(write_state(pg, p, t, err));
    TRY(write_version(pg, p, t, began, err));
    return p->dry_run ? pg_exec(pg, NULL, err, "ROLLBACK") : commit(pg, t, err);
}

/* Under the publishers' lock, which waits for a backend that is still at work. */
static Status ask_version(Storage *s, const uint8_t identity[32], uint32_t *ret_version, uint64_t *ret_id, Error *err)
{
    PGconn *pg;
    TRY(pool_take(s, &pg, err));
    OWN(buf) Buf sql = {0};
    buf_put_text(&sql, "BEGIN; SELECT pg_advisory_xact_lock(");
    put_lock_key(&sql, identity);
    buf_put_text(&sql, ")");
    Status code = pg_exec(pg, NULL, err, buf_cstr(&sql));
    uint8_t id[32];
    reversed(id, identity);
    Params p = {0};
    params_bytes(&p, bytes_of(id, 32));
    OWN(result) PGresult *r = NULL;
    if (code == S_OK)
        code = pg_query(pg, &r, err, "SELECT id, schema_version FROM spacetime.databases WHERE identity = $1", &p, false);
    if (code == S_OK) /* a write that commits, before anything read is believed (rule 25) */
        code = pg_exec(pg, NULL, err, "UPDATE spacetime.counters SET value = value + 1 WHERE name = 'table_id'; COMMIT");
    if (code == S_OK) {
        *ret_version = PQntuples(r) ? (uint32_t)pg_i64(r, 0, 1) : 0;
        *ret_id = PQntuples(r) ? (uint64_t)pg_i64(r, 0, 0) : 0;
    }
    pool_give(s, pg);
    if (code != S_OK && code != S_UNAVAILABLE && err)
        err->code = S_UNAVAILABLE;
    return code == S_OK ? S_OK : S_UNAVAILABLE;
}

/* Swap the layout and go on. */
void publish_adopt(Storage *s, Db *db, DbLayout *next, bool reset, Chunk *first)
{
    uint64_t offset = first ? first->last : 0;
    pthread_mutex_lock(&s->mu);
    DbLayout *old = NULL;
    if (next) {
        old = atomic_load(&db->layout);
        atomic_store(&db->layout, next);
        if (reset) {
            atomic_store(&db->complete, offset);
            atomic_store(&db->durable, offset);
            atomic_store(&db->materialised, 0);
            memset(db->segments, 0, sizeof db->segments);
            db->active = 0;
            if (first) { /* the commit log has it; the materialiser takes it from here */
                db->segments[0] = (Segment){.first = 1, .last = offset, .bytes = first->payload.len + 64};
                atomic_store(&db->oldest_ns, first->arrived_ns);
                atomic_fetch_add(&db->pending_bytes, first->payload.len);
                chunk_push(&db->pending, first);
                first = NULL;
            }
        }
    }
    db->paused = false;
    db->retry_ns = 0;
    pthread_cond_broadcast(&s->cond);
    storage_wake_materialiser(s);
    pthread_mutex_unlock(&s->mu);
    layout_unref(old);
    if (first)
        chunk_free(s, first);
    storage_wake_log(s);
}

static Chunk *first_chunk(const Publish *p)
{
    if (!p->reset || !p->first_record.len)
        return NULL;
    Chunk *c = NEW(Chunk);
    *c = (Chunk){.first = 1, .last = 1, .arrived_ns = clock_monotonic_ns(), .version = p->new_image->version};
    buf_put_blob(&c->payload, p->first_record);
    return c;
}

static Status resolve(Storage *s, const uint8_t identity[32], uint32_t *ret_version, uint64_t *ret_id, Error *err)
{
    TRY(ask_version(s, identity, ret_version, ret_id, err));
    pthread_mutex_lock(&s->mu);
    Db *db = *ret_id ? db_find(s, *ret_id) : NULL;
    DbLayout *next = db ? TAKE(db->next_layout) : NULL;
    Chunk *first = next ? TAKE(db->next_first) : NULL;
    pthread_mutex_unlock(&s->mu);
    if (next) {
        bool yes = next->image.version == *ret_version;
        if (!yes) {
            layout_unref(next);
            next = NULL;
        }
        publish_adopt(s, db, next, db->next_reset, first);
    }
    return S_OK;
}

Status storage_publish_outcome(Storage *s, const uint8_t identity[32], uint32_t *ret_version, Error *err)
{
    uint64_t id;
    return resolve(s, identity, ret_version, &id, err);
}

static void nap_ms(uint32_t ms) { nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL); }

/* Nothing of the database is under way any more: neither thread touches PostgreSQL for it until publish_adopt. */
static Status quiesce(Storage *s, const Publish *p, Db **ret, DbLayout **ret_layout, Error *err)
{
    TRY(storage_settle(s, p->lease->database_id, 10000, err));
    pthread_mutex_lock(&s->mu);
    Db *db = db_find(s, p->lease->database_id);
    pthread_mutex_unlock(&s->mu);
    bool ready = db && !db->failed && log_command(s, LOG_PAUSE, db, NULL);
    DbLayout *layout = NULL;
    if (ready) {
        uint64_t deadline = clock_monotonic_ns() + UINT64_C(5000000000);
        pthread_mutex_lock(&s->mu);
        layout = layout_ref(atomic_load(&db->layout));
        while ((db->round_open || db->inflight) && storage_wait(s, deadline))
            ;
        ready = !db->round_open && !db->inflight && atomic_load(&db->complete) == atomic_load(&db->materialised);
        if (!ready)
            db->paused = false;
        pthread_mutex_unlock(&s->mu);
    }
    if (!ready) {
        layout_unref(layout);
        return FAIL(err, db ? S_BUSY : S_NOT_FOUND, "database %llu is not attached and settled", (unsigned long long)p->lease->database_id);
    }
    *ret = db;
    *ret_layout = layout;
    return S_OK;
}

/* Names who holds what we wait for, and what to do about errors that an operator can mend. */
static void explain(PGconn *pg, const DbLayout *old, Error *why)
{
    if (!strcmp(why->sqlstate, "55P03") && old) {
        char blocker[256];
        find_blocker(pg, 0, old->schema, blocker, sizeof blocker);
        if (*blocker)
            error_set(why, __func__, S_BUSY, "a table is locked by %s", blocker);
        why->code = S_BUSY;
        memcpy(why->sqlstate, "55P03", 6);
    } else if (!strcmp(why->sqlstate, "53100")) {
        (void)CONTEXT(why, "PostgreSQL's disk is full: free room and publish again");
    }
}

/* Did the COMMIT whose answer was lost happen? */
static Status outcome(Storage *s, const Publish *p, Db *db, Attempt *t, bool *ret_unknown, Error *err)
{
    uint32_t version = 0;
    uint64_t id = 0;
    Error ask;
    Status known = S_UNAVAILABLE;
    for (int i = 0; i < 20 && known != S_OK; i++) {
        known = ask_version(s, p->identity, &version, &id, &ask);
        if (known != S_OK)
            nap_ms(250);
    }
    if (known != S_OK) {
        *ret_unknown = true;
        if (db) {
            pthread_mutex_lock(&s->mu);
            db->next_layout = TAKE(t->next);
            db->next_reset = p->reset;
            db->next_first = first_chunk(p);
            pthread_mutex_unlock(&s->mu);
        }
        return FAIL(err, S_UNAVAILABLE, "the connection broke during COMMIT and PostgreSQL does not answer: %s", ask.text);
    }
    if (version != p->new_image->version)
        return err->code;
    t->id = id;
    return S_OK;
}

Status storage_publish(Storage *s, const Publish *p, uint64_t *ret_database_id, bool *ret_unknown, Error *err)
{
    *ret_unknown = false;
    Db *db = NULL;
    DbLayout *old = NULL;
    if (p->lease)
        TRY(quiesce(s, p, &db, &old, err));
    Attempt t = {0};
    Error why;
    memset(&why, 0, sizeof why);
    PGconn *pg;
    Status code = pool_take(s, &pg, &why);
    if (code == S_OK) {
        code = publish_once(pg, p, old, &t, &why);
        if (code != S_OK && !t.commit_sent) {
            if (PQstatus(pg) == CONNECTION_OK)
                PQclear(PQexec(pg, "ROLLBACK"));
            explain(pg, old, &why);
            code = why.code;
        }
        pool_give(s, pg);
    }
    if (code != S_OK && t.commit_sent)
        code = outcome(s, p, db, &t, ret_unknown, &why);
    if (db && !*ret_unknown) {
        bool taken = code == S_OK && !p->dry_run;
        publish_adopt(s, db, taken ? TAKE(t.next) : NULL, p->reset, taken ? first_chunk(p) : NULL);
    }
    layout_unref(t.next);
    layout_unref(old);
    buf_done(&t.ddl);
    if (code != S_OK) {
        *err = why;
        return *ret_unknown ? code : CONTEXT(err, "publish rolled back");
    }
    *ret_database_id = t.id;
    return S_OK;
}

Status storage_check_tables(Storage *s, const Lease *lease, const SchemaImage *image, Error *err)
{
    pthread_mutex_lock(&s->mu);
    Db *db = db_find(s, lease->database_id);
    char *schema = db ? x_sprintf("%s", db->schema) : NULL;
    pthread_mutex_unlock(&s->mu);
    if (!schema)
        return FAIL(err, S_NOT_FOUND, "database %llu is not attached", (unsigned long long)lease->database_id);
    DbLayout *l = layout_new(image, schema);
    free(schema);
    PGconn *pg;
    Status status = pool_take(s, &pg, err);
    if (status == S_OK) {
        status = layout_check_shape(pg, l, err);
        if (status == S_OK)
            status = layout_check_indexes(pg, l, err);
        pool_give(s, pg);
    }
    layout_unref(l);
    if (status == S_CONFLICT)
        err->code = S_INVALID;
    return status == S_CONFLICT ? S_INVALID : status;
}
