/* containment.h - what keeps workers apart on this machine: told once when the host starts, and by GET /v1/server/status.
 *
 * Facts:   what the kernel offers is asked of the kernel; that it works is tried by one worker, which confines itself, tests that, and ends.
 * Thread:  containment_probe before the first database is opened; afterwards the facts do not change. */
#ifndef HOST_CONTAINMENT_H
#define HOST_CONTAINMENT_H

#include "host/base/base.h"

typedef struct Containment {
    bool confined;      /* a worker has confined itself and found that it holds */
    int landlock_abi;   /* 0: the kernel has none */
    bool seccomp;       /* it can filter system calls */
    bool own_users;     /* each database's worker runs as a user of its own */
    char problem[1024]; /* why `confined` is false, or what is missing all the same */
} Containment;

struct Host;
void containment_probe(struct Host *h, Containment *ret);
void containment_log(const Containment *c);
void containment_to_json(Buf *out, const Containment *c);

#endif
