/* query_subs_test.c - subscriptions: the one-table cases of spec sql-and-subscriptions.md section 8, update shapes,
 * publishes. A client's message is written as "SET:TABLE+row-row"; "none" is no message. */
#include "tests/unit/query_kit.h"

#include "host/query/subs_int.h"

typedef struct World {
    Engine *e;
    Subs *subs;
} World;

static ModuleBuilder *schema(int version)
{
    ModuleBuilder *b = module_builder_new();
    uint8_t zero[4] = {0};
    if (version < 2) {
        KIT_TABLE(b, "u", ACCESS_PUBLIC, false, {"id", T(U64), COLUMN_PK}, {"g", T(U32), COLUMN_INDEX}, {"n", T(I32), 0});
    } else {
        BuilderColumn cols[] = {{.name = STR("id"), .type = T(U64), .flags = COLUMN_PK},
                                {.name = STR("g"), .type = T(U32), .flags = COLUMN_INDEX},
                                {.name = STR("n"), .type = T(I32)},
                                {.name = STR("extra"), .type = T(U32), .has_default = true, .default_bsatn = {zero, 4}}};
        module_builder_table(b, STR("u"), version == 3 ? ACCESS_PRIVATE : ACCESS_PUBLIC, false, 4, cols);
    }
    KIT_TABLE(b, "m", ACCESS_PUBLIC, false, {"a", T(U32), COLUMN_INDEX}, {"b", T(U32), COLUMN_INDEX});
    KIT_TABLE(b, "acct", ACCESS_PUBLIC, false, {"who", T(IDENTITY), COLUMN_PK}, {"lvl", T(U32), 0});
    KIT_TABLE(b, "ev", ACCESS_PUBLIC, true, {"k", T(U32), COLUMN_INDEX}, {"txt", T(STRING), 0});
    if (version < 4)
        KIT_TABLE(b, "secret", ACCESS_PRIVATE, false, {"id", T(U64), COLUMN_PK});
    KIT_TABLE(b, "aa", ACCESS_PUBLIC, false, {"id", T(U32), COLUMN_PK}, {"s", T(STRING), 0});
    return b;
}

static int setup(void **state)
{
    World *w = NEW(World);
    w->e = kit_engine(schema(1));
    w->subs = subs_new(w->e);
    *state = w;
    return 0;
}
static int teardown(void **state)
{
    World *w = *state;
    subs_free(w->subs);
    engine_free(w->e);
    free(w);
    return 0;
}

static ClientRef client(World *w, uint32_t slot)
{
    Caller c = {.identity = {(uint8_t)slot}, .is_owner = slot == 0};
    ClientRef ref = {slot, slot + 100};
    subs_client_add(w->subs, ref, &c, 0, NULL);
    return ref;
}

static void write_set(void *arg, uint32_t id) { buf_printf(arg, "%s%u:", ((Buf *)arg)->len ? " " : "", id); }
static void write_row(void *arg, Str table, const char *row, int sign)
{
    buf_printf(arg, "%.*s%c%s", STR_FMT(table), sign > 0 ? '+' : '-', row);
}

static Status subscribe_as(World *w, ClientRef c, uint32_t set, Buf *snapshot, Error *err, uint32_t n, const char *const *queries)
{
    Str list[16];
    for (uint32_t i = 0; i < n; i++)
        list[i] = str_of(queries[i]);
    return subs_subscribe(w->subs, c, set, n, list, snapshot, err);
}
#define SUBSCRIBE(w, c, set, snapshot, ...)                                                                                                \
    MUST(subscribe_as(w, c, set, snapshot, err, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *const[]){__VA_ARGS__}))

/* Run statements in one transaction; the update is borrowed until the next call. */
static const Update *transact(World *w, const char *const *sql)
{
    txn_begin(w->e);
    for (; *sql; sql++) {
        SqlResult r;
        MUST(sql_execute(&r, w->e, str_of(*sql), &kit_owner, err));
        sql_result_done(&r);
    }
    uint32_t n;
    const TableChange *changes = txn_changes(w->e, &n);
    const Update *u = subs_evaluate(w->subs, n, changes, 0, NULL);
    txn_commit(w->e);
    return u;
}
#define TRANSACT(w, ...) transact((w), (const char *const[]){__VA_ARGS__, NULL})

