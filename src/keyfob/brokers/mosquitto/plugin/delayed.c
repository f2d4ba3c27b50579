/* SPDX-License-Identifier: Apache-2.0 */
#include "delayed.h"

#include "arrival.h"
#include "deadline.h"
#include "guard_question.h"
#include "refusal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Theory of operation (names are those of Mosquitto 2.1.2)
 *
 * mosquitto_complete_basic_auth names a client by its identifier, and does nothing where nobody
 * waits under it. Nothing tells when a waiting client goes away, and its struct is freed, so its
 * address is never followed. That the client is still there shows when the broker lets it in: it
 * calls back (the end of an older connection, ACL_CHECK for what is queued, CONNECT) from within
 * the completion. The first of these puts the record in its place, the first that is about the
 * client itself gives it its username. Without any nothing has changed: the client was gone.
 *
 * Completion can say no reason but "not authorized", 0x87. What is no fault of the token must not
 * look like one, so a client that cannot be decided about is closed instead: while it waits its
 * username is one that nobody else has, and the broker closes clients by username, too. That walks
 * over all connections, so no more than a share of the time goes into it; who waits to be closed
 * counts as pending, and beyond PENDINGS_MOST others are refused at once, which costs nothing.
 */

static const char NAMES[] = "keyfob-pending-";

const char *delayed_name(const struct keyfob *keyfob, uint64_t epoch, char name[DELAYED_NAME])
{
    (void)snprintf(name, DELAYED_NAME, "%s%016" PRIx64 "-%" PRIu64, NAMES, keyfob->nonce, epoch);
    return name;
}

bool delayed_is_name(const struct keyfob *keyfob, struct text username)
{
    char name[DELAYED_NAME];
    if (!text_starts(username, text_of(NAMES))) { /* nearly all that are asked about */
        return false;
    }
    (void)snprintf(name, DELAYED_NAME, "%s%016" PRIx64 "-", NAMES, keyfob->nonce);
    return text_starts(username, text_of(name));
}

/* Asking */

int delayed_ask(struct keyfob *keyfob, struct mosquitto *client, struct wire_connect *connect)
{
    if (pendings_full(&keyfob->pendings)) {
        return refuse(keyfob, client, SERVER_UNAVAILABLE, "too many wait for their decisions");
    }
    int64_t now = boottime_ms();
    uint32_t request;
    connect->flags |= WIRE_DELAYED;
    connect->wait_ms = (uint32_t)keyfob->options.decision_timeout_ms;
    if (!links_send(&keyfob->links, connect, now, &request)) {
        return refuse(keyfob, client, SERVER_UNAVAILABLE, "the guard does not answer");
    }
    const struct pending source = {
        .client = client,
        .epoch = connect->epoch,
        .asked_at = now,
        .deadline = now + keyfob->options.decision_timeout_ms,
        .request = request,
        .worker = links_owner(&keyfob->links, connect->client_id),
        .flags = connect->flags,
        .protocol_level = connect->protocol_level,
    };
    struct pending *pending = pendings_add(&keyfob->pendings, &source, connect->client_id);
    char name[DELAYED_NAME];
    /* This also frees the username that connect points to, which may be the token. */
    if (pending == NULL || mosquitto_set_username(client, delayed_name(keyfob, connect->epoch,
                                                                       name)) != MOSQ_ERR_SUCCESS) {
        if (pending != NULL) {
            pendings_take(&keyfob->pendings, pending);
            free(pending);
        }
        return refuse(keyfob, client, SERVER_UNAVAILABLE, "no memory");
    }
    return MOSQ_ERR_AUTH_DELAYED;
}

void delayed_forget(struct keyfob *keyfob, struct text client_id)
{
    if (!delayed_pending(keyfob)) {
        return;
    }
    struct pending *pending = pendings_of_client(&keyfob->pendings, client_id);
    if (pending != NULL) {
        pendings_take(&keyfob->pendings, pending);
        /* Nobody waits under it, or the broker would not ask. Should it do so nevertheless, that
         * client gets an answer. */
        keyfob->complete(pending->client_id, MOSQ_ERR_AUTH);
        free(pending);
    }
}

/* Letting in */

