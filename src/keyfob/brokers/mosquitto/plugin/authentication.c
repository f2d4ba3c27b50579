/* SPDX-License-Identifier: Apache-2.0 */
#include "authentication.h"

#include "admission.h"
#include "certificate.h"
#include "deadline.h"
#include "delayed.h"
#include "refusal.h"
#include "replacement.h"

#include <stdlib.h>

/* Theory of operation
 *
 * The broker calls START for a CONNECT with a method and for an AUTH with reason 0x19, and does not
 * tell which it is: it is the second when the connection is on record. CONTINUE follows on each
 * AUTH with reason 0x18, once START has returned "continue". What was asked, and by which method,
 * the guard remembers, by the connection's epoch.
 *
 * The broker waits: there is no delayed decision here (mosquitto_complete_basic_auth has no
 * counterpart), so the guard answers at once or says that it cannot.
 *
 * What cannot be decided must not look like a bad token. A CONNECT is closed without a word then.
 * A client that is in goes on as it was, until the end that its present token has: it is told that
 * its re-authentication is over, and the guard, which was not told that the grant is in force, goes
 * on with the present token as well.
 *
 * While a client is asked for more it is nobody. Its username, which it may have chosen, is
 * replaced by one that nobody can guess, so that no rule goes by it: should it hang up, the broker
 * asks whether its will may be sent.
 */

enum { LONGEST_METHOD = 255, SPOILT = 0x01 };

static const char AWAY[] = "the guard does not answer";
static const char TAKEN[] = "somebody waits to connect under its identifier";

static struct text client_id_of(const struct mosquitto_evt_extended_auth *event)
{
    return text_of(mosquitto_client_id(event->client));
}

static struct text data_of(const struct mosquitto_evt_extended_auth *event)
{
    return (struct text){event->data_in, event->data_in == NULL ? 0 : event->data_in_len};
}

/* What goes to the client. The broker frees it, whatever is returned. */
static bool give(struct mosquitto_evt_extended_auth *event, struct text data)
{
    if (data.length == 0) {
        return true;
    }
    event->data_out = malloc(data.length);
    if (event->data_out == NULL) {
        return false;
    }
    memcpy(event->data_out, data.at, data.length);
    event->data_out_len = (uint16_t)data.length;
    return true;
}

static int refuse_it(const struct mosquitto_evt_extended_auth *event, uint8_t reason,
                     const char *why)
{
    return refuse_extended(client_id_of(event), reason, why);
}

/* A client that is in keeps what it has, and is told that this is over. */
static int goes_on_as_it_was(struct mosquitto_evt_extended_auth *event, const char *why)
{
    char shown[TEXT_FOR_LOG_SIZE];
    mosquitto_log_printf(MOSQ_LOG_WARNING,
                         "Keyfob: client %s goes on with the token that it had: %s",
                         text_for_log(client_id_of(event), shown), why);
    free(event->data_out); /* what would go with a new one */
    event->data_out = NULL;
    event->data_out_len = 0;
    return MOSQ_ERR_SUCCESS;
}

/* Asking for more: connect says of whom, NULL: of a client that is in. */
static int ask(struct keyfob *keyfob, struct mosquitto_evt_extended_auth *event, uint64_t epoch,
               const struct wire_connect *connect, struct text data)
{
    const struct exchange exchange = {
        .client = event->client,
        .epoch = epoch,
        .deadline = boottime_ms() + keyfob->options.exchange_timeout_ms,
        .flags = connect == NULL ? 0 : connect->flags,
        .protocol_level = connect == NULL ? 0 : connect->protocol_level,
        .renewing = connect == NULL,
    };
    char name[DELAYED_NAME];
    bool named = connect == NULL ||
                 mosquitto_set_username(event->client, delayed_name(keyfob, epoch, name)) ==
                     MOSQ_ERR_SUCCESS;
    if (!named || !give(event, data) || !exchanges_add(&keyfob->exchanges, &exchange)) {
        const char *why = "too many are asked for more, or no memory";
        return connect == NULL ? goes_on_as_it_was(event, why)
                               : refuse_it(event, SERVER_UNAVAILABLE, why);
    }
    return MOSQ_ERR_AUTH_CONTINUE;
}

