// What keeps modules apart is told; who may create databases; a module that dies again and again is stopped, says so everywhere, and a repaired one heals it;
// what a crash leaves in the log.
import { Host, compileText, main, test, until, within } from './lib.mjs';
import { Wire } from '../clients/wire.mjs';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import assert from 'node:assert/strict';

const source = good => `#include "spacetimedb.h"
ST_MODULE(frail, "1.0.0");
ST_TABLE(mark, PUBLIC, (uint32_t, id, PK));
static __attribute__((noinline)) void deep_inside(volatile int *p) { *p = 1; }
static __attribute__((noinline)) uint64_t endless(uint64_t n) { volatile char room[4096]; room[n % 4096] = 1; return endless(n + 1) + room[0]; }
ST_REDUCER(note, (uint32_t, id)) { mark m = { id }; return mark_insert(ctx->db, &m); }
ST_REDUCER(null_write) { ${good ? '' : 'deep_inside(0);'} return ST_OK; }
ST_REDUCER(wild_write) { deep_inside((volatile int *)0x123456789000); return ST_OK; }
ST_REDUCER(overflow) { return endless(1) ? ST_OK : ST_E_USER; }
ST_REDUCER(divide, (int32_t, by)) { volatile int32_t x = 7; x = x / by; return ST_OK; }
ST_REDUCER(trap) { __builtin_trap(); }
`;
const host = await new Host({ args: ['--call-timeout-ms', '700'] }).start();
const frail = compileText('frail', source(false)), repaired = compileText('repaired', source(true));
const someone = async h => JSON.parse((await h.http('POST', '/v1/identity', { token: null })).text);
const status = async h => JSON.parse((await h.http('GET', '/v1/server/status')).text);
const condition = async name => (await status(host)).databases.find(d => d.name === name);
const messages = async name => (await host.logs(name)).map(l => l.message).join('\n');

