/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <domain>: its disks with their chains, and the other files it uses. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/virt/xml.h"
#include "lib/cleanup.h"

#define DEPTH_MAX 32            /* of elements below a device, looked through for files */

DEFINE_CLEANUP(struct virt_body *, virt_body_unref)

/* ---- layers ---------------------------------------------------------------------------------- */

static void layer_read_network(struct virt_xml *xml, const xmlNode *source,
                               struct virt_layer *layer)
{
    _cleanup_free_ char *protocol = virt_xml_attribute(xml, source, "protocol");
    _cleanup_free_ char *name = virt_xml_attribute(xml, source, "name");

    if (asprintf(&layer->name, "%s:%s", protocol ?: "network", name ?: "") < 0) {
        layer->name = NULL;
        xml->no_memory = true;
    }
}

/* node: <disk>, <backingStore> or <mirror>. */
static void layer_read(struct virt_xml *xml, const xmlNode *node, struct virt_layer *layer)
{
    const xmlNode *source = virt_xml_child(node, "source"),
                  *data = virt_xml_child(source, "dataStore");
    _cleanup_free_ char *type = virt_xml_attribute(xml, node, "type");
    const char *kind = type ?: "file";

    layer->format = virt_xml_is(node, "disk")
                        ? virt_xml_attribute(xml, virt_xml_child(node, "driver"), "type")
                        : virt_xml_attribute(xml, virt_xml_child(node, "format"), "type");
    layer->data_file = virt_xml_path(xml, virt_xml_child(data, "source"), "file");
    if (data && !layer->data_file)
        layer->data_file = virt_xml_path(xml, virt_xml_child(data, "source"), "dev");
    if (!source) {
        layer->source = VIRT_SOURCE_NONE;
    } else if (strcmp(kind, "file") == 0) {
        layer->path = virt_xml_path(xml, source, "file");
        layer->source = layer->path ? VIRT_SOURCE_FILE : VIRT_SOURCE_NONE;
    } else if (strcmp(kind, "block") == 0) {
        layer->path = virt_xml_path(xml, source, "dev");
        layer->source = layer->path ? VIRT_SOURCE_BLOCK : VIRT_SOURCE_NONE;
    } else if (strcmp(kind, "volume") == 0) {
        layer->source = VIRT_SOURCE_VOLUME;
        layer->pool = virt_xml_attribute(xml, source, "pool");
        layer->volume = virt_xml_attribute(xml, source, "volume");
    } else if (strcmp(kind, "network") == 0) {
        layer->source = VIRT_SOURCE_NETWORK;
        layer_read_network(xml, source, layer);
    } else {
        layer->source = VIRT_SOURCE_OTHER;
    }
}

static bool disk_add_layer(struct virt_xml *xml, const xmlNode *node, struct virt_disk *disk,
                           size_t *n_allocated)
{
    if (disk->n_layers == VIRT_LAYERS_MAX) {
        xml->n_left_out++;
        return false;
    }
    if (disk->n_layers == *n_allocated) {
        size_t n = *n_allocated ? 2 * *n_allocated : 2;
        struct virt_layer *layers = reallocarray(disk->layers, n, sizeof(*layers));

        if (!layers) {
            xml->no_memory = true;
            return false;
        }
        disk->layers = layers;
        *n_allocated = n;
    }
    disk->layers[disk->n_layers] = (struct virt_layer){ 0 };
    layer_read(xml, node, &disk->layers[disk->n_layers++]);
    return true;
}

static void disk_read_chain(struct virt_xml *xml, const xmlNode *node, struct virt_disk *disk)
{
    size_t n_allocated = 0;

    while (disk_add_layer(xml, node, disk, &n_allocated)) {
        node = virt_xml_child(node, "backingStore");
        if (!node)
            return;
        if (!virt_xml_child(node, "source")) {  /* <backingStore/>: libvirt looked, and there is
                                                 * no more */
            disk->complete = true;
            return;
        }
    }
}

/* ---- disks ----------------------------------------------------------------------------------- */

