/* diff_int.h - shared by the files that make a plan: diff.c (rules), diff_old.c (the old definition as migrations see it), diff_types.c
 * (which types may stand for which). Nobody else includes it. */
#ifndef HOST_SCHEMA_DIFF_INT_H
#define HOST_SCHEMA_DIFF_INT_H

#include "host/schema/diff.h"

/* A table of the old definition under the names that the pending operations have given it. */
typedef struct OldColumn {
    Str name; /* now */
    const MigrationOp *renamed, *dropped, *converted;
} OldColumn;
typedef struct OldTable {
    const TableDef *def;
    Str name; /* now */
    const MigrationOp *renamed, *dropped, *replaced, *primary_key;
    uint16_t primary_key_column; /* with `primary_key`: in def */
    bool columns_renamed;
    OldColumn *columns;        /* def->ncols */
    const TableDef *successor; /* in the new definition; NULL: none */
} OldTable;

typedef struct Diff {
    Plan *plan;
    const ModuleDef *from, *to;
    const Migrations *pending;
    OldTable *tables; /* from->ntables */
    Reason *reasons;
    uint32_t nreasons, reasons_cap, steps_cap;
} Diff;

#define AT_TABLE "table `%.*s`: "
#define AT_COLUMN "table `%.*s`, column `%.*s`: "
#define AT_COLUMN_OF "table `%.*s`, column `%.*s` (%s): " /* with its type */

/* diff.c */
void forbid(Diff *d, const char *kind, Str table, Str column, const char *fmt, ...) PRINTF_LIKE(5, 6);
Step *add_step(Diff *d, StepKind kind, const TableDef *old, const TableDef *new);
/* The type's name for messages; with its parts when only those tell two types apart. Lives in the plan. */
const char *type_text(Diff *d, const Type *t, bool in_full);
bool same_but_case(Str a, Str b); /* equal but for case and underscores */

/* diff_old.c: apply the pending operations to the names; what is wrong with them is a reason. */
void read_old(Diff *d);
int32_t old_column(const OldTable *t, Str name); /* by its name now; -1: none, or dropped */
bool columns_kept(const OldTable *t, uint16_t n, const uint16_t *old, const TableDef *new, uint16_t m, const uint16_t *cols); /* in order */
const MigrationOp *unique_permitted(const Diff *d, const OldTable *t, const ConstraintDef *c);

/* diff_types.c: may values of the old type stand for values of the new one as they are? Reasons when not; true in `ret_grown` when a sum has
 * gained variants. */
void compare_types(Diff *d, const OldTable *t, const OldColumn *c, const Type *was, const Type *is, bool *ret_grown);

#endif
