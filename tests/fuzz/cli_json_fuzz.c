/* cli_json_fuzz.c - answers of a server and project files (first byte odd: JSON5). What is read must print, and read back to the same text. */
#include "cli/json_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    Arena a = {0};
    Error err;
    const Js *js, *again;
    Buf once = {0}, twice = {0};
    bool json5 = data[0] & 1;
    if (js_parse(&js, (Str){(const char *)data + 1, size - 1}, json5, &a, &err) != S_OK) {
        ASSERT(err.text[0] && utf8_valid(str_of(err.text)));
    } else {
        js_get(js, "a");
        js_at(js, 3);
        js_int(js, 0);
        js_option(js);
        js_pretty(&once, js, 0);
        buf_reset(&once);
        js_compact(&once, js);
        if (js_parse(&again, buf_str(&once), json5, &a, &err) != S_OK)
            BUG("what was written does not read: %s\n%.*s", err.text, STR_FMT(buf_str(&once)));
        js_compact(&twice, again);
        ASSERT(bytes_eq(buf_bytes(&once), buf_bytes(&twice)));
    }
    buf_done(&once);
    buf_done(&twice);
    arena_done(&a);
    return 0;
}
