// Procedures: behaviours 65 to 74 of functions.md, what a crash, a publish and a stop do to those that run, and the egress policy.
import assert from 'node:assert/strict';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { readFileSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Host, test, main, compile, compileText, connect, subscribe, scratchDir, until, within, sleep } from './lib.mjs';
import { courier } from '../clients/bindings.mjs';
import { Wire, u32, u8, str, bytes } from '../clients/wire.mjs';

const source = join(dirname(fileURLToPath(import.meta.url)), 'modules', 'courier.c');
const module1 = compile(source, join(scratchDir(), 'courier.so'));
// Requests may go to 127.0.0.2, and not to 127.0.0.1, which `localhost` resolves to.
const faults = join(scratchDir(), 'faults');
writeFileSync(faults, '');
process.env.SPACETIMEDB_FAULTS = faults;
const host = await new Host({ args: ['--egress-allow', '127.0.0.2/32', '--procedures-max', '4', '--call-timeout-ms', '1500'] }).start();
await host.mustPublish('courier', module1);

const call = async (name, ...args) => {
  const r = await host.call('courier', name, args);
  return { ...r, value: r.status === 200 ? JSON.parse(r.text) : undefined };
};
const value = async (name, ...args) => {
  const r = await call(name, ...args);
  assert.equal(r.status, 200, `${name}: ${r.status} ${r.text}`);
  return r.value;
};
const rows = async () => (await host.sql('courier', 'SELECT what FROM parcel')).map(([what]) => what).sort();
const empty = async () => assert.equal((await host.call('courier', 'empty', [])).status, 200);
const lines = async () => (await host.logs('courier')).map(l => `${l.level} ${l.function ?? ''}: ${l.message}`);

// A server that notes what reaches it.
function serve(address, handler, { tls } = {}) {
  return new Promise(ready => {
    const server = (tls ? https.createServer(tls) : http.createServer());
    server.connections = 0;
    server.seen = [];
    server.on(tls ? 'secureConnection' : 'connection', () => server.connections++);
    server.on('request', (request, response) => {
      const parts = [];
      request.on('data', d => parts.push(d));
      request.on('end', () => {
        const body = Buffer.concat(parts);
        server.seen.push({ method: request.method, url: request.url, headers: request.rawHeaders, body });
        handler(request, response, body);
      });
    });
    server.listen(0, address, () => { server.url = `http${tls ? 's' : ''}://${address}:${server.address().port}`; ready(server); });
  });
}
const forbidden = await serve('127.0.0.1', (_q, s) => s.end('you should not be here'));
const hanging = [];
const world = await serve('127.0.0.2', (q, s, body) => {
  const path = q.url.split('?')[0];
  if (path === '/hang') return hanging.push(s);
  if (path === '/missing') { s.statusCode = 404; return s.end('no such thing'); }
  if (path === '/size') return s.end(String(body.length));
  if (path === '/big') return s.end(Buffer.alloc(Number(q.url.split('?')[1]), 120));
  if (path.startsWith('/hop/')) { s.statusCode = Number(path.split('/')[2]); s.setHeader('Location', decodeURIComponent(q.url.split('?to=')[1])); return s.end('moved'); }
  if (path.startsWith('/chain/')) { const n = Number(path.split('/')[2]); if (n === 0) return s.end('arrived'); s.statusCode = 302; s.setHeader('Location', `/chain/${n - 1}`); return s.end(); }
  s.setHeader('X-Twice', ['a', 'b']);
  s.end(`${q.method} ${body}`);
});
const fetched = async (method, url, body = '', timeout = 0) => {
  const [status, text, headers, error] = await value('fetch', method, url, body, timeout);
  return { status, text, headers, error };
};

// ---- results ----

