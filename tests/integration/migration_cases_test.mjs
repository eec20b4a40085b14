// The 135 numbered cases of the migration sheet (section 6), in its order and notation: one table, one test each, against a real PostgreSQL.
//
// Each case publishes `old` (and `via`), fills in `rows`, connects a client that subscribes to every public table, asks for the plan of
// `new`, compares verdict, steps or reasons, publishes, and then looks at everything: rows in memory (SQL over HTTP) and in PostgreSQL
// (columns, indexes, access, rows, schema version), which module runs, whether the client of before is still there and gets the next row
// in the shape that it knows, and whether a new client sees the new shape. At the end the host is started again and every database must
// hold the same.
//
// Verdicts:  OK    applied, every step is safe            NO    refused while planning, with all reasons
//            WARN  applied, some step may break clients   FAIL  planned, refused while applying, rolled back
//            ACK   applied with the publisher's consent; every client is disconnected
// The sheet has ACK and a Disconnect step where columns are appended; that is the reference's behaviour (D6, D9). The seed wins: such
// connections go on and keep getting the columns that they know, so those rows are WARN here, without the step.
//
// What our SDK cannot declare (submodules, view parameters) is tested on
// definitions by tests/unit/schema_diff_test.c, under the sheet's number; `definitionOnly` makes sure that the number is there.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Host, main, root, sleep, test, until, within } from './lib.mjs';
import { definition, toJson } from './migration/notation.mjs';
import { Migrating, Viewer, arrives, compileModule, lanes, longText } from './migration/kit.mjs';

const OK = 'OK', WARN = 'WARN', ACK = 'ACK', NO = 'NO', FAIL = 'FAIL';
const FRESH = 60; // the sample row that is inserted after a publish: the first variant of every enum, within u8, in no case's rows

// ---- modules that several cases use ----

const SCHEDULED = 'S(id u64*, at sched) sch:f(at)\nST_REDUCER(f, (S, row)) { (void)row; return ST_OK; }';
const E1 = 'E(a u64, b str) ev', E2 = 'E(b u32) ev';
const view = (body, { kind = 'VIEW', row = 'T', name = 'v' } = {}) => `ST_${kind}(${name}, PUBLIC, ${row}) { ${body} }`;
const FIND_R = n => `const T *row = T_find_by_a(ctx->db, ${n}); R r = { row ? row->a : 0 }; return row ? R_emit(out, &r) : ST_OK;`;
const FIND = n => `const T *row = T_find_by_a(ctx->db, ${n}); return row ? T_emit(out, row) : ST_OK;`;
const BREAKING = { old: E1, new: E2 }; // the smallest plan that needs consent

