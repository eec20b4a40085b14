/* loader.c - from a file to a Module; see loader.h for the steps. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "host/worker/loader.h"
#include "host/worker/elf_check.h"
#include "host/worker/sandbox.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ITEMS_MAX = 1 << 15, NAME_BYTES_MAX = 255, TEXT_BYTES_MAX = 1024, RANGES_MAX = 32, CONVERTED_MAX = 1 << 16 };

typedef struct LoadedModule {
    Module module; /* first: what the core holds */
    void *library;
    char *path;
    Arena arena;
    CodeMap code;                     /* for crashes */
    st_call_reducer **reducers;       /* by reducer id */
    st_call_procedure **procedures;   /* by position in the definition */
    st_call_handler **handlers;       /* the same */
    void (**views)(void);             /* the same; of two types */
    void (*(*migration_calls))(void); /* of all operations, one after the other; NULL for those without a function */
} LoadedModule;

/* One type of the module, converted. */
typedef struct Converted {
    const st_type *from;
    const Type *to;
    bool under_way;
} Converted; /* to NULL: wrong */

/* Where converted types live. Those of the definition are declared to the builder and die with it; those of migrations
 * stay with the module, written out in full and under the names that the definition's reader would give them. */
typedef struct TypeHome {
    Arena *arena;
    bool declared;
    Converted *converted; /* hash table by address */
    uint32_t nconverted, mask;
} TypeHome;

typedef struct FoundTable {
    Str name;
    const st_item *item;
    const Type *row;       /* product */
    const uint32_t *flags; /* per column */
    Bytes *defaults;       /* per column; len 0: none (no value encodes to nothing but a unit) */
    const st_item **default_items;
    const st_item *schedule;
    uint32_t position; /* in the builder */
} FoundTable;
typedef enum IndexShape { SHAPE_BTREE, SHAPE_HASH, SHAPE_UNIQUE } IndexShape;
typedef struct FoundIndex {
    uint32_t table;
    IndexShape shape;
    Str name;
    uint16_t ncols;
    const uint16_t *cols;
} FoundIndex;
typedef struct FoundSequence {
    uint32_t table;
    uint16_t col;
    const st_sequence *is;
} FoundSequence;
typedef struct FoundName {
    st_name_kind kind;
    Str word, name, owner; /* owner: of indexes and columns */
} FoundName;
typedef struct FoundFunction {
    Str name;
    const st_item *item;
    const Type *params, *ret;
} FoundFunction;

typedef struct Range {
    uintptr_t from, to;
    bool writable, executable;
} Range;

typedef struct Loader {
    Arena arena;
    Buf problems;
    uint32_t nproblems;
    Range ranges[RANGES_MAX]; /* the module's own mapping */
    uint32_t nranges;
    uintptr_t base;
    ModuleBuilder *builder;
    TypeHome definition, migration, *types; /* types: the one in use */
    const st_module_desc *desc;
    uint32_t nitems;
    const st_item **items; /* sorted by kind, owner, name: the order in the section means nothing */
    FoundTable *tables;
    uint32_t ntables;
    FoundIndex *indexes;
    uint32_t nindexes;
    FoundFunction *functions;
    uint32_t nfunctions;
    FoundFunction *views;
    uint32_t nviews;
    FoundFunction *handlers; /* of HTTP: names of their own */
    uint32_t nhandlers;
    FoundSequence *sequences;
    uint32_t nsequences;
    FoundName *names;
    uint32_t nnames;
    const st_item *case_policy;
    Migration *migrations;
    uint32_t nmigrations;
    ModuleOldTable *old_tables;
    const st_item **old_items; /* their records */
    uint32_t nold_tables;
} Loader;

