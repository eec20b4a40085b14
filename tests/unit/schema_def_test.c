/* Definitions: what the builder writes, what the reader accepts, every rule's words, JSON, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>

#include "host/schema/module_int.h"

#define COL(n, t, ...)                                                                                                                     \
    {                                                                                                                                      \
        .name = STR(n), .type = (t), __VA_ARGS__                                                                                           \
    }
#define U64 type_scalar(TYPE_U64)
#define TEXT type_scalar(TYPE_STRING)

static Field field(const char *name, const Type *t) { return (Field){.name = str_of(name), .type = t}; }

/* The module of http-api.md section 7. */
static ModuleBuilder *example(void)
{
    ModuleBuilder *b = module_builder_new();
    Arena *a = module_builder_arena(b);
    BuilderColumn person[] = {COL("id", U64, .flags = COLUMN_PK | COLUMN_AUTO_INC), COL("email", TEXT, .flags = COLUMN_UNIQUE),
                              COL("name", TEXT, .flags = COLUMN_INDEX)};
    BuilderColumn timer[] = {COL("scheduled_id", U64, .flags = COLUMN_PK | COLUMN_AUTO_INC),
                             COL("scheduled_at", type_scalar(TYPE_SCHEDULE_AT))};
    uint32_t p = module_builder_table(b, STR("person"), ACCESS_PUBLIC, false, 3, person);
    uint32_t t = module_builder_table(b, STR("tick_timer"), ACCESS_PRIVATE, false, 2, timer);
    module_builder_schedule(b, t, 1, STR("tick"));
    Field add[] = {field("email", TEXT), field("name", TEXT)}, tick[] = {field("timer", module_builder_row(b, t))};
    module_builder_reducer(b, STR("init"), NULL, LIFECYCLE_INIT);
    module_builder_reducer(b, STR("add"), type_product(a, 2, add), LIFECYCLE_NONE);
    module_builder_reducer(b, STR("tick"), type_product(a, 1, tick), LIFECYCLE_NONE);
    module_builder_procedure(b, STR("count_people"), NULL, U64);
    module_builder_view(b, STR("all_people"), true, true, type_array(a, module_builder_row(b, p)));
    return b;
}

static ModuleDef *read_ok(ModuleBuilder *b)
{
    Buf bytes = {0};
    Error err;
    ModuleDef *def = NULL;
    if (module_builder_finish(b, &bytes, &err) != S_OK || module_def_from_bsatn(&def, buf_bytes(&bytes), &err) != S_OK)
        fail_msg("%s", err.text);
    buf_done(&bytes);
    return def;
}

static void expect_problems_in(Bytes bytes, const char *want)
{
    Error err;
    ModuleDef *def = NULL;
    if (module_def_from_bsatn(&def, bytes, &err) == S_OK)
        fail_msg("accepted, expected: %s", want);
    assert_string_equal(err.text, want);
    assert_null(def);
}

static void expect_problems(ModuleBuilder *b, const char *want)
{
    Buf bytes = {0};
    Error err;
    if (module_builder_finish(b, &bytes, &err) != S_OK)
        fail_msg("%s", err.text);
    expect_problems_in(buf_bytes(&bytes), want);
    buf_done(&bytes);
}

/* A module of one table. */
static ModuleBuilder *one_table(const char *name, uint32_t n, const BuilderColumn *cols)
{
    ModuleBuilder *b = module_builder_new();
    module_builder_table(b, str_of(name), ACCESS_PUBLIC, false, n, cols);
    return b;
}

static void the_example_module_is_read_back(void **state)
{
    (void)state;
    ModuleDef *def = read_ok(example());
    const TableDef *p = module_def_table(def, STR("person")), *t = module_def_table(def, STR("tick_timer"));
    assert_int_equal(def->ntables, 2);
    assert_int_equal(p->pk, 0);
    assert_int_equal(p->nindexes, 3);
    assert_true(str_is(p->indexes[1].name, "person_id_idx_btree") && p->indexes[1].unique && !p->indexes[2].unique);
    assert_true(str_is(p->row->name, "Person"));
    assert_int_equal(p->cols[1].offset, 8);
    assert_true(p->sequences[0].max == (i128)UINT64_MAX && p->sequences[0].start == 1);
    assert_true(str_is(t->schedule->function, "tick") && t->schedule->at_col == 1);
    assert_int_equal(module_def_lifecycle(def, LIFECYCLE_INIT), 0);
    assert_int_equal(module_def_lifecycle(def, LIFECYCLE_CONNECT), -1);
    assert_true(module_def_reducer(def, STR("tick"))->is_private && !module_def_reducer(def, STR("add"))->is_private);
    assert_int_equal(table_def_column(p, STR("name")), 2);
    assert_int_equal(table_def_column(p, STR("nope")), -1);
    assert_null(module_def_table(def, STR("nope")));
    module_def_unref(module_def_ref(def));
    module_def_unref(def);
}

