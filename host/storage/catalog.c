/* catalog.c - schema `spacetime`: applying sql/, databases, names, settings, ids, hosts and leases. */
#include "host/storage/storage_int.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static void reverse(uint8_t *out, const uint8_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = in[n - 1 - i];
}

/* ---- sql/ ------------------------------------------------------------------------------------ */

static char *find_sql_dir(const Storage *s)
{
    if (s->sql_dir)
        return x_strdup(s->sql_dir);
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    char *slash = strrchr(exe, '/');
    if (slash)
        *slash = 0;
    static const char *const beside[] = {"/sql", "/../sql", "/../../sql", "/../../../sql", "/../share/spacetime-pg/sql"};
    for (size_t i = 0; i < COUNT_OF(beside); i++) {
        char *path = x_sprintf("%s%s", exe, beside[i]);
        OWN(free) char *probe = x_sprintf("%s/001_catalog.sql", path);
        if (access(probe, R_OK) == 0)
            return path;
        free(path);
    }
    if (access("sql/001_catalog.sql", R_OK) == 0)
        return x_strdup("sql");
    return x_strdup("/usr/share/spacetime-pg/sql");
}

static int is_sql(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 4 && d->d_name[0] >= '0' && d->d_name[0] <= '9' && !strcmp(d->d_name + n - 4, ".sql");
}

static Status read_file(const char *path, Buf *out, Error *err)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return FAIL(err, S_IO, "cannot read %s: %s", path, strerror(errno));
    char part[8192];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        buf_put(out, part, n);
    fclose(f);
    return S_OK;
}

static Status apply_file(PGconn *pg, const char *dir, const char *name, Error *err)
{
    OWN(free) char *path = x_sprintf("%s/%s", dir, name);
    OWN(buf) Buf text = {0};
    TRY(read_file(path, &text, err));
    const char *sql = buf_cstr(&text); /* may move the bytes: before anything points to them */
    Params p = {0};
    params_text(&p, str_of(name));
    params_bytes(&p, buf_bytes(&text));
    OWN(result) PGresult *r = NULL;
    TRY(pg_query(pg, &r, err, "SELECT checksum = encode(sha256($2), 'hex') FROM spacetime.applied WHERE file = $1 AND $2 IS NOT NULL", &p,
                 false));
    if (PQntuples(r)) {
        if (*PQgetvalue(r, 0, 0) != 't')
            return FAIL(err, S_CONFLICT,
                        "%s differs from the file of that name that was applied to this PostgreSQL: this host is not of the same release",
                        path);
        return S_OK;
    }
    TRY(pg_exec(pg, NULL, err, "BEGIN"));
    Status code = pg_exec(pg, NULL, err, sql);
    if (code == S_OK)
        code = pg_query(pg, NULL, err, "INSERT INTO spacetime.applied (file, checksum) VALUES ($1, encode(sha256($2), 'hex'))", &p, false);
    if (code == S_OK)
        code = pg_exec(pg, NULL, err, "COMMIT");
    if (code != S_OK) {
        PQclear(PQexec(pg, "ROLLBACK"));
        return CONTEXT(err, "applying %s", path);
    }
    return S_OK;
}

