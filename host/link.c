#include "host/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CONTROL_BACKLOG_BYTES_MAX = 4 << 20, /* of unsent control records before the sender waits */
    CONTROL_WAIT_US = 50,
    PUSH_NS = 1000000,
    FRAME_RECORD_BYTES_MAX = 512 << 20,
};

/* ---- spawn ---- */

static void set_cloexec(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFD);
    fcntl(fd, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC);
}

/* In the child, between fork and exec: async-signal-safe calls only. `from[i]` becomes descriptor i. */
static _Noreturn void child_exec(const char *path, char *const argv[], const int *from, int count)
{
    int high[16];
    for (int i = 0; i < count; i++) { /* out of the way of the numbers they are to become */
        high[i] = fcntl(from[i], F_DUPFD, 64);
        if (high[i] < 0)
            _exit(WORKER_EXIT_USAGE);
    }
    for (int i = 0; i < count; i++)
        if (dup2(high[i], i) < 0)
            _exit(WORKER_EXIT_USAGE);
    syscall(SYS_close_range, (unsigned)count, ~0u, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    static char *const no_environment[] = {NULL};
    execve(path, argv, no_environment);
    static const char text[] = "cannot execute the worker binary\n";
    if (write(2, text, sizeof text - 1) < 0)
        _exit(WORKER_EXIT_USAGE + 1);
    _exit(WORKER_EXIT_USAGE);
}

Status link_spawn(Link **ret, const LinkConfig *config, Error *err)
{
    if (access(config->worker_path, X_OK) != 0)
        return FAIL(err, S_IO, "cannot run the worker binary %s: %s", config->worker_path, strerror(errno));
    Link *link = NEW(Link);
    link->pidfd = link->stderr_fd = -1;
    pthread_mutex_init(&link->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&link->answered, &attr);
    pthread_condattr_destroy(&attr);
    Status status = ring_area_create(&link->area, &ring_sizes_default, err);
    if (status != S_OK) {
        free(link);
        return status;
    }
    atomic_store(&link->area.host_cursors->hold, 1); /* until it is watched: the death of a scheduled function must be seen */
    ring_writer_init(&link->call, &link->area, RING_CALL, true);
    ring_writer_init(&link->control, &link->area, RING_CONTROL, true);
    ring_reader_init(&link->commit, &link->area, RING_COMMIT, true, RING_RECORD_BYTES_MAX);
    ring_reader_init(&link->frame, &link->area, RING_FRAME, true, FRAME_RECORD_BYTES_MAX);
    ring_reader_init(&link->log, &link->area, RING_LOG, true, 64 << 10);

    WorkerConfig worker = {
        .magic = WORKER_CONFIG_MAGIC,
        .uid = config->uid,
        .gid = config->gid,
        .allow_unsandboxed = config->allow_unsandboxed,
        .parent_pid = (uint32_t)getpid(),
        .data_bytes_max = config->data_bytes_max,
        .procedures_max = config->procedures_max,
        .call_bytes_max = config->call_bytes_max,
        .database_bytes_max = config->database_bytes_max,
        .txn_bytes_max = config->txn_bytes_max,
        .txn_rows_max = config->txn_rows_max,
        .call_ms_max = config->call_ms_max,
        .view_ms_max = config->view_ms_max,
        .procedure_ms_max = config->procedure_ms_max,
    };
    for (int i = 0; i < RING_COUNT; i++)
        worker.ring_bytes[i] = link->area.sizes.bytes[i];
    snprintf(worker.module_dir, sizeof worker.module_dir, "%s", config->module_dir);

    int config_pipe[2] = {-1, -1}, stderr_pipe[2] = {-1, -1}, null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || pipe2(config_pipe, O_CLOEXEC) != 0 || pipe2(stderr_pipe, O_CLOEXEC) != 0) {
        status = FAIL(err, S_IO, "cannot make pipes for a worker: %s", strerror(errno));
        goto out;
    }
    if (write(config_pipe[1], &worker, sizeof worker) != (ssize_t)sizeof worker) {
        status = FAIL(err, S_IO, "cannot hand the worker its configuration: %s", strerror(errno));
        goto out;
    }
    close(config_pipe[1]);
    config_pipe[1] = -1;
    const int from[] = {null_fd,
                        null_fd,
                        stderr_pipe[1],
                        link->area.host_fd,
                        link->area.worker_fd,
                        link->area.bells[0],
                        link->area.bells[1],
                        link->area.bells[2],
                        config_pipe[0]};
    char label[80];
    snprintf(label, sizeof label, "%s", config->label);
    char *const argv[] = {(char *)"spacetimedb-worker", label, NULL};
    pid_t pid = fork();
    if (pid == 0)
        child_exec(config->worker_path, argv, from, (int)COUNT_OF(from));
    if (pid < 0) {
        status = FAIL(err, S_IO, "cannot start a worker process: %s", strerror(errno));
        goto out;
    }
    link->pid = pid;
    link->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (link->pidfd >= 0)
        set_cloexec(link->pidfd, true);
    link->stderr_fd = stderr_pipe[0];
    stderr_pipe[0] = -1;
    fcntl(link->stderr_fd, F_SETFL, O_NONBLOCK);
    if (link->pidfd < 0)
        status = FAIL(err, S_IO, "cannot watch the worker process: %s", strerror(errno));
out:
    own_fd(&null_fd);
    own_fd(&config_pipe[0]);
    own_fd(&config_pipe[1]);
    own_fd(&stderr_pipe[0]);
    own_fd(&stderr_pipe[1]);
    /* the worker has its own copies; ours are only maps and bells from here on */
    if (link->area.host_fd >= 0)
        close(link->area.host_fd);
    if (link->area.worker_fd >= 0)
        close(link->area.worker_fd);
    link->area.host_fd = link->area.worker_fd = -1;
    if (status != S_OK) {
        link_free(link);
        return status;
    }
    *ret = link;
    return S_OK;
}

