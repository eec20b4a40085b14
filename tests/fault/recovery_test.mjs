// Recovery when more than one thing goes wrong: PostgreSQL away while the worker dies, workers killed one after the other, the host
// killed while clients are connected, databases that cannot be opened.
import assert from 'node:assert/strict';
import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { Host, test, main, compileText, modulePath, root, sleep, until, within } from '../integration/lib.mjs';
import { Wire, u32, u64, i64 } from '../clients/wire.mjs';

const host = await new Host().start();
host.port0 = host.port;
await host.mustPublish('once', modulePath(join(root, 'tests/integration/once.c')));
assert.equal((await host.call('once', 'seed', [100, 1000])).status, 200);

const data = join(host.dir, 'data');
const postmaster = () => Number(readFileSync(join(data, 'pg/postmaster.pid'), 'utf8').split('\n')[0]);
const killWorker = () => { for (const pid of host.workers()) try { process.kill(pid, 'SIGKILL'); } catch { /* it has gone already */ } };

// Calls without pause over one connection; counts what is answered.
let nextId = 1;
function pump(wire, lanes = 8) {
  const p = { ok: 0, internal: 0, error: 0, lost: 0, acknowledged: [], stop: false, texts: new Set() };
  const lane = async () => {
    while (!p.stop && !wire.gone) {
      const id = nextId++;
      const { outcome, text } = await wire.call('transfer_once', Buffer.concat([u64(id), u32(id % 100), u32((id + 1) % 100), i64(1)]));
      p[outcome]++;
      if (outcome === 'ok') p.acknowledged.push(id);
      else { p.texts.add(text); await sleep(20); }
    }
  };
  p.ended = Promise.all(Array.from({ length: lanes }, lane));
  return p;
}
async function verify(p) {
  const rows = new Set((await host.sql('once', 'SELECT * FROM done')).map(([id]) => Number(id)));
  assert.deepEqual(p.acknowledged.filter(id => !rows.has(id)), [], 'acknowledged transfers are missing');
  const sum = (await host.sql('once', 'SELECT * FROM accounts')).reduce((s, [, b]) => s + Number(b), 0);
  assert.equal(sum, 100 * 1000);
}
async function connected(options) {
  const wire = new Wire(host.port, 'once', { token: host.token, ...options });
  await within('the connection', wire.opened, 20);
  return wire;
}
async function withoutPostgres(run) {
  const control = join(data, 'pg/global/pg_control');
  renameSync(control, `${control}.away`); // it cannot be started again meanwhile
  process.kill(postmaster(), 'SIGKILL');
  try { await run(); } finally { renameSync(`${control}.away`, control); }
  await until('PostgreSQL to be started again', () => host.psql('select 1') === '1', 60);
}

test('the worker dies while PostgreSQL is away: clients stay, their calls wait and are answered', async () => {
  const wire = await connected(), p = pump(wire);
  await until('load', () => p.ok > 100);
  await withoutPostgres(async () => {
    await sleep(300);
    killWorker();
    await sleep(4000);
    assert.ok(!wire.gone, 'the client stays connected');
  });
  const before = p.ok;
  await until('load to go on', () => p.ok > before + 100, 60);
  assert.ok(!wire.gone, 'the client stayed connected');
  p.stop = true;
  await within('every call to be answered', p.ended, 30);
  wire.close();
  await verify(p);
});

test('calls that wait for a new worker are bounded, and the others are refused with the reason', async () => {
  const wire = await connected(), other = await connected(), p = pump(wire, 1);
  await until('load', () => p.ok > 10);
  let answered = 0, refused = 0;
  const big = Buffer.alloc(1 << 20), all = [];
  await withoutPostgres(async () => {
    await sleep(200);
    killWorker();
    await sleep(300);
    for (let i = 0; i < 100; i++) all.push(other.call('no_such_reducer', big).then(r => { answered++; if (/too many calls wait|PostgreSQL/.test(r.text ?? '')) refused++; return r; }));
    await until('a refusal', () => refused > 0, 30);
  });
  p.stop = true;
  await within('every call to be answered', Promise.all([p.ended, ...all]), 60);
  assert.ok(refused < all.length && !wire.gone && !other.gone, `${refused} of ${all.length} refused`);
  wire.close();
  other.close();
  await verify(p);
});

test('a worker killed every 20 to 50 ms for a while comes back, and nobody was disconnected', async () => {
  const wire = await connected(), p = pump(wire);
  await until('load', () => p.ok > 100);
  const end = Date.now() + 5000;
  let kills = 0;
  while (Date.now() < end) {
    const [pid] = host.workers();
    if (pid) try { process.kill(pid, 'SIGKILL'); kills++; } catch { /* it has gone already */ }
    await sleep(10 + Math.random() * 30);
  }
  const before = p.ok;
  await until('load to go on', () => p.ok > before + 100, 60);
  p.stop = true;
  await within('every call to be answered', p.ended, 30);
  assert.ok(!wire.gone, 'the client stayed connected');
  console.log(`# ${kills} kills, ${p.ok} ok, ${p.internal} internal; ${[...p.texts].slice(0, 3).join(' | ')}`);
  wire.close();
  await verify(p);
});

