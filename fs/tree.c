#include "fs/tree.h"

#include "fs/content.h"
#include "fs/draft.h"
#include "fs/kernel.h"
#include "fs/search_folder.h"
#include "fs/state.h"
#include "fs/virtual.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_SIZE 1024
#define NAME_BYTES_MAX 255


void place_fini(struct session *s, struct place *p)
{
	nodes_vnode_put(s->nodes, p->vnode);
	nodes_slot_unref(s->nodes, p->slot, 1);
	*p = (struct place){ 0 };
}

void wait_fini(struct session *s, struct wait *w)
{
	nodes_slot_unref(s->nodes, w->slot, 1);
	if (w->content)
		content_unref(w->content);
	*w = (struct wait){ 0 };
}

/* -- from a node id -------------------------------------------------------------------------- */

static int need_manifest(struct session *s, struct slot *slot, struct manifest **ret, struct wait *w)
{
	int r = slot_manifest(slot, ret);
	if (r == -EAGAIN) {
		nodes_slot_ref(s->nodes, slot, 1);
		*w = (struct wait){ .kind = WAIT_MANIFEST, .slot = slot };
	}
	return r;
}

static int entry_place(struct session *s, uint64_t id, struct place *p, struct wait *w)
{
	node_split(id, &p->parts);
	p->kind = KIND_ENTRY;
	p->slot = nodes_slot_find(s->nodes, p->parts.slot);
	if (!p->slot)
		return -ESTALE;
	if (p->parts.row == MANIFEST_ROOT) {
		p->entry = (struct manifest_entry){ .row = MANIFEST_ROOT, .kind = ENTRY_FOLDER };
		return 0;
	}
	struct manifest *m = NULL;
	int r = need_manifest(s, p->slot, &m, w);
	if (!r)
		r = manifest_get(m, p->parts.row, &p->entry);
	manifest_unref(m);
	return r == -ENOENT ? -ESTALE : r;
}

int tree_place(struct session *s, uint64_t id, struct place *ret, struct wait *w)
{
	struct place p = { .id = id };
	struct node_parts parts;
	int r = 0;
	node_split(id, &parts);
	if (parts.slot) {
		r = entry_place(s, id, &p, w);
	} else if (id != NODE_ROOT) {
		p.vnode = nodes_vnode_find(s->nodes, id);
		if (!p.vnode)
			return -ESTALE;
		p.kind = p.vnode->kind;
	}
	if (r)
		place_fini(s, &p);
	else
		*ret = p;
	return r;
}

/* -- children outside of versions -------------------------------------------------------------- */

static int make_vnode(struct session *s, const char *key, const struct vnode *like, struct place *ret)
{
	struct vnode *v = NULL;
	int r = nodes_vnode(s->nodes, key, like, &v);
	if (!r)
		*ret = (struct place){ .kind = v->kind, .id = v->id, .vnode = v };
	return r;
}

static int child_file(struct session *s, enum virtual_folder folder, const char *key_prefix, const struct vnode *like, const char *name,
		      struct place *ret)
{
	const struct virtual_file *file = virtual_find(folder, name);
	if (!file)
		return -ENOENT;
	struct vnode v = vnode_like(like);
	char key[KEY_SIZE];
	v.kind = KIND_FILE;
	v.file = file;
	snprintf(key, sizeof key, "%s/%s#%u", key_prefix, name, v.decided);
	int r = make_vnode(s, key, &v, ret);
	if (r)
		return r;
	/* Does this place have one?  (No contract, no results of checks.)  Making it answers; what does not change is kept. */
	if (!file->slow) {
		struct buf body = BUF_INIT;
		r = virtual_body(s, ret->vnode, &body);
		buf_free(&body);
		if (r)
			place_fini(s, ret);
	}
	return r;
}

static int child_of_root(struct session *s, const char *name, struct place *ret)
{
	struct vnode v = { 0 };
	if (!strcmp(name, ".mesh")) {
		v.kind = KIND_META;
		return make_vnode(s, ".mesh", &v, ret);
	}
	v.domain = mesh_domain_host(s->mesh, name);
	if (v.domain) {
		v.kind = KIND_DOMAIN;
		return make_vnode(s, name, &v, ret);
	}
	return child_file(s, VIRTUAL_ROOT, "", &v, name, ret);
}

