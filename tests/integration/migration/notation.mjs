// Module definitions in the notation of the migration sheet, as C modules, as rows, and as what PostgreSQL should show.
//
// A definition is text, one declaration a line:
//   T(a u32*, b str!, c ?u32=none) i:b u:(a,b) priv     a table: columns, then indexes and flags
//       types    u8..u256 i8..i256 f32 f64 bool str bytes id conn uuid ts dur sched unit, ?T an option, [T] an array, or a declared name
//       marks    * primary key, ! unique, ~ auto-increment; *h !h *d !d: a hash or direct index behind the key
//       =v       default; number, "text", true, false, none, some(5), the name of an enum's variant
//       i:b      btree index over one column, i:(a,b) over several, h:b and h:(a,b) hash, u:(a,b) unique constraint over several;
//                NAME=i:(a,b) gives the accessor
//       seq:a(start,min,max,increment)    sch:f(at) scheduled      as NAME canonical name      ev event table, priv private
//       a>NAME   column `a` of the C struct is called NAME
//   enum E {A, B}        sum S {A u8, B}        struct P {x u32, y str}
//   policy SNAKE
// Every other line is C. Two reducers are in every module, with the same parameters whatever the tables are, so that they never show in a
// plan: `add(table, n)` inserts the sample row number n, and `which()` fails with the text that tells which module runs.

const INTEGERS = { u8: [1, false, 'smallint'], u16: [2, false, 'integer'], u32: [4, false, 'bigint'], u64: [8, false, 'numeric'], u128: [16, false, 'numeric'], u256: [32, false, 'numeric'],
  i8: [1, true, 'smallint'], i16: [2, true, 'smallint'], i32: [4, true, 'integer'], i64: [8, true, 'bigint'], i128: [16, true, 'numeric'], i256: [32, true, 'numeric'] };
const LATER = BigInt(Date.now() + 180 * 86400e3) * 1000n; // of scheduled rows: within the two years that are allowed, and never due here
const C_NAMES = { u128: 'st_u128', i128: 'st_i128', u256: 'st_u256', i256: 'st_i256', f32: 'float', f64: 'double', bool: 'bool', str: 'st_str', bytes: 'st_bytes', id: 'st_identity',
  conn: 'st_connection_id', uuid: 'st_uuid', ts: 'st_timestamp', dur: 'st_duration', sched: 'st_schedule_at', unit: 'st_unit' };
const PG_NAMES = { f32: 'real', f64: 'double precision', bool: 'boolean', str: 'text', bytes: 'bytea', id: 'bytea', conn: 'bytea', uuid: 'uuid', ts: 'timestamp with time zone', dur: 'bigint',
  sched: 'jsonb', unit: 'jsonb' };

// Split at commas that stand in no bracket and no quotes.
function split(text) {
  const parts = [];
  let depth = 0, quoted = false, part = '';
  for (const c of text) {
    if (c === '"') quoted = !quoted;
    else if (!quoted && '([{'.includes(c)) depth++;
    else if (!quoted && ')]}'.includes(c)) depth--;
    if (c === ',' && !depth && !quoted) { parts.push(part.trim()); part = ''; } else part += c;
  }
  if (part.trim()) parts.push(part.trim());
  return parts;
}

// ---- reading ----

