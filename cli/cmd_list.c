/* cmd_list.c - `spacetime list`: the databases of the identity that is logged in. */
#include "cli/http.h"
#include "cli/json_scan.h"
#include "cli/state.h"
#include "cli/table.h"

#include <stdio.h>

static const Js *get_json(Cli *c, const char *url)
{
    HttpRequest r = {.url = url, .timeout_ms = 30000};
    HttpResponse answer = http_send(c, &r);
    http_expect_ok(c, &r, &answer);
    const Js *v;
    Error err = {0};
    if (js_parse(&v, answer.body, false, &c->arena, &err) != S_OK)
        cli_fail("the answer of %s cannot be read: %s", url, err.text);
    return v;
}

int cmd_list(Cli *c, const Args *a)
{
    if (a->n > 0)
        cli_usage(a, "unexpected argument '%s' found", a->v[0]);
    Target t = target_server(c, a, NULL);
    const char *token = target_token(c, a, &t), *me = token_identity(c, token);
    if (!me)
        cli_fail("the saved token names no identity; log in again with `spacetime login`");
    const Js *identities = js_get(get_json(c, cli_text(c, "%s/v1/identity/%s/databases", t.url, me)), "identities");
    if (!js_is(identities, JS_ARRAY) || identities->n == 0) {
        printf("No databases found for %s.\n", me);
        return 0;
    }
    const Js *status = get_status(c, t.url);
    TextTable table = text_table_new(&c->arena, status ? 3 : 2);
    text_table_cell(&table, STR("Database Name(s)"));
    text_table_cell(&table, STR("Identity"));
    if (status)
        text_table_cell(&table, STR("State"));
    OWN(buf) Buf names = {0};
    for (const Js *i = identities->first; i; i = i->next) {
        const Js *list = js_get(get_json(c, cli_text(c, "%s/v1/database/%.*s/names", t.url, STR_FMT(js_str(i)))), "names");
        buf_reset(&names);
        for (const Js *n = js_is(list, JS_ARRAY) ? list->first : NULL; n; n = n->next)
            buf_printf(&names, "%s%.*s", names.len ? ", " : "", STR_FMT(js_str(n)));
        text_table_cell(&table, buf_str(&names));
        text_table_cell(&table, js_str(i));
        if (status)
            text_table_cell(&table, str_of(database_state(c, status, js_str(i))));
    }
    OWN(buf) Buf out = {0};
    buf_printf(&out, "Associated databases for user %s:\n\n", me);
    text_table_print(&out, &table);
    cli_out(buf_str(&out));
    return 0;
}
