/* Policy files: parsing, loading, canonical text, and a decision under whatever was loaded. */
#include "catalog/contract.h"
#include "policy/rule.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len);

static const char example_contract[] = "apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: 1.0.0\nstatus: active\nschema:\n- name: t\n  properties:\n"
				    "  - {name: age, logicalType: integer}\n  - {name: email, logicalType: string, tags: [pii]}\n";

static void decide(struct policy *p)
{
	struct contract *c = NULL;
	struct version_decision *d = NULL;
	struct file_decision f;
	struct subject s = { .user = "ana", .uid = 1, .purpose = "training" };
	if (contract_parse("c", example_contract, sizeof example_contract - 1, &c, NULL))
		abort();
	struct version_facts facts = { .domain = "health", .product = "encounters", .version = "1.0.0", .contract = c };
	struct file_facts file = { .path = "a.csv", .format = "csv", .size = 1 };
	if (!policy_decide_version(p, &s, &facts, 1, &d, NULL) && !version_decision_file(d, &file, &f, NULL)) {
		struct buf b = BUF_INIT;
		version_decision_explain(d, &b);
		version_decision_contract(d, &b, NULL);
		buf_free(&b);
		if ((f.outcome == OUTCOME_VIEW) != (f.transform != NULL))
			abort();
		file_decision_fini(&f);
	}
	version_decision_free(d);
	contract_unref(c);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len)
{
	struct policy_source s = { "fuzz", (const char *)bytes, len, NULL };
	struct policy *p = NULL;
	struct err e = ERR_INIT;
	int r = policy_load(NULL, &s, 1, &p, &e);
	if (r && !e.text[0])
		abort(); /* an error that nobody could mend */
	if (!r)
		decide(p);
	policy_unref(p);
	return 0;
}