static void the_builder_writes_the_documented_bytes(void **state)
{
    (void)state;
    BuilderColumn cols[] = {COL("id", U64, .flags = COLUMN_PK | COLUMN_AUTO_INC)};
    Buf out = {0};
    Error err;
    char hex[1000];
    assert_int_equal(module_builder_finish(one_table("t", 1, cols), &out, &err), S_OK);
    hex_encode(hex, out.ptr, out.len);
    assert_string_equal(hex, "02"
                             "0a000000"
                             "00"
                             "01000000"
                             "02"
                             "01000000"
                             "00"
                             "02000000"
                             "6964"
                             "0d" /* Typespace */
                             "01"
                             "01000000"
                             "00000000"
                             "01000000"
                             "54"
                             "00000000"
                             "01" /* Types: T */
                             "02"
                             "01000000"
                             "01000000"
                             "74"
                             "00000000"
                             "01000000"
                             "0000" /* Tables: t, type 0, key [0] */
                             "01000000"
                             "00"
                             "0e000000"
                             "745f69645f6964785f6274726565"
                             "00"
                             "02000000"
                             "6964"
                             "00"
                             "01000000"
                             "0000"
                             "01000000"
                             "00"
                             "08000000"
                             "745f69645f6b6579"
                             "00"
                             "01000000"
                             "0000"
                             "01000000"
                             "00"
                             "08000000"
                             "745f69645f736571"
                             "0000"
                             "010101"
                             "01000000000000000000000000000000"
                             "01"
                             "00"
                             "00000000"
                             "00"
                             "03"
                             "00000000"
                             "04"
                             "00000000"
                             "05"
                             "00000000"
                             "06"
                             "00000000"
                             "07"
                             "00000000"
                             "09"
                             "00"
                             "0a"
                             "00000000");
    buf_done(&out);
}

static const char *const example_v9_tables =
    "[{\"name\":\"person\",\"product_type_ref\":0,\"primary_key\":[0],\"indexes\":["
    "{\"name\":{\"some\":\"person_email_idx_btree\"},\"accessor_name\":{\"some\":\"email\"},\"algorithm\":{\"BTree\":[1]}},"
    "{\"name\":{\"some\":\"person_id_idx_btree\"},\"accessor_name\":{\"some\":\"id\"},\"algorithm\":{\"BTree\":[0]}},"
    "{\"name\":{\"some\":\"person_name_idx_btree\"},\"accessor_name\":{\"some\":\"name\"},\"algorithm\":{\"BTree\":[2]}}],"
    "\"constraints\":[{\"name\":{\"some\":\"person_email_key\"},\"data\":{\"Unique\":{\"columns\":[1]}}},"
    "{\"name\":{\"some\":\"person_id_key\"},\"data\":{\"Unique\":{\"columns\":[0]}}}],"
    "\"sequences\":[{\"name\":{\"some\":\"person_id_seq\"},\"column\":0,\"start\":{\"none\":[]},\"min_value\":{\"none\":[]},"
    "\"max_value\":{\"none\":[]},\"increment\":1}],\"schedule\":{\"none\":[]},\"table_type\":{\"User\":[]},\"table_access\":{\"Public\":[]}"
    "},";

