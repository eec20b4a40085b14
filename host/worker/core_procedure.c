/* core_procedure.c - procedures: module code that may wait for the outside world, on threads of its own.
 *
 *   call or procedure_start --> NEW --core_work--> runs by itself --asks for--> the executor, between calls (procedures_work):
 *       a transaction   the engine is lent: the executor stands still while the body runs on the procedure's thread, then commits
 *                       through core_leave like for any call; so only the executor writes rings (design-rule 15)
 *       HTTP            FRAME_HTTP; the host's CALL_ANSWER lets it go on
 *       sleep           until the clock says so
 *       the end         the result, encoded on the procedure's thread, leaves to the caller
 *
 * Starting waits for core_work, which runs only when everything before it is published: so a procedure has no effect before its call
 * is known to be consumed, and after a crash it is never run again (records.h).
 * What both threads know of a Procedure belongs to its strand while that runs, and to the executor while the strand stands still
 * (strand.h). The queue of those that ask is the only thing under the lock. What a procedure calls outside of a transaction
 * (log, alloc, random, fail) works on its own memory. */
#include "host/base/fault.h"
#include "host/worker/core_int.h"

#include <stdio.h>

enum { RESULT_BYTES_MAX = 32 << 20, SERVED_PER_SLICE = 16 };
enum { MSG_PROCEDURE_RESULT = 7, PROCEDURE_RETURNED = 0 };

typedef enum Want { WANT_NOTHING, WANT_TX, WANT_COMMIT, WANT_ROLLBACK, WANT_HTTP, WANT_SLEEP, WANT_END } Want;

struct Procedure {
    Procedure *next, *next_asking;
    Core *core;
    CoreSchema *schema; /* one of its users */
    Str name;
    const ProcedureDef *def; /* NULL: an HTTP handler */
    uint32_t id;
    Strand *strand; /* NULL: it has not begun */
    bool killed;    /* procedures_end: it must not touch anything any more */
    Want want;

    bool called; /* by a client, who waits for `h` */
    CallHeader h;
    uint32_t request_id;
    int64_t started_us;
    ProcedureEnded *ended;
    void *ended_arg;

    st_proc_ctx ctx;
    st_call call, tx_call;
    st_reducer_ctx tx;
    Arena arena;
    Buf log;
    void *args, *ret;
    st_http_request http_request; /* of a handler */
    st_http_response http_response;
    st_status status; /* what it returned */
    Buf result;
    bool result_bad;

    bool lent;           /* the engine is: a transaction is open, and the executor waits */
    st_status tx_status; /* how the last one ended */
    bool tx_gave_up;     /* it could not be committed twice: the procedure ends */
    uint32_t ntx;
    uint64_t offset; /* the database's when its last transaction ended: nothing of it leaves before that is durable */

    Buf request, answer;
    int64_t wake_at_us; /* what it asks for with WANT_SLEEP */
    /* the executor's alone: */
    uint64_t request_seq; /* of the FRAME_HTTP that it waits for, 0: none */
    bool sleeping;
    uint64_t cpu_ns; /* what its thread had used when it went on the last time */
};

/* ---- on the strand --------------------------------------------------------------------------------- */

static void ask(Procedure *p, Want want)
{
    Procedures *all = &p->core->procedures;
    p->want = want;
    if (!p->lent) { /* else the executor waits for us as it is */
        p->next_asking = NULL;
        pthread_mutex_lock(&all->lock);
        *all->asking_tail = p;
        all->asking_tail = &p->next_asking;
        pthread_mutex_unlock(&all->lock);
        if (p->core->env.wake)
            p->core->env.wake(p->core->env.user);
    }
    strand_ask(p->strand);
    if (p->killed && want != WANT_END)
        longjmp(p->call.edge, 1);
}

/* A status that the procedure may return as its own result: then this is the text. */
static st_status say(Procedure *p, st_status status, const char *text)
{
    p->call.last_status = status;
    snprintf(p->call.err.text, sizeof p->call.err.text, "%s", text);
    return status;
}

st_reducer_ctx *procedure_tx_begin(st_proc_ctx *ctx)
{
    Procedure *p = ctx->call->procedure;
    if (p->lent) {
        ctx->tx_status = say(p, ST_E_WOULD_BLOCK, "a transaction is open already: ST_WITH_TX does not nest");
        return NULL;
    }
    ask(p, WANT_TX);
    ctx->tx_status = p->tx_status;
    return p->lent ? &p->tx : NULL;
}