/* Coming in */

static int conclude(struct keyfob *keyfob, struct mosquitto_evt_extended_auth *event,
                    const struct wire_connect *connect, const struct wire_decision *decision)
{
    if (decision->reason == WIRE_MORE_DATA) {
        return ask(keyfob, event, connect->epoch, connect, decision->data);
    }
    if (decision->reason != 0) {
        return refuse_it(event, decision->reason, "by the guard");
    }
    if (!give(event, decision->data)) {
        return refuse_it(event, SERVER_UNAVAILABLE, "no memory");
    }
    struct refused refused;
    if (!admission_accept(keyfob, event->client, connect, &decision->grant, &refused)) {
        return refuse_it(event, refused.reason, refused.why);
    }
    return MOSQ_ERR_SUCCESS;
}

static int connect_start(struct keyfob *keyfob, struct mosquitto_evt_extended_auth *event)
{
    uint8_t thumbprint[WIRE_THUMBPRINT];
    struct wire_connect connect = admission_describe(keyfob, event->client, thumbprint);
    if (connect.client_id.length == 0 || !text_is_utf8(connect.client_id)) {
        return refuse_it(event, CLIENT_IDENTIFIER_NOT_VALID, "its identifier is not valid");
    }
    if (!keyfob->ticked) {
        admission_instead_of_tick(keyfob, event->client);
    }
    delayed_forget(keyfob, connect.client_id);
    connect.flags |= WIRE_HAS_METHOD;
    connect.method = text_of(event->auth_method);
    connect.data = data_of(event);
    struct wire_decision decision;
    if (!links_ask(&keyfob->links, &(struct question){.connect = &connect}, &decision)) {
        return refuse_it(event, SERVER_UNAVAILABLE, AWAY);
    }
    return conclude(keyfob, event, &connect, &decision);
}

static int connect_continue(struct keyfob *keyfob, struct mosquitto_evt_extended_auth *event,
                            const struct exchange *exchange, const struct wire_decision *decision)
{
    const struct wire_connect connect = {
        .epoch = exchange->epoch,
        .flags = exchange->flags,
        .protocol_level = exchange->protocol_level,
        .client_id = client_id_of(event),
    };
    return conclude(keyfob, event, &connect, decision);
}

/* Going on with the next token */

/* A decision that is delayed may come while this one is waited for, and let somebody in. Were that
 * under this identifier, the broker would take this client away while it is in its hands. */
static bool contested(const struct keyfob *keyfob, const struct mosquitto_evt_extended_auth *event)
{
    return delayed_pending(keyfob) &&
           pendings_of_client(&keyfob->pendings, client_id_of(event)) != NULL;
}

static int renew(struct keyfob *keyfob, struct mosquitto_evt_extended_auth *event, uint64_t epoch,
                 const struct wire_decision *decision)
{
    if (decision->reason == WIRE_MORE_DATA) {
        return ask(keyfob, event, epoch, NULL, decision->data);
    }
    if (decision->reason == SERVER_UNAVAILABLE) {
        return goes_on_as_it_was(event, "the guard cannot decide about another one now");
    }
    if (decision->reason != 0) {
        return refuse_it(event, decision->reason, "its next token, by the guard");
    }
    const struct wire_replace next = {
        .epoch = epoch, .client_id = client_id_of(event), .grant = decision->grant};
    if (!give(event, decision->data)) {
        return goes_on_as_it_was(event, "no memory for another one");
    }
    switch (replacement_put(keyfob, &next)) {
    case REPLACEMENT_STRANGER: return refuse_it(event, NOT_AUTHORIZED, "it was ended meanwhile");
    case REPLACEMENT_REFUSED: return goes_on_as_it_was(event, "another one's grant cannot be kept");
    case REPLACEMENT_DONE: break;
    }
    links_admitted(&keyfob->links, epoch, client_id_of(event));
    return MOSQ_ERR_SUCCESS;
}

