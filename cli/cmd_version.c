/* cmd_version.c - `spacetime version`. */
#include "cli/cli.h"

#include <stdio.h>

int cmd_version(Cli *c, const Args *a)
{
    (void)c;
    if (a->n == 0) {
        printf("spacetime %s\n", SPACETIME_VERSION);
        return 0;
    }
    if (strcmp(a->v[0], "list") == 0) {
        printf("%s (current)\n", SPACETIME_VERSION);
        return 0;
    }
    cli_fail("`spacetime version %s` is not for this edition: install another version with make or your package manager", a->v[0]);
}
