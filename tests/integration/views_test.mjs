// Views: results by sender and for all, read by SQL and subscriptions, kept up to date by what changes; behaviours 78 to 81 of the functions sheet.
import { Host, compileText, connect, main, subscribe, test, until } from './lib.mjs';
import { viewed } from '../clients/bindings.mjs';
import { Viewer } from './migration/kit.mjs';
import { definition } from './migration/notation.mjs';
import assert from 'node:assert/strict';

const source = ({ mine = 'item', more = '' } = {}) => `#include "spacetimedb.h"
ST_MODULE(views, "1.0.0");
ST_TABLE(item, PUBLIC, (uint32_t, id, PK), (st_identity, owner, INDEX), (uint32_t, n, INDEX));
ST_TABLE(pair, PRIVATE, (uint32_t, a), (uint32_t, b));
ST_INDEX(pair, by_a_b, a, b);
ST_TABLE(word, PUBLIC, (uint32_t, id, PK), (st_str, text));
ST_STRUCT(total, (uint64_t, n));
ST_STRUCT(line, (uint32_t, id), (uint32_t, n));

ST_VIEW(mine, PUBLIC, item) {
    st_log_info(ctx, "mine runs");
    ST_FOR(item, i, item_by_owner(ctx->db, ctx->sender)) { ${mine === 'item' ? '' : mine} st_status s = item_emit(out, i); if (s) return s; }
    return ST_OK;
}
ST_ANON_VIEW(totals, PUBLIC, total) { total t = { item_count(ctx->db) }; st_log_info(ctx, "totals runs"); return total_emit(out, &t); }
ST_ANON_OPTION_VIEW(first, PUBLIC, word) {
    st_log_info(ctx, "first runs");
    const word *w = word_find_by_id(ctx->db, 1);
    return w ? word_emit(out, w) : ST_OK;
}
ST_ANON_VIEW(middle, PUBLIC, line) {
    uint32_t lo = 10, hi = 20;
    st_log_info(ctx, "middle runs");
    ST_FOR(item, i, item_by_n_range(ctx->db, &lo, &hi)) { line l = { i->id, i->n }; st_status s = line_emit(out, &l); if (s) return s; }
    return ST_OK;
}
ST_VIEW_KEY(middle, id);
ST_ANON_VIEW(pairs, PRIVATE, pair) {
    uint32_t lo = 5;
    ST_FOR(pair, p, pair_by_a_b_range(ctx->db, 1, &lo, NULL)) { st_status s = pair_emit(out, p); if (s) return s; }
    return ST_OK;
}
ST_QUERY_VIEW(asked, PUBLIC, item) { st_log_info(ctx, "asked runs"); return item_query(out, "SELECT * FROM item WHERE owner = :sender AND n > 5"); }
ST_ANON_QUERY_VIEW(large, PUBLIC, item) { return item_query(out, "SELECT * FROM item WHERE n >= 100"); }
ST_ANON_QUERY_VIEW(misasked, PUBLIC, item) { return item_query(out, "SELECT * FROM word"); }
ST_ANON_QUERY_VIEW(nested, PUBLIC, item) { return item_query(out, "SELECT * FROM large"); }
ST_ANON_VIEW(failing, PUBLIC, total) {
    total t = { item_count(ctx->db) };
    const word *w = word_find_by_id(ctx->db, 66);
    if (w) return ST_E_USER;
    return total_emit(out, &t);
}
ST_ANON_VIEW(trapping, PUBLIC, total) {
    total t = { 1 };
    if (word_find_by_id(ctx->db, 77)) __builtin_trap();
    return total_emit(out, &t);
}
ST_ANON_VIEW(doubled, PUBLIC, line) {
    line a = { 1, 1 }, b = { 1, 2 };
    st_status s = line_emit(out, &a);
    return s ? s : word_find_by_id(ctx->db, 88) ? line_emit(out, &b) : line_emit(out, &a);
}
ST_VIEW_KEY(doubled, id);
ST_ANON_VIEW(writing, PUBLIC, total) { item i = { .id = 999 }; st_status s = item_insert((st_db *)ctx->db, &i); total t = { 0 }; return s ? s : total_emit(out, &t); }
ST_ANON_VIEW(slow, PUBLIC, total) { total t = { 0 }; for (;;) t.n += item_count(ctx->db); return total_emit(out, &t); }

ST_REDUCER(put, (uint32_t, id), (uint32_t, n)) { item i = { .id = id, .owner = ctx->sender, .n = n }; item_delete_by_id(ctx->db, id); return item_insert(ctx->db, &i); }
ST_REDUCER(drop, (uint32_t, id)) { item_delete_by_id(ctx->db, id); return ST_OK; }
ST_REDUCER(swap_items, (uint32_t, id), (uint32_t, other)) {
    const item *i = item_find_by_id(ctx->db, id);
    if (!i) return st_fail(ctx, "no such item");
    item j = *i; j.id = other; item_delete_by_id(ctx->db, id);
    return item_insert(ctx->db, &j);
}
ST_REDUCER(put_and_fail, (uint32_t, id)) { item i = { .id = id, .owner = ctx->sender, .n = 15 }; return item_insert(ctx->db, &i) ? ST_E_USER : st_fail(ctx, "no"); }
ST_REDUCER(say, (uint32_t, id), (st_str, text)) { word w = { .id = id, .text = text }; word_delete_by_id(ctx->db, id); return word_insert(ctx->db, &w); }
ST_REDUCER(forget, (uint32_t, id)) { word_delete_by_id(ctx->db, id); return ST_OK; }
ST_REDUCER(pair_up, (uint32_t, a), (uint32_t, b)) { pair p = { a, b }; return pair_insert(ctx->db, &p); }
${more}
`;

