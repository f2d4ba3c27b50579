/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin for Mosquitto that closes the client that a file names, whether it has a connection or
 * not, and tells the log what came of it. */
#include "mosquitto_api.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static mosquitto_plugin_id_t *self;
static char ask[4096];

int mosquitto_plugin_version(int count, const int *versions);
int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                          struct mosquitto_opt *options, int count);
int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count);

static int on_tick(int event, void *data, void *userdata)
{
    (void)event;
    (void)data;
    (void)userdata;
    char client_id[256] = "";
    FILE *file = fopen(ask, "r");
    if (file == NULL) {
        return 0;
    }
    bool read = fgets(client_id, sizeof client_id, file) != NULL;
    fclose(file);
    unlink(ask);
    if (read) {
        int result = mosquitto_kick_client_by_clientid(client_id, false);
        mosquitto_log_printf(MOSQ_LOG_NOTICE, "kicking: %s: %d", client_id, result);
    }
    return 0;
}

int mosquitto_plugin_version(int count, const int *versions)
{
    return count > 0 && versions[0] >= 5 ? 5 : -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                          struct mosquitto_opt *options, int count)
{
    (void)userdata;
    self = identifier;
    for (int i = 0; i < count; i++) {
        if (strcmp(options[i].key, "ask") == 0) {
            (void)snprintf(ask, sizeof ask, "%s", options[i].value);
        }
    }
    return mosquitto_callback_register(self, MOSQ_EVT_TICK, on_tick, NULL, NULL);
}

int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
    (void)userdata;
    (void)options;
    (void)count;
    return mosquitto_callback_unregister(self, MOSQ_EVT_TICK, on_tick, NULL);
}
