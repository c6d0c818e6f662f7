#include "catalog/odps.h"

#include "catalog/domain.h"
#include "catalog/shape.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PORTS_MAX 10000u

struct ports {
	struct odps_port *items;
	size_t count;
};

struct odps {
	struct doc *doc;
	struct ports outputs, inputs;
};

/* -- the shapes of the standard ------------------------------------------------------------------ */

static const struct shape synonym = {
	"a synonym",
	FIELDS(OPTIONAL("id", TEXT), REQUIRED("synonym", TEXT), OPTIONAL("description", TEXT), OPTIONAL("locale", TEXT), OPTIONAL("source", TEXT),
	       OPTIONAL("status", TEXT), CUSTOM),
	NULL
};

static const struct shape statement = {
	"a verified statement",
	FIELDS(OPTIONAL("id", TEXT), REQUIRED("question", TEXT), OPTIONAL("answer", TEXT), DEFINITIONS, OPTIONAL("tags", TEXTS), CUSTOM), NULL
};

static const struct shape constraint = {
	"a constraint", FIELDS(OPTIONAL("id", TEXT), REQUIRED("constraint", TEXT), DEFINITIONS, OPTIONAL("tags", TEXTS), CUSTOM), NULL
};

static const struct shape context = {
	"'context'",
	FIELDS(OPTIONAL("instructions", TEXT), OF_SHAPE("verifiedStatements", SHAPES, statement), OF_SHAPE("constraints", SHAPES, constraint)), NULL
};

static const struct shape input_port = {
	"an input port",
	FIELDS(OPTIONAL("id", TEXT), REQUIRED("name", TEXT), OPTIONAL("deprecated", FLAG), OPTIONAL("version", TEXT), OPTIONAL("contractId", TEXT),
	       OPTIONAL("tags", TEXTS), CUSTOM, DEFINITIONS),
	NULL
};

static const struct shape input_contract = { "an input contract", FIELDS(REQUIRED("id", TEXT), REQUIRED("version", TEXT)), NULL };
static const struct shape sbom = { "an entry of 'sbom'", FIELDS(OPTIONAL("id", TEXT), OPTIONAL("type", TEXT), OPTIONAL("url", TEXT)), NULL };

static const struct shape output_port = {
	"an output port",
	FIELDS(OPTIONAL("id", TEXT), REQUIRED("name", TEXT), OPTIONAL("deprecated", FLAG), OPTIONAL("description", TEXT), OPTIONAL("type", TEXT),
	       OPTIONAL("version", TEXT), OPTIONAL("contractId", TEXT), OF_SHAPE("sbom", SHAPES, sbom),
	       OF_SHAPE("inputContracts", SHAPES, input_contract), OF_SHAPE("synonyms", SHAPES, synonym), OPTIONAL("tags", TEXTS), CUSTOM, DEFINITIONS,
	       OF_SHAPE("context", SHAPE, context)),
	NULL
};

static const struct shape management_port = {
	"a management port",
	FIELDS(OPTIONAL("id", TEXT), REQUIRED("name", TEXT), REQUIRED("content", TEXT), OPTIONAL("deprecated", FLAG), OPTIONAL("type", TEXT),
	       OPTIONAL("url", TEXT), OPTIONAL("channel", TEXT), OPTIONAL("description", TEXT), OPTIONAL("tags", TEXTS), CUSTOM, DEFINITIONS),
	NULL
};

static const struct shape support = {
	"a support channel",
	FIELDS(OPTIONAL("id", TEXT), REQUIRED("channel", TEXT), REQUIRED("url", TEXT), OPTIONAL("description", TEXT), OPTIONAL("tool", TEXT),
	       OPTIONAL("scope", TEXT), OPTIONAL("invitationUrl", TEXT), OPTIONAL("tags", TEXTS), CUSTOM, DEFINITIONS),
	NULL
};

static const struct shape description = {
	"'description'",
	FIELDS(OPTIONAL("purpose", TEXT), OPTIONAL("limitations", TEXT), OPTIONAL("usage", TEXT), DEFINITIONS, CUSTOM), NULL
};

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* Name and version together are an output port's key. */
static int check_outputs(struct checker *k, const struct doc_node *outputs)
{
	for (size_t i = 0; i < doc_count(outputs); i++)
		for (size_t other = 0; other < i; other++) {
			const struct doc_node *a = doc_item(outputs, i), *b = doc_item(outputs, other);
			if (same_text(doc_get_text(a, "name"), doc_get_text(b, "name")) && same_text(doc_get_text(a, "version"), doc_get_text(b, "version")))
				return shape_bad(k, a, "output port '%s' is described twice in this version", doc_get_text(a, "name"));
		}
	return 0;
}

static int check_whole(struct checker *k, const struct doc_node *n)
{
	static const char *const lists[] = { "outputPorts", "inputPorts" };
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		if (doc_count(doc_get(n, lists[i])) > PORTS_MAX)
			return shape_bad(k, doc_get(n, lists[i]), "more than %u ports", PORTS_MAX);
	int r = check_outputs(k, doc_get(n, "outputPorts"));
	return r ? r : shape_check_team(k, n);
}

