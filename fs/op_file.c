/*
 * Files: OPEN, READ, RELEASE.
 *
 * An OPEN is answered after the record of it is in the journal, whether it is served or denied.  An open file keeps the
 * view it was opened with; when policy has changed since, the next read that reaches us asks again whether the file is
 * served at all, and is ESTALE when not.
 */
#define FUSE_USE_VERSION 314
#include "fs/op_table.h"

#include "fs/content.h"
#include "fs/handle.h"
#include "fs/kernel.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "fs/op.h"
#include "fs/op_draft.h"
#include "fs/recorder.h"
#include "fs/state.h"
#include "fs/tree.h"
#include "fs/virtual.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- generated files ------------------------------------------------------------------------- */

/* Does the file still show the decision in force? */
static bool is_current(struct session *s, const struct vnode *v)
{
	struct verdict *verdict = NULL;
	if (!v->slot)
		return true;
	if (atomic_load(&v->slot->withdrawn) || slot_verdict(s, v->slot, &verdict, NULL))
		return false;
	bool same = verdict->serial == v->decided;
	verdict_unref(verdict);
	return same;
}

static void open_text(struct op *op, const struct place *p)
{
	struct session *s = op->session;
	struct handle *h = handle_new(s, HANDLE_TEXT);
	int r = !h ? -ENOMEM : is_current(s, p->vnode) ? virtual_body(s, p->vnode, &h->text) : -ESTALE;
	struct op_open open = { .handle = (uintptr_t)h, .direct_io = p->vnode->file->changing, .keep_cache = true };
	if (r) {
		handle_free(h);
		op_fail(op, r);
	} else if (op_reply_open(op, &open)) {
		handle_free(h);
	}
}

/* -- the record ------------------------------------------------------------------------------ */

static int record_open(struct op *op, const struct slot *slot, const char *path, const struct face *f, uint64_t *ret_record)
{
	struct session *s = op->session;
	struct transform *view = f->decision.outcome == OUTCOME_VIEW ? f->decision.transform : NULL;
	bool denied = f->decision.outcome == OUTCOME_DENY;
	char view_hex[SHA256_HEX_SIZE] = "";
	struct buf address = BUF_INIT;
	if (view)
		hex_format(view->hash.bytes, SHA256_SIZE, view_hex);
	buf_addf(&address, "%s/%s", slot->address, path);
	int r = buf_check(&address);
	struct read_facts facts = { .run = s->run_id,
				    .address = buf_text(&address),
				    .version = slot->address,
				    .file = path,
				    .view = view_hex,
				    .policy = f->verdict ? f->verdict->policy_hex : "",
				    .rules = f->decision.rules,
				    .outcome = denied ? READ_DENIED : READ_SERVED,
				    .pid = op->pid,
				    .view_text = view ? view->text : NULL };
	if (!r)
		r = recorder_open_record(s->mesh->recorder, &facts, ret_record);
	atomic_fetch_add_explicit(denied ? &s->mesh->denials : &s->mesh->opens, 1, memory_order_relaxed);
	buf_free(&address);
	return r;
}

/* -- OPEN ------------------------------------------------------------------------------------ */

struct backing {
	struct kernel *kernel;
	struct content *content;
};

/* The first open of a promoted node: from here on it passes through, or (evicted meanwhile, too many) does not. */
static uint32_t decide_backing(void *arg)
{
	struct backing *b = arg;
	int fd;
	if (content_whole_fd(b->content, &fd))
		return 0;
	uint32_t id = kernel_backing_open(b->kernel, fd);
	close(fd);
	return id;
}

/* The name should lead to the promoted twin from now on. */
static void offer_promotion(const struct handle *h)
{
	struct session *s = h->session;
	struct node_parts parent = { .slot = h->slot->number, .row = h->entry.parent };
	int fd;
	if (!kernel_passthrough(s->kernel) || h->st.st_size < PROMOTE_MIN || content_whole_fd(h->content, &fd))
		return;
	close(fd);
	const char *slash = strrchr(h->path, '/');
	notify_name(s->mesh->notifier, s, node_id(&parent), slash ? slash + 1 : h->path);
}

