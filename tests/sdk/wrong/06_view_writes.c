// gcc: argument 1 of .user_insert. discards .const
// clang: passing .const st_db .*discards qualifiers
#include "pre.h"
ST_VIEW(me, PUBLIC, user)
{
    user u = { .identity = ctx->sender };
    return user_insert(ctx->db, &u);
}
