/* abi.c - the binary interface, pinned. Modules built years ago must load: what stands here never changes within
 * ST_ABI_MAJOR 1. New members go to the ends of their structs, with a new line here and a new ST_ABI_MINOR. */
#include "spacetimedb.h"

#define SIZE(type, bytes, alignment) _Static_assert(sizeof(type) == bytes && _Alignof(type) == alignment, #type)
#define AT(type, member, offset) _Static_assert(offsetof(type, member) == offset, #type "." #member)
#define IS(constant, value) _Static_assert((constant) == (value), #constant)

/* values */
SIZE(bool, 1, 1); SIZE(st_str, 16, 8); SIZE(st_bytes, 16, 8); SIZE(arr_st_str, 16, 8);
SIZE(st_identity, 32, 1); SIZE(st_connection_id, 16, 1); SIZE(st_uuid, 16, 1); SIZE(st_unit, 1, 1);
SIZE(st_timestamp, 8, 8); SIZE(st_duration, 8, 8); SIZE(st_schedule_at, 16, 8);
SIZE(st_u128, 16, 16); SIZE(st_i128, 16, 16); SIZE(st_u256, 32, 8); SIZE(st_i256, 32, 8);
SIZE(opt_bool, 2, 1); SIZE(opt_uint64_t, 16, 8); SIZE(opt_st_str, 24, 8); SIZE(opt_st_identity, 33, 1); SIZE(opt_st_u128, 32, 16);
AT(st_str, ptr, 0); AT(st_str, len, 8); AT(arr_st_str, ptr, 0); AT(arr_st_str, len, 8);
AT(st_schedule_at, tag, 0); AT(st_schedule_at, us, 8); AT(opt_st_str, some, 0); AT(opt_st_str, v, 8);
ST_ENUM(hue, RED, GREEN);
ST_SUM(mixed, (st_unit, none), (bool, flag), (uint64_t, big));
ST_RESULT(uint32_t, st_str);
SIZE(hue, 1, 1); SIZE(mixed, 16, 8); AT(mixed, tag, 0); AT(mixed, u, 8);
SIZE(res_uint32_t_st_str, 24, 8); AT(res_uint32_t_st_str, tag, 0); AT(res_uint32_t_st_str, u, 8);

