// Random definitions, random rows, random changes, published one after another. What each change may do and what it does to the rows is known here, by a
// model of its own; after each publish memory, PostgreSQL and a client of before are compared with it row by row, after each batch a host that was
// started again, too.
//
// MIGRATION_SEED repeats a run, MIGRATION_ROUNDS (default 160) is how many publishes there are; `make soak` runs 2,000.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { Host, main, sleep, test, until } from './lib.mjs';
import { definition } from './migration/notation.mjs';
import { Migrating, arrives, compileModule, lanes } from './migration/kit.mjs';

const seed = Number(process.env.MIGRATION_SEED ?? Math.floor(Math.random() * 2 ** 31)), rounds = Number(process.env.MIGRATION_ROUNDS ?? 160);
const CHAIN = 20, AT_ONCE = 4; // publishes of one database; databases between two restarts
console.log(`# MIGRATION_SEED=${seed} MIGRATION_ROUNDS=${rounds}`);

class Random {
  constructor(seed) { this.state = (seed >>> 0) || 1; for (let i = 0; i < 8; i++) this.next(); }
  next() { let x = this.state; x ^= x << 13; x >>>= 0; x ^= x >>> 17; x ^= x << 5; x >>>= 0; return (this.state = x); }
  below(n) { return this.next() % n; }
  chance(percent) { return this.below(100) < percent; }
  of(list) { return list[this.below(list.length)]; }
}

// ---- the model: what a definition is made of, and its text ----

const KEYS = ['u16', 'u32', 'u64', 'u128', 'u256', 'i32', 'i64', 'i128', 'i256', 'str', 'ts']; // of sample rows that differ
const PLAIN = [...KEYS, 'u8', 'i8', 'i16', 'f32', 'f64', 'bool', 'bytes', 'id', 'conn', 'uuid', 'dur', '?u32', '?str', '[u16]', '[str]', '??u8', '?[i64]', 'E', 'E', '?E', '[E]', 'S', 'P', '?P', '[S]'];
const DEFAULTS = { u8: ['255', '7'], u16: ['65535'], u32: ['4294967295', '5'], u64: ['18446744073709551615'], u128: ['340282366920938463463374607431768211455'], u256: ['12345678901234567890123456789012345678901234567890'],
  i8: ['-128'], i16: ['-32768'], i32: ['-2147483648'], i64: ['-9223372036854775808', '9'], i128: ['-170141183460469231731687303715884105728'], i256: ['-1'], f32: ['0.5', '-2.25'], f64: ['-1.7976931348623157e308', '0.1'],
  bool: ['true', 'false'], str: ['"x"', '""', '"it\'s \\\\ ünï"'], '?u32': ['none', 'some(7)'], '?str': ['none', 'some("y")'], E: ['A', 'B'], '?E': ['none'] };
const VARIANTS = 'ABCDEFGHIJKLMNOPQRSTUVW';
const COUNTING = ['u16', 'u32', 'u64', 'i32', 'i64'];

const newName = (m, prefix) => `${prefix}${m.names++}`;
const clone = m => structuredClone(m);
const mayIndex = c => KEYS.includes(c.type) || ['u8', 'bool', 'id', 'conn', 'uuid', 'E'].includes(c.type);
function columnText(c) {
  const key = c.key === 'pk' ? '*' : c.key === 'unique' ? '!' : '';
  return `${c.name} ${c.type}${key}${c.auto ? '~' : ''}${c.fallback !== undefined ? `=${c.fallback}` : ''}`;
}
function tableText(t) {
  const indexes = t.columns.filter(c => c.index && !c.key && !c.auto).map(c => ` ${c.index}:${c.name}`).join('');
  return `${t.name}(${t.columns.map(columnText).join(', ')})${indexes}${t.wide ? ` i:(${t.wide.join(',')})` : ''}${t.isPublic ? '' : ' priv'}${t.isEvent ? ' ev' : ''}`;
}
const text = m => [`enum E {${[...VARIANTS.slice(0, m.variants)].join(', ')}}`, `sum S {X u8, Y str${m.sum > 2 ? ', Z i32' : ''}}`, 'struct P {p u32, q str}', 'ST_OPTION(opt_uint8_t);', 'ST_OPTION(arr_int64_t);',
  ...m.tables.map(tableText), ...m.functions.map(f => `ST_REDUCER(${f}) { return ST_OK; }`), ...m.migration].join('\n');

