/* schema_builder_test.c - what module_builder.c writes: every word read back, and nothing new for a module that says nothing new. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/schema/module_int.h"

#define U64 type_scalar(TYPE_U64)
#define TEXT type_scalar(TYPE_STRING)

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

static const IndexDef *index_of(const TableDef *t, const char *accessor)
{
    for (uint16_t i = 0; i < t->nindexes; i++)
        if (str_is(t->indexes[i].accessor, accessor))
            return &t->indexes[i];
    fail_msg("table %.*s has no index %s", STR_FMT(t->name), accessor);
    return NULL;
}

static void a_module_without_new_words_has_the_bytes_it_always_had(void **state)
{
    (void)state;
    ModuleBuilder *b = module_builder_new();
    Arena *a = module_builder_arena(b);
    BuilderColumn person[] = {{.name = STR("id"), .type = U64, .flags = COLUMN_PK | COLUMN_AUTO_INC},
                              {.name = STR("email"), .type = TEXT, .flags = COLUMN_UNIQUE},
                              {.name = STR("name"), .type = TEXT, .flags = COLUMN_INDEX},
                              {.name = STR("age"), .type = U64, .has_default = true, .default_bsatn = bytes_of("\7\0\0\0\0\0\0\0", 8)}};
    BuilderColumn timer[] = {{.name = STR("scheduled_id"), .type = U64, .flags = COLUMN_PK | COLUMN_AUTO_INC},
                             {.name = STR("scheduled_at"), .type = type_scalar(TYPE_SCHEDULE_AT)}};
    uint32_t p = module_builder_table(b, STR("person"), ACCESS_PUBLIC, false, 4, person);
    uint32_t t = module_builder_table(b, STR("tick_timer"), ACCESS_PRIVATE, false, 2, timer);
    module_builder_index(b, p, STR("by_name_age"), 2, (uint16_t[]){2, 3});
    module_builder_schedule(b, t, 1, STR("tick"));
    Field add[] = {{.name = STR("email"), .type = TEXT}}, tick[] = {{.name = STR("timer"), .type = module_builder_row(b, t)}};
    module_builder_reducer(b, STR("init"), NULL, LIFECYCLE_INIT);
    module_builder_reducer(b, STR("add"), type_product(a, 1, add), LIFECYCLE_NONE);
    module_builder_reducer(b, STR("tick"), type_product(a, 1, tick), LIFECYCLE_NONE);
    module_builder_procedure(b, STR("count_people"), NULL, U64);
    module_builder_view(b, STR("all_people"), true, true, type_array(a, module_builder_row(b, p)));
    Buf bytes = {0};
    Error err;
    assert_int_equal(module_builder_finish(b, &bytes, &err), S_OK);
    /* Recorded from the builder before it knew hash indexes, sequences' parameters and names (FNV-1a, so that the test needs nothing of the
     * host's). Stored definitions are compared by their bytes: these must not change. */
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ bytes.ptr[i]) * 0x100000001b3u;
    assert_int_equal(bytes.len, 995);
    assert_int_equal(hash, 0x62fd690d5e321d1bu);
    buf_done(&bytes);
}

static void index_kinds_and_unique_sets_are_read_back(void **state)
{
    (void)state;
    ModuleBuilder *b = module_builder_new();
    BuilderColumn cols[] = {{.name = STR("id"), .type = U64, .flags = COLUMN_PK | COLUMN_HASH},
                            {.name = STR("slot"), .type = type_scalar(TYPE_U16), .flags = COLUMN_UNIQUE | COLUMN_DIRECT},
                            {.name = STR("row"), .type = U64, .flags = COLUMN_INDEX | COLUMN_HASH},
                            {.name = STR("seat"), .type = U64},
                            {.name = STR("who"), .type = TEXT, .flags = COLUMN_INDEX}};
    uint32_t at = module_builder_table(b, STR("t"), ACCESS_PUBLIC, false, 5, cols);
    module_builder_unique(b, at, STR("place"), 2, (uint16_t[]){3, 2});
    module_builder_hash_index(b, at, STR("pair"), 2, (uint16_t[]){2, 4});
    ModuleDef *def = read_ok(b);
    const TableDef *t = module_def_table(def, STR("t"));
    assert_int_equal(t->nindexes, 6);
    assert_int_equal(t->nconstraints, 3);
    const IndexDef *id = index_of(t, "id"), *slot = index_of(t, "slot"), *row = index_of(t, "row"), *place = index_of(t, "place"),
                   *pair = index_of(t, "pair"), *who = index_of(t, "who");
    assert_true(id->algorithm == INDEX_HASH && id->unique && str_is(id->name, "t_id_idx_hash"));
    assert_true(slot->algorithm == INDEX_DIRECT && slot->unique && str_is(slot->name, "t_slot_idx_direct") && slot->cols[0] == 1);
    assert_true(row->algorithm == INDEX_HASH && !row->unique && row->ncols == 1);
    assert_true(place->algorithm == INDEX_BTREE && place->unique && place->ncols == 2 && place->cols[0] == 3 && place->cols[1] == 2);
    assert_true(str_is(place->name, "t_seat_row_idx_btree"));
    assert_true(pair->algorithm == INDEX_HASH && !pair->unique && pair->cols[0] == 2 && pair->cols[1] == 4);
    assert_true(who->algorithm == INDEX_BTREE && !who->unique);
    const ConstraintDef *set = NULL;
    for (uint16_t i = 0; i < t->nconstraints; i++)
        if (t->constraints[i].ncols == 2)
            set = &t->constraints[i];
    assert_true(set && str_is(set->name, "t_seat_row_key") && set->cols[0] == 2 && set->cols[1] == 3);
    module_def_unref(def);
}

