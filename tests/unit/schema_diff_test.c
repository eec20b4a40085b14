/* schema_diff_test.c - plans: which steps, which reasons, of which class. The numbers are those of section 6 of the migration sheet
 * (schema-and-migration.md): every case of it that is about verdict and steps. The sheet's "ACK ... Disconnect" for appended columns is the
 * reference's behaviour; the seed keeps connections (D6, D9), so they are WARN here.
 *
 * A module is written as text (parse_module); what the builder cannot say is put into the ModuleDef afterwards (tweak). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>

#include "host/schema/diff.h"

/* ---- modules as text --------------------------------------------------------------------------
 * module   = { table | reducer | procedure | view | rule } separated by ';'
 * table    = NAME '(' column {',' column} ')' { " i:" col {'+' col} | " pub" | " priv" | " ev" | " sch:" FUNCTION | " hash:" col |
 *            " direct:" col | " acc:" NAME (accessor of the first index) | " src:" NAME (its source name) | " name:" NAME (its name) |
 *            " as:" NAME (the table's source name) | " col:" col '=' NAME (a column's source name) | " inc:" N }; "__" in NAME is a dot
 * column   = NAME type { '*' key | '!' unique | '~' auto-increment | '=' default zero }
 * type     = scalar | enumABC | s1 {A(u8) B} | s2 {.. C(i8)} | s3 {.. C(u32)} | p1 {x} | p2 {x y} | p3 {z} | opt:type | arr:type | box:type
 * reducer  = '@' NAME '(' [columns] ')' { " init" | " connect" }     procedure = '%' NAME ':' type
 * view     = '$' NAME '(' columns ')' { " opt" | " anon" | " priv" | " pk:" col | " params" }
 * rule     = '#' TEXT */

static const Type *type_of(ModuleBuilder *b, const char *name)
{
    static const struct {
        const char *name;
        TypeKind kind;
    } kinds[] = {{"u8", TYPE_U8},      {"i8", TYPE_I8},          {"u16", TYPE_U16},  {"u32", TYPE_U32},
                 {"u64", TYPE_U64},    {"i64", TYPE_I64},        {"f64", TYPE_F64},  {"f32", TYPE_F32},
                 {"str", TYPE_STRING}, {"at", TYPE_SCHEDULE_AT}, {"bool", TYPE_BOOL}};
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return type_scalar(kinds[i].kind);
    Arena *a = module_builder_arena(b);
    if (strncmp(name, "opt:", 4) == 0)
        return type_option(a, type_of(b, name + 4));
    if (strncmp(name, "arr:", 4) == 0)
        return type_array(a, type_of(b, name + 4));
    if (strncmp(name, "box:", 4) == 0) {
        Field f = {.name = STR("v"), .type = type_of(b, name + 4)};
        return module_builder_named(b, STR("Box"), type_product(a, 1, &f));
    }
    Field v[8];
    uint32_t n = 0;
    if (strncmp(name, "enum", 4) == 0) {
        for (const char *c = name + 4; *c; c++)
            v[n++] = (Field){.name = {c, 1}, .type = &type_unit};
        return module_builder_named(b, STR("Kind"), type_sum(a, n, v));
    }
    if (name[0] == 's') {
        v[n++] = (Field){.name = STR("A"), .type = type_scalar(TYPE_U8)};
        v[n++] = (Field){.name = STR("B"), .type = &type_unit};
        if (name[1] > '1')
            v[n++] = (Field){.name = STR("C"), .type = type_scalar(name[1] == '2' ? TYPE_I8 : TYPE_U32)};
        return module_builder_named(b, STR("Shape"), type_sum(a, n, v));
    }
    v[n++] = (Field){.name = name[1] == '3' ? STR("z") : STR("x"), .type = type_scalar(TYPE_U32)};
    if (name[1] == '2')
        v[n++] = (Field){.name = STR("y"), .type = type_scalar(TYPE_U32)};
    return module_builder_named(b, STR("Point"), type_product(a, n, v));
}

static BuilderColumn parse_column(ModuleBuilder *b, char *text)
{
    char *type = strchr(text, ' ');
    *type++ = 0;
    size_t len = strcspn(type, "*!~=");
    BuilderColumn c = {.name = str_of(text)};
    for (char *f = type + len; *f; f++)
        c.flags |= *f == '*' ? COLUMN_PK : *f == '!' ? COLUMN_UNIQUE : *f == '~' ? COLUMN_AUTO_INC : 0;
    c.has_default = strchr(type, '=');
    type[len] = 0;
    c.type = type_of(b, type);
    if (c.has_default) {
        Buf zero = {0};
        void *v = arena_alloc(module_builder_arena(b), c.type->size);
        value_encode(&zero, c.type, v);
        c.default_bsatn = bytes_of(arena_copy(module_builder_arena(b), zero.ptr, zero.len), zero.len);
        buf_done(&zero);
    }
    return c;
}

static uint32_t parse_columns(ModuleBuilder *b, char *text, BuilderColumn *cols)
{
    uint32_t n = 0;
    char *save = NULL;
    for (char *c = strtok_r(text, ",", &save); c; c = strtok_r(NULL, ",", &save))
        cols[n++] = parse_column(b, c + strspn(c, " "));
    return n;
}

static const Type *parse_product(ModuleBuilder *b, char *text)
{
    BuilderColumn cols[12];
    Field fields[12];
    uint32_t n = parse_columns(b, text, cols);
    for (uint32_t i = 0; i < n; i++)
        fields[i] = (Field){.name = cols[i].name, .type = cols[i].type};
    return type_product(module_builder_arena(b), n, fields);
}

static char *brackets(char *text, char **ret_inside)
{
    char *open = strchr(text, '('), *close = strrchr(text, ')');
    *open = *close = 0;
    *ret_inside = open + 1;
    return close + 1;
}

