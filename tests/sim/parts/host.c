/* host.c - what surrounds the worker: its environment, and the host by the rules of records.h. */
#include "tests/sim/sim.h"

/* ---- small helpers --------------------------------------------------------------------------- */

static void outputs_add(Outputs *o, uint32_t nparts, const Bytes *parts)
{
    if (o->n == o->cap) {
        o->cap = o->cap ? 2 * o->cap : 32;
        o->records = x_realloc(o->records, o->cap * sizeof *o->records);
    }
    o->records[o->n] = (Buf){0};
    for (uint32_t i = 0; i < nparts; i++)
        buf_put_bytes(&o->records[o->n], parts[i]);
    o->n++;
}

static void outputs_clear(Outputs *o)
{
    for (uint32_t i = 0; i < o->n; i++)
        buf_done(&o->records[i]);
    o->n = 0;
}

static void push_u32(uint32_t **list, uint32_t *n, uint32_t *cap, uint32_t v)
{
    if (*n == *cap) {
        *cap = *cap ? 2 * *cap : 32;
        *list = x_realloc(*list, *cap * sizeof **list);
    }
    (*list)[(*n)++] = v;
}

/* ---- the worker's surroundings --------------------------------------------------------------- */

static int64_t env_clock(void *user) { return ((World *)user)->now_us += 10; }
static void env_random(void *user, void *out, size_t len)
{
    for (uint8_t *p = out; len; len--)
        *p++ = (uint8_t)rng_u64(&((World *)user)->rng);
}
static void hash_output(World *w, uint8_t kind, uint32_t n, const Bytes *parts)
{
    w->output_hash = hash_u64(w->output_hash + kind);
    for (uint32_t i = 0; i < n; i++)
        for (size_t k = 0; k < parts[i].len; k++)
            w->output_hash = (w->output_hash ^ parts[i].ptr[k]) * 0x100000001b3u; /* FNV-1a: cuts between parts do not show */
}
static void env_commit(void *user, Bytes record)
{
    World *w = user;
    SIM_CHECK(w, !w->commit_seen, "two commit records in one step");
    w->commit_seen = true;
    hash_output(w, 'c', 1, &record);
    outputs_add(&w->commits, 1, &record);
}
static void env_frame(void *user, uint32_t n, const Bytes *parts)
{
    World *w = user;
    hash_output(w, 'f', n, parts);
    FrameHeader h;
    memcpy(&h, parts[0].ptr, sizeof h);
    SIM_CHECK(w, !w->commit_seen || h.kind == FRAME_CONTROL, "a frame after the commit record");
    if (h.kind == FRAME_CONTROL) {
        buf_reset(&w->control_answer);
        for (uint32_t i = 0; i < n; i++)
            buf_put_bytes(&w->control_answer, parts[i]);
        return;
    }
    outputs_add(&w->frames, n, parts);
}
static void env_log(void *user, Bytes record) { hash_output(user, 'l', 1, &record); }
static Status env_open(void *user, Str path, Module **ret, Error *err)
{
    World *w = user;
    if (str_is(path, "missing"))
        return FAIL(err, S_NOT_FOUND, "no such module");
    *ret = sim_module_open(w, str_is(path, "next") ? &w->next : &w->schema);
    return S_OK;
}
static void env_in_module(void *user, uint64_t seq)
{
    World *w = user;
    SIM_CHECK(w, w->in_module == (seq == 0), "module code begins and ends in turn");
    w->in_module = seq != 0;
}

void host_core_new(World *w)
{
    CoreEnv env = {.user = w,
                   .clock_us = env_clock,
                   .random = env_random,
                   .commit = env_commit,
                   .frame = env_frame,
                   .log = env_log,
                   .open_module = env_open,
                   .in_module = env_in_module,
                   .slice_rows = 1 + rng_below(&w->rng, 8),
                   .procedures_max = 3,
                   .lockstep = true};
    w->core = core_new(&env);
}

static Status control(World *w, Buf *record)
{
    buf_reset(&w->control_answer);
    w->commit_seen = false;
    ControlKind kind = record->ptr[0];
    SIM_CHECK(w, core_control(w->core, buf_bytes(record)), "the worker stopped");
    buf_done(record);
    if (!w->control_answer.len)
        return S_OK;
    SIM_CHECK(w, w->control_answer.ptr[sizeof(FrameHeader)] == kind, "answer to another control record");
    return w->control_answer.ptr[sizeof(FrameHeader) + 1];
}

static const char *control_text(World *w)
{
    static char text[400];
    Reader r = reader_of(buf_bytes(&w->control_answer));
    (void)read_raw(&r, sizeof(FrameHeader) + 2);
    Str s = read_str(&r);
    snprintf(text, sizeof text, "%.*s", STR_FMT(s));
    return text;
}

