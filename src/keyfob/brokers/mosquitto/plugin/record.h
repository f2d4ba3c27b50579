/* SPDX-License-Identifier: Apache-2.0 */
/* A record: what the plugin remembers of one client, by its identifier; one block of memory.
 *
 * Its life:
 *
 *   ONLINE   a connection is there and its token is good
 *   ENDED    its token has run out; the connection is being closed
 *   OFFLINE  no connection; the broker may keep a session, and its will, for it
 *   REVOKED  nothing is allowed any more; the connection, where there is one, is being closed
 */
#ifndef KEYFOB_RECORD_H
#define KEYFOB_RECORD_H

#include "permissions.h"
#include "text.h"
#include "wire.h"

#include <stdbool.h>
#include <stdint.h>

enum record_state {
    RECORD_ONLINE,
    RECORD_ENDED,
    RECORD_OFFLINE,
    RECORD_REVOKED,
};

enum record_flag {
    RECORD_CLEAN = 1,    /* the CONNECT asked for a clean start */
    RECORD_DROPPED = 2,  /* without a connection there is no session: clean, before MQTT 5.0 */
    RECORD_UNKEPT = 4,   /* without a connection the guard need not remember it */
    RECORD_ASSIGNED = 8, /* the broker made up the client identifier */
    RECORD_WILLED = 16,  /* the will of its last connection was asked about */
};

enum { RECORD_TEXTS = 6 };

/* What a message asks about comes first and last: it lies in one or two cache lines, with the
 * client identifier. */
struct record {
    struct record *hash_next;
    struct record *list_next;
    struct record *list_previous;
    const void
        *was; /* the last connection: the broker may keep a session on it, or its will; likewise */
    uint64_t epoch;
    uint32_t hash;
    uint32_t heap_place; /* its place in the heap of deadlines, from 1; 0: it is not there */
    struct record *connection_next;
    const void *client; /* its connection, NULL without one: compared, never followed */
    int64_t expires_at; /* Unix milliseconds */
    int64_t deadline;   /* the same moment on CLOCK_BOOTTIME, in milliseconds */
    uint32_t place;     /* of the permissions, from where the record begins */
    uint8_t state;      /* enum record_state */
    uint8_t flags;      /* enum record_flag, together */
    uint8_t list;       /* which list of struct records it is in */
    uint8_t token;      /* as in struct wire_grant */
    uint16_t lengths[RECORD_TEXTS];
    char texts[]; /* the six texts, each terminated, and the permissions, aligned to 8 */
};

/* What a record is made of. */
struct record_source {
    struct text client_id;
    const struct wire_grant *grant;
    const void *client;
    const void *was;
    uint64_t epoch;
    int64_t deadline;
    enum record_state state;
    uint8_t flags;
};

/* NULL without memory, or when a filter is not one that MQTT allows. */
struct record *record_make(const struct record_source *source);
void record_free(struct record *record);

static inline struct text record_client_id(const struct record *record)
{
    return (struct text){record->texts, record->lengths[0]};
}

struct text record_principal(const struct record *record); /* terminated */

/* Can it be a username? The broker puts that into its log as it is. */
bool record_principal_usable(struct text principal);

/* May the broker keep a session for it that a stranger would take over with this identifier?
 * clean: the stranger's CONNECT asks for a clean start, which ends what a revoked client left. */
bool record_holds_session(const struct record *record, bool clean);

bool record_has_owner(const struct record *record, struct text issuer, struct text subject);

static inline const struct permissions *record_permissions(const struct record *record)
{
    return (const struct permissions *)((const char *)record + record->place);
}

/* What the flags of a RECORD are here. */
uint8_t record_flags_of(const struct wire_record *told);

/* Queues the RECORD that tells the guard about it. */
bool record_write(const struct record *record, struct buffer *out);

#endif
