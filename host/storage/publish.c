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

#include <stdio.h>
#include <time.h>
#include <zlib.h>

enum { PUBLISH_LOCK = 1398032456, PUBLISH_TRIES = 4 };

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

static Status catalog_tables(PGconn *pg, uint64_t id, const DbLayout *l, Error *err)
{
    const ModuleDef *def = l->image.def;
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
                     " ON CONFLICT (id) DO UPDATE SET physical_key = excluded.physical_key, columns = excluded.columns, is_public = "
                     "excluded.is_public",
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

static bool has_sequence(const TableDef *t, uint16_t col)
{
    for (uint16_t i = 0; t && i < t->nsequences; i++)
        if (t->sequences[i].col == col)
            return true;
    return false;
}

typedef struct Attempt {
    uint64_t id;
    char schema[64];
    DbLayout *next;
    bool commit_sent;
} Attempt;

static Status write_ddl(PGconn *pg, const Publish *p, const DbLayout *old, Attempt *t, Buf *all, Error *err)
{
    OWN(buf) Buf sql = {0};
    const DbLayout *next = t->next;
    for (uint32_t i = 0; old && p->reset && i < old->ntables; i++) {
        ddl_drop_table(&sql, &old->tables[i]);
        buf_put_bytes(all, buf_bytes(&sql));
        if (exec_buf(pg, &sql, err) != S_OK)
            return CONTEXT(err, "dropping table %.*s", STR_FMT(old->tables[i].def->name));
    }
    for (uint32_t i = 0; i < next->ntables; i++) {
        const TableLayout *to = &next->tables[i], *from = old && !p->reset ? layout_table(old, to->id) : NULL;
        if (from)
            ddl_alter_table(&sql, from, next, to);
        else
            ddl_create_table(&sql, next, to);
        buf_put_bytes(all, buf_bytes(&sql));
        if (exec_buf(pg, &sql, err) != S_OK)
            return CONTEXT(err, "%s table %.*s", from ? "changing" : "creating", STR_FMT(to->def->name));
        for (uint16_t k = 0; from && k < from->def->nsequences; k++)
            if (!has_sequence(to->def, from->def->sequences[k].col))
                buf_printf(&sql, "DELETE FROM %s.st_sequence WHERE table_id = %u AND col = %u;", next->qschema, to->id,
                           from->def->sequences[k].col);
        if (exec_buf(pg, &sql, err) != S_OK)
            return CONTEXT(err, "sequences of table %.*s", STR_FMT(to->def->name));
    }
    return S_OK;
}

static Status publish_once(PGconn *pg, const Publish *p, const DbLayout *old, Attempt *t, Error *err)
{
    uint64_t began = clock_monotonic_ns();
    TRY(pg_exec(pg, NULL, err, "BEGIN; SET LOCAL lock_timeout = '700ms'; SET LOCAL maintenance_work_mem = '256MB'"));
    OWN(buf) Buf sql = {0};
    buf_put_text(&sql, "SELECT pg_try_advisory_xact_lock(");
    put_lock_key(&sql, p->identity);
    buf_put_text(&sql, ")");
    OWN(result) PGresult *lock = NULL;
    TRY(pg_exec(pg, &lock, err, buf_cstr(&sql)));
    if (*PQgetvalue(lock, 0, 0) != 't')
        return FAIL(err, S_BUSY, "another publish of this database is at work");
    buf_reset(&sql);
    if (p->lease) {
        TRY(fence_check(pg, p->lease, err));
        if (layout_check_shape(pg, old, err) != S_OK)
            return CONTEXT(err, "the tables were changed by hand");
        t->id = p->lease->database_id;
        snprintf(t->schema, sizeof t->schema, "%s", old->schema);
    } else {
        TRY(create_database(pg, p, &t->id, t->schema, err));
    }
    if (!t->next)
        t->next = layout_new(p->new_image, t->schema);
    OWN(buf) Buf ddl = {0};
    TRY(write_ddl(pg, p, old, t, &ddl, err));
    if (p->lease && p->reset) {
        const char *q = t->next->qschema;
        buf_printf(&sql,
                   "TRUNCATE %s.st_log_0, %s.st_log_1, %s.st_log_2, %s.st_client, %s.st_sequence; DELETE FROM %s.st_state;"
                   "DELETE FROM spacetime.tables WHERE database_id = %llu;",
                   q, q, q, q, q, q, (unsigned long long)t->id);
        TRY(exec_buf(pg, &sql, err));
    }
    if (!p->lease || p->reset)
        buf_printf(&sql, "INSERT INTO %s.st_state (materialised, schema_version) VALUES (0, %u);", t->next->qschema,
                   t->next->image.version);
    else
        buf_printf(&sql, "UPDATE %s.st_state SET schema_version = %u;", t->next->qschema, t->next->image.version);
    TRY(exec_buf(pg, &sql, err));
    if ((!p->lease || p->reset) && p->first_record.len && first_record(pg, t->next, p->first_record, err) != S_OK)
        return CONTEXT(err, "commit record of init");
    TRY(catalog_tables(pg, t->id, t->next, err));
    Params g = {0};
    params_bytes(&g, bytes_of(p->program_hash, 32));
    params_bytes(&g, p->program);
    TRY(pg_query(pg, NULL, err, "INSERT INTO spacetime.programs (hash, program) VALUES ($1, $2) ON CONFLICT DO NOTHING", &g, false));
    OWN(buf) Buf plan = {0};
    if (p->plan)
        plan_print(&plan, p->plan, false);
    Params v = {0};
    params_i64(&v, (int64_t)t->id);
    params_i64(&v, p->new_image->version);
    params_bytes(&v, bytes_of(p->program_hash, 32));
    params_bytes(&v, p->new_image->def->bsatn);
    params_bytes(&v, bytes_of(p->publisher, 32));
    params_i64(&v, (int64_t)((clock_monotonic_ns() - began) / 1000));
    params_text(&v, p->reset ? STR("t") : STR("f"));
    params_text(&v, buf_str(&plan));
    params_text(&v, buf_str(&ddl));
    TRY(pg_query(
        pg, NULL, err,
        "INSERT INTO spacetime.versions (database_id, schema_version, program_hash, definition, publisher, duration, reset, plan, ddl)"
        " VALUES ($1, $2, $3, $4, $5, $6 * interval '1 us', $7::boolean, $8, $9)",
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
    TRY(pg_exec(pg, NULL, err, "SET CONSTRAINTS ALL IMMEDIATE"));
    t->commit_sent = true;
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
    return S_OK;
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

Status storage_publish(Storage *s, const Publish *p, uint64_t *ret_database_id, bool *ret_unknown, Error *err)
{
    *ret_unknown = false;
    Db *db = NULL;
    DbLayout *old = NULL;
    if (p->lease) {
        TRY(storage_settle(s, p->lease->database_id, 10000, err));
        pthread_mutex_lock(&s->mu);
        db = db_find(s, p->lease->database_id);
        pthread_mutex_unlock(&s->mu);
        bool ready = db && !db->failed && log_command(s, LOG_PAUSE, db, NULL);
        if (ready) {
            uint64_t deadline = clock_monotonic_ns() + UINT64_C(5000000000);
            pthread_mutex_lock(&s->mu);
            old = layout_ref(atomic_load(&db->layout));
            while ((db->round_open || db->inflight) && storage_wait(s, deadline))
                ;
            ready = !db->round_open && !db->inflight && atomic_load(&db->complete) == atomic_load(&db->materialised);
            if (!ready)
                db->paused = false;
            pthread_mutex_unlock(&s->mu);
        }
        if (!ready) {
            layout_unref(old);
            return FAIL(err, db ? S_BUSY : S_NOT_FOUND, "database %llu is not attached and settled",
                        (unsigned long long)p->lease->database_id);
        }
    }
    Attempt t = {0};
    Error why;
    memset(&why, 0, sizeof why);
    Status code = S_OK;
    for (int attempt = 0; attempt < PUBLISH_TRIES; attempt++) {
        PGconn *pg;
        t.commit_sent = false;
        code = pool_take(s, &pg, &why);
        if (code != S_OK)
            break;
        code = publish_once(pg, p, old, &t, &why);
        if (code != S_OK && !t.commit_sent) {
            if (PQstatus(pg) == CONNECTION_OK)
                PQclear(PQexec(pg, "ROLLBACK"));
            if (!strcmp(why.sqlstate, "55P03") && old) {
                char blocker[256];
                find_blocker(pg, 0, old->schema, blocker, sizeof blocker);
                if (*blocker)
                    error_set(&why, __func__, S_BUSY, "a table is locked by %s", blocker);
                why.code = S_BUSY;
                memcpy(why.sqlstate, "55P03", 6);
            }
        }
        pool_give(s, pg);
        if (code == S_OK || t.commit_sent || strcmp(why.sqlstate, "55P03"))
            break;
        if (!p->lease) { /* the schema name may be another next time */
            layout_unref(t.next);
            t.next = NULL;
        }
        nap_ms(100u << attempt);
    }
    if (code != S_OK && t.commit_sent) { /* did it happen? */
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
                db->next_layout = TAKE(t.next);
                db->next_reset = p->reset;
                db->next_first = first_chunk(p);
                pthread_mutex_unlock(&s->mu);
            }
            layout_unref(t.next);
            layout_unref(old);
            return FAIL(err, S_UNAVAILABLE, "the connection broke during COMMIT and PostgreSQL does not answer: %s", ask.text);
        }
        if (version == p->new_image->version) {
            code = S_OK;
            t.id = id;
        }
    }
    if (db)
        publish_adopt(s, db, code == S_OK ? TAKE(t.next) : NULL, p->reset, code == S_OK ? first_chunk(p) : NULL);
    layout_unref(t.next);
    layout_unref(old);
    if (code != S_OK) {
        if (err)
            *err = why;
        return err ? CONTEXT(err, "publish rolled back") : code;
    }
    *ret_database_id = t.id;
    return S_OK;
}
