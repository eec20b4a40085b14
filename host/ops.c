/* ops.c - opening, recovering and closing a database: sequential, on a job thread. */
#include "host/host.h"
#include "host/wire/identity.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CRASHES_MAX = 5, KILLS_SECONDS_MAX = 30 };
enum { LOAD_TIMEOUT_MS = 600000, WORKER_UID_BASE = 1000000, WORKER_UID_COUNT = 60000 };

/* ---- module files ---- */

/* When the host runs as root, workers get a uid of their own, which must reach the module directory whatever the mode of the
 * data directory's parents is: then modules live below /run. */
static void modules_root(const Host *h, char *out, size_t size)
{
    if (geteuid() == 0) {
        uint8_t hash[32];
        char hex[17];
        blake3_256(hash, str_bytes(str_of(h->config.data_dir)));
        hex_encode(hex, hash, 8);
        snprintf(out, size, "/run/spacetimedb-%s", hex);
    } else {
        snprintf(out, size, "%s/modules", h->config.data_dir);
    }
}

void modules_clear(Host *h)
{
    char root[560];
    modules_root(h, root, sizeof root);
    DIR *all = opendir(root);
    if (!all)
        return; /* there is none yet */
    for (struct dirent *d; (d = readdir(all));) {
        char dir[820];
        snprintf(dir, sizeof dir, "%s/%s", root, d->d_name);
        DIR *one = d->d_name[0] == '.' ? NULL : opendir(dir);
        for (struct dirent *f; one && (f = readdir(one));) {
            size_t n = strlen(f->d_name);
            if (n > 3 && strcmp(f->d_name + n - 3, ".so") == 0)
                unlinkat(dirfd(one), f->d_name, 0);
        }
        if (one)
            closedir(one);
    }
    closedir(all);
}

void link_config_for(Host *h, const uint8_t identity[32], const char *label, LinkConfig *ret, char *dir, size_t dir_size)
{
    char root[560], hex[65];
    modules_root(h, root, sizeof root);
    identity_to_hex(hex, identity);
    mkdir(root, 0711);
    snprintf(dir, dir_size, "%s/%s", root, hex);
    mkdir(dir, 0755);
    *ret = (LinkConfig){
        .worker_path = h->config.worker_path,
        .label = label,
        .module_dir = dir,
        .allow_unsandboxed = h->config.allow_unsandboxed,
        .data_bytes_max = h->config.worker_bytes_max,
        .procedures_max = h->config.procedures_max,
        .call_bytes_max = h->config.call_bytes_max,
        .database_bytes_max = h->config.database_bytes_max,
        .txn_bytes_max = h->config.txn_bytes_max,
        .txn_rows_max = h->config.txn_rows_max,
        .call_ms_max = h->config.call_ms_max,
        .view_ms_max = h->config.view_ms_max,
        .procedure_ms_max = h->config.procedure_ms_max,
    };
    if (geteuid() == 0) { /* a uid for each database: nobody else's processes or files are theirs */
        uint32_t uid = WORKER_UID_BASE + load_u32(identity) % WORKER_UID_COUNT;
        ret->uid = uid;
        ret->gid = uid;
    }
}

Status module_file_write(Host *h, const uint8_t identity[32], Bytes program, char path[600], Error *err)
{
    LinkConfig ignored;
    char dir[560];
    link_config_for(h, identity, "", &ignored, dir, sizeof dir);
    /* dlopen by a name used before gives the old library back (rule 21): time and a counter make each name new */
    uint64_t n = __atomic_add_fetch(&h->module_counter, 1, __ATOMIC_RELAXED);
    snprintf(path, 600, "%s/%llx-%llx.so", dir, (unsigned long long)clock_wall_us(), (unsigned long long)n);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (fd < 0)
        return FAIL(err, S_IO, "cannot write the module file %s: %s", path, strerror(errno));
    size_t done = 0;
    while (done < program.len) {
        ssize_t n_written = write(fd, program.ptr + done, program.len - done);
        if (n_written < 0 && errno == EINTR)
            continue;
        if (n_written <= 0) {
            Status s = FAIL(err, S_IO, "cannot write the module file %s: %s", path, strerror(errno));
            close(fd);
            unlink(path);
            return s;
        }
        done += (size_t)n_written;
    }
    close(fd);
    return S_OK;
}

