#include "fs/row_read.h"

#include "catalog/base/buf.h"
#include "catalog/base/progress.h"
#include "catalog/base/text.h"
#include "catalog/csv_scan.h"
#include "catalog/records.h"
#include "catalog/unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define READ_BYTES (1u << 20)
#define HEAD_BYTES (1u << 20) /* what a view may want to see before its first record */
#define PROBE_BYTES (1u << 20)
#define WAITING_MAX 64 /* source rows whose record was fed and not yet told of */

struct reading {
	const struct row_read *config;
	char *path; /* without .gz or .zst: of the records */
	struct row_prints *prints;
	struct view_plan *plan; /* NULL: the records as they are */
	bool lines;             /* of JSON */
	bool started, ended;
	char separator;
	struct buf in, out; /* before the start, or of a record that did not end; derived */
	uint64_t row;       /* of the record that was fed last */
	uint64_t waiting[WAITING_MAX];
	unsigned first_waiting, waiting_count;
	struct err *e;
};

/* -- what the fingerprints' reader tells ------------------------------------------------------------- */

static int on_source(void *arg, uint64_t number, const struct row_print *print, bool broken)
{
	struct reading *k = arg;
	return k->config->each(k->config->arg, number, print, broken);
}

/* A derived record: its row is that of the oldest source record that was fed. */
static int on_derived(void *arg, uint64_t number, const struct row_print *print, bool broken)
{
	struct reading *k = arg;
	(void)number;
	if (!k->waiting_count)
		return 0;
	uint64_t row = k->waiting[k->first_waiting++ % WAITING_MAX];
	k->waiting_count--;
	return k->config->each(k->config->arg, row, print, broken);
}

static bool counts(void *arg, const char *name)
{
	struct reading *k = arg;
	return !k->config->column || k->config->column(k->config->arg, name);
}

static int new_prints(struct reading *k, bool derived)
{
	const struct contract_object *object = k->config->object;
	const struct row_prints_config config = { k->path, k->separator, row_header(object), object, counts, derived ? on_derived : on_source, k };
	return row_prints_new(&config, &k->prints);
}

/* Expects the record's end within the next few that are fed. */
static int wait_for(struct reading *k, uint64_t row)
{
	if (k->waiting_count == WAITING_MAX)
		return err_set(k->e, -EPROTO, "its records cannot be told apart");
	k->waiting[(k->first_waiting + k->waiting_count++) % WAITING_MAX] = row;
	return 0;
}

/* -- records through a view ---------------------------------------------------------------------------- */

/* What a plan sees of the file: its head. */
static int read_head(void *arg, uint64_t offset, void *bytes, size_t len, struct err *e)
{
	struct reading *k = arg;
	if (offset > k->in.len || len > k->in.len - offset)
		return err_set(e, -EIO, "its head is longer than %u KiB", HEAD_BYTES >> 10);
	memcpy(bytes, k->in.data + offset, len);
	return 0;
}

static int start(struct reading *k)
{
	const struct row_read *c = k->config;
	const size_t head = k->in.len < ROW_HEAD_BYTES ? k->in.len : ROW_HEAD_BYTES;
	k->started = true;
	k->lines = view_format(k->path)[0] == 'j';
	k->separator = k->lines ? 0 : row_separator(k->path, c->object, buf_text(&k->in), head);
	int r = 0;
	if (c->transform) {
		const struct view_source source = { read_head, k, k->ended ? k->in.len : UINT64_MAX / 2, k->path };
		r = view_plan_new(c->transform, &source, c->keys, &k->plan, k->e);
	}
	return r ? r : new_prints(k, k->plan != NULL);
}

static size_t record_end(const struct reading *k, size_t at, bool *ret_ended)
{
	const char *bytes = k->in.data;
	if (!k->lines)
		return csv_skip_record(bytes, k->in.len, at, k->separator, ret_ended);
	const char *stop = memchr(bytes + at, '\n', k->in.len - at);
	*ret_ended = stop != NULL;
	return stop ? (size_t)(stop - bytes) + 1 : k->in.len;
}

static int derive(struct reading *k, bool first, const char *bytes, size_t len, bool is_row)
{
	struct view_stats stats = { 0 };
	buf_clear(&k->out);
	int r = view_chunk(k->plan, first ? 0 : 1, bytes, len, &k->out, &stats, k->e);
	if (!r && k->out.len && is_row && stats.rows_out)
		r = wait_for(k, k->row);
	if (!r && k->out.len)
		r = row_prints_feed(k->prints, k->out.data, k->out.len);
	if (!r && k->out.len && k->out.data[k->out.len - 1] != '\n')
		r = row_prints_feed(k->prints, "\n", 1);
	return r;
}

/* Each source record goes through the view by itself: what comes out is that row, or nothing.  One that has not ended yet stays. */
static int derive_records(struct reading *k, bool *is_first)
{
	const bool header = row_header(k->config->object) && !k->lines;
	size_t at = 0;
	int r = 0;
	while (!r && at < k->in.len) {
		bool ended, first = *is_first;
		size_t end = record_end(k, at, &ended);
		if (!ended && !k->ended)
			break;
		const char *record = k->in.data + at;
		bool blank = end - at <= 2 && (*record == '\n' || *record == '\r'), is_row = !(first && header);
		*is_first = false;
		if (is_row && !blank)
			k->row++;
		if (!blank || first)
			r = derive(k, first, record, end - at, is_row);
		at = end;
	}
	memmove(k->in.data, k->in.data + at, k->in.len - at);
	k->in.len -= at;
	return !r && k->in.len > VIEW_ROW_MAX ? err_set(k->e, -EFBIG, "a record is longer than %u MiB", VIEW_ROW_MAX >> 20) : r;
}

