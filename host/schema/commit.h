/* commit.h - the commit record: everything one transaction changed, as bytes.
 *
 * Written by the worker at the commit point, read by storage (log and materialiser), by the worker again
 * at replay, and by the simulator. The host treats it as untrusted and validates it against its own
 * definition before it is logged (rule 28).
 *
 * Layout, little-endian:
 *   u32 magic 'STC1' | u32 length of the whole record | u64 offset | u64 call_seq | i64 timestamp_us |
 *   u32 schema_version | u16 nclients | u16 nsequences | u32 ntables |
 *   nclients   x { u8 connected (1, 2) or disconnected (0) | identity[32] | connection_id[16] |
 *                  when 2: u32 length, claims of its token, JSON text }
 *   nsequences x { u32 table_id | u16 column | i128 allocated: values up to here may have been given out }
 *   ntables    x { u32 table_id | u32 ndeletes | u32 ninserts | u32 payload length |
 *                  ndeletes x KEY | ninserts x ROW }
 *   KEY = BSATN of the primary key column, or u64 row number when the table is keyless
 *   ROW = [u64 row number when keyless] + BSATN of the row
 * A changed row is a delete and an insert. Rows of event tables do not appear. A record without changes is
 * not written at all: the offset counts transactions that changed something.
 * call_seq is the sequence number of the call record that caused it (0: none). */
#ifndef HOST_SCHEMA_COMMIT_H
#define HOST_SCHEMA_COMMIT_H

#include "host/schema/module_def.h"

enum { COMMIT_MAGIC = 0x31435453, COMMIT_HEADER_BYTES = 4 + 4 + 8 + 8 + 8 + 4 + 2 + 2 + 4, COMMIT_BYTES_MAX = 1 << 30 };

typedef struct CommitHeader {
    uint32_t length;
    uint64_t offset, call_seq;
    int64_t timestamp_us;
    uint32_t schema_version;
    uint16_t nclients, nsequences;
    uint32_t ntables;
} CommitHeader;
typedef struct CommitClient {
    bool connected;
    uint8_t identity[32], connection_id[16];
    Str claims; /* of a connected one: the payload of its token; may be empty. Borrowed from the record */
} CommitClient;
enum { CLAIMS_BYTES_MAX = 16 << 10 };
typedef struct CommitSequence {
    uint32_t table_id;
    uint16_t column;
    i128 allocated;
} CommitSequence;
typedef struct CommitTable {
    uint32_t table_id, ndeletes, ninserts;
    Bytes payload;
} CommitTable;

/* Reading: header first, then exactly the announced number of each part. */
MUST_CHECK Status commit_read_header(Reader *r, CommitHeader *ret, Error *err);
MUST_CHECK Status commit_read_client(Reader *r, CommitClient *ret, Error *err);
MUST_CHECK Status commit_read_sequence(Reader *r, CommitSequence *ret, Error *err);
MUST_CHECK Status commit_read_table(Reader *r, CommitTable *ret, Error *err);
/* Step over the next key / row inside a CommitTable payload; `ret` is its bytes (with the row number).
 * `ret_rowno` is filled for keyless tables. */
MUST_CHECK Status commit_next_key(Reader *payload, const TableDef *t, Bytes *ret, uint64_t *ret_rowno, Error *err);
MUST_CHECK Status commit_next_row(Reader *payload, const TableDef *t, Bytes *ret, uint64_t *ret_rowno, Error *err);

/* Table ids of one schema version: ids[i] belongs to def->tables[i]. */
typedef struct SchemaImage {
    ModuleDef *def;      /* one reference */
    uint32_t version;    /* schema version, from 1 */
    const uint32_t *ids; /* def->ntables, never 0 */
} SchemaImage;
const TableDef *schema_image_table(const SchemaImage *s, uint32_t table_id); /* NULL: no such table */
/* The whole record against a schema: sizes, table ids, every key and row decodes, keys are key columns. */
MUST_CHECK Status commit_validate(Bytes record, const SchemaImage *s, Error *err);

/* Writing: `commit_begin` leaves room for the header; `commit_end` patches it. */
size_t commit_begin(Buf *out);
void commit_put_client(Buf *out, const CommitClient *c);
void commit_put_sequence(Buf *out, const CommitSequence *s);
size_t commit_begin_table(Buf *out, uint32_t table_id);
void commit_end_table(Buf *out, size_t at, uint32_t ndeletes, uint32_t ninserts);
void commit_end(Buf *out, size_t at, const CommitHeader *header); /* length is computed */

#endif
