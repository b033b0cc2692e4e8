/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains as other verbs need them: shown, and their disks' images. */
#pragma once

#include "ctl/ctl.h"

int domain_show(struct ctl *ctl, json_object *domain);
/* The image of "DOMAIN:TARGET", or of the domain's first disk: -ENOENT, unprinted, when there is no
 * such domain. malloc'd. */
int domain_disk_path(struct ctl *ctl, const char *argument, char **ret_path);
