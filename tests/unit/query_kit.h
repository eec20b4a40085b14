/* query_kit.h - what the query tests share: a small database, rows as text, clients that keep what they were told. */
#ifndef TESTS_QUERY_KIT_H
#define TESTS_QUERY_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "host/query/query.h"

#define MUST(call)                                                                                                                         \
    do {                                                                                                                                   \
        Error must_err_ = {0};                                                                                                             \
        Error *err = &must_err_;                                                                                                           \
        (void)err;                                                                                                                         \
        if ((call) != S_OK)                                                                                                                \
            fail_msg("%s: %s", #call, must_err_.text);                                                                                     \
    } while (0)

typedef struct Col {
    const char *name;
    const Type *type;
    uint32_t flags;
} Col;

static inline uint32_t kit_table(ModuleBuilder *b, const char *name, Access access, bool is_event, uint32_t n, const Col *cols)
{
    BuilderColumn out[64];
    for (uint32_t i = 0; i < n; i++)
        out[i] = (BuilderColumn){.name = str_of(cols[i].name), .type = cols[i].type, .flags = cols[i].flags};
    return module_builder_table(b, str_of(name), access, is_event, n, out);
}
#define KIT_TABLE(b, name, access, is_event, ...)                                                                                          \
    kit_table((b), (name), (access), (is_event), sizeof((Col[]){__VA_ARGS__}) / sizeof(Col), (Col[]){__VA_ARGS__})
#define T(kind) type_scalar(TYPE_##kind)

/* Ids follow names so that a later version of the schema keeps them: 4096 + a hash of the name. */
static inline uint32_t kit_id(Str name) { return 4096 + (uint32_t)(hash_bytes(name.ptr, name.len, 7) % 1000000); }

static inline SchemaImage kit_image(ModuleBuilder *b, uint32_t version)
{
    Buf bsatn = {0};
    ModuleDef *def = NULL;
    MUST(module_builder_finish(b, &bsatn, err));
    MUST(module_def_from_bsatn(&def, buf_bytes(&bsatn), err));
    buf_done(&bsatn);
    uint32_t *ids = x_alloc(sizeof *ids * (def->ntables + 1));
    for (uint32_t i = 0; i < def->ntables; i++)
        ids[i] = kit_id(def->tables[i].name);
    return (SchemaImage){def, version, ids};
}

static inline void kit_image_done(SchemaImage *image)
{
    module_def_unref(image->def);
    free((void *)image->ids);
}

static inline Engine *kit_engine(ModuleBuilder *b)
{
    EngineLimits limits = {0};
    Engine *e = engine_new(&limits);
    SchemaImage image = kit_image(b, 1);
    engine_set_schema(e, &image);
    kit_image_done(&image);
    return e;
}

/* ---- BSATN rows as text: (1,'pen',3,t) ---- */

static inline void kit_print(Buf *out, const Type *t, Reader *r)
{
    switch (t->kind) {
    case TYPE_BOOL: buf_put_text(out, read_u8(r) ? "t" : "f"); break;
    case TYPE_I8: buf_printf(out, "%d", (int8_t)read_u8(r)); break;
    case TYPE_U8:
    case TYPE_ENUM: buf_printf(out, "%u", read_u8(r)); break;
    case TYPE_I16: buf_printf(out, "%d", (int16_t)read_u16(r)); break;
    case TYPE_U16: buf_printf(out, "%u", read_u16(r)); break;
    case TYPE_I32: buf_printf(out, "%d", (int32_t)read_u32(r)); break;
    case TYPE_U32: buf_printf(out, "%u", read_u32(r)); break;
    case TYPE_I64:
    case TYPE_TIMESTAMP:
    case TYPE_DURATION: buf_printf(out, "%lld", (long long)read_i64(r)); break;
    case TYPE_U64: buf_printf(out, "%llu", (unsigned long long)read_u64(r)); break;
    case TYPE_F32: {
        uint32_t u = read_u32(r);
        float f;
        memcpy(&f, &u, 4);
        buf_printf(out, "%.9g", (double)f);
        break;
    }
    case TYPE_F64: {
        uint64_t u = read_u64(r);
        double f;
        memcpy(&f, &u, 8);
        buf_printf(out, "%.17g", f);
        break;
    }
    case TYPE_STRING: {
        Str s = read_str(r);
        buf_printf(out, "'%.*s'", STR_FMT(s));
        break;
    }
    case TYPE_BYTES: {
        Bytes b = read_blob(r);
        for (size_t i = 0; i < b.len; i++)
            buf_printf(out, "%02x", b.ptr[i]);
        break;
    }
    case TYPE_ARRAY: {
        uint32_t n = read_u32(r);
        buf_put_text(out, "[");
        for (uint32_t i = 0; i < n && !r->bad; i++) {
            if (i)
                buf_put_text(out, ",");
            kit_print(out, t->elem, r);
        }
        buf_put_text(out, "]");
        break;
    }
    case TYPE_OPTION:
        if (read_u8(r) == 0)
            kit_print(out, t->elem, r);
        else
            buf_put_text(out, "none");
        break;
    case TYPE_PRODUCT:
        buf_put_text(out, "(");
        for (uint32_t i = 0; i < t->nfields; i++) {
            if (i)
                buf_put_text(out, ",");
            kit_print(out, t->fields[i].type, r);
        }
        buf_put_text(out, ")");
        break;
    default: { /* wide numbers and identities: most significant digits first, zeros cut */
        Bytes b = read_bytes(r, (size_t)t->bsatn_size);
        size_t i = b.len;
        while (i > 1 && b.ptr[i - 1] == 0)
            i--;
        buf_put_text(out, "x");
        while (i-- > 0)
            buf_printf(out, "%02x", b.ptr[i]);
        break;
    }
    }
}

static inline int kit_str_order(const void *x, const void *y) { return strcmp(*(char *const *)x, *(char *const *)y); }

/* Rows in sorted order, joined by blanks. */
static inline void kit_rows(Buf *out, const Type *row, Bytes rows)
{
    static char *lines[200000];
    size_t n = 0;
    Reader r = reader_of(rows);
    while (reader_left(&r) && !r.bad) {
        Buf b = {0};
        kit_print(&b, row, &r);
        assert_true(n < COUNT_OF(lines));
        lines[n++] = x_strdup(buf_cstr(&b));
        buf_done(&b);
    }
    assert_false(r.bad);
    qsort(lines, n, sizeof *lines, kit_str_order);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_put_text(out, " ");
        buf_put_text(out, lines[i]);
        free(lines[i]);
    }
}

