// gcc: auto-increment needs an integer type, not .*st_str
// clang: auto-increment needs an integer type, not .*st_str
#include "pre.h"
ST_TABLE(tag, PUBLIC, (st_str, name, PK_AUTO));
