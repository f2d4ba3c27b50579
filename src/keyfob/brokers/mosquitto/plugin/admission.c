/* SPDX-License-Identifier: Apache-2.0 */
#include "admission.h"

#include "arrival.h"
#include "certificate.h"
#include "deadline.h"
#include "delayed.h"
#include "enforcement.h"
#include "refusal.h"
#include "wake.h"

#include <ctype.h>

enum {
    NOT_A_RECHECK = -1000,
    RECHECK_MS = 10000,
    WALK_MS = 300000, /* a broker that walks its clients for longer has lost them */
    UUID_LENGTH = 36,
    LONGEST_PEER = 255,
};

/* The re-check after SIGHUP
 *
 * On a reload the broker walks all clients, those without a connection too, and calls BASIC_AUTH
 * again with the username and password that it has stored: the username is the principal by now,
 * and the token may have run out of use. That is no new CONNECT; it is answered from the record.
 * What must not happen is that a stranger's CONNECT, with a principal as its username and no token,
 * is taken for such a re-check.
 *
 * The RELOAD event opens a window, the next TICK closes it. Between them the broker reads from no
 * connection (src/loop.c of 2.0.11; src/signals.c and src/loop.c of 2.1.2), with two exceptions:
 *
 * Builds with libwebsockets serve WebSockets there. In 2.0 WebSockets are always that; a session
 * without a connection does not count as one.
 *
 * Mosquitto up to 2.0.14 with per_listener_settings never calls TICK. The window closes by time,
 * and CONNECTs fall into it. There 2.0.11 also asks about sessions without a connection, whose
 * listener it does not forget (net__socket_close in lib/net_mosq.c), and they are decided like
 * CONNECTs.
 *
 * In these only a connection that is itself on record is answered from the record. That is safe: a
 * connection that is in cannot send a second CONNECT (MQTT-3.1.0-2), and its address is not reused
 * while it is on record, for it goes off in the DISCONNECT event, before the broker frees it.
 *
 * Otherwise nobody is refused: who may not stay is closed by the next TICK, and may do nothing
 * meanwhile. A refused session without a connection, such as a revoked client's, the broker would
 * end once more, and 2.0 enter it twice into its list of sessions that expire (session_expiry__add
 * in src/session_expiry.c): when it is gone, the second entry points to freed memory.
 */

void admission_reloaded(struct keyfob *keyfob, int64_t now)
{
    keyfob->recheck_until = now + RECHECK_MS;
}

static bool may_be_new(const struct keyfob *keyfob, const struct mosquitto *client)
{
    return !keyfob->ticked ||
           (keyfob->lws && mosquitto_client_protocol(client) == MOSQ_PROTOCOL_WEBSOCKETS);
}

bool admission_is_recheck(const struct keyfob *keyfob, const struct mosquitto *client)
{
    return boottime_ms() < keyfob->recheck_until && !may_be_new(keyfob, client);
}

static int recheck(const struct keyfob *keyfob, struct mosquitto *client)
{
    const struct record *record =
        records_find(&keyfob->records, text_of(mosquitto_client_id(client)));
    bool known = record != NULL && record->state != RECORD_REVOKED &&
                 text_equal(record_principal(record), text_of(mosquitto_client_username(client)));
    if (known && record->client == client) {
        return MOSQ_ERR_SUCCESS;
    }
    return may_be_new(keyfob, client) ? NOT_A_RECHECK : MOSQ_ERR_SUCCESS;
}

/* A broker without TICK
 *
 * Mosquitto up to 2.0.14 with per_listener_settings never calls TICK. Connections whose end has
 * come are closed when another one asks to come in: where the broker itself closes other clients,
 * for a takeover (connect__on_authorised in src/handle_connect.c), and frees none of them before
 * its next turn (context__free_disused in src/loop.c). ACL_CHECK is no such place: for READ the
 * broker stands in the list of subscriptions that a kick takes from (subs__process in src/subs.c).
 *
 * Not while the broker walks its clients after SIGHUP (mosquitto_security_apply_default), for it
 * has the next one in its hands: neither for a client that it has had, nor for some minutes at all.
 */

static bool may_be_walking(const struct keyfob *keyfob, const struct mosquitto *client, int64_t now)
{
    const struct record *record =
        records_find(&keyfob->records, text_of(mosquitto_client_id(client)));
    bool was_in = record != NULL && (record->client == client || record->was == client);
    return was_in || (keyfob->recheck_until > 0 && now < keyfob->recheck_until + WALK_MS);
}

void admission_instead_of_tick(struct keyfob *keyfob, const struct mosquitto *client)
{
    int64_t now = boottime_ms();
    records_sweep(&keyfob->records);
    if (may_be_walking(keyfob, client, now)) {
        return;
    }
    if (wake_take()) {
        links_service(&keyfob->links, now);
    }
    enforcement_watch_clock(keyfob);
    enforcement_tick(keyfob, now);
}

/* What is asked */

static bool is_uuid(const char *at)
{
    for (size_t i = 0; i < UUID_LENGTH; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? at[i] != '-' : !isxdigit((unsigned char)at[i])) {
            return false;
        }
    }
    return true;
}

