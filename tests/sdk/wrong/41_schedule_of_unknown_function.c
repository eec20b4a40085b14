// gcc: .fire. undeclared
// clang: undeclared identifier .fire
#include "pre.h"
ST_TABLE(timer, PRIVATE, (uint64_t, id, PK_AUTO), (st_schedule_at, at));
ST_SCHEDULE(timer, at, fire);