st_reducer_ctx *procedure_tx_end(st_proc_ctx *ctx, st_reducer_ctx *tx)
{
    Procedure *p = ctx->call->procedure;
    if (!p->lent || tx != &p->tx) {
        ctx->tx_status = say(p, ST_E_ABORTED, "there is no such transaction");
        return NULL;
    }
    ask(p, WANT_COMMIT);
    ctx->tx_status = p->tx_status;
    if (p->lent) /* once more */
        return &p->tx;
    if (p->tx_gave_up)
        api_leave(&p->call, p->tx_status, p->call.err.text);
    return NULL;
}

void procedure_tx_abort(st_proc_ctx *ctx, st_reducer_ctx *tx)
{
    Procedure *p = ctx->call->procedure;
    if (p->lent && tx == &p->tx)
        ask(p, WANT_ROLLBACK);
    ctx->tx_status = p->tx_status;
}

st_status procedure_sleep_until(st_proc_ctx *ctx, st_timestamp when)
{
    Procedure *p = ctx->call->procedure;
    const CoreEnv *env = &p->core->env;
    if (p->lent)
        return say(p, ST_E_WOULD_BLOCK, "st_sleep_until is not possible while a transaction is open");
    if (when.us > env->clock_us(env->user)) {
        p->wake_at_us = when.us;
        ask(p, WANT_SLEEP);
    }
    ctx->timestamp.us = env->clock_us(env->user);
    return ST_OK;
}

/* ---- HTTP, on the strand --------------------------------------------------------------------------- */

static bool is_token(st_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] >= 127 || strchr("\"(),/:;<=>?@[\\]{}", s.ptr[i]))
            return false;
    return s.len > 0;
}

static bool has_control_bytes(const void *ptr, size_t len, bool tab_is_good)
{
    const uint8_t *b = ptr;
    for (size_t i = 0; i < len; i++)
        if ((b[i] < ' ' && !(tab_is_good && b[i] == '\t')) || b[i] == 127)
            return true;
    return false;
}

static const char *headers_fault(const st_http_header *headers, size_t n)
{
    if (n > HTTP_HEADERS_MAX)
        return "there are more than 500 headers";
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        const st_http_header *h = &headers[i];
        if (!is_token(h->name))
            return "a header's name is malformed";
        if (h->value.len > HTTP_HEADER_BYTES_MAX || has_control_bytes(h->value.ptr, h->value.len, true))
            return "a header's value is malformed";
        if ((bytes += h->name.len + h->value.len) > HTTP_HEADER_BYTES_MAX)
            return "the headers take more than 256 KiB";
    }
    return NULL;
}

/* What is wrong with it, never with what stands in it: addresses and headers hold secrets. */
static const char *request_fault(const st_http_request *r)
{
    if (r->method.len && (!is_token(r->method) || r->method.len > HTTP_METHOD_BYTES_MAX))
        return "the method is no HTTP method";
    if (!r->url.len || r->url.len > HTTP_URL_BYTES_MAX || has_control_bytes(r->url.ptr, r->url.len, false) ||
        memchr(r->url.ptr, ' ', r->url.len))
        return "the URL is malformed";
    const char *fault = headers_fault(r->headers, r->header_count);
    if (fault)
        return fault;
    if (r->body.len > HTTP_BODY_BYTES_MAX)
        return "the body takes more than 16 MiB, the most that an HTTP request may send";
    if (r->timeout.us < 0)
        return "the timeout is negative";
    return NULL;
}

static void put_headers(Buf *out, const st_http_header *headers, size_t n)
{
    buf_put_u32(out, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        buf_put_str(out, (Str){headers[i].name.ptr, headers[i].name.len});
        buf_put_blob(out, (Bytes){headers[i].value.ptr, headers[i].value.len});
    }
}

/* Borrowed from `in`. False: damaged. */
static bool take_headers(Procedure *p, Reader *in, const st_http_header **ret, size_t *ret_n)
{
    uint32_t n = read_u32(in);
    if (in->bad || n > reader_left(in) / 8)
        return false;
    st_http_header *headers = api_scratch(&p->call, (n + 1) * sizeof *headers);
    for (uint32_t i = 0; i < n; i++) {
        Str name = read_str(in);
        Bytes value = read_blob(in);
        headers[i] = (st_http_header){{name.ptr, name.len}, {value.ptr, value.len}};
    }
    *ret = headers;
    *ret_n = n;
    return !in->bad;
}