test('65: a struct with text goes to the caller, over HTTP and to the official client, and to nobody else', async () => {
  await empty();
  await host.call('courier', 'put', ['one']);
  const [text, count, [who]] = await value('count', 'hi ✓');
  assert.deepEqual([text, count, who], ['hi ✓!', 1, `0x${host.identity}`]);
  const alice = await connect(host, courier, 'courier'), bob = new Wire(host.port, 'courier', { token: host.token });
  await bob.opened;
  const others = [];
  bob.onMessage = tag => others.push(tag);
  const r = await alice.connection.procedures.count({ text: 'x' });
  assert.equal(r.text, 'x!');
  assert.equal(r.count, 1n);
  assert.ok(r.who.isEqual(alice.identity));
  await assert.rejects(alice.connection.procedures.refuses({ why: 'not today' }), error => /not today/.test(error.message ?? error));
  await sleep(100);
  assert.deepEqual(others.filter(tag => tag !== 0), [], 'nobody else hears of it');
  alice.connection.disconnect();
  bob.close();
  assert.deepEqual(await value('nothing'), []);
  assert.equal((await host.call('courier', 'nosuch', [])).status, 404);
  assert.equal((await host.call('courier', 'count', [5])).status, 400);
  const refused = await call('refuses', 'because');
  assert.equal(refused.status, 500);
  assert.match(refused.text, /because/);
  assert.ok((await lines()).some(l => l === 'Error refuses: because'));
});

test('the context, inside and outside of transactions', async () => {
  assert.equal(await value('context'), 'same 1 1');
  assert.equal(await value('stale'), '31 0');
});

// ---- transactions ----

test('66: of two transactions the first stays when the second fails', async () => {
  await empty();
  const r = await call('two');
  assert.equal(r.status, 500);
  assert.match(r.text, /already present/);
  assert.deepEqual(await host.sql('courier', 'SELECT id, what FROM slot'), [[1, 'first']]);
});

test('67: a commit that fails once runs the body twice, with one effect; one that fails twice ends the procedure', async () => {
  await empty();
  assert.equal(await value('retried'), 1);
  writeFileSync(faults, 'worker.tx_commit 1 error\n');
  await host.mustPublish('courier', compileText('courier-again', readFileSync(source, 'utf8').replace('1.0.0', '1.0.1'))); // hands the fault on
  writeFileSync(faults, '');
  assert.equal(await value('retried'), 2);
  assert.deepEqual(await rows(), ['once', 'once']);
  assert.equal(await value('retried'), 1);
});

test('68: no HTTP, no second transaction, no sleep inside of one', async () => {
  assert.equal(await value('inside'), '17 17 17 0');
});

test('69: a transaction left open is rolled back with a line in the log; leaving the body gives up', async () => {
  await empty();
  await value('leaves_open');
  assert.deepEqual(await rows(), []);
  assert.ok((await lines()).some(l => /Error leaves_open: .*transaction open: it was rolled back/.test(l)));
  assert.equal(await value('gives_up'), '30');
  assert.deepEqual(await rows(), []);
});

test('its transactions reach subscribers before its result reaches the caller', async () => {
  await empty();
  const { connection } = await connect(host, courier, 'courier');
  await subscribe(connection, 'SELECT * FROM parcel');
  let seen = 0;
  connection.db.parcel.onInsert((c) => { seen++; assert.equal(c.event.tag, 'Transaction'); });
  await connection.procedures.retried({});
  assert.equal(seen, 1);
  connection.disconnect();
});

// ---- waiting and computing ----

test('70: while procedures wait for HTTP, sleep or compute, reducers run', async () => {
  await empty();
  const waiting = call('fetch', 'GET', `${world.url}/hang`, '', 20000), napping = call('nap', 700), computing = call('computes', 1000000000);
  await until('the request', () => hanging.length === 1);
  for (let i = 0; i < 20; i++) assert.equal((await host.call('courier', 'put', [`r${i}`])).status, 200);
  assert.ok((await rows()).filter(what => what.startsWith('r')).length >= 20);
  hanging.pop().end('at last');
  assert.equal((await waiting).value[1], 'at last');
  assert.ok((await napping).value >= 700);
  assert.equal((await computing).status, 200);
  assert.ok((await rows()).includes('rested'));
});

test('sleeping until a time that has passed returns at once', async () => {
  assert.ok(await within('the answer', value('nap', 0)) >= 0);
});

