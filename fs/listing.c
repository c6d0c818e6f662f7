/* Products and versions that a session may see, and the listings of folders outside of versions. */
#include "fs/draft.h"
#include "fs/tree.h"

#include "fs/search_folder.h"
#include "fs/state.h"
#include "fs/virtual.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -- versions -------------------------------------------------------------------------------- */

struct version_walk {
	struct session *session;
	struct domain_host *domain;
	const char *product;
	int (*each)(void *arg, struct slot *slot, enum outcome outcome);
	void *arg;
	int code;
};

static int see_version(void *arg, const struct version_info *info)
{
	struct version_walk *w = arg;
	struct session *s = w->session;
	struct slot *slot = NULL;
	struct verdict *verdict = NULL;
	if (info->status != VERSION_ACTIVE)
		return 0;
	w->code = nodes_slot(s->nodes, w->domain, w->product, info, &slot);
	if (w->code)
		return 1;
	int stop = 0;
	if (!atomic_load(&slot->withdrawn) && !slot_verdict(s, slot, &verdict, NULL) && verdict->outcome != OUTCOME_HIDE)
		stop = w->each(w->arg, slot, verdict->outcome);
	verdict_unref(verdict);
	nodes_slot_unref(s->nodes, slot, 1);
	return stop;
}

int tree_versions(struct session *s, struct domain_host *h, struct snapshot *snapshot, const char *product,
		  int (*each)(void *arg, struct slot *slot, enum outcome outcome), void *arg)
{
	struct version_walk w = { s, h, product, each, arg, 0 };
	int r = snapshot_versions(snapshot, product, see_version, &w);
	return w.code ? w.code : r < 0 ? r : 0;
}

static int first_seen(void *arg, struct slot *slot, enum outcome outcome)
{
	(void)slot;
	(void)outcome;
	*(bool *)arg = true;
	return 1;
}

bool tree_product_visible(struct session *s, struct domain_host *h, struct snapshot *snapshot, const char *product)
{
	bool seen = false;
	tree_versions(s, h, snapshot, product, first_seen, &seen);
	return seen;
}

struct pick {
	struct session *session;
	struct slot *slot;
};

static int take_first(void *arg, struct slot *slot, enum outcome outcome)
{
	struct pick *p = arg;
	(void)outcome;
	nodes_slot_ref(p->session->nodes, slot, 1);
	p->slot = slot;
	return 1;
}

int tree_version(struct session *s, struct domain_host *h, const char *product, const char *selector, bool asked, struct slot **ret,
		 struct wait *w)
{
	struct version_selector want;
	struct snapshot *snapshot = NULL;
	if (version_selector_parse(selector, &want))
		return -ENOENT;
	/* An exact version is looked for in the newest catalog even where selectors are pinned, and so is a selector that matched nothing
	 * when they were: a product that the run itself made. */
	snapshot = want.parts == 3 ? domain_snapshot(h->domain) : session_pin(s, h);
	if (!snapshot) {
		if (asked)
			return -EIO;
		*w = (struct wait){ .kind = WAIT_DOMAIN, .domain = h };
		return -EAGAIN;
	}
	struct pick pick = { s, NULL };
	struct version_walk walk = { s, h, product, take_first, &pick, 0 };
	int r = snapshot_versions_matching(snapshot, product, &want, see_version, &walk);
	snapshot_unref(snapshot);
	if (!pick.slot && !walk.code && r >= 0 && want.parts < 3 && s->pinned && (snapshot = domain_snapshot(h->domain))) {
		r = snapshot_versions_matching(snapshot, product, &want, see_version, &walk);
		snapshot_unref(snapshot);
	}
	if (pick.slot) {
		*ret = pick.slot;
		return 0;
	}
	return walk.code ? walk.code : r < 0 ? r : -ENOENT;
}

/* -- listings -------------------------------------------------------------------------------- */

struct listing {
	struct session *session;
	const struct place *place;
	struct domain_host *domain;
	struct snapshot *snapshot;
	tree_each each;
	void *arg;
};

/* Does this place have the file?  (A product without a contract has no contract.yaml.) */
static bool has_file(struct listing *l, const struct virtual_file *file)
{
	struct place child;
	struct wait w = { 0 };
	int r = tree_child(l->session, l->place, file->name, true, &child, &w);
	if (!r)
		place_fini(l->session, &child);
	wait_fini(l->session, &w);
	return !r;
}

