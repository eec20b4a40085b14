/* core_control.c - control records: loading a database, initialising, stopping.
 *
 *   EMPTY --LOAD--> LOADING --ROWS, EXPECT, SEQUENCE, REPLAY--> LOADING --READY--> READY
 *   LOADING --a failure, answered--> FAILED (load records are then ignored; only STOP helps)
 *   READY --> ... a publish, core_publish.c ... --> READY
 *
 * INIT may come in LOADING or READY. */
#include "host/base/fault.h"
#include "host/worker/core_int.h"

/* ---- the schema object ----------------------------------------------------------------------- */

void core_schema_free(CoreSchema *s)
{
    if (!s)
        return;
    plan_done(&s->plan);
    module_def_unref(s->image.def);
    if (s->module)
        s->module->unload(s->module);
    Arena arena = s->arena; /* `s` is in it */
    arena_done(&arena);
}

void core_schema_drop(CoreSchema *s)
{
    if (s && s->users)
        s->dropped = true;
    else
        core_schema_free(s);
}

int32_t schema_find_reducer(const CoreSchema *s, Str name)
{
    for (uint32_t i = (uint32_t)hash_bytes(name.ptr, name.len, hash_process_seed);; i++) {
        uint32_t at = s->reducer_slots[i & s->reducer_mask];
        if (!at)
            return -1;
        if (str_eq(s->image.def->reducers[at - 1].name, name))
            return (int32_t)at - 1;
    }
}

static void schema_hash_reducers(CoreSchema *s)
{
    uint32_t slots = 8;
    while (slots < 2 * s->image.def->nreducers)
        slots *= 2;
    s->reducer_mask = slots - 1;
    s->reducer_slots = ARENA_ARRAY(&s->arena, uint32_t, slots);
    for (uint32_t r = 0; r < s->image.def->nreducers; r++) {
        Str name = s->image.def->reducers[r].name;
        uint32_t i = (uint32_t)hash_bytes(name.ptr, name.len, hash_process_seed);
        while (s->reducer_slots[i & s->reducer_mask])
            i++;
        s->reducer_slots[i & s->reducer_mask] = r + 1;
    }
}

/* Room for st_db.item: for each record of the module its table's definition; schema_bind finds the tables. */
static Status schema_make_items(CoreSchema *s, Error *err)
{
    const ModuleDef *def = s->image.def;
    s->tables = ARENA_ARRAY(&s->arena, CoreTable, def->ntables + 1);
    for (uint32_t i = 0; i < def->ntables; i++) {
        const TableDef *t = &def->tables[i];
        bool *unique = ARENA_ARRAY(&s->arena, bool, t->ncols + 1);
        for (uint32_t k = 0; k < t->nconstraints; k++)
            if (t->constraints[k].ncols == 1)
                unique[t->constraints[k].cols[0]] = true;
        if (t->pk >= 0)
            unique[t->pk] = true;
        int32_t reducer = t->schedule && s->module ? schema_find_reducer(s, t->schedule->function) : -1;
        int32_t procedure = t->schedule && s->module && s->module->call_procedure ? schema_find_procedure(s, t->schedule->function) : -1;
        bool runs = reducer >= 0 || procedure >= 0;
        s->tables[i] = (CoreTable){.def = t, .unique = unique, .runs = runs, .reducer = reducer, .procedure = procedure};
        s->nscheduled += runs;
    }
    const Module *m = s->module;
    s->nitems = !m ? 0 : m->items ? m->nitems : def->ntables;
    s->items = ARENA_ARRAY(&s->arena, void *, s->nitems + 1);
    for (uint32_t i = 0; m && i < s->nitems; i++) {
        if (!m->items) {
            s->items[i] = &s->tables[i];
            continue;
        }
        if (m->items[i]->kind != ST_ITEM_TABLE)
            continue;
        const TableDef *t = module_def_table(def, str_of(m->items[i]->name));
        if (!t)
            return FAIL(err, S_INVALID, "the module has a table record `%s` that its definition does not have", m->items[i]->name);
        s->items[i] = &s->tables[t - def->tables];
    }
    return S_OK;
}

/* The engine holds this schema now. */
void schema_bind(CoreSchema *s, Engine *e)
{
    for (uint32_t i = 0; i < s->image.def->ntables; i++)
        s->tables[i].table = engine_table(e, i);
}

