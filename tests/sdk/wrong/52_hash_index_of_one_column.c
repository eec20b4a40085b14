// gcc: for one column write .type, name, HASH.
// clang: for one column write .type, name, HASH.
#include "pre.h"
ST_HASH_INDEX(user, ix, name);
