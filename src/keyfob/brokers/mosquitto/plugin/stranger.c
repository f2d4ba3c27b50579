/* SPDX-License-Identifier: Apache-2.0 */
#include "stranger.h"

#include "admission.h"
#include "arrival.h"
#include "credentials.h"
#include "deadline.h"
#include "delayed.h"
#include "refusal.h"

enum { TELL_AGAIN_MS = 60000 };

/* Coming in
 *
 * What looks like a token is a token: if it is refused, or nobody can be asked about it, nobody
 * else is asked either, for a token must not be tried as a password. What does not is left to
 * others, whether the guard is there or not.
 *
 * A session belongs to (issuer, subject): under the identifier of one that is ours nobody comes in
 * without a token, or a revoked device would come back by a password and read what was queued.
 * Which sessions are ours the guard tells when the broker starts. Until it has, only who begins
 * with a clean start, and so takes nothing over, is left to others.
 */

/* On a reload the broker asks again about clients that it has, with the principal as username. */
static bool is_ours(const struct keyfob *keyfob, const struct mosquitto *client)
{
    const struct record *record =
        records_find(&keyfob->records, text_of(mosquitto_client_id(client)));
    const char *username = mosquitto_client_username(client);
    return record != NULL && username != NULL &&
           (record->client == client || record->was == client ||
            mosquitto_client_address(client) == NULL) &&
           text_equal(record_principal(record), text_of(username));
}

bool stranger_asks(const struct keyfob *keyfob, const struct mosquitto_evt_basic_auth *event)
{
    return !credential_is_token(text_of(event->username)) &&
           !credential_is_token(text_of(event->password)) &&
           !credential_is_ace(text_of(event->username)) &&
           !(keyfob->recheck_until > 0 && is_ours(keyfob, event->client));
}

/* May it not come in, whatever others say? Then this is why. */
static bool is_kept_out(struct keyfob *keyfob, struct mosquitto *client, struct refused *refused)
{
    bool clean = mosquitto_client_clean_session(client);
    const struct record *record =
        records_find(&keyfob->records, text_of(mosquitto_client_id(client)));
    if (record != NULL && record_holds_session(record, clean)) {
        *refused = (struct refused){
            NOT_AUTHORIZED, "it brings no token, and the session belongs to a client that had one"};
        return true;
    }
    if (!clean && !links_met(&keyfob->links) && !admission_is_recheck(keyfob, client)) {
        *refused = (struct refused){
            SERVER_UNAVAILABLE,
            "it brings no token, and the guard has not told yet whose session it is"};
        return true;
    }
    return false;
}

int stranger_answer(struct keyfob *keyfob, const struct mosquitto_evt_basic_auth *event)
{
    struct text client_id = text_of(mosquitto_client_id(event->client));
    keyfob->refusing_queue = NULL;
    if (!keyfob->ticked) {
        records_sweep(&keyfob->records);
        links_service(&keyfob->links, boottime_ms());
    }
    delayed_forget(keyfob, client_id);
    struct refused refused;
    if (is_kept_out(keyfob, event->client, &refused)) {
        return refuse(keyfob, event->client, refused.reason, refused.why);
    }
    return MOSQ_ERR_PLUGIN_DEFER;
}

/* What comes behind a connection's end is nobody's either: the broker goes on with what it had read
 * at that moment, before anything else, and others might refuse it (ended in authentication.c). */
bool stranger_continues(struct keyfob *keyfob, const struct mosquitto_evt_extended_auth *event)
{
    const struct record *record =
        records_find(&keyfob->records, text_of(mosquitto_client_id(event->client)));
    bool ours = record != NULL && record->client == event->client;
    return !ours && keyfob->ended != event->client &&
           exchanges_of(&keyfob->exchanges, event->client) == NULL;
}

int stranger_method(struct keyfob *keyfob, const struct mosquitto_evt_extended_auth *event)
{
    struct refused refused;
    if (is_kept_out(keyfob, event->client, &refused)) {
        return refuse_extended(text_of(mosquitto_client_id(event->client)), refused.reason,
                               refused.why);
    }
    return MOSQ_ERR_PLUGIN_DEFER;
}

/* Being in */

/* Nobody asked us about it. What certificates let in is the usual reason, and easily overlooked: to
 * the operator it looks as if all permissions had been lost. READ is also asked about sessions
 * without a connection, whose records may have been dropped. */
static void tell(struct keyfob *keyfob, const struct mosquitto_evt_acl_check *event)
{
    int64_t now = boottime_ms();
    bool lately = keyfob->stranger_told > 0 && now - keyfob->stranger_told < TELL_AGAIN_MS;
    if (lately || event->access == MOSQ_ACL_READ ||
        mosquitto_client_address(event->client) == NULL) {
        return;
    }
    keyfob->stranger_told = now;
    char shown[TEXT_FOR_LOG_SIZE];
    mosquitto_log_printf(
        MOSQ_LOG_WARNING,
        "Keyfob: client %s was let in by something else, so it may do nothing; does its listener "
        "have use_identity_as_username or use_subject_as_username? (told once a minute)",
        text_for_log(text_of(mosquitto_client_id(event->client)), shown));
}

/* A client that hung up before it was let in: the broker asks about its will all the same. One that
 * was asked for more has the name of those; of one whose decision was delayed, 2.1 has freed
 * everything else by then. What it calls itself is not proven, so no other rule may go by it.
 *
 * Somebody anonymous whose session comes from the disk has as little, and writes nothing. */
static bool never_came_in(const struct keyfob *keyfob, const struct mosquitto_evt_acl_check *event)
{
    const char *username = mosquitto_client_username(event->client);
    if (username != NULL) {
        return delayed_is_name(keyfob, text_of(username));
    }
    return keyfob->complete != NULL && event->access == MOSQ_ACL_WRITE &&
           mosquitto_client_address(event->client) == NULL;
}

/* May it have a share in what the broker keeps for the client on record? A connection that the
 * client on record has just replaced has its will to send, and no more. */
static bool takes_what_is_ours(const struct record *record,
                               const struct mosquitto_evt_acl_check *event)
{
    if (record->client != NULL) {
        return event->access != MOSQ_ACL_WRITE;
    }
    return record_holds_session(record, mosquitto_client_clean_session(event->client));
}

int stranger_check(struct keyfob *keyfob, struct record *record,
                   const struct mosquitto_evt_acl_check *event, enum option_mode mode)
{
    if (mode == MODE_EXCLUSIVE) {
        if (event->access == MOSQ_ACL_UNSUBSCRIBE) {
            return MOSQ_ERR_SUCCESS;
        }
        tell(keyfob, event);
        return MOSQ_ERR_ACL_DENIED;
    }
    if (never_came_in(keyfob, event)) {
        return MOSQ_ERR_ACL_DENIED;
    }
    if (record != NULL && takes_what_is_ours(record, event)) {
        tell(keyfob, event);
        return MOSQ_ERR_ACL_DENIED;
    }
    if (record != NULL && record->client == NULL && record->state == RECORD_REVOKED &&
        mosquitto_client_address(event->client) != NULL) {
        /* It has begun with a clean start, so what the revoked client left is gone, and what is
         * queued from now on is its own. */
        keyfob_session_gone(keyfob, record);
    }
    return MOSQ_ERR_PLUGIN_DEFER;
}
