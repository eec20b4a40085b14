/* module_raw.c - RawModuleDef V10 taken apart: bounds, tags and counts, nothing about meaning.
 *
 * Untrusted input. A count is believed only as far as the bytes behind it could hold that many records of
 * the smallest possible size, so no allocation exceeds a small multiple of the input. */
#include "host/schema/module_int.h"

typedef struct Raw {
    Reader r;
    Arena *a;
    Error *err;
    const char *part; /* of the definition, for messages */
} Raw;

static Status raw_fail(Raw *x, const char *what)
{
    return FAIL(x->err, S_INVALID, "cannot decode module description: %s: %s", x->part, what);
}
#define TRUNCATED(x) raw_fail((x), "the bytes end in the middle of it")

/* The count of a list whose records take at least `least` bytes each. */
static Status raw_count(Raw *x, size_t least, uint32_t max, uint32_t *ret)
{
    uint32_t n = read_u32(&x->r);
    if (x->r.bad || n > reader_left(&x->r) / least)
        return TRUNCATED(x);
    if (n > max)
        return FAIL(x->err, S_TOO_LARGE, "cannot decode module description: %s: a list has %u entries, at most %u are allowed", x->part, n,
                    max);
    *ret = n;
    return S_OK;
}

static Status raw_str(Raw *x, Str *ret)
{
    Str s = read_str(&x->r);
    if (x->r.bad)
        return TRUNCATED(x);
    if (!utf8_valid(s))
        return raw_fail(x, "a name is not valid UTF-8");
    if (s.len > DEF_NAME_BYTES_MAX)
        return FAIL(x->err, S_TOO_LARGE, "cannot decode module description: %s: a name has %zu bytes, at most %d are allowed", x->part,
                    s.len, DEF_NAME_BYTES_MAX);
    *ret = s;
    return S_OK;
}

/* A text that is no name: SQL. */
static Status raw_text(Raw *x, Str *ret)
{
    *ret = read_str(&x->r);
    if (x->r.bad)
        return TRUNCATED(x);
    if (!utf8_valid(*ret) || memchr(ret->ptr ? ret->ptr : "", 0, ret->len))
        return raw_fail(x, "a text is not valid UTF-8, or holds a NUL byte");
    if (ret->len > DEF_RLS_BYTES_MAX)
        return FAIL(x->err, S_TOO_LARGE, "cannot decode module description: %s: a text has %zu bytes, at most %d are allowed", x->part,
                    ret->len, DEF_RLS_BYTES_MAX);
    return S_OK;
}

static Status raw_tag(Raw *x, uint8_t variants, uint8_t *ret)
{
    uint8_t tag = read_u8(&x->r);
    if (x->r.bad)
        return TRUNCATED(x);
    if (tag >= variants)
        return FAIL(x->err, S_INVALID, "cannot decode module description: %s: tag %u, expected less than %u", x->part, tag, variants);
    *ret = tag;
    return S_OK;
}

static Status raw_bool(Raw *x, bool *ret)
{
    uint8_t tag;
    TRY(raw_tag(x, 2, &tag));
    *ret = tag;
    return S_OK;
}

/* Option<string>: an absent one is the empty string. */
static Status raw_opt_str(Raw *x, Str *ret)
{
    uint8_t none;
    TRY(raw_tag(x, 2, &none));
    *ret = (Str){0};
    return none ? S_OK : raw_str(x, ret);
}

static Status raw_i128(Raw *x, i128 *ret)
{
    const uint8_t *p = read_raw(&x->r, 16);
    if (!p)
        return TRUNCATED(x);
    memcpy(ret, p, 16);
    return S_OK;
}

static Status raw_opt_i128(Raw *x, bool *ret_has, i128 *ret)
{
    uint8_t none;
    TRY(raw_tag(x, 2, &none));
    *ret_has = !none;
    return none ? S_OK : raw_i128(x, ret);
}

static Status raw_u16(Raw *x, uint16_t *ret)
{
    *ret = read_u16(&x->r);
    return x->r.bad ? TRUNCATED(x) : S_OK;
}

static Status raw_u32(Raw *x, uint32_t *ret)
{
    *ret = read_u32(&x->r);
    return x->r.bad ? TRUNCATED(x) : S_OK;
}

static Status raw_cols(Raw *x, ColList *ret)
{
    TRY(raw_count(x, 2, DEF_LIST_MAX, &ret->n));
    ret->cols = arena_copy(x->a, read_raw(&x->r, ret->n * 2), ret->n * 2); /* copied: the input is not aligned */
    return S_OK;
}

