/* cmd_init.c - `spacetime init`: a new project with a starter module. */
#include "cli/config.h"
#include "host/wire/identity.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

/* The starter: every part that a module of this edition can have, once. @NAME@ is its name in C. */
static const char module_text[] =
    "/* module.c - the database @NAME@: its tables, and the functions that change them.\n"
    " *\n"
    " * `spacetime publish` compiles this file and makes the database, or brings it up to date. */\n"
    "#include \"spacetimedb.h\"\n"
    "\n"
    "ST_MODULE(@NAME@, \"1.0.0\");\n"
    "\n"
    "/* A table, and `person`, the C struct of its rows. PUBLIC: every client may read it. A primary key of 0 is\n"
    " * replaced by the next number on insert; INDEX makes person_by_name(). */\n"
    "ST_TABLE(person, PUBLIC,\n"
    "    (uint64_t,     id, PK_AUTO),\n"
    "    (st_str,       name, INDEX),\n"
    "    (st_identity,  added_by),\n"
    "    (st_timestamp, added_at));\n"
    "\n"
    "/* PRIVATE: only this module and the owner may read it. Nobody's secret here, but it shows an update. */\n"
    "ST_TABLE(visitor, PRIVATE,\n"
    "    (st_identity, identity, PK),\n"
    "    (uint32_t,    visits),\n"
    "    (bool,        online));\n"
    "\n"
    "/* A reducer: what clients call. It runs alone, in a transaction: ST_OK commits, anything else takes all of it\n"
    " * back.   spacetime call add Ada */\n"
    "ST_REDUCER(add, (st_str, name)) {\n"
    "    if (name.len == 0)\n"
    "        return st_fail(ctx, \"a person needs a name\"); /* the caller sees this text */\n"
    "    person p = { .name = name, .added_by = ctx->sender, .added_at = ctx->timestamp };\n"
    "    return person_insert(ctx->db, &p);\n"
    "}\n"
    "\n"
    "/* Reading: rows come as const pointers, valid until the call ends. The log is read with `spacetime logs`. */\n"
    "ST_REDUCER(say_hello) {\n"
    "    ST_FOR(person, p, person_all(ctx->db))\n"
    "        st_log_info(ctx, \"Hello, %.*s!\", ST_FMT(p->name));\n"
    "    st_log_info(ctx, \"Hello to all %llu of you.\", (unsigned long long)person_count(ctx->db));\n"
    "    return ST_OK;\n"
    "}\n"
    "\n"
    "/* Deleting by an indexed column gives the number of rows. */\n"
    "ST_REDUCER(remove_all_named, (st_str, name)) {\n"
    "    uint64_t n = person_delete_by_name(ctx->db, name);\n"
    "    if (n == 0)\n"
    "        return st_fail(ctx, \"there is nobody called %.*s\", ST_FMT(name));\n"
    "    return ST_OK;\n"
    "}\n"
    "\n"
    "/* A schedule: a row asks for a call of `remind`, once (st_at) or again and again (st_every), also after a restart.\n"
    " * Deleting the row cancels it.   spacetime call remind_me 5 tea */\n"
    "ST_TABLE(reminder, PRIVATE,\n"
    "    (uint64_t,       id, PK_AUTO),\n"
    "    (st_schedule_at, at),\n"
    "    (st_str,         text));\n"
    "\n"
    "ST_REDUCER(remind, (reminder, row)) {\n"
    "    st_log_info(ctx, \"Reminder: %.*s\", ST_FMT(row.text));\n"
    "    return ST_OK;\n"
    "}\n"
    "ST_SCHEDULE(reminder, at, remind);\n"
    "\n"
    "ST_REDUCER(remind_me, (uint32_t, seconds), (st_str, text)) {\n"
    "    reminder r = { .at = st_at(st_timestamp_add(ctx->timestamp, st_seconds(seconds))), .text = text };\n"
    "    return reminder_insert(ctx->db, &r);\n"
    "}\n"
    "\n"
    "/* A procedure: it returns a value, may wait for the world outside (st_http), and reaches the tables in transactions\n"
    " * of its own.   spacetime call count_people */\n"
    "ST_PROCEDURE(count_people, uint64_t) {\n"
    "    ST_WITH_TX(ctx, tx) {\n"
    "        *ret = person_count(tx->db);\n"
    "    }\n"
    "    return ctx->tx_status;\n"
    "}\n"
    "\n"
    "/* A view: rows computed from tables, which clients read and subscribe to like a table. This one is another for each\n"
    " * client; it is computed again when something changes that it has read.   spacetime sql 'SELECT * FROM my_visits' */\n"
    "ST_VIEW(my_visits, PUBLIC, visitor) {\n"
    "    const visitor *me = visitor_find_by_identity(ctx->db, ctx->sender);\n"
    "    return me ? visitor_emit(out, me) : ST_OK;\n"
    "}\n"
    "\n"
    "/* The life cycle: once at the first publish, and when a client comes and goes. */\n"
    "ST_INIT(on_init) {\n"
    "    st_log_info(ctx, \"the database is new\");\n"
    "    return ST_OK;\n"
    "}\n"
    "\n"
    "ST_CLIENT_CONNECTED(on_connect) {\n"
    "    const visitor *known = visitor_find_by_identity(ctx->db, ctx->sender);\n"
    "    if (!known) {\n"
    "        visitor fresh = { .identity = ctx->sender, .visits = 1, .online = true };\n"
    "        return visitor_insert(ctx->db, &fresh);\n"
    "    }\n"
    "    visitor changed = *known; /* rows are changed by copy */\n"
    "    changed.visits++;\n"
    "    changed.online = true;\n"
    "    return visitor_update_by_identity(ctx->db, &changed);\n"
    "}\n"
    "\n"
    "ST_CLIENT_DISCONNECTED(on_disconnect) {\n"
    "    const visitor *known = visitor_find_by_identity(ctx->db, ctx->sender);\n"
    "    if (!known)\n"
    "        return ST_OK;\n"
    "    visitor changed = *known;\n"
    "    changed.online = false;\n"
    "    return visitor_update_by_identity(ctx->db, &changed);\n"
    "}\n";

