/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the runner share: the words of a command, and who answers which. */
#ifndef KEYFOB_TEST_RUNNER_H
#define KEYFOB_TEST_RUNNER_H

#include "record.h"
#include "text.h"
#include "wire.h"

enum { MAX_WORDS = 16 };

/* Every text is a block of its own, so that the sanitizers see one byte too many. */
struct words {
    char *word[MAX_WORDS];
    struct text text[MAX_WORDS];
    size_t count;
};

/* Word i as a text, in hex, or as a number. */
struct text text(struct words *words, size_t i);
uint64_t number(const struct words *words, size_t i);
int64_t signed_number(const struct words *words, size_t i);

void print_hex(const void *at, size_t length);
void answer(bool yes);

/* Reads word i as a frame; answers, and returns false, where it is none. */
bool read_frame(struct words *words, size_t i, struct wire_frame *frame);

/* Prints the frame that was written, or that it was refused, and frees the buffer. */
void print_written(struct buffer *out, bool fit);

/* The record that a RECORD tells of. */
struct record *record_from(const struct wire_record *from, uint64_t client, int64_t deadline,
                           enum record_state state, uint8_t flags);

/* Each answers a command that is its own, and returns false for others. */
bool topic_command(struct words *words);
bool time_command(struct words *words);
bool frame_command(struct words *words);
bool permission_command(struct words *words);
bool record_command(struct words *words);
bool pending_command(struct words *words);

/* Frees what commands have left behind. */
void permission_end(void);
void record_end(void);
void pending_end(void);

#endif
