/* SPDX-License-Identifier: Apache-2.0 */
#include "hash.h"

/* SipHash (Aumasson, Bernstein 2012) with one round per word and three at the end. Which machine
 * order the words are read in is of no importance here: the hash never leaves the process. */

struct state {
    uint64_t a, b, c, d;
};

static uint64_t rotate(uint64_t value, unsigned by)
{
    return value << by | value >> (64 - by);
}

static void round_of(struct state *s)
{
    s->a += s->b;
    s->c += s->d;
    s->b = rotate(s->b, 13) ^ s->a;
    s->d = rotate(s->d, 16) ^ s->c;
    s->a = rotate(s->a, 32);
    s->c += s->b;
    s->a += s->d;
    s->b = rotate(s->b, 17) ^ s->c;
    s->d = rotate(s->d, 21) ^ s->a;
    s->c = rotate(s->c, 32);
}

static void mix(struct state *s, uint64_t word)
{
    s->d ^= word;
    round_of(s);
    s->a ^= word;
}

uint64_t hash_text(const struct hash_key *key, struct text text)
{
    struct state s = {
        key->words[0] ^ UINT64_C(0x736f6d6570736575),
        key->words[1] ^ UINT64_C(0x646f72616e646f6d),
        key->words[0] ^ UINT64_C(0x6c7967656e657261),
        key->words[1] ^ UINT64_C(0x7465646279746573),
    };
    size_t i = 0;
    for (; text.length - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, text.at + i, 8);
        mix(&s, word);
    }
    uint64_t last = 0;
    if (text.length > i) {
        memcpy(&last, text.at + i, text.length - i);
    }
    mix(&s, last ^ (uint64_t)text.length << 56);
    s.c ^= 0xff;
    for (int i_round = 0; i_round < 3; i_round++) {
        round_of(&s);
    }
    return s.a ^ s.b ^ s.c ^ s.d;
}
