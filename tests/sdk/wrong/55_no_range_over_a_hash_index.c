// gcc: t_by_n_range
// clang: t_by_n_range
#include "pre.h"
ST_TABLE(t, PUBLIC, (uint32_t, n, HASH));
ST_REDUCER(f) { uint32_t lo = 1; ST_FOR(t, r, t_by_n_range(ctx->db, &lo, NULL)) { } return ST_OK; }
