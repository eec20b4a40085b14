// What operators do to the PostgreSQL under a host: bring their own, look into it, lock it, stop it, kill its backends, run two hosts on it.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Host, compileText, test, main, modulePath, root, scratchDir, sleep, until, within } from './lib.mjs';
import { Wire, u32, u64, i64 } from '../clients/wire.mjs';

const match = (text, pattern, what = '') => assert.ok(pattern.test(text), `${what}: ${pattern} does not match ${String(text).slice(0, 600)}`);
const pgBin = process.env.SPACETIME_PG_BIN ?? readdirSync('/usr/lib/postgresql').map(Number).sort((a, b) => b - a).map(v => `/usr/lib/postgresql/${v}/bin`).find(existsSync);
const asPostgres = process.getuid() === 0;

// The operator's own cluster: TCP off, a socket in its directory, one superuser and one plain role that owns one database.
class Cluster {
  constructor() {
    this.dir = join(scratchDir(), 'operator');
    mkdirSync(this.dir, { mode: 0o777 });
    chmodSync(this.dir, 0o777);
    this.data = join(this.dir, 'data');
    this.run('initdb', '-D', this.data, '-A', 'trust', '-U', 'operator', '-E', 'UTF8', '--no-locale', '-N');
    this.start();
    this.sql('create role app login; grant pg_read_all_stats to app', 'postgres');
    this.sql('create database app owner app', 'postgres');
    this.sql('create role reader login', 'postgres');
  }
  run(program, ...args) {
    const command = [join(pgBin, program), ...args];
    const r = asPostgres ? spawnSync('setpriv', ['--reuid=postgres', '--regid=postgres', '--init-groups', ...command], { encoding: 'utf8', cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] }) : spawnSync(command[0], args, { encoding: 'utf8' });
    assert.equal(r.status, 0, `${program} ${args.join(' ')}: ${r.stdout} ${r.stderr} ${r.error ?? ''}`);
  }
  start() { this.run('pg_ctl', '-D', this.data, '-w', '-s', '-l', join(this.dir, 'log'), '-o', `-c listen_addresses='' -c unix_socket_directories='${this.dir}' -c max_connections=60`, 'start'); }
  stop(mode = 'fast') { this.run('pg_ctl', '-D', this.data, '-w', '-s', '-m', mode, 'stop'); }
  conninfo(user = 'app', database = 'app') { return `host=${this.dir} user=${user} dbname=${database}`; }
  sql(text, database = 'app', user = 'operator') {
    const r = spawnSync('psql', [this.conninfo(user, database), '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-c', text], { encoding: 'utf8' });
    if (r.status !== 0) throw new Error(r.stderr);
    return r.stdout.trim();
  }
}
class HostOn extends Host {
  constructor(cluster, options = {}) { super({ ...options, args: ['--pg', cluster.conninfo(), ...(options.args ?? [])] }); this.cluster = cluster; }
  get conninfo() { return this.cluster.conninfo('operator'); }
}

const once = modulePath(join(root, 'tests/integration/once.c'));
const cluster = new Cluster();
const host = await new HostOn(cluster).start();
await host.mustPublish('books', once);
assert.equal((await host.call('books', 'seed', [100, 1000000])).status, 200);

// Load that keeps its own ledger. Answers: ok counts as acknowledged; anything else may or may not have happened, and is tried no more.
let nextId = 1n;
let loading; // one at a time: what a failed test left running ends before the next begins
class Load {
  constructor(on, { clients = 4 } = {}) {
    if (loading) loading.stopping = true;
    loading = this;
    this.host = on; this.ok = []; this.failed = []; this.stopping = false;
    this.runs = Promise.all(Array.from({ length: clients }, () => this.run()));
  }
  async run() {
    while (!this.stopping) {
      const wire = new Wire(this.host.port, 'books', { token: this.host.token });
      try { await within('connect', wire.opened, 20); } catch { wire.close(); await sleep(50); continue; }
      await Promise.all(Array.from({ length: 4 }, async () => {
        while (!this.stopping && !wire.gone) {
          const id = nextId++;
          const r = await wire.call('transfer_once', Buffer.concat([u64(id), u32(Number(id % 100n)), u32(Number((id + 1n) % 100n)), i64(1)]));
          if (r.outcome === 'ok') this.ok.push(id); else { this.failed.push(r); await sleep(20); }
        }
      }));
      wire.close();
    }
  }
  goesOn(what, seconds = 30) { const before = this.ok.length; return until(`${what}: calls are acknowledged again`, () => this.ok.length > before + 50, seconds); }
  async end() {
    this.stopping = true;
    await within('the load to end', this.runs, 60);
    const there = new Set((await this.host.sql('books', 'SELECT id FROM done')).map(([id]) => BigInt(id)));
    assert.deepEqual(this.ok.filter(id => !there.has(id)), [], 'acknowledged transfers are missing in memory');
    this.host.psql(`select spacetime.settle('books')`);
    const stored = new Set(this.host.psql('select id from books.done').split('\n').map(BigInt));
    assert.deepEqual(this.ok.filter(id => !stored.has(id)), [], 'acknowledged transfers are missing in PostgreSQL');
    assert.equal(stored.size, there.size, 'memory and PostgreSQL hold the same');
    assert.equal(this.host.psql('select sum(balance) from books.accounts'), '100000000');
  }
}

