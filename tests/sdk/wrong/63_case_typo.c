// gcc: ST_CASE_CAMEL
// clang: ST_CASE_CAMEL
#include "pre.h"
ST_CASE(CAMEL);
