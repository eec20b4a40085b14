/* cli_toml_fuzz.c - any bytes as cli.toml: what parses is written back byte for byte, and stays readable after every kind of edit. */
#include "cli/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_parse(const Toml *t, Arena *a)
{
    Buf out = {0};
    Toml again;
    Error err;
    toml_write(&out, t);
    if (toml_parse(&again, buf_str(&out), a, &err) != S_OK)
        BUG("what was written does not read: %s\n%.*s", err.text, STR_FMT(buf_str(&out)));
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena a = {0};
    Error err;
    Toml t;
    Buf out = {0};
    Str text = {(const char *)data, size};
    if (toml_parse(&t, text, &a, &err) != S_OK) {
        ASSERT(err.text[0] && utf8_valid(str_of(err.text)));
        arena_done(&a);
        return 0;
    }
    toml_write(&out, &t);
    ASSERT(bytes_eq(buf_bytes(&out), bytes_of(data, size)));
    buf_done(&out);
    /* a value made of the input itself: quotes, newlines and backslashes must survive */
    Str value = utf8_valid(text) ? text : STR("x\"\\\n");
    toml_set(&t, TOML_TOP, "default_server", value);
    const TomlLine *line = toml_find(&t, TOML_TOP, "default_server");
    ASSERT(line && line->is_string && str_eq(line->value, value));
    must_parse(&t, &a);
    size_t section = toml_next_section(&t, "server_configs", TOML_TOP);
    if (section == TOML_TOP)
        section = toml_add_section(&t, "server_configs");
    toml_set(&t, section, "nickname", STR("n"));
    must_parse(&t, &a);
    toml_unset(&t, section, "nickname");
    ASSERT(!toml_find(&t, section, "nickname"));
    toml_remove_section(&t, section);
    must_parse(&t, &a);
    arena_done(&a);
    return 0;
}
