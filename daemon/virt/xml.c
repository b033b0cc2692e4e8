/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Documents opened within bounds, elements and attributes looked up in them. */
#include "daemon/virt/xml.h"

#include <errno.h>
#include <string.h>

#include "daemon/virt/library.h"
#include "lib/cleanup.h"

/* No entity of the document's own making is ever looked at: libvirt writes none. */
static void on_document_type(void *context, const xmlChar *name, const xmlChar *id,
                             const xmlChar *uri)
{
    xmlParserCtxt *parser = context;

    parser->wellFormed = 0;
    sym_xmlStopParser(parser);
}

int virt_xml_open(const char *text, const char *root, struct virt_xml *ret_xml)
{
    size_t n = strnlen(text, VIRT_XML_MAX + 1);
    const xmlNode *outermost;
    xmlParserCtxt *parser;
    xmlDoc *document;
    bool no_memory;

    if (n > VIRT_XML_MAX)
        return -E2BIG;
    parser = sym_xmlNewParserCtxt();
    if (!parser)
        return -ENOMEM;
    parser->sax->internalSubset = on_document_type;
    parser->sax->warning = NULL;
    parser->sax->error = NULL;
    parser->sax->serror = NULL;
    document = sym_xmlCtxtReadMemory(parser, text, (int)n, NULL, NULL,
                                     XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
                                     XML_PARSE_COMPACT);
    no_memory = parser->errNo == XML_ERR_NO_MEMORY;
    sym_xmlFreeParserCtxt(parser);
    if (!document)
        return no_memory ? -ENOMEM : -EBADMSG;
    outermost = sym_xmlDocGetRootElement(document);
    if (!virt_xml_is(outermost, root)) {
        sym_xmlFreeDoc(document);
        return -EBADMSG;
    }
    *ret_xml = (struct virt_xml){ .document = document, .root = outermost };
    return 0;
}

void virt_xml_close(struct virt_xml *xml)
{
    sym_xmlFreeDoc(xml->document);
    xml->document = NULL;
}

bool virt_xml_is(const xmlNode *node, const char *name)
{
    return node && node->type == XML_ELEMENT_NODE && !node->ns &&
           strcmp((const char *)node->name, name) == 0;
}

static const xmlNode *find(const xmlNode *node, const char *name)
{
    while (node && !virt_xml_is(node, name))
        node = node->next;
    return node;
}

const xmlNode *virt_xml_child(const xmlNode *node, const char *name)
{
    return node ? find(node->children, name) : NULL;
}

const xmlNode *virt_xml_next(const xmlNode *node, const char *name)
{
    return node ? find(node->next, name) : NULL;
}

/* Takes the library's text. */
static char *text_take(struct virt_xml *xml, xmlChar *taken)
{
    size_t n = strlen((const char *)taken);
    char *text = NULL;

    if (n > VIRT_TEXT_MAX) {
        xml->n_left_out++;
    } else if (n > 0) {
        text = strdup((const char *)taken);
        if (!text)
            xml->no_memory = true;
    }
    (*sym_xmlFree)(taken);
    return text;
}

static const xmlAttr *attribute_find(const xmlNode *node, const char *name)
{
    for (const xmlAttr *attribute = node ? node->properties : NULL; attribute;
         attribute = attribute->next)
        if (!attribute->ns && strcmp((const char *)attribute->name, name) == 0)
            return attribute;
    return NULL;
}

char *virt_xml_attribute(struct virt_xml *xml, const xmlNode *node, const char *name)
{
    const xmlAttr *attribute = attribute_find(node, name);
    xmlChar *value;

    if (!attribute || !attribute->children)
        return NULL;
    value = sym_xmlNodeListGetString(xml->document, attribute->children, 1);
    if (!value) {
        xml->no_memory = true;
        return NULL;
    }
    return text_take(xml, value);
}

char *virt_xml_text(struct virt_xml *xml, const xmlNode *node)
{
    xmlChar *value = node && node->children ? sym_xmlNodeGetContent(node) : NULL;

    return value ? text_take(xml, value) : NULL;
}

char *virt_xml_path(struct virt_xml *xml, const xmlNode *node, const char *attribute)
{
    char *path = attribute ? virt_xml_attribute(xml, node, attribute) : virt_xml_text(xml, node);

    if (path && path[0] != '/') {
        free(path);
        return NULL;
    }
    return path;
}

bool virt_xml_attribute_is(const xmlNode *node, const char *name, const char *value)
{
    const xmlAttr *attribute = attribute_find(node, name);

    return attribute && attribute->children && attribute->children->type == XML_TEXT_NODE &&
           attribute->children->content &&
           strcmp((const char *)attribute->children->content, value) == 0;
}

uint64_t virt_xml_size(struct virt_xml *xml, const xmlNode *node)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {
        { "b", 1 }, { "bytes", 1 }, { "KB", 1000 }, { "k", 1 << 10 }, { "KiB", 1 << 10 },
        { "MB", 1000000 },
        { "M", 1 << 20 }, { "MiB", 1 << 20 }, { "GB", 1000000000 }, { "G", 1 << 30 },
        { "GiB", 1 << 30 },
        { "TB", UINT64_C(1000000000000) }, { "T", UINT64_C(1) << 40 }, { "TiB", UINT64_C(1) << 40 },
    };
    _cleanup_free_ char *text = virt_xml_text(xml, node),
                        *unit = virt_xml_attribute(xml, node, "unit");
    uint64_t factor = unit ? 0 : 1, value;
    const char *digits = text;
    char *end;

    if (!text)
        return 0;
    for (size_t i = 0; unit && i < ELEMENTSOF(units); i++)
        if (strcmp(units[i].name, unit) == 0)
            factor = units[i].bytes;
    digits += strspn(digits, " \t\n");
    if (*digits < '0' || *digits > '9')
        return 0;
    errno = 0;
    value = strtoull(digits, &end, 10);
    if (errno != 0 || end[strspn(end, " \t\n")] || __builtin_mul_overflow(value, factor, &value))
        return 0;
    return value;
}

int virt_xml_uuid(struct virt_xml *xml, const xmlNode *node, char ret_uuid[static 37])
{
    _cleanup_free_ char *text = virt_xml_text(xml, node);

    if (!text || strlen(text) != 36 || text[strspn(text, "0123456789abcdefABCDEF-")])
        return xml->no_memory ? -ENOMEM : -EBADMSG;
    memcpy(ret_uuid, text, 37);
    return 0;
}
