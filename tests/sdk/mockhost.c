/* mockhost.c - the smallest host that can run a module: what the SDK's own tests run against.
 *
 * Usage: mockhost module.so     loads it, checks the handshake, recomputes every layout, checks every record,
 *                               and, for the modules named at the end of this file, plays a scenario.
 * It exits with 0 if all went well; otherwise it says what failed and where.
 *
 * Memory is never freed, tables are arrays, a rollback restores the arrays as they were before the call. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "spacetimedb.h"

#define CHECK(condition) do { if (!(condition)) { \
    fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); exit(1); } } while (0)
#define REFUSE(...) do { fprintf(stderr, "refused: " __VA_ARGS__); fputc('\n', stderr); exit(1); } while (0)

enum { ITEMS_MAX = 128 };

typedef struct Table { const st_item *item; void **row; size_t n, cap; uint64_t next[256]; } Table;

struct st_call {                          /* everything about one call hangs on its handle */
    st_db db;
    bool doomed;
    bool tx_refused;
    const char *queried;
    int emitted, logged, tx_retries, tx_begun, tx_aborted;
    char error[256], last_log[512];
    void **saved[ITEMS_MAX];
    size_t saved_n[ITEMS_MAX];
    st_reducer_ctx tx;
};

static const st_item *const *items;
static uint32_t item_count;
static Table tables[ITEMS_MAX];
static void *slots[ITEMS_MAX];            /* record position -> its table */

/* ---- values, by descriptor ---- */

static void *copy_bytes(const void *p, size_t n)
{
    void *q = NULL;
    CHECK(posix_memalign(&q, 16, n ? n : 1) == 0);
    if (n)
        memcpy(q, p, n);
    return q;
}

static void own(const st_type *t, uint8_t *p)  /* replace pointers in a copied value by copies */
{
    switch (t->kind) {
    case ST_K_BOOL: CHECK(*p <= 1); break;
    case ST_K_ENUM: CHECK(*p < t->nfields); break;
    case ST_K_STR: case ST_K_BYTES: { st_bytes *s = (st_bytes *)p; CHECK(s->ptr || !s->len); s->ptr = copy_bytes(s->ptr, s->len); break; }
    case ST_K_ARRAY: {
        st_bytes *a = (st_bytes *)p;
        uint8_t *e = copy_bytes(a->ptr, a->len * t->elem->size);
        for (size_t i = 0; i < a->len; i++)
            own(t->elem, e + i * t->elem->size);
        a->ptr = e;
        break;
    }
    case ST_K_OPTION: CHECK(*p <= 1); if (*p) own(t->elem, p + t->elem_off); break;
    case ST_K_STRUCT: for (uint32_t i = 0; i < t->nfields; i++) own(t->fields[i].type, p + t->fields[i].offset); break;
    case ST_K_SUM: case ST_K_RESULT: CHECK(*p < t->nfields); own(t->fields[*p].type, p + t->fields[*p].offset); break;
    default: break;
    }
}

static int compare_numbers(const uint8_t *a, const uint8_t *b, uint32_t size, bool is_signed)
{
    for (uint32_t i = size; i-- > 0;) {
        uint8_t flip = is_signed && i == size - 1 ? 128 : 0, x = a[i] ^ flip, y = b[i] ^ flip;
        if (x != y)
            return x < y ? -1 : 1;
    }
    return 0;
}

static int compare(const st_type *t, const void *a, const void *b)  /* field by field, never over padding */
{
    const uint8_t *x = a, *y = b;
    int r = 0;
    switch (t->kind) {
    case ST_K_STR: case ST_K_BYTES: {
        const st_bytes *s = a, *u = b;
        size_t n = s->len < u->len ? s->len : u->len;
        r = n ? memcmp(s->ptr, u->ptr, n) : 0;
        return r ? r : (s->len > u->len) - (s->len < u->len);
    }
    case ST_K_ARRAY: {
        const st_bytes *s = a, *u = b;
        for (size_t i = 0; !r && i < s->len && i < u->len; i++)
            r = compare(t->elem, s->ptr + i * t->elem->size, u->ptr + i * t->elem->size);
        return r ? r : (s->len > u->len) - (s->len < u->len);
    }
    case ST_K_OPTION: return *x != *y ? *x - *y : *x ? compare(t->elem, x + t->elem_off, y + t->elem_off) : 0;
    case ST_K_STRUCT:
        for (uint32_t i = 0; !r && i < t->nfields; i++)
            r = compare(t->fields[i].type, x + t->fields[i].offset, y + t->fields[i].offset);
        return r;
    case ST_K_SUM: case ST_K_RESULT:
        return *x != *y ? *x - *y : compare(t->fields[*x].type, x + t->fields[*x].offset, y + t->fields[*x].offset);
    case ST_K_SCHEDULE: return *x != *y ? *x - *y : compare_numbers(x + 8, y + 8, 8, true);
    case ST_K_UNIT: return 0;
    case ST_K_UUID: return memcmp(a, b, t->size);
    default: return compare_numbers(x, y, t->size, t->is_signed);
    }
}

/* ---- the host's functions ---- */

static Table *table_of(const st_db *db, uint32_t item) { CHECK(item < item_count && db->item[item]); return db->item[item]; }
static const st_field *column(const Table *t, uint32_t c) { CHECK(c < t->item->type->nfields); return &t->item->type->fields[c]; }
static const void *value(const Table *t, uint32_t c, const void *row) { return (const uint8_t *)row + column(t, c)->offset; }

