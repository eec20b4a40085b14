// Migrations that the author writes in the module (ST_MIGRATION): what the rules forbid becomes possible, once for each database, inside the
// transaction of the publish, shown in the plan, and refused with the rows listed when the data does not allow it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Host, main, test, within } from './lib.mjs';
import { definition } from './migration/notation.mjs';
import { Migrating, arrives, compileModule, lanes } from './migration/kit.mjs';

const host = await new Host().start();
const databases = [];
async function begin(name, text, rows) {
  const k = new Migrating(host, name);
  databases.push(k);
  await k.first(text, await compileModule(text, 'old'));
  await k.fill(rows);
  return k;
}
const row = values => Object.fromEntries(Object.entries(values).map(([name, v]) => [name, typeof v === 'number' ? BigInt(v) : v]));
// Plan, publish and look at everything. `rows`: what each table holds afterwards, where that does not follow from the old rows.
async function migrate(k, text, { steps, breaks, title, rows = {}, tag = 'new' }) {
  const viewer = await k.viewer(), file = await compileModule(text, tag), plan = await k.plan(file);
  assert.ok(plan.allowed, plan.reason);
  assert.equal(plan.steps.join(' '), steps + (breaks ? ' DisconnectAllUsers' : ''));
  assert.equal(plan.break_clients, breaks);
  if (title) assert.ok(plan.migrate_plan.includes(title), `the plan shows the migration: ${plan.migrate_plan}`);
  if (breaks) assert.equal((await k.publish(file)).status, 400, 'without consent it is refused');
  const r = await k.publish(file, breaks ? `?policy=BreakClients&token=${plan.token}` : '');
  assert.equal(r.status, 200, `publish: ${r.status} ${r.text}`);
  k.version++;
  k.take(definition(text));
  for (const [table, list] of Object.entries(rows)) k.rows.set(table, list.map(row));
  assert.equal(await k.which(), tag);
  await k.check();
  if (breaks) assert.equal((await within('the client to be disconnected', viewer.wire.closed)).code, 1001);
  else assert.ok(!viewer.gone, 'the client stays');
  const fresh = await k.viewer();
  for (const t of k.def.tables.values()) {
    const added = await k.add(t.name, 60);
    await arrives(fresh, t, added);
    if (!breaks && viewer.def.tables.has(t.name) && added) await arrives(viewer, t, added).catch(error => { throw new Error(`the client of before: ${error.message}`); });
  }
  fresh.close();
  viewer.close();
  await k.check();
  // What is stored is what the next publish expects to find.
  const more = await k.publish(await compileModule(text, `${tag}-again`));
  assert.equal(more.status, 200, `the publish after it: ${more.text}`);
  k.version++;
  await k.check();
  return plan;
}
// The data does not allow it: nothing has changed, the old module answers, and the text names what `patterns` say.
async function refused(k, text, ...patterns) {
  const file = await compileModule(text, 'refused'), plan = await k.plan(file);
  assert.ok(plan.allowed, 'the plan does not look at rows');
  const r = await k.publish(file, `?policy=BreakClients&token=${plan.token}`);
  assert.equal(r.status, 400, r.text);
  for (const pattern of patterns) assert.match(r.text, pattern);
  assert.notEqual(await k.which(), 'refused');
  await k.check();
  const cli = await k.cliPublish(file, ['--yes']);
  assert.equal(cli.status, 1);
  for (const pattern of patterns) assert.match(cli.err + cli.out, pattern);
  await k.check();
}
const migrations = async (k, limit = '') => JSON.parse((await host.http('GET', `/v1/database/${k.name}/migrations${limit}`)).text);

test('a table is renamed', async () => {
  const k = await begin('rename-table', 'T(a u64*~, b str) i:b', {});
  for (const id of [1, 2]) assert.equal(await k.next('T'), id);
  const id = () => k.settled(`select t.id from spacetime.tables t join spacetime.databases d on d.id = t.database_id where d.schema_name = 'rename-table'`), was = await id();
  await migrate(k, 'U(a u64*~, b str) i:b\nST_MIGRATION(1, "T is called U", ST_RENAME_TABLE(T, U));', { steps: 'RenameTable', breaks: true, title: 'T is called U', rows: { U: [{ a: 1, b: 's0' }, { a: 2, b: 's0' }] } });
  assert.equal(await id(), was, 'it goes on under its id');
  assert.equal(await k.next('U'), 3, 'its numbers go on');
  assert.equal((await host.sql(k.name, `SELECT a FROM "U" WHERE b = 's0'`)).length, 3);
});

