/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is odd about a layer and its parent, though each by itself is sound: issues of the layer's
 * header. */
#include <errno.h>
#include <stdlib.h>

#include "bytes.h"
#include "check.h"
#include "qcow2.h"

enum { BACKING_FILE_OFFSET = 8 };   /* of that field in the header (docs/interop/qcow2.txt) */

static int add(struct check *check, const struct qca_chain_link *link, enum qca_issue_kind kind,
               uint64_t index, uint64_t from)
{
    const uint64_t size = qca_image_info(link->image)->virtual_size;
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_HEADER);

    issue.layer = link->layer;
    issue.table_offset = 0;
    issue.index = index;
    if (from < size) {
        issue.guest_offset = from;
        issue.guest_length = size - from;
    }
    return check_issue(check, &issue);
}

static uint64_t data_file_name_offset(const struct qca_image_info *info)
{
    for (size_t i = 0; i < info->n_extensions; i++)
        if (info->extensions[i].type == QCOW2_EXTENSION_DATA_FILE)
            return info->extensions[i].offset;
    return 0;
}

/* Sectors are compared: a raw parent may end within one. How large the disk of a parent is that is
 * not what it is taken for, or whose header does not say it, nobody knows. */
static bool is_shorter(const struct qca_image_info *parent, const struct qca_image_info *child)
{
    if (parent->virtual_size == 0 && !qca_format_is_understood(parent->format))
        return false;
    return div_round_up(parent->virtual_size, 512) < div_round_up(child->virtual_size, 512);
}

int qca_chain_link_check(const struct qca_chain_link *link, size_t max_issues,
                         struct qca_check_result *result)
{
    const struct qca_image_info *child = qca_image_info(link->image), *parent = link->parent;
    struct check check = {
        .options.max_issues = max_issues ? max_issues : MAX_ISSUES_DEFAULT,
        .result = result,
        .issues_capacity = result->n_issues,
    };
    enum qca_format declared = child->parent_format ? qca_format_from_name(child->parent_format)
                                                    : QCA_FORMAT_RAW;
    int r = 0;

    if (link->data_file_user != QCA_NO_LAYER)
        r = add(&check, link, QCA_ISSUE_DATA_FILE_REUSED, data_file_name_offset(child), 0);
    if (!parent)
        return r;
    /* the first qcow and QED cannot declare it */
    if (r == 0 && !child->parent_format && child->format == QCA_FORMAT_QCOW2)
        r = add(&check, link, QCA_ISSUE_PARENT_FORMAT_MISSING, BACKING_FILE_OFFSET, UINT64_MAX);
    else if (r == 0 && child->parent_format &&
             qca_format_contradicts(declared, link->parent_content, link->parent_variant))
        r = add(&check, link, QCA_ISSUE_PARENT_FORMAT_WRONG, BACKING_FILE_OFFSET, 0);
    if (r == 0 && link->parent_content == parent->format && is_shorter(parent, child))
        r = add(&check, link, QCA_ISSUE_PARENT_SHORTER, BACKING_FILE_OFFSET, parent->virtual_size);
    if (r == 0 && link->parent_is_newer)
        r = add(&check, link, QCA_ISSUE_PARENT_NEWER, BACKING_FILE_OFFSET, UINT64_MAX);
    return r;
}
