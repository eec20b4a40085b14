/* module_def.h - what a module declares: tables, indexes, constraints, sequences, functions.
 *
 * Shape:   one immutable ModuleDef per module version; everything hangs in its arena.
 * Life:    reference counted across threads (module_def_ref / unref are atomic).
 * Format:  travels and is stored as BSATN RawModuleDef V10 (schema-and-migration.md 1.2); table ids are
 *          not part of it, the host's catalog gives them out and hands them to the worker.
 * Errors:  reading collects every independent problem and reports all of them in one text. */
#ifndef HOST_SCHEMA_MODULE_DEF_H
#define HOST_SCHEMA_MODULE_DEF_H

#include "host/schema/type.h"
#include "host/schema/value.h"

__extension__ typedef __int128 i128;
__extension__ typedef unsigned __int128 u128;

typedef enum IndexAlgorithm { INDEX_BTREE, INDEX_HASH, INDEX_DIRECT } IndexAlgorithm;
typedef enum Access { ACCESS_PUBLIC, ACCESS_PRIVATE } Access; /* numbers as on the wire */
typedef enum Lifecycle { LIFECYCLE_INIT, LIFECYCLE_CONNECT, LIFECYCLE_DISCONNECT, LIFECYCLE_NONE } Lifecycle;

typedef struct ColumnDef {
    Str name;        /* canonical */
    Str source_name; /* as the module wrote it: an alias in generated code */
    const Type *type;
    uint32_t offset; /* in the row struct */
    bool has_default;
    Bytes default_bsatn;
} ColumnDef;

typedef struct IndexDef {
    Str name;        /* canonical: TABLE_COLS_idx_btree */
    Str source_name; /* as the module wrote it: the key of explicit names */
    Str accessor;    /* may be empty */
    IndexAlgorithm algorithm;
    bool unique; /* a unique constraint covers exactly these columns */
    uint16_t ncols;
    const uint16_t *cols; /* in index order */
} IndexDef;

typedef struct ConstraintDef { /* unique */
    Str name;                  /* TABLE_COLS_key */
    uint16_t ncols;
    const uint16_t *cols; /* ascending */
} ConstraintDef;

typedef struct SequenceDef {
    Str name; /* TABLE_COL_seq */
    uint16_t col;
    i128 start, min, max, increment;        /* resolved: defaults filled in (1, 1, the type's maximum, 1) */
    bool start_given, min_given, max_given; /* by the module: for the schema's JSON only */
} SequenceDef;

typedef struct ScheduleDef {
    Str name;
    uint16_t at_col;
    Str function;
} ScheduleDef;

typedef struct TableDef {
    Str name;        /* canonical */
    Str source_name; /* accessor name; also accepted by SQL */
    const Type *row; /* product */
    uint16_t ncols;
    const ColumnDef *cols;
    int32_t pk; /* column, or -1: the table is keyless and PostgreSQL gets a hidden row number */
    Access access;
    bool is_event;
    uint16_t nindexes, nconstraints, nsequences;
    const IndexDef *indexes;
    const ConstraintDef *constraints;
    const SequenceDef *sequences;
    const ScheduleDef *schedule; /* or NULL */
} TableDef;

/* Functions: `name` is canonical, `source_name` as the module wrote it. */
typedef struct ReducerDef {
    Str name, source_name;
    const Type *params; /* product */
    bool is_private;    /* callable by the owner and the host only */
    Lifecycle lifecycle;
} ReducerDef;
typedef struct ProcedureDef {
    Str name, source_name;
    const Type *params;
    const Type *ret;
    bool is_private;
} ProcedureDef;
typedef enum ViewResult { VIEW_OPTION, VIEW_ARRAY, VIEW_QUERY } ViewResult;
typedef struct ViewDef {
    Str name, source_name;
    uint32_t index;
    bool is_public, is_anonymous;
    const Type *params;
    const Type *ret;
    ViewResult result; /* the shape of `ret` */
    const Type *row;   /* the product inside */
    int32_t pk;        /* column of `row`, -1: none */
} ViewDef;
typedef struct RlsDef { /* row level security; only the root module's */
    Str sql;
} RlsDef;
typedef struct HttpRouteDef {
    Str handler, method, path; /* method "ANY" or upper case */
} HttpRouteDef;