static void problem(Loader *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void problem(Loader *l, const char *fmt, ...)
{
    char line[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (l->nproblems++)
        buf_put_text(&l->problems, "\n");
    buf_put_text(&l->problems, line);
}

/* The list as one error; what does not fit is counted. */
static Status refuse(const Loader *l, Error *err)
{
    enum { SPARE = 120 };
    Str text = buf_str(&l->problems);
    uint32_t lines = 0, shown = 0;
    size_t end = text.len;
    if (text.len > ERROR_TEXT_BYTES - SPARE) {
        end = ERROR_TEXT_BYTES - SPARE;
        while (end && text.ptr[end] != '\n')
            end--;
        end = end ? end : ERROR_TEXT_BYTES - SPARE;
    }
    for (size_t i = 0; i < text.len; i++) {
        lines += text.ptr[i] == '\n';
        shown += i < end && text.ptr[i] == '\n';
    }
    if (end == text.len)
        return FAIL(err, S_INVALID, "the module was refused:\n%.*s", STR_FMT(text));
    return FAIL(err, S_INVALID, "the module was refused:\n%.*s\nand %u more", (int)end, text.ptr, MAX(lines - shown, 1u));
}

/* ---- the module's memory ------------------------------------------------------------------------------ */

static int find_ranges(struct dl_phdr_info *info, size_t size, void *user)
{
    (void)size;
    Loader *l = user;
    if (info->dlpi_addr != l->base)
        return 0;
    for (int i = 0; i < info->dlpi_phnum && l->nranges < RANGES_MAX; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        if (ph->p_type == PT_LOAD && (ph->p_flags & PF_R))
            l->ranges[l->nranges++] =
                (Range){info->dlpi_addr + ph->p_vaddr, info->dlpi_addr + ph->p_vaddr + ph->p_memsz, ph->p_flags & PF_W, ph->p_flags & PF_X};
    }
    return 1;
}

static const Range *range_of(const Loader *l, const void *p)
{
    for (uint32_t i = 0; i < l->nranges; i++)
        if ((uintptr_t)p >= l->ranges[i].from && (uintptr_t)p < l->ranges[i].to)
            return &l->ranges[i];
    return NULL;
}

/* Are `len` bytes at `p`, aligned, all in the module? */
static bool mine(const Loader *l, const void *p, size_t len, size_t align)
{
    const Range *r = range_of(l, p);
    return r && len <= r->to - (uintptr_t)p && (uintptr_t)p % align == 0;
}

/* A NUL-terminated text in the module; false: it is not there, or too long. */
static bool text_at(const Loader *l, const char *p, size_t max, Str *ret)
{
    const Range *r = range_of(l, p);
    size_t room = r ? MIN(r->to - (uintptr_t)p, max + 1) : 0;
    size_t n = room ? strnlen(p, room) : 0;
    if (n == room || n == 0 || !utf8_valid((Str){p, n}))
        return false;
    *ret = (Str){p, n};
    return true;
}

/* ---- types --------------------------------------------------------------------------------------------- */

static Converted *converted_slot(TypeHome *h, const st_type *from)
{
    if ((h->nconverted + 1) * 2 > h->mask) {
        Converted *old = h->converted;
        uint32_t n = h->mask ? h->mask + 1 : 0;
        h->mask = MAX(n * 2, 256u) - 1;
        h->converted = x_alloc(sizeof *h->converted * ((size_t)h->mask + 1));
        for (uint32_t i = 0; i < n; i++)
            if (old[i].from)
                *converted_slot(h, old[i].from) = old[i];
        free(old);
    }
    uint32_t i = (uint32_t)hash_u64((uintptr_t)from) & h->mask;
    while (h->converted[i].from && h->converted[i].from != from)
        i = (i + 1) & h->mask;
    return &h->converted[i];
}

static const Type *int_type(uint32_t size, bool is_signed)
{
    switch (size) {
    case 1: return type_scalar(is_signed ? TYPE_I8 : TYPE_U8);
    case 2: return type_scalar(is_signed ? TYPE_I16 : TYPE_U16);
    case 4: return type_scalar(is_signed ? TYPE_I32 : TYPE_U32);
    case 8: return type_scalar(is_signed ? TYPE_I64 : TYPE_U64);
    case 16: return type_scalar(is_signed ? TYPE_I128 : TYPE_U128);
    case 32: return type_scalar(is_signed ? TYPE_I256 : TYPE_U256);
    default: return NULL;
    }
}

static const Type *convert(Loader *l, const st_type *from, Str within, int depth);

static Str name_given(const Loader *l, st_name_kind kind, Str owner, Str word)
{
    for (uint32_t i = 0; i < l->nnames; i++) {
        const FoundName *n = &l->names[i];
        if (n->kind == kind && str_eq(n->word, word) && str_eq(n->owner, owner))
            return n->name;
    }
    return (Str){0};
}

/* A field's or variant's name in the definition: a column has the one that ST_COLUMN_NAME gives it. `rows`: the type is
 * that of a table's rows, not of a function's arguments. */
static Str field_name(Loader *l, const st_type *t, Str type_name, Str word, bool rows)
{
    Str given = rows && t->kind == ST_K_STRUCT ? name_given(l, ST_NAME_COLUMN, type_name, word) : (Str){0};
    Str name = given.len ? given : word;
    if (l->types->declared || t->kind == ST_K_RESULT)
        return name;
    return module_builder_canonical(l->builder, name, t->kind != ST_K_STRUCT);
}

/* The fields of a struct, sum, enum or result. NULL: a problem was reported. */
static Field *convert_fields(Loader *l, const st_type *t, Str name, int depth, bool rows)
{
    uint32_t max = t->kind == ST_K_STRUCT ? TYPE_FIELDS_MAX : TYPE_VARIANTS_MAX;
    if (t->nfields == 0 || t->nfields > max || !mine(l, t->fields, t->nfields * sizeof *t->fields, _Alignof(st_field))) {
        problem(l, "type %.*s has %u fields or variants; 1 to %u are possible", STR_FMT(name), t->nfields, max);
        return NULL;
    }
    Field *fields = ARENA_ARRAY(l->types->arena, Field, t->nfields);
    bool good = true;
    for (uint32_t i = 0; i < t->nfields; i++) {
        const st_field *f = &t->fields[i];
        if (!text_at(l, f->name, NAME_BYTES_MAX, &fields[i].name)) {
            problem(l, "type %.*s: the name of field %u is missing, too long or not UTF-8", STR_FMT(name), i + 1);
            return NULL;
        }
        fields[i].name = field_name(l, t, name, fields[i].name, rows);
        fields[i].type = t->kind == ST_K_ENUM ? &type_unit : convert(l, f->type, name, depth);
        good &= fields[i].type != NULL;
    }
    return good ? fields : NULL;
}

#define PACKED_HINT "build without -fpack-struct, #pragma pack and -fno-short-enums, with the compiler's usual alignment"

static const Type *convert_new(Loader *l, const st_type *t, Str name, int depth, bool rows)
{
    Arena *a = l->types->arena;
    static const TypeKind scalars[] = {
        [ST_K_BOOL] = TYPE_BOOL,
        [ST_K_STR] = TYPE_STRING,
        [ST_K_BYTES] = TYPE_BYTES,
        [ST_K_IDENTITY] = TYPE_IDENTITY,
        [ST_K_CONNECTION_ID] = TYPE_CONNECTION_ID,
        [ST_K_UUID] = TYPE_UUID,
        [ST_K_TIMESTAMP] = TYPE_TIMESTAMP,
        [ST_K_DURATION] = TYPE_DURATION,
        [ST_K_SCHEDULE] = TYPE_SCHEDULE_AT,
    };
    const Type *to = NULL, *elem = NULL;
    Field *fields = NULL;
    switch (t->kind) {
    case ST_K_BOOL:
    case ST_K_STR:
    case ST_K_BYTES:
    case ST_K_IDENTITY:
    case ST_K_CONNECTION_ID:
    case ST_K_UUID:
    case ST_K_TIMESTAMP:
    case ST_K_DURATION:
    case ST_K_SCHEDULE: to = type_scalar(scalars[t->kind]); break;
    case ST_K_INT: to = int_type(t->size, t->is_signed); break;
    case ST_K_FLOAT: to = t->size == 4 ? type_scalar(TYPE_F32) : t->size == 8 ? type_scalar(TYPE_F64) : NULL; break;
    case ST_K_UNIT: to = &type_unit; break;
    case ST_K_OPTION:
    case ST_K_ARRAY:
        if (!(elem = convert(l, t->elem, name, depth)))
            return NULL;
        to = t->kind == ST_K_ARRAY ? type_array(a, elem) : type_option(a, elem);
        break;
    case ST_K_STRUCT:
    case ST_K_ENUM:
    case ST_K_SUM:
    case ST_K_RESULT:
        if (!(fields = convert_fields(l, t, name, depth, rows)))
            return NULL;
        to = t->kind == ST_K_STRUCT ? type_product(a, t->nfields, fields) : type_sum(a, t->nfields, fields);
        break;
    default:
        problem(l, "type %.*s is of a kind (%u) that this host does not know: update the host, or build with its own spacetimedb.h",
                STR_FMT(name), t->kind);
        return NULL;
    }
    Error err;
    if (!to) {
        problem(l, "type %.*s: a number of %u bytes is not possible", STR_FMT(name), t->size);
        return NULL;
    }
    if (type_check_limits(to, &err) != S_OK) {
        problem(l, "type %.*s: %s", STR_FMT(name), err.text);
        return NULL;
    }
    static const TypeKind want[] = {
        [ST_K_STRUCT] = TYPE_PRODUCT, [ST_K_ENUM] = TYPE_ENUM, [ST_K_SUM] = TYPE_SUM, [ST_K_RESULT] = TYPE_RESULT};
    if (fields && to->kind != want[t->kind]) {
        problem(l, "type %.*s has the shape of %s: use that instead, or other names", STR_FMT(name),
                to->kind == TYPE_OPTION        ? "an option (ST_OPTION)"
                : to->kind == TYPE_RESULT      ? "a result (ST_RESULT)"
                : to->kind == TYPE_ENUM        ? "an enum (ST_ENUM)"
                : to->kind == TYPE_SCHEDULE_AT ? "st_schedule_at"
                                               : "a predeclared type");
        return NULL;
    }
    /* the layout, as compiled and as we know it */
    bool offsets = true;
    for (uint32_t i = 0; fields && i < t->nfields; i++) {
        uint32_t own = t->kind == ST_K_ENUM ? 0 : t->kind == ST_K_STRUCT ? to->fields[i].offset : to->payload_offset;
        if (t->fields[i].offset != own && offsets) {
            problem(l, "type %.*s: %.*s lies at offset %u, it should be %u: " PACKED_HINT, STR_FMT(name), STR_FMT(fields[i].name),
                    t->fields[i].offset, own);
            offsets = false;
        }
    }
    if (t->kind == ST_K_OPTION && t->elem_off != to->payload_offset) {
        problem(l, "type %.*s: the value lies at offset %u, it should be %u: " PACKED_HINT, STR_FMT(name), t->elem_off, to->payload_offset);
        offsets = false;
    }
    if (t->size != to->size || t->align != to->align) {
        if (offsets)
            problem(l, "type %.*s has %u bytes aligned to %u, it should have %u aligned to %u: " PACKED_HINT, STR_FMT(name), t->size,
                    t->align, to->size, to->align);
        return NULL;
    }
    return offsets ? to : NULL;
}

/* The Type of a module's type; NULL when it is wrong, which has been reported (once for each type). `within`: for
 * messages. Named types are declared to the builder. */
static const Type *convert(Loader *l, const st_type *from, Str within, int depth)
{
    Str name;
    if (!from || !mine(l, from, sizeof *from, _Alignof(st_type)) || !text_at(l, from->name, NAME_BYTES_MAX, &name)) {
        problem(l, "%.*s: a type record is damaged: build the module anew with spacetimedb.h", STR_FMT(within));
        return NULL;
    }
    TypeHome *h = l->types;
    Converted *known = converted_slot(h, from);
    if (known->from) {
        if (known->under_way)
            problem(l, "type %.*s contains itself: types cannot be recursive; refer to other rows by key", STR_FMT(name));
        return known->to;
    }
    if (h->nconverted >= CONVERTED_MAX || depth > TYPE_DEPTH_MAX) {
        problem(l, "type %.*s: too many types, or types nested too deeply (at most %d)", STR_FMT(name), TYPE_DEPTH_MAX);
        return NULL;
    }
    *known = (Converted){from, NULL, true};
    h->nconverted++;
    const Type *to = convert_new(l, from, name, depth + 1, true);
    if (to && h->declared && (from->kind == ST_K_STRUCT || from->kind == ST_K_ENUM || from->kind == ST_K_SUM))
        to = module_builder_named(l->builder, name, to);
    *converted_slot(h, from) = (Converted){from, to, false}; /* the table may have grown */
    return to;
}

/* The row or argument struct itself: a product that gets no name of its own. */
static const Type *convert_struct(Loader *l, const st_type *from, Str what, bool rows)
{
    Str name;
    if (!from || !mine(l, from, sizeof *from, _Alignof(st_type)) || !text_at(l, from->name, NAME_BYTES_MAX, &name) ||
        from->kind != ST_K_STRUCT) {
        problem(l, "%.*s: its type record is damaged: build the module anew with spacetimedb.h", STR_FMT(what));
        return NULL;
    }
    return convert_new(l, from, name, 1, rows);
}

/* ---- handshake ------------------------------------------------------------------------------------------ */

static bool handshake(Loader *l)
{
    const st_module_desc *d = l->desc;
    uint32_t before = l->nproblems;
    if (!mine(l, d, offsetof(st_module_desc, name), _Alignof(st_module_desc)) || d->magic != ST_MAGIC) {
        problem(l, "st_module does not begin with 0x%x: it must be made by ST_MODULE of spacetimedb.h", ST_MAGIC);
        return false;
    }
    if (d->ptr_size != sizeof(void *))
        problem(l, "the module's pointers have %u bytes, the host's %zu: build it for this machine", d->ptr_size, sizeof(void *));
    if (d->abi_major != ST_ABI_MAJOR)
        problem(l, "the module was built with spacetimedb.h of ABI %u.%u, this host offers %d.%d: build it with a header of ABI %d",
                d->abi_major, d->abi_minor, ST_ABI_MAJOR, ST_ABI_MINOR, ST_ABI_MAJOR);
    else if (d->abi_minor > ST_ABI_MINOR)
        problem(l,
                "the module was built with spacetimedb.h of ABI %u.%u, this host offers up to %d.%d: update the host, or build with an "
                "older header",
                d->abi_major, d->abi_minor, ST_ABI_MAJOR, ST_ABI_MINOR);
    else {
        if (d->size != sizeof *d)
            problem(l, "st_module has %u bytes, the host expects %zu: build the module with this host's spacetimedb.h", d->size, sizeof *d);
        if (d->item_size != sizeof(st_item))
            problem(
                l,
                "the module's records have %u bytes, the host expects %zu: build it without -fpack-struct, with this host's spacetimedb.h",
                d->item_size, sizeof(st_item));
    }
    if (l->nproblems != before)
        return false;
    Str ignored;
    if (!mine(l, d, sizeof *d, 1) || !text_at(l, d->name, NAME_BYTES_MAX, &ignored) || !text_at(l, d->version, NAME_BYTES_MAX, &ignored))
        problem(l, "ST_MODULE needs a name and a version of 1 to %d bytes", NAME_BYTES_MAX);
    uintptr_t from = (uintptr_t)d->items, to = (uintptr_t)d->items_end;
    if (to < from || (to - from) % sizeof(void *) || (to - from) / sizeof(void *) > ITEMS_MAX ||
        (to > from && !mine(l, d->items, to - from, sizeof(void *)))) {
        problem(l, "the module's record section is damaged, or has more than %d records", ITEMS_MAX);
        return false;
    }
    l->nitems = (uint32_t)((to - from) / sizeof(void *));
    return l->nproblems == before;
}

/* ---- records ---------------------------------------------------------------------------------------------- */

static FoundTable *table_named(Loader *l, Str name)
{
    for (uint32_t i = 0; i < l->ntables; i++)
        if (str_eq(l->tables[i].name, name))
            return &l->tables[i];
    return NULL;
}

static FoundFunction *function_named(FoundFunction *list, uint32_t n, Str name)
{
    for (uint32_t i = 0; i < n; i++)
        if (str_eq(list[i].name, name))
            return &list[i];
    return NULL;
}

static bool column_flags_known(uint32_t flags)
{
    const uint32_t key = ST_COLUMN_PK | ST_COLUMN_UNIQUE, kinds = flags & (ST_COLUMN_BY_HASH | ST_COLUMN_BY_VALUE);
    if (flags & ~(key | ST_COLUMN_AUTO | ST_COLUMN_INDEX | ST_COLUMN_BY_HASH | ST_COLUMN_BY_VALUE))
        return false;
    return kinds == 0 || (kinds == ST_COLUMN_BY_HASH && flags & (key | ST_COLUMN_INDEX)) || (kinds == ST_COLUMN_BY_VALUE && flags & key);
}

/* The position of a column by its member in the struct; -1: none. */
static int32_t member_column(const FoundTable *t, Str member)
{
    for (uint32_t c = 0; c < t->row->nfields; c++)
        if (str_is(member, t->item->type->fields[c].name)) /* a good text: the row was converted */
            return (int32_t)c;
    return -1;
}

static void add_table(Loader *l, const st_item *it, Str name)
{
    const Type *row = convert_struct(l, it->type, name, true);
    if (!row)
        return;
    uint32_t *flags = ARENA_ARRAY(&l->arena, uint32_t, row->nfields);
    for (uint32_t i = 0; i < row->nfields; i++)
        flags[i] = it->type->fields[i].flags;
    if (it->flags & ~(ST_ACCESS_PUBLIC | ST_F_EVENT))
        problem(l, "table %.*s has flags (0x%x) that this host does not know", STR_FMT(name), it->flags);
    FoundTable *known = table_named(l, name);
    if (known) {
        if (known->item->flags != it->flags || !type_equal(known->row, row) ||
            memcmp(known->flags, flags, sizeof *flags * row->nfields) != 0)
            problem(l, "table %.*s is declared in two source files, differently: put it into one header that both include", STR_FMT(name));
        return;
    }
    for (uint32_t i = 0; i < row->nfields; i++)
        if (!column_flags_known(flags[i]))
            problem(l, "table %.*s, column %.*s: attributes (0x%x) that this host does not know", STR_FMT(name),
                    STR_FMT(row->fields[i].name), flags[i]);
    l->tables[l->ntables++] = (FoundTable){
        .name = name,
        .item = it,
        .row = row,
        .flags = flags,
        .defaults = ARENA_ARRAY(&l->arena, Bytes, row->nfields),
        .default_items = ARENA_ARRAY(&l->arena, const st_item *, row->nfields),
    };
}

static void add_index(Loader *l, const st_item *it, Str name, FoundTable *t)
{
    const uint16_t *cols = it->ptr;
    if (it->n < 1 || it->n > DEF_INDEX_COLUMNS_MAX || !mine(l, cols, it->n * sizeof *cols, _Alignof(uint16_t))) {
        problem(l, "index %.*s of table %.*s has %u columns; 1 to %d are possible", STR_FMT(name), STR_FMT(t->name), it->n,
                DEF_INDEX_COLUMNS_MAX);
        return;
    }
    for (uint32_t i = 0; i < it->n; i++)
        if (cols[i] >= t->row->nfields) {
            problem(l, "index %.*s of table %.*s names column %u, the table has %u", STR_FMT(name), STR_FMT(t->name), cols[i] + 1u,
                    t->row->nfields);
            return;
        }
    if (it->kind == ST_ITEM_INDEX && it->flags & ~ST_INDEX_HASH) {
        problem(l, "index %.*s of table %.*s is of a kind (0x%x) that this host does not know", STR_FMT(name), STR_FMT(t->name), it->flags);
        return;
    }
    IndexShape shape = it->kind == ST_ITEM_UNIQUE ? SHAPE_UNIQUE : it->flags & ST_INDEX_HASH ? SHAPE_HASH : SHAPE_BTREE;
    uint32_t table = (uint32_t)(t - l->tables);
    for (uint32_t i = 0; i < l->nindexes; i++) {
        const FoundIndex *x = &l->indexes[i];
        if (x->table != table || !str_eq(x->name, name))
            continue;
        if (x->shape != shape || x->ncols != it->n || memcmp(x->cols, cols, it->n * sizeof *cols) != 0)
            problem(l, "index %.*s of table %.*s is declared twice, differently: keep one", STR_FMT(name), STR_FMT(t->name));
        return;
    }
    l->indexes[l->nindexes++] = (FoundIndex){table, shape, name, (uint16_t)it->n, cols};
}

/* Do all pointers of a value in the module's memory stay in it? */
static bool value_is_mine(const Loader *l, const Type *t, const uint8_t *v)
{
    if (!mine(l, v, t->size, t->align))
        return false;
    if (!t->has_pointers)
        return true;
    switch (t->kind) {
    case TYPE_STRING:
    case TYPE_BYTES:
    case TYPE_ARRAY: {
        st_bytes b;
        memcpy(&b, v, sizeof b);
        const Type *elem = t->kind == TYPE_ARRAY ? t->elem : type_scalar(TYPE_U8);
        if (b.len == 0)
            return true;
        if (b.len > VALUE_HEAP_BYTES_MAX || !mine(l, b.ptr, b.len * elem->size, elem->align))
            return false;
        for (size_t i = 0; elem->has_pointers && i < b.len; i++)
            if (!value_is_mine(l, elem, b.ptr + i * elem->size))
                return false;
        return true;
    }
    case TYPE_PRODUCT:
        for (uint32_t i = 0; i < t->nfields; i++)
            if (!value_is_mine(l, t->fields[i].type, v + t->fields[i].offset))
                return false;
        return true;
    case TYPE_OPTION: return !v[0] || value_is_mine(l, t->elem, v + t->payload_offset);
    case TYPE_SUM:
    case TYPE_RESULT: return v[0] >= t->nfields || value_is_mine(l, t->fields[v[0]].type, v + t->payload_offset);
    default: return true;
    }
}

static void add_default(Loader *l, const st_item *it, Str column, FoundTable *t)
{
    int32_t c = member_column(t, column);
    if (c < 0) {
        problem(l, "the default for column %.*s of table %.*s: there is no such column", STR_FMT(column), STR_FMT(t->name));
        return;
    }
    const Type *type = t->row->fields[c].type;
    Error err;
    if (!value_is_mine(l, type, it->ptr)) {
        problem(l, "the default for column %.*s of table %.*s lies outside of the module", STR_FMT(column), STR_FMT(t->name));
        return;
    }
    if (value_check(type, it->ptr, &err) != S_OK) {
        problem(l, "the default for column %.*s of table %.*s is no value of its type: %s", STR_FMT(column), STR_FMT(t->name), err.text);
        return;
    }
    OWN(buf) Buf bsatn = {0};
    value_encode(&bsatn, type, it->ptr);
    if (t->default_items[c]) {
        if (!bytes_eq(t->defaults[c], buf_bytes(&bsatn)))
            problem(l, "column %.*s of table %.*s has two different defaults: keep one", STR_FMT(column), STR_FMT(t->name));
        return;
    }
    t->default_items[c] = it;
    t->defaults[c] = (Bytes){arena_copy(&l->arena, bsatn.ptr, bsatn.len), bsatn.len};
}

static void add_schedule(Loader *l, const st_item *it, Str function, FoundTable *t)
{
    Str other;
    if (it->n >= t->row->nfields || t->row->fields[it->n].type->kind != TYPE_SCHEDULE_AT)
        problem(l, "table %.*s: its schedule names a column that is not of type st_schedule_at", STR_FMT(t->name));
    else if (t->schedule && text_at(l, t->schedule->name, NAME_BYTES_MAX, &other) && (!str_eq(other, function) || t->schedule->n != it->n))
        problem(l, "table %.*s has two schedules: keep one ST_SCHEDULE", STR_FMT(t->name));
    else
        t->schedule = it;
}

static void add_sequence(Loader *l, const st_item *it, Str column, FoundTable *t)
{
    int32_t c = member_column(t, column);
    if (c < 0 || !(t->flags[c] & ST_COLUMN_AUTO)) {
        problem(l, "the sequence for column %.*s of table %.*s: %s", STR_FMT(column), STR_FMT(t->name),
                c < 0 ? "there is no such column" : "the column is not auto-increment");
        return;
    }
    const st_sequence *is = it->ptr;
    if (!mine(l, is, sizeof *is, _Alignof(st_sequence))) {
        problem(l, "the sequence for column %.*s of table %.*s lies outside of the module", STR_FMT(column), STR_FMT(t->name));
        return;
    }
    uint32_t table = (uint32_t)(t - l->tables);
    for (uint32_t i = 0; i < l->nsequences; i++) {
        const FoundSequence *x = &l->sequences[i];
        if (x->table != table || x->col != c)
            continue;
        if (memcmp(x->is, is, sizeof *is) != 0)
            problem(l, "column %.*s of table %.*s has two different sequences: keep one", STR_FMT(column), STR_FMT(t->name));
        return;
    }
    l->sequences[l->nsequences++] = (FoundSequence){table, (uint16_t)c, is};
}

/* What a name record says, for now: whether what it names exists is known only later (declare_names). */
static void add_name(Loader *l, const st_item *it, Str word)
{
    FoundName n = {.kind = it->flags, .word = word, .owner = it->owner ? str_of(it->owner) : (Str){0}};
    bool owned = n.kind == ST_NAME_INDEX || n.kind == ST_NAME_COLUMN;
    if (it->flags > ST_NAME_COLUMN || owned != (it->owner != NULL))
        problem(l, "the name record of %.*s is damaged, or of a kind (%u) that this host does not know", STR_FMT(word), it->flags);
    else if (!text_at(l, it->ptr, NAME_BYTES_MAX, &n.name))
        problem(l, "the name given to %.*s is missing, not UTF-8, or not of 1 to %d bytes", STR_FMT(word), NAME_BYTES_MAX);
    else {
        Str known = name_given(l, n.kind, n.owner, word);
        if (known.len && !str_eq(known, n.name))
            problem(l, "%.*s is given two names, %.*s and %.*s: keep one", STR_FMT(word), STR_FMT(known), STR_FMT(n.name));
        else if (!known.len)
            l->names[l->nnames++] = n;
    }
}

static void add_case_policy(Loader *l, const st_item *it)
{
    if (it->flags > ST_CASE_SNAKE)
        problem(l, "ST_CASE names a policy (%u) that this host does not know", it->flags);
    else if (l->case_policy && l->case_policy->flags != it->flags)
        problem(l, "the module has two case policies: keep one ST_CASE");
    else {
        l->case_policy = it;
        if (it->flags == ST_CASE_SNAKE)
            module_builder_snake_case(l->builder);
    }
}

static bool is_code(const Loader *l, void (*call)(void))
{
    uintptr_t code = (uintptr_t)call;
    const Range *r = range_of(l, (const void *)code); /* NOLINT: looked at, not called */
    return r && r->executable;
}

static void add_function(Loader *l, const st_item *it, Str name)
{
    if (!is_code(l, it->call)) {
        problem(l, "function %.*s: its code is not in the module: build it anew with spacetimedb.h", STR_FMT(name));
        return;
    }
    bool view = it->kind == ST_ITEM_VIEW;
    bool handler = !view && it->flags == ST_FN_HTTP_HANDLER;
    if (!view && it->flags > ST_FN_HTTP_HANDLER) {
        problem(l, "function %.*s is of a kind (%u) that this host does not know", STR_FMT(name), it->flags);
        return;
    }
    if (handler ? function_named(l->handlers, l->nhandlers, name) != NULL
                : function_named(l->functions, l->nfunctions, name) || function_named(l->views, l->nviews, name)) {
        problem(l, "there are two functions named %.*s: rename one", STR_FMT(name));
        return;
    }
    FoundFunction f = {.name = name, .item = it, .params = &type_unit, .ret = &type_unit};
    if (handler) {
        if (it->type || it->ret)
            problem(l, "%.*s: an HTTP handler has no arguments and no result of its own", STR_FMT(name));
        l->handlers[l->nhandlers++] = f;
        return;
    }
    if (view) {
        const Type *row = convert(l, it->type, name, 0);
        Arena *a = module_builder_arena(l->builder);
        if (it->flags > (ST_ACCESS_PUBLIC | ST_F_ANONYMOUS | ST_F_QUERY | ST_F_OPTION) || it->flags & ST_F_EVENT ||
            (it->flags & ST_F_QUERY && it->flags & ST_F_OPTION))
            problem(l, "view %.*s is of a kind (0x%x) that this host does not know", STR_FMT(name), it->flags);
        else if (row && it->flags & ST_F_QUERY)
            f.ret = type_product(a, 1, &(Field){.name = STR("__query__"), .type = row});
        else if (row)
            f.ret = it->flags & ST_F_OPTION ? type_option(a, row) : type_array(a, row);
        l->views[l->nviews++] = f;
        return;
    }
    if (it->type && !(f.params = convert_struct(l, it->type, name, false)))
        return;
    if (it->flags == ST_FN_PROCEDURE && !(f.ret = convert(l, it->ret, name, 0)))
        return;
    if (it->type && it->flags > ST_FN_REDUCER && it->flags < ST_FN_PROCEDURE)
        problem(l, "%.*s: functions called at init, connect and disconnect take no arguments", STR_FMT(name));
    l->functions[l->nfunctions++] = f;
}

/* gcc and clang order the section differently; the definition must not depend on it. */
static int by_name(const void *x, const void *y)
{
    const st_item *a = *(const st_item *const *)x, *b = *(const st_item *const *)y;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->kind == ST_ITEM_MIGRATION && a->n != b->n)
        return a->n < b->n ? -1 : 1;
    int c = strcmp(a->owner ? a->owner : "", b->owner ? b->owner : "");
    c = c ? c : strcmp(a->name, b->name);
    return c || a->kind != ST_ITEM_ROUTE ? c : strcmp(a->ptr, b->ptr);
}

static void add_rule(Loader *l, const st_item *it)
{
    enum { RULE_BYTES_MAX = 50000 }; /* of SQL, as in a query */
    Str sql;
    if (text_at(l, it->ptr, RULE_BYTES_MAX, &sql))
        module_builder_rls(l->builder, sql);
    else
        problem(l, "an ST_RULE is missing its text, or it is not UTF-8, or not of 1 to %d bytes", RULE_BYTES_MAX);
}

static const char *kind_label(uint32_t kind)
{
    switch (kind) {
    case ST_ITEM_INDEX: return "index";
    case ST_ITEM_UNIQUE: return "unique index";
    case ST_ITEM_DEFAULT: return "default";
    case ST_ITEM_SEQUENCE: return "sequence";
    default: return "schedule";
    }
}

static bool route_is_readable(const Loader *l, const st_item *it)
{
    Str path;
    return it->owner && mine(l, it->ptr, 1, 1) && (*(const char *)it->ptr == 0 || text_at(l, it->ptr, TEXT_BYTES_MAX, &path));
}

static bool item_is_readable(const Loader *l, const st_item *it)
{
    Str ignored;
    return mine(l, it, sizeof *it, _Alignof(st_item)) && text_at(l, it->name, NAME_BYTES_MAX, &ignored) && it->kind >= ST_ITEM_TABLE &&
           it->kind <= ST_ITEM_VIEW_KEY && (!it->owner || text_at(l, it->owner, NAME_BYTES_MAX, &ignored)) &&
           (it->kind != ST_ITEM_ROUTE || route_is_readable(l, it));
}

/* Tables, what belongs to them, names and case policy. */
static void read_items(Loader *l)
{
    uint32_t n = l->nitems + 1;
    l->items = ARENA_ARRAY(&l->arena, const st_item *, n);
    l->tables = ARENA_ARRAY(&l->arena, FoundTable, n);
    l->indexes = ARENA_ARRAY(&l->arena, FoundIndex, n);
    l->sequences = ARENA_ARRAY(&l->arena, FoundSequence, n);
    l->names = ARENA_ARRAY(&l->arena, FoundName, n);
    l->functions = ARENA_ARRAY(&l->arena, FoundFunction, n);
    l->views = ARENA_ARRAY(&l->arena, FoundFunction, n);
    l->handlers = ARENA_ARRAY(&l->arena, FoundFunction, n);
    for (uint32_t i = 0; i < l->nitems; i++)
        if (!item_is_readable(l, l->items[i] = l->desc->items[i])) {
            problem(
                l,
                "record %u of the module is damaged, or of a kind that this host does not know: build the module anew with spacetimedb.h",
                i + 1);
            l->nitems = 0;
            return;
        }
    qsort(l->items, l->nitems, sizeof *l->items, by_name);
    for (uint32_t i = 0; i < l->nitems; i++) /* first: rows are converted under the names of their columns */
        if (l->items[i]->kind == ST_ITEM_NAME)
            add_name(l, l->items[i], str_of(l->items[i]->name));
        else if (l->items[i]->kind == ST_ITEM_CASE)
            add_case_policy(l, l->items[i]);
        else if (l->items[i]->kind == ST_ITEM_RULE)
            add_rule(l, l->items[i]);
    for (uint32_t i = 0; i < l->nitems; i++) { /* kinds ascend: tables are first */
        const st_item *it = l->items[i];
        Str name = str_of(it->name);
        if (it->kind == ST_ITEM_TABLE) {
            add_table(l, it, name);
            continue;
        }
        if (it->kind != ST_ITEM_INDEX && it->kind != ST_ITEM_UNIQUE && it->kind != ST_ITEM_DEFAULT && it->kind != ST_ITEM_SEQUENCE &&
            it->kind != ST_ITEM_SCHEDULE)
            continue;
        FoundTable *t = it->owner ? table_named(l, str_of(it->owner)) : NULL;
        if (!t) {
            if (l->nproblems == 0) /* else the table itself may have been refused */
                problem(l, "the %s %.*s belongs to a table that the module does not declare", kind_label(it->kind), STR_FMT(name));
        } else if (it->kind == ST_ITEM_INDEX || it->kind == ST_ITEM_UNIQUE)
            add_index(l, it, name, t);
        else if (it->kind == ST_ITEM_DEFAULT)
            add_default(l, it, name, t);
        else if (it->kind == ST_ITEM_SEQUENCE)
            add_sequence(l, it, name, t);
        else
            add_schedule(l, it, name, t);
    }
}

/* After the tables are declared, so that a function over a row finds its type. */
static void read_functions(Loader *l)
{
    for (uint32_t i = 0; i < l->nitems; i++)
        if (l->items[i]->kind == ST_ITEM_FUNCTION || l->items[i]->kind == ST_ITEM_VIEW)
            add_function(l, l->items[i], str_of(l->items[i]->name));
}

/* ---- the definition ----------------------------------------------------------------------------------------- */

_Static_assert((int)COLUMN_PK == (int)ST_COLUMN_PK && (int)COLUMN_UNIQUE == (int)ST_COLUMN_UNIQUE &&
                   (int)COLUMN_AUTO_INC == (int)ST_COLUMN_AUTO && (int)COLUMN_INDEX == (int)ST_COLUMN_INDEX &&
                   (int)COLUMN_HASH == (int)ST_COLUMN_BY_HASH && (int)COLUMN_DIRECT == (int)ST_COLUMN_BY_VALUE,
               "column flags pass through");

static void declare_tables(Loader *l)
{
    for (uint32_t i = 0; i < l->ntables; i++) {
        FoundTable *t = &l->tables[i];
        BuilderColumn *cols = ARENA_ARRAY(&l->arena, BuilderColumn, t->row->nfields);
        for (uint32_t c = 0; c < t->row->nfields; c++)
            cols[c] = (BuilderColumn){.name = t->row->fields[c].name,
                                      .type = t->row->fields[c].type,
                                      .flags = t->flags[c],
                                      .has_default = t->default_items[c] != NULL,
                                      .default_bsatn = t->defaults[c]};
        t->position = module_builder_table(l->builder, t->name, t->item->flags & ST_ACCESS_PUBLIC ? ACCESS_PUBLIC : ACCESS_PRIVATE,
                                           t->item->flags & ST_F_EVENT, t->row->nfields, cols);
    }
    for (uint32_t i = 0; i < l->nindexes; i++) {
        const FoundIndex *x = &l->indexes[i];
        (x->shape == SHAPE_UNIQUE ? module_builder_unique
         : x->shape == SHAPE_HASH ? module_builder_hash_index
                                  : module_builder_index)(l->builder, l->tables[x->table].position, x->name, x->ncols, x->cols);
    }
    for (uint32_t i = 0; i < l->nsequences; i++) {
        const FoundSequence *x = &l->sequences[i];
        module_builder_sequence(l->builder, l->tables[x->table].position, x->col, x->is->start, x->is->min, x->is->max, x->is->increment);
    }
}

/* Is there a column of this member in an old table of this alias? */
static bool old_table_has(const Loader *l, Str alias, Str member)
{
    for (uint32_t i = 0; i < l->nitems; i++) {
        const st_item *it = l->items[i];
        if (it->kind != ST_ITEM_OLD_TABLE || !str_is(alias, it->name) || !mine(l, it->type, sizeof *it->type, _Alignof(st_type)) ||
            !mine(l, it->type->fields, (size_t)it->type->nfields * sizeof(st_field), _Alignof(st_field)))
            continue;
        Str name;
        for (uint32_t c = 0; c < it->type->nfields; c++)
            if (text_at(l, it->type->fields[c].name, NAME_BYTES_MAX, &name) && str_eq(name, member))
                return true;
    }
    return false;
}

static void declare_index_name(Loader *l, const FoundName *n, const FoundTable *t)
{
    int32_t c = t ? member_column(t, n->word) : -1; /* a column's index has the column's name */
    Str accessor = c >= 0 ? t->row->fields[c].name : n->word;
    if (!t || !module_builder_name_index(l->builder, t->position, accessor, n->name))
        problem(l, "ST_INDEX_NAME(%.*s, %.*s): there is no such index; name one, or a column that has one", STR_FMT(n->owner),
                STR_FMT(n->word));
}

/* Tables, indexes and functions; columns have theirs already. */
static void declare_names(Loader *l)
{
    for (uint32_t i = 0; i < l->nnames; i++) {
        const FoundName *n = &l->names[i];
        const FoundTable *t = table_named(l, n->kind == ST_NAME_TABLE ? n->word : n->owner);
        switch (n->kind) {
        case ST_NAME_TABLE:
            if (t)
                module_builder_name_table(l->builder, t->position, n->name);
            else
                problem(l, "ST_TABLE_NAME(%.*s): there is no such table", STR_FMT(n->word));
            break;
        case ST_NAME_FUNCTION:
            if (function_named(l->functions, l->nfunctions, n->word) || function_named(l->views, l->nviews, n->word))
                module_builder_name_function(l->builder, n->word, n->name);
            else
                problem(l, "ST_FUNCTION_NAME(%.*s): there is no such function", STR_FMT(n->word));
            break;
        case ST_NAME_INDEX: declare_index_name(l, n, t); break;
        case ST_NAME_COLUMN:
            if (t ? member_column(t, n->word) < 0 : !old_table_has(l, n->owner, n->word))
                problem(l, "ST_COLUMN_NAME(%.*s, %.*s): there is no such column", STR_FMT(n->owner), STR_FMT(n->word));
        }
    }
}

/* Paths and methods are the definition's to judge. */
static void declare_route(Loader *l, const st_item *it)
{
    Str handler = str_of(it->name), method = str_of(it->owner), path = str_of(it->ptr);
    if (function_named(l->handlers, l->nhandlers, handler))
        module_builder_route(l->builder, handler, method, path);
    else
        problem(l, "route %s `%s`: %s is no HTTP handler of the module", it->owner, (const char *)it->ptr, it->name);
}

static void declare_handlers(Loader *l)
{
    for (uint32_t i = 0; i < l->nhandlers; i++)
        module_builder_handler(l->builder, l->handlers[i].name);
    for (uint32_t i = 0; i < l->nitems; i++)
        if (l->items[i]->kind == ST_ITEM_ROUTE)
            declare_route(l, l->items[i]);
}

static void declare_functions(Loader *l)
{
    declare_handlers(l);
    for (uint32_t i = 0; i < l->nfunctions; i++) {
        const FoundFunction *f = &l->functions[i];
        static const Lifecycle lifecycles[] = {[ST_FN_REDUCER] = LIFECYCLE_NONE,
                                               [ST_FN_INIT] = LIFECYCLE_INIT,
                                               [ST_FN_CLIENT_CONNECTED] = LIFECYCLE_CONNECT,
                                               [ST_FN_CLIENT_DISCONNECTED] = LIFECYCLE_DISCONNECT};
        if (f->item->flags == ST_FN_PROCEDURE)
            module_builder_procedure(l->builder, f->name, f->params, f->ret);
        else
            module_builder_reducer(l->builder, f->name, f->params, lifecycles[f->item->flags]);
    }
    for (uint32_t i = 0; i < l->nviews; i++) {
        const FoundFunction *f = &l->views[i];
        module_builder_view(l->builder, f->name, f->item->flags & ST_ACCESS_PUBLIC, f->item->flags & ST_F_ANONYMOUS, f->ret);
    }
    for (uint32_t i = 0; i < l->nitems; i++) {
        const st_item *it = l->items[i];
        if (it->kind == ST_ITEM_VIEW_KEY && it->owner)
            module_builder_view_key(l->builder, str_of(it->owner), str_of(it->name));
        else if (it->kind == ST_ITEM_VIEW_KEY)
            problem(l, "the key %s of a view does not say of which: build the module anew with spacetimedb.h", it->name);
    }
    for (uint32_t i = 0; i < l->ntables; i++) {
        const FoundTable *t = &l->tables[i];
        if (!t->schedule)
            continue;
        Str callee = str_of(t->schedule->name);
        const FoundFunction *f = function_named(l->functions, l->nfunctions, callee);
        if (!f)
            problem(l, "table %.*s is scheduled to call %.*s, which is no reducer or procedure of the module", STR_FMT(t->name),
                    STR_FMT(callee));
        else if (f->params->nfields != 1 || !type_equal(f->params->fields[0].type, t->row))
            problem(l, "scheduled function %.*s must take exactly one argument, a row of table %.*s", STR_FMT(callee), STR_FMT(t->name));
        else
            module_builder_schedule(l->builder, t->position, (uint16_t)t->schedule->n, callee);
    }
}

/* ---- migrations ------------------------------------------------------------------------------------------- */

_Static_assert((int)MIGRATE_RENAME_TABLE == (int)ST_MIGRATE_RENAME_TABLE && (int)MIGRATE_RENAME_COLUMN == (int)ST_MIGRATE_RENAME_COLUMN &&
                   (int)MIGRATE_DROP_TABLE == (int)ST_MIGRATE_DROP_TABLE && (int)MIGRATE_DROP_COLUMN == (int)ST_MIGRATE_DROP_COLUMN &&
                   (int)MIGRATE_CONVERT_COLUMN == (int)ST_MIGRATE_CONVERT_COLUMN && (int)MIGRATE_ADD_UNIQUE == (int)ST_MIGRATE_ADD_UNIQUE &&
                   (int)MIGRATE_ADD_PRIMARY_KEY == (int)ST_MIGRATE_ADD_PRIMARY_KEY &&
                   (int)MIGRATE_REPLACE_ROWS == (int)ST_MIGRATE_REPLACE_ROWS && (int)MIGRATE_RUN == (int)ST_MIGRATE_RUN,
               "kinds of operations pass through");

/* Which members of an operation count. */
typedef struct OpShape {
    const char *label;
    bool table, a, b, type, fn;
} OpShape;
static const OpShape op_shapes[MIGRATE_KIND_COUNT] = {
    [MIGRATE_RENAME_TABLE] = {"ST_RENAME_TABLE", .table = true, .a = true},
    [MIGRATE_RENAME_COLUMN] = {"ST_RENAME_COLUMN", .table = true, .a = true, .b = true},
    [MIGRATE_DROP_TABLE] = {"ST_DROP_TABLE", .table = true},
    [MIGRATE_DROP_COLUMN] = {"ST_DROP_COLUMN", .table = true, .a = true},
    [MIGRATE_CONVERT_COLUMN] = {"ST_CONVERT_COLUMN", .table = true, .a = true, .type = true, .fn = true},
    [MIGRATE_ADD_UNIQUE] = {"ST_ADD_UNIQUE", .table = true, .a = true},
    [MIGRATE_ADD_PRIMARY_KEY] = {"ST_ADD_PRIMARY_KEY", .table = true, .a = true},
    [MIGRATE_REPLACE_ROWS] = {"ST_REPLACE_ROWS", .table = true},
    [MIGRATE_RUN] = {"ST_RUN", .a = true, .fn = true},
};

/* A word of an operation as the definition has it: the name given to it, or what the case policy makes of it. Words that
 * nothing is declared under any more pass through the policy alone. */
static Str table_word(Loader *l, Str word)
{
    Str given = name_given(l, ST_NAME_TABLE, (Str){0}, word);
    return given.len ? given : module_builder_canonical(l->builder, word, false);
}
static Str column_word(Loader *l, Str table, Str word)
{
    Str given = name_given(l, ST_NAME_COLUMN, table, word);
    return module_builder_canonical(l->builder, given.len ? given : word, false);
}

/* A text that must be there, or must not. */
static bool op_text(const Loader *l, const char *p, bool wanted, Str *ret)
{
    *ret = (Str){0};
    return wanted ? text_at(l, p, NAME_BYTES_MAX, ret) : p == NULL;
}

static bool read_op(Loader *l, LoadedModule *m, const st_migration_op *op, const Migration *of, MigrationOp *ret)
{
    uint32_t kind = op->kind;
    if (kind == 0 || kind >= MIGRATE_KIND_COUNT) {
        problem(l, "migration %u, operation %u is of a kind (%u) that this host does not know", of->version, ret->position + 1, kind);
        return false;
    }
    const OpShape *shape = &op_shapes[kind];
    Str table, a, b;
    if (!op_text(l, op->table, shape->table, &table) || !op_text(l, op->a, shape->a, &a) || !op_text(l, op->b, shape->b, &b) ||
        op->zero != 0 || (!shape->type && op->type) || (!shape->fn && op->fn)) {
        problem(l, "migration %u, operation %u (%s) is damaged: build the module anew with spacetimedb.h", of->version, ret->position + 1,
                shape->label);
        return false;
    }
    if (shape->fn && !is_code(l, op->fn)) {
        problem(l, "migration %u, operation %u (%s): its function's code is not in the module: build it anew with spacetimedb.h",
                of->version, ret->position + 1, shape->label);
        return false;
    }
    Str where = str_of(arena_sprintf(&l->arena, "migration %u, operation %u (%s)", of->version, ret->position + 1, shape->label));
    if (shape->type && !(ret->type = convert(l, op->type, where, 0)))
        return false;
    ret->kind = (MigrationOpKind)kind;
    if (shape->table)
        ret->table = arena_str(&m->arena, table_word(l, table));
    if (kind == MIGRATE_RENAME_TABLE)
        a = table_word(l, a);
    else if (kind != MIGRATE_RUN && shape->a)
        a = column_word(l, table, a);
    ret->a = arena_str(&m->arena, a);
    if (shape->b)
        ret->b = arena_str(&m->arena, column_word(l, table, b));
    return true;
}

static void add_migration(Loader *l, LoadedModule *m, const st_item *it, Str title)
{
    ASSERT(l->migrations);
    const Migration *last = l->nmigrations ? &l->migrations[l->nmigrations - 1] : NULL;
    const st_migration_op *ops = it->ptr;
    if (it->n == 0) {
        problem(l, "migration \"%.*s\" has the number 0: number migrations from 1", STR_FMT(title));
        return;
    }
    if (last && last->version == it->n) {
        problem(l, "there are two migrations %u, \"%.*s\" and \"%.*s\": number them apart", it->n, STR_FMT(last->title), STR_FMT(title));
        return;
    }
    if (it->flags == 0 || it->flags > MIGRATION_OPS_MAX || !mine(l, ops, it->flags * sizeof *ops, _Alignof(st_migration_op))) {
        problem(l, "migration %u has %u operations; 1 to %d are possible", it->n, it->flags, MIGRATION_OPS_MAX);
        return;
    }
    Migration *to = &l->migrations[l->nmigrations++];
    MigrationOp *list = ARENA_ARRAY(&m->arena, MigrationOp, it->flags);
    *to = (Migration){it->n, arena_str(&m->arena, title), it->flags, list};
    for (uint32_t i = 0; i < it->flags; i++) {
        list[i] = (MigrationOp){.version = it->n, .position = i};
        (void)read_op(l, m, &ops[i], to, &list[i]); /* what is wrong with it was reported */
    }
}

/* All operations' functions in one list, in the order of migrations and operations. */
static void bind_migrations(Loader *l, LoadedModule *m)
{
    uint32_t total = 0, at = 0;
    for (uint32_t i = 0; i < l->nmigrations; i++)
        total += l->migrations[i].nops;
    m->migration_calls = (void (**)(void))arena_alloc(&m->arena, total * sizeof *m->migration_calls);
    for (uint32_t i = 0; i < l->nitems; i++) {
        const st_item *it = l->items[i];
        if (it->kind != ST_ITEM_MIGRATION)
            continue;
        for (uint32_t k = 0; k < it->flags; k++)
            m->migration_calls[at++] = ((const st_migration_op *)it->ptr)[k].fn;
    }
    ASSERT(at == total);
}

static bool has_migration(const Loader *l, uint32_t version)
{
    for (uint32_t i = 0; i < l->nmigrations; i++)
        if (l->migrations[i].version == version)
            return true;
    return false;
}

/* Its position in the section, which is how the module's code names it. */
static uint32_t item_position(const Loader *l, const st_item *it)
{
    uint32_t i = 0;
    while (l->desc->items[i] != it)
        i++;
    return i;
}

static void add_old_table(Loader *l, LoadedModule *m, const st_item *it, Str alias)
{
    Str table = it->owner ? str_of(it->owner) : (Str){0};
    const Type *row = convert_struct(l, it->type, alias, true);
    if (!row)
        return;
    if (!table.len || it->flags)
        problem(l, "old table %.*s: its record is damaged: build the module anew with spacetimedb.h", STR_FMT(alias));
    for (uint32_t i = 0; i < row->nfields; i++)
        if (!column_flags_known(it->type->fields[i].flags))
            problem(l, "old table %.*s, column %.*s: attributes (0x%x) that this host does not know", STR_FMT(alias),
                    STR_FMT(row->fields[i].name), it->type->fields[i].flags);
    if (!has_migration(l, it->n))
        problem(l,
                "old table %.*s is of before migration %u, which the module does not have: number it after the ST_MIGRATION that reads it",
                STR_FMT(alias), it->n);
    if (table_named(l, alias))
        problem(l, "%.*s is a table and an old table: give the old one another name", STR_FMT(alias));
    for (uint32_t i = 0; i < l->nold_tables; i++) {
        const st_item *other = l->old_items[i];
        if (str_is(alias, other->name) &&
            (other->n != it->n || !str_is(table, other->owner ? other->owner : "") || !type_equal(l->old_tables[i].row, row)))
            problem(l, "old table %.*s is declared in two source files, differently: put it into one header that both include",
                    STR_FMT(alias));
    }
    l->old_items[l->nold_tables] = it;
    l->old_tables[l->nold_tables++] = (ModuleOldTable){item_position(l, it), it->n, arena_str(&m->arena, table_word(l, table)), row};
}

/* Migrations, in the order of their numbers, then old tables; both outlive the builder. */
static void read_migrations(Loader *l, LoadedModule *m)
{
    l->migration.arena = &m->arena;
    l->types = &l->migration;
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->nitems; i++)
        n += l->items[i]->kind == ST_ITEM_MIGRATION || l->items[i]->kind == ST_ITEM_OLD_TABLE;
    l->migrations = ARENA_ARRAY(&m->arena, Migration, n + 1);
    l->old_tables = ARENA_ARRAY(&m->arena, ModuleOldTable, n + 1);
    l->old_items = ARENA_ARRAY(&l->arena, const st_item *, n + 1);
    for (uint32_t i = 0; i < l->nitems; i++) {
        const st_item *it = l->items[i];
        if (it->kind == ST_ITEM_MIGRATION)
            add_migration(l, m, it, str_of(it->name));
        else if (it->kind == ST_ITEM_OLD_TABLE)
            add_old_table(l, m, it, str_of(it->name));
    }
    if (l->nmigrations > MIGRATIONS_MAX)
        problem(l, "the module has %u migrations, at most %d are possible: remove those that every database has run", l->nmigrations,
                MIGRATIONS_MAX);
    l->types = &l->definition;
}

