/* engine_txn_test.c - transactions: rollback, net changes, event tables, commit records, snapshots. */
#include "tests/unit/engine_fixture.h"

typedef struct Item {
    uint32_t id;
    Str name;
    int32_t rank;
} Item;
typedef struct Link {
    uint32_t from, to;
} Link;

static ModuleDef *module(void)
{
    ModuleBuilder *b = module_builder_new();
    const BuilderColumn item[] = {{.name = STR("id"), .type = type_scalar(TYPE_U32), .flags = COLUMN_PK | COLUMN_AUTO_INC},
                                  {.name = STR("name"), .type = type_scalar(TYPE_STRING), .flags = COLUMN_UNIQUE},
                                  {.name = STR("rank"), .type = type_scalar(TYPE_I32), .flags = COLUMN_INDEX}};
    module_builder_table(b, STR("item"), ACCESS_PUBLIC, false, 3, item);
    const BuilderColumn link[] = {{.name = STR("from"), .type = type_scalar(TYPE_U32), .flags = COLUMN_INDEX},
                                  {.name = STR("to"), .type = type_scalar(TYPE_U32), .flags = COLUMN_INDEX}};
    module_builder_table(b, STR("link"), ACCESS_PUBLIC, false, 2, link);
    module_builder_table(b, STR("shout"), ACCESS_PUBLIC, true, 3, item);
    return finish_module(b);
}

typedef struct World {
    Engine *e;
    ModuleDef *def;
    Table *item, *link, *shout;
} World;
static World world(void)
{
    World w = {.def = module()};
    w.e = engine_with(w.def, NULL);
    w.item = table_named(w.e, "item");
    w.link = table_named(w.e, "link");
    w.shout = table_named(w.e, "shout");
    txn_begin(w.e);
    return w;
}
static void done(World *w)
{
    if (txn_active(w->e))
        txn_rollback(w->e);
    check_engine(w->e);
    engine_free(w->e);
    module_def_unref(w->def);
}
static const Item *put(World *w, uint32_t id, const char *name, int32_t rank)
{
    Item it = {id, str_of(name), rank};
    const void *row = NULL;
    OK(table_insert(w->item, &it, &row, err));
    return row;
}
static const Item *item(World *w, uint32_t id) { return table_find(w->item, 0, &id); }
static void next_txn(World *w)
{
    txn_commit(w->e);
    check_engine(w->e);
    txn_begin(w->e);
}

static void a_rollback_restores_rows_indexes_and_counts(void **state)
{
    (void)state;
    World w = world();
    for (uint32_t i = 1; i <= 300; i++)
        put(&w, i, (char[]){'n', (char)('a' + i % 26), (char)('a' + i / 26), 0}, (int32_t)i % 7);
    next_txn(&w);
    uint64_t bytes = engine_bytes_used(w.e);
    for (uint32_t i = 1; i <= 300; i += 3)
        OK(table_delete(w.item, item(&w, i), err));
    for (uint32_t i = 2; i <= 300; i += 3) {
        Item it = *item(&w, i);
        it.rank = -1;
        OK(table_update(w.item, 0, &it, NULL, err));
        it.rank = -2;
        OK(table_update(w.item, 0, &it, NULL, err));
    }
    for (uint32_t i = 1; i <= 300; i += 3)
        put(&w, i, (char[]){'z', (char)('a' + i % 26), (char)('a' + i / 26), 0}, 100);
    check_engine(w.e);
    txn_rollback(w.e);
    check_engine(w.e);
    assert_int_equal(table_count(w.item), 300);
    for (uint32_t i = 1; i <= 300; i++) {
        assert_int_equal(item(&w, i)->rank, i % 7);
        assert_int_equal(item(&w, i)->name.ptr[0], 'n');
    }
    assert_true(engine_bytes_used(w.e) <= bytes + 200000);
    done(&w);
}

static void old_versions_stay_readable_until_the_end(void **state)
{
    (void)state;
    World w = world();
    put(&w, 1, "ann", 1);
    next_txn(&w);
    const Item *first = item(&w, 1);
    Item it = *first;
    it.name = STR("bob");
    const void *second = NULL;
    OK(table_update(w.item, 0, &it, &second, err));
    OK(table_delete(w.item, second, err));
    assert_true(str_is(first->name, "ann") && !row_is_alive(first) && !row_is_new(first));
    assert_true(str_is(((const Item *)second)->name, "bob") && !row_is_alive(second) && row_is_new(second));
    assert_null(item(&w, 1));
    done(&w);
}

