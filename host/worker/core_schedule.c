/* core_schedule.c - rows that ask for a call: which is due when, and running what they ask for.
 *
 * A table with a schedule holds rows {key, at, ...}: `at` is an interval or a time. Each row has a timer here; a heap orders them by due time. Timers
 * follow committed changes only, so a transaction that is rolled back moves none (functions.md 4.4). They are not stored: loading a
 * database makes them anew from the rows.
 *
 * A due procedure begins on a thread of its own: a one-shot row goes before it, in a transaction of its own, so that a procedure that kills
 * the worker is not begun again; an interval waits for its procedure's end, since the runs of one row never overlap.
 *
 * A due reducer runs as a call that nobody sent, between the calls of clients. A one-shot row goes in its reducer's own
 * transaction; when the reducer fails it goes in a transaction of its own. An interval keeps its phase: the next tick is the first one in the
 * future, missed ones are skipped. */
#include "host/worker/core_int.h"

enum { NO_TIMER = 0xffffffff, RUNNING = 0xffffffff };
enum { NO_ROOM_AGAIN_US = 20000 }; /* as many procedures run as may: the row is tried again */

struct Timer {
    int64_t due_us;
    uint64_t order; /* of two that are due at once, the one that was armed first */
    uint64_t key;   /* the row's primary key */
    uint32_t table; /* its id */
    uint8_t tag;    /* the row's `at`: 0 interval, 1 time */
    int64_t at_us;
    uint32_t seen; /* the round of schedule_follow that met its row */
    uint32_t heap; /* position in the heap, or RUNNING */
    uint32_t next; /* in its hash chain, or the free list */
};

void schedule_free(Schedule *s)
{
    free(s->timers);
    free(s->heap);
    free(s->buckets);
    *s = (Schedule){0};
}

/* ---- the heap -------------------------------------------------------------------------------- */

static bool earlier(const Timer *a, const Timer *b) { return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order; }

static void heap_put(Schedule *s, uint32_t at, uint32_t timer)
{
    s->heap[at] = timer;
    s->timers[timer].heap = at;
}

static void heap_up(Schedule *s, uint32_t at)
{
    uint32_t timer = s->heap[at];
    for (; at && earlier(&s->timers[timer], &s->timers[s->heap[(at - 1) / 2]]); at = (at - 1) / 2)
        heap_put(s, at, s->heap[(at - 1) / 2]);
    heap_put(s, at, timer);
}

static void heap_down(Schedule *s, uint32_t at)
{
    uint32_t timer = s->heap[at];
    for (uint32_t child; (child = 2 * at + 1) < s->nheap; at = child) {
        if (child + 1 < s->nheap && earlier(&s->timers[s->heap[child + 1]], &s->timers[s->heap[child]]))
            child++;
        if (!earlier(&s->timers[s->heap[child]], &s->timers[timer]))
            break;
        heap_put(s, at, s->heap[child]);
    }
    heap_put(s, at, timer);
}

static void heap_remove(Schedule *s, Timer *t)
{
    uint32_t at = t->heap;
    t->heap = RUNNING;
    if (at == RUNNING || at == --s->nheap)
        return;
    heap_put(s, at, s->heap[s->nheap]);
    heap_up(s, at);
    heap_down(s, s->timers[s->heap[at]].heap);
}

static void arm(Schedule *s, Timer *t, int64_t due_us)
{
    heap_remove(s, t);
    t->due_us = due_us;
    t->order = ++s->order;
    s->heap[s->nheap] = (uint32_t)(t - s->timers);
    heap_up(s, s->nheap++);
}

/* ---- timers by row --------------------------------------------------------------------------- */

static uint32_t *bucket_of(const Schedule *s, uint32_t table, uint64_t key)
{
    return &s->buckets[hash_u64(key ^ hash_u64(table)) & s->mask];
}

static Timer *timer_find(const Schedule *s, uint32_t table, uint64_t key)
{
    if (!s->buckets)
        return NULL;
    for (uint32_t i = *bucket_of(s, table, key); i != NO_TIMER; i = s->timers[i].next)
        if (s->timers[i].key == key && s->timers[i].table == table)
            return &s->timers[i];
    return NULL;
}

