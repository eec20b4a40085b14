// Kill the host, the worker, PostgreSQL's backends or PostgreSQL itself in the middle of publishes: a first one, an update, a reset.
// Afterwards either the old or the new version is there, whole, with every acknowledged row; no schema is left without a
// database, and the name can be published to again. FAULT_PUBLISHES (default 20) rounds, FAULT_SEED repeats a run's choices.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Host, test, main, compileText, sleep, until, within } from '../integration/lib.mjs';
import { Wire, u64 } from '../clients/wire.mjs';

const rounds = Number(process.env.FAULT_PUBLISHES ?? 20);
const seed = Number(process.env.FAULT_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.log(`# FAULT_SEED=${seed} FAULT_PUBLISHES=${rounds}`);
let state = seed >>> 0 || 1;
const random = n => { state ^= state << 13; state >>>= 0; state ^= state >>> 17; state ^= state << 5; state >>>= 0; return state % n; };

const source = (which, index) => `#include "spacetimedb.h"
ST_MODULE(marks_${which}, "1.0.0");
ST_TABLE(marks, PUBLIC, (uint64_t, id, PK), (uint64_t, value${index ? ', INDEX' : ''}));
ST_REDUCER(mark, (uint64_t, id)) { marks m = { .id = id, .value = id * 3 }; return marks_insert(ctx->db, &m); }
ST_REDUCER(only_${which}) { (void)ctx; return ST_OK; }
ST_INIT(begin) { marks m = { .id = 0, .value = 0 }; return marks_insert(ctx->db, &m); }
`;
const files = { a: compileText('marks_a', source('a', false)), b: compileText('marks_b', source('b', true)) };

const host = await new Host().start();
host.port0 = host.port;
await host.mustPublish('marks', files.a);
let version = 'a';

// Load on the database `marks`: every id is sent once, and remembered with its outcome.
let ledger = new Map(), nextId = 1, stop = false, reconnects = 0;
async function load() {
  while (!stop) {
    const wire = new Wire(host.port, 'marks', { token: host.token });
    try { await within('connect', wire.opened, 10); } catch { wire.close(); await sleep(50); continue; }
    const one = async () => {
      while (!stop && !wire.gone) {
        const id = nextId++, book = ledger;
        book.set(id, 'sent');
        const { outcome } = await wire.call('mark', u64(id));
        book.set(id, outcome);
        await sleep(outcome === 'ok' ? 2 : 20);
      }
    };
    await Promise.all([one(), one(), one(), one()]);
    wire.close();
    reconnects++;
  }
}

const postmaster = () => Number(readFileSync(join(host.dir, 'data/pg/postmaster.pid'), 'utf8').split('\n')[0]);
async function strike(victim) {
  if (victim === 'host') {
    await host.kill('SIGKILL');
    host.port = host.port0;
    await host.start();
  } else if (victim === 'worker') {
    for (const pid of host.workers()) try { process.kill(pid, 'SIGKILL'); } catch { /* it was faster */ }
  } else if (victim === 'backend') {
    host.psql(`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'spacetime-pg % pool'`);
  } else {
    process.kill(postmaster(), 'SIGKILL');
  }
}

// How long a publish takes here, so that the kills fall into it.
let usual = 150;
async function struck(victim, publish) {
  const began = Date.now();
  const answer = publish().catch(error => ({ status: 0, text: String(error.cause ?? error) }));
  await sleep(random(Math.ceil(usual * 1.3)));
  await strike(victim).catch(error => { if (victim === 'host') throw error; });
  const r = await within('the publish to be answered', answer, 90);
  if (r.status === 200 && victim !== 'host') usual = Math.min(400, (usual * 3 + Date.now() - began) / 4);
  await until('PostgreSQL', () => host.psql('select 1') === '1', 60);
  return r;
}
const exists = async (name, which) => {
  const r = await until(`an answer of ${name}`, async () => { const r = await host.call(name, `only_${which}`, []); return r.status < 500 && r; }, 60);
  assert.ok(r.status === 200 || r.status === 404, `only_${which}: ${r.status} ${r.text}`);
  return r.status === 200;
};
async function versionOf(name) {
  const [a, b] = [await exists(name, 'a'), await exists(name, 'b')];
  assert.notEqual(a, b, `${name}: exactly one version runs`);
  return a ? 'a' : 'b';
}
function checkCatalog() {
  assert.equal(host.psql(`select string_agg(nspname, ',') from pg_namespace where nspname !~ '^(pg_|information_schema$|public$|spacetime$)'
    and not exists (select 1 from spacetime.databases d where d.schema_oid = pg_namespace.oid)`), '', 'a schema without a database');
  assert.equal(host.psql(`select string_agg(schema_name, ',') from spacetime.databases d where not exists (select 1 from pg_namespace n where n.oid = d.schema_oid)`), '', 'a database without a schema');
}
function checkTables(name, which) {
  assert.equal(host.psql(`select count(*) from pg_indexes where schemaname = '${name}' and tablename = 'marks'`), which === 'a' ? '1' : '2', `${name}: the tables are those of version ${which}`);
}
const rowsOf = async name => until(`rows of ${name}`, async () => { const r = await host.http('POST', `/v1/database/${name}/sql`, { body: 'SELECT * FROM marks' }); return r.status === 200 && JSON.parse(r.text)[0].rows; }, 60);
async function checkStored(name) {
  const settled = host.psql(`select spacetime.settle('${name}')`);
  const stored = host.psql(`select id, value from "${name}".marks order by id`).split('\n').filter(Boolean);
  return { settled, stored };
}

const done = {};
const victims = ['host', 'worker', 'backend', 'postgres'];
const count = (kind, victim, r) => { const key = `${kind}/${victim}/${r.status}`; done[key] = (done[key] ?? 0) + 1; };

test(`${rounds} updates are struck under load: one version, whole, and every acknowledged row`, async () => {
  const loads = [load(), load()];
  for (let n = 0; n < rounds; n++) {
    const next = version === 'a' ? 'b' : 'a', victim = victims[n % 4];
    const r = await struck(victim, () => host.publish('marks', files[next]));
    count('update', victim, r);
    const now = await versionOf('marks');
    if (r.status === 200) assert.equal(now, next, 'a publish that was answered has happened');
    version = now;
    checkTables('marks', now);
    checkCatalog();
  }
  stop = true;
  await within('the load to end', Promise.all(loads), 60);
  const rows = new Set((await rowsOf('marks')).map(([id]) => Number(id)));
  const missing = [...ledger].filter(([id, outcome]) => outcome === 'ok' && !rows.has(id));
  assert.deepEqual(missing, [], 'acknowledged rows are missing');
  for (const id of rows) assert.ok(id === 0 || (ledger.has(id) && ledger.get(id) !== 'error'), `row ${id} was refused or never sent`);
  const { stored } = await checkStored('marks');
  assert.equal(stored.length, rows.size);
  console.log(`# ${JSON.stringify(done)}; ${rows.size} rows, ${reconnects} reconnects`);
});

test('first publishes are struck: the name is there, whole, or free', async () => {
  for (let n = 0; n < rounds / 3; n++) {
    const name = `first-${n}`, victim = victims[n % 4];
    const r = await struck(victim, () => host.publish(name, files.a));
    count('first', victim, r);
    checkCatalog();
    const there = host.psql(`select count(*) from spacetime.databases where schema_name = '${name}'`) === '1';
    if (r.status === 200) assert.ok(there, 'a publish that was answered has happened');
    if (there) {
      assert.equal(await versionOf(name), 'a');
      assert.deepEqual((await rowsOf(name)).map(([id]) => Number(id)), [0], 'init ran once');
    }
    const again = await until('the name to be usable', async () => { const r = await host.publish(name, files.b); return r.status === 200 && r; }, 30);
    assert.equal(again.status, 200);
    assert.equal(await versionOf(name), 'b');
    assert.equal((await host.call(name, 'mark', [7])).status, 200);
    checkTables(name, 'b');
    checkCatalog();
  }
});

test('resets are struck: all old rows or none', async () => {
  for (let n = 0; n < rounds / 3; n++) {
    const victim = victims[n % 4], before = await versionOf('marks'), next = random(2) ? 'a' : 'b';
    const fill = 1 + random(20);
    for (let k = 0; k < fill; k++) assert.equal((await host.call('marks', 'mark', [nextId++])).status, 200);
    const old = (await rowsOf('marks')).map(([id]) => Number(id)).sort((x, y) => x - y);
    const r = await struck(victim, () => host.publish('marks', files[next], { query: '?clear=true' }));
    count('reset', victim, r);
    const now = await versionOf('marks'), rows = (await rowsOf('marks')).map(([id]) => Number(id)).sort((x, y) => x - y);
    const fresh = rows.length === 1 && rows[0] === 0;
    if (r.status === 200) assert.ok(fresh, 'a reset that was answered has happened');
    if (!fresh) { assert.deepEqual(rows, old); assert.equal(now, before); }
    else assert.equal(now, next);
    checkTables('marks', now);
    checkCatalog();
    assert.equal((await host.call('marks', 'mark', [nextId++])).status, 200);
    const { stored } = await checkStored('marks');
    assert.equal(stored.length, rows.length + 1);
  }
  console.log(`# ${JSON.stringify(done)}`);
});

test('a cold start finds the same', async () => {
  const before = await versionOf('marks'), rows = (await rowsOf('marks')).length;
  await host.stop();
  await host.start();
  assert.equal(await versionOf('marks'), before);
  assert.equal((await rowsOf('marks')).length, rows);
  checkCatalog();
});

await main(() => host.stop());
