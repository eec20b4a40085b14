// Scheduled tables with real processes: nobody asks, and still it happens. The rules of due times are in tests/unit/worker_schedule_test.c.
import { Host, bin, compileText, main, sleep, test, until, within } from './lib.mjs';
import { spawn, spawnSync } from 'node:child_process';
import { Wire, u32 } from '../clients/wire.mjs';
import assert from 'node:assert/strict';

const source = `#include "spacetimedb.h"
ST_MODULE(timers, "1.0.0");
ST_TABLE(timer, PUBLIC, (uint64_t, id, PK_AUTO), (st_schedule_at, at), (st_str, what));
ST_TABLE(ran, PUBLIC, (uint64_t, id, PK_AUTO), (uint64_t, timer), (st_str, what), (st_identity, sender), (st_timestamp, at));
ST_REDUCER(fire, (timer, row)) {
    ran r = { .timer = row.id, .what = row.what, .sender = ctx->sender, .at = ctx->timestamp };
    if (st_str_eq(row.what, ST_S("crash")))
        __builtin_trap();
    if (st_str_eq(row.what, ST_S("loop")))
        for (volatile int i = 0;; i++) ;
    return ran_insert(ctx->db, &r);
}
ST_SCHEDULE(timer, at, fire);
ST_REDUCER(in_ms, (int64_t, ms), (st_str, what)) {
    timer t = { .at = st_at(st_timestamp_add(ctx->timestamp, st_millis(ms))), .what = what };
    return timer_insert(ctx->db, &t);
}
ST_REDUCER(every_ms, (int64_t, ms), (st_str, what)) {
    timer t = { .at = st_every(st_millis(ms)), .what = what };
    return timer_insert(ctx->db, &t);
}
ST_REDUCER(many, (uint32_t, n)) {
    for (uint32_t i = 0; i < n; i++) {
        timer t = { .at = st_at(ctx->timestamp), .what = ST_S("many") };
        if (timer_insert(ctx->db, &t)) break;
    }
    return ST_OK;
}
ST_TABLE(job, PUBLIC, (uint64_t, id, PK_AUTO), (st_schedule_at, at), (st_str, what), (int64_t, takes_ms));
ST_PROCEDURE(work, st_unit, (job, row)) {
    (void)ret;
    bool there = false;
    if (st_str_eq(row.what, ST_S("crash job"))) __builtin_trap();
    if (st_sleep_until(ctx, st_timestamp_add(ctx->timestamp, st_millis(row.takes_ms)))) return ST_E_USER;
    ST_WITH_TX(ctx, tx) {
        there = job_find_by_id(tx->db, row.id) != NULL;
        ran r = { .timer = row.id, .what = st_format(tx, "%.*s%s", ST_FMT(row.what), there ? " (its row is there)" : ""), .sender = tx->sender, .at = tx->timestamp };
        if (ran_insert(tx->db, &r)) break;
    }
    return st_str_eq(row.what, ST_S("failing job")) ? ST_E_USER : ST_OK;
}
ST_SCHEDULE(job, at, work);
ST_REDUCER(job_in_ms, (int64_t, ms), (st_str, what), (int64_t, takes_ms)) {
    job t = { .at = st_at(st_timestamp_add(ctx->timestamp, st_millis(ms))), .what = what, .takes_ms = takes_ms };
    return job_insert(ctx->db, &t);
}
ST_REDUCER(job_every_ms, (int64_t, ms), (st_str, what), (int64_t, takes_ms)) {
    job t = { .at = st_every(st_millis(ms)), .what = what, .takes_ms = takes_ms };
    return job_insert(ctx->db, &t);
}
ST_REDUCER(end_jobs) { job_clear(ctx->db); return ST_OK; }
ST_REDUCER(cancel_all) { timer_clear(ctx->db); return ST_OK; }
ST_REDUCER(ask) { ran r = { .what = ST_S("asked"), .at = ctx->timestamp }; return ran_insert(ctx->db, &r); }
ST_INIT(on_init) {
    timer t = { .at = st_at(ctx->timestamp), .what = ST_S("from init") };
    return timer_insert(ctx->db, &t);
}
`;
const module = compileText('timers', source);
const next = compileText('timers2', source.replace('(st_timestamp, at));', '(st_timestamp, at), (uint32_t, extra));\nST_DEFAULT(ran, extra, 5);'));
const host = new Host({ args: ['--idle-close-ms', '700', '--call-timeout-ms', '1500'] });
await host.start();
const count = what => Number(host.psql(`select spacetime.settle('timers'); select count(*) from timers.ran where what = '${what}'`).split('\n').at(-1));
const isOpen = () => host.workers().length > 0;
const closed = () => until('the idle database to be closed', () => !isOpen());
const db = async (reducer, ...args) => {
  const r = await host.call('timers', reducer, args);
  assert.equal(r.status, 200, `${reducer}: ${r.status} ${r.text}`);
};

