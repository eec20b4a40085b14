/* query_sql_test.c - the statements of spec sql-and-subscriptions.md section 7 that concern one table.
 * Numbers at the left are the sheet's. A case is a statement and either rows (sorted text), counts, or the words that
 * the refusal must contain. */
#include "tests/unit/query_kit.h"

#include <math.h>

#include "host/query/query_int.h"

/* What each error class must say. */
#define SYNTAX "!syntax error"
#define EMPTY "!Empty SQL query"
#define MULTI "!multiple statements"
#define UNSUP "!unsupported"
#define LENGTH "!limit of 50000"
#define DEPTH "!recursion limit"
#define NOTABLE "!no such table"
#define SCOPE "!"
#define NOFIELD "!does not have a field"
#define STARJOIN "!SELECT * is not supported for joins"
#define UNQUAL "!must be qualified"
#define DUPNAME "!duplicate name"
#define TYPE_ "!type mismatch"
#define LITERAL "!cannot be parsed as type"
#define UNTYPED "!cannot infer the type"
#define OP "!invalid binary operator"
#define ARITY "!gives"
#define NOCOL "!does not have a field"
#define AUTH "!not authorized"
#define CONSTRAINT "!"
#define JOIN "!joins come with a later edition"

typedef struct Case {
    int number;
    const char *sql, *expect;
} Case;

static Engine *db(void)
{
    ModuleBuilder *b = module_builder_new();
    Arena *a = module_builder_arena(b);
    Field variants[] = {{.name = STR("A"), .type = &type_unit}, {.name = STR("B"), .type = &type_unit}};
    const Type *en = module_builder_named(b, STR("En"), type_sum(a, 2, variants));
    uint32_t goods = KIT_TABLE(b, "goods", ACCESS_PUBLIC, false, {"id", T(U64), COLUMN_PK}, {"sku", T(STRING), 0},
                               {"price", T(I32), COLUMN_INDEX}, {"live", T(BOOL), 0});
    (void)goods;
    KIT_TABLE(b, "seller", ACCESS_PUBLIC, false, {"id", T(U64), COLUMN_PK}, {"good", T(U64), COLUMN_INDEX});
    KIT_TABLE(b, "acct", ACCESS_PUBLIC, false, {"who", T(IDENTITY), 0});
    KIT_TABLE(b, "bag", ACCESS_PUBLIC, false, {"a", T(U8), 0});
    KIT_TABLE(b, "vault", ACCESS_PRIVATE, false, {"id", T(U64), 0});
    KIT_TABLE(b, "Order", ACCESS_PUBLIC, false, {"user", T(U32), 0}, {"position", T(U32), 0}, {"interval", T(U32), 0});
    KIT_TABLE(b, "таблица", ACCESS_PUBLIC, false, {"名", T(U32), 0});
    KIT_TABLE(b, "auto", ACCESS_PUBLIC, false, {"id", T(U64), COLUMN_PK | COLUMN_AUTO_INC}, {"v", T(U32), 0});
    KIT_TABLE(b, "stamps", ACCESS_PUBLIC, false, {"ts", T(TIMESTAMP), COLUMN_PK}, {"uu", T(UUID), 0}, {"by", T(BYTES), 0});
    KIT_TABLE(b, "kinds", ACCESS_PUBLIC, false, {"b", T(BOOL), 0}, {"i8c", T(I8), 0}, {"u8c", T(U8), 0}, {"i32c", T(I32), 0},
              {"u32c", T(U32), 0}, {"i64c", T(I64), 0}, {"u64c", T(U64), 0}, {"i128c", T(I128), 0}, {"i256c", T(I256), 0},
              {"u256c", T(U256), 0}, {"f32c", T(F32), 0}, {"f64c", T(F64), 0}, {"s", T(STRING), 0}, {"by", T(BYTES), 0},
              {"idn", T(IDENTITY), 0}, {"cid", T(CONNECTION_ID), 0}, {"ts", T(TIMESTAMP), 0}, {"uu", T(UUID), 0}, {"dur", T(DURATION), 0},
              {"opt", type_option(a, T(U32)), 0}, {"en", en, 0}, {"arr", type_array(a, T(STRING)), 0});
    KIT_TABLE(b, "floats", ACCESS_PUBLIC, false, {"id", T(U32), COLUMN_PK}, {"f32c", T(F32), 0}, {"f64c", T(F64), 0});
    Engine *e = kit_engine(b);
    kit_run(e, "INSERT INTO goods (id, sku, price, live) VALUES (1,'pen',3,true),(2,'ink',9,true),(3,'cap',9,false)");
    kit_run(e, "INSERT INTO seller (id, good) VALUES (10,1),(11,2),(12,2)");
    kit_run(e, "INSERT INTO acct (who) VALUES (0x0000000000000000000000000000000000000000000000000000000000000000),"
               "(0x0000000000000000000000000000000000000000000000000000000000000001)");
    kit_run(e, "INSERT INTO bag (a) VALUES (0),(1),(2),(3),(5)");
    kit_run(e, "INSERT INTO vault (id) VALUES (77)");
    kit_run(e, "INSERT INTO \"Order\" (user, position, interval) VALUES (1,2,3)");
    kit_run(e, "INSERT INTO таблица (名) VALUES (1)");
    return e;
}

