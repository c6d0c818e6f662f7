/* What the fuzz targets of line formats share: one view of arbitrary bytes, in chunks of the size given. */
#ifndef MESHFS_FUZZ_VIEW_FRAME_H
#define MESHFS_FUZZ_VIEW_FRAME_H

#include "test/view_case.h"

static inline void fuzz_view(const char *path, const uint8_t *data, size_t size, size_t chunk)
{
	static struct view_case c;
	static const char spec[] = "contract\n"
				   "  - {name: id, logicalType: integer}\n  - {name: email, logicalType: string}\n  - {name: age, logicalType: number}\n"
				   "  - {name: a, logicalType: object, properties: [{name: b, logicalType: string}, {name: c, logicalType: date}]}\nend\n"
				   "unnamed partial last 1\nmask email hmac k1\nmask id drop\nmask a.b drop\nmask a.c year\nrows row.age > 1 or row.email is not null\n";
	struct err e = ERR_INIT;
	struct view_stats stats;
	struct buf out = BUF_INIT;
	if (!c.transform && view_case_init(&c, path, spec, &e) != 0)
		abort();
	int r = view_case_apply(&c, path, (const char *)data, size, chunk, &out, &stats, &e);
	if (r != 0 && r != -EACCES)
		abort();
	if (r == 0 && stats.rows_out + stats.rows_rejected > stats.rows_in)
		abort();
	buf_free(&out);
}

#endif
