/* parser.c - tokens into a Statement by recursive descent (spec sql-and-subscriptions.md 1.2).
 * Every recursion passes nest(); lists are loops, sized by counting tokens first or by growing arrays. */
#include "host/query/query_int.h"

#include <strings.h>

typedef struct Parser {
    Arena *arena;
    Str text;
    const Token *tok; /* the next one */
    Error *err;
    uint32_t nesting, nesting_max, terms, chains;
} Parser;

/* A list that grows in the arena. */
typedef struct List {
    void *items;
    uint32_t count, cap;
} List;
static void *list_add(Parser *p, List *l, size_t size)
{
    if (l->count == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 4;
        void *items = arena_alloc_raw(p->arena, size * cap);
        if (l->count)
            memcpy(items, l->items, size * l->count);
        l->items = items;
        l->cap = cap;
    }
    void *item = (char *)l->items + size * l->count++;
    memset(item, 0, size);
    return item;
}
#define LIST_ADD(p, list, T) ((T *)list_add((p), (list), sizeof(T)))

static Str token_text(const Parser *p, const Token *t) { return (Str){p->text.ptr + t->at, t->end - t->at}; }

static Status expected(Parser *p, const char *what) { return sql_syntax_error(p->err, p->text, p->tok->at, what, token_text(p, p->tok)); }
/* The fragment is the rest of the text from `from` on, clipped. */
static Status unsupported(Parser *p, const char *kind, const Token *from)
{
    return sql_unsupported(p->err, kind, (Str){p->text.ptr + from->at, p->text.len - from->at});
}

static bool token_is_word(const Token *t, const char *word)
{
    return t->kind == TOK_WORD && t->text.len == strlen(word) && strncasecmp(t->text.ptr, word, t->text.len) == 0;
}
static bool at_word(const Parser *p, const char *word) { return token_is_word(p->tok, word); }
static bool take_word(Parser *p, const char *word) { return at_word(p, word) ? p->tok++, true : false; }
static bool take(Parser *p, TokenKind kind) { return p->tok->kind == kind ? p->tok++, true : false; }
static bool token_is_one_of(const Token *t, const char *const *words)
{
    for (; *words; words++)
        if (token_is_word(t, *words))
            return true;
    return false;
}
static bool token_is_name(const Token *t) { return t->kind == TOK_WORD || t->kind == TOK_QUOTED; }

static Status nest(Parser *p)
{
    if (++p->nesting > p->nesting_max)
        return FAIL(p->err, S_TOO_LARGE, "recursion limit: the SQL parser takes at most %u nested parentheses, NOT and signs",
                    p->nesting_max);
    return S_OK;
}

/* ---- names and literals ---- */

/* name { "." name }; stops before ".*". The parts but the last, joined by dots, go to `qualifier`. */
static Status parse_dotted(Parser *p, const char *what, ColumnName *ret)
{
    if (!token_is_name(p->tok))
        return expected(p, what);
    const Token *first = p->tok;
    uint32_t parts = 1;
    size_t bytes = p->tok++->text.len;
    while (p->tok->kind == TOK_DOT && token_is_name(p->tok + 1)) {
        bytes += p->tok[1].text.len + 1;
        p->tok += 2;
        parts++;
    }
    *ret = (ColumnName){.qualified = parts > 1, .name = p->tok[-1].text};
    if (parts > 2) {
        char *joined = arena_alloc_raw(p->arena, bytes);
        size_t n = 0;
        for (uint32_t i = 0; i + 1 < parts; i++) {
            Str part = first[2 * i].text;
            if (i)
                joined[n++] = '.';
            if (part.len)
                memcpy(joined + n, part.ptr, part.len);
            n += part.len;
        }
        ret->qualifier = (Str){joined, n};
    } else if (parts == 2) {
        ret->qualifier = first->text;
    }
    return S_OK;
}

