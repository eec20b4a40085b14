/* schema.c - random schemas, and the module that runs on them.
 *
 * Reducer `run` takes a seed, a number of operations and a temper. It makes operations from the seed, does each through
 * the st_api that real modules get, predicts its result from the model and applies it there. */
#include "tests/sim/sim.h"

/* ---- schemas --------------------------------------------------------------------------------- */

static const char *const words[] = {"", "a", "ab", "b", "zebra", "it's", "\xc3\xa4\xe2\x82\xac", "longer than sixteen bytes, surely"};

static const Type *kind_type(ColumnKind k, Arena *a)
{
    switch (k) {
    case COL_U64: return type_scalar(TYPE_U64);
    case COL_U32: return type_scalar(TYPE_U32);
    case COL_I32: return type_scalar(TYPE_I32);
    case COL_STRING: return type_scalar(TYPE_STRING);
    case COL_BOOL: return type_scalar(TYPE_BOOL);
    case COL_IDENTITY: return type_scalar(TYPE_IDENTITY);
    case COL_U8: return type_scalar(TYPE_U8);
    case COL_F64: return type_scalar(TYPE_F64);
    case COL_OPT_U32: return type_option(a, type_scalar(TYPE_U32));
    default: return type_scalar(TYPE_BYTES);
    }
}

static void default_value(SimColumn *c, Rng *r)
{
    c->has_default = true;
    uint64_t v = rng_below(r, 5);
    switch (c->kind) {
    case COL_U64:
    case COL_F64: c->value_len = 8; break;
    case COL_U32:
    case COL_I32: c->value_len = 4; break;
    case COL_BOOL:
        v &= 1;
        c->value_len = 1;
        break;
    case COL_U8: c->value_len = 1; break;
    case COL_OPT_U32:
        v = 1;
        c->value_len = 1;
        break; /* none */
    default:
        v = 1 | (uint64_t)'d' << 32;
        c->value_len = 5;
        break; /* "d" */
    }
    memcpy(c->value, &v, 8);
}

static void column_random(SimColumn *c, Rng *r, uint32_t at, bool appended)
{
    *c = (SimColumn){.kind = (ColumnKind)rng_below(r, COL_KINDS)};
    snprintf(c->name, sizeof c->name, "c%u", at);
    if (appended) {
        if (c->kind == COL_IDENTITY)
            c->kind = COL_U8;
        default_value(c, r);
    } else if (c->kind < COL_KEYS && c->kind != COL_BOOL) {
        if (rng_chance(r, 15))
            c->flags |= COLUMN_UNIQUE;
        else if (rng_chance(r, 30))
            c->flags |= COLUMN_INDEX;
        if ((c->kind == COL_U64 || c->kind == COL_U32) && rng_chance(r, 15))
            c->flags |= COLUMN_AUTO_INC;
    }
}

static void table_random(SimSchema *s, Rng *r)
{
    uint32_t at = s->ntables++;
    SimTable *t = &s->tables[at];
    bool is_private = at > 1 && rng_chance(r, 20), is_event = at > 1 && rng_chance(r, 15);
    *t = (SimTable){.id = ++s->next_id + 100, .is_private = is_private, .is_event = is_event};
    snprintf(t->name, sizeof t->name, "t%u", at);
    t->ncols = 1 + rng_below(r, 5);
    for (uint32_t i = 0; i < t->ncols; i++)
        column_random(&t->cols[i], r, i, false);
    if (rng_chance(r, 65)) { /* a primary key */
        static const ColumnKind keys[] = {COL_U64, COL_U32, COL_STRING, COL_U64, COL_IDENTITY};
        SimColumn *pk = &t->cols[0];
        pk->kind = keys[rng_below(r, COUNT_OF(keys))];
        pk->flags = COLUMN_PK | ((pk->kind == COL_U64 || pk->kind == COL_U32) && rng_chance(r, 50) ? COLUMN_AUTO_INC : 0);
    }
}

