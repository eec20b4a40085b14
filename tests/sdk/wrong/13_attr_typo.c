// gcc: ST_COLUMN_PKAUTO.*did you mean .ST_COLUMN_PK_AUTO
// clang: ST_COLUMN_PKAUTO
#include "pre.h"
ST_TABLE(score, PUBLIC,
    (uint64_t, id, PKAUTO),
    (int64_t,  points));
