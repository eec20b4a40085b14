/* module_build.c - compiling a module: what `build` does and `publish` begins with. */
#include "cli/cli.h"
#include "cli/project.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOURCES_MAX = 512 };

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

const char *module_path(Cli *c, const char *path, const Project *p)
{
    if (!path && p)
        path = p->root.module_path;
    if (!path)
        path = is_dir("./spacetimedb") ? "./spacetimedb" : ".";
    if (!is_dir(path))
        cli_fail("Project path does not exist: %s", path);
    return cli_text(c, "%s", path);
}

static int by_name(const void *x, const void *y) { return strcmp(*(char *const *)x, *(char *const *)y); }

static size_t find_sources(Cli *c, const char *dir, const char **ret)
{
    DIR *d = opendir(dir);
    size_t n = 0;
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        size_t len = strlen(e->d_name);
        if (len < 3 || e->d_name[0] == '.' || strcmp(e->d_name + len - 2, ".c") != 0)
            continue;
        if (n == SOURCES_MAX)
            cli_fail("%s holds more than %d .c files", dir, SOURCES_MAX);
        ret[n++] = cli_text(c, "%s/%s", dir, e->d_name);
    }
    if (d)
        closedir(d);
    qsort(ret, n, sizeof *ret, by_name);
    return n;
}

/* The name in ST_MODULE(name, "1.0.0"), which stands at the beginning of a line in exactly one file. */
static const char *find_name(Cli *c, size_t n, const char *const *sources, const char *dir)
{
    const char *name = NULL, *where = NULL;
    for (size_t i = 0; i < n; i++) {
        FILE *f = fopen(sources[i], "r");
        if (!f)
            cli_fail("cannot read %s: %s", sources[i], strerror(errno));
        char line[1024], word[64];
        while (fgets(line, sizeof line, f)) {
            if (sscanf(line, " ST_MODULE ( %63[A-Za-z0-9_]", word) != 1)
                continue;
            if (name)
                cli_fail("%s and %s both have an ST_MODULE: a module has exactly one", where, sources[i]);
            name = cli_text(c, "%s", word);
            where = sources[i];
        }
        fclose(f);
    }
    if (!name)
        cli_fail("no .c file of the %zu in %s says ST_MODULE(name, \"1.0.0\"); one must, at the beginning of a line", n, dir);
    return name;
}

static bool in_path(const char *program)
{
    if (strchr(program, '/'))
        return access(program, X_OK) == 0;
    const char *path = getenv("PATH");
    for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
        size_t n = strcspn(p, ":");
        char full[4096];
        snprintf(full, sizeof full, "%.*s/%s", (int)n, p, program);
        if (n && access(full, X_OK) == 0)
            return true;
        p += n + (p[n] == ':');
    }
    return false;
}

static const char *find_compiler(void)
{
    const char *cc = getenv("CC");
    if (cc && cc[0]) {
        if (!in_path(cc))
            cli_fail("the compiler of $CC, `%s`, is not there; unset CC to use gcc or clang", cc);
        return cc;
    }
    if (in_path("gcc"))
        return "gcc";
    if (in_path("clang"))
        return "clang";
    cli_fail("no C compiler: neither gcc nor clang is installed (Debian: apt-get install gcc); or name one in $CC");
}

static const char *find_sdk(Cli *c)
{
    const char *env = getenv("SPACETIME_SDK");
    const char *places[] = {
        env && env[0] ? env : NULL, cli_text(c, "%s/../include/spacetime-pg", c->self_dir), cli_text(c, "%s/../../sdk", c->self_dir),
        cli_text(c, "%s/../../../sdk", c->self_dir), /* build/asan/bin */
    };
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        if (places[i] && access(cli_text(c, "%s/spacetimedb.h", places[i]), R_OK) == 0) {
            char *real = realpath(places[i], NULL);
            const char *out = cli_text(c, "%s", real ? real : places[i]);
            free(real);
            return out;
        }
        if (i == 0 && places[0])
            cli_fail("there is no spacetimedb.h in $SPACETIME_SDK, %s", places[0]);
    }
    cli_fail("cannot find spacetimedb.h in %s or %s; name its directory in SPACETIME_SDK", places[1], places[2]);
}

