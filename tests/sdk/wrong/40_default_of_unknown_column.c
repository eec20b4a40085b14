// gcc: score_pionts.*did you mean .*score_points
// clang: score_pionts.*did you mean .*score_points
#include "pre.h"
ST_TABLE(score, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, points));
ST_DEFAULT(score, pionts, 5);
