/* engine_index_test.c - hash indexes and B+trees through the table that owns them. */
#include "tests/unit/engine_fixture.h"

typedef struct Point {
    uint32_t id;
    int32_t x;
    Str tag;
    uint64_t z;
} Point;

static ModuleDef *module(void)
{
    ModuleBuilder *b = module_builder_new();
    const BuilderColumn point[] = {{.name = STR("id"), .type = type_scalar(TYPE_U32), .flags = COLUMN_PK},
                                   {.name = STR("x"), .type = type_scalar(TYPE_I32), .flags = COLUMN_INDEX},
                                   {.name = STR("tag"), .type = type_scalar(TYPE_STRING)},
                                   {.name = STR("z"), .type = type_scalar(TYPE_U64)}};
    uint32_t t = module_builder_table(b, STR("point"), ACCESS_PUBLIC, false, 4, point);
    module_builder_index(b, t, STR("by_tag_x_z"), 3, (uint16_t[]){2, 1, 3});
    return finish_module(b);
}

typedef struct World {
    Engine *e;
    ModuleDef *def;
    Table *t;
} World;
static World world(void)
{
    World w = {.def = module()};
    w.e = engine_with(w.def, NULL);
    w.t = table_named(w.e, "point");
    txn_begin(w.e);
    return w;
}
static void done(World *w)
{
    check_engine(w->e);
    txn_commit(w->e);
    check_engine(w->e);
    engine_free(w->e);
    module_def_unref(w->def);
}
static void put(World *w, uint32_t id, int32_t x, const char *tag, uint64_t z)
{
    Point p = {id, x, str_of(tag), z};
    OK(table_insert(w->t, &p, NULL, err));
}
static void commit(World *w)
{
    txn_commit(w->e);
    txn_begin(w->e);
}

static void find_index_prefers_unique_then_narrow_ones(void **state)
{
    (void)state;
    World w = world();
    const TableDef *d = table_def(w.t);
    int32_t id = table_find_index(w.t, 1, (uint16_t[]){0}), x = table_find_index(w.t, 1, (uint16_t[]){1});
    int32_t tag = table_find_index(w.t, 1, (uint16_t[]){2});
    assert_true(id >= 0 && d->indexes[id].unique);
    assert_true(x >= 0 && d->indexes[x].ncols == 1);
    assert_true(tag >= 0 && d->indexes[tag].ncols == 3);
    assert_int_equal(table_find_index(w.t, 2, (uint16_t[]){2, 1}), tag);
    assert_int_equal(table_find_index(w.t, 3, (uint16_t[]){2, 1, 3}), tag);
    assert_int_equal(table_find_index(w.t, 2, (uint16_t[]){1, 2}), -1);
    assert_int_equal(table_find_index(w.t, 1, (uint16_t[]){3}), -1);
    assert_int_equal(table_find_index(w.t, 2, (uint16_t[]){0, 1}), -1);
    assert_int_equal(table_find_index(w.t, 0, NULL), -1);
    done(&w);
}

static void a_unique_index_delivers_one_row_of_its_snapshot(void **state)
{
    (void)state;
    World w = world();
    put(&w, 5, 1, "a", 1);
    Cursor c;
    uint32_t key = 5;
    const void *eq[] = {&key};
    cursor_index(&c, w.t, table_find_index(w.t, 1, (uint16_t[]){0}), 1, eq, NULL, NULL);
    const void *row = table_find(w.t, 0, &key);
    OK(table_delete(w.t, row, err));
    assert_ptr_equal(cursor_next(&c), row);
    assert_null(cursor_next(&c));
    cursor_index(&c, w.t, table_find_index(w.t, 1, (uint16_t[]){0}), 1, eq, NULL, NULL);
    assert_null(cursor_next(&c));
    done(&w);
}

