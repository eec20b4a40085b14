// gcc: migration 1 needs at least one operation
// clang: migration 1 needs at least one operation
#include "pre.h"
ST_MIGRATION(1, "nothing");
