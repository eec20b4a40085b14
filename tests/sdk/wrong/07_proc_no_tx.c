// gcc: st_proc_ctx. has no member named .db
// clang: no member named .db. in .struct st_proc_ctx
#include "pre.h"
ST_PROCEDURE(p, uint64_t, (st_str, url))
{
    *ret = user_count(ctx->db); (void)url;
    return ST_OK;
}
