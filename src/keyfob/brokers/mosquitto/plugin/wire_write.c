/* SPDX-License-Identifier: Apache-2.0 */
/* The frames that the plugin writes; wire.c reads the guard's. */
#include "wire.h"

#include <string.h>

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
    size_t size = sizeof WIRE_MAGIC + 2 + WIRE_INSTANCE + 8 + 4 + 2 + hello->broker_name.length;
    if (!fits(hello->broker_name) || !begin(out, WIRE_HELLO, 0, size, &writer)) {
        return false;
    }
    put_bytes(&writer, WIRE_MAGIC, sizeof WIRE_MAGIC);
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

/* Adds the bytes of fields to size; false where one does not fit into a frame. */
static bool fields_fit(const struct text *fields, size_t count, size_t *size)
{
    for (size_t i = 0; i < count; i++) {
        if (!fits(fields[i])) {
            return false;
        }
        *size += 2 + fields[i].length;
    }
    return true;
}

static void put_fields(struct writer *writer, const struct text *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        put_text(writer, fields[i]);
    }
}

bool wire_write_connect(struct buffer *out, uint32_t request, const struct wire_connect *connect)
{
    const struct text fields[] = {connect->client_id, connect->username,   connect->password,
                                  connect->peer,      connect->thumbprint, connect->method,
                                  connect->data};
    const size_t count = sizeof fields / sizeof fields[0];
    size_t size = 8 + 1 + 1 + 4;
    struct writer writer;
    if (!fields_fit(fields, count, &size) || !begin(out, WIRE_CONNECT, request, size, &writer)) {
        return false;
    }
    put(&writer, connect->epoch, 8);
    put(&writer, connect->flags, 1);
    put(&writer, connect->protocol_level, 1);
    put_fields(&writer, fields, count);
    put(&writer, connect->wait_ms, 4);
    return finish(out, &writer);
}

/* REAUTHENTICATE and CONTINUE: an epoch, fields, and how long the plugin waits. */
static bool write_step(struct buffer *out, enum wire_type type, uint32_t request, uint64_t epoch,
                       const struct text *fields, size_t count, uint32_t wait_ms)
{
    size_t size = 8 + 4;
    struct writer writer;
    if (!fields_fit(fields, count, &size) || !begin(out, type, request, size, &writer)) {
        return false;
    }
    put(&writer, epoch, 8);
    put_fields(&writer, fields, count);
    put(&writer, wait_ms, 4);
    return finish(out, &writer);
}

bool wire_write_reauthenticate(struct buffer *out, uint32_t request,
                               const struct wire_reauthenticate *asked)
{
    const struct text fields[] = {asked->client_id, asked->method, asked->data, asked->peer,
                                  asked->thumbprint};
    return write_step(out, WIRE_REAUTHENTICATE, request, asked->epoch, fields,
                      sizeof fields / sizeof fields[0], asked->wait_ms);
}

bool wire_write_continue(struct buffer *out, uint32_t request, const struct wire_continue *more)
{
    const struct text fields[] = {more->client_id, more->data};
    return write_step(out, WIRE_CONTINUE, request, more->epoch, fields,
                      sizeof fields / sizeof fields[0], more->wait_ms);
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
    size_t size = 8 + 1 + 1 + 2 + record->client_id.length + 8 + 1 + 2 + grant->client.length + 3;
    bool fit = fits(record->client_id) && fits(grant->client);
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
    put(&writer, record->flags, 1);
    put_text(&writer, record->client_id);
    put(&writer, (uint64_t)grant->expires_at, 8);
    for (size_t i = 0; i < count; i++) {
        put_text(&writer, texts[i]);
    }
    put(&writer, grant->token, 1);
    put_text(&writer, grant->client);
    put(&writer, grant->permissions.form, 1);
    put(&writer, grant->permissions.count, 2);
    for (size_t i = 0; i < grant->permissions.count; i++) {
        struct wire_rule next = rule(from, i);
        put_rule(&writer, &next);
    }
    return finish(out, &writer);
}