static void index_random(SimTable *t, Rng *r)
{
    if (t->nindexes == 2 || t->ncols < 2)
        return;
    uint16_t a = (uint16_t)rng_below(r, t->ncols), b = (uint16_t)rng_below(r, t->ncols);
    if (a == b || t->cols[a].kind >= COL_KEYS || t->cols[b].kind >= COL_KEYS)
        return;
    for (uint32_t i = 0; i < t->nindexes; i++)
        if (t->index_cols[i][0] == a && t->index_cols[i][1] == b)
            return;
    t->index_cols[t->nindexes][0] = a;
    t->index_cols[t->nindexes++][1] = b;
}

void schema_random(SimSchema *s, Rng *r)
{
    *s = (SimSchema){.version = 1, .lifecycles = rng_chance(r, 70), .evolving_since = 1};
    uint32_t n = 2 + rng_below(r, 4);
    for (uint32_t i = 0; i < n; i++) {
        table_random(s, r);
        index_random(&s->tables[i], r);
    }
}

void schema_evolve(SimSchema *s, Rng *r)
{
    s->version++;
    if (s->ntables < TABLES_MAX && rng_chance(r, 40))
        table_random(s, r);
    for (uint32_t i = 0; i < s->ntables; i++) {
        SimTable *t = &s->tables[i];
        for (uint32_t more = rng_chance(r, 35) ? 1 + rng_below(r, 2) : 0; more && t->ncols < COLUMNS_MAX; more--) {
            column_random(&t->cols[t->ncols], r, t->ncols, true);
            t->ncols++;
        }
        if (rng_chance(r, 25))
            index_random(t, r);
    }
    if (rng_chance(r, 50))
        s->evolving_since = s->version, s->evolving_params++;
}

void schema_definition(const SimSchema *s, Buf *out)
{
    ModuleBuilder *b = module_builder_new();
    Arena *a = module_builder_arena(b);
    for (uint32_t i = 0; i < s->ntables; i++) {
        const SimTable *t = &s->tables[i];
        BuilderColumn cols[COLUMNS_MAX];
        for (uint32_t k = 0; k < t->ncols; k++)
            cols[k] = (BuilderColumn){str_of(t->cols[k].name), kind_type(t->cols[k].kind, a), t->cols[k].flags, t->cols[k].has_default,
                                      bytes_of(t->cols[k].value, t->cols[k].value_len)};
        uint32_t at = module_builder_table(b, str_of(t->name), t->is_private ? ACCESS_PRIVATE : ACCESS_PUBLIC, t->is_event, t->ncols, cols);
        for (uint32_t k = 0; k < t->nindexes; k++)
            module_builder_index(b, at, str_of(k ? "second" : "first"), 2, t->index_cols[k]);
    }
    Field run[3] = {
        {STR("seed"), type_scalar(TYPE_U64), 0}, {STR("operations"), type_scalar(TYPE_U8), 0}, {STR("temper"), type_scalar(TYPE_U8), 0}};
    module_builder_reducer(b, STR("run"), type_product(a, 3, run), LIFECYCLE_NONE);
    Field evolving[VERSIONS_MAX + 1];
    char names[VERSIONS_MAX + 1][8];
    for (uint32_t i = 0; i <= s->evolving_params; i++) {
        snprintf(names[i], sizeof names[i], "p%u", i);
        evolving[i] = (Field){str_of(names[i]), type_scalar(TYPE_U64), 0};
    }
    module_builder_reducer(b, STR("evolving"), type_product(a, s->evolving_params + 1, evolving), LIFECYCLE_NONE);
    module_builder_reducer(b, STR("on_init"), &type_unit, LIFECYCLE_INIT);
    Field work[3] = {
        {STR("seed"), type_scalar(TYPE_U64), 0}, {STR("steps"), type_scalar(TYPE_U8), 0}, {STR("temper"), type_scalar(TYPE_U8), 0}};
    module_builder_procedure(b, STR("work"), type_product(a, 3, work), type_scalar(TYPE_U64));
    if (s->lifecycles) {
        module_builder_reducer(b, STR("on_connect"), &type_unit, LIFECYCLE_CONNECT);
        module_builder_reducer(b, STR("on_disconnect"), &type_unit, LIFECYCLE_DISCONNECT);
    }
    Error err;
    if (module_builder_finish(b, out, &err) != S_OK)
        BUG("sim schema: %s", err.text);
}

