// gcc: st_anon_view_ctx. has no member named .sender
// clang: no member named .sender. in .struct st_anon_view_ctx
#include "pre.h"
ST_ANON_VIEW(v, PUBLIC, user)
{
    const user *u = user_find_by_identity(ctx->db, ctx->sender);
    return u ? user_emit(out, u) : ST_OK;
}