static void expect_cols(World *w, const Update *u, ClientRef c, uint16_t ncols, const char *expect)
{
    Buf bytes = {0}, text = {0};
    uint32_t nsets;
    if (kit_message(u, c, &bytes, &nsets))
        kit_each_update_row(w->e, buf_bytes(&bytes), nsets, ncols, write_set, write_row, &text);
    else
        buf_put_text(&text, "none");
    assert_string_equal(buf_cstr(&text), expect);
    buf_done(&bytes);
    buf_done(&text);
}
static void expect(World *w, const Update *u, ClientRef c, const char *text) { expect_cols(w, u, c, 0, text); }

static void expect_snapshot(World *w, Buf *snapshot, const char *expect)
{
    Buf text = {0};
    kit_each_snapshot_row(w->e, buf_bytes(snapshot), 0, write_row, &text);
    assert_string_equal(text.len ? buf_cstr(&text) : "", expect);
    buf_done(&text);
    buf_reset(snapshot);
}

static const char two_rows[] = "INSERT INTO u (id, g, n) VALUES (1,1,0),(2,1,5)";

static void a_client_hears_inserts_deletes_and_updates(void **state)
{
    World *w = *state;
    ClientRef c = client(w, 1);
    Buf snapshot = {0};
    TRANSACT(w, two_rows);
    SUBSCRIBE(w, c, 1, &snapshot, "SELECT * FROM u");
    expect_snapshot(w, &snapshot, "u+(1,1,0)u+(2,1,5)");
    expect(w, TRANSACT(w, "INSERT INTO u (id, g, n) VALUES (3,1,1)"), c, "1:u+(3,1,1)");
    expect(w, TRANSACT(w, "DELETE FROM u WHERE id = 3"), c, "1:u-(3,1,1)");
    expect(w, TRANSACT(w, "UPDATE u SET n = 9 WHERE id = 2"), c, "1:u+(2,1,9)u-(2,1,5)");
    expect(w, TRANSACT(w, "INSERT INTO u (id, g, n) VALUES (4,1,1)", "DELETE FROM u WHERE id = 4"), c, "none");
    expect(w, TRANSACT(w, "DELETE FROM u WHERE id = 2", "INSERT INTO u (id, g, n) VALUES (2,1,9)"), c, "none");
    expect(w, TRANSACT(w, "UPDATE u SET n = 9 WHERE id = 2"), c, "none");
    MUST(subs_unsubscribe(w->subs, c, 1, &snapshot, err));
    expect_snapshot(w, &snapshot, "u+(1,1,0)u+(2,1,9)");
    expect(w, TRANSACT(w, "DELETE FROM u"), c, "none");
    assert_int_equal(subs_query_count(w->subs), 0);
    buf_done(&snapshot);
}

static void filters_follow_rows_in_and_out(void **state)
{
    World *w = *state;
    ClientRef c = client(w, 1), d = client(w, 2), e = client(w, 3);
    SUBSCRIBE(w, c, 1, NULL, "SELECT * FROM u WHERE n > 0");
    SUBSCRIBE(w, d, 1, NULL, "SELECT * FROM u WHERE n = 1 OR g = 2");
    SUBSCRIBE(w, e, 1, NULL, "SELECT * FROM m");
    expect(w, TRANSACT(w, "INSERT INTO u (id, g, n) VALUES (1,1,0)"), c, "none");
    expect(w, TRANSACT(w, "UPDATE u SET n = 3"), c, "1:u+(1,1,3)");
    expect(w, TRANSACT(w, "UPDATE u SET n = 7"), c, "1:u+(1,1,7)u-(1,1,3)");
    expect(w, TRANSACT(w, "UPDATE u SET n = -1"), c, "1:u-(1,1,7)");
    expect(w, TRANSACT(w, "INSERT INTO u (id, g, n) VALUES (5,2,1)"), d, "1:u+(5,2,1)");
    expect(w, TRANSACT(w, "INSERT INTO m (a, b) VALUES (1,1)"), e, "1:m+(1,1)");
    expect(w, TRANSACT(w, "INSERT INTO m (a, b) VALUES (1,1)"), e, "none");
}

