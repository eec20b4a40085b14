/* clean.h - text from a server on its way to a terminal: untrusted. Pure. */
#ifndef CLI_CLEAN_H
#define CLI_CLEAN_H
#include "host/base/base.h"
/* Append `text` with control characters shown as \\xNN (newline and tab stay) and what is not UTF-8 as U+FFFD; `colours`: the sequences
 * ESC [ digits ; digits m stay. */
void put_clean(Buf *out, Str text, bool colours);
#endif
