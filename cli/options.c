/* options.c - reading a command line against its option table, and the help made from the same table. */
#include "cli/cli.h"

#include <stdio.h>

static int option_find(const Command *c, Str name)
{
    for (size_t i = 0; i < c->noptions; i++) {
        if (str_is(name, c->options[i].name))
            return (int)i;
    }
    return -1;
}

static int option_find_letter(const Command *c, char letter)
{
    for (size_t i = 0; i < c->noptions; i++) {
        if (c->options[i].letter == letter)
            return (int)i;
    }
    return -1;
}

static Status unknown_option(const Command *c, const char *given, Error *err)
{
    const char *names[CLI_OPTIONS_MAX];
    for (size_t i = 0; i < c->noptions; i++)
        names[i] = c->options[i].name;
    const char *tip = strncmp(given, "--", 2) == 0 ? suggest(given + 2, names, c->noptions) : NULL;
    if (tip)
        return FAIL(err, S_INVALID, "unexpected argument '%s' found\n\n  tip: a similar argument exists: '--%s'", given, tip);
    if (given[1] >= '0' && given[1] <= '9')
        return FAIL(err, S_INVALID, "unexpected argument '%s' found\n\n  tip: to pass '%s' as a value, use '-- %s'", given, given, given);
    return FAIL(err, S_INVALID, "unexpected argument '%s' found", given);
}

static void take(Args *r, int i, const char *value, Arena *a)
{
    const Option *o = &r->command->options[i];
    if (o->optional && r->given[i] && value && r->value[i])
        r->value[i] = arena_sprintf(a, "%s,%s", r->value[i], value);
    else if (!(o->optional && r->given[i] && !r->value[i])) /* a bare --yes says more than any --yes=x after it */
        r->value[i] = value;
    if (o->optional && !value)
        r->value[i] = NULL;
    r->given[i] = true;
}

Status args_read(Args *ret, const Command *command, const char *path, int argc, char **argv, Arena *a, Error *err)
{
    ASSERT(command->noptions <= CLI_OPTIONS_MAX);
    Args r = {.command = command, .path = path, .v = ARENA_ARRAY(a, const char *, argc + 1)};
    bool options_end = command->raw;
    for (int k = 0; k < argc; k++) {
        const char *arg = argv[k];
        if (options_end || arg[0] != '-' || arg[1] == 0) {
            r.v[r.n++] = arg;
        } else if (strcmp(arg, "--") == 0) {
            options_end = true;
        } else if (arg[1] == '-') {
            const char *eq = strchr(arg, '=');
            int i = option_find(command, (Str){arg + 2, eq ? (size_t)(eq - arg - 2) : strlen(arg + 2)});
            if (i < 0)
                return unknown_option(command, arg, err);
            const Option *o = &command->options[i];
            if (!o->value && eq)
                return FAIL(err, S_INVALID, "option '--%s' takes no value, but '%s' was given", o->name, eq + 1);
            const char *value = eq ? eq + 1 : NULL;
            if (o->value && !o->optional && !eq) {
                if (k + 1 == argc)
                    return FAIL(err, S_INVALID, "a value is required for '--%s <%s>' but none was supplied", o->name, o->value);
                value = argv[++k];
            }
            take(&r, i, value, a);
        } else {
            for (const char *p = arg + 1; *p; p++) {
                int i = option_find_letter(command, *p);
                if (i < 0)
                    return unknown_option(command, arg, err);
                const Option *o = &command->options[i];
                if (!o->value) {
                    take(&r, i, NULL, a);
                    continue;
                }
                const char *value = p[1] == '=' ? p + 2 : p[1] && !o->optional ? p + 1 : NULL;
                if (!value && !o->optional) {
                    if (k + 1 == argc)
                        return FAIL(err, S_INVALID, "a value is required for '-%c <%s>' but none was supplied", o->letter, o->value);
                    value = argv[++k];
                }
                take(&r, i, value, a);
                if (value || !p[1])
                    break;
            }
        }
    }
    *ret = r;
    return S_OK;
}

static int index_of(const Args *a, const char *name)
{
    int i = option_find(a->command, str_of(name));
    if (i < 0)
        BUG("command %s has no option --%s", a->command->name, name);
    return i;
}
bool arg_given(const Args *a, const char *name) { return a->given[index_of(a, name)]; }
const char *arg_value(const Args *a, const char *name) { return a->value[index_of(a, name)]; }

bool arg_yes(const Args *a, const char *what)
{
    int i = index_of(a, "yes");
    if (!a->given[i] || !a->value[i])
        return a->given[i];
    for (const char *p = a->value[i]; *p;) {
        size_t n = strcspn(p, ",");
        Str word = {p, n};
        if (str_is(word, "all") || str_is(word, what))
            return true;
        p += n + (p[n] == ',');
    }
    return false;
}

/* ---- help ---- */

void help_overview(Buf *out)
{
    static const char *const groups[] = {"Develop", "Operate", "Account"};
    buf_printf(out,
               "spacetime %s - databases made of tables and C functions, kept in PostgreSQL\n\n"
               "Usage: spacetime [--root-dir DIR] [--config-path FILE] COMMAND ...\n",
               SPACETIME_VERSION);
    for (size_t g = 0; g < COUNT_OF(groups); g++) {
        buf_printf(out, "\n%s:\n", groups[g]);
        for (size_t i = 0; i < cli_ncommands; i++) {
            if (cli_commands[i].group && strcmp(cli_commands[i].group, groups[g]) == 0)
                buf_printf(out, "  %-10s  %s\n", cli_commands[i].name, cli_commands[i].summary);
        }
    }
    buf_put_text(out, "\n`spacetime help COMMAND` tells more. The first steps:\n\n"
                      "  spacetime start                         in one terminal: the host\n"
                      "  spacetime init hello && cd hello        in another: a module\n"
                      "  spacetime publish hello\n"
                      "  spacetime call hello add Ada\n"
                      "  spacetime sql hello 'SELECT * FROM person'\n");
}

void help_command(Buf *out, const Command *c, const char *path, bool full)
{
    buf_printf(out, "%s\n\nUsage: spacetime %s%s%s%s\n", c->summary, path, c->noptions ? " [OPTIONS]" : "", c->args[0] ? " " : "", c->args);
    if (c->nsubs) {
        buf_put_text(out, "\nCommands:\n");
        for (size_t i = 0; i < c->nsubs; i++)
            buf_printf(out, "  %-12s  %s\n", c->subs[i].name, c->subs[i].summary);
    }
    if (c->noptions)
        buf_put_text(out, "\nOptions:\n");
    for (size_t i = 0; i < c->noptions; i++) {
        const Option *o = &c->options[i];
        char left[128];
        snprintf(left, sizeof left, "%s%c%s--%s%s%s%s%s", o->letter ? "-" : " ", o->letter ? o->letter : ' ', o->letter ? ", " : "  ",
                 o->name,
                 !o->value     ? ""
                 : o->optional ? "[="
                               : " ",
                 o->value ? o->value : "", o->optional ? "]" : "", "");
        if (strlen(left) > 30)
            buf_printf(out, "  %s\n  %-30s  %s\n", left, "", o->help);
        else
            buf_printf(out, "  %-30s  %s\n", left, o->help);
    }
    if (full && c->details)
        buf_printf(out, "\n%s", c->details);
}
