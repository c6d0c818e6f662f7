/* Counting rows of a published file, through a view: for `rows N of M` in tests. */
#include "fs/content.h"
#include "fs/policy_command.h"
#include "policy/attribute.h"
#include "policy/key.h"
#include "policy/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_FILE_MAX (1u << 30) /* a test's file is an example, not a warehouse */

static int read_source(void *arg, uint64_t offset, void *bytes, size_t len, struct err *e)
{
	return content_read_wait(arg, offset, bytes, len, e);
}

static int get_key(void *arg, const char *name, unsigned char ret_key[32], struct err *e)
{
	return policy_key_read(arg, name, ret_key, e);
}

static int drop_bytes(void *arg, const void *bytes, size_t len)
{
	(void)arg;
	(void)bytes;
	(void)len;
	return 0;
}

/* -- through the view -------------------------------------------------------------------------- */

static int count_chunk(const struct view_plan *plan, const struct view_source *s, struct view_stats *stats, struct err *e)
{
	char *bytes = malloc(s->size + 1);
	struct buf out = BUF_INIT;
	int r = bytes ? s->read(s->arg, 0, bytes, s->size, e) : err_set(e, -ENOMEM, "out of memory");
	if (!r)
		r = view_chunk(plan, 0, bytes, s->size, &out, stats, e);
	buf_free(&out);
	free(bytes);
	return r;
}

static int count_view(const struct view_source *s, struct transform *t, const struct view_keys *keys, struct view_stats *stats, struct err *e)
{
	struct view_plan *plan = NULL;
	int r = view_plan_new(t, s, keys, &plan, e);
	if (r)
		return r;
	switch (view_plan_kind(plan)) {
	case VIEW_CHUNKED:
		r = count_chunk(plan, s, stats, e);
		break;
	case VIEW_WHOLE:
		r = view_whole(plan, s, drop_bytes, NULL, stats, e);
		break;
	case VIEW_SEGMENTS:
		r = err_set(e, -ENOTSUP, "rows of this view are not counted one by one");
		break;
	}
	view_plan_free(plan);
	return r;
}

static int count_content(struct policy_command *c, struct content *content, uint64_t size, const char *path, struct transform *t,
			 int64_t *ret_shown, int64_t *ret_all, struct err *e)
{
	struct view_source s = { read_source, content, size, path };
	struct view_keys keys = { get_key, c->browse.mesh };
	struct view_stats stats = { 0 };
	if (size > ROWS_FILE_MAX)
		return err_set(e, -EFBIG, "it is too large for a test");
	int r = count_view(&s, t, &keys, &stats, e);
	if (r)
		return r;
	*ret_shown = (int64_t)stats.rows_out;
	*ret_all = (int64_t)(stats.rows_in);
	return 0;
}

/* A view that changes nothing, for files that are read as they are. */
static struct transform *identity(struct loaded_version *v, const char *path)
{
	static const struct mask keep = { .kind = MASK_KEEP };
	const struct contract_object *o = v->facts.contract ? contract_object_for(v->facts.contract, path) : NULL;
	struct expr *all = expr_constant(TRUTH_TRUE);
	struct transform *t = all ? transform_new(NULL, 0, &keep, all, v->facts.contract, o) : NULL;
	expr_free(all);
	return t;
}

static int count_file(struct policy_command *c, struct loaded_version *v, const char *path, struct transform *t, int64_t *ret_shown,
		      int64_t *ret_all, struct err *e)
{
	struct reader_config config = { .cache_folder = c->browse.mesh->cache_folder, .cache_limit_bytes = c->browse.mesh->cache_limit_bytes,
					.keys = { get_key, c->browse.mesh } };
	struct reader *reader = NULL;
	struct manifest *m = NULL;
	struct content *content = NULL;
	struct manifest_entry entry;
	struct transform *view = t ? transform_ref(t) : identity(v, path);
	int r = view ? domain_manifest(v->domain->domain, v->facts.product, &v->info, &m, e) : err_set(e, -ENOMEM, "out of memory");
	if (!r && ((r = manifest_resolve(m, path, &entry)) || (entry.kind != ENTRY_FILE && (r = -EISDIR))))
		err_set(e, r, "the version has no file %s", path);
	if (!r)
		r = reader_start(&config, c->browse.transfer, &reader, e);
	if (!r)
		r = content_get(reader, v->domain->domain, m, &entry, path, NULL, &content, e);
	if (!r)
		r = count_content(c, content, entry.size, path, view, ret_shown, ret_all, e);
	content_unref(content);
	if (reader)
		reader_stop(reader);
	manifest_unref(m);
	transform_unref(view);
	return r;
}

int policy_command_rows(void *arg, const char *address, struct transform *t, int64_t *ret_shown, int64_t *ret_all, struct err *e)
{
	struct policy_command *c = arg;
	struct loaded_version v;
	struct address a;
	int r = address_parse(address, &a, e);
	if (!r)
		r = policy_command_version(c, a.domain, a.product, a.version, &v, e);
	if (r)
		return r;
	r = count_file(c, &v, a.path, t, ret_shown, ret_all, e);
	loaded_version_free(&v);
	return r;
}
