/* SPDX-License-Identifier: Apache-2.0 */
/* The link to the guard: one Unix socket, opened, kept in step and asked over.
 *
 * docs/wire-protocol.md says what is spoken. Nothing here ever blocks, except link_start, which
 * runs before the broker accepts anybody, and link_ask, which waits for a decision no longer than
 * guard_timeout_ms.
 */
#ifndef KEYFOB_GUARD_LINK_H
#define KEYFOB_GUARD_LINK_H

#include "breaker.h"
#include "buffer.h"
#include "options.h"
#include "wire.h"

/* What the link asks of its owner. */
struct link_hooks {
    void *context;
    /* Queues the RECORDs of one step (0, 1, 2, ...). False when there is no such step; *fit says
     * whether everything found room. */
    bool (*write_records)(void *context, size_t step, struct buffer *out, bool *fit);
    void (*on_record)(void *context, const struct wire_record *record);
    void (*on_end)(void *context, const struct wire_end *end);
    void (*on_replace)(void *context, const struct wire_replace *replace);
    /* The highest epoch that a connection has been given. */
    uint64_t (*last_epoch)(void *context);
};

enum link_phase {
    LINK_DOWN,
    LINK_TELLING, /* our records are being sent */
    LINK_HEARING, /* the guard's are awaited */
    LINK_READY,   /* both sides know the same */
};

struct guard_link {
    const struct options *options;
    struct link_hooks hooks;
    struct wire_hello hello;
    int fd;
    enum link_phase phase;
    bool welcomed;
    bool waited;      /* a CONNECT has waited in vain for this connection to get ready */
    const char *told; /* what the log said last about there being no link */
    size_t step;      /* of hooks.write_records */
    struct buffer in;
    struct buffer out;
    struct buffer later;        /* OFFLINEs that must not come between our records */
    size_t held;                /* bytes at the start of in that the last answer points into */
    uint32_t request;           /* the number of the last CONNECT */
    struct wire_frame *awaited; /* where its DECISION goes */
    int64_t last_attempt;       /* to connect */
    int64_t last_opened;        /* an attempt that connected */
    int64_t backoff;
    struct breaker breaker;
};

/* The options must outlive the link. */
void link_init(struct guard_link *link, const struct options *options,
               const struct link_hooks *hooks, const struct wire_hello *hello);

/* Closes the connection and frees what belongs to it; the link may be used again. */
void link_close(struct guard_link *link);

/* Opens the link and waits until it is ready, at most startup_wait_ms. */
bool link_start(struct guard_link *link);

/* Does what there is to do without waiting: connect, send, read. */
void link_service(struct guard_link *link, int64_t now);

/* Asks for a decision. False where none came in time. What decision points to holds until the next
 * call of link_service or link_ask. */
bool link_ask(struct guard_link *link, const struct wire_connect *connect,
              struct wire_decision *decision);

/* Tell the guard. Without a link there is nothing to tell: when it opens it carries every record.
 */
void link_admitted(struct guard_link *link, uint64_t epoch, struct text client_id);
void link_offline(struct guard_link *link, uint64_t epoch, struct text client_id, bool kept);

#endif
