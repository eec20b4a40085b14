/* sandbox.h - takes everything from the worker that a module must not have, before the first module is opened.
 *
 * Order (design-rules 18; each step needs the one before it):
 *   sandbox_process   oom_score_adj, uid and gid drop, death with the parent, not dumpable, resource limits
 *   (the caller maps its rings and closes the memfds)
 *   sandbox_confine   descriptors closed, crash handlers on their own stack, libm preloaded, no_new_privs,
 *                     Landlock, seccomp, self-test
 * Thread:  everything happens before a second thread exists: Landlock holds per thread, and is inherited.
 * Failure: S_UNAVAILABLE with a text that names what the kernel lacks. With `allow_unsandboxed` only Landlock and
 *          seccomp may be missing; the text then goes to descriptor 2 as a warning.
 * A sanitizer needs what the sandbox takes: terabytes of shadow (RLIMIT_DATA), /proc/self/maps, a report file, system
 * calls of its own. A worker built with one (SANITIZED) changes its user, dies with its parent, keeps the crash
 * handlers, and is otherwise free; the host says so when it starts.
 * Source:  landlock(7), seccomp(2), libseccomp; facts in design-rules 9, 18 to 20 and 22. */
#ifndef HOST_WORKER_SANDBOX_H
#define HOST_WORKER_SANDBOX_H

#include "host/worker/elf_check.h"
#include "host/worker/records.h"
#include "host/worker/ring.h"

MUST_CHECK Status sandbox_process(const WorkerConfig *config, Error *err);
/* `keep`: descriptors that stay open besides 0, 1 and 2. */
MUST_CHECK Status sandbox_confine(const WorkerConfig *config, const int *keep, size_t nkeep, Error *err);

/* Where a crash leaves its explanation: a record of level LOG_LEVEL_PANIC, published at once (records.h), besides the
 * line on descriptor 2. `dropped`: lines lost so far, written into the record. NULL: nowhere. The writer must keep
 * SANDBOX_LAST_WORDS_BYTES of its ring free, and never have a backlog. */
enum { SANDBOX_LAST_WORDS_BYTES = 2048 };
void sandbox_last_words(RingWriter *log, const uint32_t *dropped);
/* Several threads write the log: each holds this around it. A crash waits for it a moment, and keeps it. */
void sandbox_log_lock(void);
void sandbox_log_unlock(void);
/* Code that a crash may happen in, by its mapping; the caller keeps all of it, names too, until it is removed. [executor] */
typedef struct CodeMap {
    uintptr_t base, text, text_end; /* of the mapping; of what can be run of it */
    uint32_t nfunctions;
    const ElfFunction *functions; /* sorted (elf_check.h) */
    struct CodeMap *_Atomic next;
} CodeMap;
void sandbox_code_add(CodeMap *map);
void sandbox_code_remove(CodeMap *map);
/* WORKER_CANCEL_SIGNAL has come while code of such a map ran on the executor's thread: called in the signal handler, and need not return. Before
 * sandbox_confine. */
void sandbox_on_cancel(void (*cancel)(void *user), void *user);
/* Every further thread begins with this: its signal stack, and the call to name in `guilty` when it crashes. */
void sandbox_thread(uint64_t call_seq, void *stack, size_t stack_bytes, _Atomic uint64_t *guilty);
void sandbox_thread_end(void); /* and ends with this: the signal stack goes */

#endif