/* ---- types: stepped over, their bytes kept ---------------------------------------------------- */

static Status skip_type(Raw *x, int depth);

static Status skip_elements(Raw *x, int depth)
{
    uint32_t n;
    TRY(raw_count(x, 2, TYPE_FIELDS_MAX, &n));
    for (uint32_t i = 0; i < n; i++) {
        Str name;
        TRY(raw_opt_str(x, &name));
        TRY(skip_type(x, depth));
    }
    return S_OK;
}

static Status skip_type(Raw *x, int depth)
{
    uint8_t tag;
    uint32_t ref;
    if (depth > TYPE_DEPTH_MAX)
        return FAIL(x->err, S_TOO_LARGE, "cannot decode module description: %s: a type is nested more than %d levels deep", x->part,
                    TYPE_DEPTH_MAX);
    TRY(raw_tag(x, AT_F64 + 1, &tag));
    switch (tag) {
    case AT_REF: return raw_u32(x, &ref);
    case AT_SUM:
    case AT_PRODUCT: return skip_elements(x, depth + 1);
    case AT_ARRAY: return skip_type(x, depth + 1);
    default: return S_OK;
    }
}

static Status raw_type(Raw *x, Bytes *ret)
{
    const uint8_t *start = x->r.ptr;
    TRY(skip_type(x, 1));
    *ret = bytes_of(start, (size_t)(x->r.ptr - start));
    return S_OK;
}

static Status raw_product(Raw *x, Bytes *ret)
{
    const uint8_t *start = x->r.ptr;
    TRY(skip_elements(x, 1));
    *ret = bytes_of(start, (size_t)(x->r.ptr - start));
    return S_OK;
}

/* ---- records ---------------------------------------------------------------------------------- */

/* Reads "array of RECORD" with READ_ONE into freshly allocated memory. */
#define RAW_LIST(x, T, least, max, read_one, ret_n, ret_items)                                                                             \
    do {                                                                                                                                   \
        uint32_t n_;                                                                                                                       \
        TRY(raw_count((x), (least), (max), &n_));                                                                                          \
        T *items_ = ARENA_ARRAY((x)->a, T, n_);                                                                                            \
        for (uint32_t i_ = 0; i_ < n_; i_++)                                                                                               \
            TRY(read_one((x), &items_[i_]));                                                                                               \
        *(ret_n) = n_;                                                                                                                     \
        *(ret_items) = items_;                                                                                                             \
    } while (0)

static Status raw_type_name(Raw *x, RawTypeName *ret)
{
    uint32_t nscope;
    TRY(raw_count(x, 4, DEF_LIST_MAX, &nscope));
    ret->scoped = nscope > 0;
    for (uint32_t i = 0; i < nscope; i++) {
        Str scope;
        TRY(raw_str(x, &scope));
    }
    TRY(raw_str(x, &ret->name));
    TRY(raw_u32(x, &ret->ref));
    return raw_bool(x, &ret->custom_ordering);
}

static Status raw_index(Raw *x, RawIndex *ret)
{
    uint8_t algorithm;
    TRY(raw_opt_str(x, &ret->source_name));
    TRY(raw_opt_str(x, &ret->accessor));
    TRY(raw_tag(x, 3, &algorithm));
    ret->algorithm = algorithm;
    if (algorithm != INDEX_DIRECT)
        return raw_cols(x, &ret->cols);
    uint16_t *col = ARENA_NEW(x->a, uint16_t);
    TRY(raw_u16(x, col));
    ret->cols = (ColList){1, col};
    return S_OK;
}

static Status raw_constraint(Raw *x, ColList *ret)
{
    Str ignored;
    uint8_t unique;
    TRY(raw_opt_str(x, &ignored));
    TRY(raw_tag(x, 1, &unique));
    return raw_cols(x, ret);
}

static Status raw_sequence(Raw *x, RawSequence *ret)
{
    TRY(raw_opt_str(x, &ret->source_name));
    TRY(raw_u16(x, &ret->col));
    TRY(raw_opt_i128(x, &ret->has_start, &ret->start));
    TRY(raw_opt_i128(x, &ret->has_min, &ret->min));
    TRY(raw_opt_i128(x, &ret->has_max, &ret->max));
    return raw_i128(x, &ret->increment);
}

static Status raw_default(Raw *x, RawDefault *ret)
{
    TRY(raw_u16(x, &ret->col));
    ret->value = read_blob(&x->r);
    return x->r.bad ? TRUNCATED(x) : S_OK;
}

