/* core_publish.c - the next version beside the running one.
 *
 *   READY --PREPARE--> PREPARING --core_work...--> PREPARED --PAUSE--> PAUSED --SWAP--> READY
 *                          |                        ^ |                 | |
 *                          |                        | +--------<--------+ |     RESUME: calls of the old version go on
 *                          +--a failure, ABORT------+----------ABORT------+--> READY
 *
 * In PREPARING and PREPARED calls run, and what they change is converted again (engine.h). PAUSED begins with the functions of the
 * pending migrations, which write the next tables only; whatever fails, the version in force has not been touched. Everything that a swap
 * needs is there before it, so that the swap itself only assigns.
 *
 * Code of the next version that runs before the swap: conversions (any time from PREPARE on, also while a call of the old version
 * commits) and migrations' functions (in PAUSE). Both have a call record of their own, `migration_call`. */
#include "host/base/fault.h"
#include "host/worker/core_int.h"

enum {
    SLICE_ROWS = 512, /* of core_work: about a tenth of a millisecond for plain rows */
    REAP_ROWS = 4096,
    EXPORT_BYTES = 1 << 20,
};

/* ---- code of the next version ---------------------------------------------------------------- */

typedef struct Conversion {
    Core *core;
    CoreSchema *schema;
    const MigrationOp *op;
    const TableDef *table;
    const ColumnDef *column;
} Conversion;

/* A context without tables: a conversion sees one value. */
static const CoreSchema no_tables;

/* Alone in its function, so that no local of the caller lives across the jump. */
static __attribute__((noinline)) st_status enter_migration(Core *c, CoreSchema *s, const MigrationOp *op, const void *from, void *to)
{
    st_status status = ST_E_ABORTED;
    c->running = &c->migration_call;
    if (_setjmp(c->migration_call.edge) == 0)
        status = s->module->call_migration(s->module, op->version, op->position, &c->migration_call.ctx, from, to);
    c->running = NULL;
    return status;
}

static st_call *migration_begin(Core *c, CoreSchema *s, const CoreSchema *records, const MigrationOp *op)
{
    st_call *call = &c->migration_call;
    int64_t now_us = c->env.clock_us(c->env.user);
    api_begin(call, c, records, op->a, CALL_SEQ_CONTROL, now_us);
    call->ctx = (st_reducer_ctx){.api = &api_table, .call = call, .db = &call->db, .timestamp = {now_us}, .origin = ST_ORIGIN_LIFECYCLE};
    memcpy(call->ctx.sender.b, s->owner, 32);
    memcpy(call->ctx.database.b, s->database, 32);
    return call;
}

/* What a run that did not succeed said. */
static Str migration_text(Core *c, st_status status)
{
    st_call *call = &c->migration_call;
    Str text = call->doomed     ? (Str){call->doom_text, call->doom_len}
               : call->fail_len ? (Str){call->fail_text, call->fail_len}
               : status == call->last_status && status != ST_OK
                   ? str_of(call->err.text)
                   : str_of(arena_sprintf(&c->arena, "it failed with status %d and no text", (int)status));
    buf_reset(&c->text);
    text_append_clean(&c->text, text, 700);
    return buf_str(&c->text);
}

static Status convert_value(void *user, const void *from, void *to, Arena *arena, Error *err)
{
    (void)arena; /* what the function allocates lives in the call's scratch memory, until the engine has copied it */
    const Conversion *v = user;
    Core *c = v->core;
    st_call *call = migration_begin(c, v->schema, &no_tables, v->op);
    st_status status = enter_migration(c, v->schema, v->op, from, to);
    if (LIKELY(status == ST_OK && !call->doomed) && LIKELY(value_check(v->column->type, to, err) == S_OK))
        return S_OK;
    Str text = status == ST_OK && !call->doomed ? str_of(err->text) : migration_text(c, status);
    OWN(buf) Buf said = {0};
    buf_put_str_raw(&said, text);
    return FAIL(err, S_INVALID, "migration %u, the conversion of column `%.*s`: %.*s", v->op->version, STR_FMT(v->column->name),
                STR_FMT(buf_str(&said)));
}

/* ---- preparing ------------------------------------------------------------------------------- */

static uint32_t id_of(const SchemaImage *image, const TableDef *t) { return image->ids[t - image->def->tables]; }