static Status apply_all(Storage *s, PGconn *pg, Error *err)
{
    OWN(result) PGresult *r = NULL;
    TRY(pg_exec(pg, &r, err,
                "SELECT obj_description(oid, 'pg_namespace') LIKE 'spacetime-pg:%' FROM pg_namespace WHERE nspname = 'spacetime'"));
    if (PQntuples(r) && *PQgetvalue(r, 0, 0) != 't')
        return FAIL(err, S_CONFLICT, "this PostgreSQL database has a schema \"spacetime\" that is not ours; use another database");
    if (!PQntuples(r))
        TRY(pg_exec(pg, NULL, err,
                    "BEGIN; CREATE SCHEMA spacetime; COMMENT ON SCHEMA spacetime IS 'spacetime-pg: catalog';"
                    "CREATE TABLE spacetime.applied (file text COLLATE \"C\" PRIMARY KEY, checksum text NOT NULL, at timestamptz NOT NULL "
                    "DEFAULT clock_timestamp()); COMMIT"));
    OWN(free) char *dir = find_sql_dir(s);
    struct dirent **list;
    int n = scandir(dir, &list, is_sql, alphasort);
    if (n <= 0)
        return FAIL(err, S_NOT_FOUND, "no catalog files in %s", dir);
    Status code = S_OK;
    OWN(buf) Buf known = {0};
    for (int i = 0; i < n; i++) {
        if (code == S_OK)
            code = apply_file(pg, dir, list[i]->d_name, err);
        buf_printf(&known, "%s%s", i ? "," : "", list[i]->d_name);
        free(list[i]);
    }
    free(list);
    if (code != S_OK)
        return code;
    Params p = {0};
    params_text(&p, buf_str(&known));
    OWN(result) PGresult *newer = NULL;
    TRY(pg_query(pg, &newer, err, "SELECT file FROM spacetime.applied WHERE file <> ALL (string_to_array($1, ','))", &p, false));
    if (PQntuples(newer))
        return FAIL(err, S_CONFLICT, "the catalog of this PostgreSQL was made by a newer release (%s was applied); upgrade this host",
                    PQgetvalue(newer, 0, 0));
    return S_OK;
}

Status catalog_apply(Storage *s, PGconn *pg, Error *err)
{
    TRY(pg_exec(pg, NULL, err, "SELECT pg_advisory_lock(1398032455, 0)"));
    Status code = apply_all(s, pg, err);
    PQclear(PQexec(pg, "SELECT pg_advisory_unlock(1398032455, 0)"));
    return code;
}

/* ---- databases and names ----------------------------------------------------------------------- */

static void copy_hash(uint8_t out[32], const PGresult *r, int row, int col, bool reversed)
{
    memset(out, 0, 32);
    if (PQgetlength(r, row, col) != 32)
        return;
    const uint8_t *p = (const uint8_t *)PQgetvalue(r, row, col);
    if (reversed)
        reverse(out, p, 32);
    else
        memcpy(out, p, 32);
}

Status storage_databases(Storage *s, Arena *a, const Str *name, const uint8_t *identity, const uint8_t *owner, uint32_t *ret_count,
                         DatabaseInfo **ret, Error *err)
{
    PGconn *pg;
    TRY(pool_take(s, &pg, err));
    uint8_t id_[32], owner_[32];
    if (identity)
        reverse(id_, identity, 32);
    if (owner)
        reverse(owner_, owner, 32);
    Params p = {0};
    if (name)
        params_text(&p, *name);
    else
        params_null(&p, 25);
    if (identity)
        params_bytes(&p, bytes_of(id_, 32));
    else
        params_null(&p, 17);
    if (owner)
        params_bytes(&p, bytes_of(owner_, 32));
    else
        params_null(&p, 17);
    OWN(result) PGresult *r = NULL;
    Status code = pg_query(
        pg, &r, err,
        "SELECT d.id, d.identity, d.owner, d.schema_version::bigint, v.program_hash,"
        " (SELECT i.program_hash FROM spacetime.versions i WHERE i.database_id = d.id ORDER BY i.reset DESC, CASE WHEN i.reset THEN "
        "-i.schema_version ELSE i.schema_version END LIMIT 1),"
        " (extract(epoch FROM d.created_at) * 1000000)::bigint, d.schema_name, n.name, coalesce(v.scheduled, true) AND d.schema_version > 0"
        " FROM spacetime.databases d LEFT JOIN spacetime.versions v ON v.database_id = d.id AND v.schema_version = d.schema_version"
        " LEFT JOIN spacetime.names n ON n.database_id = d.id"
        " WHERE ($1::text IS NULL OR d.id = (SELECT m.database_id FROM spacetime.names m WHERE m.name = $1))"
        " AND ($2::bytea IS NULL OR d.identity = $2) AND ($3::bytea IS NULL OR d.owner = $3) ORDER BY d.id, n.position",
        &p, true);
    pool_give(s, pg);
    if (code != S_OK)
        return code;
    int rows = PQntuples(r);
    DatabaseInfo *list = ARENA_ARRAY(a, DatabaseInfo, rows + 1);
    Str *names = ARENA_ARRAY(a, Str, rows + 1);
    uint32_t n = 0;
    for (int i = 0; i < rows; i++) {
        uint64_t id = be_u64(PQgetvalue(r, i, 0));
        if (!n || list[n - 1].id != id) {
            DatabaseInfo *d = &list[n++];
            d->id = id;
            copy_hash(d->identity, r, i, 1, true);
            copy_hash(d->owner, r, i, 2, true);
            d->schema_version = (uint32_t)be_u64(PQgetvalue(r, i, 3));
            copy_hash(d->program_hash, r, i, 4, false);
            copy_hash(d->initial_program_hash, r, i, 5, false);
            d->created_us = (int64_t)be_u64(PQgetvalue(r, i, 6));
            d->schema = arena_str(a, str_of(PQgetvalue(r, i, 7)));
            d->scheduled = PQgetvalue(r, i, 9)[0];
            d->names = &names[i];
        }
        if (!PQgetisnull(r, i, 8)) {
            names[i] = arena_str(a, str_of(PQgetvalue(r, i, 8)));
            list[n - 1].nnames++;
        }
    }
    *ret_count = n;
    *ret = list;
    return S_OK;
}

