/* engine_int.h - what the files of host/engine share. Nobody else includes it.
 *
 * Map:   shape.c       what follows from a TableDef: slot layout, copy and decode plans, keys
 *        page.c        pages of fixed slots, the free list, heap blocks, byte accounting
 *        hash_index.c  unique keys and whole rows: only rows alive now
 *        btree.c       ordered keys: every version of the transaction, dead ones too
 *        table.c       checks, insert / update / delete, finds, cursors, loading
 *        txn.c         undo log, net changes, record parts, commit and rollback
 *        prepare.c     the next schema beside the old one
 *        engine.c      life cycle, lookups, replay, engine_check */
#ifndef HOST_ENGINE_INT_H
#define HOST_ENGINE_INT_H

#include "host/engine/engine.h"

enum {
    PAGE_BYTES = 32 << 10,         /* of rows; a row that needs more gets a page of its own */
    ROW_BYTES_MAX = 256 << 20,     /* text and arrays of one row: a PostgreSQL field ends at 1 GB, bytea travels as hex */
    INDEXED_BYTES_MAX = 2600,      /* PostgreSQL's btree tuples end at 2,704 bytes with their overhead */
    SEQUENCE_BLOCK = 4096,         /* values taken at once, at most */
    SEQUENCE_BLOCKS_MIN = 1 << 16, /* a range is taken in no fewer steps, unless it is smaller */
    CURSOR_EQ_MAX = 4,
    NODE_ENTRIES = 64, /* of a B+tree node */
    TREE_HEIGHT_MAX = 24,
    LOAD_AHEAD = 12, /* rows whose hash entries are fetched while loading */
};
#define STAMP_FREE UINT32_MAX  /* birth of a free slot: no snapshot sees it */
#define STAMP_ALIVE UINT32_MAX /* death of a living row */
#define STAMP_MAX (UINT32_MAX - 16)
/* What timestamptz holds: 4713 BC .. 294276 AD, as microseconds since the Unix epoch. */
#define TIMESTAMP_US_MIN (-210866803200000000)
#define TIMESTAMP_US_LIMIT 9223371331200000000

/* In front of every row; a row pointer points right behind it.
 * A page begins with 8 unused bytes, so that rows of 16-aligned types are aligned. */
typedef struct RowHeader {
    uint64_t number;
    uint32_t birth; /* stamp within the open transaction, 0: committed before; STAMP_FREE: free slot */
    uint32_t death; /* stamp within the open transaction; STAMP_ALIVE */
    union {
        struct HeapBlock *heap;      /* text and arrays; NULL: none */
        struct RowHeader *next_free; /* in a free slot */
    };
} RowHeader;
_Static_assert(sizeof(RowHeader) == 24, "page.c relies on 8 + 24 being a multiple of 16");
typedef struct HeapBlock {
    uint64_t bytes, unused; /* with this head */
    uint8_t data[];
} HeapBlock;

static inline RowHeader *header_of(const void *row) { return (RowHeader *)(uintptr_t)row - 1; }
static inline void *row_of(const RowHeader *h) { return (void *)(uintptr_t)(h + 1); }
static inline bool row_visible(const RowHeader *h, uint64_t snapshot) { return h->birth <= snapshot && h->death > snapshot; }

/* ---- shapes ---------------------------------------------------------------------------------- */

typedef struct KeyColumn {
    const Type *type;
    uint32_t offset;
    uint16_t col;
} KeyColumn;
typedef struct KeyShape {
    uint16_t ncols;
    uint8_t int_bytes; /* a single column of 1, 2, 4 or 8 bytes with integer order: the key is the value; else 0 */
    bool whole_row;    /* cols[0] is the row itself */
    bool prefix_exact; /* key_prefix tells everything about the first column */
    bool variable;     /* has a string or bytes column */
    const KeyColumn *cols;
} KeyShape;