static void overlapping_queries_and_sets_each_get_their_copy(void **state)
{
    World *w = *state;
    ClientRef c = client(w, 1), d = client(w, 2), e = client(w, 3), f = client(w, 4);
    SUBSCRIBE(w, c, 1, NULL, "SELECT * FROM u", "SELECT * FROM u WHERE id = 5");
    SUBSCRIBE(w, d, 9, NULL, "SELECT * FROM u");
    SUBSCRIBE(w, d, 3, NULL, "SELECT * FROM u");
    SUBSCRIBE(w, e, 1, NULL, "SELECT * FROM u", " SELECT * FROM u ", "select  u.* from u where true");
    SUBSCRIBE(w, f, 1, NULL, "SELECT * FROM u WHERE n = 1", "SELECT * FROM u WHERE n = 2");
    const Update *u = TRANSACT(w, "INSERT INTO u (id, g, n) VALUES (5,1,1)");
    expect(w, u, c, "1:u+(5,1,1)u+(5,1,1)");
    expect(w, u, d, "3:u+(5,1,1) 9:u+(5,1,1)");
    expect(w, u, e, "1:u+(5,1,1)");
    expect(w, TRANSACT(w, "UPDATE u SET n = 2"), f, "1:u-(5,1,1)u+(5,1,2)");
    assert_int_equal(subs_query_count(w->subs), 4);
}

static void tables_come_by_name_and_sets_by_id(void **state)
{
    World *w = *state;
    ClientRef c = client(w, 5), d = client(w, 6), e = client(w, 7);
    const char *const both[] = {"SELECT * FROM u", "SELECT * FROM aa", "SELECT * FROM u WHERE n > 0"};
    MUST(subscribe_as(w, c, 7, NULL, err, 3, both));
    MUST(subscribe_as(w, d, 70, NULL, err, 3, both));
    SUBSCRIBE(w, d, 20, NULL, "SELECT * FROM aa");
    MUST(subscribe_as(w, e, 5, NULL, err, 3, both));
    const Update *u = TRANSACT(w, "INSERT INTO u (id, g, n) VALUES (1,1,1)", "INSERT INTO aa (id, s) VALUES (1,'x'),(2,'yy')");
    const char *const c_expects = "7:aa+(1,'x')aa+(2,'yy')u+(1,1,1)u+(1,1,1)";
    expect(w, u, c, c_expects);
    expect(w, u, e, "5:aa+(1,'x')aa+(2,'yy')u+(1,1,1)u+(1,1,1)");
    expect(w, u, d, "20:aa+(1,'x')aa+(2,'yy') 70:aa+(1,'x')aa+(2,'yy')u+(1,1,1)u+(1,1,1)");
    assert_int_equal(u->ngroups, 2); /* c and e share theirs */
    u = TRANSACT(w, "DELETE FROM aa WHERE id = 2");
    expect(w, u, c, "7:aa-(2,'yy')");
    expect(w, u, d, "20:aa-(2,'yy') 70:aa-(2,'yy')");
}

