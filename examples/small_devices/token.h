// SPDX-License-Identifier: Apache-2.0
// A good access token for a small device in C: libcurl asks, cJSON reads.
#ifndef KEYFOB_EXAMPLE_TOKEN_H
#define KEYFOB_EXAMPLE_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

enum { TOKEN_MOST = 4096 };

struct token {
    const char *url;       // the token endpoint: https://as.example.com/oauth2/token
    const char *client_id; // the device
    const char *secret;
    const char *ca_file;       // the authority that alone is trusted, in PEM
    char text[TOKEN_MOST + 1]; // empty while there is none
    double came, lives, due;   // when it was asked for, and the ages at its end and renewal
    double asked, wait;        // when the server was asked last, and how long to leave it alone
    unsigned failures;
    bool later; // nothing has happened since the last one that had all devices ask at once
};

// Seconds on a clock that nobody sets, and that goes on in sleep.
double now_seconds(void);

// A number from 0 to 1, another one on each device.
double chance(void);

// Asks for a new token where it is time to; returns whether text is good to be shown. It waits for
// the network, some 10 seconds at most.
bool token_good(struct token *token);

// The broker refused it: one that is older than half a minute is renewed once.
void token_refused(struct token *token);

#endif