static void **lookup(Table *t, uint32_t c, const void *key)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->row[i] && !compare(column(t, c)->type, value(t, c, t->row[i]), key))
            return &t->row[i];
    return NULL;
}

static st_status violation(st_call *call, bool try_, st_status status, const char *what, const Table *t)
{
    if (!try_) {
        call->doomed = true;
        snprintf(call->error, sizeof call->error, "%s in table %s", what, t->item->name);
    }
    return status;
}

static st_status put(st_db *db, uint32_t item, void *row, bool try_, void **old)
{
    if (db->call->doomed)
        return ST_E_ABORTED;
    Table *t = table_of(db, item);
    const st_type *type = t->item->type;
    CHECK((uintptr_t)row % type->align == 0);
    for (uint32_t c = 0; c < type->nfields; c++) {
        const st_field *f = &type->fields[c];
        uint8_t *v = (uint8_t *)row + f->offset;
        static const uint8_t zero[32];
        if (f->flags & ST_COLUMN_AUTO && !memcmp(v, zero, f->type->size)) {
            t->next[c]++;
            memcpy(v, &t->next[c], f->type->size < 8 ? f->type->size : 8);
        }
        if (f->flags & (ST_COLUMN_PK | ST_COLUMN_UNIQUE)) {
            void **other = lookup(t, c, v);
            if (other && other != old)
                return !compare(type, *other, row) ? ST_OK : violation(db->call, try_, ST_E_UNIQUE, "unique violation", t);
        }
    }
    for (size_t i = 0; i < t->n; i++)
        if (t->row[i] && !compare(type, t->row[i], row))
            return ST_OK;
    void *copy = copy_bytes(row, type->size);
    own(type, copy);
    if (old) {
        *old = copy;
        return ST_OK;
    }
    if (t->n == t->cap)
        CHECK((t->row = realloc(t->row, (t->cap = t->cap ? t->cap * 2 : 8) * sizeof *t->row)));
    t->row[t->n++] = copy;
    return ST_OK;
}
static st_status h_insert(st_db *db, uint32_t item, void *row, bool try_) { return put(db, item, row, try_, NULL); }
static st_status h_update(st_db *db, uint32_t item, uint32_t col, void *row, bool try_)
{
    Table *t = table_of(db, item);
    void **old = lookup(t, col, value(t, col, row));
    return old ? put(db, item, row, try_, old) : violation(db->call, try_, ST_E_NO_ROW, "no such row", t);
}
static const void *h_find(const st_db *db, uint32_t item, uint32_t col, const void *key)
{
    void **row = lookup(table_of(db, item), col, key);
    return row ? *row : NULL;
}
static bool matches(const Table *t, const void *row, uint32_t n, const uint16_t *cols, const void *const *eq)
{
    for (uint32_t i = 0; i < n; i++)
        if (compare(column(t, cols[i])->type, value(t, cols[i], row), eq[i]))
            return false;
    return true;
}
static uint64_t h_erase(st_db *db, uint32_t item, uint32_t ncols, const uint16_t *cols, const void *const *eq)
{
    Table *t = table_of(db, item);
    uint64_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        if (t->row[i] && matches(t, t->row[i], ncols, cols, eq)) {
            t->row[i] = NULL;                   /* the row itself stays readable */
            n++;
        }
    return n;
}
static st_str h_claims(st_call *call) { (void)call; return (st_str){"{}", 2}; }
static st_str h_claim(st_call *call, const char *name, uint32_t index) { (void)call; (void)name; (void)index; return (st_str){NULL, 0}; }
static uint32_t h_stopwatch_start(st_call *call, const char *name) { (void)call; (void)name; return 0; }
static st_status h_stopwatch_end(st_call *call, uint32_t id, const st_log_loc *where) { (void)call; (void)where; return id ? ST_E_NO_STOPWATCH : ST_OK; }
static bool h_erase_row(st_db *db, uint32_t item, const void *row)
{
    Table *t = table_of(db, item);
    for (size_t i = 0; i < t->n; i++)
        if (t->row[i] && !compare(t->item->type, t->row[i], row)) {
            t->row[i] = NULL;
            return true;
        }
    return false;
}
static uint64_t h_count(const st_db *db, uint32_t item)
{
    Table *t = table_of(db, item);
    uint64_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        n += t->row[i] != NULL;
    return n;
}
static st_cursor h_scan(const st_db *db, uint32_t item, uint32_t ncols, const uint16_t *cols, uint32_t neq,
                        const void *const *eq, const void *lo, const void *hi)
{
    Table *t = table_of(db, item);
    void **v = calloc(t->n + 1, sizeof *v);
    size_t n = 0;
    CHECK(v && neq <= ncols);
    for (size_t i = 0; i < t->n; i++) {
        const void *row = t->row[i];
        if (!row || !matches(t, row, neq, cols, eq))
            continue;
        if (neq < ncols) {
            const st_type *type = column(t, cols[neq])->type;
            const void *x = value(t, cols[neq], row);
            if ((lo && compare(type, x, lo) < 0) || (hi && compare(type, x, hi) >= 0))
                continue;
        }
        size_t at = n++;                        /* insertion sort by the next index column */
        for (; neq < ncols && at > 0 && compare(column(t, cols[neq])->type, value(t, cols[neq], v[at - 1]), value(t, cols[neq], row)) > 0; at--)
            v[at] = v[at - 1];
        v[at] = t->row[i];
    }
    return (st_cursor){ v, NULL, 0, n };
}
static const void *h_next(const st_db *db, st_cursor *c) { CHECK(db->call); return c->a < c->b ? ((void **)c->host)[c->a++] : NULL; }
static void *h_alloc(st_call *call, size_t n) { CHECK(call); void *p = calloc(1, n ? n : 1); CHECK(p); return p; }
static st_status h_fail(st_call *call, const char *format, ...)
{
    va_list a;
    va_start(a, format);
    vsnprintf(call->error, sizeof call->error, format, a);
    va_end(a);
    return ST_E_USER;
}
static void h_log(st_call *call, st_log_level level, const st_log_loc *loc, const char *format, ...)
{
    va_list a;
    va_start(a, format);
    int n = snprintf(call->last_log, sizeof call->last_log, "[%d %s] ", (int)level, loc->function);
    vsnprintf(call->last_log + n, sizeof call->last_log - (size_t)n, format, a);
    va_end(a);
    CHECK(loc->line > 0 && strstr(loc->file, ".c"));
    call->logged++;
    printf("#   log %s\n", call->last_log);
}
static st_str h_format(st_call *call, const char *format, ...)
{
    char text[4096];
    va_list a;
    va_start(a, format);
    int n = vsnprintf(text, sizeof text, format, a);
    va_end(a);
    CHECK(call && n >= 0 && (size_t)n < sizeof text);
    return (st_str){ copy_bytes(text, (size_t)n), (size_t)n };
}
static void h_random(st_call *call, void *buffer, size_t size) { CHECK(call); for (size_t i = 0; i < size; i++) ((uint8_t *)buffer)[i] = (uint8_t)(i * 37 + 200); }
static st_status h_query(void *host, const char *sql) { CHECK(sql); ((st_call *)host)->queried = sql; return ST_OK; }
static st_status h_emit(void *host, const void *row) { CHECK(row); ((st_call *)host)->emitted++; return ST_OK; }