static int new_file_handle(struct session *s, const struct place *p, const char *path, struct face *f, struct handle **ret)
{
	struct handle *h = handle_new(s, HANDLE_FILE);
	if (!h || !(h->path = strdup(path))) {
		handle_free(h);
		return -ENOMEM;
	}
	h->slot = p->slot;
	nodes_slot_ref(s->nodes, h->slot, 1);
	tree_file_stat(s, p, f, &h->st);
	h->content = f->content;
	f->content = NULL;
	h->entry = p->entry;
	h->view = f->view;
	h->fetched_before = content_fetched_bytes(h->content);
	atomic_init(&h->epoch, f->verdict->epoch);
	atomic_init(&h->valid_until_ns, f->verdict->valid_until_ns);
	*ret = h;
	return 0;
}

static void serve(struct op *op, struct place *p, const char *path, struct face *f, uint64_t record)
{
	struct session *s = op->session;
	struct handle *h = NULL;
	bool promoted = p->parts.promoted;
	uint32_t backing_id = 0;
	int r = new_file_handle(s, p, path, f, &h);
	if (!r && promoted) {
		struct backing b = { s->kernel, h->content };
		r = nodes_backing(s->nodes, op->node, decide_backing, &b, &backing_id);
	}
	if (r) {
		recorder_close_record(s->mesh->recorder, record, 0);
		handle_free(h);
		op_fail(op, r);
		return;
	}
	h->record = record;
	if (!promoted)
		offer_promotion(h);
	struct op_open open = { .handle = (uintptr_t)h, .keep_cache = true, .backing_id = backing_id };
	if (op_reply_open(op, &open))
		handle_free(h);
}

static void open_entry(struct op *op, struct place *p)
{
	struct session *s = op->session;
	struct wait w = { 0 };
	struct manifest *m = NULL;
	struct buf path = BUF_INIT;
	struct face f = { 0 };
	uint64_t record = 0;
	int r = atomic_load(&p->slot->withdrawn) ? -ESTALE : slot_manifest(p->slot, &m);
	if (!r)
		r = place_path(p, m, &path);
	if (!r)
		r = slot_face(s, p->slot, &p->entry, buf_text(&path), true, &f);
	if (r == -EAGAIN && f.content) {
		w = (struct wait){ .kind = WAIT_CONTENT, .content = content_ref(f.content) };
		tree_wait(op, &w);
	} else if (r == -ENOENT || (!r && f.view != p->parts.view)) {
		op_fail(op, -ESTALE); /* hidden, or seen otherwise, since it was looked up: the kernel looks it up again */
	} else if (r) {
		op_fail(op, r == -EAGAIN ? -EIO : r);
	} else if ((r = record_open(op, p->slot, buf_text(&path), &f, &record))) {
		op_fail(op, r);
	} else if (f.decision.outcome == OUTCOME_DENY) {
		recorder_close_record(s->mesh->recorder, record, 0);
		verdict_refuse(f.verdict, buf_text(&path), f.decision.reason);
		op_fail(op, -EACCES);
	} else {
		serve(op, p, buf_text(&path), &f, record);
	}
	face_fini(&f);
	buf_free(&path);
	manifest_unref(m);
}

static void run_open(struct op *op)
{
	struct session *s = op->session;
	struct place p = { 0 };
	struct wait w = { 0 };
	if ((op->flags & O_ACCMODE) != O_RDONLY || (op->flags & O_TRUNC)) {
		op_fail(op, -EROFS);
		return;
	}
	int r = tree_place(s, op->node, &p, &w);
	if (r == -EAGAIN)
		tree_wait(op, &w);
	else if (r)
		op_fail(op, r);
	else if (p.kind == KIND_FILE && p.vnode->file->slow && !op->on_worker)
		op_defer(op);
	else if (p.kind == KIND_FILE)
		open_text(op, &p);
	else if (p.kind == KIND_ENTRY && p.entry.kind == ENTRY_FILE)
		open_entry(op, &p);
	else
		op_fail(op, -EISDIR);
	place_fini(s, &p);
}

