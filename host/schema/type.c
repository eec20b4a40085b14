/* type.c - making types: recognising special shapes, laying out structs, and the run lists ("ops")
 * that let the codecs move neighbouring plain fields with one memcpy.
 *
 * Sizes are computed in 64 bits and saturate, so a hostile definition cannot wrap them around before
 * type_check_limits has had its look. */
#include "host/schema/type.h"

/* ---- scalars and special products ------------------------------------------------------------ */

#define PLAIN(k, n, al) [k] = {.kind = k, .size = n, .align = al, .bsatn_size = n, .ref = -1, .flat = true, .depth = 1, .nodes = 1}
#define TEXT(k) [k] = {.kind = k, .size = 16, .align = 8, .bsatn_size = -1, .has_pointers = true, .ref = -1, .depth = 1, .nodes = 1}
#define ODD(k, n, al, enc, pay)                                                                                                            \
    [k] = {.kind = k, .size = n, .align = al, .bsatn_size = enc, .ref = -1, .payload_offset = pay, .depth = 1, .nodes = 1}

static const Type scalars[] = {
    ODD(TYPE_BOOL, 1, 1, 1, 0), /* not flat: only two of 256 patterns are valid */
    PLAIN(TYPE_I8, 1, 1),
    PLAIN(TYPE_U8, 1, 1),
    PLAIN(TYPE_I16, 2, 2),
    PLAIN(TYPE_U16, 2, 2),
    PLAIN(TYPE_I32, 4, 4),
    PLAIN(TYPE_U32, 4, 4),
    PLAIN(TYPE_I64, 8, 8),
    PLAIN(TYPE_U64, 8, 8),
    PLAIN(TYPE_I128, 16, 16),
    PLAIN(TYPE_U128, 16, 16),
    PLAIN(TYPE_I256, 32, 8),
    PLAIN(TYPE_U256, 32, 8),
    PLAIN(TYPE_F32, 4, 4),
    PLAIN(TYPE_F64, 8, 8),
    TEXT(TYPE_STRING),
    TEXT(TYPE_BYTES),
    PLAIN(TYPE_IDENTITY, 32, 1),
    PLAIN(TYPE_CONNECTION_ID, 16, 1),
    PLAIN(TYPE_TIMESTAMP, 8, 8),
    PLAIN(TYPE_DURATION, 8, 8),
    ODD(TYPE_UUID, 16, 1, 16, 0), /* bytes are reversed on the wire */
    ODD(TYPE_SCHEDULE_AT, 16, 8, 9, 8),
};

const Type type_unit = {.kind = TYPE_PRODUCT, .size = 1, .align = 1, .bsatn_size = 0, .ref = -1, .depth = 1, .nodes = 1};

const Type *type_scalar(TypeKind kind)
{
    ASSERT((size_t)kind < COUNT_OF(scalars) && scalars[kind].size);
    return &scalars[kind];
}

/* The one list of special products: shape, name for people. */
static const struct SpecialProduct {
    TypeKind kind, scalar;
    const char *field;
} special_products[] = {
    {TYPE_IDENTITY, TYPE_U256, "__identity__"},
    {TYPE_CONNECTION_ID, TYPE_U128, "__connection_id__"},
    {TYPE_TIMESTAMP, TYPE_I64, "__timestamp_micros_since_unix_epoch__"},
    {TYPE_DURATION, TYPE_I64, "__time_duration_micros__"},
    {TYPE_UUID, TYPE_U128, "__uuid__"},
};

const char *type_special_field(TypeKind kind, TypeKind *ret_scalar)
{
    for (size_t i = 0; i < COUNT_OF(special_products); i++)
        if (special_products[i].kind == kind) {
            if (ret_scalar)
                *ret_scalar = special_products[i].scalar;
            return special_products[i].field;
        }
    return NULL;
}

/* ---- layout ---------------------------------------------------------------------------------- */

static uint64_t round_up(uint64_t n, uint32_t align) { return (n + align - 1) / align * align; }
static uint32_t saturate32(uint64_t n) { return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n; }

/* Account for one child in `t`'s nesting and tree size. */
static void absorb(Type *t, const Type *child)
{
    t->depth = (uint16_t)MAX(t->depth, MIN(child->depth + 1, UINT16_MAX));
    t->nodes = saturate32((uint64_t)t->nodes + child->nodes);
    t->has_pointers |= child->has_pointers;
}

static bool is_unit(const Type *t) { return t->kind == TYPE_PRODUCT && t->nfields == 0; }

static Type *type_new(Arena *a, TypeKind kind)
{
    Type *t = ARENA_NEW(a, Type);
    t->kind = kind;
    t->ref = -1;
    t->depth = t->nodes = 1;
    return t;
}

