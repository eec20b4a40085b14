// gcc: migration 1 needs a title
// clang: migration 1 needs a title
#include "pre.h"
ST_MIGRATION(1);
