#include "fs/warm.h"

#include "catalog/base/clock.h"
#include "catalog/base/pool.h"
#include "catalog/base/progress.h"
#include "catalog/base/text.h"
#include "fs/identity.h"
#include "fs/view_store.h"
#include "policy/key.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 8   /* they wait for stores and view workers */
#define QUEUED_MAX 64 /* files opened ahead of the threads */

struct warmer {
	const struct warm_means *by;
	struct policy_command *c;
	const struct subject *subject;
	bool indexes;
	struct reader *reader; /* by->reader, or our own */
	uint64_t integrity_errors; /* of the reader before */
	struct pool *pool;
	struct progress *progress;
	struct view_gift *gift;
	pthread_mutex_t lock; /* guards what follows; a leaf */
	struct warm_counts counts;
	uint64_t total; /* bytes, as far as they are known; only the walking thread looks */
};

/* One file on its way. */
struct job {
	struct warmer *w;
	struct content *content;
	char *address;
	const char *path; /* the end of it */
};

static int key_get(void *arg, const char *name, unsigned char ret_key[32], struct err *e)
{
	return policy_key_read(arg, name, ret_key, e);
}

static int get_reader(struct warmer *w, struct err *e)
{
	const struct mesh_config *mesh = w->c->browse.mesh;
	struct reader_config config = { .cache_folder = mesh->cache_folder,
					.cache_limit_bytes = mesh->cache_limit_bytes,
					.deadline_ms = mesh->timeout_ms,
					.keys = { key_get, (void *)mesh },
					.collects = true };
	struct reader_stats stats;
	if (!w->by->reader)
		return reader_start(&config, w->c->browse.transfer, &w->reader, e);
	w->reader = w->by->reader;
	reader_stats(w->reader, &stats);
	w->integrity_errors = stats.integrity_errors;
	return 0;
}

int warm_begin(const struct warm_means *by, const struct subject *subject, bool indexes, struct warmer **ret, struct err *e)
{
	struct warmer *w = calloc(1, sizeof *w);
	if (!w)
		return err_set(e, -ENOMEM, "no memory");
	w->by = by;
	w->c = by->c;
	w->subject = subject;
	w->indexes = indexes;
	w->progress = progress_start(indexes ? "computing sizes" : "warming", "B", 0, by->quiet);
	pthread_mutex_init(&w->lock, NULL);
	int r = get_reader(w, e);
	if (!r && !(w->gift = view_gift_new()))
		r = err_set(e, -ENOMEM, "no memory");
	if (!r && !(w->pool = pool_new("warm", THREADS, QUEUED_MAX)))
		r = err_set(e, -ENOMEM, "cannot start threads");
	if (r)
		return warm_end(w, r, NULL, e);
	*ret = w;
	return 0;
}

int warm_end(struct warmer *w, int r, struct warm_counts *ret, struct err *e)
{
	pool_free(w->pool); /* waits for what is queued */
	view_gift_give(w->gift);
	progress_end(w->progress);
	if (w->reader) {
		struct reader_stats stats;
		reader_stats(w->reader, &stats);
		w->counts.damaged = stats.integrity_errors > w->integrity_errors;
	}
	if (!w->by->reader)
		reader_stop(w->reader);
	if (ret)
		*ret = w->counts;
	if (!r && w->counts.interrupted)
		r = err_set(e, -EINTR, "interrupted");
	pthread_mutex_destroy(&w->lock);
	free(w);
	return r;
}

/* -- one file -------------------------------------------------------------------------------- */

static void on_bytes(void *arg, uint64_t bytes)
{
	struct warmer *w = arg;
	progress_add(w->progress, bytes);
}

static bool is_interrupted(const struct warmer *w)
{
	return w->by->interrupted && atomic_load(w->by->interrupted);
}

static void note_failure(struct warmer *w, const struct job *j, int r, const struct err *e)
{
	const char *why = e->code ? e->text : strerror(-r);
	bool named = text_starts(why, j->path); /* the address says so already */
	if (w->counts.failed++)
		return;
	snprintf(w->counts.first, sizeof w->counts.first, "%s%s%.300s", j->address, named ? "" : ": ", named ? why + strlen(j->path) : why);
}

