/* type_read.h - AlgebraicType as BSATN -> Type. Source: wire.md section 3. Pure; the input is untrusted.
 *
 * Refs are refused: whoever sends a type here has written it out in full. Depth, fields, variants and the whole tree are bounded by the
 * limits of type.h. Elements without a name get their position as name, since a Field always has one. */
#ifndef HOST_SCHEMA_TYPE_READ_H
#define HOST_SCHEMA_TYPE_READ_H
#include "host/schema/type.h"
/* Reads one type; the result lives in `a`. S_INVALID / S_TOO_LARGE say what is wrong. */
MUST_CHECK Status type_from_bsatn(const Type **ret, Reader *in, Arena *a, Error *err);
#endif