void ll_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	ino = op_node(req, ino);
	struct op *op = op_new(req, draft_is(ino) ? draft_op_open : run_open, ino, NULL);
	if (!op)
		return;
	op->flags = fi->flags;
	op_resume(op);
}

/* -- READ ------------------------------------------------------------------------------------ */

/* Policy has changed since the file was opened, or the time of its decision is over: may it be read at all?  (A policy that does not load decides nothing here.) */
static void ask_again(struct handle *h, uint64_t epoch)
{
	struct session *s = h->session;
	struct face f = { 0 };
	int r = slot_face(s, h->slot, &h->entry, h->path, false, &f);
	bool loads = f.verdict ? f.verdict->policy != NULL : true;
	if (r == -ENOENT || (!r && loads && f.decision.outcome == OUTCOME_DENY))
		atomic_store(&h->revoked, true);
	if (f.verdict)
		atomic_store(&h->valid_until_ns, f.verdict->valid_until_ns);
	face_fini(&f);
	atomic_store(&h->epoch, epoch);
}

static bool is_readable(struct handle *h)
{
	uint64_t epoch = atomic_load_explicit(&h->session->mesh->policy_epoch, memory_order_acquire);
	int64_t until = atomic_load_explicit(&h->valid_until_ns, memory_order_relaxed);
	if (atomic_load_explicit(&h->epoch, memory_order_relaxed) != epoch || (until != INT64_MAX && clock_now_ns() >= until))
		ask_again(h, epoch);
	return !atomic_load(&h->revoked) && !atomic_load(&h->slot->withdrawn);
}

static void on_bytes(void *arg, int code, const struct iovec *parts, size_t count, size_t len)
{
	struct op *op = arg;
	(void)len;
	op_set_token(op, 0);
	if (code)
		op_fail(op, code);
	else
		op_reply_parts(op, parts, count);
}

/* The bytes are copied: as soon as the kernel has the answer it may release the handle, on another thread. */
static void read_text(struct op *op, const struct handle *h)
{
	size_t at = (uint64_t)op->offset < h->text.len ? (size_t)op->offset : h->text.len;
	size_t len = h->text.len - at < op->size ? h->text.len - at : op->size;
	char *bytes = malloc(len + 1);
	if (!bytes) {
		op_fail(op, -ENOMEM);
		return;
	}
	memcpy(bytes, buf_text(&h->text) + at, len);
	op_reply_bytes(op, bytes, len);
	free(bytes);
}

static void run_read(struct op *op)
{
	struct handle *h = handle_of(op->handle);
	uint64_t token = 0;
	if (h->kind == HANDLE_TEXT) {
		read_text(op, h);
		return;
	}
	if (!is_readable(h)) {
		op_fail(op, -ESTALE);
		return;
	}
	op->reading = true;
	op_ref(op);
	op_park(op);
	content_read(h->content, (uint64_t)op->offset, op->size, on_bytes, op, &token);
	op_set_token(op, token);
	op_unref(op);
}

void ll_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	ino = op_node(req, ino);
	struct op *op = op_new(req, draft_is(ino) ? draft_op_read : run_read, ino, NULL);
	if (!op)
		return;
	op->handle = fi->fh;
	op->size = size;
	op->offset = offset;
	op_resume(op);
}

void ll_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	ino = op_node(req, ino);
	struct handle *h = handle_of(fi->fh);
	struct node_parts parts;
	node_split(ino, &parts);
	if (h->kind == HANDLE_FILE && !parts.promoted)
		offer_promotion(h);
	handle_free(h);
	fuse_reply_err(req, 0);
}
