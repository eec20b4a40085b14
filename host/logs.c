#include "host/logs.h"
#include "host/wire/sats_json.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Follower {
    struct Follower *next;
    bool (*write)(void *user, Bytes line);
    void *user;
} Follower;

struct Logs {
    pthread_mutex_t lock;
    char path[700], old_path[704];
    int fd;
    size_t bytes;
    Follower *followers;
    Buf line;
};

Logs *logs_open(const char *data_dir, const char *identity_hex)
{
    Logs *l = NEW(Logs);
    pthread_mutex_init(&l->lock, NULL);
    char dir[600];
    snprintf(dir, sizeof dir, "%s/logs", data_dir);
    mkdir(dir, 0700);
    snprintf(l->path, sizeof l->path, "%s/%s.log", dir, identity_hex);
    snprintf(l->old_path, sizeof l->old_path, "%s.1", l->path);
    l->fd = open(l->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (l->fd < 0)
        log_warn("cannot open the log file %s: %s", l->path, strerror(errno));
    struct stat st;
    if (l->fd >= 0 && fstat(l->fd, &st) == 0)
        l->bytes = (size_t)st.st_size;
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

static void rotate(Logs *l)
{
    if (l->bytes < LOGS_FILE_BYTES_MAX || l->fd < 0)
        return;
    close(l->fd);
    rename(l->path, l->old_path);
    l->fd = open(l->path, O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    l->bytes = 0;
}

void logs_write(Logs *l, uint8_t level, int64_t timestamp_us, Str function, Str file, uint32_t line, Str message)
{
    const char *name = level == 0     ? "Error"
                       : level == 1   ? "Warn"
                       : level == 2   ? "Info"
                       : level == 4   ? "Trace"
                       : level == 101 ? "Panic"
                                      : "Debug";
    pthread_mutex_lock(&l->lock);
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

/* Lines counted from the end: the file is read backwards in blocks until there are enough. */
static void tail_locked(Logs *l, uint32_t lines, Buf *out)
{
    struct stat st;
    if (l->fd < 0 || lines == 0 || fstat(l->fd, &st) != 0 || st.st_size == 0)
        return;
    off_t start = 0, at = st.st_size;
    uint64_t seen = 0;
    char block[16384];
    while (at > 0 && start == 0 && lines != UINT32_MAX) {
        size_t n = (size_t)MIN((off_t)sizeof block, at);
        at -= (off_t)n;
        if (pread(l->fd, block, n, at) != (ssize_t)n)
            return;
        for (size_t i = n; i-- > 0;) {
            bool last_byte = at + (off_t)i == st.st_size - 1;
            if (block[i] == '\n' && !last_byte && ++seen == lines) {
                start = at + (off_t)i + 1;
                break;
            }
        }
    }
    size_t n = (size_t)(st.st_size - start);
    if (buf_reserve(out, n)) {
        ssize_t got = pread(l->fd, out->ptr + out->len, n, start);
        out->len += got > 0 ? (size_t)got : 0;
    }
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
    pthread_mutex_unlock(&l->lock);
}
