/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the plugin share. */
#ifndef KEYFOB_H
#define KEYFOB_H

#include "exchanges.h"
#include "guard_links.h"
#include "mosquitto_api.h"
#include "options.h"
#include "pendings.h"
#include "records.h"

/* A client that the broker is told to let in, and has not shown to us yet. */
struct arriving {
    const void *client;    /* compared, never followed; NULL: there is none */
    struct record *record; /* until something proves that the client is still there */
    bool named;            /* its username is the principal */
};

/* What each message asks about comes first, in a few cache lines beside each other. */
struct keyfob {
    const void *refusing_queue; /* what waits for this connection is from before a revocation */
    const void *kicking;        /* the connection that is being closed for its token's expiry */
    int64_t slept;              /* how long the machine has, when last looked */
    bool ticked;     /* the broker calls TICK; up to 2.0.14 with per_listener_settings never */
    bool broker_2_1; /* Mosquitto 2.1 or later */
    bool lws;        /* its WebSockets are those of libwebsockets */
    struct arriving arriving;
    struct records records;
    uint64_t nonce;         /* what pending clients are called nobody can guess */
    int64_t next_closing;   /* of pending clients, on CLOCK_BOOTTIME */
    int64_t next_expelling; /* of clients that were asked for more and do not answer; likewise */
    uint64_t epoch;         /* of the last connection */
    const void *ended;      /* the connection that ended last; compared, never followed */
    int64_t recheck_until;  /* until then the broker may be asking again about clients it has */
    int64_t last_poll;
    int64_t stranger_told; /* when the log was last told of a client that nobody asked about */
    int64_t clock_offset;  /* wall clock minus CLOCK_BOOTTIME when deadlines were computed */
    mosquitto_complete complete; /* NULL: decisions are not delayed */
    struct options options;
    struct guard_links links;
    struct pendings pendings;
    struct exchanges exchanges;
};

/* What the broker makes when it loads the plugin, once for each listener that names it where
 * per_listener_settings are on. Each tells by which listener a client came. */
struct instance {
    struct keyfob *keyfob; /* shared by all */
    mosquitto_plugin_id_t *identifier;
    enum option_mode mode;
};

/* The connection of this record is gone; the guard is told. The record may be gone too. */
void keyfob_went_offline(struct keyfob *keyfob, struct record *record);

/* What the broker kept for this record, which has no connection, is gone; so is the record. */
void keyfob_session_gone(struct keyfob *keyfob, struct record *record);

#endif
