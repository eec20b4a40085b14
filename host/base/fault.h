/* fault.h - named points at which a test makes the program fail, to prove that what comes after is right.
 *
 * A point costs one load of a global while nothing is armed. The host arms points from the file that SPACETIMEDB_FAULTS names, if that
 * variable was set when it started (a test rig only); it is read again at each passage, so that a test arms and disarms while the host
 * runs. One line a point: NAME [N] ACTION, where N (default 1) is the passage that fails, counted since the file last changed, and
 *   ACTION  error        the operation fails with "fault NAME"
 *           kill         the process dies at once (SIGKILL)
 *           crash        the process dies by SIGSEGV
 *           stop MS      the thread sleeps for so long
 *           other words are for the point itself (storage cuts its connection at `disconnect`)
 * The name of a point that fired is appended to the file FILE.reached beside it: when it does not appear, passage N was not reached and every one
 * before has been tried.
 * A worker has no environment: the host passes an armed line on in a control record (CTL_FAULT).
 * Thread:  any. */
#ifndef HOST_BASE_FAULT_H
#define HOST_BASE_FAULT_H

#include "host/base/base.h"

extern _Atomic bool fault_armed; /* a fault file or line is there */

void fault_file(const char *path); /* host: read this file; NULL: never */
void fault_line(Str line);         /* worker: this one line, passage counted from now */
/* Copy the armed line of the first point whose name begins with `prefix`; false: none. */
bool fault_find(const char *prefix, char *ret, size_t size);
/* What happens at `name` now: "" nothing; "error" or the point's own word, for the caller to act upon. Does not return for kill
 * and crash. */
const char *fault_hit(const char *name);

static inline const char *fault_at(const char *name) { return UNLIKELY(fault_armed) ? fault_hit(name) : ""; }
/* `FAULT_POINT("publish.prepare", err)`: returns S_INTERNAL from the function when the point is armed with `error`. */
#define FAULT_POINT(name, err)                                                                                                             \
    do {                                                                                                                                   \
        if (strcmp(fault_at(name), "error") == 0)                                                                                          \
            return FAIL((err), S_INTERNAL, "fault %s", (name));                                                                            \
    } while (0)

#endif
