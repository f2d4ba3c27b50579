/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that wait for their decision while the broker goes on (Mosquitto 2.1).
 *
 * The broker knows such a client by its identifier only, one for each, and tells nobody when it
 * goes away. So what is kept here may be of a client that is gone, and its struct may have been
 * freed: the address is compared, never followed. Each has an epoch that no other connection has,
 * and a new question under an identifier takes the place of the old one.
 *
 * One that cannot have its decision any more moves to the clients that are to be closed.
 */
#ifndef KEYFOB_PENDINGS_H
#define KEYFOB_PENDINGS_H

#include "hash.h"
#include "text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As many as the guard lets wait; a broker that has more has them refused as unavailable. */
enum { PENDINGS_MOST = 4096, PENDINGS_BUCKETS = 1024 };

struct pending {
    struct pending *same_client_bucket;
    struct pending *same_epoch_bucket;
    struct pending *previous;
    struct pending *next;
    const void *client; /* compared, never followed */
    uint64_t epoch;
    int64_t asked_at; /* on CLOCK_BOOTTIME, in milliseconds, as is the deadline */
    int64_t deadline;
    uint32_t request;
    unsigned worker; /* who was asked */
    uint8_t flags;   /* of the CONNECT */
    uint8_t protocol_level;
    bool given_up;
    uint16_t length;
    char client_id[]; /* terminated */
};

struct pending_queue {
    struct pending *first;
    struct pending *last;
};

struct pendings {
    struct pending *by_client[PENDINGS_BUCKETS];
    struct pending *by_epoch[PENDINGS_BUCKETS];
    struct pending_queue waiting; /* whose deadline comes first, first */
    struct pending_queue closing;
    size_t count; /* of both */
    struct hash_key key;
};

static inline struct text pending_client_id(const struct pending *pending)
{
    return (struct text){pending->client_id, pending->length};
}

static inline bool pendings_full(const struct pendings *pendings)
{
    return pendings->count >= PENDINGS_MOST;
}

void pendings_init(struct pendings *pendings, struct hash_key key);
void pendings_free(struct pendings *pendings);

/* Adds what waits now, with the deadline that comes last of all. There must be none of this client,
 * and room. NULL without memory. The facts of source are copied, but for its place in here. */
struct pending *pendings_add(struct pendings *pendings, const struct pending *source,
                             struct text client_id);

struct pending *pendings_of_client(const struct pendings *pendings, struct text client_id);

/* The one that still waits for this decision, of this worker, or NULL. */
struct pending *pendings_awaiting(const struct pendings *pendings, unsigned worker,
                                  uint32_t request, uint64_t epoch);

/* Takes it out; it is the caller's to free. */
void pendings_take(struct pendings *pendings, struct pending *pending);

/* It does not wait any more and is to be closed. */
void pendings_give_up(struct pendings *pendings, struct pending *pending);

/* The link to this worker is gone, and with it the answers; returns how many. */
size_t pendings_give_up_on(struct pendings *pendings, unsigned worker);

/* The one whose deadline has come, or NULL. */
struct pending *pendings_due(const struct pendings *pendings, int64_t now);

#endif
