/* elf_check.c - reads the section table, the dynamic section and the symbol tables; believes no offset. */
#include "host/worker/elf_check.h"

#include <elf.h>
#include <stdio.h>

/* ---- what a module may use -------------------------------------------------------------------------- */

/* Memory, text, formatting into memory, numbers, sorting, mathematics; sorted. None of it waits, reads the outside world,
 * keeps state between calls or allocates. */
/* clang-format off */
static const char *const symbols_allowed[] = {
    "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "_Jv_RegisterClasses", "__assert_fail", "__chk_fail",
    "__ctype_b_loc", "__ctype_tolower_loc", "__ctype_toupper_loc", "__cxa_finalize", "__errno_location",
    "__explicit_bzero_chk", "__finite", "__finitef", "__finitel", "__fpclassify", "__fpclassifyf", "__fpclassifyl",
    "__gmon_start__", "__isinf", "__isinff", "__isinfl", "__isnan", "__isnanf", "__isnanl", "__isoc23_sscanf",
    "__isoc23_strtol", "__isoc23_strtoll", "__isoc23_strtoul", "__isoc23_strtoull", "__isoc99_sscanf",
    "__isoc99_vsscanf", "__memcpy_chk", "__memmove_chk", "__mempcpy_chk", "__memset_chk", "__signbit", "__signbitf",
    "__signbitl", "__snprintf_chk", "__sprintf_chk", "__stack_chk_fail", "__stpcpy_chk", "__stpncpy_chk",
    "__strcat_chk", "__strcpy_chk", "__strncat_chk", "__strncpy_chk", "__vsnprintf_chk", "__vsprintf_chk", "abort",
    "abs", "acos", "acosf", "acosh", "acoshf", "acoshl", "acosl", "asin", "asinf", "asinh", "asinhf", "asinhl",
    "asinl", "atan", "atan2", "atan2f", "atan2l", "atanf", "atanh", "atanhf", "atanhl", "atanl", "atof", "atoi",
    "atol", "atoll", "bcmp", "bcopy", "bsearch", "bzero", "cabs", "cabsf", "cabsl", "carg", "cargf", "cargl", "cbrt",
    "cbrtf", "cbrtl", "ceil", "ceilf", "ceill", "cexp", "cexpf", "cexpl", "cimag", "cimagf", "cimagl", "clog",
    "clogf", "clogl", "conj", "conjf", "conjl", "copysign", "copysignf", "copysignl", "cos", "cosf", "cosh", "coshf",
    "coshl", "cosl", "cpow", "cpowf", "cpowl", "creal", "crealf", "creall", "csqrt", "csqrtf", "csqrtl", "div",
    "erf", "erfc", "erfcf", "erfcl", "erff", "erfl", "exp", "exp10", "exp10f", "exp10l", "exp2", "exp2f", "exp2l",
    "expf", "expl", "explicit_bzero", "expm1", "expm1f", "expm1l", "fabs", "fabsf", "fabsl", "fdim", "fdimf",
    "fdiml", "finite", "finitef", "finitel", "floor", "floorf", "floorl", "fma", "fmaf", "fmal", "fmax", "fmaxf",
    "fmaxl", "fmin", "fminf", "fminl", "fmod", "fmodf", "fmodl", "frexp", "frexpf", "frexpl", "gmtime_r", "hypot",
    "hypotf", "hypotl", "ilogb", "ilogbf", "ilogbl", "isalnum", "isalpha", "isascii", "isblank", "iscntrl",
    "isdigit", "isgraph", "isinf", "isinff", "isinfl", "islower", "isnan", "isnanf", "isnanl", "isprint", "ispunct",
    "isspace", "isupper", "isxdigit", "labs", "ldexp", "ldexpf", "ldexpl", "ldiv", "lgamma_r", "lgamma_rf",
    "lgamma_rl", "lgammaf_r", "lgammal_r", "llabs", "lldiv", "llrint", "llrintf", "llrintl", "llround", "llroundf",
    "llroundl", "log", "log10", "log10f", "log10l", "log1p", "log1pf", "log1pl", "log2", "log2f", "log2l", "logb",
    "logbf", "logbl", "logf", "logl", "lrint", "lrintf", "lrintl", "lround", "lroundf", "lroundl", "memchr",
    "memcmp", "memcpy", "memmem", "memmove", "mempcpy", "memrchr", "memset", "modf", "modff", "modfl", "nan", "nanf",
    "nanl", "nearbyint", "nearbyintf", "nearbyintl", "nextafter", "nextafterf", "nextafterl", "nexttoward",
    "nexttowardf", "nexttowardl", "pow", "powf", "powl", "qsort", "qsort_r", "rawmemchr", "remainder", "remainderf",
    "remainderl", "remquo", "remquof", "remquol", "rint", "rintf", "rintl", "round", "roundeven", "roundevenf",
    "roundevenl", "roundf", "roundl", "scalbln", "scalblnf", "scalblnl", "scalbn", "scalbnf", "scalbnl", "sin",
    "sincos", "sincosf", "sincosl", "sinf", "sinh", "sinhf", "sinhl", "sinl", "snprintf", "sprintf", "sqrt", "sqrtf",
    "sqrtl", "sscanf", "stpcpy", "stpncpy", "strcasecmp", "strcasestr", "strcat", "strchr", "strchrnul", "strcmp",
    "strcoll", "strcpy", "strcspn", "strlen", "strncasecmp", "strncat", "strncmp", "strncpy", "strnlen", "strpbrk",
    "strrchr", "strsep", "strspn", "strstr", "strtod", "strtof", "strtoimax", "strtok_r", "strtol", "strtold",
    "strtoll", "strtoul", "strtoull", "strtoumax", "strxfrm", "tan", "tanf", "tanh", "tanhf", "tanhl", "tanl",
    "tgamma", "tgammaf", "tgammal", "timegm", "tolower", "toupper", "trunc", "truncf", "truncl", "vsnprintf",
    "vsprintf", "vsscanf",
};
/* clang-format on */

