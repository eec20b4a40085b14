/* config.h - cli.toml: servers, the default one, the token (cli.md 2).
 *
 * A file that is not there counts as one with the servers `local` (the default) and `maincloud`; only a change
 * writes it, with mode 0600, through a temporary file. SPACETIME_CONFIG, SPACETIME_SERVER and SPACETIME_TOKEN
 * stand above it. */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H
#include "cli/cli.h"
#include "cli/toml.h"

typedef struct Server {
    size_t section;
    const char *nickname; /* or NULL */
    const char *host;     /* "127.0.0.1:3000" */
    const char *protocol; /* "http", "https" */
    const char *key;      /* ecdsa_public_key, or NULL */
    const char *token;    /* its own, or NULL */
} Server;

struct Config {
    char *path, *dir;
    bool exists;
    Toml toml;
    Server *servers;
    size_t nservers;
};

Config *cli_config(Cli *c); /* read on first use; fails for a broken file */
const char *config_dir(Cli *c);
const char *config_get(Cli *c, const char *key);               /* a top-level string, or NULL */
void config_set(Cli *c, const char *key, const char *value);   /* NULL removes */
void config_save(Cli *c);                                      /* says where, on stderr */
const Server *config_server(Cli *c, const char *name_or_host); /* NULL */
void config_reread(Cli *c);                                    /* after changing sections of config->toml */
/* Splits "http://host:1/" into protocol and host; fails with a sentence. */
void url_split(Cli *c, const char *url, const char **ret_protocol, const char **ret_host);
#endif