void link_interrupt(Link *link)
{
    if (!link->dead && link->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, link->pidfd, WORKER_CANCEL_SIGNAL, NULL, 0);
}

void link_kill(Link *link)
{
    link->killed = true;
    if (!link->dead && link->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, link->pidfd, SIGKILL, NULL, 0);
}

void link_stop(Link *link, uint32_t timeout_ms)
{
    Error err = {0};
    if (link_send_control(link, CTL_STOP, 0, NULL, &err) != S_OK)
        return; /* it is gone already */
    struct pollfd p = {.fd = link->pidfd, .events = POLLIN};
    if (!link->dead && poll(&p, 1, (int)timeout_ms) == 0)
        log_warn("a worker did not stop within %u ms and is killed", timeout_ms);
}

void link_free(Link *link)
{
    if (!link)
        return;
    if (link->pid && !link->dead) {
        link_kill(link);
        link_reap(link);
    }
    own_fd(&link->pidfd);
    own_fd(&link->stderr_fd);
    ring_writer_done(&link->call);
    ring_writer_done(&link->control);
    ring_reader_done(&link->commit);
    ring_reader_done(&link->frame);
    ring_reader_done(&link->log);
    ring_area_close(&link->area);
    buf_done(&link->answer);
    pthread_mutex_destroy(&link->lock);
    pthread_cond_destroy(&link->answered);
    free(link);
}

const char *link_signal_name(int number)
{
    const char *text = sigdescr_np(number);
    return text ? text : "unknown signal";
}

