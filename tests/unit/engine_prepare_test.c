/* engine_prepare_test.c - the next schema beside the old one: carried over, converted, refused, discarded. */
#include "tests/unit/engine_fixture.h"

typedef struct Old {
    uint32_t id;
    Str name;
} Old;
typedef struct New {
    uint32_t id;
    Str name;
    int64_t score;
    Str note;
} New;

typedef struct Version {
    bool columns; /* two more columns with defaults */
    uint32_t name_flags, id_flags;
    bool extra_table, no_other;
} Version;

static ModuleDef *module(Version v)
{
    ModuleBuilder *b = module_builder_new();
    BuilderColumn user[] = {
        {.name = STR("id"), .type = type_scalar(TYPE_U32), .flags = COLUMN_PK | v.id_flags},
        {.name = STR("name"), .type = type_scalar(TYPE_STRING), .flags = v.name_flags},
        {.name = STR("score"), .type = type_scalar(TYPE_I64), .has_default = true, .default_bsatn = bytes_of("\x07\0\0\0\0\0\0\0", 8)},
        {.name = STR("note"), .type = type_scalar(TYPE_STRING), .has_default = true, .default_bsatn = bytes_of("\x02\0\0\0hi", 6)}};
    module_builder_table(b, STR("user"), ACCESS_PUBLIC, false, v.columns ? 4 : 2, user);
    BuilderColumn other[] = {{.name = STR("a"), .type = type_scalar(TYPE_U8)}};
    if (!v.no_other)
        module_builder_table(b, STR("other"), ACCESS_PUBLIC, false, 1, other);
    if (v.extra_table)
        module_builder_table(b, STR("extra"), ACCESS_PUBLIC, false, 2, user);
    return finish_module(b);
}

static Engine *filled(Version v, const EngineLimits *limits)
{
    ModuleDef *def = module(v);
    Engine *e = engine_with(def, limits);
    module_def_unref(def);
    txn_begin(e);
    for (uint32_t i = 1; i <= 500; i++) {
        OWN(free) char *name = x_sprintf("user %u", i % 250);
        Old o = {i, str_of(name)};
        OK(table_insert(table_named(e, "user"), &o, NULL, err));
    }
    OK(table_insert(table_named(e, "other"), &(uint8_t){3}, NULL, err));
    uint32_t id = 100;
    OK(table_delete(table_named(e, "user"), table_find(table_named(e, "user"), 0, &id), err));
    txn_commit(e);
    return e;
}

static Status prepare(EngineNext **ret, Engine *e, Version v, Error *err)
{
    uint32_t ids[64];
    ModuleDef *def = module(v);
    SchemaImage image = image_of(def, 2, ids);
    Status s = engine_prepare(ret, e, &image, err);
    module_def_unref(def);
    return s;
}

static EngineNext *begin(Engine *e, Version v)
{
    uint32_t ids[64];
    ModuleDef *def = module(v);
    SchemaImage image = image_of(def, 2, ids);
    EngineNext *next = NULL;
    OK(engine_prepare_begin(&next, e, &image, NULL, err));
    module_def_unref(def);
    return next;
}

static void reap(Engine *e)
{
    while (engine_reap(e, 100))
        ;
}

static void appended_columns_get_their_default(void **state)
{
    (void)state;
    Engine *e = filled((Version){0}, NULL);
    EngineNext *next = NULL;
    Table *other = table_named(e, "other");
    uint32_t id = 77;
    const void *old = table_find(table_named(e, "user"), 0, &id);
    uint64_t number = row_number(old);
    OK(prepare(&next, e, (Version){.columns = true, .extra_table = true}, err));
    assert_true(str_is(((const Old *)old)->name, "user 77")); /* the old version runs on */
    assert_int_equal(engine_schema(e)->version, 1);
    engine_swap(e, next);
    check_engine(e);
    assert_int_equal(engine_schema(e)->version, 2);
    Table *user = table_named(e, "user");
    assert_int_equal(table_count(user), 499);
    const New *row = table_find(user, 0, &id);
    assert_true(str_is(row->name, "user 77") && row->score == 7 && str_is(row->note, "hi"));
    assert_int_equal(row_number(row), number);
    assert_ptr_equal(table_named(e, "other"), other); /* carried over */
    assert_int_equal(table_count(table_named(e, "extra")), 0);
    txn_begin(e);
    New n = {100, STR("x"), 1, STR("y")};
    OK(table_insert(user, &n, NULL, err));
    txn_commit(e);
    check_engine(e);
    engine_free(e);
}

