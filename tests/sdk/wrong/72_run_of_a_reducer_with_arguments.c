// gcc: .g.* must be st_status g.st_reducer_ctx
// clang: .g.* must be st_status g.st_reducer_ctx
#include "pre.h"
ST_REDUCER(g, (uint32_t, n)) { (void)n; return ST_OK; }
ST_MIGRATION(1, "a", ST_RUN(g));
