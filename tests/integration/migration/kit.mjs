// What a migration case needs: modules compiled once each, a database whose rows are known, a client that decodes rows as the version it
// connected under has them, and PostgreSQL's view of the same.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import assert from 'node:assert/strict';
import { bin, root, scratchDir, until, within } from '../lib.mjs';
import { Wire, str, u32, u8 } from '../../clients/wire.mjs';
import { decodeRow, definition, exactJson, pgColumns, pgIndexes, sampleRow, source, toJson, toPg, widened } from './notation.mjs';

export const run = (program, args, { input = '', env = {}, cwd } = {}) => within(`${program} ${args.slice(0, 4).join(' ')}`, new Promise(done => {
  const child = spawn(program, args, { env: { ...process.env, ...env }, cwd });
  let out = '', err = '';
  child.stdout.on('data', d => { out += d; });
  child.stderr.on('data', d => { err += d; });
  child.on('close', status => done({ status, out, err }));
  child.stdin.on('error', () => {});
  child.stdin.end(input);
}), 120);

// At most `n` at a time.
export function lanes(n) {
  const waiting = [];
  let running = 0;
  const next = () => { if (running < n && waiting.length) { running++; waiting.shift()(); } };
  return async work => {
    await new Promise(go => { waiting.push(go); next(); });
    try { return await work(); } finally { running--; next(); }
  };
}

// ---- modules: the same text is compiled once; the header is compiled once for all of them ----

const FLAGS = ['-std=c11', '-O0', '-fPIC', '-fvisibility=hidden', '-fno-gnu-unique', '-fstack-clash-protection'];
const compiled = new Map(), compilers = lanes(2);
let header;
const dir = () => join(scratchDir(), 'migrating');
async function precompiled() {
  mkdirSync(join(dir(), 'pch'), { recursive: true });
  const r = await run('gcc', [...FLAGS, '-x', 'c-header', join(root, 'sdk/spacetimedb.h'), '-o', join(dir(), 'pch/spacetimedb.h.gch')]);
  assert.equal(r.status, 0, r.err);
}
export function compileC(text) {
  const key = createHash('sha256').update(text).digest('hex').slice(0, 16);
  if (!compiled.has(key)) compiled.set(key, compilers(async () => {
    await (header ??= precompiled());
    const file = join(dir(), key);
    writeFileSync(`${file}.c`, text);
    const r = await run('gcc', [...FLAGS, '-shared', '-I', join(dir(), 'pch'), '-I', join(root, 'sdk'), `${file}.c`, '-o', `${file}.so`]);
    assert.equal(r.status, 0, `cannot compile\n${text}\n${r.err}`);
    return `${file}.so`;
  }));
  return compiled.get(key);
}
export const compileModule = (text, tag) => compileC(source(text, tag));

// ---- a client that decodes what it gets by the definition that it knows ----