static Buf load_record(World *w, ControlKind kind, const SimSchema *s, const char *path)
{
    Buf b = {0}, def = {0};
    schema_definition(s, &def);
    buf_put_u8(&b, (uint8_t)kind);
    buf_put_u32(&b, s->version);
    buf_put_str(&b, str_of(path));
    buf_put_blob(&b, buf_bytes(&def));
    buf_done(&def);
    uint8_t identity[32] = {0xdb};
    buf_put(&b, identity, 32);
    identity[0] = 0;
    buf_put(&b, identity, 32);
    buf_put_u32(&b, s->ntables);
    for (uint32_t t = 0; t < s->ntables; t++) {
        buf_put_str(&b, str_of(s->tables[t].name));
        buf_put_u32(&b, s->tables[t].id);
    }
    buf_put_u32(&b, 1);
    buf_put_str(&b, STR("evolving"));
    buf_put_u32(&b, s->evolving_since);
    uint32_t n = 0; /* versions before this one */
    for (uint32_t i = 0; i < w->nolder; i++)
        n += w->older[i].version < s->version;
    bool now = w->schema.version < s->version; /* PREPARE: what runs now will be old */
    buf_put_u32(&b, n + now);
    for (uint32_t i = 0; i < n + now; i++) {
        const SimSchema *o = i < n ? &w->older[i] : &w->schema;
        buf_put_u32(&b, o->version);
        buf_put_u32(&b, o->ntables);
        for (uint32_t t = 0; t < o->ntables; t++) {
            buf_put_u32(&b, o->tables[t].id);
            buf_put_u16(&b, (uint16_t)o->tables[t].ncols);
        }
    }
    if (kind == CTL_PREPARE)
        buf_put_u32(&b, 0); /* no migration has run */
    return b;
}

/* What the model must do after the worker ran something. */
static void settle_model(World *w, uint64_t before)
{
    uint64_t after = core_offset(w->core);
    SIM_CHECK(w, after == before + w->commit_seen, "offset %llu after %llu", (unsigned long long)after, (unsigned long long)before);
}

void host_load(World *w, bool first)
{
    Buf b = load_record(w, CTL_LOAD, &w->schema, "now");
    SIM_CHECK(w, control(w, &b) == S_OK, "LOAD: %s", control_text(w));
    for (uint32_t t = 0; t < w->schema.ntables; t++) {
        PgTable *pt = &w->pg.tables[t];
        buf_put_u8(&b, CTL_EXPECT);
        buf_put_u32(&b, w->schema.tables[t].id);
        buf_put_u64(&b, pt->n);
        SIM_CHECK(w, control(w, &b) == S_OK, "EXPECT: %s", control_text(w));
        for (uint32_t at = 0; at < pt->n;) {
            uint32_t piece = 1 + rng_below(&w->rng, 20), n = MIN(pt->n - at, piece);
            buf_put_u8(&b, CTL_ROWS);
            buf_put_u32(&b, w->schema.tables[t].id);
            buf_put_u32(&b, n);
            for (; n; n--)
                buf_put_bytes(&b, pt->rows[at++].row);
            SIM_CHECK(w, control(w, &b) == S_OK, "ROWS: %s", control_text(w));
        }
        for (uint32_t c = 0; c < w->schema.tables[t].ncols; c++) {
            if (!w->pg.sequences[t][c])
                continue;
            buf_put_u8(&b, CTL_SEQUENCE);
            buf_put_u32(&b, w->schema.tables[t].id);
            buf_put_u16(&b, (uint16_t)c);
            buf_put(&b, &w->pg.sequences[t][c], sizeof(i128));
            SIM_CHECK(w, control(w, &b) == S_OK, "SEQUENCE: %s", control_text(w));
        }
    }
    for (uint32_t i = 0; i < w->pg.nlog; i++) {
        buf_put_u8(&b, CTL_REPLAY);
        buf_put_bytes(&b, buf_bytes(&w->pg.log[i]));
        SIM_CHECK(w, control(w, &b) == S_OK, "REPLAY: %s", control_text(w));
    }
    buf_put_u8(&b, CTL_READY);
    buf_put_u64(&b, w->pg.durable);
    SIM_CHECK(w, control(w, &b) == S_OK, "READY: %s", control_text(w));
    SIM_CHECK(w, load_u64(w->control_answer.ptr + sizeof(FrameHeader) + 2) == model_rows(w), "rows loaded");
    if (first) {
        uint8_t owner[32] = {0};
        buf_put_u8(&b, CTL_INIT);
        buf_put(&b, owner, 32);
        buf_put_i64(&b, w->now_us);
        uint64_t before = core_offset(w->core);
        Status s = control(w, &b);
        SIM_CHECK(w, (s == S_OK) == (w->run_expect == EXPECT_OK), "INIT: %s", control_text(w));
        model_end(w, s == S_OK, core_offset(w->core));
        settle_model(w, before);
        host_publish(w);
    }
}

/* ---- issuing calls --------------------------------------------------------------------------- */

static SimCall *call_new(World *w, CallKind kind, uint32_t slot, SimClient *c)
{
    SimCall *call = NEW(SimCall);
    call->header = (CallHeader){
        .kind = kind, .slot = slot, .generation = c->generation, .schema_version = c->version, .flags = c->http ? CALL_HTTP : 0};
    if (w->ncalls == w->calls_cap) {
        w->calls_cap = w->calls_cap ? 2 * w->calls_cap : 64;
        w->calls = x_realloc(w->calls, w->calls_cap * sizeof *w->calls);
    }
    w->calls[w->ncalls] = call;
    push_u32(&w->queue, &w->nqueue, &w->queue_cap, w->ncalls++);
    return call;
}