static void the_schema_json_has_the_documented_shape(void **state)
{
    (void)state;
    ModuleDef *def = read_ok(example());
    for (int version = 9; version <= 10; version++) {
        Buf out = {0};
        json_error_t why;
        module_def_to_json(&out, def, version);
        json_t *json = json_loads(buf_cstr(&out), 0, &why);
        if (!json)
            fail_msg("version %d is not JSON: %s", version, why.text);
        if (version == 9) {
            assert_non_null(strstr(buf_cstr(&out), example_v9_tables));
            assert_non_null(
                strstr(buf_cstr(&out), "{\"name\":\"init\",\"params\":{\"elements\":[]},\"lifecycle\":{\"some\":{\"Init\":[]}}}"));
            assert_non_null(strstr(buf_cstr(&out),
                                   "\"schedule\":{\"some\":{\"name\":{\"some\":\"tick_timer_sched\"},\"reducer_name\":\"tick\","
                                   "\"scheduled_at_column\":1}}"));
            assert_int_equal(json_array_size(json_object_get(json, "misc_exports")), 2);
        } else {
            static const char *const order[] = {
                "Typespace", "Types", "Tables", "Reducers", "Procedures", "Views", "Schedules", "LifeCycleReducers", "ExplicitNames"};
            json_t *sections = json_object_get(json, "sections");
            assert_int_equal(json_array_size(sections), COUNT_OF(order));
            for (size_t i = 0; i < COUNT_OF(order); i++)
                assert_non_null(json_object_get(json_array_get(sections, i), order[i]));
        }
        json_decref(json);
        buf_done(&out);
    }
    module_def_unref(def);
}

static void all_problems_are_reported_together(void **state)
{
    (void)state;
    BuilderColumn cols[] = {COL("id", type_scalar(TYPE_F64), .flags = COLUMN_PK), COL("id", U64),
                            COL("2nd", TEXT, .flags = COLUMN_AUTO_INC)};
    BuilderColumn fine[] = {COL("a", type_scalar(TYPE_F32), .flags = COLUMN_UNIQUE)}, more[] = {COL("b", TEXT, .flags = COLUMN_AUTO_INC)};
    ModuleBuilder *b = one_table("broken", 3, cols);
    module_builder_table(b, STR("st_mine"), ACCESS_PUBLIC, false, 1, fine);
    module_builder_table(b, STR("plain"), ACCESS_PUBLIC, false, 1, more);
    expect_problems(b, "module definition has 5 problems:\n"
                       "- table `broken`: the name of column 2 (`2nd`) must start with a letter or `_`; rename it\n"
                       "- table `broken`: two columns are named `id`; rename one\n"
                       "- table `plain`, column `b`: auto-increment needs an integer column\n"
                       "- table `st_mine`, column `a`: f32 cannot be unique; use an integer, bool, string, bytes, identity, uuid, "
                       "timestamp or plain enum\n"
                       "- table `st_mine`: names that start with `st_` are reserved; rename it");
}

static void a_long_list_is_cut_with_a_count_and_kept_in_full_elsewhere(void **state)
{
    (void)state;
    ModuleBuilder *b = module_builder_new();
    char name[20];
    for (int i = 0; i < 40; i++) {
        BuilderColumn c = COL("x", U64);
        snprintf(name, sizeof name, "st_%02d", i);
        module_builder_table(b, str_of(name), ACCESS_PUBLIC, false, 1, &c);
    }
    Buf bytes = {0}, all = {0};
    Error err;
    ModuleDef *def;
    assert_int_equal(module_builder_finish(b, &bytes, &err), S_OK);
    assert_int_equal(module_def_from_bsatn_full(&def, buf_bytes(&bytes), &all, &err), S_INVALID);
    assert_non_null(strstr(err.text, "module definition has 40 problems:\n- table `st_00`"));
    assert_non_null(strstr(err.text, " more"));
    assert_non_null(strstr(buf_cstr(&all), "- table `st_39`"));
    buf_done(&bytes);
    buf_done(&all);
}

static void the_same_name_for_two_things_is_refused(void **state)
{
    (void)state;
    BuilderColumn c[] = {COL("a", U64, .flags = COLUMN_INDEX)}, d[] = {COL("b", U64)};
    ModuleBuilder *b = one_table("t", 1, c);
    module_builder_table(b, STR("t_a_idx_btree"), ACCESS_PUBLIC, false, 1, d);
    module_builder_index(b, 0, STR("again"), 1, (uint16_t[]){0});
    module_builder_reducer(b, STR("f"), NULL, LIFECYCLE_NONE);
    module_builder_procedure(b, STR("f"), NULL, NULL);
    expect_problems(b, "module definition has 3 problems:\n"
                       "- name `f` is used by a procedure and a reducer: rename one\n"
                       "- name `t_a_idx_btree` is used by a table and an index of t: rename one, or declare it once\n"
                       "- name `t_a_idx_btree` is used by an index of t and an index of t: rename one, or declare it once");
}

