// gcc: for text use st_str
// clang: for text use st_str
#include "pre.h"
ST_REDUCER(r, (const char *, name)) { (void)name; return ST_OK; }
