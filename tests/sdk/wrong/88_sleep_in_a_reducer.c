// gcc: incompatible.pointer.type
// clang: incompatible pointer types
#include "pre.h"
ST_REDUCER(r) { return st_sleep_until(ctx, ctx->timestamp); }
