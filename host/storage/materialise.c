/* materialise.c - the materialiser thread: writes the typed tables behind the commit log.
 *
 * A round takes the durable records of one database, folds them by (table, key) to the final state, and writes it with
 * DELETE, UPDATE, INSERT over sorted arrays, clients, sequences and its offset in one transaction. Row counts must match
 * before COMMIT is sent. Nothing depends on when a round ends: after any failure the records are still in memory and in
 * the log, st_state tells where the tables stand, and what is repeated has the same result (rule 27).
 *
 *   first op on the key   last op    statement
 *   delete (it existed)   gone       DELETE
 *   delete                present    UPDATE; when a unique column differs: DELETE and INSERT
 *   insert (it did not)   present    INSERT
 *   insert                gone       nothing */
#include "host/storage/storage_int.h"

#include <stdio.h>
#include <time.h>

enum { ROUND_ROWS_MAX = 200000, ROUND_BYTES_MAX = 64 << 20, SLICE_ROWS_MAX = 50000, ROUND_INTERVAL_MS = 10, RETRY_MS_MAX = 10000 };
#define TRUNCATE_DELAY_NS UINT64_C(2000000000)

typedef struct Entry {
    const uint8_t *key, *row; /* into the chunks; KEY and ROW of commit.h */
    uint32_t key_len, row_len;
    uint64_t sort;
    bool existed, present;
} Entry;
typedef struct FoldTable {
    const TableLayout *layout;
    Entry *entries;
    uint32_t n, cap;
    uint32_t *slots;           /* index + 1 */
    uint32_t nslots;           /* power of two */
    uint32_t nupdated, nadded; /* of the round */
} FoldTable;
typedef struct Expect { /* what an answer must say */
    enum { EXPECT_ANY, EXPECT_EXACT, EXPECT_CHANGED, EXPECT_UPDATED, EXPECT_MISSING, EXPECT_STATE } kind;
    const TableLayout *table;
    uint64_t rows;
    const char *verb;
} Expect;
typedef struct Fold {
    FoldTable *tables; /* parallel to layout->tables */
    uint32_t ntables;
    FoldTable clients, sequences;
    uint64_t rows;
    Expect *expect;
    uint32_t nexpect, cap_expect;
    Buf *cols;
    uint32_t ncols;
    struct Prepared {
        uint32_t table, version;
        uint8_t kinds;
    } * prepared; /* on this connection */
    uint32_t nprepared, cap_prepared;
    uint32_t carriers[16]; /* OIDs of spacetime.a_* in the order of carrier_names */
} Fold;

static const char *const carrier_names[] = {"a_bool",   "a_int2", "a_int4",  "a_int8", "a_numeric",    "a_float4",
                                            "a_float8", "a_text", "a_bytea", "a_uuid", "a_timestamptz"};

/* ---- folding --------------------------------------------------------------------------------- */

static void table_reset(FoldTable *t)
{
    if (t->n && t->slots)
        memset(t->slots, 0, t->nslots * sizeof *t->slots);
    t->n = 0;
}

static void table_done(FoldTable *t)
{
    free(t->entries);
    free(t->slots);
    memset(t, 0, sizeof *t);
}

static uint64_t key_hash(const uint8_t *key, uint32_t len)
{
    if (len == 8)
        return hash_u64(load_u64(key) ^ hash_process_seed);
    if (len == 4)
        return hash_u64(load_u32(key) ^ hash_process_seed);
    return hash_bytes(key, len, hash_process_seed);
}

static void table_grow(FoldTable *t)
{
    t->nslots = t->nslots ? t->nslots * 2 : 1024;
    free(t->slots);
    t->slots = x_alloc(t->nslots * sizeof *t->slots);
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t at = (uint32_t)key_hash(t->entries[i].key, t->entries[i].key_len) & (t->nslots - 1);
        while (t->slots[at])
            at = (at + 1) & (t->nslots - 1);
        t->slots[at] = i + 1;
    }
}

static Entry *table_entry(FoldTable *t, const uint8_t *key, uint32_t len, bool *ret_new)
{
    if (t->n * 2 >= t->nslots)
        table_grow(t);
    uint32_t at = (uint32_t)key_hash(key, len) & (t->nslots - 1);
    for (; t->slots[at]; at = (at + 1) & (t->nslots - 1)) {
        Entry *e = &t->entries[t->slots[at] - 1];
        if (e->key_len == len && !memcmp(e->key, key, len)) {
            *ret_new = false;
            return e;
        }
    }
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 1024;
        t->entries = x_realloc(t->entries, t->cap * sizeof *t->entries);
    }
    Entry *e = &t->entries[t->n++];
    t->slots[at] = t->n;
    *e = (Entry){.key = key, .key_len = len};
    *ret_new = true;
    return e;
}

static Status key_of_row(const TableLayout *t, Bytes row, Bytes *ret, Error *err)
{
    if (t->keyless) {
        *ret = bytes_of(row.ptr, 8);
        return S_OK;
    }
    Reader r = reader_of(row);
    if (t->key_offset >= 0)
        (void)read_raw(&r, (size_t)t->key_offset);
    else
        for (int32_t i = 0; i < t->def->pk; i++)
            TRY(bsatn_skip(&r, t->def->cols[i].type, err));
    const uint8_t *from = r.ptr;
    TRY(bsatn_skip(&r, t->def->cols[t->def->pk].type, err));
    *ret = bytes_of(from, (size_t)(r.ptr - from));
    return S_OK;
}

