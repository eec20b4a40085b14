// Modules that attack: files that are no modules, code that crashes, loops, hoards or reaches for the kernel. Each costs its own database
// the running call, and nobody else anything.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { Host, compileText, test, main, modulePath, root, scratchDir, sleep, until, within } from './lib.mjs';
import { Wire, str, u32 } from '../clients/wire.mjs';

const host = await new Host({ args: ['--call-timeout-ms', '2500', '--worker-memory', String(768 << 20)] }).start();
const modules = join(root, 'tests/integration/modules');
const villain = modulePath(join(modules, 'villain.c')), people = modulePath(join(modules, 'people.c'));
const match = (text, pattern, what = '') => assert.ok(pattern.test(text), `${what}: ${pattern} does not match ${String(text).slice(0, 600)}`);
await host.mustPublish('villain', villain);
await host.mustPublish('victim', people);

// A client of another database on the same host: it must be served the whole time.
const beside = new Wire(host.port, 'victim', { token: host.token });
await beside.opened;
let stop = false, served = 0, slowest = 0;
const besideRuns = (async () => {
  while (!stop) {
    const start = Date.now(), r = await beside.call('nothing', Buffer.alloc(0));
    assert.equal(r.outcome, 'ok', 'the other database');
    slowest = Math.max(slowest, Date.now() - start);
    served++;
    await sleep(1);
  }
})();

let acknowledged = 0;
const note = async () => {
  const r = await until('the database to work again', async () => { const x = await host.call('villain', 'note', [acknowledged + 1]); return x.status === 200 ? x : (() => { throw new Error(`${x.status} ${x.text}`); })(); });
  acknowledged++;
  return r;
};
const intact = async () => {
  const rows = await host.sql('villain', 'SELECT id FROM mark');
  assert.deepEqual(rows.map(([id]) => id).sort((a, b) => a - b), Array.from({ length: acknowledged }, (_, i) => i + 1), 'acknowledged rows are there, and nothing of the attacks');
};

// ---- files that are no modules ----

const good = readFileSync(people);
const patched = (at, ...values) => { const b = Buffer.from(good); values.forEach((v, i) => { b[at + i] = v; }); return b; };
const built = (name, text) => readFileSync(compileText(name, `#include "spacetimedb.h"\n${text}`));
const mini = 'ST_MODULE(mini, "1");\nST_REDUCER(go) { return ST_OK; }\n';

