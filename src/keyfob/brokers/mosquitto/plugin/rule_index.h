/* SPDX-License-Identifier: Apache-2.0 */
/* Which of many rules can say something about a topic: those whose literal prefix, what comes
 * before the first wildcard, the topic begins with.
 *
 * An index is one block without pointers. A walk gives the rules in their order, and may give some
 * that say nothing; without an index it gives all.
 */
#ifndef KEYFOB_RULE_INDEX_H
#define KEYFOB_RULE_INDEX_H

#include "text.h"

#include <stdint.h>

/* From so many rules on an index is faster than a look at each. The tests build one of 1, too. */
#ifndef RULE_INDEX_FROM
#define RULE_INDEX_FROM 32
#endif

struct rule_index;

/* The bytes that rule_index_build fills for so many rules; they must be aligned to 2. */
size_t rule_index_size(size_t count);

/* prefix(from, i) is the literal prefix of rule i below count, which is at most 65534. */
void rule_index_build(struct rule_index *index, size_t count,
                      struct text (*prefix)(const void *from, size_t i), const void *from);

enum { RULE_WALK_CHAINS = 16 };

struct rule_walk {
    const struct rule_index *index; /* NULL: every rule is given */
    size_t at;                      /* the next one, where every rule is given */
    size_t chains;
    uint16_t next[RULE_WALK_CHAINS]; /* the next one of each chain */
};

/* For rule_walk_begin and rule_walk_next, where there is an index. */
void rule_walk_look_up(struct rule_walk *walk, struct text topic);
size_t rule_walk_indexed(struct rule_walk *walk);

/* Begins a walk over what can be about the topic. index may be NULL. */
static inline void rule_walk_begin(struct rule_walk *walk, const struct rule_index *index,
                                   struct text topic)
{
    walk->index = index;
    walk->at = 0;
    if (index != NULL) {
        rule_walk_look_up(walk, topic);
    }
}

/* The next rule's number; at the end one that is too high for any. */
static inline size_t rule_walk_next(struct rule_walk *walk)
{
    return walk->index == NULL ? walk->at++ : rule_walk_indexed(walk);
}

#endif