static bool matches(Status st, const char *got, const char *expect)
{
    return *expect == '!' ? st != S_OK && strstr(got, expect + 1) : st == S_OK && strcmp(got, expect) == 0;
}

/* Every case on its own: what it wrote is undone. */
static void run_cases(Engine *e, const Caller *caller, const Case *cases, size_t n)
{
    Buf out = {0};
    int bad = 0;
    for (size_t i = 0; i < n; i++) {
        SqlResult r;
        Error err = {0};
        buf_reset(&out);
        txn_begin(e);
        Status st = sql_execute(&r, e, str_of(cases[i].sql), caller, &err);
        if (st != S_OK) {
            buf_put_text(&out, err.text);
        } else if (r.row->nfields) {
            kit_rows(&out, r.row, buf_bytes(&r.rows));
        } else {
            buf_printf(&out, "+%llu -%llu ~%llu", (unsigned long long)r.inserted, (unsigned long long)r.deleted,
                       (unsigned long long)r.updated);
        }
        if (st == S_OK)
            sql_result_done(&r);
        txn_rollback(e);
        if (!matches(st, buf_cstr(&out), cases[i].expect)) {
            print_error("case %d: %.200s\n  expected %s\n  got (%s) %.300s\n", cases[i].number, cases[i].sql, cases[i].expect,
                        status_name(st), buf_cstr(&out));
            bad++;
        }
    }
    buf_done(&out);
    assert_int_equal(bad, 0);
}
#define ALL "(1,'pen',3,t) (2,'ink',9,t) (3,'cap',9,f)"
#define G1 "(1,'pen',3,t)"
#define G2 "(2,'ink',9,t)"
#define G3 "(3,'cap',9,f)"
#define FROM_GOODS "SELECT * FROM goods WHERE "

