// gcc: unknown type name .uint
// clang: unknown type name .uint
#include "pre.h"
ST_TABLE(score, PUBLIC,
    (uint64_t, id, PK_AUTO),
    (uint,     points));
