/* layout.c - a schema as PostgreSQL has it: physical names, columns, keys, and the statements that the materialiser
 * and the loader use. Pure: everything follows from the SchemaImage and the schema's name. */
#include "host/storage/storage_int.h"

#include <zlib.h>

Str physical_name(Arena *a, Str name, bool is_column)
{
    static const char *const reserved[] = {"xmin", "xmax", "cmin", "cmax", "ctid", "tableoid", "st_row"};
    bool map = name.len > PG_NAME_BYTES_MAX || (!is_column && name.len >= 3 && !memcmp(name.ptr, "st_", 3)) ||
               (!is_column && name.len >= 3 && !memcmp(name.ptr, "pg_", 3));
    for (size_t i = 0; is_column && i < COUNT_OF(reserved); i++)
        map |= str_is(name, reserved[i]);
    if (!map)
        return arena_str(a, name);
    bool lead = !is_column && name.len >= 3 && (!memcmp(name.ptr, "st_", 3) || !memcmp(name.ptr, "pg_", 3));
    size_t keep = MIN(name.len, (size_t)PG_NAME_BYTES_MAX - 9 - lead);
    while (keep && keep < name.len && ((uint8_t)name.ptr[keep] & 0xc0) == 0x80)
        keep--; /* not inside a character */
    uint32_t hash = (uint32_t)crc32(0, (const Bytef *)name.ptr, (uInt)name.len);
    return str_of(arena_sprintf(a, "%s%.*s_%08x", lead ? "x" : "", (int)keep, name.ptr, hash));
}

static bool same_cols(uint16_t n, const uint16_t *x, uint16_t m, const uint16_t *y) { return n == m && !memcmp(x, y, n * sizeof *x); }

uint32_t layout_indexes(Arena *a, const TableDef *t, PhysIndex **ret)
{
    PhysIndex *list = ARENA_ARRAY(a, PhysIndex, t->nindexes + t->nconstraints + 1);
    uint32_t n = 0;
    for (uint16_t i = 0; i < t->nconstraints; i++) {
        const ConstraintDef *c = &t->constraints[i];
        if (t->pk >= 0 && c->ncols == 1 && c->cols[0] == t->pk)
            continue; /* the primary key */
        list[n++] = (PhysIndex){physical_name(a, c->name, false), true, c->ncols, c->cols};
    }
    for (uint16_t i = 0; i < t->nindexes; i++) {
        const IndexDef *x = &t->indexes[i];
        bool covered = t->pk >= 0 && x->ncols == 1 && x->cols[0] == t->pk;
        for (uint16_t k = 0; k < t->nconstraints; k++)
            covered |= same_cols(x->ncols, x->cols, t->constraints[k].ncols, t->constraints[k].cols);
        if (!covered)
            list[n++] = (PhysIndex){physical_name(a, x->name, false), false, x->ncols, x->cols};
    }
    *ret = list;
    return n;
}

/* "numeric(20,0)[]" -> "numeric": what parameters are declared as. */
static void put_base_type(Buf *out, const PgType *p) { buf_put(out, p->sql, strcspn(p->sql, "([")); }

static void put_unnest(Buf *out, const PgType *p, uint32_t param)
{
    if (p->kind == PG_ARRAY) {
        buf_printf(out, "(unnest($%u::spacetime.%s[])).v", param, p->wrap);
    } else {
        buf_printf(out, "unnest($%u::", param);
        put_base_type(out, p);
        buf_put_text(out, "[])");
    }
}

static void put_unnest_all(Buf *out, const TableLayout *t)
{
    for (uint16_t i = 0; i < t->ncols; i++) {
        buf_put_text(out, i ? ", " : "");
        put_unnest(out, t->types[i], i + 1u);
        buf_printf(out, " AS c%u", i);
    }
}

static void put_column_list(Buf *out, const TableLayout *t)
{
    for (uint16_t i = 0; i < t->ncols; i++)
        buf_printf(out, "%s%s", i ? ", " : "", t->columns[i]);
}

/* Large values are kept when equal, so that PostgreSQL does not write them again out of line. */
static bool keep_when_equal(const PgType *p)
{
    return p->kind == PG_TEXT || p->kind == PG_BYTEA || p->kind == PG_JSONB ||
           (p->kind == PG_ARRAY && p->elem->kind != PG_FLOAT4 && p->elem->kind != PG_FLOAT8); /* -0 = 0 is not the same to us */
}

