// gcc: column .*at.*a value of type .*point.* cannot be a key
// clang: column .*at.*a value of type .*point.* cannot be a key
#include "pre.h"
ST_STRUCT(point, (int32_t, x), (int32_t, y));
ST_TABLE(cell, PUBLIC, (point, at, PK));
