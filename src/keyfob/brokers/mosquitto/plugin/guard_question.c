/* SPDX-License-Identifier: Apache-2.0 */
#include "guard_question.h"

#include "deadline.h"
#include "wake.h"

#include <sys/socket.h>

enum {
    ASK_BACKOFF = 20, /* a CONNECT that finds no link tries at once, but not a guard that hung up */
};

static const char DOES_NOT_ANSWER[] = "it does not answer";

static bool write_question(struct guard_link *link, const struct question *question)
{
    link->request = link->request == UINT32_MAX ? 1 : link->request + 1;
    if (question->connect != NULL) {
        return wire_write_connect(&link->out, link->request, question->connect);
    }
    if (question->reauthenticate != NULL) {
        return wire_write_reauthenticate(&link->out, link->request, question->reauthenticate);
    }
    return wire_write_continue(&link->out, link->request, question->more);
}

static void reopen(struct guard_link *link, int64_t now)
{
    if (link->phase == LINK_DOWN && now - link->last_opened >= ASK_BACKOFF) {
        link_attempt(link, now);
    }
}

/* Waiting */

static bool exchange(struct guard_link *link, const struct question *question, int64_t deadline,
                     struct wire_frame *frame)
{
    if (!write_question(link, question)) {
        return false;
    }
    link->awaited = frame;
    link_flush(link);
    link_take_frames(link);
    while (link->fd != -1 && link->awaited != NULL && link_wait(link, deadline)) {
        link_flush(link);
        link_receive(link);
    }
    bool answered = link->fd != -1 && link->awaited == NULL;
    link->awaited = NULL;
    if (answered && frame->decision.epoch != question_epoch(question)) {
        link_fail(link, "it broke the protocol", 0);
        return false;
    }
    return answered;
}

bool question_ready(struct guard_link *link, int64_t now, int64_t deadline)
{
    link_release(link);
    if (!breaker_allows(&link->breaker, now)) {
        return false;
    }
    reopen(link, now);
    if (link->phase == LINK_READY) {
        return true;
    }
    if (link->phase == LINK_DOWN || link->waited) {
        return false;
    }
    bool ready = link_get_ready(link, deadline);
    link->waited = link->phase != LINK_DOWN;
    return ready;
}

enum question_result question_ask(struct guard_link *link, const struct question *question,
                                  int64_t deadline, struct wire_decision *decision)
{
    struct wire_frame frame;
    if (exchange(link, question, deadline, &frame)) {
        *decision = frame.decision;
        if (buffer_length(&link->in) > link->held) {
            wake_mark(); /* more has come: the next TICK reads it */
        }
        return QUESTION_ANSWERED;
    }
    if (link->phase == LINK_DOWN) {
        return QUESTION_BROKE;
    }
    if (breaker_timed_out(&link->breaker, boottime_ms())) {
        link_fail(link, DOES_NOT_ANSWER, 0);
    }
    return QUESTION_TIMED_OUT;
}

/* Going on */

/* Has the guard hung up, and we have not read that yet? */
static bool hung_up(const struct guard_link *link)
{
    char next;
    return recv(link->fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

bool question_send(struct guard_link *link, const struct wire_connect *connect, int64_t now,
                   uint32_t *request)
{
    link_release(link);
    if (link->phase != LINK_DOWN && hung_up(link)) {
        link_fail(link, "it closed the link", 0);
    }
    reopen(link, now);
    if (link->phase != LINK_READY ||
        !write_question(link, &(struct question){.connect = connect})) {
        return false;
    }
    *request = link->request;
    link_flush(link);
    return link->phase == LINK_READY;
}

void question_timed_out(struct guard_link *link, int64_t asked_at)
{
    if (link->phase != LINK_DOWN && link->last_heard < asked_at) {
        link_fail(link, DOES_NOT_ANSWER, 0);
    }
}