static void select_answers_as_the_sheet_says(void **state)
{
    static const Case cases[] = {
        {1, "SELECT * FROM goods;", ALL},
        {2, "select g.* from goods g where g.price = 9", G2 " " G3},
        {3, "SELECT goods.id FROM goods g", "!`goods` is not in scope"},
        {4, "SELECT id, sku FROM goods WHERE id = 1", "(1,'pen')"},
        {5, "SELECT sku AS id, id AS sku FROM goods WHERE id = 1", "('pen',1)"},
        {6, "SELECT id, id FROM goods", DUPNAME},
        {8, "SELECT g.id AS g, s.id AS s FROM goods g JOIN seller s ON g.id = s.good", JOIN},
        {10, "SELECT * FROM goods JOIN seller ON goods.id = seller.good", STARJOIN},
        {11, "SELECT x.* FROM goods", "!`x` is not in scope"},
        {13, "SELECT goods.* FROM goods JOIN goods ON goods.id = goods.id", DUPNAME},
        {14, "SELECT g.* FROM goods g CROSS JOIN seller s", JOIN},
        {17, "SELECT g.* FROM goods g JOIN seller s ON g.id = s.good AND s.id = 10", UNSUP},
        {17, "SELECT g.* FROM goods g JOIN seller s ON (g.id = s.good)", UNSUP},
        {17, "SELECT g.* FROM goods g JOIN seller s ON g.id < s.good", UNSUP},
        {17, "SELECT g.* FROM goods g JOIN seller s ON g.id = 5", UNSUP},
        {18, "SELECT g.* FROM goods g LEFT JOIN seller s ON g.id = s.good", UNSUP},
        {18, "SELECT g.* FROM goods g NATURAL JOIN seller s", UNSUP},
        {18, "SELECT g.* FROM goods g JOIN seller s USING (id)", UNSUP},
        {19, "SELECT g.* FROM goods g, seller s", UNSUP},
        {20, "SELECT goods.* FROM goods JOIN seller ON id = good", UNQUAL},
        {20, "SELECT goods.* FROM goods JOIN seller ON goods.id = seller.good WHERE price = 1", UNQUAL},
        {21, "SELECT COUNT(*) AS n FROM goods", "(3)"},
        {21, "select count ( * ) n from goods", "(3)"},
        {22, "SELECT COUNT(*) AS n FROM goods WHERE id = 99", "(0)"},
        {23, "SELECT COUNT(*) AS n FROM goods LIMIT 2", "(3)"},
        {23, "SELECT COUNT(*) AS n FROM goods LIMIT 0", ""},
        {24, "SELECT COUNT(*) FROM goods", UNSUP},
        {24, "SELECT COUNT(id) AS n FROM goods", UNSUP},
        {24, "SELECT COUNT(DISTINCT id) AS n FROM goods", UNSUP},
        {24, "SELECT SUM(id) AS n FROM goods", UNSUP},
        {24, "SELECT COUNT(*) AS n, id FROM goods", UNSUP},
        {25, "SELECT id FROM goods LIMIT 2", "(1) (2)"},
        {25, "SELECT * FROM goods LIMIT 0", ""},
        {25, "SELECT * FROM goods LIMIT ALL", ALL},
        {25, "SELECT id FROM goods LIMIT 2.0", "(1) (2)"},
        {25, "SELECT * FROM goods LIMIT 1e2", ALL},
        {26, "SELECT * FROM goods LIMIT 18446744073709551615", ALL},
        {26, "SELECT * FROM goods LIMIT 18446744073709551616", LITERAL},
        {26, "SELECT * FROM goods LIMIT 1.5", LITERAL},
        {27, "SELECT * FROM goods LIMIT -1", UNSUP},
        {27, "SELECT * FROM goods LIMIT (5)", UNSUP},
        {27, "SELECT * FROM goods LIMIT '5'", UNSUP},
        {27, "SELECT * FROM goods LIMIT NULL", UNSUP},
        {27, "SELECT * FROM goods LIMIT 1 OFFSET 1", UNSUP},
        {28, "SELECT * FROM goods LIMIT 1, 2", SYNTAX},
        {29, "SELECT * FROM goods ORDER BY id", UNSUP},
        {29, "SELECT * FROM goods GROUP BY id", UNSUP},
        {29, "SELECT DISTINCT id FROM goods", UNSUP},
        {29, "SELECT * FROM goods HAVING id = 1", UNSUP},
        {29, "SELECT * FROM goods FETCH FIRST 1 ROWS ONLY", UNSUP},
        {29, "WITH a AS (SELECT * FROM goods) SELECT * FROM a", UNSUP},
        {29, "SELECT * FROM goods UNION SELECT * FROM goods", UNSUP},
        {29, "VALUES (1)", UNSUP},
        {30, "SELECT 1 FROM goods", UNSUP},
        {30, "SELECT id + 1 FROM goods", UNSUP},
        {30, "SELECT (id) FROM goods", UNSUP},
        {30, "SELECT *, id FROM goods", UNSUP},
        {30, "SELECT goods.*, id FROM goods", UNSUP},
        {31, "SELECT FROM goods", SYNTAX},
        {31, "SELECT * FROM", SYNTAX},
        {31, "SELECT * FROM goods WHERE", SYNTAX},
        {32, FROM_GOODS "live", G1 " " G2},
        {32, FROM_GOODS "true", ALL},
        {32, FROM_GOODS "false", ""},
        {33, FROM_GOODS "id = 1 OR id = 2 AND live = false", G1},
        {34, FROM_GOODS "(id = 1 OR id = 3) AND live", G1},
        {35, FROM_GOODS "true = false", ""},
        {35, FROM_GOODS "1 = 1", UNTYPED},
        {35, FROM_GOODS "1", LITERAL},
        {35, FROM_GOODS "'x' = 'x'", UNTYPED},
        {36, FROM_GOODS "price = 9 = live", G2},
        {37, FROM_GOODS "price > 5 AND price < 5", ""},
        {37, FROM_GOODS "price >= 3 AND price < 9", G1},
        {37, FROM_GOODS "price > 3 AND price <= 9", G2 " " G3},
        {38, FROM_GOODS "3 < price", G2 " " G3},
        {39, FROM_GOODS "id = '2'", G2},
        {39, FROM_GOODS "sku = 5", ""},
        {40, FROM_GOODS "id = 2.0", G2},
        {40, FROM_GOODS "id = 2.5", LITERAL},
        {40, FROM_GOODS "id = 20e-1", G2},
        {41, FROM_GOODS "id = 0x2", LITERAL},
        {65, "SELECT * FROM kinds WHERE opt IS NULL", UNSUP},
        {65, "SELECT * FROM kinds WHERE i32c IN (1)", UNSUP},
        {65, "SELECT * FROM kinds WHERE i32c BETWEEN 1 AND 2", UNSUP},
        {65, "SELECT * FROM kinds WHERE s LIKE 'a'", UNSUP},
        {65, "SELECT * FROM kinds WHERE i32c + 1 = 2", UNSUP},
        {66, FROM_GOODS "NOT live", G3},
        {66, FROM_GOODS "(NOT (sku = 'pen'))", G2 " " G3},
        {66, FROM_GOODS "NOT id = 1 AND NOT NOT live", G2},
        {66, FROM_GOODS "NOT (id = 1 OR sku = 'ink')", G3},
        {66, FROM_GOODS "NOT price < 9", G2 " " G3},
        {66, FROM_GOODS "NOT price >= 9", G1},
        {66, FROM_GOODS "NOT price <= 3", G2 " " G3},
        {66, FROM_GOODS "NOT price > 3", G1},
        {66, FROM_GOODS "NOT price <> 9", G2 " " G3},
        {66, FROM_GOODS "NOT 9 > price", G2 " " G3},
        {66, FROM_GOODS "NOT id < 2 AND NOT 2 < id", G2},
        {66, FROM_GOODS "(NOT live) = (price > 3)", G1 " " G3},
        {66, FROM_GOODS "(price > 3) <> (id > 1)", ""},
        {66, FROM_GOODS "(id > 2) < live", G1 " " G2},
        {66, FROM_GOODS "NOT ((id > 2) < live)", G3},
        {66, FROM_GOODS "(id > 1) >= (NOT live)", ALL},
        {66, FROM_GOODS "(id > 1) <= (NOT live)", G1 " " G3},
        {66, FROM_GOODS "(live = false) > (id = 1)", G3},
        {66, FROM_GOODS "live <> true", G3},
        {66, FROM_GOODS "live > false", G1 " " G2},
        {66, FROM_GOODS "true = live AND NOT (live AND id = 1)", G2},
        {69, "SELECT * FROM Goods", NOTABLE},
        {69, "SELECT ID FROM goods", NOFIELD},
        {70, "SELECT \"sku\" FROM \"goods\" WHERE \"goods\".\"id\" = 1", "('pen')"},
        {71, "SELECT * FROM Order", "(1,2,3)"},
        {71, "SELECT * FROM \"Order\"", "(1,2,3)"},
        {72, "SELECT user, position, interval FROM Order WHERE user = 1 AND interval = 3", "(1,2,3)"},
        {72, "SELECT \"user\" FROM Order t WHERE t.position = 2", "(1)"},
        {73, "SELECT 名 FROM таблица WHERE таблица.名 = 1", "(1)"},
        {74, FROM_GOODS "sku = 'it''s'", ""},
        {74, FROM_GOODS "sku = \"pen\"", NOFIELD},
        {75, FROM_GOODS "sku = 'abc", SYNTAX},
        {75, FROM_GOODS "\"sku = 1", SYNTAX},
        {75, "SELECT * FROM goods\n/* open", "!line 2, column 1"},
        {76, "SELECT * FROM goods -- x", ALL},
        {76, "/* a /* b */ c */ SELECT * FROM goods", ALL},
        {77, FROM_GOODS "sku = '' OR '1' = '1'", UNTYPED},
        {78, FROM_GOODS "sku = '' OR true", ALL},
        {79, "SELECT * FROM goods; DROP TABLE goods", MULTI},
        {79, "SELECT * FROM goods; DELETE FROM goods", MULTI},
        {80, "SELECT * FROM goods; END x", SYNTAX},
        {81, "", EMPTY},
        {81, "  \n", EMPTY},
        {81, ";", EMPTY},
        {82, ";;SELECT * FROM goods;;", ALL},
        {88, "\xef\xbb\xbfSELECT * FROM goods", SYNTAX},
        {88, "SELECT\xc2\xa0* FROM goods", ALL},
        {89, "SELECT * FROM goods WHERE sku = '\xff\xfe'", "!UTF-8"},
        {90, FROM_GOODS "id == 1", G1},
        {90, FROM_GOODS "id <=> 1", UNSUP},
        {90, FROM_GOODS "id = 1_000", SYNTAX},
        {90, FROM_GOODS "id = 0b1", SYNTAX},
        {90, FROM_GOODS "id = 0XAB", SYNTAX},
        {90, FROM_GOODS "id = 1e", SYNTAX},
        {91, FROM_GOODS "sku = E'x'", UNSUP},
        {91, FROM_GOODS "sku = N'x'", UNSUP},
        {91, FROM_GOODS "sku = $$x$$", UNSUP},
        {91, FROM_GOODS "sku = B'1'", SYNTAX},
        {91, FROM_GOODS "sku = date '2020-01-01'", UNSUP},
        {92, "SELECT * FROM (SELECT * FROM goods)", UNSUP},
        {92, "SELECT * FROM goods(1)", UNSUP},
        {92, "SELECT * FROM goods AS g (a)", UNSUP},
        {93, "CREATE TABLE x (a int)", UNSUP},
        {93, "DROP TABLE goods", UNSUP},
        {93, "ALTER TABLE goods ADD x int", UNSUP},
        {93, "TRUNCATE goods", UNSUP},
        {93, "EXPLAIN SELECT * FROM goods", UNSUP},
        {93, "BEGIN", UNSUP},
        {93, "COMMIT", UNSUP},
        {115, "SET row_limit = 4", UNSUP},
        {118, "SHOW row_limit", UNSUP},
        {119, "SELECT table_name FROM st_table WHERE table_id = 1", NOTABLE},
    };
    run_cases(*state, &kit_owner, cases, COUNT_OF(cases));
}

