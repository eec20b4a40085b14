/* check.c - names resolved, types checked, predicates built (spec sql-and-subscriptions.md 1.5, 1.6).
 *
 * A predicate is normal by construction: the literal stands on the right, NOT is pushed into comparisons, constants
 * are folded, AND and OR are flat, sorted by key and without repeats. Equal keys mean equal meaning. */
#include "host/query/views_int.h"

typedef struct Checker {
    Arena *arena;
    const Caller *caller;
    const Statement *stmt;
    Plan *plan;
    Error *err;
} Checker;

typedef enum OperandKind { OPERAND_LITERAL, OPERAND_SENDER, OPERAND_COLUMN, OPERAND_PRED } OperandKind;
typedef struct Operand {
    OperandKind kind;
    const Literal *literal;
    uint16_t col;
    const ColumnDef *def; /* COLUMN */
    const Pred *pred;     /* PRED */
} Operand;

/* ---- names ---- */

static Status no_such_table(Str name, Error *err)
{
    name = sql_clip(name, SQL_FRAGMENT_BYTES_MAX);
    return FAIL(err, S_INVALID, "no such table: `%.*s`. If the table exists, it may be marked private.", STR_FMT(name));
}

static Status resolve_view(const ViewTable *view, Str name, const Statement *s, const Caller *caller, PlanRef *ret, Error *err)
{
    if (view->table_def->access == ACCESS_PRIVATE && !caller->is_owner)
        return no_such_table(name, err);
    if (s->kind != STMT_SELECT)
        return FAIL(err, S_INVALID, "view `%.*s` cannot be written: change the tables that it reads", STR_FMT(view->def->name));
    TRY(views_need(caller->views, view, caller->identity, err));
    *ret = (PlanRef){.def = view->table_def, .table = view->table, .table_id = view->id, .ncols = view->ncols, .is_view = true};
    return S_OK;
}

static Status resolve_table(Engine *e, Str name, const Statement *s, const Caller *caller, PlanRef *ret, Error *err)
{
    const SchemaImage *image = engine_schema(e);
    const ModuleDef *def = image ? image->def : NULL;
    const TableDef *t = def ? module_def_table(def, name) : NULL;
    const ViewTable *view = t ? NULL : views_find(caller->views, name);
    if (view)
        return resolve_view(view, name, s, caller, ret, err);
    if (!t || (t->access == ACCESS_PRIVATE && !caller->is_owner))
        return no_such_table(name, err);
    uint32_t position = (uint32_t)(t - def->tables);
    *ret = (PlanRef){.def = t, .table = engine_table(e, position), .table_id = image->ids[position], .ncols = t->ncols};
    return S_OK;
}

static Status no_such_scope(Str name, Error *err)
{
    name = sql_clip(name, SQL_FRAGMENT_BYTES_MAX);
    return FAIL(err, S_INVALID, "`%.*s` is not in scope", STR_FMT(name));
}

Status query_plan_column(const Plan *p, const Statement *s, const ColumnName *name, uint16_t *ret, Error *err)
{
    if (name->qualified && !str_eq(name->qualifier, s->from[0].qualifier))
        return no_such_scope(name->qualifier, err);
    int32_t col = table_def_column(p->refs[0].def, name->name);
    if (col < 0 || col >= p->refs[0].ncols) {
        Str table = p->refs[0].def->name, field = sql_clip(name->name, SQL_FRAGMENT_BYTES_MAX);
        return FAIL(err, S_INVALID, "`%.*s` does not have a field `%.*s`", STR_FMT(table), STR_FMT(field));
    }
    *ret = (uint16_t)col;
    return S_OK;
}

/* ---- predicates ---- */

static const Pred pred_true = {.kind = PRED_TRUE, .key = {(const uint8_t *)"T", 1}};
static const Pred pred_false = {.kind = PRED_FALSE, .key = {(const uint8_t *)"F", 1}};

CompareOp sql_compare_flip(CompareOp op)
{
    static const CompareOp flipped[] = {CMP_EQ, CMP_NE, CMP_GT, CMP_GE, CMP_LT, CMP_LE};
    return flipped[op];
}
static CompareOp compare_negate(CompareOp op)
{
    static const CompareOp negated[] = {CMP_NE, CMP_EQ, CMP_GE, CMP_GT, CMP_LE, CMP_LT};
    return negated[op];
}

