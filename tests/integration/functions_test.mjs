// The behaviours of reducers, lifecycle, table operations, event tables and logs, as section 16 of the functions sheet numbers them. Those of scheduled
// tables (30 to 50) are in worker_schedule_test.c and schedule_test.mjs.
import { Host, compileText, main, sleep, test, until, within } from './lib.mjs';
import { Wire, bytes, i64, str, u32, u64, u8 } from '../clients/wire.mjs';
import assert from 'node:assert/strict';

const source = `#include "spacetimedb.h"
ST_MODULE(functions, "1.0.0");
ST_TABLE(item, PUBLIC, (uint64_t, id, PK_AUTO), (uint32_t, n, INDEX), (st_str, text));
ST_TABLE(note, PUBLIC, (uint64_t, id, PK_AUTO), (st_str, what), (st_identity, who), (st_connection_id, connection), (bool, has_connection), (uint32_t, origin), (int64_t, stamp), (st_str, extra));
ST_TABLE(fault, PRIVATE, (uint32_t, id, PK), (st_str, what));
ST_TABLE(tiny, PUBLIC, (uint8_t, id, PK_AUTO), (uint32_t, n));
ST_TABLE(twice, PUBLIC, (uint64_t, a, UNIQUE_AUTO), (uint32_t, b, AUTO));
ST_TABLE(pair, PUBLIC, (uint32_t, a), (uint32_t, b), (uint32_t, c));
ST_INDEX(pair, by_a_b, a, b);
ST_TABLE(bag, PUBLIC, (uint32_t, v));
ST_TABLE(key, PUBLIC, (uint32_t, k, PK), (uint32_t, v));
ST_EVENT_TABLE(shot, PUBLIC, (uint32_t, k, PK), (uint32_t, v));

static st_status say(st_reducer_ctx *ctx, st_str what, st_str extra) {
    note r = { .what = what, .who = ctx->sender, .connection = ctx->connection.v, .has_connection = ctx->connection.some,
               .origin = ctx->origin, .stamp = ctx->timestamp.us, .extra = extra };
    return note_insert(ctx->db, &r);
}
static bool armed(st_reducer_ctx *ctx, uint32_t which) { return fault_find_by_id(ctx->db, which) != NULL; }

ST_INIT(on_init) {
    return say(ctx, ST_S("init"), ST_S(""));
}
ST_CLIENT_CONNECTED(on_connect) {
    if (armed(ctx, 1)) return st_fail(ctx, "no entry today");
    return say(ctx, ST_S("connected"), st_claim(ctx, "sub", 0));
}
ST_CLIENT_DISCONNECTED(on_disconnect) {
    st_status s = say(ctx, ST_S("disconnected"), st_claim(ctx, "sub", 0));
    if (armed(ctx, 2)) return st_fail(ctx, "cannot let you go");
    return s;
}
ST_REDUCER(arm, (uint32_t, which), (bool, on)) {
    fault f = { .id = which, .what = ST_S("armed") };
    if (!on) { fault_delete_by_id(ctx->db, which); return ST_OK; }
    return fault_insert(ctx->db, &f);
}
ST_REDUCER(one_then_fail) {
    item a = { .n = 1, .text = ST_S("a") };
    if (item_insert(ctx->db, &a)) return ST_E_USER;
    return st_fail(ctx, "the exact text: \\"%d\\" \\xc3\\xa9", 7);
}
ST_REDUCER(trap) { item a = { .n = 66 }; if (item_insert(ctx->db, &a)) return ST_E_USER; __builtin_trap(); }
ST_REDUCER(loop) { item a = { .n = 67 }; if (item_insert(ctx->db, &a)) return ST_E_USER; for (volatile int i = 0; i >= 0; i = (i + 1) & 1023) ; return ST_OK; }
ST_REDUCER(add, (uint32_t, n), (st_str, text)) { item a = { .n = n, .text = text }; return item_insert(ctx->db, &a); }
ST_REDUCER(inner_fails) { item a = { .n = 500 }; if (item_insert(ctx->db, &a)) return ST_E_USER; return st_fail(ctx, "inner"); }
ST_REDUCER(ignores) { (void)inner_fails(ctx); return ST_OK; }
ST_REDUCER(passes_on) { return inner_fails(ctx); }
ST_REDUCER(stamps) {
    st_timestamp before = ctx->timestamp;
    for (volatile int i = 0; i < 30000000; i++) ;
    st_log_info(ctx, "stamp %lld", (long long)before.us);
    st_log_info(ctx, "stamp %lld", (long long)ctx->timestamp.us);
    return ST_OK;
}
ST_REDUCER(draw) {
    st_str text = st_format(ctx, "%016llx %016llx", (unsigned long long)st_random_u64(ctx), (unsigned long long)st_random_u64(ctx));
    return say(ctx, ST_S("draw"), text);
}
ST_REDUCER(who) { return say(ctx, ST_S("who"), ST_S("")); }
ST_REDUCER(slow) { for (volatile long i = 0; i < 600000000; i++) ; return say(ctx, ST_S("slow"), ST_S("")); }
ST_REDUCER(claims) {
    st_str all = st_claims(ctx), aud = st_claim(ctx, "aud", 1);
    if (st_claim(ctx, "nothing", 0).ptr || st_claim(ctx, "sub", 1).ptr || st_claim(ctx, "iat", 0).ptr) return st_fail(ctx, "a claim too many");
    return say(ctx, ST_S("claims"), st_format(ctx, "%.*s|%.*s|%.*s", ST_FMT(st_claim(ctx, "iss", 0)), ST_FMT(aud), ST_FMT(all)));
}
ST_REDUCER(measure) {
    uint32_t w = st_stopwatch(ctx, "a loop");
    for (volatile int i = 0; i < 1000; i++) ;
    if (st_stopwatch_end(ctx, w)) return st_fail(ctx, "the stopwatch was there");
    if (st_stopwatch_end(ctx, w) != ST_E_NO_STOPWATCH || st_stopwatch_end(ctx, 99) != ST_E_NO_STOPWATCH) return st_fail(ctx, "ended twice");
    return ST_OK;
}

ST_REDUCER(tiny_add) { tiny t = { .n = 1 }; return tiny_insert(ctx->db, &t); }
ST_REDUCER(item_at, (uint64_t, id)) { item a = { .id = id, .n = 9 }; return item_insert(ctx->db, &a); }
ST_REDUCER(item_fail_after_numbers) { for (int i = 0; i < 3; i++) { item a = { .n = 1 }; if (item_insert(ctx->db, &a)) return ST_E_USER; } return st_fail(ctx, "numbers spent"); }
ST_REDUCER(twice_add) { twice t = { 0, 0 }; return twice_insert(ctx->db, &t); }
ST_REDUCER(clear_items) { item_clear(ctx->db); return ST_OK; }
ST_REDUCER(unique_tried) {
    key a = { 1, 1 }, b = { 1, 2 };
    if (key_insert(ctx->db, &a)) return ST_E_USER;
    if (key_try_insert(ctx->db, &b) != ST_E_UNIQUE) return st_fail(ctx, "no conflict");
    return ST_OK;
}
ST_REDUCER(unique_ignored) {
    key a = { 2, 1 }, b = { 2, 2 };
    if (key_insert(ctx->db, &a)) return ST_E_USER;
    (void)!key_insert(ctx->db, &b);
    return ST_OK;
}
ST_REDUCER(bag_twice) {
    bag b = { 7 };
    if (bag_insert(ctx->db, &b) || bag_insert(ctx->db, &b)) return st_fail(ctx, "a set refuses nothing");
    return bag_count(ctx->db) == 1 ? ST_OK : st_fail(ctx, "counted %llu", (unsigned long long)bag_count(ctx->db));
}
ST_REDUCER(bag_again) {
    bag b = { 7 };
    if (!bag_delete(ctx->db, &b)) return st_fail(ctx, "it was there");
    return bag_insert(ctx->db, &b);
}
ST_REDUCER(update_unknown) { key k = { 4711, 1 }; return key_update_by_k(ctx->db, &k); }
ST_REDUCER(key_put, (uint32_t, k), (uint32_t, v)) { key a = { k, v }; return key_find_by_k(ctx->db, k) ? key_update_by_k(ctx->db, &a) : key_insert(ctx->db, &a); }
ST_REDUCER(delete_while_walking) {
    uint32_t seen = 0;
    for (uint32_t i = 0; i < 1000; i++) { pair p = { 900 + i % 7, i, i }; if (pair_insert(ctx->db, &p)) return ST_E_USER; }
    ST_FOR(pair, p, pair_all(ctx->db)) { seen++; if (!pair_delete(ctx->db, p)) return st_fail(ctx, "seen twice"); }
    if (seen != 1000 || pair_count(ctx->db)) return st_fail(ctx, "%u seen, %llu left", seen, (unsigned long long)pair_count(ctx->db));
    return ST_OK;
}
ST_REDUCER(ranges) {
    for (uint32_t a = 0; a < 5; a++) for (uint32_t b = 0; b < 10; b++) { pair p = { a, 9 - b, 0 }; if (pair_insert(ctx->db, &p)) return ST_E_USER; }
    uint32_t n = 0, last = 0, lo = 3, hi = 6;
    ST_FOR(pair, p, pair_by_a_b(ctx->db, 2)) { if (p->a != 2 || (n && p->b <= last)) return st_fail(ctx, "prefix"); last = p->b; n++; }
    if (n != 10) return st_fail(ctx, "prefix: %u", n);
    n = 0;
    ST_FOR(pair, p, pair_by_a_b_range(ctx->db, 2, &lo, &hi)) { if (p->b < 3 || p->b >= 6) return st_fail(ctx, "range"); n++; }
    if (n != 3) return st_fail(ctx, "range: %u", n);
    n = 0;
    ST_FOR(pair, p, pair_by_a_b_range(ctx->db, 2, &lo, NULL)) { if (p->b < 3) return st_fail(ctx, "open"); n++; }
    pair_clear(ctx->db);
    return n == 7 ? ST_OK : st_fail(ctx, "open: %u", n);
}
ST_REDUCER(shoot, (uint32_t, k), (uint32_t, v)) { shot s = { k, v }; return shot_insert(ctx->db, &s); }
ST_REDUCER(shoot_twice) { shot a = { 1, 1 }, b = { 1, 2 }; if (shot_insert(ctx->db, &a)) return ST_E_USER; return shot_insert(ctx->db, &b); }
ST_REDUCER(shoot_and_fail) { shot a = { 2, 1 }; if (shot_insert(ctx->db, &a)) return ST_E_USER; return st_fail(ctx, "missed"); }
ST_REDUCER(shots_now) { return shot_count(ctx->db) == 0 ? ST_OK : st_fail(ctx, "shots are left"); }
ST_REDUCER(log_all) {
    st_log_error(ctx, "at error"); st_log_warn(ctx, "at warn"); st_log_info(ctx, "at info"); st_log_debug(ctx, "at debug"); st_log_trace(ctx, "at trace");
    return ST_OK;
}
ST_REDUCER(log_and_fail) { st_log_info(ctx, "said before the end"); return st_fail(ctx, "the end"); }
`;
const module = compileText('functions', source);
const next = compileText('functions2', source.replace('(uint32_t, v));\nST_EVENT_TABLE', '(uint32_t, v), (uint32_t, w));\nST_DEFAULT(key, w, 3);\nST_EVENT_TABLE'));
const breaking = compileText('functions3', source.replace('(uint32_t, v));\nST_EVENT_TABLE', '(uint32_t, v), (uint32_t, w));\nST_DEFAULT(key, w, 3);\nST_EVENT_TABLE').replace('ST_EVENT_TABLE(shot, PUBLIC, (uint32_t, k, PK), (uint32_t, v));', 'ST_EVENT_TABLE(shot, PUBLIC, (uint32_t, k, PK), (uint64_t, v));').replace('"disconnected"', '"new disconnected"'));
const host = await new Host({ args: ['--call-timeout-ms', '1500'] }).start();
const db = 'functions';
const call = (reducer, args = [], options) => host.call(db, reducer, args, options);
const good = async (reducer, ...args) => { const r = await call(reducer, args); assert.equal(r.status, 200, `${reducer}: ${r.status} ${r.text}`); };
const rows = (sql, token) => host.sql(db, sql, { token });
const notes = async what => (await rows(`SELECT * FROM note WHERE what = '${what}'`)).map(r => ({ id: r[0], who: JSON.stringify(r[2]), connection: JSON.stringify(r[3]), has: r[4], origin: r[5], stamp: r[6], extra: r[7] }));
const logs = async () => host.logs(db);
const identity = async () => JSON.parse((await host.http('POST', '/v1/identity', { token: null })).text);
const hex = id => id.replace(/^0x/, '').replace(/^0+/, '');