static void an_index_has_at_most_sixteen_columns_none_twice(void **state)
{
    (void)state;
    BuilderColumn c[17];
    uint16_t which[17];
    char names[17][8];
    for (uint16_t i = 0; i < 17; i++) {
        snprintf(names[i], sizeof names[i], "c%u", i);
        c[i] = (BuilderColumn){.name = str_of(names[i]), .type = U64};
        which[i] = i;
    }
    ModuleBuilder *b = one_table("t", 17, c);
    module_builder_index(b, 0, STR("all"), 17, which);
    module_builder_index(b, 0, STR("twice"), 2, (uint16_t[]){3, 3});
    expect_problems(b, "module definition has 2 problems:\n"
                       "- table `t`, column `c3`: an index names it twice; name it once\n"
                       "- table `t`: an index over 17 columns; between 1 and 16 are allowed");
}

static void postgresqls_limits_on_columns_and_rows_are_kept(void **state)
{
    (void)state;
    BuilderColumn *c = x_alloc(sizeof *c * 1001);
    char(*names)[16] = x_alloc(16 * 1001);
    for (int i = 0; i < 1001; i++) {
        snprintf(names[i], sizeof names[i], "c%d", i);
        c[i] = (BuilderColumn){.name = str_of(names[i]), .type = type_scalar(TYPE_BOOL)};
    }
    expect_problems(one_table("wide", 1001, c), "module definition has 1 problem:\n- table `wide`: 1001 columns, at most 1000 are allowed; "
                                                "split the table or put columns into a struct");
    module_def_unref(read_ok(one_table("wide", 1000, c)));
    for (int i = 0; i < 500; i++)
        c[i].type = TEXT;
    expect_problems(one_table("wide", 500, c),
                    "module definition has 1 problem:\n- table `wide`: a row of 500 columns can need 9087 bytes, "
                    "PostgreSQL holds 8000; put columns into a struct");
    free(c);
    free(names);
}

static void defaults_must_be_values_of_their_column(void **state)
{
    (void)state;
    BuilderColumn c[] = {COL("id", U64, .flags = COLUMN_PK, .has_default = true, .default_bsatn = bytes_of("\1\0\0\0\0\0\0\0", 8)),
                         COL("a", type_scalar(TYPE_U32), .has_default = true, .default_bsatn = bytes_of("\1\0", 2)),
                         COL("b", type_scalar(TYPE_U16), .has_default = true, .default_bsatn = bytes_of("\1\0\0", 3)),
                         COL("c", type_scalar(TYPE_U16), .has_default = true, .default_bsatn = bytes_of("\1\0", 2))};
    expect_problems(
        one_table("t", 4, c),
        "module definition has 3 problems:\n"
        "- table `t`, column `a`: its default is not a value of the column's type: data too short for u32: Expected 4, given 2\n"
        "- table `t`, column `b`: 1 bytes follow its default value\n"
        "- table `t`, column `id`: a default makes no sense on a column that is a primary key; remove one of the two");
}

static void schedules_and_lifecycles_need_the_right_parts(void **state)
{
    (void)state;
    BuilderColumn c[] = {COL("id", type_scalar(TYPE_U32), .flags = COLUMN_PK), COL("at", type_scalar(TYPE_SCHEDULE_AT))};
    BuilderColumn d[] = {COL("id", U64, .flags = COLUMN_PK), COL("at", type_scalar(TYPE_SCHEDULE_AT))};
    ModuleBuilder *b = one_table("bad_key", 2, c);
    Arena *a = module_builder_arena(b);
    uint32_t t = module_builder_table(b, STR("timer"), ACCESS_PUBLIC, false, 2, d);
    uint32_t u = module_builder_table(b, STR("lost"), ACCESS_PUBLIC, false, 2, d);
    Field f[] = {field("x", U64)};
    module_builder_schedule(b, 0, 1, STR("tick"));
    module_builder_schedule(b, t, 1, STR("tick"));
    module_builder_schedule(b, u, 0, STR("nobody"));
    module_builder_reducer(b, STR("tick"), type_product(a, 1, f), LIFECYCLE_NONE);
    module_builder_reducer(b, STR("start"), type_product(a, 1, f), LIFECYCLE_INIT);
    module_builder_reducer(b, STR("start2"), NULL, LIFECYCLE_INIT);
    expect_problems(b, "module definition has 5 problems:\n"
                       "- init: several reducers are declared for it; keep one\n"
                       "- reducer `start`: a lifecycle reducer takes no parameters; remove them\n"
                       "- table `bad_key`: a scheduled table needs a primary key of type u64\n"
                       "- table `lost`: a scheduled table needs a column of type ScheduleAt\n"
                       "- table `timer`: scheduled function `tick` must take exactly one parameter, the table's row");
}