static void issue_connect(World *w, uint32_t slot, bool http)
{
    SimClient *c = &w->clients[slot];
    *c = (SimClient){.state = CLIENT_CONNECTING,
                     .generation = ++w->next_generation,
                     .version = w->schema.version,
                     .http = http,
                     .owner = rng_chance(&w->rng, 30)};
    memset(c->identity, (int)rng_below(&w->rng, 6), 32);
    if (!http && rng_chance(&w->rng, 80))
        c->identity[3] = 1; /* mostly welcome */
    memcpy(c->connection_id, &c->generation, 4);
    c->connection_id[15] = 1;
    SimCall *call = call_new(w, CALL_CONNECT, slot, c);
    call->header.flags |= c->owner ? CALL_OWNER : 0;
    buf_put(&call->payload, c->identity, 32);
    buf_put(&call->payload, c->connection_id, 16);
}

static void issue_disconnect(World *w, uint32_t slot)
{
    SimClient *c = &w->clients[slot];
    SimCall *call = call_new(w, CALL_DISCONNECT, slot, c);
    buf_put(&call->payload, c->identity, 32);
    buf_put(&call->payload, c->connection_id, 16);
    c->state = CLIENT_LEAVING;
}

static void issue_reducer(World *w, uint32_t slot)
{
    SimClient *c = &w->clients[slot];
    SimCall *call = call_new(w, CALL_REDUCER, slot, c);
    Buf *b = &call->payload;
    buf_put_u32(b, ++w->next_request);
    uint32_t kind = rng_below(&w->rng, 100);
    if (kind < 4) {
        buf_put_str(b, rng_chance(&w->rng, 50) ? STR("nonsense") : STR("on_init"));
        call->expect = EXPECT_REFUSAL;
    } else if (kind < 14) {
        const SimSchema *known = known_schema(w, c->version);
        buf_put_str(b, STR("evolving"));
        for (uint32_t i = 0; i <= known->evolving_params; i++)
            buf_put_u64(b, rng_u64(&w->rng));
    } else {
        buf_put_str(b, STR("run"));
        buf_put_u64(b, rng_u64(&w->rng));
        buf_put_u8(b, (uint8_t)rng_below(&w->rng, 12));
        uint8_t careless = rng_chance(&w->rng, 15) ? 1 : 0, failing = rng_chance(&w->rng, 10) ? 2 : 0;
        buf_put_u8(b, careless | failing);
        if (kind < 17) { /* one byte too few or too many */
            if (kind & 1)
                b->len--;
            else
                buf_put_u8(b, 0);
            call->expect = EXPECT_REFUSAL;
        }
    }
}

static void issue_procedure(World *w, uint32_t slot)
{
    SimCall *call = call_new(w, CALL_PROCEDURE, slot, &w->clients[slot]);
    Buf *b = &call->payload;
    uint32_t kind = rng_below(&w->rng, 100);
    buf_put_u32(b, ++w->next_request);
    buf_put_str(b, kind < 5 ? STR("nothing") : STR("work"));
    call->count = rng_u64(&w->rng);
    buf_put_u64(b, call->count);
    buf_put_u8(b, (uint8_t)rng_below(&w->rng, 7));
    buf_put_u8(b, rng_chance(&w->rng, 10) ? 2 : 0);
    if (kind < 10) {
        buf_put_u8(b, 0); /* one byte too many, or no such procedure */
        call->expect = EXPECT_REFUSAL;
    }
}

static void issue_subscribe(World *w, uint32_t slot, CallKind kind)
{
    SimClient *c = &w->clients[slot];
    SimCall *call = call_new(w, kind, slot, c);
    Buf *b = &call->payload;
    const SimSchema *known = known_schema(w, c->version);
    buf_put_u32(b, ++w->next_request);
    call->set_id = ++w->next_set;
    if (kind == CALL_SUBSCRIBE && rng_chance(&w->rng, 10) && c->sets[0].live)
        call->set_id = c->sets[0].id; /* taken, unless it is given up meanwhile */
    call->nqueries = kind == CALL_SUBSCRIBE ? 1 + rng_below(&w->rng, QUERIES_MAX) : 1;
    if (kind == CALL_SUBSCRIBE) {
        buf_put_u32(b, call->set_id);
        buf_put_u32(b, call->nqueries);
    }
    size_t count_at = b->len - 4;
    call->bad = rng_chance(&w->rng, 6);
    for (uint32_t i = 0; i < call->nqueries; i++) {
        bool again;
        int tries = 0;
        do {
            query_random(w, &w->rng, &call->queries[i], known->ntables, c->owner, known);
            again = false;
            for (uint32_t k = 0; k < i; k++)
                again |= strcmp(call->queries[k].text, call->queries[i].text) == 0;
        } while (again && ++tries < 50);
        if (again) { /* the schema has not that many queries: the set is smaller */
            call->nqueries = i;
            call->bad = false;
            store_u32(b->ptr + count_at, i);
            break;
        }
        buf_put_str(b, call->bad && i + 1 == call->nqueries ? STR("SELECT * FROM nowhere") : str_of(call->queries[i].text));
    }
}

static void issue_unsubscribe(World *w, uint32_t slot)
{
    SimClient *c = &w->clients[slot];
    const SimSet *s = &c->sets[rng_below(&w->rng, SETS_MAX)];
    SimCall *call = call_new(w, CALL_UNSUBSCRIBE, slot, c);
    buf_put_u32(&call->payload, ++w->next_request);
    buf_put_u32(&call->payload, s->live ? s->id : 999999);
    call->header.flags |= rng_chance(&w->rng, 60) ? CALL_DROPPED_ROWS : 0;
}