static Bytes key_finish(Arena *a, Buf *b)
{
    Bytes key = {arena_copy(a, b->ptr, b->len), b->len};
    buf_done(b);
    return key;
}

static const Pred *pred_literal(Arena *a, CompareOp op, uint16_t col, const ColumnDef *def, const void *value)
{
    Pred *p = ARENA_NEW(a, Pred);
    *p = (Pred){.kind = PRED_LITERAL, .op = op, .col = col, .offset = def->offset, .type = def->type, .literal = value};
    Buf key = {0};
    buf_put_text(&key, "L");
    buf_put_u8(&key, (uint8_t)op);
    buf_put_u16(&key, col);
    buf_put_u32(&key, (uint32_t)value_encoded_size(def->type, value));
    value_encode(&key, def->type, value);
    p->key = key_finish(a, &key);
    return p;
}

static const Pred *pred_columns(Arena *a, CompareOp op, const Operand *l, const Operand *r)
{
    if (l->col > r->col) {
        const Operand *t = l;
        l = r, r = t;
        op = sql_compare_flip(op);
    }
    Pred *p = ARENA_NEW(a, Pred);
    *p = (Pred){.kind = PRED_COLUMNS,
                .op = op,
                .col = l->col,
                .col2 = r->col,
                .offset = l->def->offset,
                .offset2 = r->def->offset,
                .type = l->def->type};
    Buf key = {0};
    buf_put_text(&key, "C");
    buf_put_u8(&key, (uint8_t)op);
    buf_put_u16(&key, l->col);
    buf_put_u16(&key, r->col);
    p->key = key_finish(a, &key);
    return p;
}

static const Pred *pred_list(Arena *a, PredKind kind, CompareOp op, const Pred *const *kids, uint32_t nkids)
{
    Pred *p = ARENA_NEW(a, Pred);
    *p = (Pred){.kind = kind, .op = op, .nkids = nkids, .kids = arena_copy(a, kids, sizeof *kids * nkids)};
    Buf key = {0};
    buf_put_u8(&key, "AOBN"[kind == PRED_AND ? 0 : kind == PRED_OR ? 1 : kind == PRED_BOOLS ? 2 : 3]);
    buf_put_u8(&key, (uint8_t)op);
    buf_put_u32(&key, nkids);
    for (uint32_t i = 0; i < nkids; i++)
        buf_put_blob(&key, kids[i]->key);
    p->key = key_finish(a, &key);
    return p;
}

