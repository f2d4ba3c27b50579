/* SPDX-License-Identifier: Apache-2.0 */
/* All records: found by client identifier, ordered by deadline, bounded in number.
 *
 * Records of clients with a connection are as many as the broker has connections. The others are
 * bounded: beyond offline_limit the one that has been without a connection for longest is evicted,
 * first among those to whose session nobody can come back, then among those whose session has
 * probably ended (they began with a clean start), then among those whose session is certainly
 * stored, and revoked ones last, for a revocation must be remembered. Those to whose session nobody
 * can come back, of which a client can leave as many as it likes, have a bound of their own
 * besides. A client without a record may do nothing.
 */
#ifndef KEYFOB_RECORDS_H
#define KEYFOB_RECORDS_H

#include "connections.h"
#include "expiries.h"
#include "hash.h"
#include "record.h"

enum record_list {
    LIST_NONE,
    LIST_UNKEPT,   /* without a connection, nobody comes back: for a will that is sent later */
    LIST_DOUBTFUL, /* without a connection, session probably over */
    LIST_STORED,   /* without a connection, session stored */
    LIST_REVOKED,  /* without a connection, revoked; the last of those that count */
    LIST_CLOSING,  /* without a connection or session: may answer for the will, then it goes */
    LIST_KICKS,    /* with a connection that has to be closed */
    LIST_COUNT,
};

enum { RECORDS_UNKEPT_MOST = 4096 };

struct record_queue {
    struct record *first;
    struct record *last;
    size_t count;
};

struct records {
    struct connections connections;
    struct record **buckets; /* a power of two of them */
    size_t bucket_count;
    size_t count;
    struct expiries expiries;
    struct record_queue lists[LIST_COUNT];
    size_t offline_limit;
    struct hash_key key;
    void (*evicted)(void *context, const struct record *record);
    void *context;
};

/* evicted is told of every record that has to go because there are too many. */
bool records_init(struct records *records, size_t offline_limit, struct hash_key key,
                  void (*evicted)(void *context, const struct record *record), void *context);
void records_free(struct records *records);

struct record *records_find(const struct records *records, struct text client_id);

/* The same for an identifier that the broker names together with a client, which is most often the
 * connection on record. */
static inline struct record *records_find_client(const struct records *records, const void *client,
                                                 const char *client_id)
{
    struct record *record = connections_find(&records->connections, client, client_id);
    return record != NULL ? record : records_find(records, text_of(client_id));
}

/* Room for one more record; false without memory. */
bool records_make_room(struct records *records);

/* Takes the record in; an older one with its client identifier is freed. An online record waits for
 * its deadline; another one counts towards the limit and may be evicted at once, so it must not be
 * looked at afterwards. False without memory: then nothing has changed, and the record is the
 * caller's. */
bool records_put(struct records *records, struct record *record);

/* Takes it out and frees it. */
void records_drop(struct records *records, struct record *record);

/* An online record's deadline is now. */
void records_hasten(struct records *records, struct record *record);

/* The token ran out: ONLINE becomes ENDED. */
void records_expire(struct records *records, struct record *record);

/* Nothing is allowed any more; a connection is queued to be closed. */
void records_revoke(struct records *records, struct record *record);

/* The connection is gone: becomes OFFLINE (a revoked one stays so), evicts where there are too
 * many. A record whose session is gone as well waits for records_sweep. */
void records_disconnect(struct records *records, struct record *record);

/* The record whose deadline has come, the earliest first, or NULL. */
struct record *records_due(const struct records *records, int64_t now);

/* The next record whose connection has to be closed, taken off the queue, or NULL. */
struct record *records_next_kick(struct records *records);

/* Drops what is without connection and session. */
void records_sweep(struct records *records);

static inline bool records_have_kicks(const struct records *records)
{
    return records->lists[LIST_KICKS].count > 0;
}

static inline bool records_have_closing(const struct records *records)
{
    return records->lists[LIST_CLOSING].count > 0;
}

/* The wall clock moved against CLOCK_BOOTTIME: brings every deadline forward to the moment that the
 * wall clock gives now. None is ever put off. */
void records_reconsider(struct records *records, int64_t boottime, int64_t wall);

/* Visiting all records in steps, between which the table may change: asks how many steps it takes,
 * and calls visit for the records of each, from 0 on. Whatever is there from the first step to the
 * last is visited once. Stops, and returns false, where visit does. */
size_t records_steps(const struct records *records);
bool records_visit(const struct records *records, size_t step, size_t steps,
                   bool (*visit)(void *context, const struct record *record), void *context);

#endif
