/* embedded.c - our own PostgreSQL cluster below the host's data directory.
 *
 *   D/pg            the cluster, owned by the user that runs PostgreSQL, mode 0700
 *   D/pg.lock       flock held while a host uses it
 *   D/pg.log        PostgreSQL's log, cut at start when large
 *   D/pg.conninfo   for psql "$(cat D/pg.conninfo)": the host's user and root
 *   socket          D/pg when that fits 107 bytes, else a directory of ours under /tmp or XDG_RUNTIME_DIR
 *
 * PostgreSQL refuses to run as root, so as root everything of its runs as `postgres` (or `nobody`). Who may connect is
 * decided by peer credentials: pg_ident maps the host's user, the cluster's user and root to the superuser `spacetime`. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pipe2 */
#endif
#include "host/storage/storage_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LOG_BYTES_MAX = 16 << 20, SOCKET_PATH_MAX = 107 };

struct Embedded {
    char *dir, *cluster, *socket_dir, *log, *conninfo, *bin;
    uid_t uid;
    gid_t gid;
    char user[64];
    int lock_fd;
    pid_t child; /* 0: adopted */
    pid_t postmaster;
    pthread_t guard; /* starts PostgreSQL again when it dies; while it runs, `child` and `postmaster` are its own */
    bool guarded;
    _Atomic bool stopping;
};

static char *pg_bin(void)
{
    const char *own = getenv("SPACETIME_PG_BIN");
    if (own)
        return x_strdup(own);
    for (int v = 18; v >= 14; v--) {
        char *path = x_sprintf("/usr/lib/postgresql/%d/bin", v);
        OWN(free) char *probe = x_sprintf("%s/postgres", path);
        if (access(probe, X_OK) == 0)
            return path;
        free(path);
    }
    const char *const others[] = {"/usr/bin", "/usr/local/bin", "/usr/local/pgsql/bin"};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        OWN(free) char *probe = x_sprintf("%s/initdb", others[i]);
        if (access(probe, X_OK) == 0)
            return x_strdup(others[i]);
    }
    return NULL;
}

static Status make_dir(const char *path, mode_t mode, Error *err)
{
    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return FAIL(err, S_IO, "cannot create %s: %s", path, strerror(errno));
    return S_OK;
}

static Status write_file(const char *path, const char *text, mode_t mode, uid_t uid, gid_t gid, Error *err)
{
    OWN(free) char *temp = x_sprintf("%s.tmp", path);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return FAIL(err, S_IO, "cannot write %s: %s", temp, strerror(errno));
    bool ok =
        write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, mode) == 0 && (geteuid() != 0 || fchown(fd, uid, gid) == 0);
    ok = fsync(fd) == 0 && ok;
    close(fd);
    if (!ok || rename(temp, path) != 0)
        return FAIL(err, S_IO, "cannot write %s: %s", path, strerror(errno));
    return S_OK;
}

/* In the child: become the cluster's user, with `log` as output. */
static void child_prepare(const Embedded *e, int log_fd)
{
    if (geteuid() == 0 && (setgroups(1, &e->gid) != 0 || setgid(e->gid) != 0 || setuid(e->uid) != 0))
        _exit(126);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(log_fd, 1);
    dup2(log_fd, 2);
    if (chdir("/") != 0)
        _exit(126);
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    umask(077);
}

