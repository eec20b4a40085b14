// `spacetime publish` and `spacetime migrate history`: questions and what answers them, plans, dry runs, JSON, exit codes. Against the real host,
// and where it never says so (a major upgrade, a plan that somebody else overtakes) against a small one that speaks its answers.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { Host, bin, test, main, compileText, scratchDir, within } from './lib.mjs';
import { join } from 'node:path';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const table = (columns, extra = '') => `#include "spacetimedb.h"
ST_MODULE(m, "1.0.0");
ST_TABLE(t, PUBLIC, (uint32_t, a)${columns});
ST_REDUCER(put, (uint32_t, a)) { t r = { .a = a }; return t_insert(ctx->db, &r); }
${extra}`;
const event = columns => table('', `ST_EVENT_TABLE(beat, PUBLIC, (uint32_t, n)${columns});`);
const files = {
  one: compileText('c1', table('')), two: compileText('c2', table(', (uint32_t, b)', 'ST_DEFAULT(t, b, 5);')),
  bad: compileText('c3', table(', (uint32_t, b)')), beat: compileText('c4', event('')), beats: compileText('c5', event(', (uint32_t, m)')),
};
const host = await new Host().start();
const publish = (name, file, flags = [], options = {}) => host.cli(['publish', name, '-b', files[file], ...flags], options);
const version = name => Number(host.psql(`select schema_version from spacetime.databases d join spacetime.names n on n.database_id = d.id where n.name = '${name}'`));
const rows = async name => (await host.sql(name, 'SELECT a FROM t')).map(r => Number(r[0])).sort();
let serial = 0;
const fresh = async (file = 'one') => {
  const name = `p${serial++}`;
  await host.mustPublish(name, files[file]);
  await host.call(name, 'put', [1]);
  return name;
};

test('a plan is shown before anything happens, and a safe one asks nothing', async () => {
  const name = await fresh();
  const r = publish(name, 'two');
  assert.equal(r.status, 0, r.err);
  assert.ok(r.out.indexOf('+ b: U32 (default: 5)') > 0 && r.out.indexOf('+ b: U32') < r.out.indexOf('Publishing module...'));
  assert.ok(!r.out.includes('\x1b'), 'no colour off a terminal');
  assert.ok(!r.out.includes('ALTER TABLE'));
  assert.match(publish(await fresh(), 'two', ['--sql']).out, /ALTER TABLE .* ADD COLUMN "b"/);
});

test('the same bytes again: nothing to do', async () => {
  const name = await fresh();
  assert.match(publish(name, 'one').out, /Updated database/);
  assert.equal(version(name), 1);
});

test('a dry run executes, shows SQL and time, changes nothing, asks nothing', async () => {
  const name = await fresh('beat');
  let r = publish(name, 'beats', ['--dry-run']);
  assert.equal(r.status, 0, r.err);
  assert.match(r.out, /!!! All connected clients[^]*PostgreSQL took [\d.]+ ms\.\nDry run: nothing was published\./);
  r = publish(await fresh(), 'two', ['--dry-run']);
  assert.match(r.out, /SQL, in one transaction:\nALTER TABLE/);
  assert.equal(version(name), 1);
  r = publish(name, 'bad', ['--dry-run']);
  assert.equal(r.status, 1);
  assert.match(publish('never-there', 'one', ['--dry-run']).out, /There is no database `never-there` yet/);
  assert.equal((await host.http('GET', '/v1/database/never-there')).status, 404);
});

test('breaking clients: y, n, closed input, and what answers', async () => {
  for (const [input, flags, status] of [['y\n', [], 0], ['YES\n', [], 0], ['n\n', [], 1], ['', [], 1], ['maybe\n', [], 1], ['', ['--break-clients'], 0],
    ['', ['--yes=break-clients'], 0], ['', ['--yes'], 0], ['', ['-y'], 0], ['', ['--yes=all'], 0], ['', ['--yes=remote'], 1], ['', ['--yes=remote,break-clients'], 0],
    ['', ['--yes=remote', '--yes=break-clients'], 0]]) {
    const name = await fresh('beat');
    const r = publish(name, 'beats', flags, { input });
    assert.equal(r.status, status, `${JSON.stringify(input)} ${flags}: ${r.out} ${r.err}`);
    assert.equal(version(name), status ? 1 : 2);
    if (status) assert.match(r.err, /nothing was changed/);
    if (flags.length && !status) assert.match(r.out, /Skipping confirmation due to --(yes|break-clients)/);
  }
});

