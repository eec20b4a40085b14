// gcc: .on_psh. undeclared
// clang: use of undeclared identifier 'on_psh'
#include "pre.h"
ST_HTTP_HANDLER(on_push) { return ST_OK; }
ST_ROUTE(GET, "/x", on_psh);
