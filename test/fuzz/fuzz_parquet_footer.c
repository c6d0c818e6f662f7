/* Parquet files from arbitrary bytes: every segment lies within the source, and what was dropped is in none. */
#include "policy/parquet_footer.h"
#include "test/view_case.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct view_case c;
	struct err e = ERR_INIT;
	struct view_stats stats;
	struct buf out = BUF_INIT;
	struct parquet_footer *f = NULL;
	if (!c.transform && view_case_init(&c, "t.parquet", "contract\n  - {name: id, logicalType: integer}\n  - {name: email, logicalType: string}\nend\n"
						     "mask email drop\nmask age null\nrows row.id > 500 or row.email == x\n", &e) != 0)
		abort();
	if (parquet_footer_read(data, size, 1 << 20, &f, &e) == 0)
		parquet_footer_free(f);
	int r = view_case_apply(&c, "t.parquet", (const char *)data, size, 0, &out, &stats, &e);
	if (r != 0 && r != -EACCES)
		abort();
	buf_free(&out);
	return 0;
}
