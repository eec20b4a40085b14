/* views_reads.c - which result has read what, and which does a changed row touch? */
#include "host/query/views_int.h"

/* ---- tables and groups ---- */

static TableReads *table_reads(Views *v, const Table *t, bool make)
{
    uint32_t id = table_id(t), lo = 0, hi = v->ntables;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (v->reads[mid]->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < v->ntables && v->reads[lo]->id == id)
        return v->reads[lo];
    if (!make)
        return NULL;
    v->reads = x_realloc(v->reads, (v->ntables + 1) * sizeof(TableReads *));
    memmove(v->reads + lo + 1, v->reads + lo, (v->ntables - lo) * sizeof(TableReads *));
    v->ntables++;
    v->reads[lo] = NEW(TableReads);
    *v->reads[lo] = (TableReads){.id = id, .def = table_def(t)};
    return v->reads[lo];
}

static uint32_t group_of(TableReads *t, bool is_range, uint32_t ncols, const uint16_t *cols)
{
    uint32_t named = ncols + is_range;
    ASSERT(named <= READ_COLUMNS_MAX);
    for (uint32_t i = 0; i < t->ngroups; i++)
        if (t->groups[i].is_range == is_range && t->groups[i].ncols == ncols && memcmp(t->groups[i].cols, cols, named * sizeof *cols) == 0)
            return i;
    t->groups = x_realloc(t->groups, (t->ngroups + 1) * sizeof *t->groups);
    ReadGroup *g = &t->groups[t->ngroups];
    *g = (ReadGroup){.ncols = (uint16_t)ncols, .is_range = is_range};
    memcpy(g->cols, cols, named * sizeof *cols);
    return t->ngroups++;
}

static uint64_t hash_begin(const Views *v, const TableReads *t, uint32_t group)
{
    return v->seed ^ hash_u64((uint64_t)t->id << 32 | group);
}

static uint64_t hash_of_keys(const Views *v, const TableReads *t, uint32_t group, const void *const *keys)
{
    const ReadGroup *g = &t->groups[group];
    uint64_t h = hash_begin(v, t, group);
    for (uint16_t i = 0; i < g->ncols; i++)
        h = value_hash(t->def->cols[g->cols[i]].type, keys[i], h);
    return h;
}

static uint64_t hash_of_row(const Views *v, const TableReads *t, uint32_t group, const void *row)
{
    const ReadGroup *g = &t->groups[group];
    uint64_t h = hash_begin(v, t, group);
    for (uint16_t i = 0; i < g->ncols; i++) {
        const ColumnDef *c = &t->def->cols[g->cols[i]];
        h = value_hash(c->type, (const char *)row + c->offset, h);
    }
    return h;
}

/* ---- lists that reads leave again ---- */

static void link_read(Read **head, Read *r)
{
    r->next = *head;
    r->prev = head;
    if (r->next)
        r->next->prev = &r->next;
    *head = r;
}

static void unlink_read(Read *r)
{
    *r->prev = r->next;
    if (r->next)
        r->next->prev = r->prev;
}

static void keys_grow(Views *v)
{
    if (v->nkeys < v->nkey_buckets)
        return;
    size_t n = v->nkey_buckets ? 2 * v->nkey_buckets : 64;
    Read **old = v->keys;
    v->keys = x_alloc(n * sizeof(Read *));
    for (size_t i = 0; i < v->nkey_buckets; i++)
        for (Read *r = old[i], *next; r; r = next) {
            next = r->next;
            link_read(&v->keys[r->hash & (n - 1)], r);
        }
    free(old);
    v->nkey_buckets = n;
}

/* ---- ranges: a treap of intervals ---- */

static int range_order(const Type *t, const Read *a, const Read *b)
{
    int c = !a->lo || !b->lo ? (a->lo != NULL) - (b->lo != NULL) : value_compare(t, a->lo, b->lo);
    return c ? c : (a->birth > b->birth) - (a->birth < b->birth);
}

static void range_update(const Type *t, Read *n)
{
    n->max_open = !n->hi;
    n->max_hi = n->hi;
    for (int side = 0; side < 2; side++) {
        const Read *kid = side ? n->right : n->left;
        if (!kid)
            continue;
        n->max_open |= kid->max_open;
        if (!n->max_open && value_compare(t, kid->max_hi, n->max_hi) > 0)
            n->max_hi = kid->max_hi;
    }
}

static void range_split(const Type *t, Read *root, const Read *at, Read **ret_less, Read **ret_more)
{
    if (!root) {
        *ret_less = *ret_more = NULL;
        return;
    }
    if (range_order(t, root, at) < 0) {
        *ret_less = root;
        range_split(t, root->right, at, &root->right, ret_more);
    } else {
        *ret_more = root;
        range_split(t, root->left, at, ret_less, &root->left);
    }
    range_update(t, root);
}