test('client_disconnected runs exactly once for each client of a host that was killed', async () => {
  await host.mustPublish('doors', compileText('doors', `#include "spacetimedb.h"
ST_MODULE(doors, "1.0.0");
ST_TABLE(door, PUBLIC, (uint64_t, id, PK_AUTO), (st_connection_id, connection), (bool, in));
static st_status pass(st_reducer_ctx *ctx, bool in) { door d = { .connection = ctx->connection.v, .in = in }; return door_insert(ctx->db, &d); }
ST_CLIENT_CONNECTED(come) { return pass(ctx, true); }
ST_CLIENT_DISCONNECTED(go) { return pass(ctx, false); }
ST_REDUCER(nothing) { (void)ctx; return ST_OK; }
`));
  for (let round = 0; round < 3; round++) {
    const wires = [];
    for (let i = 0; i < 12; i++) {
      const wire = new Wire(host.port, 'doors', { token: host.token });
      await within('connect', wire.opened, 10);
      wires.push(wire);
    }
    for (const wire of wires) assert.equal((await within('a call', wire.call('nothing', Buffer.alloc(0)))).outcome, 'ok');
    for (let again = 0; again <= round; again++) { // killed once more while it tells the module
      await host.kill('SIGKILL');
      host.port = host.port0;
      await host.start();
      if (again < round) {
        const knock = host.call('doors', 'nothing', []).catch(() => {});
        await sleep(Math.random() * 120);
        if (again % 2) for (const pid of host.workers()) try { process.kill(pid, 'SIGKILL'); } catch { /* gone */ }
        await Promise.race([knock, sleep(5)]);
      }
    }
    await until('the database', async () => (await host.call('doors', 'nothing', [])).status === 200, 30);
    await until('everybody to be gone', () => Number(host.psql(`select count(*) from doors.st_client`)) === 0 || (host.psql(`select spacetime.settle('doors')`), false), 20);
    const seen = new Map();
    const rows = (await host.sql('doors', 'SELECT * FROM door')).sort((a, b) => Number(a[0]) - Number(b[0]));
    for (const [, connection, entering] of rows) {
      const key = JSON.stringify(connection), e = seen.get(key) ?? seen.set(key, { in: 0, out: 0 }).get(key);
      e[entering ? 'in' : 'out']++;
    }
    const wrong = [...seen.values()].filter(e => e.in !== 1 || e.out !== 1);
    assert.ok(wrong.length <= 1, `${wrong.length} connections came or went more or less than once: ${JSON.stringify(wrong)}`); // the one that asks is inside
    assert.ok(seen.size >= 12 * (round + 1));
  }
});

test('an opening that fails leaves no worker and no lease, and a later one works', async () => {
  const broken = [
    ['alter table once.accounts rename to elsewhere', 'alter table once.elsewhere rename to accounts'],
    ['create table public.keep as select * from once.st_state; delete from once.st_state', 'insert into once.st_state select * from public.keep; drop table public.keep'],
    ['alter table once.done alter column amount type numeric', 'alter table once.done alter column amount type bigint'],
  ];
  for (const [damage, repair] of broken) {
    await host.stop();
    host.port = host.port0;
    await host.start();
    host.psql(`set spacetime.writer = 'host'; ${damage}`);
    const r = await host.call('once', 'seed', [1, 1]);
    assert.ok(r.status >= 500, `${damage}: ${r.status} ${r.text}`);
    await until('no worker', () => host.workers().length === 0, 5);
    assert.equal(host.psql(`select count(*) from spacetime.leases l join spacetime.databases d on d.id = l.database_id where d.schema_name = 'once'`), '0', damage);
    host.psql(`set spacetime.writer = 'host'; ${repair}`);
    await until('a later opening', async () => (await host.http('POST', '/v1/database/once/sql', { body: 'SELECT * FROM accounts' })).status === 200, 30);
    assert.equal((await host.sql('once', 'SELECT * FROM accounts')).length, 100);
  }
});

test('openings that PostgreSQL interrupts succeed a moment later', async () => {
  for (let n = 0; n < 6; n++) {
    await host.stop();
    host.port = host.port0;
    await host.start();
    const opening = host.call('once', 'transfer_once', [nextId++, 1, 2, 1]).catch(() => ({ status: 0 }));
    await sleep(n * 12);
    if (n % 2) process.kill(postmaster(), 'SIGKILL'); else killWorker();
    await opening;
    await until('a later opening', async () => (await host.http('POST', '/v1/database/once/sql', { body: 'SELECT * FROM accounts' })).status === 200, 30);
    assert.ok(host.workers().length <= 2, 'no worker is left over');
  }
});

await main(() => host.stop());
