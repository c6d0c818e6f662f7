/* Making the index of a version's rows, while its bytes pass by. */
#include "catalog/base/buf.h"
#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "fs/row_index.h"
#include "fs/row_sort.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SORT_BYTES (64u << 20) /* of fingerprints in memory; more go to disk */

struct row_maker {
	struct publish_observer observer;
	const struct publish_observer *next;
	struct contract *contract;
	struct db *index; /* NULL: nobody asks */
	char *path;
	struct row_sort *places;
	int64_t files; /* begun so far */
	uint32_t pieces;
	bool too_large; /* no index after all */
	/* of the file under way */
	const struct contract_object *object;
	struct row_prints *prints;
	bool wanted;
	uint64_t offset, start, first_row, rows;
	uint32_t first_piece;
};

static bool asks(const struct doc_node *node)
{
	const struct doc_node *list = node ? doc_get(node, "customProperties") : NULL;
	for (size_t i = 0; i < doc_count(list); i++) {
		const char *name = doc_get_text(doc_item(list, i), "property");
		bool yes;
		if (name && !strcmp(name, "rowFingerprints") && !doc_bool(doc_get(doc_item(list, i), "value"), &yes))
			return yes;
	}
	return false;
}

bool row_index_asked(const struct contract *c, const struct contract_object *object)
{
	return c && (asks(doc_root(contract_doc(c))) || (object && asks(object->node)));
}

/* -- a file ------------------------------------------------------------------------------------------ */

static int on_print(void *arg, uint64_t number, const struct row_print *print, bool broken)
{
	struct row_maker *m = arg;
	m->rows = number;
	return broken || (!print->low && !print->high) ? 0 : row_sort_add(m->places, print->low, m->pieces);
}

static int end_piece(struct row_maker *m)
{
	const int64_t values[] = { m->pieces, m->files, (int64_t)m->start, (int64_t)(m->offset - m->start), (int64_t)m->first_row };
	struct db_stmt *s;
	if (m->pieces == ROW_PIECES_MAX) {
		m->too_large = true;
		return 0;
	}
	m->pieces++;
	m->start = m->offset;
	m->first_row = m->rows + 1;
	int r = db_cached(m->index, "INSERT INTO piece VALUES (?1, ?2, ?3, ?4, ?5)", &s, NULL);
	for (int i = 0; !r && i < 5; i++)
		db_bind_int(s, i + 1, values[i]);
	return r ? r : db_run(s, NULL);
}

static int begin_file(struct row_maker *m, const char *path, const char *bytes, size_t len)
{
	const size_t head = len < ROW_HEAD_BYTES ? len : ROW_HEAD_BYTES;
	const struct row_prints_config config = { .path = path, .separator = row_separator(path, m->object, bytes, head), .header = row_header(m->object),
						  .object = m->object, .each = on_print, .arg = m };
	return row_prints_new(&config, &m->prints);
}

static int feed(struct row_maker *m, const char *path, const char *bytes, size_t len)
{
	int r = m->prints ? 0 : begin_file(m, path, bytes, len);
	if (r == -EOPNOTSUPP) {
		m->wanted = false;
		return 0;
	}
	if (!r)
		r = row_prints_feed(m->prints, bytes, len);
	m->offset += len;
	return r || !row_prints_between(m->prints) ? r : end_piece(m);
}

static int note_columns(struct row_maker *m)
{
	struct db_stmt *s;
	int r = 0;
	for (size_t i = 0; !r && i < row_prints_columns(m->prints); i++) {
		if (!row_prints_used(m->prints, i))
			continue;
		r = db_cached(m->index, "INSERT INTO field VALUES (?1, ?2)", &s, NULL);
		if (r)
			break;
		db_bind_int(s, 1, m->files);
		db_bind_text(s, 2, row_prints_column(m->prints, i));
		r = db_run(s, NULL);
	}
	return r;
}

