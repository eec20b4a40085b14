// what: log lines of a megabyte, escape sequences and bytes that are no text
// answer: enough said
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    char *p = (char *)st_alloc(ctx, 1 << 20);
    memset(p, 'x', (1 << 20) - 1);
    for (int i = 0; i < 20; i++) st_log_info(ctx, "%s", p);
    st_log_info(ctx, "\033]0;owned\007\033[2J \xff\xfe \"quoted\"\n{\"level\":\"Info\"}");
    return st_fail(ctx, "enough said");
}
