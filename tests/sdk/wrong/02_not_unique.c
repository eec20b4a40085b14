// gcc: user_find_by_name.*did you mean .user_find_by_identity
// clang: user_find_by_name
#include "pre.h"
ST_REDUCER(r, (st_str, n)) { return user_find_by_name(ctx->db, n) ? ST_OK : ST_E_NO_ROW; }
