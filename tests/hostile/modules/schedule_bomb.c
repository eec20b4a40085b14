// what: a scheduled function that schedules two more
// answer: ok
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_TABLE(alarm, PRIVATE, (uint64_t, id, PK_AUTO), (st_schedule_at, at));
ST_REDUCER(fork_it, (alarm, row)) { (void)row; if (alarm_count(ctx->db) > 5000) return ST_OK; for (int i = 0; i < 2; i++) { alarm a = { .at = st_at(ctx->timestamp) }; st_status s = alarm_insert(ctx->db, &a); if (s) return s; } return ST_OK; }
ST_SCHEDULE(alarm, at, fork_it);
ST_REDUCER(attack) { alarm a = { .at = st_at(ctx->timestamp) }; return alarm_insert(ctx->db, &a); }
