// Attacks on the front door: malformed HTTP, wrong tokens, strangers, broken WebSocket frames. Every one must get a clear answer, and the
// host must serve its other clients throughout.
import assert from 'node:assert/strict';
import { createHash, createHmac, createPrivateKey, generateKeyPairSync, sign, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { Host, compileText, test, main, modulePath, root, sleep, until, within } from './lib.mjs';
import { Wire, str, u8, u32, bytes } from '../clients/wire.mjs';

const host = await new Host().start();
const people = modulePath(join(root, 'tests/integration/modules/people.c'));
await host.mustPublish('people', people);
const stranger = JSON.parse((await host.http('POST', '/v1/identity')).text);
// As assert.match, but the message shows both the case and the text.
const match = (text, pattern, what = '') => assert.ok(pattern.test(text), `${what}: ${pattern} does not match ${String(text).slice(0, 400)}`);
const get = (path, o) => host.http('GET', path, o);
const json = { 'content-type': 'application/json' };

// A socket of our own: sends bytes, collects what comes back until the other side closes or `ms` pass without anything new.
function raw(send, { ms = 3000, enough = () => false } = {}) {
  return new Promise(done => {
    const socket = net.connect(host.port, '127.0.0.1');
    let got = Buffer.alloc(0);
    const end = closed => { clearTimeout(timer); socket.destroy(); done({ text: got.toString('latin1'), bytes: got, closed }); };
    const timer = setTimeout(() => end(false), ms);
    socket.on('data', d => { got = Buffer.concat([got, d]); if (enough(got.toString('latin1'))) end(false); });
    socket.on('error', () => end(true));
    socket.on('close', () => end(true));
    socket.on('connect', () => { for (const piece of [send].flat()) socket.write(piece); });
  });
}
const request = (line, headers = [], body = '') => [`${line}\r\nHost: x\r\nConnection: close\r\n${headers.map(h => h + '\r\n').join('')}\r\n`, body];
const alive = async () => assert.equal((await get('/v1/ping')).status, 200);

// ---- HTTP ----

test('malformed HTTP is refused or cut, never served', async () => {
  for (const [what, send] of [
    ['no HTTP at all', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + 'x'.repeat(200) + '\r\n\r\n'],
    ['a bad request line', 'GET\r\n\r\n'],
    ['a version that does not exist', 'GET /v1/ping HTTP/9.9\r\nHost: x\r\n\r\n'],
    ['two lengths', request('POST /v1/database/people/sql HTTP/1.1', ['Content-Length: 5', 'Content-Length: 6'], 'SELECT')],
    ['a length that is no number', request('POST /v1/database/people/sql HTTP/1.1', ['Content-Length: five'], 'SELECT')],
    ['a negative length', request('POST /v1/database/people/sql HTTP/1.1', ['Content-Length: -1'], 'SELECT')],
    ['a bad chunk size', request('POST /v1/database/people/sql HTTP/1.1', ['Transfer-Encoding: chunked'], 'zz\r\nSELECT\r\n0\r\n\r\n')],
    ['headers without an end', 'GET /v1/ping HTTP/1.1\r\n' + 'X-Filler: y\r\n'.repeat(100000)],
    ['one huge header', request('GET /v1/ping HTTP/1.1', [`X-Huge: ${'h'.repeat(1 << 20)}`])],
    ['a huge path', request(`GET /v1/${'p'.repeat(1 << 20)} HTTP/1.1`)],
  ]) {
    const r = await raw(send, { enough: t => /^HTTP\/1\.[01] [45]\d\d/.test(t) });
    assert.ok(r.closed && r.text === '' || /^HTTP\/1\.[01] (4\d\d|50[05])/.test(r.text), `${what}: ${r.text.slice(0, 200)} closed ${r.closed}`);
  }
  await alive();
});

test('unknown routes are 404, wrong methods 405 with what is allowed', async () => {
  for (const path of ['/', '/v1', '/v1/', '/v1/ping/', '/v1/nope', '/v2/ping', '/v1/database/people/nope', '/v1/database/people/call/', '/v1/database/people/call/a/b', '/v1/../v1/ping%2f']) {
    const r = await raw(request(`GET ${path} HTTP/1.1`), { enough: t => t.includes('\r\n\r\n') });
    match(r.text, /^HTTP\/1\.1 404/, path);
    assert.doesNotMatch(r.text, /access-control-allow-origin/i, path);
  }
  for (const [method, path, allow] of [['DELETE', '/v1/ping', /GET/], ['GET', '/v1/identity', /POST/], ['PATCH', '/v1/database/people', /PUT.*DELETE|DELETE.*PUT|GET.*/],
    ['GET', '/v1/database/people/sql', /POST/], ['DELETE', '/v1/database/people/names', /PUT/]]) {
    const r = await host.http(method, path);
    assert.equal(r.status, 405, `${method} ${path}`);
    assert.equal(r.text, '');
    match(r.headers.get('allow'), allow);
  }
  assert.equal((await fetch(`${host.url}/v1/ping`, { method: 'HEAD' })).status, 200);
});

test('CORS: every matched route allows every origin, and a preflight is answered for it', async () => {
  const r = await fetch(`${host.url}/v1/database/people/sql`, { method: 'OPTIONS', headers: { origin: 'http://a.example', 'access-control-request-method': 'POST' } });
  assert.equal(r.status, 200);
  assert.equal(await r.text(), '');
  assert.equal(r.headers.get('access-control-allow-origin'), '*');
  assert.equal(r.headers.get('access-control-allow-methods'), '*');
  assert.equal(r.headers.get('access-control-allow-headers'), 'authorization,accept,content-type');
  for (const path of ['/v1/ping', '/v1/database/people', '/v1/database/not-there/schema?version=9']) {
    const other = await get(path);
    assert.equal(other.headers.get('access-control-allow-origin'), '*', path);
    match(other.headers.get('vary'), /origin, access-control-request-method, access-control-request-headers/);
  }
});

test('bodies past their limit are 413, whether announced or chunked', async () => {
  const big = Buffer.alloc((2 << 20) + 1, 0x20);
  for (const path of ['/v1/database/people/sql', '/v1/database/people/call/nothing', '/v1/database/people/names']) {
    const r = await host.http('POST', path, { body: big, headers: json });
    assert.equal(r.status, 413, path);
    assert.equal(r.text, 'Failed to buffer the request body: length limit exceeded');
  }
  const chunk = Buffer.concat([Buffer.from('100000\r\n'), Buffer.alloc(1 << 20, 0x20), Buffer.from('\r\n')]);
  const chunked = await raw([...request('POST /v1/database/people/sql HTTP/1.1', ['Transfer-Encoding: chunked']), chunk, chunk, chunk, '0\r\n\r\n'],
    { ms: 10000, enough: t => t.includes('exceeded') });
  match(chunked.text, /^HTTP\/1\.1 413/);
  const expecting = await raw(request('PUT /v1/database/people HTTP/1.1', ['Expect: 100-continue', 'Content-Length: 99999999999']), { enough: t => /limit of/.test(t) });
  match(expecting.text, /^HTTP\/1\.1 413[^]*limit of \d+ bytes/);
  assert.equal((await host.http('POST', '/v1/database/people/call/nothing', { body: '[]', headers: json })).status, 200);
});

test('calls: content types, JSON and arguments are refused with the place', async () => {
  const call = (fn, body, headers = json) => host.http('POST', `/v1/database/people/call/${fn}`, { body, headers });
  assert.deepEqual([(await call('add', '[]', { 'content-type': 'text/plain' })).status, (await call('add', '[]', { 'content-type': 'application/json; charset=utf-8' })).status], [415, 415]);
  const none = await raw(request('POST /v1/database/people/call/add HTTP/1.1', ['Content-Length: 2'], '[]'), { enough: t => t.includes('missing') });
  match(none.text, /^HTTP\/1\.1 400[^]*Header of type `content-type` was missing/);
  for (const [body, pattern] of [
    ['["a@b"]', /invalid length 1, expected .*add.* 2 elements/],
    ['["a","b","c"]', /trailing|length 3/],
    ['{"email":"a"}', /missing .*`name`/],
    ['{"email":"a","name":"b","nme":"c"}', /unknown .*`nme`.*`email`.*`name`/],
    ['["a",7]', /\[1\][^]*string|name[^]*string/],
    ['["a",null]', /\[1\]|name/],
    ['["a" "b"]', /expected `,` at line 1 column 5/],
    ['["a",\n"b"', /line 2 column \d/],
    ['', /line 1 column 0|EOF/],
    ['"x"', /invalid type/],
    ['[' .repeat(100000), /recursion|depth|nest|line 1|128/],
    ['["\\ud800","b"]', /surrogate|escape|line 1 column/],
    ['["a","b"] x', /trailing characters/],
  ]) {
    const r = await call('add', body);
    assert.equal(r.status, 400, `${body.slice(0, 40)}: ${r.text}`);
    match(r.text, /^invalid arguments for reducer add: /, body.slice(0, 40));
    match(r.text, pattern, body.slice(0, 40));
  }
  const notUtf8 = await call('add', Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]));
  assert.equal(notUtf8.status, 400);
  assert.equal(notUtf8.text, "Request body didn't contain valid UTF-8");
  match((await call('hide', '[-1,"x"]')).text, /u32/);
  match((await call('hide', '[4294967296,"x"]')).text, /u32/);
  match((await call('hide', '[1.5,"x"]')).text, /u32|integer/);
  const nul = await call('add', '["a\\u0000","b"]');
  assert.equal(nul.status, 530);
  match(nul.text, /person[^]*email[^]*NUL|email/);
  const nope = await call('nope', '[]');
  assert.deepEqual([nope.status, nope.text], [404, 'No such procedure']);
  const init = await call('init', '[]');
  assert.deepEqual([init.status, init.text], [400, "can't directly call special Init lifecycle reducer"]);
  assert.deepEqual(await host.sql('people', 'SELECT * FROM person'), [], 'no refused call left anything');
});

