// says: invalid conversion|no matching function
#include "spacetimedb.h"
ST_TABLE(t, PUBLIC, (uint32_t, id, PK));
ST_ANON_VIEW(v, PUBLIC, t) { t r{}; return t_insert(ctx->db, &r); }
