/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sends one test alert through each channel, and says what arrived. */
#pragma once

#include "daemon/tell/alert-exec.h"

struct alert_test;

/* Channels that are configured; exec has its own configuration. */
struct alert_test_options {
    bool wanted[_ALERT_TARGET_MAX];
    const char *channel;        /* test this one alone; NULL: each that is wanted */
};

/* Calls done once, in the loop, with an array of {"channel", "configured", "delivered", "detail"};
 * rows is the callee's, NULL with an error. exec must live as long as the test is not over, or be
 * freed before it. -EINVAL: no such channel. */
int alert_test_new(sd_event *event, const struct alert_test_options *options,
                   struct alert_exec *exec,
                   void (*done)(void *userdata, int error, json_object *rows), void *userdata,
                   struct alert_test **ret_test);
/* Was done called? Also of NULL. */
bool alert_test_is_over(const struct alert_test *test);
/* done is called with -ECANCELED, unless it was. Takes NULL, returns NULL. */
struct alert_test *alert_test_free(struct alert_test *test);
