/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's own messages: to the journal when there is one, else to syslog, or to the console in
 * the foreground. */
#pragma once

#include <stdbool.h>
#include <syslog.h>

enum log_target {
    LOG_TARGET_AUTO,
    LOG_TARGET_JOURNAL,
    LOG_TARGET_SYSLOG,
    LOG_TARGET_CONSOLE,
    _LOG_TARGET_MAX
};

/* AUTO: console if stderr is a terminal or no journal answers; the journal otherwise. Call once,
 * first. identifier: the program's name in the journal and in syslog, borrowed for good.
 * max_priority: LOG_ERR to LOG_DEBUG; what is less important is dropped. -EINVAL when
 * out of range. */
int log_open(const char *identifier, enum log_target target, int max_priority);
void log_close(void);
/* Never AUTO. */
enum log_target log_target_used(void);

/* "auto", "journal", "syslog", "console"; _LOG_TARGET_MAX for anything else. */
enum log_target log_target_from_name(const char *name);
/* "emerg" to "debug", or "0" to "7"; -EINVAL for anything else. */
int log_priority_from_name(const char *name);

/* Is there a socket of the journal, or of a syslog daemon? */
bool log_journal_answers(void);
bool log_syslog_answers(void);
/* Writes one line to stderr, with a time stamp, and in colour on a terminal. 0 or -errno. */
int log_console(int priority, const char *message);

/* The one line everything goes through. error is 0 or -errno and is returned, so that one can
 * `return log_error(r, "Cannot ...: %m")`; %m says it. errno stays as it was. Untrusted text must
 * have been escaped (helpers/text.h). */
int log_message(int priority, int error, const char *file, int line, const char *function,
                const char *format, ...) __attribute__((format(printf, 6, 7)));

/* A message with fields of its own for the journal, "NAME=value", NULL-ended; there it goes
 * whatever max_priority is. Nobody else is given the fields. */
void log_entry(int priority, const char *message, char *const *fields);

/* To stand behind a message about that error: names the AppArmor profile that may be the reason,
 * where the process is confined by one. "" when it is not, or for other errors than EACCES and
 * EPERM. */
#define LOG_HINT_MAX 256
const char *log_access_hint(int error, char hint[static LOG_HINT_MAX]);
/* The same for what /proc/PID/attr/current says. */
const char *log_confined_hint(int error, const char *profile, char hint[static LOG_HINT_MAX]);

#define log_full(priority, error, ...)                                                             \
    log_message((priority), (error), __FILE__, __LINE__, __func__, __VA_ARGS__)
#define log_debug(error, ...) log_full(LOG_DEBUG, (error), __VA_ARGS__)
#define log_info(error, ...) log_full(LOG_INFO, (error), __VA_ARGS__)
#define log_notice(error, ...) log_full(LOG_NOTICE, (error), __VA_ARGS__)
#define log_warning(error, ...) log_full(LOG_WARNING, (error), __VA_ARGS__)
#define log_error(error, ...) log_full(LOG_ERR, (error), __VA_ARGS__)
