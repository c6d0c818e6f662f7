/* Names and attributes: LOOKUP, FORGET, GETATTR, READLINK, ACCESS, STATFS. */
#define FUSE_USE_VERSION 314
#include "fs/op_table.h"

#include "fs/content.h"
#include "fs/handle.h"
#include "fs/hold.h"
#include "fs/node.h"
#include "fs/op.h"
#include "fs/op_draft.h"
#include "fs/state.h"
#include "fs/tree.h"
#include "fs/virtual.h"

#include "catalog/address.h"
#include "catalog/base/clock.h"

#include <errno.h>
#include <unistd.h>

#define BLOCK_SIZE 4096

/* A file that takes long to make is made on a worker. */
static bool is_work(const struct op *op, const struct place *p)
{
	return p->kind == KIND_FILE && p->vnode->file->slow && !op->on_worker;
}

/* Within a version that holds for ever (and until policy changes, which drops what the kernel knows). */
static void reply_never_there(struct op *op)
{
	struct op_entry none = { .entry_timeout = FOREVER_S };
	op_reply_entry(op, &none);
}

static void reply_not_there(struct op *op)
{
	op_fail(op, -ENOENT);
}

/* Could something of this name be there and hidden? */
static bool may_be_hidden(struct session *s, const struct place *parent, const char *name)
{
	if (parent->kind == KIND_ENTRY)
		return slot_may_hide(s, parent->slot);
	return parent->kind == KIND_PRODUCT || parent->kind == KIND_QUERY || (parent->kind == KIND_DOMAIN && !name_check("product", name, NULL));
}

static void reply_absent(struct op *op, const struct place *parent)
{
	struct session *s = op->session;
	op->run = parent->kind == KIND_ENTRY ? reply_never_there : reply_not_there;
	if (s->hold && may_be_hidden(s, parent, op->name))
		hold_until(s->hold, op, op->arrived_ns);
	else
		op_resume(op);
}

static void run_lookup(struct op *op)
{
	struct session *s = op->session;
	struct place parent = { 0 }, child = { 0 };
	struct wait w = { 0 };
	struct op_entry entry;
	int r = tree_place(s, op->node, &parent, &w);
	if (!r && parent.kind == KIND_PRODUCT && draft_name_version(op->name, NULL)) {
		r = draft_lookup_root(s, parent.vnode->domain, parent.vnode->product, op->name, &entry);
		if (r)
			op_fail(op, r);
		else if (op_reply_entry(op, &entry))
			draft_forget(s, entry.id, 1);
		goto out;
	}
	if (!r)
		r = tree_child(s, &parent, op->name, op->waited, &child, &w);
	if (!r && is_work(op, &child)) {
		op_defer(op);
		goto out;
	}
	if (!r)
		r = tree_attributes(s, &child, &entry, &w);
	if (!r && child.kind == KIND_LINK && parent.kind == KIND_PRODUCT &&
	    draft_product_known(s, parent.vnode->domain, parent.vnode->product))
		entry.entry_timeout = 0; /* a draft is about to change what `latest` is */
	if (!r)
		r = nodes_looked_up(s->nodes, entry.id);
	if (r == -EAGAIN) {
		tree_wait(op, &w);
	} else if (r == -ENOENT) {
		reply_absent(op, &parent);
	} else if (r) {
		op_fail(op, r);
	} else if (op_reply_entry(op, &entry)) {
		nodes_forget(s->nodes, entry.id, 1);
	}
out:
	place_fini(s, &child);
	place_fini(s, &parent);
}

void ll_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	parent = op_node(req, parent);
	struct op *op = op_new(req, draft_is(parent) ? draft_op_lookup : run_lookup, parent, name);
	if (!op)
		return;
	atomic_fetch_add_explicit(&op->session->mesh->lookups, 1, memory_order_relaxed);
	op->arrived_ns = clock_mono_ns();
	op_resume(op);
}

static void forget(struct session *s, uint64_t id, uint64_t count)
{
	if (draft_is(id))
		draft_forget(s, id, count);
	else
		nodes_forget(s->nodes, id, count);
}

void ll_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	struct session *s = fuse_req_userdata(req);
	forget(s, op_node(req, ino), count);
	fuse_reply_none(req);
}

void ll_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct session *s = fuse_req_userdata(req);
	for (size_t i = 0; i < count; i++)
		forget(s, op_node(req, forgets[i].ino), forgets[i].nlookup);
	fuse_reply_none(req);
}

