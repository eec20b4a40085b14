/* claims_fuzz.c - the walk over a token's claims: it ends, stays inside, and gives valid UTF-8 for valid UTF-8. Input: name, NUL, text. */
#include "host/worker/claims.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = memchr(data, 0, size);
    if (!nul)
        return 0;
    Str name = {(const char *)data, (size_t)(nul - data)}, json = {(const char *)nul + 1, size - name.len - 1};
    for (uint32_t i = 0; i < 3; i++) {
        OWN(buf) Buf out = {0};
        if (claim_text(json, name, i, &out)) {
            ASSERT(out.len <= 3 * json.len);
            ASSERT(!utf8_valid(json) || utf8_valid(buf_str(&out)));
        } else {
            ASSERT(out.len == 0);
        }
    }
    return 0;
}
