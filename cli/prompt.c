/* prompt.c - see prompt.h. */
#include "cli/prompt.h"

#include <stdio.h>
#include <strings.h>

bool prompt_line(char *out, size_t size)
{
    fflush(stdout);
    if (!fgets(out, (int)size, stdin))
        return false;
    size_t n = strlen(out);
    while (n && (out[n - 1] == '\n' || out[n - 1] == '\r' || out[n - 1] == ' '))
        out[--n] = 0;
    return true;
}

bool prompt_yes(bool yes, const char *question, ...)
{
    if (yes) {
        puts("Skipping confirmation due to --yes");
        return true;
    }
    va_list ap;
    va_start(ap, question);
    vprintf(question, ap);
    va_end(ap);
    fputs(" [y/N] ", stdout);
    char line[64];
    if (!prompt_line(line, sizeof line)) {
        putchar('\n');
        return false;
    }
    return strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0;
}
