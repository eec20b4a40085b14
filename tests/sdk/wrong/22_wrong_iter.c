// gcc: incompatible type for argument 1 of .user_each
// clang: passing .score_iter.* incompatible type .user_iter
#include "pre.h"
ST_TABLE(score, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, room, INDEX));
ST_REDUCER(r) { ST_FOR(user, u, score_by_room(ctx->db, 1)) { if (u->online) return ST_OK; } return ST_OK; }