// A client that sees the changes of some queries, in the order in which they come.
async function watcher(...queries) {
  const w = new Wire(host.port, db, { token: host.token });
  w.updates = [];
  let applied;
  const ready = new Promise((done, refused) => { applied = { done, refused }; });
  w.onMessage = (tag, body) => { if (tag === 1) applied.done(); else if (tag === 3) applied.refused(new Error(body.toString())); else if (tag === 4) w.updates.push(body.toString('latin1')); };
  await w.opened;
  w.send(Buffer.concat([u8(0), u32(1), u32(1), u32(queries.length), ...queries.map(str)]));
  await within('the subscription', ready);
  return w;
}

test('15, 16: init runs at the first publish only, as the owner; one that fails leaves nothing', async () => {
  const failing = compileText('functions-failing', source.replace('return say(ctx, ST_S("init"), ST_S(""));', '(void)!say(ctx, ST_S("init"), ST_S("")); return st_fail(ctx, "not this time");'));
  const r = await host.publish(db, failing);
  assert.equal(r.status, 500);
  assert.match(r.text, /not this time/);
  assert.equal((await host.http('GET', `/v1/database/${db}`)).status, 404);
  assert.equal(host.psql(`select count(*) from pg_namespace where nspname = '${db}'`), '0');
  await host.mustPublish(db, module);
  await host.mustPublish(db, module);
  await host.stop();
  await host.start();
  const [first, ...more] = await notes('init');
  assert.equal(more.length, 0);
  assert.ok(first.who.includes(hex(host.identity)));
  assert.equal(first.has, false);
  assert.equal(first.origin, 3);
});

