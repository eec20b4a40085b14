/* plan_print.c - a plan for people (schema-and-migration.md 4.7: layout and signs) and for programs. */
#include "host/schema/diff.h"

/* ---- colours ---- */

typedef struct Pen {
    Buf *out;
    bool colour;
} Pen;
#define GREEN "\033[1;32m"
#define RED "\033[1;31m"
#define YELLOW "\033[1;33m"
#define CYAN "\033[1;36m"
#define BLUE "\033[1;34m"
#define MAGENTA "\033[35m"
#define PLAIN_GREEN "\033[32m"
#define BOLD "\033[1m"
#define WARNING "\033[1;41m"

static void put_in(Pen *p, const char *colour, Str text)
{
    buf_put_text(p->out, p->colour ? colour : "");
    buf_put_str_raw(p->out, text);
    buf_put_text(p->out, p->colour ? "\033[0m" : "");
}
static void put_text_in(Pen *p, const char *colour, const char *text) { put_in(p, colour, str_of(text)); }

static void begin_step(Pen *p, const char *colour, const char *verb)
{
    buf_put_text(p->out, "\xe2\x96\xb8 "); /* U+25B8 */
    put_text_in(p, colour, verb);
    buf_put_text(p->out, " ");
}
static void begin_item(Pen *p) { buf_put_text(p->out, "        \xe2\x80\xa2 "); } /* U+2022 */
static void begin_section(Pen *p, const char *name)
{
    buf_put_text(p->out, "    ");
    put_text_in(p, BLUE, name);
    buf_put_text(p->out, ":\n");
}
static void put_table(Pen *p, const TableDef *t) { put_in(p, CYAN, t->name); }
static void end_line(Pen *p) { buf_put_text(p->out, "\n"); }

/* ---- types and values, in the sheet's notation ---- */

static void put_type(Buf *out, const Type *t);

static void put_fields(Buf *out, const Type *t, const char *separator)
{
    buf_put_text(out, "(");
    for (uint32_t i = 0; i < t->nfields; i++) {
        buf_printf(out, "%s%.*s: ", i ? separator : "", STR_FMT(t->fields[i].name));
        put_type(out, t->fields[i].type);
    }
    buf_put_text(out, ")");
}

static void put_type(Buf *out, const Type *t)
{
    static const char *const names[] = {
        [TYPE_BOOL] = "Bool",
        [TYPE_I8] = "I8",
        [TYPE_U8] = "U8",
        [TYPE_I16] = "I16",
        [TYPE_U16] = "U16",
        [TYPE_I32] = "I32",
        [TYPE_U32] = "U32",
        [TYPE_I64] = "I64",
        [TYPE_U64] = "U64",
        [TYPE_I128] = "I128",
        [TYPE_U128] = "U128",
        [TYPE_I256] = "I256",
        [TYPE_U256] = "U256",
        [TYPE_F32] = "F32",
        [TYPE_F64] = "F64",
        [TYPE_STRING] = "String",
        [TYPE_BYTES] = "Array<U8>",
        [TYPE_IDENTITY] = "Identity",
        [TYPE_CONNECTION_ID] = "ConnectionId",
        [TYPE_TIMESTAMP] = "Timestamp",
        [TYPE_DURATION] = "TimeDuration",
        [TYPE_UUID] = "Uuid",
        [TYPE_SCHEDULE_AT] = "ScheduleAt",
    };
    if (t->name.len) {
        buf_put_str_raw(out, t->name);
        return;
    }
    switch (t->kind) {
    case TYPE_ARRAY:
    case TYPE_OPTION:
        buf_put_text(out, t->kind == TYPE_ARRAY ? "Array<" : "Option<");
        put_type(out, t->elem);
        buf_put_text(out, ">");
        return;
    case TYPE_RESULT:
        buf_put_text(out, "Result<");
        put_type(out, t->fields[0].type);
        buf_put_text(out, ", ");
        put_type(out, t->fields[1].type);
        buf_put_text(out, ">");
        return;
    case TYPE_PRODUCT: put_fields(out, t, ", "); return;
    case TYPE_SUM:
    case TYPE_ENUM: put_fields(out, t, " | "); return;
    default: buf_put_text(out, names[t->kind]);
    }
}

static void put_typed(Pen *p, const ColumnDef *c)
{
    OWN(buf) Buf type = {0};
    put_type(&type, c->type);
    buf_printf(p->out, "%.*s: ", STR_FMT(c->name));
    put_in(p, MAGENTA, buf_str(&type));
}

