/* engine_model_test.c - random schemas and random operations against a naive model: a list of encoded rows.
 * Prints its seed; SEED=n repeats a run, ROUNDS=n changes the number of schemas. */
#include "tests/unit/engine_fixture.h"

static uint64_t rng;
static uint32_t below(uint32_t n)
{
    rng += 0x9e3779b97f4a7c15u;
    return (uint32_t)(((hash_u64(rng) >> 32) * n) >> 32);
}
static bool chance(uint32_t percent) { return below(100) < percent; }

/* ---- random schemas and values ---- */

static const Type *random_key_type(ModuleBuilder *b)
{
    static const TypeKind kinds[] = {TYPE_U8,    TYPE_I8,       TYPE_U16,           TYPE_I16,  TYPE_U32,  TYPE_I32,    TYPE_U64,
                                     TYPE_I64,   TYPE_U128,     TYPE_I128,          TYPE_U256, TYPE_I256, TYPE_STRING, TYPE_STRING,
                                     TYPE_BYTES, TYPE_IDENTITY, TYPE_CONNECTION_ID, TYPE_UUID, TYPE_BOOL};
    (void)b;
    return type_scalar(kinds[below(COUNT_OF(kinds))]);
}

static const Type *random_type(ModuleBuilder *b, int depth)
{
    Arena *a = module_builder_arena(b);
    switch (depth > 2 ? 0 : below(10)) {
    case 0: return type_scalar(TYPE_F64);
    case 1: return type_scalar(TYPE_TIMESTAMP);
    case 2: return type_array(a, random_type(b, depth + 1));
    case 3: return type_option(a, random_type(b, depth + 1));
    case 4: return type_scalar(TYPE_DURATION);
    default: return random_key_type(b);
    }
}

static ModuleDef *random_module(void)
{
    ModuleBuilder *b = module_builder_new();
    static const char *const names[] = {"ant", "bee", "cat", "dog"};
    uint32_t ntables = 1 + below(4);
    for (uint32_t t = 0; t < ntables; t++) {
        static const char *const col_names[] = {"a", "b", "c", "d", "e", "f"};
        BuilderColumn cols[6] = {0};
        uint32_t ncols = 1 + below(5);
        bool has_pk = chance(55);
        uint32_t pk = below(ncols);
        uint16_t keyable[6], nkeyable = 0;
        for (uint32_t c = 0; c < ncols; c++) {
            cols[c].name = str_of(col_names[c]);
            bool key = chance(70) || (has_pk && c == pk);
            cols[c].type = key ? random_key_type(b) : random_type(b, 0);
            if (!key)
                continue;
            keyable[nkeyable++] = (uint16_t)c;
            if (has_pk && c == pk)
                cols[c].flags |= COLUMN_PK;
            else if (chance(15))
                cols[c].flags |= COLUMN_UNIQUE;
            else if (chance(40))
                cols[c].flags |= COLUMN_INDEX;
            if (type_is_integer(cols[c].type) && chance(25))
                cols[c].flags |= COLUMN_AUTO_INC;
        }
        uint32_t pos = module_builder_table(b, str_of(names[t]), ACCESS_PUBLIC, chance(15), ncols, cols);
        if (nkeyable >= 2 && chance(50)) {
            uint16_t n = (uint16_t)(2 + below(nkeyable - 1u)), list[6];
            uint16_t from = (uint16_t)below(nkeyable);
            for (uint16_t i = 0; i < n; i++)
                list[i] = keyable[(from + i) % nkeyable];
            module_builder_index(b, pos, STR("multi"), n, list);
        }
    }
    return finish_module(b);
}

