/* records.h - what crosses the rings: the protocol between the host and one worker.
 *
 * All integers little-endian; `str` and `blob` are u32 length + bytes. Records of the call and control rings are
 * trusted by the worker; records of the commit, frame and log rings are untrusted by the host.
 *
 * Order and meaning of the outputs of one call (design-rules 1, 2, 4, 10):
 *   1. frames of the call are written to RING_FRAME, naming the offset they depend on;
 *   2. last the commit record, if anything changed, is written to RING_COMMIT: the commit point;
 *   3. every so often (at the latest when the call ring is empty) the worker publishes frame ring, commit ring,
 *      then `consumed_call` and the call ring's tail, in this order. Nothing is visible before.
 * A crash loses unpublished outputs together with the memory they described. On death the host stores every complete
 * commit record, delivers frames whose offset is at most the last complete one and drops the others, answers
 * the call in `current_call` with an error if neither a record nor a reply of it is complete, and gives every other call after
 * `consumed_call` to the new worker: none of its effects left the old one. A procedure does nothing before its call is consumed,
 * and cannot run again: those that were running are answered with an error. `guilty_call`, set by the crash itself, says
 * that it happened in a procedure's thread; then the call that the executor was at is one of the others.
 *
 * offset in a frame: the transaction offset after which the frame may be released (complete for unconfirmed, durable for
 * confirmed clients). A frame of a transaction that changed nothing carries the last offset there is. */
#ifndef HOST_WORKER_RECORDS_H
#define HOST_WORKER_RECORDS_H

#include "host/base/base.h"
#include <signal.h>

/* ---- RING_CALL ------------------------------------------------------------------------------- */

/* Every call record begins with this. call_seq counts up by one from 1 for each database as long as the host lives. */
typedef struct CallHeader {
    uint8_t kind, flags;
    uint16_t reserved;
    uint32_t slot, generation; /* the client; slot CLIENT_NONE: a client of an earlier host (DISCONNECT only) */
    uint32_t schema_version;   /* the version that the client knew when it connected, or the arguments were made for */
    uint64_t call_seq;
    int64_t timestamp_us; /* when the host received it */
} CallHeader;             /* 32 bytes, as laid out by C */
_Static_assert(sizeof(CallHeader) == 32, "call record header crosses the ring");
enum { CLIENT_NONE = 0xffffffff };
enum CallFlags {
    CALL_SILENT = 1,       /* CONNECT, SUBSCRIBE: register again after a crash: no reducer, no answer */
    CALL_HTTP = 2,         /* the client is an HTTP request: answers are FRAME_REPLY */
    CALL_OWNER = 4,        /* CONNECT: the client owns the database */
    CALL_DROPPED_ROWS = 8, /* UNSUBSCRIBE: send the rows that leave */
};
typedef enum CallKind { /* payload after the header                                        answer */
                        CALL_CONNECT =
                            1, /* identity[32] connection_id[16] claims to the end; runs client_connected    FRAME_CONNECTED (not when silent) */
                        CALL_DISCONNECT, /* same; drops subscriptions, runs                                 FRAME_DISCONNECTED */
                                         /* client_disconnected; a client refused at CONNECT: nothing runs                         */
                        CALL_REDUCER,    /* u32 request_id, str name, BSATN arguments to the end            ReducerResult | FRAME_REPLY */
                        CALL_PROCEDURE,  /* same                                                            ProcedureResult | FRAME_REPLY */
                        CALL_SUBSCRIBE, /* u32 request_id u32 query_set_id u32 n, n x str                  SubscribeApplied | SubscriptionError */
                        CALL_UNSUBSCRIBE, /* u32 request_id u32 query_set_id                                 UnsubscribeApplied | SubscriptionError */
                        CALL_ONE_OFF, /* u32 request_id, str query                                       OneOffQueryResult */
                        CALL_SQL,     /* str text (HTTP clients only)                                    FRAME_REPLY */
                        CALL_ANSWER,  /* ANSWER below, to a FRAME_HTTP; no client, call_seq 0            none */
                        CALL_HANDLER, /* HANDLER below; the slot never connected                         FRAME_REPLY */
} CallKind;
/* HANDLER: u32 0 | str HTTP handler | str method | str url | u32 n x { str header, blob value } | blob body.
 * REPLY_OK to it: u16 status | u32 n x { str header, blob value } | blob body. */
/* ANSWER: u64 request | u8 good | not good: str text; good: u16 status | u32 n x { str header, blob value } | blob body.
 * A procedure is answered when it ends, which may be long after its call was consumed; FRAME_MESSAGE and FRAME_REPLY name its call. */
/* Calls of a client whose CONNECT was refused are answered with REPLY_REJECTED (HTTP) or not at all. */

/* ---- RING_FRAME ------------------------------------------------------------------------------ */

