/* Tables named like what the header's own functions call their parameters. */
#include "spacetimedb.h"

ST_MODULE(inner_names, "1.0.0");

ST_TABLE(key, PUBLIC, (uint32_t, k, PK), (uint32_t, db));
ST_TABLE(row, PUBLIC, (uint32_t, key, PK), (uint32_t, row, INDEX));
ST_TABLE(db, PUBLIC, (uint32_t, db, UNIQUE), (st_str, lo, HASH));
ST_TABLE(lo, PUBLIC, (uint32_t, a), (uint32_t, b), (uint32_t, c));
ST_INDEX(lo, by_a_b, a, b);
ST_HASH_INDEX(lo, by_b_c, b, c);
ST_UNIQUE(lo, by_all, a, b, c);
ST_TABLE(hi, PUBLIC, (int64_t, eq, INDEX));
ST_TABLE(eq, PUBLIC, (int64_t, hi));
ST_TABLE(col, PUBLIC, (uint32_t, found, PK_AUTO));
ST_TABLE(found, PUBLIC, (uint32_t, col, UNIQUE_HASH));
ST_TABLE(it, PUBLIC, (uint32_t, it, PK));
ST_TABLE(out, PUBLIC, (uint32_t, out, PK));

ST_REDUCER(use) {
    key a = { 1, 2 };
    row b = { 1, 2 };
    lo c = { 1, 2, 3 };
    if (key_insert(ctx->db, &a) || row_insert(ctx->db, &b) || lo_insert(ctx->db, &c) || row_update_by_key(ctx->db, &b))
        return ST_E_USER;
    uint64_t n = lo_count(ctx->db) + (key_find_by_k(ctx->db, 1) != NULL) + row_delete_by_row(ctx->db, 2) + lo_delete_by_all(ctx->db, 1, 2, 3);
    ST_FOR(lo, r, lo_by_a_b(ctx->db, 1))
        n += r->c;
    return n == 4 ? ST_OK : st_fail(ctx, "%llu", (unsigned long long)n);
}
