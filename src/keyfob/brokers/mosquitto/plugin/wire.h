/* SPDX-License-Identifier: Apache-2.0 */
/* The frames of the guard link as bytes, both ways, as docs/wire-protocol.md defines them.
 *
 * Only the plugin's half: it reads WELCOME, RECORD, RECORDS_END, DECISION, END and REPLACE,
 * and writes HELLO, RECORD, RECORDS_END, CONNECT, ADMITTED, OFFLINE, REAUTHENTICATE and CONTINUE.
 * What is read points into the bytes that it was read from: nothing is copied, nothing allocated.
 * Everything that the document does not allow is refused; whether a filter is one that MQTT allows
 * is the business of permissions.h.
 */
#ifndef KEYFOB_WIRE_H
#define KEYFOB_WIRE_H

#include "buffer.h"
#include "text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WIRE_VERSION = 4,
    WIRE_HEADER = 12,
    WIRE_MAX_PAYLOAD = 262144,
    WIRE_MAX_RULES = 4096,
    WIRE_INSTANCE = 16,
    WIRE_THUMBPRINT = 32,
};

/* What HELLO and WELCOME begin with. */
static const uint8_t WIRE_MAGIC[4] = {'K', 'F', 'O', 'B'};

enum wire_type {
    WIRE_HELLO = 1,
    WIRE_WELCOME = 2,
    WIRE_RECORD = 3,
    WIRE_RECORDS_END = 4,
    WIRE_CONNECT = 5,
    WIRE_DECISION = 6,
    WIRE_ADMITTED = 7,
    WIRE_OFFLINE = 8,
    WIRE_END = 9,
    WIRE_REAUTHENTICATE = 10,
    WIRE_REPLACE = 11,
    WIRE_CONTINUE = 12,
};

enum wire_connect_flag {
    WIRE_CLEAN = 1,
    WIRE_ASSIGNED = 2,
    WIRE_HAS_USERNAME = 4,
    WIRE_HAS_PASSWORD = 8,
    WIRE_DELAYED = 16,    /* the broker goes on while it waits */
    WIRE_HAS_METHOD = 32, /* enhanced authentication: then there is no username and no password */
};

enum { WIRE_MORE_DATA = 0x18 }; /* the reason of a DECISION that asks the client for more */

/* What a RECORD says of the connection: that nothing is stored past it, that the broker made up its
 * identifier. */
enum wire_record_flag { WIRE_RECORD_CLEAN = 1, WIRE_RECORD_ASSIGNED = 2 };

/* What a token is bound to: a number, and whether its OAuth client is known. */
enum { WIRE_BOUND_LAST = 4, WIRE_HAS_CLIENT = 8 };

enum wire_state { WIRE_ONLINE = 0, WIRE_STORED = 1, WIRE_REVOKED = 2 };
enum wire_cause { WIRE_CAUSE_REVOKED = 1, WIRE_CAUSE_EXPIRED = 2, WIRE_CAUSE_FORGOTTEN = 3 };
enum wire_form { WIRE_ALLOW_ONLY = 0, WIRE_FIRST_MATCH = 1 };
enum wire_operation { WIRE_PUBLISH = 1, WIRE_SUBSCRIBE = 2 };

struct wire_rule {
    bool allow;
    bool literal;
    uint8_t operations; /* enum wire_operation, together */
    uint8_t qos;        /* bits 0, 1, 2 */
    uint8_t retain;     /* 1 not retained, 2 retained */
    struct text filter;
};

struct wire_permissions {
    uint8_t form;
    uint16_t count;
    struct text rules; /* their bytes; wire_next_rule takes them apart */
};

struct wire_grant {
    int64_t expires_at; /* Unix milliseconds */
    struct text principal;
    struct text issuer;
    struct text subject;
    struct text token_id;
    uint8_t token; /* what it is bound to, and WIRE_HAS_CLIENT: the guard's to understand */
    struct text client;
    struct wire_permissions permissions;
};

struct wire_hello {
    uint8_t instance[WIRE_INSTANCE];
    uint64_t epoch; /* the highest that was given to a connection; 0 before the first */
    uint32_t broker_version;
    struct text broker_name;
};

struct wire_welcome {
    uint8_t version;
    uint8_t instance[WIRE_INSTANCE];
    uint8_t worker; /* which of the guard's workers this is, from 0 */
    uint8_t workers;
};

struct wire_record {
    uint64_t epoch;
    uint8_t state; /* enum wire_state */
    uint8_t flags; /* enum wire_record_flag, together */
    struct text client_id;
    struct wire_grant grant;
};

struct wire_connect {
    uint64_t epoch;
    uint8_t flags; /* enum wire_connect_flag, together */
    uint8_t protocol_level;
    struct text client_id;
    struct text username;
    struct text password;
    struct text peer;
    struct text thumbprint;
    struct text method; /* of enhanced authentication, and its first data */
    struct text data;
    uint32_t wait_ms; /* how long the plugin waits for the DECISION */
};

struct wire_decision {
    uint64_t epoch;
    uint8_t reason;
    struct text data;        /* for the client: where reason is 0 or WIRE_MORE_DATA; any bytes */
    struct wire_grant grant; /* where reason is 0 */
};

struct wire_end {
    uint64_t epoch;
    uint8_t cause; /* enum wire_cause */
    struct text client_id;
};

struct wire_reauthenticate {
    uint64_t epoch;
    struct text client_id;
    struct text method;
    struct text data;
    struct text peer;
    struct text thumbprint;
    uint32_t wait_ms;
};

struct wire_continue {
    uint64_t epoch;
    struct text client_id;
    struct text data;
    uint32_t wait_ms;
};

struct wire_replace {
    uint64_t epoch;
    struct text client_id;
    struct wire_grant grant;
};

/* One frame that the guard may send. */
struct wire_frame {
    enum wire_type type;
    uint32_t request;
    size_t size; /* of the whole frame */
    union {
        struct wire_welcome welcome;
        struct wire_record record;
        struct wire_decision decision;
        struct wire_end end;
        struct wire_replace replace;
    };
};

enum wire_result {
    WIRE_FRAME,     /* a frame was read */
    WIRE_MORE,      /* it is not complete yet */
    WIRE_VIOLATION, /* the peer broke the protocol */
};

/* Reads the frame that bytes begin with. A header that is wrong is refused on its own. */
enum wire_result wire_read(const uint8_t *bytes, size_t length, struct wire_frame *frame);

/* Takes the next rule off what wire_read has accepted. */
struct wire_rule wire_next_rule(struct text *rules);

/* Writers: false, and nothing queued, beyond the buffer's limit, without memory, or when a field
 * does not fit into the frame. */
bool wire_write_hello(struct buffer *out, const struct wire_hello *hello);
bool wire_write_records_end(struct buffer *out);
bool wire_write_connect(struct buffer *out, uint32_t request, const struct wire_connect *connect);
bool wire_write_reauthenticate(struct buffer *out, uint32_t request,
                               const struct wire_reauthenticate *reauthenticate);
bool wire_write_continue(struct buffer *out, uint32_t request, const struct wire_continue *more);
bool wire_write_admitted(struct buffer *out, uint64_t epoch, struct text client_id);
bool wire_write_offline(struct buffer *out, uint64_t epoch, struct text client_id, bool kept);

/* A RECORD takes its rules from a source, one by one: rule(from, i) for i below
 * record->grant.permissions.count; record->grant.permissions.rules is not looked at. */
bool wire_write_record(struct buffer *out, const struct wire_record *record,
                       struct wire_rule (*rule)(const void *from, size_t i), const void *from);

#endif