test('1, 3, 4: an error rolls back, gives the exact text and 530, and nobody else hears of it', async () => {
  const other = await watcher('SELECT * FROM item');
  const r = await call('one_then_fail');
  assert.equal(r.status, 530);
  assert.equal(r.text, 'the exact text: "7" é');
  const client = new Wire(host.port, db, { token: host.token });
  await client.opened;
  const answer = await client.call('one_then_fail', Buffer.alloc(0));
  assert.deepEqual([answer.outcome, answer.text], ['error', 'the exact text: "7" é']);
  client.close();
  assert.equal((await rows('SELECT * FROM item')).length, 0);
  await good('add', 3, 'seen');
  await until('the good one', () => other.updates.length === 1);
  other.close();
});

test('2: a fault costs its own call', async () => {
  const r = await call('trap');
  assert.equal(r.status, 530);
  assert.match(r.text, /`trap`[^]*SIGILL/);
  await good('add', 4, 'after the fault');
  assert.equal((await rows('SELECT * FROM item WHERE n = 66')).length, 0);
});

test('5 to 8: wrong arguments are refused before the module runs, an object may name them in any order', async () => {
  for (const args of ['[1]', '[1,"a",2]', '["x","a"]', '[-1,"a"]', '{"n":1}', '[1,"a"] x', 'nonsense']) {
    const r = await call('add', args);
    assert.equal(r.status, 400, `${args}: ${r.status} ${r.text}`);
  }
  const before = (await rows('SELECT * FROM item')).length;
  const client = new Wire(host.port, db, { token: host.token });
  await client.opened;
  const extra = await client.call('add', Buffer.concat([u32(5), str('x'), u8(0)]));
  assert.equal(extra.outcome, 'internal');
  assert.match(extra.text, /left over/);
  client.close();
  assert.equal((await rows('SELECT * FROM item')).length, before);
  await good('add', 77, 'by position');
  assert.equal((await call('add', '{"text":"by name","n":78}')).status, 200);
  assert.deepEqual((await rows('SELECT * FROM item WHERE n = 78')).map(r => r[2]), ['by name']);
  assert.equal((await call('no_such_thing')).status, 404);
  const text = (await logs()).filter(l => l.level === 'Error').map(l => l.message).join('\n');
  assert.match(text, /invalid arguments for reducer add/);
  assert.match(text, /no such reducer: `no_such_thing`/);
});

