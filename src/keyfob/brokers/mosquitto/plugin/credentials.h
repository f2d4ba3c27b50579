/* SPDX-License-Identifier: Apache-2.0 */
/* What a credential looks like: a token, or something that is not for us. */
#ifndef KEYFOB_CREDENTIALS_H
#define KEYFOB_CREDENTIALS_H

#include "text.h"

/* Does it look like a token that the guard decides about? A JWT does: three segments of base64url
 * (RFC 7515 section 7.1), the first of which begins a JSON object; so does whatever begins like the
 * opaque tokens of Keyfob's own server, kfa_. Other servers' opaque tokens look like passwords.
 *
 * keyfob.guard.credentials finds the token of a CONNECT by the same shape;
 * vectors/credentials.json holds both to it. */
bool credential_is_token(struct text credential);

#endif