static void random_value(const Type *t, uint8_t *v, Arena *a)
{
    memset(v, 0, t->size);
    switch (t->kind) {
    case TYPE_BOOL: *v = (uint8_t)below(2); break;
    case TYPE_STRING:
    case TYPE_BYTES: {
        static const char *const words[] = {"", "a", "b", "ab", "abcdefgh", "abcdefghi", "abcdefgh\x01", "zzzzzzzzzzzzzzzzzzzzzzzz"};
        Str s = str_of(words[below(COUNT_OF(words))]);
        s = arena_str(a, s);
        memcpy(v, &s, sizeof s);
        break;
    }
    case TYPE_ARRAY: {
        size_t n = below(4);
        uint8_t *items = arena_alloc(a, MAX(n, 1) * t->elem->size);
        for (size_t i = 0; i < n; i++)
            random_value(t->elem, items + i * t->elem->size, a);
        memcpy(v, &(Bytes){items, n}, sizeof(Bytes));
        break;
    }
    case TYPE_OPTION:
        *v = (uint8_t)below(2);
        if (*v)
            random_value(t->elem, v + t->payload_offset, a);
        break;
    case TYPE_F64: {
        double d[] = {0, -0.0, 1.5, -2};
        memcpy(v, &d[below(4)], 8);
        break;
    }
    case TYPE_TIMESTAMP:
    case TYPE_DURATION: store_i64(v, (int64_t)below(5) - 2); break;
    default: { /* integers and byte strings: a small domain, both ends of the range */
        uint32_t pick = below(20);
        if (pick < 14)
            v[0] = (uint8_t)pick;
        else if (pick < 17)
            memset(v, 0xff, t->size), v[0] = (uint8_t)(0xf0 + pick);
        else
            v[t->size - 1] = (uint8_t)(0x7f + pick - 17);
        break;
    }
    }
}

static void random_row(const TableDef *d, uint8_t *row, Arena *a)
{
    memset(row, 0xa5, d->row->size); /* padding holds garbage */
    for (uint16_t c = 0; c < d->ncols; c++)
        random_value(d->cols[c].type, row + d->cols[c].offset, a);
}

/* ---- the model ---- */

enum { ROWS_MAX = 4096 };
typedef struct ModelRow {
    Bytes bsatn;
    uint64_t number;
    const void *ptr;
} ModelRow;
typedef struct ModelTable {
    uint32_t n, ncommitted;
    ModelRow rows[ROWS_MAX], committed[ROWS_MAX];
    i128 next[8];
} ModelTable;
typedef struct World {
    Engine *e, *replica;
    ModuleDef *def;
    ModelTable *m;
    Arena arena; /* of the whole round */
} World;

static Bytes encode(World *w, const TableDef *d, const void *row)
{
    OWN(buf) Buf b = {0};
    value_encode(&b, d->row, row);
    return bytes_of(arena_copy(&w->arena, b.ptr, b.len), b.len);
}
static int32_t index_of(const ModelRow *rows, uint32_t n, Bytes bsatn)
{
    for (uint32_t i = 0; i < n; i++)
        if (bytes_eq(rows[i].bsatn, bsatn))
            return (int32_t)i;
    return -1;
}
static const uint8_t *cell(const TableDef *d, uint16_t c, const void *row) { return (const uint8_t *)row + d->cols[c].offset; }

/* First row that shares a unique value with `row`, apart from `except`; -1: none. */
static int32_t clash(const TableDef *d, const ModelTable *m, const void *row, int32_t except)
{
    for (uint32_t i = 0; i < m->n; i++)
        for (uint16_t u = 0; u < d->nconstraints && (int32_t)i != except; u++) {
            bool same = true;
            for (uint16_t c = 0; c < d->constraints[u].ncols; c++)
                same &= value_compare(d->cols[d->constraints[u].cols[c]].type, cell(d, d->constraints[u].cols[c], m->rows[i].ptr),
                                      cell(d, d->constraints[u].cols[c], row)) == 0;
            if (same)
                return (int32_t)i;
        }
    return -1;
}

static void model_fill(const TableDef *d, ModelTable *m, uint8_t *row)
{
    for (uint16_t q = 0; q < d->nsequences; q++) {
        const ColumnDef *c = &d->cols[d->sequences[q].col];
        uint8_t zero[32] = {0}, wide[32] = {0};
        if (memcmp(row + c->offset, zero, c->type->size) != 0)
            continue;
        memcpy(wide, &m->next[q], 16);
        memcpy(row + c->offset, wide, c->type->size);
        m->next[q] = m->next[q] >= d->sequences[q].max ? d->sequences[q].min : m->next[q] + 1;
    }
}

static void model_add(World *w, const TableDef *d, ModelTable *m, const void *ptr)
{
    assert_true(m->n < ROWS_MAX);
    m->rows[m->n++] = (ModelRow){encode(w, d, ptr), row_number(ptr), ptr};
}
static void model_drop(ModelTable *m, int32_t i)
{
    memmove(&m->rows[i], &m->rows[i + 1], (m->n - (uint32_t)i - 1) * sizeof m->rows[0]);
    m->n--;
}