test('9, 10: a reducer that calls another runs it in its own transaction', async () => {
  await good('clear_items');
  assert.equal((await call('passes_on')).status, 530);
  assert.equal((await rows('SELECT * FROM item')).length, 0);
  await good('ignores');
  assert.deepEqual((await rows('SELECT n FROM item')).map(r => r[0]), [500]);
});

test('11, 12: one timestamp for a call; random numbers are new in each', async () => {
  await good('stamps');
  const stamps = (await logs()).filter(l => /^stamp /.test(l.message)).map(l => l.message);
  assert.equal(stamps.length, 2);
  assert.equal(stamps[0], stamps[1]);
  await good('draw');
  await good('draw');
  const [a, b] = (await notes('draw')).map(n => n.extra.split(' '));
  assert.equal(new Set([...a, ...b]).size, 4);
});

test('13, 14, 22: who calls; every HTTP call is a connection of its own', async () => {
  const client = new Wire(host.port, db, { token: host.token });
  await client.opened;
  assert.equal((await client.call('who', Buffer.alloc(0))).outcome, 'ok');
  assert.equal((await client.call('who', Buffer.alloc(0))).outcome, 'ok');
  client.close();
  await good('who');
  await good('who');
  const [first, second, third, fourth] = await notes('who');
  for (const n of [first, second, third, fourth]) assert.ok(n.who.includes(hex(host.identity)) && n.has);
  assert.equal(first.connection, second.connection);
  assert.equal(new Set([first.connection, third.connection, fourth.connection]).size, 3);
  assert.deepEqual([first.origin, third.origin], [0, 1]);
  const all = (await rows(`SELECT * FROM note`)).filter(r => JSON.stringify(r[3]) === fourth.connection).map(r => [Number(r[0]), r[1]]).sort((a, b) => a[0] - b[0]);
  assert.deepEqual(all.map(r => r[1]), ['connected', 'who', 'disconnected']);
});

