/* empty.c - no tables, no functions: still a module. */
#include "spacetimedb.h"

ST_MODULE(empty, "0.0.1");