test('a column is renamed', async () => {
  const k = await begin('rename-column', 'T(a u32*, b str) i:b', { T: [1, 2] });
  const text = 'T(a u32*, c str) i:c\nST_MIGRATION(1, "b is called c", ST_RENAME_COLUMN(T, b, c));';
  const viewer = await k.viewer(), file = await compileModule(text, 'new'), plan = await k.plan(file);
  assert.ok(plan.allowed, plan.reason);
  assert.ok(plan.steps.includes('RenameColumn'), plan.steps.join(' '));
  assert.ok(plan.migrate_plan.includes('b is called c'), plan.migrate_plan);
  assert.equal(plan.break_clients, false, 'rows travel without names: who is connected goes on');
  assert.equal((await k.publish(file)).status, 200);
  k.version++;
  k.take(definition(text));
  k.rows.set('T', [{ a: 1, c: 's1' }, { a: 2, c: 's2' }].map(row));
  await k.check();
  await k.add('T', 60);
  await arrives(viewer, viewer.def.tables.get('T'), row({ a: 60, b: 's60' }));
  assert.ok(!viewer.gone);
  viewer.close();
});

const PRICE = 'static st_status cents(st_reducer_ctx *ctx, const st_str *from, uint32_t *to) {\n' +
  '    uint32_t n = 0;\n' +
  '    for (size_t i = 0; i < from->len; i++) { if (from->ptr[i] < \'0\' || from->ptr[i] > \'9\') return st_fail(ctx, "not a number: %.*s", ST_FMT(*from)); n = n * 10 + (uint32_t)(from->ptr[i] - \'0\'); }\n' +
  '    *to = n * 100;\n' +
  '    return ST_OK;\n' +
  '}\n' +
  'ST_MIGRATION(1, "prices are numbers", ST_CONVERT_COLUMN(T, price, st_str, cents));';
test('a column is converted by a function of the module', async () => {
  const k = await begin('convert', 'T(a u32*, price str, c u32)', {});
  for (const [a, price] of [[1, '5'], [2, '17']]) await k.insert('T', { a, price, c: 9 });
  await migrate(k, `T(a u32*, price u32, c u32)\n${PRICE}`, { steps: 'ConvertColumn', breaks: true, title: 'prices are numbers', rows: { T: [{ a: 1, price: 500, c: 9 }, { a: 2, price: 1700, c: 9 }] } });
});
test('a conversion that fails for a row leaves everything as it was and names the row', async () => {
  const k = await begin('convert-bad', 'T(a u32*, price str)', {});
  for (const [a, price] of [[1, '5'], [42, 'many']]) await k.insert('T', { a, price });
  await refused(k, `T(a u32*, price u32)\n${PRICE}`, /not a number: many/, /\bT\b/, /price/, /a = 42/);
});

test('a conversion that fails for many rows lists them, the first ten at most', async () => {
  const k = await begin('convert-worse', 'T(a u32*, price str)', {});
  for (const [a, price] of [[1, '5'], [42, 'many'], [2, '6'], [43, 'few']]) await k.insert('T', { a, price });
  await refused(k, `T(a u32*, price u32)\n${PRICE}`, /price: 2 rows cannot be converted/, /a = 42: .*not a number: many/, /a = 43: .*not a number: few/);
  for (let a = 100; a < 120; a++) await k.insert('T', { a, price: 'none' });
  await refused(k, `T(a u32*, price u32)\n${PRICE}`, /more than 10 rows cannot be converted/, /; \.\.\./);
});

test('a column is dropped', async () => {
  const k = await begin('drop-column', 'T(a u32*, b str, c u32) i:c', { T: [1, 2] });
  await migrate(k, 'T(a u32*, c u32) i:c\nST_MIGRATION(1, "b is not needed", ST_DROP_COLUMN(T, b));', { steps: 'RemoveColumn', breaks: true, title: 'b is not needed', rows: { T: [{ a: 1, c: 1 }, { a: 2, c: 2 }] } });
});
test('a table is dropped', async () => {
  const k = await begin('drop-table', 'T(a u32)\nU(x u32)', { T: [1], U: [1, 2, 3] });
  await migrate(k, 'T(a u32)\nST_MIGRATION(1, "U goes", ST_DROP_TABLE(U));', { steps: 'RemoveTable', breaks: true, title: 'U goes' });
  assert.equal(await k.psql(`select count(*) from information_schema.tables where table_schema = 'drop-table' and table_name = 'U'`), '0');
});

