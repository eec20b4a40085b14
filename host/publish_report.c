/* publish_report.c - what a publish tells people and programs: the preview's answer, and which connected clients it would disturb. */
#include "host/publish_int.h"
#include "host/wire/identity.h"
#include "host/wire/sats_json.h"

#include <stdio.h>

enum { CLIENTS_TOLD_MAX = 1000, EFFECTS_MAX = 20 };

/* ---- the token: it proves that the publisher has seen this plan, nothing else ---- */

static void hash_hex_reversed(char out[80], const uint8_t hash[32])
{ /* a Hash in JSON: the bytes read as a little-endian number, without leading zeros (http-api.md 3.2) */
    char hex[65];
    uint8_t reversed[32];
    for (int i = 0; i < 32; i++)
        reversed[i] = hash[31 - i];
    hex_encode(hex, reversed, 32);
    const char *p = hex;
    while (*p == '0' && p[1])
        p++;
    snprintf(out, 80, "0x%s", p);
}

void migration_token(char out[80], const uint8_t identity[32], const uint8_t old_hash[32], const uint8_t new_hash[32])
{
    char text[3 * 64 + 1];
    identity_to_hex(text, identity);
    hex_encode(text + 64, old_hash, 32);
    hex_encode(text + 128, new_hash, 32);
    uint8_t hash[32];
    keccak_256(hash, str_bytes(str_of(text)));
    hash_hex_reversed(out, hash);
}

/* ---- connected clients ---- */

typedef struct Items {
    Buf *json;
    bool any;
} Items;

static void say_json(Items *items, const char *text)
{
    buf_put_text(items->json, items->any ? "," : "");
    json_string(items->json, str_of(text));
    items->any = true;
}

