#include "fs/view_set.h"

#include "catalog/base/map.h"
#include "policy/view.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SET_MAGIC "meshvset"
#define SET_FORMAT 1

/* In a store: this header, `count` records by ascending content, the indexes without gaps, the XXH3-128 of all before it.
 * Little-endian. */
struct set_header {
	char magic[8];
	uint32_t format, count;
	struct digest manifest, view;
};

struct set_record {
	struct digest content;
	uint64_t length;
};

_Static_assert(sizeof(struct set_header) == 80, "the header is 80 bytes");
_Static_assert(sizeof(struct set_record) == 40, "a record is 40 bytes");

struct view_set {
	_Atomic int refs;
	struct buf bytes;
	uint32_t count;
	uint64_t *offsets; /* of each index in `bytes`, and where the last one ends */
};

void view_identity(const struct transform *t, const char *path, struct digest *ret)
{
	char named[SHA256_SIZE + VIEW_MAKER_SIZE], *maker = named + SHA256_SIZE;
	memcpy(named, t->hash.bytes, SHA256_SIZE);
	view_maker(path, maker, VIEW_MAKER_SIZE);
	sha256_of(named, SHA256_SIZE + strlen(maker) + 1, ret);
}

void view_set_key(const struct digest *manifest, const struct digest *view, const struct digest *content, char ret_key[VIEW_SET_KEY_SIZE])
{
	char m[SHA256_HEX_SIZE], v[SHA256_HEX_SIZE], f[SHA256_HEX_SIZE] = "";
	hex_format(manifest->bytes, SHA256_SIZE, m);
	hex_format(view->bytes, SHA256_SIZE, v);
	if (content)
		hex_format(content->bytes, SHA256_SIZE, f);
	snprintf(ret_key, VIEW_SET_KEY_SIZE, ".mesh/views/%s/%s%s%s", m, v, content ? "." : "", f);
}

/* -- reading --------------------------------------------------------------------------------- */

static const unsigned char *record_at(const struct view_set *s, uint32_t i)
{
	return (const unsigned char *)s->bytes.data + sizeof(struct set_header) + (size_t)i * sizeof(struct set_record);
}

static int check_header(const struct buf *b, const struct digest *manifest, const struct digest *view, uint32_t *ret_count)
{
	struct set_header h;
	struct xxh128 sum;
	if (b->len < sizeof h + sizeof sum || b->len > VIEW_SET_BYTES_MAX)
		return -EBADMSG;
	memcpy(&h, b->data, sizeof h);
	xxh128_of(b->data, b->len - sizeof sum, &sum);
	if (memcmp(h.magic, SET_MAGIC, sizeof h.magic) != 0 || h.format != SET_FORMAT || !digest_equal(&h.manifest, manifest) ||
	    !digest_equal(&h.view, view) || memcmp(&sum, b->data + b->len - sizeof sum, sizeof sum) != 0)
		return -EBADMSG;
	if (h.count > VIEW_SET_FILES_MAX || (b->len - sizeof h - sizeof sum) / sizeof(struct set_record) < h.count)
		return -EBADMSG;
	*ret_count = h.count;
	return 0;
}

/* Where the indexes stand; the records ascend, the lengths add up. */
static int find_indexes(struct view_set *s)
{
	uint64_t at = sizeof(struct set_header) + (uint64_t)s->count * sizeof(struct set_record), end = s->bytes.len - XXH128_SIZE;
	struct set_record record, before = { 0 };
	for (uint32_t i = 0; i < s->count; i++) {
		memcpy(&record, record_at(s, i), sizeof record);
		if (record.length > end - at || (i && memcmp(before.content.bytes, record.content.bytes, SHA256_SIZE) >= 0))
			return -EBADMSG;
		s->offsets[i] = at;
		at += record.length;
		before = record;
	}
	s->offsets[s->count] = at;
	return at == end ? 0 : -EBADMSG;
}

int view_set_decode(struct buf *bytes, const struct digest *manifest, const struct digest *view, struct view_set **ret)
{
	uint32_t count = 0;
	int r = check_header(bytes, manifest, view, &count);
	if (r)
		return r;
	struct view_set *s = calloc(1, sizeof *s);
	if (!s || !(s->offsets = calloc((size_t)count + 1, sizeof *s->offsets))) {
		free(s);
		return -ENOMEM;
	}
	atomic_init(&s->refs, 1);
	s->bytes = *bytes;
	s->count = count;
	r = find_indexes(s);
	if (r) {
		free(s->offsets);
		free(s);
		return r;
	}
	*bytes = (struct buf)BUF_INIT;
	*ret = s;
	return 0;
}

