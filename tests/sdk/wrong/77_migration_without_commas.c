// gcc: expected
// clang: expected
#include "pre.h"
ST_MIGRATION(1, "a", ST_DROP_TABLE(x) ST_DROP_TABLE(y));
