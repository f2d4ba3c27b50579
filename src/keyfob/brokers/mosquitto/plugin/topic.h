/* SPDX-License-Identifier: Apache-2.0 */
/* Topic names and topic filters (MQTT 5.0 section 4.7): which filter matches a name, covers a
 * filter, overlaps a filter.
 *
 * Byte strings, no allocation, no normalisation (MQTT-4.7.3-4). The same questions are answered in
 * Python by keyfob.mqtt.topics; vectors/topics.json holds both to one set of answers.
 *
 * matches, covers and overlaps take valid filters without their $share prefix: topic_share takes it
 * off. A filter that begins with a wildcard never matches a name that begins with '$'
 * (MQTT-4.7.2-1); all three obey that.
 */
#ifndef KEYFOB_TOPIC_H
#define KEYFOB_TOPIC_H

#include "text.h"

enum { TOPIC_MAX_LENGTH = 65535 };

struct topic_share {
    struct text group;  /* empty where the filter is not shared */
    struct text filter; /* the filter itself */
};

bool topic_has_wildcard(struct text text);

bool topic_name_valid(struct text name);

/* A filter as it stands in a SUBSCRIBE: "$share/<group>/<filter>" or a plain one. */
bool topic_filter_valid(struct text filter);

/* Takes "$share/<group>/" off the front (MQTT 5.0 section 4.8.2). The filter must be valid. */
struct topic_share topic_share(struct text filter);

/* Does the filter match the name? */
bool topic_matches(struct text filter, struct text name);

/* The same where as many bytes were taken off the front of both that were equal and held no
 * wildcard: at least one. */
bool topic_rest_matches(struct text filter, struct text name);

/* Does granted match every name that requested matches? */
bool topic_covers(struct text granted, struct text requested);

/* Is there a name that both match? */
bool topic_overlaps(struct text a, struct text b);

#endif
