/* idler.c - a database that costs little: for a test that opens many. */
#include "spacetimedb.h"

ST_MODULE(idler, "1.0.0");

ST_TABLE(t, PUBLIC, (uint32_t, id, PK), (st_str, text));

ST_REDUCER(put, (uint32_t, id), (st_str, text)) {
    t row = { .id = id, .text = text };
    return t_find_by_id(ctx->db, id) ? t_update_by_id(ctx->db, &row) : t_insert(ctx->db, &row);
}

ST_REDUCER(grow, (uint32_t, id), (uint32_t, bytes)) {
    char *p = st_alloc(ctx, bytes);
    memset(p, 'a' + (int)(ctx->timestamp.us % 26), bytes);
    return put(ctx, id, (st_str){ p, bytes });
}