static const char *take_text(Arena *a, Buf *b)
{
    const char *text = arena_str(a, buf_str(b)).ptr;
    buf_reset(b);
    return text;
}

static void build_statements(Arena *a, TableLayout *t)
{
    OWN(buf) Buf b = {0};
    const char *key = t->columns[t->key];
    buf_printf(&b, "DELETE FROM %s AS t WHERE t.%s = ANY ($1::", t->qname, key);
    put_base_type(&b, t->types[t->key]);
    buf_put_text(&b, "[])");
    t->sql_delete = take_text(a, &b);
    if (t->ncols > 1) {
        buf_printf(&b, "UPDATE %s AS t SET ", t->qname);
        const char *comma = "";
        for (uint16_t i = 0; i < t->ncols; i++) {
            if (i == t->key)
                continue;
            if (keep_when_equal(t->types[i]))
                buf_printf(&b, "%s%s = CASE WHEN t.%s IS NOT DISTINCT FROM u.c%u THEN t.%s ELSE u.c%u END", comma, t->columns[i],
                           t->columns[i], i, t->columns[i], i);
            else
                buf_printf(&b, "%s%s = u.c%u", comma, t->columns[i], i);
            comma = ", ";
        }
        buf_put_text(&b, " FROM (SELECT ");
        put_unnest_all(&b, t);
        buf_printf(&b, ") u WHERE t.%s = u.c%u", key, t->key);
        t->sql_update = take_text(a, &b);
    }
    buf_printf(&b, "INSERT INTO %s (", t->qname);
    put_column_list(&b, t);
    buf_put_text(&b, ") SELECT ");
    put_unnest_all(&b, t);
    t->sql_insert = take_text(a, &b);
    if (t->nuniques) {
        buf_printf(&b, "INSERT INTO %s (", t->qname);
        put_column_list(&b, t);
        buf_put_text(&b, ") SELECT u.* FROM (SELECT ");
        put_unnest_all(&b, t);
        buf_printf(&b, ") u WHERE NOT EXISTS (SELECT 1 FROM %s AS t WHERE t.%s = u.c%u)", t->qname, key, t->key);
        t->sql_insert_missing = take_text(a, &b);
        buf_printf(&b, "DELETE FROM %s AS t USING (SELECT ", t->qname);
        put_unnest(&b, t->types[t->key], 1);
        buf_put_text(&b, " AS k");
        for (uint16_t i = 0; i < t->nuniques; i++) {
            buf_put_text(&b, ", ");
            put_unnest(&b, t->types[t->uniques[i]], i + 2u);
            buf_printf(&b, " AS c%u", t->uniques[i]);
        }
        buf_printf(&b, ") u WHERE t.%s = u.k AND (", key);
        for (uint16_t i = 0; i < t->nuniques; i++)
            buf_printf(&b, "%st.%s IS DISTINCT FROM u.c%u", i ? " OR " : "", t->columns[t->uniques[i]], t->uniques[i]);
        buf_put_text(&b, ")");
        t->sql_delete_changed = take_text(a, &b);
    }
    buf_printf(&b, "COPY %s (", t->qname);
    put_column_list(&b, t);
    buf_put_text(&b, ") TO STDOUT (FORMAT binary)");
    t->sql_copy = take_text(a, &b);
    t->room_left = ARENA_NEW(a, _Atomic bool);
}