static int key_compare(const void *x, const void *y)
{
    Bytes a = (*(const Pred *const *)x)->key, b = (*(const Pred *const *)y)->key;
    int c = memcmp(a.ptr, b.ptr, MIN(a.len, b.len));
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

/* AND or OR of n predicates: flat, folded, sorted. */
static const Pred *pred_chain(Arena *a, bool is_or, const Pred *const *kids, uint32_t nkids)
{
    PredKind kind = is_or ? PRED_OR : PRED_AND;
    const Pred *zero = is_or ? &pred_true : &pred_false; /* one of these decides */
    const Pred *one = is_or ? &pred_false : &pred_true;  /* these do not matter */
    uint32_t total = 0;
    for (uint32_t i = 0; i < nkids; i++)
        total += kids[i]->kind == kind ? kids[i]->nkids : 1;
    const Pred **flat = ARENA_ARRAY(a, const Pred *, total + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < nkids; i++) {
        if (kids[i]->kind == zero->kind)
            return zero;
        if (kids[i]->kind == one->kind)
            continue;
        if (kids[i]->kind == kind) {
            memcpy(flat + n, kids[i]->kids, sizeof *flat * kids[i]->nkids);
            n += kids[i]->nkids;
        } else {
            flat[n++] = kids[i];
        }
    }
    if (n > 1)
        qsort(flat, n, sizeof *flat, key_compare);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (kept == 0 || key_compare(&flat[kept - 1], &flat[i]) != 0)
            flat[kept++] = flat[i];
    return kept == 0 ? one : kept == 1 ? flat[0] : pred_list(a, kind, CMP_EQ, flat, kept);
}

static const Pred *pred_not(Arena *a, const Pred *p)
{
    switch (p->kind) {
    case PRED_TRUE: return &pred_false;
    case PRED_FALSE: return &pred_true;
    case PRED_NOT: return p->kids[0];
    case PRED_LITERAL: {
        if (p->type->kind == TYPE_BOOL && p->op == CMP_EQ) { /* one spelling of a column that is false */
            bool *value = arena_alloc(a, sizeof *value);
            *value = !*(const bool *)p->literal;
            ColumnDef def = {.offset = p->offset, .type = p->type};
            return pred_literal(a, CMP_EQ, p->col, &def, value);
        }
        ColumnDef def = {.offset = p->offset, .type = p->type};
        return pred_literal(a, compare_negate(p->op), p->col, &def, p->literal);
    }
    case PRED_COLUMNS: {
        ColumnDef x = {.offset = p->offset, .type = p->type}, y = {.offset = p->offset2, .type = p->type};
        Operand l = {.col = p->col, .def = &x}, r = {.col = p->col2, .def = &y};
        return pred_columns(a, compare_negate(p->op), &l, &r);
    }
    case PRED_BOOLS: return pred_list(a, PRED_BOOLS, compare_negate(p->op), p->kids, 2);
    case PRED_AND:
    case PRED_OR: return pred_list(a, PRED_NOT, CMP_EQ, &p, 1);
    }
    BUG("predicate of kind %d", p->kind);
}

/* predicate op constant, on booleans (false < true). */
static const Pred *pred_with_constant(Arena *a, CompareOp op, const Pred *p, bool constant)
{
    bool if_false = native_compare(type_scalar(TYPE_BOOL), op, &(bool){false}, &constant);
    bool if_true = native_compare(type_scalar(TYPE_BOOL), op, &(bool){true}, &constant);
    if (if_false == if_true)
        return if_true ? &pred_true : &pred_false;
    return if_true ? p : pred_not(a, p);
}

static const Pred *pred_bools(Arena *a, CompareOp op, const Pred *l, const Pred *r)
{
    if (r->kind == PRED_TRUE || r->kind == PRED_FALSE)
        return pred_with_constant(a, op, l, r->kind == PRED_TRUE);
    if (l->kind == PRED_TRUE || l->kind == PRED_FALSE)
        return pred_with_constant(a, sql_compare_flip(op), r, l->kind == PRED_TRUE);
    const Pred *kids[2] = {l, r};
    return pred_list(a, PRED_BOOLS, op, kids, 2);
}

/* ---- types ---- */

static bool type_is_comparable(const Type *t)
{
    switch (t->kind) {
    case TYPE_BOOL:
    case TYPE_F32:
    case TYPE_F64:
    case TYPE_STRING:
    case TYPE_BYTES:
    case TYPE_IDENTITY:
    case TYPE_CONNECTION_ID:
    case TYPE_TIMESTAMP:
    case TYPE_UUID: return true;
    default: return type_is_integer(t);
    }
}

static Status type_mismatch(Checker *c, const char *left, const char *right)
{
    return FAIL(c->err, S_INVALID, "type mismatch: expected `%s`, found `%s`", left, right);
}

static Status untyped(Checker *c, const Literal *l)
{
    return FAIL(c->err, S_INVALID, "cannot infer the type of the literal `%s`: compare it with a column",
                l ? sql_literal_text(c->arena, l) : ":sender");
}

/* A boolean operand as a predicate. */
static Status operand_pred(Checker *c, const Operand *o, const Pred **ret)
{
    const Type *boolean = type_scalar(TYPE_BOOL);
    switch (o->kind) {
    case OPERAND_PRED: *ret = o->pred; return S_OK;
    case OPERAND_SENDER: return type_mismatch(c, "bool", "Identity");
    case OPERAND_LITERAL: {
        bool value;
        TRY(literal_convert(c->arena, o->literal, boolean, LITERAL_IN_WHERE, &value, c->err));
        *ret = value ? &pred_true : &pred_false;
        return S_OK;
    }
    case OPERAND_COLUMN: {
        if (o->def->type->kind != TYPE_BOOL)
            return type_mismatch(c, "bool", sql_type_text(c->arena, o->def->type));
        bool *value = arena_alloc(c->arena, sizeof *value);
        *value = true;
        *ret = pred_literal(c->arena, CMP_EQ, o->col, o->def, value);
        return S_OK;
    }
    }
    BUG("operand of kind %d", o->kind);
}

static Status compare_sender(Checker *c, CompareOp op, const Operand *o, const Pred **ret)
{
    const Type *t = o->def->type;
    uint8_t *value = arena_alloc(c->arena, 32);
    if (t->kind == TYPE_IDENTITY) {
        memcpy(value, c->caller->identity, 32);
    } else if (t->kind == TYPE_BYTES) {
        for (int i = 0; i < 32; i++)
            value[i] = c->caller->identity[31 - i];
        Bytes b = {value, 32};
        value = arena_copy(c->arena, &b, sizeof b);
    } else {
        return type_mismatch(c, sql_type_text(c->arena, t), "Identity");
    }
    c->plan->uses_sender = true;
    *ret = pred_literal(c->arena, op, o->col, o->def, value);
    return S_OK;
}

static Status check_compare(Checker *c, CompareOp op, Operand l, Operand r, const Pred **ret)
{
    bool l_const = l.kind == OPERAND_LITERAL || l.kind == OPERAND_SENDER, r_const = r.kind == OPERAND_LITERAL || r.kind == OPERAND_SENDER;
    if (l_const && r_const) {
        bool l_bool = l.kind == OPERAND_LITERAL && l.literal->kind == LIT_BOOL,
             r_bool = r.kind == OPERAND_LITERAL && r.literal->kind == LIT_BOOL;
        if (l_bool && r_bool) {
            *ret = native_compare(type_scalar(TYPE_BOOL), op, &l.literal->truth, &r.literal->truth) ? &pred_true : &pred_false;
            return S_OK;
        }
        if (l.kind == OPERAND_LITERAL && r.kind == OPERAND_SENDER) { /* the side that is not a literal decides */
            uint8_t value[32];
            TRY(literal_convert(c->arena, l.literal, type_scalar(TYPE_IDENTITY), LITERAL_IN_WHERE, value, c->err));
            c->plan->uses_sender = true;
            *ret = native_compare(type_scalar(TYPE_IDENTITY), op, value, c->caller->identity) ? &pred_true : &pred_false;
            return S_OK;
        }
        return untyped(c, l.literal);
    }
    if (l_const) {
        Operand t = l;
        l = r, r = t;
        op = sql_compare_flip(op);
        r_const = true;
    }
    if (l.kind == OPERAND_COLUMN && r_const) {
        if (r.kind == OPERAND_SENDER)
            return compare_sender(c, op, &l, ret);
        if (l.def->type->kind != TYPE_BOOL) {
            void *value = arena_alloc(c->arena, MAX(l.def->type->size, 32u));
            TRY(literal_convert(c->arena, r.literal, l.def->type, LITERAL_IN_WHERE, value, c->err));
            *ret = pred_literal(c->arena, op, l.col, l.def, value);
            return S_OK;
        }
    }
    if (l.kind == OPERAND_COLUMN && r.kind == OPERAND_COLUMN) {
        if (!type_equal(l.def->type, r.def->type))
            return type_mismatch(c, sql_type_text(c->arena, l.def->type), sql_type_text(c->arena, r.def->type));
        if (!type_is_comparable(l.def->type)) {
            static const char *const ops[] = {"=", "<>", "<", "<=", ">", ">="};
            return FAIL(c->err, S_INVALID, "invalid binary operator `%s` for type `%s`", ops[op], sql_type_text(c->arena, l.def->type));
        }
        if (l.col == r.col) /* every comparison is total */
            *ret = op == CMP_EQ || op == CMP_LE || op == CMP_GE ? &pred_true : &pred_false;
        else
            *ret = pred_columns(c->arena, op, &l, &r);
        return S_OK;
    }
    const Pred *lp, *rp;
    TRY(operand_pred(c, &l, &lp));
    TRY(operand_pred(c, &r, &rp));
    *ret = pred_bools(c->arena, op, lp, rp);
    return S_OK;
}

static Status check_expr(Checker *c, const Expr *e, Operand *ret);

static Status check_bool(Checker *c, const Expr *e, const Pred **ret)
{
    Operand o;
    TRY(check_expr(c, e, &o));
    return operand_pred(c, &o, ret);
}

static Status check_expr(Checker *c, const Expr *e, Operand *ret)
{
    *ret = (Operand){.kind = OPERAND_PRED};
    switch (e->kind) {
    case EXPR_LITERAL: *ret = (Operand){.kind = OPERAND_LITERAL, .literal = &e->literal}; return S_OK;
    case EXPR_SENDER: *ret = (Operand){.kind = OPERAND_SENDER}; return S_OK;
    case EXPR_COLUMN:
        ret->kind = OPERAND_COLUMN;
        TRY(query_plan_column(c->plan, c->stmt, &e->column, &ret->col, c->err));
        ret->def = &c->plan->refs[0].def->cols[ret->col];
        return S_OK;
    case EXPR_COMPARE: {
        Operand l, r;
        TRY(check_expr(c, e->kids[0], &l));
        TRY(check_expr(c, e->kids[1], &r));
        return check_compare(c, e->op, l, r, &ret->pred);
    }
    case EXPR_NOT: {
        const Pred *inner;
        TRY(check_bool(c, e->kids[0], &inner));
        ret->pred = pred_not(c->arena, inner);
        return S_OK;
    }
    case EXPR_AND:
    case EXPR_OR: {
        const Pred **kids = ARENA_ARRAY(c->arena, const Pred *, e->nkids);
        for (uint32_t i = 0; i < e->nkids; i++)
            TRY(check_bool(c, e->kids[i], &kids[i]));
        ret->pred = pred_chain(c->arena, e->kind == EXPR_OR, kids, e->nkids);
        return S_OK;
    }
    }
    BUG("expression of kind %d", e->kind);
}

/* ---- joins: checked as far as names go, then refused ---- */

static Status unqualified(Str name, Error *err)
{
    name = sql_clip(name, SQL_FRAGMENT_BYTES_MAX);
    return FAIL(err, S_INVALID, "names must be qualified when using joins: `%.*s`", STR_FMT(name));
}

static bool scope_has(const Statement *s, Str qualifier)
{
    for (uint32_t i = 0; i < s->nfrom; i++)
        if (str_eq(s->from[i].qualifier, qualifier))
            return true;
    return false;
}

static Status check_qualified(const Statement *s, const Expr *e, Error *err)
{
    if (e->kind == EXPR_COLUMN) {
        if (!e->column.qualified)
            return unqualified(e->column.name, err);
        if (!scope_has(s, e->column.qualifier))
            return no_such_scope(e->column.qualifier, err);
    }
    for (uint32_t i = 0; i < e->nkids; i++)
        TRY(check_qualified(s, e->kids[i], err));
    return S_OK;
}

static Status refuse_join(const Statement *s, Error *err)
{
    for (uint32_t i = 0; i < s->nfrom; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (str_eq(s->from[i].qualifier, s->from[j].qualifier)) {
                Str name = sql_clip(s->from[i].qualifier, SQL_FRAGMENT_BYTES_MAX);
                return FAIL(err, S_INVALID, "duplicate name `%.*s`: a table joined twice needs aliases", STR_FMT(name));
            }
        }
        for (int side = 0; s->from[i].has_on && side < 2; side++)
            if (!s->from[i].on[side].qualified)
                return unqualified(s->from[i].on[side].name, err);
    }
    if (s->projection == PROJECT_STAR)
        return FAIL(err, S_INVALID, "SELECT * is not supported for joins: name the table as in SELECT t.*");
    if (s->projection == PROJECT_TABLE && !scope_has(s, s->star_qualifier))
        return no_such_scope(s->star_qualifier, err);
    for (uint32_t i = 0; i < s->nitems; i++)
        if (!s->items[i].column.qualified)
            return unqualified(s->items[i].column.name, err);
    if (s->where)
        TRY(check_qualified(s, s->where, err));
    return FAIL(err, S_INVALID, "unsupported join: joins come with a later edition; query one table at a time");
}