static void parse_table(ModuleBuilder *b, char *text)
{
    BuilderColumn cols[12];
    char *inside, *rest = brackets(text, &inside), *save = NULL;
    uint32_t n = parse_columns(b, inside, cols);
    uint32_t t =
        module_builder_table(b, str_of(text), strstr(rest, " priv") ? ACCESS_PRIVATE : ACCESS_PUBLIC, strstr(rest, " ev"), n, cols);
    for (char *w = strtok_r(rest, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        char *list = strchr(w, ':'), *inner = NULL;
        if (strncmp(w, "i:", 2) == 0 || strncmp(w, "hash:", 5) == 0) {
            uint16_t which[8], count = 0;
            for (char *c = strtok_r(list + 1, "+", &inner); c; c = strtok_r(NULL, "+", &inner))
                for (uint16_t i = 0; i < n; i++)
                    if (str_is(cols[i].name, c))
                        which[count++] = i;
            module_builder_index(b, t, STR("ix"), count, which);
        } else if (strncmp(w, "sch:", 4) == 0) {
            Field f = {.name = STR("row"), .type = module_builder_row(b, t)};
            module_builder_schedule(b, t, 1, str_of(w + 4));
            module_builder_reducer(b, str_of(w + 4), type_product(module_builder_arena(b), 1, &f), LIFECYCLE_NONE);
        }
    }
}

static void parse_view(ModuleBuilder *b, char *text)
{
    char *inside, *rest = brackets(text, &inside);
    OWN(free) char *row_name = x_sprintf("Row_%s", text);
    const Type *row = module_builder_named(b, str_of(row_name), parse_product(b, inside));
    const Type *ret = strstr(rest, " opt") ? type_option(module_builder_arena(b), row) : type_array(module_builder_arena(b), row);
    module_builder_view(b, str_of(text), !strstr(rest, " priv"), strstr(rest, " anon"), ret);
}

static void parse_part(ModuleBuilder *b, char *part)
{
    char *inside, *rest;
    switch (*part) {
    case '@':
        rest = brackets(part, &inside);
        module_builder_reducer(b, str_of(part + 1), parse_product(b, inside),
                               strstr(rest, " init")      ? LIFECYCLE_INIT
                               : strstr(rest, " connect") ? LIFECYCLE_CONNECT
                                                          : LIFECYCLE_NONE);
        return;
    case '%':
        rest = strchr(part, ':');
        *rest = 0;
        module_builder_procedure(b, str_of(part + 1), &type_unit, type_of(b, rest + 1));
        return;
    case '$': parse_view(b, part + 1); return;
    case '#': return; /* tweak */
    default: parse_table(b, part);
    }
}

/* ---- what the builder cannot say ---- */

static Str kept(ModuleDef *def, const char *text, size_t len) { return arena_str(&def->arena, (Str){text, len}); }

static void tweak_table(ModuleDef *def, const char *name, char *rest)
{
    TableDef *t = NULL;
    for (uint32_t i = 0; i < def->ntables; i++)
        if (str_is(def->tables[i].name, name))
            t = (TableDef *)&def->tables[i];
    IndexDef *ix = (IndexDef *)t->indexes;
    char *save = NULL;
    for (char *w = strtok_r(rest, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        char *value = strchr(w, ':');
        Str v = value ? kept(def, value + 1, strlen(value + 1)) : (Str){0};
        if (strncmp(w, "hash:", 5) == 0 || strncmp(w, "direct:", 7) == 0)
            for (uint16_t i = 0; i < t->nindexes; i++)
                if (ix[i].ncols == 1 && str_eq(t->cols[ix[i].cols[0]].name, v)) {
                    ix[i].algorithm = w[0] == 'h' ? INDEX_HASH : INDEX_DIRECT;
                    ix[i].name = generated_name(&def->arena, t->name, t->cols, 1, ix[i].cols, w[0] == 'h' ? "_idx_hash" : "_idx_direct");
                }
        if (strncmp(w, "acc:", 4) == 0)
            ix->accessor = v;
        if (strncmp(w, "src:", 4) == 0)
            ix->source_name = v;
        if (strncmp(w, "name:", 5) == 0)
            ix->name = v;
        if (strncmp(w, "as:", 3) == 0)
            t->source_name = v;
        if (strncmp(w, "inc:", 4) == 0)
            ((SequenceDef *)t->sequences)->increment = atoi(value + 1);
        if (strncmp(w, "col:", 4) == 0) {
            const char *equals = strchr(value, '=');
            int32_t c = table_def_column(t, (Str){value + 1, (size_t)(equals - value - 1)});
            ((ColumnDef *)t->cols)[c].source_name = kept(def, equals + 1, strlen(equals + 1));
        }
    }
}

static void tweak_view(ModuleDef *def, const char *name, char *rest)
{
    for (uint32_t i = 0; i < def->nviews; i++) {
        ViewDef *v = (ViewDef *)&def->views[i];
        if (!str_is(v->name, name))
            continue;
        const char *pk = strstr(rest, " pk:");
        for (uint32_t c = 0; pk && c < v->row->nfields; c++)
            if (strncmp(pk + 4, v->row->fields[c].name.ptr, v->row->fields[c].name.len) == 0)
                v->pk = (int32_t)c;
        Field f = {.name = STR("p"), .type = type_scalar(TYPE_U8)};
        if (strstr(rest, " params"))
            v->params = type_product(&def->arena, 1, &f);
    }
}

static void dot_names(ModuleDef *def)
{
    for (uint32_t i = 0; i < def->ntables; i++) {
        TableDef *t = (TableDef *)&def->tables[i];
        char *dots = memmem(t->name.ptr, t->name.len, "__", 2);
        if (!dots)
            continue;
        t->name = str_of(arena_sprintf(&def->arena, "%.*s.%s", (int)(dots - t->name.ptr), t->name.ptr, dots + 2));
        t->source_name = t->name;
    }
}

static void tweak(ModuleDef *def, const char *source)
{
    char text[1200], *save = NULL, *inside;
    RlsDef *rules = ARENA_ARRAY(&def->arena, RlsDef, 8);
    snprintf(text, sizeof text, "%s", source);
    def->rls = rules;
    for (char *part = strtok_r(text, ";", &save); part; part = strtok_r(NULL, ";", &save)) {
        part += strspn(part, " ");
        if (*part == '#')
            rules[def->nrls++].sql = kept(def, part + 1, strlen(part + 1));
        else if (*part == '$')
            tweak_view(def, part + 1, brackets(part, &inside));
        else if (*part && *part != '@' && *part != '%') {
            char *rest = brackets(part, &inside);
            tweak_table(def, part, rest);
        }
    }
    dot_names(def);
}

static ModuleDef *parse_module(const char *source)
{
    char text[1200], *save = NULL;
    snprintf(text, sizeof text, "%s", source);
    ModuleBuilder *b = module_builder_new();
    for (char *part = strtok_r(text, ";", &save); part; part = strtok_r(NULL, ";", &save)) {
        part += strspn(part, " ");
        if (*part)
            parse_part(b, part);
    }
    OWN(buf) Buf bytes = {0};
    Error err;
    ModuleDef *def = NULL;
    if (module_builder_finish(b, &bytes, &err) != S_OK || module_def_from_bsatn(&def, buf_bytes(&bytes), &err) != S_OK)
        fail_msg("%s\n%s", source, err.text);
    tweak(def, source);
    return def;
}

/* ---- plans as text: "WARN AddColumns(T b c) ChangeAccess(T)" or "NO AddColumn(T b) ..."; UpdateView is left out ---- */

static void put_columns_of(Buf *out, json_t *step)
{
    size_t i;
    json_t *column;
    json_array_foreach(json_object_get(step, "columns"), i, column) buf_printf(out, " %s", json_string_value(column));
}

static void verdict(Buf *out, const Plan *plan)
{
    OWN(buf) Buf json = {0};
    plan_to_json(&json, plan);
    json_error_t why;
    json_t *root = json_loadb((const char *)json.ptr, json.len, 0, &why);
    if (!root)
        fail_msg("plan_to_json: %s in %s", why.text, buf_cstr(&json));
    bool warns = false;
    for (uint32_t i = 0; i < plan->nsteps; i++)
        warns |= plan->steps[i].class_ == CLASS_MAY_BREAK;
    buf_put_text(out, plan->forbidden.len ? "NO" : plan->breaks_clients ? "ACK" : warns ? "WARN" : "OK");
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(root, "steps"), i, s)
    {
        const char *kind = json_string_value(json_object_get(s, "kind")), *table = json_string_value(json_object_get(s, "table"));
        const char *name = json_string_value(json_object_get(s, "name"));
        assert_non_null(json_string_value(json_object_get(s, "text")));
        if (strcmp(kind, "UpdateView") == 0)
            continue;
        buf_printf(out, " %s", kind);
        if (table || (name && strcmp(kind, "DisconnectAllUsers") != 0))
            buf_printf(out, "(%s", table ? table : name);
        if (table)
            put_columns_of(out, s);
        if (table || name)
            buf_put_text(out, ")");
    }
    json_array_foreach(json_object_get(root, "reasons"), i, s)
    {
        const char *column = json_string_value(json_object_get(s, "column"));
        buf_printf(out, " %s(%s%s%s)", json_string_value(json_object_get(s, "kind")), json_string_value(json_object_get(s, "table")),
                   *column ? " " : "", column);
    }
    json_decref(root);
}

typedef struct Made {
    ModuleDef *from, *to;
    Plan plan;
} Made;
static Made make(const char *old, const char *new, const Migrations *pending)
{
    Made m = {.from = parse_module(old), .to = parse_module(new)};
    plan_make(&m.plan, m.from, m.to, pending);
    return m;
}
static void made_done(Made *m)
{
    plan_done(&m->plan);
    module_def_unref(m->from);
    module_def_unref(m->to);
}

static void expect_with(const char *label, const char *old, const char *new, const Migrations *pending, const char *want)
{
    Made m = make(old, new, pending);
    OWN(buf) Buf got = {0};
    verdict(&got, &m.plan);
    if (strcmp(buf_cstr(&got), want) != 0)
        fail_msg("%s\n  old  %s\n  new  %s\n  want %s\n  got  %s\n%.*s", label, old, new, want, buf_cstr(&got), (int)m.plan.forbidden.len,
                 (const char *)m.plan.forbidden.ptr);
    assert_true(m.plan.forbidden.len == 0 ? m.plan.sources != NULL : m.plan.nsteps == 0);
    made_done(&m);
}

#define DISCONNECT " DisconnectAllUsers"

static const struct Case {
    int number;
    const char *old, *new, *want;
} cases[] = {
    {1, "", "T(a u32)", "OK AddTable(T)"},
    {2, "T(a u32)", "T(a u32)", "OK"},
    {3, "T(a u32); @f(x u8)", "T(a u32); @f(x u8)", "OK"},
    {4, "T(a u32)", "T(a u32); U(x u64*~)", "OK AddTable(U)"},
    {5, "T(a u32); U(x u8)", "T(a u32)", "NO RemoveTable(U)"},
    {6, "U(x u8)", "", "NO RemoveTable(U)"},
    {7, "T(a u32)", "T(a u32, b u32=)", "WARN AddColumns(T b)"},
    {8, "T(a u32)", "T(a u32, b u16=, c str=)", "WARN AddColumns(T b c)"},
    {9, "T(a u32, b u16=, c str=)", "T(a u32, b u16=, c str=, d u16=)", "WARN AddColumns(T d)"},
    {10, "T(a u32)", "T(a u32, b bool=, c i8=, d u64=, e f32=, f f64=, g str=)", "WARN AddColumns(T b c d e f g)"},
    {11, "T(a u32)", "T(a u32, b opt:u32=)", "WARN AddColumns(T b)"},
    {12, "T(a u32)", "T(a u32, b u32)", "NO AddColumn(T b)"},
    {13, "T(a u32, b u8)", "T(a u32, m u8=, b u8)", "NO ReorderTable(T b) ReorderTable(T m)"},
    {14, "T(a u32)", "T(m u8=, a u32)", "NO ReorderTable(T a) ReorderTable(T m)"},
    {15, "T(a u32)", "T(a u32, b u16=, c u32)", "NO AddColumn(T c)"},
    {16, "T(a u32, b u8)", "T(a u32)", "NO RemoveColumn(T b)"},
    {17, "T(a u32, b u8)", "T(b u8, a u32)", "NO ReorderTable(T a) ReorderTable(T b)"},
    {18, "T(a u32)", "T(z u32)", "NO RemoveColumn(T a) AddColumn(T z)"},
    {19, "T(a u32)", "T(z u32=)", "NO RemoveColumn(T a)"},
    {20, "T(a u32)", "T(a u64)", "NO ChangeColumnType(T a)"},
    {21, "T(a u32)", "T(a opt:u32)", "NO ChangeColumnType(T a)"},
    {23, "T(a u32, b u32)", "T(a u32, b u32) i:b", "OK AddIndex(T b)"},
    {24, "T(a u32, b u32) i:b", "T(a u32, b u32)", "WARN RemoveIndex(T b)"},
    {26, "T(a u32, b u32) i:a+b", "T(a u32, b u32) i:b+a", "WARN RemoveIndex(T a b) AddIndex(T b a)"},
    {27, "T(a u32) i:a", "T(a u32) hash:a", "WARN RemoveIndex(T a) AddIndex(T a)"},
    {28, "T(a u32!)", "T(a u32!) direct:a", "OK RemoveIndex(T a) AddIndex(T a)"},
    {29, "T(a u32, b u8) i:a acc:x", "T(a u32, b u8) i:a acc:y", "NO ChangeIndexAccessor(T)"},
    {30, "T(a u32) i:a src:s1", "T(a u32) i:a src:s2", "OK ChangeIndexSourceName(T a)"},
    {31, "T(a u32) i:a", "T(a u32) i:a name:mine", "OK RemoveIndex(T a) AddIndex(T a)"},
    {32, "T(a u32!)", "T(a u32) i:a acc:a", "OK RemoveConstraint(T a)"},
    {33, "T(a u32!)", "T(a u32)", "WARN RemoveIndex(T a) RemoveConstraint(T a)"},
    {34, "T(a u32)", "T(a u32!)", "NO AddUniqueConstraint(T a)"},
    {35, "T(a u32) i:a acc:a", "T(a u32!)", "NO AddUniqueConstraint(T a)"},
    {36, "T(a u32)", "T(a u32*)", "NO AddPrimaryKey(T a)"},
    {37, "T(a u32*, b u32!)", "T(a u32!, b u32*)", "NO AddPrimaryKey(T b)"},
    {38, "T(a u32*)", "T(a u32!)", "WARN ChangePrimaryKey(T)"},
    {39, "T(a u32*)", "T(a u32)", "WARN RemoveIndex(T a) RemoveConstraint(T a) ChangePrimaryKey(T)"},
    {41, "T(a u64)", "T(a u64~)", "OK AddSequence(T a)"},
    {45, "T(a u64~)", "T(a u64)", "OK RemoveSequence(T a)"},
    {47, "T(a u64~)", "T(a u64~) inc:10", "OK RemoveSequence(T a) AddSequence(T a)"},
    {48, "T(a u64*~)", "T(a u64*~, b u8=)", "WARN AddColumns(T b)"},
    {49, "T(a u8) priv", "T(a u8)", "OK ChangeAccess(T)"},
    {50, "T(a u8)", "T(a u8) priv", "WARN ChangeAccess(T)"},
    {51, "T(a u8) priv", "T(a u8); #SELECT * FROM T", "ACK ChangeAccess(T) AddRowLevelSecurity(SELECT * FROM T)" DISCONNECT},
    {53, "T(a u8)", "T(a u8) ev", "NO ChangeTableEventFlag(T)"},
    {54, "T(a u8) ev", "T(a u8)", "NO ChangeTableEventFlag(T)"},
    {55, "E(a u64, b str) ev", "E(b u32) ev", "ACK ReschemaEventTable(E)" DISCONNECT},
    {56, "E(b u32) ev", "E(a u64, b str) ev", "ACK ReschemaEventTable(E)" DISCONNECT},
    {57, "E(a u8) priv ev", "E(a u8) ev", "OK ChangeAccess(E)"},
    {58, "E(a u8) ev", "", "NO RemoveTable(E)"},
    {59, "T(k enumAB)", "T(k enumABC)", "WARN ChangeColumns(T k)"},
    {60, "T(k enumAB)", "T(k enumAXB)", "NO RenamedVariant(T k)"},
    {61, "T(k enumAB)", "T(k enumA)", "NO FewerVariants(T k)"},
    {62, "T(k s1)", "T(k s2)", "WARN ChangeColumns(T k)"},
    {63, "T(k s1)", "T(k s3)", "NO AlignMismatch(T k) SizeMismatch(T k)"},
    {64, "T(p p1)", "T(p p2)", "NO FewerFields(T p)"},
    {65, "T(p p1)", "T(p p3)", "NO RenamedField(T p)"},
    {66, "T(x arr:enumAB); U(x opt:enumAB); V(x box:enumAB)", "T(x arr:enumABC); U(x opt:enumABC); V(x box:enumABC)",
     "WARN ChangeColumns(T x) ChangeColumns(U x) ChangeColumns(V x)"},
    {66, "T(x arr:u32)", "T(x arr:u64)", "NO ChangeWithinColumnType(T x)"},
    {67, "T(k enumAB)", "T(k enumABC, b u8=)", "WARN AddColumns(T b)"},
    {68, "T(p p1); U(k enumAB)", "U(k enumAB); T(p p1)", "OK"},
    {69, "T(a u32=)", "T(a u32)", "OK"},
    {70, "T(id u64*, at at)", "T(id u64*, at at) sch:f", "NO ChangeSchedule(T)"},
    {71, "T(id u64*, at at) sch:f", "T(id u64*, at at)", "NO ChangeSchedule(T)"},
    {72, "T(id u64*, at at) sch:f", "T(id u64*, at at) sch:g", "NO ChangeSchedule(T)"},
    {73, "", "S(id u64*, at at) sch:f", "OK AddTable(S) AddFunction(f)"},
    {74, "S(id u64*, at at) sch:f", "S(id u64*, at at, c u8=) sch:f", "WARN AddColumns(S c) ChangeFunction(f)"},
    {77, "@f(a u32)", "", "WARN RemoveFunction(f)"},
    {78, "@f(a u32)", "@f(a str)", "WARN ChangeFunction(f)"},
    {79, "", "@hello() connect", "OK AddFunction(hello)"},
    {79, "@hello() connect", "", "OK RemoveFunction(hello)"},
    {79, "@hello() connect", "@hello() init", "OK ChangeFunction(hello)"},
    {79, "@hello() connect", "@hello()", "OK ChangeFunction(hello)"},
    {79, "@hello()", "@hello() connect", "WARN ChangeFunction(hello)"},
    {80, "", "@start() init", "OK AddFunction(start)"},
    {82, "%p:u8", "", "WARN RemoveFunction(p)"},
    {82, "%p:u8", "%p:u32", "WARN ChangeFunction(p)"},
    {83, "", "$v(a u8)", "OK AddView(v)"},
    {84, "$v(a u8)", "", "ACK RemoveView(v)" DISCONNECT},
    {85, "$v(a u8)", "$v(a u8)", "OK"},
    {86, "$v(a u8)", "$v(a u8, b u8)", "ACK RemoveView(v) AddView(v)" DISCONNECT},
    {86, "$v(a u8)", "$v(a u8) params", "ACK RemoveView(v) AddView(v)" DISCONNECT},
    {87, "$v(a u8) anon", "$v(a u8)", "ACK RemoveView(v) AddView(v)" DISCONNECT},
    {88, "$v(a u8)", "$v(a u8) pk:a", "ACK RemoveView(v) AddView(v)" DISCONNECT},
    {89, "$v(a u8) opt", "$v(a u8)", "OK"},
    {91, "$v(a u8)", "$v(a u8); $w(b u8)", "OK AddView(w)"},
    {92, "T(a u8)", "T(a u8); #SELECT * FROM T", "ACK AddRowLevelSecurity(SELECT * FROM T)" DISCONNECT},
    {93, "T(a u8); #r", "T(a u8); #r", "OK"},
    {94, "T(a u8); #r", "T(a u8); #q", "ACK RemoveRowLevelSecurity(r) AddRowLevelSecurity(q)" DISCONNECT},
    {96, "my_t(a u8)", "my_t(a u8) as:MyTable", "OK ChangeTableAccessorName(my_t)"},
    {97, "t(my_field u8)", "t(my_field u8) col:my_field=myField", "OK ChangeColumnAccessorName(t my_field)"},
    {98, "FruitBasket(a u32)", "fruit_basket(a u32)", "NO RemoveTable(FruitBasket)"},
    {99, "t(fruitName str)", "t(fruit_name str)", "NO RemoveColumn(t fruitName) AddColumn(t fruit_name)"},
    {100, "T(k enumR)", "T(k enumr)", "NO RenamedVariant(T k)"},
    {101, "", "lib__tokens(a u8)", "OK AddTable(lib.tokens)"},
    {102, "lib__tokens(a u8)", "lib__tokens(a u8) i:a", "OK AddIndex(lib.tokens a)"},
    {103, "lib__tokens(a u8)", "auth__tokens(a u8)", "NO RemoveTable(lib.tokens)"},
    {104, "lib__tokens(a u8); tokens(a u8)", "lib__tokens(a u8); tokens(a u8, b u8=)", "WARN AddColumns(tokens b)"},
    {105, "T(a u32, b u32) i:b", "T(a u32, b u32, c u32=, d str=) priv", "WARN RemoveIndex(T b) AddColumns(T c d) ChangeAccess(T)"},
    {106, "T(a u32)", "T(a u32, c u32=) i:c; U(x u32); #SELECT * FROM U",
     "ACK AddColumns(T c) AddTable(U) AddIndex(T c) AddRowLevelSecurity(SELECT * FROM U)" DISCONNECT},
    {111, "T(a u32, b u8); U(x u8)", "T(b u8, a u64, c u8) ev; @f()",
     "NO ReorderTable(T a) ChangeColumnType(T a) ReorderTable(T b) AddColumn(T c) ChangeTableEventFlag(T) RemoveTable(U)"},
    {111, "T(a u32, b u8, c u8); U(x u8) ev", "T(a u64, c u8, d u8); U(x u8)",
     "NO ChangeColumnType(T a) RemoveColumn(T b) ReorderTable(T c) ReorderTable(T d) AddColumn(T d) ChangeTableEventFlag(U)"},
    {128, "T(a u32, b u8=)", "T(a u32)", "NO RemoveColumn(T b)"},
    {129, "T(a u32) i:a", "T(a u32) priv", "WARN RemoveIndex(T a) ChangeAccess(T)"},
    {135, "x(a u8)", "$x(a u8)", "NO RemoveTable(x)"},
};

static void the_cases_of_the_sheet(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char label[32];
        snprintf(label, sizeof label, "case %d", cases[i].number);
        expect_with(label, cases[i].old, cases[i].new, NULL, cases[i].want);
    }
}

