/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin's options: the plugin_opt_* lines of mosquitto.conf. An unknown one is an error. */
#ifndef KEYFOB_OPTIONS_H
#define KEYFOB_OPTIONS_H

#include "mosquitto_api.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { OPTION_TEXT = 256, GUARD_USERS = 16 };

enum option_decisions {
    DECISIONS_AUTO,     /* delayed where no Mosquitto is in danger by it: nowhere yet */
    DECISIONS_BLOCKING, /* the broker does nothing else while it waits for one */
    DECISIONS_DELAYED,  /* it goes on; Mosquitto 2.1 and later */
};

enum option_mode {
    MODE_EXCLUSIVE, /* nobody comes in but with a token */
    MODE_MIXED,     /* what is no token is left to the password_file, the acl_file, other plugins */
};

struct options {
    char guard_socket[OPTION_TEXT];   /* guard_socket: the guard's Unix socket; required */
    char broker_name[OPTION_TEXT];    /* broker_name: how the guard calls this broker */
    char auto_id_prefix[OPTION_TEXT]; /* auto_id_prefix: as in mosquitto.conf */
    uid_t guard_users[GUARD_USERS]; /* guard_users: who the guard may run as, besides us and root */
    size_t guard_user_count;
    enum option_decisions decisions;
    enum option_mode mode;       /* mode: may differ from listener to listener */
    int64_t guard_timeout_ms;    /* guard_timeout_ms: how long the broker waits for a decision */
    int64_t decision_timeout_ms; /* decision_timeout_ms: how long a client does, when delayed */
    int64_t exchange_timeout_ms; /* exchange_timeout_ms: how long one that is asked for more has */
    int64_t startup_wait_ms; /* startup_wait_ms: how long the broker's start waits for the guard */
    int64_t offline_records; /* offline_records: how many records without a connection are kept */
};

/* False, and a line in the log, where an option is missing, unknown or wrong. */
bool options_read(struct options *options, const struct mosquitto_opt *given, int count);

#endif