static bool is_word(char c)
{
    return c == '_' || (uint8_t)c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Does the query name this table or view? By words: text in quotes is skipped, a quoted identifier counts. */
static bool query_names(Str sql, Str name)
{
    for (size_t i = 0; i < sql.len;) {
        char c = sql.ptr[i];
        size_t from = i;
        if (c == '\'' || c == '"') {
            for (i++; i < sql.len && sql.ptr[i] != c; i++)
                ;
            if (c == '"' && str_eq((Str){sql.ptr + from + 1, i - from - 1}, name))
                return true;
            i++;
        } else if (is_word(c)) {
            while (i < sql.len && is_word(sql.ptr[i]))
                i++;
            if (str_eq((Str){sql.ptr + from, i - from}, name))
                return true;
        } else {
            i++;
        }
    }
    return false;
}

/* What a step does to somebody who is subscribed to its table; NULL: nothing. */
static const char *effect_on_subscriber(const Step *s, const Slot *slot)
{
    switch (s->kind) {
    case STEP_CHANGE_ACCESS:
        return !slot->owner && s->new_table && s->new_table->access == ACCESS_PRIVATE ? "ends: the table becomes private" : NULL;
    case STEP_REMOVE_TABLE: return "ends: the table is dropped";
    case STEP_RENAME_TABLE: return "ends: the table gets another name";
    case STEP_REMOVE_COLUMN:
    case STEP_CONVERT_COLUMN:
    case STEP_REPLACE_ROWS: return "must be made again: its rows change their form";
    case STEP_RENAME_COLUMN: return "ends if it names a column that gets another name";
    case STEP_RESCHEMA_EVENT_TABLE: return "must be made again: the events change their form";
    case STEP_REMOVE_VIEW: return "ends: the view is removed or made anew";
    case STEP_CHANGE_COLUMNS: return "may bring variants that the client's bindings do not know";
    case STEP_CHANGE_PRIMARY_KEY: return "goes on, but the client's bindings keep the old primary key";
    default: return NULL;
    }
}

typedef struct Effects {
    Items items;
    uint32_t n;
} Effects;

static void add_effect(Effects *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add_effect(Effects *e, const char *fmt, ...)
{
    char text[700];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t len = MIN((size_t)MAX(n, 0), sizeof text - 1);
    while (len && !utf8_valid((Str){text, len})) /* cut inside a character */
        len--;
    text[len] = 0;
    if (e->n++ < EFFECTS_MAX)
        say_json(&e->items, text);
}

static Str step_subject(const Step *s)
{
    const TableDef *t = s->old_table ? s->old_table : s->new_table;
    return t ? t->name : s->name;
}

static void effects_on_sets(Effects *e, const Plan *plan, const Slot *slot)
{
    for (uint32_t k = 0; k < slot->nsets; k++) {
        Reader r = reader_of(buf_bytes(&slot->sets[k].queries));
        for (uint32_t q = 0; slot->sets[k].applied && q < slot->sets[k].nqueries; q++) {
            Str sql = read_str(&r);
            for (uint32_t i = 0; !r.bad && i < plan->nsteps; i++) {
                const char *what = effect_on_subscriber(&plan->steps[i], slot);
                if (what && query_names(sql, step_subject(&plan->steps[i])))
                    add_effect(e, "subscription `%.*s` %s", (int)MIN(sql.len, (size_t)300), sql.ptr, what);
            }
        }
    }
}

static void effects_on_calls(Effects *e, const Plan *plan, const Slot *slot)
{
    for (uint32_t i = 0; i < plan->nsteps; i++) {
        const Step *s = &plan->steps[i];
        bool removed = s->kind == STEP_REMOVE_FUNCTION;
        if ((removed || s->kind == STEP_CHANGE_FUNCTION) && slot_has_called(slot, s->name))
            add_effect(e, "it has called %s `%.*s`, which %s", s->function_kind, STR_FMT(s->name), removed ? "is removed" : "changes");
    }
}

typedef struct ClientsReport {
    const Publishing *p;
    Buf *json;
    uint32_t ntold;
} ClientsReport;

static void clients_on_loop(void *arg)
{
    ClientsReport *c = arg;
    const Database *db = c->p->db;
    const Plan *plan = &c->p->plan;
    for (uint32_t i = 0; i < db->nslots && c->ntold < CLIENTS_TOLD_MAX; i++) {
        const Slot *slot = &db->slots[i];
        if (!slot->used || !slot->client || slot->http || !slot->connected)
            continue;
        OWN(buf) Buf effects = {0};
        Effects e = {.items = {&effects, false}};
        if (plan->breaks_clients)
            add_effect(&e, "it is disconnected after the swap");
        effects_on_sets(&e, plan, slot);
        effects_on_calls(&e, plan, slot);
        if (!e.n)
            continue;
        if (e.n > EFFECTS_MAX) {
            uint32_t more = e.n - EFFECTS_MAX;
            char text[40];
            snprintf(text, sizeof text, "and %u more", more);
            say_json(&e.items, text);
        }
        char identity[65], connection[33];
        uint8_t reversed[16];
        identity_to_hex(identity, slot->identity);
        for (int b = 0; b < 16; b++)
            reversed[b] = slot->connection_id[15 - b];
        hex_encode(connection, reversed, 16);
        buf_printf(c->json, "%s{\"identity\":\"%s\",\"connection_id\":\"%s\",\"schema_version\":%u,\"disconnected\":%s,\"effects\":[",
                   c->ntold++ ? "," : "", identity, connection, slot->schema_version, plan->breaks_clients ? "true" : "false");
        buf_put_bytes(c->json, buf_bytes(&effects));
        buf_put_text(c->json, "]}");
    }
}

/* ---- the preview ---- */

/* What PostgreSQL will be told. Nothing is allocated: new tables get numbers that nobody keeps. */
static void put_ddl(Buf *out, const Publishing *p)
{
    const SchemaImage *old = &p->db->image;
    uint32_t *ids = x_alloc((p->def->ntables + 1) * sizeof *ids);
    for (uint32_t i = 0; i < p->def->ntables; i++) {
        const TableDef *from = p->plan.sources[i].old;
        ids[i] = from ? old->ids[from - old->def->tables] : UINT32_MAX - i;
    }
    const SchemaImage next = {p->def, old->version + 1, ids};
    const Publish publish = {.old_image = old, .new_image = &next, .plan = &p->plan};
    OWN(buf) Buf ddl = {0};
    storage_plan_ddl(&ddl, str_of(p->schema), &publish);
    for (const char *line = ddl.len ? buf_cstr(&ddl) : "", *end; *line; line = end) {
        end = strchr(line, '\n');
        end = end ? end + 1 : line + strlen(line);
        if (strncmp(line, "COMMENT ", 8) != 0) /* our marks, which name the numbers */
            buf_put(out, line, (size_t)(end - line));
    }
    free(ids);
}

static void put_plan_json(Buf *out, const Plan *plan)
{
    buf_put_text(out, ",\"plan\":");
    plan_to_json(out, plan);
}

static bool plain_style(const Publishing *p)
{ /* the reference's command line says pretty_print_style where its server reads style: both are taken */
    Str style;
    return (net_request_query(p->req, "style", &style) || net_request_query(p->req, "pretty_print_style", &style)) &&
           (str_is(style, "NoColor") || str_is(style, "no-color"));
}

static void report_forbidden(Publishing *p)
{
    OWN(buf) Buf reason = {0};
    buf_put_text(&reason, "Errors occurred:\n");
    buf_put_bytes(&reason, buf_bytes(&p->plan.forbidden));
    buf_put_text(&p->body, "{\"ManualMigrate\":{\"reason\":");
    json_string(&p->body, buf_str(&reason));
    buf_put_text(&p->body, ",\"major_version_upgrade\":false");
    put_plan_json(&p->body, &p->plan);
    buf_put_text(&p->body, "}}");
}

void report_preview(Publishing *p)
{
    p->status = 200;
    p->json = true;
    buf_reset(&p->body);
    if (p->plan.forbidden.len) {
        report_forbidden(p);
        return;
    }
    char token[80];
    OWN(buf) Buf text = {0};
    OWN(buf) Buf sql = {0};
    OWN(buf) Buf clients = {0};
    plan_print(&text, &p->plan, !plain_style(p));
    put_ddl(&sql, p);
    ClientsReport report = {p, &clients, 0};
    host_on_loop(p->host, clients_on_loop, &report);
    migration_token(token, p->identity, p->db->program_hash, p->program_hash);
    buf_put_text(&p->body, "{\"AutoMigrate\":{\"migrate_plan\":");
    json_string(&p->body, buf_str(&text));
    buf_printf(&p->body, ",\"break_clients\":%s,\"token\":\"%s\",\"major_version_upgrade\":false",
               p->plan.breaks_clients ? "true" : "false", token);
    put_plan_json(&p->body, &p->plan);
    buf_put_text(&p->body, ",\"sql\":");
    json_string(&p->body, buf_str(&sql));
    buf_put_text(&p->body, ",\"clients\":[");
    buf_put_bytes(&p->body, buf_bytes(&clients));
    buf_put_text(&p->body, "]");
    if (p->dry_run)
        buf_printf(&p->body, ",\"executed\":{\"duration_us\":%llu}", (unsigned long long)p->executed_us);
    buf_put_text(&p->body, "}}");
}