static void do_insert(World *w, uint32_t ti)
{
    Table *t = engine_table(w->e, ti);
    const TableDef *d = table_def(t);
    ModelTable *m = &w->m[ti];
    uint8_t *row = arena_alloc(&w->arena, d->row->size), *want = arena_alloc(&w->arena, d->row->size);
    random_row(d, row, &w->arena);
    if (m->n && chance(10)) /* as a row that is there, or was */
        memcpy(row, m->rows[below(m->n)].ptr, d->row->size);
    memcpy(want, row, d->row->size);
    model_fill(d, m, want);
    Bytes bsatn = encode(w, d, want);
    int32_t twin = index_of(m->rows, m->n, bsatn);
    int32_t other = clash(d, m, want, -1);
    const void *got = NULL;
    Error err = {0};
    Status s = table_insert(t, row, &got, &err);
    if (twin >= 0) {
        assert_int_equal(s, S_OK);
        assert_ptr_equal(got, m->rows[twin].ptr);
    } else if (other >= 0) {
        assert_int_equal(s, S_CONFLICT);
        assert_null(got);
    } else {
        if (s != S_OK)
            fail_msg("insert: %s", err.text);
        assert_true(bytes_eq(encode(w, d, got), bsatn));
        assert_true(value_equal(d->row, row, got));
        assert_true(row_is_alive(got) && row_is_new(got));
        model_add(w, d, m, got);
    }
}

static void do_replace(World *w, uint32_t ti)
{
    Table *t = engine_table(w->e, ti);
    const TableDef *d = table_def(t);
    ModelTable *m = &w->m[ti];
    uint8_t *row = arena_alloc(&w->arena, d->row->size), *want = arena_alloc(&w->arena, d->row->size);
    random_row(d, row, &w->arena);
    int32_t unique = -1;
    for (uint16_t u = 0; u < d->nconstraints; u++)
        if (d->constraints[u].ncols == 1 && (unique < 0 || chance(50)))
            unique = d->constraints[u].cols[0];
    bool update = unique >= 0 && chance(70);
    int32_t old = m->n ? (int32_t)below(m->n) : -1;
    if (old >= 0 && chance(70)) { /* most often: an existing row with another value somewhere */
        uint16_t c = (uint16_t)below(d->ncols);
        uint8_t *v = arena_alloc(&w->arena, d->cols[c].type->size);
        memcpy(v, row + d->cols[c].offset, d->cols[c].type->size);
        memcpy(row, m->rows[old].ptr, d->row->size);
        if (!(update && c == unique))
            memcpy(row + d->cols[c].offset, v, d->cols[c].type->size);
    }
    if (!update && old < 0)
        return;
    memcpy(want, row, d->row->size);
    model_fill(d, m, want);
    Bytes bsatn = encode(w, d, want);
    if (update) {
        old = -1;
        for (uint32_t i = 0; i < m->n; i++)
            if (value_compare(d->cols[unique].type, cell(d, (uint16_t)unique, m->rows[i].ptr), cell(d, (uint16_t)unique, want)) == 0)
                old = (int32_t)i;
    }
    const void *got = NULL;
    Error err = {0};
    Status s = update ? table_update(t, (uint16_t)unique, row, &got, &err) : table_replace(t, m->rows[old].ptr, row, &got, &err);
    int32_t twin = index_of(m->rows, m->n, bsatn), other = old < 0 ? -1 : clash(d, m, want, old);
    if (old < 0) {
        assert_int_equal(s, S_NOT_FOUND);
    } else if (twin == old) {
        assert_int_equal(s, S_OK);
        assert_ptr_equal(got, m->rows[old].ptr);
    } else if (twin >= 0) { /* the two become one */
        assert_int_equal(s, S_OK);
        assert_ptr_equal(got, m->rows[twin].ptr);
        model_drop(m, old);
    } else if (other >= 0) {
        assert_int_equal(s, S_CONFLICT);
    } else {
        if (s != S_OK)
            fail_msg("replace: %s", err.text);
        const void *before = m->rows[old].ptr;
        assert_true(bytes_eq(encode(w, d, before), m->rows[old].bsatn)); /* the old version is still readable */
        assert_false(row_is_alive(before));
        model_drop(m, old);
        assert_true(bytes_eq(encode(w, d, got), bsatn));
        model_add(w, d, m, got);
    }
}

