// gcc: scheduled function .*fire.* must take exactly one argument, a row of table .*timer
// clang: scheduled function .*fire.* must take exactly one argument, a row of table .*timer
#include "pre.h"
ST_TABLE(timer, PRIVATE, (uint64_t, id, PK_AUTO), (st_schedule_at, at));
ST_REDUCER(fire, (uint64_t, id)) { (void)id; return ST_OK; }
ST_SCHEDULE(timer, at, fire);
