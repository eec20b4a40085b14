#include "host/egress.h"
#include "host/worker/records.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the policy ------------------------------------------------------------------------------------ */

/* Special-purpose addresses (IANA's registries), which lead into the operator's own networks or nowhere. */
static const char special_ranges[] =
    "0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,172.16.0.0/12,192.0.0.0/24,192.0.2.0/24,192.31.196.0/24,192.52.193.0/24,"
    "192.88.99.0/24,192.168.0.0/16,192.175.48.0/24,198.18.0.0/15,198.51.100.0/24,203.0.113.0/24,224.0.0.0/4,240.0.0.0/4,"
    "::/128,::1/128,::ffff:0:0/96,64:ff9b::/96,64:ff9b:1::/48,100::/64,100:0:0:1::/64,2001::/23,2001:db8::/32,2002::/16,2620:4f:8000::/48,"
    "3fff::/20,5f00::/16,fc00::/7,fe80::/10,ff00::/8";

static EgressPolicy special; /* in its `allowed`: what is refused */
static pthread_once_t special_once = PTHREAD_ONCE_INIT;

static Status range_read(EgressRange *ret, Str text, Error *err)
{
    char address[64];
    const char *slash = memchr(text.ptr, '/', text.len);
    size_t len = slash ? (size_t)(slash - text.ptr) : text.len;
    *ret = (EgressRange){0};
    if (len < sizeof address) {
        memcpy(address, text.ptr, len);
        address[len] = 0;
        if (inet_pton(AF_INET, address, ret->address) == 1)
            ret->bytes = 4;
        else if (inet_pton(AF_INET6, address, ret->address) == 1)
            ret->bytes = 16;
    }
    uint32_t bits = ret->bytes * 8u;
    if (slash) {
        bits = 0;
        for (const char *p = slash + 1; p < text.ptr + text.len; p++)
            bits = *p >= '0' && *p <= '9' && bits <= 128 ? bits * 10 + (uint32_t)(*p - '0') : 1000;
        if (slash + 1 == text.ptr + text.len)
            bits = 1000;
    }
    if (!ret->bytes || bits > ret->bytes * 8u)
        return FAIL(err, S_INVALID, "`%.*s` is no address range: expected ADDRESS or ADDRESS/BITS, as in 10.1.0.0/16 or fd00::/8",
                    (int)MIN(text.len, (size_t)80), text.ptr);
    ret->bits = (uint8_t)bits;
    return S_OK;
}

Status egress_allow(EgressPolicy *p, const char *list, Error *err)
{
    for (const char *from = list;; from++) {
        size_t len = strcspn(from, ",");
        if (p->nallowed == EGRESS_RANGES_MAX)
            return FAIL(err, S_TOO_LARGE, "more than %d address ranges", EGRESS_RANGES_MAX);
        TRY(range_read(&p->allowed[p->nallowed], (Str){from, len}, err));
        p->nallowed++;
        from += len;
        if (!*from)
            return S_OK;
    }
}

static void special_init(void)
{
    Error err;
    if (egress_allow(&special, special_ranges, &err) != S_OK)
        BUG("%s", err.text);
}

static bool in_ranges(const EgressPolicy *p, const uint8_t *address, uint8_t bytes)
{
    for (uint32_t i = 0; i < p->nallowed; i++) {
        const EgressRange *r = &p->allowed[i];
        uint32_t whole = r->bits / 8, rest = r->bits % 8;
        if (r->bytes != bytes || memcmp(r->address, address, whole) != 0)
            continue;
        if (!rest || ((r->address[whole] ^ address[whole]) >> (8 - rest)) == 0)
            return true;
    }
    return false;
}

bool egress_permits(const EgressPolicy *p, const struct sockaddr *to)
{
    pthread_once(&special_once, special_init);
    const uint8_t *address;
    uint8_t bytes;
    if (to->sa_family == AF_INET)
        address = (const uint8_t *)&((const struct sockaddr_in *)(const void *)to)->sin_addr, bytes = 4;
    else if (to->sa_family == AF_INET6)
        address = (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)to)->sin6_addr, bytes = 16;
    else
        return false;
    return !p->off && (in_ranges(p, address, bytes) || !in_ranges(&special, address, bytes));
}

/* ---- a request's record --------------------------------------------------------------------------- */

static bool is_token(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] >= 127 || strchr("\"(),/:;<=>?@[\\]{}", s.ptr[i]))
            return false;
    return s.len > 0;
}