static void save(st_call *call)
{
    for (int i = 0; i < ITEMS_MAX; i++) {
        call->saved[i] = copy_bytes(tables[i].row, tables[i].n * sizeof(void *));
        call->saved_n[i] = tables[i].n;
    }
}
static void restore(st_call *call)
{
    for (int i = 0; i < ITEMS_MAX; i++) {
        if (call->saved_n[i])
            memcpy(tables[i].row, call->saved[i], call->saved_n[i] * sizeof(void *));
        tables[i].n = call->saved_n[i];
    }
}
static st_reducer_ctx *h_tx_begin(st_proc_ctx *p)
{
    st_call *call = p->call;
    if (call->tx_refused) {
        p->tx_status = ST_E_WOULD_BLOCK;
        return NULL;
    }
    save(call);
    call->doomed = false;
    call->tx_begun++;
    call->tx = (st_reducer_ctx){ .api = p->api, .call = call, .db = &call->db, .sender = p->sender, .timestamp = { 999 } };
    return &call->tx;
}
static st_reducer_ctx *h_tx_end(st_proc_ctx *p, st_reducer_ctx *tx)
{
    if (p->call->doomed || p->call->tx_retries > 0)
        restore(p->call);
    if (p->call->tx_retries-- > 0)
        return tx;                              /* as if committing had failed: once more */
    p->tx_status = p->call->doomed ? ST_E_ABORTED : ST_OK;
    return NULL;
}
static void h_tx_abort(st_proc_ctx *p, st_reducer_ctx *tx)
{
    CHECK(tx == &p->call->tx);
    restore(p->call);
    p->call->tx_aborted++;
    p->tx_status = ST_E_ABORTED;
}
static st_status h_http(st_proc_ctx *p, const st_http_request *request, st_http_response *response)
{
    CHECK(p->call);
    memset(response, 0, sizeof *response);
    if (request->url.len == 0) {
        response->error = ST_S("empty url");
        return ST_E_HTTP;
    }
    response->status = 200;
    response->body = (st_bytes){ (const uint8_t *)request->url.ptr, request->url.len };
    return ST_OK;
}
static st_status h_sleep_until(st_proc_ctx *p, st_timestamp when)
{
    if (when.us > p->timestamp.us)
        p->timestamp = when;
    return ST_OK;
}
static const st_api api = {
    sizeof(st_api), ST_ABI_MAJOR, ST_ABI_MINOR, 0, h_insert, h_update, h_find, h_erase, h_count, h_scan, h_next, h_alloc,
    h_fail, h_log, h_emit, h_tx_begin, h_tx_end, h_tx_abort, h_http, h_format, h_random, h_erase_row,
    h_claims, h_claim, h_stopwatch_start, h_stopwatch_end, h_sleep_until, h_query
};

/* ---- loading ---- */

static const st_item *function(const char *name);

static uint32_t round_up(uint32_t n, uint32_t to) { return (n + to - 1) / to * to; }