static void issue_sql(World *w, uint32_t slot)
{
    SimClient *c = &w->clients[slot];
    SimCall *call = call_new(w, CALL_SQL, slot, c);
    Query *q = &call->queries[0];
    do
        query_random(w, &w->rng, q, w->schema.ntables, c->owner, &w->schema);
    while (w->schema.tables[q->table].is_event);
    call->nqueries = 1;
    call->bad = rng_chance(&w->rng, 40); /* here: a DELETE */
    char text[128];
    snprintf(text, sizeof text, "%s%s", call->bad ? "DELETE" : "SELECT *", q->text + strlen("SELECT *"));
    buf_put_str(&call->payload, str_of(text));
}

void host_issue(World *w)
{
    uint32_t slot = rng_below(&w->rng, CLIENTS_MAX);
    SimClient *c = &w->clients[slot];
    uint32_t kind = rng_below(&w->rng, 100);
    if (c->state == CLIENT_FREE) {
        bool http = kind < 25;
        issue_connect(w, slot, http);
        if (http) {
            if (kind < 10)
                issue_reducer(w, slot);
            else if (kind < 12)
                issue_procedure(w, slot);
            else
                issue_sql(w, slot);
            issue_disconnect(w, slot);
        }
        return;
    }
    if (c->state == CLIENT_LEAVING)
        return;
    uint32_t sets = 0, coming = 0;
    for (uint32_t i = 0; i < SETS_MAX; i++)
        sets += c->sets[i].live;
    for (uint32_t i = 0; i < w->nqueue + w->nrun; i++) {
        uint32_t at = i < w->nqueue ? w->queue[i] : w->run[i - w->nqueue];
        coming += w->calls[at]->header.kind == CALL_SUBSCRIBE && w->calls[at]->header.generation == c->generation;
    }
    if (c->state == CLIENT_REFUSED || kind < 3)
        issue_disconnect(w, slot);
    else if (kind < 25 && sets + coming < SETS_MAX)
        issue_subscribe(w, slot, CALL_SUBSCRIBE);
    else if (kind < 33)
        issue_unsubscribe(w, slot);
    else if (kind < 40)
        issue_subscribe(w, slot, CALL_ONE_OFF);
    else if (kind < 45)
        issue_procedure(w, slot);
    else
        issue_reducer(w, slot);
}

/* ---- running, publishing --------------------------------------------------------------------- */

static void core_step(World *w, SimCall *call)
{
    Buf b = {0};
    call->header.call_seq = ++w->next_seq;
    call->header.timestamp_us = w->now_us;
    buf_put(&b, &call->header, sizeof call->header);
    buf_put_bytes(&b, buf_bytes(&call->payload));
    w->commit_seen = false;
    core_call(w->core, buf_bytes(&b));
    buf_done(&b);
    w->stats_calls++;
}

static bool call_rejected(const World *w, uint64_t seq)
{
    for (uint32_t i = 0; i < w->frames.n; i++) {
        FrameHeader h;
        memcpy(&h, w->frames.records[i].ptr, sizeof h);
        if (h.call_seq == seq && h.kind == FRAME_REPLY)
            return w->frames.records[i].ptr[sizeof h] == REPLY_REJECTED;
    }
    return false;
}

bool host_run_one(World *w)
{
    if (!w->nqueue)
        return false;
    uint32_t at = w->queue[0];
    w->nqueue--;
    memmove(w->queue, w->queue + 1, w->nqueue * sizeof *w->queue);
    push_u32(&w->run, &w->nrun, &w->run_cap, at);
    SimCall *call = w->calls[at];
    SimClient *c = client_of(w, call->header.slot, call->header.generation);
    uint64_t before = core_offset(w->core);
    CallKind kind = call->header.kind;
    bag_clear(&call->rows);
    const Query *q = &call->queries[0];
    bool evolving_refused = kind == CALL_REDUCER && call->expect != EXPECT_REFUSAL && call->payload.ptr[8] == 'e' &&
                            call->header.schema_version < w->schema.evolving_since;
    if (evolving_refused)
        call->expect = EXPECT_REFUSAL;
    if (kind == CALL_ONE_OFF && !w->schema.tables[q->table].is_event)
        for (uint32_t i = 0; i < w->tables[q->table].n; i++)
            if (query_matches(w, q, w->tables[q->table].rows[i], c->identity))
                bag_add(&call->rows, q->table, w->tables[q->table].rows[i]);
    if (kind == CALL_ONE_OFF) /* the columns that it knows */
        for (uint32_t i = 0; i < call->rows.n; i++)
            call->rows.rows[i].len = row_prefix(w, q->table, call->rows.rows[i], known_ncols(w, c, q->table));
    w->run_expect = EXPECT_ANY;
    core_step(w, call);
    bool committed = false;
    switch (kind) {
    case CALL_CONNECT:
        call->expect = w->run_expect == EXPECT_ANY ? EXPECT_OK : w->run_expect;
        committed = call->expect == EXPECT_OK;
        break;
    case CALL_DISCONNECT: committed = w->run_expect == EXPECT_OK; break;
    case CALL_REDUCER:
        if (call->expect != EXPECT_REFUSAL)
            call->expect = w->run_expect;
        else
            SIM_CHECK(w, w->run_expect == EXPECT_ANY, "a refused call ran");
        committed = w->run_expect == EXPECT_OK;
        break;
    case CALL_SQL:
        if (call_rejected(w, call->header.call_seq))
            break;
        call->count = 0;
        call->expect = !call->bad || c->owner ? EXPECT_OK : EXPECT_REFUSAL;
        for (uint32_t i = w->tables[q->table].n; call->expect == EXPECT_OK && i-- > 0;) {
            if (!query_matches(w, q, w->tables[q->table].rows[i], c->identity))
                continue;
            call->count++;
            if (call->bad)
                model_remove(w, q->table, i);
        }
        committed = call->expect == EXPECT_OK;
        break;
    default: break;
    }
    if (kind != CALL_CONNECT && kind != CALL_DISCONNECT) /* of a refused client: no answer; FRAME_DISCONNECTED always comes */
        call->may_be_silent = !(call->header.flags & CALL_HTTP) && c && !c->accepted;
    model_end(w, committed, core_offset(w->core));
    settle_model(w, before);
    return true;
}

