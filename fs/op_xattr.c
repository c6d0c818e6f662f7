/* Extended attributes: user.mesh.* tells what a file is.  One table drives reading and listing. */
#define FUSE_USE_VERSION 314
#include "fs/op_table.h"

#include "fs/draft.h"

#include "fs/content.h"
#include "fs/node.h"
#include "fs/op.h"
#include "fs/state.h"
#include "fs/tree.h"
#include "fs/virtual.h"

#include "catalog/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct subject_file {
	struct session *session;
	const struct place *place;
	const char *path; /* within the version */
	const struct face *face; /* files only */
};

static int get_address(const struct subject_file *f, struct buf *ret)
{
	buf_adds(ret, f->place->slot->address);
	if (*f->path)
		buf_addf(ret, "/%s", f->path);
	return 0;
}

static int get_hash(const struct subject_file *f, struct buf *ret)
{
	struct xxh128 hash = f->place->entry.hash;
	char hex[XXH128_HEX_SIZE];
	if (!f->face || f->face->decision.outcome == OUTCOME_DENY)
		return -ENODATA;
	if (f->face->decision.outcome == OUTCOME_VIEW && content_hash(f->face->content, &hash))
		return -ENODATA;
	hex_format(hash.bytes, XXH128_SIZE, hex);
	buf_adds(ret, hex);
	return 0;
}

static int get_policy(const struct subject_file *f, struct buf *ret)
{
	if (!f->face)
		return -ENODATA;
	if (f->face->decision.outcome == OUTCOME_DENY)
		buf_addf(ret, "%s%s", text_starts(f->face->decision.reason, "denied") ? "" : "denied: ", f->face->decision.reason);
	else if (f->face->decision.outcome == OUTCOME_VIEW)
		transform_summary(f->face->decision.transform, ret);
	else
		buf_adds(ret, "none");
	return 0;
}

static int get_media_type(const struct subject_file *f, struct buf *ret)
{
	if (!f->face)
		return -ENODATA;
	buf_adds(ret, media_type_of(f->path));
	return 0;
}

static const struct {
	const char *name;
	int (*get)(const struct subject_file *f, struct buf *ret);
} attributes[] = {
	{ "user.mesh.address", get_address },
	{ "user.mesh.hash", get_hash },
	{ "user.mesh.policy", get_policy },
	{ "user.mesh.media_type", get_media_type },
};

#define ATTRIBUTE_COUNT (sizeof attributes / sizeof *attributes)

/* Appends one attribute, or (no name) the names of all that are there. */
static int collect(const struct subject_file *f, const char *name, struct buf *ret)
{
	for (size_t i = 0; i < ATTRIBUTE_COUNT; i++) {
		struct buf value = BUF_INIT;
		if (name && strcmp(name, attributes[i].name) != 0)
			continue;
		int r = attributes[i].get(f, name ? ret : &value);
		buf_free(&value);
		if (name)
			return r;
		if (!r)
			buf_add(ret, attributes[i].name, strlen(attributes[i].name) + 1);
	}
	return name ? -ENODATA : 0;
}

static int xattr_value(struct session *s, const struct place *p, const char *name, struct buf *ret, struct wait *w)
{
	struct buf path = BUF_INIT;
	struct manifest *m = NULL;
	struct face face = { 0 };
	struct subject_file f = { s, p, "", NULL };
	if (p->entry.kind == ENTRY_SYMLINK) /* the kernel gives none of their user.* attributes: a name listed could not be read */
		return name ? -ENODATA : 0;
	int r = 0;
	/* The folder of a version is told of without its manifest: `ls -l` of a product asks for each. */
	if (p->entry.row != MANIFEST_ROOT && !(r = slot_manifest(p->slot, &m)))
		r = manifest_path(m, p->entry.row, &path);
	if (!r)
		r = buf_check(&path);
	if (!r && p->entry.kind == ENTRY_FILE) {
		r = slot_face(s, p->slot, &p->entry, buf_text(&path), false, &face);
		if (r == -EAGAIN)
			*w = (struct wait){ .kind = WAIT_CONTENT, .content = content_ref(face.content) };
		f.face = &face;
	}
	f.path = buf_text(&path);
	if (!r)
		r = collect(&f, name, ret);
	face_fini(&face);
	manifest_unref(m);
	buf_free(&path);
	return r ? r : buf_check(ret);
}

static void run_xattr(struct op *op)
{
	struct session *s = op->session;
	struct place p = { 0 };
	struct wait w = { 0 };
	struct buf value = BUF_INIT;
	int r = tree_place(s, op->node, &p, &w);
	if (!r && p.kind == KIND_ENTRY)
		r = xattr_value(s, &p, op->name, &value, &w);
	else if (!r && op->name)
		r = -ENODATA;
	if (r == -EAGAIN && !w.kind) /* not known yet, and nobody waits for it */
		r = op->name ? -ENODATA : 0;
	if (r == -EAGAIN)
		tree_wait(op, &w);
	else if (r)
		op_fail(op, r);
	else if (!op->size)
		op_reply_size(op, value.len);
	else if (value.len > op->size)
		op_fail(op, -ERANGE);
	else
		op_reply_bytes(op, buf_text(&value), value.len);
	buf_free(&value);
	place_fini(s, &p);
}

void ll_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	ino = op_node(req, ino);
	/* Not ENODATA: `ls -l` asks for security.* of every file until it hears that there is no such thing. */
	if (!text_starts(name, "user.")) {
		fuse_reply_err(req, ENOTSUP);
		return;
	}
	if (!text_starts(name, "user.mesh.") || draft_is(ino)) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	struct op *op = op_new(req, run_xattr, ino, name);
	if (!op)
		return;
	op->size = size;
	op_resume(op);
}

void ll_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	ino = op_node(req, ino);
	if (draft_is(ino)) {
		if (size)
			fuse_reply_buf(req, NULL, 0);
		else
			fuse_reply_xattr(req, 0);
		return;
	}
	struct op *op = op_new(req, run_xattr, ino, NULL);
	if (!op)
		return;
	op->size = size;
	op_resume(op);
}
