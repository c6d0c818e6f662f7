/* Making the index of a version's rows, while its bytes pass by. */
#include "catalog/base/clock.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "fs/row_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct row_maker {
	struct publish_observer observer;
	const struct publish_observer *next;
	struct contract *contract;
	struct db *scratch; /* NULL: nobody asks */
	char *scratch_path, *path;
	int64_t files; /* begun so far */
	/* of the file under way */
	const struct contract_object *object;
	struct row_prints *prints;
	bool wanted;
	uint64_t size, offset, start, first_row, rows;
	int64_t piece;
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

static int run(struct row_maker *m, const char *sql, const int64_t *values, int count)
{
	struct db_stmt *s;
	int r = db_cached(m->scratch, sql, &s, NULL);
	for (int i = 0; !r && i < count; i++)
		db_bind_int(s, i + 1, values[i]);
	return r ? r : db_run(s, NULL);
}

static int on_print(void *arg, uint64_t number, const struct row_print *print, bool broken)
{
	struct row_maker *m = arg;
	const int64_t values[] = { (int64_t)print->low, (int64_t)print->high, m->files, m->piece };
	m->rows = number;
	if (broken || (!print->low && !print->high))
		return 0;
	return run(m, "INSERT INTO seen VALUES (?1, ?2, ?3, ?4)", values, 4);
}

static int end_piece(struct row_maker *m)
{
	const int64_t values[] = { m->files, m->piece, (int64_t)m->start, (int64_t)(m->offset - m->start), (int64_t)m->first_row };
	m->piece++;
	m->start = m->offset;
	m->first_row = m->rows + 1;
	return run(m, "INSERT INTO piece VALUES (?1, ?2, ?3, ?4, ?5)", values, 5);
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

/* Only now does the file count: what was noted of one that never ended is left out. */
static int end_file(struct row_maker *m, const char *path)
{
	struct db_stmt *s = NULL;
	int r = m->prints ? row_prints_end(m->prints) : 0;
	if (!r && m->offset > m->start)
		r = end_piece(m);
	for (size_t i = 0; !r && m->prints && i < row_prints_columns(m->prints); i++) {
		if (!row_prints_used(m->prints, i))
			continue;
		r = db_cached(m->scratch, "INSERT INTO field VALUES (?1, ?2)", &s, NULL);
		if (r)
			break;
		db_bind_int(s, 1, m->files);
		db_bind_text(s, 2, row_prints_column(m->prints, i));
		r = db_run(s, NULL);
	}
	if (!r)
		r = db_cached(m->scratch, "INSERT OR REPLACE INTO file VALUES (?1, ?2, ?3)", &s, NULL);
	if (r)
		return r;
	db_bind_int(s, 1, m->files);
	db_bind_text(s, 2, path);
	db_bind_int(s, 3, (int64_t)m->offset);
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
	m->object = m->scratch ? contract_object_for(m->contract, path) : NULL;
	m->wanted = m->scratch && row_index_asked(m->contract, m->object) && path_is_tabular(path);
	m->files++;
	m->offset = m->start = m->rows = 0;
	m->first_row = 1;
	m->piece = 0;
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
	const long long now = (long long)clock_mono_ns();
	m->contract = contract_ref(c);
	m->scratch_path = text_format("%s/tmp/seen.%d.%lld", domain_cache_folder(d), (int)getpid(), now);
	m->path = text_format("%s/tmp/rows.%d.%lld", domain_cache_folder(d), (int)getpid(), now);
	if (!m->scratch_path || !m->path)
		return err_set(e, -ENOMEM, "out of memory");
	int r = db_open(m->scratch_path, DB_CREATE | DB_SYNC_NONE, &m->scratch, e);
	if (!r)
		r = db_exec(m->scratch,
			    ROW_INDEX_SCHEMA "CREATE TABLE seen (low INTEGER NOT NULL, high INTEGER NOT NULL, file INTEGER NOT NULL, piece INTEGER NOT NULL);", e);
	return r ? r : db_begin(m->scratch, e);
}

/* -- the index --------------------------------------------------------------------------------------- */

static int copy(struct db *from, struct db *to, const char *select, const char *insert, int columns, struct err *e)
{
	struct db_stmt *in = NULL, *out = NULL;
	int row = 0, r = db_prepare(from, select, &in, e);
	if (!r)
		r = db_prepare(to, insert, &out, e);
	while (!r && (row = db_step(in, e)) == DB_ROW) {
		for (int i = 0; i < columns; i++) {
			if (db_is_text(in, i))
				db_bind_text(out, i + 1, db_text(in, i));
			else
				db_bind_int(out, i + 1, db_int(in, i));
		}
		r = db_run(out, e);
	}
	db_finalize(in);
	db_finalize(out);
	return r ? r : row;
}

static int write_index(struct row_maker *m, struct db *to, struct err *e)
{
#define ENDED " WHERE file IN (SELECT number FROM file) ORDER BY 1, 2"
	int r = db_exec(to, ROW_INDEX_SCHEMA, e);
	if (!r)
		r = db_set_format(to, ROW_INDEX_APPLICATION_ID, ROW_INDEX_FORMAT, e);
	if (!r)
		r = db_begin(to, e);
	if (!r)
		r = copy(m->scratch, to, "SELECT number, path, size FROM file ORDER BY 1", "INSERT INTO file VALUES (?1, ?2, ?3)", 3, e);
	if (!r)
		r = copy(m->scratch, to, "SELECT file, name FROM field" ENDED, "INSERT INTO field VALUES (?1, ?2)", 2, e);
	if (!r)
		r = copy(m->scratch, to, "SELECT file, number, start, length, first_row FROM piece" ENDED, "INSERT INTO piece VALUES (?1, ?2, ?3, ?4, ?5)", 5, e);
	if (!r)
		r = copy(m->scratch, to, "SELECT DISTINCT low, high, file, piece FROM seen" ENDED ", 3, 4", "INSERT INTO print VALUES (?1, ?2, ?3, ?4)", 4, e);
#undef ENDED
	return r ? r : db_commit(to, e);
}

int row_maker_close(struct row_maker *m, struct publication *p, struct err *e)
{
	struct db *to = NULL;
	if (!m->scratch)
		return 0;
	int r = db_commit(m->scratch, e);
	if (!r)
		r = db_open(m->path, DB_CREATE | DB_SYNC_NONE, &to, e);
	if (!r)
		r = write_index(m, to, e);
	db_close(to);
	if (!r)
		r = publish_set_rows(p, m->path);
	if (r)
		unlink(m->path);
	return r && e && !e->code ? err_set(e, r, "out of memory") : r;
}

void row_maker_free(struct row_maker *m)
{
	if (!m)
		return;
	row_prints_free(m->prints);
	db_close(m->scratch);
	if (m->scratch_path)
		unlink(m->scratch_path);
	contract_unref(m->contract);
	free(m->scratch_path);
	free(m->path);
	free(m);
}
