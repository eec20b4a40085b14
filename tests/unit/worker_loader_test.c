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

#include "host/wire/sats_json.h"
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

static Module *opened(const char *path)
{
    Module *m = NULL;
    Error err;
    if (loader_open(str_of(path), &m, &err) != S_OK)
        fail_msg("%s", err.text);
    return m;
}

/* The same source as C++. */
static const char *build_cpp(const char *source, const char *compiler)
{
    static char so[128];
    char file[128], command[1024];
    const char *sdk = getenv("SDK_DIR");
    snprintf(so, sizeof so, "%s/m%d.so", dir, counter);
    snprintf(file, sizeof file, "%s/m%d.cc", dir, counter++);
    put_file(file, source);
    snprintf(command, sizeof command,
             "%s -std=c++17 -O2 -fPIC -shared -fvisibility=hidden -fno-exceptions -fno-rtti -fno-threadsafe-statics -w -I %s %s "
             "-Wl,--as-needed -o %s",
             compiler, sdk ? sdk : "sdk", file, so);
    if (system(command) != 0)
        fail_msg("cannot compile: %s", command);
    return so;
}

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
    REFUSED(build(RAW "DESC(ST_MAGIC, sizeof(st_module_desc), 2, 3, 8, sizeof(st_item))", ""), "ABI 2.3, this host offers 1.2");
    REFUSED(build(RAW "DESC(ST_MAGIC, sizeof(st_module_desc), 1, 9, 8, sizeof(st_item))", ""),
            "ABI 1.9, this host offers up to 1.2: update the host");
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

/* As much of a host as the functions below need. */
static uint32_t scanned_item;
static uint64_t count_one(const st_db *db, uint32_t item) { return db->api && item < 1000 ? 1 : 0; }
static st_cursor scan_nothing(const st_db *db, uint32_t item, uint32_t ncols, const uint16_t *cols, uint32_t neq, const void *const *eq,
                              const void *lo, const void *hi)
{
    if (ncols == 0)
        scanned_item = item;
    return (st_cursor){0};
}
static const void *next_nothing(const st_db *db, st_cursor *cursor) { return NULL; }
static const void *find_nothing(const st_db *db, uint32_t item, uint32_t col, const void *key) { return NULL; }
static st_status fail_user(st_call *call, const char *format, ...) { return ST_E_USER; }
static void log_nothing(st_call *call, st_log_level level, const st_log_loc *loc, const char *format, ...) {}

static const IndexDef *index_of(const TableDef *t, const char *accessor)
{
    for (uint16_t i = 0; i < t->nindexes; i++)
        if (str_is(t->indexes[i].accessor, accessor))
            return &t->indexes[i];
    fail_msg("table %.*s has no index %s", STR_FMT(t->name), accessor);
    return NULL;
}

#define KEYS "#include \"../tests/sdk/modules/keys.c\"\n"
#define MIGRATE "#include \"../tests/sdk/modules/migrate.c\"\n"

static void test_keys(void **state)
{
    (void)state;
    Module *m = opened(build(KEYS, ""));
    const TableDef *t = module_def_table(m->def, STR("seat"));
    static const struct {
        const char *accessor;
        IndexAlgorithm algorithm;
        bool unique;
        uint16_t ncols;
    } want[] = {{"id", INDEX_HASH, true, 1},
                {"slot", INDEX_DIRECT, true, 1},
                {"guest", INDEX_HASH, false, 1},
                {"label", INDEX_HASH, true, 1},
                {"by_place", INDEX_BTREE, true, 2},
                {"by_row_guest", INDEX_HASH, false, 2},
                {"by_number_id", INDEX_BTREE, false, 2}};
    assert_int_equal(t->nindexes, COUNT_OF(want));
    assert_int_equal(t->nconstraints, 4);
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        const IndexDef *ix = index_of(t, want[i].accessor);
        assert_true(ix->algorithm == want[i].algorithm && ix->unique == want[i].unique && ix->ncols == want[i].ncols);
    }
    const TableDef *ticket = module_def_table(m->def, STR("ticket"));
    assert_int_equal(ticket->nsequences, 3);
    for (uint16_t i = 0; i < 3; i++) {
        const SequenceDef *s = &ticket->sequences[i];
        if (s->col == 0)
            assert_true(s->start == 1000 && s->min == 1000 && s->max == (i128)UINT64_MAX && s->increment == 10);
        else if (s->col == 1)
            assert_true(s->start == -1 && s->min == INT32_MIN && s->max == -1 && s->increment == -1);
        else
            assert_true(s->start == (i128)1 << 100 && s->max == (i128)1 << 120);
    }
    const TableDef *odd = module_def_table(m->def, STR("\u00fcberTable"));
    assert_non_null(odd);
    assert_true(module_def_table(m->def, STR("odd")) == odd); /* how the core finds the table of a record */
    assert_int_equal(table_def_column(odd, STR("int")), 1);
    assert_int_equal(table_def_column(odd, STR("register")), 2);
    assert_true(str_is(index_of(odd, "by_both")->name, "odd_by_both") && str_is(index_of(odd, "int")->name, "odd_ints"));
    const ReducerDef *counter_of = module_def_reducer(m->def, STR("countOdd"));
    assert_true(counter_of && str_is(counter_of->source_name, "count_odd"));
    assert_int_equal(m->def->nviews, 1);
    assert_true(str_is(m->def->views[0].name, "oddOnes"));
    /* and the right code runs for it */
    struct {
        st_api api;
        st_db db;
        st_reducer_ctx ctx;
    } host = {0};
    host.api.count = count_one;
    host.db.api = host.ctx.api = &host.api;
    host.ctx.db = &host.db;
    assert_int_equal(m->call_reducer(m, (uint32_t)(counter_of - m->def->reducers), &host.ctx, NULL), ST_OK);
    m->unload(m);
}

