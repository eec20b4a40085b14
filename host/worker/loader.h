/* loader.h - opens a module file and makes the core's Module of it.
 *
 * Steps:   the file is checked before it is opened (elf_check.h); dlopen; handshake; every record is read, its types
 *          and layouts computed anew and compared; the definition is built, written as V10 and read back by
 *          module_def_from_bsatn, so a module meets the same checks as any stranger's bytes.
 * Errors:  S_INVALID with all problems of the module, one a line, each with what to do. S_NOT_FOUND, S_IO: no file.
 * Trust:   the file's code can do what the sandbox lets it; these checks find mistakes, not malice. Pointers are
 *          checked to lie in the module's own mapping, so a damaged module is refused, not crashed upon.
 * Names:   the caller never uses a file name twice (design-rule 21): dlopen would give the old library back. */
#ifndef HOST_WORKER_LOADER_H
#define HOST_WORKER_LOADER_H

#include "host/worker/core.h"

/* `path` is absolute. The Module's `unload` closes the library, and logs when it stays mapped all the same. */
MUST_CHECK Status loader_open(Str path, Module **ret, Error *err);
/* Is a library of this path mapped? For tests. */
bool loader_is_mapped(const char *path);

#endif
