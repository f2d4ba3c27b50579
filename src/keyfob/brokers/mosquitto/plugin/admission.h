/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes in: BASIC_AUTH, answered by the guard; and what authentication.c needs of it. */
#ifndef KEYFOB_ADMISSION_H
#define KEYFOB_ADMISSION_H

#include "arrival.h"

/* RELOAD: the broker will ask again about every client that it has. */
void admission_reloaded(struct keyfob *keyfob, int64_t now);

/* Is the broker asking about a client that it has, for certain, and not about a CONNECT? */
bool admission_is_recheck(const struct keyfob *keyfob, const struct mosquitto *client);

/* BASIC_AUTH: returns what the event returns to the broker. */
int admission_check(struct keyfob *keyfob, const struct mosquitto_evt_basic_auth *event);

/* What TICK does, as far as it can be done when a connection asks to come in. */
void admission_instead_of_tick(struct keyfob *keyfob, const struct mosquitto *client);

/* What the guard is told of a connection that asks to come in, with a new epoch; its credentials
 * are the caller's to add. */
struct wire_connect admission_describe(struct keyfob *keyfob, const struct mosquitto *client,
                                       uint8_t thumbprint[WIRE_THUMBPRINT]);
struct text admission_peer(const struct mosquitto *client);

/* Lets it in: from now on it is on record, its username is the principal, and the guard is told.
 * False, and why, where it may not come in after all. */
bool admission_accept(struct keyfob *keyfob, struct mosquitto *client,
                      const struct wire_connect *connect, const struct wire_grant *grant,
                      struct refused *refused);

#endif