/* Inside a transaction: give `name` to the database. */
Status catalog_name_insert(PGconn *pg, uint64_t database_id, Str name, const uint8_t caller[32], Error *err)
{
    uint8_t who[32];
    reverse(who, caller, 32);
    Params p = {0};
    params_i64(&p, (int64_t)database_id);
    params_text(&p, name);
    params_bytes(&p, bytes_of(who, 32));
    OWN(result) PGresult *r = NULL;
    TRY(pg_query(pg, &r, err,
                 "INSERT INTO spacetime.names (database_id, name) SELECT $1, $2 WHERE $3::bytea IS NOT NULL ON CONFLICT (name) DO NOTHING",
                 &p, false));
    if (*PQcmdTuples(r) == '1')
        return S_OK;
    OWN(result) PGresult *q = NULL;
    TRY(pg_query(
        pg, &q, err,
        "SELECT d.id = $1, d.owner = $3 FROM spacetime.names n JOIN spacetime.databases d ON d.id = n.database_id WHERE n.name = $2", &p,
        false));
    if (PQntuples(q) && *PQgetvalue(q, 0, 0) == 't')
        return S_OK;
    if (PQntuples(q) && *PQgetvalue(q, 0, 1) != 't')
        return FAIL(err, S_DENIED, "the name \"%.*s\" belongs to somebody else", STR_FMT(name));
    return FAIL(err, S_CONFLICT, "the name \"%.*s\" is taken by another database of yours", STR_FMT(name));
}

static Status database_must_exist(PGconn *pg, uint64_t database_id, Error *err)
{
    Params p = {0};
    params_i64(&p, (int64_t)database_id);
    OWN(result) PGresult *r = NULL;
    TRY(pg_query(pg, &r, err, "SELECT 1 FROM spacetime.databases WHERE id = $1 FOR SHARE", &p, false));
    return PQntuples(r) ? S_OK : FAIL(err, S_NOT_FOUND, "there is no database %llu", (unsigned long long)database_id);
}

Status storage_name_add(Storage *s, uint64_t database_id, Str name, const uint8_t caller[32], Error *err)
{
    return storage_names_replace(s, database_id, UINT32_MAX, &name, caller, err);
}