test('at most so many at once, and the refusal names the limit and the setting', async () => {
  const four = Array.from({ length: 4 }, () => call('nap', 600));
  await sleep(150);
  const fifth = await call('nap', 1);
  assert.equal(fifth.status, 503);
  assert.match(fifth.text, /4 procedures of this database run already.*--procedures-max/);
  for (const r of await Promise.all(four)) assert.equal(r.status, 200);
  assert.equal((await call('nap', 1)).status, 200);
});

// ---- the outside world ----

test('methods, headers in order, bodies', async () => {
  for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PATCH', 'PURGE', 'MY-OWN']) {
    world.seen.length = 0;
    const body = ['POST', 'PUT', 'PATCH', 'MY-OWN'].includes(method) ? 'content' : '';
    if (method === 'MY-OWN' || method === 'TRACE') { // node's parser knows a list of methods: anything of ours ends as an answer, not in a crash
      const r = await fetched(method, world.url, body);
      assert.ok(r.status === 400 || r.status === 200, JSON.stringify(r));
      continue;
    }
    const r = await fetched(method, `${world.url}/a?b=c`, body);
    assert.equal(r.status, 200, r.error);
    const [got] = world.seen;
    assert.equal(got.method, method);
    assert.equal(got.url, '/a?b=c');
    assert.equal(got.body.toString(), body);
    assert.deepEqual(got.headers.filter((_, i, all) => /^x-/i.test(all[i - i % 2])), ['X-One', '1', 'X-Two', '2', 'X-One', '3']);
    assert.ok(!got.headers.some(h => /form-urlencoded|100-continue/i.test(h)));
    if (method !== 'HEAD') assert.equal(r.text, `${method} ${body}`);
    assert.match(r.headers, /x-twice=a;x-twice=b;/);
  }
  for (const bad of ['GE T', 'G\nET', 'x'.repeat(99)]) assert.match((await fetched(bad, world.url)).error, /^21 the method is no HTTP method/);
});

test('sizes: 16 MiB go either way, more is an error', async () => {
  assert.equal((await value('fetch_size', `${world.url}/size`, 16 << 20))[1], `${16 << 20}`);
  assert.match((await value('fetch_size', world.url, (16 << 20) + 1))[3], /16 MiB/);
  assert.equal((await value('fetch_size', `${world.url}/big?${16 << 20}`, 0))[1], `${16 << 20} bytes`);
  assert.match((await value('fetch_size', `${world.url}/big?${(16 << 20) + 1}`, 0))[3], /body exceeds 16 MiB/);
});

test('73: a 404 is an answer', async () => {
  const r = await fetched('GET', `${world.url}/missing`);
  assert.deepEqual([r.status, r.text, r.error], [404, 'no such thing', '']);
});

test('71: blocked addresses, named, resolved or redirected to, are refused without a connection', async () => {
  const port = forbidden.address().port;
  const before = forbidden.connections;
  const begun = Date.now();
  for (const url of ['http://10.0.0.1/', 'http://[::1]/', 'http://169.254.169.254/latest/', 'http://[::ffff:127.0.0.1]/', 'http://0x7f000001/', 'http://0/',
    `http://127.0.0.1:${port}/`, `http://localhost:${port}/`, `http://127.1:${port}/`]) {
    const r = await fetched('GET', url);
    assert.match(r.error, /^21 GET .*refused by the egress policy/, `${url}: ${JSON.stringify(r)}`);
  }
  for (const to of ['http://10.0.0.1/', `http://127.0.0.1:${port}/`, `http://localhost:${port}/`]) {
    const r = await fetched('GET', `${world.url}/hop/302?to=${encodeURIComponent(to)}`);
    assert.match(r.error, /refused by the egress policy/, JSON.stringify(r));
  }
  assert.ok(Date.now() - begun < 5000);
  assert.equal(forbidden.connections, before, 'no connection was made');
  for (const url of ['ftp://127.0.0.2/', 'file:///etc/passwd', 'gopher://127.0.0.2/', `${world.url}/hop/302?to=${encodeURIComponent('file:///etc/passwd')}`])
    assert.match((await fetched('GET', url)).error, /^21 /, url);
});

