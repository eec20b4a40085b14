// gcc: .ST_I_METHOD_PSOT. undeclared
// clang: use of undeclared identifier 'ST_I_METHOD_PSOT'
#include "pre.h"
ST_HTTP_HANDLER(on_push) { return ST_OK; }
ST_ROUTE(PSOT, "/x", on_push);