static void indexes_come_and_go_without_copying_rows(void **state)
{
    (void)state;
    Engine *e = filled((Version){0}, NULL);
    EngineNext *next = NULL;
    uint32_t id = 9;
    const void *row = table_find(table_named(e, "user"), 0, &id);
    OK(prepare(&next, e, (Version){.name_flags = COLUMN_INDEX}, err));
    engine_swap(e, next);
    check_engine(e);
    Table *user = table_named(e, "user");
    assert_ptr_equal(table_find(user, 0, &id), row);
    Str name = STR("user 9");
    const void *eq[] = {&name};
    Cursor c;
    cursor_index(&c, user, table_find_index(user, 1, (uint16_t[]){1}), 1, eq, NULL, NULL);
    assert_ptr_equal(cursor_next(&c), row);
    assert_int_equal(((const Old *)cursor_next(&c))->id, 259);
    assert_null(cursor_next(&c));
    OK(prepare(&next, e, (Version){0}, err));
    engine_swap(e, next);
    check_engine(e);
    assert_int_equal(table_find_index(table_named(e, "user"), 1, (uint16_t[]){1}), -1);
    engine_free(e);
}

static void a_unique_column_with_duplicates_is_refused_by_name(void **state)
{
    (void)state;
    Engine *e = filled((Version){0}, NULL);
    EngineNext *next = NULL;
    uint64_t bytes = engine_bytes_used(e);
    FAILS(S_CONFLICT, "table user, column name cannot become unique: 249 values are there more than once: \"user 1\" (2 rows)",
          prepare(&next, e, (Version){.name_flags = COLUMN_UNIQUE}, err));
    FAILS(S_CONFLICT, "table user, column name cannot become unique: 249 values are there more than once: \"user 1\" (2 rows)",
          prepare(&next, e, (Version){.name_flags = COLUMN_UNIQUE, .columns = true}, err));
    assert_null(next);
    reap(e);
    assert_int_equal(engine_bytes_used(e), bytes);
    check_engine(e);
    assert_int_equal(engine_schema(e)->version, 1);
    engine_free(e);
}

static void a_discarded_preparation_leaves_no_trace(void **state)
{
    (void)state;
    Engine *e = filled((Version){0}, NULL);
    EngineNext *next = NULL;
    uint64_t bytes = engine_bytes_used(e);
    OK(prepare(&next, e, (Version){.columns = true, .name_flags = COLUMN_INDEX, .extra_table = true, .no_other = true}, err));
    assert_true(engine_bytes_used(e) > bytes);
    engine_discard(next);
    assert_true(engine_bytes_used(e) > bytes); /* what is left counts until it is freed */
    reap(e);
    assert_int_equal(engine_bytes_used(e), bytes);
    OK(prepare(&next, e, (Version){.name_flags = COLUMN_INDEX}, err));
    engine_discard(next);
    assert_true(engine_bytes_used(e) > bytes); /* what is left counts until it is freed */
    reap(e);
    assert_int_equal(engine_bytes_used(e), bytes);
    check_engine(e);
    engine_free(e);
}

static void a_removed_table_is_freed_at_the_swap(void **state)
{
    (void)state;
    Engine *e = filled((Version){0}, NULL);
    EngineNext *next = NULL;
    OK(prepare(&next, e, (Version){.no_other = true}, err));
    assert_int_equal(table_count(table_named(e, "other")), 1);
    engine_swap(e, next);
    assert_null(engine_table_by_name(e, STR("other")));
    check_engine(e);
    engine_free(e);
}

static void what_transactions_change_meanwhile_is_followed(void **state)
{
    (void)state;
    for (uint32_t slice = 1; slice < 700; slice += 97) {
        Engine *e = filled((Version){0}, NULL);
        EngineNext *next = begin(e, (Version){.columns = true, .name_flags = COLUMN_INDEX});
        Table *user = table_named(e, "user");
        bool done = false;
        for (uint64_t round = 0; round < 40 || !done; round++) {
            if (!done)
                OK(engine_prepare_step(next, slice, &done, err));
            txn_begin(e);
            uint64_t id = 1 + round * 7 % 600;
            const void *row = table_find(user, 0, &(uint32_t){(uint32_t)id});
            Old o = {(uint32_t)id, STR("changed")}, fresh = {(uint32_t)(1000 + round), STR("fresh")};
            if (row && round % 3 == 0)
                OK(table_delete(user, row, err));
            else if (row)
                OK(table_update(user, 0, &o, NULL, err));
            OK(table_insert(user, &fresh, NULL, err));
            if (round % 5 == 4)
                txn_rollback(e);
            else
                txn_commit(e);
        }
        OWN(buf) Buf before = {0};
        uint64_t count = table_count(user);
        txn_begin(e);
        Cursor c;
        cursor_all(&c, user);
        for (const Old *o; (o = cursor_next(&c)) != NULL;) {
            buf_put_u32(&before, o->id);
            buf_put_str(&before, o->name);
        }
        txn_rollback(e);
        engine_swap(e, next);
        check_engine(e);
        user = table_named(e, "user");
        assert_int_equal(table_count(user), count);
        Reader r = reader_of(buf_bytes(&before));
        while (reader_left(&r)) {
            uint32_t id = read_u32(&r);
            Str name = read_str(&r);
            const New *n = table_find(user, 0, &id);
            assert_non_null(n);
            assert_true(str_eq(n->name, name) && n->score == 7 && str_is(n->note, "hi"));
        }
        engine_free(e);
    }
}