/* ---- values ---------------------------------------------------------------------------------- */

static void value_random(ColumnKind k, Rng *r, void *p)
{
    uint64_t v = rng_below(r, 24);
    switch (k) {
    case COL_U64: memcpy(p, &v, 8); break;
    case COL_U32:
        v %= 8;
        memcpy(p, &v, 4);
        break;
    case COL_I32: {
        int32_t i = (int32_t)(v % 9) - 4;
        memcpy(p, &i, 4);
        break;
    }
    case COL_STRING: {
        const char *word = words[v % COUNT_OF(words)];
        *(st_str *)p = (st_str){word, strlen(word)};
        break;
    }
    case COL_BOOL: *(bool *)p = v & 1; break;
    case COL_IDENTITY: memset(p, (int)(v % 6), 32); break;
    case COL_U8: *(uint8_t *)p = (uint8_t)(v % 5); break;
    case COL_F64: {
        static const double f[] = {0.0, -0.0, 1.5, -2.25, 1e300};
        memcpy(p, &f[v % COUNT_OF(f)], 8);
        break;
    }
    case COL_OPT_U32: {
        struct {
            bool some;
            uint32_t v;
        } o = {v & 1, 0};
        if (o.some)
            o.v = (uint32_t)v;
        memset(p, 0, sizeof o);
        *(bool *)p = o.some;
        memcpy((uint8_t *)p + 4, &o.v, 4);
        break;
    }
    default: *(st_bytes *)p = (st_bytes){(const uint8_t *)words[v % COUNT_OF(words)], v % 2}; break;
    }
}

/* ---- one run of module code ------------------------------------------------------------------ */

typedef struct SimModule {
    Module m;
    World *w;
    Buf definition;
    SimSchema schema;
} SimModule;
typedef struct Run {
    World *w;
    const SimSchema *s;
    const st_reducer_ctx *ctx;
    Rng rng;
    bool careless;
    bool doomed;
    st_status failed; /* the first status that a function with manners would have returned */
    Arena arena;
} Run;

static Buf encode(Run *r, uint32_t t, const void *row)
{
    Buf b = {0};
    value_encode(&b, r->w->def->tables[t].row, row);
    return b;
}

static void *row_random(Run *r, uint32_t t)
{
    const TableDef *def = &r->w->def->tables[t];
    uint8_t *row = r->ctx->api->alloc(r->ctx->call, def->row->size);
    for (uint32_t i = 0; i < def->ncols; i++) {
        const SimColumn *c = &r->s->tables[t].cols[i];
        if ((c->flags & COLUMN_AUTO_INC) && rng_chance(&r->rng, 85))
            continue;
        value_random(c->kind, &r->rng, row + def->cols[i].offset);
    }
    return row;
}

/* A row of the model as a struct; NULL when the table is empty. */
static void *row_existing(Run *r, uint32_t t)
{
    if (!r->w->tables[t].n)
        return NULL;
    Bytes b = r->w->tables[t].rows[rng_below(&r->rng, r->w->tables[t].n)];
    const Type *type = r->w->def->tables[t].row;
    void *row = arena_alloc(&r->arena, type->size);
    Reader in = reader_of(b);
    Error err;
    SIM_CHECK(r->w, value_decode(&in, type, row, &r->arena, &err) == S_OK, "model row: %s", err.text);
    return row;
}

static bool is_unique(const SimColumn *c) { return c->flags & (COLUMN_PK | COLUMN_UNIQUE); }

