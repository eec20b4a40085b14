/* claims.h - single texts out of the claims of a token, which are a JSON object (RFC 8259). Verified, but written by whoever issued it. */
#ifndef HOST_WORKER_CLAIMS_H
#define HOST_WORKER_CLAIMS_H

#include "host/base/base.h"

/* The `index`-th text of the member `name`: a string is a list of one. Appended to `out`, unescaped; false: there is none. Members of
 * other types and texts inside of other values do not count; of two members of one name the first does. Linear in `json`. */
bool claim_text(Str json, Str name, uint32_t index, Buf *out);

#endif
