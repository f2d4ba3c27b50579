/* SPDX-License-Identifier: Apache-2.0 */
#include "certificate.h"

#include <dlfcn.h>

/* The broker has OpenSSL loaded, or has no certificates. Asking for its functions by name keeps the
 * plugin free of OpenSSL's headers and of its version. */

typedef const void *(*evp_sha256)(void);
typedef int (*x509_digest)(const void *certificate, const void *type, unsigned char *digest,
                           unsigned int *length);
typedef void (*x509_free)(void *certificate);

struct text certificate_thumbprint(const struct mosquitto *client, uint8_t buffer[WIRE_THUMBPRINT])
{
    struct text none = {"", 0};
    void *certificate = mosquitto_client_certificate(client);
    if (certificate == NULL) {
        return none;
    }
    evp_sha256 sha256 = (evp_sha256)dlsym(RTLD_DEFAULT, "EVP_sha256");
    x509_digest digest = (x509_digest)dlsym(RTLD_DEFAULT, "X509_digest");
    x509_free release = (x509_free)dlsym(RTLD_DEFAULT, "X509_free");
    unsigned char hash[64]; /* EVP_MAX_MD_SIZE */
    unsigned int length = 0;
    bool made = sha256 != NULL && digest != NULL &&
                digest(certificate, sha256(), hash, &length) == 1 && length == WIRE_THUMBPRINT;
    if (release != NULL) {
        release(certificate);
    }
    if (!made) {
        return none;
    }
    memcpy(buffer, hash, WIRE_THUMBPRINT);
    return (struct text){(const char *)buffer, WIRE_THUMBPRINT};
}