/* Commits of the active layer and copies are in the XML, the other jobs are not. */
static void disk_read_mirror(struct virt_xml *xml, const xmlNode *mirror, struct virt_disk *disk)
{
    const xmlNode *source = virt_xml_child(mirror, "source");

    if (!mirror)
        return;
    disk->job.type = virt_xml_attribute(xml, mirror, "job");
    if (!disk->job.type && !(disk->job.type = strdup("copy")))  /* before it said which */
        xml->no_memory = true;
    disk->job.ready = virt_xml_attribute_is(mirror, "ready", "yes");
    disk->job.mirror = virt_xml_path(xml, source, "file");
    if (!disk->job.mirror)
        disk->job.mirror = virt_xml_path(xml, source, "dev");
    if (!disk->job.mirror)
        disk->job.mirror = virt_xml_path(xml, mirror, "file");
}

static void disk_read(struct virt_xml *xml, const xmlNode *node, struct virt_disk *disk)
{
    disk->device = virt_xml_attribute(xml, node, "device");
    if (!disk->device && !(disk->device = strdup("disk")))
        xml->no_memory = true;
    disk->read_only = virt_xml_child(node, "readonly");
    disk->shareable = virt_xml_child(node, "shareable");
    disk->transient = virt_xml_child(node, "transient");
    disk_read_chain(xml, node, disk);
    disk_read_mirror(xml, virt_xml_child(node, "mirror"), disk);
}

static int compare_disks(const void *a, const void *b)
{
    const struct virt_disk *disk_a = a, *disk_b = b;

    return strcmp(disk_a->target, disk_b->target);
}

static void disks_read(struct virt_xml *xml, const xmlNode *devices, struct virt_disk **disks,
                       size_t *n_disks)
{
    size_t n = 0;

    for (const xmlNode *node = virt_xml_child(devices, "disk"); node;
         node = virt_xml_next(node, "disk"))
        n++;
    if (n > VIRT_DISKS_MAX) {
        xml->n_left_out += n - VIRT_DISKS_MAX;
        n = VIRT_DISKS_MAX;
    }
    *disks = calloc(n + 1, sizeof(**disks));
    if (!*disks) {
        xml->no_memory = true;
        return;
    }
    for (const xmlNode *node = virt_xml_child(devices, "disk"); node && *n_disks < n;
         node = virt_xml_next(node, "disk")) {
        struct virt_disk *disk = &(*disks)[*n_disks];

        disk->target = virt_xml_attribute(xml, virt_xml_child(node, "target"), "dev");
        if (!disk->target) {    /* nothing can be said of it */
            xml->n_left_out++;
            continue;
        }
        ++*n_disks;
        disk_read(xml, node, disk);
    }
    qsort(*disks, *n_disks, sizeof(**disks), compare_disks);
}

/* ---- other files ----------------------------------------------------------------------------- */

/* Takes path, which may be NULL. */
static void files_add(struct virt_xml *xml, struct virt_body *body, char *path)
{
    char **files;

    if (!path)
        return;
    if (body->n_files == VIRT_FILES_MAX) {
        xml->n_left_out++;
        free(path);
        return;
    }
    files = reallocarray(body->files, body->n_files + 2, sizeof(*files));
    if (!files) {
        xml->no_memory = true;
        free(path);
        return;
    }
    body->files = files;
    files[body->n_files++] = path;
    files[body->n_files] = NULL;
}

static void files_read_os(struct virt_xml *xml, const xmlNode *os, struct virt_body *body)
{
    static const char *const texts[] = { "kernel", "initrd", "dtb", "loader", "nvram" };
    const xmlNode *nvram = virt_xml_child(os, "nvram");
    const xmlNode *acpi = virt_xml_child(os, "acpi");

    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        files_add(xml, body, virt_xml_path(xml, virt_xml_child(os, texts[i]), NULL));
    files_add(xml, body, virt_xml_path(xml, nvram, "template"));
    files_add(xml, body, virt_xml_path(xml, virt_xml_child(nvram, "source"), "file"));
    files_add(xml, body, virt_xml_path(xml, virt_xml_child(nvram, "source"), "dev"));
    for (const xmlNode *table = virt_xml_child(acpi, "table"); table;
         table = virt_xml_next(table, "table"))
        files_add(xml, body, virt_xml_path(xml, table, NULL));
}

