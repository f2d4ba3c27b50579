/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

#include <stdlib.h>

enum { FEWEST_BUCKETS = 64 };

/* Lists */

static void list_append(struct records *records, struct record *record, enum record_list which)
{
    struct record_queue *list = &records->lists[which];
    record->list = (uint8_t)which;
    record->list_next = NULL;
    record->list_previous = list->last;
    if (list->last != NULL) {
        list->last->list_next = record;
    } else {
        list->first = record;
    }
    list->last = record;
    list->count++;
}

static void list_remove(struct records *records, struct record *record)
{
    if (record->list == LIST_NONE) {
        return;
    }
    struct record_queue *list = &records->lists[record->list];
    if (record->list_previous != NULL) {
        record->list_previous->list_next = record->list_next;
    } else {
        list->first = record->list_next;
    }
    if (record->list_next != NULL) {
        record->list_next->list_previous = record->list_previous;
    } else {
        list->last = record->list_previous;
    }
    list->count--;
    record->list = LIST_NONE;
    record->list_next = record->list_previous = NULL;
}

/* The hash table: chains, at most one record per bucket on average. */

static struct record **bucket_of(const struct records *records, uint32_t hash)
{
    return &records->buckets[hash & (records->bucket_count - 1)];
}

static void table_add(struct records *records, struct record *record)
{
    struct record **bucket = bucket_of(records, record->hash);
    record->hash_next = *bucket;
    *bucket = record;
    records->count++;
}

static void table_remove(struct records *records, struct record *record)
{
    struct record **link = bucket_of(records, record->hash);
    while (*link != record) {
        link = &(*link)->hash_next;
    }
    *link = record->hash_next;
    records->count--;
}

static bool table_has_room(struct records *records)
{
    if (records->count < records->bucket_count) {
        return true;
    }
    size_t old_count = records->bucket_count;
    struct record **old = records->buckets;
    struct record **buckets = calloc(2 * old_count, sizeof(struct record *));
    if (buckets == NULL) {
        return false;
    }
    records->buckets = buckets;
    records->bucket_count = 2 * old_count;
    records->count = 0;
    for (size_t i = 0; i < old_count; i++) {
        for (struct record *record = old[i], *next; record != NULL; record = next) {
            next = record->hash_next;
            table_add(records, record);
        }
    }
    free(old);
    return true;
}

/* The whole */

bool records_init(struct records *records, size_t offline_limit, struct hash_key key,
                  void (*evicted)(void *context, const struct record *record), void *context)
{
    *records = (struct records){
        .buckets = calloc(FEWEST_BUCKETS, sizeof(struct record *)),
        .bucket_count = FEWEST_BUCKETS,
        .offline_limit = offline_limit,
        .key = key,
        .evicted = evicted,
        .context = context,
    };
    if (records->buckets == NULL || !connections_init(&records->connections)) {
        records_free(records);
        return false;
    }
    return true;
}

void records_free(struct records *records)
{
    for (size_t i = 0; records->buckets != NULL && i < records->bucket_count; i++) {
        for (struct record *record = records->buckets[i], *next; record != NULL; record = next) {
            next = record->hash_next;
            record_free(record);
        }
    }
    free(records->buckets);
    connections_free(&records->connections);
    free(records->expiries.heap);
    *records = (struct records){0};
}

struct record *records_find(const struct records *records, struct text client_id)
{
    uint32_t hash = (uint32_t)hash_text(&records->key, client_id);
    struct record *record = *bucket_of(records, hash);
    while (record != NULL &&
           (record->hash != hash || !text_equal(record_client_id(record), client_id))) {
        record = record->hash_next;
    }
    return record;
}

/* The lists that count towards the limit, in the order in which they are evicted from. */
static const enum record_list SHELVES[] = {LIST_UNKEPT, LIST_DOUBTFUL, LIST_STORED, LIST_REVOKED};

enum { SHELF_COUNT = sizeof SHELVES / sizeof SHELVES[0] };

static size_t shelved(const struct records *records)
{
    size_t count = 0;
    for (size_t i = 0; i < SHELF_COUNT; i++) {
        count += records->lists[SHELVES[i]].count;
    }
    return count;
}