test('names with bad syntax and unknown databases', async () => {
  for (const [name, text] of [['Not_A_Name', 'invalid characters in database name'], ['a--b', 'invalid hyphen in database name'], ['-a', 'invalid hyphen in database name'], ['%E4', null], ['a%2Fb', 'invalid characters in database name'],
    ['x'.repeat(65), null], ['a%00b', 'invalid characters in database name'], ['%zz', null]]) {
    for (const [method, path] of [['GET', ''], ['PUT', ''], ['DELETE', ''], ['GET', '/schema?version=10'], ['POST', '/sql']]) {
      const r = await host.http(method, `/v1/database/${name}${path}`, { body: method === 'GET' || method === 'DELETE' ? undefined : 'x' });
      assert.equal(r.status, 400, `${method} ${name}${path}: ${r.text}`);
      match(r.text, /^Invalid URL: /);
      if (text) assert.equal(r.text, `Invalid URL: ${text}`);
    }
  }
  const nobody = '0'.repeat(62) + '77';
  for (const [method, path, body] of [['GET', ''], ['GET', '/schema?version=10'], ['GET', '/names'], ['GET', '/logs'], ['POST', '/sql', 'SELECT 1'], ['POST', '/call/x', '[]'], ['POST', '/pre_publish', 'x'], ['GET', '/unstable/timestamp'], ['DELETE', '']]) {
    const byName = await host.http(method, `/v1/database/not-there${path}`, { body, headers: json });
    assert.deepEqual([byName.status, byName.text], [404, '`not-there` not found'], `${method} ${path}`);
    if (method === 'DELETE') continue;
    const byIdentity = await host.http(method, `/v1/database/${nobody}${path}`, { body, headers: json });
    assert.deepEqual([byIdentity.status, byIdentity.text], [404, 'No such database.'], `${method} ${path}`);
  }
  assert.equal((await get('/v1/database/not-there/identity')).status, 404);
  const r = await raw(upgrade('/v1/database/not-there/subscribe'), { enough: t => t.includes('not found') });
  match(r.text, /^HTTP\/1\.1 404[^]*`not-there` not found/);
});