struct view_set *view_set_ref(struct view_set *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void view_set_unref(struct view_set *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	buf_free(&s->bytes);
	free(s->offsets);
	free(s);
}

size_t view_set_bytes(const struct view_set *s)
{
	return s->bytes.len + ((size_t)s->count + 1) * sizeof *s->offsets;
}

static void index_at(const struct view_set *s, uint32_t i, const void **ret_bytes, size_t *ret_len)
{
	*ret_bytes = s->bytes.data + s->offsets[i];
	*ret_len = (size_t)(s->offsets[i + 1] - s->offsets[i]);
}

int view_set_find(const struct view_set *s, const struct digest *content, const void **ret_bytes, size_t *ret_len)
{
	uint32_t low = 0, high = s->count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = memcmp(record_at(s, middle), content->bytes, SHA256_SIZE);
		if (!order) {
			index_at(s, middle, ret_bytes, ret_len);
			return 0;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -ENOENT;
}

/* -- making ---------------------------------------------------------------------------------- */

struct set_item {
	struct digest content;
	size_t len;
	unsigned char bytes[];
};

struct view_set_draft {
	struct map *items; /* content → struct set_item, owned */
	size_t bytes;
};

struct view_set_draft *view_set_draft_new(void)
{
	struct view_set_draft *d = calloc(1, sizeof *d);
	if (d && !(d->items = map_new())) {
		free(d);
		d = NULL;
	}
	return d;
}

void view_set_draft_free(struct view_set_draft *d)
{
	if (!d)
		return;
	map_free(d->items, free);
	free(d);
}

size_t view_set_draft_count(const struct view_set_draft *d)
{
	return map_count(d->items);
}

int view_set_draft_add(struct view_set_draft *d, const struct digest *content, const void *bytes, size_t len)
{
	const size_t around = sizeof(struct set_header) + XXH128_SIZE;
	if (map_get(d->items, content->bytes, SHA256_SIZE))
		return 0;
	if (map_count(d->items) >= VIEW_SET_FILES_MAX || len > VIEW_SET_BYTES_MAX - around - d->bytes ||
	    d->bytes + len + sizeof(struct set_record) > VIEW_SET_BYTES_MAX - around)
		return -EFBIG;
	struct set_item *item = malloc(sizeof *item + len);
	if (!item)
		return -ENOMEM;
	item->content = *content;
	item->len = len;
	memcpy(item->bytes, bytes, len);
	if (map_set(d->items, item->content.bytes, SHA256_SIZE, item, NULL)) {
		free(item);
		return -ENOMEM;
	}
	d->bytes += len + sizeof(struct set_record);
	return 0;
}

/* Does the set say the same of everything that the draft holds? */
static bool knows_all(const struct view_set *s, const struct view_set_draft *d)
{
	const void *key, *bytes;
	size_t key_len, len;
	void *value;
	for (size_t i = 0; map_next(d->items, &i, &key, &key_len, &value);) {
		const struct set_item *item = value;
		if (view_set_find(s, &item->content, &bytes, &len) || len != item->len || memcmp(bytes, item->bytes, len) != 0)
			return false;
	}
	return true;
}

int view_set_draft_merge(struct view_set_draft *d, const struct view_set *s, bool *ret_news)
{
	int r = 0;
	if (ret_news)
		*ret_news = !knows_all(s, d);
	for (uint32_t i = 0; i < s->count && !r; i++) {
		struct digest content;
		const void *bytes;
		size_t len;
		memcpy(content.bytes, record_at(s, i), SHA256_SIZE);
		index_at(s, i, &bytes, &len);
		r = view_set_draft_add(d, &content, bytes, len);
	}
	return r;
}

static int order_items(const void *a, const void *b)
{
	return memcmp((*(struct set_item *const *)a)->content.bytes, (*(struct set_item *const *)b)->content.bytes, SHA256_SIZE);
}

static struct set_item **sorted_items(const struct view_set_draft *d)
{
	size_t count = map_count(d->items), n = 0, len;
	struct set_item **items = calloc(count + 1, sizeof *items);
	const void *key;
	void *value;
	for (size_t i = 0; items && map_next(d->items, &i, &key, &len, &value);)
		items[n++] = value;
	if (n)
		qsort(items, n, sizeof(struct set_item *), order_items);
	return items;
}

int view_set_draft_encode(const struct view_set_draft *d, const struct digest *manifest, const struct digest *view, struct buf *ret)
{
	size_t count = map_count(d->items), start = ret->len;
	struct set_header h = { .format = SET_FORMAT, .count = (uint32_t)count, .manifest = *manifest, .view = *view };
	struct set_item **items = sorted_items(d);
	struct xxh128 sum;
	if (!items)
		return -ENOMEM;
	memcpy(h.magic, SET_MAGIC, sizeof h.magic);
	buf_add(ret, &h, sizeof h);
	for (size_t i = 0; i < count; i++) {
		struct set_record record = { items[i]->content, items[i]->len };
		buf_add(ret, &record, sizeof record);
	}
	for (size_t i = 0; i < count; i++)
		buf_add(ret, items[i]->bytes, items[i]->len);
	free(items);
	if (buf_check(ret))
		return -ENOMEM;
	xxh128_of(ret->data + start, ret->len - start, &sum);
	buf_add(ret, &sum, sizeof sum);
	return buf_check(ret);
}
