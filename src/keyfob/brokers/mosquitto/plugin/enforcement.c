/* SPDX-License-Identifier: Apache-2.0 */
#include "enforcement.h"

#include "certificate.h"
#include "deadline.h"
#include "stranger.h"

enum {
    MOST_KICKS = 500,    /* per TICK: each closes a connection, and the broker has others */
    OVERDUE_MS = 1000,   /* ten TICKs */
    CLOCK_STEP_MS = 250, /* a wall clock that moves less than this is being slewed */
};

/* ACL_CHECK
 *
 * The record is found by client identifier: the broker also asks for clients without a connection,
 * and with a made-up struct mosquitto for the sender of a retained message (check_retain_source),
 * so nothing is kept on that pointer. What it is good for: who is let in by something else (a
 * certificate with use_identity_as_username, another plugin) chooses its client identifier, and
 * must not act on the record that it finds there.
 *
 * While the record has a connection, another one may only be the old connection of a client that
 * has taken its own place, with its will: the record knows which that was, until a connection that
 * begins shows that its address was given away, and it carries the principal as username.
 *
 * Without a connection the broker asks with the struct of the last one, which it keeps with the
 * session. Where it keeps none it frees it, and the next connection may have its address: then the
 * record forgets it, as soon as that connection shows. Most do in BASIC_AUTH, before they are in;
 * the others in CONNECT, which 2.0 has not. There a certificate gives them away, for what has no
 * connection has none, once its will was sent: DISCONNECT, the will, the connection's end, TICK.
 *
 * One that it has read from its disk, and the one that is made up, have never had a connection and
 * so no address, which every connection has (context__init in src/context.c, callback_mqtt in
 * src/websockets.c).
 *
 * Who hangs up while it waits for its decision has never been let in, and 2.1 asks about its will
 * all the same when it frees it (context__cleanup). By then it has no username, and so no right.
 */

static bool is_principal(const struct record *record, const struct mosquitto *client)
{
    const char *username = mosquitto_client_username(client);
    return username != NULL && text_equal(record_principal(record), text_of(username));
}

static bool given_away(const struct keyfob *keyfob, const struct record *record,
                       const struct mosquitto *client)
{
    return record->client == NULL && keyfob->ended != client && certificate_shown(client);
}

static bool is_the_clients(const struct keyfob *keyfob, const struct record *record,
                           const struct mosquitto *client)
{
    if (record->client == client) {
        return true;
    }
    bool was = mosquitto_client_address(client) == NULL ||
               (record->was == client && !given_away(keyfob, record, client));
    return was && is_principal(record, client);
}

/* What was queued before a revocation
 *
 * When a client comes back, the broker asks READ for all that waits in its session, right after
 * admission_check let it in (connect__on_authorised in src/handle_connect.c); by then the record is
 * that of the new connection. After a revocation the answer is no, until anything else happens.
 * Before those questions there may be only the end of the old connection: its DISCONNECT, and its
 * will, a WRITE under the same client identifier.
 */

static bool waits_from_before(struct keyfob *keyfob, const struct record *record,
                              const struct mosquitto_evt_acl_check *event)
{
    if (keyfob->refusing_queue == NULL) {
        return false;
    }
    if (event->client == keyfob->refusing_queue && event->access == MOSQ_ACL_READ) {
        return true;
    }
    bool same = record != NULL && record->client == keyfob->refusing_queue;
    bool old_will = same && event->client != record->client;
    bool delivery = event->access == MOSQ_ACL_READ; /* of that will, to others */
    if (!old_will && !delivery) {
        keyfob->refusing_queue = NULL;
    }
    return false;
}

static bool may_write(const struct record *record, const struct mosquitto_evt_acl_check *event)
{
    return permissions_publish(record_permissions(record), text_of(event->topic), event->qos,
                               event->retain);
}

/* Asked again for a subscription that is there (when a client is kicked), the QoS is not known. */
static bool may_keep(const struct record *record, const struct mosquitto_evt_acl_check *event)
{
    for (unsigned qos = 0; qos <= 2; qos++) {
        if (permissions_subscribe(record_permissions(record), text_of(event->topic), qos)) {
            return true;
        }
    }
    return false;
}

static bool may_read(const struct record *record, const struct mosquitto_evt_acl_check *event)
{
    return permissions_receive(record_permissions(record), text_of(event->topic));
}

/* The token has run out and the next TICK, at most 100 ms away, ends the connection. A message that
 * is refused now would be in nobody's queue, although the session goes on queueing from that TICK
 * on: it goes through, as if the clocks of issuer and broker were that far apart. Not where no TICK
 * ever comes. */
static bool allowed_overdue(const struct keyfob *keyfob, const struct record *record,
                            const struct mosquitto_evt_acl_check *event, int64_t now)
{
    return event->access == MOSQ_ACL_READ && keyfob->ticked &&
           now < record->deadline + OVERDUE_MS && may_read(record, event);
}