static void put_request(Buf *out, const st_http_request *r)
{
    int64_t ms = r->timeout.us / 1000 + (r->timeout.us % 1000 != 0);
    buf_reset(out);
    buf_put_u32(out, (uint32_t)MIN(ms, (int64_t)INT32_MAX));
    buf_put_str(out, r->method.len ? (Str){r->method.ptr, r->method.len} : STR("GET"));
    buf_put_str(out, (Str){r->url.ptr, r->url.len});
    put_headers(out, r->headers, r->header_count);
    buf_put_blob(out, (Bytes){r->body.ptr, r->body.len});
}

static st_status http_failed(Procedure *p, st_http_response *response, st_status status, Str text)
{
    char *copy = api_scratch(&p->call, text.len + 1);
    memcpy(copy, text.ptr, text.len);
    *response = (st_http_response){.error = {copy, text.len}};
    return say(p, status, copy);
}

/* ANSWER without its request number, into the procedure's memory. */
static st_status take_response(Procedure *p, st_http_response *response)
{
    Reader in = reader_of(buf_bytes(&p->answer));
    if (!read_u8(&in)) {
        Str text = read_str(&in);
        return http_failed(p, response, ST_E_HTTP, in.bad ? STR("the host's answer is damaged") : text);
    }
    size_t left = reader_left(&in);
    uint8_t *copy = api_scratch(&p->call, left + 1); /* what headers and body point into */
    memcpy(copy, in.ptr, left);
    in = reader_of(bytes_of(copy, left));
    st_http_response r = {.status = read_u16(&in)};
    bool good = take_headers(p, &in, &r.headers, &r.header_count);
    Bytes body = read_blob(&in);
    r.body = (st_bytes){body.ptr, body.len};
    if (!good || in.bad)
        return http_failed(p, response, ST_E_HTTP, STR("the host's answer is damaged"));
    *response = r;
    return ST_OK;
}

st_status procedure_http(st_proc_ctx *ctx, const st_http_request *request, st_http_response *response)
{
    Procedure *p = ctx->call->procedure;
    if (p->lent)
        return http_failed(p, response, ST_E_WOULD_BLOCK, STR("st_http is not possible while a transaction is open"));
    const char *fault = request_fault(request);
    if (fault)
        return http_failed(p, response, ST_E_HTTP, str_of(fault));
    put_request(&p->request, request);
    ask(p, WANT_HTTP);
    st_status status = take_response(p, response);
    buf_done(&p->answer);
    p->answer = (Buf){0};
    return status;
}

/* ---- running, on the strand ------------------------------------------------------------------------ */

/* Alone in its function, so that no local of the caller lives across the jump. */
static __attribute__((noinline)) st_status enter_module(Procedure *p)
{
    if (_setjmp(p->call.edge) != 0)
        return ST_E_ABORTED;
    Module *m = p->schema->module;
    return p->def ? m->call_procedure(m, p->id, &p->ctx, p->args, p->ret)
                  : m->call_handler(m, p->id, &p->ctx, &p->http_request, &p->http_response);
}

static void encode_value(Procedure *p)
{
    p->result_bad = value_check(p->def->ret, p->ret, &p->call.err) != S_OK;
    p->result.max = RESULT_BYTES_MAX;
    if (!p->result_bad)
        value_encode(&p->result, p->def->ret, p->ret);
}

static void encode_response(Procedure *p)
{
    const st_http_response *r = &p->http_response;
    const char *fault = headers_fault(r->headers, r->header_count);
    if (!fault && (r->status < 200 || r->status > 599))
        fault = "the status is none from 200 to 599";
    if (!fault && r->body.len > HTTP_BODY_BYTES_MAX)
        fault = "the body takes more than 16 MiB";
    p->result_bad = fault != NULL;
    if (fault) {
        (void)FAIL(&p->call.err, S_INVALID, "%s", fault);
        return;
    }
    buf_put_u16(&p->result, r->status);
    put_headers(&p->result, r->headers, r->header_count);
    buf_put_blob(&p->result, (Bytes){r->body.ptr, r->body.len});
}

