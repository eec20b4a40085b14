// gcc: ignoring return value of .user_emit
// clang: ignoring return value
#include "pre.h"
ST_ANON_VIEW(v, PUBLIC, user) { user u = { .online = true }; user_emit(out, &u); return ST_OK; }
