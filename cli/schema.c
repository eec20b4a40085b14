/* schema.c - see schema.h. */
#include "cli/schema.h"

#include <stdio.h>

/* The typespace, and what its slots are called. */
typedef struct Types {
    const Js *list;
    const Js *names; /* the section Types, or NULL: types are written out */
} Types;

static Status read_type(const Type **ret, const Js *v, const Types *types, int depth, Arena *a, Error *err);

static Str name_of_slot(const Types *types, int64_t slot)
{
    for (const Js *n = js_is(types->names, JS_ARRAY) ? types->names->first : NULL; n; n = n->next) {
        if (js_int(js_get(n, "ty"), -1) == slot)
            return js_str(js_get(js_get(n, "source_name"), "source_name"));
    }
    return (Str){"", 0};
}

static Status read_fields(const Js *list, const char *kind, const Types *types, int depth, Arena *a, uint32_t *ret_n, const Field **ret,
                          Error *err)
{
    if (!js_is(list, JS_ARRAY) || list->n > TYPE_FIELDS_MAX)
        return FAIL(err, S_INVALID, "schema: %s without a list of at most %d parts", kind, TYPE_FIELDS_MAX);
    Field *fields = ARENA_ARRAY(a, Field, list->n + 1);
    uint32_t n = 0;
    for (const Js *e = list->first; e; e = e->next, n++) {
        Str name = js_str(js_option(js_get(e, "name")));
        fields[n].name = name.len ? name : str_of(arena_sprintf(a, "%u", n));
        TRY(read_type(&fields[n].type, js_get(e, "algebraic_type"), types, depth + 1, a, err));
    }
    *ret_n = n;
    *ret = fields;
    return S_OK;
}

static Status read_type(const Type **ret, const Js *v, const Types *types, int depth, Arena *a, Error *err)
{
    static const struct {
        const char *name;
        TypeKind kind;
    } scalars[] = {
        {"Bool", TYPE_BOOL}, {"I8", TYPE_I8},   {"U8", TYPE_U8},   {"I16", TYPE_I16},       {"U16", TYPE_U16},   {"I32", TYPE_I32},
        {"U32", TYPE_U32},   {"I64", TYPE_I64}, {"U64", TYPE_U64}, {"I128", TYPE_I128},     {"U128", TYPE_U128}, {"I256", TYPE_I256},
        {"U256", TYPE_U256}, {"F32", TYPE_F32}, {"F64", TYPE_F64}, {"String", TYPE_STRING},
    };
    if (depth > TYPE_DEPTH_MAX)
        return FAIL(err, S_INVALID, "schema: types nested deeper than %d", TYPE_DEPTH_MAX);
    if (!js_is(v, JS_OBJECT) || v->n != 1)
        return FAIL(err, S_INVALID, "schema: expected a type such as {\"U64\":[]}");
    const Js *body = v->first;
    uint32_t n;
    const Field *fields;
    for (size_t i = 0; i < COUNT_OF(scalars); i++) {
        if (str_is(body->key, scalars[i].name)) {
            *ret = type_scalar(scalars[i].kind);
            return S_OK;
        }
    }
    if (str_is(body->key, "Ref")) {
        const Js *target = js_at(types->list, (size_t)js_int(body, INT64_MAX));
        if (!target)
            return FAIL(err, S_INVALID, "schema: a reference to type %.*s, which is not there", STR_FMT(body->text));
        TRY(read_type(ret, target, types, depth + 1, a, err));
        Str name = name_of_slot(types, js_int(body, -1));
        if (name.len) {
            Type *named = arena_copy(a, *ret, sizeof **ret);
            named->name = name;
            *ret = named;
        }
        return S_OK;
    }
    if (str_is(body->key, "Array")) {
        const Type *elem;
        TRY(read_type(&elem, body, types, depth + 1, a, err));
        *ret = type_array(a, elem);
    } else if (str_is(body->key, "Product")) {
        TRY(read_fields(js_get(body, "elements"), "a product", types, depth, a, &n, &fields, err));
        *ret = type_product(a, n, fields);
    } else if (str_is(body->key, "Sum")) {
        TRY(read_fields(js_get(body, "variants"), "a sum", types, depth, a, &n, &fields, err));
        if (n > TYPE_VARIANTS_MAX)
            return FAIL(err, S_INVALID, "schema: a sum of more than %d variants", TYPE_VARIANTS_MAX);
        *ret = type_sum(a, n, fields);
    } else {
        return FAIL(err, S_INVALID, "schema: unknown type `%.*s`", STR_FMT(body->key));
    }
    return type_check_limits(*ret, err);
}

Status type_from_json(const Type **ret, const Js *v, const Js *types, Arena *a, Error *err)
{
    return read_type(ret, v, &(Types){.list = types}, 0, a, err);
}

static Status read_product(const Type **ret, const Js *v, const Types *types, Arena *a, Error *err)
{
    uint32_t n;
    const Field *fields;
    TRY(read_fields(js_get(v, "elements"), "a product", types, 0, a, &n, &fields, err));
    *ret = type_product(a, n, fields);
    return type_check_limits(*ret, err);
}

Status product_from_json(const Type **ret, const Js *v, const Js *types, Arena *a, Error *err)
{
    return read_product(ret, v, &(Types){.list = types}, a, err);
}

