/* migrate.c - every operation of a migration, and old tables of every key. */
#include "spacetimedb.h"
ST_MODULE(migrate, "3.0.0");
ST_CASE(NONE);

ST_TABLE(account, PUBLIC, (uint64_t, id, PK), (st_str, handle, UNIQUE), (int64_t, cents), (opt_st_str, note));
ST_TABLE(total, PUBLIC, (uint32_t, bank, PK), (int64_t, cents), (uint64_t, found));

static st_status to_cents(st_reducer_ctx *ctx, const uint32_t *from, int64_t *to)
{
    if (*from > 1000000)
        return st_fail(ctx, "%u is too much", (unsigned)*from);
    *to = (int64_t)*from * 100;
    return ST_OK;
}
static st_status to_note(st_reducer_ctx *ctx, const st_str *from, opt_st_str *to)
{
    if (from->len)
        *to = some_st_str(st_format(ctx, "was %.*s", ST_FMT(*from)));
    return ST_OK;
}

ST_OLD_TABLE(3, old_ledger, ledger, (uint64_t, id, PK_AUTO), (uint32_t, bank, INDEX), (st_str, code, UNIQUE), (uint16_t, slot, UNIQUE_DIRECT),
    (st_identity, who, HASH), (uint32_t, euros));
ST_COLUMN_NAME(old_ledger, code, "register");

static st_status sum_up(st_reducer_ctx *ctx)
{
    ST_FOR(old_ledger, l, old_ledger_all(ctx->db)) {
        const total *t = total_find_by_bank(ctx->db, l->bank);
        total sum = t ? *t : (total){ .bank = l->bank };
        sum.cents += (int64_t)l->euros * 100;
        sum.found = old_ledger_count(ctx->db);
        st_status status = t ? total_update_by_bank(ctx->db, &sum) : total_insert(ctx->db, &sum);
        if (status)
            return status;
    }
    uint32_t lo = 1, hi = 3;
    uint64_t n = 0;
    ST_FOR(old_ledger, l, old_ledger_by_bank(ctx->db, 2)) n++;
    ST_FOR(old_ledger, l, old_ledger_by_bank_range(ctx->db, &lo, &hi)) n += 10;
    ST_FOR(old_ledger, l, old_ledger_by_who(ctx->db, ctx->sender)) n += 100;
    if (old_ledger_find_by_id(ctx->db, 7) && old_ledger_find_by_code(ctx->db, ST_S("c7")) && old_ledger_find_by_slot(ctx->db, 7))
        n += 1000;
    st_log_info(ctx, "%llu", (unsigned long long)n);
    return ST_OK;
}

ST_MIGRATION(1, "accounts",
    ST_RENAME_TABLE(person, account),
    ST_RENAME_COLUMN(account, nick, handle));
ST_MIGRATION(3, "totals",
    ST_REPLACE_ROWS(total),
    ST_ADD_UNIQUE(account, handle),
    ST_ADD_PRIMARY_KEY(account, id),
    ST_RUN(sum_up));
ST_MIGRATION(2, "money",
    ST_CONVERT_COLUMN(account, cents, uint32_t, to_cents),
    ST_CONVERT_COLUMN(account, note, st_str, to_note),
    ST_DROP_COLUMN(account, bool),
    ST_DROP_TABLE(audit));

ST_REDUCER(nothing) { return ST_OK; }