const host = await new Host({ args: ['--view-timeout-ms', '300', '--call-timeout-ms', '3000'] }).start();
const db = 'views';
// As clients see them: a view is like a table.
const shapes = definition(`item(id u32*, owner id, n u32)
mine(id u32*, owner id, n u32)
asked(id u32*, owner id, n u32)
large(id u32*, owner id, n u32)
word(id u32*, text str)
first(id u32*, text str)
totals(n u64)
failing(n u64)
trapping(n u64)
middle(id u32*, n u32)
doubled(id u32*, n u32)
pairs(a u32, b u32)`);
const someone = async () => JSON.parse((await host.http('POST', '/v1/identity', { token: null })).text);
const [ann, bob] = [await someone(), await someone()];
const view = async (who, ...names) => {
  const v = new Viewer(host, db, shapes, { token: who.token });
  await v.opened();
  for (const name of names) { const refusal = await v.subscribe(name); if (refusal) throw new Error(refusal); }
  return v;
};
const call = async (who, reducer, ...args) => {
  const r = await host.call(db, reducer, args, { token: who.token });
  assert.equal(r.status, 200, `${reducer}: ${r.status} ${r.text}`);
};
const ids = (v, table) => (v.rows.get(table) ?? []).map(row => Number(row.id)).sort((a, b) => a - b);
const runs = async name => (await host.logs(db)).filter(l => l.message === `${name} runs`).length;
const sqlIds = async (who, text) => (await host.sql(db, text, { token: who.token })).map(row => row[0]).sort((a, b) => a - b);
const settled = async v => assert.equal(v.failure, null, v.failure?.stack);

await host.mustPublish(db, compileText('views', source()));

test('a view per sender: each sees only its own rows (78), by SQL and by subscription', async () => {
  await call(ann, 'put', 1, 3);
  await call(ann, 'put', 2, 30);
  await call(bob, 'put', 3, 30);
  assert.deepEqual(await sqlIds(ann, 'SELECT * FROM mine'), [1, 2]);
  assert.deepEqual(await sqlIds(bob, 'SELECT * FROM mine'), [3]);
  assert.deepEqual(await sqlIds(ann, 'SELECT id FROM mine WHERE n > 10'), [2]);
  assert.deepEqual(await host.sql(db, 'SELECT COUNT(*) AS n FROM mine', { token: bob.token }), [[1]]);
  assert.deepEqual((await host.sql(db, 'SELECT * FROM mine', { token: bob.token }))[0].length, 3, 'no column more than the view has');
  const [a, b] = [await view(ann, 'mine'), await view(bob, 'mine')];
  assert.deepEqual([ids(a, 'mine'), ids(b, 'mine')], [[1, 2], [3]]);
  await call(ann, 'put', 4, 1);
  await call(bob, 'put', 5, 1);
  await call(bob, 'drop', 3);
  await until('both to hear of their own', () => ids(a, 'mine').join() === '1,2,4' && ids(b, 'mine').join() === '5');
  for (const v of [a, b]) { await settled(v); v.close(); }
});

