#include "test/unit/check.h"

#include "catalog/base/buf.h"
#include "catalog/odps.h"

#include <errno.h>

#define HEAD "apiVersion: v1.1.0\nkind: DataProduct\nid: p-1\n"

static const char whole[] = HEAD "name: Orders of all shops\nstatus: active\nteam:\n  name: sales\n  members:\n  - username: ana\n    dateIn: 2024-01-15\n"
				 "description: {purpose: what was ordered}\nproductCreatedTs: 2024-01-15T10:30:00Z\nx-ours: kept\n"
				 "inputPorts:\n- {name: shop, version: 1.0.0, contractId: c-shop}\n- {name: web, contractId: c-web, deprecated: true}\n"
				 "outputPorts:\n- {name: raw, version: 1.0.0, contractId: c-raw, type: tables, description: as it came}\n"
				 "- {name: raw, version: 2.0.0, contractId: c-raw, sbom: [{type: external, url: 'https://x/sbom'}],"
				 " inputContracts: [{id: c-shop, version: 1.0.0}]}\n- {name: clean, contractId: c-clean}\n"
				 "managementPorts:\n- {name: changes, content: dictionary, type: topic}\nsupport:\n- {channel: mail, url: 'mailto:a@example.org'}\n";

static struct odps *parsed(const char *text, struct err *e)
{
	struct odps *p = NULL;
	odps_parse("p.yaml", text, strlen(text), &p, e);
	return p;
}

static void port_is(const struct odps *p, const char *id, const char *version, const char *name, const char *port_version)
{
	struct buf text = BUF_INIT;
	struct contract *c = NULL;
	struct err e = ERR_INIT;
	buf_addf(&text, "kind: DataContract\napiVersion: v3.1.0\nid: %s\nversion: %s\nstatus: active\n", id, version);
	CHECK_OK(contract_parse("c.yaml", buf_text(&text), text.len, &c, &e), &e);
	buf_free(&text);
	const struct odps_port *port = odps_port_of(p, c);
	if (!name) {
		CHECK(!port);
	} else {
		CHECK(port != NULL);
		CHECK_STR(port->name, name);
		CHECK(port_version ? port->version && !strcmp(port->version, port_version) : !port->version);
	}
	contract_unref(c);
}

TEST(a_whole_description)
{
	struct err e = ERR_INIT;
	struct odps *p = parsed(whole, &e);
	const struct odps_port *ports;
	if (!p)
		CHECK_FAIL("%s", e.text);
	CHECK_STR(odps_id(p), "p-1");
	CHECK_STR(odps_name(p), "Orders of all shops");
	CHECK_STR(odps_status(p), "active");
	CHECK_STR(odps_purpose(p), "what was ordered");
	CHECK_INT(odps_outputs(p, &ports), 3);
	CHECK_STR(ports[0].type, "tables");
	CHECK_STR(ports[0].description, "as it came");
	CHECK_INT(odps_inputs(p, &ports), 2);
	CHECK_STR(ports[0].contract_id, "c-shop");
	CHECK(!ports[0].deprecated && ports[1].deprecated);
	odps_free(p);
}

TEST(a_contract_finds_its_port)
{
	struct err e = ERR_INIT;
	struct odps *p = parsed(whole, &e);
	port_is(p, "c-raw", "2.0.0", "raw", "2.0.0");
	port_is(p, "c-raw", "1.0.0", "raw", "1.0.0");
	port_is(p, "c-raw", "3.0.0", "raw", "1.0.0"); /* of no version that is listed: the first of its contract */
	port_is(p, "c-clean", "9.9.9", "clean", NULL);
	port_is(p, "c-shop", "1.0.0", NULL, NULL); /* an input is no output */
	port_is(p, "c-other", "1.0.0", NULL, NULL);
	odps_free(p);
}

