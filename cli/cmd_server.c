/* cmd_server.c - `spacetime server ...`: the servers in cli.toml. */
#include "cli/config.h"
#include "cli/http.h"
#include "cli/json_scan.h"
#include "cli/prompt.h"
#include "cli/table.h"

#include <stdio.h>

static bool is_default(Cli *c, const Server *s)
{
    const char *d = config_get(c, "default_server");
    return d && ((s->nickname && strcmp(d, s->nickname) == 0) || strcmp(d, s->host) == 0);
}

static const char *one(const Args *a, const char *what)
{
    if (a->n == 0)
        cli_usage(a, "the following required arguments were not provided:\n  <%s>", what);
    if (a->n > 1)
        cli_usage(a, "unexpected argument '%s' found", a->v[1]);
    return a->v[0];
}

static const Server *saved(Cli *c, const char *name)
{
    const char *host = name;
    if (strstr(name, "://")) {
        const char *protocol;
        url_split(c, name, &protocol, &host);
    }
    const Server *s = config_server(c, host);
    if (!s)
        cli_fail("No such saved server configuration: %s\n\nThe saved ones are shown by `spacetime server list`.", name);
    return s;
}

static const char *url_of(Cli *c, const Server *s) { return cli_text(c, "%s://%s", s->protocol, s->host); }

/* The public key that the server signs tokens with. */
static const char *fetch_key(Cli *c, const char *url)
{
    HttpRequest r = {.url = cli_text(c, "%s/v1/identity/public-key", url), .timeout_ms = 30000};
    HttpResponse answer = http_try(c, &r);
    if (answer.status != 200)
        cli_fail_cause(answer.failure ? answer.failure : cli_text(c, "HTTP status %ld", answer.status),
                       "cannot get the fingerprint of %s. Is the server running? With --no-fingerprint it is not asked.", url);
    return answer.body.ptr;
}

int cmd_server_list(Cli *c, const Args *a)
{
    const Config *g = cli_config(c);
    static const char *const heads[] = {"DEFAULT", "HOSTNAME", "PROTOCOL", "NICKNAME"};
    TextTable t = text_table_new(&c->arena, COUNT_OF(heads));
    for (size_t i = 0; i < COUNT_OF(heads); i++)
        text_table_cell(&t, str_of(heads[i]));
    for (size_t i = 0; i < g->nservers; i++) {
        const Server *s = &g->servers[i];
        text_table_cell(&t, is_default(c, s) ? STR("***") : STR(""));
        text_table_cell(&t, str_of(s->host));
        text_table_cell(&t, str_of(s->protocol));
        text_table_cell(&t, str_of(s->nickname ? s->nickname : ""));
    }
    OWN(buf) Buf out = {0};
    text_table_print_plain(&out, &t, 0);
    cli_out(buf_str(&out));
    (void)a;
    return 0;
}

int cmd_server_add(Cli *c, const Args *a)
{
    const char *name = one(a, "NAME"), *url = arg_value(a, "url"), *protocol, *host;
    if (!url)
        cli_usage(a, "the following required arguments were not provided:\n  --url <URL>");
    url_split(c, url, &protocol, &host);
    if (strstr(name, "://"))
        cli_fail("`%s` cannot be a nickname: it looks like a URL", name);
    if (config_server(c, name))
        cli_fail("the nickname `%s` is taken; see `spacetime server list`", name);
    const Server *same = config_server(c, host);
    if (same)
        cli_fail("the host %s is saved already%s%s%s; change it with `spacetime server edit`", host, same->nickname ? " as `" : "",
                 same->nickname ? same->nickname : "", same->nickname ? "`" : "");
    const char *key = arg_given(a, "no-fingerprint") ? NULL : fetch_key(c, cli_text(c, "%s://%s", protocol, host));
    Config *g = cli_config(c);
    size_t section = toml_add_section(&g->toml, "server_configs");
    toml_set(&g->toml, section, "nickname", str_of(name));
    toml_set(&g->toml, section, "host", str_of(host));
    toml_set(&g->toml, section, "protocol", str_of(protocol));
    if (key)
        toml_set(&g->toml, section, "ecdsa_public_key", str_of(key));
    config_reread(c);
    if (key)
        printf("Fingerprint for server %s:\n%s\n", name, key);
    printf("Host: %s\nProtocol: %s\n", host, protocol);
    if (arg_given(a, "default"))
        config_set(c, "default_server", name);
    config_save(c);
    return 0;
}

