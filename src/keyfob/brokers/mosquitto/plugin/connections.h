/* SPDX-License-Identifier: Apache-2.0 */
/* The records that have a connection, found by it: every message asks, and an address is hashed in
 * a few cycles where an identifier takes a hundred.
 *
 * An address alone proves nothing, for the broker reuses what it has freed and makes clients up. So
 * what is asked for is the record with this connection and this client identifier: whatever is in
 * here, the answer is the record that a search by identifier finds, or none.
 */
#ifndef KEYFOB_CONNECTIONS_H
#define KEYFOB_CONNECTIONS_H

#include "record.h"

struct connections {
    struct record **buckets; /* a power of two of them */
    size_t bucket_count;
    size_t count;
};

bool connections_init(struct connections *connections);
void connections_free(struct connections *connections);

/* Room for one more; false without memory. */
bool connections_make_room(struct connections *connections);

/* Takes in a record with a connection; there is room. */
void connections_add(struct connections *connections, struct record *record);

/* Takes it out, before its connection is another or it is freed. Does nothing where it has none. */
void connections_remove(struct connections *connections, struct record *record);

static inline struct record **connections_bucket(const struct connections *connections,
                                                 const void *client)
{
    /* Fibonacci hashing: addresses are multiples of 16, and the product's upper half is mixed. */
    uint64_t mixed = (uint64_t)(uintptr_t)client * UINT64_C(0x9E3779B97F4A7C15);
    return &connections->buckets[(mixed >> 32) & (connections->bucket_count - 1)];
}

/* The record with this connection and client identifier, or NULL. That of a record with a
 * connection came from the broker as this one does, terminated, so there is no zero in it. */
static inline struct record *connections_find(const struct connections *connections,
                                              const void *client, const char *client_id)
{
    if (client_id == NULL) {
        return NULL;
    }
    struct record *record = *connections_bucket(connections, client);
    while (record != NULL && (record->client != client || strcmp(record->texts, client_id) != 0)) {
        record = record->connection_next;
    }
    return record;
}

#endif
