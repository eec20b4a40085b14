/* engine_table_test.c - table semantics: sets, conflicts, auto-increment, refusals, limits, loading. */
#include "tests/unit/engine_fixture.h"

typedef struct Person {
    uint64_t id;
    Str name;
    int64_t at;
    uint8_t rank;
} Person;
typedef struct Pair {
    uint32_t x;
    uint8_t y;
} Pair;
typedef struct Tiny {
    uint8_t id;
    int32_t v;
} Tiny;
typedef struct Doc {
    uint32_t id;
    Bytes tags;
    struct {
        bool has_note;
        Str note;
    };
} Doc;

static ModuleDef *module(void)
{
    ModuleBuilder *b = module_builder_new();
    Arena *a = module_builder_arena(b);
    const BuilderColumn person[] = {{.name = STR("id"), .type = type_scalar(TYPE_U64), .flags = COLUMN_PK | COLUMN_AUTO_INC},
                                    {.name = STR("name"), .type = type_scalar(TYPE_STRING), .flags = COLUMN_UNIQUE},
                                    {.name = STR("at"), .type = type_scalar(TYPE_TIMESTAMP)},
                                    {.name = STR("rank"), .type = type_scalar(TYPE_U8), .flags = COLUMN_INDEX}};
    module_builder_table(b, STR("person"), ACCESS_PUBLIC, false, 4, person);
    const BuilderColumn pair[] = {{.name = STR("x"), .type = type_scalar(TYPE_U32)}, {.name = STR("y"), .type = type_scalar(TYPE_BOOL)}};
    module_builder_table(b, STR("pair"), ACCESS_PUBLIC, false, 2, pair);
    const BuilderColumn tiny[] = {{.name = STR("id"), .type = type_scalar(TYPE_U8), .flags = COLUMN_PK | COLUMN_AUTO_INC},
                                  {.name = STR("v"), .type = type_scalar(TYPE_I32)}};
    module_builder_table(b, STR("tiny"), ACCESS_PUBLIC, false, 2, tiny);
    const BuilderColumn doc[] = {{.name = STR("id"), .type = type_scalar(TYPE_U32), .flags = COLUMN_PK},
                                 {.name = STR("tags"), .type = type_array(a, type_scalar(TYPE_STRING))},
                                 {.name = STR("note"), .type = type_option(a, type_scalar(TYPE_STRING))}};
    module_builder_table(b, STR("doc"), ACCESS_PUBLIC, false, 3, doc);
    return finish_module(b);
}

typedef struct World {
    Engine *e;
    ModuleDef *def;
    Table *person, *pair, *tiny, *doc;
} World;
static EngineLimits no_limits;

static World world(const EngineLimits *limits)
{
    World w = {.def = module()};
    w.e = engine_with(w.def, limits);
    w.person = table_named(w.e, "person");
    w.pair = table_named(w.e, "pair");
    w.tiny = table_named(w.e, "tiny");
    w.doc = table_named(w.e, "doc");
    txn_begin(w.e);
    return w;
}
static void done(World *w)
{
    check_engine(w->e);
    if (txn_active(w->e))
        txn_commit(w->e);
    check_engine(w->e);
    engine_free(w->e);
    module_def_unref(w->def);
}
static Person person(uint64_t id, const char *name) { return (Person){.id = id, .name = str_of(name)}; }

static void an_insert_copies_the_row_and_its_text(void **state)
{
    (void)state;
    World w = world(&no_limits);
    char name[] = "ann";
    Person p = person(7, name);
    const void *row = NULL;
    OK(table_insert(w.person, &p, &row, err));
    name[0] = 'X';
    const Person *kept = row;
    assert_int_equal(kept->id, 7);
    assert_true(str_is(kept->name, "ann"));
    assert_ptr_equal(table_find(w.person, 0, &kept->id), row);
    Str key = STR("ann");
    assert_ptr_equal(table_find(w.person, 1, &key), row);
    assert_int_equal(table_count(w.person), 1);
    Str tags[] = {STR("red"), STR(""), STR("blue")};
    Doc d = {.id = 1, .tags = {(const uint8_t *)tags, 3}, .has_note = true, .note = STR("hi")};
    OK(table_insert(w.doc, &d, &row, err));
    const Doc *doc = row;
    assert_int_equal(doc->tags.len, 3);
    assert_true(str_is(((const Str *)(const void *)doc->tags.ptr)[2], "blue"));
    assert_true(str_is(doc->note, "hi"));
    assert_ptr_not_equal(doc->tags.ptr, tags);
    done(&w);
}

