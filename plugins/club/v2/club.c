/* club.c, second version - what a publish could not guess is said by ST_MIGRATION at the end. */
#include "spacetimedb.h"

ST_MODULE(club, "2.0.0");

ST_TABLE(member, PUBLIC,                    /* was: person */
    (uint64_t, id, PK_AUTO),
    (st_str,   name, UNIQUE),               /* was: full_name, not unique */
    (int64_t,  cents));                     /* was: euros, uint32_t; fax is gone */

ST_TABLE(visit, PUBLIC,                     /* was: one row for each visit */
    (uint64_t,     id, PK_AUTO),
    (uint64_t,     member, INDEX),
    (st_str,       room),
    (uint32_t,     times),
    (st_timestamp, last));
ST_UNIQUE(visit, by_member_room, member, room);

ST_REDUCER(join, (st_str, name), (int64_t, cents)) {
    if (name.len == 0)
        return st_fail(ctx, "names must not be empty");

    member m = { .name = name, .cents = cents };
    st_status status = member_try_insert(ctx->db, &m);
    if (status == ST_E_UNIQUE)
        return st_fail(ctx, "there is a member \"%.*s\" already", ST_FMT(name));
    return status;
}

static st_status count_visit(st_reducer_ctx *ctx, uint64_t member_id, st_str room, st_timestamp at)
{
    const visit *known = visit_find_by_member_room(ctx->db, member_id, room);
    if (!known) {
        visit first = { .member = member_id, .room = room, .times = 1, .last = at };
        return visit_insert(ctx->db, &first);
    }
    visit changed = *known;
    changed.times++;
    if (at.us > changed.last.us)            /* rows come in no particular order */
        changed.last = at;
    return visit_update_by_id(ctx->db, &changed);
}

ST_REDUCER(come, (uint64_t, member_id), (st_str, room)) {
    if (!member_find_by_id(ctx->db, member_id))
        return st_fail(ctx, "there is no member %llu", (unsigned long long)member_id);
    return count_visit(ctx, member_id, room, ctx->timestamp);
}

/* ---- from the first version to this one ---- */

/* Each stored value once, and nothing but that value: no database, no other column. */
static st_status euros_to_cents(st_reducer_ctx *ctx, const uint32_t *euros, int64_t *cents)
{
    (void)ctx;
    *cents = (int64_t)*euros * 100;
    return ST_OK;
}

/* The table as it was: read-only, for the function below. */
ST_OLD_TABLE(1, old_visit, visit,
    (uint64_t,     id, PK_AUTO),
    (uint64_t,     person, INDEX),
    (st_str,       room),
    (st_timestamp, at));

/* Runs once, after the tables have their new shape; `visit` is still empty. */
static st_status count_visits(st_reducer_ctx *ctx)
{
    ST_FOR(old_visit, v, old_visit_all(ctx->db)) {
        st_status status = count_visit(ctx, v->person, v->room, v->at);
        if (status)
            return status;
    }
    st_log_info(ctx, "%llu visits became %llu rows", (unsigned long long)old_visit_count(ctx->db), (unsigned long long)visit_count(ctx->db));
    return ST_OK;
}

ST_MIGRATION(1, "members with unique names, cents, visits counted by room",
    ST_RENAME_TABLE(person, member),
    ST_RENAME_COLUMN(member, full_name, name),
    ST_ADD_UNIQUE(member, name),
    ST_RENAME_COLUMN(member, euros, cents),
    ST_CONVERT_COLUMN(member, cents, uint32_t, euros_to_cents),
    ST_DROP_COLUMN(member, fax),
    ST_REPLACE_ROWS(visit),
    ST_RUN(count_visits));
