/* Plans: what is planned, what is forbidden, all reasons at once. Numbers in names: schema-and-migration.md
 * section 6. A module is written as text: "T(a u32*, b str=x) pub" and so on (see parse_module). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "host/schema/diff.h"

/* ---- modules as text --------------------------------------------------------------------------
 * module   = { table | reducer } separated by ';'
 * table    = NAME '(' column {',' column} ')' { " i:" col {'+' col} | " pub" | " priv" | " ev" | " sch:" FUNCTION }
 * column   = NAME type { '*' key | '!' unique | '~' auto-increment | '=' default zero }
 * reducer  = '@' NAME '(' [column] ')' */

static const Type *type_of(ModuleBuilder *b, const char *name)
{
    static const struct {
        const char *name;
        TypeKind kind;
    } kinds[] = {{"u8", TYPE_U8},   {"u16", TYPE_U16}, {"u32", TYPE_U32},    {"u64", TYPE_U64},
                 {"i64", TYPE_I64}, {"f64", TYPE_F64}, {"str", TYPE_STRING}, {"at", TYPE_SCHEDULE_AT}};
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return type_scalar(kinds[i].kind);
    Arena *a = module_builder_arena(b);
    if (strcmp(name, "opt") == 0)
        return type_option(a, type_scalar(TYPE_U32));
    if (strncmp(name, "enum", 4) == 0) { /* enumABC: variants A, B, C of type Kind */
        Field v[8];
        uint32_t n = 0;
        for (const char *c = name + 4; *c; c++)
            v[n++] = (Field){.name = {c, 1}, .type = &type_unit};
        return module_builder_named(b, STR("Kind"), type_sum(a, n, v));
    }
    fail_msg("type %s", name);
    return NULL;
}

static BuilderColumn parse_column(ModuleBuilder *b, char *text)
{
    char *type = strchr(text, ' ');
    *type++ = 0;
    size_t len = strcspn(type, "*!~=");
    BuilderColumn c = {.name = str_of(text)};
    for (char *f = type + len; *f; f++)
        c.flags |= *f == '*' ? COLUMN_PK : *f == '!' ? COLUMN_UNIQUE : *f == '~' ? COLUMN_AUTO_INC : 0;
    c.has_default = strchr(type, '=');
    type[len] = 0;
    c.type = type_of(b, type);
    if (c.has_default) {
        Buf zero = {0};
        void *v = arena_alloc(module_builder_arena(b), c.type->size);
        value_encode(&zero, c.type, v);
        c.default_bsatn = bytes_of(arena_copy(module_builder_arena(b), zero.ptr, zero.len), zero.len);
        buf_done(&zero);
    }
    return c;
}

static uint32_t parse_columns(ModuleBuilder *b, char *text, BuilderColumn *cols)
{
    uint32_t n = 0;
    char *save = NULL;
    for (char *c = strtok_r(text, ",", &save); c; c = strtok_r(NULL, ",", &save))
        cols[n++] = parse_column(b, c + strspn(c, " "));
    return n;
}

static void parse_index(ModuleBuilder *b, uint32_t table, char *text, uint32_t n, const BuilderColumn *cols)
{
    uint16_t which[8], count = 0;
    char *save = NULL;
    for (char *c = strtok_r(text, "+", &save); c; c = strtok_r(NULL, "+", &save))
        for (uint16_t i = 0; i < n; i++)
            if (str_is(cols[i].name, c))
                which[count++] = i;
    module_builder_index(b, table, STR("ix"), count, which);
}