TEST(older_forms)
{
	struct err e = ERR_INIT;
	struct odps *p = parsed("apiVersion: v0.9.0\nkind: DataProduct\nid: 'x'\nstatus: draft\nteam:\n- username: bo\n", &e);
	if (!p)
		CHECK_FAIL("%s", e.text);
	CHECK_STR(odps_status(p), "draft");
	odps_free(p);
	p = parsed(HEAD "deprecated: true\nstatus: active\n", &e);
	CHECK_STR(odps_status(p), "deprecated");
	odps_free(p);
}

static void refused(const char *text, const char *position, const char *words)
{
	struct err e = ERR_INIT;
	struct odps *p = parsed(text, &e);
	if (p) {
		odps_free(p);
		CHECK_FAIL("accepted: %s", text);
	}
	if (strncmp(e.text, position, strlen(position)) != 0 || !strstr(e.text, words))
		CHECK_FAIL("error is \"%s\", expected %s … %s", e.text, position, words);
	CHECK_INT(e.kind, ERR_PARSE);
}

TEST(refusals_have_positions)
{
	refused("kind: DataProduct\nid: x\n", "p.yaml:1:1", "must have 'apiVersion'");
	refused("apiVersion: v1.1.0\nid: x\n", "p.yaml:1:1", "must have 'kind'");
	refused("apiVersion: v1.1.0\nkind: DataProduct\n", "p.yaml:1:1", "must have 'id'");
	refused("apiVersion: v1.1.0\nkind: DataContract\nid: x\n", "p.yaml:2:7", "DataProduct");
	refused("apiVersion: v1.2.0\nkind: DataProduct\nid: x\n", "p.yaml:1:13", "did you mean");
	refused("- a\n", "p.yaml:1:", "must be a map");
	refused("", "p.yaml:", "must be a map");
	refused(HEAD "outputPort: []\n", "p.yaml:4:1", "did you mean 'outputPorts'");
	refused(HEAD "outputPorts: {name: x}\n", "p.yaml:4:14", "must be a list of maps");
	refused(HEAD "outputPorts:\n- version: 1.0.0\n", "p.yaml:5:3", "an output port must have 'name'");
	refused(HEAD "outputPorts:\n- name: a\n  contractID: x\n", "p.yaml:6:3", "did you mean 'contractId'");
	refused(HEAD "outputPorts:\n- name: a\n  version: 1.0\n", "p.yaml:6:12", "put it in quotes");
	refused(HEAD "outputPorts:\n- {name: a, version: 1.0.0}\n- {name: a, version: 1.0.0}\n", "p.yaml:6:3", "described twice");
	refused(HEAD "outputPorts:\n- {name: a}\n- {name: a}\n", "p.yaml:6:3", "described twice");
	refused(HEAD "outputPorts:\n- name: a\n  inputContracts:\n  - id: x\n", "p.yaml:7:5", "must have 'version'");
	refused(HEAD "inputPorts:\n- contractId: x\n", "p.yaml:5:3", "an input port must have 'name'");
	refused(HEAD "inputPorts:\n- {name: a, deprecated: perhaps}\n", "p.yaml:5:25", "true or false");
	refused(HEAD "managementPorts:\n- name: a\n", "p.yaml:5:3", "must have 'content'");
	refused(HEAD "support:\n- channel: a\n", "p.yaml:5:3", "must have 'url'");
	refused(HEAD "team:\n  members:\n  - name: a\n", "p.yaml:6:5", "must have 'username'");
	refused(HEAD "team:\n  members:\n  - {username: a, dateIn: yesterday}\n", "p.yaml:6:27", "a date");
	refused(HEAD "customProperties:\n- property: a\n", "p.yaml:5:3", "must have 'value'");
	refused(HEAD "tags: [a, [b]]\n", "p.yaml:4:7", "a list of texts");
	refused(HEAD "productCreatedTs: soon\n", "p.yaml:4:19", "a date and time");
}

CHECK_MAIN()
