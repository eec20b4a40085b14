/* cmd_publish.c - `spacetime publish`: build, show the plan, ask, upload. */
#include "cli/clean.h"
#include "cli/config.h"
#include "cli/http.h"
#include "cli/json_scan.h"
#include "cli/project.h"
#include "cli/prompt.h"
#include "host/wire/identity.h"
#include "host/wire/sats_json.h"

#include <errno.h>
#include <fnmatch.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

typedef enum DeleteData { DELETE_NEVER, DELETE_ON_CONFLICT, DELETE_ALWAYS } DeleteData;

static DeleteData delete_data(const Args *a)
{
    const char *option = arg_given(a, "delete-data") ? "delete-data" : "clear-database", *value = arg_value(a, option);
    if (!arg_given(a, option))
        return DELETE_NEVER;
    if (!value || strcmp(value, "always") == 0)
        return DELETE_ALWAYS;
    if (strcmp(value, "on-conflict") == 0)
        return DELETE_ON_CONFLICT;
    if (strcmp(value, "never") == 0)
        return DELETE_NEVER;
    cli_usage(a, "invalid value '%s' for '--%s'\n  [possible values: always, on-conflict, never]", value, option);
}

static void check_yes(const Args *a)
{
    static const char *const kinds[] = {"all", "remote", "migrate", "break-clients", "skip-login", "delete-data"};
    const char *value = arg_value(a, "yes");
    for (const char *p = value ? value : ""; *p;) {
        size_t n = strcspn(p, ",");
        bool known = false;
        for (size_t i = 0; i < COUNT_OF(kinds); i++)
            known |= str_is((Str){p, n}, kinds[i]);
        if (!known)
            cli_usage(a,
                      "invalid value '%.*s' for '--yes'\n  [possible values: all, remote, migrate, break-clients, "
                      "skip-login, delete-data]",
                      (int)n, p);
        p += n + (p[n] == ',');
    }
}

static Bytes read_module(Cli *c, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        cli_fail("cannot read the module %s: %s", path, strerror(errno));
    Buf b = buf_with_max((size_t)256 << 20);
    uint8_t piece[65536];
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_put(&b, piece, n);
    bool bad = ferror(f);
    fclose(f);
    if (bad || !buf_ok(&b))
        cli_fail("cannot read the module %s: %s", path, bad ? "input error" : "it is larger than 256 MiB");
    Bytes out = {arena_copy(&c->arena, b.len ? b.ptr : (const uint8_t *)"", b.len), b.len};
    buf_done(&b);
    if (out.len >= 4 && memcmp(out.ptr, "\0asm", 4) == 0)
        cli_fail("%s is a WebAssembly module; this edition runs native modules written in C (make one with `spacetime "
                 "init NAME`)",
                 path);
    if (out.len < 20 || memcmp(out.ptr, "\177ELF", 4) != 0)
        cli_fail("%s is no shared library (.so): it does not begin as an ELF file does", path);
    uint16_t type = load_u16(out.ptr + 16);
    if (type != 3 /* ET_DYN */)
        cli_fail("%s is no shared library: it was linked without -shared", path);
    return out;
}

/* Native code must only go to a host that runs it. Hosts without the route are left to refuse by themselves. */
static void check_edition(Cli *c, const Target *t)
{
    HttpRequest r = {.url = cli_text(c, "%s/v1/health", t->url), .timeout_ms = 30000};
    HttpResponse answer = http_send(c, &r);
    const Js *v;
    Error ignored;
    if (answer.status != 200 || js_parse(&v, answer.body, false, &c->arena, &ignored) != S_OK)
        return;
    Str package = js_str(js_get(v, "package_name"));
    if (package.len && !str_is(package, "spacetime-pg"))
        cli_fail("%s is no host of this edition (it calls itself `%.*s`): it does not run native modules", t->url, STR_FMT(package));
}

static bool is_local(const char *url)
{
    const char *host = strstr(url, "://") + 3;
    size_t n = strcspn(host, ":");
    return host[0] == '[' ? strncmp(host, "[::1]", 5) == 0 : str_is((Str){host, n}, "localhost") || str_is((Str){host, n}, "127.0.0.1");
}