/* Refused with a hint; what is in neither list is refused without one. Prefixes end in '*'. */
static const struct {
    const char *name, *hint;
} symbol_hints[] = {
    {"malloc", "use st_alloc(ctx, n): memory of a module lasts for one call"},
    {"calloc", "use st_alloc(ctx, n): memory of a module lasts for one call"},
    {"realloc", "use st_alloc(ctx, n): memory of a module lasts for one call"},
    {"reallocarray", "use st_alloc(ctx, n): memory of a module lasts for one call"},
    {"free", "leave out: the host releases the memory of a call at its end"},
    {"strdup", "use st_format or st_alloc"},
    {"strndup", "use st_format or st_alloc"},
    {"asprintf", "use st_format(ctx, ...)"},
    {"vasprintf", "use st_format(ctx, ...) or vsnprintf"},
    {"__asprintf_chk", "use st_format(ctx, ...)"},
    {"time", "use ctx->timestamp"},
    {"clock", "use ctx->timestamp"},
    {"clock_gettime", "use ctx->timestamp"},
    {"gettimeofday", "use ctx->timestamp"},
    {"localtime*", "use gmtime_r: the host has no time zone"},
    {"gmtime", "use gmtime_r"},
    {"strtok", "use strtok_r"},
    {"rand*", "use st_random_u64(ctx)"},
    {"srand*", "use st_random_u64(ctx)"},
    {"*rand48", "use st_random_u64(ctx)"},
    {"arc4random*", "use st_random_u64(ctx)"},
    {"getrandom", "use st_random_u64(ctx)"},
    {"printf", "use st_log_info(ctx, ...)"},
    {"__printf_chk", "use st_log_info(ctx, ...)"},
    {"puts", "use st_log_info(ctx, ...)"},
    {"putchar", "use st_log_info(ctx, ...)"},
    {"fprintf", "use st_log_info(ctx, ...)"},
    {"__fprintf_chk", "use st_log_info(ctx, ...)"},
    {"fputs", "use st_log_info(ctx, ...)"},
    {"fwrite", "use st_log_info(ctx, ...)"},
    {"stdout", "use st_log_info(ctx, ...)"},
    {"stderr", "use st_log_error(ctx, ...)"},
    {"perror", "use st_log_error(ctx, ...)"},
    {"fopen*", "a module has no files: keep data in tables"},
    {"open*", "a module has no files: keep data in tables"},
    {"read", "a module has no files: keep data in tables"},
    {"write", "a module has no files: keep data in tables"},
    {"socket*", "a module has no network: call st_http from a procedure"},
    {"connect", "a module has no network: call st_http from a procedure"},
    {"curl_*", "a module has no network: call st_http from a procedure"},
    {"system", "a module starts no programs"},
    {"popen", "a module starts no programs"},
    {"exec*", "a module starts no programs"},
    {"posix_spawn*", "a module starts no programs"},
    {"fork", "a module starts no programs"},
    {"vfork", "a module starts no programs"},
    {"pthread_*", "a module starts no threads; its calls run one at a time, so it needs no locks"},
    {"thrd_*", "a module starts no threads; its calls run one at a time, so it needs no locks"},
    {"mtx_*", "a module starts no threads; its calls run one at a time, so it needs no locks"},
    {"sleep", "use ST_SCHEDULE to do something later"},
    {"usleep", "use ST_SCHEDULE to do something later"},
    {"nanosleep", "use ST_SCHEDULE to do something later"},
    {"dlopen", "link what you need into the module"},
    {"dlsym", "link what you need into the module"},
    {"signal", "signals belong to the host"},
    {"sig*", "signals belong to the host"},
    {"raise", "return st_fail(ctx, ...) instead"},
    {"kill", "return st_fail(ctx, ...) instead"},
    {"exit", "return st_fail(ctx, ...) instead"},
    {"_exit", "return st_fail(ctx, ...) instead"},
    {"*setjmp", "return a status instead"},
    {"longjmp", "return a status instead"},
    {"__longjmp_chk", "return a status instead"},
    {"getenv", "the environment is empty: use a table for settings"},
    {"setlocale", "the locale is always C"},
    {"__tls_get_addr", "thread-local variables are not allowed"},
    {"__asan_*", "build without -fsanitize"},
    {"__ubsan_*", "build without -fsanitize"},
    {"__tsan_*", "build without -fsanitize"},
    {"__gcov_*", "build without --coverage"},
    {"_Z*", "a module is written in C: the C++ library is not available"},
    {"__cxa_*", "a module is written in C: the C++ library is not available"},
    {"st_*", "it is declared, but defined in none of the module's files"},
};

