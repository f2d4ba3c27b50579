/* SPDX-License-Identifier: Apache-2.0 */
#include "link_hooks.h"

#include "delayed.h"
#include "enforcement.h"
#include "replacement.h"

struct listing {
    const struct guard_links *links;
    unsigned worker;
    struct buffer *out;
};

static bool write_record(void *context, const struct record *record)
{
    const struct listing *listing = context;
    bool gone = record->client == NULL && (record->flags & RECORD_UNKEPT);
    return gone || links_owner(listing->links, record_client_id(record)) != listing->worker ||
           record_write(record, listing->out);
}

static size_t record_steps(void *context)
{
    const struct keyfob *keyfob = context;
    return records_steps(&keyfob->records);
}

static bool write_records(void *context, unsigned worker, size_t step, size_t steps,
                          struct buffer *out)
{
    struct keyfob *keyfob = context;
    struct listing listing = {.links = &keyfob->links, .worker = worker, .out = out};
    return records_visit(&keyfob->records, step, steps, write_record, &listing);
}

/* What a worker knows of clients that are not its own is from a time when there were more of them,
 * or fewer. Taking rights away it may be heard in nevertheless, so END is always obeyed. */
static bool is_its_own(const struct keyfob *keyfob, unsigned worker, struct text client_id)
{
    return links_owner(&keyfob->links, client_id) == worker;
}

static void on_record(void *context, unsigned worker, const struct wire_record *record)
{
    if (is_its_own(context, worker, record->client_id)) {
        enforcement_on_record(context, record);
    }
}

static void on_end(void *context, const struct wire_end *end)
{
    enforcement_on_end(context, end);
}

static void on_replace(void *context, unsigned worker, const struct wire_replace *replace)
{
    if (is_its_own(context, worker, replace->client_id)) {
        replacement_apply(context, replace);
    }
}

static void on_decision(void *context, unsigned worker, uint32_t request,
                        const struct wire_decision *decision)
{
    delayed_decided(context, worker, request, decision);
}

static void on_down(void *context, unsigned worker)
{
    struct keyfob *keyfob = context;
    size_t count = pendings_give_up_on(&keyfob->pendings, worker);
    if (count > 0) {
        mosquitto_log_printf(MOSQ_LOG_NOTICE,
                             "Keyfob: %zu clients waited for that guard's decision: closed", count);
    }
}

static uint64_t last_epoch(void *context)
{
    const struct keyfob *keyfob = context;
    return keyfob->epoch;
}

struct link_hooks link_hooks_of(struct keyfob *keyfob)
{
    return (struct link_hooks){
        .context = keyfob,
        .record_steps = record_steps,
        .write_records = write_records,
        .on_record = on_record,
        .on_end = on_end,
        .on_replace = on_replace,
        .on_decision = on_decision,
        .on_down = on_down,
        .last_epoch = last_epoch,
    };
}
