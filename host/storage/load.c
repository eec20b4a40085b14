/* load.c - one repeatable-read snapshot of a database into a LoadSink: schema, tables by COPY, sequences, clients,
 * and the log behind the tables. */
#include "host/storage/storage_int.h"

#include <stdio.h>
#include <zlib.h>

enum { LOAD_BATCH_BYTES = 64 << 10 };

/* What PostgreSQL has must be what the catalog says; extra nullable columns, indexes and grants are the operator's. */
Status layout_check_shape(PGconn *pg, const DbLayout *l, Error *err)
{
    Params p = {0};
    params_text(&p, str_of(l->schema));
    OWN(result) PGresult *r = NULL;
    TRY(pg_query(pg, &r, err,
                 "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef OR a.attgenerated <> ''"
                 " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
                 " WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND c.relkind IN ('r', 'p') ORDER BY c.relname "
                 "COLLATE \"C\", a.attnum",
                 &p, false));
    int n = PQntuples(r);
    for (uint32_t i = 0; i < l->ntables; i++) {
        const TableLayout *t = &l->tables[i];
        uint32_t found = 0;
        for (int k = 0; k < n; k++) {
            if (!str_is(t->name, PQgetvalue(r, k, 0)))
                continue;
            OWN(buf) Buf quoted = {0};
            put_ident(&quoted, str_of(PQgetvalue(r, k, 1)));
            uint16_t c = 0;
            while (c < t->ncols && strcmp(t->columns[c], buf_cstr(&quoted)))
                c++;
            const char *type = PQgetvalue(r, k, 2);
            bool required = *PQgetvalue(r, k, 3) == 't';
            if (c == t->ncols) {
                if (required && *PQgetvalue(r, k, 4) != 't')
                    return FAIL(err, S_CONFLICT,
                                "table %s: the column %s that was added by hand is NOT NULL without a default; our rows do not fill it",
                                t->qname, buf_cstr(&quoted));
                continue;
            }
            const char *want = t->types[c]->kind == PG_TIMESTAMPTZ                                          ? "timestamp with time zone"
                               : t->types[c]->kind == PG_ARRAY && t->types[c]->elem->kind == PG_TIMESTAMPTZ ? "timestamp with time zone[]"
                                                                                                            : t->types[c]->sql;
            if (strcmp(type, want))
                return FAIL(err, S_CONFLICT, "table %s, column %s: PostgreSQL has %s where the module needs %s", t->qname, t->columns[c],
                            type, want);
            found++;
        }
        for (uint16_t c = 0; found && found != t->ncols && c < t->ncols; c++) {
            bool there = false;
            for (int k = 0; k < n && !there; k++) {
                OWN(buf) Buf quoted = {0};
                put_ident(&quoted, str_of(PQgetvalue(r, k, 1)));
                there = str_is(t->name, PQgetvalue(r, k, 0)) && !strcmp(t->columns[c], buf_cstr(&quoted));
            }
            if (!there)
                return FAIL(err, S_CONFLICT, "table %s lacks the column %s in PostgreSQL", t->qname, t->columns[c]);
        }
        if (found != t->ncols)
            return FAIL(err, S_CONFLICT, "table %s is missing in PostgreSQL", t->qname);
    }
    return S_OK;
}

/* Is the index there, over these columns? `name` NULL: the primary key, whatever PostgreSQL calls it. */
static Status check_index(const PGresult *r, const TableLayout *t, const char *name, bool unique, const char *columns, Error *err)
{
    const char *kind = !name ? "primary key" : unique ? "unique index " : "index ";
    for (int k = 0; k < PQntuples(r); k++) {
        bool primary = PQgetisnull(r, k, 1);
        if (!str_is(t->name, PQgetvalue(r, k, 0)) || (name ? primary || strcmp(name, PQgetvalue(r, k, 1)) : !primary))
            continue;
        if (strcmp(columns, PQgetvalue(r, k, 2)) || (*PQgetvalue(r, k, 3) == 't') != unique)
            return FAIL(err, S_CONFLICT, "table %s, %s%s: PostgreSQL has it over (%s)%s where the module needs (%s)%s", t->qname, kind,
                        name ? name : "", PQgetvalue(r, k, 2), *PQgetvalue(r, k, 3) == 't' ? ", unique," : "", columns,
                        unique ? ", unique" : "");
        return S_OK;
    }
    return FAIL(err, S_CONFLICT, "table %s lacks the %s%s over (%s) in PostgreSQL", t->qname, kind, name ? name : "", columns);
}

