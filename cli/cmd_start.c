/* cmd_start.c - `spacetime start`: becomes the host beside this program. */
#include "cli/config.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *data_dir(Cli *c)
{
    const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (c->root_dir)
        return cli_text(c, "%s/data", c->root_dir);
    if (geteuid() == 0)
        return "/var/lib/spacetimedb";
    if (xdg && xdg[0] == '/')
        return cli_text(c, "%s/spacetime/data", xdg);
    return cli_text(c, "%s/.local/share/spacetime/data", home && home[0] ? home : ".");
}

int cmd_start(Cli *c, const Args *a)
{
    const char *host = cli_text(c, "%s/spacetimedb-host", c->self_dir), *listen = config_get(c, "listen_addr");
    const char **argv = ARENA_ARRAY(&c->arena, const char *, a->n + 16);
    int n = 0;
    argv[n++] = host;
    argv[n++] = "start";
    argv[n++] = "--data-dir";
    argv[n++] = data_dir(c);
    argv[n++] = "--listen-addr";
    argv[n++] = listen ? listen : "127.0.0.1:3000";
    argv[n++] = "--key-dir";
    argv[n++] = config_dir(c);
    for (int i = 0; i < a->n; i++) /* the last of an option counts */
        argv[n++] = a->v[i];
    char *keys = cli_text(c, "%s/", config_dir(c)); /* the host makes the last level only */
    for (char *p = keys + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = 0;
        mkdir(keys, 0700);
        *p = '/';
    }
    execv(host, (char *const *)argv);
    cli_fail("cannot run the host %s: %s; it is built by `make` and installed beside `spacetime`", host, strerror(errno));
}
