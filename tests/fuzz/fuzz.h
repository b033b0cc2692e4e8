/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libFuzzer, or replay.c in its place, calls in each harness. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Larger inputs say nothing new and cost time. */
#define FUZZ_INPUT_MAX (1024 * 1024)
