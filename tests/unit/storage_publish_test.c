/* Publishing: one transaction, everything or nothing. */
#include "tests/unit/storage_test.h"

static Publish update_of(World *w, TestModule *next)
{
    for (uint32_t i = 0; i < next->image.def->ntables; i++)
        for (uint32_t k = 0; k < w->module.image.def->ntables; k++)
            if (str_eq(next->image.def->tables[i].name, w->module.image.def->tables[k].name))
                next->ids[i] = w->module.ids[k];
    for (uint32_t i = 0; i < next->image.def->ntables; i++)
        if (!next->ids[i])
            OK(storage_allocate_table_ids(w->s, 1, &next->ids[i], &err_));
    Publish p = {.old_image = &w->module.image, .new_image = &next->image, .program = str_bytes(STR("program two")), .lease = &w->lease};
    memcpy(p.identity, w->identity, 32);
    memset(p.program_hash, (int)next->image.version, 32);
    return p;
}

static void switch_to(World *w, TestModule *next)
{
    module_done(&w->module);
    w->module = *next;
    w->module.image.ids = w->module.ids;
    memset(next, 0, sizeof *next);
}

static void a_defaulted_column_and_an_index_are_added_under_the_running_database(void **state)
{
    (void)state;
    World w;
    world_up(&w, "grow", false);
    for (uint32_t i = 0; i < 100; i++)
        put_account(&w, false, i, i, "e");
    assert_true(wait_durable(&w, w.offset, 5000));
    TestModule next;
    module_new(&next, 2, true, true); /* unique email: there are duplicates */
    Publish p = update_of(&w, &next);
    uint64_t id;
    bool unknown;
    assert_int_equal(storage_publish(w.s, &p, &id, &unknown, &err_), S_CONFLICT);
    assert_non_null(strstr(err_.text, "changing table account"));
    assert_string_equal(err_.sqlstate, "23505");
    assert_string_equal(psql("SELECT count(*) FROM information_schema.columns WHERE table_schema = 'grow' AND table_name = 'account'"),
                        "3");
    put_account(&w, true, 1, 1000, "still version 1");
    assert_true(wait_durable(&w, w.offset, 5000));
    module_done(&next);
    module_new(&next, 2, true, false);
    p = update_of(&w, &next);
    OK(storage_publish(w.s, &p, &id, &unknown, &err_));
    assert_int_equal(id, w.id);
    assert_string_equal(psql("SELECT remark FROM grow.account WHERE id = 1"), "it's new; --\n");
    assert_string_equal(psql("SELECT count(*) FROM pg_indexes WHERE schemaname = 'grow' AND tablename = 'account'"), "2");
    assert_string_equal(
        psql("SELECT count(*) || ' ' || max(schema_version) FROM spacetime.versions WHERE database_id = %llu", (unsigned long long)w.id),
        "2 2");
    uint32_t version;
    OK(storage_publish_outcome(w.s, w.identity, &version, &err_));
    assert_int_equal(version, 2);
    switch_to(&w, &next);
    Rec r;
    rec_begin(&r);
    rec_table(&r, module_id(&w.module, "account"));
    rec_account(&r, 500, 5, "new");
    buf_put_str(&r.b, STR("remark"));
    rec_table_end(&r);
    rec_send(&w, &r);
    assert_true(wait_durable(&w, w.offset, 5000));
    assert_string_equal(psql("SELECT spacetime.settle('grow') > 0"), "t");
    assert_string_equal(psql("SELECT remark FROM grow.account WHERE id = 500"), "remark");
    storage_detach(w.s, w.id);
    TestSink k;
    LoadSink sink = sink_of(&k);
    uint64_t offset;
    OK(storage_load(w.s, &w.lease, &sink, &offset, &err_));
    assert_int_equal(k.version, 2);
    assert_int_equal(k.nrows[0], 101);
    assert_true(str_is(buf_str(&k.program), "program two"));
    sink_done(&k);
    world_down(&w);
}

static void a_locked_table_makes_the_publish_fail_and_names_the_blocker(void **state)
{
    (void)state;
    World w;
    world_up(&w, "locked", false);
    PGconn *pg = psql_open();
    PQclear(PQexec(pg, "SET application_name = 'nosy'; BEGIN; SELECT * FROM locked.account"));
    TestModule next;
    module_new(&next, 2, true, false);
    Publish p = update_of(&w, &next);
    uint64_t id;
    bool unknown;
    assert_int_equal(storage_publish(w.s, &p, &id, &unknown, &err_), S_BUSY);
    assert_non_null(strstr(err_.text, "nosy"));
    put_account(&w, false, 1, 1, "v1");
    assert_true(wait_durable(&w, w.offset, 5000));
    PQclear(PQexec(pg, "COMMIT"));
    PQfinish(pg);
    OK(storage_publish(w.s, &p, &id, &unknown, &err_));
    switch_to(&w, &next);
    world_down(&w);
}

