// gcc: st_result_of_st_fail_must_be_returned
// clang: ignoring return value
#include "pre.h"
ST_REDUCER(r, (st_str, n))
{
    if (n.len == 0)
        st_fail(ctx, "empty");
    return ST_OK;
}