/* Did the broker make this identifier up? client_id_gen in src/handle_connect.c, the same in 2.0
 * and 2.1. */
static bool is_assigned(struct text client_id, const char *prefix)
{
    struct text start = text_of(prefix);
    return client_id.length == start.length + UUID_LENGTH && text_starts(client_id, start) &&
           is_uuid(client_id.at + start.length);
}

/* The address that the connection comes from. With libwebsockets the broker takes it from the
 * client's X-Forwarded-For where there is one (src/websockets.c), so it may be anything, and it is
 * left out where it cannot be an address: the link would not survive what is no text. */
struct text admission_peer(const struct mosquitto *client)
{
    struct text peer = text_of(mosquitto_client_address(client));
    bool usable = peer.length <= LONGEST_PEER && text_is_utf8(peer);
    return usable ? peer : (struct text){"", 0};
}

struct wire_connect admission_describe(struct keyfob *keyfob, const struct mosquitto *client,
                                       uint8_t thumbprint[WIRE_THUMBPRINT])
{
    struct wire_connect connect = {
        .epoch = ++keyfob->epoch,
        .protocol_level = (uint8_t)mosquitto_client_protocol_version(client),
        .client_id = text_of(mosquitto_client_id(client)),
        .peer = admission_peer(client),
        .thumbprint = certificate_thumbprint(client, thumbprint),
        .wait_ms = (uint32_t)keyfob->options.guard_timeout_ms,
    };
    bool clean = mosquitto_client_clean_session(client);
    bool assigned = clean && is_assigned(connect.client_id, keyfob->options.auto_id_prefix);
    connect.flags = (uint8_t)((clean ? WIRE_CLEAN : 0) | (assigned ? WIRE_ASSIGNED : 0));
    return connect;
}

static struct wire_connect describe(struct keyfob *keyfob,
                                    const struct mosquitto_evt_basic_auth *event,
                                    uint8_t thumbprint[WIRE_THUMBPRINT])
{
    struct wire_connect connect = admission_describe(keyfob, event->client, thumbprint);
    connect.username = text_of(event->username);
    connect.password = text_of(event->password);
    connect.flags |= (uint8_t)((event->username ? WIRE_HAS_USERNAME : 0) |
                               (event->password ? WIRE_HAS_PASSWORD : 0));
    return connect;
}

/* Deciding */

bool admission_accept(struct keyfob *keyfob, struct mosquitto *client,
                      const struct wire_connect *connect, const struct wire_grant *grant,
                      struct refused *refused)
{
    struct record *record = arrival_prepare(keyfob, client, connect, grant, refused);
    if (record == NULL) {
        return false;
    }
    /* The username first: from then on the token is nowhere to be seen. */
    if (mosquitto_set_username(client, record_principal(record).at) != MOSQ_ERR_SUCCESS) {
        record_free(record);
        *refused = (struct refused){SERVER_UNAVAILABLE, "its principal cannot be its username"};
        return false;
    }
    arrival_complete(keyfob, record);
    return true;
}

static int decide_now(struct keyfob *keyfob, struct mosquitto *client,
                      const struct wire_connect *connect)
{
    struct wire_decision decision;
    if (!links_ask(&keyfob->links, &(struct question){.connect = connect}, &decision)) {
        return refuse(keyfob, client, SERVER_UNAVAILABLE, "the guard does not answer");
    }
    if (decision.reason != 0) { /* one that asks for more is none to a question without a method */
        return refuse(keyfob, client, decision.reason, "by the guard");
    }
    struct refused refused;
    if (!admission_accept(keyfob, client, connect, &decision.grant, &refused)) {
        return refuse(keyfob, client, refused.reason, refused.why);
    }
    return MOSQ_ERR_SUCCESS;
}

/* WebSockets of libwebsockets are not among the connections that a pending client is found in. */
static bool may_be_delayed(const struct keyfob *keyfob, const struct mosquitto *client)
{
    return keyfob->complete != NULL &&
           !(keyfob->lws && mosquitto_client_protocol(client) == MOSQ_PROTOCOL_WEBSOCKETS);
}

int admission_check(struct keyfob *keyfob, const struct mosquitto_evt_basic_auth *event)
{
    keyfob->refusing_queue = NULL;
    if (keyfob->recheck_until > 0) {
        int answer =
            boottime_ms() < keyfob->recheck_until ? recheck(keyfob, event->client) : NOT_A_RECHECK;
        if (answer != NOT_A_RECHECK) {
            return answer;
        }
    }
    if (!keyfob->ticked) {
        admission_instead_of_tick(keyfob, event->client);
    }
    uint8_t thumbprint[WIRE_THUMBPRINT];
    struct wire_connect connect = describe(keyfob, event, thumbprint);
    if (connect.client_id.length == 0 || !text_is_utf8(connect.client_id)) {
        return refuse(keyfob, event->client, CLIENT_IDENTIFIER_NOT_VALID,
                      "its identifier is not valid");
    }
    delayed_forget(keyfob, connect.client_id);
    if (may_be_delayed(keyfob, event->client)) {
        return delayed_ask(keyfob, event->client, &connect);
    }
    return decide_now(keyfob, event->client, &connect);
}
