/* The files of <version>/.mesh, as the session may see them. */
#include "fs/virtual.h"

#include "catalog/base/text.h"

#include "fs/content.h"
#include "fs/node.h"
#include "fs/state.h"
#include "fs/tree.h"

#include <errno.h>
#include <string.h>

int version_contract(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	struct verdict *verdict = NULL;
	int r = slot_verdict(s, v->slot, &verdict, e);
	if (!r && !verdict->contract)
		r = -ENOENT;
	if (!r) {
		pthread_mutex_lock(&verdict->lock);
		r = version_decision_contract(verdict->decision, ret, e);
		pthread_mutex_unlock(&verdict->lock);
	}
	verdict_unref(verdict);
	return r;
}

int product_contract(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	struct vnode version = { 0 };
	struct wait w = { 0 };
	int r = tree_version(s, v->domain, v->product, "latest", true, &version.slot, &w);
	if (!r)
		r = version_contract(s, &version, ret, e);
	nodes_slot_unref(s->nodes, version.slot, 1);
	return r;
}

int version_policy(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	struct verdict *verdict = NULL;
	int r = slot_verdict(s, v->slot, &verdict, e);
	if (r)
		return r;
	verdict_explain(verdict, ret);
	verdict_unref(verdict);
	if (!buf_check(ret) && ret->len)
		text_disarm(ret->data, ret->len); /* it quotes what domains say */
	return 0;
}

int version_quality(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	struct verdict *verdict = NULL;
	if (!v->slot->info.checked)
		return -ENOENT;
	int r = slot_verdict(s, v->slot, &verdict, e);
	if (r)
		return r;
	/* Results of checks speak of all rows and columns: only for who may see them all. */
	enum outcome outcome = verdict->outcome;
	verdict_unref(verdict);
	if (outcome != OUTCOME_ALLOW)
		return -ENOENT;
	struct snapshot *snapshot = domain_snapshot(v->slot->domain->domain);
	r = snapshot ? snapshot_quality(snapshot, v->slot->product, &v->slot->info.number, ret) : -ENOENT;
	snapshot_unref(snapshot);
	if (!r)
		buf_addc(ret, '\n');
	return r;
}

/* -- manifest.csv ---------------------------------------------------------------------------- */

static void csv_field(struct buf *out, const char *text)
{
	if (!strpbrk(text, ",\"\r\n")) {
		buf_adds(out, text);
		return;
	}
	buf_addc(out, '"');
	for (; *text; text++) {
		if (*text == '"')
			buf_addc(out, '"');
		buf_addc(out, *text);
	}
	buf_addc(out, '"');
}

struct manifest_text {
	struct session *session;
	struct slot *slot;
	struct buf *out;
	int code;
};

static int add_line(void *arg, const struct manifest_entry *entry, const char *path)
{
	struct manifest_text *t = arg;
	struct face f = { 0 };
	struct xxh128 hash = entry->hash;
	char hex[XXH128_HEX_SIZE] = "";
	if (entry->kind != ENTRY_FILE)
		return 0;
	int r = slot_face(t->session, t->slot, entry, path, false, &f);
	if (r == -ENOENT)
		return 0;
	if (r && r != -EAGAIN) {
		t->code = r;
		return 1;
	}
	csv_field(t->out, path);
	buf_addc(t->out, ',');
	if (f.known)
		buf_addf(t->out, "%llu", (unsigned long long)f.size);
	if (f.decision.outcome == OUTCOME_ALLOW || (f.decision.outcome == OUTCOME_VIEW && f.known && !content_hash(f.content, &hash)))
		hex_format(hash.bytes, XXH128_SIZE, hex);
	buf_addf(t->out, ",%s\n", hex);
	face_fini(&f);
	return 0;
}

int version_manifest(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	struct manifest_text t = { s, v->slot, ret, 0 };
	struct manifest *m = NULL;
	int r = slot_manifest(v->slot, &m);
	if (r == -EAGAIN) /* on a worker: it may wait */
		r = domain_manifest(v->domain->domain, v->slot->product, &v->slot->info, &m, e);
	buf_adds(ret, "path,size,xxh128\n");
	if (!r)
		r = manifest_walk(m, add_line, &t);
	manifest_unref(m);
	return t.code ? t.code : r < 0 ? r : 0;
}