static void a_failure_while_following_ends_the_preparation_only(void **state)
{
    (void)state;
    Engine *e = filled((Version){0}, NULL);
    Table *user = table_named(e, "user");
    txn_begin(e);
    for (uint32_t id = 1; id <= 500; id++) { /* names are there twice: leave each once */
        const void *row = table_find(user, 0, &id);
        if (row && id > 249)
            OK(table_delete(user, row, err));
    }
    txn_commit(e);
    EngineNext *next = begin(e, (Version){.name_flags = COLUMN_UNIQUE});
    bool done = false;
    OK(engine_prepare_step(next, UINT32_MAX, &done, err));
    assert_true(done);
    txn_begin(e);
    Old twin = {900, STR("user 7")}, third = {901, STR("user 7")};
    OK(table_insert(user, &twin, NULL, err));
    OK(table_insert(user, &third, NULL, err));
    txn_commit(e); /* the old version allows it */
    FAILS(S_CONFLICT, "column name cannot become unique: 1 value is there more than once: \"user 7\" (3 rows)",
          engine_next_status(next, err));
    FAILS(S_CONFLICT, "column name", engine_prepare_step(next, 1, &done, err));
    engine_discard(next);
    check_engine(e);
    assert_int_equal(table_count(user), 250);
    engine_free(e);
}

static void a_swap_leaves_rows_to_be_freed_in_slices(void **state)
{
    (void)state;
    Engine *e = filled((Version){0}, NULL);
    EngineNext *next = NULL;
    OK(prepare(&next, e, (Version){.columns = true}, err));
    engine_swap(e, next);
    uint64_t held = engine_bytes_used(e);
    uint32_t slices = 0;
    while (engine_reap(e, 1)) {
        assert_true(engine_bytes_used(e) <= held);
        held = engine_bytes_used(e);
        slices++;
    }
    assert_true(slices >= 2);
    check_engine(e);
    engine_free(e);
}

static Status double_id(void *user, const void *from, void *to, Arena *arena, Error *why)
{
    (void)arena;
    uint32_t id = load_u32(from);
    if (user && id == *(const uint32_t *)user)
        return FAIL(why, S_INVALID, "id %u is not wanted", id);
    store_u64(to, (uint64_t)id * 2);
    return S_OK;
}

