/* chat.c, second version - messages belong to rooms. Publish it over the first one: clients stay connected,
 * the messages that are already there get room 0. */
#include "spacetimedb.h"

ST_MODULE(chat, "2.0.0");

ST_TABLE(user, PUBLIC,
    (st_identity, identity, PK),
    (opt_st_str,  name),
    (bool,        online));

ST_TABLE(message, PUBLIC,
    (uint64_t,     id, PK_AUTO),
    (st_identity,  sender, INDEX),
    (st_timestamp, sent),
    (st_str,       text),
    (uint32_t,     room));                  /* new: appended, so it needs a default */
ST_DEFAULT(message, room, 0);

ST_TABLE(room, PUBLIC,                      /* new */
    (uint32_t, id, PK_AUTO),
    (st_str,   name, UNIQUE));

ST_REDUCER(set_name, (st_str, name)) {
    if (name.len == 0)
        return st_fail(ctx, "names must not be empty");
    const user *u = user_find_by_identity(ctx->db, ctx->sender);
    if (!u)
        return st_fail(ctx, "cannot set the name of an unknown user");

    user changed = *u;
    changed.name = some_st_str(name);
    return user_update_by_identity(ctx->db, &changed);
}

ST_REDUCER(create_room, (st_str, name)) {   /* new */
    if (name.len == 0)
        return st_fail(ctx, "room names must not be empty");

    room r = { .name = name };
    st_status status = room_try_insert(ctx->db, &r);
    if (status == ST_E_UNIQUE)
        return st_fail(ctx, "there is a room \"%.*s\" already", ST_FMT(name));
    return status;
}

ST_REDUCER(send_message, (st_str, text)) {  /* old clients know no rooms: theirs is room 0 */
    if (text.len == 0)
        return st_fail(ctx, "messages must not be empty");

    message m = { .sender = ctx->sender, .sent = ctx->timestamp, .text = text };
    return message_insert(ctx->db, &m);
}

ST_REDUCER(send_to_room, (uint32_t, room_id), (st_str, text)) { /* new */
    if (text.len == 0)
        return st_fail(ctx, "messages must not be empty");
    if (room_id != 0 && !room_find_by_id(ctx->db, room_id))
        return st_fail(ctx, "there is no room %u", (unsigned)room_id);

    message m = { .sender = ctx->sender, .sent = ctx->timestamp, .text = text, .room = room_id };
    return message_insert(ctx->db, &m);
}

ST_INIT(on_init) {
    st_log_info(ctx, "chat is open");
    return ST_OK;
}

static st_status set_online(st_reducer_ctx *ctx, bool online)
{
    const user *u = user_find_by_identity(ctx->db, ctx->sender);
    if (u) {
        user changed = *u;
        changed.online = online;
        return user_update_by_identity(ctx->db, &changed);
    }
    if (!online) {
        st_log_warn(ctx, "an unknown user disconnected: %.*s", ST_FMT(st_identity_hex(ctx, ctx->sender)));
        return ST_OK;
    }
    user fresh = { .identity = ctx->sender, .online = true };
    return user_insert(ctx->db, &fresh);
}

ST_CLIENT_CONNECTED(on_connect) {
    return set_online(ctx, true);
}

ST_CLIENT_DISCONNECTED(on_disconnect) {
    return set_online(ctx, false);
}