typedef struct ModuleDef {
    Arena arena;
    _Atomic uint32_t refs;
    Bytes bsatn;     /* the V10 bytes that it was read from; empty for the empty definition */
    uint32_t ntypes; /* the typespace */
    const Type *const *types;
    uint32_t ntype_names; /* declared type names, sorted by name */
    const struct TypeName {
        Str name;
        uint32_t ref;
        bool custom_ordering;
    } * type_names;
    uint32_t ntables;
    const TableDef *tables; /* sorted by name */
    uint32_t nreducers;
    const ReducerDef *reducers; /* module order: the position is the reducer id */
    uint32_t nprocedures;
    const ProcedureDef *procedures;
    uint32_t nviews;
    const ViewDef *views;
    uint32_t nrls;
    const RlsDef *rls; /* sorted by text */
    uint32_t nhttp_handlers;
    const Str *http_handlers;
    uint32_t nhttp_routes;
    const HttpRouteDef *http_routes;
    uint32_t nsubmodules;
    const Str *submodules; /* their namespaces, "a.b" when nested; their tables and functions stand in the lists above as NAMESPACE.NAME */
} ModuleDef;

/* Limits of a definition read from outside. */
enum { DEF_TABLES_MAX = 4096, DEF_COLUMNS_MAX = 1000, DEF_FUNCTIONS_MAX = 8192, DEF_BYTES_MAX = 16 << 20, DEF_INDEX_COLUMNS_MAX = 16 };

/* BSATN V10 -> definition: decodes, fills in generated names, validates (rules R1-R39 of the sheet that
 * concern what the SDK can declare, and PostgreSQL's limits). Untrusted input. On failure S_INVALID and
 * a text that heads the list of all problems, one a line, each naming table, column and remedy. */
MUST_CHECK Status module_def_from_bsatn(ModuleDef **ret_def, Bytes bsatn, Error *err);
/* The same; all problems, however many, are appended to `ret_problems` (an Error's text holds about ten and
 * counts the rest). */
MUST_CHECK Status module_def_from_bsatn_full(ModuleDef **ret_def, Bytes bsatn, Buf *ret_problems, Error *err);
/* The empty definition: what a database has before its first publish. */
ModuleDef *module_def_empty(void);
ModuleDef *module_def_ref(ModuleDef *def);
void module_def_unref(ModuleDef *def); /* NULL is fine */

/* By canonical or source name; NULL when there is none. */
const TableDef *module_def_table(const ModuleDef *def, Str name);
int32_t table_def_column(const TableDef *t, Str name); /* -1 when there is none */
const ReducerDef *module_def_reducer(const ModuleDef *def, Str name);
bool module_def_has_schedules(const ModuleDef *def);
int32_t module_def_lifecycle(const ModuleDef *def, Lifecycle which); /* reducer id or -1 */

/* Building one in a program (the worker's loader, tests, the simulator): describe the parts, then
 * `module_builder_finish` writes V10 BSATN. Names are copied. Types are made in module_builder_arena. */
typedef struct ModuleBuilder ModuleBuilder;
typedef enum ColumnFlags { /* as st_field.flags */
                           COLUMN_PK = 1,
                           COLUMN_UNIQUE = 2,
                           COLUMN_AUTO_INC = 4,
                           COLUMN_INDEX = 8,
                           COLUMN_HASH = 16,  /* the column's index is a hash index ... */
                           COLUMN_DIRECT = 32 /* ... a direct one; else a btree */
} ColumnFlags;
typedef struct BuilderColumn {
    Str name;
    const Type *type;
    uint32_t flags; /* ColumnFlags */
    bool has_default;
    Bytes default_bsatn;
} BuilderColumn;
ModuleBuilder *module_builder_new(void);
Arena *module_builder_arena(ModuleBuilder *b);
/* Declare a named type (enum, sum, struct): returns the same structure with `ref` and `name` set.
 * Declaring the same name with an equal structure again gives the first one back; with another structure
 * module_builder_finish fails. */
