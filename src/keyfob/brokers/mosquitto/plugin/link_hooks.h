/* SPDX-License-Identifier: Apache-2.0 */
/* What the links ask of the plugin: its records, and to do what the guard says. */
#ifndef KEYFOB_LINK_HOOKS_H
#define KEYFOB_LINK_HOOKS_H

#include "keyfob.h"

struct link_hooks link_hooks_of(struct keyfob *keyfob);

#endif
