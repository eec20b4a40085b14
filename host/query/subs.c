/* subs.c - clients, query sets and shared queries. */
#include "host/query/subs_int.h"

enum { SLOTS_MAX = 1 << 22, UPDATE_BYTES_MAX = 1 << 30 };

/* ---- hash tables of queries, chained ---- */

static SubQuery **key_chain(QueryTable *t, uint64_t hash) { return &t->buckets[hash & (t->nbuckets - 1)]; }

static void query_table_grow(QueryTable *t, bool by_key)
{
    if (t->count < t->nbuckets)
        return;
    size_t old_count = t->nbuckets;
    SubQuery **old = t->buckets;
    t->nbuckets = old_count ? old_count * 2 : 64;
    t->buckets = x_alloc(sizeof *t->buckets * t->nbuckets);
    for (size_t i = 0; i < old_count; i++) {
        for (SubQuery *q = old[i], *next; q; q = next) {
            next = by_key ? q->key_next : q->equality_next;
            SubQuery **chain = key_chain(t, by_key ? q->key_hash : q->equality_hash);
            *(by_key ? &q->key_next : &q->equality_next) = *chain;
            *chain = q;
        }
    }
    free(old);
}

static void query_table_add(QueryTable *t, SubQuery *q, bool by_key)
{
    query_table_grow(t, by_key);
    SubQuery **chain = key_chain(t, by_key ? q->key_hash : q->equality_hash);
    *(by_key ? &q->key_next : &q->equality_next) = *chain;
    *chain = q;
    t->count++;
}

static void query_table_remove(QueryTable *t, SubQuery *q, bool by_key)
{
    SubQuery **at = key_chain(t, by_key ? q->key_hash : q->equality_hash);
    while (*at != q)
        at = by_key ? &(*at)->key_next : &(*at)->equality_next;
    *at = by_key ? q->key_next : q->equality_next;
    t->count--;
}

/* ---- tables ---- */

