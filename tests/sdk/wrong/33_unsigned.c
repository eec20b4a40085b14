// gcc: use uint32_t or uint64_t
// clang: use uint32_t or uint64_t
#include "pre.h"
ST_REDUCER(r, (unsigned, n)) { return n ? ST_OK : ST_E_NO_ROW; }