/* ---- row level security ---- */

/* The rule's statement, when it is one over `t` (NULL: over any public table). */
static Status read_rule(Arena *a, Engine *e, Str sql, const TableDef *t, const Statement **ret, PlanRef *ret_ref, Error *err)
{
    static const Caller stranger;
    const Statement *s;
    TRY(sql_parse(a, sql, &s, err));
    if (s->kind != STMT_SELECT || s->has_limit || (s->projection != PROJECT_STAR && s->projection != PROJECT_TABLE))
        return FAIL(err, S_INVALID, "a rule is a SELECT of whole rows without LIMIT");
    if (s->nfrom != 1)
        return refuse_join(s, err);
    TRY(resolve_table(e, s->from[0].table, s, &stranger, ret_ref, err));
    if (s->projection == PROJECT_TABLE && !str_eq(s->star_qualifier, s->from[0].qualifier))
        return no_such_scope(s->star_qualifier, err);
    *ret = !t || ret_ref->def == t ? s : NULL;
    return S_OK;
}

static Status rule_condition(Arena *a, Plan *p, const Statement *s, const Caller *caller, const Pred **ret, Error *err)
{
    Checker c = {.arena = a, .caller = caller, .stmt = s, .plan = p, .err = err};
    *ret = &pred_true;
    return s->where ? check_bool(&c, s->where, ret) : S_OK;
}

