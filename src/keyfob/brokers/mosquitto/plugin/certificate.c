/* SPDX-License-Identifier: Apache-2.0 */
#include "certificate.h"

#include <dlfcn.h>

/* The broker has OpenSSL loaded, or has no certificates. Asking for its functions by name keeps the
 * plugin free of OpenSSL's headers and of its version. */

typedef const void *(*evp_sha256)(void);
typedef int (*x509_digest)(const void *certificate, const void *type, unsigned char *digest,
                           unsigned int *length);
typedef void (*x509_free)(void *certificate);

static void release(void *certificate)
{
    x509_free free_it = (x509_free)dlsym(RTLD_DEFAULT, "X509_free");
    if (free_it != NULL) {
        free_it(certificate);
    }
}

bool certificate_shown(const struct mosquitto *client)
{
    void *certificate = mosquitto_client_certificate(client);
    if (certificate == NULL) {
        return false;
    }
    release(certificate);
    return true;
}

struct text certificate_thumbprint(const struct mosquitto *client, uint8_t buffer[WIRE_THUMBPRINT])
{
    struct text none = {"", 0};
    void *certificate = mosquitto_client_certificate(client);
    if (certificate == NULL) {
        return none;
    }
    evp_sha256 sha256 = (evp_sha256)dlsym(RTLD_DEFAULT, "EVP_sha256");
    x509_digest digest = (x509_digest)dlsym(RTLD_DEFAULT, "X509_digest");
    unsigned char hash[64]; /* EVP_MAX_MD_SIZE */
    unsigned int length = 0;
    bool made = sha256 != NULL && digest != NULL &&
                digest(certificate, sha256(), hash, &length) == 1 && length == WIRE_THUMBPRINT;
    release(certificate);
    if (!made) {
        return none;
    }
    memcpy(buffer, hash, WIRE_THUMBPRINT);
    return (struct text){(const char *)buffer, WIRE_THUMBPRINT};
}
