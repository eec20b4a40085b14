/* btree.c - see BTree in engine_int.h. Descents keep their path on the stack; nodes have no parent pointers. */
#include "host/engine/engine_int.h"

typedef struct Path {
    uint32_t depth; /* inner nodes passed */
    TreeNode *node[TREE_HEIGHT_MAX];
    uint32_t at[TREE_HEIGHT_MAX];
} Path;

/* x < y implies prefix(x) <= prefix(y); for types up to 8 bytes also the converse. */
static uint64_t prefix_of(const Type *t, const void *v)
{
    const uint64_t sign = (uint64_t)1 << 63;
    const uint8_t *b = v;
    switch (t->kind) {
    case TYPE_BOOL:
    case TYPE_U8:
    case TYPE_ENUM: return *b;
    case TYPE_U16: return load_u16(v);
    case TYPE_U32: return load_u32(v);
    case TYPE_U64: return load_u64(v);
    case TYPE_I8: return (uint64_t)(int64_t)(int8_t)*b ^ sign;
    case TYPE_I16: return (uint64_t)(int64_t)(int16_t)load_u16(v) ^ sign;
    case TYPE_I32: return (uint64_t)(int64_t)(int32_t)load_u32(v) ^ sign;
    case TYPE_I64:
    case TYPE_TIMESTAMP:
    case TYPE_DURATION: return load_u64(v) ^ sign;
    case TYPE_U128:
    case TYPE_CONNECTION_ID: return load_u64(b + 8);
    case TYPE_I128: return load_u64(b + 8) ^ sign;
    case TYPE_U256:
    case TYPE_IDENTITY: return load_u64(b + 24);
    case TYPE_I256: return load_u64(b + 24) ^ sign;
    case TYPE_UUID: return __builtin_bswap64(load_u64(v));
    case TYPE_STRING:
    case TYPE_BYTES: {
        const Bytes *s = v;
        uint64_t x = 0;
        if (s->len)
            memcpy(&x, s->ptr, MIN(s->len, sizeof x));
        return __builtin_bswap64(x);
    }
    default: return 0;
    }
}

static inline uint64_t row_prefix(const KeyShape *k, const RowHeader *row)
{
    return prefix_of(k->cols[0].type, (const uint8_t *)row_of(row) + k->cols[0].offset);
}

static int compare_entries(const KeyShape *k, TreeEntry x, TreeEntry y)
{
    if (x.prefix != y.prefix)
        return x.prefix < y.prefix ? -1 : 1;
    if (x.row == y.row)
        return 0;
    const uint8_t *rx = row_of(x.row), *ry = row_of(y.row);
    for (uint16_t i = k->prefix_exact; i < k->ncols; i++) {
        int c = column_compare(k->cols[i].type, rx + k->cols[i].offset, ry + k->cols[i].offset);
        if (c)
            return c;
    }
    return x.row->number < y.row->number ? -1 : x.row->number > y.row->number;
}

typedef struct Probe {
    uint32_t n;
    uint64_t prefix;
    const void *const *values;
} Probe;

/* The entry's first columns against the probe. */
static int compare_probe(const KeyShape *k, const TreeEntry *en, const Probe *p)
{
    if (p->n == 0)
        return 0;
    if (en->prefix != p->prefix)
        return en->prefix < p->prefix ? -1 : 1;
    const uint8_t *row = row_of(en->row);
    for (uint32_t i = k->prefix_exact; i < p->n; i++) {
        int c = column_compare(k->cols[i].type, row + k->cols[i].offset, p->values[i]);
        if (c)
            return c;
    }
    return 0;
}

static TreeNode *node_new(Engine *e, bool leaf)
{
    TreeNode *n = engine_alloc(e, sizeof(TreeNode) + (leaf ? 0 : NODE_ENTRIES * sizeof(TreeNode *)));
    n->leaf = leaf;
    return n;
}
static void node_free(Engine *e, TreeNode *n)
{
    engine_release(e, n, sizeof(TreeNode) + (n->leaf ? 0 : NODE_ENTRIES * sizeof(TreeNode *)));
}

