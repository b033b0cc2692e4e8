/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that the judges of domains share: domain.c, and domain-sides.c for snapshots and
 * checkpoints. */
#pragma once

#include "daemon/core/image.h"
#include "daemon/judge/internal.h"

#define NAMES_SHOWN 20

/* One domain under judgement. */
struct judging_domain {
    struct judging judging;
    const struct virt_domain *domain;
    const struct virt_status *status;
    const struct usage_index *index;
};

/* With the domain and its connection. */
struct evidence domain_evidence(const struct judging_domain *jd);
bool domain_has_job(const struct virt_domain *domain);
/* The image that a layer is; NULL when it is not known. */
const struct image *layer_image(const struct judging_domain *jd, const struct virt_disk *disk,
                                size_t layer);

int judge_delete(struct judging_domain *jd);
int judge_checkpoints(struct judging_domain *jd);
