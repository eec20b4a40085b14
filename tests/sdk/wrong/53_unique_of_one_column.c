// gcc: for one column write .type, name, UNIQUE.
// clang: for one column write .type, name, UNIQUE.
#include "pre.h"
ST_UNIQUE(user, ix, name);
