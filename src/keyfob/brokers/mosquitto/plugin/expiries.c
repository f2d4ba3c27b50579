/* SPDX-License-Identifier: Apache-2.0 */
#include "expiries.h"

#include "deadline.h"

#include <stdlib.h>

enum { SMALLEST = 64 };

/* A heap: heap[i] is not later than heap[2i+1] and heap[2i+2]. */

static void heap_set(struct expiries *expiries, size_t i, struct record *record)
{
    expiries->heap[i] = record;
    record->heap_place = (uint32_t)i + 1;
}

static void heap_rise(struct expiries *expiries, size_t i)
{
    struct record *record = expiries->heap[i];
    while (i > 0 && expiries->heap[(i - 1) / 2]->deadline > record->deadline) {
        heap_set(expiries, i, expiries->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_set(expiries, i, record);
}

static void heap_sink(struct expiries *expiries, size_t i)
{
    struct record *record = expiries->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= expiries->count) {
            break;
        }
        if (child + 1 < expiries->count &&
            expiries->heap[child + 1]->deadline < expiries->heap[child]->deadline) {
            child++;
        }
        if (expiries->heap[child]->deadline >= record->deadline) {
            break;
        }
        heap_set(expiries, i, expiries->heap[child]);
        i = child;
    }
    heap_set(expiries, i, record);
}

void expiries_add(struct expiries *expiries, struct record *record)
{
    heap_set(expiries, expiries->count++, record);
    heap_rise(expiries, expiries->count - 1);
}

void expiries_remove(struct expiries *expiries, struct record *record)
{
    if (record->heap_place == 0) {
        return;
    }
    size_t i = record->heap_place - 1;
    record->heap_place = 0;
    struct record *last = expiries->heap[--expiries->count];
    if (last != record) {
        heap_set(expiries, i, last);
        heap_rise(expiries, i);
        heap_sink(expiries, last->heap_place - 1);
    }
}

bool expiries_make_room(struct expiries *expiries)
{
    if (expiries->count < expiries->capacity) {
        return true;
    }
    size_t capacity = expiries->capacity ? 2 * expiries->capacity : SMALLEST;
    struct record **heap = realloc(expiries->heap, capacity * sizeof(struct record *));
    if (heap == NULL) {
        return false;
    }
    expiries->heap = heap;
    expiries->capacity = capacity;
    return true;
}

void expiries_hasten(struct expiries *expiries, struct record *record)
{
    if (record->heap_place > 0) {
        record->deadline = INT64_MIN;
        heap_rise(expiries, record->heap_place - 1);
    }
}

void expiries_reconsider(struct expiries *expiries, int64_t boottime, int64_t wall)
{
    for (size_t i = 0; i < expiries->count; i++) {
        struct record *record = expiries->heap[i];
        int64_t deadline = deadline_of(record->expires_at, boottime, wall);
        if (deadline < record->deadline) {
            record->deadline = deadline;
        }
    }
    for (size_t i = expiries->count / 2; i-- > 0;) {
        heap_sink(expiries, i);
    }
}
