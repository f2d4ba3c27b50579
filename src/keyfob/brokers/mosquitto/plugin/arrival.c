/* SPDX-License-Identifier: Apache-2.0 */
#include "arrival.h"

#include "deadline.h"
#include "refusal.h"

enum { MQTT_5 = 5 };

/* A session belongs to (issuer, subject), for as long as the broker may keep it. */
static bool belongs_to_another(const struct keyfob *keyfob, const struct wire_connect *connect,
                               const struct wire_grant *grant)
{
    const struct record *record = records_find(&keyfob->records, connect->client_id);
    return record != NULL && !record_has_owner(record, grant->issuer, grant->subject) &&
           record_holds_session(record, connect->flags & WIRE_CLEAN);
}

static uint8_t flags_of(const struct wire_connect *connect)
{
    uint8_t flags = 0;
    if (connect->flags & WIRE_CLEAN) {
        flags |= RECORD_CLEAN;
        if (connect->protocol_level < MQTT_5) {
            flags |= RECORD_DROPPED | RECORD_UNKEPT;
        }
    }
    if (connect->flags & WIRE_ASSIGNED) {
        /* Nobody can come back to it: coming back is no clean start, so the identifier would have
         * to belong to the token. */
        flags |= RECORD_UNKEPT | RECORD_ASSIGNED;
    }
    return flags;
}

static struct refused looked_at(const struct keyfob *keyfob, const struct wire_connect *connect,
                                const struct wire_grant *grant, int64_t wall)
{
    if (grant->expires_at <= wall) {
        return (struct refused){NOT_AUTHORIZED, "its token has run out"};
    }
    if (belongs_to_another(keyfob, connect, grant)) {
        return (struct refused){NOT_AUTHORIZED, "the session belongs to another"};
    }
    if (!record_principal_usable(grant->principal)) {
        return (struct refused){NOT_AUTHORIZED, "its principal cannot be a username"};
    }
    return (struct refused){0, NULL};
}

struct record *arrival_prepare(struct keyfob *keyfob, const void *client,
                               const struct wire_connect *connect, const struct wire_grant *grant,
                               struct refused *refused)
{
    int64_t now = boottime_ms(), wall = wall_ms();
    *refused = looked_at(keyfob, connect, grant, wall);
    if (refused->why != NULL) {
        return NULL;
    }
    struct record *record = record_make(&(struct record_source){
        .client_id = connect->client_id,
        .grant = grant,
        .client = client,
        .epoch = connect->epoch,
        .deadline = deadline_of(grant->expires_at, now, wall),
        .state = RECORD_ONLINE,
        .flags = flags_of(connect),
    });
    if (record == NULL || !records_make_room(&keyfob->records)) {
        record_free(record);
        *refused = (struct refused){SERVER_UNAVAILABLE,
                                    "no memory, or permissions that are no topic filters"};
        return NULL;
    }
    return record;
}

void arrival_complete(struct keyfob *keyfob, struct record *record)
{
    const struct record *older = records_find(&keyfob->records, record_client_id(record));
    bool was_revoked = older != NULL && older->state == RECORD_REVOKED;
    if (older != NULL) {
        record->was = older->client != NULL ? older->client : older->was;
    }
    records_put(&keyfob->records, record); /* there is room */
    keyfob->refusing_queue = was_revoked ? record->client : NULL;
    links_admitted(&keyfob->links, record->epoch, record_client_id(record));
}
