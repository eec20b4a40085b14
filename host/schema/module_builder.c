/* module_builder.c - describe a module in a program, get RawModuleDef V10 as BSATN.
 *
 * Writes only what was declared; whether that makes sense is for module_def_from_bsatn to say. Names go out
 * as they are; what becomes of them is the case policy (None unless asked) and the explicit names. Everything
 * lives in the builder's arena until finish. */
#include "host/schema/module_int.h"

#include <stdio.h>

typedef struct BuiltIndex {
    struct BuiltIndex *next;
    Str accessor;
    IndexAlgorithm algorithm;
    bool unique; /* several columns: a constraint of its own; one column: the column's flag says it */
    uint16_t ncols;
    const uint16_t *cols;
} BuiltIndex;

typedef struct BuiltSequence {
    struct BuiltSequence *next;
    uint16_t col;
    i128 start, min, max, increment;
} BuiltSequence;

typedef struct BuiltTable {
    Str name;
    Access access;
    bool is_event;
    uint32_t ncols;
    const BuilderColumn *cols;
    const ColumnDef *defs; /* names only, for generated_name */
    Type *row;
    BuiltIndex *indexes, **indexes_end;
    BuiltSequence *sequences;
} BuiltTable;

typedef struct BuiltFunction {
    struct BuiltFunction *next;
    Str name;
    const Type *params, *ret;
    Lifecycle lifecycle;
    bool is_public, is_anonymous;
} BuiltFunction;

typedef struct BuiltSchedule {
    struct BuiltSchedule *next;
    uint32_t table;
    uint16_t at_col;
    Str function;
} BuiltSchedule;

typedef struct BuiltName {
    struct BuiltName *next;
    NameKind kind;
    Str source, canonical;
} BuiltName;

/* A rule, a handler, a route or the key of a view: up to three texts. */
typedef struct BuiltTexts {
    struct BuiltTexts *next;
    Str a, b, c;
} BuiltTexts;
typedef struct TextList {
    BuiltTexts *first, **end;
    uint32_t n;
} TextList;

typedef struct FunctionList {
    BuiltFunction *first, **end;
    uint32_t n;
} FunctionList;

struct ModuleBuilder {
    Arena arena;
    uint32_t ntypes, types_cap; /* the typespace */
    Type **types;
    uint32_t ntables, tables_cap;
    BuiltTable **tables;
    FunctionList reducers, procedures, views;
    BuiltSchedule *schedules;
    uint32_t nschedules;
    BuiltName *names, **names_end;
    TextList rls, handlers, routes, view_keys;
    bool snake_case;
    Str flaw; /* the first thing that cannot be written at all */
};

/* ---- describing ------------------------------------------------------------------------------- */

ModuleBuilder *module_builder_new(void)
{
    ModuleBuilder *b = NEW(ModuleBuilder);
    b->reducers.end = &b->reducers.first;
    b->procedures.end = &b->procedures.first;
    b->views.end = &b->views.first;
    b->names_end = &b->names;
    b->rls.end = &b->rls.first;
    b->handlers.end = &b->handlers.first;
    b->routes.end = &b->routes.first;
    b->view_keys.end = &b->view_keys.first;
    return b;
}

Arena *module_builder_arena(ModuleBuilder *b) { return &b->arena; }

static Type *add_type(ModuleBuilder *b, Str name, const Type *structure)
{
    if (b->ntypes == b->types_cap) {
        b->types_cap = MAX(b->types_cap * 2, 16u);
        b->types = x_realloc(b->types, b->types_cap * sizeof *b->types);
    }
    Type *t = arena_copy(&b->arena, structure, sizeof *structure);
    t->ref = (int32_t)b->ntypes;
    t->name = arena_str(&b->arena, name);
    b->types[b->ntypes++] = t;
    return t;
}

static Type *type_by_name(ModuleBuilder *b, Str name)
{
    for (uint32_t i = 0; i < b->ntypes; i++)
        if (str_eq(b->types[i]->name, name))
            return b->types[i];
    return NULL;
}

