/* SPDX-License-Identifier: Apache-2.0 */
/* A live connection gets another grant: by REPLACE, or because it showed another token. */
#ifndef KEYFOB_REPLACEMENT_H
#define KEYFOB_REPLACEMENT_H

#include "keyfob.h"

enum replacement {
    REPLACEMENT_DONE,     /* its permissions and expiry are those of the new grant */
    REPLACEMENT_STRANGER, /* the connection is gone, has come to its end, or is another owner's */
    REPLACEMENT_REFUSED,  /* the grant cannot be kept */
};

/* Nothing is left of the old grant, or nothing has changed. */
enum replacement replacement_put(struct keyfob *keyfob, const struct wire_replace *replace);

/* Is this connection one that may get another grant? */
bool replacement_possible(const struct record *record);

/* REPLACE: the same, and the log is told. */
void replacement_apply(struct keyfob *keyfob, const struct wire_replace *replace);

#endif
