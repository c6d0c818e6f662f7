/*
 * A draft's publication: under which contract, by which checks, and its commit.  Checks that have seen too much run again over the files as they are
 * (from the local disk; nothing is uploaded twice).
 */
#include "fs/draft_feed.h"

#include "fs/row_index.h"
#include "fs/sql_engine.h"
#include "fs/state.h"

#include "catalog/base/io.h"
#include "catalog/base/map.h"
#include "catalog/gate.h"
#include "catalog/publish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONTRACT_MAX (4u << 20)
#define FEED_BYTES (1u << 20)

/* -- the publication ------------------------------------------------------------------------------- */

void feed_drop(struct feed *f)
{
	publish_free(f->publication);
	row_maker_free(f->rows);
	row_maker_free(f->rows_again);
	gate_free(f->gate);
	gate_free(f->again);
	sql_engine_free(f->engine);
	free(f->files_folder);
	f->files_folder = NULL;
	f->engine = NULL;
	f->rows = f->rows_again = NULL;
	map_free(f->files, free);
	map_free(f->folders, NULL);
	f->publication = NULL;
	f->gate = f->again = NULL;
	f->files = f->folders = NULL;
	f->dirty = f->asked = false;
}

void feed_free(struct feed *f)
{
	if (!f)
		return;
	feed_drop(f);
	buf_free(&f->contract);
	buf_free(&f->problems);
	free(f);
}

static int read_contract(struct draft *d, struct buf *ret, bool *ret_has, struct err *e)
{
	struct stat st;
	int fd = draft_open_file(d, "meta/contract.yaml");
	*ret_has = fd >= 0;
	if (fd == -ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		if (fd >= 0)
			close(fd);
		return err_set_kind(e, ERR_REFUSED, -EPERM, ".mesh/contract.yaml: not a regular file");
	}
	int r = io_read_fd(fd, ".mesh/contract.yaml", CONTRACT_MAX, ret, e);
	close(fd);
	return r;
}

static int open_for_engine(void *arg, const char *path)
{
	char where[DRAFT_PATH_SIZE + 8];
	snprintf(where, sizeof where, "files/%s", path);
	return draft_open_file(arg, where);
}

static int feed_begin(struct draft *d, struct err *e)
{
	struct feed *f = d->feed;
	const struct session *s = d->set->session;
	const struct sql_bounds bounds = { s->mesh->config->sql_limit_ms, &d->cancel };
	f->files = map_new();
	f->folders = map_new();
	f->gate = gate_new();
	f->rows = f->gate ? row_maker_new(gate_observer(f->gate)) : NULL;
	f->files_folder = io_join(d->folder, "files");
	if (f->files_folder)
		f->engine = sql_engine_new_opened((const char *const *)&f->files_folder, open_for_engine, d, &bounds);
	if (!f->files || !f->folders || !f->rows || !f->engine)
		return err_set(e, -ENOMEM, "no memory");
	const struct publish_options options = { .product = d->product,
						 .version = d->version,
						 .contract_name = f->has_contract ? ".mesh/contract.yaml" : NULL,
						 .contract_text = f->has_contract ? buf_text(&f->contract) : NULL,
						 .contract_len = f->contract.len,
						 .publisher = s->subject.user,
						 .run = s->run_id,
						 .replace = true,
						 .observer = row_maker_observer(f->rows),
						 .interrupted = &d->cancel };
	int r = publish_begin(d->domain->domain, &options, &f->publication, e);
	if (!r)
		r = gate_open(f->gate, f->publication, d->domain->domain, d->product, sql_engine_quality(f->engine), e);
	return r ? r : row_maker_open(f->rows, f->publication, d->domain->domain, e);
}

int feed_ready(struct draft *d, struct err *e)
{
	struct feed *f = d->feed;
	struct buf now = BUF_INIT;
	bool has = false;
	int r = read_contract(d, &now, &has, e);
	bool same = !r && has == f->has_contract && now.len == f->contract.len && !memcmp(buf_text(&now), buf_text(&f->contract), now.len);
	if (!r && !same) {
		feed_drop(f);
		buf_free(&f->contract);
		f->contract = now;
		f->has_contract = has;
	} else {
		buf_free(&now);
	}
	if (!r && !f->publication)
		r = feed_begin(d, e);
	if (r)
		feed_drop(f);
	return r;
}

