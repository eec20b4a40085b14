/* Commit records: what is written is read back; whatever a hostile worker may write is refused with words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "host/schema/commit.h"

static const uint32_t ids[] = {10, 11, 12};

static int make_image(void **state)
{
    SchemaImage *s = NEW(SchemaImage);
    ModuleBuilder *b = module_builder_new();
    BuilderColumn keyed[] = {{STR("id"), type_scalar(TYPE_U32), COLUMN_PK | COLUMN_AUTO_INC, false, {0}},
                             {STR("name"), type_scalar(TYPE_STRING), 0, false, {0}}};
    BuilderColumn keyless[] = {{STR("on"), type_scalar(TYPE_BOOL), 0, false, {0}}};
    module_builder_table(b, STR("a_keyed"), ACCESS_PUBLIC, false, 2, keyed);
    module_builder_table(b, STR("b_keyless"), ACCESS_PUBLIC, false, 1, keyless);
    module_builder_table(b, STR("c_event"), ACCESS_PUBLIC, true, 1, keyless);
    Buf bytes = {0};
    Error err;
    if (module_builder_finish(b, &bytes, &err) != S_OK || module_def_from_bsatn(&s->def, buf_bytes(&bytes), &err) != S_OK)
        fail_msg("%s", err.text);
    buf_done(&bytes);
    s->version = 3;
    s->ids = ids;
    *state = s;
    return 0;
}

static int free_image(void **state)
{
    SchemaImage *s = *state;
    module_def_unref(s->def);
    free(s);
    return 0;
}

/* One client, one sequence, a changed keyed row, a new keyless row. */
static void write_example(Buf *out)
{
    size_t at = commit_begin(out);
    CommitClient client = {true, {1, 2}, {3}, STR("{\"sub\":\"me\"}")};
    CommitSequence seq = {10, 0, 4096};
    commit_put_client(out, &client);
    commit_put_sequence(out, &seq);
    size_t t = commit_begin_table(out, 10);
    buf_put_u32(out, 7);
    buf_put_u32(out, 7);
    buf_put_str(out, STR("seven"));
    commit_end_table(out, t, 1, 1);
    t = commit_begin_table(out, 11);
    buf_put_u64(out, 99);
    buf_put_u8(out, 1);
    commit_end_table(out, t, 0, 1);
    CommitHeader h = {.offset = 5, .call_seq = 6, .timestamp_us = -1, .schema_version = 3, .nclients = 1, .nsequences = 1, .ntables = 2};
    commit_end(out, at, &h);
}

static void a_record_is_read_back_part_by_part(void **state)
{
    Buf out = {0};
    Error err;
    write_example(&out);
    assert_int_equal(commit_validate(buf_bytes(&out), *state, &err), S_OK);
    Reader r = reader_of(buf_bytes(&out));
    CommitHeader h;
    CommitClient c;
    CommitSequence s;
    CommitTable t;
    Bytes item;
    uint64_t rowno = 0;
    assert_int_equal(commit_read_header(&r, &h, &err), S_OK);
    assert_true(h.length == out.len && h.offset == 5 && h.call_seq == 6 && h.timestamp_us == -1 && h.schema_version == 3 && h.ntables == 2);
    assert_int_equal(commit_read_client(&r, &c, &err), S_OK);
    assert_true(c.connected && c.identity[1] == 2 && c.connection_id[0] == 3 && str_is(c.claims, "{\"sub\":\"me\"}"));
    assert_int_equal(commit_read_sequence(&r, &s, &err), S_OK);
    assert_true(s.table_id == 10 && s.column == 0 && s.allocated == 4096);
    assert_int_equal(commit_read_table(&r, &t, &err), S_OK);
    const TableDef *keyed = schema_image_table(*state, t.table_id);
    Reader p = reader_of(t.payload);
    assert_int_equal(commit_next_key(&p, keyed, &item, &rowno, &err), S_OK);
    assert_int_equal(item.len, 4);
    assert_int_equal(commit_next_row(&p, keyed, &item, &rowno, &err), S_OK);
    assert_int_equal(item.len, 13);
    assert_int_equal(reader_left(&p), 0);
    assert_int_equal(commit_read_table(&r, &t, &err), S_OK);
    p = reader_of(t.payload);
    assert_int_equal(commit_next_row(&p, schema_image_table(*state, 11), &item, &rowno, &err), S_OK);
    assert_true(item.len == 9 && rowno == 99);
    assert_int_equal(reader_left(&r), 0);
    assert_null(schema_image_table(*state, 13));
    buf_done(&out);
}