test('redirects: ten are followed, methods change as everywhere, secrets stay with their origin', async () => {
  assert.equal((await fetched('GET', `${world.url}/chain/10`)).text, 'arrived');
  assert.match((await fetched('GET', `${world.url}/chain/11`)).error, /more than 10 redirects/);
  const other = await serve('127.0.0.2', (q, s, body) => s.end(`${q.method} ${body} ${q.headers.authorization ?? 'none'}`));
  for (const [status, expected] of [[301, 'GET  none'], [302, 'GET  none'], [303, 'GET  none'], [307, 'POST data none'], [308, 'POST data none']])
    assert.equal((await fetched('POST', `${world.url}/hop/${status}?to=${encodeURIComponent(other.url)}`, 'data')).text, expected);
  world.seen.length = 0;
  await fetched('POST', `${world.url}/hop/307?to=/here`, 'data');
  assert.ok(world.seen[1].headers.includes('s3cret'), 'the same origin keeps them');
  other.close();
});

test('72: a server that never answers: the timeout holds', async () => {
  const begun = Date.now();
  const r = await fetched('GET', `${world.url}/hang`, '', 100);
  const took = Date.now() - begun;
  assert.match(r.error, /^21 GET http:\/\/127\.0\.0\.2:\d+: timed out after 100 ms/);
  assert.ok(took >= 95 && took < 1500, `${took} ms`);
  hanging.pop();
});

test('74: errors name neither query nor headers', async () => {
  const closed = await new Promise(done => { const s = net.createServer().listen(0, '127.0.0.2', () => { const { port } = s.address(); s.close(() => done(port)); }); });
  for (const url of [`http://127.0.0.2:${closed}/path?key=hunter2`, 'http://no-such-name.invalid/path?key=hunter2', 'http://user:hunter2@10.0.0.1/?key=hunter2',
    `${world.url}/hang?key=hunter2`, 'http://[:::/hunter2', `${world.url}/hop/302?to=${encodeURIComponent('http://10.0.0.1/?key=hunter2')}`]) {
    const r = await fetched('GET', url, '', 500);
    assert.match(r.error, /^21 /, url);
    assert.doesNotMatch(r.error, /hunter2|s3cret/, r.error);
  }
  hanging.length = 0;
});

test('TLS is verified', async () => {
  const [key, cert] = ['key', 'cert'].map(n => join(scratchDir(), `${n}.pem`));
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=127.0.0.2'], { encoding: 'utf8' });
  assert.equal(made.status, 0, made.stderr);
  const server = await serve('127.0.0.2', (_q, s) => s.end('x'), { tls: { key: readFileSync(key), cert: readFileSync(cert) } });
  assert.match((await fetched('GET', server.url)).error, /^21 GET https:.*certificate/i);
  server.close();
});

test('rule 5: a request leaves only when what came before it is durable, and so does the result', async () => {
  await empty();
  const backends = host.psql("select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()").split('\n').map(Number);
  const quick = new Wire(host.port, 'courier', { token: host.token, confirmed: false });
  await quick.opened;
  let results = 0;
  quick.onMessage = tag => { results += tag === 7; };
  world.seen.length = 0;
  for (const pid of backends) process.kill(pid, 'SIGSTOP');
  let answer;
  try {
    answer = call('order', world.url);
    quick.send(Buffer.concat([u8(4), u32(1), u8(0), str('retried'), bytes(Buffer.alloc(0))]));
    await sleep(500);
    assert.equal(world.seen.length, 0, 'no request left the host');
    assert.equal(results, 0, 'no result left it, not even to a client that reads unconfirmed');
  } finally { for (const pid of backends) process.kill(pid, 'SIGCONT'); }
  assert.equal((await answer).value, 200);
  await until('the result', () => results === 1);
  assert.equal(world.seen.length, 1);
  assert.deepEqual(await rows(), ['GET ', 'once', 'ordered']);
  quick.close();
});

