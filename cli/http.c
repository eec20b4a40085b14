/* http.c - see http.h. */
#include "cli/http.h"

#include <curl/curl.h>
#include <stdio.h>

enum { CONNECT_TIMEOUT_MS = 10000 };
static const size_t response_bytes_max = (size_t)1 << 30;

typedef struct Transfer {
    const HttpRequest *request;
    CURL *curl;
    Buf body;
    bool stopped;
} Transfer;

static size_t on_body(char *ptr, size_t size, size_t n, void *arg)
{
    Transfer *t = arg;
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (t->request->sink && status >= 200 && status < 300) {
        t->stopped = !t->request->sink(t->request->sink_arg, bytes_of(ptr, size * n));
        return t->stopped ? 0 : size * n;
    }
    buf_put(&t->body, ptr, size * n);
    return buf_ok(&t->body) ? size * n : 0;
}

HttpResponse http_try(Cli *c, const HttpRequest *r)
{
    static bool ready;
    if (!ready)
        curl_global_init(CURL_GLOBAL_DEFAULT);
    ready = true;
    CURL *curl = curl_easy_init();
    if (!curl)
        cli_fail("libcurl could not be started");
    Transfer t = {.request = r, .curl = curl, .body = buf_with_max(response_bytes_max)};
    char problem[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    if (r->token)
        headers = curl_slist_append(headers, cli_text(c, "Authorization: Bearer %s", r->token));
    curl_easy_setopt(curl, CURLOPT_URL, r->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, problem);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, r->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &t);
    if (r->body.ptr) {
        headers =
            curl_slist_append(headers, cli_text(c, "Content-Type: %s", r->content_type ? r->content_type : "application/octet-stream"));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, (const char *)r->body.ptr);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
    } else if (r->method && strcmp(r->method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    }
    if (r->method)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, r->method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    CURLcode code = curl_easy_perform(curl);
    HttpResponse answer = {0};
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    if (code != CURLE_OK && !t.stopped) {
        answer.status = 0;
        answer.failure = cli_text(c, "%s", problem[0] ? problem : curl_easy_strerror(code));
    }
    answer.body = arena_str(&c->arena, buf_str(&t.body));
    buf_done(&t.body);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return answer;
}

_Noreturn void http_unreachable(const char *url, const char *why)
{
    const char *slashes = strstr(url, "://"), *path = slashes ? strchr(slashes + 3, '/') : NULL;
    cli_fail("cannot reach %.*s: %s; is a host running? start one with `spacetime start`", path ? (int)(path - url) : (int)strlen(url), url,
             why);
}

HttpResponse http_send(Cli *c, const HttpRequest *r)
{
    HttpResponse answer = http_try(c, r);
    if (answer.failure)
        http_unreachable(r->url, answer.failure);
    return answer;
}

void http_expect_ok(Cli *c, const HttpRequest *r, const HttpResponse *answer)
{
    if (answer->status >= 200 && answer->status < 300)
        return;
    const char *query = strchr(r->url, '?'); /* queries may hold tokens */
    const char *cause = cli_text(c, "HTTP status %ld for %s %.*s", answer->status, r->method ? r->method : "GET",
                                 query ? (int)(query - r->url) : (int)strlen(r->url), r->url);
    Str text = answer->body;
    while (text.len && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == ' '))
        text.len--;
    if (text.len == 0)
        text = STR("the server refused the request and gave no reason");
    if (answer->status == 401)
        cli_fail_cause(cause,
                       "%.*s\n\nThe server does not accept your token (`spacetime login show`). For a new identity on "
                       "this server:\n"
                       "    spacetime logout && spacetime login",
                       STR_FMT(text));
    cli_fail_cause(cause, "%.*s", STR_FMT(text));
}

const char *url_encode(Cli *c, const char *text)
{
    OWN(buf) Buf out = {0};
    for (const char *p = text; *p; p++) {
        unsigned char ch = (unsigned char)*p;
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || memchr("-_.~", ch, 4);
        if (plain)
            buf_put(&out, &ch, 1);
        else
            buf_printf(&out, "%%%02X", ch);
    }
    return arena_str(&c->arena, buf_str(&out)).ptr;
}
