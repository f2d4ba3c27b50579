/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

#include "deadline.h"

#include <stdlib.h>

enum { FEWEST_BUCKETS = 64, SMALLEST_HEAP = 64 };

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

/* The heap of deadlines: heap[i] is not later than heap[2i+1] and heap[2i+2]. */

static void heap_set(struct records *records, size_t i, struct record *record)
{
    records->heap[i] = record;
    record->heap_place = (uint32_t)i + 1;
}

static void heap_rise(struct records *records, size_t i)
{
    struct record *record = records->heap[i];
    while (i > 0 && records->heap[(i - 1) / 2]->deadline > record->deadline) {
        heap_set(records, i, records->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_set(records, i, record);
}

static void heap_sink(struct records *records, size_t i)
{
    struct record *record = records->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= records->heap_count) {
            break;
        }
        if (child + 1 < records->heap_count &&
            records->heap[child + 1]->deadline < records->heap[child]->deadline) {
            child++;
        }
        if (records->heap[child]->deadline >= record->deadline) {
            break;
        }
        heap_set(records, i, records->heap[child]);
        i = child;
    }
    heap_set(records, i, record);
}

static void heap_add(struct records *records, struct record *record)
{
    heap_set(records, records->heap_count++, record);
    heap_rise(records, records->heap_count - 1);
}

static void heap_remove(struct records *records, struct record *record)
{
    if (record->heap_place == 0) {
        return;
    }
    size_t i = record->heap_place - 1;
    record->heap_place = 0;
    struct record *last = records->heap[--records->heap_count];
    if (last != record) {
        heap_set(records, i, last);
        heap_rise(records, i);
        heap_sink(records, last->heap_place - 1);
    }
}

static bool heap_has_room(struct records *records)
{
    if (records->heap_count < records->heap_capacity) {
        return true;
    }
    size_t capacity = records->heap_capacity ? 2 * records->heap_capacity : SMALLEST_HEAP;
    struct record **heap = realloc(records->heap, capacity * sizeof(struct record *));
    if (heap == NULL) {
        return false;
    }
    records->heap = heap;
    records->heap_capacity = capacity;
    return true;
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
    free(records->heap);
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

static struct record *next_to_go(const struct records *records)
{
    size_t i = 0;
    while (records->lists[SHELVES[i]].first == NULL) {
        i++;
    }
    return records->lists[SHELVES[i]].first;
}

static void enforce_limit(struct records *records)
{
    while (shelved(records) > records->offline_limit) {
        struct record *oldest = next_to_go(records);
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
           heap_has_room(records);
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
        heap_add(records, record);
    } else {
        shelve(records, record);
    }
    return true;
}

void records_drop(struct records *records, struct record *record)
{
    list_remove(records, record);
    heap_remove(records, record);
    connections_remove(&records->connections, record);
    table_remove(records, record);
    record_free(record);
}

void records_hasten(struct records *records, struct record *record)
{
    if (record->heap_place > 0) {
        record->deadline = INT64_MIN;
        heap_rise(records, record->heap_place - 1);
    }
}

void records_expire(struct records *records, struct record *record)
{
    if (record->state == RECORD_ONLINE) {
        heap_remove(records, record);
        record->state = RECORD_ENDED;
    }
}

void records_revoke(struct records *records, struct record *record)
{
    heap_remove(records, record);
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
    heap_remove(records, record);
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
    bool due = records->heap_count > 0 && records->heap[0]->deadline <= now;
    return due ? records->heap[0] : NULL;
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
    for (size_t i = 0; i < records->heap_count; i++) {
        struct record *record = records->heap[i];
        int64_t deadline = deadline_of(record->expires_at, boottime, wall);
        if (deadline < record->deadline) {
            record->deadline = deadline;
        }
    }
    for (size_t i = records->heap_count / 2; i-- > 0;) {
        heap_sink(records, i);
    }
}

bool records_visit(const struct records *records, size_t bucket,
                   bool (*visit)(void *context, const struct record *record), void *context,
                   bool *went_on)
{
    if (bucket >= records->bucket_count) {
        return false;
    }
    *went_on = true;
    for (struct record *record = records->buckets[bucket]; record != NULL && *went_on;
         record = record->hash_next) {
        *went_on = visit(context, record);
    }
    return true;
}
