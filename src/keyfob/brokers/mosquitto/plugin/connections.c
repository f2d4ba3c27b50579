/* SPDX-License-Identifier: Apache-2.0 */
#include "connections.h"

#include <stdlib.h>

enum { FEWEST_BUCKETS = 64 };

bool connections_init(struct connections *connections)
{
    *connections = (struct connections){
        .buckets = calloc(FEWEST_BUCKETS, sizeof(struct record *)),
        .bucket_count = FEWEST_BUCKETS,
    };
    return connections->buckets != NULL;
}

void connections_free(struct connections *connections)
{
    free(connections->buckets);
    *connections = (struct connections){0};
}

bool connections_make_room(struct connections *connections)
{
    if (connections->count < connections->bucket_count) {
        return true;
    }
    const struct connections old = *connections;
    struct record **buckets = calloc(2 * old.bucket_count, sizeof(struct record *));
    if (buckets == NULL) {
        return false;
    }
    *connections = (struct connections){.buckets = buckets, .bucket_count = 2 * old.bucket_count};
    for (size_t i = 0; i < old.bucket_count; i++) {
        for (struct record *record = old.buckets[i], *next; record != NULL; record = next) {
            next = record->connection_next;
            connections_add(connections, record);
        }
    }
    free(old.buckets);
    return true;
}

void connections_add(struct connections *connections, struct record *record)
{
    struct record **bucket = connections_bucket(connections, record->client);
    record->connection_next = *bucket;
    *bucket = record;
    connections->count++;
}

void connections_remove(struct connections *connections, struct record *record)
{
    if (record->client == NULL) {
        return;
    }
    struct record **link = connections_bucket(connections, record->client);
    while (*link != record) {
        link = &(*link)->connection_next;
    }
    *link = record->connection_next;
    connections->count--;
}
