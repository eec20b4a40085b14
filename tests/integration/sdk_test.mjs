// The official npm client, unmodified: connect, subscribe, call, see others' changes, errors, unsubscribe, tokens, republish, worker crash.
import assert from 'node:assert/strict';
import net from 'node:net';
import { Host, test, main, connect, subscribe, modulePath, until, within, sleep } from './lib.mjs';
import { chat, chat2, ledger } from '../clients/bindings.mjs';
import { Wire, i64, str, u8, u32 } from '../clients/wire.mjs';

const host = await new Host().start();
await host.mustPublish('chat', modulePath('chat'));
await host.mustPublish('ledger', modulePath('ledger'));

// A proxy that hides the v3 subprotocol from the host, so that the same client speaks v2.
function v2Proxy() {
  return new Promise(ready => {
    const server = net.createServer(from => {
      const to = net.connect(host.port, '127.0.0.1');
      from.on('data', data => {
        const text = data.toString('latin1');
        to.write(text.startsWith('GET ') ? Buffer.from(text.replace('v3.bsatn.spacetimedb, ', '').replace('v3.bsatn.spacetimedb,', ''), 'latin1') : data);
      });
      to.on('data', data => { if (data.toString('latin1').startsWith('HTTP/1.1 101')) server.chosen = /sec-websocket-protocol: *(\S+)/i.exec(data.toString('latin1'))?.[1]; from.write(data); });
      for (const [a, b] of [[from, to], [to, from]]) { a.on('close', () => b.destroy()); a.on('error', () => b.destroy()); }
    }).listen(0, '127.0.0.1', () => ready(server));
  });
}

for (const protocol of ['v3', 'v2']) {
  test(`${protocol}: connect, subscribe, call, see inserts, updates and deletes of others, errors, unsubscribe`, async () => {
    const proxy = protocol === 'v2' ? await v2Proxy() : null;
    const url = proxy ? `ws://127.0.0.1:${proxy.address().port}` : undefined;
    const alice = await connect(host, chat, 'chat', { url });
    if (proxy) assert.equal(proxy.chosen, 'v2.bsatn.spacetimedb');
    const bob = await connect(host, chat, 'chat');
    const log = [];
    const a = alice.connection, b = bob.connection;
    a.db.user.onInsert((_c, row) => log.push(`user+ ${row.name ?? ''}`));
    a.db.user.onUpdate((_c, old, row) => log.push(`user~ ${old.name ?? ''}->${row.name ?? ''}`));
    a.db.message.onInsert((c, row) => log.push(`message+ ${row.text} ${c.event.tag}`));
    const handle = await subscribe(a, 'SELECT * FROM user', 'SELECT * FROM message');
    await subscribe(b, 'SELECT * FROM user', 'SELECT * FROM message');
    assert.ok(a.db.user.identity.find(alice.identity).online);
    log.length = 0;
    await a.reducers.setName({ name: `alice-${protocol}` });
    assert.equal(a.db.user.identity.find(alice.identity).name, `alice-${protocol}`);
    await b.reducers.setName({ name: `bob-${protocol}` });
    await until('alice sees bob renamed', () => a.db.user.identity.find(bob.identity)?.name === `bob-${protocol}`);
    assert.deepEqual(log, [`user~ ->alice-${protocol}`, `user~ ->bob-${protocol}`]);
    log.length = 0;
    await b.reducers.sendMessage({ text: `hi ${protocol} ✓` });
    await a.reducers.sendMessage({ text: 'mine' });
    await until('alice sees both messages', () => log.length === 2);
    assert.deepEqual(log, [`message+ hi ${protocol} ✓ Transaction`, 'message+ mine Reducer']);
    await assert.rejects(a.reducers.sendMessage({ text: '' }), error => /messages must not be empty/.test(error.message));
    await assert.rejects(subscribe(a, 'SELECT * FROM nope'), error => /no such table: `nope`/.test(error.message));
    // disconnecting is seen by others
    b.disconnect();
    await until('alice sees bob offline', () => a.db.user.identity.find(bob.identity)?.online === false);
    await within('unsubscribe', new Promise(done => handle.unsubscribeThen(() => done())));
    await until('the cache is empty', () => a.db.user.count() === 0n && a.db.message.count() === 0n);
    a.disconnect();
    proxy?.close();
  });
}

test('deletes made by others arrive, and a filtered subscription gets only its rows', async () => {
  const { connection: watch } = await connect(host, ledger, 'ledger');
  const { connection: act } = await connect(host, ledger, 'ledger');
  await act.reducers.seed({ n: 10, initialBalance: 100n, initial_balance: 100n });
  await subscribe(watch, 'SELECT * FROM accounts WHERE id = 3');
  assert.deepEqual([...watch.db.accounts.iter()], [{ id: 3, balance: 100n }]);
  await act.reducers.transfer({ from: 1, to: 2, amount: 5n });
  await act.reducers.transfer({ from: 1, to: 3, amount: 7n });
  await until('the filtered row changes', () => watch.db.accounts.id.find(3)?.balance === 107n);
  assert.equal(watch.db.accounts.count(), 1n);
  await act.reducers.seed({ n: 2, initialBalance: 1n, initial_balance: 1n });
  await until('the row is gone', () => watch.db.accounts.count() === 0n);
  await assert.rejects(act.reducers.transfer({ from: 1, to: 1, amount: 5n }), error => error.message === 'same_account');
  watch.disconnect();
  act.disconnect();
});