static void run_job(void *arg)
{
	struct job *j = arg;
	struct warmer *w = j->w;
	struct err e = ERR_INIT;
	uint64_t size = 0;
	const struct content_follower follower = { w->by->interrupted, on_bytes, w };
	int r = w->indexes ? content_prepare_wait(j->content, &follower, &e) : content_warm(j->content, &follower, &e);
	if (!r)
		r = content_size(j->content, &size);
	if (!r)
		view_gift_add(w->gift, j->content);
	pthread_mutex_lock(&w->lock);
	if (!r) {
		w->counts.files++;
		w->counts.bytes += size;
	} else if (r == -EACCES) { /* it cannot be filtered: readers are denied it, too */
		w->counts.denied++;
	} else if (r == -EINTR) {
		w->counts.interrupted = true;
	} else {
		note_failure(w, j, r, &e);
	}
	pthread_mutex_unlock(&w->lock);
	content_unref(j->content);
	free(j->address);
	free(j);
}

/* -- one version ----------------------------------------------------------------------------- */

struct walk {
	struct warmer *w;
	struct loaded_version *version;
	struct version_decision *decision;
	struct manifest *manifest;
	const char *below; /* "" for all; else a folder or file */
	bool found;
	int code;
	struct err *e;
};

static bool is_below(const char *path, const char *below)
{
	size_t len = strlen(below);
	return !len || (!strncmp(path, below, len) && (path[len] == '/' || !path[len]));
}

static int submit(struct walk *k, const char *path, uint64_t size, struct content *content)
{
	struct warmer *w = k->w;
	struct job *j = malloc(sizeof *j);
	char *address = text_format("%s/%s/%s/%s", k->version->facts.domain, k->version->facts.product, k->version->facts.version, path);
	if (!j || !address) {
		free(j);
		free(address);
		content_unref(content);
		return err_set(k->e, -ENOMEM, "no memory");
	}
	*j = (struct job){ w, content, address, address + strlen(address) - strlen(path) };
	w->total += size;
	progress_total(w->progress, w->total);
	if (pool_submit(w->pool, 0, run_job, j))
		run_job(j);
	return 0;
}

static int each_entry(void *arg, const struct manifest_entry *entry, const char *path)
{
	struct walk *k = arg;
	struct warmer *w = k->w;
	struct file_facts facts = { path, view_format(path), entry->size, false };
	struct file_decision f = { 0 };
	struct content *content = NULL;
	if (!is_below(path, k->below))
		return 0;
	k->found = true;
	if (is_interrupted(w)) {
		k->code = err_set(k->e, -EINTR, "interrupted");
		return 1;
	}
	if (entry->kind != ENTRY_FILE)
		return 0;
	k->code = version_decision_file(k->decision, &facts, &f, k->e);
	if (k->code)
		return 1;
	bool served = f.outcome == OUTCOME_VIEW || (f.outcome == OUTCOME_ALLOW && !w->indexes);
	if (served)
		k->code = content_get(w->reader, k->version->domain->domain, k->manifest, entry, path, f.transform, &content, k->e);
	if (served && !k->code) {
		k->code = submit(k, path, entry->size, content);
	} else if (f.outcome == OUTCOME_DENY || (f.outcome == OUTCOME_HIDE && !w->c->browse.policy)) { /* what is hidden is not counted either */
		pthread_mutex_lock(&w->lock);
		w->counts.denied++;
		pthread_mutex_unlock(&w->lock);
	}
	file_decision_fini(&f);
	return k->code != 0;
}

static int warm_version(struct warmer *w, const char *domain, const char *product, const char *version, const char *path, struct err *e)
{
	struct loaded_version v;
	int r = is_interrupted(w) ? err_set(e, -EINTR, "interrupted") : policy_command_version(w->c, domain, product, version, &v, e);
	if (r)
		return r;
	struct walk k = { .w = w, .version = &v, .below = path, .e = e };
	char *below = strdup(path);
	for (size_t n = below ? strlen(below) : 0; n && below[n - 1] == '/';)
		below[--n] = '\0';
	k.below = below;
	r = browse_served(domain, product, &v.info, e);
	if (!r)
		r = below ? policy_decide_version(w->c->policy, w->subject, &v.facts, clock_now_ns(), &k.decision, e) : err_set(e, -ENOMEM, "no memory");
	if (!r)
		r = domain_manifest(v.domain->domain, product, &v.info, &k.manifest, e);
	if (!r) {
		int walked = manifest_walk(k.manifest, each_entry, &k);
		r = k.code ? k.code : walked < 0 ? err_set(e, walked, "%s/%s/%s: its manifest cannot be read", domain, product, v.info.version) : 0;
	}
	if (!r && *path && !k.found)
		r = err_set(e, -ENOENT, "%s/%s/%s/%s: no such file", domain, product, v.info.version, path);
	free(below);
	manifest_unref(k.manifest);
	version_decision_free(k.decision);
	loaded_version_free(&v);
	return r;
}