static void published(World *w)
{
    model_forget(w, w->pg.durable);
    memcpy(w->generated, w->generated_new, sizeof w->generated);
}

void host_publish(World *w)
{
    for (uint32_t i = 0; i < w->commits.n; i++)
        pg_append(w, buf_bytes(&w->commits.records[i]));
    for (uint32_t i = 0; i < w->frames.n; i++)
        deliver(w, buf_bytes(&w->frames.records[i]));
    outputs_clear(&w->commits);
    outputs_clear(&w->frames);
    for (uint32_t i = 0; i < w->nrun; i++)
        w->calls[w->run[i]]->consumed = true;
    w->nrun = 0;
    published(w);
    pg_materialise(w, rng_below(&w->rng, 6));
}

/* ---- procedures -------------------------------------------------------------------------------- */

/* One slice beside the calls, when all that was before it has left, as the worker does it. */
static bool work(World *w)
{
    if (core_procedures(w->core))
        host_publish(w);
    w->commit_seen = false;
    uint64_t before = core_offset(w->core);
    bool more = core_work(w->core);
    if (w->tx_unsettled) { /* it jumped out of its transaction */
        model_end(w, false, before);
        w->tx_unsettled = false;
    }
    settle_model(w, before);
    return more;
}

/* The world answers one request, or nobody's. */
static void answer_request(World *w)
{
    CallHeader h = {.kind = CALL_ANSWER, .slot = CLIENT_NONE};
    Buf b = {0};
    buf_put(&b, &h, sizeof h);
    bool known = w->nrequests && !rng_chance(&w->rng, 5);
    uint32_t at = known ? rng_below(&w->rng, w->nrequests) : 0;
    Reader r = reader_of(known ? buf_bytes(&w->requests[at]) : (Bytes){0});
    buf_put_u64(&b, known ? read_u64(&r) : 1u << 30);
    if (rng_chance(&w->rng, 20)) {
        buf_put_u8(&b, 0);
        buf_put_str(&b, STR("no answer"));
    } else {
        (void)read_u32(&r);
        (void)read_str(&r);
        buf_put_u8(&b, 1);
        buf_put_u16(&b, 200);
        buf_put_u32(&b, 0);
        buf_put_blob(&b, str_bytes(read_str(&r)));
    }
    if (known) {
        buf_done(&w->requests[at]);
        w->requests[at] = w->requests[--w->nrequests];
    }
    core_answer(w->core, buf_bytes(&b));
    buf_done(&b);
}

static void forget_requests(World *w)
{
    while (w->nrequests)
        buf_done(&w->requests[--w->nrequests]);
}

void host_work(World *w, bool deaths)
{
    for (uint32_t n = 1 + rng_below(&w->rng, 4); n && core_procedures(w->core); n--) {
        if (w->nrequests && rng_chance(&w->rng, 60))
            answer_request(w);
        if (core_due_us(w->core) != INT64_MAX && rng_chance(&w->rng, 30))
            w->now_us = MAX(w->now_us, core_due_us(w->core));
        bool more = work(w);
        SIM_CHECK(w, more || !core_is_wanted(w->core), "there is more to do");
        if (deaths && rng_chance(&w->rng, 4)) {
            host_kill(w, false);
            return;
        }
    }
    host_publish(w);
}

void host_finish_procedures(World *w)
{
    while (core_procedures(w->core)) {
        while (w->nrequests)
            answer_request(w);
        if (core_due_us(w->core) != INT64_MAX)
            w->now_us = MAX(w->now_us, core_due_us(w->core));
        while (work(w))
            ;
        host_publish(w);
    }
    host_publish(w);
}

/* ---- death ----------------------------------------------------------------------------------- */

/* The host answers for a call that died with the worker. */
static void fail_call(World *w, SimCall *call)
{
    SIM_CHECK(w, ++call->answers == 1, "a call that died had been answered");
    SimClient *c = client_of(w, call->header.slot, call->header.generation);
    if (call->header.kind == CALL_CONNECT) {
        c->accepted = false;
        if (c->state == CLIENT_CONNECTING)
            c->state = CLIENT_REFUSED;
    }
}

