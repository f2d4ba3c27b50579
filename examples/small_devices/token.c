// SPDX-License-Identifier: Apache-2.0
#include "token.h"

#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

enum {
    TIMEOUT = 10, // seconds for one question
    MOST_BODY = 8192,
    LONGEST = 10 * 365 * 86400, // seconds that a token may live; more is a mistake
    LATEST = 300,               // seconds between questions to a server that is away
    REFUSED = 900,              // and to one that said no
};

struct answer {
    char body[MOST_BODY + 1];
    size_t length;
};

enum outcome { GOOD, AWAY, NO };

double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double chance(void)
{
    uint32_t number = 0;
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number) {
        number = (uint32_t)now_seconds();
    }
    return number / (double)UINT32_MAX;
}

static size_t take(char *data, size_t size, size_t count, void *into)
{
    struct answer *answer = into;
    size_t length = size * count;
    if (length > MOST_BODY - answer->length) {
        return 0; // libcurl ends the transfer
    }
    memcpy(answer->body + answer->length, data, length);
    answer->length += length;
    return length;
}

// Reads a successful answer (RFC 6749 section 5.1).
static bool read_answer(struct token *token, const struct answer *answer, double *lifetime)
{
    cJSON *said = cJSON_ParseWithLength(answer->body, answer->length);
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(said, "access_token"));
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(said, "token_type"));
    const cJSON *seconds = cJSON_GetObjectItemCaseSensitive(said, "expires_in");
    *lifetime = seconds == NULL ? 3600 : cJSON_GetNumberValue(seconds); // not a number: NaN
    bool usable = text != NULL && *text != '\0' && strlen(text) <= TOKEN_MOST && type != NULL &&
                  strcasecmp(type, "Bearer") == 0 && *lifetime >= 1 && *lifetime <= LONGEST;
    if (usable) {
        strcpy(token->text, text);
    }
    cJSON_Delete(said);
    return usable;
}

static void prepare(CURL *curl, const struct token *token, struct answer *answer)
{
    curl_easy_setopt(curl, CURLOPT_URL, token->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L); // a secret goes nowhere else
    curl_easy_setopt(curl, CURLOPT_CAINFO, token->ca_file);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "grant_type=client_credentials");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
}

// RFC 6749 section 2.3.1: each is form-encoded before it is put into HTTP Basic.
static bool name_who_asks(CURL *curl, const struct token *token)
{
    char *id = curl_easy_escape(curl, token->client_id, 0);
    char *secret = curl_easy_escape(curl, token->secret, 0);
    bool named = id != NULL && secret != NULL;
    if (named) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(curl, CURLOPT_USERNAME, id);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, secret);
    }
    curl_free(id);
    curl_free(secret);
    return named;
}

static enum outcome ask(struct token *token, double *lifetime, double *retry_after)
{
    static struct answer answer; // too much for a small stack
    long status = 0;
    curl_off_t after = 0;
    answer.length = 0;
    CURL *curl = curl_easy_init();
    if (curl == NULL) {
        return AWAY;
    }
    prepare(curl, token, &answer);
    CURLcode code = name_who_asks(curl, token) ? curl_easy_perform(curl) : CURLE_OUT_OF_MEMORY;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &after);
    curl_easy_cleanup(curl);
    *retry_after = (double)after;
    bool good = code == CURLE_OK && status == 200 && read_answer(token, &answer, lifetime);
    memset(&answer, 0, sizeof answer);
    if (!good) { // never the body: it may repeat what was sent
        fprintf(stderr, "no token: %s, HTTP %ld\n", curl_easy_strerror(code), status);
    }
    return good ? GOOD : status == 400 || status == 401 || status == 403 ? NO : AWAY;
}

// When it is renewed: a fleet that asked together must not renew together.
static void plan(struct token *token, double lifetime)
{
    double leeway = fmin(fmin(fmax(lifetime / 10, 10), 300), lifetime / 2);
    double latest = lifetime - leeway;
    double earliest = latest * (token->later ? 0.75 : 0.05);
    token->due = earliest + (latest - earliest) * chance();
    token->lives = lifetime - fmin(lifetime / 50, 5);
    token->later = true;
}

static void renew(struct token *token, double now)
{
    double lifetime = 0;
    double retry_after = 0;
    token->asked = now;
    switch (ask(token, &lifetime, &retry_after)) {
    case GOOD:
        token->came = now; // from when it was asked for, not from when it came
        token->failures = 0;
        token->wait = 0;
        plan(token, lifetime);
        break;
    case NO:
        token->wait = REFUSED;
        token->later = false;
        break;
    case AWAY:
        token->later = false;
        token->wait = fmin(LATEST, ldexp(1, (int)token->failures));
        token->wait *= 0.1 + 0.9 * chance();
        token->wait = fmin(fmax(token->wait, retry_after), 3600);
        token->failures += token->failures < 9;
        break;
    }
}

bool token_good(struct token *token)
{
    double now = now_seconds();
    if (*token->text != '\0' && now - token->came >= token->lives) {
        memset(token->text, 0, sizeof token->text);
        token->later = false;
    }
    bool due = *token->text == '\0' || now - token->came >= token->due;
    if (due && now - token->asked >= token->wait) {
        renew(token, now);
    }
    return *token->text != '\0';
}

void token_refused(struct token *token)
{
    if (*token->text != '\0' && now_seconds() - token->came > 30) {
        token->due = 0;
        token->later = false;
    }
}