/* Is it clang, under whatever name? Asks `CC --version`. */
static bool is_clang(const char *cc)
{
    int fds[2];
    char text[256] = "";
    if (pipe(fds) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execlp(cc, cc, "--version", (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    size_t n = 0;
    for (ssize_t got; n < sizeof text - 1 && (got = read(fds[0], text + n, sizeof text - 1 - n)) > 0;)
        n += (size_t)got;
    close(fds[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return strstr(text, "clang") != NULL;
}

/* A directory below the current one is named from there: shorter to read. */
static const char *from_here(Cli *c, const char *dir)
{
    char here[4096];
    size_t n = getcwd(here, sizeof here) ? strlen(here) : 0;
    if (n > 1 && strncmp(dir, here, n) == 0 && dir[n] == '/')
        return dir + n + 1;
    if (n > 1 && strcmp(dir, here) == 0)
        return ".";
    return strncmp(dir, "./", 2) == 0 && dir[2] ? cli_text(c, "%s", dir + 2) : dir;
}

const char *module_build(Cli *c, const char *dir, bool debug)
{
    dir = from_here(c, dir);
    const char *sources[SOURCES_MAX], *where = dir;
    size_t nsources = find_sources(c, dir, sources);
    if (nsources == 0) {
        where = cli_text(c, "%s/src", dir);
        nsources = find_sources(c, where, sources);
    }
    if (nsources == 0)
        cli_fail("there is no .c file in %s or %s/src: is it the directory of a module? Name it with --module-path, or "
                 "make one with `spacetime init NAME`",
                 dir, dir);
    const char *name = find_name(c, nsources, sources, where), *cc = find_compiler(), *sdk = find_sdk(c);
    const char *out_dir = cli_text(c, "%s/build", dir), *out = cli_text(c, "%s/%s.so", out_dir, name);
    if (mkdir(out_dir, 0777) != 0 && errno != EEXIST)
        cli_fail("cannot make the directory %s: %s", out_dir, strerror(errno));
    bool clang = is_clang(cc);
    /* the lines that sdk/spacetimedb.h documents */
    static const char *const common[] = {"-g", "-fPIC", "-shared", "-fvisibility=hidden", "-fstack-clash-protection"};
    static const char *const for_gcc[] = {"-fno-gnu-unique", "-ftrack-macro-expansion=0", "-fmax-errors=3"};
    static const char *const for_clang[] = {"-fmacro-backtrace-limit=1", "-ferror-limit=3"};
    const char *argv[SOURCES_MAX + 32];
    int n = 0;
    argv[n++] = cc;
    argv[n++] = "-std=c11";
    argv[n++] = debug ? "-O0" : "-O2";
    for (size_t i = 0; i < COUNT_OF(common); i++)
        argv[n++] = debug && i == 0 ? "-g3" : common[i];
    for (size_t i = 0; i < (clang ? COUNT_OF(for_clang) : COUNT_OF(for_gcc)); i++)
        argv[n++] = clang ? for_clang[i] : for_gcc[i];
    argv[n++] = "-Wall";
    argv[n++] = cli_text(c, "-fmacro-prefix-map=%s/=", where); /* the log says module.c:12 */
    argv[n++] = "-I";
    argv[n++] = sdk;
    for (size_t i = 0; i < nsources; i++)
        argv[n++] = sources[i];
    argv[n++] = "-o";
    argv[n++] = out;
    argv[n] = NULL;
    printf("Compiling module `%s` (%zu file%s)\n ", name, nsources, nsources == 1 ? "" : "s");
    for (int i = 0; i < n; i++)
        printf(" %s", argv[i]);
    putchar('\n');
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execvp(cc, (char *const *)argv);
        fprintf(stderr, "cannot run %s: %s\n", cc, strerror(errno));
        _exit(127);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        cli_fail("cannot run %s: %s", cc, strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        cli_fail("module `%s` does not compile; the compiler's messages are above", name);
    puts("Build finished successfully.");
    return out;
}