static const Field *fields_copy(Arena *a, uint32_t n, const Field *fields)
{
    Field *copy = ARENA_ARRAY(a, Field, n);
    for (uint32_t i = 0; i < n; i++)
        copy[i] = (Field){arena_str(a, fields[i].name), fields[i].type, fields[i].offset};
    return copy;
}

/* ---- arrays, options ------------------------------------------------------------------------- */

const Type *type_array(Arena *a, const Type *elem)
{
    if (elem->kind == TYPE_U8 && elem->ref < 0)
        return type_scalar(TYPE_BYTES);
    Type *t = type_new(a, TYPE_ARRAY);
    t->size = 16;
    t->align = 8;
    t->bsatn_size = -1;
    t->elem = elem;
    absorb(t, elem);
    t->has_pointers = true;
    return t;
}

const Type *type_option(Arena *a, const Type *payload)
{
    Type *t = type_new(a, TYPE_OPTION);
    t->align = payload->align;
    t->payload_offset = payload->align;
    t->size = saturate32(round_up((uint64_t)t->payload_offset + payload->size, t->align));
    t->bsatn_size = payload->bsatn_size == 0 ? 1 : -1;
    t->elem = payload;
    absorb(t, payload);
    t->nodes++; /* the unit of `none` */
    return t;
}

/* ---- products -------------------------------------------------------------------------------- */

enum { FLATTEN_OPS_MAX = 4 }; /* a nested product with more steps stays a step of its own: bounds the list */

static void op_push(TypeOp *ops, uint32_t *n, TypeOp op)
{
    TypeOp *last = *n ? &ops[*n - 1] : NULL;
    if (op.kind == OP_COPY && last && last->kind == OP_COPY && last->offset + last->len == op.offset)
        last->len += op.len; /* adjacent in both forms */
    else
        ops[(*n)++] = op;
}

static void op_push_field(TypeOp *ops, uint32_t *n, const Type *t, uint32_t offset)
{
    if (t->bsatn_size == 0)
        return; /* a unit: nothing is encoded, and its byte stays zero */
    if (t->flat)
        op_push(ops, n, (TypeOp){OP_COPY, offset, t->size, t});
    else if (t->kind == TYPE_PRODUCT && t->nops <= FLATTEN_OPS_MAX)
        for (uint32_t i = 0; i < t->nops; i++) {
            TypeOp op = t->ops[i];
            op.offset += offset;
            op_push(ops, n, op);
        }
    else
        op_push(ops, n,
                (TypeOp){t->kind == TYPE_BOOL     ? OP_BOOL
                         : t->kind == TYPE_STRING ? OP_STRING
                         : t->kind == TYPE_BYTES  ? OP_BYTES
                                                  : OP_VALUE,
                         offset, 0, t});
}

static void product_ops(Arena *a, Type *t)
{
    size_t max = 0;
    for (uint32_t i = 0; i < t->nfields; i++)
        max += t->fields[i].type->kind == TYPE_PRODUCT ? FLATTEN_OPS_MAX : 1;
    TypeOp *ops = malloc(MAX(max, (size_t)1) * sizeof *ops);
    if (!ops)
        BUG("out of memory: %zu steps of a product", max);
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->nfields; i++)
        op_push_field(ops, &n, t->fields[i].type, t->fields[i].offset);
    t->nops = n;
    t->ops = n ? arena_copy(a, ops, n * sizeof *ops) : NULL;
    free(ops);
    t->flat = n == 1 && t->ops[0].kind == OP_COPY && t->ops[0].offset == 0 && t->ops[0].len == t->size;
}

const Type *type_product(Arena *a, uint32_t nfields, const Field *fields)
{
    if (nfields == 0)
        return &type_unit;
    for (size_t i = 0; nfields == 1 && i < COUNT_OF(special_products); i++)
        if (fields[0].type->kind == special_products[i].scalar && fields[0].type->ref < 0 &&
            str_is(fields[0].name, special_products[i].field))
            return type_scalar(special_products[i].kind);

    Type *t = type_new(a, TYPE_PRODUCT);
    Field *own = (Field *)fields_copy(a, nfields, fields);
    uint64_t size = 0, encoded = 0;
    t->align = 1;
    for (uint32_t i = 0; i < nfields; i++) {
        const Type *f = own[i].type;
        size = round_up(size, f->align);
        own[i].offset = saturate32(size);
        size += f->size;
        t->align = MAX(t->align, f->align);
        encoded = f->bsatn_size < 0 || encoded == UINT64_MAX ? UINT64_MAX : encoded + (uint64_t)f->bsatn_size;
        absorb(t, f);
    }
    t->size = saturate32(round_up(size, t->align));
    t->bsatn_size = encoded > INT32_MAX ? -1 : (int32_t)encoded;
    t->nfields = nfields;
    t->fields = own;
    if (t->size <= TYPE_SIZE_BYTES_MAX) /* else it is about to be refused */
        product_ops(a, t);
    return t;
}

