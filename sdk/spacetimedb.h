/* spacetimedb.h - write a database module in C.
 *
 * A module is one shared library: tables, and functions that work on them. You describe both with the
 * macros of this header; the host loads the library, keeps the tables, runs the functions one at a time,
 * each in its own transaction, and tells connected clients what changed. A complete module:
 *
 *   [tour]
 *   #include "spacetimedb.h"
 *
 *   ST_MODULE(guestbook, "1.0.0");
 *
 *   ST_TABLE(entry, PUBLIC,
 *       (uint64_t,     id, PK_AUTO),
 *       (st_identity,  author, INDEX),
 *       (st_timestamp, written),
 *       (st_str,       text));
 *
 *   ST_REDUCER(sign, (st_str, text)) {
 *       if (text.len == 0)
 *           return st_fail(ctx, "please write something");
 *       entry e = { .author = ctx->sender, .written = ctx->timestamp, .text = text };
 *       return entry_insert(ctx->db, &e);
 *   }
 *
 *   ST_REDUCER(erase_mine) {
 *       uint64_t n = entry_delete_by_author(ctx->db, ctx->sender);
 *       st_log_info(ctx, "%llu entries erased", (unsigned long long)n);
 *       return ST_OK;
 *   }
 *   [/tour]
 *
 * Build it with gcc (12 or later) or clang (14 or later), C11 or later, on 64-bit little-endian Linux:
 *
 *   gcc   -std=c11 -O2 -g -fPIC -shared -fvisibility=hidden -fno-gnu-unique -fstack-clash-protection \
 *         -ftrack-macro-expansion=0 -fmax-errors=3   -I SDK guestbook.c -o guestbook.so
 *   clang -std=c11 -O2 -g -fPIC -shared -fvisibility=hidden -fstack-clash-protection \
 *         -fmacro-backtrace-limit=1 -ferror-limit=3  -I SDK guestbook.c -o guestbook.so
 *
 * The second line of each keeps error messages short; the rest is what the host expects. Use -I, not
 * -isystem, or the compiler hides warnings that point into this header. A module may be made of several
 * .c files; put tables that they share into a header of your own.
 *
 * C++17 or later works too, with g++ or clang++; the other words of the line stay. Add
 *   -fno-exceptions -fno-rtti -fno-threadsafe-statics -Wl,--as-needed
 * so that the module does not need the C++ library, which the host does not have. What differs: ST_ARR and
 * designated initialisers in C++17 are C's alone; a column may not be named like its own type; stand outside
 * of every namespace; a default that is no constant is found by the host instead of the compiler.
 *
 * The page in order:
 *   1. values           what a column or an argument can be
 *   2. contexts         what a function is given; errors, logging, memory
 *   3. vocabulary       ST_MODULE, ST_TABLE, ST_REDUCER, ...
 *   4. the machinery    the binary interface and the insides of the macros: skip it
 *
 * Rules that hold everywhere:
 * - Memory. Whatever you pass to the host is copied before the call returns. Rows that the host hands you,
 *   and the text in them, are const and live until the transaction ends, even if the row is updated or
 *   deleted meanwhile. Arguments and the scratch memory of st_alloc live until the function returns. Do not
 *   malloc: a call can be cancelled while it is inside the host, and then nothing of yours is released.
 * - Threads. A call runs on one thread, to its end. Contexts, handles, iterators and row pointers belong
 *   to that call: do not keep them, do not pass them to a thread, do not start threads.
 * - State. Tables are the only memory that lasts. Variables of static storage must be const: writable
 *   ones are neither stored nor rolled back, and the host refuses modules that have them.
 * - Names. st_, ST_, arr_, opt_, res_, some_, none_, ok_, err_ are this header's prefixes, and each table
 *   makes names that begin with its own (entry_insert, entry_iter, ...). The words PUBLIC, PRIVATE, PK,
 *   PK_AUTO, UNIQUE, UNIQUE_AUTO, AUTO, INDEX, HASH, PK_HASH, UNIQUE_HASH, PK_DIRECT, UNIQUE_DIRECT, NONE and
 *   SNAKE must not be macros where a table is declared. */
#ifndef SPACETIMEDB_H
#define SPACETIMEDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Where C and C++ spell the same thing differently. ST_I_LIT(T){ ... } is a value of type T. */
#ifdef __cplusplus
#if __cplusplus < 201703L
#error "spacetimedb.h needs C++17 or later, or C11 or later"
#endif
#define ST_I_LIT(T) T
#define ST_I_ASSERT static_assert
#define ST_I_ALIGNOF alignof
#else
#define ST_I_LIT(T) (T)
#define ST_I_ASSERT _Static_assert
#define ST_I_ALIGNOF _Alignof
#endif

/* ==== 1. Values ========================================================================================
 *
 *   bool                                          false or true, nothing else
 *   int8_t int16_t int32_t int64_t                and the uint..._t; not int, long, char, size_t
 *   st_i128 st_u128 st_i256 st_u256               wide integers
 *   float double
 *   st_str st_bytes                               UTF-8 text; any bytes
 *   st_identity st_connection_id st_uuid          who, over which connection; RFC 4122
 *   st_timestamp st_duration st_schedule_at       microseconds
 *   st_unit                                       nothing: for sum variants without a value
 *   opt_T arr_T res_T_E                           options, arrays and results, see ST_OPTION
 *   your own                                      see ST_STRUCT, ST_ENUM, ST_SUM; a table's row type too
 *
 * A row is a plain C struct of these. All-zero bytes are a good value of every type: 0, "", none, the
 * first variant of an enum or a sum; so a row may name only the columns that matter. */

/* Text and bytes are a pointer and a length; there is no terminating NUL. ptr may be NULL if len is 0.
 * The host refuses text that is not UTF-8 or holds a NUL when it is stored. */
typedef struct st_str   { const char    *ptr; size_t len; } st_str;
typedef struct st_bytes { const uint8_t *ptr; size_t len; } st_bytes;

/* ST_S("text"): a string literal as st_str.    printf("%.*s", ST_FMT(s)): an st_str in a format. */
#define ST_S(literal) (ST_I_LIT(st_str){ "" literal "", sizeof("" literal "") - 1 })
#define ST_FMT(s) (int)(s).len, (s).ptr

typedef struct st_identity      { uint8_t b[32]; } st_identity;      /* b[0] is the least significant byte */
typedef struct st_connection_id { uint8_t b[16]; } st_connection_id; /* likewise; hex text starts at b[15] */
typedef struct st_uuid          { uint8_t b[16]; } st_uuid;          /* in the order in which it is printed */

typedef struct st_timestamp { int64_t us; } st_timestamp;            /* since 1970-01-01 UTC */
typedef struct st_duration  { int64_t us; } st_duration;
typedef struct st_schedule_at { uint8_t tag; int64_t us; } st_schedule_at; /* see st_every, st_at */

typedef struct st_unit { uint8_t zero; } st_unit;

__extension__ typedef unsigned __int128 st_u128;
__extension__ typedef __int128 st_i128;
typedef struct st_u256 { uint64_t w[4]; } st_u256;                   /* w[0] is the least significant word */
typedef struct st_i256 { uint64_t w[4]; } st_i256;                   /* likewise, two's complement */

/* The option in every context; ST_OPTION makes the others, and some_T and none_T for all of them. */
typedef struct opt_st_connection_id { bool some; st_connection_id v; } opt_st_connection_id;

#define ST_I_FN static inline __attribute__((unused))