static int list_files(enum virtual_folder folder, struct listing *l)
{
	size_t count;
	const struct virtual_file *files = virtual_files(folder, &count);
	int r = 0;
	for (size_t i = 0; i < count && !r; i++) {
		if (!files[i].optional || has_file(l, &files[i]))
			r = l->each(l->arg, files[i].name, KIND_FILE, 0);
	}
	return r;
}

static int list_root(struct listing *l)
{
	struct mesh *m = l->session->mesh;
	int r = list_files(VIRTUAL_ROOT, l);
	for (size_t i = 0; i < m->domain_count && !r; i++)
		r = l->each(l->arg, m->domains[i].config->name, KIND_DOMAIN, 0);
	return r;
}

static int list_product_name(void *arg, const struct product_info *info)
{
	struct listing *l = arg;
	if (!tree_product_visible(l->session, l->domain, l->snapshot, info->name))
		return 0;
	return l->each(l->arg, info->name, KIND_PRODUCT, 0);
}

static int list_promised(void *arg, const char *name)
{
	struct listing *l = arg;
	bool listed = tree_product_visible(l->session, l->domain, l->snapshot, name);
	return listed ? 0 : l->each(l->arg, name, KIND_PRODUCT, 0);
}

static int list_draft(void *arg, const char *name, uint64_t id)
{
	struct listing *l = arg;
	return l->each(l->arg, name, KIND_PRODUCT, id);
}

static int list_version(void *arg, struct slot *slot, enum outcome outcome)
{
	struct listing *l = arg;
	(void)outcome;
	struct node_parts parts = { .slot = slot->number, .row = MANIFEST_ROOT };
	return l->each(l->arg, slot->info.version, KIND_ENTRY, tree_ino(l->session, node_id(&parts)));
}

static int list_product(struct listing *l, const struct vnode *v)
{
	struct pick pick = { l->session, NULL };
	struct version_walk walk = { l->session, l->domain, v->product, take_first, &pick, 0 };
	int r = list_files(VIRTUAL_PRODUCT, l);
	if (!r)
		snapshot_versions(l->snapshot, v->product, see_version, &walk);
	if (!r && pick.slot)
		r = l->each(l->arg, "latest", KIND_LINK, 0);
	nodes_slot_unref(l->session->nodes, pick.slot, 1);
	if (!r)
		r = tree_versions(l->session, l->domain, l->snapshot, v->product, list_version, l);
	return r ? r : draft_list(l->session, l->domain, v->product, list_draft, l);
}

static int list_link(void *arg, const char *name)
{
	struct listing *l = arg;
	return l->each(l->arg, name, KIND_LINK, 0);
}

static int list_meta(struct listing *l)
{
	int r = list_files(VIRTUAL_META, l);
	return r ? r : l->each(l->arg, "search", KIND_SEARCH, 0);
}

int tree_list(struct session *s, const struct place *p, bool asked, tree_each each, void *arg, struct wait *w)
{
	struct listing l = { .session = s, .place = p, .each = each, .arg = arg };
	int r = 0;
	if (p->kind == KIND_DOMAIN || p->kind == KIND_PRODUCT) {
		l.domain = p->vnode->domain;
		l.snapshot = domain_snapshot(l.domain->domain);
		if (!l.snapshot && !asked) {
			*w = (struct wait){ .kind = WAIT_DOMAIN, .domain = l.domain };
			return -EAGAIN;
		}
		if (!l.snapshot)
			return -EIO; /* unreachable is not empty */
	}
	switch (p->kind) {
	case KIND_ROOT:
		r = list_root(&l);
		break;
	case KIND_META:
		r = list_meta(&l);
		break;
	case KIND_QUERY:
		r = search_folder_list(s, p->vnode->text, list_link, &l);
		break;
	case KIND_DOMAIN:
		r = list_files(VIRTUAL_DOMAIN, &l);
		if (!r)
			r = snapshot_products(l.snapshot, list_product_name, &l);
		if (!r)
			r = draft_list_products(s, l.domain, list_promised, &l);
		break;
	case KIND_PRODUCT:
		r = list_product(&l, p->vnode);
		break;
	case KIND_VERSION_META:
		r = list_files(VIRTUAL_VERSION, &l);
		break;
	case KIND_SEARCH:
		break; /* every word is a folder; none is listed */
	case KIND_ENTRY:
	case KIND_FILE:
	case KIND_LINK:
		r = -ENOTDIR;
	}
	snapshot_unref(l.snapshot);
	return r;
}
