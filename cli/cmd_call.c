/* cmd_call.c - `spacetime call`: words to arguments, with the schema at hand. */
#include "cli/arguments.h"
#include "cli/http.h"
#include "cli/schema.h"

#include <stdio.h>
#include <strings.h>

enum { LISTED_MAX = 10 };

static const char *word;
static int nearer(const void *x, const void *y)
{
    unsigned dx = edit_distance(word, *(const char *const *)x, 64), dy = edit_distance(word, *(const char *const *)y, 64);
    return dx != dy ? (dx < dy ? -1 : 1) : strcmp(*(const char *const *)x, *(const char *const *)y);
}

static _Noreturn void no_such_function(Cli *c, const Target *t, const Schema *s, const char *name)
{
    const char **names = ARENA_ARRAY(&c->arena, const char *, s->nreducers + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->nreducers; i++) {
        if (!s->reducers[i].lifecycle)
            names[n++] = s->reducers[i].name;
    }
    const char *near = suggest(name, names, n);
    OWN(buf) Buf text = {0};
    buf_printf(&text, "No such reducer OR procedure `%s` for database `%s` resolving to identity `%s`.\n\n", name, t->database,
               t->identity);
    if (near) {
        buf_printf(&text, "A reducer with a similar name exists: `%s`", near);
    } else if (n == 0) {
        buf_put_text(&text, "The database has no reducers.");
    } else {
        word = name;
        qsort(names, n, sizeof *names, nearer);
        buf_put_text(&text, "Here are some existing reducers:");
        for (size_t i = 0; i < MIN(n, (size_t)LISTED_MAX); i++)
            buf_printf(&text, "\n- %s", names[i]);
        if (n > LISTED_MAX)
            buf_printf(&text, "\n... (%zu reducer%s not shown)", n - LISTED_MAX, n - LISTED_MAX == 1 ? "" : "s");
    }
    cli_fail("%s", buf_cstr(&text));
}

static _Noreturn void wrong_arguments(const Target *t, const SchemaFunction *f, Str why)
{
    OWN(buf) Buf signature = {0};
    function_signature(&signature, f);
    cli_fail("Invalid arguments provided for reducer `%s` for database `%s` resolving to identity `%s`.\n\nThe reducer "
             "has the following signature:\n\t%s\n\n%.*s",
             f->name, t->database, t->identity, buf_cstr(&signature), STR_FMT(why));
}

int cmd_call(Cli *c, const Args *a)
{
    Target t = target_then(c, a, 1, "<FUNCTION>");
    const char *name = a->v[t.argi], *token = target_token(c, a, &t);
    target_identity(c, &t);
    HttpRequest ask = {.url = cli_text(c, "%s/v1/database/%s/schema?version=10", t.url, t.identity), .token = token};
    HttpResponse schema_text = http_send(c, &ask);
    http_expect_ok(c, &ask, &schema_text);
    Schema s;
    Error err = {0};
    if (schema_read(&s, schema_text.body, false, &c->arena, &err) != S_OK)
        cli_fail("cannot read the schema of `%s`: %s", t.database, err.text);
    const SchemaFunction *f = schema_reducer(&s, name);
    bool procedure = false;
    for (size_t i = 0; !f && i < s.nprocedures; i++) {
        procedure = strcmp(s.procedures[i].name, name) == 0;
        f = procedure ? &s.procedures[i] : NULL;
    }
    if (!f)
        no_such_function(c, &t, &s, name);
    OWN(buf) Buf json = {0};
    if (arguments_to_json(&json, a->n - t.argi - 1, a->v + t.argi + 1, f->params, &err) != S_OK)
        wrong_arguments(&t, f, str_of(err.text));
    HttpRequest r = {
        .method = "POST",
        .url = cli_text(c, "%s/v1/database/%s/call/%s", t.url, t.identity, url_encode(c, name)),
        .token = token,
        .body = buf_bytes(&json),
        .content_type = "application/json",
    };
    HttpResponse answer = http_send(c, &r);
    if (answer.status >= 400 && answer.body.len >= 17 && strncasecmp(answer.body.ptr, "invalid arguments", 17) == 0)
        wrong_arguments(&t, f, answer.body);
    if (answer.status < 200 || answer.status >= 300) {
        if (answer.status == 401)
            http_expect_ok(c, &r, &answer);
        cli_fail_cause(cli_text(c, "HTTP status %ld for POST %s", answer.status, r.url), "Response text: %.*s", STR_FMT(answer.body));
    }
    if (procedure) {
        cli_out(answer.body);
        cli_out(STR("\n"));
    }
    return 0;
}
