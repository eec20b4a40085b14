/* club.c, first version - members and their visits, kept as one would on the first day. v2/ is what it became. */
#include "spacetimedb.h"

ST_MODULE(club, "1.0.0");

ST_TABLE(person, PUBLIC,
    (uint64_t, id, PK_AUTO),
    (st_str,   full_name),
    (uint32_t, euros),
    (st_str,   fax));

ST_TABLE(visit, PUBLIC,                     /* one row for each visit */
    (uint64_t,     id, PK_AUTO),
    (uint64_t,     person, INDEX),
    (st_str,       room),
    (st_timestamp, at));

ST_REDUCER(join, (st_str, full_name), (uint32_t, euros)) {
    if (full_name.len == 0)
        return st_fail(ctx, "names must not be empty");

    person p = { .full_name = full_name, .euros = euros };
    return person_insert(ctx->db, &p);
}

ST_REDUCER(come, (uint64_t, person_id), (st_str, room)) {
    if (!person_find_by_id(ctx->db, person_id))
        return st_fail(ctx, "there is no person %llu", (unsigned long long)person_id);

    visit v = { .person = person_id, .room = room, .at = ctx->timestamp };
    return visit_insert(ctx->db, &v);
}