int cmd_server_remove(Cli *c, const Args *a)
{
    const Server *s = saved(c, one(a, "SERVER"));
    bool was_default = is_default(c, s);
    toml_remove_section(&cli_config(c)->toml, s->section);
    config_reread(c);
    if (was_default) {
        config_set(c, "default_server", NULL);
        puts("It was the default server; choose another one with `spacetime server set-default NAME`.");
    }
    config_save(c);
    return 0;
}

int cmd_server_set_default(Cli *c, const Args *a)
{
    const Server *s = saved(c, one(a, "SERVER"));
    config_set(c, "default_server", s->nickname ? s->nickname : s->host);
    config_save(c);
    return 0;
}

int cmd_server_edit(Cli *c, const Args *a)
{
    const Server *s = saved(c, one(a, "SERVER"));
    const char *name = arg_value(a, "new-name"), *url = arg_value(a, "url"), *protocol = s->protocol, *host = s->host;
    if (!name && !url)
        cli_usage(a, "nothing to change: give --new-name or --url");
    const Server *taken = name ? config_server(c, name) : NULL;
    if (taken && taken != s)
        cli_fail("the nickname `%s` is taken; see `spacetime server list`", name);
    if (url)
        url_split(c, url, &protocol, &host);
    if (name)
        printf("Nickname: %s -> %s\n", s->nickname ? s->nickname : "(none)", name);
    if (url)
        printf("Address: %s -> %s://%s\n", url_of(c, s), protocol, host);
    const char *key = url && !arg_given(a, "no-fingerprint") ? fetch_key(c, cli_text(c, "%s://%s", protocol, host)) : NULL;
    if (!prompt_yes(arg_given(a, "yes"), "Continue?"))
        cli_fail("Aborted");
    Config *g = cli_config(c);
    bool was_default = is_default(c, s);
    size_t section = s->section;
    if (url) {
        toml_set(&g->toml, section, "host", str_of(host));
        toml_set(&g->toml, section, "protocol", str_of(protocol));
        toml_unset(&g->toml, section, "ecdsa_public_key");
    }
    if (key)
        toml_set(&g->toml, section, "ecdsa_public_key", str_of(key));
    if (name)
        toml_set(&g->toml, section, "nickname", str_of(name));
    const char *called = name ? name : s->nickname ? s->nickname : host;
    config_reread(c);
    if (was_default)
        config_set(c, "default_server", called);
    config_save(c);
    return 0;
}

/* The server named by the positional, or the default one. */
static const char *named_or_default(Cli *c, const Args *a)
{
    const char *name = a->n ? one(a, "SERVER") : config_get(c, "default_server");
    if (!name)
        cli_fail("there is no default server; name one");
    if (!strstr(name, "://"))
        return url_of(c, saved(c, name));
    const char *protocol, *host;
    url_split(c, name, &protocol, &host);
    return cli_text(c, "%s://%s", protocol, host);
}

int cmd_server_ping(Cli *c, const Args *a)
{
    const char *url = named_or_default(c, a);
    HttpRequest r = {.url = cli_text(c, "%s/v1/ping", url), .timeout_ms = 30000};
    HttpResponse answer = http_send(c, &r);
    if (answer.status == 200)
        printf("Server is online: %s\n", url);
    else if (answer.status == 404)
        printf("Server returned 404 (Not Found): %s\n", url);
    else
        printf("Server could not be reached (%ld): %s\n", answer.status, url);
    return 0;
}