static int renew_start(struct keyfob *keyfob, struct mosquitto_evt_extended_auth *event,
                       const struct record *record)
{
    if (!replacement_possible(record)) {
        return refuse_it(event, NOT_AUTHORIZED, "its token has run out, or was revoked");
    }
    if (contested(keyfob, event)) {
        return goes_on_as_it_was(event, TAKEN);
    }
    uint8_t thumbprint[WIRE_THUMBPRINT];
    const struct wire_reauthenticate asked = {
        .epoch = record->epoch,
        .client_id = client_id_of(event),
        .method = text_of(event->auth_method),
        .data = data_of(event),
        .peer = admission_peer(event->client),
        .thumbprint = certificate_thumbprint(event->client, thumbprint),
        .wait_ms = (uint32_t)keyfob->options.guard_timeout_ms,
    };
    struct wire_decision decision;
    /* Whatever else the guard says meanwhile is obeyed: the record may be another after this. */
    if (!links_ask(&keyfob->links, &(struct question){.reauthenticate = &asked}, &decision)) {
        return goes_on_as_it_was(event, AWAY);
    }
    return renew(keyfob, event, asked.epoch, &decision);
}

/* The events */

static const struct record *record_of(const struct keyfob *keyfob,
                                      const struct mosquitto_evt_extended_auth *event)
{
    const struct record *record = records_find(&keyfob->records, client_id_of(event));
    return record != NULL && record->client == event->client ? record : NULL;
}

int authentication_start(struct keyfob *keyfob, struct mosquitto_evt_extended_auth *event)
{
    keyfob->refusing_queue = NULL;
    struct exchange *before = exchanges_of(&keyfob->exchanges, event->client);
    if (before != NULL) { /* it begins anew */
        exchanges_remove(&keyfob->exchanges, before);
    }
    struct text method = text_of(event->auth_method);
    if (method.length > LONGEST_METHOD || !text_is_utf8(method)) {
        return refuse_it(event, BAD_AUTHENTICATION_METHOD, "its method is none");
    }
    const struct record *record = record_of(keyfob, event);
    return record == NULL ? connect_start(keyfob, event) : renew_start(keyfob, event, record);
}

/* An AUTH without a word in it has reason 0, and the broker does not look at that: it calls
 * CONTINUE although nothing was asked, and has set its client back to where it was before it came
 * in. Were it let in now it would take its own place; were it refused, the broker would free an
 * identifier that its tables still point to. So it is asked, and closed by the next TICK. */
static int unasked(struct keyfob *keyfob, const struct mosquitto_evt_extended_auth *event)
{
    char shown[TEXT_FOR_LOG_SIZE];
    struct record *record = records_find(&keyfob->records, client_id_of(event));
    mosquitto_log_printf(MOSQ_LOG_NOTICE,
                         "Keyfob: client %s sent an AUTH that nobody had asked for: closed",
                         text_for_log(client_id_of(event), shown));
    records_hasten(&keyfob->records, record);
    return MOSQ_ERR_AUTH_CONTINUE;
}

/* Mosquitto 2.1 goes on with what it has read of a connection after the DISCONNECT in it, and an
 * AUTH without a word in it reaches us: of a client that is not in, and was not asked. Were it
 * refused, the broker would free the identifier that its stored session is found by; it has no
 * answer but "continue" that leaves everything as it is, and nobody hears it any more. */
static int ended(const struct mosquitto_evt_extended_auth *event)
{
    char shown[TEXT_FOR_LOG_SIZE];
    mosquitto_log_printf(MOSQ_LOG_NOTICE, "Keyfob: client %s sent an AUTH behind its end: ignored",
                         text_for_log(client_id_of(event), shown));
    return MOSQ_ERR_AUTH_CONTINUE;
}

