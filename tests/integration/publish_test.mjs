// A publish as operators and programs see it: the preview and its dry run, the report of connected clients, the history,
// a table that somebody has locked, breaking changes that disconnect, and calls that go on while the next version is prepared.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { Host, test, main, compileText, sleep, until, within } from './lib.mjs';
import { Wire, u8, u32, u64, str } from '../clients/wire.mjs';

const base = (extra = '', columns = '', attribute = 'PUBLIC') => `#include "spacetimedb.h"
ST_MODULE(ledger, "1.0.0");
ST_TABLE(entry, ${attribute}, (uint64_t, id, PK_AUTO), (uint32_t, amount)${columns});
ST_REDUCER(put, (uint32_t, amount)) { entry e = { .amount = amount }; return entry_insert(ctx->db, &e); }
${extra}`;
const v1 = compileText('ledger1', base('ST_REDUCER(old_way) { (void)ctx; return ST_OK; }'));
const column = compileText('ledger2', base('ST_REDUCER(old_way) { (void)ctx; return ST_OK; } ST_DEFAULT(entry, note, 7);', ', (uint32_t, note)'));
const removed = compileText('ledger3', base());
const hidden = compileText('ledger4', base('ST_REDUCER(old_way) { (void)ctx; return ST_OK; }', '', 'PRIVATE'));
const wrong = compileText('ledger5', base('', ', (uint32_t, note)'));
const event = n => compileText(`pulse${n}`, `#include "spacetimedb.h"
ST_MODULE(pulse, "1.0.0");
ST_TABLE(left, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, by));
ST_EVENT_TABLE(beat, PUBLIC, (uint32_t, n)${n > 1 ? ', (uint32_t, m)' : ''});
ST_CLIENT_DISCONNECTED(gone) { left l = { .by = ${n} }; return left_insert(ctx->db, &l); }`);

const host = await new Host().start();
const other = await (await fetch(`${host.url}/v1/identity`, { method: 'POST' })).json();
const preview = async (name, file, query = '') => {
  const { readFileSync } = await import('node:fs');
  const r = await host.http('POST', `/v1/database/${name}/pre_publish?style=NoColor${query}`, { body: readFileSync(file) });
  return { status: r.status, text: r.text, answer: r.status === 200 ? JSON.parse(r.text) : null };
};
const version = name => Number(host.psql(`select schema_version from spacetime.databases d join spacetime.names n on n.database_id = d.id where n.name = '${name}'`));
async function client(name, token, ...queries) {
  const wire = new Wire(host.port, name, { token });
  wire.seen = [];
  wire.onMessage = (tag, message) => wire.seen.push({ tag, text: message.toString('latin1') });
  await within('connect', wire.opened);
  await until('the first message', () => wire.seen.length);
  wire.send(Buffer.concat([u8(0), u32(1), u32(7), u32(queries.length), ...queries.map(str)]));
  await until('the subscription', () => wire.seen.some(m => m.tag === 1 || m.tag === 3));
  return wire;
}

test('the preview tells steps, SQL, token; nothing has changed', async () => {
  await host.mustPublish('ledger', v1);
  await host.call('ledger', 'put', [5]);
  const { answer } = await preview('ledger', column);
  const plan = answer.AutoMigrate;
  assert.equal(plan.break_clients, false);
  assert.match(plan.token, /^0x[0-9a-f]+$/);
  assert.equal(plan.major_version_upgrade, false);
  assert.deepEqual(plan.plan.steps.map(s => s.kind), ['AddColumns']);
  assert.match(plan.sql, /ALTER TABLE "ledger"\."entry" ADD COLUMN "note"/);
  assert.deepEqual(plan.clients, []);
  assert.ok(!plan.migrate_plan.includes('\x1b'), 'no colour was asked for');
  const coloured = JSON.parse((await host.http('POST', '/v1/database/ledger/pre_publish', { body: (await import('node:fs')).readFileSync(column) })).text);
  assert.ok(coloured.AutoMigrate.migrate_plan.includes('\x1b['));
  assert.equal(version('ledger'), 1);
});

test('a dry run executes everything and rolls it back', async () => {
  const { answer } = await preview('ledger', column, '&dry_run=true');
  assert.ok(answer.AutoMigrate.executed.duration_us > 0);
  assert.equal(version('ledger'), 1);
  assert.equal(host.psql(`select count(*) from information_schema.columns where table_schema = 'ledger' and table_name = 'entry'`), '2');
  assert.equal((await host.call('ledger', 'put', [6])).status, 200);
});

test('a dry run finds what the plan cannot see: a table changed by hand', async () => {
  await host.mustPublish('byhand', v1);
  host.psql(`set spacetime.writer = 'host'; alter table byhand.entry alter column amount type numeric`);
  const { status, text } = await preview('byhand', column, '&dry_run=true');
  assert.equal(status, 400);
  assert.match(text, /amount/);
  const r = await host.publish('byhand', column);
  assert.equal(r.status, 400);
  assert.equal(version('byhand'), 1);
  assert.equal((await host.call('byhand', 'put', [1])).status, 200, 'the old version still runs');
});

test('what is refused comes with every reason, apart and together', async () => {
  const { answer } = await preview('ledger', wrong);
  assert.match(answer.ManualMigrate.reason, /table `entry`, column `note`/);
  assert.deepEqual(answer.ManualMigrate.plan.reasons.map(r => [r.kind, r.table, r.column]), [['AddColumn', 'entry', 'note']]);
});

