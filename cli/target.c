/* target.c - which server and which database a command means (cli.md 1.3 to 1.5). */
#include "cli/config.h"
#include "cli/http.h"
#include "cli/json_scan.h"
#include "cli/project.h"
#include "host/wire/identity.h"

#include <stdio.h>

static const char *server_choice(Cli *c, const Args *a, const char *from_project)
{
    const char *given = arg_value(a, "server"), *env = getenv("SPACETIME_SERVER");
    if (given || from_project)
        return given ? given : from_project;
    if (env && env[0])
        return env;
    const char *chosen = config_get(c, "default_server");
    if (!chosen)
        cli_fail("there is no default server; choose one with `spacetime server set-default NAME` or name it with --server");
    return chosen;
}

static void resolve(Cli *c, Target *t)
{
    if (strstr(t->server, "://")) {
        const char *protocol, *host;
        url_split(c, t->server, &protocol, &host);
        t->url = cli_text(c, "%s://%s", protocol, host);
        return;
    }
    const Server *s = config_server(c, t->server);
    if (s) {
        t->url = cli_text(c, "%s://%s", s->protocol, s->host);
        return;
    }
    const Config *g = cli_config(c);
    const char **names = ARENA_ARRAY(&c->arena, const char *, g->nservers + 1);
    size_t n = 0;
    for (size_t i = 0; i < g->nservers; i++) {
        if (g->servers[i].nickname)
            names[n++] = g->servers[i].nickname;
    }
    const char *near = suggest(t->server, names, n);
    cli_fail("No such saved server configuration: %s\n%s%s%s\nSave it with `spacetime server add %s --url "
             "http://HOST:PORT`, or give the URL itself.",
             t->server, near ? "\nA server with a similar name exists: `" : "", near ? near : "", near ? "`\n" : "", t->server);
}

Target target_server(Cli *c, const Args *a, const Project *p)
{
    Target t = {.server = server_choice(c, a, p ? p->root.server : NULL)};
    resolve(c, &t);
    return t;
}

static _Noreturn void required(const Args *a, const char *what)
{
    fflush(stdout);
    fprintf(stderr, "Error: the following required arguments were not provided:\n  %s\n\nUsage: spacetime %s %s\n", what, a->path,
            a->command->args);
    exit(1);
}

static Target with_project_server(Cli *c, const Args *a, const char *database, const char *server, int argi)
{
    Target t = {.database = database, .argi = argi, .server = server_choice(c, a, server)};
    resolve(c, &t);
    return t;
}

static const ProjectTarget *known(const Project *p, const char *name)
{
    for (size_t i = 0; p && i < p->n; i++) {
        if (strcmp(p->targets[i].database, name) == 0)
            return &p->targets[i];
    }
    return NULL;
}

Target target_optional(Cli *c, const Args *a)
{
    const Project *p = project_find(c, a);
    if (a->n > 1)
        cli_usage(a, "unexpected argument '%s' found", a->v[1]);
    if (a->n == 0) {
        if (!p || p->n != 1)
            required(a, "<database>");
        return with_project_server(c, a, p->targets[0].database, p->targets[0].server, 0);
    }
    const ProjectTarget *t = known(p, a->v[0]);
    return with_project_server(c, a, a->v[0], t ? t->server : NULL, 1);
}

Target target_then(Cli *c, const Args *a, int need, const char *what)
{
    const Project *p = project_find(c, a);
    size_t n = p ? p->n : 0;
    if (n == 0) {
        if (a->n < 1 + need)
            required(a, a->n == 0 ? cli_text(c, "<database>%s%s", need ? " " : "", what) : what);
        return with_project_server(c, a, a->v[0], p ? p->root.server : NULL, 1);
    }
    if (n == 1) {
        int skip = a->n > 0 && strcmp(a->v[0], p->targets[0].database) == 0;
        if (a->n - skip < need)
            required(a, what);
        return with_project_server(c, a, p->targets[0].database, p->targets[0].server, skip);
    }
    const ProjectTarget *t = a->n > 0 ? known(p, a->v[0]) : NULL;
    if (!t) {
        OWN(buf) Buf list = {0};
        for (size_t i = 0; i < n; i++)
            buf_printf(&list, "%s`%s`", i ? ", " : "", p->targets[i].database);
        if (a->n == 0)
            required(a, "<database>");
        cli_fail("`%s` is no database of %s, which has %s.\nName one of these first, or use --no-config to reach a "
                 "database outside the project.",
                 a->v[0], p->files[0], buf_cstr(&list));
    }
    if (a->n - 1 < need)
        required(a, what);
    return with_project_server(c, a, t->database, t->server, 1);
}

