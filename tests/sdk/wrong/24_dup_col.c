// gcc: duplicate member .room
// clang: duplicate member .room
#include "pre.h"
ST_TABLE(score, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, room), (uint32_t, room));