/* <source file=..>, <source path=..>, <source><path>.., <rom file=..> of whatever device. */
static void files_read_device(struct virt_xml *xml, const xmlNode *node, struct virt_body *body,
                              unsigned depth)
{
    for (; node; node = node->next) {
        if (node->type != XML_ELEMENT_NODE || (depth == 0 && virt_xml_is(node, "disk")))
            continue;
        if (virt_xml_is(node, "source") || virt_xml_is(node, "rom")) {
            files_add(xml, body, virt_xml_path(xml, node, "file"));
            files_add(xml, body, virt_xml_path(xml, node, "path"));
            files_add(xml, body, virt_xml_path(xml, virt_xml_child(node, "path"), NULL));
        }
        if (depth < DEPTH_MAX)
            files_read_device(xml, node->children, body, depth + 1);
    }
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In order, each once. */
static void files_sort(struct virt_body *body)
{
    size_t n = 0;

    if (body->n_files == 0)
        return;
    qsort(body->files, body->n_files, sizeof(*body->files), compare_texts);
    for (size_t i = 0; i < body->n_files; i++)
        if (n > 0 && strcmp(body->files[n - 1], body->files[i]) == 0)
            free(body->files[i]);
        else
            body->files[n++] = body->files[i];
    body->files[n] = NULL;
    body->n_files = n;
}

static void files_read(struct virt_xml *xml, const xmlNode *domain, struct virt_body *body)
{
    const xmlNode *devices = virt_xml_child(domain, "devices");

    files_read_os(xml, virt_xml_child(domain, "os"), body);
    if (devices)
        files_read_device(xml, devices->children, body, 0);
}

/* ---- the domain ------------------------------------------------------------------------------ */

static int body_read_live(struct virt_xml *xml, struct virt_body *body)
{
    const xmlNode *domain = xml->root;
    int r;

    r = virt_xml_uuid(xml, virt_xml_child(domain, "uuid"), body->uuid);
    if (r < 0)
        return r;
    body->name = virt_xml_text(xml, virt_xml_child(domain, "name"));
    if (!body->name)
        return xml->no_memory ? -ENOMEM : -EBADMSG;
    body->memory_max = virt_xml_size(xml, virt_xml_child(domain, "memory"));
    disks_read(xml, virt_xml_child(domain, "devices"), &body->disks, &body->n_disks);
    files_read(xml, domain, body);
    return 0;
}

static int body_read_defined(struct virt_xml *xml, struct virt_body *body)
{
    const xmlNode *domain = xml->root;

    disks_read(xml, virt_xml_child(domain, "devices"), &body->defined_disks,
               &body->n_defined_disks);
    files_read(xml, domain, body);
    return 0;
}

static int body_add(const char *text, int (*add)(struct virt_xml *xml, struct virt_body *body),
                    struct virt_body *body)
{
    _cleanup_(virt_xml_close) struct virt_xml xml = { 0 };
    int r;

    r = virt_xml_open(text, "domain", &xml);
    if (r >= 0)
        r = add(&xml, body);
    if (r >= 0 && xml.no_memory)
        r = -ENOMEM;
    body->n_left_out += xml.n_left_out;
    return r;
}

int virt_xml_body(const char *live, const char *defined, struct virt_body **ret_body)
{
    _cleanup_(virt_body_unrefp) struct virt_body *body = calloc(1, sizeof(*body));
    int r;

    if (!body)
        return -ENOMEM;
    body->refs = 1;
    r = body_add(live, body_read_live, body);
    if (r >= 0 && defined)
        r = body_add(defined, body_read_defined, body);
    if (r >= 0 && !body->files && !(body->files = calloc(1, sizeof(*body->files))))
        r = -ENOMEM;
    if (r < 0)
        return r;
    files_sort(body);
    *ret_body = TAKE_PTR(body);
    return 0;
}
