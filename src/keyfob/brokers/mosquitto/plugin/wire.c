/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <string.h>

/* Theory of operation: a reader walks a payload field by field and remembers whether one of them
 * ran past the end or was not what it must be; the answer is asked for once, at the end. A walk
 * that has failed goes on, reads zeros and never leaves the payload. */

static const uint8_t MAGIC[4] = {'K', 'F', 'O', 'B'};

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

static struct text text(struct reader *reader)
{
    size_t length = (size_t)integer(reader, 2);
    struct text text = {(const char *)take(reader, length), length};
    if (reader->failed || !text_is_utf8(text)) {
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
    grant.permissions = permissions(reader);
    return grant;
}

static struct wire_welcome welcome(struct reader *reader)
{
    struct wire_welcome welcome = {0};
    if (memcmp(take(reader, sizeof MAGIC), MAGIC, sizeof MAGIC) != 0) {
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
    record.clean = byte_within(reader, 0, WIRE_CLEAN) == WIRE_CLEAN;
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
        decision.grant = grant(reader);
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

/* Writing: a frame's size is counted first, so its room is asked for once. */

struct writer {
    uint8_t *at;
};

static void put(struct writer *writer, uint64_t value, size_t size)
{
    for (size_t i = size; i-- > 0;) {
        writer->at[i] = (uint8_t)value;
        value >>= 8;
    }
    writer->at += size;
}

static void put_bytes(struct writer *writer, const void *bytes, size_t size)
{
    if (size > 0) {
        memcpy(writer->at, bytes, size);
    }
    writer->at += size;
}

static void put_text(struct writer *writer, struct text text)
{
    put(writer, text.length, 2);
    put_bytes(writer, text.at, text.length);
}

static bool fits(struct text text)
{
    return text.length <= UINT16_MAX;
}

/* Begins a frame of size bytes of payload; false when there is no room for it. */
static bool begin(struct buffer *out, enum wire_type type, uint32_t request, size_t size,
                  struct writer *writer)
{
    uint8_t *at = size <= WIRE_MAX_PAYLOAD ? buffer_reserve(out, WIRE_HEADER + size) : NULL;
    if (at == NULL) {
        return false;
    }
    *writer = (struct writer){at};
    put(writer, size, 4);
    put(writer, type, 1);
    put(writer, 0, 3);
    put(writer, request, 4);
    return true;
}

/* The frame is complete. */
static bool finish(struct buffer *out, const struct writer *writer)
{
    buffer_commit(out, (size_t)(writer->at - (out->bytes + out->end)));
    return true;
}

bool wire_write_hello(struct buffer *out, const struct wire_hello *hello)
{
    struct writer writer;
    size_t size = sizeof MAGIC + 2 + WIRE_INSTANCE + 8 + 4 + 2 + hello->broker_name.length;
    if (!fits(hello->broker_name) || !begin(out, WIRE_HELLO, 0, size, &writer)) {
        return false;
    }
    put_bytes(&writer, MAGIC, sizeof MAGIC);
    put(&writer, WIRE_VERSION, 1);
    put(&writer, WIRE_VERSION, 1);
    put_bytes(&writer, hello->instance, WIRE_INSTANCE);
    put(&writer, hello->epoch, 8);
    put(&writer, hello->broker_version, 4);
    put_text(&writer, hello->broker_name);
    return finish(out, &writer);
}

bool wire_write_records_end(struct buffer *out)
{
    struct writer writer;
    return begin(out, WIRE_RECORDS_END, 0, 0, &writer) && finish(out, &writer);
}

bool wire_write_connect(struct buffer *out, uint32_t request, const struct wire_connect *connect)
{
    const struct text fields[] = {connect->client_id, connect->username, connect->password,
                                  connect->peer, connect->thumbprint};
    const size_t count = sizeof fields / sizeof fields[0];
    size_t size = 8 + 1 + 1 + 4;
    for (size_t i = 0; i < count; i++) {
        if (!fits(fields[i])) {
            return false;
        }
        size += 2 + fields[i].length;
    }
    struct writer writer;
    if (!begin(out, WIRE_CONNECT, request, size, &writer)) {
        return false;
    }
    put(&writer, connect->epoch, 8);
    put(&writer, connect->flags, 1);
    put(&writer, connect->protocol_level, 1);
    for (size_t i = 0; i < count; i++) {
        put_text(&writer, fields[i]);
    }
    put(&writer, connect->wait_ms, 4);
    return finish(out, &writer);
}

bool wire_write_reauthenticate(struct buffer *out, uint32_t request,
                               const struct wire_reauthenticate *reauthenticate)
{
    const struct text client_id = reauthenticate->client_id;
    const struct text method = reauthenticate->method, data = reauthenticate->data;
    size_t size = 8 + 2 + client_id.length + 2 + method.length + 2 + data.length;
    struct writer writer;
    if (!fits(client_id) || !fits(method) || !fits(data) ||
        !begin(out, WIRE_REAUTHENTICATE, request, size, &writer)) {
        return false;
    }
    put(&writer, reauthenticate->epoch, 8);
    put_text(&writer, client_id);
    put_text(&writer, method);
    put_text(&writer, data);
    return finish(out, &writer);
}

bool wire_write_admitted(struct buffer *out, uint64_t epoch, struct text client_id)
{
    struct writer writer;
    if (!fits(client_id) || !begin(out, WIRE_ADMITTED, 0, 8 + 2 + client_id.length, &writer)) {
        return false;
    }
    put(&writer, epoch, 8);
    put_text(&writer, client_id);
    return finish(out, &writer);
}

bool wire_write_offline(struct buffer *out, uint64_t epoch, struct text client_id, bool kept)
{
    struct writer writer;
    if (!fits(client_id) || !begin(out, WIRE_OFFLINE, 0, 8 + 2 + client_id.length + 1, &writer)) {
        return false;
    }
    put(&writer, epoch, 8);
    put_text(&writer, client_id);
    put(&writer, kept, 1);
    return finish(out, &writer);
}

static void put_rule(struct writer *writer, const struct wire_rule *rule)
{
    put(writer, rule->allow, 1);
    put(writer, rule->operations, 1);
    put(writer, rule->literal, 1);
    put(writer, rule->qos, 1);
    put(writer, rule->retain, 1);
    put_text(writer, rule->filter);
}

bool wire_write_record(struct buffer *out, const struct wire_record *record,
                       struct wire_rule (*rule)(const void *from, size_t i), const void *from)
{
    const struct wire_grant *grant = &record->grant;
    const struct text texts[] = {grant->principal, grant->issuer, grant->subject, grant->token_id};
    const size_t count = sizeof texts / sizeof texts[0];
    size_t size = 8 + 1 + 1 + 2 + record->client_id.length + 8 + 1 + 2;
    bool fit = fits(record->client_id);
    for (size_t i = 0; i < count; i++) {
        fit = fit && fits(texts[i]);
        size += 2 + texts[i].length;
    }
    for (size_t i = 0; i < grant->permissions.count; i++) {
        size += 5 + 2 + rule(from, i).filter.length;
    }
    struct writer writer;
    if (!fit || !begin(out, WIRE_RECORD, 0, size, &writer)) {
        return false;
    }
    put(&writer, record->epoch, 8);
    put(&writer, record->state, 1);
    put(&writer, record->clean ? WIRE_CLEAN : 0, 1);
    put_text(&writer, record->client_id);
    put(&writer, (uint64_t)grant->expires_at, 8);
    for (size_t i = 0; i < count; i++) {
        put_text(&writer, texts[i]);
    }
    put(&writer, grant->permissions.form, 1);
    put(&writer, grant->permissions.count, 2);
    for (size_t i = 0; i < grant->permissions.count; i++) {
        struct wire_rule next = rule(from, i);
        put_rule(&writer, &next);
    }
    return finish(out, &writer);
}
