/* /.mesh: health of this mount, for people's tools (status.json) and Prometheus (metrics). */
#include "fs/virtual.h"

#include "fs/content.h"
#include "fs/kernel.h"
#include "fs/node.h"
#include "fs/recorder.h"
#include "fs/show_measures.h"
#include "fs/state.h"

#include "catalog/base/clock.h"
#include "catalog/base/json.h"

#include <string.h>
#include <unistd.h>

/* `open`: how often and when something was published may be told. */
static void domain_status(struct domain_host *h, bool open, struct json *j)
{
	struct snapshot *snapshot = domain_snapshot(h->domain);
	pthread_mutex_lock(&h->lock);
	json_open(j, '{');
	json_field_text(j, "name", h->config->name);
	json_field_bool(j, "reachable", h->asked && !h->code);
	json_field_text(j, "error", *h->reason ? h->reason : NULL);
	if (open) {
		json_field_int(j, "generation", snapshot ? (int64_t)snapshot_generation(snapshot) : 0);
		json_field_time(j, "modified", snapshot ? snapshot_time_ns(snapshot) : 0);
	}
	json_field_int(j, "waiting", (int64_t)atomic_load(&h->parked));
	json_close(j, '}');
	pthread_mutex_unlock(&h->lock);
	snapshot_unref(snapshot);
}

/* What is cached and fetched are bytes of the source, and generations count what is hidden: whom policy binds is not told of what he may
 * not see. */
static bool counts_are_open(const struct session *s)
{
	return !s->binding;
}

int meta_status(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	struct mesh *m = s->mesh;
	struct reader_stats reader;
	struct recorder_stats recorder;
	struct json j;
	char policy_error[sizeof m->policy_error], policy[SHA256_HEX_SIZE] = "";
	(void)v;
	(void)e;
	reader_stats(m->reader, &reader);
	recorder_stats(m->recorder, &recorder);
	pthread_mutex_lock(&m->lock);
	memcpy(policy_error, m->policy_error, sizeof policy_error);
	if (m->policy)
		hex_format(policy_digest(m->policy)->bytes, SHA256_SIZE, policy);
	pthread_mutex_unlock(&m->lock);
	json_start(&j, ret);
	json_open(&j, '{');
	json_field_text(&j, "mesh", m->config->name);
	json_field_text(&j, "version", MESHFS_VERSION);
	json_field_int(&j, "pid", getpid());
	json_field_time(&j, "started", s->started_ns);
	json_field_text(&j, "mountpoint", s->mountpoint);
	json_field_text(&j, "user", s->who.user);
	json_field_text(&j, "purpose", s->purpose);
	json_field_text(&j, "run", s->run_id);
	json_field_bool(&j, "enforced", s->binding);
	json_field_bool(&j, "passthrough", kernel_passthrough(s->kernel));
	json_field_text(&j, "policy", *policy ? policy : NULL);
	json_field_text(&j, "policy_error", *policy_error ? policy_error : NULL);
	json_key(&j, "domains");
	json_open(&j, '[');
	for (size_t i = 0; i < m->domain_count; i++)
		domain_status(&m->domains[i], counts_are_open(s), &j);
	json_close(&j, ']');
	if (counts_are_open(s)) {
		json_key(&j, "cache");
		json_open(&j, '{');
		json_field_int(&j, "bytes", (int64_t)reader.cache_bytes);
		json_field_int(&j, "limit", (int64_t)reader.cache_limit_bytes);
		json_field_int(&j, "memory", (int64_t)reader.memory_bytes);
		json_field_int(&j, "integrity_errors", (int64_t)reader.integrity_errors);
		json_close(&j, '}');
	}
	json_key(&j, "records");
	json_open(&j, '{');
	json_field_int(&j, "recorded", (int64_t)recorder.recorded);
	json_field_int(&j, "waiting", (int64_t)recorder.waiting);
	json_field_int(&j, "refused", (int64_t)recorder.refused);
	json_close(&j, '}');
	json_close(&j, '}');
	buf_addc(ret, '\n');
	return 0;
}

static void metric(struct buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
	buf_addf(out, "# HELP meshfs_%s %s\n# TYPE meshfs_%s %s\nmeshfs_%s %llu\n", name, help, name, type, name, (unsigned long long)value);
}

