/* SPDX-License-Identifier: Apache-2.0 */
/* Text: bytes with a length, not owned, not terminated. */
#ifndef KEYFOB_TEXT_H
#define KEYFOB_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    const char *at;
    size_t length;
};

static inline struct text text_of(const char *terminated)
{
    return (struct text){terminated, terminated ? strlen(terminated) : 0};
}

static inline bool text_equal(struct text a, struct text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.at, b.at, a.length) == 0);
}

static inline bool text_starts(struct text whole, struct text start)
{
    return whole.length >= start.length &&
           (start.length == 0 || memcmp(whole.at, start.at, start.length) == 0);
}

/* Up to 8 bytes, the first in the lowest place. */
static inline uint64_t text_word(const char *at, size_t size)
{
    uint64_t value = 0;
    memcpy(&value, at, size);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/* Its first 8 bytes, or all where there are fewer. */
static inline uint64_t text_head(struct text text)
{
    return text.length >= 8 ? text_word(text.at, 8) : text_word(text.at, text.length);
}

/* Well-formed UTF-8 without U+0000 (RFC 3629; MQTT 5.0 section 1.5.4). */
bool text_is_utf8(struct text text);

/* Room for what text_for_log makes of any text. */
enum { TEXT_FOR_LOG_SIZE = 128 };

/* A text that may go into a log: cut where it is long, control characters and bytes outside ASCII
 * escaped, so that a client identifier can neither forge a log line nor steer a terminal.
 * Returns buffer. */
const char *text_for_log(struct text text, char buffer[TEXT_FOR_LOG_SIZE]);

#endif