const cases = [
  { n: 1, title: 'a first table in an empty module', old: '', new: 'T(a u32)', verdict: OK, steps: 'AddTable' },
  { n: 2, title: 'identical bytes', old: 'T(a u32)', rows: { T: [1, 2] }, new: 'same file', verdict: OK, steps: '' },
  { n: 3, title: 'a reducer with another body', old: 'T(a u32)\nST_REDUCER(f) { return st_fail(ctx, "body 1"); }', rows: { T: [1] }, new: 'T(a u32)\nST_REDUCER(f) { return st_fail(ctx, "body 2"); }', verdict: OK, steps: '',
    before: async k => assert.match((await k.host.call(k.name, 'f', [])).text, /body 1/), after: async k => assert.match((await k.host.call(k.name, 'f', [])).text, /body 2/) },
  { n: 4, title: 'a second table', old: 'T(a u32)', rows: { T: [1] }, new: 'T(a u32)\nU(x u64*~)', verdict: OK, steps: 'AddTable', after: async k => assert.equal(await k.next('U'), 1) },
  { n: 5, title: 'an empty table is gone', old: 'T(a u32)\nU(x u32)', rows: { T: [1] }, new: 'T(a u32)', verdict: NO, reasons: 'RemoveTable' },
  { n: 6, title: 'a table with a row is gone', old: 'T(a u32)\nU(x u32)', rows: { U: [1] }, new: 'T(a u32)', verdict: NO, reasons: 'RemoveTable' },
  { n: 7, title: 'a defaulted column', old: 'T(a u32)', rows: { T: [1, 2] }, new: 'T(a u32, b u32=5)', verdict: WARN, steps: 'AddColumns' },
  { n: 8, title: 'two defaulted columns', old: 'T(a u32)', rows: { T: [1, 2] }, new: 'T(a u32, b u16=0, c str="x")', verdict: WARN, steps: 'AddColumns' },
  { n: 9, title: 'another defaulted column later', old: 'T(a u32)', rows: { T: [1, 2] }, via: 'T(a u32, b u16=0, c str="x")', viaRows: { T: [3] }, connectFirst: true, new: 'T(a u32, b u16=0, c str="x", d u16=160)', verdict: WARN, steps: 'AddColumns' },
  { n: 10, title: 'a default of every scalar type', old: 'T(a u32)', rows: { T: [1, 2] }, verdict: WARN, steps: 'AddColumns',
    new: 'T(a u32, b bool=true, i1 i8=-128, i2 i16=-32768, i4 i32=-2147483648, i8 i64=-9223372036854775808, i16 i128=-170141183460469231731687303715884105728, i32 i256=-57896044618658097711785492504343953926634992332820282019728792003956564819968, ' +
      'u1 u8=255, u2 u16=65535, u4 u32=4294967295, u8 u64=18446744073709551615, u16 u128=340282366920938463463374607431768211455, u32 u256=115792089237316195423570985008687907853269984665640564039457584007913129639935, f4 f32=0.1, f8 f64=-1.7976931348623157e308, s str="ünï \'quoted\', \\\\")' },
  { n: 11, title: 'an option without a value', old: 'T(a u32)', rows: { T: [1, 2] }, new: 'T(a u32, b ?u32=none)', verdict: WARN, steps: 'AddColumns' },
  { n: 12, title: 'a column without a default', old: 'T(a u32)', rows: { T: [1] }, new: 'T(a u32, b u32)', verdict: NO, reasons: 'AddColumn:b' },
  { n: 13, title: 'a column in the middle', old: 'T(a u32, b u32)', rows: { T: [1] }, new: 'T(a u32, m u32=0, b u32)', verdict: NO, reasons: 'ReorderTable:b ReorderTable:m' },
  { n: 14, title: 'a column in front', old: 'T(a u32)', rows: { T: [1] }, new: 'T(m u32=0, a u32)', verdict: NO, reasons: 'ReorderTable:a ReorderTable:m' },
  { n: 15, title: 'one column with and one without a default', old: 'T(a u32)', rows: { T: [1] }, new: 'T(a u32, b u32=0, c u32)', verdict: NO, reasons: 'AddColumn:c' },
  { n: 16, title: 'a column is gone', old: 'T(a u32, b u32)', rows: { T: [1] }, new: 'T(a u32)', verdict: NO, reasons: 'RemoveColumn:b' },
  { n: 17, title: 'columns in another order', old: 'T(a u32, b u32)', rows: { T: [1] }, new: 'T(b u32, a u32)', verdict: NO, reasons: 'ReorderTable:a ReorderTable:b' },
  { n: 18, title: 'a column by another name', old: 'T(a u32)', rows: { T: [1] }, new: 'T(z u32)', verdict: NO, reasons: 'AddColumn:z RemoveColumn:a' },
  { n: 19, title: 'a column by another name, with a default', old: 'T(a u32)', rows: { T: [1] }, new: 'T(z u32=0)', verdict: NO, reasons: 'RemoveColumn:a' },
  { n: 20, title: 'a wider type', old: 'T(a u32)', rows: { T: [1] }, new: 'T(a u64)', verdict: NO, reasons: 'ChangeColumnType:a', text: /u32[^]*u64/i },
  { n: 21, title: 'a column becomes an option', old: 'T(a u32)', rows: { T: [1] }, new: 'T(a ?u32)', verdict: NO, reasons: 'ChangeColumnType:a' },
  { n: 22, title: 'cases 12 to 21 without rows', run: withoutRows },
  { n: 23, title: 'an index', old: 'T(a u32, b u32)\nST_REDUCER(find, (uint32_t, b)) { return st_fail(ctx, "no index for %u", b); }', rows: { T: [1, 2] }, verdict: OK, steps: 'AddIndex',
    new: 'T(a u32, b u32) i:b\nST_REDUCER(find, (uint32_t, b)) { ST_FOR(T, row, T_by_b(ctx->db, b)) return st_fail(ctx, "found %u", row->a); return st_fail(ctx, "nothing"); }',
    after: async k => {
      assert.match((await k.host.call(k.name, 'find', [2])).text, /found 2/);
      assert.match(await k.psql(`select string_agg(indexname, ',') from pg_indexes where schemaname = '${k.name}' and tablename = 'T'`), /T_b_idx_btree/);
    } },
  { n: 24, title: 'an index is gone', old: 'T(a u32, b u32) i:b', rows: { T: [1, 2] }, new: 'T(a u32, b u32)', verdict: WARN, steps: 'RemoveIndex' },
  { n: 25, title: 'an index that a join would use is gone', old: 'T(a u32, b u32) i:b\nU(b u32) i:b', rows: { T: [1, 2], U: [1] }, new: 'T(a u32, b u32)\nU(b u32) i:b', verdict: WARN, steps: 'RemoveIndex',
    // This edition has no join subscriptions, so none can lose its index: they are refused by name, before and after; the others live.
    before: noJoins, after: noJoins },
  { n: 26, title: 'an index in another order', old: 'T(a u32, b u32) by_ab=i:(a,b)', rows: { T: [1, 2] }, new: 'T(a u32, b u32) by_ab=i:(b,a)', verdict: WARN, steps: 'RemoveIndex AddIndex' },
  { n: 27, title: 'a btree index becomes a hash index', old: 'T(a u32) i:a', rows: { T: [1, 2] }, new: 'T(a u32) h:a', verdict: WARN, steps: 'RemoveIndex AddIndex' },
  { n: 28, title: 'a unique btree index becomes a direct index', old: 'T(a u32!, b u32)', rows: { T: [1, 2] }, new: 'T(a u32!d, b u32)', verdict: OK, steps: 'RemoveIndex AddIndex', after: duplicateRefused },
  { n: 29, title: 'an index by another accessor', old: 'T(a u32, b u32) x=i:(a,b)', rows: { T: [1] }, new: 'T(a u32, b u32) y=i:(a,b)', verdict: NO, reasons: 'ChangeIndexAccessor' },
  // An index's source name follows from its table's in our SDK, so it changes together with that.
  { n: 30, title: 'an index by another source name', old: 'T(a u32, b u32) i:b', rows: { T: [1, 2] }, new: 'U(a u32, b u32) i:b as T', verdict: OK, steps: 'ChangeIndexSourceName ChangeTableAccessorName',
    after: async k => assert.deepEqual(await k.host.sql(k.name, 'SELECT a FROM "U" WHERE b = 2'), [[2]]) },
  { n: 31, title: 'a generated index name becomes an explicit one', old: 'T(a u32, b u32) i:b', rows: { T: [1, 2] }, new: 'T(a u32, b u32) i:b\nST_INDEX_NAME(T, b, "my_index");', verdict: OK, steps: 'RemoveIndex AddIndex',
    after: async k => assert.match(await k.psql(`select string_agg(indexname, ',') from pg_indexes where schemaname = '${k.name}' and tablename = 'T'`), /my_index/) },
  { n: 32, title: 'a unique constraint is gone, its index stays', old: 'T(a u32!, b u32)', rows: { T: [1, 2] }, new: 'T(a u32, b u32) i:a', verdict: OK, steps: 'RemoveConstraint', after: duplicatesAllowed },
  { n: 33, title: 'a unique constraint and its index are gone', old: 'T(a u32!, b u32)', rows: { T: [1, 2] }, new: 'T(a u32, b u32)', verdict: WARN, steps: 'RemoveIndex RemoveConstraint', after: duplicatesAllowed },
  { n: 34, title: 'a unique constraint over unique data', old: 'T(a u32)', rows: { T: [1, 2] }, new: 'T(a u32!)', verdict: NO, reasons: 'AddUniqueConstraint' },
  { n: 35, title: 'a unique constraint over duplicates', old: 'T(a u32, b u32) i:a', rows: { T: [{ a: 1, b: 1 }, { a: 1, b: 2 }] }, new: 'T(a u32!, b u32)', verdict: NO, reasons: 'AddUniqueConstraint' },
  { n: 36, title: 'a primary key', old: 'T(a u32)', rows: { T: [1, 2] }, new: 'T(a u32*)', verdict: NO, reasons: 'AddPrimaryKey:a' },
  { n: 37, title: 'the primary key moves', old: 'T(a u32*, b u32!)', rows: { T: [1, 2] }, new: 'T(a u32!, b u32*)', verdict: NO, reasons: 'AddPrimaryKey:b' },
  { n: 38, title: 'a primary key becomes a unique column', old: 'T(a u32*, b u32)', rows: { T: [1, 2] }, new: 'T(a u32!, b u32)', verdict: WARN, steps: 'ChangePrimaryKey', after: duplicateRefused },
  { n: 39, title: 'a primary key is gone', old: 'T(a u32*, b u32)', rows: { T: [1, 2] }, new: 'T(a u32, b u32)', verdict: WARN, steps: 'RemoveIndex RemoveConstraint ChangePrimaryKey', after: duplicatesAllowed },
  { n: 40, title: 'a publish after the primary key went', old: 'T(a u32*)', rows: { T: [1, 2] }, via: 'T(a u32)', new: 'T(a u32)\nST_REDUCER(g) { return ST_OK; }', verdict: OK, steps: 'AddFunction' },
  { n: 41, title: 'auto-increment added to an empty table', old: 'T(a u64)', new: 'T(a u64~)', verdict: OK, steps: 'AddSequence', after: async k => assert.equal(await k.next('T'), 1) },
  { n: 42, title: 'auto-increment added to 1, 2, 7', old: 'T(a u64)', rows: { T: [1, 2, 7] }, new: 'T(a u64~)', verdict: OK, steps: 'AddSequence', after: async k => assert.equal(await k.next('T'), 8) },
  { n: 43, title: 'auto-increment added to 0, -5', old: 'T(a i64)', rows: { T: [0, -5] }, new: 'T(a i64~)', verdict: OK, steps: 'AddSequence', after: async k => assert.equal(await k.next('T'), 1) },
  { n: 44, title: 'auto-increment added to a full u8', old: 'T(a u8)', rows: { T: [255] }, new: 'T(a u8~)', verdict: OK, steps: 'AddSequence', after: async k => assert.equal(await k.next('T'), 1) },
  { n: 45, title: 'auto-increment is gone', old: 'T(a u64~)', rows: { T: [5] }, new: 'T(a u64)', verdict: OK, steps: 'RemoveSequence',
    after: async k => { await k.add('T', 0); assert.ok((await k.memory('T')).some(([a]) => a === 0), 'a 0 is stored as it is'); } },
  { n: 46, title: 'auto-increment is gone and comes again', old: 'T(a u64~)', rows: { T: [5, 9] }, via: 'T(a u64)', viaRows: { T: [12] }, new: 'T(a u64~)', verdict: OK, steps: 'AddSequence', after: async k => assert.equal(await k.next('T'), 13) },
  { n: 47, title: 'another increment', old: 'T(a u64~)', fill: async k => { for (const id of [1, 2, 3]) assert.equal(await k.next('T'), id); }, new: 'T(a u64~) seq:a(1,1,1000000,10)', verdict: OK, steps: 'RemoveSequence AddSequence',
    after: async k => { const id = await k.next('T'); assert.ok(id > 3, `next id ${id}`); assert.equal(await k.next('T'), id + 10); } },
  { n: 48, title: 'a column beside an auto-increment key', old: 'T(a u64*~)', fill: async k => { for (const id of [1, 2]) assert.equal(await k.next('T'), id); }, new: 'T(a u64*~, b u32=0)', verdict: WARN, steps: 'AddColumns', after: async k => assert.equal(await k.next('T'), 3) },
  { n: 49, title: 'private becomes public', old: 'T(a u32) priv', rows: { T: [1] }, new: 'T(a u32)', verdict: OK, steps: 'ChangeAccess',
    before: async (k, c) => assert.match(await c.viewer.subscribe('T'), /no such table: `T`/),
    after: async (k, c) => { assert.equal(await c.viewer.subscribe('T'), null, 'who was connected may subscribe at once'); assert.equal(c.viewer.list('T').length, 1); } },
  { n: 50, title: 'public becomes private under a subscriber', old: 'T(a u32)', rows: { T: [1] }, new: 'T(a u32) priv', verdict: WARN, steps: 'ChangeAccess',
    after: async (k, c) => { assert.match(await c.viewer.subscribe('T'), /no such table: `T`/); assert.deepEqual(await k.memory('T'), [[1]]); } },
  { n: 51, title: 'a private table becomes public under a rule', owner: true, old: 'T(a u32, b u32) priv', rows: { T: [1, 2] }, new: 'T(a u32, b u32)\nST_RULE("SELECT * FROM T WHERE a = 1");', verdict: ACK, steps: 'ChangeAccess AddRowLevelSecurity DisconnectAllUsers',
    after: k => strangersSee(k, [1]) },
  { n: 52, title: 'private under a rule', run: rulePrivate },
  { n: 53, title: 'a table becomes an event table', old: 'T(a u32)', rows: { T: [1] }, new: 'T(a u32) ev', verdict: NO, reasons: 'ChangeTableEventFlag' },
  { n: 54, title: 'an event table becomes a table', old: 'T(a u32) ev', new: 'T(a u32)', verdict: NO, reasons: 'ChangeTableEventFlag' },
  { n: 55, title: 'an event table in another shape', ...BREAKING, rows: { E: [1] }, verdict: ACK, steps: 'ReschemaEventTable DisconnectAllUsers' },
  { n: 56, title: 'an event table back in its first shape', old: E1, rows: { E: [1] }, via: E2, new: E1, verdict: ACK, steps: 'ReschemaEventTable DisconnectAllUsers' },
  { n: 57, title: 'a private event table becomes public', old: 'E(a u64) ev priv', new: 'E(a u64) ev', verdict: OK, steps: 'ChangeAccess' },
  { n: 58, title: 'an event table is gone', old: `T(a u32)\n${E1}`, rows: { T: [1], E: [1, 2] }, new: 'T(a u32)', verdict: NO, reasons: 'RemoveTable' },
  { n: 59, title: 'an enum grows', old: 'enum E {A, B}\nT(a u32, e E)', rows: { T: [1, 2] }, new: 'enum E {A, B, C}\nT(a u32, e E)', verdict: WARN, steps: 'ChangeColumns', last: k => newVariants(k, 'T') },
  { n: 60, title: 'an enum grows in the middle', old: 'enum E {A, B}\nT(a u32, e E)', rows: { T: [1, 2] }, new: 'enum E {A, X, B}\nT(a u32, e E)', verdict: NO, reasons: 'RenamedVariant:e' },
  { n: 61, title: 'an enum shrinks', old: 'enum E {A, B}\nT(a u32, e E)', rows: { T: [1, 2] }, new: 'enum E {A}\nT(a u32, e E)', verdict: NO, reasons: 'FewerVariants:e' },
  { n: 62, title: 'a sum grows within its layout', old: 'sum S {A u8, B}\nT(a u32, s S)', rows: { T: [1, 2] }, new: 'sum S {A u8, B, C i8}\nT(a u32, s S)', verdict: WARN, steps: 'ChangeColumns', last: k => newVariants(k, 'T') },
  { n: 63, title: 'a sum grows beyond its layout', old: 'sum S {A u8, B}\nT(a u32, s S)', rows: { T: [1, 2] }, new: 'sum S {A u8, B, C u32}\nT(a u32, s S)', verdict: NO, reasons: 'AlignMismatch:s SizeMismatch:s' },
  { n: 64, title: 'a struct grows', old: 'struct P {x u32}\nT(a u32, p P)', rows: { T: [1] }, new: 'struct P {x u32, y u32}\nT(a u32, p P)', verdict: NO, reasons: 'FewerFields:p' },
  { n: 65, title: 'a field by another name', old: 'struct P {x u32}\nT(a u32, p P)', rows: { T: [1] }, new: 'struct P {z u32}\nT(a u32, p P)', verdict: NO, reasons: 'RenamedField:p' },
  { n: 66, title: 'an enum grows inside an array, an option and a struct', old: nested('A, B'), rows: { T1: [1, 2], T2: [1, 2], T3: [1, 2] }, new: nested('A, B, C'), verdict: WARN, steps: 'ChangeColumns ChangeColumns ChangeColumns',
    last: k => newVariants(k, 'T1', 'T2', 'T3') },
  { n: 67, title: 'an enum grows and a column comes', old: 'enum E {A, B}\nT(a u32, e E)', rows: { T: [1, 2] }, new: 'enum E {A, B, C}\nT(a u32, e E, b u32=7)', verdict: WARN, steps: 'AddColumns', last: k => newVariants(k, 'T') },
  { n: 68, title: 'types in another order, by other names', old: 'enum E {A, B}\nstruct P {x u32}\nT(a u32, e E, p P)', rows: { T: [1, 2] }, new: 'struct Point {x u32}\nenum Kind {A, B}\nT(a u32, e Kind, p Point)', verdict: OK, steps: '' },
  { n: 69, title: 'another default of a column that is there', old: 'T(a u32)', rows: { T: [1, 2] }, via: 'T(a u32, b u32=5)', new: 'T(a u32, b u32=9)', verdict: OK, steps: '' },
  // Scheduled tables are declared, compared and stored; the host runs their functions from the next edition on.
  { n: 70, title: 'a table becomes scheduled', old: SCHEDULED.replace(' sch:f(at)', ''), rows: { S: [1] }, new: SCHEDULED, verdict: NO, reasons: 'ChangeSchedule' },
  { n: 71, title: 'a table is no longer scheduled', old: SCHEDULED, rows: { S: [1] }, new: SCHEDULED.replace(' sch:f(at)', ''), verdict: NO, reasons: 'ChangeSchedule' },
  { n: 72, title: 'a schedule calls another function', old: SCHEDULED, rows: { S: [1] }, new: SCHEDULED.replace('sch:f', 'sch:g').replace('(f,', '(g,'), verdict: NO, reasons: 'ChangeSchedule' },
  { n: 73, title: 'a scheduled table', old: 'T(a u32)', new: `T(a u32)\n${SCHEDULED}`, verdict: OK, steps: 'AddTable AddFunction', after: async k => { await k.add('S', 1); } },
  { n: 74, title: 'a column of a scheduled table', old: SCHEDULED, rows: { S: [1, 2] }, new: SCHEDULED.replace('at sched)', 'at sched, c u32=0)'), verdict: WARN, steps: 'AddColumns ChangeFunction' },
  { n: 75, title: 'a publish between two ticks', run: betweenTicks },
  { n: 76, title: 'a publish over an overdue row', run: overdue },
  { n: 77, title: 'a reducer is gone', old: 'T(a u32)\nST_REDUCER(f) { return ST_OK; }', new: 'T(a u32)', verdict: WARN, steps: 'RemoveFunction',
    before: k => callOk(k, 'f'),
    after: async (k, c) => { assert.equal((await k.host.call(k.name, 'f', [])).status, 404); assert.match((await c.viewer.call('f', Buffer.alloc(0))).text, /no such reducer/); } },
  { n: 78, title: 'a reducer with other parameters', old: 'T(a u32)\nST_REDUCER(f, (uint32_t, x)) { (void)x; return ST_OK; }', new: 'T(a u32)\nST_REDUCER(f, (st_str, x)) { (void)x; return ST_OK; }', verdict: WARN, steps: 'ChangeFunction',
    before: k => callOk(k, 'f', [1]),
    after: async (k, c) => {
      assert.equal((await k.host.call(k.name, 'f', [1])).status, 400);
      await callOk(k, 'f', ['text']);
      const old = await c.viewer.call('f', Buffer.from([0, 0, 0, 0])); // four bytes are a good u32 and a good empty text
      assert.notEqual(old.outcome, 'ok', 'a client of before must not have its bytes read as something else');
      assert.match(old.text, /f/);
    } },
  { n: 79, title: 'a connect reducer', old: 'L(who id, n u64~)', new: 'L(who id, n u64~)\nST_CLIENT_CONNECTED(hello) { L l = { .who = ctx->sender }; return L_insert(ctx->db, &l); }', verdict: OK, steps: 'AddFunction', generic: false,
    after: async (k, c) => {
      const [id] = await connectedAs(k);
      const seen = (await k.memory('L')).map(([who]) => who[0]);
      assert.ok(seen.includes(toJson(k.def, 'id', id)[0]), 'it runs for a new connection');
      assert.ok(!seen.includes(toJson(k.def, 'id', c.identity)[0]), 'and not for those of before');
    },
    before: async (k, c) => { [c.identity, c.keep] = await connectedAs(k, true); } },
  { n: 80, title: 'an init reducer', old: 'T(a u32)', rows: { T: [1] }, new: 'T(a u32)\nST_INIT(begin) { T row = { 999 }; return T_insert(ctx->db, &row); }', verdict: OK, steps: 'AddFunction' },
  { n: 81, title: 'twenty clients are disconnected, by the new module', old: `L(who id, n u64~)\n${E1}`, new: `L(who id, n u64~)\n${E2}\nST_CLIENT_DISCONNECTED(bye) { L l = { .who = ctx->sender }; return L_insert(ctx->db, &l); }`, verdict: ACK,
    steps: 'ReschemaEventTable AddFunction DisconnectAllUsers', generic: false,
    before: async (k, c) => { c.twenty = await Promise.all(Array.from({ length: 20 }, () => connectedAs(k, true))); },
    after: async (k, c) => {
      for (const [, viewer] of c.twenty) assert.equal((await within('a client to be closed', viewer.wire.closed)).code, 1001);
      const rows = await until('the new module to have run for everyone', async () => { const rows = await k.memory('L'); return rows.length >= 21 && rows; });
      for (const [id] of c.twenty) assert.equal(rows.filter(([who]) => who[0] === toJson(k.def, 'id', id)[0]).length, 1, 'once for each connection');
    } },
  // Procedures are declared and compared; the host runs them from the next edition on.
  { n: 82, title: 'a procedure is gone and comes again with another result', old: 'T(a u32)\nST_PROCEDURE(p, uint32_t) { *ret = 1; return ST_OK; }', via: 'T(a u32)', viaSteps: [WARN, 'RemoveFunction'], new: 'T(a u32)\nST_PROCEDURE(p, st_str) { *ret = ST_S("x"); return ST_OK; }', verdict: OK, steps: 'AddFunction' },
  { n: 83, title: 'a view', old: 'T(a u32*)', rows: { T: [1] }, new: `T(a u32*)\n${view(FIND(1))}`, verdict: OK, steps: 'AddView', after: async k => assert.deepEqual(await k.host.sql(k.name, 'SELECT * FROM v'), [[1]]) },
  { n: 84, title: 'a view is gone', old: `T(a u32*)\n${view(FIND(1))}`, rows: { T: [1] }, new: 'T(a u32*)', verdict: ACK, steps: 'RemoveView DisconnectAllUsers' },
  { n: 85, title: 'a view with another body', old: `T(a u32*)\n${view(FIND(1))}`, rows: { T: [1, 2] }, new: `T(a u32*)\n${view(FIND(2))}`, verdict: OK, steps: '', before: seesView([1]), after: async (k, c) => until('the subscriber of the view to get the difference', () => c.seer.list('v').join() === '{"a":"2n"}' && !c.seer.gone) },
  { n: 86, title: 'a view with another column', old: `T(a u32*)\nstruct R {a u32}\nST_VIEW(v, PUBLIC, R) { R r = { 1 }; return R_emit(out, &r); }`, rows: { T: [1] },
    new: `T(a u32*)\nstruct R {a u32, b u32}\nST_VIEW(v, PUBLIC, R) { R r = { 1, 2 }; return R_emit(out, &r); }`, verdict: ACK, steps: 'RemoveView AddView DisconnectAllUsers' },
  { n: 87, title: 'an anonymous view becomes one for each sender', old: `T(a u32*)\n${view(FIND(1), { kind: 'ANON_VIEW' })}`, rows: { T: [1] }, new: `T(a u32*)\n${view(FIND(1))}`, verdict: ACK, steps: 'RemoveView AddView DisconnectAllUsers' },
  { n: 88, title: 'a view gets a primary key', old: `T(a u32*)\nstruct R {a u32}\n${view(FIND_R(1), { row: 'R' })}`, rows: { T: [1] }, new: `T(a u32*)\nstruct R {a u32}\n${view(FIND_R(1), { row: 'R' })}\nST_VIEW_KEY(v, a);`, verdict: ACK, steps: 'RemoveView AddView DisconnectAllUsers' },
  { n: 89, title: 'a view from an option to an array', old: `T(a u32*)\n${view(FIND(1), { kind: 'OPTION_VIEW' })}`, rows: { T: [1] }, new: `T(a u32*)\n${view(FIND(1))}`, verdict: OK, steps: '', before: seesView([1]), after: async (k, c) => assert.ok(!c.seer.gone) },
  { n: 90, title: 'a view whose body traps', old: `T(a u32*)\n${view(FIND(1))}`, rows: { T: [1] }, new: `T(a u32*)\n${view('(void)ctx; (void)out; __builtin_trap();')}`, verdict: FAIL, steps: '', before: seesView([1]), after: stillSeesView },
  { n: 91, title: 'an unrelated view', old: `T(a u32*)\n${view(FIND(1))}`, rows: { T: [1] }, new: `T(a u32*)\n${view(FIND(1))}\n${view(FIND(2), { name: 'w' })}`, verdict: OK, steps: 'AddView', before: seesView([1]), after: stillSeesView },
  { n: 92, title: 'a rule is added', owner: true, old: 'T(a u32)', rows: { T: [1, 2, 3] }, new: 'T(a u32)\nST_RULE("SELECT * FROM T WHERE a = 1");\nST_RULE("SELECT * FROM T WHERE a = 3");', verdict: ACK, steps: 'AddRowLevelSecurity AddRowLevelSecurity DisconnectAllUsers',
    after: k => strangersSee(k, [1, 3]) },
  { n: 93, title: 'the same rule', owner: true, old: 'T(a u32)\nST_RULE("SELECT * FROM T WHERE a = 1");', rows: { T: [1, 2] }, new: 'T(a u32)\nST_RULE("SELECT * FROM T WHERE a = 1");\nST_REDUCER(f) { return ST_OK; }', verdict: OK, steps: 'AddFunction',
    before: async (k, c) => { c.stranger = await strangersSee(k, [1], true); }, after: async (k, c) => { await k.add('T', 4); await sleep(50); assert.deepEqual(c.stranger.list('T'), ['{"a":"1n"}']); assert.ok(!c.stranger.gone); c.stranger.close(); } },
  { n: 94, title: 'another rule', owner: true, old: 'T(a u32)\nST_RULE("SELECT * FROM T WHERE a = 1");', rows: { T: [1, 2] }, new: 'T(a u32)\nST_RULE("SELECT * FROM T WHERE a = 2");', verdict: ACK, steps: 'RemoveRowLevelSecurity AddRowLevelSecurity DisconnectAllUsers',
    before: k => strangersSee(k, [1]), after: k => strangersSee(k, [2]), last: unknownTable },
  { n: 95, title: 'a first publish with a bad rule', run: badRuleFirst },
  { n: 96, title: 'a table by another accessor', old: 'my_t(a u32)', rows: { my_t: [1] }, new: 'myTable(a u32) as my_t', verdict: OK, steps: 'ChangeTableAccessorName' },
  { n: 97, title: 'a column by another accessor', old: 't(my_field u32)', rows: { t: [1] }, new: 'policy SNAKE\nt(myField/my_field u32)', verdict: OK, steps: 'ChangeColumnAccessorName' },
  { n: 98, title: 'a table whose name the case policy changes', old: 'FruitBasket(a u32)', rows: { FruitBasket: [1] }, new: 'policy SNAKE\nFruitBasket(a u32) by fruit_basket', verdict: NO, reasons: 'RemoveTable', text: /FruitBasket[^]*fruit_basket[^]*case/i },
  { n: 99, title: 'a column whose name the case policy changes', old: 't(fruitName str)', rows: { t: [1] }, new: 'policy SNAKE\nt(fruitName/fruit_name str)', verdict: NO, reasons: 'AddColumn:fruit_name RemoveColumn:fruitName' },
  { n: 100, title: 'a variant whose name the case policy changes', old: 'enum e {RedApple, Pear}\nt(a u32, b e)', rows: { t: [1] }, new: 'policy SNAKE\nenum e {RedApple, Pear}\nt(a u32, b e)', verdict: NO, reasons: 'RenamedVariant:b RenamedVariant:b' },
  { n: 101, title: 'a submodule', definitionOnly: true },
  { n: 102, title: 'an index in a submodule', definitionOnly: true },
  { n: 103, title: 'a submodule mounted elsewhere', definitionOnly: true },
  { n: 104, title: 'a table beside one of the same name in a submodule', definitionOnly: true },
  { n: 105, title: 'an index goes, columns come, public becomes private', old: 'T(a u32, b u32) i:b', rows: { T: [1, 2] }, new: 'T(a u32, b u32, c u32=1, d str="q") priv', verdict: WARN, steps: 'RemoveIndex AddColumns ChangeAccess' },
  // The rule on U of this case and the next cannot be declared: its order among the steps is tested on definitions.
  { n: 106, title: 'a column, an index over it and a table', old: 'T(a u32)', rows: { T: [1, 2] }, new: 'T(a u32, c u32=1) i:c\nU(x u32)', verdict: WARN, steps: 'AddColumns AddTable AddIndex',
    after: async k => assert.deepEqual((await k.host.sql(k.name, 'SELECT a FROM "T" WHERE c = 1')).map(([a]) => a).sort(), [1, 2], 'the index holds the rows that were filled') },
  { n: 107, title: 'a column, an index and a broken rule', run: badRuleLater },
  { n: 108, title: 'good DDL and a view that traps', old: `T(a u32*)\nstruct R {a u32}\n${view(FIND_R(1), { row: 'R' })}`, rows: { T: [1] }, new: `T(a u32*, c u32=1) i:c\nstruct R {a u32}\n${view('(void)ctx; (void)out; __builtin_trap();', { row: 'R' })}`,
    verdict: FAIL, steps: 'AddColumns AddIndex', before: seesView([1]), after: stillSeesView },
  { n: 109, title: 'the host is killed before COMMIT', elsewhere: 'migration_hard_test.mjs' },
  { n: 110, title: 'the host is killed after COMMIT', elsewhere: 'migration_hard_test.mjs' },
  { n: 111, title: 'several errors at once', old: 'T(a u32, b u32)', rows: { T: [1] }, new: 'T(b u32, a u64, c u32) ev', verdict: NO, reasons: 'AddColumn:c ChangeColumnType:a ChangeTableEventFlag ReorderTable:a ReorderTable:b' },
  { n: 112, title: 'the token of a plan that another publish overtook', run: overtaken },
  { n: 113, title: 'a breaking plan by PUT without a policy', run: rawPut('', /policy/) },
  { n: 114, title: 'BreakClients without a token', run: rawPut('?policy=BreakClients', /[Tt]oken/) },
  { n: 115, title: 'a breaking plan, and the prompt is answered no or not at all', run: prompted },
  { n: 116, title: '--yes=remote with a breaking plan', run: async k => { await start(k, BREAKING.old); await refused(k, await k.file(BREAKING.new), ['--yes=remote']); } },
  { n: 117, title: '--delete-data with rows', run: deleteData },
  { n: 118, title: '--delete-data=on-conflict without a conflict', run: onConflict },
  { n: 119, title: '--delete-data=on-conflict --yes with a conflict', run: onConflictReset },
  { n: 120, title: '--delete-data=on-conflict and a failure while applying', run: onConflictFail },
  { n: 121, title: 'a locked database', run: locked },
  { n: 122, title: '--delete-data with a module that cannot be loaded', run: deleteDataInvalid },
  { n: 123, title: '1,000 calls while a column is appended', elsewhere: 'migration_hard_test.mjs' },
  { n: 124, title: 'two publishes at once', elsewhere: 'migration_hard_test.mjs' },
  { n: 125, title: 'long names, keywords, letters beyond ASCII', elsewhere: 'migration_hard_test.mjs' },
  { n: 126, title: 'identical rows before and after a column came', old: 'T(a u32)', rows: { T: [1, 1] }, new: 'T(a u32, b u32=0)', verdict: WARN, steps: 'AddColumns',
    after: async k => { await k.insert('T', { a: 1, b: 0 }); await k.insert('T', { a: 1, b: 0 }); assert.equal((await k.memory('T')).length, 1); } },
  { n: 127, title: 'an ALTER TABLE by hand', elsewhere: 'migration_hard_test.mjs' },
  { n: 128, title: 'version 1 after version 2 with another column', old: 'T(a u32)', rows: { T: [1, 2] }, via: 'T(a u32, b u32=5)', new: 'T(a u32)', verdict: NO, reasons: 'RemoveColumn:b' },
  { n: 129, title: 'version 1 after version 2 with an index, public', old: 'T(a u32, b u32) priv', rows: { T: [1, 2] }, via: 'T(a u32, b u32) i:b', new: 'T(a u32, b u32) priv', verdict: WARN, steps: 'RemoveIndex ChangeAccess' },
  { n: 130, title: '1,000,000 rows', elsewhere: 'migration_hard_test.mjs' },
  { n: 131, title: 'statements that PostgreSQL has prepared', elsewhere: 'migration_hard_test.mjs' },
  { n: 132, title: 'the same module as V9 and as V10', elsewhere: 'cli_publish_test.mjs' }, // our modules are V10 always: what is left is the prompt
  { n: 133, title: 'an index over a long text', elsewhere: 'migration_hard_test.mjs' },
  // A default on a unique column does not compile; over two columns it does.
  { n: 134, title: 'a unique constraint over a column that comes', old: 'T(a u32)', rows: { T: [1, 2] }, new: 'T(a u32, b u32=0) u:(a,b)', verdict: NO, reasons: 'AddUniqueConstraint' },
  { n: 135, title: 'a table becomes a view of its name', old: 'T(a u32*)\nx(a u32)', new: `T(a u32*)\n${view(FIND(1), { name: 'x' })}`, verdict: NO, reasons: 'RemoveTable' },
];