test('a token gives the same identity back', async () => {
  const first = await connect(host, chat, 'chat');
  first.connection.disconnect();
  const second = await connect(host, chat, 'chat', { token: first.token });
  assert.equal(second.identity.toHexString(), first.identity.toHexString());
  second.connection.disconnect();
  await assert.rejects(connect(host, chat, 'chat', { token: first.token.slice(0, -4) + 'AAAA' }));
});

test('unconfirmed reads are delivered too', async () => {
  const { connection } = await connect(host, ledger, 'ledger', { confirmed: false });
  await subscribe(connection, 'SELECT * FROM accounts');
  await connection.reducers.seed({ n: 5, initialBalance: 1n, initial_balance: 1n });
  assert.equal(connection.db.accounts.count(), 5n);
  connection.disconnect();
});

test('a republish with a defaulted column and a new table keeps clients connected with the rows that they know', async () => {
  const old = await connect(host, chat, 'chat');
  await subscribe(old.connection, 'SELECT * FROM message');
  const before = old.connection.db.message.count();
  await host.mustPublish('chat', modulePath('chat/v2'));
  await old.connection.reducers.sendMessage({ text: 'after the republish' });
  await until('the old client sees its message', () => old.connection.db.message.count() === before + 1n);
  assert.ok([...old.connection.db.message.iter()].some(m => m.text === 'after the republish'));
  const fresh = await connect(host, chat2, 'chat');
  await subscribe(fresh.connection, 'SELECT * FROM message', 'SELECT * FROM room');
  assert.ok([...fresh.connection.db.message.iter()].every(m => m.room === 0));
  await fresh.connection.reducers.createRoom({ name: 'lobby' });
  await fresh.connection.reducers.sendToRoom({ roomId: 1, room_id: 1, text: 'in the lobby' });
  await until('the old client sees the message of a room that it does not know', () => [...old.connection.db.message.iter()].some(m => m.text === 'in the lobby'));
  assert.equal([...fresh.connection.db.message.iter()].find(m => m.text === 'in the lobby').room, 1);
  assert.ok(!old.connection.gone, 'the old client must stay connected');
  // and it stays so when the worker dies afterwards: the new worker knows which columns the old client knows
  for (const pid of host.workers()) process.kill(pid, 'SIGKILL');
  await fresh.connection.reducers.sendToRoom({ roomId: 1, room_id: 1, text: 'after the crash' });
  await until('the old client sees it', () => [...old.connection.db.message.iter()].some(m => m.text === 'after the crash'));
  assert.ok(!old.connection.gone && !fresh.connection.gone);
  old.connection.disconnect();
  fresh.connection.disconnect();
});

test('a one-off query answers with the rows of one table, or with the reason', async () => {
  const wire = new Wire(host.port, 'ledger');
  await wire.opened;
  const ask = (request, sql) => within(sql, new Promise(done => {
    wire.onMessage = (tag, body) => { if (tag === 5) done(body); };
    wire.send(Buffer.concat([u8(2), u32(request), str(sql)]));
  }));
  await host.call('ledger', 'seed', [3, 44]);
  const good = await ask(7, 'SELECT * FROM accounts WHERE id = 2');
  const row = Buffer.concat([u32(2), i64(44)]);
  assert.deepEqual(good, Buffer.concat([u32(7), u8(0), u32(1), str('accounts'), u8(0), Buffer.from([12, 0]), u32(12), row]));
  const bad = await ask(8, 'SELECT * FROM nope');
  assert.equal(bad.readUInt32LE(0), 8);
  assert.equal(bad[4], 1);
  assert.match(bad.toString(), /no such table: `nope`/);
  wire.close();
});

test('a worker crash costs running calls an answer and nothing else: connections, subscriptions and rows stay', async () => {
  const { connection } = await connect(host, ledger, 'ledger');
  const other = await connect(host, ledger, 'ledger');
  await connection.reducers.seed({ n: 100, initialBalance: 1000n, initial_balance: 1000n });
  await subscribe(connection, 'SELECT * FROM accounts');
  await subscribe(other.connection, 'SELECT * FROM accounts');
  let good = 0, bad = 0, stop = false;
  const calls = (async () => {
    for (let turn = 0; !stop; turn++) // there and back, so that nobody runs out of funds
      await Promise.all(Array.from({ length: 20 }, (_, i) => connection.reducers.transfer(turn % 2 ? { from: 99 - i, to: i, amount: 1n } : { from: i, to: 99 - i, amount: 1n })
        .then(() => good++, () => bad++)));
  })();
  for (let i = 0; i < 5; i++) {
    await sleep(200);
    for (const pid of host.workers()) process.kill(pid, 'SIGKILL');
  }
  await sleep(300);
  stop = true;
  await within('every call to be answered', calls);
  assert.ok(good > 0);
  assert.ok(bad <= 5, `at most the running call fails with each crash, ${bad} failed`);
  const total = c => [...c.db.accounts.iter()].reduce((sum, row) => sum + row.balance, 0n);
  assert.equal(total(connection), 100000n);
  await until('both caches agree', () => {
    const [x, y] = [connection, other.connection].map(c => JSON.stringify([...c.db.accounts.iter()].map(r => [r.id, String(r.balance)]).sort((p, q) => p[0] - q[0])));
    return x === y;
  });
  const rows = await host.sql('ledger', 'SELECT * FROM accounts');
  assert.equal(rows.reduce((sum, [, balance]) => sum + balance, 0), 100000);
  assert.ok(!connection.gone && !other.connection.gone);
  connection.disconnect();
  other.connection.disconnect();
});

await main(() => host.stop());
