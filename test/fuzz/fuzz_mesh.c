/* mesh.yaml, and a domain inserted into it: what is written must parse and hold one domain more. */
#include "catalog/mesh.h"
#include "test/fuzz/suppress.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void insert(const char *text, size_t len, size_t domains)
{
	struct mesh_domain d = { .name = (char *)"new-one", .store = (char *)"file:///new", .owner = (char *)"A \"B\": #c" };
	struct mesh_config *m = NULL;
	struct buf out = BUF_INIT;
	if (!mesh_insert_domain("/fuzz/mesh.yaml", text, len, &d, &out, NULL)) {
		if (mesh_parse("/fuzz/mesh.yaml", out.data, out.len, &m, NULL) || m->domain_count != domains + 1)
			abort();
		mesh_config_free(m);
	}
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct mesh_config *m = NULL;
	if (size > 65536)
		return 0;
	char *text = malloc(size + 1);
	memcpy(text, data, size);
	text[size] = '\0';
	if (!mesh_parse("/fuzz/mesh.yaml", text, size, &m, &e))
		insert(text, size, m->domain_count);
	mesh_config_free(m);
	free(text);
	return 0;
}
