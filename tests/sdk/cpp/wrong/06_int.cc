// says: module types have a fixed width
#include "spacetimedb.h"
ST_TABLE(t, PUBLIC, (int, id));
