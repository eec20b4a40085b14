/* delta.c - what one transaction means to every subscriber (spec sql-and-subscriptions.md 3, wire.md 5.2).
 *
 * 1. Each changed row finds its queries: by equality through the hash, else through the table's list.
 * 2. Each affected query is evaluated and encoded once.
 * 3. Clients are grouped by the shape of their message. One affected query whose listeners are all different clients
 *    is the common case: its listener arrays are the group, nothing is walked. */
#include "host/query/subs_int.h"

typedef struct Affected { /* a query with a change to tell */
    SubQuery *query;
    size_t start, rows, end; /* in s->bytes: the update of a set with this query alone; its TableUpdateRows */
} Affected;

typedef struct Hit {
    uint32_t affected, set_id, next;
} Hit; /* one listener of one affected query */
enum { HIT_NONE = UINT32_MAX };

typedef struct Piece {
    size_t start, end;
} Piece; /* a segment before its address is known */

typedef struct Vec {
    void *items;
    uint32_t count, cap;
} Vec; /* in s->arena */
static void *vec_add(Subs *s, Vec *v, size_t size)
{
    if (v->count == v->cap) {
        uint32_t cap = v->cap ? v->cap * 2 : 16;
        void *items = arena_alloc_raw(&s->arena, size * cap);
        if (v->count)
            memcpy(items, v->items, size * v->count);
        v->items = items;
        v->cap = cap;
    }
    return (char *)v->items + size * v->count++;
}
#define VEC_ADD(s, v, T) ((T *)vec_add((s), (v), sizeof(T)))
#define VEC_AT(v, T, i) (&((T *)(v)->items)[i])

typedef struct Evaluation {
    Subs *subs;
    Vec affected;      /* Affected */
    Vec failed;        /* SubQuery * */
    Buf failures;      /* UpdateFailure */
    Vec segments;      /* Piece; 2i and 2i+1: whole and rows of affected i */
    Vec groups;        /* UpdateGroup */
    const void **rows; /* scratch: rows of the query at hand */
    uint32_t rows_cap;
} Evaluation;

/* ---- 1. which queries ---- */

static void chain_add(Subs *s, RowChain *c, const void *row)
{
    RowLink *l = arena_alloc_raw(&s->arena, sizeof *l);
    *l = (RowLink){.row = row};
    if (!c->count)
        c->last = &c->first;
    *c->last = l;
    c->last = &l->next;
    c->count++;
}

static void find_by_equality(Evaluation *ev, Vec *found, const SubTable *t, const void *row, bool inserted)
{
    Subs *s = ev->subs;
    for (uint32_t i = 0; i < t->ncolumns; i++) {
        uint16_t col = t->columns[i].col;
        const ColumnDef *def = &t->def->cols[col];
        const void *value = (const char *)row + def->offset;
        uint64_t hash = subs_equality_hash(s, t->id, col, def->type, value);
        for (SubQuery *q = s->by_equality.buckets[hash & (s->by_equality.nbuckets - 1)]; q; q = q->equality_next) {
            if (q->equality_hash != hash || q->table != t || q->equality_col != col)
                continue;
            if (!q->equality_exact && !value_equal(def->type, q->equality->literal, value))
                continue;
            if (q->touched_by != s->evaluate_count) {
                q->touched_by = s->evaluate_count;
                q->deleted = q->inserted = (RowChain){0};
                *VEC_ADD(s, found, SubQuery *) = q;
            }
            chain_add(s, inserted ? &q->inserted : &q->deleted, row);
        }
    }
}

static int by_birth(const void *x, const void *y)
{
    const SubQuery *a = *(SubQuery *const *)x, *b = *(SubQuery *const *)y;
    return (a->id > b->id) - (a->id < b->id);
}

/* ---- 2. one query ---- */