static void expect_sources(const char *label, const char *old, const char *new, const Migrations *pending, const char *want)
{
    Made m = make(old, new, pending);
    OWN(buf) Buf got = {0};
    for (uint32_t i = 0; i < m.to->ntables && m.plan.sources; i++) {
        const TableSource *s = &m.plan.sources[i];
        Str from = s->old ? s->old->name : STR("new");
        buf_printf(&got, "%s%.*s<%.*s", i ? " " : "", STR_FMT(m.to->tables[i].name), STR_FMT(from));
        for (uint16_t c = 0; s->columns && c < m.to->tables[i].ncols; c++)
            buf_printf(&got, ",%d%s", s->columns[c].from, s->columns[c].op ? "c" : "");
        buf_put_text(&got, s->rewrite ? "!" : "");
    }
    if (strcmp(buf_cstr(&got), want) != 0)
        fail_msg("%s: want %s, got %s", label, want, buf_cstr(&got));
    made_done(&m);
}

static void rows_come_from_where_the_plan_says(void **state)
{
    (void)state;
    expect_sources("grown", "T(a u32)", "T(a u32, b u8=); U(x u8)", NULL, "T<T,0,-1 U<new");
    expect_sources("key dropped, still unique", "T(a u32*)", "T(a u32!)", NULL, "T<T,0!");
    expect_sources("key kept", "T(a u32*, b u8)", "T(a u32*, b u8) priv", NULL, "T<T,0,1");
}

