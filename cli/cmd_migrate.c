/* cmd_migrate.c - `spacetime migrate history`: the publishes of a database, from its catalog. */
#include "cli/clean.h"
#include "cli/http.h"
#include "cli/json_scan.h"
#include "cli/table.h"

#include <stdio.h>
#include <time.h>

/* "2026-01-31T12:00:00.000000Z" in local time, without the fraction; as it came when it has another form. */
static Str local_time(Cli *c, Str text)
{
    struct tm tm = {0};
    const char *utc = cli_text(c, "%.*s", STR_FMT(text));
    if (!strptime(utc, "%Y-%m-%dT%H:%M:%S", &tm))
        return text;
    time_t t = timegm(&tm);
    char out[40];
    localtime_r(&t, &tm);
    strftime(out, sizeof out, "%Y-%m-%d %H:%M:%S", &tm);
    return arena_str(&c->arena, str_of(out));
}

static Str duration(Cli *c, int64_t us)
{
    return str_of(us < 1000000 ? cli_text(c, "%.1f ms", (double)us / 1000) : cli_text(c, "%.2f s", (double)us / 1000000));
}

/* "AddColumns user, AddIndex user, and 3 more" */
static Str summary(Cli *c, const Js *record, bool first)
{
    enum { SHOWN = 3 };
    const Js *reset = js_get(record, "reset"), *steps = js_get(js_get(record, "steps"), "steps");
    if (js_is(reset, JS_BOOL) && reset->truth)
        return STR("reset: all data deleted");
    if (first)
        return STR("created");
    Buf out = {0};
    size_t n = 0, more = 0;
    for (const Js *s = js_is(steps, JS_ARRAY) ? steps->first : NULL; s; s = s->next) {
        Str kind = js_str(js_get(s, "kind")), table = js_str(js_get(s, "table")), name = js_str(js_get(s, "name"));
        if (str_is(kind, "UpdateView") || str_is(kind, "DisconnectAllUsers"))
            continue;
        if (n == SHOWN) {
            more++;
            continue;
        }
        Str what = table.len ? table : name;
        buf_printf(&out, "%s%.*s%s%.*s", n++ ? ", " : "", STR_FMT(kind), what.len ? " " : "", STR_FMT(what));
    }
    if (more)
        buf_printf(&out, ", and %zu more", more);
    Str text = n ? arena_str(&c->arena, buf_str(&out)) : STR("functions only");
    buf_done(&out);
    return text;
}

static void print_indented(Buf *out, Str text)
{
    OWN(buf) Buf clean = {0};
    put_clean(&clean, text, false);
    for (size_t i = 0; i < clean.len;) {
        const uint8_t *end = memchr(clean.ptr + i, '\n', clean.len - i);
        size_t n = end ? (size_t)(end - clean.ptr) - i : clean.len - i;
        buf_put_text(out, n ? "    " : "");
        buf_put(out, clean.ptr + i, n);
        buf_put_text(out, "\n");
        i += n + 1;
    }
}

static void print_details(Buf *out, const Args *a, const Js *list)
{
    for (const Js *r = list->first; r; r = r->next) {
        buf_printf(out, "\nVersion %lld\n", (long long)js_int(js_get(r, "version"), 0));
        if (arg_given(a, "plan"))
            print_indented(out, js_str(js_get(r, "plan")));
        if (arg_given(a, "sql"))
            print_indented(out, js_str(js_get(r, "sql")));
    }
}

static void print_table(Cli *c, Buf *out, const Js *list, const char *me)
{
    static const char *const heads[] = {"Version", "Published", "By", "Took", "Migration", "What"};
    TextTable t = text_table_new(&c->arena, COUNT_OF(heads));
    for (size_t i = 0; i < COUNT_OF(heads); i++)
        text_table_cell(&t, str_of(heads[i]));
    for (const Js *r = list->first; r; r = r->next) {
        Str who = js_str(js_get(r, "publisher"));
        int64_t version = js_int(js_get(r, "version"), 0), migration = js_int(js_get(r, "migration"), 0);
        text_table_cell(&t, str_of(cli_text(c, "%lld", (long long)version)));
        text_table_cell(&t, local_time(c, js_str(js_get(r, "published_at"))));
        text_table_cell(&t, me && str_is(who, me) ? STR("you") : str_of(cli_text(c, "%.*s...", (int)MIN(who.len, (size_t)12), who.ptr)));
        text_table_cell(&t, duration(c, js_int(js_get(r, "duration_us"), 0)));
        text_table_cell(&t, migration ? str_of(cli_text(c, "%lld", (long long)migration)) : STR(""));
        text_table_cell(&t, summary(c, r, version == 1));
    }
    text_table_print(out, &t);
}

int cmd_migrate_history(Cli *c, const Args *a)
{
    const char *lines = arg_value(a, "num-lines");
    if (lines && (lines[0] == 0 || lines[strspn(lines, "0123456789")] != 0 || strlen(lines) > 6 || strspn(lines, "0") == strlen(lines)))
        cli_usage(a, "invalid value '%s' for '--num-lines <N>': expected a number from 1 on", lines);
    Target target = target_optional(c, a);
    const char *token = target_token(c, a, &target);
    target_identity(c, &target);
    HttpRequest r = {
        .url = cli_text(c, "%s/v1/database/%s/migrations%s%s", target.url, target.identity, lines ? "?limit=" : "", lines ? lines : ""),
        .token = token,
        .timeout_ms = 60000,
    };
    HttpResponse answer = http_send(c, &r);
    http_expect_ok(c, &r, &answer);
    const Js *list;
    Error err = {0};
    if (js_parse(&list, answer.body, false, &c->arena, &err) != S_OK || !js_is(list, JS_ARRAY))
        cli_fail("the server's history cannot be read: %s", err.code ? err.text : "it is no list");
    OWN(buf) Buf out = {0};
    if (arg_given(a, "json")) {
        js_pretty(&out, list, 0);
        buf_put_text(&out, "\n");
    } else {
        print_table(c, &out, list, token ? token_identity(c, token) : NULL);
        if (arg_given(a, "plan") || arg_given(a, "sql"))
            print_details(&out, a, list);
    }
    cli_out(buf_str(&out));
    return 0;
}
