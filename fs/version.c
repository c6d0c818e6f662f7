/* Versions as a session sees them: the manifest that is fetched when first needed, the verdict, the faces of files. */
#include "fs/tree.h"

#include "fs/content.h"
#include "fs/policy_facts.h"
#include "fs/state.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER_DEPTH_MAX 64
#define REFUSALS_MAX 100 /* of which policy.txt tells */

/* -- manifest -------------------------------------------------------------------------------- */

int slot_manifest(struct slot *slot, struct manifest **ret)
{
	int r = 0;
	pthread_mutex_lock(&slot->lock);
	if (!slot->manifest) {
		struct manifest *m = NULL;
		r = domain_manifest_cached(slot->domain->domain, slot->product, &slot->info, &m, NULL);
		if (!r)
			slot->manifest = m;
		else if (r != -ENOMEM)
			r = -EAGAIN; /* a file here that will not do: whoever asks the store finds out why, and says so */
	}
	if (!r)
		*ret = manifest_ref(slot->manifest);
	pthread_mutex_unlock(&slot->lock);
	return r;
}

void slot_free(struct slot *slot)
{
	manifest_unref(slot->manifest);
	verdict_unref(slot->verdict);
	contract_unref(slot->contract);
	version_info_fini(&slot->info);
	pthread_mutex_destroy(&slot->lock);
	free(slot->views);
	free(slot->path);
	free(slot->address);
	free(slot);
}

/* The path of a folder, remembered: the files of one folder are looked up one after the other. */
static int folder_path(struct slot *slot, struct manifest *m, uint64_t row, struct buf *ret)
{
	int r = 0;
	if (row == MANIFEST_ROOT)
		return 0;
	pthread_mutex_lock(&slot->lock);
	if (slot->path && slot->path_row == row)
		buf_adds(ret, slot->path);
	else
		r = -EAGAIN;
	pthread_mutex_unlock(&slot->lock);
	if (!r)
		return buf_check(ret);
	if ((r = manifest_path(m, row, ret)))
		return r;
	char *copy = strdup(buf_text(ret));
	pthread_mutex_lock(&slot->lock);
	if (copy) {
		free(slot->path);
		slot->path = copy;
		slot->path_row = row;
	}
	pthread_mutex_unlock(&slot->lock);
	return buf_check(ret);
}

int place_path(const struct place *p, struct manifest *m, struct buf *ret)
{
	if (!p->name)
		return manifest_path(m, p->entry.row, ret);
	int r = folder_path(p->slot, m, p->entry.parent, ret);
	if (r)
		return r;
	if (ret->len)
		buf_addc(ret, '/');
	buf_adds(ret, p->name);
	return buf_check(ret);
}

/* -- verdict --------------------------------------------------------------------------------- */

/* The domain's contract of that digest, if it was the last one that was parsed. */
static struct contract *last_contract(struct domain_host *h, const struct digest *digest)
{
	pthread_mutex_lock(&h->contract_lock);
	struct contract *c = h->contract && digest_equal(&h->contract_digest, digest) ? contract_ref(h->contract) : NULL;
	pthread_mutex_unlock(&h->contract_lock);
	return c;
}

static void keep_contract(struct domain_host *h, const struct digest *digest, struct contract *c)
{
	pthread_mutex_lock(&h->contract_lock);
	struct contract *old = h->contract;
	h->contract = contract_ref(c);
	h->contract_digest = *digest;
	pthread_mutex_unlock(&h->contract_lock);
	contract_unref(old);
}

static int read_contract(struct slot *slot, struct contract **ret)
{
	struct snapshot *snapshot = domain_snapshot(slot->domain->domain);
	struct buf text = BUF_INIT;
	struct err e = ERR_INIT;
	int r = snapshot ? snapshot_contract(snapshot, &slot->info.contract, &text) : -ENOENT;
	if (!r)
		r = contract_parse(slot->address, buf_text(&text), text.len, ret, &e);
	if (r)
		log_error("%s: its contract cannot be read (%s); it is denied until it can", slot->address, e.code ? e.text : strerror(-r));
	else
		keep_contract(slot->domain, &slot->info.contract, *ret);
	buf_free(&text);
	snapshot_unref(snapshot);
	return r;
}