test('a view that read a key is not run when another key changes (79)', async () => {
  await call(ann, 'say', 1, 'one');
  const v = await view(ann, 'first');
  assert.deepEqual(ids(v, 'first'), [1]);
  const before = await runs('first');
  for (let id = 2; id < 12; id++) await call(ann, 'say', id, 'other');
  assert.equal(await runs('first'), before);
  await call(ann, 'say', 1, 'uno');
  await until('the row to change', () => v.rows.get('first')[0].text === 'uno');
  assert.equal(await runs('first'), before + 1);
  await call(ann, 'forget', 1);
  await until('the row to go', () => ids(v, 'first').length === 0);
  await settled(v);
  v.close();
});

test('a range that was read: a row outside of it runs nothing, a row that moves in or out does', async () => {
  const v = await view(ann, 'middle');
  const before = await runs('middle');
  await call(ann, 'put', 20, 50);
  await call(ann, 'put', 20, 9);
  assert.equal(await runs('middle'), before);
  await call(ann, 'put', 20, 12);
  await until('a row in the range', () => ids(v, 'middle').join() === '20');
  await call(ann, 'put', 20, 13); // the key stays: one row changes
  await until('the row to change', () => Number(v.rows.get('middle')[0].n) === 13);
  await call(ann, 'put', 20, 40);
  await until('the range to be empty', () => ids(v, 'middle').length === 0);
  assert.equal(await runs('middle'), before + 3);
  await call(ann, 'drop', 20);
  await settled(v);
  v.close();
});

test('a view over a count: as many rows as before, and nothing is sent (80)', async () => {
  const v = await view(ann, 'totals');
  const n = Number(v.rows.get('totals')[0].n);
  let updates = 0;
  const heard = v.wire.onMessage;
  v.wire.onMessage = (tag, body) => { updates += tag === 4; heard(tag, body); };
  await call(ann, 'swap_items', 1, 41);
  await call(ann, 'swap_items', 41, 1);
  assert.equal(Number(v.rows.get('totals')[0].n), n);
  assert.equal(updates, 0);
  await call(ann, 'put', 42, 1);
  await until('the count to rise', () => Number(v.rows.get('totals')[0].n) === n + 1);
  await call(ann, 'drop', 42);
  await until('the count to fall', () => Number(v.rows.get('totals')[0].n) === n);
  assert.equal(updates, 2);
  await settled(v);
  v.close();
});

test('an index over two columns, equality and a bound; a private view is its owner\'s', async () => {
  const owner = { token: host.token };
  await call(owner, 'pair_up', 1, 3);
  await call(owner, 'pair_up', 1, 7);
  assert.deepEqual(await host.sql(db, 'SELECT * FROM pairs'), [[1, 7]]);
  const v = await view(owner, 'pairs');
  await call(owner, 'pair_up', 2, 9);
  await call(owner, 'pair_up', 1, 9);
  await until('the pair in the range', () => v.list('pairs').length === 2);
  v.close();
  const r = await host.http('POST', `/v1/database/${db}/sql`, { body: 'SELECT * FROM pairs', token: ann.token });
  assert.equal(r.status, 400);
  assert.match(r.text, /no such table: `pairs`/);
  await assert.rejects(view(ann, 'pairs'), /no such table: `pairs`/);
});

test('the official client reads views like tables: its own rows, updates by key, removals', async () => {
  const { connection, identity } = await connect(host, viewed, db), seen = [];
  await subscribe(connection, 'SELECT * FROM mine', 'SELECT * FROM middle', 'SELECT * FROM totals');
  connection.db.mine.onInsert((_, row) => seen.push(`mine +${row.id}`));
  connection.db.mine.onDelete((_, row) => seen.push(`mine -${row.id}`));
  connection.db.middle.onInsert((_, row) => seen.push(`middle +${row.id}`));
  connection.db.middle.onUpdate((_, old, row) => seen.push(`middle ${old.n}>${row.n}`));
  connection.db.middle.onDelete((_, row) => seen.push(`middle -${row.id}`));
  const total = () => [...connection.db.totals.iter()].map(row => Number(row.n));
  const [before] = total();
  connection.reducers.put({ id: 500, n: 12 });
  await until('the row in both views', () => seen.includes('mine +500') && seen.includes('middle +500') && total()[0] === before + 1);
  assert.ok([...connection.db.mine.iter()].every(row => row.owner.isEqual(identity)));
  connection.reducers.put({ id: 500, n: 13 });
  await until('an update by the view\'s key', () => seen.includes('middle 12>13'));
  await call(ann, 'put', 501, 90);
  connection.reducers.drop({ id: 500 });
  await until('the row to go', () => seen.includes('mine -500') && seen.includes('middle -500') && total()[0] === before + 1);
  assert.ok(!seen.includes('mine +501'), 'somebody else\'s row');
  assert.equal(total().length, 1);
  await call(ann, 'drop', 501);
  connection.disconnect();
});

