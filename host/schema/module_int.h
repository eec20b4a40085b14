/* module_int.h - shared by the files that read, validate, write and build definitions; nobody else.
 *
 * Reading has two stages. module_raw.c takes the bytes apart (shape only: bounds, tags, counts) into the
 * records below; module_def.c and module_rules.c turn records into a ModuleDef and collect problems. */
#ifndef HOST_SCHEMA_MODULE_INT_H
#define HOST_SCHEMA_MODULE_INT_H

#include "host/schema/module_def.h"

/* RawModuleDef tags and V10 section tags (schema-and-migration.md 1.1, 1.2). */
enum { MODULE_V10 = 2 };
typedef enum Section {
    SECTION_TYPESPACE,
    SECTION_TYPES,
    SECTION_TABLES,
    SECTION_REDUCERS,
    SECTION_PROCEDURES,
    SECTION_VIEWS,
    SECTION_SCHEDULES,
    SECTION_LIFECYCLES,
    SECTION_RLS,
    SECTION_CASE_POLICY,
    SECTION_EXPLICIT_NAMES,
    SECTION_HTTP_HANDLERS,
    SECTION_HTTP_ROUTES,
    SECTION_VIEW_KEYS,
    SECTION_SUBMODULES,
    SECTION_COUNT
} Section;
enum { AT_REF, AT_SUM, AT_PRODUCT, AT_ARRAY, AT_STRING, AT_F64 = 19 }; /* AlgebraicType tags */

/* Limits of the bytes; each refusal names the limit. */
enum {
    DEF_TYPES_MAX = 1 << 16,
    DEF_NAME_BYTES_MAX = 255,
    DEF_LIST_MAX = 4096,
    DEF_TABLE_PARTS_MAX = 256,
    DEF_RLS_BYTES_MAX = 50000,
    DEF_ARENA_BYTES_MAX = 256 << 20
};
/* One transaction creates everything, and every relation holds a lock: stay below PostgreSQL's default of
 * max_locks_per_transaction * max_connections = 6400. */
enum { DEF_RELATIONS_MAX = 5000, DEF_PG_ROW_BYTES_MAX = 8000 };

/* All Bytes and Str point into the definition's copy of the input. */
typedef struct ColList {
    uint32_t n;
    const uint16_t *cols;
} ColList;
typedef struct RawTypeName {
    Str name;
    bool scoped;
    uint32_t ref;
    bool custom_ordering;
} RawTypeName;
typedef struct RawIndex {
    Str source_name, accessor;
    IndexAlgorithm algorithm;
    ColList cols;
} RawIndex;
typedef struct RawSequence {
    Str source_name;
    uint16_t col;
    bool has_start, has_min, has_max;
    i128 start, min, max, increment;
} RawSequence;
typedef struct RawDefault {
    uint16_t col;
    Bytes value;
} RawDefault;
typedef struct RawTable {
    Str source_name;
    uint32_t type_ref;
    ColList pk;
    uint32_t nindexes, nconstraints, nsequences, ndefaults;
    const RawIndex *indexes;
    const ColList *constraints;
    const RawSequence *sequences;
    const RawDefault *defaults;
    bool is_system, is_event;
    Access access;
} RawTable;
/* A reducer, procedure or view. Types are kept as their bytes until the typespace is known. */
typedef struct RawFunction {
    Str source_name;
    Bytes params;    /* ProductType: u32 count, elements */
    Bytes ok, err;   /* return type; reducers only: error type */
    bool is_private; /* reducers and procedures */
    bool is_public, is_anonymous;
    uint32_t view_index;
} RawFunction;
typedef struct RawSchedule {
    Str table, function;
    uint16_t at_col;
} RawSchedule;
typedef struct RawLifecycle {
    Lifecycle which;
    Str function;
} RawLifecycle;
typedef struct RawRoute {
    Str handler, path;
    Str method; /* upper case; "ANY" */
} RawRoute;
typedef struct RawViewKey {
    Str view;
    uint32_t ncols;
    const Str *cols;
} RawViewKey;
typedef enum NameKind { NAME_TABLE, NAME_FUNCTION, NAME_INDEX } NameKind;
typedef struct RawName {
    NameKind kind;
    Str source, canonical;
} RawName;

typedef struct RawModule {
    bool seen[SECTION_COUNT];
    bool snake_case;
    uint32_t ntypes, nnames, ntables, nreducers, nprocedures, nviews, nschedules, nlifecycles, nexplicit, nrls, nhandlers, nroutes,
        nview_keys;
    const Bytes *types;
    const RawTypeName *names;
    const RawTable *tables;
    const RawFunction *reducers, *procedures, *views;
    const RawSchedule *schedules;
    const RawLifecycle *lifecycles;
    RawName *explicit_names;
    const Str *rls, *handlers;
    const RawRoute *routes;
    const RawViewKey *view_keys;
} RawModule;

MUST_CHECK Status module_raw_read(RawModule *ret, Bytes bsatn, Arena *a, Error *err);

/* ---- problems -------------------------------------------------------------------------------- */

typedef struct Problems {
    Arena *arena;
    uint32_t n, cap;
    Str *lines;
    uint32_t dropped; /* past PROBLEMS_MAX */
} Problems;
enum { PROBLEMS_MAX = 1000 };
void problem(Problems *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Sorted, each once: "module definition has 2 problems:\n- ...\n- ...". */
void problems_print(Problems *p, Buf *out);
/* The same, shortened to what an Error can hold ("... and 7 more"). */
Status problems_fail(Problems *p, Error *err);

/* ---- names (schema-and-migration.md 1.5) ------------------------------------------------------ */

typedef enum NameCase { CASE_SNAKE, CASE_LOWER_CAMEL, CASE_PASCAL } NameCase;
Str name_convert(Arena *a, Str name, NameCase to);
/* What is wrong with an identifier, or NULL. */
const char *name_flaw(Str name);

/* One use of a name in a name space; two uses by different owners are a problem. */
typedef struct NameUse {
    Str name;
    const char *what;
    Str owner;
} NameUse;
void names_unique(Problems *p, uint32_t n, NameUse *uses, const char *remedy);

/* ---- reading, second stage -------------------------------------------------------------------- */

typedef struct Slot {
    Type *type;
    Str name;
    Str table;
    const Str *column_names; /* of a product, as the module wrote them; NULL: the case policy left them as they are */
    uint8_t state;
} Slot;
enum { SLOT_NEW, SLOT_OPEN, SLOT_DONE, SLOT_BAD };
typedef struct Reading {
    ModuleDef *def;
    Arena *a; /* of def */
    const RawModule *raw;
    Problems problems;
    Slot *slots;
    const Str *top_names; /* column_names of the slot that is being read */
} Reading;
/* module_types.c: fills the slots; returns NULL after reporting a problem. */
void read_typespace(Reading *rd);
const Type *read_type(Reading *rd, Bytes bytes, const char *where);
/* As read_type for a ProductType's elements; with the rules for parameters. */
const Type *read_params(Reading *rd, Bytes bytes, const char *where);
/* Is a use of `t` fine (rule R9: composites only through a declared name)? Reports when not. */
bool check_use(Reading *rd, const Type *t, const char *where);
/* module_rules.c */
void rules_table(Reading *rd, const TableDef *t, const RawTable *raw);
void rules_module(Reading *rd);

#endif
