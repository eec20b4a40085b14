#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "host/base/base.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

const char *status_name(Status s)
{
    static const char *const names[] = {"ok",     "invalid",     "not found", "conflict", "too large", "busy",
                                        "denied", "unavailable", "io",        "fenced",   "internal"};
    return (size_t)s < COUNT_OF(names) ? names[s] : "unknown";
}

Status error_set(Error *err, const char *origin, Status code, const char *fmt, ...)
{
    if (!err)
        return code;
    char text[ERROR_TEXT_BYTES]; /* the arguments may point into err->text */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(err->text, text, sizeof text);
    err->code = code;
    err->sqlstate[0] = 0;
    err->origin = origin;
    return code;
}

Status error_context(Error *err, const char *fmt, ...)
{
    if (!err)
        return S_INTERNAL;
    char text[ERROR_TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : MIN((size_t)n, sizeof text - 3);
    memcpy(text + used, ": ", 2);
    used += 2;
    size_t rest = MIN(strlen(err->text), sizeof text - 1 - used); /* what does not fit is cut at its end */
    memcpy(text + used, err->text, rest);
    text[used + rest] = 0;
    memcpy(err->text, text, sizeof text);
    return err->code;
}

void bug(const char *file, int line, const char *fmt, ...)
{
    fprintf(stderr, "BUG %s:%d: ", file, line);
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    abort();
}

void *x_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        BUG("out of memory allocating %zu bytes", size);
    return p;
}

void *x_realloc(void *ptr, size_t size)
{
    void *p = realloc(ptr, size ? size : 1);
    if (!p)
        BUG("out of memory allocating %zu bytes", size);
    return p;
}

Str str_dup(Str s)
{
    char *copy = x_alloc(s.len + 1);
    if (s.len)
        memcpy(copy, s.ptr, s.len);
    return (Str){copy, s.len};
}

char *x_strdup(const char *text)
{
    size_t n = strlen(text) + 1;
    return memcpy(x_alloc(n), text, n);
}

char *x_sprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0)
        BUG("out of memory formatting text");
    va_end(ap);
    return text;
}