/* Does `row` clash with a row other than `self` in a unique column? Columns yet to be generated are left out. */
static bool conflicts(Run *r, uint32_t t, Bytes row, int32_t self, const bool *generated)
{
    for (uint32_t c = 0; c < r->s->tables[t].ncols; c++) {
        if (!is_unique(&r->s->tables[t].cols[c]) || generated[c])
            continue;
        int32_t other = model_find(r->w, t, c, model_column(r->w, t, row, c));
        if (other >= 0 && other != self)
            return true;
    }
    return false;
}

static void note_failure(Run *r, st_status st, bool try_)
{
    if (!try_) {
        r->doomed = true;
        if (!r->failed)
            r->failed = st;
    }
}

static void op_insert(Run *r, uint32_t t, void *row, bool try_)
{
    World *w = r->w;
    const TableDef *def = &w->def->tables[t];
    OWN(buf) Buf before = encode(r, t, row);
    bool generated[COLUMNS_MAX] = {false}, any_unique_generated = false, any = false;
    for (uint32_t c = 0; c < def->ncols; c++) {
        static const uint8_t zero[16];
        const SimColumn *sc = &r->s->tables[t].cols[c];
        generated[c] = (sc->flags & COLUMN_AUTO_INC) && memcmp((uint8_t *)row + def->cols[c].offset, zero, def->cols[c].type->size) == 0;
        any |= generated[c];
        any_unique_generated |= generated[c] && is_unique(sc);
    }
    bool clash = conflicts(r, t, buf_bytes(&before), -1, generated);
    bool same = !any && model_find_row(w, t, buf_bytes(&before)) >= 0;
    st_status st = r->ctx->api->insert(r->ctx->db, t, row, try_);
    if (r->doomed) {
        SIM_CHECK(w, st == ST_E_ABORTED, "insert in a doomed transaction gave %d", st);
        return;
    }
    if (st == ST_E_UNIQUE) {
        SIM_CHECK(w, (clash && !same) || any_unique_generated, "insert into t%u: unwarranted conflict", t);
        note_failure(r, st, try_);
        return;
    }
    SIM_CHECK(w, st == ST_OK, "insert into t%u gave %d", t, st);
    if (same)
        return;
    OWN(buf) Buf after = encode(r, t, row);
    bool met = any && model_find_row(w, t, buf_bytes(&after)) >= 0; /* the number made it equal to a row with an explicit one */
    SIM_CHECK(w, met || !clash, "insert into t%u: conflict not seen", t);
    for (uint32_t c = 0; c < def->ncols; c++) {
        if (!generated[c])
            continue;
        uint64_t v = 0;
        memcpy(&v, (uint8_t *)row + def->cols[c].offset, def->cols[c].type->size);
        SIM_CHECK(w, v > w->generated[t][c], "t%u.c%u: number %llu was given out before", t, c, (unsigned long long)v);
        w->generated_run[t][c] = MAX(w->generated_run[t][c], v);
    }
    if (met)
        return;
    model_add(w, t, buf_bytes(&after));
}