test('18: lifecycle reducers are nobody\'s to call', async () => {
  for (const name of ['on_init', 'on_connect', 'on_disconnect']) {
    const r = await call(name);
    assert.equal(r.status, 400);
    assert.match(r.text, /special \w+ lifecycle reducer/);
  }
});

test('19: the row of client_connected is there before the client hears anything', async () => {
  const before = (await notes('connected')).length;
  const w = new Wire(host.port, db, { token: host.token });
  const first = new Promise(done => { w.onMessage = done; });
  await within('the first message', first);
  const count = Number(host.psql(`select spacetime.settle('${db}'); select count(*) from ${db}.note where what = 'connected'`).split('\n').at(-1));
  assert.ok(count > before);
  w.close();
});

test('20, 21: client_connected may refuse', async () => {
  const settled = async () => { let last = -1; return until('quiet', async () => { const n = (await rows("SELECT * FROM note WHERE what = 'disconnected'")).length; const same = n === last + 1; last = n; return same ? n : 0; }); };
  await settled();
  await good('arm', 1, true);
  const before = Number(host.psql(`select spacetime.settle('${db}'); select count(*) from ${db}.note`).split('\n').at(-1));
  const w = new Wire(host.port, db, { token: host.token });
  const e = await within('the close', w.closed);
  assert.deepEqual([e.code, e.reason], [1008, 'no entry today']);
  for (const [path, body] of [[`/v1/database/${db}/call/who`, '[]'], [`/v1/database/${db}/sql`, 'SELECT * FROM item']]) {
    const r = await host.http('POST', path, { body, headers: { 'content-type': 'application/json' } });
    assert.equal(r.status, 403, r.text);
    assert.match(r.text, /no entry today/);
  }
  assert.equal(Number(host.psql(`select spacetime.settle('${db}'); select count(*) from ${db}.note`).split('\n').at(-1)), before);
  // the door is locked from inside, too: a publish that clears opens it
  await host.mustPublish(db, module, { query: '?clear=true' });
});