static void ask_remote(const Args *a, const Target *t, Bytes program)
{
    if (is_local(t->url))
        return;
    uint8_t digest[32];
    char hex[65];
    SHA256(program.ptr, program.len, digest);
    hex_encode(hex, digest, 32);
    printf("You are about to publish to a non-local server: %s\nSHA-256 of the module: %s\n", strstr(t->url, "://") + 3, hex);
    bool yes = arg_yes(a, "remote");
    if (!yes && arg_given(a, "json"))
        cli_fail("nobody is asked with --json: --yes=remote publishes to a server that is not this machine");
    if (!prompt_yes(yes, "Are you sure you want to proceed?"))
        cli_fail("Publish aborted by user; nothing was changed.");
}

/* ---- one publish ---- */

typedef struct Publishing {
    Cli *c;
    const Args *a;
    Target *t;
    const char *token;
    Bytes program;
    bool dry_run, json, clear;
    const char *extra; /* of the query: policy and token */
    const Js *answer;  /* of the preview: AutoMigrate or ManualMigrate; NULL: there is none */
    const char *verdict;
} Publishing;

/* A question: answered by a flag, else by a person; programs (--json) and dry runs are not asked. */
static bool asked(const Publishing *p, bool yes, const char *flag, const char *question)
{
    if (!yes && p->json) {
        fprintf(stderr, "%s\nNobody is asked with --json: %s answers this question.\n", question, flag);
        return false;
    }
    return prompt_yes(yes, "%s", question);
}

static void print_text(Str text, bool colours)
{
    OWN(buf) Buf out = {0};
    put_clean(&out, text, colours);
    if (out.len && out.ptr[out.len - 1] != '\n')
        buf_put_text(&out, "\n");
    cli_out(buf_str(&out));
}

static void print_clients(const Js *clients)
{
    enum { SHOWN = 20 };
    if (!js_is(clients, JS_ARRAY) || clients->n == 0)
        return;
    OWN(buf) Buf out = {0};
    buf_printf(&out, "\n%zu connected client%s would be disturbed:\n", clients->n, clients->n == 1 ? "" : "s");
    size_t n = 0;
    for (const Js *one = clients->first; one && n < SHOWN; one = one->next, n++) {
        Str identity = js_str(js_get(one, "identity")), connection = js_str(js_get(one, "connection_id"));
        buf_put_text(&out, "    ");
        put_clean(&out, (Str){identity.ptr, MIN(identity.len, (size_t)16)}, false);
        buf_put_text(&out, "..., connection ");
        put_clean(&out, (Str){connection.ptr, MIN(connection.len, (size_t)16)}, false);
        buf_put_text(&out, "...\n");
        const Js *effects = js_get(one, "effects");
        for (const Js *e = js_is(effects, JS_ARRAY) ? effects->first : NULL; e; e = e->next) {
            buf_put_text(&out, "        ");
            put_clean(&out, js_str(e), false);
            buf_put_text(&out, "\n");
        }
    }
    if (clients->n > n)
        buf_printf(&out, "    and %zu more\n", clients->n - n);
    cli_out(buf_str(&out));
}

static void show_plan(const Publishing *p)
{
    print_text(js_str(js_get(p->answer, "migrate_plan")), p->c->color_out && !p->json);
    print_clients(js_get(p->answer, "clients"));
    Str sql = js_str(js_get(p->answer, "sql"));
    if ((p->dry_run || arg_given(p->a, "sql")) && sql.len) {
        cli_out(STR("\nSQL, in one transaction:\n"));
        print_text(sql, false);
    }
}

static void refuse(Publishing *p, DeleteData mode)
{
    p->verdict = "refused";
    print_text(js_str(js_get(p->answer, "reason")), false);
    if (mode != DELETE_ON_CONFLICT)
        cli_fail("Aborting: these changes need a manual migration. Nothing was changed.\n"
                 "Change the module as described above, write an ST_MIGRATION, or give up the data with --delete-data=on-conflict.");
    if (p->dry_run)
        return;
    char *question =
        cli_text(p->c, "The changes need a manual migration: going on DELETES all data of %s. Do you want to proceed?", p->t->database);
    if (!asked(p, arg_yes(p->a, "delete-data"), "--yes=delete-data", question))
        cli_fail("Publish aborted by user; nothing was changed.");
    p->clear = true;
}