static void changes_are_net(void **state)
{
    (void)state;
    World w = world();
    put(&w, 1, "a", 1), put(&w, 2, "b", 2), put(&w, 3, "c", 3);
    OK(table_insert(w.link, &(Link){1, 2}, NULL, err));
    next_txn(&w);
    uint32_t n;
    txn_changes(w.e, &n);
    assert_int_equal(n, 0);

    Item it = *item(&w, 1); /* there and back again */
    it.rank = 9;
    OK(table_update(w.item, 0, &it, NULL, err));
    it.rank = 1;
    OK(table_update(w.item, 0, &it, NULL, err));
    const Item *gone = put(&w, 50, "tmp", 0); /* born and gone */
    OK(table_delete(w.item, gone, err));
    uint64_t number = 0;
    Cursor c;
    cursor_all(&c, w.link); /* deleted and inserted as it was */
    const void *row = cursor_next(&c);
    number = row_number(row);
    OK(table_delete(w.link, row, err));
    OK(table_insert(w.link, &(Link){1, 2}, NULL, err));
    assert_false(txn_has_stored_changes(w.e));
    txn_changes(w.e, &n);
    assert_int_equal(n, 0);
    OK(table_delete(w.item, item(&w, 3), err));
    it = *item(&w, 2);
    it.rank = 20;
    OK(table_update(w.item, 0, &it, NULL, err));
    OK(table_delete(w.item, item(&w, 1), err));
    assert_true(txn_has_stored_changes(w.e));
    const TableChange *ch = txn_changes(w.e, &n);
    assert_int_equal(n, 1);
    assert_ptr_equal(ch->table, w.item);
    assert_int_equal(ch->ndeleted, 3);
    assert_int_equal(ch->ninserted, 1);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(((const Item *)ch->deleted[i])->id, i + 1); /* in row-number order */
    next_txn(&w);
    cursor_all(&c, w.link);
    row = cursor_next(&c);
    assert_int_equal(row_number(row), number); /* PostgreSQL knows it under this number */
    done(&w);
}

static void event_rows_live_inside_their_transaction(void **state)
{
    (void)state;
    World w = world();
    for (int round = 0; round < 3; round++) {
        const void *row = NULL;
        Item it = {7, STR("boo"), 1}, clash = {7, STR("moo"), 1}, other = {8, STR("zap"), 2};
        OK(table_insert(w.shout, &it, &row, err));
        FAILS(S_CONFLICT, "table shout, column id", table_insert(w.shout, &clash, NULL, err));
        OK(table_insert(w.shout, &other, &row, err));
        OK(table_delete(w.shout, row, err));
        it.rank = 5;
        OK(table_update(w.shout, 0, &it, NULL, err));
        assert_int_equal(table_count(w.shout), 1);
        uint32_t n, ntables;
        const TableChange *ch = txn_changes(w.e, &n);
        assert_int_equal(n, 1);
        assert_int_equal(ch->ndeleted, 0);
        assert_int_equal(ch->ninserted, 1);
        assert_int_equal(((const Item *)ch->inserted[0])->rank, 5);
        assert_false(txn_has_stored_changes(w.e));
        OWN(buf) Buf out = {0};
        txn_write_tables(w.e, &out, &ntables);
        assert_int_equal(ntables, 0);
        assert_int_equal(out.len, 0);
        if (round == 1)
            txn_rollback(w.e), txn_begin(w.e);
        else
            next_txn(&w);
        assert_int_equal(table_count(w.shout), 0);
    }
    done(&w);
}

static void sequences_of_rolled_back_transactions_are_reported(void **state)
{
    (void)state;
    World w = world();
    put(&w, 0, "a", 1);
    txn_rollback(w.e);
    txn_begin(w.e);
    put(&w, 5000, "b", 1);
    OWN(buf) Buf out = {0};
    uint16_t n;
    txn_write_sequences(w.e, &out, &n);
    assert_int_equal(n, 1);
    Reader r = reader_of(buf_bytes(&out));
    CommitSequence s;
    OK(commit_read_sequence(&r, &s, err));
    assert_int_equal(s.table_id, table_id(w.item));
    assert_int_equal(s.column, 0);
    assert_int_equal((int64_t)s.allocated, 4096);
    txn_rollback(w.e); /* the record never came to be */
    txn_begin(w.e);
    txn_write_sequences(w.e, &out, &n);
    assert_int_equal(n, 1);
    next_txn(&w);
    txn_write_sequences(w.e, &out, &n);
    assert_int_equal(n, 0);
    for (int i = 0; i < 4095; i++) { /* 1 was lost */
        const Item *it = put(&w, 0, "c", 1);
        assert_int_equal(it->id, i + 2);
        OK(table_delete(w.item, it, err));
    }
    txn_write_sequences(w.e, &out, &n);
    assert_int_equal(n, 0);
    assert_int_equal(put(&w, 0, "c", 1)->id, 4097);
    txn_write_sequences(w.e, &out, &n);
    assert_int_equal(n, 1);
    done(&w);
}

