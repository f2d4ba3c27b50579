/* SPDX-License-Identifier: Apache-2.0 */
#include "record.h"

#include <stdlib.h>

enum { CLIENT_ID, PRINCIPAL, ISSUER, SUBJECT, TOKEN_ID, CLIENT };

static struct text text_at(const struct record *record, size_t which)
{
    const char *at = record->texts;
    for (size_t i = 0; i < which; i++) {
        at += record->lengths[i] + 1;
    }
    return (struct text){at, record->lengths[which]};
}

/* Where the permissions begin, given the bytes of all texts and their ends. */
static size_t permissions_place(size_t texts)
{
    return (offsetof(struct record, texts) + texts + 7) / 8 * 8;
}

static size_t texts_size(const uint16_t lengths[RECORD_TEXTS])
{
    size_t size = 0;
    for (size_t i = 0; i < RECORD_TEXTS; i++) {
        size += lengths[i] + (size_t)1;
    }
    return size;
}

static void copy_texts(struct record *record, const struct text texts[RECORD_TEXTS])
{
    char *at = record->texts;
    for (size_t i = 0; i < RECORD_TEXTS; i++) {
        if (texts[i].length > 0) {
            memcpy(at, texts[i].at, texts[i].length);
        }
        at[texts[i].length] = '\0';
        at += texts[i].length + 1;
    }
}

struct record *record_make(const struct record_source *source)
{
    const struct wire_grant *grant = source->grant;
    const struct text texts[RECORD_TEXTS] = {source->client_id, grant->principal, grant->issuer,
                                             grant->subject,    grant->token_id,  grant->client};
    uint16_t lengths[RECORD_TEXTS];
    for (size_t i = 0; i < RECORD_TEXTS; i++) {
        if (texts[i].length > UINT16_MAX) {
            return NULL;
        }
        lengths[i] = (uint16_t)texts[i].length;
    }
    size_t place = permissions_place(texts_size(lengths));
    struct record *record = malloc(place + permissions_size(&grant->permissions));
    if (record == NULL) {
        return NULL;
    }
    *record = (struct record){
        .client = source->client,
        .was = source->was,
        .epoch = source->epoch,
        .expires_at = grant->expires_at,
        .deadline = source->deadline,
        .place = (uint32_t)place,
        .state = (uint8_t)source->state,
        .flags = source->flags,
        .token = grant->token,
    };
    memcpy(record->lengths, lengths, sizeof lengths);
    copy_texts(record, texts);
    if (!permissions_compile((struct permissions *)((char *)record + place), &grant->permissions)) {
        free(record);
        return NULL;
    }
    return record;
}

void record_free(struct record *record)
{
    free(record);
}

struct text record_principal(const struct record *record)
{
    return text_at(record, PRINCIPAL);
}

bool record_principal_usable(struct text principal)
{
    for (size_t i = 0; i < principal.length; i++) {
        if ((unsigned char)principal.at[i] < 0x20 || principal.at[i] == 0x7F) {
            return false;
        }
    }
    return principal.length > 0;
}

bool record_holds_session(const struct record *record, bool clean)
{
    if (record->client != NULL) {
        return true;
    }
    bool goes = record->state == RECORD_REVOKED && clean;
    return !goes && !(record->flags & RECORD_UNKEPT);
}

bool record_has_owner(const struct record *record, struct text issuer, struct text subject)
{
    return text_equal(text_at(record, ISSUER), issuer) &&
           text_equal(text_at(record, SUBJECT), subject);
}

static uint8_t wire_state_of(const struct record *record)
{
    switch ((enum record_state)record->state) {
    case RECORD_ONLINE:
    case RECORD_ENDED: return WIRE_ONLINE;
    case RECORD_REVOKED: return WIRE_REVOKED;
    default: return WIRE_STORED;
    }
}

/* On the link "clean" is what becomes of the session. A clean start says that only before MQTT 5.0,
 * where a Session Expiry Interval may follow. */

uint8_t record_flags_of(const struct wire_record *told)
{
    return (uint8_t)((told->flags & WIRE_RECORD_CLEAN ? RECORD_CLEAN | RECORD_UNKEPT : 0) |
                     (told->flags & WIRE_RECORD_ASSIGNED ? RECORD_ASSIGNED : 0));
}

static uint8_t wire_flags_of(const struct record *record)
{
    return (uint8_t)((record->flags & RECORD_UNKEPT ? WIRE_RECORD_CLEAN : 0) |
                     (record->flags & RECORD_ASSIGNED ? WIRE_RECORD_ASSIGNED : 0));
}

bool record_write(const struct record *record, struct buffer *out)
{
    const struct permissions *permissions = record_permissions(record);
    struct wire_record frame = {
        .epoch = record->epoch,
        .state = wire_state_of(record),
        .flags = wire_flags_of(record),
        .client_id = record_client_id(record),
        .grant =
            {
                .expires_at = record->expires_at,
                .principal = text_at(record, PRINCIPAL),
                .issuer = text_at(record, ISSUER),
                .subject = text_at(record, SUBJECT),
                .token_id = text_at(record, TOKEN_ID),
                .token = record->token,
                .client = text_at(record, CLIENT),
                .permissions = permissions_header(permissions),
            },
    };
    return wire_write_record(out, &frame, permissions_rule, permissions);
}
