/* state.h - how a database is, as GET /v1/server/status of our host tells; other hosts have no such page. */
#ifndef CLI_STATE_H
#define CLI_STATE_H

#include "cli/cli.h"
#include "cli/json_scan.h"

const Js *get_status(Cli *c, const char *url); /* NULL: this host does not tell */
/* "open", or "stopped: why; tried again in 12 s". A database that the host has not looked at since it started is closed. */
const char *database_state(Cli *c, const Js *status, Str identity);

#endif
