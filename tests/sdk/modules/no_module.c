/* no_module.c - compiles, but ST_MODULE is missing: the host says so. */
#include "spacetimedb.h"

ST_REDUCER(nothing) { return ST_OK; }