// ---- definitions and checks of single cases ----

// A client that subscribes to view v, whose rows are {a u32}; and whether it still gets what changes.
function seesView(rows) {
  return async (k, c) => {
    c.seer = new Viewer(k.host, k.name, definition('v(a u32*)'), { token: k.host.token });
    await c.seer.opened();
    assert.equal(await c.seer.subscribe('v'), null);
    assert.deepEqual(c.seer.list('v'), rows.map(a => `{"a":"${a}n"}`));
  };
}
async function stillSeesView(k, c) {
  await k.host.sql(k.name, 'DELETE FROM "T" WHERE a = 1');
  await until('the row to leave the view', () => c.seer.list('v').length === 0);
  await k.host.sql(k.name, `INSERT INTO "T" (${[...k.def.tables.get('T').columns.map(x => x.name)].join(', ')}) VALUES (${k.def.tables.get('T').columns.map(() => 1).join(', ')})`);
  await until('the row to come back', () => c.seer.list('v').length === 1);
  assert.ok(!c.seer.gone && !c.seer.failure && !c.seer.errors.length, `${c.seer.failure} ${c.seer.errors.map(e => e.text)}`);
}

function nested(variants) { return `enum E {${variants}}\nstruct P {e E}\nT1(a u32, e [E])\nT2(a u32, e ?E)\nT3(a u32, p P)`; }
// f notes each of its calls, with what it sees in the row.
const TICKING = (column = '', more = '') => `S(id u64*~, at sched${column && `, ${column}`}) sch:f(at)\nran(id u64*~, timer u64, c u32)\n${more}
ST_REDUCER(f, (S, row)) { ran r = { .timer = row.id, .c = ${column ? 'row.c' : '0'} }; return ran_insert(ctx->db, &r); }
ST_REDUCER(every, (int64_t, ms)) { S row = { .at = st_every(st_millis(ms)) }; return S_insert(ctx->db, &row); }
ST_REDUCER(once, (int64_t, ms)) { S row = { .at = st_at(st_timestamp_add(ctx->timestamp, st_millis(ms))) }; return S_insert(ctx->db, &row); }`;
const ran = async k => (await k.host.sql(k.name, 'SELECT * FROM ran')).map(r => ({ timer: Number(r[1]), c: r[2] }));
async function betweenTicks(k) {
  await start(k, TICKING());
  await callOk(k, 'every', [100]);
  await until('two ticks', async () => (await ran(k)).length >= 2);
  for (const next of [TICKING('', 'U(x u32)'), TICKING('c u32=7', 'U(x u32)')]) {
    const r = await k.publish(await k.file(next));
    assert.equal(r.status, 200, r.text);
    const before = (await ran(k)).length;
    await until('ticks of the new version', async () => (await ran(k)).length > before + 2);
  }
  assert.equal((await ran(k)).at(-1).c, 7, 'the function sees the default of the column that came');
  await k.host.http('POST', `/v1/database/${k.name}/sql`, { body: 'DELETE FROM S' });
  k.version = 0; // nothing to compare at the end
}
async function overdue(k) {
  await start(k, TICKING());
  const versions = [await k.file(TICKING('', 'U(x u32)')), await k.file(TICKING(), 'back')];
  for (let i = 0; i < 8; i++) {
    for (let n = 0; n < 5; n++) await callOk(k, 'once', [i * 3]); // due about when calls are paused
    const r = await k.publish(i % 2 ? await k.file(TICKING('', `U(x u32)\nST_REDUCER(g${i}) { return ST_OK; }`)) : versions[0]);
    assert.equal(r.status, 200, r.text);
  }
  await until('all rows', async () => (await ran(k)).length >= 40);
  await sleep(50);
  const timers = (await ran(k)).map(r => r.timer);
  assert.equal(timers.length, 40);
  assert.equal(new Set(timers).size, 40, 'each once');
  assert.equal((await k.memory('S')).length, 0);
  k.version = 0;
}
async function callOk(k, reducer, args = []) {
  const r = await k.host.call(k.name, reducer, args);
  assert.equal(r.status, 200, `${reducer}: ${r.status} ${r.text}`);
}
async function noJoins(k, c) {
  assert.match(await c.viewer.subscribe('T', 'SELECT "T".* FROM "T" JOIN "U" ON "T"."b" = "U"."b"'), /[Jj]oin/);
}
async function duplicateRefused(k) {
  const r = await k.host.http('POST', `/v1/database/${k.name}/sql`, { body: 'INSERT INTO "T" (a, b) VALUES (1, 99)' });
  assert.equal(r.status, 400, r.text);
  assert.match(r.text, /column a: value 1 is already present/);
}
async function duplicatesAllowed(k) {
  await k.insert('T', { a: 1, b: 99 });
  await k.insert('T', { a: 1, b: 99 }); // identical rows are one
  assert.equal((await k.memory('T')).filter(([a]) => a === 1).length, 2);
}
// Rows with the new variant: a new client reads them. A client of before cannot know it (that is the warning) and is not disconnected.
async function newVariants(k, ...tables) {
  const fresh = await k.viewer();
  for (const t of tables) await arrives(fresh, k.def.tables.get(t), await k.add(t, 5));
  fresh.close();
  await k.check();
}
// A client of its own identity; [identity, viewer or undefined].
async function connectedAs(k, keep) {
  const { identity, token } = await (await fetch(`${k.host.url}/v1/identity`, { method: 'POST' })).json();
  const v = new Viewer(k.host, k.name, k.def, { token });
  await v.opened();
  await v.subscribe('L');
  if (!keep) v.close();
  return [identity, keep && v];
}
// What a client that is not the owner sees of T: by subscription, by a query of its own, and over HTTP.
async function strangersSee(k, values, stay = false) {
  const { token } = await (await fetch(`${k.host.url}/v1/identity`, { method: 'POST' })).json();
  const v = new Viewer(k.host, k.name, k.def, { token });
  await v.opened();
  assert.equal(await v.subscribe('T'), null);
  const column = r => Number(r.a), seen = (v.rows.get('T') ?? []).map(column).sort((a, b) => a - b);
  assert.deepEqual(seen, values, 'rows by subscription');
  assert.deepEqual((await k.host.sql(k.name, 'SELECT a FROM T', { token })).map(r => r[0]).sort((a, b) => a - b), values, 'rows over HTTP');
  assert.deepEqual(await k.host.sql(k.name, 'SELECT COUNT(*) AS n FROM T WHERE a < 3', { token }), [[values.filter(x => x < 3).length]]);
  if (stay) return v;
  v.close();
}
const RULED = 'T(a u32)\nST_RULE("SELECT * FROM T WHERE a = 1");';
async function rulePrivate(k) {
  await start(k, RULED, { T: [1, 2] });
  const file = await k.file('T(a u32) priv\nST_RULE("SELECT * FROM T WHERE a = 1");');
  const r = await k.publish(file);
  assert.equal(r.status, 400, r.text);
  assert.match(r.text, /rule `SELECT \* FROM T WHERE a = 1`: no such table: `T`[^]*private/);
  assert.equal((await k.cliPublish(file, ['--yes'])).status, 1);
  await unchanged(k);
  await strangersSee(k, [1]);
}
async function badRuleFirst(k) {
  k.file = (definition, tag = 'new') => compileModule(definition, tag);
  const bad = await k.file('T(a u32)\nST_RULE("SELECT * FROM T WHERE a = \'x\'");\nST_RULE("SELECT nothing");\nST_RULE("SELECT * FROM U");\nST_RULE("SELECT COUNT(*) AS n FROM T");', 'bad');
  const r = await k.publish(bad);
  assert.equal(r.status, 400, r.text);
  for (const part of [/SELECT nothing/, /no such table: `U`/, /WHERE a = 'x'/, /SELECT COUNT[^]*whole rows/]) assert.match(r.text, part);
  assert.equal((await k.host.http('GET', `/v1/database/${k.name}`)).status, 404);
  assert.equal(await k.psql(`select count(*) from pg_namespace where nspname = '${k.name}'`), '0');
  await k.first(RULED, await k.file(RULED, 'good'));
  await k.fill({ T: [1, 2] });
  await strangersSee(k, [1]);
  await unchanged(k, 'good');
}
async function unknownTable(k) {
  const r = await k.publish(await compileModule('T(a u32)\nST_RULE("SELECT * FROM nowhere");', 'bad'));
  assert.equal(r.status, 400, r.text);
  assert.match(r.text, /no such table: `nowhere`/);
  assert.equal(await k.which(), 'new');
}
async function badRuleLater(k) {
  await start(k, 'T(a u32)', { T: [1, 2] });
  const file = await k.file('T(a u32, c u32=1) i:c\nU(x u32)\nST_RULE("SELECT * FROM U WHERE nothing = 1");');
  const r = await k.publish(file);
  assert.equal(r.status, 400, r.text);
  assert.match(r.text, /`U` does not have a field `nothing`/);
  await unchanged(k);
}
async function withoutRows(k) {
  for (const c of cases.filter(c => c.n >= 12 && c.n <= 21)) {
    const one = new Migrating(k.host, `${k.name}-${c.n}`);
    await one.first(c.old, await compileModule(c.old, 'old'));
    const plan = await one.plan(await compileModule(c.new, 'new'));
    assert.ok(!plan.allowed, `case ${c.n} without rows`);
    sameReasons(plan.reasons, c.reasons);
  }
}

