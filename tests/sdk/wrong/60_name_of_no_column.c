// gcc: st_col_user_nick.* undeclared
// clang: st_col_user_nick
#include "pre.h"
ST_COLUMN_NAME(user, nick, "int");