export class Viewer {
  // `def`: the version it connected under.
  constructor(host, database, def, { token } = {}) {
    this.def = def;
    this.rows = new Map(); // table -> list of rows
    this.events = new Map();
    this.answers = new Map(); // request id -> resolve
    this.errors = []; // {set, text}: subscriptions that ended
    this.sets = new Map(); // query set -> table
    this.failure = null; // what could not be decoded
    this.next = 1;
    this.wire = new Wire(host.port, database, { token });
    this.wire.onMessage = (tag, body) => { try { this.#message(tag, body); } catch (error) { this.failure ??= error; } };
  }
  get gone() { return !!this.wire.gone; }
  opened() { return within('a client to connect', this.wire.opened); }
  // Resolves with null, or the text of the refusal.
  subscribe(table, sql = `SELECT * FROM "${table}"`) {
    const request = this.next++;
    this.sets.set(request, table);
    return within(`subscription ${sql}`, new Promise(done => {
      this.answers.set(request, done);
      this.wire.send(Buffer.concat([u8(0), u32(request), u32(request), u32(1), str(sql)]));
    }));
  }
  call(reducer, args) { return within(`call of ${reducer}`, this.wire.call(reducer, args)); }
  close() { this.wire.close(); }
  list(table) { return (this.rows.get(table) ?? []).map(keyOf).sort(); }

  #message(tag, body) {
    const r = new Reading(body);
    if (tag === 1) {
      const request = r.u32(), set = r.u32();
      for (let n = r.u32(); n; n--) { const table = r.str(); this.#put(table, r.rows(), this.rows); }
      this.answers.get(request)?.(null);
      this.sets.get(set);
    } else if (tag === 3) {
      const request = r.u8() === 0 ? r.u32() : null, set = r.u32(), text = r.str();
      if (request !== null) { this.sets.delete(set); this.answers.get(request)?.(text); } else this.errors.push({ table: this.sets.get(set), text });
    } else if (tag === 4) {
      for (let n = r.u32(); n; n--) this.#querySet(r);
    }
  }
  #querySet(r) {
    r.u32();
    for (let n = r.u32(); n; n--) {
      const table = r.str();
      for (let m = r.u32(); m; m--) {
        if (r.u8() === 1) { this.#put(table, r.rows(), this.events); continue; }
        const inserts = r.rows(), deletes = r.rows();
        for (const row of this.#decode(table, deletes)) {
          const list = this.rows.get(table) ?? [], at = list.findIndex(x => keyOf(x) === keyOf(row));
          if (at < 0) throw new Error(`${table}: a row is deleted that this client does not have: ${keyOf(row)}`);
          list.splice(at, 1);
        }
        this.#put(table, inserts, this.rows);
      }
    }
  }
  #decode(table, rows) {
    const t = this.def.tables.get(table);
    if (!t) throw new Error(`an update of ${table}, which this client does not know`);
    return rows.map(row => decodeRow(this.def, t, row));
  }
  #put(table, rows, into) { into.set(table, [...(into.get(table) ?? []), ...this.#decode(table, rows)]); }
}
class Reading {
  constructor(body) { this.body = body; this.at = 0; }
  u8() { return this.body[this.at++]; }
  u16() { this.at += 2; return this.body.readUInt16LE(this.at - 2); }
  u32() { this.at += 4; return this.body.readUInt32LE(this.at - 4); }
  bytes() { const n = this.u32(); this.at += n; return this.body.subarray(this.at - n, this.at); }
  str() { return this.bytes().toString(); }
  rows() {
    if (this.u8() === 0) {
      const size = this.u16(), data = this.bytes();
      return Array.from({ length: size ? data.length / size : 0 }, (_, i) => data.subarray(i * size, (i + 1) * size));
    }
    const starts = Array.from({ length: this.u32() }, () => { this.at += 8; return Number(this.body.readBigUInt64LE(this.at - 8)); }), data = this.bytes();
    return starts.map((start, i) => data.subarray(start, starts[i + 1] ?? data.length));
  }
}
const keyOf = row => JSON.stringify(row, (_, v) => typeof v === 'bigint' ? `${v}n` : v);
const sorted = list => list.map(x => JSON.stringify(x)).sort();

// ---- a database under migration, and what must be in it ----

export class Migrating {
  constructor(host, name) { this.host = host; this.name = name; this.version = 0; this.rows = new Map(); }

