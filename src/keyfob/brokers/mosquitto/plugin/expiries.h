/* SPDX-License-Identifier: Apache-2.0 */
/* The records whose tokens can run out, the nearest end first. */
#ifndef KEYFOB_EXPIRIES_H
#define KEYFOB_EXPIRIES_H

#include "record.h"

struct expiries {
    struct record **heap;
    size_t count;
    size_t capacity;
};

/* Room for one more; false without memory. */
bool expiries_make_room(struct expiries *expiries);

/* Takes in a record, by its deadline; there is room. */
void expiries_add(struct expiries *expiries, struct record *record);

/* Takes it out. Does nothing where it is not in. */
void expiries_remove(struct expiries *expiries, struct record *record);

/* Its deadline is now, where it is in. */
void expiries_hasten(struct expiries *expiries, struct record *record);

/* The wall clock moved against CLOCK_BOOTTIME: brings every deadline forward to the moment that the
 * wall clock gives now. None is ever put off. */
void expiries_reconsider(struct expiries *expiries, int64_t boottime, int64_t wall);

/* The one whose deadline has come, the earliest first, or NULL. */
static inline struct record *expiries_due(const struct expiries *expiries, int64_t now)
{
    bool due = expiries->count > 0 && expiries->heap[0]->deadline <= now;
    return due ? expiries->heap[0] : NULL;
}

#endif
