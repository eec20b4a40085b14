// gcc: for one column write \(type, room, INDEX\) in the table
// clang: for one column write \(type, room, INDEX\) in the table
#include "pre.h"
ST_TABLE(score, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, room));
ST_INDEX(score, by_room, room);