static void check_type(const st_type *t)       /* recompute sizes and offsets from kinds */
{
    static const struct { uint32_t kind, size, align; } fixed[] = {
        { ST_K_BOOL, 1, 1 }, { ST_K_STR, 16, 8 }, { ST_K_BYTES, 16, 8 }, { ST_K_IDENTITY, 32, 1 }, { ST_K_CONNECTION_ID, 16, 1 },
        { ST_K_UUID, 16, 1 }, { ST_K_TIMESTAMP, 8, 8 }, { ST_K_DURATION, 8, 8 }, { ST_K_SCHEDULE, 16, 8 }, { ST_K_UNIT, 1, 1 },
        { ST_K_ENUM, 1, 1 }, { ST_K_ARRAY, 16, 8 } };
    uint32_t size = 0, align = 1;
    CHECK(t->name && t->name[0]);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (fixed[i].kind == t->kind) { size = fixed[i].size; align = fixed[i].align; }
    switch (t->kind) {
    case ST_K_INT: size = t->size; align = size == 32 ? 8 : size; CHECK(size && size <= 32 && !(size & (size - 1))); break;
    case ST_K_FLOAT: size = align = t->size; CHECK(size == 4 || size == 8); break;
    case ST_K_ENUM: for (uint32_t i = 0; i < t->nfields; i++) CHECK(t->fields[i].name && !t->fields[i].type); break;
    case ST_K_ARRAY: check_type(t->elem); break;
    case ST_K_OPTION:
        check_type(t->elem);
        align = t->elem->align;
        if (t->elem_off != round_up(1, align)) REFUSE("%s: payload at %u, expected %u", t->name, t->elem_off, round_up(1, align));
        size = round_up(t->elem_off + t->elem->size, align);
        break;
    case ST_K_STRUCT:
        for (uint32_t i = 0; i < t->nfields; i++) {
            const st_field *f = &t->fields[i];
            check_type(f->type);
            size = round_up(size, f->type->align);
            if (size != f->offset) REFUSE("%s.%s: at offset %u, expected %u", t->name, f->name, f->offset, size);
            size += f->type->size;
            if (f->type->align > align) align = f->type->align;
        }
        size = round_up(size, align);
        break;
    case ST_K_SUM: case ST_K_RESULT:
        for (uint32_t i = 0; i < t->nfields; i++) {
            check_type(t->fields[i].type);
            if (t->fields[i].type->align > align) align = t->fields[i].type->align;
            if (t->fields[i].type->size > size) size = t->fields[i].type->size;
        }
        for (uint32_t i = 0; i < t->nfields; i++)
            if (t->fields[i].offset != round_up(1, align)) REFUSE("%s: union at %u, expected %u", t->name, t->fields[i].offset, round_up(1, align));
        size = round_up(round_up(1, align) + size, align);
        break;
    default: CHECK(size != 0);
    }
    if (size != t->size || align != t->align)
        REFUSE("%s: size %u, aligned %u; expected %u and %u", t->name, t->size, t->align, size, align);
}

static const st_item *table_item(const char *name)
{
    for (uint32_t i = 0; i < item_count; i++)
        if (items[i]->kind == ST_ITEM_TABLE && !strcmp(items[i]->name, name))
            return items[i];
    return NULL;
}

static const st_module_desc *load(const char *path)
{
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!so) REFUSE("%s", dlerror());
    const st_module_desc *m = dlsym(so, "st_module");
    if (!m) REFUSE("no st_module: is ST_MODULE(...) missing?");
    CHECK(m->magic == ST_MAGIC && m->size == sizeof *m);
    CHECK(m->abi_major == ST_ABI_MAJOR && m->abi_minor <= ST_ABI_MINOR);
    CHECK(m->ptr_size == sizeof(void *) && m->item_size == sizeof(st_item));
    CHECK(m->name && m->version && m->compiler);
    items = m->items;
    item_count = (uint32_t)(m->items_end - m->items);
    CHECK(item_count <= ITEMS_MAX);
    for (uint32_t i = 0; i < item_count; i++) {
        const st_item *it = items[i], *owner = it->owner ? table_item(it->owner) : NULL;
        CHECK(it->name && (!it->owner || owner || it->kind == ST_ITEM_OLD_TABLE || it->kind == ST_ITEM_NAME ||
                           it->kind == ST_ITEM_ROUTE || it->kind == ST_ITEM_VIEW_KEY));
        if (it->type) check_type(it->type);
        if (it->ret) check_type(it->ret);
        switch (it->kind) {
        case ST_ITEM_TABLE: {
            uint32_t first = 0;                 /* the same table from another file is one table */
            while (items[first]->kind != ST_ITEM_TABLE || strcmp(items[first]->name, it->name)) first++;
            if (first == i) tables[i].item = it;
            slots[i] = &tables[first];
            break;
        }
        case ST_ITEM_INDEX: case ST_ITEM_UNIQUE:
            CHECK(owner && it->n >= 2 && it->flags <= ST_INDEX_HASH);
            for (uint32_t c = 0; c < it->n; c++) CHECK(((const uint16_t *)it->ptr)[c] < owner->type->nfields);
            break;
        case ST_ITEM_DEFAULT: {
            const st_field *f = NULL;
            CHECK(owner && it->ptr);
            for (uint32_t c = 0; c < owner->type->nfields; c++)
                if (!strcmp(owner->type->fields[c].name, it->name)) f = &owner->type->fields[c];
            CHECK(f);
            own(f->type, copy_bytes(it->ptr, f->type->size));
            break;
        }
        case ST_ITEM_SCHEDULE: CHECK(owner && owner->type->fields[it->n].type->kind == ST_K_SCHEDULE); break;
        case ST_ITEM_ROUTE: CHECK(it->ptr && it->owner && function(it->name)->flags == ST_FN_HTTP_HANDLER); break;
        case ST_ITEM_FUNCTION: CHECK(it->call && it->flags <= ST_FN_HTTP_HANDLER && !it->ret == (it->flags != ST_FN_PROCEDURE)); break;
        case ST_ITEM_VIEW: CHECK(it->call && it->type && !((it->flags & ST_F_QUERY) && (it->flags & ST_F_OPTION))); break;
        case ST_ITEM_VIEW_KEY: CHECK(it->owner && function(it->owner)->kind == ST_ITEM_VIEW); break;
        case ST_ITEM_SEQUENCE: CHECK(owner && ((const st_sequence *)it->ptr)->increment); break;
        case ST_ITEM_NAME: CHECK(it->ptr && it->flags <= ST_NAME_COLUMN && !it->owner == (it->flags < ST_NAME_INDEX)); break;
        case ST_ITEM_CASE: CHECK(it->flags <= ST_CASE_SNAKE); break;
        case ST_ITEM_MIGRATION: CHECK(it->n && it->flags && it->ptr); break;
        case ST_ITEM_RULE: CHECK(it->ptr && *(const char *)it->ptr); break;
        case ST_ITEM_OLD_TABLE:                 /* its rows are put there by the scenario */
            CHECK(it->n && it->owner && it->type);
            tables[i].item = it;
            slots[i] = &tables[i];
            break;
        default: REFUSE("record %u has kind %u", i, it->kind);
        }
    }
    printf("# module %s %s: %u records\n", m->name, m->version, item_count);
    return m;
}

