// gcc: unknown type name .arr_point
// clang: unknown type name .arr_point
#include "pre.h"
ST_STRUCT(point, (int32_t, x), (int32_t, y));
ST_TABLE(cell, PUBLIC, (uint64_t, id, PK), (arr_point, corners));
