/* value.h - values in the author's native layout: checked, copied, compared, hashed, and turned
 * into BSATN and back, all directed by a Type.
 *
 * Trust:   `value_check` is the gate for values that a module hands in; `value_decode` and
 *          `bsatn_skip` are the gates for bytes that a client hands in. Everything else may assume a
 *          valid value.
 * Order:   integers numerically, false < true, strings and bytes bytewise, identities, connection ids
 *          and uuids numerically (their text order), floats totally: NaN equals NaN and sorts above
 *          +inf, -0 equals +0. Compound values field by field. (spec sql-and-subscriptions.md 1.6)
 * Thread:  pure functions. */
#ifndef HOST_SCHEMA_VALUE_H
#define HOST_SCHEMA_VALUE_H

#include "host/schema/type.h"

/* Limits of one value read from outside. */
enum {
    VALUE_ARRAY_ELEMENTS_MAX = 16 << 20,
    VALUE_EMPTY_ELEMENTS_MAX = 1 << 16, /* elements that take no bytes when encoded: a count costs nothing to send */
    VALUE_HEAP_BYTES_MAX = 256 << 20,   /* native text and arrays of one value together (as value_heap_size counts) */
};

/* Is the value well-formed: bool 0/1, tags in range, UTF-8, lengths below 2^32, pointers non-NULL when
 * the length is not 0? S_INVALID names the path ("[2].name: invalid UTF-8"). */
MUST_CHECK Status value_check(const Type *t, const void *v, Error *err);

/* Native value -> BSATN, appended to `out`. */
void value_encode(Buf *out, const Type *t, const void *v);
/* Bytes that value_encode would append. */
size_t value_encoded_size(const Type *t, const void *v);

/* BSATN -> native value at `v` (t->size bytes, fully written, padding zeroed). Text and arrays point
 * into `a` (arena) copies; S_INVALID says what is wrong in the reference's words where they are known
 * ("data too short for u32: Expected 4, given 2", "invalid utf8", "unknown tag 0x7 for sum type Shape").
 * Leaves bytes after the value unread. */
MUST_CHECK Status value_decode(Reader *in, const Type *t, void *v, Arena *a, Error *err);
/* Check and step over one encoded value without building it. Same errors. */
MUST_CHECK Status bsatn_skip(Reader *in, const Type *t, Error *err);

/* Copy `src` to `dst` field by field into zeroed memory; text and arrays are copied to `*heap`, which
 * is advanced; value_heap_size says how many bytes that takes (each piece is aligned to 16). */
size_t value_heap_size(const Type *t, const void *v);
void value_copy(const Type *t, void *dst, const void *src, uint8_t **heap);

/* A valid value for messages and plans: one line, long text and arrays cut. */
void value_print(Buf *out, const Type *t, const void *v);

/* <0, 0, >0. */
int value_compare(const Type *t, const void *x, const void *y);
bool value_equal(const Type *t, const void *x, const void *y);    /* bit-exact for floats: NaN payloads and -0 differ */
uint64_t value_hash(const Type *t, const void *v, uint64_t seed); /* agrees with value_equal */

#endif