static const void **rows_room(Evaluation *ev, uint64_t n)
{
    ASSERT(n <= UINT32_MAX);
    if (n > ev->rows_cap) {
        ev->rows_cap = (uint32_t)n;
        ev->rows = arena_alloc_raw(&ev->subs->arena, sizeof *ev->rows * n);
    }
    return ev->rows;
}

static uint32_t filter_array(const Pred *where, const void *const *rows, uint32_t n, const void **out)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (pred_eval(where, rows[i]))
            out[kept++] = rows[i];
    return kept;
}
static uint32_t filter_chain(const SubQuery *q, const RowChain *c, const void **out)
{
    const Pred *where = q->equality_alone ? NULL : q->plan->refs[q->plan->side].where;
    uint32_t kept = 0;
    const RowLink *l = c->first;
    for (uint32_t i = 0; i < c->count; i++, l = l->next)
        if (!where || pred_eval(where, l->row))
            out[kept++] = l->row;
    return kept;
}

static bool prefix_equal(const TableDef *def, uint16_t ncols, const void *x, const void *y)
{
    for (uint16_t c = 0; c < ncols; c++)
        if (!value_equal(def->cols[c].type, (const char *)x + def->cols[c].offset, (const char *)y + def->cols[c].offset))
            return false;
    return true;
}
static uint64_t prefix_hash(const TableDef *def, uint16_t ncols, const void *row)
{
    uint64_t h = hash_process_seed;
    for (uint16_t c = 0; c < ncols; c++)
        h = value_hash(def->cols[c].type, (const char *)row + def->cols[c].offset, h);
    return h;
}

static uint32_t rows_compact(const void **rows, uint32_t n)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (rows[i])
            rows[kept++] = rows[i];
    return kept;
}

/* A client that knows fewer columns: a row that left and one that came with the same known columns cancel. */
static void cancel_equal_prefixes(Evaluation *ev, const TableDef *def, uint16_t ncols, const void **deleted, uint32_t *ndeleted,
                                  const void **inserted, uint32_t *ninserted)
{
    typedef struct Entry {
        uint64_t hash;
        uint32_t row, next;
    } Entry;
    uint32_t size = 16;
    while (size < *ndeleted * 2u)
        size *= 2;
    uint32_t *heads = ARENA_ARRAY(&ev->subs->arena, uint32_t, size);
    Entry *entries = ARENA_ARRAY(&ev->subs->arena, Entry, *ndeleted + 1);
    for (uint32_t i = *ndeleted; i-- > 0;) { /* entry 0 means none */
        uint64_t h = prefix_hash(def, ncols, deleted[i]);
        entries[i + 1] = (Entry){h, i, heads[h & (size - 1)]};
        heads[h & (size - 1)] = i + 1;
    }
    for (uint32_t i = 0; i < *ninserted; i++) {
        uint64_t h = prefix_hash(def, ncols, inserted[i]);
        for (uint32_t *at = &heads[h & (size - 1)]; *at; at = &entries[*at].next) {
            Entry *e = &entries[*at];
            if (e->hash == h && prefix_equal(def, ncols, deleted[e->row], inserted[i])) {
                deleted[e->row] = inserted[i] = NULL;
                *at = e->next;
                break;
            }
        }
    }
    *ndeleted = rows_compact(deleted, *ndeleted);
    *ninserted = rows_compact(inserted, *ninserted);
}

static void encode_rows(Buf *out, const SubQuery *q, const void **deleted, uint32_t ndeleted, const void **inserted, uint32_t ninserted)
{
    const TableDef *def = q->table->def;
    buf_put_u8(out, def->is_event);
    row_list_encode(out, def, q->ncols, inserted, ninserted);
    if (!def->is_event)
        row_list_encode(out, def, q->ncols, deleted, ndeleted);
}

