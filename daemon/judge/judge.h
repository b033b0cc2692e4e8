/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The conditions that hold now, and the life of findings. */
#pragma once

#include "daemon/judge/judgement.h"
#include "daemon/judge/life.h"
#include "daemon/judge/mutes.h"
