/* people.c - one of everything that the schema routes show and the permission rules tell apart. */
#include "spacetimedb.h"

ST_MODULE(people, "1.0.0");

ST_TABLE(person, PUBLIC,
    (uint64_t, id, PK_AUTO),
    (st_str,   email, UNIQUE),
    (st_str,   name, INDEX));

ST_TABLE(secret, PRIVATE,
    (uint32_t, id, PK),
    (st_str,   word));

ST_REDUCER(add, (st_str, email), (st_str, name)) {
    person p = { .email = email, .name = name };
    return person_insert(ctx->db, &p);
}

ST_REDUCER(hide, (uint32_t, id), (st_str, word)) {
    secret s = { .id = id, .word = word };
    return secret_insert(ctx->db, &s);
}

ST_REDUCER(nothing) {
    return ST_OK;
}

ST_INIT(init) {
    secret s = { .id = 0, .word = ST_S("from init") };
    return secret_insert(ctx->db, &s);
}
