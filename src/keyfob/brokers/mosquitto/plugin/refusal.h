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
};

/* Logs it, and returns what BASIC_AUTH returns to the broker. */
int refuse(const struct keyfob *keyfob, const struct mosquitto *client, uint8_t reason,
           const char *why);

void refusal_log(struct text client_id, uint8_t reason, const char *why);

#endif
