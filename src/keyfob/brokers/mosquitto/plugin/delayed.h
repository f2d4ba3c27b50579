/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions that the broker does not wait for (Mosquitto 2.1): asked in BASIC_AUTH, completed in
 * TICK. */
#ifndef KEYFOB_DELAYED_H
#define KEYFOB_DELAYED_H

#include "keyfob.h"

enum {
    DELAYED_NAME = 64,
    /* Closing clients by such a name walks over all connections: */
    DELAYED_BURST_MS = 10, /* how long it is done at a stretch, */
    DELAYED_SHARE = 4,     /* and that this is one part of so many of the time */
};

/* What the username of a client is that is not decided about yet: nobody else has it, and nobody
 * can guess it. */
const char *delayed_name(const struct keyfob *keyfob, uint64_t epoch, char name[DELAYED_NAME]);

/* Whether that is one of those names. */
bool delayed_is_name(const struct keyfob *keyfob, struct text username);

/* BASIC_AUTH: returns what the event returns to the broker. */
int delayed_ask(struct keyfob *keyfob, struct mosquitto *client, struct wire_connect *connect);

/* Somebody asks under this identifier: whoever waited under it is gone. */
void delayed_forget(struct keyfob *keyfob, struct text client_id);

/* A DECISION came. */
void delayed_decided(struct keyfob *keyfob, unsigned worker, uint32_t request,
                     const struct wire_decision *decision);

/* TICK: gives up on decisions that did not come, and closes those clients. */
void delayed_tick(struct keyfob *keyfob, int64_t now);

/* The broker calls back about this client. While it lets somebody in, that proves that the one is
 * still there. To be called first of all by every callback that may come then. */
void delayed_called_back(struct keyfob *keyfob, struct mosquitto *client);

static inline bool delayed_arriving(const struct keyfob *keyfob)
{
    return keyfob->arriving.client != NULL;
}

static inline bool delayed_pending(const struct keyfob *keyfob)
{
    return keyfob->pendings.count > 0;
}

#endif
