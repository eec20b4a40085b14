// says: the conversion must be st_status f
#include "spacetimedb.h"
ST_TABLE(t, PUBLIC, (uint32_t, id), (uint32_t, n));
static st_status f(st_reducer_ctx *ctx, const uint8_t *from, uint32_t *to) { (void)ctx; *to = *from; return ST_OK; }
ST_MIGRATION(1, "a", ST_CONVERT_COLUMN(t, n, int8_t, f));