Status layout_check_indexes(PGconn *pg, const DbLayout *l, Error *err)
{
    Params p = {0};
    params_text(&p, str_of(l->schema));
    OWN(result) PGresult *r = NULL;
    TRY(pg_query(pg, &r, err,
                 "SELECT t.relname, CASE WHEN NOT x.indisprimary THEN c.relname END,"
                 " (SELECT string_agg('\"' || replace(a.attname, '\"', '\"\"') || '\"', ', ' ORDER BY k.n)"
                 " FROM unnest(x.indkey) WITH ORDINALITY k(attnum, n) JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum),"
                 " x.indisunique FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid JOIN pg_class c ON c.oid = x.indexrelid"
                 " WHERE t.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND x.indisvalid",
                 &p, false));
    for (uint32_t i = 0; i < l->ntables; i++) {
        const TableLayout *t = &l->tables[i];
        TRY(check_index(r, t, NULL, true, t->columns[t->key], err));
        OWN(arena) Arena a = {0};
        PhysIndex *indexes;
        uint32_t n = layout_indexes(&a, t->def, &indexes);
        for (uint32_t k = 0; k < n; k++) {
            OWN(buf) Buf columns = {0};
            for (uint16_t c = 0; c < indexes[k].ncols; c++)
                buf_printf(&columns, "%s%s", c ? ", " : "", t->columns[indexes[k].cols[c] + t->keyless]);
            TRY(check_index(r, t, arena_str(&a, indexes[k].name).ptr, indexes[k].constraint, buf_cstr(&columns), err));
        }
    }
    return S_OK;
}

/* "key 5" for messages: the key column as text of the row in COPY form. */
static void describe_key(const TableLayout *t, const uint8_t *p, const uint8_t *end, char *out, size_t size)
{
    snprintf(out, size, "?");
    for (uint16_t c = 0; end - p >= 4; c++) {
        int32_t len = (int32_t)be_u32(p);
        p += 4;
        if (len > end - p)
            return;
        if (c == t->key) {
            PgKind k = t->types[c]->kind;
            if (len == 8 && k == PG_INT8)
                snprintf(out, size, "%lld", (long long)(int64_t)be_u64(p));
            else if (len == 4)
                snprintf(out, size, "%d", (int)be_u32(p));
            else if (len == 2)
                snprintf(out, size, "%d", (int16_t)be_u16(p));
            else if (k == PG_TEXT || k == PG_ENUM)
                snprintf(out, size, "\"%.*s\"", (int)MIN(len, 60), (const char *)p);
            else if (len >= 0 && len <= 40)
                hex_encode(out, p, (size_t)len);
            return;
        }
        p += len > 0 ? len : 0;
    }
}

static Status decode_row(Buf *out, const TableLayout *t, const uint8_t *p, const uint8_t *end, Error *err)
{
    for (uint16_t c = 0; c < t->ncols; c++) {
        if (UNLIKELY(end - p < 4))
            return FAIL(err, S_INVALID, "short row");
        int32_t len = (int32_t)be_u32(p);
        p += 4;
        if (UNLIKELY(len > end - p))
            return FAIL(err, S_INVALID, "short row");
        const PgType *type = t->types[c];
        if (type->kind == PG_INT8 && len == 8 && !type->nullable) { /* the common columns without a call */
            uint64_t v = be_u64(p);
            if (type->width == 8) {
                buf_put_u64(out, v);
            } else {
                if (UNLIKELY(v > UINT32_MAX))
                    return FAIL(err, S_INVALID, "column %s: %lld is not in the range of u32", t->columns[c], (long long)v);
                buf_put_u32(out, (uint32_t)v);
            }
        } else if (UNLIKELY(pgtype_decode(out, type, p, len, err) != S_OK)) {
            return CONTEXT(err, "column %s", t->columns[c]);
        }
        p += len > 0 ? len : 0;
    }
    return p == end ? S_OK : FAIL(err, S_INVALID, "row has more columns than expected");
}