test('query strings are checked', async () => {
  for (const [path, pattern] of [['/schema', /missing field `version`/], ['/schema?version=8', /unknown variant `8`, expected `9` or `10`/], ['/logs?num_lines=x', /num_lines/], ['/logs?num_lines=-1', /num_lines/], ['/logs?num_lines=99999999999', /num_lines/], ['/logs?follow=maybe', /follow/]]) {
    const r = await get(`/v1/database/people${path}`);
    assert.equal(r.status, 400, path);
    match(r.text, /^Failed to deserialize query string: /);
    match(r.text, pattern);
  }
  const r = await host.http('POST', '/v1/database/people/sql?confirmed=1', { body: 'SELECT * FROM person' });
  assert.equal(r.status, 400);
});

// ---- who may what ----

test('strangers get the refusals of the sheet, and change nothing', async () => {
  const hex = (await get('/v1/database/people/identity')).text;
  const before = (await get('/v1/database/people')).text;
  for (const token of [stranger.token, null]) {
    const as = (method, path, body, headers = {}) => host.http(method, `/v1/database/people${path}`, { token, body, headers });
    const bytes = readFileSync(people);
    for (const [r, what] of [[await as('PUT', '', bytes), 'update database'], [await as('POST', '/pre_publish', bytes), 'update database'], [await as('PUT', '?clear=true', bytes), 'reset database'], [await as('PUT', '/reset', bytes), 'reset database'],
      [await as('DELETE', ''), 'delete database'], [await as('GET', '/logs'), 'view module logs'], [await as('GET', '/logs?follow=true'), 'view module logs']]) {
      assert.equal(r.status, 403, `${what}: ${r.status} ${r.text}`);
      match(r.text, new RegExp(`^[0-9a-f]{64} is not authorized to perform action(?: on database ${hex})?: ${what}$`));
      assert.doesNotMatch(r.text, /AAAA/);
    }
    const set = await as('PUT', '/names', '["mine-now"]', json);
    assert.deepEqual([set.status, set.text], [401, `{"NotYourDatabase":{"database":"${hex}"}}`]);
    assert.equal((await as('POST', '/names', 'mine-too')).status, 403);
    const gone = 'no such table: `T`. If the table exists, it may be marked private.';
    for (const [sql, table] of [['SELECT * FROM secret', 'secret'], ['SELECT * FROM missing', 'missing'], ['DELETE FROM secret', 'secret'], ["INSERT INTO secret (id, word) VALUES (9, 'x')", 'secret'], ["UPDATE secret SET word = 'x'", 'secret']]) {
      const r = await as('POST', '/sql', sql);
      assert.deepEqual([r.status, r.text], [400, gone.replace('T', table)], sql);
    }
    for (const sql of ['DELETE FROM person', "INSERT INTO person (id, email, name) VALUES (9, 'x', 'y')", "UPDATE person SET name = 'x'"]) {
      const r = await as('POST', '/sql', sql);
      assert.equal(r.status, 400, sql);
      match(r.text, /^Caller [0-9a-f]{64} is not authorized to run SQL DML statements$/);
    }
    assert.equal((await as('POST', '/sql', 'SELECT * FROM person')).status, 200);
    assert.equal((await as('POST', '/call/nothing', '[]', json)).status, 200);
  }
  assert.equal((await get('/v1/database/people')).text, before);
  assert.deepEqual(await host.sql('people', 'SELECT * FROM secret'), [[0, 'from init']]);
});

test('a stranger cannot subscribe to a private table; the owner can', async () => {
  const answer = async token => {
    const wire = new Wire(host.port, 'people', { token });
    await wire.opened;
    return within('an answer', new Promise(done => {
      wire.onMessage = (tag, body) => { if (tag !== 0) { wire.close(); done({ tag, text: body.toString() }); } };
      wire.send(Buffer.concat([u8(0), u32(1), u32(1), u32(1), str('SELECT * FROM secret')]));
    }));
  };
  assert.equal((await answer(host.token)).tag, 1);
  const refused = await answer(stranger.token);
  assert.equal(refused.tag, 3);
  match(refused.text, /no such table: `secret`. If the table exists, it may be marked private./);
});

// ---- tokens ----

const b64 = x => Buffer.from(typeof x === 'string' || Buffer.isBuffer(x) ? x : JSON.stringify(x)).toString('base64url');
const payloadOf = token => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
const make = (header, payload, signer) => { const text = `${b64(header)}.${b64(payload)}`; return `${text}.${b64(signer(text))}`; };
const es256 = key => text => sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });

