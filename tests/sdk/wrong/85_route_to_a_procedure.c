// gcc: p.* must be an ST_HTTP_HANDLER
// clang: p.* must be an ST_HTTP_HANDLER
#include "pre.h"
ST_PROCEDURE(p, st_unit) { return ST_OK; }
ST_ROUTE(GET, "/x", p);
