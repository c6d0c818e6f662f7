/* The walk over a Parquet footer: input is the footer; the file is taken to be a mebibyte longer. */
#include "catalog/parquet_cuts.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t *cuts = NULL;
	size_t count = 0;
	const uint64_t file_size = size + 8 + (1u << 20);
	if (parquet_cuts(data, size, file_size, &cuts, &count))
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (cuts[i] > file_size || (i && cuts[i] <= cuts[i - 1]))
			abort();
	}
	free(cuts);
	return 0;
}
