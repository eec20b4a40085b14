// gcc: initializing type .uint32_t.* using type .st_str
// clang: incompatible type .st_str
#include "pre.h"
ST_TABLE(score, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, points));
ST_DEFAULT(score, points, ST_S("many"));