/* A row of kinds cannot be written by SQL (dur, opt, en, arr), so it is put in as a struct. */
static void insert_kinds(Engine *e)
{
    Table *t = engine_table_by_name(e, STR("kinds"));
    const TableDef *def = table_def(t);
    uint8_t *row = x_alloc(def->row->size);
    Error err;
#define AT(name) (row + def->cols[table_def_column(def, STR(name))].offset)
    *(bool *)AT("b") = true;
    *(int8_t *)AT("i8c") = -128;
    *(uint8_t *)AT("u8c") = 232;
    *(int32_t *)AT("i32c") = 1000;
    memset(AT("u64c"), 0xff, 8);
    *(int64_t *)AT("i64c") = INT64_MIN;
    AT("i128c")[15] = 0x80;
    AT("i256c")[31] = 0x80;
    memset(AT("u256c"), 0xff, 32);
    *(double *)AT("f64c") = 1.7e24;
    *(Str *)AT("s") = STR("it's");
    *(Bytes *)AT("by") = bytes_of("\xab\xcd", 2);
    AT("idn")[0] = 1;
    AT("cid")[0] = 2;
    *(int64_t *)AT("ts") = 1739195130123456;
    AT("opt")[0] = 1;
    store_u32(AT("opt") + def->row->fields[table_def_column(def, STR("opt"))].type->payload_offset, 9);
    Str words[] = {STR("x"), STR("yz")};
    struct {
        const void *ptr;
        size_t len;
    } arr = {words, 2};
    memcpy(AT("arr"), &arr, sizeof arr);
#undef AT
    txn_begin(e);
    const void *stored;
    if (table_insert(t, row, &stored, &err) != S_OK)
        fail_msg("%s", err.text);
    txn_commit(e);
    free(row);
}

