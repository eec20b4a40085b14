// gcc: the conversion must be st_status f
// clang: the conversion must be st_status f
#include "pre.h"
static st_status f(st_reducer_ctx *ctx, const uint32_t *from, uint32_t *to) { (void)ctx; *to = *from; return ST_OK; }
ST_MIGRATION(1, "a", ST_CONVERT_COLUMN(user, online, uint32_t, f));