/* n == UINT32_MAX: add the one name and keep the others. */
Status storage_names_replace(Storage *s, uint64_t database_id, uint32_t n, const Str *names, const uint8_t caller[32], Error *err)
{
    PGconn *pg;
    TRY(pool_take(s, &pg, err));
    bool add = n == UINT32_MAX;
    Params p = {0};
    params_i64(&p, (int64_t)database_id);
    Status code = pg_exec(pg, NULL, err, "BEGIN");
    if (code == S_OK)
        code = database_must_exist(pg, database_id, err);
    if (code == S_OK && !add)
        code = pg_query(pg, NULL, err, "DELETE FROM spacetime.names WHERE database_id = $1", &p, false);
    for (uint32_t i = 0; code == S_OK && i < (add ? 1 : n); i++)
        code = catalog_name_insert(pg, database_id, names[i], caller, err);
    if (code == S_OK)
        code = pg_exec(pg, NULL, err, "COMMIT");
    pool_give(s, pg); /* rolls back what is left open */
    return code;
}

Status storage_setting_get(Storage *s, Arena *a, Str key, Bytes *ret, Error *err)
{
    PGconn *pg;
    TRY(pool_take(s, &pg, err));
    Params p = {0};
    params_text(&p, key);
    OWN(result) PGresult *r = NULL;
    Status code = pg_query(pg, &r, err, "SELECT value FROM spacetime.settings WHERE key = $1", &p, true);
    pool_give(s, pg);
    if (code != S_OK)
        return code;
    if (!PQntuples(r))
        return FAIL(err, S_NOT_FOUND, "there is no setting \"%.*s\"", STR_FMT(key));
    size_t len = (size_t)PQgetlength(r, 0, 0);
    *ret = bytes_of(arena_copy(a, PQgetvalue(r, 0, 0), len), len);
    return S_OK;
}

Status storage_setting_put(Storage *s, Str key, Bytes value, Error *err)
{
    PGconn *pg;
    TRY(pool_take(s, &pg, err));
    Params p = {0};
    params_text(&p, key);
    params_bytes(&p, value);
    OWN(result) PGresult *r = NULL;
    Status code = pg_query(pg, &r, err, "INSERT INTO spacetime.settings (key, value) VALUES ($1, $2) ON CONFLICT DO NOTHING", &p, false);
    if (code == S_OK && *PQcmdTuples(r) != '1')
        code = FAIL(err, S_CONFLICT, "the setting \"%.*s\" is present", STR_FMT(key));
    pool_give(s, pg);
    return code;
}

Status storage_allocate_table_ids(Storage *s, uint32_t count, uint32_t *ret_first, Error *err)
{
    PGconn *pg;
    TRY(pool_take(s, &pg, err));
    Params p = {0};
    params_i64(&p, count);
    OWN(result) PGresult *r = NULL;
    Status code =
        pg_query(pg, &r, err, "UPDATE spacetime.counters SET value = value + $1 WHERE name = 'table_id' RETURNING value - $1", &p, false);
    pool_give(s, pg);
    if (code != S_OK)
        return code;
    int64_t first = PQntuples(r) ? pg_i64(r, 0, 0) : INT64_MAX;
    if (first > (int64_t)UINT32_MAX - count)
        return FAIL(err, S_TOO_LARGE, "all table ids are used up");
    *ret_first = (uint32_t)first;
    return S_OK;
}

/* ---- who owns a database -------------------------------------------------------------------- */