static Str join_name(Parser *p, const ColumnName *c)
{
    return c->qualified ? str_of(arena_sprintf(p->arena, "%.*s.%.*s", STR_FMT(c->qualifier), STR_FMT(c->name))) : c->name;
}

/* Fills `ret` and returns true in `ret_found` when a literal stands here. */
static Status parse_literal(Parser *p, Literal *ret, bool *ret_found)
{
    const Token *first = p->tok;
    *ret_found = true;
    *ret = (Literal){.text = p->tok->text};
    switch (p->tok->kind) {
    case TOK_PLUS:
    case TOK_MINUS: {
        uint32_t signs = 0;
        while (p->tok[signs].kind == TOK_PLUS || p->tok[signs].kind == TOK_MINUS)
            if (++signs > p->nesting_max)
                return FAIL(p->err, S_TOO_LARGE, "recursion limit: the SQL parser takes at most %u nested signs", p->nesting_max);
        if (signs > 1 || p->tok[1].kind != TOK_NUMBER)
            return unsupported(p, "expression", first);
        ret->negative = p->tok->kind == TOK_MINUS;
        ret->text = p->tok[1].text;
        ret->kind = LIT_NUMBER;
        p->tok += 2;
        return S_OK;
    }
    case TOK_NUMBER: ret->kind = LIT_NUMBER; break;
    case TOK_STRING: ret->kind = LIT_STRING; break;
    case TOK_HEX: ret->kind = LIT_HEX; break;
    case TOK_WORD:
        if (token_is_word(p->tok, "TRUE") || token_is_word(p->tok, "FALSE")) {
            ret->kind = LIT_BOOL;
            ret->truth = token_is_word(p->tok, "TRUE");
            break;
        }
        /* fallthrough */
    default: *ret_found = false; return S_OK;
    }
    p->tok++;
    return S_OK;
}

/* ---- expressions ---- */

static const char *const words_after_operand[] = {"IS",       "ISNULL", "NOTNULL", "IN",       "BETWEEN", "LIKE", "ILIKE",
                                                  "RLIKE",    "REGEXP", "SIMILAR", "NOT",      "COLLATE", "DIV",  "XOR",
                                                  "OVERLAPS", "AT",     "ESCAPE",  "OPERATOR", NULL};

/* Something follows a finished operand that the dialect does not have? */
static Status refuse_operator(Parser *p, const Token *operand)
{
    switch (p->tok->kind) {
    case TOK_PLUS:
    case TOK_MINUS:
    case TOK_STAR:
    case TOK_OPERATOR: return unsupported(p, "expression", operand);
    case TOK_STRING: return operand->kind == TOK_WORD ? unsupported(p, "typed literal", operand) : S_OK;
    case TOK_WORD:
        if (token_is_one_of(p->tok, words_after_operand))
            return unsupported(p, "expression", operand);
        return S_OK;
    default: return S_OK;
    }
}

static Status parse_expr(Parser *p, const Expr **ret);

static Status parse_primary(Parser *p, const Expr **ret)
{
    const Token *first = p->tok;
    if (take(p, TOK_LPAREN)) {
        if (at_word(p, "SELECT") || at_word(p, "WITH") || at_word(p, "VALUES"))
            return unsupported(p, "subquery", first);
        TRY(nest(p));
        TRY(parse_expr(p, ret));
        p->nesting--;
        if (p->tok->kind == TOK_COMMA)
            return unsupported(p, "tuple", first);
        if (!take(p, TOK_RPAREN))
            return expected(p, "a closing parenthesis");
        return refuse_operator(p, first);
    }
    Expr *e = ARENA_NEW(p->arena, Expr);
    bool found;
    TRY(parse_literal(p, &e->literal, &found));
    if (found) {
        e->kind = EXPR_LITERAL;
    } else if (take(p, TOK_SENDER)) {
        e->kind = EXPR_SENDER;
    } else if (at_word(p, "NULL")) {
        return unsupported(p, "value (there is no NULL)", first);
    } else if (at_word(p, "NOT") || (at_word(p, "CASE") && token_is_name(p->tok + 1))) {
        return unsupported(p, "expression", first);
    } else if (token_is_name(p->tok)) {
        e->kind = EXPR_COLUMN;
        TRY(parse_dotted(p, "a column", &e->column));
        if (p->tok->kind == TOK_LPAREN)
            return unsupported(p, "function call", first);
    } else {
        return expected(p, "an expression");
    }
    *ret = e;
    return refuse_operator(p, first);
}