#define K(where) "SELECT i32c FROM kinds WHERE " where
#define YES "(1000)"
static void literals_become_values_of_every_type(void **state)
{
    insert_kinds(*state);
    static const Case cases[] = {
        {42, K("u8c = 256"), LITERAL},
        {42, K("u8c = -1"), LITERAL},
        {42, K("u8c = 1e3"), LITERAL},
        {42, K("u8c = 232"), YES},
        {42, K("i8c = -128"), YES},
        {42, K("i8c = 128"), LITERAL},
        {42, K("i8c = - 128"), YES},
        {42, K("i8c > -0"), ""},
        {42, K("u8c > -0"), YES},
        {43, K("u64c = 18446744073709551615"), YES},
        {43, K("u64c = 18446744073709551616"), LITERAL},
        {43, K("i64c = -9223372036854775808"), YES},
        {43, K("i64c = -9223372036854775809"), LITERAL},
        {43, K("i128c = -170141183460469231731687303715884105728"), YES},
        {43, K("i128c = -170141183460469231731687303715884105729"), LITERAL},
        {44, K("u256c > 1e77"), YES},
        {44, K("u256c = 1e78"), LITERAL},
        {44, K("i256c < 1e76"), YES},
        {44, K("i256c = 1e77"), LITERAL},
        {44, K("u256c = 115792089237316195423570985008687907853269984665640564039457584007913129639935"), YES},
        {44, K("u256c = 115792089237316195423570985008687907853269984665640564039457584007913129639936"), LITERAL},
        {44, K("i256c = -57896044618658097711785492504343953926634992332820282019728792003956564819968"), YES},
        {44, K("i256c = -57896044618658097711785492504343953926634992332820282019728792003956564819969"), LITERAL},
        {45, K("i32c = 1e400"), LITERAL},
        {45, K("i32c = 1e1000000000"), LITERAL},
        {45, K("i32c = 1e-1000000000"), LITERAL},
        {45, K("i32c = 1e99999999999999999999999"), LITERAL},
        {45, K("i32c = 0e99999999999999999999999"), ""},
        {45, K("i32c = 000000100000e-2"), YES},
        {45, K("i32c = 0.001e6"), YES},
        {45, K("i32c = .1e4"), YES},
        {45, K("i32c = 1000."), YES},
        {39, K("i32c = '1_000'"), YES},
        {39, K("i32c = '+1000'"), YES},
        {39, K("i32c = ' 1000'"), LITERAL},
        {39, K("i32c = '_1000'"), LITERAL},
        {48, K("f64c = NaN"), NOFIELD},
        {48, K("f64c = 'NaN'"), LITERAL},
        {48, K("f64c = 'inf'"), LITERAL},
        {48, K("f64c = '0x10'"), LITERAL},
        {51, K("f64c = 1.7e24"), YES},
        {52, K("ts > '2025-02-10 15:45:30+02:00'"), YES},
        {53, K("ts = '2025-02-10T13:45:30.123456789Z'"), YES},
        {53, K("ts = '2025-02-10 15:45:30.123456+02:00'"), YES},
        {54, K("ts = '2025-02-10T15:45:30'"), LITERAL},
        {54, K("ts > 1"), LITERAL},
        {54, K("ts = 'yesterday'"), LITERAL},
        {54, K("ts = '2025-02-29T15:45:30Z'"), LITERAL},
        {54, K("ts > '0001-01-01T00:00:00Z' AND ts < '9999-12-31T23:59:59.999999Z'"), YES},
        {55, K("by = 0xABCD"), YES},
        {55, K("by = X'abcd'"), YES},
        {55, K("by = 'abcd'"), YES},
        {55, K("by = '0xabcd'"), YES},
        {56, K("by = 0xABC"), LITERAL},
        {56, K("by = X'zz'"), LITERAL},
        {56, K("by = 0x"), ""},
        {56, K("by > 0x"), YES},
        {56, K("by = 12"), ""},
        {59, K("idn = :SENDER"), UNSUP},
        {59, K("idn = $1"), UNSUP},
        {59, K("idn = ?"), UNSUP},
        {59, K("idn = @sender"), UNSUP},
        {60, K("by = :sender"), ""},
        {60, K("s = :sender"), TYPE_},
        {60, K("cid = :sender"), TYPE_},
        {60, K("arr = :sender"), TYPE_},
        {60, K("0x0000000000000000000000000000000000000000000000000000000000000000 = :sender"), YES},
        {60, K(":sender = 0x00"), UNTYPED},
        {61, K("idn = 0x1"), LITERAL},
        {61, K("idn = 0x0000000000000000000000000000000000000000000000000000000000000001"), YES},
        {61, K("cid = 0x00000000000000000000000000000002"), YES},
        {61, K("cid = '0x00000000000000000000000000000002'"), YES},
        {62, K("uu = '00000000-0000-0000-0000-000000000000'"), YES},
        {62, K("uu = 0x00000000000000000000000000000000"), YES},
        {62, K("uu = '{00000000-0000-0000-0000-000000000000}'"), YES},
        {62, K("uu = 'urn:uuid:00000000-0000-0000-0000-000000000000'"), YES},
        {62, K("uu = '000000000-000-0000-0000-000000000000'"), LITERAL},
        {62, K("uu = 5"), LITERAL},
        {63, K("dur = dur"), OP},
        {63, K("opt = opt"), OP},
        {63, K("arr = arr"), OP},
        {63, K("en = en"), OP},
        {64, K("dur = 1"), LITERAL},
        {64, K("opt = 1"), LITERAL},
        {64, K("en = 'A'"), LITERAL},
        {67, K("i32c = i64c"), TYPE_},
        {67, K("b = 1"), LITERAL},
        {67, K("i32c = true"), TYPE_},
        {67, K("i32c"), TYPE_},
        {67, K("(i32c = 1) = 1"), LITERAL},
        {67, K("b < true"), ""},
        {67, K("b >= true"), YES},
        {67, K("(i32c = 1) < b"), YES},
        {67, K("i32c = i32c"), YES},
        {67, K("s = 'it''s'"), YES},
        {68, "SELECT opt, en, arr FROM kinds", "(9,0,['x','yz'])"},
    };
    run_cases(*state, &kit_owner, cases, COUNT_OF(cases));
}