static Status fold_table(Fold *f, const DbLayout *l, const CommitTable *ct, Error *err)
{
    const TableLayout *t = layout_table(l, ct->table_id);
    if (!t)
        return FAIL(err, S_INTERNAL, "table %u is unknown", ct->table_id);
    FoldTable *ft = &f->tables[t - l->tables];
    ft->layout = t;
    Reader in = reader_of(ct->payload);
    Bytes bytes, key;
    uint64_t rowno;
    bool fresh;
    for (uint32_t i = 0; i < ct->ndeletes; i++) {
        TRY(commit_next_key(&in, t->def, &bytes, &rowno, err));
        Entry *e = table_entry(ft, bytes.ptr, (uint32_t)bytes.len, &fresh);
        if (fresh)
            e->existed = true;
        e->present = false;
        f->rows += fresh;
    }
    for (uint32_t i = 0; i < ct->ninserts; i++) {
        TRY(commit_next_row(&in, t->def, &bytes, &rowno, err));
        TRY(key_of_row(t, bytes, &key, err));
        Entry *e = table_entry(ft, key.ptr, (uint32_t)key.len, &fresh);
        e->present = true;
        e->row = bytes.ptr;
        e->row_len = (uint32_t)bytes.len;
        f->rows += fresh;
    }
    return S_OK;
}

static Status fold_record(Fold *f, const DbLayout *l, Bytes record, Arena *a, Error *err)
{
    Reader r = reader_of(record);
    CommitHeader h;
    TRY(commit_read_header(&r, &h, err));
    bool fresh;
    for (uint16_t i = 0; i < h.nclients; i++) {
        CommitClient c;
        TRY(commit_read_client(&r, &c, err));
        uint8_t *key = arena_alloc_raw(a, 48);
        memcpy(key, c.identity, 32);
        memcpy(key + 32, c.connection_id, 16);
        Entry *e = table_entry(&f->clients, key, 48, &fresh);
        e->present = c.connected;
        e->row = (const uint8_t *)c.claims.ptr; /* in the record, which outlives the fold as rows do */
        e->row_len = (uint32_t)c.claims.len;
    }
    for (uint16_t i = 0; i < h.nsequences; i++) {
        CommitSequence q;
        TRY(commit_read_sequence(&r, &q, err));
        uint8_t *key = arena_alloc_raw(a, 32);
        memcpy(key, &q.table_id, 4);
        memcpy(key + 4, &q.column, 2);
        memcpy(key + 8, &q.allocated, 16);
        Entry *e = table_entry(&f->sequences, key, 6, &fresh);
        e->row = key + 8;
    }
    for (uint32_t i = 0; i < h.ntables; i++) {
        CommitTable t;
        TRY(commit_read_table(&r, &t, err));
        TRY(fold_table(f, l, &t, err));
    }
    return S_OK;
}

static Status fold_chunk(Fold *f, const DbLayout *l, const Chunk *c, Arena *a, Error *err)
{
    if (c->version != l->image.version)
        return FAIL(err, S_INTERNAL, "log rows of schema version %u under version %u", c->version, l->image.version);
    Reader in = reader_of(buf_bytes(&c->payload));
    while (reader_left(&in) && !in.bad) {
        Bytes record = read_blob(&in);
        if (fold_record(f, l, record, a, err) != S_OK)
            return CONTEXT(err, "commit log row %llu", (unsigned long long)c->first);
    }
    return S_OK;
}

/* Eight bytes that order most keys as PostgreSQL's index does: neighbours in the index are written together. */
static uint64_t sort_prefix(const PgType *p, const uint8_t *key, uint32_t len)
{
    const uint64_t flip = UINT64_C(1) << 63;
    switch (p->kind) {
    case PG_INT2:
    case PG_INT4:
    case PG_INT8:
    case PG_TIMESTAMPTZ: {
        int64_t v = p->width == 1   ? (p->is_signed ? (int8_t)*key : *key)
                    : p->width == 2 ? (p->is_signed ? (int16_t)load_u16(key) : load_u16(key))
                    : p->width == 4 ? (p->is_signed ? (int32_t)load_u32(key) : (int64_t)load_u32(key))
                                    : load_i64(key);
        return (uint64_t)v ^ flip;
    }
    case PG_NUMERIC: { /* the words that differ in practice come last: small wide numbers sort by their low word */
        if (p->width == 8)
            return load_u64(key);
        uint64_t high = load_u64(key + p->width - 8);
        return high ? high ^ (p->is_signed ? flip : 0) : load_u64(key) >> 1 | (p->is_signed ? flip : 0);
    }
    case PG_FIXED:
    case PG_UUID: return load_u64(key + p->width - 8);
    case PG_TEXT:
    case PG_BYTEA: {
        uint8_t first[8] = {0};
        memcpy(first, key + 4, MIN(len - 4u, 8u));
        return be_u64(first);
    }
    default: return *key;
    }
}

static int by_sort(const void *x, const void *y)
{
    const Entry *a = x, *b = y;
    return (a->sort > b->sort) - (a->sort < b->sort);
}

/* ---- sending --------------------------------------------------------------------------------- */

typedef struct Round {
    Storage *s;
    Db *db;
    PGconn *pg;
    const DbLayout *layout;
    Fold *fold;
    bool send_failed;
} Round;

static void expect(Fold *f, int kind, const TableLayout *t, uint64_t rows, const char *verb)
{
    if (f->nexpect == f->cap_expect) {
        f->cap_expect = f->cap_expect ? f->cap_expect * 2 : 64;
        f->expect = x_realloc(f->expect, f->cap_expect * sizeof *f->expect);
    }
    f->expect[f->nexpect++] = (Expect){.kind = kind, .table = t, .rows = rows, .verb = verb};
}

static uint32_t carrier_oid(const Fold *f, const char *name)
{
    for (size_t i = 0; i < COUNT_OF(carrier_names); i++)
        if (!strcmp(carrier_names[i], name))
            return f->carriers[i];
    BUG("no carrier %s", name);
}

