/* schema.h - a database's definition as the host serves it (GET .../schema?version=10), read for the CLI's needs.
 * Source: http-api.md section 7. Lives in the caller's arena. Pure functions. */
#ifndef CLI_SCHEMA_H
#define CLI_SCHEMA_H
#include "cli/json_scan.h"
#include "host/schema/type.h"

typedef struct SchemaTable {
    const char *name, *source_name;
    const Type *row;
    bool is_public, is_event;
    int32_t pk; /* column, or -1 */
    const Js *json;
} SchemaTable;
typedef struct SchemaFunction {
    const char *name, *source_name;
    const Type *params;
    bool is_private;
    const char *lifecycle; /* "Init", "OnConnect", "OnDisconnect", or NULL */
    const Js *json;
} SchemaFunction;
typedef struct SchemaType { /* an author's struct, enum or sum; the row types of tables are not among them */
    const char *name;
    const Type *type;
} SchemaType;
typedef struct Schema {
    const Js *json;
    size_t ntypes, ntables, nreducers, nprocedures;
    SchemaType *types;
    SchemaTable *tables;
    SchemaFunction *reducers, *procedures;
} Schema;

/* `named`: types that have a name carry it (for lists); else they show their structure (for error messages). */
MUST_CHECK Status schema_read(Schema *ret, Str json, bool named, Arena *a, Error *err);
const SchemaTable *schema_table(const Schema *s, Str name); /* canonical or source name; NULL */
const SchemaFunction *schema_reducer(const Schema *s, const char *name);
/* AlgebraicType as JSON -> Type. `types`: the typespace for {"Ref":n}, or NULL. */
MUST_CHECK Status type_from_json(const Type **ret, const Js *v, const Js *types, Arena *a, Error *err);
/* ProductType as JSON ({"elements":[...]}). */
MUST_CHECK Status product_from_json(const Type **ret, const Js *v, const Js *types, Arena *a, Error *err);
/* "add(name: String, age: u32)" */
void function_signature(Buf *out, const SchemaFunction *f);
#endif
