/* SPDX-License-Identifier: Apache-2.0 */
#include "rule_index.h"

/* Theory of operation: a hash table from prefixes to rules, as chains of rule numbers that rise. A
 * topic is looked up once for each length that a prefix has, and its hash grows from one length to
 * the next, so it is read once. The chains that were found are merged as they are walked. Prefixes
 * that collide only cost time, and no more than without an index. */

enum { NONE = UINT16_MAX, PREFIX_LENGTHS = UINT16_MAX + 1, WORD = 64 };

struct rule_index {
    uint16_t count;
    uint16_t lengths; /* how many lengths prefixes have */
    uint16_t mask;    /* of buckets; there are mask + 1 */
    uint16_t cells[]; /* count places for lengths, rising; the next of each rule; the buckets */
};

static size_t buckets_for(size_t count)
{
    size_t buckets = 1;
    while (buckets < count) {
        buckets *= 2;
    }
    return buckets;
}

size_t rule_index_size(size_t count)
{
    return sizeof(struct rule_index) + (2 * count + buckets_for(count)) * sizeof(uint16_t);
}

static const uint16_t *next_of(const struct rule_index *index)
{
    return index->cells + index->count;
}

static const uint16_t *buckets_of(const struct rule_index *index)
{
    return index->cells + 2 * (size_t)index->count;
}

/* A hash of a text's beginning that can go on where it stopped, eight bytes at a time; nobody
 * outside can choose filters that collide. */
struct hashed {
    uint64_t state; /* of the whole words */
    size_t length;  /* of those, a multiple of 8 */
};

static uint64_t mix(uint64_t state, uint64_t word)
{
    uint64_t mixed = (state ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return mixed ^ mixed >> 32;
}

static size_t bucket_of(const struct rule_index *index, struct hashed *hashed, struct text text,
                        size_t length)
{
    for (; length - hashed->length >= 8; hashed->length += 8) {
        hashed->state = mix(hashed->state, text_word(text.at + hashed->length, 8));
    }
    size_t left = length - hashed->length;
    struct text rest = {text.at + hashed->length, text.length - hashed->length};
    uint64_t last = text_head(rest) & ((UINT64_C(1) << 8 * left) - 1);
    return mix(hashed->state + length, last) & index->mask;
}

static uint16_t write_lengths(uint16_t *into, const uint64_t *there)
{
    uint16_t written = 0;
    for (size_t word = 0; word < PREFIX_LENGTHS / WORD; word++) {
        for (uint64_t left = there[word]; left != 0; left &= left - 1) {
            into[written++] = (uint16_t)(word * WORD + (size_t)__builtin_ctzll(left));
        }
    }
    return written;
}

void rule_index_build(struct rule_index *index, size_t count,
                      struct text (*prefix)(const void *from, size_t i), const void *from)
{
    uint64_t there[PREFIX_LENGTHS / WORD] = {0}; /* a bit for each length */
    size_t bucket_count = buckets_for(count);
    index->count = (uint16_t)count;
    index->mask = (uint16_t)(bucket_count - 1);
    uint16_t *next = index->cells + count, *buckets = next + count;
    for (size_t i = 0; i < bucket_count; i++) {
        buckets[i] = NONE;
    }
    for (size_t i = count; i-- > 0;) { /* each goes before those above it */
        struct text text = prefix(from, i);
        uint16_t *bucket = &buckets[bucket_of(index, &(struct hashed){0, 0}, text, text.length)];
        next[i] = *bucket;
        *bucket = (uint16_t)i;
        there[text.length / WORD] |= UINT64_C(1) << text.length % WORD;
    }
    index->lengths = write_lengths(index->cells, there);
}

void rule_walk_look_up(struct rule_walk *walk, struct text topic)
{
    const struct rule_index *index = walk->index;
    walk->chains = 0;
    struct hashed hashed = {0, 0};
    for (size_t i = 0; i < index->lengths && index->cells[i] <= topic.length; i++) {
        uint16_t first = buckets_of(index)[bucket_of(index, &hashed, topic, index->cells[i])];
        if (first == NONE) {
            continue;
        }
        if (walk->chains == RULE_WALK_CHAINS) {
            walk->index = NULL; /* so many at once are rare, and a look at each rule answers too */
            return;
        }
        walk->next[walk->chains++] = first;
    }
}

size_t rule_walk_indexed(struct rule_walk *walk)
{
    uint16_t least = NONE;
    for (size_t i = 0; i < walk->chains; i++) {
        least = walk->next[i] < least ? walk->next[i] : least;
    }
    if (least == NONE) {
        return NONE;
    }
    for (size_t i = 0; i < walk->chains; i++) {
        if (walk->next[i] == least) { /* two lengths can share a bucket */
            walk->next[i] = next_of(walk->index)[least];
        }
    }
    return least;
}