class Definition {
  constructor(text) {
    this.text = text;
    this.types = new Map(); // name -> {kind: 'enum' | 'sum' | 'struct', parts: [[name, type]]}
    this.tables = new Map(); // canonical name -> table
    this.order = []; // declarations and lines of C, in order
    this.policy = null;
    for (const line of text.split('\n').map(l => l.trim()).filter(Boolean)) this.#line(line);
  }
  #line(line) {
    let m;
    if ((m = /^(enum|sum|struct) (\w+) *\{(.*)\}$/.exec(line))) {
      const parts = split(m[3]).map(p => { const [name, type] = p.split(/ +/); return [name, type ?? 'unit']; });
      this.types.set(m[2], { kind: m[1], name: m[2], parts });
      this.order.push({ type: this.types.get(m[2]) });
    } else if ((m = /^policy (\w+)$/.exec(line))) {
      this.policy = m[1];
    } else if (!/^(ST_|static |#)/.test(line) && (m = /^([\p{L}_][\p{L}\p{N}_]*)\((.*?)\)((?: [^()]+(?:\([^()]*\))?)*)$/u.exec(line)) && !/[;{]\s*$/.test(line)) {
      this.#table(m[1], ...splitTable(line.slice(m[1].length)));
    } else {
      this.order.push({ c: line });
    }
  }
  #table(c, columns, rest) {
    const t = { c, name: c, columns: [], indexes: [], uniques: [], isPublic: true, isEvent: false, schedule: null };
    for (const text of split(columns)) {
      const m = /^([^\s>/]+)(?:([>/])(\S+))? (\S*?[\w\]])([*!~][*!~hd]*)?(?:=(.*))?$/u.exec(text);
      if (!m) throw new Error(`cannot read column: ${text}`);
      const [, member, how, name, type, marks = '', fallback] = m;
      const column = { member, name: name ?? member, named: how === '>' ? name : null, type, pk: marks.includes('*'), unique: /[*!]/.test(marks), auto: marks.includes('~'), behind: /[hd]/.exec(marks)?.[0], index: null, sequence: null };
      if (fallback !== undefined) { column.fallbackText = fallback; column.fallback = this.#value(type, fallback); }
      t.columns.push(column);
    }
    for (const word of rest.match(/(?:(?:as|by) \S+|[^\s(]+(?:\([^)]*\))?)/gu) ?? []) {
      let m;
      if (word === 'priv') t.isPublic = false;
      else if (word === 'pub') t.isPublic = true;
      else if (word === 'ev') t.isEvent = true;
      else if ((m = /^(as|by) (\S+)$/u.exec(word))) { t.name = m[2]; t.named = m[1] === 'as'; }
      else if ((m = /^sch:(\w+)\((\w+)\)$/.exec(word))) t.schedule = { f: m[1], at: m[2] };
      else if ((m = /^seq:(\w+)\((.*)\)$/.exec(word))) t.columns.find(c => c.member === m[1]).sequence = m[2];
      else if ((m = /^([ih]):([\p{L}\p{N}_]+)$/u.exec(word))) t.columns.find(c => c.member === m[2]).index = m[1];
      else if ((m = /^(?:(\w+)=)?([ihu]):\((.*)\)$/.exec(word))) {
        const cols = split(m[3]);
        (m[2] === 'u' ? t.uniques : t.indexes).push({ kind: m[2], cols, accessor: m[1] ?? `by_${cols.join('_')}` });
      } else throw new Error(`cannot read ${word} of table ${c}`);
    }
    this.tables.set(t.name, t);
    this.order.push({ table: t });
  }
  #value(type, text) {
    if (text === 'none') return null;
    const some = /^some\((.*)\)$/.exec(text);
    if (some) return this.#value(type.slice(1), some[1]);
    if (text === 'true' || text === 'false') return text === 'true';
    if (text.startsWith('"')) return JSON.parse(text);
    if (type in INTEGERS) return BigInt(text);
    return type === 'f32' || type === 'f64' ? Number(text) : text;
  }
}
// "(a u32, b u16=0) i:b" -> the columns, and the rest
function splitTable(text) {
  let depth = 0, quoted = false;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '"') quoted = !quoted;
    else if (!quoted && text[i] === '(') depth++;
    else if (!quoted && text[i] === ')' && --depth === 0) return [text.slice(1, i), text.slice(i + 1)];
  }
  throw new Error(`unbalanced: ${text}`);
}
const known = new Map();
export function definition(text) {
  if (!known.has(text)) known.set(text, new Definition(text));
  return known.get(text);
}

// ---- C ----

