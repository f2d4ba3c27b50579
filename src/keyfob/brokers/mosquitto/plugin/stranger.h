/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that bring no token, or were let in by something else: a password_file, an acl_file,
 * another plugin, a certificate.
 *
 * In the mode exclusive there is nothing for them here. In the mode mixed they are left to whatever
 * else the broker asks, but for one thing: what the broker keeps for a client of ours is not
 * theirs.
 */
#ifndef KEYFOB_STRANGER_H
#define KEYFOB_STRANGER_H

#include "keyfob.h"

/* BASIC_AUTH where the mode is mixed: is this for somebody else to decide? */
bool stranger_asks(const struct keyfob *keyfob, const struct mosquitto_evt_basic_auth *event);

/* Then this is what the event returns to the broker: left to others, or refused by us. */
int stranger_answer(struct keyfob *keyfob, const struct mosquitto_evt_basic_auth *event);

/* EXT_AUTH_CONTINUE where the mode is mixed: has somebody else asked this client for more? */
bool stranger_continues(struct keyfob *keyfob, const struct mosquitto_evt_extended_auth *event);

/* EXT_AUTH_START by a method that the guard does not know: what the event returns to the broker. */
int stranger_method(struct keyfob *keyfob, const struct mosquitto_evt_extended_auth *event);

/* ACL_CHECK by a client that is not the one on record, where there is a record at all (or NULL):
 * returns what the event returns. The record may be gone then. */
int stranger_check(struct keyfob *keyfob, struct record *record,
                   const struct mosquitto_evt_acl_check *event, enum option_mode mode);

#endif
