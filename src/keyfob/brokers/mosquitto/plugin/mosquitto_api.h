/* SPDX-License-Identifier: Apache-2.0 */
/* What this plugin uses of Mosquitto's plugin API, version 5.
 *
 * Declared here so that building needs a C compiler and no broker headers. The layouts and numbers
 * are those of Mosquitto 2.0.0 to 2.1.2 (include/mosquitto_broker.h there); they are part of the
 * broker's binary interface. The functions are resolved from the broker that loads the plugin.
 */
#ifndef KEYFOB_MOSQUITTO_API_H
#define KEYFOB_MOSQUITTO_API_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct mosquitto;
struct mqtt5__property;
typedef struct mosquitto_plugin_id_t mosquitto_plugin_id_t;

enum {
    MOSQ_EVT_RELOAD = 1,
    MOSQ_EVT_ACL_CHECK = 2,
    MOSQ_EVT_BASIC_AUTH = 3,
    MOSQ_EVT_EXT_AUTH_START = 4,
    MOSQ_EVT_EXT_AUTH_CONTINUE = 5,
    MOSQ_EVT_TICK = 9,
    MOSQ_EVT_DISCONNECT = 10,
    MOSQ_EVT_CONNECT = 11,        /* from 2.1 on */
    MOSQ_EVT_CLIENT_OFFLINE = 28, /* from 2.1 on */
};

enum {
    MOSQ_ERR_AUTH_DELAYED = -5, /* from 2.1 on */
    MOSQ_ERR_AUTH_CONTINUE = -4,
    MOSQ_ERR_SUCCESS = 0,
    MOSQ_ERR_NOMEM = 1,
    MOSQ_ERR_INVAL = 3,
    MOSQ_ERR_NOT_FOUND = 6,
    MOSQ_ERR_NOT_SUPPORTED = 10,
    MOSQ_ERR_AUTH = 11,
    MOSQ_ERR_ACL_DENIED = 12,
    MOSQ_ERR_UNKNOWN = 13,
    MOSQ_ERR_PLUGIN_DEFER = 17, /* not mine; 2.1 also has IGNORE, 32: as if I were not here */
};

enum {
    MOSQ_LOG_INFO = 1,
    MOSQ_LOG_NOTICE = 2,
    MOSQ_LOG_WARNING = 4,
    MOSQ_LOG_ERR = 8,
};

enum {
    MOSQ_ACL_READ = 1,
    MOSQ_ACL_WRITE = 2,
    MOSQ_ACL_SUBSCRIBE = 4,
    MOSQ_ACL_UNSUBSCRIBE = 8,
};

enum { MOSQ_PROTOCOL_WEBSOCKETS = 2 }; /* what mosquitto_client_protocol says of a WebSocket */

struct mosquitto_opt {
    char *key;
    char *value;
};

struct mosquitto_evt_acl_check {
    void *future;
    struct mosquitto *client;
    const char *topic;
    const void *payload;
    struct mqtt5__property *properties;
    int access;
    uint32_t payloadlen;
    uint8_t qos;
    bool retain;
    void *future2[4];
};

struct mosquitto_evt_basic_auth {
    void *future;
    struct mosquitto *client;
    char *username;
    char *password;
    void *future2[4];
};

/* The events EXT_AUTH_START and EXT_AUTH_CONTINUE look alike. auth_method is NULL in the second
 * before 2.1; data_out is malloc'ed here and freed by the broker. */
struct mosquitto_evt_extended_auth {
    void *future;
    struct mosquitto *client;
    const void *data_in;
    void *data_out;
    uint16_t data_in_len;
    uint16_t data_out_len;
    const char *auth_method;
    void *future2[3];
};

struct mosquitto_evt_connect {
    void *future;
    struct mosquitto *client;
    void *future2[4];
};

/* The events DISCONNECT and CLIENT_OFFLINE look alike. */
struct mosquitto_evt_disconnect {
    void *future;
    struct mosquitto *client;
    int reason;
    void *future2[4];
};

typedef int (*mosquitto_callback)(int event, void *event_data, void *userdata);

int mosquitto_callback_register(mosquitto_plugin_id_t *identifier, int event,
                                mosquitto_callback callback, const void *event_data,
                                void *userdata);
int mosquitto_callback_unregister(mosquitto_plugin_id_t *identifier, int event,
                                  mosquitto_callback callback, const void *event_data);

void mosquitto_log_printf(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *mosquitto_client_address(const struct mosquitto *client);
bool mosquitto_client_clean_session(const struct mosquitto *client);
const char *mosquitto_client_id(const struct mosquitto *client);
void *mosquitto_client_certificate(const struct mosquitto *client);
int mosquitto_client_protocol(const struct mosquitto *client);
int mosquitto_client_protocol_version(const struct mosquitto *client);
const char *mosquitto_client_username(const struct mosquitto *client);
int mosquitto_set_username(struct mosquitto *client, const char *username);
int mosquitto_kick_client_by_clientid(const char *client_id, bool with_will);
int mosquitto_kick_client_by_username(const char *username, bool with_will);

/* mosquitto_complete_basic_auth, which Mosquitto has from 2.1 on: asked for by name. */
typedef void (*mosquitto_complete)(const char *client_id, int result);

#endif