static void sequences_carry_their_parameters(void **state)
{
    (void)state;
    ModuleBuilder *b = module_builder_new();
    BuilderColumn cols[] = {{.name = STR("plain"), .type = U64, .flags = COLUMN_PK | COLUMN_AUTO_INC},
                            {.name = STR("down"), .type = type_scalar(TYPE_I64), .flags = COLUMN_AUTO_INC},
                            {.name = STR("wide"), .type = type_scalar(TYPE_U128), .flags = COLUMN_AUTO_INC}};
    uint32_t at = module_builder_table(b, STR("t"), ACCESS_PUBLIC, false, 3, cols);
    module_builder_sequence(b, at, 1, -1, INT64_MIN, -1, -5);
    module_builder_sequence(b, at, 2, (i128)1 << 100, 1, (i128)1 << 120, 7);
    ModuleDef *def = read_ok(b);
    const TableDef *t = module_def_table(def, STR("t"));
    assert_int_equal(t->nsequences, 3);
    for (uint16_t i = 0; i < t->nsequences; i++) {
        const SequenceDef *s = &t->sequences[i];
        if (s->col == 0)
            assert_true(s->start == 1 && s->min == 1 && s->max == (i128)UINT64_MAX && s->increment == 1 && !s->start_given);
        else if (s->col == 1)
            assert_true(s->start == -1 && s->min == INT64_MIN && s->max == -1 && s->increment == -5 && s->start_given && s->min_given &&
                        s->max_given);
        else
            assert_true(s->start == (i128)1 << 100 && s->min == 1 && s->max == (i128)1 << 120 && s->increment == 7);
    }
    module_def_unref(def);
}

static void names_are_given_or_converted(void **state)
{
    (void)state;
    ModuleBuilder *b = module_builder_new();
    BuilderColumn cols[] = {{.name = STR("userId"), .type = U64, .flags = COLUMN_PK}, {.name = STR("room"), .type = U64}};
    uint32_t at = module_builder_table(b, STR("ChatUser"), ACCESS_PUBLIC, false, 2, cols);
    module_builder_index(b, at, STR("byRoom"), 2, (uint16_t[]){1, 0});
    module_builder_table(b, STR("OtherTable"), ACCESS_PUBLIC, false, 2, cols);
    module_builder_reducer(b, STR("sayHello"), NULL, LIFECYCLE_NONE);
    module_builder_reducer(b, STR("sayBye"), NULL, LIFECYCLE_NONE);
    module_builder_name_table(b, at, STR("people"));
    module_builder_name_function(b, STR("sayBye"), STR("FareWell"));
    assert_true(module_builder_name_index(b, at, STR("byRoom"), STR("people_rooms")));
    assert_true(module_builder_name_index(b, at, STR("userId"), STR("people_first")));
    assert_false(module_builder_name_index(b, at, STR("nothing"), STR("x")));
    module_builder_snake_case(b);
    ModuleDef *def = read_ok(b);
    const TableDef *t = module_def_table(def, STR("people"));
    assert_non_null(t);
    assert_true(str_is(t->source_name, "ChatUser") && module_def_table(def, STR("ChatUser")) == t);
    assert_non_null(module_def_table(def, STR("other_table")));
    assert_true(str_is(index_of(t, "byRoom")->name, "people_rooms") && str_is(index_of(t, "userId")->name, "people_first"));
    assert_non_null(module_def_reducer(def, STR("say_hello")));
    assert_non_null(module_def_reducer(def, STR("FareWell")));
    module_def_unref(def);
}

static void parts_over_columns_that_are_not_there_are_refused(void **state)
{
    (void)state;
    static const char *const want[] = {"table `t`: an index names column 3, but the table has 1 columns",
                                       "table `t`: a unique constraint names column 3, but the table has 1 columns",
                                       "table `t`: a sequence names column 3, but the table has 1 columns"};
    BuilderColumn col = {.name = STR("id"), .type = U64};
    for (int i = 0; i < 3; i++) {
        ModuleBuilder *b = module_builder_new();
        uint32_t at = module_builder_table(b, STR("t"), ACCESS_PUBLIC, false, 1, &col);
        if (i == 0)
            module_builder_hash_index(b, at, STR("x"), 1, (uint16_t[]){3});
        else if (i == 1)
            module_builder_unique(b, at, STR("x"), 2, (uint16_t[]){0, 3});
        else
            module_builder_sequence(b, at, 3, 1, 1, 2, 1);
        Buf out = {0};
        Error err;
        assert_int_equal(module_builder_finish(b, &out, &err), S_INVALID);
        assert_string_equal(err.text, want[i]);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_module_without_new_words_has_the_bytes_it_always_had),
        cmocka_unit_test(index_kinds_and_unique_sets_are_read_back),
        cmocka_unit_test(sequences_carry_their_parameters),
        cmocka_unit_test(names_are_given_or_converted),
        cmocka_unit_test(parts_over_columns_that_are_not_there_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