/* ---- SQL ---- */

/* Run and keep; the rows or the error as text in `out`. */
static inline Status kit_sql(Engine *e, const Caller *caller, Str text, Buf *out)
{
    SqlResult r;
    Error err = {0};
    buf_reset(out);
    txn_begin(e);
    Status st = sql_execute(&r, e, text, caller, &err);
    if (st != S_OK) {
        txn_rollback(e);
        buf_put_text(out, err.text);
        buf_cstr(out);
        return st;
    }
    txn_commit(e);
    if (r.row->nfields)
        kit_rows(out, r.row, buf_bytes(&r.rows));
    else
        buf_printf(out, "+%llu -%llu ~%llu", (unsigned long long)r.inserted, (unsigned long long)r.deleted, (unsigned long long)r.updated);
    buf_cstr(out);
    sql_result_done(&r);
    return S_OK;
}

static const Caller kit_owner = {.is_owner = true};

static inline void kit_run(Engine *e, const char *text)
{
    Buf out = {0};
    if (kit_sql(e, &kit_owner, str_of(text), &out) != S_OK)
        fail_msg("%s: %s", text, buf_cstr(&out));
    buf_done(&out);
}

/* ---- a BsatnRowList ---- */

typedef struct KitList {
    uint32_t nrows;
    Bytes data;
    uint64_t offsets_at;
    bool fixed;
    uint32_t width;
    Bytes offsets;
} KitList;
static inline KitList kit_read_list(Reader *r)
{
    KitList l = {0};
    uint8_t tag = read_u8(r);
    assert_true(tag <= 1);
    l.fixed = tag == 0;
    if (l.fixed) {
        l.width = read_u16(r);
        assert_true(l.width > 0);
    } else {
        l.nrows = read_u32(r);
        l.offsets = read_bytes(r, (size_t)l.nrows * 8);
    }
    l.data = read_blob(r);
    if (l.fixed) {
        l.nrows = (uint32_t)(l.data.len / l.width);
        assert_true(l.nrows > 0 && l.data.len % l.width == 0);
    }
    assert_false(r->bad);
    return l;
}

/* ---- updates as clients see them ---- */

