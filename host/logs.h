/* logs.h - the log of one database: JSON lines on disk, a tail for `spacetime logs`, followers.
 *
 * Format:  http-api.md 8.3, one object a line. File: DATA_DIR/logs/IDENTITY.log; past LogsLimits.file_bytes it becomes .1, .1 becomes .2, and so on.
 * Rate:    a module's lines are counted against LogsLimits.lines_per_second, ten seconds' worth at once; what is more is dropped, and one line
 *          says how many.
 * Thread:  any; a Logs is locked inside. Followers are called on the thread that writes. */
#ifndef HOST_LOGS_H
#define HOST_LOGS_H

#include "host/base/base.h"

typedef struct Logs Logs;
enum { LOGS_FOLLOW_LINES_MAX = 2500, LOGS_FILES_MAX = 100 };
typedef struct LogsLimits {
    uint64_t file_bytes;       /* default 16 MiB */
    uint32_t files;            /* that are kept besides the current one; default 3, at most LOGS_FILES_MAX */
    uint32_t lines_per_second; /* of the module; 0: any; default 1000 */
} LogsLimits;

Logs *logs_open(const char *data_dir, const char *identity_hex, const LogsLimits *limits);
void logs_close(Logs *l);
/* level as in records.h; empty strings are left out. */
void logs_write(Logs *l, uint8_t level, int64_t timestamp_us, Str function, Str file, uint32_t line, Str message);
/* The same for a line of the module, unless it has logged too much lately: false, the line is dropped and counted. `now_ns`: of the monotonic clock.
 * Panics are never dropped. */
bool logs_write_module(Logs *l, uint64_t now_ns, uint8_t level, int64_t timestamp_us, Str function, Str file, uint32_t line, Str message);
/* Say what was dropped, a second or more ago. */
void logs_tick(Logs *l, uint64_t now_ns);
/* A line of the host itself (marked __spacetimedb__). */
void logs_system(Logs *l, uint8_t level, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The last `lines` lines (UINT32_MAX: all that are kept), oldest first. */
void logs_tail(Logs *l, uint32_t lines, Buf *out);
/* Tail first, then every new line without gap, until logs_unfollow. `write` false: the follower is dropped. */
void logs_follow(Logs *l, uint32_t lines, bool (*write)(void *user, Bytes line), void *user);
void logs_unfollow(Logs *l, void *user);
void logs_clear(Logs *l);

#endif
