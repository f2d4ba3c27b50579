/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes in: BASIC_AUTH, answered by the guard. */
#ifndef KEYFOB_ADMISSION_H
#define KEYFOB_ADMISSION_H

#include "keyfob.h"

/* RELOAD: the broker will ask again about every client that it has. */
void admission_reloaded(struct keyfob *keyfob, int64_t now);

/* Is the broker asking about a client that it has, for certain, and not about a CONNECT? */
bool admission_is_recheck(const struct keyfob *keyfob, const struct mosquitto *client);

/* BASIC_AUTH: returns what the event returns to the broker. */
int admission_check(struct keyfob *keyfob, const struct mosquitto_evt_basic_auth *event);

#endif