// ---- cases 112 to 122: tokens, prompts, deleting ----

// What a refused publish leaves behind: everything as it was.
async function unchanged(k, tag = 'old') {
  assert.equal(await k.which(), tag, 'the module that runs');
  await k.check();
}
async function refused(k, file, args, input = '') {
  const r = await k.cliPublish(file, args, { input });
  assert.equal(r.status, 1, `${r.out}${r.err}`);
  assert.doesNotMatch(r.out, /Publishing module/, 'nothing was sent');
  await unchanged(k);
  return r;
}
async function start(k, text, rows) {
  k.file = (definition, tag = 'new') => compileModule(definition, tag);
  await k.first(text, await k.file(text, 'old'));
  await k.fill(rows);
}
async function overtaken(k) {
  await start(k, E1);
  const a = await k.file(E2, 'a'), plan = await k.plan(a);
  await k.publish(await k.file(E1, 'b'));
  k.version++;
  const r = await k.publish(a, `?policy=BreakClients&token=${plan.token}`);
  assert.equal(r.status, 400);
  assert.match(r.text, /[Tt]oken/);
  await unchanged(k, 'b');
}
function rawPut(query, pattern) {
  return async k => {
    await start(k, `T(a u32)\n${E1}`, { T: [1] });
    const r = await k.publish(await k.file(`T(a u32)\n${E2}`), query);
    assert.equal(r.status, 400, r.text);
    assert.match(r.text, pattern);
    await unchanged(k);
  };
}
async function prompted(k) {
  await start(k, BREAKING.old);
  const file = await k.file(BREAKING.new);
  for (const input of ['n\n', '', 'maybe\n']) {
    const r = await refused(k, file, [], input);
    assert.match(r.out, /E/, 'the plan was shown first');
  }
  const yes = await k.cliPublish(file, [], { input: 'y\n' });
  assert.equal(yes.status, 0, `${yes.out}${yes.err}`);
  k.version++;
  k.take(definition(BREAKING.new));
  await unchanged(k, 'new');
}
const SEEDED = 'T(a u32, b u32)\nST_INIT(begin) { T row = { 100, 100 }; return T_insert(ctx->db, &row); }';
async function wasReset(k, text) {
  k.version++;
  k.rows.clear();
  k.take(definition(text));
  k.remember('T', { a: 100n, ...k.def.tables.get('T').columns[1] && { b: 100n } });
  await unchanged(k, 'new');
}
async function deleteData(k) {
  await start(k, SEEDED, {});
  k.remember('T', { a: 100n, b: 100n });
  await k.add('T', 1);
  const viewer = await k.viewer(), file = await k.file(SEEDED);
  await refused(k, file, ['--delete-data'], 'n\n');
  assert.ok(!viewer.gone);
  const r = await k.cliPublish(file, ['--delete-data'], { input: 'y\n' });
  assert.equal(r.status, 0, `${r.out}${r.err}`);
  assert.equal((await within('the client to be closed', viewer.wire.closed)).code, 1001);
  await wasReset(k, SEEDED);
}
async function onConflict(k) {
  await start(k, 'T(a u32)', { T: [1, 2] });
  const next = 'T(a u32, b u32=5)', r = await k.cliPublish(await k.file(next), ['--delete-data=on-conflict', '--yes']);
  assert.equal(r.status, 0, `${r.out}${r.err}`);
  k.version++;
  k.take(definition(next));
  await unchanged(k, 'new');
}
async function onConflictReset(k) {
  await start(k, 'T(a u32, c u32)', { T: [1, 2] });
  const next = 'T(a u64)\nST_INIT(begin) { T row = { 100 }; return T_insert(ctx->db, &row); }', file = await k.file(next);
  await refused(k, file, ['--delete-data=on-conflict'], 'n\n');
  const r = await k.cliPublish(file, ['--delete-data=on-conflict', '--yes']);
  assert.equal(r.status, 0, `${r.out}${r.err}`);
  await wasReset(k, next);
}
// What the tables hold decides here, so no plan can know it: an index over a text that no index of PostgreSQL takes. Without consent the rows
// stay; whether the preview has already found it (and asks to delete) or the publish does, the exit status is 1.
async function onConflictFail(k) {
  await start(k, 'T(a u32, b str)', {});
  await k.insert('T', { a: 1, b: longText() });
  const r = await k.cliPublish(await k.file('T(a u32, b str) i:b'), ['--delete-data=on-conflict'], { input: 'n\n' });
  assert.equal(r.status, 1, `${r.out}${r.err}`);
  await unchanged(k);
}
// Databases of this edition cannot be locked; the command says so instead of pretending. Deleting without the right is refused like a lock is.
async function locked(k) {
  await start(k, 'T(a u32)', { T: [1] });
  const r = await k.cli(['lock', k.name]);
  assert.equal(r.status, 2);
  assert.match(r.err, /cannot be locked/);
  const { token } = await (await fetch(`${k.host.url}/v1/identity`, { method: 'POST' })).json();
  const other = await k.host.publish(k.name, await k.file('T(a u32)'), { query: '?clear=true', token });
  assert.equal(other.status, 403, other.text);
  await unchanged(k);
}
async function deleteDataInvalid(k) {
  await start(k, 'T(a u32)', { T: [1] });
  const r = await k.cliPublish(join(root, 'Makefile'), ['--delete-data', '--yes']);
  assert.equal(r.status, 1, `${r.out}${r.err}`);
  await unchanged(k);
  const failing = await k.cliPublish(await k.file('T(a u32)\nST_INIT(begin) { return st_fail(ctx, "not today"); }'), ['--delete-data', '--yes']);
  assert.equal(failing.status, 1, 'init runs before anything is deleted');
  assert.match(failing.err, /not today/);
  await unchanged(k);
}
// ---- one case ----

