// What the operator's limits do: reaching one gives an error that names limit and option, rolls back, and leaves everybody else alone.
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Host, compileText, test, main, modulePath, until, within } from './lib.mjs';
import { Wire, str, u32, u8 } from '../clients/wire.mjs';

const host = await new Host().start();
await host.mustPublish('ledger', modulePath('ledger'));
await host.call('ledger', 'seed', [10, 100]);

test('a nearly full disk refuses calls and publishes with the reason, keeps reads of the catalog, and everything is there afterwards', async () => {
  await host.stop();
  host.args = ['--disk-reserve', String(2n ** 60n)];
  await host.start();
  const refused = await host.call('ledger', 'transfer', [1, 2, 3]);
  assert.equal(refused.status, 503);
  assert.match(refused.text, /disk of .* has \d+ MB left, less than the reserve of \d+ MB \(--disk-reserve\)/);
  const publish = await host.publish('ledger', modulePath('ledger'), { query: '?clear=true' });
  assert.equal(publish.status, 507);
  assert.equal((await host.http('GET', '/v1/database/ledger/names')).text, '{"names":["ledger"]}');
  await host.stop();
  host.args = [];
  await host.start();
  assert.equal((await host.call('ledger', 'transfer', [1, 2, 3])).status, 200);
  assert.deepEqual(await host.sql('ledger', 'SELECT balance FROM accounts WHERE id = 2'), [[103]]);
});

// ---- limits of calls, transactions and databases ----

const greedy = compileText('greedy', `#include "spacetimedb.h"
ST_MODULE(greedy, "1.0.0");
ST_TABLE(blob, PUBLIC, (uint64_t, id, PK_AUTO), (st_bytes, data));
ST_TABLE(small, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, n));
ST_REDUCER(rows, (uint32_t, n)) { for (uint32_t i = 0; i < n; i++) { small s = { .n = i }; st_status x = small_insert(ctx->db, &s); if (x) return x; } return ST_OK; }
ST_REDUCER(bytes, (uint32_t, n), (uint32_t, each)) {
    uint8_t *p = (uint8_t *)st_alloc(ctx, each);
    for (uint32_t i = 0; i < n; i++) { blob b = { .data = { p, each } }; st_status x = blob_insert(ctx->db, &b); if (x) return x; }
    return ST_OK;
}
ST_REDUCER(careful, (uint32_t, n)) {
    for (uint32_t i = 0; i < n; i++) { small s = { .n = i }; if (small_try_insert(ctx->db, &s) == ST_E_TOO_LARGE) { st_log_info(ctx, "stopped at %u", i); return ST_OK; } }
    return ST_OK;
}
ST_REDUCER(scratch, (uint32_t, mib)) { for (uint32_t i = 0; i < mib; i++) memset(st_alloc(ctx, 1u << 20), 1, 1u << 20); return ST_OK; }
ST_REDUCER(endless) { for (volatile int i = 0; i >= 0; i = (i + 1) & 1023) ; return ST_OK; }
ST_REDUCER(talk, (uint32_t, n)) { for (uint32_t i = 0; i < n; i++) st_log_info(ctx, "talk %u", i); return ST_OK; }
ST_REDUCER(clear) { blob_clear(ctx->db); return ST_OK; }
ST_REDUCER(clear_small) { ST_FOR(small, s, small_all(ctx->db)) { small_delete_by_id(ctx->db, s->id); if (s->n == 900) break; } return ST_OK; }
`);
const MIB = 1 << 20, db = 'greedy';
let limited;
const fails = async (reducer, args, ...patterns) => {
  const r = await limited.call(db, reducer, args);
  assert.equal(r.status, 530, `${reducer}: ${r.status} ${r.text}`);
  for (const pattern of patterns) assert.match(r.text, pattern, reducer);
};
const works = async (reducer, args) => { const r = await limited.call(db, reducer, args); assert.equal(r.status, 200, `${reducer}: ${r.status} ${r.text}`); };
const count = async table => Number((await limited.sql(db, `SELECT COUNT(*) AS n FROM ${table}`))[0][0]);
const workers = () => limited.workers().join();

test('limits of transactions, calls and databases: the error names them, the call is rolled back, the worker goes on', async () => {
  await host.stop();
  limited = await new Host({ args: ['--worker-memory', String(512 * MIB), '--database-memory', String(64 * MIB), '--transaction-rows', '1000', '--transaction-bytes', String(8 * MIB), '--call-memory', String(4 * MIB),
    '--call-timeout-ms', '1500', '--log-rate', '50', '--log-bytes', '8192', '--log-files', '2', '--connections-per-client', '3', '--connections-per-database', '5', '--subscriptions-per-connection', '4'] }).start();
  await limited.mustPublish(db, greedy);
  await works('rows', [1000]);
  await fails('rows', [1001], /table small: the transaction writes more than 1000 rows \(--transaction-rows\)/);
  assert.equal(await count('small'), 1000, 'the call that failed left nothing');
  const pid = workers();
  await works('bytes', [7, MIB]);
  await fails('bytes', [9, MIB], /table blob: the transaction writes more than 8388608 bytes of rows \(--transaction-bytes\)/);
  assert.equal(await count('blob'), 7);
  await works('scratch', [3]);
  await fails('scratch', [5], /more than 4194304 bytes of scratch memory \(--call-memory\)/);
  for (let i = 0; i < 8; i++) await works('bytes', [7, MIB]);
  await fails('bytes', [7, MIB], /the database needs \d+ bytes more than the \d+ in use; its limit is 67108864 bytes \(--database-memory\)/);
  await fails('bytes', [7, MIB], /--database-memory/);
  assert.equal(workers(), pid, 'no worker died of it');
  await works('clear', []);
  await works('bytes', [7, MIB]);
  await works('careful', [5000]); // the try form: what fitted is committed
  assert.equal(await count('small'), 2000);
  assert.equal(workers(), pid);
});

