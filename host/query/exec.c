/* exec.c - statements and one-off queries run inside the open transaction (spec sql-and-subscriptions.md 1.7). */
#include "host/query/query_int.h"

/* Pointers to rows of one statement. */
typedef struct RowSet {
    Buf ptrs;
} RowSet;
static uint64_t rows_count(const RowSet *r) { return r->ptrs.len / sizeof(void *); }
static const void *rows_at(const RowSet *r, uint64_t i)
{
    const void *row;
    memcpy(&row, r->ptrs.ptr + i * sizeof row, sizeof row);
    return row;
}
static void own_rows(RowSet *r) { buf_done(&r->ptrs); }

static void rows_collect(RowSet *r, const Plan *p)
{
    Scan scan;
    query_scan_open(&scan, &p->refs[0]);
    for (const void *row; (row = query_scan_next(&scan)) != NULL;)
        buf_put(&r->ptrs, &row, sizeof row);
}

Status query_append_rows(const Plan *p, uint16_t ncols, Buf *out, Error *err)
{
    const PlanRef *ref = &p->refs[p->side];
    size_t start = out->len, max = out->max;
    if (!max || max > start + SQL_RESULT_BYTES_MAX)
        out->max = start + SQL_RESULT_BYTES_MAX;
    RowList list;
    buf_put_str(out, ref->def->name);
    row_list_begin(&list, out, ref->def, ncols);
    Scan scan;
    query_scan_open(&scan, ref);
    for (const void *row; buf_ok(out) && (row = query_scan_next(&scan)) != NULL;)
        row_list_add(&list, row);
    row_list_end(&list);
    out->max = max;
    if (buf_ok(out))
        return S_OK;
    out->len = start;
    out->overflow = false;
    return FAIL(err, S_TOO_LARGE, "the result of the query on table `%.*s` is larger than %d bytes", STR_FMT(ref->def->name),
                SQL_RESULT_BYTES_MAX);
}

Status query_one_off(Engine *e, Str text, const Caller *caller, Buf *out, Error *err)
{
    OWN(arena) Arena a = {0};
    Plan *p;
    TRY(query_compile(&p, &a, e, text, caller, err));
    size_t start = out->len;
    buf_put_u32(out, 1);
    Status st = query_append_rows(p, p->refs[p->side].ncols, out, err);
    if (st != S_OK)
        out->len = start;
    return st;
}

/* ---- SELECT ---- */

typedef struct Output { /* result columns in order */
    uint32_t ncols;
    const uint16_t *cols;
    const Field *fields;
} Output;

static Status check_items(const Plan *p, const Statement *s, Arena *a, Output *ret, Error *err)
{
    const TableDef *def = p->refs[0].def;
    bool all = s->projection != PROJECT_COLUMNS;
    uint32_t n = all ? p->refs[0].ncols : s->nitems;
    uint16_t *cols = ARENA_ARRAY(a, uint16_t, n);
    Field *fields = ARENA_ARRAY(a, Field, n);
    for (uint32_t i = 0; i < n; i++) {
        cols[i] = (uint16_t)i;
        if (!all)
            TRY(query_plan_column(p, s, &s->items[i].column, &cols[i], err));
        fields[i] = (Field){.name = all ? def->cols[i].name : s->items[i].name, .type = def->cols[cols[i]].type};
        for (uint32_t j = 0; !all && j < i; j++) {
            if (str_eq(fields[j].name, fields[i].name)) {
                Str name = sql_clip(fields[i].name, SQL_FRAGMENT_BYTES_MAX);
                return FAIL(err, S_INVALID, "duplicate name `%.*s` among the result columns", STR_FMT(name));
            }
        }
    }
    *ret = (Output){.ncols = n, .cols = cols, .fields = fields};
    return S_OK;
}

static uint64_t plan_count(const Plan *p)
{
    if (p->refs[0].where->kind == PRED_TRUE)
        return table_count(p->refs[0].table);
    uint64_t n = 0;
    Scan scan;
    for (query_scan_open(&scan, &p->refs[0]); query_scan_next(&scan);)
        n++;
    return n;
}