static void a_range_runs_in_key_order_with_ties_by_row_number(void **state)
{
    (void)state;
    World w = world();
    for (uint32_t i = 0; i < 3000; i++)
        put(&w, i, (int32_t)((i * 7919) % 101) - 50, "t", 0);
    commit(&w);
    int32_t ix = table_find_index(w.t, 1, (uint16_t[]){1});
    int32_t lo = -20, hi = 20, last = INT32_MIN;
    uint64_t last_number = 0;
    for (int mode = 0; mode < 4; mode++) {
        Cursor c;
        cursor_index(&c, w.t, ix, 0, NULL, &lo, &hi);
        c.lo_exclusive = mode & 1;
        c.hi_inclusive = mode & 2;
        uint32_t n = 0, want = 0;
        last = INT32_MIN;
        for (const Point *p; (p = cursor_next(&c)); n++) {
            assert_true(p->x > last || (p->x == last && row_number(p) > last_number));
            last = p->x;
            last_number = row_number(p);
        }
        for (uint32_t i = 0; i < 3000; i++) {
            int32_t x = (int32_t)((i * 7919) % 101) - 50;
            want += (mode & 1 ? x > lo : x >= lo) && (mode & 2 ? x <= hi : x < hi);
        }
        assert_int_equal(n, want);
    }
    done(&w);
}

static void several_columns_serve_equality_on_a_prefix_and_a_range_on_the_next(void **state)
{
    (void)state;
    World w = world();
    uint32_t id = 0;
    const char *const tags[] = {"", "a", "abcdefgh", "abcdefgha", "abcdefghb", "b"};
    for (int t = 0; t < 6; t++)
        for (int32_t x = -3; x <= 3; x++)
            for (uint64_t z = 0; z < 4; z++)
                put(&w, id++, x, tags[t], z << 40);
    int32_t ix = table_find_index(w.t, 3, (uint16_t[]){2, 1, 3});
    Str tag = STR("abcdefgha");
    int32_t x = -1, hi_x = 2;
    uint64_t z = (uint64_t)1 << 40;
    const void *eq[] = {&tag, &x, &z};
    Cursor c;
    uint32_t n = 0;
    cursor_index(&c, w.t, ix, 3, eq, NULL, NULL);
    for (const Point *p; (p = cursor_next(&c)); n++)
        assert_true(p->x == -1 && p->z == z && str_eq(p->tag, tag));
    assert_int_equal(n, 1);
    n = 0;
    cursor_index(&c, w.t, ix, 1, eq, &x, &hi_x);
    for (const Point *p; (p = cursor_next(&c)); n++)
        assert_true(p->x >= -1 && p->x < 2 && str_eq(p->tag, tag));
    assert_int_equal(n, 12);
    n = 0;
    cursor_index(&c, w.t, ix, 2, eq, &z, NULL);
    for (const Point *p; (p = cursor_next(&c)); n++)
        assert_true(p->z >= z);
    assert_int_equal(n, 3);
    n = 0;
    Str after = STR("abcdefgh");
    cursor_index(&c, w.t, ix, 0, NULL, &after, NULL);
    c.lo_exclusive = true;
    while (cursor_next(&c))
        n++;
    assert_int_equal(n, 3 * 28);
    n = 0;
    cursor_index(&c, w.t, ix, 0, NULL, NULL, NULL);
    while (cursor_next(&c))
        n++;
    assert_int_equal(n, 6 * 28);
    done(&w);
}

static void trees_survive_growing_and_shrinking_in_every_direction(void **state)
{
    (void)state;
    for (int mode = 0; mode < 4; mode++) { /* ascending, descending, scattered, all equal */
        World w = world();
        const uint32_t n = 20000;
        for (uint32_t i = 0; i < n; i++) {
            int32_t x = mode == 0 ? (int32_t)i : mode == 1 ? -(int32_t)i : mode == 2 ? (int32_t)hash_u64(i) : 42;
            put(&w, i, x, mode == 2 ? "" : "tag", hash_u64(i + 7));
        }
        check_engine(w.e);
        commit(&w);
        for (uint32_t round = 0; round < 4; round++) {
            for (uint32_t i = 0; i < n; i++) {
                uint32_t id = round & 1 ? n - 1 - i : (i * 7919u) % n;
                const void *row = table_find(w.t, 0, &id);
                if (row && hash_u64(id * 5u + round) % 3 != 0)
                    OK(table_delete(w.t, row, err));
            }
            check_engine(w.e);
            commit(&w);
            check_engine(w.e);
        }
        assert_true(table_count(w.t) > 0 && table_count(w.t) < n / 20);
        Cursor c;
        cursor_all(&c, w.t);
        for (const void *row; (row = cursor_next(&c));)
            OK(table_delete(w.t, row, err));
        commit(&w);
        check_engine(w.e);
        cursor_index(&c, w.t, table_find_index(w.t, 1, (uint16_t[]){1}), 0, NULL, NULL, NULL);
        assert_null(cursor_next(&c));
        put(&w, 1, 1, "again", 1);
        done(&w);
    }
}