function sameReasons(reasons, expected) {
  const found = reasons.map(r => [r.kind, r.column || '']), want = expected.split(' ').map(w => w.split(':'));
  const text = found.map(([kind, column]) => `${kind}${column && `:${column}`}`).join(' ');
  assert.equal(found.length, want.length, `reasons: expected ${expected}, found ${text}`);
  // The sheet writes what several kinds share: RenamedVariant for ChangeColumnTypeRenamedVariant and ChangeWithinColumnTypeRenamedVariant.
  for (const [kind, column] of want)
    assert.ok(found.some(([k, c]) => k.endsWith(kind) && (!column || c === column)), `reasons: expected ${expected}, found ${text}`);
  assert.deepEqual(reasons.map(r => r.text), [...new Set(reasons.map(r => r.text))].sort(), 'each once, sorted');
}
function sameVerdict(c, plan) {
  if (c.verdict === NO) return assert.ok(!plan.allowed, `${c.verdict} expected, the plan is ${plan.steps}`);
  assert.ok(plan.allowed, `${c.verdict} expected, refused: ${plan.reason}`);
  assert.equal(plan.steps.join(' '), c.steps, 'steps');
  assert.equal(plan.break_clients, c.verdict === ACK, 'break_clients');
  const classes = new Set(plan.details.map(s => s.class));
  if (c.verdict === OK) assert.deepEqual([...classes].filter(x => x !== 'safe'), [], `every step is safe: ${JSON.stringify(plan.details)}`);
  if (c.verdict === WARN) assert.ok(classes.has('may_break') && !classes.has('breaks'), `some step may break clients: ${JSON.stringify(plan.details)}`);
}
async function runCase(host, c) {
  const k = new Migrating(host, `case-${c.n}`), as = { token: c.owner ? host.token : undefined };
  if (c.run) { await c.run(k); return k; }
  const oldFile = await compileModule(c.old, 'old'), newFile = c.new === 'same file' ? oldFile : await compileModule(c.new, 'new'), goal = c.new === 'same file' ? c.old : c.new;
  await k.first(c.old, oldFile);
  await k.fill(c.rows);
  await c.fill?.(k);
  let running = 'old';
  if (c.connectFirst) c.viewer = await k.viewer(k.def, as);
  if (c.via) {
    const file = await compileModule(c.via, 'via'), plan = await k.plan(file);
    if (c.viaSteps) sameVerdict({ verdict: c.viaSteps[0], steps: c.viaSteps[1] }, plan);
    const r = await k.publish(file, plan.break_clients ? `?policy=BreakClients&token=${plan.token}` : '');
    assert.equal(r.status, 200, `the publish before: ${r.text}`);
    k.version++;
    k.take(definition(c.via));
    await k.fill(c.viaRows);
    running = 'via';
  }
  c.viewer ??= await k.viewer(k.def, as);
  await c.before?.(k, c);

  const plan = await k.plan(newFile);
  sameVerdict(c, plan);
  if (c.verdict === NO) sameReasons(plan.reasons, c.reasons);
  if (c.text) assert.match(plan.reason, c.text);

  const applied = c.verdict !== NO && c.verdict !== FAIL;
  if (applied) {
    const r = await k.publish(newFile, c.verdict === ACK ? `?policy=BreakClients&token=${plan.token}` : '');
    assert.equal(r.status, 200, `publish: ${r.status} ${r.text}`);
    if (newFile !== oldFile) { k.version++; k.take(definition(goal)); running = 'new'; }
  } else {
    const r = await k.cliPublish(newFile, ['--yes']);
    assert.equal(r.status, 1, `the CLI's exit status: ${r.out}${r.err}`);
    if (c.verdict === NO) for (const reason of plan.reasons) assert.ok((r.out + r.err).includes(reason.text), `the CLI prints: ${reason.text}\n${r.out}${r.err}`);
  }
  assert.equal(await k.which(), running, 'the module that runs');
  if (c.generic !== false) await k.check();
  if (c.verdict === ACK) {
    const closed = await within('the client of before to be disconnected', c.viewer.wire.closed);
    assert.deepEqual([closed.code, closed.reason], [1001, 'module exited']);
  } else {
    await sleep(20);
    assert.ok(!c.viewer.gone, 'the client of before is still connected');
    assert.ok(!c.viewer.failure, String(c.viewer.failure));
  }
  await c.after?.(k, c);

  // The next row reaches the client of before in its shape, and a new client in the new shape.
  if (c.generic !== false) {
    const fresh = await k.viewer(k.def, as);
    for (const t of k.def.tables.values()) {
      const known = c.viewer.def.tables.get(t.name);
      const row = await k.add(t.name, FRESH);
      if (t.isPublic) await arrives(fresh, t, row);
      if (c.verdict !== ACK && t.isPublic && known?.isPublic) await arrives(c.viewer, t, row);
      if (known?.isPublic && !t.isPublic && c.verdict !== ACK) {
        const ended = await until(`the subscription to ${t.name} to end`, () => c.viewer.errors.find(e => e.table === t.name));
        assert.match(ended.text, new RegExp(t.name), 'the error names the table');
        assert.ok(!c.viewer.gone);
      }
    }
    const initial = [...k.rows].filter(([name]) => k.def.tables.get(name).isPublic && !k.def.tables.get(name).isEvent);
    for (const [name, rows] of initial) assert.equal(fresh.list(name).length, rows.length, `rows of ${name} at a new client`);
    await k.checkMemory();
    fresh.close();
    await c.last?.(k, c);
    if (c.verdict !== ACK) assert.ok(!c.viewer.gone, 'the client of before is still connected');
  }
  if (c.generic === false) for (const t of k.def.tables.keys()) k.rows.delete(t);
  c.viewer.close();
  c.keep?.close();
  return k;
}

