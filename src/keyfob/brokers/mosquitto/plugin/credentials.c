/* SPDX-License-Identifier: Apache-2.0 */
#include "credentials.h"

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
