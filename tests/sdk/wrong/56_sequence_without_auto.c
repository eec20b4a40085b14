// gcc: a sequence needs an auto-increment column
// clang: a sequence needs an auto-increment column
#include "pre.h"
ST_TABLE(t, PUBLIC, (uint32_t, n, PK));
ST_SEQUENCE(t, n, 1, 1, 9, 1);