/* Room for `more` timers, so that what follows the commit point allocates nothing. */
static void reserve(Schedule *s, size_t more)
{
    size_t want = (size_t)s->ntimers + more;
    if (want <= s->cap)
        return;
    size_t cap = MAX(want, 2 * (size_t)s->cap), nbuckets = 64;
    while (nbuckets < cap)
        nbuckets *= 2;
    s->timers = x_realloc(s->timers, cap * sizeof *s->timers);
    s->heap = x_realloc(s->heap, cap * sizeof *s->heap);
    s->buckets = x_realloc(s->buckets, nbuckets * sizeof *s->buckets);
    s->mask = (uint32_t)nbuckets - 1;
    memset(s->buckets, 0xff, nbuckets * sizeof *s->buckets);
    for (uint32_t i = 0; i < s->used; i++) { /* free ones have table id 0, which no table has */
        if (!s->timers[i].table)
            continue;
        uint32_t *bucket = bucket_of(s, s->timers[i].table, s->timers[i].key);
        s->timers[i].next = *bucket;
        *bucket = i;
    }
    s->cap = (uint32_t)cap;
}

static Timer *timer_new(Schedule *s, uint32_t table, uint64_t key)
{
    ASSERT(s->ntimers < s->cap);
    uint32_t i = s->used;
    if (s->nfree) { /* the free list runs through `order`, since `next` belongs to the chains */
        i = s->free;
        s->free = (uint32_t)s->timers[i].order;
        s->nfree--;
    } else {
        s->used++;
    }
    s->ntimers++;
    uint32_t *bucket = bucket_of(s, table, key);
    s->timers[i] = (Timer){.table = table, .key = key, .heap = RUNNING, .next = *bucket};
    *bucket = i;
    return &s->timers[i];
}

