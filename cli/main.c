/* main.c - `spacetime`: the commands, their options, and how a command ends. */
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define OPT_SERVER                                                                                                                         \
    {                                                                                                                                      \
        "server", 's', "SERVER", false, "nickname, host name or URL of the server"                                                         \
    }
#define OPT_YES                                                                                                                            \
    {                                                                                                                                      \
        "yes", 'y', NULL, false, "answer yes to every question"                                                                            \
    }
#define OPT_NO_CONFIG                                                                                                                      \
    {                                                                                                                                      \
        "no-config", 0, NULL, false, "ignore spacetime.json"                                                                               \
    }
#define OPT_ANONYMOUS                                                                                                                      \
    {                                                                                                                                      \
        "anonymous", 0, NULL, false, "send no token"                                                                                       \
    }
#define OPT_CONFIRMED                                                                                                                      \
    {                                                                                                                                      \
        "confirmed", 0, "true|false", false, "wait until PostgreSQL has stored it (default: true)"                                         \
    }
#define OPT_MODULE_PATH                                                                                                                    \
    {                                                                                                                                      \
        "module-path", 'p', "DIR", false, "where the module's .c files are (default: ./spacetimedb, else .)"                               \
    }

static const Option init_options[] = {
    {"lang", 0, "LANG", false, "c (the only language of this edition)"},
    {"project-path", 0, "DIR", false, "where to make the project (default: ./NAME)"},
    {"local", 0, NULL, false, "accepted for compatibility: projects are local"},
    {"non-interactive", 0, NULL, false, "accepted for compatibility: init asks nothing"},
};
static const Option build_options[] = {
    OPT_MODULE_PATH,
    {"debug", 'd', NULL, false, "for a debugger: no optimisation, full symbols"},
};
static const Option publish_options[] = {
    OPT_MODULE_PATH,
    {"bin-path", 'b', "FILE", false, "publish this .so instead of building one"},
    {"js-path", 'j', "FILE", false, "not supported by this edition"},
    {"delete-data", 'c', "always|on-conflict|never", true, "delete the database's data (bare: always)"},
    {"clear-database", 0, "always|on-conflict|never", true, "old name of --delete-data"},
    {"break-clients", 0, NULL, false, "allow changes that disconnect clients, without asking"},
    {"build-options", 0, "OPTIONS", false, "options for the build, such as --debug"},
    {"dry-run", 0, NULL, false, "do everything but COMMIT, show it, and stop"},
    {"sql", 0, NULL, false, "show the plan's SQL too"},
    {"json", 0, NULL, false, "for programs: one JSON object on stdout, no questions"},
    {"yes", 'y', "all,remote,migrate,break-clients,skip-login,delete-data", true, "answer yes to these questions (bare: all)"},
    OPT_SERVER,
    OPT_ANONYMOUS,
    OPT_NO_CONFIG,
};
static const Option call_options[] = {OPT_SERVER, OPT_ANONYMOUS, OPT_YES, OPT_NO_CONFIG};
static const Option sql_options[] = {
    {"interactive", 0, NULL, false, "a prompt: statements line by line"},
    {"format", 0, "text|json", false, "how to print the answer (default: text)"},
    OPT_CONFIRMED,
    OPT_SERVER,
    OPT_ANONYMOUS,
    OPT_YES,
    OPT_NO_CONFIG,
};
static const Option logs_options[] = {
    {"follow", 'f', NULL, false, "go on with new lines as they come"},
    {"num-lines", 'n', "N", false, "only the last N lines"},
    {"format", 0, "text|json", false, "how to print (default: text)"},
    {"level", 'l', "LEVEL", false, "trace, debug, info, warn, error or panic, and what is more severe"},
    {"level-exact", 0, NULL, false, "that level only"},
    OPT_SERVER,
    OPT_YES,
    OPT_NO_CONFIG,
};
static const Option list_options[] = {OPT_SERVER, OPT_YES};
static const Option describe_options[] = {
    {"json", 0, NULL, false, "the definition as JSON"}, OPT_SERVER, OPT_ANONYMOUS, OPT_YES, OPT_NO_CONFIG,
};
static const Option delete_options[] = {OPT_SERVER, OPT_YES, OPT_NO_CONFIG};
static const Option rename_options[] = {{"to", 0, "NAME", false, "the new name"}, OPT_SERVER, OPT_YES};
static const Option subscribe_options[] = {
    {"num-updates", 'n', "N", false, "end after N updates"},
    {"timeout", 't', "SECONDS", false, "end after this time"},
    {"print-initial-update", 0, NULL, false, "print the rows that are there at the start"},
    OPT_CONFIRMED,
    OPT_SERVER,
    OPT_ANONYMOUS,
    OPT_YES,
    OPT_NO_CONFIG,
};
static const Option login_options[] = {
    {"server-issued-login", 0, "SERVER", false, "a new identity from this server"},
    {"token", 0, "TOKEN", true, "keep this token (`-`: read it from stdin); with show: print it"},
    {"auth-host", 0, "URL", false, "not supported by this edition"},
    {"no-browser", 0, NULL, false, "accepted for compatibility"},
    OPT_SERVER,
};
static const Option logout_options[] = {{"auth-host", 0, "URL", false, "accepted for compatibility"}};
static const Option add_options[] = {
    {"url", 0, "URL", false, "as in http://127.0.0.1:3000"},
    {"default", 'd', NULL, false, "make it the default server"},
    {"no-fingerprint", 0, NULL, false, "do not ask the server for its key"},
};
static const Option edit_options[] = {
    {"new-name", 0, "NAME", false, "another nickname"},
    {"url", 0, "URL", false, "another address"},
    {"no-fingerprint", 0, NULL, false, "do not ask the server for its key"},
    OPT_YES,
};
static const Option fingerprint_options[] = {OPT_YES};
static const Option status_options[] = {{"json", 0, NULL, false, "as the server sends it"}, OPT_SERVER};

