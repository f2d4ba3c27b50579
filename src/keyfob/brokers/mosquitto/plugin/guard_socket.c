/* SPDX-License-Identifier: Apache-2.0 */
#include "guard_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool peer_is_trusted(int fd, const struct options *options)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == -1 || size != sizeof peer) {
        return false;
    }
    if (peer.uid == 0 || peer.uid == geteuid()) {
        return true;
    }
    for (size_t i = 0; i < options->guard_user_count; i++) {
        if (options->guard_users[i] == peer.uid) {
            return true;
        }
    }
    return false;
}

int guard_socket_open(const struct options *options, const char *path, const char **why)
{
    *why = "connecting";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        *why = "its path is longer than 107 bytes";
        errno = 0;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return -1;
    }
    /* EAGAIN, a full queue, is a failure like any other here: it is tried again. */
    int number = 0;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == -1) {
        number = errno;
    } else if (!peer_is_trusted(fd, options)) {
        *why = "the process behind it runs as a user that guard_users does not name";
    } else {
        return fd;
    }
    close(fd);
    errno = number;
    return -1;
}