test('tokens: malformed, forged, expired and confused ones are 401 with the reason', async () => {
  const own = createPrivateKey(readFileSync(join(host.dir, 'data', 'id_ecdsa')));
  const pem = (await get('/v1/identity/public-key')).text;
  const good = payloadOf(host.token), header = { typ: 'JWT', alg: 'ES256' };
  assert.equal(good.hex_identity, host.identity);
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const now = Math.floor(Date.now() / 1000);
  const flip = host.token.slice(0, -10) + (host.token.at(-10) === 'A' ? 'B' : 'A') + host.token.slice(-9);
  const cases = {
    'no token': ['x', /^Invalid token: InvalidToken/],
    'two parts': ['a.b', /^Invalid token: /],
    'broken base64': ['!!!.???.***', /^Invalid token: /],
    'header that is not JSON': [`${b64('nope')}.${b64(good)}.AAAA`, /^Invalid token: /],
    'a flipped bit in the signature': [flip, /^Invalid token: InvalidSignature/],
    'a changed payload': [[b64(header), b64({ ...good, sub: 'root' }), host.token.split('.')[2]].join('.'), /^Invalid token: /],
    'another key': [make(header, good, es256(other)), /^Invalid token: InvalidSignature/],
    'alg none': [`${b64({ typ: 'JWT', alg: 'none' })}.${b64(good)}.`, /^Invalid token: /],
    'HS256 with the public key as secret': [make({ typ: 'JWT', alg: 'HS256' }, good, text => createHmac('sha256', pem).update(text).digest()), /^Invalid token: /],
    'RS256 by somebody': [make({ typ: 'JWT', alg: 'RS256' }, good, text => sign('sha256', Buffer.from(text), rsa)), /^Invalid token: /],
    'a DER signature': [make(header, good, text => sign('sha256', Buffer.from(text), own)), /^Invalid token: /],
    'expired': [make(header, { ...good, exp: now - 3600 }, es256(own)), /^Invalid token: ExpiredSignature/],
    'no sub': [make(header, { ...good, sub: undefined }, es256(own)), /Missing required claim: sub|sub/],
    'no iat': [make(header, { ...good, iat: undefined }, es256(own)), /iat/],
    'empty sub': [make(header, { ...good, sub: '', hex_identity: undefined }, es256(own)), /Subject empty/],
    'long issuer': [make(header, { ...good, iss: 'i'.repeat(129), hex_identity: undefined }, es256(own)), /Issuer too long/],
    'somebody else\'s identity': [make(header, { ...good, hex_identity: stranger.identity }, es256(own)), /Identity mismatch/],
    'exp as text': [make(header, { ...good, exp: 'tomorrow' }, es256(own)), /./],
    '100 kB of token': ['a'.repeat(20000), /./],
  };
  for (const [what, [token, pattern]] of Object.entries(cases)) {
    for (const how of ['header', 'query']) {
      const r = how === 'header' ? await get('/v1/database/people', { token }) : await get(`/v1/database/people?token=${encodeURIComponent(token)}`, { token: null });
      assert.equal(r.status, 401, `${what} in the ${how}: ${r.status} ${r.text}`);
      match(r.text, pattern, what);
      assert.equal(r.headers.get('spacetime-identity'), null, `${what}: no identity for an unverified caller`);
    }
  }
  assert.equal((await get('/v1/database/people', { token: make(header, { ...good, exp: now - 30 }, es256(own)) })).status, 200, '60 s of leeway');
  assert.equal((await get('/v1/database/people', { token: make(header, { ...good, exp: now + 3600 }, es256(own)) })).status, 200);
  for (const value of ['Basic YTpi', 'Bearer', host.token, 'Bearer a b']) {
    const r = await get('/v1/database/people', { token: null, headers: { authorization: value } });
    assert.deepEqual([r.status, r.text], [400, 'Authorization is invalid: malformed token'], value);
  }
  assert.equal((await get('/v1/ping', { token: 'x' })).status, 401, 'ping checks a token that is sent');
  assert.equal((await get('/v1/health', { token: 'x' })).status, 200, 'health ignores it');
});

test('identity routes and the websocket token', async () => {
  const fresh = JSON.parse((await host.http('POST', '/v1/identity', { token: null })).text);
  match(fresh.identity, /^c200[0-9a-f]{60}$/);
  const claims = payloadOf(fresh.token);
  assert.deepEqual(Object.keys(claims), ['hex_identity', 'sub', 'iss', 'aud', 'iat', 'exp']);
  assert.deepEqual([claims.iss, claims.aud, claims.exp, claims.hex_identity], ['localhost', ['spacetimedb'], null, fresh.identity]);
  assert.equal((await get(`/v1/identity/${fresh.identity}/verify`, { token: fresh.token })).status, 204);
  assert.equal((await get(`/v1/identity/${host.identity}/verify`, { token: fresh.token })).status, 400);
  assert.deepEqual([(await get(`/v1/identity/${fresh.identity}/verify`, { token: null })).status], [401]);
  match((await get('/v1/identity/zz/verify')).text, /^Invalid URL/);
  const short = await host.http('POST', '/v1/identity/websocket-token', { token: fresh.token });
  const t = JSON.parse(short.text).token, c = payloadOf(t);
  assert.deepEqual([c.sub, c.iss, c.exp - c.iat], [claims.sub, claims.iss, 60]);
  assert.equal((await get(`/v1/identity/${fresh.identity}/verify?token=${t}`, { token: null })).status, 204);
  const refused = await host.http('POST', '/v1/identity/websocket-token', { token: null });
  assert.deepEqual([refused.status, refused.text], [401, 'Authorization required']);
  assert.deepEqual(JSON.parse((await get(`/v1/identity/${fresh.identity}/databases`)).text), { identities: [] });
  assert.ok(JSON.parse((await get(`/v1/identity/${host.identity}/databases`)).text).identities.length >= 1);
  const anonymous = await get('/v1/database/people', { token: null });
  match(anonymous.headers.get('spacetime-identity'), /^c200[0-9a-f]{60}$/);
  assert.equal(payloadOf(anonymous.headers.get('spacetime-identity-token')).hex_identity, anonymous.headers.get('spacetime-identity'));
});

