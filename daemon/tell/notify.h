/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages between qcauditd and qcaudit-notify, which runs the program of alerts.exec: a message as
 * one JSON object and the end of the stream; and back {"error", "output"}: error, why the program
 * did not take the message, is missing when it did. */
#pragma once

#include "helpers/clock.h"

#define NOTIFY_SOCKET_NAME "notify"          /* in the runtime directory; systemd listens there */
#define NOTIFY_MESSAGE_MAX (1024 * 1024)        /* bytes */
#define NOTIFY_ANSWER_MAX (64 * 1024)           /* bytes */
/* So much of the program's output is kept and sent back, the rest is read and dropped. Bytes. */
#define NOTIFY_OUTPUT_MAX 1000
/* The program may run for alerts.exec-timeout, at most 2 min; then it gets SIGTERM, and SIGKILL. */
#define NOTIFY_KILL_AFTER (5 * USEC_PER_SEC)
/* qcauditd waits for so long for the answer. */
#define NOTIFY_DEADLINE (150 * USEC_PER_SEC)
