/* The materialiser: folding, unique columns, blocked tables, rotation, settle, the guard. */
#include "tests/unit/storage_test.h"

static void the_fold_ends_at_the_final_state(void **state)
{
    (void)state;
    World w;
    world_up(&w, "fold", true);
    enum { KEYS = 300 };
    int64_t balance[KEYS];
    bool present[KEYS] = {false};
    int email[KEYS];
    for (int i = 0; i < KEYS; i++)
        email[i] = i;
    unsigned seed = 3;
    char text[32];
    for (int i = 0; i < 20000; i++) {
        int k = rand_r(&seed) % KEYS;
        if (present[k] && rand_r(&seed) % 4 == 0) {
            del_account(&w, (uint32_t)k);
            present[k] = false;
        } else if (present[k] && rand_r(&seed) % 3 == 0) { /* swap unique values with another row, in one transaction */
            int o = rand_r(&seed) % KEYS;
            if (o == k || !present[o])
                continue;
            Rec r;
            rec_begin(&r);
            rec_table(&r, module_id(&w.module, "account"));
            rec_del_u32(&r, (uint32_t)k);
            rec_del_u32(&r, (uint32_t)o);
            int e = email[k];
            email[k] = email[o];
            email[o] = e;
            snprintf(text, sizeof text, "e%d", email[k]);
            rec_account(&r, (uint32_t)k, balance[k], text);
            snprintf(text, sizeof text, "e%d", email[o]);
            rec_account(&r, (uint32_t)o, balance[o], text);
            rec_table_end(&r);
            rec_send(&w, &r);
        } else {
            balance[k] = i;
            snprintf(text, sizeof text, "e%d", email[k]);
            put_account(&w, present[k], (uint32_t)k, i, text);
            present[k] = true;
        }
        if (i % 100 == 0)
            sleep_ms(1);
    }
    assert_true(wait_durable(&w, w.offset, 10000));
    OK(storage_settle(w.s, w.id, 10000, &err_));
    PGconn *pg = psql_open();
    PGresult *r = PQexec(pg, "SELECT id, balance, email FROM fold.account ORDER BY id");
    int row = 0;
    for (int k = 0; k < KEYS; k++) {
        if (!present[k])
            continue;
        snprintf(text, sizeof text, "e%d", email[k]);
        assert_int_equal(atoi(PQgetvalue(r, row, 0)), k);
        assert_int_equal(atoll(PQgetvalue(r, row, 1)), balance[k]);
        assert_string_equal(PQgetvalue(r, row, 2), text);
        row++;
    }
    assert_int_equal(row, PQntuples(r));
    PQclear(r);
    PQfinish(pg);
    world_down(&w);
}

static void a_locked_table_holds_only_the_tables_and_is_named(void **state)
{
    (void)state;
    World w;
    world_up(&w, "blocked", false);
    PGconn *pg = psql_open();
    PQclear(PQexec(pg, "SET application_name = 'operator'; BEGIN; LOCK TABLE blocked.account"));
    for (uint32_t i = 0; i < 50; i++)
        put_account(&w, false, i, 1, "x");
    assert_true(wait_durable(&w, 50, 3000));
    assert_int_equal(storage_settle(w.s, w.id, 1500, &err_), S_UNAVAILABLE);
    assert_non_null(strstr(err_.text, "operator"));
    sleep_ms(500);
    assert_non_null(strstr(psql("SELECT blocked_by FROM spacetime.status WHERE database = 'blocked'"), "operator"));
    assert_non_null(strstr(psql("SELECT spacetime.settle('blocked', '300 ms')"), "operator"));
    PQclear(PQexec(pg, "COMMIT"));
    PQfinish(pg);
    assert_string_equal(psql("SELECT spacetime.settle('blocked')"), "50");
    assert_string_equal(psql("SELECT count(*) FROM blocked.account"), "50");
    for (int i = 0; i < 200 && *psql("SELECT blocked_by FROM spacetime.status WHERE database = 'blocked'"); i++)
        sleep_ms(10);
    assert_string_equal(psql("SELECT coalesce(blocked_by, 'nobody') FROM spacetime.status WHERE database = 'blocked'"), "nobody");
    world_down(&w);
}