/* ---- calling ---- */

static const st_identity alice = { { 7 } };
static int64_t now = 1000;

static const st_item *function(const char *name)
{
    for (uint32_t i = 0; i < item_count; i++)
        if ((items[i]->kind == ST_ITEM_FUNCTION || items[i]->kind == ST_ITEM_VIEW) && !strcmp(items[i]->name, name))
            return items[i];
    REFUSE("no function %s", name);
}
static size_t rows(const char *table)
{
    st_db db = { &api, NULL, slots };
    for (uint32_t i = 0; i < item_count; i++)
        if (items[i]->kind == ST_ITEM_TABLE && !strcmp(items[i]->name, table))
            return h_count(&db, i);
    REFUSE("no table %s", table);
}
static st_call *new_call(void)
{
    st_call *call = calloc(1, sizeof *call);
    CHECK(call);
    call->db = (st_db){ &api, call, slots };
    return call;
}
static st_call *last;
/* Runs a reducer as one transaction. Arguments: as many pointers to values as it has. */
static st_status call_reducer(const char *name, ...)
{
    const st_item *it = function(name);
    st_call *call = last = new_call();
    st_reducer_ctx ctx = { .api = &api, .call = call, .db = &call->db, .sender = alice, .timestamp = { now++ },
                           .connection = some_st_connection_id((st_connection_id){ { 3 } }), .database = { { 9 } } };
    uint8_t *args = NULL;
    if (it->type) {
        va_list a;
        va_start(a, name);
        args = copy_bytes((uint8_t[4096]){ 0 }, it->type->size);
        for (uint32_t i = 0; i < it->type->nfields; i++)
            memcpy(args + it->type->fields[i].offset, va_arg(a, const void *), it->type->fields[i].type->size);
        va_end(a);
    }
    save(call);
    st_status status = ((st_call_reducer *)it->call)(&ctx, args);
    if (!status && call->doomed)
        status = ST_E_ABORTED;
    if (status)
        restore(call);
    printf("#   %-24s -> %d %s\n", name, (int)status, call->error);
    return status;
}
#define FAILS_WITH(text, ...) CHECK(call_reducer(__VA_ARGS__) == ST_E_USER && !strcmp(last->error, text))
#define OK(...) CHECK(call_reducer(__VA_ARGS__) == ST_OK)

/* ---- scenarios ---- */

static void play_chat(bool v2)
{
    st_str ada = ST_S("Ada"), none = ST_S(""), lobby = ST_S("lobby");
    OK("on_init"); OK("on_connect"); OK("on_connect"); CHECK(rows("user") == 1);
    OK("set_name", &ada); FAILS_WITH("names must not be empty", "set_name", &none);
    OK("send_message", &ada); OK("send_message", &ada); CHECK(rows("message") == 2);
    FAILS_WITH("messages must not be empty", "send_message", &none);
    if (v2) {
        uint32_t one = 1, two = 2;
        OK("create_room", &lobby);
        FAILS_WITH("there is a room \"lobby\" already", "create_room", &lobby);
        OK("send_to_room", &one, &ada); FAILS_WITH("there is no room 2", "send_to_room", &two, &ada);
        CHECK(rows("room") == 1 && rows("message") == 3);
    }
    OK("on_disconnect");
}

static void play_ledger(void)
{
    uint32_t n = 3, a = 0, b = 1, missing = 9;
    int64_t start = 100, fifty = 50, zero = 0, much = 101, most = INT64_MAX;
    OK("seed", &n, &start); OK("seed", &n, &start); CHECK(rows("accounts") == 3);
    OK("transfer", &a, &b, &fifty);
    FAILS_WITH("same_account", "transfer", &a, &a, &fifty);
    FAILS_WITH("non_positive_amount", "transfer", &a, &b, &zero);
    FAILS_WITH("account_missing", "transfer", &a, &missing, &fifty);
    FAILS_WITH("insufficient_funds", "transfer", &a, &b, &much);
    FAILS_WITH("insufficient_funds", "transfer", &a, &b, &most);
    static const int64_t expected[] = { 50, 150, 100 };
    for (uint32_t i = 0, seen = 0; i < item_count; i++)
        if (tables[i].item == table_item("accounts"))
            for (size_t k = 0; k < tables[i].n; k++) {
                const struct { uint32_t id; int64_t balance; } *r = tables[i].row[k];
                if (r) CHECK(r->id == seen && r->balance == expected[seen++]);
            }
}

