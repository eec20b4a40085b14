/* migration.c - migrations as bytes: written by the worker that loaded the module, read by the host that trusts none of them. */
#include "host/schema/migration.h"

#include "host/schema/type_read.h"

static const struct OpForm {
    const char *name;
    bool table, a, b, type;
} op_forms[MIGRATE_KIND_COUNT] = {
    [MIGRATE_RENAME_TABLE] = {"RENAME_TABLE", true, true, false, false},
    [MIGRATE_RENAME_COLUMN] = {"RENAME_COLUMN", true, true, true, false},
    [MIGRATE_DROP_TABLE] = {"DROP_TABLE", true, false, false, false},
    [MIGRATE_DROP_COLUMN] = {"DROP_COLUMN", true, true, false, false},
    [MIGRATE_CONVERT_COLUMN] = {"CONVERT_COLUMN", true, true, false, true},
    [MIGRATE_ADD_UNIQUE] = {"ADD_UNIQUE", true, true, false, false},
    [MIGRATE_ADD_PRIMARY_KEY] = {"ADD_PRIMARY_KEY", true, true, false, false},
    [MIGRATE_REPLACE_ROWS] = {"REPLACE_ROWS", true, false, false, false},
    [MIGRATE_RUN] = {"RUN", false, true, false, false},
};

const char *migration_op_name(MigrationOpKind kind) { return kind > 0 && kind < MIGRATE_KIND_COUNT ? op_forms[kind].name : "?"; }

static Status read_name(Reader *r, Str *ret, bool wanted, const char *what, uint32_t version, uint32_t position, Arena *a, Error *err)
{
    Str s = read_str(r);
    if (r->bad)
        return FAIL(err, S_INVALID, "migration %u, operation %u is cut short", version, position + 1);
    if (wanted != (s.len > 0) || s.len > 255 || !utf8_valid(s))
        return FAIL(err, S_INVALID, "migration %u, operation %u: %s is %s", version, position + 1, what,
                    wanted != (s.len > 0) ? wanted ? "missing" : "there, and means nothing"
                    : s.len > 255         ? "longer than 255 bytes"
                                          : "not UTF-8");
    *ret = arena_str(a, s);
    return S_OK;
}

static Status read_op(Reader *r, MigrationOp *op, uint32_t version, uint32_t position, Arena *a, Error *err)
{
    uint8_t kind = read_u8(r);
    if (r->bad || kind == 0 || kind >= MIGRATE_KIND_COUNT)
        return FAIL(err, S_INVALID, "migration %u, operation %u is of a kind (%u) that this host does not know", version, position + 1,
                    kind);
    const struct OpForm *form = &op_forms[kind];
    *op = (MigrationOp){.kind = kind, .version = version, .position = position};
    TRY(read_name(r, &op->table, form->table, "the table", version, position, a, err));
    TRY(read_name(r, &op->a, form->a, "the name", version, position, a, err));
    TRY(read_name(r, &op->b, form->b, "the new name", version, position, a, err));
    Bytes type = read_blob(r);
    if (r->bad || form->type != (type.len > 0))
        return FAIL(err, S_INVALID, "migration %u, operation %u: its type is missing or means nothing", version, position + 1);
    Reader in = reader_of(type);
    if (form->type && type_from_bsatn(&op->type, &in, a, err) != S_OK)
        return CONTEXT(err, "migration %u, operation %u", version, position + 1);
    if (reader_left(&in))
        return FAIL(err, S_INVALID, "migration %u, operation %u: %zu bytes follow its type", version, position + 1, reader_left(&in));
    return S_OK;
}

static Status read_list(Migrations *m, Bytes bytes, Error *err)
{
    Reader r = reader_of(bytes);
    Arena *a = &m->arena;
    m->n = read_u32(&r);
    if (r.bad || m->n > MIGRATIONS_MAX)
        return FAIL(err, S_INVALID, "a module has at most %d migrations", MIGRATIONS_MAX);
    Migration *list = ARENA_ARRAY(a, Migration, m->n + 1);
    m->list = list;
    for (uint32_t i = 0; i < m->n; i++) {
        Migration *g = &list[i];
        g->version = read_u32(&r);
        Str title = read_str(&r);
        g->nops = read_u32(&r);
        if (r.bad)
            return FAIL(err, S_INVALID, "the list of migrations is cut short");
        if (g->version == 0 || (i && g->version <= list[i - 1].version))
            return FAIL(err, S_INVALID, "migration %u: numbers begin at 1 and are used once", g->version);
        if (title.len > MIGRATION_TITLE_BYTES_MAX || !utf8_valid(title))
            return FAIL(err, S_INVALID, "migration %u: its title must be UTF-8 of at most %d bytes", g->version, MIGRATION_TITLE_BYTES_MAX);
        if (g->nops > MIGRATION_OPS_MAX)
            return FAIL(err, S_INVALID, "migration %u has %u operations, at most %d are possible", g->version, g->nops, MIGRATION_OPS_MAX);
        g->title = arena_str(a, title);
        MigrationOp *ops = ARENA_ARRAY(a, MigrationOp, g->nops + 1);
        g->ops = ops;
        for (uint32_t k = 0; k < g->nops; k++) {
            TRY(read_op(&r, &ops[k], g->version, k, a, err));
            ops[k].title = g->title;
        }
    }
    if (reader_left(&r))
        return FAIL(err, S_INVALID, "%zu bytes follow the list of migrations", reader_left(&r));
    return S_OK;
}

Status migrations_read(Migrations *ret, Bytes bytes, Error *err)
{
    Migrations m = {0};
    if (bytes.len > MIGRATIONS_BYTES_MAX)
        return FAIL(err, S_INVALID, "the list of migrations has %zu bytes, at most %d are possible", bytes.len, MIGRATIONS_BYTES_MAX);
    Status status = read_list(&m, bytes, err);
    if (status != S_OK) {
        arena_done(&m.arena);
        return status;
    }
    *ret = m;
    return S_OK;
}

void migrations_write(Buf *out, const Migrations *m)
{
    buf_put_u32(out, m->n);
    for (uint32_t i = 0; i < m->n; i++) {
        const Migration *g = &m->list[i];
        buf_put_u32(out, g->version);
        buf_put_str(out, g->title);
        buf_put_u32(out, g->nops);
        for (uint32_t k = 0; k < g->nops; k++) {
            const MigrationOp *op = &g->ops[k];
            OWN(buf) Buf type = {0};
            if (op->type)
                type_to_bsatn(&type, op->type, false);
            buf_put_u8(out, (uint8_t)op->kind);
            buf_put_str(out, op->table);
            buf_put_str(out, op->a);
            buf_put_str(out, op->b);
            buf_put_blob(out, buf_bytes(&type));
        }
    }
}

void migrations_done(Migrations *m)
{
    arena_done(&m->arena);
    *m = (Migrations){0};
}

uint32_t migrations_last(const Migrations *m) { return m->n ? m->list[m->n - 1].version : 0; }

Migrations migrations_pending(const Migrations *m, uint32_t applied)
{
    uint32_t from = 0;
    while (from < m->n && m->list[from].version <= applied)
        from++;
    return (Migrations){.n = m->n - from, .list = m->list + from};
}