static void put_columns(Buf *out, const TableDef *t, uint16_t n, const uint16_t *cols)
{
    for (uint16_t i = 0; i < n; i++)
        buf_printf(out, "%s%.*s", i ? ", " : "[", STR_FMT(t->cols[cols[i]].name));
    buf_put_text(out, "]");
}

/* A default of a simple type as its value, else its BSATN in hexadecimal. */
static void put_default(Buf *out, const ColumnDef *c)
{
    OWN(arena) Arena a = {0};
    Reader r = reader_of(c->default_bsatn);
    Error ignored;
    void *v = arena_alloc(&a, MAX(c->type->size, 1));
    if (value_decode(&r, c->type, v, &a, &ignored) != S_OK)
        return; /* the definition was validated */
    value_print(out, c->type, v);
}

/* ---- steps ---- */

/* A step's tables; those that its kind does not have are empty. */
static const TableDef *old_of(const Step *s)
{
    static const TableDef none;
    return s->old_table ? s->old_table : &none;
}
static const TableDef *new_of(const Step *s)
{
    static const TableDef none;
    return s->new_table ? s->new_table : &none;
}

static void put_named_list(Pen *p, const TableDef *t, Str name, uint16_t n, const uint16_t *cols)
{
    begin_item(p);
    buf_printf(p->out, "%.*s on ", STR_FMT(name));
    put_columns(p->out, t, n, cols);
    end_line(p);
}

static void put_added_table(Pen *p, const TableDef *t)
{
    begin_step(p, GREEN, "created");
    buf_put_text(p->out, t->is_event ? "event table: " : "user table: ");
    put_table(p, t);
    buf_put_text(p->out, " (");
    put_text_in(p, PLAIN_GREEN, t->access == ACCESS_PUBLIC ? "public" : "private");
    buf_put_text(p->out, ")\n");
    if (t->ncols)
        begin_section(p, "Columns");
    for (uint16_t i = 0; i < t->ncols; i++) {
        begin_item(p);
        put_typed(p, &t->cols[i]);
        end_line(p);
    }
    if (t->nconstraints)
        begin_section(p, "Unique constraints");
    for (uint16_t i = 0; i < t->nconstraints; i++)
        put_named_list(p, t, t->constraints[i].name, t->constraints[i].ncols, t->constraints[i].cols);
    if (t->nindexes)
        begin_section(p, "Indexes");
    for (uint16_t i = 0; i < t->nindexes; i++)
        put_named_list(p, t, t->indexes[i].name, t->indexes[i].ncols, t->indexes[i].cols);
    if (t->nsequences)
        begin_section(p, "Auto-increment");
    for (uint16_t i = 0; i < t->nsequences; i++) {
        begin_item(p);
        buf_printf(p->out, "%.*s on %.*s\n", STR_FMT(t->sequences[i].name), STR_FMT(t->cols[t->sequences[i].col].name));
    }
    if (t->schedule) {
        begin_section(p, "Schedule");
        begin_item(p);
        buf_printf(p->out, "calls: %.*s\n", STR_FMT(t->schedule->function));
    }
    end_line(p);
}

/* "created index NAME [a, b] of table T" */
static void put_part(Pen *p, const char *colour, const char *verb, const char *what, Str name, const TableDef *t, uint16_t n,
                     const uint16_t *cols)
{
    begin_step(p, colour, verb);
    buf_printf(p->out, "%s %.*s ", what, STR_FMT(name));
    put_columns(p->out, t, n, cols);
    buf_put_text(p->out, " of table ");
    put_table(p, t);
    end_line(p);
}

static void put_changed(Pen *p, const TableDef *t, const char *what)
{
    begin_step(p, YELLOW, "changed");
    buf_printf(p->out, "%s of table ", what);
    put_table(p, t);
}

static void put_new_columns(Pen *p, const Step *s)
{
    put_changed(p, new_of(s), "columns");
    end_line(p);
    for (uint32_t i = s->first; i < s->first + s->count; i++) {
        const ColumnDef *c = &new_of(s)->cols[i];
        buf_put_text(p->out, "    ");
        put_text_in(p, GREEN, "+");
        buf_put_text(p->out, " ");
        put_typed(p, c);
        buf_put_text(p->out, " (default: ");
        put_default(p->out, c);
        buf_put_text(p->out, ")\n");
    }
}