typedef struct FrameHeader {
    uint8_t kind, flags;
    uint16_t reserved;
    uint32_t slot, generation; /* FRAME_UPDATE, FRAME_CONTROL: 0 */
    uint32_t reserved2;
    uint64_t offset;   /* see above */
    uint64_t call_seq; /* the call it answers, 0: none */
} FrameHeader;         /* 32 bytes */
_Static_assert(sizeof(FrameHeader) == 32, "frame record header crosses the ring");
typedef enum FrameKind {
    FRAME_MESSAGE = 1,  /* one ServerMessage (protocol v2, without compression byte) for one client */
    FRAME_UPDATE,       /* TransactionUpdate for many clients, see below */
    FRAME_CONNECTED,    /* u8 accepted, str text when refused */
    FRAME_DISCONNECTED, /* empty: the slot may be used again */
    FRAME_REPLY,        /* u8 outcome (ReplyOutcome), payload to the end; for HTTP requests */
    FRAME_CONTROL,      /* u8 kind (ControlKind that it answers), u8 Status, then on failure str text, else payload below */
    FRAME_HTTP,         /* a procedure asks the outside world: HTTP below; leaves the host when `offset` is durable */
} FrameKind;
enum FrameFlags {
    FRAME_NOT_HELD = 1, /* an error answer: needs no durability of its own (it still keeps its place) */
    FRAME_DURABLE = 2,  /* also for clients that read unconfirmed: what a procedure returns (design-rule 5) */
};
/* HTTP: u64 request (counts up) | u32 timeout_ms (0: the host's own) | str method | str url | u32 n x { str header, blob value } |
 * blob body */
enum {
    HTTP_BODY_BYTES_MAX = 16 << 20, /* of a request and of a response */
    HTTP_HEADERS_MAX = 500,
    HTTP_HEADER_BYTES_MAX = 256 << 10, /* names and values together */
    HTTP_URL_BYTES_MAX = 16 << 10,
    HTTP_METHOD_BYTES_MAX = 32,
    PROCEDURES_MAX_MAX = 1024,
};
/* FRAME_UPDATE: u32 nsegments, nsegments x blob,
 *   u32 ngroups, ngroups x { u32 nsets, u32 npieces, npieces x u32 segment-or-UPDATE_QUERY_SET_ID,
 *                            u32 nrecipients, nrecipients x {u32 slot, u32 generation}, nrecipients*nsets x u32 set id }
 * The message of a recipient is: u8 4 | u32 nsets | the pieces, each UPDATE_QUERY_SET_ID replaced by its next set id. */

typedef enum ReplyOutcome {                      /* payload */
                            REPLY_OK,            /* reducer committed: empty; SQL: see REPLY SQL; procedure: its BSATN value */
                            REPLY_USER_ERROR,    /* text: the reducer returned it */
                            REPLY_INTERNAL,      /* text: crash, limit, doomed transaction */
                            REPLY_NO_SUCH,       /* empty: no such reducer or procedure, or private */
                            REPLY_LIFECYCLE,     /* text: "can't directly call special Init lifecycle reducer" */
                            REPLY_BAD_ARGUMENTS, /* text */
                            REPLY_REJECTED,      /* text: client_connected refused */
                            REPLY_SQL_ERROR,     /* text */
                            REPLY_DENIED,        /* text */
                            REPLY_BUSY,          /* text: a limit that passes */
} ReplyOutcome;
/* REPLY SQL payload: blob AlgebraicType of the row (BSATN, no refs) | u64 nrows | u64 inserted | u64 deleted | u64 updated |
 * u64 duration_us | blob rows (BSATN back to back) */

/* ---- RING_CONTROL ---------------------------------------------------------------------------- */