static void run(void *arg)
{
    Procedure *p = arg;
    p->status = enter_module(p);
    if (p->killed)
        return;
    if (p->status == ST_OK && !p->call.doomed) { /* here and not on the executor: a wild pointer is the procedure's own death */
        if (p->def)
            encode_value(p);
        else
            encode_response(p);
    }
    ask(p, WANT_END);
}

/* ---- the executor's side: lending the engine ------------------------------------------------------- */

static void go_on(Procedure *p)
{
    if (p->core->env.procedure_ms_max)
        p->cpu_ns = strand_cpu_ns(p->strand);
    strand_go(p->strand);
}

static void tx_open(Core *c, Procedure *p)
{
    int64_t now_us = c->env.clock_us(c->env.user);
    st_call *call = &p->tx_call;
    api_begin(call, c, p->schema, p->name, p->h.call_seq ^ (uint64_t)++p->ntx << 40, now_us);
    call->arena = &p->arena;
    call->log = &p->log;
    call->procedure = p;
    call->outer = &p->call;
    call->scratch_bytes = p->call.scratch_bytes;
    call->claims = p->call.claims;
    p->tx = (st_reducer_ctx){.api = &api_table,
                             .call = call,
                             .db = &call->db,
                             .sender = p->ctx.sender,
                             .connection = p->ctx.connection,
                             .timestamp = {now_us},
                             .database = p->ctx.database,
                             .origin = p->ctx.origin};
    txn_begin(c->engine);
    p->lent = true;
    p->tx_status = ST_OK;
}

static void tx_closed(Core *c, Procedure *p, st_status status, const char *text)
{
    p->lent = false;
    p->tx_call.over = true;
    p->call.scratch_bytes = p->tx_call.scratch_bytes;
    p->offset = c->offset;
    p->tx_status = status;
    if (status != ST_OK)
        say(p, status, text);
}

static Status commit(Core *c, const Procedure *p, Error *err)
{
    if (strcmp(fault_at("worker.tx_commit"), "error") == 0) {
        txn_rollback(c->engine);
        return FAIL(err, S_INTERNAL, "fault worker.tx_commit");
    }
    Leaving leaving = {.timestamp_us = p->tx.timestamp.us};
    return core_leave(c, &leaving, err);
}

/* The body has come to its end: what becomes of its transaction? True: it is to run once more. */
static bool settle(Core *c, Procedure *p, bool again)
{
    const st_call *call = &p->tx_call;
    Error err;
    if (p->want != WANT_COMMIT || call->doomed) {
        txn_rollback(c->engine);
        if (call->doomed)
            tx_closed(c, p, call->last_status, call->doom_text);
        else
            tx_closed(c, p, ST_E_ABORTED, "the transaction was given up");
        return false;
    }
    if (commit(c, p, &err) == S_OK) {
        tx_closed(c, p, ST_OK, "");
        return false;
    }
    if (!again)
        return true;
    p->tx_gave_up = true;
    tx_closed(c, p, ST_E_ABORTED, err.text);
    return false;
}

static void finish(Core *c, Procedure *p);

static void lend(Core *c, Procedure *p)
{
    if (p->schema != c->schema) {
        p->tx_status =
            say(p, ST_E_CANCELLED, "the module was replaced by a publish while the procedure ran: it can read and write no more");
        go_on(p);
        return;
    }
    c->env.in_module(c->env.user, p->h.call_seq ? p->h.call_seq : CALL_SEQ_CONTROL);
    bool again = false;
    do {
        tx_open(c, p);
        go_on(p);
        strand_await(p->strand);
        ASSERT(p->want == WANT_COMMIT || p->want == WANT_ROLLBACK || p->want == WANT_END);
    } while (settle(c, p, again) && (again = true));
    c->env.in_module(c->env.user, 0);
    if (p->want == WANT_END) {
        core_log(c, ST_LOG_ERROR, 0, p->name, STR(""), STR("the procedure ended with a transaction open: it was rolled back"));
        finish(c, p);
    } else {
        go_on(p);
    }
}

/* ---- the executor's side: the end ------------------------------------------------------------------- */

/* Its frames name the offset of its own last transaction: what came after is not its concern. */
static void send_held(Core *c, const Procedure *p)
{
    store_u64(c->frame.ptr + offsetof(FrameHeader, offset), p->offset);
    frame_send(c);
}

