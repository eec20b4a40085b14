/* The commit log: group commit, doubt, fences, loading; against a real PostgreSQL. */
#include "tests/unit/storage_test.h"

static void acknowledged_records_are_in_the_log_and_the_tables_follow(void **state)
{
    (void)state;
    World w;
    world_up(&w, "basic", false);
    put_account(&w, false, 1, -5, "a@b");
    put_account(&w, true, 1, 7, "c@d");
    put_account(&w, false, 2, 9, "x");
    assert_true(wait_durable(&w, 3, 5000));
    assert_string_equal(psql("SELECT spacetime.settle('basic')"), "3");
    assert_string_equal(psql("SELECT string_agg(id || ':' || balance || ':' || email, ',' ORDER BY id) FROM basic.account"),
                        "1:7:c@d,2:9:x");
    assert_string_equal(psql("SELECT durable || ' ' || materialised || ' ' || lag FROM spacetime.status WHERE database = 'basic'"),
                        "3 3 0");
    OK(storage_settle(w.s, w.id, 5000, &err_));
    assert_string_equal(psql("SELECT count(*) FROM (SELECT 1 FROM basic.st_log_0 UNION ALL SELECT 1 FROM basic.st_log_1 UNION ALL SELECT 1 "
                             "FROM basic.st_log_2) l"),
                        "0");
    StorageStatus st;
    OK(storage_status(w.s, w.id, &st));
    assert_int_equal(st.materialised, 3);
    world_down(&w);
}

static void load_returns_exactly_what_was_committed(void **state)
{
    (void)state;
    World w;
    world_up(&w, "loaded", false);
    for (uint32_t i = 0; i < 2000; i++)
        put_account(&w, false, i, (int64_t)i * 3 - 7, "some text");
    for (uint32_t i = 0; i < 2000; i += 2)
        del_account(&w, i);
    Rec r;
    rec_begin(&r);
    CommitClient c = {.connected = true, .identity = {1, 2, 3}, .connection_id = {9, 8}};
    commit_put_client(&r.b, &c);
    r.nclients = 1;
    CommitSequence q = {module_id(&w.module, "account"), 0, 4096};
    commit_put_sequence(&r.b, &q);
    r.nseq = 1;
    rec_table(&r, module_id(&w.module, "note"));
    buf_put_u64(&r.b, 77);
    buf_put_str(&r.b, STR("keyless"));
    r.ni = 1;
    rec_table_end(&r);
    rec_send(&w, &r);
    assert_true(wait_durable(&w, w.offset, 5000));
    storage_detach(w.s, w.id);
    TestSink k;
    LoadSink sink = sink_of(&k);
    uint64_t offset = 0;
    OK(storage_load(w.s, &w.lease, &sink, &offset, &err_));
    assert_int_equal(offset, w.offset);
    assert_int_equal(k.replayed, 0); /* detach lets the tables catch up */
    assert_int_equal(k.nrows[0], 1000);
    assert_int_equal(k.nrows[1], 1);
    assert_int_equal(load_u64(k.rows[1].ptr), 77);
    assert_int_equal(k.clients, 1);
    assert_memory_equal(k.client.identity, c.identity, 32);
    assert_memory_equal(k.client.connection_id, c.connection_id, 16);
    assert_true(k.seq.allocated == q.allocated);
    Reader in = reader_of(buf_bytes(&k.rows[0]));
    uint64_t sum = 0;
    while (reader_left(&in)) {
        uint32_t id = read_u32(&in);
        assert_int_equal(read_i64(&in), (int64_t)id * 3 - 7);
        assert_true(str_is(read_str(&in), "some text"));
        sum += id;
    }
    assert_int_equal(sum, 1000000);
    sink_done(&k);
    world_down(&w);
}