static Status copy_table(PGconn *pg, const TableLayout *t, const LoadSink *sink, Error *err)
{
    OWN(result) PGresult *start = PQexec(pg, t->sql_copy);
    if (PQresultStatus(start) != PGRES_COPY_OUT)
        return PG_FAIL(err, pg, start, t->qname);
    OWN(buf) Buf rows = {0};
    buf_reserve(&rows, LOAD_BATCH_BYTES * 2);
    uint32_t nrows = 0;
    bool header = true;
    Status code = S_OK;
    char *data;
    int len;
    while (code == S_OK && (len = PQgetCopyData(pg, &data, 0)) > 0) {
        const uint8_t *p = (const uint8_t *)data, *end = p + len;
        if (header) { /* signature, flags, length of the header extension */
            if (len < 19 || be_u32(p + 15) > (uint32_t)len - 19)
                code = FAIL(err, S_INTERNAL, "%s: not a binary COPY", t->qname);
            else
                p += 19 + be_u32(p + 15);
            header = false;
        }
        if (code == S_OK && end - p >= 2 && (int16_t)be_u16(p) >= 0) { /* -1: trailer */
            code = decode_row(&rows, t, p + 2, end, err);
            if (code != S_OK) {
                char key[128];
                describe_key(t, p + 2, end, key, sizeof key);
                CONTEXT(err, "table %s, row with key %s", t->qname, key);
            }
            nrows++;
        }
        PQfreemem(data);
        if (code == S_OK && rows.len >= LOAD_BATCH_BYTES) {
            code = sink->rows(sink->user, t->id, nrows, buf_bytes(&rows), err);
            buf_reset(&rows);
            nrows = 0;
        }
    }
    if (code != S_OK)
        return code; /* the caller closes the connection: the rest of the COPY is not read */
    if (nrows)
        TRY(sink->rows(sink->user, t->id, nrows, buf_bytes(&rows), err));
    OWN(result) PGresult *done = PQgetResult(pg);
    if (PQresultStatus(done) != PGRES_COMMAND_OK)
        return PG_FAIL(err, pg, done, t->qname);
    while ((done = (PQclear(done), PQgetResult(pg))))
        ;
    return S_OK;
}

static Status load_sequences(PGconn *pg, const DbLayout *l, const LoadSink *sink, Error *err)
{
    OWN(buf) Buf sql = {0};
    buf_printf(&sql, "SELECT table_id::text, col::text, allocated::text FROM %s.st_sequence ORDER BY table_id, col", l->qschema);
    OWN(result) PGresult *r = NULL;
    TRY(pg_exec(pg, &r, err, buf_cstr(&sql)));
    for (int i = 0; i < PQntuples(r); i++) {
        const char *digits = PQgetvalue(r, i, 2);
        bool negative = *digits == '-';
        u128 v = 0;
        for (digits += negative; *digits; digits++)
            v = v * 10 + (u128)(*digits - '0');
        CommitSequence seq = {(uint32_t)pg_i64(r, i, 0), (uint16_t)pg_i64(r, i, 1), (i128)(negative ? -v : v)};
        TRY(sink->sequence(sink->user, &seq, err));
    }
    buf_reset(&sql);
    buf_printf(&sql, "SELECT encode(identity, 'hex'), encode(connection_id, 'hex'), coalesce(claims, '') FROM %s.st_client ORDER BY 1, 2",
               l->qschema);
    OWN(result) PGresult *c = NULL;
    TRY(pg_exec(pg, &c, err, buf_cstr(&sql)));
    for (int i = 0; i < PQntuples(c); i++) {
        CommitClient client = {.connected = true, .claims = str_of(PQgetvalue(c, i, 2))};
        if (!hex_decode(client.identity, 32, str_of(PQgetvalue(c, i, 0))) ||
            !hex_decode(client.connection_id, 16, str_of(PQgetvalue(c, i, 1))))
            return FAIL(err, S_INTERNAL, "st_client holds a malformed row");
        for (int k = 0; k < 16; k++) { /* text order -> wire order */
            uint8_t b = client.identity[k];
            client.identity[k] = client.identity[31 - k];
            client.identity[31 - k] = b;
        }
        for (int k = 0; k < 8; k++) {
            uint8_t b = client.connection_id[k];
            client.connection_id[k] = client.connection_id[15 - k];
            client.connection_id[15 - k] = b;
        }
        TRY(sink->client(sink->user, &client, err));
    }
    return S_OK;
}

