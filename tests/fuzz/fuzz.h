/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libFuzzer, or replay.c in its place, calls in each harness. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Larger inputs say nothing new and cost time. */
#define FUZZ_INPUT_MAX (1024 * 1024)

/* What an input may take of processor time, so that a busy machine changes nothing. A campaign says
 * 1, which holds under sanitizers, too; tests that run on any machine leave room. */
#ifndef FUZZ_CPU_SECONDS
#define FUZZ_CPU_SECONDS 5
#endif

static inline double fuzz_cpu_seconds(void)
{
    struct timespec now = { 0 };

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