/* The program and the definition of one version. The program's bytes live in *ret_keep. */
Status catalog_image(PGconn *pg, uint64_t database_id, uint32_t version, Arena *a, SchemaImage *ret, Bytes *ret_program,
                     PGresult **ret_keep, Error *err)
{
    Params p = {0};
    params_i64(&p, (int64_t)database_id);
    params_i64(&p, version);
    OWN(result) PGresult *r = NULL;
    TRY(pg_query(pg, &r, err,
                 "SELECT v.definition, g.program FROM spacetime.versions v JOIN spacetime.programs g ON g.hash = v.program_hash"
                 " WHERE v.database_id = $1 AND v.schema_version = $2",
                 &p, true));
    if (!PQntuples(r))
        return FAIL(err, S_NOT_FOUND, "version %u of database %llu is not in the catalog", version, (unsigned long long)database_id);
    ModuleDef *def;
    if (module_def_from_bsatn(&def, bytes_of(PQgetvalue(r, 0, 0), (size_t)PQgetlength(r, 0, 0)), err) != S_OK)
        return CONTEXT(err, "definition of version %u in the catalog", version);
    Params only = {0};
    params_i64(&only, (int64_t)database_id);
    OWN(result) PGresult *t = NULL;
    Status code = pg_query(pg, &t, err, "SELECT name, id::text FROM spacetime.tables WHERE database_id = $1", &only, false);
    uint32_t *ids = ARENA_ARRAY(a, uint32_t, def->ntables + 1);
    for (int i = 0; code == S_OK && i < PQntuples(t); i++)
        for (uint32_t k = 0; k < def->ntables; k++)
            if (str_is(def->tables[k].name, PQgetvalue(t, i, 0)))
                ids[k] = (uint32_t)pg_i64(t, i, 1);
    for (uint32_t k = 0; code == S_OK && k < def->ntables; k++)
        if (!ids[k])
            code = FAIL(err, S_INTERNAL, "table %.*s has no id in the catalog", STR_FMT(def->tables[k].name));
    if (code != S_OK) {
        module_def_unref(def);
        return code;
    }
    *ret = (SchemaImage){.def = def, .version = version, .ids = ids};
    *ret_program = bytes_of(PQgetvalue(r, 0, 1), (size_t)PQgetlength(r, 0, 1));
    *ret_keep = TAKE(r);
    return S_OK;
}

Status fence_check(PGconn *pg, const Lease *lease, Error *err)
{
    Params p = {0};
    params_i64(&p, (int64_t)lease->database_id);
    params_i64(&p, (int64_t)lease->epoch);
    OWN(result) PGresult *r = NULL;
    TRY(pg_query(pg, &r, err, "SELECT 1 FROM spacetime.fence WHERE database_id = $1 AND epoch = $2 FOR SHARE", &p, false));
    return PQntuples(r) ? S_OK : FAIL(err, S_FENCED, "another host owns database %llu now", (unsigned long long)lease->database_id);
}

static void machine_id(char *out, size_t size)
{
    char boot[64] = "", ns[64] = "";
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f) {
        if (!fgets(boot, sizeof boot, f))
            boot[0] = 0;
        fclose(f);
    }
    boot[strcspn(boot, "\n")] = 0;
    ssize_t n = readlink("/proc/self/ns/pid", ns, sizeof ns - 1);
    ns[n > 0 ? n : 0] = 0;
    snprintf(out, size, "%s %s", boot, ns);
}

static int64_t process_start(int pid) /* clock ticks since boot; -1: no such process */
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    char *p = strrchr(text, ')');
    for (int field = 2; p && field < 22; field++) {
        p = strchr(p + 1, ' ');
    }
    return p ? strtoll(p, NULL, 10) : -1;
}

Status host_register(Storage *s, PGconn *pg, Error *err)
{
    char machine[160];
    machine_id(machine, sizeof machine);
    Params p = {0};
    params_text(&p, str_of(s->host_id));
    params_text(&p, str_of(machine));
    params_i64(&p, getpid());
    params_i64(&p, process_start(getpid()));
    params_i64(&p, storage_lease_ttl_ms);
    TRY(pg_query(pg, NULL, err,
                 "INSERT INTO spacetime.hosts (id, machine, pid, pid_start, beat, ttl) VALUES ($1, $2, $3, $4, clock_timestamp(), $5 * "
                 "interval '1 ms')"
                 " ON CONFLICT (id) DO UPDATE SET beat = clock_timestamp(), ttl = excluded.ttl",
                 &p, false));
    return pg_exec(pg, NULL, err,
                   "DELETE FROM spacetime.hosts h WHERE beat < clock_timestamp() - interval '1 day' AND NOT EXISTS (SELECT 1 FROM "
                   "spacetime.leases l WHERE l.host_id = h.id)");
}

