/* identity.h - identities: derivation, text forms, and the hashes they rest on.
 * Source: http-api.md 3.1 and 3.2; BLAKE3 (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020); Keccak (Bertoni et al., original padding). Pure. */
#ifndef HOST_WIRE_IDENTITY_H
#define HOST_WIRE_IDENTITY_H
#include "host/base/base.h"
void blake3_256(uint8_t out[32], Bytes input);
void keccak_256(uint8_t out[32], Bytes input);
/* Wire order (least significant byte first) in all `uint8_t[32]` / `[16]` here; text is big-endian hex. */
void identity_from_claims(uint8_t out[32], Str issuer, Str subject);
void identity_to_hex(char out[65], const uint8_t identity[32]);
bool identity_from_hex(uint8_t out[32], Str hex); /* 64 digits, optional 0x or X' prefix */
void connection_id_to_hex(char out[33], const uint8_t id[16]);
bool connection_id_from_hex(uint8_t out[16], Str hex); /* exactly 32 digits */
/* `[a-z0-9]+(-[a-z0-9]+)*`, at most 64 bytes, not an identity: S_INVALID with the texts of http-api.md 5.1. */
MUST_CHECK Status database_name_check(Str name, Error *err);
#endif
