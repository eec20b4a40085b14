// gcc: gone.* undeclared
// clang: gone
#include "pre.h"
ST_MIGRATION(1, "a", ST_RUN(gone));