function randomColumn(m, r, { fallback } = {}) {
  const type = fallback ? r.of(Object.keys(DEFAULTS)) : r.of(PLAIN), c = { name: newName(m, 'c'), type };
  if (fallback) c.fallback = r.of(DEFAULTS[type]);
  else if (mayIndex(c) && r.chance(20)) c.index = r.of(['i', 'h']);
  return c;
}
function randomTable(m, r) {
  const columns = Array.from({ length: 1 + r.below(5) }, () => randomColumn(m, r)), isEvent = r.chance(12);
  if (!isEvent && r.chance(75)) columns.unshift({ name: newName(m, 'k'), type: r.of(KEYS), key: 'pk' });
  if (!isEvent && r.chance(30)) columns.push({ name: newName(m, 'u'), type: r.of(KEYS), key: 'unique' });
  return { name: newName(m, 'T'), columns, isPublic: r.chance(75), isEvent };
}
function randomModel(r) {
  const m = { names: 1, variants: 2, sum: 2, tables: [], functions: [], migration: [], migrations: 0 };
  for (let n = 1 + r.below(3); n; n--) m.tables.push(randomTable(m, r));
  return m;
}

// ---- changes: each says of itself whether it is allowed, and what it does to the rows of the kit (rows: table -> list of rows) ----

const stored = m => m.tables.filter(t => !t.isEvent && !t.migrated); // nothing else happens to a table that a migration changes
const columnsWhere = (m, f) => stored(m).flatMap(t => t.columns.filter(c => f(c, t)).map(c => [t, c]));
const inWide = (t, c) => t.wide?.includes(c.name);
const migration = (m, title, ...ops) => m.migration.push(`ST_MIGRATION(${++m.migrations}, "${title}", ${ops.join(', ')});`);
const free = (m, t) => !m.migration.length && !t.touched; // one migration at a time, over tables that nothing else changes

