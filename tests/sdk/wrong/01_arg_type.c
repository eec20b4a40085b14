// gcc: incompatible type for argument 2 of .user_find_by_identity
// clang: passing .int. to parameter of incompatible type .st_identity
#include "pre.h"
ST_REDUCER(r) { return user_find_by_identity(ctx->db, 42) ? ST_OK : ST_E_NO_ROW; }