static void do_delete(World *w, uint32_t ti)
{
    ModelTable *m = &w->m[ti];
    if (!m->n)
        return;
    int32_t i = (int32_t)below(m->n);
    const void *row = m->rows[i].ptr;
    OK(table_delete(engine_table(w->e, ti), row, err));
    FAILS(S_NOT_FOUND, "deleted", table_delete(engine_table(w->e, ti), row, err));
    model_drop(m, i);
}

static void mutate(World *w, uint32_t ti)
{
    switch (w->m[ti].n > 600 ? 5 : below(6)) {
    case 0:
    case 1:
    case 2: do_insert(w, ti); break;
    case 3:
    case 4: do_replace(w, ti); break;
    default: do_delete(w, ti); break;
    }
}

static void do_find(World *w, uint32_t ti)
{
    Table *t = engine_table(w->e, ti);
    const TableDef *d = table_def(t);
    ModelTable *m = &w->m[ti];
    assert_int_equal(table_count(t), m->n);
    for (uint16_t u = 0; u < d->nconstraints; u++) {
        if (d->constraints[u].ncols != 1)
            continue;
        uint16_t c = d->constraints[u].cols[0];
        uint8_t *v = arena_alloc(&w->arena, d->cols[c].type->size);
        random_value(d->cols[c].type, v, &w->arena);
        const void *want = NULL;
        for (uint32_t i = 0; i < m->n; i++)
            if (value_compare(d->cols[c].type, cell(d, c, m->rows[i].ptr), v) == 0)
                want = m->rows[i].ptr;
        assert_ptr_equal(table_find(t, c, v), want);
    }
}

/* ---- scans against the snapshot taken before them ---- */

typedef struct ScanKey {
    const TableDef *d;
    const IndexDef *ix;
} ScanKey;
static int scan_order(const ScanKey *k, const ModelRow *x, const ModelRow *y)
{
    for (uint16_t i = 0; k->ix && i < k->ix->ncols; i++) {
        uint16_t c = k->ix->cols[i];
        int cmp = value_compare(k->d->cols[c].type, cell(k->d, c, x->ptr), cell(k->d, c, y->ptr));
        if (cmp)
            return cmp;
    }
    return x->number < y->number ? -1 : x->number > y->number;
}

static void do_scan(World *w, uint32_t ti, bool may_mutate)
{
    Table *t = engine_table(w->e, ti);
    const TableDef *d = table_def(t);
    ModelTable *m = &w->m[ti];
    int32_t index = d->nindexes && chance(75) ? (int32_t)below(d->nindexes) : -1;
    const IndexDef *ix = index >= 0 ? &d->indexes[index] : NULL;
    Cursor c;
    const void *eq[6] = {0}, *lo = NULL, *hi = NULL;
    bool lo_exclusive = chance(30), hi_inclusive = chance(30);
    uint32_t neq = 0;
    if (ix) {
        neq = ix->unique ? ix->ncols : below(ix->ncols + 1u);
        if (neq > 4) {
            neq = 4;
            if (ix->unique)
                return;
        }
        for (uint32_t i = 0; i < neq + 1 && i < ix->ncols; i++) {
            const ColumnDef *cd = &d->cols[ix->cols[i]];
            uint8_t *v = arena_alloc(&w->arena, cd->type->size), *v2 = arena_alloc(&w->arena, cd->type->size);
            random_value(cd->type, v, &w->arena);
            random_value(cd->type, v2, &w->arena);
            if (m->n && chance(60))
                memcpy(v, cell(d, ix->cols[i], m->rows[below(m->n)].ptr), cd->type->size);
            if (i < neq) {
                eq[i] = v;
            } else {
                lo = chance(50) ? v : NULL;
                hi = chance(50) ? v2 : NULL;
            }
        }
        cursor_index(&c, t, index, neq, eq, lo, hi);
        c.lo_exclusive = lo_exclusive;
        c.hi_inclusive = hi_inclusive;
    } else {
        cursor_all(&c, t);
    }
    ModelRow *want = arena_alloc(&w->arena, (m->n + 1) * sizeof *want);
    uint32_t nwant = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        bool in = true;
        for (uint32_t k = 0; k < neq; k++)
            in &= value_compare(d->cols[ix->cols[k]].type, cell(d, ix->cols[k], m->rows[i].ptr), eq[k]) == 0;
        if (in && lo) {
            int cmp = value_compare(d->cols[ix->cols[neq]].type, cell(d, ix->cols[neq], m->rows[i].ptr), lo);
            in = lo_exclusive ? cmp > 0 : cmp >= 0;
        }
        if (in && hi) {
            int cmp = value_compare(d->cols[ix->cols[neq]].type, cell(d, ix->cols[neq], m->rows[i].ptr), hi);
            in = hi_inclusive ? cmp <= 0 : cmp < 0;
        }
        if (in)
            want[nwant++] = m->rows[i];
    }
    ScanKey key = {d, ix};
    for (uint32_t i = 1; i < nwant; i++)
        for (uint32_t j = i; j > 0 && scan_order(&key, &want[j - 1], &want[j]) > 0; j--) {
            ModelRow swap = want[j];
            want[j] = want[j - 1];
            want[j - 1] = swap;
        }
    uint32_t seen = 0;
    bool *met = arena_alloc(&w->arena, nwant + 1);
    for (const void *row; (row = cursor_next(&c)); seen++) {
        assert_true(seen < nwant);
        if (ix) {
            assert_ptr_equal(row, want[seen].ptr);
            assert_true(bytes_eq(encode(w, d, row), want[seen].bsatn));
        } else {
            int32_t at = index_of(want, nwant, encode(w, d, row));
            assert_true(at >= 0 && !met[at]);
            met[at] = true;
        }
        if (may_mutate && chance(40))
            mutate(w, ti);
        if (may_mutate && chance(3)) { /* delete what is being scanned */
            int32_t at = index_of(m->rows, m->n, encode(w, d, row));
            if (at >= 0 && m->rows[at].ptr == row) {
                OK(table_delete(t, row, err));
                model_drop(m, at);
            }
        }
    }
    assert_int_equal(seen, nwant);
    assert_null(cursor_next(&c));
}

