/* SPDX-License-Identifier: Apache-2.0 */
/* A circuit breaker: after an answer that did not come in time, nobody waits for a while.
 *
 * Waiting for the guard stops the whole broker. So after a timeout CONNECTs are refused at once for
 * BREAKER_PAUSE_MS, and then one of them may try again. Where that one waits in vain too, and the
 * guard has not said anything in between, it does not run: the link is to be closed, so that the
 * next wait is for a connection, which the broker can do without stopping.
 */
#ifndef KEYFOB_BREAKER_H
#define KEYFOB_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum { BREAKER_PAUSE_MS = 500 };

struct breaker {
    int64_t closed_from; /* until then it is open: nobody asks */
    bool silent;         /* a wait was in vain, and nothing was heard since */
};

static inline bool breaker_allows(const struct breaker *breaker, int64_t now)
{
    return now >= breaker->closed_from;
}

/* Something came from the guard, be it late. */
static inline void breaker_heard(struct breaker *breaker)
{
    breaker->silent = false;
}

/* A wait was in vain. True when the link should be closed. */
static inline bool breaker_timed_out(struct breaker *breaker, int64_t now)
{
    bool again = breaker->silent;
    *breaker = (struct breaker){.closed_from = now + BREAKER_PAUSE_MS, .silent = true};
    return again;
}

#endif
