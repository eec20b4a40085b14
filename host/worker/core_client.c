/* core_client.c - who is connected, and what they subscribe to.
 *
 * The client table is indexed by slot, which the host gives out. A refused client keeps its entry until the host says
 * DISCONNECT, so that calls already under way are answered as the protocol says. */
#include "host/worker/core_int.h"

enum { MSG_SUBSCRIBE_APPLIED = 1, MSG_UNSUBSCRIBE_APPLIED = 2, MSG_ONE_OFF_RESULT = 5 };

static Client *client_at(Core *c, const CallHeader *h)
{
    if (h->slot >= c->nclients)
        return NULL;
    Client *client = &c->clients[h->slot];
    return client->used && client->generation == h->generation ? client : NULL;
}

Client *client_find(Core *c, const CallHeader *h)
{
    Client *client = client_at(c, h);
    return client && !client->refused ? client : NULL;
}

static bool has_client_reducers(const Core *c)
{
    return c->schema->lifecycle[LIFECYCLE_CONNECT] >= 0 || c->schema->lifecycle[LIFECYCLE_DISCONNECT] >= 0;
}

static void client_drop_subscriptions(Core *c, Client *client, uint32_t slot)
{
    if (client->subscriber)
        subs_client_remove(c->subs, (ClientRef){slot, client->generation});
    client->subscriber = false;
}

void client_clear(Client *client)
{
    free((void *)client->claims.ptr);
    *client = (Client){.used = false};
}

/* ---- connect and disconnect ------------------------------------------------------------------ */

static void answer_connected(Core *c, const Leaving *l)
{
    buf_put_u8(frame_begin(c, FRAME_CONNECTED, l->h, 0), 1);
    frame_send(c);
}

static void refuse(Core *c, const CallHeader *h, Str text)
{
    Buf *f = frame_begin(c, FRAME_CONNECTED, h, FRAME_NOT_HELD);
    buf_put_u8(f, 0);
    buf_put_str(f, text);
    frame_send(c);
}

void call_connect(Core *c, const CallHeader *h, Reader *in)
{
    const uint8_t *identity = read_raw(in, 32), *connection_id = read_raw(in, 16);
    ASSERT(identity && connection_id && h->slot < CLIENT_SLOTS_MAX);
    if (h->slot >= c->nclients) {
        uint32_t n = MAX(64u, 2 * c->nclients);
        while (n <= h->slot)
            n *= 2;
        c->clients = x_realloc(c->clients, n * sizeof *c->clients);
        memset(c->clients + c->nclients, 0, (n - c->nclients) * sizeof *c->clients);
        c->nclients = n;
    }
    Client *client = &c->clients[h->slot];
    client_drop_subscriptions(c, client, h->slot);
    client_clear(client);
    *client = (Client){.used = true,
                       .generation = h->generation,
                       .schema_version = h->schema_version,
                       .http = h->flags & CALL_HTTP,
                       .owner = h->flags & CALL_OWNER};
    memcpy(client->identity, identity, 32);
    memcpy(client->connection_id, connection_id, 16);
    client->claims = str_dup((Str){(const char *)in->ptr, reader_left(in)});
    if (h->flags & CALL_SILENT) {
        client->recorded = has_client_reducers(c); /* it may be, and one record too many harms nobody */
        return;
    }

    CommitClient event = {.connected = true, .claims = client->claims};
    memcpy(event.identity, identity, 32);
    memcpy(event.connection_id, connection_id, 16);
    Leaving leaving = {.h = h, .timestamp_us = h->timestamp_us, .answer = answer_connected};
    Str text;
    Error err;
    int32_t reducer = c->schema->lifecycle[LIFECYCLE_CONNECT];
    if (!has_client_reducers(c)) {
        answer_connected(c, &leaving);
        return;
    }
    leaving.client = &event;
    client->recorded = true;
    if (reducer < 0)
        txn_begin(c->engine);
    else if (core_run_reducer(c, (uint32_t)reducer, NULL, client, ST_ORIGIN_LIFECYCLE, h->call_seq, h->timestamp_us, &text) != RUN_OK)
        goto refused;
    if (core_leave(c, &leaving, &err) == S_OK)
        return;
    text = str_of(err.text);
refused:
    client->refused = true;
    client->recorded = false;
    refuse(c, h, text);
}