static void a_bad_query_refuses_the_whole_set(void **state)
{
    World *w = *state;
    ClientRef c = client(w, 1);
    static const struct {
        const char *sql, *needle;
    } cases[] = {
        {"SELECT * FROM nope", "no such table: `nope`. If the table exists, it may be marked private., executing: `SELECT * FROM nope`"},
        {"SELECT * FROM secret", "no such table: `secret`"},
        {"SELECT * FROM secret WHERE false", "no such table: `secret`"},
        {"SELECT u.id FROM u", "whole rows"},
        {"SELECT COUNT(*) AS n FROM u", "whole rows"},
        {"SELECT * FROM u LIMIT 1", "unsupported"},
        {"INSERT INTO u (id, g, n) VALUES (1,1,1)", "unsupported"},
        {"", "SubscriptionError: Empty string"},
        {"SELECT * FROM u WHERE x = 1", "`u` does not have a field `x`"},
        {"SELECT * FROM u JOIN aa ON u.id = aa.id", "SELECT * is not supported"},
        {"SELECT u.* FROM u JOIN aa ON u.g = aa.id", "joins come with a later edition"},
        {"SELECT u.* FROM u JOIN secret ON u.g = secret.id", "no such table: `secret`"},
        {"SELECT * FROM * ;", "syntax error"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Error err = {0};
        Buf snapshot = {0};
        const char *const list[] = {"SELECT * FROM u", cases[i].sql, "SELECT * FROM aa"};
        assert_int_equal(subscribe_as(w, c, 1, &snapshot, &err, 3, list), S_INVALID);
        if (!strstr(err.text, cases[i].needle) || !strstr(err.text, cases[i].sql))
            fail_msg("%s: %s", cases[i].sql, err.text);
        assert_int_equal(subs_query_count(w->subs), 0);
        assert_int_equal(snapshot.len, 0);
    }
    expect(w, TRANSACT(w, two_rows), c, "none");
    SUBSCRIBE(w, c, 1, NULL, "SELECT * FROM u");
    Error err;
    const char *const again[] = {"SELECT * FROM aa"};
    assert_int_equal(subscribe_as(w, c, 1, NULL, &err, 1, again), S_CONFLICT);
    assert_non_null(strstr(err.text, "Subscription with id 1 already exists for client"));
    assert_int_equal(subs_unsubscribe(w->subs, c, 2, NULL, &err), S_NOT_FOUND);
    assert_non_null(strstr(err.text, "Subscription not found"));
    assert_int_equal(subscribe_as(w, (ClientRef){1, 5}, 3, NULL, &err, 1, again), S_NOT_FOUND);
    assert_int_equal(subs_query_count(w->subs), 1);
}

static void sender_means_the_one_who_asks(void **state)
{
    World *w = *state;
    ClientRef a = client(w, 1), b = client(w, 2);
    SUBSCRIBE(w, a, 1, NULL, "SELECT * FROM acct WHERE who = :sender");
    SUBSCRIBE(w, b, 1, NULL, "SELECT * FROM acct WHERE who = :sender");
    const Update *u =
        TRANSACT(w, "INSERT INTO acct (who, lvl) VALUES (0x0000000000000000000000000000000000000000000000000000000000000001, 7),"
                    "(0x0000000000000000000000000000000000000000000000000000000000000002, 8)");
    expect(w, u, a, "1:acct+(x01,7)");
    expect(w, u, b, "1:acct+(x02,8)");
    assert_int_equal(subs_query_count(w->subs), 2);
}

static void events_are_told_once_and_kept_nowhere(void **state)
{
    World *w = *state;
    ClientRef a = client(w, 1), b = client(w, 2);
    Buf snapshot = {0};
    SUBSCRIBE(w, a, 1, &snapshot, "SELECT * FROM ev");
    expect_snapshot(w, &snapshot, "");
    SUBSCRIBE(w, b, 1, NULL, "SELECT * FROM ev WHERE k = 1");
    const Update *u = TRANSACT(w, "INSERT INTO ev (k, txt) VALUES (1,'a'),(2,'bb')");
    expect(w, u, a, "1:ev+(1,'a')ev+(2,'bb')");
    expect(w, u, b, "1:ev+(1,'a')");
    expect(w, TRANSACT(w, two_rows), a, "none");
    buf_done(&snapshot);
}

static void the_star_over_all_tables_means_what_the_caller_may_read(void **state)
{
    World *w = *state;
    ClientRef a = client(w, 1), owner = client(w, 0);
    Buf snapshot = {0};
    TRANSACT(w, two_rows);
    SUBSCRIBE(w, a, 1, &snapshot, "  select\n* FROM\t*");
    expect_snapshot(w, &snapshot, "u+(1,1,0)u+(2,1,5)"); /* empty tables are left out */
    SUBSCRIBE(w, owner, 1, NULL, "SELECT * FROM *");
    const Update *u = TRANSACT(w, "INSERT INTO u (id, g, n) VALUES (3,1,1)", "INSERT INTO ev (k, txt) VALUES (1,'a')",
                               "INSERT INTO secret (id) VALUES (1)");
    expect(w, u, a, "1:u+(3,1,1)");
    expect(w, u, owner, "1:secret+(1)u+(3,1,1)");
    buf_done(&snapshot);
}

static void a_client_that_left_hears_nothing_and_its_slot_is_free(void **state)
{
    World *w = *state;
    ClientRef a = client(w, 1), b = client(w, 2);
    SUBSCRIBE(w, a, 1, NULL, "SELECT * FROM u", "SELECT * FROM u WHERE id = 1");
    SUBSCRIBE(w, b, 1, NULL, "SELECT * FROM u");
    subs_client_remove(w->subs, a);
    subs_client_remove(w->subs, a);
    subs_client_remove(w->subs, (ClientRef){77777, 1});
    assert_int_equal(subs_query_count(w->subs), 1);
    const Update *u = TRANSACT(w, two_rows);
    expect(w, u, a, "none");
    expect(w, u, b, "1:u+(1,1,0)u+(2,1,5)");
    Caller caller = {0};
    ClientRef reused = {1, 999};
    subs_client_add(w->subs, reused, &caller, 0, NULL);
    subs_client_remove(w->subs, a); /* late: another generation */
    SUBSCRIBE(w, reused, 1, NULL, "SELECT * FROM u");
    expect(w, TRANSACT(w, "DELETE FROM u WHERE id = 1"), reused, "1:u-(1,1,0)");
}

static void many_clients_of_one_query_share_its_bytes(void **state)
{
    World *w = *state;
    for (uint32_t i = 1000; i > 0; i--)
        SUBSCRIBE(w, client(w, i), i * 2, NULL, "SELECT * FROM u");
    const Update *u = TRANSACT(w, two_rows);
    assert_int_equal(u->ngroups, 1);
    assert_int_equal(u->groups[0].nrecipients, 1000);
    assert_int_equal(u->groups[0].npieces, 2);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(u->groups[0].recipients[i].slot, i + 1);
        assert_int_equal(u->groups[0].set_ids[i], (i + 1) * 2);
    }
    expect(w, u, (ClientRef){500, 600}, "1000:u+(1,1,0)u+(2,1,5)");
}

