// says: ST_ARR is for C: give the array a name
#include "spacetimedb.h"
ST_TABLE(t, PUBLIC, (uint32_t, id), (arr_uint32_t, list));
ST_DEFAULT(t, list, ST_ARR(uint32_t, 1, 2));