// ---- names, information, schema ----

test('names are added, replaced, refused when taken, and renaming takes effect', async () => {
  await host.mustPublish('alpha', people);
  const hex = (await get('/v1/database/alpha/identity')).text;
  const names = async () => JSON.parse((await get(`/v1/database/${hex}/names`)).text).names;
  const add = await host.http('POST', '/v1/database/alpha/names', { body: 'beta' });
  assert.deepEqual([add.status, JSON.parse(add.text)], [200, { Success: { domain: 'beta', database_identity: hex } }]);
  assert.deepEqual(await names(), ['alpha', 'beta']);
  assert.equal((await host.call('beta', 'nothing', [])).status, 200);
  const taken = await host.http('POST', '/v1/database/alpha/names', { body: 'people' });
  assert.equal(taken.status, 409);
  match(taken.text, /people/);
  match((await host.http('POST', '/v1/database/alpha/names', { body: '"quoted"' })).text, /invalid characters in database name/);
  const set = body => host.http('PUT', '/v1/database/alpha/names', { body, headers: json });
  for (const body of ['', '{}', '["a"', '[1]', '["a",]', 'null']) assert.ok([400, 422].includes((await set(body)).status), body);
  assert.deepEqual([(await host.http('PUT', '/v1/database/alpha/names', { body: '["x"]', headers: { 'content-type': 'text/plain' } })).status], [415]);
  const bad = await set('["fine","Bad"]');
  assert.deepEqual([bad.status, bad.text], [400, 'Error parsing `Bad`: invalid characters in database name']);
  const used = await set('["people"]');
  assert.equal(used.status, 400);
  match(JSON.parse(used.text).OtherError, /people/);
  assert.deepEqual(await names(), ['alpha', 'beta'], 'a refused rename changes nothing');
  assert.deepEqual((await host.http('PUT', `/v1/database/${hex}/names`, { body: '["gamma"]', headers: json })).text, '"Success"');
  assert.deepEqual(await names(), ['gamma']);
  assert.equal((await host.call('gamma', 'nothing', [])).status, 200);
  for (const old of ['alpha', 'beta']) assert.equal((await host.call(old, 'nothing', [])).status, 404, `${old} is no name any more`);
  assert.equal((await host.call(hex, 'nothing', [])).status, 200);
  const theirs = await host.publish('gamma', people, { token: stranger.token });
  assert.equal(theirs.status, 403);
});

test('database information has the shapes of the sheet', async () => {
  const hex = (await get('/v1/database/people/identity')).text;
  const r = await get('/v1/database/people');
  assert.equal(r.headers.get('content-type'), 'application/json');
  const info = JSON.parse(r.text);
  assert.deepEqual(Object.keys(info), ['database_identity', 'owner_identity', 'host_type', 'initial_program']);
  assert.equal(info.database_identity.__identity__, '0x' + hex);
  assert.equal(info.owner_identity.__identity__, '0x' + host.identity);
  assert.deepEqual(info.host_type, { Wasm: [] });
  match(info.initial_program, /^0x[0-9a-f]{1,64}$/);
  assert.equal((await get(`/v1/database/0x${hex}`)).text, r.text);
  assert.equal((await get(`/v1/database/${hex.toUpperCase()}`)).text, r.text);
  const health = JSON.parse((await get('/v1/health')).text);
  assert.equal(health.schedulable, true);
  match((await get('/v1/database/people/unstable/timestamp')).text, /^\{"__timestamp_micros_since_unix_epoch__":\d{16}\}$/);
});

const field = (name, kind) => ({ name: { some: name }, algebraic_type: { [kind]: [] } });
const indexes = key => [['person_email_idx_btree', 'email', 1], ['person_id_idx_btree', 'id', 0], ['person_name_idx_btree', 'name', 2]]
  .map(([name, accessor, column]) => ({ [key]: { some: name }, accessor_name: { some: accessor }, algorithm: { BTree: [column] } }));
const uniques = key => [['person_email_key', 1], ['person_id_key', 0]].map(([name, column]) => ({ [key]: { some: name }, data: { Unique: { columns: [column] } } }));
const sequence = key => [{ [key]: { some: 'person_id_seq' }, column: 0, start: { none: [] }, min_value: { none: [] }, max_value: { none: [] }, increment: 1 }];

test('the schema of version 9 is the example of the sheet', async () => {
  const r = await get('/v1/database/people/schema?version=9', { token: stranger.token });
  assert.equal(r.headers.get('content-type'), 'application/json');
  const s = JSON.parse(r.text);
  assert.deepEqual(Object.keys(s), ['typespace', 'tables', 'reducers', 'types', 'misc_exports', 'row_level_security']);
  const person = s.tables.find(t => t.name === 'person');
  assert.deepEqual(s.typespace.types[person.product_type_ref], { Product: { elements: [field('id', 'U64'), field('email', 'String'), field('name', 'String')] } });
  assert.deepEqual(person, { name: 'person', product_type_ref: person.product_type_ref, primary_key: [0], indexes: indexes('name'), constraints: uniques('name'), sequences: sequence('name'),
    schedule: { none: [] }, table_type: { User: [] }, table_access: { Public: [] } });
  assert.deepEqual(s.tables.map(t => [t.name, Object.keys(t.table_access)[0]]), [['person', 'Public'], ['secret', 'Private']]);
  assert.deepEqual(s.reducers.find(x => x.name === 'add'), { name: 'add', params: { elements: [field('email', 'String'), field('name', 'String')] }, lifecycle: { none: [] } });
  assert.deepEqual(s.reducers.find(x => x.name === 'init').lifecycle, { some: { Init: [] } });
  assert.deepEqual(s.misc_exports, []);
});

