/* SPDX-License-Identifier: Apache-2.0 */
#include "replacement.h"

#include "deadline.h"

/* An end that has come stays: only the TICK that closes the connection is still to come. */
bool replacement_possible(const struct record *record)
{
    return record->state == RECORD_ONLINE && boottime_ms() < record->deadline &&
           wall_ms() < record->expires_at;
}

static bool concerns(const struct record *record, const struct wire_replace *replace)
{
    return record != NULL && record->epoch == replace->epoch &&
           record_has_owner(record, replace->grant.issuer, replace->grant.subject) &&
           replacement_possible(record);
}

enum replacement replacement_put(struct keyfob *keyfob, const struct wire_replace *replace)
{
    const struct record *old = records_find(&keyfob->records, replace->client_id);
    if (!concerns(old, replace)) {
        return REPLACEMENT_STRANGER;
    }
    struct wire_grant grant = replace->grant;
    grant.principal = record_principal(old); /* it is the connection's username, which stays */
    struct record *record = record_make(&(struct record_source){
        .client_id = replace->client_id,
        .grant = &grant,
        .client = old->client,
        .was = old->was,
        .epoch = old->epoch,
        .deadline = deadline_of(grant.expires_at, boottime_ms(), wall_ms()),
        .state = RECORD_ONLINE,
        .flags = old->flags,
    });
    if (record == NULL || !records_put(&keyfob->records, record)) {
        record_free(record);
        return REPLACEMENT_REFUSED;
    }
    return REPLACEMENT_DONE;
}

void replacement_apply(struct keyfob *keyfob, const struct wire_replace *replace)
{
    char shown[TEXT_FOR_LOG_SIZE];
    text_for_log(replace->client_id, shown);
    switch (replacement_put(keyfob, replace)) {
    case REPLACEMENT_STRANGER: break;
    case REPLACEMENT_REFUSED:
        mosquitto_log_printf(MOSQ_LOG_WARNING,
                             "Keyfob: client %s: its permissions stay as they are: no memory for "
                             "new ones, or they are no topic filters",
                             shown);
        break;
    case REPLACEMENT_DONE:
        mosquitto_log_printf(MOSQ_LOG_NOTICE, "Keyfob: client %s: its permissions were replaced",
                             shown);
        break;
    }
}