test('files that are no modules are refused with what is wrong, and change nothing', async () => {
  const noModule = readFileSync(compileText('nomodule', '__attribute__((visibility("default"))) int hello(void) { return 1; }\n'));
  writeFileSync(join(scratchDir(), 'prog.c'), 'int main(void) { return 0; }\n');
  spawnSync('gcc', [join(scratchDir(), 'prog.c'), '-o', join(scratchDir(), 'prog')]);
  writeFileSync(join(scratchDir(), 'early.c'), `#include "spacetimedb.h"\n${mini}void early(void) { *(volatile int *)0 = 1; }`);
  assert.equal(spawnSync('gcc', ['-fPIC', '-shared', '-O0', '-Wl,-init,early', '-I', join(root, 'sdk'), join(scratchDir(), 'early.c'), '-o', join(scratchDir(), 'early.so')]).status, 0);
  const crashing = readFileSync(join(scratchDir(), 'early.so'));
  for (const [what, file, pattern] of [
    ['text', Buffer.from('hello, I am a module'), /not an ELF file/],
    ['one byte', Buffer.from([0x7f]), /not an ELF file/],
    ['WebAssembly', Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...Array(100).fill(0)]), /WebAssembly/],
    ['another machine', patched(18, 0x08, 0x00), /machine/],
    ['32-bit', patched(4, 1), /32-bit/],
    ['big-endian', patched(5, 2), /big-endian/],
    ['the header only', good.subarray(0, 64), /cut short/],
    ['half a file', good.subarray(0, good.length >> 1), /cut short/],
    ['an object file', patched(16, 1, 0), /not a shared library/],
    ['a program', readFileSync(join(scratchDir(), 'prog')), /program|not a shared library/],
    ['no st_module', noModule, /no st_module/],
    ['another ABI', built('abi', '#undef ST_ABI_MAJOR\n#define ST_ABI_MAJOR 77\n' + mini), /77\.0[^]*1\.|ABI|77/],
    ['a constructor', built('ctor', mini + '__attribute__((constructor)) static void early(void) { __asm__ volatile("nop" ::: "memory"); }'), /constructors/],
    ['a destructor', built('dtor', mini + '__attribute__((destructor)) static void late(void) { __asm__ volatile("nop" ::: "memory"); }'), /destructors/],
    ['a crash while it is loaded', crashing, /SIGSEGV|crash|killed by signal/],
    ['a resolver that crashes at load', built('ifunc', mini + 'static int real(void) { return 1; }\nstatic void *pick(void) { *(volatile int *)0 = 1; return (void *)real; }\n__attribute__((visibility("default"))) int picked(void) __attribute__((ifunc("pick")));\nST_REDUCER(use) { return picked() ? ST_OK : ST_E_USER; }'), /picked|SIGSEGV|resolver|ifunc|indirect|killed by signal/i],
    ['system()', built('sys', mini + 'extern int system(const char *);\nST_REDUCER(bad) { return system("id") ? ST_OK : ST_E_USER; }'), /it uses system: a module starts no programs/],
    ['fork()', built('fork', mini + 'extern int fork(void);\nST_REDUCER(bad) { return fork() ? ST_OK : ST_E_USER; }'), /it uses fork: a module starts no programs/],
    ['socket()', built('sock', mini + 'extern int socket(int, int, int);\nST_REDUCER(bad) { return socket(1, 1, 0) ? ST_OK : ST_E_USER; }'), /it uses socket: a module has no network/],
    ['pthread_create()', built('thread', mini + '#include <pthread.h>\nstatic void *f(void *p) { return p; }\nST_REDUCER(bad) { pthread_t t; return pthread_create(&t, 0, f, 0) ? ST_OK : ST_E_USER; }'), /it uses pthread_create: a module starts no threads/],
    ['malloc\'s friend syscall()', built('sysc', mini + 'extern long syscall(long, ...);\nST_REDUCER(bad) { return syscall(1) ? ST_OK : ST_E_USER; }'), /it uses syscall/],
    ['writable globals', built('glob', mini + 'int counter = 1;\nstatic int hidden;\nST_REDUCER(bad) { return ++counter + ++hidden ? ST_OK : ST_E_USER; }'), /counter is writable/],
    ['thread-local variables', built('tls', mini + 'static __thread int mine = 3;\nST_REDUCER(bad) { return ++mine ? ST_OK : ST_E_USER; }'), /thread-local/],
  ]) {
    for (const name of ['villain', 'fresh-one']) {
      const r = await host.http('PUT', `/v1/database/${name}`, { body: file });
      assert.ok(r.status === 400 || (r.status === 500 && /crash|picked|resolver/.test(what)), `${what} to ${name}: ${r.status} ${r.text}`);
      match(r.text, pattern, what);
      assert.doesNotMatch(r.text, /\/run\/|\/tmp\//, `${what}: no path of the host is told`);
    }
  }
  assert.equal((await host.http('GET', '/v1/database/fresh-one')).status, 404, 'no database came out of it');
  assert.equal(host.psql(`select count(*) from pg_namespace where nspname = 'fresh-one'`), '0');
  await note();
});

