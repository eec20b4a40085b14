/* ledger.c - accounts, and transfers between them that keep the total. The module of our benchmarks. */
#include "spacetimedb.h"

ST_MODULE(ledger, "1.0.0");

ST_TABLE(accounts, PUBLIC,
    (uint32_t, id, PK),
    (int64_t,  balance));

/* Start over with accounts 0 to n-1. */
ST_REDUCER(seed, (uint32_t, n), (int64_t, initial_balance)) {
    accounts_clear(ctx->db);
    for (uint32_t id = 0; id < n; id++) {
        accounts account = { .id = id, .balance = initial_balance };
        st_status status = accounts_insert(ctx->db, &account);
        if (status)
            return status;
    }
    return ST_OK;
}

ST_REDUCER(transfer, (uint32_t, from), (uint32_t, to), (int64_t, amount)) {
    if (from == to)
        return st_fail(ctx, "same_account");
    if (amount <= 0)
        return st_fail(ctx, "non_positive_amount");

    const accounts *payer = accounts_find_by_id(ctx->db, from);
    const accounts *payee = accounts_find_by_id(ctx->db, to);
    if (!payer || !payee)
        return st_fail(ctx, "account_missing");
    if (payer->balance < amount)
        return st_fail(ctx, "insufficient_funds");

    accounts less = *payer, more = *payee;
    less.balance -= amount;
    if (__builtin_add_overflow(more.balance, amount, &more.balance))
        return st_fail(ctx, "balance_overflow");

    st_status status = accounts_update_by_id(ctx->db, &less);
    return status ? status : accounts_update_by_id(ctx->db, &more);
}
