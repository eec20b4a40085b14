/* socket.h - a WebSocket to a host: libcurl connects (TLS included), wslay frames, blocking with a deadline. */
#ifndef CLI_SOCKET_H
#define CLI_SOCKET_H
#include "cli/cli.h"
typedef struct Socket Socket;
typedef enum SocketEvent { SOCKET_MESSAGE, SOCKET_CLOSED, SOCKET_TIMEOUT } SocketEvent;
/* GET url (http or https) with an upgrade to `protocol`; fails the command when the host refuses. */
Socket *socket_open(Cli *c, const char *url, const char *token, const char *protocol);
void socket_send(Socket *s, Bytes message);
/* The next binary message, until `deadline_ns` of clock_monotonic_ns (0: none). The message stays valid until the next
 * call. */
SocketEvent socket_next(Socket *s, Bytes *ret, uint64_t deadline_ns);
const char *socket_reason(const Socket *s); /* why it was closed, "" when nothing was said */
void socket_close(Socket *s);
#endif
