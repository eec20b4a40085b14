// gcc: the type of column .*nick.* cannot be a key
// clang: the type of column .*nick.* cannot be a key
#include "pre.h"
ST_TABLE(t, PUBLIC, (uint32_t, id), (opt_st_str, nick));
ST_UNIQUE(t, ix, id, nick);