static pid_t spawn(const Embedded *e, char *const argv[], bool own_session)
{
    static char *const env[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", "TZ=UTC", NULL};
    int log_fd = open(e->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log_fd < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        if (own_session)
            setsid(); /* Ctrl-C at a terminal is the host's to handle */
        child_prepare(e, log_fd);
        execve(argv[0], argv, env);
        _exit(127);
    }
    close(log_fd);
    return pid;
}

static void log_tail(const Embedded *e, char *out, size_t size)
{ /* the last lines of the log, on one line */
    out[0] = 0;
    int fd = open(e->log, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    off_t len = lseek(fd, 0, SEEK_END);
    ssize_t n = pread(fd, out, size - 1, len > (off_t)size - 1 ? len - (off_t)size + 1 : 0);
    close(fd);
    out[n > 0 ? n : 0] = 0;
    for (char *p = out; *p; p++)
        if (*p == '\n')
            *p = p[1] ? '|' : 0;
}

static Status run(const Embedded *e, char *const argv[], Error *err)
{
    pid_t pid = spawn(e, argv, false);
    int status = -1;
    if (pid > 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    if (pid <= 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char tail[400];
        log_tail(e, tail, sizeof tail);
        return FAIL(err, S_IO, "%s failed; the end of %s: %s", argv[0], e->log, tail);
    }
    return S_OK;
}

static Status choose_user(Embedded *e, Error *err)
{
    e->uid = geteuid();
    e->gid = getegid();
    struct passwd *pw;
    if (e->uid == 0) {
        pw = getpwnam("postgres");
        if (!pw)
            pw = getpwnam("nobody");
        if (!pw)
            return FAIL(err, S_NOT_FOUND, "running as root, and there is neither a user postgres nor nobody to run PostgreSQL as");
        e->uid = pw->pw_uid;
        e->gid = pw->pw_gid;
    } else {
        pw = getpwuid(e->uid);
    }
    if (pw)
        snprintf(e->user, sizeof e->user, "%s", pw->pw_name);
    return S_OK;
}

static Status choose_socket_dir(Embedded *e, Error *err)
{
    const char suffix[] = "/.s.PGSQL.5432.lock";
    struct stat st;
    /* the cluster's user must be able to walk to it; below a private directory of root it cannot, and neither could initdb */
    if (strlen(e->cluster) + sizeof suffix <= SOCKET_PATH_MAX) {
        e->socket_dir = x_strdup(e->cluster);
        return S_OK;
    }
    const char *run_dir = geteuid() != 0 ? getenv("XDG_RUNTIME_DIR") : NULL;
    uint64_t h = hash_bytes(e->cluster, strlen(e->cluster), 1);
    if (run_dir && strlen(run_dir) < 60)
        e->socket_dir = x_sprintf("%s/spacetime-pg-%08x", run_dir, (unsigned)h);
    else
        e->socket_dir = x_sprintf("/tmp/spacetime-pg-%u-%08x", (unsigned)e->uid, (unsigned)h);
    TRY(make_dir(e->socket_dir, 0700, err));
    /* /tmp is everybody's: only a directory that we made or own already is given to the cluster's user */
    if (lstat(e->socket_dir, &st) != 0 || !S_ISDIR(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != e->uid))
        return FAIL(err, S_DENIED, "%s is not a directory of ours", e->socket_dir);
    if (geteuid() == 0 && lchown(e->socket_dir, e->uid, e->gid) != 0)
        return FAIL(err, S_IO, "cannot give %s to %s: %s", e->socket_dir, e->user, strerror(errno));
    if (lstat(e->socket_dir, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != e->uid || (st.st_mode & 077))
        return FAIL(err, S_DENIED, "%s is not a private directory of ours", e->socket_dir);
    return S_OK;
}

/* The cluster's user needs search permission on every directory above D/pg. */
static Status check_path(const Embedded *e, Error *err)
{
    if (geteuid() != 0)
        return S_OK;
    OWN(free) char *path = x_strdup(e->cluster);
    for (char *p = path + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        struct stat st;
        bool ok =
            stat(path, &st) == 0 && ((st.st_mode & S_IXOTH) || st.st_uid == e->uid || (st.st_gid == e->gid && (st.st_mode & S_IXGRP)));
        if (!ok)
            return FAIL(err, S_DENIED,
                        "the user %s, as whom PostgreSQL runs, cannot enter %s: give it permission to search there (chmod o+x), or choose "
                        "another data directory",
                        e->user, path);
        *p = '/';
    }
    return S_OK;
}

static const char settings[] =
    "# Written by spacetime-pg at every start. Your own settings go to postgresql.auto.conf (ALTER SYSTEM).\n"
    "listen_addresses = ''\nunix_socket_permissions = 0700\nmax_connections = 100\nshared_buffers = 128MB\nfsync = on\nfull_page_writes = "
    "on\n"
    "synchronous_commit = on\nwal_compression = on\nwal_buffers = 32MB\nwal_level = replica\nmax_wal_size = 2GB\nmin_wal_size = "
    "256MB\ncheckpoint_timeout = 15min\n"
    "checkpoint_completion_target = 0.9\njit = off\nwal_writer_delay = 200ms\nbgwriter_delay = 200ms\nautovacuum_naptime = 20s\n"
    "random_page_cost = 1.1\nlogging_collector = off\nlog_min_messages = warning\nlog_checkpoints = off\nlog_autovacuum_min_duration = "
    "-1\ntimezone = UTC\nlog_timezone = UTC\n"
    "huge_pages = try\nmax_prepared_transactions = 0\n";

static Status configure(Embedded *e, Error *err)
{
    OWN(free)
    char *conf = x_sprintf("%s/spacetime.conf", e->cluster), *hba = x_sprintf("%s/pg_hba.conf", e->cluster),
         *ident = x_sprintf("%s/pg_ident.conf", e->cluster),
         *text = x_sprintf("%sunix_socket_directories = '%s'\n", settings, e->socket_dir);
    TRY(write_file(conf, text, 0600, e->uid, e->gid, err));
    TRY(write_file(
        hba, "# Written by spacetime-pg at every start.\nlocal all all peer map=spacetime\nlocal replication all peer map=spacetime\n",
        0600, e->uid, e->gid, err));
    OWN(buf) Buf map = {0};
    buf_printf(&map, "# Written by spacetime-pg at every start.\nspacetime root spacetime\nspacetime %s spacetime\n",
               e->user[0] ? e->user : "postgres");
    return write_file(ident, buf_cstr(&map), 0600, e->uid, e->gid, err);
}

static Status init_cluster(Embedded *e, Error *err)
{
    OWN(free)
    char *fresh = x_sprintf("%s.new", e->cluster), *initdb = x_sprintf("%s/initdb", e->bin), *conf = x_sprintf("%s/postgresql.conf", fresh);
    OWN(free) char *rm = x_strdup("/bin/rm");
    struct stat st;
    if (lstat(fresh, &st) == 0) { /* an earlier attempt that was cut short */
        char *argv[] = {rm, "-rf", "--", fresh, NULL};
        TRY(run(e, argv, err));
    }
    TRY(make_dir(fresh, 0700, err));
    if (geteuid() == 0 && chown(fresh, e->uid, e->gid) != 0)
        return FAIL(err, S_IO, "cannot give %s to %s: %s", fresh, e->user, strerror(errno));
    char *argv[] = {
        initdb, "-D", fresh, "-U", "spacetime", "-A", "peer", "-E", "UTF8", "--locale=C", "--data-checksums", "--no-instructions", NULL};
    TRY(run(e, argv, err));
    FILE *f = fopen(conf, "ae");
    if (!f || fputs("\ninclude 'spacetime.conf'\n", f) < 0 || fclose(f) != 0)
        return FAIL(err, S_IO, "cannot write %s: %s", conf, strerror(errno));
    if (rename(fresh, e->cluster) != 0) /* complete or not there */
        return FAIL(err, S_IO, "cannot rename %s: %s", fresh, strerror(errno));
    return S_OK;
}

static Status check_version(const Embedded *e, Error *err)
{
    OWN(free) char *path = x_sprintf("%s/PG_VERSION", e->cluster), *command = x_sprintf("%s/postgres", e->bin);
    FILE *f = fopen(path, "re");
    int have = 0, major = 0;
    if (f) {
        if (fscanf(f, "%d", &have) != 1)
            have = 0;
        fclose(f);
    }
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return FAIL(err, S_IO, "pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipes[1], 1);
        char *argv[] = {command, "--version", NULL};
        if (geteuid() == 0 && (setgid(e->gid) != 0 || setuid(e->uid) != 0))
            _exit(126);
        execv(command, argv);
        _exit(127);
    }
    close(pipes[1]);
    char text[128];
    ssize_t n = read(pipes[0], text, sizeof text - 1);
    close(pipes[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    text[n > 0 ? n : 0] = 0;
    const char *digits = strpbrk(text, "0123456789");
    major = digits ? atoi(digits) : 0;
    if (have != major)
        return FAIL(err, S_INVALID,
                    "%s was made by PostgreSQL %d, and %s is version %d. Install PostgreSQL %d beside it (then it is found by itself), or "
                    "upgrade the cluster: "
                    "stop the host, run pg_upgrade from /usr/lib/postgresql/%d/bin with -d %s, and put the result in its place",
                    e->cluster, have, e->bin, major, have, major, e->cluster);
    return S_OK;
}

/* Use the binaries of the version that made the cluster when they are installed. */
static void prefer_cluster_version(Embedded *e)
{
    OWN(free) char *path = x_sprintf("%s/PG_VERSION", e->cluster);
    FILE *f = fopen(path, "re");
    int have = 0;
    if (f) {
        if (fscanf(f, "%d", &have) != 1)
            have = 0;
        fclose(f);
    }
    OWN(free) char *bin = x_sprintf("/usr/lib/postgresql/%d/bin", have), *probe = x_sprintf("%s/postgres", bin);
    if (have && !getenv("SPACETIME_PG_BIN") && access(probe, X_OK) == 0) {
        free(e->bin);
        e->bin = TAKE(bin);
    }
}

static PGconn *try_connect(const Embedded *e)
{
    PGconn *pg = PQconnectdb(e->conninfo);
    if (PQstatus(pg) == CONNECTION_OK)
        return pg;
    PQfinish(pg);
    return NULL;
}

static pid_t running_postmaster(const Embedded *e)
{
    OWN(free) char *path = x_sprintf("%s/postmaster.pid", e->cluster);
    FILE *f = fopen(path, "re");
    int pid = 0;
    if (f) {
        if (fscanf(f, "%d", &pid) != 1)
            pid = 0;
        fclose(f);
    }
    if (pid <= 0 || (kill(pid, 0) != 0 && errno != EPERM))
        return 0;
    /* the number may have been given to somebody else since: a postmaster sits in its cluster */
    char link[64], cwd[PATH_MAX];
    snprintf(link, sizeof link, "/proc/%d/cwd", pid);
    ssize_t n = readlink(link, cwd, sizeof cwd - 1);
    if (n < 0)
        return 0;
    cwd[n] = 0;
    return strcmp(cwd, e->cluster) == 0 ? pid : 0;
}

static void nap_ms(uint32_t ms) { nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL); }

static Status start_cluster(Embedded *e, Error *err)
{
    struct stat st;
    if (stat(e->log, &st) == 0 && st.st_size > LOG_BYTES_MAX) {
        OWN(free) char *old = x_sprintf("%s.1", e->log);
        (void)rename(e->log, old);
    }
    OWN(free) char *command = x_sprintf("%s/postgres", e->bin);
    char *argv[] = {command, "-D", e->cluster, NULL};
    e->child = spawn(e, argv, true);
    if (e->child <= 0)
        return FAIL(err, S_IO, "cannot start %s: %s", command, strerror(errno));
    e->postmaster = e->child;
    return S_OK;
}

enum { START_SECONDS_MAX = 300, CLEAR_SECONDS_MAX = 20 };

static bool child_gone(Embedded *e)
{
    if (!e->child || waitpid(e->child, NULL, WNOHANG) == 0)
        return false;
    e->child = 0;
    return true;
}

/* Backends of a postmaster that was killed may need a moment to notice; until then a new one refuses to start. */
static bool refused_by_the_past(const Embedded *e)
{
    char tail[500];
    log_tail(e, tail, sizeof tail);
    return strstr(tail, "pre-existing shared memory block") || strstr(tail, "lock file \"postmaster.pid\" already exists");
}

/* Adopt the postmaster that is there, also one that is still recovering or just stopping; else start one. Returns when it answers. */
static Status raise_cluster(Embedded *e, void (*note)(const char *), Error *err)
{
    uint64_t began = clock_monotonic_ns();
    bool noted = false;
    for (uint32_t i = 0; !e->stopping; i++) {
        uint64_t ms = (clock_monotonic_ns() - began) / 1000000;
        PGconn *pg = try_connect(e);
        if (pg) {
            pid_t pid = running_postmaster(e);
            if (pid != e->child && pid) {
                if (note)
                    note("adopting the PostgreSQL that is running");
                PQclear(PQexec(pg, "SELECT pg_reload_conf()"));
            }
            PQfinish(pg);
            e->postmaster = pid ? pid : e->child;
            return S_OK;
        }
        if (child_gone(e) && !(refused_by_the_past(e) && ms < CLEAR_SECONDS_MAX * 1000)) {
            char tail[500];
            log_tail(e, tail, sizeof tail);
            return FAIL(err, S_IO, "PostgreSQL did not start; the end of %s: %s", e->log, tail);
        }
        if (!e->child && !running_postmaster(e)) {
            if (note && !noted)
                note("starting PostgreSQL");
            noted = true;
            TRY(start_cluster(e, err));
        }
        if (i == 50 && note)
            note("PostgreSQL is recovering, waiting");
        if (ms > START_SECONDS_MAX * 1000)
            return FAIL(err, S_UNAVAILABLE, "PostgreSQL in %s did not accept a connection within %d s", e->cluster, START_SECONDS_MAX);
        nap_ms(i < 20 ? 10 : 100);
    }
    return FAIL(err, S_UNAVAILABLE, "the host is stopping");
}

/* Does the postmaster live? An adopted one is nobody's child here: its directory tells. */
static bool postmaster_lives(Embedded *e)
{
    if (e->child)
        return !child_gone(e);
    return running_postmaster(e) == e->postmaster;
}

/* While the host runs its PostgreSQL runs: a postmaster that was killed, crashed or was stopped is started again. */
static void *guard_main(void *arg)
{
    enum { LOOK_MS = 50, PAUSE_MS_MIN = 100, PAUSE_MS_MAX = 5000 };
    Embedded *e = arg;
    uint32_t pause_ms = PAUSE_MS_MIN;
    while (!e->stopping) {
        nap_ms(LOOK_MS);
        if (e->stopping || postmaster_lives(e))
            continue;
        log_error("PostgreSQL (pid %d) has ended; starting it again", (int)e->postmaster);
        Error err = {0};
        if (raise_cluster(e, NULL, &err) == S_OK) {
            log_info("PostgreSQL runs again (pid %d)", (int)e->postmaster);
            pause_ms = PAUSE_MS_MIN;
            continue;
        }
        if (e->stopping)
            break;
        log_error("%s; trying again in %u ms", err.text, pause_ms);
        for (uint32_t waited = 0; waited < pause_ms && !e->stopping; waited += LOOK_MS)
            nap_ms(LOOK_MS);
        pause_ms = MIN(pause_ms * 2, (uint32_t)PAUSE_MS_MAX);
    }
    return NULL;
}

static void embedded_free(Embedded *e)
{
    if (e->lock_fd >= 0)
        close(e->lock_fd);
    free(e->dir);
    free(e->cluster);
    free(e->socket_dir);
    free(e->log);
    free(e->conninfo);
    free(e->bin);
    free(e);
}

static Status take_lock(Embedded *e, Error *err)
{
    OWN(free) char *path = x_sprintf("%s/pg.lock", e->dir);
    e->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (e->lock_fd < 0)
        return FAIL(err, S_IO, "cannot open %s: %s", path, strerror(errno));
    if (flock(e->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return FAIL(err, S_BUSY, "another host uses the PostgreSQL cluster in %s", e->dir);
    return S_OK;
}

static Status bring_up(Embedded *e, void (*note)(const char *), Error *err)
{
    TRY(choose_user(e, err));
    TRY(take_lock(e, err));
    TRY(check_path(e, err));
    TRY(choose_socket_dir(e, err));
    if (geteuid() == 0) { /* the log is opened before the child drops its rights; it stays readable for the host */
        int fd = open(e->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd >= 0)
            close(fd);
    }
    const char *host = e->socket_dir;
    e->conninfo = x_sprintf("host='%s' port=5432 user=spacetime dbname=postgres", host);
    struct stat st;
    if (stat(e->cluster, &st) != 0) {
        if (note)
            note("creating the PostgreSQL cluster");
        TRY(init_cluster(e, err));
    }
    prefer_cluster_version(e);
    TRY(check_version(e, err));
    TRY(configure(e, err));
    TRY(raise_cluster(e, note, err));
    PGconn *admin = try_connect(e);
    OWN(result) PGresult *r = admin ? PQexec(admin, "SELECT 1 FROM pg_database WHERE datname = 'spacetime'") : NULL;
    Status code = S_OK;
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        code = PG_FAIL(err, admin, r, "looking for the database");
    else if (!PQntuples(r))
        code = pg_exec(admin, NULL, err, "CREATE DATABASE spacetime");
    if (admin)
        PQfinish(admin);
    TRY(code);
    free(e->conninfo);
    e->conninfo = x_sprintf("host='%s' port=5432 user=spacetime dbname=spacetime", host);
    OWN(free) char *file = x_sprintf("%s/pg.conninfo", e->dir), *line = x_sprintf("%s\n", e->conninfo);
    return write_file(file, line, 0644, geteuid(), getegid(), err);
}

Status embedded_start(Embedded **ret, const char *data_dir, void (*note)(const char *line), Error *err)
{
    Embedded *e = NEW(Embedded);
    e->lock_fd = -1;
    char full[PATH_MAX];
    if (mkdir(data_dir, 0755) != 0 && errno != EEXIST) {
        embedded_free(e);
        return FAIL(err, S_IO, "cannot create %s: %s", data_dir, strerror(errno));
    }
    if (!realpath(data_dir, full)) {
        embedded_free(e);
        return FAIL(err, S_IO, "cannot find %s: %s", data_dir, strerror(errno));
    }
    e->dir = x_strdup(full);
    e->cluster = x_sprintf("%s/pg", full);
    e->log = x_sprintf("%s/pg.log", full);
    e->bin = pg_bin();
    Status code = S_OK;
    if (!e->bin)
        code = FAIL(err, S_NOT_FOUND,
                    "PostgreSQL is not installed (looked in /usr/lib/postgresql/*/bin, /usr/bin, /usr/local/bin; set SPACETIME_PG_BIN). "
                    "Install it, or give --postgres a connection string");
    else if (strpbrk(full, "'\\,\""))
        code = FAIL(err, S_INVALID, "the data directory's path contains a quote, comma or backslash: %s", full);
    else
        code = bring_up(e, note, err);
    if (code != S_OK) {
        if (e->child)
            embedded_stop(e);
        else
            embedded_free(e);
        return code;
    }
    if (pthread_create(&e->guard, NULL, guard_main, e) != 0)
        BUG("cannot start threads");
    e->guarded = true;
    *ret = e;
    return S_OK;
}

const char *embedded_conninfo(const Embedded *e) { return e->conninfo; }

void embedded_stop(Embedded *e)
{
    if (!e)
        return;
    e->stopping = true;
    if (e->guarded)
        pthread_join(e->guard, NULL);
    pid_t pid = e->child ? e->child : running_postmaster(e);
    if (pid > 0) {
        kill(pid, SIGINT); /* fast shutdown: ends sessions, writes a checkpoint */
        uint64_t began = clock_monotonic_ns();
        for (;;) {
            if (e->child ? waitpid(pid, NULL, WNOHANG) != 0 : kill(pid, 0) != 0 && errno == ESRCH)
                break;
            if (clock_monotonic_ns() - began > UINT64_C(120) * 1000000000) {
                log_error("PostgreSQL (pid %d) did not stop within 120 s; it is left running and is adopted at the next start", (int)pid);
                break;
            }
            nap_ms(5);
        }
    }
    if (strcmp(e->socket_dir ? e->socket_dir : e->cluster, e->cluster) != 0)
        (void)rmdir(e->socket_dir);
    embedded_free(e);
}