int str_cmp(Str a, Str b)
{
    size_t n = MIN(a.len, b.len);
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

bool utf8_valid(Str s)
{
    const uint8_t *p = (const uint8_t *)s.ptr, *end = s.len ? p + s.len : p;
    while (p < end) {
        if (*p < 0x80) {
            p++;
            continue;
        }
        unsigned more;
        uint32_t cp, least;
        if ((*p & 0xe0) == 0xc0)
            more = 1, cp = *p & 0x1fu, least = 0x80;
        else if ((*p & 0xf0) == 0xe0)
            more = 2, cp = *p & 0x0fu, least = 0x800;
        else if ((*p & 0xf8) == 0xf0)
            more = 3, cp = *p & 0x07u, least = 0x10000;
        else
            return false;
        if ((size_t)(end - p) <= more)
            return false;
        for (unsigned i = 1; i <= more; i++) {
            if ((p[i] & 0xc0) != 0x80)
                return false;
            cp = cp << 6 | (p[i] & 0x3fu);
        }
        if (cp < least || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
            return false;
        p += more + 1;
    }
    return true;
}

/* ---- arena ---- */

struct ArenaChunk {
    ArenaChunk *prev;
    size_t size;
    _Alignas(16) uint8_t data[];
};
enum { ARENA_FIRST_BYTES = 4096 };

void *arena_alloc_raw(Arena *a, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (!a->chunk || a->size - a->used < size) {
        size_t want = MAX(MAX((size_t)ARENA_FIRST_BYTES, MIN(a->size * 2, (size_t)1 << 20)), size);
        ArenaChunk *c = malloc(sizeof *c + want);
        if (!c)
            BUG("out of memory: arena of %zu bytes", want);
        c->prev = a->chunk;
        c->size = want;
        a->chunk = c;
        a->size = want;
        a->used = 0;
    }
    void *p = a->chunk->data + a->used;
    a->used += size;
    a->total += size;
    return p;
}

void *arena_alloc(Arena *a, size_t size) { return memset(arena_alloc_raw(a, size), 0, size); }

void *arena_copy(Arena *a, const void *ptr, size_t len)
{
    void *p = arena_alloc_raw(a, len);
    if (len)
        memcpy(p, ptr, len);
    return p;
}

Str arena_str(Arena *a, Str s)
{
    char *p = arena_alloc_raw(a, s.len + 1);
    if (s.len)
        memcpy(p, s.ptr, s.len);
    p[s.len] = 0;
    return (Str){p, s.len};
}

char *arena_sprintf(Arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    size_t size = (size_t)n + 1;
    char *p = arena_alloc_raw(a, size);
    vsnprintf(p, size, fmt, again);
    va_end(again);
    return p;
}

void arena_reset(Arena *a)
{
    while (a->chunk && a->chunk->prev) {
        ArenaChunk *c = a->chunk;
        a->chunk = c->prev;
        free(c);
    }
    a->used = 0;
    a->total = 0;
    a->size = a->chunk ? a->chunk->size : 0;
}

void arena_done(Arena *a)
{
    while (a->chunk) {
        ArenaChunk *c = a->chunk;
        a->chunk = c->prev;
        free(c);
    }
    *a = (Arena){0};
}

/* ---- buffer ---- */

void buf_done(Buf *b)
{
    free(b->ptr);
    *b = (Buf){.max = b->max};
}

bool buf_grow(Buf *b, size_t more)
{
    if (b->overflow || more > SIZE_MAX / 4 || (b->max && b->len + more > b->max)) {
        b->overflow = true;
        return false;
    }
    size_t want = MAX(b->cap * 2, (size_t)64);
    want = MAX(want, b->len + more);
    b->ptr = x_realloc(b->ptr, want);
    b->cap = want;
    return true;
}

void buf_printf(Buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    if (buf_reserve(b, (size_t)n + 1)) {
        vsnprintf((char *)b->ptr + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

char *buf_cstr(Buf *b)
{
    size_t max = b->max; /* the NUL does not count against the maximum */
    b->max = 0;
    bool was = b->overflow;
    b->overflow = false;
    buf_reserve(b, 1);
    b->overflow = was;
    b->max = max;
    b->ptr[b->len] = 0;
    return (char *)b->ptr;
}

void own_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* ---- time, hashing, logging ---- */

int64_t clock_wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

uint64_t clock_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t hash_process_seed;
__attribute__((constructor)) static void hash_seed_init(void)
{
    if (getrandom(&hash_process_seed, sizeof hash_process_seed, GRND_NONBLOCK) != (ssize_t)sizeof hash_process_seed)
        hash_process_seed = hash_u64(clock_monotonic_ns() ^ (uint64_t)getpid());
}

uint64_t hash_bytes(const void *ptr, size_t len, uint64_t seed)
{ /* eight bytes at a time through the splitmix64 finaliser */
    const uint8_t *p = ptr;
    uint64_t h = seed ^ (len * 0x9e3779b97f4a7c15u);
    for (; len >= 8; p += 8, len -= 8)
        h = hash_u64(h ^ load_u64(p)) + 0x9e3779b97f4a7c15u;
    if (len) {
        uint64_t last = 0;
        memcpy(&last, p, len);
        h = hash_u64(h ^ last);
    }
    return hash_u64(h);
}

void hex_encode(char *out, const void *ptr, size_t len)
{
    const uint8_t *p = ptr;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = "0123456789abcdef"[p[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[p[i] & 15];
    }
    out[2 * len] = 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hex_decode(void *out, size_t out_len, Str hex)
{
    if (hex.len != 2 * out_len)
        return false;
    uint8_t *p = out;
    for (size_t i = 0; i < out_len; i++) {
        int hi = hex_digit(hex.ptr[2 * i]), lo = hex_digit(hex.ptr[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        p[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

Status random_fill(void *ptr, size_t len, Error *err)
{
    uint8_t *p = ptr;
    while (len) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FAIL(err, S_IO, "cannot read random bytes: %s", strerror(errno));
        p += n;
        len -= (size_t)n;
    }
    return S_OK;
}

LogLevel log_level_max = LOG_INFO;

void log_line(LogLevel level, const char *fmt, ...)
{
    if (level > log_level_max)
        return;
    static const char *const names[] = {"ERROR", "WARN ", "INFO ", "DEBUG"};
    char line[2048];
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s ", t.tv_nsec / 1000000, names[level]);
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    va_end(ap);
    n = MIN(n + (size_t)MAX(m, 0), sizeof line - 2);
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, n) < 0)
        return; /* nowhere left to complain */
}
