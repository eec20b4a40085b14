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
    assert_true(engine_next_is_current(next));
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
    FAILS(S_CONFLICT, "table user, column name: value \"user ", prepare(&next, e, (Version){.name_flags = COLUMN_UNIQUE}, err));
    FAILS(S_CONFLICT, "table user, column name: value \"user ",
          prepare(&next, e, (Version){.name_flags = COLUMN_UNIQUE, .columns = true}, err));
    assert_null(next);
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
    assert_int_equal(engine_bytes_used(e), bytes);
    OK(prepare(&next, e, (Version){.name_flags = COLUMN_INDEX}, err));
    engine_discard(next);
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

static void a_change_after_the_preparation_is_noticed(void **state)
{
    (void)state;
    Engine *e = filled((Version){0}, NULL);
    EngineNext *next = NULL;
    OK(prepare(&next, e, (Version){.columns = true}, err));
    txn_begin(e);
    txn_commit(e);
    assert_true(engine_next_is_current(next));
    txn_begin(e);
    OK(table_insert(table_named(e, "other"), &(uint8_t){4}, NULL, err));
    txn_rollback(e);
    assert_true(engine_next_is_current(next));
    txn_begin(e);
    OK(table_insert(table_named(e, "other"), &(uint8_t){4}, NULL, err));
    txn_commit(e);
    assert_false(engine_next_is_current(next));
    engine_discard(next);
    engine_free(e);
}

static void a_second_copy_needs_memory(void **state)
{
    (void)state;
    Engine *e = filled((Version){0}, &(EngineLimits){.database_bytes_max = 150000});
    EngineNext *next = NULL;
    uint64_t bytes = engine_bytes_used(e);
    if (bytes < 80000)
        fail_msg("the limit of this test is too high: %llu bytes in use", (unsigned long long)bytes);
    FAILS(S_TOO_LARGE, "its memory limit is 150000", prepare(&next, e, (Version){.columns = true}, err));
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
        cmocka_unit_test(a_change_after_the_preparation_is_noticed),
        cmocka_unit_test(a_second_copy_needs_memory),
        cmocka_unit_test(a_new_sequence_begins_behind_the_values_that_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
