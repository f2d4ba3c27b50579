/* SPDX-License-Identifier: Apache-2.0 */
/* One record out of a RECORD: its permissions are asked, or it is told again. */
#include "runner.h"

#include <malloc.h>
#include <stdio.h>

static struct record *subject;

struct record *record_from(const struct wire_record *from, uint64_t client, int64_t deadline,
                           enum record_state state, uint8_t flags)
{
    return record_make(&(struct record_source){
        .client_id = from->client_id,
        .grant = &from->grant,
        .client = (const void *)(uintptr_t)client,
        .epoch = from->epoch,
        .deadline = deadline,
        .state = state,
        .flags = flags,
    });
}

static void load(struct words *words)
{
    static const enum record_state STATES[] = {RECORD_ONLINE, RECORD_OFFLINE, RECORD_REVOKED};
    struct wire_frame frame;
    record_free(subject);
    subject = NULL;
    if (!read_frame(words, 1, &frame)) {
        return;
    }
    if (frame.type != WIRE_RECORD) {
        puts("no record");
        return;
    }
    subject = record_from(&frame.record, 0, 0, STATES[frame.record.state],
                          record_flags_of(&frame.record));
    puts(subject != NULL ? "loaded" : "refused");
}

bool permission_command(struct words *words)
{
    const char *verb = words->word[0];
    if (strcmp(verb, "publish") == 0) {
        answer(permissions_publish(record_permissions(subject), text(words, 1),
                                   (unsigned)number(words, 2), number(words, 3) == 1));
    } else if (strcmp(verb, "subscribe") == 0) {
        answer(permissions_subscribe(record_permissions(subject), text(words, 1),
                                     (unsigned)number(words, 2)));
    } else if (strcmp(verb, "receive") == 0) {
        answer(permissions_receive(record_permissions(subject), text(words, 1)));
    } else if (strcmp(verb, "load") == 0) {
        load(words);
    } else if (strcmp(verb, "weight") == 0) {
        printf("%zu\n", malloc_usable_size(subject));
    } else if (strcmp(verb, "rewrite") == 0) {
        struct buffer out;
        buffer_init(&out, 1 << 20);
        bool fit = record_write(subject, &out);
        print_written(&out, fit);
    } else {
        return false;
    }
    return true;
}

void permission_end(void)
{
    record_free(subject);
}
