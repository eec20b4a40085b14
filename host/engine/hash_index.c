/* hash_index.c - see HashIndex in engine_int.h. */
#include "host/engine/engine_int.h"

enum { HASH_CAPACITY_MIN = 16 };

static inline uint64_t home_of(uint64_t key) { return hash_u64(key ^ hash_process_seed); }

uint64_t hash_key_of_row(const HashIndex *ix, const void *row)
{
    const KeyShape *k = ix->key;
    if (k->int_bytes)
        return int_key(k->int_bytes, (const uint8_t *)row + k->cols[0].offset);
    uint64_t h = hash_process_seed;
    for (uint16_t i = 0; i < k->ncols; i++)
        h = value_hash(k->cols[i].type, (const uint8_t *)row + k->cols[i].offset, h);
    return h;
}

static bool key_equal_rows(const KeyShape *k, const void *x, const void *y)
{
    for (uint16_t i = 0; i < k->ncols; i++)
        if (!value_equal(k->cols[i].type, (const uint8_t *)x + k->cols[i].offset, (const uint8_t *)y + k->cols[i].offset))
            return false;
    return true;
}

void hash_prefetch(const HashIndex *ix, uint64_t key)
{
    if (ix->entries)
        __builtin_prefetch(&ix->entries[home_of(key) & ix->mask], 1);
}

RowHeader *hash_find_exact(const HashIndex *ix, uint64_t key)
{
    if (UNLIKELY(!ix->entries))
        return NULL;
    for (uint64_t i = home_of(key) & ix->mask;; i = (i + 1) & ix->mask) {
        const HashEntry *en = &ix->entries[i];
        if (!en->row || en->key == key)
            return en->row;
    }
}

RowHeader *hash_find_row(const HashIndex *ix, uint64_t key, const void *row)
{
    if (ix->key->int_bytes)
        return hash_find_exact(ix, key);
    if (UNLIKELY(!ix->entries))
        return NULL;
    for (uint64_t i = home_of(key) & ix->mask; ix->entries[i].row; i = (i + 1) & ix->mask)
        if (ix->entries[i].key == key && key_equal_rows(ix->key, row_of(ix->entries[i].row), row))
            return ix->entries[i].row;
    return NULL;
}

RowHeader *hash_find_values(const HashIndex *ix, const void *const *values)
{
    const KeyShape *k = ix->key;
    if (k->int_bytes)
        return hash_find_exact(ix, int_key(k->int_bytes, values[0]));
    if (UNLIKELY(!ix->entries))
        return NULL;
    uint64_t key = hash_process_seed;
    for (uint16_t i = 0; i < k->ncols; i++)
        key = value_hash(k->cols[i].type, values[i], key);
    for (uint64_t i = home_of(key) & ix->mask; ix->entries[i].row; i = (i + 1) & ix->mask) {
        if (ix->entries[i].key != key)
            continue;
        const uint8_t *row = row_of(ix->entries[i].row);
        bool equal = true;
        for (uint16_t c = 0; c < k->ncols && equal; c++)
            equal = value_equal(k->cols[c].type, row + k->cols[c].offset, values[c]);
        if (equal)
            return ix->entries[i].row;
    }
    return NULL;
}

static uint64_t capacity_of(const HashIndex *ix) { return ix->entries ? ix->mask + 1 : 0; }

/* At most 5/8 full. */
static uint64_t capacity_for(const HashIndex *ix, uint64_t more)
{
    uint64_t cap = MAX(capacity_of(ix), (uint64_t)HASH_CAPACITY_MIN);
    while ((ix->count + more) > cap / 8 * 5)
        cap *= 2;
    return cap;
}

uint64_t hash_growth(const HashIndex *ix, uint64_t more)
{
    if (LIKELY(ix->entries && ix->count + more <= (ix->mask + 1) / 8 * 5))
        return 0;
    return capacity_for(ix, more) * sizeof(HashEntry);
}

static void place(HashIndex *ix, uint64_t key, RowHeader *row)
{
    uint64_t i = home_of(key) & ix->mask;
    while (ix->entries[i].row)
        i = (i + 1) & ix->mask;
    ix->entries[i] = (HashEntry){key, row};
}

void hash_reserve(Engine *e, HashIndex *ix, uint64_t more)
{
    if (!hash_growth(ix, more))
        return;
    HashEntry *old = ix->entries;
    uint64_t old_cap = capacity_of(ix), cap = capacity_for(ix, more);
    ix->entries = engine_alloc(e, cap * sizeof *ix->entries);
    ix->mask = cap - 1;
    for (uint64_t i = 0; i < old_cap; i++)
        if (old[i].row)
            place(ix, old[i].key, old[i].row);
    engine_release(e, old, old_cap * sizeof *old);
}

void hash_add(HashIndex *ix, uint64_t key, RowHeader *row)
{
    ASSERT(ix->entries && ix->count < ix->mask);
    place(ix, key, row);
    ix->count++;
}

static uint64_t position_of(const HashIndex *ix, uint64_t key, const RowHeader *row)
{
    ASSERT(ix->entries);
    uint64_t i = home_of(key) & ix->mask;
    while (ix->entries[i].row != row) {
        ASSERT(ix->entries[i].row);
        i = (i + 1) & ix->mask;
    }
    return i;
}

void hash_replace(HashIndex *ix, uint64_t key, RowHeader *from, RowHeader *to) { ix->entries[position_of(ix, key, from)].row = to; }

void hash_remove(HashIndex *ix, uint64_t key, RowHeader *row)
{
    uint64_t hole = position_of(ix, key, row);
    for (uint64_t i = (hole + 1) & ix->mask; ix->entries[i].row; i = (i + 1) & ix->mask) {
        uint64_t home = home_of(ix->entries[i].key) & ix->mask;
        if (((i - home) & ix->mask) >= ((i - hole) & ix->mask)) { /* its home is not behind the hole */
            ix->entries[hole] = ix->entries[i];
            hole = i;
        }
    }
    ix->entries[hole] = (HashEntry){0, NULL};
    ix->count--;
}

void hash_done(Engine *e, HashIndex *ix)
{
    engine_release(e, ix->entries, capacity_of(ix) * sizeof *ix->entries);
    ix->entries = NULL;
    ix->mask = ix->count = 0;
}
