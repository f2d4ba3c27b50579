/* SPDX-License-Identifier: Apache-2.0 */
/* The link to one worker of the guard: a Unix socket, opened and kept in step.
 *
 * docs/wire-protocol.md says what is spoken; guard_question.h asks over it, guard_links.h has all
 * of them. Nothing here ever blocks.
 */
#ifndef KEYFOB_GUARD_LINK_H
#define KEYFOB_GUARD_LINK_H

#include "breaker.h"
#include "buffer.h"
#include "options.h"
#include "wire.h"

enum { LINK_PATH = OPTION_TEXT + 4 }; /* the option, and ".63" */

struct guard_links;

/* What a link asks of its owner; worker says which link. */
struct link_hooks {
    void *context;
    /* In how many steps all RECORDs can be told as of now; and queues those of one, from 0 on.
     * False where they found no room. */
    size_t (*record_steps)(void *context);
    bool (*write_records)(void *context, unsigned worker, size_t step, size_t steps,
                          struct buffer *out);
    /* Asked with all links, and not with context: NULL, or why this one cannot go on. */
    struct guard_links *links;
    const char *(*on_welcome)(struct guard_links *links, unsigned worker,
                              const struct wire_welcome *welcome);
    void (*on_record)(void *context, unsigned worker, const struct wire_record *record);
    void (*on_end)(void *context, const struct wire_end *end);
    void (*on_replace)(void *context, unsigned worker, const struct wire_replace *replace);
    /* A DECISION that nobody waits for. */
    void (*on_decision)(void *context, unsigned worker, uint32_t request,
                        const struct wire_decision *decision);
    void (*on_down)(void *context, unsigned worker);
    /* The highest epoch that a connection has been given. */
    uint64_t (*last_epoch)(void *context);
};

enum link_phase {
    LINK_DOWN,
    LINK_GREETING, /* its WELCOME is awaited, which says whose records belong here */
    LINK_TELLING,  /* our records are being sent */
    LINK_HEARING,  /* the guard's are awaited */
    LINK_READY,    /* both sides know the same */
};

struct guard_link {
    const struct options *options;
    const struct link_hooks *hooks;
    const struct wire_hello *hello;
    unsigned worker;
    char path[LINK_PATH];
    int fd;
    enum link_phase phase;
    bool quiet;       /* that it cannot be opened is nothing to tell */
    bool waited;      /* a CONNECT has waited in vain for this connection to get ready */
    const char *told; /* what the log said last about there being no link */
    size_t step;      /* the next of hooks->write_records, */
    size_t steps;     /* and how many there are */
    struct buffer in;
    struct buffer out;
    struct buffer later;        /* OFFLINEs that must not come between our records */
    size_t held;                /* bytes at the start of in that the last answer points into */
    uint32_t request;           /* the number of the last CONNECT */
    struct wire_frame *awaited; /* where its DECISION goes */
    int64_t last_attempt;       /* to connect */
    int64_t last_opened;        /* an attempt that connected */
    int64_t last_heard;         /* something came */
    int64_t backoff;
    struct breaker breaker;
};

/* What is pointed to must outlive the link. */
void link_init(struct guard_link *link, unsigned worker, const struct options *options,
               const struct link_hooks *hooks, const struct wire_hello *hello);

/* Closes the connection and frees what belongs to it; the link may be used again. */
void link_close(struct guard_link *link);

/* Does what there is to do without waiting: connect, send, read. */
void link_service(struct guard_link *link, int64_t now);

/* Tell the guard. Without a link there is nothing to tell: when it opens it carries every record.
 */
void link_admitted(struct guard_link *link, uint64_t epoch, struct text client_id);
void link_offline(struct guard_link *link, uint64_t epoch, struct text client_id, bool kept);

/* For those that ask over it */

/* Closes the connection and tells the log why, with the system's reason where number is one. */
void link_fail(struct guard_link *link, const char *why, int number);

/* Connects and says HELLO. */
void link_attempt(struct guard_link *link, int64_t now);

void link_flush(struct guard_link *link);

/* Reads what there is; while an answer is awaited it stops at that, which stays in the buffer. */
void link_receive(struct guard_link *link);
void link_take_frames(struct guard_link *link);

/* The answer that was kept in the buffer is not needed any more. */
void link_release(struct guard_link *link);

/* Goes on until the link is ready. False when the deadline came first or the link is down. */
bool link_get_ready(struct guard_link *link, int64_t deadline);

/* Waits until the socket can go on, but not beyond the deadline. False when that has come. */
bool link_wait(struct guard_link *link, int64_t deadline);

#endif
