// gcc: redefinition of .st_lifecycle_INIT
// clang: redefinition of .st_lifecycle_INIT
#include "pre.h"
ST_INIT(first) { return ST_OK; }
ST_INIT(second) { return ST_OK; }