typedef enum ControlKind { /* payload after u8 kind                                         payload of a good FRAME_CONTROL */
                           CTL_DESCRIBE =
                               1,    /* str path                       str name, str version, blob V10 definition, blob migrations */
                           CTL_LOAD, /* LOAD below                                                    empty */
                           CTL_ROWS, /* u32 table_id, u32 nrows, rows as in commit.h                  no answer; a failure is answered and ends the load */
                           CTL_EXPECT,   /* u32 table_id, u64 rows: room for a bulk load                  no answer */
                           CTL_SEQUENCE, /* u32 table_id, u16 column, i128 allocated                      no answer */
                           CTL_REPLAY,   /* one commit record                                             no answer */
                           CTL_READY,    /* u64 offset: everything is loaded; calls may start             u64 rows loaded */
                           CTL_INIT, /* identity[32] of the owner, i64 timestamp_us                   empty (failure: the init reducer's text) */
                           CTL_PREPARE, /* LOAD below: prepare a publish beside the running version; answered when everything stands, while calls
                                           * go on being followed    empty (failure: why; nothing is prepared then) */
                           CTL_PAUSE,  /* empty: no call starts until SWAP, RESUME or ABORT; run what the migrations run    PAUSED below */
                           CTL_EXPORT, /* u32 table_id, u64 cursor (0: from the beginning): rows of a table of the prepared version, paused
                                           only    u64 next cursor (UINT64_MAX: that was all), u32 nrows, rows as in commit.h */
                           CTL_RESUME, /* empty: calls of the old version start again; the preparation stays    empty */
                           CTL_SWAP,   /* empty                                                         empty */
                           CTL_ABORT,  /* empty: whatever is prepared goes                              empty */
                           CTL_STOP,   /* empty: publish everything and exit with status 0              no answer */
                           CTL_LIMITS, /* u64 database bytes, u64 txn bytes, u64 txn rows               no answer */
                           CTL_DUE_DIED, /* u32 table_id, u64 key, u8 tag, i64 us: the row whose function the last worker died in; after
                                            READY                                                         no answer */
                           CTL_FAULT,    /* str: arm a fault point (base/fault.h); test rigs only         no answer */
} ControlKind;
/* LOAD: u32 schema_version | str path of the .so (empty: no module) | blob V10 definition (must equal what the .so declares) |
 *       identity[32] of the database | identity[32] of the owner |
 *       u32 ntables x { str table name, u32 table_id } |
 *       u32 n x { str reducer or procedure, u32 since_version }: the version that last changed its parameters or result, 0: none |
 *       u32 nversions x { u32 version, u32 ntables x { u32 table_id, u16 ncols } }: what clients of older versions know;
 *       a CONNECT with such a schema_version takes its shape from here.
 * PREPARE: LOAD | u32 migration: the highest that has run on this database; later ones of the module are pending.
 * DESCRIBE's answer goes on with blob migrations (migration.h).
 * PAUSED: u16 nsequences, blob of as many sequence parts of commit.h: where the new version's auto-increment columns stand |
 *       u32 n x u32 table_id: tables of the new version that the migrations' functions have changed. */

/* What a crash is blamed on beside a call; see ring.h. A scheduled row whose function runs: its table's id, its primary key, its `at`. */
typedef struct CoreDue {
    uint32_t table;
    uint64_t key;
    uint8_t tag; /* 0 interval, 1 time */
    int64_t us;
} CoreDue;

/* ---- RING_LOG -------------------------------------------------------------------------------- */

/* u8 level (0 error 1 warn 2 info 3 debug 4 trace 101 panic) | i64 timestamp_us | u32 line (0: unknown) | u32 dropped: lines lost
 * before this one | str function (may be empty) | str file (may be empty) | str message (at most 8 KiB) */
enum { LOG_MESSAGE_BYTES_MAX = 8 << 10, LOG_LEVEL_PANIC = 101 };

/* ---- how the host starts a worker -------------------------------------------------------------- */

/* spacetimedb-worker, argv: program, database label for ps(1); environment empty; inherited descriptors: 0,1: /dev/null,
 * 2: a pipe or /dev/null for fatal messages, then exactly these numbers: */
enum { WORKER_FD_HOST_AREA = 3, WORKER_FD_WORKER_AREA = 4, WORKER_FD_BELLS = 5 /* 5, 6, 7 */, WORKER_FD_CONFIG = 8 };
/* WORKER_FD_CONFIG: a pipe holding one WorkerConfig, read to the end and closed. */
typedef struct WorkerConfig {
    uint32_t magic; /* WORKER_CONFIG_MAGIC */
    uint32_t ring_bytes[5];
    uint32_t uid, gid;          /* to become; 0: stay (only when not root) */
    uint32_t allow_unsandboxed; /* the operator's override */
    uint32_t parent_pid;
    uint64_t data_bytes_max;                                  /* RLIMIT_DATA, 0: none */
    uint64_t call_bytes_max;                                  /* scratch memory of a call */
    uint64_t database_bytes_max, txn_bytes_max, txn_rows_max; /* EngineLimits; 0: none */
    uint32_t procedures_max;                                  /* at once */
    uint32_t call_ms_max;                                     /* how long a call may take; for its text */
    uint32_t view_ms_max;                                     /* how long a view may take, 0: any */
    uint32_t procedure_ms_max;                                /* processor time between two requests to the executor, 0: any */
    char module_dir[256];                                     /* the only directory the worker may read; absolute */
} WorkerConfig;
#define WORKER_CANCEL_SIGNAL SIGUSR1 /* RingCursors.cancel_since_ns is set */
enum { WORKER_CONFIG_MAGIC = 0x53545743 };
/* Exit codes of the worker before it serves: */
enum { WORKER_EXIT_USAGE = 64, WORKER_EXIT_SANDBOX = 65, WORKER_EXIT_PROTOCOL = 66 };

#endif
