/* arguments.h - words of a command line -> the JSON arguments of a reducer call (cli.md 4.5). Pure functions. */
#ifndef CLI_ARGUMENTS_H
#define CLI_ARGUMENTS_H
#include "host/schema/type.h"
/* One word for one parameter, as JSON appended to `out`:
 *   String                 as it is when it is a JSON string already, else quoted and escaped
 *   Identity               hex, with or without 0x;  Uuid: 8-4-4-4-12;  ConnectionId, Timestamp, TimeDuration: a number
 *   plain enum             the name of a variant
 *   anything               JSON, which must be JSON of the parameter's type
 * S_INVALID: "argument 2, `age: u32`: ...". */
MUST_CHECK Status argument_to_json(Buf *out, unsigned position, Str word, const Field *param, Error *err);
/* All of them, as a JSON array. Counts first. */
MUST_CHECK Status arguments_to_json(Buf *out, int n, const char *const *words, const Type *params, Error *err);
#endif