test('an operator\'s PostgreSQL: a role without rights of its own suffices, one schema per database', async () => {
  assert.equal(cluster.sql(`select rolsuper or rolcreatedb or rolcreaterole from pg_roles where rolname = 'app'`), 'f');
  await host.mustPublish('second', modulePath('chat'));
  assert.equal(cluster.sql(`select string_agg(nspname, ',' order by nspname) from pg_namespace where nspname in ('books','second','spacetime')`), 'books,second,spacetime');
  assert.equal(cluster.sql(`select string_agg(table_name, ',' order by table_name) from information_schema.tables where table_schema = 'books' and table_name not like 'st\\_%'`), 'accounts,done');
  assert.equal(cluster.sql(`select spacetime.settle('books') > 0`), 't');
  assert.equal(cluster.sql('select count(*) from books.accounts'), '100');
  const [database, , , durable, materialised, lag, blocked] = cluster.sql(`select * from spacetime.status where database = 'books'`).split('|');
  assert.deepEqual([database, durable === materialised, lag, blocked], ['books', true, '0', '']);
  assert.throws(() => cluster.sql(`select spacetime.settle('nope')`), /no database is called "nope"/);
});

test('other sessions cannot write our tables, superusers included; reading, granting, indexing and views are free', async () => {
  for (const sql of ['update books.accounts set balance = 0', 'delete from books.accounts', 'insert into books.accounts values (1000, 1)', 'truncate books.accounts', 'update books.accounts set balance = 0 where false'])
    for (const user of ['operator', 'app'])
      assert.throws(() => cluster.sql(sql, 'app', user), /refused: this table belongs to a spacetime database[^]*Call a reducer of the module/, `${user}: ${sql}`);
  assert.throws(() => cluster.sql('select * from books.accounts', 'app', 'reader'), /permission denied/);
  cluster.sql('grant usage on schema books to reader; grant select on books.accounts to reader');
  assert.equal(cluster.sql('select count(*) from books.accounts', 'app', 'reader'), '100');
  cluster.sql('create index on books.accounts (balance); create view public.rich as select * from books.accounts where balance > 0; alter table books.accounts add column remark text');
  assert.equal((await host.call('books', 'transfer_once', [Number(nextId++), 1, 2, 5])).status, 200);
  cluster.sql(`select spacetime.settle('books')`);
  assert.equal(cluster.sql('select balance from public.rich where id = 1'), '999995');
  await host.mustPublish('books', once);
  await host.stop();
  await host.start();
  assert.equal((await host.call('books', 'transfer_once', [Number(nextId++), 2, 1, 5])).status, 200, 'and the database opens again with them');
});

test('pg_dump of one schema is a consistent copy, under load', async () => {
  const load = new Load(host);
  await load.goesOn('load');
  const r = spawnSync(join(pgBin, 'pg_dump'), ['-n', 'books', '-d', cluster.conninfo('operator')], { encoding: 'utf8', maxBuffer: 1 << 28 });
  assert.equal(r.status, 0, r.stderr);
  await load.end();
  assert.match(r.stdout, /CREATE TABLE books\.accounts/);
  assert.match(r.stdout, /COPY books\.st_log_/);
  const balances = /COPY books\.accounts [^\n]*\n([^]*?)\n\\\./.exec(r.stdout)[1].split('\n').map(l => Number(l.split('\t')[1]));
  assert.deepEqual([balances.length, balances.reduce((a, b) => a + b)], [100, 100000000], 'a state between two transactions');
});

