// gcc: ST_ACCESS_PUBLC.*did you mean .ST_ACCESS_PUBLIC
// clang: ST_ACCESS_PUBLC
#include "pre.h"
ST_TABLE(score, PUBLC, (uint64_t, id, PK_AUTO));