static void timer_drop(Schedule *s, Timer *t)
{
    heap_remove(s, t);
    uint32_t i = (uint32_t)(t - s->timers), *at = bucket_of(s, t->table, t->key);
    while (*at != i)
        at = &s->timers[*at].next;
    *at = t->next;
    *t = (Timer){.order = s->free};
    s->free = i;
    s->nfree++;
    s->ntimers--;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static uint64_t key_of(const TableDef *d, const void *row) { return load_u64((const uint8_t *)row + d->cols[d->pk].offset); }
static st_schedule_at at_of(const TableDef *d, const void *row)
{
    st_schedule_at at;
    memcpy(&at, (const uint8_t *)row + d->cols[d->schedule->at_col].offset, sizeof at);
    return at;
}

static int64_t add_capped(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/* A negative one counts as positive. */
static int64_t interval_of(const Timer *t) { return t->at_us == INT64_MIN ? INT64_MAX : t->at_us < 0 ? -t->at_us : t->at_us; }

static void arm_row(Schedule *s, Timer *t, st_schedule_at at, int64_t now_us)
{
    t->tag = at.tag;
    t->at_us = at.us;
    if (at.tag == 0 && at.us == 0) { /* the engine lets none in, but the rows may be older than the schedule: it never runs */
        heap_remove(s, t);
        return;
    }
    arm(s, t, at.tag == 0 ? add_capped(now_us, interval_of(t)) : MAX(at.us, now_us));
}

static const CoreTable *scheduled_table(const Core *c, const TableDef *d) { return &c->schema->tables[d - c->schema->image.def->tables]; }

void schedule_reserve(Core *c, uint32_t nchanges, const TableChange *changes)
{
    size_t more = 0;
    for (uint32_t i = 0; i < nchanges; i++)
        if (table_def(changes[i].table)->schedule)
            more += changes[i].ninserted;
    if (more)
        reserve(&c->schedule, more);
}

void schedule_follow(Core *c, uint32_t nchanges, const TableChange *changes, int64_t now_us)
{
    Schedule *s = &c->schedule;
    uint32_t round = ++s->round;
    for (uint32_t i = 0; i < nchanges; i++) {
        const TableDef *d = table_def(changes[i].table);
        uint32_t table = table_id(changes[i].table);
        if (!d->schedule || !scheduled_table(c, d)->runs)
            continue;
        for (uint32_t k = 0; k < changes[i].ninserted; k++) {
            uint64_t key = key_of(d, changes[i].inserted[k]);
            st_schedule_at at = at_of(d, changes[i].inserted[k]);
            Timer *t = timer_find(s, table, key);
            if (!t)
                t = timer_new(s, table, key);
            else if (t->tag == at.tag && t->at_us == at.us) { /* other columns: the due time stays */
                t->seen = round;
                continue;
            }
            t->seen = round;
            arm_row(s, t, at, now_us);
            s->armed = true;
        }
        for (uint32_t k = 0; k < changes[i].ndeleted; k++) {
            Timer *t = timer_find(s, table, key_of(d, changes[i].deleted[k]));
            if (t && t->seen != round)
                timer_drop(s, t);
        }
    }
}

/* All rows of one table; its timers are gone. */
static void add_rows(Core *c, Table *table, int64_t now_us)
{
    const TableDef *d = table_def(table);
    reserve(&c->schedule, table_count(table));
    Cursor cur;
    cursor_all(&cur, table);
    for (const void *row; (row = cursor_next(&cur)) != NULL;)
        arm_row(&c->schedule, timer_new(&c->schedule, table_id(table), key_of(d, row)), at_of(d, row), now_us);
}

void schedule_rebuild(Core *c, const SchemaImage *before, const bool *carried)
{
    Schedule *s = &c->schedule;
    const SchemaImage *image = &c->schema->image;
    int64_t now_us = c->env.clock_us(c->env.user);
    /* What a publish left as it was keeps its phase; the rest begins anew. */
    bool *kept = ARENA_ARRAY(&c->arena, bool, image->def->ntables + 1);
    for (uint32_t i = 0; before && i < image->def->ntables; i++) {
        const TableDef *was = schema_image_table(before, image->ids[i]), *now = &image->def->tables[i];
        kept[i] = carried[i] && was && was->schedule && c->schema->tables[i].runs && was->schedule->at_col == now->schedule->at_col;
    }
    for (uint32_t i = 0; i < s->used; i++) {
        Timer *t = &s->timers[i];
        const TableDef *d = t->table ? schema_image_table(image, t->table) : NULL;
        if (t->table && (!d || !kept[d - image->def->tables]))
            timer_drop(s, t);
    }
    for (uint32_t i = 0; i < image->def->ntables; i++)
        if (!kept[i] && c->schema->tables[i].runs)
            add_rows(c, c->schema->tables[i].table, now_us);
}

void core_hold(Core *c, bool hold) { c->held = hold; }

bool core_has_armed(Core *c)
{
    bool armed = c->schedule.armed;
    c->schedule.armed = false;
    return armed;
}

int64_t core_due_us(const Core *c) { return c->schedule.nheap ? c->schedule.timers[c->schedule.heap[0]].due_us : INT64_MAX; }
bool core_may_run_due(const Core *c) { return !c->held && core_accepts_calls(c); }

/* ---- running --------------------------------------------------------------------------------- */

/* The row that a timer is for, if it still asks for what the timer was armed for. */
static const void *row_of_timer(const Core *c, const CoreTable *t, uint64_t key, st_schedule_at at)
{
    (void)c;
    const void *row = table_find(t->table, (uint16_t)t->def->pk, &key);
    if (!row)
        return NULL;
    st_schedule_at now = at_of(t->def, row);
    return now.tag == at.tag && now.us == at.us ? row : NULL;
}

/* A one-shot row that has had its call: gone by a transaction of its own. */
static void remove_row(Core *c, const CoreTable *t, uint64_t key, st_schedule_at at, int64_t timestamp_us)
{
    Error err;
    txn_begin(c->engine);
    const void *row = row_of_timer(c, t, key, at);
    Status status = row ? table_delete(t->table, row, &err) : S_OK;
    if (status != S_OK)
        txn_rollback(c->engine);
    else
        status = core_leave(c, &(Leaving){.timestamp_us = timestamp_us}, &err);
    if (status != S_OK)
        core_log(c, ST_LOG_ERROR, 0, t->def->schedule->function, STR(""),
                 str_of(arena_sprintf(&c->arena, "the row of a call that has run cannot be removed: %s", err.text)));
}

static void run_reducer(Core *c, const CoreTable *t, uint64_t key, st_schedule_at at, const void *row, int64_t timestamp_us)
{
    Client database = {0};
    memcpy(database.identity, c->schema->database, 32);
    Str text;
    Error err;
    bool once = at.tag == 1, gone = false;
    /* The argument is the row itself: the parameters' struct has it as its only member, at 0. */
    if (core_run_reducer(c, (uint32_t)t->reducer, row, &database, ST_ORIGIN_SCHEDULED, c->schedule.order, timestamp_us, &text) == RUN_OK) {
        const void *mine = once ? row_of_timer(c, t, key, at) : NULL;
        Status status = mine ? table_delete(t->table, mine, &err) : S_OK;
        if (status != S_OK)
            txn_rollback(c->engine);
        else
            status = core_leave(c, &(Leaving){.timestamp_us = timestamp_us}, &err);
        gone = status == S_OK;
        if (status != S_OK)
            core_log(c, ST_LOG_ERROR, 0, t->def->schedule->function, STR(""), str_of(err.text));
    }
    if (once && !gone)
        remove_row(c, t, key, at, timestamp_us);
}

/* The first tick of the row's phase behind `now_us`. */
static int64_t next_tick(int64_t due_us, int64_t step_us, int64_t now_us)
{
    return now_us < due_us ? add_capped(due_us, step_us) : add_capped(due_us, ((now_us - due_us) / step_us + 1) * step_us);
}

/* ---- procedures ---- */

typedef struct Begun { /* an interval's procedure runs */
    uint32_t table;
    uint64_t key;
    int64_t next_us;
} Begun;

static void interval_ended(Core *c, void *arg, bool good)
{
    (void)good; /* a failure was logged, and stops no interval */
    Begun *b = arg;
    Timer *t = timer_find(&c->schedule, b->table, b->key);
    if (t && t->heap == RUNNING) /* else the row was changed or is gone */
        arm(&c->schedule, t, b->next_us);
    free(b);
}

static void one_shot_ended(Core *c, void *arg, bool good) { (void)c, (void)arg, (void)good; }

/* False: too many run already. */
static bool begin_procedure(Core *c, const CoreTable *t, uint64_t key, st_schedule_at at, const void *row, int64_t due_us, int64_t now_us)
{
    if (at.tag == 1) {
        if (!procedure_start(c, (uint32_t)t->procedure, row, one_shot_ended, NULL))
            return false;
        remove_row(c, t, key, at, now_us); /* it begins behind this, in core_work */
        return true;
    }
    Begun *b = NEW(Begun);
    *b = (Begun){table_id(t->table), key, next_tick(due_us, MAX(at.us < 0 ? -at.us : at.us, (int64_t)1), now_us)};
    if (procedure_start(c, (uint32_t)t->procedure, row, interval_ended, b))
        return true;
    free(b);
    return false;
}

bool core_due(Core *c)
{
    Schedule *s = &c->schedule;
    int64_t now_us = c->env.clock_us(c->env.user);
    if (core_due_us(c) > now_us || !core_may_run_due(c))
        return false;
    Timer *timer = &s->timers[s->heap[0]];
    heap_remove(s, timer);
    uint32_t table = timer->table;
    uint64_t key = timer->key;
    int64_t due_us = timer->due_us;
    st_schedule_at at = {.tag = timer->tag, .us = timer->at_us};
    arena_reset(&c->arena);
    const CoreTable *t = scheduled_table(c, schema_image_table(&c->schema->image, table));
    const void *row = row_of_timer(c, t, key, at);
    ASSERT(row); /* timers follow every commit */
    if (t->procedure >= 0) {
        if (!begin_procedure(c, t, key, at, row, due_us, now_us))
            arm(s, timer, now_us + NO_ROOM_AGAIN_US);
        return true;
    }
    CoreDue mark = {table, key, at.tag, at.us};
    if (c->env.due)
        c->env.due(c->env.user, &mark);
    c->env.in_module(c->env.user, CALL_SEQ_CONTROL);
    run_reducer(c, t, key, at, row, MAX(due_us, now_us));
    c->env.in_module(c->env.user, 0);
    if (c->env.due)
        c->env.due(c->env.user, NULL);
    timer = timer_find(s, table, key); /* commits may have moved or dropped it */
    if (!timer || timer->heap != RUNNING)
        return true;
    if (at.tag == 1) {
        timer_drop(s, timer); /* its row could not be removed, which was logged: never again in this life */
        return true;
    }
    arm(s, timer, next_tick(due_us, interval_of(timer), c->env.clock_us(c->env.user)));
    return true;
}

void schedule_died(Core *c, const CoreDue *due)
{
    const TableDef *d = schema_image_table(&c->schema->image, due->table);
    if (!d || !d->schedule || scheduled_table(c, d)->reducer < 0 || due->tag != 1)
        return;
    arena_reset(&c->arena);
    remove_row(c, scheduled_table(c, d), due->key, (st_schedule_at){.tag = due->tag, .us = due->us}, c->env.clock_us(c->env.user));
}
