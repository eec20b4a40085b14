// gcc: ignoring return value of .user_query
// clang: ignoring return value
#include "pre.h"
ST_QUERY_VIEW(v, PUBLIC, user) { user_query(out, "SELECT * FROM user"); return ST_OK; }