/* A default as text, after a round trip through its native form. */
static void default_text(Buf *out, const ColumnDef *c)
{
    Arena a = {0};
    Error err;
    assert_true(c->has_default);
    Reader r = reader_of(c->default_bsatn);
    void *v = arena_alloc(&a, c->type->size + 16);
    if (value_decode(&r, c->type, v, &a, &err) != S_OK)
        fail_msg("%.*s: %s", STR_FMT(c->name), err.text);
    assert_int_equal(reader_left(&r), 0);
    Buf again = {0};
    value_encode(&again, c->type, v);
    assert_true(bytes_eq(buf_bytes(&again), c->default_bsatn));
    r = reader_of(c->default_bsatn);
    assert_int_equal(json_from_bsatn(out, &r, c->type, (JsonMode){0}, &err), S_OK);
    buf_done(&again);
    arena_done(&a);
}

static void test_defaults(void **state)
{
    (void)state;
    static const struct {
        const char *table, *column, *json;
    } want[] = {
        {"plain", "b", "true"},
        {"plain", "i8", "-128"},
        {"plain", "u8", "255"},
        {"plain", "i16", "-300"},
        {"plain", "u16", "65535"},
        {"plain", "i32", "-70000"},
        {"plain", "u32", "4000000000"},
        {"plain", "i64", "-5000000000"},
        {"plain", "u64", "18446744073709551615"},
        {"plain", "i128", "-1267650600228229401496703205376"},
        {"plain", "u128", "82728145821494478971076347886043136"},
        {"plain", "i256", "\"-0x7ffffffffffffffffffffffffffffffcfffffffffffffffdffffffffffffffff\""},
        {"plain", "u256", "\"0x4000000000000000300000000000000020000000000000001\""},
        {"plain", "f32", "1.5"},
        {"plain", "f64", "-0.25"},
        {"plain", "text", "\"héllo\""},
        {"plain", "no_text", "\"\""},
        {"plain", "bytes", "\"00ff01\""},
        {"plain", "identity", "[\"0x30201\"]"},
        {"plain", "connection", "[9]"},
        {"plain", "uuid", "[226939718795981711160182403061222735872]"},
        {"plain", "at", "[1700000000000000]"},
        {"plain", "pause", "[-5]"},
        {"plain", "due", "[1,[77]]"},
        {"plain", "nothing", "[]"},
        {"plain", "color", "[2,[]]"},
        {"composed", "p", "[1.5,-2.5]"},
        {"composed", "s", "[2,[1.0,2.0]]"},
        {"composed", "s0", "[1,\"t\"]"},
        {"composed", "some_text", "[0,\"x\"]"},
        {"composed", "none", "[1,[]]"},
        {"composed", "some_point", "[0,[3.0,4.0]]"},
        {"composed", "some_hue", "[0,[1,[]]]"},
        {"composed", "some_list", "[0,[1,2]]"},
        {"composed", "some_shape", "[0,[0,[]]]"},
        {"composed", "ok", "[0,5]"},
        {"composed", "err", "[1,\"no\"]"},
        {"composed", "list", "[1,2,3]"},
        {"composed", "empty", "[]"},
        {"composed", "words", "[\"a\",\"bc\"]"},
        {"composed", "blobs", "[\"01\",\"\"]"},
        {"composed", "points", "[[1.0,2.0],[3.0,4.0]]"},
        {"composed", "lists", "[[1],[],[2,3]]"},
        {"composed", "maybe", "[[0,\"m\"],[1,[]]]"},
        {"composed", "shapes", "[[1,\"s\"],[2,[5.0,6.0]]]"},
        {"composed", "hues", "[[0,[]],[2,[]]]"},
        {"composed", "wide", "[1,170141183460469231731687303715884105728]"},
    };
    Module *m = opened(build(KEYS, ""));
    size_t at = 0;
    static const char *const tables[] = {"plain", "composed"};
    for (int k = 0; k < 2; k++) {
        const TableDef *t = module_def_table(m->def, str_of(tables[k]));
        for (uint16_t c = 1; c < t->ncols; c++, at++) {
            Buf text = {0};
            default_text(&text, &t->cols[c]);
            assert_true(at < COUNT_OF(want) && str_is(t->cols[c].name, want[at].column) && strcmp(tables[k], want[at].table) == 0);
            assert_string_equal(buf_cstr(&text), want[at].json);
            buf_done(&text);
        }
    }
    assert_int_equal(at, COUNT_OF(want));
    m->unload(m);
    /* the other compiler lays out the same constants */
    static const char *const clang = "clang";
    if (access("/usr/bin/clang", X_OK) == 0) {
        Module *a = opened(build(KEYS, "")), *b;
        char other[128], command[512];
        const char *sdk = getenv("SDK_DIR");
        snprintf(other, sizeof other, "%s/keys-clang.so", dir);
        snprintf(command, sizeof command, "%s -std=gnu11 -w -O2 -fPIC -shared -fvisibility=hidden -I %s %s/m%d.c -o %s", clang,
                 sdk ? sdk : "sdk", dir, counter - 1, other);
        assert_int_equal(system(command), 0);
        b = opened(other);
        assert_true(bytes_eq(a->definition, b->definition));
        a->unload(a);
        b->unload(b);
    }
}

