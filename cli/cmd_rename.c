/* cmd_rename.c - `spacetime rename`. */
#include "cli/http.h"
#include "cli/json_scan.h"
#include "host/wire/identity.h"

#include <stdio.h>

int cmd_rename(Cli *c, const Args *a)
{
    const char *name = arg_value(a, "to");
    if (a->n != 1 || !name)
        cli_usage(a, "the following required arguments were not provided:\n  %s", a->n != 1 ? "<IDENTITY>" : "--to <NAME>");
    Error err = {0};
    if (database_name_check(str_of(name), &err) != S_OK)
        cli_fail("`%s` cannot be a database's name: %s", name, err.text);
    Target t = target_server(c, a, NULL);
    t.database = a->v[0];
    const char *token = target_token(c, a, &t);
    target_identity(c, &t);
    const char *body = cli_text(c, "[\"%s\"]", name); /* a checked name needs no escapes */
    HttpRequest r = {.method = "PUT",
                     .url = cli_text(c, "%s/v1/database/%s/names", t.url, t.identity),
                     .token = token,
                     .body = bytes_of(body, strlen(body)),
                     .content_type = "application/json"};
    HttpResponse answer = http_send(c, &r);
    const Js *v = NULL;
    if (js_parse(&v, answer.body, false, &c->arena, &err) != S_OK)
        v = NULL;
    if (js_get(v, "PermissionDenied"))
        cli_fail("the name `%s` belongs to somebody else", name);
    if (js_get(v, "NotYourDatabase"))
        cli_fail("database %s is not yours; `spacetime login show` tells who you are", t.identity);
    if (js_get(v, "DatabaseNotFound"))
        cli_fail("there is no database %s", t.identity);
    if (js_get(v, "OtherError"))
        cli_fail("%.*s", STR_FMT(js_str(js_get(v, "OtherError"))));
    http_expect_ok(c, &r, &answer);
    printf("Name set to %s for identity %s.\n", name, t.identity);
    return 0;
}