static void a_written_record_replays_elsewhere(void **state)
{
    (void)state;
    World w = world();
    Engine *replica = engine_with(w.def, NULL);
    OWN(buf) Buf record = {0};
    put(&w, 0, "a", 1), put(&w, 0, "b", 2);
    OK(table_insert(w.link, &(Link){1, 2}, NULL, err));
    OK(table_insert(w.link, &(Link){3, 4}, NULL, err));
    write_record(w.e, &record);
    OK(commit_validate(buf_bytes(&record), engine_schema(w.e), err));
    next_txn(&w);
    OK(engine_apply_record(replica, buf_bytes(&record), err));
    check_engine(replica);
    Cursor c;
    cursor_all(&c, w.link);
    OK(table_delete(w.link, cursor_next(&c), err));
    Item it = *item(&w, 1);
    it.name = STR("aa");
    OK(table_update(w.item, 0, &it, NULL, err));
    OK(table_delete(w.item, item(&w, 2), err));
    write_record(w.e, &record);
    next_txn(&w);
    OK(engine_apply_record(replica, buf_bytes(&record), err));
    check_engine(replica);
    Table *links = table_named(replica, "link"), *items = table_named(replica, "item");
    assert_int_equal(table_count(links), 1);
    assert_int_equal(table_count(items), 1);
    FAILS(S_INVALID, "commit record at offset 1: table item: the record deletes a key that is not there",
          engine_apply_record(replica, buf_bytes(&record), err));
    txn_begin(replica); /* the sequence goes on behind the block */
    Item fresh = {0, STR("new"), 0};
    OK(table_insert(items, &fresh, NULL, err));
    assert_int_equal(fresh.id, 4097);
    txn_rollback(replica);
    check_engine(replica);
    engine_free(replica);
    done(&w);
}

static void a_scan_sees_the_moment_of_its_creation(void **state)
{
    (void)state;
    World w = world();
    for (uint32_t i = 1; i <= 200; i++)
        OK(table_insert(w.link, &(Link){i % 10, i}, NULL, err));
    Cursor c;
    cursor_all(&c, w.link);
    uint32_t n = 0;
    for (const Link *l; (l = cursor_next(&c)); n++) { /* every row moves to the end, were it not for the snapshot */
        Link moved = {l->from, l->to + 1000};
        OK(table_replace(w.link, l, &moved, NULL, err));
        OK(table_insert(w.link, &(Link){77, n}, NULL, err));
    }
    assert_int_equal(n, 200);
    int32_t by_to = table_find_index(w.link, 1, &(uint16_t){1});
    uint32_t lo = 1000, last = 0;
    cursor_index(&c, w.link, by_to, 0, NULL, &lo, NULL);
    n = 0;
    for (const Link *l; (l = cursor_next(&c)); n++) {
        assert_true(l->to > last);
        last = l->to;
        Link moved = {l->from, l->to + 1000}; /* the problem of Halloween 1976 */
        OK(table_replace(w.link, l, &moved, NULL, err));
    }
    assert_int_equal(n, 200);
    check_engine(w.e);
    next_txn(&w);
    done(&w);
}

static void nothing_happens_without_writes(void **state)
{
    (void)state;
    World w = world();
    uint32_t n;
    uint16_t q;
    OWN(buf) Buf out = {0};
    txn_changes(w.e, &n);
    assert_int_equal(n, 0);
    txn_write_tables(w.e, &out, &n);
    txn_write_sequences(w.e, &out, &q);
    assert_int_equal(n + q + out.len, 0);
    txn_commit(w.e);
    txn_begin(w.e);
    txn_rollback(w.e);
    done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rollback_restores_rows_indexes_and_counts),
        cmocka_unit_test(old_versions_stay_readable_until_the_end),
        cmocka_unit_test(changes_are_net),
        cmocka_unit_test(event_rows_live_inside_their_transaction),
        cmocka_unit_test(sequences_of_rolled_back_transactions_are_reported),
        cmocka_unit_test(a_written_record_replays_elsewhere),
        cmocka_unit_test(a_scan_sees_the_moment_of_its_creation),
        cmocka_unit_test(nothing_happens_without_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
