/* SPDX-License-Identifier: Apache-2.0 */
#include "permissions_linear.h"

#undef RULE_INDEX_FROM
#define RULE_INDEX_FROM 65535 /* more rules than a frame can hold */
#define permissions_size linear_size
#define permissions_compile linear_compile
#define permissions_header linear_header
#define permissions_rule linear_rule
#define permissions_publish linear_publish
#define permissions_subscribe linear_subscribe
#define permissions_receive linear_receive

struct wire_permissions linear_header(const struct permissions *permissions);
struct wire_rule linear_rule(const void *block, size_t i);

#include "permissions.c" /* NOLINT(bugprone-suspicious-include): a second copy of it is the point */
