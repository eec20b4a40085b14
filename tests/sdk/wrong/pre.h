/* What every wrong module starts with: one good table. */
#include "spacetimedb.h"

ST_TABLE(user, PUBLIC,
    (st_identity, identity, PK),
    (st_str,      name),
    (bool,        online));
