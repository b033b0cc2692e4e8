/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Has the program of alerts.exec told: keeps the queue of what it is told, and hands over one
 * message after the other. */
#pragma once

#include "daemon/tell/alert.h"
#include "daemon/tell/exec-channel.h"

struct alert_exec;

int alert_exec_new(sd_event *event, const char *runtime_directory, alert_told_fn told,
                   void *userdata, struct alert_exec **ret_exec);
/* Messages that were not told stay untold. Takes NULL, returns NULL. */
struct alert_exec *alert_exec_free(struct alert_exec *exec);
/* -ENOMEM: nothing changed. */
int alert_exec_set_config(struct alert_exec *exec, const struct config *config);
bool alert_exec_is_wanted(const struct alert_exec *exec);
void alert_exec_first_pass(struct alert_exec *exec, bool under_way);
/* Takes the event, also on failure. */
int alert_exec_event(struct alert_exec *exec, struct event *event);
/* As exec_queue_note(). */
int alert_exec_note(struct alert_exec *exec, const struct event *event);
/* 0, or -errno of the last message. */
int alert_exec_error(const struct alert_exec *exec);
/* Messages, each of which may stand for several alerts; without tests. */
struct alert_counts alert_exec_counts(const struct alert_exec *exec);
/* Why the last message failed, or what the program printed; never NULL. */
const char *alert_exec_said(const struct alert_exec *exec);
/* Hands the program a message of the kind "test", before everything that waits. -EBUSY while
 * another test waits; -ENOTCONN when there is no program. done is not called once it is freed. */
int alert_exec_test(struct alert_exec *exec, exec_done_fn done, void *userdata);
