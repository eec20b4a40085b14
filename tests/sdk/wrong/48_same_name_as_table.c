// gcc: .user. redeclared as different kind of symbol
// clang: redefinition of .user. as different kind of symbol
#include "pre.h"
ST_REDUCER(user) { return ST_OK; }
