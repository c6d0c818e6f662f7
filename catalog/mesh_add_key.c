/* Adding a key to mesh.yaml without touching anything else in it. */
#include "catalog/base/doc.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/mesh.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static size_t line_start(const struct buf *text, int line)
{
	size_t at = 0;
	while (--line > 0) {
		const char *nl = memchr(text->data + at, '\n', text->len - at);
		if (!nl)
			return text->len;
		at = (size_t)(nl - text->data) + 1;
	}
	return at;
}

/* Where the entry goes, and as what: into `keys: {…}`, in front of the first key of a block, or as a new line at the end. */
static char *place(const struct buf *text, const struct doc_node *root, const char *name, const char *file, size_t *ret_at)
{
	size_t i = 0;
	while (i < doc_count(root) && strcmp(doc_key(root, i), "keys") != 0)
		i++;
	if (i == doc_count(root)) {
		*ret_at = text->len;
		return text_format("%skeys: { %s: \"%s\" }\n", text->len && text->data[text->len - 1] != '\n' ? "\n" : "", name, file);
	}
	size_t line = line_start(text, doc_line(doc_key_node(root, i)));
	const struct doc_node *keys = doc_item(root, i);
	const char *brace = text->data ? strchr(text->data + line, '{') : NULL;
	const char *nl = text->data ? strchr(text->data + line, '\n') : NULL;
	if (brace && (!nl || brace < nl)) {
		*ret_at = (size_t)(brace - text->data) + 1;
		return text_format(" %s: \"%s\"%s", name, file, doc_count(keys) ? "," : " ");
	}
	if (!doc_count(keys)) {
		*ret_at = nl ? (size_t)(nl - text->data) + 1 : text->len;
		return text_format("  %s: \"%s\"\n", name, file);
	}
	const struct doc_node *first = doc_key_node(keys, 0);
	*ret_at = line_start(text, doc_line(first));
	return text_format("%*s%s: \"%s\"\n", doc_column(first) > 0 ? doc_column(first) - 1 : 0, "", name, file);
}

/* The new text must say what the old one says, and the key. */
static bool is_right(const char *path, const struct buf *before, const struct buf *after, const char *name)
{
	struct mesh_config *a = NULL, *b = NULL;
	bool right = !mesh_parse(path, buf_text(before), before->len, &a, NULL) && !mesh_parse(path, buf_text(after), after->len, &b, NULL) &&
		     b->key_count == a->key_count + 1 && mesh_key_find(b, name) && b->domain_count == a->domain_count &&
		     !strcmp(a->policy_folder, b->policy_folder) && !strcmp(a->cache_folder, b->cache_folder);
	mesh_config_free(a);
	mesh_config_free(b);
	return right;
}

int mesh_add_key(const char *path, const char *name, const char *file, struct err *e)
{
	struct buf before = BUF_INIT, after = BUF_INIT;
	struct doc *doc = NULL;
	struct stat st;
	size_t at = 0;
	char *piece = NULL;
	int r = io_read_file(path, DOC_BYTES_MAX, &before, e);
	if (!r)
		r = doc_parse(path, buf_text(&before), before.len, &doc, e);
	if (!r && stat(path, &st))
		r = err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (r)
		goto out;
	piece = place(&before, doc_root(doc), name, file, &at);
	if (!piece) {
		r = err_set(e, -ENOMEM, "out of memory");
		goto out;
	}
	buf_add(&after, buf_text(&before), at);
	buf_adds(&after, piece);
	buf_adds(&after, buf_text(&before) + at);
	if (buf_check(&after) || !is_right(path, &before, &after, name))
		r = err_set(e, -EINVAL, "%s: its layout is not understood; add the line '%s: %s' under 'keys' yourself", path, name, file);
	else
		r = io_write_file(path, after.data, after.len, st.st_mode & 0777, e);
out:
	free(piece);
	doc_free(doc);
	buf_free(&before);
	buf_free(&after);
	return r;
}