const char *target_identity(Cli *c, Target *t)
{
    uint8_t id[32];
    char hex[65];
    if (t->identity)
        return t->identity;
    if (identity_from_hex(id, str_of(t->database))) {
        identity_to_hex(hex, id);
        return t->identity = cli_text(c, "%s", hex);
    }
    Error err = {0};
    if (database_name_check(str_of(t->database), &err) != S_OK)
        cli_fail("`%s` is no database: %s", t->database, err.text);
    HttpRequest r = {.url = cli_text(c, "%s/v1/database/%s/identity", t->url, url_encode(c, t->database)), .timeout_ms = 30000};
    HttpResponse answer = http_send(c, &r);
    if (answer.status == 404)
        cli_fail("failed to find database `%s`.\n\nYour databases on %s are listed by `spacetime list`; make this one "
                 "with `spacetime publish %s`.",
                 t->database, t->url, t->database);
    http_expect_ok(c, &r, &answer);
    if (!identity_from_hex(id, answer.body))
        cli_fail("%s did not answer with an identity, but with `%.*s`: is it a SpacetimeDB host?", t->url, (int)MIN(answer.body.len, 100),
                 answer.body.ptr);
    identity_to_hex(hex, id);
    return t->identity = cli_text(c, "%s", hex);
}

/* ---- tokens ---- */

static bool base64url(Buf *out, Str s)
{
    uint32_t bits = 0;
    int n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        int v = c >= 'A' && c <= 'Z'   ? c - 'A'
                : c >= 'a' && c <= 'z' ? c - 'a' + 26
                : c >= '0' && c <= '9' ? c - '0' + 52
                : c == '-' || c == '+' ? 62
                : c == '_' || c == '/' ? 63
                                       : -1;
        if (c == '=')
            break;
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        n += 6;
        if (n >= 8) {
            n -= 8;
            uint8_t byte = (uint8_t)(bits >> n);
            buf_put(out, &byte, 1);
        }
    }
    return true;
}

const char *token_identity(Cli *c, const char *token)
{
    const char *payload = strchr(token, '.'), *end = payload ? strchr(payload + 1, '.') : NULL;
    if (!end)
        return NULL;
    OWN(buf) Buf text = {0};
    const Js *claims;
    Error ignored;
    if (!base64url(&text, (Str){payload + 1, (size_t)(end - payload - 1)}) ||
        js_parse(&claims, buf_str(&text), false, &c->arena, &ignored) != S_OK)
        return NULL;
    Str issuer = js_str(js_get(claims, "iss")), subject = js_str(js_get(claims, "sub"));
    if (!issuer.len || !subject.len)
        return NULL;
    uint8_t id[32];
    char hex[65];
    identity_from_claims(id, issuer, subject);
    identity_to_hex(hex, id);
    return cli_text(c, "%s", hex);
}

const char *login_directly(Cli *c, const char *url)
{
    HttpRequest r = {.method = "POST", .url = cli_text(c, "%s/v1/identity", url), .timeout_ms = 30000};
    HttpResponse answer = http_send(c, &r);
    http_expect_ok(c, &r, &answer);
    const Js *v;
    Error err = {0};
    if (js_parse(&v, answer.body, false, &c->arena, &err) != S_OK || !js_str(js_get(v, "token")).len)
        cli_fail("%s gave no token: is it a SpacetimeDB host?", url);
    Str token = js_str(js_get(v, "token")), identity = js_str(js_get(v, "identity"));
    config_set(c, "spacetimedb_token", token.ptr);
    config_save(c);
    printf("We have logged in directly to your target server.\n"
           "WARNING: This login will NOT work for any other servers.\n"
           "Logged in with identity %.*s\n",
           STR_FMT(identity));
    return cli_text(c, "%.*s", STR_FMT(token));
}

const char *target_token(Cli *c, const Args *a, const Target *t)
{
    bool has_anonymous = false;
    for (size_t i = 0; i < a->command->noptions; i++)
        has_anonymous |= strcmp(a->command->options[i].name, "anonymous") == 0;
    if (has_anonymous && arg_given(a, "anonymous"))
        return NULL;
    const char *env = getenv("SPACETIME_TOKEN");
    if (env && env[0])
        return env;
    const Config *g = cli_config(c);
    for (size_t i = 0; i < g->nservers; i++) {
        const Server *s = &g->servers[i];
        if (s->token && strcmp(t->url, cli_text(c, "%s://%s", s->protocol, s->host)) == 0)
            return s->token;
    }
    const char *saved = config_get(c, "spacetimedb_token");
    return saved ? saved : login_directly(c, t->url);
}