test('what confines the workers is logged at the start and shown by `server status`', async () => {
  const c = (await status(host)).containment;
  if (process.env.SANITIZED) {
    assert.equal(c.confined, false);
    assert.match(c.missing, /sanitizer/);
    return;
  }
  assert.equal(c.confined, true, JSON.stringify(c));
  assert.ok(c.landlock_abi >= 1 && c.seccomp && c.no_new_privs);
  assert.equal(c.own_users, process.getuid() === 0);
  assert.match(host.output, /workers are confined: no_new_privs, Landlock \(ABI \d+\), seccomp/);
  const out = host.mustCli(['server', 'status']);
  assert.match(out, /^Workers: confined \(Landlock ABI \d+, seccomp: true/m);
  assert.equal(JSON.parse(host.mustCli(['server', 'status', '--json'])).containment.confined, true);
});

test('what a crash leaves in the log: the signal, the kind of access, the module\'s function', async () => {
  if (process.env.SANITIZED) return console.log('# skipped: a sanitizer reports crashes in its own way');
  for (const [reducer, args, pattern, answer] of [
    ['null_write', [], /SIGSEGV: invalid access to address 0x0 \(null pointer\) at offset 0x[0-9a-f]+ of [^ ]+\.so \(in deep_inside\+0x[0-9a-f]+\)/, /SIGSEGV/],
    ['wild_write', [], /SIGSEGV: invalid access to address 0x123456789000 at offset 0x[0-9a-f]+ of [^ ]+\.so \(in deep_inside\+0x/, /SIGSEGV/],
    ['overflow', [], /stack overflow \(SIGSEGV at address 0x[0-9a-f]+\) at offset 0x[0-9a-f]+ of [^ ]+\.so \(in endless/, /SIGSEGV/],
    ['divide', [0], /SIGFPE: integer division by zero at offset 0x[0-9a-f]+ of [^ ]+\.so \(in (st_call_)?divide/, /SIGFPE/],
    ['trap', [], /SIGILL at offset 0x[0-9a-f]+ of [^ ]+\.so \(in (st_call_)?trap/, /SIGILL/],
  ]) {
    const name = `facts-${reducer.replaceAll('_', '-')}`; // a database each: deaths in a row are counted
    await host.mustPublish(name, frail);
    const r = await host.call(name, reducer, args);
    assert.ok(r.status >= 500, `${reducer}: ${r.status}`);
    assert.match(r.text, new RegExp(`reducer \`${reducer}\` ended with the module's process: killed by signal \\d+ \\([^)]+\\): [^]*${answer.source}`));
    assert.doesNotMatch(r.text, /\/run\/|\/tmp\//, 'no path of the host is told');
    await until(`the facts of ${reducer} in the log`, async () => pattern.test(await messages(name)));
    assert.equal((await host.call(name, 'note', [1])).status, 200);
  }
});

const patient = compileText('patient', `#include "spacetimedb.h"
ST_MODULE(patient, "1.0.0");
ST_TABLE(mark, PUBLIC, (uint32_t, id, PK));
ST_TABLE(alarm, PRIVATE, (uint64_t, id, PK_AUTO), (st_schedule_at, at));
static st_status spin(void) { for (volatile int i = 0; i >= 0; i = (i + 1) & 1023) ; return ST_OK; }
static st_status begin(st_reducer_ctx *ctx) { mark m = { 666 }; return mark_insert(ctx->db, &m); }
ST_REDUCER(note, (uint32_t, id)) { mark m = { id }; return mark_insert(ctx->db, &m); }
ST_REDUCER(computes) { st_status s = begin(ctx); return s ? s : spin(); }
ST_REDUCER(reads) { st_status s = begin(ctx); if (s) return s; for (;;) mark_find_by_id(ctx->db, 1); return ST_OK; }
ST_REDUCER(counts) { st_status s = begin(ctx); if (s) return s; for (;;) mark_count(ctx->db); return ST_OK; }
ST_REDUCER(logs) { st_status s = begin(ctx); if (s) return s; for (;;) st_log_info(ctx, "again"); return ST_OK; }
ST_REDUCER(ring, (alarm, row)) { (void)row; st_status s = begin(ctx); return s ? s : spin(); }
ST_SCHEDULE(alarm, at, ring);
ST_REDUCER(set) { alarm a = { .at = st_at(ctx->timestamp) }; return alarm_insert(ctx->db, &a); }
ST_ANON_VIEW(turns, PUBLIC, mark) { (void)ctx; return spin(); }
ST_REDUCER(deaf) {
    uint64_t all = ~(uint64_t)0; long ret;
    __asm__ volatile("mov $8, %%r10; syscall" : "=a"(ret) : "a"(14L), "D"(0L), "S"(&all), "d"(0L) : "rcx", "r10", "r11", "memory");
    return spin();
}
`);

test('a call that runs too long is ended at its edge: rolled back, the reason told, and the worker goes on (88)', async () => {
  await host.mustPublish('patient', patient);
  assert.equal((await host.call('patient', 'note', [1])).status, 200);
  const mine = () => host.workers().join(), before = mine();
  for (const reducer of ['computes', 'reads', 'counts', 'logs']) {
    const r = await host.call('patient', reducer, []);
    assert.equal(r.status, 530, r.text);
    assert.match(r.text, new RegExp(`\`${reducer}\` ran longer than 700 ms \\(--call-timeout-ms\\)`));
  }
  assert.equal((await host.call('patient', 'set', [])).status, 200);
  await until('the scheduled one to be ended, too', async () => /`ring` ran longer than 700 ms \(--call-timeout-ms\)/.test(await messages('patient')));
  const view = await host.http('POST', '/v1/database/patient/sql', { body: 'SELECT * FROM turns' });
  assert.equal(view.status, 400, view.text);
  assert.match(view.text, /view `turns`: `turns` ran longer than 700 ms/);
  assert.deepEqual(await host.sql('patient', 'SELECT id FROM mark'), [[1]]);
  assert.equal((await host.call('patient', 'note', [2])).status, 200);
  assert.equal(mine(), before, 'no worker was replaced');
  if (process.arch !== 'x64' || process.env.SANITIZED) return;
  const r = await host.call('patient', 'deaf', []); // it hears no signal: the last step
  assert.match(r.text, /reducer `deaf` ended with the module's process: [^]*ran longer than 700 ms/);
  assert.equal((await host.call('patient', 'note', [3])).status, 200);
});

test('a module that dies again and again is stopped, says so, and answers at once', async () => {
  await host.mustPublish('frail', frail);
  assert.equal((await host.call('frail', 'note', [1])).status, 200);
  const wire = new Wire(host.port, 'frail', { token: host.token });
  await wire.opened;
  let seen = new Set(), deaths = 0;
  await until('the database to be stopped', async () => {
    await host.call('frail', 'null_write', []);
    deaths++;
    const c = await condition('frail');
    seen.add(c.state);
    return c.state === 'stopped';
  }, 60);
  assert.ok(deaths > 3, 'a few deaths are forgiven');
  const c = await condition('frail');
  assert.ok(c.crashes > 3, JSON.stringify(c));
  assert.match(c.error, /died \d+ times in a row/);
  assert.match(c.error, /publish a repaired module/);
  assert.equal((await within('its client to be told', wire.closed)).code, 1011);
  const start = await host.call('frail', 'note', [2]);
  assert.ok(start.status >= 500, `${start.status} ${start.text}`);
  assert.match(start.text, /died \d+ times in a row/);
  assert.match(host.mustCli(['list']), /frail.*\| *stopped: .*died \d+ times in a row/);
  const described = host.cli(['describe', 'frail']);
  assert.match(described.out + described.err, /State: stopped: .*died \d+ times in a row/);
  assert.match(host.mustCli(['server', 'status']), /frail.*stopped/);
});

test('other databases are open meanwhile, and it is said so', async () => {
  await host.mustPublish('sound', repaired);
  assert.equal((await host.call('sound', 'note', [1])).status, 200);
  assert.match(host.mustCli(['list']), /sound.*\| *open/);
  assert.match(host.mustCli(['describe', 'sound']), /^State: open$/m);
});

test('publishing a repaired module heals it at once: rows are there, calls run', async () => {
  await host.mustPublish('frail', repaired);
  assert.equal((await host.call('frail', 'null_write', [])).status, 200);
  assert.deepEqual(await host.sql('frail', 'SELECT * FROM mark'), [[1]]);
  assert.equal((await condition('frail')).state, 'open');
  assert.equal((await condition('frail')).error, '');
});

test('a list of owners: they may create databases, others may not; who has one may update it', async () => {
  const [ann, bob] = [await someone(host), await someone(host)];
  await host.mustPublish('bobs', repaired, { token: bob.token }); // while anybody on this machine may
  await host.stop();
  const file = join(host.dir, 'owners.txt');
  writeFileSync(file, `# the ones we know\n${ann.identity} # Ann\n`);
  const args = host.args;
  host.args = [...args, '--publish-owners', `@${file}`];
  await host.start();
  await host.mustPublish('anns', repaired, { token: ann.token });
  const refused = await host.publish('bobs-second', repaired, { token: bob.token });
  assert.equal(refused.status, 403, refused.text);
  assert.ok(refused.text.includes(bob.identity) && /--publish-owners/.test(refused.text), refused.text);
  assert.equal((await host.http('GET', '/v1/database/bobs-second')).status, 404);
  await host.mustPublish('bobs', frail, { token: bob.token });
  assert.equal((await host.publish('nobodys', repaired, { token: null })).status === 200, false, 'an identity made for the request is not listed');
  writeFileSync(file, `${ann.identity},\n${bob.identity}`);
  await host.mustPublish('bobs-second', repaired, { token: bob.token }); // read anew
  writeFileSync(file, 'not an identity');
  const broken = await host.publish('third', repaired, { token: ann.token });
  assert.equal(broken.status, 500);
  assert.match(host.output, /`not` is not an identity/);
  await host.stop();
  host.args = [...args, '--publish-owners', 'nonsense'];
  await assert.rejects(host.start(), /`nonsense` is not an identity \(64 hex digits/);
  host.args = [...args, '--publish-owners', `${bob.identity}`];
  await host.start();
  assert.equal((await host.publish('anns-second', repaired, { token: ann.token })).status, 403);
  host.args = args;
});

await main(() => host.stop());
