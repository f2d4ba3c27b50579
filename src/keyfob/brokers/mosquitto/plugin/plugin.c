/* SPDX-License-Identifier: Apache-2.0 */
/* Keyfob's plugin for Mosquitto: the wiring.
 *
 * One decision per connection, made by the guard (admission.c, guard_links.c); every message
 * checked here, without leaving the broker (enforcement.c, permissions.c). All callbacks run in the
 * broker's one thread.
 *
 * With per_listener_settings the broker loads the plugin once for each listener that names it. They
 * share one state, one link and one set of options, except for the mode: the first
 * mosquitto_plugin_init makes it, the last mosquitto_plugin_cleanup ends it.
 */
#include "admission.h"
#include "authentication.h"
#include "deadline.h"
#include "delayed.h"
#include "enforcement.h"
#include "link_hooks.h"
#include "stranger.h"
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

/* What it was built from, for `keyfob mosquitto doctor`, which looks for it in the file. */
#ifndef KEYFOB_MARK
#define KEYFOB_MARK ""
#endif
static const char mark[] __attribute__((used)) = KEYFOB_MARK;

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
    const struct instance *instance = userdata;
    struct keyfob *keyfob = instance->keyfob;
    enforcement_connecting(keyfob, ((const struct mosquitto_evt_basic_auth *)data)->client);
    bool asks = instance->mode == MODE_EXCLUSIVE || !stranger_asks(keyfob, data);
    return asks ? admission_check(keyfob, data) : stranger_answer(keyfob, data);
}

static int on_authentication(int event, void *data, void *userdata)
{
    const struct instance *instance = userdata;
    struct keyfob *keyfob = instance->keyfob;
    bool starts = event == MOSQ_EVT_EXT_AUTH_START;
    if (starts) {
        enforcement_connecting(keyfob, ((const struct mosquitto_evt_extended_auth *)data)->client);
    }
    if (instance->mode == MODE_MIXED && !starts && stranger_continues(keyfob, data)) {
        return MOSQ_ERR_PLUGIN_DEFER;
    }
    int answer =
        starts ? authentication_start(keyfob, data) : authentication_continue(keyfob, data);
    bool unknown = answer == MOSQ_ERR_NOT_SUPPORTED;
    return unknown && instance->mode == MODE_MIXED ? stranger_method(keyfob, data) : answer;
}

static int on_acl_check(int event, void *data, void *userdata)
{
    (void)event;
    const struct instance *instance = userdata;
    struct keyfob *keyfob = instance->keyfob;
    const struct mosquitto_evt_acl_check *check = data;
    if (delayed_arriving(keyfob)) {
        delayed_called_back(keyfob, check->client);
    }
    if (!keyfob->ticked && wake_take()) {
        /* A broker that never calls TICK: a revocation is heard here. Connections are not closed,
         * for this may be one of them, but they may do nothing any more. */
        links_service(&keyfob->links, boottime_ms());
    }
    return enforcement_check(keyfob, check, instance->mode);
}

static int on_disconnect(int event, void *data, void *userdata)
{
    const struct mosquitto_evt_disconnect *ended = data;
    struct keyfob *keyfob = ((const struct instance *)userdata)->keyfob;
    if (delayed_arriving(keyfob)) {
        delayed_called_back(keyfob, ended->client);
    }
    /* 2.1 has CLIENT_OFFLINE for sessions that outlive their connection, 2.0 has this for all. */
    authentication_disconnected(keyfob, ended->client);
    bool over = keyfob->broker_2_1 && event == MOSQ_EVT_DISCONNECT;
    enforcement_disconnected(keyfob, ended->client, over);
    return MOSQ_ERR_SUCCESS;
}

static int on_connect(int event, void *data, void *userdata)
{
    (void)event;
    const struct mosquitto_evt_connect *connected = data;
    struct keyfob *keyfob = ((const struct instance *)userdata)->keyfob;
    if (delayed_arriving(keyfob)) {
        delayed_called_back(keyfob, connected->client);
    }
    enforcement_connected(keyfob, connected->client);
    return MOSQ_ERR_SUCCESS;
}

