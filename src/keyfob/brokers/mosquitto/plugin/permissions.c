/* SPDX-License-Identifier: Apache-2.0 */
#include "permissions.h"

#include "rule_index.h"
#include "topic.h"

/* Theory of operation: the block is a header, one 16-byte entry per rule, and the filters' text;
 * where there are many rules, an index of them follows, which tells those to look at.
 * A message is compared with the entries in order, and most are told apart by their entry alone: it
 * holds the length of the filter's literal prefix (what comes before the first wildcard) and the
 * last 8 bytes of that prefix. The last 8 and not the first, because a client's filters are
 * siblings ("devices/dev1/up", "devices/dev1/down") that differ at their end. So four rules cost
 * one cache line, and text is touched for the rules that will very likely match. */

enum {
    ALLOW = 1 << 0,
    PUBLISH = 1 << 1,
    SUBSCRIBE = 1 << 2,
    QOS_0 = 1 << 3, /* and the two bits above it */
    NOT_RETAINED = 1 << 6,
    RETAINED = 1 << 7,
    LITERAL = 1 << 8,
    PLAIN = 1 << 9, /* a literal rule whose text holds a wildcard: it equals no name */
    SHARED = 1 << 10,
    PLACE_SHIFT = 12,
    QOS_SHIFT = 3,
    RETAIN_SHIFT = 6,
};

struct rule {
    uint64_t tail;   /* the last 8 bytes of the literal prefix; all of it where it is shorter */
    uint32_t bits;   /* the flags above, and where the filter's text begins */
    uint16_t length; /* of the filter, without its share group */
    uint16_t prefix; /* of its literal prefix; equal to length where it has no wildcard */
};

struct permissions {
    uint16_t count;
    uint8_t form;
    uint32_t index; /* where it begins, behind the entries; 0: there is none */
    struct rule rules[];
};

_Static_assert(sizeof(struct rule) == 16, "four rules to a cache line");
_Static_assert(WIRE_MAX_PAYLOAD + 2 * WIRE_MAX_RULES < 1 << (32 - PLACE_SHIFT), "places fit");

/* What a name or a requested filter is compared by. */
struct probe {
    struct text text;
    uint64_t head; /* its first 8 bytes */
};

static struct probe probe_of(struct text text)
{
    return (struct probe){text, text_head(text)};
}

/* Does the probe begin with the rule's literal prefix? May say yes where it does not. */
static inline bool may_begin(const struct rule *rule, const struct probe *probe)
{
    size_t prefix = rule->prefix;
    if (prefix > probe->text.length) {
        return false;
    }
    if (prefix >= 8) {
        return text_word(probe->text.at + prefix - 8, 8) == rule->tail;
    }
    return ((probe->head ^ rule->tail) & ((UINT64_C(1) << 8 * prefix) - 1)) == 0;
}

static const char *place(const struct permissions *permissions, const struct rule *rule)
{
    return (const char *)&permissions->rules[permissions->count] + (rule->bits >> PLACE_SHIFT);
}

static struct text filter_of(const struct permissions *permissions, const struct rule *rule)
{
    return (struct text){place(permissions, rule), rule->length};
}

/* A shared rule's filter follows its "$share/<group>/", whose length follows the filter. */
static struct text spelling_of(const struct permissions *permissions, const struct rule *rule)
{
    struct text filter = filter_of(permissions, rule);
    uint16_t before = 0;
    if (rule->bits & SHARED) {
        memcpy(&before, filter.at + filter.length, sizeof before);
    }
    return (struct text){filter.at - before, before + filter.length};
}

static struct text group_of(const struct permissions *permissions, const struct rule *rule)
{
    return topic_share(spelling_of(permissions, rule)).group;
}

/* Compiling */

static size_t index_place(size_t after)
{
    return (after + 1) / 2 * 2;
}

size_t permissions_size(const struct wire_permissions *from)
{
    size_t size = sizeof(struct permissions) + from->count * sizeof(struct rule);
    struct text rules = from->rules;
    for (size_t i = 0; i < from->count; i++) {
        size += wire_next_rule(&rules).filter.length + sizeof(uint16_t);
    }
    bool indexed = from->count >= RULE_INDEX_FROM;
    return indexed ? index_place(size) + rule_index_size(from->count) : size;
}

/* What every name that the filter matches begins with: "a/b" for "a/b" and for "a/b/#", which
 * matches its parent, "a/" for "a/+". */
static size_t literal_prefix(struct text filter)
{
    size_t prefix = 0;
    while (prefix < filter.length && filter.at[prefix] != '+' && filter.at[prefix] != '#') {
        prefix++;
    }
    bool parent = prefix < filter.length && filter.at[prefix] == '#' && prefix > 0;
    return parent ? prefix - 1 : prefix;
}

static uint32_t flags_of(const struct wire_rule *rule, const struct topic_share *share)
{
    uint32_t flags = (uint32_t)rule->operations * PUBLISH | (uint32_t)rule->qos << QOS_SHIFT |
                     (uint32_t)rule->retain << RETAIN_SHIFT;
    if (rule->allow) {
        flags |= ALLOW;
    }
    if (rule->literal) {
        flags |= topic_has_wildcard(share->filter) ? LITERAL | PLAIN : LITERAL;
    }
    return share->group.length > 0 ? flags | SHARED : flags;
}

