/* http.h - requests to a host, over libcurl. A host that cannot be reached ends the command with the hint that helps.
 */
#ifndef CLI_HTTP_H
#define CLI_HTTP_H
#include "cli/cli.h"

typedef struct HttpRequest {
    const char *method; /* "GET" when NULL */
    const char *url;
    const char *token;        /* sent as bearer; NULL: none */
    Bytes body;               /* sent when body.ptr is not NULL */
    const char *content_type; /* of the body; NULL: application/octet-stream */
    long timeout_ms;          /* 0: none */
    /* For streams: called with each piece of a 2xx body instead of collecting it; false ends the request. */
    bool (*sink)(void *arg, Bytes piece);
    void *sink_arg;
} HttpRequest;
typedef struct HttpResponse {
    long status;
    Str body;            /* in Cli.arena */
    const char *failure; /* http_try only: why there is no answer; else NULL */
} HttpResponse;

HttpResponse http_send(Cli *c, const HttpRequest *r);
HttpResponse http_try(Cli *c, const HttpRequest *r); /* no answer: status 0 and `failure` */
/* A 2xx answer passes; anything else ends the command: the host's text, the status, and a hint for 401 and 403. */
void http_expect_ok(Cli *c, const HttpRequest *r, const HttpResponse *answer);
/* Letters, digits, `-`, `_`, `.` and `~` stay. */
const char *url_encode(Cli *c, const char *text);
_Noreturn void http_unreachable(const char *url, const char *why);
#endif
