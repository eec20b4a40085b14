// What every integration test needs: a host of its own, the CLI, psql, the official client, and a small runner that prints TAP.
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, readFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import assert from 'node:assert/strict';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
export const build = resolve(root, process.env.BUILD ?? 'build');
export const bin = name => join(build, 'bin', name);
export const sleep = ms => new Promise(done => setTimeout(done, ms));
const slow = process.env.SANITIZED ? 6 : 1;

// Wait until `check` returns something truthy; the error names what was awaited.
export async function until(what, check, seconds = 20) {
  const end = Date.now() + seconds * 1000 * slow;
  let last;
  while (Date.now() < end) {
    try {
      const value = await check();
      if (value) return value;
      last = value;
    } catch (error) { last = error; }
    await sleep(20);
  }
  throw new Error(`waited ${seconds} s for: ${what}; last: ${last?.stack ?? last}`);
}

export const within = (what, promise, seconds = 20) =>
  Promise.race([promise, sleep(seconds * 1000 * slow).then(() => { throw new Error(`waited ${seconds} s for: ${what}`); })]);

// Searchable by others: as root the embedded PostgreSQL runs as another user, which must reach its files.
function freshDir(prefix) {
  const dir = mkdtempSync(prefix);
  chmodSync(dir, 0o711);
  return dir;
}
let scratch;
export function scratchDir() {
  scratch ??= freshDir(join(tmpdir(), 'stpg-'));
  return scratch;
}

export function modulePath(name) {
  const out = join(scratchDir(), 'modules', `${name.replaceAll('/', '-')}.so`);
  if (!existsSync(out)) {
    mkdirSync(dirname(out), { recursive: true });
    const source = name.endsWith('.c') ? name : join(root, 'plugins', name, `${name.split('/')[0]}.c`);
    compile(source, out);
  }
  return out;
}

export function compile(source, out) {
  const r = spawnSync('gcc', ['-std=c11', '-O2', '-g', '-fPIC', '-shared', '-fvisibility=hidden', '-fno-gnu-unique', '-fstack-clash-protection',
    '-I', join(root, 'sdk'), source, '-o', out], { encoding: 'utf8' });
  if (r.status !== 0) throw new Error(`cannot compile ${source}:\n${r.stderr}`);
  return out;
}

export function compileText(name, text) {
  const dir = join(scratchDir(), 'modules');
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, `${name}.c`), text);
  return compile(join(dir, `${name}.c`), join(dir, `${name}.so`));
}

// A failed test leaves no host behind: each stops its embedded PostgreSQL itself.
const running = new Set();
process.on('exit', () => { for (const child of running) child.kill('SIGTERM'); });
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(1));

export class Host {
  constructor(options = {}) {
    this.dir = options.dir ?? freshDir(join(scratchDir(), 'host-'));
    this.args = options.args ?? [];
    this.env = options.env ?? {};
    this.wrapper = options.wrapper; // a command that runs the host, as in ['prlimit', '--nofile=256:4096']
    this.output = '';
    this.config = join(this.dir, 'cli.toml');
  }

