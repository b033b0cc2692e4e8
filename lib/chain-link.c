/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Oddities between a layer and its parent, each of which is sound by itself: issues of the layer's
 * header. */
#include <errno.h>
#include <stdlib.h>

#include "bytes.h"
#include "check.h"
#include "format.h"

/* At the place of the header that names the other file. */
static int add(struct check *check, const struct qca_chain_link *link, enum qca_issue_kind kind,
               enum qca_reference_kind reference, uint64_t from)
{
    const uint64_t size = qca_image_info(link->image)->virtual_size;
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_HEADER);
    struct image_link place = { .offset = 0 };

    (void)image_link_find(link->image, reference, &place);
    issue.layer = link->layer;
    issue.table_offset = 0;
    issue.index = place.offset;
    if (from < size) {
        issue.guest_offset = from;
        issue.guest_length = size - from;
    }
    return check_issue(check, &issue);
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
        r = add(&check, link, QCA_ISSUE_DATA_FILE_REUSED, QCA_REFERENCE_DATA_FILE, 0);
    if (!parent)
        return r;
    if (r == 0 && !child->parent_format && qca_format_has(child->format, QCA_TRAIT_DECLARES_PARENT))
        r = add(&check, link, QCA_ISSUE_PARENT_FORMAT_MISSING, QCA_REFERENCE_PARENT, UINT64_MAX);
    else if (r == 0 && child->parent_format &&
             qca_format_contradicts(declared, link->parent_content, link->parent_variant))
        r = add(&check, link, QCA_ISSUE_PARENT_FORMAT_WRONG, QCA_REFERENCE_PARENT, 0);
    if (r == 0 && link->parent_content == parent->format && is_shorter(parent, child))
        r = add(&check, link, QCA_ISSUE_PARENT_SHORTER, QCA_REFERENCE_PARENT, parent->virtual_size);
    if (r == 0 && !qca_info_fits_parent(child, parent))
        r = add(&check, link, QCA_ISSUE_PARENT_CHANGED, QCA_REFERENCE_PARENT, UINT64_MAX);
    if (r == 0 && link->parent_is_newer)
        r = add(&check, link, QCA_ISSUE_PARENT_NEWER, QCA_REFERENCE_PARENT, UINT64_MAX);
    return r;
}