  async publish(file, query = '') { return this.host.publish(this.name, file, { query }); }
  async first(text, file) {
    this.take(definition(text));
    const r = await this.publish(file);
    assert.equal(r.status, 200, `first publish: ${r.status} ${r.text}`);
    this.version = 1;
  }
  // From now on the database is as `def` says; rows of tables that stay are widened by the defaults of the columns that came.
  take(def) {
    for (const t of def.tables.values())
      this.rows.set(t.name, t.isEvent ? [] : (this.rows.get(t.name) ?? []).map(row => widened(row, t)));
    for (const name of this.rows.keys()) if (!def.tables.has(name)) this.rows.delete(name);
    this.def = def;
  }
  remember(table, row) { // a table is a set
    const list = this.rows.get(table);
    if (!this.def.tables.get(table).isEvent && !list.some(x => keyOf(x) === keyOf(row))) list.push(row);
    return row;
  }
  // Insert sample row `n`.
  async add(table, n) {
    const r = await this.host.call(this.name, 'add', `["${table}", ${BigInt.asUintN(64, BigInt(n))}]`);
    assert.equal(r.status, 200, `add ${table} ${n}: ${r.status} ${r.text}`);
    return this.remember(table, sampleRow(this.def, this.def.tables.get(table), n));
  }
  // Insert a row by SQL: scalars only.
  async insert(table, row) {
    const t = this.def.tables.get(table), cell = c => typeof row[c.name] === 'string' ? `'${row[c.name].replaceAll("'", "''")}'` : String(row[c.name]);
    await this.host.sql(this.name, `INSERT INTO "${table}" (${t.columns.map(c => `"${c.name}"`).join(', ')}) VALUES (${t.columns.map(cell).join(', ')})`);
    return this.remember(table, Object.fromEntries(t.columns.map(c => [c.name, typeof row[c.name] === 'number' && c.type[0] !== 'f' ? BigInt(row[c.name]) : row[c.name]])));
  }
  // Insert with 0 in the auto-increment column; which number it got. The row is the sample of 0 otherwise.
  async next(table) {
    const t = this.def.tables.get(table), at = t.columns.findIndex(c => c.auto), before = new Set((await this.memory(table)).map(row => String(row[at])));
    const r = await this.host.call(this.name, 'add', `["${table}", 0]`);
    assert.equal(r.status, 200, `add ${table} 0: ${r.status} ${r.text}`);
    const fresh = (await this.memory(table)).map(row => String(row[at])).filter(id => !before.has(id));
    assert.equal(fresh.length, 1, `one new row in ${table}: ${fresh}`);
    this.remember(table, { ...sampleRow(this.def, t, 0), [t.columns[at].name]: BigInt(fresh[0]) });
    return Number(fresh[0]);
  }
  async fill(rows = {}) {
    for (const [table, list] of Object.entries(rows))
      for (const row of list) await (typeof row === 'object' ? this.insert(table, row) : this.add(table, row));
  }
  // Which module runs: its tag.
  async which() { return /this is ([\w-]+)/.exec((await this.host.call(this.name, 'which', [])).text)?.[1]; }

  async plan(file, query = '') {
    const r = await this.host.http('POST', `/v1/database/${this.name}/pre_publish?style=NoColor${query}`, { body: readFileSync(file) });
    assert.equal(r.status, 200, `pre_publish: ${r.status} ${r.text}`);
    const answer = JSON.parse(r.text), auto = answer.AutoMigrate, manual = answer.ManualMigrate;
    const plan = (auto ?? manual).plan;
    assert.ok(plan, `pre_publish has a plan for programs: ${r.text.slice(0, 400)}`);
    return { ...(auto ?? manual), allowed: !!auto, steps: plan.steps.map(s => s.kind).filter(kind => kind !== 'UpdateView'), details: plan.steps, reasons: plan.reasons };
  }

  // ---- what is there ----