static Status replay_row(const PGresult *r, int i, const DbLayout *l, const LoadSink *sink, uint64_t *offset, Error *err)
{
    uint64_t first = be_u64(PQgetvalue(r, i, 0)), last = be_u64(PQgetvalue(r, i, 1));
    uint32_t version = be_u32(PQgetvalue(r, i, 2));
    Bytes payload = bytes_of(PQgetvalue(r, i, 4), (size_t)PQgetlength(r, i, 4));
    if (last <= *offset)
        return S_OK; /* in the tables already, the segment waits for its TRUNCATE */
    if (first > *offset + 1)
        return FAIL(err, S_INTERNAL, "the commit log has a gap: offset %llu follows %llu", (unsigned long long)first,
                    (unsigned long long)*offset);
    if ((uint64_t)crc32(0, payload.ptr, (uInt)payload.len) != be_u64(PQgetvalue(r, i, 3)))
        return FAIL(err, S_INTERNAL, "commit log row %llu: the checksum is wrong", (unsigned long long)first);
    if (version != l->image.version)
        return FAIL(err, S_INTERNAL, "commit log row %llu has schema version %u, the catalog %u", (unsigned long long)first, version,
                    l->image.version);
    Reader in = reader_of(payload);
    uint64_t at = first;
    while (reader_left(&in) && !in.bad) {
        Bytes record = read_blob(&in);
        CommitHeader h;
        Reader rec = reader_of(record);
        if (commit_read_header(&rec, &h, err) != S_OK || h.offset != at)
            return FAIL(err, S_INTERNAL, "commit log row %llu: record %llu is malformed", (unsigned long long)first,
                        (unsigned long long)at);
        if (at == *offset + 1) {
            TRY(sink->replay(sink->user, record, err));
            *offset = at;
        }
        at++;
    }
    if (in.bad || at != last + 1)
        return FAIL(err, S_INTERNAL, "commit log row %llu is cut short", (unsigned long long)first);
    return S_OK;
}

static Status replay_log(PGconn *pg, const DbLayout *l, const LoadSink *sink, uint64_t *offset, Error *err)
{
    OWN(buf) Buf sql = {0};
    buf_printf(&sql,
               "DECLARE st_log NO SCROLL CURSOR FOR SELECT * FROM (SELECT * FROM %s.st_log_0 UNION ALL SELECT * FROM %s.st_log_1 UNION ALL "
               "SELECT * FROM %s.st_log_2) l"
               " WHERE last_offset > %llu ORDER BY first_offset",
               l->qschema, l->qschema, l->qschema, (unsigned long long)*offset);
    TRY(pg_exec(pg, NULL, err, buf_cstr(&sql)));
    for (;;) {
        Params none = {0};
        OWN(result) PGresult *r = NULL;
        TRY(pg_query(pg, &r, err, "FETCH 16 FROM st_log", &none, true));
        if (!PQntuples(r))
            return S_OK;
        for (int i = 0; i < PQntuples(r); i++)
            TRY(replay_row(r, i, l, sink, offset, err));
    }
}

