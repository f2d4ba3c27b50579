/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <string.h>

/* Theory of operation: a reader walks a payload field by field and remembers whether one of them
 * ran past the end or was not what it must be; the answer is asked for once, at the end. A walk
 * that has failed goes on, reads zeros and never leaves the payload. */

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static const uint8_t *take(struct reader *reader, size_t size)
{
    static const uint8_t zeros[WIRE_INSTANCE];
    if (reader->failed || (size_t)(reader->end - reader->at) < size) {
        reader->failed = true;
        return zeros; /* for integers and instances; text asks whether the walk has failed */
    }
    const uint8_t *at = reader->at;
    reader->at += size;
    return at;
}

static uint64_t integer(struct reader *reader, size_t size)
{
    const uint8_t *at = take(reader, size);
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static uint8_t byte_within(struct reader *reader, uint8_t least, uint8_t most)
{
    uint8_t value = (uint8_t)integer(reader, 1);
    reader->failed = reader->failed || value < least || value > most;
    return value;
}

static struct text bytes(struct reader *reader)
{
    size_t length = (size_t)integer(reader, 2);
    struct text bytes = {(const char *)take(reader, length), length};
    return reader->failed ? (struct text){"", 0} : bytes;
}

static struct text text(struct reader *reader)
{
    struct text text = bytes(reader);
    if (!text_is_utf8(text)) {
        reader->failed = true;
        return (struct text){"", 0};
    }
    return text;
}

static struct wire_rule rule(struct reader *reader)
{
    struct wire_rule rule = {0};
    rule.allow = byte_within(reader, 0, 1) == 1;
    rule.operations = byte_within(reader, 0, WIRE_PUBLISH | WIRE_SUBSCRIBE);
    rule.literal = byte_within(reader, 0, 1) == 1;
    rule.qos = byte_within(reader, 0, 7);
    rule.retain = byte_within(reader, 0, 3);
    rule.filter = text(reader);
    return rule;
}

static struct wire_permissions permissions(struct reader *reader)
{
    struct wire_permissions permissions = {0};
    permissions.form = byte_within(reader, WIRE_ALLOW_ONLY, WIRE_FIRST_MATCH);
    permissions.count = (uint16_t)integer(reader, 2);
    reader->failed = reader->failed || permissions.count > WIRE_MAX_RULES;
    permissions.rules.at = (const char *)reader->at;
    for (size_t i = 0; i < permissions.count && !reader->failed; i++) {
        if (!rule(reader).allow && permissions.form == WIRE_ALLOW_ONLY) {
            reader->failed = true;
        }
    }
    permissions.rules.length = (size_t)((const char *)reader->at - permissions.rules.at);
    return permissions;
}

static struct wire_grant grant(struct reader *reader)
{
    struct wire_grant grant = {0};
    grant.expires_at = (int64_t)integer(reader, 8);
    grant.principal = text(reader);
    grant.issuer = text(reader);
    grant.subject = text(reader);
    grant.token_id = text(reader);
    grant.token = byte_within(reader, 0, WIRE_HAS_CLIENT + WIRE_BOUND_LAST);
    grant.client = text(reader);
    bool known = grant.token & WIRE_HAS_CLIENT;
    if ((grant.token & ~WIRE_HAS_CLIENT) > WIRE_BOUND_LAST || (grant.client.length > 0 && !known)) {
        reader->failed = true;
    }
    grant.permissions = permissions(reader);
    return grant;
}

static struct wire_welcome welcome(struct reader *reader)
{
    struct wire_welcome welcome = {0};
    if (memcmp(take(reader, sizeof WIRE_MAGIC), WIRE_MAGIC, sizeof WIRE_MAGIC) != 0) {
        reader->failed = true;
    }
    welcome.version = (uint8_t)integer(reader, 1);
    memcpy(welcome.instance, take(reader, WIRE_INSTANCE), WIRE_INSTANCE);
    welcome.worker = (uint8_t)integer(reader, 1);
    welcome.workers = (uint8_t)integer(reader, 1);
    if (welcome.worker >= welcome.workers) {
        reader->failed = true;
    }
    return welcome;
}

static struct wire_record record(struct reader *reader)
{
    struct wire_record record = {0};
    record.epoch = integer(reader, 8);
    record.state = byte_within(reader, WIRE_ONLINE, WIRE_REVOKED);
    record.flags = byte_within(reader, 0, WIRE_RECORD_CLEAN | WIRE_RECORD_ASSIGNED);
    record.client_id = text(reader);
    record.grant = grant(reader);
    return record;
}

static struct wire_decision decision(struct reader *reader)
{
    struct wire_decision decision = {0};
    decision.epoch = integer(reader, 8);
    decision.reason = (uint8_t)integer(reader, 1);
    if (decision.reason == 0) {
        decision.data = bytes(reader);
        decision.grant = grant(reader);
    } else if (decision.reason == WIRE_MORE_DATA) {
        decision.data = bytes(reader);
    } else if (decision.reason < 0x80) { /* MQTT 5.0 section 2.4: that refuses nothing */
        reader->failed = true;
    }
    return decision;
}

static struct wire_end end(struct reader *reader)
{
    struct wire_end end = {0};
    end.epoch = integer(reader, 8);
    end.cause = byte_within(reader, WIRE_CAUSE_REVOKED, WIRE_CAUSE_FORGOTTEN);
    end.client_id = text(reader);
    return end;
}

static struct wire_replace replace(struct reader *reader)
{
    struct wire_replace replace = {0};
    replace.epoch = integer(reader, 8);
    replace.client_id = text(reader);
    replace.grant = grant(reader);
    return replace;
}

static void payload(struct reader *reader, struct wire_frame *frame)
{
    switch (frame->type) {
    case WIRE_WELCOME: frame->welcome = welcome(reader); break;
    case WIRE_RECORD: frame->record = record(reader); break;
    case WIRE_RECORDS_END: break;
    case WIRE_DECISION: frame->decision = decision(reader); break;
    case WIRE_END: frame->end = end(reader); break;
    case WIRE_REPLACE: frame->replace = replace(reader); break;
    default: reader->failed = true; /* unknown, or one that only the plugin sends */
    }
}

static bool type_is_read(uint64_t type)
{
    return type == WIRE_WELCOME || type == WIRE_RECORD || type == WIRE_RECORDS_END ||
           type == WIRE_DECISION || type == WIRE_END || type == WIRE_REPLACE;
}

enum wire_result wire_read(const uint8_t *bytes, size_t length, struct wire_frame *frame)
{
    if (length < WIRE_HEADER) {
        return WIRE_MORE;
    }
    struct reader header = {bytes, bytes + WIRE_HEADER, false};
    uint64_t size = integer(&header, 4);
    uint64_t type = integer(&header, 1);
    uint64_t reserved = integer(&header, 3);
    uint64_t request = integer(&header, 4);
    if (size > WIRE_MAX_PAYLOAD || reserved != 0 || !type_is_read(type) ||
        (request != 0) != (type == WIRE_DECISION)) {
        return WIRE_VIOLATION;
    }
    if (length - WIRE_HEADER < size) {
        return WIRE_MORE;
    }
    *frame = (struct wire_frame){
        .type = (enum wire_type)type, .request = (uint32_t)request, .size = WIRE_HEADER + size};
    struct reader reader = {bytes + WIRE_HEADER, bytes + WIRE_HEADER + size, false};
    payload(&reader, frame);
    return reader.failed || reader.at != reader.end ? WIRE_VIOLATION : WIRE_FRAME;
}

struct wire_rule wire_next_rule(struct text *rules)
{
    const uint8_t *at = (const uint8_t *)rules->at;
    struct reader reader = {at, at + rules->length, false};
    struct wire_rule next = rule(&reader);
    rules->at = (const char *)reader.at;
    rules->length = (size_t)(reader.end - reader.at);
    return next;
}