test('outgoing HTTP can be switched off, and proxies of the environment are ignored', async () => {
  process.env.http_proxy = forbidden.url;
  const off = await new Host({ args: ['--egress', 'off'] }).start(), on = await new Host({ args: ['--egress-allow', '127.0.0.2'] }).start();
  delete process.env.http_proxy;
  await off.mustPublish('courier', module1);
  await on.mustPublish('courier', module1);
  const before = forbidden.connections;
  assert.match(JSON.parse((await off.call('courier', 'fetch', ['GET', world.url, '', 0])).text)[3], /switched off on this host/);
  assert.equal(JSON.parse((await on.call('courier', 'fetch', ['GET', world.url, '', 0])).text)[0], 200);
  assert.equal(forbidden.connections, before);
  await off.stop();
  await on.stop();
  const r = spawnSync(join(dirname(source), '../../../', process.env.BUILD ?? 'build', 'bin/spacetimedb-host'), ['start', '--egress-allow', '10.0.0.0/33'], { encoding: 'utf8' });
  assert.match(r.stderr, /--egress-allow: `10\.0\.0\.0\/33` is no address range/);
});

// ---- routes ----

// One request, exactly as written, over a socket of its own.
function raw(method, path, { headers = {}, body } = {}) {
  return new Promise((done, refused) => {
    const request = http.request({ host: '127.0.0.1', port: host.port, method, path, headers, agent: false }, response => {
      const parts = [];
      response.on('data', d => parts.push(d));
      response.on('end', () => done({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts), text: Buffer.concat(parts).toString() }));
    });
    request.on('error', refused);
    request.end(body);
  });
}
const route = (method, path, options) => raw(method, `/v1/database/courier/route${path}`, options);
const noRoute = 'Database has not registered a handler for this route';

test('75: routes are met exactly; everything else is a 404 with its text', async () => {
  for (const [method, path] of [['GET', '/echo'], ['PURGE', '/echo'], ['GET', ''], ['POST', '/echo/'], ['GET', '?a=b'], ['OPTIONS', '/echo'], ['HEAD', '/echo']])
    assert.equal((await route(method, path)).status, 207, `${method} ${path}`);
  for (const [method, path] of [['GET', '//echo'], ['GET', '/bar'], ['GET', '/echo/'], ['POST', ''], ['GET', '/'], ['GET', '/ECHO'], ['GET', '/ech%6f'], ['HEAD', '/wrong'],
    ['POST', '/echo//']]) {
    const r = await route(method, path);
    assert.equal(r.status, 404, `${method} ${path}`);
    if (method !== 'HEAD') assert.equal(r.text, noRoute);
  }
  assert.equal((await raw('GET', '/v1/database/nosuch/route/echo')).status, 404);
  assert.equal((await raw('GET', '/v1/database/courier/routex')).status, 404);
  const identity = JSON.parse((await host.http('GET', '/v1/database/courier')).text).database_identity.__identity__.replace('0x', '');
  assert.equal((await raw('GET', `/v1/database/${identity}/route/echo`)).status, 207);
});

test('76: nobody is authenticated; request and response are the handler\'s', async () => {
  const r = await route('GET', '/echo?x=1&y=%2F', { headers: { authorization: 'nonsense', host: 'api.example.org', 'x-forwarded-proto': 'https', 'X-Own': 'Kept As Is' } });
  assert.equal(r.status, 207);
  assert.match(r.text, /^GET https:\/\/api\.example\.org\/v1\/database\/courier\/route\/echo\?x=1&y=%2F\n/);
  assert.match(r.text, /\nauthorization: nonsense\n/);
  assert.match(r.text, /\nx-own: Kept As Is/);
  assert.deepEqual(r.headers['set-cookie'], ['a=1', 'b=2']);
  assert.equal(r.headers['access-control-allow-origin'], undefined);
  assert.equal(r.headers['spacetime-identity'], undefined);
  const all = Buffer.from(Array.from({ length: 256 * 64 }, (_, i) => i % 256));
  assert.deepEqual((await route('POST', '/echo', { body: all })).body, all);
  const big = Buffer.alloc(16 << 20, 7);
  assert.equal((await route('PUT', '/echo', { body: big })).body.length, big.length);
  assert.equal((await route('PUT', '/echo', { body: Buffer.alloc((16 << 20) + 1) })).status, 413);
});

