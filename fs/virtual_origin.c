/* <version>/.mesh/lineage.json: what the version was made from.  <version>/.mesh/croissant.json: how to load it. */
#include "fs/virtual.h"

#include "fs/content.h"
#include "fs/node.h"
#include "fs/state.h"
#include "fs/tree.h"

#include "catalog/address.h"
#include "catalog/base/json.h"
#include "catalog/base/map.h"
#include "catalog/croissant.h"
#include "catalog/lineage.h"
#include "catalog/lineage_query.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- lineage.json ------------------------------------------------------------------------------------ */

#define ORIGINS_MAX 1000

struct origins {
	struct session *session;
	struct lineage *lineage;
	struct map *seen;
	struct slot *slots[ORIGINS_MAX]; /* references, in the order they were met; the first is the version itself */
	size_t count;
	bool truncated;
	struct json *json;
	size_t at;
	bool found; /* the run of the version being looked at is on record here */
};

/* A version that the run was served, if this session may know of it. */
static void add_origin(struct origins *o, const char *address)
{
	struct address a;
	struct slot *slot = NULL;
	struct wait w = { 0 };
	struct verdict *verdict = NULL;
	if (map_gets(o->seen, address) || address_parse(address, &a, NULL))
		return;
	struct domain_host *h = mesh_domain_host(o->session->mesh, a.domain);
	if (!h || tree_version(o->session, h, a.product, a.version, true, &slot, &w))
		return;
	bool hidden = slot_verdict(o->session, slot, &verdict, NULL) || verdict->outcome == OUTCOME_HIDE;
	verdict_unref(verdict);
	if (hidden || o->count == ORIGINS_MAX || map_sets(o->seen, slot->address, slot)) {
		o->truncated |= o->count == ORIGINS_MAX;
		nodes_slot_unref(o->session->nodes, slot, 1);
		return;
	}
	o->slots[o->count++] = slot;
}

struct input {
	struct origins *o;
	struct map *told;
};

static int add_input(void *arg, const struct lineage_read_row *row)
{
	struct input *in = arg;
	if (!row->version_address || map_gets(in->told, row->version_address))
		return 0;
	if (map_sets(in->told, row->version_address, in))
		return -ENOMEM;
	add_origin(in->o, row->version_address);
	if (map_gets(in->o->seen, row->version_address))
		json_text(in->o->json, row->version_address);
	return 0;
}

static int add_run(void *arg, const struct lineage_run_row *row)
{
	struct origins *o = arg;
	json_field_text(o->json, "run_name", row->name);
	json_field_time(o->json, "started", row->started_ns);
	o->found = true;
	return 1;
}

static int add_node(struct origins *o, struct slot *slot)
{
	const struct lineage_filter filter = { .run = slot->info.run, .outcome = LINEAGE_SERVED };
	struct input in = { o, map_new() };
	struct err e = ERR_INIT;
	int r = in.told ? 0 : -ENOMEM;
	json_open(o->json, '{');
	json_field_text(o->json, "address", slot->address);
	json_field_time(o->json, "published", slot->info.published_ns);
	json_field_text(o->json, "run", slot->info.run);
	o->found = false;
	if (!r && slot->info.run)
		r = lineage_runs(o->lineage, slot->info.run, add_run, o, &e);
	json_key(o->json, "inputs");
	json_open(o->json, '[');
	if (r >= 0 && o->found)
		r = lineage_reads(o->lineage, &filter, add_input, &in, &e);
	json_close(o->json, ']');
	/* A run of another host's is not on record here: nothing is known, which is not the same as nothing. */
	json_field_bool(o->json, "known", o->found);
	json_close(o->json, '}');
	map_free(in.told, NULL);
	return r < 0 && r != -ENOENT ? r : 0;
}

