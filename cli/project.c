/* project.c - see project.h. */
#include "cli/project.h"
#include "cli/json_scan.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const Js *read_layer(Cli *c, const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f && errno == ENOENT)
        return NULL;
    if (!f)
        cli_fail("cannot read %s: %s", path, strerror(errno));
    OWN(buf) Buf text = buf_with_max(1 << 20);
    char piece[4096];
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_put(&text, piece, n);
    fclose(f);
    const Js *root = NULL;
    Error err = {0};
    if (!buf_ok(&text))
        cli_fail("%s is larger than 1 MiB", path);
    if (js_parse(&root, buf_str(&text), true, &c->arena, &err) != S_OK)
        cli_fail("%s is not valid: %s", path, err.text);
    if (!js_is(root, JS_OBJECT))
        cli_fail("%s is not valid: expected an object, as in { \"database\": \"my-db\" }", path);
    return root;
}

/* The later layer wins, key by key; kebab and snake case are the same. */
static const Js *key_of(const Js *object, const char *name)
{
    const Js *v = js_get(object, name);
    char snake[32];
    snprintf(snake, sizeof snake, "%s", name);
    for (char *p = snake; *p; p++)
        *p = *p == '-' ? '_' : *p;
    return v ? v : js_get(object, snake);
}

static const char *text_of(Cli *c, const Project *p, const Js *base, const Js *local, const char *key)
{
    const Js *v = local ? key_of(local, key) : NULL;
    v = v ? v : key_of(base, key);
    if (!v || v->kind == JS_NULL)
        return NULL;
    if (v->kind != JS_STRING)
        cli_fail("%s/spacetime.json: `%s` must be a string, but is %.*s", p->dir, key, (int)MIN(v->text.len, 60), v->text.ptr);
    return cli_text(c, "%.*s", STR_FMT(v->string));
}

static const char *path_of(Cli *c, const Project *p, const char *path)
{
    return !path || path[0] == '/' ? path : cli_text(c, "%s/%s", p->dir, strncmp(path, "./", 2) == 0 ? path + 2 : path);
}

static void read_target(Cli *c, Project *p, const Js *base, const Js *local, const ProjectTarget *parent, int depth)
{
    ProjectTarget t = *parent;
    t.database = text_of(c, p, base, local, "database");
    const char *server = text_of(c, p, base, local, "server"), *module = text_of(c, p, base, local, "module-path"),
               *bin = text_of(c, p, base, local, "bin-path");
    t.server = server ? server : t.server;
    if (module || bin) {
        t.module_path = path_of(c, p, module);
        t.bin_path = path_of(c, p, bin);
    }
    if (depth == 0)
        p->root = t;
    bool known = !t.database;
    for (size_t i = 0; i < p->n && !known; i++)
        known = strcmp(p->targets[i].database, t.database) == 0;
    if (!known && p->n < COUNT_OF(p->targets))
        p->targets[p->n++] = t;
    const Js *children = key_of(base, "children"), *theirs = local ? key_of(local, "children") : NULL;
    size_t i = 0;
    for (const Js *child = js_is(children, JS_ARRAY) && depth < 16 ? children->first : NULL; child; child = child->next, i++)
        read_target(c, p, child, js_at(theirs, i), &t, depth + 1);
}

const Project *project_find(Cli *c, const Args *a)
{
    char dir[PATH_MAX];
    struct stat st;
    if (arg_given(a, "no-config") || !getcwd(dir, sizeof dir))
        return NULL;
    for (;;) {
        const char *path = cli_text(c, "%s/spacetime.json", strcmp(dir, "/") == 0 ? "" : dir);
        if (stat(path, &st) == 0)
            break;
        char *slash = strrchr(dir, '/');
        if (!slash || slash == dir)
            return NULL;
        *slash = 0;
    }
    Project *p = ARENA_NEW(&c->arena, Project);
    p->dir = cli_text(c, "%s", dir);
    const char *names[] = {"spacetime.json", "spacetime.local.json"};
    const Js *layers[2] = {NULL, NULL};
    for (size_t i = 0; i < 2; i++) {
        const char *path = cli_text(c, "%s/%s", p->dir, names[i]);
        layers[i] = read_layer(c, path);
        if (layers[i])
            p->files[p->nfiles++] = path;
    }
    ProjectTarget nothing = {0};
    read_target(c, p, layers[0], layers[1], &nothing, 0);
    return p;
}