static int child_of_meta(struct session *s, const char *name, struct place *ret)
{
	struct vnode v = { 0 };
	if (!strcmp(name, "search")) {
		v.kind = KIND_SEARCH;
		return make_vnode(s, ".mesh/search", &v, ret);
	}
	return child_file(s, VIRTUAL_META, ".mesh", &v, name, ret);
}

static int child_of_search(struct session *s, const char *words, struct place *ret)
{
	char key[KEY_SIZE];
	struct vnode v = { .kind = KIND_QUERY, .text = (char *)words };
	snprintf(key, sizeof key, ".mesh/search/%s", words);
	return make_vnode(s, key, &v, ret);
}

static int make_link(struct session *s, const char *folder, const char *name, const char *target, struct place *ret)
{
	char key[KEY_SIZE];
	struct vnode v = { .kind = KIND_LINK, .text = (char *)target };
	snprintf(key, sizeof key, "%s/%s=%s", folder, name, target);
	return make_vnode(s, key, &v, ret);
}

static int child_of_query(struct session *s, const struct vnode *query, const char *name, struct place *ret)
{
	char target[SEARCH_TARGET_SIZE];
	int r = search_folder_target(s, name, target);
	return r ? r : make_link(s, query->key, name, target, ret);
}

/* The catalog of a domain, asked for once when it was never reached.  -EIO: it cannot be. */
static int need_snapshot(struct domain_host *h, bool asked, struct snapshot **ret, struct wait *w)
{
	*ret = domain_snapshot(h->domain);
	if (*ret)
		return 0;
	if (asked)
		return -EIO;
	*w = (struct wait){ .kind = WAIT_DOMAIN, .domain = h };
	return -EAGAIN;
}

static int child_of_domain(struct session *s, const struct vnode *domain, const char *name, bool asked, struct place *ret, struct wait *w)
{
	struct vnode v = { .kind = KIND_PRODUCT, .domain = domain->domain };
	if (virtual_find(VIRTUAL_DOMAIN, name))
		return child_file(s, VIRTUAL_DOMAIN, domain->key, &v, name, ret);
	if (name_check("product", name, NULL))
		return -ENOENT;
	struct snapshot *snapshot = NULL;
	int r = need_snapshot(domain->domain, asked, &snapshot, w);
	if (!r && !tree_product_visible(s, domain->domain, snapshot, name) && !draft_product_known(s, domain->domain, name))
		r = -ENOENT;
	snapshot_unref(snapshot);
	if (r)
		return r;
	char key[KEY_SIZE];
	snprintf(v.product, sizeof v.product, "%s", name);
	snprintf(key, sizeof key, "%s/%s", domain->key, name);
	return make_vnode(s, key, &v, ret);
}

static int child_of_product(struct session *s, const struct vnode *product, const char *name, bool asked, struct place *ret,
			    struct wait *w)
{
	if (virtual_find(VIRTUAL_PRODUCT, name))
		return child_file(s, VIRTUAL_PRODUCT, product->key, product, name, ret);
	struct version_selector selector;
	struct slot *slot = NULL;
	if (version_selector_parse(name, &selector))
		return -ENOENT;
	int r = tree_version(s, product->domain, product->product, name, asked, &slot, w);
	if (r)
		return r;
	if (selector.parts < 3) {
		r = make_link(s, product->key, name, slot->info.version, ret);
		nodes_slot_unref(s->nodes, slot, 1);
		return r;
	}
	*ret = (struct place){ .kind = KIND_ENTRY, .slot = slot, .parts = { .slot = slot->number, .row = MANIFEST_ROOT } };
	ret->entry = (struct manifest_entry){ .row = MANIFEST_ROOT, .kind = ENTRY_FOLDER };
	ret->id = node_id(&ret->parts);
	return 0;
}