const CHANGES = {
  addColumn: { allowed: true, apply(m, r) { const t = r.of(stored(m)); if (!t || t.columns.length > 24) return false; t.columns.push(randomColumn(m, r, { fallback: true })); t.touched = true; } },
  addTable: { allowed: true, apply(m, r) { if (m.tables.length > 6) return false; m.tables.push({ ...randomTable(m, r), touched: true }); } },
  addIndex: { allowed: true, apply(m, r) { const x = r.of(columnsWhere(m, c => mayIndex(c) && !c.key && !c.index && !c.auto && c.fallback === undefined)); if (!x) return false; x[1].index = r.of(['i', 'h']); } },
  removeIndex: { allowed: true, apply(m, r) { const x = r.of(columnsWhere(m, c => c.index)); if (!x) return false; delete x[1].index; } },
  addWideIndex: { allowed: true, apply(m, r) { const t = r.of(stored(m).filter(t => !t.wide && t.columns.filter(mayIndex).length > 1)); if (!t) return false; t.wide = t.columns.filter(mayIndex).slice(0, 2).map(c => c.name); } },
  removeWideIndex: { allowed: true, apply(m, r) { const t = r.of(stored(m).filter(t => t.wide)); if (!t) return false; delete t.wide; } },
  removeUnique: { allowed: true, apply(m, r) { const x = r.of(columnsWhere(m, c => c.key === 'unique' && !c.auto)); if (!x) return false; delete x[1].key; } },
  removeKey: { allowed: true, apply(m, r) { const x = r.of(columnsWhere(m, c => c.key === 'pk' && !c.auto)); if (!x) return false; if (r.chance(50)) x[1].key = 'unique'; else delete x[1].key; x[0].touched = true; } },
  access: { allowed: true, apply(m, r) { const t = r.of(m.tables); t.isPublic = !t.isPublic; } },
  growEnum: { allowed: true, apply(m) { if (m.variants >= 20) return false; m.variants++; m.grown = true; } },
  growSum: { allowed: true, apply(m) { if (m.sum > 2) return false; m.sum++; m.grown = true; } },
  addAuto: { allowed: true, apply(m, r) { const x = r.of(columnsWhere(m, c => COUNTING.includes(c.type) && !c.auto && !c.index && c.fallback === undefined)); if (!x) return false; x[1].auto = true; } },
  removeAuto: { allowed: true, apply(m, r) { const x = r.of(columnsWhere(m, c => c.auto)); if (!x) return false; delete x[1].auto; } },
  addFunction: { allowed: true, apply(m) { m.functions.push(newName(m, 'f')); } },
  removeFunction: { allowed: true, apply(m, r) { if (!m.functions.length) return false; m.functions.splice(r.below(m.functions.length), 1); } },
  reorderTables: { allowed: true, apply(m, r) { m.tables.push(m.tables.splice(r.below(m.tables.length), 1)[0]); } },
  reshapeEvents: { allowed: true, apply(m, r) { const t = r.of(m.tables.filter(t => t.isEvent)); if (!t) return false; t.columns = Array.from({ length: 1 + r.below(3) }, () => randomColumn(m, r)); t.touched = true; } },

  addBareColumn: { allowed: false, apply(m, r) { const t = r.of(stored(m)); if (!t) return false; t.columns.push(randomColumn(m, r)); } },
  columnInFront: { allowed: false, apply(m, r) { const t = r.of(stored(m)); if (!t) return false; t.columns.unshift(randomColumn(m, r, { fallback: true })); } },
  removeColumn: { allowed: false, apply(m, r) { const x = r.of(columnsWhere(m, (c, t) => t.columns.length > 1 && !inWide(t, c))); if (!x) return false; x[0].columns.splice(x[0].columns.indexOf(x[1]), 1); } },
  changeType: { allowed: false, apply(m, r) { const x = r.of(columnsWhere(m, c => !c.auto && c.fallback === undefined && KEYS.includes(c.type))); if (!x) return false; x[1].type = KEYS[(KEYS.indexOf(x[1].type) + 1) % KEYS.length]; } },
  renameColumn: { allowed: false, apply(m, r) { const x = r.of(columnsWhere(m, (c, t) => !inWide(t, c))); if (!x) return false; x[1].name = newName(m, 'r'); } },
  addUnique: { allowed: false, apply(m, r) { const x = r.of(columnsWhere(m, c => KEYS.includes(c.type) && !c.key && c.fallback === undefined && !c.auto)); if (!x) return false; delete x[1].index; x[1].key = 'unique'; } },
  removeTable: { allowed: false, apply(m, r) { if (m.tables.length < 2) return false; m.tables.splice(r.below(m.tables.length), 1); } },
  eventFlag: { allowed: false, apply(m, r) { const t = r.of(m.tables.filter(t => t.columns.every(c => !c.auto && c.fallback === undefined))); if (!t) return false; t.isEvent = !t.isEvent; } },
  fewerVariants: { allowed: false, apply(m) { if (m.variants < 3 || !stored(m).some(t => t.columns.some(c => c.type.includes('E') && c.fallback !== 'none'))) return false; m.variants--; } },

  migrateRenameTable: { allowed: true, apply(m, r) {
    const t = r.of(stored(m).filter(t => free(m, t)));
    if (!t) return false;
    const old = t.name;
    t.name = newName(m, 'N');
    t.touched = t.migrated = true;
    migration(m, 'another name', `ST_RENAME_TABLE(${old}, ${t.name})`);
    return rows => { rows.set(t.name, rows.get(old)); rows.delete(old); };
  } },
  migrateRenameColumn: { allowed: true, apply(m, r) {
    const x = r.of(columnsWhere(m, (c, t) => free(m, t)));
    if (!x) return false;
    const [t, c] = x, old = c.name;
    c.name = newName(m, 'r');
    if (t.wide) t.wide = t.wide.map(n => n === old ? c.name : n);
    t.touched = t.migrated = true;
    migration(m, 'a column by another name', `ST_RENAME_COLUMN(${t.name}, ${old}, ${c.name})`);
    return rows => { for (const row of rows.get(t.name)) { row[c.name] = row[old]; delete row[old]; } };
  } },
  migrateDropColumn: { allowed: true, apply(m, r) { // of tables with a key: rows of others could become equal
    const x = r.of(columnsWhere(m, (c, t) => free(m, t) && c.key !== 'pk' && !inWide(t, c) && t.columns.some(k => k.key === 'pk')));
    if (!x) return false;
    const [t, c] = x;
    t.columns.splice(t.columns.indexOf(c), 1);
    t.touched = t.migrated = true;
    migration(m, 'a column less', `ST_DROP_COLUMN(${t.name}, ${c.name})`);
  } },
  migrateDropTable: { allowed: true, apply(m, r) {
    const t = r.of(m.tables.filter(t => free(m, t) && m.tables.length > 1));
    if (!t) return false;
    m.tables.splice(m.tables.indexOf(t), 1);
    migration(m, 'a table less', `ST_DROP_TABLE(${t.name})`);
  } },
  migrateConvert: { allowed: true, apply(m, r) {
    const x = r.of(columnsWhere(m, (c, t) => free(m, t) && c.type === 'u32' && !c.auto));
    if (!x) return false;
    const [t, c] = x, f = newName(m, 'convert');
    c.type = 'u64';
    if (c.fallback !== undefined) delete c.fallback;
    t.touched = t.migrated = true;
    m.migration.push(`static st_status ${f}(st_reducer_ctx *ctx, const uint32_t *from, uint64_t *to) { (void)ctx; *to = (uint64_t)*from + 1000000000; return ST_OK; }`);
    migration(m, 'a wider column', `ST_CONVERT_COLUMN(${t.name}, ${c.name}, uint32_t, ${f})`);
    return rows => { for (const row of rows.get(t.name)) row[c.name] += 1000000000n; };
  } },
  migrateAddUnique: { allowed: true, apply(m, r) { // sample rows differ in these columns, unless a default has filled them
    const x = r.of(columnsWhere(m, (c, t) => free(m, t) && KEYS.includes(c.type) && !c.key && c.fallback === undefined && !c.auto && !c.filled));
    if (!x) return false;
    x[1].key = 'unique';
    delete x[1].index;
    x[0].touched = x[0].migrated = true;
    migration(m, 'no two alike', `ST_ADD_UNIQUE(${x[0].name}, ${x[1].name})`);
  } },
};
const names = Object.keys(CHANGES), good = names.filter(n => CHANGES[n].allowed), bad = names.filter(n => !CHANGES[n].allowed);