/* user(id u32 pk, name) under table id 1 becomes person(number u64 pk, name): renamed, converted, and filled further by a migration. */
static void columns_are_converted_and_a_migration_writes(void **state)
{
    (void)state;
    for (uint32_t refused = 0; refused < 2; refused++) {
        Engine *e = filled((Version){0}, NULL);
        ModuleBuilder *b = module_builder_new();
        BuilderColumn cols[2] = {{STR("number"), type_scalar(TYPE_U64), COLUMN_PK, false, {0}},
                                 {STR("name"), type_scalar(TYPE_STRING), 0, false, {0}}};
        module_builder_table(b, STR("person"), ACCESS_PUBLIC, false, 2, cols);
        OWN(buf) Buf bytes = {0};
        ModuleDef *def;
        OK(module_builder_finish(b, &bytes, err));
        OK(module_def_from_bsatn(&def, buf_bytes(&bytes), err));
        uint32_t id = table_id(table_named(e, "user")), unwanted = 77;
        SchemaImage image = {def, 2, &id};
        EngineColumnSource columns[2] = {{0, double_id, refused ? &unwanted : NULL}, {1, NULL, NULL}};
        EngineTableSource source = {id, columns, true};
        EngineNext *next = NULL;
        OK(engine_prepare_begin(&next, e, &image, &source, err));
        bool done = false;
        if (refused) {
            FAILS(S_INVALID, "table person, column number, row id = 77: id 77 is not wanted",
                  engine_prepare_step(next, UINT32_MAX, &done, err));
            engine_discard(next);
        } else {
            OK(engine_prepare_step(next, UINT32_MAX, &done, err));
            assert_true(engine_next_is_copy(next, 0));
            typedef struct Person {
                uint64_t number;
                Str name;
            } Person;
            for (int round = 0; round < 2; round++) { /* rolled back, then committed */
                Engine *lent = engine_next_lend(next);
                txn_begin(lent);
                Person p = {5, STR("made")};
                OK(table_insert(engine_table(lent, 0), &p, NULL, err));
                if (round)
                    txn_commit(lent);
                else
                    txn_rollback(lent);
                engine_next_unlend(next);
            }
            uint64_t cursor = 0, rows = 0;
            while (cursor != UINT64_MAX) {
                OWN(buf) Buf out = {0};
                uint32_t n;
                engine_next_export(next, 0, &cursor, 1000, &out, &n);
                Reader r = reader_of(buf_bytes(&out));
                for (uint32_t i = 0; i < n; i++) {
                    uint64_t number = read_u64(&r);
                    Str name = read_str(&r);
                    assert_true(number == 5 ? str_is(name, "made") : number % 2 == 0 && number <= 1000);
                }
                assert_int_equal(reader_left(&r), 0);
                rows += n;
            }
            assert_int_equal(rows, 500);
            engine_swap(e, next);
            check_engine(e);
            Person found = {154, {0}};
            const Person *p = table_find(table_named(e, "person"), 0, &found.number);
            assert_true(p && str_is(p->name, "user 77"));
        }
        module_def_unref(def);
        check_engine(e);
        engine_free(e);
    }
}

static void a_second_copy_needs_memory(void **state)
{
    (void)state;
    Engine *e = filled((Version){0}, &(EngineLimits){.database_bytes_max = 150000});
    EngineNext *next = NULL;
    uint64_t bytes = engine_bytes_used(e);
    if (bytes < 80000)
        fail_msg("the limit of this test is too high: %llu bytes in use", (unsigned long long)bytes);
    FAILS(S_TOO_LARGE, "its limit is 150000 bytes (--database-memory)", prepare(&next, e, (Version){.columns = true}, err));
    reap(e);
    assert_int_equal(engine_bytes_used(e), bytes);
    check_engine(e);
    engine_free(e);
}

static void a_new_sequence_begins_behind_the_values_that_are_there(void **state)
{
    (void)state;
    Engine *e = filled((Version){0}, NULL);
    EngineNext *next = NULL;
    OK(prepare(&next, e, (Version){.id_flags = COLUMN_AUTO_INC}, err));
    OWN(buf) Buf out = {0};
    uint16_t n;
    engine_next_sequences(next, &out, &n);
    assert_int_equal(n, 1);
    Reader r = reader_of(buf_bytes(&out));
    CommitSequence s;
    OK(commit_read_sequence(&r, &s, err));
    assert_int_equal((int64_t)s.allocated, 500);
    engine_swap(e, next);
    txn_begin(e);
    Old o = {0, STR("fresh")};
    OK(table_insert(table_named(e, "user"), &o, NULL, err));
    assert_int_equal(o.id, 501);
    txn_commit(e);
    OK(prepare(&next, e, (Version){.id_flags = COLUMN_AUTO_INC, .columns = true}, err)); /* carried over */
    engine_swap(e, next);
    txn_begin(e);
    New w = {0, STR("next"), 0, STR("")};
    OK(table_insert(table_named(e, "user"), &w, NULL, err));
    assert_int_equal(w.id, 502);
    txn_commit(e);
    check_engine(e);
    engine_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_columns_get_their_default),
        cmocka_unit_test(indexes_come_and_go_without_copying_rows),
        cmocka_unit_test(a_unique_column_with_duplicates_is_refused_by_name),
        cmocka_unit_test(a_discarded_preparation_leaves_no_trace),
        cmocka_unit_test(a_removed_table_is_freed_at_the_swap),
        cmocka_unit_test(what_transactions_change_meanwhile_is_followed),
        cmocka_unit_test(a_failure_while_following_ends_the_preparation_only),
        cmocka_unit_test(a_swap_leaves_rows_to_be_freed_in_slices),
        cmocka_unit_test(columns_are_converted_and_a_migration_writes),
        cmocka_unit_test(a_second_copy_needs_memory),
        cmocka_unit_test(a_new_sequence_begins_behind_the_values_that_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
