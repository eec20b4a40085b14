// gcc: use int8_t, uint8_t or st_str
// clang: use int8_t, uint8_t or st_str
#include "pre.h"
ST_TABLE(note, PUBLIC, (uint64_t, id, PK_AUTO), (char *, text));
