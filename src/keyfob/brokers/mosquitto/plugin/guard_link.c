/* SPDX-License-Identifier: Apache-2.0 */
#include "guard_link.h"

#include "deadline.h"
#include "guard_socket.h"
#include "mosquitto_api.h"
#include "wake.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Theory of operation: whatever goes wrong closes the connection, and that is all: every connection
 * begins by exchanging what both sides know, so nothing is repaired in between. Hence too the
 * bounded output buffer: a guard that does not read loses its connection, not a message. */

enum {
    CHUNK = 65536,          /* bytes read at once */
    OUT_LIMIT = 4 << 20,    /* bytes that may wait to be sent */
    RECORDS_AHEAD = 262144, /* bytes of records that may */
    LATER_LIMIT = 1 << 20,
    IN_LIMIT = WIRE_HEADER + WIRE_MAX_PAYLOAD + CHUNK,
    SHORTEST_BACKOFF = 100,
    LONGEST_BACKOFF = 2000,
    ASK_BACKOFF = 20, /* a CONNECT that finds no link tries at once, but not a guard that hung up */
};

static const char BROKE_PROTOCOL[] = "it broke the protocol";
static const char OUT_OF_MEMORY[] = "out of memory";

void link_init(struct guard_link *link, const struct options *options,
               const struct link_hooks *hooks, const struct wire_hello *hello)
{
    *link = (struct guard_link){.options = options,
                                .hooks = *hooks,
                                .hello = *hello,
                                .fd = -1,
                                .last_attempt = INT64_MIN / 2,
                                .last_opened = INT64_MIN / 2,
                                .backoff = SHORTEST_BACKOFF};
    buffer_init(&link->in, IN_LIMIT);
    buffer_init(&link->out, OUT_LIMIT);
    buffer_init(&link->later, LATER_LIMIT);
}

void link_close(struct guard_link *link)
{
    if (link->fd != -1) {
        close(link->fd);
    }
    link->fd = -1;
    link->phase = LINK_DOWN;
    link->welcomed = link->waited = false;
    link->held = 0;
    buffer_clear(&link->in);
    buffer_clear(&link->out);
    buffer_clear(&link->later);
}

/* Ends the connection. Why, with the system's reason where number is one, goes into the log unless
 * it was the last thing said there: the guard may be away for hours. */
static void fail(struct guard_link *link, const char *why, int number)
{
    if (link->told != why) {
        mosquitto_log_printf(MOSQ_LOG_WARNING, "Keyfob: no link to the guard at %s: %s%s%s",
                             link->options->guard_socket, why, number ? ": " : "",
                             number ? strerror(number) : "");
        link->told = why;
    }
    link_close(link);
}

/* Sending */

static void flush(struct guard_link *link)
{
    while (link->fd != -1 && buffer_length(&link->out) > 0) {
        ssize_t sent = send(link->fd, buffer_front(&link->out), buffer_length(&link->out),
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            buffer_consume(&link->out, (size_t)sent);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno != EINTR) {
            fail(link, "sending", errno);
        }
    }
}

static bool move_later(struct guard_link *link)
{
    size_t size = buffer_length(&link->later);
    if (size == 0) {
        return true;
    }
    uint8_t *at = buffer_reserve(&link->out, size);
    if (at == NULL) {
        return false;
    }
    memcpy(at, buffer_front(&link->later), size);
    buffer_commit(&link->out, size);
    buffer_clear(&link->later);
    return true;
}

/* Sends as many records as the socket and a bounded buffer take, then RECORDS_END. */
static void tell(struct guard_link *link)
{
    flush(link);
    while (link->phase == LINK_TELLING && buffer_length(&link->out) < RECORDS_AHEAD) {
        bool fit = true;
        bool more = link->hooks.write_records(link->hooks.context, link->step++, &link->out, &fit);
        if (!more && wire_write_records_end(&link->out) && move_later(link)) {
            link->phase = LINK_HEARING;
        } else if (!more || !fit) {
            fail(link, "too much to send", 0);
            return;
        }
        if (!more || buffer_length(&link->out) >= RECORDS_AHEAD) {
            flush(link);
        }
    }
}

/* Connecting */

