// gcc: format .%s. expects argument
// clang: format specifies type
#include "pre.h"
ST_REDUCER(r, (st_str, n)) { return st_fail(ctx, "bad name %s", n); }