/* Is the holder alive? It is dead for sure when its process on this machine is gone; else by its heartbeat. */
static Status holder_check(Storage *s, PGconn *pg, uint64_t database_id, char holder[40], Error *err)
{
    Params p = {0};
    params_i64(&p, (int64_t)database_id);
    OWN(result) PGresult *r = NULL;
    TRY(pg_query(pg, &r, err,
                 "SELECT h.id, h.machine, h.pid, h.pid_start, (extract(epoch FROM h.beat + h.ttl - clock_timestamp()) * 1000)::bigint"
                 " FROM spacetime.leases l JOIN spacetime.hosts h ON h.id = l.host_id WHERE l.database_id = $1",
                 &p, false));
    holder[0] = 0;
    if (!PQntuples(r) || !strcmp(PQgetvalue(r, 0, 0), s->host_id))
        return S_OK;
    snprintf(holder, 40, "%s", PQgetvalue(r, 0, 0));
    char machine[160];
    machine_id(machine, sizeof machine);
    if (!strcmp(machine, PQgetvalue(r, 0, 1)) && process_start((int)pg_i64(r, 0, 2)) != pg_i64(r, 0, 3))
        return S_OK;
    if (pg_i64(r, 0, 4) > 0)
        return FAIL(err, S_BUSY, "host %.8s (pid %s) holds database %llu; it counts as alive for %lld ms more", holder, PQgetvalue(r, 0, 2),
                    (unsigned long long)database_id, (long long)pg_i64(r, 0, 4));
    return S_OK;
}

static void terminate_backends(PGconn *pg, const char *host_id)
{
    OWN(buf) Buf sql = {0};
    buf_printf(&sql,
               "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'spacetime-pg %.16s %%' AND pid <> "
               "pg_backend_pid()",
               host_id);
    PQclear(PQexec(pg, buf_cstr(&sql)));
}

static Status acquire_once(Storage *s, PGconn *pg, uint64_t database_id, Lease *ret, char holder[40], Error *err)
{
    TRY(pg_exec(pg, NULL, err, "BEGIN; SET LOCAL lock_timeout = '3s'"));
    TRY(database_must_exist(pg, database_id, err));
    Params p = {0};
    params_i64(&p, (int64_t)database_id);
    TRY(pg_query(pg, NULL, err, "SELECT 1 FROM spacetime.leases WHERE database_id = $1 FOR UPDATE", &p, false));
    TRY(holder_check(s, pg, database_id, holder, err));
    OWN(result) PGresult *r = NULL;
    TRY(pg_query(pg, &r, err, "UPDATE spacetime.fence SET epoch = epoch + 1 WHERE database_id = $1 RETURNING epoch", &p, false));
    if (!PQntuples(r))
        return FAIL(err, S_INTERNAL, "database %llu has no fence row", (unsigned long long)database_id);
    Lease lease = {database_id, (uint64_t)pg_i64(r, 0, 0)};
    params_text(&p, str_of(s->host_id));
    params_i64(&p, (int64_t)lease.epoch);
    TRY(pg_query(pg, NULL, err,
                 "INSERT INTO spacetime.leases (database_id, host_id, epoch) VALUES ($1, $2, $3)"
                 " ON CONFLICT (database_id) DO UPDATE SET host_id = $2, epoch = $3, since = clock_timestamp()",
                 &p, false));
    TRY(pg_exec(pg, NULL, err, "COMMIT"));
    *ret = lease;
    return S_OK;
}

