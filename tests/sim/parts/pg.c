/* pg.c - PostgreSQL, as far as the simulator needs it: rows by key, a log of records, the list of clients. */
#include "tests/sim/sim.h"

static Bytes own(Bytes b)
{
    uint8_t *p = x_alloc(b.len + 1);
    if (b.len)
        memcpy(p, b.ptr, b.len);
    return bytes_of(p, b.len);
}

static Bytes pg_key(const World *w, uint32_t t, Bytes row) /* of a row as in a commit record */
{
    const TableDef *def = &w->def->tables[t];
    return def->pk < 0 ? bytes_of(row.ptr, 8) : model_column(w, t, row, (uint32_t)def->pk);
}

static void pg_apply(World *w, Bytes record)
{
    Error err;
    Reader r = reader_of(record);
    CommitHeader h;
    SIM_CHECK(w, commit_read_header(&r, &h, &err) == S_OK, "%s", err.text);
    SIM_CHECK(w, h.offset == w->pg.materialised + 1, "record %llu after %llu", (unsigned long long)h.offset,
              (unsigned long long)w->pg.materialised);
    w->pg.materialised = h.offset;
    for (uint32_t i = 0; i < h.nclients; i++) {
        CommitClient c;
        SIM_CHECK(w, commit_read_client(&r, &c, &err) == S_OK, "%s", err.text);
    }
    for (uint32_t i = 0; i < h.nsequences; i++) {
        CommitSequence s;
        SIM_CHECK(w, commit_read_sequence(&r, &s, &err) == S_OK, "%s", err.text);
        for (uint32_t t = 0; t < w->schema.ntables; t++)
            if (w->schema.tables[t].id == s.table_id)
                w->pg.sequences[t][s.column] = s.allocated;
    }
    for (uint32_t i = 0; i < h.ntables; i++) {
        CommitTable ct;
        SIM_CHECK(w, commit_read_table(&r, &ct, &err) == S_OK, "%s", err.text);
        uint32_t t = 0;
        while (t < w->schema.ntables && w->schema.tables[t].id != ct.table_id)
            t++;
        SIM_CHECK(w, t < w->schema.ntables, "record of an unknown table %u", ct.table_id);
        PgTable *pt = &w->pg.tables[t];
        const TableDef *def = &w->def->tables[t];
        Reader p = reader_of(ct.payload);
        uint64_t number;
        Bytes b;
        for (uint32_t k = 0; k < ct.ndeletes; k++) {
            SIM_CHECK(w, commit_next_key(&p, def, &b, &number, &err) == S_OK, "%s", err.text);
            uint32_t at = 0;
            while (at < pt->n && !bytes_eq(pt->rows[at].key, b))
                at++;
            SIM_CHECK(w, at < pt->n, "t%u: PostgreSQL has no row to delete", t);
            free((void *)pt->rows[at].key.ptr);
            free((void *)pt->rows[at].row.ptr);
            pt->rows[at] = pt->rows[--pt->n];
        }
        for (uint32_t k = 0; k < ct.ninserts; k++) {
            SIM_CHECK(w, commit_next_row(&p, def, &b, &number, &err) == S_OK, "%s", err.text);
            Bytes key = pg_key(w, t, b);
            for (uint32_t at = 0; at < pt->n; at++)
                SIM_CHECK(w, !bytes_eq(pt->rows[at].key, key), "t%u: PostgreSQL has this key already", t);
            if (pt->n == pt->cap) {
                pt->cap = pt->cap ? 2 * pt->cap : 16;
                pt->rows = x_realloc(pt->rows, pt->cap * sizeof *pt->rows);
            }
            pt->rows[pt->n++] = (PgRow){own(key), own(b)};
        }
    }
}

/* A record became durable: into the log, and the client list with it. */
static void pg_append(World *w, Bytes record)
{
    Error err;
    uint32_t ids[TABLES_MAX];
    for (uint32_t t = 0; t < w->schema.ntables; t++)
        ids[t] = w->schema.tables[t].id;
    SchemaImage image = {w->def, w->schema.version, ids};
    SIM_CHECK(w, commit_validate(record, &image, &err) == S_OK, "%s", err.text);
    Reader r = reader_of(record);
    CommitHeader h;
    SIM_CHECK(w, commit_read_header(&r, &h, &err) == S_OK && h.offset == w->pg.durable + 1, "record %llu after %llu",
              (unsigned long long)h.offset, (unsigned long long)w->pg.durable);
    w->pg.durable = h.offset;
    for (uint32_t i = 0; i < h.nclients; i++) {
        CommitClient c;
        SIM_CHECK(w, commit_read_client(&r, &c, &err) == S_OK, "%s", err.text);
        uint32_t at = 0;
        while (at < w->pg.nclients && memcmp(w->pg.clients[at].connection_id, c.connection_id, 16) != 0)
            at++;
        if (c.connected) {
            SIM_CHECK(w, at == w->pg.nclients, "client connected twice");
            if (at == w->pg.clients_cap) {
                w->pg.clients_cap = at ? 2 * at : 8;
                w->pg.clients = x_realloc(w->pg.clients, w->pg.clients_cap * sizeof *w->pg.clients);
            }
            w->pg.clients[w->pg.nclients++] = c;
        } else if (at < w->pg.nclients) {
            w->pg.clients[at] = w->pg.clients[--w->pg.nclients];
        }
    }
    if (w->pg.nlog == w->pg.log_cap) {
        w->pg.log_cap = w->pg.log_cap ? 2 * w->pg.log_cap : 16;
        w->pg.log = x_realloc(w->pg.log, w->pg.log_cap * sizeof *w->pg.log);
    }
    Buf b = {0};
    buf_put_bytes(&b, record);
    w->pg.log[w->pg.nlog++] = b;
}

static void pg_materialise(World *w, uint32_t records)
{
    uint32_t n = MIN(records, w->pg.nlog);
    for (uint32_t i = 0; i < n; i++) {
        pg_apply(w, buf_bytes(&w->pg.log[i]));
        buf_done(&w->pg.log[i]);
    }
    if (n)
        memmove(w->pg.log, w->pg.log + n, (w->pg.nlog - n) * sizeof *w->pg.log);
    w->pg.nlog -= n;
}
