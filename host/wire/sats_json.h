/* sats_json.h - SATS-JSON: values as JSON text, directed by a Type. Source: wire.md section 2; http-api.md sections 7, 8.
 *
 * Integers of every width survive exactly in both directions (jansson's end at 2^63-1, so numbers are handled as text). Reading bounds depth (128),
 * refuses trailing text, duplicate and unknown members, and names the path of what is wrong. Pure functions. */
#ifndef HOST_WIRE_SATS_JSON_H
#define HOST_WIRE_SATS_JSON_H
#include "host/schema/type.h"
typedef enum JsonMode { JSON_UNTYPED /* mode A: positional */, JSON_DECLARED /* mode B: named */ } JsonMode;
/* One BSATN value -> JSON. S_INVALID when the bytes do not decode. */
MUST_CHECK Status json_from_bsatn(Buf *out, Reader *in, const Type *t, JsonMode mode, Error *err);
/* JSON text (whole input) -> BSATN. Errors start with the path (".": top, "[0].field"). */
MUST_CHECK Status json_to_bsatn(Buf *out, Str json, const Type *t, Error *err);
/* Arguments of a call: a JSON array by position or an object by parameter name; texts as http-api.md 8.2 DETAIL. `function` for the text. */
MUST_CHECK Status json_args_to_bsatn(Buf *out, Str json, const Type *params, Str function, Error *err);
/* AlgebraicType / ProductType as JSON (mode B); refs written out unless use_refs. */
void json_put_type(Buf *out, const Type *t, bool use_refs);
/* A product as the bare ProductType, {"elements":[...]}: the "schema" of an SQL answer, the "params" of a function. */
void json_put_product_type(Buf *out, const Type *t, bool use_refs);
/* Quoted and escaped. The symbols json_string and json_type belong to libjansson (ours would replace its own at run time), hence the
 * names; files that do not use jansson may go on writing json_string. */
void json_put_string(Buf *out, Str s);
#ifndef JANSSON_H
#define json_string json_put_string
#endif
#endif
