// what: rows without end
// answer: --transaction-bytes|--database-memory
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_TABLE(heap, PRIVATE, (uint64_t, id, PK_AUTO), (st_bytes, fill));
ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    uint8_t *fill = (uint8_t *)st_alloc(ctx, 1 << 20);
    for (;;) { heap row = { .fill = { fill, 1 << 20 } }; st_status s = heap_insert(ctx->db, &row); if (s) return s; }
}
