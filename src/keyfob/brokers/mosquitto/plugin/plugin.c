/* SPDX-License-Identifier: Apache-2.0 */
/* Keyfob's plugin for Mosquitto: the wiring.
 *
 * One decision per connection, made by the guard (admission.c, guard_link.c); every message checked
 * here, without leaving the broker (enforcement.c, permissions.c). All callbacks run in the
 * broker's one thread.
 *
 * With per_listener_settings the broker loads the plugin once for each listener that names it. They
 * share one state, one link and one set of options: the first mosquitto_plugin_init makes it, the
 * last mosquitto_plugin_cleanup ends it.
 */
#include "admission.h"
#include "deadline.h"
#include "enforcement.h"
#include "replacement.h"
#include "wake.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <sys/random.h>

#define EXPORTED __attribute__((visibility("default")))

enum {
    PLUGIN_VERSION = 5,
    POLL_MS = 100,
    BROKER_2_0 = 2000000, /* what HELLO says: which minor version is all that can be found out */
    BROKER_2_1 = 2001000,
};

static struct keyfob *shared;
static unsigned users;

EXPORTED int mosquitto_plugin_version(int count, const int *versions);
EXPORTED int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                                   struct mosquitto_opt *options, int option_count);
EXPORTED int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options,
                                      int option_count);

/* Events */

static int on_basic_auth(int event, void *data, void *userdata)
{
    (void)event;
    return admission_check(userdata, data);
}

static int on_acl_check(int event, void *data, void *userdata)
{
    (void)event;
    struct keyfob *keyfob = userdata;
    if (!keyfob->ticked && wake_take()) {
        /* A broker that never calls TICK: a revocation is heard here. Connections are not closed,
         * for this may be one of them, but they may do nothing any more. */
        link_service(&keyfob->link, boottime_ms());
    }
    return enforcement_check(keyfob, data);
}

static int on_disconnect(int event, void *data, void *userdata)
{
    const struct mosquitto_evt_disconnect *ended = data;
    struct keyfob *keyfob = userdata;
    /* 2.1 has CLIENT_OFFLINE for sessions that outlive their connection, 2.0 has this for all. */
    bool over = keyfob->broker_2_1 && event == MOSQ_EVT_DISCONNECT;
    enforcement_disconnected(keyfob, ended->client, over);
    return MOSQ_ERR_SUCCESS;
}

static int on_tick(int event, void *data, void *userdata)
{
    (void)event;
    (void)data; /* 2.0 fills in no time; asking 2.1 for another interval does not work */
    struct keyfob *keyfob = userdata;
    keyfob->ticked = true;
    keyfob->recheck_until = 0;
    keyfob->refusing_queue = NULL;
    int64_t now = boottime_ms();
    if (wake_take() || now - keyfob->last_poll >= POLL_MS) {
        keyfob->last_poll = now;
        link_service(&keyfob->link, now);
        enforcement_watch_clock(keyfob);
    }
    if (records_have_closing(&keyfob->records)) {
        records_sweep(&keyfob->records);
    }
    if (records_have_kicks(&keyfob->records) || records_due(&keyfob->records, now) != NULL) {
        enforcement_tick(keyfob, now);
    }
    return MOSQ_ERR_SUCCESS;
}

static int on_reload(int event, void *data, void *userdata)
{
    (void)event;
    (void)data; /* the broker passes no options: what is in plugin_opt_* needs a restart */
    struct keyfob *keyfob = userdata;
    admission_reloaded(keyfob, boottime_ms());
    /* 2.0 asks no other plugin after a SUCCESS; 2.1 ends the broker after anything else. */
    return keyfob->broker_2_1 ? MOSQ_ERR_SUCCESS : MOSQ_ERR_PLUGIN_DEFER;
}

static const struct {
    int event;
    mosquitto_callback callback;
    bool optional;
} EVENTS[] = {
    {MOSQ_EVT_BASIC_AUTH, on_basic_auth, false}, {MOSQ_EVT_ACL_CHECK, on_acl_check, false},
    {MOSQ_EVT_DISCONNECT, on_disconnect, false}, {MOSQ_EVT_TICK, on_tick, false},
    {MOSQ_EVT_RELOAD, on_reload, false},         {MOSQ_EVT_CLIENT_OFFLINE, on_disconnect, true},
};

enum { EVENT_COUNT = sizeof EVENTS / sizeof EVENTS[0] };

/* What the link asks for */

static bool write_record(void *out, const struct record *record)
{
    bool gone = record->client == NULL && (record->flags & RECORD_UNKEPT);
    return gone || record_write(record, out);
}

static bool write_records(void *context, size_t bucket, struct buffer *out, bool *fit)
{
    struct keyfob *keyfob = context;
    return records_visit(&keyfob->records, bucket, write_record, out, fit);
}

static void on_record(void *context, const struct wire_record *record)
{
    enforcement_on_record(context, record);
}

static void on_end(void *context, const struct wire_end *end)
{
    enforcement_on_end(context, end);
}

