// The command line against a real host and a real PostgreSQL: what an author and an operator do in their first hour.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { Host, bin, test, main, modulePath, until, root, scratchDir } from './lib.mjs';

const host = await new Host().start();
const identityOf = text => /identity: ([0-9a-f]{64})/.exec(text)[1];

test('init writes a module that builds, publishes and runs as it is', async () => {
  const cwd = join(scratchDir(), 'author');
  mkdirSync(cwd);
  const out = host.mustCli(['init', '--lang', 'c', 'my-app'], { cwd });
  assert.match(out, /Next steps/i);
  assert.notEqual(host.cli(['init', '--lang', 'c', 'my-app'], { cwd }).status, 0, 'a non-empty target is refused');
  const project = join(cwd, 'my-app');
  assert.match(host.mustCli(['build'], { cwd: project }), /Build finished successfully/);
  const published = host.mustCli(['publish', 'my-app', '--yes'], { cwd: project });
  assert.match(published, /Created new database with name: my-app, identity: [0-9a-f]{64}/);
  assert.match(host.mustCli(['publish', 'my-app', '--yes'], { cwd: project }), /Updated database with name: my-app/);
  // What its README says to try.
  host.mustCli(['call', 'my-app', 'add', 'Ada']);
  assert.match(host.mustCli(['call', 'my-app', 'count_people']), /^1\s*$/m);
  assert.match(host.mustCli(['sql', 'my-app', 'SELECT visits, online FROM my_visits']), /\| *true/);
  host.mustCli(['call', 'my-app', 'remind_me', '0', 'tea']);
  await until('the reminder', () => /Reminder: tea/.test(host.mustCli(['logs', 'my-app'])));
});

test('a module that does not compile shows the compiler\'s message and exits 1', async () => {
  const dir = join(scratchDir(), 'broken');
  mkdirSync(dir);
  writeFileSync(join(dir, 'module.c'), '#include "spacetimedb.h"\nST_MODULE(broken, "1");\nST_TABLE(t, PUBLIC, (int, a));\n');
  const r = host.cli(['build', '-p', dir]);
  assert.equal(r.status, 1);
  assert.match(r.out + r.err, /fixed width/);
});

test('publish, call, sql, describe, list, logs, subscribe, delete', async () => {
  const out = host.mustCli(['publish', 'ledger', '-b', modulePath('ledger'), '--yes']);
  const identity = identityOf(out);
  host.mustCli(['call', 'ledger', 'seed', '3', '100']);
  const failed = host.cli(['call', 'ledger', 'transfer', '1', '1', '5']);
  assert.equal(failed.status, 1);
  assert.match(failed.err, /same_account/);
  assert.match(host.cli(['call', 'ledger', 'transfr', '1', '1', '5']).err, /No such reducer OR procedure `transfr`[^]*transfer/);
  assert.equal(host.mustCli(['sql', 'ledger', 'SELECT * FROM accounts WHERE id = 1']).trimEnd(), ' id | balance \n----+---------\n 1  | 100');
  assert.match(host.mustCli(['sql', 'ledger', 'SELECT COUNT(*) AS n FROM accounts']), /\n 3 /);
  assert.match(host.cli(['sql', 'ledger', 'SELECT nope FROM accounts']).err, /nope/);
  host.mustCli(['sql', 'ledger', 'UPDATE accounts SET balance = 7 WHERE id = 2']);
  assert.match(host.mustCli(['sql', 'ledger', 'SELECT balance FROM accounts WHERE id = 2']), / 7 /);
  const description = JSON.parse(host.mustCli(['describe', 'ledger', '--json']));
  assert.ok(JSON.stringify(description).includes('"accounts"'));
  assert.match(host.mustCli(['list']), new RegExp(`ledger[^]*${identity}`));
  assert.match(host.mustCli(['logs', 'ledger']), /Database initialized/);
  const watcher = spawn(bin('spacetime'), ['--config-path', host.config, 'subscribe', 'ledger', 'SELECT * FROM accounts', '-n', '1', '--print-initial-update'], { env: { ...process.env, HOME: host.dir } });
  let seen = '';
  watcher.stdout.on('data', d => { seen += d; });
  await until('the initial rows', () => seen.split('\n').length > 1);
  host.mustCli(['call', 'ledger', 'transfer', '0', '1', '5']);
  await until('the update', () => seen.split('\n').length > 2);
  const update = JSON.parse(seen.split('\n')[1]);
  assert.deepEqual(update.accounts.inserts.map(r => r.balance).sort((a, b) => a - b), [95, 105]);
  assert.match(host.cli(['delete', 'ledger'], { input: 'n\n' }).out, /Aborting/);
  host.mustCli(['delete', 'ledger', '--yes']);
  assert.equal(host.psql(`select count(*) from information_schema.schemata where schema_name = 'ledger'`), '0');
  assert.equal(host.cli(['sql', 'ledger', 'SELECT * FROM accounts']).status, 1);
});

test('the rows are in PostgreSQL as ordinary typed tables, and strangers cannot write them', async () => {
  host.mustCli(['publish', 'books', '-b', modulePath('ledger'), '--yes']);
  host.mustCli(['call', 'books', 'seed', '5', '11']);
  host.psql(`select spacetime.settle('books')`);
  assert.equal(host.psql('select sum(balance) from books.accounts'), '55');
  assert.equal(host.psql(`select string_agg(column_name || ' ' || data_type, ',' order by ordinal_position) from information_schema.columns where table_schema = 'books' and table_name = 'accounts'`),
    'id bigint,balance bigint');
  assert.match(host.psql('update books.accounts set balance = 0', { fails: true }), /spacetime/);
  assert.match(host.psql(`select * from spacetime.status`), /books/);
  assert.equal(host.psql(`select count(*) from pg_constraint where conrelid = 'books.accounts'::regclass and contype = 'p'`), '1');
});

