#include "host/schema/type_read.h"

#include <stdio.h>

enum { AT_REF, AT_SUM, AT_PRODUCT, AT_ARRAY, AT_STRING, AT_BOOL, AT_LAST = 19 };

static const TypeKind scalars[] = {
    [AT_STRING] = TYPE_STRING, [AT_BOOL] = TYPE_BOOL, [6] = TYPE_I8,   [7] = TYPE_U8,   [8] = TYPE_I16,   [9] = TYPE_U16,
    [10] = TYPE_I32,           [11] = TYPE_U32,       [12] = TYPE_I64, [13] = TYPE_U64, [14] = TYPE_I128, [15] = TYPE_U128,
    [16] = TYPE_I256,          [17] = TYPE_U256,      [18] = TYPE_F32, [19] = TYPE_F64};

static Status read_type(const Type **ret, Reader *in, Arena *a, int depth, Error *err);

static Status read_elements(const Type **ret, Reader *in, Arena *a, bool sum, int depth, Error *err)
{
    uint32_t n = read_u32(in), max = sum ? TYPE_VARIANTS_MAX : TYPE_FIELDS_MAX;
    if (n > max)
        return FAIL(err, S_TOO_LARGE, "a %s type has %u %s; the limit is %u", sum ? "sum" : "product", n, sum ? "variants" : "fields", max);
    if (sum && n == 0)
        return FAIL(err, S_INVALID, "a sum type without variants has no values");
    if (reader_left(in) < 2 * (size_t)n) /* each element takes two bytes at least */
        return FAIL(err, S_INVALID, "data too short for a type of %u elements: given %zu bytes", n, reader_left(in));
    Field *fields = ARENA_ARRAY(a, Field, n);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t named = read_u8(in);
        if (named > 1)
            return FAIL(err, S_INVALID, "unknown tag 0x%x for sum type Option", named);
        if (named == 0)
            fields[i].name = read_str(in);
        if (in->bad || !utf8_valid(fields[i].name))
            return FAIL(err, S_INVALID, in->bad ? "data too short for a field name" : "invalid utf8 in a field name");
        if (fields[i].name.len == 0) {
            char *name = arena_sprintf(a, "%u", i);
            fields[i].name = str_of(name);
        }
        TRY(read_type(&fields[i].type, in, a, depth + 1, err));
    }
    *ret = sum ? type_sum(a, n, fields) : type_product(a, n, fields);
    return type_check_limits(*ret, err);
}

static Status read_type(const Type **ret, Reader *in, Arena *a, int depth, Error *err)
{
    if (depth > TYPE_DEPTH_MAX)
        return FAIL(err, S_TOO_LARGE, "a type is nested more than %d levels deep", TYPE_DEPTH_MAX);
    uint8_t tag = read_u8(in);
    if (in->bad)
        return FAIL(err, S_INVALID, "data too short for a type: Expected 1, given 0");
    const Type *elem;
    switch (tag) {
    case AT_REF: return FAIL(err, S_INVALID, "a reference to another type is not allowed here");
    case AT_SUM: return read_elements(ret, in, a, true, depth, err);
    case AT_PRODUCT: return read_elements(ret, in, a, false, depth, err);
    case AT_ARRAY:
        TRY(read_type(&elem, in, a, depth + 1, err));
        *ret = type_array(a, elem);
        return type_check_limits(*ret, err);
    default:
        if (tag > AT_LAST)
            return FAIL(err, S_INVALID, "unknown tag 0x%x for sum type AlgebraicType", tag);
        *ret = type_scalar(scalars[tag]);
        return S_OK;
    }
}

Status type_from_bsatn(const Type **ret, Reader *in, Arena *a, Error *err) { return read_type(ret, in, a, 1, err); }
