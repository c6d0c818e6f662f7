#include "fs/show_ports.h"

#include "catalog/base/text.h"
#include "catalog/odps.h"
#include "fs/browse.h"

#include <stdlib.h>
#include <string.h>

/* "rawtransactions 1.0.0, tables, deprecated" */
static void port_words(const struct odps_port *p, struct buf *out)
{
	browse_add_safe(out, p->name);
	if (p->version) {
		buf_addc(out, ' ');
		browse_add_safe(out, p->version);
	}
	if (p->type) {
		buf_adds(out, ", ");
		browse_add_safe(out, p->type);
	}
	if (p->deprecated)
		buf_adds(out, ", deprecated");
}

static void product_words(const struct odps *p, struct buf *out)
{
	browse_add_safe(out, odps_name(p) ? odps_name(p) : odps_id(p));
	if (odps_status(p)) {
		buf_adds(out, ", ");
		browse_add_safe(out, odps_status(p));
	}
}

static void port_json(struct json *j, const struct odps_port *p)
{
	json_open(j, '{');
	json_field_text(j, "name", p->name);
	json_field_text(j, "version", p->version);
	json_field_text(j, "contract_id", p->contract_id);
	json_field_text(j, "type", p->type);
	json_field_text(j, "description", p->description);
	json_field_bool(j, "deprecated", p->deprecated);
	json_close(j, '}');
}

void show_ports_json(struct snapshot *s, const struct contract *c, struct json *j)
{
	struct odps *p = NULL;
	const struct odps_port *inputs;
	json_key(j, "data_product");
	if (odps_find(s, c, &p)) {
		json_null(j);
		return;
	}
	json_open(j, '{');
	json_field_text(j, "id", odps_id(p));
	json_field_text(j, "name", odps_name(p));
	json_field_text(j, "status", odps_status(p));
	json_field_text(j, "purpose", odps_purpose(p));
	json_key(j, "output_port");
	port_json(j, odps_port_of(p, c));
	json_key(j, "input_ports");
	json_open(j, '[');
	size_t count = odps_inputs(p, &inputs);
	for (size_t i = 0; i < count; i++)
		port_json(j, &inputs[i]);
	json_close(j, ']');
	json_close(j, '}');
	odps_free(p);
}

void show_ports_lines(struct snapshot *s, const struct contract *c, struct buf *out)
{
	struct odps *p = NULL;
	const struct odps_port *inputs;
	if (odps_find(s, c, &p))
		return;
	buf_addf(out, "%-13s ", "data product");
	product_words(p, out);
	buf_addf(out, "\n%-13s ", "output port");
	port_words(odps_port_of(p, c), out);
	buf_addc(out, '\n');
	size_t count = odps_inputs(p, &inputs);
	for (size_t i = 0; i < count; i++) {
		buf_addf(out, "%-13s ", i ? "" : "input ports");
		port_words(&inputs[i], out);
		buf_addc(out, '\n');
	}
	odps_free(p);
}

void show_ports_readme(struct snapshot *s, const struct contract *c, struct buf *out)
{
	struct odps *p = NULL;
	const struct odps_port *inputs;
	if (odps_find(s, c, &p))
		return;
	const struct odps_port *port = odps_port_of(p, c);
	buf_adds(out, "\n## Ports\nThis is the output port `");
	port_words(port, out);
	buf_adds(out, "` of the data product ");
	product_words(p, out);
	buf_adds(out, ".\n");
	if (port->description) {
		buf_addc(out, '\n');
		browse_add_safe(out, port->description);
		buf_addc(out, '\n');
	}
	size_t count = odps_inputs(p, &inputs);
	for (size_t i = 0; i < count; i++) {
		buf_adds(out, i ? "- " : "\nMade from:\n- ");
		port_words(&inputs[i], out);
		buf_addc(out, '\n');
	}
	odps_free(p);
}
