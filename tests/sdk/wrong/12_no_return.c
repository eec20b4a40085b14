// gcc: control reaches end of non-void function
// clang: does not return a value in all control paths
#include "pre.h"
ST_REDUCER(r, (st_str, n))
{
    if (n.len == 0) return st_fail(ctx, "empty");
}