static void run_getattr(struct op *op)
{
	struct session *s = op->session;
	struct place p = { 0 };
	struct wait w = { 0 };
	struct op_entry entry;
	int r = tree_place(s, op->node, &p, &w);
	if (!r && is_work(op, &p)) {
		op_defer(op);
		place_fini(s, &p);
		return;
	}
	uint32_t view = p.parts.view;
	if (!r)
		r = tree_attributes(s, &p, &entry, &w);
	/* The node shows a view that is not this session's any more: look the name up again. */
	if (!r && p.kind == KIND_ENTRY && p.parts.view != view)
		r = -ESTALE;
	if (r == -EAGAIN)
		tree_wait(op, &w);
	else if (r)
		op_fail(op, r);
	else
		op_reply_attr(op, &entry.st, entry.attr_timeout);
	place_fini(s, &p);
}

void ll_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	ino = op_node(req, ino);
	struct op *op = op_new(req, draft_is(ino) ? draft_op_getattr : run_getattr, ino, NULL);
	if (!op)
		return;
	const struct stat *st = fi ? handle_stat(fi->fh) : NULL;
	if (st) /* what was opened stays what it was */
		op_reply_attr(op, st, FOREVER_S);
	else
		op_resume(op);
}

static void run_readlink(struct op *op)
{
	struct session *s = op->session;
	struct place p = { 0 };
	struct wait w = { 0 };
	struct buf target = BUF_INIT;
	int r = tree_place(s, op->node, &p, &w);
	if (!r)
		r = tree_link(s, &p, &target, &w);
	if (r == -EAGAIN)
		tree_wait(op, &w);
	else if (r)
		op_fail(op, r);
	else
		op_reply_link(op, buf_text(&target));
	buf_free(&target);
	place_fini(s, &p);
}

void ll_readlink(fuse_req_t req, fuse_ino_t ino)
{
	ino = op_node(req, ino);
	struct op *op = op_new(req, draft_is(ino) ? draft_op_readlink : run_readlink, ino, NULL);
	if (op)
		op_resume(op);
}

static void run_access(struct op *op)
{
	struct session *s = op->session;
	struct place p = { 0 };
	struct wait w = { 0 };
	if (draft_is(op->node)) { /* the owner may; what the modes say of others is the kernel's to check */
		op_ok(op);
		return;
	}
	int r = tree_place(s, op->node, &p, &w);
	if (!r && (op->flags & W_OK) && !tree_may_hold_drafts(s, &p))
		r = -EROFS;
	bool plain = !r && (p.kind == KIND_FILE || (p.kind == KIND_ENTRY && p.entry.kind == ENTRY_FILE && !p.entry.executable));
	if (r == -EAGAIN)
		tree_wait(op, &w);
	else if (r)
		op_fail(op, r);
	else if ((op->flags & X_OK) && plain)
		op_fail(op, -EACCES);
	else
		op_ok(op);
	place_fini(s, &p);
}

void ll_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	ino = op_node(req, ino);
	struct op *op = op_new(req, run_access, ino, NULL);
	if (!op)
		return;
	op->flags = mask;
	op_resume(op);
}

/* The disk that matters here is the cache: how large it may grow, and what is left of that (which whom policy binds is not told: it counts
 * bytes that he may not see). */
void ll_statfs(fuse_req_t req, fuse_ino_t ino)
{
	ino = op_node(req, ino);
	struct op *op = op_new(req, NULL, ino, NULL);
	if (!op)
		return;
	if (draft_is(ino)) {
		draft_op_statfs(op);
		return;
	}
	struct reader_stats stats;
	reader_stats(op->session->mesh->reader, &stats);
	if (op->session->binding)
		stats.cache_bytes = 0;
	uint64_t used = stats.cache_bytes < stats.cache_limit_bytes ? stats.cache_bytes : stats.cache_limit_bytes;
	struct statvfs st = { .f_bsize = BLOCK_SIZE,
			      .f_frsize = BLOCK_SIZE,
			      .f_blocks = stats.cache_limit_bytes / BLOCK_SIZE,
			      .f_bfree = (stats.cache_limit_bytes - used) / BLOCK_SIZE,
			      .f_namemax = 255 };
	st.f_bavail = st.f_bfree;
	op_reply_statfs(op, &st);
}
