/* toml.h - the part of TOML that cli.toml uses, edited in place: comments, unknown keys and order survive.
 *
 * Shape:  a list of lines. `key = value` lines under [table] and [[array.of.tables]] headers; values are strings
 *         (all four forms), and anything else is kept as raw text. Keys are bare or quoted; no dotted keys.
 * Owns:   nothing; everything is in the arena given to toml_parse.        Pure functions. */
#ifndef CLI_TOML_H
#define CLI_TOML_H
#include "host/base/base.h"

typedef struct TomlLine {
    enum { TOML_OTHER, TOML_HEADER, TOML_KEY } kind;
    Str text;       /* as it stands in the file, with its newline(s) */
    Str key;        /* KEY: the key.  HEADER: the table's name */
    bool array;     /* HEADER: [[...]] */
    bool is_string; /* KEY */
    Str value;      /* KEY: the string, decoded; or the raw value */
    bool removed;
} TomlLine;
typedef struct Toml {
    Arena *arena;
    TomlLine *lines;
    size_t n, cap;
} Toml;

/* S_INVALID: "line 3: ...". */
MUST_CHECK Status toml_parse(Toml *ret, Str text, Arena *a, Error *err);
/* Sections are known by the index of their header line; TOML_TOP is what stands before the first header. */
#define TOML_TOP SIZE_MAX
/* The first header [[name]] after `after` (TOML_TOP: from the start); TOML_TOP when there is none. */
size_t toml_next_section(const Toml *t, const char *name, size_t after);
const TomlLine *toml_find(const Toml *t, size_t section, const char *key); /* NULL: not there */
/* Adds or replaces a string; a value that holds newlines is written as a multi-line string. Adding moves
 * the lines behind it: section indexes after `section` grow by one. */
void toml_set(Toml *t, size_t section, const char *key, Str value);
void toml_unset(Toml *t, size_t section, const char *key);
size_t toml_add_section(Toml *t, const char *name); /* at the end */
void toml_remove_section(Toml *t, size_t section);
void toml_write(Buf *out, const Toml *t);
#endif