struct products {
	struct domain_host *domain;
	struct snapshot *snapshot;
	const struct map *uses;
	struct measure_lines lines;
	int64_t now_ns;
};

static int add_product(void *arg, const struct product_info *p)
{
	struct products *x = arg;
	struct product_measures m;
	const char *domain = x->domain->config->name;
	if (!product_measures(x->snapshot, p->name, x->now_ns, &m))
		measure_lines_add(&x->lines, domain, p->name, &m, product_use_of(x->uses, domain, p->name), x->now_ns);
	return 0;
}

/* Their measures.  On a worker: the lineage database is asked. */
static void product_metrics(struct mesh *m, struct buf *ret)
{
	struct map *uses = NULL;
	struct products x = { .now_ns = clock_now_ns() };
	if (product_uses(m->config->lineage_db, &uses, NULL))
		uses = NULL;
	x.uses = uses;
	for (size_t i = 0; i < m->domain_count; i++) {
		x.domain = &m->domains[i];
		x.snapshot = domain_snapshot(x.domain->domain);
		if (x.snapshot)
			snapshot_products(x.snapshot, add_product, &x);
		snapshot_unref(x.snapshot);
	}
	measure_lines_end(&x.lines, ret);
	product_uses_free(uses);
}

int meta_metrics(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	struct mesh *m = s->mesh;
	struct reader_stats reader;
	struct recorder_stats recorder;
	struct nodes_stats nodes;
	(void)v;
	(void)e;
	reader_stats(m->reader, &reader);
	recorder_stats(m->recorder, &recorder);
	nodes_stats(s->nodes, &nodes);
	metric(ret, "lookups_total", "counter", "Names looked up.", atomic_load(&m->lookups));
	metric(ret, "opens_total", "counter", "Files opened and served.", atomic_load(&m->opens));
	metric(ret, "denials_total", "counter", "Opens that policy denied.", atomic_load(&m->denials));
	if (counts_are_open(s)) {
		metric(ret, "served_bytes_total", "counter", "Bytes given to readers by this process.", reader.served_bytes);
		metric(ret, "fetched_bytes_total", "counter", "Bytes fetched from stores.", reader.fetched_bytes);
		metric(ret, "cache_hits_total", "counter", "Chunks found in the cache.", reader.hits);
		metric(ret, "cache_misses_total", "counter", "Chunks that had to be fetched.", reader.misses);
		metric(ret, "cache_bytes", "gauge", "Size of the cache.", reader.cache_bytes);
		metric(ret, "cache_limit_bytes", "gauge", "How large the cache may grow.", reader.cache_limit_bytes);
		metric(ret, "memory_bytes", "gauge", "Memory held for reads.", reader.memory_bytes);
	}
	metric(ret, "integrity_errors_total", "counter", "Chunks that did not match their hash.", reader.integrity_errors);
	metric(ret, "fetch_errors_total", "counter", "Fetches that failed after retries.", reader.fetch_errors);
	metric(ret, "parked_reads", "gauge", "Reads that wait for a store.", reader.parked);
	metric(ret, "records_total", "counter", "Opens on record.", recorder.recorded);
	metric(ret, "records_waiting", "gauge", "Records not yet in the lineage database.", recorder.waiting);
	metric(ret, "records_refused_total", "counter", "Opens that failed because nothing could be recorded.", recorder.refused);
	metric(ret, "passthrough_files", "gauge", "Files the kernel reads without us.", nodes.backing);
	buf_adds(ret, "# HELP meshfs_domain_reachable Was the domain's store reached the last time it was asked?\n"
		      "# TYPE meshfs_domain_reachable gauge\n");
	for (size_t i = 0; i < m->domain_count; i++) {
		struct domain_host *h = &m->domains[i];
		pthread_mutex_lock(&h->lock);
		buf_addf(ret, "meshfs_domain_reachable{domain=\"%s\"} %d\n", h->config->name, h->asked && !h->code);
		pthread_mutex_unlock(&h->lock);
	}
	if (counts_are_open(s))
		product_metrics(m, ret);
	return 0;
}