static void publish(World *w, int version, uint32_t *ret_n, const UpdateFailure **ret_failures)
{
    SchemaImage image = kit_image(schema(version), (uint32_t)version);
    EngineNext *next;
    MUST(engine_prepare(&next, w->e, &image, err));
    engine_swap(w->e, next);
    kit_image_done(&image);
    subs_schema_changed(w->subs, ret_n, ret_failures);
}

static void a_publish_that_appends_a_column_keeps_old_clients_in_their_shape(void **state)
{
    World *w = *state;
    ClientRef old = client(w, 1);
    SUBSCRIBE(w, old, 1, NULL, "SELECT * FROM u", "SELECT * FROM u WHERE id = 1");
    TRANSACT(w, two_rows);
    uint32_t n;
    const UpdateFailure *failures;
    publish(w, 2, &n, &failures);
    assert_int_equal(n, 0);
    ClientRef young = client(w, 2);
    Buf snapshot = {0};
    SUBSCRIBE(w, young, 1, &snapshot, "SELECT * FROM u");
    expect_snapshot(w, &snapshot, "u+(1,1,0,0)u+(2,1,5,0)");
    SUBSCRIBE(w, old, 2, NULL, "SELECT * FROM u WHERE extra = 7");
    const Update *u = TRANSACT(w, "UPDATE u SET extra = 7 WHERE id = 1");
    expect(w, u, young, "1:u+(1,1,0,7)u-(1,1,0,0)");
    expect_cols(w, u, old, 3, "2:u+(1,1,0)"); /* sets 1: nothing that it could see changed */
    u = TRANSACT(w, "UPDATE u SET n = 4 WHERE id = 1");
    expect_cols(w, u, old, 3, "1:u+(1,1,4)u-(1,1,0)u+(1,1,4)u-(1,1,0) 2:u+(1,1,4)u-(1,1,0)");
    expect(w, u, young, "1:u+(1,1,4,7)u-(1,1,0,7)");
    TableShape shape = {kit_id(STR("u")), 3}; /* as registered again by the host after a crash */
    Caller caller = {0};
    ClientRef back = {9, 9};
    subs_client_add(w->subs, back, &caller, 1, &shape);
    SUBSCRIBE(w, back, 1, NULL, "SELECT * FROM u");
    expect_cols(w, TRANSACT(w, "UPDATE u SET n = 5 WHERE id = 2"), back, 0, "none");
    expect_cols(w, TRANSACT(w, "UPDATE u SET n = 6 WHERE id = 2"), back, 3, "1:u+(2,1,6)u-(2,1,5)");
    buf_done(&snapshot);
}