static void op_update(Run *r, uint32_t t, bool try_)
{
    World *w = r->w;
    const SimTable *st = &r->s->tables[t];
    const TableDef *def = &w->def->tables[t];
    uint32_t cols[COLUMNS_MAX], n = 0;
    for (uint32_t c = 0; c < st->ncols; c++)
        if (is_unique(&st->cols[c]))
            cols[n++] = c;
    if (!n || st->is_event)
        return;
    uint32_t key = cols[rng_below(&r->rng, n)];
    uint8_t *row = rng_chance(&r->rng, 85) ? row_existing(r, t) : NULL;
    if (!row)
        row = row_random(r, t);
    for (uint32_t c = 0; c < st->ncols; c++)
        if (!(st->cols[c].flags & COLUMN_AUTO_INC) && c != key && rng_chance(&r->rng, 50))
            value_random(st->cols[c].kind, &r->rng, row + def->cols[c].offset);
    for (uint32_t c = 0; c < st->ncols; c++) { /* a zero would be replaced */
        uint64_t one = 1, v = 0;
        memcpy(&v, row + def->cols[c].offset, MIN(8u, def->cols[c].type->size));
        if ((st->cols[c].flags & COLUMN_AUTO_INC) && !v)
            memcpy(row + def->cols[c].offset, &one, def->cols[c].type->size);
    }
    OWN(buf) Buf b = encode(r, t, row);
    static const bool none[COLUMNS_MAX];
    int32_t old = model_find(w, t, key, model_column(w, t, buf_bytes(&b), key));
    bool clash = old >= 0 && conflicts(r, t, buf_bytes(&b), old, none);
    st_status got = r->ctx->api->update(r->ctx->db, t, key, row, try_);
    st_status want = r->doomed ? ST_E_ABORTED : old < 0 ? ST_E_NO_ROW : clash ? ST_E_UNIQUE : ST_OK;
    SIM_CHECK(w, got == want, "update of t%u by c%u gave %d instead of %d", t, key, got, want);
    if (got == ST_OK && model_find_row(w, t, buf_bytes(&b)) < 0) {
        model_remove(w, t, (uint32_t)old);
        model_add(w, t, buf_bytes(&b));
    } else if (got != ST_OK && got != ST_E_ABORTED) {
        note_failure(r, got, try_);
    }
}

/* Columns of some index (or none) to look up or erase by. */
static uint32_t pick_index(Run *r, uint32_t t, uint16_t *cols)
{
    const SimTable *st = &r->s->tables[t];
    if (st->nindexes && rng_chance(&r->rng, 40)) {
        memcpy(cols, st->index_cols[rng_below(&r->rng, st->nindexes)], 2 * sizeof *cols);
        return 2;
    }
    uint32_t n = 0, at[COLUMNS_MAX];
    for (uint32_t c = 0; c < st->ncols; c++)
        if (st->cols[c].flags & (COLUMN_PK | COLUMN_UNIQUE | COLUMN_INDEX))
            at[n++] = c;
    if (!n)
        return 0;
    cols[0] = (uint16_t)at[rng_below(&r->rng, n)];
    return 1;
}

static bool columns_match(Run *r, uint32_t t, Bytes row, uint32_t n, const uint16_t *cols, const Buf *keys)
{
    for (uint32_t i = 0; i < n; i++)
        if (!bytes_eq(model_column(r->w, t, row, cols[i]), buf_bytes(&keys[i])))
            return false;
    return true;
}

static void op_erase(Run *r, uint32_t t, bool scan)
{
    World *w = r->w;
    uint16_t cols[2];
    uint32_t n = pick_index(r, t, cols);
    const TableDef *def = &w->def->tables[t];
    if (n == 0 && !scan && w->tables[t].n < 40)
        return; /* clearing is for full tables */
    uint8_t *sample = rng_chance(&r->rng, 70) ? row_existing(r, t) : NULL;
    if (!sample)
        sample = row_random(r, t);
    const void *eq[2];
    Buf keys[2] = {{0}};
    for (uint32_t i = 0; i < n; i++) {
        eq[i] = sample + def->cols[cols[i]].offset;
        value_encode(&keys[i], def->cols[cols[i]].type, eq[i]);
    }
    RowBag want = {0}, got = {0};
    for (uint32_t i = 0; i < w->tables[t].n; i++)
        if (columns_match(r, t, w->tables[t].rows[i], n, cols, keys))
            bag_add(&want, 0, w->tables[t].rows[i]);
    if (scan) {
        st_cursor c = r->ctx->api->scan(r->ctx->db, t, n, cols, n, eq, NULL, NULL);
        uint32_t seen = 0;
        for (const void *row; (row = r->ctx->api->next(r->ctx->db, &c)) != NULL; seen++) {
            OWN(buf) Buf b = encode(r, t, row);
            bag_add(&got, 0, buf_bytes(&b));
            if (seen == 1 && !r->doomed && rng_chance(&r->rng, 30)) { /* what happens meanwhile is not seen */
                op_insert(r, t, row_random(r, t), true);
                if (!r->s->tables[t].is_event && r->ctx->api->erase_row(r->ctx->db, t, row))
                    model_remove(w, t, (uint32_t)model_find_row(w, t, buf_bytes(&b)));
            }
        }
        SIM_CHECK(w, bag_equal(&want, &got), "scan of t%u over %u columns gave %u rows instead of %u", t, n, got.n, want.n);
    } else {
        uint64_t gone = r->ctx->api->erase(r->ctx->db, t, n, cols, eq);
        uint64_t expected = r->doomed ? 0 : want.n;
        SIM_CHECK(w, gone == expected, "erase from t%u: %llu instead of %llu", t, (unsigned long long)gone, (unsigned long long)expected);
        for (uint32_t i = 0; i < gone; i++)
            model_remove(w, t, (uint32_t)model_find_row(w, t, want.rows[i]));
    }
    bag_clear(&want);
    bag_clear(&got);
    buf_done(&keys[0]);
    buf_done(&keys[1]);
}

