/* engine_fixture.h - what the engine's unit tests share: a module from a builder, an engine over it, checks. */
#ifndef ENGINE_FIXTURE_H
#define ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "host/engine/engine.h"

#define OK(call)                                                                                                                           \
    do {                                                                                                                                   \
        Error ok_err_ = {0};                                                                                                               \
        Error *err = &ok_err_;                                                                                                             \
        (void)err;                                                                                                                         \
        Status ok_status_ = (call);                                                                                                        \
        if (ok_status_ != S_OK)                                                                                                            \
            fail_msg("%s:%d: %s: %s: %s", __FILE__, __LINE__, #call, status_name(ok_status_), ok_err_.text);                               \
    } while (0)
/* The call fails with this status, and its text holds `part`. */
#define FAILS(status, part, call)                                                                                                          \
    do {                                                                                                                                   \
        Error ok_err_ = {0};                                                                                                               \
        Error *err = &ok_err_;                                                                                                             \
        (void)err;                                                                                                                         \
        Status ok_status_ = (call);                                                                                                        \
        if (ok_status_ != (status) || !strstr(ok_err_.text, (part)))                                                                       \
            fail_msg("%s:%d: %s: %s, not %s: %s", __FILE__, __LINE__, #call, status_name(ok_status_), #status, ok_err_.text);              \
    } while (0)

static inline ModuleDef *finish_module(ModuleBuilder *b)
{
    OWN(buf) Buf bsatn = {0};
    ModuleDef *def = NULL;
    OK(module_builder_finish(b, &bsatn, err));
    OK(module_def_from_bsatn(&def, buf_bytes(&bsatn), err));
    return def;
}

/* Table ids: 4096 + position in a fixed order of names, so that they stay the same across schemas. */
static inline SchemaImage image_of(ModuleDef *def, uint32_t version, uint32_t *ids)
{
    for (uint32_t i = 0; i < def->ntables; i++) {
        uint32_t h = 7;
        for (size_t c = 0; c < def->tables[i].name.len; c++)
            h = h * 31 + (uint8_t)def->tables[i].name.ptr[c];
        ids[i] = 4096 + h % 1000003;
    }
    return (SchemaImage){def, version, ids};
}

static inline Engine *engine_with(ModuleDef *def, const EngineLimits *limits)
{
    uint32_t ids[64];
    Engine *e = engine_new(limits);
    SchemaImage image = image_of(def, 1, ids);
    engine_set_schema(e, &image);
    return e;
}

static inline Table *table_named(Engine *e, const char *name)
{
    Table *t = engine_table_by_name(e, str_of(name));
    assert_non_null(t);
    return t;
}

/* The record of the open transaction. */
static inline void write_record(Engine *e, Buf *out)
{
    buf_reset(out);
    CommitHeader h = {.offset = 1, .schema_version = engine_schema(e)->version};
    size_t at = commit_begin(out);
    txn_write_sequences(e, out, &h.nsequences);
    txn_write_tables(e, out, &h.ntables);
    commit_end(out, at, &h);
    assert_true(buf_ok(out));
}

static inline void check_engine(Engine *e) { OK(engine_check(e, err)); }

#endif