// The next definition: some allowed changes, or some and one that is not.
function change(m, r) {
  const next = clone(m), done = [], rowChanges = [];
  delete next.grown;
  next.migration = [];
  for (const t of next.tables) { delete t.touched; delete t.migrated; }
  const pick = list => {
    for (let tries = 0; tries < 20; tries++) {
      const name = r.of(list), kept = clone(next), result = CHANGES[name].apply(next, r);
      if (result === false) { Object.assign(next, kept); continue; }
      done.push(name);
      if (result) rowChanges.push(result);
      return true;
    }
    return false;
  };
  // What is not allowed comes first, and nothing behind it that could take it back.
  const refused = r.chance(30) && pick(bad);
  for (let n = refused ? r.below(2) : 1 + r.below(3); n; n--) pick(refused ? ['addTable', 'addFunction'] : good);
  return { next, done, refused, rowChanges };
}

// ---- one database, CHAIN publishes ----

class Chain {
  constructor(host, n) { this.host = host; this.n = n; this.r = new Random(seed + n * 7919); this.k = new Migrating(host, `random-${n}`); this.sample = 1; this.round = 0; }
  async begin() {
    this.m = randomModel(this.r);
    this.text = text(this.m);
    await this.k.first(this.text, await compileModule(this.text, 'v0'));
    await this.rows();
    await this.look();
  }
  async rows() {
    for (let n = this.r.below(5); n; n--) {
      const t = this.r.of(this.m.tables);
      if (t.columns.length) await this.k.add(t.name, this.sample++);
    }
  }
  async look() {
    this.viewer?.close();
    this.viewer = await this.k.viewer();
    this.known = new Set(this.m.tables.filter(t => t.isPublic).map(t => t.name)); // as the viewer knows them, public ever since
  }
  async step() {
    this.round++;
    const { next, done, refused, rowChanges } = change(this.m, this.r);
    const to = text(next);
    this.what = `database random-${this.n} (MIGRATION_SEED=${seed}), publish ${this.round}: ${done.join(', ')}\n---- from\n${this.text}\n---- to\n${to}\n----`;
    const file = await compileModule(to, `v${this.round}`), k = this.k;
    const plan = await k.plan(file);
    assert.equal(plan.allowed, !refused, refused ? 'it should have been refused' : `refused: ${plan.reason}`);
    const r = await k.publish(file, plan.break_clients ? `?policy=BreakClients&token=${plan.token}` : '');
    if (refused) {
      assert.equal(r.status, 400, r.text);
      await k.check();
      assert.ok(!this.viewer.gone);
      return;
    }
    assert.equal(r.status, 200, r.text);
    k.version++; // `which` answers otherwise each time
    for (const rowChange of rowChanges) rowChange(k.rows);
    k.take(definition(to));
    for (const t of next.tables) for (const c of t.columns) if (c.fallback !== undefined && !c.filled) c.filled = true;
    const grown = next.grown;
    this.m = next;
    this.text = to;
    await k.check();
    if (plan.break_clients) await until('the client to be closed', () => this.viewer.gone);
    else assert.ok(!this.viewer.gone, 'a compatible publish keeps the client');
    if (plan.break_clients || grown) {
      await this.look();
    } else {
      for (const name of [...this.known]) { // renamed, dropped or private: its subscription has ended
        const t = next.tables.find(t => t.name === name);
        if (!t?.isPublic || t.touched && (t.isEvent || next.migration.length)) this.known.delete(name);
      }
      const t = next.tables.find(t => this.known.has(t.name));
      if (t) await arrives(this.viewer, k.def.tables.get(t.name), await k.add(t.name, this.sample++));
    }
    await this.rows();
    if (this.r.chance(4)) { // the worker is killed: the next one loads what is stored
      const mine = spawnSync('pgrep', ['-P', String(this.host.process.pid), '-f', `spacetimedb-worker random-${this.n}$`], { encoding: 'utf8' }).stdout;
      for (const pid of mine.split('\n').filter(Boolean)) try { process.kill(Number(pid), 'SIGKILL'); this.kills = (this.kills ?? 0) + 1; } catch { /* it has gone */ }
      await sleep(50);
    }
    await k.check();
  }
  async run() {
    try {
      await this.begin();
      while (this.round < CHAIN && this.round < rounds) await this.step();
    } catch (error) {
      throw new Error(`${this.what ?? `database random-${this.n} (MIGRATION_SEED=${seed}), its first publish\n${this.text}`}\n${error.stack}`);
    }
    this.viewer.close();
  }
}

const host = await new Host().start();
let next = 0;
for (let left = Math.ceil(rounds / CHAIN); left > 0; left -= AT_ONCE) {
  const count = Math.min(left, AT_ONCE), first = next;
  next += count;
  test(`databases ${first} to ${first + count - 1}: ${count * CHAIN} publishes, and a host started again`, async () => {
    const chains = Array.from({ length: count }, (_, i) => new Chain(host, first + i)), lane = lanes(AT_ONCE);
    const results = await Promise.allSettled(chains.map(c => lane(() => c.run())));
    const failed = results.filter(x => x.status === 'rejected').map(x => x.reason);
    if (failed.length) throw failed[0];
    await host.stop();
    await host.start();
    for (const c of chains) await c.k.check();
    for (const c of chains) await host.http('DELETE', `/v1/database/${c.k.name}`);
  });
}
await main(() => host.stop());