static int on_tick(int event, void *data, void *userdata)
{
    (void)event;
    (void)data; /* 2.0 fills in no time; asking 2.1 for another interval does not work */
    struct keyfob *keyfob = ((const struct instance *)userdata)->keyfob;
    keyfob->ticked = true;
    keyfob->recheck_until = 0;
    keyfob->refusing_queue = NULL;
    keyfob->ended = NULL; /* what it left is read and sent, and its connection closed */
    int64_t now = boottime_ms();
    if (wake_take() || now - keyfob->last_poll >= POLL_MS) {
        keyfob->last_poll = now;
        links_service(&keyfob->links, now);
        enforcement_watch_clock(keyfob);
        authentication_tick(keyfob, now);
    }
    if (delayed_pending(keyfob)) {
        delayed_tick(keyfob, now);
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
    struct keyfob *keyfob = ((const struct instance *)userdata)->keyfob;
    admission_reloaded(keyfob, boottime_ms());
    /* 2.0 asks no other plugin after a SUCCESS; 2.1 ends the broker after anything else. */
    return keyfob->broker_2_1 ? MOSQ_ERR_SUCCESS : MOSQ_ERR_PLUGIN_DEFER;
}

static const struct {
    int event;
    mosquitto_callback callback;
    bool optional;
} EVENTS[] = {
    {MOSQ_EVT_BASIC_AUTH, on_basic_auth, false},
    {MOSQ_EVT_ACL_CHECK, on_acl_check, false},
    {MOSQ_EVT_DISCONNECT, on_disconnect, false},
    {MOSQ_EVT_TICK, on_tick, false},
    {MOSQ_EVT_RELOAD, on_reload, false},
    {MOSQ_EVT_CLIENT_OFFLINE, on_disconnect, true},
    {MOSQ_EVT_CONNECT, on_connect, true},
    {MOSQ_EVT_EXT_AUTH_START, on_authentication, false},
    {MOSQ_EVT_EXT_AUTH_CONTINUE, on_authentication, false},
};

enum { EVENT_COUNT = sizeof EVENTS / sizeof EVENTS[0] };

/* Beginning and end */

static void on_evicted(void *context, const struct record *record)
{
    struct keyfob *keyfob = context;
    if (!(record->flags & RECORD_UNKEPT)) {
        links_offline(&keyfob->links, record->epoch, record_client_id(record), false);
    }
}

static bool random_bytes(void *into, size_t size)
{
    return getrandom(into, size, 0) == (ssize_t)size;
}

static void destroy(struct keyfob *keyfob)
{
    links_close(&keyfob->links);
    wake_remove();
    pendings_free(&keyfob->pendings);
    records_free(&keyfob->records);
    free(keyfob);
}

/* Only Mosquitto 2.1 and later have it, and that is how they are told from 2.0. */
static mosquitto_complete completion(void)
{
    return (mosquitto_complete)dlsym(RTLD_DEFAULT, "mosquitto_complete_basic_auth");
}

/* Mosquitto up to 2.1.2 ends a client that waits without taking it out of all of its lists, and
 * then goes on with what it has read of it already. A second packet behind a DISCONNECT enters it
 * into the list of sessions that expire, in which it stays when it is freed (context__disconnect in
 * src/context.c). Nothing shows a plugin that this is about to happen. */
static void warn_of_delays(void)
{
    mosquitto_log_printf(
        MOSQ_LOG_WARNING,
        "Keyfob: with delayed decisions anybody can end Mosquitto 2.1.2 and older, "
        "unless packet_buffer_size is 1 and no listener has WebSockets");
}

static struct keyfob *create(const struct options *options)
{
    struct keyfob *keyfob = calloc(1, sizeof *keyfob);
    struct hash_key key;
    struct wire_hello hello = {0};
    if (keyfob == NULL || !random_bytes(&key, sizeof key) ||
        !random_bytes(hello.instance, sizeof hello.instance) ||
        !random_bytes(&keyfob->nonce, sizeof keyfob->nonce) ||
        !records_init(&keyfob->records, (size_t)options->offline_records, key, on_evicted,
                      keyfob)) {
        free(keyfob);
        mosquitto_log_printf(MOSQ_LOG_ERR, "Keyfob: no memory or no random numbers");
        return NULL;
    }
    keyfob->options = *options;
    mosquitto_complete complete = completion();
    keyfob->broker_2_1 = complete != NULL;
    keyfob->complete = options->decisions == DECISIONS_DELAYED ? complete : NULL;
    if (keyfob->complete != NULL) {
        warn_of_delays();
    }
    pendings_init(&keyfob->pendings, key);
    keyfob->lws = !keyfob->broker_2_1 || dlsym(RTLD_DEFAULT, "lws_service") != NULL;
    keyfob->clock_offset = wall_ms() - boottime_ms();
    keyfob->slept = slept_ms();
    hello.broker_version = keyfob->broker_2_1 ? BROKER_2_1 : BROKER_2_0;
    hello.broker_name = text_of(keyfob->options.broker_name);
    const struct link_hooks hooks = link_hooks_of(keyfob);
    links_init(&keyfob->links, &keyfob->options, &hooks, &hello);
    if (!wake_install()) {
        mosquitto_log_printf(MOSQ_LOG_WARNING, "Keyfob: SIGIO is taken; news takes up to 100 ms");
    }
    /* Now, because no listener accepts anybody yet: stored sessions get their records first. */
    if (!links_start(&keyfob->links)) {
        mosquitto_log_printf(MOSQ_LOG_WARNING,
                             "Keyfob: starting without the guard; until it is there, clients are "
                             "refused as unavailable");
    }
    return keyfob;
}

/* What is one listener's own, and the last to leave ends the rest */

static void leave(struct instance *instance)
{
    for (size_t i = 0; i < EVENT_COUNT; i++) {
        mosquitto_callback_unregister(instance->identifier, EVENTS[i].event, EVENTS[i].callback,
                                      NULL);
    }
    free(instance);
    if (--users == 0) {
        destroy(shared);
        shared = NULL;
    }
}

static int register_events(struct instance *instance)
{
    for (size_t i = 0; i < EVENT_COUNT; i++) {
        int result = mosquitto_callback_register(instance->identifier, EVENTS[i].event,
                                                 EVENTS[i].callback, NULL, instance);
        if (result != MOSQ_ERR_SUCCESS && !EVENTS[i].optional) {
            mosquitto_log_printf(MOSQ_LOG_ERR, "Keyfob: event %d cannot be registered (%d)",
                                 EVENTS[i].event, result);
            return result;
        }
    }
    return MOSQ_ERR_SUCCESS;
}

/* The shared state, made by whoever comes first. */
static int join(const struct options *options)
{
    if (shared == NULL) {
        shared = create(options);
        return shared == NULL ? MOSQ_ERR_NOMEM : MOSQ_ERR_SUCCESS;
    }
    if (memcmp(options, &shared->options, sizeof *options) == 0) {
        return MOSQ_ERR_SUCCESS;
    }
    mosquitto_log_printf(MOSQ_LOG_ERR,
                         "Keyfob: its options, but for mode, must be the same for every listener");
    return MOSQ_ERR_INVAL;
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
    if (options.decisions == DECISIONS_DELAYED && completion() == NULL) {
        mosquitto_log_printf(MOSQ_LOG_ERR, "Keyfob: plugin_opt_decisions delayed needs Mosquitto "
                                           "2.1 or later: write auto or blocking");
        return MOSQ_ERR_INVAL;
    }
    struct instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL) {
        return MOSQ_ERR_NOMEM;
    }
    instance->identifier = identifier;
    instance->mode = options.mode;
    options.mode = MODE_EXCLUSIVE; /* what all share says nothing about it */
    int result = join(&options);
    if (result != MOSQ_ERR_SUCCESS) {
        free(instance);
        return result;
    }
    users++;
    instance->keyfob = shared;
    result = register_events(instance);
    if (result != MOSQ_ERR_SUCCESS) {
        leave(instance);
        return result;
    }
    *userdata = instance; /* what mosquitto_plugin_cleanup will be given */
    return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int option_count)
{
    (void)options;
    (void)option_count;
    if (userdata != NULL) {
        leave(userdata);
    }
    return MOSQ_ERR_SUCCESS;
}
