/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer over what the guard may send: wire.c, and the record that comes of it.
 *
 * No bytes are read beyond the frame; a frame is one only when it is complete; and a record that
 * was taken in is told again byte for byte.
 */
#include "record.h"

#include <stdlib.h>

static void demand(bool holds)
{
    if (!holds) {
        abort();
    }
}

static struct record *record_of(const struct wire_frame *frame)
{
    static const enum record_state STATES[] = {RECORD_ONLINE, RECORD_OFFLINE, RECORD_REVOKED};
    const struct wire_record *told = &frame->record;
    return record_make(&(struct record_source){
        .client_id = told->client_id,
        .grant = &told->grant,
        .epoch = told->epoch,
        .state = STATES[told->state],
        .flags = record_flags_of(told),
    });
}

static void tell_again(const struct wire_frame *frame, const uint8_t *bytes)
{
    struct record *record = record_of(frame);
    if (record == NULL) {
        return; /* a filter that MQTT does not allow */
    }
    struct buffer out;
    buffer_init(&out, 1 << 20);
    demand(record_write(record, &out) && buffer_length(&out) == frame->size);
    demand(memcmp(buffer_front(&out), bytes, frame->size) == 0);
    buffer_free(&out);
    record_free(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct wire_frame frame, part;
    if (wire_read(bytes, size, &frame) != WIRE_FRAME) {
        return 0;
    }
    demand(frame.size >= WIRE_HEADER && frame.size <= size);
    demand(wire_read(bytes, frame.size, &part) == WIRE_FRAME && part.size == frame.size);
    demand(wire_read(bytes, frame.size - 1, &part) == WIRE_MORE);
    if (frame.type == WIRE_RECORD) {
        tell_again(&frame, bytes);
    }
    return 0;
}
