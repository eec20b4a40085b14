// gcc: redefinition of .st_migration_2
// clang: redefinition of .st_migration_2
#include "pre.h"
ST_MIGRATION(2, "a", ST_DROP_TABLE(x));
ST_MIGRATION(2, "b", ST_DROP_TABLE(y));
