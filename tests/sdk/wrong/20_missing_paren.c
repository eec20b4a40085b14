// gcc: st_write_each_column_or_argument_in_parentheses
// clang: st_write_each_column_or_argument_in_parentheses
#include "pre.h"
ST_TABLE(score, PUBLIC, (uint64_t, id, PK_AUTO), int64_t points);