/* ---- LOAD ---- */

static uint16_t columns_of(const SchemaImage *image, uint32_t id)
{
    const TableDef *t = schema_image_table(image, id);
    return t ? t->ncols : 0;
}

void load_record(Buf *out, const Database *db, const SchemaImage *image, const char *path, const uint32_t *since)
{
    buf_put_u32(out, image->version);
    buf_put_str(out, str_of(path));
    buf_put_blob(out, image->def->bsatn);
    buf_put(out, db->identity, 32);
    buf_put(out, db->owner, 32);
    buf_put_u32(out, image->def->ntables);
    for (uint32_t i = 0; i < image->def->ntables; i++) {
        buf_put_str(out, image->def->tables[i].name);
        buf_put_u32(out, image->ids[i]);
    }
    uint32_t nreducers = image->def->nreducers, n = nreducers + image->def->nprocedures;
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        buf_put_str(out, i < nreducers ? image->def->reducers[i].name : image->def->procedures[i - nreducers].name);
        buf_put_u32(out, since ? since[i] : 1);
    }
    buf_put_u32(out, db->nhistory);
    for (uint32_t i = 0; i < db->nhistory; i++) {
        const SchemaImage *old = &db->history[i];
        buf_put_u32(out, old->version);
        buf_put_u32(out, old->def->ntables);
        for (uint32_t t = 0; t < old->def->ntables; t++) {
            buf_put_u32(out, old->ids[t]);
            buf_put_u16(out, columns_of(old, old->ids[t]));
        }
    }
}

/* What a caller must know of function `at`: of the reducers, then the procedures. */
typedef struct Signature {
    Str name;
    const Type *params, *ret; /* ret: of procedures */
} Signature;

static Signature signature_at(const ModuleDef *def, uint32_t at)
{
    if (at < def->nreducers)
        return (Signature){def->reducers[at].name, def->reducers[at].params, NULL};
    const ProcedureDef *p = &def->procedures[at - def->nreducers];
    return (Signature){p->name, p->params, p->ret};
}

static int32_t signature_find(const ModuleDef *def, const Signature *s)
{
    for (uint32_t i = s->ret ? def->nreducers : 0, n = def->nreducers + (s->ret ? def->nprocedures : 0); i < n; i++)
        if (str_eq(signature_at(def, i).name, s->name))
            return (int32_t)i;
    return -1;
}

static bool signature_differs(const ModuleDef *def, uint32_t at, const Signature *s)
{
    Signature was = signature_at(def, at);
    return !type_equal(was.params, s->params) || (s->ret && !type_equal(was.ret, s->ret));
}

static bool older_client_knows_otherwise(const Database *db, const Signature *s)
{
    for (uint32_t i = 0; i < db->nhistory; i++) {
        int32_t at = signature_find(db->history[i].def, s);
        if (at >= 0 && signature_differs(db->history[i].def, (uint32_t)at, s))
            return true;
    }
    return false;
}

uint32_t *since_versions_next(const Database *db, const SchemaImage *next)
{
    uint32_t n = next->def->nreducers + next->def->nprocedures;
    uint32_t *since = x_alloc((n + 1) * sizeof *since);
    for (uint32_t i = 0; db && i < n; i++) {
        Signature now = signature_at(next->def, i);
        int32_t was = signature_find(db->image.def, &now);
        if (was >= 0 ? signature_differs(db->image.def, (uint32_t)was, &now) : older_client_knows_otherwise(db, &now))
            since[i] = next->version;
        else if (was >= 0)
            since[i] = db->since_versions[was];
    }
    return since;
}

/* ---- the commit ring as storage's source ---- */

static bool source_next(void *user, Bytes *ret)
{
    Link *link = user;
    if (ring_read(&link->commit, ret))
        return true;
    /* Parts of a record larger than the ring may have been gathered: the worker waits for their room. */
    bool gathered = link->commit.tail != link->commit.published;
    ring_release(&link->commit);
    if (gathered)
        bell_ring(&link->area, BELL_WORKER, false);
    return false;
}
static void source_taken(void *user)
{
    Link *link = user;
    ring_release(&link->commit);
}
static bool source_sleep_begin(void *user)
{
    Link *link = user;
    bell_sleep_begin(&link->area, BELL_STORAGE, true);
    if (ring_is_empty(&link->commit))
        return true;
    bell_sleep_end(&link->area, BELL_STORAGE, true);
    return false;
}
static void source_sleep_end(void *user)
{
    Link *link = user;
    bell_sleep_end(&link->area, BELL_STORAGE, true);
}

