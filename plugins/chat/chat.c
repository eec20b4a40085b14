/* chat.c - a chat room: who is here, and what was said. */
#include "spacetimedb.h"

ST_MODULE(chat, "1.0.0");

ST_TABLE(user, PUBLIC,
    (st_identity, identity, PK),
    (opt_st_str,  name),
    (bool,        online));

ST_TABLE(message, PUBLIC,
    (uint64_t,     id, PK_AUTO),
    (st_identity,  sender, INDEX),
    (st_timestamp, sent),
    (st_str,       text));

ST_REDUCER(set_name, (st_str, name)) {
    if (name.len == 0)
        return st_fail(ctx, "names must not be empty");
    const user *u = user_find_by_identity(ctx->db, ctx->sender);
    if (!u)
        return st_fail(ctx, "cannot set the name of an unknown user");

    user changed = *u;                      /* rows are read in place and changed by copy */
    changed.name = some_st_str(name);
    return user_update_by_identity(ctx->db, &changed);
}

ST_REDUCER(send_message, (st_str, text)) {
    if (text.len == 0)
        return st_fail(ctx, "messages must not be empty");

    message m = { .sender = ctx->sender, .sent = ctx->timestamp, .text = text };
    return message_insert(ctx->db, &m);     /* the host fills m.id */
}

ST_INIT(on_init) {
    st_log_info(ctx, "chat is open");
    return ST_OK;
}

/* Every connection that begins and ends passes here; a returning user keeps the row and the name. */
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