int cmd_server_fingerprint(Cli *c, const Args *a)
{
    const Server *s = saved(c, one(a, "SERVER"));
    const char *key = fetch_key(c, url_of(c, s)), *name = s->nickname ? s->nickname : s->host;
    if (s->key && strcmp(s->key, key) == 0) {
        printf("Fingerprint is unchanged for server %s:\n%s\n", name, key);
        return 0;
    }
    if (s->key) {
        printf("Fingerprint has changed for server %s.\nWas:\n%s\nNew:\n%s\n", name, s->key, key);
        if (!prompt_yes(arg_given(a, "yes"), "Continue?"))
            cli_fail("Aborted");
    } else {
        printf("No saved fingerprint for server %s. New fingerprint:\n%s\n", name, key);
    }
    toml_set(&cli_config(c)->toml, s->section, "ecdsa_public_key", str_of(key));
    config_reread(c);
    config_save(c);
    return 0;
}

int cmd_server_status(Cli *c, const Args *a)
{
    const char *url = a->n ? named_or_default(c, a) : target_server(c, a, NULL).url;
    HttpRequest r = {.url = cli_text(c, "%s/v1/server/status", url), .timeout_ms = 30000};
    HttpResponse answer = http_send(c, &r);
    if (answer.status == 404)
        cli_fail("%s has no status to show: it is a host of another edition", url);
    http_expect_ok(c, &r, &answer);
    const Js *v;
    Error err = {0};
    if (arg_given(a, "json")) {
        cli_out(answer.body);
        cli_out(STR("\n"));
        return 0;
    }
    if (js_parse(&v, answer.body, false, &c->arena, &err) != S_OK)
        cli_fail("the status of %s cannot be read: %s", url, err.text);
    OWN(buf) Buf out = {0};
    buf_printf(&out, "Server: %s\nVersion: %.*s\nUptime: %lld s\nStorage: %.*s\n\n", url, STR_FMT(js_str(js_get(v, "version"))),
               (long long)js_int(js_get(v, "uptime_seconds"), 0), STR_FMT(js_str(js_get(v, "storage"))));
    const Js *contained = js_get(v, "containment");
    if (js_is(contained, JS_OBJECT)) {
        Str missing = js_str(js_get(contained, "missing"));
        out.len -= 1; /* the empty line comes behind */
        buf_printf(&out, "Workers: %s",
                   js_get(contained, "confined") && str_is(js_get(contained, "confined")->text, "true") ? "confined" : "NOT confined");
        buf_printf(&out, " (Landlock ABI %lld, seccomp: %.*s, a user for each database: %.*s)\n",
                   (long long)js_int(js_get(contained, "landlock_abi"), 0),
                   STR_FMT(js_get(contained, "seccomp") ? js_get(contained, "seccomp")->text : STR("?")),
                   STR_FMT(js_get(contained, "own_users") ? js_get(contained, "own_users")->text : STR("?")));
        if (missing.len)
            buf_printf(&out, "Missing: %.*s\n", STR_FMT(missing));
        buf_put_text(&out, "\n");
    }
    static const char *const keys[] = {"name", "identity", "state", "durable", "materialised", "blocked_by", "error"};
    TextTable t = text_table_new(&c->arena, COUNT_OF(keys));
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        text_table_cell(&t, str_of(keys[i]));
    const Js *databases = js_get(v, "databases");
    for (const Js *d = js_is(databases, JS_ARRAY) ? databases->first : NULL; d; d = d->next) {
        for (size_t i = 0; i < COUNT_OF(keys); i++) {
            const Js *field = js_get(d, keys[i]);
            text_table_cell(&t, !field ? STR("") : field->kind == JS_STRING ? field->string : field->text);
        }
    }
    text_table_print(&out, &t);
    cli_out(buf_str(&out));
    return 0;
}