const MERGED = ['M(id u32*, x str, y str)',
  'ST_OLD_TABLE(1, old_a, A, (uint32_t, id, PK), (st_str, x));',
  'ST_OLD_TABLE(1, old_b, B, (uint32_t, id, PK), (st_str, y));',
  'static st_status merge(st_reducer_ctx *ctx) {',
  '    ST_FOR(old_a, a, old_a_all(ctx->db)) {',
  '        const old_b *b = old_b_find_by_id(ctx->db, a->id);',
  '        M m = { .id = a->id, .x = a->x, .y = b ? b->y : ST_S("none") };',
  '        st_status s = M_insert(ctx->db, &m);',
  '        if (s) return s;',
  '    }',
  '    return ST_OK;',
  '}',
  'ST_MIGRATION(1, "A and B are M", ST_DROP_TABLE(A), ST_DROP_TABLE(B), ST_RUN(merge));'].join('\n');
test('two tables are merged', async () => {
  const k = await begin('merge', 'A(id u32*, x str)\nB(id u32*, y str)', { A: [1, 2, 3], B: [2, 3, 4] });
  await migrate(k, MERGED, { steps: 'RemoveTable RemoveTable AddTable RunMigration', breaks: true, title: 'A and B are M',
    rows: { M: [{ id: 1, x: 's1', y: 'none' }, { id: 2, x: 's2', y: 's2' }, { id: 3, x: 's3', y: 's3' }] } });
});
test('a table is split', async () => {
  const k = await begin('split', 'person(id u32*, name str, street str)', { person: [1, 2] });
  await migrate(k, ['person(id u32*, name str)', 'home(person u32*, street str)',
    'ST_OLD_TABLE(1, was, person, (uint32_t, id, PK), (st_str, name), (st_str, street));',
    'static st_status split(st_reducer_ctx *ctx) {',
    '    ST_FOR(was, p, was_all(ctx->db)) { home h = { .person = p->id, .street = st_format(ctx, "%.*s street", ST_FMT(p->street)) }; st_status s = home_insert(ctx->db, &h); if (s) return s; }',
    '    return ST_OK;', '}',
    'ST_MIGRATION(1, "homes are of their own", ST_DROP_COLUMN(person, street), ST_RUN(split));'].join('\n'),
  { steps: 'RemoveColumn AddTable RunMigration', breaks: true, title: 'homes are of their own',
    rows: { person: [{ id: 1, name: 's1' }, { id: 2, name: 's2' }], home: [{ person: 1, street: 's1 street' }, { person: 2, street: 's2 street' }] } });
});
test('the rows of a table are replaced', async () => {
  const k = await begin('replace', 'T(a u32, b str)', { T: [1, 2, 3] });
  await migrate(k, ['T(id str*, total u64)',
    'ST_OLD_TABLE(1, was, T, (uint32_t, a), (st_str, b));',
    'static st_status total(st_reducer_ctx *ctx) {',
    '    T t = { .id = ST_S("all") };',
    '    ST_FOR(was, w, was_all(ctx->db)) t.total += w->a;',
    '    return T_insert(ctx->db, &t);', '}',
    'ST_MIGRATION(1, "one row for all", ST_REPLACE_ROWS(T), ST_RUN(total));'].join('\n'),
  { steps: 'ReplaceRows AddIndex AddConstraint ChangePrimaryKey RunMigration', breaks: true, title: 'one row for all', rows: { T: [{ id: 'all', total: 6 }] } });
});
test('a function that fails rolls everything back', async () => {
  const k = await begin('run-fails', 'A(id u32*, x str)\nB(id u32*, y str)', { A: [1, 2], B: [2] });
  await refused(k, MERGED.replace('        st_status s = M_insert', '        if (a->id == 2) return st_fail(ctx, "not two");\n        st_status s = M_insert'), /not two/, /merge|A and B are M/);
});

