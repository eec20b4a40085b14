// gcc: ST_ACCESS_PUBLC.*did you mean .ST_ACCESS_PUBLIC
// clang: ST_ACCESS_PUBLC
#include "pre.h"
ST_EVENT_TABLE(shot, PUBLC, (st_identity, who));
