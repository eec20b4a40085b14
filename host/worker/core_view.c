/* core_view.c - running a view's function, for whoever wants its result (host/query/views.h).
 *
 * A view runs where its reader or writer runs, with a call record and scratch memory of its own: the call that it serves is not over. What it
 * reads is noted by the api (api.c); it writes nothing. */
#include "host/worker/core_int.h"

/* Alone in its function, so that no local of the caller lives across the jump. */
static __attribute__((noinline)) st_status enter_view(Core *c, const CoreSchema *s, uint32_t id, const st_view_ctx *ctx)
{
    st_status status = ST_E_ABORTED;
    c->running = &c->view_call;
    if (_setjmp(c->view_call.edge) == 0)
        status = s->module->call_view(s->module, id, ctx, &c->view_call);
    c->running = NULL;
    return status;
}

static Status run(Core *c, const CoreSchema *s, Views *noting, uint32_t id, const uint8_t sender[32], Error *err)
{
    st_call *call = &c->view_call;
    Str name = s->image.def->views[id].name;
    if (!s->module || !s->module->call_view)
        return FAIL(err, S_UNAVAILABLE, "no module is loaded that computes it");
    arena_reset(&c->view_arena);
    api_begin(call, c, s, name, 0, 0);
    call->arena = &c->view_arena;
    call->viewing = true;
    call->noting = noting;
    call->view_steps = 0;
    call->view_since_us = c->env.view_ms_max ? c->env.clock_us(c->env.user) : 0;
    st_view_ctx ctx = {.api = &api_table, .call = call, .db = &call->db};
    memcpy(ctx.sender.b, sender, 32);
    memcpy(ctx.database.b, s->database, 32);
    st_status status = enter_view(c, s, id, &ctx);
    call->viewing = false;
    if (LIKELY(status == ST_OK && !call->doomed))
        return S_OK;
    Str text = call->doomed     ? (Str){call->doom_text, call->doom_len}
               : call->fail_len ? (Str){call->fail_text, call->fail_len}
                                : str_of(arena_sprintf(&c->view_arena, "it failed with status %d and no text", (int)status));
    OWN(buf) Buf clean = {0};
    text_append_clean(&clean, text, 700);
    core_log(c, ST_LOG_ERROR, 0, name, STR(""), buf_str(&clean));
    return FAIL(err, S_INVALID, "%.*s", STR_FMT(buf_str(&clean)));
}

static Status run_in_force(void *user, uint32_t view, const uint8_t sender[32], Error *err)
{
    Core *c = user;
    return run(c, c->schema, c->views, view, sender, err);
}

static int64_t clock_of(void *user)
{
    const Core *c = user;
    return c->env.clock_us(c->env.user);
}

void core_views_load(Core *c)
{
    const ViewsEnv env = {.user = c, .run = run_in_force, .clock_us = clock_of};
    c->views = views_new(c->engine, &c->limits, &env);
    views_set_schema(c->views, &c->schema->image);
    subs_use_views(c->subs, c->views);
}

static Status run_next(void *user, uint32_t view, const uint8_t sender[32], Error *err)
{
    Core *c = user;
    return run(c, c->next_schema, NULL, view, sender, err);
}

Status core_views_try(Core *c, Error *err)
{
    CoreSchema *next = c->next_schema;
    for (uint32_t i = 0; i < next->image.def->ntables; i++)
        next->tables[i].table = engine_next_table(c->next_engine, i);
    c->env.in_module(c->env.user, CALL_SEQ_CONTROL);
    Status status = views_try(c->views, next->image.def, run_next, c, err);
    c->env.in_module(c->env.user, 0);
    return status == S_OK ? S_OK : (CONTEXT(err, "the new version's code cannot compute what clients subscribe to"), status);
}

/* Live results by the code of the new version; what differs goes to their subscribers. */
void core_views_swapped(Core *c)
{
    c->env.in_module(c->env.user, CALL_SEQ_CONTROL);
    ViewsEvaluation seen = views_refresh_held(c->views);
    if (seen.nchanges || seen.nfailures)
        core_send_changes(c, seen.nchanges, seen.changes, &seen);
    views_commit(c->views);
    c->env.in_module(c->env.user, 0);
}