static const Js *section(const Js *root, const char *name)
{
    const Js *list = js_get(root, "sections");
    for (const Js *s = js_is(list, JS_ARRAY) ? list->first : NULL; s; s = s->next) {
        if (js_get(s, name))
            return js_get(s, name);
    }
    return NULL;
}
static const Js *first_of(const Js *list) { return js_is(list, JS_ARRAY) ? list->first : NULL; }
static size_t length_of(const Js *list) { return js_is(list, JS_ARRAY) ? list->n : 0; }

/* ExplicitNames maps the author's names to those that clients and SQL use. */
static const char *canonical(const Js *root, const char *kind, Str source, Arena *a)
{
    for (const Js *e = first_of(js_get(section(root, "ExplicitNames"), "entries")); e; e = e->next) {
        const Js *names = js_get(e, kind);
        if (names && str_eq(js_str(js_get(names, "source_name")), source))
            return arena_str(a, js_str(js_get(names, "canonical_name"))).ptr;
    }
    return arena_str(a, source).ptr;
}

static Status read_functions(const Js *root, const Types *types, const char *what, SchemaFunction **ret, size_t *ret_n, Arena *a,
                             Error *err)
{
    const Js *list = section(root, what);
    SchemaFunction *out = ARENA_ARRAY(a, SchemaFunction, length_of(list) + 1);
    size_t n = 0;
    for (const Js *f = first_of(list); f; f = f->next, n++) {
        Str name = js_str(js_get(f, "source_name"));
        out[n] = (SchemaFunction){.source_name = arena_str(a, name).ptr, .name = canonical(root, "Function", name, a), .json = f};
        TRY(read_product(&out[n].params, js_get(f, "params"), types, a, err));
        out[n].is_private = js_get(js_get(f, "visibility"), "Private") != NULL;
        for (const Js *l = first_of(section(root, "LifeCycleReducers")); l; l = l->next) {
            const Js *spec = js_get(l, "lifecycle_spec");
            if (str_eq(js_str(js_get(l, "function_name")), name) && js_is(spec, JS_OBJECT) && spec->n == 1)
                out[n].lifecycle = arena_str(a, spec->first->key).ptr;
        }
    }
    *ret = out;
    *ret_n = n;
    return S_OK;
}

Status schema_read(Schema *ret, Str json, bool named, Arena *a, Error *err)
{
    Schema s = {0};
    TRY(js_parse(&s.json, json, false, a, err));
    if (!js_is(js_get(s.json, "sections"), JS_ARRAY))
        return FAIL(err, S_INVALID, "schema: expected {\"sections\":[...]}");
    const Js *list = section(s.json, "Tables"), *names = section(s.json, "Types");
    Types types = {.list = js_get(section(s.json, "Typespace"), "types"), .names = named ? names : NULL};
    s.tables = ARENA_ARRAY(a, SchemaTable, length_of(list) + 1);
    for (const Js *t = first_of(list); t; t = t->next) {
        SchemaTable *out = &s.tables[s.ntables++];
        Str name = js_str(js_get(t, "source_name"));
        *out = (SchemaTable){.source_name = arena_str(a, name).ptr, .name = canonical(s.json, "Table", name, a), .json = t};
        const Js *row = js_at(types.list, (size_t)js_int(js_get(t, "product_type_ref"), INT64_MAX));
        if (!row)
            return FAIL(err, S_INVALID, "schema: table `%s` has no row type", out->name);
        TRY(read_type(&out->row, row, &types, 0, a, err));
        const Js *pk = js_at(js_get(t, "primary_key"), 0);
        out->pk = (int32_t)js_int(pk, -1);
        out->is_public = js_get(js_get(t, "table_access"), "Public") != NULL;
        out->is_event = js_is(js_get(t, "is_event"), JS_BOOL) && js_get(t, "is_event")->truth;
    }
    TRY(read_functions(s.json, &types, "Reducers", &s.reducers, &s.nreducers, a, err));
    TRY(read_functions(s.json, &types, "Procedures", &s.procedures, &s.nprocedures, a, err));
    s.types = ARENA_ARRAY(a, SchemaType, length_of(names) + 1);
    for (const Js *n = first_of(names); n; n = n->next) {
        const Js *body = js_at(types.list, (size_t)js_int(js_get(n, "ty"), INT64_MAX));
        bool is_row = false;
        for (const Js *t = first_of(list); t; t = t->next)
            is_row |= js_int(js_get(t, "product_type_ref"), -1) == js_int(js_get(n, "ty"), -2);
        if (!body || is_row)
            continue;
        SchemaType *out = &s.types[s.ntypes++];
        out->name = arena_str(a, js_str(js_get(js_get(n, "source_name"), "source_name"))).ptr;
        TRY(read_type(&out->type, body, &types, 0, a, err));
    }
    *ret = s;
    return S_OK;
}

const SchemaTable *schema_table(const Schema *s, Str name)
{
    for (size_t i = 0; i < s->ntables; i++) {
        if (str_is(name, s->tables[i].name) || str_is(name, s->tables[i].source_name))
            return &s->tables[i];
    }
    return NULL;
}

const SchemaFunction *schema_reducer(const Schema *s, const char *name)
{
    for (size_t i = 0; i < s->nreducers; i++) {
        if (strcmp(s->reducers[i].name, name) == 0)
            return &s->reducers[i];
    }
    return NULL;
}

void function_signature(Buf *out, const SchemaFunction *f)
{
    buf_printf(out, "%s(", f->name);
    for (uint32_t i = 0; i < f->params->nfields; i++) {
        buf_printf(out, "%s%.*s: ", i ? ", " : "", STR_FMT(f->params->fields[i].name));
        type_name(out, f->params->fields[i].type);
    }
    buf_put_text(out, ")");
}
