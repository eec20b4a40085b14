// gcc: a name cannot be empty
// clang: a name cannot be empty
#include "pre.h"
ST_TABLE_NAME(user, "");