static Status raw_table(Raw *x, RawTable *ret)
{
    uint8_t tag;
    TRY(raw_str(x, &ret->source_name));
    TRY(raw_u32(x, &ret->type_ref));
    TRY(raw_cols(x, &ret->pk));
    RAW_LIST(x, RawIndex, 5, DEF_TABLE_PARTS_MAX, raw_index, &ret->nindexes, &ret->indexes);
    RAW_LIST(x, ColList, 6, DEF_TABLE_PARTS_MAX, raw_constraint, &ret->nconstraints, &ret->constraints);
    RAW_LIST(x, RawSequence, 22, DEF_LIST_MAX, raw_sequence, &ret->nsequences, &ret->sequences);
    TRY(raw_tag(x, 2, &tag));
    ret->is_system = tag == 0;
    TRY(raw_tag(x, 2, &tag));
    ret->access = tag;
    RAW_LIST(x, RawDefault, 6, DEF_LIST_MAX, raw_default, &ret->ndefaults, &ret->defaults);
    return raw_bool(x, &ret->is_event);
}

static Status raw_visibility(Raw *x, RawFunction *ret)
{
    uint8_t tag;
    TRY(raw_tag(x, 2, &tag));
    ret->is_private = tag == 0;
    return S_OK;
}

static Status raw_reducer(Raw *x, RawFunction *ret)
{
    TRY(raw_str(x, &ret->source_name));
    TRY(raw_product(x, &ret->params));
    TRY(raw_visibility(x, ret));
    TRY(raw_type(x, &ret->ok));
    return raw_type(x, &ret->err);
}

static Status raw_procedure(Raw *x, RawFunction *ret)
{
    TRY(raw_str(x, &ret->source_name));
    TRY(raw_product(x, &ret->params));
    TRY(raw_type(x, &ret->ok));
    return raw_visibility(x, ret);
}

static Status raw_view(Raw *x, RawFunction *ret)
{
    TRY(raw_str(x, &ret->source_name));
    TRY(raw_u32(x, &ret->view_index));
    TRY(raw_bool(x, &ret->is_public));
    TRY(raw_bool(x, &ret->is_anonymous));
    TRY(raw_product(x, &ret->params));
    return raw_type(x, &ret->ok);
}

static Status raw_schedule(Raw *x, RawSchedule *ret)
{
    Str ignored;
    TRY(raw_opt_str(x, &ignored));
    TRY(raw_str(x, &ret->table));
    TRY(raw_u16(x, &ret->at_col));
    return raw_str(x, &ret->function);
}

static Status raw_lifecycle(Raw *x, RawLifecycle *ret)
{
    uint8_t which;
    TRY(raw_tag(x, LIFECYCLE_NONE, &which));
    ret->which = which;
    return raw_str(x, &ret->function);
}

static Status raw_explicit_name(Raw *x, RawName *ret)
{
    uint8_t kind;
    TRY(raw_tag(x, 3, &kind));
    ret->kind = kind;
    TRY(raw_str(x, &ret->source));
    return raw_str(x, &ret->canonical);
}

static Status raw_route(Raw *x, RawRoute *ret)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    uint8_t some, method;
    TRY(raw_str(x, &ret->handler));
    TRY(raw_tag(x, 2, &some));
    ret->method = STR("ANY");
    if (some) {
        TRY(raw_tag(x, COUNT_OF(methods) + 1, &method));
        if (method < COUNT_OF(methods))
            ret->method = str_of(methods[method]);
        else
            TRY(raw_str(x, &ret->method));
    }
    return raw_str(x, &ret->path);
}

static Status raw_view_key(Raw *x, RawViewKey *ret)
{
    TRY(raw_str(x, &ret->view));
    RAW_LIST(x, Str, 4, DEF_LIST_MAX, raw_str, &ret->ncols, &ret->cols);
    return S_OK;
}

/* ---- sections --------------------------------------------------------------------------------- */

static const char *const section_names[SECTION_COUNT] = {"Typespace",        "Types",
                                                         "Tables",           "Reducers",
                                                         "Procedures",       "Views",
                                                         "Schedules",        "LifeCycleReducers",
                                                         "RowLevelSecurity", "CaseConversionPolicy",
                                                         "ExplicitNames",    "HttpHandlers",
                                                         "HttpRoutes",       "ViewPrimaryKeys",
                                                         "Submodules"};