/* The QuerySetUpdates of one client, put together as the host does. False: no message for it. */
static inline bool kit_message(const Update *u, ClientRef client, Buf *out, uint32_t *ret_nsets)
{
    bool found = false;
    for (uint32_t g = 0; g < u->ngroups; g++) {
        const UpdateGroup *group = &u->groups[g];
        for (uint32_t r = 0; r < group->nrecipients; r++) {
            if (r)
                assert_true(group->recipients[r].slot > group->recipients[r - 1].slot);
            if (group->recipients[r].slot != client.slot)
                continue;
            assert_int_equal(group->recipients[r].generation, client.generation);
            assert_false(found); /* one group, once */
            found = true;
            uint32_t next = 0;
            for (uint32_t p = 0; p < group->npieces; p++) {
                if (group->pieces[p].segment == UPDATE_QUERY_SET_ID) {
                    assert_true(next < group->nsets);
                    buf_put_u32(out, group->set_ids[r * group->nsets + next++]);
                } else {
                    assert_true(group->pieces[p].segment < u->nsegments);
                    buf_put_bytes(out, u->segments[group->pieces[p].segment]);
                }
            }
            assert_int_equal(next, group->nsets);
            *ret_nsets = group->nsets;
        }
    }
    return found;
}

typedef void KitRow(void *arg, Str table, const char *row, int sign);

/* Rows of one list, the first ncols columns (0: all). */
static inline void kit_each_row(const TableDef *def, uint16_t ncols, Reader *r, int sign, KitRow *fn, void *arg)
{
    KitList l = kit_read_list(r);
    Reader rows = reader_of(l.data);
    for (uint32_t i = 0; i < l.nrows; i++) {
        size_t at = l.data.len - reader_left(&rows);
        assert_int_equal(at, l.fixed ? (uint64_t)i * l.width : load_u64(l.offsets.ptr + 8 * i));
        Buf text = {0};
        buf_put_text(&text, "(");
        for (uint16_t c = 0; c < (ncols ? MIN(ncols, def->ncols) : def->ncols); c++) {
            if (c)
                buf_put_text(&text, ",");
            kit_print(&text, def->cols[c].type, &rows);
        }
        buf_put_text(&text, ")");
        fn(arg, def->name, buf_cstr(&text), sign);
        buf_done(&text);
    }
    assert_false(rows.bad);
    assert_int_equal(reader_left(&rows), 0);
}

/* QueryRows: whole answer to Subscribe. */
static inline void kit_each_snapshot_row(Engine *e, Bytes bytes, uint16_t ncols, KitRow *fn, void *arg)
{
    Reader r = reader_of(bytes);
    uint32_t n = read_u32(&r);
    for (uint32_t i = 0; i < n; i++) {
        Str name = read_str(&r);
        const TableDef *def = table_def(engine_table_by_name(e, name));
        kit_each_row(def, ncols, &r, 1, fn, arg);
    }
    assert_int_equal(reader_left(&r), 0);
    assert_false(r.bad);
}

/* A message: checks its order; `set` is called before the rows of each set (may be NULL). */
static inline void kit_each_update_row(Engine *e, Bytes bytes, uint32_t nsets, uint16_t ncols, void (*set)(void *arg, uint32_t id),
                                       KitRow *fn, void *arg)
{
    Reader r = reader_of(bytes);
    for (uint32_t s = 0, last = 0; s < nsets; s++) {
        uint32_t id = read_u32(&r);
        assert_true(s == 0 || id > last);
        last = id;
        if (set)
            set(arg, id);
        uint32_t ntables = read_u32(&r);
        assert_true(ntables > 0);
        Str before = {NULL, 0};
        for (uint32_t t = 0; t < ntables; t++) {
            Str name = read_str(&r);
            assert_true(t == 0 || str_cmp(before, name) < 0);
            before = name;
            const TableDef *def = table_def(engine_table_by_name(e, name));
            for (uint32_t n = read_u32(&r); n > 0; n--) {
                uint8_t tag = read_u8(&r);
                assert_int_equal(tag, def->is_event);
                kit_each_row(def, ncols, &r, 1, fn, arg);
                if (!def->is_event)
                    kit_each_row(def, ncols, &r, -1, fn, arg);
            }
        }
    }
    assert_int_equal(reader_left(&r), 0);
    assert_false(r.bad);
}

#endif