static void insert_float(Engine *e, uint32_t id, float f, double d)
{
    struct {
        uint32_t id;
        float f;
        double d;
    } row = {id, f, d};
    const void *stored;
    txn_begin(e);
    MUST(table_insert(engine_table_by_name(e, STR("floats")), &row, &stored, err));
    txn_commit(e);
}

#define F(where) "SELECT id FROM floats WHERE " where
static void floats_compare_totally_and_round_correctly(void **state)
{
    insert_float(*state, 1, INFINITY, INFINITY);
    insert_float(*state, 2, 1, 1.0);
    insert_float(*state, 3, NAN, NAN);
    insert_float(*state, 4, 0, 0.0);
    insert_float(*state, 5, -0.0f, -0.0);
    insert_float(*state, 6, 0.1f, 1e308);
    static const Case cases[] = {
        {46, F("f64c = 1e400"), "(1)"},
        {47, F("f32c = 1e40"), "(1)"},
        {47, F("f64c = 1e-400"), "(4) (5)"},
        {49, F("f64c = -0.0"), "(4) (5)"},
        {50, F("f64c > 1e308"), "(1) (3)"},
        {50, F("f64c < 0"), ""},
        {51, F("f64c = 1e308"), "(6)"},
        {51, F("f64c = 100000000000000000000e288"), "(6)"},
        {51, F("f32c = 0.1"), "(6)"},
        {51, F("f32c = '0.1'"), "(6)"},
        {51, F("f64c = 1e99999999999999999999"), "(1)"},
        {51, F("f32c = 0x1"), LITERAL},
    };
    run_cases(*state, &kit_owner, cases, COUNT_OF(cases));
}

static void writes_answer_as_the_sheet_says(void **state)
{
#define INS "INSERT INTO goods (id, sku, price, live) VALUES "
    static const Case cases[] = {
        {94, INS "(4,'nib',-1,true),(5,'pad',+2,false)", "+2 -0 ~0"},
        {95, "INSERT INTO goods VALUES (4,'a',1,true)", ARITY},
        {95, "INSERT INTO goods (id, sku, price) VALUES (4,'a',1)", ARITY},
        {95, INS "(4,'a',1)", ARITY},
        {96, "INSERT INTO goods (sku, id, price, live) VALUES ('a', 4, 1, true)", "+1 -0 ~0"},
        {97, "INSERT INTO goods (id, nope, price, live) VALUES (4,'a',1,true)", NOCOL},
        {97, "INSERT INTO goods (id, id, price, live) VALUES (4,'a',1,true)", DUPNAME},
        {98, INS "(7,'a',1,true),(1,'b',1,true)", "!"},
        {99, "INSERT INTO bag (a) VALUES (5)", "+0 -0 ~0"},
        {100, INS "(4,NULL,1,true)", UNSUP},
        {100, INS "(4,DEFAULT,1,true)", UNSUP},
        {100, INS "(4,name,1,true)", UNSUP},
        {100, INS "(4,'a',1+1,true)", UNSUP},
        {100, INS "(4,:sender,1,true)", UNSUP},
        {100, INS "(4,(SELECT 1),1,true)", UNSUP},
        {100, INS "()", SYNTAX},
        {101, INS "('4','a',1,true)", TYPE_},
        {101, INS "(4,true,1,true)", TYPE_},
        {101, "INSERT INTO acct (who) VALUES ('00')", TYPE_},
        {102, "INSERT INTO stamps (ts, uu, by) VALUES ('2025-02-10T13:45:30Z', '00000000-0000-0000-0000-000000000000', 0xAB)", "+1 -0 ~0"},
        {103, "INSERT INTO auto (id, v) VALUES (0, 1), (0, 2)", "+2 -0 ~0"},
        {106, "UPDATE goods SET sku = 'x', price = 1 WHERE id = 2", "+0 -0 ~1"},
        {107, "UPDATE bag SET a = 2", "+0 -0 ~5"},
        {108, "UPDATE goods SET id = 1", "!"},
        {109, "UPDATE goods SET price = 1, price = 2", DUPNAME},
        {110, "UPDATE goods SET price = price + 1", UNSUP},
        {110, "UPDATE goods SET price = id", UNSUP},
        {110, "UPDATE goods SET (price) = (1)", UNSUP},
        {110, "UPDATE goods SET (price = 1)", SYNTAX},
        {110, "UPDATE goods SET goods.price = 1", NOCOL},
        {111, "UPDATE goods AS g SET price = 1", UNSUP},
        {111, "UPDATE goods SET price = 1 FROM seller", UNSUP},
        {111, "UPDATE goods SET price = 1 RETURNING id", UNSUP},
        {111, "DELETE FROM goods USING seller", UNSUP},
        {111, "DELETE FROM goods, seller", UNSUP},
        {111, "DELETE FROM goods JOIN seller ON goods.id = seller.good", UNSUP},
        {112, "UPDATE goods SET price = 1 WHERE other.id = 1", "!`other` is not in scope"},
        {113, "DELETE FROM acct WHERE who = :sender", "+0 -1 ~0"},
        {114, "DELETE FROM goods WHERE id = 99", "+0 -0 ~0"},
        {114, "DELETE FROM goods", "+0 -3 ~0"},
    };
    run_cases(*state, &kit_owner, cases, COUNT_OF(cases));
    Buf out = {0};
    assert_int_equal(kit_sql(*state, &kit_owner, STR("UPDATE bag SET a = 2"), &out), S_OK);
    kit_sql(*state, &kit_owner, STR("SELECT * FROM bag"), &out);
    assert_string_equal(buf_cstr(&out), "(2)");
    assert_int_equal(
        kit_sql(*state, &kit_owner, STR("INSERT INTO goods (id, sku, price, live) VALUES (7,'a',1,true),(1,'b',1,true)"), &out),
        S_CONFLICT);
    kit_sql(*state, &kit_owner, STR("SELECT * FROM goods"), &out);
    assert_string_equal(buf_cstr(&out), ALL);
    kit_run(*state, "INSERT INTO goods (sku, id, price, live) VALUES ('a', 4, 1, true)");
    kit_sql(*state, &kit_owner, STR("SELECT * FROM goods WHERE id = 4"), &out);
    assert_string_equal(buf_cstr(&out), "(4,'a',1,t)");
    buf_done(&out);
}