CommitSource link_source(Link *link)
{
    return (CommitSource){.user = link,
                          .next = source_next,
                          .taken = source_taken,
                          .bell_fd = link->area.bells[BELL_STORAGE],
                          .sleep_begin = source_sleep_begin,
                          .sleep_end = source_sleep_end};
}

/* ---- loading ---- */

typedef struct Loading {
    Database *db;
    Link *link;
    bool first; /* opening: take schema and clients; else recovering: they are known */
    uint32_t nclients;
    CommitClient *clients; /* connected when the last host stopped; connects and disconnects of the log tail applied */
} Loading;

static Status load_schema(void *user, const SchemaImage *image, Bytes program, Error *err)
{
    Loading *l = user;
    Database *db = l->db;
    char path[600], dir[560];
    TRY(module_file_write(db->host, db->identity, program, path, err));
    LinkConfig config;
    link_config_for(db->host, db->identity, db->name, &config, dir, sizeof dir);
    if (link_spawn(&l->link, &config, err) != S_OK) {
        unlink(path);
        return err->code;
    }
    if (l->first) {
        if (db->image.def)
            module_def_unref(db->image.def);
        free((void *)db->image.ids);
        uint32_t *ids = x_alloc((image->def->ntables + 1) * sizeof *ids);
        memcpy(ids, image->ids, image->def->ntables * sizeof *ids);
        db->image = (SchemaImage){module_def_ref(image->def), image->version, ids};
        keccak_256(db->program_hash, program);
        free(db->since_versions);
        db->since_versions = since_versions_next(NULL, &db->image);
    } else if (image->version != db->image.version) {
        unlink(path);
        return FAIL(err, S_FENCED, "the catalog holds schema version %u, this host ran %u: another host has published", image->version,
                    db->image.version);
    }
    OWN(buf) Buf load = {0};
    load_record(&load, db, &db->image, path, db->since_versions);
    Bytes part = buf_bytes(&load);
    Status status = link_control(l->link, CTL_LOAD, 1, &part, LOAD_TIMEOUT_MS, err);
    unlink(path); /* mapped by now; the name is never used again */
    return status;
}

static Status load_expect(void *user, uint32_t table_id, uint64_t rows, Error *err)
{
    uint8_t head[12];
    store_u32(head, table_id);
    store_u64(head + 4, rows);
    Bytes part = {head, 12};
    return link_send_control(((Loading *)user)->link, CTL_EXPECT, 1, &part, err);
}

static Status load_rows(void *user, uint32_t table_id, uint32_t nrows, Bytes rows, Error *err)
{
    uint8_t head[8];
    store_u32(head, table_id);
    store_u32(head + 4, nrows);
    const Bytes parts[] = {{head, 8}, rows};
    return link_send_control(((Loading *)user)->link, CTL_ROWS, 2, parts, err);
}

static Status load_sequence(void *user, const CommitSequence *seq, Error *err)
{
    uint8_t head[22];
    store_u32(head, seq->table_id);
    store_u16(head + 4, seq->column);
    memcpy(head + 6, &seq->allocated, 16);
    Bytes part = {head, 22};
    return link_send_control(((Loading *)user)->link, CTL_SEQUENCE, 1, &part, err);
}

static void note_client(Loading *l, const CommitClient *c)
{
    for (uint32_t i = 0; i < l->nclients; i++)
        if (memcmp(l->clients[i].identity, c->identity, 32) == 0 && memcmp(l->clients[i].connection_id, c->connection_id, 16) == 0) {
            if (!c->connected) {
                free((void *)l->clients[i].claims.ptr);
                l->clients[i] = l->clients[--l->nclients];
                l->clients[l->nclients].claims = (Str){0}; /* moved, or freed */
            }
            return;
        }
    if (!c->connected)
        return;
    l->clients = x_realloc(l->clients, (l->nclients + 1) * sizeof *l->clients);
    CommitClient *kept = &l->clients[l->nclients++];
    *kept = *c;
    kept->claims = str_dup(c->claims);
}

