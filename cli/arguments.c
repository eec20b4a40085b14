/* arguments.c - see arguments.h. */
#include "cli/arguments.h"
#include "cli/cell.h"
#include "host/wire/sats_json.h"

static bool all_hex(Str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!memchr("0123456789abcdefABCDEF", s.ptr[i], 22))
            return false;
    }
    return s.len > 0;
}
static bool is_number(Str s)
{
    size_t i = s.len > 1 && s.ptr[0] == '-';
    for (size_t k = i; k < s.len; k++) {
        if (s.ptr[k] < '0' || s.ptr[k] > '9')
            return false;
    }
    return s.len > i;
}
static Str unquoted(Str s) { return s.len >= 2 && s.ptr[0] == '"' && s.ptr[s.len - 1] == '"' ? (Str){s.ptr + 1, s.len - 2} : s; }

/* The shorthands; false: the word is to be taken as JSON. */
static bool shorthand(Buf *out, Str word, const Type *t, Arena *a)
{
    Error ignored;
    const Js *js;
    Str plain = unquoted(word);
    cli_u128 n;
    switch (t->kind) {
    case TYPE_STRING:
        if (js_parse(&js, word, false, a, &ignored) == S_OK && js->kind == JS_STRING)
            return false;
        json_string(out, word);
        return true;
    case TYPE_IDENTITY: {
        bool prefixed = plain.len > 2 && plain.ptr[0] == '0' && (plain.ptr[1] == 'x' || plain.ptr[1] == 'X');
        Str digits = prefixed ? (Str){plain.ptr + 2, plain.len - 2} : plain;
        if (!all_hex(digits) || (!prefixed && digits.len != 64))
            return false;
        buf_printf(out, "[\"0x%.*s\"]", STR_FMT(digits));
        return true;
    }
    case TYPE_UUID:
        if (!uuid_parse(&n, plain))
            break;
        buf_put_text(out, "[");
        u128_print(out, n);
        buf_put_text(out, "]");
        return true;
    case TYPE_ENUM:
        for (uint32_t i = 0; i < t->nfields; i++) {
            if (!str_eq(t->fields[i].name, plain))
                continue;
            buf_put_text(out, "{");
            json_string(out, plain);
            buf_put_text(out, ":[]}");
            return true;
        }
        return false;
    default: break;
    }
    if ((t->kind == TYPE_TIMESTAMP || t->kind == TYPE_DURATION || t->kind == TYPE_CONNECTION_ID || t->kind == TYPE_UUID) &&
        is_number(word)) {
        buf_printf(out, "[%.*s]", STR_FMT(word));
        return true;
    }
    return false;
}

Status argument_to_json(Buf *out, unsigned position, Str word, const Field *param, Error *err)
{
    OWN(arena) Arena a = {0};
    OWN(buf) Buf json = {0};
    OWN(buf) Buf checked = {0};
    OWN(buf) Buf type = {0};
    type_name(&type, param->type);
    const Js *js;
    Error why = {0};
    Status code = S_OK;
    if (!shorthand(&json, word, param->type, &a)) {
        code = js_parse(&js, word, false, &a, &why);
        buf_put_str_raw(&json, word);
    }
    if (code == S_OK) /* the host would say it too, but not in terms of words */
        code = json_to_bsatn(&checked, buf_str(&json), param->type, &why);
    if (code != S_OK)
        return FAIL(err, S_INVALID, "argument %u, `%.*s: %.*s`: `%.*s` does not fit: %s", position, STR_FMT(param->name),
                    STR_FMT(buf_str(&type)), (int)MIN(word.len, 200), word.ptr, why.text);
    buf_put_bytes(out, buf_bytes(&json));
    return S_OK;
}

Status arguments_to_json(Buf *out, int n, const char *const *words, const Type *params, Error *err)
{
    if ((uint32_t)n != params->nfields)
        return FAIL(err, S_INVALID, "expected %u argument%s, got %d", params->nfields, params->nfields == 1 ? "" : "s", n);
    buf_put_text(out, "[");
    for (int i = 0; i < n; i++) {
        buf_put_text(out, i ? "," : "");
        TRY(argument_to_json(out, (unsigned)i + 1, str_of(words[i]), &params->fields[i], err));
    }
    buf_put_text(out, "]");
    return S_OK;
}