/* Where each table's rows come from, for the engine: what the plan says, in its terms. */
static const EngineTableSource *make_sources(Core *c, CoreSchema *next)
{
    const ModuleDef *def = next->image.def;
    EngineTableSource *sources = ARENA_ARRAY(&next->arena, EngineTableSource, def->ntables + 1);
    for (uint32_t i = 0; i < def->ntables; i++) {
        const TableSource *from = &next->plan.sources[i];
        sources[i].copy = next->plan.runs; /* the functions may write any table */
        if (!from->old || !from->columns)
            continue;
        EngineColumnSource *columns = ARENA_ARRAY(&next->arena, EngineColumnSource, def->tables[i].ncols + 1);
        for (uint16_t k = 0; k < def->tables[i].ncols; k++) {
            columns[k].from = from->columns[k].from;
            if (!from->columns[k].op)
                continue;
            Conversion *v = ARENA_NEW(&next->arena, Conversion);
            *v = (Conversion){c, next, from->columns[k].op, &def->tables[i], &def->tables[i].cols[k]};
            columns[k].convert = convert_value;
            columns[k].user = v;
        }
        sources[i].old_id = id_of(&c->schema->image, from->old);
        sources[i].columns = columns;
    }
    return sources;
}

/* Do the ids that the host gave agree with the plan? */
static Status check_ids(const Core *c, const CoreSchema *next, Error *err)
{
    const ModuleDef *def = next->image.def;
    for (uint32_t i = 0; i < def->ntables; i++) {
        const TableDef *old = next->plan.sources[i].old;
        const TableDef *holder = schema_image_table(&c->schema->image, next->image.ids[i]);
        if (holder != old)
            return FAIL(err, S_INVALID, "PREPARE gives table `%.*s` the id %u, which is not that of the table it goes on from",
                        STR_FMT(def->tables[i].name), next->image.ids[i]);
    }
    return S_OK;
}

static bool is_pending(const Migrations *pending, uint32_t version)
{
    for (uint32_t i = 0; i < pending->n; i++)
        if (pending->list[i].version == version)
            return true;
    return false;
}

/* The tables that pending migrations read are there, in the shape that the module expects. */
static Status check_old_tables(const Core *c, const CoreSchema *next, Error *err)
{
    const Module *m = next->module;
    for (uint32_t i = 0; m && i < m->nold_tables; i++) {
        const ModuleOldTable *t = &m->old_tables[i];
        if (!is_pending(&next->pending, t->version))
            continue;
        const TableDef *old = module_def_table(c->schema->image.def, t->table);
        if (old && type_equal(old->row, t->row))
            continue;
        OWN(buf) Buf want = buf_with_max(300);
        OWN(buf) Buf have = buf_with_max(300);
        Type open = *t->row;
        open.name = (Str){0};
        type_name(&want, &open);
        if (old) {
            open = *old->row;
            open.name = (Str){0};
            type_name(&have, &open);
        }
        return FAIL(
            err, S_INVALID,
            "migration %u reads table `%.*s` as %.*s, but the database has %s%.*s; correct the ST_OLD_TABLE, or publish the versions "
            "in between first",
            t->version, STR_FMT(t->table), STR_FMT(buf_str(&want)), old ? "" : "no such table", STR_FMT(buf_str(&have)));
    }
    return S_OK;
}

static void drop_next(Core *c)
{
    if (c->next_engine) {
        engine_discard(TAKE(c->next_engine));
        c->leftovers = true;
    }
    core_schema_free(TAKE(c->next_schema));
    c->migrated = false;
    buf_reset(&c->changed_tables);
}

void core_publish_free(Core *c) { drop_next(c); }

static Status prepare(Core *c, Reader *in, Error *err)
{
    if (c->state != CORE_READY)
        return FAIL(err, S_INVALID, c->state >= CORE_PREPARING ? "PREPARE: a publish is prepared already" : "PREPARE before READY");
    CoreSchema *next;
    TRY(schema_open(&next, c, in, err));
    c->next_schema = next;
    next->migration = read_u32(in);
    if (in->bad) {
        drop_next(c);
        return FAIL(err, S_INVALID, "PREPARE record is cut short");
    }
    if (next->module)
        next->pending = migrations_pending(&next->module->migrations, next->migration);
    plan_make(&next->plan, c->schema->image.def, next->image.def, &next->pending);
    Status status = S_OK;
    if (next->plan.forbidden.len)
        status = FAIL(err, S_INVALID, "the plan is refused: %.*s", (int)MIN(next->plan.forbidden.len, (size_t)700),
                      (const char *)next->plan.forbidden.ptr);
    if (status == S_OK)
        status = check_ids(c, next, err);
    if (status == S_OK)
        status = check_old_tables(c, next, err);
    if (status == S_OK)
        status = engine_prepare_begin(&c->next_engine, c->engine, &next->image, make_sources(c, next), err);
    if (status != S_OK) {
        drop_next(c);
        return status;
    }
    c->state = CORE_PREPARING;
    return S_OK;
}