/* ---- reasons ----------------------------------------------------------------------------------- */

static void expect_reason(const char *old, const char *new, const Migrations *pending, const char *want)
{
    Made m = make(old, new, pending);
    if (!m.plan.forbidden.len || strcmp(buf_cstr(&m.plan.forbidden), want) != 0)
        fail_msg("want %s\ngot  %s", want, m.plan.forbidden.len ? buf_cstr(&m.plan.forbidden) : "a plan");
    made_done(&m);
}

static void reasons_name_table_column_and_remedy(void **state)
{
    (void)state;
    expect_reason(
        "T(a u32)", "T(a u32, b u16=, c u32)", NULL,
        "table `T`, column `c` (u32): was added without a default, and existing rows need a value; give it one: ST_DEFAULT(T, c, ...)");
    expect_reason("T(a u32)", "T(z u32=)", NULL,
                  "table `T`, column `a` (u32): was renamed to `z` or removed; keep the old name, or say ST_RENAME_COLUMN(T, a, z) in an "
                  "ST_MIGRATION");
    expect_reason("T(a u32, b u8)", "T(a u32)", NULL,
                  "table `T`, column `b` (u8): was removed; keep it, even unused, or say ST_DROP_COLUMN(T, b) in an ST_MIGRATION");
    expect_reason("T(a u32)", "T(a u64)", NULL,
                  "table `T`, column `a`: the type changed from u32 to u64; keep it as it was, append a new column with a default, or say "
                  "ST_CONVERT_COLUMN in an ST_MIGRATION");
    expect_reason(
        "T(x arr:enumAB)", "T(x arr:enumA)", NULL,
        "table `T`, column `x`: inside its type, Kind has 1 variants instead of 2; keep it as it was, append a new column with a default, "
        "or say ST_CONVERT_COLUMN in an ST_MIGRATION");
    expect_reason(
        "T(k enumR)", "T(k enumr)", NULL,
        "table `T`, column `k`: variant 0 of Kind is now `r` instead of `R` (they differ only in case: is it the case policy? "
        "ST_CASE(NONE) keeps names as written); keep it as it was, append a new column with a default, or say ST_CONVERT_COLUMN in an "
        "ST_MIGRATION");
    expect_reason("FruitBasket(a u32)", "fruit_basket(a u32)", NULL,
                  "table `FruitBasket`: was removed, and `fruit_basket` added, which differs only in case; keep the old spelling: "
                  "ST_TABLE_NAME(table, \"FruitBasket\"), or ST_CASE(NONE) if it is the case policy");
    expect_reason(
        "U(b u8)", "", NULL,
        "table `U`: was removed; keep it, even unused, say ST_DROP_TABLE(U) or ST_RENAME_TABLE(U, ...) in an ST_MIGRATION, or publish "
        "with --delete-data to start afresh");
    expect_reason(
        "T(a u32)", "T(a u32!)", NULL,
        "table `T`, column `a`: it became unique; existing rows may repeat values: say ST_ADD_UNIQUE(T, a) in an ST_MIGRATION, which "
        "checks them");
    expect_reason("T(a u32)", "T(a u32*)", NULL,
                  "table `T`, column `a`: became the primary key; existing rows may repeat values: say ST_ADD_PRIMARY_KEY(T, a) in an "
                  "ST_MIGRATION, which checks them");
    expect_reason("T(id u64*, at at) sch:f", "T(id u64*, at at) sch:g", NULL,
                  "table `T`: schedule changed from function `f` to `g`; keep the function's name");
}