Status query_check_rule(Engine *e, Str sql, Error *err)
{
    static const Caller anybody;
    OWN(arena) Arena a = {0};
    PlanRef ref;
    const Statement *s;
    const Pred *where;
    TRY(read_rule(&a, e, sql, NULL, &s, &ref, err));
    Plan p = {.nrefs = 1, .refs = &ref};
    return rule_condition(&a, &p, s, &anybody, &where, err);
}

/* The rows that one rule of the table returns, AND what was asked for. */
static Status apply_rules(Arena *a, Engine *e, Plan *p, const Caller *caller, Error *err)
{
    const ModuleDef *def = engine_schema(e)->def;
    const Pred **rules = ARENA_ARRAY(a, const Pred *, def->nrls + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < def->nrls; i++) {
        const Statement *s = NULL;
        PlanRef ref;
        if (read_rule(a, e, def->rls[i].sql, p->refs[0].def, &s, &ref, err) != S_OK)
            return CONTEXT(err, "a rule of row level security does not hold any more: `%.200s`", def->rls[i].sql.ptr);
        if (s)
            TRY(rule_condition(a, p, s, caller, &rules[n++], err));
    }
    if (!n)
        return S_OK;
    const Pred *both[2] = {p->refs[0].where, pred_chain(a, true, rules, n)};
    p->refs[0].where = pred_chain(a, false, both, 2);
    p->ruled = true;
    return S_OK;
}