static bool has_control_bytes(Bytes b, bool tab_is_good)
{
    for (size_t i = 0; i < b.len; i++)
        if ((b.ptr[i] < ' ' && !(tab_is_good && b.ptr[i] == '\t')) || b.ptr[i] == 127)
            return true;
    return false;
}

Status egress_request_read(EgressRequest *ret, Bytes record, Arena *arena, Error *err)
{
    Reader in = reader_of(record);
    EgressRequest r = {.timeout_ms = read_u32(&in), .method = read_str(&in), .url = read_str(&in), .nheaders = read_u32(&in)};
    if (in.bad || r.nheaders > HTTP_HEADERS_MAX || r.nheaders > reader_left(&in) / 8)
        return FAIL(err, S_INVALID, "a damaged HTTP request");
    r.headers = ARENA_ARRAY(arena, EgressHeader, r.nheaders + 1);
    size_t bytes = 0;
    bool good = is_token(r.method) && r.method.len <= HTTP_METHOD_BYTES_MAX && r.url.len && r.url.len <= HTTP_URL_BYTES_MAX &&
                !has_control_bytes(str_bytes(r.url), false);
    for (uint32_t i = 0; i < r.nheaders && good; i++) {
        r.headers[i].name = read_str(&in);
        r.headers[i].value = read_blob(&in);
        bytes += r.headers[i].name.len + r.headers[i].value.len;
        good = !in.bad && is_token(r.headers[i].name) && !has_control_bytes(r.headers[i].value, true) && bytes <= HTTP_HEADER_BYTES_MAX;
    }
    r.body = read_blob(&in);
    if (!good || in.bad || reader_left(&in) || r.body.len > HTTP_BODY_BYTES_MAX)
        return FAIL(err, S_INVALID, "a damaged HTTP request");
    *ret = r;
    return S_OK;
}

uint32_t egress_timeout_ms(uint32_t asked) { return asked ? MIN(asked, (uint32_t)EGRESS_TIMEOUT_MS_MAX) : EGRESS_TIMEOUT_MS_DEFAULT; }

/* ---- one transfer ----------------------------------------------------------------------------------- */

typedef struct Transfer {
    struct Transfer *next; /* of those handed over, then of those under way */
    Egress *egress;
    void (*done)(void *ctx, Buf *answer);
    void *ctx;
    Buf record;
    Arena arena;
    EgressRequest r;
    /* the hop: */
    CURL *easy;
    struct curl_slist *lines;
    const char *url, *method;
    bool body_goes, content_goes, secrets_go;
    uint32_t hops;
    uint64_t deadline_ns;
    /* the response: */
    Buf headers, body;
    uint32_t nheaders;
    const char *limit; /* which one it has reached */
    char blocked[INET6_ADDRSTRLEN];
    char curl_text[CURL_ERROR_SIZE];
} Transfer;

struct Egress {
    EgressPolicy policy;
    CURLM *multi;
    pthread_t thread;
    pthread_mutex_t lock;
    Transfer *submitted, **submitted_tail;
    bool stopping;
    Transfer *under_way; /* the thread's own */
};

