// Rule 26: PostgreSQL comes back with less than was acknowledged (a standby that was behind, an old copy of its directory). The host must
// not go on from its memory: it logs what is lost, closes its clients and loads again what PostgreSQL has.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Host, test, main, modulePath, root, scratchDir, until, within } from '../integration/lib.mjs';
import { Wire, u32, u64, i64 } from '../clients/wire.mjs';

const versions = '/usr/lib/postgresql';
const pgBin = process.env.SPACETIME_PG_BIN ?? join(versions, readdirSync(versions).sort((a, b) => b - a)[0], 'bin');
const dir = join(scratchDir(), 'own');
mkdirSync(dir);
chmodSync(dir, 0o777);
const isRoot = process.getuid() === 0;
function asPostgres(...command) {
  const all = isRoot ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups', ...command] : command;
  const r = spawnSync(all[0], all.slice(1), { encoding: 'utf8', cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] });
  assert.equal(r.status, 0, `${all.join(' ')}: ${r.stderr}`);
}
const pg = join(dir, 'pg'), copy = join(dir, 'copy');
const start = () => asPostgres(join(pgBin, 'pg_ctl'), '-D', pg, '-l', join(dir, 'log'), '-o', `-k ${dir} -h ''`, '-w', 'start');
const stop = () => asPostgres(join(pgBin, 'pg_ctl'), '-D', pg, '-m', 'fast', '-w', 'stop');
asPostgres(join(pgBin, 'initdb'), '-D', pg, '-U', 'owner', '-A', 'trust', '-E', 'UTF8', '--locale=C');
start();
const conninfo = `host=${dir} user=owner dbname=postgres`;
const host = await new Host({ args: ['--pg', conninfo] }).start();
host.port0 = host.port;
const psql = sql => spawnSync('psql', [conninfo, '-X', '-A', '-t', '-q', '-c', sql], { encoding: 'utf8' }).stdout.trim();

await host.mustPublish('once', modulePath(join(root, 'tests/integration/once.c')));
assert.equal((await host.call('once', 'seed', [10, 100])).status, 200);
let nextId = 1;
async function transfers(wire, n) {
  for (let i = 0; i < n; i++) {
    const id = nextId++;
    assert.equal((await within('a transfer', wire.call('transfer_once', Buffer.concat([u64(id), u32(id % 10), u32((id + 1) % 10), i64(1)])))).outcome, 'ok');
  }
}
async function connected() {
  return until('a connection', async () => {
    const wire = new Wire(host.port, 'once', { token: host.token });
    await within('the connection', wire.opened, 5);
    const r = await Promise.race([wire.call('transfer_once', Buffer.concat([u64(0), u32(0), u32(0), i64(1)])), wire.closed.then(() => ({ outcome: 'lost' }))]);
    return r.outcome === 'error' && wire;
  }, 30);
}
const marks = async () => (await host.sql('once', 'SELECT * FROM done')).map(([id]) => Number(id)).sort((a, b) => a - b);

for (const [how, amount] of [['a few transactions', 20], ['many transactions', 2000]]) {
  test(`an older copy of PostgreSQL's directory, ${how} behind: memory is thrown away, clients are closed, the loss is logged`, async () => {
    let wire = await connected();
    await transfers(wire, 20);
    const kept = await marks();
    stop();
    asPostgres('rm', '-rf', copy);
    asPostgres('cp', '-a', pg, copy);
    start();
    await transfers(wire, amount);
    assert.ok(!wire.gone, 'an outage alone closes nobody');
    psql(`select spacetime.settle('once')`); // what still waits for the tables would be written from memory, and nothing be lost
    assert.equal((await marks()).length, kept.length + amount);
    stop();
    asPostgres('rm', '-rf', pg);
    asPostgres('mv', copy, pg);
    const before = host.output.length;
    start();
    await within('the client to be closed', wire.closed, 30);
    wire = await connected();
    assert.deepEqual(await marks(), kept, 'what PostgreSQL has is what there is');
    assert.match(host.output.slice(before), /ERROR.*lost the records (\d+) to (\d+), which were acknowledged/);
    // the new life is as durable as the old one
    const from = nextId;
    await transfers(wire, 30);
    psql(`select spacetime.settle('once')`);
    const now = [...kept, ...Array.from({ length: 30 }, (_, i) => from + i)];
    assert.deepEqual(await marks(), now);
    assert.deepEqual(psql('select id from once.done order by id').split('\n').map(Number), now);
    await host.kill('SIGKILL');
    host.port = host.port0;
    await host.start();
    assert.deepEqual(await until('the rows', () => marks(), 30), now);
    wire.close();
  });
}

test('another cluster behind the same connection string: clients are closed, nothing is served from memory, and the right one brings all back', async () => {
  const wire = await connected();
  await transfers(wire, 5);
  const kept = await marks();
  stop();
  asPostgres('rm', '-rf', copy);
  asPostgres('mv', pg, copy);
  asPostgres(join(pgBin, 'initdb'), '-D', pg, '-U', 'owner', '-A', 'trust', '-E', 'UTF8', '--locale=C');
  const before = host.output.length;
  start();
  await within('the client to be closed', wire.closed, 30);
  assert.match(host.output.slice(before), /ERROR.*another PostgreSQL cluster \(system identifier \d+, before \d+\)/);
  const refused = await host.http('POST', '/v1/database/once/sql', { body: 'SELECT * FROM done' });
  assert.ok(refused.status >= 400, `${refused.status} ${refused.text}`);
  stop();
  asPostgres('rm', '-rf', pg);
  asPostgres('mv', copy, pg);
  start();
  const again = await connected();
  assert.deepEqual(await marks(), kept);
  await transfers(again, 5);
  again.close();
});

await main(async () => { await host.stop(); stop(); });
