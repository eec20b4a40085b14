// gcc: .st_viewrow_you. undeclared
// clang: use of undeclared identifier 'st_viewrow_you'
#include "pre.h"
ST_VIEW_KEY(you, id);
