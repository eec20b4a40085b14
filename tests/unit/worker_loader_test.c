/* worker_loader_test.c - elf_check.h and loader.h on modules that are compiled here, good and wrong.
 * Needs cc; run from the root of the repository (or SDK_DIR names sdk/). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "host/worker/elf_check.h"
#include "host/worker/loader.h"
#include <stdio.h>
#include <unistd.h>

static char dir[64];
static int counter;

static void put_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Compiles one or two sources; the path stays good until the next 8 calls. */
static const char *build2(const char *source, const char *second, const char *flags)
{
    static char paths[8][128];
    char *so = paths[counter % 8], command[1024], c1[128], c2[128] = "";
    const char *sdk = getenv("SDK_DIR");
    snprintf(so, sizeof paths[0], "%s/m%d.so", dir, counter);
    snprintf(c1, sizeof c1, "%s/m%d.c", dir, counter);
    put_file(c1, source);
    if (second) {
        snprintf(c2, sizeof c2, "%s/n%d.c", dir, counter);
        put_file(c2, second);
    }
    counter++;
    snprintf(command, sizeof command, "cc -std=gnu11 -O1 -fPIC -shared -fvisibility=hidden -w -I %s -I %s %s %s %s -o %s",
             sdk ? sdk : "sdk", dir, c1, c2, flags, so);
    if (system(command) != 0)
        fail_msg("cannot compile: %s", command);
    return so;
}
static const char *build(const char *source, const char *flags) { return build2(source, NULL, flags); }

/* Opening must fail, with every one of these texts. */
static void refused(const char *path, const char *const *texts)
{
    Module *m = NULL;
    Error err;
    Status st = loader_open(str_of(path), &m, &err);
    if (st == S_OK)
        fail_msg("a wrong module was taken; expected: %s", texts[0]);
    for (; *texts; texts++)
        if (!strstr(err.text, *texts))
            fail_msg("expected \"%s\" in:\n%s", *texts, err.text);
    assert_false(loader_is_mapped(path));
}
#define REFUSED(path, ...) refused((path), (const char *const[]){__VA_ARGS__, NULL})

#define HEAD "#include \"spacetimedb.h\"\nST_MODULE(m, \"1.0\");\n"

static const char chat[] = HEAD
    "ST_ENUM(room_kind, OPEN, INVITE);\n"
    "ST_STRUCT(point, (double, x), (double, y));\n"
    "ST_SUM(attachment, (st_unit, nothing), (st_str, link), (point, place));\n"
    "ST_OPTION(point); ST_RESULT(point, st_str);\n"
    "ST_TABLE(user, PUBLIC, (st_identity, identity, PK), (opt_st_str, name), (bool, online));\n"
    "ST_TABLE(message, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, room), (st_identity, sender, INDEX),\n"
    "    (st_timestamp, sent), (st_str, text), (attachment, extra), (arr_st_str, tags), (opt_point, at), (res_point_st_str, r),\n"
    "    (st_u128, big), (st_i256, bigger), (room_kind, kind), (float, f), (st_uuid, uuid), (st_connection_id, c), (st_duration, d));\n"
    "ST_INDEX(message, by_room_sent, room, sent);\n"
    "ST_DEFAULT(message, d, { 5 }); ST_DEFAULT(message, text, ST_S(\"hello\")); ST_DEFAULT(message, kind, room_kind_INVITE);\n"
    "ST_EVENT_TABLE(joined, PUBLIC, (st_identity, who));\n"
    "ST_TABLE(reminder, PRIVATE, (uint64_t, id, PK_AUTO), (st_schedule_at, at), (st_str, text));\n"
    "ST_REDUCER(remind, (reminder, row)) { return row.id == 7 ? ST_E_NO_ROW : ST_OK; }\n"
    "ST_SCHEDULE(reminder, at, remind);\n"
    "ST_INIT(on_init) { return ST_OK; }\n"
    "ST_REDUCER(add, (uint32_t, a), (uint32_t, b)) { return a + b == 5 ? ST_E_USER : ST_OK; }\n"
    "ST_VIEW(me, PUBLIC, user) { return ST_OK; }\n"
    "ST_ANON_VIEW(points, PUBLIC, point) { return ST_OK; }\n"
    "ST_PROCEDURE(fetch, uint64_t, (st_str, url)) { *ret = url.len; return ST_OK; }\n";

