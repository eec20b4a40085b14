/* cmd_publish.c - `spacetime publish`: build, show the plan, ask, upload. */
#include "cli/config.h"
#include "cli/http.h"
#include "cli/json_scan.h"
#include "cli/project.h"
#include "cli/prompt.h"
#include "host/wire/identity.h"

#include <errno.h>
#include <fnmatch.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <strings.h>

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
    if (!prompt_yes(arg_yes(a, "remote"), "Are you sure you want to proceed?"))
        cli_fail("Publish aborted by user.");
}

/* Asks for the plan. Returns the query to publish with; `*clear` may become true. */
static const char *preview(Cli *c, const Args *a, const Target *t, const char *token, Bytes program, DeleteData mode, bool *clear)
{
    puts("Checking for breaking changes...");
    fflush(stdout);
    HttpRequest r = {
        .method = "POST",
        .url = cli_text(c, "%s/v1/database/%s/pre_publish?style=%s&host_type=Native", t->url, url_encode(c, t->database),
                        c->color_out ? "AnsiColor" : "NoColor"),
        .token = token,
        .body = program,
    };
    HttpResponse answer = http_send(c, &r);
    if (answer.status == 404) {
        if (arg_given(a, "dry-run"))
            printf("There is no database `%s` yet: this publish would make it.\n", t->database);
        return "";
    }
    http_expect_ok(c, &r, &answer);
    const Js *v;
    Error err = {0};
    if (js_parse(&v, answer.body, false, &c->arena, &err) != S_OK)
        cli_fail("the server's migration plan cannot be read: %s", err.text);
    const Js *plan = js_get(v, "AutoMigrate"), *manual = js_get(v, "ManualMigrate");
    if (manual) {
        Str reason = js_str(js_get(manual, "reason"));
        printf("%.*s%s", STR_FMT(reason), reason.len && reason.ptr[reason.len - 1] == '\n' ? "" : "\n");
        if (mode == DELETE_ON_CONFLICT) {
            puts("The changes need a manual migration: the database will be deleted and made anew "
                 "(--delete-data=on-conflict).");
            *clear = true;
            return "";
        }
        fflush(stdout);
        cli_fail("Aborting: these changes need a manual migration. Nothing was changed.\n"
                 "Change the module as described above, or give up the data with --delete-data=on-conflict.");
    }
    if (!plan)
        cli_fail("the server's migration plan has an unknown form: %.*s", (int)MIN(answer.body.len, 200), answer.body.ptr);
    Str text = js_str(js_get(plan, "migrate_plan"));
    printf("%.*s%s", STR_FMT(text), text.len && text.ptr[text.len - 1] == '\n' ? "" : "\n");
    const Js *major = js_get(plan, "major_version_upgrade"), *breaks = js_get(plan, "break_clients");
    if (js_is(major, JS_BOOL) && major->truth && !arg_yes(a, "migrate") && !arg_given(a, "dry-run")) {
        char line[64];
        puts("This publish upgrades the database to a new major version; it cannot be undone.\nType `upgrade` to "
             "proceed:");
        if (!prompt_line(line, sizeof line) || strcasecmp(line, "upgrade") != 0)
            cli_fail("Publish aborted by user.");
    }
    if (js_is(breaks, JS_BOOL) && breaks->truth && !arg_given(a, "break-clients") && !arg_given(a, "dry-run") &&
        !prompt_yes(arg_yes(a, "break-clients"), "The above changes will BREAK existing clients. Do you want to proceed?"))
        cli_fail("Publish aborted by user; nothing was changed. (--break-clients answers this question.)");
    Str migration = js_str(js_get(plan, "token"));
    return cli_text(c, "&policy=BreakClients&token=%s", url_encode(c, migration.ptr));
}

static void report(Cli *c, const HttpRequest *r, const HttpResponse *answer, const char *token)
{
    const Js *v = NULL;
    Error err = {0};
    bool json = js_parse(&v, answer->body, false, &c->arena, &err) == S_OK;
    const Js *denied = json ? js_get(v, "PermissionDenied") : NULL;
    if (denied) {
        const char *me = token ? token_identity(c, token) : NULL;
        Str name = js_str(js_get(denied, "name"));
        cli_fail("the name `%.*s` belongs to somebody else. Choose another%s%.12s%s, or log in as its owner.", STR_FMT(name),
                 me ? ", such as `" : "", me ? me : "", me ? "`" : "");
    }
    http_expect_ok(c, r, answer);
    const Js *ok = json ? js_get(v, "Success") : NULL;
    if (!ok)
        cli_fail("the server's answer has an unknown form: %.*s", (int)MIN(answer->body.len, 200), answer->body.ptr);
    Str domain = js_str(js_option(js_get(ok, "domain"))), identity = js_str(js_get(ok, "database_identity"));
    const char *done = str_is(js_str(js_get(ok, "op")), "created") ? "Created new" : "Updated";
    if (domain.len)
        printf("%s database with name: %.*s, identity: %.*s\n", done, STR_FMT(domain), STR_FMT(identity));
    else
        printf("%s database with identity: %.*s\n", done, STR_FMT(identity));
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
    bool clear = false;
    const char *extra = "";
    if (t->database && mode == DELETE_ALWAYS) {
        printf("This will DESTROY the current %s module, and ALL corresponding data.\n", t->database);
        if (!prompt_yes(arg_yes(a, "delete-data"), "Are you sure you want to proceed? [deleting %s]", t->database))
            cli_fail("Publish aborted by user.");
        clear = true;
    } else if (t->database) {
        extra = preview(c, a, t, token, program, mode, &clear);
    }
    if (arg_given(a, "dry-run")) {
        puts("Dry run: nothing was published.");
        return;
    }
    puts("Publishing module...");
    fflush(stdout);
    HttpRequest r = {
        .method = t->database ? "PUT" : "POST",
        .url = t->database ? cli_text(c, "%s/v1/database/%s?host_type=Native%s%s", t->url, url_encode(c, t->database),
                                      clear ? "&clear=true" : "", extra)
                           : cli_text(c, "%s/v1/database?host_type=Native", t->url),
        .token = token,
        .body = program,
    };
    HttpResponse answer = http_send(c, &r);
    report(c, &r, &answer, token);
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
