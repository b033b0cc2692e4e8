/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <pool>: where its volumes are. */
#include <errno.h>
#include <string.h>

#include "daemon/virt/xml.h"
#include "lib/cleanup.h"

enum virt_pool_kind virt_pool_kind(const char *type)
{
    static const struct {
        const char *type;
        enum virt_pool_kind kind;
    } types[] = {
        { "dir", VIRT_POOL_FILES }, { "fs", VIRT_POOL_FILES }, { "netfs", VIRT_POOL_FILES },
        { "vstorage", VIRT_POOL_FILES }, { "logical", VIRT_POOL_DEVICES },
        { "disk", VIRT_POOL_DEVICES },
        { "iscsi", VIRT_POOL_DEVICES }, { "scsi", VIRT_POOL_DEVICES },
        { "mpath", VIRT_POOL_DEVICES },
        { "zfs", VIRT_POOL_DEVICES },
    };

    for (size_t i = 0; i < ELEMENTSOF(types); i++)
        if (strcmp(types[i].type, type) == 0)
            return types[i].kind;
    return VIRT_POOL_NETWORK;
}

static int pool_read(struct virt_xml *xml, struct virt_pool *pool)
{
    const xmlNode *root = xml->root;
    int r;

    pool->type = virt_xml_attribute(xml, root, "type");
    pool->name = virt_xml_text(xml, virt_xml_child(root, "name"));
    if (!pool->type || !pool->name)
        return -EBADMSG;
    r = virt_xml_uuid(xml, virt_xml_child(root, "uuid"), pool->uuid);
    if (r < 0)
        return r;
    pool->capacity = virt_xml_size(xml, virt_xml_child(root, "capacity"));
    pool->allocation = virt_xml_size(xml, virt_xml_child(root, "allocation"));
    pool->available = virt_xml_size(xml, virt_xml_child(root, "available"));
    if (virt_pool_kind(pool->type) != VIRT_POOL_NETWORK)
        pool->path = virt_xml_path(xml, virt_xml_child(virt_xml_child(root, "target"), "path"),
                                   NULL);
    pool->auditable = pool->path != NULL;
    return 0;
}

int virt_xml_pool(const char *text, struct virt_pool *ret_pool)
{
    _cleanup_(virt_xml_close) struct virt_xml xml = { 0 };
    _cleanup_(virt_pool_done) struct virt_pool pool = { 0 };
    int r;

    r = virt_xml_open(text, "pool", &xml);
    if (r >= 0)
        r = pool_read(&xml, &pool);
    if (xml.no_memory)
        r = -ENOMEM;
    if (r < 0)
        return r;
    *ret_pool = pool;
    pool = (struct virt_pool){ 0 };
    return 0;
}