static st_status call_migration(Module *module, uint32_t version, uint32_t position, st_reducer_ctx *ctx, const void *from, void *to)
{
    const LoadedModule *m = (const LoadedModule *)module;
    const Migrations *all = &m->module.migrations;
    uint32_t i = 0, first = 0;
    for (; i < all->n && all->list[i].version != version; i++)
        first += all->list[i].nops;
    ASSERT(i < all->n && position < all->list[i].nops);
    void (*call)(void) = m->migration_calls[first + position];
    ASSERT(call);
    return all->list[i].ops[position].kind == MIGRATE_RUN ? ((st_call_run *)call)(ctx) : ((st_call_convert *)call)(ctx, from, to);
}

/* ---- binding --------------------------------------------------------------------------------------------------- */

static st_status call_reducer(Module *m, uint32_t id, st_reducer_ctx *ctx, const void *args)
{
    return ((LoadedModule *)m)->reducers[id](ctx, args);
}

/* Which code runs for which reducer of the definition. */
static void bind_reducers(Loader *l, LoadedModule *m)
{
    const ModuleDef *def = m->module.def;
    m->reducers = ARENA_ARRAY(&m->arena, st_call_reducer *, def->nreducers);
    for (uint32_t i = 0; i < def->nreducers; i++) {
        const FoundFunction *f = function_named(l->functions, l->nfunctions, def->reducers[i].source_name);
        const Type *params = def->reducers[i].params; /* f->params died with the builder */
        const st_type *compiled = f ? f->item->type : NULL;
        if (!f || f->item->flags == ST_FN_PROCEDURE || params->nfields != (compiled ? compiled->nfields : 0) ||
            (compiled && params->size != compiled->size))
            problem(l, "reducer %.*s came out differently in the definition: a fault of the host", STR_FMT(def->reducers[i].name));
        else
            m->reducers[i] = (st_call_reducer *)(void (*)(void))f->item->call;
    }
}

