/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks and deadlines, in milliseconds.
 *
 * A token's end is a moment of the wall clock. On receipt it is turned into one of CLOCK_BOOTTIME,
 * which never steps and goes on while the machine sleeps. Both are kept and whichever is reached
 * first counts: a wall clock stepped back never extends a session, one stepped forward shortens it.
 *
 * A message asks whether an end has come, and to read two clocks takes longer than all else that it
 * asks. Most ends are far away. Whether one is, the kernel's coarse clocks tell, which are of its
 * last tick and read at once; nearer than that the clocks themselves are read.
 */
#ifndef KEYFOB_DEADLINE_H
#define KEYFOB_DEADLINE_H

#include <stdbool.h>
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

enum { FAR_MS = 1000 }; /* a hundred times what a coarse clock can be late */

/* The next whole second of a coarse clock, in milliseconds: to the millisecond would take a
 * division. */
static inline int64_t next_second_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return ((int64_t)now.tv_sec + 1) * 1000;
}

/* How far CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC, which has a coarse clock: for as long as the
 * machine has slept. */
static inline int64_t slept_ms(void)
{
    return boottime_ms() - clock_ms(CLOCK_MONOTONIC);
}

/* Are both ends still far away? Where the machine has slept since slept was found out, the wall
 * clock tells alone. */
static inline bool deadline_far(int64_t deadline, int64_t expires_at, int64_t slept)
{
    return next_second_ms(CLOCK_MONOTONIC_COARSE) + slept + FAR_MS < deadline &&
           next_second_ms(CLOCK_REALTIME_COARSE) + FAR_MS < expires_at;
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
