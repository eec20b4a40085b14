// gcc: initializer element is not constant
// clang: not a compile-time constant
#include "pre.h"
ST_TABLE(score, PUBLIC, (uint64_t, id, PK_AUTO), (opt_uint32_t, points));
ST_DEFAULT(score, points, some_uint32_t(5));