test('60 damaged module files: an answer each, and the host stands', async () => {
  let seed = 99;
  const random = n => { seed = (seed * 1103515245 + 12345) & 0x7fffffff; return (seed >> 8) % n; };
  const pid = host.process.pid, answers = {};
  await Promise.all(Array.from({ length: 3 }, async () => {
    for (let i = 0; i < 20; i++) {
      const b = Buffer.from(good);
      for (let k = 0; k < 1 + random(30); k++) b[random(i % 2 ? b.length : 4096)] = random(256);
      const r = await within('the answer to a damaged file', host.http('POST', '/v1/database/villain/pre_publish', { body: b }), 30);
      assert.ok([200, 400, 500].includes(r.status) && r.text.length > 10, `${r.status} ${r.text}`);
      answers[r.status] = (answers[r.status] ?? 0) + 1;
    }
  }));
  console.log(`# ${JSON.stringify(answers)}`);
  assert.ok(!host.process.gone && host.process.pid === pid);
  await note();
  await intact();
});

// ---- code that attacks ----

const arm = process.arch === 'arm64';
const nr = arm ? { openat: 56, socket: 198, clone: 220, kill: 129, ptrace: 117, execve: 221, exit_group: 94, getppid: 173, mprotect: 226, memfd_create: 279, process_vm_readv: 270, unlinkat: 35, setuid: 146, io_uring_setup: 425, bpf: 280 }
  : { openat: 257, open: 2, socket: 41, clone: 56, fork: 57, vfork: 58, kill: 62, ptrace: 101, execve: 59, exit_group: 231, getppid: 110, mprotect: 10, memfd_create: 319, process_vm_readv: 310, unlinkat: 263, setuid: 105, io_uring_setup: 425, bpf: 321 };
const kernel = (name, a = 0, b = 0, c = 0, path = '') => ['enter_kernel', [nr[name], a, b, c, path]];
const refused = /enter_kernel[^]*(system call \w+ \(\d+\) is not allowed|SIGSYS|signal 31)|the kernel answered -/;
const crashes = (reducer, signal) => new RegExp(`${reducer}[^]*${signal}`);
const attacks = [
  ['a null pointer', 'null_pointer', [], crashes('null_pointer', 'SIGSEGV[^]*null pointer'), /null pointer/],
  ['a wild jump', 'wild_jump', [], crashes('wild_jump', 'SIGSEGV')],
  ['endless recursion', 'deep_stack', [], crashes('deep_stack', 'stack overflow'), /stack overflow/],
  ['a division by zero', 'divide', [0], crashes('divide', 'division by zero'), /division by zero/],
  ['a trap', 'trap', [], crashes('trap', 'SIGILL|SIGTRAP'), /SIGILL|trap/],
  ['an endless loop', 'spin', [], /spin[^]*2500 ms/, /2500 ms/],
  ['an endless loop of host calls', 'spin_in_host', [], /spin_in_host[^]*2500 ms/, /2500 ms/],
  ['scratch memory without end', 'hoard', [], process.env.SANITIZED ? /268435456 bytes of scratch memory|2500 ms/ : /268435456 bytes of scratch memory/],
  ['scratch memory at once', 'hoard_at_once', [], /268435456 bytes of scratch memory/],
  ['rows without end', 'hoard_rows', [], /heap[^]*(limit|exceed|memory|too large|bytes)|hoard_rows[^]*(memory|2500 ms)/i],
  ['a false pointer', 'false_pointer', [], /false_pointer[^]*SIGSEGV|outside|pointer|note/],
  ['a false length', 'false_length', [], /note|false_length/],
  ['going on after a failed write', 'ignore_failure', [], /mark[^]*id/],
  ['exit', ...kernel('exit_group', 0), /enter_kernel[^]*(exit|ended)/],
  ['reading /etc/passwd', ...kernel('openat', -100, 1, 0, '/etc/passwd'), refused],
  ['a socket', ...kernel('socket', 2, 1, 0), refused],
  ['clone', ...kernel('clone', 17), refused],
  ...(arm ? [] : [['fork', ...kernel('fork'), refused], ['open', ...kernel('open', 0, 0, 0, '/etc/passwd'), refused]]),
  ['ptrace', ...kernel('ptrace', 16, 1), refused],
  ['execve', ...kernel('execve', 0, 0, 0, '/bin/sh'), refused],
  ['setuid(0)', ...kernel('setuid', 0), refused],
  ['memfd_create', ...kernel('memfd_create', 0), refused],
  ['process_vm_readv', ...kernel('process_vm_readv', 1), refused],
  ['unlinkat', ...kernel('unlinkat', -100, 1, 0, '/etc/passwd'), refused],
  ['io_uring_setup', ...kernel('io_uring_setup', 4), refused],
  ['bpf', ...kernel('bpf', 0), refused],
  ['killing the host', 'shoot_host', [nr.getppid, nr.kill], /shoot_host[^]*(system call kill|SIGSYS|signal 31)|the kernel answered -/],
];