static void test_good(void **state)
{
    (void)state;
    Error err;
    Module *m;
    const char *path = build(chat, "-g -lm");
    if (loader_open(str_of(path), &m, &err) != S_OK)
        fail_msg("%s", err.text);
    assert_true(str_is(m->name, "m") && str_is(m->version, "1.0"));
    assert_int_equal(m->def->ntables, 4);
    assert_int_equal(m->def->nreducers, 3);
    assert_int_equal(m->def->nprocedures, 1);
    assert_int_equal(m->def->nviews, 2);
    const TableDef *t = module_def_table(m->def, STR("message"));
    assert_non_null(t);
    assert_int_equal(t->ncols, 16);
    assert_int_equal(t->pk, 0);
    assert_int_equal(t->nindexes, 3);
    assert_int_equal(t->nsequences, 1);
    int32_t c = table_def_column(t, STR("text"));
    assert_true(t->cols[c].has_default && bytes_eq(t->cols[c].default_bsatn, bytes_of("\5\0\0\0hello", 9)));
    assert_non_null(module_def_table(m->def, STR("reminder"))->schedule);
    assert_true(module_def_table(m->def, STR("joined"))->is_event);
    assert_true(module_def_lifecycle(m->def, LIFECYCLE_INIT) >= 0);
    for (uint32_t i = 0; i < m->def->nreducers; i++) {
        struct {
            uint32_t a, b;
        } sum = {2, 3};
        struct {
            uint64_t id;
            st_schedule_at at;
            st_str text;
        } row = {.id = 7};
        Str name = m->def->reducers[i].name;
        st_status want = str_is(name, "add") ? ST_E_USER : str_is(name, "remind") ? ST_E_NO_ROW : ST_OK;
        const void *args = str_is(name, "add") ? (void *)&sum : (void *)&row;
        assert_int_equal(m->call_reducer(m, i, NULL, args), want);
    }
    uint32_t tables = 0;
    for (uint32_t i = 0; i < m->nitems; i++)
        tables += m->items[i]->kind == ST_ITEM_TABLE;
    assert_int_equal(tables, 4);
    assert_true(loader_is_mapped(path));
    Module *again;
    assert_int_equal(loader_open(str_of(path), &again, &err), S_CONFLICT);
    Buf first = {0};
    buf_put_bytes(&first, m->definition);
    m->unload(m);
    assert_false(loader_is_mapped(path));

    /* the other compiler, other order of records: the same definition */
    if (system("command -v clang >/dev/null 2>&1") == 0 && access("/usr/bin/clang", X_OK) == 0) {
        char other[128], command[512];
        const char *sdk = getenv("SDK_DIR");
        snprintf(other, sizeof other, "%s/clang.so", dir);
        snprintf(command, sizeof command, "clang -std=gnu11 -w -O2 -fPIC -shared -fvisibility=hidden -I %s %s/m%d.c -o %s",
                 sdk ? sdk : "sdk", dir, counter - 1, other);
        assert_int_equal(system(command), 0);
        if (loader_open(str_of(other), &m, &err) != S_OK)
            fail_msg("%s", err.text);
        assert_true(bytes_eq(m->definition, buf_bytes(&first)));
        m->unload(m);
    }
    buf_done(&first);
    /* stripped, and empty */
    assert_int_equal(loader_open(str_of(build(chat, "-s")), &m, &err), S_OK);
    m->unload(m);
    Status st = loader_open(str_of(build(HEAD "ST_REDUCER(nothing) { return ST_OK; }", "")), &m, &err);
    if (st != S_OK)
        fail_msg("%s", err.text);
    m->unload(m);
}