static void ask_major(const Publishing *p)
{
    const Js *major = js_get(p->answer, "major_version_upgrade");
    if (!js_is(major, JS_BOOL) || !major->truth)
        return;
    if (arg_yes(p->a, "migrate")) {
        puts("Skipping confirmation due to --yes");
        return;
    }
    char line[64];
    puts("This publish upgrades the database to a new major version; it cannot be undone.\nType `upgrade` to proceed:");
    if (p->json || !prompt_line(line, sizeof line) || strcasecmp(line, "upgrade") != 0)
        cli_fail("Publish aborted by user; nothing was changed. (--yes=migrate answers this question.)");
}

static void ask_break(Publishing *p)
{
    const Js *breaks = js_get(p->answer, "break_clients");
    if (!js_is(breaks, JS_BOOL) || !breaks->truth)
        return;
    p->verdict = "breaks_clients";
    if (p->dry_run)
        return;
    if (arg_given(p->a, "break-clients"))
        puts("Skipping confirmation due to --break-clients");
    else if (!asked(p, arg_yes(p->a, "break-clients"), "--break-clients",
                    "The above changes will BREAK existing clients. Do you want to proceed?"))
        cli_fail("Publish aborted by user; nothing was changed. (--break-clients answers this question.)");
}

/* Asks the server for the plan, shows it, and asks what must be asked. */
static void preview(Publishing *p, DeleteData mode)
{
    Cli *c = p->c;
    puts(p->dry_run ? "Running the publish without its COMMIT..." : "Checking for breaking changes...");
    fflush(stdout);
    HttpRequest r = {
        .method = "POST",
        .url = cli_text(c, "%s/v1/database/%s/pre_publish?style=%s&host_type=Native%s", p->t->url, url_encode(c, p->t->database),
                        c->color_out && !p->json ? "AnsiColor" : "NoColor", p->dry_run ? "&dry_run=true" : ""),
        .token = p->token,
        .body = p->program,
    };
    HttpResponse answer = http_send(c, &r);
    if (answer.status == 404) {
        p->verdict = "new";
        if (p->dry_run)
            printf("There is no database `%s` yet: this publish would make it.\n", p->t->database);
        return;
    }
    http_expect_ok(c, &r, &answer);
    const Js *v;
    Error err = {0};
    if (js_parse(&v, answer.body, false, &c->arena, &err) != S_OK)
        cli_fail("the server's migration plan cannot be read: %s", err.text);
    if ((p->answer = js_get(v, "ManualMigrate"))) {
        refuse(p, mode);
        return;
    }
    p->answer = js_get(v, "AutoMigrate");
    if (!p->answer)
        cli_fail("the server's migration plan has an unknown form");
    show_plan(p);
    if (!p->dry_run)
        ask_major(p);
    ask_break(p);
    Str migration = js_str(js_get(p->answer, "token"));
    p->extra = cli_text(c, "&policy=BreakClients&token=%s", url_encode(c, cli_text(c, "%.*s", STR_FMT(migration))));
}

/* ---- the result ---- */

static const Js *report(const Publishing *p, const HttpRequest *r, const HttpResponse *answer)
{
    Cli *c = p->c;
    const Js *v = NULL;
    Error err = {0};
    bool json = js_parse(&v, answer->body, false, &c->arena, &err) == S_OK;
    const Js *denied = json ? js_get(v, "PermissionDenied") : NULL;
    if (denied) {
        const char *me = p->token ? token_identity(c, p->token) : NULL;
        Str name = js_str(js_get(denied, "name"));
        cli_fail("the name `%.*s` belongs to somebody else. Choose another%s%.12s%s, or log in as its owner.", STR_FMT(name),
                 me ? ", such as `" : "", me ? me : "", me ? "`" : "");
    }
    if (answer->status == 400 && memmem(answer->body.ptr, answer->body.len, "Token provided is invalid", 25))
        cli_fail("somebody else has published to `%s` since the plan was shown: publish again to see the new plan", p->t->database);
    http_expect_ok(c, r, answer);
    const Js *ok = json ? js_get(v, "Success") : NULL;
    if (!ok)
        cli_fail("the server's answer has an unknown form");
    Str domain = js_str(js_option(js_get(ok, "domain"))), identity = js_str(js_get(ok, "database_identity"));
    const char *done = str_is(js_str(js_get(ok, "op")), "created") ? "Created new" : "Updated";
    OWN(buf) Buf out = {0};
    buf_printf(&out, "%s database with ", done);
    if (domain.len) {
        buf_put_text(&out, "name: ");
        put_clean(&out, domain, false);
        buf_put_text(&out, ", ");
    }
    buf_put_text(&out, "identity: ");
    put_clean(&out, identity, false);
    buf_put_text(&out, "\n");
    cli_out(buf_str(&out));
    return ok;
}

