// what: an endless loop when a stranger connects
// answer: ok
// call: stranger --call-timeout-ms
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_TABLE(owner, PRIVATE, (st_identity, id, PK));
ST_INIT(begin) { owner o = { ctx->sender }; return owner_insert(ctx->db, &o); }
ST_CLIENT_CONNECTED(greet) {
    if (!owner_find_by_id(ctx->db, ctx->sender))
        for (volatile int i = 0; i >= 0; i = (i + 1) & 1023) ;
    return ST_OK;
}
ST_REDUCER(attack) { return ST_OK; }
