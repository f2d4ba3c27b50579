/* SPDX-License-Identifier: Apache-2.0 */
/* Letting a client in that the guard has allowed. */
#ifndef KEYFOB_ARRIVAL_H
#define KEYFOB_ARRIVAL_H

#include "keyfob.h"

struct refused {
    uint8_t reason; /* of MQTT 5.0 */
    const char *why;
};

/* The record of a connection that may come in, and room for it; NULL where it may not after all.
 * The guard has looked; this is the second look, at what this broker really holds. */
struct record *arrival_prepare(struct keyfob *keyfob, const void *client,
                               const struct wire_connect *connect, const struct wire_grant *grant,
                               struct refused *refused);

/* It is in: takes what arrival_prepare made, and tells the guard. */
void arrival_complete(struct keyfob *keyfob, struct record *record);

#endif