test('77: in the transaction of a route the sender is nobody, and the call not internal', async () => {
  await empty();
  assert.equal((await route('PUT', '/note', { headers: host.headers() })).status, 201);
  assert.deepEqual(await rows(), ['nobody 4']);
});

test('a response that cannot be sent, a failure and a crash are a 500 without reasons', async () => {
  for (const n of [0, 1, 2, 3, 4, 5]) {
    const r = await route('GET', `/wrong?${n}`);
    assert.equal(r.status, 500, `${n}: ${r.status}`);
    assert.equal(r.text, 'The module instance encountered a fatal error');
    assert.equal(r.headers['set-cookie'], undefined);
  }
  assert.equal((await route('GET', '/wrong?6')).status, 204);
  assert.ok((await lines()).some(l => l === 'Error wrong: a secret reason'));
  assert.ok((await lines()).some(l => /Error wrong: the response of HTTP handler `wrong` cannot be sent: the status is none/.test(l)));
});

test('routes count as procedures, and leave when their client does', async () => {
  const four = Array.from({ length: 4 }, () => route('GET', '/slow'));
  await sleep(150);
  assert.equal((await route('GET', '/slow')).status, 503);
  for (const r of await Promise.all(four)) assert.equal(r.text, 'slow');
  const socket = net.connect(host.port, '127.0.0.1');
  socket.write('GET /v1/database/courier/route/slow HTTP/1.1\r\nHost: x\r\n\r\n');
  await sleep(100);
  socket.destroy();
  await sleep(500);
  assert.equal((await route('GET', '/echo')).status, 207);
});

test('wrong routes are refused at publish', async () => {
  const refuse = async (name, body, text) => {
    const r = await host.publish(name, compileText(name, `#include "spacetimedb.h"\nST_MODULE(${name}, "1");\nST_HTTP_HANDLER(a) { return ST_OK; }\nST_HTTP_HANDLER(b) { return ST_OK; }\n${body}\n`));
    assert.equal(r.status, 400, r.text);
    assert.match(r.text, text);
  };
  await refuse('twice', 'ST_ROUTE(GET, "/x", a);\nST_ROUTE(GET, "/x", b);', /two handlers/);
  await refuse('overlap', 'ST_ROUTE(GET, "/x", a);\nST_ROUTE(ANY, "/x", b);', /two handlers/);
  await refuse('upper', 'ST_ROUTE(GET, "/X", a);', /a path is empty or begins with/);
  await refuse('bare', 'ST_ROUTE(GET, "x", a);', /a path is empty or begins with/);
});

// ---- crashes, publishes, stops ----

