/* SPDX-License-Identifier: Apache-2.0 */
/* permissions.h once more, under other names: what looks at each rule. */
#ifndef KEYFOB_FUZZ_PERMISSIONS_LINEAR_H
#define KEYFOB_FUZZ_PERMISSIONS_LINEAR_H

#include "permissions.h"

size_t linear_size(const struct wire_permissions *from);
bool linear_compile(struct permissions *into, const struct wire_permissions *from);
bool linear_publish(const struct permissions *permissions, struct text name, unsigned qos,
                    bool retain);
bool linear_subscribe(const struct permissions *permissions, struct text requested, unsigned qos);
bool linear_receive(const struct permissions *permissions, struct text name);

#endif
