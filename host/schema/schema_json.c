/* schema_json.c - a definition as the JSON of GET .../schema (http-api.md section 7), versions 9 and 10.
 *
 * Written directly: the shapes are fixed, and 128-bit integers must stay exact. What is written is the
 * validated definition: canonical names, generated names filled in, resolved refs kept as refs. */
#include "host/schema/module_int.h"

/* ---- atoms ------------------------------------------------------------------------------------ */

static void put_text(Buf *out, Str s)
{
    buf_put_text(out, "\"");
    for (size_t i = 0, run = 0; i <= s.len; i++) {
        unsigned char c = i < s.len ? (unsigned char)s.ptr[i] : 0;
        if (i < s.len && c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_put(out, s.ptr + run, i - run);
        run = i + 1;
        if (i == s.len)
            break;
        if (c >= 0x20)
            buf_printf(out, "\\%c", c);
        else
            buf_printf(out, "\\u%04x", c);
    }
    buf_put_text(out, "\"");
}

static void put_key_text(Buf *out, const char *key, Str s)
{
    buf_printf(out, "\"%s\":", key);
    put_text(out, s);
}

static void put_some(Buf *out, Str s)
{
    buf_put_text(out, "{\"some\":");
    put_text(out, s);
    buf_put_text(out, "}");
}

static void put_option(Buf *out, Str s)
{
    if (s.len)
        put_some(out, s);
    else
        buf_put_text(out, "{\"none\":[]}");
}

static void put_i128(Buf *out, i128 v)
{
    char digits[48], *p = digits + sizeof digits;
    u128 u = v < 0 ? -(u128)v : (u128)v;
    do
        *--p = (char)('0' + (int)(u % 10));
    while (u /= 10);
    if (v < 0)
        *--p = '-';
    buf_put(out, p, (size_t)(digits + sizeof digits - p));
}

/* Between items of a list; `first` is the caller's. */
static void comma(Buf *out, bool *first)
{
    if (!*first)
        buf_put_text(out, ",");
    *first = false;
}

static void put_cols(Buf *out, uint16_t n, const uint16_t *cols)
{
    for (uint16_t i = 0; i < n; i++)
        buf_printf(out, "%s%u", i ? "," : "[", cols[i]);
    buf_put_text(out, n ? "]" : "[]");
}

/* ---- types ------------------------------------------------------------------------------------ */

static void put_type(Buf *out, const Type *t, bool top);

static void put_elements(Buf *out, const char *key, uint32_t n, const Field *fields)
{
    buf_printf(out, "{\"%s\":[", key);
    for (uint32_t i = 0; i < n; i++) {
        buf_put_text(out, i ? ",{\"name\":" : "{\"name\":");
        put_some(out, fields[i].name);
        buf_put_text(out, ",\"algebraic_type\":");
        put_type(out, fields[i].type, false);
        buf_put_text(out, "}");
    }
    buf_put_text(out, "]}");
}

static void put_product(Buf *out, uint32_t n, const Field *fields)
{
    buf_put_text(out, "{\"Product\":");
    put_elements(out, "elements", n, fields);
    buf_put_text(out, "}");
}

static void put_sum(Buf *out, uint32_t n, const Field *fields)
{
    buf_put_text(out, "{\"Sum\":");
    put_elements(out, "variants", n, fields);
    buf_put_text(out, "}");
}

static const char *const scalar_names[] = {
    [TYPE_BOOL] = "Bool", [TYPE_I8] = "I8",   [TYPE_U8] = "U8",   [TYPE_I16] = "I16",      [TYPE_U16] = "U16",   [TYPE_I32] = "I32",
    [TYPE_U32] = "U32",   [TYPE_I64] = "I64", [TYPE_U64] = "U64", [TYPE_I128] = "I128",    [TYPE_U128] = "U128", [TYPE_I256] = "I256",
    [TYPE_U256] = "U256", [TYPE_F32] = "F32", [TYPE_F64] = "F64", [TYPE_STRING] = "String"};

static void put_type(Buf *out, const Type *t, bool top)
{
    TypeKind scalar;
    const char *special = type_special_field(t->kind, &scalar);
    if (!top && t->ref >= 0) {
        buf_printf(out, "{\"Ref\":%d}", t->ref);
    } else if (special) {
        put_product(out, 1, &(Field){.name = str_of(special), .type = type_scalar(scalar)});
    } else if (t->kind == TYPE_ARRAY || t->kind == TYPE_BYTES) {
        buf_put_text(out, "{\"Array\":");
        put_type(out, t->kind == TYPE_BYTES ? type_scalar(TYPE_U8) : t->elem, false);
        buf_put_text(out, "}");
    } else if (t->kind == TYPE_OPTION) {
        put_sum(out, 2, (Field[]){{.name = STR("some"), .type = t->elem}, {.name = STR("none"), .type = &type_unit}});
    } else if (t->kind == TYPE_SCHEDULE_AT) {
        put_sum(out, 2,
                (Field[]){{.name = STR("Interval"), .type = type_scalar(TYPE_DURATION)},
                          {.name = STR("Time"), .type = type_scalar(TYPE_TIMESTAMP)}});
    } else if (t->kind == TYPE_PRODUCT) {
        put_product(out, t->nfields, t->fields);
    } else if (t->kind == TYPE_SUM || t->kind == TYPE_ENUM || t->kind == TYPE_RESULT) {
        put_sum(out, t->nfields, t->fields);
    } else {
        buf_printf(out, "{\"%s\":[]}", scalar_names[t->kind]);
    }
}

static void put_typespace(Buf *out, const ModuleDef *def)
{
    buf_put_text(out, "{\"types\":[");
    for (uint32_t i = 0; i < def->ntypes; i++) {
        if (i)
            buf_put_text(out, ",");
        put_type(out, def->types[i], true);
    }
    buf_put_text(out, "]}");
}

/* ---- parts of a table ------------------------------------------------------------------------- */

static void put_index(Buf *out, const IndexDef *ix, const char *name_key)
{
    static const char *const algorithms[] = {"BTree", "Hash", "Direct"};
    buf_printf(out, "{\"%s\":", name_key);
    put_some(out, ix->name);
    buf_put_text(out, ",\"accessor_name\":");
    put_option(out, ix->accessor);
    buf_printf(out, ",\"algorithm\":{\"%s\":", algorithms[ix->algorithm]);
    if (ix->algorithm == INDEX_DIRECT)
        buf_printf(out, "%u", ix->cols[0]);
    else
        put_cols(out, ix->ncols, ix->cols);
    buf_put_text(out, "}}");
}

/* A parameter of a sequence that has its default value counts as not given. */
static void put_sequence_param(Buf *out, const char *key, i128 v, bool given)
{
    buf_printf(out, ",\"%s\":", key);
    if (!given) {
        buf_put_text(out, "{\"none\":[]}");
        return;
    }
    buf_put_text(out, "{\"some\":");
    put_i128(out, v);
    buf_put_text(out, "}");
}

static void put_sequence(Buf *out, const SequenceDef *s, const char *name_key)
{
    buf_printf(out, "{\"%s\":", name_key);
    put_some(out, s->name);
    buf_printf(out, ",\"column\":%u", s->col);
    put_sequence_param(out, "start", s->start, s->start_given);
    put_sequence_param(out, "min_value", s->min, s->min_given);
    put_sequence_param(out, "max_value", s->max, s->max_given);
    buf_put_text(out, ",\"increment\":");
    put_i128(out, s->increment);
    buf_put_text(out, "}");
}

static void put_schedule_v9(Buf *out, const ScheduleDef *s)
{
    if (!s) {
        buf_put_text(out, "{\"none\":[]}");
        return;
    }
    buf_put_text(out, "{\"some\":{\"name\":");
    put_some(out, s->name);
    buf_put_text(out, ",");
    put_key_text(out, "reducer_name", s->function);
    buf_printf(out, ",\"scheduled_at_column\":%u}}", s->at_col);
}

static void put_default_value(Buf *out, uint32_t col, Bytes value)
{
    buf_printf(out, "\"col_id\":%u,\"value\":\"", col);
    if (buf_reserve(out, value.len * 2 + 1)) { /* hex_encode adds a NUL, which does not count */
        hex_encode((char *)out->ptr + out->len, value.ptr, value.len);
        out->len += value.len * 2;
    }
    buf_put_text(out, "\"}");
}

static void put_defaults_v10(Buf *out, const TableDef *t)
{
    bool first = true;
    buf_put_text(out, ",\"default_values\":[");
    for (uint16_t i = 0; i < t->ncols; i++)
        if (t->cols[i].has_default) {
            comma(out, &first);
            buf_put_text(out, "{");
            put_default_value(out, i, t->cols[i].default_bsatn);
        }
    buf_put_text(out, "]");
}

static void put_table(Buf *out, const TableDef *t, int version)
{
    const char *name_key = version == 9 ? "name" : "source_name";
    buf_put_text(out, "{");
    put_key_text(out, name_key, version == 9 ? t->name : t->source_name);
    buf_printf(out, ",\"product_type_ref\":%d,\"primary_key\":", t->row->ref);
    put_cols(out, t->pk >= 0, &(uint16_t){(uint16_t)t->pk});
    buf_put_text(out, ",\"indexes\":[");
    for (uint16_t i = 0; i < t->nindexes; i++) {
        if (i)
            buf_put_text(out, ",");
        put_index(out, &t->indexes[i], name_key);
    }
    buf_put_text(out, "],\"constraints\":[");
    for (uint16_t i = 0; i < t->nconstraints; i++) {
        buf_printf(out, "%s{\"%s\":", i ? "," : "", name_key);
        put_some(out, t->constraints[i].name);
        buf_put_text(out, ",\"data\":{\"Unique\":{\"columns\":");
        put_cols(out, t->constraints[i].ncols, t->constraints[i].cols);
        buf_put_text(out, "}}}");
    }
    buf_put_text(out, "],\"sequences\":[");
    for (uint16_t i = 0; i < t->nsequences; i++) {
        if (i)
            buf_put_text(out, ",");
        put_sequence(out, &t->sequences[i], name_key);
    }
    buf_put_text(out, "]");
    if (version == 9) {
        buf_put_text(out, ",\"schedule\":");
        put_schedule_v9(out, t->schedule);
    }
    buf_printf(out, ",\"table_type\":{\"User\":[]},\"table_access\":{\"%s\":[]}", t->access == ACCESS_PUBLIC ? "Public" : "Private");
    if (version != 9) {
        put_defaults_v10(out, t);
        buf_printf(out, ",\"is_event\":%s", t->is_event ? "true" : "false");
    }
    buf_put_text(out, "}");
}

static void put_tables(Buf *out, const ModuleDef *def, int version)
{
    buf_put_text(out, "[");
    for (uint32_t i = 0; i < def->ntables; i++) {
        if (i)
            buf_put_text(out, ",");
        put_table(out, &def->tables[i], version);
    }
    buf_put_text(out, "]");
}

/* ---- functions and types ---------------------------------------------------------------------- */

static const char *const lifecycle_names[] = {"Init", "OnConnect", "OnDisconnect"};

static void put_params(Buf *out, const Type *params)
{
    buf_put_text(out, ",\"params\":");
    put_elements(out, "elements", params->nfields, params->fields);
}

static void put_visibility(Buf *out, bool is_private)
{
    buf_printf(out, ",\"visibility\":{\"%s\":[]}", is_private ? "Private" : "ClientCallable");
}

static void put_reducer(Buf *out, const ReducerDef *r, int version)
{
    buf_put_text(out, "{");
    put_key_text(out, version == 9 ? "name" : "source_name", r->name);
    put_params(out, r->params);
    if (version != 9) {
        put_visibility(out, r->is_private);
        buf_put_text(out, ",\"ok_return_type\":{\"Product\":{\"elements\":[]}},\"err_return_type\":{\"String\":[]}}");
    } else if (r->lifecycle == LIFECYCLE_NONE) {
        buf_put_text(out, ",\"lifecycle\":{\"none\":[]}}");
    } else {
        buf_printf(out, ",\"lifecycle\":{\"some\":{\"%s\":[]}}}", lifecycle_names[r->lifecycle]);
    }
}

static void put_reducers(Buf *out, const ModuleDef *def, int version)
{
    buf_put_text(out, "[");
    for (uint32_t i = 0; i < def->nreducers; i++) {
        if (i)
            buf_put_text(out, ",");
        put_reducer(out, &def->reducers[i], version);
    }
    buf_put_text(out, "]");
}

static void put_procedure(Buf *out, const ProcedureDef *p, int version)
{
    buf_put_text(out, "{");
    put_key_text(out, version == 9 ? "name" : "source_name", p->name);
    put_params(out, p->params);
    buf_put_text(out, ",\"return_type\":");
    put_type(out, p->ret, false);
    if (version != 9)
        put_visibility(out, p->is_private);
    buf_put_text(out, "}");
}

static void put_view(Buf *out, const ViewDef *v, int version)
{
    buf_put_text(out, "{");
    put_key_text(out, version == 9 ? "name" : "source_name", v->name);
    buf_printf(out, ",\"index\":%u,\"is_public\":%s,\"is_anonymous\":%s", v->index, v->is_public ? "true" : "false",
               v->is_anonymous ? "true" : "false");
    put_params(out, v->params);
    buf_put_text(out, ",\"return_type\":");
    put_type(out, v->ret, false);
    buf_put_text(out, "}");
}

static void put_type_names(Buf *out, const ModuleDef *def, const char *name_key)
{
    buf_put_text(out, "[");
    for (uint32_t i = 0; i < def->ntype_names; i++) {
        const struct TypeName *n = &def->type_names[i];
        buf_printf(out, "%s{\"%s\":{\"scope\":[],", i ? "," : "", name_key);
        put_key_text(out, name_key, n->name);
        buf_printf(out, "},\"ty\":%u,\"custom_ordering\":%s}", n->ref, n->custom_ordering ? "true" : "false");
    }
    buf_put_text(out, "]");
}

/* ---- version 9 -------------------------------------------------------------------------------- */

static void put_misc_exports(Buf *out, const ModuleDef *def)
{
    bool first = true;
    buf_put_text(out, ",\"misc_exports\":[");
    for (uint32_t i = 0; i < def->ntables; i++)
        for (uint16_t c = 0; c < def->tables[i].ncols; c++)
            if (def->tables[i].cols[c].has_default) {
                comma(out, &first);
                buf_put_text(out, "{\"ColumnDefaultValue\":{");
                put_key_text(out, "table", def->tables[i].name);
                buf_put_text(out, ",");
                put_default_value(out, c, def->tables[i].cols[c].default_bsatn);
                buf_put_text(out, "}");
            }
    for (uint32_t i = 0; i < def->nprocedures; i++) {
        comma(out, &first);
        buf_put_text(out, "{\"Procedure\":");
        put_procedure(out, &def->procedures[i], 9);
        buf_put_text(out, "}");
    }
    for (uint32_t i = 0; i < def->nviews; i++) {
        comma(out, &first);
        buf_put_text(out, "{\"View\":");
        put_view(out, &def->views[i], 9);
        buf_put_text(out, "}");
    }
    buf_put_text(out, "]");
}

static void put_rls(Buf *out, const ModuleDef *def)
{
    bool first = true;
    buf_put_text(out, "[");
    for (uint32_t i = 0; i < def->nrls; i++) {
        comma(out, &first);
        buf_put_text(out, "{");
        put_key_text(out, "sql", def->rls[i].sql);
        buf_put_text(out, "}");
    }
    buf_put_text(out, "]");
}

static void put_v9(Buf *out, const ModuleDef *def)
{
    buf_put_text(out, "{\"typespace\":");
    put_typespace(out, def);
    buf_put_text(out, ",\"tables\":");
    put_tables(out, def, 9);
    buf_put_text(out, ",\"reducers\":");
    put_reducers(out, def, 9);
    buf_put_text(out, ",\"types\":");
    put_type_names(out, def, "name");
    put_misc_exports(out, def);
    buf_put_text(out, ",\"row_level_security\":");
    put_rls(out, def);
    buf_put_text(out, "}");
}

/* ---- version 10 ------------------------------------------------------------------------------- */

static void put_schedules(Buf *out, const ModuleDef *def)
{
    bool first = true;
    for (uint32_t i = 0; i < def->ntables; i++) {
        const ScheduleDef *s = def->tables[i].schedule;
        if (!s)
            continue;
        buf_put_text(out, first ? ",{\"Schedules\":[{\"source_name\":" : ",{\"source_name\":");
        first = false;
        put_some(out, s->name);
        buf_put_text(out, ",");
        put_key_text(out, "table_name", def->tables[i].source_name);
        buf_printf(out, ",\"schedule_at_col\":%u,", s->at_col);
        put_key_text(out, "function_name", s->function);
        buf_put_text(out, "}");
    }
    buf_put_text(out, first ? "" : "]}");
}

static void put_lifecycles(Buf *out, const ModuleDef *def)
{
    bool first = true;
    for (uint32_t i = 0; i < def->nreducers; i++) {
        const ReducerDef *r = &def->reducers[i];
        if (r->lifecycle == LIFECYCLE_NONE)
            continue;
        buf_printf(out, "%s{\"lifecycle_spec\":{\"%s\":[]},", first ? ",{\"LifeCycleReducers\":[" : ",", lifecycle_names[r->lifecycle]);
        first = false;
        put_key_text(out, "function_name", r->name);
        buf_put_text(out, "}");
    }
    buf_put_text(out, first ? "" : "]}");
}

static void put_explicit_name(Buf *out, bool *first, const char *kind, Str source, Str name)
{
    comma(out, first);
    buf_printf(out, "{\"%s\":{", kind);
    put_key_text(out, "source_name", source);
    buf_put_text(out, ",");
    put_key_text(out, "canonical_name", name);
    buf_put_text(out, "}}");
}

static void put_explicit_names(Buf *out, const ModuleDef *def)
{
    bool first = true;
    buf_put_text(out, ",{\"ExplicitNames\":{\"entries\":[");
    for (uint32_t i = 0; i < def->ntables; i++)
        put_explicit_name(out, &first, "Table", def->tables[i].source_name, def->tables[i].name);
    for (uint32_t i = 0; i < def->nreducers; i++)
        put_explicit_name(out, &first, "Function", def->reducers[i].name, def->reducers[i].name);
    for (uint32_t i = 0; i < def->nprocedures; i++)
        put_explicit_name(out, &first, "Function", def->procedures[i].name, def->procedures[i].name);
    for (uint32_t i = 0; i < def->nviews; i++)
        put_explicit_name(out, &first, "Function", def->views[i].name, def->views[i].name);
    buf_put_text(out, "]}}");
}

static void put_route(Buf *out, const HttpRouteDef *r)
{
    static const char *const known[][2] = {{"GET", "Get"},         {"HEAD", "Head"},     {"POST", "Post"},
                                           {"PUT", "Put"},         {"DELETE", "Delete"}, {"CONNECT", "Connect"},
                                           {"OPTIONS", "Options"}, {"TRACE", "Trace"},   {"PATCH", "Patch"}};
    buf_put_text(out, "{");
    put_key_text(out, "handler_function", r->handler);
    if (str_is(r->method, "ANY")) {
        buf_put_text(out, ",\"method\":{\"Any\":[]},");
    } else {
        size_t i = 0;
        while (i < COUNT_OF(known) && !str_is(r->method, known[i][0]))
            i++;
        buf_put_text(out, ",\"method\":{\"Method\":{");
        if (i < COUNT_OF(known))
            buf_printf(out, "\"%s\":[]", known[i][1]);
        else
            put_key_text(out, "Extension", r->method);
        buf_put_text(out, "}},");
    }
    put_key_text(out, "path", r->path);
    buf_put_text(out, "}");
}

static void put_later_sections(Buf *out, const ModuleDef *def)
{
    bool first = true;
    if (def->nrls) {
        buf_put_text(out, ",{\"RowLevelSecurity\":");
        put_rls(out, def);
        buf_put_text(out, "}");
    }
    for (uint32_t i = 0; i < def->nhttp_handlers; i++) {
        buf_put_text(out, i ? ",{" : ",{\"HttpHandlers\":[{");
        put_key_text(out, "source_name", def->http_handlers[i]);
        buf_put_text(out, i + 1 == def->nhttp_handlers ? "}]}" : "}");
    }
    for (uint32_t i = 0; i < def->nhttp_routes; i++) {
        buf_put_text(out, i ? "," : ",{\"HttpRoutes\":[");
        put_route(out, &def->http_routes[i]);
        buf_put_text(out, i + 1 == def->nhttp_routes ? "]}" : "");
    }
    for (uint32_t i = 0; i < def->nviews; i++) {
        const ViewDef *v = &def->views[i];
        if (v->pk < 0)
            continue;
        buf_put_text(out, first ? ",{\"ViewPrimaryKeys\":[{" : ",{");
        first = false;
        put_key_text(out, "view_source_name", v->source_name);
        buf_put_text(out, ",\"columns\":[");
        put_text(out, v->row->fields[v->pk].name);
        buf_put_text(out, "]}");
    }
    buf_put_text(out, first ? "" : "]}");
}

/* Empty sections are left out, except Typespace and ExplicitNames. */
static void put_v10(Buf *out, const ModuleDef *def)
{
    buf_put_text(out, "{\"sections\":[{\"Typespace\":");
    put_typespace(out, def);
    buf_put_text(out, "}");
    if (def->ntype_names) {
        buf_put_text(out, ",{\"Types\":");
        put_type_names(out, def, "source_name");
        buf_put_text(out, "}");
    }
    if (def->ntables) {
        buf_put_text(out, ",{\"Tables\":");
        put_tables(out, def, 10);
        buf_put_text(out, "}");
    }
    if (def->nreducers) {
        buf_put_text(out, ",{\"Reducers\":");
        put_reducers(out, def, 10);
        buf_put_text(out, "}");
    }
    for (uint32_t i = 0; i < def->nprocedures; i++) {
        buf_put_text(out, i ? "," : ",{\"Procedures\":[");
        put_procedure(out, &def->procedures[i], 10);
        buf_put_text(out, i + 1 == def->nprocedures ? "]}" : "");
    }
    for (uint32_t i = 0; i < def->nviews; i++) {
        buf_put_text(out, i ? "," : ",{\"Views\":[");
        put_view(out, &def->views[i], 10);
        buf_put_text(out, i + 1 == def->nviews ? "]}" : "");
    }
    put_schedules(out, def);
    put_lifecycles(out, def);
    put_explicit_names(out, def);
    put_later_sections(out, def);
    buf_put_text(out, "]}");
}

void module_def_to_json(Buf *out, const ModuleDef *def, int version)
{
    if (version == 9)
        put_v9(out, def);
    else
        put_v10(out, def);
}
