// Modules that attack: each of tests/hostile/modules is published as a database of its own, and does what it is made for. Whatever that is: the host and
// another database serve throughout, no acknowledged row of any database is lost or changed, the attacker's database comes back, and
// nothing outside was read or written. What a module's first lines mean stands in attack.h.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync, chmodSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { Host, main, root, scratchDir, sleep, test, until, within } from '../integration/lib.mjs';
import { Wire, u32 } from '../clients/wire.mjs';

const dir = join(root, 'tests/hostile/modules'), MIB = 1 << 20;
const secret = 'CANARY_IN_THE_ENVIRONMENT=a-secret-that-no-module-may-see';
const host = await new Host({
  args: ['--call-timeout-ms', '1000', '--view-timeout-ms', '500', '--worker-memory', String(512 * MIB), '--transaction-bytes', String(64 * MIB), '--log-rate', '2000'],
  env: { CANARY_IN_THE_ENVIRONMENT: 'a-secret-that-no-module-may-see' },
}).start();

// ---- what nobody may touch ----

const outside = join(scratchDir(), 'outside'), canary = join(outside, 'canary');
mkdirSync(outside);
chmodSync(outside, 0o777); // whoever escapes could write here
writeFileSync(canary, 'CANARY_IN_A_FILE: nobody reads this');
chmodSync(canary, 0o666);
const state = () => JSON.stringify([readdirSync(outside), readFileSync(canary, 'utf8'), statSync(canary).mtimeMs, statSync(canary).mode, readdirSync(join(host.dir, 'data')).filter(f => f !== 'pg').sort()]);
let knocked = 0;
const listener = net.createServer(socket => { knocked++; socket.destroy(); });
await new Promise(done => listener.listen(0, '127.0.0.1', done));

// ---- the victim: a ledger of its own, written all the time ----

await host.mustPublish('victim', await build('victim', `#include "spacetimedb.h"
ST_MODULE(victim, "1.0.0");
ST_TABLE(entry, PUBLIC, (uint32_t, id, PK), (uint32_t, n));
ST_REDUCER(put, (uint32_t, id), (uint32_t, n)) { entry e = { id, n }; entry_delete_by_id(ctx->db, id); return entry_insert(ctx->db, &e); }
`));
const ledger = new Map();
const victim = new Wire(host.port, 'victim', { token: host.token });
await victim.opened;
let stop = false, served = 0, strange = 0;
victim.onMessage = tag => { strange += tag !== 0; };
const serving = (async () => {
  for (let i = 1; !stop; i++) {
    const id = i % 500, r = await within('the victim\'s call', victim.call('put', Buffer.concat([u32(id), u32(i)])), 20);
    assert.equal(r.outcome, 'ok', `the victim: ${r.text}`);
    ledger.set(id, i);
    served++;
    await sleep(1);
  }
})();
serving.catch(() => {});

// ---- building ----