static void evaluate_query(Evaluation *ev, SubQuery *q, const TableChange *change)
{
    Subs *s = ev->subs;
    const TableDef *def = q->table->def; /* the plan is looked at only when it has more to say than the equality */
    bool chained = q->equality != NULL;
    uint32_t max_deleted = chained ? q->deleted.count : change->ndeleted, max_inserted = chained ? q->inserted.count : change->ninserted;
    const void **deleted = rows_room(ev, (uint64_t)max_deleted + max_inserted), **inserted = deleted + max_deleted;
    uint32_t nd, ni;
    s->evaluations++;
    if (chained) {
        nd = filter_chain(q, &q->deleted, deleted);
        ni = filter_chain(q, &q->inserted, inserted);
    } else {
        const Pred *where = q->plan->refs[q->plan->side].where;
        nd = filter_array(where, change->deleted, max_deleted, deleted);
        ni = filter_array(where, change->inserted, max_inserted, inserted);
    }
    if (def->is_event)
        nd = 0;
    if (q->ncols < def->ncols && nd && ni)
        cancel_equal_prefixes(ev, def, q->ncols, deleted, &nd, inserted, &ni);
    if (!nd && !ni)
        return;
    Affected a = {.query = q, .start = s->bytes.len};
    buf_put_u32(&s->bytes, 1);
    buf_put_str(&s->bytes, def->name);
    buf_put_u32(&s->bytes, 1);
    a.rows = s->bytes.len;
    encode_rows(&s->bytes, q, deleted, nd, inserted, ni);
    a.end = s->bytes.len;
    if (!buf_ok(&s->bytes)) {
        s->bytes.len = a.start;
        s->bytes.overflow = false;
        *VEC_ADD(s, &ev->failed, SubQuery *) = q;
        return;
    }
    *VEC_ADD(s, &ev->affected, Affected) = a;
}

static void evaluate_table(Evaluation *ev, const TableChange *change)
{
    Subs *s = ev->subs;
    SubTable *t = subs_table(s, table_id(change->table));
    if (!t || !t->def)
        return;
    t->changed_by = s->evaluate_count;
    Vec found = {0};
    if (t->ncolumns) {
        for (uint32_t i = 0; i < change->ndeleted; i++)
            find_by_equality(ev, &found, t, change->deleted[i], false);
        for (uint32_t i = 0; i < change->ninserted; i++)
            find_by_equality(ev, &found, t, change->inserted[i], true);
    }
    for (SubQuery *q = t->list_first; q; q = q->list_next)
        *VEC_ADD(s, &found, SubQuery *) = q;
    if (found.count > 1)
        qsort(found.items, found.count, sizeof(SubQuery *), by_birth);
    for (uint32_t i = 0; i < found.count; i++)
        evaluate_query(ev, *VEC_AT(&found, SubQuery *, i), change);
}

/* ---- 3. groups ---- */

static uint32_t segment_add(Evaluation *ev, size_t start, size_t end)
{
    *VEC_ADD(ev->subs, &ev->segments, Piece) = (Piece){start, end};
    return ev->segments.count - 1;
}

/* Clients that hear of this query alone. `all`: that is every listener. */
static void group_of_query(Evaluation *ev, uint32_t affected, bool all)
{
    Subs *s = ev->subs;
    SubQuery *q = VEC_AT(&ev->affected, Affected, affected)->query;
    UpdatePiece *pieces = ARENA_ARRAY(&s->arena, UpdatePiece, 2);
    pieces[0].segment = UPDATE_QUERY_SET_ID;
    pieces[1].segment = affected * 2;
    UpdateGroup g = {.nsets = 1, .npieces = 2, .pieces = pieces, .nrecipients = q->nsubs, .recipients = q->clients, .set_ids = q->set_ids};
    if (!all) {
        ClientRef *clients = ARENA_ARRAY(&s->arena, ClientRef, q->nsubs);
        uint32_t *ids = ARENA_ARRAY(&s->arena, uint32_t, q->nsubs), n = 0;
        for (uint32_t i = 0; i < q->nsubs; i++) {
            if (s->clients[q->clients[i].slot].hits != 1)
                continue;
            clients[n] = q->clients[i];
            ids[n++] = q->set_ids[i];
        }
        g.nrecipients = n, g.recipients = clients, g.set_ids = ids;
    }
    if (g.nrecipients)
        *VEC_ADD(s, &ev->groups, UpdateGroup) = g;
}