/* ---- sums ------------------------------------------------------------------------------------ */

static bool variant_is(const Field *v, const char *name, TypeKind kind)
{
    return str_is(v->name, name) && v->type->kind == kind && v->type->ref < 0;
}

/* The kind of a sum by its shape alone (wire.md section 1, "special"). */
static TypeKind sum_shape(uint32_t n, const Field *v)
{
    if (n == 2) {
        if (str_is(v[0].name, "some") && str_is(v[1].name, "none") && is_unit(v[1].type))
            return TYPE_OPTION;
        if (str_is(v[0].name, "ok") && str_is(v[1].name, "err"))
            return TYPE_RESULT;
        if (variant_is(&v[0], "Interval", TYPE_DURATION) && variant_is(&v[1], "Time", TYPE_TIMESTAMP))
            return TYPE_SCHEDULE_AT;
    }
    for (uint32_t i = 0; i < n; i++)
        if (!is_unit(v[i].type))
            return TYPE_SUM;
    return TYPE_ENUM;
}

const Type *type_sum(Arena *a, uint32_t nvariants, const Field *variants)
{
    TypeKind kind = sum_shape(nvariants, variants);
    if (kind == TYPE_OPTION)
        return type_option(a, variants[0].type);
    if (kind == TYPE_SCHEDULE_AT)
        return type_scalar(kind);
    Type *t = type_new(a, kind);
    Field *own = (Field *)fields_copy(a, nvariants, variants);
    uint64_t payload = 0;
    int32_t encoded = nvariants ? own[0].type->bsatn_size : 0;
    t->align = 1;
    for (uint32_t i = 0; i < nvariants; i++) {
        payload = MAX(payload, own[i].type->size);
        t->align = MAX(t->align, own[i].type->align);
        if (own[i].type->bsatn_size != encoded)
            encoded = -1;
        absorb(t, own[i].type);
    }
    t->nfields = nvariants;
    t->fields = own;
    t->bsatn_size = encoded < 0 ? -1 : encoded + 1;
    t->size = 1;
    if (kind != TYPE_ENUM) {
        t->payload_offset = t->align;
        t->size = saturate32(round_up(t->align + payload, t->align));
    }
    for (uint32_t i = 0; i < nvariants; i++)
        own[i].offset = t->payload_offset;
    return t;
}

/* ---- questions ------------------------------------------------------------------------------- */

Status type_check_limits(const Type *t, Error *err)
{
    if (t->depth > TYPE_DEPTH_MAX)
        return FAIL(err, S_TOO_LARGE, "a type is nested more than %d levels deep", TYPE_DEPTH_MAX);
    if (t->size > TYPE_SIZE_BYTES_MAX)
        return FAIL(err, S_TOO_LARGE, "a value of the type takes more than %d bytes", TYPE_SIZE_BYTES_MAX);
    if (t->nodes > TYPE_NODES_MAX)
        return FAIL(err, S_TOO_LARGE, "a type written out in full has more than %d parts", TYPE_NODES_MAX);
    return S_OK;
}

bool type_equal(const Type *x, const Type *y)
{
    if (x == y)
        return true;
    if (x->kind != y->kind || x->nfields != y->nfields || (x->elem && !type_equal(x->elem, y->elem)))
        return false;
    for (uint32_t i = 0; i < x->nfields; i++)
        if (!str_eq(x->fields[i].name, y->fields[i].name) || !type_equal(x->fields[i].type, y->fields[i].type))
            return false;
    return true;
}

bool type_is_key(const Type *t)
{
    switch (t->kind) {
    case TYPE_BOOL:
    case TYPE_STRING:
    case TYPE_BYTES:
    case TYPE_ENUM:
    case TYPE_IDENTITY:
    case TYPE_CONNECTION_ID:
    case TYPE_UUID:
    case TYPE_TIMESTAMP:
    case TYPE_DURATION: return true;
    default: return type_is_integer(t);
    }
}

static const char *const kind_names[] = {"bool",         "i8",        "u8",           "i16",  "u16",       "i32",    "u32",    "i64",
                                         "u64",          "i128",      "u128",         "i256", "u256",      "f32",    "f64",    "String",
                                         "Vec<u8>",      "Vec",       "product",      "sum",  "enum",      "Option", "Result", "Identity",
                                         "ConnectionId", "Timestamp", "TimeDuration", "Uuid", "ScheduleAt"};
_Static_assert(COUNT_OF(kind_names) == TYPE_SCHEDULE_AT + 1, "a name for every kind");