static bool allowed_online(const struct keyfob *keyfob, const struct record *record,
                           const struct mosquitto_evt_acl_check *event)
{
    /* Without a TICK nobody looks whether the machine has slept. */
    if (!keyfob->ticked || !deadline_far(record->deadline, record->expires_at, keyfob->slept)) {
        int64_t now = boottime_ms();
        if (now >= record->deadline || wall_ms() >= record->expires_at) {
            return allowed_overdue(keyfob, record, event, now);
        }
    }
    switch (event->access) {
    case MOSQ_ACL_WRITE: return may_write(record, event);
    case MOSQ_ACL_READ: return may_read(record, event);
    case MOSQ_ACL_SUBSCRIBE:
        return permissions_subscribe(record_permissions(record), text_of(event->topic), event->qos);
    default: return false;
    }
}

/* The token ran out and the connection is being closed. Messages may still be queued for the
 * session; its subscriptions stay where the kick asks for them, but the client gets no new ones. */
static bool allowed_ended(const struct keyfob *keyfob, const struct record *record,
                          const struct mosquitto_evt_acl_check *event)
{
    switch (event->access) {
    case MOSQ_ACL_READ: return may_read(record, event);
    case MOSQ_ACL_SUBSCRIBE: return keyfob->kicking == event->client && may_keep(record, event);
    default: return false;
    }
}

/* A connection has one will. What would write once more has its address and no right to it, and 2.0
 * shows no other sign of that where a pre-shared key has let it in. */
static bool may_write_will(struct record *record, const struct mosquitto_evt_acl_check *event)
{
    bool again = record->was == event->client && (record->flags & RECORD_WILLED);
    if (record->was == event->client) {
        record->flags |= RECORD_WILLED;
    }
    return !again && may_write(record, event);
}

/* Without a connection the broker queues messages for the session and sends the will. */
static bool allowed_offline(const struct keyfob *keyfob, struct record *record,
                            const struct mosquitto_evt_acl_check *event)
{
    switch (event->access) {
    case MOSQ_ACL_WRITE: return may_write_will(record, event);
    case MOSQ_ACL_READ: return may_read(record, event);
    case MOSQ_ACL_SUBSCRIBE: return keyfob->kicking == event->client && may_keep(record, event);
    default: return false;
    }
}

int enforcement_check(struct keyfob *keyfob, const struct mosquitto_evt_acl_check *event,
                      enum option_mode mode)
{
    struct record *record =
        records_find_client(&keyfob->records, event->client, mosquitto_client_id(event->client));
    if (waits_from_before(keyfob, record, event)) {
        return MOSQ_ERR_ACL_DENIED;
    }
    if (record == NULL || !is_the_clients(keyfob, record, event->client)) {
        return stranger_check(keyfob, record, event, mode);
    }
    if (event->access == MOSQ_ACL_UNSUBSCRIBE) {
        return MOSQ_ERR_SUCCESS;
    }
    bool allowed = false;
    switch ((enum record_state)record->state) {
    case RECORD_ONLINE: allowed = allowed_online(keyfob, record, event); break;
    case RECORD_ENDED: allowed = allowed_ended(keyfob, record, event); break;
    case RECORD_OFFLINE: allowed = allowed_offline(keyfob, record, event); break;
    case RECORD_REVOKED: break;
    }
    return allowed ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
}

/* Connections that end */

void keyfob_went_offline(struct keyfob *keyfob, struct record *record)
{
    links_offline(&keyfob->links, record->epoch, record_client_id(record),
                  !(record->flags & RECORD_UNKEPT));
    records_disconnect(&keyfob->records, record);
}

void keyfob_session_gone(struct keyfob *keyfob, struct record *record)
{
    links_offline(&keyfob->links, record->epoch, record_client_id(record), false);
    records_drop(&keyfob->records, record);
}

static void forget_address(struct keyfob *keyfob, const struct mosquitto *client)
{
    struct record *record = records_find(&keyfob->records, text_of(mosquitto_client_id(client)));
    if (record != NULL && record->client != client && record->was == client) {
        record->was = NULL;
    }
}

void enforcement_connecting(struct keyfob *keyfob, const struct mosquitto *client)
{
    if (keyfob->recheck_until == 0 || boottime_ms() >= keyfob->recheck_until) {
        forget_address(keyfob, client);
    }
    if (keyfob->ended == client) {
        keyfob->ended = NULL;
    }
}

void enforcement_connected(struct keyfob *keyfob, const struct mosquitto *client)
{
    forget_address(keyfob, client);
}

