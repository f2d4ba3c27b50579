/* SPDX-License-Identifier: Apache-2.0 */
/* How long the plugin needs for one message: enforcement_check as the broker calls it.
 *
 * CLIENTS clients, each with its own filters, of which the last one matches. Cold: every client is
 * asked about once per round, in an order that no prefetcher foresees, after the caches were filled
 * with something else: the record comes from memory, as it does in a broker that serves many
 * clients. The client and the topic are warm: the broker has just read them. Warm: a few clients,
 * again and again.
 *
 * Prints one line per round and number of filters: filters, nanoseconds per check that is cold, and
 * warm, bytes per record.
 */
#include "deadline.h"
#include "enforcement.h"
#include "native_broker.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CLIENTS = 10000,
    BATCH = 50, /* checks between two looks at the stopwatch */
    FEW = 16,   /* clients that are warm, and how often each is asked about */
    OFTEN = 500,
    TEXT = 128,
    CACHE = 64 << 20, /* more than the caches hold */
    MOST_FILTERS = 4096,
};

static const size_t FILTERS[] = {2, 8, 64, 1000};
enum { KINDS = sizeof FILTERS / sizeof FILTERS[0] };

static struct keyfob plugins[KINDS];
static struct mosquitto clients[CLIENTS];
static size_t weights[KINDS];
static size_t order[CLIENTS];
static volatile size_t allowed;

static void fail(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void on_evicted(void *context, const struct record *record)
{
    (void)context;
    (void)record;
}

static struct text topic(size_t client, size_t filter, const char *last, char into[TEXT])
{
    int length = snprintf(into, TEXT, "plant/device-%06zu/sensor-%zu/%s", client, filter, last);
    return (struct text){into, (size_t)length};
}

/* The rules as they travel: docs/wire-protocol.md. */
static struct wire_permissions rules_of(size_t client, size_t filters)
{
    static char bytes[MOST_FILTERS * TEXT];
    char text[TEXT], *at = bytes;
    for (size_t i = 0; i < filters; i++) {
        struct text filter = topic(client, i, "+", text);
        const char head[] = {1, WIRE_PUBLISH, 0, 7, 3, 0, (char)filter.length};
        memcpy(at, head, sizeof head);
        memcpy(at + sizeof head, filter.at, filter.length);
        at += sizeof head + filter.length;
    }
    return (struct wire_permissions){.count = (uint16_t)filters,
                                     .rules = {bytes, (size_t)(at - bytes)}};
}

static void fill(size_t kind)
{
    const struct hash_key key = {{1, 2}};
    struct records *records = &plugins[kind].records;
    plugins[kind].ticked = true;
    plugins[kind].slept = slept_ms();
    if (!records_init(records, 0, key, on_evicted, NULL)) {
        fail("out of memory");
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        struct text id = text_of(clients[i].id);
        struct wire_grant grant = {.expires_at = INT64_MAX,
                                   .principal = id,
                                   .issuer = text_of("production"),
                                   .subject = id,
                                   .token_id = text_of("0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"),
                                   .client = id,
                                   .permissions = rules_of(i, FILTERS[kind])};
        struct record *record = record_make(&(struct record_source){
            .client_id = id, .grant = &grant, .client = &clients[i], .deadline = INT64_MAX});
        if (record == NULL || !records_put(records, record)) {
            fail("out of memory");
        }
        weights[kind] = malloc_usable_size(record);
    }
}

static uint64_t next_random(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void shuffle(void)
{
    for (size_t i = CLIENTS - 1; i > 0; i--) {
        size_t other = next_random() % (i + 1), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

static void cool_down(void)
{
    static char cache[CACHE];
    for (size_t i = 0; i < CACHE; i += 64) {
        cache[i]++;
    }
}

static int64_t stopwatch(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static size_t check(size_t kind, size_t client, const char *name)
{
    const struct mosquitto_evt_acl_check event = {
        .client = &clients[client], .topic = name, .access = MOSQ_ACL_WRITE, .qos = 1};
    return enforcement_check(&plugins[kind], &event, MODE_EXCLUSIVE) == MOSQ_ERR_SUCCESS;
}

static double per_check(int64_t spent, size_t yes, size_t asked)
{
    if (yes != asked) {
        fail("a check was answered wrongly");
    }
    allowed += yes;
    return (double)spent / (double)asked;
}

static double cold_round(size_t kind)
{
    static char names[BATCH][TEXT];
    int64_t spent = 0;
    size_t yes = 0;
    shuffle();
    cool_down();
    for (size_t start = 0; start < CLIENTS; start += BATCH) {
        for (size_t i = 0; i < BATCH; i++) {
            topic(order[start + i], FILTERS[kind] - 1, "temperature", names[i]);
            __builtin_prefetch(&clients[order[start + i]]);
        }
        int64_t before = stopwatch();
        for (size_t i = 0; i < BATCH; i++) {
            yes += check(kind, order[start + i], names[i]);
        }
        spent += stopwatch() - before;
    }
    return per_check(spent, yes, CLIENTS);
}

static double warm_round(size_t kind)
{
    static char names[FEW][TEXT];
    size_t yes = 0;
    for (size_t i = 0; i < FEW; i++) {
        topic(order[i], FILTERS[kind] - 1, "temperature", names[i]);
    }
    int64_t before = stopwatch();
    for (size_t i = 0; i < FEW * OFTEN; i++) {
        yes += check(kind, order[i % FEW], names[i % FEW]);
    }
    return per_check(stopwatch() - before, yes, (size_t)FEW * OFTEN);
}

int main(int count, char **arguments)
{
    int rounds = count > 1 ? atoi(arguments[1]) : 15;
    for (size_t i = 0; i < CLIENTS; i++) {
        order[i] = i;
        (void)snprintf(clients[i].id, sizeof clients[i].id, "device-%06zu", i);
    }
    for (size_t kind = 0; kind < KINDS; kind++) {
        fill(kind);
        cold_round(kind); /* not counted */
    }
    for (int i = 0; i < rounds; i++) {
        for (size_t kind = 0; kind < KINDS; kind++) {
            double cold = cold_round(kind), warm = warm_round(kind);
            printf("%zu %.1f %.1f %zu\n", FILTERS[kind], cold, warm, weights[kind]);
        }
    }
    for (size_t kind = 0; kind < KINDS; kind++) {
        records_free(&plugins[kind].records);
    }
    return 0;
}
