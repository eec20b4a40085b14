// what: requests to addresses of this machine
// answer: it is the procedure
// call: procedure attack_p nothing was reached
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_PROCEDURE(attack_p, uint32_t) {
    static const char *const urls[] = { "http://127.0.0.1:CANARY_PORT/", "http://[::1]:CANARY_PORT/", "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://localhost:CANARY_PORT/", "http://0x7f000001:CANARY_PORT/", "http://2130706433:CANARY_PORT/" };
    for (uint32_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        st_http_request q = { .url = { urls[i], strlen(urls[i]) } };
        st_http_response r;
        if (st_http(ctx, &q, &r) == ST_OK) return st_fail(ctx, "reached %s", urls[i]);
    }
    *ret = 0;
    return st_fail(ctx, "nothing was reached");
}
ST_REDUCER(attack) { return leave_a_trace(ctx) ? ST_E_USER : st_fail(ctx, "it is the procedure that attacks"); }