test('a publish that needs a second copy beyond the database\'s memory is refused with the reason; the old version goes on', async () => {
  await works('clear', []);
  for (let i = 0; i < 6; i++) await works('bytes', [6, MIB]);
  const wider = compileText('greedy2', `#include "spacetimedb.h"
ST_MODULE(greedy, "1.0.0");
ST_TABLE(blob, PUBLIC, (uint64_t, id, PK_AUTO), (st_bytes, data), (uint32_t, more));
ST_DEFAULT(blob, more, 1);
ST_TABLE(small, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, n));
ST_REDUCER(rows, (uint32_t, n)) { (void)n; return ST_OK; }
`);
  const before = await count('blob'), r = await limited.publish(db, wider);
  assert.notEqual(r.status, 200);
  assert.match(r.text, /--database-memory/);
  assert.equal(await count('blob'), before);
  await works('clear', []);
  await works('rows', [10]);
});

test('the run time of a call: the caller and the log hear which option', async () => {
  const r = await limited.call(db, 'endless', []);
  assert.ok(r.status >= 500);
  assert.match(r.text, /1500 ms \(--call-timeout-ms\)/);
  await works('rows', [1]);
  assert.ok((await limited.logs(db)).some(l => /--call-timeout-ms/.test(l.message)));
});

test('log lines beyond the rate are counted and told; files are rotated and bounded; the newest are there', async () => {
  await works('talk', [2000]);
  await until('the log to tell', async () => (await limited.logs(db)).some(l => /\d+ log lines were dropped: the module logs more than 50 lines a second \(--log-rate\)/.test(l.message)));
  const dir = join(limited.dir, 'data', 'logs'), files = readdirSync(dir).filter(f => f.includes('.log'));
  assert.ok(files.length <= 3, files.join());
  for (const f of files) assert.ok(statSync(join(dir, f)).size < 16384, f);
  assert.ok((await limited.logs(db)).filter(l => /^talk/.test(l.message)).length >= 60, 'a tail reads more than the current file');
});

test('connections of one identity and of one database: refused with the option named; others connect, and a place that is left is free', async () => {
  const open = async token => { const w = new Wire(limited.port, db, { token }); await w.opened; await within('the first message', new Promise(done => { w.onMessage = done; w.closed.then(done); })); return w; };
  const someone = async () => JSON.parse((await limited.http('POST', '/v1/identity', { token: null })).text).token;
  const mine = [await open(limited.token), await open(limited.token), await open(limited.token)];
  const refused = await (await open(limited.token)).closed;
  assert.match(refused.reason, /this identity has 3 connections to database greedy, .*\(--connections-per-client\)/);
  const others = [await open(await someone()), await open(await someone())];
  assert.ok(!others[0].gone && !others[1].gone);
  assert.match((await (await open(await someone())).closed).reason, /database greedy has 5 connections, .*\(--connections-per-database\)/);
  assert.equal((await limited.call(db, 'rows', [1])).status, 200, 'HTTP calls are no such connections');
  mine[0].close();
  await mine[0].closed;
  await until('a place to be free', async () => { const w = await open(limited.token); const good = !w.gone; if (good) mine.push(w); return good; });

  const w = mine[1], errors = [];
  let applied = 0;
  w.onMessage = (tag, body) => { if (tag === 1) applied++; if (tag === 3) errors.push(body.toString('latin1')); };
  for (let id = 1; id <= 5; id++) w.send(Buffer.concat([u8(0), u32(id), u32(id), u32(1), str('SELECT * FROM small')]));
  await until('the fifth subscription to be refused', () => errors.length === 1 && applied === 4);
  assert.match(errors[0], /this connection has 4 subscriptions, .*\(--subscriptions-per-connection\)/);
  assert.ok(!w.gone, 'the connection stays');
  for (const x of [...mine, ...others]) x.close();
});

test('options that make no sense are refused at the start', async () => {
  await limited.stop();
  for (const [args, pattern] of [
    [['--worker-memory', '100000000', '--database-memory', '99000000'], /--database-memory 99000000 leaves its worker too little of --worker-memory 100000000/],
    [['--call-memory', '10'], /--call-memory: `10` is less than 1048576/],
    [['--log-files', '1000'], /--log-files.*`1000` is not a number from 0 to 100/],
    [['--transaction-rows', 'many'], /--transaction-rows.*`many` is not a number/],
  ]) {
    limited.args = args;
    await assert.rejects(limited.start(), pattern);
  }
});

await main(() => limited.stop());
