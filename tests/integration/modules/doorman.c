/* doorman.c - who comes and who goes, counted; and a door that can be shut, or break. The owner always passes. */
#include "spacetimedb.h"

ST_MODULE(doorman, "1.0.0");

ST_TABLE(visit, PUBLIC,
    (st_identity, who, PK),
    (uint32_t,    came),
    (uint32_t,    went));

ST_TABLE(policy, PRIVATE,
    (uint8_t,     id, PK),
    (st_identity, owner),
    (uint8_t,     mode));  /* 0: open, 1: shut, 2: breaks on the way in, 3: fails on the way out, 4: breaks on the way out */

ST_INIT(opened) {
    policy p = { .owner = ctx->sender };
    return policy_insert(ctx->db, &p);
}

ST_REDUCER(set_mode, (uint8_t, mode)) {
    policy p = *policy_find_by_id(ctx->db, 0);
    p.mode = mode;
    return policy_update_by_id(ctx->db, &p);
}

ST_REDUCER(knock) {
    return ST_OK;
}

static st_status count(st_reducer_ctx *ctx, uint32_t came, uint32_t went)
{
    const visit *v = visit_find_by_who(ctx->db, ctx->sender);
    visit changed = v ? *v : (visit){ .who = ctx->sender };
    changed.came += came;
    changed.went += went;
    return v ? visit_update_by_who(ctx->db, &changed) : visit_insert(ctx->db, &changed);
}

ST_CLIENT_CONNECTED(enters) {
    const policy *p = policy_find_by_id(ctx->db, 0);
    if (!st_identity_eq(ctx->sender, p->owner)) {
        if (p->mode == 1)
            return st_fail(ctx, "the door is shut");
        if (p->mode == 2)
            __builtin_trap();
    }
    return count(ctx, 1, 0);
}

ST_CLIENT_DISCONNECTED(leaves) {
    const policy *p = policy_find_by_id(ctx->db, 0);
    if (!st_identity_eq(ctx->sender, p->owner)) {
        if (p->mode == 3)
            return st_fail(ctx, "nobody leaves");
        if (p->mode == 4)
            __builtin_trap();
    }
    return count(ctx, 0, 1);
}