static void op_range(Run *r, uint32_t t)
{
    World *w = r->w;
    const TableDef *def = &w->def->tables[t];
    uint32_t col = rng_below(&r->rng, r->s->tables[t].ncols);
    if (!(r->s->tables[t].cols[col].flags & COLUMN_INDEX))
        return;
    const Type *type = def->cols[col].type;
    uint8_t lo[32] = {0}, hi[32] = {0};
    value_random(r->s->tables[t].cols[col].kind, &r->rng, lo);
    value_random(r->s->tables[t].cols[col].kind, &r->rng, hi);
    bool from = rng_chance(&r->rng, 70), to = rng_chance(&r->rng, 70);
    uint16_t c = (uint16_t)col;
    uint32_t want = 0, got = 0;
    for (uint32_t i = 0; i < w->tables[t].n; i++) {
        Bytes b = model_column(w, t, w->tables[t].rows[i], col);
        Reader in = reader_of(b);
        uint8_t v[32] = {0};
        Error err;
        SIM_CHECK(w, value_decode(&in, type, v, &r->arena, &err) == S_OK, "%s", err.text);
        want += (!from || value_compare(type, v, lo) >= 0) && (!to || value_compare(type, v, hi) < 0);
    }
    st_cursor cur = r->ctx->api->scan(r->ctx->db, t, 1, &c, 0, NULL, from ? lo : NULL, to ? hi : NULL);
    const void *last = NULL;
    for (const uint8_t *row; (row = r->ctx->api->next(r->ctx->db, &cur)) != NULL; got++) {
        const void *v = row + def->cols[col].offset;
        SIM_CHECK(w, !last || value_compare(type, last, v) <= 0, "range over t%u.c%u is not in order", t, col);
        SIM_CHECK(w, (!from || value_compare(type, v, lo) >= 0) && (!to || value_compare(type, v, hi) < 0), "out of range");
        last = v;
    }
    SIM_CHECK(w, want == got, "range over t%u.c%u gave %u rows instead of %u", t, col, got, want);
}

static void op_find(Run *r, uint32_t t)
{
    World *w = r->w;
    const TableDef *def = &w->def->tables[t];
    SIM_CHECK(w, r->ctx->api->count(r->ctx->db, t) == w->tables[t].n, "count of t%u", t);
    uint32_t col = rng_below(&r->rng, r->s->tables[t].ncols);
    if (!is_unique(&r->s->tables[t].cols[col]))
        return;
    uint8_t *sample = rng_chance(&r->rng, 60) ? row_existing(r, t) : NULL;
    if (!sample)
        sample = row_random(r, t);
    const void *key = sample + def->cols[col].offset;
    OWN(buf) Buf k = {0};
    value_encode(&k, def->cols[col].type, key);
    int32_t want = model_find(w, t, col, buf_bytes(&k));
    const void *row = r->ctx->api->find(r->ctx->db, t, col, key);
    SIM_CHECK(w, (row != NULL) == (want >= 0), "find in t%u by c%u: %s", t, col, row ? "found" : "not found");
    if (row) {
        OWN(buf) Buf b = encode(r, t, row);
        SIM_CHECK(w, bytes_eq(buf_bytes(&b), w->tables[t].rows[want]), "find in t%u by c%u gave another row", t, col);
    }
}

