// Publishes that broke others: under load, over a million rows, by two publishers at once, over tables that somebody changed by hand, with names
// that PostgreSQL would cut, with the host killed around COMMIT. The numbered cases are those of the migration sheet, section 6.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Host, main, scratchDir, sleep, test, until, within } from './lib.mjs';
import { Wire, u64 } from '../clients/wire.mjs';
import { definition, toPg } from './migration/notation.mjs';
import { Migrating, arrives, compileModule, lanes, longText } from './migration/kit.mjs';

const host = await new Host().start();
const databases = [];
async function begin(name, text, rows) {
  const k = new Migrating(host, name);
  databases.push(k);
  await k.first(text, await compileModule(text, 'old'));
  await k.fill(rows);
  return k;
}
// Publish as the command line does: plan, then PUT with its token.
async function step(k, text, tag = 'new') {
  const file = await compileModule(text, tag), plan = await k.plan(file);
  assert.ok(plan.allowed, plan.reason);
  const r = await k.publish(file, `?policy=BreakClients&token=${plan.token}`);
  assert.equal(r.status, 200, `publish: ${r.status} ${r.text}`);
  k.version++;
  k.take(definition(text));
  return plan;
}

// ---- killed around COMMIT ----

const BEFORE = 'T(a u32, b u32) i:b', AFTER = 'T(a u32, b u32, c u32=1, d str="q") priv'; // case 105
async function killedAt(point, tag, text) {
  const faults = join(scratchDir(), `faults-${tag}`);
  writeFileSync(faults, '');
  process.env.SPACETIMEDB_FAULTS = faults;
  const own = await new Host().start().finally(() => { delete process.env.SPACETIMEDB_FAULTS; });
  const k = new Migrating(own, `killed-${tag}`);
  await k.first(BEFORE, await compileModule(BEFORE, 'old'));
  await k.fill({ T: [1, 2] });
  const file = await compileModule(AFTER, 'new'), plan = await k.plan(file);
  writeFileSync(faults, `${point} 1 kill\n`);
  await k.publish(file, `?policy=BreakClients&token=${plan.token}`).catch(() => {});
  await within('the host to die', own.process.exited);
  assert.match(readFileSync(`${faults}.reached`, 'utf8'), new RegExp(point.replaceAll('.', '\\.')));
  writeFileSync(faults, '');
  await own.start();
  if (text === AFTER) { k.version++; k.take(definition(AFTER)); }
  assert.equal(await k.which(), text === AFTER ? 'new' : 'old');
  await k.check();
  await k.add('T', 60);
  await k.check();
  await own.stop();
}
test('case 109: the host is killed before COMMIT: the old program and the old schema', () => killedAt('publish.commit', 'before', BEFORE));
test('case 110: the host is killed right after COMMIT: the new program and the new schema', () => killedAt('publish.after_commit', 'after', AFTER));

// ---- under load: every call that was acknowledged is there exactly once, in the shape of the version that ran it ----

const ledger = version => `marks(n u64*~, id u64, version u32${version === 2 ? ', extra u32=7' : ''})\n` +
  `${version === 3 ? 'E(a u32, b u32) ev' : 'E(a u32) ev'}\n` +
  `ST_REDUCER(mark, (uint64_t, id)) { marks m = { .id = id, .version = ${version}${version === 2 ? ', .extra = 9' : ''} }; return marks_insert(ctx->db, &m); }`;