static const Option history_options[] = {
    {"num-lines", 'n', "N", false, "only the last N publishes"},
    {"plan", 0, NULL, false, "with each its plan"},
    {"sql", 0, NULL, false, "with each its SQL"},
    {"json", 0, NULL, false, "as the server sends it"},
    OPT_SERVER,
    OPT_YES,
    OPT_NO_CONFIG,
};

static const Command migrate_commands[] = {
    {.name = "history",
     .args = "[DATABASE]",
     .summary = "Who published what, when, and how",
     .options = history_options,
     .noptions = COUNT_OF(history_options),
     .run = cmd_migrate_history},
};

static const Command server_commands[] = {
    {.name = "list", .args = "", .summary = "The servers that are known", .run = cmd_server_list},
    {.name = "add",
     .args = "NAME --url URL",
     .summary = "Keep a server under a nickname",
     .options = add_options,
     .noptions = COUNT_OF(add_options),
     .run = cmd_server_add},
    {.name = "remove", .args = "SERVER", .summary = "Forget a server", .run = cmd_server_remove},
    {.name = "set-default", .args = "SERVER", .summary = "Use this server when a command names none", .run = cmd_server_set_default},
    {.name = "edit",
     .args = "SERVER",
     .summary = "Change a server's nickname or address",
     .options = edit_options,
     .noptions = COUNT_OF(edit_options),
     .run = cmd_server_edit},
    {.name = "ping", .args = "[SERVER]", .summary = "Does it answer?", .run = cmd_server_ping},
    {.name = "fingerprint",
     .args = "SERVER",
     .summary = "Compare and keep the server's public key",
     .options = fingerprint_options,
     .noptions = COUNT_OF(fingerprint_options),
     .run = cmd_server_fingerprint},
    {.name = "status",
     .args = "[SERVER]",
     .summary = "Its databases, and how far each one is stored",
     .options = status_options,
     .noptions = COUNT_OF(status_options),
     .run = cmd_server_status},
};