static void play_kitchen(void)
{
    st_str x = ST_S("x"), y = ST_S("y"), empty = ST_S("");
    int32_t one = 1, two = 2;
    uint16_t first = 1, second = 2, third = 3;
    uint32_t id = 1;
    uint64_t row = 2;
    uint8_t red = 0, blue = 2;
    OK("insert_zeroes"); OK("insert_largest"); OK("insert_smallest"); OK("insert_sample"); CHECK(rows("everything") == 4);
    uint8_t zeroes[1024] = { 0 };
    const void *z = zeroes;
    OK("insert_numbers", z, z, z, z, z, z, z, z, z, z, z, z, z, z, z);
    OK("insert_simple", z, z, z, z, z, z, z, z, z);
    OK("insert_composed", z, z, z, z, z, z, z, z, z, z, z, z, z, z, z, z, z, z, z, z, z, z);
    CHECK(function("insert_everything")->type->size <= sizeof zeroes);
    OK("insert_everything", z); CHECK(rows("everything") == 8);
    OK("delete_everything", &row); FAILS_WITH("no row 2", "delete_everything", &row);
    OK("note_context"); CHECK(rows("everything") == 10);
    CHECK(call_reducer("update_everything", z) == ST_E_NO_ROW);

    OK("insert_pair", &one, &x); OK("insert_pair", &one, &x); CHECK(rows("pair") == 1);
    OK("insert_pair", &two, &x); OK("replace_pairs_below", &two, &y); CHECK(rows("pair") == 2);
    FAILS_WITH("no such pair", "delete_pair", &one, &x); OK("delete_pair", &one, &y); CHECK(rows("pair") == 1);
    OK("clear_pairs"); CHECK(rows("pair") == 0 && last->logged == 1);

    OK("insert_desk", &x, &first, &first, &red); OK("insert_desk", &y, &first, &third, &blue);
    CHECK(call_reducer("insert_desk", &x, &second, &second, &blue) == ST_E_ABORTED || rows("desk") == 2);
    CHECK(rows("desk") == 2);
    OK("move_desk", &x, &first, &second); OK("rename_desk", &id, &empty);
    OK("clear_rooms", &first, &second, &third); CHECK(rows("desk") == 1);
    OK("repaint_floor", &first, &red); OK("delete_desks_painted", &red); CHECK(rows("desk") == 0);
    FAILS_WITH("failed after writing x", "fail_after_writing", &x); CHECK(rows("desk") == 0 && rows("pair") == 0);
    CHECK(call_reducer("swallow_unique_violation", &x) == ST_E_ABORTED); CHECK(rows("desk") == 0);
    OK("try_unique_violation", &x); CHECK(rows("desk") == 1);
    OK("keep_secret", &x); OK("keep_secret", &y); CHECK(rows("secret") == 1);
    OK("log_everything", &x); CHECK(last->logged == 5 && !strcmp(last->last_log, "[4 log_everything] trace: x"));
    FAILS_WITH("x", "fail_with", &x);
    OK("clear_everything"); CHECK(rows("everything") == 0);
}