static const BuiltTable *table_of_row(ModuleBuilder *b, const Type *row)
{
    for (uint32_t i = 0; i < b->ntables; i++)
        if (b->tables[i]->row == row)
            return b->tables[i];
    return NULL;
}

const Type *module_builder_named(ModuleBuilder *b, Str name, const Type *structure)
{
    for (uint32_t i = 0; i < b->ntables; i++) /* the struct of a table's rows, declared by itself */
        if (str_eq(b->tables[i]->name, name) && type_equal(b->tables[i]->row, structure))
            return b->tables[i]->row;
    Type *known = type_by_name(b, name);
    if (known && type_equal(known, structure))
        return known;
    const BuiltTable *table = known ? table_of_row(b, known) : NULL;
    if (table)
        known->name = table->name; /* the declared type keeps its spelling, the row type gives way */
    else if (known && !b->flaw.len)
        b->flaw = str_of(arena_sprintf(&b->arena, "type `%.*s` is declared twice with different parts; rename one", STR_FMT(name)));
    return add_type(b, name, structure);
}

/* A row type is named after its table: PascalCase, or the table's spelling when another type has that name. */
static Type *row_type(ModuleBuilder *b, Str table, const Type *structure)
{
    Str pascal = name_convert(&b->arena, table, CASE_PASCAL);
    Type *same_spelling = type_by_name(b, table), *same_pascal = type_by_name(b, pascal);
    if (same_spelling && type_equal(same_spelling, structure) && !table_of_row(b, same_spelling))
        return same_spelling;
    if (same_pascal && type_equal(same_pascal, structure) && !table_of_row(b, same_pascal))
        return same_pascal;
    return add_type(b, same_pascal ? table : pascal, structure);
}

/* Names are generated from columns: a part that names one too many cannot even be written. */
static bool columns_exist(ModuleBuilder *b, const BuiltTable *t, const char *what, uint16_t ncols, const uint16_t *cols)
{
    for (uint16_t i = 0; i < ncols; i++)
        if (cols[i] >= t->ncols) {
            b->flaw = str_of(arena_sprintf(&b->arena, "table `%.*s`: %s names column %u, but the table has %u columns", STR_FMT(t->name),
                                           what, cols[i], t->ncols));
            return false;
        }
    return true;
}

static void add_index(ModuleBuilder *b, uint32_t table, Str accessor, IndexAlgorithm algorithm, bool unique, uint16_t ncols,
                      const uint16_t *cols)
{
    ASSERT(table < b->ntables);
    BuiltTable *t = b->tables[table];
    if (!columns_exist(b, t, unique ? "a unique constraint" : "an index", ncols, cols))
        return;
    BuiltIndex *ix = ARENA_NEW(&b->arena, BuiltIndex);
    *ix = (BuiltIndex){NULL, arena_str(&b->arena, accessor), algorithm, unique, ncols, arena_copy(&b->arena, cols, ncols * sizeof *cols)};
    *t->indexes_end = ix;
    t->indexes_end = &ix->next;
}