/* -- checks -------------------------------------------------------------------------------------------- */

static int observe(struct draft *d, const struct publish_observer *o, const char *path, char *bytes, struct err *e)
{
	char where[DRAFT_PATH_SIZE + 8];
	snprintf(where, sizeof where, "files/%s", path);
	struct stat st;
	int fd = draft_open_file(d, where), r = 0;
	if (fd < 0 || fstat(fd, &st))
		r = err_set(e, fd < 0 ? fd : -errno, "%s: %s", path, strerror(fd < 0 ? -fd : errno));
	if (!r)
		r = o->file_begin(o->arg, path, (uint64_t)st.st_size, e);
	ssize_t n = 1;
	while (!r && n) {
		if (atomic_load(&d->cancel)) {
			r = err_set(e, -EINTR, "interrupted");
			break;
		}
		n = read(fd, bytes, FEED_BYTES);
		if (n < 0)
			r = err_set(e, -errno, "%s: %s", path, strerror(errno));
		else if (n)
			r = o->bytes(o->arg, path, bytes, (size_t)n, e);
	}
	if (!r)
		r = o->file_end(o->arg, path, e);
	if (fd >= 0)
		close(fd);
	return r;
}

/* Runs the checks over the files as they are. */
static int check_again(struct draft *d, struct err *e)
{
	struct feed *f = d->feed;
	size_t i = 0, len;
	const void *key;
	void *value;
	struct buf path = BUF_INIT;
	char *bytes = malloc(FEED_BYTES);
	row_maker_free(f->rows_again);
	gate_free(f->again);
	f->again = gate_new();
	f->rows_again = f->again ? row_maker_new(gate_observer(f->again)) : NULL;
	int r = bytes && f->rows_again ? 0 : err_set(e, -ENOMEM, "no memory");
	if (!r)
		r = gate_open(f->again, f->publication, d->domain->domain, d->product, sql_engine_quality(f->engine), e);
	if (!r)
		r = row_maker_open(f->rows_again, f->publication, d->domain->domain, e);
	while (!r && map_next(f->files, &i, &key, &len, &value)) {
		buf_clear(&path);
		buf_add(&path, key, len);
		r = observe(d, row_maker_observer(f->rows_again), buf_text(&path), bytes, e);
	}
	buf_free(&path);
	free(bytes);
	return r;
}

static int check(struct draft *d, struct err *e)
{
	struct feed *f = d->feed;
	int r = f->dirty ? check_again(d, e) : 0;
	if (!r)
		r = gate_close(f->dirty ? f->again : f->gate, f->publication, NULL, &f->problems, e);
	return r ? r : row_maker_close(f->dirty ? f->rows_again : f->rows, f->publication, e);
}

/* -- ahead of the rename ------------------------------------------------------------------------------- */

/* Files are read by their paths while they may still be changed: wrong answers are forgotten then, but a symlink could take the place of a folder.  So not
 * with the rights of another than the writer. */
bool feed_may_ask(const struct draft *d)
{
	const struct feed *f = d->feed;
	return f && f->publication && !f->asked && !f->dirty && !f->broken && geteuid() == d->set->session->who.uid && gate_wants_engine(f->gate);
}

int feed_ask_ahead(struct draft *d)
{
	struct feed *f = d->feed;
	int r = publish_flush(f->publication, NULL); /* until then small files wait for more, unseen by the gate */
	if (!r)
		r = gate_ask_ahead(f->gate);
	sql_engine_rest(f->engine);
	if (r)
		sql_engine_forget(f->engine);
	f->asked = !r;
	return r;
}

/* The files are not what they were. */
void feed_changed(struct feed *f)
{
	sql_engine_forget(f->engine);
	f->asked = false;
}

/* -- the commit ---------------------------------------------------------------------------------------- */

int feed_publish(struct draft *d, struct publish_result *result, struct err *e)
{
	struct feed *f = d->feed;
	buf_clear(&f->problems);
	int r = feed_ready(d, e);
	if (!r)
		r = feed_settle(d, e);
	if (!r)
		r = check(d, e);
	if (!r)
		r = publish_commit(f->publication, result, e);
	feed_drop(f); /* it committed, or what it holds may not be what the next try finds */
	return r;
}