static void play_full(void)                    /* tests/sdk/modules/full.c: views, procedures, schedules */
{
    st_str hello = ST_S("hello"), mail = ST_S("a@b"), other = ST_S("z@z"), ada = ST_S("Ada"), none = ST_S("");
    const st_str tag[] = { ST_S("a"), ST_S("bc") };
    arr_st_str tags = { tag, 2 };
    uint32_t room3 = 3, room4 = 4, room9 = 9;
    st_timestamp before = { now + 6 };
    uint8_t invite = 1;
    struct { uint64_t id; st_schedule_at at; st_str text; } reminder = { 1, st_every(st_seconds(1)), hello };
    OK("on_init"); CHECK(rows("reminder") == 1);
    OK("on_connect"); OK("on_connect"); CHECK(rows("user") == 1);
    OK("set_name", &ada); FAILS_WITH("names must not be empty", "set_name", &none);
    OK("send_message", &room3, &hello, &tags);
    now += 10;
    OK("send_message", &room3, &hello, &tags); OK("send_message", &room4, &hello, &tags);
    OK("send_reminder", &reminder); CHECK(rows("message") == 4);
    OK("recount"); OK("forget_room", &room3, &before); CHECK(rows("message") == 3);
    OK("add_profile", &mail, &invite); FAILS_WITH("email taken", "add_profile", &mail, &invite);
    CHECK(call_reducer("careless", &other) == ST_E_ABORTED);

    st_call *call = new_call();
    st_view_ctx view = { .api = &api, .call = call, .db = &call->db, .sender = alice };
    CHECK(((st_call_view *)function("me")->call)(&view, &api, call) == ST_OK && call->emitted == 1);
    st_anon_view_ctx anon = { .api = &api, .call = call, .db = &call->db };
    CHECK(((st_call_anon_view *)function("totals")->call)(&anon, &api, call) == ST_OK && call->emitted == 2);
    CHECK(((st_call_view *)function("my_name")->call)(&view, &api, call) == ST_OK && call->emitted == 3);
    CHECK(function("my_name")->flags == (ST_ACCESS_PUBLIC | ST_F_OPTION) && function("lobby")->flags == (ST_ACCESS_PUBLIC | ST_F_QUERY | ST_F_ANONYMOUS));
    CHECK(((st_call_anon_view *)function("lobby")->call)(&anon, &api, call) == ST_OK && !strcmp(call->queried, "SELECT * FROM message WHERE room = 0"));

    struct { st_str url; uint32_t room; } args = { ST_S("http://x.invalid"), room9 };
    uint64_t id = 0;
    call = new_call();
    call->tx_retries = 1;
    st_proc_ctx proc = { .api = &api, .call = call };
    CHECK(((st_call_procedure *)function("import_text")->call)(&proc, &args, &id) == ST_OK && id != 0);
    CHECK(rows("message") == 4 && call->tx_begun == 1 && call->tx_aborted == 0);

    /* Each way out of ST_WITH_TX: the argument says which. */
    for (uint32_t way = 0; way < 4; way++) {
        size_t had = rows("message");
        call = new_call();
        proc = (st_proc_ctx){ .api = &api, .call = call };
        CHECK(((st_call_procedure *)function("leave")->call)(&proc, &way, &(st_unit){ 0 }) == ST_OK);
        CHECK(call->tx_begun == 1 && call->tx_aborted == (way != 0) && rows("message") == had + (way == 0));
        CHECK(proc.tx_status == (way ? ST_E_ABORTED : ST_OK));
    }
    uint32_t none_of_them = 0;
    size_t had = rows("message");
    call = new_call();
    call->tx_refused = true;
    proc = (st_proc_ctx){ .api = &api, .call = call };
    CHECK(((st_call_procedure *)function("leave")->call)(&proc, &none_of_them, &(st_unit){ 0 }) == ST_OK);
    CHECK(proc.tx_status == ST_E_WOULD_BLOCK && rows("message") == had && call->tx_aborted == 0);
    uint64_t seven = 0;
    CHECK(function("no_arguments")->type == NULL);
    CHECK(((st_call_procedure *)function("no_arguments")->call)(&proc, NULL, &seven) == ST_OK && seven == 7);
    call->tx_refused = false;
    st_http_request request = { .method = ST_S("POST"), .body = { (const uint8_t *)"hi", 2 } };
    st_http_response response = { .status = 200 };
    had = rows("message");
    CHECK(((st_call_handler *)function("on_push")->call)(&proc, &request, &response) == ST_OK);
    CHECK(response.status == 200 && response.body.len == 9 && rows("message") == had + 1);
    OK("on_disconnect");
}

static void play_keys(void)
{
    st_str a = ST_S("a"), b = ST_S("b");
    uint64_t one = 1, two = 2;
    uint8_t s1 = 1, s2 = 2;
    uint32_t row = 4;
    uint16_t n1 = 7, n2 = 8;
    OK("take", &one, &s1, &row, &n1, &a); OK("take", &two, &s2, &row, &n2, &b);
    OK("check", &row, &n1); FAILS_WITH("no seat", "check", &row, &(uint16_t){ 9 });
    OK("leave", &row, &n2); CHECK(rows("seat") == 0);
    OK("three_and_four");
}

/* Runs one operation of a migration that has a function. */
static st_status call_operation(uint32_t version, uint32_t position, const void *from, void *to)
{
    st_call *call = last = new_call();
    st_reducer_ctx ctx = { .api = &api, .call = call, .db = from ? NULL : &call->db, .sender = alice };
    for (uint32_t i = 0; i < item_count; i++)
        if (items[i]->kind == ST_ITEM_MIGRATION && items[i]->n == version) {
            CHECK(position < items[i]->flags);
            const st_migration_op *op = (const st_migration_op *)items[i]->ptr + position;
            CHECK(op->fn && (op->kind == ST_MIGRATE_CONVERT_COLUMN || op->kind == ST_MIGRATE_RUN));
            return from ? ((st_call_convert *)op->fn)(&ctx, from, to) : ((st_call_run *)op->fn)(&ctx);
        }
    REFUSE("no migration %u", version);
}

static void play_migrate(void)
{
    uint32_t euros = 5, many = 2000000;
    int64_t cents = 0;
    opt_st_str note = { 0 };
    st_str text = ST_S("x"), none = ST_S("");
    CHECK(call_operation(2, 0, &euros, &cents) == ST_OK && cents == 500);
    CHECK(call_operation(2, 0, &many, &cents) == ST_E_USER && !strcmp(last->error, "2000000 is too much"));
    CHECK(call_operation(2, 1, &none, &note) == ST_OK && !note.some);
    CHECK(call_operation(2, 1, &text, &note) == ST_OK && note.some && st_str_eq(note.v, ST_S("was x")));
    struct { uint64_t id; uint32_t bank; st_str code; uint16_t slot; st_identity who; uint32_t euros; } row[3] = {
        { 7, 1, ST_S("c7"), 7, { { 0 } }, 10 }, { 8, 2, ST_S("c8"), 8, { { 0 } }, 20 }, { 9, 2, ST_S("c9"), 9, { { 0 } }, 30 } };
    row[2].who = alice;
    st_db db = { &api, new_call(), slots };
    for (uint32_t i = 0; i < item_count; i++)
        if (items[i]->kind == ST_ITEM_OLD_TABLE)
            for (int k = 0; k < 3; k++)
                CHECK(items[i]->type->size == sizeof row[k] && put(&db, i, &row[k], false, NULL) == ST_OK);
    CHECK(call_operation(3, 3, NULL, NULL) == ST_OK && rows("total") == 2);
    CHECK(!strcmp(last->last_log, "[2 sum_up] 1132"));
}