static bool compare_op(TokenKind kind, CompareOp *ret)
{
    switch (kind) {
    case TOK_EQ: *ret = CMP_EQ; return true;
    case TOK_NE: *ret = CMP_NE; return true;
    case TOK_LT: *ret = CMP_LT; return true;
    case TOK_LE: *ret = CMP_LE; return true;
    case TOK_GT: *ret = CMP_GT; return true;
    case TOK_GE: *ret = CMP_GE; return true;
    default: return false;
    }
}

static const Expr *make_expr(Parser *p, ExprKind kind, const Expr *const *kids, uint32_t nkids)
{
    Expr *e = ARENA_NEW(p->arena, Expr);
    e->kind = kind;
    e->nkids = nkids;
    e->kids = arena_copy(p->arena, kids, sizeof *kids * nkids);
    return e;
}

static Status parse_comparison(Parser *p, const Expr **ret)
{
    const Token *first = p->tok;
    if (take_word(p, "NOT")) {
        TRY(nest(p));
        const Expr *inner;
        TRY(parse_comparison(p, &inner));
        p->nesting--;
        *ret = make_expr(p, EXPR_NOT, &inner, 1);
        return S_OK;
    }
    TRY(parse_primary(p, ret));
    CompareOp op;
    for (uint32_t n = 0; compare_op(p->tok->kind, &op); n++) {
        if (n && ++p->chains > SQL_CHAINS_MAX)
            return FAIL(p->err, S_TOO_LARGE, "recursion limit: the SQL parser takes at most %d chained comparisons", SQL_CHAINS_MAX);
        p->tok++;
        if ((at_word(p, "ANY") || at_word(p, "ALL") || at_word(p, "SOME")) && p->tok[1].kind == TOK_LPAREN)
            return unsupported(p, "expression", first);
        const Expr *sides[2] = {*ret};
        TRY(parse_primary(p, &sides[1]));
        const Expr *e = make_expr(p, EXPR_COMPARE, sides, 2);
        ((Expr *)e)->op = op;
        *ret = e;
    }
    return S_OK;
}

/* One level of AND or OR: operand { word operand }. */
static Status parse_chain(Parser *p, const Expr **ret, bool is_or);
static Status parse_operand(Parser *p, const Expr **ret, bool is_or)
{
    return is_or ? parse_chain(p, ret, false) : parse_comparison(p, ret);
}
static Status parse_chain(Parser *p, const Expr **ret, bool is_or)
{
    List kids = {0};
    do {
        const Expr *kid;
        TRY(parse_operand(p, &kid, is_or));
        *LIST_ADD(p, &kids, const Expr *) = kid;
        if (!is_or && ++p->terms > SQL_TERMS_MAX)
            return FAIL(p->err, S_TOO_LARGE, "recursion limit: the SQL parser takes at most %d terms of AND and OR", SQL_TERMS_MAX);
    } while (take_word(p, is_or ? "OR" : "AND"));
    *ret = kids.count == 1 ? *(const Expr **)kids.items : make_expr(p, is_or ? EXPR_OR : EXPR_AND, kids.items, kids.count);
    return S_OK;
}
static Status parse_expr(Parser *p, const Expr **ret)
{
    /* A group in parentheses is one term of the chain around it; its own terms count again. */
    uint32_t terms = p->terms;
    TRY(parse_chain(p, ret, true));
    if (p->nesting && p->terms == terms + 1)
        p->terms = terms;
    return S_OK;
}

