/* query_int.h - what the files of host/query share: tokens, the syntax tree, typed predicates, plans.
 *
 * Path:    text -> lexer.c -> parser.c (Statement, an arena tree) -> check.c (Plan: resolved ids, typed
 *          predicates with native literals) -> eval.c (Scan) -> exec.c or subs.c / delta.c.
 * Depth:   recursion follows nesting only, and nesting is counted in the parser; AND and OR are n-ary. */
#ifndef HOST_QUERY_INT_H
#define HOST_QUERY_INT_H

#include "host/query/query.h"

enum {
    SQL_TEXT_BYTES_MAX = 50000,
    SQL_NESTING_MAX = 47,          /* parentheses and NOT, in SELECT */
    SQL_NESTING_DML_MAX = 48,      /* in DELETE and UPDATE */
    SQL_TERMS_MAX = 1600,          /* operands of AND and OR in a statement */
    SQL_CHAINS_MAX = 64,           /* comparisons of comparisons in a statement: (a = b) = c, a = b = c */
    SQL_REFS_MAX = 512,            /* tables in FROM */
    SQL_ITEMS_MAX = 2000,          /* result columns */
    SQL_INTEGER_DIGITS_MAX = 78,   /* digits of the widest integer, 2^256 */
    SQL_FRAGMENT_BYTES_MAX = 120,  /* of the text repeated in an error */
    SQL_EXECUTING_BYTES_MAX = 600, /* of the statement repeated in a subscription error */
    SQL_RESULT_BYTES_MAX = 512 << 20,
    SUBS_QUERIES_PER_CLIENT_MAX = 1 << 18,
};

/* ---- lexer.c ---- */

typedef enum TokenKind {
    TOK_END,
    TOK_WORD,
    TOK_QUOTED,
    TOK_NUMBER,
    TOK_STRING,
    TOK_HEX,
    TOK_SENDER,
    TOK_LPAREN,
    TOK_RPAREN,
    TOK_COMMA,
    TOK_SEMICOLON,
    TOK_DOT,
    TOK_STAR,
    TOK_PLUS,
    TOK_MINUS,
    TOK_EQ,
    TOK_NE,
    TOK_LT,
    TOK_LE,
    TOK_GT,
    TOK_GE,
    TOK_OPERATOR, /* an operator that the dialect does not have */
} TokenKind;

typedef struct Token {
    TokenKind kind;
    uint32_t at, end; /* byte range in the text */
    Str text;         /* name or string without its quotes, number as written, hex digits */
} Token;

/* Tokens of the whole text, ended by TOK_END. Checks length and UTF-8. */
MUST_CHECK Status sql_lex(Arena *a, Str text, const Token **ret, Error *err);
Str sql_clip(Str s, size_t max); /* the first max bytes at most, whole characters */
MUST_CHECK Status sql_syntax_error(Error *err, Str text, size_t at, const char *expected, Str found);
MUST_CHECK Status sql_unsupported(Error *err, const char *kind, Str fragment);
bool sql_is_all_tables(Str text); /* SELECT * FROM * */

/* ---- parser.c ---- */

typedef enum LiteralKind { LIT_NUMBER, LIT_STRING, LIT_HEX, LIT_BOOL } LiteralKind;
typedef struct Literal {
    LiteralKind kind;
    bool negative, truth;
    Str text;
} Literal;

typedef struct ColumnName {
    bool qualified;
    Str qualifier, name;
} ColumnName;

typedef enum CompareOp { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE } CompareOp;
typedef enum ExprKind { EXPR_LITERAL, EXPR_SENDER, EXPR_COLUMN, EXPR_COMPARE, EXPR_AND, EXPR_OR, EXPR_NOT } ExprKind;
typedef struct Expr Expr;
struct Expr {
    ExprKind kind;
    CompareOp op; /* COMPARE */
    Literal literal;
    ColumnName column;
    uint32_t nkids; /* COMPARE 2, NOT 1, AND and OR any */
    const Expr **kids;
};

typedef enum StatementKind { STMT_SELECT, STMT_INSERT, STMT_UPDATE, STMT_DELETE, STMT_SET, STMT_SHOW } StatementKind;
typedef enum Projection { PROJECT_STAR, PROJECT_TABLE, PROJECT_COUNT, PROJECT_COLUMNS } Projection;
typedef struct SelectItem {
    ColumnName column;
    Str name;
} SelectItem;
typedef struct FromItem {
    Str table, qualifier;
    bool has_on;
    ColumnName on[2];
} FromItem;
typedef struct Assignment {
    ColumnName column;
    Literal value;
} Assignment;

typedef struct Statement {
    StatementKind kind;
    Projection projection; /* SELECT */
    Str star_qualifier;    /* PROJECT_TABLE */
    Str count_name;        /* PROJECT_COUNT */
    uint32_t nitems;
    SelectItem *items;
    uint32_t nfrom; /* DML: one */
    FromItem *from;
    const Expr *where; /* NULL: all rows */
    bool has_limit;
    Literal limit;
    uint32_t nnames; /* INSERT: column names */
    Str *names;
    uint32_t nrows, nvalues; /* INSERT: nvalues literals in rows of row_widths[i] */
    uint32_t *row_widths;
    Literal *values;
    uint32_t nassignments; /* UPDATE */
    Assignment *assignments;
    Str variable; /* SET, SHOW */
} Statement;