function cType(type) {
  if (type[0] === '?') return `opt_${cType(type.slice(1))}`;
  if (type[0] === '[') return `arr_${cType(type.slice(1, -1))}`;
  if (type in INTEGERS && INTEGERS[type][0] <= 8) return `${type[0] === 'u' ? 'u' : ''}int${type.slice(1)}_t`;
  return C_NAMES[type] ?? type;
}
function cDefault(def, type, value) {
  if (type[0] === '?') return value === null ? 'ST_NONE' : `ST_SOME(${cDefault(def, type.slice(1), value)})`;
  if (type === 'str') return `ST_S(${JSON.stringify(value)})`;
  if (type === 'u256' || type === 'i256') return `{ { ${[0n, 64n, 128n, 192n].map(s => `${BigInt.asUintN(64, value >> s)}u`).join(', ')} } }`;
  if (type === 'u128' || type === 'i128') return `(${cType(type)})((st_u128)${BigInt.asUintN(64, value >> 64n)}u << 64 | ${BigInt.asUintN(64, value)}u)`;
  if (type === 'i64' && value === -(2n ** 63n)) return 'INT64_MIN';
  if (type === 'u64') return `${value}u`;
  if (def.types.get(type)?.kind === 'enum') return `${type}_${value}`;
  return String(value);
}
// A C expression for sample number `n` of the type.
function cSample(def, type) {
  if (type[0] === '?') return `some_${cType(type.slice(1))}(${cSample(def, type.slice(1))})`;
  if (type[0] === '[') return `(${cType(type)}){ (${cType(type.slice(1, -1))}[]){ ${cSample(def, type.slice(1, -1))} }, 1 }`;
  if (type === 'u256' || type === 'i256') return `(${cType(type)}){ { n } }`;
  if (type in INTEGERS) return `(${cType(type)})n`;
  if (type === 'f32' || type === 'f64') return `(${cType(type)})n + 0.5f`;
  const declared = def.types.get(type);
  if (declared) return declared.kind === 'enum' ? `(${type})(n % ${declared.parts.length})` : `sample_${type}(ctx, n)`;
  return { bool: '(n & 1) != 0', str: 'st_format(ctx, "s%llu", (unsigned long long)n)', bytes: '(st_bytes){ (const uint8_t *)"xyz", 3 }', id: '(st_identity){ { (uint8_t)n } }',
    conn: '(st_connection_id){ { (uint8_t)n } }', uuid: '(st_uuid){ { [15] = (uint8_t)n } }', ts: '(st_timestamp){ (int64_t)n * 1000000 }', dur: '(st_duration){ (int64_t)n }',
    sched: `st_at((st_timestamp){ ${LATER} + (int64_t)n })`, unit: '(st_unit){ 0 }' }[type];
}
function usedTypes(def) {
  const found = new Set();
  const visit = type => {
    const inner = type[0] === '?' ? type.slice(1) : type[0] === '[' ? type.slice(1, -1) : null;
    if (inner === null) return;
    visit(inner);
    if (def.types.has(inner) || /^[?[]/.test(inner)) found.add(type);
  };
  for (const t of def.tables.values()) for (const c of t.columns) visit(c.type);
  return found;
}
function cDeclaredType(def, { kind, name, parts }) {
  const list = parts.map(([n, type]) => kind === 'enum' ? n : `(${cType(type)}, ${n})`).join(', ');
  const lines = [`ST_${kind.toUpperCase()}(${name}, ${list});`];
  if (kind === 'sum')
    lines.push(`static __attribute__((unused)) ${name} sample_${name}(st_reducer_ctx *ctx, uint64_t n) { ${name} v = { 0 }; (void)ctx; switch (n % ${parts.length}) {`,
      ...parts.map(([part, type], i) => `  case ${i}: v.tag = ${name}_${part}; v.u.${part} = ${cSample(def, type)}; break;`), '} return v; }');
  else if (kind === 'struct')
    lines.push(`static __attribute__((unused)) ${name} sample_${name}(st_reducer_ctx *ctx, uint64_t n) { (void)ctx; return (${name}){ ${parts.map(([part, type]) => `.${part} = ${cSample(def, type)}`).join(', ')} }; }`);
  for (const type of usedTypes(def))
    if (type.replace(/[?[\]]/g, '') === name) lines.push(`ST_${type[0] === '?' ? 'OPTION' : 'ARRAY'}(${cType(type[0] === '?' ? type.slice(1) : type.slice(1, -1))});`);
  return lines.join('\n');
}
function attribute(c) {
  const key = c.pk ? 'PK' : c.unique ? 'UNIQUE' : '';
  if (key) return c.auto ? `${key}_AUTO` : c.behind ? `${key}_${{ h: 'HASH', d: 'DIRECT' }[c.behind]}` : key;
  return c.auto ? 'AUTO' : c.index === 'i' ? 'INDEX' : c.index === 'h' ? 'HASH' : null;
}
function cTable(t) {
  const columns = t.columns.map(c => { const a = attribute(c); return `    (${cType(c.type)}, ${c.member}${a ? `, ${a}` : ''})`; });
  const lines = [`ST_${t.isEvent ? 'EVENT_' : ''}TABLE(${t.c}, ${t.isPublic ? 'PUBLIC' : 'PRIVATE'},\n${columns.join(',\n')});`];
  if (t.named) lines.push(`ST_TABLE_NAME(${t.c}, "${t.name}");`);
  for (const c of t.columns) {
    if (c.named) lines.push(`ST_COLUMN_NAME(${t.c}, ${c.member}, "${c.named}");`);
    if (c.sequence) lines.push(`ST_SEQUENCE(${t.c}, ${c.member}, ${c.sequence});`);
  }
  for (const x of t.indexes) lines.push(`ST_${x.kind === 'h' ? 'HASH_' : ''}INDEX(${t.c}, ${x.accessor}, ${x.cols.join(', ')});`);
  for (const x of t.uniques) lines.push(`ST_UNIQUE(${t.c}, ${x.accessor}, ${x.cols.join(', ')});`);
  return lines.join('\n');
}
export function source(text, tag) {
  const def = definition(text), lines = ['#include "spacetimedb.h"', 'ST_MODULE(migrating, "1");'];
  if (def.policy) lines.push(`ST_CASE(${def.policy});`);
  for (const item of def.order) {
    if (item.c) lines.push(item.c);
    if (item.type) lines.push(cDeclaredType(def, item.type));
    if (item.table) {
      const t = item.table;
      lines.push(cTable(t));
      for (const c of t.columns)
        if (c.fallbackText !== undefined) lines.push(`ST_DEFAULT(${t.c}, ${c.member}, ${cDefault(def, c.type, c.fallback)});`);
    }
  }
  // A schedule names its function, which stands in a line of C behind the table.
  for (const t of def.tables.values()) if (t.schedule) lines.push(`ST_SCHEDULE(${t.c}, ${t.schedule.at}, ${t.schedule.f});`);
  lines.push('ST_REDUCER(add, (st_str, name), (uint64_t, n)) {', '    (void)n;');
  for (const t of def.tables.values())
    lines.push(`    if (st_str_eq(name, ST_S("${t.name}"))) {`, `        ${t.c} row = { ${t.columns.map(c => `.${c.member} = ${cSample(def, c.type)}`).join(', ')} };`, `        return ${t.c}_insert(ctx->db, &row);`, '    }');
  lines.push('    return st_fail(ctx, "no table %.*s", ST_FMT(name));', '}', `ST_REDUCER(which) { return st_fail(ctx, "this is ${tag}"); }`, '');
  return lines.join('\n');
}

// ---- values: numbers as BigInt, options as null or the value, enums as the variant's name, sums as {variant: value} ----

export function sample(def, type, n) {
  const big = BigInt(n);
  if (type[0] === '?') return sample(def, type.slice(1), n);
  if (type[0] === '[') return [sample(def, type.slice(1, -1), n)];
  if (type in INTEGERS) return INTEGERS[type][1] ? BigInt.asIntN(64, big) : BigInt.asUintN(Math.min(64, INTEGERS[type][0] * 8), big);
  const at = list => list[Number(BigInt.asUintN(64, big) % BigInt(list.length))];
  const declared = def.types.get(type);
  if (declared?.kind === 'enum') return at(declared.parts)[0];
  if (declared?.kind === 'sum') { const [name, inner] = at(declared.parts); return { [name]: sample(def, inner, n) }; }
  if (declared) return Object.fromEntries(declared.parts.map(([name, inner]) => [name, sample(def, inner, n)]));
  const hex = bytes => Number(big & 255n).toString(16).padStart(2, '0').padStart(bytes * 2, '0');
  return { f32: Number(big) + 0.5, f64: Number(big) + 0.5, bool: (big & 1n) === 1n, str: `s${big}`, bytes: '78797a', id: hex(32), conn: hex(16), uuid: hex(16), ts: big * 1000000n, dur: big,
    sched: { Time: LATER + big }, unit: 0 }[type];
}
export const sampleRow = (def, t, n) => Object.fromEntries(t.columns.map(c => [c.name, sample(def, c.type, n)]));
// An old row in the columns of a newer table.
export const widened = (row, t) => Object.fromEntries(t.columns.map(c => [c.name, c.name in row ? row[c.name] : c.fallback]));

// As the answer of SQL over HTTP has it: values by position.
export function toJson(def, type, v) {
  if (type[0] === '?') return v === null ? [1, []] : [0, toJson(def, type.slice(1), v)];
  if (type[0] === '[') return v.map(x => toJson(def, type.slice(1, -1), x));
  if (type === 'u256' || type === 'i256') return v < 0n ? `-0x${(-v).toString(16)}` : `0x${v.toString(16)}`;
  if (type in INTEGERS) return exact(v);
  const declared = def.types.get(type);
  if (declared?.kind === 'struct') return declared.parts.map(([name, inner]) => toJson(def, inner, v[name]));
  if (declared) {
    const name = declared.kind === 'enum' ? v : Object.keys(v)[0], i = declared.parts.findIndex(p => p[0] === name);
    return [i, declared.kind === 'enum' ? [] : toJson(def, declared.parts[i][1], v[name])];
  }
  if (type === 'id') return [`0x${v.replace(/^0+(?=.)/, '')}`];
  if (type === 'conn' || type === 'uuid') return [exact(BigInt(`0x${v}`))];
  if (type === 'ts' || type === 'dur') return [exact(v)];
  if (type === 'sched') return [1, [exact(v.Time)]];
  return type === 'unit' ? [] : v;
}
// As row_to_json has it.
export function toPg(def, type, v) {
  if (type.startsWith('??')) return toNested(def, type, v);
  if (type[0] === '?') return v === null ? null : toPg(def, type.slice(1), v);
  if (type[0] === '[') return isScalar(def, type.slice(1, -1)) ? v.map(x => toPg(def, type.slice(1, -1), x)) : v.map(x => toNested(def, type.slice(1, -1), x));
  if (type in INTEGERS) return exact(v);
  if (def.types.get(type)?.kind === 'enum') return v;
  if (def.types.has(type)) return toNested(def, type, v);
  if (type === 'bytes' || type === 'id' || type === 'conn') return `\\x${v}`;
  if (type === 'uuid') return v.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  if (type === 'ts') return new Date(Number(v / 1000n)).toISOString().replace('.000Z', '+00:00');
  if (type === 'dur') return exact(v);
  return type === 'sched' ? toNested(def, type, v) : v;
}
function toNested(def, type, v) { // inside jsonb
  const declared = def.types.get(type);
  if (type[0] === '?') return v === null ? { none: [] } : { some: toNested(def, type.slice(1), v) };
  if (type[0] === '[') return v.map(x => toNested(def, type.slice(1, -1), x));
  if (declared?.kind === 'struct') return Object.fromEntries(declared.parts.map(([name, inner]) => [name, toNested(def, inner, v[name])]));
  if (declared?.kind === 'enum') return { [v]: [] };
  if (declared) { const [name, value] = Object.entries(v)[0]; return { [name]: toNested(def, declared.parts.find(p => p[0] === name)[1], value) }; }
  if (type in INTEGERS) return exact(v);
  if (type === 'sched') return { Time: { __timestamp_micros_since_unix_epoch__: exact(v.Time) } };
  return type === 'unit' ? [] : v;
}
// Numbers that JavaScript's JSON would round are kept as text on both sides of a comparison (exactJson).
const exact = v => v >= -999999999999999n && v <= 999999999999999n ? Number(v) : String(v);
export const exactJson = text => JSON.parse(text.replace(/("(?:[^"\\]|\\.)*")|(-?\d{16,})(?![\d.eE])/g, (_, quoted, number) => quoted ?? `"${number}"`));

const isScalar = (def, type) => !/^[?[]/.test(type) && type !== 'sched' && type !== 'unit' && (!def.types.has(type) || def.types.get(type).kind === 'enum');
function pgType(def, type) {
  if (type[0] === '?') return type[1] === '?' ? 'jsonb' : pgType(def, type.slice(1));
  if (type[0] === '[') return isScalar(def, type.slice(1, -1)) ? 'ARRAY' : 'jsonb';
  if (type in INTEGERS) return INTEGERS[type][2];
  if (def.types.has(type)) return def.types.get(type).kind === 'enum' ? 'text' : 'jsonb';
  return PG_NAMES[type];
}
// information_schema.columns: [name, type, nullable] in order.
export const pgColumns = (def, t) => t.columns.map(c => [c.name, pgType(def, c.type), c.type[0] === '?' && c.type[1] !== '?' ? 'YES' : 'NO']);
// The indexes that PostgreSQL needs: "unique (a)", "(a, b)". One covers another over the same columns.
export function pgIndexes(t) {
  const name = member => t.columns.find(c => c.member === member).name;
  const unique = [...t.columns.filter(c => c.unique).map(c => [c.name]), ...t.uniques.map(u => u.cols.map(name))];
  const plain = [...t.columns.filter(c => c.index && !c.unique).map(c => [c.name]), ...t.indexes.map(x => x.cols.map(name))];
  return [...unique.map(cols => `unique (${cols.join(', ')})`), ...plain.map(cols => `(${cols.join(', ')})`)].sort();
}

// ---- BSATN: the row of an old connection must be exactly one value of the type that the connection knows ----

export function decodeRow(def, t, bytes) {
  const row = {};
  let at = 0;
  const take = n => { if (at + n > bytes.length) throw new Error(`row of ${t.name} is too short: ${bytes.toString('hex')}`); at += n; return bytes.subarray(at - n, at); };
  const int = (n, signed) => { let v = 0n; for (const byte of [...take(n)].reverse()) v = v << 8n | BigInt(byte); return signed ? BigInt.asIntN(n * 8, v) : v; };
  const hex = n => Buffer.from(take(n)).reverse().toString('hex');
  const value = type => {
    if (type[0] === '?') return take(1)[0] === 0 ? value(type.slice(1)) : null;
    if (type[0] === '[') return Array.from({ length: Number(int(4, false)) }, () => value(type.slice(1, -1)));
    if (type in INTEGERS) return int(...INTEGERS[type]);
    const declared = def.types.get(type);
    if (declared?.kind === 'struct') return Object.fromEntries(declared.parts.map(([name, inner]) => [name, value(inner)]));
    if (declared) {
      const tag = take(1)[0];
      if (tag >= declared.parts.length) throw new Error(`variant ${tag} of ${type}`);
      return declared.kind === 'enum' ? declared.parts[tag][0] : { [declared.parts[tag][0]]: value(declared.parts[tag][1]) };
    }
    switch (type) {
      case 'f32': return take(4).readFloatLE(0);
      case 'f64': return take(8).readDoubleLE(0);
      case 'bool': return take(1)[0] === 1;
      case 'str': return take(Number(int(4, false))).toString();
      case 'bytes': return take(Number(int(4, false))).toString('hex');
      case 'id': return hex(32);
      case 'conn': case 'uuid': return hex(16);
      case 'ts': case 'dur': return int(8, true);
      case 'sched': return { [take(1)[0] ? 'Time' : 'Interval']: int(8, true) };
      case 'unit': return 0;
      default: throw new Error(`type ${type}`);
    }
  };
  for (const c of t.columns) row[c.name] = value(c.type);
  if (at !== bytes.length) throw new Error(`row of ${t.name} has ${bytes.length - at} bytes more than this connection knows: ${bytes.toString('hex')}`);
  return row;
}
