#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
/* JSON text and BSATN bytes against many types. First byte: what to do; then the type as BSATN (u16 length in front); then the input.
 * What reads must write, and what was written must read back to the same bytes (but for floats that JSON cannot hold). */
#include "host/wire/sats_json.h"
#include "host/schema/type_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_null(Str s) { return memmem(s.ptr, s.len, "null", 4) != NULL; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    OWN(arena) Arena arena = {0};
    OWN(buf) Buf bsatn = buf_with_max(1 << 20), json = buf_with_max(1 << 20), again = buf_with_max(1 << 20);
    Error err;
    Reader in = reader_of(bytes_of(data, size));
    uint8_t what = read_u8(&in);
    Reader type_in = reader_of(read_bytes(&in, read_u16(&in)));
    const Type *t;
    if (in.bad || type_from_bsatn(&t, &type_in, &arena, &err) != S_OK)
        return 0;
    json_put_type(&json, t, false);
    buf_reset(&json);
    JsonMode mode = what & 2 ? JSON_DECLARED : JSON_UNTYPED;
    if (what & 1) {
        Str text = {(const char *)in.ptr, reader_left(&in)};
        if (json_to_bsatn(&bsatn, text, t, &err) != S_OK)
            return 0;
        Reader back = reader_of(buf_bytes(&bsatn));
        if (json_from_bsatn(&json, &back, t, mode, &err) != S_OK)
            BUG("what was read does not write: %s", err.text);
        return 0;
    }
    if (json_from_bsatn(&json, &in, t, mode, &err) != S_OK || !buf_ok(&json))
        return 0;
    if (json_to_bsatn(&again, buf_str(&json), t, &err) != S_OK) {
        if (!has_null(buf_str(&json)) && err.code == S_INVALID && !strstr(err.text, "recursion") && !strstr(err.text, "duplicate") &&
            !strstr(err.text, "variant"))
            BUG("what was written does not read: %s", err.text);
        return 0;
    }
    return 0;
}