static void attempt(struct guard_link *link, int64_t now)
{
    link->last_attempt = now;
    link->backoff = link->backoff * 2 < LONGEST_BACKOFF ? link->backoff * 2 : LONGEST_BACKOFF;
    const char *why;
    link->fd = guard_socket_open(link->options, &why);
    if (link->fd == -1) {
        fail(link, why, errno);
        return;
    }
    wake_watch(link->fd);
    link->last_opened = now;
    link->phase = LINK_TELLING;
    link->step = 0;
    link->hello.epoch = link->hooks.last_epoch(link->hooks.context);
    if (wire_write_hello(&link->out, &link->hello)) {
        tell(link);
    } else {
        fail(link, OUT_OF_MEMORY, 0);
    }
}

/* Reading */

static void become_ready(struct guard_link *link)
{
    link->phase = LINK_READY;
    link->backoff = SHORTEST_BACKOFF;
    link->told = NULL;
    link->breaker = (struct breaker){0};
    mosquitto_log_printf(MOSQ_LOG_INFO, "Keyfob: linked to the guard at %s",
                         link->options->guard_socket);
}

/* False when the guard may not say this now: a REPLACE, say, while every record is being told. */
static bool take_frame(struct guard_link *link, const struct wire_frame *frame)
{
    if (frame->type == WIRE_WELCOME) {
        bool right = !link->welcomed && frame->welcome.version == WIRE_VERSION;
        link->welcomed = true;
        if (right && frame->welcome.workers != 1) {
            fail(link, "it has several workers, and this plugin has one socket", 0);
        }
        return right;
    }
    bool hears = frame->type == WIRE_RECORD || frame->type == WIRE_RECORDS_END;
    bool timely = frame->type == WIRE_END || link->phase == (hears ? LINK_HEARING : LINK_READY);
    if (!link->welcomed || !timely) {
        return false;
    }
    const struct link_hooks *hooks = &link->hooks;
    switch (frame->type) {
    case WIRE_RECORD: hooks->on_record(hooks->context, &frame->record); break;
    case WIRE_RECORDS_END: become_ready(link); break;
    case WIRE_END: hooks->on_end(hooks->context, &frame->end); break;
    case WIRE_REPLACE: hooks->on_replace(hooks->context, &frame->replace); break;
    default: break; /* a DECISION that nobody awaits any more */
    }
    return true;
}

/* Takes the frames that are complete; stops behind the awaited one, which stays in the buffer. */
static void take_frames(struct guard_link *link)
{
    while (link->fd != -1) {
        struct wire_frame frame;
        enum wire_result result =
            wire_read(buffer_front(&link->in), buffer_length(&link->in), &frame);
        if (result == WIRE_MORE) {
            return;
        }
        bool caught = result == WIRE_FRAME && link->awaited != NULL &&
                      frame.type == WIRE_DECISION && frame.request == link->request;
        if (caught) {
            *link->awaited = frame;
            link->awaited = NULL;
            link->held = frame.size;
            return;
        }
        if (result == WIRE_VIOLATION || !take_frame(link, &frame)) {
            fail(link, BROKE_PROTOCOL, 0);
        }
        if (link->fd != -1) { /* taking it may have ended the link: an eviction is told at once */
            buffer_consume(&link->in, frame.size);
        }
    }
}

static void release(struct guard_link *link)
{
    buffer_consume(&link->in, link->held);
    link->held = 0;
}

/* Reads what there is. While an answer is awaited it stops at that. */
static void receive(struct guard_link *link)
{
    bool awaiting = link->awaited != NULL;
    while (link->fd != -1 && (link->awaited != NULL) == awaiting) {
        uint8_t *at = buffer_reserve(&link->in, CHUNK);
        if (at == NULL) {
            fail(link, OUT_OF_MEMORY, 0);
            return;
        }
        ssize_t got = recv(link->fd, at, CHUNK, MSG_DONTWAIT);
        if (got > 0) {
            breaker_heard(&link->breaker);
            buffer_commit(&link->in, (size_t)got);
            take_frames(link);
        } else if (got == 0) {
            fail(link, "it closed the link", 0);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno != EINTR) {
            fail(link, "reading", errno);
        }
    }
}

void link_service(struct guard_link *link, int64_t now)
{
    release(link);
    if (link->phase == LINK_DOWN && now - link->last_attempt >= link->backoff) {
        attempt(link, now);
    }
    take_frames(link);
    receive(link);
    tell(link);
}