static void on_replace(void *context, const struct wire_replace *replace)
{
    replacement_apply(context, replace);
}

static uint64_t last_epoch(void *context)
{
    const struct keyfob *keyfob = context;
    return keyfob->epoch;
}

static void on_evicted(void *context, const struct record *record)
{
    struct keyfob *keyfob = context;
    if (!(record->flags & RECORD_UNKEPT)) {
        link_offline(&keyfob->link, record->epoch, record_client_id(record), false);
    }
}

/* Beginning and end */

static bool random_bytes(void *into, size_t size)
{
    return getrandom(into, size, 0) == (ssize_t)size;
}

static void destroy(struct keyfob *keyfob)
{
    link_close(&keyfob->link);
    wake_remove();
    records_free(&keyfob->records);
    free(keyfob);
}

static struct keyfob *create(const struct options *options)
{
    struct keyfob *keyfob = calloc(1, sizeof *keyfob);
    struct hash_key key;
    struct wire_hello hello = {0};
    if (keyfob == NULL || !random_bytes(&key, sizeof key) ||
        !random_bytes(hello.instance, sizeof hello.instance) ||
        !records_init(&keyfob->records, (size_t)options->offline_records, key, on_evicted,
                      keyfob)) {
        free(keyfob);
        mosquitto_log_printf(MOSQ_LOG_ERR, "Keyfob: no memory or no random numbers");
        return NULL;
    }
    keyfob->options = *options;
    keyfob->broker_2_1 = dlsym(RTLD_DEFAULT, "mosquitto_complete_basic_auth") != NULL;
    keyfob->lws = !keyfob->broker_2_1 || dlsym(RTLD_DEFAULT, "lws_service") != NULL;
    keyfob->clock_offset = wall_ms() - boottime_ms();
    hello.broker_version = keyfob->broker_2_1 ? BROKER_2_1 : BROKER_2_0;
    hello.broker_name = text_of(keyfob->options.broker_name);
    const struct link_hooks hooks = {
        .context = keyfob,
        .write_records = write_records,
        .on_record = on_record,
        .on_end = on_end,
        .on_replace = on_replace,
        .last_epoch = last_epoch,
    };
    link_init(&keyfob->link, &keyfob->options, &hooks, &hello);
    if (!wake_install()) {
        mosquitto_log_printf(MOSQ_LOG_WARNING, "Keyfob: SIGIO is taken; news takes up to 100 ms");
    }
    /* Now, because no listener accepts anybody yet: stored sessions get their records first. */
    if (!link_start(&keyfob->link)) {
        mosquitto_log_printf(MOSQ_LOG_WARNING,
                             "Keyfob: starting without the guard; until it is there, clients are "
                             "refused as unavailable");
    }
    return keyfob;
}

static void unregister(mosquitto_plugin_id_t *identifier)
{
    for (size_t i = 0; i < EVENT_COUNT; i++) {
        mosquitto_callback_unregister(identifier, EVENTS[i].event, EVENTS[i].callback, NULL);
    }
}

static int register_events(mosquitto_plugin_id_t *identifier)
{
    for (size_t i = 0; i < EVENT_COUNT; i++) {
        int result = mosquitto_callback_register(identifier, EVENTS[i].event, EVENTS[i].callback,
                                                 NULL, shared);
        if (result != MOSQ_ERR_SUCCESS && !EVENTS[i].optional) {
            mosquitto_log_printf(MOSQ_LOG_ERR, "Keyfob: event %d cannot be registered (%d)",
                                 EVENTS[i].event, result);
            return result;
        }
    }
    return MOSQ_ERR_SUCCESS;
}

static void leave(void)
{
    if (--users == 0) {
        destroy(shared);
        shared = NULL;
    }
}

int mosquitto_plugin_version(int count, const int *versions)
{
    for (int i = 0; i < count; i++) {
        if (versions[i] == PLUGIN_VERSION) {
            return PLUGIN_VERSION;
        }
    }
    return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                          struct mosquitto_opt *given, int option_count)
{
    struct options options;
    if (!options_read(&options, given, option_count)) {
        return MOSQ_ERR_INVAL;
    }
    if (shared == NULL) {
        shared = create(&options);
    } else if (memcmp(&options, &shared->options, sizeof options) != 0) {
        mosquitto_log_printf(MOSQ_LOG_ERR,
                             "Keyfob: its options must be the same for every listener");
        return MOSQ_ERR_INVAL;
    }
    if (shared == NULL) {
        return MOSQ_ERR_NOMEM;
    }
    users++;
    int result = register_events(identifier);
    if (result != MOSQ_ERR_SUCCESS) {
        unregister(identifier);
        leave();
        return result;
    }
    *userdata = identifier; /* what mosquitto_plugin_cleanup will be given */
    return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int option_count)
{
    (void)options;
    (void)option_count;
    if (userdata != NULL) {
        unregister(userdata);
        leave();
    }
    return MOSQ_ERR_SUCCESS;
}