Status storage_acquire(Storage *s, uint64_t database_id, Lease *ret, Error *err)
{
    PGconn *pg;
    TRY(pool_take(s, &pg, err));
    char holder[40] = "";
    Error first;
    memset(&first, 0, sizeof first);
    storage_check_cluster(s, pg); /* what is opened now must not be closed in a moment as of another cluster */
    Status code = acquire_once(s, pg, database_id, ret, holder, &first);
    if (code == S_BUSY && !strcmp(first.sqlstate, "55P03") && holder[0]) {
        /* a backend of the dead holder hangs inside a transaction */
        PQclear(PQexec(pg, "ROLLBACK"));
        terminate_backends(pg, holder);
        code = acquire_once(s, pg, database_id, ret, holder, &first);
    }
    if (code == S_OK && holder[0])
        terminate_backends(pg, holder);
    else if (code != S_OK && err)
        *err = first;
    pool_give(s, pg);
    return code;
}

void storage_release(Storage *s, const Lease *lease)
{
    PGconn *pg;
    Error err;
    if (pool_take(s, &pg, &err) != S_OK)
        return;
    Params p = {0};
    params_i64(&p, (int64_t)lease->database_id);
    params_i64(&p, (int64_t)lease->epoch);
    if (pg_query(pg, NULL, &err, "DELETE FROM spacetime.leases WHERE database_id = $1 AND epoch = $2", &p, false) != S_OK)
        log_warn("database %llu: the lease was not given back: %s", (unsigned long long)lease->database_id, err.text);
    pool_give(s, pg);
}

/* ---- deleting ---------------------------------------------------------------------------------- */

static Status delete_in_transaction(Storage *s, PGconn *pg, uint64_t database_id, Error *err)
{
    TRY(pg_exec(pg, NULL, err, "BEGIN; SET LOCAL lock_timeout = '3s'"));
    TRY(database_must_exist(pg, database_id, err));
    char holder[40];
    TRY(holder_check(s, pg, database_id, holder, err));
    Params p = {0};
    params_i64(&p, (int64_t)database_id);
    TRY(pg_query(pg, NULL, err, "UPDATE spacetime.fence SET epoch = epoch + 1 WHERE database_id = $1", &p, false));
    OWN(result) PGresult *d = NULL, *t = NULL;
    TRY(pg_query(pg, &d, err,
                 "SELECT d.schema_name, n.oid IS NOT NULL FROM spacetime.databases d LEFT JOIN pg_namespace n ON n.oid = d.schema_oid"
                 " AND n.nspname = d.schema_name WHERE d.id = $1",
                 &p, false));
    OWN(buf) Buf sql = {0};
    OWN(buf) Buf schema = {0};
    put_ident(&schema, str_of(PQgetvalue(d, 0, 0)));
    const char *q = buf_cstr(&schema);
    if (*PQgetvalue(d, 0, 1) == 't') { /* else an operator dropped or renamed it: only the catalog is left to clean */
        TRY(pg_query(pg, &t, err, "SELECT physical_name FROM spacetime.tables WHERE database_id = $1 AND physical_name IS NOT NULL", &p,
                     false));
        for (int i = 0; i < PQntuples(t); i++) {
            buf_printf(&sql, "DROP TABLE IF EXISTS %s.", q);
            put_ident(&sql, str_of(PQgetvalue(t, i, 0)));
            buf_put_text(&sql, ";\n");
        }
        buf_printf(&sql, "DROP TABLE IF EXISTS %s.st_log_0, %s.st_log_1, %s.st_log_2, %s.st_state, %s.st_client, %s.st_sequence;\n", q, q,
                   q, q, q, q);
        buf_printf(&sql, "DROP SCHEMA %s;\n", q); /* refuses while something of the operator's is left inside */
        if (pg_exec(pg, NULL, err, buf_cstr(&sql)) != S_OK)
            return CONTEXT(err, "dropping the tables of \"%s\"", PQgetvalue(d, 0, 0));
    }
    TRY(pg_query(pg, NULL, err, "DELETE FROM spacetime.databases WHERE id = $1", &p, false));
    TRY(pg_exec(pg, NULL, err,
                "DELETE FROM spacetime.programs g WHERE NOT EXISTS (SELECT 1 FROM spacetime.versions v WHERE v.program_hash = g.hash)"));
    return pg_exec(pg, NULL, err, "COMMIT");
}

