/* A schema that two files share: the table is declared once, its record is in both. */
#include "spacetimedb.h"

ST_TABLE(note, PUBLIC,
    (uint64_t, id, PK_AUTO),
    (st_str,   text));
ST_INDEX(note, by_text_id, text, id);