static Status parse_where(Parser *p, Statement *s) { return take_word(p, "WHERE") ? parse_expr(p, &s->where) : S_OK; }

/* ---- SELECT ---- */

static const char *const words_not_alias[] = {
    "WHERE",   "GROUP",       "ORDER",  "LIMIT",   "OFFSET", "FETCH",         "UNION", "EXCEPT",  "INTERSECT",  "MINUS",  "HAVING",
    "WITH",    "SELECT",      "SET",    "ON",      "USING",  "JOIN",          "INNER", "CROSS",   "LEFT",       "RIGHT",  "FULL",
    "NATURAL", "OUTER",       "WINDOW", "QUALIFY", "END",    "FOR",           "INTO",  "FROM",    "AS",         "VALUES", "RETURNING",
    "LATERAL", "TABLESAMPLE", "ANTI",   "SEMI",    "ASOF",   "STRAIGHT_JOIN", "PIVOT", "CLUSTER", "DISTRIBUTE", "SORT",   NULL};
static const char *const words_bad_join[] = {"LEFT", "RIGHT", "FULL", "NATURAL", "OUTER", "ANTI", "SEMI", "ASOF", "STRAIGHT_JOIN", NULL};
static const char *const words_bad_clause[] = {
    "GROUP", "HAVING",  "ORDER",       "UNION", "EXCEPT", "INTERSECT", "MINUS",   "OFFSET",     "FETCH", "WINDOW", "QUALIFY", "FOR",
    "INTO",  "LATERAL", "TABLESAMPLE", "PIVOT", "USING",  "RETURNING", "CLUSTER", "DISTRIBUTE", "SORT",  "WITH",   NULL};

static Status parse_alias(Parser *p, Str *ret, bool *ret_found)
{
    *ret_found = true;
    if (take_word(p, "AS")) {
        if (!token_is_name(p->tok))
            return expected(p, "a name after AS");
        *ret = p->tok++->text;
    } else if (token_is_name(p->tok) && !token_is_one_of(p->tok, words_not_alias)) {
        *ret = p->tok++->text;
    } else {
        *ret_found = false;
    }
    return S_OK;
}

static Status parse_count(Parser *p, Statement *s)
{
    const Token *first = p->tok;
    p->tok += 2;
    if (!take(p, TOK_STAR) || p->tok->kind != TOK_RPAREN)
        return unsupported(p, "aggregate (only COUNT(*) AS name)", first);
    p->tok++;
    bool named;
    TRY(parse_alias(p, &s->count_name, &named));
    if (!named || p->tok->kind == TOK_COMMA)
        return unsupported(p, "projection (COUNT(*) needs a name and stands alone)", first);
    s->projection = PROJECT_COUNT;
    return S_OK;
}

