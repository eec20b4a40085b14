// Bindings of the example modules, in the shape that `spacetime generate` gives TypeScript users, written as plain JavaScript.
import { DbConnectionBuilder, DbConnectionImpl, SubscriptionBuilderImpl, convertToAccessorMap, makeQueryBuilder,
  procedureSchema, procedures as sdkProcedures, reducerSchema, reducers as sdkReducers, schema, table, t } from 'spacetimedb';

export function bind(tables, reducers, procedures = []) {
  const tablesSchema = schema(tables);
  const reducersSchema = sdkReducers(...reducers);
  const remoteModule = {
    versionInfo: { cliVersion: '2.10.1' },
    tables: tablesSchema.schemaType.tables,
    reducers: reducersSchema.reducersType.reducers,
    ...sdkProcedures(...procedures),
  };
  class Connection extends DbConnectionImpl {
    static builder = () => new DbConnectionBuilder(remoteModule, config => new Connection(config));
    subscriptionBuilder = () => new SubscriptionBuilderImpl(this);
  }
  return { Connection, tables: makeQueryBuilder(tablesSchema.schemaType), reducers: convertToAccessorMap(reducersSchema.reducersType.reducers) };
}

const unique = (table, column) => ({ name: `${table}_${column}_key`, constraint: 'unique', columns: [column] });
const btree = (table, column) => ({ accessor: column, name: `${table}_${column}_idx_btree`, algorithm: 'btree', columns: [column] });

export const chat = bind({
  message: table({ name: 'message', indexes: [btree('message', 'id'), btree('message', 'sender')], constraints: [unique('message', 'id')] },
    t.row({ id: t.u64().primaryKey(), sender: t.identity(), sent: t.timestamp(), text: t.string() })),
  user: table({ name: 'user', indexes: [btree('user', 'identity')], constraints: [unique('user', 'identity')] },
    t.row({ identity: t.identity().primaryKey(), name: t.option(t.string()), online: t.bool() })),
}, [reducerSchema('send_message', { text: t.string() }), reducerSchema('set_name', { name: t.string() })]);

export const chat2 = bind({
  message: table({ name: 'message', indexes: [btree('message', 'id'), btree('message', 'sender')], constraints: [unique('message', 'id')] },
    t.row({ id: t.u64().primaryKey(), sender: t.identity(), sent: t.timestamp(), text: t.string(), room: t.u32() })),
  room: table({ name: 'room', indexes: [btree('room', 'id'), btree('room', 'name')], constraints: [unique('room', 'id'), unique('room', 'name')] },
    t.row({ id: t.u32().primaryKey(), name: t.string() })),
  user: table({ name: 'user', indexes: [btree('user', 'identity')], constraints: [unique('user', 'identity')] },
    t.row({ identity: t.identity().primaryKey(), name: t.option(t.string()), online: t.bool() })),
}, [reducerSchema('create_room', { name: t.string() }), reducerSchema('send_message', { text: t.string() }),
  reducerSchema('send_to_room', { room_id: t.u32(), text: t.string() }), reducerSchema('set_name', { name: t.string() })]);

export const ledger = bind({
  accounts: table({ name: 'accounts', indexes: [btree('accounts', 'id')], constraints: [unique('accounts', 'id')] },
    t.row({ id: t.u32().primaryKey(), balance: t.i64() })),
}, [reducerSchema('seed', { n: t.u32(), initial_balance: t.i64() }),
  reducerSchema('transfer', { from: t.u32(), to: t.u32(), amount: t.i64() })]);

const answer = t.object('Answer', { status: t.u32(), body: t.string(), headers: t.string(), error: t.string() });
const receipt = t.object('Receipt', { text: t.string(), count: t.u64(), who: t.identity() });
export const courier = bind({
  parcel: table({ name: 'parcel', indexes: [btree('parcel', 'id')], constraints: [unique('parcel', 'id')] },
    t.row({ id: t.u64().primaryKey(), what: t.string() })),
}, [reducerSchema('put', { what: t.string() })],
[procedureSchema('count', { text: t.string() }, receipt), procedureSchema('refuses', { why: t.string() }, t.unit()),
  procedureSchema('nap', { ms: t.u32() }, t.i64()), procedureSchema('retried', {}, t.u64()), procedureSchema('crash', {}, t.unit()),
  procedureSchema('fetch', { method: t.string(), url: t.string(), body: t.string(), timeout_ms: t.u32() }, answer)]);

// Views are tables without indexes and constraints; only one with a key of its own tells of updates.
export const viewed = bind({
  item: table({ name: 'item', indexes: [btree('item', 'id'), btree('item', 'owner'), btree('item', 'n')], constraints: [unique('item', 'id')] },
    t.row({ id: t.u32().primaryKey(), owner: t.identity(), n: t.u32() })),
  mine: table({ name: 'mine', indexes: [], constraints: [] }, t.row({ id: t.u32(), owner: t.identity(), n: t.u32() })),
  middle: table({ name: 'middle', indexes: [], constraints: [] }, t.row({ id: t.u32().primaryKey(), n: t.u32() })),
  totals: table({ name: 'totals', indexes: [], constraints: [] }, t.row({ n: t.u64() })),
}, [reducerSchema('put', { id: t.u32(), n: t.u32() }), reducerSchema('drop', { id: t.u32() })]);
