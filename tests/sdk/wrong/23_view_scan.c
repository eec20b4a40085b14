// gcc: argument 1 of .user_all. discards .const
// clang: passing .const st_db .*discards qualifiers
#include "pre.h"
ST_VIEW(v, PUBLIC, user)
{
    ST_FOR(user, u, user_all(ctx->db)) if (user_emit(out, u)) return ST_E_USER;
    return ST_OK;
}
