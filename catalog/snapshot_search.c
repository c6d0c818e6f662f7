/*
 * Search in a snapshot.
 *
 * FTS5 finds the products that hold every word (prefixes count), best by its own ranking first.  Its ranking depends on how rare a word is
 * in this one catalog, so it means nothing beside another domain's; the score that callers see is computed here from the product's own
 * words: for each word of the query and each field, how often it stands there, saturating and relative to the field's usual length
 * (as BM25 does), times the field's weight.
 */
#include "catalog/base/buf.h"
#include "catalog/contract.h"
#include "catalog/search_forms.h"
#include "catalog/snapshot.h"
#include "catalog/snapshot_format.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 16
#define WORD_BYTES_MAX 128
#define CANDIDATES_MAX 1000
#define SATURATION 1.2   /* how soon more of the same word counts little */
#define LENGTH_SHARE 0.5 /* how much a long field dilutes */
#define FORM_SHARE 0.5   /* of another form of the query's word */
#define PREFIX_SHARE 0.5 /* of a word that only starts like the query's */
#define SCORE_FLOOR 0.05 /* found by FTS5 in a spelling that the count below does not fold (é for e) */
#define WHOLE_NAME 5.0   /* the query is the product's name */

static const struct {
	double weight, usual_words;
} fields[] = {
	{ 8, 2 },  /* name */
	{ 5, 4 },  /* title */
	{ 2, 30 }, /* description */
	{ 3, 15 }, /* columns */
	{ 4, 5 },  /* tags */
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

/* -- scoring ------------------------------------------------------------------------------- */

static bool word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* The next word of a text: its length, 0 at the end; *p is moved to its start. */
static size_t next_word(const char **p)
{
	while (**p && !word_byte(**p))
		++*p;
	size_t len = 0;
	while (word_byte((*p)[len]))
		len++;
	return len;
}

static bool same_start(const char *a, const char *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return true;
}

/* How much of one query word a field holds, and how many words the field has. */
static double count_word(const char *text, const char *word, size_t word_len, double *ret_words)
{
	double found = 0, words = 0;
	for (const char *p = text ? text : "";;) {
		size_t len = next_word(&p);
		if (!len)
			break;
		words++;
		if (len >= word_len && same_start(p, word, word_len))
			found += len == word_len ? 1 : PREFIX_SHARE;
		p += len;
	}
	*ret_words = words;
	return found;
}

/* `any` is set when the word stands in one of the fields. */
static double score_word(const char *const *texts, const char *word, size_t word_len, bool *any)
{
	double score = 0;
	for (size_t f = 0; f < FIELD_COUNT; f++) {
		double words, found = count_word(texts[f], word, word_len, &words);
		double length = 1 - LENGTH_SHARE + LENGTH_SHARE * words / fields[f].usual_words;
		score += fields[f].weight * found / (found + SATURATION * length);
		if (found > 0)
			*any = true;
	}
	return score;
}

/* What does not stand there as it is asked for may do so in another form. */
static double score_forms(const char *const *texts, const char *word, size_t word_len, bool *any)
{
	struct search_form forms[SEARCH_FORMS_MAX];
	double score = score_word(texts, word, word_len, any), best = 0;
	if (*any)
		return score;
	const size_t count = search_forms(word, word_len, forms);
	for (size_t i = 0; i < count; i++) {
		double one = FORM_SHARE * score_word(texts, forms[i].text, forms[i].len, any);
		best = one > best ? one : best;
	}
	return best;
}

/* `ret_all`, unless NULL: does each word stand in one of the fields? */
static double score_texts(const char *const *texts, const char *const *words, size_t count, bool *ret_all)
{
	double score = 0;
	const char *name = texts[0];
	if (ret_all)
		*ret_all = true;
	for (size_t i = 0; i < count; i++) {
		for (const char *p = words[i];;) {
			size_t len = next_word(&p);
			if (!len)
				break;
			bool any = false;
			double one = score_forms(texts, p, len, &any);
			if (ret_all && !any)
				*ret_all = false;
			score += one > SCORE_FLOOR ? one : SCORE_FLOOR;
			p += len;
		}
	}
	if (count == 1 && name && !strcmp(name, words[0]))
		score += WHOLE_NAME;
	return round(score * 1000) / 1000;
}

static double score_row(struct db_stmt *q, const char *const *words, size_t count)
{
	const char *texts[FIELD_COUNT];
	for (size_t f = 0; f < FIELD_COUNT; f++)
		texts[f] = db_text(q, (int)f);
	return score_texts(texts, words, count, NULL);
}

bool search_contract(const char *product, const struct contract *c, const char *const *words, size_t count, double *ret_score)
{
	struct buf columns = BUF_INIT, tags = BUF_INIT;
	bool all = false;
	if (c)
		contract_search_words(c, &columns, &tags);
	if (!buf_check(&columns) && !buf_check(&tags)) {
		const char *texts[FIELD_COUNT] = { product, c ? contract_title(c) : NULL, c ? contract_description(c) : NULL, buf_text(&columns),
						   buf_text(&tags) };
		*ret_score = score_texts(texts, words, count, &all);
	}
	buf_free(&columns);
	buf_free(&tags);
	return all;
}

bool search_is_word(const char *text)
{
	return next_word(&text) > 0;
}

/* -- finding ------------------------------------------------------------------------------- */

/* "text" *: what starts like it, quoted, so that no word is an operator of FTS5. */
static void add_start(struct buf *out, const char *text, size_t len)
{
	buf_addc(out, '"');
	for (size_t n = 0; n < len && n < WORD_BYTES_MAX; n++) {
		if (text[n] == '"')
			buf_addc(out, '"');
		buf_addc(out, text[n]);
	}
	buf_adds(out, "\" *");
}

/* Each word or one of its forms, all of them. */
static bool make_query(const char *const *words, size_t count, struct buf *out)
{
	struct search_form forms[SEARCH_FORMS_MAX];
	for (size_t i = 0; i < count && i < WORDS_MAX; i++) {
		const char *p = words[i];
		const size_t len = strlen(words[i]), first = next_word(&p);
		if (!first)
			continue;
		buf_adds(out, out->len ? " AND (" : "(");
		add_start(out, words[i], len);
		const size_t more = first == len ? search_forms(words[i], len, forms) : 0; /* e-mail is two words, side by side */
		for (size_t k = 0; k < more; k++) {
			buf_adds(out, " OR ");
			add_start(out, forms[k].text, forms[k].len);
		}
		buf_addc(out, ')');
	}
	return out->len > 0;
}

static int better(const void *a, const void *b)
{
	const struct search_hit *x = a, *y = b;
	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	return strcmp(x->product, y->product);
}

#define SEARCH_SQL                                                                                                                   \
	"SELECT p.name, s.title, s.description, s.columns, s.tags FROM search s JOIN product p ON p.id = s.rowid"                      \
	" WHERE search MATCH ? AND p.active > 0 ORDER BY s.rank LIMIT 1000"

static int collect(struct db_stmt *q, const char *const *words, size_t count, struct search_hit *hits, size_t *ret_found)
{
	int r;
	size_t found = 0;
	while ((r = db_step(q, NULL)) == DB_ROW && found < CANDIDATES_MAX) {
		struct search_hit *h = &hits[found];
		const char *name = db_text(q, 0), *title = db_text(q, 1);
		if (!name || strlen(name) >= NAME_SIZE) {
			r = -EBADMSG;
			break;
		}
		strcpy(h->product, name);
		h->title = title ? strdup(title) : NULL;
		h->score = score_row(q, words, count);
		found++;
	}
	*ret_found = found;
	return r < 0 ? r : 0;
}

int snapshot_search(struct snapshot *s, const char *const *words, size_t count, int (*each)(void *, const struct search_hit *), void *arg)
{
	struct buf query = BUF_INIT;
	struct db *db = NULL;
	struct db_stmt *q;
	size_t found = 0;
	struct search_hit *hits = NULL;
	if (!make_query(words, count, &query)) {
		buf_free(&query);
		return 0;
	}
	int r = buf_check(&query);
	if (!r)
		r = db_pool_take(snapshot_pool(s), &db, NULL);
	if (!r && !(hits = calloc(CANDIDATES_MAX, sizeof *hits)))
		r = -ENOMEM;
	if (!r)
		r = db_cached(db, SEARCH_SQL, &q, NULL);
	if (!r) {
		db_bind_text_n(q, 1, query.data, query.len);
		r = collect(q, words, count, hits, &found);
		db_reset(q);
	}
	if (!r && found)
		qsort(hits, found, sizeof *hits, better);
	for (size_t i = 0; !r && i < found; i++)
		r = each(arg, &hits[i]);
	for (size_t i = 0; i < found; i++)
		free(hits[i].title);
	free(hits);
	db_pool_give(snapshot_pool(s), db);
	buf_free(&query);
	return r;
}
