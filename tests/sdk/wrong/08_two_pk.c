// gcc: table .*pair.*: more than one primary key
// clang: table .*pair.*: more than one primary key
#include "pre.h"
ST_TABLE(pair, PUBLIC, (uint64_t, a, PK), (uint64_t, b, PK));
