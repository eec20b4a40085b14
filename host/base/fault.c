#include "host/base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

_Atomic bool fault_armed;

enum { LINES_MAX = 64, LINE_BYTES_MAX = 160, REACHED_MAX = 256 };

typedef struct Point {
    char name[64], action[32];
    uint32_t nth;    /* the passage that fails, from 1; 0: this line has fired */
    uint32_t passed; /* passages so far */
} Point;

static struct {
    pthread_mutex_t mu;
    char path[512]; /* empty: lines come from fault_line */
    struct timespec changed;
    off_t size;
    uint32_t n;
    Point points[LINES_MAX];
    uint32_t nreached;
    char reached[REACHED_MAX][64];
} faults = {.mu = PTHREAD_MUTEX_INITIALIZER};

/* "NAME [N] ACTION..."; false: not of that form. */
static bool parse(Point *ret, const char *line)
{
    *ret = (Point){.nth = 1};
    unsigned nth;
    if (sscanf(line, "%63s %u %31[^\n]", ret->name, &nth, ret->action) == 3)
        ret->nth = nth;
    else if (sscanf(line, "%63s %31[^\n]", ret->name, ret->action) != 2)
        return false;
    return ret->name[0] != '#';
}

/* Take the file in again when it is another than last time. [mu] */
static void read_again(void)
{
    struct stat sb;
    if (!faults.path[0])
        return;
    OWN(fd) int fd = open(faults.path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &sb) != 0) {
        faults.n = 0;
        return;
    }
    if (sb.st_mtim.tv_sec == faults.changed.tv_sec && sb.st_mtim.tv_nsec == faults.changed.tv_nsec && sb.st_size == faults.size)
        return;
    char text[LINES_MAX * LINE_BYTES_MAX];
    ssize_t got = read(fd, text, sizeof text - 1);
    text[MAX(got, 0)] = 0;
    faults.n = 0;
    faults.nreached = 0;
    faults.changed = sb.st_mtim;
    faults.size = sb.st_size;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line && faults.n < LINES_MAX; line = strtok_r(NULL, "\n", &save))
        faults.n += parse(&faults.points[faults.n], line);
}

void fault_file(const char *path)
{
    pthread_mutex_lock(&faults.mu);
    snprintf(faults.path, sizeof faults.path, "%s", path ? path : "");
    faults.n = 0;
    faults.size = -1;
    pthread_mutex_unlock(&faults.mu);
    atomic_store(&fault_armed, path != NULL);
}

void fault_line(Str line)
{
    char text[LINE_BYTES_MAX];
    snprintf(text, sizeof text, "%.*s", STR_FMT(line));
    pthread_mutex_lock(&faults.mu);
    faults.path[0] = 0;
    faults.n = parse(&faults.points[0], text);
    bool armed = faults.n > 0;
    pthread_mutex_unlock(&faults.mu);
    atomic_store(&fault_armed, armed);
}

bool fault_find(const char *prefix, char *ret, size_t size)
{
    if (!atomic_load_explicit(&fault_armed, memory_order_relaxed))
        return false;
    bool found = false;
    pthread_mutex_lock(&faults.mu);
    read_again();
    for (uint32_t i = 0; i < faults.n && !found; i++) {
        const Point *p = &faults.points[i];
        found = p->nth && strncmp(p->name, prefix, strlen(prefix)) == 0;
        if (found)
            snprintf(ret, size, "%s %u %s", p->name, p->nth, p->action);
    }
    pthread_mutex_unlock(&faults.mu);
    return found;
}

/* Each name once for each state of the file, so that the list stays short. [mu] */
static void note_reached(const char *name)
{
    if (!faults.path[0])
        return;
    for (uint32_t i = 0; i < faults.nreached; i++)
        if (strcmp(faults.reached[i], name) == 0)
            return;
    if (faults.nreached < REACHED_MAX)
        snprintf(faults.reached[faults.nreached++], sizeof faults.reached[0], "%s", name);
    char path[sizeof faults.path + 16];
    snprintf(path, sizeof path, "%s.reached", faults.path);
    OWN(fd) int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    char line[80];
    int n = snprintf(line, sizeof line, "%s\n", name);
    if (fd >= 0 && write(fd, line, (size_t)n) != n)
        log_warn("fault %s: cannot note it in %s: %s", name, path, strerror(errno));
}

const char *fault_hit(const char *name)
{
    static _Thread_local char action[32];
    action[0] = 0;
    pthread_mutex_lock(&faults.mu);
    read_again();
    for (uint32_t i = 0; i < faults.n; i++) {
        Point *p = &faults.points[i];
        if (p->nth == 0 || strcmp(p->name, name) != 0)
            continue;
        if (++p->passed == p->nth) {
            p->nth = 0;
            snprintf(action, sizeof action, "%s", p->action);
            note_reached(name);
        }
    }
    pthread_mutex_unlock(&faults.mu);
    if (!action[0])
        return "";
    log_warn("fault %s: %s", name, action);
    if (strcmp(action, "kill") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(action, "crash") == 0)
        raise(SIGSEGV);
    unsigned ms;
    if (sscanf(action, "stop %u", &ms) == 1) {
        nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
        return "";
    }
    return action;
}