static void connections_killed_at_random_lose_and_repeat_nothing(void **state)
{
    (void)state;
    World w;
    world_up(&w, "killed", false);
    PGconn *pg = psql_open();
    unsigned seed = 7;
    for (uint32_t i = 0; i < 3000; i++) {
        put_account(&w, false, i, i, "k");
        if (i % 3 == 0)
            sleep_ms(1);
        if (rand_r(&seed) % 100 == 0)
            PQclear(PQexec(pg, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'spacetime-pg%'"));
    }
    PQfinish(pg);
    assert_true(wait_durable(&w, w.offset, 15000));
    OK(storage_settle(w.s, w.id, 15000, &err_));
    assert_string_equal(psql("SELECT count(*) || ' ' || sum(balance) FROM killed.account"), "3000 4498500");
    assert_int_equal(atomic_load(&w.failures), 0);
    world_down(&w);
}

static void another_host_fences_the_first(void **state)
{
    (void)state;
    World w;
    world_up(&w, "fenced", false);
    put_account(&w, false, 1, 1, "mine");
    assert_true(wait_durable(&w, 1, 5000));
    World other;
    memset(&other, 0, sizeof other);
    storage_up(&other);
    Lease lease;
    assert_int_equal(storage_acquire(other.s, w.id, &lease, &err_), S_BUSY);
    w.s->heartbeat_off = true;
    psql("UPDATE spacetime.hosts SET beat = beat - interval '1 hour' WHERE id = '%s'", w.s->host_id);
    OK(storage_acquire(other.s, w.id, &lease, &err_));
    assert_true(lease.epoch > w.lease.epoch);
    put_account(&w, false, 2, 2, "not mine any more");
    for (int i = 0; i < 5000 && !atomic_load(&w.failures); i++)
        sleep_ms(1);
    assert_int_equal(atomic_load(&w.failures), 1);
    assert_int_equal(w.failure.code, S_FENCED);
    assert_int_equal(atomic_load(&w.durable), 1);
    world_down(&w);
    storage_close(other.s);
}

static void a_record_that_breaks_the_protocol_stops_its_database(void **state)
{
    (void)state;
    World w;
    world_up(&w, "broken", false);
    put_account(&w, false, 1, 1, "x");
    w.offset++; /* a gap */
    put_account(&w, false, 2, 2, "x");
    for (int i = 0; i < 5000 && !atomic_load(&w.failures); i++)
        sleep_ms(1);
    assert_int_equal(atomic_load(&w.failures), 1);
    assert_non_null(strstr(w.failure.text, "2 is next"));
    world_down(&w);
    world_up(&w, "broken2", false);
    Rec r;
    rec_begin(&r);
    rec_table(&r, module_id(&w.module, "account"));
    buf_put_u32(&r.b, 1);
    buf_put_i64(&r.b, 1);
    buf_put_str(&r.b, (Str){"a\0b", 3});
    r.ni = 1;
    rec_table_end(&r);
    rec_send(&w, &r);
    for (int i = 0; i < 5000 && !atomic_load(&w.failures); i++)
        sleep_ms(1);
    assert_non_null(strstr(w.failure.text, "column email: text contains a NUL"));
    world_down(&w);
}

static void postgresql_may_restart_at_any_time(void **state)
{
    (void)state;
    World w;
    world_up(&w, "restart", false);
    for (uint32_t i = 0; i < 500; i++)
        put_account(&w, false, i, 1, "r");
    sleep_ms(3);
    embedded_stop(cluster);
    for (uint32_t i = 500; i < 1000; i++)
        put_account(&w, false, i, 1, "r");
    sleep_ms(300);
    assert_true(atomic_load(&w.durable) < 1000);
    assert_int_equal(embedded_start(&cluster, cluster_dir, NULL, &err_), S_OK);
    assert_true(wait_durable(&w, 1000, 10000));
    OK(storage_settle(w.s, w.id, 10000, &err_));
    assert_string_equal(psql("SELECT count(*) FROM restart.account"), "1000");
    assert_int_equal(atomic_load(&w.failures), 0);
    world_down(&w);
}

static void a_new_worker_takes_over_at_the_last_complete_record(void **state)
{
    (void)state;
    World w;
    world_up(&w, "takeover", false);
    for (uint32_t i = 0; i < 300; i++)
        put_account(&w, false, i, 1, "r");
    uint64_t offset;
    OK(storage_drain_source(w.s, w.id, &offset, &err_));
    assert_int_equal(offset, 300);
    source_done(&w.source);
    source_init(&w.source);
    OK(storage_replace_source(w.s, w.id, &w.source.source, &err_));
    put_account(&w, false, 300, 1, "r");
    assert_true(wait_durable(&w, 301, 5000));
    world_down(&w);
}

static void catalog_names_and_settings(void **state)
{
    (void)state;
    World w;
    world_up(&w, "named", false);
    uint8_t me[32] = {0}, you[32] = {1};
    OK(storage_name_add(w.s, w.id, STR("second"), me, &err_));
    assert_int_equal(storage_name_add(w.s, w.id + 1000, STR("third"), me, &err_), S_NOT_FOUND);
    Arena a = {0};
    uint32_t n;
    DatabaseInfo *d;
    Str name = STR("second");
    OK(storage_databases(w.s, &a, &name, NULL, NULL, &n, &d, &err_));
    assert_int_equal(n, 1);
    assert_int_equal(d->nnames, 2);
    assert_true(str_is(d->names[0], "named") && str_is(d->names[1], "second"));
    assert_memory_equal(d->identity, w.identity, 32);
    assert_int_equal(d->schema_version, 1);
    Str only = STR("renamed");
    OK(storage_names_replace(w.s, w.id, 1, &only, you, &err_));
    OK(storage_databases(w.s, &a, &name, NULL, NULL, &n, &d, &err_));
    assert_int_equal(n, 0);
    Bytes v;
    assert_int_equal(storage_setting_get(w.s, &a, STR("key"), &v, &err_), S_NOT_FOUND);
    OK(storage_setting_put(w.s, STR("key"), str_bytes(STR("secret")), &err_));
    assert_int_equal(storage_setting_put(w.s, STR("key"), str_bytes(STR("other")), &err_), S_CONFLICT);
    OK(storage_setting_get(w.s, &a, STR("key"), &v, &err_));
    assert_int_equal(v.len, 6);
    assert_int_equal(storage_delete(w.s, w.id, &err_), S_BUSY);
    storage_detach(w.s, w.id);
    storage_release(w.s, &w.lease);
    OK(storage_delete(w.s, w.id, &err_));
    assert_string_equal(psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'named'"), "0");
    arena_done(&a);
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_records_are_in_the_log_and_the_tables_follow),
        cmocka_unit_test(load_returns_exactly_what_was_committed),
        cmocka_unit_test(a_record_that_breaks_the_protocol_stops_its_database),
        cmocka_unit_test(another_host_fences_the_first),
        cmocka_unit_test(a_new_worker_takes_over_at_the_last_complete_record),
        cmocka_unit_test(catalog_names_and_settings),
        cmocka_unit_test(connections_killed_at_random_lose_and_repeat_nothing),
        cmocka_unit_test(postgresql_may_restart_at_any_time),
    };
    return cmocka_run_group_tests(tests, cluster_up, cluster_down);
}
