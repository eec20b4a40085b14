/* migration.h - what an author says about a change that no plan could guess: ST_MIGRATION in a module.
 *
 * A module carries numbered migrations. Each is a list of operations and runs once for a database: the catalog keeps the highest
 * number that has run; a database's first publish takes the module's highest without running anything.
 * Operations apply in order to the names as they are at that point (a column of a table that the same list renamed
 * is named under the table's new name). Several pending migrations are one list.
 *
 * Format:  travels from the worker to the host in the answer to DESCRIBE, untrusted there (bounds, limits, fuzzed):
 *          u32 nmigrations x { u32 version | str title | u32 nops x { u8 kind | str table | str a | str b | blob type } }
 *          versions ascending, none 0; `type` is an AlgebraicType written out in full (empty: none).
 * Thread:  pure. */
#ifndef HOST_SCHEMA_MIGRATION_H
#define HOST_SCHEMA_MIGRATION_H

#include "host/schema/type.h"

typedef enum MigrationOpKind { /* table, a, b, type                                      what it permits */
                               MIGRATE_RENAME_TABLE =
                                   1, /* table = old name, a = new name                         the table goes on under its new name */
                               MIGRATE_RENAME_COLUMN, /* table, a = old name, b = new name */
                               MIGRATE_DROP_TABLE,    /* table */
                               MIGRATE_DROP_COLUMN,   /* table, a = column */
                               MIGRATE_CONVERT_COLUMN, /* table, a = column, type = the old type                 a function of the module makes each new value */
                               MIGRATE_ADD_UNIQUE,      /* table, a = column                                      the data is checked */
                               MIGRATE_ADD_PRIMARY_KEY, /* table, a = column (also: moved here)                   the data is checked */
                               MIGRATE_REPLACE_ROWS, /* table                                                  any change of shape: a RUN function fills the table anew */
                               MIGRATE_RUN, /* a = the function's name                                runs last, over old (read-only) and new tables */
                               MIGRATE_KIND_COUNT
} MigrationOpKind;

typedef struct MigrationOp {
    MigrationOpKind kind;
    Str table, a, b;
    const Type *type;  /* CONVERT_COLUMN; else NULL */
    uint32_t version;  /* of its migration */
    uint32_t position; /* in its migration: how the worker finds the function */
    Str title;         /* of its migration; set by migrations_read */
} MigrationOp;
typedef struct Migration {
    uint32_t version;
    Str title;
    uint32_t nops;
    const MigrationOp *ops;
} Migration;
typedef struct Migrations {
    Arena arena;
    uint32_t n;
    const Migration *list; /* by version */
} Migrations;

enum { MIGRATIONS_MAX = 1000, MIGRATION_OPS_MAX = 256, MIGRATION_TITLE_BYTES_MAX = 255, MIGRATIONS_BYTES_MAX = 16 << 20 };

/* On failure S_INVALID, naming migration, operation and what is wrong; nothing to free then. */
MUST_CHECK Status migrations_read(Migrations *ret, Bytes bytes, Error *err);
void migrations_write(Buf *out, const Migrations *m);
void migrations_done(Migrations *m);                 /* zeroed is fine */
const char *migration_op_name(MigrationOpKind kind); /* "RENAME_TABLE", as the module writes it after ST_ */
uint32_t migrations_last(const Migrations *m);       /* the highest version, 0: none */
/* Those above `applied`, as a view into `m` (its arena is empty; do not free). */
Migrations migrations_pending(const Migrations *m, uint32_t applied);

#endif