/* Only now does the file count: what was noted of one that never ended is left out. */
static int end_file(struct row_maker *m, const char *path)
{
	struct db_stmt *s = NULL;
	int r = m->prints ? row_prints_end(m->prints) : 0;
	if (!r && m->offset > m->start)
		r = end_piece(m);
	if (!r && m->prints)
		r = note_columns(m);
	if (!r)
		r = db_cached(m->index, "INSERT OR REPLACE INTO file VALUES (?1, ?2, ?3, ?4, ?5)", &s, NULL);
	if (r)
		return r;
	db_bind_int(s, 1, m->files);
	db_bind_text(s, 2, path);
	db_bind_int(s, 3, (int64_t)m->offset);
	db_bind_int(s, 4, m->first_piece);
	db_bind_int(s, 5, m->pieces - m->first_piece);
	return db_run(s, NULL);
}

/* -- the observer ------------------------------------------------------------------------------------ */

static int failed(const char *path, int r, struct err *e)
{
	return r ? err_set(e, r, "%s: the fingerprints of its rows could not be kept: %s", path, strerror(-r)) : 0;
}

static int on_begin(void *arg, const char *path, uint64_t size, struct err *e)
{
	struct row_maker *m = arg;
	row_prints_free(m->prints);
	m->prints = NULL;
	m->object = m->index ? contract_object_for(m->contract, path) : NULL;
	m->wanted = m->index && !m->too_large && row_index_asked(m->contract, m->object) && path_is_tabular(path);
	m->files++;
	m->offset = m->start = m->rows = 0;
	m->first_row = 1;
	m->first_piece = m->pieces;
	return m->next->file_begin(m->next->arg, path, size, e);
}

static int on_bytes(void *arg, const char *path, const void *bytes, size_t len, struct err *e)
{
	struct row_maker *m = arg;
	int r = m->next->bytes(m->next->arg, path, bytes, len, e);
	return r || !m->wanted ? r : failed(path, feed(m, path, bytes, len), e);
}

static int on_end(void *arg, const char *path, struct err *e)
{
	struct row_maker *m = arg;
	int r = m->next->file_end(m->next->arg, path, e);
	if (!r && m->wanted)
		r = failed(path, end_file(m, path), e);
	row_prints_free(m->prints);
	m->prints = NULL;
	return r;
}

struct row_maker *row_maker_new(const struct publish_observer *next)
{
	struct row_maker *m = calloc(1, sizeof *m);
	if (m) {
		m->next = next;
		m->observer = (struct publish_observer){ on_begin, on_bytes, on_end, m };
	}
	return m;
}

const struct publish_observer *row_maker_observer(struct row_maker *m)
{
	return &m->observer;
}

static bool anybody_asks(const struct contract *c)
{
	const struct contract_object *objects = NULL;
	size_t n = c ? contract_objects(c, &objects) : 0;
	for (size_t i = 0; i < n; i++)
		if (row_index_asked(c, &objects[i]))
			return true;
	return row_index_asked(c, NULL);
}

int row_maker_open(struct row_maker *m, const struct publication *p, const struct domain *d, struct err *e)
{
	struct contract *c = publish_contract(p);
	if (!anybody_asks(c))
		return 0;
	m->contract = contract_ref(c);
	m->path = text_format("%s/tmp/rows.%d.%lld", domain_cache_folder(d), (int)getpid(), (long long)clock_mono_ns());
	char *folder = text_format("%s/tmp", domain_cache_folder(d));
	m->places = folder ? row_sort_new(folder, SORT_BYTES) : NULL;
	free(folder);
	if (!m->path || !m->places)
		return err_set(e, -ENOMEM, "out of memory");
	int r = db_open(m->path, DB_CREATE | DB_SYNC_NONE, &m->index, e);
	if (!r)
		r = db_exec(m->index, ROW_INDEX_SCHEMA, e);
	if (!r)
		r = db_set_format(m->index, ROW_INDEX_APPLICATION_ID, ROW_INDEX_FORMAT, e);
	return r ? r : db_begin(m->index, e);
}

