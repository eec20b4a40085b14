#include "shared.h"
ST_REDUCER(clear_notes) { note_clear(ctx->db); return ST_OK; }