static Read *range_merge(const Type *t, Read *less, Read *more)
{
    if (!less || !more)
        return less ? less : more;
    Read *root = less->priority > more->priority ? less : more;
    if (root == less)
        root->right = range_merge(t, root->right, more);
    else
        root->left = range_merge(t, less, root->left);
    range_update(t, root);
    return root;
}

static Read *range_insert(const Type *t, Read *root, Read *n)
{
    if (!root)
        return n;
    if (n->priority > root->priority) {
        range_split(t, root, n, &n->left, &n->right);
        range_update(t, n);
        return n;
    }
    Read **kid = range_order(t, n, root) < 0 ? &root->left : &root->right;
    *kid = range_insert(t, *kid, n);
    range_update(t, root);
    return root;
}

static Read *range_remove(const Type *t, Read *root, const Read *n)
{
    ASSERT(root);
    if (root == n)
        return range_merge(t, root->left, root->right);
    Read **kid = range_order(t, n, root) < 0 ? &root->left : &root->right;
    *kid = range_remove(t, *kid, n);
    range_update(t, root);
    return root;
}

static RangeSet *range_set(Views *v, uint64_t hash, const Type *make)
{
    for (RangeSet *s = v->nset_buckets ? v->sets[hash & (v->nset_buckets - 1)] : NULL; s; s = s->next)
        if (s->hash == hash)
            return s;
    if (!make)
        return NULL;
    if (v->nsets >= v->nset_buckets) {
        size_t n = v->nset_buckets ? 2 * v->nset_buckets : 64;
        RangeSet **old = v->sets;
        v->sets = x_alloc(n * sizeof(RangeSet *));
        for (size_t i = 0; i < v->nset_buckets; i++)
            for (RangeSet *s = old[i], *next; s; s = next) {
                next = s->next;
                s->next = v->sets[s->hash & (n - 1)];
                v->sets[s->hash & (n - 1)] = s;
            }
        free(old);
        v->nset_buckets = n;
    }
    RangeSet *s = NEW(RangeSet);
    *s = (RangeSet){.hash = hash, .type = make, .next = v->sets[hash & (v->nset_buckets - 1)]};
    v->sets[hash & (v->nset_buckets - 1)] = s;
    v->nsets++;
    return s;
}

static void range_set_free(Views *v, RangeSet *s)
{
    RangeSet **at = &v->sets[s->hash & (v->nset_buckets - 1)];
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    v->nsets--;
    free(s);
}

/* ---- noting ---- */

static Read *read_new(Views *v, ReadKind kind, TableReads *t, uint32_t group, size_t extra)
{
    Instance *inst = v->running;
    Read *r = x_alloc(sizeof *r + extra);
    *r = (Read){.kind = kind, .inst = inst, .inst_next = inst->reads, .table = t, .group = group, .birth = v->next_read++};
    inst->reads = r;
    inst->nreads++;
    v->nreads++;
    if (kind != READ_TABLE)
        t->groups[group].count++;
    return r;
}

void views_read_table(Views *v, const Table *table)
{
    TableReads *t = table_reads(v, table, true);
    if (t->all && t->all->inst == v->running) /* what one instance reads stands together, in front */
        return;
    link_read(&t->all, read_new(v, READ_TABLE, t, 0, 0));
}

/* So many different things that a whole table is the shorter list. */
static bool reads_full(Views *v, const Table *table)
{
    if (v->running->nreads < VIEW_READS_MAX)
        return false;
    views_read_table(v, table);
    return true;
}

void views_read_key(Views *v, const Table *table, uint32_t ncols, const uint16_t *cols, const void *const *keys)
{
    if (reads_full(v, table))
        return;
    TableReads *t = table_reads(v, table, true);
    uint32_t group = group_of(t, false, ncols, cols);
    uint64_t hash = hash_of_keys(v, t, group, keys);
    keys_grow(v);
    Read **bucket = &v->keys[hash & (v->nkey_buckets - 1)];
    for (const Read *r = *bucket; r && r->inst == v->running; r = r->next)
        if (r->hash == hash)
            return;
    Read *r = read_new(v, READ_KEY, t, group, 0);
    r->hash = hash;
    link_read(bucket, r);
    v->nkeys++;
}

static const void *keep_value(const Type *t, const void *value, uint8_t **at)
{
    if (!value)
        return NULL;
    void *copy = *at;
    *at += (t->size + 15u) / 16 * 16;
    value_copy(t, copy, value, at);
    return copy;
}

static size_t kept_bytes(const Type *t, const void *value)
{
    return value ? (t->size + 15u) / 16 * 16 + value_heap_size(t, value) + 16 : 0;
}