/* -- bytes of lines -------------------------------------------------------------------------------------- */

struct stream {
	struct reading *k;
	bool first; /* no record was derived yet */
};

static int take_bytes(void *arg, const void *bytes, size_t len)
{
	struct stream *s = arg;
	struct reading *k = s->k;
	const size_t wanted = k->config->transform ? HEAD_BYTES : ROW_HEAD_BYTES;
	if (k->started && !k->plan)
		return row_prints_feed(k->prints, bytes, len);
	buf_add(&k->in, bytes, len);
	if (buf_check(&k->in))
		return -ENOMEM;
	if (!k->started && k->in.len < wanted && !k->ended)
		return 0;
	int r = k->started ? 0 : start(k);
	if (r || k->plan)
		return r ? r : derive_records(k, &s->first);
	r = row_prints_feed(k->prints, buf_text(&k->in), k->in.len);
	buf_clear(&k->in);
	return r;
}

/* Up to `most` bytes of the source. */
static int read_lines(struct reading *k, struct unpack *unpack, uint64_t most)
{
	const struct view_source *source = &k->config->source;
	struct stream s = { k, true };
	const uint64_t size = source->size < most ? source->size : most;
	char *piece = malloc(READ_BYTES);
	int r = piece ? 0 : -ENOMEM;
	for (uint64_t at = 0; !r && at < size; at += READ_BYTES) {
		size_t n = size - at < READ_BYTES ? (size_t)(size - at) : READ_BYTES;
		r = source->read(source->arg, at, piece, n, k->e);
		if (!r)
			r = unpack ? unpack_feed(unpack, piece, n, take_bytes, &s) : take_bytes(&s, piece, n);
		progress_add(k->config->progress, n);
	}
	free(piece);
	if (r || size < source->size)
		return r;
	if (unpack && source->size && !unpack_complete(unpack))
		return err_set(k->e, -EBADMSG, "it ends inside its compressed data");
	k->ended = true;
	if (!k->started || k->in.len)
		r = take_bytes(&s, "", 0);
	return r ? r : row_prints_end(k->prints);
}

/* -- Parquet ----------------------------------------------------------------------------------------------- */

static int on_parquet_row(void *arg, uint64_t row, const char *json, size_t len)
{
	struct reading *k = arg;
	int r = wait_for(k, row);
	if (!r)
		r = row_prints_feed(k->prints, json, len);
	return r ? r : row_prints_feed(k->prints, "\n", 1);
}

static int read_parquet(struct reading *k)
{
	const struct row_read *c = k->config;
	const struct row_prints_config config = { .path = ".jsonl", .header = true, .column = counts, .each = on_derived, .arg = k };
	int r = row_prints_new(&config, &k->prints);
	if (!r)
		r = view_parquet_rows(c->transform, &c->source, c->keys, on_parquet_row, k, k->e);
	if (!r)
		r = row_prints_end(k->prints);
	progress_add(c->progress, c->source.size);
	return r;
}

/* -- any file ------------------------------------------------------------------------------------------------ */

/* Of the records: the path without .gz or .zst. */
static char *records_path(const char *path)
{
	size_t stem = unpack_stem(path);
	return stem ? strndup(path, stem) : strdup(path);
}

bool row_readable(const char *path)
{
	enum record_format format;
	char separator, *plain = records_path(path);
	bool readable = plain && (text_ends(path, ".parquet") ? view_has_engine() : !records_format(plain, &format, &separator));
	free(plain);
	return readable;
}

static int read_file(const struct row_read *config, uint64_t most, struct err *e)
{
	struct err why = ERR_INIT;
	struct reading k = { .config = config, .path = records_path(config->source.path), .e = &why };
	struct unpack *unpack = NULL;
	int r = k.path ? 0 : -ENOMEM;
	if (!r && unpack_stem(config->source.path))
		r = unpack_new(config->source.path, &unpack);
	if (!r)
		r = text_ends(config->source.path, ".parquet") ? read_parquet(&k) : read_lines(&k, unpack, most);
	for (size_t i = 0; !r && config->seen && k.prints && i < row_prints_columns(k.prints); i++)
		r = config->seen(config->arg, row_prints_column(k.prints, i));
	row_prints_free(k.prints);
	view_plan_free(k.plan);
	unpack_free(unpack);
	buf_free(&k.in);
	buf_free(&k.out);
	free(k.path);
	if (r == -EBADMSG && !why.code)
		err_set(&why, r, "its bytes are not what its name says");
	else if (r < 0 && !why.code)
		err_set(&why, r, "its records cannot be read: %s", strerror(-r));
	return r < 0 ? err_move(e, &why) : r;
}

int row_read(const struct row_read *config, struct err *e)
{
	return read_file(config, UINT64_MAX, e);
}

struct columns {
	int (*each)(void *arg, const char *name);
	void *arg;
};

static int pass(void *arg, uint64_t row, const struct row_print *print, bool broken)
{
	(void)arg;
	(void)row;
	(void)print;
	(void)broken;
	return 0;
}

static int on_name(void *arg, const char *name)
{
	struct columns *c = arg;
	return c->each(c->arg, name);
}

int row_columns(const struct view_source *source, const struct contract_object *object, int (*each)(void *arg, const char *name), void *arg, struct err *e)
{
	struct columns c = { each, arg };
	const struct row_read config = { .source = *source, .object = object, .each = pass, .seen = on_name, .arg = &c };
	if (text_ends(source->path, ".parquet"))
		return view_parquet_columns(source, each, arg, e);
	if (!row_readable(source->path))
		return err_set(e, -EOPNOTSUPP, "its records cannot be read");
	return read_file(&config, PROBE_BYTES, e);
}