Status storage_delete(Storage *s, uint64_t database_id, Error *err)
{
    pthread_mutex_lock(&s->mu);
    bool attached = db_find(s, database_id) != NULL;
    pthread_mutex_unlock(&s->mu);
    if (attached)
        return FAIL(err, S_BUSY, "database %llu is attached", (unsigned long long)database_id);
    PGconn *pg;
    TRY(pool_take(s, &pg, err));
    Status code = delete_in_transaction(s, pg, database_id, err);
    pool_give(s, pg);
    return code;
}

/* ---- the history of publishes ---- */

Status storage_history(Storage *s, uint64_t database_id, uint32_t limit, Arena *a, uint32_t *ret_n, PublishRecord **ret, Error *err)
{
    PGconn *pg;
    TRY(pool_take(s, &pg, err));
    Params p = {0};
    params_i64(&p, (int64_t)database_id);
    params_i64(&p, limit ? limit : INT32_MAX);
    OWN(result) PGresult *r = NULL;
    Status code =
        pg_query(pg, &r, err,
                 "SELECT schema_version, migration, (extract(epoch FROM published_at) * 1000000)::bigint,"
                 " coalesce((extract(epoch FROM duration) * 1000000)::bigint, 0), encode(publisher, 'hex'), encode(program_hash, 'hex'),"
                 " reset, plan, coalesce(plan_json::text, ''), ddl FROM spacetime.versions WHERE database_id = $1"
                 " ORDER BY schema_version DESC LIMIT $2",
                 &p, false);
    if (code == S_OK) {
        *ret_n = (uint32_t)PQntuples(r);
        PublishRecord *list = ARENA_ARRAY(a, PublishRecord, *ret_n + 1);
        for (int i = 0; i < PQntuples(r); i++) {
            PublishRecord *v = &list[i];
            uint8_t publisher[32] = {0};
            *v = (PublishRecord){.version = (uint32_t)pg_i64(r, i, 0),
                                 .migration = (uint32_t)pg_i64(r, i, 1),
                                 .published_us = pg_i64(r, i, 2),
                                 .duration_us = pg_i64(r, i, 3),
                                 .reset = *PQgetvalue(r, i, 6) == 't',
                                 .plan = arena_str(a, str_of(PQgetvalue(r, i, 7))),
                                 .plan_json = arena_str(a, str_of(PQgetvalue(r, i, 8))),
                                 .ddl = arena_str(a, str_of(PQgetvalue(r, i, 9)))};
            (void)hex_decode(publisher, 32, str_of(PQgetvalue(r, i, 4)));
            (void)hex_decode(v->program_hash, 32, str_of(PQgetvalue(r, i, 5)));
            memcpy(v->publisher, publisher, 32);
        }
        *ret = list;
    }
    pool_give(s, pg);
    return code;
}

Status storage_migration(Storage *s, uint64_t database_id, uint32_t *ret_migration, Error *err)
{
    PGconn *pg;
    TRY(pool_take(s, &pg, err));
    Params p = {0};
    params_i64(&p, (int64_t)database_id);
    OWN(result) PGresult *r = NULL;
    Status code = pg_query(pg, &r, err,
                           "SELECT v.migration FROM spacetime.versions v JOIN spacetime.databases d ON d.id = v.database_id AND"
                           " d.schema_version = v.schema_version WHERE d.id = $1",
                           &p, false);
    if (code == S_OK)
        *ret_migration = PQntuples(r) ? (uint32_t)pg_i64(r, 0, 0) : 0;
    pool_give(s, pg);
    return code;
}
