/* storage_bench - figures of host/storage against an embedded PostgreSQL: one-batch latency, batches and records a second,
 * rows materialised a second, load against COPY. Prints one line each. Not a test. */
#include "tests/unit/storage_test.h"

static double now_s(void) { return (double)clock_monotonic_ns() / 1e9; }
static int by_double(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void put_row(World *w, uint32_t id, int64_t v, bool existed, uint32_t n)
{
    Rec r;
    rec_begin(&r);
    rec_table(&r, w->module.ids[0]);
    for (uint32_t i = 0; existed && i < n; i++)
        rec_del_u32(&r, id + i);
    for (uint32_t i = 0; i < n; i++) {
        buf_put_u32(&r.b, id + i);
        buf_put_i64(&r.b, v);
        r.ni++;
    }
    rec_table_end(&r);
    rec_send(w, &r);
}

int main(void)
{
    if (cluster_up(NULL) != 0)
        return 1;
    World w;
    memset(&w, 0, sizeof w);
    storage_up(&w);
    ModuleBuilder *b = module_builder_new();
    BuilderColumn c[] = {{.name = STR("id"), .type = type_scalar(TYPE_U32), .flags = COLUMN_PK},
                         {.name = STR("v"), .type = type_scalar(TYPE_I64)}};
    module_builder_table(b, STR("t"), ACCESS_PUBLIC, false, 2, c);
    module_finish(&w.module, b, 1);
    w.module.image.ids = w.module.ids;
    publish_first(&w, "bench");
    OK(storage_acquire(w.s, w.id, &w.lease, &err_));
    attach(&w);
    put_row(&w, 0, 0, false, 1);
    wait_durable(&w, 1, 5000);

    enum { N = 2000 };
    static double t[N];
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < N; i++) {
            double from = now_s();
            put_row(&w, 0, i, true, 1);
            while (atomic_load(&w.durable) < w.offset)
                k ? (void)0 : sleep_ms(0);
            t[i] = (now_s() - from) * 1e6;
        }
        qsort(t, N, sizeof *t, by_double);
        printf("one record in flight, %s: median %.0f us, p99 %.0f us, %.0f batches/s\n", k ? "spinning waiter" : "yielding waiter",
               t[N / 2], t[N * 99 / 100], 1e6 / t[N / 2]);
    }
    PGconn *pg = psql_open();
    PQclear(PQexec(pg, "CREATE TABLE raw (a bigint primary key, b bigint, c int, d bigint, e bytea); CREATE SEQUENCE s"));
    PQclear(PQprepare(pg, "x", "WITH n AS (SELECT nextval('s') v) INSERT INTO raw SELECT v, v, 1, 1, '\\x00' FROM n", 0, NULL));
    for (int i = 0; i < N; i++) {
        double from = now_s();
        PQclear(PQexecPrepared(pg, "x", 0, NULL, NULL, NULL, 0));
        t[i] = (now_s() - from) * 1e6;
    }
    qsort(t, N, sizeof *t, by_double);
    printf("one INSERT of libpq, same size: median %.0f us\n", t[N / 2]);
    OK(storage_settle(w.s, w.id, 20000, &err_));

    double from = now_s();
    enum { BURST = 1000000 };
    for (uint32_t i = 0; i < BURST; i++)
        put_row(&w, 0, i, true, 1);
    double made = now_s() - from;
    while (atomic_load(&w.durable) < w.offset)
        sleep_ms(1);
    double durable = now_s() - from;
    OK(storage_settle(w.s, w.id, 60000, &err_));
    printf("%d records on one hot row: made in %.2f s, durable in %.2f s (%.0f/s), tables in %.2f s\n", BURST, made, durable,
           BURST / durable, now_s() - from);

    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < 10; i++) { /* make one round of 100,000 rows: pause the tables by a lock */
            if (i == 0) {
                PQclear(PQexec(pg, "BEGIN; LOCK TABLE bench.t"));
                put_row(&w, 0, 5, true, 1);
            }
            put_row(&w, 1000000 + i * 10000, pass, pass == 1, 10000);
        }
        while (atomic_load(&w.durable) < w.offset)
            sleep_ms(1);
        PQclear(PQexec(pg, "COMMIT"));
        from = now_s();
        OK(storage_settle(w.s, w.id, 60000, &err_));
        printf("100,000 distinct rows %s: %.3f s\n", pass ? "updated" : "inserted", now_s() - from);
    }
    for (uint32_t i = 0; i < 90; i++)
        put_row(&w, 2000000 + i * 10000, 1, false, 10000);
    while (atomic_load(&w.durable) < w.offset)
        sleep_ms(1);
    OK(storage_settle(w.s, w.id, 60000, &err_));
    storage_detach(w.s, w.id);
    PQclear(PQexec(pg, "VACUUM ANALYZE bench.t"));
    double best_copy = 1e9, best_load = 1e9;
    uint32_t rows = 0;
    for (int i = 0; i < 5; i++) {
        from = now_s();
        PQclear(PQexec(pg, "COPY bench.t TO STDOUT (FORMAT binary)"));
        char *d;
        while (PQgetCopyData(pg, &d, 0) > 0)
            PQfreemem(d);
        PQclear(PQgetResult(pg));
        PQclear(PQgetResult(pg));
        best_copy = MIN(best_copy, now_s() - from);
        TestSink k;
        LoadSink sink = sink_of(&k);
        uint64_t offset;
        from = now_s();
        OK(storage_load(w.s, &w.lease, &sink, &offset, &err_));
        best_load = MIN(best_load, now_s() - from);
        rows = k.nrows[0];
        sink_done(&k);
    }
    printf("load %u rows: %.3f s; COPY through PQgetCopyData alone %.3f s; ratio %.2f\n", rows, best_load, best_copy,
           best_load / best_copy);
    OWN(free)
    char *psql_copy = x_sprintf("psql \"%s\" -qc \"COPY bench.t TO STDOUT (FORMAT binary)\" > /dev/null", embedded_conninfo(cluster));
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        from = now_s();
        if (system(psql_copy) != 0)
            return 1;
        best = MIN(best, now_s() - from);
    }
    printf("psql COPY to /dev/null: %.3f s; ratio %.2f\n", best, best_load / best);
    PQfinish(pg);
    world_down(&w);
    return cluster_down(NULL);
}