/* status, origin, levels, kinds, flags */
IS(ST_OK, 0); IS(ST_E_USER, 1); IS(ST_E_UNIQUE, 12); IS(ST_E_DELAY_TOO_LONG, 13); IS(ST_E_NO_ROW, 15); IS(ST_E_AUTO_OVERFLOW, 16);
IS(ST_E_WOULD_BLOCK, 17); IS(ST_E_READ_ONLY, 19); IS(ST_E_HTTP, 21); IS(ST_E_ABORTED, 30); IS(ST_E_INVALID, 31);
IS(ST_E_TOO_LARGE, 32); IS(ST_E_CANCELLED, 33);
IS(ST_ORIGIN_CLIENT, 0); IS(ST_ORIGIN_HTTP, 1); IS(ST_ORIGIN_SCHEDULED, 2); IS(ST_ORIGIN_LIFECYCLE, 3); IS(ST_ORIGIN_HANDLER, 4);
IS(ST_LOG_ERROR, 0); IS(ST_LOG_WARN, 1); IS(ST_LOG_INFO, 2); IS(ST_LOG_DEBUG, 3); IS(ST_LOG_TRACE, 4);
IS(ST_K_BOOL, 1); IS(ST_K_INT, 2); IS(ST_K_FLOAT, 3); IS(ST_K_STR, 4); IS(ST_K_BYTES, 5); IS(ST_K_IDENTITY, 6);
IS(ST_K_CONNECTION_ID, 7); IS(ST_K_UUID, 8); IS(ST_K_TIMESTAMP, 9); IS(ST_K_DURATION, 10); IS(ST_K_SCHEDULE, 11);
IS(ST_K_UNIT, 12); IS(ST_K_STRUCT, 13); IS(ST_K_ENUM, 14); IS(ST_K_SUM, 15); IS(ST_K_OPTION, 16); IS(ST_K_ARRAY, 17);
IS(ST_K_RESULT, 18);
IS(ST_ITEM_TABLE, 1); IS(ST_ITEM_INDEX, 2); IS(ST_ITEM_DEFAULT, 3); IS(ST_ITEM_SCHEDULE, 4); IS(ST_ITEM_FUNCTION, 5);
IS(ST_ITEM_VIEW, 6); IS(ST_ITEM_UNIQUE, 7); IS(ST_ITEM_SEQUENCE, 8); IS(ST_ITEM_NAME, 9); IS(ST_ITEM_CASE, 10);
IS(ST_ITEM_MIGRATION, 11); IS(ST_ITEM_OLD_TABLE, 12); IS(ST_ITEM_RULE, 13); IS(ST_ITEM_ROUTE, 14); IS(ST_ITEM_VIEW_KEY, 15);
IS(ST_F_EVENT, 2); IS(ST_F_ANONYMOUS, 4); IS(ST_F_QUERY, 8); IS(ST_F_OPTION, 16);
IS(ST_NAME_TABLE, 0); IS(ST_NAME_FUNCTION, 1); IS(ST_NAME_INDEX, 2); IS(ST_NAME_COLUMN, 3); IS(ST_CASE_NONE, 0); IS(ST_CASE_SNAKE, 1);
IS(ST_MIGRATE_RENAME_TABLE, 1); IS(ST_MIGRATE_RENAME_COLUMN, 2); IS(ST_MIGRATE_DROP_TABLE, 3); IS(ST_MIGRATE_DROP_COLUMN, 4);
IS(ST_MIGRATE_CONVERT_COLUMN, 5); IS(ST_MIGRATE_ADD_UNIQUE, 6); IS(ST_MIGRATE_ADD_PRIMARY_KEY, 7); IS(ST_MIGRATE_REPLACE_ROWS, 8);
IS(ST_MIGRATE_RUN, 9);
IS(ST_FN_REDUCER, 0); IS(ST_FN_INIT, 1); IS(ST_FN_CLIENT_CONNECTED, 2); IS(ST_FN_CLIENT_DISCONNECTED, 3); IS(ST_FN_PROCEDURE, 4); IS(ST_FN_HTTP_HANDLER, 5);
IS(ST_COLUMN_PK, 1); IS(ST_COLUMN_UNIQUE, 2); IS(ST_COLUMN_AUTO, 4); IS(ST_COLUMN_INDEX, 8);
IS(ST_COLUMN_BY_HASH, 16); IS(ST_COLUMN_BY_VALUE, 32); IS(ST_COLUMN_HASH, 24); IS(ST_COLUMN_PK_HASH, 17); IS(ST_COLUMN_UNIQUE_HASH, 18);
IS(ST_COLUMN_PK_DIRECT, 33); IS(ST_COLUMN_UNIQUE_DIRECT, 34); IS(ST_INDEX_HASH, 1);
IS(ST_ACCESS_PRIVATE, 0); IS(ST_ACCESS_PUBLIC, 1); IS(ST_F_EVENT, 2); IS(ST_F_ANONYMOUS, 4);
IS(ST_MAGIC, 0x315453); IS(ST_ABI_MAJOR, 1); IS(ST_ABI_MINOR, 2);