static void column_begin(Buf *b, const Fold *f, const PgType *p, uint32_t n)
{
    buf_reset(b);
    pgtype_array_header(b, p->kind == PG_ARRAY ? carrier_oid(f, p->wrap) : p->oid, p->nullable, n);
}

static void column_put(Buf *b, const PgType *p, Reader *r)
{
    if (p->kind == PG_INT8 && !p->nullable) { /* the common case without a call */
        const uint8_t *v = read_raw(r, p->width);
        uint8_t *to = buf_reserve(b, 12) ? b->ptr + b->len : NULL;
        if (!v || !to)
            return;
        uint64_t x = p->width == 8 ? load_u64(v) : load_u32(v);
        store_u32(to, __builtin_bswap32(8));
        store_u64(to + 4, __builtin_bswap64(x));
        b->len += 12;
        return;
    }
    if (p->kind != PG_ARRAY) {
        pgtype_encode(b, p, r);
        return;
    }
    size_t at = b->len; /* a composite of one field: {fields, oid, value}; an absent option is a NULL composite */
    be_put_u32(b, 0);
    be_put_u32(b, 1);
    be_put_u32(b, p->oid);
    size_t value = b->len;
    pgtype_encode(b, p, r);
    if (b->overflow)
        return;
    if (be_u32(b->ptr + value) == UINT32_MAX) {
        b->len = at;
        be_put_u32(b, UINT32_MAX);
    } else {
        store_u32(b->ptr + at, __builtin_bswap32((uint32_t)(b->len - at - 4)));
    }
}

enum { STATEMENT_DELETE, STATEMENT_CHANGED, STATEMENT_UPDATE, STATEMENT_MISSING, STATEMENT_INSERT, STATEMENT_COUNT };

static bool need_prepare(Round *r, const TableLayout *t, int kind)
{
    Fold *f = r->fold;
    for (uint32_t i = 0; i < f->nprepared; i++)
        if (f->prepared[i].table == t->id && f->prepared[i].version == r->layout->image.version) {
            bool had = f->prepared[i].kinds & (1u << kind);
            f->prepared[i].kinds |= (uint8_t)(1u << kind);
            return !had;
        }
    if (f->nprepared == f->cap_prepared) {
        f->cap_prepared = f->cap_prepared ? f->cap_prepared * 2 : 64;
        f->prepared = x_realloc(f->prepared, f->cap_prepared * sizeof *f->prepared);
    }
    f->prepared[f->nprepared++] = (struct Prepared){t->id, r->layout->image.version, (uint8_t)(1u << kind)};
    return true;
}

static void send_statement(Round *r, const TableLayout *t, int kind, uint32_t nparams, Buf *cols)
{
    const char *const sql[] = {t->sql_delete, t->sql_delete_changed, t->sql_update, t->sql_insert_missing, t->sql_insert};
    char name[64];
    snprintf(name, sizeof name, "t%u_%d_%u", t->id, kind, r->layout->image.version);
    if (need_prepare(r, t, kind)) {
        r->send_failed |= !PQsendPrepare(r->pg, name, sql[kind], 0, NULL);
        expect(r->fold, EXPECT_ANY, NULL, 0, NULL);
    }
    const char *v[DEF_COLUMNS_MAX + 1];
    int len[DEF_COLUMNS_MAX + 1], format[DEF_COLUMNS_MAX + 1];
    for (uint32_t i = 0; i < nparams; i++) {
        v[i] = (const char *)cols[i].ptr;
        len[i] = (int)cols[i].len;
        format[i] = 1;
    }
    r->send_failed |= !PQsendQueryPrepared(r->pg, name, (int)nparams, v, len, format, 0);
}

/* Rows (all columns) or keys of entries[from..], as many as fit into one statement. Returns the first not sent. */
static uint32_t send_slice(Round *r, FoldTable *ft, const uint32_t *which, uint32_t from, uint32_t n, int kind)
{
    const TableLayout *t = ft->layout;
    Fold *f = r->fold;
    bool keys_only = kind == STATEMENT_DELETE, changed = kind == STATEMENT_CHANGED;
    uint32_t nparams = keys_only ? 1 : changed ? 1u + t->nuniques : t->ncols;
    uint32_t nbufs = MAX(nparams, (uint32_t)t->ncols);
    if (f->ncols < nbufs + 1u) {
        f->cols = x_realloc(f->cols, (nbufs + 1u) * sizeof *f->cols);
        memset(f->cols + f->ncols, 0, (nbufs + 1u - f->ncols) * sizeof *f->cols);
        f->ncols = nbufs + 1u;
    }
    Buf *cols = f->cols, *skip = &cols[nbufs];
    uint16_t slot_of[DEF_COLUMNS_MAX + 1];
    if (keys_only) {
        column_begin(&cols[0], f, t->types[t->key], 1);
    } else if (changed) {
        column_begin(&cols[0], f, t->types[t->key], 1);
        for (uint16_t c = 0; c < t->ncols; c++)
            slot_of[c] = UINT16_MAX;
        slot_of[t->key] = 0;
        for (uint16_t u = 0; u < t->nuniques; u++) {
            column_begin(&cols[u + 1], f, t->types[t->uniques[u]], 1);
            slot_of[t->uniques[u]] = (uint16_t)(u + 1);
        }
    } else {
        for (uint16_t c = 0; c < t->ncols; c++)
            column_begin(&cols[c], f, t->types[c], 1);
    }
    uint32_t count = 0, i = from;
    size_t largest = 0;
    for (; i < n && count < SLICE_ROWS_MAX && largest < PG_PARAM_BYTES_MAX; i++, count++) {
        const Entry *e = &ft->entries[which[i]];
        if (keys_only) {
            Reader key = reader_of(bytes_of(e->key, e->key_len));
            column_put(&cols[0], t->types[t->key], &key);
            largest = cols[0].len;
            continue;
        }
        Reader row = reader_of(bytes_of(e->row, e->row_len));
        for (uint16_t c = 0; c < t->ncols; c++) {
            Buf *b = !changed ? &cols[c] : slot_of[c] == UINT16_MAX ? (buf_reset(skip), skip) : &cols[slot_of[c]];
            column_put(b, t->types[c], &row);
            if (b->len > largest)
                largest = b->len;
        }
    }
    for (uint32_t c = 0; c < nparams; c++)
        store_u32(cols[c].ptr + 12, __builtin_bswap32(count));
    send_statement(r, t, kind, nparams, cols);
    static const char *const verbs[] = {"DELETE", "DELETE of changed rows", "UPDATE", "INSERT of changed rows", "INSERT"};
    static const int kinds[] = {EXPECT_EXACT, EXPECT_CHANGED, EXPECT_UPDATED, EXPECT_MISSING, EXPECT_EXACT};
    int expected = kinds[kind];
    if (kind == STATEMENT_UPDATE && !t->nuniques)
        expected = EXPECT_EXACT;
    expect(f, expected, t, count, verbs[kind]);
    return i;
}