static Status parse_projection(Parser *p, Statement *s)
{
    const Token *first = p->tok;
    if (at_word(p, "FROM") && p->tok[1].kind != TOK_COMMA && !token_is_word(p->tok + 1, "FROM"))
        return expected(p, "a projection");
    if (take(p, TOK_STAR)) {
        s->projection = PROJECT_STAR;
        return p->tok->kind == TOK_COMMA || token_is_word(p->tok, "EXCEPT") ? unsupported(p, "projection", first) : S_OK;
    }
    if (at_word(p, "COUNT") && p->tok[1].kind == TOK_LPAREN)
        return parse_count(p, s);
    List items = {0};
    s->projection = PROJECT_COLUMNS;
    do {
        const Token *item = p->tok;
        if (p->tok->kind == TOK_END || p->tok->kind == TOK_COMMA || p->tok->kind == TOK_RPAREN || p->tok->kind == TOK_SEMICOLON)
            return expected(p, "a column");
        if (!token_is_name(p->tok) || at_word(p, "TRUE") || at_word(p, "FALSE") || at_word(p, "NULL") || at_word(p, "NOT") ||
            (at_word(p, "CASE") && token_is_name(p->tok + 1)))
            return unsupported(p, "projection", item);
        SelectItem *out = LIST_ADD(p, &items, SelectItem);
        if (items.count > SQL_ITEMS_MAX)
            return FAIL(p->err, S_TOO_LARGE, "recursion limit: at most %d result columns", SQL_ITEMS_MAX);
        TRY(parse_dotted(p, "a column", &out->column));
        if (p->tok->kind == TOK_DOT && p->tok[1].kind == TOK_STAR) {
            p->tok += 2;
            if (items.count > 1 || p->tok->kind == TOK_COMMA)
                return unsupported(p, "projection", first);
            s->projection = PROJECT_TABLE;
            s->star_qualifier = join_name(p, &out->column);
            return S_OK;
        }
        CompareOp op;
        if (p->tok->kind == TOK_LPAREN)
            return unsupported(p, "function call", item);
        if (p->tok->kind == TOK_PLUS || p->tok->kind == TOK_MINUS || p->tok->kind == TOK_STAR || p->tok->kind == TOK_OPERATOR ||
            compare_op(p->tok->kind, &op) || at_word(p, "AND") || at_word(p, "OR") || at_word(p, "IS") || at_word(p, "IN"))
            return unsupported(p, "projection", item);
        bool named;
        out->name = out->column.name;
        TRY(parse_alias(p, &out->name, &named));
    } while (take(p, TOK_COMMA));
    s->items = items.items;
    s->nitems = items.count;
    return S_OK;
}

static Status parse_from_item(Parser *p, List *from)
{
    const Token *first = p->tok;
    if (p->tok->kind == TOK_LPAREN)
        return unsupported(p, "subquery", first);
    if (from->count >= SQL_REFS_MAX)
        return FAIL(p->err, S_TOO_LARGE, "recursion limit: at most %d tables in FROM", SQL_REFS_MAX);
    FromItem *item = LIST_ADD(p, from, FromItem);
    ColumnName name = {0};
    TRY(parse_dotted(p, "a table", &name));
    item->table = item->qualifier = join_name(p, &name);
    if (p->tok->kind == TOK_LPAREN)
        return unsupported(p, "table function", first);
    bool aliased;
    TRY(parse_alias(p, &item->qualifier, &aliased));
    if (aliased && p->tok->kind == TOK_LPAREN)
        return unsupported(p, "column alias list", first);
    return S_OK;
}

static Status parse_on(Parser *p, FromItem *item)
{
    const Token *first = p->tok;
    static const char *const takes_more[] = {"AND", "OR", NULL};
    item->has_on = true;
    for (int side = 0; side < 2; side++) {
        if (p->tok->kind == TOK_END)
            return expected(p, "a column");
        if (!token_is_name(p->tok) || at_word(p, "NOT") || at_word(p, "TRUE") || at_word(p, "FALSE"))
            return unsupported(p, "join condition (only column = column)", first);
        TRY(parse_dotted(p, "a column", &item->on[side]));
        if (side == 0 && !take(p, TOK_EQ)) {
            CompareOp op;
            return compare_op(p->tok->kind, &op) || p->tok->kind == TOK_LPAREN || p->tok->kind == TOK_OPERATOR
                       ? unsupported(p, "join condition (only column = column)", first)
                       : expected(p, "=");
        }
    }
    CompareOp op;
    if (token_is_one_of(p->tok, takes_more) || compare_op(p->tok->kind, &op))
        return unsupported(p, "join condition (only column = column)", first);
    return refuse_operator(p, first);
}

static Status parse_joins(Parser *p, List *from)
{
    for (;;) {
        const Token *first = p->tok;
        if (p->tok->kind == TOK_COMMA)
            return unsupported(p, "list of tables (use JOIN)", first);
        if (token_is_one_of(p->tok, words_bad_join))
            return unsupported(p, "join", first);
        if (take_word(p, "CROSS")) {
            if (!take_word(p, "JOIN"))
                return expected(p, "JOIN");
            TRY(parse_from_item(p, from));
            continue;
        }
        if (take_word(p, "INNER")) {
            if (!at_word(p, "JOIN"))
                return expected(p, "JOIN");
        }
        if (!take_word(p, "JOIN"))
            return S_OK;
        TRY(parse_from_item(p, from));
        if (at_word(p, "USING"))
            return unsupported(p, "join", first);
        if (take_word(p, "ON"))
            TRY(parse_on(p, (FromItem *)from->items + from->count - 1));
    }
}