const Command cli_commands[] = {
    {.name = "init",
     .args = "NAME",
     .group = "Develop",
     .summary = "Make a new project with a module in C",
     .options = init_options,
     .noptions = COUNT_OF(init_options),
     .details = "Examples:\n  spacetime init hello\n  spacetime init --lang c --project-path /tmp/x hello\n",
     .run = cmd_init},
    {.name = "build",
     .args = "",
     .group = "Develop",
     .summary = "Compile a module",
     .options = build_options,
     .noptions = COUNT_OF(build_options),
     .details = "Compiles every .c file of the module's directory with $CC, gcc or clang into build/NAME.so beside them.\n"
                "SPACETIME_SDK names the directory of spacetimedb.h when it is not found.\n",
     .run = cmd_build},
    {.name = "publish",
     .args = "[NAME|IDENTITY]",
     .group = "Develop",
     .summary = "Build a module and make or update its database",
     .options = publish_options,
     .noptions = COUNT_OF(publish_options),
     .details = "Before an update the plan is shown: every step, and what breaks clients. A publish is all or nothing.\n\n"
                "Examples:\n  spacetime publish hello\n  spacetime publish --dry-run hello\n  spacetime publish -p "
                "plugins/chat chat\n"
                "  spacetime publish --delete-data=on-conflict --yes hello\n",
     .run = cmd_publish},
    {.name = "migrate",
     .args = "history [DATABASE]",
     .group = "Databases",
     .summary = "The history of a database's publishes",
     .subs = migrate_commands,
     .nsubs = COUNT_OF(migrate_commands)},
    {.name = "call",
     .args = "[DATABASE] FUNCTION [ARGUMENTS]...",
     .group = "Develop",
     .summary = "Call a reducer",
     .options = call_options,
     .noptions = COUNT_OF(call_options),
     .details = "Each argument is JSON; text needs no quotes, an identity is its hex digits, an enum the variant's name.\n\n"
                "Examples:\n  spacetime call hello add Ada\n  spacetime call hello move '{\"x\": 1.5, \"y\": 2.0}' -- -5\n",
     .run = cmd_call},
    {.name = "sql",
     .args = "[DATABASE] QUERY",
     .group = "Develop",
     .summary = "Run an SQL statement",
     .options = sql_options,
     .noptions = COUNT_OF(sql_options),
     .details = "Examples:\n  spacetime sql hello 'SELECT * FROM person'\n  spacetime sql --format json hello 'SELECT "
                "* FROM person'\n"
                "  spacetime sql --interactive hello\n",
     .run = cmd_sql},
    {.name = "subscribe",
     .args = "[DATABASE] QUERY...",
     .group = "Develop",
     .summary = "Print changes as they happen",
     .options = subscribe_options,
     .noptions = COUNT_OF(subscribe_options),
     .details = "One JSON object a line: {\"table\":{\"deletes\":[...],\"inserts\":[...]}}.\n\n"
                "Example:\n  spacetime subscribe hello 'SELECT * FROM person' --print-initial-update\n",
     .run = cmd_subscribe},
    {.name = "describe",
     .args = "[DATABASE] [table|reducer NAME]",
     .group = "Develop",
     .summary = "Tables and functions of a database",
     .options = describe_options,
     .noptions = COUNT_OF(describe_options),
     .run = cmd_describe},
    {.name = "start",
     .args = "[HOST OPTIONS]...",
     .group = "Operate",
     .summary = "Run a host on this machine",
     .raw = true,
     .details = "Runs spacetimedb-host with these options before yours; see `spacetimedb-host --help`:\n"
                "  --data-dir      ~/.local/share/spacetime/data, or /var/lib/spacetimedb for root\n"
                "  --listen-addr   `listen_addr` of cli.toml, or 127.0.0.1:3000\n"
                "  --key-dir       the directory of cli.toml\n\n"
                "Examples:\n  spacetime start\n  spacetime start --listen-addr 127.0.0.1:4000 --data-dir /tmp/st\n"
                "  spacetime start --pg 'host=/run/postgresql dbname=games'\n",
     .run = cmd_start},
    {.name = "logs",
     .args = "[DATABASE]",
     .group = "Operate",
     .summary = "A database's log",
     .options = logs_options,
     .noptions = COUNT_OF(logs_options),
     .details = "Levels are sorted out here, not by the server: `-n 10 -l error` shows the errors among the last 10 lines.\n",
     .run = cmd_logs},
    {.name = "list",
     .args = "",
     .group = "Operate",
     .summary = "Your databases",
     .options = list_options,
     .noptions = COUNT_OF(list_options),
     .run = cmd_list},
    {.name = "rename",
     .args = "IDENTITY --to NAME",
     .group = "Operate",
     .summary = "Give a database another name",
     .options = rename_options,
     .noptions = COUNT_OF(rename_options),
     .run = cmd_rename},
    {.name = "delete",
     .args = "[DATABASE]",
     .group = "Operate",
     .summary = "Delete a database and its data",
     .options = delete_options,
     .noptions = COUNT_OF(delete_options),
     .run = cmd_delete},
    {.name = "server",
     .args = "COMMAND",
     .group = "Operate",
     .summary = "The servers that commands talk to",
     .subs = server_commands,
     .nsubs = COUNT_OF(server_commands)},
    {.name = "login",
     .args = "[show]",
     .group = "Account",
     .summary = "Get an identity, or show yours",
     .options = login_options,
     .noptions = COUNT_OF(login_options),
     .details = "Plain `login` asks the default server for a new identity.\n",
     .run = cmd_login},
    {.name = "logout",
     .args = "",
     .group = "Account",
     .summary = "Forget the token",
     .options = logout_options,
     .noptions = COUNT_OF(logout_options),
     .run = cmd_logout},
    {.name = "version", .args = "[list|upgrade]", .group = "Account", .summary = "The version of this program", .run = cmd_version},
};
const size_t cli_ncommands = COUNT_OF(cli_commands);