static int child_of_version_meta(struct session *s, const struct vnode *meta, const char *name, struct place *ret)
{
	struct verdict *verdict = NULL;
	struct vnode v = vnode_like(meta);
	char key[KEY_SIZE];
	int r = slot_verdict(s, meta->slot, &verdict, NULL);
	if (r)
		return -EIO;
	v.decided = verdict->serial;
	verdict_unref(verdict);
	v.text = NULL;
	snprintf(key, sizeof key, "%s/.mesh", meta->slot->address);
	return child_file(s, VIRTUAL_VERSION, key, &v, name, ret);
}

/* -- children within versions ------------------------------------------------------------------ */

static int version_meta(struct session *s, struct slot *slot, struct place *ret)
{
	char key[KEY_SIZE];
	struct vnode v = { .kind = KIND_VERSION_META, .domain = slot->domain, .slot = slot };
	snprintf(v.product, sizeof v.product, "%s", slot->product);
	/* Keyed by slot: the address may come to name other nodes. */
	snprintf(key, sizeof key, "%s/.mesh@%u", slot->address, slot->number);
	return make_vnode(s, key, &v, ret);
}

static int child_of_entry(struct session *s, const struct place *parent, const char *name, struct place *ret, struct wait *w)
{
	struct slot *slot = parent->slot;
	if (atomic_load(&slot->withdrawn))
		return -ESTALE;
	if (parent->entry.row == MANIFEST_ROOT && !strcmp(name, ".mesh"))
		return version_meta(s, slot, ret);
	struct manifest *m = NULL;
	struct place p = { .kind = KIND_ENTRY };
	int r = need_manifest(s, slot, &m, w);
	if (!r)
		r = manifest_lookup(m, parent->entry.row, name, strlen(name), &p.entry);
	manifest_unref(m);
	if (r)
		return r;
	if (p.entry.row > NODE_ROW_MAX)
		return -EIO;
	nodes_slot_ref(s->nodes, slot, 1);
	p.slot = slot;
	p.name = name;
	p.parts = (struct node_parts){ .slot = slot->number, .row = p.entry.row };
	p.id = node_id(&p.parts);
	*ret = p;
	return 0;
}

