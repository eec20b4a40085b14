/* pgtype_fuzz.c - bytes as what PostgreSQL sends for a column, and the text of jsonb columns. First byte: what to do; then the type as
 * BSATN (u16 length in front); then the input. Whatever is accepted must be a value of the type, and survive the way back. */
#include "host/schema/value.h"
#include "host/storage/storage_int.h"
#include "host/schema/type_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void is_value(const Buf *bsatn, const Type *t, const char *from)
{
    Reader r = reader_of(buf_bytes(bsatn));
    Error err;
    if (bsatn_skip(&r, t, &err) != S_OK)
        BUG("%s gave no value: %s", from, err.text);
    if (r.ptr != r.end)
        BUG("%s gave a value and %zu bytes more", from, reader_left(&r));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    OWN(arena) Arena arena = {0};
    OWN(buf) Buf bsatn = buf_with_max(1 << 20), pg = buf_with_max(1 << 20), again = buf_with_max(1 << 20);
    Error err;
    Reader in = reader_of(bytes_of(data, size));
    uint8_t what = read_u8(&in);
    Reader type_in = reader_of(read_bytes(&in, read_u16(&in)));
    const Type *t;
    if (in.bad || type_from_bsatn(&t, &type_in, &arena, &err) != S_OK)
        return 0;
    Bytes rest = bytes_of(in.ptr, reader_left(&in));
    if (what & 1) { /* the text of a jsonb column */
        if (pgjson_get(&bsatn, t, (Str){(const char *)rest.ptr, rest.len}, &err) != S_OK || !buf_ok(&bsatn))
            return 0;
        is_value(&bsatn, t, "jsonb");
        Reader value = reader_of(buf_bytes(&bsatn));
        pgjson_put(&pg, t, &value);
        if (!buf_ok(&pg))
            return 0;
        if (pgjson_get(&again, t, buf_str(&pg), &err) != S_OK)
            BUG("what was written does not read: %s\n%.*s", err.text, STR_FMT(buf_str(&pg)));
        ASSERT(bytes_eq(buf_bytes(&bsatn), buf_bytes(&again)));
        return 0;
    }
    const PgType *p = pgtype_of(&arena, t);
    if (what & 2) { /* a value of ours: there and back */
        Reader value = in, skipped = in;
        if (bsatn_skip(&skipped, t, &err) != S_OK)
            return 0;
        Bytes mine = bytes_of(in.ptr, (size_t)(skipped.ptr - in.ptr));
        if (pgtype_storable(t, &value, &err) != S_OK)
            return 0;
        value = in;
        pgtype_encode(&pg, p, &value);
        if (!buf_ok(&pg))
            return 0;
        Reader back = reader_of(buf_bytes(&pg));
        int32_t len = (int32_t)__builtin_bswap32(read_u32(&back));
        ASSERT(len == -1 ? reader_left(&back) == 0 : (size_t)len == reader_left(&back));
        if (pgtype_decode(&again, p, back.ptr, len, &err) != S_OK)
            BUG("what was encoded does not decode: %s", err.text);
        ASSERT(bytes_eq(mine, buf_bytes(&again)));
        value = in;
        buf_reset(&pg);
        pgtype_literal(&pg, p, &value);
        return 0;
    }
    /* what a damaged or foreign server might send */
    if (pgtype_decode(&bsatn, p, rest.ptr, what & 4 ? -1 : (int32_t)rest.len, &err) == S_OK && buf_ok(&bsatn))
        is_value(&bsatn, t, "a column");
    return 0;
}
