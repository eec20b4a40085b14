/* client.c - the benchmark's WebSocket clients: many calls in flight, or many subscribers of one write.
 *
 *   client load   PORT DATABASE CONNECTIONS IN_FLIGHT SECONDS ACCOUNTS uniform|ZIPF_EXPONENT
 *   client fanout PORT DATABASE SUBSCRIBERS ROUNDS
 *
 * One thread over epoll, protocol v3 (all calls of a wakeup in one frame, as the official client does), confirmed results.
 * `load` prints: calls per second, failed calls, median, 99th percentile and largest latency in microseconds.
 * `fanout` prints: the median time in microseconds for one write to be seen by all subscribers, and the same for a process that
 * writes the same bytes to as many sockets. */
#include "host/base/base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Conn {
    int fd;
    Buf in, out;
    size_t in_done;
    uint32_t next_request, in_flight, answered;
    uint64_t *sent_ns; /* by request id modulo in flight room */
} Conn;

static uint64_t *latencies;
static size_t nlatencies, cap_latencies;
static uint64_t total_ok, total_bad, total_updates;
static uint32_t in_flight_max;

static void die(const char *what)
{
    fprintf(stderr, "bench client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int dial(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

static void open_session(Conn *c, int port, const char *database)
{
    c->fd = dial(port);
    char request[512];
    int n = snprintf(
        request, sizeof request,
        "GET /v1/database/%s/subscribe?compression=None HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v3.bsatn.spacetimedb\r\n\r\n",
        database);
    if (write(c->fd, request, (size_t)n) != n)
        die("handshake");
    char head[8192];
    size_t got = 0;
    for (;;) {
        ssize_t r = read(c->fd, head + got, sizeof head - 1 - got);
        if (r <= 0)
            die("handshake answer");
        got += (size_t)r;
        head[got] = 0;
        char *end = strstr(head, "\r\n\r\n");
        if (!end)
            continue;
        if (strncmp(head, "HTTP/1.1 101", 12) != 0) {
            fprintf(stderr, "bench client: refused:\n%s\n", head);
            exit(1);
        }
        buf_put(&c->in, end + 4, got - (size_t)(end + 4 - head));
        return;
    }
}

/* A masked client frame with the mask 0 (legal, and the payload stays as it is). */
static void put_frame_header(Buf *out, size_t len)
{
    uint8_t h[14] = {0x82};
    size_t n = 2;
    if (len < 126) {
        h[1] = (uint8_t)(0x80 | len);
    } else {
        h[1] = 0x80 | 126;
        h[2] = (uint8_t)(len >> 8);
        h[3] = (uint8_t)len;
        n = 4;
    }
    buf_put(out, h, n + 4);
}

static void send_out(Conn *c)
{
    size_t done = 0;
    while (done < c->out.len) {
        ssize_t n = send(c->fd, c->out.ptr + done, c->out.len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            continue;
        if (n <= 0)
            die("send");
        done += (size_t)n;
    }
    c->out.len = 0;
}

static void on_message_end(Conn *c, uint32_t request, bool ok)
{
    uint64_t now = clock_monotonic_ns();
    ok ? total_ok++ : total_bad++;
    c->in_flight--;
    c->answered++;
    if (nlatencies < cap_latencies)
        latencies[nlatencies++] = now - c->sent_ns[request % in_flight_max];
}

/* All messages of one frame's body. */
static void on_body(Conn *c, Bytes body)
{
    Reader r = reader_of(body);
    if (read_u8(&r) != 0)
        die("a compressed frame");
    while (reader_left(&r) && !r.bad) {
        uint8_t tag = read_u8(&r);
        if (tag == 0) {
            read_bytes(&r, 48);
            read_str(&r);
        } else if (tag == 6) {
            uint32_t request = read_u32(&r);
            read_i64(&r);
            uint8_t outcome = read_u8(&r);
            if (outcome == 0) {
                read_blob(&r);
                if (read_u32(&r) != 0)
                    return; /* with rows: the caller subscribes, the rest of the frame is not counted */
            } else if (outcome == 2 || outcome == 3) {
                read_blob(&r);
            }
            on_message_end(c, request, outcome < 2);
        } else {
            total_updates += tag == 4 || tag == 1;
            return;
        }
    }
}

static bool read_frames(Conn *c)
{
    if (!buf_reserve(&c->in, 65536))
        die("memory");
    ssize_t n = recv(c->fd, c->in.ptr + c->in.len, c->in.cap - c->in.len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    c->in.len += (size_t)n;
    for (;;) {
        size_t left = c->in.len - c->in_done;
        const uint8_t *p = c->in.ptr + c->in_done;
        if (left < 2)
            break;
        size_t len = p[1] & 127, head = 2;
        if (len == 126) {
            if (left < 4)
                break;
            len = (size_t)p[2] << 8 | p[3];
            head = 4;
        } else if (len == 127) {
            if (left < 10)
                break;
            len = 0;
            for (int i = 0; i < 8; i++)
                len = len << 8 | p[2 + i];
            head = 10;
        }
        if (left < head + len)
            break;
        uint8_t opcode = p[0] & 15;
        if (opcode == 2)
            on_body(c, bytes_of(p + head, len));
        else if (opcode == 9) { /* ping */
            uint8_t pong[6] = {0x8a, 0x80};
            buf_put(&c->out, pong, 6);
        } else if (opcode == 8)
            return false;
        c->in_done += head + len;
    }
    if (c->in_done == c->in.len)
        c->in_done = c->in.len = 0;
    else if (c->in_done > 1 << 16) {
        memmove(c->in.ptr, c->in.ptr + c->in_done, c->in.len - c->in_done);
        c->in.len -= c->in_done;
        c->in_done = 0;
    }
    return true;
}

/* ---- load ---- */

enum { SAMPLES = 1 << 20 };
static uint32_t *samples;
static uint64_t random_state = 88172645463325252u;

static uint64_t random_next(void)
{ /* xorshift64 (Marsaglia 2003) */
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void make_samples(uint32_t accounts, double exponent)
{
    samples = x_alloc(SAMPLES * sizeof *samples);
    double *cdf = x_alloc(accounts * sizeof *cdf), sum = 0;
    for (uint32_t i = 0; i < accounts; i++)
        cdf[i] = sum += exponent > 0 ? pow(i + 1, -exponent) : 1;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        double x = (double)(random_next() >> 11) / (double)(1ull << 53) * sum;
        uint32_t lo = 0, hi = accounts - 1;
        while (lo < hi) {
            uint32_t mid = (lo + hi) / 2;
            if (cdf[mid] < x)
                lo = mid + 1;
            else
                hi = mid;
        }
        samples[i] = lo;
    }
    free(cdf);
}

static void put_call(Buf *b, uint32_t request)
{
    static uint32_t at;
    uint32_t from = samples[at++ % SAMPLES], to = samples[at++ % SAMPLES];
    if (from == to)
        to = to ? to - 1 : to + 1;
    buf_put_u8(b, 3);
    buf_put_u32(b, request);
    buf_put_u8(b, 0);
    buf_put_str(b, STR("transfer"));
    buf_put_u32(b, 16);
    buf_put_u32(b, from);
    buf_put_u32(b, to);
    buf_put_i64(b, 1);
}

static void refill(Conn *c, bool more)
{
    static Buf body;
    buf_reset(&body);
    uint64_t now = clock_monotonic_ns();
    while (more && c->in_flight < in_flight_max) {
        c->sent_ns[c->next_request % in_flight_max] = now;
        put_call(&body, c->next_request++);
        c->in_flight++;
    }
    if (body.len) {
        put_frame_header(&c->out, body.len);
        buf_put_bytes(&c->out, buf_bytes(&body));
    }
    if (c->out.len)
        send_out(c);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int load(int port, const char *database, int connections, double seconds)
{
    Conn *conns = x_alloc((size_t)connections * sizeof *conns);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    cap_latencies = 20000000;
    latencies = x_alloc(cap_latencies * sizeof *latencies);
    for (int i = 0; i < connections; i++) {
        conns[i].sent_ns = x_alloc(in_flight_max * sizeof(uint64_t));
        open_session(&conns[i], port, database);
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &conns[i]};
        epoll_ctl(ep, EPOLL_CTL_ADD, conns[i].fd, &ev);
    }
    uint64_t start = clock_monotonic_ns(), warm = start + 1000000000u, end = warm + (uint64_t)(seconds * 1e9), counted = 0, from = 0;
    for (int i = 0; i < connections; i++)
        refill(&conns[i], true);
    bool warmed = false;
    for (;;) {
        struct epoll_event evs[64];
        int n = epoll_wait(ep, evs, 64, 1000);
        uint64_t now = clock_monotonic_ns();
        if (!warmed && now >= warm) {
            warmed = true;
            counted = total_ok;
            from = now;
            nlatencies = 0;
        }
        for (int i = 0; i < n; i++) {
            Conn *c = evs[i].data.ptr;
            if (!read_frames(c))
                die("a session ended");
            refill(c, true);
        }
        if (now >= end) {
            double rate = (double)(total_ok - counted) / ((double)(now - from) / 1e9);
            qsort(latencies, nlatencies, sizeof *latencies, by_value);
            printf("%.0f %llu %.1f %.1f %.1f\n", rate, (unsigned long long)total_bad,
                   nlatencies ? (double)latencies[nlatencies / 2] / 1000 : 0,
                   nlatencies ? (double)latencies[nlatencies * 99 / 100] / 1000 : 0,
                   nlatencies ? (double)latencies[nlatencies - 1] / 1000 : 0);
            return 0;
        }
        if (n == 0) {
            fprintf(stderr, "bench client: no answer within a second\n");
            return 1;
        }
    }
}

/* ---- fanout ---- */

static void wait_updates(int ep, uint64_t want)
{
    while (total_updates < want) {
        struct epoll_event evs[256];
        int n = epoll_wait(ep, evs, 256, 10000);
        if (n <= 0)
            die("an update did not arrive within 10 s");
        for (int i = 0; i < n; i++)
            if (evs[i].data.ptr && !read_frames(evs[i].data.ptr))
                die("a session ended");
    }
}

static void send_subscribe(Conn *c)
{
    Buf body = {0};
    buf_put_u8(&body, 0);
    buf_put_u32(&body, 0);
    buf_put_u32(&body, 0);
    buf_put_u32(&body, 1);
    buf_put_str(&body, STR("SELECT * FROM accounts WHERE id < 10"));
    put_frame_header(&c->out, body.len);
    buf_put_bytes(&c->out, buf_bytes(&body));
    send_out(c);
    buf_done(&body);
}

/* The bare cost of the sockets: a child writes the same bytes to each of them whenever it is told to. */
static double sockets_alone(int subscribers, int rounds, size_t bytes)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    if (bind(listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr *)&at, &len) != 0)
        die("listen");
    int trigger[2];
    if (pipe(trigger) != 0)
        die("pipe");
    pid_t child = fork();
    if (child == 0) {
        close(trigger[1]);
        int *fds = x_alloc((size_t)subscribers * sizeof *fds);
        for (int i = 0; i < subscribers; i++) {
            fds[i] = accept(listener, NULL, NULL);
            setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        }
        uint8_t *payload = x_alloc(bytes);
        payload[0] = 0x82; /* a frame that the same reader takes apart: an update of `bytes` bytes */
        payload[1] = 126;
        payload[2] = (uint8_t)((bytes - 4) >> 8);
        payload[3] = (uint8_t)(bytes - 4);
        payload[5] = 4;
        uint8_t go;
        while (read(trigger[0], &go, 1) == 1)
            for (int i = 0; i < subscribers; i++)
                if (write(fds[i], payload, bytes) != (ssize_t)bytes)
                    _exit(1);
        _exit(0);
    }
    close(trigger[0]);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    Conn *conns = x_alloc((size_t)subscribers * sizeof *conns);
    for (int i = 0; i < subscribers; i++) {
        conns[i].fd = dial(ntohs(at.sin_port));
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &conns[i]};
        epoll_ctl(ep, EPOLL_CTL_ADD, conns[i].fd, &ev);
    }
    uint64_t *times = x_alloc((size_t)rounds * sizeof *times);
    usleep(200000);
    for (int k = 0; k < rounds; k++) {
        uint64_t start = clock_monotonic_ns(), want = total_updates + (uint64_t)subscribers;
        if (write(trigger[1], "g", 1) != 1)
            die("trigger");
        wait_updates(ep, want);
        times[k] = clock_monotonic_ns() - start;
        usleep(2000);
    }
    close(trigger[1]);
    waitpid(child, NULL, 0);
    qsort(times, (size_t)rounds, sizeof *times, by_value);
    for (int i = 0; i < subscribers; i++)
        close(conns[i].fd);
    return (double)times[rounds / 2] / 1000;
}

static int fanout(int port, const char *database, int subscribers, int rounds)
{
    int ep = epoll_create1(EPOLL_CLOEXEC);
    Conn *conns = x_alloc((size_t)subscribers * sizeof *conns), writer = {0};
    for (int i = 0; i < subscribers; i++) {
        open_session(&conns[i], port, database);
        send_subscribe(&conns[i]);
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &conns[i]};
        epoll_ctl(ep, EPOLL_CTL_ADD, conns[i].fd, &ev);
    }
    wait_updates(ep, (uint64_t)subscribers); /* SubscribeApplied of all */
    in_flight_max = 1;
    writer.sent_ns = x_alloc(sizeof(uint64_t));
    open_session(&writer, port, database);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &writer};
    epoll_ctl(ep, EPOLL_CTL_ADD, writer.fd, &ev);
    samples = x_alloc(SAMPLES * sizeof *samples);
    for (int i = 0; i < SAMPLES; i++)
        samples[i] = (uint32_t)i % 10;
    cap_latencies = 100000;
    latencies = x_alloc(cap_latencies * sizeof *latencies);
    uint64_t *times = x_alloc((size_t)rounds * sizeof *times);
    usleep(200000);
    for (int k = 0; k < rounds; k++) {
        uint64_t start = clock_monotonic_ns(), want = total_updates + (uint64_t)subscribers;
        refill(&writer, true);
        wait_updates(ep, want);
        times[k] = clock_monotonic_ns() - start;
        while (writer.in_flight)
            if (!read_frames(&writer))
                die("the writer's session ended");
        usleep(2000);
    }
    if (total_bad)
        die("a transfer failed");
    qsort(times, (size_t)rounds, sizeof *times, by_value);
    double ours = (double)times[rounds / 2] / 1000;
    for (int i = 0; i < subscribers; i++)
        close(conns[i].fd);
    usleep(300000);
    /* TransactionUpdate of two changed rows: frame head 4, compression 1, tag and counts, table name, two row lists */
    double bare = sockets_alone(subscribers, rounds, 4 + 1 + 5 + 4 + 4 + 12 + 4 + 1 + 2 * (3 + 4 + 24));
    printf("%.1f %.1f\n", ours, bare);
    return 0;
}

int main(int argc, char **argv)
{
    struct rlimit files = {65536, 65536};
    setrlimit(RLIMIT_NOFILE, &files);
    if (argc == 9 && strcmp(argv[1], "load") == 0) {
        in_flight_max = (uint32_t)atoi(argv[5]);
        make_samples((uint32_t)atoi(argv[7]), strcmp(argv[8], "uniform") == 0 ? 0 : atof(argv[8]));
        return load(atoi(argv[2]), argv[3], atoi(argv[4]), atof(argv[6]));
    }
    if (argc == 6 && strcmp(argv[1], "fanout") == 0)
        return fanout(atoi(argv[2]), argv[3], atoi(argv[4]), atoi(argv[5]));
    fprintf(stderr, "usage: see the head of tests/bench/client.c\n");
    return 2;
}
