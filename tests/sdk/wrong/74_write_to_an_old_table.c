// gcc: old_user_insert
// clang: old_user_insert
#include "pre.h"
ST_OLD_TABLE(1, old_user, user, (uint32_t, id, PK));
ST_REDUCER(f) { old_user o = { 1 }; return old_user_insert(ctx->db, &o); }
