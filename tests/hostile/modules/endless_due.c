// what: an endless loop in a scheduled function
// answer: ok
// log: --call-timeout-ms
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_TABLE(alarm, PRIVATE, (uint64_t, id, PK_AUTO), (st_schedule_at, at));
ST_REDUCER(ring_it, (alarm, row)) { (void)row; for (volatile int i = 0; i >= 0; i = (i + 1) & 1023) ; return ST_OK; }
ST_SCHEDULE(alarm, at, ring_it);
ST_REDUCER(attack) { alarm a = { .at = st_at(ctx->timestamp) }; return alarm_insert(ctx->db, &a); }