static void strangers_read_public_tables_only_and_write_nothing(void **state)
{
    static const Case cases[] = {
        {57, "SELECT * FROM acct WHERE who = :sender", "(x01)"},
        {58, "SELECT * FROM acct WHERE :sender = who", "(x01)"},
        {58, "SELECT * FROM acct WHERE who = : sender", "(x01)"},
        {58, "SELECT * FROM acct WHERE who <> :sender", "(x00)"},
        {105, "UPDATE goods SET price = 1", AUTH},
        {105, "DELETE FROM goods", AUTH},
        {105, "INSERT INTO goods (id, sku, price, live) VALUES (4,'a',1,true)", AUTH},
        {105, "DELETE FROM goods WHERE nope = 1", NOFIELD},
        {105, "SELECT * FROM vault", NOTABLE},
        {105, "SELECT * FROM vault WHERE false", NOTABLE},
        {105, "DELETE FROM vault", NOTABLE},
        {105, "SELECT g.* FROM goods g JOIN vault v", NOTABLE},
    };
    Caller other = {.identity = {1}};
    run_cases(*state, &other, cases, COUNT_OF(cases));
}

/* ---- limits ---- */

static void repeat(Buf *out, const char *text, uint32_t n)
{
    while (n--)
        buf_put_text(out, text);
}

static void check_generated(Engine *e, Buf *sql, const char *expect)
{
    Buf out = {0};
    Status st = kit_sql(e, &kit_owner, buf_str(sql), &out);
    if (!matches(st, buf_cstr(&out), expect))
        fail_msg("%.60s...: expected %s, got %.200s", buf_cstr(sql), expect, buf_cstr(&out));
    buf_done(&out);
    buf_reset(sql);
}

static void nested(Buf *sql, const char *head, uint32_t depth)
{
    buf_put_text(sql, head);
    repeat(sql, "(", depth);
    buf_put_text(sql, "id = 1");
    repeat(sql, ")", depth);
}

static void deep_and_long_texts_are_refused_by_name(void **state)
{
    Engine *e = *state;
    Buf sql = {0};
    nested(&sql, FROM_GOODS, 47);
    check_generated(e, &sql, G1);
    nested(&sql, FROM_GOODS, 48);
    check_generated(e, &sql, DEPTH);
    nested(&sql, "DELETE FROM goods WHERE id = 99 AND ", 48);
    check_generated(e, &sql, "+0 -0 ~0");
    nested(&sql, "DELETE FROM goods WHERE ", 49);
    check_generated(e, &sql, DEPTH);
    nested(&sql, FROM_GOODS, 100000);
    check_generated(e, &sql, LENGTH);
    for (int extra = 0; extra < 2; extra++) {
        buf_put_text(&sql, FROM_GOODS);
        repeat(&sql, "id = 1 OR ", 1599 + extra);
        buf_put_text(&sql, "id = 1");
        check_generated(e, &sql, extra ? DEPTH : G1);
        buf_put_text(&sql, FROM_GOODS);
        repeat(&sql, "(id = 1) AND ", 1599 + extra);
        buf_put_text(&sql, "(id = 1)");
        check_generated(e, &sql, extra ? DEPTH : G1);
    }
    static const char *const prefixes[] = {"NOT ", "- ", "+ "};
    for (int i = 0; i < 3; i++) {
        buf_put_text(&sql, FROM_GOODS);
        repeat(&sql, prefixes[i], 12000);
        buf_put_text(&sql, "1");
        check_generated(e, &sql, DEPTH);
    }
    buf_put_text(&sql, FROM_GOODS "live");
    repeat(&sql, " = live", 6000);
    check_generated(e, &sql, DEPTH);
    buf_put_text(&sql, FROM_GOODS);
    repeat(&sql, "/*", 24000);
    check_generated(e, &sql, SYNTAX);
    buf_put_text(&sql, "SELECT g.* FROM goods g");
    for (int i = 0; i < 200; i++)
        buf_printf(&sql, " JOIN goods g%d ON g.id = g%d.id", i, i);
    check_generated(e, &sql, JOIN);
    buf_put_text(&sql, "SELECT * FROM goods");
    repeat(&sql, " ", 50000 - 19);
    buf_put_text(&sql, "");
    check_generated(e, &sql, ALL);
    buf_put_text(&sql, "SELECT * FROM goods");
    repeat(&sql, " ", 50001 - 19);
    check_generated(e, &sql, LENGTH);
    buf_put_text(&sql, FROM_GOODS "price = 1");
    repeat(&sql, "0", 49000);
    check_generated(e, &sql, LITERAL);
    buf_put_text(&sql, FROM_GOODS "\"");
    repeat(&sql, "\xd0\xb6", 20000);
    buf_put_text(&sql, "\" = 1");
    check_generated(e, &sql, NOFIELD);
    buf_put(&sql, "SELECT * FROM goods\0", 20);
    check_generated(e, &sql, SYNTAX);
    buf_done(&sql);
}