void views_read_range(Views *v, const Table *table, uint32_t neq, const uint16_t *cols, const void *const *eq, const void *lo,
                      const void *hi)
{
    if (reads_full(v, table))
        return;
    TableReads *t = table_reads(v, table, true);
    uint32_t group = group_of(t, true, neq, cols);
    const Type *type = t->def->cols[cols[neq]].type;
    Read *r = read_new(v, READ_RANGE, t, group, kept_bytes(type, lo) + kept_bytes(type, hi) + 16);
    uint8_t *at = (uint8_t *)r + (sizeof *r + 15) / 16 * 16;
    r->lo = keep_value(type, lo, &at);
    r->hi = keep_value(type, hi, &at);
    r->priority = hash_u64(r->birth + 1);
    r->set = range_set(v, hash_of_keys(v, t, group, eq), type);
    range_update(type, r);
    r->set->root = range_insert(type, r->set->root, r);
}

void reads_drop(Views *v, Instance *inst)
{
    for (Read *r = inst->reads, *next; r; r = next) {
        next = r->inst_next;
        if (r->kind == READ_RANGE) {
            r->set->root = range_remove(r->set->type, r->set->root, r);
            if (!r->set->root)
                range_set_free(v, r->set);
        } else {
            unlink_read(r);
            v->nkeys -= r->kind == READ_KEY;
        }
        if (r->kind != READ_TABLE)
            r->table->groups[r->group].count--;
        v->nreads--;
        free(r);
    }
    inst->reads = NULL;
    inst->nreads = 0;
    free(inst->plan);
    inst->plan = NULL;
    inst->fresh = false;
}

/* ---- finding ---- */

static void touch(Views *v, Instance *inst, const void *row, bool inserted)
{
    if (inst->plan && !pred_eval(inst->plan->refs[0].where, row))
        return;
    if (inst->touched_by != v->evaluation) {
        inst->touched_by = v->evaluation;
        inst->deleted = inst->inserted = NULL;
        buf_put(&v->touched, &inst, sizeof(Instance *));
    }
    if (!inst->plan)
        return;
    Touch *t = ARENA_NEW(&v->arena, Touch), **head = inserted ? &inst->inserted : &inst->deleted;
    *t = (Touch){row, *head};
    *head = t;
}

static void touch_ranges(Views *v, const Type *t, const Read *n, const void *value, const void *row, bool inserted)
{
    if (!n || (!n->max_open && value_compare(t, n->max_hi, value) < 0))
        return;
    touch_ranges(v, t, n->left, value, row, inserted);
    if (n->lo && value_compare(t, n->lo, value) > 0)
        return;
    if (!n->hi || value_compare(t, n->hi, value) >= 0)
        touch(v, n->inst, row, inserted);
    touch_ranges(v, t, n->right, value, row, inserted);
}

static void touch_by_row(Views *v, const TableReads *t, bool queries, const void *row, bool inserted)
{
    for (const Read *r = queries ? t->all : NULL; r; r = r->next)
        if (r->inst->plan)
            touch(v, r->inst, row, inserted);
    for (uint32_t g = 0; g < t->ngroups; g++) {
        if (!t->groups[g].count)
            continue;
        uint64_t hash = hash_of_row(v, t, g, row);
        if (!t->groups[g].is_range) {
            for (const Read *r = v->keys[hash & (v->nkey_buckets - 1)]; r; r = r->next)
                if (r->hash == hash)
                    touch(v, r->inst, row, inserted);
            continue;
        }
        const RangeSet *s = range_set(v, hash, NULL);
        if (s)
            touch_ranges(v, s->type, s->root, (const char *)row + t->def->cols[t->groups[g].cols[t->groups[g].ncols]].offset, row,
                         inserted);
    }
}

void reads_touch(Views *v, uint32_t nchanges, const TableChange *changes)
{
    for (uint32_t i = 0; i < nchanges; i++) {
        const TableReads *t = table_reads(v, changes[i].table, false);
        if (!t)
            continue;
        bool queries = false; /* among those that have read all of it: they want to see each row */
        for (const Read *r = t->all; r; r = r->next) {
            queries |= r->inst->plan != NULL;
            if (!r->inst->plan)
                touch(v, r->inst, NULL, false);
        }
        for (uint32_t k = 0; k < changes[i].ndeleted; k++)
            touch_by_row(v, t, queries, changes[i].deleted[k], false);
        for (uint32_t k = 0; k < changes[i].ninserted; k++)
            touch_by_row(v, t, queries, changes[i].inserted[k], true);
    }
}

void reads_forget_tables(Views *v)
{
    ASSERT(!v->nreads && !v->nkeys && !v->nsets);
    for (uint32_t i = 0; i < v->ntables; i++) {
        free(v->reads[i]->groups);
        free(v->reads[i]);
    }
    v->ntables = 0;
}

void reads_free(Views *v)
{
    reads_forget_tables(v);
    free(v->reads);
    free(v->keys);
    free(v->sets);
}