static void build_table(DbLayout *l, TableLayout *t, const TableDef *def, uint32_t id)
{
    Arena *a = &l->arena;
    t->def = def;
    t->id = id;
    t->keyless = def->pk < 0;
    t->name = physical_name(a, def->name, false);
    t->ncols = (uint16_t)(def->ncols + t->keyless);
    t->key = t->keyless ? 0 : (uint16_t)def->pk;
    OWN(buf) Buf b = {0};
    buf_printf(&b, "%s.", l->qschema);
    put_ident(&b, t->name);
    t->qname = take_text(a, &b);
    const PgType **types = ARENA_ARRAY(a, const PgType *, t->ncols);
    const char **columns = ARENA_ARRAY(a, const char *, t->ncols);
    bool *indexed = ARENA_ARRAY(a, bool, def->ncols + 1);
    bool *unique = ARENA_ARRAY(a, bool, def->ncols + 1);
    if (t->keyless) {
        types[0] = pgtype_of(a, type_scalar(TYPE_I64));
        columns[0] = "\"st_row\"";
    }
    t->key_offset = 0;
    for (uint16_t i = 0; i < def->ncols; i++) {
        uint16_t at = (uint16_t)(i + t->keyless);
        types[at] = pgtype_of(a, def->cols[i].type);
        put_ident(&b, physical_name(a, def->cols[i].name, true));
        columns[at] = take_text(a, &b);
        t->needs_check |= pgtype_needs_check(def->cols[i].type);
        if (i < def->pk && t->key_offset >= 0)
            t->key_offset = def->cols[i].type->bsatn_size < 0 ? -1 : t->key_offset + def->cols[i].type->bsatn_size;
    }
    PhysIndex *indexes;
    uint32_t nindexes = layout_indexes(a, def, &indexes);
    if (def->pk >= 0)
        indexed[def->pk] = true;
    for (uint32_t i = 0; i < nindexes; i++)
        for (uint16_t k = 0; k < indexes[i].ncols; k++) {
            indexed[indexes[i].cols[k]] = true;
            unique[indexes[i].cols[k]] |= indexes[i].constraint;
        }
    uint16_t *uniques = ARENA_ARRAY(a, uint16_t, def->ncols + 1);
    for (uint16_t i = 0; i < def->ncols; i++) {
        t->needs_check |= indexed[i] && def->cols[i].type->bsatn_size < 0;
        if (unique[i] && i != def->pk)
            uniques[t->nuniques++] = (uint16_t)(i + t->keyless);
    }
    t->types = types;
    t->columns = columns;
    t->uniques = uniques;
    t->indexed = indexed;
    build_statements(a, t);
}

static int by_id(const void *x, const void *y)
{
    uint32_t a = ((const TableLayout *)x)->id, b = ((const TableLayout *)y)->id;
    return (a > b) - (a < b);
}

DbLayout *layout_new(const SchemaImage *image, const char *schema)
{
    DbLayout *l = NEW(DbLayout);
    Arena *a = &l->arena;
    atomic_init(&l->refs, 1);
    l->schema = arena_str(a, str_of(schema)).ptr;
    OWN(buf) Buf b = {0};
    put_ident(&b, str_of(schema));
    l->qschema = take_text(a, &b);
    l->image = (SchemaImage){.def = module_def_ref(image->def), .version = image->version};
    uint32_t n = image->def->ntables;
    l->image.ids = arena_copy(a, image->ids, n * sizeof *image->ids);
    l->tables = ARENA_ARRAY(a, TableLayout, n + 1);
    for (uint32_t i = 0; i < n; i++)
        if (!image->def->tables[i].is_event)
            build_table(l, &l->tables[l->ntables++], &image->def->tables[i], image->ids[i]);
    qsort(l->tables, l->ntables, sizeof *l->tables, by_id);
    return l;
}

DbLayout *layout_ref(DbLayout *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void layout_unref(DbLayout *l)
{
    if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    module_def_unref(l->image.def);
    Arena a = l->arena;
    free(l);
    arena_done(&a);
}

const TableLayout *layout_table(const DbLayout *l, uint32_t table_id)
{
    uint32_t low = 0, high = l->ntables;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (l->tables[mid].id < table_id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < l->ntables && l->tables[low].id == table_id ? &l->tables[low] : NULL;
}

Status layout_row_storable(const TableLayout *t, Bytes row, Error *err)
{
    Reader r = reader_of(row);
    if (t->keyless && read_u64(&r) > INT64_MAX)
        return FAIL(err, S_INVALID, "table %.*s: row number past 2^63", STR_FMT(t->def->name));
    for (uint16_t i = 0; i < t->def->ncols; i++) {
        const ColumnDef *c = &t->def->cols[i];
        const uint8_t *from = r.ptr;
        if (pgtype_storable(c->type, &r, err) != S_OK)
            return CONTEXT(err, "table %.*s, column %.*s", STR_FMT(t->def->name), STR_FMT(c->name));
        if (t->indexed[i] && r.ptr - from > PG_INDEXED_BYTES_MAX)
            return FAIL(err, S_INVALID, "table %.*s, column %.*s: a value of %zu bytes is indexed; the limit is %d bytes",
                        STR_FMT(t->def->name), STR_FMT(c->name), (size_t)(r.ptr - from), PG_INDEXED_BYTES_MAX);
    }
    return S_OK;
}
