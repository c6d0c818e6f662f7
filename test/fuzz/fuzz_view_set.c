/* A set of view indexes as a store gives it: what is taken is consistent, and comes out of a draft as it went in.  The sums are mended, so that
 * the fuzzer gets behind them. */
#include "fs/view_index.h"
#include "fs/view_set.h"

#include <stdlib.h>
#include <string.h>

#define SOURCE_SIZE 5000
#define SOURCE_CHUNKS 3
#define HEADER 80
#define RECORD 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend(char *bytes, size_t len)
{
	struct xxh128 sum;
	if (len < sizeof sum)
		return;
	xxh128_of(bytes, len - sizeof sum, &sum);
	memcpy(bytes + len - sizeof sum, &sum, sizeof sum);
}

static void look_at_index(const void *bytes, size_t len)
{
	struct view_index *x;
	char *copy = malloc(len + 1);
	memcpy(copy, bytes, len);
	mend(copy, len);
	if (!view_index_decode(copy, len, SOURCE_SIZE, SOURCE_CHUNKS, &x)) {
		struct buf again = BUF_INIT;
		if (x->count ? x->ends[x->count - 1] != x->size : x->size != 0)
			abort();
		if (view_index_encode(x, &again) || again.len != len)
			abort();
		buf_free(&again);
		view_index_free(x);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct digest zero;
	struct buf bytes = BUF_INIT, again = BUF_INIT;
	struct view_set *s;
	buf_add(&bytes, data, size);
	if (size)
		mend(bytes.data, bytes.len);
	if (!view_set_decode(&bytes, &zero, &zero, &s)) {
		struct view_set_draft *d = view_set_draft_new();
		for (size_t at = HEADER; at + RECORD <= size; at += RECORD) {
			struct digest content;
			const void *index;
			size_t len;
			memcpy(content.bytes, data + at, SHA256_SIZE);
			if (!view_set_find(s, &content, &index, &len))
				look_at_index(index, len);
		}
		if (view_set_draft_merge(d, s, NULL) || view_set_draft_encode(d, &zero, &zero, &again) || again.len != size ||
		    memcmp(again.data, data, size - XXH128_SIZE) != 0)
			abort();
		view_set_draft_free(d);
		view_set_unref(s);
	}
	buf_free(&bytes);
	buf_free(&again);
	return 0;
}