/* ---- migrations --------------------------------------------------------------------------------- */

/* "2 rename_column T a z | drop_table U" as a list of one; several lists are separated by "/". */
static void parse_migrations(Migrations *ret, const char *source)
{
    static const char *const names[] = {
        [MIGRATE_RENAME_TABLE] = "rename_table", [MIGRATE_RENAME_COLUMN] = "rename_column",   [MIGRATE_DROP_TABLE] = "drop_table",
        [MIGRATE_DROP_COLUMN] = "drop_column",   [MIGRATE_CONVERT_COLUMN] = "convert_column", [MIGRATE_ADD_UNIQUE] = "add_unique",
        [MIGRATE_ADD_PRIMARY_KEY] = "add_pk",    [MIGRATE_REPLACE_ROWS] = "replace_rows",     [MIGRATE_RUN] = "run"};
    char text[600], *lists = NULL, *ops = NULL, *words = NULL;
    snprintf(text, sizeof text, "%s", source);
    *ret = (Migrations){0};
    Arena *a = &ret->arena;
    Migration *out = ARENA_ARRAY(a, Migration, 8);
    ret->list = out;
    for (char *list = strtok_r(text, "/", &lists); list; list = strtok_r(NULL, "/", &lists)) {
        Migration *m = &out[ret->n++];
        m->version = (uint32_t)strtoul(list, &list, 10);
        m->title = STR("title");
        MigrationOp *op = ARENA_ARRAY(a, MigrationOp, 8);
        m->ops = op;
        for (char *part = strtok_r(list, "|", &ops); part; part = strtok_r(NULL, "|", &ops), op++) {
            *op = (MigrationOp){.version = m->version, .position = m->nops++, .title = m->title};
            char *word = strtok_r(part, " ", &words);
            while (op->kind < MIGRATE_RUN && (!names[op->kind] || strcmp(names[op->kind], word) != 0))
                op->kind++;
            Str *where[3] = {&op->table, &op->a, &op->b};
            int at = op->kind == MIGRATE_RUN;
            while ((word = strtok_r(NULL, " ", &words))) {
                if (op->kind == MIGRATE_CONVERT_COLUMN && at == 2)
                    op->type = type_scalar(strcmp(word, "u32") == 0 ? TYPE_U32 : TYPE_STRING);
                else
                    *where[at] = arena_str(a, str_of(word));
                at++;
            }
        }
    }
}

