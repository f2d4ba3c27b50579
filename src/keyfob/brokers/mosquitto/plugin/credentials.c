/* SPDX-License-Identifier: Apache-2.0 */
#include "credentials.h"

#include <stdint.h>

static bool is_base64url(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* Whether base64url that goes on so begins a byte that is "{": "e", and two bits of the next. */
static bool begins_object(struct text text)
{
    if (text.length < 2 || text.at[0] != 'e') {
        return false;
    }
    char second = text.at[1];
    return (second >= 'w' && second <= 'z') || (second >= '0' && second <= '9') || second == '-' ||
           second == '_';
}

static bool is_jws(struct text text)
{
    enum { DOTS = 2 };
    unsigned dots = 0;
    if (!begins_object(text)) {
        return false;
    }
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] == '.') {
            dots++;
        } else if (!is_base64url((unsigned char)text.at[i])) {
            return false;
        }
    }
    return dots == DOTS;
}

bool credential_is_token(struct text credential)
{
    return text_starts(credential, text_of("kfa_")) || is_jws(credential);
}

static unsigned sextet(unsigned char c)
{
    if (c >= 'a') {
        return c - 'a' + 26U;
    }
    if (c >= 'A' && c != '_') {
        return c - (unsigned)'A';
    }
    return c == '_' ? 63U : c == '-' ? 62U : c - '0' + 52U;
}

/* The decoded text is there until the next call; nothing where it is no base64url. */
static struct text decoded(struct text text)
{
    static char bytes[UINT16_MAX];
    size_t length = 0;
    unsigned bits = 0, count = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (!is_base64url((unsigned char)text.at[i]) || length == sizeof bytes) {
            return (struct text){NULL, 0};
        }
        bits = (bits << 6 | sextet((unsigned char)text.at[i])) & 0xFFF;
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes[length++] = (char)(bits >> count & 0xFF);
        }
    }
    return (struct text){bytes, length};
}

bool credential_is_ace(struct text username)
{
    static const struct text ACE = {"ace", 3};
    if (!text_starts(username, ACE)) {
        return false;
    }
    const struct text rest = {username.at + ACE.length, username.length - ACE.length};
    return is_jws(rest) || credential_is_token(decoded(rest));
}