for (const [what, reducer, args, pattern, logPattern] of attacks) {
  if (process.env.SANITIZED && pattern === refused) {
    console.log(`# skipped, a sanitized worker has no sandbox: ${what}`);
    continue;
  }
  test(`${what}: the caller hears why, the clients stay, the rows stay`, async () => {
    await note();
    const client = new Wire(host.port, 'villain', { token: host.token });
    await client.opened;
    const before = served, pid = host.process.pid;
    const overHttp = await within('the answer over HTTP', host.call('villain', reducer, args));
    assert.equal(overHttp.status, 530, overHttp.text);
    match(overHttp.text, pattern, 'HTTP');
    await note();
    assert.equal((await within('the WebSocket client', client.call('note', u32(acknowledged + 1)))).outcome, 'ok', 'it is still connected');
    acknowledged++;
    await intact();
    client.close();
    const lines = (await host.logs('villain')).filter(l => l.level === 'Panic' || l.level === 'Error');
    assert.ok(lines.length, 'the log has an error');
    if (logPattern) assert.ok(lines.some(l => logPattern.test(l.message)), `its log tells why: ${JSON.stringify(lines.slice(-3))}`);
    assert.ok(!host.process.gone && host.process.pid === pid);
    await until('the other database to be served', () => served > before);
  });
}

test('a crash with many calls in flight fails the running one only, and all answers come in order', async () => {
  const client = new Wire(host.port, 'villain', { token: host.token });
  await client.opened;
  const base = acknowledged, answers = [];
  await within('50 answers', Promise.all(Array.from({ length: 50 }, (_, i) =>
    (i === 20 ? client.call('null_pointer', Buffer.alloc(0)) : client.call('note', u32(base + (i < 20 ? i + 1 : i)))).then(r => answers.push([i, r.outcome, r.text])))));
  client.close();
  assert.deepEqual(answers.map(([i]) => i).filter(i => i !== 20), [...Array(50).keys()].filter(i => i !== 20), 'in the order of the calls'); // those before the crash may have had no record yet: they ran again
  assert.deepEqual(answers.filter(([, outcome]) => outcome !== 'ok').map(([i]) => i), [20]);
  match(answers.find(([i]) => i === 20)[2], /null_pointer[^]*SIGSEGV/);
  acknowledged += 49;
  await intact();
});

test('the other database was served throughout', async () => {
  stop = true;
  await within('the last call beside', besideRuns);
  console.log(`# ${served} calls beside, the slowest took ${slowest} ms`);
  assert.ok(served > 500 && slowest < 3000, `${served} calls, slowest ${slowest} ms`);
  beside.close();
});

test('what was acknowledged is in PostgreSQL too', () => {
  host.psql(`select spacetime.settle('villain')`);
  assert.equal(host.psql('select count(*), max(id) from villain.mark'), `${acknowledged}|${acknowledged}`);
});

// ---- at the door ----

await host.mustPublish('doorman', modulePath(join(modules, 'doorman.c')));
const newcomer = async () => JSON.parse((await host.http('POST', '/v1/identity')).text);
const visits = async identity => (await host.sql('doorman', 'SELECT * FROM visit')).find(([who]) => BigInt(who[0]) === BigInt('0x' + identity))?.slice(1);
const mode = async m => assert.equal((await host.call('doorman', 'set_mode', [m])).status, 200);

