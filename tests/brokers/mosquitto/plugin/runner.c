/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin's pure parts on a line: reads commands from standard input, answers one line each.
 *
 * Texts and frames come and go in hex, "-" where they are empty. test_*.py holds the answers
 * against the shared vectors, against Python and against a model.
 */
#include "runner.h"

#include "breaker.h"
#include "credentials.h"
#include "deadline.h"
#include "topic.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Words */

static unsigned digit(char c)
{
    return isdigit((unsigned char)c) ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
}

static struct text unhex(const char *hex)
{
    size_t length = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;
    char *bytes = malloc(length > 0 ? length : 1);
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (char)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    }
    return (struct text){bytes, length};
}

void print_hex(const void *at, size_t length)
{
    const uint8_t *bytes = at;
    for (size_t i = 0; i < length; i++) {
        printf("%02x", bytes[i]);
    }
    if (length == 0) {
        printf("-");
    }
}

struct text text(struct words *words, size_t i)
{
    if (words->text[i].at == NULL) {
        words->text[i] = unhex(words->word[i]);
    }
    return words->text[i];
}

uint64_t number(const struct words *words, size_t i)
{
    return strtoull(words->word[i], NULL, 10);
}

int64_t signed_number(const struct words *words, size_t i)
{
    return strtoll(words->word[i], NULL, 10);
}

void answer(bool yes)
{
    puts(yes ? "1" : "0");
}

/* Topics */

bool topic_command(struct words *words)
{
    const char *verb = words->word[0];
    if (strcmp(verb, "filter") == 0) {
        answer(topic_filter_valid(text(words, 1)));
    } else if (strcmp(verb, "name") == 0) {
        answer(topic_name_valid(text(words, 1)));
    } else if (strcmp(verb, "matches") == 0) {
        answer(topic_matches(topic_share(text(words, 1)).filter, text(words, 2)));
    } else if (strcmp(verb, "covers") == 0) {
        struct topic_share granted = topic_share(text(words, 1));
        struct topic_share requested = topic_share(text(words, 2));
        answer((granted.group.length == 0 || text_equal(granted.group, requested.group)) &&
               topic_covers(granted.filter, requested.filter));
    } else if (strcmp(verb, "overlaps") == 0) {
        answer(
            topic_overlaps(topic_share(text(words, 1)).filter, topic_share(text(words, 2)).filter));
    } else if (strcmp(verb, "token") == 0) {
        answer(credential_is_token(text(words, 1)));
    } else if (strcmp(verb, "ace") == 0) {
        answer(credential_is_ace(text(words, 1)));
    } else if (strcmp(verb, "log") == 0) {
        char shown[TEXT_FOR_LOG_SIZE];
        puts(text_for_log(text(words, 1), shown));
    } else {
        return false;
    }
    return true;
}

/* Time */

static struct breaker breaker;

bool time_command(struct words *words)
{
    const char *verb = words->word[0];
    if (strcmp(verb, "far") == 0) {
        int64_t boottime = boottime_ms(), wall = wall_ms();
        answer(deadline_far(boottime + signed_number(words, 1), wall + signed_number(words, 2),
                            slept_ms()));
    } else if (strcmp(verb, "deadline") == 0) {
        printf("%" PRId64 "\n", deadline_of(signed_number(words, 1), signed_number(words, 2),
                                            signed_number(words, 3)));
    } else if (strcmp(verb, "breaker-new") == 0) {
        breaker = (struct breaker){0};
        answer(true);
    } else if (strcmp(verb, "breaker-allows") == 0) {
        answer(breaker_allows(&breaker, signed_number(words, 1)));
    } else if (strcmp(verb, "breaker-heard") == 0) {
        breaker_heard(&breaker);
        answer(true);
    } else if (strcmp(verb, "breaker-timed-out") == 0) {
        answer(breaker_timed_out(&breaker, signed_number(words, 1)));
    } else {
        return false;
    }
    return true;
}

static void run(char *line)
{
    struct words words = {.count = 0};
    for (char *rest = line, *word; (word = strsep(&rest, " \n")) != NULL;) {
        if (*word != '\0' && words.count < MAX_WORDS) {
            words.word[words.count++] = word;
        }
    }
    bool known = words.count > 0 &&
                 (topic_command(&words) || time_command(&words) || frame_command(&words) ||
                  permission_command(&words) || record_command(&words) || pending_command(&words));
    if (!known) {
        puts("unknown command");
    }
    for (size_t i = 0; i < MAX_WORDS; i++) {
        free((void *)(uintptr_t)words.text[i].at);
    }
    fflush(stdout);
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) != -1) {
        run(line);
    }
    free(line);
    permission_end();
    record_end();
    pending_end();
    return 0;
}
