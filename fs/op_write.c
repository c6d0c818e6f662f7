/* Whatever would change something: a published version never does, a draft does (op_draft*.c). */
#define FUSE_USE_VERSION 314
#include "fs/op_draft.h"

#include "fs/handle.h"
#include "fs/notify.h"
#include "fs/op_draft_write.h"
#include "fs/state.h"
#include "fs/tree.h"

#include "catalog/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void refuse(fuse_req_t req)
{
	fuse_reply_err(req, EROFS);
}

/* -- the folders that hold drafts ----------------------------------------------------------------- */

/* What the version will change the meaning of is not believed any longer (op_dir.c), so that it is right the moment it is published. */
static void expect_version(struct session *s, const struct vnode *product, const char *version)
{
	char name[VERSION_SIZE];
	snprintf(name, sizeof name, "%s", version);
	notify_name(s->mesh->notifier, s, product->id, "latest");
	for (char *dot; (dot = strrchr(name, '.'));) {
		*dot = '\0';
		notify_name(s->mesh->notifier, s, product->id, name);
	}
}

static int product_mkdir(struct session *s, const struct vnode *product, const char *name, struct op_entry *ret)
{
	char version[VERSION_SIZE];
	struct err e = ERR_INIT;
	if (!draft_name_version(name, version))
		return -EROFS;
	int r = draft_permitted(s, product->domain, product->product, version, &e);
	if (r)
		log_warn("%s/%s/%s: %s", product->domain->config->name, product->product, name, e.text);
	if (!r)
		r = draft_make(s, product->domain, product->product, name, ret);
	if (!r)
		expect_version(s, product, version);
	return r;
}

static int domain_mkdir(struct session *s, const struct place *parent, const char *name, struct op_entry *ret)
{
	struct domain_host *h = parent->vnode->domain;
	struct place child = { 0 };
	struct wait w = { 0 };
	struct err e = ERR_INIT;
	if (name_check("product", name, &e))
		return -EINVAL;
	int r = draft_permitted(s, h, name, NULL, &e);
	if (r)
		log_warn("%s/%s: %s", h->config->name, name, e.text);
	if (!r)
		r = draft_product_make(s, h, name);
	if (!r)
		r = tree_child(s, parent, name, true, &child, &w);
	if (!r)
		r = tree_attributes(s, &child, ret, &w);
	if (!r)
		r = nodes_looked_up(s->nodes, ret->id);
	place_fini(s, &child);
	wait_fini(s, &w);
	return r;
}

static void run_mkdir(struct op *op)
{
	struct session *s = op->session;
	struct place p = { 0 };
	struct wait w = { 0 };
	struct op_entry entry;
	int r = tree_place(s, op->node, &p, &w);
	if (r == -EAGAIN) {
		tree_wait(op, &w);
		return;
	}
	if (!r)
		r = p.kind == KIND_PRODUCT ? product_mkdir(s, p.vnode, op->name, &entry) :
		    p.kind == KIND_DOMAIN  ? domain_mkdir(s, &p, op->name, &entry) :
					     -EROFS;
	place_fini(s, &p);
	if (r) {
		op_fail(op, r);
	} else if (draft_is(entry.id)) {
		draft_reply_entry(op, &entry);
	} else if (op_reply_entry(op, &entry)) {
		nodes_forget(s->nodes, entry.id, 1);
	}
}

static void run_rmdir(struct op *op)
{
	struct session *s = op->session;
	struct place p = { 0 };
	struct wait w = { 0 };
	int r = tree_place(s, op->node, &p, &w);
	if (r == -EAGAIN) {
		tree_wait(op, &w);
		return;
	}
	if (!r && p.kind == KIND_PRODUCT && draft_name_version(op->name, NULL))
		r = draft_remove(s, p.vnode->domain, p.vnode->product, op->name);
	else if (!r)
		r = p.kind == KIND_DOMAIN ? draft_product_remove(s, p.vnode->domain, op->name) : -EROFS;
	place_fini(s, &p);
	if (r)
		op_fail(op, r);
	else
		op_ok(op);
}

/* `mv 1.3.0.draft 1.3.0` publishes; a draft has no other name. */
static void publish(struct op *op, uint64_t to, const char *to_name)
{
	struct session *s = op->session;
	struct place p = { 0 };
	struct wait w = { 0 };
	char version[VERSION_SIZE];
	int r = tree_place(s, op->node, &p, &w);
	wait_fini(s, &w);
	bool draft = !r && p.kind == KIND_PRODUCT && draft_name_version(op->name, version);
	if (r || !draft)
		op_fail(op, r ? r : -EROFS);
	else if (to != op->node || strcmp(version, to_name) != 0)
		draft_misnamed(op, p.vnode->domain, p.vnode->product, op->name, to_name);
	else
		draft_publish(op, p.vnode->domain, p.vnode->product, op->name);
	place_fini(s, &p);
}