static void name_variants(Buf *out, const Type *t)
{
    buf_put_text(out, "enum { ");
    for (uint32_t i = 0; i < t->nfields; i++) {
        buf_printf(out, "%s%.*s", i ? ", " : "", STR_FMT(t->fields[i].name));
        if (!is_unit(t->fields[i].type)) {
            buf_put_text(out, "(");
            type_name(out, t->fields[i].type);
            buf_put_text(out, ")");
        }
    }
    buf_put_text(out, " }");
}

void type_name(Buf *out, const Type *t)
{
    if (t->name.len) {
        buf_put_str_raw(out, t->name);
        return;
    }
    switch (t->kind) {
    case TYPE_ARRAY:
    case TYPE_OPTION:
        buf_printf(out, "%s<", kind_names[t->kind]);
        type_name(out, t->elem);
        buf_put_text(out, ">");
        break;
    case TYPE_RESULT:
        buf_put_text(out, "Result<");
        type_name(out, t->fields[0].type);
        buf_put_text(out, ", ");
        type_name(out, t->fields[1].type);
        buf_put_text(out, ">");
        break;
    case TYPE_PRODUCT:
        if (t->nfields == 0) {
            buf_put_text(out, "()");
            break;
        }
        for (uint32_t i = 0; i < t->nfields; i++) {
            buf_printf(out, "%s%.*s: ", i ? ", " : "{ ", STR_FMT(t->fields[i].name));
            type_name(out, t->fields[i].type);
        }
        buf_put_text(out, " }");
        break;
    case TYPE_SUM:
    case TYPE_ENUM: name_variants(out, t); break;
    default: buf_put_text(out, kind_names[t->kind]);
    }
}

/* ---- AlgebraicType as BSATN (wire.md section 3) ---------------------------------------------- */

enum { AT_REF, AT_SUM, AT_PRODUCT, AT_ARRAY, AT_STRING };
static const uint8_t scalar_tags[] = {
    [TYPE_BOOL] = 5,  [TYPE_I8] = 6,   [TYPE_U8] = 7,   [TYPE_I16] = 8,           [TYPE_U16] = 9,   [TYPE_I32] = 10,
    [TYPE_U32] = 11,  [TYPE_I64] = 12, [TYPE_U64] = 13, [TYPE_I128] = 14,         [TYPE_U128] = 15, [TYPE_I256] = 16,
    [TYPE_U256] = 17, [TYPE_F32] = 18, [TYPE_F64] = 19, [TYPE_STRING] = AT_STRING};

static void put_element_name(Buf *out, Str name)
{
    buf_put_u8(out, 0); /* some */
    buf_put_str(out, name);
}

static void put_type(Buf *out, const Type *t, bool use_refs, bool top);

static void put_elements(Buf *out, uint8_t tag, uint32_t n, const Field *fields, bool use_refs)
{
    buf_put_u8(out, tag);
    buf_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        put_element_name(out, fields[i].name);
        put_type(out, fields[i].type, use_refs, false);
    }
}

static void put_type(Buf *out, const Type *t, bool use_refs, bool top)
{
    TypeKind scalar;
    const char *special = type_special_field(t->kind, &scalar);
    if (use_refs && !top && t->ref >= 0) {
        buf_put_u8(out, AT_REF);
        buf_put_u32(out, (uint32_t)t->ref);
    } else if (special) {
        put_elements(out, AT_PRODUCT, 1, &(Field){.name = str_of(special), .type = type_scalar(scalar)}, use_refs);
    } else if (t->kind == TYPE_BYTES || t->kind == TYPE_ARRAY) {
        buf_put_u8(out, AT_ARRAY);
        put_type(out, t->kind == TYPE_BYTES ? type_scalar(TYPE_U8) : t->elem, use_refs, false);
    } else if (t->kind == TYPE_OPTION) {
        Field v[] = {{.name = STR("some"), .type = t->elem}, {.name = STR("none"), .type = &type_unit}};
        put_elements(out, AT_SUM, 2, v, use_refs);
    } else if (t->kind == TYPE_SCHEDULE_AT) {
        Field v[] = {{.name = STR("Interval"), .type = type_scalar(TYPE_DURATION)},
                     {.name = STR("Time"), .type = type_scalar(TYPE_TIMESTAMP)}};
        put_elements(out, AT_SUM, 2, v, use_refs);
    } else if (t->kind == TYPE_PRODUCT) {
        put_elements(out, AT_PRODUCT, t->nfields, t->fields, use_refs);
    } else if (t->kind == TYPE_SUM || t->kind == TYPE_ENUM || t->kind == TYPE_RESULT) {
        put_elements(out, AT_SUM, t->nfields, t->fields, use_refs);
    } else {
        buf_put_u8(out, scalar_tags[t->kind]);
    }
}

void type_to_bsatn(Buf *out, const Type *t, bool use_refs) { put_type(out, t, use_refs, true); }