test('a republish shows its plan, keeps data, and a forbidden change is refused with every reason', async () => {
  host.mustCli(['publish', 'talk', '-b', modulePath('chat'), '--yes']);
  host.mustCli(['call', 'talk', 'send_message', 'hello there']);
  const out = host.mustCli(['publish', 'talk', '-b', modulePath('chat/v2'), '--yes']);
  assert.match(out, /room/);
  assert.match(out, /Updated database with name: talk/);
  assert.match(host.mustCli(['sql', 'talk', 'SELECT text, room FROM message']), /"hello there" \| 0/);
  host.psql(`select spacetime.settle('talk')`);
  assert.equal(host.psql('select text, room from talk.message'), 'hello there|0');
  const dir = join(scratchDir(), 'forbidden');
  mkdirSync(dir);
  writeFileSync(join(dir, 'module.c'), readFileSync(join(root, 'plugins/chat/chat.c'), 'utf8')
    .replace('(st_str,       text));', '(st_bytes,     text), (uint32_t, later));').replace('.text = text }', '.text = { (const uint8_t *)text.ptr, text.len } }'));
  const refused = host.cli(['publish', 'talk', '-p', dir, '--yes']);
  assert.equal(refused.status, 1);
  for (const reason of [/`?text`?/, /`?room`?/]) assert.match(refused.out + refused.err, reason);
  assert.match(host.mustCli(['sql', 'talk', 'SELECT text FROM message']), /hello there/);
  host.mustCli(['publish', 'talk', '-b', modulePath('chat'), '--delete-data', '--yes']);
  assert.doesNotMatch(host.mustCli(['sql', 'talk', 'SELECT text FROM message']), /hello there/);
});

test('logs follow what the module prints, at every level', async () => {
  writeFileSync(join(scratchDir(), 'levels.c'), `#include "spacetimedb.h"
ST_MODULE(levels, "1");
ST_REDUCER(shout, (st_str, what)) { st_log_error(ctx, "e %.*s", ST_FMT(what)); st_log_warn(ctx, "w"); st_log_info(ctx, "i"); st_log_debug(ctx, "d"); st_log_trace(ctx, "t"); return ST_OK; }
`);
  host.mustCli(['publish', 'levels', '-b', modulePath(join(scratchDir(), 'levels.c')), '--yes']);
  const follower = spawn(bin('spacetime'), ['--config-path', host.config, 'logs', 'levels', '-f'], { env: { ...process.env, HOME: host.dir } });
  let seen = '';
  follower.stdout.on('data', d => { seen += d; });
  await until('the follower to print what was there', () => seen.includes('Database initialized'));
  host.mustCli(['call', 'levels', 'shout', 'loud']);
  await until('all five levels', () => ['ERROR: shout', 'WARN: shout', 'INFO: shout', 'DEBUG: shout', 'TRACE: shout'].every(l => seen.includes(l)));
  assert.match(seen, /e loud/);
  follower.kill();
  assert.equal(host.mustCli(['logs', 'levels', '-n', '1']).trim().split('\n').length, 1);
});

test('64-bit and larger numbers survive arguments, rows and schema exactly', async () => {
  writeFileSync(join(scratchDir(), 'big.c'), `#include "spacetimedb.h"
ST_MODULE(big, "1");
ST_TABLE(n, PUBLIC, (uint64_t, id, PK), (st_u128, a), (st_i128, b), (st_u256, c), (int64_t, d));
ST_REDUCER(put, (uint64_t, id), (st_u128, a), (st_i128, b), (st_u256, c), (int64_t, d)) { n row = { id, a, b, c, d }; return n_insert(ctx->db, &row); }
`);
  host.mustCli(['publish', 'big', '-b', modulePath(join(scratchDir(), 'big.c')), '--yes']);
  const values = ['18446744073709551615', '340282366920938463463374607431768211455', '-170141183460469231731687303715884105728',
    '"0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"', '-9223372036854775808'];
  host.mustCli(['call', 'big', 'put', '--', ...values]);
  const r = await host.http('POST', '/v1/database/big/sql', { body: 'SELECT * FROM n' });
  assert.ok(r.text.includes(`[${values.join(',')}]`), r.text);
  host.psql(`select spacetime.settle('big')`);
  assert.equal(host.psql('select id, a, b, c, d from big.n'),
    '18446744073709551615|340282366920938463463374607431768211455|-170141183460469231731687303715884105728|115792089237316195423570985008687907853269984665640564039457584007913129639935|-9223372036854775808');
});

test('login keeps a server-issued identity; version, unknown commands and wrong names speak clearly', async () => {
  const config = join(host.dir, 'other.toml');
  copyFileSync(host.config, config);
  const run = (...args) => spawnSync(bin('spacetime'), ['--config-path', config, ...args], { encoding: 'utf8', env: { ...process.env, HOME: host.dir } });
  assert.match(run('login', '--server-issued-login', 'local').stdout, /Logged in with identity [0-9a-f]{64}/);
  assert.match(run('login', 'show').stdout, /You are logged in as [0-9a-f]{64}/);
  assert.equal(run('logout').status, 0);
  assert.match(run('login', 'show').stdout, /not logged in/i);
  assert.equal(run('version').status, 0);
  const unknown = run('publsh');
  assert.equal(unknown.status, 2);
  assert.match(unknown.stderr, /publish/);
  const bad = run('publish', 'Not_A_Name', '-b', modulePath('ledger'), '--yes');
  assert.equal(bad.status, 1);
  assert.match(bad.stderr, /name/);
});

await main(() => host.stop());
