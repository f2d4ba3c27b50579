/* SPDX-License-Identifier: Apache-2.0 */
#include "guard_link.h"

#include "deadline.h"
#include "guard_socket.h"
#include "mosquitto_api.h"
#include "wake.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
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
};

static const char BROKE_PROTOCOL[] = "it broke the protocol";
static const char OUT_OF_MEMORY[] = "out of memory";

void link_init(struct guard_link *link, unsigned worker, const struct options *options,
               const struct link_hooks *hooks, const struct wire_hello *hello)
{
    *link = (struct guard_link){.options = options,
                                .hooks = hooks,
                                .hello = hello,
                                .worker = worker,
                                .fd = -1,
                                .last_attempt = INT64_MIN / 2,
                                .last_opened = INT64_MIN / 2,
                                .last_heard = INT64_MIN / 2,
                                .backoff = SHORTEST_BACKOFF};
    (void)snprintf(link->path, sizeof link->path, worker == 0 ? "%s" : "%s.%u",
                   options->guard_socket, worker);
    buffer_init(&link->in, IN_LIMIT);
    buffer_init(&link->out, OUT_LIMIT);
    buffer_init(&link->later, LATER_LIMIT);
}

void link_close(struct guard_link *link)
{
    bool was_up = link->fd != -1;
    if (was_up) {
        close(link->fd);
    }
    link->fd = -1;
    link->phase = LINK_DOWN;
    link->waited = false;
    link->held = 0;
    buffer_clear(&link->in);
    buffer_clear(&link->out);
    buffer_clear(&link->later);
    if (was_up) {
        link->hooks->on_down(link->hooks->context, link->worker);
    }
}

/* The log is not told twice in a row: the guard may be away for hours. */
void link_fail(struct guard_link *link, const char *why, int number)
{
    if (link->told != why && !link->quiet) {
        mosquitto_log_printf(MOSQ_LOG_WARNING, "Keyfob: no link to the guard at %s: %s%s%s",
                             link->path, why, number ? ": " : "", number ? strerror(number) : "");
        link->told = why;
    }
    link_close(link);
}

/* Sending */

void link_flush(struct guard_link *link)
{
    while (link->fd != -1 && buffer_length(&link->out) > 0) {
        ssize_t sent = send(link->fd, buffer_front(&link->out), buffer_length(&link->out),
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            buffer_consume(&link->out, (size_t)sent);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno != EINTR) {
            link_fail(link, "sending", errno);
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
    link_flush(link);
    while (link->phase == LINK_TELLING && buffer_length(&link->out) < RECORDS_AHEAD) {
        bool more = link->step < link->steps;
        bool fit = more ? link->hooks->write_records(link->hooks->context, link->worker,
                                                     link->step++, link->steps, &link->out)
                        : wire_write_records_end(&link->out) && move_later(link);
        if (!fit) {
            link_fail(link, "too much to send", 0);
            return;
        }
        if (!more) {
            link->phase = LINK_HEARING;
        }
        if (!more || buffer_length(&link->out) >= RECORDS_AHEAD) {
            link_flush(link);
        }
    }
}

/* Connecting */

void link_attempt(struct guard_link *link, int64_t now)
{
    link->last_attempt = now;
    link->backoff = link->backoff * 2 < LONGEST_BACKOFF ? link->backoff * 2 : LONGEST_BACKOFF;
    const char *why;
    link->fd = guard_socket_open(link->options, link->path, &why);
    if (link->fd == -1) {
        link_fail(link, why, errno);
        return;
    }
    wake_watch(link->fd);
    link->last_opened = now;
    link->phase = LINK_GREETING;
    struct wire_hello hello = *link->hello;
    hello.epoch = link->hooks->last_epoch(link->hooks->context);
    if (wire_write_hello(&link->out, &hello)) {
        link_flush(link);
    } else {
        link_fail(link, OUT_OF_MEMORY, 0);
    }
}

/* Reading */

static void become_ready(struct guard_link *link)
{
    link->phase = LINK_READY;
    link->backoff = SHORTEST_BACKOFF;
    link->told = NULL;
    link->breaker = (struct breaker){0};
    mosquitto_log_printf(MOSQ_LOG_INFO, "Keyfob: linked to the guard at %s", link->path);
}

static bool take_welcome(struct guard_link *link, const struct wire_welcome *welcome)
{
    if (link->phase != LINK_GREETING || welcome->version != WIRE_VERSION) {
        return false;
    }
    link->phase = LINK_TELLING;
    link->step = 0;
    link->steps = link->hooks->record_steps(link->hooks->context);
    const char *why = link->hooks->on_welcome(link->hooks->links, link->worker, welcome);
    if (why != NULL) {
        link_fail(link, why, 0);
    }
    return true;
}

/* False when the guard may not say this now: a REPLACE, say, while every record is being told. */
static bool take_frame(struct guard_link *link, const struct wire_frame *frame)
{
    if (frame->type == WIRE_WELCOME) {
        return take_welcome(link, &frame->welcome);
    }
    bool hears = frame->type == WIRE_RECORD || frame->type == WIRE_RECORDS_END;
    bool timely = frame->type == WIRE_END ? link->phase > LINK_GREETING
                                          : link->phase == (hears ? LINK_HEARING : LINK_READY);
    if (!timely) {
        return false;
    }
    const struct link_hooks *hooks = link->hooks;
    switch (frame->type) {
    case WIRE_RECORD: hooks->on_record(hooks->context, link->worker, &frame->record); break;
    case WIRE_RECORDS_END: become_ready(link); break;
    case WIRE_END: hooks->on_end(hooks->context, &frame->end); break;
    case WIRE_REPLACE: hooks->on_replace(hooks->context, link->worker, &frame->replace); break;
    default:
        hooks->on_decision(hooks->context, link->worker, frame->request, &frame->decision);
        break;
    }
    return true;
}

void link_take_frames(struct guard_link *link)
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
            link_fail(link, BROKE_PROTOCOL, 0);
        }
        if (link->fd != -1) { /* taking it may have ended the link: an eviction is told at once */
            buffer_consume(&link->in, frame.size);
        }
    }
}