static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *to)
{
    Transfer *t = user;
    if (purpose != CURLSOCKTYPE_IPCXN || !egress_permits(&t->egress->policy, &to->addr)) {
        const void *address = to->family == AF_INET6 ? (const void *)&((struct sockaddr_in6 *)(void *)&to->addr)->sin6_addr
                                                     : (const void *)&((struct sockaddr_in *)(void *)&to->addr)->sin_addr;
        if (!inet_ntop(to->family, address, t->blocked, sizeof t->blocked))
            snprintf(t->blocked, sizeof t->blocked, "?");
        return CURL_SOCKET_BAD;
    }
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

static size_t take_header(char *line, size_t size, size_t n, void *user)
{
    Transfer *t = user;
    Str s = {line, size * n};
    while (s.len && (s.ptr[s.len - 1] == '\n' || s.ptr[s.len - 1] == '\r'))
        s.len--;
    if (s.len >= 5 && memcmp(s.ptr, "HTTP/", 5) == 0) { /* of this response, and none before it (100 Continue) */
        buf_reset(&t->headers);
        t->nheaders = 0;
        return size * n;
    }
    const char *colon = memchr(s.ptr, ':', s.len);
    if (!colon)
        return size * n;
    if (t->nheaders == HTTP_HEADERS_MAX || t->headers.len + s.len > HTTP_HEADER_BYTES_MAX) {
        t->limit = "the response's headers exceed 500 lines or 256 KiB";
        return 0;
    }
    Str name = {s.ptr, (size_t)(colon - s.ptr)}, value = {colon + 1, s.len - name.len - 1};
    while (value.len && (value.ptr[0] == ' ' || value.ptr[0] == '\t'))
        value.ptr++, value.len--;
    while (value.len && (value.ptr[value.len - 1] == ' ' || value.ptr[value.len - 1] == '\t'))
        value.len--;
    size_t at = t->headers.len + 4;
    buf_put_str(&t->headers, name);
    for (size_t i = 0; i < name.len; i++) /* one form, whatever version of HTTP brought it */
        if (t->headers.ptr[at + i] >= 'A' && t->headers.ptr[at + i] <= 'Z')
            t->headers.ptr[at + i] |= 0x20;
    buf_put_str(&t->headers, value);
    t->nheaders++;
    return size * n;
}

static size_t take_body(char *data, size_t size, size_t n, void *user)
{
    Transfer *t = user;
    if (t->body.len + size * n > HTTP_BODY_BYTES_MAX) {
        t->limit = "the response's body exceeds 16 MiB";
        return 0;
    }
    buf_put(&t->body, data, size * n);
    return size * n;
}

static bool name_in(Str name, const char *const *list)
{
    for (; *list; list++)
        if (strlen(*list) == name.len && strncasecmp(*list, name.ptr, name.len) == 0)
            return true;
    return false;
}

/* The request's headers as this hop sends them. What frames the message is libcurl's to say. */
static struct curl_slist *header_lines(Transfer *t)
{
    static const char *const framing[] = {"content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer",
                                          "expect",         "proxy-connection",  NULL};
    static const char *const secrets[] = {"authorization", "cookie", "cookie2", "proxy-authorization", "www-authenticate", NULL};
    static const char *const content[] = {"content-type", "content-encoding", "content-language", "content-location", NULL};
    struct curl_slist *lines = curl_slist_append(NULL, "Expect:");
    bool typed = false;
    for (uint32_t i = 0; i < t->r.nheaders; i++) {
        const EgressHeader *h = &t->r.headers[i];
        if (name_in(h->name, framing) || (!t->secrets_go && name_in(h->name, secrets)) || (!t->content_goes && name_in(h->name, content)))
            continue;
        if (t->hops && !t->secrets_go && name_in(h->name, (const char *const[]){"host", NULL}))
            continue;
        typed |= name_in(h->name, (const char *const[]){"content-type", NULL});
        bool empty = h->value.len == 0;
        char *line =
            arena_sprintf(&t->arena, empty ? "%.*s;" : "%.*s: %.*s", STR_FMT(h->name), (int)h->value.len, (const char *)h->value.ptr);
        lines = curl_slist_append(lines, line);
    }
    return typed ? lines : curl_slist_append(lines, "Content-Type:"); /* libcurl's own would be a form's */
}

/* "http://host:port" of a URL: the only part of it that may be said. */
static void origin_of(const char *url, char *out, size_t size)
{
    char *scheme = NULL, *host = NULL, *port = NULL;
    CURLU *u = curl_url();
    snprintf(out, size, "a URL");
    if (u && curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
        snprintf(out, size, "%.10s://%.255s:%.5s", scheme, host, port);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
}

static void answer_error(Transfer *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void answer_error(Transfer *t, const char *fmt, ...)
{
    char origin[300], why[500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    origin_of(t->url, origin, sizeof origin);
    Buf answer = {0};
    buf_put_u8(&answer, 0);
    buf_put_str(&answer, str_of(arena_sprintf(&t->arena, "%s %s: %s", t->method, origin, why)));
    t->done(t->ctx, &answer);
}

static void answer_response(Transfer *t, long status)
{
    Buf answer = {0};
    buf_put_u8(&answer, 1);
    buf_put_u16(&answer, (uint16_t)status);
    buf_put_u32(&answer, t->nheaders);
    buf_put_bytes(&answer, buf_bytes(&t->headers));
    buf_put_blob(&answer, buf_bytes(&t->body));
    t->done(t->ctx, &answer);
}

static void transfer_free(Transfer *t)
{
    if (t->easy)
        curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->lines);
    buf_done(&t->record);
    buf_done(&t->headers);
    buf_done(&t->body);
    arena_done(&t->arena);
    free(t);
}

/* False: it cannot go, and has been answered. */
static bool hop_begin(Transfer *t)
{
    uint64_t now = clock_monotonic_ns();
    if (now >= t->deadline_ns) {
        answer_error(t, "timed out after %u ms", t->r.timeout_ms);
        return false;
    }
    if (!t->easy && !(t->easy = curl_easy_init())) {
        answer_error(t, "libcurl cannot be used");
        return false;
    }
    CURL *easy = t->easy;
    curl_easy_reset(easy);
    curl_slist_free_all(t->lines);
    t->lines = header_lines(t);
    buf_reset(&t->headers);
    buf_reset(&t->body);
    t->nheaders = 0;
    t->curl_text[0] = t->blocked[0] = 0;
    long left_ms = (long)((t->deadline_ns - now + 999999) / 1000000);
    CURLcode rc = CURLE_OK;
#define SET(option, value) (rc = rc ? rc : curl_easy_setopt(easy, option, value))
    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_ERRORBUFFER, t->curl_text);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_FOLLOWLOCATION, 0L); /* each hop is ours to judge */
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, t);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_TIMEOUT_MS, left_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, left_ms);
    SET(CURLOPT_HTTPHEADER, t->lines);
    SET(CURLOPT_URL, t->url);
    bool head = strcmp(t->method, "HEAD") == 0, post = strcmp(t->method, "POST") == 0 || strcmp(t->method, "PUT") == 0;
    if (head) {
        SET(CURLOPT_NOBODY, 1L);
    } else if (t->body_goes && (t->r.body.len || post)) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->r.body.len);
        SET(CURLOPT_POSTFIELDS, t->r.body.len ? (const char *)t->r.body.ptr : "");
        SET(CURLOPT_CUSTOMREQUEST, t->method);
    } else {
        SET(CURLOPT_HTTPGET, 1L);
        SET(CURLOPT_CUSTOMREQUEST, t->method);
    }
