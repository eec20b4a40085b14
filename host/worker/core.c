/* core.c - the calls: who may call what, running a reducer, SQL of HTTP clients; procedures are in core_procedure.c. */
#include "host/worker/core_int.h"

/* ---- life ------------------------------------------------------------------------------------ */

Core *core_new(const CoreEnv *env)
{
    Core *c = NEW(Core);
    c->env = *env;
    c->limits = env->limits;
    if (!c->env.call_bytes_max)
        c->env.call_bytes_max = CALL_SCRATCH_BYTES;
    c->record.max = COMMIT_BYTES_MAX;
    procedures_init(c);
    return c;
}

void core_free(Core *c)
{
    if (!c)
        return;
    procedures_end(c);
    if (c->engine && txn_active(c->engine))
        txn_rollback(c->engine);
    core_publish_free(c);
    if (c->subs)
        subs_free(c->subs);
    views_free(c->views);
    if (c->engine)
        engine_free(c->engine);
    core_schema_free(c->schema);
    schedule_free(&c->schedule);
    arena_done(&c->arena);
    arena_done(&c->view_arena);
    buf_done(&c->frame);
    buf_done(&c->record);
    buf_done(&c->scratch);
    buf_done(&c->text);
    buf_done(&c->log);
    buf_done(&c->changed_tables);
    free(c->cuts);
    free(c->parts);
    free(c->renumber);
    for (uint32_t i = 0; i < c->nclients; i++)
        client_clear(&c->clients[i]);
    free(c->clients);
    free(c);
}

bool core_accepts_calls(const Core *c) { return c->state == CORE_READY || c->state == CORE_PREPARING || c->state == CORE_PREPARED; }
Engine *core_engine(Core *c) { return c->engine; }
uint64_t core_offset(const Core *c) { return c->offset; }

/* ---- running module code --------------------------------------------------------------------- */

/* Alone in its function, so that no local of the caller lives across the jump. */
static __attribute__((noinline)) st_status enter_module(Core *c, uint32_t id, const void *args)
{
    st_status status = ST_E_ABORTED;
    c->running = &c->call;
    if (_setjmp(c->call.edge) == 0)
        status = c->schema->module->call_reducer(c->schema->module, id, &c->call.ctx, args);
    c->running = NULL;
    return status;
}

bool core_is_cancelled(const Core *c)
{
    return c->env.cancel && atomic_load_explicit(c->env.cancel, memory_order_relaxed) != 0 &&
           atomic_load_explicit(c->env.cancel, memory_order_relaxed) == atomic_load_explicit(c->env.since, memory_order_relaxed);
}

void core_cancel_here(Core *c)
{
    st_call *call = c->running;
    if (call && core_is_cancelled(c))
        api_cancel(call);
}

static bool all_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i])
            return false;
    return true;
}

/* Why a run that did not succeed failed: cleaned text in c->text, logged under the reducer's name. */
static RunResult run_failed(Core *c, Str name, st_status status, Str *ret_text)
{
    st_call *call = &c->call;
    Str text;
    if (call->doomed)
        text = (Str){call->doom_text, call->doom_len};
    else if (call->fail_len)
        text = (Str){call->fail_text, call->fail_len};
    else if (status == call->last_status)
        text = str_of(call->err.text);
    else
        text = str_of(arena_sprintf(&c->arena, "reducer `%.*s` failed with status %d and no text", STR_FMT(name), (int)status));
    buf_reset(&c->text);
    text_append_clean(&c->text, text, FAIL_TEXT_BYTES_MAX);
    *ret_text = buf_str(&c->text);
    core_log(c, ST_LOG_ERROR, 0, name, STR(""), *ret_text);
    return call->doomed ? RUN_INTERNAL : RUN_USER_ERROR;
}

