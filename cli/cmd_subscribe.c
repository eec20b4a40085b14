/* cmd_subscribe.c - `spacetime subscribe`: changes as lines of JSON, flushed one by one. */
#include "cli/http.h"
#include "cli/socket.h"
#include "cli/update.h"

#include <stdio.h>

static uint64_t number(const Args *a, const char *option)
{
    const char *text = arg_value(a, option);
    if (text && (text[0] == 0 || strlen(text) > 9 || text[strspn(text, "0123456789")] != 0))
        cli_usage(a, "invalid value '%s' for '--%s': expected a number", text, option);
    return text ? strtoull(text, NULL, 10) : 0;
}

/* Subscribe: u8 0 | u32 request | u32 query set | arr<str> */
static void subscribe(Socket *s, int n, const char *const *queries)
{
    OWN(buf) Buf m = {0};
    buf_put_u8(&m, 0);
    buf_put_u32(&m, 1);
    buf_put_u32(&m, 1);
    buf_put_u32(&m, (uint32_t)n);
    for (int i = 0; i < n; i++)
        buf_put_str(&m, str_of(queries[i]));
    socket_send(s, buf_bytes(&m));
}

int cmd_subscribe(Cli *c, const Args *a)
{
    const char *confirmed = arg_value(a, "confirmed");
    if (confirmed && strcmp(confirmed, "true") != 0 && strcmp(confirmed, "false") != 0)
        cli_usage(a, "invalid value '%s' for '--confirmed <true|false>'", confirmed);
    uint64_t wanted = number(a, "num-updates"), seconds = number(a, "timeout"), seen = 0;
    bool counted = arg_given(a, "num-updates"), timed = arg_given(a, "timeout");
    Target t = target_then(c, a, 1, "<query>");
    const char *token = target_token(c, a, &t);
    target_identity(c, &t);
    HttpRequest ask = {.url = cli_text(c, "%s/v1/database/%s/schema?version=10", t.url, t.identity), .token = token};
    HttpResponse answer = http_send(c, &ask);
    http_expect_ok(c, &ask, &answer);
    Schema schema;
    Error err = {0};
    if (schema_read(&schema, answer.body, false, &c->arena, &err) != S_OK)
        cli_fail("cannot read the schema of `%s`: %s", t.database, err.text);
    uint64_t deadline = timed ? clock_monotonic_ns() + seconds * 1000000000u + 1 : 0;
    const char *url = cli_text(c, "%s/v1/database/%s/subscribe?compression=None%s%s", t.url, t.identity, confirmed ? "&confirmed=" : "",
                               confirmed ? confirmed : "");
    Socket *s = socket_open(c, url, token, "v3.bsatn.spacetimedb");
    subscribe(s, a->n - t.argi, a->v + t.argi);
    OWN(buf) Buf line = {0};
    int code = -1;
    while (code < 0) {
        Bytes frame;
        SocketEvent event = counted && seen >= wanted ? SOCKET_TIMEOUT : socket_next(s, &frame, deadline);
        if (counted && seen >= wanted) {
            code = 0;
        } else if (event == SOCKET_TIMEOUT) {
            if (counted)
                cli_fail("timed out after %llus: %llu/%llu updates", (unsigned long long)seconds, (unsigned long long)seen,
                         (unsigned long long)wanted);
            fprintf(stderr, "timed out after %llus\n", (unsigned long long)seconds);
            code = 0;
        } else if (event == SOCKET_CLOSED) {
            const char *why = socket_reason(s);
            if (counted)
                cli_fail("disconnected by server%s%s: %llu/%llu updates", why[0] ? ": " : "", why, (unsigned long long)seen,
                         (unsigned long long)wanted);
            fprintf(stderr, "disconnected by server%s%s\n", why[0] ? ": " : "", why);
            code = 0;
        } else {
            Reader in = reader_of(frame);
            uint8_t compression = read_u8(&in);
            if (in.bad || compression != 0)
                cli_fail("the server compressed a message although none was asked for");
            while (reader_left(&in) && !(counted && seen >= wanted)) {
                UpdateKind kind;
                buf_reset(&line);
                if (update_read(&kind, &line, &in, &schema, &err) != S_OK)
                    cli_fail("the server sent %s", err.text);
                if (kind == UPDATE_REFUSED)
                    cli_fail("encountered error in initial subscribe: %.*s", STR_FMT(buf_str(&line)));
                if (kind == UPDATE_ROWS || (kind == UPDATE_INITIAL && arg_given(a, "print-initial-update")))
                    cli_out(buf_str(&line));
                seen += kind == UPDATE_ROWS;
            }
        }
    }
    socket_close(s);
    return code;
}
