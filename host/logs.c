#include "host/logs.h"
#include "host/wire/sats_json.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)
#define BURST_NS (10 * SECOND_NS)

typedef struct Follower {
    struct Follower *next;
    bool (*write)(void *user, Bytes line);
    void *user;
} Follower;

struct Logs {
    pthread_mutex_t lock;
    LogsLimits limits;
    char path[700];
    int fd;
    uint64_t bytes;
    uint64_t tokens_ns; /* room for lines: each takes 1 s / lines_per_second of it */
    uint64_t since_ns, dropped_ns, dropped;
    Follower *followers;
    Buf line;
};

Logs *logs_open(const char *data_dir, const char *identity_hex, const LogsLimits *limits)
{
    Logs *l = NEW(Logs);
    pthread_mutex_init(&l->lock, NULL);
    l->limits = *limits;
    l->tokens_ns = BURST_NS;
    char dir[600];
    snprintf(dir, sizeof dir, "%s/logs", data_dir);
    mkdir(dir, 0700);
    snprintf(l->path, sizeof l->path, "%s/%s.log", dir, identity_hex);
    l->fd = open(l->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (l->fd < 0)
        log_warn("cannot open the log file %s: %s", l->path, strerror(errno));
    struct stat st;
    if (l->fd >= 0 && fstat(l->fd, &st) == 0)
        l->bytes = (uint64_t)st.st_size;
    return l;
}

void logs_close(Logs *l)
{
    if (!l)
        return;
    for (Follower *f = l->followers; f;) {
        Follower *next = f->next;
        free(f);
        f = next;
    }
    own_fd(&l->fd);
    buf_done(&l->line);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static void old_path(const Logs *l, uint32_t n, char out[720]) { snprintf(out, 720, n ? "%s.%u" : "%s", l->path, n); }

static void rotate(Logs *l)
{
    if (l->bytes < l->limits.file_bytes || l->fd < 0)
        return;
    close(l->fd);
    for (uint32_t n = l->limits.files; n > 0; n--) {
        char from[720], to[720];
        old_path(l, n - 1, from);
        old_path(l, n, to);
        rename(from, to);
    }
    l->fd = open(l->path, O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    l->bytes = 0;
}

static void write_locked(Logs *l, uint8_t level, int64_t timestamp_us, Str function, Str file, uint32_t line, Str message)
{
    const char *name = level == 0     ? "Error"
                       : level == 1   ? "Warn"
                       : level == 2   ? "Info"
                       : level == 4   ? "Trace"
                       : level == 101 ? "Panic"
                                      : "Debug";
    Buf *b = &l->line;
    buf_reset(b);
    buf_printf(b, "{\"level\":\"%s\",\"ts\":%lld", name, (long long)timestamp_us);
    if (file.len) {
        buf_put_text(b, ",\"filename\":");
        json_string(b, file);
    }
    if (line)
        buf_printf(b, ",\"line_number\":%u", line);
    if (function.len) {
        buf_put_text(b, ",\"function\":");
        json_string(b, function);
    }
    buf_put_text(b, ",\"message\":");
    json_string(b, message);
    if (level == 101)
        buf_put_text(b, ",\"trace\":[]");
    buf_put_text(b, "}\n");
    rotate(l);
    if (l->fd >= 0 && write(l->fd, b->ptr, b->len) == (ssize_t)b->len)
        l->bytes += b->len;
    for (Follower **at = &l->followers; *at;) {
        Follower *f = *at;
        if (f->write(f->user, buf_bytes(b))) {
            at = &f->next;
        } else {
            *at = f->next;
            free(f);
        }
    }
}

void logs_write(Logs *l, uint8_t level, int64_t timestamp_us, Str function, Str file, uint32_t line, Str message)
{
    pthread_mutex_lock(&l->lock);
    write_locked(l, level, timestamp_us, function, file, line, message);
    pthread_mutex_unlock(&l->lock);
}

static void tell_dropped(Logs *l)
{
    char text[160];
    if (!l->dropped)
        return;
    snprintf(text, sizeof text, "%llu log lines were dropped: the module logs more than %u lines a second (--log-rate)",
             (unsigned long long)l->dropped, l->limits.lines_per_second);
    l->dropped = 0;
    write_locked(l, 1, clock_wall_us(), STR("__spacetimedb__"), STR("__spacetimedb__"), 0, str_of(text));
}

bool logs_write_module(Logs *l, uint64_t now_ns, uint8_t level, int64_t timestamp_us, Str function, Str file, uint32_t line, Str message)
{
    enum { PANIC = 101 };
    pthread_mutex_lock(&l->lock);
    uint64_t cost = l->limits.lines_per_second ? SECOND_NS / l->limits.lines_per_second : 0;
    if (l->since_ns && now_ns > l->since_ns)
        l->tokens_ns = MIN(l->tokens_ns + (now_ns - l->since_ns), BURST_NS);
    l->since_ns = now_ns;
    bool good = level == PANIC || l->tokens_ns >= cost;
    if (good) {
        l->tokens_ns -= MIN(cost, l->tokens_ns);
        tell_dropped(l);
        write_locked(l, level, timestamp_us, function, file, line, message);
    } else if (l->dropped++ == 0) {
        l->dropped_ns = now_ns;
    }
    pthread_mutex_unlock(&l->lock);
    return good;
}

void logs_tick(Logs *l, uint64_t now_ns)
{
    pthread_mutex_lock(&l->lock);
    if (l->dropped && now_ns - l->dropped_ns >= SECOND_NS)
        tell_dropped(l);
    pthread_mutex_unlock(&l->lock);
}

void logs_system(Logs *l, uint8_t level, const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    logs_write(l, level, clock_wall_us(), STR("__spacetimedb__"), STR("__spacetimedb__"), 0, str_of(text));
}

/* Where the last `lines` lines of a file begin; `lines` is lowered by what it has. It is read backwards in blocks. */
static off_t tail_start(int fd, off_t size, uint32_t *lines)
{
    char block[16384];
    uint32_t seen = size > 0; /* the last line */
    for (off_t at = size; at > 0 && *lines != UINT32_MAX;) {
        size_t n = (size_t)MIN((off_t)sizeof block, at);
        at -= (off_t)n;
        if (pread(fd, block, n, at) != (ssize_t)n)
            break;
        for (size_t i = n; i-- > 0;)
            if (block[i] == '\n' && at + (off_t)i != size - 1 && seen++ == *lines) {
                *lines = 0;
                return at + (off_t)i + 1;
            }
    }
    if (*lines != UINT32_MAX)
        *lines -= MIN(seen, *lines);
    return 0;
}

static void append_from(int fd, off_t start, off_t size, Buf *out)
{
    size_t n = (size_t)(size - start);
    if (n && buf_reserve(out, n)) {
        ssize_t got = pread(fd, out->ptr + out->len, n, start);
        out->len += got > 0 ? (size_t)got : 0;
    }
}

/* Files from the newest to the oldest until there are enough lines; then their pieces in the other order. */
static void tail_locked(Logs *l, uint32_t lines, Buf *out)
{
    struct Piece {
        int fd;
        off_t start, size;
    } *pieces = x_alloc((l->limits.files + 1) * sizeof *pieces);
    uint32_t n = 0;
    while (n <= l->limits.files && lines && l->fd >= 0) {
        char path[720];
        struct stat st;
        old_path(l, n, path);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            break;
        off_t size = fstat(fd, &st) == 0 ? st.st_size : 0;
        pieces[n++] = (struct Piece){fd, tail_start(fd, size, &lines), size};
    }
    while (n-- > 0) {
        append_from(pieces[n].fd, pieces[n].start, pieces[n].size, out);
        close(pieces[n].fd);
    }
    free(pieces);
}

void logs_tail(Logs *l, uint32_t lines, Buf *out)
{
    pthread_mutex_lock(&l->lock);
    tail_locked(l, lines, out);
    pthread_mutex_unlock(&l->lock);
}

void logs_follow(Logs *l, uint32_t lines, bool (*write_line)(void *user, Bytes line), void *user)
{
    OWN(buf) Buf tail = {0};
    pthread_mutex_lock(&l->lock);
    tail_locked(l, MIN(lines, (uint32_t)LOGS_FOLLOW_LINES_MAX), &tail);
    if (tail.len == 0 || write_line(user, buf_bytes(&tail))) {
        Follower *f = NEW(Follower);
        *f = (Follower){l->followers, write_line, user};
        l->followers = f;
    }
    pthread_mutex_unlock(&l->lock);
}

void logs_unfollow(Logs *l, void *user)
{
    pthread_mutex_lock(&l->lock);
    for (Follower **at = &l->followers; *at;) {
        Follower *f = *at;
        if (f->user == user) {
            *at = f->next;
            free(f);
        } else {
            at = &f->next;
        }
    }
    pthread_mutex_unlock(&l->lock);
}

void logs_clear(Logs *l)
{
    pthread_mutex_lock(&l->lock);
    if (l->fd >= 0 && ftruncate(l->fd, 0) == 0)
        l->bytes = 0;
    for (uint32_t n = 1; n <= l->limits.files; n++) {
        char path[720];
        old_path(l, n, path);
        unlink(path);
    }
    l->dropped = 0;
    pthread_mutex_unlock(&l->lock);
}