static void a_table_is_a_set(void **state)
{
    (void)state;
    World w = world(&no_limits);
    const void *first = NULL, *again = NULL;
    Pair q;
    memset(&q, 0x11, sizeof q);
    q.x = 1, q.y = 1;
    OK(table_insert(w.pair, &q, &first, err));
    memset(&q, 0x77, sizeof q); /* padding does not count */
    q.x = 1, q.y = 1;
    OK(table_insert(w.pair, &q, &again, err));
    assert_ptr_equal(first, again);
    assert_int_equal(table_count(w.pair), 1);
    Person p = person(3, "bob");
    OK(table_insert(w.person, &p, &first, err));
    OK(table_insert(w.person, &p, &again, err));
    assert_ptr_equal(first, again);
    assert_int_equal(table_count(w.person), 1);
    OK(table_update(w.person, 0, &p, &again, err));
    assert_ptr_equal(first, again);
    done(&w);
}

static void a_keyless_row_replaced_by_an_existing_one_merges_with_it(void **state)
{
    (void)state;
    World w = world(&no_limits);
    const void *one = NULL, *two = NULL, *got = NULL;
    Pair q = {.x = 1}, r = {.x = 2};
    OK(table_insert(w.pair, &q, &one, err));
    OK(table_insert(w.pair, &r, &two, err));
    OK(table_replace(w.pair, one, &r, &got, err));
    assert_ptr_equal(got, two);
    assert_int_equal(table_count(w.pair), 1);
    FAILS(S_NOT_FOUND, "table pair: the row was deleted or updated before", table_replace(w.pair, one, &q, &got, err));
    done(&w);
}

static void a_conflict_names_table_column_and_value_and_changes_nothing(void **state)
{
    (void)state;
    World w = world(&no_limits);
    Person p = person(1, "ann"), q = person(2, "bob"), same_id = person(1, "cid"), same_name = person(9, "bob");
    OK(table_insert(w.person, &p, NULL, err));
    OK(table_insert(w.person, &q, NULL, err));
    FAILS(S_CONFLICT, "table person, column id: value 1 is already present", table_insert(w.person, &same_id, NULL, err));
    FAILS(S_CONFLICT, "table person, column name: value \"bob\" is already present", table_insert(w.person, &same_name, NULL, err));
    same_name.id = 1;
    FAILS(S_CONFLICT, "column name", table_update(w.person, 0, &same_name, NULL, err));
    assert_int_equal(table_count(w.person), 2);
    uint64_t id = 1;
    assert_true(str_is(((const Person *)table_find(w.person, 0, &id))->name, "ann"));
    done(&w);
}

static void an_update_needs_a_unique_column_and_a_row(void **state)
{
    (void)state;
    World w = world(&no_limits);
    Person p = person(5, "eve");
    FAILS(S_NOT_FOUND, "table person, column id: no row with value 5", table_update(w.person, 0, &p, NULL, err));
    FAILS(S_INVALID, "not unique", table_update(w.person, 3, &p, NULL, err));
    OK(table_insert(w.person, &p, NULL, err));
    p.id = 6; /* by name the key may change */
    OK(table_update(w.person, 1, &p, NULL, err));
    uint64_t id = 5;
    assert_null(table_find(w.person, 0, &id));
    id = 6;
    assert_non_null(table_find(w.person, 0, &id));
    done(&w);
}

static void a_deleted_key_may_be_inserted_again(void **state)
{
    (void)state;
    World w = world(&no_limits);
    Person p = person(1, "ann"), q = person(1, "zoe");
    const void *old = NULL, *new_ = NULL;
    OK(table_insert(w.person, &p, &old, err));
    OK(table_delete(w.person, old, err));
    assert_int_equal(table_count(w.person), 0);
    OK(table_insert(w.person, &q, &new_, err));
    assert_ptr_equal(table_find(w.person, 0, &p.id), new_);
    assert_true(str_is(((const Person *)old)->name, "ann")); /* still readable */
    FAILS(S_NOT_FOUND, "deleted", table_delete(w.person, old, err));
    done(&w);
}

