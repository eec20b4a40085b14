/* pool.c - connections: how a session is set up, blocking helpers, the pool for work on job threads. */
#include "host/storage/storage_int.h"

#include <stdio.h>

bool sqlstate_retryable(const char *s)
{
    return !s || !*s || !strncmp(s, "08", 2) || !strncmp(s, "40", 2) || !strncmp(s, "53", 2) || !strncmp(s, "57", 2) ||
           !strcmp(s, "55P03") || !strcmp(s, "25006");
}

static Status code_of(const char *s)
{
    if (!*s || !strncmp(s, "08", 2) || !strncmp(s, "57P", 3))
        return S_UNAVAILABLE;
    if (!strcmp(s, "55P03") || !strncmp(s, "40", 2))
        return S_BUSY;
    if (!strncmp(s, "23", 2) || !strcmp(s, "42P06") || !strcmp(s, "42P07"))
        return S_CONFLICT;
    if (!strcmp(s, "42501") || !strncmp(s, "28", 2))
        return S_DENIED;
    return S_IO;
}

Status pg_fail(Error *err, const char *origin, PGconn *pg, const PGresult *res, const char *what)
{
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *text = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *detail = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL) : NULL;
    const char *table = res ? PQresultErrorField(res, PG_DIAG_TABLE_NAME) : NULL;
    const char *constraint = res ? PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME) : NULL;
    if (!text)
        text = pg ? PQerrorMessage(pg) : "out of memory";
    size_t len = strcspn(text, "\n");
    char state_[6] = "";
    if (state)
        snprintf(state_, sizeof state_, "%s", state);
    Status code = error_set(err, origin, code_of(state_), "%s%sPostgreSQL: %.*s%s%s%s%s%s%s%s%s%s", what ? what : "", what ? ": " : "",
                            (int)len, len ? text : "no answer", detail ? " (" : "", detail ? detail : "", detail ? ")" : "",
                            table ? ", table " : "", table ? table : "", constraint ? ", constraint " : "", constraint ? constraint : "",
                            *state_ ? ", SQLSTATE " : "", state_);
    if (err)
        memcpy(err->sqlstate, state_, sizeof state_);
    return code;
}

void own_result(PGresult **r) { PQclear(*r); }

static bool result_ok(const PGresult *r)
{
    ExecStatusType s = PQresultStatus(r);
    return s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK;
}

Status pg_exec(PGconn *pg, PGresult **ret, Error *err, const char *sql)
{
    OWN(result) PGresult *r = PQexec(pg, sql);
    if (!result_ok(r)) {
        OWN(free) char *head = x_sprintf("%.*s", (int)MIN(strcspn(sql, ";\n"), (size_t)120), sql);
        return pg_fail(err, __func__, pg, r, head);
    }
    if (ret)
        *ret = TAKE(r);
    return S_OK;
}

void params_i64(Params *p, int64_t v)
{
    int i = p->n++;
    p->ints[i] = __builtin_bswap64((uint64_t)v);
    p->v[i] = NULL; /* set when used: Params may be copied */
    p->len[i] = 8;
    p->binary[i] = 2;
    p->oid[i] = 20;
}

void params_bytes(Params *p, Bytes v)
{
    int i = p->n++;
    p->v[i] = v.ptr ? (const char *)v.ptr : "";
    p->len[i] = (int)v.len;
    p->binary[i] = 1;
    p->oid[i] = 17;
}

void params_text(Params *p, Str v)
{
    int i = p->n++;
    p->v[i] = v.ptr ? v.ptr : "";
    p->len[i] = (int)v.len;
    p->binary[i] = 1;
    p->oid[i] = 25;
}

void params_null(Params *p, uint32_t oid)
{
    int i = p->n++;
    p->v[i] = NULL;
    p->binary[i] = 1;
    p->oid[i] = oid;
}

Status pg_query(PGconn *pg, PGresult **ret, Error *err, const char *sql, const Params *p, bool binary_result)
{
    const char *v[16];
    int format[16];
    for (int i = 0; i < p->n; i++) {
        v[i] = p->binary[i] == 2 ? (const char *)&p->ints[i] : p->v[i];
        format[i] = 1;
    }
    OWN(result) PGresult *r = PQexecParams(pg, sql, p->n, p->oid, v, p->len, format, binary_result);
    if (!result_ok(r)) {
        OWN(free) char *head = x_sprintf("%.*s", (int)MIN(strcspn(sql, "("), (size_t)80), sql);
        return pg_fail(err, __func__, pg, r, head);
    }
    if (ret)
        *ret = TAKE(r);
    return S_OK;
}

static void quiet(void *arg, const PGresult *res)
{
    (void)arg;
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity && !strcmp(severity, "WARNING"))
        log_warn("PostgreSQL: %s", PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
}