static Status raw_section(Raw *x, Section section, RawModule *m)
{
    uint8_t tag;
    uint32_t n;
    switch (section) {
    case SECTION_TYPESPACE: RAW_LIST(x, Bytes, 1, DEF_TYPES_MAX, raw_type, &m->ntypes, &m->types); return S_OK;
    case SECTION_TYPES: RAW_LIST(x, RawTypeName, 13, DEF_TYPES_MAX, raw_type_name, &m->nnames, &m->names); return S_OK;
    case SECTION_TABLES: RAW_LIST(x, RawTable, 31, DEF_TABLES_MAX, raw_table, &m->ntables, &m->tables); return S_OK;
    case SECTION_REDUCERS: RAW_LIST(x, RawFunction, 11, DEF_FUNCTIONS_MAX, raw_reducer, &m->nreducers, &m->reducers); return S_OK;
    case SECTION_PROCEDURES: RAW_LIST(x, RawFunction, 10, DEF_FUNCTIONS_MAX, raw_procedure, &m->nprocedures, &m->procedures); return S_OK;
    case SECTION_VIEWS: RAW_LIST(x, RawFunction, 15, DEF_FUNCTIONS_MAX, raw_view, &m->nviews, &m->views); return S_OK;
    case SECTION_SCHEDULES: RAW_LIST(x, RawSchedule, 11, DEF_TABLES_MAX, raw_schedule, &m->nschedules, &m->schedules); return S_OK;
    case SECTION_LIFECYCLES: RAW_LIST(x, RawLifecycle, 5, DEF_FUNCTIONS_MAX, raw_lifecycle, &m->nlifecycles, &m->lifecycles); return S_OK;
    case SECTION_CASE_POLICY:
        TRY(raw_tag(x, 2, &tag));
        m->snake_case = tag == 1;
        return S_OK;
    case SECTION_EXPLICIT_NAMES:
        RAW_LIST(x, RawName, 9, 4 * DEF_FUNCTIONS_MAX, raw_explicit_name, &m->nexplicit, &m->explicit_names);
        return S_OK;
    case SECTION_RLS: RAW_LIST(x, Str, 4, DEF_LIST_MAX, raw_text, &m->nrls, &m->rls); return S_OK;
    case SECTION_HTTP_HANDLERS: RAW_LIST(x, Str, 4, DEF_FUNCTIONS_MAX, raw_str, &m->nhandlers, &m->handlers); return S_OK;
    case SECTION_HTTP_ROUTES: RAW_LIST(x, RawRoute, 9, DEF_FUNCTIONS_MAX, raw_route, &m->nroutes, &m->routes); return S_OK;
    case SECTION_VIEW_KEYS: RAW_LIST(x, RawViewKey, 8, DEF_FUNCTIONS_MAX, raw_view_key, &m->nview_keys, &m->view_keys); return S_OK;
    case SECTION_SUBMODULES:
        TRY(raw_u32(x, &n));
        return n ? raw_fail(x, "this host takes modules without submodules only; put their tables and functions into the module itself")
                 : S_OK;
    case SECTION_COUNT: break;
    }
    BUG("section %d", (int)section);
}

Status module_raw_read(RawModule *ret, Bytes bsatn, Arena *a, Error *err)
{
    Raw x = {reader_of(bsatn), a, err, "head"};
    uint8_t version = read_u8(&x.r);
    uint32_t nsections;
    *ret = (RawModule){.snake_case = true};
    if (x.r.bad)
        return TRUNCATED(&x);
    if (version != MODULE_V10)
        return FAIL(err, S_INVALID, "cannot decode module description: version tag %u, this host reads %u (V10)", version, MODULE_V10);
    TRY(raw_count(&x, 2, SECTION_COUNT, &nsections));
    for (uint32_t i = 0; i < nsections; i++) {
        uint8_t tag;
        x.part = "section";
        TRY(raw_tag(&x, SECTION_COUNT, &tag));
        x.part = section_names[tag];
        if (ret->seen[tag])
            return raw_fail(&x, "the section appears twice");
        ret->seen[tag] = true;
        TRY(raw_section(&x, tag, ret));
    }
    x.part = "end";
    size_t parts = 0; /* rules compare the parts of a table with each other: keep that affordable */
    for (uint32_t i = 0; i < ret->ntables; i++)
        parts += ret->tables[i].nindexes + ret->tables[i].nconstraints;
    if (parts > 4 * DEF_RELATIONS_MAX)
        return FAIL(err, S_TOO_LARGE, "module definition has %zu indexes and constraints, at most %d are allowed", parts,
                    4 * DEF_RELATIONS_MAX);
    return reader_left(&x.r) ? raw_fail(&x, "more bytes follow") : S_OK;
}
