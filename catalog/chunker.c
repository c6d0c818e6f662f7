#include "catalog/chunker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

/* Chances to cut, per byte: rare before the average, frequent after it ("normalised chunking"). */
#define RARE_BITS 22
#define FREQUENT_BITS 18

struct chunker {
	enum chunk_rule rule;
	char separator;
	bool unaligned;   /* a record was cut raw */
	uint64_t offset;  /* of the chunk's first byte in the file */
	uint64_t *cuts;   /* forced, ascending; owned */
	size_t cut_count, cut_next;
	/* Of the chunk under way, offsets from its first byte. */
	size_t scanned;
	uint64_t gear; /* CHUNK_BYTES: the rolling hash at `scanned` */
	bool quoted;   /* CHUNK_CSV: `scanned` is inside a quoted field */
	size_t record; /* start of the record under way */
	size_t best;   /* the best candidate from CHUNK_MIN on, 0 when there is none */
	uint64_t best_score;
};

/* 256 constants from splitmix64 (Steele, Lea, Flood 2014): part of the format, see the header. */
static uint64_t gear_table[256];

__attribute__((constructor)) static void gear_init(void)
{
	uint64_t x = 0x6d657368; /* any fixed seed */
	for (int i = 0; i < 256; i++) {
		uint64_t z = (x += 0x9e3779b97f4a7c15u);
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		gear_table[i] = z ^ (z >> 31);
	}
}

static const char *extension(const char *path)
{
	const char *name = strrchr(path, '/');
	name = name ? name + 1 : path;
	const char *dot = strrchr(name, '.');
	return dot ? dot + 1 : "";
}

enum chunk_rule chunk_rule_for(const char *path, const void *head, size_t len, char *ret_separator)
{
	static const struct {
		const char *extension;
		enum chunk_rule rule;
		char separator;
	} formats[] = {
		{ "csv", CHUNK_CSV, ',' },     { "tsv", CHUNK_CSV, '\t' },	{ "psv", CHUNK_CSV, '|' },
		{ "txt", CHUNK_LINES, '\0' },  { "jsonl", CHUNK_LINES, '\0' }, { "ndjson", CHUNK_LINES, '\0' },
	};
	const char *ext = extension(path);
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		if (strcasecmp(ext, formats[i].extension) != 0)
			continue;
		if (len && memchr(head, '\0', len < CHUNK_SNIFF ? len : CHUNK_SNIFF))
			return CHUNK_BYTES; /* UTF-16, or something else altogether */
		*ret_separator = formats[i].separator;
		return formats[i].rule;
	}
	return CHUNK_BYTES;
}

static void chunk_start(struct chunker *c)
{
	c->scanned = 0;
	c->gear = 0;
	c->quoted = false;
	c->record = 0;
	c->best = 0;
	c->best_score = UINT64_MAX;
}

struct chunker *chunker_new(enum chunk_rule rule, char separator)
{
	struct chunker *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->rule = rule;
	c->separator = separator;
	chunk_start(c);
	return c;
}

void chunker_free(struct chunker *c)
{
	if (!c)
		return;
	free(c->cuts);
	free(c);
}

int chunker_force(struct chunker *c, const uint64_t *cuts, size_t count)
{
	uint64_t *copy = malloc((count + 1) * sizeof *copy);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, cuts, count * sizeof *copy);
	free(c->cuts);
	c->cuts = copy;
	c->cut_count = count;
	c->cut_next = 0;
	return 0;
}

bool chunker_aligned(const struct chunker *c)
{
	return c->rule != CHUNK_BYTES && !c->unaligned;
}

/* -- bytes ---------------------------------------------------------------------------------- */

/* Rolls from `at` to `end`; the offset after the byte that cuts, or 0.  High bits of the hash depend on the last 64 bytes. */
static size_t gear_scan(struct chunker *c, const unsigned char *bytes, size_t at, size_t end, unsigned bits)
{
	uint64_t h = c->gear;
	const unsigned shift = 64 - bits;
	for (; at < end; at++) {
		h = (h << 1) + gear_table[bytes[at]];
		if (!(h >> shift))
			return at + 1;
	}
	c->gear = h;
	return 0;
}

static size_t next_bytes(struct chunker *c, const unsigned char *bytes, size_t len, bool eof)
{
	const size_t end = len < CHUNK_MAX ? len : CHUNK_MAX;
	size_t at = c->scanned < CHUNK_MIN - 64 ? CHUNK_MIN - 64 : c->scanned;
	size_t cut = 0;
	if (at < end && at < CHUNK_AVERAGE) {
		size_t stop = end < CHUNK_AVERAGE ? end : CHUNK_AVERAGE;
		cut = gear_scan(c, bytes, at, stop, RARE_BITS);
		at = stop;
	}
	if (!cut && at < end)
		cut = gear_scan(c, bytes, at, end, FREQUENT_BITS);
	if (cut)
		return cut;
	if (end > c->scanned && end >= CHUNK_MIN - 64)
		c->scanned = end;
	return end == CHUNK_MAX ? CHUNK_MAX : eof ? len : 0;
}

/* -- records -------------------------------------------------------------------------------- */