static const char readme_text[] =
    "# NAME\n"
    "\n"
    "A database whose tables and functions are written in C: `spacetimedb/module.c`.\n"
    "\n"
    "```sh\n"
    "spacetime start                              # in another terminal: the host\n"
    "spacetime publish NAME                       # compile, make or update the database\n"
    "spacetime call NAME add Ada                  # call a reducer\n"
    "spacetime sql NAME 'SELECT * FROM person'    # look\n"
    "spacetime call NAME say_hello\n"
    "spacetime call NAME count_people             # a procedure: it returns a value\n"
    "spacetime call NAME remind_me 5 tea          # a reducer that the database calls later\n"
    "spacetime logs NAME\n"
    "spacetime subscribe NAME 'SELECT * FROM person' --print-initial-update   # watch\n"
    "```\n"
    "\n"
    "Change the module and publish again: the host shows the migration plan, changes the stored tables and keeps\n"
    "clients connected. `spacetime help` lists all commands; the module's vocabulary is documented in "
    "`spacetimedb.h`.\n";

static void replace_into(Buf *out, const char *text, const char *from, const char *to)
{
    for (const char *hit; (hit = strstr(text, from)) != NULL; text = hit + strlen(from)) {
        buf_put(out, text, (size_t)(hit - text));
        buf_put_text(out, to);
    }
    buf_put_text(out, text);
}

static void write_file(Cli *c, const char *dir, const char *name, const char *text, const char *from, const char *to)
{
    const char *path = cli_text(c, "%s/%s", dir, name);
    OWN(buf) Buf out = {0};
    replace_into(&out, text, from, to);
    FILE *f = fopen(path, "wx");
    if (!f || fwrite(out.ptr, 1, out.len, f) != out.len || fclose(f) != 0)
        cli_fail("cannot write %s: %s", path, strerror(errno));
}

static bool is_empty(const char *dir)
{
    DIR *d = opendir(dir);
    bool empty = true;
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        empty &= strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    if (d)
        closedir(d);
    return empty;
}

/* "My Game" -> "my-game"; empty when nothing is left. */
static const char *database_name(Cli *c, const char *name)
{
    char *out = cli_text(c, "%s", name), *p = out;
    for (const char *q = name; *q; q++) {
        char ch = *q >= 'A' && *q <= 'Z' ? (char)(*q + 32) : *q;
        bool good = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9');
        if (good)
            *p++ = ch;
        else if (p > out && p[-1] != '-')
            *p++ = '-';
    }
    while (p > out && p[-1] == '-')
        p--;
    *p = 0;
    return out;
}

static void make_dir(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        cli_fail("cannot make the directory %s: %s", path, strerror(errno));
}

int cmd_init(Cli *c, const Args *a)
{
    const char *lang = arg_value(a, "lang"), *dir = arg_value(a, "project-path");
    if (a->n != 1)
        cli_usage(a, a->n ? "unexpected argument '%s' found" : "the following required arguments were not provided:\n  <NAME>%s",
                  a->n ? a->v[1] : "");
    if (lang && strcmp(lang, "c") != 0)
        cli_fail("--lang %s: modules of this edition are written in C (--lang c)", lang);
    const char *slash = strrchr(a->v[0], '/'), *name = database_name(c, slash ? slash + 1 : a->v[0]);
    Error err = {0};
    if (database_name_check(str_of(name), &err) != S_OK)
        cli_fail("`%s` makes no name for a database: %s. Use letters, digits and single hyphens, as in my-game-2", a->v[0], err.text);
    dir = dir ? dir : slash ? a->v[0] : name;
    struct stat st;
    if (lstat(dir, &st) == 0 && (!S_ISDIR(st.st_mode) || !is_empty(dir)))
        cli_fail("%s is there already and not an empty directory; choose another name, or a place with --project-path", dir);
    char *word = cli_text(c, "%s%s", name[0] >= '0' && name[0] <= '9' ? "m_" : "", name);
    for (char *p = word; *p; p++)
        *p = *p == '-' ? '_' : *p;
    const char *server = config_get(c, "default_server"), *module_dir = cli_text(c, "%s/spacetimedb", dir);
    make_dir(dir);
    make_dir(module_dir);
    write_file(c, module_dir, "module.c", module_text, "@NAME@", word);
    write_file(c, dir, "README.md", readme_text, "NAME", name);
    write_file(c, dir, ".gitignore", "build/\nspacetime.local.json\n", "NAME", name);
    write_file(c, dir, "spacetime.json", "{\n  \"server\": \"SERVER\",\n  \"module-path\": \"./spacetimedb\"\n}\n", "SERVER",
               server ? server : "local");
    write_file(c, dir, "spacetime.local.json", "{\n  \"database\": \"NAME\"\n}\n", "NAME", name);
    printf("Made the project %s: the module is %s/module.c.\n\n"
           "Next steps:\n"
           "  cd %s\n"
           "  spacetime start                             (in another terminal, if no host is running)\n"
           "  spacetime publish\n"
           "  spacetime call add Ada\n"
           "  spacetime sql 'SELECT * FROM person'\n"
           "  spacetime logs\n",
           name, module_dir, dir);
    return 0;
}