static st_status call_procedure(Module *m, uint32_t id, st_proc_ctx *ctx, const void *args, void *ret)
{
    return ((LoadedModule *)m)->procedures[id](ctx, args, ret);
}

static void bind_procedures(Loader *l, LoadedModule *m)
{
    const ModuleDef *def = m->module.def;
    m->procedures = ARENA_ARRAY(&m->arena, st_call_procedure *, def->nprocedures + 1);
    for (uint32_t i = 0; i < def->nprocedures; i++) {
        const FoundFunction *f = function_named(l->functions, l->nfunctions, def->procedures[i].source_name);
        const Type *params = def->procedures[i].params, *ret = def->procedures[i].ret;
        const st_type *compiled = f ? f->item->type : NULL;
        if (!f || f->item->flags != ST_FN_PROCEDURE || params->nfields != (compiled ? compiled->nfields : 0) ||
            (compiled && params->size != compiled->size) || !f->item->ret || ret->size != f->item->ret->size)
            problem(l, "procedure %.*s came out differently in the definition: a fault of the host", STR_FMT(def->procedures[i].name));
        else
            m->procedures[i] = (st_call_procedure *)(void (*)(void))f->item->call;
    }
}

static st_status call_handler(Module *m, uint32_t id, st_proc_ctx *ctx, const st_http_request *request, st_http_response *response)
{
    return ((LoadedModule *)m)->handlers[id](ctx, request, response);
}

