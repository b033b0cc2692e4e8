/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How something grew: samples, and the line through them. */
#include "daemon/core/series.h"

#include <string.h>

#include "helpers/clock.h"

void series_add(struct series *series, uint64_t at, uint64_t value, uint64_t least)
{
    /* A clock that was ahead was put right: what was seen then was seen at no known time. */
    while (series->n > 0 && series->samples[series->n - 1].at > at)
        series->n--;
    if (series->n > 0) {
        uint64_t last = series->samples[series->n - 1].at, earliest;

        if (__builtin_add_overflow(last, least, &earliest) || at < earliest)
            return;
    }
    if (series->n == SERIES_MAX) {
        unsigned half = SERIES_MAX / 2, n = half / 2;

        for (unsigned i = 0; i < n; i++)
            series->samples[i] = series->samples[2 * i];
        memmove(&series->samples[n], &series->samples[half],
                (SERIES_MAX - half) * sizeof(*series->samples));
        series->n = n + SERIES_MAX - half;
    }
    series->samples[series->n++] = (struct sample){ .at = at, .value = value };
}

bool series_slope(const struct series *series, uint64_t since, unsigned least,
                  double *ret_per_second)
{
    double sum_t = 0, sum_v = 0, sum_tt = 0, sum_tv = 0, spread;
    unsigned n = 0;

    for (unsigned i = 0; i < series->n; i++) {
        const struct sample *sample = &series->samples[i];
        double t, v;

        if (sample->at < since)
            continue;
        /* From the last one on: times since the epoch would leave no digits for the rest. */
        t = -(double)(series->samples[series->n - 1].at - sample->at) / (double)USEC_PER_SEC;
        v = (double)sample->value - (double)series->samples[series->n - 1].value;
        sum_t += t;
        sum_v += v;
        sum_tt += t * t;
        sum_tv += t * v;
        n++;
    }
    spread = n * sum_tt - sum_t * sum_t;
    if (n < least || n < 2 || spread <= 0)
        return false;
    *ret_per_second = (n * sum_tv - sum_t * sum_v) / spread;
    return true;
}
