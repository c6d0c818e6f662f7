/*
 * Folders: OPENDIR, READDIR, READDIRPLUS, RELEASEDIR.
 *
 * Offsets name what was returned last: 1 ".", 2 "..", then within a version the manifest row (opaque.h) + 3 (a row never changes, so
 * any offset stays good), elsewhere the position in the list made when the reading began + 3.
 */
#define FUSE_USE_VERSION 314
#include "fs/op_table.h"

#include "fs/content.h"
#include "fs/handle.h"
#include "fs/hold.h"
#include "fs/kernel.h"
#include "fs/node.h"
#include "fs/op.h"
#include "fs/op_draft.h"
#include "fs/state.h"
#include "fs/tree.h"
#include "fs/virtual.h"

#include "catalog/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 64
#define UNKNOWN_INO 0xffffffff
#define ROW_HALF_BITS 31 /* offsets are positive */

struct out {
	struct op *op;
	char *bytes;
	size_t used, size;
	bool full;
	bool may_hide; /* files of this version may be hidden: each has to be asked for */
	uint64_t *counted; /* nodes that this reply tells the kernel of */
	size_t counted_count;
};

/* -- OPENDIR --------------------------------------------------------------------------------- */

static void run_opendir(struct op *op)
{
	struct session *s = op->session;
	struct place p = { 0 };
	struct wait w = { 0 };
	struct manifest *m = NULL;
	struct handle *h = NULL;
	int r = tree_place(s, op->node, &p, &w);
	if (!r && p.kind == KIND_ENTRY) {
		r = atomic_load(&p.slot->withdrawn) ? -ESTALE : slot_manifest(p.slot, &m);
		if (r == -EAGAIN) {
			nodes_slot_ref(s->nodes, p.slot, 1);
			w = (struct wait){ .kind = WAIT_MANIFEST, .slot = p.slot };
		}
	}
	if (!r && p.kind == KIND_ENTRY && p.entry.row == MANIFEST_ROOT)
		r = manifest_get(m, MANIFEST_ROOT, &p.entry);
	if (!r && !(h = handle_new(s, HANDLE_FOLDER)))
		r = -ENOMEM;
	manifest_unref(m);
	if (r) {
		place_fini(s, &p);
		if (r == -EAGAIN)
			tree_wait(op, &w);
		else
			op_fail(op, r);
		return;
	}
	h->place = p;
	struct op_open open = { .handle = (uintptr_t)h };
	if (op_reply_open(op, &open))
		handle_free(h);
}

void ll_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	ino = op_node(req, ino);
	(void)fi;
	struct op *op = op_new(req, draft_is(ino) ? draft_op_opendir : run_opendir, ino, NULL);
	if (op)
		op_resume(op);
}

void ll_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	handle_free(handle_of(fi->fh));
	fuse_reply_err(req, 0);
}

/* -- entries --------------------------------------------------------------------------------- */

static bool keep_room(struct out *o)
{
	if (o->counted_count & (o->counted_count - 1) || (o->counted_count && o->counted_count < 32))
		return true;
	size_t room = o->counted_count ? o->counted_count * 2 : 32;
	uint64_t *more = realloc(o->counted, room * sizeof *more);
	if (more)
		o->counted = more;
	return more;
}

static bool emit(struct out *o, const char *name, const struct stat *st, const struct op_entry *entry, int64_t next)
{
	struct session *s = o->op->session;
	char *at = o->bytes + o->used;
	size_t room = o->size - o->used, n;
	/* Counted before the kernel can know; "." and ".." are not counted. */
	bool counted = entry && keep_room(o) && !nodes_looked_up(s->nodes, entry->id);
	if (o->op->plus)
		n = op_add_entry_plus(o->op, at, room, name, st, counted ? entry : NULL, next);
	else
		n = op_add_entry(o->op, at, room, name, st, next);
	if (n > room) {
		if (counted)
			nodes_forget(s->nodes, entry->id, 1);
		o->full = true;
		return false;
	}
	if (counted)
		o->counted[o->counted_count++] = entry->id;
	o->used += n;
	return true;
}

static bool emit_dots(struct out *o, const struct handle *h, int64_t offset)
{
	struct stat st = { .st_mode = S_IFDIR, .st_ino = tree_ino(o->op->session, h->place.id) };
	if (offset < 1 && !emit(o, ".", &st, NULL, 1))
		return false;
	return offset >= 2 || emit(o, "..", &st, NULL, 2);
}

/* -- folders within versions ----------------------------------------------------------------- */

struct batch {
	struct manifest_entry entries[BATCH_MAX];
	char names[BATCH_MAX][256];
	size_t count;
	bool broken;
};

static int take_entry(void *arg, const struct manifest_entry *entry, const char *name, size_t name_len)
{
	struct batch *b = arg;
	if (name_len > 255 || entry->row > NODE_ROW_MAX) {
		b->broken = true;
		return 1;
	}
	b->entries[b->count] = *entry;
	memcpy(b->names[b->count], name, name_len);
	b->names[b->count++][name_len] = '\0';
	return b->count == BATCH_MAX;
}

/* Attributes without waiting: an entry whose view's size is not known is listed without.  -ENOENT: hidden. */
static int entry_attributes(struct session *s, struct slot *slot, const struct manifest_entry *me, const char *name, struct op_entry *ret)
{
	struct place p = { .kind = KIND_ENTRY, .slot = slot, .entry = *me, .name = name };
	struct wait w = { 0 };
	p.parts = (struct node_parts){ .slot = slot->number, .row = me->row };
	p.id = node_id(&p.parts);
	int r = tree_attributes(s, &p, ret, &w);
	wait_fini(s, &w);
	return r;
}

