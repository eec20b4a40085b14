// says: auto-increment needs an integer type, not 'st_str'
#include "spacetimedb.h"
ST_TABLE(t, PUBLIC, (st_str, id, AUTO));