#undef SET
    if (rc == CURLE_OK && curl_multi_add_handle(t->egress->multi, easy) != CURLM_OK)
        rc = CURLE_FAILED_INIT;
    if (rc != CURLE_OK)
        answer_error(t, "%s", curl_easy_strerror(rc));
    return rc == CURLE_OK;
}

static bool transfer_begin(Transfer *t)
{
    Error err;
    t->url = t->method = "";
    if (egress_request_read(&t->r, buf_bytes(&t->record), &t->arena, &err) != S_OK) {
        answer_error(t, "%s", err.text);
        return false;
    }
    t->url = arena_str(&t->arena, t->r.url).ptr;
    t->method = arena_str(&t->arena, t->r.method).ptr;
    t->body_goes = t->content_goes = t->secrets_go = true;
    t->r.timeout_ms = egress_timeout_ms(t->r.timeout_ms);
    t->deadline_ns = clock_monotonic_ns() + (uint64_t)t->r.timeout_ms * 1000000u;
    if (t->egress->policy.off) {
        answer_error(t, "outgoing HTTP is switched off on this host (--egress)");
        return false;
    }
    CURLU *u = curl_url();
    char *scheme = NULL;
    bool good = u && curl_url_set(u, CURLUPART_URL, t->url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
                curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK;
    bool known = good && (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0);
    curl_free(scheme);
    curl_url_cleanup(u);
    if (!known) {
        answer_error(t, good ? "only http and https can be asked for" : "the URL is malformed");
        return false;
    }
    return hop_begin(t);
}

/* As browsers and most libraries do it: 301 to 303 ask again with GET. True: the next hop is under way, or its failure was answered. */
static bool hop_follow(Transfer *t, long status, bool *ret_ended)
{
    char *target = NULL, before[300], after[300];
    if (status < 301 || status > 308 || (status > 303 && status < 307))
        return false;
    if (curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &target) != CURLE_OK || !target)
        return false;
    if (t->hops == EGRESS_REDIRECTS_MAX) {
        answer_error(t, "more than %d redirects", EGRESS_REDIRECTS_MAX);
        *ret_ended = true;
        return true;
    }
    t->hops++;
    origin_of(t->url, before, sizeof before);
    t->url = arena_str(&t->arena, str_of(target)).ptr;
    origin_of(t->url, after, sizeof after);
    if (strcmp(before, after) != 0)
        t->secrets_go = false;
    if (status <= 303) {
        if (strcmp(t->method, "HEAD") != 0)
            t->method = "GET";
        t->body_goes = t->content_goes = false;
    }
    *ret_ended = !hop_begin(t);
    return true;
}