static size_t table_position(const Subs *s, uint32_t id)
{
    size_t lo = 0, hi = s->ntables;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (s->tables[mid]->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

SubTable *subs_table(Subs *s, uint32_t id)
{
    size_t at = table_position(s, id);
    return at < s->ntables && s->tables[at]->id == id ? s->tables[at] : NULL;
}

static void table_refresh(Subs *s, uint32_t id, const TableDef *def, Table *table, uint16_t ncols)
{
    SubTable *t = subs_table(s, id);
    if (!t) {
        size_t at = table_position(s, id);
        s->tables = x_realloc(s->tables, sizeof *s->tables * (s->ntables + 1));
        memmove(s->tables + at + 1, s->tables + at, sizeof *s->tables * (s->ntables - at));
        t = NEW(SubTable);
        t->id = id;
        s->tables[at] = t;
        s->ntables++;
    }
    t->def = def;
    t->table = table;
    t->ncols = ncols;
}

/* Bring the list in line with the engine's schema; entries of dropped tables stay while queries refer to them. */
static void tables_refresh(Subs *s)
{
    const SchemaImage *image = engine_schema(s->engine);
    for (uint32_t i = 0; i < s->ntables; i++)
        s->tables[i]->def = NULL, s->tables[i]->table = NULL;
    for (uint32_t i = 0; image->def && i < image->def->ntables; i++)
        table_refresh(s, image->ids[i], &image->def->tables[i], engine_table(s->engine, i), image->def->tables[i].ncols);
    for (uint32_t i = 0; s->views && i < s->views->nviews; i++) {
        const ViewTable *v = &s->views->views[i];
        table_refresh(s, v->id, v->table_def, v->table, v->ncols);
    }
}

static void table_count_equality(SubTable *t, uint16_t col, int change)
{
    uint32_t i = 0;
    while (i < t->ncolumns && t->columns[i].col != col)
        i++;
    if (i == t->ncolumns) {
        t->columns = x_realloc(t->columns, sizeof *t->columns * (t->ncolumns + 1));
        t->columns[t->ncolumns++] = (SubColumn){.col = col};
    }
    t->columns[i].nqueries += (uint32_t)change;
    if (t->columns[i].nqueries == 0)
        t->columns[i] = t->columns[--t->ncolumns];
}

/* ---- queries: how a changed row finds them ---- */

/* hash_u64 is a bijection: for these types equal hashes on one column are equal values. */
static bool hash_is_exact(const Type *t) { return (t->size == 4 || t->size == 8) && (type_is_integer(t) || t->kind == TYPE_TIMESTAMP); }

uint64_t subs_equality_hash(const Subs *s, uint32_t table_id, uint16_t col, const Type *t, const void *value)
{
    uint64_t seed = s->seed ^ hash_u64((uint64_t)table_id << 16 | col);
    if (hash_is_exact(t))
        return hash_u64((t->size == 4 ? load_u32(value) : load_u64(value)) ^ seed);
    return value_hash(t, value, seed);
}

static void query_link(Subs *s, SubQuery *q)
{
    const PlanRef *ref = &q->plan->refs[q->plan->side];
    q->equality = NULL;
    if (ref->where->kind == PRED_FALSE)
        return;
    q->equality = pred_equality(ref);
    if (q->equality) {
        q->equality_col = q->equality->col;
        q->equality_exact = hash_is_exact(q->equality->type);
        q->equality_alone = q->equality == ref->where;
        q->equality_hash = subs_equality_hash(s, ref->table_id, q->equality->col, q->equality->type, q->equality->literal);
        query_table_add(&s->by_equality, q, false);
        table_count_equality(q->table, q->equality->col, 1);
        return;
    }
    SubTable *t = q->table;
    q->listed = true;
    q->list_prev = t->list_last;
    q->list_next = NULL;
    *(t->list_last ? &t->list_last->list_next : &t->list_first) = q;
    t->list_last = q;
}

static void query_unlink(Subs *s, SubQuery *q)
{
    if (q->equality) {
        query_table_remove(&s->by_equality, q, false);
        table_count_equality(q->table, q->equality->col, -1);
    } else if (q->listed) {
        *(q->list_prev ? &q->list_prev->list_next : &q->table->list_first) = q->list_next;
        *(q->list_next ? &q->list_next->list_prev : &q->table->list_last) = q->list_prev;
    }
    q->equality = NULL;
    q->listed = false;
}

/* ---- queries: birth and death ---- */

static Bytes query_key(Arena *a, const Plan *p, uint16_t ncols)
{
    OWN(buf) Buf key = {0};
    buf_put_u32(&key, p->nrefs);
    buf_put_u32(&key, p->side);
    buf_put_u16(&key, ncols);
    buf_put_u8(&key, p->ruled); /* it must be made again under the rules */
    for (uint32_t i = 0; i < p->nrefs; i++) {
        buf_put_u32(&key, p->refs[i].table_id);
        buf_put_blob(&key, p->refs[i].where->key);
    }
    return bytes_of(arena_copy(a, key.ptr, key.len), key.len);
}

static SubQuery *query_find(Subs *s, Bytes key, uint64_t hash)
{
    if (s->by_key.nbuckets)
        for (SubQuery *q = *key_chain(&s->by_key, hash); q; q = q->key_next)
            if (q->key_hash == hash && bytes_eq(q->key, key))
                return q;
    return NULL;
}

/* As long as a query over a view lives, the view's result is kept up to date. */
static void query_hold(Subs *s, SubQuery *q, uint32_t view_id)
{
    uint32_t was = q->view_id;
    q->view_id = view_id;
    if (view_id)
        views_hold(s->views, view_id, q->identity);
    if (was)
        views_unhold(s->views, was, q->identity);
}

/* Take a compiled plan into `q`, replacing the one that it had. */
static void query_adopt(Subs *s, SubQuery *q, const Plan *p, Bytes key, Str text)
{
    OWN(buf) Buf tail = {0};
    buf_put_bytes(&tail, key);
    buf_put_str_raw(&tail, text);
    void *kept;
    Plan *plan = query_plan_clone(p, tail.ptr, tail.len, &kept);
    free(q->plan);
    q->plan = plan;
    q->key = bytes_of(kept, key.len);
    q->text = (Str){(char *)kept + key.len, text.len};
    q->key_hash = hash_bytes(key.ptr, key.len, s->seed);
    q->table = subs_table(s, plan->refs[plan->side].table_id);
    query_hold(s, q, plan->refs[plan->side].is_view ? plan->refs[plan->side].table_id : 0);
    q->text_uses_sender = plan->uses_sender;
}

static SubQuery *query_new(Subs *s, const Plan *p, Bytes key, uint16_t ncols, Str text, const Caller *caller)
{
    SubQuery *q = NEW(SubQuery);
    q->id = ++s->next_query_id;
    q->ncols = ncols;
    memcpy(q->identity, caller->identity, 32);
    query_adopt(s, q, p, key, text);
    query_table_add(&s->by_key, q, true);
    query_link(s, q);
    return q;
}

static void snapshot_drop(Subs *s, SubQuery *q)
{
    s->snapshot_bytes -= q->snapshot.len;
    buf_done(&q->snapshot);
}

static void query_free(SubQuery *q)
{
    buf_done(&q->snapshot);
    free(q->plan);
    free(q->clients);
    free(q->set_ids);
    free(q);
}

/* Without listeners: out of the indexes now, out of memory when no update refers to it. */
static void query_release(Subs *s, SubQuery *q)
{
    if (q->nsubs)
        return;
    snapshot_drop(s, q);
    query_hold(s, q, 0);
    query_unlink(s, q);
    query_table_remove(&s->by_key, q, true);
    q->key_next = s->dead;
    s->dead = q;
}

void subs_free_dead(Subs *s)
{
    for (SubQuery *q = s->dead, *next; q; q = next) {
        next = q->key_next;
        query_free(q);
    }
    s->dead = NULL;
}

/* ---- listeners ---- */

static uint32_t listener_position(const SubQuery *q, uint32_t slot, uint32_t set_id)
{
    uint32_t lo = 0, hi = q->nsubs;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (q->clients[mid].slot < slot || (q->clients[mid].slot == slot && q->set_ids[mid] < set_id))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool same_client(const SubQuery *q, uint32_t i, uint32_t slot) { return i < q->nsubs && q->clients[i].slot == slot; }

static void listener_add(SubQuery *q, ClientRef client, uint32_t set_id)
{
    if (q->nsubs == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 1;
        q->clients = x_realloc(q->clients, sizeof *q->clients * q->cap);
        q->set_ids = x_realloc(q->set_ids, sizeof *q->set_ids * q->cap);
    }
    uint32_t at = listener_position(q, client.slot, set_id);
    q->ndoubles += (at > 0 && same_client(q, at - 1, client.slot)) || same_client(q, at, client.slot);
    memmove(q->clients + at + 1, q->clients + at, sizeof *q->clients * (q->nsubs - at));
    memmove(q->set_ids + at + 1, q->set_ids + at, sizeof *q->set_ids * (q->nsubs - at));
    q->clients[at] = client;
    q->set_ids[at] = set_id;
    q->nsubs++;
}

static void listener_remove(SubQuery *q, uint32_t slot, uint32_t set_id)
{
    uint32_t at = listener_position(q, slot, set_id);
    ASSERT(same_client(q, at, slot) && q->set_ids[at] == set_id);
    q->nsubs--;
    memmove(q->clients + at, q->clients + at + 1, sizeof *q->clients * (q->nsubs - at));
    memmove(q->set_ids + at, q->set_ids + at + 1, sizeof *q->set_ids * (q->nsubs - at));
    q->ndoubles -= (at > 0 && same_client(q, at - 1, slot)) || same_client(q, at, slot);
}

/* ---- clients ---- */

Subs *subs_new(Engine *e)
{
    Subs *s = NEW(Subs);
    s->engine = e;
    s->seed = hash_process_seed;
    s->bytes_max = UPDATE_BYTES_MAX;
    tables_refresh(s);
    return s;
}

void subs_use_views(Subs *s, Views *v)
{
    s->views = v;
    tables_refresh(s);
}

void subs_free(Subs *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->nclients; i++)
        if (s->clients[i].live)
            subs_client_remove(s, s->clients[i].ref);
    subs_free_dead(s);
    for (uint32_t i = 0; i < s->ntables; i++) {
        free(s->tables[i]->columns);
        free(s->tables[i]);
    }
    free(s->tables);
    free(s->clients);
    free(s->by_key.buckets);
    free(s->by_equality.buckets);
    arena_done(&s->arena);
    buf_done(&s->bytes);
    free(s);
}

SubClient *subs_client(Subs *s, ClientRef client)
{
    SubClient *c = client.slot < s->nclients ? &s->clients[client.slot] : NULL;
    return c && c->live && c->ref.generation == client.generation ? c : NULL;
}

void subs_client_add(Subs *s, ClientRef client, const Caller *caller, uint32_t nshapes, const TableShape *shapes)
{
    ASSERT(client.slot < SLOTS_MAX);
    if (!s->ntables)
        tables_refresh(s);                                         /* the engine had no schema when we were made */
    if (client.slot < s->nclients && s->clients[client.slot].live) /* the slot was reused: its former client is gone */
        subs_client_remove(s, s->clients[client.slot].ref);
    if (client.slot >= s->nclients) {
        uint32_t n = MAX(client.slot + 1, s->nclients * 2);
        s->clients = x_realloc(s->clients, sizeof *s->clients * n);
        memset(s->clients + s->nclients, 0, sizeof *s->clients * (n - s->nclients));
        s->nclients = n;
    }
    SubClient *c = &s->clients[client.slot];
    *c = (SubClient){.live = true, .ref = client, .caller = *caller, .nshapes = nshapes};
    if (nshapes) {
        c->shapes = x_alloc(sizeof *shapes * nshapes);
        memcpy(c->shapes, shapes, sizeof *shapes * nshapes);
    }
}

void subs_client_remove(Subs *s, ClientRef client)
{
    SubClient *c = subs_client(s, client);
    if (!c)
        return;
    while (c->nsets)
        subs_drop_set(s, c, c->sets[c->nsets - 1]->id);
    free(c->sets);
    free(c->shapes);
    *c = (SubClient){0};
}

static uint16_t known_columns(const SubClient *c, const SubTable *t)
{
    for (uint32_t i = 0; i < c->nshapes; i++)
        if (c->shapes[i].table_id == t->id)
            return MIN(c->shapes[i].ncols, t->ncols);
    return t->ncols;
}

/* ---- query sets ---- */

static uint32_t set_position(const SubClient *c, uint32_t id)
{
    uint32_t lo = 0, hi = c->nsets;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (c->sets[mid]->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

SubSet *subs_set(const SubClient *c, uint32_t id)
{
    uint32_t at = set_position(c, id);
    return at < c->nsets && c->sets[at]->id == id ? c->sets[at] : NULL;
}

void subs_drop_set(Subs *s, SubClient *c, uint32_t id)
{
    uint32_t at = set_position(c, id);
    ASSERT(at < c->nsets && c->sets[at]->id == id);
    SubSet *set = c->sets[at];
    c->nsets--;
    memmove(c->sets + at, c->sets + at + 1, sizeof *c->sets * (c->nsets - at));
    c->nqueries -= set->nqueries;
    for (uint32_t i = 0; i < set->nqueries; i++) {
        listener_remove(set->queries[i], c->ref.slot, id);
        query_release(s, set->queries[i]);
    }
    free(set);
}

static Status with_sql(Error *err, Str text, Status st)
{
    if (!err || !utf8_valid(text)) /* an error is text that goes to a client */
        return st;
    Str sql = sql_clip(text, SQL_EXECUTING_BYTES_MAX);
    const char *more = sql.len < text.len ? "..." : "";
    OWN(free) char *reason = x_strdup(err->text);
    Str head = sql_clip(str_of(reason), ERROR_TEXT_BYTES - sql.len - 32);
    FAIL(err, st, "%.*s, executing: `%.*s%s`", STR_FMT(head), STR_FMT(sql), more);
    return st;
}

typedef struct QueryList {
    SubQuery **items;
    uint32_t count, cap;
} QueryList;

static void list_put(Subs *s, QueryList *l, SubQuery *q)
{
    if (q->seen_by == s->subscribe_count)
        return; /* the same query again, however it is spelled */
    q->seen_by = s->subscribe_count;
    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 8;
        l->items = x_realloc(l->items, sizeof *l->items * l->cap);
    }
    l->items[l->count++] = q;
}

static Status compile_one(Subs *s, SubClient *c, Str text, QueryList *list, Error *err)
{
    OWN(arena) Arena a = {0};
    Plan *p;
    Status st = query_compile(&p, &a, s->engine, text, &c->caller, err);
    if (st != S_OK)
        return with_sql(err, text, st == S_TOO_LARGE ? S_TOO_LARGE : S_INVALID);
    if (c->nqueries + list->count >= SUBS_QUERIES_PER_CLIENT_MAX)
        return FAIL(err, S_TOO_LARGE, "a client may subscribe to at most %d queries", SUBS_QUERIES_PER_CLIENT_MAX);
    SubTable *t = subs_table(s, p->refs[p->side].table_id);
    ASSERT(t);
    uint16_t ncols = known_columns(c, t);
    Bytes key = query_key(&a, p, ncols);
    SubQuery *q = query_find(s, key, hash_bytes(key.ptr, key.len, s->seed));
    if (!q)
        q = query_new(s, p, key, ncols, text, &c->caller);
    list_put(s, list, q);
    return S_OK;
}

static Status compile_table(Subs *s, SubClient *c, const TableDef *t, QueryList *list, Error *err)
{
    if (t->is_event || (t->access == ACCESS_PRIVATE && !c->caller.is_owner))
        return S_OK;
    OWN(buf) Buf text = {0};
    buf_put_text(&text, "SELECT * FROM \"");
    for (size_t k = 0; k < t->name.len; k++)
        buf_put(&text, t->name.ptr[k] == '"' ? "\"\"" : &t->name.ptr[k], t->name.ptr[k] == '"' ? 2 : 1);
    buf_put_text(&text, "\"");
    return compile_one(s, c, buf_str(&text), list, err);
}

static Status compile_all_tables(Subs *s, SubClient *c, QueryList *list, Error *err)
{
    const ModuleDef *def = engine_schema(s->engine)->def;
    for (uint32_t i = 0; i < def->ntables; i++)
        TRY(compile_table(s, c, &def->tables[i], list, err));
    for (uint32_t i = 0; s->views && i < s->views->nviews; i++)
        TRY(compile_table(s, c, s->views->views[i].table_def, list, err));
    return S_OK;
}

/* The rows of one query, encoded once for all who ask before its table changes (design-rule 11). The first listener encodes into
 * its own message; from the second on the encoding is kept, within SNAPSHOT_BYTES_MAX for each and SNAPSHOTS_BYTES_MAX together. */
static Status append_rows(Subs *s, SubQuery *q, Buf *out, Error *err)
{
    enum { SNAPSHOT_BYTES_MAX = 4 << 20, SNAPSHOTS_BYTES_MAX = 64 << 20 };
    if (q->snapshot.len && q->table && q->snapshot_of == q->table->changed_by) {
        buf_put_bytes(out, buf_bytes(&q->snapshot));
        s->snapshots_shared++;
        return S_OK;
    }
    size_t start = out->len;
    TRY(query_append_rows(q->plan, q->ncols, out, err));
    snapshot_drop(s, q);
    size_t length = out->len - start;
    if (q->nsubs && q->table && length <= SNAPSHOT_BYTES_MAX && s->snapshot_bytes + length <= SNAPSHOTS_BYTES_MAX) {
        buf_put(&q->snapshot, out->ptr + start, length);
        q->snapshot_of = q->table->changed_by;
        s->snapshot_bytes += length;
    }
    return S_OK;
}

/* QueryRows of a list: queries over an empty table are left out, event tables hold nothing. */
static Status append_snapshot(Subs *s, SubQuery *const *queries, uint32_t count, Buf *out, Error *err)
{
    size_t start = out->len;
    uint32_t n = 0;
    buf_put_u32(out, 0);
    for (uint32_t i = 0; i < count; i++) {
        const PlanRef *ref = &queries[i]->plan->refs[queries[i]->plan->side];
        if (ref->def->is_event || table_count(ref->table) == 0)
            continue;
        Status st = append_rows(s, queries[i], out, err);
        if (st == S_OK && out->len - start > SQL_RESULT_BYTES_MAX)
            st = FAIL(err, S_TOO_LARGE, "the rows of the query set are more than %d bytes", SQL_RESULT_BYTES_MAX);
        if (st != S_OK) {
            out->len = start;
            return with_sql(err, queries[i]->text, st);
        }
        n++;
    }
    if (buf_ok(out))
        store_u32(out->ptr + start, n);
    return S_OK;
}

Status subs_subscribe(Subs *s, ClientRef client, uint32_t query_set_id, uint32_t nqueries, const Str *queries, Buf *snapshot, Error *err)
{
    SubClient *c = subs_client(s, client);
    if (!c)
        return FAIL(err, S_NOT_FOUND, "Client not found: %u", client.slot);
    if (subs_set(c, query_set_id))
        return FAIL(err, S_CONFLICT, "Subscription with id %u already exists for client: %u", query_set_id, client.slot);
    subs_free_dead(s);
    s->subscribe_count++;
    QueryList list = {0};
    Status st = S_OK;
    for (uint32_t i = 0; st == S_OK && i < nqueries; i++)
        st = sql_is_all_tables(queries[i]) ? compile_all_tables(s, c, &list, err) : compile_one(s, c, queries[i], &list, err);
    if (st == S_OK && snapshot)
        st = append_snapshot(s, list.items, list.count, snapshot, err);
    if (st != S_OK) {
        for (uint32_t i = 0; i < list.count; i++)
            query_release(s, list.items[i]);
        free(list.items);
        subs_free_dead(s);
        return st;
    }
    SubSet *set = x_alloc(sizeof *set + sizeof *set->queries * list.count);
    set->id = query_set_id;
    set->nqueries = list.count;
    for (uint32_t i = 0; i < list.count; i++) {
        set->queries[i] = list.items[i];
        listener_add(list.items[i], client, query_set_id);
    }
    free(list.items);
    if (c->nsets == c->sets_cap) {
        c->sets_cap = c->sets_cap ? c->sets_cap * 2 : 2;
        c->sets = x_realloc(c->sets, sizeof(SubSet *) * c->sets_cap);
    }
    uint32_t at = set_position(c, query_set_id);
    memmove(c->sets + at + 1, c->sets + at, sizeof *c->sets * (c->nsets - at));
    c->sets[at] = set;
    c->nsets++;
    c->nqueries += set->nqueries;
    return S_OK;
}

Status subs_unsubscribe(Subs *s, ClientRef client, uint32_t query_set_id, Buf *dropped, Error *err)
{
    SubClient *c = subs_client(s, client);
    if (!c)
        return FAIL(err, S_NOT_FOUND, "Client not found: %u", client.slot);
    SubSet *set = subs_set(c, query_set_id);
    if (!set)
        return FAIL(err, S_NOT_FOUND, "Subscription not found: %u", query_set_id);
    subs_free_dead(s);
    if (dropped)
        TRY(append_snapshot(s, set->queries, set->nqueries, dropped, err));
    subs_drop_set(s, c, query_set_id);
    subs_free_dead(s);
    return S_OK;
}

uint64_t subs_query_count(const Subs *s) { return s->by_key.count; }
uint64_t subs_snapshots_shared(const Subs *s) { return s->snapshots_shared; }
uint64_t subs_evaluations(const Subs *s) { return s->evaluations; }

/* ---- failures and publishes ---- */

static int query_order(const void *x, const void *y)
{
    const SubQuery *a = *(SubQuery *const *)x, *b = *(SubQuery *const *)y;
    return (a->id > b->id) - (a->id < b->id);
}

void subs_fail_view(Subs *s, const ViewFailure *failure, Buf *out)
{
    QueryList hit = {0};
    s->subscribe_count++;
    for (size_t i = 0; i < s->by_key.nbuckets; i++)
        for (SubQuery *q = s->by_key.buckets[i]; q; q = q->key_next)
            if (q->view_id == failure->table_id && (failure->for_all || memcmp(q->identity, failure->sender, 32) == 0))
                list_put(s, &hit, q);
    if (hit.count)
        qsort(hit.items, hit.count, sizeof *hit.items, query_order);
    for (uint32_t i = 0; i < hit.count; i++)
        if (hit.items[i]->nsubs) /* else it ended together with a set above */
            subs_fail_query(s, hit.items[i], arena_sprintf(&s->arena, "%.*s", STR_FMT(failure->text)), true, out);
    free(hit.items);
}

void subs_fail_query(Subs *s, SubQuery *q, const char *reason, bool owners_too, Buf *out)
{
    Str text = str_of(arena_sprintf(&s->arena, "%s, executing: `%.*s`", reason, STR_FMT(q->text)));
    for (uint32_t i = q->nsubs; i-- > 0;) { /* downwards: dropping a set removes exactly entry i */
        SubClient *c = &s->clients[q->clients[i].slot];
        if (!owners_too && c->caller.is_owner)
            continue;
        UpdateFailure f = {q->clients[i], q->set_ids[i], text};
        buf_put(out, &f, sizeof f);
        subs_drop_set(s, c, f.query_set_id);
    }
}

static void keep_known_columns(SubClient *c, const SubTable *t, uint16_t ncols)
{
    for (uint32_t i = 0; i < c->nshapes; i++)
        if (c->shapes[i].table_id == t->id)
            return;
    c->shapes = x_realloc(c->shapes, sizeof *c->shapes * (c->nshapes + 1));
    c->shapes[c->nshapes++] = (TableShape){t->id, ncols};
}

static void query_resolve_again(Subs *s, SubQuery *q, Buf *failures)
{
    OWN(arena) Arena a = {0};
    Error err;
    Plan *p;
    Caller caller = {.is_owner = true, .under_rules = q->plan->ruled, .views = s->views};
    memcpy(caller.identity, q->identity, 32);
    if (query_compile(&p, &a, s->engine, q->text, &caller, &err) != S_OK) {
        subs_fail_query(s, q, arena_sprintf(&a, "the subscription was ended by a publish: %s", err.text), true, failures);
        return;
    }
    const PlanRef *ref = &p->refs[p->side];
    if (ref->ncols < q->ncols) {
        subs_fail_query(s, q,
                        arena_sprintf(&a, "the subscription was ended by a publish: table `%.*s` lost columns", STR_FMT(ref->def->name)),
                        true, failures);
        return;
    }
    query_table_remove(&s->by_key, q, true);
    query_adopt(s, q, p, query_key(&a, p, q->ncols), q->text);
    query_table_add(&s->by_key, q, true);
    if (ref->def->access == ACCESS_PRIVATE)
        subs_fail_query(
            s, q,
            arena_sprintf(&a,
                          "the subscription was ended by a publish: no such table: `%.*s`. If the table exists, it may be marked private.",
                          STR_FMT(ref->def->name)),
            false, failures);
}

/* No query may be touched through its old plan: types and tables of the old definition may be gone. */
void subs_schema_changed(Subs *s, uint32_t *ret_nfailures, const UpdateFailure **ret_failures)
{
    subs_free_dead(s);
    arena_reset(&s->arena);
    QueryList all = {0};
    s->subscribe_count++;
    for (size_t i = 0; i < s->by_key.nbuckets; i++)
        for (SubQuery *q = s->by_key.buckets[i]; q; q = q->key_next)
            list_put(s, &all, q);
    if (all.count)
        qsort(all.items, all.count, sizeof *all.items, query_order);
    uint16_t *before = x_alloc(sizeof *before * (s->ntables + 1));
    uint32_t *ids = x_alloc(sizeof *ids * (s->ntables + 1));
    uint32_t nbefore = s->ntables;
    for (uint32_t i = 0; i < nbefore; i++)
        before[i] = s->tables[i]->ncols, ids[i] = s->tables[i]->id;
    for (uint32_t i = 0; i < all.count; i++) {
        snapshot_drop(s, all.items[i]);
        query_unlink(s, all.items[i]);
    }
    tables_refresh(s);
    for (uint32_t i = 0; i < nbefore; i++) {
        SubTable *t = subs_table(s, ids[i]);
        for (uint32_t k = 0; t->def && t->ncols != before[i] && k < s->nclients; k++)
            if (s->clients[k].live)
                keep_known_columns(&s->clients[k], t, before[i]);
    }
    OWN(buf) Buf failures = {0};
    for (uint32_t i = 0; i < all.count; i++) {
        if (all.items[i]->nsubs) /* else it ended together with a set above and is in s->dead */
            query_resolve_again(s, all.items[i], &failures);
    }
    for (uint32_t i = 0; i < all.count; i++)
        if (all.items[i]->nsubs)
            query_link(s, all.items[i]);
    *ret_nfailures = (uint32_t)(failures.len / sizeof(UpdateFailure));
    *ret_failures = arena_copy(&s->arena, failures.ptr, failures.len);
    free(before);
    free(ids);
    free(all.items);
    subs_free_dead(s);
}
