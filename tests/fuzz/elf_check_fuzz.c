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
    return 0;
}