test('the report names the connected clients that a publish would disturb, and how', async () => {
  const owner = await client('ledger', host.token, 'SELECT * FROM entry'), stranger = await client('ledger', other.token, 'SELECT * FROM entry WHERE amount > 3');
  assert.equal((await stranger.call('old_way', Buffer.alloc(0))).outcome, 'ok');
  let clients = (await preview('ledger', hidden)).answer.AutoMigrate.clients;
  assert.equal(clients.length, 1, 'the owner may go on reading a private table');
  assert.equal(clients[0].identity, other.identity);
  assert.equal(clients[0].disconnected, false);
  assert.match(clients[0].effects[0], /subscription `SELECT \* FROM entry WHERE amount > 3` ends: the table becomes private/);
  clients = (await preview('ledger', removed)).answer.AutoMigrate.clients;
  assert.equal(clients.length, 1);
  assert.match(clients[0].effects[0], /it has called reducer `old_way`, which is removed/);
  owner.close();
  stranger.close();
});

test('calls go on while the next version is prepared; the answer of a column added reaches nobody who does not know it', async () => {
  const wire = await client('ledger', host.token, 'SELECT * FROM entry');
  let stop = false, calls = 0;
  const caller = (async () => { while (!stop) { assert.equal((await wire.call('put', u32(10))).outcome, 'ok'); calls++; } })();
  await until('calls', () => calls > 20);
  await host.mustPublish('ledger', column);
  const before = calls;
  await until('calls of the new version', () => calls > before + 20);
  stop = true;
  await caller;
  assert.ok(!wire.gone);
  host.psql(`select spacetime.settle('ledger')`);
  const [rows, old, last, first] = host.psql(`select count(*), count(*) filter (where note = 7), max(id) filter (where note = 7),
    min(id) filter (where note = 0) from ledger.entry`).split('|').map(Number);
  assert.equal(rows, calls + 2);
  assert.ok(old > 20 && last < first, `rows that changed while it was prepared have their default too, and the swap is a moment: ${[rows, old, last, first]}`);
  assert.equal(Number((await host.sql('ledger', 'SELECT COUNT(*) AS n FROM entry WHERE note = 7'))[0][0]), old);
  wire.close();
});

test('the history says who published what, when, and how', async () => {
  const r = await host.http('GET', '/v1/database/ledger/migrations');
  const list = JSON.parse(r.text);
  assert.deepEqual(list.map(v => [v.version, v.reset, v.migration]), [[2, false, 0], [1, false, 0]]);
  assert.equal(list[0].publisher, host.identity);
  assert.match(list[0].published_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  assert.ok(list[0].duration_us > 0);
  assert.deepEqual(list[0].steps.steps.map(s => s.kind), ['AddColumns']);
  assert.match(list[0].sql, /ADD COLUMN "note"/);
  assert.equal(JSON.parse((await host.http('GET', '/v1/database/ledger/migrations?limit=1')).text).length, 1);
  assert.equal((await host.http('GET', '/v1/database/ledger/migrations', { token: other.token })).status, 403);
  assert.equal((await host.http('GET', '/v1/database/ledger/migrations?limit=x')).status, 400);
});

test('a locked table holds the publish, not the callers; at last the blocker is named', async () => {
  await host.mustPublish('locked', v1);
  const psql = spawn('psql', [host.conninfo, '-X', '-q'], { stdio: ['pipe', 'pipe', 'inherit'] });
  psql.stdin.write('begin; select 1 from locked.entry limit 1; select pg_backend_pid();\n');
  await within('the lock', new Promise(done => psql.stdout.once('data', done)));
  const publishing = host.publish('locked', column);
  let slowest = 0, calls = 0;
  let done = false;
  publishing.finally(() => { done = true; });
  while (!done) {
    const began = Date.now();
    assert.equal((await host.call('locked', 'put', [1])).status, 200);
    slowest = Math.max(slowest, Date.now() - began);
    calls++;
    await sleep(20);
  }
  const r = await publishing;
  assert.equal(r.status, 503, r.text);
  assert.match(r.text, /locked by pid \d+ \(psql/);
  assert.ok(calls > 20, `only ${calls} calls were answered while the publish waited`);
  assert.equal(version('locked'), 1);
  psql.stdin.end('rollback;\n');
  await within('psql', new Promise(ended => psql.on('exit', ended)));
  await host.mustPublish('locked', column);
  assert.equal(Number((await host.sql('locked', 'SELECT COUNT(*) AS n FROM entry WHERE note = 7'))[0][0]), calls);
});

test('a breaking change needs consent, disconnects with 1001, and the new module hears of it', async () => {
  const [one, two] = [event(1), event(2)];
  await host.mustPublish('pulse', one);
  const wire = await client('pulse', host.token, 'SELECT * FROM beat');
  const { answer } = await preview('pulse', two);
  assert.equal(answer.AutoMigrate.break_clients, true);
  assert.deepEqual(answer.AutoMigrate.plan.steps.map(s => s.kind), ['ReschemaEventTable', 'DisconnectAllUsers']);
  assert.equal(answer.AutoMigrate.clients[0].disconnected, true);
  assert.equal((await host.publish('pulse', two)).status, 400);
  assert.equal((await host.publish('pulse', two, { query: '?policy=BreakClients' })).status, 400);
  assert.equal((await host.publish('pulse', two, { query: '?policy=BreakClients&token=0x1' })).status, 400);
  assert.ok(!wire.gone);
  await host.mustPublish('pulse', two, { query: `?policy=BreakClients&token=${answer.AutoMigrate.token}` });
  const closed = await within('the close', wire.closed);
  assert.equal(closed.code, 1001);
  assert.equal(closed.reason, 'module exited');
  await until('the disconnect reducer of the new version', async () => {
    const rows = await host.sql('pulse', 'SELECT by FROM left');
    return rows.length === 1 && Number(rows[0][0]) === 2;
  });
});

await main(() => host.stop());
