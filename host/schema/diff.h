/* diff.h - from one module definition to the next: a plan of steps, or everything that forbids it.
 *
 * Rules:   schema-and-migration.md sections 3 and 4, profile `seed`. One table of rules in diff.c; a rule
 *          is one entry. This edition plans: add a table; append defaulted columns; add and remove an
 *          index; drop a unique constraint; public <-> private; add, change and remove reducers; add and
 *          remove auto-increment. Whatever else differs is a reason to refuse.
 * Thread:  pure. The plan borrows names from both definitions: keep them alive. */
#ifndef HOST_SCHEMA_DIFF_H
#define HOST_SCHEMA_DIFF_H

#include "host/schema/module_def.h"

typedef enum StepKind { /* in execution order */
                        STEP_REMOVE_INDEX,
                        STEP_REMOVE_CONSTRAINT,
                        STEP_REMOVE_SEQUENCE,
                        STEP_ADD_COLUMNS,
                        STEP_ADD_TABLE,
                        STEP_ADD_INDEX,
                        STEP_ADD_SEQUENCE,
                        STEP_CHANGE_ACCESS,
                        STEP_ADD_REDUCER,
                        STEP_CHANGE_REDUCER,
                        STEP_REMOVE_REDUCER, /* no DDL; listed for people. Procedures and views too */
                        STEP_KIND_COUNT
} StepKind;
/* SAFE: nothing to say. MAY_BREAK: applied, with a remark. BREAKS: only with the publisher's consent. */
typedef enum StepClass { CLASS_SAFE, CLASS_MAY_BREAK, CLASS_BREAKS } StepClass;

typedef struct Step {
    StepKind kind;
    StepClass class_;
    const TableDef *old_table, *new_table; /* NULL where there is none */
    uint32_t first, count;                 /* ADD_COLUMNS: column range in new_table. *_INDEX / *_CONSTRAINT / *_SEQUENCE:
                             * `first` is the position in old_table's (removals) or new_table's list */
    Str function;                          /* *_REDUCER */
    const char *function_kind;             /* *_REDUCER: "reducer", "procedure", "view" */
} Step;

typedef struct Plan {
    Arena arena;
    uint32_t nsteps;
    Step *steps;
    bool breaks_clients;
    Buf forbidden; /* when not empty there are no steps. Empty = allowed; else one reason a line with its remedy, all of them */
} Plan;

void plan_make(Plan *ret_plan, const ModuleDef *from, const ModuleDef *to);
void plan_done(Plan *plan);
/* The plan for people: one line a step, "Created table: room (private)", class remarks; with ANSI colours on request. */
void plan_print(Buf *out, const Plan *plan, bool colour);

#endif
