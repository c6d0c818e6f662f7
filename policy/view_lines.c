/* Line formats as they are: each chunk holds whole records and is derived on its own. */
#include "policy/view_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct lines_plan {
	struct view_plan plan;
	const struct line_view_ops *ops;
	struct line_view *view;
	struct transform *transform;
};

static void lines_free(struct view_plan *p)
{
	struct lines_plan *l = (struct lines_plan *)p;
	if (l->view)
		l->ops->free(l->view);
	transform_unref(l->transform);
	free(l);
}

static int lines_chunk(const struct view_plan *p, uint32_t index, const void *bytes, size_t len, struct buf *ret, struct view_stats *ret_stats,
		       struct err *e)
{
	const struct lines_plan *l = (const struct lines_plan *)p;
	struct view_stats stats = { 0, 0, 0, false };
	size_t used = 0, rest = 0, before = ret->len;
	if (len > UINT32_MAX / 2)
		return view_row_too_long(e);
	int r = l->ops->records(l->view, index == 0, false, bytes, len, &used, ret, &stats, e);
	stats.cut = used < len;
	if (r == 0 && stats.cut)
		r = l->ops->records(l->view, false, true, (const char *)bytes + used, len - used, &rest, ret, &stats, e);
	if (r == 0 && buf_check(ret) != 0)
		r = err_set(e, -ENOMEM, "out of memory");
	if (r == 0 && ret_stats)
		*ret_stats = stats;
	if (r != 0 && !ret->failed && ret->len > before) { /* nothing half done is left to serve */
		ret->len = before;
		ret->data[before] = '\0';
	}
	return r;
}

static const struct view_plan_ops lines_plan_ops = { .kind = VIEW_CHUNKED, .free = lines_free, .chunk = lines_chunk };

static int read_head(const struct view_source *source, size_t len, struct buf *head, struct err *e)
{
	size_t have = head->len;
	char *p = buf_reserve(head, len - have);
	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	int r = len > have ? source->read(source->arg, have, p, len - have, e) : 0;
	if (r == 0)
		buf_commit(head, len - have);
	return r;
}

int view_plan_new_lines(struct transform *t, const struct view_source *source, const struct view_keys *keys, struct view_plan **ret,
			struct err *e)
{
	struct buf head = BUF_INIT;
	int r = 0;
	struct lines_plan *l = calloc(1, sizeof *l);
	if (!l)
		return err_set(e, -ENOMEM, "out of memory");
	l->plan.ops = &lines_plan_ops;
	l->ops = view_line_ops(source->path);
	l->transform = transform_ref(t);
	for (size_t want = 16 << 10;; want *= 4) {
		size_t len = want < source->size ? want : (size_t)source->size;
		r = read_head(source, len, &head, e);
		if (r != 0)
			goto out;
		r = l->ops->new(t, source->path, head.data, head.len, len == source->size, keys, &l->view, e);
		if (r != -EAGAIN)
			break;
		if (len == source->size || want >= VIEW_HEAD_MAX) {
			r = err_set(e, -EACCES, "%s: the first %u KiB hold no complete header", source->path, VIEW_HEAD_MAX >> 10);
			break;
		}
	}
out:
	buf_free(&head);
	if (r == 0)
		*ret = &l->plan;
	else
		lines_free(&l->plan);
	return r;
}
