// gcc: has no member named .nmae.*did you mean .name
// clang: no member named .nmae
#include "pre.h"
ST_REDUCER(r)
{
    const user *u = user_find_by_identity(ctx->db, ctx->sender);
    return u && u->nmae.len ? ST_OK : ST_E_NO_ROW;
}