static void parse_table(ModuleBuilder *b, char *text)
{
    BuilderColumn cols[8];
    char *open = strchr(text, '('), *close = strchr(text, ')'), *save = NULL;
    *open = *close = 0;
    uint32_t n = parse_columns(b, open + 1, cols);
    bool private = strstr(close + 1, "priv"), event = strstr(close + 1, " ev");
    uint32_t t = module_builder_table(b, str_of(text), private ? ACCESS_PRIVATE : ACCESS_PUBLIC, event, n, cols);
    for (char *w = strtok_r(close + 1, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        if (strncmp(w, "i:", 2) == 0)
            parse_index(b, t, w + 2, n, cols);
        if (strncmp(w, "sch:", 4) == 0) {
            Field f = {.name = STR("row"), .type = module_builder_row(b, t)};
            module_builder_schedule(b, t, 1, str_of(w + 4));
            module_builder_reducer(b, str_of(w + 4), type_product(module_builder_arena(b), 1, &f), LIFECYCLE_NONE);
        }
    }
}

static void parse_reducer(ModuleBuilder *b, char *text)
{
    BuilderColumn cols[8];
    Field params[8];
    char *open = strchr(text, '('), *close = strchr(text, ')');
    *open = *close = 0;
    uint32_t n = parse_columns(b, open + 1, cols);
    for (uint32_t i = 0; i < n; i++)
        params[i] = (Field){.name = cols[i].name, .type = cols[i].type};
    module_builder_reducer(b, str_of(text), type_product(module_builder_arena(b), n, params), LIFECYCLE_NONE);
}

static ModuleDef *parse_module(const char *source)
{
    char text[1000], *save = NULL;
    snprintf(text, sizeof text, "%s", source);
    ModuleBuilder *b = module_builder_new();
    for (char *part = strtok_r(text, ";", &save); part; part = strtok_r(NULL, ";", &save)) {
        part += strspn(part, " ");
        if (*part == '@')
            parse_reducer(b, part + 1);
        else if (*part)
            parse_table(b, part);
    }
    Buf bytes = {0};
    Error err;
    ModuleDef *def = NULL;
    if (module_builder_finish(b, &bytes, &err) != S_OK || module_def_from_bsatn(&def, buf_bytes(&bytes), &err) != S_OK)
        fail_msg("%s\n%s", source, err.text);
    buf_done(&bytes);
    return def;
}

static void expect(const char *old, const char *new, const char *want)
{
    ModuleDef *from = parse_module(old), *to = parse_module(new);
    Plan plan;
    Buf text = {0};
    plan_make(&plan, from, to, NULL);
    plan_print(&text, &plan, false);
    assert_string_equal(buf_cstr(&text), want);
    assert_true(plan.forbidden.len == 0 || plan.nsteps == 0);
    buf_done(&text);
    plan_done(&plan);
    module_def_unref(from);
    module_def_unref(to);
}

#define NOTHING "No changes to tables or functions\n"

/* ---- allowed ---------------------------------------------------------------------------------- */

static void nothing_changed_plans_nothing(void **state)
{
    (void)state;
    expect("T(a u32)", "T(a u32)", NOTHING);
    expect("T(a u32=)", "T(a u32)", NOTHING); /* 69: defaults of existing columns do not count */
    expect("", "", NOTHING);
}

static void tables_are_added(void **state)
{ /* 1, 4, 73 */
    (void)state;
    expect("", "T(a u32); U(x u64*~) priv; E(a u8) ev",
           "Created table: E (public, event)\nCreated table: T (public)\nCreated table: U (private)\n");
    expect("T(a u32)", "T(a u32); S(id u64*, at at) sch:f", "Created table: S (public, scheduled)\nAdded reducer: f\n");
}

static void defaulted_columns_are_appended(void **state)
{ /* 7, 8, 11, 48 */
    (void)state;
    expect("T(a u32)", "T(a u32, b u16=, c str=)", "Added columns: T: b: u16, c: String (may break clients)\n");
    expect("T(a u32)", "T(a u32, b opt=)", "Added columns: T: b: Option<u32> (may break clients)\n");
}

static void indexes_come_and_go(void **state)
{ /* 23, 24, 26, and a column with an index on it in one publish */
    (void)state;
    expect("T(a u32, b u32)", "T(a u32, b u32) i:b", "Created index: T_b_idx_btree on T [b]\n");
    expect("T(a u32, b u32) i:b", "T(a u32, b u32)", "Removed index: T_b_idx_btree on T [b] (may break clients)\n");
    expect("T(a u32, b u32) i:a+b", "T(a u32, b u32) i:b+a",
           "Removed index: T_a_b_idx_btree on T [a, b] (may break clients)\nCreated index: T_b_a_idx_btree on T [b, a]\n");
    expect("T(a u32)", "T(a u32, c u32=) i:c; U(x u32)",
           "Added columns: T: c: u32 (may break clients)\nCreated table: U (public)\nCreated index: T_c_idx_btree on T [c]\n");
}

static void unique_can_be_dropped_and_a_primary_key_stays(void **state)
{ /* 33, 38, 39 */
    (void)state;
    expect("T(a u32!)", "T(a u32)",
           "Removed index: T_a_idx_btree on T [a] (may break clients)\nRemoved unique constraint: T_a_key on T [a]\n");
    expect("T(a u32*)", "T(a u32!)",
           "table `T`, column `a`: is no longer the primary key; this edition keeps the rows of a table under the key that it began with, "
           "keep it\n");
}

static void auto_increment_comes_and_goes(void **state)
{ /* 41, 45 */
    (void)state;
    expect("T(a u64)", "T(a u64~)", "Added auto-increment: T_a_seq on T [a]\n");
    expect("T(a u64~)", "T(a u64)", "Removed auto-increment: T_a_seq on T [a]\n");
}

static void access_changes(void **state)
{ /* 49, 50 */
    (void)state;
    expect("T(a u8) priv", "T(a u8)", "Changed access: T (private -> public)\n");
    expect("T(a u8)", "T(a u8) priv", "Changed access: T (public -> private) (may break clients)\n");
}

static void reducers_come_go_and_change(void **state)
{ /* 77, 78 */
    (void)state;
    expect("@f(a u32); @g()", "@f(a str); @h()",
           "Added reducer: h\nChanged reducer: f (may break clients)\nRemoved reducer: g (may break clients)\n");
    expect("@f(a u32); @g()", "@g(); @f(a u32)", NOTHING);
}

static void steps_stand_in_execution_order(void **state)
{ /* 105 */
    (void)state;
    expect("T(a u32, b u32) i:b", "T(a u32, b u32, c u32=, d str=) priv",
           "Removed index: T_b_idx_btree on T [b] (may break clients)\n"
           "Added columns: T: c: u32, d: String (may break clients)\n"
           "Changed access: T (public -> private) (may break clients)\n");
}

/* ---- forbidden -------------------------------------------------------------------------------- */

static void tables_cannot_go(void **state)
{ /* 5, 98 */
    (void)state;
    expect("T(a u32); U(b u8)", "T(a u32)",
           "table `U`: was removed; keep it, even unused, or publish with --delete-data to start afresh\n");
    expect("FruitBasket(a u32)", "fruit_basket(a u32)",
           "table `FruitBasket`: was removed, and `fruit_basket` added, which differs only in case; keep the old spelling\n");
}

static void columns_need_a_default(void **state)
{ /* 12, 15 */
    (void)state;
    expect("T(a u32)", "T(a u32, b u16=, c u32)",
           "table `T`, column `c` (u32): was added without a default, and existing rows need a value; give it one\n");
}

static void columns_cannot_be_inserted_moved_removed_or_renamed(void **state)
{ /* 13, 14, 16, 17, 18, 19 */
    (void)state;
    expect("T(a u32, b u8)", "T(a u32, m u8=, b u8)",
           "table `T`, column `b`: moved from position 1 to 2; keep existing columns where they are and append new ones at the end\n"
           "table `T`, column `m` (u8): was added at position 1, before the end of the old columns; append it at the end\n");
    expect("T(a u32, b u8)", "T(a u32)", "table `T`, column `b` (u8): was removed; keep it, even unused\n");
    expect("T(a u32, b u8)", "T(b u8, a u32)",
           "table `T`, column `a`: moved from position 0 to 1; keep existing columns where they are and append new ones at the end\n"
           "table `T`, column `b`: moved from position 1 to 0; keep existing columns where they are and append new ones at the end\n");
    expect("T(a u32)", "T(z u32=)",
           "table `T`, column `a` (u32): was renamed to `z` or removed; keep the old name\n"
           "table `T`, column `z` (u32): was added at position 0, before the end of the old columns; append it at the end\n");
}

static void types_cannot_change(void **state)
{ /* 20, 21, 60, 61; growing an enum is not planned by this edition either */
    (void)state;
    expect("T(a u32)", "T(a u64)",
           "table `T`, column `a`: type changed from u32 to u64; keep the type, and append a new column with a default for the new one\n");
    expect("T(a u32)", "T(a opt)",
           "table `T`, column `a`: type changed from u32 to Option<u32>; keep the type, and append a new column with a default for the new "
           "one\n");
    expect("T(k enumAB)", "T(k enumABC)",
           "table `T`, column `k`: type changed from Kind = enum { A, B } to Kind = enum { A, B, C }; keep the type, and append a new "
           "column with a "
           "default for the new one\n");
}

static void keys_cannot_be_added_or_moved(void **state)
{ /* 34, 36, 37, 134 */
    (void)state;
    expect("T(a u32)", "T(a u32!)",
           "table `T`, column `a`: it became unique; existing rows may repeat values, declare a new table and copy the rows\n");
    expect("T(a u32)", "T(a u32*)",
           "table `T`, column `a`: became the primary key; a table that exists cannot get one, declare a new table and copy the rows\n");
    expect("T(a u32*, b u32!)", "T(a u32!, b u32*)",
           "table `T`, column `b`: is the primary key instead of `a`; keep the primary key where it is\n");
}

static void event_flag_and_schedule_stay(void **state)
{ /* 53, 54, 70, 71, 72 */
    (void)state;
    expect("T(a u8)", "T(a u8) ev", "table `T`: became an event table; declare a new table under another name\n");
    expect("T(a u8) ev", "T(a u8)", "table `T`: is no longer an event table; declare a new table under another name\n");
    expect("T(id u64*, at at)", "T(id u64*, at at) sch:f", "table `T`: became scheduled (function `f`); declare a new scheduled table\n");
    expect("T(id u64*, at at) sch:f", "T(id u64*, at at)", "table `T`: is no longer scheduled (function `f`); keep the schedule\n");
    expect("T(id u64*, at at) sch:f", "T(id u64*, at at) sch:g",
           "table `T`: schedule changed from function `f` to `g`; keep the function's name\n");
}

static void all_reasons_are_listed(void **state)
{ /* 111 */
    (void)state;
    expect("T(a u32, b u8); U(x u8)", "T(b u8, a u64, c u8) ev; @f()",
           "table `U`: was removed; keep it, even unused, or publish with --delete-data to start afresh\n"
           "table `T`, column `a`: moved from position 0 to 1; keep existing columns where they are and append new ones at the end\n"
           "table `T`, column `b`: moved from position 1 to 0; keep existing columns where they are and append new ones at the end\n"
           "table `T`, column `a`: type changed from u32 to u64; keep the type, and append a new column with a default for the new one\n"
           "table `T`, column `c` (u8): was added without a default, and existing rows need a value; give it one\n"
           "table `T`: became an event table; declare a new table under another name\n");
}

static void colours_surround_verbs_and_tables(void **state)
{
    (void)state;
    ModuleDef *from = parse_module(""), *to = parse_module("T(a u8)");
    Plan plan;
    Buf text = {0};
    plan_make(&plan, from, to, NULL);
    plan_print(&text, &plan, true);
    assert_string_equal(buf_cstr(&text), "\033[1;32mCreated table\033[0m: \033[1;36mT\033[0m (public)\n");
    buf_done(&text);
    plan_done(&plan);
    module_def_unref(from);
    module_def_unref(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changed_plans_nothing),
        cmocka_unit_test(tables_are_added),
        cmocka_unit_test(defaulted_columns_are_appended),
        cmocka_unit_test(indexes_come_and_go),
        cmocka_unit_test(unique_can_be_dropped_and_a_primary_key_stays),
        cmocka_unit_test(auto_increment_comes_and_goes),
        cmocka_unit_test(access_changes),
        cmocka_unit_test(reducers_come_go_and_change),
        cmocka_unit_test(steps_stand_in_execution_order),
        cmocka_unit_test(tables_cannot_go),
        cmocka_unit_test(columns_need_a_default),
        cmocka_unit_test(columns_cannot_be_inserted_moved_removed_or_renamed),
        cmocka_unit_test(types_cannot_change),
        cmocka_unit_test(keys_cannot_be_added_or_moved),
        cmocka_unit_test(event_flag_and_schedule_stay),
        cmocka_unit_test(all_reasons_are_listed),
        cmocka_unit_test(colours_surround_verbs_and_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
