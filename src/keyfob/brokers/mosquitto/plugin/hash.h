/* SPDX-License-Identifier: Apache-2.0 */
/* A keyed hash of short texts: SipHash-1-3, so that nobody can choose client identifiers that
 * collide. */
#ifndef KEYFOB_HASH_H
#define KEYFOB_HASH_H

#include "text.h"

#include <stdint.h>

struct hash_key {
    uint64_t words[2];
};

uint64_t hash_text(const struct hash_key *key, struct text text);

#endif