typedef struct Segment {
    uint32_t offset, bytes;
} Segment;
typedef enum DecodeKind { DECODE_COPY, DECODE_BOOL, DECODE_ENUM, DECODE_UUID } DecodeKind;
typedef struct DecodeOp {
    DecodeKind kind;
    uint32_t to, from, bytes; /* ENUM: bytes = number of variants */
} DecodeOp;
typedef struct IndexRef { /* of def->indexes[i] */
    bool unique;
    uint32_t position; /* in uniques or btrees */
} IndexRef;

/* Everything that follows from a TableDef; immutable. Borrows the definition. */
typedef struct TableShape {
    Arena arena;
    const TableDef *def;
    uint32_t row_bytes, stride, slots_per_page;
    uint64_t page_bytes;
    bool flat;           /* no pointers, sums or arrays: segments say it all, padding is never written */
    bool needs_check;    /* value_check could refuse something */
    bool needs_storable; /* text or timestamps inside */
    bool variable_keys;  /* text or bytes in a key */
    uint32_t nsegments;
    const Segment *segments;
    uint32_t nops; /* BSATN -> slot without looking at types; 0: use value_decode */
    const DecodeOp *ops;
    uint32_t bsatn_bytes;
    bool key_ahead; /* loading may look at the keys of rows to come: integer keys at key_at in the BSATN */
    uint32_t key_at;
    uint32_t nuniques; /* at least one; uniques[0] is the row's identity: primary key, else the first unique, else the whole row */
    const KeyShape *uniques;
    uint32_t nbtrees;
    const KeyShape *btrees;
    const IndexRef *indexes;
    const int32_t *find_by_col; /* def->ncols: unique position or -1 */
} TableShape;

TableShape *shape_new(const TableDef *def);
void shape_free(TableShape *s);
bool key_shape_same(const KeyShape *a, const KeyShape *b);
/* "(a, b)" and "(1, \"x\")" for messages. */
void key_print_columns(Buf *out, const TableShape *s, const KeyShape *k);
void key_print_values(Buf *out, const KeyShape *k, const void *row);
/* Refuse what PostgreSQL cannot hold; `row` passed value_check. */
Status shape_check_storable(const TableShape *s, const void *row, Error *err);
Status shape_check_keys(const TableShape *s, const void *row, Error *err); /* ... as an indexed value */
/* BSATN -> slot by the plan (nops > 0, bsatn_bytes readable); false: a bool or tag is out of range. */
bool shape_decode(const TableShape *s, uint8_t *dst, const uint8_t *src);
/* Native -> native; `dst` is a slot of this shape. */
void shape_copy_row(const TableShape *s, void *dst, const void *src, HeapBlock *heap);
bool shape_rows_equal(const TableShape *s, const void *x, const void *y);

/* Value order, quick for the common integers. */
static inline int column_compare(const Type *t, const void *x, const void *y)
{
    switch (t->kind) {
    case TYPE_U32: {
        uint32_t a, b;
        memcpy(&a, x, 4);
        memcpy(&b, y, 4);
        return (a > b) - (a < b);
    }
    case TYPE_I32: {
        int32_t a, b;
        memcpy(&a, x, 4);
        memcpy(&b, y, 4);
        return (a > b) - (a < b);
    }
    case TYPE_U64: {
        uint64_t a, b;
        memcpy(&a, x, 8);
        memcpy(&b, y, 8);
        return (a > b) - (a < b);
    }
    case TYPE_I64:
    case TYPE_TIMESTAMP:
    case TYPE_DURATION: {
        int64_t a, b;
        memcpy(&a, x, 8);
        memcpy(&b, y, 8);
        return (a > b) - (a < b);
    }
    default: return value_compare(t, x, y);
    }
}
static inline uint64_t int_key(uint8_t bytes, const void *v)
{
    switch (bytes) {
    case 1: return load_u8(v);
    case 2: return load_u16(v);
    case 4: return load_u32(v);
    default: return load_u64(v);
    }
}

/* ---- hash index ------------------------------------------------------------------------------ */

/* Open addressing with linear probing and backward-shift deletion (Knuth, TAOCP 3, 6.4, algorithm R), so
 * that no tombstones gather. Holds living rows only: dead ones are reached by pointer, never by key.
 * The place of an entry depends on hash_process_seed; nothing ever walks the entries in that order. */