/* ---- ends of transactions ---- */

static void check_changes(World *w)
{
    uint32_t n, at = 0;
    const TableChange *changes = txn_changes(w->e, &n);
    for (uint32_t i = 1; i < n; i++)
        assert_true(table_id(changes[i - 1].table) < table_id(changes[i].table));
    uint32_t expected = 0;
    bool stored = false;
    for (uint32_t ti = 0; ti < w->def->ntables; ti++) {
        Table *t = engine_table(w->e, ti);
        const TableDef *d = table_def(t);
        ModelTable *m = &w->m[ti];
        for (at = 0; at < n && changes[at].table != t;)
            at++;
        uint32_t ndeleted = 0, ninserted = 0;
        for (uint32_t i = 0; i < m->ncommitted; i++)
            ndeleted += index_of(m->rows, m->n, m->committed[i].bsatn) < 0;
        for (uint32_t i = 0; i < m->n; i++)
            ninserted += index_of(m->committed, m->ncommitted, m->rows[i].bsatn) < 0;
        expected += ndeleted || ninserted;
        stored |= (ndeleted || ninserted) && !d->is_event;
        if (at == n) {
            assert_int_equal(ndeleted + ninserted, 0);
            continue;
        }
        const TableChange *c = &changes[at];
        assert_int_equal(c->ndeleted, ndeleted);
        assert_int_equal(c->ninserted, ninserted);
        for (uint32_t i = 0; i < c->ndeleted; i++) {
            int32_t k = index_of(m->committed, m->ncommitted, encode(w, d, c->deleted[i]));
            assert_true(k >= 0 && m->committed[k].number == row_number(c->deleted[i]));
            assert_true(i == 0 || row_number(c->deleted[i - 1]) < row_number(c->deleted[i]));
            assert_false(row_is_alive(c->deleted[i]) || row_is_new(c->deleted[i]));
        }
        for (uint32_t i = 0; i < c->ninserted; i++) {
            assert_true(index_of(m->rows, m->n, encode(w, d, c->inserted[i])) >= 0);
            assert_true(i == 0 || row_number(c->inserted[i - 1]) < row_number(c->inserted[i]));
            assert_true(row_is_alive(c->inserted[i]) && row_is_new(c->inserted[i]));
        }
    }
    assert_int_equal(n, expected);
    assert_int_equal(txn_has_stored_changes(w->e), stored);
}