test('17: after a reset the tables are empty and init has run again', async () => {
  assert.equal((await rows('SELECT * FROM item')).length, 0);
  assert.equal((await notes('init')).length, 1);
  await good('add', 1, 'first');
  assert.deepEqual((await rows('SELECT id FROM item')).map(r => Number(r[0])), [1]);
});

test('23, 24: client_disconnected runs also when the request failed or the caller left', async () => {
  const before = (await notes('disconnected')).length;
  assert.equal((await host.http('POST', `/v1/database/${db}/sql`, { body: 'SELEKT' })).status, 400);
  await until('its leaving', async () => (await notes('disconnected')).length > before);
  const gone = new AbortController();
  const lost = fetch(`${host.url}/v1/database/${db}/call/slow`, { method: 'POST', body: '[]', headers: { ...host.headers(), 'content-type': 'application/json' }, signal: gone.signal }).catch(() => 'lost');
  await sleep(100);
  gone.abort();
  assert.equal(await lost, 'lost');
  const [slow] = await until('the reducer', async () => { const n = await notes('slow'); return n.length ? n : 0; });
  await until('its leaving', async () => (await notes('disconnected')).some(n => n.connection === slow.connection));
  await until('no connection is left', () => host.psql(`select spacetime.settle('${db}'); select count(*) from ${db}.st_client`).split('\n').at(-1) === '0');
});

test('25: a client_disconnected that fails is logged, its writes are gone, the client too', async () => {
  await good('arm', 2, true);
  await until('quiet', () => host.psql(`select spacetime.settle('${db}'); select count(*) from ${db}.st_client`).split('\n').at(-1) === '0');
  const before = (await notes('disconnected')).length;
  const w = new Wire(host.port, db, { token: host.token });
  await w.opened;
  assert.equal((await w.call('who', Buffer.alloc(0))).outcome, 'ok');
  w.close();
  await until('the error', async () => (await logs()).some(l => l.level === 'Error' && l.message === 'cannot let you go' && l.function === 'on_disconnect'));
  await until('the connection is gone', () => host.psql(`select spacetime.settle('${db}'); select count(*) from ${db}.st_client`).split('\n').at(-1) === '0');
  await good('arm', 2, false);
  assert.ok((await notes('disconnected')).length <= before + 1);
});

