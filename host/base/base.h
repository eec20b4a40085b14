/* base.h - the vocabulary every room of the host shares: status, error text, byte strings, arenas,
 * growable buffers, little-endian access.
 *
 * Thread:  every object here belongs to one thread at a time; nothing is shared or locked.
 * Memory:  a small fixed allocation that fails ends the process with a message (x_alloc); a size
 *          that came from outside is checked against a limit first and refused as S_TOO_LARGE. */
#ifndef HOST_BASE_H
#define HOST_BASE_H

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt_arg, first_arg) __attribute__((format(printf, fmt_arg, first_arg)))
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* 1 in a build of `make asan` or `make tsan`. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* ---- status and error ---------------------------------------------------------------------- */

/* What a caller may branch on. Asserts are for our bugs; Status is for the world's. */
typedef enum Status {
    S_OK = 0,
    S_INVALID,     /* the input is wrong; the text says where */
    S_NOT_FOUND,   /* no such name, row, file */
    S_CONFLICT,    /* a unique value, name or id is taken */
    S_TOO_LARGE,   /* a limit was reached; the text names it */
    S_BUSY,        /* somebody else holds it; try again later */
    S_DENIED,      /* the caller may not do this */
    S_UNAVAILABLE, /* a part that we need is away (PostgreSQL, a worker) */
    S_IO,          /* the operating system or PostgreSQL refused */
    S_FENCED,      /* another host owns this database now */
    S_INTERNAL     /* our own bug, or a broken peer */
} Status;

const char *status_name(Status s);

#define ERROR_TEXT_BYTES 1024

/* Lives on the caller's stack: failing never allocates. A function that can fail takes `Error *err`
 * last; on success neither `err` nor any `ret_` argument is touched by a failure path. */
typedef struct Error {
    Status code;
    char sqlstate[6];            /* PostgreSQL's own, or "" */
    char text[ERROR_TEXT_BYTES]; /* a line for a person (reason lists may hold newlines) */
    const char *origin;          /* the function that failed first */
} Error;