/* ---- how a command ends ---- */

static void error_line(const char *fmt, va_list ap)
{
    fflush(stdout);
    fputs("Error: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

void (*cli_on_failure)(const char *text);

_Noreturn void cli_fail(const char *fmt, ...)
{
    va_list ap;
    if (cli_on_failure) {
        char text[2048];
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        cli_on_failure(text);
    }
    va_start(ap, fmt);
    error_line(fmt, ap);
    va_end(ap);
    exit(1);
}

_Noreturn void cli_fail_cause(const char *cause, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_line(fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nCaused by:\n    %s\n", cause);
    exit(1);
}

_Noreturn void cli_usage(const Args *a, const char *fmt, ...)
{
    fflush(stdout);
    va_list ap;
    va_start(ap, fmt);
    fputs("error: ", stderr);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n\nUsage: spacetime %s%s%s%s\n\nFor more information, try '--help'.\n", a->path,
            a->command->noptions ? " [OPTIONS]" : "", a->command->args[0] ? " " : "", a->command->args);
    exit(2);
}

static _Noreturn void usage_error(const char *text, const char *usage)
{
    fprintf(stderr, "error: %s\n\nUsage: spacetime %s\n\nFor more information, try '--help'.\n", text, usage);
    exit(2);
}

char *cli_text(Cli *c, const char *fmt, ...)
{
    char small[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < (int)sizeof small)
        return arena_copy(&c->arena, small, (size_t)n + 1);
    char *out = arena_alloc(&c->arena, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(out, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return out;
}

void cli_out(Str s)
{
    if ((s.len && fwrite(s.ptr, 1, s.len, stdout) != s.len) || fflush(stdout) != 0)
        exit(1); /* nobody reads */
}

/* ---- dispatch ---- */

static const Command *find(const Command *list, size_t n, const char *word, const char *parent)
{
    const char *names[64];
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].name, word) == 0)
            return &list[i];
        names[i] = list[i].name;
    }
    static const struct {
        const char *name, *advice;
    } elsewhere[] = {
        {"generate", "client bindings are made by the official SpacetimeDB tool: `spacetime generate` there reads a "
                     "host of this edition"},
        {"dev", "use `spacetime publish` after a change"},
        {"mcp", "POST to /v1/database/NAME/sql instead"},
        {"lock", "databases of this edition cannot be locked"},
        {"unlock", "databases of this edition cannot be locked"},
    };
    OWN(buf) Buf text = {0};
    const char *near = suggest(word, names, n);
    if (word[0] == '-')
        buf_printf(&text, "unexpected argument '%s' found", word);
    else
        buf_printf(&text, "unrecognized subcommand '%s'", word);
    for (size_t i = 0; !parent[0] && i < COUNT_OF(elsewhere); i++) {
        if (strcmp(elsewhere[i].name, word) == 0) {
            buf_printf(&text, "\n\n  this edition does not have it: %s", elsewhere[i].advice);
            near = NULL;
        }
    }
    if (near)
        buf_printf(&text, "\n\n  tip: a similar subcommand exists: '%s'", near);
    usage_error(buf_cstr(&text), parent[0] ? "server COMMAND" : "COMMAND");
}

