/* module_types.c - the typespace: from AlgebraicType bytes to resolved Type trees.
 *
 * A slot is read when it is first needed; a slot met while it is being read is a recursive type, which a
 * column cannot hold. Depth, size and tree size are checked at every level (type_check_limits), so the
 * walkers over finished types need no limits of their own. */
#include "host/schema/module_int.h"

/* The way to the part being read, for messages: printed only when there is a problem. */
typedef struct Where {
    const struct Where *up;
    const char *what; /* the text at the top; "column", "field", "variant" below */
    Str name;
} Where;

static void where_print(Buf *out, const Where *w)
{
    if (w->up) {
        where_print(out, w->up);
        buf_put_text(out, ", ");
    }
    buf_put_text(out, w->what);
    if (w->name.len)
        buf_printf(out, " `%.*s`", STR_FMT(w->name));
}

static void problem_at(Reading *rd, const Where *w, const char *text)
{
    OWN(buf) Buf where = buf_with_max(600);
    where_print(&where, w);
    problem(&rd->problems, "%s: %s", buf_cstr(&where), text);
}

static const Type *limited(Reading *rd, const Type *t, const Where *w)
{
    Error err;
    if (type_check_limits(t, &err) == S_OK)
        return t;
    problem_at(rd, w, err.text);
    return NULL;
}

static bool use_ok(Reading *rd, const Type *t, const Where *w)
{
    bool composite = (t->kind == TYPE_PRODUCT && t->nfields) || t->kind == TYPE_SUM || t->kind == TYPE_ENUM;
    if (!composite || (t->ref >= 0 && t->name.len))
        return true;
    problem_at(rd, w,
               t->ref >= 0 ? "its struct, sum or enum has no name; declare it under Types"
                           : "a struct, sum or enum without a name cannot be used here; declare it as a named type");
    return false;
}

bool check_use(Reading *rd, const Type *t, const char *where) { return use_ok(rd, t, &(Where){.what = where}); }

static const Type *read_any(Reading *rd, Reader *r, int depth, const Where *w);

/* ---- slots ------------------------------------------------------------------------------------ */

static const Type *read_slot(Reading *rd, uint32_t ref, int depth, const Where *w)
{
    if (ref >= rd->raw->ntypes) {
        problem_at(rd, w, arena_sprintf(rd->a, "refers to type %u, but the typespace has %u types", ref, rd->raw->ntypes));
        return NULL;
    }
    Slot *s = &rd->slots[ref];
    if (s->state == SLOT_OPEN) {
        problem_at(rd, w, "the type contains itself; recursive types cannot be stored, keep an id of another row instead");
        return NULL;
    }
    if (s->state != SLOT_NEW)
        return s->type;
    if (depth > TYPE_DEPTH_MAX) {
        problem_at(rd, w, arena_sprintf(rd->a, "a type is nested more than %d levels deep", TYPE_DEPTH_MAX));
        return NULL; /* the slot stays new: it may be fine by itself */
    }
    Where top = {.what = s->table.len  ? "table"
                         : s->name.len ? "type"
                                       : arena_sprintf(rd->a, "typespace slot %u", ref),
                 .name = s->table.len ? s->table : s->name};
    s->state = SLOT_OPEN;
    Reader r = reader_of(rd->raw->types[ref]);
    const Type *t = read_any(rd, &r, depth + 1, &top);
    s->state = t ? SLOT_DONE : SLOT_BAD;
    s->column_names = TAKE(rd->top_names);
    if (t) {
        s->type = arena_copy(rd->a, t, sizeof *t);
        s->type->ref = (int32_t)ref;
        s->type->name = s->name;
        if (*rd->raw->types[ref].ptr == AT_REF)
            s->type->depth++; /* a chain of aliases is as deep as reading it was */
    }
    return s->type;
}

/* ---- products and sums ------------------------------------------------------------------------ */

static bool element_name_ok(Reading *rd, bool named, Str name, uint32_t position, const Where *w, const char *what)
{
    if (!named) {
        problem_at(rd, w, arena_sprintf(rd->a, "%s %u has no name; give it one", what, position));
        return false;
    }
    const char *flaw = name_flaw(name);
    if (flaw)
        problem_at(rd, w, arena_sprintf(rd->a, "the name of %s %u (`%.*s`) %s; rename it", what, position, STR_FMT(name), flaw));
    return !flaw;
}

static int field_order(const void *x, const void *y) { return str_cmp((*(const Field *const *)x)->name, (*(const Field *const *)y)->name); }

