/* once.c - transfers that leave a mark: after any crash a client can tell exactly which of its transfers happened. */
#include "spacetimedb.h"

ST_MODULE(once, "1.0.0");

ST_TABLE(accounts, PUBLIC,
    (uint32_t, id, PK),
    (int64_t,  balance));

ST_TABLE(done, PUBLIC,
    (uint64_t, id, PK),
    (uint32_t, payer),
    (uint32_t, payee),
    (int64_t,  amount));

ST_REDUCER(seed, (uint32_t, n), (int64_t, initial_balance)) {
    accounts_clear(ctx->db);
    done_clear(ctx->db);
    for (uint32_t id = 0; id < n; id++) {
        accounts account = { .id = id, .balance = initial_balance };
        st_status status = accounts_insert(ctx->db, &account);
        if (status)
            return status;
    }
    return ST_OK;
}

ST_REDUCER(transfer_once, (uint64_t, id), (uint32_t, payer), (uint32_t, payee), (int64_t, amount)) {
    const accounts *from = accounts_find_by_id(ctx->db, payer), *to = accounts_find_by_id(ctx->db, payee);
    if (!from || !to || payer == payee)
        return st_fail(ctx, "no such pair of accounts");
    done mark = { .id = id, .payer = payer, .payee = payee, .amount = amount };
    st_status status = done_insert(ctx->db, &mark);
    if (status)
        return status;
    accounts less = *from, more = *to;
    less.balance -= amount;
    more.balance += amount;
    if ((status = accounts_update_by_id(ctx->db, &less)))
        return status;
    return accounts_update_by_id(ctx->db, &more);
}