void link_reap(Link *link)
{
    if (link->dead)
        return;
    siginfo_t info = {0};
    while (waitid(P_PID, (id_t)link->pid, &info, WEXITED) < 0 && errno == EINTR)
        ;
    char said[160] = "";
    ssize_t n = link->stderr_fd >= 0 ? read(link->stderr_fd, said, sizeof said - 1) : 0;
    if (n > 0) {
        said[n] = 0;
        said[strcspn(said, "\n")] = 0;
    }
    pthread_mutex_lock(&link->lock);
    if (info.si_code == CLD_EXITED) {
        link->exit_code = info.si_status;
        snprintf(link->exit_text, sizeof link->exit_text, "exited with status %d%s%s", info.si_status, said[0] ? ": " : "", said);
    } else {
        link->exit_signal = info.si_status;
        const char *why = link->kill_reason[0] ? link->kill_reason : said;
        snprintf(link->exit_text, sizeof link->exit_text, "killed by signal %d (%s)%s%s", info.si_status, link_signal_name(info.si_status),
                 why[0] ? ": " : "", why);
    }
    link->dead = true;
    pthread_cond_broadcast(&link->answered);
    pthread_mutex_unlock(&link->lock);
}

/* ---- the control conversation ---- */

static bool process_gone(Link *link)
{
    struct pollfd p = {.fd = link->pidfd, .events = POLLIN};
    return link->dead || poll(&p, 1, 0) > 0;
}

static Status gone(Link *link, Error *err)
{
    if (!link->watched)
        link_reap(link);
    pthread_mutex_lock(&link->lock);
    bool known = link->dead;
    char text[sizeof link->exit_text];
    memcpy(text, link->exit_text, sizeof text);
    pthread_mutex_unlock(&link->lock);
    return FAIL(err, S_UNAVAILABLE, "the worker process %s", known ? text : "has gone");
}

Status link_send_control(Link *link, uint8_t kind, uint32_t nparts, const Bytes *parts, Error *err)
{
    Bytes all[8] = {{&kind, 1}};
    ASSERT(nparts < COUNT_OF(all));
    for (uint32_t i = 0; i < nparts; i++)
        all[i + 1] = parts[i];
    ring_write(&link->control, nparts + 1, all);
    ring_publish(&link->control);
    bell_ring(&link->area, BELL_WORKER, false);
    while (ring_backlog_bytes(&link->control) > CONTROL_BACKLOG_BYTES_MAX) {
        if (process_gone(link))
            return gone(link, err);
        nanosleep(&(struct timespec){.tv_nsec = CONTROL_WAIT_US * 1000}, NULL);
        ring_publish(&link->control);
        bell_ring(&link->area, BELL_WORKER, false);
    }
    return S_OK;
}

void link_deliver_control(Link *link, Bytes payload)
{
    Reader r = reader_of(payload);
    uint8_t kind = read_u8(&r), status = read_u8(&r);
    pthread_mutex_lock(&link->lock);
    if (r.bad || link->awaiting == 0 || (kind != link->awaiting && status == S_OK)) {
        /* an answer nobody asked for; the control conversation has ended already */
    } else if (!link->answer_ready) {
        buf_reset(&link->answer);
        if (status != S_OK) {
            Str text = read_str(&r);
            buf_put_str_raw(&link->answer, text);
        } else {
            buf_put(&link->answer, r.ptr, reader_left(&r));
        }
        link->answer_status = status <= S_INTERNAL ? (Status)status : S_INTERNAL;
        link->answer_ready = true;
        pthread_cond_broadcast(&link->answered);
    }
    pthread_mutex_unlock(&link->lock);
}

/* The job reads the frame ring itself: the loop does not watch this link yet. */
static void read_own_frames(Link *link)
{
    Bytes record;
    while (!link->answer_ready && ring_read(&link->frame, &record)) {
        if (record.len >= sizeof(FrameHeader) && record.ptr[0] == FRAME_CONTROL)
            link_deliver_control(link, bytes_of(record.ptr + sizeof(FrameHeader), record.len - sizeof(FrameHeader)));
    }
    ring_release(&link->frame);
}

static Status take_answer(Link *link, Error *err)
{
    link->awaiting = 0;
    link->answer_ready = false;
    if (link->answer_status != S_OK)
        return FAIL(err, link->answer_status, "%.*s", (int)MIN(link->answer.len, (size_t)ERROR_TEXT_BYTES - 1),
                    (const char *)link->answer.ptr);
    return S_OK;
}