ST_I_FN bool st_identity_eq(st_identity a, st_identity b) { return memcmp(a.b, b.b, sizeof a.b) == 0; }
ST_I_FN bool st_connection_id_eq(st_connection_id a, st_connection_id b)
{
    return memcmp(a.b, b.b, sizeof a.b) == 0;
}
ST_I_FN bool st_uuid_eq(st_uuid a, st_uuid b) { return memcmp(a.b, b.b, sizeof a.b) == 0; }
ST_I_FN bool st_str_eq(st_str a, st_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

ST_I_FN st_duration st_micros(int64_t n)  { return ST_I_LIT(st_duration){ n }; }
ST_I_FN st_duration st_millis(int64_t n)  { return ST_I_LIT(st_duration){ n * 1000 }; }
ST_I_FN st_duration st_seconds(int64_t n) { return ST_I_LIT(st_duration){ n * 1000000 }; }

ST_I_FN st_timestamp st_timestamp_add(st_timestamp t, st_duration d) { return ST_I_LIT(st_timestamp){ t.us + d.us }; }
ST_I_FN st_duration st_timestamp_sub(st_timestamp later, st_timestamp earlier)
{
    return ST_I_LIT(st_duration){ later.us - earlier.us };
}

/* When a scheduled row is due: again and again, or once. See ST_SCHEDULE. */
ST_I_FN st_schedule_at st_every(st_duration interval) { return ST_I_LIT(st_schedule_at){ 0, interval.us }; }
ST_I_FN st_schedule_at st_at(st_timestamp when)       { return ST_I_LIT(st_schedule_at){ 1, when.us }; }

/* ==== 2. Contexts ======================================================================================
 *
 * Every function is given `ctx`. What a function may not do is missing from its context: a view's database
 * is const, an anonymous view has no sender, a procedure has no database outside ST_WITH_TX. */

/* The result of every function and of every write. ST_OK is 0, so `if (status)` reads "if it failed".
 * The numbers are fixed for good. A write that fails without being asked to (anything but a try_ form)
 * dooms its transaction: later writes give ST_E_ABORTED, and returning ST_OK no longer commits. */
typedef enum st_status {
    ST_OK               = 0,
    ST_E_USER           = 1,  /* your own error: what st_fail returns */
    ST_E_NO_STOPWATCH   = 7,  /* this stopwatch was not started, or has been stopped */
    ST_E_UNIQUE         = 12, /* a row with this value in a unique column or primary key exists */
    ST_E_DELAY_TOO_LONG = 13, /* a schedule more than about two years ahead */
    ST_E_NO_ROW         = 15, /* update: no row has this key */
    ST_E_AUTO_OVERFLOW  = 16, /* an auto-increment column has used up its type */
    ST_E_WOULD_BLOCK    = 17, /* procedure: not possible while a transaction is open */
    ST_E_READ_ONLY      = 19, /* a write through a view's database */
    ST_E_HTTP           = 21, /* procedure: no HTTP response; its text is in the response */
    ST_E_ABORTED        = 30, /* the transaction is doomed by an earlier failure, or was given up */
    ST_E_INVALID        = 31, /* the host refuses the row: UTF-8, NUL in text, bad tag, date out of range */
    ST_E_TOO_LARGE      = 32, /* the host refuses the row: it exceeds a limit */
    ST_E_CANCELLED      = 33  /* the call ran too long or is being stopped */
} st_status;

/* Who caused a call. Scheduled calls and init come from the database itself and can be trusted. */
typedef enum st_origin {
    ST_ORIGIN_CLIENT    = 0,  /* over a connection */
    ST_ORIGIN_HTTP      = 1,  /* one HTTP request */
    ST_ORIGIN_SCHEDULED = 2,
    ST_ORIGIN_LIFECYCLE = 3,  /* init, client_connected, client_disconnected */
    ST_ORIGIN_HANDLER   = 4   /* a request to one of the module's own routes: anybody may have sent it */
} st_origin;

typedef struct st_api  st_api;   /* the host's functions: used by the macros, never by you */
typedef struct st_call st_call;  /* the running call, as the host knows it */
typedef struct st_db   st_db;    /* the database inside one transaction: first argument of every table function */

/* Reducers, and the inside of ST_WITH_TX. */
typedef struct st_reducer_ctx {
    const st_api        *api;
    st_call             *call;
    st_db               *db;
    st_identity          sender;      /* the caller; init: the owner; scheduled calls: the database */
    opt_st_connection_id connection;  /* none in init and scheduled calls */
    st_timestamp         timestamp;   /* of this call; the same however often you look */
    st_identity          database;    /* this database's own identity */
    st_origin            origin;
} st_reducer_ctx;

typedef struct st_view_ctx {
    const st_api *api;
    st_call      *call;
    const st_db  *db;
    st_identity   sender;             /* for whom the view is computed */
    st_identity   database;
} st_view_ctx;

typedef struct st_anon_view_ctx {
    const st_api *api;
    st_call      *call;
    const st_db  *db;
    st_identity   database;
} st_anon_view_ctx;

typedef struct st_proc_ctx {
    const st_api        *api;
    st_call             *call;
    st_identity          sender;
    opt_st_connection_id connection;
    st_timestamp         timestamp;
    st_identity          database;
    st_origin            origin;
    st_status            tx_status;   /* how the last ST_WITH_TX ended: ST_OK if it was committed */
} st_proc_ctx;

/* `return st_fail(ctx, "no room for %u more", n);` - end the function with an error. The caller sees the
 * text, the transaction is rolled back. Format as for printf; the text is cut at 4096 bytes. */
#define st_fail(ctx, ...) \
    st_result_of_st_fail_must_be_returned((ctx)->api->fail((ctx)->call, __VA_ARGS__))

/* Write a line to the module's log, with file, line and function. Format as for printf. The log is no
 * part of the transaction: lines stay when it is rolled back. */
#define st_log_error(ctx, ...) ST_I_LOG(ctx, ST_LOG_ERROR, __VA_ARGS__)
#define st_log_warn(ctx, ...)  ST_I_LOG(ctx, ST_LOG_WARN, __VA_ARGS__)
#define st_log_info(ctx, ...)  ST_I_LOG(ctx, ST_LOG_INFO, __VA_ARGS__)
#define st_log_debug(ctx, ...) ST_I_LOG(ctx, ST_LOG_DEBUG, __VA_ARGS__)
#define st_log_trace(ctx, ...) ST_I_LOG(ctx, ST_LOG_TRACE, __VA_ARGS__)

/* `uint32_t w = st_stopwatch(ctx, "sorting"); ... st_stopwatch_end(ctx, w);` - writes how long it took to the log, as a line of
 * level info: "sorting: 1.204 ms". At most 32 in a call. ST_E_NO_STOPWATCH: it was not started, or has ended. */
#define st_stopwatch(ctx, name)   ((ctx)->api->stopwatch_start((ctx)->call, (name)))
#define st_stopwatch_end(ctx, id) ((ctx)->api->stopwatch_end((ctx)->call, (id), ST_I_LOC({ __FILE__, __func__, __LINE__ })))

/* The claims of the caller's token (JWT): of the connection that calls, as they were when it was made. The host has verified signature
 * and expiry; whether you trust the issuer is yours to say. st_claims: all of them, JSON text. st_claim: one text of the
 * member `name`, which may be a string or a list of strings; ptr is NULL when there is none:
 *     st_str issuer = st_claim(ctx, "iss", 0), subject = st_claim(ctx, "sub", 0);
 *     for (uint32_t i = 0; (who = st_claim(ctx, "aud", i)).ptr; i++) ...
 * Empty in init, scheduled calls and migrations. */
#define st_claims(ctx)               ((ctx)->api->claims((ctx)->call))
#define st_claim(ctx, name, index)   ((ctx)->api->claim((ctx)->call, (name), (index)))

/* `point *p = st_alloc(ctx, n * sizeof *p);` - zeroed scratch memory, aligned for every type, released by
 * the host when the call ends. Never NULL: a call that exceeds its memory limit ends there. */
#define st_alloc(ctx, bytes) ((ctx)->api->alloc((ctx)->call, (bytes)))

/* `st_str s = st_format(ctx, "%.*s!", ST_FMT(name));` - printf into scratch memory. */
#define st_format(ctx, ...) ((ctx)->api->format((ctx)->call, __VA_ARGS__))

/* The 64 hex digits by which an identity is known, in scratch memory. */
#define st_identity_hex(ctx, identity) st_i_identity_hex((ctx)->api, (ctx)->call, (identity))

/* Random numbers, new ones for each call, not for secrets: they follow from the call's timestamp. */
#define st_random_u64(ctx) st_i_random_u64((ctx)->api, (ctx)->call)
#define st_uuid_v4(ctx)    st_i_uuid((ctx)->api, (ctx)->call, 4, 0)
#define st_uuid_v7(ctx)    st_i_uuid((ctx)->api, (ctx)->call, 7, (ctx)->timestamp.us) /* sorts by time */

/* ==== 3. Vocabulary ====================================================================================
 *
 * All of these stand at file level and end in a semicolon, or in a body in braces. Columns, fields,
 * variants and arguments are written (type, name), at most 256 of them. Types must be known by then.
 * Mistakes are compile errors that name the thing meant; what C cannot see, the host tells at publish. */

/* ST_MODULE(chat, "1.0.0");
 * Exactly once in a module. Makes the one symbol that the library exports. */
#define ST_MODULE(name, version) ST_I_MODULE(#name, version)

/* ST_TABLE(user, PUBLIC,
 *     (st_identity, identity, PK),
 *     (opt_st_str,  name),
 *     (uint32_t,    team, INDEX));
 *
 * A table, and `user`, the struct of its rows. PUBLIC: clients may read it. PRIVATE: only the module and
 * the owner may. A column may carry one of
 *
 *   PK            primary key: unique, at most one per table; clients see updates instead of delete+insert
 *   UNIQUE        no two rows with the same value
 *   INDEX         find rows by this column, also by range
 *   AUTO          integer: a 0 is replaced by the next number on insert (see ST_SEQUENCE)
 *   PK_AUTO, UNIQUE_AUTO
 *   HASH          find rows by this column, by equality alone: a hash index
 *   PK_HASH, UNIQUE_HASH, PK_DIRECT, UNIQUE_DIRECT    with another index behind the key: hash, or direct, an
 *                 array by value: for uint8_t to uint64_t and ST_ENUM with values that lie close together
 *
 * All but AUTO need a type that can be a key: bool, any integer, st_str, st_identity, st_connection_id,
 * st_uuid, st_timestamp, an ST_ENUM.
 *
 * For a table t it makes
 *
 *   st_status t_insert(db, t *row)            copies the row; writes generated numbers back into it. A row
 *                                             equal in every column to a stored one is no change, and ST_OK.
 *                                             ST_E_UNIQUE, ST_E_AUTO_OVERFLOW, ST_E_INVALID, ST_E_TOO_LARGE,
 *                                             ST_E_ABORTED; the first failure dooms the transaction
 *   st_status t_try_insert(db, t *row)        same, but a failure changes nothing and dooms nothing
 *   bool      t_delete(db, const t *row)      delete the row equal to this one; false if there is none
 *   uint64_t  t_clear(db)                     delete all rows; how many
 *   uint64_t  t_count(db)                     how many rows, this transaction's changes included
 *   t_iter    t_all(db)                       all rows, in no particular order; for ST_FOR; not in views
 *   const t  *t_next(t_iter *)                the next row or NULL: what ST_FOR does
 *   st_status t_emit(out, const t *row)       in a view over t: one row of its result
 *
 * for each column c that is PK or UNIQUE, of whatever kind
 *
 *   const t  *t_find_by_c(db, value)          the row or NULL; lives until the transaction ends
 *   bool      t_delete_by_c(db, value)        false if there was none
 *   st_status t_update_by_c(db, t *row)       replaces the row that has row->c. ST_E_NO_ROW if there is none;
 *                                             otherwise as t_insert. To change a key, delete and insert
 *
 * and for each column c that is INDEX or HASH
 *
 *   t_iter    t_by_c(db, value)               rows with this value
 *   t_iter    t_by_c_range(db, &lo, &hi)      INDEX: rows with lo <= c < hi in the order of c; NULL: no bound
 *   uint64_t  t_delete_by_c(db, value)        how many
 *
 * db is ctx->db. Functions that only read take a const one and so work in views. */
#define ST_TABLE(t, access, ...) ST_I_TABLE(t, ST_ACCESS_##access, __VA_ARGS__)

/* ST_EVENT_TABLE(shot, PUBLIC, (st_identity, who), (uint32_t, damage));
 * The same, but rows exist only in the transaction that inserts them: clients are told, nothing is kept. */
#define ST_EVENT_TABLE(t, access, ...) ST_I_TABLE(t, ST_ACCESS_##access | ST_F_EVENT, __VA_ARGS__)

/* ST_FOR(message, m, message_by_sender(ctx->db, who)) { ... m->text ... }
 * The body for each row that the iterator gives, with `const message *m`. The rows are those of the
 * moment when the iterator was made: inserting, updating and deleting inside is allowed and does not
 * disturb it. break and continue work as usual. */
#define ST_FOR(t, row, iterator) \
    for (t##_iter row##_it = t##_each(iterator), *row##_once = &row##_it; row##_once; row##_once = NULL) \
        for (const t *row; (row = t##_next(&row##_it)) != NULL;)

/* ST_INDEX(message, by_room_sent, room, sent);
 * An index over two to four columns of a table. With columns a, b it makes
 *
 *   t_iter t_by_room_sent(db, a)                    rows with this a, in the order of b
 *   t_iter t_by_room_sent_range(db, a, &lo, &hi)    rows with this a and lo <= b < hi; NULL: no bound
 *
 * named t_ and the name of the index; with three and four columns both take values for all columns but
 * the last. */
#define ST_INDEX(t, index, ...) ST_I_CAT(ST_I_INDEX, ST_I_N(__VA_ARGS__))(t, index, __VA_ARGS__)

/* ST_HASH_INDEX(message, by_room_sender, room, sender);
 * A hash index over two to four columns. With columns a, b it makes
 *
 *   t_iter t_by_room_sender(db, a, b)               rows with these values, in no particular order */
#define ST_HASH_INDEX(t, index, ...) ST_I_CAT(ST_I_HASH_INDEX, ST_I_N(__VA_ARGS__))(t, index, __VA_ARGS__)

/* ST_UNIQUE(seat, by_place, row, number);
 * No two rows agree in all of these columns, two to four. Inserts and updates that would give ST_E_UNIQUE. With
 * columns a, b it makes
 *
 *   const t *t_find_by_place(db, a, b)              the row or NULL; lives until the transaction ends
 *   bool     t_delete_by_place(db, a, b)            false if there was none */
#define ST_UNIQUE(t, index, ...) ST_I_CAT(ST_I_UNIQUE, ST_I_N(__VA_ARGS__))(t, index, __VA_ARGS__)

/* ST_SEQUENCE(ticket, number, 1000, 1000, 9999, 1);
 * How an AUTO column counts: the first number, the smallest, the largest, and the step, which may be negative.
 * Without it: 1, 1, the largest of the type, 1. After the last one inserts fail with ST_E_AUTO_OVERFLOW. */
#define ST_SEQUENCE(t, column, start, min, max, increment) ST_I_SEQUENCE(t, column, start, min, max, increment)

/* ST_DEFAULT(profile, score, 100);    ST_DEFAULT(profile, motto, ST_S("hello"));
 * What the rows that are already stored get when a later version of the module appends this column. It is
 * not used on insert. Not for PK, UNIQUE and AUTO. A constant of the column's type:
 *
 *   integers, floats, bool       100    -1    0.5    true    (st_u128)1 << 100    { { 1, 2, 3, 4 } } of 256 bits
 *   st_str, st_bytes             ST_S("text") or ST_STR("text")    ST_BYTES("\x01\x02")
 *   st_timestamp, st_identity..  { 1700000000000000 }    { { 1, 2, 3 } }
 *   ST_ENUM                      room_kind_INVITE
 *   ST_STRUCT                    { 1.5, 2.5 }
 *   ST_SUM                       { attachment_link, { .link = ST_S("http://x") } }
 *   options                      ST_NONE    ST_SOME(5)    ST_SOME({ 1.5, 2.5 })
 *   results                      { 0, { .ok = 5 } }    { 1, { .err = ST_S("no") } }
 *   arrays                       ST_ARR(uint32_t, 1, 2, 3)    ST_ARR(st_str, ST_STR("a"), ST_STR("b"))
 *                                { 0 } for an empty one
 *
 * They nest: ST_SOME(ST_ARR(point, { 1, 2 }, { 3, 4 })). Inside of ST_ARR text must be ST_STR. In C++ an array
 * has a name of its own instead: `static const uint32_t list[] = { 1, 2 };` and then `{ list, 2 }`. */
#define ST_DEFAULT(t, column, ...) ST_I_DEFAULT(t, column, __VA_ARGS__)
#ifdef __cplusplus
#define ST_NONE {}
#else
#define ST_NONE { 0 }
#endif
#define ST_SOME(...) { true, __VA_ARGS__ }
#define ST_STR(literal) { "" literal "", sizeof("" literal "") - 1 }
#define ST_BYTES(literal) { (const uint8_t *)("" literal ""), sizeof("" literal "") - 1 }
#define ST_ARR(type, ...) ST_I_ARR(type, __VA_ARGS__)

/* ST_RULE("SELECT * FROM message WHERE recipient = :sender");
 * Row level security: clients other than the owner see only the rows of `message` that one of its rules returns; by SQL and by
 * subscription. A rule is SELECT * over one PUBLIC table, with any condition; :sender is the client that asks. Names are those of the
 * database (ST_TABLE_NAME, ST_COLUMN_NAME and ST_CASE count). Tables without a rule show all their rows. Functions of the module
 * see every row. Adding, changing or removing a rule disconnects the clients. */
#define ST_RULE(sql) ST_I_RULE(__LINE__, sql)

/* ST_TABLE_NAME(t, "people");    ST_FUNCTION_NAME(fn, "sayHello");    ST_COLUMN_NAME(t, member, "int");
 * ST_INDEX_NAME(t, index_or_column, "people_by_age");
 * The name by which the database, SQL and clients know a table, a reducer, procedure or view, a column, or an
 * index, where it cannot or should not be the one in this file. Letters of any script, digits and `_`, at most 255
 * bytes. Columns: also of an ST_OLD_TABLE. To give a stored table or column another name is a change: see
 * ST_RENAME_TABLE, ST_RENAME_COLUMN.
 *
 * ST_CASE(SNAKE);
 * Names that are not given by one of these become snake_case (and enum variants lowerCamel, types PascalCase), as
 * modules in other languages do by themselves. Once in a module. Default, ST_CASE(NONE): they stay as written. */
#define ST_TABLE_NAME(t, name)        ST_I_TABLE_NAME(t, name)
#define ST_FUNCTION_NAME(fn, name)    ST_I_FUNCTION_NAME(fn, name)
#define ST_INDEX_NAME(t, index, name) ST_I_INDEX_NAME(t, index, name)
#define ST_COLUMN_NAME(t, member, name) ST_I_COLUMN_NAME(t, member, name)
#define ST_CASE(policy)               ST_I_CASE(ST_CASE_##policy, #policy)

/* ST_MIGRATION(3, "accounts get a currency, users a handle",
 *     ST_RENAME_TABLE(person, user),
 *     ST_RENAME_COLUMN(user, nick, handle),
 *     ST_CONVERT_COLUMN(account, balance, uint32_t, to_cents));
 *
 * A publish adds tables, functions, indexes and columns with a default by itself, and refuses what could lose
 * or misread data. A migration says what is meant. Migrations are numbered upwards from 1. Each runs once for a
 * database, in order, inside the publish: all of it or nothing. A new database starts at the highest number and
 * runs none. Keep a migration as long as there may be a database that has not run it.
 *
 * Operations apply in order; each names tables and columns as they are at that point, in the words of this file
 * (ST_TABLE_NAME, ST_COLUMN_NAME and ST_CASE count):
 *
 *   ST_RENAME_TABLE(old, new)             rows, keys and numbers stay
 *   ST_RENAME_COLUMN(t, old, new)
 *   ST_DROP_TABLE(t)                      with all its rows
 *   ST_DROP_COLUMN(t, column)
 *   ST_CONVERT_COLUMN(t, column, OLD, f)  the column gets another type; f makes each new value of the old one:
 *                                           st_status f(st_reducer_ctx *ctx, const OLD *from, NEW *to)
 *                                         NEW is the column's type in this file; *to is zeroed. f sees this value
 *                                         and nothing else: ctx->db is NULL; st_fail, st_format, st_alloc work.
 *                                         When the column is converted again later, the later operation replaces
 *                                         this one: remove it
 *   ST_ADD_UNIQUE(t, column)              the column becomes UNIQUE; rows with the same value end the publish
 *   ST_ADD_PRIMARY_KEY(t, column)         it becomes the PK, or the PK moves there; likewise
 *   ST_REPLACE_ROWS(t)                    t takes whatever shape it has in this file and starts empty: a function
 *                                         of ST_RUN fills it
 *   ST_RUN(f)                             runs f after all other operations, in the order of the list:
 *                                           st_status f(st_reducer_ctx *ctx)
 *                                         ctx->db writes the tables of this file and reads ST_OLD_TABLEs
 *
 * A function that fails ends the publish, and nothing has happened. */
#define ST_MIGRATION(...) ST_I_CAT(ST_I_MIGRATION_, ST_I_IS2(__VA_ARGS__))(__VA_ARGS__)
#define ST_RENAME_TABLE(old_name, new_name)       ST_I_OP(ST_MIGRATE_RENAME_TABLE, #old_name, #new_name, NULL)
#define ST_RENAME_COLUMN(t, old_name, new_name)   ST_I_OP(ST_MIGRATE_RENAME_COLUMN, #t, #old_name, #new_name)
#define ST_DROP_TABLE(t)                          ST_I_OP(ST_MIGRATE_DROP_TABLE, #t, NULL, NULL)
#define ST_DROP_COLUMN(t, column)                 ST_I_OP(ST_MIGRATE_DROP_COLUMN, #t, #column, NULL)
#define ST_CONVERT_COLUMN(t, column, old_type, f) \
    ST_I_CONVERT(t, column, #t, #column, old_type, #old_type, &st_typedesc_##old_type, f)
#define ST_ADD_UNIQUE(t, column)                  ST_I_OP(ST_MIGRATE_ADD_UNIQUE, #t, #column, NULL)
#define ST_ADD_PRIMARY_KEY(t, column)             ST_I_OP(ST_MIGRATE_ADD_PRIMARY_KEY, #t, #column, NULL)
#define ST_REPLACE_ROWS(t)                        ST_I_OP(ST_MIGRATE_REPLACE_ROWS, #t, NULL, NULL)
#define ST_RUN(f)                                 ST_I_RUN(f, #f)

/* ST_OLD_TABLE(3, old_account, account, (uint64_t, id, PK), (uint32_t, balance), (uint32_t, bank, INDEX));
 * What the table `account` looked like before migration 3, keys included, for the functions of its ST_RUN. It
 * makes the row type `old_account` and, reading only,
 *
 *   old_account_iter   old_account_all(db)                        for ST_FOR; also old_account_next
 *   uint64_t           old_account_count(db)
 *   const old_account *old_account_find_by_c(db, value)           for each PK and UNIQUE
 *   old_account_iter   old_account_by_c(db, value)                for each INDEX and HASH
 *   old_account_iter   old_account_by_c_range(db, &lo, &hi)       for each INDEX
 *
 * No other words apply to it but ST_COLUMN_NAME. */
#define ST_OLD_TABLE(version, alias, t, ...) ST_I_OLD_TABLE(version, alias, #t, __VA_ARGS__)

/* ST_TABLE(reminder, PRIVATE, (uint64_t, id, PK_AUTO), (st_schedule_at, at), (st_str, text));
 * ST_REDUCER(remind, (reminder, row)) { ... }
 * ST_SCHEDULE(reminder, at, remind);
 *
 * Inserting a row asks for a call: `.at = st_every(st_seconds(5))` for repeated calls,
 * `.at = st_at(st_timestamp_add(ctx->timestamp, st_seconds(5)))` for one, after which the host removes the
 * row. Deleting the row cancels. The table needs a uint64_t primary key; the function is a reducer, or a
 * procedure that returns st_unit, with exactly one argument, the row. Clients cannot call it. */
#define ST_SCHEDULE(t, at_column, function) ST_I_SCHEDULE(t, at_column, function)

/* ST_STRUCT(point, (double, x), (double, y));
 * A type made of fields: `point p = { 1.5, 2.5 };`. Also a possible row type of views (point_emit). */
#define ST_STRUCT(T, ...) ST_I_STRUCT(T, __VA_ARGS__)

/* ST_ENUM(room_kind, OPEN, INVITE, ARCHIVED);
 * One of several names: room_kind_OPEN, room_kind_INVITE, ... One byte. */
#define ST_ENUM(T, ...) ST_I_ENUM(T, __VA_ARGS__)

/* ST_SUM(attachment, (st_unit, none), (st_str, link), (point, place));
 * One of several values, told apart by a tag:
 *   attachment a = { attachment_place, { .place = { 1.5, 2.5 } } };
 *   if (a.tag == attachment_link) ... a.u.link ... */
#define ST_SUM(T, ...) ST_I_SUM(T, __VA_ARGS__)

/* ST_OPTION(point);              makes opt_point: { bool some; point v; }, some_point(p), none_point()
 * ST_ARRAY(point);               makes arr_point: { const point *ptr; size_t len; }
 * ST_RESULT(point, st_str);      makes res_point_st_str: { uint8_t tag; union { ok; err } u; },
 *                                ok_point_st_str(p), err_point_st_str(s); tag 0 is ok
 *
 * They nest: ST_ARRAY(opt_point) makes arr_opt_point. Made already: opt_T and arr_T of every scalar type,
 * st_str, st_identity, st_connection_id, st_uuid, st_timestamp and st_duration; opt_st_bytes; arr_st_bytes.
 * An array of uint8_t is st_bytes. */
#define ST_OPTION(T)    ST_I_OPTION(T, opt_##T, some_##T, none_##T) struct st_semicolon_expected
#define ST_ARRAY(T)     ST_I_ARRAY(T, arr_##T) struct st_semicolon_expected
#define ST_RESULT(T, E) ST_I_RESULT(T, E, res_##T##_##E, ok_##T##_##E, err_##T##_##E) struct st_semicolon_expected

/* ST_REDUCER(rename) { ... return ST_OK; }
 * ST_REDUCER(send, (uint32_t, room), (st_str, text)) { ... return ST_OK; }
 *
 * A function that clients call and that changes tables. The body has `st_reducer_ctx *ctx` and the
 * arguments as ordinary parameters. ST_OK commits; anything else rolls everything back. `send` is also a
 * plain C function: send(ctx, 1, text) runs it inside the caller's transaction. */
#define ST_REDUCER(...) ST_I_CAT(ST_I_REDUCER_, ST_I_IS1(__VA_ARGS__))(__VA_ARGS__)

/* ST_INIT(on_init) { ... return ST_OK; }
 * Reducers that the host calls, at most one of each, without arguments. Nobody else can call them.
 *   ST_INIT                  once, by the first publish, which fails with it
 *   ST_CLIENT_CONNECTED      before a client's first request; a failure refuses the connection
 *   ST_CLIENT_DISCONNECTED   after its last one, however it ended */
#define ST_INIT(fn)                ST_I_LIFECYCLE(fn, INIT)
#define ST_CLIENT_CONNECTED(fn)    ST_I_LIFECYCLE(fn, CLIENT_CONNECTED)
#define ST_CLIENT_DISCONNECTED(fn) ST_I_LIFECYCLE(fn, CLIENT_DISCONNECTED)

/* ST_VIEW(my_profile, PUBLIC, profile) {
 *     const profile *p = profile_find_by_owner(ctx->db, ctx->sender);
 *     return p ? profile_emit(out, p) : ST_OK;
 * }
 * Rows computed from tables, which clients subscribe to like a table. The third word is the row type: a
 * table or an ST_STRUCT. `out` takes any number of rows, each copied by T_emit; equal ones are one. The database is
 * read-only and read by key or index only, so that the host knows when to compute the view again: when something
 * changes that it has read, in the transaction that changes it, if somebody subscribes to it. A view that fails ends its
 * subscriptions; the transaction goes on. Views do not read views.
 * ST_VIEW: for each client, with ctx->sender. ST_ANON_VIEW: the same for all, much cheaper. */
#define ST_VIEW(fn, access, row)      ST_I_VIEW(fn, ST_ACCESS_##access, row, st_view_ctx)
#define ST_ANON_VIEW(fn, access, row) ST_I_VIEW(fn, ST_ACCESS_##access | ST_F_ANONYMOUS, row, st_anon_view_ctx)
/* The same with one row at most, which clients see as an option. */
#define ST_OPTION_VIEW(fn, access, row)      ST_I_VIEW(fn, ST_ACCESS_##access | ST_F_OPTION, row, st_view_ctx)
#define ST_ANON_OPTION_VIEW(fn, access, row) ST_I_VIEW(fn, ST_ACCESS_##access | ST_F_OPTION | ST_F_ANONYMOUS, row, st_anon_view_ctx)
/* ST_QUERY_VIEW(my_messages, PUBLIC, message) {
 *     return message_query(out, "SELECT * FROM message WHERE author = :sender");
 * }
 * Rows of one table, found by SQL: the function runs once, and then the result follows the table. It may look at ctx,
 * but what it reads from tables is not looked at again. */
#define ST_QUERY_VIEW(fn, access, row)      ST_I_VIEW(fn, ST_ACCESS_##access | ST_F_QUERY, row, st_view_ctx)
#define ST_ANON_QUERY_VIEW(fn, access, row) ST_I_VIEW(fn, ST_ACCESS_##access | ST_F_QUERY | ST_F_ANONYMOUS, row, st_anon_view_ctx)
/* ST_VIEW_KEY(my_profile, id);
 * No two rows of the view's result are equal in this column, so that clients see a row change instead of one go and
 * another come. A result that breaks it is an error of the view. Query views have their table's primary key. */
#define ST_VIEW_KEY(view, column) ST_I_VIEW_KEY(view, column)

/* ST_PROCEDURE(import, uint64_t, (st_str, url)) { ... *ret = n; return ST_OK; }
 * A function that may wait for the outside world. It has `st_proc_ctx *ctx`, `uint64_t *ret`, zeroed, which
 * becomes the caller's result, and its arguments. Without a result, say st_unit. It reaches the
 * database only inside ST_WITH_TX. */
#define ST_PROCEDURE(...) ST_I_CAT(ST_I_PROCEDURE_, ST_I_IS2(__VA_ARGS__))(__VA_ARGS__)

/* ST_WITH_TX(ctx, tx) {
 *     if (message_insert(tx->db, &m)) break;
 * }
 * if (ctx->tx_status) ... it was not committed ...
 *
 * One transaction of a procedure; `tx` is an st_reducer_ctx. The closing brace commits. Leaving by break,
 * return or goto rolls back. If committing fails, the host may run the body a second time: let it depend
 * only on what it reads. No waiting inside (ST_E_WOULD_BLOCK), no nesting. */
#define ST_WITH_TX(ctx, tx) \
    for (st_tx_scope tx##_scope __attribute__((cleanup(st_i_tx_leave))) = st_i_tx_enter(ctx); \
         tx##_scope.first; tx##_scope.first = false) \
        for (st_reducer_ctx *tx = tx##_scope.open; tx; tx = tx##_scope.open = (ctx)->api->tx_end((ctx), tx))

/* HTTP from a procedure. Waits for the whole response. ST_OK for every status that a server answers;
 * ST_E_HTTP, with a reason in response->error, if there was no answer; ST_E_WOULD_BLOCK inside ST_WITH_TX.
 * The response lives until the procedure ends. */
typedef struct st_http_header { st_str name; st_bytes value; } st_http_header;
typedef struct st_http_request {
    st_str method;                                       /* empty: GET */
    st_str url;
    const st_http_header *headers; size_t header_count;
    st_bytes body;
    st_duration timeout;                                 /* 0: the host's own */
} st_http_request;
typedef struct st_http_response {
    uint16_t status;
    const st_http_header *headers; size_t header_count;
    st_bytes body;
    st_str error;
} st_http_response;
#define st_http(ctx, request, response) st_i_http((ctx), (request), (response))

/* `st_status s = st_sleep_until(ctx, (st_timestamp){ ctx->timestamp.us + 5000000 });` - a procedure waits, and nobody waits for it. At once
 * for a time that has passed. Afterwards ctx->timestamp is the time then. ST_E_WOULD_BLOCK inside ST_WITH_TX. */
#define st_sleep_until(ctx, when) st_i_sleep_until((ctx), (when))

/* ST_HTTP_HANDLER(on_push) {
 *     if (!check(request->headers, request->header_count)) { response->status = 403; return ST_OK; }
 *     ST_WITH_TX(ctx, tx) { ... request->body ... }
 *     response->body = (st_bytes)ST_BYTES("thank you\n");
 *     return ST_OK;
 * }
 * ST_ROUTE(POST, "/hooks/push", on_push);
 *
 * A function that answers HTTP requests from anywhere, as http://HOST/v1/database/NAME/route/hooks/push. It has `st_proc_ctx *ctx`, and may
 * do all that a procedure may; `const st_http_request *request`, whole: method, the full url, headers (names in lower case), body; and
 * `st_http_response *response`, which is 200 and empty until it says something else. Failing is a 500 whose text stays in the log.
 * NOBODY HAS CHECKED WHO IS ASKING: the sender is all zero, there is no connection, and an Authorization header is the handler's to judge.
 *
 * ST_ROUTE binds a method (GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH, TRACE, CONNECT, or ANY) and a path to a handler of the same file. A path is
 * empty or begins with a slash, and holds a-z, 0-9, -, _, ~ and slashes; it must be met exactly: "/a" is not "/a/". One handler may
 * have many routes. */
#define ST_HTTP_HANDLER(fn) ST_I_HTTP_HANDLER(fn)
#define ST_ROUTE(method, path, fn) ST_I_ROUTE(__COUNTER__, method, path, fn)

/* ==== 4. The machinery =================================================================================
 *
 * From here on nothing is for authors. First the binary interface between a module and the host, which is
 * a promise: it is what a generator or another language would produce. Then the insides of the macros.
 *
 * ---- 4.1 The binary interface, version ST_ABI_MAJOR.ST_ABI_MINOR ----
 *
 * A module exports one symbol, st_module. It leads to the records in the ELF section st_items: constant
 * data, so the host reads a module's definition without running any of its code.
 *
 * Compatibility: a host takes a module of its own major whose minor is not above its own. In a minor version
 * st_api and the contexts may grow at their ends (the host fills them, so a module never looks past what its
 * own minor has), and so may st_module_desc and st_item, which tell their sizes. st_type, st_field and
 * everything in rows stay as they are; constants keep their numbers. tests/sdk/abi.c holds us to it. */
#define ST_ABI_MAJOR 1
#define ST_ABI_MINOR 2 /* 1: hash and direct indexes, sequences, names, migrations. 2: claims, stopwatches, sleep_until, rules, routes. Nothing older changed */
#define ST_MAGIC 0x315453u /* "ST1" */

/* What a type is. The size, alignment and offsets are as compiled; the host recomputes them and refuses a
 * module that differs (-fpack-struct, say). */
typedef enum st_kind {
    ST_K_BOOL = 1,      /* 1 byte, 0 or 1 */
    ST_K_INT,           /* size 1, 2, 4, 8, 16, 32; is_signed; 16 is aligned 16, 32 is aligned 8 */
    ST_K_FLOAT,         /* size 4, 8 */
    ST_K_STR,           /* {ptr, len} */
    ST_K_BYTES,         /* {ptr, len} */
    ST_K_IDENTITY,      /* 32 bytes, aligned 1, least significant first */
    ST_K_CONNECTION_ID, /* 16 bytes, aligned 1, least significant first */
    ST_K_UUID,          /* 16 bytes, aligned 1, RFC 4122 order (most significant first) */
    ST_K_TIMESTAMP,     /* int64_t microseconds since 1970 */
    ST_K_DURATION,      /* int64_t microseconds */
    ST_K_SCHEDULE,      /* {uint8_t tag; int64_t us}: 0 interval, 1 time */
    ST_K_UNIT,          /* 1 byte, aligned 1, no information */
    ST_K_STRUCT,        /* fields: all members, in order */
    ST_K_ENUM,          /* 1 byte; fields: the variants' names (type NULL) */
    ST_K_SUM,           /* uint8_t tag, then a union; fields: the variants, all at the union's offset */
    ST_K_OPTION,        /* bool some at 0, elem at elem_off; if some is 0 the rest means nothing */
    ST_K_ARRAY,         /* {ptr, len}; elements of type elem, contiguous, each of its own size */
    ST_K_RESULT         /* as a sum with the variants ok and err */
} st_kind;

struct st_field;
typedef struct st_type {
    const char            *name;      /* as the author wrote it: "user", "opt_st_str", "uint32_t" */
    uint32_t               kind;      /* st_kind */
    uint32_t               size, align;
    uint32_t               nfields;
    const struct st_field *fields;    /* STRUCT, ENUM, SUM, RESULT; else NULL */
    const struct st_type  *elem;      /* OPTION, ARRAY; else NULL */
    uint32_t               elem_off;  /* OPTION */
    uint32_t               is_signed; /* INT */
} st_type;

typedef struct st_field {             /* a column, struct field, argument, enum or sum variant */
    const char    *name;
    const st_type *type;              /* NULL for enum variants */
    uint32_t       offset;            /* in the struct; of the union in sums; 0 in enums */
    uint32_t       flags;             /* columns of tables: ST_COLUMN_...; else 0 */
} st_field;

#define ST_COLUMN_COL    0u           /* a plain column */
#define ST_COLUMN_PK     1u           /* primary key: unique and ordered index */
#define ST_COLUMN_UNIQUE 2u           /* unique and ordered index */
#define ST_COLUMN_AUTO   4u           /* auto-increment */
#define ST_COLUMN_INDEX  8u           /* ordered index */
#define ST_COLUMN_BY_HASH   16u       /* with PK, UNIQUE or INDEX: a hash index instead of an ordered one */
#define ST_COLUMN_BY_VALUE  32u       /* with PK or UNIQUE: a direct one, an array by value */
#define ST_COLUMN_PK_AUTO       (ST_COLUMN_PK | ST_COLUMN_AUTO)
#define ST_COLUMN_UNIQUE_AUTO   (ST_COLUMN_UNIQUE | ST_COLUMN_AUTO)
#define ST_COLUMN_HASH          (ST_COLUMN_INDEX | ST_COLUMN_BY_HASH)
#define ST_COLUMN_PK_HASH       (ST_COLUMN_PK | ST_COLUMN_BY_HASH)
#define ST_COLUMN_UNIQUE_HASH   (ST_COLUMN_UNIQUE | ST_COLUMN_BY_HASH)
#define ST_COLUMN_PK_DIRECT     (ST_COLUMN_PK | ST_COLUMN_BY_VALUE)
#define ST_COLUMN_UNIQUE_DIRECT (ST_COLUMN_UNIQUE | ST_COLUMN_BY_VALUE)

/* One record of the definition. Which members count, by kind (others are 0 or NULL):
 *
 *   TABLE     flags: ACCESS, F_EVENT   name: table       type: row
 *   INDEX     flags: INDEX_HASH        name: index       owner: table    ptr: const uint16_t[n] column positions   n
 *   DEFAULT   name: column             owner: table      ptr: the value, in the column's layout
 *   SCHEDULE  name: function called    owner: table      n: position of the schedule column
 *   FUNCTION  flags: st_fn_kind        name: function    type: struct of arguments, or NULL if none
 *             ret: result type (procedures)              call: st_call_reducer, st_call_procedure or (minor 2) st_call_handler
 *   VIEW      flags: ACCESS, F_ANONYMOUS and, since minor 2, F_QUERY or F_OPTION     name: view     type: row
 *             call: st_call_view or st_call_anon_view
 * since minor 1
 *   UNIQUE    name: index              owner: table      ptr: const uint16_t[n] column positions   n
 *   SEQUENCE  name: column             owner: table      ptr: const st_sequence *
 *   NAME      flags: st_name_kind      name: the word in the module    owner: table of an index or column
 *             ptr: const char *, the name
 *   CASE      flags: st_case           name: its word
 *   MIGRATION n: number, from 1        name: title       ptr: const st_migration_op[flags]
 *   OLD_TABLE n: number of a migration name: alias       owner: the table's name before    type: row
 * since minor 2
 *   RULE      name: "rule"             ptr: const char *, its SQL
 *   ROUTE     name: the handler        owner: the method, or ANY                           ptr: const char *, the path
 *   VIEW_KEY  name: column             owner: view
 *
 * The order in the section means nothing. A table declared in a header shared by several files has a record
 * in each: equal ones are one table. Records of a table's indexes, defaults and schedule likewise. */
typedef enum st_item_kind {
    ST_ITEM_TABLE = 1, ST_ITEM_INDEX, ST_ITEM_DEFAULT, ST_ITEM_SCHEDULE, ST_ITEM_FUNCTION, ST_ITEM_VIEW,
    ST_ITEM_UNIQUE, ST_ITEM_SEQUENCE, ST_ITEM_NAME, ST_ITEM_CASE, ST_ITEM_MIGRATION, ST_ITEM_OLD_TABLE,
    ST_ITEM_RULE, ST_ITEM_ROUTE, ST_ITEM_VIEW_KEY
} st_item_kind;
typedef enum st_fn_kind {
    ST_FN_REDUCER, ST_FN_INIT, ST_FN_CLIENT_CONNECTED, ST_FN_CLIENT_DISCONNECTED, ST_FN_PROCEDURE, ST_FN_HTTP_HANDLER
} st_fn_kind;
#define ST_ACCESS_PRIVATE 0u
#define ST_ACCESS_PUBLIC  1u
#define ST_F_EVENT        2u
#define ST_F_ANONYMOUS    4u
#define ST_F_QUERY        8u
#define ST_F_OPTION       16u
#define ST_INDEX_HASH     1u
typedef enum st_name_kind { ST_NAME_TABLE, ST_NAME_FUNCTION, ST_NAME_INDEX, ST_NAME_COLUMN } st_name_kind;
typedef enum st_case { ST_CASE_NONE, ST_CASE_SNAKE } st_case;

typedef struct st_item {
    uint32_t       kind;              /* st_item_kind */
    uint32_t       flags;
    const char    *name;
    const st_type *type;
    const st_type *ret;
    const char    *owner;
    const void    *ptr;
    uint32_t       n;
    void         (*call)(void);       /* cast to one of the types below */
} st_item;

typedef struct st_sequence { st_i128 start, min, max, increment; } st_sequence;

/* One operation of a migration; members that do not count are 0 or NULL.
 *
 *   RENAME_TABLE    table: old name   a: new name      ADD_UNIQUE, ADD_PRIMARY_KEY, DROP_COLUMN   table   a: column
 *   RENAME_COLUMN   table   a: old name   b: new       CONVERT_COLUMN   table   a: column   type: the old one
 *   DROP_TABLE      table                                               fn: st_call_convert, over the two types
 *   REPLACE_ROWS    table                              RUN              a: the function's name   fn: st_call_run */
typedef enum st_migration_kind {
    ST_MIGRATE_RENAME_TABLE = 1, ST_MIGRATE_RENAME_COLUMN, ST_MIGRATE_DROP_TABLE, ST_MIGRATE_DROP_COLUMN,
    ST_MIGRATE_CONVERT_COLUMN, ST_MIGRATE_ADD_UNIQUE, ST_MIGRATE_ADD_PRIMARY_KEY, ST_MIGRATE_REPLACE_ROWS,
    ST_MIGRATE_RUN
} st_migration_kind;
typedef struct st_migration_op {
    uint32_t       kind;              /* st_migration_kind */
    uint32_t       zero;
    const char    *table, *a, *b;
    const st_type *type;
    void         (*fn)(void);
} st_migration_op;

/* Arguments come as one struct, laid out as item->type says (NULL if there are none); ret is zeroed memory
 * for a value of item->ret; `host` goes back to st_api.emit. */
typedef st_status st_call_reducer(st_reducer_ctx *ctx, const void *args);
typedef st_status st_call_procedure(st_proc_ctx *ctx, const void *args, void *ret);
typedef st_status st_call_handler(st_proc_ctx *ctx, const st_http_request *request, st_http_response *response);
typedef st_status st_call_view(const st_view_ctx *ctx, const st_api *api, void *host);
typedef st_status st_call_anon_view(const st_anon_view_ctx *ctx, const st_api *api, void *host);
/* A conversion is the author's own function, over pointers to the column's two types: pointers to data are passed
 * alike on the machines that modules are built for. */
typedef st_status st_call_convert(st_reducer_ctx *ctx, const void *from, void *to);
typedef st_status st_call_run(st_reducer_ctx *ctx);

typedef struct st_module_desc {
    uint32_t    magic;                /* ST_MAGIC */
    uint32_t    size;                 /* of this struct */
    uint16_t    abi_major, abi_minor;
    uint16_t    ptr_size, item_size;  /* sizeof(void *), sizeof(st_item) */
    const char *name, *version;       /* ST_MODULE's */
    const char *compiler;             /* __VERSION__ */
    const st_item *const *items;      /* from here ... */
    const st_item *const *items_end;  /* ... up to here */
} st_module_desc;

typedef enum st_log_level { ST_LOG_ERROR, ST_LOG_WARN, ST_LOG_INFO, ST_LOG_DEBUG, ST_LOG_TRACE } st_log_level;
typedef struct st_log_loc { const char *file, *function; uint32_t line; } st_log_loc;

typedef struct st_cursor { void *host; const void *pos; uint64_t a, b; } st_cursor; /* all four: the host's */

/* The handle of table functions. `item` is the host's: one pointer per record of the module, in the order
 * of the section. The host may keep more behind the struct. */
struct st_db { const st_api *api; st_call *call; void *const *item; };

/* The host's functions. None is ever NULL; each is called on the thread of the call, with the handle that
 * came with the context. `item` is the position of the table's record in the section; the functions that read
 * take that of an old table too. `col` and `cols` are positions in the row type's fields; keys and bounds point to
 * values in their column's layout. */
struct st_api {
    uint32_t size, major, minor, reserved;
    /* Row writes. try_: a failure dooms nothing. Generated values are written into *row. */
    st_status (*insert)(st_db *, uint32_t item, void *row, bool try_);
    st_status (*update)(st_db *, uint32_t item, uint32_t col, void *row, bool try_);
    /* The row with this value in a unique column, or NULL. */
    const void *(*find)(const st_db *, uint32_t item, uint32_t col, const void *key);
    /* Delete rows with cols[i] == *eq[i] for all i < ncols (0: all rows); returns how many. */
    uint64_t (*erase)(st_db *, uint32_t item, uint32_t ncols, const uint16_t *cols, const void *const *eq);
    uint64_t (*count)(const st_db *, uint32_t item);
    /* Rows of the index over cols[0..ncols) with cols[i] == *eq[i] for i < neq and, if neq < ncols,
     * lo <= cols[neq] < hi; NULL: no bound. ncols 0: all rows. A snapshot of the moment. */
    st_cursor (*scan)(const st_db *, uint32_t item, uint32_t ncols, const uint16_t *cols, uint32_t neq,
                      const void *const *eq, const void *lo, const void *hi);
    const void *(*next)(const st_db *, st_cursor *);
    void *(*alloc)(st_call *, size_t);
    st_status (*fail)(st_call *, const char *format, ...) __attribute__((format(printf, 2, 3)));
    void (*log)(st_call *, st_log_level, const st_log_loc *, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
    st_status (*emit)(void *host, const void *row);
    /* tx_begin: NULL if it cannot (nested, cancelled): the body is skipped. tx_end: commits; NULL, or the
     * pointer again to run the body once more. tx_abort: rolls back. All set ctx->tx_status. */
    st_reducer_ctx *(*tx_begin)(st_proc_ctx *);
    st_reducer_ctx *(*tx_end)(st_proc_ctx *, st_reducer_ctx *);
    void (*tx_abort)(st_proc_ctx *, st_reducer_ctx *);
    st_status (*http)(st_proc_ctx *, const st_http_request *, st_http_response *);
    st_str (*format)(st_call *, const char *format, ...) __attribute__((format(printf, 2, 3)));
    void (*random)(st_call *, void *buffer, size_t size);
    /* Delete the row equal to *row in every column; true if there was one. */
    bool (*erase_row)(st_db *, uint32_t item, const void *row);
    /* since minor 2. claims: JSON text; claim: the index-th text of a member, ptr NULL when there is none; both empty without a token. */
    st_str (*claims)(st_call *);
    st_str (*claim)(st_call *, const char *name, uint32_t index);
    /* UINT32_MAX: too many in this call; ending that is ST_E_NO_STOPWATCH, as is ending one twice. */
    uint32_t (*stopwatch_start)(st_call *, const char *name);
    st_status (*stopwatch_end)(st_call *, uint32_t id, const st_log_loc *);
    /* Since minor 2. Sets ctx->timestamp to the time after it. */
    st_status (*sleep_until)(st_proc_ctx *, st_timestamp);
    /* Since minor 2. The result of a query view; the text is copied. */
    st_status (*query)(void *host, const char *sql);
};

/* ---- 4.2 Inside the macros ----
 *
 * ST_I_... are private. A tuple (type, name, ATTR) is opened by a macro whose name is the advice that a
 * compiler prints when the parentheses are missing; the words added behind it are the default attribute and
 * the complaint about a missing name. Types are found by pasting: st_typedesc_T describes T,
 * st_keyable_T tells whether it can be a key. Records are placed by pasting: st_put_... */

/* Mistakes that C compilers merely warn about are errors in a module's file. */
#if defined(__clang__)
#ifndef __cplusplus
#pragma clang diagnostic error "-Wincompatible-pointer-types"
#pragma clang diagnostic error "-Wincompatible-pointer-types-discards-qualifiers"
#pragma clang diagnostic error "-Wint-conversion"
#pragma clang diagnostic error "-Wimplicit-function-declaration"
#endif
#pragma clang diagnostic error "-Wreturn-type"
#pragma clang diagnostic error "-Wunused-result"
#pragma clang diagnostic error "-Wformat"
#elif defined(__GNUC__)
#ifndef __cplusplus
#pragma GCC diagnostic error "-Wincompatible-pointer-types"
#pragma GCC diagnostic error "-Wdiscarded-qualifiers"
#pragma GCC diagnostic error "-Wint-conversion"
#pragma GCC diagnostic error "-Wimplicit-function-declaration"
#endif
#pragma GCC diagnostic error "-Wreturn-type"
#pragma GCC diagnostic error "-Wunused-result"
#pragma GCC diagnostic error "-Wformat"
#else
#error "spacetimedb.h needs gcc or clang"
#endif
ST_I_ASSERT(sizeof(void *) == 8 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "modules are built for 64-bit little-endian machines");

#include "spacetimedb_arity.h" /* ST_I_CAT, ST_I_N, ST_I_EACH, ST_I_IS1 */

#define ST_I_UNUSED __attribute__((unused))
#define ST_I_HIDDEN __attribute__((visibility("hidden")))
#define ST_I_CHECKED __attribute__((warn_unused_result))
/* ST_I_TYPEOF: of a column. ST_I_IS: has the expression this type? ST_I_CHECK: in an expression, 0 or an error. */
#ifdef __cplusplus
#define ST_I_TYPEOF(T, column) decltype(T::column)
#define ST_I_IS(expression, ...) __is_same(decltype(expression), __VA_ARGS__)
#define ST_I_CHECK(condition, text) ([] { static_assert(condition, text); return 0u; }())
#else
#define ST_I_TYPEOF(T, column) __typeof__(((T *)0)->column)
#define ST_I_IS(expression, ...) _Generic((expression), __VA_ARGS__: 1, default: 0)
#define ST_I_CHECK(condition, text) (0u * (uint32_t)sizeof(struct { int checked; _Static_assert(condition, text); }))
#endif

#define st_write_each_column_or_argument_in_parentheses(...) __VA_ARGS__
#define ST_I_OPEN(M, T, tuple) \
    ST_I_APPLY(M, T, st_write_each_column_or_argument_in_parentheses tuple, COL, is_missing_a_column_name, ~)
#define ST_I_APPLY(M, ...) M(__VA_ARGS__)

/* Context helpers. */
#define ST_I_LOG(ctx, level, ...) \
    ((ctx)->api->log((ctx)->call, level, ST_I_LOC({ __FILE__, __func__, __LINE__ }), __VA_ARGS__))
#ifdef __cplusplus
#define ST_I_LOC(...) st_i_loc(st_log_loc __VA_ARGS__)
ST_I_FN const st_log_loc *st_i_loc(const st_log_loc &here) { return &here; } /* lives until the call returns */
#else
#define ST_I_LOC(...) &(const st_log_loc)__VA_ARGS__
#endif
ST_I_CHECKED ST_I_FN st_status st_result_of_st_fail_must_be_returned(st_status status) { return status; }
ST_I_FN st_str st_i_identity_hex(const st_api *api, st_call *call, st_identity id)
{
    char *hex = (char *)api->alloc(call, 64);
    for (int i = 0; i < 64; i++)
        hex[i] = "0123456789abcdef"[id.b[31 - i / 2] >> (i % 2 ? 0 : 4) & 15];
    return ST_I_LIT(st_str){ hex, 64 };
}
ST_I_FN uint64_t st_i_random_u64(const st_api *api, st_call *call)
{
    uint64_t n;
    api->random(call, &n, sizeof n);
    return n;
}
ST_I_FN st_uuid st_i_uuid(const st_api *api, st_call *call, uint8_t version, int64_t us)
{
    st_uuid id;
    api->random(call, id.b, sizeof id.b);
    if (version == 7)
        for (int i = 0; i < 6; i++)
            id.b[i] = (uint8_t)((uint64_t)(us / 1000) >> (40 - 8 * i));
    id.b[6] = (uint8_t)((id.b[6] & 15) | version << 4);
    id.b[8] = (uint8_t)((id.b[8] & 63) | 128);
    return id;
}
typedef struct st_tx_scope { st_proc_ctx *ctx; st_reducer_ctx *open; bool first; } st_tx_scope;
ST_I_FN st_tx_scope st_i_tx_enter(st_proc_ctx *ctx)
{
    return ST_I_LIT(st_tx_scope){ ctx, ctx->api->tx_begin(ctx), true };
}
ST_I_FN void st_i_tx_leave(st_tx_scope *scope)
{
    if (scope->open)
        scope->ctx->api->tx_abort(scope->ctx, scope->open);
}
ST_I_CHECKED ST_I_FN st_status st_i_http(st_proc_ctx *ctx, const st_http_request *request, st_http_response *response)
{
    return ctx->api->http(ctx, request, response);
}
ST_I_CHECKED ST_I_FN st_status st_i_sleep_until(st_proc_ctx *ctx, st_timestamp when)
{
    return ctx->api->sleep_until(ctx, when);
}

/* Descriptors of the predeclared types. bool has two: it is a macro in C11 and a keyword in C23.
 * keyable: 0 no, 1 yes, 2 also behind a direct index. */
#define ST_I_DESCRIBE(T, label, kind, is_signed, keyable) \
    enum { st_keyable_##T = keyable }; \
    static const st_type st_typedesc_##T ST_I_UNUSED = \
        { label, kind, sizeof(T), ST_I_ALIGNOF(T), 0, NULL, NULL, 0, is_signed };
ST_I_DESCRIBE(bool,             "bool",     ST_K_BOOL, 0, 1)
#ifndef __cplusplus
ST_I_DESCRIBE(_Bool,            "bool",     ST_K_BOOL, 0, 1)
#endif
ST_I_DESCRIBE(uint8_t,          "uint8_t",  ST_K_INT, 0, 2)
ST_I_DESCRIBE(uint16_t,         "uint16_t", ST_K_INT, 0, 2)
ST_I_DESCRIBE(uint32_t,         "uint32_t", ST_K_INT, 0, 2)
ST_I_DESCRIBE(uint64_t,         "uint64_t", ST_K_INT, 0, 2)
ST_I_DESCRIBE(int8_t,           "int8_t",   ST_K_INT, 1, 1)
ST_I_DESCRIBE(int16_t,          "int16_t",  ST_K_INT, 1, 1)
ST_I_DESCRIBE(int32_t,          "int32_t",  ST_K_INT, 1, 1)
ST_I_DESCRIBE(int64_t,          "int64_t",  ST_K_INT, 1, 1)
ST_I_DESCRIBE(st_u128,          "st_u128",  ST_K_INT, 0, 1)
ST_I_DESCRIBE(st_i128,          "st_i128",  ST_K_INT, 1, 1)
ST_I_DESCRIBE(st_u256,          "st_u256",  ST_K_INT, 0, 1)
ST_I_DESCRIBE(st_i256,          "st_i256",  ST_K_INT, 1, 1)
ST_I_DESCRIBE(float,            "float",    ST_K_FLOAT, 1, 0)
ST_I_DESCRIBE(double,           "double",   ST_K_FLOAT, 1, 0)
ST_I_DESCRIBE(st_str,           "st_str",   ST_K_STR, 0, 1)
ST_I_DESCRIBE(st_bytes,         "st_bytes", ST_K_BYTES, 0, 0)
ST_I_DESCRIBE(st_identity,      "st_identity", ST_K_IDENTITY, 0, 1)
ST_I_DESCRIBE(st_connection_id, "st_connection_id", ST_K_CONNECTION_ID, 0, 1)
ST_I_DESCRIBE(st_uuid,          "st_uuid",  ST_K_UUID, 0, 1)
ST_I_DESCRIBE(st_timestamp,     "st_timestamp", ST_K_TIMESTAMP, 1, 1)
ST_I_DESCRIBE(st_duration,      "st_duration", ST_K_DURATION, 1, 0)
ST_I_DESCRIBE(st_schedule_at,   "st_schedule_at", ST_K_SCHEDULE, 0, 0)
ST_I_DESCRIBE(st_unit,          "st_unit",  ST_K_UNIT, 0, 0)

/* C's own words for types are refused with advice instead of "undeclared". */
#if defined(__clang__) || __GNUC__ >= 12
#define ST_I_REFUSE(word, advice) \
    extern const st_type st_typedesc_##word __attribute__((unavailable(advice))); enum { st_keyable_##word = 1 };
ST_I_REFUSE(int,      "use int32_t or int64_t: module types have a fixed width")
ST_I_REFUSE(short,    "use int16_t: module types have a fixed width")
ST_I_REFUSE(long,     "use int64_t: module types have a fixed width")
ST_I_REFUSE(unsigned, "use uint32_t or uint64_t: module types have a fixed width")
ST_I_REFUSE(signed,   "use int32_t or int64_t: module types have a fixed width")
ST_I_REFUSE(char,     "use int8_t, uint8_t or st_str: module types have a fixed width and no pointers")
ST_I_REFUSE(size_t,   "use uint64_t: module types have a fixed width")
ST_I_REFUSE(const,    "write the type without const; for text use st_str, for bytes st_bytes, for arrays ST_ARRAY")
ST_I_REFUSE(struct,   "declare the type with ST_STRUCT and use its name alone")
ST_I_REFUSE(enum,     "declare the type with ST_ENUM and use its name alone")
ST_I_REFUSE(union,    "declare the type with ST_SUM and use its name alone")
ST_I_REFUSE(void,     "use st_bytes for bytes, st_unit for nothing")
#endif

/* Custom types. */
#define ST_I_DESCRIBE_FIELDS(T, kind) \
    static const st_type st_typedesc_##T ST_I_UNUSED = { #T, kind, sizeof(T), ST_I_ALIGNOF(T), \
        sizeof st_fields_##T / sizeof *st_fields_##T, st_fields_##T, NULL, 0, 0 };
#define ST_I_MEMBER(T, tuple) ST_I_OPEN(ST_I_MEMBER_, T, tuple)
#define ST_I_MEMBER_(T, type, name, attr, ...) type name;
#define ST_I_FIELD(T, tuple) ST_I_OPEN(ST_I_FIELD_, T, tuple)
#define ST_I_FIELD_(T, type, name, attr, ...) { #name, &st_typedesc_##type, offsetof(T, name), ST_COLUMN_##attr },
#define ST_I_PLAIN(T, tuple) ST_I_OPEN(ST_I_PLAIN_, T, tuple)
#define ST_I_PLAIN_(T, type, name, attr, ...) ST_I_ASSERT(ST_COLUMN_##attr == 0, \
    "'" #T "', '" #name "': " #attr " belongs to the columns of a table");

/* The way out of a view: T_rows is what `out` points to. */
#define ST_I_ROWS(T) \
    typedef struct T##_rows { const st_api *api; void *host; } T##_rows; \
    ST_I_CHECKED ST_I_FN st_status T##_query(T##_rows *st_i_out, const char *st_i_sql) \
        { return st_i_out->api->query(st_i_out->host, st_i_sql); } \
    ST_I_CHECKED ST_I_FN st_status T##_emit(T##_rows *st_i_out, const T *st_i_row) { return st_i_out->api->emit(st_i_out->host, st_i_row); }

#define ST_I_STRUCT(T, ...) \
    typedef struct T { ST_I_EACH(ST_I_MEMBER, T, __VA_ARGS__) } T; \
    static const st_field st_fields_##T[] ST_I_UNUSED = { ST_I_EACH(ST_I_FIELD, T, __VA_ARGS__) }; \
    ST_I_EACH(ST_I_PLAIN, T, __VA_ARGS__) \
    enum { st_keyable_##T = 0 }; \
    ST_I_DESCRIBE_FIELDS(T, ST_K_STRUCT) \
    ST_I_ROWS(T) \
    struct st_semicolon_expected

/* An enum of one byte: C++ can say so, C needs the attribute. */
#ifdef __cplusplus
#define ST_I_BYTE
#define ST_I_OF_BYTES : uint8_t
#else
#define ST_I_BYTE __attribute__((packed))
#define ST_I_OF_BYTES
#endif
#define ST_I_ENUMERATOR(T, name) T##_##name,
#define ST_I_ENUM_FIELD(T, name) { #name, NULL, 0, 0 },
#define ST_I_ENUM(T, ...) \
    typedef enum ST_I_BYTE T ST_I_OF_BYTES { ST_I_EACH(ST_I_ENUMERATOR, T, __VA_ARGS__) } T; \
    static const st_field st_fields_##T[] ST_I_UNUSED = { ST_I_EACH(ST_I_ENUM_FIELD, T, __VA_ARGS__) }; \
    enum { st_keyable_##T = 2 }; \
    ST_I_DESCRIBE_FIELDS(T, ST_K_ENUM) \
    struct st_semicolon_expected

#define ST_I_TAG(T, tuple) ST_I_OPEN(ST_I_TAG_, T, tuple)
#define ST_I_TAG_(T, type, name, attr, ...) T##_##name,
#define ST_I_VARIANT(T, tuple) ST_I_OPEN(ST_I_VARIANT_, T, tuple)
#define ST_I_VARIANT_(T, type, name, attr, ...) { #name, &st_typedesc_##type, offsetof(T, u), ST_COLUMN_##attr },
#define ST_I_SUM(T, ...) \
    typedef enum ST_I_BYTE T##_tag ST_I_OF_BYTES { ST_I_EACH(ST_I_TAG, T, __VA_ARGS__) } T##_tag; \
    typedef struct T { T##_tag tag; union { ST_I_EACH(ST_I_MEMBER, T, __VA_ARGS__) } u; } T; \
    static const st_field st_fields_##T[] ST_I_UNUSED = { ST_I_EACH(ST_I_VARIANT, T, __VA_ARGS__) }; \
    ST_I_EACH(ST_I_PLAIN, T, __VA_ARGS__) \
    enum { st_keyable_##T = 0 }; \
    ST_I_DESCRIBE_FIELDS(T, ST_K_SUM) \
    struct st_semicolon_expected

#define ST_I_OPTION(T, O, SOME, NONE) \
    typedef struct O { bool some; T v; } O; \
    ST_I_OPTION_REST(T, O, SOME, NONE)
#define ST_I_OPTION_REST(T, O, SOME, NONE) \
    ST_I_FN O SOME(T v) { O o; memset(&o, 0, sizeof o); o.some = true; o.v = v; return o; } \
    ST_I_FN O NONE(void) { O o; memset(&o, 0, sizeof o); return o; } \
    enum { st_keyable_##O = 0 }; \
    static const st_type st_typedesc_##O ST_I_UNUSED = \
        { #O, ST_K_OPTION, sizeof(O), ST_I_ALIGNOF(O), 0, NULL, &st_typedesc_##T, offsetof(O, v), 0 };
#define ST_I_ARRAY(T, A) \
    typedef struct A { const T *ptr; size_t len; } A; \
    enum { st_keyable_##A = 0 }; \
    static const st_type st_typedesc_##A ST_I_UNUSED = \
        { #A, ST_K_ARRAY, sizeof(A), ST_I_ALIGNOF(A), 0, NULL, &st_typedesc_##T, 0, 0 };
#define ST_I_RESULT(T, E, R, OK, ERR) \
    typedef struct R { uint8_t tag; union { T ok; E err; } u; } R; \
    ST_I_FN R OK(T v)  { R r; memset(&r, 0, sizeof r); r.u.ok = v; return r; } \
    ST_I_FN R ERR(E e) { R r; memset(&r, 0, sizeof r); r.tag = 1; r.u.err = e; return r; } \
    enum { st_keyable_##R = 0 }; \
    static const st_field st_fields_##R[] ST_I_UNUSED = { \
        { "ok", &st_typedesc_##T, offsetof(R, u), 0 }, { "err", &st_typedesc_##E, offsetof(R, u), 0 } }; \
    ST_I_DESCRIBE_FIELDS(R, ST_K_RESULT)

/* The options and arrays that everybody needs. */
#define ST_I_JUST_OPTION(T) ST_I_OPTION(T, opt_##T, some_##T, none_##T)
#define ST_I_JUST_ARRAY(T)  ST_I_ARRAY(T, arr_##T)
#define ST_I_BOTH(T)        ST_I_JUST_OPTION(T) ST_I_JUST_ARRAY(T)
ST_I_JUST_OPTION(bool)  ST_I_JUST_ARRAY(bool)
ST_I_JUST_OPTION(uint8_t) /* an arr_uint8_t would be st_bytes */
ST_I_BOTH(uint16_t)     ST_I_BOTH(uint32_t)     ST_I_BOTH(uint64_t)
ST_I_BOTH(int8_t)       ST_I_BOTH(int16_t)      ST_I_BOTH(int32_t)      ST_I_BOTH(int64_t)
ST_I_BOTH(st_u128)      ST_I_BOTH(st_i128)      ST_I_BOTH(st_u256)      ST_I_BOTH(st_i256)
ST_I_BOTH(float)        ST_I_BOTH(double)       ST_I_BOTH(st_str)       ST_I_BOTH(st_bytes)
ST_I_BOTH(st_identity)  ST_I_BOTH(st_uuid)      ST_I_BOTH(st_timestamp) ST_I_BOTH(st_duration)
ST_I_OPTION_REST(st_connection_id, opt_st_connection_id, some_st_connection_id, none_st_connection_id)
ST_I_JUST_ARRAY(st_connection_id)

/* Records. Position in the section is known at link time: that is how a table function names its table. */
extern const st_item *const __start_st_items[] ST_I_HIDDEN;
extern const st_item *const __stop_st_items[] ST_I_HIDDEN;
#define ST_I_PUT(id) \
    static const st_item *const st_put_##id __attribute__((section("st_items"), used)) = &st_item_##id;
#define ST_I_ORD(id) ((uint32_t)(((uintptr_t)&st_put_##id - (uintptr_t)__start_st_items) / sizeof(void *)))

/* The empty section is for modules without records. */
#define ST_I_MODULE(name_, version_) \
    __asm__(".pushsection st_items,\"aw\",@progbits\n\t.popsection"); \
    extern const st_module_desc st_module __attribute__((visibility("default"))); \
    __attribute__((used)) const st_module_desc st_module = { \
        ST_MAGIC, sizeof(st_module_desc), ST_ABI_MAJOR, ST_ABI_MINOR, sizeof(void *), sizeof(st_item), \
        name_, version_, __VERSION__, __start_st_items, __stop_st_items }

/* Tables. */
#define ST_I_IS_U64(T) ST_I_IS((T *)0, uint64_t *)
#ifdef __cplusplus
#define ST_I_IS_INT(T) (__is_same(T, uint8_t) || __is_same(T, uint16_t) || __is_same(T, uint32_t) || \
    __is_same(T, uint64_t) || __is_same(T, int8_t) || __is_same(T, int16_t) || __is_same(T, int32_t) || \
    __is_same(T, int64_t) || \
    __is_same(T, st_u128) || __is_same(T, st_i128) || __is_same(T, st_u256) || __is_same(T, st_i256))
#else
#define ST_I_IS_INT(T) _Generic((T *)0, uint8_t *: 1, uint16_t *: 1, uint32_t *: 1, uint64_t *: 1, \
    int8_t *: 1, int16_t *: 1, int32_t *: 1, int64_t *: 1, \
    st_u128 *: 1, st_i128 *: 1, st_u256 *: 1, st_i256 *: 1, default: 0)
#endif

#define ST_I_COLUMN(T, tuple) ST_I_OPEN(ST_I_COLUMN_, T, tuple)
#define ST_I_COLUMN_(T, type, name, attr, ...) st_col_##T##_##name,
#define ST_I_PK(T, tuple) ST_I_OPEN(ST_I_PK_, T, tuple)
#define ST_I_PK_(T, type, name, attr, ...) + (int)(ST_COLUMN_##attr & ST_COLUMN_PK)
#define ST_I_PK64(T, tuple) ST_I_OPEN(ST_I_PK64_, T, tuple)
#define ST_I_PK64_(T, type, name, attr, ...) + (int)(ST_COLUMN_##attr & ST_COLUMN_PK) * ST_I_IS_U64(type)
#define ST_I_VERIFY(T, tuple) ST_I_OPEN(ST_I_VERIFY_, T, tuple)
#define ST_I_VERIFY_(T, type, name, attr, ...) \
    enum { \
        st_colflags_##T##_##name = ST_COLUMN_##attr, \
        st_colkey_##T##_##name = st_keyable_##type != 0, \
        st_auto_ok_##T##_##name = !(ST_COLUMN_##attr & ST_COLUMN_AUTO) || ST_I_IS_INT(type), \
        st_key_ok_##T##_##name = !(ST_COLUMN_##attr & ~ST_COLUMN_AUTO) || st_keyable_##type != 0, \
        st_direct_ok_##T##_##name = !(ST_COLUMN_##attr & ST_COLUMN_BY_VALUE) || st_keyable_##type != 1 \
    }; \
    ST_I_ASSERT(st_auto_ok_##T##_##name, \
        "table '" #T "', column '" #name "': auto-increment needs an integer type, not '" #type "'"); \
    ST_I_ASSERT(st_key_ok_##T##_##name, \
        "table '" #T "', column '" #name "': a value of type '" #type "' cannot be a key"); \
    ST_I_ASSERT(st_direct_ok_##T##_##name, \
        "table '" #T "', column '" #name \
        "': a direct index needs uint8_t to uint64_t or an ST_ENUM, not '" #type "'");

/* The row type T of a table, old or present, and the functions that read it. */
#define ST_I_ROW(T, ...) \
    typedef struct T { ST_I_EACH(ST_I_MEMBER, T, __VA_ARGS__) } T; \
    enum { ST_I_EACH(ST_I_COLUMN, T, __VA_ARGS__) st_ncols_##T }; \
    static const st_field st_fields_##T[] ST_I_UNUSED = { ST_I_EACH(ST_I_FIELD, T, __VA_ARGS__) }; \
    ST_I_EACH(ST_I_VERIFY, T, __VA_ARGS__) \
    enum { st_keyable_##T = 0, st_pks_##T = 0 ST_I_EACH(ST_I_PK, T, __VA_ARGS__), \
           st_pk64_##T = 0 ST_I_EACH(ST_I_PK64, T, __VA_ARGS__) }; \
    ST_I_ASSERT(st_pks_##T <= 1, "table '" #T "': more than one primary key"); \
    ST_I_DESCRIBE_FIELDS(T, ST_K_STRUCT)
#define ST_I_READERS(T) \
    typedef struct T##_iter { st_cursor cursor; const st_db *db; } T##_iter; \
    ST_I_FN T##_iter T##_each(T##_iter st_i_it) { return st_i_it; } \
    ST_I_FN const T *T##_next(T##_iter *st_i_it) { return (const T *)st_i_it->db->api->next(st_i_it->db, &st_i_it->cursor); } \
    ST_I_FN T##_iter T##_all(st_db *st_i_db) \
        { return ST_I_LIT(T##_iter){ st_i_db->api->scan(st_i_db, ST_I_ORD(T), 0, NULL, 0, NULL, NULL, NULL), st_i_db }; } \
    ST_I_FN uint64_t T##_count(const st_db *st_i_db) { return st_i_db->api->count(st_i_db, ST_I_ORD(T)); }

#define ST_I_TABLE(T, flags_, ...) \
    ST_I_ROW(T, __VA_ARGS__) \
    static const st_item st_item_##T = \
        { ST_ITEM_TABLE, flags_, #T, &st_typedesc_##T, NULL, NULL, NULL, 0, NULL }; \
    ST_I_PUT(T) \
    ST_I_READERS(T) \
    ST_I_FN uint64_t T##_clear(st_db *st_i_db) { return st_i_db->api->erase(st_i_db, ST_I_ORD(T), 0, NULL, NULL); } \
    ST_I_FN bool T##_delete(st_db *st_i_db, const T *st_i_row) { return st_i_db->api->erase_row(st_i_db, ST_I_ORD(T), st_i_row); } \
    ST_I_CHECKED ST_I_FN st_status T##_insert(st_db *st_i_db, T *st_i_row) \
        { return st_i_db->api->insert(st_i_db, ST_I_ORD(T), st_i_row, false); } \
    ST_I_CHECKED ST_I_FN st_status T##_try_insert(st_db *st_i_db, T *st_i_row) \
        { return st_i_db->api->insert(st_i_db, ST_I_ORD(T), st_i_row, true); } \
    ST_I_ROWS(T) \
    ST_I_EACH(ST_I_ACCESS, T, __VA_ARGS__) \
    struct st_semicolon_expected

#define ST_I_OLD_TABLE(version_, T, table, ...) \
    ST_I_ASSERT((version_) > 0, "old table '" #T "': migrations are numbered from 1"); \
    ST_I_ROW(T, __VA_ARGS__) \
    static const st_item st_item_##T = \
        { ST_ITEM_OLD_TABLE, 0, #T, &st_typedesc_##T, NULL, table, NULL, version_, NULL }; \
    ST_I_PUT(T) \
    ST_I_READERS(T) \
    ST_I_EACH(ST_I_READ, T, __VA_ARGS__) \
    struct st_semicolon_expected

/* The functions that a column's attribute makes: those that read, and those that write. */
#define ST_I_READ(T, tuple) ST_I_OPEN(ST_I_READ_, T, tuple)
#define ST_I_READ_(T, type, name, attr, ...) ST_I_READ_##attr(T, type, name)
#define ST_I_READ_COL(T, type, name)
#define ST_I_READ_AUTO(T, type, name)
#define ST_I_READ_PK(T, type, name)            ST_I_READ_UNIQUE(T, type, name)
#define ST_I_READ_PK_AUTO(T, type, name)       ST_I_READ_UNIQUE(T, type, name)
#define ST_I_READ_PK_HASH(T, type, name)       ST_I_READ_UNIQUE(T, type, name)
#define ST_I_READ_PK_DIRECT(T, type, name)     ST_I_READ_UNIQUE(T, type, name)
#define ST_I_READ_UNIQUE_AUTO(T, type, name)   ST_I_READ_UNIQUE(T, type, name)
#define ST_I_READ_UNIQUE_HASH(T, type, name)   ST_I_READ_UNIQUE(T, type, name)
#define ST_I_READ_UNIQUE_DIRECT(T, type, name) ST_I_READ_UNIQUE(T, type, name)
#define ST_I_READ_UNIQUE(T, type, name) \
    ST_I_FN const T *T##_find_by_##name(const st_db *st_i_db, type st_i_key) \
        { return (const T *)st_i_db->api->find(st_i_db, ST_I_ORD(T), st_col_##T##_##name, &st_i_key); }
#define ST_I_READ_HASH(T, type, name) \
    ST_I_FN T##_iter T##_by_##name(const st_db *st_i_db, type st_i_key) \
        { const uint16_t st_i_col[1] = { st_col_##T##_##name }; const void *const st_i_eq[1] = { &st_i_key }; \
          return ST_I_LIT(T##_iter){ st_i_db->api->scan(st_i_db, ST_I_ORD(T), 1, st_i_col, 1, st_i_eq, NULL, NULL), st_i_db }; }
#define ST_I_READ_INDEX(T, type, name) \
    ST_I_READ_HASH(T, type, name) \
    ST_I_FN T##_iter T##_by_##name##_range(const st_db *st_i_db, const type *st_i_lo, const type *st_i_hi) \
        { const uint16_t st_i_col[1] = { st_col_##T##_##name }; \
          return ST_I_LIT(T##_iter){ st_i_db->api->scan(st_i_db, ST_I_ORD(T), 1, st_i_col, 0, NULL, st_i_lo, st_i_hi), st_i_db }; }

#define ST_I_ACCESS(T, tuple) ST_I_OPEN(ST_I_ACCESS_, T, tuple)
#define ST_I_ACCESS_(T, type, name, attr, ...) ST_I_ACCESS_##attr(T, type, name)
#define ST_I_ACCESS_COL(T, type, name)
#define ST_I_ACCESS_AUTO(T, type, name)
#define ST_I_ACCESS_PK(T, type, name)            ST_I_ACCESS_UNIQUE(T, type, name)
#define ST_I_ACCESS_PK_AUTO(T, type, name)       ST_I_ACCESS_UNIQUE(T, type, name)
#define ST_I_ACCESS_PK_HASH(T, type, name)       ST_I_ACCESS_UNIQUE(T, type, name)
#define ST_I_ACCESS_PK_DIRECT(T, type, name)     ST_I_ACCESS_UNIQUE(T, type, name)
#define ST_I_ACCESS_UNIQUE_AUTO(T, type, name)   ST_I_ACCESS_UNIQUE(T, type, name)
#define ST_I_ACCESS_UNIQUE_HASH(T, type, name)   ST_I_ACCESS_UNIQUE(T, type, name)
#define ST_I_ACCESS_UNIQUE_DIRECT(T, type, name) ST_I_ACCESS_UNIQUE(T, type, name)
#define ST_I_ACCESS_UNIQUE(T, type, name) \
    ST_I_READ_UNIQUE(T, type, name) \
    ST_I_FN bool T##_delete_by_##name(st_db *st_i_db, type st_i_key) \
        { const uint16_t st_i_col[1] = { st_col_##T##_##name }; const void *const st_i_eq[1] = { &st_i_key }; \
          return st_i_db->api->erase(st_i_db, ST_I_ORD(T), 1, st_i_col, st_i_eq) != 0; } \
    ST_I_CHECKED ST_I_FN st_status T##_update_by_##name(st_db *st_i_db, T *st_i_row) \
        { return st_i_db->api->update(st_i_db, ST_I_ORD(T), st_col_##T##_##name, st_i_row, false); }
#define ST_I_ACCESS_INDEX(T, type, name) ST_I_READ_INDEX(T, type, name) ST_I_DELETE_BY(T, type, name)
#define ST_I_ACCESS_HASH(T, type, name)  ST_I_READ_HASH(T, type, name) ST_I_DELETE_BY(T, type, name)
#define ST_I_DELETE_BY(T, type, name) \
    ST_I_FN uint64_t T##_delete_by_##name(st_db *st_i_db, type st_i_key) \
        { const uint16_t st_i_col[1] = { st_col_##T##_##name }; const void *const st_i_eq[1] = { &st_i_key }; \
          return st_i_db->api->erase(st_i_db, ST_I_ORD(T), 1, st_i_col, st_i_eq); }

/* Indexes over several columns: key parameters for all but the last, bounds for the last. */
#define ST_I_INDEX1(T, ix, a) \
    ST_I_ASSERT(0, "index '" #ix "' of table '" #T "': for one column write (type, " #a ", INDEX) in the table");
#define ST_I_INDEX_TOO_MANY(...) ST_I_ASSERT(0, "an index has at most four columns");
#define ST_I_INDEX5(T, ix, ...) ST_I_INDEX_TOO_MANY(T)
#define ST_I_INDEX6(T, ix, ...) ST_I_INDEX_TOO_MANY(T)
#define ST_I_INDEX7(T, ix, ...) ST_I_INDEX_TOO_MANY(T)
#define ST_I_INDEX8(T, ix, ...) ST_I_INDEX_TOO_MANY(T)
#define ST_I_INDEX2(T, ix, a, b) \
    ST_I_INDEX_KEY(T, ix, a) ST_I_INDEX_KEY(T, ix, b) \
    ST_I_INDEX_OF(T, ix, 2, (const st_db *st_i_db, ST_I_TYPEOF(T, a) st_i_k1), \
        (const st_db *st_i_db, ST_I_TYPEOF(T, a) st_i_k1, const ST_I_TYPEOF(T, b) *st_i_lo, const ST_I_TYPEOF(T, b) *st_i_hi), \
        (&st_i_k1), st_col_##T##_##a, st_col_##T##_##b)
#define ST_I_INDEX3(T, ix, a, b, c) \
    ST_I_INDEX_KEY(T, ix, a) ST_I_INDEX_KEY(T, ix, b) ST_I_INDEX_KEY(T, ix, c) \
    ST_I_INDEX_OF(T, ix, 3, (const st_db *st_i_db, ST_I_TYPEOF(T, a) st_i_k1, ST_I_TYPEOF(T, b) st_i_k2), \
        (const st_db *st_i_db, ST_I_TYPEOF(T, a) st_i_k1, ST_I_TYPEOF(T, b) st_i_k2, \
         const ST_I_TYPEOF(T, c) *st_i_lo, const ST_I_TYPEOF(T, c) *st_i_hi), \
        (&st_i_k1, &st_i_k2), st_col_##T##_##a, st_col_##T##_##b, st_col_##T##_##c)
#define ST_I_INDEX4(T, ix, a, b, c, d) \
    ST_I_INDEX_KEY(T, ix, a) ST_I_INDEX_KEY(T, ix, b) ST_I_INDEX_KEY(T, ix, c) ST_I_INDEX_KEY(T, ix, d) \
    ST_I_INDEX_OF(T, ix, 4, (const st_db *st_i_db, ST_I_TYPEOF(T, a) st_i_k1, ST_I_TYPEOF(T, b) st_i_k2, ST_I_TYPEOF(T, c) st_i_k3), \
        (const st_db *st_i_db, ST_I_TYPEOF(T, a) st_i_k1, ST_I_TYPEOF(T, b) st_i_k2, ST_I_TYPEOF(T, c) st_i_k3, \
         const ST_I_TYPEOF(T, d) *st_i_lo, const ST_I_TYPEOF(T, d) *st_i_hi), \
        (&st_i_k1, &st_i_k2, &st_i_k3), st_col_##T##_##a, st_col_##T##_##b, st_col_##T##_##c, st_col_##T##_##d)
#define ST_I_HASH_INDEX1(T, ix, a) \
    ST_I_ASSERT(0, "index '" #ix "' of table '" #T "': for one column write (type, " #a ", HASH) in the table");
#define ST_I_HASH_INDEX2(T, ix, ...) ST_I_WHOLE2(ST_I_HASH_INDEX_OF, T, ix, __VA_ARGS__)
#define ST_I_HASH_INDEX3(T, ix, ...) ST_I_WHOLE3(ST_I_HASH_INDEX_OF, T, ix, __VA_ARGS__)
#define ST_I_HASH_INDEX4(T, ix, ...) ST_I_WHOLE4(ST_I_HASH_INDEX_OF, T, ix, __VA_ARGS__)
#define ST_I_HASH_INDEX5(T, ix, ...) ST_I_INDEX_TOO_MANY(T)
#define ST_I_HASH_INDEX6(T, ix, ...) ST_I_INDEX_TOO_MANY(T)
#define ST_I_HASH_INDEX7(T, ix, ...) ST_I_INDEX_TOO_MANY(T)
#define ST_I_HASH_INDEX8(T, ix, ...) ST_I_INDEX_TOO_MANY(T)
#define ST_I_UNIQUE1(T, ix, a) \
    ST_I_ASSERT(0, "unique '" #ix "' of table '" #T "': for one column write (type, " #a ", UNIQUE) in the table");
#define ST_I_UNIQUE2(T, ix, ...) ST_I_WHOLE2(ST_I_UNIQUE_OF, T, ix, __VA_ARGS__)
#define ST_I_UNIQUE3(T, ix, ...) ST_I_WHOLE3(ST_I_UNIQUE_OF, T, ix, __VA_ARGS__)
#define ST_I_UNIQUE4(T, ix, ...) ST_I_WHOLE4(ST_I_UNIQUE_OF, T, ix, __VA_ARGS__)
#define ST_I_UNIQUE5(T, ix, ...) ST_I_INDEX_TOO_MANY(T)
#define ST_I_UNIQUE6(T, ix, ...) ST_I_INDEX_TOO_MANY(T)
#define ST_I_UNIQUE7(T, ix, ...) ST_I_INDEX_TOO_MANY(T)
#define ST_I_UNIQUE8(T, ix, ...) ST_I_INDEX_TOO_MANY(T)
/* Key parameters for all columns. */
#define ST_I_WHOLE2(OF, T, ix, a, b) \
    ST_I_INDEX_KEY(T, ix, a) ST_I_INDEX_KEY(T, ix, b) \
    OF(T, ix, 2, (ST_I_TYPEOF(T, a) st_i_k1, ST_I_TYPEOF(T, b) st_i_k2), (&st_i_k1, &st_i_k2), st_col_##T##_##a, st_col_##T##_##b)
#define ST_I_WHOLE3(OF, T, ix, a, b, c) \
    ST_I_INDEX_KEY(T, ix, a) ST_I_INDEX_KEY(T, ix, b) ST_I_INDEX_KEY(T, ix, c) \
    OF(T, ix, 3, (ST_I_TYPEOF(T, a) st_i_k1, ST_I_TYPEOF(T, b) st_i_k2, ST_I_TYPEOF(T, c) st_i_k3), (&st_i_k1, &st_i_k2, &st_i_k3), \
        st_col_##T##_##a, st_col_##T##_##b, st_col_##T##_##c)
#define ST_I_WHOLE4(OF, T, ix, a, b, c, d) \
    ST_I_INDEX_KEY(T, ix, a) ST_I_INDEX_KEY(T, ix, b) ST_I_INDEX_KEY(T, ix, c) ST_I_INDEX_KEY(T, ix, d) \
    OF(T, ix, 4, (ST_I_TYPEOF(T, a) st_i_k1, ST_I_TYPEOF(T, b) st_i_k2, ST_I_TYPEOF(T, c) st_i_k3, ST_I_TYPEOF(T, d) st_i_k4), \
        (&st_i_k1, &st_i_k2, &st_i_k3, &st_i_k4), st_col_##T##_##a, st_col_##T##_##b, st_col_##T##_##c, st_col_##T##_##d)
#define ST_I_HASH_INDEX_OF(T, ix, n_, KEY_PARAMS, KEYS, ...) \
    ST_I_INDEX_RECORD(T, ix, ST_ITEM_INDEX, ST_INDEX_HASH, n_, __VA_ARGS__) \
    ST_I_FN T##_iter T##_##ix(const st_db *st_i_db, ST_I_UNWRAP KEY_PARAMS) \
        { const void *const st_i_eq[n_] = { ST_I_UNWRAP KEYS }; \
          return ST_I_LIT(T##_iter){ \
              st_i_db->api->scan(st_i_db, ST_I_ORD(T), n_, st_ix_##T##_##ix, n_, st_i_eq, NULL, NULL), st_i_db }; } \
    struct st_semicolon_expected
#define ST_I_UNIQUE_OF(T, ix, n_, KEY_PARAMS, KEYS, ...) \
    ST_I_INDEX_RECORD(T, ix, ST_ITEM_UNIQUE, 0, n_, __VA_ARGS__) \
    ST_I_FN const T *T##_find_##ix(const st_db *st_i_db, ST_I_UNWRAP KEY_PARAMS) \
        { const void *const st_i_eq[n_] = { ST_I_UNWRAP KEYS }; \
          st_cursor st_i_found = st_i_db->api->scan(st_i_db, ST_I_ORD(T), n_, st_ix_##T##_##ix, n_, st_i_eq, NULL, NULL); \
          return (const T *)st_i_db->api->next(st_i_db, &st_i_found); } \
    ST_I_FN bool T##_delete_##ix(st_db *st_i_db, ST_I_UNWRAP KEY_PARAMS) \
        { const void *const st_i_eq[n_] = { ST_I_UNWRAP KEYS }; \
          return st_i_db->api->erase(st_i_db, ST_I_ORD(T), n_, st_ix_##T##_##ix, st_i_eq) != 0; } \
    struct st_semicolon_expected
#define ST_I_INDEX_RECORD(T, ix, kind_, flags_, n_, ...) \
    static const uint16_t st_ix_##T##_##ix[n_] = { __VA_ARGS__ }; \
    static const st_item st_item_##T##_ix_##ix = \
        { kind_, flags_, #ix, NULL, NULL, #T, st_ix_##T##_##ix, n_, NULL }; \
    ST_I_PUT(T##_ix_##ix)
#define ST_I_INDEX_KEY(T, ix, column) ST_I_ASSERT(st_colkey_##T##_##column, \
    "index '" #ix "' of table '" #T "': the type of column '" #column "' cannot be a key");
#define ST_I_UNWRAP(...) __VA_ARGS__
#define ST_I_INDEX_OF(T, ix, n_, PREFIX, RANGE, KEYS, ...) \
    ST_I_INDEX_RECORD(T, ix, ST_ITEM_INDEX, 0, n_, __VA_ARGS__) \
    ST_I_FN T##_iter T##_##ix PREFIX \
        { const void *const st_i_eq[n_ - 1] = { ST_I_UNWRAP KEYS }; \
          return ST_I_LIT(T##_iter){ \
              st_i_db->api->scan(st_i_db, ST_I_ORD(T), n_, st_ix_##T##_##ix, n_ - 1, st_i_eq, NULL, NULL), st_i_db }; } \
    ST_I_FN T##_iter T##_##ix##_range RANGE \
        { const void *const st_i_eq[n_ - 1] = { ST_I_UNWRAP KEYS }; \
          return ST_I_LIT(T##_iter){ \
              st_i_db->api->scan(st_i_db, ST_I_ORD(T), n_, st_ix_##T##_##ix, n_ - 1, st_i_eq, st_i_lo, st_i_hi), st_i_db }; } \
    struct st_semicolon_expected

#define ST_I_SEQUENCE(T, column, start_, min_, max_, increment_) \
    ST_I_ASSERT((st_colflags_##T##_##column & ST_COLUMN_AUTO) != 0, \
        "table '" #T "', column '" #column \
        "': a sequence needs an auto-increment column: AUTO, PK_AUTO or UNIQUE_AUTO"); \
    ST_I_ASSERT((increment_) != 0, "table '" #T "', column '" #column "': the increment of a sequence cannot be 0"); \
    ST_I_ASSERT((st_i128)(min_) <= (st_i128)(start_) && (st_i128)(start_) <= (st_i128)(max_), \
        "table '" #T "', column '" #column \
        "': a sequence needs min <= start <= max; the order is start, min, max, increment"); \
    static const st_sequence st_sequence_##T##_##column = { start_, min_, max_, increment_ }; \
    static const st_item st_item_sequence_##T##_##column = \
        { ST_ITEM_SEQUENCE, 0, #column, NULL, NULL, #T, &st_sequence_##T##_##column, 0, NULL }; \
    ST_I_PUT(sequence_##T##_##column) \
    struct st_semicolon_expected

/* Names. Each mentions something that exists only if what it names does. */
#define ST_I_NAME(id, known, kind_, word, owner_, name_) \
    ST_I_ASSERT((known) && sizeof("" name_ "") > 1, "'" word "': a name cannot be empty"); \
    static const st_item st_item_##id = { ST_ITEM_NAME, kind_, word, NULL, NULL, owner_, "" name_ "", 0, NULL }; \
    ST_I_PUT(id) \
    struct st_semicolon_expected
#define ST_I_TABLE_NAME(T, name_) ST_I_NAME(name_table_##T, st_ncols_##T > 0, ST_NAME_TABLE, #T, NULL, name_)
#define ST_I_FUNCTION_NAME(fn, name_) \
    ST_I_NAME(name_function_##fn, sizeof(st_item_fn_##fn) > 0, ST_NAME_FUNCTION, #fn, NULL, name_)
#define ST_I_INDEX_NAME(T, ix, name_) \
    ST_I_NAME(name_index_##T##_##ix, st_ncols_##T > 0, ST_NAME_INDEX, #ix, #T, name_)
#define ST_I_COLUMN_NAME(T, member, name_) \
    ST_I_NAME(name_column_##T##_##member, st_col_##T##_##member < 0x10000, ST_NAME_COLUMN, #member, #T, name_)
#define ST_I_CASE(policy, word) \
    static const st_item st_item_case_policy = { ST_ITEM_CASE, policy, word, NULL, NULL, NULL, NULL, 0, NULL }; \
    ST_I_PUT(case_policy) \
    struct st_semicolon_expected

/* Rules: named by their line. */
#define ST_I_RULE(line, sql) ST_I_RULE_(line, sql)
#define ST_I_RULE_(line, sql) \
    ST_I_ASSERT(sizeof("" sql "") > 1, "ST_RULE needs a SELECT"); \
    static const st_item st_item_rule_##line = { ST_ITEM_RULE, 0, "rule", NULL, NULL, NULL, "" sql "", 0, NULL }; \
    ST_I_PUT(rule_##line) \
    struct st_semicolon_expected

/* Migrations. */
#define ST_I_OP(kind, table, a, b) { kind, 0, table, a, b, NULL, NULL }
#define ST_I_CONVERT(T, column, table_, column_, old_type, old_, desc, f) \
    { ST_MIGRATE_CONVERT_COLUMN, \
      ST_I_CHECK(ST_I_IS(&f, st_status (*)(st_reducer_ctx *, const old_type *, ST_I_TYPEOF(T, column) *)), \
          "table '" table_ "', column '" column_ "': the conversion must be st_status f(st_reducer_ctx *ctx, " \
          "const " old_ " *from, NEW *to), where NEW is the type that the column has now"), \
      table_, column_, NULL, desc, (void (*)(void))f }
#define ST_I_RUN(f, name) \
    { ST_MIGRATE_RUN, \
      ST_I_CHECK(ST_I_IS(&f, st_status (*)(st_reducer_ctx *)), \
          "'" name "' must be st_status " name "(st_reducer_ctx *ctx)"), \
      NULL, name, NULL, NULL, (void (*)(void))f }
#define ST_I_MIGRATION_NONE(version) ST_I_ASSERT(0, "migration " #version " needs a title and at least one operation")
#define ST_I_MIGRATION_A(version, title) ST_I_ASSERT(0, "migration " #version " needs at least one operation")
#define ST_I_MIGRATION_B(version, title, ...) \
    ST_I_ASSERT((version) > 0 && (version) <= 0xffffffff, "migrations are numbered from 1, not " #version); \
    ST_I_ASSERT(sizeof("" title "") > 1, "migration " #version ": its title cannot be empty"); \
    static const st_migration_op st_migration_##version[] = { __VA_ARGS__ }; \
    static const st_item st_item_migration_##version = \
        { ST_ITEM_MIGRATION, sizeof st_migration_##version / sizeof *st_migration_##version, "" title "", \
          NULL, NULL, NULL, st_migration_##version, version, NULL }; \
    ST_I_PUT(migration_##version) \
    extern const char st_defined_once_migration_##version ST_I_HIDDEN; \
    const char st_defined_once_migration_##version = 0; \
    struct st_semicolon_expected

/* An array within a constant: a literal at file level lasts as long as the module. */
#ifdef __cplusplus
const void *st_i_no_array(void)
    __attribute__((unavailable("ST_ARR is for C: give the array a name, and write { name, count }")));
#define ST_I_ARR(type, ...) { (const type *)st_i_no_array(), 0 }
#else
#define ST_I_ARR(type, ...) \
    { (const type[]){ __VA_ARGS__ }, sizeof((const type[]){ __VA_ARGS__ }) / sizeof(type) }
#endif

/* A default value. gcc calls ST_S("...") "not constant" in a static initialiser when it is pedantic, but
 * takes it, and so does clang. */
#define ST_I_DEFAULT(T, column, ...) \
    ST_I_ASSERT(!(st_colflags_##T##_##column & (ST_COLUMN_PK | ST_COLUMN_UNIQUE | ST_COLUMN_AUTO)), \
        "table '" #T "', column '" #column \
        "': a default cannot go with a primary key, unique or auto-increment column"); \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wpedantic\"") \
    static const ST_I_TYPEOF(T, column) st_defval_##T##_##column = __VA_ARGS__; \
    _Pragma("GCC diagnostic pop") \
    static const st_item st_item_##T##_def_##column = \
        { ST_ITEM_DEFAULT, 0, #column, NULL, NULL, #T, &st_defval_##T##_##column, 0, NULL }; \
    ST_I_PUT(T##_def_##column) \
    struct st_semicolon_expected

#define ST_I_SCHEDULE(T, column, fn) \
    ST_I_ASSERT(ST_I_IS((ST_I_TYPEOF(T, column) *)0, st_schedule_at *), \
        "table '" #T "', column '" #column "': a schedule column has type st_schedule_at"); \
    ST_I_ASSERT(st_pk64_##T, "table '" #T "': a scheduled table needs a primary key of type uint64_t"); \
    ST_I_ASSERT(ST_I_IS(&fn, st_status (*)(st_reducer_ctx *, T)) || \
                ST_I_IS(&fn, st_status (*)(st_proc_ctx *, st_unit *, T)), \
        "scheduled function '" #fn "' must take exactly one argument, a row of table '" #T "'"); \
    static const st_item st_item_##T##_schedule = \
        { ST_ITEM_SCHEDULE, 0, #fn, NULL, NULL, #T, NULL, st_col_##T##_##column, NULL }; \
    ST_I_PUT(T##_schedule) \
    struct st_semicolon_expected

/* Functions. st_call_fn takes the arguments from their struct; the host sees no other symbol.
 * st_defined_once_fn makes two functions of one name in two files an error of the linker. */
#define ST_I_PARAM(fn, tuple) ST_I_OPEN(ST_I_PARAM_, fn, tuple)
#define ST_I_PARAM_(fn, type, name, attr, ...) , type name
#define ST_I_PASS(fn, tuple) ST_I_OPEN(ST_I_PASS_, fn, tuple)
#define ST_I_PASS_(fn, type, name, attr, ...) , a->name
#define ST_I_ARGUMENT(fn, tuple) ST_I_OPEN(ST_I_ARGUMENT_, fn, tuple)
#define ST_I_ARGUMENT_(fn, type, name, attr, ...) \
    { #name, &st_typedesc_##type, offsetof(struct st_args_##fn, name), 0 },

#define ST_I_ARGUMENTS(fn, ...) \
    struct st_args_##fn { ST_I_EACH(ST_I_MEMBER, fn, __VA_ARGS__) }; \
    static const st_field st_argfields_##fn[] = { ST_I_EACH(ST_I_ARGUMENT, fn, __VA_ARGS__) }; \
    ST_I_EACH(ST_I_PLAIN, fn, __VA_ARGS__) \
    static const st_type st_argtype_##fn = { #fn, ST_K_STRUCT, sizeof(struct st_args_##fn), \
        ST_I_ALIGNOF(struct st_args_##fn), sizeof st_argfields_##fn / sizeof *st_argfields_##fn, st_argfields_##fn, \
        NULL, 0, 0 };
#define ST_I_FUNCTION(fn, item_kind, flags_, type_, ret_) \
    static const st_item st_item_fn_##fn = { item_kind, flags_, #fn, type_, ret_, NULL, NULL, 0, \
        (void (*)(void))st_call_##fn }; \
    ST_I_PUT(fn_##fn) \
    extern const char st_defined_once_##fn ST_I_HIDDEN; const char st_defined_once_##fn = 0;

#define ST_I_REDUCER_A(fn) ST_I_REDUCER0(fn, ST_FN_REDUCER)
#define ST_I_REDUCER0(fn, fn_kind) \
    static st_status fn(st_reducer_ctx *ctx); \
    static st_status st_call_##fn(st_reducer_ctx *ctx, const void *args) { (void)args; return fn(ctx); } \
    ST_I_FUNCTION(fn, ST_ITEM_FUNCTION, fn_kind, NULL, NULL) \
    static st_status fn(st_reducer_ctx *ctx ST_I_UNUSED)
#define ST_I_REDUCER_B(fn, ...) \
    ST_I_ARGUMENTS(fn, __VA_ARGS__) \
    static st_status fn(st_reducer_ctx *ctx ST_I_EACH(ST_I_PARAM, fn, __VA_ARGS__)); \
    static st_status st_call_##fn(st_reducer_ctx *ctx, const void *args) \
        { const struct st_args_##fn *a = (const struct st_args_##fn *)args; \
          return fn(ctx ST_I_EACH(ST_I_PASS, fn, __VA_ARGS__)); } \
    ST_I_FUNCTION(fn, ST_ITEM_FUNCTION, ST_FN_REDUCER, &st_argtype_##fn, NULL) \
    static st_status fn(st_reducer_ctx *ctx ST_I_UNUSED ST_I_EACH(ST_I_PARAM, fn, __VA_ARGS__))

#define ST_I_LIFECYCLE(fn, which) \
    extern const char st_lifecycle_##which ST_I_HIDDEN; const char st_lifecycle_##which = 0; \
    ST_I_REDUCER0(fn, ST_FN_##which)

#define ST_I_PROCEDURE_NONE(fn) ST_I_ASSERT(0, "procedure '" #fn "': a result type is missing; st_unit for none")
#define ST_I_PROCEDURE_A(fn, ret_type) \
    static st_status fn(st_proc_ctx *ctx, ret_type *ret); \
    static st_status st_call_##fn(st_proc_ctx *ctx, const void *args, void *ret) \
        { (void)args; return fn(ctx, (ret_type *)ret); } \
    ST_I_FUNCTION(fn, ST_ITEM_FUNCTION, ST_FN_PROCEDURE, NULL, &st_typedesc_##ret_type) \
    static st_status fn(st_proc_ctx *ctx ST_I_UNUSED, ret_type *ret ST_I_UNUSED)
#define ST_I_PROCEDURE_B(fn, ret_type, ...) \
    ST_I_ARGUMENTS(fn, __VA_ARGS__) \
    static st_status fn(st_proc_ctx *ctx, ret_type *ret ST_I_EACH(ST_I_PARAM, fn, __VA_ARGS__)); \
    static st_status st_call_##fn(st_proc_ctx *ctx, const void *args, void *ret) \
        { const struct st_args_##fn *a = (const struct st_args_##fn *)args; \
          return fn(ctx, (ret_type *)ret ST_I_EACH(ST_I_PASS, fn, __VA_ARGS__)); } \
    ST_I_FUNCTION(fn, ST_ITEM_FUNCTION, ST_FN_PROCEDURE, &st_argtype_##fn, &st_typedesc_##ret_type) \
    static st_status fn(st_proc_ctx *ctx ST_I_UNUSED, ret_type *ret ST_I_UNUSED \
        ST_I_EACH(ST_I_PARAM, fn, __VA_ARGS__))

#define ST_I_HTTP_HANDLER(fn) \
    static st_status fn(st_proc_ctx *ctx, const st_http_request *request, st_http_response *response); \
    static st_status st_call_##fn(st_proc_ctx *ctx, const st_http_request *request, st_http_response *response) \
        { return fn(ctx, request, response); } \
    ST_I_FUNCTION(fn, ST_ITEM_FUNCTION, ST_FN_HTTP_HANDLER, NULL, NULL) \
    static st_status fn(st_proc_ctx *ctx ST_I_UNUSED, const st_http_request *request ST_I_UNUSED, \
        st_http_response *response ST_I_UNUSED)
#define ST_I_ROUTE(id, method, path, fn) ST_I_ROUTE_(id, method, path, fn)
#define ST_I_ROUTE_(id, method, path, fn) \
    ST_I_ASSERT(ST_I_IS(&fn, st_status (*)(st_proc_ctx *, const st_http_request *, st_http_response *)), \
        "route \"" path "\": '" #fn "' must be an ST_HTTP_HANDLER"); \
    enum { st_route_method_##id = ST_I_METHOD_##method }; \
    static const st_item st_item_route_##id = { ST_ITEM_ROUTE, 0, #fn, NULL, NULL, #method, "" path "", 0, NULL }; \
    ST_I_PUT(route_##id) \
    struct st_semicolon_expected
enum { ST_I_METHOD_ANY, ST_I_METHOD_GET, ST_I_METHOD_HEAD, ST_I_METHOD_POST, ST_I_METHOD_PUT, ST_I_METHOD_DELETE,
    ST_I_METHOD_CONNECT, ST_I_METHOD_OPTIONS, ST_I_METHOD_TRACE, ST_I_METHOD_PATCH };

#define ST_I_VIEW_KEY(view, column) \
    ST_I_UNUSED_SIZE(view, sizeof ((st_viewrow_##view *)0)->column) \
    static const st_item st_item_viewkey_##view = { ST_ITEM_VIEW_KEY, 0, #column, NULL, NULL, #view, NULL, 0, NULL }; \
    ST_I_PUT(viewkey_##view) \
    struct st_semicolon_expected
#define ST_I_UNUSED_SIZE(view, size) enum { st_viewkey_size_##view = (int)(size) };

#define ST_I_VIEW(fn, flags_, row, ctx_type) \
    typedef row st_viewrow_##fn; \
    static st_status fn(const ctx_type *ctx, row##_rows *out); \
    static st_status st_call_##fn(const ctx_type *ctx, const st_api *api, void *host) \
        { row##_rows out = { api, host }; return fn(ctx, &out); } \
    ST_I_FUNCTION(fn, ST_ITEM_VIEW, flags_, &st_typedesc_##row, NULL) \
    static st_status fn(const ctx_type *ctx ST_I_UNUSED, row##_rows *out ST_I_UNUSED)

#endif /* SPACETIMEDB_H */
