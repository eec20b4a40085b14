/* publish_int.h - shared by the files that publish: publish.c (requests, first publish, reset), publish_update.c (a new version of a database
 * that runs), publish_report.c (what people and programs are told). Nobody else includes it. */
#ifndef HOST_PUBLISH_INT_H
#define HOST_PUBLISH_INT_H

#include "host/host.h"

enum {
    DESCRIBE_TIMEOUT_MS = 15000,
    PREPARE_TIMEOUT_MS = 600000,
    SETTLE_TIMEOUT_MS = 60000,
};

typedef struct Publishing {
    Host *host;
    NetRequest *req;
    Database *db;
    bool preview, dry_run, is_new, clear, break_clients;
    char name[72]; /* from the path, empty: by identity or unnamed */
    uint8_t caller[32], identity[32];
    Bytes program; /* the request's body */
    uint8_t program_hash[32];
    char token[80];
    /* found in the catalog */
    uint64_t id;
    uint8_t owner[32];
    char first_name[72], schema[72];
    uint32_t applied; /* the highest migration that has run */
    /* what the module declares */
    ModuleDef *def;
    Migrations migrations;
    Migrations pending; /* a view of `migrations` */
    Plan plan;          /* from the version in force; updates and previews */
    /* built on the way */
    SchemaImage image;
    uint32_t *since;
    Link *link; /* a new worker (first publish, reset) */
    Buf first_record;
    uint64_t new_id;
    uint64_t executed_us; /* dry run: how long the PostgreSQL transaction took */
    bool committed, swapped;
    /* the answer */
    int status;
    bool json;
    Buf body;
    Error err;
} Publishing;

/* publish.c */
void publish_answer(Publishing *p, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Which ids the tables of the new version have: those of the tables that they go on from, else fresh ones. `old` NULL: all fresh. */
MUST_CHECK Status publish_image(Publishing *p, const SchemaImage *old, Error *err);
/* The PostgreSQL transaction that makes the new version the stored one, or (dry run) would. When the outcome of its COMMIT is unknown,
 * neither version may run before the catalog has told which one is stored (rule 37): asked until it answers. */
MUST_CHECK Status publish_store(Publishing *p, const Publish *parts, Error *err);
void publish_take_image(Database *db, Publishing *p);
/* A test rig's armed point of the worker's goes there (base/fault.h). */
void publish_arm(Link *link);

/* publish_update.c [job thread] */
MUST_CHECK Status publish_update(Publishing *p, Error *err);

/* publish_report.c */
void report_preview(Publishing *p); /* the answer to pre_publish [job thread] */
void migration_token(char out[80], const uint8_t identity[32], const uint8_t old_hash[32], const uint8_t new_hash[32]);

#endif