Status conn_open(PGconn **ret, const char *conninfo, const char *host_id, ConnUse use, Error *err)
{
    static const char *const uses[] = {"pool", "log", "tables", "monitor"};
    char name[64];
    snprintf(name, sizeof name, "spacetime-pg %.16s %s", host_id, uses[use]);
    const char *keys[] = {"connect_timeout", "target_session_attrs", "dbname", "application_name", "client_encoding", NULL};
    const char *values[] = {"5", "read-write", conninfo, name, "UTF8", NULL};
    PGconn *pg = PQconnectdbParams(keys, values, 1);
    if (PQstatus(pg) != CONNECTION_OK) {
        const char *text = PQerrorMessage(pg);
        Status code = FAIL(err, S_UNAVAILABLE, "cannot connect to PostgreSQL: %.*s", (int)strcspn(text, "\n"), text);
        PQfinish(pg);
        return code;
    }
    PQsetNoticeReceiver(pg, quiet, NULL);
    if (PQserverVersion(pg) < 140000) {
        Status code = FAIL(err, S_INVALID, "PostgreSQL %d is too old: 14 is the first that will do", PQserverVersion(pg) / 10000);
        PQfinish(pg);
        return code;
    }
    OWN(buf) Buf sql = {0};
    buf_put_text(&sql,
                 "SET default_transaction_isolation = 'read committed'; SET TimeZone = 'UTC'; SET search_path = pg_catalog; SET jit = off;"
                 "SET spacetime.writer = 'host'; SET bytea_output = hex; SET extra_float_digits = 1; SET row_security = off; SET "
                 "IntervalStyle = 'postgres';"
                 "SET DateStyle = 'ISO, YMD'; SET standard_conforming_strings = on; SET idle_in_transaction_session_timeout = 0; SET "
                 "default_transaction_read_only = off;"
                 "SET idle_session_timeout = 0; SELECT set_config('synchronous_commit', 'on', false) WHERE "
                 "current_setting('synchronous_commit') IN ('off', 'local');");
    if (use == CONN_MATERIALISE)
        buf_put_text(
            &sql,
            "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan;"
            "SET enable_material = off; SET lock_timeout = '1s'; SET statement_timeout = '120s'; SET max_parallel_workers_per_gather = 0;");
    else if (use == CONN_LOG)
        buf_put_text(
            &sql,
            "SET lock_timeout = '30s'; SET statement_timeout = '60s'; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;");
    else if (use == CONN_MONITOR)
        buf_put_text(&sql, "SET lock_timeout = '2s'; SET statement_timeout = '10s';");
    else
        buf_put_text(&sql, "SET lock_timeout = '5s'; SET statement_timeout = 0;");
    Status code = pg_exec(pg, NULL, err, buf_cstr(&sql));
    if (code != S_OK) {
        PQfinish(pg);
        return code;
    }
    *ret = pg;
    return S_OK;
}

void conn_close(PGconn *pg)
{
    if (pg)
        PQfinish(pg);
}

Status pool_take(Storage *s, PGconn **ret, Error *err)
{
    pthread_mutex_lock(&s->mu);
    while (s->pool_out >= s->config.pool_connections)
        pthread_cond_wait(&s->cond, &s->mu);
    s->pool_out++;
    PGconn *pg = s->pool_idle ? s->pool[--s->pool_idle] : NULL;
    pthread_mutex_unlock(&s->mu);
    if (pg) { /* did it survive? */
        OWN(result) PGresult *r = PQexec(pg, "SELECT 1");
        if (PQresultStatus(r) != PGRES_TUPLES_OK) {
            conn_close(pg);
            pg = NULL;
        }
    }
    Status code = S_OK;
    if (!pg)
        code = conn_open(&pg, s->conninfo, s->host_id, CONN_POOL, err);
    if (code == S_OK) {
        *ret = pg;
        return S_OK;
    }
    pthread_mutex_lock(&s->mu);
    s->pool_out--;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    return code;
}

void pool_give(Storage *s, PGconn *pg)
{
    if (!pg)
        return;
    if (PQstatus(pg) == CONNECTION_OK && PQtransactionStatus(pg) != PQTRANS_IDLE)
        PQclear(PQexec(pg, "ROLLBACK"));
    bool keep = PQstatus(pg) == CONNECTION_OK && PQtransactionStatus(pg) == PQTRANS_IDLE;
    pthread_mutex_lock(&s->mu);
    s->pool_out--;
    if (keep && s->pool_idle < COUNT_OF(s->pool) && !s->stopping) {
        s->pool[s->pool_idle++] = pg;
        pg = NULL;
    }
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    conn_close(pg);
}