static void composites_need_a_declared_name(void **state)
{
    (void)state;
    ModuleBuilder *b = module_builder_new();
    Arena *a = module_builder_arena(b);
    Field v[] = {field("A", &type_unit), field("B", &type_unit)};
    const Type *anonymous = type_sum(a, 2, v), *named = module_builder_named(b, STR("Kind"), anonymous);
    assert_ptr_equal(named, module_builder_named(b, STR("Kind"), type_sum(a, 2, v)));
    BuilderColumn c[] = {COL("k", anonymous), COL("ok", type_array(a, named))};
    module_builder_table(b, STR("t"), ACCESS_PUBLIC, false, 2, c);
    expect_problems(b,
                    "module definition has 1 problem:\n- table `t`, column `k`: a struct, sum or enum without a name cannot be used here; "
                    "declare it as a named type");
    b = module_builder_new();
    a = module_builder_arena(b);
    Buf out = {0};
    Error err;
    (void)module_builder_named(b, STR("Kind"), type_sum(a, 2, v));
    (void)module_builder_named(b, STR("Kind"), type_sum(a, 1, v));
    assert_int_equal(module_builder_finish(b, &out, &err), S_INVALID);
    assert_string_equal(err.text, "type `Kind` is declared twice with different parts; rename one");
    buf_done(&out);
}

static void a_row_type_gives_way_to_a_declared_type(void **state)
{
    (void)state;
    ModuleBuilder *b = module_builder_new();
    Arena *a = module_builder_arena(b);
    BuilderColumn c[] = {COL("id", U64)};
    Field v[] = {field("A", &type_unit), field("B", &type_unit)};
    uint32_t t = module_builder_table(b, STR("room"), ACCESS_PUBLIC, false, 1, c);
    assert_true(str_is(module_builder_row(b, t)->name, "Room"));
    module_builder_named(b, STR("Room"), type_sum(a, 2, v));
    Field row[] = {field("id", U64)};
    assert_ptr_equal(module_builder_named(b, STR("room"), type_product(a, 1, row)), module_builder_row(b, t));
    ModuleDef *def = read_ok(b);
    assert_true(str_is(def->tables[0].row->name, "room"));
    assert_int_equal(def->ntype_names, 2);
    module_def_unref(def);
}

/* Sections by hand, for what the builder cannot write. */
static void put_str(Buf *b, const char *s) { buf_put_str(b, str_of(s)); }

static void recursive_and_dangling_types_are_refused(void **state)
{
    (void)state;
    Buf b = {0};
    buf_put(&b, "\2\2\0\0\0\0", 6); /* V10, 2 sections, Typespace */
    buf_put_u32(&b, 3);
    buf_put(&b, "\2\1\0\0\0\0", 6); /* 0: product of `next: Array<Ref 0>` */
    put_str(&b, "next");
    buf_put(&b, "\3\0\0\0\0\0", 6);
    buf_put(&b, "\2\1\0\0\0\0", 6); /* 1: product of `x: Ref 9` */
    put_str(&b, "x");
    buf_put(&b, "\0\11\0\0\0", 5);
    buf_put(&b, "\1\0\0\0\0", 5);         /* 2: a sum without variants */
    buf_put(&b, "\1\2\0\0\0\0\0\0\0", 9); /* Types */
    put_str(&b, "List");
    buf_put(&b, "\0\0\0\0\1\0\0\0\0", 9);
    put_str(&b, "Bad");
    buf_put(&b, "\1\0\0\0\1", 5);
    expect_problems_in(
        buf_bytes(&b),
        "module definition has 3 problems:\n"
        "- type `Bad`, field `x`: refers to type 9, but the typespace has 3 types\n"
        "- type `List`, field `next`: the type contains itself; recursive types cannot be stored, keep an id of another row instead\n"
        "- typespace slot 2: it has 0 variants; between 1 and 256 are allowed");
    buf_done(&b);
}