test('the schema of version 10 is the example of the sheet', async () => {
  const s = JSON.parse((await get('/v1/database/people/schema?version=10', { token: null })).text);
  const section = name => s.sections.find(x => name in x)?.[name];
  const order = s.sections.map(x => Object.keys(x)[0]);
  assert.deepEqual(order, ['Typespace', 'Types', 'Tables', 'Reducers', 'LifeCycleReducers', 'ExplicitNames']);
  const person = section('Tables').find(t => t.source_name === 'person');
  assert.deepEqual(person, { source_name: 'person', product_type_ref: person.product_type_ref, primary_key: [0], indexes: indexes('source_name'), constraints: uniques('source_name'), sequences: sequence('source_name'),
    table_type: { User: [] }, table_access: { Public: [] }, default_values: [], is_event: false });
  assert.deepEqual(section('Reducers').find(x => x.source_name === 'add'), { source_name: 'add', params: { elements: [field('email', 'String'), field('name', 'String')] }, visibility: { ClientCallable: [] },
    ok_return_type: { Product: { elements: [] } }, err_return_type: { String: [] } });
  assert.deepEqual(section('Reducers').find(x => x.source_name === 'init').visibility, { Private: [] });
  assert.deepEqual(section('LifeCycleReducers'), [{ lifecycle_spec: { Init: [] }, function_name: 'init' }]);
  assert.ok(section('ExplicitNames').entries.some(e => e.Table?.source_name === 'person' && e.Table.canonical_name === 'person'));
  assert.ok(section('ExplicitNames').entries.some(e => e.Function?.source_name === 'add'));
});