/* -- requests --------------------------------------------------------------------------------------- */

static void ll_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	ino = op_node(req, ino);
	(void)fi;
	struct op *op = draft_is(ino) ? op_new(req, NULL, ino, NULL) : NULL;
	if (op)
		draft_op_setattr(op, attr, to_set);
	else if (!draft_is(ino))
		refuse(req);
}

static void ll_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	parent = op_node(req, parent);
	(void)name, (void)mode, (void)rdev;
	fuse_reply_err(req, draft_is(parent) ? EPERM : EROFS);
}

static void ll_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	parent = op_node(req, parent);
	struct op *op = op_new(req, run_mkdir, parent, name);
	if (!op)
		return;
	if (draft_is(parent))
		draft_op_mkdir(op, mode);
	else
		op_resume(op);
}

static void ll_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	parent = op_node(req, parent);
	struct op *op = draft_is(parent) ? op_new(req, NULL, parent, name) : NULL;
	if (op)
		draft_op_remove(op, false);
	else if (!draft_is(parent))
		refuse(req);
}

static void ll_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	parent = op_node(req, parent);
	struct op *op = op_new(req, run_rmdir, parent, name);
	if (!op)
		return;
	if (draft_is(parent))
		draft_op_remove(op, true);
	else
		op_resume(op);
}

static void ll_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	parent = op_node(req, parent);
	struct op *op = draft_is(parent) ? op_new(req, NULL, parent, name) : NULL;
	if (op)
		draft_op_symlink(op, target);
	else if (!draft_is(parent))
		refuse(req);
}

static void ll_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to, const char *to_name, unsigned flags)
{
	parent = op_node(req, parent);
	to = op_node(req, to);
	if (draft_is(parent) != draft_is(to)) { /* out of a draft into the tree, or back */
		refuse(req);
		return;
	}
	struct op *op = op_new(req, NULL, parent, name);
	if (!op)
		return;
	if (draft_is(parent))
		draft_op_rename(op, to, to_name, flags);
	else
		publish(op, to, to_name);
}

static void ll_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	parent = op_node(req, parent);
	struct op *op = draft_is(parent) ? op_new(req, NULL, parent, name) : NULL;
	if (op)
		draft_op_link(op, op_node(req, ino));
	else if (!draft_is(parent))
		refuse(req);
}

static void ll_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	parent = op_node(req, parent);
	struct op *op = draft_is(parent) ? op_new(req, NULL, parent, name) : NULL;
	if (op) {
		op->flags = fi->flags;
		draft_op_create(op, mode);
	} else if (!draft_is(parent)) {
		refuse(req);
	}
}

/* A request on an open file of a draft; NULL: answered. */
static struct op *file_op(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	ino = op_node(req, ino);
	struct op *op = draft_is(ino) ? op_new(req, NULL, ino, NULL) : NULL;
	if (op)
		op->handle = fi->fh;
	else if (!draft_is(ino))
		refuse(req);
	return op;
}

static void ll_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct op *op = file_op(req, ino, fi);
	if (!op)
		return;
	op->size = size;
	op->offset = offset;
	draft_op_write(op, bytes);
}

static void ll_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
	struct op *op = file_op(req, ino, fi);
	if (!op)
		return;
	op->offset = offset;
	draft_op_fallocate(op, mode, length);
}

static void ll_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	struct op *op = op_new(req, NULL, ino, NULL);
	if (!op)
		return;
	op->handle = fi->fh;
	draft_op_fsync(op, data_only);
}

static void ll_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	ino = op_node(req, ino);
	(void)name, (void)value, (void)size, (void)flags;
	fuse_reply_err(req, draft_is(ino) ? ENOTSUP : EROFS);
}

static void ll_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	ino = op_node(req, ino);
	(void)name;
	fuse_reply_err(req, draft_is(ino) ? ENODATA : EROFS);
}

void ll_writes(struct fuse_lowlevel_ops *ops)
{
	ops->setattr = ll_setattr;
	ops->mknod = ll_mknod;
	ops->mkdir = ll_mkdir;
	ops->unlink = ll_unlink;
	ops->rmdir = ll_rmdir;
	ops->symlink = ll_symlink;
	ops->rename = ll_rename;
	ops->link = ll_link;
	ops->create = ll_create;
	ops->write = ll_write;
	ops->fallocate = ll_fallocate;
	ops->fsync = ll_fsync;
	ops->fsyncdir = ll_fsync;
	ops->setxattr = ll_setxattr;
	ops->removexattr = ll_removexattr;
}