void link_release(struct guard_link *link)
{
    buffer_consume(&link->in, link->held);
    link->held = 0;
}

void link_receive(struct guard_link *link)
{
    bool awaiting = link->awaited != NULL;
    while (link->fd != -1 && (link->awaited != NULL) == awaiting) {
        uint8_t *at = buffer_reserve(&link->in, CHUNK);
        if (at == NULL) {
            link_fail(link, OUT_OF_MEMORY, 0);
            return;
        }
        ssize_t got = recv(link->fd, at, CHUNK, MSG_DONTWAIT);
        if (got > 0) {
            breaker_heard(&link->breaker);
            link->last_heard = boottime_ms();
            buffer_commit(&link->in, (size_t)got);
            link_take_frames(link);
        } else if (got == 0) {
            link_fail(link, "it closed the link", 0);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno != EINTR) {
            link_fail(link, "reading", errno);
        }
    }
}

void link_service(struct guard_link *link, int64_t now)
{
    link_release(link);
    if (link->phase == LINK_DOWN && now - link->last_attempt >= link->backoff) {
        link_attempt(link, now);
    }
    link_take_frames(link);
    link_receive(link);
    tell(link);
}

bool link_wait(struct guard_link *link, int64_t deadline)
{
    int64_t left = deadline - boottime_ms();
    short events = buffer_length(&link->out) > 0 ? POLLIN | POLLOUT : POLLIN;
    struct pollfd socket = {.fd = link->fd, .events = events};
    if (left > 0) {
        poll(&socket, 1, (int)left); /* EINTR is an early return like any other */
    }
    return left > 0;
}

bool link_get_ready(struct guard_link *link, int64_t deadline)
{
    while (link->phase != LINK_DOWN && link->phase != LINK_READY) {
        if (!link_wait(link, deadline)) {
            return false;
        }
        link_receive(link);
        tell(link);
    }
    return link->phase == LINK_READY;
}

/* Telling */

static void queued(struct guard_link *link, bool fit)
{
    if (!fit) {
        link_fail(link, "it does not read", 0);
    } else if (link->phase != LINK_TELLING) {
        link_flush(link);
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
    if (link->phase >= LINK_TELLING) { /* before that no record was told: the list will say it */
        struct buffer *out = link->phase == LINK_TELLING ? &link->later : &link->out;
        queued(link, wire_write_offline(out, epoch, client_id, kept));
    }
}
