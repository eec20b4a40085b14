/* config.c - see config.h. */
#include "cli/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char first_text[] =
    "default_server = \"local\"\n"
    "\n[[server_configs]]\nnickname = \"local\"\nhost = \"127.0.0.1:3000\"\nprotocol = \"http\"\n"
    "\n[[server_configs]]\nnickname = \"maincloud\"\nhost = \"maincloud.spacetimedb.com\"\nprotocol = \"https\"\n";

const char *config_dir(Cli *c)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (c->root_dir)
        return cli_text(c, "%s/config", c->root_dir);
    if (xdg && xdg[0] == '/')
        return cli_text(c, "%s/spacetime", xdg);
    return cli_text(c, "%s/.config/spacetime", home && home[0] ? home : ".");
}

static const char *string_of(Cli *c, const Config *g, size_t section, const char *key, bool required)
{
    const TomlLine *l = toml_find(&g->toml, section, key);
    if (!l && required)
        cli_fail("%s: a [[server_configs]] entry has no `%s`", g->path, key);
    if (l && !l->is_string)
        cli_fail("%s: `%s` must be a string, but is `%.*s`", g->path, key, STR_FMT(l->value));
    return l ? cli_text(c, "%.*s", STR_FMT(l->value)) : NULL;
}

static void read_servers(Cli *c, Config *g)
{
    g->nservers = 0;
    for (size_t s = TOML_TOP; (s = toml_next_section(&g->toml, "server_configs", s)) != TOML_TOP;)
        g->nservers++;
    g->servers = ARENA_ARRAY(&c->arena, Server, g->nservers + 1);
    size_t n = 0;
    for (size_t s = TOML_TOP; (s = toml_next_section(&g->toml, "server_configs", s)) != TOML_TOP; n++) {
        g->servers[n] = (Server){
            .section = s,
            .nickname = string_of(c, g, s, "nickname", false),
            .host = string_of(c, g, s, "host", true),
            .protocol = string_of(c, g, s, "protocol", true),
            .key = string_of(c, g, s, "ecdsa_public_key", false),
            .token = string_of(c, g, s, "token", false),
        };
    }
}

Config *cli_config(Cli *c)
{
    if (c->config)
        return c->config;
    Config *g = ARENA_NEW(&c->arena, Config);
    const char *env = getenv("SPACETIME_CONFIG");
    g->dir = cli_text(c, "%s", config_dir(c));
    g->path = c->config_path  ? cli_text(c, "%s", c->config_path)
              : env && env[0] ? cli_text(c, "%s", env)
                              : cli_text(c, "%s/cli.toml", g->dir);
    OWN(buf) Buf text = buf_with_max(1 << 20);
    FILE *f = fopen(g->path, "r");
    if (!f && errno != ENOENT)
        cli_fail("cannot read the configuration %s: %s", g->path, strerror(errno));
    g->exists = f != NULL;
    if (f) {
        char piece[4096];
        for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
            buf_put(&text, piece, n);
        fclose(f);
        if (!buf_ok(&text))
            cli_fail("the configuration %s is larger than 1 MiB", g->path);
    } else {
        buf_put_text(&text, first_text);
    }
    Error err = {0};
    if (toml_parse(&g->toml, buf_str(&text), &c->arena, &err) != S_OK)
        cli_fail("the configuration %s is not valid: %s", g->path, err.text);
    read_servers(c, g);
    return c->config = g;
}

void config_reread(Cli *c) { read_servers(c, c->config); }

const char *config_get(Cli *c, const char *key)
{
    const Config *g = cli_config(c);
    return string_of(c, g, TOML_TOP, key, false);
}

void config_set(Cli *c, const char *key, const char *value)
{
    Config *g = cli_config(c);
    if (value)
        toml_set(&g->toml, TOML_TOP, key, str_of(value));
    else
        toml_unset(&g->toml, TOML_TOP, key);
    read_servers(c, g);
}

static void make_parents(const char *path)
{
    OWN(free) char *copy = x_strdup(path);
    for (char *p = copy + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = 0;
        mkdir(copy, 0700);
        *p = '/';
    }
}

void config_save(Cli *c)
{
    Config *g = cli_config(c);
    OWN(buf) Buf text = {0};
    toml_write(&text, &g->toml);
    make_parents(g->path);
    const char *temporary = cli_text(c, "%s.%ld", g->path, (long)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len && fsync(fd) == 0;
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (good && rename(temporary, g->path) != 0) {
        good = false;
        why = errno;
    }
    fflush(stdout);
    if (!good) {
        unlink(temporary);
        fprintf(stderr, "could not save the configuration to %s: %s\n", g->path, strerror(why));
        return;
    }
    fprintf(stderr, "Saving config to %s.\n", g->path);
    g->exists = true;
}

const Server *config_server(Cli *c, const char *name)
{
    const Config *g = cli_config(c);
    for (size_t i = 0; i < g->nservers; i++) {
        if (g->servers[i].nickname && strcmp(g->servers[i].nickname, name) == 0)
            return &g->servers[i];
    }
    for (size_t i = 0; i < g->nservers; i++) {
        if (strcmp(g->servers[i].host, name) == 0)
            return &g->servers[i];
    }
    return NULL;
}

void url_split(Cli *c, const char *url, const char **ret_protocol, const char **ret_host)
{
    size_t scheme = strncmp(url, "http://", 7) == 0 ? 4 : strncmp(url, "https://", 8) == 0 ? 5 : 0;
    if (!scheme)
        cli_fail("`%s` is not a server's URL: it must begin with http:// or https://, as in http://127.0.0.1:3000", url);
    const char *host = url + scheme + 3;
    size_t n = strlen(host);
    while (n && host[n - 1] == '/')
        n--;
    if (n == 0 || memchr(host, '/', n) || memchr(host, '@', n) || memchr(host, '?', n))
        cli_fail("`%s` is not a server's URL: expected HOST or HOST:PORT and nothing more after %.*s://", url, (int)scheme, url);
    *ret_protocol = scheme == 4 ? "http" : "https";
    *ret_host = cli_text(c, "%.*s", (int)n, host);
}
