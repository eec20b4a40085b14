// says: cannot convert|no viable conversion
#include "spacetimedb.h"
ST_TABLE(t, PUBLIC, (uint32_t, id), (uint32_t, n));
ST_DEFAULT(t, n, ST_S("many"));