/* ---- plans ---- */

/* The last column of a view per sender says for whom its rows are. */
static void only_for_caller(Arena *a, Plan *p, const Caller *caller)
{
    PlanRef *ref = &p->refs[0];
    const ColumnDef *whose = &ref->def->cols[ref->ncols];
    const Pred *both[2] = {ref->where, pred_literal(a, CMP_EQ, ref->ncols, whose, arena_copy(a, caller->identity, 32))};
    ref->where = pred_chain(a, false, both, 2);
    p->uses_sender = true;
}

Status query_plan_make(Plan **ret, Arena *a, Engine *e, const Statement *s, const Caller *caller, Error *err)
{
    Plan *p = ARENA_NEW(a, Plan);
    p->nrefs = s->nfrom;
    p->refs = ARENA_ARRAY(a, PlanRef, p->nrefs);
    for (uint32_t i = 0; i < p->nrefs; i++)
        TRY(resolve_table(e, s->from[i].table, s, caller, &p->refs[i], err));
    if (p->nrefs > 1)
        return refuse_join(s, err);
    if (s->kind == STMT_SELECT && s->projection == PROJECT_TABLE && !str_eq(s->star_qualifier, s->from[0].qualifier))
        return no_such_scope(s->star_qualifier, err);
    p->refs[0].where = &pred_true;
    if (s->where) {
        Checker c = {.arena = a, .caller = caller, .stmt = s, .plan = p, .err = err};
        TRY(check_bool(&c, s->where, &p->refs[0].where));
    }
    if (p->refs[0].is_view && p->refs[0].ncols < p->refs[0].def->ncols)
        only_for_caller(a, p, caller);
    if (s->kind == STMT_SELECT && !p->refs[0].is_view && (!caller->is_owner || caller->under_rules) && engine_schema(e)->def->nrls)
        TRY(apply_rules(a, e, p, caller, err));
    query_path_choose(&p->refs[0]);
    *ret = p;
    return S_OK;
}