static void put_type_change(Pen *p, const ColumnDef *was, const ColumnDef *is)
{
    OWN(buf) Buf a = {0};
    OWN(buf) Buf b = {0};
    Type x = *was->type, y = *is->type; /* written out: a name would hide the difference */
    x.name = y.name = (Str){0};
    put_type(&a, &x);
    put_type(&b, &y);
    buf_put_text(p->out, "    ");
    put_text_in(p, YELLOW, "~");
    buf_printf(p->out, " %.*s (", STR_FMT(is->name));
    put_in(p, MAGENTA, buf_str(&a));
    buf_put_text(p->out, " \xe2\x86\x92 "); /* U+2192 */
    put_in(p, MAGENTA, buf_str(&b));
    buf_put_text(p->out, ")\n");
}

static void put_changed_columns(Pen *p, const Step *s)
{
    put_changed(p, new_of(s), "columns");
    end_line(p);
    for (uint16_t i = 0; i < old_of(s)->ncols && i < new_of(s)->ncols; i++)
        if (!type_equal(old_of(s)->cols[i].type, new_of(s)->cols[i].type))
            put_type_change(p, &old_of(s)->cols[i], &new_of(s)->cols[i]);
}

static void put_key_change(Pen *p, const Step *s)
{
    put_changed(p, new_of(s), "primary key");
    if (new_of(s)->pk < 0)
        buf_put_text(p->out, ": removed\n");
    else
        buf_printf(p->out, ": %s column %.*s\n", old_of(s)->pk < 0 ? "added on" : "changed to",
                   STR_FMT(new_of(s)->cols[new_of(s)->pk].name));
}

static void put_access(Pen *p, const Step *s)
{
    static const char *const words[] = {"public", "private"};
    if (!s->new_table) {
        begin_step(p, YELLOW, "changed");
        buf_printf(p->out, "access of view %.*s\n", STR_FMT(s->name));
        return;
    }
    put_changed(p, new_of(s), "access");
    buf_put_text(p->out, " (");
    put_text_in(p, PLAIN_GREEN, words[old_of(s)->access]);
    buf_put_text(p->out, " \xe2\x86\x92 ");
    put_text_in(p, PLAIN_GREEN, words[new_of(s)->access]);
    buf_put_text(p->out, ")\n");
}

static void put_simple(Pen *p, const char *colour, const char *verb, const char *what, Str name)
{
    begin_step(p, colour, verb);
    buf_printf(p->out, "%s %.*s\n", what, STR_FMT(name));
}

