/* SPDX-License-Identifier: Apache-2.0 */
/* Enhanced authentication (MQTT 5.0 section 4.12): a client lets a method show its token, when it
 * connects and, on the same connection, before that token runs out. */
#ifndef KEYFOB_AUTHENTICATION_H
#define KEYFOB_AUTHENTICATION_H

#include "keyfob.h"

/* EXT_AUTH_START and EXT_AUTH_CONTINUE: return what the event returns to the broker. */
int authentication_start(struct keyfob *keyfob, struct mosquitto_evt_extended_auth *event);
int authentication_continue(struct keyfob *keyfob, struct mosquitto_evt_extended_auth *event);

/* DISCONNECT, before anything else is done about it. */
void authentication_disconnected(struct keyfob *keyfob, struct mosquitto *client);

/* TICK: closes clients that were asked for more and have not said it. */
void authentication_tick(struct keyfob *keyfob, int64_t now);

#endif