  async start() {
    const [program, ...before] = [...(this.wrapper ?? []), bin('spacetimedb-host')];
    this.process = spawn(program, [...before, 'start', '--data-dir', join(this.dir, 'data'), '--listen-addr', `127.0.0.1:${this.port ?? 0}`, ...this.args],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...this.env } });
    const child = this.process;
    running.add(child);
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', d => { text += d; this.output += d; if (process.env.SHOW_HOST) process.stderr.write(d); });
    child.exited = new Promise(done => child.on('exit', (code, signal) => { child.gone = true; running.delete(child); done({ code, signal }); }));
    await until('the host to listen', () => {
      if (child.gone) return ['the host exited'];
      return /listening on [^\s]*:(\d+)/.exec(text);
    }, 60).catch(e => { throw new Error(`${e.message}\n${text}`); });
    if (!/listening on/.test(text)) throw new Error(`the host exited:\n${text}`);
    this.port = Number(/listening on [^\s]*:(\d+)/.exec(text)[1]);
    this.url = `http://127.0.0.1:${this.port}`;
    writeFileSync(this.config, `default_server = "local"\n${this.token ? `spacetimedb_token = "${this.token}"\n` : ''}` +
      `[[server_configs]]\nnickname = "local"\nhost = "127.0.0.1:${this.port}"\nprotocol = "http"\n`);
    if (!this.token) {
      const r = await (await fetch(`${this.url}/v1/identity`, { method: 'POST' })).json();
      this.identity = r.identity;
      this.token = r.token;
      writeFileSync(this.config, `spacetimedb_token = "${this.token}"\n` + readFileSync(this.config, 'utf8'));
    }
    return this;
  }

  async kill(signal = 'SIGKILL') {
    this.process.kill(signal);
    return within(`the host to end after ${signal}`, this.process.exited, 60);
  }
  async stop() {
    if (this.process && !this.process.gone) {
      const { code } = await this.kill('SIGTERM');
      assert.equal(code, 0, `the host must stop cleanly:\n${this.output.slice(-2000)}`);
    }
  }

  get conninfo() { return readFileSync(join(this.dir, 'data', 'pg.conninfo'), 'utf8').trim(); }
  psql(sql, { fails = false } = {}) {
    const r = spawnSync('psql', [this.conninfo, '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-c', sql], { encoding: 'utf8' });
    if (fails) { assert.notEqual(r.status, 0, `psql should have refused: ${sql}`); return r.stderr; }
    assert.equal(r.status, 0, `psql ${sql}: ${r.stderr}`);
    return r.stdout.trim();
  }

  headers(token = this.token) { return token ? { authorization: `Bearer ${token}` } : {}; }
  async http(method, path, { body, token = this.token, headers = {} } = {}) {
    const r = await fetch(`${this.url}${path}`, { method, body, headers: { ...this.headers(token), ...headers } });
    return { status: r.status, text: await r.text(), headers: r.headers };
  }
  // Publish the bytes of a module; the answer's text on failure.
  async publish(name, file, { query = '', token } = {}) {
    return this.http('PUT', `/v1/database/${name}${query}`, { body: readFileSync(file), token });
  }
  async mustPublish(name, file, options) {
    const r = await this.publish(name, file, options);
    assert.equal(r.status, 200, `publish ${name}: ${r.status} ${r.text}\n${this.output.slice(-3000)}`);
    return JSON.parse(r.text).Success;
  }
  async call(name, reducer, args, options = {}) {
    return this.http('POST', `/v1/database/${name}/call/${reducer}`, { ...options, body: typeof args === 'string' ? args : JSON.stringify(args), headers: { 'content-type': 'application/json' } });
  }
  async sql(name, text, options) {
    const r = await this.http('POST', `/v1/database/${name}/sql`, { ...options, body: text });
    assert.equal(r.status, 200, `sql ${text}: ${r.status} ${r.text}`);
    return JSON.parse(r.text)[0].rows;
  }
  async logs(name) { return (await this.http('GET', `/v1/database/${name}/logs`)).text.trim().split('\n').filter(Boolean).map(line => JSON.parse(line)); }

  cli(args, { input = '', cwd, env = {} } = {}) {
    const r = spawnSync(bin('spacetime'), ['--config-path', this.config, ...args],
      { encoding: 'utf8', input, cwd, env: { ...process.env, HOME: this.dir, ...env }, timeout: 120000 });
    return { status: r.status, out: r.stdout, err: r.stderr };
  }
  mustCli(args, options) {
    const r = this.cli(args, options);
    assert.equal(r.status, 0, `spacetime ${args.join(' ')}: status ${r.status}\n${r.out}\n${r.err}`);
    return r.out;
  }

  // Process ids of this host's workers.
  workers() {
    const r = spawnSync('pgrep', ['-P', String(this.process.pid), '-f', 'spacetimedb-worker'], { encoding: 'utf8' });
    return r.stdout.split('\n').filter(Boolean).map(Number);
  }
  postmaster() { return Number(readFileSync(this.pgPidFile(), 'utf8').split('\n')[0]); }
  pgPidFile() { return join(this.psql('show data_directory'), 'postmaster.pid'); }
}

// The official client, connected. `binding` comes from tests/clients/bindings.mjs.
export function connect(host, binding, database, { token, confirmed, url } = {}) {
  return within(`the client to connect to ${database}`, new Promise((done, refused) => {
    let builder = binding.Connection.builder().withUri(url ?? `ws://127.0.0.1:${host.port}`).withDatabaseName(database)
      .onConnect((connection, identity, issued) => done({ connection, identity, token: issued, lost: connection.lost }))
      .onConnectError((_context, error) => refused(error))
      .onDisconnect(() => { connection.gone = true; refused(new Error('disconnected')); });
    if (token) builder = builder.withToken(token);
    if (confirmed !== undefined) builder = builder.withConfirmedReads(confirmed);
    const connection = builder.build();
  }));
}
export const subscribe = (connection, ...queries) =>
  within(`subscription ${queries}`, new Promise((done, refused) => {
    const handle = connection.subscriptionBuilder().onApplied(() => done(handle)).onError(context => refused(context.event ?? new Error('refused')))
      .subscribe(queries);
  }));

// ---- the runner: one file is one suite ----
const tests = [];
export const test = (name, run) => tests.push({ name, run });
export async function main(cleanup = async () => {}) {
  const only = process.env.CASE ? new RegExp(process.env.CASE) : null;
  let failed = 0, n = 0;
  for (const { name, run } of tests) {
    if (only && !only.test(name)) continue;
    const start = Date.now();
    try {
      await run();
      console.log(`ok ${++n} - ${name} (${Date.now() - start} ms)`);
    } catch (error) {
      failed++;
      console.log(`not ok ${++n} - ${name}`);
      console.log(String(error?.stack ?? error).split('\n').map(line => `# ${line}`).join('\n'));
    }
  }
  await cleanup().catch(error => { failed++; console.log(`not ok ${++n} - cleanup`); console.log(`# ${error.stack}`); });
  console.log(`1..${n}`);
  for (const child of [...running]) { child.kill('SIGTERM'); child.kill('SIGCONT'); await Promise.race([child.exited, sleep(20000)]); }
  if (scratch && !process.env.KEEP) rmSync(scratch, { recursive: true, force: true });
  process.exit(failed ? 1 : 0);
}
process.on('unhandledRejection', error => { console.log(`# unhandled: ${error?.stack ?? error}`); });