test('query views follow their table without being run again', async () => {
  const [a, b, all] = [await view(ann, 'asked'), await view(bob, 'asked'), await view(ann, 'large')];
  const before = await runs('asked');
  await call(ann, 'put', 60, 6);
  await call(ann, 'put', 61, 5);
  await call(bob, 'put', 62, 100);
  await until('both', () => ids(a, 'asked').includes(60) && ids(b, 'asked').includes(62) && ids(all, 'large').join() === '62');
  assert.ok(!ids(a, 'asked').includes(61));
  await call(ann, 'put', 61, 101);
  await call(bob, 'put', 62, 2);
  await until('rows that come in and go out by their values', () => ids(a, 'asked').includes(61) && !ids(b, 'asked').includes(62) && ids(all, 'large').join() === '61');
  await call(ann, 'swap_items', 61, 63);
  await until('another key', () => ids(all, 'large').join() === '63');
  assert.deepEqual(await sqlIds(ann, 'SELECT * FROM large'), [63]);
  assert.deepEqual(await sqlIds(ann, 'SELECT * FROM asked'), ids(a, 'asked'));
  assert.equal(await runs('asked'), before);
  for (const id of [60, 62, 63]) await call(ann, 'drop', id);
  await until('all gone', () => ids(all, 'large').length === 0);
  for (const v of [a, b, all]) { await settled(v); v.close(); }
});

test('a transaction that fails changes no view', async () => {
  const v = await view(ann, 'mine', 'middle');
  const before = ids(v, 'mine');
  assert.equal((await host.call(db, 'put_and_fail', [70], { token: ann.token })).status, 530);
  await call(ann, 'put', 71, 15);
  await until('the good one', () => ids(v, 'middle').join() === '71');
  assert.deepEqual(ids(v, 'mine'), [...before, 71]);
  await call(ann, 'drop', 71);
  await settled(v);
  v.close();
});

test('a view that fails ends its subscriptions with the reason, and its writer goes on (81)', async () => {
  const v = await view(ann, 'failing', 'mine', 'doubled');
  await call(ann, 'say', 66, 'fail');
  await until('the subscription to end', () => v.errors.some(e => e.table === 'failing' && /view `failing`/.test(e.text)));
  await call(ann, 'say', 88, 'two rows of one key');
  await until('the other one to end', () => v.errors.some(e => e.table === 'doubled' && /view `doubled`: two rows of its result have the same primary key `id`/.test(e.text)));
  assert.deepEqual(await sqlIds(ann, 'SELECT id FROM word WHERE id > 60'), [66, 88], 'both writes are there');
  const r = await host.http('POST', `/v1/database/${db}/sql`, { body: 'SELECT * FROM failing', token: ann.token });
  assert.equal(r.status, 400);
  assert.match(r.text, /view `failing`/);
  assert.ok((await host.logs(db)).some(l => l.function === 'failing' && l.level === 'Error'));
  await call(ann, 'put', 80, 1);
  await until('the other subscription to go on', () => ids(v, 'mine').includes(80));
  await call(ann, 'forget', 66);
  await call(ann, 'forget', 88);
  assert.equal(await v.subscribe('failing'), null, 'it can be subscribed to again');
  assert.equal(v.list('doubled').length, 1);
  await settled(v);
  v.close();
});

