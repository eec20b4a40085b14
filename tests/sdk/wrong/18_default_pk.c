// gcc: column .*id.*a default cannot go with a primary key
// clang: column .*id.*a default cannot go with a primary key
#include "pre.h"
ST_TABLE(score, PUBLIC, (uint64_t, id, PK_AUTO), (int64_t, points));
ST_DEFAULT(score, id, 7);
