/* subs_int.h - the subscription registry, shared by subs.c (who listens to what) and delta.c (what they hear).
 *
 * Query:    one per canonical key; lives while a set refers to it. Its listeners are parallel arrays in
 *           (slot, set id) order, so that the commonest update borrows them as they are.
 * Finding:  a query is either in the equality hash of its table reference, or in the table's list of the rest, or
 *           nowhere when its predicate is false. */
#ifndef HOST_QUERY_SUBS_INT_H
#define HOST_QUERY_SUBS_INT_H

#include "host/query/views_int.h"

typedef struct SubQuery SubQuery;
typedef struct SubTable SubTable;

typedef struct RowLink {
    const void *row;
    struct RowLink *next;
} RowLink;
typedef struct RowChain {
    RowLink *first, **last;
    uint32_t count;
} RowChain;

struct SubQuery {
    /* First what a changed row touches: with 100,000 queries every cache line counts. */
    uint64_t equality_hash;
    SubQuery *equality_next;
    SubTable *table;
    uint64_t touched_by;        /* the evaluation that met it last */
    RowChain deleted, inserted; /* rows found by equality, this evaluation */
    uint64_t id;                /* order of birth: every order below follows it */
    const Pred *equality;       /* or NULL; part of the plan */
    uint16_t equality_col;
    bool equality_exact; /* equal hashes are equal values */
    bool equality_alone; /* there is no other condition */
    uint16_t ncols;      /* what its clients know */
    bool listed, text_uses_sender;
    uint32_t nsubs, cap, ndoubles; /* doubles: neighbours of the same client */
    ClientRef *clients;
    uint32_t *set_ids;

    uint64_t key_hash;
    SubQuery *key_next;
    Bytes key;
    Str text;                        /* kept for a publish and for errors */
    Plan *plan;                      /* free(): one block with key and text */
    uint8_t identity[32];            /* the caller it was compiled for */
    SubQuery *list_prev, *list_next; /* the table's list when there is no equality */
    uint64_t seen_by;                /* the subscribe call that met it last */
    Buf snapshot;                    /* its encoded rows as of snapshot_of, for whoever subscribes before the table changes */
    uint64_t snapshot_of;            /* SubTable.changed_by */
    uint32_t view_id;                /* it holds this view's result for `identity`; 0: none */
};

typedef struct SubColumn {
    uint16_t col;
    uint32_t nqueries;
} SubColumn; /* of a table, with equalities */

struct SubTable {
    uint32_t id;
    uint16_t ncols;      /* as of the last schema seen */
    const TableDef *def; /* NULL: the table is gone */
    Table *table;
    uint64_t changed_by; /* the evaluation that changed it last */
    SubQuery *list_first, *list_last;
    uint32_t ncolumns;
    SubColumn *columns;
};

typedef struct SubSet {
    uint32_t id, nqueries;
    SubQuery *queries[];
} SubSet;

typedef struct SubClient {
    bool live;
    ClientRef ref;
    Caller caller;
    uint32_t nshapes;
    TableShape *shapes;
    uint32_t nsets, sets_cap;
    SubSet **sets; /* by id */
    uint64_t nqueries;
    /* delta.c: hits of the running evaluation */
    uint64_t hit_by;
    uint32_t hits, first_hit, last_hit;
} SubClient;

typedef struct QueryTable {
    SubQuery **buckets;
    size_t nbuckets, count;
} QueryTable;

struct Subs {
    Engine *engine;
    Views *views; /* or NULL */
    uint64_t seed;
    uint32_t nclients; /* slots */
    SubClient *clients;
    uint32_t ntables;
    SubTable **tables; /* by id */
    QueryTable by_key, by_equality;
    uint64_t next_query_id, subscribe_count, evaluate_count, evaluations;
    Arena arena;               /* the last update */
    Buf bytes;                 /* its segments */
    size_t snapshot_bytes;     /* kept by all queries */
    uint64_t snapshots_shared; /* served from what was kept: proves sharing in tests */
    size_t bytes_max;          /* of one update; a query beyond it fails (tests lower it) */
    SubQuery *dead;            /* released while an update was computed */
    Update update;
};

SubClient *subs_client(Subs *s, ClientRef client); /* NULL: unknown */
SubTable *subs_table(Subs *s, uint32_t table_id);
SubSet *subs_set(const SubClient *c, uint32_t id);
void subs_drop_set(Subs *s, SubClient *c, uint32_t id);
void subs_free_dead(Subs *s);
uint64_t subs_equality_hash(const Subs *s, uint32_t table_id, uint16_t col, const Type *t, const void *value);
/* All sets with query `q` end; their failures are appended to `out` (UpdateFailure). Text is kept in s->arena. */
void subs_fail_query(Subs *s, SubQuery *q, const char *reason, bool owners_too, Buf *out);
/* All sets with a query over this result of a view end, likewise. */
void subs_fail_view(Subs *s, const ViewFailure *failure, Buf *out);

#endif
