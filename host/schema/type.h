/* type.h - the types of a module, resolved: one tree serves as algebraic type, as native layout
 * and as the key to every codec (BSATN, SATS-JSON, PostgreSQL).
 *
 * Shape:   immutable trees in the arena of their ModuleDef; a named type appears once and is shared.
 *          No cycles: a recursive type is refused when the definition is read.
 * Layout:  the author's C struct, as sdk/spacetimedb.h lays it out (x86-64 and aarch64): natural
 *          alignment; strings, byte arrays and arrays are {pointer, length}; see the table below.
 * Source:  spec wire.md sections 1 and 3; c-sdk-anchors.md section 4.2. */
#ifndef HOST_SCHEMA_TYPE_H
#define HOST_SCHEMA_TYPE_H

#include "host/base/base.h"

typedef enum TypeKind {            /* native C type                      bytes  BSATN                    */
                        TYPE_BOOL, /* bool, 0 or 1                           1  1                        */
                        TYPE_I8,
                        TYPE_U8, /*                                        1  1                        */
                        TYPE_I16,
                        TYPE_U16, /*                                        2  2                        */
                        TYPE_I32,
                        TYPE_U32, /*                                        4  4                        */
                        TYPE_I64,
                        TYPE_U64, /*                                        8  8                        */
                        TYPE_I128,
                        TYPE_U128, /* __int128, aligned 16                  16  16                       */
                        TYPE_I256,
                        TYPE_U256, /* uint64_t[4], low word first, align 8  32  32                       */
                        TYPE_F32,
                        TYPE_F64,           /* float, double                        4/8  IEEE bits                */
                        TYPE_STRING,        /* {const char *ptr; size_t len}         16  u32 length + UTF-8       */
                        TYPE_BYTES,         /* Array<U8>: {const uint8_t *, size_t}  16  u32 length + bytes       */
                        TYPE_ARRAY,         /* {const T *ptr; size_t len}            16  u32 count + elements     */
                        TYPE_PRODUCT,       /* struct; no fields: one byte, zero   calc  fields in order          */
                        TYPE_SUM,           /* {uint8_t tag; union u}              calc  u8 tag + payload         */
                        TYPE_ENUM,          /* sum without payloads: uint8_t          1  u8 tag                   */
                        TYPE_OPTION,        /* {bool some; T v}                    calc  0 + T | 1                */
                        TYPE_RESULT,        /* {uint8_t tag; union {T ok; E err}}  calc  0 + T | 1 + E            */
                        TYPE_IDENTITY,      /* uint8_t[32], least significant first  32  the same 32 bytes        */
                        TYPE_CONNECTION_ID, /* uint8_t[16], least significant first  16  the same 16 bytes        */
                        TYPE_TIMESTAMP,     /* int64_t microseconds since the epoch   8  i64                      */
                        TYPE_DURATION,      /* int64_t microseconds                   8  i64                      */
                        TYPE_UUID,          /* uint8_t[16] in RFC 4122 order         16  the 16 bytes reversed    */
                        TYPE_SCHEDULE_AT,   /* {uint8_t tag; int64_t us}; tag as BSATN: 0 interval, 1 time  16  u8 + i64 */
} TypeKind;

typedef struct Type Type;
typedef struct Field {
    Str name;         /* field or variant name; never empty */
    const Type *type; /* a variant without payload has a unit product */
    uint32_t offset;  /* PRODUCT: of the field in the struct; SUM, RESULT: of the union */
} Field;

/* One step of walking a product: neighbouring plain fields, also those of small nested products, are
 * merged into one run whose native bytes are its BSATN bytes. Built by type_product. */
typedef enum TypeOpKind {
    OP_COPY,   /* `len` bytes, the same in both forms, every bit pattern valid, no padding */
    OP_BOOL,   /* one byte, 0 or 1 */
    OP_STRING, /* {ptr, len} */
    OP_BYTES,  /* {ptr, len} */
    OP_VALUE,  /* anything else: by `type` */
} TypeOpKind;
typedef struct TypeOp {
    TypeOpKind kind;
    uint32_t offset;  /* in the product */
    uint32_t len;     /* OP_COPY */
    const Type *type; /* of the field (of the first one for a merged run) */
} TypeOp;