/* Does the byte at `q` stand at the start of a field?  Chunks start at records. */
static bool at_field_start(const struct chunker *c, const unsigned char *bytes, size_t q)
{
	if (q == 0 || bytes[q - 1] == (unsigned char)c->separator || bytes[q - 1] == '\n')
		return true;
	return q == 3 && c->offset == 0 && !memcmp(bytes, "\xef\xbb\xbf", 3);
}

/* Where bytes of interest come next; remembered so that a long line is not searched once a field. */
struct csv_marks {
	size_t newline, quote; /* offsets; `len` when there is none */
	bool newline_known, quote_known;
};

static size_t find(const unsigned char *bytes, size_t from, size_t len, int what)
{
	const unsigned char *p = from < len ? memchr(bytes + from, what, len - from) : NULL;
	return p ? (size_t)(p - bytes) : len;
}

/* The end of the CSV record under way, or 0: `scanned` and `quoted` tell where the search stands. */
static size_t csv_record_end(struct chunker *c, const unsigned char *bytes, size_t len, bool eof, struct csv_marks *m)
{
	size_t at = c->scanned;
	while (at < len) {
		if (!m->quote_known || m->quote < at) {
			m->quote = find(bytes, at, len, '"');
			m->quote_known = true;
		}
		if (c->quoted) {
			if (m->quote == len) {
				at = len;
				break;
			}
			if (m->quote + 1 == len && !eof) {
				at = m->quote; /* doubled or closing: the next byte tells */
				break;
			}
			bool doubled = m->quote + 1 < len && bytes[m->quote + 1] == '"';
			c->quoted = doubled;
			at = m->quote + (doubled ? 2 : 1);
			continue;
		}
		if (!m->newline_known || m->newline < at) {
			m->newline = find(bytes, at, len, '\n');
			m->newline_known = true;
		}
		if (m->quote < m->newline) {
			c->quoted = at_field_start(c, bytes, m->quote);
			at = m->quote + 1;
			continue;
		}
		at = m->newline;
		if (at < len) {
			c->scanned = at + 1;
			return at + 1;
		}
	}
	c->scanned = at;
	return 0;
}

static size_t line_record_end(struct chunker *c, const unsigned char *bytes, size_t len)
{
	/* Records that end before CHUNK_MIN are no candidates: only where the last of them ends matters. */
	if (c->scanned == 0 && len >= CHUNK_MIN) {
		const unsigned char *last = memrchr(bytes, '\n', CHUNK_MIN - 1);
		c->record = last ? (size_t)(last + 1 - bytes) : 0;
		c->scanned = CHUNK_MIN - 1;
	}
	size_t newline = find(bytes, c->scanned, len, '\n');
	c->scanned = newline < len ? newline + 1 : len;
	return newline < len ? newline + 1 : 0;
}

/* Is the record that ends at `end` a cut?  Remembers the best candidate: the smallest hash for its length. */
static bool record_votes(struct chunker *c, const unsigned char *bytes, size_t end)
{
	const size_t length = end - c->record;
	const uint64_t hash = XXH3_64bits(bytes + c->record, length);
	const uint64_t score = hash / length;
	if (score < c->best_score || !c->best) {
		c->best = end;
		c->best_score = score;
	}
	return score < (UINT64_MAX >> (end < CHUNK_AVERAGE ? RARE_BITS : FREQUENT_BITS));
}

/* The chunk outgrew CHUNK_MAX within the record that starts at c->record: what to cut, or 0 to let the record grow. */
static size_t cut_before_long_record(const struct chunker *c)
{
	return c->best ? c->best : c->record;
}

static size_t next_records(struct chunker *c, const unsigned char *bytes, size_t len, bool eof)
{
	struct csv_marks marks = { 0 };
	for (;;) {
		size_t end = c->rule == CHUNK_CSV ? csv_record_end(c, bytes, len, eof, &marks) : line_record_end(c, bytes, len);
		if (!end && eof)
			end = len; /* the last record has no line end */
		if (!end) {
			size_t cut = len > CHUNK_MAX ? cut_before_long_record(c) : 0;
			if (cut || len <= CHUNK_RECORD_MAX)
				return cut;
			break;
		}
		if (end > CHUNK_MAX) {
			size_t cut = cut_before_long_record(c);
			if (cut || end <= CHUNK_RECORD_MAX)
				return cut ? cut : end;
			break;
		}
		if (end >= CHUNK_MIN && end > c->record && record_votes(c, bytes, end))
			return end;
		if (end == len && eof)
			return len;
		c->record = end;
	}
	/* A record that no view could hold: from here on the file is bytes. */
	c->unaligned = true;
	c->rule = CHUNK_BYTES;
	chunk_start(c);
	return next_bytes(c, bytes, len, eof);
}

size_t chunker_next(struct chunker *c, const void *bytes, size_t len, bool eof)
{
	while (c->cut_next < c->cut_count && c->cuts[c->cut_next] <= c->offset)
		c->cut_next++;
	if (c->cut_next < c->cut_count && c->cuts[c->cut_next] - c->offset <= len) {
		len = (size_t)(c->cuts[c->cut_next] - c->offset);
		eof = true;
	}
	if (!len)
		return 0;
	size_t n = c->rule == CHUNK_BYTES ? next_bytes(c, bytes, len, eof) : next_records(c, bytes, len, eof);
	if (n) {
		c->offset += n;
		chunk_start(c);
	}
	return n;
}
