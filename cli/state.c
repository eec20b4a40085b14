/* state.c - see state.h. */
#include "cli/state.h"
#include "cli/http.h"

const Js *get_status(Cli *c, const char *url)
{
    HttpRequest r = {.url = cli_text(c, "%s/v1/server/status", url), .timeout_ms = 30000};
    HttpResponse answer = http_try(c, &r);
    const Js *v;
    Error err = {0};
    if (answer.status != 200 || js_parse(&v, answer.body, false, &c->arena, &err) != S_OK)
        return NULL;
    return js_is(js_get(v, "databases"), JS_ARRAY) ? v : NULL;
}

const char *database_state(Cli *c, const Js *status, Str identity)
{
    for (const Js *d = js_get(status, "databases")->first; d; d = d->next) {
        if (!str_eq(js_str(js_get(d, "identity")), identity))
            continue;
        Str state = js_str(js_get(d, "state")), why = js_str(js_get(d, "error"));
        long long crashes = js_int(js_get(d, "crashes"), 0), retry_ms = js_int(js_get(d, "retry_in_ms"), 0);
        OWN(buf) Buf out = {0};
        buf_put_str_raw(&out, state);
        if (str_is(state, "recovering") && crashes > 1)
            buf_printf(&out, " (its process died %lld times in a row)", crashes);
        if (str_is(state, "stopped"))
            buf_printf(&out, ": %.*s", STR_FMT(why));
        if (str_is(state, "stopped") && retry_ms)
            buf_printf(&out, "; tried again from %lld s on, or by a publish", (retry_ms + 999) / 1000);
        return cli_text(c, "%.*s", STR_FMT(buf_str(&out)));
    }
    return "closed";
}
