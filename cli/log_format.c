/* log_format.c - see log_format.h. */
#include "cli/log_format.h"
#include "cli/cell.h"
#include "cli/json_scan.h"

#include <stdio.h>
#include <strings.h>

static const struct {
    const char *name, *shown, *color;
} levels[CLI_LEVELS] = {
    {"trace", "TRACE", "\033[2m"}, {"debug", "DEBUG", "\033[2;1m"}, {"info", " INFO", "\033[34m"},
    {"warn", " WARN", "\033[33m"}, {"error", "ERROR", "\033[31m"},  {"panic", "PANIC", "\033[1;91m"},
};

bool log_level_parse(CliLogLevel *ret, Str name)
{
    for (int i = 0; i < CLI_LEVELS; i++) {
        if (name.len == strlen(levels[i].name) && strncasecmp(name.ptr, levels[i].name, name.len) == 0) {
            *ret = (CliLogLevel)i;
            return true;
        }
    }
    return false;
}

static bool read_record(const Js **ret, CliLogLevel *ret_level, Str line, Arena *a)
{
    Error ignored;
    if (js_parse(ret, line, false, a, &ignored) != S_OK || !js_is(js_get(*ret, "level"), JS_STRING))
        return false;
    if (!log_level_parse(ret_level, js_str(js_get(*ret, "level"))))
        *ret_level = CLI_DEBUG;
    return true;
}

bool log_record_level(CliLogLevel *ret, Str line)
{
    OWN(arena) Arena a = {0};
    const Js *record;
    return read_record(&record, ret, line, &a);
}

/* Absent, and the marker of the host's own records, are not shown. */
static Str shown(const Js *v)
{
    Str s = js_str(v);
    return str_is(s, "__spacetimedb__") ? (Str){"", 0} : s;
}

void log_record_format(Buf *out, Str line, bool color)
{
    OWN(arena) Arena a = {0};
    const Js *r;
    CliLogLevel level;
    if (!read_record(&r, &level, line, &a)) {
        buf_put_str_raw(out, line);
        buf_put_text(out, "\n");
        return;
    }
    const char *dim = color ? "\033[2m" : "", *off = color ? "\033[0m" : "", *paint = color ? levels[level].color : "";
    Str function = shown(js_get(r, "function")), file = shown(js_get(r, "filename"));
    buf_put_text(out, dim);
    timestamp_format(out, js_int(js_get(r, "ts"), 0), "Z");
    buf_printf(out, "%s %s%s%s: ", off, paint, levels[level].shown, off);
    if (function.len)
        buf_printf(out, "%s%.*s%s", dim, STR_FMT(function), off);
    if (file.len) {
        buf_printf(out, "%s%s%.*s", function.len ? " " : "", dim, STR_FMT(file));
        if (js_is(js_get(r, "line_number"), JS_NUMBER))
            buf_printf(out, ":%lld", (long long)js_int(js_get(r, "line_number"), 0));
        buf_put_text(out, off);
    }
    Str message = js_str(js_get(r, "message"));
    buf_printf(out, "%s%.*s\n", function.len || file.len ? ": " : "", STR_FMT(message));
    const Js *trace = js_get(r, "trace");
    for (const Js *f = js_is(trace, JS_ARRAY) ? trace->first : NULL; f; f = f->next) {
        Str module = js_str(js_get(f, "module_name")), name = js_str(js_get(f, "func_name"));
        buf_printf(out, "    in %.*s :: %.*s\n", STR_FMT(module), STR_FMT(name));
    }
}