/* Read a LOAD payload and open what it names. */
Status schema_open(CoreSchema **ret, Core *c, Reader *in, Error *err)
{
    Arena arena = {0};
    CoreSchema *s = ARENA_NEW(&arena, CoreSchema);
    s->arena = arena; /* moved: from here on s->arena is the one in use */
    Status status = S_INVALID;

    s->image.version = read_u32(in);
    Str path = read_str(in);
    Bytes definition = read_blob(in);
    const uint8_t *database = read_raw(in, 32), *owner = read_raw(in, 32);
    if (in->bad) {
        (void)FAIL(err, S_INVALID, "LOAD record is cut short");
        goto fail;
    }
    memcpy(s->database, database, 32);
    memcpy(s->owner, owner, 32);
    if (path.len) {
        if (strcmp(fault_at("worker.dlopen"), "error") == 0) {
            status = FAIL(err, S_INTERNAL, "fault worker.dlopen");
            goto fail;
        }
        status = c->env.open_module(c->env.user, path, &s->module, err);
        if (status != S_OK)
            goto fail;
        if (!bytes_eq(s->module->definition, definition)) {
            status = FAIL(err, S_INVALID, "module %.*s declares another definition than the catalog has for it", STR_FMT(path));
            goto fail;
        }
        s->image.def = module_def_ref(s->module->def);
    } else if (definition.len) {
        status = module_def_from_bsatn(&s->image.def, definition, err);
        if (status != S_OK)
            goto fail;
    } else {
        s->image.def = module_def_empty();
    }
    const ModuleDef *def = s->image.def;
    status = S_INVALID;

    uint32_t *ids = ARENA_ARRAY(&s->arena, uint32_t, def->ntables + 1);
    s->image.ids = ids;
    for (uint32_t n = read_u32(in), i = 0; i < n && !in->bad; i++) {
        Str name = read_str(in);
        uint32_t id = read_u32(in);
        const TableDef *t = in->bad ? NULL : module_def_table(def, name);
        if (t)
            ids[t - def->tables] = id;
    }
    for (uint32_t i = 0; i < def->ntables; i++) {
        if (!ids[i]) {
            (void)FAIL(err, S_INVALID, "LOAD record gives no id for table `%.*s`", STR_FMT(def->tables[i].name));
            goto fail;
        }
    }
    s->since = ARENA_ARRAY(&s->arena, uint32_t, def->nreducers + 1);
    s->procedure_since = ARENA_ARRAY(&s->arena, uint32_t, def->nprocedures + 1);
    schema_hash_reducers(s);
    for (uint32_t n = read_u32(in), i = 0; i < n && !in->bad; i++) {
        Str name = read_str(in);
        uint32_t since = read_u32(in);
        int32_t r = in->bad ? -1 : schema_find_reducer(s, name), p = in->bad || r >= 0 ? -1 : schema_find_procedure(s, name);
        if (r >= 0)
            s->since[r] = since;
        else if (p >= 0)
            s->procedure_since[p] = since;
    }
    s->nversions = read_u32(in);
    if (in->bad || s->nversions > reader_left(in) / 8) {
        (void)FAIL(err, S_INVALID, "LOAD record is cut short");
        goto fail;
    }
    VersionShape *versions = ARENA_ARRAY(&s->arena, VersionShape, s->nversions + 1);
    s->versions = versions;
    for (uint32_t i = 0; i < s->nversions; i++) {
        versions[i].version = read_u32(in);
        uint32_t n = read_u32(in);
        if (in->bad || n > reader_left(in) / 6) {
            (void)FAIL(err, S_INVALID, "LOAD record is cut short");
            goto fail;
        }
        TableShape *shapes = ARENA_ARRAY(&s->arena, TableShape, n + 1);
        for (uint32_t k = 0; k < n; k++) {
            shapes[k].table_id = read_u32(in);
            shapes[k].ncols = read_u16(in);
        }
        versions[i].nshapes = n;
        versions[i].shapes = shapes;
    }
    for (uint32_t which = 0; which < LIFECYCLE_NONE; which++)
        s->lifecycle[which] = s->module ? module_def_lifecycle(def, (Lifecycle)which) : -1;
    status = schema_make_items(s, err);
    if (status != S_OK)
        goto fail;
    *ret = s;
    return S_OK;
fail:
    core_schema_free(s);
    return status;
}

/* ---- answers --------------------------------------------------------------------------------- */

Buf *control_begin(Core *c, ControlKind kind, Status status)
{
    static const CallHeader nobody;
    Buf *f = frame_begin(c, FRAME_CONTROL, &nobody, 0);
    buf_put_u8(f, (uint8_t)kind);
    buf_put_u8(f, (uint8_t)status);
    return f;
}

void control_answer(Core *c, ControlKind kind, Status status, const Error *err)
{
    Buf *f = control_begin(c, kind, status);
    if (status != S_OK)
        buf_put_str(f, str_of(err->text));
    frame_send(c);
}

/* ---- loading --------------------------------------------------------------------------------- */

