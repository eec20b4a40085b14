/* cmd_describe.c - `spacetime describe`: the definition, for people or as JSON. */
#include "cli/http.h"
#include "cli/schema.h"
#include "cli/state.h"

#include <stdio.h>

static void column_list(Buf *out, const Js *cols, const Type *row)
{
    for (const Js *k = cols && js_is(cols, JS_ARRAY) ? cols->first : NULL; k; k = k->next) {
        int64_t i = js_int(k, -1);
        Str name = i >= 0 && i < row->nfields ? row->fields[i].name : STR("?");
        buf_printf(out, "%s%.*s", js_at(cols, 0) == k ? "" : ", ", STR_FMT(name));
    }
}

static bool holds_column(const Js *cols, uint32_t i) { return js_is(cols, JS_ARRAY) && cols->n == 1 && js_int(js_at(cols, 0), -1) == i; }

static void print_table(Buf *out, const SchemaTable *t)
{
    const Js *constraints = js_get(t->json, "constraints"), *sequences = js_get(t->json, "sequences"),
             *indexes = js_get(t->json, "indexes");
    buf_printf(out, "table %s (%s%s)\n", t->name, t->is_public ? "public" : "private", t->is_event ? ", event" : "");
    int width = 0;
    for (uint32_t i = 0; i < t->row->nfields; i++)
        width = MAX(width, (int)t->row->fields[i].name.len);
    for (uint32_t i = 0; i < t->row->nfields; i++) {
        buf_printf(out, "    %-*.*s  ", width, STR_FMT(t->row->fields[i].name));
        type_name(out, t->row->fields[i].type);
        buf_put_text(out, t->pk == (int32_t)i ? "  primary key" : "");
        for (const Js *k = js_is(constraints, JS_ARRAY) ? constraints->first : NULL; k; k = k->next) {
            if (t->pk != (int32_t)i && holds_column(js_get(js_get(js_get(k, "data"), "Unique"), "columns"), i))
                buf_put_text(out, "  unique");
        }
        for (const Js *s = js_is(sequences, JS_ARRAY) ? sequences->first : NULL; s; s = s->next)
            buf_put_text(out, js_int(js_get(s, "column"), -1) == i ? "  numbered" : "");
        buf_put_text(out, "\n");
    }
    for (const Js *x = js_is(indexes, JS_ARRAY) ? indexes->first : NULL; x; x = x->next) {
        const Js *algorithm = js_get(x, "algorithm"), *cols = js_is(algorithm, JS_OBJECT) ? algorithm->first : NULL;
        buf_printf(out, "    index %.*s (", STR_FMT(js_str(js_option(js_get(x, "source_name")))));
        column_list(out, cols, t->row);
        buf_put_text(out, ")\n");
    }
}

static void print_function(Buf *out, const char *kind, const SchemaFunction *f)
{
    buf_printf(out, "%s ", kind);
    function_signature(out, f);
    if (f->lifecycle)
        buf_printf(out, "  called by the host: %s", f->lifecycle);
    else if (f->is_private)
        buf_put_text(out, "  private");
    buf_put_text(out, "\n");
}

static void print_all(Buf *out, const Schema *s)
{
    for (size_t i = 0; i < s->ntables; i++) {
        print_table(out, &s->tables[i]);
        buf_put_text(out, "\n");
    }
    for (size_t i = 0; i < s->ntypes; i++) {
        buf_printf(out, "type %s = ", s->types[i].name);
        type_name(out, s->types[i].type);
        buf_put_text(out, i + 1 == s->ntypes ? "\n\n" : "\n");
    }
    for (size_t i = 0; i < s->nreducers; i++)
        print_function(out, "reducer", &s->reducers[i]);
    for (size_t i = 0; i < s->nprocedures; i++)
        print_function(out, "procedure", &s->procedures[i]);
    if (s->ntables + s->nreducers + s->nprocedures == 0)
        buf_put_text(out, "The module declares nothing.\n");
}

int cmd_describe(Cli *c, const Args *a)
{
    Target t = target_then(c, a, 0, "");
    int rest = a->n - t.argi;
    const char *kind = rest > 0 ? a->v[t.argi] : NULL, *name = kind && rest > 1 ? a->v[t.argi + 1] : NULL;
    if (kind && strcmp(kind, "table") != 0 && strcmp(kind, "reducer") != 0)
        cli_fail("`%s` cannot be described: expected `table NAME` or `reducer NAME` after the database", kind);
    if (rest != 0 && rest != 2)
        cli_fail("expected `%s NAME` and nothing more", kind);
    const char *token = target_token(c, a, &t);
    target_identity(c, &t);
    HttpRequest r = {.url = cli_text(c, "%s/v1/database/%s/schema?version=10", t.url, t.identity), .token = token};
    const Js *status = arg_given(a, "json") || kind ? NULL : get_status(c, t.url);
    const char *state = status ? database_state(c, status, str_of(t.identity)) : NULL;
    HttpResponse answer = http_send(c, &r);
    if (answer.status != 200 && state) /* a database that is stopped cannot tell its schema */
        printf("State: %s\n", state);
    http_expect_ok(c, &r, &answer);
    Schema s;
    Error err = {0};
    if (schema_read(&s, answer.body, true, &c->arena, &err) != S_OK)
        cli_fail("cannot read the schema of `%s`: %s", t.database, err.text);
    const SchemaTable *table = name && kind[0] == 't' ? schema_table(&s, str_of(name)) : NULL;
    const SchemaFunction *reducer = name && kind[0] == 'r' ? schema_reducer(&s, name) : NULL;
    if (name && !table && !reducer) {
        size_t n = kind[0] == 't' ? s.ntables : s.nreducers;
        const char **names = ARENA_ARRAY(&c->arena, const char *, n + 1);
        for (size_t i = 0; i < n; i++)
            names[i] = kind[0] == 't' ? s.tables[i].name : s.reducers[i].name;
        const char *near = suggest(name, names, n);
        cli_fail("no such %s: `%s`%s%s%s", kind, name, near ? "\n\nOne with a similar name exists: `" : "", near ? near : "",
                 near ? "`" : "");
    }
    OWN(buf) Buf out = {0};
    if (arg_given(a, "json")) {
        js_pretty(&out, table ? table->json : reducer ? reducer->json : s.json, 0);
        buf_put_text(&out, "\n");
    } else if (table) {
        print_table(&out, table);
    } else if (reducer) {
        print_function(&out, "reducer", reducer);
    } else {
        if (state)
            buf_printf(&out, "State: %s\n\n", database_state(c, get_status(c, t.url), str_of(t.identity)));
        print_all(&out, &s);
    }
    cli_out(buf_str(&out));
    return 0;
}
