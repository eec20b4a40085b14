#include "shared.h"
ST_MODULE(two_files, "1.0.0");
ST_REDUCER(add_note, (st_str, text)) { note n = { .text = text }; return note_insert(ctx->db, &n); }