static const struct MigrationCase {
    const char *migrations, *old, *new, *want, *sources; /* sources NULL: refused */
} migration_cases[] = {
    {"1 rename_table T U", "T(a u32*, b u8) i:b", "U(a u32*, b u8) i:b", "ACK RenameTable(U)" DISCONNECT, "U<T,0,1"},
    {"1 rename_table A B | rename_table C A", "A(a u8); C(c u8)", "A(c u8); B(a u8)", "ACK RenameTable(A) RenameTable(B)" DISCONNECT,
     "A<C,0 B<A,0"},
    {"1 rename_column T a z", "T(a u32, b u8) i:a", "T(z u32, b u8) i:z", "WARN RenameColumn(T z)", "T<T,0,1"},
    {"1 rename_table T U | rename_column U a z", "T(a u32*)", "U(z u32*)", "ACK RenameTable(U) RenameColumn(U z)" DISCONNECT, "U<T,0"},
    {"1 drop_table U", "T(a u8); U(b u8)", "T(a u8)", "ACK RemoveTable(U)" DISCONNECT, "T<T,0"},
    {"1 drop_column T b", "T(a u8, b u8, c u8)", "T(a u8, c u8)", "ACK RemoveColumn(T b)" DISCONNECT, "T<T,0,2"},
    {"1 drop_column T b", "T(a u8, b u8)", "T(a u8, c u8=)", "ACK RemoveColumn(T b) AddColumns(T c)" DISCONNECT, "T<T,0,-1"},
    {"1 convert_column T a u32", "T(a u32, b u8)", "T(a u64, b u8)", "ACK ConvertColumn(T a)" DISCONNECT, "T<T,0c,1!"},
    {"1 add_unique T a", "T(a u32)", "T(a u32!)", "OK AddIndex(T a) AddConstraint(T a)", "T<T,0"},
    {"1 add_pk T a", "T(a u32)", "T(a u32*)", "WARN AddIndex(T a) AddConstraint(T a) ChangePrimaryKey(T a)", "T<T,0!"},
    {"1 add_pk T b", "T(a u32*, b u32!)", "T(a u32!, b u32*)", "WARN ChangePrimaryKey(T b)", "T<T,0,1!"},
    {"1 replace_rows T | run split", "T(name str)", "T(id u64*, first str, last str)",
     "ACK ReplaceRows(T) AddIndex(T id) AddConstraint(T id) ChangePrimaryKey(T id) RunMigration(split)" DISCONNECT, "T<T!"},
    {"1 drop_table Cat | drop_table Dog | run merge", "Cat(a u8); Dog(a u8)", "Pet(a u8)",
     "ACK RemoveTable(Cat) RemoveTable(Dog) AddTable(Pet) RunMigration(merge)" DISCONNECT, "Pet<new"},
    {"1 rename_column T a b / 2 rename_column T b c / 5 run fix", "T(a u8)", "T(c u8)", "WARN RenameColumn(T c) RunMigration(fix)",
     "T<T,0"},
    /* wrong ones */
    {"1 rename_table X U", "T(a u8)", "T(a u8)", "NO Migration(X)", NULL},
    {"1 rename_table T U", "T(a u8); U(b u8)", "U(a u8)", "NO Migration(T) RemoveTable(T) AddColumn(U a) RemoveColumn(U b)", NULL},
    {"1 drop_table T", "T(a u8)", "T(a u8)", "NO Migration(T)", NULL},
    {"1 drop_column T z", "T(a u8)", "T(a u8)", "NO Migration(T z)", NULL},
    {"1 drop_column T a", "T(a u8, b u8)", "T(b u8, a u8)", NULL, NULL},
    {"1 convert_column T a str", "T(a u32)", "T(a u64)", "NO Migration(T a)", NULL},
    {"1 convert_column T a u32", "T(a u32)", "T(a u32)", "NO Migration(T a)", NULL},
    {"1 add_unique T a", "T(a u32)", "T(a u32)", "NO Migration(T a)", NULL},
    {"1 add_pk T a", "T(a u32)", "T(a u32)", "NO Migration(T a)", NULL},
    {"1 replace_rows T", "T(a u8)", "T(b u8)", "NO Migration(T)", NULL},
};

