// what: a function of libc that no module may use
// publish: it uses socket
#include "attack.h"

ST_MODULE(attack, "1.0.0");

extern int socket(int, int, int);
ST_REDUCER(attack) { return socket(2, 1, 0) ? leave_a_trace(ctx) : ST_E_USER; }
