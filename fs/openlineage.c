#include "fs/openlineage.h"

#include "catalog/base/clock.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/lineage.h"
#include "fs/openlineage_view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_SCHEMA "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"

struct emit {
	struct lineage *l;
	const struct mesh_config *mesh;
	const struct openlineage_contracts *contracts;
	const struct lineage_run_row *run;
	char *namespace_name;
	struct json j;
	struct err *e;
};

/* -- datasets -------------------------------------------------------------------------------- */

static void schema_facet(struct json *j, const struct contract *c)
{
	static const char *const types[] = { NULL, "string", "date", "timestamp", "time", "number", "integer", "object", "array", "boolean" };
	const struct contract_object *objects;
	size_t count = contract_objects(c, &objects);
	openlineage_facet(j, "schema", "1-2-0/SchemaDatasetFacet.json");
	json_key(j, "fields");
	json_open(j, '[');
	for (size_t o = 0; o < count; o++) {
		for (size_t i = 0; i < objects[o].column_count; i++) {
			const struct contract_column *column = &objects[o].columns[i];
			json_open(j, '{');
			json_field_text(j, "name", column->name);
			if (types[column->type])
				json_field_text(j, "type", types[column->type]);
			json_close(j, '}');
		}
	}
	json_close(j, ']');
	json_close(j, '}');
}

