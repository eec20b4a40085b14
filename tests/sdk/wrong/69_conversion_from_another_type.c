// gcc: the conversion must be st_status f.*const int32_t
// clang: the conversion must be st_status f.*const int32_t
#include "pre.h"
static st_status f(st_reducer_ctx *ctx, const uint32_t *from, bool *to) { (void)ctx; *to = *from; return ST_OK; }
ST_MIGRATION(1, "a", ST_CONVERT_COLUMN(user, online, int32_t, f));