/* records */
SIZE(st_type, 48, 8); AT(st_type, name, 0); AT(st_type, kind, 8); AT(st_type, size, 12); AT(st_type, align, 16);
AT(st_type, nfields, 20); AT(st_type, fields, 24); AT(st_type, elem, 32); AT(st_type, elem_off, 40); AT(st_type, is_signed, 44);
SIZE(st_field, 24, 8); AT(st_field, name, 0); AT(st_field, type, 8); AT(st_field, offset, 16); AT(st_field, flags, 20);
SIZE(st_item, 64, 8); AT(st_item, kind, 0); AT(st_item, flags, 4); AT(st_item, name, 8); AT(st_item, type, 16);
AT(st_item, ret, 24); AT(st_item, owner, 32); AT(st_item, ptr, 40); AT(st_item, n, 48); AT(st_item, call, 56);
SIZE(st_module_desc, 56, 8); AT(st_module_desc, magic, 0); AT(st_module_desc, size, 4); AT(st_module_desc, abi_major, 8);
AT(st_module_desc, abi_minor, 10); AT(st_module_desc, ptr_size, 12); AT(st_module_desc, item_size, 14);
AT(st_module_desc, name, 16); AT(st_module_desc, version, 24); AT(st_module_desc, compiler, 32);
AT(st_module_desc, items, 40); AT(st_module_desc, items_end, 48);
SIZE(st_sequence, 64, 16); AT(st_sequence, start, 0); AT(st_sequence, min, 16); AT(st_sequence, max, 32); AT(st_sequence, increment, 48);
SIZE(st_migration_op, 48, 8); AT(st_migration_op, kind, 0); AT(st_migration_op, zero, 4); AT(st_migration_op, table, 8);
AT(st_migration_op, a, 16); AT(st_migration_op, b, 24); AT(st_migration_op, type, 32); AT(st_migration_op, fn, 40);

/* contexts and handles */
AT(st_reducer_ctx, api, 0); AT(st_reducer_ctx, call, 8); AT(st_reducer_ctx, db, 16); AT(st_reducer_ctx, sender, 24);
AT(st_reducer_ctx, connection, 56); AT(st_reducer_ctx, timestamp, 80); AT(st_reducer_ctx, database, 88); AT(st_reducer_ctx, origin, 120);
AT(st_view_ctx, api, 0); AT(st_view_ctx, call, 8); AT(st_view_ctx, db, 16); AT(st_view_ctx, sender, 24); AT(st_view_ctx, database, 56);
AT(st_anon_view_ctx, api, 0); AT(st_anon_view_ctx, call, 8); AT(st_anon_view_ctx, db, 16); AT(st_anon_view_ctx, database, 24);
AT(st_proc_ctx, api, 0); AT(st_proc_ctx, call, 8); AT(st_proc_ctx, sender, 16); AT(st_proc_ctx, connection, 48);
AT(st_proc_ctx, timestamp, 72); AT(st_proc_ctx, database, 80); AT(st_proc_ctx, origin, 112); AT(st_proc_ctx, tx_status, 116);
AT(st_db, api, 0); AT(st_db, call, 8); AT(st_db, item, 16);
SIZE(st_cursor, 32, 8); SIZE(st_log_loc, 24, 8); AT(st_log_loc, file, 0); AT(st_log_loc, function, 8); AT(st_log_loc, line, 16);
SIZE(st_http_header, 32, 8); SIZE(st_http_request, 72, 8); SIZE(st_http_response, 56, 8);

/* the host's functions, in order */
AT(st_api, size, 0); AT(st_api, major, 4); AT(st_api, minor, 8);
AT(st_api, insert, 16); AT(st_api, update, 24); AT(st_api, find, 32); AT(st_api, erase, 40); AT(st_api, count, 48);
AT(st_api, scan, 56); AT(st_api, next, 64); AT(st_api, alloc, 72); AT(st_api, fail, 80); AT(st_api, log, 88); AT(st_api, emit, 96);
AT(st_api, tx_begin, 104); AT(st_api, tx_end, 112); AT(st_api, tx_abort, 120); AT(st_api, http, 128);
AT(st_api, format, 136); AT(st_api, random, 144); AT(st_api, erase_row, 152);
AT(st_api, claims, 160); AT(st_api, claim, 168); AT(st_api, stopwatch_start, 176); AT(st_api, stopwatch_end, 184); AT(st_api, sleep_until, 192); AT(st_api, query, 200);
SIZE(st_api, 208, 8);