static void test_migrations(void **state)
{
    (void)state;
    Module *m = opened(build(MIGRATE, ""));
    static const struct {
        uint32_t version;
        MigrationOpKind kind;
        const char *table, *a, *b;
    } want[] = {{1, MIGRATE_RENAME_TABLE, "person", "account", ""},  {1, MIGRATE_RENAME_COLUMN, "account", "nick", "handle"},
                {2, MIGRATE_CONVERT_COLUMN, "account", "cents", ""}, {2, MIGRATE_CONVERT_COLUMN, "account", "note", ""},
                {2, MIGRATE_DROP_COLUMN, "account", "bool", ""},     {2, MIGRATE_DROP_TABLE, "audit", "", ""},
                {3, MIGRATE_REPLACE_ROWS, "total", "", ""},          {3, MIGRATE_ADD_UNIQUE, "account", "handle", ""},
                {3, MIGRATE_ADD_PRIMARY_KEY, "account", "id", ""},   {3, MIGRATE_RUN, "", "sum_up", ""}};
    assert_int_equal(m->migrations.n, 3);
    assert_true(str_is(m->migrations.list[0].title, "accounts") && str_is(m->migrations.list[2].title, "totals"));
    size_t at = 0;
    for (uint32_t i = 0; i < 3; i++) {
        const Migration *g = &m->migrations.list[i];
        assert_int_equal(g->version, i + 1);
        for (uint32_t k = 0; k < g->nops; k++, at++) {
            const MigrationOp *op = &g->ops[k];
            assert_true(at < COUNT_OF(want) && op->version == want[at].version && op->position == k);
            assert_int_equal(op->kind, want[at].kind);
            assert_true(str_is(op->table, want[at].table) && str_is(op->a, want[at].a) && str_is(op->b, want[at].b));
            assert_true((op->type != NULL) == (op->kind == MIGRATE_CONVERT_COLUMN));
        }
    }
    assert_int_equal(at, COUNT_OF(want));
    assert_true(m->migrations.list[1].ops[0].type->kind == TYPE_U32 && m->migrations.list[1].ops[1].type->kind == TYPE_STRING);

    assert_int_equal(m->nold_tables, 1);
    const ModuleOldTable *old = &m->old_tables[0];
    assert_true(str_is(old->table, "ledger") && old->version == 3 && m->items[old->item]->kind == ST_ITEM_OLD_TABLE);
    assert_int_equal(old->row->nfields, 6);
    assert_true(str_is(old->row->fields[2].name, "register") && old->row->size == m->items[old->item]->type->size);

    /* a conversion and a run, each by number and position */
    uint32_t euros = 7;
    int64_t cents = 0;
    struct {
        st_api api;
        st_db db;
        st_reducer_ctx ctx;
    } host = {0};
    host.api.fail = fail_user;
    host.api.scan = scan_nothing;
    host.api.next = next_nothing;
    host.api.find = find_nothing;
    host.api.count = count_one;
    host.api.log = log_nothing;
    host.db.api = host.ctx.api = &host.api;
    host.ctx.db = &host.db;
    assert_int_equal(m->call_migration(m, 2, 0, &host.ctx, &euros, &cents), ST_OK);
    assert_int_equal(cents, 700);
    euros = 2000000;
    assert_int_equal(m->call_migration(m, 2, 0, &host.ctx, &euros, &cents), ST_E_USER);
    st_str empty = {0};
    struct {
        uint8_t some;
        st_str v;
    } note = {0};
    assert_int_equal(m->call_migration(m, 2, 1, &host.ctx, &empty, &note), ST_OK);
    assert_int_equal(note.some, 0);
    scanned_item = UINT32_MAX;
    assert_int_equal(m->call_migration(m, 3, 3, &host.ctx, NULL, NULL), ST_OK);
    assert_int_equal(scanned_item, old->item); /* old tables are named by the position of their record */
    m->unload(m);

    m = opened(build(HEAD "ST_REDUCER(r) { return ST_OK; }", ""));
    assert_true(m->migrations.n == 0 && !m->call_migration && m->nold_tables == 0);
    m->unload(m);
}

