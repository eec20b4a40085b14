// gcc: redefinition of .st_item_case_policy
// clang: redefinition of .st_item_case_policy
#include "pre.h"
ST_CASE(SNAKE);
ST_CASE(NONE);
