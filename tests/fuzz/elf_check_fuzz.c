/* elf_check_fuzz.c - any bytes as a module file. Seeds: any small .so. */
#include "host/worker/elf_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Buf problems = {0};
    uint32_t n = elf_check(bytes_of(data, size), &problems);
    if ((n == 0) != (problems.len == 0))
        abort();
    buf_done(&problems);
    Arena a = {0};
    const ElfFunction *functions;
    n = elf_functions(bytes_of(data, size), &a, &functions);
    for (uint32_t i = 0; i < n; i++)
        if ((i && functions[i - 1].address > functions[i].address) || strlen(functions[i].name) > 100)
            abort();
    (void)elf_function_at(functions, n, size ? data[0] : 0);
    arena_done(&a);
    return 0;
}