/* Each name once. Sorted pointers: a definition may hold thousands of fields. */
static bool names_distinct(Reading *rd, uint32_t n, const Field *fields, const Where *w, const char *what)
{
    bool good = true;
    const Field **order = x_alloc(sizeof *order * n);
    for (uint32_t i = 0; i < n; i++)
        order[i] = &fields[i];
    qsort(order, n, sizeof *order, field_order);
    for (uint32_t i = 1; i < n; i++)
        if (order[i]->name.len && str_eq(order[i - 1]->name, order[i]->name)) { /* a missing name is reported by itself */
            problem_at(rd, w, arena_sprintf(rd->a, "two %ss are named `%.*s`; rename one", what, STR_FMT(order[i]->name)));
            good = false;
        }
    free(order);
    return good;
}

/* Elements into a fresh array; NULL (after reporting all problems) when one is bad. */
static Field *read_elements(Reading *rd, Reader *r, int depth, uint32_t *ret_n, const Where *w, const char *what, bool check_uses)
{
    uint32_t n = read_u32(r); /* bounded by module_raw.c, as are all reads here */
    Field *fields = ARENA_ARRAY(rd->a, Field, n);
    bool good = true;
    for (uint32_t i = 0; i < n; i++) {
        if (rd->problems.n == PROBLEMS_MAX)
            return NULL; /* each further one would only cost memory */
        bool named = read_u8(r) == 0;
        Str name = named ? read_str(r) : (Str){0};
        good &= element_name_ok(rd, named, name, i, w, what);
        Where here = {w, what, name};
        const Type *t = read_any(rd, r, depth, &here);
        good &= t && (!check_uses || use_ok(rd, t, &here));
        fields[i] = (Field){name, t, 0};
    }
    *ret_n = n;
    good &= names_distinct(rd, n, fields, w, what);
    return good ? fields : NULL;
}

static void convert_names(Reading *rd, uint32_t n, Field *fields, NameCase to)
{
    for (uint32_t i = 0; i < n; i++)
        fields[i].name = name_convert(rd->a, fields[i].name, to);
}

static const Type *read_product(Reading *rd, Reader *r, int depth, const Where *w)
{
    uint32_t n;
    bool is_table = !w->up && strcmp(w->what, "table") == 0;
    /* `__query__` is the shape of a view's return, never a use by itself */
    Field *fields = read_elements(rd, r, depth, &n, w, is_table ? "column" : "field", true);
    if (!fields)
        return NULL;
    const Type *t = type_product(rd->a, n, fields);
    if (rd->raw->snake_case && t->kind == TYPE_PRODUCT && n) {
        if (!w->up) {
            Str *names = ARENA_ARRAY(rd->a, Str, n);
            for (uint32_t i = 0; i < n; i++)
                names[i] = fields[i].name;
            rd->top_names = names;
        }
        convert_names(rd, n, fields, CASE_SNAKE);
        if (!names_distinct(rd, n, fields, w, is_table ? "column" : "field"))
            return NULL;
        t = type_product(rd->a, n, fields);
    }
    return t;
}

static const Type *read_sum(Reading *rd, Reader *r, int depth, const Where *w)
{
    uint32_t n;
    Field *variants = read_elements(rd, r, depth, &n, w, "variant", true);
    if (!variants)
        return NULL;
    if (n == 0 || n > TYPE_VARIANTS_MAX) {
        problem_at(rd, w, arena_sprintf(rd->a, "it has %u variants; between 1 and %d are allowed", n, TYPE_VARIANTS_MAX));
        return NULL;
    }
    const Type *t = type_sum(rd->a, n, variants);
    if (rd->raw->snake_case && (t->kind == TYPE_SUM || t->kind == TYPE_ENUM)) {
        convert_names(rd, n, variants, CASE_LOWER_CAMEL);
        if (!names_distinct(rd, n, variants, w, "variant"))
            return NULL;
        t = type_sum(rd->a, n, variants);
    }
    return t;
}

static TypeKind scalar_of_tag(uint8_t tag)
{
    static const TypeKind kinds[] = {[4] = TYPE_STRING, TYPE_BOOL, TYPE_I8,   TYPE_U8,   TYPE_I16,  TYPE_U16,  TYPE_I32, TYPE_U32,
                                     TYPE_I64,          TYPE_U64,  TYPE_I128, TYPE_U128, TYPE_I256, TYPE_U256, TYPE_F32, TYPE_F64};
    return kinds[tag];
}

static const Type *read_any(Reading *rd, Reader *r, int depth, const Where *w)
{
    const Type *t;
    uint8_t tag = read_u8(r);
    switch (tag) {
    case AT_REF: return read_slot(rd, read_u32(r), depth, w);
    case AT_SUM: t = read_sum(rd, r, depth + 1, w); break;
    case AT_PRODUCT: t = read_product(rd, r, depth + 1, w); break;
    case AT_ARRAY:
        t = read_any(rd, r, depth + 1, w);
        t = t && use_ok(rd, t, w) ? type_array(rd->a, t) : NULL;
        break;
    default: return type_scalar(scalar_of_tag(tag));
    }
    return t ? limited(rd, t, w) : NULL;
}

