/* SPDX-License-Identifier: Apache-2.0 */
#include "guard_links.h"

#include "deadline.h"
#include "guard_question.h"
#include "mosquitto_api.h"

#include <poll.h>

enum {
    /* While their number is not known, a second worker is looked for where the first one is away:
     * it can tell the number as well. */
    PROBED = 2,
    SHORTEST_PAUSE = 100,
    LONGEST_PAUSE = 2000,
    STARTUP_PAUSE = 50, /* between two attempts while the broker's start waits */
};

/* How many workers there are */

static void close_from(struct guard_links *links, unsigned first, unsigned but)
{
    for (unsigned i = first; i < ROUTE_MOST_WORKERS; i++) {
        if (i != but) {
            link_close(&links->link[i]);
        }
    }
}

/* From now on every client belongs to the worker that this number gives. Links that were opened for
 * another number carry other clients' records: they begin again. */
static void adopt_number(struct guard_links *links, unsigned workers, unsigned says)
{
    if (links->workers != 0) {
        mosquitto_log_printf(MOSQ_LOG_NOTICE, "Keyfob: the guard has %u workers now, not %u",
                             workers, links->workers);
    }
    close_from(links, 0, says);
    links->workers = workers;
}

static const char *disagreed(struct guard_links *links, unsigned says)
{
    close_from(links, 0, says);
    links->workers = 0;
    links->pause = links->pause == 0 ? SHORTEST_PAUSE : links->pause * 2;
    links->pause = links->pause < LONGEST_PAUSE ? links->pause : LONGEST_PAUSE;
    links->pause_until = boottime_ms() + links->pause;
    return "the guard's workers disagree how many they are";
}

static const char *on_welcome(struct guard_links *links, unsigned worker,
                              const struct wire_welcome *welcome)
{
    if (welcome->worker != worker) {
        return "another worker listens there";
    }
    if (welcome->workers > ROUTE_MOST_WORKERS) {
        return "it has more than 64 workers";
    }
    if (welcome->workers == links->workers) {
        return NULL;
    }
    if (worker != 0 && links->workers != 0) {
        return disagreed(links, worker);
    }
    adopt_number(links, welcome->workers, worker);
    return NULL;
}

/* All of them */

void links_init(struct guard_links *links, const struct options *options,
                const struct link_hooks *hooks, const struct wire_hello *hello)
{
    *links = (struct guard_links){.hooks = *hooks,
                                  .hello = *hello,
                                  .startup_wait_ms = options->startup_wait_ms,
                                  .guard_timeout_ms = options->guard_timeout_ms};
    links->hooks.links = links;
    links->hooks.on_welcome = on_welcome;
    for (unsigned i = 0; i < ROUTE_MOST_WORKERS; i++) {
        link_init(&links->link[i], i, options, &links->hooks, &links->hello);
    }
}

void links_close(struct guard_links *links)
{
    close_from(links, 0, ROUTE_MOST_WORKERS);
}

/* How many of them are of use now. */
static unsigned reach(const struct guard_links *links)
{
    if (links->workers > 0) {
        return links->workers;
    }
    return links->link[0].phase == LINK_DOWN ? PROBED : 1;
}

static bool all_ready(const struct guard_links *links)
{
    unsigned ready = 0;
    while (ready < links->workers && links->link[ready].phase == LINK_READY) {
        ready++;
    }
    return ready > 0 && ready == links->workers;
}

void links_service(struct guard_links *links, int64_t now)
{
    for (unsigned i = 0; i < reach(links) && now >= links->pause_until; i++) {
        links->link[i].quiet = links->workers == 0 && i > 0;
        link_service(&links->link[i], now);
    }
    if ((links->pause > 0 || !links->met) && all_ready(links)) {
        links->pause = 0;
        links->met = true;
    }
}

bool links_met(struct guard_links *links)
{
    links->met = links->met || all_ready(links);
    return links->met;
}

static void wait_for_any(const struct guard_links *links, int64_t longest)
{
    struct pollfd sockets[ROUTE_MOST_WORKERS];
    unsigned count = 0;
    for (unsigned i = 0; i < reach(links); i++) {
        const struct guard_link *link = &links->link[i];
        if (link->phase != LINK_DOWN && link->phase != LINK_READY) {
            short events = buffer_length(&link->out) > 0 ? POLLIN | POLLOUT : POLLIN;
            sockets[count++] = (struct pollfd){.fd = link->fd, .events = events};
        }
    }
    poll(sockets, count, longest < STARTUP_PAUSE ? (int)longest : STARTUP_PAUSE);
}

bool links_start(struct guard_links *links)
{
    int64_t deadline = boottime_ms() + links->startup_wait_ms;
    for (;;) {
        int64_t now = boottime_ms();
        for (unsigned i = 0; i < ROUTE_MOST_WORKERS; i++) {
            links->link[i].backoff = STARTUP_PAUSE;
        }
        links_service(links, now);
        if (all_ready(links) || now >= deadline) {
            return all_ready(links);
        }
        wait_for_any(links, deadline - now);
    }
}

/* Asking and telling */

unsigned links_owner(const struct guard_links *links, struct text client_id)
{
    return route_of(client_id, links->workers);
}

static struct guard_link *link_of(struct guard_links *links, struct text client_id)
{
    return &links->link[links_owner(links, client_id)];
}

/* The link to ask over, ready; NULL where it does not get so. Getting it ready may tell that the
 * client belongs to another one now. */
static struct guard_link *ready_link_of(struct guard_links *links, struct text client_id,
                                        int64_t now, int64_t deadline)
{
    enum { LOOKS = 2 };
    for (int look = 0; look < LOOKS && now >= links->pause_until; look++) {
        struct guard_link *link = link_of(links, client_id);
        if (!question_ready(link, now, deadline)) {
            return NULL;
        }
        if (link == link_of(links, client_id)) {
            return link;
        }
    }
    return NULL;
}

bool links_ask(struct guard_links *links, const struct question *question,
               struct wire_decision *decision)
{
    int64_t now = boottime_ms(), deadline = now + links->guard_timeout_ms;
    /* Twice: a guard that was restarted has closed the socket that we still believe in. */
    for (int round = 0; round < 2; round++) {
        struct guard_link *link = ready_link_of(links, question_client_id(question), now, deadline);
        enum question_result result =
            link == NULL ? QUESTION_TIMED_OUT : question_ask(link, question, deadline, decision);
        if (result != QUESTION_BROKE) {
            return result == QUESTION_ANSWERED;
        }
    }
    return false;
}

bool links_send(struct guard_links *links, const struct wire_connect *connect, int64_t now,
                uint32_t *request)
{
    return now >= links->pause_until &&
           question_send(link_of(links, connect->client_id), connect, now, request);
}

void links_admitted(struct guard_links *links, uint64_t epoch, struct text client_id)
{
    link_admitted(link_of(links, client_id), epoch, client_id);
}

void links_offline(struct guard_links *links, uint64_t epoch, struct text client_id, bool kept)
{
    link_offline(link_of(links, client_id), epoch, client_id, kept);
}