static bool matches(Str name, const char *pattern)
{
    size_t n = strlen(pattern);
    if (pattern[0] == '*')
        return name.len >= n - 1 && memcmp(name.ptr + name.len - (n - 1), pattern + 1, n - 1) == 0;
    if (pattern[n - 1] == '*')
        return name.len >= n - 1 && memcmp(name.ptr, pattern, n - 1) == 0;
    return str_is(name, pattern);
}

bool elf_symbol_allowed(Str name)
{
    size_t lo = 0, hi = COUNT_OF(symbols_allowed);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = str_cmp(name, str_of(symbols_allowed[mid]));
        if (c == 0)
            return true;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return false;
}

/* ---- reading ------------------------------------------------------------------------------------------ */

enum { SECTIONS_MAX = 4096, SEGMENTS_MAX = 256, SYMBOLS_LISTED_MAX = 8, NAME_SHOWN_MAX = 100 };

typedef struct Elf {
    Bytes file;
    Elf64_Ehdr head;
    uint32_t nsections;
    Buf *out;
    uint32_t problems;
    uint32_t unlisted; /* symbols beyond SYMBOLS_LISTED_MAX */
} Elf;

static void problem(Elf *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void problem(Elf *e, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (e->problems++)
        buf_put_text(e->out, "\n");
    buf_put_text(e->out, line);
}

/* `len` bytes at `offset`, or NULL when they are not all in the file. */
static const uint8_t *at(const Elf *e, uint64_t offset, uint64_t len)
{
    if (offset > e->file.len || len > e->file.len - offset)
        return NULL;
    return e->file.ptr + offset;
}

static bool section(const Elf *e, uint32_t i, Elf64_Shdr *ret)
{
    const uint8_t *p = i < e->nsections ? at(e, e->head.e_shoff + (uint64_t)i * sizeof *ret, sizeof *ret) : NULL;
    if (p)
        memcpy(ret, p, sizeof *ret);
    return p != NULL;
}

/* A NUL-terminated name from string table section `table`; empty when it is not there. */
static Str name_at(const Elf *e, uint32_t table, uint64_t offset)
{
    Elf64_Shdr s;
    if (!section(e, table, &s) || s.sh_type != SHT_STRTAB || offset >= s.sh_size)
        return STR("");
    const uint8_t *p = at(e, s.sh_offset, s.sh_size);
    if (!p)
        return STR("");
    const uint8_t *end = memchr(p + offset, 0, s.sh_size - offset);
    return end ? (Str){(const char *)p + offset, (size_t)(end - (p + offset))} : STR("");
}

static Str shown(Str name) { return (Str){name.ptr, MIN(name.len, (size_t)NAME_SHOWN_MAX)}; }

static const char *machine_name(unsigned machine)
{
    switch (machine) {
    case EM_X86_64: return "x86-64";
    case EM_AARCH64: return "aarch64";
    case EM_386: return "32-bit x86";
    case EM_ARM: return "32-bit ARM";
    case EM_RISCV: return "RISC-V";
    case EM_PPC64: return "PowerPC 64";
    case EM_S390: return "s390";
    case 258: return "LoongArch";
    default: return "another processor";
    }
}

#if defined(__x86_64__)
enum { OUR_MACHINE = EM_X86_64 };
#else
enum { OUR_MACHINE = EM_AARCH64 };
#endif

/* ---- the checks --------------------------------------------------------------------------------------- */

/* False: nothing further can be read. */
static bool check_header(Elf *e)
{
    static const uint8_t wasm[4] = {0, 'a', 's', 'm'};
    if (e->file.len >= 4 && memcmp(e->file.ptr, wasm, 4) == 0) {
        problem(e, "it is WebAssembly; this host runs native modules: build a shared library from C with spacetimedb.h");
        return false;
    }
    if (e->file.len < EI_NIDENT || memcmp(e->file.ptr, ELFMAG, SELFMAG) != 0) {
        problem(e, "it is not an ELF file: build the module with cc -shared -fPIC");
        return false;
    }
    if (e->file.ptr[EI_CLASS] != ELFCLASS64 || e->file.ptr[EI_DATA] != ELFDATA2LSB) {
        problem(e, "it is %s-bit %s-endian, the host is 64-bit little-endian: build it for this machine",
                e->file.ptr[EI_CLASS] == ELFCLASS64 ? "64" : "32", e->file.ptr[EI_DATA] == ELFDATA2LSB ? "little" : "big");
        return false;
    }
    const uint8_t *p = at(e, 0, sizeof e->head);
    if (!p) {
        problem(e, "it is cut short: upload the whole file");
        return false;
    }
    memcpy(&e->head, p, sizeof e->head);
    if (e->head.e_machine != OUR_MACHINE) {
        problem(e, "it is for %s (machine %u), the host is %s (machine %u): build it for this machine", machine_name(e->head.e_machine),
                e->head.e_machine, machine_name(OUR_MACHINE), (unsigned)OUR_MACHINE);
        return false;
    }
    if (e->head.e_type != ET_DYN) {
        problem(e, "it is %s, not a shared library: link it with -shared",
                e->head.e_type == ET_REL    ? "an object file (.o)"
                : e->head.e_type == ET_EXEC ? "a program"
                                            : "of another ELF type");
        return false;
    }
    if (e->head.e_shentsize != sizeof(Elf64_Shdr) || e->head.e_phentsize != sizeof(Elf64_Phdr) || e->head.e_shnum == 0 ||
        e->head.e_shnum > SECTIONS_MAX || e->head.e_phnum == 0 || e->head.e_phnum > SEGMENTS_MAX ||
        !at(e, e->head.e_shoff, (uint64_t)e->head.e_shnum * sizeof(Elf64_Shdr)) ||
        !at(e, e->head.e_phoff, (uint64_t)e->head.e_phnum * sizeof(Elf64_Phdr))) {
        problem(e, "its section or program header table is missing or cut short: upload the file as the linker wrote it");
        return false;
    }
    e->nsections = e->head.e_shnum;
    return true;
}

static void check_segments(Elf *e)
{
    bool stack = false;
    for (uint32_t i = 0; i < e->head.e_phnum; i++) {
        Elf64_Phdr ph;
        memcpy(&ph, e->file.ptr + e->head.e_phoff + i * sizeof ph, sizeof ph);
        if (ph.p_type == PT_INTERP)
            problem(e, "it is a program (it names an interpreter), not a shared library: link it with -shared");
        if (ph.p_type == PT_TLS)
            problem(e, "it has thread-local variables: a module keeps no state; use tables, or const data");
        if (ph.p_type == PT_GNU_STACK) {
            stack = true;
            if (ph.p_flags & PF_X)
                problem(e, "it asks for an executable stack: link with -z noexecstack, and avoid nested functions");
        }
        if (ph.p_type == PT_LOAD && (ph.p_flags & PF_W) && (ph.p_flags & PF_X))
            problem(e, "a segment is both writable and executable: link it without -N or a linker script");
        if (ph.p_type == PT_LOAD && (ph.p_filesz > ph.p_memsz || !at(e, ph.p_offset, ph.p_filesz)))
            problem(e, "it is cut short: upload the whole file");
    }
    if (!stack)
        problem(e, "it does not say that its stack is not executable: link with -z noexecstack");
}

static void check_dynamic(Elf *e, const Elf64_Shdr *s)
{
    if (!at(e, s->sh_offset, s->sh_size))
        return;
    bool text_relocations = false;
    for (uint64_t i = 0; i + sizeof(Elf64_Dyn) <= s->sh_size; i += sizeof(Elf64_Dyn)) {
        Elf64_Dyn d;
        memcpy(&d, e->file.ptr + s->sh_offset + i, sizeof d);
        if (d.d_tag == DT_NULL)
            break;
        if (d.d_tag == DT_NEEDED) {
            Str n = name_at(e, s->sh_link, d.d_un.d_val);
            if (!str_is(n, "libc.so.6") && !str_is(n, "libm.so.6") && !matches(n, "ld-linux*"))
                problem(e,
                        "it needs the library %.*s: only libc and libm are there; link it statically, or with -Wl,--as-needed if nothing "
                        "of it is used",
                        STR_FMT(shown(n)));
        }
        text_relocations |= d.d_tag == DT_TEXTREL || (d.d_tag == DT_FLAGS && (d.d_un.d_val & DF_TEXTREL));
        if (d.d_tag == DT_FLAGS_1 && (d.d_un.d_val & DF_1_NODELETE))
            problem(e, "it is marked never to be unloaded: link without -z nodelete");
        if (d.d_tag == DT_AUDIT || d.d_tag == DT_DEPAUDIT || d.d_tag == DT_FILTER || d.d_tag == DT_AUXILIARY)
            problem(e, "it names a filter or audit library: link without -f, -F and --audit");
    }
    if (text_relocations)
        problem(e, "it has text relocations: compile every file with -fPIC");
}

static void check_undefined(Elf *e, Str name, uint32_t *listed)
{
    if (name.len == 0 || elf_symbol_allowed(name))
        return;
    if ((*listed)++ >= SYMBOLS_LISTED_MAX) {
        e->unlisted++;
        return;
    }
    const char *hint = NULL;
    for (size_t i = 0; i < COUNT_OF(symbol_hints) && !hint; i++)
        if (matches(name, symbol_hints[i].name))
            hint = symbol_hints[i].hint;
    problem(e, "it uses %.*s: %s", STR_FMT(shown(name)),
            hint ? hint : "modules may use memory, text, formatting and mathematics of libc and libm only; or is a source file missing?");
}

/* Symbols of the dynamic table: what comes from outside, and whether st_module goes out. */
static void check_symbols(Elf *e, const Elf64_Shdr *s)
{
    bool st_module = false;
    uint32_t listed = 0;
    const uint8_t *p = at(e, s->sh_offset, s->sh_size);
    for (uint64_t i = 1; p && i < s->sh_size / sizeof(Elf64_Sym); i++) {
        Elf64_Sym sym;
        memcpy(&sym, p + i * sizeof sym, sizeof sym);
        Str name = name_at(e, s->sh_link, sym.st_name);
        if (sym.st_shndx == SHN_UNDEF) {
            check_undefined(e, name, &listed);
            continue;
        }
        if (ELF64_ST_BIND(sym.st_info) == STB_GNU_UNIQUE)
            problem(e, "%.*s is a unique symbol, which keeps the library from being unloaded: compile with -fno-gnu-unique",
                    STR_FMT(shown(name)));
        if (str_is(name, "st_module") && ELF64_ST_VISIBILITY(sym.st_other) == STV_DEFAULT) {
            st_module = true;
            if (ELF64_ST_TYPE(sym.st_info) != STT_OBJECT)
                problem(e, "st_module is not a variable: it is made by ST_MODULE(name, \"version\") only");
        }
    }
    if (e->unlisted)
        problem(e, "and %u more functions that a module may not use", e->unlisted);
    if (!st_module)
        problem(e, "no st_module: is ST_MODULE(name, \"version\") missing?");
}

/* One of the SDK's records: st_put_... in C, _ZL<length>st_put_... in C++. */
static bool is_record(Str name)
{
    if (name.len > 3 && memcmp(name.ptr, "_ZL", 3) == 0) {
        size_t at = 3;
        while (at < name.len && name.ptr[at] >= '0' && name.ptr[at] <= '9')
            at++;
        name = (Str){name.ptr + at, name.len - at};
    }
    return matches(name, "st_put_*");
}

/* The compiler's own writable data, and the SDK's records. */
static bool is_own_variable(Str name)
{
    return str_is(name, "__dso_handle") || str_is(name, "__TMC_END__") || matches(name, "completed.*") || is_record(name) ||
           matches(name, "_DYNAMIC*") || matches(name, "_GLOBAL_OFFSET_TABLE_*") || matches(name, "__start_*") || matches(name, "__stop_*");
}

/* Writable variables by name, when the file still has its full symbol table. */
static bool check_variables(Elf *e, const Elf64_Shdr *s)
{
    const uint8_t *p = at(e, s->sh_offset, s->sh_size);
    uint32_t listed = 0;
    for (uint64_t i = 1; p && i < s->sh_size / sizeof(Elf64_Sym); i++) {
        Elf64_Sym sym;
        Elf64_Shdr home;
        memcpy(&sym, p + i * sizeof sym, sizeof sym);
        if (ELF64_ST_TYPE(sym.st_info) != STT_OBJECT || sym.st_size == 0 || sym.st_shndx == SHN_UNDEF || !section(e, sym.st_shndx, &home))
            continue;
        Str in = name_at(e, e->head.e_shstrndx, home.sh_name), name = name_at(e, s->sh_link, sym.st_name);
        if (!(home.sh_flags & SHF_WRITE) || (home.sh_flags & SHF_TLS) || matches(in, ".data.rel.ro*") || matches(in, ".*_array") ||
            is_own_variable(name))
            continue;
        if (listed++ < SYMBOLS_LISTED_MAX)
            problem(e, "the variable %.*s is writable: only tables keep data; make it const (pointers too: const char *const), or a table",
                    STR_FMT(shown(name)));
    }
    if (listed > SYMBOLS_LISTED_MAX)
        problem(e, "and %u more writable variables", listed - SYMBOLS_LISTED_MAX);
    return p != NULL;
}

static void check_sections(Elf *e)
{
    bool dynamic = false, symbols = false, variables = false;
    uint64_t writable = 0;
    for (uint32_t i = 0; i < e->nsections; i++) {
        Elf64_Shdr s;
        if (!section(e, i, &s))
            return;
        Str name = name_at(e, e->head.e_shstrndx, s.sh_name);
        if (s.sh_type == SHT_DYNAMIC && !dynamic) {
            dynamic = true;
            check_dynamic(e, &s);
        } else if (s.sh_type == SHT_DYNSYM && !symbols) {
            symbols = true;
            check_symbols(e, &s);
        } else if (s.sh_type == SHT_SYMTAB && !variables) {
            variables = check_variables(e, &s);
        } else if ((s.sh_type == SHT_INIT_ARRAY || str_is(name, ".ctors")) && s.sh_size > 8) {
            problem(e, "it has constructors (functions that run at load): remove __attribute__((constructor)); use ST_INIT");
        } else if ((s.sh_type == SHT_FINI_ARRAY || str_is(name, ".dtors")) && s.sh_size > 8) {
            problem(e, "it has destructors (functions that run at unload): remove __attribute__((destructor))");
        } else if (s.sh_type == SHT_PREINIT_ARRAY && s.sh_size) {
            problem(e, "it has functions that run before it is loaded: remove the section .preinit_array");
        } else if ((s.sh_flags & SHF_ALLOC) && (s.sh_flags & SHF_WRITE) && (str_is(name, ".data") || str_is(name, ".bss"))) {
            writable += s.sh_size > 8 ? s.sh_size : 0; /* 8: __dso_handle; `completed`, padded */
        }
    }
    if (!dynamic)
        problem(e, "it has no dynamic section: link it with -shared");
    if (!symbols)
        problem(e, "it exports nothing, so no st_module: is ST_MODULE(name, \"version\") missing?");
    if (!variables && writable)
        problem(
            e, "it has %llu bytes of writable variables: only tables keep data; make them const (do not strip the file to see their names)",
            (unsigned long long)writable);
}

uint32_t elf_check(Bytes file, Buf *problems)
{
    Elf e = {.file = file, .out = problems};
    if (check_header(&e)) {
        check_segments(&e);
        check_sections(&e);
    }
    return e.problems;
}

/* ---- functions by address ----------------------------------------------------------------------------- */

static int by_address(const void *x, const void *y)
{
    const ElfFunction *a = x, *b = y;
    return a->address != b->address ? (a->address > b->address) - (a->address < b->address) : strcmp(a->name, b->name);
}

static const char *printable(Arena *a, Str name)
{
    char *copy = arena_alloc(a, MIN(name.len, (size_t)NAME_SHOWN_MAX) + 1);
    for (size_t i = 0; i < MIN(name.len, (size_t)NAME_SHOWN_MAX); i++)
        copy[i] = name.ptr[i] > ' ' && name.ptr[i] < 0x7f ? name.ptr[i] : '?';
    return copy;
}

static uint32_t read_functions(const Elf *e, const Elf64_Shdr *s, Arena *a, const ElfFunction **ret)
{
    const uint8_t *p = at(e, s->sh_offset, s->sh_size);
    uint64_t total = p ? MIN(s->sh_size / sizeof(Elf64_Sym), (uint64_t)ELF_FUNCTIONS_MAX) : 0;
    ElfFunction *list = ARENA_ARRAY(a, ElfFunction, total + 1);
    uint32_t n = 0;
    for (uint64_t i = 1; i < total; i++) {
        Elf64_Sym sym;
        memcpy(&sym, p + i * sizeof sym, sizeof sym);
        Str name = name_at(e, s->sh_link, sym.st_name);
        if (ELF64_ST_TYPE(sym.st_info) == STT_FUNC && sym.st_shndx != SHN_UNDEF && name.len)
            list[n++] = (ElfFunction){sym.st_value, sym.st_size, printable(a, name)};
    }
    if (n)
        qsort(list, n, sizeof *list, by_address);
    *ret = list;
    return n;
}

uint32_t elf_functions(Bytes file, Arena *a, const ElfFunction **ret)
{
    OWN(buf) Buf ignored = {0};
    Elf e = {.file = file, .out = &ignored};
    *ret = NULL;
    if (!check_header(&e))
        return 0;
    for (uint32_t wanted = SHT_SYMTAB;; wanted = SHT_DYNSYM) {
        for (uint32_t i = 0; i < e.nsections; i++) {
            Elf64_Shdr s;
            if (section(&e, i, &s) && s.sh_type == wanted)
                return read_functions(&e, &s, a, ret);
        }
        if (wanted == SHT_DYNSYM)
            return 0;
    }
}

const ElfFunction *elf_function_at(const ElfFunction *functions, uint32_t n, uint64_t address)
{
    uint32_t lo = 0, hi = n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (functions[mid].address <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    const ElfFunction *f = lo ? &functions[lo - 1] : NULL;
    return f && (!f->bytes || address - f->address < f->bytes) ? f : NULL;
}
