/* cell.h - one value of an SQL answer as the text of a table's cell (cli.md 4.7). Pure functions. */
#ifndef CLI_CELL_H
#define CLI_CELL_H
#include "cli/json_scan.h"
#include "host/schema/type.h"
/* `v` is SATS-JSON without names (rows of POST .../sql), `t` its type. A value that does not fit its type is
 * shown as its JSON. */
void cell_format(Buf *out, const Js *v, const Type *t);
/* "2026-01-02T03:04:05.678Z" with as many digits as needed (0, 3 or 6), then `zone`. */
void timestamp_format(Buf *out, int64_t us, const char *zone);
/* A decimal of up to 39 digits; false when it is no u128. */
__extension__ typedef unsigned __int128 cli_u128;
bool u128_parse(cli_u128 *ret, Str digits);
void u128_print(Buf *out, cli_u128 v);
/* "c0ffee00-...": 8-4-4-4-12 hex digits. */
bool uuid_parse(cli_u128 *ret, Str text);
#endif
