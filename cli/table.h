/* table.h - text tables in the manner of psql, and without lines for `server list`. Pure functions. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H
#include "host/base/base.h"
typedef struct TextTable {
    Arena *arena;
    size_t ncols, ncells, cap;
    Str *cells; /* row by row, the header first */
} TextTable;
TextTable text_table_new(Arena *a, size_t ncols);
void text_table_cell(TextTable *t, Str cell); /* copied; row by row */
/* " id | name  \n----+-------\n 1  | \"Ann\" \n"; control characters in cells are shown as \n, \t, \xNN. */
void text_table_print(Buf *out, const TextTable *t);
/* No lines: one blank on both sides of a cell; column `right` (or -1) is set to the right. */
void text_table_print_plain(Buf *out, const TextTable *t, int right);
/* Columns of a terminal that `s` takes: one a code point, two for the wide ones of East Asia. */
size_t text_width(Str s);
#endif
