// what: a million log lines
// answer: enough said|--call-timeout-ms
// log: log lines were dropped
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    for (int i = 0; i < 1000000; i++) st_log_info(ctx, "line %d of a very talkative module", i);
    return st_fail(ctx, "enough said");
}