test('a unique constraint over data that allows it', async () => {
  const k = await begin('unique', 'T(a u32*, b str)', { T: [1, 2] });
  await migrate(k, 'T(a u32*, b str!)\nST_MIGRATION(1, "b is unique", ST_ADD_UNIQUE(T, b));', { steps: 'AddIndex AddConstraint', breaks: false, title: 'b is unique' });
  const r = await host.http('POST', '/v1/database/unique/sql', { body: `INSERT INTO "T" (a, b) VALUES (99, 's1')` });
  assert.equal(r.status, 400, r.text);
  assert.match(r.text, /column b/);
});
test('a unique constraint over duplicates is refused, with the rows', async () => {
  const k = await begin('unique-bad', 'T(a u32*, b str)', {});
  for (const [a, b] of [[11, 'x'], [12, 'y'], [13, 'x'], [14, 'z'], [15, 'z']]) await k.insert('T', { a, b });
  await refused(k, 'T(a u32*, b str!)\nST_MIGRATION(1, "b is unique", ST_ADD_UNIQUE(T, b));', /\bT\b/, /\bb\b/, /\bx\b/, /\bz\b/);
});
test('a primary key over data that allows it, and where it moves', async () => {
  const k = await begin('key', 'T(a u32, b str)', { T: [1, 2] });
  await migrate(k, 'T(a u32*, b str)\nST_MIGRATION(1, "a is the key", ST_ADD_PRIMARY_KEY(T, a));', { steps: 'AddIndex AddConstraint ChangePrimaryKey', breaks: false, title: 'a is the key' });
  await migrate(k, 'T(a u32!, b str*)\nST_MIGRATION(1, "a is the key", ST_ADD_PRIMARY_KEY(T, a));\nST_MIGRATION(2, "b is the key", ST_ADD_PRIMARY_KEY(T, b));', { steps: 'AddIndex AddConstraint ChangePrimaryKey', breaks: false, title: 'b is the key', tag: 'second' });
});
test('a primary key over duplicates is refused, with the rows', async () => {
  const k = await begin('key-bad', 'T(a u32, b str)', {});
  for (const [a, b] of [[7, 'x'], [7, 'y'], [8, 'z']]) await k.insert('T', { a, b });
  await refused(k, 'T(a u32*, b str)\nST_MIGRATION(1, "a is the key", ST_ADD_PRIMARY_KEY(T, a));', /\bT\b/, /\ba\b/, /\b7\b/);
});

const COUNTING = more => ['T(a u32*)', 'ran(n u64*~, what str)', 'static st_status note(st_reducer_ctx *ctx) { ran r = { .what = ST_S("once") }; return ran_insert(ctx->db, &r); }',
  'ST_MIGRATION(1, "a note", ST_RUN(note));', more].join('\n');