RunResult core_run_reducer(Core *c, uint32_t id, const void *args, const Client *caller, st_origin origin, uint64_t call_seq,
                           int64_t timestamp_us, Str *ret_text)
{
    st_call *call = &c->call;
    Str name = c->schema->image.def->reducers[id].name;
    api_begin(call, c, c->schema, name, call_seq, timestamp_us);
    call->ctx = (st_reducer_ctx){.api = &api_table, .call = call, .db = &call->db, .timestamp = {timestamp_us}, .origin = origin};
    memcpy(call->ctx.sender.b, caller->identity, 32);
    memcpy(call->ctx.connection.v.b, caller->connection_id, 16);
    call->ctx.connection.some = !all_zero(caller->connection_id, 16);
    call->claims = caller->claims;
    memcpy(call->ctx.database.b, c->schema->database, 32);
    txn_begin(c->engine);
    st_status status = enter_module(c, id, args);
    if (LIKELY(status == ST_OK && !call->doomed))
        return RUN_OK;
    txn_rollback(c->engine);
    return run_failed(c, name, status, ret_text);
}

/* ---- reducers -------------------------------------------------------------------------------- */

/* One refusal or failure, in the words of the client's protocol. */
static void refuse_reducer(Core *c, const CallHeader *h, uint32_t request_id, ReplyOutcome outcome, Str text)
{
    if (h->flags & CALL_HTTP)
        reply_send(c, h, outcome, outcome == REPLY_NO_SUCH ? STR("") : text);
    else
        send_reducer_error(c, h, request_id, outcome == REPLY_USER_ERROR, text);
}

static void answer_reply_ok(Core *c, const Leaving *l) { reply_send(c, l->h, REPLY_OK, STR("")); }

static const char *lifecycle_name(Lifecycle which)
{
    return which == LIFECYCLE_INIT ? "Init" : which == LIFECYCLE_CONNECT ? "OnConnect" : "OnDisconnect";
}

static void call_reducer(Core *c, const CallHeader *h, Client *client, Reader *in)
{
    CoreSchema *s = c->schema;
    uint32_t request_id = read_u32(in);
    Str name = read_str(in);
    ASSERT(!in->bad);
    int32_t id = schema_find_reducer(s, name);
    const ReducerDef *r = id >= 0 ? &s->image.def->reducers[id] : NULL;

    if (UNLIKELY(r && r->lifecycle != LIFECYCLE_NONE)) {
        char *text = arena_sprintf(&c->arena, "can't directly call special %s lifecycle reducer", lifecycle_name(r->lifecycle));
        refuse_reducer(c, h, request_id, REPLY_LIFECYCLE, str_of(text));
        return;
    }
    if (UNLIKELY(!r || (r->is_private && !client->owner))) {
        core_log(c, ST_LOG_ERROR, 0, STR(""), STR(""),
                 str_of(arena_sprintf(&c->arena, "no such reducer: `%.*s`", (int)MIN(name.len, 200u), name.ptr)));
        refuse_reducer(c, h, request_id, REPLY_NO_SUCH, STR("no such reducer"));
        return;
    }
    if (UNLIKELY(h->schema_version < s->since[id])) {
        char *text = arena_sprintf(&c->arena,
                                   "reducer `%.*s` changed its parameters by a publish since the client connected; "
                                   "connect again with current bindings",
                                   STR_FMT(name));
        refuse_reducer(c, h, request_id, REPLY_INTERNAL, str_of(text));
        return;
    }
    Error err;
    void *args = NULL;
    Status decoded = S_OK;
    if (r->params->nfields) {
        args = arena_alloc_raw(&c->arena, r->params->size);
        decoded = value_decode(in, r->params, args, &c->arena, &err);
    }
    if (LIKELY(decoded == S_OK) && UNLIKELY(reader_left(in)))
        decoded = FAIL(&err, S_INVALID, "%zu bytes left over after the last argument", reader_left(in));
    if (UNLIKELY(decoded != S_OK)) {
        Str text = str_of(arena_sprintf(&c->arena, "invalid arguments for reducer %.*s: %s", STR_FMT(name), err.text));
        core_log(c, ST_LOG_ERROR, 0, r->name, STR(""), text);
        refuse_reducer(c, h, request_id, REPLY_BAD_ARGUMENTS, text);
        return;
    }

    bool http = h->flags & CALL_HTTP;
    Str text;
    RunResult run =
        core_run_reducer(c, (uint32_t)id, args, client, http ? ST_ORIGIN_HTTP : ST_ORIGIN_CLIENT, h->call_seq, h->timestamp_us, &text);
    if (UNLIKELY(run != RUN_OK)) {
        refuse_reducer(c, h, request_id, run == RUN_USER_ERROR ? REPLY_USER_ERROR : REPLY_INTERNAL, text);
        return;
    }
    Leaving leaving = {.h = h, .timestamp_us = h->timestamp_us, .to_caller = !http, .request_id = request_id, .answer = answer_reply_ok};
    if (UNLIKELY(core_leave(c, &leaving, &err) != S_OK)) {
        core_log(c, ST_LOG_ERROR, 0, r->name, STR(""), str_of(err.text));
        refuse_reducer(c, h, request_id, REPLY_INTERNAL, str_of(err.text));
    }
}

