/* prompt.h - questions with a yes or no (cli.md 1.2, "plain"): works on a terminal and on a pipe. */
#ifndef CLI_PROMPT_H
#define CLI_PROMPT_H
#include "host/base/base.h"
/* Prints `question [y/N] ` and reads a line; everything but y and yes is no, the end of input too. With
 * `yes` it says that the question is skipped, and answers yes. */
bool prompt_yes(bool yes, const char *question, ...) PRINTF_LIKE(2, 3);
/* One line of stdin without its newline; false at the end of input. */
bool prompt_line(char *out, size_t size);
#endif
