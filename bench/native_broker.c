/* SPDX-License-Identifier: Apache-2.0 */
#include "native_broker.h"

#include <stddef.h>
#include <stdlib.h>

const char *mosquitto_client_id(const struct mosquitto *client)
{
    return client->id;
}

/* Nothing else is asked about a message of a client that is on record; if it were, what is measured
 * would be something else. */

#define NOT_ASKED(returned, declarator)                                                            \
    returned declarator                                                                            \
    {                                                                                              \
        abort();                                                                                   \
    }

#pragma GCC diagnostic ignored "-Wunused-parameter"

NOT_ASKED(void, mosquitto_log_printf(int level, const char *format, ...))
NOT_ASKED(const char *, mosquitto_client_address(const struct mosquitto *client))
NOT_ASKED(bool, mosquitto_client_clean_session(const struct mosquitto *client))
NOT_ASKED(void *, mosquitto_client_certificate(const struct mosquitto *client))
NOT_ASKED(int, mosquitto_client_protocol(const struct mosquitto *client))
NOT_ASKED(int, mosquitto_client_protocol_version(const struct mosquitto *client))
NOT_ASKED(const char *, mosquitto_client_username(const struct mosquitto *client))
NOT_ASKED(int, mosquitto_set_username(struct mosquitto *client, const char *username))
NOT_ASKED(int, mosquitto_kick_client_by_clientid(const char *client_id, bool with_will))
NOT_ASKED(int, mosquitto_kick_client_by_username(const char *username, bool with_will))