test('what cannot be migrated: reasons, and data deleted only with consent', async () => {
  const name = await fresh();
  let r = publish(name, 'bad');
  assert.equal(r.status, 1);
  assert.match(r.out, /table `t`, column `b` \(u32\): was added without a default/);
  assert.match(r.err, /ST_MIGRATION/);
  assert.equal(publish(name, 'bad', ['--delete-data=never', '--yes']).status, 1);
  r = publish(name, 'bad', ['--delete-data=on-conflict'], { input: 'n\n' });
  assert.equal(r.status, 1);
  assert.match(r.out, /DELETES all data/);
  assert.equal(publish(name, 'bad', ['--delete-data=on-conflict', '--break-clients'], { input: '' }).status, 1, 'another flag does not answer');
  assert.deepEqual(await rows(name), [1]);
  assert.equal(publish(name, 'two', ['--delete-data=on-conflict']).status, 0, 'no conflict: an ordinary publish');
  assert.deepEqual(await rows(name), [1]);
  const other = await fresh();
  assert.equal(publish(other, 'bad', ['--delete-data=on-conflict', '--yes=delete-data']).status, 0);
  assert.deepEqual(await rows(other), []);
});

test('deleting data: asked first, no plan', async () => {
  for (const [flags, input, status] of [[['--delete-data'], 'n\n', 1], [['--delete-data'], '', 1], [['-c'], 'y\n', 0], [['--delete-data=always', '--yes'], '', 0],
    [['--clear-database', '--yes=delete-data'], '', 0]]) {
    const name = await fresh();
    const r = publish(name, 'two', flags, { input });
    assert.equal(r.status, status, r.out + r.err);
    assert.ok(!r.out.includes('Migration plan'));
    assert.deepEqual(await rows(name), status ? [1] : []);
  }
});

test('wrong values are usage errors', async () => {
  for (const flags of [['--delete-data=sometimes'], ['--yes=maybe'], ['--no-such-flag'], ['--json', '--js-path', 'x']])
    assert.ok([1, 2].includes(publish('x', 'one', flags).status), `${flags}`);
  assert.equal(publish('x', 'one', ['--yes=maybe']).status, 2);
});

test('--json: one object, questions are not asked, failures are objects too', async () => {
  let name = await fresh();
  let r = publish(name, 'two', ['--json']);
  let o = JSON.parse(r.out);
  assert.equal(r.status, 0);
  assert.deepEqual([o.database, o.verdict, o.dry_run, o.result.op], [name, 'ok', false, 'updated']);
  assert.deepEqual(o.plan.steps.map(s => [s.kind, s.class, s.table, s.columns]), [['AddColumns', 'may_break', 't', ['b']]]);
  assert.match(o.sql, /ADD COLUMN/);
  name = await fresh('beat');
  r = publish(name, 'beats', ['--json'], { input: 'y\n' });
  o = JSON.parse(r.out);
  assert.equal(r.status, 1);
  assert.equal(o.verdict, 'breaks_clients');
  assert.match(o.error, /nothing was changed/);
  assert.equal(version(name), 1);
  o = JSON.parse(publish(name, 'beats', ['--json', '--dry-run']).out);
  assert.deepEqual([o.verdict, o.dry_run, o.result], ['breaks_clients', true, null]);
  assert.ok(o.executed.duration_us > 0);
  assert.equal(JSON.parse(publish(name, 'beats', ['--json', '--break-clients']).out).result.op, 'updated');
  r = publish(await fresh(), 'bad', ['--json']);
  o = JSON.parse(r.out);
  assert.deepEqual([r.status, o.verdict, o.plan.reasons[0].kind], [1, 'refused', 'AddColumn']);
  o = JSON.parse(publish('brand-new', 'one', ['--json']).out);
  assert.deepEqual([o.verdict, o.result.op, o.plan], ['new', 'created', null]);
});