test('SQL that is wrong is 400 with a text that names what is', async () => {
  for (const [sql, pattern] of [
    ['', /^Empty SQL query$/], ['   ;', /^Empty SQL query$|SQL syntax error/], ['SELEC * FROM person', /SQL syntax error|Unsupported/], ['SELECT * FROM person WHERE', /SQL syntax error/], ['SELECT * FROM', /SQL syntax error/],
    ['SELECT * FROM nope', /^no such table: `nope`/], ['SELECT nope FROM person', /nope/], ['SELECT * FROM person WHERE id = \'x\'', /`x`[^]*U64|U64/i], ['SELECT * FROM person WHERE id = 18446744073709551616', /cannot be parsed|18446744073709551616/],
    ['SELECT COUNT(*) FROM person', /needs a name/], ['SELECT * FROM person; DELETE FROM person', /multiple (SQL )?statements/i], ['INSERT INTO person (id) VALUES (1)', /./], ['DROP TABLE person', /unsupported|SQL syntax error/],
    ["INSERT INTO person (id, email, name) VALUES (1, 'a', 'b', 'c')", /./], ['SELECT * FROM person, secret', /./], ['(('.repeat(20000), /./], ['SELECT * FROM person WHERE ' + '('.repeat(20000) + 'id = 1' + ')'.repeat(20000), /./],
    ['SELECT * FROM person WHERE ' + Array(900).fill('NOT').join(' ') + ' id = 1', /./], ["SELECT * FROM person WHERE name = 'unclosed", /SQL syntax error/], ['SELECT * FROM person WHERE name = \'a\0b\'', null], ['x'.repeat(50001), /exceeds maximum allowed length/],
  ]) {
    const r = await host.http('POST', '/v1/database/people/sql', { body: sql });
    if (pattern === null) { assert.ok(r.status === 200 || r.status === 400); continue; }
    assert.equal(r.status, 400, `${sql.slice(0, 60)}: ${r.status} ${r.text.slice(0, 200)}`);
    match(r.text, pattern, sql.slice(0, 60));
  }
  const r = await host.http('POST', '/v1/database/people/sql', { body: Buffer.from([0x53, 0xff, 0xfe]) });
  assert.deepEqual([r.status, /^Request body didn't contain valid UTF-8/.test(r.text)], [400, true]);
  assert.equal(JSON.parse((await host.http('POST', '/v1/database/people/sql', { body: 'SELECT * FROM secret;' })).text).length, 1);
});

// ---- WebSocket ----

const key = 'dGhlIHNhbXBsZSBub25jZQ==';
const upgrade = (path, { version = '13', protocols = 'v2.bsatn.spacetimedb', wsKey = key, more = [] } = {}) =>
  [`GET ${path} HTTP/1.1`, 'Host: x', 'Connection: Upgrade', 'Upgrade: websocket', ...(version ? [`Sec-WebSocket-Version: ${version}`] : []), ...(wsKey ? [`Sec-WebSocket-Key: ${wsKey}`] : []),
    ...(protocols ? [`Sec-WebSocket-Protocol: ${protocols}`] : []), ...more, '', ''].join('\r\n');
const frame = (payload, { opcode = 2, fin = true, mask = true, length, rsv = 0 } = {}) => {
  const n = length ?? payload.length;
  const size = n < 126 ? Buffer.from([n]) : n < 65536 ? Buffer.from([126, n >> 8, n & 255]) : Buffer.concat([Buffer.from([127]), (b => { b.writeBigUInt64BE(BigInt(n)); return b; })(Buffer.alloc(8))]);
  const head = Buffer.from([(fin ? 0x80 : 0) | rsv | opcode]);
  if (!mask) return Buffer.concat([head, size, payload]);
  size[0] |= 0x80;
  const maskKey = randomBytes(4);
  return Buffer.concat([head, size, maskKey, Buffer.from(payload.map((b, i) => b ^ maskKey[i & 3]))]);
};
// A WebSocket by hand: sends pieces after the handshake; resolves with the close code, or what it saw when time is up.
function handmade(pieces, { protocol = 'v2.bsatn.spacetimedb', ms = 3000, query = 'compression=None' } = {}) {
  return new Promise(done => {
    const socket = net.connect(host.port, '127.0.0.1');
    let got = Buffer.alloc(0), upgraded = false;
    const frames = [];
    const end = how => { clearTimeout(timer); socket.destroy(); done({ how, frames, close: frames.find(f => f.opcode === 8) && { code: frames.find(f => f.opcode === 8).payload.readUInt16BE(0), reason: frames.find(f => f.opcode === 8).payload.subarray(2).toString() } }); };
    const timer = setTimeout(() => end('open'), ms);
    socket.on('error', () => end('closed'));
    socket.on('close', () => end('closed'));
    socket.on('data', d => {
      got = Buffer.concat([got, d]);
      if (!upgraded) {
        const at = got.indexOf('\r\n\r\n');
        if (at < 0) return;
        if (!got.toString('latin1').startsWith('HTTP/1.1 101')) return end(got.toString('latin1'));
        upgraded = true;
        got = got.subarray(at + 4);
        for (const p of pieces) socket.write(p);
      }
      while (got.length >= 2) {
        let n = got[1] & 127, at = 2;
        if (n === 126) { if (got.length < 4) return; n = got.readUInt16BE(2); at = 4; } else if (n === 127) { if (got.length < 10) return; n = Number(got.readBigUInt64BE(2)); at = 10; }
        if (got.length < at + n) return;
        frames.push({ opcode: got[0] & 15, payload: got.subarray(at, at + n) });
        got = got.subarray(at + n);
      }
      if (frames.some(f => f.opcode === 8)) end('closed');
    });
    socket.write(upgrade(`/v1/database/people/subscribe?${query}`, { protocols: protocol }));
  });
}
const callMessage = (request, reducer, args = Buffer.alloc(0)) => Buffer.concat([u8(3), u32(request), u8(0), str(reducer), bytes(args)]);

test('handshakes that are not right are refused with the reason', async () => {
  const path = '/v1/database/people/subscribe';
  for (const [text, pattern] of [
    [request(`GET ${path} HTTP/1.1`).join(''), /^HTTP\/1\.1 426/],
    [upgrade(path, { version: '12' }), /^HTTP\/1\.1 400[^]*`Sec-WebSocket-Version` header did not include '13'/],
    [upgrade(path, { version: null }), /^HTTP\/1\.1 400[^]*'13'/],
    [upgrade(path, { wsKey: null }), /^HTTP\/1\.1 400[^]*`Sec-WebSocket-Key` header missing/],
    [upgrade(path, { wsKey: 'short' }), /^HTTP\/1\.1 400[^]*Sec-WebSocket-Key/],
    [upgrade(path, { protocols: 'v9.nope' }), /^HTTP\/1\.1 400[^]*no valid protocol selected/],
    [upgrade(path, { protocols: null }), /^HTTP\/1\.1 400[^]*no valid protocol selected/],
    [upgrade(`${path}?connection_id=${'0'.repeat(32)}`), /^HTTP\/1\.1 400[^]*Invalid connection ID: the all-zeros ConnectionId is reserved\./],
    [upgrade(`${path}?connection_id=xyz`), /^HTTP\/1\.1 400[^]*connection_id/],
    [upgrade(`${path}?compression=Zip`), /^HTTP\/1\.1 400[^]*unknown variant `Zip`/],
    [upgrade(`${path}?confirmed=yes`), /^HTTP\/1\.1 400[^]*confirmed/],
    [upgrade(path, { more: ['Authorization: Bearer nope'] }), /^HTTP\/1\.1 401/],
  ]) {
    const r = await raw(text, { enough: t => t.includes('\r\n\r\n') && !/Content-Length: [1-9]/i.test(t.split('\r\n\r\n')[0]) || (t.split('\r\n\r\n')[1] ?? '').length > 3 });
    match(r.text, pattern, text.slice(0, 120));
  }
  const fine = await raw(upgrade(path, { protocols: 'v1.json.spacetimedb, v2.bsatn.spacetimedb, v3.bsatn.spacetimedb' }), { enough: t => t.includes('\r\n\r\n') });
  match(fine.text, /^HTTP\/1\.1 101/);
  match(fine.text, /sec-websocket-protocol: v3\.bsatn\.spacetimedb\r\n/i);
  assert.ok(fine.text.toLowerCase().includes(`sec-websocket-accept: ${createHash('sha1').update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')}`.toLowerCase()));
  match(fine.text, /spacetime-identity-token: /i);
});

test('bad messages close with 1011 and say why', async () => {
  const v3 = { protocol: 'v3.bsatn.spacetimedb' };
  for (const [what, pieces, options, pattern] of [
    ['text, v2', [frame(Buffer.from('{}'), { opcode: 1 })], {}, /v2 websocket does not support text messages/],
    ['text, v3', [frame(Buffer.from('{}'), { opcode: 1 })], v3, /v3 websocket does not support text messages/],
    ['empty v3 payload', [frame(Buffer.alloc(0))], v3, /at least one v2 client message/],
    ['empty v2 payload', [frame(Buffer.alloc(0))], {}, /too short/],
    ['unknown tag', [frame(u8(99))], {}, /unknown tag|tag/],
    ['truncated call', [frame(callMessage(1, 'nothing').subarray(0, 9))], {}, /data too short/],
    ['a length past the end', [frame(Buffer.concat([u8(3), u32(1), u8(0), u32(0xffffffff)]))], {}, /data too short/],
    ['a name that is not UTF-8', [frame(Buffer.concat([u8(3), u32(1), u8(0), bytes(Buffer.from([0xff, 0xfe])), bytes(Buffer.alloc(0))]))], {}, /utf/i],
    ['a million queries', [frame(Buffer.concat([u8(0), u32(1), u32(1), u32(1000000)]))], {}, /1000000|too short/],
    ['a second message that is broken, v3', [frame(Buffer.concat([callMessage(1, 'nothing'), u8(77)]))], v3, /tag/],
  ]) {
    const r = await handmade(pieces, options);
    assert.equal(r.close?.code, 1011, `${what}: ${JSON.stringify(r)}`);
    match(r.close.reason, pattern, what);
  }
  await alive();
});

test('frames that break the protocol cut the connection', async () => {
  for (const [what, pieces] of [
    ['garbage', [randomBytes(4096).fill(0xff, 0, 2)]],
    ['an unmasked frame', [frame(callMessage(1, 'nothing'), { mask: false })]],
    ['reserved bits', [frame(callMessage(1, 'nothing'), { rsv: 0x40 })]],
    ['an unknown opcode', [frame(Buffer.alloc(3), { opcode: 5 })]],
    ['a continuation of nothing', [frame(Buffer.alloc(3), { opcode: 0 })]],
    ['a fragmented ping', [frame(Buffer.alloc(3), { opcode: 9, fin: false })]],
    ['a ping of 200 bytes', [frame(Buffer.alloc(200), { opcode: 9 })]],
    ['33 MiB announced', [frame(Buffer.alloc(10), { length: 33 << 20 })]],
    ['2^63 announced', [frame(Buffer.alloc(10), { length: Number.MAX_SAFE_INTEGER })]],
  ]) {
    const r = await handmade(pieces);
    assert.equal(r.how, 'closed', `${what}: ${JSON.stringify(r.frames.map(f => f.opcode))}`);
    assert.ok(!r.frames.some(f => f.opcode === 2 && f.payload[1] === 6), `${what}: the call must not run`);
  }
  const fragments = await handmade([frame(callMessage(7, 'nothing').subarray(0, 5), { fin: false }), frame(Buffer.from('hi'), { opcode: 9 }), frame(callMessage(7, 'nothing').subarray(5), { opcode: 0 })], { ms: 600 });
  assert.ok(fragments.frames.some(f => f.opcode === 2 && f.payload[1] === 6 && f.payload.readUInt32LE(2) === 7), 'a fragmented call with a ping between is answered');
  assert.ok(fragments.frames.some(f => f.opcode === 10 && f.payload.toString() === 'hi'), 'and the ping too');
  const fragmentsTooBig = await handmade([...Array(33)].map((_, i) => frame(Buffer.alloc(1 << 20), { opcode: i ? 0 : 2, fin: false })), { ms: 8000 });
  assert.equal(fragmentsTooBig.how, 'closed', 'the limit holds over fragments');
});

test('300 mutated payloads: the host stays up, and a client beside them is served in order', async () => {
  const beside = new Wire(host.port, 'people', { token: host.token });
  await beside.opened;
  let stop = false, answered = 0;
  const load = (async () => { while (!stop) { assert.equal((await within('a call', beside.call('nothing', Buffer.alloc(0)))).outcome, 'ok'); answered++; } })();
  let seed = 12345;
  const random = n => { seed = (seed * 1103515245 + 12345) & 0x7fffffff; return (seed >> 8) % n; };
  const good = [callMessage(1, 'nothing'), callMessage(2, 'add', Buffer.concat([str('a@b'), str('n')])), Buffer.concat([u8(0), u32(3), u32(9), u32(1), str('SELECT * FROM person WHERE id = 5')]),
    Buffer.concat([u8(2), u32(4), str('SELECT * FROM person')]), Buffer.concat([u8(1), u32(5), u32(9), u8(0)]), Buffer.concat([u8(4), u32(6), u8(0), str('proc'), bytes(Buffer.alloc(0))])];
  const pid = host.process.pid;
  const one = async i => {
    let m = Buffer.from(i % 3 ? good[random(good.length)] : Buffer.concat([good[random(good.length)], good[random(good.length)]]));
    for (let k = 0; k < 1 + random(6); k++) {
      const at = random(m.length);
      if (random(4) === 0) m = Buffer.concat([m.subarray(0, at), randomBytes(random(8)), m.subarray(at + random(3))]);
      else if (random(6) === 0) m = m.subarray(0, at);
      else m[at] = random(256);
      if (!m.length) m = Buffer.from([0]);
    }
    await handmade([frame(m)], { protocol: i % 2 ? 'v2.bsatn.spacetimedb' : 'v3.bsatn.spacetimedb', ms: 150 });
  };
  for (let i = 0; i < 300; i += 20) await Promise.all(Array.from({ length: 20 }, (_, k) => one(i + k)));
  stop = true;
  await load;
  beside.close();
  assert.ok(answered > 50, `only ${answered} calls were answered meanwhile`);
  assert.ok(!host.process.gone && host.process.pid === pid);
  assert.equal(host.output.match(/the worker was|broke the protocol/), null, 'no worker died of it');
});

test('answers come in the order of the calls, however many are in flight', async () => {
  const wire = new Wire(host.port, 'people', { token: host.token });
  await wire.opened;
  const order = [];
  await within('2,000 answers', Promise.all(Array.from({ length: 2000 }, (_, i) =>
    (i % 7 === 3 ? wire.call('missing', Buffer.alloc(0)) : i % 5 === 0 ? wire.call('hide', Buffer.concat([u32(i + 10), str('w')])) : wire.call('nothing', Buffer.alloc(0))).then(r => order.push([i, r.outcome])))));
  wire.close();
  assert.deepEqual(order.map(([i]) => i), [...Array(2000).keys()]);
  for (const [i, outcome] of order) assert.equal(outcome, i % 7 === 3 ? 'internal' : 'ok');
});

await main(() => host.stop());
