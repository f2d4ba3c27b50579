/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include "text.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static bool wrong(const char *key, const char *why)
{
    mosquitto_log_printf(MOSQ_LOG_ERR, "Keyfob: plugin_opt_%s %s", key, why);
    return false;
}

static bool read_text(const char *key, const char *value, char into[OPTION_TEXT])
{
    if (strlen(value) >= OPTION_TEXT) {
        return wrong(key, "is too long");
    }
    if (!text_is_utf8(text_of(value))) {
        return wrong(key, "is not UTF-8");
    }
    strcpy(into, value);
    return true;
}

static bool read_number(const char *key, const char *value, int64_t least, int64_t most,
                        int64_t *into)
{
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || number < least || number > most) {
        mosquitto_log_printf(MOSQ_LOG_ERR,
                             "Keyfob: plugin_opt_%s must be a number from %lld to %lld", key,
                             (long long)least, (long long)most);
        return false;
    }
    *into = number;
    return true;
}

static bool read_users(const char *key, const char *value, struct options *options)
{
    char names[1024];
    if (strlen(value) >= sizeof names) {
        return wrong(key, "is too long");
    }
    strcpy(names, value);
    char *rest = names, *name;
    while ((name = strsep(&rest, ", ")) != NULL) {
        if (*name == '\0') {
            continue;
        }
        const struct passwd *user = getpwnam(name);
        if (user == NULL) {
            return wrong(key, "names a user that does not exist");
        }
        if (options->guard_user_count == GUARD_USERS) {
            return wrong(key, "names too many users");
        }
        options->guard_users[options->guard_user_count++] = user->pw_uid;
    }
    return true;
}

static bool read_socket(const char *key, const char *value, char into[OPTION_TEXT])
{
    /* Absolute: a broker that is a daemon has another working directory. */
    if (value[0] != '/' || strlen(value) >= sizeof((struct sockaddr_un *)0)->sun_path) {
        return wrong(key, "must be an absolute path of at most 107 bytes");
    }
    return read_text(key, value, into);
}

static bool read_decisions(const char *key, const char *value, enum option_decisions *into)
{
    static const char *const NAMES[] = {
        [DECISIONS_AUTO] = "auto",
        [DECISIONS_BLOCKING] = "blocking",
        [DECISIONS_DELAYED] = "delayed",
    };
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (strcmp(value, NAMES[i]) == 0) {
            *into = (enum option_decisions)i;
            return true;
        }
    }
    return wrong(key, "must be auto, blocking or delayed");
}

static bool read_mode(const char *key, const char *value, enum option_mode *into)
{
    *into = strcmp(value, "mixed") == 0 ? MODE_MIXED : MODE_EXCLUSIVE;
    return *into == MODE_MIXED || strcmp(value, "exclusive") == 0 ||
           wrong(key, "must be exclusive or mixed");
}

static bool read_option(struct options *options, const char *key, const char *value)
{
    if (strcmp(key, "guard_socket") == 0) {
        return read_socket(key, value, options->guard_socket);
    }
    if (strcmp(key, "broker_name") == 0) {
        return read_text(key, value, options->broker_name);
    }
    if (strcmp(key, "auto_id_prefix") == 0) {
        return read_text(key, value, options->auto_id_prefix);
    }
    if (strcmp(key, "guard_users") == 0) {
        return read_users(key, value, options);
    }
    if (strcmp(key, "guard_timeout_ms") == 0) {
        return read_number(key, value, 1, 10000, &options->guard_timeout_ms);
    }
    if (strcmp(key, "decisions") == 0) {
        return read_decisions(key, value, &options->decisions);
    }
    if (strcmp(key, "mode") == 0) {
        return read_mode(key, value, &options->mode);
    }
    if (strcmp(key, "decision_timeout_ms") == 0) {
        return read_number(key, value, 100, 60000, &options->decision_timeout_ms);
    }
    if (strcmp(key, "exchange_timeout_ms") == 0) {
        return read_number(key, value, 100, 60000, &options->exchange_timeout_ms);
    }
    if (strcmp(key, "startup_wait_ms") == 0) {
        return read_number(key, value, 0, 60000, &options->startup_wait_ms);
    }
    if (strcmp(key, "offline_records") == 0) {
        return read_number(key, value, 0, 100000000, &options->offline_records);
    }
    return wrong(key, "is not an option of this plugin");
}

bool options_read(struct options *options, const struct mosquitto_opt *given, int count)
{
    memset(options, 0, sizeof *options); /* padding too: two of them are compared as bytes */
    strcpy(options->broker_name, "mosquitto");
    strcpy(options->auto_id_prefix, "auto-"); /* Mosquitto's own default */
    options->guard_timeout_ms = 200;
    options->decision_timeout_ms = 5000;
    options->exchange_timeout_ms = 30000;
    options->startup_wait_ms = 3000;
    options->offline_records = 100000;
    for (int i = 0; i < count; i++) {
        if (!read_option(options, given[i].key, given[i].value ? given[i].value : "")) {
            return false;
        }
    }
    return options->guard_socket[0] != '\0' || wrong("guard_socket", "is missing");
}