static void ownership_facet(struct json *j, const struct contract *c, const struct mesh_domain *domain)
{
	const char *const *team;
	size_t count = c ? contract_team(c, &team) : 0;
	if (!count && !(domain && domain->owner))
		return;
	openlineage_facet(j, "ownership", "1-0-1/OwnershipDatasetFacet.json");
	json_key(j, "owners");
	json_open(j, '[');
	if (domain && domain->owner) {
		json_open(j, '{');
		json_field_text(j, "name", domain->owner);
		json_field_text(j, "type", "OWNER");
		json_close(j, '}');
	}
	for (size_t i = 0; i < count; i++) {
		json_open(j, '{');
		json_field_text(j, "name", team[i]);
		json_field_text(j, "type", "TEAM");
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

/* Opens a dataset and writes its facets; the caller adds input facets and closes it. */
static void dataset(struct emit *m, const char *address, const char *version, const char *view)
{
	struct json *j = &m->j;
	struct contract *c = m->contracts->get(m->contracts->arg, address);
	char *domain_name = strndup(address, strcspn(address, "/"));
	const struct mesh_domain *domain = domain_name ? mesh_domain_find(m->mesh, domain_name) : NULL;
	json_open(j, '{');
	json_field_text(j, "namespace", m->namespace_name);
	json_field_text(j, "name", address);
	json_key(j, "facets");
	json_open(j, '{');
	openlineage_facet(j, "version", "1-0-1/DatasetVersionDatasetFacet.json");
	json_field_text(j, "datasetVersion", version);
	json_close(j, '}');
	if (domain) {
		openlineage_facet(j, "dataSource", "1-0-1/DatasourceDatasetFacet.json");
		json_field_text(j, "name", domain->name);
		json_field_text(j, "uri", domain->store);
		json_close(j, '}');
	}
	if (c)
		schema_facet(j, c);
	ownership_facet(j, c, domain);
	openlineage_columns(j, m->namespace_name, address, c, view);
	json_close(j, '}');
	contract_unref(c);
	free(domain_name);
}

/* One entry a version and view: a run may have been served both the whole and a part. */
static int inputs(struct emit *m)
{
	struct db_stmt *s;
	struct json *j = &m->j;
	int r = db_prepare(lineage_db(m->l),
			   "SELECT v.address, v.version, t.text, sum(i.files), sum(i.bytes) FROM inputs i JOIN versions v ON v.id = i.version"
			   " JOIN decisions d ON d.id = i.decision LEFT JOIN transforms t ON t.view = d.view WHERE i.run = ? AND d.outcome = 1"
			   " GROUP BY v.address, d.view ORDER BY v.address, d.view",
			   &s, m->e);
	if (r)
		return r;
	db_bind_int(s, 1, m->run->row);
	json_key(j, "inputs");
	json_open(j, '[');
	while ((r = db_step(s, m->e)) == DB_ROW) {
		dataset(m, db_text(s, 0), db_text(s, 1), db_text(s, 2));
		json_key(j, "inputFacets");
		json_open(j, '{');
		openlineage_facet(j, "inputStatistics", "1-0-0/InputStatisticsInputDatasetFacet.json");
		json_field_int(j, "fileCount", db_int(s, 3));
		json_field_int(j, "size", db_int(s, 4));
		json_close(j, '}');
		openlineage_subset(j, db_text(s, 2));
		json_close(j, '}');
		json_close(j, '}');
	}
	json_close(j, ']');
	db_finalize(s);
	return r;
}

static int outputs(struct emit *m)
{
	struct db_stmt *s;
	struct json *j = &m->j;
	int r = db_prepare(lineage_db(m->l),
			   "SELECT v.address, v.version FROM publications p JOIN versions v ON v.id = p.version WHERE p.run = ? ORDER BY v.address", &s, m->e);
	if (r)
		return r;
	db_bind_text(s, 1, m->run->id);
	json_key(j, "outputs");
	json_open(j, '[');
	while ((r = db_step(s, m->e)) == DB_ROW) {
		dataset(m, db_text(s, 0), db_text(s, 1), NULL);
		json_close(j, '}');
	}
	db_finalize(s);
	if (r)
		return r;
	r = db_prepare(lineage_db(m->l), "SELECT path, sha256, size FROM artifacts WHERE run = ? ORDER BY path, sha256", &s, m->e);
	if (r)
		return r;
	db_bind_text(s, 1, m->run->id);
	while ((r = db_step(s, m->e)) == DB_ROW) {
		char *host = text_format("file://%s", m->run->host ? m->run->host : "localhost");
		json_open(j, '{');
		json_field_text(j, "namespace", host);
		json_field_text(j, "name", db_text(s, 0));
		json_key(j, "facets");
		json_open(j, '{');
		openlineage_facet(j, "version", "1-0-1/DatasetVersionDatasetFacet.json");
		json_field_text(j, "datasetVersion", db_text(s, 1));
		json_close(j, '}');
		json_close(j, '}');
		json_key(j, "outputFacets");
		json_open(j, '{');
		openlineage_facet(j, "outputStatistics", "1-0-2/OutputStatisticsOutputDatasetFacet.json");
		json_field_int(j, "size", db_int(s, 2));
		json_field_int(j, "fileCount", 1);
		json_close(j, '}');
		json_close(j, '}');
		json_close(j, '}');
		free(host);
	}
	json_close(j, ']');
	db_finalize(s);
	return r;
}

/* -- runs ------------------------------------------------------------------------------------ */

static int parent_facet(struct emit *m)
{
	struct db_stmt *s;
	struct json *j = &m->j;
	if (!m->run->parent)
		return 0;
	int r = db_prepare(lineage_db(m->l), "SELECT name FROM runs WHERE uuid = ?", &s, m->e);
	if (r)
		return r;
	db_bind_text(s, 1, m->run->parent);
	r = db_step(s, m->e);
	if (r == DB_ROW) {
		openlineage_facet(j, "parent", "1-2-0/ParentRunFacet.json");
		json_key(j, "run");
		json_open(j, '{');
		json_field_text(j, "runId", m->run->parent);
		json_close(j, '}');
		json_key(j, "job");
		json_open(j, '{');
		json_field_text(j, "namespace", m->namespace_name);
		json_field_text(j, "name", db_text(s, 0));
		json_close(j, '}');
		json_close(j, '}');
	}
	db_finalize(s);
	return r < 0 ? r : 0;
}

static int run_object(struct emit *m)
{
	struct json *j = &m->j;
	json_key(j, "run");
	json_open(j, '{');
	json_field_text(j, "runId", m->run->id);
	json_key(j, "facets");
	json_open(j, '{');
	openlineage_facet(j, "processing_engine", "1-1-1/ProcessingEngineRunFacet.json");
	json_field_text(j, "name", "meshfs");
	json_field_text(j, "version", MESHFS_VERSION);
	json_close(j, '}');
	int r = parent_facet(m);
	json_close(j, '}');
	json_close(j, '}');
	json_key(j, "job");
	json_open(j, '{');
	json_field_text(j, "namespace", m->namespace_name);
	json_field_text(j, "name", m->run->name);
	json_key(j, "facets");
	json_open(j, '{');
	openlineage_facet(j, "jobType", "2-0-4/JobTypeJobFacet.json");
	json_field_text(j, "processingType", "BATCH");
	json_field_text(j, "integration", "MESHFS");
	json_field_text(j, "jobType", m->run->command ? "COMMAND" : "JOB");
	json_close(j, '}');
	json_close(j, '}');
	json_close(j, '}');
	return r;
}

static int event(struct emit *m, const char *type, int64_t when_ns, bool datasets, struct buf *out)
{
	json_start(&m->j, out);
	json_open(&m->j, '{');
	json_field_text(&m->j, "eventType", type);
	json_field_time(&m->j, "eventTime", when_ns);
	json_field_text(&m->j, "producer", OPENLINEAGE_PRODUCER);
	json_field_text(&m->j, "schemaURL", EVENT_SCHEMA);
	int r = run_object(m);
	if (!r && datasets)
		r = inputs(m);
	if (!r && datasets)
		r = outputs(m);
	json_close(&m->j, '}');
	buf_addc(out, '\n');
	return r;
}

int openlineage_event(struct lineage *l, const struct mesh_config *mesh, const struct openlineage_contracts *contracts,
		      const struct lineage_run_row *run, bool start, struct buf *ret, struct err *e)
{
	struct emit m = { .l = l, .mesh = mesh, .contracts = contracts, .run = run, .e = e };
	int r;
	m.namespace_name = text_format("meshfs://%s", mesh->name);
	if (!m.namespace_name)
		return err_set(e, -ENOMEM, "no memory for an event");
	if (start)
		r = event(&m, "START", run->started_ns, false, ret);
	else if (run->ended_ns)
		r = event(&m, run->exit_status == 0 ? "COMPLETE" : run->exit_status < 0 ? "ABORT" : "FAIL", run->ended_ns, true, ret);
	else
		r = event(&m, "RUNNING", clock_now_ns(), true, ret);
	free(m.namespace_name);
	if (!r && (r = buf_check(ret)))
		err_set(e, r, "no memory for an event");
	return r;
}

int openlineage_run(struct lineage *l, const struct mesh_config *mesh, const struct openlineage_contracts *contracts,
		    const struct lineage_run_row *run, struct buf *ret, struct err *e)
{
	int r = openlineage_event(l, mesh, contracts, run, true, ret, e);
	return r ? r : openlineage_event(l, mesh, contracts, run, false, ret, e);
}