test('a migration runs once: not by the same module, not by the next, not after a restart', async () => {
  const k = await begin('once', 'T(a u32*)\nran(n u64*~, what str)', { T: [1] });
  await migrate(k, COUNTING(''), { steps: 'RunMigration', breaks: false, title: 'a note', rows: { ran: [{ n: 1, what: 'once' }] } });
  const runs = async () => (await k.memory('ran')).filter(([, what]) => what === 'once').length;
  assert.equal((await k.publish(await compileModule(COUNTING(''), 'new-again'))).status, 200);
  assert.equal(await runs(), 1);
  const plan = await k.plan(await compileModule(COUNTING('U(x u32)'), 'newer'));
  assert.equal(plan.steps.join(' '), 'AddTable', 'it is not planned again');
  assert.equal((await k.publish(await compileModule(COUNTING('U(x u32)'), 'newer'))).status, 200);
  k.version++;
  k.take(definition(COUNTING('U(x u32)')));
  assert.equal(await runs(), 1);
  k.afterRestart = async () => {
    assert.equal((await k.publish(await compileModule(COUNTING('V(x u32)\nU(x u32)'), 'newest'))).status, 200);
    assert.equal(await runs(), 1);
  };
});
test('a first publish takes the highest migration without running any', async () => {
  const k = await begin('first', COUNTING(''), { T: [1] });
  assert.deepEqual(await k.memory('ran'), []);
  assert.equal((await migrations(k))[0].migration, 1);
  const plan = await k.plan(await compileModule(COUNTING('ST_MIGRATION(2, "another", ST_RUN(note));'), 'second'));
  assert.equal(plan.steps.join(' '), 'RunMigration', 'only the one that it does not have');
  assert.ok(plan.migrate_plan.includes('another') && !plan.migrate_plan.includes('a note'), plan.migrate_plan);
});
test('several versions are pending at once', async () => {
  const k = await begin('several', 'T(a u32*, price str)\ngone(x u32)', {});
  for (const [a, price] of [[1, '5'], [2, '17']]) await k.insert('T', { a, price });
  await k.add('gone', 1);
  const text = ['thing(a u32*, cost u32)', 'ran(n u64*~, what str)',
    PRICE.replace(/ST_MIGRATION[^]*/, ''),
    'static st_status note(st_reducer_ctx *ctx) { uint64_t sum = 0; ST_FOR(thing, t, thing_all(ctx->db)) sum += t->cost; ran r = { .what = st_format(ctx, "%llu", (unsigned long long)sum) }; return ran_insert(ctx->db, &r); }',
    'ST_MIGRATION(1, "price is called cost", ST_RENAME_COLUMN(T, price, cost));',
    'ST_MIGRATION(2, "T is called thing, cost is a number", ST_RENAME_TABLE(T, thing), ST_CONVERT_COLUMN(thing, cost, st_str, cents));',
    'ST_MIGRATION(3, "gone goes, the sum is noted", ST_DROP_TABLE(gone), ST_RUN(note));'].join('\n');
  const plan = await migrate(k, text, { steps: 'RemoveTable RenameTable RenameColumn ConvertColumn AddTable RunMigration', breaks: true, title: 'price is called cost',
    rows: { thing: [{ a: 1, cost: 500 }, { a: 2, cost: 1700 }], ran: [{ n: 1, what: '2200' }] } });
  for (const title of ['T is called thing', 'gone goes']) assert.ok(plan.migrate_plan.includes(title), plan.migrate_plan);
  assert.equal((await migrations(k))[0].migration, 3);
});
test('what a migration does not say stays forbidden', async () => {
  const k = await begin('partly', 'T(a u32*, b str)\nU(x u32)', { T: [1], U: [1] });
  const plan = await k.plan(await compileModule('T(a u32*)\nST_MIGRATION(1, "U goes", ST_DROP_TABLE(U));', 'new'));
  assert.ok(!plan.allowed);
  assert.deepEqual(plan.reasons.map(r => `${r.kind} ${r.column}`), ['RemoveColumn b']);
  const wrong = await host.http('POST', '/v1/database/partly/pre_publish', { body: readFileSync(await compileModule('T(a u32*, b str)\nU(x u32)\nST_MIGRATION(1, "a slip", ST_DROP_COLUMN(T, bb));', 'slip')) });
  assert.match(wrong.text, /bb/, 'a name that does not exist is told');
  assert.doesNotMatch(wrong.text, /AutoMigrate/);
  await k.check();
});
test('a dry run executes the migration and takes it back', async () => {
  const k = await begin('dry', 'T(a u32*, price str)', {});
  for (const [a, price] of [[1, '5'], [2, '17']]) await k.insert('T', { a, price });
  const viewer = await k.viewer(), file = await compileModule(`T(a u32*, price u32)\n${PRICE}`, 'new'), plan = await k.plan(file, '&dry_run=true');
  assert.ok(plan.executed.duration_us > 0);
  assert.equal(await k.which(), 'old');
  await k.check();
  await k.insert('T', { a: 3, price: 'many' });
  const bad = await host.http('POST', `/v1/database/dry/pre_publish?dry_run=true`, { body: readFileSync(file) });
  assert.equal(bad.status, 400, bad.text);
  assert.match(bad.text, /not a number: many/);
  const cli = await k.cliPublish(file, ['--dry-run', '--yes']);
  assert.equal(cli.status, 1, `${cli.out}${cli.err}`);
  assert.ok(!viewer.gone, 'a dry run disturbs nobody');
  await arrives(viewer, k.def.tables.get('T'), await k.add('T', 60));
  viewer.close();
  await k.check();
});
test('the history tells what ran, when, by whom', async () => {
  const k = databases.find(k => k.name === 'convert'), list = await migrations(k);
  assert.deepEqual(list.map(e => [e.version, e.migration, e.reset]), [[3, 1, false], [2, 1, false], [1, 0, false]]);
  const [, last] = list;
  assert.match(last.plan, /prices are numbers/);
  assert.ok(last.steps.steps.some(s => s.kind === 'ConvertColumn'));
  assert.match(last.published_at, /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  assert.ok(Math.abs(Date.parse(last.published_at) - Date.now()) < 600000);
  assert.equal(last.publisher, host.identity);
  assert.ok(last.duration_us > 0);
  assert.match(last.sql, /ALTER TABLE|INSERT|COPY/i);
  assert.equal((await migrations(k, '?limit=1')).length, 1);
  const { token } = await (await fetch(`${host.url}/v1/identity`, { method: 'POST' })).json();
  assert.equal((await host.http('GET', `/v1/database/${k.name}/migrations`, { token })).status, 403, 'the owner\'s alone');
  const cli = await k.cli(['migrate', 'history', k.name]);
  assert.equal(cli.status, 0, cli.err);
  assert.match(cli.out, /ConvertColumn T/);
  assert.match((await k.cli(['migrate', 'history', k.name, '--plan'])).out, /prices are numbers/);
});

test('a host started again holds the same in every database of these tests', async () => {
  await host.stop();
  await host.start();
  const each = lanes(4), wrong = [];
  await Promise.all(databases.map(k => each(async () => {
    try { await k.check(); await k.afterRestart?.(); } catch (error) { wrong.push(`${k.name}: ${error.message}`); }
  })));
  assert.deepEqual(wrong, []);
});

await main(() => host.stop());
