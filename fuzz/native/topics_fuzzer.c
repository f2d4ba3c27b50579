/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer over topic.c: three texts, each behind a byte with its length, the last one the rest.
 *
 * Matching, covering and overlapping say the same of one another, as sets of names do.
 */
#include "topic.h"

#include <stdint.h>
#include <stdlib.h>

static void demand(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* A block of its own, so that one byte too many shows. */
static struct text take(const uint8_t **bytes, size_t *size, bool rest)
{
    size_t length = *size;
    if (!rest && *size > 0) {
        length = (*bytes)[0] < *size - 1 ? (*bytes)[0] : *size - 1;
        *bytes += 1;
        *size -= 1;
    }
    char *copy = malloc(length > 0 ? length : 1);
    demand(copy != NULL);
    if (length > 0) {
        memcpy(copy, *bytes, length);
    }
    *bytes += length;
    *size -= length;
    return (struct text){copy, length};
}

static void check_name(struct text filter, struct text name)
{
    bool matches = topic_matches(filter, name);
    if (topic_filter_valid(name) && topic_share(name).group.length == 0) {
        demand(topic_covers(filter, name) == matches);
        demand(topic_overlaps(filter, name) == matches);
    }
}

static void check_two(struct text a, struct text b)
{
    demand(topic_covers(a, a) && topic_overlaps(a, a));
    demand(topic_overlaps(a, b) == topic_overlaps(b, a));
    demand(!topic_covers(a, b) || topic_overlaps(a, b));
}

static void check(struct text one, struct text two, struct text name)
{
    struct text a = topic_share(one).filter, b = topic_share(two).filter;
    check_two(a, b);
    if (!topic_name_valid(name)) {
        return;
    }
    check_name(a, name);
    check_name(b, name);
    bool in_a = topic_matches(a, name), in_b = topic_matches(b, name);
    demand(!(topic_covers(a, b) && in_b) || in_a);
    demand(!(in_a && in_b) || topic_overlaps(a, b));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct text one = take(&bytes, &size, false), two = take(&bytes, &size, false);
    struct text name = take(&bytes, &size, true);
    char shown[TEXT_FOR_LOG_SIZE];
    demand(strlen(text_for_log(name, shown)) < sizeof shown);
    if (topic_filter_valid(one) && topic_filter_valid(two)) {
        check(one, two, name);
    }
    free((void *)(uintptr_t)one.at);
    free((void *)(uintptr_t)two.at);
    free((void *)(uintptr_t)name.at);
    return 0;
}