static void recover(World *w)
{
    forget_requests(w);
    core_free(w->core);
    w->in_module = false;
    SIM_CHECK(w, w->modules_open == 0, "%u modules were not unloaded", w->modules_open);
    host_core_new(w);
    host_load(w, false);
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) { /* register again, silently */
        SimClient *c = &w->clients[slot];
        if (c->state == CLIENT_FREE || !c->accepted)
            continue;
        SimCall call = {.header = {.kind = CALL_CONNECT,
                                   .flags = CALL_SILENT | (c->http ? CALL_HTTP : 0) | (c->owner ? CALL_OWNER : 0),
                                   .slot = slot,
                                   .generation = c->generation,
                                   .schema_version = c->version}};
        buf_put(&call.payload, c->identity, 32);
        buf_put(&call.payload, c->connection_id, 16);
        core_step(w, &call);
        for (uint32_t i = 0; i < SETS_MAX; i++) {
            const SimSet *s = &c->sets[i];
            if (!s->live)
                continue;
            call.header.kind = CALL_SUBSCRIBE;
            buf_reset(&call.payload);
            buf_put_u32(&call.payload, 0);
            buf_put_u32(&call.payload, s->id);
            buf_put_u32(&call.payload, s->nqueries);
            for (uint32_t k = 0; k < s->nqueries; k++)
                buf_put_str(&call.payload, str_of(s->queries[k].text));
            core_step(w, &call);
        }
        buf_done(&call.payload);
    }
    SIM_CHECK(w, !w->frames.n && !w->commits.n, "a silent registration made a sound");
    SIM_CHECK(w, core_offset(w->core) == w->pg.durable, "recovered at another offset");
}

void host_kill(World *w, bool during_call)
{
    /* What had become visible: frames go first, then commit records, then the cursor of consumed calls. */
    uint32_t frames = 0, commits = 0;
    bool died_in_call = false;
    if (during_call && w->nrun) {
        died_in_call = true; /* the last call of `run` was at work: nothing of the batch was visible */
    } else {
        uint32_t how = rng_below(&w->rng, 3);
        frames = how == 0 && w->frames.n ? rng_below(&w->rng, w->frames.n + 1) : w->frames.n;
        if (how > 0)
            commits = how == 1 && w->commits.n ? rng_below(&w->rng, w->commits.n + 1) : w->commits.n;
    }
    w->stats_kills++;
    for (uint32_t i = 0; i < commits; i++)
        pg_append(w, buf_bytes(&w->commits.records[i]));
    for (uint32_t i = 0; i < frames; i++) {
        FrameHeader h;
        memcpy(&h, w->frames.records[i].ptr, sizeof h);
        if (h.offset <= w->pg.durable)
            deliver(w, buf_bytes(&w->frames.records[i]));
    }
    /* Outputs leave in order: with an answer or a record of one call, all calls before it are done. */
    uint64_t last_done = 0;
    uint32_t done = 0;
    for (uint32_t i = 0; i < commits; i++) {
        Reader r = reader_of(buf_bytes(&w->commits.records[i]));
        CommitHeader h;
        Error err;
        SIM_CHECK(w, commit_read_header(&r, &h, &err) == S_OK, "%s", err.text);
        last_done = MAX(last_done, h.call_seq);
    }
    for (uint32_t i = 0; i < w->nrun; i++)
        if (w->calls[w->run[i]]->answers || w->calls[w->run[i]]->header.call_seq <= last_done)
            done = i + 1;
    outputs_clear(&w->frames);
    outputs_clear(&w->commits);
    model_undo(w, w->pg.durable);
    memcpy(w->generated_new, w->generated, sizeof w->generated);
    uint32_t *old_queue = w->queue, old_n = w->nqueue, nrun = w->nrun;
    w->queue = NULL, w->nqueue = w->queue_cap = 0;
    w->nrun = 0;
    for (uint32_t i = 0; i < nrun; i++) {
        SimCall *call = w->calls[w->run[i]];
        if (died_in_call && i + 1 == nrun && call->header.kind != CALL_DISCONNECT) /* nobody waits for that one: it is tried again */
            fail_call(w, call);
        else if (i >= done)
            push_u32(&w->queue, &w->nqueue, &w->queue_cap, w->run[i]);
    }
    for (uint32_t i = 0; i < done; i++)
        w->calls[w->run[i]]->consumed = true;
    for (uint32_t i = 0; i < w->ncalls; i++) /* they had begun, and cannot run again */
        if (w->calls[i]->header.kind == CALL_PROCEDURE && w->calls[i]->consumed && !w->calls[i]->answers && !w->calls[i]->may_be_silent)
            fail_call(w, w->calls[i]);
    for (uint32_t i = 0; i < old_n; i++)
        push_u32(&w->queue, &w->nqueue, &w->queue_cap, old_queue[i]);
    free(old_queue);
    published(w);
    recover(w);
    host_compare(w, false);
}

/* The host itself dies with its worker: all clients are gone, and those that PostgreSQL lists are disconnected. */
void host_restart(World *w)
{
    outputs_clear(&w->frames);
    outputs_clear(&w->commits);
    model_undo(w, w->pg.durable);
    memcpy(w->generated_new, w->generated, sizeof w->generated);
    w->nqueue = w->nrun = 0;
    for (uint32_t i = 0; i < w->ncalls; i++)
        w->calls[i]->answers = 1; /* or never */
    for (uint32_t i = 0; i < CLIENTS_MAX; i++)
        client_gone(&w->clients[i]);
    recover(w);
    for (uint32_t i = 0; i < w->pg.nclients; i++) {
        SimClient nobody = {.version = w->schema.version};
        SimCall *call = call_new(w, CALL_DISCONNECT, CLIENT_NONE, &nobody);
        buf_put(&call->payload, w->pg.clients[i].identity, 32);
        buf_put(&call->payload, w->pg.clients[i].connection_id, 16);
    }
    while (host_run_one(w))
        ;
    host_publish(w);
    SIM_CHECK(w, w->pg.nclients == 0, "%u clients of an earlier life are still listed", w->pg.nclients);
    host_compare(w, true);
}