/* R39: what a rule says must hold for this module's tables. All that is wrong, in one text. */
static Status check_rules(ModuleDef *def, Error *err)
{
    if (!def->nrls)
        return S_OK;
    OWN(arena) Arena arena = {0};
    OWN(buf) Buf wrong = {0};
    const EngineLimits none = {0};
    uint32_t *ids = ARENA_ARRAY(&arena, uint32_t, def->ntables + 1);
    for (uint32_t i = 0; i < def->ntables; i++)
        ids[i] = i + 1;
    const SchemaImage image = {def, 1, ids};
    Engine *e = engine_new(&none);
    engine_set_schema(e, &image);
    for (uint32_t i = 0; i < def->nrls; i++) {
        Error why = {0};
        if (query_check_rule(e, def->rls[i].sql, &why) != S_OK)
            buf_printf(&wrong, "%srow level security rule `%.*s`: %s", wrong.len ? "\n" : "", (int)MIN(def->rls[i].sql.len, (size_t)200),
                       def->rls[i].sql.ptr, why.text);
    }
    engine_free(e);
    return wrong.len ? FAIL(err, S_INVALID, "%s", buf_cstr(&wrong)) : S_OK;
}

static Status describe(Core *c, Reader *in, Error *err)
{
    Str path = read_str(in);
    Module *m;
    if (in->bad)
        return FAIL(err, S_INVALID, "DESCRIBE record is cut short");
    FAULT_POINT("worker.describe", err);
    TRY(c->env.open_module(c->env.user, path, &m, err));
    Status status = check_rules(m->def, err);
    if (status != S_OK) {
        m->unload(m);
        return status;
    }
    Buf *f = control_begin(c, CTL_DESCRIBE, S_OK);
    buf_put_str(f, m->name);
    buf_put_str(f, m->version);
    buf_put_blob(f, m->definition);
    OWN(buf) Buf migrations = {0};
    migrations_write(&migrations, &m->migrations);
    buf_put_blob(f, buf_bytes(&migrations));
    frame_send(c);
    m->unload(m);
    return S_OK;
}

static Status load(Core *c, Reader *in, Error *err)
{
    if (c->state != CORE_EMPTY)
        return FAIL(err, S_INVALID, "LOAD: this worker holds a database already");
    TRY(schema_open(&c->schema, c, in, err));
    c->engine = engine_new(&c->limits);
    engine_set_schema(c->engine, &c->schema->image);
    schema_bind(c->schema, c->engine);
    c->subs = subs_new(c->engine);
    core_views_load(c);
    c->state = CORE_LOADING;
    return S_OK;
}

static Status load_table(Core *c, Reader *in, Table **ret, Error *err)
{
    uint32_t id = read_u32(in);
    *ret = in->bad ? NULL : engine_table_by_id(c->engine, id);
    return *ret ? S_OK : FAIL(err, S_INVALID, "load: no table has the id %u", id);
}

static Status load_rows(Core *c, Reader *in, Error *err)
{
    Table *t;
    TRY(load_table(c, in, &t, err));
    uint32_t n = read_u32(in);
    for (uint32_t i = 0; i < n; i++)
        TRY(table_load_row(t, in, err));
    if (in->bad || reader_left(in))
        return FAIL(err, S_INVALID, "ROWS record of table `%.*s`: the length does not fit its %u rows", STR_FMT(table_def(t)->name), n);
    return S_OK;
}

static Status load_sequence(Core *c, Reader *in, Error *err)
{
    CommitSequence s;
    s.table_id = read_u32(in);
    s.column = read_u16(in);
    const uint8_t *allocated = read_raw(in, sizeof s.allocated);
    if (!allocated)
        return FAIL(err, S_INVALID, "SEQUENCE record is cut short");
    memcpy(&s.allocated, allocated, sizeof s.allocated);
    engine_load_sequence(c->engine, &s);
    return S_OK;
}

static Status replay(Core *c, Reader *in, Error *err)
{
    Bytes record = bytes_of(in->ptr, reader_left(in));
    CommitHeader h;
    Reader r = reader_of(record);
    TRY(commit_read_header(&r, &h, err));
    if (h.schema_version != c->schema->image.version)
        return FAIL(err, S_INVALID, "replay: record %llu is of schema version %u, the module of %u", (unsigned long long)h.offset,
                    h.schema_version, c->schema->image.version);
    if (c->replayed && h.offset != c->offset + 1)
        return FAIL(err, S_INVALID, "replay: record %llu follows record %llu", (unsigned long long)h.offset, (unsigned long long)c->offset);
    TRY(engine_apply_record(c->engine, record, err));
    c->offset = h.offset;
    c->replayed = true;
    return S_OK;
}