int authentication_continue(struct keyfob *keyfob, struct mosquitto_evt_extended_auth *event)
{
    keyfob->refusing_queue = NULL;
    struct exchange *found = exchanges_of(&keyfob->exchanges, event->client);
    bool is_in = record_of(keyfob, event) != NULL;
    if (found == NULL || found->renewing != is_in) {
        return is_in ? unasked(keyfob, event) : ended(event);
    }
    const struct exchange exchange = *found;
    exchanges_remove(&keyfob->exchanges, found);
    if (exchange.renewing && contested(keyfob, event)) {
        return goes_on_as_it_was(event, TAKEN);
    }
    const struct wire_continue more = {
        .epoch = exchange.epoch,
        .client_id = client_id_of(event),
        .data = data_of(event),
        .wait_ms = (uint32_t)keyfob->options.guard_timeout_ms,
    };
    struct wire_decision decision;
    if (!links_ask(&keyfob->links, &(struct question){.more = &more}, &decision)) {
        return exchange.renewing ? goes_on_as_it_was(event, AWAY)
                                 : refuse_it(event, SERVER_UNAVAILABLE, AWAY);
    }
    return exchange.renewing ? renew(keyfob, event, exchange.epoch, &decision)
                             : connect_continue(keyfob, event, &exchange, &decision);
}

/* Mosquitto up to 2.0.12, when it frees a client that it has never let in, takes whoever else has
 * that client's identifier out of its table (context__remove_from_by_id in src/context.c): the
 * other's session would be lost, and could not be ended any more. By an identifier that no client
 * can have (MQTT 5.0 section 1.5.4, which Mosquitto holds to) it finds nobody. The text is the
 * broker's own memory, of a client that is in no table. */
static void hide(struct mosquitto *client)
{
    char *client_id = (char *)mosquitto_client_id(client);
    if (client_id != NULL && client_id[0] != '\0') {
        client_id[0] = SPOILT;
    }
}

void authentication_disconnected(struct keyfob *keyfob, struct mosquitto *client)
{
    struct exchange *exchange = exchanges_of(&keyfob->exchanges, client);
    keyfob->ended = client;
    if (exchange == NULL) {
        return;
    }
    bool was_in = exchange->renewing;
    uint64_t epoch = exchange->epoch;
    exchanges_remove(&keyfob->exchanges, exchange);
    if (was_in) {
        return; /* its OFFLINE tells the guard */
    }
    links_offline(&keyfob->links, epoch, text_of(mosquitto_client_id(client)), false);
    if (!keyfob->broker_2_1) {
        hide(client);
    }
}

/* Closing somebody by username walks over all connections, so no more than a share of the time goes
 * into it: who opens thousands of exchanges must not have the broker stand still when they end. */
void authentication_tick(struct keyfob *keyfob, int64_t now)
{
    if (now < keyfob->next_expelling) {
        return;
    }
    int64_t spent = 0;
    for (size_t i = keyfob->exchanges.count; i-- > 0 && spent < DELAYED_BURST_MS;) {
        if (i >= keyfob->exchanges.count || keyfob->exchanges.open[i].deadline > now) {
            continue;
        }
        struct exchange exchange = keyfob->exchanges.open[i];
        if (exchange.renewing) {
            exchanges_remove(&keyfob->exchanges, &keyfob->exchanges.open[i]);
            continue;
        }
        char name[DELAYED_NAME];
        /* It comes back with its DISCONNECT; a WebSocket of libwebsockets is not found this way. */
        keyfob->exchanges.open[i].deadline = now + keyfob->options.exchange_timeout_ms;
        mosquitto_kick_client_by_username(delayed_name(keyfob, exchange.epoch, name), false);
        spent = boottime_ms() - now;
    }
    keyfob->next_expelling = now + spent * DELAYED_SHARE;
}