static size_t compile_rule(struct permissions *into, size_t i, size_t at,
                           const struct wire_rule *from)
{
    struct topic_share share = topic_share(from->filter);
    struct rule *rule = &into->rules[i];
    uint32_t flags = flags_of(from, &share);
    size_t prefix = flags & PLAIN ? share.filter.length : literal_prefix(share.filter);
    uint16_t before = (uint16_t)(from->filter.length - share.filter.length);
    *rule = (struct rule){
        .tail = prefix >= 8 ? text_word(share.filter.at + prefix - 8, 8)
                            : text_word(share.filter.at, prefix),
        .bits = flags | (uint32_t)(at + before) << PLACE_SHIFT,
        .length = (uint16_t)share.filter.length,
        .prefix = (uint16_t)prefix,
    };
    char *text = (char *)&into->rules[into->count] + at;
    memcpy(text, from->filter.at, from->filter.length);
    if (!(flags & SHARED)) {
        return at + from->filter.length;
    }
    memcpy(text + from->filter.length, &before, sizeof before);
    return at + from->filter.length + sizeof before;
}

/* What every name that the rule can be about begins with, for sending and for delivering: for the
 * latter a plain rule's text is a filter all the same. */
static struct text begin_of(const void *from, size_t i)
{
    const struct permissions *permissions = from;
    struct text filter = filter_of(permissions, &permissions->rules[i]);
    return (struct text){filter.at, literal_prefix(filter)};
}

static void compile_index(struct permissions *into, size_t texts_end)
{
    into->index = 0;
    if (into->count >= RULE_INDEX_FROM) {
        into->index = (uint32_t)index_place(into->count * sizeof(struct rule) + texts_end);
        rule_index_build((struct rule_index *)((char *)into->rules + into->index), into->count,
                         begin_of, into);
    }
}

bool permissions_compile(struct permissions *into, const struct wire_permissions *from)
{
    into->count = from->count;
    into->form = from->form;
    struct text rules = from->rules;
    size_t at = 0;
    for (size_t i = 0; i < from->count; i++) {
        struct wire_rule rule = wire_next_rule(&rules);
        if (!topic_filter_valid(rule.filter)) {
            return false;
        }
        at = compile_rule(into, i, at, &rule);
    }
    compile_index(into, at);
    return true;
}

struct wire_permissions permissions_header(const struct permissions *permissions)
{
    return (struct wire_permissions){
        .form = permissions->form, .count = permissions->count, .rules = {"", 0}};
}

struct wire_rule permissions_rule(const void *block, size_t i)
{
    const struct permissions *permissions = block;
    const struct rule *rule = &permissions->rules[i];
    return (struct wire_rule){
        .allow = rule->bits & ALLOW,
        .literal = rule->bits & LITERAL,
        .operations = rule->bits / PUBLISH & (WIRE_PUBLISH | WIRE_SUBSCRIBE),
        .qos = rule->bits >> QOS_SHIFT & 7,
        .retain = rule->bits >> RETAIN_SHIFT & 3,
        .filter = spelling_of(permissions, rule),
    };
}

/* Evaluating */

/* A walk over the rules that can be about a topic: a name, or a filter without wildcards. */
static inline void walk_over(struct rule_walk *walk, const struct permissions *permissions,
                             struct text topic)
{
    const char *entries = (const char *)permissions->rules;
    rule_walk_begin(
        walk,
        permissions->index > 0 ? (const struct rule_index *)(entries + permissions->index) : NULL,
        topic);
}

static inline bool names(const struct permissions *permissions, const struct rule *rule,
                         const struct probe *name)
{
    if (!may_begin(rule, name)) {
        return false;
    }
    struct text filter = filter_of(permissions, rule);
    size_t prefix = rule->prefix;
    if (prefix == filter.length && prefix != name->text.length) {
        return false;
    }
    if (prefix == 0) {
        return topic_matches(filter, name->text);
    }
    /* may_begin has looked at up to 8 bytes */
    if (prefix > 8 && memcmp(filter.at, name->text.at, prefix - 8) != 0) {
        return false;
    }
    return topic_rest_matches((struct text){filter.at + prefix, filter.length - prefix},
                              (struct text){name->text.at + prefix, name->text.length - prefix});
}

bool permissions_publish(const struct permissions *permissions, struct text name, unsigned qos,
                         bool retain)
{
    if (name.length == 0 || qos > 2) {
        return false;
    }
    /* A rule with a share group never speaks about PUBLISH. */
    const uint32_t needed = PUBLISH | (uint32_t)QOS_0 << qos | (retain ? RETAINED : NOT_RETAINED);
    const uint32_t looked_at = needed | SHARED | PLAIN;
    struct probe probe = probe_of(name);
    struct rule_walk walk;
    walk_over(&walk, permissions, name);
    for (size_t i; (i = rule_walk_next(&walk)) < permissions->count;) {
        const struct rule *rule = &permissions->rules[i];
        if ((rule->bits & looked_at) == needed && names(permissions, rule, &probe)) {
            return rule->bits & ALLOW;
        }
    }
    return false;
}

