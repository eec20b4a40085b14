/* cmd_sql.c - `spacetime sql`: one statement, or a prompt. */
#include "cli/cell.h"
#include "cli/cli.h"
#include "cli/http.h"
#include "cli/project.h"
#include "cli/schema.h"
#include "cli/table.h"

#include <editline/readline.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* One element of the answer as a table. */
static void print_statement(Cli *c, Buf *out, const Js *statement)
{
    const Type *row;
    Error err = {0};
    if (product_from_json(&row, js_get(statement, "schema"), NULL, &c->arena, &err) != S_OK)
        cli_fail("the server's answer cannot be read: %s", err.text);
    TextTable table = text_table_new(&c->arena, row->nfields);
    const Js *names = js_get(js_get(statement, "schema"), "elements"), *rows = js_get(statement, "rows");
    size_t i = 0;
    for (const Js *e = js_is(names, JS_ARRAY) ? names->first : NULL; e; e = e->next, i++) {
        Str name = js_str(js_option(js_get(e, "name")));
        text_table_cell(&table, name.len ? name : str_of(cli_text(c, "column %zu", i)));
    }
    OWN(buf) Buf cell = {0};
    for (const Js *r = js_is(rows, JS_ARRAY) ? rows->first : NULL; r; r = r->next) {
        if (!js_is(r, JS_ARRAY) || r->n != row->nfields)
            cli_fail("the server's answer cannot be read: a row of %zu values under %u columns", r->n, row->nfields);
        const Js *v = r->first;
        for (uint32_t k = 0; k < row->nfields; k++, v = v->next) {
            buf_reset(&cell);
            cell_format(&cell, v, row->fields[k].type);
            text_table_cell(&table, buf_str(&cell));
        }
    }
    text_table_print(out, &table);
}

static const Js *statements(Cli *c, Str body)
{
    const Js *v;
    Error err = {0};
    if (js_parse(&v, body, false, &c->arena, &err) != S_OK || !js_is(v, JS_ARRAY))
        cli_fail("the server's answer cannot be read: %s", err.code ? err.text : "it is no list of results");
    return v;
}

static HttpRequest request(Cli *c, const Args *a, const Target *t, const char *token, const char *query)
{
    const char *confirmed = arg_value(a, "confirmed");
    return (HttpRequest){
        .method = "POST",
        .url = cli_text(c, "%s/v1/database/%s/sql%s%s", t->url, t->identity, confirmed ? "?confirmed=" : "", confirmed ? confirmed : ""),
        .token = token,
        .body = bytes_of(query, strlen(query)),
        .content_type = "text/plain",
    };
}

static void one_shot(Cli *c, const Args *a, const Target *t, const char *token, const char *query, bool json)
{
    HttpRequest r = request(c, a, t, token, query);
    HttpResponse answer = http_send(c, &r);
    http_expect_ok(c, &r, &answer);
    OWN(buf) Buf out = {0};
    if (json) {
        buf_put_str_raw(&out, answer.body);
        buf_put_text(&out, "\n");
    } else {
        for (const Js *s = statements(c, answer.body)->first; s; s = s->next) {
            print_statement(c, &out, s);
            buf_put_text(&out, s->next ? "\n" : "");
        }
    }
    cli_out(buf_str(&out));
}

static void counts(Buf *out, const Js *statement, double roundtrip_ms)
{
    static const struct {
        const char *key, *name;
    } kinds[] = {{"rows_inserted", "inserted"}, {"rows_deleted", "deleted"}, {"rows_updated", "updated"}};
    const Js *rows = js_get(statement, "rows"), *stats = js_get(statement, "stats");
    size_t n = js_is(rows, JS_ARRAY) ? rows->n : 0;
    buf_printf(out, "(%zu row%s) [", n, n == 1 ? "" : "s");
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        int64_t k = js_int(js_get(stats, kinds[i].key), 0);
        if (k)
            buf_printf(out, "%s: %lld, ", kinds[i].name, (long long)k);
    }
    buf_printf(out, "server: %.2fms]\nRoundtrip time: %.2fms\n", (double)js_int(js_get(statement, "total_duration_micros"), 0) / 1000.0,
               roundtrip_ms);
}