test('a row of init runs right after the first publish', async () => {
  await host.mustPublish('timers', module);
  await until('the row of init', () => count('from init') === 1);
  assert.equal(host.psql('select count(*) from timers.timer'), '0');
});

test('a subscriber sees the row come and go, and what its function did', async () => {
  const seen = spawn(bin('spacetime'), ['--config-path', host.config, 'subscribe', 'timers', 'SELECT * FROM timer', '-n', '2', '--print-initial-update', '-t', '20']);
  let text = '';
  seen.stdout.on('data', d => { text += d; });
  const ended = new Promise(done => seen.on('exit', done));
  await until('the subscription', () => text.includes('\n'));
  await db('in_ms', 100, 'once');
  await until('the row', () => count('once') === 1);
  assert.equal(await within('two updates', ended), 0);
  const [, insert, remove] = text.trim().split('\n').map(line => JSON.parse(line).timer);
  assert.deepEqual([insert.inserts.length, insert.deletes.length, remove.inserts.length, remove.deletes.length], [1, 0, 0, 1], text);
  assert.equal((await host.sql('timers', 'SELECT * FROM timer')).length, 0);
  const [row] = await host.sql('timers', "SELECT * FROM ran WHERE what = 'once'");
  const identity = (await host.http('GET', '/v1/database/timers/identity')).text.replaceAll('"', '');
  assert.equal(JSON.stringify(row[3]).includes(identity), true, 'the sender is the database itself');
});

test('a scheduled function is its owner\'s to call, and nobody else\'s (46)', async () => {
  const stranger = JSON.parse((await host.http('POST', '/v1/identity', { token: null })).text).token;
  const row = [{ id: 0, at: { Time: { __timestamp_micros_since_unix_epoch__: 0 } }, what: 'by hand' }];
  assert.equal((await host.call('timers', 'fire', row, { token: stranger })).status, 404);
  assert.equal((await host.call('timers', 'fire', row)).status, 200);
  assert.equal(count('by hand'), 1);
});

test('an interval of 0 and a time years ahead are refused with the reason (47, 48)', async () => {
  let r = await host.call('timers', 'every_ms', [0, 'never']);
  assert.equal(r.status, 530);
  assert.match(r.text, /interval of 0/);
  r = await host.call('timers', 'in_ms', [3 * 365 * 86400e3, 'never']);
  assert.match(r.text, /two years/);
});

test('a database that nobody uses is closed, and opened again in time', async () => {
  await db('in_ms', 4000, 'asleep');
  const due = Date.now() + 4000;
  await closed();
  assert.ok(Date.now() < due, 'it was closed before its row was due');
  await until('the row', () => count('asleep') === 1);
  assert.ok(Date.now() > due - 50);
});

test('a host that starts picks up what fell due meanwhile, unasked (43), and runs nothing twice (45)', async () => {
  await db('in_ms', 300, 'missed');
  await db('in_ms', 1, 'done before');
  await until('the early one', () => count('done before') === 1);
  await host.kill('SIGKILL');
  await sleep(500);
  await host.start();
  await until('the row', () => count('missed') === 1);
  await closed();
  await host.stop();
  await host.start();
  await sleep(300);
  assert.equal(count('missed'), 1);
  assert.equal(count('done before'), 1);
});

