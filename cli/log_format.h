/* log_format.h - a record of GET .../logs as a line of text (cli.md 4.4). Pure functions. */
#ifndef CLI_LOG_FORMAT_H
#define CLI_LOG_FORMAT_H
#include "host/base/base.h"
typedef enum CliLogLevel { CLI_TRACE, CLI_DEBUG, CLI_INFO, CLI_WARN, CLI_ERROR, CLI_PANIC, CLI_LEVELS } CliLogLevel;
bool log_level_parse(CliLogLevel *ret, Str name); /* any case */
/* The record's level; CLI_DEBUG for one that is unknown. False when the line is no record. */
bool log_record_level(CliLogLevel *ret, Str line);
/* "2026-01-02T03:04:05.678901Z  INFO: add module.c:12: hello\n"; lines that are no records are passed through. */
void log_record_format(Buf *out, Str line, bool color);
#endif