static bool emit_entry(struct out *o, const struct handle *h, const struct manifest_entry *me, const char *name)
{
	static const mode_t modes[] = { 0, S_IFDIR, S_IFREG, S_IFLNK };
	struct session *s = o->op->session;
	struct slot *slot = h->place.slot;
	struct node_parts parts = { .slot = slot->number, .row = me->row };
	struct stat bare = { .st_mode = modes[me->kind], .st_ino = tree_ino(s, node_id(&parts)) };
	struct op_entry entry;
	int64_t next = (int64_t)opaque_put(&s->opaque, me->row, ROW_HALF_BITS) + 3;
	int r = o->op->plus || o->may_hide ? entry_attributes(s, slot, me, name, &entry) : 0;
	if (r == -ENOENT)
		return true;
	return emit(o, name, &bare, r || !o->op->plus ? NULL : &entry, next);
}

static int read_version(struct out *o, const struct handle *h, int64_t offset)
{
	struct manifest *m = NULL;
	struct batch *b = malloc(sizeof *b);
	int r = b ? slot_manifest(h->place.slot, &m) : -ENOMEM;
	uint64_t after = offset > 2 ? opaque_get(&o->op->session->opaque, (uint64_t)offset - 3, ROW_HALF_BITS) : 0;
	struct verdict *verdict = NULL;
	o->may_hide = slot_verdict(o->op->session, h->place.slot, &verdict, NULL) || verdict->outcome != OUTCOME_ALLOW;
	verdict_unref(verdict);
	while (!r && !o->full) {
		b->count = 0;
		b->broken = false;
		r = manifest_list(m, h->place.entry.row, after, take_entry, b);
		if (r > 0)
			r = 0;
		if (r || !b->count)
			break;
		for (size_t i = 0; i < b->count && !o->full; i++) {
			if (emit_entry(o, h, &b->entries[i], b->names[i]))
				after = b->entries[i].row;
		}
		if (b->broken)
			r = -EIO;
	}
	manifest_unref(m);
	free(b);
	return r;
}

/* -- other folders --------------------------------------------------------------------------- */

static int add_item(void *arg, const char *name, enum node_kind kind, uint64_t ino)
{
	return folder_add(arg, name, kind, ino);
}

static mode_t type_of(enum node_kind kind)
{
	return kind == KIND_FILE ? S_IFREG : kind == KIND_LINK ? S_IFLNK : S_IFDIR;
}

static bool emit_item(struct out *o, const struct handle *h, const struct folder_item *item, int64_t next)
{
	struct session *s = o->op->session;
	struct stat bare = { .st_mode = type_of(item->kind), .st_ino = item->ino ? item->ino : UNKNOWN_INO };
	struct place child = { 0 };
	struct wait w = { 0 };
	struct op_entry entry;
	bool known = o->op->plus && !tree_child(s, &h->place, item->name, true, &child, &w) &&
		     !(child.kind == KIND_FILE && child.vnode->file->slow) && !tree_attributes(s, &child, &entry, &w);
	if (known)
		bare.st_ino = entry.st.st_ino;
	bool fits = emit(o, item->name, &bare, known ? &entry : NULL, next);
	place_fini(s, &child);
	wait_fini(s, &w);
	return fits;
}

static int read_virtual(struct out *o, struct handle *h, int64_t offset, struct wait *w)
{
	if (offset < 3 && !o->op->held) {
		folder_clear(h);
		int r = tree_list(o->op->session, &h->place, o->op->waited, add_item, h, w);
		if (r)
			return r;
		o->op->held = o->op->session->hold && h->place.kind == KIND_QUERY; /* how long it took tells of what is found and hidden */
		if (o->op->held)
			return -EINPROGRESS;
	}
	for (size_t i = offset < 3 ? 0 : (size_t)offset - 2; i < h->item_count; i++) {
		if (!emit_item(o, h, &h->items[i], (int64_t)i + 3))
			break;
	}
	return 0;
}

static void run_readdir(struct op *op)
{
	struct handle *h = handle_of(op->handle);
	struct session *s = op->session;
	struct wait w = { 0 };
	struct out o = { .op = op, .bytes = malloc(op->size), .size = op->size };
	int r = o.bytes ? 0 : -ENOMEM;
	if (!r && emit_dots(&o, h, op->offset)) {
		if (h->place.kind == KIND_ENTRY)
			r = read_version(&o, h, op->offset);
		else
			r = read_virtual(&o, h, op->offset, &w);
	}
	if (r == -EAGAIN && w.kind)
		tree_wait(op, &w);
	else if (r == -EINPROGRESS)
		hold_until(s->hold, op, op->arrived_ns);
	else if (r)
		op_fail(op, r);
	else if (op_reply_bytes(op, o.bytes, o.used)) {
		for (size_t i = 0; i < o.counted_count; i++)
			nodes_forget(s->nodes, o.counted[i], 1);
		o.counted_count = 0;
	}
	free(o.counted);
	free(o.bytes);
}

static void readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi, bool plus)
{
	ino = op_node(req, ino);
	struct op *op = op_new(req, draft_is(ino) ? draft_op_readdir : run_readdir, ino, NULL);
	if (!op)
		return;
	op->handle = fi->fh;
	op->size = size;
	op->offset = offset;
	op->plus = plus;
	op->arrived_ns = clock_mono_ns();
	op_resume(op);
}

void ll_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	readdir(req, ino, size, offset, fi, false);
}

void ll_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	readdir(req, ino, size, offset, fi, true);
}
