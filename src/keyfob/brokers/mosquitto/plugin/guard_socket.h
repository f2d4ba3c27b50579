/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the guard's socket, and checking who is behind it: a socket is not trusted because it is
 * local. */
#ifndef KEYFOB_GUARD_SOCKET_H
#define KEYFOB_GUARD_SOCKET_H

#include "options.h"

/* Connects to path without waiting. The process that listens must run as this one's user, as root,
 * or as one of guard_users. -1 where that fails: *why says what did, and errno is 0 or the system's
 * reason. */
int guard_socket_open(const struct options *options, const char *path, const char **why);

#endif
