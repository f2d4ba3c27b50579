/* SPDX-License-Identifier: Apache-2.0 */
/* Permissions: what one client may publish, subscribe to and be sent; compiled into one block of
 * memory without pointers, evaluated without allocation.
 *
 * The same questions are answered in Python by keyfob.authorization.permissions, which explains the
 * two forms and what each kind of rule says; vectors/permissions.json holds both to one set of
 * answers. This is policy-free: rules are evaluated as they were given.
 */
#ifndef KEYFOB_PERMISSIONS_H
#define KEYFOB_PERMISSIONS_H

#include "text.h"
#include "wire.h"

struct permissions;

/* The bytes that permissions_compile will fill; they must be aligned to 8. */
size_t permissions_size(const struct wire_permissions *from);

/* Compiles rules that wire_read has accepted. False when a filter is not one that MQTT allows. */
bool permissions_compile(struct permissions *into, const struct wire_permissions *from);

/* What was compiled: its form, the number of its rules, and rule i as it was given. The first
 * argument of permissions_rule is a struct permissions, as wire_write_record wants it. */
struct wire_permissions permissions_header(const struct permissions *permissions);
struct wire_rule permissions_rule(const void *permissions, size_t i);

/* May a message be published to name? */
bool permissions_publish(const struct permissions *permissions, struct text name, unsigned qos,
                         bool retain);

/* May this filter, as it stands in the SUBSCRIBE, be subscribed to, all of it? */
bool permissions_subscribe(const struct permissions *permissions, struct text requested,
                           unsigned qos);

/* May a message that was published to name be delivered? Where a SUBSCRIBE to exactly that name
 * would be allowed, at some QoS, in some share group or in none. */
bool permissions_receive(const struct permissions *permissions, struct text name);

#endif
