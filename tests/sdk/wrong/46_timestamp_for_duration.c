// gcc: incompatible type for argument 1 of .st_every
// clang: passing .st_timestamp.* incompatible type .st_duration
#include "pre.h"
ST_REDUCER(r) { return st_every(ctx->timestamp).us ? ST_OK : ST_E_NO_ROW; }
