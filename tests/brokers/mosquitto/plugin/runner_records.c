/* SPDX-License-Identifier: Apache-2.0 */
/* The table of records: put in, changed, taken out, told in words. */
#include "runner.h"

#include "records.h"

#include <inttypes.h>
#include <stdio.h>

static struct records records;

static void on_evicted(void *context, const struct record *record)
{
    (void)context;
    printf("evicted:%s ", record_client_id(record).at);
}

static void start(struct words *words)
{
    struct hash_key key = {{number(words, 2), number(words, 3)}};
    records_free(&records);
    answer(records_init(&records, (size_t)number(words, 1), key, on_evicted, NULL));
}

static void put_record(struct words *words)
{
    struct wire_frame frame;
    if (read_frame(words, 1, &frame)) {
        struct record *record =
            record_from(&frame.record, number(words, 2), signed_number(words, 3),
                        (enum record_state)number(words, 4), (uint8_t)number(words, 5));
        answer(record != NULL && records_put(&records, record));
    }
}

static bool print_record(void *context, const struct record *record)
{
    *(size_t *)context += 1;
    printf("%s,%" PRIu64 ",%u,%" PRIuPTR ",%u,%" PRId64 ",%d ", record_client_id(record).at,
           record->epoch, record->state, (uintptr_t)record->client, record->list, record->deadline,
           record->heap_place > 0);
    return true;
}

static void dump(void)
{
    size_t seen = 0;
    size_t steps = records_steps(&records);
    for (size_t i = 0; i < steps; i++) {
        records_visit(&records, i, steps, print_record, &seen);
    }
    struct record **heap = records.expiries.heap;
    for (size_t i = 0; i < records.expiries.count; i++) {
        bool sound = heap[i]->heap_place == i + 1 &&
                     (i == 0 || heap[(i - 1) / 2]->deadline <= heap[i]->deadline);
        if (!sound) {
            printf("unsound ");
        }
    }
    puts(seen == records.count ? "." : "miscounted");
}

/* Visits the records of one step of those that there were at the first. */
static void visit_step(size_t step)
{
    static size_t steps;
    size_t seen = 0;
    if (step == 0) {
        steps = records_steps(&records);
    }
    if (step < steps) {
        records_visit(&records, step, steps, print_record, &seen);
    }
    puts(step < steps ? "more" : "over");
}

static void print_id(const struct record *record)
{
    puts(record != NULL ? record->texts : "-");
}

/* Which record is found by a connection and an identifier: by the index of connections alone, and
 * by all that a message goes through. */
static void find_client(struct words *words)
{
    char name[UINT16_MAX + 1] = "";
    struct text id = text(words, 2);
    memcpy(name, id.at, id.length);
    const void *client = (const void *)(uintptr_t)number(words, 1);
    const struct record *indexed = connections_find(&records.connections, client, name);
    printf("%s ", indexed != NULL ? indexed->texts : "-");
    print_id(records_find_client(&records, client, name));
}

/* Verbs that name one record; they answer whether there is one. */
static bool about_one(struct words *words)
{
    static const struct {
        const char *verb;
        void (*call)(struct records *, struct record *);
    } VERBS[] = {{"drop", records_drop},
                 {"hasten", records_hasten},
                 {"expire", records_expire},
                 {"revoke", records_revoke},
                 {"disconnect", records_disconnect}};
    for (size_t i = 0; i < sizeof VERBS / sizeof VERBS[0]; i++) {
        if (strcmp(words->word[0], VERBS[i].verb) == 0) {
            struct record *record = records_find(&records, text(words, 1));
            if (record != NULL) {
                VERBS[i].call(&records, record);
            }
            answer(record != NULL);
            return true;
        }
    }
    return false;
}

static bool about_all(struct words *words)
{
    const char *verb = words->word[0];
    if (strcmp(verb, "start") == 0) {
        start(words);
    } else if (strcmp(verb, "put") == 0) {
        put_record(words);
    } else if (strcmp(verb, "dump") == 0) {
        dump();
    } else if (strcmp(verb, "visit") == 0) {
        visit_step((size_t)number(words, 1));
    } else if (strcmp(verb, "due") == 0) {
        print_id(records_due(&records, signed_number(words, 1)));
    } else if (strcmp(verb, "client") == 0) {
        find_client(words);
    } else if (strcmp(verb, "kick") == 0) {
        print_id(records_next_kick(&records));
    } else if (strcmp(verb, "sweep") == 0) {
        records_sweep(&records);
        answer(!records_have_closing(&records));
    } else if (strcmp(verb, "reconsider") == 0) {
        records_reconsider(&records, signed_number(words, 1), signed_number(words, 2));
        answer(true);
    } else {
        return false;
    }
    return true;
}

bool record_command(struct words *words)
{
    return about_one(words) || about_all(words);
}

void record_end(void)
{
    records_free(&records);
}