uint32_t module_builder_table(ModuleBuilder *b, Str name, Access access, bool is_event, uint32_t ncols, const BuilderColumn *cols)
{
    BuiltTable *t = ARENA_NEW(&b->arena, BuiltTable);
    BuilderColumn *own = ARENA_ARRAY(&b->arena, BuilderColumn, ncols);
    ColumnDef *defs = ARENA_ARRAY(&b->arena, ColumnDef, ncols);
    Field *fields = ARENA_ARRAY(&b->arena, Field, ncols);
    for (uint32_t i = 0; i < ncols; i++) {
        own[i] = cols[i];
        own[i].name = arena_str(&b->arena, cols[i].name);
        own[i].default_bsatn.ptr = arena_copy(&b->arena, cols[i].default_bsatn.ptr, cols[i].default_bsatn.len);
        defs[i].name = own[i].name;
        fields[i] = (Field){.name = own[i].name, .type = cols[i].type};
    }
    *t =
        (BuiltTable){.name = arena_str(&b->arena, name), .access = access, .is_event = is_event, .ncols = ncols, .cols = own, .defs = defs};
    t->row = row_type(b, name, type_product(&b->arena, ncols, fields));
    t->indexes_end = &t->indexes;
    if (b->ntables == b->tables_cap) {
        b->tables_cap = MAX(b->tables_cap * 2, 16u);
        b->tables = x_realloc(b->tables, b->tables_cap * sizeof *b->tables);
    }
    b->tables[b->ntables++] = t;
    uint32_t position = b->ntables - 1;
    for (uint32_t i = 0; i < ncols; i++) /* a key column gets one index, whatever else is asked of it */
        if (cols[i].flags & (COLUMN_PK | COLUMN_UNIQUE | COLUMN_INDEX))
            add_index(b, position, own[i].name,
                      cols[i].flags & COLUMN_HASH     ? INDEX_HASH
                      : cols[i].flags & COLUMN_DIRECT ? INDEX_DIRECT
                                                      : INDEX_BTREE,
                      false, 1, &(uint16_t){(uint16_t)i});
    return position;
}

const Type *module_builder_row(ModuleBuilder *b, uint32_t table)
{
    ASSERT(table < b->ntables);
    return b->tables[table]->row;
}

void module_builder_index(ModuleBuilder *b, uint32_t table, Str accessor, uint16_t ncols, const uint16_t *cols)
{
    add_index(b, table, accessor, INDEX_BTREE, false, ncols, cols);
}

void module_builder_hash_index(ModuleBuilder *b, uint32_t table, Str accessor, uint16_t ncols, const uint16_t *cols)
{
    add_index(b, table, accessor, INDEX_HASH, false, ncols, cols);
}

void module_builder_unique(ModuleBuilder *b, uint32_t table, Str accessor, uint16_t ncols, const uint16_t *cols)
{
    add_index(b, table, accessor, INDEX_BTREE, true, ncols, cols);
}

void module_builder_sequence(ModuleBuilder *b, uint32_t table, uint16_t col, i128 start, i128 min, i128 max, i128 increment)
{
    ASSERT(table < b->ntables);
    BuiltTable *t = b->tables[table];
    if (!columns_exist(b, t, "a sequence", 1, &col))
        return;
    BuiltSequence *s = ARENA_NEW(&b->arena, BuiltSequence);
    *s = (BuiltSequence){t->sequences, col, start, min, max, increment};
    t->sequences = s;
}

static void add_name(ModuleBuilder *b, NameKind kind, Str source, Str canonical)
{
    BuiltName *n = ARENA_NEW(&b->arena, BuiltName);
    *n = (BuiltName){NULL, kind, arena_str(&b->arena, source), arena_str(&b->arena, canonical)};
    *b->names_end = n;
    b->names_end = &n->next;
}

void module_builder_name_table(ModuleBuilder *b, uint32_t table, Str canonical)
{
    ASSERT(table < b->ntables);
    add_name(b, NAME_TABLE, b->tables[table]->name, canonical);
}

void module_builder_name_function(ModuleBuilder *b, Str function, Str canonical) { add_name(b, NAME_FUNCTION, function, canonical); }

static Str index_source_name(ModuleBuilder *b, const BuiltTable *t, const BuiltIndex *ix)
{
    static const char *const suffixes[] = {[INDEX_BTREE] = "_idx_btree", [INDEX_HASH] = "_idx_hash", [INDEX_DIRECT] = "_idx_direct"};
    return generated_name(&b->arena, t->name, t->defs, ix->ncols, ix->cols, suffixes[ix->algorithm]);
}

bool module_builder_name_index(ModuleBuilder *b, uint32_t table, Str accessor, Str canonical)
{
    ASSERT(table < b->ntables);
    const BuiltTable *t = b->tables[table];
    for (const BuiltIndex *ix = t->indexes; ix; ix = ix->next)
        if (str_eq(ix->accessor, accessor)) {
            add_name(b, NAME_INDEX, index_source_name(b, t, ix), canonical);
            return true;
        }
    return false;
}

