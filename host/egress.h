/* egress.h - HTTP requests of modules to the outside world (functions.md section 8).
 *
 * Policy:  loopback, private, link-local and other special ranges are refused unless the operator allows them. The address that is
 *          checked is the one a socket is about to be opened for, whether it stood in the URL, came from a name or from a redirect;
 *          so a name that resolves differently the next time gains nothing. Only http and https; proxies of the environment are ignored.
 * Thread:  one of its own with libcurl's multi interface; egress_submit may be called from any.
 * Trust:   a request's record comes from a worker. Its texts never go into errors, the host's name excepted: query strings and headers
 *          hold secrets. */
#ifndef HOST_EGRESS_H
#define HOST_EGRESS_H

#include "host/base/base.h"

struct sockaddr;

enum { EGRESS_RANGES_MAX = 64, EGRESS_TIMEOUT_MS_DEFAULT = 30000, EGRESS_TIMEOUT_MS_MAX = 180000, EGRESS_REDIRECTS_MAX = 10 };

typedef struct EgressRange {
    uint8_t address[16], bytes; /* 4 or 16 of them */
    uint8_t bits;
} EgressRange;
typedef struct EgressPolicy {
    bool off; /* no request is made */
    uint32_t nallowed;
    EgressRange allowed[EGRESS_RANGES_MAX]; /* although they are special */
} EgressPolicy;

/* Add the ranges of "10.1.0.0/16,fd00::/8,192.168.1.7". */
MUST_CHECK Status egress_allow(EgressPolicy *p, const char *list, Error *err);
bool egress_permits(const EgressPolicy *p, const struct sockaddr *to);

/* A FRAME_HTTP's payload (records.h) behind its request number, taken apart and checked. Everything borrows from `record`. */
typedef struct EgressHeader {
    Str name;
    Bytes value;
} EgressHeader;
typedef struct EgressRequest {
    uint32_t timeout_ms;
    Str method, url;
    uint32_t nheaders;
    EgressHeader *headers; /* in `arena` */
    Bytes body;
} EgressRequest;
MUST_CHECK Status egress_request_read(EgressRequest *ret, Bytes record, Arena *arena, Error *err);

uint32_t egress_timeout_ms(uint32_t asked); /* what a request for so long gets */

typedef struct Egress Egress;
MUST_CHECK Status egress_start(Egress **ret, const EgressPolicy *policy, Error *err);
void egress_stop(Egress *e); /* what is under way ends unanswered: `done` with NULL; NULL is fine */
/* Perform the request in `record` (copied), which egress_request_read takes. `done` is called once, on the egress thread: `answer` is the
 * payload of CALL_ANSWER behind the request number, its own afterwards. */
void egress_submit(Egress *e, Bytes record, void (*done)(void *ctx, Buf *answer), void *ctx);

#endif