static void send_table(Round *r, FoldTable *ft)
{
    const TableLayout *t = ft->layout;
    for (uint32_t i = 0; i < ft->n; i++)
        ft->entries[i].sort = sort_prefix(t->types[t->key], ft->entries[i].key, ft->entries[i].key_len);
    qsort(ft->entries, ft->n, sizeof *ft->entries, by_sort);
    memset(ft->slots, 0, ft->nslots * sizeof *ft->slots); /* the order changed: no lookups any more */
    OWN(free) uint32_t *list = x_alloc((ft->n + 1) * sizeof *list * 3);
    uint32_t *gone = list, *updated = list + ft->n, *added = list + 2 * ft->n, ngone = 0, nupdated = 0, nadded = 0;
    for (uint32_t i = 0; i < ft->n; i++) {
        const Entry *e = &ft->entries[i];
        if (e->existed && !e->present)
            gone[ngone++] = i;
        else if (e->existed)
            updated[nupdated++] = i;
        else if (e->present)
            added[nadded++] = i;
    }
    ft->nupdated = nupdated;
    ft->nadded = nadded;
    for (uint32_t i = 0; i < ngone;)
        i = send_slice(r, ft, gone, i, ngone, STATEMENT_DELETE);
    if (t->ncols > 1 && nupdated) {
        if (t->nuniques)
            for (uint32_t i = 0; i < nupdated;)
                i = send_slice(r, ft, updated, i, nupdated, STATEMENT_CHANGED);
        for (uint32_t i = 0; i < nupdated;)
            i = send_slice(r, ft, updated, i, nupdated, STATEMENT_UPDATE);
        if (t->nuniques)
            for (uint32_t i = 0; i < nupdated;)
                i = send_slice(r, ft, updated, i, nupdated, STATEMENT_MISSING);
    }
    for (uint32_t i = 0; i < nadded;)
        i = send_slice(r, ft, added, i, nadded, STATEMENT_INSERT);
}

static void send_params(Round *r, const char *sql, const Params *p)
{
    const char *v[16];
    int format[16];
    for (int i = 0; i < p->n; i++) {
        v[i] = p->binary[i] == 2 ? (const char *)&p->ints[i] : p->v[i];
        format[i] = 1;
    }
    r->send_failed |= !PQsendQueryParams(r->pg, sql, p->n, p->oid, v, p->len, format, 0);
}

static void put_swapped(Buf *b, const uint8_t *p, uint32_t n)
{
    be_put_u32(b, n);
    for (uint32_t i = 0; i < n; i++)
        buf_put_u8(b, p[n - 1 - i]);
}

static void send_clients(Round *r)
{
    FoldTable *t = &r->fold->clients;
    if (!t->n)
        return;
    OWN(buf) Buf sql = {0};
    for (int present = 0; present < 2; present++) {
        uint32_t n = 0;
        OWN(buf) Buf ids = {0};
        OWN(buf) Buf conns = {0};
        OWN(buf) Buf claims = {0};
        pgtype_array_header(&ids, 17, false, 1);
        pgtype_array_header(&conns, 17, false, 1);
        pgtype_array_header(&claims, 25, true, 1);
        for (uint32_t i = 0; i < t->n; i++)
            if (t->entries[i].present == (present == 1)) {
                put_swapped(&ids, t->entries[i].key, 32);
                put_swapped(&conns, t->entries[i].key + 32, 16);
                be_put_u32(&claims, t->entries[i].row_len ? t->entries[i].row_len : UINT32_MAX); /* NULL */
                buf_put(&claims, t->entries[i].row, t->entries[i].row_len);
                n++;
            }
        if (!n)
            continue;
        store_u32(ids.ptr + 12, __builtin_bswap32(n));
        store_u32(conns.ptr + 12, __builtin_bswap32(n));
        store_u32(claims.ptr + 12, __builtin_bswap32(n));
        Params p = {.n = present ? 3 : 2,
                    .v = {(char *)ids.ptr, (char *)conns.ptr, (char *)claims.ptr},
                    .len = {(int)ids.len, (int)conns.len, (int)claims.len},
                    .binary = {1, 1, 1},
                    .oid = {1001, 1001, 1009}};
        buf_reset(&sql);
        if (present)
            buf_printf(&sql,
                       "INSERT INTO %s.st_client (identity, connection_id, claims) SELECT unnest($1), unnest($2), unnest($3) ON CONFLICT "
                       "DO NOTHING",
                       r->layout->qschema);
        else
            buf_printf(
                &sql,
                "DELETE FROM %s.st_client c USING (SELECT unnest($1) i, unnest($2) k) u WHERE c.identity = u.i AND c.connection_id = u.k",
                r->layout->qschema);
        send_params(r, buf_cstr(&sql), &p);
        expect(r->fold, EXPECT_ANY, NULL, 0, NULL);
    }
}

