// gcc: st_ncols_usr.* undeclared
// clang: st_ncols_usr
#include "pre.h"
ST_TABLE_NAME(usr, "people");