/* ---- for programs ---- */

static FILE *json_out; /* the real stdout, while everything else goes to stderr; NULL without --json */

static void json_member(Buf *out, const char *name, const Js *v)
{
    buf_printf(out, ",\"%s\":", name);
    if (v)
        js_compact(out, v);
    else
        buf_put_text(out, "null");
}

static void print_json(const Publishing *p, const Js *result)
{
    OWN(buf) Buf out = {0};
    buf_put_text(&out, "{\"database\":");
    json_put_string(&out, p->t->database ? str_of(p->t->database) : STR(""));
    buf_printf(&out, ",\"verdict\":\"%s\",\"dry_run\":%s", p->verdict, p->dry_run ? "true" : "false");
    json_member(&out, "plan", js_get(p->answer, "plan"));
    json_member(&out, "sql", js_get(p->answer, "sql"));
    json_member(&out, "clients", js_get(p->answer, "clients"));
    json_member(&out, "executed", js_get(p->answer, "executed"));
    json_member(&out, "result", result);
    buf_put_text(&out, "}\n");
    fwrite(out.ptr, 1, out.len, json_out);
    fflush(json_out);
}

static const Publishing *failing; /* with --json: what a failure is reported for */

static void print_failure(const char *text)
{
    OWN(buf) Buf out = {0};
    buf_put_text(&out, "{\"database\":");
    json_put_string(&out, failing && failing->t->database ? str_of(failing->t->database) : STR(""));
    buf_printf(&out, ",\"verdict\":\"%s\",\"error\":", failing && failing->verdict ? failing->verdict : "failed");
    json_put_string(&out, str_of(text));
    json_member(&out, "plan", failing ? js_get(failing->answer, "plan") : NULL);
    buf_put_text(&out, "}\n");
    fwrite(out.ptr, 1, out.len, json_out);
    fflush(json_out);
}

/* Everything that is printed for people goes to stderr from here on. */
static void speak_json(void)
{
    fflush(stdout);
    int fd = dup(STDOUT_FILENO);
    json_out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!json_out || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        cli_fail("--json: standard output cannot be set apart: %s", strerror(errno));
    cli_on_failure = print_failure;
}

