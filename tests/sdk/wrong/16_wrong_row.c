// gcc: argument 2 of .user_insert. from incompatible pointer type
// clang: passing .score \*.* to parameter of type .user \*
#include "pre.h"
ST_TABLE(score, PUBLIC, (uint64_t, id, PK_AUTO), (int64_t, points));
ST_REDUCER(r)
{
    score s = { .points = 1 };
    return user_insert(ctx->db, &s);
}
