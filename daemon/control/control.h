/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control interface, and the rows that it shows. */
#pragma once

#include "daemon/control/interface.h"
#include "daemon/control/query.h"
#include "daemon/control/question.h"