static void hop_failed(Transfer *t, CURLcode rc)
{
    if (t->limit)
        answer_error(t, "%s", t->limit);
    else if (t->blocked[0] && rc == CURLE_COULDNT_CONNECT)
        answer_error(t, "the address %s is refused by the egress policy of this host (--egress-allow)", t->blocked);
    else if (rc == CURLE_OPERATION_TIMEDOUT)
        answer_error(t, "timed out after %u ms", t->r.timeout_ms);
    else if ((rc == CURLE_COULDNT_RESOLVE_HOST || rc == CURLE_COULDNT_CONNECT || rc == CURLE_SSL_CONNECT_ERROR ||
              rc == CURLE_PEER_FAILED_VERIFICATION) &&
             t->curl_text[0])
        answer_error(t, "%s", t->curl_text);
    else
        answer_error(t, "%s", curl_easy_strerror(rc)); /* libcurl's longer texts may quote what was sent */
}

static void hop_ended(Egress *e, CURL *easy, CURLcode rc)
{
    Transfer *t = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t);
    curl_multi_remove_handle(e->multi, easy);
    long status = 0;
    bool ended = true;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (rc != CURLE_OK)
        hop_failed(t, rc);
    else if (!hop_follow(t, status, &ended))
        answer_response(t, status);
    if (!ended)
        return;
    Transfer **at = &e->under_way;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    transfer_free(t);
}

/* ---- the thread -------------------------------------------------------------------------------------- */

static void take_submitted(Egress *e)
{
    pthread_mutex_lock(&e->lock);
    Transfer *t = e->submitted;
    e->submitted = NULL;
    e->submitted_tail = &e->submitted;
    pthread_mutex_unlock(&e->lock);
    while (t) {
        Transfer *next = t->next;
        if (transfer_begin(t)) {
            t->next = e->under_way;
            e->under_way = t;
        } else {
            transfer_free(t);
        }
        t = next;
    }
}

static bool is_stopping(Egress *e)
{
    pthread_mutex_lock(&e->lock);
    bool stopping = e->stopping;
    pthread_mutex_unlock(&e->lock);
    return stopping;
}

static void *egress_main(void *arg)
{
    enum { POLL_MS = 1000 };
    Egress *e = arg;
    while (!is_stopping(e)) {
        take_submitted(e);
        int running, left;
        curl_multi_perform(e->multi, &running);
        for (CURLMsg *m; (m = curl_multi_info_read(e->multi, &left)) != NULL;)
            if (m->msg == CURLMSG_DONE)
                hop_ended(e, m->easy_handle, m->data.result);
        curl_multi_poll(e->multi, NULL, 0, POLL_MS, NULL);
    }
    return NULL;
}

Status egress_start(Egress **ret, const EgressPolicy *policy, Error *err)
{
    enum { CONNECTIONS_KEPT = 64, CONNECTIONS_MAX = 512 };
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return FAIL(err, S_UNAVAILABLE, "libcurl cannot be used");
    Egress *e = NEW(Egress);
    e->policy = *policy;
    e->submitted_tail = &e->submitted;
    pthread_mutex_init(&e->lock, NULL);
    e->multi = curl_multi_init();
    if (e->multi) {
        curl_multi_setopt(e->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
        curl_multi_setopt(e->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)CONNECTIONS_MAX);
    }
    if (!e->multi || pthread_create(&e->thread, NULL, egress_main, e) != 0) {
        curl_multi_cleanup(e->multi);
        free(e);
        return FAIL(err, S_UNAVAILABLE, "the thread for outgoing HTTP cannot be started");
    }
    *ret = e;
    return S_OK;
}

void egress_stop(Egress *e)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    pthread_mutex_unlock(&e->lock);
    curl_multi_wakeup(e->multi);
    pthread_join(e->thread, NULL);
    for (int list = 0; list < 2; list++) {
        Transfer *t = list ? e->submitted : e->under_way;
        while (t) {
            Transfer *next = t->next;
            if (!list)
                curl_multi_remove_handle(e->multi, t->easy);
            t->done(t->ctx, NULL);
            transfer_free(t);
            t = next;
        }
    }
    curl_multi_cleanup(e->multi);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

void egress_submit(Egress *e, Bytes record, void (*done)(void *ctx, Buf *answer), void *ctx)
{
    Transfer *t = NEW(Transfer);
    t->egress = e;
    t->done = done;
    t->ctx = ctx;
    buf_put_bytes(&t->record, record);
    pthread_mutex_lock(&e->lock);
    *e->submitted_tail = t;
    e->submitted_tail = &t->next;
    pthread_mutex_unlock(&e->lock);
    curl_multi_wakeup(e->multi);
}