static void op_erase_row(Run *r, uint32_t t)
{
    void *row = rng_chance(&r->rng, 70) ? row_existing(r, t) : NULL;
    if (!row)
        row = row_random(r, t);
    OWN(buf) Buf b = encode(r, t, row);
    int32_t at = model_find_row(r->w, t, buf_bytes(&b));
    bool gone = r->ctx->api->erase_row(r->ctx->db, t, row);
    SIM_CHECK(r->w, gone == (at >= 0 && !r->doomed), "delete of a row of t%u", t);
    if (gone)
        model_remove(r->w, t, (uint32_t)at);
}

static st_status run(SimModule *m, st_reducer_ctx *ctx, uint64_t seed, uint32_t operations, bool careless, bool fail)
{
    World *w = m->w;
    Run r = {.w = w, .s = &m->schema, .ctx = ctx, .rng = {seed}, .careless = careless};
    memset(w->generated_run, 0, sizeof w->generated_run);
    for (uint32_t i = 0; i < operations && (careless || !r.failed); i++) {
        uint32_t t = rng_below(&r.rng, m->schema.ntables), kind = rng_below(&r.rng, 100);
        if (kind < 35) {
            void *row = row_random(&r, t);
            op_insert(&r, t, row, rng_chance(&r.rng, 75));
        } else if (kind < 40) {
            void *row = row_existing(&r, t);
            if (row)
                op_insert(&r, t, row, false);
        } else if (kind < 62)
            op_update(&r, t, rng_chance(&r.rng, 80));
        else if (kind < 74)
            op_erase(&r, t, false);
        else if (kind < 80)
            op_erase_row(&r, t);
        else if (kind < 86)
            op_erase(&r, t, true);
        else if (kind < 92)
            op_range(&r, t);
        else
            op_find(&r, t);
    }
    if (rng_chance(&r.rng, 5))
        ctx->api->log(ctx->call, ST_LOG_INFO, &(const st_log_loc){"sim.c", "run", 7}, "ran %u operations", operations);
    arena_done(&r.arena);
    if (rng_chance(&r.rng, 1) && operations > 2) { /* beyond the limit: the call ends here */
        w->run_expect = EXPECT_INTERNAL;
        (void)ctx->api->alloc(ctx->call, (size_t)1 << 40);
        SIM_CHECK(w, false, "alloc came back");
    }
    st_status status = careless ? ST_OK : r.failed;
    if (!status && fail)
        status = ctx->api->fail(ctx->call, "user error %u", (unsigned)(seed % 1000));
    w->run_expect = r.doomed ? EXPECT_INTERNAL : status ? EXPECT_USER : EXPECT_OK;
    return status;
}

static st_status call_reducer(Module *base, uint32_t id, st_reducer_ctx *ctx, const void *args)
{
    SimModule *m = (SimModule *)base;
    const ReducerDef *r = &m->m.def->reducers[id];
    uint64_t mix = (uint64_t)ctx->timestamp.us * 31 + ctx->sender.b[0];
    switch (r->lifecycle) {
    case LIFECYCLE_INIT: return run(m, ctx, mix, 12, true, false);
    case LIFECYCLE_CONNECT: return run(m, ctx, mix, 2, false, ctx->sender.b[3] % 6 == 0);
    case LIFECYCLE_DISCONNECT: return run(m, ctx, mix, 2, false, ctx->sender.b[4] % 4 == 0);
    default: break;
    }
    if (str_is(r->name, "evolving"))
        return run(m, ctx, load_u64(args), 1, false, false);
    const struct {
        uint64_t seed;
        uint8_t operations, temper;
    } *a = args;
    return run(m, ctx, a->seed, a->operations, a->temper & 1, a->temper & 2);
}

