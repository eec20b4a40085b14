// gcc: column .*points.*a value of type .*double.* cannot be a key
// clang: column .*points.*a value of type .*double.* cannot be a key
#include "pre.h"
ST_TABLE(score, PUBLIC, (uint64_t, id, PK_AUTO), (double, points, UNIQUE));