static void publish_one(Cli *c, const Args *a, Target *t, const char *dir, const char *bin)
{
    const char *token = target_token(c, a, t), *options = arg_value(a, "build-options");
    uint8_t id[32];
    Error err = {0};
    const char *slash = t->database ? strchr(t->database, '/') : NULL;
    if (slash)
        cli_fail("`%s`: databases of this edition have no parents; publish `%s`", t->database, slash + 1);
    if (t->database && !identity_from_hex(id, str_of(t->database)) && database_name_check(str_of(t->database), &err) != S_OK)
        cli_fail("`%s` cannot be a database's name: %s. Names are lower-case letters, digits and single hyphens, as in "
                 "my-game-2",
                 t->database, err.text);
    check_edition(c, t);
    const char *path = bin ? bin : module_build(c, dir, options && (strstr(options, "--debug") || strstr(options, "-d")));
    if (bin)
        printf("Skipping build. Instead we are publishing %s\n", bin);
    Bytes program = read_module(c, path);
    ask_remote(a, t, program);
    printf("Uploading to %s => %s\n", t->server, t->url);
    DeleteData mode = delete_data(a);
    Publishing p = {.c = c,
                    .a = a,
                    .t = t,
                    .token = token,
                    .program = program,
                    .dry_run = arg_given(a, "dry-run"),
                    .json = arg_given(a, "json"),
                    .extra = "",
                    .verdict = "ok"};
    failing = &p;
    if (t->database && mode == DELETE_ALWAYS) {
        printf("This will DESTROY the current %s module, and ALL corresponding data.\n", t->database);
        char *question = cli_text(c, "Are you sure you want to proceed? [deleting %s]", t->database);
        if (!p.dry_run && !asked(&p, arg_yes(a, "delete-data"), "--yes=delete-data", question))
            cli_fail("Publish aborted by user; nothing was changed.");
        p.clear = true;
    } else if (t->database) {
        preview(&p, mode);
    } else {
        p.verdict = "new";
    }
    if (p.dry_run) {
        const Js *us = js_get(js_get(p.answer, "executed"), "duration_us");
        if (us)
            printf("PostgreSQL took %.1f ms.\n", (double)js_int(us, 0) / 1000);
        puts("Dry run: nothing was published.");
        if (p.json)
            print_json(&p, NULL);
        failing = NULL;
        return;
    }
    puts("Publishing module...");
    fflush(stdout);
    HttpRequest r = {
        .method = t->database ? "PUT" : "POST",
        .url = t->database ? cli_text(c, "%s/v1/database/%s?host_type=Native%s%s", t->url, url_encode(c, t->database),
                                      p.clear ? "&clear=true" : "", p.clear ? "" : p.extra)
                           : cli_text(c, "%s/v1/database?host_type=Native", t->url),
        .token = token,
        .body = program,
    };
    HttpResponse answer = http_send(c, &r);
    const Js *result = report(&p, &r, &answer);
    if (p.json)
        print_json(&p, result);
    failing = NULL;
}

int cmd_publish(Cli *c, const Args *a)
{
    if (a->n > 1)
        cli_usage(a, "unexpected argument '%s' found", a->v[1]);
    if (arg_given(a, "js-path"))
        cli_fail("--js-path: JavaScript modules are not supported by this edition; modules are written in C");
    if (arg_given(a, "bin-path") && (arg_given(a, "module-path") || arg_given(a, "build-options")))
        cli_usage(a, "the argument '--bin-path <FILE>' cannot be used with '--module-path' or '--build-options'");
    check_yes(a);
    if (arg_given(a, "json"))
        speak_json();
    const Project *p = project_find(c, a);
    const char *name = a->n ? a->v[0] : NULL, *bin = arg_value(a, "bin-path"), *module = arg_value(a, "module-path");
    for (size_t i = 0; p && i < p->nfiles; i++)
        printf("Using configuration from %s\n", p->files[i]);
    size_t chosen = 0;
    const ProjectTarget *list[64];
    for (size_t i = 0; p && i < p->n; i++) {
        if (!name || fnmatch(name, p->targets[i].database, 0) == 0)
            list[chosen++] = &p->targets[i];
    }
    if (chosen == 0) {
        ProjectTarget only = p ? p->n == 1 ? p->targets[0] : p->root : (ProjectTarget){0};
        if (p && p->n > 1 && name)
            cli_fail("no database of %s matches `%s`; use --no-config to publish outside the project", p->files[0], name);
        if (p && !name)
            cli_fail("%s names no database; give one: `spacetime publish NAME`", p->files[0]);
        only.database = name;
        list[0] = &only;
        Target t = target_server(c, a, p);
        t.database = name;
        bin = bin ? bin : module ? NULL : only.bin_path;
        publish_one(c, a, &t, bin ? NULL : module_path(c, module ? module : only.module_path, NULL), bin);
        return 0;
    }
    if (chosen > 1 && (module || bin || arg_given(a, "build-options")))
        cli_fail("--module-path, --bin-path and --build-options are for one database; name it: `spacetime publish %s ...`",
                 list[0]->database);
    for (size_t i = 0; i < chosen; i++) {
        Project one = *p;
        one.root.server = list[i]->server;
        Target t = target_server(c, a, &one);
        t.database = list[i]->database;
        const char *b = bin ? bin : module ? NULL : list[i]->bin_path;
        const char *dir = b ? NULL : module_path(c, module ? module : list[i]->module_path, NULL);
        printf("Publishing module %s to database '%s'\n", b ? b : dir, t.database);
        publish_one(c, a, &t, dir, b);
    }
    return 0;
}