static void put_step(Pen *p, const Step *s)
{
    const TableDef *old = old_of(s), *new = new_of(s);
    switch (s->kind) {
    case STEP_REMOVE_INDEX:
        put_part(p, RED, "removed", "index", old->indexes[s->first].name, old, old->indexes[s->first].ncols, old->indexes[s->first].cols);
        return;
    case STEP_ADD_INDEX:
        put_part(p, GREEN, "created", "index", new->indexes[s->first].name, new, new->indexes[s->first].ncols, new->indexes[s->first].cols);
        return;
    case STEP_REMOVE_CONSTRAINT:
        put_part(p, RED, "removed", "unique constraint", old->constraints[s->first].name, old, old->constraints[s->first].ncols,
                 old->constraints[s->first].cols);
        return;
    case STEP_ADD_CONSTRAINT:
        put_part(p, GREEN, "created", "unique constraint", new->constraints[s->first].name, new, new->constraints[s->first].ncols,
                 new->constraints[s->first].cols);
        return;
    case STEP_REMOVE_SEQUENCE:
        put_part(p, RED, "removed", "auto-increment", old->sequences[s->first].name, old, 1, &old->sequences[s->first].col);
        return;
    case STEP_ADD_SEQUENCE:
        put_part(p, GREEN, "created", "auto-increment", new->sequences[s->first].name, new, 1, &new->sequences[s->first].col);
        return;
    case STEP_REMOVE_VIEW:
        put_simple(p, RED, "removed", "view:", s->name);
        end_line(p);
        return;
    case STEP_ADD_VIEW:
        put_simple(p, GREEN, "created", "view:", s->name);
        end_line(p);
        return;
    case STEP_REMOVE_RLS:
    case STEP_ADD_RLS:
        begin_step(p, s->kind == STEP_ADD_RLS ? GREEN : RED, s->kind == STEP_ADD_RLS ? "created" : "removed");
        buf_printf(p->out, "row level security rule:\n    `%.*s`\n", STR_FMT(s->name));
        return;
    case STEP_REMOVE_TABLE:
        begin_step(p, RED, "removed");
        buf_put_text(p->out, "table: ");
        put_table(p, old);
        buf_put_text(p->out, "\n\n");
        return;
    case STEP_RENAME_TABLE:
        begin_step(p, YELLOW, "renamed");
        buf_put_text(p->out, "table ");
        put_table(p, old);
        buf_put_text(p->out, " \xe2\x86\x92 ");
        put_table(p, new);
        end_line(p);
        return;
    case STEP_REMOVE_COLUMN:
        begin_step(p, RED, "removed");
        buf_printf(p->out, "column %.*s of table ", STR_FMT(old->cols[s->first].name));
        put_table(p, new);
        end_line(p);
        return;
    case STEP_RENAME_COLUMN:
        begin_step(p, YELLOW, "renamed");
        buf_printf(p->out, "column %.*s \xe2\x86\x92 %.*s of table ", STR_FMT(s->op->a), STR_FMT(s->op->b));
        put_table(p, new);
        end_line(p);
        return;
    case STEP_CONVERT_COLUMN: {
        const ColumnDef was = {.name = new->cols[s->first].name, .type = s->op->type};
        put_changed(p, new, "type of a column");
        end_line(p);
        put_type_change(p, &was, &new->cols[s->first]);
        return;
    }
    case STEP_CHANGE_COLUMNS: put_changed_columns(p, s); return;
    case STEP_RESCHEMA_EVENT_TABLE:
        put_changed(p, new, "columns of the events");
        end_line(p);
        return;
    case STEP_ADD_COLUMNS: put_new_columns(p, s); return;
    case STEP_CHANGE_INDEX_SOURCE:
        put_changed(p, new, "an index's source name");
        buf_printf(p->out, ": %.*s\n", STR_FMT(new->indexes[s->first].name));
        return;
    case STEP_CHANGE_TABLE_ACCESSOR:
        put_changed(p, new, "accessor");
        buf_printf(p->out, ": %.*s \xe2\x86\x92 %.*s\n", STR_FMT(old->source_name), STR_FMT(new->source_name));
        return;
    case STEP_CHANGE_COLUMN_ACCESSOR:
        put_changed(p, new, "a column's accessor");
        buf_printf(p->out, ": %.*s (column %.*s)\n", STR_FMT(new->cols[s->first].source_name), STR_FMT(new->cols[s->first].name));
        return;
    case STEP_ADD_TABLE: put_added_table(p, new); return;
    case STEP_REPLACE_ROWS:
        begin_step(p, YELLOW, "replaced");
        buf_put_text(p->out, "all rows of table ");
        put_table(p, new);
        end_line(p);
        return;
    case STEP_CHANGE_ACCESS: put_access(p, s); return;
    case STEP_CHANGE_PRIMARY_KEY: put_key_change(p, s); return;
    case STEP_RUN_MIGRATION:
        begin_step(p, YELLOW, "run");
        buf_printf(p->out, "migration %u: function %.*s\n", s->op->version, STR_FMT(s->name));
        return;
    case STEP_ADD_FUNCTION:
    case STEP_CHANGE_FUNCTION:
    case STEP_REMOVE_FUNCTION:
        put_simple(p,
                   s->kind == STEP_ADD_FUNCTION      ? GREEN
                   : s->kind == STEP_REMOVE_FUNCTION ? RED
                                                     : YELLOW,
                   s->kind == STEP_ADD_FUNCTION      ? "created"
                   : s->kind == STEP_REMOVE_FUNCTION ? "removed"
                                                     : "changed",
                   s->function_kind, s->name);
        return;
    case STEP_DISCONNECT_ALL:
        put_text_in(p, WARNING, "!!! All connected clients are disconnected: they need bindings of the new version");
        end_line(p);
        return;
    case STEP_UPDATE_VIEW: /* on every publish: not worth a line */
    case STEP_KIND_COUNT: return;
    }
}

/* ---- remarks ---- */

static const char *remark(const Step *s)
{
    switch (s->kind) {
    case STEP_REMOVE_INDEX: return "subscriptions that join over the index are refused afterwards";
    case STEP_ADD_COLUMNS: return "connected clients go on with the columns that they know; others see the new ones";
    case STEP_CHANGE_COLUMNS: return "clients with older bindings cannot read the new variants";
    case STEP_CHANGE_ACCESS: return "subscriptions of clients other than the owner end with an error";
    case STEP_CHANGE_PRIMARY_KEY:
        return "clients with older bindings keep the old primary key in their cache, and may show updates wrongly";
    case STEP_RENAME_COLUMN: return "queries that name the column are refused; bindings need the new name";
    case STEP_CHANGE_FUNCTION: return "clients that call it the old way get an error";
    case STEP_REMOVE_FUNCTION: return "clients that call it get an error";
    default: return NULL;
    }
}

