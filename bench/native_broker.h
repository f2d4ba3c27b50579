/* SPDX-License-Identifier: Apache-2.0 */
/* As much of a broker as a check of one message asks: who the client is. */
#ifndef KEYFOB_BENCH_NATIVE_BROKER_H
#define KEYFOB_BENCH_NATIVE_BROKER_H

#include "mosquitto_api.h"

enum { CLIENT_ID_SIZE = 48 };

struct mosquitto {
    char id[CLIENT_ID_SIZE];
};

#endif
