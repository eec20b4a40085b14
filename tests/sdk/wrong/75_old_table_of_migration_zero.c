// gcc: migrations are numbered from 1
// clang: migrations are numbered from 1
#include "pre.h"
ST_OLD_TABLE(0, old_user, user, (uint32_t, id, PK));
