/* Raw bytes as WebSocket frames of a v3 session; the rest is http_request_fuzz.c. */
#define FUZZ_PREFIX                                                                                                                        \
    "GET /v1/database/a/subscribe HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"       \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v3.bsatn.spacetimedb\r\n\r\n"
#include "http_request_fuzz.c"
