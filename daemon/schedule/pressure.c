/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Do others wait for the disk? Where the control group's own waiting is known, it is taken off;
 * where not, or where we wait nearly all the time, the reading stops for a moment now and then, and
 * what is waited then is others'. A glance is enough to see that nobody waits; only where somebody
 * does, the moment is as long as it takes to be sure. */
#include "daemon/schedule/pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/core/log.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define SAMPLE_EVERY USEC_PER_SEC
#define GLANCE_EVERY (USEC_PER_SEC * 3 / 2)
#define SETTLE (USEC_PER_SEC * 3 / 100)
#define GLANCE (USEC_PER_SEC * 5 / 100)
#define MEASURE (USEC_PER_SEC * 4 / 10)
#define ACCURACY (USEC_PER_SEC / 1000)
#define PAUSE (2 * USEC_PER_SEC)
#define WHOLE UINT64_C(10000)
#define OWN_MAX (WHOLE * 8 / 10)        /* beyond that, too little of the time tells of others */

/* ---- the measure -------------------------------------------------------------------------- */

uint64_t pressure_gauge_start(struct pressure_gauge *gauge, uint64_t limit,
                              const struct pressure_sample *sample)
{
    *gauge = (struct pressure_gauge){ .limit = limit, .phase = PRESSURE_GLANCING, .last = *sample };
    return GLANCE;
}

/* Parts per 10,000 of the time; counters that went back count as nothing. */
static uint64_t share(uint64_t before, uint64_t after, uint64_t elapsed)
{
    uint64_t usec = after > before ? after - before : 0;

    if (elapsed == 0)
        return 0;
    return usec >= elapsed ? WHOLE : usec * WHOLE / elapsed;
}

/* Computes how long others waited since the last sample, if we wait independently of them: the time
 * that anybody waits is own + others - own * others. False when it cannot be told. */
static bool others_beside(const struct pressure_gauge *gauge, const struct pressure_sample *sample,
                          uint64_t *ret_others)
{
    uint64_t elapsed = sample->at - gauge->last.at;
    uint64_t all = share(gauge->last.all, sample->all, elapsed),
             own = share(gauge->last.own, sample->own, elapsed);

    if (!sample->has_own || !gauge->last.has_own || own > OWN_MAX)
        return false;
    *ret_others = all > own ? (all - own) * WHOLE / (WHOLE - own) : 0;
    return true;
}

bool pressure_gauge_take(struct pressure_gauge *gauge, const struct pressure_sample *sample,
                         uint64_t *ret_wait)
{
    uint64_t others = gauge->others;
    bool known = true;

    switch (gauge->phase) {
    case PRESSURE_SETTLING:
        gauge->phase = PRESSURE_GLANCING;
        known = false;
        *ret_wait = GLANCE;
        break;
    case PRESSURE_READING:
        known = others_beside(gauge, sample, &others);
        *ret_wait = known ? SAMPLE_EVERY : SETTLE;
        if (!known)
            gauge->phase = PRESSURE_SETTLING;
        else if (others > gauge->limit)
            gauge->phase = PRESSURE_PAUSED;
        break;
    case PRESSURE_GLANCING:
        others = share(gauge->last.all, sample->all, sample->at - gauge->last.at);
        gauge->phase = others > gauge->limit ? PRESSURE_MEASURING : PRESSURE_READING;
        *ret_wait = others > gauge->limit ? MEASURE : GLANCE_EVERY;
        break;
    case PRESSURE_MEASURING:
    case PRESSURE_PAUSED:
        /* Nobody of ours reads. */
        others = share(gauge->last.all, sample->all, sample->at - gauge->last.at);
        *ret_wait = GLANCE_EVERY;
        /* Only half the limit ends a pause, or pauses would come and go. */
        if (others > (gauge->phase == PRESSURE_PAUSED ? gauge->limit / 2 : gauge->limit))
            gauge->phase = PRESSURE_PAUSED;
        else
            gauge->phase = PRESSURE_READING;
        break;
    }
    if (known)
        gauge->others = others;
    if (gauge->phase == PRESSURE_PAUSED)
        *ret_wait = PAUSE;
    gauge->last = *sample;
    return gauge->phase != PRESSURE_READING;
}

int pressure_parse(const char *text, uint64_t *ret_usec)
{
    const char *line = strncmp(text, "some ", 5) == 0 ? text : strstr(text, "\nsome "), *end,
               *total;
    uint64_t usec;

    if (!line)
        return -EBADMSG;
    line += *line == '\n';
    end = line + strcspn(line, "\n");
    total = strstr(line, " total=");
    if (!total || total > end || sscanf(total, " total=%" SCNu64, &usec) != 1)
        return -EBADMSG;
    *ret_usec = usec;
    return 0;
}

int pressure_own_group(const char *text, char **ret_path)
{
    const char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    size_t n;

    if (!line)
        return -ENOENT;
    line += *line == '\n' ? 4 : 3;
    n = strcspn(line, "\n");
    if (n <= 1 || line[0] != '/')
        return -ENOENT;
    *ret_path = strndup(line, n);
    return *ret_path ? 0 : -ENOMEM;
}

/* ---- the watch ---------------------------------------------------------------------------- */

struct pressure {
    sd_event *event;
    void (*pause)(void *userdata, bool pause);
    void *userdata;
    sd_event_source *timer;
    int all, own;               /* files, -1: not there */
    bool looked;                /* for them */
    bool paused;
    struct pressure_gauge gauge;
};