int tree_child(struct session *s, const struct place *parent, const char *name, bool asked, struct place *ret, struct wait *w)
{
	if (strlen(name) > NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	switch (parent->kind) {
	case KIND_ROOT:
		return child_of_root(s, name, ret);
	case KIND_META:
		return child_of_meta(s, name, ret);
	case KIND_SEARCH:
		return child_of_search(s, name, ret);
	case KIND_QUERY:
		return child_of_query(s, parent->vnode, name, ret);
	case KIND_DOMAIN:
		return child_of_domain(s, parent->vnode, name, asked, ret, w);
	case KIND_PRODUCT:
		return child_of_product(s, parent->vnode, name, asked, ret, w);
	case KIND_VERSION_META:
		return child_of_version_meta(s, parent->vnode, name, ret);
	case KIND_ENTRY:
		return parent->entry.kind == ENTRY_FOLDER ? child_of_entry(s, parent, name, ret, w) : -ENOTDIR;
	case KIND_LINK:
	case KIND_FILE:
		break;
	}
	return -ENOTDIR;
}

bool tree_may_hold_drafts(struct session *s, const struct place *p)
{
	if (p->kind != KIND_DOMAIN && p->kind != KIND_PRODUCT)
		return false;
	return !draft_permitted(s, p->vnode->domain, p->kind == KIND_PRODUCT ? p->vnode->product : "*", NULL, NULL);
}

/* -- attributes ------------------------------------------------------------------------------ */

static void set_time(struct stat *st, int64_t ns)
{
	st->st_mtim.tv_sec = ns / NS_PER_S;
	st->st_mtim.tv_nsec = ns % NS_PER_S;
	if (st->st_mtim.tv_nsec < 0) {
		st->st_mtim.tv_nsec += NS_PER_S;
		st->st_mtim.tv_sec--;
	}
	st->st_ctim = st->st_atim = st->st_mtim;
}

uint64_t tree_ino(const struct session *s, uint64_t id)
{
	uint64_t ino = opaque_put(&s->opaque, node_ino(id), 32);
	return ino ? ino : id; /* none is 0 */
}

static void set_common(const struct session *s, struct op_entry *ret, uint64_t id, mode_t type, bool executable)
{
	struct stat *st = &ret->st;
	mode_t mode = type == S_IFLNK ? 0777 : type == S_IFDIR || executable ? 0555 : 0444;
	*ret = (struct op_entry){ .id = id, .entry_timeout = FOREVER_S, .attr_timeout = FOREVER_S };
	st->st_ino = tree_ino(s, id);
	st->st_mode = type | (s->binding && type != S_IFLNK ? mode & 0500 : mode);
	st->st_nlink = type == S_IFDIR ? 2 : 1;
	st->st_uid = s->who.uid;
	st->st_gid = s->who.gid;
	st->st_blksize = 1 << 20;
}

static void set_size(struct stat *st, uint64_t size)
{
	st->st_size = (off_t)size;
	st->st_blocks = (blkcnt_t)((size + 511) / 512);
}

static int64_t folder_time(struct session *s, const struct place *p)
{
	int64_t when = s->started_ns;
	/* Whom policy binds is not told when something was published that he may not see. */
	if (!s->binding && (p->kind == KIND_DOMAIN || p->kind == KIND_PRODUCT)) {
		struct snapshot *snapshot = domain_snapshot(p->vnode->domain->domain);
		if (snapshot)
			when = snapshot_time_ns(snapshot);
		snapshot_unref(snapshot);
	} else if (p->kind == KIND_VERSION_META) {
		when = p->vnode->slot->info.published_ns;
	}
	return when;
}

static int vnode_attributes(struct session *s, struct place *p, struct op_entry *ret)
{
	struct vnode *v = p->vnode;
	if (p->kind == KIND_LINK) {
		set_common(s, ret, p->id, S_IFLNK, false);
		set_size(&ret->st, strlen(v->text));
		set_time(&ret->st, s->started_ns);
		return 0;
	}
	if (p->kind != KIND_FILE) {
		set_common(s, ret, p->id, S_IFDIR, false);
		set_time(&ret->st, folder_time(s, p));
		if (s->binding && tree_may_hold_drafts(s, p)) /* the kernel checks the modes there */
			ret->st.st_mode |= 0200;
		if (p->kind == KIND_QUERY)
			ret->entry_timeout = ret->attr_timeout = 0;
		return 0;
	}
	struct buf body = BUF_INIT;
	int r = virtual_body(s, v, &body);
	if (!r) {
		set_common(s, ret, p->id, S_IFREG, false);
		set_size(&ret->st, body.len);
		set_time(&ret->st, v->slot ? v->slot->info.published_ns : clock_now_ns());
		if (v->file->changing)
			ret->attr_timeout = 0;
	}
	buf_free(&body);
	return r;
}

/* Is it time to give the file its promoted twin: wholly in the cache, large enough, and the kernel can? */
static bool is_promotable(struct session *s, const struct face *f)
{
	int fd;
	if (!f->content || f->size < PROMOTE_MIN || !kernel_passthrough(s->kernel) || content_whole_fd(f->content, &fd))
		return false;
	close(fd);
	return true;
}

void tree_file_stat(struct session *s, const struct place *p, const struct face *f, struct stat *ret)
{
	struct op_entry entry;
	set_common(s, &entry, p->id, S_IFREG, p->entry.executable);
	set_size(&entry.st, f->size);
	set_time(&entry.st, f->mtime_ns);
	*ret = entry.st;
}

static int fill_file(struct session *s, struct place *p, const struct face *f, struct op_entry *ret)
{
	p->parts.view = f->view;
	p->parts.promoted = is_promotable(s, f);
	p->id = node_id(&p->parts);
	set_common(s, ret, p->id, S_IFREG, p->entry.executable);
	set_size(&ret->st, f->size);
	set_time(&ret->st, f->mtime_ns);
	return 0;
}

/* Every file of the version is served as it is: no need to ask for each. */
static bool is_plain(struct session *s, struct slot *slot)
{
	struct verdict *v = NULL;
	bool plain = !slot_verdict(s, slot, &v, NULL) && v->outcome == OUTCOME_ALLOW;
	verdict_unref(v);
	return plain;
}

static int file_attributes(struct session *s, struct place *p, struct op_entry *ret, struct wait *w)
{
	struct face f = { 0 };
	struct buf path = BUF_INIT;
	struct manifest *m = NULL;
	bool want = kernel_passthrough(s->kernel) && p->entry.size >= PROMOTE_MIN;
	if (!want && is_plain(s, p->slot)) {
		f.size = p->entry.size;
		f.mtime_ns = p->entry.mtime_ns;
		return fill_file(s, p, &f, ret);
	}
	int r = need_manifest(s, p->slot, &m, w);
	if (!r)
		r = place_path(p, m, &path);
	if (r)
		goto out;
	r = slot_face(s, p->slot, &p->entry, buf_text(&path), want, &f);
	if (r == -EAGAIN) {
		*w = (struct wait){ .kind = WAIT_CONTENT, .content = content_ref(f.content) };
		face_fini(&f);
	}
	if (r)
		goto out;
	fill_file(s, p, &f, ret);
	face_fini(&f);
out:
	manifest_unref(m);
	buf_free(&path);
	return r;
}

/* A folder or symlink: -ENOENT when policy hides it.  `ret_denied`: what the symlink says is not for this session. */
static int check_hidden(struct session *s, struct place *p, bool *ret_denied, struct wait *w)
{
	struct buf path = BUF_INIT;
	struct manifest *m = NULL;
	*ret_denied = false;
	if (p->entry.row == MANIFEST_ROOT || is_plain(s, p->slot))
		return 0;
	int r = need_manifest(s, p->slot, &m, w);
	if (!r)
		r = place_path(p, m, &path);
	if (!r && p->entry.kind == ENTRY_SYMLINK) {
		enum outcome outcome = slot_outcome(s, p->slot, buf_text(&path), &p->entry);
		r = outcome == OUTCOME_HIDE ? -ENOENT : 0;
		*ret_denied = outcome == OUTCOME_DENY;
	} else if (!r && slot_hides(s, p->slot, m, &p->entry, buf_text(&path))) {
		r = -ENOENT;
	}
	manifest_unref(m);
	buf_free(&path);
	return r;
}

int tree_attributes(struct session *s, struct place *p, struct op_entry *ret, struct wait *w)
{
	if (p->kind == KIND_ROOT) {
		set_common(s, ret, NODE_ROOT, S_IFDIR, false);
		set_time(&ret->st, s->started_ns);
		return 0;
	}
	if (p->kind != KIND_ENTRY)
		return vnode_attributes(s, p, ret);
	if (p->entry.kind == ENTRY_FILE)
		return file_attributes(s, p, ret, w);
	bool denied;
	int r = check_hidden(s, p, &denied, w);
	if (r)
		return r;
	set_common(s, ret, p->id, p->entry.kind == ENTRY_FOLDER ? S_IFDIR : S_IFLNK, false);
	set_size(&ret->st, denied ? 0 : p->entry.size);
	set_time(&ret->st, denied || p->entry.row == MANIFEST_ROOT ? p->slot->info.published_ns : p->entry.mtime_ns);
	return 0;
}

int tree_link(struct session *s, struct place *p, struct buf *ret, struct wait *w)
{
	bool denied;
	if (p->kind == KIND_LINK) {
		buf_adds(ret, p->vnode->text);
		return buf_check(ret);
	}
	if (p->kind != KIND_ENTRY || p->entry.kind != ENTRY_SYMLINK)
		return -EINVAL;
	struct manifest *m = NULL;
	int r = check_hidden(s, p, &denied, w);
	if (!r && denied)
		r = -EACCES;
	if (!r)
		r = slot_manifest(p->slot, &m);
	if (!r)
		r = manifest_link(m, p->entry.row, ret);
	manifest_unref(m);
	return r ? r : buf_check(ret);
}