/* Has the rule something to say about the SUBSCRIBE? */
static bool decides(const struct permissions *permissions, const struct rule *rule,
                    const struct topic_share *requested, const struct probe *probe)
{
    if ((rule->bits & SHARED) && !text_equal(group_of(permissions, rule), requested->group)) {
        return false;
    }
    struct text filter = filter_of(permissions, rule);
    if (rule->bits & PLAIN) {
        return text_equal(filter, requested->filter);
    }
    if (rule->bits & ALLOW) {
        /* What begins the names that a filter matches begins every filter that it covers. */
        return may_begin(rule, probe) && topic_covers(filter, requested->filter);
    }
    return topic_overlaps(filter, requested->filter);
}

/* A denial can overlap with a filter that does not begin as it does: "a/b" with "+/b". */
static void walk_to_subscribe(struct rule_walk *walk, const struct permissions *permissions,
                              struct text filter)
{
    if (permissions->form == WIRE_FIRST_MATCH && topic_has_wildcard(filter)) {
        rule_walk_begin(walk, NULL, filter);
        return;
    }
    walk_over(walk, permissions, filter);
}

bool permissions_subscribe(const struct permissions *permissions, struct text requested,
                           unsigned qos)
{
    if (qos > 2 || !topic_filter_valid(requested)) {
        return false;
    }
    const uint32_t needed = SUBSCRIBE | (uint32_t)QOS_0 << qos;
    struct topic_share share = topic_share(requested);
    struct probe probe = probe_of(share.filter);
    struct rule_walk walk;
    walk_to_subscribe(&walk, permissions, share.filter);
    for (size_t i; (i = rule_walk_next(&walk)) < permissions->count;) {
        const struct rule *rule = &permissions->rules[i];
        if ((rule->bits & needed) == needed && decides(permissions, rule, &share, &probe)) {
            return rule->bits & ALLOW;
        }
    }
    return false;
}

static unsigned qos_of(const struct rule *rule)
{
    return rule->bits >> QOS_SHIFT & 7;
}

/* The QoS at which rules below end, with this rule's share group, deny the name. */
static unsigned denied_in_group(const struct permissions *permissions, size_t end,
                                const struct probe *name)
{
    struct text group = group_of(permissions, &permissions->rules[end]);
    unsigned denied = 0;
    for (size_t i = 0; i < end; i++) {
        const struct rule *rule = &permissions->rules[i];
        if ((rule->bits & (SUBSCRIBE | SHARED | PLAIN | ALLOW)) == (SUBSCRIBE | SHARED) &&
            names(permissions, rule, name) && text_equal(group_of(permissions, rule), group)) {
            denied |= qos_of(rule);
        }
    }
    return denied;
}

/* The QoS at which rules below end deny the SUBSCRIBE that spells this rule's filter. */
static unsigned denied_as_spelled(const struct permissions *permissions, size_t end)
{
    struct topic_share share = topic_share(spelling_of(permissions, &permissions->rules[end]));
    struct probe probe = probe_of(share.filter);
    unsigned denied = 0;
    for (size_t i = 0; i < end; i++) {
        const struct rule *rule = &permissions->rules[i];
        if ((rule->bits & (SUBSCRIBE | ALLOW)) == SUBSCRIBE &&
            decides(permissions, rule, &share, &probe)) {
            denied |= qos_of(rule);
        }
    }
    return denied;
}

bool permissions_receive(const struct permissions *permissions, struct text name)
{
    if (name.length == 0) {
        return false;
    }
    struct probe probe = probe_of(name);
    unsigned denied = 0;          /* QoS that rules without a share group have denied */
    bool denied_to_group = false; /* whether rules with one have denied any */
    struct rule_walk walk;
    walk_over(&walk, permissions, name);
    for (size_t i; (i = rule_walk_next(&walk)) < permissions->count;) {
        const struct rule *rule = &permissions->rules[i];
        if ((rule->bits & (SUBSCRIBE | PLAIN | ALLOW)) == (SUBSCRIBE | PLAIN | ALLOW) &&
            topic_matches(filter_of(permissions, rule), name) &&
            (qos_of(rule) & ~denied_as_spelled(permissions, i))) {
            return true;
        }
        if ((rule->bits & (SUBSCRIBE | PLAIN)) != SUBSCRIBE || !names(permissions, rule, &probe)) {
            continue;
        }
        bool shared = rule->bits & SHARED;
        if (!(rule->bits & ALLOW)) {
            denied |= shared ? 0 : qos_of(rule);
            denied_to_group = denied_to_group || shared;
            continue;
        }
        unsigned in_group = shared && denied_to_group ? denied_in_group(permissions, i, &probe) : 0;
        if (qos_of(rule) & ~(denied | in_group)) {
            return true;
        }
    }
    return false;
}