// Calls `mark` from `clients` connections, `flight` at a time on each, until `goOn` says stop. Resolves with the ids that were acknowledged, and those sent.
function load(k, clients, flight, goOn) {
  const book = { acknowledged: [], sent: 0, lost: 0 };
  book.done = Promise.all(Array.from({ length: clients }, async () => {
    while (goOn(book)) {
      const wire = new Wire(host.port, k.name, { token: host.token });
      try { await within('connect', wire.opened); } catch { await sleep(20); continue; }
      await Promise.all(Array.from({ length: flight }, async () => {
        while (goOn(book) && !wire.gone) {
          const id = ++book.sent, { outcome, text } = await wire.call('mark', u64(id));
          if (outcome === 'ok') book.acknowledged.push(id); else { book.lost++; book.why ??= `${outcome} ${text}`; }
        }
      }));
      if (wire.gone) book.disconnected = (book.disconnected ?? 0) + 1;
      wire.close();
    }
  }));
  return book;
}
async function ledgerHolds(k, book) {
  const rows = await k.memory('marks'), width = k.def.tables.get('marks').columns.length, ids = rows.map(row => row[1]);
  assert.equal(new Set(ids).size, ids.length, 'no call ran twice');
  const there = new Set(ids);
  assert.deepEqual(book.acknowledged.filter(id => !there.has(id)), [], 'acknowledged calls are missing');
  for (const row of rows) {
    assert.equal(row.length, width);
    if (width === 4) assert.equal(row[3], row[2] === 1 ? 7 : 9, `a row of version ${row[2]} in the shape of that version`);
  }
  const stored = await k.settled(`select string_agg(n || ' ' || id || ' ' || version, ',' order by n) from "${k.name}".marks`);
  assert.equal(stored, rows.map(row => row.slice(0, 3)).sort((a, b) => a[0] - b[0]).map(row => row.join(' ')).join(','), 'memory and PostgreSQL agree');
  k.rows.set('marks', []); // looked at here
  return rows;
}
test('case 123: 1,000 calls while a column is appended: each acknowledged once, nobody is disconnected', async () => {
  const k = await begin('writer', ledger(1));
  const book = load(k, 1, 4, b => b.sent < 1000);
  await until('calls', () => book.acknowledged.length > 100);
  await step(k, ledger(2));
  await within('the calls', book.done);
  assert.deepEqual([book.acknowledged.length, book.lost, book.disconnected], [1000, 0, undefined], book.why);
  const rows = await ledgerHolds(k, book);
  assert.equal(rows.length, 1000);
  assert.ok(rows.some(row => row[2] === 1) && rows.some(row => row[2] === 2), 'both versions ran calls');
});
test('case 123: 1,000 calls while a publish disconnects everybody: each acknowledged once', async () => {
  const k = await begin('writer-cut', ledger(1));
  const book = load(k, 1, 4, b => b.sent < 1000);
  await until('calls', () => book.acknowledged.length > 100);
  const plan = await step(k, ledger(3));
  assert.ok(plan.break_clients);
  await within('the calls', book.done);
  assert.equal(book.disconnected, 1);
  assert.ok(book.lost <= 4, `only what was in flight is without an answer: ${book.lost} ${book.why}`);
  await ledgerHolds(k, book);
});
test('publishing while 32 clients call at full rate', async () => {
  const k = await begin('rush', ledger(1));
  let stop = false;
  const book = load(k, 32, 8, () => !stop);
  await until('calls', () => book.acknowledged.length > 2000);
  await step(k, ledger(2));
  const before = book.acknowledged.length;
  await until('calls after it', () => book.acknowledged.length > before + 2000);
  stop = true;
  await within('the load to end', book.done);
  assert.deepEqual([book.lost, book.disconnected], [0, undefined], book.why);
  const rows = await ledgerHolds(k, book);
  console.log(`# ${rows.length} calls`);
});

// ---- two publishers ----

test('case 124: two publishes at once with tokens of the same plan: one wins, the other is told that its plan is out of date', async () => {
  const k = await begin('two', 'T(a u32)', { T: [1] });
  const texts = ['T(a u32, b u32=1)', 'T(a u32)\nU(x u32)'], files = await Promise.all(texts.map((text, i) => compileModule(text, `new-${i}`)));
  const plans = await Promise.all(files.map(file => k.plan(file)));
  const answers = await Promise.all(files.map((file, i) => k.publish(file, `?policy=BreakClients&token=${plans[i].token}`)));
  assert.deepEqual(answers.map(r => r.status).sort(), [200, 400], answers.map(r => r.text).join('\n'));
  const won = answers.findIndex(r => r.status === 200);
  assert.match(answers[1 - won].text, /[Tt]oken|removed/); // or planned against what the first left
  k.version++;
  k.take(definition(texts[won]));
  assert.equal(await k.which(), `new-${won}`);
  await k.check();
});
test('case 124: two publishes at once without tokens: one after the other, the second planned against what the first left', async () => {
  const k = await begin('two-plain', 'T(a u32)', { T: [1] });
  const texts = ['T(a u32, b u32=1)', 'T(a u32, b u32=1)\nU(x u32)'], files = await Promise.all(texts.map((text, i) => compileModule(text, `new-${i}`)));
  const answers = await Promise.all(files.map(file => k.publish(file)));
  const last = await k.which(), i = Number(last.slice(-1)), refused = answers.findIndex(r => r.status !== 200);
  // U first: then the plan without it is refused, as removing a table is.
  if (refused >= 0) { assert.equal(refused, 0, answers[refused].text); assert.match(answers[0].text, /U/); }
  k.version += refused >= 0 ? 1 : 2;
  assert.equal(i, 1);
  k.take(definition(texts[i]));
  await k.check();
});
test('two command lines at once: neither leaves anything half done', async () => {
  const k = await begin('two-cli', 'T(a u32)', { T: [1] });
  const texts = ['T(a u32, b u32=1)', 'T(a u32) i:a'], files = await Promise.all(texts.map((text, i) => compileModule(text, `new-${i}`)));
  const answers = await Promise.all(files.map(file => k.cliPublish(file, ['--yes'])));
  assert.ok(answers.some(r => r.status === 0), JSON.stringify(answers));
  for (const r of answers) if (r.status !== 0) { assert.equal(r.status, 1); assert.match(r.err, /[Tt]oken|removed|somebody else has published/); }
  k.version += answers.filter(r => r.status === 0).length;
  k.take(definition(texts[Number((await k.which()).slice(-1))]));
  await k.check();
});

