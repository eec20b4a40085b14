// gcc: the increment of a sequence cannot be 0
// clang: the increment of a sequence cannot be 0
#include "pre.h"
ST_TABLE(t, PUBLIC, (uint32_t, n, PK_AUTO));
ST_SEQUENCE(t, n, 1, 1, 100, 0);
