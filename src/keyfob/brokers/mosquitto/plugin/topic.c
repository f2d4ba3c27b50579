/* SPDX-License-Identifier: Apache-2.0 */
#include "topic.h"

/* Theory of operation: a topic is walked level by level. "rest" is what is still to be walked;
 * when its last level was taken, its address is NULL, for an empty rest is one more, empty level
 * ("a/" has two levels). */

static const struct text SHARE = {"$share", 6};

static bool done(struct text rest)
{
    return rest.at == NULL;
}

static struct text take_level(struct text *rest)
{
    const char *slash = memchr(rest->at, '/', rest->length);
    if (slash == NULL) {
        struct text level = *rest;
        *rest = (struct text){NULL, 0};
        return level;
    }
    struct text level = {rest->at, (size_t)(slash - rest->at)};
    *rest = (struct text){slash + 1, rest->length - level.length - 1};
    return level;
}

static bool is(struct text level, char wildcard)
{
    return level.length == 1 && level.at[0] == wildcard;
}

static bool is_hash(struct text rest)
{
    return !done(rest) && is(rest, '#');
}

static bool begins_with_wildcard(struct text filter)
{
    return filter.at[0] == '+' || filter.at[0] == '#';
}

bool topic_has_wildcard(struct text text)
{
    return memchr(text.at, '+', text.length) != NULL || memchr(text.at, '#', text.length) != NULL;
}

static bool length_valid(struct text topic)
{
    return topic.length >= 1 && topic.length <= TOPIC_MAX_LENGTH;
}

bool topic_name_valid(struct text name)
{
    return length_valid(name) && text_is_utf8(name) && !topic_has_wildcard(name);
}

static bool levels_valid(struct text filter)
{
    struct text first = filter;
    if (filter.length == 0 || text_equal(take_level(&first), SHARE)) {
        return false;
    }
    while (!done(filter)) {
        struct text level = take_level(&filter);
        bool last = done(filter);
        if (topic_has_wildcard(level) && !is(level, '+') && !(is(level, '#') && last)) {
            return false;
        }
    }
    return true;
}

/* Takes the level "$share" off the front; false where it is not there. */
static bool take_share(struct text *filter)
{
    struct text rest = *filter;
    if (!text_equal(take_level(&rest), SHARE)) {
        return false;
    }
    *filter = rest;
    return true;
}

bool topic_filter_valid(struct text filter)
{
    if (!length_valid(filter) || !text_is_utf8(filter)) {
        return false;
    }
    if (!take_share(&filter)) {
        return levels_valid(filter);
    }
    if (done(filter)) {
        return false; /* "$share" alone */
    }
    struct text group = take_level(&filter);
    return group.length > 0 && !topic_has_wildcard(group) && !done(filter) && levels_valid(filter);
}

struct topic_share topic_share(struct text filter)
{
    if (!take_share(&filter)) {
        return (struct topic_share){{filter.at, 0}, filter};
    }
    struct text group = take_level(&filter);
    return (struct topic_share){group, filter};
}

/* Every message asks, so this one goes byte by byte: in a valid filter a wildcard is a whole level,
 * and what comes before it decides nothing about what comes after it. */
bool topic_rest_matches(struct text filter, struct text name)
{
    const char *wanted = filter.at, *filter_end = filter.at + filter.length;
    const char *at = name.at, *end = name.at + name.length;
    for (; wanted < filter_end; wanted++) {
        if (*wanted == '#') {
            return true;
        }
        if (*wanted == '+') {
            const char *slash = memchr(at, '/', (size_t)(end - at));
            at = slash != NULL ? slash : end;
        } else if (at == end) {
            /* "a/#" matches "a", its parent, too */
            return filter_end - wanted == 2 && wanted[0] == '/' && wanted[1] == '#';
        } else if (*wanted != *at++) {
            return false;
        }
    }
    return at == end;
}

bool topic_matches(struct text filter, struct text name)
{
    return !(begins_with_wildcard(filter) && name.at[0] == '$') && topic_rest_matches(filter, name);
}

/* Is there no name that ends after these levels? There is none without a level, and none that is
 * one empty level: the empty name does not exist (MQTT-4.7.3-1). So "#" matches what "+/#" does,
 * and "/#" what "/+/#" does. */
static bool nameless(size_t levels, struct text first)
{
    return levels == 0 || (levels == 1 && first.length == 0);
}

bool topic_covers(struct text granted, struct text requested)
{
    if (begins_with_wildcard(granted) && requested.at[0] == '$') {
        return false;
    }
    struct text first = {"", 0};
    for (size_t levels = 0; !done(granted); levels++) {
        struct text wide = take_level(&granted);
        if (is(wide, '#')) {
            return true; /* whatever is left of requested, and its parent */
        }
        if (done(requested)) {
            return false;
        }
        struct text narrow = take_level(&requested);
        if (is(narrow, '#')) {
            /* requested matches the name that ends above its '#', where there is one, and names of
             * any depth: a granted '#' at this level would do that, and it is not here. */
            return nameless(levels, first) && is(wide, '+') && is_hash(granted);
        }
        if (!is(wide, '+') && !text_equal(wide, narrow)) {
            return false;
        }
        first = levels == 0 ? narrow : first;
    }
    return done(requested);
}

bool topic_overlaps(struct text a, struct text b)
{
    if ((begins_with_wildcard(a) && b.at[0] == '$') ||
        (begins_with_wildcard(b) && a.at[0] == '$')) {
        return false;
    }
    struct text first = {"", 0};
    size_t levels = 0;
    for (; !done(a) && !done(b); levels++) {
        struct text left = take_level(&a);
        struct text right = take_level(&b);
        if (is(left, '#') || is(right, '#')) {
            return true;
        }
        if (!is(left, '+') && !is(right, '+') && !text_equal(left, right)) {
            return false;
        }
        if (levels == 0) {
            first =
                is(left, '+') ? right : left; /* the text that the name must have here, or '+' */
        }
    }
    if (done(a) && done(b)) {
        return true;
    }
    /* One of them has more levels: it must be "#" alone, which matches its parent, if that is a
     * name. */
    return (is_hash(a) || is_hash(b)) && !nameless(levels, first);
}