void module_builder_snake_case(ModuleBuilder *b) { b->snake_case = true; }

Str module_builder_canonical(ModuleBuilder *b, Str name, bool is_variant)
{
    return b->snake_case ? name_convert(&b->arena, name, is_variant ? CASE_LOWER_CAMEL : CASE_SNAKE) : arena_str(&b->arena, name);
}

void module_builder_schedule(ModuleBuilder *b, uint32_t table, uint16_t at_col, Str function)
{
    ASSERT(table < b->ntables);
    BuiltSchedule *s = ARENA_NEW(&b->arena, BuiltSchedule);
    *s = (BuiltSchedule){b->schedules, table, at_col, arena_str(&b->arena, function)};
    b->schedules = s;
    b->nschedules++;
}

static BuiltFunction *add_function(ModuleBuilder *b, FunctionList *list, Str name, const Type *params, const Type *ret)
{
    BuiltFunction *f = ARENA_NEW(&b->arena, BuiltFunction);
    *f = (BuiltFunction){.name = arena_str(&b->arena, name),
                         .params = params ? params : &type_unit,
                         .ret = ret ? ret : &type_unit,
                         .lifecycle = LIFECYCLE_NONE};
    *list->end = f;
    list->end = &f->next;
    list->n++;
    return f;
}

void module_builder_reducer(ModuleBuilder *b, Str name, const Type *params, Lifecycle lifecycle)
{
    add_function(b, &b->reducers, name, params, NULL)->lifecycle = lifecycle;
}

void module_builder_procedure(ModuleBuilder *b, Str name, const Type *params, const Type *ret)
{
    add_function(b, &b->procedures, name, params, ret);
}

void module_builder_view(ModuleBuilder *b, Str name, bool is_public, bool is_anonymous, const Type *ret)
{
    BuiltFunction *f = add_function(b, &b->views, name, NULL, ret);
    f->is_public = is_public;
    f->is_anonymous = is_anonymous;
}

static void add_texts(ModuleBuilder *b, TextList *list, Str x, Str y, Str z)
{
    BuiltTexts *t = ARENA_NEW(&b->arena, BuiltTexts);
    *t = (BuiltTexts){NULL, arena_str(&b->arena, x), arena_str(&b->arena, y), arena_str(&b->arena, z)};
    *list->end = t;
    list->end = &t->next;
    list->n++;
}

void module_builder_rls(ModuleBuilder *b, Str sql) { add_texts(b, &b->rls, sql, STR(""), STR("")); }
void module_builder_handler(ModuleBuilder *b, Str name) { add_texts(b, &b->handlers, name, STR(""), STR("")); }
void module_builder_route(ModuleBuilder *b, Str handler, Str method, Str path) { add_texts(b, &b->routes, handler, method, path); }
void module_builder_view_key(ModuleBuilder *b, Str view, Str column) { add_texts(b, &b->view_keys, view, column, STR("")); }

/* ---- writing ---------------------------------------------------------------------------------- */

static void put_some_str(Buf *out, Str s)
{
    buf_put_u8(out, 0);
    buf_put_str(out, s);
}

static void put_cols(Buf *out, uint16_t n, const uint16_t *cols)
{
    buf_put_u32(out, n);
    buf_put(out, cols, n * sizeof *cols);
}

/* ProductType: the AlgebraicType without its tag. */
static void put_product_type(Buf *out, const Type *t)
{
    OWN(buf) Buf whole = {0};
    type_to_bsatn(&whole, t, true);
    buf_put(out, whole.ptr + 1, whole.len - 1);
}

/* A type in the place of a field: a named one by reference. */
static void put_use(Buf *out, const Type *t)
{
    if (t->ref >= 0) {
        buf_put_u8(out, AT_REF);
        buf_put_u32(out, (uint32_t)t->ref);
    } else {
        type_to_bsatn(out, t, true);
    }
}

static bool flagged(const BuiltTable *t, uint32_t col, uint32_t flags) { return t->cols[col].flags & flags; }