static void a_missing_case_policy_means_snake_case(void **state)
{
    (void)state;
    Buf b = {0};
    buf_put(&b, "\2\4\0\0\0\0", 6);
    buf_put_u32(&b, 2);
    buf_put(&b, "\2\2\0\0\0\0", 6);
    put_str(&b, "fruitName");
    buf_put(&b, "\4\0", 2);
    put_str(&b, "oneU8");
    buf_put(&b, "\0\1\0\0\0", 5);
    buf_put(&b, "\1\2\0\0\0\0", 6);
    put_str(&b, "RedApple");
    buf_put(&b, "\2\0\0\0\0\0", 6);
    put_str(&b, "HTTPReq");
    buf_put(&b, "\2\0\0\0\0", 5);
    buf_put(&b, "\1\2\0\0\0\0\0\0\0", 9);
    put_str(&b, "fruit_row");
    buf_put(&b, "\0\0\0\0\1\0\0\0\0", 9);
    put_str(&b, "Kind");
    buf_put(&b, "\1\0\0\0\1", 5);
    buf_put(&b, "\2\1\0\0\0", 5);
    put_str(&b, "FruitBasket");
    buf_put(&b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0", 27);
    buf_put(&b, "\12\0\0\0\0", 5);
    Error err;
    ModuleDef *def;
    if (module_def_from_bsatn(&def, buf_bytes(&b), &err) != S_OK)
        fail_msg("%s", err.text);
    const TableDef *t = &def->tables[0];
    assert_true(str_is(t->name, "fruit_basket") && str_is(t->source_name, "FruitBasket") && str_is(t->row->name, "FruitRow"));
    assert_ptr_equal(module_def_table(def, STR("FruitBasket")), t);
    assert_true(str_is(t->cols[0].name, "fruit_name") && str_is(t->cols[1].name, "one_u_8"));
    assert_true(str_is(t->cols[1].type->fields[0].name, "redApple") && str_is(t->cols[1].type->fields[1].name, "httpReq"));
    module_def_unref(def);
    buf_done(&b);
}

static void names_are_converted_at_word_boundaries(void **state)
{
    (void)state;
    static const struct {
        const char *in, *snake, *camel, *pascal;
    } cases[] = {{"one_u8", "one_u_8", "oneU8", "OneU8"},
                 {"_x", "x", "x", "X"},
                 {"Player1", "player_1", "player1", "Player1"},
                 {"HTTPReq", "http_req", "httpReq", "HttpReq"},
                 {"my__field", "my_field", "myField", "MyField"},
                 {"already_snake", "already_snake", "alreadySnake", "AlreadySnake"},
                 {"a-b c", "a_b_c", "aBC", "ABC"}};
    Arena a = {0};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_string_equal(name_convert(&a, str_of(cases[i].in), CASE_SNAKE).ptr, cases[i].snake);
        assert_string_equal(name_convert(&a, str_of(cases[i].in), CASE_LOWER_CAMEL).ptr, cases[i].camel);
        assert_string_equal(name_convert(&a, str_of(cases[i].in), CASE_PASCAL).ptr, cases[i].pascal);
    }
    assert_null(name_flaw(STR("select")));
    assert_null(name_flaw(STR("\xc3\xbcn\xc3\xaf")));
    assert_non_null(name_flaw(STR("")));
    assert_non_null(name_flaw(STR("a b")));
    assert_non_null(name_flaw(STR("1a")));
    assert_non_null(name_flaw(STR("a\xe2\x80\x8b")));
    arena_done(&a);
}

/* ---- rules, handlers, routes, keys of views ------------------------------------------------------ */

static ModuleBuilder *with_view(void)
{
    ModuleBuilder *b = module_builder_new();
    BuilderColumn person[] = {COL("id", U64, .flags = COLUMN_PK), COL("email", TEXT), COL("score", type_scalar(TYPE_F64))};
    uint32_t t = module_builder_table(b, STR("person"), ACCESS_PUBLIC, false, 3, person);
    module_builder_view(b, STR("people"), true, true, type_array(module_builder_arena(b), module_builder_row(b, t)));
    return b;
}

