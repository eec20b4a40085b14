/* sim.c - the simulator's program: rounds of steps from one seed; see sim.h for the parts.
 *
 *   sim [--seed N] [--rounds N] [--steps N] [--verbose] [--tap]
 *
 * Every round is a world of its own with a seed derived from the first one; its schema, calls, publishes and deaths
 * follow from that seed alone. The first rounds are run twice: their outputs must be the same bytes. A failure prints
 * seed and round;
 * `--seed` with the printed seed and `--rounds 1` repeats it. */
#include "tests/sim/sim.h"
#include "tests/sim/parts/pg.c" /* one program, one translation unit; in this order */
#include "tests/sim/parts/client.c"
#include "tests/sim/parts/host.c"
#include "tests/sim/parts/model.c"
#include "tests/sim/parts/schema.c"
#include <time.h>

typedef struct Totals {
    uint64_t calls, kills, publishes, updates, rows, procedures;
} Totals;

static uint64_t round_run(uint64_t seed, uint32_t round, uint32_t steps, Totals *totals)
{
    World *w = NEW(World);
    w->seed = seed;
    w->round = round;
    w->rng.state = seed;
    w->now_us = 1700000000000000;
    schema_random(&w->schema, &w->rng);
    Buf def = {0};
    schema_definition(&w->schema, &def);
    Error err;
    SIM_CHECK(w, module_def_from_bsatn(&w->def, buf_bytes(&def), &err) == S_OK, "%s", err.text);
    buf_done(&def);
    host_core_new(w);
    host_load(w, true);
    bool deaths = rng_chance(&w->rng, 80);
    for (w->step = 1; w->step <= steps; w->step++) {
        host_issue(w);
        uint32_t run = rng_below(&w->rng, 3);
        for (uint32_t i = 0; i < run; i++)
            host_run_one(w);
        uint32_t chance = rng_below(&w->rng, 1000);
        if (chance < 350)
            host_publish(w);
        if (rng_chance(&w->rng, 20))
            host_work(w, deaths);
        if (deaths && chance >= 980)
            host_kill(w, chance & 1);
        if (deaths && chance >= 976 && chance < 979)
            host_restart(w);
        if (chance >= 350 && chance < 358)
            host_republish(w);
        if (chance >= 360 && chance < 380) {
            host_publish(w);
            host_compare(w, true);
        }
    }
    while (host_run_one(w))
        ;
    host_finish_procedures(w);
    host_compare(w, true);
    if (deaths) {
        host_kill(w, false);
        host_compare(w, true);
    }
    uint64_t hash = w->output_hash;
    totals->calls += w->stats_calls;
    totals->procedures += w->stats_procedures;
    totals->kills += w->stats_kills;
    totals->publishes += w->stats_publishes;
    totals->updates += w->stats_updates;
    totals->rows += w->stats_rows;
    host_end(w);
    free(w);
    return hash;
}

int main(int argc, char **argv)
{
    uint64_t seed = 0;
    uint32_t rounds = 200, steps = 400, twice = 10;
    bool verbose = false, tap = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            rounds = (uint32_t)strtoul(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--steps") == 0 && i + 1 < argc)
            steps = (uint32_t)strtoul(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (strcmp(argv[i], "--tap") == 0)
            tap = true;
        else {
            fprintf(stderr, "usage: sim [--seed N] [--rounds N] [--steps N] [--verbose] [--tap]\n");
            return 2;
        }
    }
    if (!seed)
        seed = (uint64_t)time(NULL);
    printf("sim: seed %llu, %u rounds of %u steps\n", (unsigned long long)seed, rounds, steps);
    fflush(stdout);
    uint64_t start = clock_monotonic_ns();
    Totals totals = {0}, ignored = {0};
    uint64_t all = 0;
    for (uint32_t r = 0; r < rounds; r++) {
        uint64_t round_seed = r ? hash_u64(seed + r) : seed;
        if (verbose)
            printf("round %u seed %llu\n", r, (unsigned long long)round_seed), fflush(stdout);
        uint64_t hash = round_run(round_seed, r, steps, &totals);
        if (r < twice) {
            uint64_t again = round_run(round_seed, r, steps, &ignored);
            if (again != hash) {
                fprintf(stderr, "sim: FAILED seed %llu: two runs of round %u gave different outputs\n", (unsigned long long)round_seed, r);
                return 1;
            }
        }
        all = hash_u64(all ^ hash);
    }
    printf("sim: good; %llu calls, %llu procedures to their end, %llu deaths, %llu publishes, %llu set updates, %llu rows received; "
           "outputs %016llx; "
           "%.1f s\n",
           (unsigned long long)totals.calls, (unsigned long long)totals.procedures, (unsigned long long)totals.kills,
           (unsigned long long)totals.publishes, (unsigned long long)totals.updates, (unsigned long long)totals.rows,
           (unsigned long long)all, (double)(clock_monotonic_ns() - start) / 1e9);
    if (tap)
        printf("ok 1 - %u rounds of %u steps from seed %llu\n", rounds, steps, (unsigned long long)seed);
    return 0;
}