struct Type {
    TypeKind kind;
    uint32_t size, align;    /* native layout in bytes */
    int32_t bsatn_size;      /* encoded length when every value has the same one, else -1 */
    bool has_pointers;       /* a string, byte array or array inside */
    int32_t ref;             /* slot in the typespace when this is a named type, else -1 */
    Str name;                /* the named type's name, else empty */
    const Type *elem;        /* ARRAY: element; OPTION: payload */
    uint32_t payload_offset; /* OPTION: of v; SUM, RESULT: of the union; SCHEDULE_AT: of us */
    uint32_t nfields;        /* PRODUCT: fields; SUM, ENUM, RESULT: variants */
    const Field *fields;
    bool flat;      /* native bytes are the BSATN bytes, any pattern is valid: memcpy and memcmp do */
    uint16_t depth; /* levels of nesting, 1 for a scalar (saturating) */
    uint32_t nodes; /* size of the tree written out in full (saturating) */
    uint32_t nops;  /* PRODUCT: how the codecs walk it */
    const TypeOp *ops;
};

/* Limits of a type read from outside (each refusal names the limit). */
enum { TYPE_DEPTH_MAX = 64, TYPE_VARIANTS_MAX = 256, TYPE_FIELDS_MAX = 4096, TYPE_SIZE_BYTES_MAX = 1 << 20, TYPE_NODES_MAX = 1 << 16 };

/* Makers. All allocate in `a`, copy names, compute layout and bsatn_size. A maker recognises special
 * shapes by itself: a one-field product `__identity__: U256` becomes TYPE_IDENTITY, a sum
 * some/none TYPE_OPTION, ok/err TYPE_RESULT, Interval/Time TYPE_SCHEDULE_AT, all-unit variants
 * TYPE_ENUM, an array of U8 TYPE_BYTES. */
const Type *type_scalar(TypeKind kind); /* static: scalars, strings and the special products */
const Type *type_array(Arena *a, const Type *elem);
const Type *type_option(Arena *a, const Type *payload);
const Type *type_product(Arena *a, uint32_t nfields, const Field *fields); /* offsets are computed */
const Type *type_sum(Arena *a, uint32_t nvariants, const Field *variants);
extern const Type type_unit; /* the product without fields */

/* Same structure and names (refs followed)? */
bool type_equal(const Type *x, const Type *y);
/* A name for messages in Rust-like spelling: "u64", "String", "Option<Vec<i32>>", "{ x: f64 }", "Color". */
void type_name(Buf *out, const Type *t);
static inline bool type_is_integer(const Type *t) { return t->kind >= TYPE_I8 && t->kind <= TYPE_U256; }
static inline bool type_is_signed(const Type *t)
{
    return t->kind == TYPE_I8 || t->kind == TYPE_I16 || t->kind == TYPE_I32 || t->kind == TYPE_I64 || t->kind == TYPE_I128 ||
           t->kind == TYPE_I256;
}
/* May a column of this type be a primary key, unique or indexed? (Integers, bool, string, bytes,
 * identity, connection id, uuid, plain enum, timestamp, duration; no floats, products or arrays.) */
bool type_is_key(const Type *t);

/* Does the type keep within the limits above? On failure S_TOO_LARGE, naming limit and number. Makers do
 * not check: whoever reads a type from outside asks here after every level. */
MUST_CHECK Status type_check_limits(const Type *t, Error *err);
/* "__identity__" and the like: the field name of a special product (IDENTITY, CONNECTION_ID, TIMESTAMP,
 * DURATION, UUID) and its scalar; NULL for other kinds. */
const char *type_special_field(TypeKind kind, TypeKind *ret_scalar);

/* AlgebraicType as BSATN (wire.md section 3). When `use_refs`, a type with ref >= 0 below the top is
 * written as Ref(ref); else everything is written out in full. */
void type_to_bsatn(Buf *out, const Type *t, bool use_refs);

#endif
