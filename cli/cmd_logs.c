/* cmd_logs.c - `spacetime logs`. */
#include "cli/http.h"
#include "cli/log_format.h"

#include <stdio.h>

typedef struct Tail {
    Buf line; /* not yet complete */
    bool json, color, filter, exact;
    CliLogLevel level;
} Tail;

static bool wanted(const Tail *t, Str line)
{
    CliLogLevel level;
    if (!t->filter)
        return true;
    return log_record_level(&level, line) && (t->exact ? level == t->level : level >= t->level);
}

static void show(const Tail *t, Str line, Buf *out)
{
    if (line.len == 0 || !wanted(t, line))
        return;
    if (!t->json) {
        log_record_format(out, line, t->color);
        return;
    }
    buf_put_str_raw(out, line);
    buf_put_text(out, "\n");
}

static bool on_piece(void *arg, Bytes piece)
{
    Tail *t = arg;
    OWN(buf) Buf out = {0};
    for (size_t i = 0; i < piece.len;) {
        const uint8_t *newline = memchr(piece.ptr + i, '\n', piece.len - i);
        size_t n = newline ? (size_t)(newline - piece.ptr) - i : piece.len - i;
        buf_put(&t->line, piece.ptr + i, n);
        i += n;
        if (!newline)
            break;
        i++;
        show(t, buf_str(&t->line), &out);
        buf_reset(&t->line);
    }
    cli_out(buf_str(&out));
    return true;
}

int cmd_logs(Cli *c, const Args *a)
{
    const char *lines = arg_value(a, "num-lines"), *format = arg_value(a, "format"), *level = arg_value(a, "level");
    bool follow = arg_given(a, "follow");
    Tail t = {.line = buf_with_max(64 << 20), .exact = arg_given(a, "level-exact"), .filter = level != NULL, .color = c->color_out};
    t.json = format && strcmp(format, "json") == 0;
    if (format && !t.json && strcmp(format, "text") != 0 && strcmp(format, "txt") != 0 && strcmp(format, "default") != 0)
        cli_usage(a, "invalid value '%s' for '--format <text|json>'\n  [possible values: text, json]", format);
    if (level && !log_level_parse(&t.level, str_of(level)))
        cli_usage(a, "invalid value '%s' for '--level <LEVEL>'\n  [possible values: trace, debug, info, warn, error, panic]", level);
    if (t.exact && !level)
        cli_usage(a, "the following required arguments were not provided:\n  --level <LEVEL>");
    if (lines && (lines[0] == 0 || lines[strspn(lines, "0123456789")] != 0 || strlen(lines) > 9))
        cli_usage(a, "invalid value '%s' for '--num-lines <N>': expected a number", lines);
    Target target = target_optional(c, a);
    const char *token = target_token(c, a, &target);
    target_identity(c, &target);
    if (follow && !lines)
        lines = "10";
    HttpRequest r = {
        .url = cli_text(c, "%s/v1/database/%s/logs?%s%s%sfollow=%s", target.url, target.identity, lines ? "num_lines=" : "",
                        lines ? lines : "", lines ? "&" : "", follow ? "true" : "false"),
        .token = token,
        .sink = on_piece,
        .sink_arg = &t,
    };
    HttpResponse answer = http_send(c, &r);
    http_expect_ok(c, &r, &answer);
    OWN(buf) Buf rest = {0};
    show(&t, buf_str(&t.line), &rest); /* a last line without its newline */
    cli_out(buf_str(&rest));
    buf_done(&t.line);
    return 0;
}