static void answer_result(Core *c, const Procedure *p)
{
    if (p->h.flags & CALL_HTTP) {
        Buf *f = frame_begin(c, FRAME_REPLY, &p->h, FRAME_DURABLE);
        buf_put_u8(f, REPLY_OK);
        buf_put_bytes(f, buf_bytes(&p->result));
    } else {
        int64_t took_us = c->env.clock_us(c->env.user) - p->h.timestamp_us;
        Buf *f = frame_begin(c, FRAME_MESSAGE, &p->h, FRAME_DURABLE);
        buf_put_u8(f, MSG_PROCEDURE_RESULT);
        buf_put_u8(f, PROCEDURE_RETURNED);
        buf_put_blob(f, buf_bytes(&p->result));
        buf_put_i64(f, p->started_us);
        buf_put_i64(f, MAX(took_us, (int64_t)0));
        buf_put_u32(f, p->request_id);
    }
    send_held(c, p);
}

static void refuse(Core *c, const CallHeader *h, uint32_t request_id, ReplyOutcome outcome, Str text)
{
    if (h->flags & CALL_HTTP)
        reply_send(c, h, outcome, outcome == REPLY_NO_SUCH ? STR("") : text);
    else
        send_procedure_error(c, h, request_id, text);
}

/* Why it failed; empty: it did not. */
static Str failure_of(Core *c, Procedure *p)
{
    const st_call *call = &p->call;
    if (call->doomed)
        return (Str){call->doom_text, call->doom_len};
    if (p->status == ST_OK && p->result_bad)
        return str_of(arena_sprintf(&c->arena,
                                    p->def ? "procedure `%.*s` returned a value that is none of its type: %s"
                                           : "the response of HTTP handler `%.*s` cannot be sent: %s",
                                    STR_FMT(p->name), call->err.text));
    if (p->status == ST_OK && !buf_ok(&p->result))
        return str_of(arena_sprintf(&c->arena, "the result of procedure `%.*s` takes more than %u MiB", STR_FMT(p->name),
                                    (unsigned)RESULT_BYTES_MAX >> 20));
    if (p->status == ST_OK)
        return (Str){0};
    if (call->fail_len)
        return (Str){call->fail_text, call->fail_len};
    if (p->status == call->last_status)
        return str_of(call->err.text);
    return str_of(arena_sprintf(&c->arena, "%s `%.*s` failed with status %d and no text", p->def ? "procedure" : "HTTP handler",
                                STR_FMT(p->name), (int)p->status));
}

static void unlink_procedure(Procedures *all, const Procedure *p)
{
    Procedure **at = &all->all;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    all->n--;
    all->nnew -= p->strand == NULL;
}

static void procedure_free(Procedure *p)
{
    CoreSchema *s = p->schema;
    if (--s->users == 0 && s->dropped)
        core_schema_free(s);
    arena_done(&p->arena);
    buf_done(&p->log);
    buf_done(&p->result);
    buf_done(&p->request);
    buf_done(&p->answer);
    free(p);
}

static void finish(Core *c, Procedure *p)
{
    Str text = failure_of(c, p);
    if (text.ptr) {
        buf_reset(&c->text);
        text_append_clean(&c->text, text, FAIL_TEXT_BYTES_MAX);
        text = buf_str(&c->text);
        core_log(c, ST_LOG_ERROR, 0, p->name, STR(""), text);
        if (p->called)
            refuse(c, &p->h, p->request_id, REPLY_INTERNAL, text);
    } else if (p->called) {
        answer_result(c, p);
    }
    if (p->strand) {
        go_on(p);
        strand_join(p->strand);
    }
    unlink_procedure(&c->procedures, p);
    if (p->ended)
        p->ended(c, p->ended_arg, text.ptr == NULL);
    procedure_free(p);
}

/* ---- the executor's side: serving -------------------------------------------------------------------- */

static void begin(Core *c, Procedure *p)
{
    Error err;
    StrandStart start = {.run = run,
                         .arg = p,
                         .lockstep = c->env.lockstep,
                         .begin = c->env.thread_begin,
                         .end = c->env.thread_end,
                         .user = c->env.user,
                         .mark = p->h.call_seq ? p->h.call_seq : CALL_SEQ_CONTROL};
    p->started_us = c->env.clock_us(c->env.user);
    p->ctx.timestamp.us = p->started_us;
    if (strand_start(&p->strand, &start, &err) == S_OK) {
        c->procedures.nnew--;
        go_on(p);
        return;
    }
    p->status = say(p, ST_E_ABORTED, err.text);
    finish(c, p);
}