/* Child that may hold the entry: the last separator <= key. */
static uint32_t inner_at(const KeyShape *k, const TreeNode *n, TreeEntry key)
{
    uint32_t lo = 1, hi = n->n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (compare_entries(k, key, n->e[mid]) < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo - 1;
}
/* First entry >= key. */
static uint32_t leaf_at(const KeyShape *k, const TreeNode *n, TreeEntry key)
{
    uint32_t lo = 0, hi = n->n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (compare_entries(k, n->e[mid], key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static TreeNode *descend(const BTree *t, TreeEntry key, Path *path)
{
    TreeNode *n = t->root;
    path->depth = 0;
    while (!n->leaf) {
        uint32_t at = inner_at(t->key, n, key);
        ASSERT(path->depth < TREE_HEIGHT_MAX);
        path->node[path->depth] = n;
        path->at[path->depth++] = at;
        n = n->child[at];
    }
    return n;
}

static void put_entry(TreeNode *n, uint32_t at, TreeEntry en, TreeNode *child)
{
    memmove(&n->e[at + 1], &n->e[at], (n->n - at) * sizeof n->e[0]);
    n->e[at] = en;
    if (!n->leaf) {
        memmove(&n->child[at + 1], &n->child[at], (n->n - at) * sizeof n->child[0]);
        n->child[at] = child;
    }
    n->n++;
}

/* Insert into a node that may be full. Returns the new right sibling, or NULL. */
static TreeNode *put_or_split(Engine *e, TreeNode *n, uint32_t at, TreeEntry en, TreeNode *child, bool rightmost)
{
    if (n->n < NODE_ENTRIES) {
        put_entry(n, at, en, child);
        return NULL;
    }
    TreeNode *right = node_new(e, n->leaf);
    uint32_t keep = rightmost && at == n->n ? n->n : n->n / 2; /* ascending keys fill nodes completely */
    right->n = (uint16_t)(n->n - keep);
    memcpy(right->e, &n->e[keep], right->n * sizeof n->e[0]);
    if (!n->leaf)
        memcpy(right->child, &n->child[keep], right->n * sizeof n->child[0]);
    n->n = (uint16_t)keep;
    if (n->leaf) {
        right->next = n->next;
        right->prev = n;
        if (n->next)
            n->next->prev = right;
        n->next = right;
    }
    if (at > keep || right->n == 0)
        put_entry(right, at - keep, en, child);
    else
        put_entry(n, at, en, child);
    return right;
}

void btree_insert(Engine *e, BTree *t, RowHeader *row)
{
    TreeEntry en = {row_prefix(t->key, row), row};
    t->version++;
    t->count++;
    if (!t->root)
        t->root = node_new(e, true);
    Path path;
    TreeNode *leaf = descend(t, en, &path);
    uint32_t at = leaf_at(t->key, leaf, en);
    bool rightmost = !leaf->next;
    TreeNode *left = leaf, *right = put_or_split(e, leaf, at, en, NULL, rightmost);
    while (right && path.depth) {
        uint32_t d = --path.depth;
        left = path.node[d];
        right = put_or_split(e, left, path.at[d] + 1, right->e[0], right, rightmost);
    }
    if (right) {
        TreeNode *root = node_new(e, false);
        put_entry(root, 0, left->e[0], left);
        put_entry(root, 1, right->e[0], right);
        t->root = root;
    }
}

static void drop_entry(TreeNode *n, uint32_t at)
{
    n->n--;
    memmove(&n->e[at], &n->e[at + 1], (n->n - at) * sizeof n->e[0]);
    if (!n->leaf)
        memmove(&n->child[at], &n->child[at + 1], (n->n - at) * sizeof n->child[0]);
}

void btree_remove(Engine *e, BTree *t, RowHeader *row)
{
    TreeEntry en = {row_prefix(t->key, row), row};
    ASSERT(t->root);
    Path path;
    TreeNode *n = descend(t, en, &path);
    uint32_t at = leaf_at(t->key, n, en);
    ASSERT(at < n->n && n->e[at].row == row);
    t->version++;
    t->count--;
    for (;;) {
        drop_entry(n, at);
        if (n->n > 0)
            break;
        if (n->leaf) {
            if (n->prev)
                n->prev->next = n->next;
            if (n->next)
                n->next->prev = n->prev;
        }
        node_free(e, n);
        if (path.depth == 0) {
            t->root = NULL;
            return;
        }
        path.depth--;
        n = path.node[path.depth];
        at = path.at[path.depth];
    }
    if (at == 0) { /* the least entry of this subtree is another one now */
        for (uint32_t d = path.depth; d-- > 0;)
            if (path.at[d] > 0) {
                path.node[d]->e[path.at[d]] = n->e[0];
                break;
            }
    }
    while (!t->root->leaf && t->root->n == 1) {
        TreeNode *root = t->root;
        t->root = root->child[0];
        node_free(e, root);
    }
}

static TreePos normal(TreeNode *leaf, uint32_t at)
{
    if (at < leaf->n)
        return (TreePos){leaf, at};
    return (TreePos){leaf->next, 0};
}

TreePos btree_seek(const BTree *t, uint32_t n, const void *const *values, bool after)
{
    if (!t->root)
        return (TreePos){NULL, 0};
    Probe p = {n, n ? prefix_of(t->key->cols[0].type, values[0]) : 0, values};
    int limit = after ? 1 : 0; /* entries whose comparison is below this lie before the position */
    TreeNode *node = t->root;
    for (;;) {
        uint32_t lo = node->leaf ? 0 : 1, hi = node->n;
        while (lo < hi) {
            uint32_t mid = (lo + hi) / 2;
            if (compare_probe(t->key, &node->e[mid], &p) < limit && n)
                lo = mid + 1;
            else
                hi = mid;
        }
        if (node->leaf)
            return normal(node, lo);
        node = node->child[lo - 1];
    }
}

TreePos btree_seek_after(const BTree *t, const RowHeader *row)
{
    if (!t->root)
        return (TreePos){NULL, 0};
    TreeEntry en = {row_prefix(t->key, row), (RowHeader *)(uintptr_t)row};
    Path path;
    TreeNode *leaf = descend(t, en, &path);
    uint32_t at = leaf_at(t->key, leaf, en);
    if (at < leaf->n && leaf->e[at].row == row)
        at++;
    return normal(leaf, at);
}

bool btree_contains(const BTree *t, const RowHeader *row)
{
    if (!t->root)
        return false;
    TreeEntry en = {row_prefix(t->key, row), (RowHeader *)(uintptr_t)row};
    Path path;
    TreeNode *leaf = descend(t, en, &path);
    uint32_t at = leaf_at(t->key, leaf, en);
    return at < leaf->n && leaf->e[at].row == row;
}

static void free_below(Engine *e, TreeNode *n)
{
    if (!n->leaf)
        for (uint32_t i = 0; i < n->n; i++)
            free_below(e, n->child[i]);
    node_free(e, n);
}

void btree_done(Engine *e, BTree *t)
{
    if (t->root)
        free_below(e, t->root);
    t->root = NULL;
    t->count = 0;
    t->version++;
}

/* ---- checking ---- */

static uint64_t bytes_below(const TreeNode *n)
{
    uint64_t bytes = sizeof(TreeNode) + (n->leaf ? 0 : NODE_ENTRIES * sizeof(TreeNode *));
    if (!n->leaf)
        for (uint32_t i = 0; i < n->n; i++)
            bytes += bytes_below(n->child[i]);
    return bytes;
}
uint64_t btree_bytes(const BTree *t) { return t->root ? bytes_below(t->root) : 0; }

typedef struct CheckState {
    const BTree *t;
    uint64_t count;
    TreeNode *last_leaf;
    TreeEntry last;
    int32_t height;
} CheckState;

static Status check_below(CheckState *s, TreeNode *n, int32_t depth, TreeEntry *ret_least, Error *err)
{
    if (n->n == 0)
        return FAIL(err, S_INTERNAL, "btree: empty node");
    if (n->leaf) {
        if (s->height < 0)
            s->height = depth;
        if (s->height != depth || n->prev != s->last_leaf || (s->last_leaf && s->last_leaf->next != n))
            return FAIL(err, S_INTERNAL, "btree: leaf at depth %d of %d, or its links are wrong", depth, s->height);
        for (uint32_t i = 0; i < n->n; i++) {
            if (n->e[i].prefix != row_prefix(s->t->key, n->e[i].row))
                return FAIL(err, S_INTERNAL, "btree: stale prefix");
            if (s->count++ && compare_entries(s->t->key, s->last, n->e[i]) >= 0)
                return FAIL(err, S_INTERNAL, "btree: entries out of order");
            s->last = n->e[i];
        }
        s->last_leaf = n;
        *ret_least = n->e[0];
        return S_OK;
    }
    for (uint32_t i = 0; i < n->n; i++) {
        TreeEntry least = {0};
        TRY(check_below(s, n->child[i], depth + 1, &least, err));
        if (i == 0)
            *ret_least = least;
        else if (least.row != n->e[i].row || least.prefix != n->e[i].prefix)
            return FAIL(err, S_INTERNAL, "btree: separator is not the least entry below it");
    }
    return S_OK;
}

Status btree_check(const BTree *t, Error *err)
{
    CheckState s = {.t = t, .height = -1};
    TreeEntry least = {0};
    if (t->root)
        TRY(check_below(&s, t->root, 0, &least, err));
    if (s.count != t->count || (s.last_leaf && s.last_leaf->next))
        return FAIL(err, S_INTERNAL, "btree: counts %llu entries, holds %llu", (unsigned long long)t->count, (unsigned long long)s.count);
    return S_OK;
}
