/* link.h - the host's end of one worker process: its rings, its life, and the control conversation.
 *
 * Ownership: between spawn and link_watch the link belongs to one job thread, which reads the frame ring itself while it
 *            waits for a control answer. After link_watch the loop thread reads frames and hands control answers to the job that waits.
 *            The control ring is written by whoever runs the database's current operation: one job at a time.
 *            The call ring is written on the loop thread. The commit ring is read by storage's log thread.
 * Trust:     everything read from a link is untrusted; a worker that breaks the protocol is killed. */
#ifndef HOST_LINK_H
#define HOST_LINK_H

#include "host/worker/records.h"
#include "host/worker/ring.h"

#include <pthread.h>
#include <sys/types.h>

typedef struct LinkConfig {
    const char *worker_path; /* the spacetimedb-worker binary */
    const char *label;       /* for ps(1) */
    const char *module_dir;  /* absolute; the only directory the worker may read */
    uint32_t uid, gid;       /* 0: stay */
    bool allow_unsandboxed;
    uint64_t data_bytes_max;
    uint32_t procedures_max, procedure_ms_max; /* at once; of processor time (records.h) */
    uint32_t call_ms_max, view_ms_max;
    uint64_t call_bytes_max, database_bytes_max, txn_bytes_max, txn_rows_max; /* records.h */
} LinkConfig;

typedef struct Link {
    RingArea area;
    RingWriter call, control;
    RingReader commit, frame, log;
    pid_t pid;
    int pidfd, stderr_fd;
    /* the control conversation */
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool watched;          /* the loop reads frames */
    bool dead;             /* exited; exit_text says how */
    bool killed;           /* by us */
    uint64_t cancelled_ns; /* when the call that runs was told to end; 0: none */
    bool broken;           /* because it broke the protocol: what it says it answered may be lost */
    uint8_t awaiting;      /* ControlKind that a job waits for, 0: none */
    bool answer_ready;
    Status answer_status;
    Buf answer;
    int exit_signal; /* 0: exited */
    int exit_code;
    char exit_text[256];   /* "killed by signal 11 (Segmentation fault)" and what it printed last */
    char kill_reason[100]; /* set before we kill it ourselves */
} Link;

/* Start a worker. It is not yet loaded with anything. */
MUST_CHECK Status link_spawn(Link **ret, const LinkConfig *config, Error *err);
/* Kill (if alive), reap, free. Nobody else may use the link any more. */
void link_free(Link *link);
/* Ask the running module code to end at its call's edge: the worker looks whether it may (sandbox.h). */
void link_interrupt(Link *link);
void link_kill(Link *link); /* SIGKILL; the exit is reported the usual way */

/* Ask it to publish everything and exit; waits. [job thread] */
void link_stop(Link *link, uint32_t timeout_ms);

/* Send a control record without waiting. Waits for room when more than a few MiB are unsent; S_UNAVAILABLE: the worker died. */
MUST_CHECK Status link_send_control(Link *link, uint8_t kind, uint32_t nparts, const Bytes *parts, Error *err);
/* Send and wait for its answer; on success its payload is in link->answer until the next call. */
MUST_CHECK Status link_control(Link *link, uint8_t kind, uint32_t nparts, const Bytes *parts, uint32_t timeout_ms, Error *err);
/* Wait for the answer to `kind` sent earlier. */
MUST_CHECK Status link_await(Link *link, uint8_t kind, uint32_t timeout_ms, Error *err);

/* Loop side: hand over a FRAME_CONTROL that was read from the frame ring. */
void link_deliver_control(Link *link, Bytes payload);
/* The process has exited (pidfd readable): reap, fill exit_text, wake a waiting job. */
void link_reap(Link *link);
const char *link_signal_name(int signal_number);

#endif
