// gcc: ignoring return value of .st_i_sleep_until
// clang: ignoring return value of function
#include "pre.h"
ST_HTTP_HANDLER(on_push) { st_sleep_until(ctx, ctx->timestamp); return ST_OK; }
ST_ROUTE(GET, "/x", on_push);
