/* procedures.c - the host's side of procedures: who waits for one, and what they ask of the outside world.
 *
 * A procedure's call is consumed long before it is answered, so the calls in flight do not tell who still waits: this list does. When a
 * worker dies, those whose calls it had consumed are answered with an error; the others go to the new worker with all that waits. */
#include "host/host.h"
#include "host/wire/messages.h"

#include <stdio.h>

enum { NAME_KEPT = 80, REQUESTS_PER_WORKER_MAX = 4096 };

struct ProcedureWaiter {
    uint64_t call_seq;
    uint32_t slot, generation, request_id;
    bool http;
    char name[NAME_KEPT];
};

/* ---- who waits ---- */

void procedures_called(Database *db, uint64_t call_seq, uint32_t slot, uint32_t generation, bool http, uint32_t nparts, const Bytes *parts)
{
    if (db->nprocedures == db->procedures_cap) {
        db->procedures_cap = MAX(16u, db->procedures_cap * 2);
        db->procedures = x_realloc(db->procedures, db->procedures_cap * sizeof *db->procedures);
    }
    ProcedureWaiter *w = &db->procedures[db->nprocedures++];
    *w = (ProcedureWaiter){.call_seq = call_seq, .slot = slot, .generation = generation, .http = http};
    OWN(buf) Buf head = buf_with_max(8 + NAME_KEPT);
    for (uint32_t i = 0; i < nparts && buf_ok(&head); i++)
        buf_put_bytes(&head, bytes_of(parts[i].ptr, MIN(parts[i].len, head.max - head.len)));
    Reader r = reader_of(buf_bytes(&head));
    w->request_id = read_u32(&r);
    uint32_t len = read_u32(&r);
    snprintf(w->name, sizeof w->name, "%.*s", (int)MIN((size_t)len, MIN(reader_left(&r), (size_t)NAME_KEPT - 1)), (const char *)r.ptr);
}

static void forget(Database *db, uint32_t at)
{
    db->nprocedures--;
    memmove(db->procedures + at, db->procedures + at + 1, (db->nprocedures - at) * sizeof *db->procedures);
}

void procedures_answered(Database *db, uint64_t call_seq)
{
    for (uint32_t i = 0; i < db->nprocedures && db->procedures[i].call_seq <= call_seq; i++)
        if (db->procedures[i].call_seq == call_seq) {
            forget(db, i);
            return;
        }
}

void procedures_renumbered(Database *db, uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i < db->nprocedures; i++)
        if (db->procedures[i].call_seq == from)
            db->procedures[i].call_seq = to;
}

/* ---- after a crash ---- */

void procedures_lost(Database *db, uint64_t offset, uint64_t guilty)
{
    const char *how = db->link->exit_text;
    for (uint32_t i = 0; i < db->nprocedures;) {
        const ProcedureWaiter *w = &db->procedures[i];
        if (w->call_seq > db->answered_call_seq) { /* not begun */
            i++;
            continue;
        }
        char text[600];
        snprintf(text, sizeof text, "procedure `%s` %s: %s", w->name,
                 w->call_seq == guilty ? "ended with the module's process" : "was running when the module's process ended", how);
        Slot *s = w->slot < db->nslots && db->slots[w->slot].generation == w->generation ? &db->slots[w->slot] : NULL;
        if (s && s->client && w->http) {
            net_client_reply(s->client, offset, REPLY_INTERNAL, str_bytes(str_of(text)));
        } else if (s && s->client) {
            OWN(buf) Buf message = {0};
            server_procedure_internal_error(&message, w->request_id, str_of(text));
            NetPiece piece = {.bytes = buf_bytes(&message)};
            net_client_send(s->client, offset, NET_NOT_HELD, 1, &piece);
        }
        forget(db, i);
    }
}

/* ---- what they ask of the outside world ---- */

struct ProcedureRequest {
    ProcedureRequest *next;
    Database *db;
    uint64_t serial, request, offset; /* serial: of the worker that asked */
    Buf record, answer;
};

static void request_free(ProcedureRequest *q)
{
    buf_done(&q->record);
    buf_done(&q->answer);
    free(q);
}

static void answer_on_loop(void *arg)
{
    ProcedureRequest *q = arg;
    Database *db = q->db;
    if (db->state == DB_OPEN && db->link && db->link_serial == q->serial) {
        CallHeader header = {.kind = CALL_ANSWER, .slot = CLIENT_NONE};
        uint8_t number[8];
        store_u64(number, q->request);
        ring_write(&db->link->call, 3, (Bytes[]){{(const uint8_t *)&header, sizeof header}, {number, 8}, buf_bytes(&q->answer)});
        db->calls_unpublished = true;
        db->nrequests--;
    }
    request_free(q);
}

/* [egress thread] */
static void request_done(void *ctx, Buf *answer)
{
    ProcedureRequest *q = ctx;
    if (!answer) { /* the host stops: nobody waits for it */
        request_free(q);
        return;
    }
    q->answer = *answer;
    host_post(q->db->host, answer_on_loop, q);
}

bool procedures_request(Database *db, uint64_t offset, Bytes payload)
{
    Reader r = reader_of(payload);
    uint64_t request = read_u64(&r);
    OWN(arena) Arena arena = {0};
    EgressRequest checked;
    Error err;
    if (r.bad || db->nrequests >= REQUESTS_PER_WORKER_MAX ||
        egress_request_read(&checked, bytes_of(r.ptr, reader_left(&r)), &arena, &err) != S_OK)
        return false;
    ProcedureRequest *q = NEW(ProcedureRequest);
    *q = (ProcedureRequest){.db = db, .serial = db->link_serial, .request = request, .offset = offset};
    buf_put(&q->record, r.ptr, reader_left(&r));
    db->nrequests++;
    ProcedureRequest **at = &db->requests;
    while (*at)
        at = &(*at)->next;
    *at = q;
    procedures_progress(db);
    return true;
}

void procedures_progress(Database *db)
{
    uint64_t durable = atomic_load(&db->durable);
    for (ProcedureRequest **at = &db->requests, *q; (q = *at) != NULL;) {
        if (q->offset > durable) {
            at = &q->next;
            continue;
        }
        *at = q->next;
        egress_submit(db->host->egress, buf_bytes(&q->record), request_done, q);
    }
}

void procedures_new_worker(Database *db)
{
    db->link_serial++;
    db->nrequests = 0;
    for (ProcedureRequest *q; (q = db->requests) != NULL;) {
        db->requests = q->next;
        request_free(q);
    }
}

void procedures_forget(Database *db)
{
    procedures_new_worker(db);
    db->nprocedures = 0;
}
