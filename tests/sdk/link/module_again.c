#include "shared.h"
ST_MODULE(two_files, "1.0.1");
