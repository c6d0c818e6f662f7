#include "catalog/chunker.h"
#include "test/unit/check.h"

#include "catalog/base/hash.h"
#include "catalog/base/map.h"

#include <stdint.h>

#define CUTS_MAX 4096

struct cut_list {
	size_t ends[CUTS_MAX];
	size_t count;
	bool aligned;
	bool whole; /* the chunks make up the input */
};

/* Cuts `bytes`, offering them in steps of `step` bytes, as a reader does. */
static void cut_all(const unsigned char *bytes, size_t len, const char *path, size_t step, struct cut_list *ret)
{
	char separator = 0;
	enum chunk_rule rule = chunk_rule_for(path, bytes, len, &separator);
	struct chunker *c = chunker_new(rule, separator);
	size_t start = 0, have = 0;
	ret->count = 0;
	while (start < len) {
		size_t n = chunker_next(c, bytes + start, have - start, have == len);
		if (!n) {
			have = have + step < len ? have + step : len;
			continue;
		}
		start += n;
		if (start > have || ret->count == CUTS_MAX)
			break;
		ret->ends[ret->count++] = start;
	}
	ret->whole = start == len;
	ret->aligned = chunker_aligned(c);
	chunker_free(c);
}

static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static unsigned char *random_bytes(size_t len, uint64_t seed)
{
	unsigned char *p = malloc(len);
	random_state = seed;
	for (size_t i = 0; i < len; i++)
		p[i] = (unsigned char)next_random();
	return p;
}

/* A CSV file with quoted fields that hold line ends, doubled quotes and separators. */
static char *csv_text(size_t rows, size_t *ret_len, size_t *row_ends)
{
	char *text = malloc(rows * 160 + 64);
	size_t n = (size_t)sprintf(text, "id,name,note\n");
	random_state = 42;
	for (size_t i = 0; i < rows; i++) {
		uint64_t x = next_random();
		if (x % 3 == 0)
			n += (size_t)sprintf(text + n, "%zu,\"line\none, \"\"two\"\"\n\",%llx\n", i, (unsigned long long)x);
		else if (x % 3 == 1)
			n += (size_t)sprintf(text + n, "%zu,5\" pipe,\"%llx\"\r\n", i, (unsigned long long)x);
		else
			n += (size_t)sprintf(text + n, "%zu,plain,%llx%llx\n", i, (unsigned long long)x, (unsigned long long)next_random());
		if (row_ends)
			row_ends[i] = n;
	}
	*ret_len = n;
	return text;
}

static size_t shared_chunks(const unsigned char *a, const struct cut_list *ca, const unsigned char *b, const struct cut_list *cb)
{
	struct map *seen = map_new();
	struct digest d;
	for (size_t i = 0, from = 0; i < ca->count; from = ca->ends[i++]) {
		sha256_of(a + from, ca->ends[i] - from, &d);
		map_set(seen, &d, sizeof d, seen, NULL);
	}
	size_t shared = 0;
	for (size_t i = 0, from = 0; i < cb->count; from = cb->ends[i++]) {
		sha256_of(b + from, cb->ends[i] - from, &d);
		shared += map_get(seen, &d, sizeof d) != NULL;
	}
	map_free(seen, NULL);
	return shared;
}

static struct cut_list first, second;

TEST(bytes_cut_within_bounds)
{
	size_t len = 40u << 20;
	unsigned char *p = random_bytes(len, 7);
	cut_all(p, len, "a.bin", 1u << 20, &first);
	CHECK(first.whole);
	CHECK(!first.aligned);
	CHECK(first.count > 25 && first.count < 60);
	for (size_t i = 0, from = 0; i + 1 < first.count; from = first.ends[i++])
		CHECK(first.ends[i] - from >= CHUNK_MIN - 64 && first.ends[i] - from <= CHUNK_MAX);
	free(p);
}

TEST(cuts_do_not_depend_on_how_bytes_arrive)
{
	size_t len, rows = 300000;
	char *csv = csv_text(rows, &len, NULL);
	const char *names[] = { "a.csv", "a.jsonl", "a.bin" };
	const size_t steps[] = { 1, 4097, 100003 };
	for (size_t k = 0; k < 3; k++) {
		size_t part = k == 0 ? len : len;
		cut_all((unsigned char *)csv, part, names[k], len, &first);
		for (size_t s = 1; s < 3; s++) {
			cut_all((unsigned char *)csv, part, names[k], steps[s], &second);
			CHECK(second.whole);
			CHECK_INT(second.count, first.count);
			CHECK(!memcmp(first.ends, second.ends, first.count * sizeof *first.ends));
		}
	}
	/* One byte at a time over one chunk's worth and a bit. */
	cut_all((unsigned char *)csv, 300000, "a.csv", 300000, &first);
	cut_all((unsigned char *)csv, 300000, "a.csv", 1, &second);
	CHECK_INT(second.count, first.count);
	free(csv);
}

TEST(csv_cuts_at_record_ends)
{
	size_t len, rows = 300000;
	size_t *row_ends = malloc(rows * sizeof *row_ends);
	char *csv = csv_text(rows, &len, row_ends);
	cut_all((unsigned char *)csv, len, "dir.x/a.CSV", 1u << 20, &first);
	CHECK(first.whole);
	CHECK(first.aligned);
	CHECK(first.count > 5);
	size_t row = 0;
	for (size_t i = 0; i < first.count; i++) {
		while (row < rows && row_ends[row] < first.ends[i])
			row++;
		CHECK(row < rows && row_ends[row] == first.ends[i]);
	}
	free(csv);
	free(row_ends);
}

