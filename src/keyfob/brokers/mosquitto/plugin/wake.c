/* SPDX-License-Identifier: Apache-2.0 */
#include "wake.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t marked;
static bool installed;

static void on_signal(int number)
{
    (void)number;
    marked = 1;
}

static int wake_signal(void)
{
    return SIGRTMIN + 3;
}

static bool is_unused(int number)
{
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
           (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN);
}

bool wake_install(void)
{
    if (installed) {
        return true;
    }
    if (!is_unused(wake_signal()) || !is_unused(SIGIO)) {
        return false;
    }
    /* SA_RESTART for the broker's own calls; epoll_wait and poll return EINTR all the same. SIGIO
     * as well: it is sent when too many signals are queued, and it would end the process. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    installed =
        sigaction(SIGIO, &action, NULL) == 0 && sigaction(wake_signal(), &action, NULL) == 0;
    return installed;
}

void wake_remove(void)
{
    if (installed) {
        /* Ignored and not the default: one that is still on its way must not end the process. */
        (void)signal(wake_signal(), SIG_IGN);
        (void)signal(SIGIO, SIG_IGN);
        installed = false;
    }
}

void wake_watch(int fd)
{
    struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = gettid()};
    if (installed && fcntl(fd, F_SETOWN_EX, &owner) == 0 &&
        fcntl(fd, F_SETSIG, wake_signal()) == 0) {
        int flags = fcntl(fd, F_GETFL);
        if (flags != -1) {
            fcntl(fd, F_SETFL, flags | O_ASYNC);
        }
    }
}

void wake_mark(void)
{
    marked = 1;
}

bool wake_take(void)
{
    if (!marked) {
        return false;
    }
    marked = 0; /* before reading: what comes from here on leaves a new mark */
    return true;
}
