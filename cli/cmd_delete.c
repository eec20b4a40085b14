/* cmd_delete.c - `spacetime delete`. */
#include "cli/http.h"
#include "cli/prompt.h"

#include <stdio.h>

int cmd_delete(Cli *c, const Args *a)
{
    Target t = target_optional(c, a);
    const char *token = target_token(c, a, &t);
    target_identity(c, &t);
    bool by_identity = strstr(t.database, t.identity) != NULL;
    const char *what = by_identity ? t.identity : cli_text(c, "%s (%s)", t.database, t.identity);
    if (!prompt_yes(arg_given(a, "yes"), "Are you sure you want to delete database %s? This action cannot be undone.", what)) {
        puts("Aborting");
        return 0;
    }
    HttpRequest r = {.method = "DELETE", .url = cli_text(c, "%s/v1/database/%s", t.url, t.identity), .token = token};
    HttpResponse answer = http_send(c, &r);
    http_expect_ok(c, &r, &answer);
    return 0;
}
