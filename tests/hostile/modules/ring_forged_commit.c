// what: a commit record for a table that is not there
// answer: .
#include "attack.h"

ST_MODULE(attack, "1.0.0");

ST_REDUCER(attack) {
    if (leave_a_trace(ctx)) return ST_E_USER;
    CURSORS_OR_FAIL(c);
    struct __attribute__((packed)) { uint32_t magic, length; uint64_t offset, call; int64_t at; uint32_t version; uint16_t clients, sequences; uint32_t tables, id, deletes, inserts, bytes; uint8_t fill[16]; } r = { 0x31435453, sizeof r, 3, 0, 0, 1, 0, 0, 1, 9999, 0, 1, 16, { 0 } };
    put_record(c, COMMIT, &r, sizeof r);
    return ST_OK;
}
