// gcc: has no member named .nickname
// clang: no member named 'nickname'
#include "pre.h"
ST_VIEW(me, PUBLIC, user) { const user *u = user_find_by_identity(ctx->db, ctx->sender); return u ? user_emit(out, u) : ST_OK; }
ST_VIEW_KEY(me, nickname);
