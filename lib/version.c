/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The version of the library. */
#include "qcaudit/qcaudit.h"

unsigned qca_version(void)
{
    return QCA_VERSION;
}