static int by_set(const void *x, const void *y)
{
    const Hit *a = x, *b = y;
    return a->set_id != b->set_id ? (a->set_id > b->set_id) - (a->set_id < b->set_id)
                                  : (a->affected > b->affected) - (a->affected < b->affected);
}
static int by_slot(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

/* Hits come by query already, and nearly always by set too. */
static void sort_hits(Hit *hits, uint32_t n)
{
    uint32_t i = 1;
    while (i < n && by_set(&hits[i - 1], &hits[i]) <= 0)
        i++;
    if (i < n)
        qsort(hits, n, sizeof *hits, by_set);
}

/* The message shape of a client with several hits, sorted by set and then by query (which is by table name). */
typedef struct Shape {
    uint64_t hash;
    uint32_t nhits, nsets, nclients, next;
    const Hit *hits;
} Shape;

static bool shape_equal(const Shape *x, const Shape *y)
{
    if (x->hash != y->hash || x->nhits != y->nhits || x->nsets != y->nsets)
        return false;
    for (uint32_t i = 0; i < x->nhits; i++) {
        bool new_x = i == 0 || x->hits[i].set_id != x->hits[i - 1].set_id, new_y = i == 0 || y->hits[i].set_id != y->hits[i - 1].set_id;
        if (x->hits[i].affected != y->hits[i].affected || new_x != new_y)
            return false;
    }
    return true;
}

static Shape shape_of(Subs *s, const SubClient *c, const Vec *hits)
{
    Hit *mine = ARENA_ARRAY(&s->arena, Hit, c->hits);
    Shape shape = {.hits = mine};
    for (uint32_t at = c->first_hit; at != HIT_NONE; at = VEC_AT(hits, Hit, at)->next)
        mine[shape.nhits++] = *VEC_AT(hits, Hit, at);
    sort_hits(mine, shape.nhits);
    for (uint32_t i = 0; i < shape.nhits; i++) {
        bool opens = i == 0 || mine[i].set_id != mine[i - 1].set_id;
        shape.nsets += opens;
        shape.hash = hash_u64(shape.hash ^ ((uint64_t)mine[i].affected * 2 + opens + 1));
    }
    return shape;
}

static Str table_name_of(const Evaluation *ev, const Hit *h)
{
    return VEC_AT(&ev->affected, Affected, h->affected)->query->table->def->name;
}

/* Pieces of one shape: per set a hole, then its tables with their queries' rows. */
static void shape_pieces(Evaluation *ev, const Shape *shape, UpdateGroup *g)
{
    Subs *s = ev->subs;
    Vec pieces = {0};
    for (uint32_t i = 0, end; i < shape->nhits; i = end) {
        uint32_t ntables = 0;
        for (end = i; end < shape->nhits && shape->hits[end].set_id == shape->hits[i].set_id; end++)
            ntables += end == i || !str_eq(table_name_of(ev, &shape->hits[end]), table_name_of(ev, &shape->hits[end - 1]));
        VEC_ADD(s, &pieces, UpdatePiece)->segment = UPDATE_QUERY_SET_ID;
        if (end == i + 1) {
            VEC_ADD(s, &pieces, UpdatePiece)->segment = shape->hits[i].affected * 2;
            continue;
        }
        for (uint32_t k = i, next; k < end; k = next) {
            for (next = k + 1; next < end && str_eq(table_name_of(ev, &shape->hits[next]), table_name_of(ev, &shape->hits[k]));)
                next++;
            size_t start = s->bytes.len;
            if (k == i)
                buf_put_u32(&s->bytes, ntables);
            buf_put_str(&s->bytes, table_name_of(ev, &shape->hits[k]));
            buf_put_u32(&s->bytes, next - k);
            VEC_ADD(s, &pieces, UpdatePiece)->segment = segment_add(ev, start, s->bytes.len);
            for (uint32_t h = k; h < next; h++)
                VEC_ADD(s, &pieces, UpdatePiece)->segment = shape->hits[h].affected * 2 + 1;
        }
    }
    g->pieces = pieces.items;
    g->npieces = pieces.count;
}

static void group_by_shape(Evaluation *ev, const Vec *hits, const Vec *slots)
{
    Subs *s = ev->subs;
    uint32_t n = slots->count, size = 16, nshapes = 0;
    while (size < n * 2u)
        size *= 2;
    uint32_t *heads = ARENA_ARRAY(&s->arena, uint32_t, size); /* shape + 1 */
    Shape *shapes = ARENA_ARRAY(&s->arena, Shape, n);
    uint32_t *shape_of_slot = ARENA_ARRAY(&s->arena, uint32_t, n);
    const Hit **hits_of_slot = ARENA_ARRAY(&s->arena, const Hit *, n);
    for (uint32_t i = 0; i < n; i++) {
        Shape shape = shape_of(s, &s->clients[*VEC_AT(slots, uint32_t, i)], hits);
        uint32_t *head = &heads[shape.hash & (size - 1)], at = *head;
        while (at && !shape_equal(&shapes[at - 1], &shape))
            at = shapes[at - 1].next;
        if (!at) {
            shape.next = *head;
            shapes[nshapes++] = shape;
            at = *head = nshapes;
        }
        shapes[at - 1].nclients++;
        shape_of_slot[i] = at - 1;
        hits_of_slot[i] = shape.hits;
    }
    uint32_t first = ev->groups.count;
    for (uint32_t i = 0; i < nshapes; i++) {
        UpdateGroup *g = VEC_ADD(s, &ev->groups, UpdateGroup);
        *g = (UpdateGroup){.nsets = shapes[i].nsets};
        g->recipients = ARENA_ARRAY(&s->arena, ClientRef, shapes[i].nclients);
        g->set_ids = ARENA_ARRAY(&s->arena, uint32_t, (uint64_t)shapes[i].nclients * shapes[i].nsets);
        shape_pieces(ev, &shapes[i], g);
    }
    for (uint32_t i = 0; i < n; i++) {
        const Shape *shape = &shapes[shape_of_slot[i]];
        UpdateGroup *g = VEC_AT(&ev->groups, UpdateGroup, first + shape_of_slot[i]);
        uint32_t *ids = (uint32_t *)g->set_ids + (size_t)g->nrecipients * g->nsets;
        ((ClientRef *)g->recipients)[g->nrecipients++] = s->clients[*VEC_AT(slots, uint32_t, i)].ref;
        for (uint32_t k = 0; k < shape->nhits; k++)
            if (k == 0 || hits_of_slot[i][k].set_id != hits_of_slot[i][k - 1].set_id)
                *ids++ = hits_of_slot[i][k].set_id;
    }
}

static void make_groups(Evaluation *ev)
{
    Subs *s = ev->subs;
    uint32_t n = ev->affected.count;
    if (n == 1 && VEC_AT(&ev->affected, Affected, 0)->query->ndoubles == 0) {
        group_of_query(ev, 0, true);
        return;
    }
    Vec hits = {0}, slots = {0};
    bool ascending = true;
    for (uint32_t i = 0; i < n; i++) { /* how many hits has each client? */
        const SubQuery *q = VEC_AT(&ev->affected, Affected, i)->query;
        for (uint32_t k = 0; k < q->nsubs; k++) {
            SubClient *c = &s->clients[q->clients[k].slot];
            if (c->hit_by != s->evaluate_count) {
                c->hit_by = s->evaluate_count;
                c->hits = 0;
            }
            c->hits++;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        const SubQuery *q = VEC_AT(&ev->affected, Affected, i)->query;
        uint32_t singles = 0;
        for (uint32_t k = 0; k < q->nsubs; k++) {
            SubClient *c = &s->clients[q->clients[k].slot];
            if (c->hits == 1) {
                singles++;
                continue;
            }
            uint32_t at = hits.count;
            *VEC_ADD(s, &hits, Hit) = (Hit){i, q->set_ids[k], HIT_NONE};
            if (c->hits & 1u << 31) { /* not its first */
                VEC_AT(&hits, Hit, c->last_hit)->next = at;
            } else {
                c->hits |= 1u << 31;
                c->first_hit = at;
                ascending = ascending && (slots.count == 0 || *VEC_AT(&slots, uint32_t, slots.count - 1) < c->ref.slot);
                *VEC_ADD(s, &slots, uint32_t) = c->ref.slot;
            }
            c->last_hit = at;
        }
        if (singles)
            group_of_query(ev, i, singles == q->nsubs);
    }
    if (!slots.count)
        return;
    if (!ascending)
        qsort(slots.items, slots.count, sizeof(uint32_t), by_slot);
    for (uint32_t i = 0; i < slots.count; i++)
        s->clients[*VEC_AT(&slots, uint32_t, i)].hits &= ~(1u << 31);
    group_by_shape(ev, &hits, &slots);
}

/* ---- the door ---- */

static int by_table_name(const void *x, const void *y)
{
    return str_cmp(table_def((*(const TableChange *const *)x)->table)->name, table_def((*(const TableChange *const *)y)->table)->name);
}

/* Sets with a query that could not be evaluated end; what is left of the others stays. */
static void end_failed(Evaluation *ev)
{
    Subs *s = ev->subs;
    for (uint32_t i = 0; i < ev->failed.count; i++)
        subs_fail_query(s, *VEC_AT(&ev->failed, SubQuery *, i), "Internal error evaluating queries: the update is too large", true,
                        &ev->failures);
    s->update.nfailures = (uint32_t)(ev->failures.len / sizeof(UpdateFailure));
    s->update.failures = arena_copy(&s->arena, ev->failures.ptr, ev->failures.len);
    buf_done(&ev->failures);
}

const Update *subs_evaluate(Subs *s, uint32_t nchanges, const TableChange *changes, uint32_t nfailed, const ViewFailure *failed)
{
    subs_free_dead(s);
    arena_reset(&s->arena);
    buf_reset(&s->bytes);
    s->bytes.max = s->bytes_max;
    s->update = (Update){0};
    s->evaluate_count++;
    if (!s->by_key.count)
        return &s->update;
    Evaluation ev = {.subs = s};
    for (uint32_t i = 0; i < nfailed; i++)
        subs_fail_view(s, &failed[i], &ev.failures);
    const TableChange **sorted = ARENA_ARRAY(&s->arena, const TableChange *, nchanges);
    for (uint32_t i = 0; i < nchanges; i++)
        sorted[i] = &changes[i];
    if (nchanges > 1)
        qsort(sorted, nchanges, sizeof *sorted, by_table_name);
    for (uint32_t i = 0; i < nchanges; i++)
        evaluate_table(&ev, sorted[i]);
    if (ev.failed.count || ev.failures.len)
        end_failed(&ev);
    s->bytes.max = 0; /* what follows is small */
    for (uint32_t i = 0; i < ev.affected.count; i++) {
        const Affected *a = VEC_AT(&ev.affected, Affected, i);
        segment_add(&ev, a->start, a->end);
        segment_add(&ev, a->rows, a->end);
    }
    if (ev.affected.count)
        make_groups(&ev);
    Bytes *segments = ARENA_ARRAY(&s->arena, Bytes, ev.segments.count);
    for (uint32_t i = 0; i < ev.segments.count; i++) {
        const Piece *p = VEC_AT(&ev.segments, Piece, i);
        segments[i] = bytes_of(s->bytes.ptr + p->start, p->end - p->start);
    }
    s->update.nsegments = ev.segments.count;
    s->update.segments = segments;
    s->update.ngroups = ev.groups.count;
    s->update.groups = ev.groups.items;
    return &s->update;
}