/* What did not fit yet. It rings each time: the worker may have read everything and lain down before this was visible. */
static void push_control(Link *link)
{
    if (!ring_backlog_bytes(&link->control))
        return;
    ring_publish(&link->control);
    bell_ring(&link->area, BELL_WORKER, false);
}

static Status await_own(Link *link, uint64_t deadline_ns, Error *err)
{
    for (;;) {
        read_own_frames(link);
        if (link->answer_ready)
            return take_answer(link, err);
        if (link->frame.bad)
            return FAIL(err, S_INTERNAL, "the worker broke the ring protocol");
        push_control(link);
        uint64_t now = clock_monotonic_ns();
        if (now >= deadline_ns)
            return FAIL(err, S_UNAVAILABLE, "the worker did not answer in time");
        bell_sleep_begin(&link->area, BELL_NET, true);
        if (!ring_is_empty(&link->frame)) {
            bell_sleep_end(&link->area, BELL_NET, true);
            continue;
        }
        struct pollfd p[2] = {{.fd = link->area.bells[BELL_NET], .events = POLLIN}, {.fd = link->pidfd, .events = POLLIN}};
        /* with a backlog of ours the worker's progress is what we wait for, and it rings no bell */
        int wait_ms = ring_backlog_bytes(&link->control) ? 1 : (int)MIN((deadline_ns - now) / 1000000 + 1, (uint64_t)1000);
        poll(p, 2, wait_ms);
        bell_sleep_end(&link->area, BELL_NET, true);
        if (p[1].revents) {
            read_own_frames(link);
            if (link->answer_ready)
                return take_answer(link, err);
            return gone(link, err);
        }
    }
}

static Status await_watched(Link *link, uint64_t deadline_ns, Error *err)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000u), .tv_nsec = (long)(deadline_ns % 1000000000u)};
    pthread_mutex_lock(&link->lock);
    int timed_out = 0;
    while (!link->answer_ready && !link->dead && !timed_out) {
        push_control(link);
        bool pushing = ring_backlog_bytes(&link->control);
        struct timespec soon;
        clock_gettime(CLOCK_MONOTONIC, &soon);
        bool late = soon.tv_sec > until.tv_sec || (soon.tv_sec == until.tv_sec && soon.tv_nsec >= until.tv_nsec);
        if ((soon.tv_nsec += PUSH_NS) >= 1000000000) {
            soon.tv_sec++;
            soon.tv_nsec -= 1000000000;
        }
        timed_out = pthread_cond_timedwait(&link->answered, &link->lock, pushing ? &soon : &until);
        if (pushing && !late)
            timed_out = 0;
    }
    Status status;
    if (link->answer_ready)
        status = take_answer(link, err);
    else if (link->dead)
        status = FAIL(err, S_UNAVAILABLE, "the worker process %s", link->exit_text);
    else
        status = FAIL(err, S_UNAVAILABLE, "the worker did not answer in time");
    link->awaiting = 0;
    pthread_mutex_unlock(&link->lock);
    return status;
}

Status link_await(Link *link, uint8_t kind, uint32_t timeout_ms, Error *err)
{
    (void)kind;
    uint64_t deadline = clock_monotonic_ns() + (uint64_t)timeout_ms * 1000000u;
    return link->watched ? await_watched(link, deadline, err) : await_own(link, deadline, err);
}

Status link_control(Link *link, uint8_t kind, uint32_t nparts, const Bytes *parts, uint32_t timeout_ms, Error *err)
{
    pthread_mutex_lock(&link->lock);
    link->awaiting = kind;
    link->answer_ready = false;
    pthread_mutex_unlock(&link->lock);
    TRY(link_send_control(link, kind, nparts, parts, err));
    return link_await(link, kind, timeout_ms, err);
}