static uint32_t count_flagged(const BuiltTable *t, uint32_t flags)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->ncols; i++)
        n += flagged(t, i, flags);
    return n;
}

static void put_indexes(ModuleBuilder *b, Buf *out, const BuiltTable *t)
{
    uint32_t n = 0;
    for (const BuiltIndex *ix = t->indexes; ix; ix = ix->next)
        n++;
    buf_put_u32(out, n);
    for (const BuiltIndex *ix = t->indexes; ix; ix = ix->next) {
        put_some_str(out, index_source_name(b, t, ix));
        if (ix->accessor.len)
            put_some_str(out, ix->accessor);
        else
            buf_put_u8(out, 1);
        buf_put_u8(out, (uint8_t)ix->algorithm);
        if (ix->algorithm == INDEX_DIRECT)
            buf_put_u16(out, ix->cols[0]);
        else
            put_cols(out, ix->ncols, ix->cols);
    }
}

static void put_constraint(ModuleBuilder *b, Buf *out, const BuiltTable *t, uint16_t ncols, const uint16_t *cols)
{
    put_some_str(out, generated_name(&b->arena, t->name, t->defs, ncols, cols, "_key"));
    buf_put_u8(out, 0); /* Unique */
    put_cols(out, ncols, cols);
}

static void put_constraints(ModuleBuilder *b, Buf *out, const BuiltTable *t)
{
    uint32_t n = count_flagged(t, COLUMN_PK | COLUMN_UNIQUE);
    for (const BuiltIndex *ix = t->indexes; ix; ix = ix->next)
        n += ix->unique;
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < t->ncols; i++)
        if (flagged(t, i, COLUMN_PK | COLUMN_UNIQUE))
            put_constraint(b, out, t, 1, &(uint16_t){(uint16_t)i});
    for (const BuiltIndex *ix = t->indexes; ix; ix = ix->next)
        if (ix->unique)
            put_constraint(b, out, t, ix->ncols, ix->cols);
}

static const BuiltSequence *sequence_of(const BuiltTable *t, uint16_t col)
{
    const BuiltSequence *s = t->sequences;
    while (s && s->col != col)
        s = s->next;
    return s;
}

static void put_some_i128(Buf *out, i128 n)
{
    buf_put_u8(out, 0);
    buf_put(out, &n, sizeof n);
}

static void put_sequences(ModuleBuilder *b, Buf *out, const BuiltTable *t)
{
    static const uint8_t start_min_max_none[] = {1, 1, 1}, one[16] = {1};
    buf_put_u32(out, count_flagged(t, COLUMN_AUTO_INC));
    for (uint32_t i = 0; i < t->ncols; i++) {
        uint16_t col = (uint16_t)i;
        if (!flagged(t, i, COLUMN_AUTO_INC))
            continue;
        put_some_str(out, generated_name(&b->arena, t->name, t->defs, 1, &col, "_seq"));
        buf_put_u16(out, col);
        const BuiltSequence *s = sequence_of(t, col);
        if (s) {
            put_some_i128(out, s->start);
            put_some_i128(out, s->min);
            put_some_i128(out, s->max);
            buf_put(out, &s->increment, sizeof s->increment);
        } else {
            buf_put(out, start_min_max_none, sizeof start_min_max_none);
            buf_put(out, one, sizeof one); /* increment */
        }
    }
}

static void put_defaults(Buf *out, const BuiltTable *t)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->ncols; i++)
        n += t->cols[i].has_default;
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < t->ncols; i++)
        if (t->cols[i].has_default) {
            buf_put_u16(out, (uint16_t)i);
            buf_put_blob(out, t->cols[i].default_bsatn);
        }
}

static void put_table(ModuleBuilder *b, Buf *out, const BuiltTable *t)
{
    buf_put_str(out, t->name);
    buf_put_u32(out, (uint32_t)t->row->ref);
    buf_put_u32(out, count_flagged(t, COLUMN_PK));
    for (uint32_t i = 0; i < t->ncols; i++)
        if (flagged(t, i, COLUMN_PK))
            buf_put_u16(out, (uint16_t)i);
    put_indexes(b, out, t);
    put_constraints(b, out, t);
    put_sequences(b, out, t);
    buf_put_u8(out, 1); /* User */
    buf_put_u8(out, t->access);
    put_defaults(out, t);
    buf_put_u8(out, t->is_event);
}