static void auto_increment_fills_zeros_only(void **state)
{
    (void)state;
    World w = world(&no_limits);
    Person p = person(0, "a"), given = person(3, "b"), q = person(0, "c"), r = person(0, "d");
    const void *row = NULL;
    OK(table_insert(w.person, &p, &row, err));
    assert_int_equal(p.id, 1);
    assert_int_equal(((const Person *)row)->id, 1);
    OK(table_insert(w.person, &given, NULL, err)); /* does not move the cursor */
    OK(table_insert(w.person, &q, NULL, err));
    assert_int_equal(q.id, 2);
    FAILS(S_CONFLICT, "value 3", table_insert(w.person, &r, NULL, err)); /* 3 is taken and spent */
    assert_int_equal(r.id, 0);                                           /* the caller may try again */
    OK(table_insert(w.person, &r, NULL, err));
    assert_int_equal(r.id, 4);
    txn_rollback(w.e);
    txn_begin(w.e);
    r = person(0, "d");
    OK(table_insert(w.person, &r, NULL, err));
    assert_int_equal(r.id, 5); /* never given out twice */
    done(&w);
}

static void auto_increment_ends_with_its_type(void **state)
{
    (void)state;
    World w = world(&no_limits);
    for (int i = 1; i <= 255; i++) {
        Tiny t = {.v = i};
        OK(table_insert(w.tiny, &t, NULL, err));
        assert_int_equal(t.id, i);
    }
    Tiny t = {.v = 1000};
    for (int i = 0; i < 2; i++) {
        FAILS(S_TOO_LARGE, "column id: its sequence has given out its last number", table_insert(w.tiny, &t, NULL, err));
        assert_int_equal(t.id, 0);
    }
    assert_int_equal(table_count(w.tiny), 255);
    uint8_t two = 2;
    OK(table_delete(w.tiny, table_find(w.tiny, 0, &two), err));
    t.id = 2; /* by hand numbers may come again */
    OK(table_insert(w.tiny, &t, NULL, err));
    done(&w);
}

static void what_postgresql_cannot_hold_is_refused_by_name(void **state)
{
    (void)state;
    World w = world(&no_limits);
    char nul[] = "a\0b", text[2601];
    Person p = person(1, "");
    p.name = (Str){nul, 3};
    FAILS(S_INVALID, "table person, column name: NUL byte in text at byte 1", table_insert(w.person, &p, NULL, err));
    memset(text, 'x', sizeof text);
    p.name = (Str){text, sizeof text};
    FAILS(S_TOO_LARGE, "table person, column name: an indexed value of 2601 bytes; the limit is 2600",
          table_insert(w.person, &p, NULL, err));
    p.name.len = 2600;
    p.at = 9223371331200000000;
    FAILS(S_INVALID, "table person, column at: timestamp 9223371331200000000 us", table_insert(w.person, &p, NULL, err));
    p.at = -210866803200000001;
    FAILS(S_INVALID, "column at", table_insert(w.person, &p, NULL, err));
    p.at = -210866803200000000;
    OK(table_insert(w.person, &p, NULL, err));
    p = person(2, "y");
    p.at = 9223371331199999999;
    OK(table_insert(w.person, &p, NULL, err));
    p.name = STR("\xff");
    FAILS(S_INVALID, "table person", table_insert(w.person, &p, NULL, err));
    Str tags[] = {{nul, 3}};
    Doc d = {.id = 1, .tags = {(const uint8_t *)tags, 1}};
    FAILS(S_INVALID, "table doc, column tags: NUL", table_insert(w.doc, &d, NULL, err));
    Pair q = {.x = 1, .y = 2};
    FAILS(S_INVALID, "table pair", table_insert(w.pair, &q, NULL, err));
    assert_int_equal(table_count(w.person), 2);
    done(&w);
}

static void limits_are_named_and_leave_the_table_as_it_was(void **state)
{
    (void)state;
    World w = world(&(EngineLimits){.txn_rows_max = 3});
    const void *row = NULL;
    for (uint32_t i = 0; i < 3; i++)
        OK(table_insert(w.pair, &(Pair){.x = i}, &row, err));
    FAILS(S_TOO_LARGE, "more than 3 rows", table_insert(w.pair, &(Pair){.x = 9}, NULL, err));
    FAILS(S_TOO_LARGE, "more than 3 rows", table_delete(w.pair, row, err));
    OK(table_insert(w.pair, &(Pair){.x = 1}, NULL, err)); /* changes nothing */
    assert_int_equal(table_count(w.pair), 3);
    done(&w);

    w = world(&(EngineLimits){.txn_bytes_max = 1000});
    Person p = person(1, "x");
    char text[900];
    memset(text, 'x', sizeof text);
    p.name = (Str){text, sizeof text};
    OK(table_insert(w.person, &p, NULL, err));
    p.id = 2, text[0] = 'y';
    FAILS(S_TOO_LARGE, "more than 1000 bytes", table_insert(w.person, &p, NULL, err));
    done(&w);

    w = world(&(EngineLimits){.database_bytes_max = 200000});
    uint64_t n = 0;
    for (Error err;; n++)
        if (table_insert(w.pair, &(Pair){.x = (uint32_t)n}, NULL, &err) != S_OK) {
            assert_int_equal(err.code, S_TOO_LARGE);
            assert_non_null(strstr(err.text, "its limit is 200000 bytes (--database-memory)"));
            break;
        }
    assert_true(n > 1000 && n < 6000);
    assert_int_equal(table_count(w.pair), n);
    assert_true(engine_bytes_used(w.e) <= 200000);
    txn_rollback(w.e);
    assert_int_equal(table_count(w.pair), 0);
    done(&w);
}

