/* The index of a view in the cache. */
#include "fs/view_state.h"

#include "catalog/base/io.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

char *view_index_path(struct content *c)
{
	if (!c->reader->cache)
		return NULL;
	char content[SHA256_HEX_SIZE], view[SHA256_HEX_SIZE], maker[VIEW_MAKER_SIZE];
	view_maker(c->path, maker, sizeof maker);
	hex_format(c->entry.content.bytes, SHA256_SIZE, content);
	hex_format(c->view->transform->hash.bytes, SHA256_SIZE, view);
	return text_format("%s/%s/views/%s/%s.%s", cache_folder(c->reader->cache), c->domain->cache_name, content, view, maker);
}

/* A file beside the index: the store's was found wrong here. */
static char *mark_path(const struct content *c)
{
	return c->view->index_path ? text_format("%s.own", c->view->index_path) : NULL;
}

int view_index_load(struct content *c, struct view_index **ret)
{
	struct view_state *v = c->view;
	struct buf b = BUF_INIT;
	char *mark = mark_path(c);
	v->own = mark && !access(mark, F_OK);
	free(mark);
	if (!v->index_path || access(v->index_path, R_OK))
		return -ENOENT;
	int r = io_read_file(v->index_path, INDEX_BYTES_MAX, &b, NULL);
	if (!r)
		r = view_index_decode(buf_text(&b), b.len, c->entry.size, c->entry.chunk_count, ret);
	if (r == -EBADMSG)
		unlink(v->index_path); /* damaged, or of another time: computed again */
	buf_free(&b);
	return r;
}

void view_index_save(struct content *c, const struct view_index *x)
{
	struct buf b = BUF_INIT;
	const char *path = c->view->index_path;
	if (path && cache_writable(c->reader->cache) && !view_index_encode(x, &b) && !io_make_parents(path, 0700, NULL))
		io_write_cached(path, b.data, b.len, 0600, NULL); /* its checksum says whether it is whole (view_index_load) */
	buf_free(&b);
}

void view_index_discard(struct content *c)
{
	char *mark = mark_path(c);
	if (mark && !io_make_parents(mark, 0700, NULL))
		io_write_file(mark, "", 0, 0600, NULL);
	if (c->view->index_path)
		unlink(c->view->index_path);
	free(mark);
}
