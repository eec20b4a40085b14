// Every step of a publish fails once, one after another: an update, a first publish and a reset, each at every fault point (host/base/fault.h) that lies on
// its way, in every way in which that step can fail. Afterwards the old version is there whole or the new one is: which module runs, which rows it
// has, which columns and rows PostgreSQL has, whether a client of before is served; and the answer says which. Points are found by passing
// them: one that a publish does not reach is an error of this test, so that none is skipped in silence.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Host, compileText, main, scratchDir, test, until } from '../integration/lib.mjs';
import { Wire } from '../clients/wire.mjs';

const source = (which, columns, defaults) => `#include "spacetimedb.h"
ST_MODULE(points, "1.0.0");
ST_TABLE(kept, PUBLIC, (uint64_t, id, PK), (uint32_t, value)${columns});
${defaults}
ST_TABLE(moved, PUBLIC, (uint64_t, id, PK), (${which === 'old' ? 'uint32_t' : 'uint64_t'}, n));
${which === 'old' ? '' : `static st_status widen(st_reducer_ctx *ctx, const uint32_t *from, uint64_t *to) { (void)ctx; *to = *from + 7u; return ST_OK; }
ST_MIGRATION(1, "a wider column", ST_CONVERT_COLUMN(moved, n, uint32_t, widen));`}
ST_REDUCER(fill) {
    for (uint32_t i = 1; i <= 40; i++) {
        kept k = { .id = i, .value = i * 3 };
        moved m = { .id = i, .n = i };
        if (kept_insert(ctx->db, &k) || moved_insert(ctx->db, &m)) return ST_E_USER;
    }
    return ST_OK;
}
ST_REDUCER(only_${which}) { return ST_OK; }
ST_REDUCER(ping) { return ST_OK; }
ST_INIT(begin) { kept k = { .id = 1000, .value = 1 }; return kept_insert(ctx->db, &k); }
`;
const files = { old: compileText('points_old', source('old', '', '')), new: compileText('points_new', source('new', ', (uint32_t, more, INDEX)', 'ST_DEFAULT(kept, more, 5);')) };

// A host with a fault file of its own: the three kinds run side by side.
class Rig {
  constructor(kind) {
    this.faults = join(scratchDir(), `faults-${kind}`);
    writeFileSync(this.faults, '');
    this.host = new Host({ env: { SPACETIMEDB_FAULTS: this.faults } });
  }
  arm(line) { rmSync(`${this.faults}.reached`, { force: true }); writeFileSync(this.faults, line && `${line}\n`); }
  reached(name) { return existsSync(`${this.faults}.reached`) && readFileSync(`${this.faults}.reached`, 'utf8').split('\n').includes(name); }
}

// What is there: {which, rows of kept, sum of moved} in memory; the same in PostgreSQL; null: no such database.
async function state(host, name) {
  const call = async reducer => until(`an answer of ${name}`, async () => { const r = await host.call(name, reducer, []); return (r.status < 500 || r.status === 530) && r; }, 60);
  if ((await call('ping')).status === 404) {
    assert.equal(host.psql(`select count(*) from pg_namespace where nspname = '${name}'`), '0', 'no database, so no schema');
    return null;
  }
  const [a, b] = [(await call('only_old')).status, (await call('only_new')).status];
  assert.notEqual(a, b, 'exactly one version runs');
  const which = a === 200 ? 'old' : 'new', kept = await host.sql(name, 'SELECT * FROM kept'), moved = await host.sql(name, 'SELECT * FROM moved');
  host.psql(`select spacetime.settle('${name}')`);
  const columns = table => host.psql(`select string_agg(column_name || ' ' || data_type, ', ' order by ordinal_position) from information_schema.columns where table_schema = '${name}' and table_name = '${table}'`);
  const stored = { kept: host.psql(`select count(*), sum(value) from "${name}".kept`), moved: host.psql(`select count(*), coalesce(sum(n), 0) from "${name}".moved`) };
  const sum = (rows, i) => rows.reduce((s, r) => s + Number(r[i]), 0);
  assert.equal(stored.kept, `${kept.length}|${sum(kept, 1)}`, 'kept: memory and PostgreSQL');
  assert.equal(stored.moved, `${moved.length}|${sum(moved, 1)}`, 'moved: memory and PostgreSQL');
  assert.equal(columns('kept'), `id numeric, value bigint${which === 'new' ? ', more bigint' : ''}`);
  assert.equal(columns('moved'), `id numeric, n ${which === 'new' ? 'numeric' : 'bigint'}`);
  if (which === 'new') assert.ok(kept.every(r => r[2] === 5 || Number(r[0]) === 1000), 'the default is in every row');
  assert.equal(host.psql(`select count(*) from pg_indexes where schemaname = '${name}' and tablename = 'kept'`), which === 'new' ? '2' : '1');
  return { which, kept: kept.length, moved: sum(moved, 1) };
}