static Status parse_limit(Parser *p, Statement *s)
{
    const Token *first = p->tok;
    if (!take_word(p, "LIMIT") || take_word(p, "ALL"))
        return S_OK;
    if (p->tok->kind == TOK_END || p->tok->kind == TOK_SEMICOLON)
        return expected(p, "a number after LIMIT");
    if (p->tok->kind != TOK_NUMBER)
        return unsupported(p, "limit (only a number or ALL)", first);
    s->has_limit = true;
    s->limit = (Literal){.kind = LIT_NUMBER, .text = p->tok++->text};
    if (p->tok->kind == TOK_PLUS || p->tok->kind == TOK_MINUS || p->tok->kind == TOK_STAR || p->tok->kind == TOK_OPERATOR ||
        at_word(p, "BY"))
        return unsupported(p, "limit (only a number or ALL)", first);
    return S_OK;
}

static Status parse_select(Parser *p, Statement *s)
{
    const Token *first = p->tok++;
    s->kind = STMT_SELECT;
    if (at_word(p, "DISTINCT") || at_word(p, "TOP"))
        if (p->tok[1].kind != TOK_COMMA && !token_is_word(p->tok + 1, "FROM") && !token_is_word(p->tok + 1, "AS"))
            return unsupported(p, "clause", first);
    if (at_word(p, "ALL") && p->tok[1].kind != TOK_COMMA && !token_is_word(p->tok + 1, "FROM"))
        p->tok++;
    TRY(parse_projection(p, s));
    if (!take_word(p, "FROM"))
        return expected(p, "FROM");
    List from = {0};
    TRY(parse_from_item(p, &from));
    TRY(parse_joins(p, &from));
    s->from = from.items;
    s->nfrom = from.count;
    TRY(parse_where(p, s));
    if (token_is_one_of(p->tok, words_bad_clause))
        return unsupported(p, "clause", p->tok);
    TRY(parse_limit(p, s));
    if (token_is_one_of(p->tok, words_bad_clause))
        return unsupported(p, "clause", p->tok);
    return S_OK;
}

/* ---- DML ---- */

/* The target of INSERT, UPDATE and DELETE: one table, no alias. */
static Status parse_target(Parser *p, Statement *s, const char *const *words_next)
{
    const Token *first = p->tok;
    ColumnName name = {0};
    if (p->tok->kind == TOK_LPAREN)
        return unsupported(p, "subquery", first);
    TRY(parse_dotted(p, "a table", &name));
    s->from = ARENA_NEW(p->arena, FromItem);
    s->nfrom = 1;
    s->from->table = s->from->qualifier = join_name(p, &name);
    if (p->tok->kind == TOK_COMMA || (token_is_name(p->tok) && !token_is_one_of(p->tok, words_next)))
        return unsupported(p, "target (one table, no alias)", first);
    return S_OK;
}

static Status parse_value(Parser *p, Literal *ret)
{
    const Token *first = p->tok;
    bool found;
    if (p->tok->kind == TOK_END || p->tok->kind == TOK_RPAREN || p->tok->kind == TOK_COMMA)
        return expected(p, "a literal");
    TRY(parse_literal(p, ret, &found));
    CompareOp op;
    if (!found || compare_op(p->tok->kind, &op) || at_word(p, "AND") || at_word(p, "OR"))
        return unsupported(p, "value (only literals)", first);
    return refuse_operator(p, first);
}