static void migrations_permit_what_they_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(migration_cases); i++) {
        Migrations m;
        parse_migrations(&m, migration_cases[i].migrations);
        if (migration_cases[i].want)
            expect_with(migration_cases[i].migrations, migration_cases[i].old, migration_cases[i].new, &m, migration_cases[i].want);
        if (migration_cases[i].sources)
            expect_sources(migration_cases[i].migrations, migration_cases[i].old, migration_cases[i].new, &m, migration_cases[i].sources);
        migrations_done(&m);
    }
}

static void wrong_operations_say_why(void **state)
{
    (void)state;
    static const struct {
        const char *migrations, *old, *new, *want;
    } wrong[] = {
        {"3 drop_table T", "T(a u8)", "T(a u8)",
         "migration 3 (title), DROP_TABLE: table `T`: the module still declares it; remove its declaration, or the operation"},
        {"3 convert_column T a str", "T(a u32)", "T(a u64)",
         "migration 3 (title), CONVERT_COLUMN: column `a` of table `T` is stored as u32, the conversion takes String; correct its old "
         "type, or "
         "publish the versions in between first"},
        {"3 replace_rows T", "T(a u8)", "T(b u8)",
         "migration 3 (title), REPLACE_ROWS: table `T`: no function of the migration fills it; add ST_RUN(function)"},
        {"3 rename_column T a b", "T(a u8, b u8)", "T(a u8, b u8)",
         "migration 3 (title), RENAME_COLUMN: table `T` has a column `b` already"},
        {"3 rename_column T q b", "T(a u8)", "T(a u8)", "migration 3 (title), RENAME_COLUMN: table `T` has no column `q` at that point"},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        Migrations m;
        parse_migrations(&m, wrong[i].migrations);
        expect_reason(wrong[i].old, wrong[i].new, &m, wrong[i].want);
        migrations_done(&m);
    }
}

