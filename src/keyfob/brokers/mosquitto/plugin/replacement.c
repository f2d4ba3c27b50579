/* SPDX-License-Identifier: Apache-2.0 */
#include "replacement.h"

#include "deadline.h"

/* An end that has come stays: only the TICK that closes the connection is still to come. */
static bool concerns(const struct record *record, const struct wire_replace *replace, int64_t now,
                     int64_t wall)
{
    return record != NULL && record->state == RECORD_ONLINE && record->epoch == replace->epoch &&
           record_has_owner(record, replace->grant.issuer, replace->grant.subject) &&
           now < record->deadline && wall < record->expires_at;
}

void replacement_apply(struct keyfob *keyfob, const struct wire_replace *replace)
{
    int64_t now = boottime_ms(), wall = wall_ms();
    const struct record *old = records_find(&keyfob->records, replace->client_id);
    if (!concerns(old, replace, now, wall)) {
        return;
    }
    struct wire_grant grant = replace->grant;
    grant.principal = record_principal(old); /* it is the connection's username, which stays */
    struct record *record = record_make(&(struct record_source){
        .client_id = replace->client_id,
        .grant = &grant,
        .client = old->client,
        .epoch = old->epoch,
        .deadline = deadline_of(grant.expires_at, now, wall),
        .state = RECORD_ONLINE,
        .flags = old->flags,
    });
    char shown[TEXT_FOR_LOG_SIZE];
    text_for_log(replace->client_id, shown);
    if (record == NULL || !records_put(&keyfob->records, record)) {
        record_free(record);
        mosquitto_log_printf(MOSQ_LOG_WARNING,
                             "Keyfob: client %s: its permissions stay as they are: no memory for "
                             "new ones, or they are no topic filters",
                             shown);
        return;
    }
    mosquitto_log_printf(MOSQ_LOG_NOTICE, "Keyfob: client %s: its permissions were replaced",
                         shown);
}