const definitionTest = readFileSync(join(root, 'tests/unit/schema_diff_test.c'), 'utf8');
const numbers = new Set(cases.map(c => c.n));
test('every number of the sheet is here', () => assert.deepEqual([...numbers], Array.from({ length: 135 }, (_, i) => i + 1)));

const host = await new Host().start();
const lane = lanes(4), only = process.env.CASE ? new RegExp(process.env.CASE) : null, migrated = [];
for (const c of cases) {
  const name = `case ${c.n}: ${c.title}`;
  if (c.definitionOnly) {
    test(`${name} (on definitions: schema_diff_test.c)`, () => assert.match(definitionTest, new RegExp(`\\{${c.n}, "`)));
    continue;
  }
  if (c.elsewhere) {
    test(`${name} (${c.elsewhere})`, () => assert.match(readFileSync(join(root, 'tests/integration', c.elsewhere), 'utf8'), new RegExp(`test\\(.case ${c.n}:`)));
    continue;
  }
  if (only && !only.test(name)) continue;
  const done = lane(() => runCase(host, c));
  done.catch(() => {});
  test(name, async () => migrated.push(await done));
}

test('a host started again holds the same in every database of these cases', async () => {
  await host.stop();
  await host.start();
  const wrong = [];
  const each = lanes(4);
  await Promise.all(migrated.filter(k => k.version).map(k => each(async () => {
    try { await k.check(); } catch (error) { wrong.push(`${k.name}: ${error.message}`); }
  })));
  assert.deepEqual(wrong, []);
});

await main(() => host.stop());
