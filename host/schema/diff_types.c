/* diff_types.c - which changes of a column's type leave its rows as they are (schema-and-migration.md 3.4).
 *
 * A sum may gain variants at its end as long as its size and alignment in memory stay (the author's C struct: type.h); so may sums inside
 * structs, options and arrays. Everything else must be equal, names included. */
#include "host/schema/diff_int.h"

#include <stdio.h>

typedef struct Walk {
    Diff *d;
    const OldTable *table;
    const OldColumn *column;
    bool within, grown;
} Walk;

static void refuse(Walk *w, const char *kind, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void refuse(Walk *w, const char *kind, const char *fmt, ...)
{
    char what[500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    forbid(w->d, kind, w->table->name, w->column->name,
           AT_COLUMN "%s%s; keep it as it was, append a new column with a default, or say "
                     "ST_CONVERT_COLUMN in an ST_MIGRATION",
           STR_FMT(w->table->name), STR_FMT(w->column->name), w->within ? "inside its type, " : "", what);
}

static bool is_sum(const Type *t) { return t->kind == TYPE_SUM || t->kind == TYPE_ENUM; }

static void walk(Walk *w, const Type *was, const Type *is);

static void walk_inside(Walk *w, const Type *was, const Type *is)
{
    bool outer = w->within;
    w->within = true;
    walk(w, was, is);
    w->within = outer;
}

static void walk_sums(Walk *w, const Type *was, const Type *is)
{
    const char *name = type_text(w->d, was, false);
    for (uint32_t i = 0; i < MIN(was->nfields, is->nfields); i++) {
        const Field *a = &was->fields[i], *b = &is->fields[i];
        if (!str_eq(a->name, b->name))
            refuse(w, "RenamedVariant", "variant %u of %s is now `%.*s` instead of `%.*s`%s", i, name, STR_FMT(b->name), STR_FMT(a->name),
                   same_but_case(a->name, b->name)
                       ? " (they differ only in case: is it the case policy? ST_CASE(NONE) keeps names as written)"
                       : " (new variants go to the end)");
        walk_inside(w, a->type, b->type);
    }
    if (is->nfields < was->nfields)
        refuse(w, "FewerVariants", "%s has %u variants instead of %u", name, is->nfields, was->nfields);
    if (is->size != was->size)
        refuse(w, "SizeMismatch", "%s takes %u bytes instead of %u", name, is->size, was->size);
    if (is->align != was->align)
        refuse(w, "AlignMismatch", "%s is aligned to %u bytes instead of %u", name, is->align, was->align);
    w->grown |= is->nfields > was->nfields;
}

static void walk_products(Walk *w, const Type *was, const Type *is)
{
    const char *name = type_text(w->d, was, false);
    if (was->nfields != is->nfields) {
        refuse(w, "FewerFields", "%s has %u fields instead of %u", name, is->nfields, was->nfields);
        return;
    }
    for (uint32_t i = 0; i < was->nfields; i++) {
        const Field *a = &was->fields[i], *b = &is->fields[i];
        if (!str_eq(a->name, b->name))
            refuse(w, "RenamedField", "field %u of %s is now `%.*s` instead of `%.*s`", i, name, STR_FMT(b->name), STR_FMT(a->name));
        walk_inside(w, a->type, b->type);
    }
}

static void walk(Walk *w, const Type *was, const Type *is)
{
    if (type_equal(was, is))
        return;
    if (is_sum(was) && is_sum(is)) {
        walk_sums(w, was, is);
    } else if (was->kind != is->kind) {
        const char *a = type_text(w->d, was, false), *b = type_text(w->d, is, false);
        bool alike = strcmp(a, b) == 0;
        refuse(w, w->within ? "ChangeWithinColumnType" : "ChangeColumnType", "the type changed from %s to %s",
               alike ? type_text(w->d, was, true) : a, alike ? type_text(w->d, is, true) : b);
    } else if (was->kind == TYPE_PRODUCT) {
        walk_products(w, was, is);
    } else if (was->kind == TYPE_ARRAY || was->kind == TYPE_OPTION) {
        walk_inside(w, was->elem, is->elem);
    } else { /* RESULT; scalars of one kind are equal */
        for (uint32_t i = 0; i < was->nfields; i++)
            walk_inside(w, was->fields[i].type, is->fields[i].type);
    }
}

void compare_types(Diff *d, const OldTable *t, const OldColumn *c, const Type *was, const Type *is, bool *ret_grown)
{
    Walk w = {.d = d, .table = t, .column = c};
    walk(&w, was, is);
    *ret_grown |= w.grown;
}