/* The one that has to go because there are too many, or NULL. */
static struct record *next_to_go(const struct records *records)
{
    bool too_many = shelved(records) > records->offline_limit ||
                    records->lists[LIST_UNKEPT].count > RECORDS_UNKEPT_MOST;
    size_t i = 0;
    if (!too_many) {
        return NULL;
    }
    while (records->lists[SHELVES[i]].first == NULL) {
        i++;
    }
    return records->lists[SHELVES[i]].first;
}

static void enforce_limit(struct records *records)
{
    struct record *oldest;
    while ((oldest = next_to_go(records)) != NULL) {
        records->evicted(records->context, oldest);
        records_drop(records, oldest);
    }
}

static enum record_list shelf_of(const struct record *record)
{
    if (record->flags & RECORD_UNKEPT) {
        return LIST_UNKEPT;
    }
    if (record->state == RECORD_REVOKED) {
        return LIST_REVOKED;
    }
    return record->flags & RECORD_CLEAN ? LIST_DOUBTFUL : LIST_STORED;
}

/* Puts a record without a connection where it belongs. */
static void shelve(struct records *records, struct record *record)
{
    if (record->flags & RECORD_DROPPED) {
        list_append(records, record, LIST_CLOSING);
        return;
    }
    list_append(records, record, shelf_of(record));
    enforce_limit(records);
}

bool records_make_room(struct records *records)
{
    return table_has_room(records) && connections_make_room(&records->connections) &&
           expiries_make_room(&records->expiries);
}

bool records_put(struct records *records, struct record *record)
{
    if (!records_make_room(records)) {
        return false;
    }
    struct record *older = records_find(records, record_client_id(record));
    if (older != NULL) {
        records_drop(records, older);
    }
    record->hash = (uint32_t)hash_text(&records->key, record_client_id(record));
    table_add(records, record);
    if (record->client != NULL) {
        connections_add(&records->connections, record);
    }
    if (record->state == RECORD_ONLINE) {
        expiries_add(&records->expiries, record);
    } else {
        shelve(records, record);
    }
    return true;
}

void records_drop(struct records *records, struct record *record)
{
    list_remove(records, record);
    expiries_remove(&records->expiries, record);
    connections_remove(&records->connections, record);
    table_remove(records, record);
    record_free(record);
}

void records_hasten(struct records *records, struct record *record)
{
    expiries_hasten(&records->expiries, record);
}

void records_expire(struct records *records, struct record *record)
{
    if (record->state == RECORD_ONLINE) {
        expiries_remove(&records->expiries, record);
        record->state = RECORD_ENDED;
    }
}

void records_revoke(struct records *records, struct record *record)
{
    expiries_remove(&records->expiries, record);
    record->state = RECORD_REVOKED;
    if (record->client != NULL && record->list == LIST_NONE) {
        list_append(records, record, LIST_KICKS);
    } else if (record->list == LIST_DOUBTFUL || record->list == LIST_STORED) {
        list_remove(records, record);
        list_append(records, record, shelf_of(record));
    }
}

void records_disconnect(struct records *records, struct record *record)
{
    expiries_remove(&records->expiries, record);
    list_remove(records, record);
    connections_remove(&records->connections, record);
    record->was = record->client;
    record->client = NULL;
    if (record->state != RECORD_REVOKED) {
        record->state = RECORD_OFFLINE;
    }
    shelve(records, record);
}

struct record *records_due(const struct records *records, int64_t now)
{
    return expiries_due(&records->expiries, now);
}

struct record *records_next_kick(struct records *records)
{
    struct record *record = records->lists[LIST_KICKS].first;
    if (record != NULL) {
        list_remove(records, record);
    }
    return record;
}

void records_sweep(struct records *records)
{
    while (records->lists[LIST_CLOSING].first != NULL) {
        records_drop(records, records->lists[LIST_CLOSING].first);
    }
}

void records_reconsider(struct records *records, int64_t boottime, int64_t wall)
{
    expiries_reconsider(&records->expiries, boottime, wall);
}

/* A step is a bucket of the table as it was at the first; since then the records of that bucket may
 * have been spread over others, each a multiple of steps away. */

size_t records_steps(const struct records *records)
{
    return records->bucket_count;
}

bool records_visit(const struct records *records, size_t step, size_t steps,
                   bool (*visit)(void *context, const struct record *record), void *context)
{
    for (size_t bucket = step; bucket < records->bucket_count; bucket += steps) {
        for (const struct record *record = records->buckets[bucket]; record != NULL;
             record = record->hash_next) {
            if (!visit(context, record)) {
                return false;
            }
        }
    }
    return true;
}
