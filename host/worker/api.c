/* api.c - st_api: what a module's code may ask of the host while one of its functions runs.
 *
 * Every entry takes the handle that came with the context and nothing global, so calls of several databases could run
 * side by side. Positions that a module passes (tables, columns) are checked; keys and rows are checked by the engine
 * or here before anything keeps them. A failing write that nobody asked to be told about dooms the transaction: the
 * first failure's text becomes the call's result, whatever the function returns. Reads go on working in a doomed
 * transaction, since a function that has not looked at its statuses must not meet NULL where a row is. */
#include "host/worker/claims.h"
#include "host/worker/core_int.h"
#include <stdio.h>

void api_begin(st_call *call, Core *c, const CoreSchema *schema, Str function, uint64_t call_seq, int64_t timestamp_us)
{
    call->core = c;
    call->schema = schema;
    call->migrating = call->over = call->viewing = false;
    call->noting = NULL;
    call->arena = &c->arena;
    call->log = &c->log;
    call->procedure = NULL;
    call->outer = NULL;
    call->db = (st_db){&api_table, call, schema->items};
    call->function = function;
    call->claims = (Str){0};
    call->nstopwatches = 0;
    call->random = hash_u64((uint64_t)timestamp_us ^ hash_u64(call_seq + 0x9e3779b97f4a7c15u));
    call->scratch_bytes = 0;
    call->doomed = false;
    call->last_status = ST_OK;
    call->doom_len = call->fail_len = 0;
}

/* ---- failures -------------------------------------------------------------------------------- */