TEST(an_inserted_row_moves_few_chunks)
{
	size_t len, rows = 300000;
	char *csv = csv_text(rows, &len, NULL);
	const char *row = "new,row,inserted\n";
	size_t at = (size_t)(strchr(csv, '\n') + 1 - csv), n = strlen(row);
	char *longer = malloc(len + n);
	memcpy(longer, csv, at);
	memcpy(longer + at, row, n);
	memcpy(longer + at + n, csv + at, len - at);
	const char *names[] = { "a.csv", "a.bin" };
	for (size_t k = 0; k < 2; k++) {
		cut_all((unsigned char *)csv, len, names[k], 1u << 20, &first);
		cut_all((unsigned char *)longer, len + n, names[k], 1u << 20, &second);
		CHECK(second.count - shared_chunks((unsigned char *)csv, &first, (unsigned char *)longer, &second) <= 3);
	}
	free(csv);
	free(longer);
}

TEST(lines_without_any_cut_take_the_best_candidate)
{
	/* One-byte lines: each has next to no chance of its own, so that the maximum binds. */
	size_t len = 10u << 20;
	unsigned char *p = random_bytes(len, 3);
	for (size_t i = 0; i < len; i++)
		p[i] = i & 1 ? '\n' : (unsigned char)('a' + p[i] % 26);
	cut_all(p, len, "a.txt", 1u << 20, &first);
	CHECK(first.whole && first.aligned);
	for (size_t i = 0, from = 0; i < first.count; from = first.ends[i++]) {
		CHECK(first.ends[i] - from <= CHUNK_MAX);
		CHECK(p[first.ends[i] - 1] == '\n');
	}
	free(p);
}

TEST(a_long_record_has_a_chunk_of_its_own)
{
	size_t len = 12u << 20;
	unsigned char *p = random_bytes(len, 5);
	for (size_t i = 0; i < len; i++)
		p[i] = 'x';
	p[99] = '\n';           /* a short record, */
	p[(10u << 20) - 1] = '\n'; /* a long one, */
	p[len - 1] = '\n';      /* and another short of the maximum */
	cut_all(p, len, "a.jsonl", 1u << 20, &first);
	CHECK(first.whole && first.aligned);
	CHECK_INT(first.count, 3);
	CHECK_INT(first.ends[0], 100);
	CHECK_INT(first.ends[1], 10u << 20);
	free(p);
}

TEST(a_record_beyond_the_maximum_is_cut_raw)
{
	size_t len = CHUNK_RECORD_MAX + (5u << 20);
	unsigned char *p = random_bytes(len, 11);
	for (size_t i = 0; i < len; i++)
		p[i] = p[i] == '\n' || !p[i] ? 'x' : p[i];
	cut_all(p, len, "a.txt", 1u << 20, &first);
	CHECK(first.whole && !first.aligned);
	for (size_t i = 0, from = 0; i < first.count; from = first.ends[i++])
		CHECK(first.ends[i] - from <= CHUNK_MAX);
	/* At the limit it still holds. */
	p[CHUNK_RECORD_MAX - 1] = '\n';
	cut_all(p, len, "a.txt", 1u << 20, &first);
	CHECK(first.whole && first.aligned);
	CHECK_INT(first.ends[0], CHUNK_RECORD_MAX);
	free(p);
}

TEST(an_open_quote_to_the_end_is_one_record)
{
	size_t len = 6u << 20;
	unsigned char *p = random_bytes(len, 13);
	for (size_t i = 0; i < len; i++)
		p[i] = i % 50 ? 'x' : '\n';
	memcpy(p, "a,b\n1,\"", 7);
	cut_all(p, len, "a.csv", 1u << 20, &first);
	CHECK(first.whole && first.aligned);
	CHECK_INT(first.ends[0], 4);
	CHECK_INT(first.count, 2);
	free(p);
}

TEST(text_is_sniffed)
{
	char separator = 0;
	CHECK_INT(chunk_rule_for("a.csv", "a\0b", 3, &separator), CHUNK_BYTES);
	CHECK_INT(chunk_rule_for("a.csv", "", 0, &separator), CHUNK_CSV);
	CHECK_INT(chunk_rule_for("x/a.tsv", "a\tb", 3, &separator), CHUNK_CSV);
	CHECK_INT(separator, '\t');
	CHECK_INT(chunk_rule_for("a.csv/b", "x", 1, &separator), CHUNK_BYTES);
	CHECK_INT(chunk_rule_for("a.csv.gz", "x", 1, &separator), CHUNK_BYTES);
	CHECK_INT(chunk_rule_for("a.ndjson", "{}", 2, &separator), CHUNK_LINES);
}

TEST(forced_cuts_hold)
{
	size_t len = 8u << 20;
	unsigned char *p = random_bytes(len, 17);
	const uint64_t cuts[] = { 4, 1000, 1000, 3000000, len - 20 };
	struct chunker *c = chunker_new(CHUNK_BYTES, 0);
	CHECK_INT(chunker_force(c, cuts, 5), 0);
	size_t at = 0, next = 0;
	while (at < len) {
		size_t n = chunker_next(c, p + at, len - at, true);
		CHECK(n > 0);
		at += n;
		while (next < 5 && cuts[next] < at)
			next++;
		CHECK(next == 5 || cuts[next] >= at);
		CHECK(next == 0 || cuts[next - 1] <= at - n);
		while (next < 5 && cuts[next] == at)
			next++;
	}
	CHECK_INT(next, 5);
	chunker_free(c);
	free(p);
}

CHECK_MAIN()
