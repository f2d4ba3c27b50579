/* SPDX-License-Identifier: Apache-2.0 */
#include "refusal.h"

enum { MQTT_5 = 5 };

/* What the event returns for a reason code of MQTT 5.0 (src/handle_connect.c). Mosquitto 2.1 hands
 * some of them on, but to a client of MQTT 3.1.1 says "not authorized" for all; 2.0 can say nothing
 * but that. "Unavailable" must not look like it, or devices would throw good tokens away: where it
 * cannot be said, the connection is closed without a CONNACK. */
static int refusal(const struct keyfob *keyfob, const struct mosquitto *client, uint8_t reason)
{
    bool can_say = keyfob->broker_2_1 && mosquitto_client_protocol_version(client) >= MQTT_5;
    if (reason == SERVER_UNAVAILABLE) {
        return can_say ? SERVER_UNAVAILABLE : MOSQ_ERR_UNKNOWN;
    }
    switch (can_say ? reason : 0) {
    case 0x80: /* unspecified error */
    case 0x83: /* implementation specific error */
    case CLIENT_IDENTIFIER_NOT_VALID:
    case 0x86: /* bad user name or password */
    case 0x89: /* server busy */
    case 0x8A: /* banned */
    case BAD_AUTHENTICATION_METHOD:
    case 0x9F: /* connection rate exceeded */ return reason;
    default: return MOSQ_ERR_AUTH;
    }
}

void refusal_log(struct text client_id, uint8_t reason, const char *why)
{
    char shown[TEXT_FOR_LOG_SIZE];
    mosquitto_log_printf(MOSQ_LOG_NOTICE, "Keyfob: client %s refused: %s (0x%02X)",
                         text_for_log(client_id, shown), why, reason);
}

int refuse_extended(struct text client_id, uint8_t reason, const char *why)
{
    refusal_log(client_id, reason, why);
    switch (reason) {
    case BAD_AUTHENTICATION_METHOD: return MOSQ_ERR_NOT_SUPPORTED;
    case SERVER_UNAVAILABLE: return MOSQ_ERR_UNKNOWN;
    default: return MOSQ_ERR_AUTH;
    }
}

int refuse(const struct keyfob *keyfob, const struct mosquitto *client, uint8_t reason,
           const char *why)
{
    refusal_log(text_of(mosquitto_client_id(client)), reason, why);
    return refusal(keyfob, client, reason);
}
