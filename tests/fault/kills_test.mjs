// Kill the host, its workers, PostgreSQL's backends and PostgreSQL itself at random moments under transfer load. A client that keeps
// its own ledger checks that every acknowledged transfer is there, that nothing is there by half, and that the sum is right.
// FAULT_KILLS (default 200) kills, FAULT_SEED repeats a run's choices.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Host, test, main, modulePath, root, sleep, until, within } from '../integration/lib.mjs';
import { Wire, u32, u64, i64 } from '../clients/wire.mjs';

const kills = Number(process.env.FAULT_KILLS ?? 200);
const seed = Number(process.env.FAULT_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.log(`# FAULT_SEED=${seed} FAULT_KILLS=${kills}`);
let state = seed >>> 0 || 1;
const random = n => { state ^= state << 13; state >>>= 0; state ^= state >>> 17; state ^= state << 5; state >>>= 0; return state % n; };

const accounts = 1000, initial = 1000000n;
const host = await new Host().start();
await host.mustPublish('once', modulePath(join(root, 'tests/integration/once.c')));
assert.equal((await host.call('once', 'seed', [accounts, Number(initial)])).status, 200);
host.port0 = host.port;

const ledger = new Map(); // transfer id -> { payer, payee, amount, outcome }
let nextId = 1n, stop = false;
const count = { ok: 0, error: 0, internal: 0, lost: 0 };

async function client() {
  while (!stop) {
    const wire = new Wire(host.port, 'once', { token: host.token });
    try { await within('connect', wire.opened, 10); } catch { wire.close(); await sleep(50); continue; }
    const one = async () => {
      while (!stop && !wire.gone) {
        const id = nextId++, payer = Number(id * 7919n % BigInt(accounts)), payee = (payer + 1 + Number(id % 31n)) % accounts, amount = 1n + id % 97n;
        const entry = { payer, payee, amount, outcome: 'sent' };
        ledger.set(id, entry);
        const answer = await wire.call('transfer_once', Buffer.concat([u64(id), u32(payer), u32(payee), i64(amount)]));
        entry.outcome = answer.outcome;
        entry.text = answer.text;
        count[answer.outcome]++;
        if (answer.outcome === 'internal') await sleep(20);
      }
    };
    await Promise.all(Array.from({ length: 16 }, one));
    wire.close();
  }
}

async function verify(what) {
  const rows = await host.sql('once', 'SELECT * FROM accounts');
  const done = new Map((await host.sql('once', 'SELECT * FROM done')).map(([id, payer, payee, amount]) => [BigInt(id), { payer, payee, amount: BigInt(amount) }]));
  const expected = new Map(rows.map(([id]) => [id, initial]));
  for (const [id, d] of done) {
    const mine = ledger.get(id);
    assert.ok(mine && mine.payer === d.payer && mine.payee === d.payee && mine.amount === d.amount, `${what}: transfer ${id} is not one of ours`);
    assert.notEqual(mine.outcome, 'error', `${what}: transfer ${id} was refused but is there`);
    expected.set(d.payer, expected.get(d.payer) - d.amount);
    expected.set(d.payee, expected.get(d.payee) + d.amount);
  }
  const missing = [...ledger].filter(([id, e]) => e.outcome === 'ok' && !done.has(id)).map(([id]) => id);
  assert.deepEqual(missing, [], `${what}: ${missing.length} acknowledged transfers are missing`);
  for (const [id, balance] of rows) assert.equal(BigInt(balance), expected.get(id), `${what}: account ${id}`);
  assert.equal(rows.length, accounts);
  host.psql(`select spacetime.settle('once')`);
  assert.equal(host.psql(`select sum(balance), count(*) from once.accounts`), `${initial * BigInt(accounts)}|${accounts}`);
  assert.equal(host.psql('select count(*) from once.done'), String(done.size));
  const memory = rows.map(([id, b]) => `${id}:${b}`).sort().join();
  const stored = host.psql('select id, balance from once.accounts').split('\n').map(l => l.replace('|', ':')).sort().join();
  assert.equal(stored, memory, `${what}: PostgreSQL and memory differ`);
}

const done = { host: 0, worker: 0, backend: 0, postgres: 0 };
async function killSomething() {
  const dice = random(100);
  if (dice < 8) {
    done.host++;
    await host.kill('SIGKILL');
    host.port = host.port0;
    await host.start();
  } else if (dice < 60) {
    const [worker] = host.workers();
    if (!worker) return false;
    done.worker++;
    try { process.kill(worker, 'SIGKILL'); } catch { return false; }
  } else if (dice < 96) {
    done.backend++;
    host.psql(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() order by random() limit 1`);
  } else {
    done.postgres++;
    const pid = host.postmaster();
    process.kill(pid, random(2) ? 'SIGQUIT' : 'SIGINT'); // immediate or fast shutdown, then it must come back
    await until('PostgreSQL to stop', () => { try { process.kill(pid, 0); return false; } catch { return true; } }, 60);
    await until('PostgreSQL to be started again', () => host.psql('select 1') === '1', 60);
  }
  return true;
}

test(`${kills} random kills under load lose no acknowledged transfer and leave nothing half done`, async () => {
  const clients = [client(), client()];
  await until('load', () => count.ok > 100);
  for (let n = 0; n < kills;) {
    await sleep(random(250));
    if (await killSomething().catch(error => { console.log(`# ${error.message.split('\n')[0]}`); return false; })) n++;
    if (n && n % 40 === 0) await until('load goes on', (before => () => count.ok > before)(count.ok), 60);
  }
  await until('load goes on after the last kill', (before => () => count.ok > before + 100)(count.ok), 60);
  stop = true;
  await within('the clients to end', Promise.all(clients), 60);
  console.log(`# kills ${JSON.stringify(done)}; answers ${JSON.stringify(count)}`);
  await verify('after the run');
});

test('a cold start reads the same state again', async () => {
  await host.stop();
  await host.start();
  await verify('after a restart');
});

await main(() => host.stop());