static void answer_disconnected(Core *c, const Leaving *l)
{
    frame_begin(c, FRAME_DISCONNECTED, l->h, 0);
    frame_send(c);
}

void call_disconnect(Core *c, const CallHeader *h, Reader *in)
{
    const uint8_t *identity = read_raw(in, 32), *connection_id = read_raw(in, 16);
    ASSERT(identity && connection_id);
    Client *client = h->slot == CLIENT_NONE ? NULL : client_at(c, h);
    Client gone = {.used = true, .recorded = true}; /* of an earlier life: the host has it in its list */
    Leaving leaving = {.h = h, .timestamp_us = h->timestamp_us, .answer = answer_disconnected};
    if (h->slot != CLIENT_NONE) {
        if (!client || client->refused) {
            if (client)
                client_clear(client);
            answer_disconnected(c, &leaving);
            return;
        }
        client_drop_subscriptions(c, client, h->slot);
        gone = *client;
        client_clear(client);
    }
    gone.claims = (Str){(const char *)in->ptr, reader_left(in)};
    memcpy(gone.identity, identity, 32);
    memcpy(gone.connection_id, connection_id, 16);
    CommitClient event = {.connected = false};
    memcpy(event.identity, identity, 32);
    memcpy(event.connection_id, connection_id, 16);
    if (!gone.recorded && !has_client_reducers(c)) {
        answer_disconnected(c, &leaving);
        return;
    }
    leaving.client = &event;
    int32_t reducer = c->schema->lifecycle[LIFECYCLE_DISCONNECT];
    Str text;
    Error err;
    /* What fails is logged; the client is gone all the same. */
    if (reducer < 0 ||
        core_run_reducer(c, (uint32_t)reducer, NULL, &gone, ST_ORIGIN_LIFECYCLE, h->call_seq, h->timestamp_us, &text) != RUN_OK)
        txn_begin(c->engine);
    if (core_leave(c, &leaving, &err) == S_OK)
        return;
    core_log(c, ST_LOG_ERROR, 0, reducer < 0 ? STR("") : c->schema->image.def->reducers[reducer].name, STR(""), str_of(err.text));
    txn_begin(c->engine);
    if (core_leave(c, &leaving, &err) != S_OK)
        BUG("a record of one client event is too large: %s", err.text);
}

/* ---- subscriptions --------------------------------------------------------------------------- */

/* What a client of an older version knows; NULL: everything as it is. */
static const VersionShape *client_shape(const Core *c, const Client *client)
{
    if (client->schema_version != c->schema->image.version)
        for (uint32_t i = 0; i < c->schema->nversions; i++)
            if (c->schema->versions[i].version == client->schema_version)
                return &c->schema->versions[i];
    return NULL;
}

/* Tell `subs` of the client before its first set: with the columns that its version knows. */
static void client_introduce(Core *c, const CallHeader *h, Client *client)
{
    if (client->subscriber)
        return;
    client->subscriber = true;
    Caller caller = {.is_owner = client->owner, .views = c->views};
    memcpy(caller.identity, client->identity, 32);
    const VersionShape *shape = client_shape(c, client);
    subs_client_add(c->subs, (ClientRef){h->slot, h->generation}, &caller, shape ? shape->nshapes : 0, shape ? shape->shapes : NULL);
}

void call_subscribe(Core *c, const CallHeader *h, Client *client, Reader *in)
{
    uint32_t request_id = read_u32(in), set_id = read_u32(in), n = read_u32(in);
    ASSERT(!in->bad && n <= reader_left(in) / 4);
    Str *queries = ARENA_ARRAY(&c->arena, Str, n ? n : 1);
    for (uint32_t i = 0; i < n; i++)
        queries[i] = read_str(in);
    ASSERT(!in->bad);
    client_introduce(c, h, client);
    bool silent = h->flags & CALL_SILENT;
    Buf *f = frame_begin(c, FRAME_MESSAGE, h, 0);
    buf_put_u8(f, MSG_SUBSCRIBE_APPLIED);
    buf_put_u32(f, request_id);
    buf_put_u32(f, set_id);
    Error err;
    Status s = subs_subscribe(c->subs, (ClientRef){h->slot, h->generation}, set_id, n, queries, silent ? NULL : f, &err);
    if (s == S_OK && !silent)
        frame_send(c);
    else if (s != S_OK && silent) /* it was good before the crash, so the client must hear that it ended */
        send_subscription_failures(c, h->call_seq, 1, &(UpdateFailure){{h->slot, h->generation}, set_id, str_of(err.text)});
    else if (s != S_OK)
        send_subscription_error(c, h, request_id, set_id, str_of(err.text));
}