static bool text_is_blank(Arena *a, Str text)
{
    const Token *tokens;
    if (text.len && ((text.ptr[0] | 0x20) == 's')) /* SELECT: the usual case needs no second pass */
        return false;
    if (sql_lex(a, text, &tokens, NULL) != S_OK)
        return false;
    while (tokens->kind == TOK_SEMICOLON)
        tokens++;
    return tokens->kind == TOK_END;
}

Status query_compile(Plan **ret, Arena *a, Engine *e, Str text, const Caller *caller, Error *err)
{
    if (text_is_blank(a, text))
        return FAIL(err, S_INVALID, "SubscriptionError: Empty string");
    const Statement *s;
    TRY(sql_parse(a, text, &s, err));
    if (s->kind != STMT_SELECT)
        return sql_unsupported(err, "statement (not a query)", text);
    if (s->has_limit)
        return sql_unsupported(err, "LIMIT in a subscription", text);
    if (s->projection == PROJECT_COUNT || s->projection == PROJECT_COLUMNS)
        return FAIL(err, S_INVALID,
                    "column projections are not supported in subscriptions; a subscription returns whole rows of one table");
    return query_plan_make(ret, a, e, s, caller, err);
}

const Pred *pred_equality(const PlanRef *r)
{
    const Pred *best = NULL;
    uint32_t n = r->where->kind == PRED_AND ? r->where->nkids : 1;
    for (uint32_t i = 0; i < n; i++) {
        const Pred *p = r->where->kind == PRED_AND ? r->where->kids[i] : r->where;
        if (p->kind != PRED_LITERAL || p->op != CMP_EQ || !type_is_key(p->type))
            continue; /* floats: equal values may have different bits */
        if (p->col == r->def->pk)
            return p;
        if (!best || (best->type->kind == TYPE_BOOL && p->type->kind != TYPE_BOOL))
            best = p;
    }
    return best;
}

/* ---- cloning into one block ---- */

typedef struct Block {
    uint8_t *base;
    size_t used;
} Block; /* base NULL: only measures */
static void *block_take(Block *b, size_t size, const void *from)
{
    void *p = b->base ? b->base + b->used : NULL;
    if (p && size)
        memcpy(p, from, size);
    b->used += (size + 15) & ~(size_t)15;
    return p;
}

static const Pred *pred_copy(Block *b, const Pred *p)
{
    Pred *q = block_take(b, sizeof *p, p);
    Bytes key = {block_take(b, p->key.len, p->key.ptr), p->key.len};
    void *literal = NULL, *kids = NULL;
    if (p->literal) {
        literal = block_take(b, p->type->size, p->literal);
        size_t heap = p->type->has_pointers ? value_heap_size(p->type, p->literal) : 0;
        uint8_t *at = b->base ? b->base + b->used : NULL;
        if (literal && heap) {
            memset(literal, 0, p->type->size);
            value_copy(p->type, literal, p->literal, &at);
        }
        b->used += (heap + 15) & ~(size_t)15;
    }
    if (p->nkids)
        kids = block_take(b, sizeof *p->kids * p->nkids, p->kids);
    for (uint32_t i = 0; i < p->nkids; i++) {
        const Pred *kid = pred_copy(b, p->kids[i]);
        if (kids)
            ((const Pred **)kids)[i] = kid;
    }
    if (q) {
        q->key = key;
        q->literal = literal;
        q->kids = kids;
    }
    return q;
}

static Plan *plan_copy(Block *b, const Plan *p, const void *tail, size_t tail_len, void **ret_tail)
{
    Plan *q = block_take(b, sizeof *p, p);
    PlanRef *refs = block_take(b, sizeof *p->refs * p->nrefs, p->refs);
    for (uint32_t i = 0; i < p->nrefs; i++) {
        const Pred *where = pred_copy(b, p->refs[i].where);
        if (refs) {
            refs[i].where = where;
            query_path_choose(&refs[i]); /* its literals are those of the copy */
        }
    }
    *ret_tail = block_take(b, tail_len, tail);
    if (q)
        q->refs = refs;
    return q;
}

Plan *query_plan_clone(const Plan *p, const void *tail, size_t tail_len, void **ret_tail)
{
    Block b = {0};
    plan_copy(&b, p, tail, tail_len, ret_tail);
    b = (Block){.base = x_alloc(b.used)};
    return plan_copy(&b, p, tail, tail_len, ret_tail);
}
