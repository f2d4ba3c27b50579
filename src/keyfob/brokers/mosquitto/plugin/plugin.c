/* SPDX-License-Identifier: Apache-2.0 */
/* Keyfob's plugin for Mosquitto: the wiring.
 *
 * One decision per connection, made by the guard (admission.c, guard_links.c); every message
 * checked here, without leaving the broker (enforcement.c, permissions.c). All callbacks run in the
 * broker's one thread.
 *
 * With per_listener_settings the broker loads the plugin once for each listener that names it. They
 * share one state, one link and one set of options: the first mosquitto_plugin_init makes it, the
 * last mosquitto_plugin_cleanup ends it.
 */
#include "admission.h"
#include "authentication.h"
#include "deadline.h"
#include "delayed.h"
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

static int on_authentication(int event, void *data, void *userdata)
{
    return event == MOSQ_EVT_EXT_AUTH_START ? authentication_start(userdata, data)
                                            : authentication_continue(userdata, data);
}

static int on_acl_check(int event, void *data, void *userdata)
{
    (void)event;
    struct keyfob *keyfob = userdata;
    const struct mosquitto_evt_acl_check *check = data;
    if (delayed_arriving(keyfob)) {
        delayed_called_back(keyfob, check->client);
    }
    if (!keyfob->ticked && wake_take()) {
        /* A broker that never calls TICK: a revocation is heard here. Connections are not closed,
         * for this may be one of them, but they may do nothing any more. */
        links_service(&keyfob->links, boottime_ms());
    }
    return enforcement_check(keyfob, check);
}

static int on_disconnect(int event, void *data, void *userdata)
{
    const struct mosquitto_evt_disconnect *ended = data;
    struct keyfob *keyfob = userdata;
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
    if (delayed_arriving(userdata)) {
        delayed_called_back(userdata, connected->client);
    }
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

/* What the link asks for */

struct listing {
    const struct guard_links *links;
    unsigned worker;
    struct buffer *out;
};

static bool write_record(void *context, const struct record *record)
{
    const struct listing *listing = context;
    bool gone = record->client == NULL && (record->flags & RECORD_UNKEPT);
    return gone || links_owner(listing->links, record_client_id(record)) != listing->worker ||
           record_write(record, listing->out);
}

static bool write_records(void *context, unsigned worker, size_t bucket, struct buffer *out,
                          bool *fit)
{
    struct keyfob *keyfob = context;
    struct listing listing = {.links = &keyfob->links, .worker = worker, .out = out};
    return records_visit(&keyfob->records, bucket, write_record, &listing, fit);
}

/* What a worker knows of clients that are not its own is from a time when there were more of them,
 * or fewer. Taking rights away it may be heard in nevertheless, so END is always obeyed. */
static bool is_its_own(const struct keyfob *keyfob, unsigned worker, struct text client_id)
{
    return links_owner(&keyfob->links, client_id) == worker;
}

static void on_record(void *context, unsigned worker, const struct wire_record *record)
{
    if (is_its_own(context, worker, record->client_id)) {
        enforcement_on_record(context, record);
    }
}

static void on_end(void *context, const struct wire_end *end)
{
    enforcement_on_end(context, end);
}

static void on_replace(void *context, unsigned worker, const struct wire_replace *replace)
{
    if (is_its_own(context, worker, replace->client_id)) {
        replacement_apply(context, replace);
    }
}

static void on_decision(void *context, unsigned worker, uint32_t request,
                        const struct wire_decision *decision)
{
    delayed_decided(context, worker, request, decision);
}

static void on_down(void *context, unsigned worker)
{
    struct keyfob *keyfob = context;
    size_t count = pendings_give_up_on(&keyfob->pendings, worker);
    if (count > 0) {
        mosquitto_log_printf(MOSQ_LOG_NOTICE,
                             "Keyfob: %zu clients waited for that guard's decision: closed", count);
    }
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
        links_offline(&keyfob->links, record->epoch, record_client_id(record), false);
    }
}

/* Beginning and end */

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
    keyfob->complete = options->decisions == DECISIONS_BLOCKING ? NULL : complete;
    pendings_init(&keyfob->pendings, key);
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
        .on_decision = on_decision,
        .on_down = on_down,
        .last_epoch = last_epoch,
    };
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
    if (options.decisions == DECISIONS_DELAYED && completion() == NULL) {
        mosquitto_log_printf(MOSQ_LOG_ERR, "Keyfob: plugin_opt_decisions delayed needs Mosquitto "
                                           "2.1 or later: write auto or blocking");
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