void call_unsubscribe(Core *c, const CallHeader *h, Client *client, Reader *in)
{
    uint32_t request_id = read_u32(in), set_id = read_u32(in);
    ASSERT(!in->bad);
    client_introduce(c, h, client);
    bool rows = h->flags & CALL_DROPPED_ROWS;
    Buf *f = frame_begin(c, FRAME_MESSAGE, h, 0);
    buf_put_u8(f, MSG_UNSUBSCRIBE_APPLIED);
    buf_put_u32(f, request_id);
    buf_put_u32(f, set_id);
    buf_put_u8(f, rows ? 0 : 1); /* option: some, none */
    Error err;
    if (subs_unsubscribe(c->subs, (ClientRef){h->slot, h->generation}, set_id, rows ? f : NULL, &err) == S_OK)
        frame_send(c);
    else
        send_subscription_error(c, h, request_id, set_id, str_of(err.text));
}

/* The query room answers with rows as they are now. For a client that knows fewer columns, write the QueryRows at
 * `from` (of one table) again with those. */
static void narrow_rows(Core *c, const Client *client, Buf *f, size_t from)
{
    const VersionShape *shape = client_shape(c, client);
    if (!shape)
        return;
    Reader r = reader_of(bytes_of(f->ptr + from, f->len - from));
    uint32_t ntables = read_u32(&r);
    Str name = read_str(&r);
    const Table *t = ntables == 1 && !r.bad ? engine_table_by_name(c->engine, name) : NULL;
    if (!t)
        return;
    const TableDef *def = table_def(t);
    uint16_t ncols = def->ncols;
    for (uint32_t i = 0; i < shape->nshapes; i++)
        if (shape->shapes[i].table_id == table_id(t))
            ncols = MIN(ncols, shape->shapes[i].ncols);
    if (ncols == def->ncols)
        return;
    size_t list_at = (size_t)(r.ptr - f->ptr);
    uint64_t nrows = 0;
    uint32_t fixed = 0;
    if (read_u8(&r) == 0) {
        fixed = read_u16(&r);
    } else {
        nrows = read_u32(&r);
        (void)read_raw(&r, 8 * nrows);
    }
    Reader data = reader_of(read_blob(&r));
    ASSERT(!r.bad);
    if (fixed)
        nrows = reader_left(&data) / fixed;
    const void **rows = ARENA_ARRAY(&c->arena, const void *, nrows + 1);
    for (uint64_t i = 0; i < nrows; i++) {
        void *row = arena_alloc_raw(&c->arena, def->row->size);
        Error err;
        if (value_decode(&data, def->row, row, &c->arena, &err) != S_OK)
            BUG("a row that we encoded does not decode: %s", err.text);
        rows[i] = row;
    }
    f->len = list_at;
    row_list_encode(f, def, ncols, rows, (uint32_t)nrows);
}

void call_one_off(Core *c, const CallHeader *h, Client *client, Reader *in)
{
    uint32_t request_id = read_u32(in);
    Str query = read_str(in);
    ASSERT(!in->bad);
    Caller caller = {.is_owner = client->owner, .views = c->views};
    memcpy(caller.identity, client->identity, 32);
    Buf *f = frame_begin(c, FRAME_MESSAGE, h, 0);
    buf_put_u8(f, MSG_ONE_OFF_RESULT);
    buf_put_u32(f, request_id);
    buf_put_u8(f, 0); /* result: ok */
    Error err;
    size_t from = f->len;
    if (query_one_off(c->engine, query, &caller, f, &err) == S_OK) {
        narrow_rows(c, client, f, from);
    } else {
        f = frame_begin(c, FRAME_MESSAGE, h, FRAME_NOT_HELD);
        buf_put_u8(f, MSG_ONE_OFF_RESULT);
        buf_put_u32(f, request_id);
        buf_put_u8(f, 1); /* result: err */
        buf_put_str(f, str_of(err.text));
    }
    frame_send(c);
}