static void errors_are_valid_text_however_long_the_names_are(void **state)
{
    Buf sql = {0};
    for (uint32_t n = 100; n < 140; n++) {
        Caller c = {0};
        Error err = {0};
        Buf out = {0};
        buf_put_text(&sql, "SELECT * FROM \"");
        repeat(&sql, "x", n % 4);
        repeat(&sql, "\xf0\x9f\x98\x80", n * 10);
        buf_put_text(&sql, "\"");
        assert_int_equal(query_one_off(*state, buf_str(&sql), &c, &out, &err), S_INVALID);
        assert_true(utf8_valid(str_of(err.text)));
        buf_reset(&sql);
        assert_int_equal(out.len, 0);
        buf_done(&out);
    }
    buf_done(&sql);
}

static void one_off_queries_return_whole_rows_of_one_table(void **state)
{
    Buf out = {0};
    Error err = {0};
    static const struct {
        const char *sql, *needle;
    } refused[] = {
        {"SELECT * FROM goods LIMIT 1", "unsupported"},
        {"SELECT COUNT(*) AS n FROM goods", "whole rows"},
        {"SELECT id FROM goods", "whole rows"},
        {"DELETE FROM goods", "unsupported"},
        {"", "Empty string"},
        {" ; ", "Empty string"},
        {"SELECT * FROM vault", "no such table: `vault`"},
    };
    Caller other = {.identity = {9}};
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        assert_int_equal(query_one_off(*state, str_of(refused[i].sql), &other, &out, &err), S_INVALID);
        if (!strstr(err.text, refused[i].needle))
            fail_msg("%s: %s", refused[i].sql, err.text);
    }
    assert_int_equal(out.len, 0);
    assert_int_equal(query_one_off(*state, STR("SELECT * FROM bag WHERE a = 99"), &other, &out, &err), S_OK);
    assert_memory_equal(out.ptr, "\1\0\0\0\3\0\0\0bag\1\0\0\0\0\0\0\0\0", 20);
    assert_int_equal(out.len, 20);
    buf_reset(&out);
    assert_int_equal(query_one_off(*state, STR("SELECT * FROM bag WHERE a > 2"), &other, &out, &err), S_OK);
    assert_memory_equal(out.ptr, "\1\0\0\0\3\0\0\0bag\0\1\0\2\0\0\0\3\5", out.len);
    buf_reset(&out); /* rows of several lengths: offsets; of one length: fixed */
    assert_int_equal(query_one_off(*state, STR("SELECT * FROM goods WHERE id = 1"), &other, &out, &err), S_OK);
    assert_memory_equal(out.ptr, "\1\0\0\0\5\0\0\0goods\0\x14\0\x14\0\0\0", 20);
    kit_run(*state, "UPDATE goods SET sku = 'longer' WHERE id = 1");
    buf_reset(&out);
    assert_int_equal(query_one_off(*state, STR("SELECT * FROM goods WHERE id <= 2"), &other, &out, &err), S_OK);
    Reader r = reader_of(buf_bytes(&out));
    assert_int_equal(read_u32(&r), 1);
    read_str(&r);
    KitList l = kit_read_list(&r);
    assert_false(l.fixed);
    assert_int_equal(l.nrows, 2);
    assert_int_equal(load_u64(l.offsets.ptr), 0);
    assert_int_equal(l.data.len, 20 + 23);
    assert_int_equal(reader_left(&r), 0);
    buf_done(&out);
}

static int setup(void **state) { return *state = db(), 0; }
static int teardown(void **state) { return engine_free(*state), 0; }

int main(void)
{
#define SQL_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        SQL_TEST(select_answers_as_the_sheet_says),
        SQL_TEST(literals_become_values_of_every_type),
        SQL_TEST(floats_compare_totally_and_round_correctly),
        SQL_TEST(writes_answer_as_the_sheet_says),
        SQL_TEST(strangers_read_public_tables_only_and_write_nothing),
        SQL_TEST(deep_and_long_texts_are_refused_by_name),
        SQL_TEST(errors_are_valid_text_however_long_the_names_are),
        SQL_TEST(one_off_queries_return_whole_rows_of_one_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