typedef struct HashEntry {
    uint64_t key;   /* the integer itself, or the hash of the key columns */
    RowHeader *row; /* NULL: empty */
} HashEntry;
typedef struct HashIndex {
    HashEntry *entries;
    uint64_t mask; /* capacity - 1; 0 with entries NULL: none */
    uint64_t count;
    const KeyShape *key; /* NULL: row numbers */
} HashIndex;

uint64_t hash_key_of_row(const HashIndex *ix, const void *row);
/* The living row with the same key as `row`, whose hash_key_of_row is `key`; NULL: none. */
RowHeader *hash_find_row(const HashIndex *ix, uint64_t key, const void *row);
/* By separate values, one a key column, in key order. */
RowHeader *hash_find_values(const HashIndex *ix, const void *const *values);
RowHeader *hash_find_exact(const HashIndex *ix, uint64_t key); /* integer keys and row numbers */
void hash_prefetch(const HashIndex *ix, uint64_t key);
/* Bytes that growing for `more` entries takes; 0: there is room. */
uint64_t hash_growth(const HashIndex *ix, uint64_t more);
void hash_reserve(Engine *e, HashIndex *ix, uint64_t more);
void hash_add(HashIndex *ix, uint64_t key, RowHeader *row); /* reserved; the key is not there */
void hash_remove(HashIndex *ix, uint64_t key, RowHeader *row);
void hash_replace(HashIndex *ix, uint64_t key, RowHeader *from, RowHeader *to);
void hash_done(Engine *e, HashIndex *ix);

/* ---- B+tree ---------------------------------------------------------------------------------- */

/* Entries in order of (key columns, row number). Leaves are linked. Separator i of an inner node is exactly
 * the least entry below child i (i > 0), so no separator outlives its row; separator 0 is never read.
 * A node is freed when it is empty, not when it is half empty (Johnson and Shasha, "B-trees with inserts
 * and deletes: why free-at-empty is better than merge-at-half", 1993).
 * Source: D. Comer, "The Ubiquitous B-Tree", ACM Computing Surveys 11(2), 1979. */
typedef struct TreeEntry {
    uint64_t prefix; /* order-preserving first 8 bytes of the first column */
    RowHeader *row;
} TreeEntry;
typedef struct TreeNode {
    uint16_t n;
    bool leaf;
    struct TreeNode *prev, *next; /* leaves */
    TreeEntry e[NODE_ENTRIES];
    struct TreeNode *child[]; /* inner: NODE_ENTRIES */
} TreeNode;
typedef struct BTree {
    TreeNode *root;
    uint64_t count;
    uint64_t version; /* counts changes: a cursor of another version seeks again */
    const KeyShape *key;
} BTree;
typedef struct TreePos {
    TreeNode *leaf;
    uint32_t at;
} TreePos; /* leaf NULL: past the end */

void btree_insert(Engine *e, BTree *t, RowHeader *row);
void btree_remove(Engine *e, BTree *t, RowHeader *row);
/* First entry whose first `n` columns are >= values (after: > values). n = 0: the first entry. */
TreePos btree_seek(const BTree *t, uint32_t n, const void *const *values, bool after);
TreePos btree_seek_after(const BTree *t, const RowHeader *row);
bool btree_contains(const BTree *t, const RowHeader *row);
void btree_done(Engine *e, BTree *t);
uint64_t btree_bytes(const BTree *t);
Status btree_check(const BTree *t, Error *err);

/* ---- table ----------------------------------------------------------------------------------- */

typedef struct Sequence {
    bool started;  /* `allocated` means something */
    bool dirty;    /* a block was taken that no committed record tells of */
    bool written;  /* ... but the record being made does */
    uint32_t left; /* values left in the block */
    i128 next;     /* when left > 0 */
    i128 allocated;
} Sequence;
/* The number behind `allocated`; false: the sequence has come to its bound. */
bool sequence_after(const SequenceDef *d, i128 allocated, i128 *ret_next);

