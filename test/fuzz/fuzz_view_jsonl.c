/* Views of jsonl from arbitrary bytes: no crash, and chunks of any size are taken.  The odd lengths go in small ones; in large ones, lines meet
 * those of the same shape. */
#include "test/view_case.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct view_case c;
	static const char spec[] = "contract\n"
				   "  - {name: id, logicalType: integer}\n  - {name: email, logicalType: string}\n  - {name: age, logicalType: number}\n"
				   "  - {name: a, logicalType: object, properties: [{name: b, logicalType: string}, {name: c, logicalType: date}]}\nend\n"
				   "unnamed partial last 1\nmask email hmac k1\nmask id drop\nmask a.b drop\nmask a.c year\nrows row.age > 1 or row.email is not null\n";
	struct err e = ERR_INIT;
	struct view_stats stats;
	struct buf out = BUF_INIT;
	if (!c.transform && view_case_init(&c, "t.jsonl", spec, &e) != 0)
		abort();
	int r = view_case_apply(&c, "t.jsonl", (const char *)data, size, size % 2 ? 64 : 1 << 20, &out, &stats, &e);
	if (r != 0 && r != -EACCES)
		abort();
	if (r == 0 && stats.rows_out + stats.rows_rejected > stats.rows_in)
		abort();
	buf_free(&out);
	return 0;
}