static Status prepare_slice(Core *c, bool *ret_done, Error *err)
{
    FAULT_POINT("worker.prepare", err);
    c->env.in_module(c->env.user, CALL_SEQ_CONTROL);
    arena_reset(&c->arena);
    Status status = engine_prepare_step(c->next_engine, c->env.slice_rows ? c->env.slice_rows : SLICE_ROWS, ret_done, err);
    c->env.in_module(c->env.user, 0);
    return status;
}

bool core_work(Core *c)
{
    bool more = procedures_work(c);
    if (c->state == CORE_PREPARING) {
        Error err = {0};
        bool done = false;
        Status status = prepare_slice(c, &done, &err);
        if (status == S_OK && !done)
            return true;
        c->state = status == S_OK ? CORE_PREPARED : CORE_READY;
        if (status != S_OK)
            drop_next(c);
        control_answer(c, CTL_PREPARE, status, &err);
    }
    more |= views_evict(c->views);
    /* A preparation that follows needs its time for the calls: leftovers wait. */
    if (c->leftovers && c->state == CORE_READY)
        c->leftovers = engine_reap(c->engine, c->env.slice_rows ? c->env.slice_rows : REAP_ROWS);
    return more || (c->leftovers && c->state == CORE_READY);
}

/* ---- pausing: migrations' functions ---------------------------------------------------------- */

/* The records of the next version: its own tables as they will be, and those that ST_OLD_TABLE names as they are. */
static void bind_for_migration(Core *c, CoreSchema *next, Engine *lent)
{
    schema_bind(next, lent);
    const Module *m = next->module;
    for (uint32_t i = 0; i < m->nold_tables; i++) {
        const TableDef *old = module_def_table(c->schema->image.def, m->old_tables[i].table);
        if (is_pending(&next->pending, m->old_tables[i].version) && old)
            next->items[m->old_tables[i].item] = &c->schema->tables[old - c->schema->image.def->tables];
    }
}

static void unbind_after_migration(CoreSchema *next)
{
    for (uint32_t i = 0; i < next->module->nold_tables; i++)
        next->items[next->module->old_tables[i].item] = NULL;
}

static Status run_function(Core *c, CoreSchema *next, const MigrationOp *op, Error *err)
{
    st_call *call = migration_begin(c, next, next, op);
    call->migrating = true;
    core_log(c, ST_LOG_INFO, 0, op->a, STR(""),
             str_of(arena_sprintf(&c->arena, "migration %u: running `%.*s`", op->version, STR_FMT(op->a))));
    st_status status = enter_migration(c, next, op, NULL, NULL);
    if (status == ST_OK && !call->doomed)
        return S_OK;
    Str text = migration_text(c, status);
    core_log(c, ST_LOG_ERROR, 0, op->a, STR(""), text);
    return FAIL(err, S_INVALID, "migration %u, function `%.*s`: %.*s", op->version, STR_FMT(op->a), STR_FMT(text));
}

/* All functions of all pending migrations in one transaction over the next tables. */
static Status run_functions(Core *c, Error *err)
{
    CoreSchema *next = c->next_schema;
    Engine *lent = engine_next_lend(c->next_engine);
    bind_for_migration(c, next, lent);
    arena_reset(&c->arena);
    buf_reset(&c->changed_tables);
    txn_begin(lent);
    Status status = S_OK;
    for (uint32_t i = 0; i < next->pending.n && status == S_OK; i++)
        for (uint32_t k = 0; k < next->pending.list[i].nops && status == S_OK; k++)
            if (next->pending.list[i].ops[k].kind == MIGRATE_RUN)
                status = run_function(c, next, &next->pending.list[i].ops[k], err);
    if (status == S_OK) {
        uint32_t n;
        const TableChange *changes = txn_changes(lent, &n);
        for (uint32_t i = 0; i < n; i++)
            if (!table_def(changes[i].table)->is_event)
                buf_put_u32(&c->changed_tables, table_id(changes[i].table));
        txn_commit(lent);
    } else {
        txn_rollback(lent);
    }
    unbind_after_migration(next);
    engine_next_unlend(c->next_engine);
    return status;
}

static void answer_paused(Core *c)
{
    buf_reset(&c->scratch);
    uint16_t nsequences = 0;
    engine_next_sequences(c->next_engine, &c->scratch, &nsequences);
    Buf *f = control_begin(c, CTL_PAUSE, S_OK);
    buf_put_u16(f, nsequences);
    buf_put_blob(f, buf_bytes(&c->scratch));
    buf_put_u32(f, (uint32_t)(c->changed_tables.len / 4));
    buf_put_bytes(f, buf_bytes(&c->changed_tables));
    frame_send(c);
}