int version_lineage(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	struct json j;
	struct origins *o = calloc(1, sizeof *o);
	int r = o && (o->seen = map_new()) ? lineage_open(s->mesh->config->lineage_db, &o->lineage, e) : -ENOMEM;
	json_start(&j, ret);
	if (!r) {
		o->session = s;
		o->json = &j;
		nodes_slot_ref(s->nodes, v->slot, 1);
		o->slots[o->count++] = v->slot;
		r = map_sets(o->seen, v->slot->address, v->slot);
		json_open(&j, '{');
		json_field_text(&j, "address", v->slot->address);
		json_key(&j, "versions");
		json_open(&j, '[');
		for (; !r && o->at < o->count; o->at++)
			r = add_node(o, o->slots[o->at]);
		json_close(&j, ']');
		json_field_bool(&j, "truncated", o->truncated);
		json_close(&j, '}');
		buf_addc(ret, '\n');
	}
	for (size_t i = 0; o && i < o->count; i++)
		nodes_slot_unref(s->nodes, o->slots[i], 1);
	if (o) {
		map_free(o->seen, NULL);
		lineage_close(o->lineage);
	}
	free(o);
	return r;
}

/* -- croissant.json ------------------------------------------------------------------------------------ */

struct contents {
	struct session *session;
	struct slot *slot;
	struct manifest *manifest;
	struct croissant *croissant;
	int code;
};

static int add_content(void *arg, const struct manifest_entry *entry, const char *path)
{
	struct contents *c = arg;
	struct face f = { 0 };
	struct manifest_chunk chunk;
	char hex[SHA256_HEX_SIZE] = "";
	if (entry->kind != ENTRY_FILE)
		return 0;
	int r = slot_face(c->session, c->slot, entry, path, false, &f);
	if (r && r != -EAGAIN) {
		c->code = r == -ENOENT ? 0 : r;
		return c->code != 0;
	}
	/* A file of one short chunk is named by the chunk's own digest: its SHA-256; an empty one by its content's. */
	const bool empty = !entry->chunk_count && !entry->size;
	bool whole = f.decision.outcome == OUTCOME_ALLOW &&
		     (empty || (entry->chunk_count == 1 && !manifest_chunks(c->manifest, entry->row, 0, 1, &chunk) && !leaf_count(chunk.length)));
	if (whole && empty)
		sha256_of("", 0, &chunk.digest);
	if (whole)
		hex_format(chunk.digest.bytes, SHA256_SIZE, hex);
	const struct croissant_content content = { .path = path,
						   .media_type = media_type_of(path),
						   .sha256 = whole ? hex : NULL,
						   .size_known = f.known,
						   .size = f.size };
	if (f.decision.outcome == OUTCOME_ALLOW || f.decision.outcome == OUTCOME_VIEW)
		croissant_file(c->croissant, &content);
	face_fini(&f);
	return 0;
}

int version_croissant(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	struct croissant croissant;
	struct contents c = { s, v->slot, NULL, &croissant, 0 };
	struct contract *contract = NULL;
	struct buf text = BUF_INIT;
	char name[2 * NAME_SIZE];
	int r = slot_manifest(v->slot, &c.manifest);
	if (r == -EAGAIN) /* on a worker: it may wait */
		r = domain_manifest(v->domain->domain, v->slot->product, &v->slot->info, &c.manifest, e);
	if (!r && !version_contract(s, v, &text, NULL))
		contract_parse("contract.yaml", buf_text(&text), text.len, &contract, NULL);
	snprintf(name, sizeof name, "%s/%s", v->domain->config->name, v->slot->product);
	const struct croissant_info info = { .name = name,
					     .title = contract ? contract_title(contract) : NULL,
					     .description = contract ? contract_description(contract) : NULL,
					     .version = v->slot->info.version,
					     .address = v->slot->address,
					     .owner = v->domain->config->owner,
					     .published_ns = v->slot->info.published_ns,
					     .prefix = "../" };
	if (!r) {
		croissant_start(&croissant, &info, contract, ret);
		r = manifest_walk(c.manifest, add_content, &c);
		int end = croissant_end(&croissant);
		r = c.code ? c.code : r < 0 ? r : end;
	}
	manifest_unref(c.manifest);
	contract_unref(contract);
	buf_free(&text);
	return r;
}