static Str subject(const Step *s)
{
    const TableDef *t = s->new_table ? s->new_table : s->old_table;
    return t ? t->name : s->name;
}

static void put_remarks(Pen *p, const Plan *plan)
{
    bool any = false;
    for (uint32_t i = 0; i < plan->nsteps; i++) {
        const Step *s = &plan->steps[i];
        const char *text = s->class_ == CLASS_MAY_BREAK ? remark(s) : NULL;
        bool said = i && s[-1].kind == s->kind && str_eq(subject(&s[-1]), subject(s)); /* of another part of the same table */
        if (!text || said)
            continue;
        if (!any) {
            end_line(p);
            put_text_in(p, BLUE, "May break clients that have not been updated");
            buf_put_text(p->out, ":\n");
        }
        any = true;
        begin_item(p);
        buf_printf(p->out, "%.*s: %s\n", STR_FMT(subject(s)), text);
    }
}

/* ---- migrations of the author ---- */

/* The next one above `version` that a step comes from; NULL: none. Steps stand in the order of their kinds, not of their migrations. */
static const MigrationOp *next_migration(const Plan *plan, uint32_t version)
{
    const MigrationOp *next = NULL;
    for (uint32_t i = 0; i < plan->nsteps; i++) {
        const MigrationOp *op = plan->steps[i].op;
        if (op && op->version > version && (!next || op->version < next->version))
            next = op;
    }
    return next;
}

static void put_migrations(Pen *p, const Plan *plan)
{
    const MigrationOp *op = next_migration(plan, 0);
    if (!op)
        return;
    put_text_in(p, BLUE, "Migrations that run with it, once");
    buf_put_text(p->out, ":\n");
    for (; op; op = next_migration(plan, op->version)) {
        begin_item(p);
        buf_printf(p->out, "%u: %.*s\n", op->version, STR_FMT(op->title));
    }
    end_line(p);
}

/* ---- for people ---- */

static void put_header(Pen *p, const char *title)
{
    for (int line = 0; line < 2; line++) {
        for (int i = 0; i < 60; i++)
            buf_put_text(p->out, "\xe2\x94\x81"); /* U+2501 */
        end_line(p);
        if (line == 0) {
            put_text_in(p, BOLD, title);
            end_line(p);
        }
    }
    end_line(p);
}

void plan_print(Buf *out, const Plan *plan, bool colour)
{
    Pen p = {out, colour};
    if (plan->forbidden.len) {
        buf_put_str_raw(out, buf_str(&plan->forbidden));
        buf_put_text(out, "\n");
        return;
    }
    put_header(&p, "Migration plan");
    put_migrations(&p, plan);
    for (uint32_t i = 0; i < plan->nsteps; i++)
        put_step(&p, &plan->steps[i]);
    put_remarks(&p, plan);
}

/* ---- for programs ---- */

static void json_text(Buf *out, Str s)
{
    buf_put_text(out, "\"");
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.ptr[i];
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20)
            buf_printf(out, "\\u%04x", c);
        else
            buf_put_u8(out, c);
    }
    buf_put_text(out, "\"");
}