static void ask_world(SimModule *m, st_proc_ctx *ctx, Rng *rng)
{
    char url[40];
    int n = snprintf(url, sizeof url, "http://sim/%llu", (unsigned long long)rng_u64(rng));
    st_http_request q = {.url = {url, (size_t)n}};
    st_http_response r;
    st_status s = ctx->api->http(ctx, &q, &r);
    SIM_CHECK(m->w,
              s == ST_OK ? r.status == 200 && r.body.len == q.url.len && memcmp(r.body.ptr, url, r.body.len) == 0
                         : s == ST_E_HTTP && r.error.len,
              "HTTP: status %d", (int)s);
}

/* One transaction. False: the module has been replaced meanwhile. */
static bool transact(SimModule *m, st_proc_ctx *ctx, Rng *rng)
{
    World *w = m->w;
    uint64_t seed = rng_u64(rng);
    uint32_t operations = rng_below(rng, 8);
    bool careless = rng_chance(rng, 15), fail = rng_chance(rng, 15);
    ST_WITH_TX(ctx, tx)
    {
        w->tx_unsettled = true;
        if (run(m, tx, seed, operations, careless, fail))
            break;
    }
    if (ctx->tx_status == ST_E_CANCELLED)
        return false;
    bool good = ctx->tx_status == ST_OK;
    SIM_CHECK(w, w->tx_unsettled && good == (w->run_expect == EXPECT_OK), "a transaction ended with %d, expected %d", (int)ctx->tx_status,
              (int)w->run_expect);
    model_end(w, good, core_offset(w->core));
    w->tx_unsettled = false;
    return true;
}

static st_status call_procedure(Module *base, uint32_t id, st_proc_ctx *ctx, const void *args, void *ret)
{
    (void)id;
    SimModule *m = (SimModule *)base;
    const struct {
        uint64_t seed;
        uint8_t steps, temper;
    } *a = args;
    Rng rng = {a->seed};
    for (uint32_t i = 0; i < a->steps; i++) {
        uint32_t kind = rng_below(&rng, 100);
        int64_t begun_us = ctx->timestamp.us, until_us = begun_us + rng_below(&rng, 20000);
        if (kind >= 80)
            ask_world(m, ctx, &rng);
        else if (kind < 60 && !transact(m, ctx, &rng))
            return ctx->tx_status;
        else if (kind >= 60)
            SIM_CHECK(m->w, ctx->api->sleep_until(ctx, (st_timestamp){until_us}) == ST_OK && ctx->timestamp.us >= until_us, "woken early");
    }
    *(uint64_t *)ret = a->seed;
    m->w->stats_procedures++;
    return a->temper & 2 ? ctx->api->fail(ctx->call, "no more") : ST_OK;
}

static void unload(Module *base)
{
    SimModule *m = (SimModule *)base;
    m->w->modules_open--;
    module_def_unref(m->m.def);
    buf_done(&m->definition);
    free(m);
}

Module *sim_module_open(World *w, const SimSchema *s)
{
    SimModule *m = NEW(SimModule);
    m->w = w;
    m->schema = *s;
    schema_definition(s, &m->definition);
    Error err;
    if (module_def_from_bsatn(&m->m.def, buf_bytes(&m->definition), &err) != S_OK)
        BUG("sim schema: %s", err.text);
    m->m.definition = buf_bytes(&m->definition);
    m->m.name = STR("sim");
    m->m.version = STR("1");
    m->m.call_reducer = call_reducer;
    m->m.call_procedure = call_procedure;
    m->m.unload = unload;
    w->modules_open++;
    return &m->m;
}