  async memory(table) {
    const r = await this.host.http('POST', `/v1/database/${this.name}/sql`, { body: `SELECT * FROM "${table}"` });
    assert.equal(r.status, 200, `rows of ${table} in memory: ${r.status} ${r.text}`);
    return exactJson(r.text)[0].rows;
  }
  async checkMemory() {
    for (const [table, rows] of this.rows) {
      const t = this.def.tables.get(table);
      if (t.isEvent) continue;
      assert.deepEqual(sorted(await this.memory(table)), sorted(rows.map(row => t.columns.map(c => toJson(this.def, c.type, row[c.name])))), `rows of ${table} in memory`);
    }
  }
  async psql(...statements) {
    const r = await run('psql', [this.host.conninfo, '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', ...statements.flatMap(sql => ['-c', sql])], { env: { PGTZ: 'UTC' } });
    assert.equal(r.status, 0, `psql ${statements}: ${r.err}`);
    return r.out.trim();
  }
  // Once the tables show everything.
  settled(...statements) { return this.psql(`do $$ begin perform spacetime.settle('${this.name}'); end $$`, ...statements); }
  // Everything of this database in PostgreSQL, in one query.
  async stored() {
    const tables = [...this.def.tables.values()].filter(t => !t.isEvent), schema = `'${this.name}'`;
    const ident = name => `"${name.replaceAll('"', '""')}"`;
    const rows = tables.map(t => `'${t.name}', (select coalesce(json_agg(t), '[]') from (select ${t.columns.map(c => ident(c.name)).join(', ')} from "${this.name}".${ident(t.name)}) t)`);
    const text = await this.settled(`select json_build_object(
      'version', (select schema_version from spacetime.databases where schema_name = ${schema}),
      'columns', (select coalesce(json_object_agg(table_name, list), '{}') from (select table_name, json_agg(json_build_array(column_name, data_type, is_nullable) order by ordinal_position) list
        from information_schema.columns where table_schema = ${schema} and table_name !~ '^st_' and column_name <> 'st_row' group by 1) c),
      'indexes', (select coalesce(json_object_agg(relname, list), '{}') from (select t.relname, json_agg(case when i.indisunique then 'unique (' else '(' end ||
          (select string_agg(a.attname, ', ' order by k.n) from unnest(i.indkey) with ordinality k(attnum, n) join pg_attribute a on a.attrelid = t.oid and a.attnum = k.attnum) || ')') list
        from pg_index i join pg_class t on t.oid = i.indrelid join pg_namespace s on s.oid = t.relnamespace
        where s.nspname = ${schema} and t.relname !~ '^st_' group by 1) x),
      'access', (select coalesce(json_object_agg(t.name, t.is_public), '{}') from spacetime.tables t join spacetime.databases d on d.id = t.database_id where d.schema_name = ${schema}),
      'rows', json_build_object(${rows.join(', ')}))`);
    return exactJson(text);
  }
  async checkStored() {
    const stored = await this.stored(), tables = [...this.def.tables.values()].filter(t => !t.isEvent);
    assert.equal(stored.version, this.version, 'schema version in the catalog');
    assert.deepEqual(stored.columns, Object.fromEntries(tables.map(t => [t.name, pgColumns(this.def, t)]).sort(([a], [b]) => a < b ? -1 : 1)), 'columns in PostgreSQL');
    assert.deepEqual(stored.access, Object.fromEntries([...this.def.tables.values()].map(t => [t.name, t.isPublic])), 'access in the catalog');
    for (const t of tables) {
      assert.deepEqual((stored.indexes[t.name] ?? []).filter(x => x !== 'unique (st_row)').sort(), pgIndexes(t), `indexes of ${t.name} in PostgreSQL`);
      if (this.rows.has(t.name)) assert.deepEqual(sorted(stored.rows[t.name].map(row => t.columns.map(c => row[c.name]))),
        sorted(this.rows.get(t.name).map(row => t.columns.map(c => toPg(this.def, c.type, row[c.name])))), `rows of ${t.name} in PostgreSQL`);
    }
    return stored;
  }
  async check() { await this.checkMemory(); return this.checkStored(); }

  // ---- clients and the command line ----

  async viewer(def = this.def, options) {
    const v = new Viewer(this.host, this.name, def, options);
    await v.opened();
    for (const t of def.tables.values())
      if (t.isPublic) assert.equal(await v.subscribe(t.name), null, `subscription to ${t.name}`);
    return v;
  }
  async cli(args, options = {}) {
    return run(bin('spacetime'), ['--config-path', this.host.config, ...args], { ...options, env: { HOME: this.host.dir, ...options.env } });
  }
  async cliPublish(file, args = [], options) { return this.cli(['publish', this.name, '-b', file, ...args], options); }
}

// The row arrives at a client, in the columns that the client knows.
export async function arrives(viewer, table, row) {
  const known = Object.fromEntries(viewer.def.tables.get(table.name).columns.map(c => [c.name, row[c.name]]));
  await until(`the new row of ${table.name} at a client`, () => {
    if (viewer.failure) throw viewer.failure;
    return ((table.isEvent ? viewer.events : viewer.rows).get(table.name) ?? []).some(x => keyOf(x) === keyOf(known));
  }, 10);
}
// 3,000 bytes that do not compress.
export function longText() {
  let text = '', x = 12345;
  while (text.length < 3000) { x = (x * 1103515245 + 12345) % 2147483648; text += x.toString(36); }
  return text.slice(0, 3000);
}