/* ---- publishing a module --------------------------------------------------------------------- */

static void pg_migrate(World *w)
{
    for (uint32_t t = 0; t < w->schema.ntables; t++) {
        Buf defaults = {0};
        for (uint32_t c = w->schema.tables[t].ncols; c < w->next.tables[t].ncols; c++)
            buf_put(&defaults, w->next.tables[t].cols[c].value, w->next.tables[t].cols[c].value_len);
        if (defaults.len) {
            model_append_columns(w, t, buf_bytes(&defaults));
            PgTable *pt = &w->pg.tables[t];
            for (uint32_t i = 0; i < pt->n; i++) {
                Buf b = {0};
                buf_put_bytes(&b, pt->rows[i].row);
                buf_put_bytes(&b, buf_bytes(&defaults));
                free((void *)pt->rows[i].row.ptr);
                pt->rows[i].row = own(buf_bytes(&b));
                buf_done(&b);
            }
        }
        buf_done(&defaults);
    }
    w->older[w->nolder++] = w->schema;
    w->schema = w->next;
    module_def_unref(w->def);
    Buf def = {0};
    schema_definition(&w->schema, &def);
    Error err;
    SIM_CHECK(w, module_def_from_bsatn(&w->def, buf_bytes(&def), &err) == S_OK, "%s", err.text);
    buf_done(&def);
}

/* Calls of the old version run while the next one is being prepared, and after that until the pause; its conversions follow them. False:
 * the worker died. */
static bool prepare_beside_calls(World *w)
{
    buf_reset(&w->control_answer);
    for (uint32_t after = 1 + rng_below(&w->rng, 4); after;) {
        host_issue(w);
        for (uint32_t calls = rng_below(&w->rng, 3); calls; calls--)
            host_run_one(w);
        if (rng_chance(&w->rng, 30))
            host_publish(w);
        if (rng_chance(&w->rng, 2)) {
            host_kill(w, rng_chance(&w->rng, 50));
            return false;
        }
        bool more = work(w);
        SIM_CHECK(w, more || w->control_answer.len, "the preparation stops without an answer");
        SIM_CHECK(w, core_accepts_calls(w->core), "a preparation stops the calls");
        after -= w->control_answer.len > 0;
    }
    SIM_CHECK(w, w->control_answer.ptr[sizeof(FrameHeader)] == CTL_PREPARE && w->control_answer.ptr[sizeof(FrameHeader) + 1] == S_OK,
              "PREPARE: %s", control_text(w));
    return true;
}

/* Where the next version's auto-increment columns stand: for the catalog. */
static void take_paused(World *w, i128 sequences[TABLES_MAX][COLUMNS_MAX])
{
    Reader r = reader_of(buf_bytes(&w->control_answer));
    (void)read_raw(&r, sizeof(FrameHeader) + 2);
    uint16_t n = read_u16(&r);
    Bytes parts = read_blob(&r);
    Reader in = reader_of(parts);
    for (uint32_t i = 0; i < n; i++) {
        CommitSequence q;
        Error err;
        SIM_CHECK(w, commit_read_sequence(&in, &q, &err) == S_OK, "%s", err.text);
        for (uint32_t t = 0; t < w->next.ntables; t++)
            if (w->next.tables[t].id == q.table_id)
                sequences[t][q.column] = q.allocated;
    }
    SIM_CHECK(w, read_u32(&r) == 0 && !r.bad, "a migration ran that nobody wrote");
}

void host_republish(World *w)
{
    if (w->nolder + 1 >= VERSIONS_MAX)
        return;
    w->next = w->schema;
    schema_evolve(&w->next, &w->rng);
    Buf b = load_record(w, CTL_PREPARE, &w->next, rng_chance(&w->rng, 10) ? "missing" : "next");
    Status s = control(w, &b);
    w->stats_publishes++;
    SIM_CHECK(w, core_accepts_calls(w->core), "PREPARE stops the calls");
    if (s == S_NOT_FOUND)
        return;
    SIM_CHECK(w, s == S_OK, "PREPARE: %s", control_text(w));
    if (!prepare_beside_calls(w))
        return;
    for (uint32_t tries = rng_below(&w->rng, 2); tries; tries--) { /* a table is locked: the old version goes on, then again */
        buf_put_u8(&b, CTL_PAUSE);
        SIM_CHECK(w, control(w, &b) == S_OK && !core_accepts_calls(w->core), "PAUSE: %s", control_text(w));
        buf_put_u8(&b, CTL_RESUME);
        SIM_CHECK(w, control(w, &b) == S_OK && core_accepts_calls(w->core), "RESUME: %s", control_text(w));
        host_run_one(w);
    }
    i128 sequences[TABLES_MAX][COLUMNS_MAX];
    memcpy(sequences, w->pg.sequences, sizeof sequences);
    buf_put_u8(&b, CTL_PAUSE);
    SIM_CHECK(w, control(w, &b) == S_OK && !core_accepts_calls(w->core), "PAUSE: %s", control_text(w));
    take_paused(w, sequences);
    host_publish(w); /* drain; the materialiser catches up */
    pg_materialise(w, UINT32_MAX);
    uint32_t fate = rng_below(&w->rng, 10);
    if (fate == 0) { /* dies before the DDL is committed */
        host_kill(w, false);
        return;
    }
    if (fate <= 2) { /* the DDL fails */
        buf_put_u8(&b, CTL_ABORT);
        SIM_CHECK(w, control(w, &b) == S_OK && core_accepts_calls(w->core), "ABORT: %s", control_text(w));
        SIM_CHECK(w, w->modules_open == 1 || core_procedures(w->core), "%u modules after an abort", w->modules_open);
        return;
    }
    pg_migrate(w);
    memcpy(w->pg.sequences, sequences, sizeof sequences);
    if (fate == 3) { /* dies before the swap: the new version is what is stored */
        host_kill(w, false);
        return;
    }
    buf_put_u8(&b, CTL_SWAP);
    SIM_CHECK(w, control(w, &b) == S_OK && core_accepts_calls(w->core), "SWAP: %s", control_text(w));
    SIM_CHECK(w, w->modules_open == 1 || core_procedures(w->core), "%u modules after a swap", w->modules_open);
    SIM_CHECK(w, !w->frames.n, "a compatible publish ended a subscription");
}