static Status parse_insert(Parser *p, Statement *s)
{
    const Token *first = p->tok++;
    static const char *const next[] = {"VALUES", "SELECT", "DEFAULT", "SET", NULL};
    s->kind = STMT_INSERT;
    take_word(p, "INTO");
    TRY(parse_target(p, s, next));
    List names = {0}, widths = {0}, values = {0};
    if (p->tok->kind == TOK_LPAREN && token_is_word(p->tok + 1, "SELECT"))
        return unsupported(p, "INSERT", first);
    if (take(p, TOK_LPAREN)) {
        do {
            if (!token_is_name(p->tok))
                return expected(p, "a column name");
            *LIST_ADD(p, &names, Str) = p->tok++->text;
        } while (take(p, TOK_COMMA));
        if (!take(p, TOK_RPAREN))
            return expected(p, "a closing parenthesis");
    }
    if (at_word(p, "SELECT") || at_word(p, "DEFAULT") || at_word(p, "WITH") || at_word(p, "SET") || p->tok->kind == TOK_LPAREN)
        return unsupported(p, "INSERT", first);
    if (!take_word(p, "VALUES"))
        return expected(p, "VALUES");
    do {
        if (!take(p, TOK_LPAREN))
            return expected(p, "a row in parentheses");
        uint32_t before = values.count;
        do
            TRY(parse_value(p, LIST_ADD(p, &values, Literal)));
        while (take(p, TOK_COMMA));
        if (!take(p, TOK_RPAREN))
            return expected(p, "a closing parenthesis");
        *LIST_ADD(p, &widths, uint32_t) = values.count - before;
    } while (take(p, TOK_COMMA));
    if (at_word(p, "ON") || at_word(p, "RETURNING") || at_word(p, "AS"))
        return unsupported(p, "clause", p->tok);
    s->nnames = names.count, s->names = names.items;
    s->nrows = widths.count, s->row_widths = widths.items;
    s->nvalues = values.count, s->values = values.items;
    return S_OK;
}

static const char *const words_bad_dml[] = {"FROM", "RETURNING", "ORDER", "LIMIT", "USING", "JOIN", "INNER", "LEFT", "CROSS", NULL};

static Status parse_update(Parser *p, Statement *s)
{
    p->tok++;
    static const char *const next[] = {"SET", NULL};
    s->kind = STMT_UPDATE;
    TRY(parse_target(p, s, next));
    if (!take_word(p, "SET"))
        return expected(p, "SET");
    List list = {0};
    do {
        const Token *first = p->tok;
        if (p->tok->kind == TOK_LPAREN) {
            uint32_t i = 1;
            while (token_is_name(p->tok + i) && p->tok[i + 1].kind == TOK_COMMA)
                i += 2;
            if (token_is_name(p->tok + i) && p->tok[i + 1].kind == TOK_RPAREN)
                return unsupported(p, "assignment", first);
        }
        Assignment *out = LIST_ADD(p, &list, Assignment);
        TRY(parse_dotted(p, "a column", &out->column));
        if (!take(p, TOK_EQ))
            return expected(p, "=");
        TRY(parse_value(p, &out->value));
    } while (take(p, TOK_COMMA));
    s->assignments = list.items;
    s->nassignments = list.count;
    if (token_is_one_of(p->tok, words_bad_dml))
        return unsupported(p, "clause", p->tok);
    TRY(parse_where(p, s));
    if (token_is_one_of(p->tok, words_bad_dml))
        return unsupported(p, "clause", p->tok);
    return S_OK;
}

static Status parse_delete(Parser *p, Statement *s)
{
    static const char *const next[] = {"WHERE", NULL};
    s->kind = STMT_DELETE;
    p->tok++;
    if (!take_word(p, "FROM"))
        return token_is_name(p->tok) && token_is_word(p->tok + 1, "FROM") ? unsupported(p, "DELETE", p->tok - 1) : expected(p, "FROM");
    TRY(parse_target(p, s, next));
    TRY(parse_where(p, s));
    if (token_is_one_of(p->tok, words_bad_dml))
        return unsupported(p, "clause", p->tok);
    return S_OK;
}