test('26, 27: after a crash of the host every client has left, with the claims that it came with', async () => {
  const a = await identity(), b = await identity();
  const clients = [a, b].map(i => new Wire(host.port, db, { token: i.token }));
  await Promise.all(clients.map(c => c.opened));
  for (const c of clients) assert.equal((await c.call('who', Buffer.alloc(0))).outcome, 'ok');
  const sub = i => JSON.parse(Buffer.from(i.token.split('.')[1], 'base64url')).sub;
  assert.equal(Number(host.psql(`select spacetime.settle('${db}'); select count(*) from ${db}.st_client where claims::jsonb->>'sub' in ('${sub(a)}', '${sub(b)}')`).split('\n').at(-1)), 2);
  await host.kill('SIGKILL');
  await host.start();
  const left = await until('both have left', async () => { const n = (await notes('disconnected')).filter(x => [sub(a), sub(b)].includes(x.extra)); return n.length === 2 ? n : 0; });
  assert.deepEqual(left.map(n => n.extra).sort(), [sub(a), sub(b)].sort());
  await until('only new connections are listed', () => host.psql(`select spacetime.settle('${db}'); select count(*) from ${db}.st_client`).split('\n').at(-1) === '0');
  const c = await identity();
  const live = new Wire(host.port, db, { token: c.token });
  await live.opened;
  assert.equal((await live.call('who', Buffer.alloc(0))).outcome, 'ok');
  for (const pid of host.workers()) process.kill(pid, 'SIGKILL'); // the next worker knows them, too
  live.close();
  await until('it has left', async () => (await notes('disconnected')).some(x => x.extra === sub(c)));
});

test('claims: texts and lists of the caller\'s token', async () => {
  await good('claims');
  const [n] = await notes('claims');
  const [iss, aud, all] = n.extra.split('|');
  const payload = JSON.parse(Buffer.from(host.token.split('.')[1], 'base64url'));
  assert.equal(iss, payload.iss);
  assert.equal(aud, Array.isArray(payload.aud) ? payload.aud[1] ?? '' : '');
  assert.deepEqual(JSON.parse(all), payload);
});

test('28, 29: a compatible update disconnects nobody; a breaking one everybody, and the new module hears of it', async () => {
  const w = new Wire(host.port, db, { token: host.token });
  await w.opened;
  assert.equal((await w.call('who', Buffer.alloc(0))).outcome, 'ok');
  const before = (await notes('init')).length;
  await host.mustPublish(db, next);
  assert.equal((await w.call('who', Buffer.alloc(0))).outcome, 'ok');
  assert.ok(!w.gone);
  assert.equal((await notes('init')).length, before);
  const plan = JSON.parse((await host.http('POST', `/v1/database/${db}/pre_publish`, { body: (await import('node:fs')).readFileSync(breaking) })).text);
  const { token } = plan.AutoMigrate ?? plan.ManualMigrate ?? plan;
  await host.mustPublish(db, breaking, { query: `?policy=BreakClients&token=${token}` });
  await until('the client was cut', () => w.gone);
  await until('the new module heard', async () => (await notes('new disconnected')).length > 0);
});

test('51 to 56: auto-increment', async () => {
  await host.mustPublish(db, module, { query: '?clear=true' });
  for (let i = 0; i < 3; i++) await good('add', 1, 'x');
  const ids = async () => (await rows('SELECT id FROM item')).map(r => Number(r[0])).sort((a, b) => a - b);
  assert.deepEqual(await ids(), [1, 2, 3]);
  await good('item_at', 42);
  await good('add', 1, 'x');
  assert.deepEqual(await ids(), [1, 2, 3, 4, 42]);
  await good('item_at', 6);
  await good('add', 1, 'x'); // 5
  const r = await call('add', [1, 'x']); // 6 is taken, and spent
  assert.equal(r.status, 530);
  assert.match(r.text, /item[^]*id[^]*6/);
  await good('add', 1, 'x');
  assert.deepEqual(await ids(), [1, 2, 3, 4, 5, 6, 7, 42]);
  assert.equal((await call('item_fail_after_numbers')).status, 530);
  await good('add', 1, 'x');
  const known = new Set(await ids());
  await host.kill('SIGKILL');
  await host.start();
  await good('add', 1, 'x');
  const after = await ids();
  assert.equal(after.length, known.size + 1);
  for (let i = 1; i <= 255; i++) await good('tiny_add');
  const full = await call('tiny_add');
  assert.equal(full.status, 530);
  assert.match(full.text, /tiny[^]*id[^]*last number/);
  assert.equal((await rows('SELECT * FROM tiny')).length, 255);
  await good('twice_add');
  await good('twice_add');
  assert.deepEqual((await rows('SELECT a, b FROM twice')).map(r => [Number(r[0]), r[1]]), [[1, 1], [2, 2]]);
});

