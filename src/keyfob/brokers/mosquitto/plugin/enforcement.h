/* SPDX-License-Identifier: Apache-2.0 */
/* What clients that are in may do, and for how long: ACL_CHECK, expiry, what the guard ends. */
#ifndef KEYFOB_ENFORCEMENT_H
#define KEYFOB_ENFORCEMENT_H

#include "keyfob.h"

/* ACL_CHECK: returns what the event returns to the broker, MOSQ_ERR_SUCCESS or _ACL_DENIED, and
 * about strangers MOSQ_ERR_PLUGIN_DEFER where the mode is mixed. Any other value would drop the
 * client. */
int enforcement_check(struct keyfob *keyfob, const struct mosquitto_evt_acl_check *event,
                      enum option_mode mode);

/* A connection begins, whoever will decide about it: none that was before has its address. (On a
 * reload this may also be one that is on record, or whose session is stored: nothing changes.) */
void enforcement_connecting(struct keyfob *keyfob, const struct mosquitto *client);

/* CONNECT, which 2.1 has: it is in, whoever has let it in, also where nobody was asked. */
void enforcement_connected(struct keyfob *keyfob, const struct mosquitto *client);

/* DISCONNECT and CLIENT_OFFLINE; over: the event says that the session ended with the connection.
 */
void enforcement_disconnected(struct keyfob *keyfob, const struct mosquitto *client, bool over);

/* TICK: closes what has to be closed. */
void enforcement_tick(struct keyfob *keyfob, int64_t now);

/* Now and then: has the wall clock been stepped forward? */
void enforcement_watch_clock(struct keyfob *keyfob);

/* What the guard sends. */
void enforcement_on_record(struct keyfob *keyfob, const struct wire_record *record);
void enforcement_on_end(struct keyfob *keyfob, const struct wire_end *end);

#endif