/* -- what an address names --------------------------------------------------------------------- */

struct products {
	struct warmer *w;
	struct browse_domain *d;
	const char *domain;
	struct err *e;
	int code;
};

static int each_product(void *arg, const struct product_info *p)
{
	struct products *x = arg;
	if (p->latest && browse_sees(&x->w->c->browse, x->d, p->name, NULL, NULL))
		x->code = warm_version(x->w, x->domain, p->name, "latest", "", x->e);
	return x->code != 0;
}

int warm_address(struct warmer *w, const struct address *a, struct err *e)
{
	if (*a->product)
		return warm_version(w, a->domain, a->product, *a->version ? a->version : "latest", a->path, e);
	const struct mesh_domain *config;
	struct products x = { .w = w, .domain = a->domain, .e = e };
	int r = mesh_domain_get(w->c->browse.mesh, a->domain, &config, e);
	for (size_t i = 0; !r && i < w->c->browse.count; i++) {
		struct browse_domain *d = &w->c->browse.domains[i];
		if (strcmp(d->config->name, a->domain) != 0)
			continue;
		if (!d->snapshot)
			return err_set(e, -EIO, "%s was never reached", a->domain);
		x.d = d;
		int walked = snapshot_products(d->snapshot, each_product, &x);
		r = x.code ? x.code : walked < 0 ? err_set(e, walked, "%s: its catalog cannot be read", a->domain) : 0;
	}
	return r;
}

/* -- the subjects of mesh.yaml ------------------------------------------------------------------ */

static int warm_all(struct warmer *w, const struct browse *b, struct err *e)
{
	int r = 0;
	for (size_t i = 0; !r && i < b->count; i++) {
		struct address a = { .path = "" };
		snprintf(a.domain, sizeof a.domain, "%s", b->domains[i].config->name);
		if (b->domains[i].snapshot)
			r = warm_address(w, &a, e);
	}
	return r;
}

static int warm_view(const struct warm_means *by, const struct mesh_view_subject *v, const struct address *a, struct warm_counts *ret, struct err *e)
{
	struct identity who = { 0 };
	struct subject s = { .user = v->user, .uid = (uid_t)-1 };
	const char *groups[] = { v->group };
	struct warmer *w;
	if (v->user && !identity_of(v->user, &who, NULL)) /* one that this host does not know has the group that is named */
		identity_subject(&who, &s);
	if (v->group) {
		s.groups = groups;
		s.group_count = 1;
	}
	s.purpose = v->purpose;
	int r = warm_begin(by, &s, true, &w, e);
	if (!r) {
		r = a ? warm_address(w, a, e) : warm_all(w, &by->c->browse, e);
		r = warm_end(w, r, ret, e);
	}
	identity_fini(&who);
	return r;
}

void warm_counts_add(struct warm_counts *to, const struct warm_counts *n)
{
	to->files += n->files;
	to->bytes += n->bytes;
	to->denied += n->denied;
	if (n->failed && !to->failed)
		memcpy(to->first, n->first, sizeof n->first);
	to->failed += n->failed;
	to->damaged |= n->damaged;
	to->interrupted |= n->interrupted;
}

int warm_views(const struct warm_means *by, const struct address *a, struct warm_counts *ret, struct err *e)
{
	const struct mesh_config *mesh = by->c->browse.mesh;
	struct warm_counts all = { 0 };
	int r = 0;
	for (size_t i = 0; i < mesh->view_count && !r; i++) {
		struct warm_counts n = { 0 };
		r = warm_view(by, &mesh->views[i], a, &n, e);
		warm_counts_add(&all, &n);
	}
	*ret = all;
	return r;
}