static void every_truncation_is_refused(void **state)
{
    Buf out = {0};
    Error err;
    write_example(&out);
    for (size_t n = 0; n < out.len; n++) {
        uint8_t *exact = x_alloc(n);
        memcpy(exact, out.ptr, n);
        assert_int_equal(commit_validate(bytes_of(exact, n), *state, &err), S_INVALID);
        if (n >= COMMIT_HEADER_BYTES) { /* with a length that agrees, the parts themselves must notice */
            store_u32(exact + 4, (uint32_t)n);
            assert_int_equal(commit_validate(bytes_of(exact, n), *state, &err), S_INVALID);
        }
        free(exact);
    }
    buf_done(&out);
}

static void expect(void **state, Buf *record, const char *want)
{
    Error err = {0};
    assert_int_equal(commit_validate(buf_bytes(record), *state, &err), S_INVALID);
    assert_string_equal(err.text, want);
    buf_done(record);
}

/* A record with one table part. */
static Buf one_table(uint32_t id, uint32_t ndeletes, uint32_t ninserts, const char *payload, size_t len)
{
    Buf out = {0};
    size_t at = commit_begin(&out), t = commit_begin_table(&out, id);
    buf_put(&out, payload, len);
    commit_end_table(&out, t, ndeletes, ninserts);
    commit_end(&out, at, &(CommitHeader){.schema_version = 3, .ntables = 1});
    return out;
}

static void false_records_are_refused_with_words(void **state)
{
    Buf b = one_table(77, 0, 0, "", 0);
    expect(state, &b, "commit record: no table 77 in schema version 3");
    b = one_table(12, 0, 1, "\0\0\0\0\0\0\0\0\1", 9);
    expect(state, &b, "commit record: rows of event table `c_event`");
    b = one_table(10, 0, 1, "\1\0\0\0\2\0\0\0\xc3(", 10);
    expect(state, &b, "commit record: table `a_keyed`, insert 0: invalid utf8");
    b = one_table(10, 2, 0, "\1\0\0\0\2\0", 6);
    expect(state, &b, "commit record: table `a_keyed`, delete 1: data too short for u32: Expected 4, given 2");
    b = one_table(10, 1, 0, "\1\0\0\0\2", 5);
    expect(state, &b, "commit record: table `a_keyed`, 1 bytes follow its last row");
    b = one_table(10, UINT32_MAX, UINT32_MAX, "\1\0\0\0", 4);
    expect(state, &b, "commit record: table 10 has 4294967295 deletes and 4294967295 inserts in 4 bytes");
    b = one_table(11, 0, 1, "\0\0\0\0\0\0\0\0\2", 9);
    expect(state, &b, "commit record: table `b_keyless`, insert 0: byte 2 is not a bool: Expected 0 or 1");
    b = one_table(10, 0, 0, "", 0);
    store_u32(b.ptr, 1);
    expect(state, &b, "commit record: magic 0x00000001, expected 0x31435453");
    b = one_table(10, 0, 0, "", 0);
    store_u32(b.ptr + 32, 4);
    expect(state, &b, "commit record: schema version 4, expected 3");
    b = one_table(10, 0, 0, "", 0);
    buf_put_u8(&b, 0);
    expect(state, &b, "commit record: length 60, but 61 bytes are there");
}

static void a_table_appears_once_and_sequences_exist(void **state)
{
    Buf b = {0};
    size_t at = commit_begin(&b);
    for (int i = 0; i < 2; i++)
        commit_end_table(&b, commit_begin_table(&b, 10), 0, 0);
    commit_end(&b, at, &(CommitHeader){.schema_version = 3, .ntables = 2});
    expect(state, &b, "commit record: table `a_keyed` appears twice");
    at = commit_begin(&b);
    commit_put_sequence(&b, &(CommitSequence){10, 1, 5});
    commit_end(&b, at, &(CommitHeader){.schema_version = 3, .nsequences = 1});
    expect(state, &b, "commit record: table 10 has no auto-increment on column 1");
}

static void writing_past_a_limit_is_noticed_once_at_the_end(void **state)
{
    (void)state;
    Buf out = buf_with_max(50);
    write_example(&out);
    assert_false(buf_ok(&out));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_read_back_part_by_part),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(false_records_are_refused_with_words),
        cmocka_unit_test(a_table_appears_once_and_sequences_exist),
        cmocka_unit_test(writing_past_a_limit_is_noticed_once_at_the_end),
    };
    return cmocka_run_group_tests(tests, make_image, free_image);
}