const Type *module_builder_named(ModuleBuilder *b, Str name, const Type *structure);
/* Returns the table's position for the calls below. */
uint32_t module_builder_table(ModuleBuilder *b, Str name, Access access, bool is_event, uint32_t ncols, const BuilderColumn *cols);
/* The row type of a table, with `ref` and `name` set: what a scheduled function's parameter and a view's return
 * use. Declaring a named type of the table's name and structure gives the same. */
const Type *module_builder_row(ModuleBuilder *b, uint32_t table);
void module_builder_index(ModuleBuilder *b, uint32_t table, Str accessor, uint16_t ncols, const uint16_t *cols); /* btree */
void module_builder_hash_index(ModuleBuilder *b, uint32_t table, Str accessor, uint16_t ncols, const uint16_t *cols);
/* A unique constraint over several columns and the btree index behind it. */
void module_builder_unique(ModuleBuilder *b, uint32_t table, Str accessor, uint16_t ncols, const uint16_t *cols);
/* The parameters of a COLUMN_AUTO_INC column's sequence; without a call only the increment (1) is written. */
void module_builder_sequence(ModuleBuilder *b, uint32_t table, uint16_t col, i128 start, i128 min, i128 max, i128 increment);
/* Canonical names in place of those that follow from the words above. A function: reducer, procedure or view. An
 * index: by its accessor; false when the table has none of that name. */
void module_builder_name_table(ModuleBuilder *b, uint32_t table, Str canonical);
void module_builder_name_function(ModuleBuilder *b, Str function, Str canonical);
MUST_CHECK bool module_builder_name_index(ModuleBuilder *b, uint32_t table, Str accessor, Str canonical);
/* Names that are not given become snake_case when the definition is read. Default: they stay as they are. */
void module_builder_snake_case(ModuleBuilder *b);
/* What becomes of a name that is not given: of a table, column, field or function, or of a variant. In the builder's arena. */
Str module_builder_canonical(ModuleBuilder *b, Str name, bool is_variant);
void module_builder_schedule(ModuleBuilder *b, uint32_t table, uint16_t at_col, Str function);
void module_builder_reducer(ModuleBuilder *b, Str name, const Type *params, Lifecycle lifecycle);
void module_builder_procedure(ModuleBuilder *b, Str name, const Type *params, const Type *ret);
void module_builder_view(ModuleBuilder *b, Str name, bool is_public, bool is_anonymous, const Type *ret);
void module_builder_rls(ModuleBuilder *b, Str sql);
void module_builder_handler(ModuleBuilder *b, Str name);
void module_builder_route(ModuleBuilder *b, Str handler, Str method, Str path); /* method: "ANY", or as HTTP spells it */
void module_builder_view_key(ModuleBuilder *b, Str view, Str column);
/* The V10 bytes (validate them with module_def_from_bsatn). Frees the builder. */
MUST_CHECK Status module_builder_finish(ModuleBuilder *b, Buf *out, Error *err);

/* The definition as the JSON of GET .../schema?version=9|10 (http-api.md section 7). Text, no newline. */
void module_def_to_json(Buf *out, const ModuleDef *def, int version);

/* Generated names, used by schema, diff and DDL: "TABLE_A_B" + suffix ("_idx_btree", "_key", "_seq"). */
Str generated_name(Arena *a, Str table, const ColumnDef *cols, uint16_t ncols, const uint16_t *which, const char *suffix);

#endif
