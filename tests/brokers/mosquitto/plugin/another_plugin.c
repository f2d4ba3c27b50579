/* SPDX-License-Identifier: Apache-2.0 */
/* Another plugin for Mosquitto, as an operator may have one already: it knows two users, lets them
 * do as they like below lawn/, leaves everybody else to others, and notes who it is asked about. */
#include "mosquitto_api.h"

#include <string.h>

static mosquitto_plugin_id_t *self;

int mosquitto_plugin_version(int count, const int *versions);
int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                          struct mosquitto_opt *options, int count);
int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count);

static bool is(const char *a, const char *b)
{
    return a != NULL && strcmp(a, b) == 0;
}

static bool is_user(const char *name)
{
    return is(name, "mower") || is(name, "token");
}

static int on_basic_auth(int event, void *data, void *userdata)
{
    (void)event;
    (void)userdata;
    const struct mosquitto_evt_basic_auth *asked = data;
    mosquitto_log_printf(MOSQ_LOG_NOTICE, "another: asked about %s",
                         asked->username ? asked->username : "nobody");
    if (!is_user(asked->username)) {
        return MOSQ_ERR_PLUGIN_DEFER;
    }
    bool right = is(asked->password, is(asked->username, "token") ? TOKEN : PASSWORD);
    return right ? MOSQ_ERR_SUCCESS : MOSQ_ERR_AUTH;
}

/* Its method: it asks for the password, and then goes by that. */
static int on_authentication(int event, void *data, void *userdata)
{
    (void)userdata;
    struct mosquitto_evt_extended_auth *asked = data;
    if (event == MOSQ_EVT_EXT_AUTH_START) {
        return is(asked->auth_method, "LAWN") ? MOSQ_ERR_AUTH_CONTINUE : MOSQ_ERR_NOT_SUPPORTED;
    }
    if (asked->data_in_len != strlen(PASSWORD) ||
        memcmp(asked->data_in, PASSWORD, strlen(PASSWORD)) != 0) {
        return MOSQ_ERR_AUTH;
    }
    return mosquitto_set_username(asked->client, "mower");
}

static int on_acl_check(int event, void *data, void *userdata)
{
    (void)event;
    (void)userdata;
    const struct mosquitto_evt_acl_check *check = data;
    if (!is_user(mosquitto_client_username(check->client))) {
        return MOSQ_ERR_PLUGIN_DEFER;
    }
    bool own = strncmp(check->topic, "lawn/", strlen("lawn/")) == 0;
    return own ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
}

static const struct {
    int event;
    mosquitto_callback callback;
} EVENTS[] = {
    {MOSQ_EVT_BASIC_AUTH, on_basic_auth},
    {MOSQ_EVT_ACL_CHECK, on_acl_check},
    {MOSQ_EVT_EXT_AUTH_START, on_authentication},
    {MOSQ_EVT_EXT_AUTH_CONTINUE, on_authentication},
};

enum { EVENT_COUNT = sizeof EVENTS / sizeof EVENTS[0] };

int mosquitto_plugin_version(int count, const int *versions)
{
    for (int i = 0; i < count; i++) {
        if (versions[i] == 5) {
            return 5;
        }
    }
    return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                          struct mosquitto_opt *options, int count)
{
    (void)userdata;
    (void)options;
    (void)count;
    self = identifier;
    for (size_t i = 0; i < EVENT_COUNT; i++) {
        int result =
            mosquitto_callback_register(self, EVENTS[i].event, EVENTS[i].callback, NULL, NULL);
        if (result != MOSQ_ERR_SUCCESS) {
            return result;
        }
    }
    return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
    (void)userdata;
    (void)options;
    (void)count;
    for (size_t i = 0; i < EVENT_COUNT; i++) {
        mosquitto_callback_unregister(self, EVENTS[i].event, EVENTS[i].callback, NULL);
    }
    return MOSQ_ERR_SUCCESS;
}