static void forget_loaded_clients(Loading *l)
{
    for (uint32_t i = 0; i < l->nclients; i++)
        free((void *)l->clients[i].claims.ptr);
    free(l->clients);
}

static Status load_client(void *user, const CommitClient *client, Error *err)
{
    (void)err;
    note_client(user, client);
    return S_OK;
}

static Status load_replay(void *user, Bytes record, Error *err)
{
    Loading *l = user;
    Reader r = reader_of(record);
    CommitHeader header;
    TRY(commit_read_header(&r, &header, err));
    for (uint16_t i = 0; i < header.nclients; i++) {
        CommitClient client;
        TRY(commit_read_client(&r, &client, err));
        note_client(l, &client);
    }
    return link_send_control(l->link, CTL_REPLAY, 1, &record, err);
}

static Status load_worker(Loading *l, uint64_t *ret_offset, Error *err)
{
    const LoadSink sink = {l, load_schema, load_expect, load_rows, load_sequence, load_client, load_replay};
    TRY(storage_load(l->db->host->storage, &l->db->lease, &sink, ret_offset, err));
    uint8_t offset[8];
    store_u64(offset, *ret_offset);
    Bytes part = {offset, 8};
    TRY(link_control(l->link, CTL_READY, 1, &part, LOAD_TIMEOUT_MS, err));
    CoreDue *due = &l->db->died_in;
    if (!due->table)
        return S_OK;
    OWN(buf) Buf died = {0};
    buf_put_u32(&died, due->table);
    buf_put_u64(&died, due->key);
    buf_put_u8(&died, due->tag);
    buf_put_i64(&died, due->us);
    *due = (CoreDue){0};
    part = buf_bytes(&died);
    return link_send_control(l->link, CTL_DUE_DIED, 1, &part, err);
}

/* Clients of the host's earlier life: the module hears that they are gone, before anybody else may call. */
static void send_recovered_disconnects(void *arg)
{
    Loading *l = arg;
    for (uint32_t i = 0; i < l->nclients; i++) {
        const Bytes parts[] = {{l->clients[i].identity, 32}, {l->clients[i].connection_id, 16}, str_bytes(l->clients[i].claims)};
        DbState was = l->db->state;
        l->db->state = DB_OPEN; /* the link is ours and loaded; database_watch follows */
        database_send_call(l->db, CALL_DISCONNECT, 0, CLIENT_NONE, 0, l->db->image.version, 3, parts);
        l->db->state = was;
    }
    database_flush_calls(l->db);
}

void forget_link(void *arg)
{
    Database *db = arg;
    database_unwatch(db);
    link_free(db->link);
    db->link = NULL;
    db->early = (Bytes){0};
    db->calls_unpublished = false;
}

Status op_open(Database *db, Error *err)
{
    Host *h = db->host;
    if (db->state == DB_OPEN || db->state == DB_RECOVERING)
        return S_OK;
    if (db->attached) { /* it failed earlier */
        storage_detach(h->storage, db->id);
        db->attached = false;
    }
    if (db->link)
        host_on_loop(h, forget_link, db);
    Loading l = {.db = db, .first = true};
    TRY(storage_acquire(h->storage, db->id, &db->lease, err));
    uint64_t offset = 0;
    Status status = load_worker(&l, &offset, err);
    db->link = l.link;
    if (status == S_OK) {
        db->ready_offset = offset;
        atomic_store(&db->complete, offset);
        atomic_store(&db->durable, offset);
        db->source = link_source(l.link);
        db->answered_call_seq = db->next_call_seq - 1;
        status = storage_attach(h->storage, &db->lease, &db->image, offset, &db->source, err);
        db->attached = status == S_OK;
    }
    if (status != S_OK) {
        host_on_loop(h, forget_link, db);
        storage_release(h->storage, &db->lease);
    } else {
        host_on_loop(h, send_recovered_disconnects, &l);
        log_info("database %s: open at offset %llu, schema version %u", db->name, (unsigned long long)offset, db->image.version);
    }
    forget_loaded_clients(&l);
    return status;
}