struct Table {
    Engine *engine;
    TableShape *shape;
    uint32_t id;
    /* pages */
    uint32_t npages, pages_cap;
    uint8_t **pages;
    uint32_t fresh_page, fresh_slot; /* slots from here on were never used */
    RowHeader *free;
    /* rows */
    uint64_t count; /* alive */
    uint64_t next_number;
    uint64_t dead; /* versions kept until the transaction ends */
    HashIndex *uniques;
    BTree *btrees;
    Sequence *sequences;
    HashIndex numbers; /* replay of a keyless table: row number -> row; lives until the next transaction */
    bool has_numbers;
    /* transaction */
    bool touched;
    uint32_t ndeleted, ninserted;
    TableChange *change;
};

typedef struct Undo { /* old NULL: insert; new_ NULL: delete; both: replace */
    Table *table;
    RowHeader *old, *new_;
} Undo;
typedef struct Cancelled {
    Table *table;
    RowHeader *old, *new_;
} Cancelled;

struct Engine {
    EngineLimits limits;
    SchemaImage schema; /* ids are ours; def NULL before engine_set_schema */
    uint32_t ntables;
    Table **tables; /* by position */
    Table **by_id;  /* by id, ascending */
    uint64_t bytes;
    Arena scratch;         /* of one call */
    EngineNext *preparing; /* follows what transactions commit; NULL: none */
    struct Grave *graves;  /* what swaps and discards left: freed by engine_reap; their bytes count */
    /* transaction */
    bool open;
    uint32_t stamp;
    uint64_t txn_bytes;
    uint64_t nundo, undo_cap;
    Undo *undo;
    Arena txn;
    bool changes_known; /* the next five belong to the current undo log */
    bool changes_stored;
    uint32_t nchanges;
    TableChange *changes;
    uint64_t ncancelled;
    Cancelled *cancelled; /* deleted and inserted again as it was: the old version stays */
};

/* page.c */
void *engine_alloc(Engine *e, uint64_t bytes);
void engine_release(Engine *e, void *ptr, uint64_t bytes);
uint64_t page_growth(const Table *t);        /* bytes that the next slot takes: 0 or a page */
RowHeader *page_take_slot(Table *t);         /* birth and death unset, heap NULL */
void page_give_slot(Table *t, RowHeader *h); /* frees the heap block too */
void page_free_all(Table *t);
void page_free_one(Table *t, uint32_t page); /* its heap blocks and itself; the table is good for nothing but being freed then */
void page_reset(Table *t);                   /* no row left: back to one page */
HeapBlock *heap_new(Engine *e, uint64_t bytes);
static inline RowHeader *page_slot(const Table *t, uint32_t page, uint32_t slot)
{
    return (RowHeader *)(void *)(t->pages[page] + 8 + (size_t)slot * t->shape->stride);
}
static inline uint32_t page_used(const Table *t, uint32_t page) /* slots of this page that were ever used */
{
    return page < t->fresh_page ? t->shape->slots_per_page : page == t->fresh_page ? t->fresh_slot : 0;
}
/* All living rows, in slot order: for (RowWalk w = {0}; (h = walk_next(t, &w));) */
typedef struct RowWalk {
    uint32_t page, slot;
} RowWalk;
RowHeader *walk_next(const Table *t, RowWalk *w);

/* table.c */
Table *table_new(Engine *e, TableShape *shape, uint32_t id); /* takes the shape */
void table_free(Table *t);
void table_unlink_btrees(Table *t, RowHeader *h);
/* Place a native row (checked, of this shape) without a transaction; S_CONFLICT, S_TOO_LARGE. */
Status table_place(Table *t, uint64_t number, const void *row, Error *err);
Status table_remove_committed(Table *t, RowHeader *h); /* replay */
Status conflict(Error *err, const TableShape *s, const KeyShape *k, const void *row);
Status engine_check_room(const Engine *e, uint64_t more, Error *err);
/* The value of an integer column, clamped to i128. */
i128 integer_load(const Type *t, const void *v);

/* prepare.c */
typedef struct Grave Grave;
void prepare_follow(EngineNext *n);

/* txn.c */
void txn_push(Engine *e, Table *t, RowHeader *old, RowHeader *new_);
void txn_reserve(Engine *e);
void txn_done(Engine *e);

#endif
