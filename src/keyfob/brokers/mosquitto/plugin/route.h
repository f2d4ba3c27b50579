/* SPDX-License-Identifier: Apache-2.0 */
/* Whose a client is: the guard's workers share the clients by a hash of the client identifier.
 *
 * workers.py does the same in Python: all that concerns a client must reach one worker.
 */
#ifndef KEYFOB_ROUTE_H
#define KEYFOB_ROUTE_H

#include "text.h"

enum { ROUTE_MOST_WORKERS = 64 };

/* The worker, from 0, of this client; there is at least one of them. */
unsigned route_of(struct text client_id, unsigned workers);

#endif
