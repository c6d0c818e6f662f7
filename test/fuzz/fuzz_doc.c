/* YAML and JSON from outside, contracts and descriptions of products made of them: no crash, no leak, bounded time. */
#include "catalog/base/doc.h"
#include "catalog/contract.h"
#include "catalog/odps.h"
#include "test/fuzz/suppress.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct err e = ERR_INIT;
	struct doc *d = NULL;
	if (len > 65536)
		return 0;
	if (!doc_parse("fuzz", (const char *)bytes, len, &d, &e)) {
		struct buf json = BUF_INIT;
		doc_to_json(doc_root(d), &json);
		buf_free(&json);
		doc_free(d);
	}
	struct odps *p = NULL;
	struct contract *c = NULL;
	odps_parse("fuzz", (const char *)bytes, len, &p, &e);
	if (!contract_parse("fuzz", (const char *)bytes, len, &c, &e)) {
		contract_validate(c, &e);
		contract_object_for(c, "a/b.csv");
		if (p)
			odps_port_of(p, c);
		contract_unref(c);
	}
	odps_free(p);
	return 0;
}