/* These files are the kernel's own and never wait. */
static int read_file(int fd, char *buf, size_t size)
{
    ssize_t n = pread(fd, buf, size - 1, 0);

    if (n < 0)
        return -errno;
    buf[n] = 0;
    return 0;
}

static int open_own(void)
{
    static const char *const mounts[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
    _cleanup_free_ char *group = NULL;
    char text[4096];
    int r, fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    r = read_file(fd, text, sizeof(text));
    close(fd);
    if (r == 0)
        r = pressure_own_group(text, &group);
    for (size_t i = 0; r == 0 && i < ELEMENTSOF(mounts); i++) {
        _cleanup_free_ char *path = NULL;

        if (asprintf(&path, "%s%s/io.pressure", mounts[i], group) < 0)
            return -ENOMEM;
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
            return fd;
        if (i + 1 == ELEMENTSOF(mounts))
            r = -errno;
    }
    return r < 0 ? r : -ENOENT;
}

static void tell_why_not(int r)
{
    log_debug(r, "This kernel does not tell who waits for the disk (%m): scrubs do not give way");
}

static void look_for_files(struct pressure *pressure)
{
    if (pressure->looked)
        return;
    pressure->looked = true;
    pressure->all = open("/proc/pressure/io", O_RDONLY | O_CLOEXEC);
    if (pressure->all < 0) {
        tell_why_not(-errno);
        return;
    }
    pressure->own = open_own();
    if (pressure->own < 0)
        log_debug(pressure->own,
                  "What others wait for the disk is measured in pauses, as the own control group's "
                  "share is not known: %m");
}

static int take_sample(struct pressure *pressure, struct pressure_sample *ret_sample)
{
    struct pressure_sample sample = { 0 };
    char text[512];
    int r;

    /* now, not when the loop came round: a glance is short */
    sample.at = usec_now(CLOCK_MONOTONIC);
    r = read_file(pressure->all, text, sizeof(text));
    if (r >= 0)
        r = pressure_parse(text, &sample.all);
    if (r < 0)
        return r;
    sample.has_own = pressure->own >= 0 && read_file(pressure->own, text, sizeof(text)) == 0 &&
                     pressure_parse(text, &sample.own) == 0;
    *ret_sample = sample;
    return 0;
}

static void set_paused(struct pressure *pressure, bool paused)
{
    if (pressure->paused == paused)
        return;
    pressure->paused = paused;
    pressure->pause(pressure->userdata, paused);
}

static void stop(struct pressure *pressure)
{
    pressure->timer = sd_event_source_disable_unref(pressure->timer);
    set_paused(pressure, false);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct pressure *pressure = userdata;
    struct pressure_sample sample;
    enum pressure_phase before = pressure->gauge.phase;
    uint64_t wait;
    bool paused;
    int r;

    r = take_sample(pressure, &sample);
    if (r >= 0) {
        paused = pressure_gauge_take(&pressure->gauge, &sample, &wait);
        if (pressure->gauge.phase == PRESSURE_PAUSED && before != PRESSURE_PAUSED)
            log_debug(0, "Scrubs pause: others wait for the disk %" PRIu64 " %% of the time",
                      pressure->gauge.others / 100);
        set_paused(pressure, paused);
        r = sd_event_source_set_time_relative(source, wait);
    }
    if (r >= 0)
        r = sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    if (r < 0) {
        log_warning(r, "Cannot tell who waits for the disk any more: %m; scrubs do not give way");
        stop(pressure);
    }
    return 0;
}

int pressure_new(sd_event *event, void (*pause)(void *userdata, bool pause), void *userdata,
                 struct pressure **ret_pressure)
{
    struct pressure *pressure = calloc(1, sizeof(*pressure));

    if (!pressure)
        return -ENOMEM;
    *pressure = (struct pressure) {
        .event = sd_event_ref(event), .pause = pause, .userdata = userdata, .all = -1, .own = -1,
    };
    *ret_pressure = pressure;
    return 0;
}

struct pressure *pressure_free(struct pressure *pressure)
{
    if (!pressure)
        return NULL;
    sd_event_source_disable_unref(pressure->timer);
    if (pressure->all >= 0)
        close(pressure->all);
    if (pressure->own >= 0)
        close(pressure->own);
    sd_event_unref(pressure->event);
    free(pressure);
    return NULL;
}

int pressure_watch(struct pressure *pressure, bool on, uint64_t limit)
{
    struct pressure_sample sample;
    uint64_t wait;
    int r;

    if (!on || limit == UINT64_MAX) {
        stop(pressure);
        return 0;
    }
    if (pressure->timer) {
        pressure->gauge.limit = limit;
        return 0;
    }
    look_for_files(pressure);
    if (pressure->all < 0)
        return 0;
    r = take_sample(pressure, &sample);
    if (r < 0) {
        /* Kernels before 5.14 have the file even when they count nothing: EOPNOTSUPP. */
        tell_why_not(r);
        close(pressure->all);
        pressure->all = -1;
        return 0;
    }
    wait = pressure_gauge_start(&pressure->gauge, limit, &sample);
    r = sd_event_add_time_relative(pressure->event, &pressure->timer, CLOCK_MONOTONIC, wait,
                                   ACCURACY, on_timer, pressure);
    if (r >= 0)
        set_paused(pressure, true);
    return r;
}

uint64_t pressure_of_others(const struct pressure *pressure)
{
    return pressure->gauge.others;
}