static void later_sections_are_read_back(void **state)
{
    (void)state;
    ModuleBuilder *b = with_view();
    module_builder_rls(b, STR("SELECT * FROM person WHERE email = 'b'"));
    module_builder_rls(b, STR("SELECT * FROM person WHERE email = 'a'"));
    module_builder_rls(b, STR("SELECT * FROM person WHERE email = 'a'"));
    module_builder_handler(b, STR("hello"));
    module_builder_route(b, STR("hello"), STR("GET"), STR("/a"));
    module_builder_route(b, STR("hello"), STR("POST"), STR("/a"));
    module_builder_route(b, STR("hello"), STR("REPORT"), STR(""));
    module_builder_route(b, STR("hello"), STR("ANY"), STR("/a/"));
    module_builder_view_key(b, STR("people"), STR("email"));
    ModuleDef *def = read_ok(b);
    assert_int_equal(def->nrls, 2); /* sorted, each once */
    assert_true(str_is(def->rls[0].sql, "SELECT * FROM person WHERE email = 'a'"));
    assert_int_equal(def->nhttp_handlers, 1);
    assert_int_equal(def->nhttp_routes, 4);
    assert_true(str_is(def->http_routes[2].method, "REPORT") && str_is(def->http_routes[3].method, "ANY"));
    assert_int_equal(def->views[0].pk, 1);
    for (int version = 9; version <= 10; version++) {
        OWN(buf) Buf json = {0};
        json_error_t why;
        module_def_to_json(&json, def, version);
        json_t *root = json_loadb((const char *)json.ptr, json.len, 0, &why);
        assert_non_null(root);
        json_decref(root);
        const char *want[] = {"{\"sql\":\"SELECT * FROM person WHERE email = 'a'\"}", "\"HttpHandlers\":[{\"source_name\":\"hello\"}]",
                              "{\"handler_function\":\"hello\",\"method\":{\"Method\":{\"Extension\":\"REPORT\"}},\"path\":\"\"}",
                              "{\"handler_function\":\"hello\",\"method\":{\"Any\":[]},\"path\":\"/a/\"}",
                              "\"ViewPrimaryKeys\":[{\"view_source_name\":\"people\",\"columns\":[\"email\"]}]"};
        for (size_t i = 0; i < (version == 9 ? 1 : COUNT_OF(want)); i++)
            if (!strstr(buf_cstr(&json), want[i]))
                fail_msg("version %d lacks %s: %s", version, want[i], buf_cstr(&json));
    }
    module_def_unref(def);
}

static void a_query_view_has_the_key_of_the_only_table_with_such_rows(void **state)
{
    (void)state;
    for (int twice = 0; twice < 2; twice++) {
        ModuleBuilder *b = module_builder_new();
        BuilderColumn cols[] = {COL("id", U64, .flags = COLUMN_PK), COL("email", TEXT)};
        uint32_t t = module_builder_table(b, STR("person"), ACCESS_PUBLIC, false, 2, cols);
        Field query = field("__query__", module_builder_row(b, t));
        module_builder_view(b, STR("people"), true, true, type_product(module_builder_arena(b), 1, &query));
        ModuleDef *def = read_ok(b);
        assert_int_equal(def->views[0].result, VIEW_QUERY);
        assert_int_equal(def->views[0].pk, 0);
        module_def_unref(def);
    }
}

static void handlers_routes_and_view_keys_are_checked(void **state)
{
    (void)state;
    ModuleBuilder *b = with_view();
    module_builder_handler(b, STR("hello"));
    module_builder_handler(b, STR("hello"));
    module_builder_route(b, STR("nobody"), STR("GET"), STR("/x"));
    module_builder_route(b, STR("hello"), STR("GET"), STR("x"));
    module_builder_route(b, STR("hello"), STR("GET"), STR("/X y"));
    module_builder_route(b, STR("hello"), STR("A B"), STR("/method"));
    module_builder_route(b, STR("hello"), STR("GET"), STR("/twice"));
    module_builder_route(b, STR("hello"), STR("GET"), STR("/twice"));
    module_builder_route(b, STR("hello"), STR("PUT"), STR("/any"));
    module_builder_route(b, STR("hello"), STR("ANY"), STR("/any"));
    expect_problems(b, "module definition has 7 problems:\n"
                       "- name `hello` is used by an HTTP handler and an HTTP handler: rename one\n"
                       "- route `/X y`: a path is empty or begins with `/`, and holds a-z, 0-9, -, _, ~ and / only\n"
                       "- route `/any`: two handlers for ANY; keep one\n"
                       "- route `/method`: `A B` is no HTTP method\n"
                       "- route `/twice`: two handlers for GET; keep one\n"
                       "- route `/x`: there is no HTTP handler `nobody`; declare it\n"
                       "- route `x`: a path is empty or begins with `/`, and holds a-z, 0-9, -, _, ~ and / only");
    b = with_view();
    module_builder_view_key(b, STR("nobody"), STR("id"));
    module_builder_view_key(b, STR("people"), STR("nothing"));
    module_builder_view_key(b, STR("people"), STR("id"));
    expect_problems(b, "module definition has 3 problems:\n"
                       "- view `people`: its primary key names column `nothing`, which its rows do not have\n"
                       "- view `people`: two primary keys; keep one\n"
                       "- view primary key: there is no view `nobody`; declare it");
    b = with_view();
    module_builder_view_key(b, STR("people"), STR("score"));
    expect_problems(b, "module definition has 1 problem:\n- view `people`, column `score`: its type cannot be a key");
}

