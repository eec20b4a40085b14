/* Bytes as a value: the first byte picks a type. Decoding and skipping agree, what is decoded checks, copies
 * and encodes to the bytes that were read. */
#include "host/schema/value.h"

static Arena types_arena;
static const Type *types[40];
static uint32_t ntypes;

static Field field(const char *name, const Type *t) { return (Field){.name = str_of(name), .type = t}; }

static void make_types(void)
{
    Arena *a = &types_arena;
    Field point[] = {field("x", type_scalar(TYPE_I32)), field("on", type_scalar(TYPE_BOOL)), field("name", type_scalar(TYPE_STRING))};
    const Type *p = type_product(a, 3, point);
    Field kinds[] = {field("A", &type_unit), field("B", &type_unit), field("C", &type_unit)};
    const Type *kind = type_sum(a, 3, kinds);
    Field shapes[] = {field("Empty", &type_unit), field("Point", p), field("Many", type_array(a, p)), field("Id", type_scalar(TYPE_UUID))};
    const Type *shape = type_sum(a, 4, shapes);
    Field results[] = {field("ok", shape), field("err", type_scalar(TYPE_STRING))};
    const Type *base[] = {p,
                          kind,
                          shape,
                          type_sum(a, 2, results),
                          &type_unit,
                          type_scalar(TYPE_BYTES),
                          type_scalar(TYPE_STRING),
                          type_scalar(TYPE_BOOL),
                          type_scalar(TYPE_SCHEDULE_AT),
                          type_scalar(TYPE_U256),
                          type_scalar(TYPE_UUID)};
    for (size_t i = 0; i < COUNT_OF(base); i++) {
        types[ntypes++] = base[i];
        types[ntypes++] = type_array(a, base[i]);
        types[ntypes++] = type_option(a, type_array(a, type_option(a, base[i])));
    }
    Field row[] = {field("id", type_scalar(TYPE_U64)), field("p", p), field("k", kind), field("s", type_option(a, shape)),
                   field("u", &type_unit)};
    const Type *table_row = type_product(a, 5, row);
    types[ntypes++] = table_row;
    types[ntypes++] = type_array(a, table_row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (ntypes == 0)
        make_types();
    if (size == 0)
        return 0;
    const Type *t = types[data[0] % ntypes];
    Arena a = {0};
    Error decode_err, skip_err, err;
    Reader in = reader_of(bytes_of(data + 1, size - 1)), skipped = in;
    uint8_t *v = arena_alloc(&a, t->size), *copy = arena_alloc(&a, t->size);
    Status decoded = value_decode(&in, t, v, &a, &decode_err);
    ASSERT(bsatn_skip(&skipped, t, &skip_err) == decoded);
    if (decoded != S_OK) {
        ASSERT(strcmp(decode_err.text, skip_err.text) == 0);
    } else {
        Buf out = {0};
        ASSERT(in.ptr == skipped.ptr && value_check(t, v, &err) == S_OK);
        value_encode(&out, t, v);
        ASSERT(bytes_eq(buf_bytes(&out), bytes_of(data + 1, (size_t)(in.ptr - data - 1))) && value_encoded_size(t, v) == out.len);
        uint8_t *heap = arena_alloc(&a, value_heap_size(t, v)), *end = heap;
        value_copy(t, copy, v, &end);
        ASSERT((size_t)(end - heap) == value_heap_size(t, v) && value_equal(t, v, copy) && value_compare(t, v, copy) == 0);
        ASSERT(value_hash(t, v, 1) == value_hash(t, copy, 1));
        buf_done(&out);
    }
    arena_done(&a);
    return 0;
}