static void send_request(Core *c, Procedure *p)
{
    static const CallHeader nobody = {.slot = CLIENT_NONE};
    p->request_seq = ++c->procedures.next_request;
    Buf *f = frame_begin(c, FRAME_HTTP, &nobody, FRAME_DURABLE);
    buf_put_u64(f, p->request_seq);
    buf_put_bytes(f, buf_bytes(&p->request));
    send_held(c, p);
    buf_done(&p->request);
    p->request = (Buf){0};
}

void core_answer(Core *c, Bytes record)
{
    Reader in = reader_of(bytes_of(record.ptr + sizeof(CallHeader), record.len - sizeof(CallHeader)));
    uint64_t request = read_u64(&in);
    for (Procedure *p = c->procedures.all; p; p = p->next)
        if (p->request_seq == request && request) {
            p->request_seq = 0;
            buf_reset(&p->answer);
            buf_put_bytes(&p->answer, bytes_of(in.ptr, reader_left(&in)));
            go_on(p);
            return;
        }
}

static Procedure *take_asking(Procedures *all)
{
    pthread_mutex_lock(&all->lock);
    Procedure *p = all->asking;
    if (p && !(all->asking = p->next_asking))
        all->asking_tail = &all->asking;
    pthread_mutex_unlock(&all->lock);
    return p;
}

static bool any_asking(Procedures *all)
{
    pthread_mutex_lock(&all->lock);
    bool any = all->asking != NULL;
    pthread_mutex_unlock(&all->lock);
    return any;
}

static void wake_sleepers(Core *c)
{
    Procedures *all = &c->procedures;
    if (all->due_us == INT64_MAX)
        return;
    int64_t now_us = c->env.clock_us(c->env.user);
    if (now_us < all->due_us)
        return;
    all->due_us = INT64_MAX;
    for (Procedure *p = all->all; p; p = p->next) {
        if (!p->sleeping)
            continue;
        if (p->wake_at_us > now_us) {
            all->due_us = MIN(all->due_us, p->wake_at_us);
            continue;
        }
        p->sleeping = false;
        go_on(p);
    }
}

/* Computing stops nobody, but it must not last for ever. */
static void check_runaways(Core *c)
{
    enum { CHECK_US = 500000 };
    Procedures *all = &c->procedures;
    uint64_t most_ns = (uint64_t)c->env.procedure_ms_max * 1000000u;
    int64_t now_us = most_ns ? c->env.clock_us(c->env.user) : 0;
    if (!most_ns || (now_us < all->check_us && all->check_us <= now_us + CHECK_US))
        return;
    all->check_us = now_us + CHECK_US;
    for (Procedure *p = all->all; p; p = p->next)
        if (p->strand && !p->request_seq && !p->sleeping && strand_cpu_ns(p->strand) > p->cpu_ns + most_ns)
            c->env.runaway(c->env.user, p->h.call_seq ? p->h.call_seq : CALL_SEQ_CONTROL);
}

/* What is asked for between calls; a slice ends with the first transaction. True: there is more. */
bool procedures_work(Core *c)
{
    Procedures *all = &c->procedures;
    if (LIKELY(all->n == 0) || !core_accepts_calls(c))
        return false;
    arena_reset(&c->arena);
    for (Procedure *p = all->all, *next; p && all->nnew; p = next) {
        next = p->next;
        if (!p->strand)
            begin(c, p);
    }
    wake_sleepers(c);
    check_runaways(c);
    Procedure *p;
    for (uint32_t i = 0; i < SERVED_PER_SLICE && (p = take_asking(all)) != NULL; i++) {
        strand_await(p->strand);
        switch (p->want) {
        case WANT_TX: lend(c, p); return any_asking(all);
        case WANT_HTTP: send_request(c, p); break;
        case WANT_SLEEP:
            p->sleeping = true;
            all->due_us = MIN(all->due_us, p->wake_at_us);
            break;
        case WANT_END: finish(c, p); break;
        default: BUG("a procedure asks for %d without a transaction", (int)p->want);
        }
    }
    return any_asking(all);
}

