/* cmd_build.c - `spacetime build`. */
#include "cli/cli.h"

#include <stdio.h>

int cmd_build(Cli *c, const Args *a)
{
    if (a->n > 0)
        cli_usage(a, "unexpected argument '%s' found\n\n  tip: the module's directory is given with --module-path", a->v[0]);
    const char *so = module_build(c, module_path(c, arg_value(a, "module-path"), NULL), arg_given(a, "debug"));
    printf("Output: %s\n", so);
    return 0;
}