test('the history: a table, plans, SQL, JSON', async () => {
  const name = await fresh();
  publish(name, 'two');
  const out = host.mustCli(['migrate', 'history', name]);
  assert.match(out, /Version \| Published +\| By +\| Took +\| Migration \| What/);
  assert.match(out, / 2 +\| \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \| you \| [\d.]+ ms +\| +\| AddColumns t/);
  assert.match(out, / 1 +\| .*\| created/);
  assert.equal(host.mustCli(['migrate', 'history', name, '-n', '1']).trim().split('\n').length, 3);
  assert.match(host.mustCli(['migrate', 'history', name, '--plan', '--sql']), /Version 2\n[^]*\+ b: U32[^]*ALTER TABLE/);
  assert.equal(JSON.parse(host.mustCli(['migrate', 'history', name, '--json']))[0].version, 2);
  assert.equal(host.cli(['migrate', 'history', name, '-n', '0']).status, 2);
  assert.equal(host.cli(['migrate', 'history', 'nobody-has-this']).status, 1);
});

// A host that answers as told: pre_publish and publish.
async function told(answers, flags, input = '') {
  const seen = [];
  const server = createServer((request, response) => {
    request.on('data', () => {});
    request.on('end', () => {
      const kind = request.url.includes('pre_publish') ? 'preview' : request.method === 'PUT' ? 'publish' : request.url === '/v1/health' ? 'health' : 'other';
      seen.push(kind);
      const [status, body] = answers[kind] ?? [200, '{"package_name":"spacetime-pg"}'];
      response.writeHead(status).end(body);
    });
  });
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  const child = spawn(bin('spacetime'), ['--config-path', host.config, 'publish', 'there', '-b', files.one, '-s', `http://127.0.0.1:${server.address().port}`, ...flags],
    { env: { ...process.env, HOME: host.dir } });
  let out = '', err = '';
  child.stdout.on('data', d => { out += d; });
  child.stderr.on('data', d => { err += d; });
  child.stdin.end(input);
  const status = await within('the command', new Promise(done => child.on('close', done)));
  server.close();
  return { status, out, err, seen };
}
const plan = more => [200, JSON.stringify({ AutoMigrate: { migrate_plan: 'the plan\x1b]0;evil\x07\n', break_clients: false, token: '0x1', major_version_upgrade: false, ...more } })];
const success = [200, JSON.stringify({ Success: { domain: 'there', database_identity: 'ab', op: 'updated' } })];

test('a major upgrade is typed', async () => {
  const answers = { preview: plan({ major_version_upgrade: true }), publish: success };
  assert.equal((await told(answers, [], 'upgrade\n')).status, 0);
  for (const input of ['yes\n', '']) {
    const r = await told(answers, [], input);
    assert.equal(r.status, 1);
    assert.ok(!r.seen.includes('publish'));
  }
  assert.equal((await told(answers, ['--yes=migrate'])).status, 0);
});

test('a server cannot drive the terminal; a publish that was overtaken says so', async () => {
  let r = await told({ preview: plan({}), publish: success }, []);
  assert.match(r.out, /the plan\\x1b\]0;evil\\x07/);
  r = await told({ preview: plan({}), publish: [400, 'Failed: Token provided is invalid or does not match expected hash'] }, []);
  assert.equal(r.status, 1);
  assert.match(r.err, /somebody else has published to `there` since the plan was shown: publish again/);
  r = await told({ preview: plan({ clients: Array.from({ length: 23 }, (_, i) => ({ identity: `${i}`.repeat(40), connection_id: 'c', effects: ['it is disconnected'] })) }), publish: success }, []);
  assert.match(r.out, /23 connected clients would be disturbed:[^]*it is disconnected[^]*and 3 more/);
});

test('two databases of a project are published one after the other', async () => {
  const dir = join(scratchDir(), 'project');
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'spacetime.json'), JSON.stringify({ server: 'local', children: [{ database: 'left-one', 'bin-path': files.one }, { database: 'right-one', 'bin-path': files.beat }] }));
  const r = host.cli(['publish', '--json', '--yes'], { cwd: dir });
  assert.equal(r.status, 0, r.err);
  assert.deepEqual(r.out.trim().split('\n').map(line => JSON.parse(line).database), ['left-one', 'right-one']);
});

await main(() => host.stop());
