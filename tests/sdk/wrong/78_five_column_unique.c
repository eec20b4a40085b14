// gcc: an index has at most four columns
// clang: an index has at most four columns
#include "pre.h"
ST_TABLE(t, PUBLIC, (int32_t, a), (int32_t, b), (int32_t, c), (int32_t, d), (int32_t, e));
ST_UNIQUE(t, ix, a, b, c, d, e);
