/* SPDX-License-Identifier: Apache-2.0 */
/* What connected grants cost the plugin: memory, a look at what is due, and an expiry, by how many
 * grants there are. Each has two filters, as docs/performance.md has them.
 *
 * Prints one line per round and number of grants: grants, bytes each with all that holds them,
 * nanoseconds of a tick with nothing due, nanoseconds per grant that expires and leaves.
 */
#include "deadline.h"
#include "records.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TEXT = 128,
    TICKS = 1000,
    EXPIRING = 500,
    LATER = 1000000,
};

static const size_t GRANTS[] = {1000, 10000, 100000, 1000000};
enum { SIZES = sizeof GRANTS / sizeof GRANTS[0] };

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

static char *put_rule(char *at, uint8_t operations, struct text filter)
{
    const char head[] = {1, (char)operations, 0, 7, 3, 0, (char)filter.length};
    memcpy(at, head, sizeof head);
    memcpy(at + sizeof head, filter.at, filter.length);
    return at + sizeof head + filter.length;
}

static struct wire_permissions two_filters(const char *name, char bytes[2 * TEXT])
{
    char up[TEXT], down[TEXT];
    snprintf(up, sizeof up, "devices/%s/up/#", name);
    snprintf(down, sizeof down, "devices/%s/down/#", name);
    char *end = put_rule(put_rule(bytes, WIRE_PUBLISH, text_of(up)), WIRE_SUBSCRIBE, text_of(down));
    return (struct wire_permissions){.count = 2, .rules = {bytes, (size_t)(end - bytes)}};
}

static void add(struct records *records, size_t number)
{
    char name[TEXT / 2], bytes[2 * TEXT];
    snprintf(name, sizeof name, "device-%06zu", number);
    struct text id = text_of(name);
    struct wire_grant grant = {.expires_at = INT64_MAX,
                               .principal = id,
                               .issuer = text_of("production"),
                               .subject = id,
                               .token_id = text_of("0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"),
                               .client = id,
                               .permissions = two_filters(name, bytes)};
    /* The first EXPIRING are due at 1, all others later, in no order. */
    int64_t deadline = number < EXPIRING ? 1 : LATER + (int64_t)(number * 7919 % LATER);
    struct record *record =
        record_make(&(struct record_source){.client_id = id,
                                            .grant = &grant,
                                            .client = (const char *)NULL + 16 * (number + 1),
                                            .deadline = deadline,
                                            .flags = RECORD_DROPPED});
    if (record == NULL || !records_put(records, record)) {
        fail("out of memory");
    }
}

static int64_t stopwatch(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* What the plugin does each time that the broker calls it, when nothing is due. */
static double tick(struct records *records)
{
    int64_t before = stopwatch();
    for (size_t i = 0; i < TICKS; i++) {
        if (records_due(records, 0) != NULL || records_next_kick(records) != NULL) {
            fail("something is due");
        }
        records_sweep(records);
    }
    return (double)(stopwatch() - before) / TICKS;
}

static double expire(struct records *records)
{
    size_t expired = 0;
    int64_t before = stopwatch();
    for (struct record *record; (record = records_due(records, 1)) != NULL; expired++) {
        records_expire(records, record);
        records_disconnect(records, record);
    }
    records_sweep(records);
    int64_t spent = stopwatch() - before;
    if (expired != EXPIRING) {
        fail("others have expired");
    }
    return (double)spent / EXPIRING;
}

static void measure(size_t grants)
{
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    struct records records;
    if (!records_init(&records, 0, (struct hash_key){{1, 2}}, on_evicted, NULL)) {
        fail("out of memory");
    }
    for (size_t i = 0; i < grants; i++) {
        add(&records, i);
    }
    size_t bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    double ticking = tick(&records), expiring = expire(&records);
    printf("%zu %.1f %.1f %.1f\n", grants, (double)bytes / (double)grants, ticking, expiring);
    records_free(&records);
}

int main(int count, char **arguments)
{
    int rounds = count > 1 ? atoi(arguments[1]) : 15;
    for (int i = 0; i < rounds; i++) {
        for (size_t size = 0; size < SIZES; size++) {
            measure(GRANTS[size]);
        }
    }
    return 0;
}