void enforcement_disconnected(struct keyfob *keyfob, const struct mosquitto *client, bool over)
{
    struct record *record = records_find(&keyfob->records, text_of(mosquitto_client_id(client)));
    if (client == keyfob->refusing_queue) {
        keyfob->refusing_queue = NULL;
    }
    if (record != NULL && record->client == NULL && record->was == client) {
        /* Ended a second time: a connection that something else let in has taken the session, and
         * the broker frees this struct. Its address may come again. */
        record->was = NULL;
    }
    /* After a takeover the old connection ends when the new one is on record; and a CONNECT that
     * was refused ends like a connection. */
    if (record == NULL || record->client != client) {
        return;
    }
    if (over) {
        /* It stays here all the same, for a will that is sent later. */
        record->flags |= RECORD_CLEAN | RECORD_UNKEPT;
    }
    keyfob_went_offline(keyfob, record);
}

/* Closes a connection. The broker calls back from in here (ACL_CHECK for its subscriptions,
 * DISCONNECT), after which the record may be another, or gone. */
static void kick(struct keyfob *keyfob, struct record *record, bool with_will)
{
    static char client_id[UINT16_MAX + 1]; /* the record's may be freed while it is in use */
    const void *client = record->client;
    memcpy(client_id, record_client_id(record).at, record_client_id(record).length + 1);
    keyfob->kicking = client;
    int result = mosquitto_kick_client_by_clientid(client_id, with_will);
    keyfob->kicking = NULL;
    if (result == MOSQ_ERR_NOT_FOUND) {
        struct record *still = records_find(&keyfob->records, text_of(client_id));
        if (still != NULL && still->client == client) {
            keyfob_went_offline(keyfob, still);
        }
    }
}

static void log_end(const struct record *record, const char *why)
{
    char shown[TEXT_FOR_LOG_SIZE];
    mosquitto_log_printf(MOSQ_LOG_NOTICE, "Keyfob: client %s: %s",
                         text_for_log(record_client_id(record), shown), why);
}

void enforcement_tick(struct keyfob *keyfob, int64_t now)
{
    struct record *record;
    for (int i = 0; i < MOST_KICKS; i++) {
        if ((record = records_next_kick(&keyfob->records)) != NULL) {
            /* ACL_CHECK refuses the will of a revoked client, too. A broker without TICK may have
             * had a stored session let in again at SIGHUP, which "no will" would end once more. */
            kick(keyfob, record, !keyfob->ticked);
        } else if ((record = records_due(&keyfob->records, now)) != NULL) {
            log_end(record, "its token has run out");
            /* First the state, then the kick: it asks whether the subscriptions may stay. */
            records_expire(&keyfob->records, record);
            kick(keyfob, record, true);
        } else {
            return;
        }
    }
}

void enforcement_watch_clock(struct keyfob *keyfob)
{
    int64_t boottime = boottime_ms(), wall = wall_ms();
    int64_t offset = wall - boottime;
    keyfob->slept = slept_ms();
    if (offset > keyfob->clock_offset + CLOCK_STEP_MS) {
        records_reconsider(&keyfob->records, boottime, wall);
        keyfob->clock_offset = offset;
    } else if (offset < keyfob->clock_offset) {
        keyfob->clock_offset = offset; /* stepped back: deadlines stay, the next step counts anew */
    }
}

/* What the guard sends */

void enforcement_on_record(struct keyfob *keyfob, const struct wire_record *source)
{
    if (records_find(&keyfob->records, source->client_id) != NULL) {
        return; /* of what the broker has, the broker knows more */
    }
    /* Epochs rise within a broker's life; the guard remembers those of the one before. One that
     * leaves no room above it is no epoch of ours. */
    if (source->epoch > keyfob->epoch && source->epoch < UINT64_MAX / 2) {
        keyfob->epoch = source->epoch;
    }
    struct record *record = NULL;
    if (record_principal_usable(source->grant.principal)) {
        record = record_make(&(struct record_source){
            .client_id = source->client_id,
            .grant = &source->grant,
            .epoch = source->epoch,
            .state = source->state == WIRE_REVOKED ? RECORD_REVOKED : RECORD_OFFLINE,
            .flags = record_flags_of(source),
        });
    }
    if (record == NULL || !records_put(&keyfob->records, record)) {
        record_free(record);
        char shown[TEXT_FOR_LOG_SIZE];
        mosquitto_log_printf(MOSQ_LOG_WARNING, "Keyfob: client %s: its record cannot be kept",
                             text_for_log(source->client_id, shown));
    }
}

void enforcement_on_end(struct keyfob *keyfob, const struct wire_end *end)
{
    struct record *record = records_find(&keyfob->records, end->client_id);
    if (record == NULL || (end->epoch != 0 && end->epoch != record->epoch)) {
        return;
    }
    switch ((enum wire_cause)end->cause) {
    case WIRE_CAUSE_EXPIRED: records_hasten(&keyfob->records, record); break;
    case WIRE_CAUSE_FORGOTTEN:
        if (record->client == NULL) {
            records_drop(&keyfob->records, record);
            break;
        }
        /* fall through */
    case WIRE_CAUSE_REVOKED:
        log_end(record, "its authorization was revoked");
        records_revoke(&keyfob->records, record);
        break;
    }
}