/* The definition keeps them in the order in which they were declared. */
static void bind_handlers(Loader *l, LoadedModule *m)
{
    m->handlers = ARENA_ARRAY(&m->arena, st_call_handler *, l->nhandlers + 1);
    for (uint32_t i = 0; i < l->nhandlers; i++)
        m->handlers[i] = (st_call_handler *)(void (*)(void))l->handlers[i].item->call;
    if (m->module.def->nhttp_handlers != l->nhandlers)
        problem(l, "HTTP handlers came out differently in the definition: a fault of the host");
}

static st_status call_view(Module *module, uint32_t id, const st_view_ctx *ctx, void *host)
{
    const LoadedModule *m = (const LoadedModule *)module;
    if (!module->def->views[id].is_anonymous)
        return ((st_call_view *)m->views[id])(ctx, ctx->api, host);
    const st_anon_view_ctx anonymous = {.api = ctx->api, .call = ctx->call, .db = ctx->db, .database = ctx->database};
    return ((st_call_anon_view *)m->views[id])(&anonymous, ctx->api, host);
}

static void bind_views(Loader *l, LoadedModule *m)
{
    const ModuleDef *def = m->module.def;
    m->views = (void (**)(void))arena_alloc(&m->arena, (def->nviews + 1) * sizeof *m->views);
    for (uint32_t i = 0; i < def->nviews; i++) {
        const ViewDef *v = &def->views[i];
        const FoundFunction *f = function_named(l->views, l->nviews, v->source_name);
        if (!f || !f->item->type || v->row->size != f->item->type->size || v->is_anonymous != !!(f->item->flags & ST_F_ANONYMOUS))
            problem(l, "view %.*s came out differently in the definition: a fault of the host", STR_FMT(v->name));
        else
            m->views[i] = f->item->call;
    }
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

bool loader_is_mapped(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    if (library)
        dlclose(library);
    return library != NULL;
}

static void close_library(void *library, const char *path)
{
    if (dlclose(library) != 0)
        log_warn("closing the module %s: %s", path, dlerror());
    else if (loader_is_mapped(path))
        log_warn("the module %s stays mapped after closing; its memory is lost until this worker ends", path);
}

static void unload(Module *module)
{
    LoadedModule *m = (LoadedModule *)module;
    module_def_unref(m->module.def);
    sandbox_code_remove(&m->code);
    if (m->library)
        close_library(m->library, m->path);
    free(m->path);
    arena_done(&m->arena);
    free(m);
}

static Status read_file(const char *path, Buf *out, Error *err)
{
    OWN(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? FAIL(err, S_NOT_FOUND, "the module file %s: %s", path, strerror(errno))
                               : FAIL(err, S_IO, "the module file %s: %s", path, strerror(errno));
    struct stat sb;
    if (fstat(fd, &sb) != 0 || !S_ISREG(sb.st_mode))
        return FAIL(err, S_IO, "the module file %s is not a regular file", path);
    if (sb.st_size > ELF_FILE_BYTES_MAX)
        return FAIL(err, S_TOO_LARGE, "the module has %lld bytes, at most %d are possible: strip debug information (strip -g)",
                    (long long)sb.st_size, ELF_FILE_BYTES_MAX);
    size_t size = (size_t)sb.st_size;
    if (size && !buf_reserve(out, size))
        return FAIL(err, S_TOO_LARGE, "the module has %zu bytes", size);
    while (out->len < size) {
        ssize_t n = read(fd, out->ptr + out->len, size - out->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return FAIL(err, S_IO, "reading the module file %s: %s", path, n < 0 ? strerror(errno) : "it became shorter");
        out->len += (size_t)n;
    }
    return S_OK;
}

static Status describe(Loader *l, LoadedModule *m, Error *err)
{
    struct link_map *map;
    l->desc = dlsym(m->library, "st_module");
    if (!l->desc || dlinfo(m->library, RTLD_DI_LINKMAP, &map) != 0)
        return FAIL(err, S_INVALID, "no st_module: is ST_MODULE(name, \"version\") missing?");
    l->base = map->l_addr;
    dl_iterate_phdr(find_ranges, l);
    m->code.base = l->base;
    for (uint32_t i = 0; i < l->nranges; i++)
        if (l->ranges[i].executable)
            m->code.text = l->ranges[i].from, m->code.text_end = l->ranges[i].to;
    sandbox_code_add(&m->code);
    if (!handshake(l))
        return refuse(l, err);
    l->builder = module_builder_new();
    l->definition = (TypeHome){.arena = module_builder_arena(l->builder), .declared = true};
    l->types = &l->definition;
    read_items(l);
    declare_tables(l);
    bool good = l->nproblems == 0;
    if (good) /* functions name rows; without their tables they would be wrong for no fault of theirs */
        read_functions(l);
    read_migrations(l, m);
    if (good && l->nproblems == 0) {
        declare_functions(l);
        declare_names(l);
    }
    OWN(buf) Buf bsatn = {0};
    Status st = module_builder_finish(l->builder, &bsatn, err);
    l->builder = NULL;
    if (l->nproblems)
        return refuse(l, err);
    TRY(st);
    m->module.definition = (Bytes){arena_copy(&m->arena, bsatn.ptr, bsatn.len), bsatn.len};
    TRY(module_def_from_bsatn(&m->module.def, m->module.definition, err));
    bind_reducers(l, m);
    bind_procedures(l, m);
    bind_handlers(l, m);
    bind_views(l, m);
    if (l->nproblems)
        return refuse(l, err);
    bind_migrations(l, m);
    m->module.name = arena_str(&m->arena, str_of(l->desc->name));
    m->module.version = arena_str(&m->arena, str_of(l->desc->version));
    m->module.items = l->desc->items;
    m->module.nitems = l->nitems;
    m->module.call_reducer = call_reducer;
    m->module.call_procedure = call_procedure;
    m->module.call_handler = call_handler;
    m->module.call_view = call_view;
    m->module.migrations = (Migrations){.n = l->nmigrations, .list = l->migrations};
    m->module.call_migration = l->nmigrations ? call_migration : NULL;
    m->module.nold_tables = l->nold_tables;
    m->module.old_tables = l->old_tables;
    m->module.unload = unload;
    return S_OK;
}

static Status open_checked(Loader *l, LoadedModule *m, Error *err)
{
    {
        OWN(buf) Buf file = {0};
        TRY(read_file(m->path, &file, err));
        if ((l->nproblems = elf_check(buf_bytes(&file), &l->problems)) != 0)
            return refuse(l, err);
        m->code.nfunctions = elf_functions(buf_bytes(&file), &m->arena, &m->code.functions);
    }
    if (loader_is_mapped(m->path))
        return FAIL(err, S_CONFLICT, "the module file %s is open already: every load needs a file name of its own", m->path);
    m->library = dlopen(m->path, RTLD_NOW | RTLD_LOCAL);
    if (!m->library)
        return FAIL(err, S_INVALID, "the module cannot be opened: %s", dlerror());
    return describe(l, m, err);
}

Status loader_open(Str path, Module **ret, Error *err)
{
    if (path.len == 0 || path.ptr[0] != '/' || memchr(path.ptr, 0, path.len))
        return FAIL(err, S_INVALID, "the path of a module must be absolute");
    LoadedModule *m = NEW(LoadedModule);
    m->path = x_sprintf("%.*s", STR_FMT(path));
    Loader l = {0};
    Status st = open_checked(&l, m, err);
    ASSERT(l.builder == NULL);
    buf_done(&l.problems);
    free(l.definition.converted);
    free(l.migration.converted);
    arena_done(&l.arena);
    if (st != S_OK) {
        unload(&m->module);
        return st;
    }
    *ret = &m->module;
    return S_OK;
}
