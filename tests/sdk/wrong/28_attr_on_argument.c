// gcc: PK belongs to the columns of a table
// clang: PK belongs to the columns of a table
#include "pre.h"
ST_REDUCER(r, (uint64_t, id, PK)) { return id ? ST_OK : ST_E_NO_ROW; }
