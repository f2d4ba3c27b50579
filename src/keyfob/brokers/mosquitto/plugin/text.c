/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <stdint.h>
#include <stdio.h>

/* The length of the sequence that a byte leads, or 0; and the range of its second byte, which is
 * where overlong forms, surrogates and values past U+10FFFF show (RFC 3629 section 4). */
static size_t sequence_length(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
        return 2;
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        return 3;
    }
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

bool text_is_utf8(struct text text)
{
    const uint8_t *bytes = (const uint8_t *)text.at;
    size_t i = 0;
    while (i < text.length) {
        if (bytes[i] < 0x80) {
            if (bytes[i] == 0) {
                return false;
            }
            i++;
            continue;
        }
        uint8_t low, high;
        size_t length = sequence_length(bytes[i], &low, &high);
        if (length == 0 || length > text.length - i || bytes[i + 1] < low || bytes[i + 1] > high) {
            return false;
        }
        for (size_t k = 2; k < length; k++) {
            if ((bytes[i + k] & 0xC0) != 0x80) {
                return false;
            }
        }
        i += length;
    }
    return true;
}

const char *text_for_log(struct text text, char buffer[TEXT_FOR_LOG_SIZE])
{
    /* "\xNN" takes 4, "..." and the end 4 more. */
    size_t out = 0, i = 0;
    for (; i < text.length && out < TEXT_FOR_LOG_SIZE - 8; i++) {
        uint8_t byte = (uint8_t)text.at[i];
        if (byte < 0x20 || byte >= 0x7F || byte == '\\') {
            out += (size_t)snprintf(buffer + out, 5, "\\x%02x", byte);
        } else {
            buffer[out++] = (char)byte;
        }
    }
    (void)snprintf(buffer + out, 4, "%s", i < text.length ? "..." : "");
    return buffer;
}