static void a_publish_ends_the_sets_that_it_makes_unreadable(void **state)
{
    World *w = *state;
    ClientRef a = client(w, 1), owner = client(w, 0);
    SUBSCRIBE(w, a, 1, NULL, "SELECT * FROM u", "SELECT * FROM aa");
    SUBSCRIBE(w, a, 2, NULL, "SELECT * FROM aa");
    SUBSCRIBE(w, owner, 3, NULL, "SELECT * FROM u");
    SUBSCRIBE(w, owner, 4, NULL, "SELECT * FROM secret");
    uint32_t n;
    const UpdateFailure *failures;
    publish(w, 3, &n, &failures);
    assert_int_equal(n, 1);
    assert_int_equal(failures[0].client.slot, 1);
    assert_int_equal(failures[0].query_set_id, 1);
    Buf text = {0};
    buf_put_str_raw(&text, failures[0].text);
    assert_non_null(strstr(buf_cstr(&text), "no such table: `u`"));
    assert_non_null(strstr(buf_cstr(&text), "executing: `SELECT * FROM u`"));
    buf_done(&text);
    const Update *u = TRANSACT(w, "INSERT INTO u (id, g, n, extra) VALUES (1,1,1,1)", "INSERT INTO aa (id, s) VALUES (1,'x')");
    expect(w, u, a, "2:aa+(1,'x')");
    expect_cols(w, u, owner, 3, "3:u+(1,1,1)");
    publish(w, 4, &n, &failures); /* drops secret, u is public again */
    assert_int_equal(n, 1);
    assert_int_equal(failures[0].query_set_id, 4);
    assert_int_equal(subs_query_count(w->subs), 2);
}

static void a_query_that_cannot_be_evaluated_ends_its_sets_only(void **state)
{
    World *w = *state;
    ClientRef a = client(w, 1), b = client(w, 2);
    SUBSCRIBE(w, a, 1, NULL, "SELECT * FROM aa", "SELECT * FROM u");
    SUBSCRIBE(w, a, 2, NULL, "SELECT * FROM u");
    SUBSCRIBE(w, b, 5, NULL, "SELECT * FROM aa");
    SUBSCRIBE(w, b, 6, NULL, "SELECT * FROM aa WHERE id = 1");
    w->subs->bytes_max = 140;
    const Update *u = TRANSACT(w, "INSERT INTO u (id, g, n) VALUES (1,1,1)",
                               "INSERT INTO aa (id, s) VALUES (1,'x'),(2,'a text that is a good deal longer than what the limit of this "
                               "test allows for in one update')");
    assert_int_equal(u->nfailures, 2);
    for (uint32_t i = 0; i < 2; i++) {
        Buf text = {0};
        buf_put_str_raw(&text, u->failures[i].text);
        assert_int_equal(u->failures[i].query_set_id, u->failures[i].client.slot == 1 ? 1 : 5);
        assert_non_null(strstr(buf_cstr(&text), "Internal error evaluating queries"));
        assert_non_null(strstr(buf_cstr(&text), "executing: `SELECT * FROM aa`"));
        buf_done(&text);
    }
    expect(w, u, a, "2:u+(1,1,1)");
    expect(w, u, b, "6:aa+(1,'x')");
    w->subs->bytes_max = 1 << 20;
    u = TRANSACT(w, "DELETE FROM aa WHERE id = 1");
    expect(w, u, a, "none");
    expect(w, u, b, "6:aa-(1,'x')");
    assert_int_equal(subs_query_count(w->subs), 2);
}

int main(void)
{
#define SUBS_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        SUBS_TEST(a_client_hears_inserts_deletes_and_updates),
        SUBS_TEST(filters_follow_rows_in_and_out),
        SUBS_TEST(overlapping_queries_and_sets_each_get_their_copy),
        SUBS_TEST(tables_come_by_name_and_sets_by_id),
        SUBS_TEST(a_bad_query_refuses_the_whole_set),
        SUBS_TEST(sender_means_the_one_who_asks),
        SUBS_TEST(events_are_told_once_and_kept_nowhere),
        SUBS_TEST(the_star_over_all_tables_means_what_the_caller_may_read),
        SUBS_TEST(a_client_that_left_hears_nothing_and_its_slot_is_free),
        SUBS_TEST(many_clients_of_one_query_share_its_bytes),
        SUBS_TEST(a_publish_that_appends_a_column_keeps_old_clients_in_their_shape),
        SUBS_TEST(a_publish_ends_the_sets_that_it_makes_unreadable),
        SUBS_TEST(a_query_that_cannot_be_evaluated_ends_its_sets_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