static const struct shape product = {
	"a data product",
	FIELDS({ "apiVersion", TEXT, true, NULL, ALLOWED("v1.1.0", "v1.0.0", "v0.9.0") }, { "kind", TEXT, true, NULL, ALLOWED("DataProduct") },
	       REQUIRED("id", TEXT), OPTIONAL("name", TEXT), OPTIONAL("deprecated", FLAG), OF_SHAPE("synonyms", SHAPES, synonym),
	       OPTIONAL("version", TEXT), OPTIONAL("status", TEXT), OPTIONAL("domain", TEXT), OPTIONAL("type", TEXT),
	       OF_SHAPE("context", SHAPE, context), OPTIONAL("tenant", TEXT), DEFINITIONS, OF_SHAPE("description", SHAPE, description), CUSTOM,
	       OPTIONAL("tags", TEXTS), OF_SHAPE("inputPorts", SHAPES, input_port), OF_SHAPE("outputPorts", SHAPES, output_port),
	       OF_SHAPE("managementPorts", SHAPES, management_port), OF_SHAPE("support", SHAPES, support), OPTIONAL("team", SOMETHING),
	       OPTIONAL("productCreatedTs", TIME)),
	check_whole
};

/* -- reading ------------------------------------------------------------------------------------------ */

static int read_ports(const struct doc_node *list, struct ports *ret)
{
	ret->items = calloc(doc_count(list) ? doc_count(list) : 1, sizeof *ret->items);
	if (!ret->items)
		return -ENOMEM;
	for (; ret->count < doc_count(list); ret->count++) {
		const struct doc_node *n = doc_item(list, ret->count);
		struct odps_port *p = &ret->items[ret->count];
		*p = (struct odps_port){ doc_get_text(n, "name"), doc_get_text(n, "version"), doc_get_text(n, "contractId"),
					 doc_get_text(n, "description"), doc_get_text(n, "type"), false };
		doc_bool(doc_get(n, "deprecated"), &p->deprecated);
	}
	return 0;
}

int odps_parse(const char *name, const char *text, size_t len, struct odps **ret, struct err *e)
{
	struct odps *p = calloc(1, sizeof *p);
	int r = p ? doc_parse(name, text, len, &p->doc, e) : err_set(e, -ENOMEM, "out of memory");
	if (!r && doc_kind(doc_root(p->doc)) != DOC_MAP)
		r = doc_err(p->doc, doc_root(p->doc), e, "a data product must be a map");
	if (!r)
		r = shape_check_doc(p->doc, &product, e);
	if (!r && (read_ports(doc_get(doc_root(p->doc), "outputPorts"), &p->outputs) || read_ports(doc_get(doc_root(p->doc), "inputPorts"), &p->inputs)))
		r = err_set(e, -ENOMEM, "out of memory");
	if (r) {
		odps_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void odps_free(struct odps *p)
{
	if (!p)
		return;
	free(p->outputs.items);
	free(p->inputs.items);
	doc_free(p->doc);
	free(p);
}

static const char *field(const struct odps *p, const char *key)
{
	return doc_get_text(doc_root(p->doc), key);
}

const char *odps_id(const struct odps *p)
{
	return field(p, "id");
}

const char *odps_name(const struct odps *p)
{
	return field(p, "name");
}

const char *odps_purpose(const struct odps *p)
{
	return doc_text(doc_path(doc_root(p->doc), "description.purpose"));
}

const char *odps_status(const struct odps *p)
{
	bool deprecated = false;
	doc_bool(doc_get(doc_root(p->doc), "deprecated"), &deprecated);
	return deprecated ? "deprecated" : field(p, "status");
}

size_t odps_outputs(const struct odps *p, const struct odps_port **ret)
{
	*ret = p->outputs.items;
	return p->outputs.count;
}

size_t odps_inputs(const struct odps *p, const struct odps_port **ret)
{
	*ret = p->inputs.items;
	return p->inputs.count;
}

const struct odps_port *odps_port_of(const struct odps *p, const struct contract *c)
{
	const struct doc_node *root = doc_root(contract_doc(c));
	const char *id = doc_get_text(root, "id"), *version = doc_get_text(root, "version");
	const struct odps_port *found = NULL;
	for (size_t i = 0; id && i < p->outputs.count; i++) {
		const struct odps_port *port = &p->outputs.items[i];
		if (!port->contract_id || strcmp(port->contract_id, id) != 0)
			continue;
		if (port->version && version && !strcmp(port->version, version))
			return port;
		if (!found)
			found = port;
	}
	return found;
}

struct search {
	const struct contract *contract;
	struct odps *found;
};

static int look(void *arg, const char *id, const char *text, size_t len)
{
	struct search *x = arg;
	struct odps *p = NULL;
	if (odps_parse(id, text, len, &p, NULL))
		return 0;
	if (odps_port_of(p, x->contract)) {
		x->found = p;
		return 1;
	}
	odps_free(p);
	return 0;
}

int odps_find(struct snapshot *s, const struct contract *c, struct odps **ret)
{
	struct search x = { c, NULL };
	int r = snapshot_descriptions(s, look, &x);
	if (r < 0 || !x.found)
		return r < 0 ? r : -ENOENT;
	*ret = x.found;
	return 0;
}