async function build(name, text) {
  const file = join(scratchDir(), name);
  writeFileSync(`${file}.c`, text);
  const args = ['-std=gnu11', '-O1', '-w', '-fPIC', '-shared', '-fvisibility=hidden', '-fno-gnu-unique', '-I', join(root, 'sdk'), '-I', dir,
    `-DCANARY_FILE="${canary}"`, `-DCANARY_DIR="${outside}"`, `${file}.c`, '-o', `${file}.so`];
  await new Promise((done, failed) => {
    const child = spawn('gcc', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', d => { said += d; });
    child.on('close', status => status ? failed(new Error(`${name}: ${said}`)) : done());
  });
  return `${file}.so`;
}

const modules = readdirSync(dir).filter(f => f.endsWith('.c')).sort().map(f => {
  const text = readFileSync(join(dir, f), 'utf8'), line = key => new RegExp(`^// ${key}: (.*)$`, 'm').exec(text)?.[1];
  return { name: f.replace('.c', '').replaceAll('_', '-'), text: text.replaceAll('CANARY_PORT', String(listener.address().port)), what: line('what'), publish: line('publish'), answer: line('answer'), log: line('log'), call: line('call') };
});
let next = 0;
await Promise.all([0, 1].map(async () => { while (next < modules.length) { const m = modules[next++]; m.file = await build(m.name, m.text); } }));

// ---- one attack ----

const kernelAnswer = /is not allowed|SIGSYS|the kernel answered -/;
const sandboxed = m => !process.env.SANITIZED || !(m.answer && /the kernel answered|is not allowed/.test(m.answer));
const says = (what, text, pattern) => assert.match(String(text), new RegExp(pattern), what);
const note = (m, id) => within(`${m.name} to come back`, until(`${m.name} to take a row`, async () => {
  const r = await host.call(m.name, 'note', [id]);
  if (r.status !== 200) throw new Error(`${r.status} ${r.text}`);
  return true;
}, 40), 60);

async function attack(m) {
  const pid = host.process.pid, before = state(), servedBefore = served;
  const published = await within('the answer to the publish', host.publish(m.name, m.file), 40);
  if (m.publish) {
    assert.notEqual(published.status, 200, 'the file is refused');
    says('the refusal', published.text, m.publish);
    assert.equal((await host.http('GET', `/v1/database/${m.name}`)).status, 404, 'no database came of it');
  } else {
    assert.equal(published.status, 200, published.text);
    await note(m, 1);
    const answer = await within('the answer to the attack', host.call(m.name, 'attack', []), 40);
    assert.doesNotMatch(answer.text, /the cursors were not found/, 'the attack did not come about');
    if (m.answer === 'ok') assert.equal(answer.status, 200, answer.text);
    else if (m.answer !== '.') { assert.notEqual(answer.status, 200); says('the answer', answer.text, m.answer); }
    if (m.call) {
      const [kind, ...rest] = m.call.split(' ');
      if (kind === 'sql') {
        const r = await within('the answer to the query', host.http('POST', `/v1/database/${m.name}/sql`, { body: rest.join(' ') }), 40);
        assert.notEqual(r.status, 200, r.text);
      } else if (kind === 'stranger') {
        const { token } = JSON.parse((await host.http('POST', '/v1/identity', { token: null })).text);
        const r = await within('the answer to a stranger', host.call(m.name, 'note', [5], { token }), 40);
        assert.notEqual(r.status, 200);
        says('the stranger\'s answer', r.text, rest.join(' '));
      } else {
        const r = await within('the answer to the procedure', host.call(m.name, rest[0], []), 60);
        says('the procedure', r.text, rest.slice(1).join(' '));
      }
    }
    await note(m, 2);
    const rows = (await host.sql(m.name, 'SELECT id FROM mark WHERE id < 3')).map(([id]) => id).sort();
    assert.deepEqual(rows, [1, 2], 'its acknowledged rows are there');
    if (m.answer !== '.' && m.answer !== 'ok') assert.deepEqual(await host.sql(m.name, 'SELECT id FROM mark WHERE id >= 666'), [], 'and nothing of the attack');
    host.psql(`select spacetime.settle('${m.name}')`);
    assert.equal(host.psql(`select string_agg(id::text || note, ',' order by id) from "${m.name}".mark where id < 3`), '1acknowledged,2acknowledged', 'also in PostgreSQL');
    if (m.log) await until(`the log of ${m.name} to tell`, async () => (await host.logs(m.name)).some(l => new RegExp(m.log).test(l.message)));
    const log = JSON.stringify(await host.logs(m.name));
    for (const text of [answer.text, log]) assert.ok(!text.includes('a-secret-that-no-module-may-see') && !text.includes('CANARY_IN_A_FILE'), 'no secret came out');
  }
  assert.ok(!host.process.gone && host.process.pid === pid, 'the host is the one that it was');
  assert.equal(state(), before, 'nothing outside was changed');
  assert.equal(knocked, 0, 'nobody came through the network');
  await until('the victim to be served', () => served > servedBefore);
}

assert.ok(modules.length >= 50, `${modules.length} attacks`);
for (const m of modules) {
  if (!sandboxed(m)) { console.log(`# skipped, a sanitized worker has no sandbox: ${m.name}`); continue; }
  test(`${m.name}: ${m.what}`, async () => {
    await attack(m);
    await host.http('DELETE', `/v1/database/${m.name}`);
  });
}

test('the victim was served throughout, and every acknowledged row is as it was written, in memory and in PostgreSQL', async () => {
  stop = true;
  await within('the last call', serving, 30);
  console.log(`# ${served} calls of the victim`);
  assert.equal(strange > 1, false, 'it got no message that it did not ask for');
  const expected = [...ledger].sort((a, b) => a[0] - b[0]);
  assert.deepEqual((await host.sql('victim', 'SELECT * FROM entry')).sort((a, b) => a[0] - b[0]), expected);
  host.psql(`select spacetime.settle('victim')`);
  assert.equal(host.psql('select string_agg(id || \':\' || n, \',\' order by id) from victim.entry'), expected.map(([id, n]) => `${id}:${n}`).join(','));
  victim.close();
});

test('a host started again has the same', async () => {
  await host.stop();
  await host.start();
  assert.deepEqual((await host.sql('victim', 'SELECT * FROM entry')).sort((a, b) => a[0] - b[0]), [...ledger].sort((a, b) => a[0] - b[0]));
});

await main(async () => { listener.close(); await host.stop(); });