static void a_reset_drops_the_data_and_keeps_the_name(void **state)
{
    (void)state;
    World w;
    world_up(&w, "again", false);
    put_account(&w, false, 1, 1, "old");
    assert_true(wait_durable(&w, 1, 5000));
    TestModule next;
    module_new(&next, 2, false, false);
    OK(storage_allocate_table_ids(w.s, 2, &next.ids[0], &err_));
    next.ids[1] = next.ids[0] + 1;
    uint32_t ids[2] = {next.ids[0], next.ids[1]};
    Publish p = update_of(&w, &next);
    memcpy(next.ids, ids, sizeof ids);
    p.reset = true;
    Rec r;
    rec_begin(&r);
    rec_table(&r, next.ids[0]);
    rec_account(&r, 42, 1, "from init");
    rec_table_end(&r);
    CommitHeader h = {.offset = 1, .schema_version = 2, .ntables = 1};
    commit_end(&r.b, r.start, &h);
    p.first_record = buf_bytes(&r.b);
    uint64_t id, offset;
    bool unknown;
    OK(storage_drain_source(w.s, w.id, &offset, &err_));
    OK(storage_publish(w.s, &p, &id, &unknown, &err_));
    switch_to(&w, &next);
    storage_detach(w.s, w.id);
    TestSink k;
    LoadSink sink = sink_of(&k);
    OK(storage_load(w.s, &w.lease, &sink, &offset, &err_));
    assert_int_equal(offset, 1);
    assert_int_equal(k.nrows[0] + k.replayed, 1);
    sink_done(&k);
    source_done(&w.source);
    w.offset = 1;
    attach(&w);
    put_account(&w, false, 43, 1, "after");
    assert_true(wait_durable(&w, 2, 5000));
    assert_string_equal(psql("SELECT spacetime.settle('again')"), "2");
    assert_string_equal(psql("SELECT string_agg(id::text, ',' ORDER BY id) FROM again.account"), "42,43");
    buf_done(&r.b);
    world_down(&w);
}

static void schemas_that_are_not_ours_are_left_alone(void **state)
{
    (void)state;
    psql("CREATE SCHEMA theirs");
    World w;
    world_up(&w, "theirs", false);
    assert_string_equal(psql("SELECT schema_name LIKE 'theirs\\_%%' FROM spacetime.databases WHERE id = %llu", (unsigned long long)w.id),
                        "t");
    Publish p = {.new_image = &w.module.image, .program = str_bytes(STR("x")), .name = STR("theirs"), .identity = {5}, .owner = {9}};
    uint64_t id;
    bool unknown;
    assert_int_equal(storage_publish(w.s, &p, &id, &unknown, &err_), S_DENIED);
    memcpy(p.identity, w.identity, 32);
    assert_int_equal(storage_publish(w.s, &p, &id, &unknown, &err_), S_CONFLICT);
    world_down(&w);
}

static void the_removal_of_a_primary_key_numbers_the_rows(void **state)
{
    (void)state;
    World w;
    memset(&w, 0, sizeof w);
    storage_up(&w);
    for (int v = 1; v <= 2; v++) {
        ModuleBuilder *b = module_builder_new();
        BuilderColumn c[] = {{.name = STR("id"), .type = type_scalar(TYPE_U32), .flags = v == 1 ? COLUMN_PK : 0},
                             {.name = STR("v"), .type = type_scalar(TYPE_U8)}};
        module_builder_table(b, STR("t"), ACCESS_PUBLIC, false, 2, c);
        TestModule m;
        module_finish(&m, b, (uint32_t)v);
        if (v == 1) {
            w.module = m;
            w.module.image.ids = w.module.ids;
            publish_first(&w, "unkeyed");
            OK(storage_acquire(w.s, w.id, &w.lease, &err_));
            attach(&w);
            for (uint32_t i = 5; i > 0; i--) {
                Rec r;
                rec_begin(&r);
                rec_table(&r, w.module.ids[0]);
                buf_put_u32(&r.b, i * 10);
                buf_put_u8(&r.b, (uint8_t)i);
                r.ni = 1;
                rec_table_end(&r);
                rec_send(&w, &r);
            }
            assert_true(wait_durable(&w, 5, 5000));
        } else {
            m.image.ids = m.ids;
            Publish p = update_of(&w, &m);
            uint64_t id;
            bool unknown;
            OK(storage_publish(w.s, &p, &id, &unknown, &err_));
            m.image.ids = m.ids;
            switch_to(&w, &m);
        }
    }
    assert_string_equal(psql("SELECT string_agg(st_row || ':' || id, ',' ORDER BY st_row) FROM unkeyed.t"), "1:10,2:20,3:30,4:40,5:50");
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_defaulted_column_and_an_index_are_added_under_the_running_database),
        cmocka_unit_test(a_locked_table_makes_the_publish_fail_and_names_the_blocker),
        cmocka_unit_test(a_reset_drops_the_data_and_keeps_the_name),
        cmocka_unit_test(schemas_that_are_not_ours_are_left_alone),
        cmocka_unit_test(the_removal_of_a_primary_key_numbers_the_rows),
    };
    return cmocka_run_group_tests(tests, cluster_up, cluster_down);
}