// ---- names ----

test('case 125: names of 70 bytes that differ at byte 65, keywords, letters beyond ASCII', async () => {
  const long = 'n'.repeat(64), one = `${long}_one_1`, two = `${long}_two_2`;
  const columns = more => `${one} u32, ${two} u32, select u32, order str, ünï u32${more}`;
  const shape = (more, parts) => `${one}(${columns(more)})${parts}\n${two}(${columns('')})\nselect(a u32)`;
  const k = await begin('names', shape('', ''), { [one]: [1, 2], [two]: [3], select: [4] });
  const old = await k.viewer();
  const plan = await step(k, shape(', order_by u32=8', ` i:${two} i:select i:ünï`));
  assert.equal(plan.steps.join(' '), 'AddColumns AddIndex AddIndex AddIndex');
  const row = await k.add(one, 60);
  await arrives(old, k.def.tables.get(one), row);
  await k.checkMemory();
  const names = JSON.parse(await k.settled(`select json_object_agg(t.name, json_build_object('table', physical_name, 'columns', columns)) from spacetime.tables t join spacetime.databases d on d.id = t.database_id where d.schema_name = 'names'`));
  assert.notEqual(names[one].table, names[two].table);
  for (const [name, rows] of k.rows) {
    const t = k.def.tables.get(name), physical = t.columns.map(c => names[name].columns[c.name] ?? c.name);
    assert.equal(new Set(physical).size, t.columns.length, 'every column has a name of its own');
    for (const p of physical) assert.ok(Buffer.byteLength(p) <= 63, p);
    const found = JSON.parse(await k.psql(`select json_agg(json_build_array(${physical.map(p => `"${p}"`).join(', ')})) from "names"."${names[name].table}"`));
    assert.deepEqual(found.map(x => JSON.stringify(x)).sort(), rows.map(r => JSON.stringify(t.columns.map(c => toPg(k.def, c.type, r[c.name])))).sort());
  }
  const indexed = JSON.parse(await k.psql(`select json_agg(a.attname order by a.attname) from pg_index i join pg_class t on t.oid = i.indrelid join pg_namespace s on s.oid = t.relnamespace
    join pg_attribute a on a.attrelid = t.oid and a.attnum = i.indkey[0] where s.nspname = 'names' and t.relname = '${names[one].table}' and not i.indisprimary`));
  assert.deepEqual(indexed, [names[one].columns[two] ?? two, 'select', 'ünï'].sort());
  old.close();
  k.names = true; // looked at by its own names
});

// ---- changed by hand ----

