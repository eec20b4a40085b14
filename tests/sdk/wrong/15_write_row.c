// gcc: read-only object
// clang: const-qualified type
#include "pre.h"
ST_REDUCER(r)
{
    const user *u = user_find_by_identity(ctx->db, ctx->sender);
    if (u) u->online = true;
    return ST_OK;
}
