// gcc: user
// clang: user
#include "pre.h"
ST_OLD_TABLE(1, user, user, (uint32_t, id, PK));