static void rows_load_from_their_commit_form(void **state)
{
    (void)state;
    World w = world(&no_limits);
    txn_commit(w.e);
    OWN(buf) Buf b = {0};
    for (uint32_t i = 0; i < 5000; i++) {
        buf_put_u64(&b, 10 + i * 2); /* row number */
        buf_put_u32(&b, i);
        buf_put_u8(&b, (uint8_t)(i & 1));
    }
    Reader r = reader_of(buf_bytes(&b));
    table_load_expect(w.pair, 5000);
    while (reader_left(&r))
        OK(table_load_row(w.pair, &r, err));
    assert_int_equal(table_count(w.pair), 5000);
    check_engine(w.e);
    txn_begin(w.e);
    const void *row = NULL;
    OK(table_insert(w.pair, &(Pair){.x = 77777}, &row, err));
    assert_int_equal(row_number(row), 10 + 4999 * 2 + 1);
    txn_commit(w.e);

    buf_reset(&b);
    Person p = person(12, "ann");
    value_encode(&b, table_def(w.person)->row, &p);
    r = reader_of(buf_bytes(&b));
    OK(table_load_row(w.person, &r, err));
    r = reader_of(buf_bytes(&b));
    FAILS(S_CONFLICT, "table person, column id: value 12", table_load_row(w.person, &r, err));
    r = reader_of(bytes_of(b.ptr, b.len - 1));
    FAILS(S_INVALID, "table person", table_load_row(w.person, &r, err));
    r = reader_of(bytes_of("\1\0\0\0\0\0\0\0\1\0\0\0\2", 13)); /* bool 2 */
    FAILS(S_INVALID, "table pair", table_load_row(w.pair, &r, err));
    r = reader_of(bytes_of("\1\0\0", 3));
    FAILS(S_INVALID, "table pair", table_load_row(w.pair, &r, err));
    assert_int_equal(table_count(w.person), 1);
    done(&w);
}

static void a_loaded_sequence_goes_on_behind_its_block(void **state)
{
    (void)state;
    World w = world(&no_limits);
    txn_commit(w.e);
    engine_load_sequence(w.e, &(CommitSequence){table_id(w.person), 0, 4096});
    txn_begin(w.e);
    Person p = person(0, "a");
    OK(table_insert(w.person, &p, NULL, err));
    assert_int_equal(p.id, 4097);
    done(&w);
}

static void an_emptied_table_gives_its_pages_back(void **state)
{
    (void)state;
    World w = world(&no_limits);
    for (uint32_t i = 0; i < 20000; i++)
        OK(table_insert(w.pair, &(Pair){.x = i}, NULL, err));
    txn_commit(w.e);
    uint64_t full = engine_bytes_used(w.e);
    txn_begin(w.e);
    Cursor c;
    cursor_all(&c, w.pair);
    for (const void *row; (row = cursor_next(&c));)
        OK(table_delete(w.pair, row, err));
    txn_commit(w.e);
    assert_true(engine_bytes_used(w.e) + 20000 * 30 < full);
    done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_insert_copies_the_row_and_its_text),
        cmocka_unit_test(a_table_is_a_set),
        cmocka_unit_test(a_keyless_row_replaced_by_an_existing_one_merges_with_it),
        cmocka_unit_test(a_conflict_names_table_column_and_value_and_changes_nothing),
        cmocka_unit_test(an_update_needs_a_unique_column_and_a_row),
        cmocka_unit_test(a_deleted_key_may_be_inserted_again),
        cmocka_unit_test(auto_increment_fills_zeros_only),
        cmocka_unit_test(auto_increment_ends_with_its_type),
        cmocka_unit_test(what_postgresql_cannot_hold_is_refused_by_name),
        cmocka_unit_test(limits_are_named_and_leave_the_table_as_it_was),
        cmocka_unit_test(rows_load_from_their_commit_form),
        cmocka_unit_test(a_loaded_sequence_goes_on_behind_its_block),
        cmocka_unit_test(an_emptied_table_gives_its_pages_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
