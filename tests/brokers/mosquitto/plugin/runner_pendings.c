/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that wait for their decision: added, found, given up, taken out. And whose a client is.
 */
#include "runner.h"

#include "pendings.h"
#include "route.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static struct pendings pendings;

static void print_epoch(const struct pending *pending)
{
    printf("%" PRIu64 "\n", pending == NULL ? 0 : pending->epoch);
}

static void add(struct words *words)
{
    const struct pending source = {
        .client = &pendings,
        .epoch = number(words, 2),
        .request = (uint32_t)number(words, 3),
        .worker = (unsigned)number(words, 4),
        .deadline = signed_number(words, 5),
    };
    bool room = !pendings_full(&pendings);
    answer(room && pendings_add(&pendings, &source, text(words, 1)) != NULL);
}

static void take(struct pending *pending)
{
    if (pending != NULL) {
        pendings_take(&pendings, pending);
    }
    print_epoch(pending);
    free(pending);
}

static void print_queue(const char *name, const struct pending_queue *queue)
{
    printf("%s", name);
    for (const struct pending *pending = queue->first; pending != NULL; pending = pending->next) {
        printf(" %" PRIu64, pending->epoch);
    }
}

static bool pending_question(struct words *words)
{
    const char *verb = words->word[0];
    if (strcmp(verb, "pending-of") == 0) {
        print_epoch(pendings_of_client(&pendings, text(words, 1)));
    } else if (strcmp(verb, "pending-awaiting") == 0) {
        print_epoch(pendings_awaiting(&pendings, (unsigned)number(words, 1),
                                      (uint32_t)number(words, 2), number(words, 3)));
    } else if (strcmp(verb, "pending-due") == 0) {
        print_epoch(pendings_due(&pendings, signed_number(words, 1)));
    } else if (strcmp(verb, "pending-all") == 0) {
        print_queue("waiting", &pendings.waiting);
        print_queue(" closing", &pendings.closing);
        printf(" count %zu\n", pendings.count);
    } else if (strcmp(verb, "route") == 0) {
        printf("%u\n", route_of(text(words, 1), (unsigned)number(words, 2)));
    } else {
        return false;
    }
    return true;
}

bool pending_command(struct words *words)
{
    const char *verb = words->word[0];
    if (strcmp(verb, "pending-new") == 0) {
        pendings_free(&pendings);
        pendings_init(&pendings, (struct hash_key){{1, 2}});
        answer(true);
    } else if (strcmp(verb, "pending-add") == 0) {
        add(words);
    } else if (strcmp(verb, "pending-take") == 0) {
        take(pendings_of_client(&pendings, text(words, 1)));
    } else if (strcmp(verb, "pending-give-up") == 0) {
        pendings_give_up(&pendings, pendings_of_client(&pendings, text(words, 1)));
        answer(true);
    } else if (strcmp(verb, "pending-give-up-on") == 0) {
        pendings_give_up_on(&pendings, (unsigned)number(words, 1));
        answer(true);
    } else {
        return pending_question(words);
    }
    return true;
}

void pending_end(void)
{
    pendings_free(&pendings);
}