/* ---- entry points ----------------------------------------------------------------------------- */

const Type *read_type(Reading *rd, Bytes bytes, const char *where)
{
    Reader r = reader_of(bytes);
    return read_any(rd, &r, 1, &(Where){.what = where});
}

const Type *read_params(Reading *rd, Bytes bytes, const char *where)
{
    Reader r = reader_of(bytes);
    Where w = {.what = where};
    uint32_t n;
    Field *fields = read_elements(rd, &r, 1, &n, &w, "parameter", true);
    if (!fields)
        return NULL;
    const Type *t = type_product(rd->a, n, fields);
    if (t->kind != TYPE_PRODUCT) {
        problem_at(rd, &w, "its only parameter has the name of a special type's field; rename it");
        return NULL;
    }
    return limited(rd, t, &w);
}

static bool is_sorted(const Type *t)
{
    for (uint32_t i = 1; i < t->nfields; i++)
        if (str_cmp(t->fields[i - 1].name, t->fields[i].name) > 0)
            return false;
    return true;
}

static int type_name_order(const void *x, const void *y)
{
    const struct TypeName *a = x, *b = y;
    int c = str_cmp(a->name, b->name);
    return c ? c : (a->ref > b->ref) - (a->ref < b->ref);
}

/* Rules R3, R7: names are fine, distinct, and point somewhere. Gives the slots their names. */
static void read_type_names(Reading *rd)
{
    const RawModule *raw = rd->raw;
    struct TypeName *names = ARENA_ARRAY(rd->a, struct TypeName, raw->nnames);
    NameUse *uses = ARENA_ARRAY(rd->a, NameUse, raw->nnames);
    for (uint32_t i = 0; i < raw->nnames; i++) {
        const RawTypeName *in = &raw->names[i];
        Str name = raw->snake_case ? name_convert(rd->a, in->name, CASE_PASCAL) : in->name;
        const char *flaw = name_flaw(name);
        names[i] = (struct TypeName){name, in->ref, in->custom_ordering};
        uses[i] = (NameUse){name, "a type", {0}};
        if (flaw)
            problem(&rd->problems, "type `%.*s`: the name %s; rename it", STR_FMT(name), flaw);
        if (in->scoped)
            problem(&rd->problems, "type `%.*s`: scoped type names are not supported; declare it without a scope", STR_FMT(name));
        if (in->ref >= raw->ntypes)
            problem(&rd->problems, "type `%.*s`: refers to type %u, but the typespace has %u types", STR_FMT(name), in->ref, raw->ntypes);
        else if (!rd->slots[in->ref].name.len)
            rd->slots[in->ref].name = name;
    }
    names_unique(&rd->problems, raw->nnames, uses, "rename one");
    if (raw->nnames)
        qsort(names, raw->nnames, sizeof *names, type_name_order);
    rd->def->ntype_names = raw->nnames;
    rd->def->type_names = names;
}

/* Rules R8, R11: a named type is a struct, sum or enum, sorted unless it says otherwise. */
static void check_type_names(Reading *rd)
{
    for (uint32_t i = 0; i < rd->def->ntype_names; i++) {
        const struct TypeName *name = &rd->def->type_names[i];
        const Type *t = name->ref < rd->raw->ntypes ? rd->slots[name->ref].type : NULL;
        uint8_t tag = t ? *rd->raw->types[name->ref].ptr : AT_PRODUCT;
        if (tag != AT_PRODUCT && tag != AT_SUM)
            problem(&rd->problems, "type `%.*s`: only a struct, sum or enum can have a name", STR_FMT(name->name));
        if (t && !name->custom_ordering && !is_sorted(t))
            problem(&rd->problems, "type `%.*s`: its parts are not sorted by name; set custom_ordering", STR_FMT(name->name));
    }
}

void read_typespace(Reading *rd)
{
    const RawModule *raw = rd->raw;
    rd->slots = ARENA_ARRAY(rd->a, Slot, raw->ntypes);
    read_type_names(rd);
    for (uint32_t i = 0; i < raw->ntables; i++)
        if (raw->tables[i].type_ref < raw->ntypes)
            rd->slots[raw->tables[i].type_ref].table = raw->tables[i].source_name;
    const Type **types = ARENA_ARRAY(rd->a, const Type *, raw->ntypes);
    for (uint32_t i = 0; i < raw->ntypes; i++) {
        types[i] = read_slot(rd, i, 1, &(Where){.what = "typespace"});
        if (rd->a->total > DEF_ARENA_BYTES_MAX) {
            problem(&rd->problems, "typespace: needs more than %d bytes of memory; use fewer or smaller types", DEF_ARENA_BYTES_MAX);
            rd->def->ntypes = 0;
            return;
        }
    }
    rd->def->ntypes = raw->ntypes;
    rd->def->types = types;
    check_type_names(rd);
}
