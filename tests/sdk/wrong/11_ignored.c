// gcc: ignoring return value of .user_insert
// clang: ignoring return value
#include "pre.h"
ST_REDUCER(r)
{
    user u = { .identity = ctx->sender };
    user_insert(ctx->db, &u);
    return ST_OK;
}
