/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer over permissions.c: rules as they travel, and a topic to ask about.
 *
 * With an index (compiled for any number of rules) and without one the answers are the same.
 *
 * An input: a byte that says the QoS (2 bits) and retain (1 bit), a byte with the topic's length,
 * the topic, and the Permissions of docs/wire-protocol.md.
 */
#include "permissions_linear.h"
#include "topic.h"

#include <stdlib.h>

/* Of a RECORD with empty texts, up to Permissions: epoch, state, flags, client identifier, end,
 * four texts, what the token is bound to, OAuth client. */
enum { HEAD = 8 + 1 + 1 + 2 + 8 + 4 * 2 + 1 + 2 };

static void demand(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Frames the rules, for only what wire_read accepts is compiled; NULL where it does not. */
static uint8_t *framed(const uint8_t *rules, size_t size, struct wire_frame *frame)
{
    size_t payload = HEAD + size;
    uint8_t *bytes = calloc(1, WIRE_HEADER + payload);
    demand(bytes != NULL);
    for (size_t i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(payload >> 8 * (3 - i));
    }
    bytes[4] = WIRE_RECORD;
    memcpy(bytes + WIRE_HEADER + HEAD, rules, size);
    if (wire_read(bytes, WIRE_HEADER + payload, frame) != WIRE_FRAME) {
        free(bytes);
        return NULL;
    }
    return bytes;
}

struct asked {
    const struct permissions *indexed, *linear;
    unsigned qos;
    bool retain;
};

static void ask(const struct asked *asked, struct text topic)
{
    if (topic_name_valid(topic)) {
        demand(permissions_publish(asked->indexed, topic, asked->qos, asked->retain) ==
               linear_publish(asked->linear, topic, asked->qos, asked->retain));
        demand(permissions_receive(asked->indexed, topic) == linear_receive(asked->linear, topic));
    }
    demand(permissions_subscribe(asked->indexed, topic, asked->qos) ==
           linear_subscribe(asked->linear, topic, asked->qos));
}

static void compare(const struct wire_permissions *rules, unsigned how, struct text topic)
{
    struct permissions *indexed = malloc(permissions_size(rules));
    struct permissions *linear = malloc(linear_size(rules));
    demand(indexed != NULL && linear != NULL);
    bool compiled = permissions_compile(indexed, rules);
    demand(linear_compile(linear, rules) == compiled);
    struct asked asked = {indexed, linear, how & 3, how & 4};
    if (compiled) {
        ask(&asked, topic);
        struct text left = rules->rules;
        for (size_t i = 0; i < rules->count; i++) {
            ask(&asked, wire_next_rule(&left).filter);
        }
    }
    free(indexed);
    free(linear);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 2 || size - 2 < bytes[1] || size > WIRE_MAX_PAYLOAD - HEAD) {
        return 0;
    }
    struct text topic = {(const char *)bytes + 2, bytes[1]};
    struct wire_frame frame;
    uint8_t *held = framed(bytes + 2 + topic.length, size - 2 - topic.length, &frame);
    if (held != NULL) {
        compare(&frame.record.grant.permissions, bytes[0], topic);
        free(held);
    }
    return 0;
}