/* Fill `err` (which may be NULL) and return `code`. Use through FAIL. */
Status error_set(Error *err, const char *origin, Status code, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* Put "PREFIX: " in front of the text of a failure on its way up; returns err->code. */
Status error_context(Error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

#ifdef __clang_analyzer__ /* which does not know what error_set returns */
#define FAIL(err, code, ...) ((void)error_set((err), __func__, (code), __VA_ARGS__), (code))
#else
#define FAIL(err, code, ...) error_set((err), __func__, (code), __VA_ARGS__)
#endif
#define CONTEXT(err, ...) error_context((err), __VA_ARGS__)
#define TRY(call)                                                                                                                          \
    do {                                                                                                                                   \
        Status try_ = (call);                                                                                                              \
        if (UNLIKELY(try_ != S_OK))                                                                                                        \
            return try_;                                                                                                                   \
    } while (0)

/* Ends the process: our own invariant is broken. */
_Noreturn void bug(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define BUG(...) bug(__FILE__, __LINE__, __VA_ARGS__)
#define ASSERT(cond)                                                                                                                       \
    do {                                                                                                                                   \
        if (UNLIKELY(!(cond)))                                                                                                             \
            BUG("assertion failed: " #cond);                                                                                               \
    } while (0)

/* For the analyzer, which does not follow what fills an array of run-time length. */
#ifdef __clang_analyzer__
#define SEEN_FILLED(array) memset((array), 0, sizeof(array))
#else
#define SEEN_FILLED(array) ((void)0)
#endif

/* ---- memory -------------------------------------------------------------------------------- */

void *x_alloc(size_t size);              /* zeroed; never NULL */
void *x_realloc(void *ptr, size_t size); /* never NULL */
char *x_strdup(const char *text);
char *x_sprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);
#define NEW(T) ((T *)x_alloc(sizeof(T)))

/* A byte string that somebody else owns. `ptr` may be NULL when `len` is 0. */
typedef struct Bytes {
    const uint8_t *ptr;
    size_t len;
} Bytes;
/* The same for text: UTF-8, no terminating NUL promised. */
typedef struct Str {
    const char *ptr;
    size_t len;
} Str;
#define STR(literal) ((Str){"" literal "", sizeof("" literal "") - 1})
#define STR_FMT(s) (int)(s).len, (s).ptr /* for "%.*s" */
static inline Str str_of(const char *text) { return (Str){text, text ? strlen(text) : 0}; }
static inline bool str_eq(Str a, Str b) { return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0); }
static inline bool str_is(Str a, const char *text) { return str_eq(a, str_of(text)); }
int str_cmp(Str a, Str b); /* byte order */
Str str_dup(Str s);        /* a copy of its own, a NUL byte follows; free the pointer */
static inline Bytes bytes_of(const void *ptr, size_t len) { return (Bytes){ptr, len}; }
static inline Bytes str_bytes(Str s) { return (Bytes){(const uint8_t *)s.ptr, s.len}; }
static inline bool bytes_eq(Bytes a, Bytes b) { return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0); }
/* Is `s` well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms)? NUL is allowed. */
bool utf8_valid(Str s);

/* An arena: allocations that die together. Zero-initialised is empty and ready. */
typedef struct ArenaChunk ArenaChunk;
typedef struct Arena {
    ArenaChunk *chunk;
    size_t used, size; /* of the current chunk */
    size_t total;      /* bytes handed out since the last reset */
} Arena;
void *arena_alloc(Arena *a, size_t size);     /* zeroed, aligned to 16; never NULL */
void *arena_alloc_raw(Arena *a, size_t size); /* as above, not zeroed */
void *arena_copy(Arena *a, const void *ptr, size_t len);
Str arena_str(Arena *a, Str s); /* copy; a NUL byte follows the copy */
char *arena_sprintf(Arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
void arena_reset(Arena *a); /* frees all but the first chunk */
void arena_done(Arena *a);  /* frees everything */
#define ARENA_NEW(a, T) ((T *)arena_alloc((a), sizeof(T)))
#define ARENA_ARRAY(a, T, n) ((T *)arena_alloc((a), sizeof(T) * (size_t)(n)))

/* A growable byte buffer, born with a maximum. Zero-initialised is empty with no maximum.
 * Passing the maximum sets `overflow` and drops the bytes; check once at the end (buf_ok). */
typedef struct Buf {
    uint8_t *ptr;
    size_t len, cap;
    size_t max; /* 0 = none */
    bool overflow;
} Buf;
static inline Buf buf_with_max(size_t max) { return (Buf){.max = max}; }
void buf_done(Buf *b);
static inline void buf_reset(Buf *b) { b->len = 0, b->overflow = false; }
static inline bool buf_ok(const Buf *b) { return !b->overflow; }
static inline Bytes buf_bytes(const Buf *b) { return (Bytes){b->ptr, b->len}; }
static inline Str buf_str(const Buf *b) { return (Str){(const char *)b->ptr, b->len}; }
bool buf_grow(Buf *b, size_t more); /* make room; false = over the maximum, `overflow` set */
static inline bool buf_reserve(Buf *b, size_t more) { return LIKELY(b->cap - b->len >= more && b->ptr) || buf_grow(b, more); }
static inline void buf_put(Buf *b, const void *ptr, size_t len)
{
    if (len && buf_reserve(b, len)) {
        memcpy(b->ptr + b->len, ptr, len);
        b->len += len;
    }
}
static inline void buf_put_bytes(Buf *b, Bytes v) { buf_put(b, v.ptr, v.len); }
static inline void buf_put_text(Buf *b, const char *text) { buf_put(b, text, strlen(text)); }
static inline void buf_put_str_raw(Buf *b, Str s) { buf_put(b, s.ptr, s.len); }
void buf_printf(Buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
char *buf_cstr(Buf *b); /* adds a NUL behind `len` (not counted); valid until the next change */

/* Little-endian access; every format of ours is little-endian, as is every processor we run on. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian processors are not supported");
#define LE_ACCESS(T, name)                                                                                                                 \
    static inline T load_##name(const void *p)                                                                                             \
    {                                                                                                                                      \
        T v;                                                                                                                               \
        memcpy(&v, p, sizeof v);                                                                                                           \
        return v;                                                                                                                          \
    }                                                                                                                                      \
    static inline void store_##name(void *p, T v) { memcpy(p, &v, sizeof v); }                                                             \
    static inline void buf_put_##name(Buf *b, T v) { buf_put(b, &v, sizeof v); }
LE_ACCESS(uint8_t, u8)
LE_ACCESS(uint16_t, u16)
LE_ACCESS(uint32_t, u32)
LE_ACCESS(uint64_t, u64)
LE_ACCESS(int64_t, i64)
/* u32 length + bytes: BSATN's string and byte array. */
static inline void buf_put_str(Buf *b, Str s)
{
    buf_put_u32(b, (uint32_t)s.len);
    buf_put(b, s.ptr, s.len);
}
static inline void buf_put_blob(Buf *b, Bytes v)
{
    buf_put_u32(b, (uint32_t)v.len);
    buf_put(b, v.ptr, v.len);
}

/* A bounds-checked reader over untrusted bytes. After the first short read `bad` stays set and every
 * further read yields zero, so a parser checks once per record. */
typedef struct Reader {
    const uint8_t *ptr, *end;
    bool bad;
} Reader;
static inline Reader reader_of(Bytes b) { return (Reader){b.ptr, b.len ? b.ptr + b.len : b.ptr, false}; }
static inline size_t reader_left(const Reader *r) { return (size_t)(r->end - r->ptr); }
static inline const uint8_t *read_raw(Reader *r, size_t len)
{
    if (UNLIKELY(r->bad || reader_left(r) < len)) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->ptr;
    r->ptr += len;
    return p;
}
static inline Bytes read_bytes(Reader *r, size_t len)
{
    const uint8_t *p = read_raw(r, len);
    return p ? (Bytes){p, len} : (Bytes){NULL, 0};
}
static inline uint8_t read_u8(Reader *r)
{
    const uint8_t *p = read_raw(r, 1);
    return p ? *p : 0;
}
static inline uint16_t read_u16(Reader *r)
{
    const uint8_t *p = read_raw(r, 2);
    return p ? load_u16(p) : 0;
}
static inline uint32_t read_u32(Reader *r)
{
    const uint8_t *p = read_raw(r, 4);
    return p ? load_u32(p) : 0;
}
static inline uint64_t read_u64(Reader *r)
{
    const uint8_t *p = read_raw(r, 8);
    return p ? load_u64(p) : 0;
}
static inline int64_t read_i64(Reader *r) { return (int64_t)read_u64(r); }
/* u32 length + bytes; the result points into the input. */
static inline Bytes read_blob(Reader *r)
{
    uint32_t n = read_u32(r);
    return read_bytes(r, n);
}
static inline Str read_str(Reader *r)
{
    Bytes b = read_blob(r);
    return (Str){(const char *)b.ptr, b.len};
}

/* ---- cleanup by scope ---------------------------------------------------------------------- */

/* `OWN(free) char *p = ...;` frees at the end of the scope; `return TAKE(p);` hands ownership out. */
#define OWN(kind) __attribute__((cleanup(own_##kind)))
#define TAKE(p)                                                                                                                            \
    ({                                                                                                                                     \
        __auto_type take_ = (p);                                                                                                           \
        (p) = NULL;                                                                                                                        \
        take_;                                                                                                                             \
    })
static inline void own_free(void *p) { free(*(void **)p); }
static inline void own_buf(Buf *b) { buf_done(b); }
static inline void own_arena(Arena *a) { arena_done(a); }
void own_fd(const int *fd); /* closes when >= 0 */

/* ---- time, hashing, logging ------------------------------------------------------------------ */

int64_t clock_wall_us(void); /* microseconds since the Unix epoch */
uint64_t clock_monotonic_ns(void);
uint64_t hash_bytes(const void *ptr, size_t len, uint64_t seed); /* 64-bit, not for hostile collisions across processes */
static inline uint64_t hash_u64(uint64_t x)
{ /* splitmix64 finaliser (Steele, Lea, Flood 2014) */
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
/* Constant per process, random: mixed into hash tables that hold values chosen by clients. */
extern uint64_t hash_process_seed;
void hex_encode(char *out, const void *ptr, size_t len); /* 2*len digits and a NUL, lowercase */
bool hex_decode(void *out, size_t out_len, Str hex);     /* exactly 2*out_len digits, any case */
Status random_fill(void *ptr, size_t len, Error *err);   /* getrandom(2) */

typedef enum LogLevel { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG } LogLevel;
extern LogLevel log_level_max; /* default LOG_INFO */
/* One line to stderr: "2026-01-01T00:00:00.000Z LEVEL text". Safe from any thread. */
void log_line(LogLevel level, const char *fmt, ...) PRINTF_LIKE(2, 3);
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