test('a crash in a procedure is blamed on it; others are told, reducers run again, the database comes back', async () => {
  await empty();
  const sleeping = call('nap', 5000), asking = call('fetch', 'GET', `${world.url}/hang`, '', 5000);
  await until('the request', () => hanging.length === 1);
  const spinning = host.call('courier', 'spin', [300000000]); // the executor is at a reducer when the procedure dies
  const wire = new Wire(host.port, 'courier', { token: host.token });
  await wire.opened;
  const told = new Promise(done => { wire.onMessage = (tag, message) => tag === 7 && done(message.toString('latin1')); });
  await sleep(30);
  wire.send(Buffer.concat([u8(4), u32(9), u8(0), str('crash'), bytes(Buffer.alloc(0))]));
  assert.match(await within('the answer', told), /procedure `crash` ended with the module's process: killed by signal 11/);
  for (const [name, r] of [['nap', await sleeping], ['fetch', await asking]]) {
    assert.equal(r.status, 500);
    assert.match(r.text, new RegExp(`procedure \`${name}\` was running when the module's process ended: killed by signal 11`));
  }
  assert.equal((await spinning).status, 200, 'an innocent reducer');
  assert.equal((await host.call('courier', 'put', ['after'])).status, 200);
  assert.ok(!wire.gone);
  wire.close();
  hanging.pop()?.end('too late');
  await sleep(100);
  assert.deepEqual(await rows(), ['after']);
  assert.ok((await lines()).some(l => /Panic .*SIGSEGV/.test(l)));
});

test('a crash inside a transaction, a stack overflow, and a transaction held too long', async () => {
  await empty();
  for (const [name, args, text] of [['crash_in_tx', [], /`crash_in_tx` ended with .*signal 11/], ['recurses', [1000000], /`recurses` ended with .*stack overflow/],
    ['holds', [], /`holds` ended with .*ran longer than 1500 ms \(--call-timeout-ms\)/]]) {
    const r = await call(name, ...args);
    assert.equal(r.status, 500, r.text);
    assert.match(r.text, text);
    assert.deepEqual(await rows(), []);
  }
  assert.equal(await value('recurses', 50), 51);
});

test('a procedure that computes without end stops nobody, and is ended after its time', async () => {
  const other = await new Host({ args: ['--procedure-cpu-ms', '700'] }).start();
  await other.mustPublish('courier', module1);
  const endless = other.call('courier', 'computes', [Number.MAX_SAFE_INTEGER]), sleeping = other.call('courier', 'nap', [20000]);
  let calls = 0;
  const begun = Date.now();
  let over = false;
  endless.then(() => { over = true; });
  while (!over && Date.now() - begun < 10000) { if ((await other.call('courier', 'put', ['x'])).status === 200) calls++; await sleep(20); }
  assert.ok(calls > 10, `${calls} calls`);
  assert.match((await endless).text, /`computes` ended with .*computed longer than 700 ms \(--procedure-cpu-ms\)/);
  assert.match((await sleeping).text, /`nap` was running when/);
  assert.equal((await other.call('courier', 'put', ['after'])).status, 200);
  assert.equal((await other.call('courier', 'computes', [1000])).status, 200);
  await other.stop();
});

test('a reducer that crashes leaves procedures an answer', async () => {
  const sleeping = call('nap', 5000);
  await sleep(100);
  const died = await host.call('courier', 'die', []);
  assert.match(died.text, /reducer `die` ended with/);
  assert.match((await sleeping).text, /`nap` was running when/);
});

test('a worker killed from outside: procedures are answered, the next one runs', async () => {
  const sleeping = call('nap', 5000);
  await sleep(100);
  for (const pid of host.workers()) process.kill(pid, 'SIGKILL');
  const r = await within('the answer', sleeping);
  assert.equal(r.status, 500);
  assert.match(r.text, /`nap` was running when .* signal 9/);
  assert.equal((await call('nap', 1)).status, 200);
});

test('a publish while procedures run: they end by themselves, and reach no table of the new version', async () => {
  await empty();
  const text = readFileSync(source, 'utf8').replace('(st_str, what));\nST_TABLE(slot', '(st_str, what), (uint32_t, weight));\nST_DEFAULT(parcel, weight, 5);\nST_TABLE(slot');
  const second = compileText('courier2', text), sleeping = call('nap', 4000);
  await sleep(100);
  await host.mustPublish('courier', second);
  assert.equal((await host.call('courier', 'put', ['new'])).status, 200);
  const r = await sleeping;
  assert.equal(r.status, 500);
  assert.match(r.text, /the module was replaced by a publish while the procedure ran/);
  assert.deepEqual(await rows(), ['new']);
  assert.equal((await call('nap', 1)).status, 200);
  const pid = host.workers()[0];
  await until('the old image is gone', () => (readFileSync(`/proc/${pid}/maps`, 'utf8').match(/\.so/g) ?? []).length && new Set(readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')
    .filter(l => /modules|spacetimedb-[0-9a-f]+\//.test(l)).map(l => l.split(/\s+/)[5])).size <= 1);
});

test('a host that stops answers those that wait', async () => {
  const other = await new Host().start();
  await other.mustPublish('courier', module1);
  const sleeping = other.call('courier', 'nap', [30000]);
  await sleep(150);
  const begun = Date.now();
  await other.stop();
  assert.ok(Date.now() - begun < 10000);
  assert.equal((await sleeping).status, 503);
});

await main(async () => {
  for (const s of [forbidden, world]) { s.close(); s.closeAllConnections(); }
  await host.stop();
});
