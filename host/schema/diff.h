/* diff.h - from one module definition to the next: a plan of steps, or everything that forbids it.
 *
 * Rules:   schema-and-migration.md sections 3 and 4, profile `seed`: where the seed and the reference differ, the seed wins.
 *          One table of rules in diff.c; a rule is one entry. What the seed forbids becomes possible where a pending
 *          migration of the author says how (migration.h).
 * Thread:  pure. Host and worker make the same plan from the same input. The plan borrows names from both definitions and from the
 *          migrations: keep them alive. */
#ifndef HOST_SCHEMA_DIFF_H
#define HOST_SCHEMA_DIFF_H

#include "host/schema/migration.h"
#include "host/schema/module_def.h"

typedef enum StepKind { /* in execution order (section 3.2; access changes before row level security, as the sheet proposes) */
                        STEP_REMOVE_INDEX,
                        STEP_REMOVE_CONSTRAINT,
                        STEP_REMOVE_SEQUENCE,
                        STEP_REMOVE_VIEW,
                        STEP_REMOVE_RLS,
                        STEP_REMOVE_TABLE,   /* by a migration */
                        STEP_RENAME_TABLE,   /* by a migration */
                        STEP_REMOVE_COLUMN,  /* by a migration */
                        STEP_RENAME_COLUMN,  /* by a migration */
                        STEP_CONVERT_COLUMN, /* by a migration */
                        STEP_CHANGE_COLUMNS, /* sum types gained variants at their ends */
                        STEP_RESCHEMA_EVENT_TABLE,
                        STEP_ADD_COLUMNS,
                        STEP_CHANGE_INDEX_SOURCE,
                        STEP_CHANGE_TABLE_ACCESSOR,
                        STEP_CHANGE_COLUMN_ACCESSOR,
                        STEP_ADD_TABLE,
                        STEP_REPLACE_ROWS, /* by a migration: the table is emptied, a function of the module fills it */
                        STEP_ADD_INDEX,
                        STEP_ADD_CONSTRAINT, /* by a migration */
                        STEP_ADD_SEQUENCE,
                        STEP_ADD_VIEW,
                        STEP_CHANGE_ACCESS,
                        STEP_ADD_RLS,
                        STEP_CHANGE_PRIMARY_KEY, /* dropped; added or moved by a migration */
                        STEP_UPDATE_VIEW,
                        STEP_RUN_MIGRATION, /* a function of the module over old and new tables */
                        STEP_ADD_FUNCTION,  /* reducers and procedures: no DDL; listed for people */
                        STEP_CHANGE_FUNCTION,
                        STEP_REMOVE_FUNCTION,
                        STEP_DISCONNECT_ALL, /* at most once, last */
                        STEP_KIND_COUNT
} StepKind;
/* SAFE: nothing to say. MAY_BREAK: applied, with a remark. BREAKS: only with the publisher's consent. */
typedef enum StepClass { CLASS_SAFE, CLASS_MAY_BREAK, CLASS_BREAKS } StepClass;

typedef struct Step {
    StepKind kind;
    StepClass class_;
    const TableDef *old_table, *new_table; /* NULL where there is none */
    uint32_t first, count;                 /* ADD_COLUMNS, CHANGE_COLUMNS: column range in new_table. *_INDEX / *_CONSTRAINT / *_SEQUENCE:
                                            * `first` is the position in old_table's (removals) or new_table's list. *_COLUMN, *_COLUMN_ACCESSOR:
                                            * `first` is the column of old_table (REMOVE) or new_table */
    Str name;                              /* functions, views, RLS text, the migration's title */
    const char *function_kind;             /* *_FUNCTION: "reducer", "procedure" */
    const MigrationOp *op;                 /* by a migration: which part of it; else NULL */
} Step;

/* Why a change is refused. */
typedef struct Reason {
    const char *kind;  /* as section 3.4 names it: "AddColumn", "ReorderTable", ... */
    Str table, column; /* empty where there is none */
    Str text;          /* the whole line: where, what, remedy */
} Reason;

/* Where a column of a new table takes its values from. */
typedef struct ColumnSource {
    int32_t from;          /* column of the old table; -1: its default */
    const MigrationOp *op; /* CONVERT_COLUMN; NULL: the same type, or one that gained variants */
} ColumnSource;
typedef struct TableSource {     /* one for each table of `to` */
    const TableDef *old;         /* it goes on under the same table id; NULL: a new table */
    const ColumnSource *columns; /* new_table->ncols of them; NULL: a new table, or its rows do not come from the old ones (REPLACE_ROWS) */
    bool rewrite;                /* PostgreSQL's rows are written again from memory: their physical key or a column's form changes */
} TableSource;

typedef struct Plan {
    Arena arena;
    uint32_t nsteps;
    Step *steps;
    bool breaks_clients;        /* some step is CLASS_BREAKS: consent needed, every client is disconnected after the swap */
    bool runs;                  /* there is a STEP_RUN_MIGRATION */
    const TableSource *sources; /* to->ntables; valid when nothing is forbidden */
    Buf forbidden;              /* when not empty there are no steps. Empty = allowed; else one reason a line with its remedy, all of them,
                                 * sorted, each once */
    uint32_t nreasons;
    const Reason *reasons; /* the same, taken apart */
} Plan;

/* `pending`: the migrations that have not run on this database yet (migrations_pending); NULL: none. */
void plan_make(Plan *ret_plan, const ModuleDef *from, const ModuleDef *to, const Migrations *pending);
void plan_done(Plan *plan);
/* The plan for people (section 4.7: layout and signs), with ANSI colours on request; forbidden: the reasons. */
void plan_print(Buf *out, const Plan *plan, bool colour);
/* The same for programs: {"steps": [{"kind", "class", "table", "name", "columns", "text"}], "reasons": [{"kind", "table", "column", "text"}],
 * "breaks_clients": bool, "disconnects": bool}. */
void plan_to_json(Buf *out, const Plan *plan);
const char *step_kind_name(StepKind kind); /* "AddColumns" */

#endif