/* -- pages of fingerprints --------------------------------------------------------------------------- */

struct pages {
	struct row_maker *m;
	struct db_stmt *insert;
	unsigned char *live; /* a bit for each piece of a file that ended */
	struct buf page;
	size_t count;
	uint64_t first, last;
	struct err *e;
};

static int end_page(struct pages *p)
{
	if (!p->count)
		return 0;
	db_bind_int(p->insert, 1, ROW_PAGE_KEY(p->first));
	db_bind_blob(p->insert, 2, p->page.data, p->page.len);
	buf_clear(&p->page);
	p->count = 0;
	return db_run(p->insert, p->e);
}

static int on_place(void *arg, const struct row_place *place)
{
	struct pages *p = arg;
	unsigned char bytes[ROW_PLACE_BYTES];
	if (!(p->live[place->piece / 8] >> place->piece % 8 & 1))
		return 0;
	int r = p->count >= ROW_PAGE_PLACES && place->print != p->last ? end_page(p) : 0;
	if (r)
		return r;
	if (!p->count++)
		p->first = place->print;
	p->last = place->print;
	for (unsigned k = 0; k < 8; k++)
		bytes[k] = (unsigned char)(place->print >> 8 * k);
	for (unsigned k = 0; k < 4; k++)
		bytes[8 + k] = (unsigned char)(place->piece >> 8 * k);
	buf_add(&p->page, bytes, sizeof bytes);
	if (p->page.len > ROW_PAGE_BYTES_MAX) {
		p->m->too_large = true;
		return -EFBIG;
	}
	return buf_check(&p->page);
}

static int find_live(struct pages *p)
{
	struct db_stmt *s = NULL;
	int row = 0, r;
	p->live = calloc(p->m->pieces / 8 + 1, 1);
	r = p->live ? db_prepare(p->m->index, "SELECT number FROM piece", &s, p->e) : -ENOMEM;
	while (!r && (row = db_step(s, p->e)) == DB_ROW) {
		const uint32_t number = (uint32_t)db_int(s, 0);
		p->live[number / 8] |= (unsigned char)(1u << number % 8);
	}
	db_finalize(s);
	return r ? r : row;
}

static int write_pages(struct row_maker *m, struct err *e)
{
	struct pages p = { .m = m, .page = BUF_INIT, .e = e };
	int r = db_exec(m->index, "DELETE FROM piece WHERE file NOT IN (SELECT number FROM file); DELETE FROM field WHERE file NOT IN (SELECT number FROM file)", e);
	if (!r)
		r = find_live(&p);
	if (!r)
		r = db_prepare(m->index, "INSERT INTO page VALUES (?1, ?2)", &p.insert, e);
	if (!r)
		r = row_sort_each(m->places, on_place, &p);
	if (!r)
		r = end_page(&p);
	db_finalize(p.insert);
	buf_free(&p.page);
	free(p.live);
	return r;
}

int row_maker_close(struct row_maker *m, struct publication *p, struct err *e)
{
	if (!m->index)
		return 0;
	int r = m->too_large ? 0 : write_pages(m, e);
	if (!r && !m->too_large)
		r = db_commit(m->index, e);
	db_close(m->index);
	m->index = NULL;
	if (m->too_large) {
		log_warn("the version gets no index of its rows: it is too large for one");
		return 0; /* row_maker_free removes the file */
	}
	if (!r)
		r = publish_set_rows(p, m->path);
	if (!r) { /* the publication's now */
		free(m->path);
		m->path = NULL;
	}
	return r && e && !e->code ? err_set(e, r, "the fingerprints of its rows could not be kept: %s", strerror(-r)) : r;
}

void row_maker_free(struct row_maker *m)
{
	if (!m)
		return;
	row_prints_free(m->prints);
	row_sort_free(m->places);
	db_close(m->index);
	if (m->path)
		unlink(m->path);
	contract_unref(m->contract);
	free(m->path);
	free(m);
}