static void test_shared_header(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/tables.h", dir);
    put_file(path, "#include \"spacetimedb.h\"\nST_TABLE(t, PUBLIC, (uint64_t, id, PK), (uint32_t, n));\nST_INDEX(t, both, n, "
                   "id);\nST_DEFAULT(t, n, 3);\n");
    Error err;
    Module *m;
    Status st = loader_open(
        str_of(build2("#include \"tables.h\"\nST_MODULE(m, \"1\");\nST_REDUCER(a) { return t_count(ctx->db) ? ST_OK : ST_E_USER; }",
                      "#include \"tables.h\"\nST_REDUCER(b) { return t_count(ctx->db) ? ST_OK : ST_E_USER; }", "")),
        &m, &err);
    if (st != S_OK)
        fail_msg("%s", err.text);
    assert_int_equal(m->def->ntables, 1);
    assert_int_equal(m->def->tables[0].nindexes, 2);
    assert_int_equal(m->def->nreducers, 2);
    uint32_t tables = 0;
    for (uint32_t i = 0; i < m->nitems; i++)
        tables += m->items[i]->kind == ST_ITEM_TABLE;
    assert_int_equal(tables, 2); /* one handle for each record */
    m->unload(m);
    REFUSED(build2("#include \"tables.h\"\nST_MODULE(m, \"1\");",
                   "#include \"spacetimedb.h\"\nST_TABLE(t, PUBLIC, (uint64_t, id, PK), (uint64_t, n));\nST_DEFAULT(t, n, 4);", ""),
            "table t is declared in two source files, differently", "column n of table t has two different defaults");
}

static void test_elf(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/text.so", dir);
    put_file(path, "hello");
    REFUSED(path, "not an ELF file");
    put_file(path, "");
    REFUSED(path, "not an ELF file");
    REFUSED("/nowhere/x.so", "/nowhere/x.so");
    REFUSED("x.so", "absolute");
    REFUSED("/bin/true", "it is a program");
    REFUSED(build("int x_unused(void) { return 1; }", ""), "no st_module: is ST_MODULE");
    REFUSED(build(HEAD "int system(const char *); int fork(void); int socket(int, int, int); void *malloc(size_t);\n"
                       "ST_REDUCER(r) { void *p = malloc(3); return system(p) + fork() + socket(1, 2, 3) ? ST_OK : ST_E_USER; }",
                  ""),
            "it uses system: a module starts no programs", "it uses fork", "it uses socket: a module has no network",
            "it uses malloc: use st_alloc");
    REFUSED(build(HEAD "extern int missing(void); ST_REDUCER(r) { return missing() ? ST_OK : ST_E_USER; }", ""), "it uses missing");
    REFUSED(build(HEAD "static int count; int bump(void) { return ++count; } ST_REDUCER(r) { return bump() ? ST_OK : ST_E_USER; }", "-O0"),
            "the variable count is writable");
    REFUSED(build(HEAD
                  "int table_of[100] = {1}; int *bump(void) { return table_of; } ST_REDUCER(r) { return *bump() ? ST_OK : ST_E_USER; }",
                  "-s"),
            "bytes of writable variables");
    REFUSED(build(HEAD "static _Thread_local int n; ST_REDUCER(r) { return ++n ? ST_OK : ST_E_USER; }", "-O0"), "thread-local");
    REFUSED(build(HEAD "__attribute__((constructor)) static void c(void) {} __attribute__((destructor)) static void d(void) {}", "-O0"),
            "constructors", "destructors");
    REFUSED(build(HEAD, "-z execstack"), "executable stack");
    REFUSED(build(HEAD "ST_REDUCER(r) { return ST_OK; }", "-Wl,--no-as-needed -l:libseccomp.so.2"), "libseccomp.so.2");
    REFUSED(build(HEAD, "-Wl,-z,nodelete"), "never to be unloaded");
    assert_true(elf_symbol_allowed(STR("memcpy")) && elf_symbol_allowed(STR("sinf")) && elf_symbol_allowed(STR("snprintf")));
    assert_false(elf_symbol_allowed(STR("execve")) || elf_symbol_allowed(STR("memcp")) || elf_symbol_allowed(STR("")));

    /* fields of the header */
    Buf file = {0}, problems = {0};
    FILE *f = fopen(build(HEAD, ""), "rb");
    uint8_t chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;)
        buf_put(&file, chunk, n);
    fclose(f);
    assert_int_equal(elf_check(buf_bytes(&file), &problems), 0);
    static const struct {
        size_t at;
        uint8_t value;
        const char *text;
    } changes[] = {
        {4, 1, "it is 32-bit little-endian, the host is 64-bit little-endian"},
        {5, 2, "big-endian"},
        {18, 243, "it is for RISC-V (machine 243), the host is"},
        {16, 1, "an object file"},
        {58, 3, "header table is missing"},
    };
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        uint8_t old = file.ptr[changes[i].at];
        file.ptr[changes[i].at] = changes[i].value;
        buf_reset(&problems);
        assert_true(elf_check(buf_bytes(&file), &problems) > 0);
        if (!strstr(buf_cstr(&problems), changes[i].text))
            fail_msg("expected \"%s\" in %s", changes[i].text, buf_cstr(&problems));
        file.ptr[changes[i].at] = old;
    }
    for (size_t n = 0; n < file.len; n += 97) { /* cut short anywhere */
        uint8_t *copy = malloc(n + 1);
        memcpy(copy, file.ptr, n);
        buf_reset(&problems);
        assert_true(elf_check(bytes_of(copy, n), &problems) > 0);
        free(copy);
    }
    buf_done(&file);
    buf_done(&problems);
}