static void an_operators_constraint_is_named_and_cured(void **state)
{
    (void)state;
    World w;
    world_up(&w, "constrained", false);
    psql("ALTER TABLE constrained.account ADD CONSTRAINT no_debts CHECK (balance >= 0)");
    put_account(&w, false, 1, -1, "x");
    assert_true(wait_durable(&w, 1, 3000));
    assert_int_equal(storage_settle(w.s, w.id, 500, &err_), S_UNAVAILABLE);
    assert_non_null(strstr(err_.text, "no_debts"));
    assert_non_null(strstr(err_.text, "23514"));
    psql("ALTER TABLE constrained.account DROP CONSTRAINT no_debts");
    assert_string_equal(psql("SELECT spacetime.settle('constrained')"), "1");
    world_down(&w);
}

static void log_segments_rotate(void **state)
{
    (void)state;
    storage_segment_bytes_max = 20000;
    World w;
    world_up(&w, "rotate", false);
    bool moved = false;
    for (uint32_t i = 0; i < 4000; i++) {
        put_account(&w, false, i, 1, "rotation rotation rotation");
        if (i % 4 == 0)
            sleep_ms(1);
        pthread_mutex_lock(&w.s->mu);
        moved |= w.s->dbs->active != 0;
        pthread_mutex_unlock(&w.s->mu);
    }
    assert_true(moved);
    assert_true(wait_durable(&w, w.offset, 5000));
    sleep_ms(3500);
    assert_string_equal(psql("SELECT count(*) > 0 FROM (SELECT 1 FROM (SELECT count(*) n FROM rotate.st_log_0 UNION ALL SELECT count(*) "
                             "FROM rotate.st_log_1 UNION ALL SELECT count(*) FROM rotate.st_log_2) x WHERE n = 0) y"),
                        "t");
    storage_detach(w.s, w.id);
    TestSink k;
    LoadSink sink = sink_of(&k);
    uint64_t offset;
    OK(storage_load(w.s, &w.lease, &sink, &offset, &err_));
    assert_int_equal(offset, 4000);
    assert_int_equal(k.nrows[0] + k.replayed, 4000);
    sink_done(&k);
    storage_segment_bytes_max = 64 << 20;
    world_down(&w);
}

static void other_sessions_cannot_write_our_tables(void **state)
{
    (void)state;
    World w;
    world_up(&w, "guarded", false);
    assert_non_null(strstr(psql("INSERT INTO guarded.account VALUES (1, 1, 'x')"), "refused"));
    assert_non_null(strstr(psql("TRUNCATE guarded.note"), "refused"));
    assert_non_null(strstr(psql("DELETE FROM guarded.st_log_0"), "refused"));
    assert_non_null(strstr(psql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT spacetime.settle('guarded')"), "repeatable read"));
    assert_non_null(strstr(psql("SELECT spacetime.settle('nobody')"), "no database is called"));
    world_down(&w);
}

static void log_rows_behind_the_tables_are_replayed_and_picked_up(void **state)
{
    (void)state;
    World w;
    world_up(&w, "replay", false);
    PGconn *pg = psql_open();
    PQclear(PQexec(pg, "BEGIN; LOCK TABLE replay.account"));
    for (uint32_t i = 0; i < 500; i++)
        put_account(&w, false, i, 1, "x");
    assert_true(wait_durable(&w, 500, 3000));
    storage_detach(w.s, w.id);
    PQclear(PQexec(pg, "COMMIT"));
    PQfinish(pg);
    TestSink k;
    LoadSink sink = sink_of(&k);
    uint64_t offset;
    OK(storage_load(w.s, &w.lease, &sink, &offset, &err_));
    assert_int_equal(offset, 500);
    assert_int_equal(k.replayed, 500);
    sink_done(&k);
    source_done(&w.source);
    attach(&w);
    OK(storage_settle(w.s, w.id, 5000, &err_));
    assert_string_equal(psql("SELECT count(*) FROM replay.account"), "500");
    storage_detach(w.s, w.id);
    psql("SET spacetime.writer = 'host'; INSERT INTO replay.st_log_1 VALUES (502, 502, 1, 0, '')");
    LoadSink again = sink_of(&k);
    assert_int_equal(storage_load(w.s, &w.lease, &again, &offset, &err_), S_INTERNAL);
    assert_non_null(strstr(err_.text, "gap"));
    sink_done(&k);
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fold_ends_at_the_final_state),
        cmocka_unit_test(a_locked_table_holds_only_the_tables_and_is_named),
        cmocka_unit_test(an_operators_constraint_is_named_and_cured),
        cmocka_unit_test(other_sessions_cannot_write_our_tables),
        cmocka_unit_test(log_rows_behind_the_tables_are_replayed_and_picked_up),
        cmocka_unit_test(log_segments_rotate),
    };
    return cmocka_run_group_tests(tests, cluster_up, cluster_down);
}