static void a_range_scan_continues_behind_its_last_row_after_any_change(void **state)
{
    (void)state;
    World w = world();
    for (uint32_t i = 0; i < 2000; i++)
        put(&w, i, (int32_t)(i / 4), "t", i);
    commit(&w);
    Cursor c;
    cursor_index(&c, w.t, table_find_index(w.t, 1, (uint16_t[]){1}), 0, NULL, NULL, NULL);
    uint32_t n = 0, fresh = 100000;
    for (const Point *p; (p = cursor_next(&c)); n++) {
        assert_int_equal(p->id, n);
        for (int i = 0; i < 3; i++)
            put(&w, fresh + (uint32_t)i, p->x + i - 1, "new", fresh); /* before, among and behind */
        fresh += 3;
        uint32_t id = (n * 31) % 2000; /* delete somewhere, perhaps ahead */
        const void *row = table_find(w.t, 0, &id);
        if (row)
            OK(table_delete(w.t, row, err));
    }
    assert_int_equal(n, 2000);
    done(&w);
}

static void hash_tables_find_every_key_after_many_deletes(void **state)
{
    (void)state;
    World w = world();
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < 1000; i++)
            put(&w, i << 16 | round, 0, "", i);
        for (uint32_t i = 0; i < 1000; i++) {
            uint32_t id = i << 16 | round;
            const void *row = table_find(w.t, 0, &id);
            assert_non_null(row);
            if (i % 10)
                OK(table_delete(w.t, row, err));
        }
        check_engine(w.e);
        commit(&w);
    }
    assert_int_equal(table_count(w.t), 2000);
    for (uint32_t round = 0; round < 20; round++)
        for (uint32_t i = 0; i < 1000; i++) {
            uint32_t id = i << 16 | round;
            assert_int_equal(table_find(w.t, 0, &id) != NULL, i % 10 == 0);
        }
    done(&w);
}

static void the_order_of_scans_does_not_depend_on_the_hash_seed(void **state)
{
    (void)state;
    uint32_t order[2][500];
    uint64_t seed = hash_process_seed;
    for (int run = 0; run < 2; run++) {
        hash_process_seed = seed + (uint64_t)run * 12345;
        World w = world();
        for (uint32_t i = 0; i < 600; i++)
            put(&w, i, (int32_t)(i % 3), "t", 0);
        commit(&w);
        for (uint32_t i = 0; i < 100; i++) {
            uint32_t id = i * 5;
            OK(table_delete(w.t, table_find(w.t, 0, &id), err));
        }
        commit(&w);
        Cursor c;
        uint32_t n = 0;
        cursor_all(&c, w.t);
        for (const Point *p; (p = cursor_next(&c));)
            order[run][n++] = p->id;
        assert_int_equal(n, 500);
        done(&w);
    }
    hash_process_seed = seed;
    assert_memory_equal(order[0], order[1], sizeof order[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(find_index_prefers_unique_then_narrow_ones),
        cmocka_unit_test(a_unique_index_delivers_one_row_of_its_snapshot),
        cmocka_unit_test(a_range_runs_in_key_order_with_ties_by_row_number),
        cmocka_unit_test(several_columns_serve_equality_on_a_prefix_and_a_range_on_the_next),
        cmocka_unit_test(trees_survive_growing_and_shrinking_in_every_direction),
        cmocka_unit_test(a_range_scan_continues_behind_its_last_row_after_any_change),
        cmocka_unit_test(hash_tables_find_every_key_after_many_deletes),
        cmocka_unit_test(the_order_of_scans_does_not_depend_on_the_hash_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
