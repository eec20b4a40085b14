// gcc: is_missing_a_column_name
// clang: is_missing_a_column_name
#include "pre.h"
ST_TABLE(note, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t));