/* ---- statements ---- */

static Status parse_variable(Parser *p, Statement *s)
{
    const Token *first = p->tok;
    s->kind = at_word(p, "SET") ? STMT_SET : STMT_SHOW;
    p->tok++;
    if (s->kind == STMT_SET && (at_word(p, "LOCAL") || at_word(p, "GLOBAL")))
        return unsupported(p, "SET", first);
    if (s->kind == STMT_SET && at_word(p, "SESSION") && token_is_name(p->tok + 1))
        p->tok++;
    if (!token_is_name(p->tok))
        return expected(p, "the name of a variable");
    s->variable = p->tok++->text;
    if (s->kind == STMT_SHOW)
        return S_OK;
    if (!take(p, TOK_EQ) && !take_word(p, "TO"))
        return expected(p, "= or TO");
    Literal value;
    TRY(parse_value(p, &value));
    return p->tok->kind == TOK_COMMA ? unsupported(p, "SET", first) : S_OK;
}

static const char *const words_statement[] = {"SELECT", "INSERT", "UPDATE", "DELETE", "SET", "SHOW", NULL};
static const char *const words_bad_statement[] = {
    "CREATE",  "DROP",    "ALTER",  "TRUNCATE",  "EXPLAIN", "BEGIN",   "COMMIT",   "ROLLBACK", "WITH",       "VALUES",
    "TABLE",   "GRANT",   "REVOKE", "MERGE",     "CALL",    "EXECUTE", "EXEC",     "PREPARE",  "DEALLOCATE", "COPY",
    "ANALYZE", "VACUUM",  "START",  "SAVEPOINT", "RELEASE", "USE",     "DESCRIBE", "DESC",     "DECLARE",    "FETCH",
    "CLOSE",   "COMMENT", "LOCK",   "REPLACE",   "RENAME",  "KILL",    "PRAGMA",   "LISTEN",   "NOTIFY",     "DISCARD",
    "RESET",   "DO",      "CACHE",  "MSCK",      "ATTACH",  "LOAD",    "ASSERT",   NULL};

Status sql_parse(Arena *a, Str text, const Statement **ret, Error *err)
{
    Parser p = {.arena = a, .text = text, .err = err, .nesting_max = SQL_NESTING_DML_MAX};
    TRY(sql_lex(a, text, &p.tok, err));
    Statement *s = ARENA_NEW(a, Statement);
    while (take(&p, TOK_SEMICOLON))
        ;
    if (p.tok->kind == TOK_END)
        return FAIL(err, S_INVALID, "Empty SQL query");
    if (at_word(&p, "SELECT")) {
        p.nesting_max = SQL_NESTING_MAX;
        TRY(parse_select(&p, s));
    } else if (at_word(&p, "INSERT")) {
        TRY(parse_insert(&p, s));
    } else if (at_word(&p, "UPDATE")) {
        TRY(parse_update(&p, s));
    } else if (at_word(&p, "DELETE")) {
        TRY(parse_delete(&p, s));
    } else if (at_word(&p, "SET") || at_word(&p, "SHOW")) {
        TRY(parse_variable(&p, s));
    } else if (token_is_one_of(p.tok, words_bad_statement) || p.tok->kind == TOK_LPAREN) {
        return unsupported(&p, "statement", p.tok);
    } else {
        return expected(&p, "a statement");
    }
    const Token *end = p.tok;
    while (take(&p, TOK_SEMICOLON))
        ;
    if (p.tok->kind == TOK_END) {
        *ret = s;
        return S_OK;
    }
    if (p.tok > end && (token_is_one_of(p.tok, words_statement) || token_is_one_of(p.tok, words_bad_statement)))
        return FAIL(err, S_INVALID, "multiple statements in one request are not supported; send them one by one");
    return expected(&p, p.tok > end ? "the end of the text" : "the end of the statement");
}