test('what a view may not do is refused by name', async () => {
  const refused = async (name, pattern, body = `SELECT * FROM ${name}`) => {
    const r = await host.http('POST', `/v1/database/${db}/sql`, { body });
    assert.equal(r.status, 400, r.text);
    assert.match(r.text, pattern);
  };
  await refused('writing', /view `writing`: a view reads only: it cannot write table `item`/);
  await refused('misasked', /its query returns rows of table `word`, but the view's rows are `Item`/);
  await refused('nested', /no such table: `large`/);
  await refused('slow', /view `slow`: it took longer than 300 ms \(--view-timeout-ms\)/);
  await refused('', /view `mine` cannot be written/, "DELETE FROM mine");
  await refused('', /view `mine` cannot be written/, 'INSERT INTO mine (id) VALUES (1)');
  await refused('', /does not have a field `\(sender\)`/, 'SELECT * FROM mine WHERE "(sender)" = 1');
  assert.deepEqual(await sqlIds(ann, 'SELECT id FROM item WHERE id = 999'), []);
});

test('everything at once: SELECT * FROM * has views, too', async () => {
  const v = new Viewer(host, db, shapes, { token: ann.token });
  await v.opened();
  const text = await v.subscribe('*', 'SELECT * FROM *');
  assert.match(text ?? '', /view `(writing|misasked|nested|slow)`/, 'this module has views that cannot be computed');
  v.close();
});

test('a view that kills the worker fails its reader; the others come back', async () => {
  const v = await view(bob, 'mine');
  await call(bob, 'put', 90, 1);
  const trap = await view(ann, 'trapping');
  const r = await host.call(db, 'say', [77, 'trap'], { token: ann.token });
  assert.notEqual(r.status, 200, 'its worker died in the transaction: nothing of it is there');
  await call(bob, 'put', 91, 1);
  await until('the other subscription to go on', () => ids(v, 'mine').includes(91));
  assert.deepEqual(await sqlIds(ann, 'SELECT id FROM word WHERE id = 77'), []);
  trap.close();
  await until('no more subscription to it', async () => (await host.call(db, 'say', [77, 'trap'], { token: ann.token })).status === 200);
  const late = new Viewer(host, db, shapes, { token: ann.token });
  await late.opened();
  late.subscribe('trapping').catch(() => {});
  await until('the worker to have come back', async () => (await host.call(db, 'forget', [77], { token: bob.token })).status === 200);
  await call(bob, 'put', 92, 1);
  await until('the bystander to go on', () => ids(v, 'mine').includes(92));
  await settled(v);
  for (const x of [v, late]) x.close();
});

test('a worker that dies: views are computed again, silently, and go on', async () => {
  const v = await view(bob, 'mine', 'asked', 'totals');
  const before = [v.list('mine'), v.list('asked'), v.list('totals')];
  for (const pid of host.workers()) process.kill(pid, 'SIGKILL');
  await call(bob, 'put', 95, 9);
  await until('the new row', () => ids(v, 'mine').includes(95) && ids(v, 'asked').includes(95));
  assert.equal(v.list('mine').length, before[0].length + 1);
  await call(bob, 'drop', 95);
  await until('it to be gone', () => v.list('mine').length === before[0].length);
  assert.deepEqual([v.list('mine'), v.list('asked'), v.list('totals')], before);
  await settled(v);
  v.close();
});

test('a publish that changes what a view returns: its subscribers get the difference', async () => {
  const v = await view(bob, 'mine', 'middle');
  const all = ids(v, 'mine');
  assert.ok(all.length > 2 && all.includes(90));
  await host.mustPublish(db, compileText('views2', source({ mine: 'if (i->id % 2) continue;' })));
  await until('the odd ones to go', () => ids(v, 'mine').join() === all.filter(id => id % 2 === 0).join());
  await call(bob, 'put', 94, 12);
  await until('it to go on', () => ids(v, 'mine').includes(94) && ids(v, 'middle').join() === '94');
  assert.ok(!v.gone);
  await settled(v);
  v.close();
});

test('results that nobody holds are computed when somebody asks, and only then', async () => {
  await sqlIds(ann, 'SELECT * FROM mine');
  const before = await runs('mine');
  await sqlIds(ann, 'SELECT * FROM mine');
  assert.equal(await runs('mine'), before, 'nothing has changed since');
  await call(ann, 'put', 96, 1);
  assert.equal(await runs('mine'), before, 'nobody subscribes to it');
  assert.ok((await sqlIds(ann, 'SELECT * FROM mine')).includes(96));
  assert.equal(await runs('mine'), before + 1);
});

test('a host started again', async () => {
  await host.stop();
  await host.start();
  assert.ok((await sqlIds(ann, 'SELECT * FROM mine')).includes(96));
});

await main(() => host.stop());