/* st_module by hand, to say wrong things. */
#define RAW                                                                                                                                \
    "#define ST_MODULE(...)\n#include \"spacetimedb.h\"\n#define DESC(magic, size, major, minor, ptr, item) "                              \
    "extern const st_module_desc st_module; __attribute__((visibility(\"default\"), used)) const st_module_desc st_module = "              \
    "{ magic, size, major, minor, ptr, item, \"m\", \"1\", \"\", __start_st_items, __stop_st_items };\n"                                   \
    "ST_REDUCER(nothing) { return ST_OK; }\n"

static void test_handshake(void **state)
{
    (void)state;
    REFUSED(build(RAW "DESC(0x1234, sizeof(st_module_desc), 1, 0, 8, sizeof(st_item))", ""), "st_module does not begin with 0x315453");
    REFUSED(build(RAW "DESC(ST_MAGIC, sizeof(st_module_desc), 2, 3, 8, sizeof(st_item))", ""), "ABI 2.3, this host offers 1.1");
    REFUSED(build(RAW "DESC(ST_MAGIC, sizeof(st_module_desc), 1, 9, 8, sizeof(st_item))", ""),
            "ABI 1.9, this host offers up to 1.1: update the host");
    REFUSED(build(RAW "DESC(ST_MAGIC, 99, 1, 0, 4, 7)", ""), "st_module has 99 bytes, the host expects 56", "pointers have 4 bytes",
            "records have 7 bytes");
    REFUSED(build("int st_module_[9]; __attribute__((visibility(\"default\"))) const int st_module = 5;",
                  "-Wl,--unresolved-symbols=ignore-all"),
            "st_module");
}

