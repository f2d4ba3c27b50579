/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks and deadlines, in milliseconds.
 *
 * A token's end is a moment of the wall clock. On receipt it is turned into one of CLOCK_BOOTTIME,
 * which never steps and goes on while the machine sleeps. Both are kept and whichever is reached
 * first counts: a wall clock stepped back never extends a session, one stepped forward shortens it.
 */
#ifndef KEYFOB_DEADLINE_H
#define KEYFOB_DEADLINE_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline int64_t boottime_ms(void)
{
    return clock_ms(CLOCK_BOOTTIME);
}

static inline int64_t wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

/* The moment of CLOCK_BOOTTIME at which the wall clock will show expires_at; the clocks' ends where
 * there is none (expires_at is any number that a peer sent). */
static inline int64_t deadline_of(int64_t expires_at, int64_t boottime, int64_t wall)
{
    int64_t left, deadline;
    if (__builtin_sub_overflow(expires_at, wall, &left) ||
        __builtin_add_overflow(boottime, left, &deadline)) {
        return expires_at < wall ? INT64_MIN : INT64_MAX;
    }
    return deadline;
}

#endif
