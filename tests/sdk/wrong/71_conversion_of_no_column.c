// gcc: has no member named .*age
// clang: no member named 'age'
#include "pre.h"
static st_status f(st_reducer_ctx *ctx, const uint32_t *from, bool *to) { (void)ctx; *to = *from; return ST_OK; }
ST_MIGRATION(1, "a", ST_CONVERT_COLUMN(user, age, uint32_t, f));