static Status load_in_snapshot(PGconn *pg, const Lease *lease, const LoadSink *sink, uint64_t *ret_offset, Error *err)
{
    TRY(pg_exec(pg, NULL, err, "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL enable_seqscan = on"));
    Params p = {0};
    params_i64(&p, (int64_t)lease->database_id);
    params_i64(&p, (int64_t)lease->epoch);
    OWN(result) PGresult *d = NULL;
    TRY(pg_query(pg, &d, err,
                 "SELECT d.schema_name, d.schema_version, f.epoch = $2, n.oid IS NOT NULL FROM spacetime.databases d JOIN spacetime.fence "
                 "f ON f.database_id = d.id"
                 " LEFT JOIN pg_namespace n ON n.oid = d.schema_oid AND n.nspname = d.schema_name WHERE d.id = $1",
                 &p, false));
    if (!PQntuples(d))
        return FAIL(err, S_NOT_FOUND, "there is no database %llu", (unsigned long long)lease->database_id);
    if (*PQgetvalue(d, 0, 2) != 't')
        return FAIL(err, S_FENCED, "another host owns database %llu now", (unsigned long long)lease->database_id);
    if (*PQgetvalue(d, 0, 3) != 't')
        return FAIL(err, S_CONFLICT, "the PostgreSQL schema \"%s\" was dropped, renamed or replaced by hand", PQgetvalue(d, 0, 0));
    OWN(arena) Arena a = {0};
    SchemaImage image;
    Bytes program;
    OWN(result) PGresult *keep = NULL;
    TRY(catalog_image(pg, lease->database_id, (uint32_t)pg_i64(d, 0, 1), &a, &image, &program, &keep, err));
    DbLayout *l = layout_new(&image, PQgetvalue(d, 0, 0));
    module_def_unref(image.def);
    Status code = layout_check_shape(pg, l, err);
    if (code == S_OK)
        code = sink->schema(sink->user, &l->image, program, err);
    for (uint32_t i = 0; code == S_OK && i < l->ntables; i++) {
        OWN(buf) Buf sql = {0};
        buf_put_text(
            &sql, "SELECT CASE WHEN reltuples >= 0 THEN reltuples::bigint ELSE pg_relation_size(oid) / 80 END FROM pg_class WHERE oid = ");
        put_literal(&sql, str_of(l->tables[i].qname));
        buf_put_text(&sql, "::regclass");
        OWN(result) PGresult *r = NULL;
        code = pg_exec(pg, &r, err, buf_cstr(&sql));
        if (code == S_OK)
            code = sink->expect(sink->user, l->tables[i].id, (uint64_t)pg_i64(r, 0, 0), err);
    }
    for (uint32_t i = 0; code == S_OK && i < l->ntables; i++)
        code = copy_table(pg, &l->tables[i], sink, err);
    if (code == S_OK)
        code = load_sequences(pg, l, sink, err);
    uint64_t offset = 0;
    if (code == S_OK) {
        OWN(buf) Buf sql = {0};
        buf_printf(&sql, "SELECT materialised FROM %s.st_state", l->qschema);
        OWN(result) PGresult *r = NULL;
        code = pg_exec(pg, &r, err, buf_cstr(&sql));
        if (code == S_OK && PQntuples(r) != 1)
            code = FAIL(err, S_INTERNAL, "%s.st_state has %d rows", l->qschema, PQntuples(r));
        if (code == S_OK)
            offset = (uint64_t)pg_i64(r, 0, 0);
    }
    if (code == S_OK)
        code = replay_log(pg, l, sink, &offset, err);
    layout_unref(l);
    if (code != S_OK)
        return code;
    TRY(pg_exec(pg, NULL, err, "COMMIT"));
    *ret_offset = offset;
    return S_OK;
}

Status storage_load(Storage *s, const Lease *lease, const LoadSink *sink, uint64_t *ret_offset, Error *err)
{
    PGconn *pg;
    TRY(pool_take(s, &pg, err));
    Status code = load_in_snapshot(pg, lease, sink, ret_offset, err);
    if (PQtransactionStatus(pg) == PQTRANS_ACTIVE) { /* in the middle of a COPY: cancel, then read to its end */
        PGcancel *cancel = PQgetCancel(pg);
        char text[256];
        if (cancel)
            (void)PQcancel(cancel, text, sizeof text);
        PQfreeCancel(cancel);
        char *data;
        while (PQgetCopyData(pg, &data, 0) > 0)
            PQfreemem(data);
        for (PGresult *r; (r = PQgetResult(pg));)
            PQclear(r);
    }
    pool_give(s, pg);
    return code == S_OK ? S_OK : CONTEXT(err, "loading database %llu", (unsigned long long)lease->database_id);
}