const BOTH = ['error'], WORKER = ['error', 'crash', 'stop 50'], SQL = ['error', 'disconnect', 'stop 50'];
// point -> ways to fail; `kill` of the host comes for all of them.
const UPDATE = {
  'publish.describe': BOTH, 'worker.describe': WORKER, 'publish.prepare': BOTH, 'worker.dlopen': WORKER, 'worker.prepare': WORKER, 'publish.prepared': BOTH, 'worker.pause': WORKER,
  'publish.paused': BOTH, 'publish.begin': SQL, 'publish.check': SQL, 'publish.lock': SQL, 'publish.ddl': SQL, 'publish.rewrite': SQL, 'worker.export': WORKER, 'publish.catalog': SQL,
  'publish.before_commit': SQL, 'publish.commit': ['error', 'disconnect'], 'publish.after_commit': ['stop 50'], 'publish.swap': BOTH, 'worker.swap': ['error', 'crash'],
};
const FIRST = { 'publish.describe': BOTH, 'worker.describe': WORKER, 'worker.dlopen': WORKER, 'worker.init': WORKER, 'publish.begin': SQL, 'publish.ddl': SQL, 'publish.catalog': SQL,
  'publish.before_commit': SQL, 'publish.commit': ['error', 'disconnect'], 'publish.after_commit': ['stop 50'] };
const RESET = { ...FIRST };
const HOST_KILLED = ['publish.describe', 'publish.prepare', 'publish.prepared', 'publish.paused', 'publish.begin', 'publish.ddl', 'publish.catalog', 'publish.before_commit', 'publish.commit', 'publish.after_commit', 'publish.swap'];
const SAYS = /rolled back|old version|fault|crash|hung|killed|lost|closed|SIGSEGV|terminat|unexpectedly|rejected|describe|connection|INIT|init/i;

let n = 0;
async function tryOne(rig, kind, point, action) {
  const { host } = rig;
  const label = `${kind}, ${point} ${action}`, name = `p${n++}`, first = kind === 'first';
  let before = null, client;
  if (!first) {
    await host.mustPublish(name, files.old);
    assert.equal((await host.call(name, 'fill', [])).status, 200);
    before = await state(host, name);
    client = new Wire(host.port, name, { token: host.token });
    await client.opened;
  }
  const put = kind === 'reset' ? '?clear=true' : '', file = files.new;
  // The update converts a column, so it breaks clients: with consent, as an author would publish it.
  let query = put;
  if (kind === 'update') {
    const plan = JSON.parse((await host.http('POST', `/v1/database/${name}/pre_publish`, { body: readFileSync(file) })).text);
    const { token } = plan.AutoMigrate ?? plan.ManualMigrate;
    query = `?policy=BreakClients&token=${token}`;
  }
  rig.arm(`${point} ${action}`);
  const answer = await host.publish(name, file, { query }).catch(error => ({ status: 0, text: String(error.cause ?? error) }));
  const hit = rig.reached(point) || point.startsWith('worker.');
  rig.arm('');
  if (action === 'kill') { await host.process.exited; await host.start(); }
  assert.ok(hit, `${label}: the point was not reached: ${answer.status} ${answer.text.slice(0, 300)}`);
  const after = await state(host, name).catch(error => { throw new Error(`${label}: after the answer ${answer.status} ${answer.text.slice(0, 300)}\n${error.stack}`); });
  const fresh = kind === 'update' ? { which: 'new', kept: before.kept, moved: before.moved + 40 * 7 } : { which: 'new', kept: 1, moved: 0 };
  const isNew = JSON.stringify(after) === JSON.stringify(fresh), isOld = JSON.stringify(after) === JSON.stringify(before);
  assert.ok(isNew || isOld, `${label}: neither whole: ${JSON.stringify(after)}; before ${JSON.stringify(before)}, wanted ${JSON.stringify(fresh)}; the answer was ${answer.status} ${answer.text.slice(0, 300)}`);
  if (answer.status === 200) assert.ok(isNew, `${label}: success was answered, the old version is there`);
  else if (answer.status) {
    assert.ok(isOld || /stored|committed|took place|published/i.test(answer.text), `${label}: an error was answered without saying that the new version is there: ${answer.text}`);
    assert.match(answer.text, SAYS, `${label}: the answer says what failed`);
  }
  if (action.startsWith('stop')) assert.equal(answer.status, 200, `${label}: slow is not wrong: ${answer.text}`);
  if (client && isOld && action !== 'kill' && kind === 'update') { // a reset has closed its clients before it writes (1001): they connect again
    assert.equal((await client.call('ping', Buffer.alloc(0))).outcome, 'ok', `${label}: the client of before is served`);
    client.close();
  }
  // And it can be published now.
  if (!isNew) {
    const again = await host.publish(name, file, { query });
    assert.equal(again.status, 200, `${label}: publishing again: ${again.text}`);
    assert.deepEqual(await state(host, name), fresh, `${label}: after publishing again`);
  }
  await host.http('DELETE', `/v1/database/${name}`);
}

const rigs = [];
for (const [kind, points] of [['update', UPDATE], ['first', FIRST], ['reset', RESET]]) {
  const rig = new Rig(kind);
  rigs.push(rig);
  let before = rig.host.start();
  const next = (name, work) => {
    const run = before.then(work);
    before = run.catch(() => {});
    test(name, () => run);
  };
  for (const [point, actions] of Object.entries(points))
    next(`${kind}: ${point}`, async () => { for (const action of actions) await tryOne(rig, kind, point, action); });
  for (const point of HOST_KILLED.filter(p => points[p]))
    next(`${kind}: the host is killed at ${point}`, () => tryOne(rig, kind, point, 'kill'));
}
await main(async () => { for (const rig of rigs) await rig.host.stop(); });
