// gcc: a result type is missing; st_unit for none
// clang: a result type is missing; st_unit for none
#include "pre.h"
ST_PROCEDURE(p) { return ST_OK; }
