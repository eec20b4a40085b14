// gcc: a direct index needs uint8_t to uint64_t
// clang: a direct index needs uint8_t to uint64_t
#include "pre.h"
ST_TABLE(t, PUBLIC, (st_str, name, UNIQUE_DIRECT));