test('case 127: an ALTER TABLE by hand: every publish is refused, naming what differs, until it is undone', async () => {
  const k = await begin('hand', 'T(a u32, b u32, u u32!) i:b', { T: [1, 2] });
  const file = await compileModule('T(a u32, b u32, u u32!, c u32=1) i:b', 'new');
  const changes = [ // what somebody did, how it is undone, what the refusal names
    ['alter table hand."T" alter column b type numeric', 'alter table hand."T" alter column b type bigint', /b\b[^]*(numeric|bigint)/],
    ['alter table hand."T" rename column b to bb', 'alter table hand."T" rename column bb to b', /\bbb?\b/],
    ['alter table hand."T" drop constraint "T_u_key"', 'alter table hand."T" add constraint "T_u_key" unique (u)', /T_u_key/],
    ['alter index hand."T_b_idx_btree" rename to mine', 'alter index hand.mine rename to "T_b_idx_btree"', /T_b_idx_btree/],
    ['drop index hand."T_b_idx_btree"; create index "T_b_idx_btree" on hand."T" (a)', 'drop index hand."T_b_idx_btree"; create index "T_b_idx_btree" on hand."T" (b)', /T_b_idx_btree[^]*"a"[^]*"b"/],
    ['alter table hand."T" drop constraint "T_pkey"', 'alter table hand."T" add primary key (st_row)', /primary key/],
    ['drop index hand."T_b_idx_btree"', 'create index "T_b_idx_btree" on hand."T" (b)', /T_b_idx_btree/],
  ];
  for (const [change, undo, pattern] of changes) {
    await k.settled();
    await k.psql(change);
    const plan = await k.plan(file), r = await k.publish(file, `?policy=BreakClients&token=${plan.token}`);
    assert.notEqual(r.status, 200, `published over: ${change}`);
    assert.match(r.text, /\bT\b/, `the table is named: ${r.text}`);
    assert.match(r.text, pattern, `what differs is named after ${change}: ${r.text}`);
    assert.equal(await k.which(), 'old');
    await k.checkMemory();
    await k.psql(undo);
    await k.check();
  }
  await step(k, 'T(a u32, b u32, u u32!, c u32=1) i:b');
  await k.check();
});

// ---- a million rows ----

const MILLION = more => `big(id u64*, v u64${more})\nsmall(a u32)\n` +
  'ST_REDUCER(fill, (uint64_t, from), (uint64_t, n)) { for (uint64_t i = 0; i < n; i++) { big row = { .id = from + i, .v = i % 1000 }; st_status s = big_insert(ctx->db, &row); if (s) return s; } return ST_OK; }';
test('case 130: 1,000,000 rows: a column is no rewrite of the table, and an index comes', async () => {
  const k = await begin('million', MILLION(''), { small: [1] });
  for (let i = 0; i < 10; i++) assert.equal((await host.call('million', 'fill', [i * 100000, 100000])).status, 200);
  await k.settled();
  const file = () => k.psql(`select pg_relation_filenode('million.big')`);
  const was = await file(), viewer = await k.viewer({ ...k.def, tables: new Map([['small', k.def.tables.get('small')]]) });
  let t = Date.now();
  await step(k, MILLION(', c u32=5'));
  console.log(`# append a column to 1,000,000 rows: ${Date.now() - t} ms`);
  assert.equal(await file(), was, 'the table was not written again');
  assert.equal(await k.settled('select count(*), sum(c), sum(v) from million.big'), '1000000|5000000|499500000');
  assert.deepEqual(await host.sql('million', 'SELECT COUNT(*) AS n FROM big WHERE c = 5'), [[1000000]]);
  t = Date.now();
  await step(k, MILLION(', c u32=5').replace('c u32=5)', 'c u32=5) i:v'));
  console.log(`# index over 1,000,000 rows: ${Date.now() - t} ms`);
  assert.equal(await file(), was);
  assert.equal((await host.sql('million', 'SELECT id FROM big WHERE v = 7')).length, 1000);
  assert.match(await k.psql(`explain select * from million.big where v = 7`), /big_v_idx_btree/);
  const row = await k.add('small', 60);
  await arrives(viewer, k.def.tables.get('small'), row);
  viewer.close();
  assert.equal((await host.http('DELETE', '/v1/database/million')).status, 200); // a restart of this host need not load it
  k.version = 0;
});

// ---- the rest of what the sheet numbers ----

test('case 131: statements that PostgreSQL has prepared: calls go on over a column that comes', async () => {
  const k = await begin('warm', 'T(a u32, b u32*)', {});
  for (let i = 1; i <= 20; i++) { await k.add('T', i); await k.settled(); } // each a round of the materialiser
  host.output = '';
  await step(k, 'T(a u32, b u32*, c str="x")');
  for (let i = 21; i <= 40; i++) { await k.add('T', i); if (i % 5 === 0) await k.settled(); }
  await host.sql('warm', 'DELETE FROM "T" WHERE b = 3');
  k.rows.set('T', k.rows.get('T').filter(row => row.b !== 3n));
  await k.check();
  assert.doesNotMatch(host.output, /cached plan/);
});
test('case 133: an index over a text that is too long for it: refused, naming the row; the rows stay', async () => {
  const k = await begin('long', 'T(a u32, b str)', { T: [1] });
  await k.insert('T', { a: 2, b: longText() });
  const next = 'T(a u32, b str) i:b', file = await compileModule(next, 'new'), plan = await k.plan(file);
  assert.ok(plan.allowed, 'the plan does not look at rows');
  const r = await k.publish(file, `?policy=BreakClients&token=${plan.token}`);
  assert.equal(r.status, 400, r.text);
  assert.match(r.text, /\bT\b[^]*\bb\b|\bb\b[^]*\bT\b/, 'table and column are named');
  assert.equal(await k.which(), 'old');
  await k.check();
  await host.sql('long', 'DELETE FROM "T" WHERE a = 2');
  k.rows.set('T', k.rows.get('T').filter(row => row.a !== 2n));
  await step(k, next);
  await k.check();
});

