/* containment.c - see containment.h. Landlock: landlock(7); seccomp: seccomp(2). */
#include "host/containment.h"
#include "host/host.h"
#include "host/wire/sats_json.h"

#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LANDLOCK_CREATE_VERSION = 1, LANDLOCK_TCP_SINCE = 4, LANDLOCK_SCOPES_SINCE = 6, PROBE_MS = 10000 };

/* One worker that never sees a module: it starts, confines itself, tests that, says so, and ends. */
static Status try_worker(Host *h, Error *err)
{
    static const uint8_t nobody[32];
    LinkConfig config;
    char dir[560];
    link_config_for(h, nobody, "containment", &config, dir, sizeof dir);
    Link *link = NULL;
    TRY(link_spawn(&link, &config, err));
    link_stop(link, PROBE_MS);
    if (poll(&(struct pollfd){.fd = link->pidfd, .events = POLLIN}, 1, 0) == 0)
        link_kill(link);
    link_reap(link);
    Status status = link->exit_code == 0 && !link->exit_signal ? S_OK : FAIL(err, S_UNAVAILABLE, "%s", link->exit_text);
    link_free(link);
    return status;
}

void containment_probe(Host *h, Containment *ret)
{
    *ret = (Containment){.own_users = geteuid() == 0};
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_VERSION);
    ret->landlock_abi = abi > 0 ? (int)abi : 0;
    uint32_t action = SECCOMP_RET_TRAP;
    ret->seccomp = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
    Error err = {0};
    Status status = try_worker(h, &err);
    ret->confined = status == S_OK && ret->landlock_abi && ret->seccomp && !SANITIZED;
    if (status != S_OK)
        snprintf(ret->problem, sizeof ret->problem, "%s", err.text);
    else if (SANITIZED)
        snprintf(ret->problem, sizeof ret->problem, "this build has a sanitizer in it: workers run outside of their sandbox");
    else if (!ret->landlock_abi || !ret->seccomp)
        snprintf(ret->problem, sizeof ret->problem, "this kernel has no %s: modules run all the same, as --allow-unsandboxed says",
                 ret->landlock_abi ? "seccomp" : "Landlock");
}

/* What is missing although workers are confined. */
static void put_gaps(Buf *out, const Containment *c)
{
    if (c->landlock_abi && c->landlock_abi < LANDLOCK_TCP_SINCE)
        buf_put_text(out, "; Landlock of this kernel does not know TCP (since Linux 6.7)");
    if (c->landlock_abi && c->landlock_abi < LANDLOCK_SCOPES_SINCE)
        buf_put_text(out, "; Landlock of this kernel does not know signals and abstract sockets (since Linux 6.12)");
    if (!c->own_users)
        buf_put_text(out, "; workers run as the host's user: a host that root starts gives each database a user of its own");
}

void containment_log(const Containment *c)
{
    OWN(buf) Buf gaps = {0};
    put_gaps(&gaps, c);
    if (c->confined)
        log_info("workers are confined: no_new_privs, Landlock (ABI %d), seccomp, resource limits, no environment, no descriptors%s%.*s",
                 c->landlock_abi, c->own_users ? ", a user for each database" : "", STR_FMT(buf_str(&gaps)));
    else
        log_warn("workers are not confined: %s", c->problem);
}

void containment_to_json(Buf *out, const Containment *c)
{
    OWN(buf) Buf gaps = {0};
    put_gaps(&gaps, c);
    Str missing = c->problem[0] ? str_of(c->problem) : gaps.len > 2 ? (Str){(const char *)gaps.ptr + 2, gaps.len - 2} : STR("");
    buf_printf(out, "{\"confined\":%s,\"no_new_privs\":%s,\"landlock_abi\":%d,\"seccomp\":%s,\"own_users\":%s,\"missing\":",
               c->confined ? "true" : "false", c->confined ? "true" : "false", c->landlock_abi, c->seccomp ? "true" : "false",
               c->own_users ? "true" : "false");
    json_string(out, missing);
    buf_put_text(out, "}");
}