static Status run_select(SqlResult *r, const Plan *p, const Statement *s, Error *err)
{
    const TableDef *def = p->refs[0].def;
    Output out = {0};
    uint64_t limit = UINT64_MAX;
    if (s->has_limit)
        TRY(literal_limit(&s->limit, &limit, err));
    if (s->projection == PROJECT_COUNT) {
        Field field = {.name = s->count_name, .type = type_scalar(TYPE_U64)};
        r->row = type_product(&r->arena, 1, &field);
        if (limit > 0) {
            buf_put_u64(&r->rows, plan_count(p));
            r->nrows = 1;
        }
        return S_OK;
    }
    TRY(check_items(p, s, &r->arena, &out, err));
    r->row = type_product(&r->arena, out.ncols, out.fields);
    Scan scan;
    query_scan_open(&scan, &p->refs[0]);
    r->rows.max = SQL_RESULT_BYTES_MAX;
    for (const void *row; r->nrows < limit && (row = query_scan_next(&scan)) != NULL; r->nrows++) {
        for (uint32_t i = 0; i < out.ncols; i++)
            value_encode(&r->rows, def->cols[out.cols[i]].type, (const char *)row + def->cols[out.cols[i]].offset);
        if (!buf_ok(&r->rows))
            return FAIL(err, S_TOO_LARGE, "the result of the query on table `%.*s` is larger than %d bytes", STR_FMT(def->name),
                        SQL_RESULT_BYTES_MAX);
    }
    return S_OK;
}

/* ---- INSERT, UPDATE, DELETE ---- */

static Status duplicate_column(Str name, Error *err)
{
    name = sql_clip(name, SQL_FRAGMENT_BYTES_MAX);
    return FAIL(err, S_INVALID, "duplicate name `%.*s`: the column is given twice", STR_FMT(name));
}

static Status no_such_target(const TableDef *def, Str name, Error *err)
{
    name = sql_clip(name, SQL_FRAGMENT_BYTES_MAX);
    return FAIL(err, S_INVALID, "`%.*s` does not have a field `%.*s` to assign to", STR_FMT(def->name), STR_FMT(name));
}

static Status wrong_count(const TableDef *def, uint32_t given, Error *err)
{
    return FAIL(err, S_INVALID, "INSERT into `%.*s` gives %u values, expected %u: every column must be named and given", STR_FMT(def->name),
                given, def->ncols);
}

/* The literals of one row, in the order of the column list, into a native row. */
static Status fill_row(Arena *a, const TableDef *def, const uint16_t *cols, const Literal *values, void *row, Error *err)
{
    memset(row, 0, def->row->size);
    for (uint32_t i = 0; i < def->ncols; i++) {
        const ColumnDef *c = &def->cols[cols[i]];
        if (literal_convert(a, &values[i], c->type, LITERAL_IN_ROW, (char *)row + c->offset, err) != S_OK)
            return CONTEXT(err, "column `%.*s`", STR_FMT(c->name)), S_INVALID;
    }
    return S_OK;
}

static Status check_insert(const Plan *p, const Statement *s, Arena *a, void ***ret_rows, Error *err)
{
    const TableDef *def = p->refs[0].def;
    if (s->nnames != def->ncols)
        return wrong_count(def, s->nnames, err);
    uint16_t *cols = ARENA_ARRAY(a, uint16_t, def->ncols);
    bool *seen = ARENA_ARRAY(a, bool, def->ncols);
    for (uint32_t i = 0; i < s->nnames; i++) {
        int32_t col = table_def_column(def, s->names[i]);
        if (col < 0)
            return no_such_target(def, s->names[i], err);
        if (seen[col])
            return duplicate_column(s->names[i], err);
        seen[col] = true;
        cols[i] = (uint16_t)col;
    }
    *ret_rows = ARENA_ARRAY(a, void *, s->nrows);
    const Literal *values = s->values;
    for (uint32_t i = 0; i < s->nrows; i++) {
        if (s->row_widths[i] != def->ncols)
            return wrong_count(def, s->row_widths[i], err);
        (*ret_rows)[i] = arena_alloc(a, def->row->size); /* one by one: a row that cannot be written stops at the first */
        TRY(fill_row(a, def, cols, values, (*ret_rows)[i], err));
        values += def->ncols;
    }
    return S_OK;
}

static Status run_insert(SqlResult *r, const Plan *p, const Statement *s, void *const *rows, Error *err)
{
    const PlanRef *ref = &p->refs[0];
    for (uint32_t i = 0; i < s->nrows; i++) {
        const void *stored;
        uint64_t before = table_count(ref->table);
        TRY(table_insert(ref->table, rows[i], &stored, err));
        r->inserted += table_count(ref->table) - before; /* an equal row that is there already does not count */
    }
    return S_OK;
}