static void test_case_policy(void **state)
{
    (void)state;
    Module *m = opened(build(
        HEAD "ST_CASE(SNAKE);\n"
             "ST_ENUM(Hue, DarkRed, Green);\nST_STRUCT(InnerPoint, (double, bigX));\n"
             "ST_TABLE(UserProfile, PUBLIC, (uint64_t, userId, PK), (uint32_t, ageInYears), (Hue, favouriteHue), (uint32_t, int_));\n"
             "ST_TABLE(KeptName, PUBLIC, (uint64_t, id, PK));\nST_TABLE_NAME(KeptName, \"KeptName\");\n"
             "ST_COLUMN_NAME(UserProfile, int_, \"Int\");\n"
             "ST_REDUCER(sayHello, (uint32_t, howOften)) { return ST_E_NO_ROW; }\n"
             "ST_REDUCER(scheduledCall, (UserProfile, row)) { return ST_OK; }\n"
             "static st_status conv(st_reducer_ctx *c, const InnerPoint *from, uint32_t *to) { *to = from->bigX; return ST_OK; }\n"
             "ST_OLD_TABLE(1, OldProfile, UserProfile, (uint64_t, userId, PK), (InnerPoint, ageInYears), (Hue, oldHue));\n"
             "ST_MIGRATION(1, \"Snakes\", ST_RENAME_TABLE(OldName, UserProfile), ST_RENAME_COLUMN(UserProfile, birthYear, ageInYears),\n"
             "    ST_CONVERT_COLUMN(UserProfile, ageInYears, InnerPoint, conv), ST_RENAME_TABLE(before, KeptName), "
             "ST_DROP_COLUMN(UserProfile, int_));",
        ""));
    const TableDef *t = module_def_table(m->def, STR("user_profile"));
    assert_non_null(t);
    assert_non_null(module_def_table(m->def, STR("KeptName")));
    assert_int_equal(table_def_column(t, STR("age_in_years")), 1);
    assert_int_equal(table_def_column(t, STR("int")), 3);
    const ReducerDef *hello = module_def_reducer(m->def, STR("say_hello"));
    assert_non_null(hello);
    assert_int_equal(m->call_reducer(m, (uint32_t)(hello - m->def->reducers), NULL, &(uint32_t){1}), ST_E_NO_ROW);
    const MigrationOp *op = m->migrations.list[0].ops;
    assert_true(str_is(op[0].table, "old_name") && str_is(op[0].a, "user_profile"));
    assert_true(str_is(op[1].table, "user_profile") && str_is(op[1].a, "birth_year") && str_is(op[1].b, "age_in_years"));
    assert_true(str_is(op[2].a, "age_in_years") && str_is(op[2].type->fields[0].name, "big_x"));
    assert_true(str_is(op[3].table, "before") && str_is(op[3].a, "KeptName"));
    assert_true(str_is(op[4].a, "int"));
    assert_int_equal(m->nold_tables, 1);
    const Type *row = m->old_tables[0].row;
    assert_true(str_is(m->old_tables[0].table, "user_profile") && str_is(row->fields[0].name, "user_id"));
    assert_true(str_is(row->fields[1].type->fields[0].name, "big_x") && str_is(row->fields[2].type->fields[0].name, "darkRed"));
    m->unload(m);
}

