/* SPDX-License-Identifier: Apache-2.0 */
/* A queue of bytes: written at its end, read at its start, never beyond its limit. */
#ifndef KEYFOB_BUFFER_H
#define KEYFOB_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    uint8_t *bytes;
    size_t start; /* where what is queued begins */
    size_t end;   /* where it ends */
    size_t capacity;
    size_t limit; /* the most that may be queued */
};

void buffer_init(struct buffer *buffer, size_t limit);
void buffer_free(struct buffer *buffer);

static inline size_t buffer_length(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

static inline const uint8_t *buffer_front(const struct buffer *buffer)
{
    return buffer->bytes == NULL ? (const uint8_t *)"" : buffer->bytes + buffer->start;
}

/* Makes room for size bytes at the end and says where; NULL beyond the limit or without memory. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t size);

/* The first size bytes of what was reserved are queued now. */
void buffer_commit(struct buffer *buffer, size_t size);

/* Takes size bytes off the start. */
void buffer_consume(struct buffer *buffer, size_t size);

/* Forgets what is queued and gives the memory back. */
void buffer_clear(struct buffer *buffer);

#endif