/* `ret_row`: a row with the assigned columns filled in; ret_set[col]: which those are. */
static Status check_update(const Plan *p, const Statement *s, Arena *a, void **ret_row, bool **ret_set, Error *err)
{
    const TableDef *def = p->refs[0].def;
    *ret_row = arena_alloc(a, def->row->size);
    *ret_set = ARENA_ARRAY(a, bool, def->ncols);
    for (uint32_t i = 0; i < s->nassignments; i++) {
        const ColumnName *name = &s->assignments[i].column;
        int32_t col = name->qualified ? -1 : table_def_column(def, name->name);
        if (col < 0)
            return no_such_target(
                def, name->qualified ? str_of(arena_sprintf(a, "%.*s.%.*s", STR_FMT(name->qualifier), STR_FMT(name->name))) : name->name,
                err);
        if ((*ret_set)[col])
            return duplicate_column(name->name, err);
        (*ret_set)[col] = true;
        const ColumnDef *c = &def->cols[col];
        if (literal_convert(a, &s->assignments[i].value, c->type, LITERAL_IN_ROW, (char *)*ret_row + c->offset, err) != S_OK)
            return CONTEXT(err, "column `%.*s`", STR_FMT(c->name)), S_INVALID;
    }
    return S_OK;
}

/* All matched rows leave before the changed ones come, so keys may be moved around; equal results merge. */
static Status run_update(SqlResult *r, const Plan *p, const void *values, const bool *set, Error *err)
{
    const PlanRef *ref = &p->refs[0];
    const TableDef *def = ref->def;
    __attribute__((cleanup(own_rows))) RowSet rows = {0};
    OWN(arena) Arena a = {0};
    rows_collect(&rows, p);
    for (uint64_t i = 0; i < rows_count(&rows); i++)
        TRY(table_delete(ref->table, rows_at(&rows, i), err));
    void *row = arena_alloc(&a, def->row->size);
    for (uint64_t i = 0; i < rows_count(&rows); i++) {
        const void *stored;
        memcpy(row, rows_at(&rows, i), def->row->size); /* its text stays alive until the transaction ends */
        for (uint16_t c = 0; c < def->ncols; c++)
            if (set[c])
                memcpy((char *)row + def->cols[c].offset, (const char *)values + def->cols[c].offset, def->cols[c].type->size);
        TRY(table_insert(ref->table, row, &stored, err));
    }
    r->updated = rows_count(&rows);
    return S_OK;
}

static Status run_delete(SqlResult *r, const Plan *p, Error *err)
{
    __attribute__((cleanup(own_rows))) RowSet rows = {0};
    rows_collect(&rows, p);
    for (uint64_t i = 0; i < rows_count(&rows); i++)
        TRY(table_delete(p->refs[0].table, rows_at(&rows, i), err));
    r->deleted = rows_count(&rows);
    return S_OK;
}

static Status check_owner(const Caller *caller, Error *err)
{
    if (caller->is_owner)
        return S_OK;
    uint8_t id[32];
    char hex[65];
    for (int i = 0; i < 32; i++)
        id[i] = caller->identity[31 - i];
    hex_encode(hex, id, sizeof id);
    return FAIL(err, S_DENIED, "Caller %s is not authorized to run SQL DML statements", hex);
}

static Status run(SqlResult *r, Arena *a, Engine *e, Str text, const Caller *caller, Error *err)
{
    const Statement *s;
    Plan *p;
    TRY(sql_parse(a, text, &s, err));
    if (s->kind == STMT_SET || s->kind == STMT_SHOW)
        return sql_unsupported(err, "statement (SET and SHOW come with a later edition)", text);
    TRY(query_plan_make(&p, a, e, s, caller, err));
    if (s->kind == STMT_SELECT)
        return run_select(r, p, s, err);
    void **rows = NULL, *values = NULL;
    bool *set = NULL;
    if (s->kind == STMT_INSERT)
        TRY(check_insert(p, s, a, &rows, err));
    if (s->kind == STMT_UPDATE)
        TRY(check_update(p, s, a, &values, &set, err));
    TRY(check_owner(caller, err));
    r->row = &type_unit;
    switch (s->kind) {
    case STMT_INSERT: return run_insert(r, p, s, rows, err);
    case STMT_UPDATE: return run_update(r, p, values, set, err);
    default: return run_delete(r, p, err);
    }
}

Status sql_execute(SqlResult *ret, Engine *e, Str text, const Caller *caller, Error *err)
{
    OWN(arena) Arena a = {0};
    SqlResult r = {0};
    Status st = run(&r, &a, e, text, caller, err);
    if (st == S_OK)
        *ret = r;
    else
        sql_result_done(&r);
    return st;
}

void sql_result_done(SqlResult *r)
{
    buf_done(&r->rows);
    arena_done(&r->arena);
    *r = (SqlResult){0};
}
