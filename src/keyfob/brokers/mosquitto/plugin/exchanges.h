/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that were asked for more (enhanced authentication, MQTT 5.0 section 4.12), until they
 * answer, hang up, or have had their time.
 *
 * Each is known by its connection. The broker tells of every connection that ends, so what is in
 * here is there still: nothing is left behind, and none is taken for another at the same address.
 */
#ifndef KEYFOB_EXCHANGES_H
#define KEYFOB_EXCHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXCHANGES_MOST = 4096 }; /* as many as the guard keeps of one link */

struct exchange {
    const void *client; /* compared, never followed */
    uint64_t epoch;     /* what the guard knows it by */
    int64_t deadline;   /* on CLOCK_BOOTTIME, in milliseconds */
    uint8_t flags;      /* of the CONNECT */
    uint8_t protocol_level;
    bool renewing; /* the client is in, and shows its next token */
};

struct exchanges {
    size_t count;
    struct exchange open[EXCHANGES_MOST];
};

static inline struct exchange *exchanges_of(struct exchanges *exchanges, const void *client)
{
    for (size_t i = 0; i < exchanges->count; i++) {
        if (exchanges->open[i].client == client) {
            return &exchanges->open[i];
        }
    }
    return NULL;
}

/* False where there are too many. There must be none of this client. */
static inline bool exchanges_add(struct exchanges *exchanges, const struct exchange *exchange)
{
    if (exchanges->count == EXCHANGES_MOST) {
        return false;
    }
    exchanges->open[exchanges->count++] = *exchange;
    return true;
}

static inline void exchanges_remove(struct exchanges *exchanges, struct exchange *exchange)
{
    *exchange = exchanges->open[--exchanges->count];
}

#endif
