/* json_scan.h - JSON read into a tree that keeps the text of every number, so 2^64-1 stays 2^64-1.
 *
 * Shape:  immutable nodes in the caller's arena; `text` points into a copy of the input.
 * Limits: nesting of 256.   Source: RFC 8259; for project files also comments, trailing commas, single
 *         quotes and bare keys (JSON5).   Pure functions. */
#ifndef CLI_JSON_SCAN_H
#define CLI_JSON_SCAN_H
#include "host/base/base.h"

typedef enum JsKind { JS_NULL, JS_BOOL, JS_NUMBER, JS_STRING, JS_ARRAY, JS_OBJECT } JsKind;
typedef struct Js Js;
struct Js {
    JsKind kind;
    bool truth; /* BOOL */
    Str text;   /* as written, quotes and all */
    Str string; /* STRING: decoded */
    Str key;    /* of this member, when its parent is an object */
    size_t n;   /* ARRAY, OBJECT */
    const Js *first;
    const Js *next; /* the parent's next item */
};

/* The whole input is one value. S_INVALID: "line 1, column 5: ...". */
MUST_CHECK Status js_parse(const Js **ret, Str text, bool json5, Arena *a, Error *err);
const Js *js_get(const Js *object, const char *key); /* NULL for NULL, for no object, for no such member */
const Js *js_at(const Js *array, size_t i);          /* NULL past the end */
Str js_str(const Js *v);                             /* of a string; empty for anything else */
bool js_is(const Js *v, JsKind kind);                /* false for NULL */
int64_t js_int(const Js *v, int64_t otherwise);      /* a number that fits */
/* {"some":x} -> x, {"none":[]} -> NULL; other values as they are. */
const Js *js_option(const Js *v);
/* Laid out over lines, two blanks a level. */
void js_pretty(Buf *out, const Js *v, int indent);
void js_compact(Buf *out, const Js *v);
#endif