static bool is_scheduled(const ModuleBuilder *b, Str function)
{
    for (const BuiltSchedule *s = b->schedules; s; s = s->next)
        if (str_eq(s->function, function))
            return true;
    return false;
}

static uint8_t visibility(const ModuleBuilder *b, const BuiltFunction *f)
{
    return f->lifecycle == LIFECYCLE_NONE && !is_scheduled(b, f->name); /* 0 Private, 1 ClientCallable */
}

static void put_functions(ModuleBuilder *b, Buf *out, Section section, const FunctionList *list)
{
    uint32_t view_index[2] = {0}; /* per-sender and anonymous views are numbered apart */
    buf_put_u32(out, list->n);
    for (const BuiltFunction *f = list->first; f; f = f->next) {
        buf_put_str(out, f->name);
        if (section == SECTION_VIEWS) {
            buf_put_u32(out, view_index[f->is_anonymous]++);
            buf_put_u8(out, f->is_public);
            buf_put_u8(out, f->is_anonymous);
        }
        put_product_type(out, f->params);
        if (section == SECTION_REDUCERS) {
            buf_put_u8(out, visibility(b, f));
            type_to_bsatn(out, &type_unit, true);
            type_to_bsatn(out, type_scalar(TYPE_STRING), true);
            continue;
        }
        put_use(out, f->ret);
        if (section == SECTION_PROCEDURES)
            buf_put_u8(out, visibility(b, f));
    }
}

static void put_schedules(ModuleBuilder *b, Buf *out)
{
    buf_put_u32(out, b->nschedules);
    for (const BuiltSchedule *s = b->schedules; s; s = s->next) {
        Str table = b->tables[s->table]->name;
        put_some_str(out, generated_name(&b->arena, table, NULL, 0, NULL, "_sched"));
        buf_put_str(out, table);
        buf_put_u16(out, s->at_col);
        buf_put_str(out, s->function);
    }
}

static void put_lifecycles(ModuleBuilder *b, Buf *out)
{
    uint32_t n = 0;
    for (const BuiltFunction *f = b->reducers.first; f; f = f->next)
        n += f->lifecycle != LIFECYCLE_NONE;
    buf_put_u32(out, n);
    for (const BuiltFunction *f = b->reducers.first; f; f = f->next)
        if (f->lifecycle != LIFECYCLE_NONE) {
            buf_put_u8(out, f->lifecycle);
            buf_put_str(out, f->name);
        }
}

static void put_types(ModuleBuilder *b, Buf *out)
{
    buf_put_u32(out, b->ntypes);
    for (uint32_t i = 0; i < b->ntypes; i++) {
        buf_put_u32(out, 0); /* no scope */
        buf_put_str(out, b->types[i]->name);
        buf_put_u32(out, i);
        buf_put_u8(out, 1); /* custom_ordering: the author's order counts */
    }
}

static void put_names(ModuleBuilder *b, Buf *out)
{
    uint32_t n = 0;
    for (const BuiltName *name = b->names; name; name = name->next)
        n++;
    buf_put_u32(out, n);
    for (const BuiltName *name = b->names; name; name = name->next) {
        buf_put_u8(out, (uint8_t)name->kind);
        buf_put_str(out, name->source);
        buf_put_str(out, name->canonical);
    }
}

static void put_route(Buf *out, const BuiltTexts *t)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    buf_put_str(out, t->a);
    buf_put_u8(out, !str_is(t->b, "ANY"));
    if (!str_is(t->b, "ANY")) {
        uint8_t i = 0;
        while (i < COUNT_OF(methods) && !str_is(t->b, methods[i]))
            i++;
        buf_put_u8(out, i);
        if (i == COUNT_OF(methods))
            buf_put_str(out, t->b);
    }
    buf_put_str(out, t->c);
}