static void send_sequences(Round *r)
{
    FoldTable *t = &r->fold->sequences;
    if (!t->n)
        return;
    OWN(arena) Arena a = {0};
    const PgType *number = pgtype_of(&a, type_scalar(TYPE_I128));
    OWN(buf) Buf tables = {0};
    OWN(buf) Buf cols = {0};
    OWN(buf) Buf values = {0};
    OWN(buf) Buf sql = {0};
    pgtype_array_header(&tables, 20, false, t->n);
    pgtype_array_header(&cols, 23, false, t->n);
    pgtype_array_header(&values, 1700, false, t->n);
    for (uint32_t i = 0; i < t->n; i++) {
        be_put_u32(&tables, 8);
        be_put_u64(&tables, load_u32(t->entries[i].key));
        be_put_u32(&cols, 4);
        be_put_u32(&cols, load_u16(t->entries[i].key + 4));
        Reader v = reader_of(bytes_of(t->entries[i].row, 16));
        pgtype_encode(&values, number, &v);
    }
    buf_printf(&sql,
               "INSERT INTO %s.st_sequence (table_id, col, allocated) SELECT unnest($1), unnest($2), unnest($3)"
               " ON CONFLICT (table_id, col) DO UPDATE SET allocated = excluded.allocated",
               r->layout->qschema);
    Params p = {.n = 3,
                .v = {(char *)tables.ptr, (char *)cols.ptr, (char *)values.ptr},
                .len = {(int)tables.len, (int)cols.len, (int)values.len},
                .binary = {1, 1, 1},
                .oid = {1016, 1007, 1231}};
    send_params(r, buf_cstr(&sql), &p);
    expect(r->fold, EXPECT_ANY, NULL, 0, NULL);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Read the answers up to the next Sync and hold them against fold->expect. `*ret_stale`: st_state is elsewhere. */
static Status read_answers(Round *r, bool *ret_stale, Error *err)
{
    Fold *f = r->fold;
    Status code = S_OK;
    uint32_t at = 0;
    uint64_t changed = 0, updated = 0, wanted = 0, missing = 0;
    const TableLayout *table = NULL;
    bool synced = false;
    for (int nulls = 0; !synced && nulls < 2;) {
        OWN(result) PGresult *res = PQgetResult(r->pg);
        if (!res) {
            nulls++;
            continue;
        }
        nulls = 0;
        ExecStatusType st = PQresultStatus(res);
        if (st == PGRES_PIPELINE_SYNC) {
            synced = true;
        } else if (st == PGRES_FATAL_ERROR || st == PGRES_BAD_RESPONSE) {
            if (code == S_OK) {
                const Expect *e = at < f->nexpect ? &f->expect[at] : NULL;
                PG_FAIL(err, r->pg, res, NULL);
                code = err->code;
                if (e && e->table)
                    CONTEXT(err, "%s, table %.*s", e->verb, STR_FMT(e->table->def->name));
                if (!strcmp(err->sqlstate, "22012"))
                    code = FAIL(err, S_FENCED, "another host owns database %llu now", (unsigned long long)r->db->id);
            }
        } else if (st != PGRES_PIPELINE_ABORTED && at < f->nexpect) {
            const Expect *e = &f->expect[at++];
            uint64_t rows = strtoull(PQcmdTuples(res), NULL, 10);
            if (e->table && e->table != table) {
                table = e->table;
                changed = 0;
                updated = 0;
                wanted = 0;
                missing = 0;
            }
            bool wrong = false;
            switch (e->kind) {
            case EXPECT_EXACT: wrong = rows != e->rows; break;
            case EXPECT_CHANGED: changed += rows; break;
            case EXPECT_UPDATED:
                updated += rows;
                wanted += e->rows;
                break;
            case EXPECT_MISSING: missing += rows; break;
            case EXPECT_STATE:
                if (rows != 1 && code == S_OK) {
                    *ret_stale = true;
                    code = FAIL(err, S_CONFLICT, "the tables stand at another offset than expected");
                }
                break;
            case EXPECT_ANY: break;
            }
            /* after the last statement of a table with unique columns everything must add up */
            bool last = at == f->nexpect || f->expect[at].table != e->table || f->expect[at].kind < e->kind;
            if ((e->kind == EXPECT_MISSING) && last && (missing != changed || updated + changed != wanted))
                wrong = true;
            if (wrong && code == S_OK) {
                code = FAIL(err, S_CONFLICT, "table %.*s: %s met %llu rows where %llu were expected: it was changed behind our back",
                            STR_FMT(e->table ? e->table->def->name : STR("?")), e->verb,
                            (unsigned long long)(e->kind == EXPECT_MISSING ? updated + missing : rows),
                            (unsigned long long)(e->kind == EXPECT_MISSING ? wanted : e->rows));
                memcpy(err->sqlstate, "02000", 6);
            }
        } else if (st != PGRES_PIPELINE_ABORTED) {
            at++;
        }
    }
    if (!synced && code == S_OK)
        code = PG_FAIL(err, r->pg, NULL, "tables");
    return code;
}

static Status simple(PGconn *pg, const char *sql, const char *tag, Error *err)
{
    OWN(result) PGresult *res = PQexec(pg, sql);
    if (PQresultStatus(res) != PGRES_COMMAND_OK)
        return PG_FAIL(err, pg, res, sql);
    if (tag && strcmp(PQcmdStatus(res), tag))
        return FAIL(err, S_IO, "%s was answered with %s", sql, PQcmdStatus(res));
    return S_OK;
}

static Status run_round(Round *r, uint64_t from, uint64_t last, bool *ret_stale, Error *err)
{
    Fold *f = r->fold;
    PGconn *pg = r->pg;
    f->nexpect = 0;
    r->send_failed = false;
    if (!PQenterPipelineMode(pg))
        return PG_FAIL(err, pg, NULL, "pipeline");
    Params none = {0}, fence = {0}, state = {0};
    send_params(r, "BEGIN", &none);
    expect(f, EXPECT_ANY, NULL, 0, NULL);
    params_i64(&fence, (int64_t)r->db->id);
    params_i64(&fence, (int64_t)r->db->epoch);
    send_params(r, "SELECT 1 / count(*) FROM (SELECT 1 FROM spacetime.fence WHERE database_id = $1 AND epoch = $2 FOR SHARE) s", &fence);
    expect(f, EXPECT_ANY, NULL, 0, NULL);
    OWN(buf) Buf sql = {0};
    buf_printf(&sql, "UPDATE %s.st_state SET materialised = $2, at = clock_timestamp() WHERE materialised = $1", r->layout->qschema);
    params_i64(&state, (int64_t)from);
    params_i64(&state, (int64_t)last);
    send_params(r, buf_cstr(&sql), &state);
    expect(f, EXPECT_STATE, NULL, 1, NULL);
    for (uint32_t i = 0; i < f->ntables; i++)
        if (f->tables[i].n)
            send_table(r, &f->tables[i]);
    send_clients(r);
    send_sequences(r);
    bool sent = !r->send_failed && PQpipelineSync(pg);
    Status code = sent ? read_answers(r, ret_stale, err) : PG_FAIL(err, pg, NULL, "tables");
    if (PQstatus(pg) != CONNECTION_OK)
        return code != S_OK ? code : FAIL(err, S_UNAVAILABLE, "connection lost");
    if (!PQexitPipelineMode(pg))
        return code != S_OK ? code : PG_FAIL(err, pg, NULL, "pipeline");
    if (code == S_OK)
        return simple(pg, "COMMIT", "COMMIT", err);
    f->nprepared = 0; /* statements prepared in the part that was aborted are unknown: begin anew */
    Error ignored;
    (void)simple(pg, "ROLLBACK", NULL, &ignored);
    (void)simple(pg, "DEALLOCATE ALL", NULL, &ignored);
    return code;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static Status connect_materialiser(Storage *s, Fold *f, Error *err)
{
    if (s->mat_pg && PQstatus(s->mat_pg) == CONNECTION_OK && PQtransactionStatus(s->mat_pg) == PQTRANS_IDLE)
        return S_OK;
    conn_close(TAKE(s->mat_pg));
    f->nprepared = 0;
    TRY(conn_open(&s->mat_pg, s->conninfo, s->host_id, CONN_MATERIALISE, err));
    OWN(result) PGresult *r = NULL;
    TRY(pg_exec(s->mat_pg, &r, err,
                "SELECT typname, oid::text FROM pg_type WHERE typnamespace = 'spacetime'::regnamespace AND typname LIKE 'a\\_%'"));
    for (int i = 0; i < PQntuples(r); i++)
        for (size_t k = 0; k < COUNT_OF(carrier_names); k++)
            if (!strcmp(carrier_names[k], PQgetvalue(r, i, 0)))
                f->carriers[k] = (uint32_t)pg_i64(r, i, 1);
    return S_OK;
}

static void fold_reset(Fold *f, const DbLayout *l)
{
    for (uint32_t i = 0; i < f->ntables; i++)
        table_reset(&f->tables[i]);
    if (f->ntables < l->ntables) {
        f->tables = x_realloc(f->tables, l->ntables * sizeof *f->tables);
        memset(f->tables + f->ntables, 0, (l->ntables - f->ntables) * sizeof *f->tables);
        f->ntables = l->ntables;
    }
    table_reset(&f->clients);
    table_reset(&f->sequences);
    f->rows = 0;
}

static Status read_state(PGconn *pg, const DbLayout *l, uint64_t *ret, Error *err)
{
    OWN(buf) Buf sql = {0};
    buf_printf(&sql, "SELECT materialised FROM %s.st_state", l->qschema);
    OWN(result) PGresult *r = NULL;
    TRY(pg_exec(pg, &r, err, buf_cstr(&sql)));
    if (PQntuples(r) != 1)
        return FAIL(err, S_INTERNAL, "%s.st_state has %d rows", l->qschema, PQntuples(r));
    *ret = (uint64_t)pg_i64(r, 0, 0);
    return S_OK;
}

/* A table whose rows are rewritten by the thousand gets pages with room for the next version of each row: updates then stay in
 * their page, touch no index and are pruned in passing (measured: 150 ms instead of 440 for 100,000 rows, and a third of the
 * space). Once, and only where nobody has set a fill factor; a table that only grows keeps its pages full. */
static void leave_room(Storage *s, const FoldTable *ft)
{
    enum { UPDATES_MIN = 2000 };
    const TableLayout *t = ft->layout;
    if (ft->n == 0 || ft->nupdated < UPDATES_MIN || ft->nupdated < ft->nadded || atomic_exchange(t->room_left, true))
        return;
    OWN(buf) Buf sql = {0};
    OWN(free) char *name = PQescapeLiteral(s->mat_pg, t->qname, strlen(t->qname)) ?: x_strdup("''");
    buf_printf(&sql,
               "DO $room$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_class WHERE oid = %s::regclass AND array_to_string(reloptions, ',') LIKE "
               "'%%fillfactor%%')"
               " THEN SET LOCAL lock_timeout = '50ms'; ALTER TABLE %s SET (fillfactor = 45); END IF; END $room$",
               name, t->qname);
    Error err;
    if (simple(s->mat_pg, buf_cstr(&sql), NULL, &err) != S_OK)
        log_debug("table %s keeps its fill factor: %s", t->qname, err.text); /* somebody holds it; nothing is lost but speed */
}

/* One round over the chunks in `work`. On return the chunks up to *ret_done are in the tables. */
static Status round_of(Storage *s, Db *db, const DbLayout *l, const ChunkQueue *work, uint64_t *ret_done, Error *err)
{
    Fold *f = s->fold;
    TRY(connect_materialiser(s, f, err));
    OWN(arena) Arena a = {0};
    fold_reset(f, l);
    uint64_t from = atomic_load(&db->materialised), last = from;
    for (const Chunk *c = work->head; c && f->rows < ROUND_ROWS_MAX; c = c->next) {
        TRY(fold_chunk(f, l, c, &a, err));
        last = c->last;
    }
    Round r = {.s = s, .db = db, .pg = s->mat_pg, .layout = l, .fold = f};
    atomic_store(&s->mat_db, db->id);
    atomic_store(&s->mat_since_ns, clock_monotonic_ns());
    atomic_store(&s->mat_pid, PQbackendPID(s->mat_pg));
    bool stale = false;
    Status code = run_round(&r, from, last, &stale, err);
    atomic_store(&s->mat_pid, 0);
    if (stale) { /* an earlier COMMIT whose answer was lost */
        uint64_t at = 0;
        TRY(read_state(s->mat_pg, l, &at, err));
        if (at > from) {
            *ret_done = at;
            return S_OK;
        }
        return FAIL(err, S_CONFLICT, "the tables of \"%s\" stand at offset %llu, not %llu", l->schema, (unsigned long long)at,
                    (unsigned long long)from);
    }
    if (code == S_OK) {
        *ret_done = last;
        for (uint32_t i = 0; i < f->ntables; i++)
            leave_room(s, &f->tables[i]);
    }
    return code;
}

Status truncate_segments(Storage *s, PGconn *pg, Db *db, bool all, Error *err)
{
    OWN(buf) Buf sql = {0};
    bool which[LOG_SEGMENTS] = {false};
    uint64_t now = clock_monotonic_ns(), done = atomic_load(&db->materialised);
    pthread_mutex_lock(&s->mu);
    DbLayout *l = layout_ref(atomic_load(&db->layout));
    const char *comma = "";
    for (int i = 0; i < LOG_SEGMENTS; i++) {
        Segment *g = &db->segments[i];
        if (!g->last || g->last > done || (!all && i == db->active))
            continue;
        if (!g->done_ns)
            g->done_ns = now;
        if (!all && now - g->done_ns < TRUNCATE_DELAY_NS)
            continue; /* somebody's pg_dump may have its snapshot and not yet its locks */
        which[i] = true;
        buf_printf(&sql, "%s%s.st_log_%d", *comma ? comma : "TRUNCATE ", l->qschema, i);
        comma = ", ";
    }
    pthread_mutex_unlock(&s->mu);
    layout_unref(l);
    if (!sql.len)
        return S_OK;
    Lease lease = {db->id, db->epoch};
    Status code = pg_exec(pg, NULL, err, all ? "BEGIN; SET LOCAL lock_timeout = '1s'" : "BEGIN; SET LOCAL lock_timeout = '50ms'");
    if (code == S_OK)
        code = fence_check(pg, &lease, err);
    if (code == S_OK)
        code = pg_exec(pg, NULL, err, buf_cstr(&sql));
    if (code == S_OK)
        code = pg_exec(pg, NULL, err, "COMMIT");
    if (code != S_OK) {
        if (PQstatus(pg) == CONNECTION_OK)
            PQclear(PQexec(pg, "ROLLBACK"));
        return code;
    }
    pthread_mutex_lock(&s->mu);
    for (int i = 0; i < LOG_SEGMENTS; i++)
        if (which[i])
            db->segments[i] = (Segment){0};
    pthread_mutex_unlock(&s->mu);
    return S_OK;
}

/* [mu] From one round's beginning to the next. At rest a round starts at once. Under load each change of a hot row that a round
 * folds is a change that PostgreSQL need not write: begin as late as keeps the lag under some two thirds of its bound. */
static uint64_t round_gap_ns(const Storage *s, const Db *db)
{
    enum { BUSY_ROUND_NS = 50000000 };
    uint64_t least = ROUND_INTERVAL_MS * UINT64_C(1000000), lag = s->config.lag_bound_ms * UINT64_C(1000000) / 10 * 7;
    if (db->round_took_ns < BUSY_ROUND_NS || s->waiters || lag < db->round_took_ns)
        return least;
    return MAX(least, lag - db->round_took_ns);
}

/* [mu] The next database with work that may be done now; else when to look again (0: when woken). */
static Db *next_work(Storage *s, uint64_t *cursor, uint64_t now, uint64_t *ret_wait_until)
{
    Db *first = NULL, *after = NULL;
    uint64_t wait_until = 0;
    for (Db *db = s->dbs; db; db = db->next) {
        if (!db->pending.head || db->paused || db->gone || db->failed)
            continue;
        uint64_t ready = MAX(db->retry_ns, db->round_began_ns + round_gap_ns(s, db));
        if (ready > now) {
            wait_until = wait_until ? MIN(wait_until, ready) : ready;
            continue;
        }
        if (!first || db->id < first->id)
            first = db;
        if (db->id > *cursor && (!after || db->id < after->id))
            after = db;
    }
    *ret_wait_until = wait_until;
    Db *db = after ? after : first;
    if (db)
        *cursor = db->id;
    return db;
}

/* [mu] Does a closed segment wait for its TRUNCATE? */
static Db *truncation_due(Storage *s, uint64_t now, bool *ret_later)
{
    for (Db *db = s->dbs; db; db = db->next) {
        if (db->paused || db->gone || db->failed)
            continue;
        for (int i = 0; i < LOG_SEGMENTS; i++) {
            Segment *g = &db->segments[i];
            if (i == db->active || !g->last || g->last > atomic_load(&db->materialised))
                continue;
            if (!g->done_ns)
                g->done_ns = now;
            if (now - g->done_ns >= TRUNCATE_DELAY_NS)
                return db;
            *ret_later = true;
        }
    }
    return NULL;
}

static void take_work(Db *db, ChunkQueue *work)
{
    while (db->pending.head && (!work->head || work->bytes + db->pending.head->payload.len <= ROUND_BYTES_MAX))
        chunk_push(work, chunk_pop(&db->pending));
}

/* [mu] Book the round: free what is done, put the rest back in front. */
static void book_round(Storage *s, Db *db, ChunkQueue *work, uint64_t done, Status code, const Error *err)
{
    Chunk *finished = NULL;
    while (work->head && work->head->last <= done) {
        Chunk *c = chunk_pop(work);
        atomic_fetch_sub(&db->pending_bytes, c->payload.len);
        c->next = finished;
        finished = c;
    }
    if (work->head) {
        work->tail->next = db->pending.head;
        if (!db->pending.head)
            db->pending.tail = work->tail;
        db->pending.head = work->head;
        db->pending.bytes += work->bytes;
    }
    if (code == S_OK) {
        atomic_store(&db->materialised, done);
        db->failures = 0;
        db->retry_ns = 0;
        db->blocked_by[0] = 0;
    } else {
        uint32_t ms = MIN(20u << MIN((uint32_t)db->failures, 9u), (uint32_t)RETRY_MS_MAX);
        db->failures++;
        db->retry_ns = clock_monotonic_ns() + ms * UINT64_C(1000000);
        if (strcmp(err->sqlstate, "55P03") || !db->blocked_by[0])
            snprintf(db->blocked_by, sizeof db->blocked_by, "%.*s", (int)sizeof db->blocked_by - 1, err->text);
    }
    atomic_store(&db->oldest_ns, db->pending.head ? db->pending.head->arrived_ns : 0);
    db->round_took_ns = clock_monotonic_ns() - db->round_began_ns;
    db->round_open = false;
    if (s->waiters)
        pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    while (finished) {
        Chunk *c = finished;
        finished = c->next;
        chunk_free(s, c);
    }
    if (db->pressure || db->stalled)
        storage_wake_log(s);
    pthread_mutex_lock(&s->mu);
}

static void work_on(Storage *s, Db *db) /* [mu] held before and after */
{
    ChunkQueue work = {0};
    take_work(db, &work);
    db->round_open = true;
    db->users++;
    db->round_began_ns = clock_monotonic_ns();
    DbLayout *l = layout_ref(atomic_load(&db->layout));
    pthread_mutex_unlock(&s->mu);
    Error err;
    memset(&err, 0, sizeof err);
    uint64_t done = 0;
    Status code = round_of(s, db, l, &work, &done, &err);
    layout_unref(l);
    if (code == S_FENCED) {
        db_fail(s, db, &err);
    } else if (code != S_OK && db->failures == 0) {
        log_warn("database %llu: tables are not written: %s", (unsigned long long)db->id, err.text);
    }
    pthread_mutex_lock(&s->mu);
    book_round(s, db, &work, done, code, &err);
    db->users--;
    pthread_cond_broadcast(&s->cond);
}

static void wait_until(Storage *s, uint64_t until_ns, uint64_t now)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    uint64_t ns = until_ns > now ? until_ns - now : 1000;
    at.tv_sec += (time_t)(ns / 1000000000);
    at.tv_nsec += (long)(ns % 1000000000);
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    (void)pthread_cond_timedwait(&s->mat_cond, &s->mu, &at);
}

void *materialise_main(void *arg)
{
    Storage *s = arg;
    Fold fold = {0};
    s->fold = &fold;
    uint64_t cursor = 0;
    pthread_mutex_lock(&s->mu);
    while (!s->stopping) {
        uint64_t now = clock_monotonic_ns(), until;
        Db *db = next_work(s, &cursor, now, &until);
        if (db) {
            work_on(s, db);
            continue;
        }
        bool later = false;
        if ((db = truncation_due(s, now, &later))) {
            db->users++;
            pthread_mutex_unlock(&s->mu);
            Error err;
            Status code = connect_materialiser(s, &fold, &err);
            if (code == S_OK)
                code = truncate_segments(s, s->mat_pg, db, false, &err);
            if (code == S_FENCED)
                db_fail(s, db, &err);
            pthread_mutex_lock(&s->mu);
            db->users--;
            if (code != S_OK) /* somebody reads it: in another two seconds */
                for (int i = 0; i < LOG_SEGMENTS; i++)
                    db->segments[i].done_ns = 0;
            pthread_cond_broadcast(&s->cond);
            continue;
        }
        if (later && (!until || until > now + 500000000))
            until = now + 500000000;
        if (until) {
            s->mat_idle = until > now + 2 * ROUND_INTERVAL_MS * UINT64_C(1000000);
            wait_until(s, until, now);
        } else {
            s->mat_idle = true;
            pthread_cond_wait(&s->mat_cond, &s->mu);
        }
        s->mat_idle = false;
    }
    pthread_mutex_unlock(&s->mu);
    for (uint32_t i = 0; i < fold.ntables; i++)
        table_done(&fold.tables[i]);
    free(fold.tables);
    table_done(&fold.clients);
    table_done(&fold.sequences);
    for (uint32_t i = 0; i < fold.ncols; i++)
        buf_done(&fold.cols[i]);
    free(fold.cols);
    free(fold.expect);
    free(fold.prepared);
    conn_close(s->mat_pg);
    return NULL;
}
