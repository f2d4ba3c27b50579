/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin for Mosquitto that allows every message and does no more: what a broker pays for having
 * one at all, which no plugin can save. */
#include "mosquitto_api.h"

#include <stddef.h>

static mosquitto_plugin_id_t *self;

int mosquitto_plugin_version(int count, const int *versions);
int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                          struct mosquitto_opt *options, int count);
int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count);

static int on_acl_check(int event, void *data, void *userdata)
{
    (void)event;
    (void)data;
    (void)userdata;
    return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_version(int count, const int *versions)
{
    (void)count;
    (void)versions;
    return 5;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                          struct mosquitto_opt *options, int count)
{
    (void)userdata;
    (void)options;
    (void)count;
    self = identifier;
    return mosquitto_callback_register(self, MOSQ_EVT_ACL_CHECK, on_acl_check, NULL, NULL);
}

int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
    (void)userdata;
    (void)options;
    (void)count;
    return mosquitto_callback_unregister(self, MOSQ_EVT_ACL_CHECK, on_acl_check, NULL);
}