/* ---- comparing ------------------------------------------------------------------------------- */

void host_compare(World *w, bool caches)
{
    Error err;
    SIM_CHECK(w, engine_check(core_engine(w->core), &err) == S_OK, "%s", err.text);
    txn_begin(core_engine(w->core));
    for (uint32_t t = 0; t < w->schema.ntables; t++) {
        RowBag engine = {0};
        Table *table = engine_table_by_id(core_engine(w->core), w->schema.tables[t].id);
        Cursor cur;
        cursor_all(&cur, table);
        Buf b = {0};
        for (const void *row; (row = cursor_next(&cur)) != NULL;) {
            buf_reset(&b);
            value_encode(&b, w->def->tables[t].row, row);
            bag_add(&engine, 0, buf_bytes(&b));
        }
        buf_done(&b);
        SIM_CHECK(w, bag_equal(&engine, &w->tables[t]), "t%u: engine %u rows, model %u", t, engine.n, w->tables[t].n);
        bag_clear(&engine);
    }
    txn_rollback(core_engine(w->core));
    if (!caches)
        return;
    pg_materialise(w, UINT32_MAX);
    SIM_CHECK(w, w->pg.materialised == core_offset(w->core), "PostgreSQL is at another offset");
    for (uint32_t t = 0; t < w->schema.ntables; t++) {
        RowBag stored = {0};
        size_t skip = w->def->tables[t].pk < 0 ? 8 : 0;
        for (uint32_t i = 0; i < w->pg.tables[t].n; i++) {
            Bytes row = w->pg.tables[t].rows[i].row;
            bag_add(&stored, 0, bytes_of(row.ptr + skip, row.len - skip));
        }
        SIM_CHECK(w, bag_equal(&stored, &w->tables[t]), "t%u: PostgreSQL %u rows, model %u", t, stored.n, w->tables[t].n);
        bag_clear(&stored);
    }
    uint32_t listed = 0;
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) {
        SimClient *c = &w->clients[slot];
        if (c->state == CLIENT_FREE || !c->accepted)
            continue;
        listed += w->schema.lifecycles;
        for (uint32_t i = 0; i < SETS_MAX; i++) {
            SimSet *s = &c->sets[i];
            RowBag fresh = {0};
            for (uint32_t k = 0; s->live && k < s->nqueries; k++) {
                uint32_t t = s->queries[k].table;
                for (uint32_t r = 0; r < w->tables[t].n; r++) {
                    Bytes row = w->tables[t].rows[r];
                    if (query_matches(w, &s->queries[k], row, c->identity))
                        bag_add(&fresh, t, bytes_of(row.ptr, row_prefix(w, t, row, known_ncols(w, c, t))));
                }
            }
            SIM_CHECK(w, !s->live || bag_equal(&fresh, &s->cache), "client %u, set %u: cache %u rows, fresh %u; first query %s", slot,
                      s->id, s->cache.n, fresh.n, s->queries[0].text);
            bag_clear(&fresh);
        }
    }
    SIM_CHECK(w, listed == w->pg.nclients, "PostgreSQL lists %u clients, there are %u", w->pg.nclients, listed);
}

void host_end(World *w)
{
    for (uint32_t i = 0; i < w->ncalls; i++) {
        SimCall *call = w->calls[i];
        SIM_CHECK(w, call->answers == 1 || (call->may_be_silent && !call->answers), "call %u of kind %u was answered %u times", i,
                  call->header.kind, call->answers);
        buf_done(&call->payload);
        bag_clear(&call->rows);
        free(call);
    }
    for (uint32_t i = 0; i < CLIENTS_MAX; i++)
        client_gone(&w->clients[i]);
    core_free(w->core);
    SIM_CHECK(w, w->modules_open == 0, "%u modules were not unloaded", w->modules_open);
    for (uint32_t t = 0; t < TABLES_MAX; t++) {
        for (uint32_t i = 0; i < w->pg.tables[t].n; i++) {
            free((void *)w->pg.tables[t].rows[i].key.ptr);
            free((void *)w->pg.tables[t].rows[i].row.ptr);
        }
        free(w->pg.tables[t].rows);
        bag_clear(&w->tables[t]);
    }
    module_def_unref(w->def);
    free(w->pg.log);
    free(w->pg.clients);
    free(w->journal);
    free(w->calls);
    free(w->queue);
    free(w->run);
    free(w->frames.records);
    free(w->commits.records);
    buf_done(&w->control_answer);
}