/* Find the rows again after the end of a transaction; rows that stayed keep their number. */
static void resync(World *w, uint32_t ti)
{
    Table *t = engine_table(w->e, ti);
    const TableDef *d = table_def(t);
    ModelTable *m = &w->m[ti];
    Cursor c;
    uint32_t n = 0;
    cursor_all(&c, t);
    for (const void *row; (row = cursor_next(&c)); n++) {
        Bytes bsatn = encode(w, d, row);
        int32_t at = index_of(m->rows, m->n, bsatn), was = index_of(m->committed, m->ncommitted, bsatn);
        assert_true(at >= 0);
        if (was >= 0)
            assert_int_equal(row_number(row), m->committed[was].number);
        m->rows[at].ptr = row;
        m->rows[at].number = row_number(row);
        assert_true(row_is_alive(row) && !row_is_new(row));
    }
    assert_int_equal(n, m->n);
    assert_int_equal(table_count(t), n);
    memcpy(m->committed, m->rows, n * sizeof m->rows[0]);
    m->ncommitted = n;
}

static void compare_replica(World *w)
{
    for (uint32_t ti = 0; ti < w->def->ntables; ti++) {
        Table *t = engine_table(w->replica, ti);
        const TableDef *d = table_def(t);
        ModelTable *m = &w->m[ti];
        Cursor c;
        uint32_t n = 0;
        cursor_all(&c, t);
        for (const void *row; (row = cursor_next(&c)); n++) {
            int32_t at = index_of(m->rows, m->n, encode(w, d, row));
            assert_true(at >= 0);
            if (d->pk < 0)
                assert_int_equal(row_number(row), m->rows[at].number);
        }
        assert_int_equal(n, m->n);
    }
}

static void transaction(World *w)
{
    txn_begin(w->e);
    for (uint32_t ops = below(40); ops > 0; ops--) {
        uint32_t ti = below(w->def->ntables);
        switch (below(12)) {
        case 0: do_find(w, ti); break;
        case 1: do_scan(w, ti, false); break;
        case 2:
        case 3: do_scan(w, ti, true); break;
        case 4:
            if (chance(20))
                check_engine(w->e);
            break;
        case 5:
            if (chance(20))
                check_changes(w);
            break;
        default: mutate(w, ti); break;
        }
    }
    if (chance(30)) {
        txn_rollback(w->e);
        for (uint32_t ti = 0; ti < w->def->ntables; ti++) {
            ModelTable *m = &w->m[ti];
            memcpy(m->rows, m->committed, m->ncommitted * sizeof m->rows[0]);
            m->n = m->ncommitted;
        }
    } else {
        if (chance(80))
            check_changes(w);
        OWN(buf) Buf record = {0};
        write_record(w->e, &record);
        Error err = {0};
        if (commit_validate(buf_bytes(&record), engine_schema(w->e), &err) != S_OK)
            fail_msg("commit_validate: %s", err.text);
        txn_commit(w->e);
        for (uint32_t ti = 0; ti < w->def->ntables; ti++)
            if (table_def(engine_table(w->e, ti))->is_event)
                w->m[ti].n = 0;
        OK(engine_apply_record(w->replica, buf_bytes(&record), err));
        for (uint32_t ti = 0; ti < w->def->ntables; ti++)
            resync(w, ti);
        compare_replica(w);
        check_engine(w->replica);
    }
    for (uint32_t ti = 0; ti < w->def->ntables; ti++) {
        resync(w, ti);
        do_scan(w, ti, false); /* outside a transaction */
    }
    check_engine(w->e);
}

static void round_with_seed(uint64_t seed)
{
    rng = hash_u64(seed);
    World w = {.def = random_module()};
    w.e = engine_with(w.def, NULL);
    w.replica = engine_with(w.def, NULL);
    w.m = x_alloc(w.def->ntables * sizeof *w.m);
    for (uint32_t ti = 0; ti < w.def->ntables; ti++)
        for (uint16_t q = 0; q < w.def->tables[ti].nsequences; q++)
            w.m[ti].next[q] = w.def->tables[ti].sequences[q].start;
    for (int i = 0; i < 25; i++)
        transaction(&w);
    engine_free(w.e);
    engine_free(w.replica);
    module_def_unref(w.def);
    free(w.m);
    arena_done(&w.arena);
}

static void the_engine_agrees_with_a_list_of_rows(void **state)
{
    (void)state;
    const char *env = getenv("SEED"), *nrounds = getenv("ROUNDS");
    uint64_t seed = env ? strtoull(env, NULL, 10) : clock_monotonic_ns();
    int rounds = nrounds ? atoi(nrounds) : 40;
    printf("SEED=%llu ROUNDS=%d\n", (unsigned long long)seed, rounds);
    for (int i = 0; i < rounds; i++)
        round_with_seed(seed + (uint64_t)i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_engine_agrees_with_a_list_of_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
