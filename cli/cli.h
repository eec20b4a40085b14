/* cli.h - what every subcommand of `spacetime` shares: the command tables, failing, the target of a command.
 *
 * Shape:   one process, one command. Everything lives in `Cli.arena` until the process ends.
 * Failing: a command that cannot go on prints what is wrong and what to do and ends the process (cli_fail);
 *          the pure parts (toml, json_scan, schema, cell, arguments, ...) return Status and can be tested.
 * Exit:    0 done, 1 failed, 2 wrong usage.  Results on stdout; warnings and errors on stderr. */
#ifndef CLI_CLI_H
#define CLI_CLI_H
#include "host/base/base.h"

typedef struct Cli Cli;
typedef struct Command Command;
typedef struct Args Args;

/* One option. `value` names its value in the help, NULL for a switch. An `optional` value is only taken from
 * `--name=VALUE`, so that `--yes my-db` keeps my-db as a positional. */
typedef struct Option {
    const char *name;
    char letter; /* 0: none */
    const char *value;
    bool optional;
    const char *help;
} Option;

struct Command {
    const char *name;
    const char *args;  /* for the usage line */
    const char *group; /* heading in the overview; NULL: not listed */
    const char *summary;
    const Option *options;
    size_t noptions;
    const Command *subs; /* `server list`, ... or NULL */
    size_t nsubs;
    bool raw;            /* hand everything on unread (`start`) */
    const char *details; /* examples, printed by --help */
    int (*run)(Cli *c, const Args *a);
};

enum { CLI_OPTIONS_MAX = 24 };
struct Args {
    const Command *command;
    const char *path; /* "server list" */
    int n;            /* positionals */
    const char **v;
    bool given[CLI_OPTIONS_MAX];        /* by position in command->options */
    const char *value[CLI_OPTIONS_MAX]; /* several optional values are joined with commas */
};

typedef struct Config Config;
typedef struct Project Project;

struct Cli {
    Arena arena;
    char *self_dir;          /* the directory of this executable */
    const char *config_path; /* --config-path, or NULL */
    const char *root_dir;    /* --root-dir, or NULL */
    Config *config;          /* read on first use: cli_config */
    bool color_out;          /* stdout is a terminal that shows colours, NO_COLOR is unset */
};

extern const Command cli_commands[];
extern const size_t cli_ncommands;

/* ---- options.c ---- */
/* Reads argv (after the command's name) into `ret`. S_INVALID: text for the user, a tip included. */
MUST_CHECK Status args_read(Args *ret, const Command *command, const char *path, int argc, char **argv, Arena *a, Error *err);
bool arg_given(const Args *a, const char *name);        /* BUG for a name the command does not have */
const char *arg_value(const Args *a, const char *name); /* NULL: not given, or given without a value */
bool arg_yes(const Args *a, const char *what);          /* --yes, --yes=all or --yes=..,what,.. */
void help_overview(Buf *out);
void help_command(Buf *out, const Command *command, const char *path, bool full);

/* ---- suggest.c ---- */
/* Restricted Damerau-Levenshtein distance, case ignored; or `limit` + 1 when it is larger. */
unsigned edit_distance(const char *x, const char *y, unsigned limit);
/* The candidate most like `word`, or NULL: equal but for case, within max(len,3)/3 edits, or the same words
 * between underscores. */
const char *suggest(const char *word, const char *const *candidates, size_t n);

/* ---- main.c ---- */
extern void (*cli_on_failure)(const char *text);                 /* told before a failure ends the process; NULL: nobody */
_Noreturn void cli_fail(const char *fmt, ...) PRINTF_LIKE(1, 2); /* "Error: ...", exit 1 */
_Noreturn void cli_fail_cause(const char *cause, const char *fmt, ...) PRINTF_LIKE(2, 3);
_Noreturn void cli_usage(const Args *a, const char *fmt, ...) PRINTF_LIKE(2, 3); /* "error: ..." and usage, exit 2 */
char *cli_text(Cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);                  /* in the arena */
void cli_out(Str s);                                                             /* to stdout */

/* ---- target.c: which server, which database ---- */
typedef struct Target {
    const char *server;   /* nickname or URL as given; for messages */
    const char *url;      /* "http://127.0.0.1:3000", no trailing slash */
    const char *database; /* as given: name or identity; NULL when the command has none */
    const char *identity; /* 64 digits, once target_identity has been asked */
    int argi;             /* the first positional that is not the database */
} Target;
/* Server only: --server, then the project file, then the environment and cli.toml. */
Target target_server(Cli *c, const Args *a, const Project *project);
/* cli.md 1.4, resolver A: optional [database] as the only positional. */
Target target_optional(Cli *c, const Args *a);
/* Resolver B and C: [database] then at least `need` more; `what` names them in the usage error. */
Target target_then(Cli *c, const Args *a, int need, const char *what);
/* Asks the server for the identity behind the name; fails when there is no such database. */
const char *target_identity(Cli *c, Target *t);
/* The token to send: NULL with --anonymous; logs in directly when there is none yet. */
const char *target_token(Cli *c, const Args *a, const Target *t);
/* POST /v1/identity, keep the token, say so. */
const char *login_directly(Cli *c, const char *url);
/* The identity inside a token (JWT payload, not verified); NULL when it is none. */
const char *token_identity(Cli *c, const char *token);

/* ---- module_build.c ---- */
/* The module directory: `path`, else the project's, else ./spacetimedb, else "." */
const char *module_path(Cli *c, const char *path, const Project *project);
/* Compiles the module there; prints what it does; returns the path of the .so. Fails when it does not compile. */
const char *module_build(Cli *c, const char *dir, bool debug);

/* ---- the commands ---- */
int cmd_start(Cli *c, const Args *a);
int cmd_init(Cli *c, const Args *a);
int cmd_build(Cli *c, const Args *a);
int cmd_publish(Cli *c, const Args *a);
int cmd_migrate_history(Cli *c, const Args *a);
int cmd_call(Cli *c, const Args *a);
int cmd_sql(Cli *c, const Args *a);
int cmd_logs(Cli *c, const Args *a);
int cmd_list(Cli *c, const Args *a);
int cmd_describe(Cli *c, const Args *a);
int cmd_delete(Cli *c, const Args *a);
int cmd_rename(Cli *c, const Args *a);
int cmd_subscribe(Cli *c, const Args *a);
int cmd_login(Cli *c, const Args *a);
int cmd_logout(Cli *c, const Args *a);
int cmd_version(Cli *c, const Args *a);
int cmd_server_list(Cli *c, const Args *a);
int cmd_server_add(Cli *c, const Args *a);
int cmd_server_remove(Cli *c, const Args *a);
int cmd_server_set_default(Cli *c, const Args *a);
int cmd_server_edit(Cli *c, const Args *a);
int cmd_server_ping(Cli *c, const Args *a);
int cmd_server_fingerprint(Cli *c, const Args *a);
int cmd_server_status(Cli *c, const Args *a);
#endif
