/* Bytes as a commit record from a hostile worker. What validates can be read part by part to its end. */
#include "host/schema/commit.h"

static SchemaImage image;

static void make_image(void)
{
    static const uint32_t ids[] = {10, 11, 12};
    ModuleBuilder *b = module_builder_new();
    BuilderColumn keyed[] = {{STR("id"), type_scalar(TYPE_STRING), COLUMN_PK, false, {0}},
                             {STR("n"), type_scalar(TYPE_U64), COLUMN_UNIQUE | COLUMN_AUTO_INC, false, {0}}};
    BuilderColumn keyless[] = {{STR("on"), type_option(module_builder_arena(b), type_scalar(TYPE_BYTES)), 0, false, {0}}};
    module_builder_table(b, STR("a_keyed"), ACCESS_PUBLIC, false, 2, keyed);
    module_builder_table(b, STR("b_keyless"), ACCESS_PUBLIC, false, 1, keyless);
    module_builder_table(b, STR("c_event"), ACCESS_PUBLIC, true, 1, keyless);
    Buf bytes = {0};
    Error err;
    ASSERT(module_builder_finish(b, &bytes, &err) == S_OK);
    if (module_def_from_bsatn(&image.def, buf_bytes(&bytes), &err) != S_OK)
        BUG("%s", err.text);
    image.version = 1;
    image.ids = ids;
    buf_done(&bytes);
}

static void read_it_all(Bytes record)
{
    Reader r = reader_of(record);
    Error err;
    CommitHeader h;
    CommitClient c;
    CommitSequence s;
    CommitTable ct;
    Bytes item;
    uint64_t rowno;
    ASSERT(commit_read_header(&r, &h, &err) == S_OK);
    for (uint16_t i = 0; i < h.nclients; i++)
        ASSERT(commit_read_client(&r, &c, &err) == S_OK);
    for (uint16_t i = 0; i < h.nsequences; i++)
        ASSERT(commit_read_sequence(&r, &s, &err) == S_OK);
    for (uint32_t i = 0; i < h.ntables; i++) {
        ASSERT(commit_read_table(&r, &ct, &err) == S_OK);
        const TableDef *t = schema_image_table(&image, ct.table_id);
        Reader p = reader_of(ct.payload);
        for (uint32_t k = 0; k < ct.ndeletes; k++)
            ASSERT(commit_next_key(&p, t, &item, &rowno, &err) == S_OK && item.len > 0);
        for (uint32_t k = 0; k < ct.ninserts; k++)
            ASSERT(commit_next_row(&p, t, &item, &rowno, &err) == S_OK && item.len > 0);
        ASSERT(reader_left(&p) == 0);
    }
    ASSERT(reader_left(&r) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!image.def)
        make_image();
    Error err;
    if (commit_validate(bytes_of(data, size), &image, &err) == S_OK)
        read_it_all(bytes_of(data, size));
    if (size < COMMIT_HEADER_BYTES)
        return 0;
    uint8_t *fixed = x_alloc(size); /* the same with a header that passes, to get further */
    memcpy(fixed, data, size);
    store_u32(fixed, COMMIT_MAGIC);
    store_u32(fixed + 4, (uint32_t)size);
    store_u32(fixed + 32, 1);
    store_u16(fixed + 36, data[36] & 1);
    store_u16(fixed + 38, data[38] & 1);
    store_u32(fixed + 40, data[40] & 3);
    if (commit_validate(bytes_of(fixed, size), &image, &err) == S_OK)
        read_it_all(bytes_of(fixed, size));
    free(fixed);
    return 0;
}