bool core_is_wanted(Core *c)
{
    Procedures *all = &c->procedures;
    return all->n && core_accepts_calls(c) && (all->nnew || any_asking(all));
}

int64_t core_wake_us(const Core *c)
{
    const Procedures *all = &c->procedures;
    if (!core_accepts_calls(c))
        return INT64_MAX;
    return all->n && c->env.procedure_ms_max ? MIN(all->due_us, all->check_us) : all->due_us;
}
uint32_t core_procedures(const Core *c) { return c->procedures.n; }

/* ---- the beginning ------------------------------------------------------------------------------------ */

void procedures_init(Core *c)
{
    Procedures *all = &c->procedures;
    pthread_mutex_init(&all->lock, NULL);
    all->asking_tail = &all->asking;
    all->due_us = INT64_MAX;
}

/* Each stands still, or soon will when it asks the next time. */
void procedures_end(Core *c)
{
    Procedures *all = &c->procedures;
    for (Procedure *p; (p = all->all) != NULL;) {
        if (p->strand) {
            p->killed = true;
            p->lent = false;
            strand_go(p->strand);
            strand_join(p->strand);
        }
        unlink_procedure(all, p);
        if (p->ended) /* what it was given is its starter's to free */
            p->ended(c, p->ended_arg, false);
        procedure_free(p);
    }
    pthread_mutex_destroy(&all->lock);
}

int32_t schema_find_procedure(const CoreSchema *s, Str name)
{
    const ModuleDef *def = s->image.def;
    for (uint32_t i = 0; i < def->nprocedures; i++)
        if (str_eq(def->procedures[i].name, name))
            return (int32_t)i;
    return -1;
}

static Procedure *procedure_new(Core *c, const ProcedureDef *def, Str name, uint32_t id, uint64_t call_seq)
{
    Procedure *p = NEW(Procedure);
    p->core = c;
    p->schema = c->schema;
    p->schema->users++;
    p->id = id;
    p->def = def;
    p->name = name;
    p->offset = c->offset;
    p->h.call_seq = call_seq;
    if (def)
        p->ret = arena_alloc(&p->arena, MAX(def->ret->size, 1u));
    api_begin(&p->call, c, c->schema, p->name, call_seq, c->env.clock_us(c->env.user));
    p->call.arena = &p->arena;
    p->call.log = &p->log;
    p->call.procedure = p;
    p->call.over = true; /* it has no database */
    p->ctx = (st_proc_ctx){.api = &api_table, .call = &p->call};
    memcpy(p->ctx.database.b, c->schema->database, 32);
    return p;
}

static void procedure_add(Procedures *all, Procedure *p)
{
    Procedure **at = &all->all;
    while (*at)
        at = &(*at)->next;
    *at = p;
    all->n++;
    all->nnew++;
}

static bool has_room(const Core *c) { return c->procedures.n < c->env.procedures_max; }

bool procedure_start(Core *c, uint32_t id, const void *args, ProcedureEnded *ended, void *arg)
{
    if (!has_room(c))
        return false;
    const ProcedureDef *def = &c->schema->image.def->procedures[id];
    Procedure *p = procedure_new(c, def, def->name, id, 0);
    const Type *params = p->def->params;
    if (params->nfields) {
        size_t heap_bytes = params->has_pointers ? value_heap_size(params, args) : 0;
        uint8_t *heap = heap_bytes ? arena_alloc(&p->arena, heap_bytes) : NULL;
        p->args = arena_alloc(&p->arena, params->size);
        value_copy(params, p->args, args, &heap);
    }
    memcpy(p->ctx.sender.b, c->schema->database, 32);
    p->ctx.origin = ST_ORIGIN_SCHEDULED;
    p->ended = ended;
    p->ended_arg = arg;
    procedure_add(&c->procedures, p);
    return true;
}

static bool all_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i])
            return false;
    return true;
}

static void refuse_busy(Core *c, const CallHeader *h, uint32_t request_id, const char *what, Str name)
{
    Str text = str_of(arena_sprintf(&c->arena,
                                    "%s `%.*s`: %u procedures of this database run already, the most that may at once (--procedures-max); "
                                    "call again when one has ended",
                                    what, STR_FMT(name), c->procedures.n));
    core_log(c, ST_LOG_ERROR, 0, name, STR(""), text);
    refuse(c, h, request_id, REPLY_BUSY, text);
}

