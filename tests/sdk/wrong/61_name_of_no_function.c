// gcc: st_item_fn_nothing.* undeclared
// clang: st_item_fn_nothing
#include "pre.h"
ST_FUNCTION_NAME(nothing, "f");
