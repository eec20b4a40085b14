// gcc: migrations are numbered from 1, not 0
// clang: migrations are numbered from 1, not 0
#include "pre.h"
ST_MIGRATION(0, "zero", ST_DROP_TABLE(x));
