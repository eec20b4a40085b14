// What the operator's limits do: a disk that is nearly full refuses calls and publishes with the reason, and takes them again.
import assert from 'node:assert/strict';
import { Host, test, main, modulePath } from './lib.mjs';

const host = await new Host().start();
await host.mustPublish('ledger', modulePath('ledger'));
await host.call('ledger', 'seed', [10, 100]);

test('a nearly full disk refuses calls and publishes with the reason, keeps reads of the catalog, and everything is there afterwards', async () => {
  await host.stop();
  host.args = ['--disk-reserve', String(2n ** 60n)];
  await host.start();
  const refused = await host.call('ledger', 'transfer', [1, 2, 3]);
  assert.equal(refused.status, 503);
  assert.match(refused.text, /disk of .* has \d+ MB left, less than the reserve of \d+ MB \(--disk-reserve\)/);
  const publish = await host.publish('ledger', modulePath('ledger'), { query: '?clear=true' });
  assert.equal(publish.status, 507);
  assert.equal((await host.http('GET', '/v1/database/ledger/names')).text, '{"names":["ledger"]}');
  await host.stop();
  host.args = [];
  await host.start();
  assert.equal((await host.call('ledger', 'transfer', [1, 2, 3])).status, 200);
  assert.deepEqual(await host.sql('ledger', 'SELECT balance FROM accounts WHERE id = 2'), [[103]]);
});

await main(() => host.stop());
