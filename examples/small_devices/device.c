// SPDX-License-Identifier: Apache-2.0
// A device in C that publishes for ever, by libmosquitto.
//
//   cc -O2 -o device device.c token.c -lmosquitto -lcurl -lcjson -lm
//   KEYFOB_CLIENT_SECRET=... ./device dev1 https://as.example.com/oauth2/token mqtt.example 8883
//   ca.pem
#include <mosquitto.h>

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token.h"

struct device {
    struct token token;
    struct mosquitto *client;
    const char *host;
    int port;
    char shown[TOKEN_MOST + 1]; // what the broker was shown last
    bool connected;             // it said yes
    bool trying;                // CONNECT or DISCONNECT is on its way
    bool planned;               // we ended it
    int pending;                // messages that the broker has not acknowledged
    double since, again;        // when it said yes, and when to try again
    unsigned failures;
};

// Full jitter: devices that lost a broker at the same moment must not come back at the same moment.
static void try_later(struct device *device)
{
    double ceiling = (double)(1U << device->failures);
    device->again = now_seconds() + ceiling * chance();
    device->failures += device->failures < 7;
}

static void on_connect(struct mosquitto *client, void *mine, int code)
{
    struct device *device = mine;
    (void)client;
    printf("CONNACK %d\n", code);
    device->connected = code == 0;
    device->since = now_seconds();
    if (code == 0) {
        char filter[128];
        snprintf(filter, sizeof filter, "commands/%s/#", device->token.client_id);
        mosquitto_subscribe(client, NULL, filter, 1);
    } else if (code == 4 || code == 5) { // about the token; 3 is a broker that cannot now
        token_refused(&device->token);
    }
}

static void on_disconnect(struct mosquitto *client, void *mine, int reason)
{
    struct device *device = mine;
    (void)client;
    (void)reason;
    if (device->connected && now_seconds() - device->since > 10) {
        device->failures = 0; // not at the CONNACK: a broker may accept and fall over again
    }
    device->connected = device->trying = false;
    if (device->planned) {
        device->planned = false;
        device->again = 0;
    } else {
        try_later(device);
    }
}

static void on_publish(struct mosquitto *client, void *mine, int message)
{
    struct device *device = mine;
    (void)client;
    (void)message;
    device->pending--;
}

// Shows the token that is good now; the session outlives the connection, so nothing is lost.
static void connect_now(struct device *device)
{
    strcpy(device->shown, device->token.text);
    mosquitto_username_pw_set(device->client, device->token.client_id, device->shown);
    int error = mosquitto_connect(device->client, device->host, device->port, 60);
    device->trying = error == MOSQ_ERR_SUCCESS;
    if (error != MOSQ_ERR_SUCCESS) {
        printf("not connected: %s\n", mosquitto_strerror(error));
        try_later(device);
    }
}

// One look at what there is to do: first the token, then the connection, then the work.
static void step(struct device *device, double *published)
{
    bool good = token_good(&device->token);
    double now = now_seconds();
    if (!device->connected) {
        if (!device->trying && good && now >= device->again) {
            connect_now(device);
        }
        return;
    }
    bool successor = good && strcmp(device->token.text, device->shown) != 0;
    if (successor && device->pending == 0 && !device->planned) {
        device->planned = true; // a DISCONNECT: no will fires
        mosquitto_disconnect(device->client);
    } else if (!successor && now - *published >= 1) {
        char topic[128];
        snprintf(topic, sizeof topic, "devices/%s/temperature", device->token.client_id);
        *published = now;
        device->pending +=
            mosquitto_publish(device->client, NULL, topic, 4, "21.5", 1, false) == MOSQ_ERR_SUCCESS;
    }
}

static void live(struct device *device)
{
    double published = 0;
    for (;;) {
        step(device, &published);
        if (!device->connected && !device->trying) {
            struct timespec pause = {.tv_nsec = 100000000};
            nanosleep(&pause, NULL);
        } else if (mosquitto_loop(device->client, 100, 1) == MOSQ_ERR_NO_CONN) {
            on_disconnect(device->client, device, 0); // which other errors call
        }
    }
}

int main(int count, char **words)
{
    static struct device device;
    const char *secret = getenv("KEYFOB_CLIENT_SECRET"); // others can read a command line
    if (count != 6 || secret == NULL) {
        fprintf(stderr, "KEYFOB_CLIENT_SECRET=... device NAME TOKEN_URL HOST PORT CA_FILE\n");
        return 2;
    }
    device.token = (struct token){
        .client_id = words[1], .url = words[2], .secret = secret, .ca_file = words[5]};
    device.host = words[3];
    device.port = atoi(words[4]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    mosquitto_lib_init();
    device.client = mosquitto_new(device.token.client_id, false, &device);
    if (device.client == NULL ||
        mosquitto_tls_set(device.client, device.token.ca_file, NULL, NULL, NULL, NULL)) {
        return 1;
    }
    mosquitto_connect_callback_set(device.client, on_connect);
    mosquitto_disconnect_callback_set(device.client, on_disconnect);
    mosquitto_publish_callback_set(device.client, on_publish);
    live(&device);
}
