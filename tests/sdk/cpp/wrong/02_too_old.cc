// says: needs C\+\+17 or later
// std: c++14
#include "spacetimedb.h"
ST_TABLE(t, PUBLIC, (uint32_t, id));