MUST_CHECK Status sql_parse(Arena *a, Str text, const Statement **ret, Error *err);

/* ---- check.c ---- */

typedef enum PredKind {
    PRED_TRUE,
    PRED_FALSE,
    PRED_LITERAL, /* column op literal */
    PRED_COLUMNS, /* column op column */
    PRED_BOOLS,   /* predicate op predicate */
    PRED_AND,
    PRED_OR,
    PRED_NOT,
} PredKind;
/* A predicate on the rows of one table reference; two equal predicates have equal keys. */
typedef struct Pred Pred;
struct Pred {
    PredKind kind;
    CompareOp op;
    uint16_t col, col2;
    uint32_t offset, offset2;
    const Type *type;    /* of the columns */
    const void *literal; /* native value */
    uint32_t nkids;
    const Pred **kids;
    Bytes key; /* canonical form; no offsets and no pointers inside */
};

typedef enum PathKind { PATH_SCAN, PATH_NOTHING, PATH_FIND, PATH_INDEX } PathKind;
enum { PATH_EQ_MAX = 4 };
typedef struct Path { /* how rows are found; every row is checked against the whole predicate anyway */
    PathKind kind;
    uint16_t col;  /* FIND: the unique column, key = eq[0] */
    int32_t index; /* INDEX */
    uint32_t neq;
    const void *eq[PATH_EQ_MAX];
    const void *lo, *hi;
    bool lo_exclusive, hi_inclusive;
} Path;

typedef struct PlanRef { /* one table of FROM */
    const TableDef *def;
    Table *table;
    uint32_t table_id;
    uint16_t ncols; /* what callers see: all, or all but a view's last */
    bool is_view;
    const Pred *where; /* never NULL */
    Path path;
} PlanRef;

typedef struct Plan {
    uint32_t nrefs; /* this edition: one */
    PlanRef *refs;
    uint32_t side; /* the reference whose rows are returned */
    bool uses_sender;
    bool ruled; /* rules of row level security are part of it */
} Plan;

/* A subscription or one-off query: whole rows of one table. */
MUST_CHECK Status query_compile(Plan **ret, Arena *a, Engine *e, Str text, const Caller *caller, Error *err);
/* FROM and WHERE of any statement. */
MUST_CHECK Status query_plan_make(Plan **ret, Arena *a, Engine *e, const Statement *s, const Caller *caller, Error *err);
MUST_CHECK Status query_plan_column(const Plan *p, const Statement *s, const ColumnName *name, uint16_t *ret, Error *err);
/* One allocation that holds the whole plan, so that 100,000 plans stay small. free() it. */
Plan *query_plan_clone(const Plan *p, const void *tail, size_t tail_len, void **ret_tail);
/* The equality that a query can be found by: a column with a literal among the top conjuncts; NULL: none. */
const Pred *pred_equality(const PlanRef *r);
CompareOp sql_compare_flip(CompareOp op);

/* ---- literal.c ---- */

typedef enum LiteralUse { LITERAL_IN_WHERE, LITERAL_IN_ROW } LiteralUse;
/* The literal as a native value of `t` in t->size bytes at `v`; text and bytes are kept in `a`. */
MUST_CHECK Status literal_convert(Arena *a, const Literal *l, const Type *t, LiteralUse use, void *v, Error *err);
MUST_CHECK Status literal_limit(const Literal *l, uint64_t *ret, Error *err);
const char *sql_literal_text(Arena *a, const Literal *l);
const char *sql_type_text(Arena *a, const Type *t);

/* ---- eval.c ---- */

bool pred_eval(const Pred *p, const void *row);
bool native_compare(const Type *t, CompareOp op, const void *x, const void *y);
void query_path_choose(PlanRef *r);
typedef struct Scan {
    const PlanRef *ref;
    Cursor cursor;
    const void *one;
} Scan;
void query_scan_open(Scan *s, const PlanRef *r);
const void *query_scan_next(Scan *s); /* NULL: done */

/* ---- rowlist.c ---- */

/* A BsatnRowList written row by row at the end of `out`. */
typedef struct RowList {
    Buf *out;
    const TableDef *def;
    uint16_t ncols;
    bool fixed;
    uint32_t width; /* fixed: bytes a row */
    uint32_t nrows;
    size_t start; /* of the list in out */
    size_t data;  /* of the rows in out */
    bool same;    /* all rows so far are as long as the first */
    size_t first_len;
    Buf offsets; /* u64 each, only when not fixed */
} RowList;
void row_list_begin(RowList *l, Buf *out, const TableDef *def, uint16_t ncols);
void row_list_add(RowList *l, const void *row);
void row_list_end(RowList *l);
void row_prefix_encode(Buf *out, const TableDef *def, uint16_t ncols, const void *row);

/* exec.c: "str table | BsatnRowList" of everything the plan returns now. */
MUST_CHECK Status query_append_rows(const Plan *p, uint16_t ncols, Buf *out, Error *err);

#endif