/* A request to a route: nobody's, over a slot that never connected. */
void call_handler(Core *c, const CallHeader *h, Reader *in)
{
    (void)read_u32(in);
    Str name = read_str(in);
    ASSERT(!in->bad);
    const ModuleDef *def = c->schema->image.def;
    uint32_t id = 0;
    while (id < def->nhttp_handlers && !str_eq(def->http_handlers[id], name))
        id++;
    if (id == def->nhttp_handlers || !c->schema->module || !c->schema->module->call_handler) { /* replaced since it was looked up */
        refuse(c, h, 0, REPLY_NO_SUCH, STR(""));
        return;
    }
    if (!has_room(c)) {
        refuse_busy(c, h, 0, "HTTP handler", name);
        return;
    }
    Procedure *p = procedure_new(c, NULL, def->http_handlers[id], id, h->call_seq);
    size_t left = reader_left(in);
    uint8_t *copy = arena_copy(&p->arena, in->ptr, left); /* what all of it points into; at most what a request may have */
    Reader r = reader_of(bytes_of(copy, left));
    Str method = read_str(&r), url = read_str(&r);
    st_http_request *request = &p->http_request;
    bool good = take_headers(p, &r, &request->headers, &request->header_count);
    Bytes body = read_blob(&r);
    ASSERT(good && !r.bad);
    request->method = (st_str){method.ptr, method.len};
    request->url = (st_str){url.ptr, url.len};
    request->body = (st_bytes){body.ptr, body.len};
    p->http_response.status = 200;
    p->called = true;
    p->h = *h;
    p->ctx.origin = ST_ORIGIN_HANDLER;
    procedure_add(&c->procedures, p);
}

void call_procedure(Core *c, const CallHeader *h, Client *client, Reader *in)
{
    uint32_t request_id = read_u32(in);
    Str name = read_str(in);
    ASSERT(!in->bad);
    CoreSchema *s = c->schema;
    int32_t id = schema_find_procedure(s, name);
    const ProcedureDef *def = id >= 0 ? &s->image.def->procedures[id] : NULL;
    if (!def || (def->is_private && !client->owner) || !s->module || !s->module->call_procedure) {
        core_log(c, ST_LOG_ERROR, 0, STR(""), STR(""),
                 str_of(arena_sprintf(&c->arena, "no such procedure: `%.*s`", (int)MIN(name.len, 200u), name.ptr)));
        refuse(c, h, request_id, REPLY_NO_SUCH, STR("No such procedure"));
        return;
    }
    if (h->schema_version < s->procedure_since[id]) {
        char *text = arena_sprintf(&c->arena,
                                   "procedure `%.*s` changed its parameters or its result by a publish since the client connected; connect "
                                   "again with current bindings",
                                   STR_FMT(name));
        refuse(c, h, request_id, REPLY_INTERNAL, str_of(text));
        return;
    }
    if (!has_room(c)) {
        refuse_busy(c, h, request_id, "procedure", def->name);
        return;
    }
    Procedure *p = procedure_new(c, def, def->name, (uint32_t)id, h->call_seq);
    Error err;
    Status decoded = S_OK;
    if (def->params->nfields) {
        p->args = arena_alloc(&p->arena, def->params->size);
        decoded = value_decode(in, def->params, p->args, &p->arena, &err);
    }
    if (decoded == S_OK && reader_left(in))
        decoded = FAIL(&err, S_INVALID, "%zu bytes left over after the last argument", reader_left(in));
    if (decoded != S_OK) {
        Str text = str_of(arena_sprintf(&c->arena, "invalid arguments for procedure %.*s: %s", STR_FMT(name), err.text));
        core_log(c, ST_LOG_ERROR, 0, def->name, STR(""), text);
        refuse(c, h, request_id, REPLY_BAD_ARGUMENTS, text);
        procedure_free(p);
        return;
    }
    p->called = true;
    p->h = *h;
    p->call.claims = arena_str(&p->arena, client->claims);
    p->request_id = request_id;
    memcpy(p->ctx.sender.b, client->identity, 32);
    memcpy(p->ctx.connection.v.b, client->connection_id, 16);
    p->ctx.connection.some = !all_zero(client->connection_id, 16);
    p->ctx.origin = h->flags & CALL_HTTP ? ST_ORIGIN_HTTP : ST_ORIGIN_CLIENT;
    procedure_add(&c->procedures, p);
}