static void submodules_are_refused_by_name(void **state)
{
    (void)state;
    Buf bytes = {0};
    buf_put_u8(&bytes, MODULE_V10);
    buf_put_u32(&bytes, 1);
    buf_put_u8(&bytes, SECTION_SUBMODULES);
    buf_put_u32(&bytes, 1);
    put_str(&bytes, "lib");
    buf_put_u32(&bytes, 0);
    expect_problems_in(buf_bytes(&bytes),
                       "cannot decode module description: Submodules: this host takes modules without submodules only; put "
                       "their tables and functions into the module itself");
    buf_done(&bytes);
}

static void columns_keep_the_names_that_the_module_wrote(void **state)
{
    (void)state;
    BuilderColumn cols[] = {COL("userName", TEXT), COL("plain", U64)};
    ModuleBuilder *b = one_table("visits", 2, cols);
    module_builder_snake_case(b);
    ModuleDef *def = read_ok(b);
    assert_true(str_is(def->tables[0].cols[0].name, "user_name") && str_is(def->tables[0].cols[0].source_name, "userName"));
    assert_true(str_is(def->tables[0].cols[1].name, "plain") && str_is(def->tables[0].cols[1].source_name, "plain"));
    module_def_unref(def);
}

static void every_truncation_is_refused_with_words(void **state)
{
    (void)state;
    Buf bytes = {0};
    Error err;
    ModuleDef *def;
    assert_int_equal(module_builder_finish(example(), &bytes, &err), S_OK);
    for (size_t n = 0; n < bytes.len; n++) {
        uint8_t *exact = x_alloc(n ? n : 1); /* so that the sanitizer sees a read past the end */
        memcpy(exact, bytes.ptr, n);
        err.text[0] = 0;
        assert_int_equal(module_def_from_bsatn(&def, bytes_of(exact, n), &err), S_INVALID);
        assert_true(err.text[0]);
        free(exact);
    }
    buf_put_u8(&bytes, 0);
    assert_int_equal(module_def_from_bsatn(&def, buf_bytes(&bytes), &err), S_INVALID);
    assert_string_equal(err.text, "cannot decode module description: end: more bytes follow");
    bytes.ptr[0] = 1;
    assert_int_equal(module_def_from_bsatn(&def, buf_bytes(&bytes), &err), S_INVALID);
    assert_string_equal(err.text, "cannot decode module description: version tag 1, this host reads 2 (V10)");
    buf_done(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_module_is_read_back),
        cmocka_unit_test(the_builder_writes_the_documented_bytes),
        cmocka_unit_test(the_schema_json_has_the_documented_shape),
        cmocka_unit_test(all_problems_are_reported_together),
        cmocka_unit_test(a_long_list_is_cut_with_a_count_and_kept_in_full_elsewhere),
        cmocka_unit_test(the_same_name_for_two_things_is_refused),
        cmocka_unit_test(an_index_has_at_most_sixteen_columns_none_twice),
        cmocka_unit_test(postgresqls_limits_on_columns_and_rows_are_kept),
        cmocka_unit_test(defaults_must_be_values_of_their_column),
        cmocka_unit_test(schedules_and_lifecycles_need_the_right_parts),
        cmocka_unit_test(composites_need_a_declared_name),
        cmocka_unit_test(a_row_type_gives_way_to_a_declared_type),
        cmocka_unit_test(recursive_and_dangling_types_are_refused),
        cmocka_unit_test(a_missing_case_policy_means_snake_case),
        cmocka_unit_test(names_are_converted_at_word_boundaries),
        cmocka_unit_test(later_sections_are_read_back),
        cmocka_unit_test(a_query_view_has_the_key_of_the_only_table_with_such_rows),
        cmocka_unit_test(handlers_routes_and_view_keys_are_checked),
        cmocka_unit_test(submodules_are_refused_by_name),
        cmocka_unit_test(columns_keep_the_names_that_the_module_wrote),
        cmocka_unit_test(every_truncation_is_refused_with_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
