// gcc: needs min <= start <= max
// clang: needs min <= start <= max
#include "pre.h"
ST_TABLE(t, PUBLIC, (uint32_t, n, PK_AUTO));
ST_SEQUENCE(t, n, 1, 9, 100, 1);
