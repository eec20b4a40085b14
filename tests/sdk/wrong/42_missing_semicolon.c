// gcc: st_semicolon_expected
// clang: expected .;. after struct
#include "pre.h"
ST_TABLE(score, PUBLIC, (uint64_t, id, PK_AUTO))
ST_TABLE(other, PUBLIC, (uint64_t, id, PK_AUTO));