static void test_cpp(void **state)
{
    (void)state;
    static const char *const compilers[] = {"g++", "clang++"};
    Module *c = opened(build(chat, ""));
    for (size_t i = 0; i < COUNT_OF(compilers); i++) {
        Module *cpp = opened(build_cpp(chat, compilers[i]));
        assert_true(bytes_eq(c->definition, cpp->definition));
        cpp->unload(cpp);
        Module *guest = opened(build_cpp("#include \"../tests/sdk/cpp/guest.cc\"\n", compilers[i]));
        const TableDef *t = module_def_table(guest->def, STR("settings"));
        assert_int_equal(t->ncols, 14);
        for (uint16_t k = 1; k < t->ncols; k++)
            assert_true(t->cols[k].has_default);
        assert_true(bytes_eq(t->cols[12].default_bsatn, bytes_of("\3\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0", 16)));
        st_str text = {"abc", 3};
        int32_t n = 0;
        assert_int_equal(guest->call_migration(guest, 2, 0, NULL, &text, &n), ST_OK);
        assert_int_equal(n, 3);
        guest->unload(guest);
    }
    c->unload(c);
}

static void test_wide_tables(void **state)
{
    (void)state;
    char source[12000];
    int n = snprintf(source, sizeof source, "%sST_TABLE(wide, PUBLIC, (uint64_t, id, PK)", HEAD);
    for (int i = 1; i < 256; i++)
        n += snprintf(source + n, sizeof source - (size_t)n, ", (%s, c%d)", i % 3 ? "uint32_t" : "st_str", i);
    snprintf(source + n, sizeof source - (size_t)n,
             ");\nST_DEFAULT(wide, c255, ST_S(\"last\"));\nST_REDUCER(r, (wide, row)) { return row.c1; }\n");
    Module *m = opened(build(source, ""));
    const TableDef *t = module_def_table(m->def, STR("wide"));
    assert_int_equal(t->ncols, 256);
    assert_true(t->cols[255].has_default && t->cols[255].type->kind == TYPE_STRING);
    m->unload(m);
}

/* Modules built with an earlier header, and what several source files may say together. */
static void test_old_and_shared(void **state)
{
    (void)state;
    Module *m = opened(build(RAW "DESC(ST_MAGIC, sizeof(st_module_desc), 1, 0, 8, sizeof(st_item))", ""));
    assert_int_equal(m->def->nreducers, 1);
    m->unload(m);

#define SHARED                                                                                                                             \
    "#include \"spacetimedb.h\"\n"                                                                                                         \
    "ST_TABLE(t, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, a), (uint32_t, b));\nST_UNIQUE(t, ab, a, b);\nST_HASH_INDEX(t, ba, b, a);\n"  \
    "ST_SEQUENCE(t, id, 5, 1, 99, 2);\nST_TABLE_NAME(t, \"T\");\nST_COLUMN_NAME(t, a, \"A\");\nST_INDEX_NAME(t, ab, \"t_ab\");\n"          \
    "ST_CASE(NONE);\nST_OLD_TABLE(1, old_t, t, (uint64_t, id, PK));\n"
    char path[128];
    snprintf(path, sizeof path, "%s/shared.h", dir);
    put_file(path, SHARED);
    m = opened(build2("#include \"shared.h\"\nST_MODULE(m, \"1\");\nST_REDUCER(a) { return old_t_count(ctx->db) ? ST_OK : ST_E_USER; }\n"
                      "static st_status run(st_reducer_ctx *ctx) { return ST_OK; }\nST_MIGRATION(1, \"one\", ST_RUN(run));",
                      "#include \"shared.h\"\nST_REDUCER(b) { return old_t_count(ctx->db) && t_count(ctx->db) ? ST_OK : ST_E_USER; }", ""));
    assert_int_equal(m->def->ntables, 1);
    assert_int_equal(m->def->tables[0].nindexes, 3);
    assert_true(str_is(m->def->tables[0].name, "T") && str_is(m->def->tables[0].cols[1].name, "A"));
    assert_int_equal(m->nold_tables, 2); /* one for each record */
    assert_true(m->old_tables[0].item != m->old_tables[1].item);
    m->unload(m);
    REFUSED(build2("#include \"shared.h\"\nST_MODULE(m, \"1\");\nST_MIGRATION(1, \"one\", ST_DROP_TABLE(x)); ST_MIGRATION(2, \"two\", "
                   "ST_DROP_TABLE(y));",
                   "#include \"spacetimedb.h\"\nST_TABLE(t, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, a), (uint32_t, b));\n"
                   "ST_HASH_INDEX(t, ab, a, b);\nST_SEQUENCE(t, id, 6, 1, 99, 2);\nST_TABLE_NAME(t, \"U\");\nST_CASE(SNAKE);\n"
                   "ST_OLD_TABLE(2, old_t, t, (uint64_t, id, PK));",
                   ""),
            "index ab of table t is declared twice, differently", "column id of table t has two different sequences",
            "t is given two names, T and U", "two case policies", "old table old_t is declared in two source files, differently");
}