static void test_records(void **state)
{
    (void)state;
    REFUSED(
        build(
            HEAD
            "ST_TABLE(t, PUBLIC, (uint8_t, a), (uint64_t, b)); ST_OPTION(t);\nST_REDUCER(r, (uint8_t, x), (uint32_t, y)) { return ST_OK; }",
            "-fpack-struct"),
        "-fpack-struct");
    REFUSED(build(HEAD
                  "#pragma pack(push, 1)\nST_TABLE(t, PUBLIC, (uint8_t, a), (uint64_t, b));\n#pragma pack(pop)\n"
                  "#pragma pack(push, 2)\nST_STRUCT(s, (uint32_t, a), (uint64_t, b));\n#pragma pack(pop)\nST_TABLE(u, PUBLIC, (s, v));",
                  ""),
            "type t: b lies at offset 1, it should be 8", "type s: b lies at offset 4, it should be 8");
    REFUSED(build(HEAD "ST_SUM(choice, (st_unit, a), (st_unit, b)); ST_TABLE(t, PUBLIC, (choice, c));", ""),
            "type choice has the shape of an enum (ST_ENUM)");
    REFUSED(build(HEAD "static const st_item odd = { 77, 0, \"odd\" }; ST_I_PUT(odd_)", "-Dst_item_odd_=odd"),
            "record 1 of the module is damaged");
    REFUSED(build(HEAD "static const st_item st_item_x = { ST_ITEM_INDEX, 0, \"ix\", 0, 0, \"ghost\", 0, 1 }; ST_I_PUT(x)", ""),
            "the index ix belongs to a table that the module does not declare");
    REFUSED(build(HEAD "ST_TABLE(t, PUBLIC, (uint64_t, a)); static const uint16_t cols[2] = { 0, 9 };\n"
                       "static const st_item st_item_x = { ST_ITEM_INDEX, 0, \"ix\", 0, 0, \"t\", cols, 2 }; ST_I_PUT(x)\n"
                       "static const st_item st_item_y = { ST_ITEM_SCHEDULE, 0, \"f\", 0, 0, \"t\", 0, 0 }; ST_I_PUT(y)\n"
                       "static const st_item st_item_z = { ST_ITEM_DEFAULT, 0, \"zz\", 0, 0, \"t\", cols, 0 }; ST_I_PUT(z)\n"
                       "static const st_item st_item_v = { ST_ITEM_DEFAULT, 0, \"a\", 0, 0, \"t\", (void *)0x1000, 0 }; ST_I_PUT(v)",
                  ""),
            "index ix of table t names column 10, the table has 1", "not of type st_schedule_at", "there is no such column",
            "the default for column a of table t lies outside of the module");
    REFUSED(build(HEAD "extern const st_type loop; static const st_field f[] = { { \"x\", &loop, 0, 0 } };\n"
                       "const st_type loop = { \"loop\", ST_K_STRUCT, 8, 8, 1, f };\n"
                       "static const st_item st_item_t = { ST_ITEM_TABLE, 1, \"t\", &loop }; ST_I_PUT(t)",
                  ""),
            "type loop contains itself");
    REFUSED(build(HEAD "static const st_type huge = { \"huge\", ST_K_STRUCT, 8, 8, 0x40000000, (void *)&huge };\n"
                       "static const st_item st_item_t = { ST_ITEM_TABLE, 1, \"t\", &huge }; ST_I_PUT(t)\n"
                       "static const st_item st_item_u = { ST_ITEM_TABLE, 1, \"u\", (void *)8 }; ST_I_PUT(u)",
                  ""),
            "type huge has 1073741824 fields", "u: its type record is damaged");
    REFUSED(
        build(HEAD "static const st_item st_item_f = { ST_ITEM_FUNCTION, 0, \"f\", 0, 0, 0, 0, 0, (int (*)(void))64 }; ST_I_PUT(f)", ""),
        "function f: its code is not in the module");
    REFUSED(build(HEAD "ST_TABLE(t, PUBLIC, (uint64_t, id, PK), (st_schedule_at, at));\n"
                       "static const st_item st_item_s = { ST_ITEM_SCHEDULE, 0, \"gone\", 0, 0, \"t\", 0, 1 }; ST_I_PUT(s)",
                  ""),
            "table t is scheduled to call gone, which is no reducer");
    /* more problems than an error holds: the rest is counted */
    char source[6000];
    int n = snprintf(source, sizeof source, "%s", HEAD);
    for (int i = 0; i < 40; i++)
        n += snprintf(source + n, sizeof source - (size_t)n,
                      "static const st_item st_item_x%d = { ST_ITEM_TABLE, 1, \"t%d\", (void *)8 }; ST_I_PUT(x%d)\n", i, i, i);
    REFUSED(build(source, ""), "t0: its type record is damaged", " more");
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/loader-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}
static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),      cmocka_unit_test(test_shared_header), cmocka_unit_test(test_elf),
        cmocka_unit_test(test_handshake), cmocka_unit_test(test_records),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
