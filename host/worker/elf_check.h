/* elf_check.h - is this file a module that may be opened? Looked at as bytes, before dlopen runs or maps any of it.
 *
 * Finds what a module must not be or have: another machine's code, an executable, libraries besides libc and libm,
 * thread-local or writable static variables, constructors, destructors, an executable stack, text relocations, functions of
 * libc that a worker's module cannot use, and a missing `st_module`.
 * Pure:    no allocation besides the result, no files; any bytes are fine (tests/fuzz/elf_check_fuzz.c).
 * Source:  System V ABI (ELF-64), psABI x86-64 and aarch64; c-sdk-anchors.md 4.4. */
#ifndef HOST_WORKER_ELF_CHECK_H
#define HOST_WORKER_ELF_CHECK_H

#include "host/base/base.h"

enum { ELF_FILE_BYTES_MAX = 64 << 20 };

/* Appends one line for each problem ("...: what to do"), without a final newline. Returns how many. */
uint32_t elf_check(Bytes file, Buf *problems);
/* The functions of a module by address, for telling where it crashed: of the full symbol table, else of the exported ones. Sorted; names
 * are copied into `a`, cut, and printable. */
typedef struct ElfFunction {
    uint64_t address; /* from the beginning of the mapping */
    uint64_t bytes;   /* 0: unknown */
    const char *name;
} ElfFunction;
enum { ELF_FUNCTIONS_MAX = 1 << 16 };
uint32_t elf_functions(Bytes file, Arena *a, const ElfFunction **ret);
/* Which of them holds this address; NULL: none. No allocation, no lock: for signal handlers, too. */
const ElfFunction *elf_function_at(const ElfFunction *functions, uint32_t n, uint64_t address);
/* May a module use this function or variable of libc or libm? */
bool elf_symbol_allowed(Str name);

#endif
