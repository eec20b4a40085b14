// gcc: use int32_t or int64_t: module types have a fixed width
// clang: use int32_t or int64_t: module types have a fixed width
#include "pre.h"
ST_TABLE(score, PUBLIC,
    (uint64_t, id, PK_AUTO),
    (int,      points));
