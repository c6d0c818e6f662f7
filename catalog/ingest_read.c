/* The reader of ingest: files to chunks. */
#include "catalog/ingest_private.h"

#include "catalog/chunker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Room for another item in the batch being filled, with at least `room` bytes after the `keep` last ones (the start of a chunk), which
 * move along when a new batch is begun. */
static int need_room(struct ingest *in, size_t keep, size_t room)
{
	struct batch *b = in->filling;
	if (b && b->count + 2 <= BATCH_ITEMS && b->cap - b->len >= room)
		return 0;
	struct batch *next = ingest_batch_take(in, keep + room);
	if (!next)
		return -EIO;
	if (b) {
		memcpy(next->bytes, b->bytes + b->len - keep, keep);
		b->len -= keep;
		ingest_batch_submit(in, b);
	}
	next->len = keep;
	in->filling = next;
	return 0;
}

static void add_item(struct ingest *in, struct item it)
{
	struct batch *b = in->filling;
	b->items[b->count++] = it;
}

/* State of one file's way through the reader. */
struct feed {
	struct ingest *in;
	const struct ingest_source *source;
	struct file *file;
	struct chunker *chunker;
	uint64_t left; /* bytes of the source */
	size_t open;   /* bytes at the end of the batch that are in no chunk yet */
};

static int feed_start(struct feed *f)
{
	const struct batch *b = f->in->filling;
	char separator = 0;
	enum chunk_rule rule = f->source->cuts ? CHUNK_BYTES
					       : chunk_rule_for(f->source->path, b->bytes + b->len - f->open, f->open, &separator);
	f->chunker = chunker_new(rule, separator);
	if (!f->chunker)
		return -ENOMEM;
	return f->source->cuts ? chunker_force(f->chunker, f->source->cuts, f->source->cut_count) : 0;
}

/* Cuts what is there into items. */
static int feed_cut(struct feed *f)
{
	for (;;) {
		struct batch *b = f->in->filling;
		size_t n = chunker_next(f->chunker, b->bytes + b->len - f->open, f->open, f->left == 0);
		if (!n)
			return 0;
		add_item(f->in, (struct item){ .file = f->file, .offset = b->len - f->open, .len = n });
		f->open -= n;
		if (b->count + 2 > BATCH_ITEMS && need_room(f->in, f->open, f->left ? READ_STEP : 0))
			return -EIO;
	}
}

static int feed_read(struct feed *f, struct err *e)
{
	struct ingest *in = f->in;
	size_t step = f->left < READ_STEP ? (size_t)f->left : READ_STEP;
	/* A chunk that outgrew half a batch (a giant record) doubles its room each time it moves. */
	size_t room = in->filling && in->filling->cap - in->filling->len >= step ? step : f->open > step ? f->open : step;
	int r = need_room(in, f->open, room);
	if (r)
		return r;
	struct batch *b = in->filling;
	size_t got = 0;
	r = f->source->read(f->source->arg, b->bytes + b->len, step, &got, e);
	if (!r && !got)
		r = err_set(e, -EBUSY, "%s: the file became shorter while it was read; publish again when nothing writes it",
			    f->source->path);
	if (r)
		return r;
	if (f->file->hash)
		xxh128_update(f->file->hash, b->bytes + b->len, got);
	b->len += got;
	f->open += got;
	f->left -= got;
	return 0;
}

static struct file *file_new(const struct ingest_source *s)
{
	struct file *f = calloc(1, sizeof *f);
	if (!f)
		return NULL;
	f->path = strdup(s->path);
	f->entry = (struct manifest_entry){ .kind = ENTRY_FILE, .executable = s->executable, .mtime_ns = s->mtime_ns, .size = s->size };
	f->replace = s->replace;
	f->object = s->object;
	if (s->size > CHUNK_MIN - 64 || s->cuts) /* else it is one chunk */
		f->hash = xxh128_new();
	if (!f->path || ((s->size > CHUNK_MIN - 64 || s->cuts) && !f->hash)) {
		ingest_file_free(f);
		return NULL;
	}
	return f;
}

static int feed_all(struct feed *f, struct err *e)
{
	/* An empty file needs an item of its own, in a batch. */
	int r = need_room(f->in, 0, f->left < BATCH_BYTES / 2 ? (size_t)f->left : READ_STEP);
	/* The head decides how the file is cut. */
	while (!r && f->left && f->open < CHUNK_SNIFF)
		r = feed_read(f, e);
	if (!r)
		r = feed_start(f);
	while (!r) {
		r = feed_cut(f);
		if (r || !f->left)
			break;
		r = feed_read(f, e);
	}
	if (!r && f->source->check)
		r = f->source->check(f->source->arg, e);
	return r;
}

int ingest_file(struct ingest *in, const struct ingest_source *source, struct err *e)
{
	struct err own = ERR_INIT;
	struct feed f = { .in = in, .source = source, .left = source->size };
	int r = ingest_failed(in, e);
	if (r)
		return r;
	f.file = file_new(source);
	if (!f.file)
		return err_set(e, -ENOMEM, "no memory");
	pthread_mutex_lock(&in->reader);
	r = feed_all(&f, &own);
	if (in->filling) { /* need_room keeps a place for the end */
		in->filling->len -= f.open; /* bytes of a file that failed */
		f.file->entry.aligned = f.chunker && chunker_aligned(f.chunker);
		add_item(in, (struct item){ .file = f.file, .end = true, .discard = r != 0 });
	} else {
		ingest_file_free(f.file); /* no batch was to be had, so that nothing refers to it */
	}
	pthread_mutex_unlock(&in->reader);
	chunker_free(f.chunker);
	if (r && !own.code)
		ingest_failed(in, &own);
	if (r && !own.code)
		err_set(&own, r, "%s: %s", source->path, strerror(-r));
	return r ? err_move(e, &own) : 0;
}

int ingest_entry(struct ingest *in, const char *path, const struct manifest_entry *entry, const char *target, size_t target_len,
		 bool replace, struct err *e)
{
	pthread_mutex_lock(&in->stage_lock);
	int r = stage_put(in->config.stage, path, entry, 0, target, target_len, replace, e);
	pthread_mutex_unlock(&in->stage_lock);
	return r;
}