static void play_club(bool v2)
{
    st_str ada = ST_S("Ada"), none = ST_S(""), bar = ST_S("bar"), hall = ST_S("hall");
    uint64_t one = 1, two = 2;
    uint32_t euros = 5;
    int64_t cents = 7;
    OK("join", &ada, v2 ? (void *)&cents : (void *)&euros); FAILS_WITH("names must not be empty", "join", &none, &cents);
    OK("come", &one, &bar); OK("come", &one, &bar);
    if (!v2) {
        FAILS_WITH("there is no person 2", "come", &two, &bar);
        CHECK(rows("visit") == 2);
        return;
    }
    FAILS_WITH("there is a member \"Ada\" already", "join", &ada, &cents); FAILS_WITH("there is no member 2", "come", &two, &bar);
    CHECK(rows("visit") == 1);
    CHECK(call_operation(1, 4, &euros, &cents) == ST_OK && cents == 500);
    struct { uint64_t id, person; st_str room; st_timestamp at; } old[3] = {
        { 1, 5, bar, { 30 } }, { 2, 5, hall, { 20 } }, { 3, 5, bar, { 10 } } };
    st_db db = { &api, new_call(), slots };
    for (uint32_t i = 0; i < item_count; i++)
        if (items[i]->kind == ST_ITEM_OLD_TABLE)
            for (int k = 0; k < 3; k++)
                CHECK(items[i]->type->size == sizeof old[k] && put(&db, i, &old[k], false, NULL) == ST_OK);
    CHECK(call_operation(1, 7, NULL, NULL) == ST_OK && rows("visit") == 3);
    CHECK(!strcmp(last->last_log, "[2 count_visits] 3 visits became 3 rows"));
}

static void play_guest(void)                   /* tests/sdk/cpp/guest.cc: the same words in C++ */
{
    st_str hello = ST_S("hello"), none = ST_S(""), long_text = ST_S("0123456789");
    uint32_t page = 3;
    uint16_t line = 4;
    OK("on_init"); OK("on_connect"); OK("on_disconnect"); OK("random"); CHECK(rows("reminder") == 1 && rows("shot") == 1);
    OK("sign", &hello, &page, &line); CHECK(rows("entry") == 1 && !strcmp(last->last_log, "[2 sign] entry 1"));
    FAILS_WITH("please write something", "sign", &none, &page, &line);
    OK("check", &page, &line);
    opt_st_str text = { 1, hello };
    struct { uint8_t tag; union { double place[2]; st_str err; } u; } place = { .tag = 0 };
    const double point[] = { 1, 2 };
    st_bytes points = { (const uint8_t *)point, 1 }, no_points = { NULL, 0 };
    OK("wrap", &text, &place, &points); FAILS_WITH("different", "wrap", &text, &place, &no_points);
    struct { uint64_t id; st_schedule_at at; st_str text; } reminder = { 7, st_every(st_seconds(1)), hello };
    CHECK(call_reducer("remind", &reminder) == ST_E_NO_ROW);
    st_call *call = new_call();
    st_view_ctx view = { .api = &api, .call = call, .db = &call->db, .sender = alice };
    CHECK(((st_call_view *)function("mine")->call)(&view, &api, call) == ST_OK && call->emitted == 1);
    st_anon_view_ctx anon = { .api = &api, .call = call, .db = &call->db };
    CHECK(((st_call_anon_view *)function("origin")->call)(&anon, &api, call) == ST_OK && call->emitted == 2);
    CHECK(((st_call_view *)function("written")->call)(&view, &api, call) == ST_OK && !strcmp(call->queried, "SELECT * FROM entry WHERE author = :sender"));
    struct { st_str url; } args = { ST_S("http://x.invalid") };
    uint64_t id = 0;
    st_proc_ctx proc = { .api = &api, .call = call };
    CHECK(((st_call_procedure *)function("import_text")->call)(&proc, &args, &id) == ST_OK && id == 2 && call->tx_begun == 1);
    int32_t n = 0;
    CHECK(call_operation(2, 0, &hello, &n) == ST_OK && n == 5);
    CHECK(call_operation(2, 0, &long_text, &n) == ST_E_USER && !strcmp(last->error, "too long"));
    CHECK(call_operation(2, 1, NULL, NULL) == ST_E_USER && !strcmp(last->error, "nothing"));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const st_module_desc *m = load(argv[1]);
    if (!strcmp(m->name, "chat")) play_chat(!strcmp(m->version, "2.0.0"));
    else if (!strcmp(m->name, "ledger")) play_ledger();
    else if (!strcmp(m->name, "kitchen")) play_kitchen();
    else if (!strcmp(m->name, "full")) play_full();
    else if (!strcmp(m->name, "club")) play_club(!strcmp(m->version, "2.0.0"));
    else if (!strcmp(m->name, "keys")) play_keys();
    else if (!strcmp(m->name, "migrate")) play_migrate();
    else if (!strcmp(m->name, "guest")) play_guest();
    puts("# all good");
    return 0;
}
