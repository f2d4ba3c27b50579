/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: read, told in words, written. */
#include "runner.h"

#include <inttypes.h>
#include <stdio.h>

static void print_text(struct text text)
{
    printf(" ");
    print_hex(text.at, text.length);
}

static void print_grant(const struct wire_grant *grant)
{
    printf(" %" PRId64, grant->expires_at);
    print_text(grant->principal);
    print_text(grant->issuer);
    print_text(grant->subject);
    print_text(grant->token_id);
    printf(" %u", grant->token);
    print_text(grant->client);
    printf(" %u", grant->permissions.form);
    struct text rules = grant->permissions.rules;
    for (size_t i = 0; i < grant->permissions.count; i++) {
        struct wire_rule rule = wire_next_rule(&rules);
        printf(" %d:%u:%d:%u:%u:", rule.allow, rule.operations, rule.literal, rule.qos,
               rule.retain);
        print_hex(rule.filter.at, rule.filter.length);
    }
}

static void print_frame(const struct wire_frame *frame)
{
    switch (frame->type) {
    case WIRE_WELCOME:
        printf("WELCOME %u %u %u", frame->welcome.version, frame->welcome.worker,
               frame->welcome.workers);
        print_text((struct text){(const char *)frame->welcome.instance, WIRE_INSTANCE});
        break;
    case WIRE_RECORD:
        printf("RECORD %" PRIu64 " %u %u", frame->record.epoch, frame->record.state,
               frame->record.flags);
        print_text(frame->record.client_id);
        print_grant(&frame->record.grant);
        break;
    case WIRE_DECISION:
        printf("DECISION %u %" PRIu64 " %u", frame->request, frame->decision.epoch,
               frame->decision.reason);
        print_text(frame->decision.data);
        if (frame->decision.reason == 0) {
            print_grant(&frame->decision.grant);
        }
        break;
    case WIRE_END:
        printf("END %" PRIu64 " %u", frame->end.epoch, frame->end.cause);
        print_text(frame->end.client_id);
        break;
    case WIRE_REPLACE:
        printf("REPLACE %" PRIu64, frame->replace.epoch);
        print_text(frame->replace.client_id);
        print_grant(&frame->replace.grant);
        break;
    default: printf("RECORDS_END"); break;
    }
    printf(" size=%zu\n", frame->size);
}

bool read_frame(struct words *words, size_t i, struct wire_frame *frame)
{
    struct text bytes = text(words, i);
    switch (wire_read((const uint8_t *)bytes.at, bytes.length, frame)) {
    case WIRE_MORE: puts("more"); return false;
    case WIRE_VIOLATION: puts("violation"); return false;
    default: return true;
    }
}

void print_written(struct buffer *out, bool fit)
{
    if (fit) {
        print_hex(buffer_front(out), buffer_length(out));
        puts("");
    } else {
        puts("refused");
    }
    buffer_free(out);
}

static bool write_hello(struct words *words, struct buffer *out)
{
    struct wire_hello hello = {.epoch = number(words, 3),
                               .broker_version = (uint32_t)number(words, 4),
                               .broker_name = text(words, 5)};
    memcpy(hello.instance, text(words, 2).at, WIRE_INSTANCE);
    return wire_write_hello(out, &hello);
}

static bool write_connect(struct words *words, struct buffer *out)
{
    struct wire_connect connect = {
        .epoch = number(words, 3),
        .flags = (uint8_t)number(words, 4),
        .protocol_level = (uint8_t)number(words, 5),
        .client_id = text(words, 6),
        .username = text(words, 7),
        .password = text(words, 8),
        .peer = text(words, 9),
        .thumbprint = text(words, 10),
        .method = text(words, 11),
        .data = text(words, 12),
        .wait_ms = (uint32_t)number(words, 13),
    };
    return wire_write_connect(out, (uint32_t)number(words, 2), &connect);
}

static bool write_reauthenticate(struct words *words, struct buffer *out)
{
    struct wire_reauthenticate reauthenticate = {
        .epoch = number(words, 3),
        .client_id = text(words, 4),
        .method = text(words, 5),
        .data = text(words, 6),
        .peer = text(words, 7),
        .thumbprint = text(words, 8),
        .wait_ms = (uint32_t)number(words, 9),
    };
    return wire_write_reauthenticate(out, (uint32_t)number(words, 2), &reauthenticate);
}

static bool write_continue(struct words *words, struct buffer *out)
{
    struct wire_continue more = {
        .epoch = number(words, 3),
        .client_id = text(words, 4),
        .data = text(words, 5),
        .wait_ms = (uint32_t)number(words, 6),
    };
    return wire_write_continue(out, (uint32_t)number(words, 2), &more);
}

static bool write_frame(struct words *words)
{
    struct buffer out;
    buffer_init(&out, 1 << 20);
    const char *type = words->word[1];
    bool fit = false;
    if (strcmp(type, "HELLO") == 0) {
        fit = write_hello(words, &out);
    } else if (strcmp(type, "RECORDS_END") == 0) {
        fit = wire_write_records_end(&out);
    } else if (strcmp(type, "CONNECT") == 0) {
        fit = write_connect(words, &out);
    } else if (strcmp(type, "REAUTHENTICATE") == 0) {
        fit = write_reauthenticate(words, &out);
    } else if (strcmp(type, "CONTINUE") == 0) {
        fit = write_continue(words, &out);
    } else if (strcmp(type, "ADMITTED") == 0) {
        fit = wire_write_admitted(&out, number(words, 2), text(words, 3));
    } else if (strcmp(type, "OFFLINE") == 0) {
        fit = wire_write_offline(&out, number(words, 2), text(words, 3), number(words, 4) == 1);
    } else {
        return false;
    }
    print_written(&out, fit);
    return true;
}

bool frame_command(struct words *words)
{
    struct wire_frame frame;
    if (strcmp(words->word[0], "read") == 0) {
        if (read_frame(words, 1, &frame)) {
            print_frame(&frame);
        }
        return true;
    }
    return strcmp(words->word[0], "write") == 0 && write_frame(words);
}
