// gcc: the type of column .*seat.* cannot be a key
// clang: the type of column .*seat.* cannot be a key
#include "pre.h"
ST_TABLE(score, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, room), (opt_uint32_t, seat));
ST_INDEX(score, by_seat, room, seat);
