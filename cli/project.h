/* project.h - spacetime.json: database, server and module path of a project (cli.md 3).
 *
 * Searched from the current directory upwards; spacetime.local.json beside it replaces whole keys. `children`
 * add further databases, which inherit what they do not say. Comments and trailing commas are fine. */
#ifndef CLI_PROJECT_H
#define CLI_PROJECT_H
#include "cli/cli.h"

typedef struct ProjectTarget {
    const char *database;    /* NULL: the file names none */
    const char *server;      /* or NULL */
    const char *module_path; /* resolved against the project's directory, or NULL */
    const char *bin_path;    /* or NULL */
} ProjectTarget;
struct Project {
    const char *dir;
    size_t nfiles;
    const char *files[2];
    size_t n; /* those with a database */
    ProjectTarget targets[64];
    ProjectTarget root;
};
/* NULL when there is none, or with --no-config (when the command has that option). */
const Project *project_find(Cli *c, const Args *a);
#endif