/* A statement typed at the prompt: errors are shown and the prompt goes on. */
static void at_prompt(Cli *c, const Args *a, const Target *t, const char *token, const char *query)
{
    HttpRequest r = request(c, a, t, token, query);
    uint64_t begin = clock_monotonic_ns();
    HttpResponse answer = http_try(c, &r);
    double ms = (double)(clock_monotonic_ns() - begin) / 1e6;
    if (answer.failure || answer.status != 200) {
        bool color = c->color_out && isatty(STDERR_FILENO);
        fflush(stdout);
        fprintf(stderr, "%sError: %.*s%s\n", color ? "\033[31m" : "", answer.failure ? (int)strlen(answer.failure) : (int)answer.body.len,
                answer.failure ? answer.failure : answer.body.ptr, color ? "\033[0m" : "");
        return;
    }
    OWN(buf) Buf out = {0};
    for (const Js *s = statements(c, answer.body)->first; s; s = s->next) {
        print_statement(c, &out, s);
        counts(&out, s, ms);
    }
    cli_out(buf_str(&out));
}

static int interactive(Cli *c, const Args *a, const Target *t, const char *token)
{
    bool terminal = isatty(STDIN_FILENO);
    const char *home = getenv("HOME"), *history_path = home && home[0] ? cli_text(c, "%s/.stdb.history.txt", home) : NULL;
    const char *prompt = cli_text(c, "%s> ", t->database);
    if (terminal) {
        printf("SQL on `%s`. Statements end with the line; `.exit` leaves, `.clear` clears the screen.\n", t->database);
        using_history();
        if (history_path)
            read_history(history_path);
    }
    size_t cap = 0;
    OWN(free) char *buffer = NULL;
    for (;;) {
        char *line;
        if (terminal) {
            line = readline(prompt);
        } else { /* statements from a pipe or a file */
            ssize_t n = getline(&buffer, &cap, stdin);
            line = n < 0 ? NULL : x_strdup(buffer);
        }
        if (!line) {
            if (terminal)
                puts("\nAborted!");
            break;
        }
        char *text = line + strspn(line, " \t");
        size_t n = strlen(text);
        while (n && (text[n - 1] == '\n' || text[n - 1] == ' ' || text[n - 1] == '\r'))
            text[--n] = 0;
        bool leave = strcmp(text, ".exit") == 0;
        if (terminal && n)
            add_history(text);
        if (strcmp(text, ".clear") == 0)
            cli_out(STR("\033[2J\033[H"));
        else if (n && !leave && strncmp(text, "--", 2) != 0)
            at_prompt(c, a, t, token, text);
        free(line);
        if (leave)
            break;
    }
    if (terminal && history_path)
        write_history(history_path);
    return 0;
}

int cmd_sql(Cli *c, const Args *a)
{
    const char *format = arg_value(a, "format"), *confirmed = arg_value(a, "confirmed");
    bool json = format && strcmp(format, "json") == 0;
    if (format && !json && strcmp(format, "text") != 0)
        cli_usage(a, "invalid value '%s' for '--format <text|json>'\n  [possible values: text, json]", format);
    if (confirmed && strcmp(confirmed, "true") != 0 && strcmp(confirmed, "false") != 0)
        cli_usage(a, "invalid value '%s' for '--confirmed <true|false>'", confirmed);
    if (arg_given(a, "interactive")) {
        Target t = target_optional(c, a);
        const char *token = target_token(c, a, &t);
        target_identity(c, &t);
        return interactive(c, a, &t, token);
    }
    const Project *p = project_find(c, a);
    if (p && p->n > 1 && a->n == 1 && strchr(a->v[0], ' ')) {
        OWN(buf) Buf list = {0};
        for (size_t i = 0; i < p->n; i++)
            buf_printf(&list, "%s`%s`", i ? ", " : "", p->targets[i].database);
        cli_fail("%s has several databases: %s. Name one:\n    spacetime sql %s \"%s\"", p->files[0], buf_cstr(&list),
                 p->targets[0].database, a->v[0]);
    }
    Target t = target_then(c, a, 1, "<query>");
    OWN(buf) Buf query = {0};
    for (int i = t.argi; i < a->n; i++)
        buf_printf(&query, "%s%s", i > t.argi ? " " : "", a->v[i]);
    const char *token = target_token(c, a, &t);
    target_identity(c, &t);
    one_shot(c, a, &t, token, buf_cstr(&query), json);
    return 0;
}