/* The columns that a step is about. */
static void json_columns(Buf *out, const Step *s)
{
    const TableDef *old = old_of(s), *new = new_of(s), *t = new;
    uint16_t n = 0;
    const uint16_t *cols = NULL;
    switch (s->kind) {
    case STEP_REMOVE_INDEX: t = old, n = old->indexes[s->first].ncols, cols = old->indexes[s->first].cols; break;
    case STEP_ADD_INDEX:
    case STEP_CHANGE_INDEX_SOURCE: n = new->indexes[s->first].ncols, cols = new->indexes[s->first].cols; break;
    case STEP_REMOVE_CONSTRAINT: t = old, n = old->constraints[s->first].ncols, cols = old->constraints[s->first].cols; break;
    case STEP_ADD_CONSTRAINT: n = new->constraints[s->first].ncols, cols = new->constraints[s->first].cols; break;
    case STEP_REMOVE_SEQUENCE: t = old, n = 1, cols = &old->sequences[s->first].col; break;
    case STEP_ADD_SEQUENCE: n = 1, cols = &new->sequences[s->first].col; break;
    default: break;
    }
    bool range = s->kind == STEP_ADD_COLUMNS || s->kind == STEP_RENAME_COLUMN || s->kind == STEP_CONVERT_COLUMN ||
                 s->kind == STEP_CHANGE_COLUMN_ACCESSOR;
    buf_put_text(out, "[");
    for (uint16_t i = 0; i < n; i++) {
        buf_put_text(out, i ? "," : "");
        json_text(out, t->cols[cols[i]].name);
    }
    for (uint32_t i = 0; range && i < s->count; i++) {
        buf_put_text(out, i ? "," : "");
        json_text(out, new->cols[s->first + i].name);
    }
    if (s->kind == STEP_REMOVE_COLUMN)
        json_text(out, old->cols[s->first].name);
    if (s->kind == STEP_CHANGE_PRIMARY_KEY && new->pk >= 0)
        json_text(out, new->cols[new->pk].name);
    bool any = false;
    for (uint16_t i = 0; s->kind == STEP_CHANGE_COLUMNS && i < old->ncols && i < new->ncols; i++)
        if (!type_equal(old->cols[i].type, new->cols[i].type)) {
            buf_put_text(out, any ? "," : "");
            json_text(out, new->cols[i].name);
            any = true;
        }
    buf_put_text(out, "]");
}

static Str part_name(const Step *s)
{
    switch (s->kind) {
    case STEP_REMOVE_INDEX: return old_of(s)->indexes[s->first].name;
    case STEP_ADD_INDEX:
    case STEP_CHANGE_INDEX_SOURCE: return new_of(s)->indexes[s->first].name;
    case STEP_REMOVE_CONSTRAINT: return old_of(s)->constraints[s->first].name;
    case STEP_ADD_CONSTRAINT: return new_of(s)->constraints[s->first].name;
    case STEP_REMOVE_SEQUENCE: return old_of(s)->sequences[s->first].name;
    case STEP_ADD_SEQUENCE: return new_of(s)->sequences[s->first].name;
    case STEP_RENAME_TABLE: return old_of(s)->name;
    default: return s->name;
    }
}

/* The step's own lines, without indentation signs. */
static void json_step_text(Buf *out, const Step *s)
{
    OWN(buf) Buf text = {0};
    Pen p = {&text, false};
    put_step(&p, s);
    Str t = buf_str(&text);
    while (t.len && t.ptr[t.len - 1] == '\n')
        t.len--;
    if (t.len >= 4 && memcmp(t.ptr, "\xe2\x96\xb8 ", 4) == 0)
        t = (Str){t.ptr + 4, t.len - 4};
    json_text(out, t);
}

void plan_to_json(Buf *out, const Plan *plan)
{
    static const char *const classes[] = {"safe", "may_break", "breaks"};
    buf_put_text(out, "{\"steps\":[");
    for (uint32_t i = 0; i < plan->nsteps; i++) {
        const Step *s = &plan->steps[i];
        const TableDef *t = s->new_table ? s->new_table : s->old_table;
        buf_printf(out, "%s{\"kind\":\"%s\",\"class\":\"%s\",\"table\":", i ? "," : "", step_kind_name(s->kind), classes[s->class_]);
        if (t)
            json_text(out, t->name);
        else
            buf_put_text(out, "null");
        buf_put_text(out, ",\"name\":");
        Str name = part_name(s);
        if (name.len)
            json_text(out, name);
        else
            buf_put_text(out, "null");
        buf_put_text(out, ",\"columns\":");
        json_columns(out, s);
        buf_put_text(out, ",\"text\":");
        json_step_text(out, s);
        buf_put_text(out, "}");
    }
    buf_put_text(out, "],\"reasons\":[");
    for (uint32_t i = 0; i < plan->nreasons; i++) {
        const Reason *r = &plan->reasons[i];
        buf_printf(out, "%s{\"kind\":\"%s\",\"table\":", i ? "," : "", r->kind);
        json_text(out, r->table);
        buf_put_text(out, ",\"column\":");
        json_text(out, r->column);
        buf_put_text(out, ",\"text\":");
        json_text(out, r->text);
        buf_put_text(out, "}");
    }
    const char *yes = plan->breaks_clients ? "true" : "false";
    buf_printf(out, "],\"breaks_clients\":%s,\"disconnects\":%s}", yes, yes);
}
