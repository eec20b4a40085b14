/* logs.h - the log of one database: JSON lines on disk, a tail for `spacetime logs`, followers.
 *
 * Format:  http-api.md 8.3, one object a line. File: DATA_DIR/logs/IDENTITY.log, rotated to .1 past LOGS_FILE_BYTES_MAX.
 * Thread:  any; a Logs is locked inside. Followers are called on the thread that writes. */
#ifndef HOST_LOGS_H
#define HOST_LOGS_H

#include "host/base/base.h"

typedef struct Logs Logs;
enum { LOGS_FILE_BYTES_MAX = 16 << 20, LOGS_FOLLOW_LINES_MAX = 2500 };

Logs *logs_open(const char *data_dir, const char *identity_hex);
void logs_close(Logs *l);
/* level as in records.h; empty strings are left out. */
void logs_write(Logs *l, uint8_t level, int64_t timestamp_us, Str function, Str file, uint32_t line, Str message);
/* A line of the host itself (marked __spacetimedb__). */
void logs_system(Logs *l, uint8_t level, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The last `lines` lines of the current file (UINT32_MAX: all). */
void logs_tail(Logs *l, uint32_t lines, Buf *out);
/* Tail first, then every new line without gap, until logs_unfollow. `write` false: the follower is dropped. */
void logs_follow(Logs *l, uint32_t lines, bool (*write)(void *user, Bytes line), void *user);
void logs_unfollow(Logs *l, void *user);
void logs_clear(Logs *l);

#endif