static int print_help(const Command *command, const char *path, bool full)
{
    OWN(buf) Buf out = {0};
    if (command)
        help_command(&out, command, path, full);
    else
        help_overview(&out);
    cli_out(buf_str(&out));
    return 0;
}

static int print_version(const Cli *c, bool full)
{
    if (full)
        printf("spacetime Path: %s/spacetime\nCommit: \nspacetimedb tool version %s; spacetime-pg edition\n", c->self_dir,
               SPACETIME_VERSION);
    else
        printf("spacetime %s\n", SPACETIME_VERSION);
    return 0;
}

static void find_self(Cli *c)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = 0;
    c->self_dir = cli_text(c, "%s", n > 0 ? path : ".");
}

static int run(Cli *c, int argc, char **argv)
{
    int k = 1;
    for (; k < argc && argv[k][0] == '-'; k++) {
        const char *o = argv[k];
        const char **slot = strncmp(o, "--root-dir", 10) == 0      ? &c->root_dir
                            : strncmp(o, "--config-path", 13) == 0 ? &c->config_path
                                                                   : NULL;
        if (strcmp(o, "-h") == 0 || strcmp(o, "--help") == 0)
            return print_help(NULL, "", true);
        if (strcmp(o, "-V") == 0 || strcmp(o, "--version") == 0)
            return print_version(c, o[1] == '-');
        if (!slot)
            usage_error(cli_text(c, "unexpected argument '%s' found", o), "[--root-dir DIR] [--config-path FILE] COMMAND ...");
        const char *eq = strchr(o, '=');
        if (!eq && k + 1 == argc)
            usage_error(cli_text(c, "a value is required for '%s'", o), "[--root-dir DIR] [--config-path FILE] COMMAND ...");
        *slot = eq ? eq + 1 : argv[++k];
    }
    if (k == argc) {
        print_help(NULL, "", true);
        return 2;
    }
    bool help = strcmp(argv[k], "help") == 0;
    if (help && ++k == argc)
        return print_help(NULL, "", true);
    const Command *command = find(cli_commands, cli_ncommands, argv[k], "");
    const char *path = command->name;
    k++;
    if (command->subs) {
        if (k == argc || strcmp(argv[k], "-h") == 0 || strcmp(argv[k], "--help") == 0) {
            print_help(command, path, true);
            return k == argc && !help ? 2 : 0;
        }
        if (strcmp(argv[k], "help") == 0 && ++k == argc)
            return print_help(command, path, true);
        path = cli_text(c, "%s %s", command->name, argv[k]);
        command = find(command->subs, command->nsubs, argv[k], command->name);
        k++;
    }
    if (help)
        return print_help(command, path, true);
    for (int i = k; i < argc && !command->raw && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0)
            return print_help(command, path, argv[i][1] == '-');
    }
    Args a;
    Error err = {0};
    Args shell = {.command = command, .path = path};
    if (args_read(&a, command, path, argc - k, argv + k, &c->arena, &err) != S_OK)
        cli_usage(&shell, "%s", err.text);
    return command->run(c, &a);
}

int main(int argc, char **argv)
{
    Cli c = {0};
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    signal(SIGPIPE, SIG_IGN); /* a reader that leaves ends us quietly, in cli_out */
    find_self(&c);
    c.color_out = isatty(STDOUT_FILENO) && !(no_color && no_color[0]) && !(term && strcmp(term, "dumb") == 0);
    int code = run(&c, argc, argv);
    if (fflush(stdout) != 0 && code == 0)
        code = 1;
    arena_done(&c.arena);
    return code;
}