test('client_connected may refuse: 403 and a closed socket with its text', async () => {
  await mode(1);
  const someone = await newcomer();
  const r = await host.call('doorman', 'knock', [], { token: someone.token });
  assert.deepEqual([r.status, r.text], [403, 'the door is shut']);
  assert.equal((await host.http('POST', '/v1/database/doorman/sql', { token: someone.token, body: 'SELECT * FROM visit' })).status, 403);
  const wire = new Wire(host.port, 'doorman', { token: someone.token });
  const closed = await within('the refusal', wire.closed);
  match(closed.reason, /the door is shut/);
  await mode(0);
  assert.equal(await visits(someone.identity), undefined, 'a refused client never was here, and does not leave');
  assert.equal((await host.call('doorman', 'knock', [], { token: someone.token })).status, 200);
  await until('one visit', async () => String(await visits(someone.identity)) === '1,1');
});

test('client_connected that crashes refuses that client only', async () => {
  await mode(2);
  const someone = await newcomer();
  const owner = new Wire(host.port, 'doorman', { token: host.token });
  await owner.opened;
  const r = await within('the refusal', host.call('doorman', 'knock', [], { token: someone.token }));
  assert.ok([403, 530, 500, 503].includes(r.status), `${r.status}`);
  match(r.text, /SIGILL|SIGTRAP|crash|process/);
  const wire = new Wire(host.port, 'doorman', { token: someone.token });
  await within('the refusal over WebSocket', wire.closed);
  assert.equal((await within('the owner', owner.call('knock', Buffer.alloc(0)))).outcome, 'ok', 'the owner stays connected');
  owner.close();
  await mode(0);
  assert.equal(await visits(someone.identity), undefined);
});

test('client_disconnected that fails or crashes does not take the database down', async () => {
  for (const m of [3, 4]) {
    await mode(m);
    const someone = await newcomer();
    const wire = new Wire(host.port, 'doorman', { token: someone.token });
    await wire.opened;
    await wire.call('knock', Buffer.alloc(0));
    wire.close();
    await until(`the owner is served again (mode ${m})`, async () => (await host.call('doorman', 'set_mode', [0])).status === 200);
    assert.equal((await visits(someone.identity))[0], 1);
    await until('the log says it', async () => (await host.logs('doorman')).some(l => ['Error', 'Panic'].includes(l.level) && (m === 3 ? /nobody leaves/ : /SIGILL|SIGTRAP/).test(l.message)));
  }
});

test('client_disconnected runs once for each client, also after kill -9 of worker and host', async () => {
  const people = await Promise.all([1, 2, 3, 4, 5].map(newcomer));
  const wires = people.map(p => new Wire(host.port, 'doorman', { token: p.token }));
  await Promise.all(wires.map(w => w.opened));
  await Promise.all(wires.map(w => w.call('knock', Buffer.alloc(0))));
  wires[0].close();
  await until('the first to have gone', async () => String(await visits(people[0].identity)) === '1,1');
  for (const pid of host.workers()) process.kill(pid, 'SIGKILL');
  assert.equal((await within('a call over the crash', wires[1].call('knock', Buffer.alloc(0)))).outcome, 'ok');
  for (const p of people.slice(1)) assert.deepEqual(await visits(p.identity), [1, 0], 'a crash of the worker is no farewell');
  wires[1].close();
  await until('the second to have gone', async () => String(await visits(people[1].identity)) === '1,1');
  await host.kill('SIGKILL');
  await host.start();
  await until('the others to have gone', async () => (await Promise.all(people.map(p => visits(p.identity)))).every(v => v[0] === 1 && v[1] >= 1));
  await sleep(300);
  for (const p of people) assert.deepEqual(await visits(p.identity), [1, 1]);
  const [came, went] = await visits(host.identity);
  assert.ok(came - went === 1, `HTTP calls come and go too: ${came} came, ${went} went (the one that asks is still here)`);
});

await main(() => host.stop());
