/* SPDX-License-Identifier: Apache-2.0 */
/* A client's TLS certificate, and its thumbprint (x5t#S256, RFC 8705 section 3.1). */
#ifndef KEYFOB_CERTIFICATE_H
#define KEYFOB_CERTIFICATE_H

#include "mosquitto_api.h"
#include "wire.h"

/* Is there a connection, and one with a certificate? */
bool certificate_shown(const struct mosquitto *client);

/* Empty where the client has shown none. The result points into buffer. */
struct text certificate_thumbprint(const struct mosquitto *client, uint8_t buffer[WIRE_THUMBPRINT]);

#endif
