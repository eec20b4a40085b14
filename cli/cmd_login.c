/* cmd_login.c - `spacetime login` and `logout`. */
#include "cli/config.h"
#include "cli/prompt.h"

#include <stdio.h>

/* Forgets the token; false when there was none. Saving is left to the caller. */
static bool forget(Cli *c)
{
    const char *token = config_get(c, "spacetimedb_token"), *identity = token ? token_identity(c, token) : NULL;
    if (!token)
        return false;
    printf("Logged out%s%s%s.\n", identity ? " (identity " : "", identity ? identity : "", identity ? ")" : "");
    config_set(c, "spacetimedb_token", NULL);
    config_set(c, "web_session_token", NULL);
    return true;
}

static int show(Cli *c, const Args *a)
{
    const char *env = getenv("SPACETIME_TOKEN"), *token = env && env[0] ? env : config_get(c, "spacetimedb_token");
    const char *identity = token ? token_identity(c, token) : NULL;
    if (!token)
        puts("You are not logged in. Run `spacetime login` to log in.");
    else if (!identity)
        puts("A token is saved, but it is no token of a SpacetimeDB host: it names no identity.");
    else
        printf("You are logged in as %s\n", identity);
    if (token && arg_given(a, "token"))
        printf("Your auth token (don't share this!) is %s\n", token);
    return 0;
}

static int keep_token(Cli *c, const char *token)
{
    static char line[16384];
    if (strcmp(token, "-") == 0) {
        if (!prompt_line(line, sizeof line) || !line[0])
            cli_fail("--token -: there is no token on stdin");
        token = line;
    }
    forget(c);
    config_set(c, "spacetimedb_token", token);
    config_save(c);
    const char *identity = token_identity(c, token);
    if (identity)
        printf("Logged in with identity %s\n", identity);
    else
        puts("Token saved.");
    return 0;
}

int cmd_login(Cli *c, const Args *a)
{
    const char *issuer = arg_value(a, "server-issued-login"), *token = arg_value(a, "token");
    if (a->n > 0 && strcmp(a->v[0], "show") == 0 && a->n == 1)
        return show(c, a);
    if (arg_given(a, "token") && !token && a->n == 1) { /* `--token T`: the value is optional only for `login show` */
        token = a->v[0];
    } else if (a->n > 0) {
        cli_usage(a, "unexpected argument '%s' found", a->v[0]);
    } else if (arg_given(a, "token") && !token) {
        cli_usage(a, "a value is required for '--token <TOKEN>' but none was supplied");
    }
    if ((issuer != NULL) + (token != NULL) + arg_given(a, "auth-host") > 1)
        cli_usage(a, "--auth-host, --server-issued-login and --token exclude each other");
    if (arg_given(a, "auth-host"))
        cli_fail("login through a website is not part of this edition; use `spacetime login`, or `spacetime login "
                 "--token TOKEN` with a token from there");
    if (token)
        return keep_token(c, token);
    Args choice = *a;
    for (size_t i = 0; issuer && i < a->command->noptions; i++) {
        if (strcmp(a->command->options[i].name, "server") == 0)
            choice.value[i] = issuer;
    }
    Target t = target_server(c, &choice, NULL);
    forget(c);
    login_directly(c, t.url);
    return 0;
}

int cmd_logout(Cli *c, const Args *a)
{
    if (a->n > 0)
        cli_usage(a, "unexpected argument '%s' found", a->v[0]);
    if (forget(c))
        config_save(c);
    else
        puts("You are not logged in.");
    return 0;
}
