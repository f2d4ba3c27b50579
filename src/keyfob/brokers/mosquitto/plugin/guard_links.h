/* SPDX-License-Identifier: Apache-2.0 */
/* The links to all workers of the guard, and which of them a client belongs to.
 *
 * How many workers there are the first WELCOME says, and every other one must say the same: a
 * client belongs to one worker, so nobody is asked while that is in doubt. A worker that is away
 * has its clients refused as unavailable, and only those.
 */
#ifndef KEYFOB_GUARD_LINKS_H
#define KEYFOB_GUARD_LINKS_H

#include "guard_question.h"
#include "route.h"

struct guard_links {
    struct link_hooks hooks;
    struct wire_hello hello;
    unsigned workers;    /* 0: nobody has said it yet */
    bool met;            /* all of them were ready at the same time, once */
    int64_t pause;       /* how long nobody is asked where workers disagree */
    int64_t pause_until; /* this time */
    int64_t startup_wait_ms;
    int64_t guard_timeout_ms;
    struct guard_link link[ROUTE_MOST_WORKERS];
};

/* hooks->on_welcome is not looked at: that is answered here. The options must outlive the links. */
void links_init(struct guard_links *links, const struct options *options,
                const struct link_hooks *hooks, const struct wire_hello *hello);
void links_close(struct guard_links *links);

/* Opens the links and waits until all are ready, at most startup_wait_ms. */
bool links_start(struct guard_links *links);

/* Does what there is to do without waiting. */
void links_service(struct guard_links *links, int64_t now);

/* Have all sessions been told that the guard knew of when the broker started? */
bool links_met(struct guard_links *links);

/* The worker that a client belongs to; 0 while their number is not known. */
unsigned links_owner(const struct guard_links *links, struct text client_id);

/* Asks for a decision and waits for it, at most guard_timeout_ms. False where none came. What
 * decision points to holds until the links are used again. */
bool links_ask(struct guard_links *links, const struct question *question,
               struct wire_decision *decision);

/* Asks and goes on; see question_send. */
bool links_send(struct guard_links *links, const struct wire_connect *connect, int64_t now,
                uint32_t *request);

/* Tell the worker that the client belongs to. */
void links_admitted(struct guard_links *links, uint64_t epoch, struct text client_id);
void links_offline(struct guard_links *links, uint64_t epoch, struct text client_id, bool kept);

#endif
