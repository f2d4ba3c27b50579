/* SPDX-License-Identifier: Apache-2.0 */
#include "pendings.h"

#include <stdlib.h>

/* Queues */

static void append(struct pending_queue *queue, struct pending *pending)
{
    pending->next = NULL;
    pending->previous = queue->last;
    if (queue->last != NULL) {
        queue->last->next = pending;
    } else {
        queue->first = pending;
    }
    queue->last = pending;
}

static void cut_out(struct pending_queue *queue, struct pending *pending)
{
    if (pending->previous != NULL) {
        pending->previous->next = pending->next;
    } else {
        queue->first = pending->next;
    }
    if (pending->next != NULL) {
        pending->next->previous = pending->previous;
    } else {
        queue->last = pending->previous;
    }
}

static struct pending_queue *queue_of(struct pendings *pendings, const struct pending *pending)
{
    return pending->given_up ? &pendings->closing : &pendings->waiting;
}

/* Tables: clients choose their identifiers, so those are hashed with a key; epochs are ours, and
 * rise by one. */

static size_t client_bucket(const struct pendings *pendings, struct text client_id)
{
    return hash_text(&pendings->key, client_id) % PENDINGS_BUCKETS;
}

static size_t epoch_bucket(uint64_t epoch)
{
    return epoch % PENDINGS_BUCKETS;
}

void pendings_init(struct pendings *pendings, struct hash_key key)
{
    *pendings = (struct pendings){.key = key};
}

static void free_queue(struct pending_queue *queue)
{
    for (struct pending *pending = queue->first, *next; pending != NULL; pending = next) {
        next = pending->next;
        free(pending);
    }
}

void pendings_free(struct pendings *pendings)
{
    free_queue(&pendings->waiting);
    free_queue(&pendings->closing);
    pendings_init(pendings, pendings->key);
}

struct pending *pendings_add(struct pendings *pendings, const struct pending *source,
                             struct text client_id)
{
    struct pending *pending = malloc(sizeof *pending + client_id.length + 1);
    if (pending == NULL) {
        return NULL;
    }
    *pending = *source;
    pending->given_up = false;
    pending->length = (uint16_t)client_id.length;
    memcpy(pending->client_id, client_id.at, client_id.length);
    pending->client_id[client_id.length] = '\0';
    struct pending **client = &pendings->by_client[client_bucket(pendings, client_id)];
    struct pending **epoch = &pendings->by_epoch[epoch_bucket(pending->epoch)];
    pending->same_client_bucket = *client;
    pending->same_epoch_bucket = *epoch;
    *client = *epoch = pending;
    append(&pendings->waiting, pending);
    pendings->count++;
    return pending;
}

struct pending *pendings_of_client(const struct pendings *pendings, struct text client_id)
{
    struct pending *pending = pendings->by_client[client_bucket(pendings, client_id)];
    while (pending != NULL && !text_equal(pending_client_id(pending), client_id)) {
        pending = pending->same_client_bucket;
    }
    return pending;
}

struct pending *pendings_awaiting(const struct pendings *pendings, unsigned worker,
                                  uint32_t request, uint64_t epoch)
{
    struct pending *pending = pendings->by_epoch[epoch_bucket(epoch)];
    while (pending != NULL && pending->epoch != epoch) {
        pending = pending->same_epoch_bucket;
    }
    bool awaits = pending != NULL && !pending->given_up && pending->worker == worker &&
                  pending->request == request;
    return awaits ? pending : NULL;
}

void pendings_take(struct pendings *pendings, struct pending *pending)
{
    struct pending **client =
        &pendings->by_client[client_bucket(pendings, pending_client_id(pending))];
    while (*client != pending) {
        client = &(*client)->same_client_bucket;
    }
    *client = pending->same_client_bucket;
    struct pending **epoch = &pendings->by_epoch[epoch_bucket(pending->epoch)];
    while (*epoch != pending) {
        epoch = &(*epoch)->same_epoch_bucket;
    }
    *epoch = pending->same_epoch_bucket;
    cut_out(queue_of(pendings, pending), pending);
    pendings->count--;
}

void pendings_give_up(struct pendings *pendings, struct pending *pending)
{
    if (!pending->given_up) {
        cut_out(&pendings->waiting, pending);
        pending->given_up = true;
        append(&pendings->closing, pending);
    }
}

size_t pendings_give_up_on(struct pendings *pendings, unsigned worker)
{
    size_t count = 0;
    for (struct pending *pending = pendings->waiting.first, *next; pending != NULL;
         pending = next) {
        next = pending->next;
        if (pending->worker == worker) {
            pendings_give_up(pendings, pending);
            count++;
        }
    }
    return count;
}

struct pending *pendings_due(const struct pendings *pendings, int64_t now)
{
    struct pending *first = pendings->waiting.first;
    return first != NULL && first->deadline <= now ? first : NULL;
}
