/* commit.c - reading, checking and writing commit records. The layout stands in commit.h.
 *
 * Records come from a worker process that a module may have taken over: nothing in one is believed until
 * it has been checked against the definition that the host itself holds. Loops end with the bytes: every
 * key and every row takes at least one. */
#include "host/schema/commit.h"

/* ---- reading ---------------------------------------------------------------------------------- */

#define SHORT(err, part) FAIL((err), S_INVALID, "commit record: ends in the middle of %s", (part))

Status commit_read_header(Reader *r, CommitHeader *ret, Error *err)
{
    size_t left = r->bad ? 0 : reader_left(r);
    uint32_t magic = read_u32(r);
    CommitHeader h = {.length = read_u32(r),
                      .offset = read_u64(r),
                      .call_seq = read_u64(r),
                      .timestamp_us = read_i64(r),
                      .schema_version = read_u32(r),
                      .nclients = read_u16(r),
                      .nsequences = read_u16(r),
                      .ntables = read_u32(r)};
    if (r->bad)
        return SHORT(err, "its header");
    if (magic != COMMIT_MAGIC)
        return FAIL(err, S_INVALID, "commit record: magic 0x%08x, expected 0x%08x", magic, COMMIT_MAGIC);
    if (h.length < COMMIT_HEADER_BYTES || h.length > COMMIT_BYTES_MAX || h.length > left)
        return FAIL(err, S_INVALID, "commit record: length %u, but %zu bytes are there (at least %d, at most %d)", h.length, left,
                    COMMIT_HEADER_BYTES, COMMIT_BYTES_MAX);
    *ret = h;
    return S_OK;
}

Status commit_read_client(Reader *r, CommitClient *ret, Error *err)
{
    uint8_t connected = read_u8(r);
    const uint8_t *identity = read_raw(r, 32), *connection_id = read_raw(r, 16);
    if (r->bad)
        return SHORT(err, "a client");
    if (connected > 2)
        return FAIL(err, S_INVALID, "commit record: client state %u, expected 0, 1 or 2", connected);
    ret->claims = (Str){0};
    if (connected == 2) {
        ret->claims = read_str(r);
        if (r->bad)
            return SHORT(err, "a client's claims");
        if (ret->claims.len > CLAIMS_BYTES_MAX || !utf8_valid(ret->claims) || memchr(ret->claims.ptr, 0, ret->claims.len))
            return FAIL(err, S_INVALID, "commit record: %zu bytes of claims that are no text of at most %d bytes", ret->claims.len,
                        CLAIMS_BYTES_MAX);
    }
    ret->connected = connected;
    memcpy(ret->identity, identity, 32);
    memcpy(ret->connection_id, connection_id, 16);
    return S_OK;
}

Status commit_read_sequence(Reader *r, CommitSequence *ret, Error *err)
{
    CommitSequence s = {.table_id = read_u32(r), .column = read_u16(r)};
    const uint8_t *allocated = read_raw(r, 16);
    if (r->bad)
        return SHORT(err, "a sequence");
    memcpy(&s.allocated, allocated, 16);
    *ret = s;
    return S_OK;
}

Status commit_read_table(Reader *r, CommitTable *ret, Error *err)
{
    CommitTable t = {.table_id = read_u32(r), .ndeletes = read_u32(r), .ninserts = read_u32(r)};
    t.payload = read_blob(r);
    if (r->bad)
        return SHORT(err, "a table's changes");
    if ((uint64_t)t.ndeletes + t.ninserts > t.payload.len)
        return FAIL(err, S_INVALID, "commit record: table %u has %u deletes and %u inserts in %zu bytes", t.table_id, t.ndeletes,
                    t.ninserts, t.payload.len);
    *ret = t;
    return S_OK;
}

static Status next_item(Reader *payload, const TableDef *t, const Type *type, Bytes *ret, uint64_t *ret_rowno, Error *err)
{
    const uint8_t *start = payload->ptr;
    uint64_t rowno = 0;
    if (t->pk < 0) {
        rowno = read_u64(payload);
        if (payload->bad)
            return SHORT(err, "a row number");
    }
    if (type)
        TRY(bsatn_skip(payload, type, err));
    if (t->pk < 0 && ret_rowno)
        *ret_rowno = rowno;
    *ret = bytes_of(start, (size_t)(payload->ptr - start));
    return S_OK;
}

Status commit_next_key(Reader *payload, const TableDef *t, Bytes *ret, uint64_t *ret_rowno, Error *err)
{
    return next_item(payload, t, t->pk < 0 ? NULL : t->cols[t->pk].type, ret, ret_rowno, err);
}

Status commit_next_row(Reader *payload, const TableDef *t, Bytes *ret, uint64_t *ret_rowno, Error *err)
{
    return next_item(payload, t, t->row, ret, ret_rowno, err);
}

/* ---- checking --------------------------------------------------------------------------------- */

static const TableDef *table_at(const SchemaImage *s, uint32_t table_id, uint32_t *ret_position)
{
    for (uint32_t i = 0; i < s->def->ntables; i++)
        if (s->ids[i] == table_id) {
            *ret_position = i;
            return &s->def->tables[i];
        }
    return NULL;
}

const TableDef *schema_image_table(const SchemaImage *s, uint32_t table_id)
{
    uint32_t position;
    return table_at(s, table_id, &position);
}