#define ITEM(id, ...) "static const st_item st_item_" id " = { " __VA_ARGS__ " }; ST_I_PUT(" id ")\n"
#define OP(...) "static const st_migration_op ops[] = { { " __VA_ARGS__ " } };\n" ITEM("x", "ST_ITEM_MIGRATION, 1, \"m\", 0, 0, 0, ops, 1")

static void test_damaged_records(void **state)
{
    (void)state;
    static const char table[] =
        HEAD "ST_TABLE(t, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, a)); static const uint16_t cols[2] = { 0, 9 };\n";
    static const struct {
        const char *source, *text;
    } cases[] = {
        {ITEM("x", "ST_ITEM_UNIQUE, 0, \"ix\", 0, 0, \"t\", cols, 2"), "index ix of table t names column 10, the table has 2"},
        {ITEM("x", "ST_ITEM_UNIQUE, 0, \"ix\", 0, 0, \"t\", cols, 99"), "index ix of table t has 99 columns"},
        {ITEM("x", "ST_ITEM_UNIQUE, 0, \"ix\", 0, 0, \"t\", (void *)64, 2"), "index ix of table t has 2 columns; 1 to 16"},
        {ITEM("x", "ST_ITEM_UNIQUE, 0, \"ix\", 0, 0, \"ghost\", cols, 2"), "the unique index ix belongs to a table"},
        {ITEM("x", "ST_ITEM_INDEX, 6, \"ix\", 0, 0, \"t\", cols, 1"), "index ix of table t is of a kind (0x6)"},
        {ITEM("x", "ST_ITEM_SEQUENCE, 0, \"a\", 0, 0, \"t\", cols"), "for column a of table t: the column is not auto-increment"},
        {ITEM("x", "ST_ITEM_SEQUENCE, 0, \"zz\", 0, 0, \"t\", cols"), "for column zz of table t: there is no such column"},
        {ITEM("x", "ST_ITEM_SEQUENCE, 0, \"id\", 0, 0, \"t\", (void *)16"), "for column id of table t lies outside"},
        {ITEM("x", "ST_ITEM_SEQUENCE, 0, \"id\", 0, 0, 0, 0"), "the sequence id belongs to a table"},
        {ITEM("x", "ST_ITEM_NAME, 9, \"t\", 0, 0, 0, \"x\""), "the name record of t is damaged, or of a kind (9)"},
        {ITEM("x", "ST_ITEM_NAME, ST_NAME_TABLE, \"t\", 0, 0, \"t\", \"x\""), "the name record of t is damaged"},
        {ITEM("x", "ST_ITEM_NAME, ST_NAME_COLUMN, \"a\", 0, 0, 0, \"x\""), "the name record of a is damaged"},
        {ITEM("x", "ST_ITEM_NAME, ST_NAME_TABLE, \"t\", 0, 0, 0, (void *)8"), "the name given to t is missing, not UTF-8"},
        {ITEM("x", "ST_ITEM_NAME, ST_NAME_TABLE, \"t\", 0, 0, 0, \"\\xff\""), "the name given to t is missing, not UTF-8"},
        {ITEM("x", "ST_ITEM_NAME, ST_NAME_TABLE, \"t\", 0, 0, 0, \"a b\""), "the name must consist of letters"},
        {ITEM("x", "ST_ITEM_NAME, ST_NAME_TABLE, \"ghost\", 0, 0, 0, \"x\""), "ST_TABLE_NAME(ghost): there is no such table"},
        {ITEM("x", "ST_ITEM_NAME, ST_NAME_FUNCTION, \"ghost\", 0, 0, 0, \"x\""), "ST_FUNCTION_NAME(ghost): there is no such function"},
        {ITEM("x", "ST_ITEM_NAME, ST_NAME_INDEX, \"a\", 0, 0, \"t\", \"x\""), "ST_INDEX_NAME(t, a): there is no such index"},
        {ITEM("x", "ST_ITEM_NAME, ST_NAME_INDEX, \"id\", 0, 0, \"ghost\", \"x\""), "ST_INDEX_NAME(ghost, id): there is no such index"},
        {ITEM("x", "ST_ITEM_NAME, ST_NAME_COLUMN, \"zz\", 0, 0, \"t\", \"x\""), "ST_COLUMN_NAME(t, zz): there is no such column"},
        {ITEM("x", "ST_ITEM_NAME, ST_NAME_COLUMN, \"a\", 0, 0, \"ghost\", \"x\""), "ST_COLUMN_NAME(ghost, a): there is no such column"},
        {ITEM("x", "ST_ITEM_CASE, 2, \"CAMEL\""), "ST_CASE names a policy (2)"},
        {"ST_TABLE(u, PUBLIC, (uint64_t, n, PK)); static const st_field f[] = { { \"n\", &st_typedesc_uint64_t, 0, 64 } };\n"
         "static const st_type w = { \"w\", ST_K_STRUCT, 8, 8, 1, f };\n" ITEM("x", "ST_ITEM_TABLE, 1, \"w\", &w"),
         "table w, column n: attributes (0x40)"},
        {"static const st_field f[] = { { \"n\", &st_typedesc_uint64_t, 0, ST_COLUMN_BY_HASH } };\n"
         "static const st_type w = { \"w\", ST_K_STRUCT, 8, 8, 1, f };\n" ITEM("x", "ST_ITEM_TABLE, 1, \"w\", &w"),
         "table w, column n: attributes (0x10)"},
        {"static const st_field f[] = { { \"n\", &st_typedesc_uint64_t, 0, ST_COLUMN_PK_HASH | ST_COLUMN_BY_VALUE } };\n"
         "static const st_type w = { \"w\", ST_K_STRUCT, 8, 8, 1, f };\n" ITEM("x", "ST_ITEM_TABLE, 1, \"w\", &w"),
         "table w, column n: attributes (0x31)"},
        {OP("77, 0, \"t\""), "migration 1, operation 1 is of a kind (77)"},
        {OP("0"), "migration 1, operation 1 is of a kind (0)"},
        {OP("ST_MIGRATE_DROP_TABLE, 0"), "migration 1, operation 1 (ST_DROP_TABLE) is damaged"},
        {OP("ST_MIGRATE_DROP_TABLE, 5, \"t\""), "migration 1, operation 1 (ST_DROP_TABLE) is damaged"},
        {OP("ST_MIGRATE_DROP_TABLE, 0, \"t\", \"a\""), "migration 1, operation 1 (ST_DROP_TABLE) is damaged"},
        {OP("ST_MIGRATE_DROP_TABLE, 0, (char *)8"), "migration 1, operation 1 (ST_DROP_TABLE) is damaged"},
        {OP("ST_MIGRATE_RENAME_COLUMN, 0, \"t\", \"a\""), "migration 1, operation 1 (ST_RENAME_COLUMN) is damaged"},
        {OP("ST_MIGRATE_DROP_TABLE, 0, \"t\", 0, 0, &st_typedesc_bool"), "migration 1, operation 1 (ST_DROP_TABLE) is damaged"},
        {OP("ST_MIGRATE_RUN, 0, 0, \"f\""), "migration 1, operation 1 (ST_RUN): its function's code is not in the module"},
        {OP("ST_MIGRATE_RUN, 0, 0, \"f\", 0, 0, (void (*)(void))64"), "migration 1, operation 1 (ST_RUN): its function's code"},
        {OP("ST_MIGRATE_RUN, 0, 0, \"f\", 0, 0, (void (*)(void))cols"), "migration 1, operation 1 (ST_RUN): its function's code"},
        {"static st_status f(st_reducer_ctx *c) { return ST_OK; }\n" OP(
             "ST_MIGRATE_CONVERT_COLUMN, 0, \"t\", \"a\", 0, 0, (void (*)(void))f"),
         "migration 1, operation 1 (ST_CONVERT_COLUMN): a type record is damaged"},
        {"static st_status f(st_reducer_ctx *c) { return ST_OK; }\n" OP("ST_MIGRATE_ADD_UNIQUE, 0, \"t\", \"a\", 0, 0, (void (*)(void))f"),
         "migration 1, operation 1 (ST_ADD_UNIQUE) is damaged"},
        {ITEM("x", "ST_ITEM_MIGRATION, 1, \"m\", 0, 0, 0, (void *)64, 1"), "migration 1 has 1 operations; 1 to 256"},
        {ITEM("x", "ST_ITEM_MIGRATION, 0, \"m\", 0, 0, 0, cols, 1"), "migration 1 has 0 operations"},
        {ITEM("x", "ST_ITEM_MIGRATION, 0x10000000, \"m\", 0, 0, 0, cols, 1"), "migration 1 has 268435456 operations"},
        {ITEM("x", "ST_ITEM_MIGRATION, 1, \"m\", 0, 0, 0, cols, 0"), "migration \"m\" has the number 0"},
        {"ST_MIGRATION(1, \"first\", ST_DROP_TABLE(x));\nstatic const st_migration_op ops[] = { ST_DROP_TABLE(y) };\n" ITEM(
             "x", "ST_ITEM_MIGRATION, 1, \"second\", 0, 0, 0, ops, 1"),
         "there are two migrations 1, \"first\" and \"second\""},
        {"ST_OLD_TABLE(4, o, t, (uint64_t, id, PK));", "old table o is of before migration 4, which the module does not have"},
        {ITEM("x", "ST_ITEM_OLD_TABLE, 0, \"o\", &st_typedesc_t, 0, 0, 0, 1"), "old table o: its record is damaged"},
        {ITEM("x", "ST_ITEM_OLD_TABLE, 0, \"o\", (void *)8, 0, \"t\", 0, 1"), "o: its type record is damaged"},
        {ITEM("x", "ST_ITEM_OLD_TABLE, 0, \"t\", &st_typedesc_t, 0, \"t\", 0, 1"), "t is a table and an old table"},
        {"static const st_field f[] = { { \"n\", &st_typedesc_uint64_t, 0, 64 } };\n"
         "static const st_type w = { \"w\", ST_K_STRUCT, 8, 8, 1, f };\n" ITEM("x", "ST_ITEM_OLD_TABLE, 0, \"o\", &w, 0, \"t\", 0, 1"),
         "old table o, column n: attributes (0x40)"},
        {"ST_OLD_TABLE(1, o, t, (uint64_t, id, PK), (uint32_t, a));\nST_MIGRATION(1, \"m\", ST_DROP_TABLE(x));\nST_DEFAULT(o, a, 1);",
         "the default a belongs to a table that the module does not declare"},
        {ITEM("x", "ST_ITEM_VIEW_KEY, 0, \"odd\""), "the key odd of a view does not say of which"},
        {ITEM("x", "ST_ITEM_VIEW_KEY, 0, \"a\", 0, 0, \"ghost\""), "view primary key: there is no view `ghost`"},
        {ITEM("x", "16, 0, \"odd\""), "is damaged, or of a kind that this host does not know"},
    };
    char source[3000];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        snprintf(source, sizeof source, "%s%s", table, cases[i].source);
        REFUSED(build(source, ""), cases[i].text);
    }
    /* all problems of a module together */
    snprintf(source, sizeof source, "%s%s%s%s", table, "ST_OLD_TABLE(4, o, t, (uint64_t, id, PK));\n",
             ITEM("y", "ST_ITEM_SEQUENCE, 0, \"a\", 0, 0, \"t\", cols"), ITEM("z", "ST_ITEM_CASE, 2, \"CAMEL\""));
    REFUSED(build(source, ""), "old table o is of before migration 4", "the column is not auto-increment", "ST_CASE names a policy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_shared_header),
        cmocka_unit_test(test_elf),
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_migrations),
        cmocka_unit_test(test_case_policy),
        cmocka_unit_test(test_cpp),
        cmocka_unit_test(test_wide_tables),
        cmocka_unit_test(test_old_and_shared),
        cmocka_unit_test(test_damaged_records),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
