/* Files of credentials: any bytes give settings or an error that does not quote them. */
#include "catalog/store/credentials.h"
#include "test/fuzz/suppress.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int config = 0; config < 2; config++) {
		struct credentials c = { 0 };
		struct err e = ERR_INIT;
		char *copy = malloc(size ? size : 1); /* no NUL behind it */
		memcpy(copy, data, size);
		const int r = credentials_parse("file", copy, size, "team", config, &c, &e);
		if (r > 1 || (r < 0 && !e.text[0]))
			abort();
		credentials_fini(&c);
		free(copy);
	}
	return 0;
}
