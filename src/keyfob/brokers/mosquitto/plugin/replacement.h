/* SPDX-License-Identifier: Apache-2.0 */
/* A live connection gets another grant: REPLACE. */
#ifndef KEYFOB_REPLACEMENT_H
#define KEYFOB_REPLACEMENT_H

#include "keyfob.h"

/* Permissions and expiry of the connection are those of the new grant, and nothing is left of the
 * old ones. Nothing changes where that connection is gone, has come to its end or is another
 * owner's, nor where the grant cannot be kept. */
void replacement_apply(struct keyfob *keyfob, const struct wire_replace *replace);

#endif