/* ---- recovery ---- */

typedef struct Settle {
    Database *db;
    uint64_t offset;
} Settle;

static void settle_on_loop(void *arg)
{
    Settle *s = arg;
    if (s->db->state != DB_RECOVERING) /* it failed meanwhile: its clients are gone */
        return;
    database_settle_dead_worker(s->db, s->offset);
    net_channel_progress(s->db->channel, s->offset, s->offset);
}

static bool recovery_ended(const Database *db) { return db->host->stopping || db->state != DB_RECOVERING; }

/* It dies at once, again and again. A worker killed from outside is given time: whoever kills it may stop doing so. */
static bool crashes_without_end(const Database *db)
{
    if (db->crashes <= CRASHES_MAX)
        return false;
    return !db->killed_from_outside || clock_monotonic_ns() - db->progress_ns > (uint64_t)KILLS_SECONDS_MAX * 1000000000u;
}

static void recovery_pause(const Database *db, uint32_t failures)
{
    enum { STEP_MS = 10, PAUSE_MS_MAX = 1000 };
    uint32_t crashes = db->crashes > 2 ? db->crashes - 2 : 0, n = MAX(crashes, failures);
    uint32_t pause_ms = n ? MIN(10u << MIN(n, 10u), (uint32_t)PAUSE_MS_MAX) : 0;
    for (uint32_t waited = 0; waited < pause_ms && !recovery_ended(db); waited += STEP_MS)
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
}

/* A worker at exactly `expected`, attached to storage. While it is not to be had for a passing reason (PostgreSQL is away, somebody
 * kills worker after worker) it is tried again: clients stay connected, their calls wait or are refused. */
static Status replace_worker(Database *db, uint64_t expected, Error *err)
{
    Host *h = db->host;
    for (uint32_t failures = 0;; failures++) {
        recovery_pause(db, failures);
        if (crashes_without_end(db))
            return FAIL(err, S_UNAVAILABLE, "the module's process died %u times in a row; see its log, then publish a repaired module",
                        db->crashes);
        if (recovery_ended(db))
            return FAIL(err, S_UNAVAILABLE, "database %s is being stopped", db->name);
        Loading l = {.db = db};
        uint64_t offset = 0;
        *err = (Error){0};
        Status status = load_worker(&l, &offset, err);
        forget_loaded_clients(&l);
        if (status == S_OK && offset != expected)
            status = FAIL(err, S_INTERNAL, "the log ends at offset %llu, the dead worker had completed %llu", (unsigned long long)offset,
                          (unsigned long long)expected);
        if (status == S_OK) {
            db->link = l.link;
            db->ready_offset = offset;
            db->source = link_source(l.link);
            return storage_replace_source(h->storage, db->id, &db->source, err);
        }
        bool died = l.link && l.link->dead;
        if (died) {
            db->crashes++;
            db->killed_from_outside = l.link->exit_signal == SIGKILL && !l.link->killed;
        }
        link_free(l.link);
        bool passing = died || status == S_UNAVAILABLE || status == S_BUSY || (err->sqlstate[0] && storage_passing(err));
        if (!passing)
            return status;
        log_warn("database %s: the worker is not back yet: %s", db->name, err->text);
    }
}

Status op_recover(Database *db, Error *err)
{
    Host *h = db->host;
    Settle settle = {.db = db};
    Status status;
    do { /* PostgreSQL may be away at the same time */
        status = storage_drain_source(h->storage, db->id, &settle.offset, err);
    } while (status == S_UNAVAILABLE && !recovery_ended(db));
    TRY(status);
    host_on_loop(h, settle_on_loop, &settle);
    host_on_loop(h, forget_link, db);
    return replace_worker(db, settle.offset, err);
}

/* ---- closing ---- */

void op_close(Database *db)
{
    Host *h = db->host;
    if (db->link)
        link_stop(db->link, LINK_STOP_TIMEOUT_MS);
    if (db->attached) {
        storage_detach(h->storage, db->id);
        db->attached = false;
    }
    if (db->link)
        host_on_loop(h, forget_link, db);
    storage_release(h->storage, &db->lease);
}
