// gcc: table .*timer.*a scheduled table needs a primary key of type uint64_t
// clang: table .*timer.*a scheduled table needs a primary key of type uint64_t
#include "pre.h"
ST_TABLE(timer, PRIVATE, (uint32_t, id, PK_AUTO), (st_schedule_at, at));
ST_REDUCER(fire, (timer, row)) { (void)row; return ST_OK; }
ST_SCHEDULE(timer, at, fire);