test('57 to 60: unique columns, and tables as sets', async () => {
  await good('unique_tried');
  assert.deepEqual(await rows('SELECT v FROM key WHERE k = 1'), [[1]]);
  const r = await call('unique_ignored');
  assert.equal(r.status, 530);
  assert.match(r.text, /key[^]*k[^]*2/);
  assert.equal((await rows('SELECT * FROM key WHERE k = 2')).length, 0);
  const w = await watcher('SELECT * FROM bag');
  await good('bag_twice');
  await good('bag_again');
  await good('add', 1, 'x');
  await good('bag_again');
  await sleep(200);
  assert.equal(w.updates.length, 1);
  w.close();
});

test('61 to 64: updates, walks and ranges', async () => {
  const r = await call('update_unknown');
  assert.equal(r.status, 530);
  assert.match(r.text, /key[^]*no row with value 4711/);
  await good('delete_while_walking');
  await good('ranges');
});

test('82 to 84: event tables', async () => {
  const w = await watcher('SELECT * FROM shot');
  await good('shoot', 9, 1);
  await good('shoot', 9, 2);
  await until('both', () => w.updates.length === 2);
  assert.equal((await call('shoot_twice')).status, 530);
  assert.equal((await call('shoot_and_fail')).status, 530);
  await good('shots_now');
  await good('shoot', 9, 3);
  await until('the next', () => w.updates.length === 3);
  w.close();
});

test('85 to 87: the log', async () => {
  await good('log_all');
  await call('log_and_fail');
  const all = (await logs()).filter(l => /^at |^said before/.test(l.message));
  assert.deepEqual(all.map(l => l.message), ['at error', 'at warn', 'at info', 'at debug', 'at trace', 'said before the end']);
  for (const l of all) assert.ok(/functions\.c$/.test(l.filename) && l.line_number > 100, JSON.stringify(l));
  assert.equal(all[0].function, 'log_all');
  const warn = host.mustCli(['logs', db, '-n', '10000', '--level', 'warn']), info = host.mustCli(['logs', db, '-n', '10000', '--level', 'info', '--level-exact']);
  assert.ok(/at error/.test(warn) && /at warn/.test(warn) && !/at info/.test(warn));
  assert.ok(/at info/.test(info) && !/at error/.test(info) && !/at debug/.test(info));
  const stranger = await identity();
  assert.ok([401, 403].includes((await host.http('GET', `/v1/database/${db}/logs`, { token: stranger.token })).status));
});

test('a stopwatch writes a line', async () => {
  await good('measure');
  assert.ok((await logs()).some(l => /^a loop: \d+\.\d{3} ms$/.test(l.message) && l.level === 'Info' && l.function === 'measure'));
});

test('88: an endless loop is ended, rolled back, and named', async () => {
  const r = await call('loop');
  assert.equal(r.status, 530);
  assert.match(r.text, /`loop`[^]*ran longer than 1500 ms/);
  await good('add', 1, 'after the loop');
  assert.equal((await rows('SELECT * FROM item WHERE n = 67')).length, 0);
});

await main(() => host.stop());