test('an operator\'s lock on a table: callers go on, the status names who, the rows follow after the release', async () => {
  const session = spawn('psql', [cluster.conninfo('operator'), '-X', '-q'], { stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  session.stdout.on('data', d => { said += d; });
  session.stdin.write(`begin; lock table books.done in access exclusive mode; select 'backend ' || pg_backend_pid();\n`);
  const pid = (await until('the lock', () => /backend (\d+)/.exec(said)))[1];
  const load = new Load(host);
  try {
  await load.goesOn('with the table locked', 10);
  const status = await until('the status to name the blocker', () => { const s = cluster.sql(`select blocked_by, lag from spacetime.status where database = 'books'`); return /\d/.test(s.split('|')[0]) && s; }, 15);
  match(status, new RegExp(`\\b${pid}\\b`), 'the blocker\'s process id');
  match(status, /table done is locked by/);
  assert.ok(Number(status.split('|').at(-1)) > 0, 'the lag shows');
  await load.goesOn('still', 10);
  } finally { session.stdin.end('commit;\n'); }
  await within('the session to end', new Promise(done => session.on('exit', done)));
  await load.end();
  await until('the status is clean again', () => cluster.sql(`select blocked_by is null from spacetime.status where database = 'books'`) === 't');
});

test('pg_terminate_backend of all our backends, ten times under load, loses nothing', async () => {
  const load = new Load(host);
  for (let i = 0; i < 10; i++) {
    await load.goesOn(`round ${i}`);
    const n = cluster.sql(`select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'app'`);
    assert.ok(Number(n) >= 1, 'there was a backend of ours');
  }
  await load.goesOn('after the last');
  assert.deepEqual(load.failed, [], 'no caller heard of it');
  await load.end();
});

test('backends terminated and PostgreSQL restarted while an operator\'s lock holds the tables up: memory and tables agree in the end', async () => {
  const lock = () => {
    const session = spawn('psql', [cluster.conninfo('operator'), '-X', '-q'], { stdio: ['pipe', 'pipe', 'ignore'] });
    session.stdin.on('error', () => {});
    session.stdin.write('begin; lock table books.done in access exclusive mode;\n');
    return session;
  };
  let session = lock();
  const load = new Load(host);
  try {
    await load.goesOn('with the table locked', 10);
    for (let i = 0; i < 6; i++) {
      cluster.sql(`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'`);
      await load.goesOn(`round ${i}`);
    }
    cluster.stop('fast');
    cluster.start();
    session = lock();
    await load.goesOn('after the restart', 40);
    await sleep(500);
  } finally { session.stdin.end('commit;\n'); }
  await load.end();
});

test('PostgreSQL frozen: confirmed answers are held, unconfirmed ones are not; thawed: they leave in order', async () => {
  const pids = () => spawnSync('pgrep', ['-f', 'postgres: .*app app|walwriter|' + cluster.data], { encoding: 'utf8' }).stdout.split('\n').filter(Boolean).map(Number)
    .filter(p => { const cmd = spawnSync('ps', ['-o', 'args=', '-p', String(p)], { encoding: 'utf8' }).stdout; return /^postgres: (app app|.*app app)/.test(cmd); });
  const sure = new Wire(host.port, 'books', { token: host.token }), quick = new Wire(host.port, 'books', { token: host.token, confirmed: false });
  await Promise.all([sure.opened, quick.opened]);
  const frozen = pids();
  assert.ok(frozen.length, 'backends of ours');
  for (const p of frozen) process.kill(p, 'SIGSTOP');
  const order = [];
  try {
    const args = id => Buffer.concat([u64(id), u32(1), u32(2), i64(1)]);
    for (let i = 0; i < 20; i++) sure.call('transfer_once', args(nextId++)).then(r => order.push([i, r.outcome]));
    const early = await within('the unconfirmed answer', quick.call('transfer_once', args(nextId++)), 5);
    assert.equal(early.outcome, 'ok');
    await sleep(700);
    assert.deepEqual(order, [], 'nothing confirmed left the host');
  } finally { for (const p of frozen) process.kill(p, 'SIGCONT'); }
  await until('the held answers', () => order.length === 20);
  assert.deepEqual(order, Array.from({ length: 20 }, (_, i) => [i, 'ok']));
  sure.close(); quick.close();
});

for (const mode of ['fast', 'immediate'])
  test(`PostgreSQL stopped (${mode}) and started again under load: nothing acknowledged is lost, and it goes on by itself`, async () => {
    const load = new Load(host);
    await load.goesOn('load');
    const client = new Wire(host.port, 'books', { token: host.token });
    await client.opened;
    cluster.stop(mode);
    await sleep(300);
    const at = load.ok.length;
    await sleep(1500);
    assert.ok(load.ok.length - at === 0, 'nothing is acknowledged while PostgreSQL is away');
    const r = await Promise.race([host.call('books', 'transfer_once', [Number(nextId++), 1, 2, 1]), sleep(1000).then(() => null)]);
    if (r) { assert.equal(r.status, 503, r.text); match(r.text, /PostgreSQL/); } // refused with the reason, or held
    assert.equal((await host.http('GET', '/v1/ping')).status, 200);
    cluster.start();
    await load.goesOn('after the start', 40);
    assert.ok(!client.gone, 'clients stay connected');
    client.close();
    await load.end();
    for (const f of load.failed) if (f.outcome !== 'lost') match(f.text, /PostgreSQL|restart|stor/, 'a refusal gives the reason');
  });

test('a schema of a stranger is not adopted, and stays as it is', async () => {
  cluster.sql('create schema "taken"; create table taken.theirs (x int); insert into taken.theirs values (7)');
  await host.mustPublish('taken', once);
  assert.equal((await host.call('taken', 'seed', [3, 1])).status, 200);
  cluster.sql(`select spacetime.settle('taken')`);
  assert.equal(cluster.sql(`select string_agg(tablename, ',') from pg_tables where schemaname = 'taken'`), 'theirs');
  const schema = cluster.sql(`select d.schema_name from spacetime.databases d join spacetime.names n on n.database_id = d.id where n.name = 'taken'`);
  match(schema, /^taken_[0-9a-f]+$/, 'it has a schema of its own, recorded in the catalog');
  assert.equal(cluster.sql(`select count(*) from "${schema}".accounts`), '3');
  assert.equal((await host.http('DELETE', '/v1/database/taken')).status, 200);
  assert.equal(cluster.sql('select x from taken.theirs'), '7');
  for (const name of ['pg-toast', 'public', 'information-schema']) {
    const p = await host.publish(name, once);
    if (p.status === 200) assert.equal(cluster.sql(`select count(*) from pg_tables where schemaname = 'public' and tablename in ('accounts', 'done')`), '0', `${name}: not into a schema that is not ours`);
    else match(p.text, /schema|reserved/, name);
  }
});

test('names past PostgreSQL\'s 63 bytes are shortened, told apart and recorded', async () => {
  const name = 'n'.repeat(64), longTable = 't'.repeat(60) + '_with_a_very_long_tail';
  await host.mustPublish(name, compileText('long', `#include "spacetimedb.h"
ST_MODULE(longnames, "1");
ST_TABLE(${longTable}_a, PUBLIC, (uint32_t, id, PK), (uint32_t, ${'c'.repeat(70)}_x, INDEX), (uint32_t, ${'c'.repeat(70)}_y, INDEX), (uint32_t, ctid), (uint32_t, xmin));
ST_TABLE(${longTable}_b, PUBLIC, (uint32_t, id, PK));
ST_REDUCER(go) { ${longTable}_a a = { .id = 1 , .${'c'.repeat(70)}_y = 4, .ctid = 5, .xmin = 6 }; ${longTable}_b b = { .id = 2 }; st_status s = ${longTable}_a_insert(ctx->db, &a); return s ? s : ${longTable}_b_insert(ctx->db, &b); }
`));
  assert.equal((await host.call(name, 'go', [])).status, 200);
  cluster.sql(`select spacetime.settle('${name}')`);
  const schema = cluster.sql(`select d.schema_name from spacetime.databases d join spacetime.names n on n.database_id = d.id where n.name = '${name}'`);
  assert.ok(schema.length <= 63);
  const tables = cluster.sql(`select t.name || '|' || t.physical_name from spacetime.tables t join spacetime.databases d on d.id = t.database_id where d.schema_name = '${schema}' order by t.name`).split('\n').map(l => l.split('|'));
  assert.deepEqual(tables.map(([n]) => n), [`${longTable}_a`, `${longTable}_b`]);
  assert.notEqual(tables[0][1], tables[1][1]);
  assert.equal(cluster.sql(`select count(*) from "${schema}"."${tables[1][1]}"`), '1');
  const columns = JSON.parse(cluster.sql(`select columns from spacetime.tables where name = '${longTable}_a'`));
  assert.equal(new Set(Object.values(columns)).size, 5);
  assert.equal(cluster.sql(`select "${columns['c'.repeat(70) + '_y']}", "${columns.ctid}", "${columns.xmin}" from "${schema}"."${tables[0][1]}"`), '4|5|6');
  await host.stop();
  await host.start();
  assert.deepEqual(await host.sql(name, `SELECT ctid FROM ${longTable}_a`), [[5]]);
  assert.equal((await host.http('DELETE', `/v1/database/${name}`)).status, 200);
  assert.equal(cluster.sql(`select count(*) from pg_namespace where nspname = '${schema}'`), '0');
});

test('delete drops our tables only: a stranger\'s view stops it with its name, and the database works on', async () => {
  await host.mustPublish('doomed', once);
  assert.equal((await host.call('doomed', 'seed', [3, 1])).status, 200);
  cluster.sql('create view public.watcher as select * from doomed.accounts');
  const r = await host.http('DELETE', '/v1/database/doomed');
  assert.ok(r.status >= 400, `${r.status}`);
  match(r.text, /watcher/);
  assert.equal((await until('it works on', async () => { const x = await host.call('doomed', 'transfer_once', [1, 0, 1, 1]); return x.status === 200 && x; })).status, 200);
  cluster.sql(`select spacetime.settle('doomed')`);
  assert.equal(cluster.sql('select count(*) from public.watcher'), '3');
  cluster.sql('drop view public.watcher; create table doomed.theirs (x int); insert into doomed.theirs values (1)');
  const gone = await host.http('DELETE', '/v1/database/doomed');
  assert.equal(cluster.sql('select x from doomed.theirs'), '1', 'a stranger\'s table in our schema stays, whatever the answer');
  if (gone.status !== 200) { match(gone.text, /theirs/); cluster.sql('drop table doomed.theirs'); assert.equal((await host.http('DELETE', '/v1/database/doomed')).status, 200); }
  assert.equal(cluster.sql(`select count(*) from pg_tables where schemaname = 'doomed' and tablename <> 'theirs'`), '0');
  assert.equal((await host.http('GET', '/v1/database/doomed')).status, 404);
});

test('a host needs a PostgreSQL that it can reach, and says why when it cannot', () => {
  const bin = host.process.spawnfile;
  for (const [conninfo, pattern] of [[`host=${scratchDir()} user=app dbname=app connect_timeout=2`, /connect|socket/], [cluster.conninfo('app', 'nope'), /"nope" does not exist/], ['host=x y=z', /invalid connection option|"y"/]]) {
    const r = spawnSync(bin, ['start', '--data-dir', join(scratchDir(), 'nowhere'), '--listen-addr', '127.0.0.1:0', '--pg', conninfo], { encoding: 'utf8', timeout: 20000 });
    assert.equal(r.status, 1, `${conninfo}: ${r.status} ${r.stderr}`);
    match(r.stderr, pattern, conninfo);
  }
});

test('two hosts on one PostgreSQL: the second is refused while the first lives, takes over when it hangs, and the first then serves no more', async () => {
  const other = await new HostOn(cluster).start();
  assert.equal((await host.call('books', 'transfer_once', [Number(nextId++), 1, 2, 1])).status, 200, 'the first has it open');
  const r = await other.call('books', 'transfer_once', [Number(nextId++), 1, 2, 1], { token: null });
  assert.equal(r.status, 503, r.text);
  match(r.text, /holds database \d+; it counts as alive/);
  const load = new Load(host);
  await load.goesOn('the first host serves on');
  await load.end();
  const sum = host.psql('select count(*) from books.done');
  const client = new Wire(host.port, 'books', { token: host.token });
  await client.opened;
  host.process.kill('SIGSTOP');
  let taken;
  const id = Number(nextId++);
  try {
    const start = Date.now();
    await until('the second host to take over', async () => { taken = await other.call('books', 'transfer_once', [id, 1, 2, 1], { token: null }); return taken.status === 200; }, 40);
    assert.ok(Date.now() - start > 2000, 'not before the lease was over');
  } finally { host.process.kill('SIGCONT'); }
  // The first host wakes up and does not know yet: what it answers must not be a success.
  const stale = await Promise.all(Array.from({ length: 5 }, () => Promise.race([client.call('transfer_once', Buffer.concat([u64(nextId++), u32(1), u32(2), i64(1)])), sleep(5000).then(() => ({ outcome: 'silence' }))])));
  for (const s of stale) assert.notEqual(s.outcome, 'ok', 'the fenced host acknowledged a call');
  const refused = await within('the fenced host to answer', host.call('books', 'transfer_once', [Number(nextId++), 1, 2, 1]), 20);
  assert.notEqual(refused.status, 200);
  match(refused.text, /host|fence|own/i);
  assert.equal((await other.call('books', 'transfer_once', [Number(nextId++), 1, 2, 1], { token: null })).status, 200, 'the second serves on');
  cluster.sql(`select spacetime.settle('books')`);
  assert.equal(cluster.sql('select count(*) from books.done'), String(Number(sum) + 2), 'exactly what the second acknowledged');
  await other.stop();
  await until('the first may have it back', async () => (await host.call('books', 'transfer_once', [Number(nextId++), 1, 2, 1])).status === 200, 40);
});

await main(async () => { await host.stop(); cluster.stop('immediate'); });
