/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Audits, relations and policy in, conditions out. Pure: the time is passed in, nothing is kept. */
#pragma once

#include "model.h"
#include "relate.h"

struct conditions {
    struct condition *items;
    size_t n_items;
};

void conditions_done(struct conditions *conditions);

/* What holds for an image now. Which of its findings this judgement may resolve is told by `judged`:
 * a bit per finding type that could have been seen (an image with a writer says nothing about refcounts,
 * an image on an offline datastore nothing at all). last: the audit before this one, or NULL. */
struct judgement {
    struct conditions conditions;
    bool judged[_FINDING_MAX];
    enum confidence confidence;
};

void judgement_done(struct judgement *judgement);

int judge_image(const struct policy *policy, const struct graph *graph, const struct image *image,
                const struct audit *last, uint64_t now, struct judgement *ret_judgement);
int judge_datastore(const struct policy *policy, const struct datastore *datastore, uint64_t now,
                    struct judgement *ret_judgement);
/* The earliest time at which judge_image() would say something else without any change (a snapshot gets
 * old): usec, UINT64_MAX for never. */
uint64_t judge_image_again(const struct policy *policy, const struct graph *graph, const struct image *image,
                           uint64_t now);
