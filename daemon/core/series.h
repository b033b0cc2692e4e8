/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How something grew. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* How something grew: the times at which it was looked at, and what it was then; at most
 * SERIES_MAX, the older ones the sparser. */
#define SERIES_MAX 96
struct sample { uint64_t at, value; };
struct series { struct sample samples[SERIES_MAX]; unsigned n; };

/* Adds a sample that is at least `least` usec later than the last one; an earlier one is left out.
 * A full series forgets every other one of its older half. */
void series_add(struct series *series, uint64_t at, uint64_t value, uint64_t least);
/* The line that fits best (least squares) through the samples since `since`: value per second,
 * negative when it shrinks; false when they are fewer than `least` or were taken at one time. */
bool series_slope(const struct series *series, uint64_t since, unsigned least,
                  double *ret_per_second);