// ---- the cases that broke others, where the numbered ones do not cover them ----

test('a column and an index over it together, with rows, and the same after a restart', async () => {
  const k = await begin('together', 'T(a u32)', { T: [1, 2, 3] });
  const old = await k.viewer();
  assert.equal((await step(k, 'T(a u32, b u32=4, c str="z") i:b by_cb=i:(c,b)')).steps.join(' '), 'AddColumns AddIndex AddIndex');
  await k.check();
  assert.equal((await host.sql('together', `SELECT a FROM "T" WHERE b = 4 AND c = 'z'`)).length, 3);
  await arrives(old, k.def.tables.get('T'), await k.add('T', 60));
  old.close();
});
test('auto-increment added to a table with rows: the next numbers, also of a host started again', async () => {
  const k = await begin('numbered', 'T(a u64*, b u32)', { T: [3, 8, 5] });
  await step(k, 'T(a u64*~, b u32)');
  assert.deepEqual([await k.next('T'), await k.next('T')], [9, 10]);
  k.afterRestart = async () => { const id = await k.next('T'); assert.ok(id > 10, `next id ${id}`); await k.check(); };
});
test('auto-increment added to rows that nobody has called for yet: a host started again counts on', async () => {
  const k = await begin('numbered-later', 'T(a u64*, b u32)', { T: [41] });
  await step(k, 'T(a u64*~, b u32)');
  k.afterRestart = async () => { assert.equal(await k.next('T'), 42); await k.check(); };
});
test('the same module again: no version, no history, no new worker, nobody disturbed', async () => {
  const text = 'T(a u32)', k = await begin('again', text, { T: [1] }), viewer = await k.viewer(), file = await compileModule(text, 'old');
  const count = () => k.psql(`select count(*) from spacetime.versions v join spacetime.databases d on d.id = v.database_id where d.schema_name = 'again'`);
  const workers = host.workers().sort(), versions = await count();
  for (let i = 0; i < 3; i++) assert.equal((await k.publish(file)).status, 200);
  const r = await k.cliPublish(file);
  assert.equal(r.status, 0, r.err);
  assert.doesNotMatch(r.out, /\u25b8/, 'no step is printed');
  assert.equal(await count(), versions);
  assert.deepEqual(host.workers().filter(pid => !workers.includes(pid)), [], 'no worker was replaced');
  await arrives(viewer, k.def.tables.get('T'), await k.add('T', 60));
  await k.check();
  viewer.close();
});
test('a module for another architecture is refused by name', async () => {
  const k = await begin('foreign', 'T(a u32)', { T: [1] });
  const program = Buffer.from(readFileSync(await compileModule('T(a u32, b u32=1)', 'new')));
  program.writeUInt16LE(183, 18); // e_machine of the ELF header: AArch64
  const file = join(scratchDir(), 'foreign.so');
  writeFileSync(file, program);
  for (const r of [await k.publish(file), await host.http('POST', '/v1/database/foreign/pre_publish', { body: program })]) {
    assert.equal(r.status, 400, r.text);
    assert.match(r.text, /aarch64|architecture|machine/i);
    assert.match(r.text, /x86-64|x86_64|AMD64/i, 'and says what this host runs');
  }
  const r = await k.cliPublish(file, ['--yes']);
  assert.equal(r.status, 1);
  await k.check();
});

test('a host started again holds the same in every database of these tests', async () => {
  await host.stop();
  await host.start();
  const each = lanes(4), wrong = [];
  await Promise.all(databases.filter(k => k.version).map(k => each(async () => {
    try {
      if (k.names) await k.checkMemory();
      else if (!k.def.tables.has('marks')) await k.check();
      await k.afterRestart?.();
    } catch (error) { wrong.push(`${k.name}: ${error.message}`); }
  })));
  assert.deepEqual(wrong, []);
});

await main(() => host.stop());
