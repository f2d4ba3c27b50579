/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a worker of the guard for a decision: waiting for it, or going on until it comes. */
#ifndef KEYFOB_GUARD_QUESTION_H
#define KEYFOB_GUARD_QUESTION_H

#include "guard_link.h"

enum question_result {
    QUESTION_ANSWERED,
    QUESTION_TIMED_OUT,
    QUESTION_BROKE, /* the link did: a guard that was restarted had closed it long ago */
};

/* False where nobody can be asked. Makes the link ready where that is a matter of moments: right
 * after the guard's restart, CONNECTs need not wait for the next TICK. Where it took too long, the
 * next ones do not wait at all. */
bool question_ready(struct guard_link *link, int64_t now, int64_t deadline);

/* What is asked: one of them, the others are NULL. */
struct question {
    const struct wire_connect *connect;
    const struct wire_reauthenticate *reauthenticate;
    const struct wire_continue *more;
};

static inline uint64_t question_epoch(const struct question *question)
{
    return question->connect != NULL          ? question->connect->epoch
           : question->reauthenticate != NULL ? question->reauthenticate->epoch
                                              : question->more->epoch;
}

static inline struct text question_client_id(const struct question *question)
{
    return question->connect != NULL          ? question->connect->client_id
           : question->reauthenticate != NULL ? question->reauthenticate->client_id
                                              : question->more->client_id;
}

/* Asks over a link that is ready, and waits until the deadline. What decision points to holds until
 * the link is used again. */
enum question_result question_ask(struct guard_link *link, const struct question *question,
                                  int64_t deadline, struct wire_decision *decision);

/* Asks without ever waiting, not even for the link: the answer comes to hooks->on_decision with
 * this request number. False where nobody could be asked. */
bool question_send(struct guard_link *link, const struct wire_connect *connect, int64_t now,
                   uint32_t *request);

/* An answer that was sent for at that moment did not come in time. A guard that said nothing since
 * does not run: its link is closed, and who comes next need not wait in vain. */
void question_timed_out(struct guard_link *link, int64_t asked_at);

#endif