/* The username is what the log and $SYS show, and what other rules of the broker go by. */
static void name_it(struct keyfob *keyfob, struct mosquitto *client)
{
    struct record *record = records_find(&keyfob->records, text_of(mosquitto_client_id(client)));
    keyfob->arriving.named = true;
    if (record == NULL || record->client != client) {
        return; /* it is gone again: closed while it was let in */
    }
    if (mosquitto_set_username(client, record_principal(record).at) != MOSQ_ERR_SUCCESS) {
        refusal_log(record_client_id(record), SERVER_UNAVAILABLE,
                    "its principal cannot be its username");
        records_hasten(&keyfob->records, record);
        return;
    }
    char who[TEXT_FOR_LOG_SIZE], shown[TEXT_FOR_LOG_SIZE];
    mosquitto_log_printf(MOSQ_LOG_NOTICE, "Keyfob: client %s is in, u'%s'",
                         text_for_log(record_client_id(record), shown),
                         text_for_log(record_principal(record), who));
}

void delayed_called_back(struct keyfob *keyfob, struct mosquitto *client)
{
    struct arriving *arriving = &keyfob->arriving;
    if (arriving->record != NULL) {
        struct record *record = arriving->record;
        arriving->record = NULL;
        arrival_complete(keyfob, record);
    }
    if (client == arriving->client && !arriving->named) {
        name_it(keyfob, client);
    }
}

static void refuse_pending(struct keyfob *keyfob, struct pending *pending, uint8_t reason,
                           const char *why)
{
    refusal_log(pending_client_id(pending), reason, why);
    if (reason == SERVER_UNAVAILABLE) {
        pendings_give_up(&keyfob->pendings, pending);
        return;
    }
    pendings_take(&keyfob->pendings, pending);
    keyfob->complete(pending->client_id, MOSQ_ERR_AUTH);
    free(pending);
}

static void let_in(struct keyfob *keyfob, struct pending *pending, const struct wire_grant *grant)
{
    const struct wire_connect connect = {
        .epoch = pending->epoch,
        .flags = pending->flags,
        .protocol_level = pending->protocol_level,
        .client_id = pending_client_id(pending),
    };
    struct refused refused;
    struct record *record = arrival_prepare(keyfob, pending->client, &connect, grant, &refused);
    if (record == NULL) {
        refuse_pending(keyfob, pending, refused.reason, refused.why);
        return;
    }
    pendings_give_up(&keyfob->pendings, pending);
    keyfob->arriving = (struct arriving){.client = pending->client, .record = record};
    keyfob->complete(pending->client_id, MOSQ_ERR_SUCCESS);
    /* Without a CONNECT it was gone, or the broker changed its mind (global_max_clients) and forgot
     * it: then it is still to be closed. */
    if (keyfob->arriving.named) {
        pendings_take(&keyfob->pendings, pending);
        free(pending);
    }
    record_free(keyfob->arriving.record);
    keyfob->arriving = (struct arriving){0};
    keyfob->refusing_queue = NULL; /* the broker has asked about all that was queued */
}

void delayed_decided(struct keyfob *keyfob, unsigned worker, uint32_t request,
                     const struct wire_decision *decision)
{
    struct pending *pending =
        pendings_awaiting(&keyfob->pendings, worker, request, decision->epoch);
    if (pending == NULL) {
        return; /* nobody awaits it any more */
    }
    if (decision->reason == 0) {
        let_in(keyfob, pending, &decision->grant);
    } else {
        refuse_pending(keyfob, pending, decision->reason, "by the guard");
    }
}

/* Closing */

static void close_one(struct keyfob *keyfob, struct pending *pending)
{
    char name[DELAYED_NAME];
    pendings_take(&keyfob->pendings, pending);
    mosquitto_kick_client_by_username(delayed_name(keyfob, pending->epoch, name), false);
    /* Should it wait all the same, it gets the only answer that there is. */
    keyfob->complete(pending->client_id, MOSQ_ERR_AUTH);
    free(pending);
}

static void close_some(struct keyfob *keyfob, int64_t now)
{
    if (keyfob->pendings.closing.first == NULL || now < keyfob->next_closing) {
        return;
    }
    int64_t spent = 0;
    while (keyfob->pendings.closing.first != NULL && spent < DELAYED_BURST_MS) {
        close_one(keyfob, keyfob->pendings.closing.first);
        spent = boottime_ms() - now;
    }
    keyfob->next_closing = now + spent * DELAYED_SHARE;
}

void delayed_tick(struct keyfob *keyfob, int64_t now)
{
    struct pending *pending;
    while ((pending = pendings_due(&keyfob->pendings, now)) != NULL) {
        refusal_log(pending_client_id(pending), SERVER_UNAVAILABLE, "the guard does not answer");
        unsigned worker = pending->worker;
        int64_t asked_at = pending->asked_at;
        pendings_give_up(&keyfob->pendings, pending);
        question_timed_out(&keyfob->links.link[worker], asked_at);
    }
    close_some(keyfob, now);
}