/* Waits until the socket can go on, but not beyond the deadline. False when that has come. */
static bool wait_until(struct guard_link *link, int64_t deadline)
{
    int64_t left = deadline - boottime_ms();
    short events = buffer_length(&link->out) > 0 ? POLLIN | POLLOUT : POLLIN;
    struct pollfd socket = {.fd = link->fd, .events = events};
    if (left > 0) {
        poll(&socket, 1, (int)left); /* EINTR is an early return like any other */
    }
    return left > 0;
}

/* Goes on until the link is ready. False when the deadline came first or the link is down. */
static bool get_ready(struct guard_link *link, int64_t deadline)
{
    while (link->phase != LINK_DOWN && link->phase != LINK_READY) {
        if (!wait_until(link, deadline)) {
            return false;
        }
        receive(link);
        tell(link);
    }
    return link->phase == LINK_READY;
}

bool link_start(struct guard_link *link)
{
    enum { PAUSE = 50 };
    int64_t deadline = boottime_ms() + link->options->startup_wait_ms;
    for (;;) {
        attempt(link, boottime_ms());
        if (get_ready(link, deadline)) {
            return true;
        }
        if (boottime_ms() + PAUSE >= deadline) {
            link->backoff = SHORTEST_BACKOFF;
            return false;
        }
        poll(NULL, 0, PAUSE);
    }
}

/* Asking */

static bool exchange(struct guard_link *link, const struct wire_connect *connect, int64_t deadline,
                     struct wire_frame *frame)
{
    link->request = link->request == UINT32_MAX ? 1 : link->request + 1;
    if (!wire_write_connect(&link->out, link->request, connect)) {
        return false;
    }
    link->awaited = frame;
    flush(link);
    take_frames(link);
    while (link->fd != -1 && link->awaited != NULL && wait_until(link, deadline)) {
        flush(link);
        receive(link);
    }
    bool answered = link->fd != -1 && link->awaited == NULL;
    link->awaited = NULL;
    if (answered && frame->decision.epoch != connect->epoch) {
        fail(link, BROKE_PROTOCOL, 0);
        return false;
    }
    return answered;
}

/* Makes the link ready where that is a matter of moments: right after the guard's restart, CONNECTs
 * need not wait for the next TICK. Where it took too long, the next ones do not wait at all. */
static bool ready_to_ask(struct guard_link *link, int64_t now, int64_t deadline)
{
    if (link->phase == LINK_DOWN && now - link->last_opened >= ASK_BACKOFF) {
        attempt(link, now);
    }
    if (link->phase == LINK_READY) {
        return true;
    }
    if (link->phase == LINK_DOWN || link->waited) {
        return false;
    }
    bool ready = get_ready(link, deadline);
    link->waited = link->phase != LINK_DOWN;
    return ready;
}

bool link_ask(struct guard_link *link, const struct wire_connect *connect,
              struct wire_decision *decision)
{
    int64_t now = boottime_ms();
    int64_t deadline = now + link->options->guard_timeout_ms;
    release(link);
    if (!breaker_allows(&link->breaker, now)) {
        return false;
    }
    /* Twice: a guard that was restarted has closed the socket that we still believe in. */
    for (int round = 0; round < 2 && ready_to_ask(link, now, deadline); round++) {
        struct wire_frame frame;
        if (exchange(link, connect, deadline, &frame)) {
            *decision = frame.decision;
            if (buffer_length(&link->in) > link->held) {
                wake_mark(); /* more has come: the next TICK reads it */
            }
            return true;
        }
        if (link->phase != LINK_DOWN) {
            if (breaker_timed_out(&link->breaker, boottime_ms())) {
                fail(link, "it does not answer", 0);
            }
            return false;
        }
    }
    return false;
}

/* Telling */

static void queued(struct guard_link *link, bool fit)
{
    if (!fit) {
        fail(link, "it does not read", 0);
    } else if (link->phase != LINK_TELLING) {
        flush(link);
    }
}

void link_admitted(struct guard_link *link, uint64_t epoch, struct text client_id)
{
    if (link->phase == LINK_READY) {
        queued(link, wire_write_admitted(&link->out, epoch, client_id));
    }
}

void link_offline(struct guard_link *link, uint64_t epoch, struct text client_id, bool kept)
{
    if (link->phase != LINK_DOWN) {
        struct buffer *out = link->phase == LINK_TELLING ? &link->later : &link->out;
        queued(link, wire_write_offline(out, epoch, client_id, kept));
    }
}