test('a function that kills the worker does so once: its row goes, the others run', async () => {
  await db('in_ms', 200, 'crash');
  await db('in_ms', 250, 'behind the crash');
  await db('every_ms', 100, 'steady');
  await until('the row behind', () => count('behind the crash') === 1);
  await until('the interval', () => count('steady') > 3);
  assert.equal((await host.sql('timers', "SELECT * FROM timer WHERE what = 'crash'")).length, 0);
  assert.match((await host.logs('timers')).map(l => l.message).join('\n'), /`fire`, called for row \d+ of `timer`, ended with the module's process/);
  assert.equal(host.output.match(/the worker was/g).length, 1);
});

test('an endless one is ended by the watchdog, and not begun again', async () => {
  await db('in_ms', 1, 'loop');
  await until('the watchdog', async () => (await host.logs('timers')).some(l => /ran longer than 1500 ms/.test(l.message)));
  await until('the row to go', async () => (await host.sql('timers', "SELECT * FROM timer WHERE what = 'loop'")).length === 0);
  const before = count('steady');
  await until('the interval to go on', () => count('steady') > before);
});

test('a worker that somebody else kills has killed nothing: its rows run', async () => {
  await db('in_ms', 400, 'survivor');
  for (const pid of host.workers()) process.kill(pid, 'SIGKILL');
  await until('the row', () => count('survivor') === 1);
});

test('a publish goes through while an interval runs, and it runs on', async () => {
  const before = count('steady');
  await host.mustPublish('timers', next);
  await until('the interval to go on', () => count('steady') > before + 2);
  const rows = await host.sql('timers', "SELECT * FROM ran WHERE what = 'steady'");
  assert.equal(rows.at(-1).length, 6);
  await db('cancel_all');
});

test('a hundred thousand due rows starve no caller, and callers starve no row', async () => {
  const client = new Wire(host.port, 'timers', { token: host.token });
  await client.opened;
  const answers = [client.call('many', u32(100000)), ...Array.from({ length: 500 }, () => client.call('ask', Buffer.alloc(0)))];
  for (const answer of await within('the answers', Promise.all(answers), 60)) assert.equal(answer.outcome, 'ok');
  client.close();
  await until('all rows', () => count('many') === 100000, 60);
  const asked = host.psql("select id from timers.ran where what = 'asked' order by id").split('\n').map(Number);
  const first = Number(host.psql("select min(id) from timers.ran where what = 'many'")), last = Number(host.psql("select max(id) from timers.ran where what = 'many'"));
  assert.equal(asked.length, 500);
  assert.ok(asked[0] - first < 20000, `the first caller waited for ${asked[0] - first} rows`);
  assert.ok(asked.at(-1) < last, 'rows went on behind the callers');
  assert.ok(asked.at(-1) - asked[0] < 20000, 'callers and rows took turns');
});

test('a scheduled procedure finds its one-shot row gone (40), and delays nobody (50)', async () => {
  await db('job_in_ms', 10, 'slow job', 1500);
  await db('job_in_ms', 20, 'quick job', 0);
  await db('in_ms', 30, 'reducer beside');
  await until('the quick ones', () => count('quick job') === 1 && count('reducer beside') === 1);
  assert.equal(count('slow job'), 0, 'it still runs');
  await until('the slow one', () => count('slow job') === 1);
  assert.equal((await host.sql('timers', 'SELECT * FROM job')).length, 0);
});

test('an interval of a procedure: no overlap, missed ticks are skipped, a failure does not stop it', async () => {
  await db('job_every_ms', 100, 'long job', 250);
  await db('job_every_ms', 50, 'failing job', 0);
  await until('some runs', () => count('long job (its row is there)') >= 3 && count('failing job (its row is there)') >= 3);
  await db('end_jobs');
  const at = (await host.sql('timers', "SELECT * FROM ran WHERE what = 'long job (its row is there)'")).map(r => Number(r[4][0])).sort((a, b) => a - b);
  for (let i = 1; i < at.length; i++) assert.ok(at[i] - at[i - 1] > 240000, `runs end ${at[i] - at[i - 1]} us apart`);
});

test('a procedure that kills the worker is not begun again', async () => {
  await db('job_in_ms', 10, 'crash job', 0);
  await until('the crash', async () => (await host.logs('timers')).some(l => /`work`|work/.test(l.message) && /SIGILL|Illegal/.test(l.message)));
  await db('in_ms', 10, 'after the crash job');
  await until('the next row', () => count('after the crash job') === 1);
  assert.equal((await host.sql('timers', 'SELECT * FROM job')).length, 0);
});

test('while PostgreSQL is away they wait, bounded, and lose nothing', async () => {
  await db('every_ms', 20, 'through');
  await until('the interval', () => count('through') > 3);
  const pg = host.postmaster();
  spawnSync('kill', ['-STOP', String(pg)]);
  for (const child of spawnSync('pgrep', ['-P', String(pg)], { encoding: 'utf8' }).stdout.split('\n').filter(Boolean)) spawnSync('kill', ['-STOP', child]);
  await sleep(1500);
  for (const child of spawnSync('pgrep', ['-P', String(pg)], { encoding: 'utf8' }).stdout.split('\n').filter(Boolean)) spawnSync('kill', ['-CONT', child]);
  spawnSync('kill', ['-CONT', String(pg)]);
  const before = count('through');
  await until('the interval to go on', () => count('through') > before + 5);
  const rows = await host.sql('timers', "SELECT * FROM ran WHERE what = 'through'");
  await db('cancel_all');
  const settled = count('through');
  assert.ok(settled >= rows.length);
  assert.equal((await host.sql('timers', "SELECT * FROM ran WHERE what = 'through'")).length, settled);
});

await main(() => host.stop());
