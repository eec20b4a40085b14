// what: records that point nowhere
// publish: damaged|refused
#include "attack.h"

ST_MODULE(attack, "1.0.0");

static const st_item bad = { ST_ITEM_FUNCTION, 0, (const char *)(uintptr_t)0x1234, NULL, NULL, NULL, NULL, 0, NULL };
#define st_item_bad_record bad
ST_I_PUT(bad_record)
ST_REDUCER(attack) { return leave_a_trace(ctx); }