int slot_contract(struct slot *slot, struct contract **ret)
{
	static const struct digest none;
	int r = 0;
	pthread_mutex_lock(&slot->lock);
	if (!slot->contract_known && !digest_equal(&slot->info.contract, &none)) {
		slot->contract = last_contract(slot->domain, &slot->info.contract);
		r = slot->contract ? 0 : read_contract(slot, &slot->contract);
	}
	if (!r) {
		slot->contract_known = true;
		*ret = slot->contract ? contract_ref(slot->contract) : NULL;
	}
	pthread_mutex_unlock(&slot->lock);
	return r;
}

int slot_checks(struct slot *slot, struct version_checks *ret)
{
	struct snapshot *snapshot = slot->info.checked ? domain_snapshot(slot->domain->domain) : NULL;
	int r = snapshot ? snapshot_checks(snapshot, slot->product, &slot->info.number, ret) : -ENOENT;
	snapshot_unref(snapshot);
	return r;
}

void verdict_unref(struct verdict *v)
{
	if (!v || atomic_fetch_sub(&v->refs, 1) != 1)
		return;
	version_decision_free(v->decision);
	policy_unref(v->policy);
	contract_unref(v->contract);
	buf_free(&v->refusals);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

void verdict_refuse(struct verdict *v, const char *path, const char *reason)
{
	char *name = text_printable(path, strlen(path));
	struct buf line = BUF_INIT;
	buf_addf(&line, "  %s: %s\n", name ? name : "?", reason);
	pthread_mutex_lock(&v->lock);
	if (!buf_check(&line) && v->refusal_count < REFUSALS_MAX && !strstr(buf_text(&v->refusals), buf_text(&line))) {
		buf_adds(&v->refusals, buf_text(&line));
		v->refusal_count++;
	}
	pthread_mutex_unlock(&v->lock);
	buf_free(&line);
	free(name);
}

void verdict_explain(struct verdict *v, struct buf *ret)
{
	pthread_mutex_lock(&v->lock);
	version_decision_explain(v->decision, ret);
	if (v->refusal_count)
		buf_addf(ret, "\nRefused to this session%s:\n%s", v->refusal_count < REFUSALS_MAX ? "" : " (the first of them)", buf_text(&v->refusals));
	pthread_mutex_unlock(&v->lock);
}

/* The wall clock, unless it was set back while we run, or was wrong before: an exemption that has ended must not come back. */
static int64_t policy_now(struct mesh *m, const struct domain_host *h)
{
	int64_t published = atomic_load(&h->published_ns);
	int64_t now = clock_now_ns(), latest = atomic_load(&m->latest_ns);
	while (now > latest && !atomic_compare_exchange_weak(&m->latest_ns, &latest, now))
		;
	latest = published > latest ? published : latest;
	return now < latest - POLICY_CLOCK_SLACK_NS ? POLICY_NOW_UNKNOWN : now;
}

static int decide(struct session *s, struct slot *slot, struct verdict **ret, struct err *e)
{
	struct verdict *v = calloc(1, sizeof *v);
	if (!v)
		return -ENOMEM;
	atomic_init(&v->refs, 1);
	pthread_mutex_init(&v->lock, NULL);
	v->policy = mesh_policy(s->mesh, &v->epoch);
	int r = slot_contract(slot, &v->contract);
	if (!r) {
		struct version_facts facts;
		struct snapshot *snapshot = domain_snapshot(slot->domain->domain);
		version_facts_of(slot->domain->config->name, slot->product, &slot->info, v->contract, &facts);
		version_facts_check(v->policy, snapshot, &slot->info, &facts);
		snapshot_unref(snapshot);
		int64_t now = policy_now(s->mesh, slot->domain);
		v->now_unknown = now == POLICY_NOW_UNKNOWN;
		if (v->now_unknown)
			log_warn("%s: the clock was set back, or is wrong; rules about time are decided as if it were not known", slot->address);
		r = policy_decide_version(v->policy, &s->subject, &facts, now, &v->decision, e);
	}
	if (r) {
		verdict_unref(v);
		return r;
	}
	v->outcome = version_decision_outcome(v->decision);
	v->valid_until_ns = version_decision_valid_until_ns(v->decision);
	if (v->policy)
		hex_format(policy_digest(v->policy)->bytes, SHA256_SIZE, v->policy_hex);
	*ret = v;
	return 0;
}

static bool in_force(const struct session *s, const struct slot *slot, const struct verdict *v)
{
	int64_t now = policy_now(s->mesh, slot->domain);
	bool unknown = now == POLICY_NOW_UNKNOWN;
	return v->epoch == atomic_load(&s->mesh->policy_epoch) && unknown == v->now_unknown && (unknown || now < v->valid_until_ns);
}

bool slot_lapse(struct session *s, struct slot *slot)
{
	pthread_mutex_lock(&slot->lock);
	struct verdict *old = slot->verdict && !in_force(s, slot, slot->verdict) ? slot->verdict : NULL;
	if (old)
		slot->verdict = NULL;
	pthread_mutex_unlock(&slot->lock);
	verdict_unref(old);
	return old != NULL;
}

int slot_verdict(struct session *s, struct slot *slot, struct verdict **ret, struct err *e)
{
	struct verdict *v = NULL, *old = NULL;
	pthread_mutex_lock(&slot->lock);
	if (slot->verdict && in_force(s, slot, slot->verdict)) {
		v = slot->verdict;
		atomic_fetch_add(&v->refs, 1);
	}
	pthread_mutex_unlock(&slot->lock);
	if (v) {
		*ret = v;
		return 0;
	}
	int r = decide(s, slot, &v, e);
	if (r)
		return r;
	atomic_fetch_add(&v->refs, 1); /* the slot's */
	pthread_mutex_lock(&slot->lock);
	old = slot->verdict;
	v->serial = ++slot->decided;
	slot->verdict = v;
	pthread_mutex_unlock(&slot->lock);
	verdict_unref(old);
	*ret = v;
	return 0;
}

/* -- faces ----------------------------------------------------------------------------------- */

/* The number of a transform among those this version was seen through. */
static int view_number(struct slot *slot, const struct digest *hash, uint32_t *ret)
{
	int r = 0;
	pthread_mutex_lock(&slot->lock);
	uint32_t i = 0;
	while (i < slot->view_count && !digest_equal(&slot->views[i], hash))
		i++;
	if (i == slot->view_count) {
		struct digest *more = i + NODE_VIEW_FIRST <= NODE_VIEW_MAX ? realloc(slot->views, (i + 1) * sizeof *more) : NULL;
		if (more) {
			slot->views = more;
			slot->views[slot->view_count++] = *hash;
		} else {
			r = -ENFILE;
		}
	}
	pthread_mutex_unlock(&slot->lock);
	if (!r)
		*ret = i + NODE_VIEW_FIRST;
	return r;
}

void face_fini(struct face *f)
{
	file_decision_fini(&f->decision);
	if (f->content)
		content_unref(f->content);
	verdict_unref(f->verdict);
	*f = (struct face){ 0 };
}

static void deny(struct slot *slot, struct face *f)
{
	f->decision.outcome = OUTCOME_DENY;
	f->view = NODE_VIEW_DENIED;
	f->size = 0;
	f->mtime_ns = slot->info.published_ns;
	f->known = true;
}

static int see(struct slot *slot, const struct manifest_entry *entry, const char *path, bool want_content, struct face *f)
{
	struct transform *view = f->decision.outcome == OUTCOME_VIEW ? f->decision.transform : NULL;
	f->view = NODE_VIEW_NONE;
	f->size = entry->size;
	f->mtime_ns = entry->mtime_ns;
	f->known = true;
	if (!view && !want_content)
		return 0;
	struct manifest *m = NULL;
	int r = slot_manifest(slot, &m);
	if (!r && view)
		r = view_number(slot, &view->hash, &f->view);
	if (!r)
		r = content_get(slot->domain->mesh->reader, slot->domain->domain, m, entry, path, view, &f->content, NULL);
	manifest_unref(m);
	if (r || !view)
		return r;
	f->mtime_ns = slot->info.published_ns;
	r = content_size(f->content, &f->size);
	if (r == -EACCES) {
		const char *why = content_denied(f->content);
		size_t n = strlen(path);
		if (text_starts(why, path) && text_starts(why + n, ": ")) /* whoever is told knows which file */
			why += n + 2;
		snprintf(f->decision.reason, sizeof f->decision.reason, "it cannot be filtered%s%.400s", *why ? ": " : "", why);
		deny(slot, f);
		return 0;
	}
	f->known = !r;
	return r;
}

int slot_face(struct session *s, struct slot *slot, const struct manifest_entry *entry, const char *path, bool want_content, struct face *ret)
{
	*ret = (struct face){ 0 };
	struct err e = ERR_INIT;
	struct file_facts facts = { path, view_format(path), entry->size, false };
	int r = slot_verdict(s, slot, &ret->verdict, &e);
	if (!r) {
		pthread_mutex_lock(&ret->verdict->lock);
		r = version_decision_file(ret->verdict->decision, &facts, &ret->decision, &e);
		pthread_mutex_unlock(&ret->verdict->lock);
	}
	if (r) { /* what cannot be decided is denied */
		log_error("%s/%s: no decision (%s); denied", slot->address, path, e.code ? e.text : strerror(-r));
		if (!ret->verdict)
			return -EACCES;
		snprintf(ret->decision.reason, sizeof ret->decision.reason, "no decision could be made");
		deny(slot, ret);
		return 0;
	}
	switch (ret->decision.outcome) {
	case OUTCOME_HIDE:
		face_fini(ret);
		return -ENOENT;
	case OUTCOME_ALLOW:
	case OUTCOME_VIEW:
		r = see(slot, entry, path, want_content, ret);
		if (r && r != -EAGAIN)
			face_fini(ret);
		return r;
	default:
		deny(slot, ret);
		return 0;
	}
}

bool slot_may_hide(struct session *s, struct slot *slot)
{
	struct verdict *v = NULL;
	bool may = slot_verdict(s, slot, &v, NULL) || version_decision_may_hide(v->decision);
	verdict_unref(v);
	return may;
}

/* -- symlinks and folders ---------------------------------------------------------------------- */

enum outcome slot_outcome(struct session *s, struct slot *slot, const char *path, const struct manifest_entry *entry)
{
	struct verdict *v = NULL;
	struct file_decision decision = { 0 };
	struct file_facts facts = { path, view_format(path), entry->size, entry->kind == ENTRY_SYMLINK };
	enum outcome outcome = OUTCOME_HIDE;
	if (slot_verdict(s, slot, &v, NULL))
		return outcome;
	pthread_mutex_lock(&v->lock);
	if (!version_decision_file(v->decision, &facts, &decision, NULL))
		outcome = decision.outcome;
	pthread_mutex_unlock(&v->lock);
	file_decision_fini(&decision);
	verdict_unref(v);
	return outcome;
}

struct shown {
	struct session *session;
	struct slot *slot;
	struct manifest *manifest;
	struct buf path; /* of the folder, then of the child */
	bool any;
	int depth;
};

static int look_at_child(void *arg, const struct manifest_entry *entry, const char *name, size_t name_len)
{
	struct shown *w = arg;
	size_t len = w->path.len;
	buf_addc(&w->path, '/');
	buf_add(&w->path, name, name_len);
	if (buf_check(&w->path) || w->depth == FOLDER_DEPTH_MAX) {
		w->any = true; /* listed rather than lost: what is in it is asked for one by one */
	} else if (entry->kind == ENTRY_FOLDER) {
		w->depth++;
		manifest_list(w->manifest, entry->row, 0, look_at_child, w);
		w->depth--;
	} else {
		w->any = slot_outcome(w->session, w->slot, buf_text(&w->path), entry) != OUTCOME_HIDE;
	}
	if (!w->path.failed) {
		w->path.len = len;
		w->path.data[len] = '\0';
	}
	return w->any;
}

bool slot_hides(struct session *s, struct slot *slot, struct manifest *m, const struct manifest_entry *entry, const char *path)
{
	if (entry->kind != ENTRY_FOLDER)
		return slot_outcome(s, slot, path, entry) == OUTCOME_HIDE;
	struct shown w = { .session = s, .slot = slot, .manifest = m };
	buf_adds(&w.path, path);
	buf_adds(&w.path, "/\177"); /* a name that only a rule for all names matches */
	bool hides = !buf_check(&w.path) && slot_outcome(s, slot, buf_text(&w.path), entry) == OUTCOME_HIDE;
	if (hides) {
		buf_clear(&w.path);
		buf_adds(&w.path, path);
		manifest_list(m, entry->row, 0, look_at_child, &w);
		hides = !w.any;
	}
	buf_free(&w.path);
	return hides;
}
