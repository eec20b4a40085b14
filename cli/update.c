/* update.c - see update.h. */
#include "cli/update.h"
#include "host/wire/sats_json.h"

/* The rows of one table in one message. */
typedef struct TableRows {
    struct TableRows *next;
    const SchemaTable *table;
    Buf inserts, deletes; /* JSON rows joined with commas */
} TableRows;

static TableRows *rows_of(TableRows **list, const SchemaTable *table, Arena *a)
{
    for (TableRows *t = *list; t; t = t->next) {
        if (t->table == table)
            return t;
    }
    TableRows *t = ARENA_NEW(a, TableRows);
    *t = (TableRows){.next = *list, .table = table};
    return *list = t;
}

/* BsatnRowList: the hint tells how many rows there are, the type where each one ends. */
static Status read_rows(Buf *out, Reader *in, const Type *row, Error *err)
{
    uint8_t hint = read_u8(in);
    uint64_t fixed = 0, count = 0;
    if (hint == 0) {
        fixed = read_u16(in);
    } else if (hint == 1) {
        count = read_u32(in);
        if (!read_raw(in, (size_t)count * 8) && count)
            return FAIL(err, S_INVALID, "row offsets end early");
    }
    Bytes data = read_blob(in);
    if (in->bad || hint > 1 || (hint == 0 && (fixed == 0 || data.len % fixed != 0)))
        return FAIL(err, S_INVALID, "a row list that is broken");
    if (hint == 0)
        count = data.len / fixed;
    Reader r = reader_of(data);
    for (uint64_t i = 0; i < count; i++) {
        buf_put_text(out, out->len ? "," : "");
        TRY(json_from_bsatn(out, &r, row, JSON_DECLARED, err));
    }
    return reader_left(&r) ? FAIL(err, S_INVALID, "bytes after the last row") : S_OK;
}

static Status read_table_name(const SchemaTable **ret, Reader *in, const Schema *s, Error *err)
{
    Str name = read_str(in);
    *ret = in->bad ? NULL : schema_table(s, name);
    if (!*ret)
        return FAIL(err, S_INVALID, "rows of the table `%.*s`, which the schema does not have; was the module changed meanwhile?",
                    (int)MIN(name.len, 100), name.ptr ? name.ptr : "");
    return S_OK;
}

static Status read_query_sets(TableRows **list, Reader *in, const Schema *s, Arena *a, Error *err)
{
    uint32_t nsets = read_u32(in);
    for (uint32_t q = 0; q < nsets && !in->bad; q++) {
        read_u32(in); /* query_set_id: we have one */
        uint32_t ntables = read_u32(in);
        for (uint32_t i = 0; i < ntables && !in->bad; i++) {
            const SchemaTable *table;
            TRY(read_table_name(&table, in, s, err));
            TableRows *rows = rows_of(list, table, a);
            uint32_t nlists = read_u32(in);
            for (uint32_t k = 0; k < nlists && !in->bad; k++) {
                uint8_t tag = read_u8(in);
                if (tag > 1)
                    return FAIL(err, S_INVALID, "unknown kind of table update %u", tag);
                TRY(read_rows(&rows->inserts, in, table->row, err));
                if (tag == 0)
                    TRY(read_rows(&rows->deletes, in, table->row, err));
            }
        }
    }
    return S_OK;
}

static Status read_message(UpdateKind *kind, Buf *out, TableRows **list, Reader *in, const Schema *s, Arena *a, Error *err)
{
    uint8_t tag = read_u8(in);
    switch (tag) {
    case 0: /* InitialConnection */
        read_raw(in, 32 + 16);
        read_str(in);
        break;
    case 1: { /* SubscribeApplied */
        *kind = UPDATE_INITIAL;
        read_u32(in);
        read_u32(in);
        uint32_t n = read_u32(in);
        for (uint32_t i = 0; i < n && !in->bad; i++) {
            const SchemaTable *table;
            TRY(read_table_name(&table, in, s, err));
            TRY(read_rows(&rows_of(list, table, a)->inserts, in, table->row, err));
        }
        break;
    }
    case 3: { /* SubscriptionError */
        *kind = UPDATE_REFUSED;
        if (read_u8(in) == 0)
            read_u32(in);
        read_u32(in);
        Str why = read_str(in);
        buf_put_str_raw(out, why);
        break;
    }
    case 4: /* TransactionUpdate */
        *kind = UPDATE_ROWS;
        TRY(read_query_sets(list, in, s, a, err));
        break;
    default: return FAIL(err, S_INVALID, "a message of kind %u, which was not asked for", tag);
    }
    return in->bad ? FAIL(err, S_INVALID, "a message that ends early") : S_OK;
}

Status update_read(UpdateKind *ret, Buf *out, Reader *in, const Schema *s, Error *err)
{
    OWN(arena) Arena a = {0};
    TableRows *list = NULL;
    UpdateKind kind = UPDATE_OTHER;
    Status code = read_message(&kind, out, &list, in, s, &a, err);
    if (code == S_OK && (kind == UPDATE_INITIAL || kind == UPDATE_ROWS)) {
        buf_put_text(out, "{");
        for (const TableRows *t = list; t; t = t->next) {
            json_string(out, str_of(t->table->name));
            buf_put_text(out, ":{\"deletes\":[");
            buf_put_bytes(out, buf_bytes(&t->deletes));
            buf_put_text(out, "],\"inserts\":[");
            buf_put_bytes(out, buf_bytes(&t->inserts));
            buf_put_text(out, t->next ? "]}," : "]}");
        }
        buf_put_text(out, "}\n");
    }
    for (TableRows *t = list; t; t = t->next) {
        buf_done(&t->inserts);
        buf_done(&t->deletes);
    }
    if (code == S_OK)
        *ret = kind;
    return code;
}