static void migrations_travel_as_bytes(void **state)
{
    (void)state;
    Migrations m, read;
    Error err;
    OWN(buf) Buf bytes = {0};
    OWN(buf) Buf again = {0};
    parse_migrations(&m, "1 rename_table T U | convert_column U a u32 / 7 run f | drop_column U b");
    migrations_write(&bytes, &m);
    assert_int_equal(migrations_read(&read, buf_bytes(&bytes), &err), S_OK);
    migrations_write(&again, &read);
    assert_true(bytes_eq(buf_bytes(&bytes), buf_bytes(&again)));
    assert_int_equal(migrations_last(&read), 7);
    Migrations pending = migrations_pending(&read, 1);
    assert_int_equal(pending.n, 1);
    assert_int_equal(pending.list[0].ops[1].kind, MIGRATE_DROP_COLUMN);
    assert_int_equal(pending.list[0].ops[1].position, 1);
    assert_int_equal(migrations_pending(&read, 7).n, 0);
    assert_int_equal(migrations_pending(&read, 0).n, 2);
    for (size_t len = 0; len < bytes.len; len++) { /* every cut is noticed */
        Migrations cut;
        assert_int_equal(migrations_read(&cut, bytes_of(bytes.ptr, len), &err), S_INVALID);
    }
    store_u32(bytes.ptr + 4, 9); /* versions descend */
    Migrations wrong;
    assert_int_equal(migrations_read(&wrong, buf_bytes(&bytes), &err), S_INVALID);
    assert_string_equal(err.text, "migration 7: numbers begin at 1 and are used once");
    migrations_done(&read);
    migrations_done(&m);
}

/* ---- for people --------------------------------------------------------------------------------- */

#define RULE "━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━\n"

static void expect_print(const char *old, const char *new, const Migrations *pending, bool colour, const char *want)
{
    Made m = make(old, new, pending);
    OWN(buf) Buf text = {0};
    plan_print(&text, &m.plan, colour);
    assert_string_equal(buf_cstr(&text), want);
    made_done(&m);
}

static void a_plan_is_laid_out_as_the_sheet_says(void **state)
{
    (void)state;
    expect_print("T(a u8)", "T(a u8)", NULL, false, RULE "Migration plan\n" RULE "\n");
    expect_print("T(a u32, b u32) i:b", "T(a u32, b u32, c u16=, d opt:str=) priv; U(x u64*~)", NULL, false,
                 RULE "Migration plan\n" RULE "\n"
                      "▸ removed index T_b_idx_btree [b] of table T\n"
                      "▸ changed columns of table T\n"
                      "    + c: U16 (default: 0)\n"
                      "    + d: Option<String> (default: none)\n"
                      "▸ created user table: U (public)\n"
                      "    Columns:\n"
                      "        • x: U64\n"
                      "    Unique constraints:\n"
                      "        • U_x_key on [x]\n"
                      "    Indexes:\n"
                      "        • U_x_idx_btree on [x]\n"
                      "    Auto-increment:\n"
                      "        • U_x_seq on x\n"
                      "\n"
                      "▸ changed access of table T (public → private)\n"
                      "\n"
                      "May break clients that have not been updated:\n"
                      "        • T: subscriptions that join over the index are refused afterwards\n"
                      "        • T: connected clients go on with the columns that they know; others see the new ones\n"
                      "        • T: subscriptions of clients other than the owner end with an error\n");
    expect_print("T(k enumAB)", "T(k enumABC)", NULL, false,
                 RULE "Migration plan\n" RULE "\n"
                      "▸ changed columns of table T\n"
                      "    ~ k ((A: () | B: ()) → (A: () | B: () | C: ()))\n"
                      "\n"
                      "May break clients that have not been updated:\n"
                      "        • T: clients with older bindings cannot read the new variants\n");
    Migrations m;
    parse_migrations(&m, "4 convert_column T a u32 | run fix");
    expect_print("T(a u32)", "T(a u64)", &m, false,
                 RULE "Migration plan\n" RULE "\n"
                      "Migrations that run with it, once:\n"
                      "        • 4: title\n"
                      "\n"
                      "▸ changed type of a column of table T\n"
                      "    ~ a (U32 → U64)\n"
                      "▸ run migration 4: function fix\n"
                      "!!! All connected clients are disconnected: they need bindings of the new version\n");
    migrations_done(&m);
    expect_print("", "T(a u8)", NULL, true,
                 RULE "\033[1mMigration plan\033[0m\n" RULE "\n"
                      "▸ \033[1;32mcreated\033[0m user table: \033[1;36mT\033[0m (\033[32mpublic\033[0m)\n"
                      "    \033[1;34mColumns\033[0m:\n"
                      "        • a: \033[35mU8\033[0m\n"
                      "\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cases_of_the_sheet),
        cmocka_unit_test(rows_come_from_where_the_plan_says),
        cmocka_unit_test(reasons_name_table_column_and_remedy),
        cmocka_unit_test(migrations_permit_what_they_say),
        cmocka_unit_test(wrong_operations_say_why),
        cmocka_unit_test(migrations_travel_as_bytes),
        cmocka_unit_test(a_plan_is_laid_out_as_the_sheet_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
