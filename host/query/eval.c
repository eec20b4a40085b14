/* eval.c - predicates on native rows, and the way to the rows. Nothing here allocates. */
#include "host/query/query_int.h"

static int compare_scalar(const Type *t, const void *x, const void *y)
{
#define COMPARE(T)                                                                                                                         \
    do {                                                                                                                                   \
        T a, b;                                                                                                                            \
        memcpy(&a, x, sizeof a);                                                                                                           \
        memcpy(&b, y, sizeof b);                                                                                                           \
        return (a > b) - (a < b);                                                                                                          \
    } while (0)
    switch (t->kind) {
    case TYPE_BOOL:
    case TYPE_U8: COMPARE(uint8_t);
    case TYPE_I8: COMPARE(int8_t);
    case TYPE_I16: COMPARE(int16_t);
    case TYPE_U16: COMPARE(uint16_t);
    case TYPE_I32: COMPARE(int32_t);
    case TYPE_U32: COMPARE(uint32_t);
    case TYPE_I64:
    case TYPE_TIMESTAMP: COMPARE(int64_t);
    case TYPE_U64: COMPARE(uint64_t);
    default: return value_compare(t, x, y);
    }
#undef COMPARE
}

static bool compare_holds(CompareOp op, int order)
{
    switch (op) {
    case CMP_EQ: return order == 0;
    case CMP_NE: return order != 0;
    case CMP_LT: return order < 0;
    case CMP_LE: return order <= 0;
    case CMP_GT: return order > 0;
    case CMP_GE: return order >= 0;
    }
    BUG("comparison %d", op);
}

bool native_compare(const Type *t, CompareOp op, const void *x, const void *y) { return compare_holds(op, compare_scalar(t, x, y)); }

bool pred_eval(const Pred *p, const void *row)
{
    const char *r = row;
    switch (p->kind) {
    case PRED_TRUE: return true;
    case PRED_FALSE: return false;
    case PRED_LITERAL: return compare_holds(p->op, compare_scalar(p->type, r + p->offset, p->literal));
    case PRED_COLUMNS: return compare_holds(p->op, compare_scalar(p->type, r + p->offset, r + p->offset2));
    case PRED_BOOLS: return compare_holds(p->op, (int)pred_eval(p->kids[0], row) - (int)pred_eval(p->kids[1], row));
    case PRED_NOT: return !pred_eval(p->kids[0], row);
    case PRED_AND:
        for (uint32_t i = 0; i < p->nkids; i++)
            if (!pred_eval(p->kids[i], row))
                return false;
        return true;
    case PRED_OR:
        for (uint32_t i = 0; i < p->nkids; i++)
            if (pred_eval(p->kids[i], row))
                return true;
        return false;
    }
    BUG("predicate of kind %d", p->kind);
}

/* ---- the way to the rows ---- */

static const Pred *const *conjuncts_of(const PlanRef *r, uint32_t *ret_count)
{
    if (r->where->kind == PRED_AND) {
        *ret_count = r->where->nkids;
        return r->where->kids;
    }
    *ret_count = 1;
    return &r->where;
}

static const void *equality_on(const PlanRef *r, uint16_t col)
{
    uint32_t n;
    const Pred *const *c = conjuncts_of(r, &n);
    for (uint32_t i = 0; i < n; i++)
        if (c[i]->kind == PRED_LITERAL && c[i]->op == CMP_EQ && c[i]->col == col)
            return c[i]->literal;
    return NULL;
}

/* Bounds of `col` among the conjuncts: the first lower and the first upper one; the rest is checked per row. */
static void range_on(const PlanRef *r, uint16_t col, Path *path)
{
    uint32_t n;
    const Pred *const *c = conjuncts_of(r, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (c[i]->kind != PRED_LITERAL || c[i]->col != col)
            continue;
        if ((c[i]->op == CMP_GT || c[i]->op == CMP_GE) && !path->lo) {
            path->lo = c[i]->literal;
            path->lo_exclusive = c[i]->op == CMP_GT;
        } else if ((c[i]->op == CMP_LT || c[i]->op == CMP_LE) && !path->hi) {
            path->hi = c[i]->literal;
            path->hi_inclusive = c[i]->op == CMP_LE;
        }
    }
}

/* Unique indexes serve full equality only; others a prefix of equalities and a range. */
static bool path_by_index(const PlanRef *r, int32_t index, Path *ret, uint32_t *ret_score)
{
    const IndexDef *ix = &r->def->indexes[index];
    Path path = {.kind = PATH_INDEX, .index = index};
    while (path.neq < ix->ncols && path.neq < PATH_EQ_MAX) {
        const void *value = equality_on(r, ix->cols[path.neq]);
        if (!value)
            break;
        path.eq[path.neq++] = value;
    }
    bool full = path.neq == ix->ncols;
    if (ix->unique || ix->algorithm == INDEX_HASH) {
        if (!full)
            return false;
    } else if (!full && path.neq < PATH_EQ_MAX) {
        range_on(r, ix->cols[path.neq], &path);
    }
    if (!path.neq && !path.lo && !path.hi)
        return false;
    *ret = path;
    *ret_score = path.neq * 4 + !!path.lo + !!path.hi + (ix->unique ? 1000 : 0);
    return true;
}

static bool column_is_unique(const TableDef *def, uint16_t col)
{
    for (uint16_t i = 0; i < def->nconstraints; i++)
        if (def->constraints[i].ncols == 1 && def->constraints[i].cols[0] == col)
            return true;
    return def->pk == col;
}

void query_path_choose(PlanRef *r)
{
    uint32_t n, best = 0;
    const Pred *const *c = conjuncts_of(r, &n);
    r->path = (Path){.kind = r->where->kind == PRED_FALSE ? PATH_NOTHING : PATH_SCAN};
    if (r->path.kind == PATH_NOTHING)
        return;
    for (uint32_t i = 0; i < n; i++) {
        if (c[i]->kind == PRED_LITERAL && c[i]->op == CMP_EQ && column_is_unique(r->def, c[i]->col)) {
            r->path = (Path){.kind = PATH_FIND, .col = c[i]->col, .eq = {c[i]->literal}, .neq = 1};
            return;
        }
    }
    for (int32_t i = 0; i < r->def->nindexes; i++) {
        Path path;
        uint32_t score;
        if (path_by_index(r, i, &path, &score) && score > best) {
            best = score;
            r->path = path;
        }
    }
}

void query_scan_open(Scan *s, const PlanRef *r)
{
    *s = (Scan){.ref = r};
    switch (r->path.kind) {
    case PATH_NOTHING: break;
    case PATH_FIND: s->one = table_find(r->table, r->path.col, r->path.eq[0]); break;
    case PATH_SCAN: cursor_all(&s->cursor, r->table); break;
    case PATH_INDEX:
        cursor_index(&s->cursor, r->table, r->path.index, r->path.neq, r->path.eq, r->path.lo, r->path.hi);
        s->cursor.lo_exclusive = r->path.lo_exclusive;
        s->cursor.hi_inclusive = r->path.hi_inclusive;
        break;
    }
}

const void *query_scan_next(Scan *s)
{
    const void *row;
    switch (s->ref->path.kind) {
    case PATH_NOTHING: return NULL;
    case PATH_FIND:
        row = s->one;
        s->one = NULL;
        return row && pred_eval(s->ref->where, row) ? row : NULL;
    default:
        while ((row = cursor_next(&s->cursor)) != NULL)
            if (pred_eval(s->ref->where, row))
                return row;
        return NULL;
    }
}
