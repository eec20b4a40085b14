#include "shared.h"
ST_REDUCER(add_note) { note n = { .text = ST_S("again") }; return note_insert(ctx->db, &n); }