static Status pause_calls(Core *c, Error *err)
{
    if (c->state != CORE_PREPARED)
        return FAIL(err, S_INVALID, "PAUSE without a prepared publish");
    FAULT_POINT("worker.pause", err);
    TRY(engine_next_status(c->next_engine, err));
    if (c->next_schema->plan.runs) {
        if (c->migrated)
            return FAIL(err, S_INTERNAL, "PAUSE: the migrations' functions have run on this preparation already");
        TRY(run_functions(c, err));
        c->migrated = true;
    }
    TRY(core_views_try(c, err));
    c->state = CORE_PAUSED;
    answer_paused(c);
    return S_OK;
}

static Status resume_calls(Core *c, Error *err)
{
    if (c->state != CORE_PAUSED || c->migrated) /* what functions have written cannot be followed */
        return FAIL(err, S_INVALID, "RESUME without a paused publish that can be paused again");
    c->state = CORE_PREPARED;
    control_answer(c, CTL_RESUME, S_OK, NULL);
    return S_OK;
}

/* ---- handing rows to storage ----------------------------------------------------------------- */

static Status export_rows(Core *c, Reader *in, Error *err)
{
    uint32_t id = read_u32(in);
    uint64_t cursor = read_u64(in);
    if (in->bad || c->state != CORE_PAUSED)
        return FAIL(err, S_INVALID, "EXPORT without a paused publish");
    FAULT_POINT("worker.export", err);
    const SchemaImage *image = &c->next_schema->image;
    uint32_t at = 0;
    while (at < image->def->ntables && image->ids[at] != id)
        at++;
    if (at == image->def->ntables)
        return FAIL(err, S_INVALID, "EXPORT: the next version has no table with the id %u", id);
    buf_reset(&c->scratch);
    uint32_t nrows = 0;
    engine_next_export(c->next_engine, at, &cursor, EXPORT_BYTES, &c->scratch, &nrows);
    Buf *f = control_begin(c, CTL_EXPORT, S_OK);
    buf_put_u64(f, cursor);
    buf_put_u32(f, nrows);
    buf_put_bytes(f, buf_bytes(&c->scratch));
    frame_send(c);
    return S_OK;
}

/* ---- the swap -------------------------------------------------------------------------------- */

static Status swap(Core *c, Error *err)
{
    if (c->state != CORE_PAUSED)
        return FAIL(err, S_INVALID, "SWAP without a paused publish");
    FAULT_POINT("worker.swap", err);
    CoreSchema *old = c->schema;
    arena_reset(&c->arena);
    uint32_t ntables = c->next_schema->image.def->ntables;
    bool *carried = ARENA_ARRAY(&c->arena, bool, ntables + 1);
    for (uint32_t i = 0; i < ntables; i++)
        carried[i] = !engine_next_is_copy(c->next_engine, i);
    engine_swap(c->engine, TAKE(c->next_engine));
    c->schema = TAKE(c->next_schema);
    plan_done(&c->schema->plan); /* it borrows from the definition that goes */
    schema_bind(c->schema, c->engine);
    schedule_rebuild(c, &old->image, carried);
    views_set_schema(c->views, &c->schema->image);
    uint32_t nfailures;
    const UpdateFailure *failures;
    subs_schema_changed(c->subs, &nfailures, &failures);
    c->state = CORE_READY;
    c->migrated = false;
    c->leftovers = true;
    buf_reset(&c->changed_tables);
    send_subscription_failures(c, 0, nfailures, failures);
    core_views_swapped(c);
    control_answer(c, CTL_SWAP, S_OK, NULL);
    core_schema_drop(old);
    return S_OK;
}

static void abort_publish(Core *c)
{
    if (c->state >= CORE_PREPARING) {
        drop_next(c);
        c->state = CORE_READY;
    }
    control_answer(c, CTL_ABORT, S_OK, NULL);
}

Status core_publish_control(Core *c, ControlKind kind, Reader *in, Error *err)
{
    switch (kind) {
    case CTL_PREPARE: return prepare(c, in, err);
    case CTL_PAUSE: return pause_calls(c, err);
    case CTL_EXPORT: return export_rows(c, in, err);
    case CTL_RESUME: return resume_calls(c, err);
    case CTL_SWAP: return swap(c, err);
    case CTL_ABORT: abort_publish(c); return S_OK;
    default: BUG("control record %u is none of a publish", kind);
    }
}