static void put_texts(Buf *out, Section section, const TextList *list)
{
    buf_put_u32(out, list->n);
    for (const BuiltTexts *t = list->first; t; t = t->next) {
        if (section == SECTION_HTTP_ROUTES) {
            put_route(out, t);
            continue;
        }
        buf_put_str(out, t->a);
        if (section == SECTION_VIEW_KEYS) {
            buf_put_u32(out, 1);
            buf_put_str(out, t->b);
        }
    }
}

static void put_section(ModuleBuilder *b, Buf *out, Section section)
{
    buf_put_u8(out, section);
    switch (section) {
    case SECTION_TYPESPACE:
        buf_put_u32(out, b->ntypes);
        for (uint32_t i = 0; i < b->ntypes; i++)
            type_to_bsatn(out, b->types[i], true);
        break;
    case SECTION_TYPES: put_types(b, out); break;
    case SECTION_TABLES:
        buf_put_u32(out, b->ntables);
        for (uint32_t i = 0; i < b->ntables; i++)
            put_table(b, out, b->tables[i]);
        break;
    case SECTION_REDUCERS: put_functions(b, out, section, &b->reducers); break;
    case SECTION_PROCEDURES: put_functions(b, out, section, &b->procedures); break;
    case SECTION_VIEWS: put_functions(b, out, section, &b->views); break;
    case SECTION_SCHEDULES: put_schedules(b, out); break;
    case SECTION_LIFECYCLES: put_lifecycles(b, out); break;
    case SECTION_CASE_POLICY: buf_put_u8(out, b->snake_case); break; /* 0 None, 1 SnakeCase */
    case SECTION_EXPLICIT_NAMES: put_names(b, out); break;
    case SECTION_RLS: put_texts(out, section, &b->rls); break;
    case SECTION_HTTP_HANDLERS: put_texts(out, section, &b->handlers); break;
    case SECTION_HTTP_ROUTES: put_texts(out, section, &b->routes); break;
    case SECTION_VIEW_KEYS: put_texts(out, section, &b->view_keys); break;
    default: BUG("put_section %d", section);
    }
}

Status module_builder_finish(ModuleBuilder *b, Buf *out, Error *err)
{
    /* Sections of a later edition are written only when they say something: definitions that were stored keep their bytes. */
    const struct {
        Section section;
        bool always;
        uint32_t n;
    } sections[] = {
        {SECTION_TYPESPACE, true, 0},
        {SECTION_TYPES, true, 0},
        {SECTION_TABLES, true, 0},
        {SECTION_REDUCERS, true, 0},
        {SECTION_PROCEDURES, true, 0},
        {SECTION_VIEWS, true, 0},
        {SECTION_SCHEDULES, true, 0},
        {SECTION_LIFECYCLES, true, 0},
        {SECTION_CASE_POLICY, true, 0},
        {SECTION_EXPLICIT_NAMES, true, 0},
        {SECTION_RLS, false, b->rls.n},
        {SECTION_HTTP_HANDLERS, false, b->handlers.n},
        {SECTION_HTTP_ROUTES, false, b->routes.n},
        {SECTION_VIEW_KEYS, false, b->view_keys.n},
    };
    uint32_t nsections = 0;
    for (size_t i = 0; i < COUNT_OF(sections); i++)
        nsections += sections[i].always || sections[i].n;
    Status status = S_OK;
    if (b->flaw.len) {
        status = FAIL(err, S_INVALID, "%.*s", STR_FMT(b->flaw));
    } else {
        buf_put_u8(out, MODULE_V10);
        buf_put_u32(out, nsections);
        for (size_t i = 0; i < COUNT_OF(sections); i++)
            if (sections[i].always || sections[i].n)
                put_section(b, out, sections[i].section);
        if (!buf_ok(out))
            status = FAIL(err, S_TOO_LARGE, "module definition exceeds %zu bytes", out->max);
    }
    free(b->types);
    free(b->tables);
    arena_done(&b->arena);
    free(b);
    return status;
}