/* ---- SQL ---------------------------------------------------------------------------------------- */

typedef struct SqlAnswer {
    const SqlResult *result;
    int64_t started_us;
} SqlAnswer;

static void answer_sql(Core *c, const Leaving *l)
{
    const SqlAnswer *a = l->data;
    const SqlResult *r = a->result;
    Buf *f = frame_begin(c, FRAME_REPLY, l->h, 0);
    buf_put_u8(f, REPLY_OK);
    size_t at = f->len;
    buf_put_u32(f, 0);
    type_to_bsatn(f, r->row, false);
    store_u32(f->ptr + at, (uint32_t)(f->len - at - 4));
    buf_put_u64(f, r->nrows);
    buf_put_u64(f, r->inserted);
    buf_put_u64(f, r->deleted);
    buf_put_u64(f, r->updated);
    int64_t took_us = c->env.clock_us(c->env.user) - a->started_us;
    buf_put_u64(f, took_us > 0 ? (uint64_t)took_us : 0);
    buf_put_blob(f, buf_bytes(&r->rows));
    frame_send(c);
}

static void call_sql(Core *c, const CallHeader *h, Client *client, Reader *in)
{
    Str sql = read_str(in);
    ASSERT(!in->bad);
    Caller caller = {.is_owner = client->owner, .views = c->views};
    memcpy(caller.identity, client->identity, 32);
    SqlAnswer answer = {NULL, c->env.clock_us(c->env.user)};
    SqlResult result = {0};
    Error err;
    txn_begin(c->engine);
    Status s = sql_execute(&result, c->engine, sql, &caller, &err);
    if (s != S_OK) {
        txn_rollback(c->engine);
        reply_send(c, h, s == S_DENIED ? REPLY_DENIED : REPLY_SQL_ERROR, str_of(err.text));
        return;
    }
    answer.result = &result;
    Leaving leaving = {.h = h, .timestamp_us = h->timestamp_us, .answer = answer_sql, .data = &answer};
    if (core_leave(c, &leaving, &err) != S_OK)
        reply_send(c, h, REPLY_SQL_ERROR, str_of(err.text));
    sql_result_done(&result);
}

/* ---- the step -------------------------------------------------------------------------------- */

void core_call(Core *c, Bytes record)
{
    ASSERT(core_accepts_calls(c));
    Reader in = reader_of(record);
    CallHeader h;
    const uint8_t *head = read_raw(&in, sizeof h);
    ASSERT(head);
    memcpy(&h, head, sizeof h);
    arena_reset(&c->arena);
    c->env.in_module(c->env.user, h.call_seq);

    if (h.kind == CALL_CONNECT) {
        call_connect(c, &h, &in);
    } else if (h.kind == CALL_DISCONNECT) {
        call_disconnect(c, &h, &in);
    } else if (h.kind == CALL_HANDLER) {
        call_handler(c, &h, &in);
    } else {
        Client *client = client_find(c, &h);
        if (!client) { /* refused at CONNECT, or never came to be because of a crash */
            if (h.flags & CALL_HTTP)
                reply_send(c, &h, REPLY_REJECTED, STR("the connection was refused"));
        } else {
            switch (h.kind) {
            case CALL_REDUCER: call_reducer(c, &h, client, &in); break;
            case CALL_PROCEDURE: call_procedure(c, &h, client, &in); break;
            case CALL_SUBSCRIBE: call_subscribe(c, &h, client, &in); break;
            case CALL_UNSUBSCRIBE: call_unsubscribe(c, &h, client, &in); break;
            case CALL_ONE_OFF: call_one_off(c, &h, client, &in); break;
            case CALL_SQL: call_sql(c, &h, client, &in); break;
            default: BUG("call record of kind %u", h.kind);
            }
        }
    }
    c->env.in_module(c->env.user, 0);
}