static Status ready(Core *c, Reader *in, Error *err)
{
    uint64_t offset = read_u64(in);
    if (in->bad)
        return FAIL(err, S_INVALID, "READY record is cut short");
    if (c->replayed && offset != c->offset)
        return FAIL(err, S_INVALID, "READY says offset %llu, the last record was %llu", (unsigned long long)offset,
                    (unsigned long long)c->offset);
    c->offset = offset;
    c->state = CORE_READY;
    arena_reset(&c->arena);
    schedule_rebuild(c, NULL, NULL);
    uint64_t rows = 0;
    for (uint32_t i = 0; i < c->schema->image.def->ntables; i++)
        rows += table_count(c->schema->tables[i].table);
    Buf *f = control_begin(c, CTL_READY, S_OK);
    buf_put_u64(f, rows);
    frame_send(c);
    return S_OK;
}

static void answer_init(Core *c, const Leaving *l)
{
    (void)l;
    control_answer(c, CTL_INIT, S_OK, NULL);
}

static Status init(Core *c, Reader *in, Error *err)
{
    const uint8_t *owner = read_raw(in, 32);
    int64_t timestamp_us = read_i64(in);
    if (in->bad || (c->state != CORE_LOADING && c->state != CORE_READY))
        return FAIL(err, S_INVALID, "INIT without a loaded module");
    int32_t id = c->schema->lifecycle[LIFECYCLE_INIT];
    if (id < 0) {
        control_answer(c, CTL_INIT, S_OK, NULL);
        return S_OK;
    }
    Client caller = {.owner = true};
    memcpy(caller.identity, owner, 32);
    Str text;
    Status status = S_OK;
    arena_reset(&c->arena);
    FAULT_POINT("worker.init", err);
    c->env.in_module(c->env.user, CALL_SEQ_CONTROL);
    if (core_run_reducer(c, (uint32_t)id, NULL, &caller, ST_ORIGIN_LIFECYCLE, 0, timestamp_us, &text) != RUN_OK) {
        status = FAIL(err, S_INVALID, "%.*s", STR_FMT(text));
    } else {
        Leaving leaving = {.timestamp_us = timestamp_us, .answer = answer_init};
        status = core_leave(c, &leaving, err);
    }
    c->env.in_module(c->env.user, 0);
    return status;
}

/* ---- the step -------------------------------------------------------------------------------- */

bool core_control(Core *c, Bytes record)
{
    Reader in = reader_of(record);
    ControlKind kind = read_u8(&in);
    Error err = {0};
    Status s = S_OK;
    bool load_step = kind == CTL_ROWS || kind == CTL_EXPECT || kind == CTL_SEQUENCE || kind == CTL_REPLAY || kind == CTL_READY;
    if (load_step && c->state == CORE_FAILED)
        return true; /* the failure has been answered */
    if (load_step && c->state != CORE_LOADING)
        BUG("control record %u in state %u", kind, c->state);

    switch (kind) {
    case CTL_STOP: return false;
    case CTL_LIMITS:
        c->limits.database_bytes_max = read_u64(&in);
        c->limits.txn_bytes_max = read_u64(&in);
        c->limits.txn_rows_max = read_u64(&in);
        return true;
    case CTL_EXPECT: {
        Table *t;
        s = load_table(c, &in, &t, &err);
        if (s == S_OK)
            table_load_expect(t, read_u64(&in));
        break;
    }
    case CTL_ROWS: s = load_rows(c, &in, &err); break;
    case CTL_SEQUENCE: s = load_sequence(c, &in, &err); break;
    case CTL_REPLAY: s = replay(c, &in, &err); break;
    case CTL_READY: s = ready(c, &in, &err); break;
    case CTL_DESCRIBE: s = describe(c, &in, &err); break;
    case CTL_INIT: s = init(c, &in, &err); break;
    case CTL_PREPARE:
    case CTL_PAUSE:
    case CTL_EXPORT:
    case CTL_RESUME:
    case CTL_SWAP:
    case CTL_ABORT: s = core_publish_control(c, kind, &in, &err); break;
    case CTL_DUE_DIED: {
        CoreDue due = {.table = read_u32(&in)};
        due.key = read_u64(&in);
        due.tag = read_u8(&in);
        due.us = read_i64(&in);
        if (!in.bad && c->state == CORE_READY)
            schedule_died(c, &due);
        return true;
    }
    case CTL_FAULT: fault_line(read_str(&in)); return true;
    case CTL_LOAD:
        s = load(c, &in, &err);
        if (s == S_OK)
            control_answer(c, kind, S_OK, NULL);
        else if (c->state == CORE_EMPTY)
            c->state = CORE_FAILED;
        break;
    default: BUG("control record of kind %u", kind);
    }
    if (s != S_OK) {
        if (load_step)
            c->state = CORE_FAILED;
        control_answer(c, kind, s, &err);
    }
    return true;
}