static void doom(st_call *call, st_status status, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void doom(st_call *call, st_status status, const char *fmt, ...)
{
    call->last_status = status;
    if (call->doomed)
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(call->doom_text, sizeof call->doom_text, fmt, ap);
    va_end(ap);
    call->doom_len = n < 0 ? 0 : (uint32_t)MIN((size_t)n, sizeof call->doom_text - 1);
    call->doomed = true;
}

/* The call cannot go on: leave the module's frames and end it (a module holds nothing that needs releasing). */
void api_leave(st_call *call, st_status status, const char *text)
{
    if (call->outer)
        call = call->outer;
    doom(call, status, "%s", text);
    longjmp(call->edge, 1);
}

static st_status status_of(Status s, const Error *err)
{
    switch (s) {
    case S_OK: return ST_OK;
    case S_CONFLICT: return ST_E_UNIQUE;
    case S_NOT_FOUND: return ST_E_NO_ROW;
    case S_TOO_LARGE:
        return str_is(str_of(err->sqlstate), SQLSTATE_SEQUENCE) ? ST_E_AUTO_OVERFLOW
               : str_is(str_of(err->sqlstate), SQLSTATE_DELAY)  ? ST_E_DELAY_TOO_LONG
                                                                : ST_E_TOO_LARGE;
    default: return ST_E_INVALID;
    }
}

static __attribute__((noinline)) st_status write_failed(st_call *call, Status s, bool try_)
{
    st_status status = status_of(s, &call->err);
    if (try_)
        call->last_status = status;
    else
        doom(call, status, "%s", call->err.text);
    return status;
}

void api_cancel(st_call *call)
{
    char text[200];
    snprintf(text, sizeof text, "`%.*s` ran longer than %u ms (--call-timeout-ms)", (int)MIN(call->function.len, (size_t)100),
             call->function.ptr, call->core->env.call_ms_max);
    api_leave(call, ST_E_ABORTED, text);
}

/* Every function that a loop may call asks this (rule 17, the first step). */
static inline void check_cancelled(st_call *call)
{
    const Core *c = call->core;
    if (UNLIKELY(c->env.cancel && atomic_load_explicit(c->env.cancel, memory_order_relaxed) != 0) && core_is_cancelled(c))
        api_cancel(call);
}

/* The table behind a record's position, or NULL with the call doomed. */
static inline const CoreTable *table_of(const st_db *db, uint32_t item)
{
    const CoreSchema *s = db->call->schema;
    check_cancelled(db->call);
    if (LIKELY(item < s->nitems && s->items[item] && !db->call->over))
        return s->items[item];
    if (db->call->over)
        doom(db->call, ST_E_ABORTED, "the module used a transaction after its end");
    else
        doom(db->call, ST_E_INVALID, "the module used record %u as a table, which it is not", item);
    return NULL;
}

/* The same for a write: a migration's function only reads the tables as they were. */
static inline const CoreTable *writable_table_of(const st_db *db, uint32_t item)
{
    const CoreTable *t = table_of(db, item);
    const CoreSchema *s = db->call->schema;
    if (UNLIKELY(db->call->viewing && t)) {
        doom(db->call, ST_E_READ_ONLY, "a view reads only: it cannot write table `%.*s`", STR_FMT(t->def->name));
        return NULL;
    }
    if (UNLIKELY(db->call->migrating && t && (t < s->tables || t >= s->tables + s->image.def->ntables))) {
        doom(db->call, ST_E_READ_ONLY, "table `%.*s` as it was before the migration can only be read", STR_FMT(t->def->name));
        return NULL;
    }
    return t;
}

static bool column_is_unique(st_call *call, const CoreTable *t, uint32_t col)
{
    if (LIKELY(col < t->def->ncols && t->unique[col]))
        return true;
    doom(call, ST_E_INVALID, "table `%.*s`: column %u is not a unique column", STR_FMT(t->def->name), col);
    return false;
}

static void *scratch(st_call *call, size_t bytes)
{
    check_cancelled(call);
    uint64_t most = call->core->env.call_bytes_max;
    if (UNLIKELY(bytes > most - call->scratch_bytes)) {
        char text[120];
        snprintf(text, sizeof text, "the call asked for more than %llu bytes of scratch memory (--call-memory)", (unsigned long long)most);
        api_leave(call, ST_E_TOO_LARGE, text);
    }
    call->scratch_bytes += bytes;
    return arena_alloc(call->arena, bytes);
}
void *api_scratch(st_call *call, size_t bytes) { return scratch(call, bytes); }

/* ---- views ----------------------------------------------------------------------------------- */

/* A view may take so long; one that loops without asking for anything is the watchdog's. */
static void view_step(st_call *call)
{
    const CoreEnv *env = &call->core->env;
    if (++call->view_steps % 256 || !env->view_ms_max || env->clock_us(env->user) - call->view_since_us < env->view_ms_max * (int64_t)1000)
        return;
    api_leave(call, ST_E_ABORTED, arena_sprintf(call->arena, "it took longer than %u ms (--view-timeout-ms)", env->view_ms_max));
}

/* What a view reads of an event table is nothing: events live inside other calls. */
static inline bool view_sees(st_call *call, const CoreTable *t)
{
    if (LIKELY(!call->viewing))
        return true;
    view_step(call);
    return !t->def->is_event;
}

static st_status api_emit(void *host, const void *row)
{
    st_call *call = host;
    if (!call || !call->viewing)
        return ST_E_INVALID;
    view_step(call);
    if (call->doomed)
        return ST_E_ABORTED;
    Error err;
    Status s = !row ? FAIL(&err, S_INVALID, "it emits no row") : call->noting ? views_emit(call->noting, row, &err) : S_OK;
    if (s == S_OK)
        return ST_OK;
    doom(call, status_of(s, &err), "%s", err.text);
    return call->last_status;
}

static st_status api_query(void *host, const char *sql)
{
    st_call *call = host;
    if (!call || !call->viewing)
        return ST_E_INVALID;
    if (call->doomed)
        return ST_E_ABORTED;
    Error err;
    Status s = !sql ? FAIL(&err, S_INVALID, "it gives no query") : call->noting ? views_query(call->noting, str_of(sql), &err) : S_OK;
    if (s == S_OK)
        return ST_OK;
    doom(call, status_of(s, &err), "%s", err.text);
    return call->last_status;
}

/* ---- writes ---------------------------------------------------------------------------------- */

/* A time too far ahead of now; the engine has no clock. */
static __attribute__((noinline)) Status check_time(st_call *call, const TableDef *d, const void *row)
{
    st_schedule_at at;
    memcpy(&at, (const uint8_t *)row + d->cols[d->schedule->at_col].offset, sizeof at);
    Core *c = call->core;
    int64_t now_us = MAX(call->ctx.timestamp.us, c->env.clock_us(c->env.user)), ahead_us;
    if (at.tag != 1 || (!__builtin_sub_overflow(at.us, now_us, &ahead_us) && ahead_us < SCHEDULE_DELAY_US_MAX) || at.us < now_us)
        return S_OK;
    Status status = FAIL(&call->err, S_TOO_LARGE, "table `%.*s`, column `%.*s`: a time two years (2^36 ms) or more ahead", STR_FMT(d->name),
                         STR_FMT(d->cols[d->schedule->at_col].name));
    memcpy(call->err.sqlstate, SQLSTATE_DELAY, sizeof SQLSTATE_DELAY);
    return status;
}

static st_status api_insert(st_db *db, uint32_t item, void *row, bool try_)
{
    st_call *call = db->call;
    if (UNLIKELY(call->doomed))
        return ST_E_ABORTED;
    const CoreTable *t = writable_table_of(db, item);
    if (UNLIKELY(!t || !row)) {
        doom(call, ST_E_INVALID, "insert without a row");
        return ST_E_INVALID;
    }
    const void *stored;
    Status s = UNLIKELY(t->def->schedule) ? check_time(call, t->def, row) : S_OK;
    if (LIKELY(s == S_OK))
        s = table_insert(t->table, row, &stored, &call->err);
    return LIKELY(s == S_OK) ? ST_OK : write_failed(call, s, try_);
}

static st_status api_update(st_db *db, uint32_t item, uint32_t col, void *row, bool try_)
{
    st_call *call = db->call;
    if (UNLIKELY(call->doomed))
        return ST_E_ABORTED;
    const CoreTable *t = writable_table_of(db, item);
    if (UNLIKELY(!t || !row || !column_is_unique(call, t, col))) {
        doom(call, ST_E_INVALID, "update without a row");
        return ST_E_INVALID;
    }
    const void *stored;
    Status s = UNLIKELY(t->def->schedule) ? check_time(call, t->def, row) : S_OK;
    if (LIKELY(s == S_OK))
        s = table_update(t->table, (uint16_t)col, row, &stored, &call->err);
    return LIKELY(s == S_OK) ? ST_OK : write_failed(call, s, try_);
}

/* A key that a module hands in: may it be looked at? */
static bool key_is_good(st_call *call, const CoreTable *t, uint32_t col, const void *key)
{
    const Type *type = t->def->cols[col].type;
    if (UNLIKELY(!key))
        doom(call, ST_E_INVALID, "table `%.*s`, column `%.*s`: no key", STR_FMT(t->def->name), STR_FMT(t->def->cols[col].name));
    else if (LIKELY(type->flat) || value_check(type, key, &call->err) == S_OK)
        return true;
    else
        doom(call, ST_E_INVALID, "table `%.*s`, column `%.*s`: key: %s", STR_FMT(t->def->name), STR_FMT(t->def->cols[col].name),
             call->err.text);
    return false;
}

static const void *api_find(const st_db *db, uint32_t item, uint32_t col, const void *key)
{
    const CoreTable *t = table_of(db, item);
    if (UNLIKELY(!t || !column_is_unique(db->call, t, col) || !key_is_good(db->call, t, col, key)))
        return NULL;
    st_call *call = db->call;
    if (UNLIKELY(!view_sees(call, t)))
        return NULL;
    if (UNLIKELY(call->noting != NULL))
        views_read_key(call->noting, t->table, 1, &(uint16_t){(uint16_t)col}, &key);
    return table_find(t->table, (uint16_t)col, key);
}

/* Index for equality on cols[0..neq) and then a range on cols[neq] when there is one; -1: none. A unique index finds
 * whole keys only. */
static int32_t index_for(const TableDef *def, uint32_t ncols, const uint16_t *cols, uint32_t neq)
{
    int32_t found = -1;
    for (uint16_t i = 0; i < def->nindexes; i++) {
        const IndexDef *ix = &def->indexes[i];
        if (ix->ncols < ncols || (ix->unique && neq != ix->ncols) || memcmp(ix->cols, cols, ncols * sizeof *cols) != 0)
            continue;
        if (ix->unique || ix->ncols == ncols)
            return i;
        if (found < 0)
            found = i;
    }
    return found;
}

/* A cursor over what scan and erase mean. False: the call is doomed. Keys are copied: the module's live in a frame that
 * is gone before the rows are read. */
static bool cursor_open(const st_db *db, Cursor *cur, const CoreTable *t, uint32_t ncols, const uint16_t *cols, uint32_t neq,
                        const void *const *eq, const void *lo, const void *hi)
{
    st_call *call = db->call;
    if (ncols == 0) {
        if (UNLIKELY(call->noting != NULL))
            views_read_table(call->noting, t->table);
        cursor_all(cur, t->table);
        return true;
    }
    if (UNLIKELY(ncols > COUNT_OF(cur->eq) || neq > ncols || neq + 1 < ncols || !cols || (neq && !eq))) {
        doom(call, ST_E_INVALID, "table `%.*s`: a scan over %u columns with %u keys", STR_FMT(t->def->name), ncols, neq);
        return false;
    }
    const void *keys[COUNT_OF(cur->eq) + 2] = {NULL};
    for (uint32_t i = 0; i < ncols + 1; i++) {
        /* keys[0..ncols): equal values, or the lower bound on the last column; keys[ncols]: the upper bound */
        const void *key = i < neq ? eq[i] : neq == ncols ? NULL : i == neq ? lo : hi;
        uint32_t at = MIN(i, ncols - 1);
        if (UNLIKELY(cols[at] >= t->def->ncols)) {
            doom(call, ST_E_INVALID, "table `%.*s` has no column %u", STR_FMT(t->def->name), cols[at]);
            return false;
        }
        if (!key && i >= neq)
            continue;
        if (!key_is_good(call, t, cols[at], key))
            return false;
        const Type *type = t->def->cols[cols[at]].type;
        size_t heap_bytes = type->has_pointers ? value_heap_size(type, key) : 0;
        void *copy = scratch(call, type->size);
        uint8_t *heap = heap_bytes ? scratch(call, heap_bytes) : NULL;
        value_copy(type, copy, key, &heap);
        keys[i] = copy;
    }
    int32_t index = index_for(t->def, ncols, cols, neq);
    if (UNLIKELY(index < 0)) {
        doom(call, ST_E_INVALID, "table `%.*s` has no index for this scan", STR_FMT(t->def->name));
        return false;
    }
    if (UNLIKELY(call->noting != NULL) && neq == ncols)
        views_read_key(call->noting, t->table, ncols, cols, keys);
    else if (UNLIKELY(call->noting != NULL))
        views_read_range(call->noting, t->table, neq, cols, keys, keys[neq], keys[ncols]);
    cursor_index(cur, t->table, index, neq, keys, neq < ncols ? keys[neq] : NULL, neq < ncols ? keys[ncols] : NULL);
    return true;
}

static uint64_t api_erase(st_db *db, uint32_t item, uint32_t ncols, const uint16_t *cols, const void *const *eq)
{
    st_call *call = db->call;
    const CoreTable *t = writable_table_of(db, item);
    if (UNLIKELY(call->doomed || !t))
        return 0;
    uint64_t n = 0;
    if (ncols == 1 && cols && eq && cols[0] < t->def->ncols && t->unique[cols[0]]) {
        const void *row = key_is_good(call, t, cols[0], eq[0]) ? table_find(t->table, cols[0], eq[0]) : NULL;
        if (!row)
            return 0;
        Status s = table_delete(t->table, row, &call->err);
        if (UNLIKELY(s != S_OK)) {
            write_failed(call, s, false);
            return 0;
        }
        return 1;
    }
    Cursor cur;
    if (!cursor_open(db, &cur, t, ncols, cols, ncols, eq, NULL, NULL))
        return 0;
    for (const void *row; (row = cursor_next(&cur)) != NULL; n++) {
        Status s = table_delete(t->table, row, &call->err);
        if (UNLIKELY(s != S_OK)) {
            write_failed(call, s, false);
            return n;
        }
    }
    return n;
}

static bool api_erase_row(st_db *db, uint32_t item, const void *row)
{
    st_call *call = db->call;
    const CoreTable *t = writable_table_of(db, item);
    if (UNLIKELY(call->doomed || !t))
        return false;
    if (UNLIKELY(!row || value_check(t->def->row, row, &call->err) != S_OK)) {
        doom(call, ST_E_INVALID, "table `%.*s`: delete: %s", STR_FMT(t->def->name), row ? call->err.text : "no row");
        return false;
    }
    const void *found = NULL;
    int32_t col = t->def->pk;
    for (uint32_t i = 0; col < 0 && i < t->def->ncols; i++)
        if (t->unique[i])
            col = (int32_t)i;
    if (col >= 0) {
        found = table_find(t->table, (uint16_t)col, (const uint8_t *)row + t->def->cols[col].offset);
        if (found && !value_equal(t->def->row, found, row))
            found = NULL;
    } else {
        Cursor cur;
        cursor_all(&cur, t->table);
        while ((found = cursor_next(&cur)) != NULL && !value_equal(t->def->row, found, row))
            ;
    }
    if (!found)
        return false;
    Status s = table_delete(t->table, found, &call->err);
    if (UNLIKELY(s != S_OK))
        write_failed(call, s, false);
    return s == S_OK;
}

/* ---- reads ----------------------------------------------------------------------------------- */

static uint64_t api_count(const st_db *db, uint32_t item)
{
    const CoreTable *t = table_of(db, item);
    if (UNLIKELY(!t || !view_sees(db->call, t)))
        return 0;
    if (UNLIKELY(db->call->noting != NULL))
        views_read_table(db->call->noting, t->table);
    return table_count(t->table);
}

static st_cursor api_scan(const st_db *db, uint32_t item, uint32_t ncols, const uint16_t *cols, uint32_t neq, const void *const *eq,
                          const void *lo, const void *hi)
{
    const CoreTable *t = table_of(db, item);
    Cursor cur;
    if (!t || !view_sees(db->call, t) || !cursor_open(db, &cur, t, ncols, cols, neq, eq, lo, hi))
        return (st_cursor){NULL, NULL, 0, 0};
    Cursor *kept = scratch(db->call, sizeof *kept);
    *kept = cur;
    return (st_cursor){kept, NULL, 0, 0};
}

static const void *api_next(const st_db *db, st_cursor *c)
{
    if (UNLIKELY(!c || !c->host || db->call->over))
        return NULL;
    check_cancelled(db->call);
    if (UNLIKELY(db->call->viewing))
        view_step(db->call);
    const void *row = cursor_next(c->host);
    if (!row)
        c->host = NULL; /* a loop that asks once more hears the same */
    return row;
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void *api_alloc(st_call *call, size_t bytes) { return scratch(call, bytes); }

static st_str api_format(st_call *call, const char *format, ...)
{
    char small[256];
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, format, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n;
    char *text = scratch(call, len + 1);
    if (len < sizeof small)
        memcpy(text, small, len);
    else
        vsnprintf(text, len + 1, format, again);
    va_end(again);
    return (st_str){text, len};
}

static st_status api_fail(st_call *call, const char *format, ...)
{
    if (call->outer) /* it is the procedure that fails */
        call = call->outer;
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(call->fail_text, sizeof call->fail_text, format, ap);
    va_end(ap);
    call->fail_len = n < 0 ? 0 : (uint32_t)MIN((size_t)n, sizeof call->fail_text - 1);
    return ST_E_USER;
}

static void api_log(st_call *call, st_log_level level, const st_log_loc *where, const char *format, ...)
{
    char text[LOG_MESSAGE_BYTES_MAX + 1];
    check_cancelled(call);
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : MIN((size_t)n, sizeof text - 1);
    env_log(&call->core->env, call->log, (unsigned)level <= ST_LOG_TRACE ? (uint8_t)level : ST_LOG_DEBUG, where ? where->line : 0,
            call->function, str_of(where ? where->file : NULL), (Str){text, len});
}

static void api_random(st_call *call, void *buffer, size_t size)
{
    for (uint8_t *p = buffer; size;) { /* splitmix64 (Steele, Lea, Flood 2014) */
        uint64_t v = hash_u64(call->random += 0x9e3779b97f4a7c15u);
        size_t n = MIN(size, sizeof v);
        memcpy(p, &v, n);
        p += n, size -= n;
    }
}

static st_str api_claims(st_call *call) { return (st_str){call->claims.ptr, call->claims.len}; }

static st_str api_claim(st_call *call, const char *name, uint32_t index)
{
    OWN(buf) Buf text = {0};
    if (!name || !claim_text(call->claims, str_of(name), index, &text))
        return (st_str){NULL, 0};
    char *copy = scratch(call, text.len + 1);
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    return (st_str){copy, text.len};
}

/* Stopwatches: a reducer gets no clock, so what it has taken goes to the log only. */
static uint32_t api_stopwatch_start(st_call *call, const char *name)
{
    if (call->nstopwatches == STOPWATCHES_MAX)
        return UINT32_MAX;
    struct Stopwatch *s = &call->stopwatches[call->nstopwatches];
    snprintf(s->name, sizeof s->name, "%s", name ? name : "");
    s->since_us = call->core->env.clock_us(call->core->env.user);
    return call->nstopwatches++;
}

static st_status api_stopwatch_end(st_call *call, uint32_t id, const st_log_loc *where)
{
    struct Stopwatch *s = id < call->nstopwatches ? &call->stopwatches[id] : NULL;
    if (!s || s->since_us == INT64_MIN)
        return ST_E_NO_STOPWATCH;
    int64_t us = call->core->env.clock_us(call->core->env.user) - s->since_us;
    char text[STOPWATCH_NAME_BYTES + 64];
    int n = snprintf(text, sizeof text, "%s: %lld.%03lld ms", s->name, (long long)(us / 1000), (long long)(us % 1000));
    s->since_us = INT64_MIN; /* once */
    env_log(&call->core->env, call->log, ST_LOG_INFO, where ? where->line : 0, call->function, str_of(where ? where->file : NULL),
            (Str){text, (size_t)MAX(n, 0)});
    return ST_OK;
}

const st_api api_table = {
    .size = sizeof(st_api),
    .major = ST_ABI_MAJOR,
    .minor = ST_ABI_MINOR,
    .insert = api_insert,
    .update = api_update,
    .find = api_find,
    .erase = api_erase,
    .count = api_count,
    .scan = api_scan,
    .next = api_next,
    .alloc = api_alloc,
    .fail = api_fail,
    .log = api_log,
    .emit = api_emit,
    .tx_begin = procedure_tx_begin,
    .tx_end = procedure_tx_end,
    .tx_abort = procedure_tx_abort,
    .http = procedure_http,
    .format = api_format,
    .random = api_random,
    .erase_row = api_erase_row,
    .claims = api_claims,
    .claim = api_claim,
    .stopwatch_start = api_stopwatch_start,
    .stopwatch_end = api_stopwatch_end,
    .sleep_until = procedure_sleep_until,
    .query = api_query,
};