static Status check_sequence(Reader *r, const SchemaImage *image, Error *err)
{
    CommitSequence s;
    TRY(commit_read_sequence(r, &s, err));
    const TableDef *t = schema_image_table(image, s.table_id);
    for (uint16_t i = 0; t && i < t->nsequences; i++)
        if (t->sequences[i].col == s.column)
            return S_OK;
    return FAIL(err, S_INVALID, "commit record: table %u has no auto-increment on column %u", s.table_id, s.column);
}

static Status check_table(Reader *r, const SchemaImage *image, uint64_t *seen, Error *err)
{
    CommitTable ct;
    uint32_t position;
    Bytes item;
    uint64_t rowno;
    TRY(commit_read_table(r, &ct, err));
    const TableDef *t = table_at(image, ct.table_id, &position);
    if (!t)
        return FAIL(err, S_INVALID, "commit record: no table %u in schema version %u", ct.table_id, image->version);
    if (t->is_event)
        return FAIL(err, S_INVALID, "commit record: rows of event table `%.*s`", STR_FMT(t->name));
    if (seen[position / 64] >> position % 64 & 1)
        return FAIL(err, S_INVALID, "commit record: table `%.*s` appears twice", STR_FMT(t->name));
    seen[position / 64] |= (uint64_t)1 << position % 64;
    Reader p = reader_of(ct.payload);
    for (uint32_t i = 0; i < ct.ndeletes; i++)
        if (commit_next_key(&p, t, &item, &rowno, err) != S_OK)
            return CONTEXT(err, "commit record: table `%.*s`, delete %u", STR_FMT(t->name), i);
    for (uint32_t i = 0; i < ct.ninserts; i++)
        if (commit_next_row(&p, t, &item, &rowno, err) != S_OK)
            return CONTEXT(err, "commit record: table `%.*s`, insert %u", STR_FMT(t->name), i);
    if (reader_left(&p))
        return FAIL(err, S_INVALID, "commit record: table `%.*s`, %zu bytes follow its last row", STR_FMT(t->name), reader_left(&p));
    return S_OK;
}

Status commit_validate(Bytes record, const SchemaImage *s, Error *err)
{
    Reader r = reader_of(record);
    CommitHeader h;
    CommitClient client;
    uint64_t seen[(DEF_TABLES_MAX + 63) / 64] = {0};
    TRY(commit_read_header(&r, &h, err));
    if (h.length != record.len)
        return FAIL(err, S_INVALID, "commit record: length %u, but %zu bytes are there", h.length, record.len);
    if (h.schema_version != s->version)
        return FAIL(err, S_INVALID, "commit record: schema version %u, expected %u", h.schema_version, s->version);
    if (h.ntables > s->def->ntables)
        return FAIL(err, S_INVALID, "commit record: %u tables, but the schema has %u", h.ntables, s->def->ntables);
    for (uint16_t i = 0; i < h.nclients; i++)
        TRY(commit_read_client(&r, &client, err));
    for (uint16_t i = 0; i < h.nsequences; i++)
        TRY(check_sequence(&r, s, err));
    for (uint32_t i = 0; i < h.ntables; i++)
        TRY(check_table(&r, s, seen, err));
    if (reader_left(&r))
        return FAIL(err, S_INVALID, "commit record: %zu bytes follow its last table", reader_left(&r));
    return S_OK;
}

/* ---- writing ---------------------------------------------------------------------------------- */

size_t commit_begin(Buf *out)
{
    static const uint8_t room[COMMIT_HEADER_BYTES];
    size_t start = out->len;
    buf_put(out, room, sizeof room);
    return start;
}

void commit_put_client(Buf *out, const CommitClient *c)
{
    bool claims = c->connected && c->claims.len;
    buf_put_u8(out, claims ? 2 : c->connected);
    buf_put(out, c->identity, 32);
    buf_put(out, c->connection_id, 16);
    if (claims)
        buf_put_str(out, c->claims);
}

void commit_put_sequence(Buf *out, const CommitSequence *s)
{
    buf_put_u32(out, s->table_id);
    buf_put_u16(out, s->column);
    buf_put(out, &s->allocated, 16);
}

enum { TABLE_HEADER_BYTES = 16 };

size_t commit_begin_table(Buf *out, uint32_t table_id)
{
    uint8_t head[TABLE_HEADER_BYTES] = {0};
    size_t start = out->len;
    store_u32(head, table_id);
    buf_put(out, head, sizeof head);
    return start;
}

void commit_end_table(Buf *out, size_t at, uint32_t ndeletes, uint32_t ninserts)
{
    if (!buf_ok(out))
        return; /* bytes were dropped: `at` may lie behind the end */
    store_u32(out->ptr + at + 4, ndeletes);
    store_u32(out->ptr + at + 8, ninserts);
    store_u32(out->ptr + at + 12, (uint32_t)(out->len - at - TABLE_HEADER_BYTES));
}

void commit_end(Buf *out, size_t at, const CommitHeader *h)
{
    if (!buf_ok(out))
        return;
    uint8_t *p = out->ptr + at;
    store_u32(p, COMMIT_MAGIC);
    store_u32(p + 4, (uint32_t)(out->len - at));
    store_u64(p + 8, h->offset);
    store_u64(p + 16, h->call_seq);
    store_i64(p + 24, h->timestamp_us);
    store_u32(p + 32, h->schema_version);
    store_u16(p + 36, h->nclients);
    store_u16(p + 38, h->nsequences);
    store_u32(p + 40, h->ntables);
}
_Static_assert(COMMIT_HEADER_BYTES == 44, "commit_end writes every byte of the header");
