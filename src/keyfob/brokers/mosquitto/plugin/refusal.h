/* SPDX-License-Identifier: Apache-2.0 */
/* Saying no: to the client as far as the broker lets us, and to the log. */
#ifndef KEYFOB_REFUSAL_H
#define KEYFOB_REFUSAL_H

#include "keyfob.h"

/* Reason codes (MQTT 5.0 section 3.2.2.2) */
enum {
    CLIENT_IDENTIFIER_NOT_VALID = 0x85,
    NOT_AUTHORIZED = 0x87,
    SERVER_UNAVAILABLE = 0x88,
    BAD_AUTHENTICATION_METHOD = 0x8C,
};

/* Logs it, and returns what BASIC_AUTH returns to the broker. */
int refuse(const struct keyfob *keyfob, const struct mosquitto *client, uint8_t reason,
           const char *why);

/* The same for EXT_AUTH_START and EXT_AUTH_CONTINUE. For these every Mosquitto can say "not
 * authorized" and "bad authentication method", and else closes without a word, which is what
 * "unavailable" comes to (src/handle_connect.c, src/handle_auth.c). */
int refuse_extended(struct text client_id, uint8_t reason, const char *why);

void refusal_log(struct text client_id, uint8_t reason, const char *why);

#endif
